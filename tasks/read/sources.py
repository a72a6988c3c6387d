"""Where documents come from: files, folders, patterns, addresses, lists and standard input as a sorted list.

What lies elsewhere is found and read by `tasks.read.remote`, lists by `tasks.read.lists`.
"""

import glob
import hashlib
import io
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import unquote_to_bytes

from tasks.read.addresses import (
    MARK,
    Address,
    address_of,
    base_name,
    is_web,
    is_within,
    revealed,
    scheme_of,
    shown,
    uri_of,
)

if TYPE_CHECKING:
    from tasks.read.remote import Entry

STDIN = "-"

_AT_A_TIME = 1000
"""Names of a list that are looked up together."""

SMALL_BYTES = 1 << 20
"""A file of so many bytes is read in one go, by three calls of the system: a look at its head first takes twelve."""

NOT_OPENED = "It was not opened; to read it, give its content as a file or on standard input."


class SourceError(ValueError):
    """What was asked for cannot be read. The message says what, where, and what to do."""


class Source(NamedTuple):
    """One file to read. Sorts by its URI, which is ASCII whatever the name of the file."""

    uri: str
    """`file:///…` or `s3://…` with the bytes of the name percent-encoded, `https://…`, or `stdin:<hash>`; without
    passwords and signatures."""
    path: Path | str
    """Of a file of this machine; or an `Address`, with whatever it takes to read it."""
    n_bytes: int
    """Size when it was found; 0 where that could not be found out."""
    mtime_ns: int = 0
    """When its content was last changed, by the clock of where it lies, in nanoseconds since 1970; 0 likewise. What
    lies elsewhere and tells no time was changed just now, and is read at every run (`tasks.read.remote.time_of`)."""

    @property
    def name(self) -> str:
        """Of the file."""
        return base_name(self.path) if isinstance(self.path, str) else self.path.name


class UnreadableError(Exception):
    """What a source names is no file. The message is a sentence for the reader."""


def open_source(source: Source) -> BinaryIO:
    """Open a source for reading; its stream is seekable, but for servers that don't send parts of files.

    Raises:
        UnreadableError: if it is no file. Opening a pipe would wait for its writer.
        OSError: if it can't be opened; or, elsewhere, if it isn't what was found any more. While it is read as well.
    """
    if isinstance(source.path, str):
        from tasks.read.remote import open_remote  # noqa: PLC0415  only where it is used

        return open_remote(source.path, source.n_bytes, source.mtime_ns)
    if 0 < source.n_bytes <= SMALL_BYTES and (content := _whole(source.path, source.n_bytes)) is not None:
        return io.BytesIO(content)
    if kind := _kind(source.path.stat().st_mode):
        raise UnreadableError(f"This is {kind} and no file. {NOT_OPENED}")
    return source.path.open("rb")


def _whole(path: Path, n_bytes: int) -> bytes | None:
    """All of a small file at once; None if it isn't what it was when it was found, a file of so many bytes."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = os.read(file, n_bytes + 1)
    except OSError:
        return None
    finally:
        os.close(file)
    return content if len(content) == n_bytes else None


def _kind(mode: int) -> str:
    """What a thing in a folder is, if it is no file."""
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "")


class _Found(NamedTuple):
    """A file under one of its names."""

    path: Path | Address
    real: str
    """The same without symbolic links, or its URI: what tells whether two names are one file."""
    n_bytes: int
    mtime_ns: int

    def source(self) -> Source:
        uri = self.real if isinstance(self.path, str) else self.path.as_uri()
        return Source(uri, self.path, self.n_bytes, self.mtime_ns)


def find_sources(given: Iterable[str], out: Path | str, spool: Path) -> list[Source]:
    """All files behind the given names, each once, in order of their URIs.

    Args:
        given: Paths of files or folders, patterns (`**` for any depth), addresses of files, folders and patterns
            elsewhere, `file://` URIs, `@` and a list of such, or `-`.
        out: Folder of the dataset, or its address: what is in it is no source, even where it lies in a folder that was
            given.
        spool: Folder where standard input is kept while the run lasts.

    Raises:
        SourceError: if a name leads nowhere, a folder can't be listed, or there is no file at all.
    """
    names = list(dict.fromkeys(given))
    kept: dict[str, _Found] = {}
    for name in names:
        if name != STDIN:
            for found in expand(name, out):
                known = kept.get(found.real)
                kept[found.real] = found if known is None else min(known, found, key=_preference)
    sources = [found.source() for found in kept.values()]
    if STDIN in names:
        sources.append(_spool_stdin(spool))
    if not sources:
        raise SourceError(nothing_found(names))
    return sorted(sources)


def source_at(uri: str) -> Source | None:
    """The file that an earlier run knew by this URI; None if it is gone, can't be reached, or was standard input.

    Passwords and signatures are not kept: it may take ~/.netrc to reach it.
    """
    if scheme_of(uri):
        return _remote_at(uri)
    path = Path(_local(uri))
    try:
        state = path.stat()
    except OSError:
        return None
    return Source(uri, path, state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def nothing_found(names: Iterable[str]) -> str:
    """The message for sources that hold no document."""
    places = ", ".join(shown(name) if _is_elsewhere(name) else str(_absolute(_local(name))) for name in names)
    return (
        f"there are no files in {places}. Hidden files and the output folder are not read. "
        "Put documents there, or name another place."
    )


def expand(name: str, out: Path | str) -> Iterator[_Found]:
    """Files behind one name, lazily.

    Raises:
        SourceError: if the name leads nowhere, to what is neither a file nor a folder, or into the dataset.
    """
    if name.startswith(MARK):
        yield from _listed(revealed(name), out)
        return
    if scheme_of(name):
        yield from _elsewhere(Address(revealed(name)), out)
        return
    path = _local(name)
    real_out = os.devnull if scheme_of(str(out)) else os.path.realpath(out)
    if os.path.lexists(path):
        if _within(os.path.realpath(path), real_out):
            raise SourceError(f"{path} is in the output folder {real_out}. Name another source, or another --out.")
        yield from _files_at(Path(path), real_out)
        return
    matches = sorted(_matches(Path(path))) if glob.has_magic(path) else []
    if not matches:
        raise SourceError(_missing(path))
    for match in matches:
        if not _within(os.path.realpath(match), real_out):
            yield from _files_at(match, real_out, matched=True)


def absolute(name: str) -> str:
    """The same source, as it is named from any folder."""
    if name.startswith(MARK):
        file, mark, base = name[len(MARK) :].partition("#")
        return f"{MARK}{absolute(file)}{mark}{base}"
    return name if _is_elsewhere(name) or name.startswith("file://") else str(Path(name).absolute())


def _is_elsewhere(name: str) -> bool:
    return name.startswith(MARK) or scheme_of(name) != ""


def _elsewhere(address: Address, out: Path | str) -> Iterator[_Found]:
    """What is behind an address."""
    from tasks.read import remote  # noqa: PLC0415  only where it is used

    if is_within(address, str(out)):
        raise SourceError(f"{address} is in the dataset {shown(str(out))}. Name another source, or another --out.")
    is_empty = True
    try:
        for entry in remote.find(address):
            is_empty = False
            if not is_within(entry.address, str(out)):
                yield _found_elsewhere(entry)
    except remote.RemoteError as error:
        raise SourceError(f"cannot read {address}: {error}.") from error
    except ValueError as error:
        raise SourceError(f"{address} is no pattern: {error}.") from error
    if is_empty:
        what = "matches" if remote.has_magic(address) else "is at"
        hint = "" if is_web(address) else "; what begins with a dot is read only if it is named"
        raise SourceError(f"nothing {what} {address}. Check the name{hint}.")


def _found_elsewhere(entry: "Entry") -> _Found:
    return _Found(Address(entry.address), uri_of(entry.address), entry.n_bytes or 0, entry.mtime_ns or time.time_ns())


def _remote_at(uri: str) -> Source | None:
    from tasks.read import remote  # noqa: PLC0415  only where it is used

    try:
        entry = remote.stat(address_of(uri))
    except remote.RemoteError:
        return None
    return _found_elsewhere(entry).source() if entry else None


def _listed(name: str, out: Path | str) -> Iterator[_Found]:
    """What a list names. What isn't there stays, to end as `unreadable` rows, unless nothing is."""
    from tasks.read.lists import ListError, names_in  # noqa: PLC0415  only where it is used

    missing: list[_Found] = []
    n_found = 0
    try:
        for found in _behind(names_in(name), out):
            if found.mtime_ns:
                n_found += 1
                yield found
            else:
                missing.append(found)
    except ListError as error:
        raise SourceError(f"cannot read the list {shown(name)}: {error}.") from error
    if missing and not n_found:
        first = missing[0].source().uri
        raise SourceError(
            f"of what the list {shown(name)} names nothing is there; the first: {first}. If it names files relative to "
            "another place than this, put it behind: @LIST#https://data.commoncrawl.org/"
        )
    yield from missing


def _behind(names: Iterator[str], out: Path | str) -> Iterator[_Found]:
    """What is behind names of a list, some hundred at a time; what isn't there lacks its time."""
    from tasks.read import remote  # noqa: PLC0415  only where it is used

    while some := list(islice(names, _AT_A_TIME)):
        single = [name for name in some if scheme_of(name) and not remote.has_magic(name) and not name.endswith("/")]
        for name in sorted(set(some) - set(single)):
            yield from expand(name, out) if scheme_of(name) or _is_there(name) else [_missing_file(name)]
        yield from _single(single, out)


def _single(addresses: list[str], out: Path | str) -> Iterator[_Found]:
    from tasks.read import remote  # noqa: PLC0415  only where it is used

    for given, entry in zip(addresses, remote.stat_all(addresses), strict=True):
        if is_within(given, str(out)):
            continue
        if isinstance(entry, remote.Entry):
            yield _found_elsewhere(entry)
        else:
            yield _Found(Address(given), uri_of(given), 0, 0)


def _is_there(name: str) -> bool:
    path = _local(name)
    return os.path.lexists(path) or glob.has_magic(path)


def _missing_file(name: str) -> _Found:
    path = _absolute(_local(name))
    return _Found(path, str(path), 0, 0)


def _matches(pattern: Path) -> Iterator[Path]:
    """Files and folders that a pattern matches. `**` follows no links: those of a loop would multiply."""
    wants_hidden = any(part.startswith(".") and part != ".." for part in pattern.parts)
    start = Path(pattern.anchor)
    try:
        for match in start.glob(str(pattern.relative_to(start))):
            if wants_hidden or not any(part.startswith(".") and part != ".." for part in match.parts):
                yield match
    except ValueError as error:
        raise SourceError(f"{str(pattern)!r} is no pattern: {error}. Write it as in 'crawl/**/*.txt'.") from error


def _missing(path: str) -> str:
    where = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
    if glob.has_magic(path):
        return f"no file matches {path!r}{where}. Check the pattern: * stays in one folder, ** crosses folders."
    return f"no such file or folder: {path!r}{where}. Check the name; for standard input write -"


def _local(name: str) -> str:
    """Path behind a `file://` URI; anything else is a path already."""
    return os.fsdecode(unquote_to_bytes(name.removeprefix("file://"))) if name.startswith("file:///") else name


def _absolute(path: str | Path) -> Path:
    """Absolute, with the links left in: they are how the user names the place."""
    path = Path(path)
    return Path(os.path.realpath(path)) if ".." in path.parts else path.absolute()


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _preference(found: _Found) -> tuple[bool, str]:
    """Of several names of one file, its own comes before that of a link to it."""
    return str(found.path) != found.real, str(found.path)


def _files_at(path: Path, real_out: str, *, matched: bool = False) -> Iterator[_Found]:
    """A file itself, or the files in a folder. Pipes that a pattern matched stay, as those in folders do."""
    path = _absolute(path)
    try:
        state = path.stat()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}. Check the link or its permissions.") from error
    if stat.S_ISDIR(state.st_mode):
        yield from _walk(path, real_out)
    elif stat.S_ISREG(state.st_mode) or matched:
        yield _Found(path, os.path.realpath(path), state.st_size, state.st_mtime_ns)
    else:
        raise SourceError(f"{path} is neither a file nor a folder. To read a pipe or a device: < {path} and source -")


def _walk(top: Path, real_out: str) -> Iterator[_Found]:
    """Files under a folder, hidden ones left out.

    Each real folder is listed once, under its own name where it has one in the tree: folders reached by links come
    last. So a loop of links ends, and crossing links cost no more than the folders there are.
    """
    seen: set[str] = set()
    queue = deque([str(top)])
    while queue:
        folder = queue.popleft()
        real = os.path.realpath(folder)
        if real in seen or _within(real, real_out):
            continue
        seen.add(real)
        for entry in _entries(folder):
            if _is_folder(entry):
                (queue.append if entry.is_symlink() else queue.appendleft)(entry.path)
            elif not _within((found := _as_file(entry, real)).real, real_out):
                yield found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise SourceError(
            f"cannot list the folder {folder}: {error.strerror}. "
            "Give this user the right to read it (chmod u+rx), or name the other sources without it."
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, for one: taken as a file that can't be read, and recorded as such
        return False


def _as_file(entry: os.DirEntry[str], real_folder: str) -> _Found:
    """Pipes, sockets, devices and links to nowhere stay: they end as `unreadable` rows (`open_source`)."""
    path = Path(entry.path)
    real = os.path.realpath(path) if entry.is_symlink() else str(Path(real_folder, entry.name))
    try:
        state = entry.stat()
    except OSError:
        return _Found(path, real, 0, 0)
    return _Found(path, real, state.st_size if stat.S_ISREG(state.st_mode) else 0, state.st_mtime_ns)


def _spool_stdin(spool: Path) -> Source:
    """Standard input as a file, of whatever size, named by the hash of its bytes."""
    path = spool / "stdin"
    state = hashlib.sha256()
    with path.open("wb") as file:
        while chunk := sys.stdin.buffer.read(1 << 20):
            state.update(chunk)
            file.write(chunk)
    return Source(f"stdin:{state.hexdigest()[:16]}", path, path.stat().st_size)
