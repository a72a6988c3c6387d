r"""JSON lines: a record for each line.

The parser is Python's own, though orjson is three times as fast: it takes `NaN`, halves of characters (`\ud800`) and
numbers of any size as they are, where orjson refuses the first two and rounds the third. It reads 500 MB/s of Chinese
text, a hundred times more than is cleaned in that time.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from schemas.document import Origin, RawDocument, Reason
from tasks.decode import MAX_BAD_SHARE, decode
from tasks.read.fields import document_of
from tasks.read.lines import CHUNK_BYTES, TooLong, as_utf8, chunks, lines, longest_record, wide_codec
from tasks.read.records import Document, Input, Item, Span, rejected, too_large
from tasks.read.sources import Source

MAX_NESTING = 100
"""Levels of lists and objects. Python's parser takes some 900 more, depending on who calls it."""

_PARSER = json.JSONDecoder(strict=False)  # which takes control characters within strings
_BETWEEN = re.compile("[ \t\r\n,\x1e\ufeff]*+")
"""Between values: white space, commas of what was an array, RS of RFC 7464, marks of files that were joined."""
_ESCAPED = re.compile("[\udc80-\udcff]")
_ASCII = bytes(range(0x80))
_BLANK = b" \t\r\n,[]\x1e\xef\xbb\xbf"
_BRACKETS = {"", "[", "]"}
"""What is left of a line without a value, where an array was written with a line for each."""


class JSONError(ValueError):
    """Something is no JSON that we read.

    Args:
        why: What is wrong, and where.
        end: Where it ends, if that is known.
    """

    def __init__(self, why: str, end: int | None = None) -> None:
        self.end = end
        super().__init__(why)


def read(given: Input) -> Iterator[Item]:
    """A document for each line; a row for each that can't be parsed. Blank lines are counted, and nothing else."""
    longest = longest_record(given.config)
    pieces = chunks(given.stream, given.begin, given.end)
    for number, line in enumerate(lines(pieces if given.begin else as_utf8(pieces), longest), given.first):
        if isinstance(line, TooLong):
            yield too_long(given, f"line={number}", line)
        elif not line.isspace():
            yield from _line(given, f"line={number}", line)


def split(stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
    """Pieces that end where a line ends. Nothing, if there is but one, or no record, or the stream is UTF-16."""
    begin, first, n_lines, is_blank = 0, 1, 0, True
    pieces: list[Span] = []
    at = 0
    while chunk := stream.read(CHUNK_BYTES):
        if at == 0 and wide_codec(chunk):
            return
        is_blank = is_blank and not chunk.strip(_BLANK)
        start = 0
        while (cut := chunk.find(b"\n", max(start, begin + size - 1 - at)) + 1) and begin + size <= at + len(chunk):
            n_lines += chunk.count(b"\n", start, cut)
            pieces.append(Span(source, begin, at + cut, first, at + cut - begin))
            begin, first, start = at + cut, first + n_lines, cut
            n_lines = 0
        n_lines += chunk.count(b"\n", start)
        at += len(chunk)
    if begin < at:
        pieces.append(Span(source, begin, at, first, at - begin))
    if len(pieces) > 1 and not is_blank:
        yield from pieces


def too_long(given: Input, address: str, line: TooLong) -> Document:
    """A row for a record that was not held in memory."""
    origin = Origin(given.place.uri, given.place.at(address), line.sha256, line.n_bytes)
    return Document(origin, too_large(line.n_bytes, given.config))


def _line(given: Input, address: str, line: bytes) -> Iterator[Document]:
    text, charset = characters(line.rstrip(b"\r\n"))
    if text.strip(" \t\r\n,\x1e\ufeff") in _BRACKETS:
        return
    n_records = 0
    try:
        for value in _values(text):
            for record in records(value):
                n_records += 1
                yield document_of(given, numbered(address, n_records), record, line, charset)
    except JSONError as error:
        yield rejected(given.place, numbered(address, n_records + 1), Reason.BROKEN, str(error), line)


def numbered(address: str, number: int) -> str:
    """Address of one of several records at one place."""
    return address if number == 1 else f"{address}#{number}"


def characters(line: bytes) -> tuple[str, str]:
    """A line as characters, and what `document_of` has to know of them.

    Before it is parsed: in GBK and Big5, what looks like a backslash or a brace may be half of a character. Of what is
    UTF-8 but for a few bytes, or in no encoding at all, bad bytes stay in the characters that stand for them.
    """
    try:
        return line.decode(), "utf-8"
    except UnicodeDecodeError:
        escaped = line.decode("utf-8", "surrogateescape")
    n_bad = len(escaped) - len(_ESCAPED.sub("", escaped))
    if n_bad > MAX_BAD_SHARE * len(line.translate(None, _ASCII)):
        decoded = decode(RawDocument("", line))
        if decoded.encoding not in {"", "utf-8"}:
            return decoded.text, "utf-8"
    return escaped, ""


def _values(text: str) -> Iterator[Any]:
    """The values of a line: one, as a rule.

    Raises:
        JSONError: at what is none.
    """
    at = skip(text, 0)
    while at < len(text) and text[at:].strip("] \t\r\n,\x1e"):
        value, at = parse(text, at)
        yield value
        at = skip(text, at)


def skip(text: str, at: int) -> int:
    """Where the next value begins."""
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def parse(text: str, at: int) -> tuple[Any, int]:
    """The value at a place, and where it ends.

    Raises:
        JSONError: if there is none, or it is nested deeper than `MAX_NESTING`, or holds a number of over 4,300 digits.
            A `json.JSONDecodeError` is its cause where there is one.
    """
    try:
        value, end = _PARSER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise JSONError(f"It is no JSON: {error.msg}, at character {error.pos - at + 1}.") from error
    except ValueError as error:  # an integer beyond what Python converts
        raise JSONError("It holds a number of more digits than are read.") from error
    except RecursionError as error:
        raise JSONError(_TOO_DEEP) from error
    if text.count("{", at, end) + text.count("[", at, end) > MAX_NESTING and _nesting(value) > MAX_NESTING:
        raise JSONError(_TOO_DEEP, end)
    return value, end


_TOO_DEEP = f"It is nested deeper than {MAX_NESTING} levels."


def _nesting(value: Any) -> int:
    """Levels of lists and objects, counted level by level up to the first too many."""
    level, n_levels = [value], 0
    while level and n_levels <= MAX_NESTING:
        level = [inner for outer in level for inner in _inner(outer)]
        n_levels += 1
    return n_levels


def _inner(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)] if isinstance(value, dict | list) else []


def records(value: Any) -> list[Any]:
    """What is a document each in a value: the objects of a list; anything else as it is."""
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return value
    return [value]
