"""What the last snapshot has of the documents that a shard reads: those that have not changed stay as they are."""

from collections.abc import Iterable
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.document import Origin


class Fate(Enum):
    """What happens to a document that was read."""

    CLEAN = auto()
    STAY = auto()
    """It is what it was."""
    PASS = auto()
    """It isn't asked for."""


class Known(NamedTuple):
    """A document of the last snapshot."""

    doc_id: str
    state: str
    """`Origin.state` as it was then."""
    first_run_id: str
    may_stay: bool
    """Whether it was cleaned with the rules and settings of this run."""


_SCHEMA = pa.schema(
    [("doc_id", pa.string()), ("state", pa.string()), ("first_run_id", pa.string()), ("may_stay", pa.bool_())]
)

_PICKED = b"picked"


def write_before(known: Iterable[Known], folder: Path, *, picked: bool) -> Path:
    """Write what is known of the documents of a shard.

    Args:
        known: Its documents, or some of them.
        folder: Where the file goes.
        picked: Whether these alone are to be cleaned, as far as they have not changed, and nothing else.

    Raises:
        OSError: if it can't be written.
    """
    table = pa.Table.from_pylist([row._asdict() for row in known], _SCHEMA)
    path = folder / f"before-{uuid4().hex}"
    pq.write_table(table.replace_schema_metadata({_PICKED: str(picked)}), path)
    return path


class Before:
    """What is known of the documents of a shard.

    Args:
        path: As `write_before` has made it; None if nothing is known.

    Raises:
        OSError: if it can't be read.
    """

    def __init__(self, path: Path | None) -> None:
        table = pq.read_table(path) if path else _SCHEMA.empty_table()
        self._picked = (table.schema.metadata or {}).get(_PICKED) == b"True"
        self._known = {row[0]: Known(*row) for row in zip(*(c.to_pylist() for c in table.columns), strict=True)}

    def fate(self, origin: Origin) -> Fate:
        """What happens to a document that was read."""
        known = self._known.get(origin.doc_id)
        if self._picked:
            return Fate.CLEAN if known and known.state in {"", origin.state} else Fate.PASS
        is_same = known and known.may_stay and known.state and known.state == origin.state
        return Fate.STAY if is_same else Fate.CLEAN

    def first_run(self, doc_id: str) -> str:
        """The run in which it came first; empty where it is new."""
        known = self._known.get(doc_id)
        return known.first_run_id if known else ""
