"""Parquet files: a record for each row, in batches of a few megabytes."""

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate, islice
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.document import Reason
from tasks.read.fields import document_of, has_text_name
from tasks.read.records import BrokenError, Document, Input, Item, Span, rejected
from tasks.read.sources import Source
from tasks.read.streams import FLOOR_BYTES

_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_ROWS = 32
"""At most at a time: a file of a kilobyte can have a million rows of a megabyte each, which are one in its dictionary.
(Read as dictionaries, columns that are none would be held as a whole.)
"""
_BUFFER_BYTES = 256 * 1024
"""Read at a time from each column: without it, a column of a row group is read as a whole."""

_SPOOLED_BYTES = 16 * 1024 * 1024
"""Of a file within another that are held in memory; the rest goes to a temporary file without a name."""

_ROW_BYTES = 128
"""What a row counts at least, so that a billion rows of nothing are out of bounds, too."""

_DAMAGE = (pa.ArrowException, OSError, ValueError)


class _Group(NamedTuple):
    """A row group."""

    number: int
    first: int
    """Number of its first row in the file, from 1."""
    n_rows: int
    n_packed: int
    """Bytes in the file, about."""
    n_bytes: int
    """Bytes without compression; texts that are in a dictionary count once."""


def read(given: Input) -> Iterator[Item]:
    """A document for each row. Row groups that can't be read, or not to their end, are a row each.

    Raises:
        BrokenError: if the file can't be opened, or has no column for the text.
    """
    with _seekable(given.stream) as stream:
        file = _opened(stream)
        if file.metadata.num_rows and not _may_have_text(file.schema_arrow, given.config.read.text_field):
            names = ", ".join(file.schema_arrow.names[:20])
            wanted = given.config.read.text_field or "with a usual name for the text"
            raise BrokenError(f"It has no column {wanted}; there are: {names}. Name the one to read: text_field.")
        for group in _groups(file, _n_bytes(stream))[given.begin : given.end]:
            yield from _group(given, file, group)


def split(stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
    """Row groups, as many as make a piece."""
    groups = _groups(_opened(stream), _n_bytes(stream))
    begin = 0
    while begin < len(groups):
        end, n_bytes = begin, 0
        while end < len(groups) and n_bytes < size:
            n_bytes += groups[end].n_packed
            end += 1
        yield Span(source, begin, end, groups[begin].first, n_bytes)
        begin = end


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """A stream that can seek: itself, or a copy."""
    if stream.seekable():
        yield stream
        return
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield cast("BinaryIO", copy)


def _opened(stream: BinaryIO) -> Any:
    stream.seek(0)
    try:
        return pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
    except _DAMAGE as error:
        raise BrokenError(f"The Parquet file can't be opened: {_told(error)}.") from error


def _may_have_text(schema: pa.Schema, asked: str) -> bool:
    """Whether rows may have a text: in a column of that name, or in one that holds further ones."""
    if asked:
        first = asked.partition(".")[0].casefold()
        return any(name.casefold() in {asked.casefold(), first} for name in schema.names)
    return has_text_name(schema.names) or any(pa.types.is_struct(field.type) for field in schema)


def _groups(file: Any, n_file: int) -> list[_Group]:
    """Row groups. Their sizes in the file are estimated: asked for a column that is encrypted, pyarrow aborts."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    sizes = [max(group.total_byte_size, 0) for group in groups]
    first = accumulate((group.num_rows for group in groups), initial=1)
    total = max(sum(sizes), 1)
    return [
        _Group(number, row, group.num_rows, n_file * size // total, size)
        for number, (row, group, size) in enumerate(zip(first, groups, sizes, strict=False))
    ]


def _n_bytes(stream: BinaryIO) -> int:
    return stream.seek(0, io.SEEK_END)


def _group(given: Input, file: Any, group: _Group) -> Iterator[Document]:
    """Rows of a row group, and one for those that can't be read, or are out of bounds."""
    number, n_bytes = group.first, 0
    floor = FLOOR_BYTES // file.metadata.num_row_groups
    bound = max(floor, given.config.read.max_ratio * group.n_packed)
    try:
        for cells in _cells(file, group):
            made = document_of(given, f"row={number}", cells)
            n_bytes += made.origin.n_bytes + len(made.origin.extra) + _ROW_BYTES
            if n_bytes > bound:
                why = f"Row group {group.number} expands to more than {bound:,} bytes: not read further."
                yield rejected(given.place, f"row={number}", Reason.BOMB, why)
                return
            yield made
            number += 1
    except _DAMAGE as error:
        last = group.first + group.n_rows - 1
        why = f"Rows {number:,} to {last:,} can't be read: {_told(error)}."
        yield rejected(given.place, f"row={number}", Reason.BROKEN, why)


def _cells(file: Any, group: _Group) -> Iterator[dict[str, Any]]:
    """Rows of a row group as mappings. Where a batch can't be read, they are read one by one, as far as that goes."""
    size = max(1, min(_BATCH_ROWS, _BATCH_BYTES * group.n_rows // max(group.n_bytes, 1)))
    n_read = 0
    try:
        for batch in file.iter_batches(size, row_groups=[group.number], use_threads=False):
            for cells in _rows(batch):
                n_read += 1
                yield cells
    except _DAMAGE:
        for batch in islice(file.iter_batches(1, row_groups=[group.number], use_threads=False), n_read, None):
            yield from _rows(batch)


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as mappings, one at a time: values that are in a dictionary are made when their turn comes."""
    names = batch.schema.names
    unique = [name if name not in names[:n] else f"{name}#{n + 1}" for n, name in enumerate(names)]
    cells: list[Callable[[int], Any]] = [_cell(batch.column(n)) for n in range(batch.num_columns)]
    for at in range(batch.num_rows):
        yield {name: cell(at) for name, cell in zip(unique, cells, strict=True)}


def _cell(column: Any) -> Callable[[int], Any]:
    def value(at: int) -> Any:
        cell = column[at]
        try:
            return cell.as_py()
        except UnicodeDecodeError:  # said to be UTF-8, and isn't
            return _bytes_of(cell)
        except (ValueError, OverflowError):  # a date that Python hasn't
            return str(cell)

    return value


def _bytes_of(cell: Any) -> Any:
    cell = cell.value if isinstance(cell, pa.DictionaryScalar) else cell
    return cell.as_buffer().to_pybytes() if hasattr(cell, "as_buffer") else repr(cell)


def _told(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
