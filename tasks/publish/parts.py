"""Rows to parts: Parquet files, written in bounded memory, checked, safe on the disk, and named by their hash."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.dataset import ENUMERATIONS, KEYS, with_footer
from schemas.document import Run
from schemas.index import INTERNAL
from tasks.publish.counts import Counts

ROWS_PER_GROUP = 1000
"""Point look-ups take milliseconds where a group is not much larger (DESIGN.md)."""

_COMPRESSION_LEVEL = 3
"""Of zstd: 20.6 MB for 50 MB of Chinese text, in 0.4 s. Level 9 makes 18.0 MB of it, in 2 s, and a re-ingest that
changes a document of each part writes them all."""


@dataclass(frozen=True, slots=True)
class Part:
    """A finished Parquet file that is not published yet."""

    table: str
    path: Path
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """Where the rows of a batch are, on this machine."""

    index: Path
    """Its part of `schemas.index.INDEX`."""
    clean: Path | None
    """Its part of that table; None if it has no rows there. So are the other two."""
    rejected: Path | None
    edits: Path | None
    gone: frozenset[str] = frozenset()
    """Of the doc_ids: what is in the parts, and no longer in the dataset."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch that is not published yet: its parts by table, and what is in them."""

    parts: Mapping[str, Part]
    counts: Counts = field(default_factory=Counts)


class PartWriter:
    """Writes one part, a row group at a time."""

    def __init__(self, table: str, run: Run, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table = table
        self._schema = INTERNAL.get(table) or with_footer(table, run.pipeline_version, run.rules_digest)
        # Unlike the final name it can't be that of another process, nor of a try before this one.
        self._path = folder / f"{uuid4().hex}.writing"
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Write rows, and give them back as a table.

        Raises:
            pa.ArrowException: if they don't fit the schema.
            OSError: if they can't be written.
        """
        return self.write(self.table(rows))

    def table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Rows as a table, for `write`.

        Raises:
            pa.ArrowException: if they don't fit the schema.
            UnicodeEncodeError: if there is a lone surrogate in them.
        """
        return pa.Table.from_pylist(rows, schema=self._schema)

    def write(self, table: pa.Table) -> pa.Table:
        """Write a table; nothing if it has no rows."""
        table = table.cast(self._schema).combine_chunks()
        table.validate(full=True)  # pyarrow would write invalid UTF-8 without a word
        if table.num_rows:
            self._open().write_table(table, row_group_size=ROWS_PER_GROUP)
            self._rows += table.num_rows
        return table

    def finish(self, *, even_if_empty: bool = False) -> Part | None:
        """Sync what was written, and give the file the hash of its content for a name; None if there were no rows."""
        if even_if_empty:
            self._open()
        if self._writer is None:
            return None
        self._writer.close()
        sync(self._path)
        sha256 = hash_file(self._path)
        size = self._path.stat().st_size
        path = self._path.rename(self._path.with_name(f"{self._table}-{sha256}"))
        return Part(self._table, path, sha256, self._rows, size)

    def discard(self) -> None:
        """Remove what was not finished."""
        self._path.unlink(missing_ok=True)

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            readers = self._table not in INTERNAL
            self._writer = pq.ParquetWriter(
                self._path,
                self._schema,
                compression="zstd",
                compression_level=_COMPRESSION_LEVEL,
                use_dictionary=list(ENUMERATIONS[self._table]) if readers else ["cleaned_with", "run_id", "reason"],
                write_statistics=list(KEYS[self._table]) if readers else False,
                write_page_index=readers,
                write_page_checksum=True,
            )
        return self._writer


def write_part(table: str, rows: pa.Table | Sequence[Mapping[str, Any]], run: Run, folder: Path) -> Part:
    """All rows of a part at once; a part without rows if there are none.

    Raises:
        OSError: if it can't be written; nothing is left of it then.
    """
    writer = PartWriter(table, run, folder)
    try:
        (writer.write if isinstance(rows, pa.Table) else writer.write_rows)(rows)
        part = writer.finish(even_if_empty=True)
    finally:
        writer.discard()
    assert part is not None
    return part


def file_part(table: str, path: Path) -> Part:
    """A part that is no Parquet file: for the store alone.

    Raises:
        OSError: if it can't be read.
    """
    sync(path)
    return Part(table, path, hash_file(path), 0, path.stat().st_size)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
