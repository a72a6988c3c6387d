"""WARC files (1.1, 1.0, 0.18) and WET files: each response, resource or conversion that is text is a document.

Where records begin and end is found out here, and not by a library. Tried were fastwarc 2.0 and warcio 1.8, on 90 files
of their own tests, of crawlers and of Common Crawl: both give the same offsets as this module on whole files (a test
holds it). fastwarc unpacks 670 MB/s, warcio 195, this some 300, where cleaning takes 1 to 3; so that speed doesn't
decide, but damage does. Of a file with a damaged member or a wrong length fastwarc and warcio read nothing behind it,
both give the payload of a truncated record as if it were whole, and neither says where it stopped; warcio takes a
record of any size into memory.

A record is at `offset=N`: where it begins in the file, compressed or not, so that other tools can seek to it. Of records
that share one member of gzip (the whole file compressed at once) the first is at `offset=N`, the others at
`offset=N+M`: M bytes into what the member at N unpacks to, which no tool can seek to. In a file that was compressed by
other means, or lies in an archive, N counts from its beginning as it was before that.
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from schemas.config import CleanConfig
from schemas.document import Reason, Rejection
from tasks.read.records import Document, Input, Item, Skipped, Span, document, rejected, too_large
from tasks.read.responses import (
    HEAD_BYTES,
    MAX_HEAD_BYTES,
    TEXTS,
    Payload,
    Response,
    charset_of,
    form_of,
    read_fields,
    take_apart,
    undo,
)
from tasks.read.sources import Source

GZIP = b"\x1f\x8b\x08"
"""RFC 1952: magic and the only method there is."""

_MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
"""The same with the flags: the upper three bits of these are zero."""

_CHUNK_BYTES = 1 << 16

_HEAD_BYTES = 4096
"""Of a member, in which its first line shows: writers put less than a hundred bytes before it."""

_BACK_BYTES = 1 << 16
"""How far before the place where a damaged member shows the next one is looked for: inflating may run on over the end of
one, but over more than some hundred bytes of what is no deflate only by chance."""

_NEXT = re.compile(rb"\n(?=WARC/\d\.\d{1,2}\r?\n[A-Za-z][A-Za-z-]{1,40}:)")
"""Where a record may begin, if the length of the one before doesn't say."""

_OVERLAP_BYTES = 64
"""More than `_NEXT` matches."""

_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]{0,9}\r?\n")

_END_OF_HEAD = re.compile(rb"\n\r?\n")

_END = re.compile(rb"\r?\n\r?\n")

_BLANK = b"\r\n\0 "
"""Between records: two line ends by the standard, none or more by some writers, zeros where a file was padded."""

_FREE_BYTES = 64 << 20
"""What a member may expand to whatever its size (`ReadConfig.max_ratio`)."""

DOCUMENTS = ("response", "resource", "conversion")
OTHERS = ("warcinfo", "request", "metadata", "revisit", "continuation")
"""Types of records, ISO 28500 section 5.5. Of a segmented record the first segment is a `response` as well."""

_NOT_PAGES = {
    "dns:": "dns",
    "whois:": "dns",
    "metadata:": "crawl-log",
    "warcinfo:": "crawl-log",
    "filedesc:": "crawl-log",
    "urn:x-wpull:": "crawl-log",
    "urn:pageinfo:": "crawl-log",
}
"""Addresses of what crawlers write of themselves: look-ups (Heritrix), arguments and logs (wget, wpull), lists of what a
page loaded (Browsertrix)."""

_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?)?)?", re.ASCII)
"""ISO 28500 section 5.4: ISO 8601 in as many parts as are known. ClueWeb09 has dates like 2008-10-294T05:21:46-0700."""

_SAID = {
    "content_type": "content-type",
    "content_language": "content-language",
    "last_modified": "last-modified",
    "robots_tag": "x-robots-tag",
    "tdm_reservation": "tdm-reservation",
}
"""What of the server's headers goes into `extra`: what the page is, since when, and whether it may be used."""

_SAID_BY_CRAWLER = {
    "ip": "warc-ip-address",
    "identified_type": "warc-identified-payload-type",
    "identified_language": "warc-identified-content-language",
    "truncated": "warc-truncated",
    "segment": "warc-segment-number",
    "refers_to": "warc-refers-to",
    "trec_id": "warc-trec-id",
}
"""The same of the record's own: ISO 28500; languages are Common Crawl's, TREC's ids those of ClueWeb."""

_STREAM_ERRORS = (EOFError, OSError, ValueError, zlib.error)


class Tape:
    """A stream that can be looked at ahead of where it is read."""

    def __init__(self, stream: "Readable", offset: int = 0) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self.offset = offset
        """Of the next byte, in the stream."""
        self.error: Exception | None = None
        """What the stream raised: it ends there."""

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
            return self._stream.read(max(n - (len(self._buffer) - self._at), _CHUNK_BYTES))
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
        while n > 0 and (piece := self.peek(min(n, _CHUNK_BYTES))):
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
        while piece := self.peek(16):
            n_blank = len(piece) - len(piece.lstrip(_BLANK))
            self.skip(n_blank)
            if n_blank < len(piece):
                return

    def to_next(self) -> Iterator[bytes]:
        """All up to where the next record may begin, in pieces."""
        while window := self.peek(_CHUNK_BYTES + _OVERLAP_BYTES):
            found = _NEXT.search(window)
            at_end = len(window) < _CHUNK_BYTES + _OVERLAP_BYTES
            n = found.end() if found else len(window) if at_end else _CHUNK_BYTES
            self.skip(n)
            yield window[:n]
            if found:
                return


class Readable(Protocol):
    """All that a `Tape` needs of a stream."""

    def read(self, n: int, /) -> bytes:
        """Up to `n` bytes; none only at the end."""


class _Member:
    """One member of a gzip file, unpacked. It ends where it is damaged or out of bounds: `fault` says so."""

    def __init__(self, tape: Tape, config: CleanConfig) -> None:
        self._tape = tape
        self._begin = tape.offset
        self._ratio = config.read.max_ratio
        self._inflate = zlib.decompressobj(31)
        self._n_bytes = 0
        self.fault: Rejection | None = None

    def read(self, n: int, /) -> bytes:
        while not self._inflate.eof and self.fault is None:
            packed = self._tape.peek(_CHUNK_BYTES)
            if not packed:
                self.fault = Rejection(Reason.BROKEN, "The file ends within this record.")
                break
            try:
                out = self._inflate.decompress(packed, n)
            except zlib.error as error:
                self.fault = Rejection(Reason.BROKEN, f"What is compressed here is damaged: {error}.")
                break
            self._tape.skip(len(packed) - len(self._inflate.unconsumed_tail) - len(self._inflate.unused_data))
            self._count(len(out))
            if out:
                return out
        return b""

    def _count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > max(_FREE_BYTES, self._ratio * (self._tape.offset - self._begin)):
            why = f"It expands to more than {self._n_bytes:,} bytes, {self._ratio} times its size."
            self.fault = Rejection(Reason.BOMB, why)


class _Record(NamedTuple):
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


def read(given: Input) -> Iterator[Item]:
    """Documents of a file, or of the records that begin in a piece of it."""
    if given.begin:
        given.stream.seek(given.begin)
    tape = Tape(given.stream, given.begin)
    for record in _records(tape, given):
        yield _item(record, given)
    if tape.error is not None:
        raise tape.error


def _records(tape: Tape, given: Input) -> Iterator[_Record]:
    """Records in their order, and what is broken between them."""
    packed = tape.peek(3) == GZIP
    while True:
        tape.skip_blank()
        if (given.end is not None and tape.offset >= given.end) or not tape.peek(1):
            return
        address = f"offset={tape.offset}"
        if tape.peek(3) == GZIP:
            yield from _of_member(tape, given, address)
        elif _VERSION.match(tape.peek(_OVERLAP_BYTES)):
            yield _one(tape, given.config, address)
        else:
            yield _garbage(tape, address, packed=packed)


def _of_member(tape: Tape, given: Input, address: str) -> Iterator[_Record]:
    """Records of one member: by the standard just one."""
    begin = tape.offset
    member = _Member(tape, given.config)
    inner = Tape(member)
    inner.skip_blank()
    while inner.peek(1):
        at = f"{address}+{inner.offset}" if inner.offset else address
        if _VERSION.match(inner.peek(_OVERLAP_BYTES)):
            record = _one(inner, given.config, at, of_member=True)
        else:
            record = _garbage(inner, at, packed=False)
        inner.skip_blank()
        if member.fault is not None and not inner.peek(1):  # a record that ends with the member is as whole as that
            record = record._replace(fault=member.fault)
        yield record
    if member.fault is not None:
        if not inner.offset:
            yield _Record(address, {}, fault=member.fault)
        tape.skip(max(begin + 1 - tape.offset, -_BACK_BYTES))
        _to_member(tape)


def _garbage(tape: Tape, address: str, *, packed: bool) -> _Record:
    """What stands where a record should, up to the next one."""
    begin = tape.offset
    tape.skip(1)
    if packed:
        _to_member(tape)
    else:
        for _ in tape.to_next():
            pass
    n_bytes = tape.offset - begin
    return _Record(address, {}, fault=Rejection(Reason.BROKEN, f"{n_bytes:,} bytes that are no record."))


def _to_member(tape: Tape) -> bool:
    """Go on to the next member that begins a record, or to the end."""
    while window := tape.peek(_CHUNK_BYTES + _HEAD_BYTES):
        for found in _MEMBER.finditer(window, 0, _CHUNK_BYTES + 3):
            if _begins_record(window[found.start() : found.start() + _HEAD_BYTES]):
                tape.skip(found.start())
                return True
        tape.skip(min(len(window), _CHUNK_BYTES))
    return False


def _begins_record(packed: bytes) -> bool:
    """Whether bytes are the beginning of a member of gzip that holds a record."""
    try:
        return _VERSION.match(zlib.decompressobj(31).decompress(packed, _OVERLAP_BYTES)) is not None
    except zlib.error:
        return False


def _one(tape: Tape, config: CleanConfig, address: str, *, of_member: bool = False) -> _Record:
    """The record that begins here."""
    fields = _take_fields(tape)
    if fields is None:
        return _garbage(tape, address, packed=False)
    n_bytes = _content_length(fields)
    if n_bytes is None:
        return _to_boundary(tape, config, _Record(address, fields, guessed=True))
    record = _filled(_Record(address, fields), tape.take(n_bytes), config)
    is_cut = record.n_bytes < n_bytes
    if not is_cut and _at_boundary(tape):
        return record
    if not record.sha256:
        tape.put_back(record.block)
        return _to_boundary(tape, config, record._replace(guessed=True), may_end=of_member or not is_cut)
    if is_cut and not of_member:
        return record._replace(fault=_cut(record))
    return record


def _content_length(fields: Mapping[str, str]) -> int | None:
    length = fields.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None


def _take_fields(tape: Tape) -> dict[str, str] | None:
    """The header of a record; None if it doesn't end."""
    n_bytes = 4096
    while True:
        head = tape.peek(n_bytes)
        end = _END_OF_HEAD.search(head)
        if end:
            tape.skip(end.end())
            return read_fields(head[: end.start()].splitlines()[1:])
        if len(head) < n_bytes or n_bytes >= MAX_HEAD_BYTES:
            return None
        n_bytes *= 4


def _at_boundary(tape: Tape) -> bool:
    """Whether a record can end here: by the two line ends of the standard, whatever follows them, or since the next one
    begins, or nothing does.
    """
    if _END.match(tape.peek(4)):
        return True
    offset = tape.offset
    tape.skip_blank()
    after = tape.peek(_OVERLAP_BYTES)
    tape.skip(offset - tape.offset)
    return not after or after.startswith(GZIP) or _VERSION.match(after) is not None


def _to_boundary(tape: Tape, config: CleanConfig, record: _Record, *, may_end: bool = True) -> _Record:
    """A record whose length is wrong, up to where the next one begins.

    If none does, it is one that the end of the file has cut, unless its length was too small, or its member is whole.
    """
    filled = _filled(record, tape.to_next(), config)
    filled = filled._replace(block=filled.block.rstrip(b"\r\n") if not filled.sha256 else filled.block)
    if may_end or tape.peek(1):
        return filled
    return filled._replace(fault=_cut(filled), guessed=False)


def _cut(record: _Record) -> Rejection | None:
    """What becomes of the last record of a file that ends within it. Crawlers that cut records say so."""
    if record.fields.get("warc-truncated"):
        return None
    n_wanted = record.fields.get("content-length", "?")
    return Rejection(Reason.BROKEN, f"The file ends within this record, after {record.n_bytes:,} of {n_wanted} bytes.")


def _filled(record: _Record, pieces: Iterator[bytes], config: CleanConfig) -> _Record:
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


def _item(record: _Record, given: Input) -> Item:
    """What becomes of a record: a document, a row that says why it is none, or a count."""
    fields = record.fields
    if record.fault is not None:
        row = rejected(given.place, record.address, record.fault.reason, record.fault.detail)
        return row._replace(origin=replace(row.origin, url=_url(fields), record_id=_bare(fields, "warc-record-id")))
    kind = fields.get("warc-type", "").lower()
    if kind not in DOCUMENTS:
        return Skipped(kind if kind in OTHERS else "unknown")
    url = _url(fields).lower()
    if crawl := next((name for scheme, name in _NOT_PAGES.items() if url.startswith(scheme)), ""):
        return Skipped(crawl)
    response = take_apart(record.block) if kind == "response" else None
    if response and response.status and not 200 <= response.status < 300:
        return Skipped(f"http-{response.status}")
    return _document(record, response or Response(0, {"content-type": fields.get("content-type", "")}, 0), given)


def _document(record: _Record, response: Response, given: Input) -> Item:
    """A payload as a document, unless it is no text."""
    fields, headers = record.fields, response.headers
    most = given.config.max_bytes
    states = undo(record.block[response.begin :], headers, most)
    form = form_of(states[-1].content[:HEAD_BYTES], headers.get("content-type", ""), _identified(fields))
    if form not in TEXTS:
        return Skipped(form)
    told: dict[str, Any] = {
        "url": _url(fields),
        "fetched_at": _date(fields),
        "record_id": _bare(fields, "warc-record-id"),
        "payload_digest": fields.get("warc-payload-digest", ""),
        "declared_encoding": charset_of(headers.get("content-type", "")) or ("utf-8" if _is_wet(fields) else ""),
        "name": _name(_url(fields), form),
        "extra": _extra(record, response, states),
    }
    if not record.sha256 and not states[-1].too_long:
        return document(given, record.address, states[-1].content, **told)
    made = document(given, record.address, b"", **told)
    return _too_large(record, made, given.config)


def _too_large(record: _Record, made: Document, config: CleanConfig) -> Document:
    """A row for a payload that is too large, packed or as it lies there, which is what is hashed and counted."""
    sha256 = record.sha256 or hashlib.sha256(record.block).hexdigest()
    state = hashlib.sha256(f"{made.origin.record_sha256}{sha256}".encode()).hexdigest()
    origin = replace(made.origin, sha256=sha256, n_bytes=record.n_bytes, record_sha256=state)
    if record.n_bytes > config.max_bytes:
        return Document(origin, too_large(record.n_bytes, config))
    why = f"{record.n_bytes:,} bytes, which unpack to more than the {config.max_bytes:,} that are allowed."
    return Document(origin, Rejection(Reason.TOO_LARGE, why))


def _extra(record: _Record, response: Response, states: list[Payload]) -> dict[str, object]:
    """What server and crawler say of a page, and what was found wrong with its record."""
    fields, headers = record.fields, response.headers
    extra: dict[str, object] = {name: headers.get(header, "") for name, header in _SAID.items()}
    extra |= {name: fields.get(header, "") for name, header in _SAID_BY_CRAWLER.items()}
    extra["http_status"] = response.status
    extra["date"] = "" if _date(fields) else fields.get("warc-date", "")
    extra["broken_coding"] = ", ".join(states[-1].faults)
    extra["length"] = "wrong" if record.guessed else ""
    if not record.guessed and not record.sha256 and _digest_fits(fields, record.block, states) is False:
        extra["digest"] = "mismatch"
    return {name: value for name, value in extra.items() if value}


def _digest_fits(fields: Mapping[str, str], block: bytes, states: list[Payload]) -> bool | None:
    """Whether the digest of a record is that of its bytes; None where there is none that could be checked.

    That of the block is clear. That of the payload is taken of what the server sent by some crawlers, of what it means
    by others.
    """
    if (of_block := _digest(fields.get("warc-block-digest", ""))) is not None:
        return hashlib.new(of_block[0], block).digest() == of_block[1]
    if (of_payload := _digest(fields.get("warc-payload-digest", ""))) is None:
        return None
    return any(hashlib.new(of_payload[0], state.content).digest() == of_payload[1] for state in states)


def _digest(said: str) -> tuple[str, bytes] | None:
    """Algorithm and value of a digest, `sha1:` with Base32 by custom, or with hex digits."""
    name, _, value = said.strip().partition(":")
    name = name.lower().replace("-", "")
    if name not in {"md5", "sha1", "sha256", "sha512"}:
        return None
    size = hashlib.new(name).digest_size
    try:
        found = bytes.fromhex(value) if len(value) == 2 * size else base64.b32decode(value.upper())
    except ValueError:
        return None
    return (name, found) if len(found) == size else None


def _url(fields: Mapping[str, str]) -> str:
    return _bare(fields, "warc-target-uri")


def _bare(fields: Mapping[str, str], name: str) -> str:
    """A URI without the angle brackets that the standard's grammar asks for and most writers leave out."""
    return fields.get(name, "").removeprefix("<").removesuffix(">")


def _date(fields: Mapping[str, str]) -> str:
    date = fields.get("warc-date", "")
    return date if _DATE.fullmatch(date) else ""


def _identified(fields: Mapping[str, str]) -> str:
    return fields.get("warc-identified-payload-type", "")


def _is_wet(fields: Mapping[str, str]) -> bool:
    """Whether it is text that somebody extracted: UTF-8 where nothing else is said."""
    return fields.get("warc-type", "").lower() == "conversion"


def _name(url: str, form: str) -> str:
    """A name that tells what a payload is: of the page, with the suffix of its form."""
    page = re.split(r"[?#]", url, maxsplit=1)[0]
    suffix = {"html": ".html", "xml": ".xml"}.get(form, ".txt")
    return page if page.lower().endswith(suffix) else page + suffix


PROOF_BYTES = 1 << 16
"""Members that follow each other for so long are not a payload that happens to be a `.warc.gz`: bytes that can't be
compressed lie in a member as they are, but in pieces of at most 65,535 bytes (RFC 1951, section 3.2.4)."""


def split(stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
    """Pieces of about `size` bytes, each from one record to another, which are the same ones as when all is read.

    Of a compressed file the members near multiples of `size` are taken: those that an index beside it names, if they
    are some, else those that are found there. Of others all headers are read, from length to length, up to the first
    that leads nowhere.
    """
    packed = stream.read(len(GZIP)) == GZIP
    offsets = _members(stream, source, size) if packed else _walked(stream, size)
    begins = [0, *offsets]
    for begin, end in zip(begins, [*begins[1:], None], strict=True):
        yield Span(source, begin, end, n_bytes=(source.n_bytes if end is None else end) - begin)


def _members(stream: BinaryIO, source: Source, size: int) -> Iterator[int]:
    """Offsets of members, the first one at or behind each multiple of `size`."""
    indexed = _indexed(source, size)
    last = 0
    for wanted in range(size, source.n_bytes, size):
        if wanted <= last:
            continue
        named = indexed.get(wanted // size)
        found = named if named is not None and _verified(stream, named)[0] else _found(stream, wanted)
        if found is None:
            return
        yield found
        last = found


def _found(stream: BinaryIO, begin: int) -> int | None:
    """The first member from here on that is one of the file, and not of a payload."""
    while True:
        stream.seek(begin)
        tape = Tape(stream, begin)
        if not _to_member(tape):
            return None
        at = tape.offset
        is_one, begin = _verified(stream, at)
        if is_one:
            return at


def _verified(stream: BinaryIO, begin: int) -> tuple[bool, int]:
    """Whether a record's member begins here and others follow it for `PROOF_BYTES`, and where that was found out."""
    stream.seek(begin)
    tape = Tape(stream, begin)
    if not _begins_record(tape.peek(_HEAD_BYTES)):
        return False, begin + 1
    while tape.peek(1) and tape.offset - begin <= PROOF_BYTES:
        if not _MEMBER.match(tape.peek(4)) or not _unpacks(tape, 16 * PROOF_BYTES):
            return False, max(tape.offset, begin + 1)
        tape.skip_blank()
    return True, tape.offset


def _unpacks(tape: Tape, enough: int) -> bool:
    """Whether a member can be unpacked, or so much of it that it isn't one by chance."""
    begin = tape.offset
    inflate = zlib.decompressobj(31)
    n_bytes = 0
    while not inflate.eof and tape.offset - begin < enough:
        packed = tape.peek(_CHUNK_BYTES)
        try:
            n_bytes += len(inflate.decompress(packed, 16 * _CHUNK_BYTES))
        except zlib.error:
            return False
        if not packed or n_bytes > _FREE_BYTES:
            return False
        tape.skip(len(packed) - len(inflate.unconsumed_tail) - len(inflate.unused_data))
    return True


def _indexed(source: Source, size: int) -> dict[int, int]:
    """Of each piece of `size` bytes the first record that an index beside the file names."""
    first: dict[int, int] = {}
    for path in _indexes(source):
        with path.open("rb") as lines:
            for line in lines:
                offset = _offset_in(line[:100_000], source.name)
                if offset is not None:
                    piece = offset // size
                    first[piece] = min(first.get(piece, offset), offset)
    return first


_MOST_INDEX_BYTES = 1 << 32
"""Of an index that is read: those of Common Crawl's largest files have 200 MB."""

_CDXJ_OFFSET = re.compile(rb'"offset":\s{0,9}"?(\d{1,18})\b')
_CDXJ_NAME = re.compile(rb'"filename":\s{0,9}"([^"]{1,1000})"')


def _indexes(source: Source) -> Iterator[Path]:
    """Indexes beside a file: `x.warc.gz` may have `x.cdx`, `x.warc.cdxj`, `x.warc.gz.cdx`, …"""
    if isinstance(source.path, str):  # elsewhere, where looking for six names takes six requests
        return
    bare = source.name.removesuffix(".gz")
    for stem in dict.fromkeys((source.name, bare, bare.removesuffix(".warc"))):
        for suffix in (".cdxj", ".cdx"):
            path = source.path.with_name(stem + suffix)
            if path.is_file() and path.stat().st_size <= _MOST_INDEX_BYTES:
                yield path


def _offset_in(line: bytes, name: str) -> int | None:
    """The offset in a line of an index: a field of JSON in a CDXJ, the last but one before the file's name in a CDX of 9
    or 11 fields. None in lines of other files, of which one index may have many, and in those without.
    """
    if (found := _CDXJ_OFFSET.search(line)) is not None:
        named = _CDXJ_NAME.search(line)
        offset, file = found[1], named[1] if named else name.encode()
    else:
        *_, offset, file = (b"", b"", *line.split())
    same = file.rpartition(b"/")[2] == name.encode(errors="surrogateescape")
    return int(offset) if same and offset.isdigit() and len(offset) < 19 else None


def _walked(stream: BinaryIO, size: int) -> Iterator[int]:
    """Offsets of records, found from length to length: the first one at or behind each multiple of `size`."""
    at = 0
    wanted = size
    while (length := _length_at(stream, at)) is not None:
        if at >= wanted:
            yield at
            wanted = (at // size + 1) * size
        at += length


def _length_at(stream: BinaryIO, at: int) -> int | None:
    """Bytes of the record at an offset, with the line ends behind it; None if it is none, the last one, or not whole."""
    stream.seek(at)
    head = stream.read(_HEAD_BYTES)
    if (end := _END_OF_HEAD.search(head)) is None:
        head += stream.read(MAX_HEAD_BYTES)
        end = _END_OF_HEAD.search(head)
    if end is None or not _VERSION.match(head):
        return None
    length = _content_length(read_fields(head[: end.start()].splitlines()[1:]))
    if length is None:
        return None
    stream.seek(at + end.end() + length)
    after = stream.read(_OVERLAP_BYTES)
    n_blank = len(after) - len(after.lstrip(_BLANK))
    return end.end() + length + n_blank if _VERSION.match(after, n_blank) else None
