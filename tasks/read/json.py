r"""JSON files: lists of records, in bounded memory; or one record.

`ijson` is made for that, but of half a character (`\ud800`) it makes a question mark, and it ends at the first thing
that is no JSON. So Python's parser reads one record after the other, off a window of the text: as in JSON lines.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from schemas.document import RawDocument, Reason, Rejection
from tasks.decode import MAX_BAD_SHARE, decode
from tasks.read import text as text_reader
from tasks.read.fields import document_of, folded, has_text_name
from tasks.read.jsonl import MAX_NESTING, JSONError, numbered, parse, records, skip
from tasks.read.lines import as_utf8, chunks, longest_record
from tasks.read.records import BrokenError, Document, Input, Item, rejected
from tasks.read.streams import with_head

LISTS = {
    *("data", "items", "list", "rows", "records", "docs", "documents", "articles", "news", "posts", "pages", "entries"),
    *("result", "results", "hits", "response", "数据", "文章", "列表", "新闻"),
}
"""Fields whose objects are documents: `{"data": [{…}, …]}`; `RECORDS` is of Navicat, `hits.hits` of Elasticsearch."""

_LEVELS = 3
"""Of such objects within one another."""

_HEAD_BYTES = 64 * 1024
_CHUNK_CHARS = 256 * 1024
_LOOKAHEAD = 16
"""Characters: an error so close to the end of the window may be for want of what follows; `\\ud83d\\ude00` has 12."""

_SPACE = re.compile("[ \t\r\n]*+")
_FIRST_KEY = re.compile(r'\{\s{0,999}"([^"\\]{1,64})"')
_NEXT = re.compile(r"[,}\]]\s{0,999}(?=\{)")
_LONGEST_NEXT = 2200
_ESCAPED = re.compile("[\udc80-\udcff]")


class _Record(NamedTuple):
    """What is to be a document."""

    value: Any
    raw: str
    """As it stands in the file."""


class _Bad(NamedTuple):
    """What is none."""

    why: Rejection
    raw: str


def read(given: Input) -> Iterator[Item]:
    """A document for each element of a list, or for what else stands alone; what begins like no JSON is read as text.

    Raises:
        BrokenError: if a list does not end.
    """
    head = given.stream.read(_HEAD_BYTES)
    stream = with_head(head, given.stream)
    start = b"".join(as_utf8([head])).lstrip(b" \t\r\n\x1e")
    if not start.startswith((b"{", b"[", b'"')):
        yield from text_reader.read(replace(given, stream=stream))
        return
    window = _Window(_text(as_utf8(chunks(stream))), longest_record(given.config))
    number = 0
    try:
        for number, found in enumerate(_top(window), 1):
            yield from _documents(given, f"row={number}", found)
    except JSONError as error:
        raise BrokenError(str(error), f"row={number + 1}") from error


def _documents(given: Input, address: str, found: _Record | _Bad) -> Iterator[Document]:
    raw = found.raw.encode("utf-8", "surrogatepass")
    if isinstance(found, _Bad):
        detail = found.why.detail or f"More than {len(raw):,} bytes, and {given.config.max_bytes:,} are allowed."
        yield rejected(given.place, address, found.why.reason, detail, raw)
        return
    charset = "" if _ESCAPED.search(found.raw) else "utf-8"
    for number, record in enumerate(records(found.value), 1):
        yield document_of(given, numbered(address, number), record, raw, charset)


def _text(given: Iterator[bytes]) -> Iterator[str]:
    """Chunks as characters, in the encoding that the first of them are in; bad bytes of UTF-8 are escaped."""
    head = b""
    while len(head) < _HEAD_BYTES and (chunk := next(given, b"")):
        head += chunk
    codec = _codec(head[:_HEAD_BYTES])
    decoder = codecs.getincrementaldecoder(codec)("surrogateescape" if codec == "utf-8" else "replace")
    yield decoder.decode(head)
    for chunk in given:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def _codec(head: bytes) -> str:
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)
    n_bad = len(text) - len(_ESCAPED.sub("", text))
    if n_bad <= MAX_BAD_SHARE * len(head.translate(None, bytes(range(0x80)))):
        return "utf-8"
    encoding = decode(RawDocument("", head)).encoding
    try:
        codecs.getincrementaldecoder(encoding)
    except LookupError:
        return "utf-8"  # none, or several in one file: each document has to be asked
    return encoding


class _Window:
    """Characters of a stream, from where reading is."""

    def __init__(self, pieces: Iterator[str], longest: int) -> None:
        self.text = ""
        self.at = 0
        self.longest = longest
        self._pieces = pieces
        self._has_ended = False

    def more(self) -> bool:
        """Read on: as much again as there is, up to the longest record. What was read before `at` goes."""
        parts = [self.text[self.at :]]
        wanted = max(min(len(parts[0]), self.longest - len(parts[0])), _CHUNK_CHARS)
        while wanted > 0 and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            wanted -= len(piece)
        self._has_ended = wanted > 0
        self.text, self.at = "".join(parts), 0
        return len(parts) > 1

    def char(self) -> str:
        """The first character of what follows, past commas and spaces; empty at the end."""
        while True:
            self.at = skip(self.text, self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def second(self) -> str:
        """The next character but spaces."""
        while True:
            end = skip(self.text, self.at + 1)
            if end < len(self.text):
                return self.text[end]
            if len(self.text) - self.at > self.longest or not self.more():
                return ""

    def value(self) -> _Record | _Bad:
        """The value that follows. If it is none, reading goes on where the next record seems to begin."""
        self.char()
        while True:
            try:
                value, end = parse(self.text, self.at)
            except JSONError as error:
                if self._is_cut(error) and len(self.text) - self.at <= self.longest and self.more():
                    continue
                return self._bad(error)
            if end == len(self.text) and not self._has_ended and self.more():
                continue  # a number may go on
            raw, self.at = self.text[self.at : end], end
            return _Record(value, raw)

    def _is_cut(self, error: JSONError) -> bool:
        """Whether what is wrong may be that the window ends."""
        cause = error.__cause__
        if self._has_ended or not isinstance(cause, json.JSONDecodeError):
            return False
        space = _SPACE.match(self.text, min(cause.pos + 1, len(self.text)))
        return cause.msg.startswith("Unterminated") or len(self.text) - (space.end() if space else 0) <= _LOOKAHEAD

    def _bad(self, error: JSONError) -> _Bad:
        begin, is_large = self.at, self._is_cut(error)
        first = _FIRST_KEY.match(self.text, begin)
        self.at = error.end or min(begin + _passed(error, begin), len(self.text))
        raw = self.text[begin : begin + self.longest if is_large else self.at]
        if error.end is None:
            self.to_next(first[1] if first else "")
        return _Bad(Rejection(Reason.TOO_LARGE, "") if is_large else Rejection(Reason.BROKEN, str(error)), raw)

    def to_next(self, key: str) -> None:
        """Go to where an object begins: one with this field first, or any that follows something else."""
        pattern = re.compile(rf'(?=\{{\s{{0,999}}"{re.escape(key)}"\s{{0,9}}:)') if key else _NEXT
        while not (match := pattern.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - _LONGEST_NEXT)
            if not self.more():
                self.at = len(self.text)
                return
        self.at = match.end()


def _passed(error: JSONError, begin: int) -> int:
    """How many characters the parser has gone through for sure when it met what is wrong."""
    cause = error.__cause__
    if isinstance(cause, RecursionError):
        return MAX_NESTING
    if isinstance(cause, json.JSONDecodeError) and not cause.msg.startswith("Unterminated"):
        return max(1, cause.pos - begin)
    return 1


def _top(window: _Window) -> Iterator[_Record | _Bad]:
    """Records of a file: of one value, or of several in a row."""
    while char := window.char():
        if char == "[":
            yield from _elements(window)
        elif char == "{":
            yield from _object(window, {}, _LEVELS)
        elif char == "]":  # of a list in which something was broken
            window.at += 1
        else:
            yield window.value()


def _elements(window: _Window) -> Iterator[_Record | _Bad]:
    """Elements of a list.

    Raises:
        JSONError: if it doesn't end.
    """
    window.at += 1
    found: _Record | _Bad | None = None
    while (char := window.char()) != "]":
        if not char and isinstance(found, _Bad):
            return  # which told that already
        if not char:
            raise JSONError("The list does not end: something is missing from here on.")
        yield (found := window.value())
    window.at += 1


def _object(window: _Window, rest: dict[str, Any], levels: int) -> Iterator[_Record | _Bad]:
    """Records of an object that holds a list of them; or the object. What is left of it comes into `rest`.

    Raises:
        JSONError: if it doesn't end.
    """
    window.at += 1
    n_listed = n_chars = 0
    while (char := window.char()) != "}":
        if not char:
            raise JSONError("The object does not end: something is missing from here on.")
        key = window.value()
        if isinstance(key, _Bad) or not isinstance(key.value, str) or window.char() != ":":
            yield key if isinstance(key, _Bad) else _Bad(_NO_FIELD, key.raw)
            window.to_next(next(iter(rest), ""))
            return
        window.at += 1
        if folded(key.value) in LISTS and not has_text_name(rest) and _is_list(window, levels):
            inner: dict[str, Any] = {}
            nested = _elements(window) if window.char() == "[" else _object(window, inner, levels - 1)
            before = n_listed
            for found in nested:
                n_listed += 1
                yield found
            rest |= {key.value: inner} if n_listed == before else {}
            continue
        member = window.value()
        n_chars += len(member.raw)
        if isinstance(member, _Bad) or n_chars > window.longest:
            yield member if isinstance(member, _Bad) else _Bad(Rejection(Reason.TOO_LARGE, ""), member.raw)
            window.to_next(next(iter(rest), ""))
            return
        rest[key.value] = member.value
    window.at += 1
    if levels == _LEVELS and (not n_listed or has_text_name(rest)):
        yield _Record(rest, json.dumps(rest))


_NO_FIELD = Rejection(Reason.BROKEN, "It is no JSON: an object has something that is no field.")


def _is_list(window: _Window, levels: int) -> bool:
    """Whether a list of objects follows, or an object that may hold one."""
    char = window.char()
    return (char == "[" and window.second() == "{") or (char == "{" and levels > 0)
