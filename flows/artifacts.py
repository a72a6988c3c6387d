"""What Prefect shows of a run: its name, tables of what it did, and the dataset as an asset.

Texts of documents come from anywhere: they are shown short, with nothing in them that a page or a terminal acts on.
Of Prefect's two user interfaces one takes the cells of a table for markdown and the other one doesn't: no backslash
would do for both, so signs that mean something there are shown full-width.
"""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from prefect import get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE
from prefect.runtime import deployment, flow_run
from prefect.types.names import MAX_ASSET_KEY_LENGTH, RESTRICTED_ASSET_CHARACTERS

from flows.terminal import visible
from schemas.config import DatasetConfig, ReplayConfig, RunConfig
from schemas.document import Run
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import Store, open_store
from tasks.publish.summary import Summary, as_markdown
from tasks.read.addresses import MARK, shown
from tasks.read.lists import parts_of

if TYPE_CHECKING:
    from tasks.report import Made

LONGEST, SHORT = 80, 32
"""Characters shown of a text, and of one in a table that people look through: a page has room for some 100 beside."""

STEPS = 2
"""Of a document, those that did most."""

UPSTREAM = 50
"""Sources in the lineage: an event of Prefect has at most 100 related resources."""

_MARKDOWN = re.compile(r"[\\`*\[\]<>#|~&@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=[wW]{3})\.")
"""What markdown, HTML, an entity or a link that is made by itself can't do without, in ASCII. `_` within a word is
nothing to them, and names of files are full of it."""

_FULL_WIDTH = 0xFF01 - 0x21
"""From a sign in ASCII to the same one in full width."""

_ESCAPED_BYTES = re.compile(r"(?:%[89A-F][0-9A-F])++")
"""What is not ASCII, in a URI."""

Row = dict[str, Any]


def run_name() -> str:
    """Name of the run that is going on: its dataset, its deployment if it has one, and when it was to start, in UTC."""
    config = flow_run.parameters["config"]
    out = Path(config.out if isinstance(config, DatasetConfig) else config["out"])
    names = dict.fromkeys([visible(out.absolute().name), deployment.name or ""])
    return f"{' '.join(filter(None, names))} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M}Z"


def report(summary: Summary, run: Run, config: RunConfig | ReplayConfig) -> Summary:
    """Write the report of a run, and leave what it did in its page at the server; the summary with the report's path.

    The run is done when this is called: so nothing that goes wrong here makes it fail.
    """
    try:
        store = open_store(summary.out)
        snapshot = store.snapshot(summary.snapshot)
    except Exception as error:  # noqa: BLE001  the disk, or the network: the dataset is published
        _warn(error)
        return summary
    made = _write_report(store, snapshot, run, summary)
    summary = replace(summary, report=made.address if made else "")
    try:
        _leave_artifacts(summary, snapshot, made)
        _materialize(summary, config, snapshot)
    except Exception as error:  # noqa: BLE001  the server: the dataset is published
        _warn(error)
    return summary


def _warn(error: Exception) -> None:
    get_run_logger().warning("The snapshot is published, but not all about it can be shown here: %r", error)


def _write_report(store: Store, snapshot: Snapshot, run: Run, summary: Summary) -> "Made | None":
    from tasks.report import write_report  # noqa: PLC0415  it brings three libraries that a run does without

    try:
        made = write_report(store, snapshot, run, summary)
    except Exception as error:  # noqa: BLE001  the disk, or a bug of ours: the dataset is published
        get_run_logger().warning("The snapshot is published, but no report of the run could be made: %r", error)
        return None
    get_run_logger().info("report in %.1f s: %s", made.seconds, made.address)
    return made


def _leave_artifacts(summary: Summary, snapshot: Snapshot, made: "Made | None") -> None:
    out = Path(summary.out)
    about = f"{visible(summary.out)}, snapshot {snapshot.number}"
    create_markdown_artifact(as_markdown(summary), artifact_key(out, "summary"), f"What the run did: {about}")
    if made:
        _leave_report(out, about, snapshot, made)
    uri = uri_of(summary.out)
    create_link_artifact(uri, shown_uri(uri), artifact_key(out, "dataset"), f"The dataset: {about}")


def _leave_report(out: Path, about: str, snapshot: Snapshot, made: "Made") -> None:
    """The report, and those of its figures that a server can show."""
    if rejects := rejects_by_reason(snapshot.counts.rejected, made.reasons):
        create_table_artifact(rejects, artifact_key(out, "rejects"), f"Rejected documents by reason: {about}")
    if changes := largest_changes(made.largest):
        create_table_artifact(changes, artifact_key(out, "changes"), f"The largest changes of the run: {about}")
    if made.picture:
        picture = f"data:image/png;base64,{b64encode(made.picture).decode()}"
        create_image_artifact(picture, artifact_key(out, "flow"), f"Where documents came from and went: {about}")
    uri = uri_of(made.address)
    create_link_artifact(uri, made.headline, artifact_key(out, "report"), f"The report of the run: {about}")


def uri_of(out: str) -> str:
    """Where a dataset lies."""
    return out if "://" in out else Path(out).as_uri()


def artifact_key(out: Path, what: str) -> str:
    """Name under which the server keeps an artifact of a dataset, run after run. It takes no other characters."""
    return "-".join([*re.findall("[a-z0-9]+", out.name.lower()), what])


def rejects_by_reason(rejected: Counter[str], reasons: Sequence[Row]) -> list[Row]:
    """Rows of the table: how many documents of the dataset are rejected, how many by this run, and one of these."""
    of_run = {row["reason"]: row for row in reasons}
    return [_reject(reason, n, of_run.get(reason)) for reason, n in rejected.most_common()]


def _reject(reason: str, n: int, of_run: Row | None) -> Row:
    row: Row = {"reason": reason, "documents": n, "by this run": of_run["documents"] if of_run else 0}
    sample = of_run["samples"][0] if of_run else None
    why = escaped(sample["detail"].strip().rpartition("\n")[2]) if sample else ""
    return {**row, "why one of them": why, "address of that one": _shown_address(sample) if sample else ""}


def largest_changes(largest: Sequence[Row]) -> list[Row]:
    """Rows of the table: the documents that this run cleaned of which it edited the largest share."""
    return [
        {
            "edited": f"{row['edited_share']:.0%}",
            "document": escaped(_name(row), longest=SHORT),
            "what was done": _shown_steps(row["edits_by_step"]),
            "title": escaped(row["title"] or ""),
            "removed": f"{row['removed_share']:.0%}",
            "characters left": row["n_chars"],
            "address": _shown_address(row),
        }
        for row in largest
    ]


def _shown_steps(steps: list[Row]) -> str:
    """`glosses 54 (−340), punctuation 3`: edits, and the characters by which they made the text shorter."""
    largest = sorted(steps, key=itemgetter("chars_removed", "edits"), reverse=True)[:STEPS]
    return ", ".join(map(_shown_step, largest)) + ", …" * (len(steps) > STEPS)


def _shown_step(step: Row) -> str:
    shorter = f" (−{step['chars_removed']:,})" if step["chars_removed"] else ""
    return f"{step['step']} {step['edits']:,}{shorter}"


def _name(row: Row) -> str:
    """Name of a document's file, and which of a container it is."""
    return f"{unquote(row['source_uri'].rpartition('/')[2])} {row['record']}".strip()


def _shown_address(row: Row) -> str:
    """Where a document lies, and which of a container it is."""
    return f"{shown_uri(row['source_uri'])} {escaped(row['record'])}".strip()


def shown_uri(uri: str) -> str:
    """A URI with names in Chinese as they read; the same URI to whatever reads it."""
    return _ESCAPED_BYTES.sub(lambda match: _unescaped(match[0]), uri)


def _unescaped(part: str) -> str:
    """Escaped bytes as text, unless they are none, or some of it is hidden."""
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        return part
    return text if visible(text) == text else part


def escaped(text: str, longest: int = LONGEST) -> str:
    """A text in one line, its middle left out if it is long, safe in a table, in markdown and in HTML."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    return _MARKDOWN.sub(lambda match: chr(ord(match[0]) + _FULL_WIDTH), visible(text))


def _materialize(summary: Summary, config: RunConfig | ReplayConfig, snapshot: Snapshot) -> None:
    """Tell Prefect that the dataset, an asset, was made of the sources, other assets."""
    dataset = Asset(
        key=asset_key(summary.out),
        properties=AssetProperties(
            name=visible(Path(summary.out).name), description="Clean Chinese text as Parquet; `runs` has its history."
        ),
    )
    upstream: list[Asset | str] = [
        asset_key(source) for source in _lineage(config.sources if isinstance(config, RunConfig) else ())
    ]
    metadata = {
        "snapshot": snapshot.number,
        "run_id": snapshot.run_id,
        "folder": uri_of(summary.out),
        **{f"rows in {table}": snapshot.rows(table) for table in snapshot.tables},
    }

    @materialize(dataset, by="qingyuan", asset_deps=upstream, task_run_name="dataset", cache_policy=NO_CACHE)
    def tell_of_dataset() -> None:
        add_asset_metadata(dataset, metadata)

    tell_of_dataset()


def _lineage(sources: Iterable[str]) -> list[str]:
    """What to name as sources: their folders where there are many."""
    names = list(dict.fromkeys(map(shown, sources)))
    if len(names) > UPSTREAM:
        folders = (name.rpartition("/")[0] if "://" in name else str(Path(name).parent) for name in names)
        names = list(dict.fromkeys(folders))
    return names[:UPSTREAM]


def asset_key(name: str) -> str:
    """Key of a file or folder: Prefect takes no percent sign in it, which rules out a proper URI."""
    if name == "-":
        return "stdin://"
    name = parts_of(name)[0] if name.startswith(MARK) else name
    path = name if "://" in name else f"file://{Path(name).absolute()}"
    allowed = (char if char not in RESTRICTED_ASSET_CHARACTERS else "_" for char in visible(unquote(path)))
    return "".join(allowed)[:MAX_ASSET_KEY_LENGTH]
