"""Tar archives: the members that are files, in their order, each read as what it is.

Headers are parsed by `tarfile.TarInfo.frombuf`; the walk from one to the next is ours, since `tarfile` reads headers of
any size into memory, follows chains of them by recursion, remembers all members, and ends at the first that is damaged.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from copy import copy
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from schemas.document import Reason
from tasks.read.members import Addresses, decoded, is_junk
from tasks.read.records import BombError, BrokenError, Input, Item, Place, Skipped, Span, rejected, says
from tasks.read.sources import Source
from tasks.read.streams import buffered

_BLOCK = 512
_ZEROS = bytes(_BLOCK)

_MAX_HEADER_BYTES = 1 << 20
"""Of a long name, extended attributes or the map of a sparse file. Linux allows paths of 4,096 bytes."""

_MAX_MEMBER_BYTES = 1 << 60
"""More than file systems hold, and less than what can't be sought."""

_FILES = {b"0", b"\0", b"7", b"S"}
"""Types of regular files: old, contiguous and sparse ones included."""

_OTHERS = {b"1": "link", b"2": "link", b"3": "device", b"4": "device", b"5": "directory", b"6": "device"}
"""Types that nothing follows, whatever size they tell."""

_PAX, _LONG_NAME = {b"x", b"X"}, b"L"
_EXTENDED = {*_PAX, _LONG_NAME, b"K", b"g"}
"""Types that say something of the next member: POSIX and Solaris, GNU's long names and targets of links; or of all."""

_KEYS = {"path", "size"} | {f"GNU.sparse.{key}" for key in ("name", "size", "realsize", "map", "major")}
"""Of POSIX headers, what is read."""


class _Header(NamedTuple):
    """A member."""

    offset: int
    """Where its first header begins."""
    path: str
    skipped: str
    """What it is, if it is not to be read."""
    n_bytes: int
    """Of its data in the archive."""
    runs: tuple[tuple[int, int], ...] = ()
    """Of a sparse file: so many zeros that are not in the archive, then so many bytes that are."""


class _BadHeaderError(Exception):
    """This is no header, or one that can't be followed."""


def read(given: Input) -> Iterator[Item]:
    """Members, up to the end of the file: a second archive that was put behind the first is read as well.

    Raises:
        BrokenError: if it ends too soon; likewise what the stream raises. Damaged headers are rows, and it goes on with
            the next that is whole.
    """
    if given.begin:
        given.stream.seek(given.begin)
    tape = _Tape(given.stream, given.begin)
    addresses = Addresses()
    for header in _headers(tape, given.end):
        if isinstance(header, BrokenError):
            yield rejected(given.place, header.address, Reason.BROKEN, header.why)
        elif header.skipped:
            yield Skipped(header.skipped)
        else:
            yield from _read_member(given, tape, header, addresses.of(header.path))


def split(stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
    """Pieces that begin at a member each; none if members share a name, since the second is told by the first."""
    if source.n_bytes <= size:
        return
    addresses = Addresses()
    begins: list[int] = []
    try:
        for header in _headers(_Tape(stream, 0), None):
            if isinstance(header, BrokenError):
                break  # whoever reads the last piece will find a way
            if not header.skipped:
                addresses.of(header.path)
            if not begins or header.offset - begins[-1] >= size:
                begins.append(header.offset)
    except BrokenError:
        pass
    if addresses.has_duplicates or not begins:
        return
    begins[0] = 0
    for begin, end in pairwise(begins):
        yield Span(source, begin, end, n_bytes=end - begin)
    yield Span(source, begins[-1], None, n_bytes=source.n_bytes - begins[-1])


def _read_member(given: Input, tape: "_Tape", header: _Header, address: str) -> Iterator[Item]:
    member = _Member(tape, header)
    stream = buffered(member)
    if header.runs:
        stream = given.expand(stream, "sparse", decoder=lambda: _Sparse(header.runs))
    place = Place(given.place.uri, header.path, given.place.at(address), given.place.depth + 1)
    for item in given.nested(stream, place):
        if member.error is None or not says(item, member.error):
            yield item
    if member.error is not None:
        raise copy(member.error)  # what is left of the member, and all that follows it, is one row


class _Tape:
    """The archive as a tape that knows where it is."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        self._stream = stream
        self.offset = offset

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end, or before damage."""
        data = self._stream.read(size)
        self.offset += len(data)
        return data

    def take(self, size: int) -> bytes:
        """So many bytes; fewer at the end alone."""
        data = self.read(size)
        while len(data) < size and (more := self.read(size - len(data))):
            data += more
        if size and not data and self._stream.seekable():
            self.offset = min(self.offset, self._stream.seek(0, os.SEEK_END))
        return data

    def skip_to(self, offset: int) -> None:
        """Go there, or to the end. A file may be sought beyond it: the next read finds nothing then."""
        if self._stream.seekable():
            self._stream.seek(offset - self.offset, os.SEEK_CUR)
            self.offset = offset
        while self.offset < offset and self.read(min(offset - self.offset, 1 << 16)):
            pass


class _Member(io.RawIOBase):
    """The bytes of a member; keeps the error, if the archive ends or is damaged within."""

    def __init__(self, tape: _Tape, header: _Header) -> None:
        self._tape = tape
        self._path = header.path
        self._end = tape.offset + header.n_bytes
        self.error: BrokenError | BombError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._end - self._tape.offset)
        try:
            data = self._tape.read(wanted) or self._end_of_tape(wanted)
        except (BrokenError, BombError) as error:
            self.error = copy(error)
            raise
        buffer[: len(data)] = data
        return len(data)

    def _end_of_tape(self, wanted: int) -> bytes:
        if wanted:
            name = self._path.encode("utf-8", "backslashreplace").decode()
            raise BrokenError(f"The archive ends in the middle of {name}.", f"offset={self._tape.offset}")
        return b""


def _headers(tape: _Tape, end: int | None) -> Iterator[_Header | BrokenError]:
    """Members up to an offset. Who is given one may read its data from the tape; what is left of it is skipped."""
    has_end = is_lost = False
    while end is None or tape.offset < end:
        offset = tape.offset
        block = tape.take(_BLOCK)
        if len(block) < _BLOCK:
            if not is_lost:
                _check_end(block, tape.offset - len(block), has_end=has_end)
            return
        if block == _ZEROS:
            has_end = True
            continue
        if is_lost and block[257:262] != b"ustar":
            continue
        try:
            header = _header(tape, block, offset)
        except (_BadHeaderError, tarfile.HeaderError) as error:
            if not is_lost:
                yield BrokenError(f"This header is damaged: {error}.", f"offset={offset}")
            is_lost = True
            continue
        has_end = is_lost = False
        until = tape.offset + -(-header.n_bytes // _BLOCK) * _BLOCK
        yield header
        tape.skip_to(until)


def _check_end(block: bytes, offset: int, *, has_end: bool) -> None:
    if block.strip(b"\0"):
        raise BrokenError("The archive ends in the middle of a header.", f"offset={offset}")
    if not has_end:
        raise BrokenError("The archive has no end mark: it may have been cut there.", f"offset={offset}")


def _header(tape: _Tape, block: bytes, offset: int) -> _Header:
    """A member's header, with all that stands before it.

    Raises:
        _BadHeaderError: if it makes no sense; likewise tarfile.HeaderError.
        BrokenError: if the archive ends within.
    """
    told: dict[str, bytes] = {}
    while (info := _parsed(block)).type in _EXTENDED:
        told |= _extended(_more_header(tape, info.size), info.type)
        block = _more_header(tape, _BLOCK)
    path = told.get("GNU.sparse.name") or told.get("path") or info.name.encode("utf-8", "surrogateescape")
    n_bytes = _number(told["size"]) if "size" in told else info.size
    if n_bytes > _MAX_MEMBER_BYTES:
        raise _BadHeaderError(f"it says that the file has {n_bytes:,} bytes")
    skipped = _skipped(info.type, decoded(path))
    if skipped in _OTHERS.values():
        n_bytes = 0
    begins = tape.offset
    runs = _sparse_runs(tape, block, info.type, told)
    n_map = tape.offset - begins if info.type != b"S" else 0  # the oldest kind doesn't count its map as data
    return _Header(offset, decoded(path), skipped, max(0, n_bytes - n_map), runs)


def _parsed(block: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if info.size < 0:
        raise _BadHeaderError("its size is below zero")
    return info


def _skipped(kind: bytes, path: str) -> str:
    if kind in _OTHERS:
        return _OTHERS[kind]
    if is_junk(path):
        return "junk"
    return "" if kind in _FILES or not kind.isalpha() else "special"  # POSIX: types it doesn't know are files


def _more_header(tape: _Tape, size: int) -> bytes:
    """The blocks that follow, with so many bytes."""
    if size > _MAX_HEADER_BYTES:
        raise _BadHeaderError(f"it says that {size:,} bytes more belong to it")
    offset = tape.offset
    n_padded = -(-size // _BLOCK) * _BLOCK
    data = tape.take(n_padded)
    if len(data) < n_padded:
        raise BrokenError("The archive ends in the middle of a header.", f"offset={offset}")
    return data[:size]


def _extended(data: bytes, kind: bytes) -> dict[str, bytes]:
    if kind == _LONG_NAME:
        return {"path": data.partition(b"\0")[0]}
    return _pax(data) if kind in _PAX else {}


def _pax(data: bytes) -> dict[str, bytes]:
    """Records `<length> <key>=<value>` of POSIX.1-2001. The oldest maps of sparse files come number by number."""
    told: dict[str, bytes] = {}
    numbers = []
    at = 0
    while at < len(data):
        digits = data[at : at + 10].partition(b" ")[0]
        length = _number(digits)
        record = data[at + len(digits) + 1 : at + length]
        key, has_value, value = record.removesuffix(b"\n").partition(b"=")
        if length <= len(digits) or at + length > len(data) or not has_value:
            raise _BadHeaderError("its extended header makes no sense")
        name = key.decode("ascii", "replace")
        if name in _KEYS:
            told[name] = value
        elif name in {"GNU.sparse.offset", "GNU.sparse.numbytes"}:
            numbers.append(value)
        at += length
    return told | ({"GNU.sparse.map": b",".join(numbers)} if numbers else {})


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise _BadHeaderError("a number in it is none")
    return int(digits)


def _sparse_runs(tape: _Tape, block: bytes, kind: bytes, told: dict[str, bytes]) -> tuple[tuple[int, int], ...]:
    """Where the data of a sparse file belong; none of any other.

    The formats are those of the GNU tar manual, "Storing Sparse Files".
    """
    if kind == b"S":
        return _runs(_old_map(tape, block), tarfile.nti(block[483:495]))  # type: ignore[attr-defined]
    size = told.get("GNU.sparse.realsize") or told.get("GNU.sparse.size")
    if size is None:
        return ()
    if told.get("GNU.sparse.major") == b"1":
        return _runs(_map_in_data(tape), _number(size))
    numbers = [_number(digits) for digits in told.get("GNU.sparse.map", b"").split(b",") if digits]
    return _runs(numbers, _number(size))


def _old_map(tape: _Tape, block: bytes) -> list[int]:
    """Four pairs in the header, then 21 in each block that follows."""
    numbers: list[int] = []
    fields, is_extended = block[386:482], block[482]
    while True:
        numbers += [tarfile.nti(fields[at : at + 12]) for at in range(0, len(fields), 12)]  # type: ignore[attr-defined]
        if not is_extended:
            return numbers
        if len(numbers) * 12 > _MAX_HEADER_BYTES:
            raise _BadHeaderError("the map of the sparse file has no end")
        more = _more_header(tape, _BLOCK)
        fields, is_extended = more[:504], more[504]


def _map_in_data(tape: _Tape) -> list[int]:
    """How many pairs, and the pairs, a line for each number, in whole blocks."""
    lines = _more_header(tape, _BLOCK).split(b"\n")
    n_lines = 1 + 2 * _number(lines[0])
    if n_lines * 2 > _MAX_HEADER_BYTES:
        raise _BadHeaderError("the map of the sparse file has no end")
    while len(lines) <= n_lines:
        more = _more_header(tape, _BLOCK).split(b"\n")
        lines[-1] += more[0]
        if len(lines[-1]) > _BLOCK:
            raise _BadHeaderError("the map of the sparse file makes no sense")
        lines += more[1:]
    return [_number(line) for line in lines[1:n_lines]]


def _runs(numbers: list[int], size: int) -> tuple[tuple[int, int], ...]:
    """Pairs of zeros and bytes, out of pairs of offset and length."""
    runs = []
    at = 0
    if len(numbers) % 2:
        raise _BadHeaderError("the map of the sparse file ends in the middle of a pair")
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        if not length:
            continue  # it marks the end
        if offset < at or length < 0:
            raise _BadHeaderError("the map of the sparse file makes no sense")
        runs.append((offset - at, length))
        at = offset + length
    if at > size:
        raise _BadHeaderError("the sparse file has more than its size")
    return (*runs, (size - at, 0))


class _Sparse:
    """A sparse file as a `streams.Decoder`: what it expands to is bounded like anything that is compressed."""

    unused_data = b""

    def __init__(self, runs: tuple[tuple[int, int], ...]) -> None:
        self._runs = iter(runs)
        self._zeros = self._bytes = 0
        self._data = b""
        self.eof = False

    @property
    def needs_input(self) -> bool:
        return not self._data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes."""
        self._data += data
        while not (self._zeros or self._bytes):
            run = next(self._runs, None)
            if run is None:
                self.eof = True
                return b""
            self._zeros, self._bytes = run
        if self._zeros:
            made = bytes(min(self._zeros, max_length))
            self._zeros -= len(made)
        else:
            made = self._data[: min(self._bytes, max_length)]
            self._data = self._data[len(made) :]
            self._bytes -= len(made)
        return made
