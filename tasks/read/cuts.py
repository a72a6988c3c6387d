"""Where a WARC file can be cut into pieces that are read one by one, without reading all of it."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tasks.read.frames import (
    BLANK,
    CHUNK_BYTES,
    END_OF_HEAD,
    GZIP,
    HEAD_BYTES,
    LINE_BYTES,
    MEMBER,
    VERSION,
    Tape,
    begins_record,
    content_length,
    n_left,
    to_member,
)
from tasks.read.responses import MAX_HEAD_BYTES, read_fields
from tasks.read.sources import Source
from tasks.read.streams import FLOOR_BYTES

PROOF_BYTES = 1 << 16
"""Members that follow each other for so long are not a payload that happens to be a `.warc.gz`: bytes that can't be
compressed lie in a member as they are, but in pieces of at most 65,535 bytes (RFC 1951, section 3.2.4)."""

_MOST_INDEX_BYTES = 1 << 32
"""Of an index that is read: those of Common Crawl's largest files have 200 MB."""

_CDXJ_OFFSET = re.compile(rb'"offset":\s{0,9}"?(\d{1,18})\b')
_CDXJ_NAME = re.compile(rb'"filename":\s{0,9}"([^"]{1,1000})"')


def offsets(stream: BinaryIO, source: Source, size: int) -> Iterator[int]:
    """Offsets of records near multiples of `size`.

    Of a compressed file the members there are taken: those that an index beside it names, if they are some, else those
    that are found there. Of others all headers are read, from length to length, up to the first that leads nowhere.
    """
    packed = stream.read(len(GZIP)) == GZIP
    return _members(stream, source, size) if packed else _walked(stream, size)


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
        if not to_member(tape):
            return None
        at = tape.offset
        is_one, begin = _verified(stream, at)
        if is_one:
            return at


def _verified(stream: BinaryIO, begin: int) -> tuple[bool, int]:
    """Whether a record's member begins here and others follow it for `PROOF_BYTES`, and where that was found out."""
    stream.seek(begin)
    tape = Tape(stream, begin)
    if not begins_record(tape.peek(HEAD_BYTES)):
        return False, begin + 1
    while tape.peek(1) and tape.offset - begin <= PROOF_BYTES:
        if not MEMBER.match(tape.peek(4)) or not _unpacks(tape, 16 * PROOF_BYTES):
            return False, max(tape.offset, begin + 1)
        tape.skip_blank()
    return True, tape.offset


def _unpacks(tape: Tape, enough: int) -> bool:
    """Whether a member can be unpacked, or so much of it that it isn't one by chance."""
    begin = tape.offset
    inflate = zlib.decompressobj(31)
    n_bytes = 0
    while not inflate.eof and tape.offset - begin < enough:
        packed = tape.peek(CHUNK_BYTES)
        try:
            n_bytes += len(inflate.decompress(packed, 16 * CHUNK_BYTES))
        except zlib.error:
            return False
        if n_bytes > FLOOR_BYTES or not (packed or inflate.eof):
            return False
        tape.skip(len(packed) - n_left(inflate))
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


def _indexes(source: Source) -> Iterator[Path]:
    """Indexes beside a file: that of `x.warc.gz` may be `x.cdx`, `x.warc.cdxj`, or `x.warc.gz.cdx`."""
    if isinstance(source.path, str):  # elsewhere, where looking for six names takes six requests
        return
    bare = source.name.removesuffix(".gz")
    for stem in dict.fromkeys((source.name, bare, bare.removesuffix(".warc"))):
        for suffix in (".cdxj", ".cdx"):
            path = source.path.with_name(stem + suffix)
            if path.is_file() and path.stat().st_size <= _MOST_INDEX_BYTES:
                yield path


def _offset_in(line: bytes, name: str) -> int | None:
    """The offset in a line of an index; None in those of other files, of which one index may have many.

    It is a field of JSON in a CDXJ, and the last before the name of the file in a CDX of 9 or 11 fields.
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
    """Bytes of the record at an offset, up to the next one; None if there is none or no next one."""
    stream.seek(at)
    head = stream.read(HEAD_BYTES)
    if (end := END_OF_HEAD.search(head)) is None:
        head += stream.read(MAX_HEAD_BYTES)
        end = END_OF_HEAD.search(head)
    if end is None or not VERSION.match(head):
        return None
    length = content_length(read_fields(head[: end.start()].splitlines()[1:]))
    if length is None:
        return None
    stream.seek(at + end.end() + length)
    after = stream.read(LINE_BYTES)
    n_blank = len(after) - len(after.lstrip(BLANK))
    return end.end() + length + n_blank if VERSION.match(after, n_blank) else None
