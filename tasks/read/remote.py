"""Sources that lie elsewhere: object stores, the web, and whatever else fsspec knows.

What all have in common is here: finding what is behind a name, reading it as a stream that survives a broken
connection, and errors in words. A place is a module that knows how it is asked (docs/adr/0022-remote-sources.md).
"""

import contextlib
import errno
import io
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import translate
from importlib import import_module
from typing import BinaryIO, NamedTuple, Protocol, TypeVar
from zlib import crc32

from tasks.read.addresses import is_web, scheme_of

T = TypeVar("T")

PLACES = {"s3": "tasks.read.s3", "http": "tasks.read.web", "https": "tasks.read.web"}
"""Modules by scheme, imported when the first such address comes; all others are `tasks.read.elsewhere`."""

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before a request is tried again: half a minute in all, as long as a server takes to start again."""

MAX_WAIT = 120.0
"""Seconds that a server may ask us to wait (Retry-After). Who asks for more is not waited for."""

FIRST_WINDOW, MAX_WINDOW = 4 << 20, 256 << 20
"""Bytes asked for at first, and at most: what is read on and on is asked for in ever larger pieces. A reader that jumps
(Parquet, zip) wastes little, most documents take one request, and 1 GB takes seven."""

SKIP = 1 << 20
"""Bytes that are read and thrown away rather than asked for from behind them: what comes during a round trip."""

BUFFER = 256 * 1024
"""Bytes of a read at least; and of the beginning, which is kept: it is looked at, and then read."""

_BREAKS = 100
"""Of connections while one thing is read: a server that breaks off after every few bytes would keep us for ever."""

AT_A_TIME = 16
"""Requests for the states of files that a list names."""

MANY = 500
"""Files of one folder that a list names, from which on the folder is listed: a thousand take one request then."""


class RemoteError(OSError):
    """What lies elsewhere could not be read; `strerror` says why, without anything secret.

    Args:
        why: A clause, for the reader.
        again: Whether trying again may help.
        wait: Seconds that the server asks for before that.
        code: What the server calls it.
    """

    def __init__(self, why: str, *, again: bool = False, wait: float = 0, code: str = "") -> None:
        super().__init__(errno.EIO, why)
        self.again = again
        self.wait = wait
        self.code = code

    def __str__(self) -> str:
        return str(self.strerror)

    __repr__ = __str__

    def __reduce__(self) -> tuple[type["RemoteError"], tuple[str]]:
        return RemoteError, (str(self.strerror),)


class Entry(NamedTuple):
    """Something that can be read."""

    address: str
    n_bytes: int | None
    """None where it isn't told."""
    mtime_ns: int
    """When it was changed (`time_of`); 0 where that isn't told."""


class Fetched(NamedTuple):
    """An answer: what is there from a position on, or all of it, whatever the position was."""

    pieces: Iterator[bytes]
    begin: int
    """Where the pieces begin."""
    n_bytes: int | None
    """Of all that is there, as in `Entry`; likewise `mtime_ns`."""
    mtime_ns: int
    ranged: bool
    """Whether it can be asked for a part."""
    close: Callable[[], object]


class Place(Protocol):
    """A module that knows how a kind of place is asked. All raise `RemoteError`."""

    def stat(self, address: str) -> Entry | None:
        """One thing; None if there is no such."""

    def walk(self, folder: str) -> Iterator[Entry]:
        """All beneath an address that ends with a slash, in any order."""

    def children(self, folder: str, start: str) -> tuple[list[str], list[Entry]]:
        """Folders and things right beneath an address that ends with a slash; those whose names begin so will do."""

    def fetch(self, address: str, begin: int, end: int) -> Fetched:
        """What an address holds from `begin` to before `end`, or less where it ends before that."""


def time_of(seconds: float | None, etag: str | None) -> int:
    """When something was changed, in nanoseconds; what its server says of its content makes up those below a second.

    Times of HTTP and S3 are of whole seconds, and a thing may change twice in one. Where there is no time, it is within
    the first second of 1970; and 0 where there is no tag either.
    """
    fraction = crc32(etag.encode(errors="replace")) % 1_000_000_000 if etag else 0
    return int(seconds or 0) * 1_000_000_000 + fraction


def open_remote(address: str, n_bytes: int = 0, mtime_ns: int = 0) -> BinaryIO:
    """A stream of what lies elsewhere; seekable where a part of it can be asked for.

    Args:
        address: Of one thing.
        n_bytes: As it was when it was found, since others may be reading other pieces of it; 0 if it is unknown.
        mtime_ns: Likewise.

    Raises:
        RemoteError: if it can't be read, or is another one by now. While it is read as well.
    """
    stream = _Stream(_place(address), address, n_bytes, mtime_ns)
    return io.BufferedReader(stream, BUFFER)


def patiently(action: Callable[[], T]) -> T:
    """Do something again that failed and may succeed, after a while."""
    for wait in WAITS:
        try:
            return action()
        except RemoteError as error:
            if not error.again or error.wait > MAX_WAIT:
                raise
            time.sleep(max(wait, error.wait))
    return action()


class _Stream(io.RawIOBase):
    """Reads on after a connection has broken, as long as the thing is still the same."""

    def __init__(self, place: Place, address: str, n_bytes: int, mtime_ns: int) -> None:
        super().__init__()
        self._place, self._address = place, address
        self._size, self._mtime_ns = n_bytes or None, mtime_ns
        self._ranged = True
        self._position = self._arrived = 0
        self._failures = 0
        self._error: RemoteError | None = None
        self._head = b""
        self._pieces = self._read_from(0, FIRST_WINDOW)
        self._piece = memoryview(next(self._pieces, b""))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._ranged and self._size is not None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("seek")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        if self._error:  # a reader that goes on must not take this for the end
            raise self._error
        if self._position < len(self._head):
            return self._give(buffer, self._head[self._position : self._position + len(buffer)])
        if not self._arrived <= self._position <= self._arrived + SKIP:
            self._pieces.close()
            self._arrived, self._piece = self._position, memoryview(b"")
            self._pieces = self._read_from(self._position, len(buffer))
        while not self._piece or self._arrived < self._position:
            skipped = min(self._position - self._arrived, len(self._piece))
            self._arrived, self._piece = self._arrived + skipped, self._piece[skipped:]
            if not self._piece:
                self._piece = memoryview(next(self._pieces, b""))
                if not self._piece:
                    return 0
        piece, self._piece = self._piece[: len(buffer)], self._piece[len(buffer) :]
        if self._arrived == len(self._head) < BUFFER:
            self._head += piece
        self._arrived += len(piece)
        return self._give(buffer, piece)

    def _give(self, buffer: memoryview, piece: "memoryview | bytes") -> int:
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._pieces.close()
        super().close()

    def _read_from(self, position: int, window: int) -> Generator[bytes]:
        """What is there from a position to the end, asked for window by window."""
        in_a_row = 0
        while self._size is None or position < self._size:
            try:
                begin = position
                for piece in self._window(position, position + window):
                    position, in_a_row = position + len(piece), 0
                    yield piece
                if position < begin + window or not self._ranged:
                    return
                window = min(window * 4, MAX_WINDOW)
            except RemoteError as error:
                self._wait(error, position, in_a_row)
                in_a_row += 1

    def _window(self, begin: int, end: int) -> Iterator[bytes]:
        """What is there from one position to another; RemoteError if less comes than there is."""
        fetched = self._place.fetch(self._address, begin, end)
        try:
            self._compare(fetched)
            position = fetched.begin
            for piece in fetched.pieces:
                position += len(piece)
                if position > begin:
                    yield piece[max(0, begin - position + len(piece)) :]
        finally:
            fetched.close()
        expected = min(end, self._size or 0) if self._ranged else self._size or 0
        if position < expected:
            raise RemoteError(f"the connection broke after {position:,} of {self._size:,} bytes", again=True)

    def _compare(self, fetched: Fetched) -> None:
        """An answer must be of the same thing as those before."""
        is_resized = None not in {self._size, fetched.n_bytes} and self._size != fetched.n_bytes
        if is_resized or (0 not in {fetched.mtime_ns, self._mtime_ns} and fetched.mtime_ns != self._mtime_ns):
            raise RemoteError("it has changed since it was found. The next run will read it")
        self._size = self._size if fetched.n_bytes is None else fetched.n_bytes
        self._ranged, self._mtime_ns = fetched.ranged, fetched.mtime_ns

    def _wait(self, error: RemoteError, position: int, in_a_row: int) -> None:
        """Before it is tried again; or there is no sense in that."""
        self._failures += 1
        is_sure = self._ranged or self._mtime_ns or not position
        has_failed = in_a_row >= len(WAITS) or self._failures > _BREAKS
        if has_failed or not error.again or error.wait > MAX_WAIT or not is_sure:
            self._error = error
            raise error
        time.sleep(max(WAITS[in_a_row], error.wait))


def _place(address: str) -> Place:
    return import_module(PLACES.get(scheme_of(address), "tasks.read.elsewhere"))


def stat(address: str) -> Entry | None:
    """One thing that lies elsewhere; None if there is no such.

    Raises:
        RemoteError: if that can't be told.
    """
    return patiently(lambda: _place(address).stat(address))


def stat_all(addresses: Sequence[str]) -> Iterator[Entry | RemoteError | None]:
    """The same for many, in their order; an error is one of the answers."""
    listed = _listed(addresses)

    def told(address: str) -> Entry | RemoteError | None:
        try:
            return listed[address] if address in listed else stat(address)
        except RemoteError as error:
            return error

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        yield from threads.map(told, addresses)


def _listed(addresses: Sequence[str]) -> dict[str, Entry | None]:
    """Answers for those of which there are many in a folder: as in lists of Common Crawl, 900 in each of 100."""
    folders: dict[str, list[str]] = {}
    for address in addresses:
        if not is_web(address):
            folders.setdefault(str.__str__(address).rpartition("/")[0] + "/", []).append(address)
    answers: dict[str, Entry | None] = {}
    for folder, some in folders.items():
        if len(some) >= MANY:
            with contextlib.suppress(RemoteError):  # there may be no permission to list: each is asked for
                answers |= dict.fromkeys(some) | {entry.address: entry for entry in _beside(folder, some)}
    return answers


def _beside(folder: str, some: Sequence[str]) -> list[Entry]:
    """What is in a folder, as far as its name begins as those do."""
    start = _below(os.path.commonprefix(some), folder)  # noqa: RUF071  names may begin alike within a part
    return patiently(lambda: _place(folder).children(folder, start))[1]


def find(address: str) -> Iterator[Entry]:
    """What is behind an address: itself, what lies beneath it, or what matches it.

    As with local names, hidden ones (of which a part begins with a dot) are left out unless they are asked for, and so
    are markers of folders, which are empty and end with a slash.

    Raises:
        RemoteError: if it can't be told.
        ValueError: if it is a pattern, and none that is known.
    """
    folder = address if address.endswith("/") else f"{address}/"
    if is_web(address):
        itself = stat(address)
        yield from [itself] if itself else []
        return
    itself = None if address == folder or address.count("/") < 3 else stat(address)
    if itself:
        yield itself
    elif has_magic(address):
        yield from _matching(*_split(address))
    else:
        yield from _beneath(folder)


def has_magic(address: str) -> bool:
    """Whether it is a pattern; an address of the web is none, since a question mark begins its query."""
    return not is_web(address) and re.search(r"[*?\[]", address) is not None


def _split(pattern: str) -> tuple[str, list[str]]:
    """The folder in which a pattern begins, and its parts from there on."""
    scheme, _, rest = str.__str__(pattern).partition("://")
    bucket, *parts = rest.rstrip("/").split("/")
    if has_magic(bucket):
        raise ValueError("the name of the bucket can't be a pattern")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError("** stands for folders, between slashes: write it as in 'crawl/**/*.txt'")
    n_fixed = next((n for n, part in enumerate(parts) if has_magic(part)), len(parts))
    return "/".join([f"{scheme}://{bucket}", *parts[:n_fixed], ""]), parts[n_fixed:]


def _matching(folder: str, parts: list[str]) -> Iterator[Entry]:
    """What matches a pattern beneath a folder; of folders that match, what lies beneath them.

    Folders are listed one by one, and only those on the way: from `**` on all that lies beneath.
    """
    part, *rest = parts
    if part == "**":
        asks_hidden = any(part.startswith(".") for part in rest)
        fits = _fitting(parts)
        yield from (entry for entry in _beneath(folder, hidden_too=asks_hidden) if fits(_below(entry.address, folder)))
    elif not has_magic(part):
        yield from _matching(f"{folder}{part}/", rest) if rest else find(f"{folder}{part}")
    else:
        place, start = _place(folder), re.split(r"[*?[]", part)[0]
        folders, entries = patiently(lambda: place.children(folder, start))
        fits = _fitting([part])
        for name in folders:
            if fits(_below(name, folder).rstrip("/")):
                yield from _matching(name, rest) if rest else _beneath(name)
        yield from (entry for entry in entries if not rest and fits(_below(entry.address, folder)))


def _fitting(parts: list[str]) -> Callable[[str], bool]:
    """Whether a path, or a folder on its way, matches the parts of a pattern."""
    checks = [re.compile(translate(part)).match for part in parts]
    asks_hidden = any(part.startswith(".") for part in parts)

    def fits(path: str) -> bool:
        at = {0}  # parts that may come next: a walk through all ways at once, however many stars there are
        for name in path.split("/"):
            for n, part in enumerate(parts):
                if n in at and part == "**":
                    at.add(n + 1)
            if len(parts) in at:  # all beneath
                return True
            at = {n if parts[n] == "**" else n + 1 for n in at if parts[n] == "**" or checks[n](name)}
            if len(parts) in at:
                return asks_hidden or not name.startswith(".")
        return False

    return fits


def _below(address: str, folder: str) -> str:
    return str.__str__(address)[len(folder) :]


def _beneath(folder: str, *, hidden_too: bool = False) -> Iterator[Entry]:
    for entry in _place(folder).walk(folder):
        if not entry.address.endswith("/") and (hidden_too or "/." not in f"/{_below(entry.address, folder)}"):
            yield entry
