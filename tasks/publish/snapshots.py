"""What a dataset folder holds, for those who write it and those who read it back.

    <out>/clean/ edits/ rejected/ runs/   the view: Parquet files and nothing else, hard links to objects
    <out>/_store/objects/<sha256>         the parts of the last snapshots
    <out>/_store/manifests/000001.json    what a snapshot consists of; the highest number is the current one
    <out>/_store/tmp/<run>/               parts that are being written
    <out>/_store/lock                     held by the process that is writing

Nothing in the store is called .parquet: the `**` of DuckDB and Polars looks into every folder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


class DatasetError(Exception):
    """A dataset folder can't be used as asked; the message says why, and what to do."""


class NoDatasetError(DatasetError):
    """What was named as the folder of a dataset is something else: nothing was done to it."""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a snapshot."""

    name: str
    """File name in the view: number and start of the hash, so that it is never used for another content."""
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published state of the dataset."""

    number: int
    run_id: str
    published_at: datetime
    """UTC."""
    schema_version: str
    tables: Mapping[str, tuple[StoredPart, ...]]
    """Parts by table, in the order of the sources."""

    def rows(self, table: str) -> int:
        """Number of rows of a table."""
        return sum(part.rows for part in self.tables[table])


def store(out: Path) -> Path:
    """The folder of everything that isn't for readers."""
    return out / "_store"


def object_path(out: Path, part: StoredPart) -> Path:
    """Where a part is kept."""
    return store(out) / "objects" / part.sha256


def manifest_path(out: Path, number: int) -> Path:
    """Where the manifest of a snapshot is."""
    return store(out) / "manifests" / f"{number:06}.json"


def numbers(out: Path) -> list[int]:
    """The snapshots there are, oldest first."""
    return sorted(int(path.stem) for path in (store(out) / "manifests").glob("*.json") if path.stem.isdigit())


def newest(out: Path) -> Snapshot | None:
    """The current snapshot; None if nothing was published yet.

    Raises:
        DatasetError: if its manifest can't be read.
    """
    published = numbers(out)
    return read_snapshot(out, published[-1]) if published else None


def current(out: Path) -> Snapshot:
    """The current snapshot.

    Raises:
        DatasetError: if the folder holds none, or its manifest can't be read.
    """
    snapshot = newest(out)
    if snapshot is None:
        raise DatasetError(f"{out} holds no dataset of qingyuan. Make one with: qingyuan clean SOURCE --out {out}")
    return snapshot


def read_snapshot(out: Path, number: int) -> Snapshot:
    """One of the snapshots.

    Raises:
        DatasetError: if its manifest can't be read.
    """
    path = manifest_path(out, number)
    try:
        return _parse(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"the manifest {path} can't be read: {error!r}. Restore it, or clean into a new folder"
        ) from error


def to_json(snapshot: Snapshot) -> str:
    """The manifest of a snapshot."""
    return json.dumps(asdict(snapshot), default=datetime.isoformat, indent=1) + "\n"


def _parse(manifest: dict[str, Any]) -> Snapshot:
    tables = {table: tuple(StoredPart(**part) for part in parts) for table, parts in manifest["tables"].items()}
    moment = datetime.fromisoformat(manifest["published_at"])
    return Snapshot(**{**manifest, "published_at": moment, "tables": tables})
