"""Lists of sources: `@FILE`, or `@FILE#BASE`, one source in a line.

A list is a file here or elsewhere, compressed or not. Lines that are blank or begin with # are none. A name that is
neither an address nor an absolute path is relative: to BASE where one is given; else, in a list that lies elsewhere, to
its host or bucket (so that lists of Common Crawl can be taken as they are), and in one that lies here, to the working
directory, as on the command line. A list that lies elsewhere can't name files of this machine, but for those in BASE.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from schemas.config import ReadConfig
from tasks.read.addresses import MARK, Address, base_name, joined, root_of, scheme_of, shown
from tasks.read.remote import open_remote

MAX_LINE = 32 * 1024
"""Bytes of a name. Signed addresses take some thousand, and what is longer is no list."""

_BASE = re.compile(r"#(?=[A-Za-z][A-Za-z0-9+.-]+://|/|\.{1,2}/)")
"""Before a base, which is an address or a path: # may stand in the name of a file, too."""


class ListError(ValueError):
    """A list can't be read; the message says why."""


def parts_of(name: str) -> tuple[str, str]:
    """File and base of `@FILE#BASE`; the base may be empty."""
    rest = str.__str__(name)[len(MARK) :]
    found = _BASE.search(rest)
    return (rest[: found.start()], rest[found.end() :]) if found else (rest, "")


def names_in(name: str) -> Iterator[str]:
    """Names in a list, each once, with their bases before them.

    Raises:
        ListError: if it can't be read, is no list, or names what it may not.
    """
    file, base = parts_of(name)
    is_remote = scheme_of(file) != ""
    base = base or (root_of(file) if is_remote else "")
    seen: set[str] = set()
    for number, line in _lines(file):
        full = _full(line, base)
        if why := _refusal(line, full, is_remote=is_remote):
            raise ListError(f"line {number}: {shown(line)!r} {why}")
        if full not in seen:
            seen.add(full)
            yield full


def _full(line: str, base: str) -> str:
    """A name with its base, if it is relative; to a base elsewhere, absolute paths are relative as well."""
    if not base or scheme_of(line) or line.startswith("file://"):
        return line
    return joined(base, line) if scheme_of(base) else str(Path(base, line))


def _refusal(line: str, full: str, *, is_remote: bool) -> str:
    if line.startswith(MARK) or line == "-":
        return "can't stand in a list, which names files, folders and addresses"
    if is_remote and not scheme_of(full) and (Path(line).is_absolute() or ".." in Path(line).parts):
        return "would lead out of the base, and the list is not of this machine"
    if is_remote and line.startswith("file://"):
        return "is a file of this machine, and the list is not"
    return ""


def _lines(file: str) -> Iterator[tuple[int, str]]:
    """Lines that are names, with their numbers."""
    from tasks.read.kinds import COMPRESSIONS, HEAD_BYTES, kind_of  # noqa: PLC0415
    from tasks.read.records import BombError, BrokenError  # noqa: PLC0415
    from tasks.read.streams import Budget, expand, with_head  # noqa: PLC0415

    try:
        with _open(file) as stream:
            head = stream.read(HEAD_BYTES)
            kind, whole = kind_of(_name(file), head), with_head(head, stream)
            size = 0 if scheme_of(file) else Path(file).stat().st_size
            text = expand(whole, kind, Budget(size, ReadConfig())) if kind in COMPRESSIONS else whole
            yield from _names(text)
    except ListError:
        raise
    except (OSError, ValueError, BrokenError, BombError) as error:
        raise ListError(getattr(error, "strerror", None) or f"it can't be read: {error}") from error


def _names(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if b"\0" in line or len(line) == MAX_LINE:
            raise ListError(f"line {number} is no name: this is no list of sources")
        name = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
        if name and not name.startswith("#"):
            yield number, Address(name) if scheme_of(name) else name


def _open(file: str) -> BinaryIO:
    return open_remote(file) if scheme_of(file) else Path(file).open("rb")


def _name(file: str) -> str:
    return base_name(file) if scheme_of(file) else Path(file).name
