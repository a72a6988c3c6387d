"""Outcomes to parts: Parquet files, written in bounded memory, checked, safe on the disk, and named by their hash."""

import hashlib
import json
import os
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.dataset import ENUMERATIONS, KEYS, clean_row, edits_row, rejected_row, with_footer
from schemas.document import Outcome, Reason, Rejection, Run

ROWS_PER_GROUP = 1000
"""Point look-ups take milliseconds where a group is not much larger (DESIGN.md)."""

_GROUP_BYTES = 64 * 1024 * 1024
"""A row group of large documents is closed earlier, by a rough measure of what its rows take in memory."""

_EDIT_BYTES = 500
"""Memory of one edit as a dict of seven entries."""

_COMPRESSION_LEVEL = 9
"""Of zstd: 18.0 MB for 50 MB of Chinese text, in 2 s. Level 3 makes 20.6 MB of it, level 19 15.6 MB, in 39 s."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of some documents. Counts add up."""

    documents: int = 0
    clean: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    edits: Counter[str] = field(default_factory=Counter)
    """By step."""
    removed: Counter[str] = field(default_factory=Counter)
    """Characters, by step: as `edits_by_step.chars_removed` of the dataset."""
    chars_in: int = 0
    """Of the decoded texts of all documents."""
    chars_out: int = 0
    """Of the clean texts."""
    encodings: Counter[str] = field(default_factory=Counter)
    langs: Counter[str] = field(default_factory=Counter)
    """Of clean documents."""
    scripts: Counter[str] = field(default_factory=Counter)
    """Of clean documents, before conversion."""
    flags: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    """Clean documents that another one stands for."""

    def __add__(self, other: "Counts") -> "Counts":
        """Field by field."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Part:
    """A finished Parquet file that is not published yet."""

    table: str
    path: Path
    sha256: str
    rows: int
    bytes: int
    counts: Counts = field(default_factory=Counts)
    """Of the documents in it. Parts of `edits` have none, so that a sum over all parts counts every document once."""


def write_parts(outcomes: Iterable[Outcome], run: Run, folder: Path) -> list[Part]:
    """Write the rows of some outcomes, in their order, to at most one part for each table that has any.

    A document that can't be stored (a lone surrogate, edits that don't lead back) ends as rejected, reason `failed`.

    Raises:
        OSError: if a part can't be written; nothing is left of it then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writers = {table: PartWriter(table, run.pipeline_version, run.rules_digest, folder) for table in _TABLES}
    try:
        for outcome in outcomes:
            for table, row, counts in _rows(outcome, run):
                writers[table].add(row, counts)
        return [part for writer in writers.values() if (part := writer.finish())]
    finally:
        for writer in writers.values():
            writer.discard()


_TABLES = ("clean", "edits", "rejected")

_Rows = list[tuple[str, dict[str, Any], Counts]]


def _rows(outcome: Outcome, run: Run) -> _Rows:
    try:
        rows = _rows_as_is(outcome, run)
        json.dumps([row for _, row, _ in rows], default=repr, ensure_ascii=False).encode()  # finds lone surrogates
    except Exception:  # noqa: BLE001  # whatever it is, the other documents are unaffected
        rejection = Rejection(Reason.FAILED, f"It can't be stored. {traceback.format_exc()}")
        return _rows_as_is(Outcome(outcome.origin, rejection=rejection), run)
    return rows


def _rows_as_is(outcome: Outcome, run: Run) -> _Rows:
    edits = ("edits", edits_row(outcome), Counts())
    if outcome.rejection is None:
        row = clean_row(outcome, run)
        return [("clean", row, _counts(outcome, row)), edits]
    row = rejected_row(outcome, run)
    return [("rejected", row, _counts(outcome, row)), edits]


def _counts(outcome: Outcome, row: Mapping[str, Any]) -> Counts:
    kept = outcome.rejection is None
    return Counts(
        documents=1,
        clean=int(kept),
        rejected=Counter([] if kept else [row["reason"]]),
        edits=Counter({entry["step"]: entry["edits"] for entry in row["edits_by_step"]}),
        removed=Counter({entry["step"]: entry["chars_removed"] for entry in row["edits_by_step"]}),
        chars_in=len(outcome.text_in or ""),
        chars_out=row["n_chars"] if kept else 0,
        encodings=Counter([row["encoding"]] if outcome.decoded else []),
        langs=Counter([row["lang"]] if kept else []),
        scripts=Counter([row["script_source"]] if kept else []),
        flags=Counter(row["flags"]),
    )


class PartWriter:
    """Collects the rows of one part and writes them in row groups."""

    def __init__(self, table: str, pipeline_version: str, rules_digest: str, folder: Path) -> None:
        self._table = table
        self._schema = with_footer(table, pipeline_version, rules_digest)
        # Unlike the final name it can't be that of another process, nor of a try before this one.
        self._path = folder / f"{uuid4().hex}.writing"
        self._writer: pq.ParquetWriter | None = None
        self._buffer: list[dict[str, Any]] = []
        self._buffered_bytes = 0
        self._rows = 0
        self._counts = Counts()

    def add(self, row: dict[str, Any], counts: Counts) -> None:
        """Take a row, and write a row group if there is enough for one."""
        self._buffer.append(row)
        self._buffered_bytes += 3 * len(row.get("text") or "") + _EDIT_BYTES * len(row.get("edits", ()))
        self._counts += counts
        if len(self._buffer) >= ROWS_PER_GROUP or self._buffered_bytes >= _GROUP_BYTES:
            self._write_group()

    def finish(self, *, even_if_empty: bool = False) -> Part | None:
        """Write the rest, sync, and give the file the hash of its content for a name; None if there were no rows."""
        if self._buffer or (even_if_empty and not self._rows):
            self._write_group()
        if self._writer is None:
            return None
        self._writer.close()
        sync(self._path)
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = self._path.stat().st_size
        path = self._path.rename(self._path.with_name(f"{self._table}-{sha256}"))
        return Part(self._table, path, sha256, self._rows, size, self._counts)

    def discard(self) -> None:
        """Remove what was not finished."""
        self._path.unlink(missing_ok=True)

    def _write_group(self) -> None:
        table = pa.Table.from_pylist(self._buffer, schema=self._schema).combine_chunks()
        table.validate(full=True)  # pyarrow would write invalid UTF-8 without a word
        if self._writer is None:
            self._writer = _open_writer(self._table, self._path, self._schema)
        self._writer.write_table(table, row_group_size=max(len(self._buffer), 1))
        self._rows += len(self._buffer)
        self._buffer = []
        self._buffered_bytes = 0


def _open_writer(table: str, path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        use_dictionary=list(ENUMERATIONS[table]),
        write_statistics=list(KEYS[table]),
        write_page_index=True,
        write_page_checksum=True,
    )


def sync(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
