"""Whatever else fsspec knows: gs:// with gcsfs, az:// and abfs:// with adlfs, hdfs://, sftp://, hf://, memory://.

Keys are found as these libraries find them. They differ in what they tell and raise, so little is taken for granted.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import fsspec
import fsspec.core

from tasks.read.addresses import scheme_of
from tasks.read.remote import Entry, Fetched, RemoteError, time_of

PACKAGES = {"gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""What to install for a scheme: what this project's extras `gs` and `az` bring."""

_PIECE = 8 << 20
"""Bytes of a request."""

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""What implementations of fsspec call the time of the last change; `created` is all that memory:// has."""

_TAGS = ("etag", "ETag", "e_tag", "md5Hash", "content_md5", "generation")


def stat(address: str) -> Entry | None:
    """One thing; None if there is no such, or it is a folder."""
    with _explained(address):
        system, path = _system(address)
        try:
            info = system.info(path)
        except FileNotFoundError:
            return None
    return None if info["type"] == "directory" else _entry(info, address)


def walk(folder: str) -> Iterator[Entry]:
    """All beneath a folder."""
    with _explained(folder):
        system, path = _system(folder)
        try:
            found = system.find(path, detail=True).values()
        except FileNotFoundError:
            found = []
    for info in found:
        yield _entry(info, _address(folder, path, info["name"]))


def children(folder: str, start: str) -> tuple[list[str], list[Entry]]:
    """Folders and things right beneath a folder."""
    del start
    with _explained(folder):
        system, path = _system(folder)
        try:
            found = system.ls(path, detail=True)
        except FileNotFoundError:
            found = []
    there = [(info, _address(folder, path, info["name"])) for info in found]
    folders = [f"{address.rstrip('/')}/" for info, address in there if info["type"] == "directory"]
    return folders, [_entry(info, address) for info, address in there if info["type"] != "directory"]


def fetch(address: str, begin: int, end: int) -> Fetched:
    """A part of a thing. Its state is asked for each time: there is no other way to know that it is the same."""
    with _explained(address):
        system, path = _system(address)
        entry = _entry(system.info(path), address)
    pieces = _pieces(address, begin, min(end, entry.n_bytes or 0))
    return Fetched(pieces, begin, entry.n_bytes or 0, entry.mtime_ns, True, pieces.close)


def _pieces(address: str, begin: int, end: int) -> Generator[bytes]:
    with _explained(address):
        system, path = _system(address)
        for start in range(begin, end, _PIECE):
            yield system.cat_file(path, start=start, end=min(start + _PIECE, end))


def _system(address: str) -> tuple[Any, str]:
    """The implementation for an address, and what it calls it; nothing that it remembers of folders is used."""
    system, path = fsspec.core.url_to_fs(str.__str__(address))
    system.invalidate_cache()
    return system, path


def _address(folder: str, path: str, name: str) -> str:
    """Address of what an implementation calls so, beneath a folder that it calls `path`."""
    return str.__str__(folder) + name.rstrip("/").removeprefix(path.rstrip("/")).lstrip("/")


def _entry(info: dict[str, Any], address: str) -> Entry:
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), None)
    changed = next((info[key] for key in _TIMES if info.get(key)), None)
    return Entry(address, info.get("size"), time_of(_seconds(changed), tag))


def _seconds(changed: object) -> float | None:
    """A time as implementations tell it: as such, as a number, or in letters (ISO 8601)."""
    try:
        changed = datetime.fromisoformat(changed) if isinstance(changed, str) else changed
    except ValueError:
        return None
    return changed.timestamp() if isinstance(changed, datetime) else changed if isinstance(changed, float) else None


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Errors of any library in words for the user. Their own are not passed on: addresses and keys are in it."""
    scheme = scheme_of(address)
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        missing = isinstance(error, FileNotFoundError)
        why = "there is no such thing (any more)" if missing else "it may not be read with these keys, or without any"
        raise RemoteError(f"{why}. Look at the address, and at the keys") from None
    except ImportError:
        how = f"pip install {PACKAGES[scheme]}" if scheme in PACKAGES else "install what fsspec needs for it"
        raise RemoteError(f"reading {scheme}:// takes another library. Do: {how}") from None
    except Exception as error:  # noqa: BLE001  each library has its own
        if scheme not in fsspec.available_protocols():
            raise RemoteError(f"nothing is known that reads {scheme}://. Known: s3, gs, az, http, https, …") from None
        raise RemoteError(f"the place can't be read ({type(error).__name__})", again=_may_pass(error)) from None


def _may_pass(error: Exception) -> bool:
    return isinstance(error, OSError | TimeoutError) or "Timeout" in type(error).__name__
