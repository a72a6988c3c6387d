"""Where documents come from: files, folders, patterns and standard input become a sorted list of sources."""

import glob
import hashlib
import os
import stat
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote_to_bytes

STDIN = "-"

NOT_OPENED = "It was not opened; to read it, give its content as a file or on standard input."


class SourceError(ValueError):
    """What was asked for cannot be read. The message says what, where, and what to do."""


class Source(NamedTuple):
    """One file to read. Sorts by its URI, which is ASCII whatever the name of the file."""

    uri: str
    """`file:///…` with the bytes of the name percent-encoded, or `stdin:<hash>`."""
    path: Path
    n_bytes: int
    """Size when it was found; 0 where that could not be found out."""
    mtime_ns: int = 0
    """When its content was last changed, by its file system's clock, in nanoseconds since 1970; 0 likewise."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name


class UnreadableError(Exception):
    """What a source names is no file. The message is a sentence for the reader."""


def open_source(source: Source) -> BinaryIO:
    """Open a source for reading.

    Raises:
        UnreadableError: if it is no file. Opening a pipe would wait for its writer.
        OSError: if it can't be opened.
    """
    if kind := _kind(source.path.stat().st_mode):
        raise UnreadableError(f"This is {kind} and no file. {NOT_OPENED}")
    return source.path.open("rb")


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

    path: Path
    real: str
    """The same without symbolic links: what tells whether two names are one file."""
    n_bytes: int
    mtime_ns: int


def find_sources(given: Iterable[str], out: Path, spool: Path) -> list[Source]:
    """All files behind the given names, each once, in order of their URIs.

    Args:
        given: Paths of files or folders, patterns (`**` for any depth), `file://` URIs, or `-`.
        out: Folder of the dataset: what is in it is no source, even where it lies in a folder that was given.
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
    sources = [Source(f.path.as_uri(), f.path, f.n_bytes, f.mtime_ns) for f in kept.values()]
    if STDIN in names:
        sources.append(_spool_stdin(spool))
    if not sources:
        raise SourceError(nothing_found(names))
    return sorted(sources)


def source_at(uri: str) -> Source | None:
    """The file that an earlier run knew by this URI; None if it is gone, or was standard input."""
    path = Path(_local(uri))
    try:
        state = path.stat()
    except OSError:
        return None
    return Source(uri, path, state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def nothing_found(names: Iterable[str]) -> str:
    """The message for sources that hold no document."""
    places = ", ".join(str(_absolute(_local(name))) for name in names)
    return (
        f"there are no files in {places}. Hidden files and the output folder are not read. "
        "Put documents there, or name another place."
    )


def expand(name: str, out: Path) -> Iterator[_Found]:
    """Files behind one name, lazily.

    Raises:
        SourceError: if the name leads nowhere, to what is neither a file nor a folder, or into the dataset.
    """
    path = _local(name)
    real_out = os.path.realpath(out)
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
