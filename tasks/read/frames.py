"""Where the records of WARC and ARC files begin and end, damaged ones included.

Nothing is believed of a record's length before what follows it has been looked at, and nothing larger than a document
may be is kept.
"""

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from schemas.config import CleanConfig
from schemas.document import Reason, Rejection
from tasks.read.records import BombError, BrokenError, Input
from tasks.read.responses import MAX_HEAD_BYTES, as_text, read_fields
from tasks.read.streams import FLOOR_BYTES, SOURCE_FLOOR_BYTES

GZIP = b"\x1f\x8b\x08"
"""RFC 1952: magic and the only method there is."""

MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
"""The same with the flags: the upper three bits of these are zero."""

CHUNK_BYTES = 1 << 16

HEAD_BYTES = 4096
"""Of a member, in which its first line shows: writers put less than a hundred bytes before it."""

_BACK_BYTES = 1 << 16
"""How far before the place where a damaged member shows the next one is looked for: inflating may run on over the end
of one, but over more than some hundred bytes of what is no deflate only by chance."""

_NEXT = re.compile(rb"WARC/\d\.\d{1,2}\r{0,2}\n[A-Za-z][A-Za-z-]{1,40}:")
"""Where a record may begin, if the length of the one before doesn't say."""

LINE_BYTES = 64
"""More than `_NEXT` and `VERSION` match."""

VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t\r]{0,9}\n")

_ARC = re.compile(
    rb"([A-Za-z][A-Za-z0-9+.-]{1,20}:[^\r\n]{1,4000}?) ([0-9A-Fa-f.:]{1,45}) (\d{14}) ([^ \r\n]{0,200}) "
    rb"(?:[^ \r\n]{0,1000} ){0,5}(\d{1,18})\r?\n"
)
"""The line before a record of an ARC file: address, host, time, media type, and length (Internet Archive, ARC File
Format, 1996; version 2 has five more fields before the last)."""

END_OF_HEAD = re.compile(rb"\n\r{0,2}\n")

_END = re.compile(rb"\r{0,2}\n\r{0,2}\n")

BLANK = b"\r\n\0 "
"""Between records: two line ends by the standard, none or more by some writers, zeros where a file was padded."""

_STREAM_ERRORS = (EOFError, OSError, ValueError, zlib.error, BrokenError, BombError)
"""What a stream raises that was damaged: first comes what was read before that, which may be a whole record."""


class Readable(Protocol):
    """All that a `Tape` needs of a stream."""

    def read(self, n: int, /) -> bytes:
        """Up to `n` bytes; none only at the end."""


class Tape:
    """A stream that can be looked at ahead of where it is read."""

    def __init__(self, stream: Readable, offset: int = 0) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self.offset = offset
        """Of the next byte, in the stream."""
        self.error: Exception | None = None
        """What the stream raised: it ends there."""
        self.n_unpacked = 0
        """What its members have made."""
        self.is_over = False
        """Whether that is out of bounds: nothing more is read."""
        self._begin = offset

    @property
    def n_taken(self) -> int:
        """How many bytes were read."""
        return self.offset - self._begin

    def peek(self, n: int) -> bytes:
        """The next `n` bytes, fewer only at the end; they are read again."""
        while len(self._buffer) - self._at < n and (more := self._more(n)):
            kept = max(self._at - _BACK_BYTES, 0)
            self._buffer = self._buffer[kept:] + more
            self._at -= kept
        return self._buffer[self._at : self._at + n]

    def _more(self, n: int) -> bytes:
        if self.error is not None:
            return b""
        try:
            return self._stream.read(max(n - (len(self._buffer) - self._at), CHUNK_BYTES))
        except _STREAM_ERRORS as error:
            self.error = error
            return b""

    def skip(self, n: int) -> None:
        """Go on by `n` bytes that were looked at; back, if it is negative, by up to `_BACK_BYTES`."""
        n = max(n, -self._at)
        self._at += n
        self.offset += n

    def take(self, n: int) -> Iterator[bytes]:
        """The next `n` bytes in pieces, fewer at the end."""
        while n > 0 and (piece := self.peek(min(n, CHUNK_BYTES))):
            self.skip(len(piece))
            n -= len(piece)
            yield piece

    def put_back(self, data: bytes) -> None:
        """What was just taken is read again."""
        self._buffer = data + self._buffer[self._at :]
        self._at = 0
        self.offset -= len(data)

    def skip_blank(self) -> None:
        """Go on to what is no line end."""
        n_bytes = 16
        while piece := self.peek(n_bytes):
            n_blank = len(piece) - len(piece.lstrip(BLANK))
            self.skip(n_blank)
            if n_blank < len(piece):
                return
            n_bytes = CHUNK_BYTES  # zeros at the end of a file may be many

    def to_next(self, *, packed: bool | None) -> Iterator[bytes]:
        """All up to where the next record may begin, in pieces; see `_next_in`."""
        while window := self.peek(CHUNK_BYTES + HEAD_BYTES):
            at = _next_in(window, packed=packed)
            at_end = len(window) < CHUNK_BYTES + HEAD_BYTES
            n = at if at is not None else len(window) if at_end else CHUNK_BYTES
            self.skip(n)
            yield window[:n]
            if at is not None:
                return


def _next_in(window: bytes, *, packed: bool | None) -> int | None:
    """Where in a piece of a file a record may begin; in a member of gzip, or not, or (None) either way."""
    plain = _NEXT.search(window) if not packed else None
    members = MEMBER.finditer(window, 0, CHUNK_BYTES + 3) if packed is not False else iter(())
    at = (m.start() for m in members if begins_record(window[m.start() : m.start() + HEAD_BYTES]))
    return min([*itertools.islice(at, 1), *([plain.start()] if plain else [])], default=None)


class Record(NamedTuple):
    """A record as it was found, or what stands where one should."""

    address: str
    fields: Mapping[str, str]
    block: bytes = b""
    """What it holds; of what is more than may be the beginning."""
    n_bytes: int = 0
    """Of what it holds."""
    sha256: str = ""
    """Of all that it holds, if `block` is less."""
    fault: Rejection | None = None
    """Why it can't be a document."""
    guessed: bool = False
    """Whether its length is wrong: it ends where the next one begins, or where the member does."""


def records(tape: Tape, given: Input) -> Iterator[Record]:
    """Records in their order, and what is broken between them."""
    packed: bool | None = None
    while True:
        tape.skip_blank()
        if tape.is_over or (given.end is not None and tape.offset >= given.end) or not tape.peek(1):
            return
        address = f"offset={tape.offset}"
        if tape.peek(3) == GZIP and (packed or begins_record(tape.peek(HEAD_BYTES))):
            packed = True
            yield from _of_member(tape, given, address)
        elif packed is False or _begins(tape):
            packed = False
            yield _one(tape, given.config, address)
        else:
            yield _garbage(tape, address, packed=packed)


def _of_member(tape: Tape, given: Input, address: str) -> Iterator[Record]:
    """Records of one member: by the standard just one."""
    begin = tape.offset
    member = _Member(tape, given.config)
    inner = Tape(member)
    inner.skip_blank()
    while inner.peek(1):
        at = f"{address}+{inner.offset}" if inner.offset else address
        record = _one(inner, given.config, at, member)
        inner.skip_blank()
        if member.fault is not None and not inner.peek(1):  # a record that ends with the member is as whole as that
            record = record._replace(fault=member.fault)
        yield record
    if member.fault is not None:
        if not inner.offset:
            yield Record(address, {}, fault=member.fault)
        tape.skip(max(begin + 1 - tape.offset, -_BACK_BYTES))
        to_member(tape)


def _garbage(tape: Tape, address: str, *, packed: bool | None = False) -> Record:
    """What stands where a record should, up to the next one."""
    tape.skip(1)
    n_bytes = 1 + sum(map(len, tape.to_next(packed=packed)))
    return Record(address, {}, fault=Rejection(Reason.BROKEN, f"{n_bytes:,} bytes that are no record."))


def _one(tape: Tape, config: CleanConfig, address: str, member: "_Member | None" = None) -> Record:
    """The record that begins here, or what stands here instead."""
    fields = _take_fields(tape) if _begins(tape) else None
    if fields is None:
        return _garbage(tape, address)
    n_bytes = content_length(fields)
    if n_bytes is None:
        return _to_boundary(tape, config, Record(address, fields, guessed=True))
    if member:
        member.is_short = True
    record = _filled(Record(address, fields), tape.take(n_bytes), config)
    if member:
        member.is_short = False
    is_cut = record.n_bytes < n_bytes
    if not is_cut and _at_boundary(tape):
        return record
    if not record.sha256:
        tape.put_back(record.block)
        return _to_boundary(tape, config, record._replace(guessed=True), may_end=member is not None or not is_cut)
    if is_cut and member is None:
        return record._replace(fault=_cut(record))
    return record


def _begins(tape: Tape) -> bool:
    """Whether a record begins here."""
    return bool(VERSION.match(tape.peek(LINE_BYTES)) or _ARC.match(tape.peek(HEAD_BYTES)))


def _arc_fields(line: re.Match[bytes]) -> dict[str, str]:
    """What a record of an ARC file says of itself, in the words of WARC."""
    url, ip, date, media_type, length = map(as_text, line.groups())
    return {
        "warc-type": "warcinfo" if url.startswith("filedesc:") else "response",
        "warc-target-uri": url,
        "warc-ip-address": ip,
        "warc-date": re.sub(r"(....)(..)(..)(..)(..)(..)", r"\1-\2-\3T\4:\5:\6Z", date),
        "content-type": media_type,
        "content-length": length,
    }


def content_length(fields: Mapping[str, str]) -> int | None:
    """Length of a record as it says; None if it doesn't."""
    length = fields.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None


def _take_fields(tape: Tape) -> dict[str, str] | None:
    """The header of a record; None if it doesn't end."""
    n_bytes = HEAD_BYTES
    if line := _ARC.match(tape.peek(n_bytes)):
        tape.skip(line.end())
        return _arc_fields(line)
    while True:
        head = tape.peek(n_bytes)
        end = END_OF_HEAD.search(head)
        if end:
            tape.skip(end.end())
            return read_fields(head[: end.start()].splitlines()[1:])
        if len(head) < n_bytes or n_bytes >= MAX_HEAD_BYTES:
            return None
        n_bytes *= 4


def _at_boundary(tape: Tape) -> bool:
    """Whether a record can end here.

    Two line ends stand here, as the standard asks for, or the next record does, or nothing.
    """
    if _END.match(tape.peek(4)):
        return True
    offset = tape.offset
    tape.skip_blank()
    is_one = not tape.peek(1) or tape.peek(3) == GZIP or _begins(tape)
    tape.skip(offset - tape.offset)
    return is_one


def _to_boundary(tape: Tape, config: CleanConfig, record: Record, *, may_end: bool = True) -> Record:
    """A record whose length is wrong, up to where the next one begins.

    If none does, it is one that the end of the file has cut, unless its length was too small, or its member is whole.
    """
    filled = _filled(record, tape.to_next(packed=False), config)
    filled = filled._replace(block=filled.block.rstrip(b"\r\n") if not filled.sha256 else filled.block)
    if may_end or tape.peek(1):
        return filled
    return filled._replace(fault=_cut(filled), guessed=False)


def _cut(record: Record) -> Rejection | None:
    """What becomes of the last record of a file that ends within it. Crawlers that cut records say so."""
    if record.fields.get("warc-truncated"):
        return None
    n_wanted = record.fields.get("content-length", "?")
    return Rejection(Reason.BROKEN, f"The file ends within this record, after {record.n_bytes:,} of {n_wanted} bytes.")


def _filled(record: Record, pieces: Iterator[bytes], config: CleanConfig) -> Record:
    """A record with what it holds: all, if that may be a document, else its beginning and the hash."""
    kept: list[bytes] = []
    n_bytes = 0
    state = hashlib.sha256()
    most = config.max_bytes + MAX_HEAD_BYTES
    for piece in pieces:
        n_bytes += len(piece)
        if n_bytes <= most:
            kept.append(piece)
            continue
        if kept:
            block = b"".join(kept)
            state.update(block)
            kept = []
        state.update(piece)
    if n_bytes <= most:
        return record._replace(block=b"".join(kept), n_bytes=n_bytes)
    return record._replace(block=block[:MAX_HEAD_BYTES], n_bytes=n_bytes, sha256=state.hexdigest())


def to_member(tape: Tape) -> bool:
    """Go on to the next member that begins a record, or to the end; whether there is one."""
    for _ in tape.to_next(packed=True):
        pass
    return bool(tape.peek(1))


def begins_record(packed: bytes) -> bool:
    """Whether bytes are the beginning of a member of gzip that holds a record."""
    try:
        head = zlib.decompressobj(31).decompress(packed, HEAD_BYTES)
    except zlib.error:
        return False
    return bool(VERSION.match(head) or _ARC.match(head))


class _Member:
    """One member of a gzip file, unpacked. It ends where it is damaged or out of bounds: `fault` says so."""

    def __init__(self, tape: Tape, config: CleanConfig) -> None:
        self._tape = tape
        self._begin = tape.offset
        self._read = config.read
        self._inflate = zlib.decompressobj(31)
        self._n_bytes = 0
        self.fault: Rejection | None = None
        self.is_short = False
        """Whether the record that is being read has more bytes."""

    def read(self, n: int, /) -> bytes:
        while self.fault is None and (not self._inflate.eof or self._goes_on()):
            packed = self._tape.peek(CHUNK_BYTES)
            try:
                out = self._inflate.decompress(packed, n)
            except zlib.error as error:
                self.fault = Rejection(Reason.BROKEN, f"What is compressed here is damaged: {error}.")
                break
            if not packed and not out and not self._inflate.eof:
                self.fault = Rejection(Reason.BROKEN, "The file ends within this record.")
            self._tape.skip(len(packed) - n_left(self._inflate))
            self._count(len(out))
            if out:
                return out
        return b""

    def _goes_on(self) -> bool:
        """Whether the record does so in another member: some programs compress in pieces of their own."""
        head = self._tape.peek(HEAD_BYTES)
        if not self.is_short or not MEMBER.match(head) or begins_record(head):
            return False
        self._inflate = zlib.decompressobj(31)
        return True

    def _count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        self._tape.n_unpacked += n_bytes
        if self._n_bytes > max(FLOOR_BYTES, self._read.max_ratio * (self._tape.offset - self._begin)):
            why = f"It expands to more than {self._n_bytes:,} bytes, more than {self._read.max_ratio} times its size."
            self.fault = Rejection(Reason.BOMB, why)
        most = min(self._read.max_container_bytes, max(SOURCE_FLOOR_BYTES, self._read.max_ratio * self._tape.n_taken))
        if self._tape.n_unpacked > most:
            why = f"The records up to here expand to more than {most:,} bytes: the file is not read further."
            self.fault = Rejection(Reason.BOMB, why)
            self._tape.is_over = True


def n_left(inflate: "zlib._Decompress") -> int:
    """Bytes of what was just given that were not used. At the end of a member `unconsumed_tail` may have them, too."""
    return len(inflate.unused_data) if inflate.eof else len(inflate.unconsumed_tail)
