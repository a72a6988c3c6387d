"""Zip archives: the members that are files, in the order of the directory, each read as what it is.

`zipfile` refuses an archive as a whole for one bad field of its directory, keeps half a gigabyte for a million members,
undoes fewer compressions, and drops what comes before damage; so the directory is read here, by APPNOTE.TXT 6.3.10.
"""

import io
import lzma
import shutil
import stat
import struct
import sys
import tempfile
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator
from copy import copy
from itertools import pairwise
from typing import BinaryIO, NamedTuple, cast

from schemas.document import Reason
from tasks.read.members import Addresses, decoded, is_junk
from tasks.read.records import BrokenError, Input, Item, Place, Skipped, Span, rejected, says
from tasks.read.sources import Source
from tasks.read.streams import DECODERS, WINDOW_BYTES, Decoder, buffered, stepped

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")

_MAX_ENTRY_BYTES = _ENTRY.size + 3 * 0xFFFF
"""Of the directory: its name, its extra fields and its comment have lengths of 16 bits."""

_END_MARK = b"PK\x05\x06"
_LOCAL_MARK = b"PK\x03\x04"

_IN_MEMORY_BYTES = 8 * 1024 * 1024
"""An archive within a stream that is larger is put by in a temporary file without a name."""

_CHUNK_BYTES = 64 * 1024

_FED_BYTES = 128
"""To the decoder of deflate64, which makes 26,000 bytes of one at most."""

_MAX_BYTES = 1 << 60
"""More than file systems hold, and less than what can't be sought."""

_FULL = 0xFFFFFFFF
"""A number that stands in the zip64 field instead."""


class _Entry(NamedTuple):
    """A member, as the directory or its own header says."""

    at: int
    """Where this stands."""
    offset: int
    """Where its own header begins."""
    path: str
    skipped: str
    """What it is, if it is not to be read."""
    flags: int
    method: int
    crc: int
    n_packed: int
    n_bytes: int

    @property
    def is_measured(self) -> bool:
        """Whether a header tells the sizes: otherwise they follow the data, as when it was written to a pipe."""
        return not self.flags & 8


class _Directory(NamedTuple):
    """Where the directory of an archive is."""

    begin: int
    end: int
    shift: int
    """What is to be added to its offsets: length of what was put before the archive."""


def read(given: Input) -> Iterator[Item]:
    """Members by the directory; without one, or after the place where it is damaged, by their own headers.

    Raises:
        BrokenError: if that is so. A member that is broken, encrypted or packed in an unknown way is a row.
    """
    if given.stream.seekable():
        yield from _members(given, given.stream)
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
        cut = _spool(given.stream, cast("BinaryIO", spool))
        try:
            yield from _members(given, cast("BinaryIO", spool))
        except BrokenError:
            if cut is None:
                raise
        if cut is not None:
            raise copy(cut)


def split(stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
    """Pieces of the directory; none unless its members follow each other and have names of their own."""
    if source.n_bytes <= size:
        return
    begins: list[int | None] = [0]
    offsets = [0]
    furthest = 0
    addresses = Addresses()
    try:
        directory = _directory(stream)
        for entry in _entries(stream, directory, directory.begin, None):
            if entry.offset < furthest:
                return
            furthest = entry.offset + _LOCAL.size + entry.n_packed
            if not entry.skipped:
                addresses.of(entry.path)
            if entry.offset - offsets[-1] >= size:
                begins.append(entry.at)
                offsets.append(entry.offset)
    except BrokenError:
        return
    if furthest > directory.begin or addresses.has_duplicates:
        return
    offsets.append(source.n_bytes)
    for (begin, end), (offset, until) in zip(pairwise([*begins, None]), pairwise(offsets), strict=True):
        yield Span(source, begin or 0, end, n_bytes=until - offset)


def _spool(stream: BinaryIO, spool: BinaryIO) -> BrokenError | None:
    """Put an archive by; what is wrong with its stream, if it could not be read to its end."""
    try:
        shutil.copyfileobj(stream, spool, _CHUNK_BYTES)
    except BrokenError as error:
        return copy(error)
    return None


def _members(given: Input, stream: BinaryIO) -> Iterator[Item]:
    addresses = Addresses()
    try:
        directory = _directory(stream)
        begin = given.begin or directory.begin
        offsets = _offsets(stream, directory, begin, given.end)
    except BrokenError as damage:
        yield from _by_headers(given, stream, addresses)
        raise damage from None
    for entry in _entries(stream, directory, begin, given.end):
        yield from _by_entry(given, stream, entry, addresses, offsets)


def _directory(stream: BinaryIO) -> _Directory:
    """Find the directory.

    Raises:
        BrokenError: if it isn't there.
    """
    size = stream.seek(0, io.SEEK_END)
    tail_at = max(0, size - _END.size - 0xFFFF)
    stream.seek(tail_at)
    tail = stream.read()
    at = _end_record(tail)
    if at < 0:
        raise BrokenError("The archive ends without its directory.", f"offset={size}")
    *_, n_bytes, offset, _comment = _END.unpack_from(tail, at)
    end = tail_at + at
    if (found := _end64(stream, end)) is not None:
        end, n_bytes, offset = found
    for begin in (end - n_bytes, offset):
        stream.seek(min(max(0, begin), end))
        if begin == end or (0 <= begin < end and stream.read(4) == b"PK\x01\x02"):
            return _Directory(begin, end, begin - offset)
    raise BrokenError("The directory of the archive is not where it should be.", f"offset={end}")


def _end_record(tail: bytes) -> int:
    """Where the record is that ends an archive: the last whose comment goes to the end, or else the last; or -1."""
    until = max(0, len(tail) - _END.size + len(_END_MARK))
    last = at = tail.rfind(_END_MARK, 0, until)
    while at >= 0:
        if at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return at
        at = tail.rfind(_END_MARK, 0, at)
    return last


def _end64(stream: BinaryIO, end: int) -> tuple[int, int, int] | None:
    """Where the directory of a large archive ends, its size and its offset."""
    stream.seek(max(0, end - _LOCATOR64.size))
    locator = stream.read(_LOCATOR64.size)
    if len(locator) < _LOCATOR64.size or not locator.startswith(b"PK\x06\x07"):
        return None
    for at in (end - _LOCATOR64.size - _END64.size, _LOCATOR64.unpack(locator)[2]):
        stream.seek(min(max(0, at), end))
        record = stream.read(_END64.size)
        if len(record) == _END64.size and record.startswith(b"PK\x06\x06"):
            return at, *_END64.unpack(record)[-2:]
    return None


def _entries(stream: BinaryIO, directory: _Directory, begin: int, end: int | None) -> Iterator[_Entry]:
    """Members as the directory has them. The stream may be read elsewhere between two of them.

    Raises:
        BrokenError: where the directory is damaged.
    """
    at, until = begin, directory.end if end is None else min(end, directory.end)
    data_at, data = at, b""
    while at < until:
        if at - data_at + _MAX_ENTRY_BYTES > len(data):
            data_at = stream.seek(at)
            data = stream.read(min(1 << 20, directory.end - at))
        try:
            entry, length = _entry(data, at - data_at, at, directory.shift)
        except (struct.error, ValueError) as error:
            raise BrokenError("The directory of the archive is damaged.", f"offset={at}") from error
        yield entry
        at += length


def _entry(data: bytes, begin: int, at: int, shift: int) -> tuple[_Entry, int]:
    fields = _ENTRY.unpack_from(data, begin)
    mark, made_by, _, flags, method, _, _, crc, n_packed, n_bytes, n_name, n_extra, n_comment, _, _, mode, offset = (
        fields
    )
    name_at = begin + _ENTRY.size
    extra_at = name_at + n_name
    end = extra_at + n_extra + n_comment
    if mark != b"PK\x01\x02" or end > len(data):
        raise ValueError
    extra = dict(_extra(data[extra_at : extra_at + n_extra]))
    n_bytes, n_packed, offset = _large(extra, n_bytes, n_packed, offset)
    if max(n_packed, offset) > _MAX_BYTES:
        raise ValueError
    path = _path(data[name_at:extra_at], extra)
    skipped = _skipped(path, mode, made_by)
    return _Entry(at, offset + shift, path, skipped, flags, method, crc, n_packed, n_bytes), end - begin


def _extra(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        key, length = struct.unpack_from("<2H", data, at)
        yield key, data[at + 4 : at + 4 + length]
        at += 4 + length


def _large(extra: dict[int, bytes], *numbers: int) -> list[int]:
    """Numbers of a header; those that are too large for it are in its zip64 field, in the same order."""
    data = extra.get(1, b"")
    large = iter(struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8]))
    return [next(large, number) if number == _FULL else number for number in numbers]


def _path(name: bytes, extra: dict[int, bytes]) -> str:
    """The name as characters. Few programs say in which encoding it is: what is UTF-8 or looks like GBK is that."""
    told = extra.get(0x7075, b"")  # Info-ZIP's: version, checksum of the name it stands for, UTF-8
    if told[:1] == b"\x01" and told[1:5] == zlib.crc32(name).to_bytes(4, "little"):
        return decoded(told[5:])
    path = decoded(name)
    far = [sign for sign in path if sign > "\x7f"]
    if name.isascii() or (path.encode("utf-8", "surrogateescape") == name and not _has_bytes(path)):
        return path
    # Letters with accents of cp437 also make pairs of GBK, but hardly ever characters of GB 2312.
    is_chinese = not _has_bytes(path) and sum(_is_common(sign) for sign in far) * 2 >= len(far)
    return path if is_chinese else name.decode("cp437")


def _has_bytes(path: str) -> bool:
    return any("\udc80" <= sign <= "\udcff" for sign in path)


def _is_common(sign: str) -> bool:
    try:
        sign.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _skipped(path: str, mode: int, made_by: int) -> str:
    if path.endswith(("/", "\\")):
        return "directory"
    if made_by >> 8 == 3 and stat.S_ISLNK(mode >> 16):  # 3: Unix
        return "link"
    return "junk" if is_junk(path) else ""


def _offsets(stream: BinaryIO, directory: _Directory, begin: int, end: int | None) -> "array[int]":
    """Where members begin, sorted, and where the directory does: none goes further than the next of these."""
    found = array("q", [directory.begin])
    for entry in _entries(stream, directory, begin, None):
        found.append(entry.offset)
        if end is not None and entry.at >= end:
            break
    return array("q", sorted(found))


def _by_entry(
    given: Input, stream: BinaryIO, entry: _Entry, addresses: Addresses, offsets: "array[int]"
) -> Iterator[Item]:
    if entry.skipped:
        yield Skipped(entry.skipped)
        return
    address = addresses.of(entry.path)
    try:
        begin = _data_offset(stream, entry)
        _check_room(entry, begin, offsets)
        member = _unpacked(given, _Slice(stream, begin, begin + entry.n_packed), entry)
    except _UnfitError as error:
        yield rejected(given.place, address, Reason.BROKEN, f"{error}: not read.")
        return
    yield from given.nested(buffered(_Checked(member, entry)), _place(given, entry, address))


def _check_room(entry: _Entry, begin: int, offsets: "array[int]") -> None:
    """Bombs have members that lie in each other, each expanding the bytes of all (Fifield, A better zip bomb, 2019)."""
    at = bisect_left(offsets, entry.offset)
    if at + 1 >= len(offsets) or begin + entry.n_packed > offsets[at + 1]:
        raise _UnfitError("It overlaps with what follows it in the archive")


def _by_headers(given: Input, stream: BinaryIO, addresses: Addresses) -> Iterator[Item]:
    """Members as they follow each other, up to the end, or one that is cut."""
    at: int | None = 0
    while at is not None and (at := _find(stream, (_LOCAL_MARK,), at)) is not None:
        entry, begin = _local_entry(stream, at)
        if entry is None:
            return
        if not entry.is_measured and entry.method == 0:
            end = _find(stream, (b"PK\x07\x08", _LOCAL_MARK, b"PK\x01\x02"), begin)
            entry = entry._replace(n_packed=_MAX_BYTES if end is None else end - begin)
        at = yield from _by_header(given, stream, entry, begin, addresses)


def _by_header(
    given: Input, stream: BinaryIO, entry: _Entry, begin: int, addresses: Addresses
) -> Generator[Item, None, int | None]:
    """A member; where to look for the next one, or None if the archive ends in this one."""
    end = begin + entry.n_packed
    if entry.skipped:
        yield Skipped(entry.skipped)
        return end
    address = addresses.of(entry.path)
    is_endless = not entry.is_measured and entry.method != 0 and not entry.n_packed
    packed = _Slice(stream, begin, None if is_endless else end)
    decoders: list[Decoder] = []
    try:
        member = _unpacked(given, packed, entry, decoders)
    except _UnfitError as error:
        yield rejected(given.place, address, Reason.BROKEN, f"{error}: not read.")
        return end
    if entry.is_measured:
        member = buffered(_Checked(member, entry))
    for item in given.nested(member, _place(given, entry, address)):
        if packed.error is None or not says(item, packed.error):
            yield item
    if packed.error is not None:
        return None
    return packed.at - len(decoders[0].unused_data) if is_endless and decoders and decoders[0].eof else end


def _local_entry(stream: BinaryIO, at: int) -> tuple[_Entry | None, int]:
    """What a member says of itself, and where its data begin; None where it is cut."""
    stream.seek(at)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        return None, at
    _, _, flags, method, _, _, crc, n_packed, n_bytes, n_name, n_extra = _LOCAL.unpack(header)
    name, more = stream.read(n_name), stream.read(n_extra)
    extra = dict(_extra(more))
    n_bytes, n_packed = _large(extra, n_bytes, n_packed)
    n_packed = min(n_packed, _MAX_BYTES)
    path = _path(name, extra)
    if len(name) < n_name or len(more) < n_extra:
        return None, at
    entry = _Entry(at, at, path, _skipped(path, 0, 0), flags, method, crc, n_packed, n_bytes)
    return entry, at + _LOCAL.size + n_name + n_extra


def _find(stream: BinaryIO, marks: tuple[bytes, ...], begin: int) -> int | None:
    """Where the first of some marks of four bytes is."""
    at, data = begin, b""
    stream.seek(begin)
    while more := stream.read(_CHUNK_BYTES):
        data += more
        if places := [place for mark in marks if (place := data.find(mark)) >= 0]:
            return at + min(places)
        at, data = at + len(data) - 3, data[-3:]
    return None


class _UnfitError(Exception):
    """A member can't be read."""


def _place(given: Input, entry: _Entry, address: str) -> Place:
    return Place(given.place.uri, entry.path, given.place.at(address), given.place.depth + 1)


def _data_offset(stream: BinaryIO, entry: _Entry) -> int:
    """Where the data of a member begin."""
    if entry.offset < 0:
        raise _UnfitError("It was cut off")
    stream.seek(entry.offset)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(_LOCAL_MARK):
        raise _UnfitError("It is not where the directory says")
    n_name, n_extra = _LOCAL.unpack(header)[-2:]
    return entry.offset + _LOCAL.size + int(n_name) + int(n_extra)


def _unpacked(given: Input, packed: "_Slice", entry: _Entry, decoders: list[Decoder] | None = None) -> BinaryIO:
    """A member undone of its compression; puts what does that into the list, if there is one."""
    if entry.flags & 1:
        raise _UnfitError("It is encrypted")
    if entry.method == 0:
        return cast("BinaryIO", packed)
    if entry.method not in _METHODS:
        raise _UnfitError(f"It is packed by a method that is not known here ({entry.method})")
    kind, make = _METHODS[entry.method]

    def start() -> Decoder:
        decoder = make(entry)
        if decoders is not None:
            decoders.append(decoder)
        return decoder

    return given.expand(packed, kind, n_packed=entry.n_packed, decoder=start)


class _Lzma:
    """LZMA as zip files have it: four bytes, the properties, data that need not have an end mark."""

    def __init__(self, entry: _Entry) -> None:
        self._left = entry.n_bytes if entry.is_measured else sys.maxsize
        self._head = b""
        self._inner: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        return self._left <= 0 or (self._inner is not None and self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return self._inner is None or self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data if self._inner is not None and self._inner.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes."""
        if self._inner is None:
            self._head += data
            if len(self._head) < 9:
                return b""
            self._inner, data = _raw_lzma(self._head[4:9]), self._head[9:]
        made = self._inner.decompress(data, min(max_length, self._left))
        self._left -= len(made)
        return made


def _raw_lzma(properties: bytes) -> lzma.LZMADecompressor:
    """A decoder by LZMA's own five bytes: three numbers in one, and the size of the window."""
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    window = int.from_bytes(properties[1:], "little")
    if window > WINDOW_BYTES:
        raise lzma.LZMAError("a window of more memory than allowed")
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": max(window, 4096), "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


class _Deflate64:
    """Enhanced Deflate, as Explorer packs what is large. The library makes all there is to make, so it gets little."""

    def __init__(self) -> None:
        from inflate64 import Inflater  # noqa: PLC0415  # rare

        self._inner = Inflater()
        self._data = self._made = self._last = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof) and not self._made

    @property
    def needs_input(self) -> bool:
        return not self._data and not self._made

    @property
    def unused_data(self) -> bytes:
        return self._last + self._data  # somewhere in the last is the end

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes."""
        self._data += data
        while self._data and not self._made and not self._inner.eof:
            self._last, self._data = self._data[:_FED_BYTES], self._data[_FED_BYTES:]
            self._made = self._inner.inflate(self._last)
        made, self._made = self._made[:max_length], self._made[max_length:]
        return made


_METHODS: dict[int, tuple[str, Callable[[_Entry], Decoder]]] = {
    8: ("deflate", lambda _: DECODERS["deflate"]()),
    9: ("deflate64", lambda _: stepped(_Deflate64())),
    12: ("bzip2", lambda _: DECODERS["bzip2"]()),
    14: ("LZMA", lambda entry: stepped(_Lzma(entry))),
    20: ("zstd", lambda _: DECODERS["zstd"]()),
    93: ("zstd", lambda _: DECODERS["zstd"]()),
    95: ("xz", lambda _: DECODERS["xz"]()),
}
"""APPNOTE.TXT 4.4.5. All that anything writes today, but PPMd and WavPack."""


class _Slice(io.RawIOBase):
    """A part of a file, to its end where the part's own isn't known (None). That the file ends before is an error."""

    def __init__(self, stream: BinaryIO, begin: int, end: int | None) -> None:
        self._stream = stream
        self._end = end
        self.at = begin
        self.error: BrokenError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        wanted = len(buffer) if self._end is None else min(len(buffer), self._end - self.at)
        self._stream.seek(self.at)
        data = self._stream.read(wanted)
        if wanted and not data:
            self.error = BrokenError("The archive ends in the middle of this member.", f"offset={self.at}")
            raise copy(self.error)
        self.at += len(data)
        buffer[: len(data)] = data
        return len(data)


class _Checked(io.RawIOBase):
    """A member as it was packed, or damage at its end."""

    def __init__(self, stream: BinaryIO, entry: _Entry) -> None:
        self._stream = stream
        self._n_bytes, self._crc = entry.n_bytes, entry.crc
        self._n_read = self._state = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._n_read += len(data)
        self._state = zlib.crc32(data, self._state)
        if self._n_read > self._n_bytes or (not data and len(buffer) and self._n_read < self._n_bytes):
            than = "more" if self._n_read > self._n_bytes else "fewer"
            raise self._broken(f"It has {than} bytes than the {self._n_bytes:,} that the archive says")
        if not data and len(buffer) and self._state != self._crc:
            raise self._broken("Its checksum is not that of the archive")
        buffer[: len(data)] = data
        return len(data)

    def _broken(self, why: str) -> BrokenError:
        return BrokenError(f"{why}: it is damaged.", f"offset={self._n_read}")
