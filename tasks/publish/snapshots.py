"""What a snapshot consists of, and its manifest.

    <out>/clean/ edits/ rejected/ lines/ runs/   the view: Parquet files and nothing else, hard links to objects
    <out>/README.md croissant.json        what the snapshot has, for people, hubs and loaders (tasks/publish/card.py)
    <out>/_store/objects/<sha256>         the parts of the last snapshots, those of the index and the file states too
    <out>/_store/manifests/000001.json    what a snapshot consists of; the highest number is the current one
    <out>/_store/work/<key>/              journals of runs that have not published: finished documents
    <out>/_store/tmp/                     parts that are being written, and folders that were exchanged
    <out>/_store/lock                     held by the process that is writing

Nothing in the store is called .parquet: the `**` of DuckDB and Polars looks into every folder. On an object store there
are objects and manifests alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import chain
from typing import Any

from schemas.dataset import TABLES
from tasks.publish.counts import Counts

BATCH_TABLES = ("clean", "edits", "rejected", "index")


class DatasetError(Exception):
    """A dataset folder can't be used as asked; the message says why, and what to do."""


class NoDatasetError(DatasetError):
    """What was named as the folder of a dataset is something else: nothing was done to it."""


class DamagedError(DatasetError):
    """A part of the dataset is missing, or its content is no more what it was."""


class SnapshotGoneError(DatasetError):
    """There is no such snapshot (any more)."""


class DatasetBusyError(DatasetError):
    """Another process is writing the dataset."""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a snapshot."""

    name: str
    """File name in the view: number of the batch and start of the hash, so that it is never used for another content.
    Parts of the index and file states are in no view: their names are empty."""
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents that came in together: those of a shard, or of several small ones."""

    number: int
    """In the order of ingest. It stays when documents leave the batch."""
    parts: Mapping[str, StoredPart]
    """By table, one of `BATCH_TABLES` each: those that have rows."""
    counts: Counts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published state of the dataset."""

    number: int
    run_id: str
    published_at: datetime
    """UTC."""
    schema_version: str
    batches: tuple[Batch, ...]
    """In order of their numbers."""
    singles: Mapping[str, tuple[StoredPart, ...]] = field(default_factory=dict)
    """Parts of no batch, by table: `lines`, `runs`, and a part without rows for a table that has none."""
    state: Mapping[str, StoredPart] = field(default_factory=dict)
    """What the next run wants to know besides the index: `files`, what the sources looked like (`schemas.index.FILES`),
    and `pairs`, which texts were compared (`tasks.corpus.duplicates.PAIR`, as numpy stores it)."""
    rules_digest: str = ""
    """Of the run that made it."""
    dedup: str = "off"
    """What was done with documents that tell the same, as in `schemas.config.RunConfig`."""
    settled: bool = True
    """Whether all was cleaned again of which the counts say something else; if not, the next run tries."""
    restores: int | None = None
    """Number of the snapshot that this one is a copy of."""

    @property
    def tables(self) -> dict[str, tuple[StoredPart, ...]]:
        """Parts by table of the dataset, in the order of ingest."""
        return {
            table: (*(b.parts[table] for b in self.batches if table in b.parts), *self.singles.get(table, ()))
            for table in TABLES
        }

    @property
    def counts(self) -> Counts:
        """Of all documents."""
        return sum((batch.counts for batch in self.batches), Counts())

    @property
    def documents(self) -> tuple[str, ...]:
        """Hashes of the parts that have documents: snapshots for which this is the same have the same ones."""
        return tuple(p.sha256 for t in ("clean", "edits", "rejected") for p in self.tables[t] if p.rows)

    def rows(self, table: str) -> int:
        """Number of rows of a table."""
        return sum(part.rows for part in self.tables[table])

    def objects(self) -> Iterator[StoredPart]:
        """All parts, those that no reader sees as well."""
        yield from chain.from_iterable(batch.parts.values() for batch in self.batches)
        yield from chain.from_iterable(self.singles.values())
        yield from self.state.values()


def to_json(snapshot: Snapshot) -> str:
    """The manifest of a snapshot."""
    return json.dumps(snapshot, default=_plain, indent=1) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    # Not `asdict`: in Python 3.11 it makes Counters of what is in Counters.
    return {f.name: getattr(value, f.name) for f in fields(value)}


def from_json(content: bytes) -> Snapshot:
    """A snapshot from its manifest.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if it is none.
    """
    stored = json.loads(content)
    common = {name: stored[name] for name in ("number", "run_id", "schema_version")}
    common["published_at"] = datetime.fromisoformat(stored["published_at"])
    if "batches" not in stored:  # before version 3 of the schema: nothing of it can be carried over
        return Snapshot(**common, batches=(), singles=_parts_by_table(stored["tables"]))
    return Snapshot(
        **common,
        batches=tuple(map(_batch, stored["batches"])),
        singles=_parts_by_table(stored["singles"]),
        state={name: StoredPart(**part) for name, part in stored["state"].items()},
        rules_digest=stored["rules_digest"],
        dedup=stored["dedup"],
        settled=stored["settled"],
        restores=stored["restores"],
    )


def _parts_by_table(stored: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, tuple[StoredPart, ...]]:
    return {table: tuple(StoredPart(**part) for part in parts) for table, parts in stored.items()}


def _batch(stored: Mapping[str, Any]) -> Batch:
    parts = {table: StoredPart(**part) for table, part in stored["parts"].items()}
    return Batch(stored["number"], parts, Counts.from_json(stored["counts"]))
