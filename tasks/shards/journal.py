"""Journals: outcomes of the first pass, put by one by one as they are finished.

A journal outlives the process that writes it, however that ends, and the run: the next run with the same program and
the same settings takes from it every document whose bytes are still the same. So a kill costs the documents that were
being cleaned, and nothing else. Journals go when a run has published.

Outcomes are pickled, and nothing else is taken out of a journal.
"""

import hashlib
import io
import pickle
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4

import pyarrow as pa

import schemas
from schemas import document
from schemas.document import Outcome, Run

_HEADER = struct.Struct("<4s16s32sII")
"""Mark, URI of the source (hashed), SHA-256 of its bytes, length of the packed outcome and of the pickled one. Behind
it stands the CRC-32 of all that and of the packed outcome, and then that."""

_CHECKSUM = struct.Struct("<I")

_MARK = b"qyj1"


class Entry(NamedTuple):
    """Where an outcome is."""

    path: Path
    offset: int
    sha256: bytes
    """Of the bytes of its source; 32 zeros where they could not be read, or it is not to be taken by other runs."""


Entries = dict[bytes, Entry]
"""By `key_of` the URI of their sources."""


class Journal:
    """A new journal in a folder, for one process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"journal-{uuid4().hex}"
        self._file = self._path.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, outcome: Outcome, *, lasts: bool = True) -> Entry:
        """Put an outcome by, in one write: it is there as a whole or not at all.

        Args:
            outcome: What became of a document.
            lasts: Whether other runs may take it: not that a process died, which may be otherwise the next time.

        Raises:
            OSError: if it can't be written.
        """
        pickled = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
        packed = pa.compress(pickled, codec="zstd", asbytes=True)
        entry = Entry(self._path, self._file.tell(), bytes.fromhex(outcome.origin.sha256 or "00" * 32))
        key = key_of(outcome.origin.source_uri)
        header = _HEADER.pack(_MARK, key, entry.sha256 if lasts else bytes(32), len(packed), len(pickled))
        content = memoryview(header + _CHECKSUM.pack(zlib.crc32(packed, zlib.crc32(header))) + packed)
        while content:  # a write may be short, on a disk that is nearly full
            content = content[self._file.write(content) :]
        return entry


def key_of(uri: str) -> bytes:
    """16 bytes that stand for a source."""
    return hashlib.blake2b(uri.encode(), digest_size=16).digest()


def folder_for(run: Run, work: Path) -> Path:
    """Where journals of runs like this one are: with the same program and the same settings."""
    told = f"{_program()}\0{run.pipeline_version}\0{run.rules_digest}\0{run.config.model_dump_json()}"
    return work / hashlib.sha256(told.encode()).hexdigest()[:16]


def scan(folder: Path) -> Entries:
    """What all journals of a folder hold; of two outcomes of one source, either.

    Raises:
        OSError: if a journal can't be read.
    """
    found: Entries = {}
    for path in sorted(folder.glob("journal-*")):
        found |= dict(_entries(path))
    return found


def restricted(entries: Entries, uris: Iterable[str]) -> Entries:
    """Those of some sources."""
    return {key: entries[key] for uri in uris if (key := key_of(uri)) in entries}


def _entries(path: Path) -> Iterator[tuple[bytes, Entry]]:
    """Entries of a journal, to the last one that is whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            mark, key, sha256, n_packed, _ = _HEADER.unpack(header)
            end = offset + _HEADER.size + _CHECKSUM.size + n_packed
            if mark != _MARK or end > size:
                return
            yield key, Entry(path, offset, sha256)
            offset = file.seek(end)


def read(entries: Iterable[Entry]) -> Iterator[Outcome | None]:
    """The outcomes, in the order of the entries; None for one that was damaged on the disk.

    Raises:
        OSError: if a journal can't be read.
    """
    opened: dict[Path, pa.NativeFile] = {}
    try:
        for entry in entries:
            if entry.path not in opened:
                opened[entry.path] = pa.memory_map(str(entry.path))
            yield _read(opened[entry.path], entry.offset)
    finally:
        for file in opened.values():
            file.close()


def _read(file: pa.NativeFile, offset: int) -> Outcome | None:
    file.seek(offset)
    header, checksum = file.read(_HEADER.size), file.read(_CHECKSUM.size)
    if len(checksum) < _CHECKSUM.size:
        return None
    _, _, _, n_packed, n_pickled = _HEADER.unpack(header)
    packed = file.read(n_packed)
    if _CHECKSUM.pack(zlib.crc32(packed, zlib.crc32(header))) != checksum:
        return None
    outcome: Outcome = _Unpickler(io.BytesIO(pa.decompress(packed, n_pickled, codec="zstd"))).load()
    return outcome


class _Unpickler(pickle.Unpickler):
    """A dataset may have been somebody else's: a journal in it must not run what they like."""

    def find_class(self, module: str, name: str) -> type:
        if module == document.__name__ and name in _PICKLED:
            return getattr(document, name)  # type: ignore[no-any-return]
        raise pickle.UnpicklingError(f"{module}.{name} is in no journal of ours")


_PICKLED = {
    *("Outcome", "Origin", "Decoded", "BadByte", "Segment", "Verbatim", "Page"),
    *("Cleaned", "Stage", "Edit", "Damage", "Rejection", "Reason"),
}
"""What an `Outcome` consists of."""


@cache
def _program() -> str:
    """Names the source of the classes that are pickled, and of this module."""
    state = hashlib.sha256()
    for path in sorted([*Path(schemas.__file__).parent.glob("*.py"), Path(__file__)]):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()
