"""What a user can set, as pydantic models: the same ones are the flow's parameters and its form.

`python -m schemas.config` writes docs/configuration.md, which has all of it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

Script = Literal["hans", "hant", "tw", "hk", "keep"]

Dedup = Literal["mark", "drop", "off"]

Reclean = Literal["auto", "never", "all"]

RunnerName = Literal["local", "dask", "ray"]


def _place(given: Any) -> Any:
    """A folder as a path; an address stays a string, since as a path it would lose a slash."""
    if not isinstance(given, str) or ("://" in given and not given.startswith("file://")):
        return given
    return Path(unquote(given.removeprefix("file://")) if given.startswith("file://") else given)


Place = Annotated[Path | str, BeforeValidator(_place), WithJsonSchema({"type": "string", "format": "path"})]
"""Where a dataset lies: a folder, or an address in an object store."""


class ReadConfig(BaseModel):
    """How documents are found in containers: JSON lines, CSV, Parquet, WARC, archives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_field: str = Field(
        default="",
        description="Field of a JSON line, or column of a CSV or Parquet file, that holds the text or the page. Within "
        "nested objects: a.b. Default: the first of the usual names there is (text, content, body, html, 正文, …).",
    )
    url_field: str = Field(default="", description="The same for the address of the page (url, uri, link, 网址, …).")
    title_field: str = Field(default="", description="The same for its title (title, headline, 标题, …).")
    date_field: str = Field(default="", description="The same for when it was published (date, pubdate, 日期, …).")
    author_field: str = Field(default="", description="The same for its author (author, 作者, …).")
    site_field: str = Field(default="", description="The same for its site or outlet (site_name, 来源, …).")
    max_ratio: int = Field(
        default=200,
        ge=1,
        description="A compressed file or archive that expands to more than so many times its size is read no further "
        "(rejected as bomb). What expands to less than 64 MiB is read in any case.",
    )
    max_container_bytes: int = Field(
        default=2**40,
        ge=1,
        description="The same for one that expands to more than so many bytes.",
    )
    max_depth: int = Field(
        default=3,
        ge=0,
        description="Archives within archives are followed to this depth; 0: none is opened. Deeper ones are rejected.",
    )


class CleanConfig(BaseModel):
    """How one document is cleaned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    script: Script = Field(
        default="hans",
        description="Script of the clean text: hans (Simplified), hant (Traditional), "
        "tw and hk (Traditional with the variants of Taiwan or Hong Kong), or keep.",
    )
    skip: tuple[str, ...] = Field(default=(), description="Names of steps that are left out.")
    min_chars: int = Field(
        default=10,
        ge=0,
        description="A document with fewer letters and ideographs after cleaning is rejected as too-short.",
    )
    learn_from: int = Field(
        default=10,
        ge=0,
        description="A line at the head or tail of a page that stands around so many different texts of one site, and "
        "on 30 % of its pages, is removed as furniture; 0: no line is.",
    )
    max_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1,
        description="A document with more bytes is rejected as too-large without being read into memory.",
    )
    read: ReadConfig = Field(default=ReadConfig(), description="How documents are found in containers.")


class DatasetConfig(BaseModel):
    """What all runs have in common that write a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Place = Field(
        description="Folder of the dataset, or its address in an object store (s3://bucket/name). It is made if "
        "missing, and never read as a source."
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Shards that are cleaned at the same time, each in a process of its own; a cluster that is running "
        "takes as many as it can. Default: one per core.",
    )
    runner: RunnerName = Field(
        default="local",
        description="What carries out shards: local (processes on this machine), or the workers of a cluster of dask "
        "or ray (extras of the same names). What comes out is the same.",
    )
    address: str | None = Field(
        default=None,
        description="Of a cluster that is running, such as tcp://10.0.0.1:8786 (dask), ray://10.0.0.1:10001 or auto "
        "(ray); its workers must see the sources and the dataset. Default: a cluster on this machine, for this run.",
    )
    max_seconds: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="A document that takes more processor time is rejected as crashed.",
    )
    wait: float = Field(
        default=0,
        ge=0,
        description="Seconds to wait for another run that is writing the dataset, before giving up.",
    )
    keep_snapshots: int = Field(
        default=10,
        ge=1,
        description="Snapshots that stay, the current one included; besides those of the last hour, which somebody "
        "may still be reading.",
    )

    @field_validator("address")
    @classmethod
    def _is_of_a_cluster(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address and info.data.get("runner") == "local":
            raise ValueError("an address is of a cluster: set runner to dask or ray as well")
        return address


class RunConfig(DatasetConfig):
    """One run of `clean_corpus`: what is read, where the dataset goes, and how it is cleaned."""

    sources: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders (with all that is in them), patterns such as crawl/**/*.txt, the same in object "
        "stores (s3://bucket/crawl/, gs://), addresses (https://), file:// URIs, @FILE for a list of such, or - for "
        "standard input.",
    )
    dedup: Dedup = Field(
        default="mark",
        description="Documents that tell the same: mark them in columns, drop all but the best of them into "
        "`rejected`, or off: don't look for them.",
    )
    keep_missing: bool = Field(
        default=False,
        description="Keep documents of the dataset that are not among the sources (any more). Otherwise they go.",
    )
    checksum: bool = Field(
        default=False,
        description="Read every file to see whether it has changed, and not only those whose size or time has.",
    )
    reclean: Reclean = Field(
        default="auto",
        description="Documents that have not changed are cleaned again if rules or settings have (auto), never, or all "
        "of them in any case (all).",
    )
    clean: CleanConfig = Field(default=CleanConfig(), description="How each document is cleaned.")


class ReplayConfig(DatasetConfig):
    """One run of `replay_rejected`: the rejected documents of a dataset are cleaned again."""

    reasons: tuple[str, ...] = Field(
        default=(), description="Only documents rejected for one of these reasons. Default: all but duplicates."
    )
    dedup: Dedup | None = Field(default=None, description="As in RunConfig. Default: as in the last run.")
    clean: CleanConfig | None = Field(
        default=None, description="How each document is cleaned. Default: as in the last run."
    )


_INTRODUCTION = """\
# Settings

Generated by `python -m schemas.config` from `schemas/config.py`; change it there.

A run is set in one of three ways, all of them with the same names:

- options of the [command line](../README.md#the-command-line): `keep_missing` is `--keep-missing`; `qingyuan clean
  --help` has those there are, the others go by a file;
- a file of TOML, `--config run.toml`, in which what is under `clean` below is a table `[clean]`. Options go before it;
- the form of the flow in Prefect's pages, or `parameters` of a deployment ([scheduling](scheduling.md)).

An unknown name is an error that names it. The table `runs` of a dataset has the settings of each run. Documents
are cleaned again where those of `clean` have changed.
"""


def settings_page() -> str:
    """All settings, in Markdown."""
    parts: list[tuple[str, str, type[BaseModel], str]] = [
        ("A run", "What is read, where it goes, and how the work is done.", RunConfig, ""),
        ("Cleaning", "How one document is cleaned: the table `[clean]`.", CleanConfig, "clean."),
        ("Containers", "How documents are found in files that hold many: `[clean.read]`.", ReadConfig, "clean.read."),
        ("A replay", "What `qingyuan replay` has of its own.", ReplayConfig, ""),
    ]
    return "\n".join([_INTRODUCTION, *(line for part in parts for line in _section(*part))])


def _section(title: str, about: str, model: type[BaseModel], prefix: str) -> Iterator[str]:
    yield f"## {title}\n\n{about}\n\n| setting | type | default | |\n|---|---|---|---|"
    schema = model.model_json_schema()["properties"]
    known = DatasetConfig.model_fields if model is ReplayConfig else {}
    for name, field in model.model_fields.items():
        if name not in known and not isinstance(field.default, BaseModel):
            # As TOML has it, too.
            default = "" if field.is_required() or field.default is None else f"`{json.dumps(field.default)}`"
            description = (field.description or "").replace("*", r"\*")
            yield f"| `{prefix}{name}` | {_kind(schema[name])} | {default} | {description} |"
    yield ""


def _kind(schema: dict[str, Any]) -> str:
    """Type of a setting with its bounds, as in `integer from 1 to 256`."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    names = [", ".join(map(str, kind.get("enum", ()))) or kind.get("type", "table") for kind in kinds]
    low, high = (kinds[0].get(bound) for bound in ("minimum", "maximum"))
    return f"{' or '.join(names)}{f' from {low}' if low is not None else ''}{f' to {high}' if high is not None else ''}"


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("docs", "configuration.md").write_text(settings_page(), encoding="utf-8")
