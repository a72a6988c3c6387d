"""CSV and TSV: a record for each row.

The bytes are parsed as Latin-1, and each field is bytes again: in UTF-8, GBK and Big5 no part of a character looks like
a comma, a semicolon, a tab, a quote or the end of a line. (`|` may be one in GBK and Big5: 0x7C.) So the encoding of
each document can be found on its own, and a table that is in several is no worse than one.

There is no `split`: whether a line feed ends a row depends on all quotes before it.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal, NamedTuple

from schemas.config import ReadConfig
from schemas.document import RawDocument, Reason
from tasks.decode import decode
from tasks.read.fields import document_of, has_text_name
from tasks.read.jsonl import too_long
from tasks.read.lines import TooLong, as_utf8, chunks, lines
from tasks.read.records import BrokenError, Document, Input, Item, rejected

_DELIMITERS = ",\t;|\x01"
"""Those of which a header may have several; the likelier ones first. The last is Hive's."""

_HEAD_BYTES = 64 * 1024
_BESIDE_BYTES = 64 * 1024
"""What may stand in a row beside a text of `max_bytes`."""

_MAX_UNCLOSED = 16
"""Rows that may not end. Each costs as much as the longest row there may be: after so many, the quotes mean nothing."""

_SEP = re.compile(rb"(?:\xef\xbb\xbf)?sep=(.)\r?\n?")
"""A first line by which Excel is told the delimiter."""

_QUOTED = re.compile(rb'(?:^|\t)"(?P<closed>(?:[^"]|"")*+"(?=\t|\r?$))?', re.MULTILINE)
_LONE_RETURN = re.compile(rb"(?<=\r)(?!\n)")
_MIN_TEXT = 60
"""Bytes of a field, in a table without header, that count as text: twenty ideographs, or ten words."""
_URL = re.compile(rb"https?://\S+")


class Layout(NamedTuple):
    """How a table is written: told by the beginning of the file alone."""

    delimiter: str
    quoting: Literal[0, 3]
    """`csv.QUOTE_MINIMAL` or `csv.QUOTE_NONE`."""
    charset: str
    """Of most of it, as far as can be told."""
    columns: list[str]
    has_header: bool
    text_column: str
    """The name of the one that holds the text; empty where names tell."""


class _Row(NamedTuple):
    """A record, or what could not be parsed."""

    fields: list[bytes]
    raw: bytes
    problem: str | TooLong = ""


def read(given: Input) -> Iterator[Item]:
    """A document for each row.

    Raises:
        BrokenError: if no column holds texts, by its name, by what is configured, or for want of others.
    """
    pieces = as_utf8(chunks(given.stream))
    head = b""
    while len(head) < _HEAD_BYTES and (piece := next(pieces, b"")):
        head += piece
    if not head.strip():
        return
    layout = layout_of(given.place.name, head[:_HEAD_BYTES], given.config.read)
    if told := _SEP.match(head):
        head = head[told.end() :]
    config = given.config.read
    if layout.text_column:
        config = config.model_copy(update={"text_field": layout.text_column})
    given = replace(given, config=given.config.model_copy(update={"read": config}))
    rows = _rows(chain([head], pieces), layout, given.config.max_bytes + _BESIDE_BYTES)
    for number, row in enumerate(rows, 0 if layout.has_header else 1):
        if number:
            yield _document(given, f"row={number}", row, layout)


def _document(given: Input, address: str, row: _Row, layout: Layout) -> Document:
    if isinstance(row.problem, TooLong):
        return too_long(given, address, row.problem)
    if row.problem:
        return rejected(given.place, address, Reason.BROKEN, row.problem, row.raw)
    names = chain(layout.columns, (f"column_{n}" for n in range(len(layout.columns) + 1, len(row.fields) + 1)))
    record = dict(zip(names, row.fields, strict=False))
    return document_of(given, address, record, row.raw, layout.charset)


def layout_of(name: str, head: bytes, config: ReadConfig) -> Layout:
    """How a table is written.

    The delimiter is the sign that its first line has most of, outside quotes; tabs come first where the name says so.
    The first row is the header if the name of the text is in it. Where there is no such name in it, it may still be
    one, if no field of it is as long as a text; otherwise the text is the longest field of the first row. A table of
    one column without such a name has no header.

    Raises:
        BrokenError: if there is no column that could be the text.
    """
    told = _SEP.match(head)
    body = head[told.end() :] if told else head
    delimiter = told[1].decode("latin-1") if told else _delimiter(name, body)
    quoting: Literal[0, 3] = 0 if delimiter != "\t" or _is_quoted(body) else 3
    charset = _charset(head)
    layout = Layout(delimiter, quoting, charset, [], has_header=False, text_column="")
    first = next((row.fields for row in _rows(iter([body]), layout, len(head))), [])
    return _with_columns(layout, first, config)


def _with_columns(layout: Layout, first: Sequence[bytes], config: ReadConfig) -> Layout:
    names = [_name(field, layout.charset) for field in first]
    asked = config.text_field
    if asked.casefold() in {name.casefold() for name in names} if asked else has_text_name(names):
        return layout._replace(columns=_unique(names), has_header=True)
    numbered = [f"column_{n}" for n in range(1, len(first) + 1)]
    if asked in {*numbered, *map(str, range(1, len(first) + 1))}:
        return layout._replace(columns=numbered, text_column=f"column_{asked.removeprefix('column_')}")
    if asked:
        raise BrokenError(f"It has no column {asked!r}; there are: {', '.join(names)}.", "row=1")
    if len(first) == 1:
        return layout._replace(columns=numbered, text_column="column_1")
    longest = max(range(len(first)), key=lambda n: 0 if _URL.fullmatch(first[n].strip()) else len(first[n]))
    if len(first[longest]) < _MIN_TEXT:
        why = (
            f"No column has a usual name for the text; there are: {', '.join(names)}. Name the one to read: text_field."
        )
        raise BrokenError(why, "row=1")
    return layout._replace(columns=numbered, text_column=f"column_{longest + 1}")


def _name(field: bytes, charset: str) -> str:
    return field.decode(charset, "replace").strip().strip("\ufeff")[:200]


def _unique(names: Sequence[str]) -> list[str]:
    """Names of columns: a second one of the same name gets `#2`, one without a name its number."""
    seen: dict[str, int] = {}
    made = []
    for number, given in enumerate(names, 1):
        name = given or f"column_{number}"
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return made


def _delimiter(name: str, head: bytes) -> str:
    line = re.sub(rb'"[^"\n]*"', b"", head.split(b"\n", 1)[0]).decode("latin-1")
    likely = "\t" + _DELIMITERS if name.lower().endswith((".tsv", ".tab")) else _DELIMITERS
    if likely[0] in line and likely[0] == "\t":
        return "\t"
    return max(likely, key=line.count)


def _is_quoted(head: bytes) -> bool:
    """Whether quotes in a table with tabs are there to be taken off: all fields that begin with one end with one.

    Few programs quote there, and a text may well begin with a word in quotes.
    """
    whole = head.rpartition(b"\n")[0] if len(head) == _HEAD_BYTES else head
    opened = list(_QUOTED.finditer(whole))
    return bool(opened) and all(match["closed"] is not None for match in opened)


def _charset(head: bytes) -> str:
    """The encoding of the head, by which names of columns are read, and what stands beside the texts."""
    encoding = decode(RawDocument("", head.rpartition(b"\n")[0] or head)).encoding
    try:
        "".encode(encoding)
    except LookupError:
        return "utf-8"
    return "utf-8" if encoding == "ascii" else encoding  # of which it is a part


def _rows(pieces: Iterator[bytes], layout: Layout, longest: int) -> Iterator[_Row]:
    """Rows that are not blank.

    A quote that isn't closed must not swallow the rest: a row that doesn't end, within `longest` bytes or at all, is
    its first line, and reading goes on with the second; unless the file was cut in it.

    Raises:
        BrokenError: if too many rows don't end.
    """
    csv.field_size_limit(sys.maxsize)  # the bound is ours: of the whole row
    feed = _Feed(pieces, longest)
    n_rows = n_unclosed = 0
    while not feed.has_ended:
        for row in _until_bad(feed, layout):
            n_rows += 1
            n_unclosed += row.problem == _UNCLOSED
            yield row
        if n_unclosed >= _MAX_UNCLOSED:
            raise BrokenError("Too many quotes are not closed: it is not read further.", f"row={n_rows + 1}")


def _until_bad(feed: "_Feed", layout: Layout) -> Iterator[_Row]:
    """Rows up to one that can't be parsed."""
    try:
        for fields in csv.reader(feed, delimiter=layout.delimiter, quoting=layout.quoting):
            raw = feed.take()
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield _Row([field.encode("latin-1") for field in fields], raw)
    except _UnclosedError:
        is_cut = feed.is_cut(layout)
        yield _Row([], feed.take() if is_cut else feed.first(), _CUT if is_cut else _UNCLOSED)
    except _LongError as error:
        if before := feed.take():
            yield _Row([], before, _UNCLOSED)
        yield _Row([], b"", error.line)
    except csv.Error as error:
        yield _Row([], feed.take(), f"It can't be parsed: {error}.")


_UNCLOSED = "A quote is not closed: its row does not end."
_CUT = "The file ends within this row: a quote is not closed."


class _UnclosedError(Exception):
    """A row goes on for too long."""


class _LongError(Exception):
    """A line is too long."""

    def __init__(self, line: TooLong) -> None:
        self.line = line
        super().__init__()


class _Feed:
    """Lines for the parser, which asks for them one by one; those of the row that it is at are held."""

    def __init__(self, pieces: Iterator[bytes], longest: int) -> None:
        self._lines = _ended(lines(pieces, longest))
        self._longest = longest
        self._held: list[bytes] = []
        self._n_held = 0
        self._again: list[bytes | TooLong] = []
        self._is_last = False
        self.has_ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines, None)
        if self._held and (line is None or self._n_held > self._longest):
            self._again += [] if line is None else [line]
            self._is_last = line is None
            raise _UnclosedError
        if line is None:
            self.has_ended = True
            raise StopIteration
        if isinstance(line, TooLong):
            raise _LongError(line)
        self._held.append(line)
        self._n_held += len(line)
        return line.decode("latin-1")

    def is_cut(self, layout: Layout) -> bool:
        """Whether the file seems to end within the row that is held: few of its further lines are rows themselves."""
        n_columns = len(layout.columns)
        if not self._is_last or n_columns < 2:
            return False
        others = [line.decode("latin-1") for line in self._held[1:]]
        rows = csv.reader(others, delimiter=layout.delimiter, quoting=csv.QUOTE_NONE)
        return 2 * sum(len(row) == n_columns for row in rows) <= len(others)

    def take(self) -> bytes:
        """The row that was held: it is done with."""
        raw = b"".join(self._held)
        self._held, self._n_held = [], 0
        return raw

    def first(self) -> bytes:
        """The first line of the row that is held; the others will be given again."""
        first, *others = self._held
        self._again.extend(reversed(others))
        self._held, self._n_held = [], 0
        return first


def _ended(given: Iterator[bytes | TooLong]) -> Iterator[bytes | TooLong]:
    """Lines that end with a line feed, or with a carriage return alone, as they did on old Macs."""
    for line in given:
        if isinstance(line, bytes) and b"\r" in line:
            yield from filter(None, _LONE_RETURN.split(line))
        else:
            yield line
