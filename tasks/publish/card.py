"""What lies beside the tables of a dataset: a card in Hugging Face's form (README.md), and Croissant metadata.

Both are made of the manifest and of the table `runs`, so that they cost milliseconds however much text there is; and
anew at every publication, so that they tell of the snapshot that readers see (docs/adr/0025-card.md).
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from schemas.dataset import TABLES, table_section
from tasks.publish.croissant import croissant
from tasks.publish.snapshots import Snapshot, StoredPart
from tasks.publish.store import Store

CARD, METADATA = "README.md", "croissant.json"

MARK = "Written by qingyuan at each publication"
"""What has no such words is somebody's own, and stays as it is."""

RUNS = 10
"""Runs that the card names, the last ones; the table has all."""

SOURCES = 5
"""Of a run, sources that are named."""

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
"""Bounds of Hugging Face's size categories, each ten times the one before."""

Row = dict[str, Any]


def write_card(store: Store, snapshot: Snapshot) -> None:
    """Write both files beside a snapshot that is published: whatever goes wrong is told, and no error of the run."""
    try:
        described = make_card(store, snapshot)
        for name, text in described.items():
            # What a file name can hold and UTF-8 can't.
            store.put_beside(name, text.encode("utf-8", "backslashreplace"), MARK.encode())
    except Exception as error:  # noqa: BLE001  the snapshot is published
        logging.getLogger(__name__).warning("%s is published, but its card could not be written: %r", store.name, error)


def make_card(store: Store, snapshot: Snapshot) -> dict[str, str]:
    """Both texts, by name."""
    runs = [row for part in snapshot.singles["runs"] for row in pq.read_table(store.path(part)).to_pylist()]
    name = _plain(PurePosixPath(store.name).name or store.name)
    about = {
        "name": name,
        "description": f"{_what_it_is(snapshot)} {MARK}.",
        "license": "unknown: that of the sources",
        "inLanguage": _languages(snapshot),
        "keywords": _TAGS,
    }
    metadata = croissant(snapshot, about, _path_of(store))
    return {
        CARD: _readme(store, snapshot, name, runs),
        METADATA: json.dumps(metadata, ensure_ascii=False, indent=1) + "\n",
    }


_TAGS = ["chinese", "web-text", "text-cleaning", "provenance"]


def _path_of(store: Store) -> Callable[[str, StoredPart], str]:
    """Where readers find a part: in a folder by its name, in an object store by its hash."""
    if "://" in store.name:
        return lambda _table, part: f"objects/{part.sha256}"
    return lambda table, part: f"{table}/{part.name}"


def _readme(store: Store, snapshot: Snapshot, name: str, runs: list[Row]) -> str:
    is_folder = "://" not in store.name
    return "\n".join(
        [
            *_header(snapshot, name, is_folder=is_folder),
            f"<!-- {MARK}, from the figures of the snapshot. A file without this line stays as it is. -->",
            "",
            f"# {_cell(name)}",
            "",
            _what_it_is(snapshot),
            "",
            *(_FOLDER if is_folder else _BUCKET),
            *_figures(snapshot),
            *_provenance(snapshot, runs),
            _BACK,
            *_limits(snapshot),
            _LICENCE,
            "## Columns",
            "",
            "Offsets and lengths count characters (Unicode code points). Times are in UTC and carry no zone.",
            "",
            *(table_section(table, schema).replace("## ", "### ", 1) for table, schema in TABLES.items()),
        ]
    )


def _header(snapshot: Snapshot, name: str, *, is_folder: bool) -> Iterator[str]:
    """The part in YAML. Strings are written as JSON, which is YAML as well."""
    yield "---"
    yield f"pretty_name: {json.dumps(name, ensure_ascii=False)}"
    yield f"language: {json.dumps(_languages(snapshot))}"
    yield "license: unknown"
    yield f"size_categories: [{_size(snapshot.counts.clean)}]"
    yield "task_categories: [text-generation]"
    yield "source_datasets: [original]"
    yield f"tags: {json.dumps(_TAGS)}"
    # Loaders take a table without rows for an error.
    tables = [table for table in TABLES if snapshot.rows(table)] if is_folder else []
    yield from ["configs:"] if tables else []
    for table in tables:
        yield f"- config_name: {table}"
        yield from ["  default: true"] if table == tables[0] else []
        yield f'  data_files: [{{"split": "train", "path": "{table}/*.parquet"}}]'
    yield "---"


def _what_it_is(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    return (
        f"{counts.clean:,} clean documents of {counts.documents:,}, most of them crawled pages in Chinese: decoded, "
        "repaired, freed of what sites put around an article, in one script. Every change is on record and can be "
        f"taken back. Snapshot {snapshot.number}, published {snapshot.published_at:%Y-%m-%d %H:%M} UTC."
    )


_FOLDER = [
    """\
## Reading it

```python
from datasets import load_dataset

documents = load_dataset("path/to/this/folder", "clean", split="train")
```

Any other tool that reads Parquet will do: `pd.read_parquet("clean")`, `FROM 'clean/*.parquet'` in DuckDB,
`pl.scan_parquet("clean")`. `croissant.json` says it for loaders of [Croissant](https://docs.mlcommons.org/croissant/),
with the hash of each file. Who reads while runs publish opens a snapshot with `tasks.publish.open_dataset`.
"""
]

_BUCKET = [
    """\
## Reading it

```python
from tasks.publish import open_dataset

documents = open_dataset("address of this dataset").to_pandas("clean")
```

Its Parquet files are the objects that `croissant.json` names, with the table that each belongs to.
"""
]


def _figures(snapshot: Snapshot) -> Iterator[str]:
    counts = snapshot.counts
    yield "## Figures\n"
    yield "| | |\n|---|---|"
    yield f"| documents | {counts.documents:,} |"
    yield f"| clean | {counts.clean:,} |"
    yield f"| of these, told by another one as well (`duplicate_of`) | {counts.duplicates:,} |"
    yield f"| rejected | {counts.rejected.total():,} |"
    yield f"| characters in, removed, out | {counts.chars_in:,}, {counts.removed.total():,}, {counts.chars_out:,} |"
    yield f"| raw bytes | {counts.raw_bytes:,} |\n"
    yield from _tally("Rejected because", "documents", counts.rejected)
    yield from _tally("Language", "clean documents", counts.langs)
    yield from _tally("Script before conversion", "clean documents", counts.scripts)
    yield from _tally("Encoding", "documents", counts.encodings)
    yield from _tally("Step", "edits", counts.edits)


def _tally(what: str, of_what: str, counts: Counter[str]) -> Iterator[str]:
    if not counts:
        return
    yield f"| {what} | {of_what} |\n|---|---|"
    yield from (f"| `{value or 'none'}` | {n:,} |" for value, n in counts.most_common())
    yield ""


def _provenance(snapshot: Snapshot, runs: list[Row]) -> Iterator[str]:
    run = next((row for row in runs if row["run_id"] == snapshot.run_id), {})
    yield "## Where it comes from\n"
    yield f"| last runs | kind | snapshot | documents | sources |\n|---|---|---|---|---|{_last_runs(runs)}\n"
    yield (
        f"Made by qingyuan {run.get('pipeline_version', '')}, rules `{snapshot.rules_digest}`, schema version "
        f"{snapshot.schema_version}, with {_libraries(run)}. Settings: `{_cell(run.get('config', ''))}`. The table "
        "`runs` has all of it for each run, and each document names its run, its file (`source_uri`, `record`) and the "
        "hash of its raw bytes. `reports/` has a page for each run that cleaned: what it did, before and after.\n"
    )


def _last_runs(runs: list[Row]) -> str:
    """Rows of a table, newest first. Runs of older versions may have told less of themselves."""
    return "".join(
        f"\n| {str(row['finished_at'] or '')[:16]} | {row['kind']} | {row['snapshot']} | {row['n_documents'] or 0:,} "
        f"| {_sources(row['sources'] or ())} |"
        for row in runs[: -RUNS - 1 : -1]
    )


def _sources(names: Sequence[str]) -> str:
    more = len(names) - SOURCES
    return ", ".join(f"`{_cell(name)}`" for name in names[:SOURCES]) + (f" and {more} more" if more > 0 else "")


def _libraries(run: Row) -> str:
    return ", ".join(f"{entry['name']} {entry['version']}" for entry in run.get("libraries") or ())


_BACK = """\
## Taking changes back

`qingyuan revert FOLDER DOC_ID` prints what a document was before cleaning, `qingyuan verify FOLDER` does it for all of
them and compares hashes. For a column of them, with `edits` joined to `clean` by `doc_id`:

```python
from tasks.steps.log import revert_all

observed = revert_all(row.text, row.edits)
```
"""


def _limits(snapshot: Snapshot) -> Iterator[str]:
    counts = snapshot.counts
    yield "## Known limits\n"
    yield (
        "- Repairs that are guesses have a `confidence` below 1; `min_confidence` is the lowest one of a document. "
        "Damage that could not be repaired stays, and `damage` says where."
    )
    yield "- Boilerplate is told by rules: some stays, and now and then a line of an article goes. It is in `edits`."
    yield "- Machine translation can't be undone: it is flagged (`mt_score`, `spun_score`)."
    yield "- Nobody has looked for personal data, or for what is untrue or offensive.\n"
    yield from _tally("Flag", "documents", counts.flags)


_LICENCE = """\
## Licence

Unknown: that of the sources, whose texts these are. What pages say of theirs is in the column `licence`.
"""


def _languages(snapshot: Snapshot) -> list[str]:
    return [lang for lang, _ in snapshot.counts.langs.most_common() if lang != "und"] or ["zh"]


def _size(n: int) -> str:
    """Hugging Face's category: `n<1K`, `1K<n<10K`, …, `n>1T`."""
    for power, bound in enumerate(_SIZES):
        if n < 1000 * 10**power:
            return f"{_SIZES[power - 1]}<n<{bound}" if power else f"n<{bound}"
    return f"n>{_SIZES[-1]}"


def _plain(text: str) -> str:
    """A name without what neither YAML nor a heading can hold."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cell(text: str) -> str:
    """A name within a cell of a table, in code."""
    return _plain(text).replace("`", "'").replace("|", "¦").replace("<", "‹")
