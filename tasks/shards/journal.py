"""Journals: outcomes of the first pass, put by one by one as they are finished.

A journal outlives the process that writes it, however that ends, and the run: the next run with the same program and
the same settings takes from it every document that is still the same. So a kill costs the documents that were
being cleaned, and nothing else. Journals go when a run has published.

Outcomes are pickled as tuples, rows of one kind in columns: what pickle would ask classes, field by field, took longer
than all the rest. Nothing but tuples, texts and numbers is taken out of a journal.
"""

import hashlib
import io
import pickle
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from uuid import uuid4

import numpy as np
import pyarrow as pa

import schemas
from schemas.document import (
    BadByte,
    Cleaned,
    Damage,
    Decoded,
    Edit,
    Edits,
    Origin,
    Outcome,
    Page,
    Reason,
    Rejection,
    Run,
    Segment,
    Stage,
    Verbatim,
)

_HEADER = struct.Struct("<4s16s32sII")
"""Mark, doc_id, state of the document (`Origin.state`), length of the packed outcome and of the pickled one. Behind it
stands the CRC-32 of all that and of the packed outcome, and then that."""

_CHECKSUM = struct.Struct("<I")

_MARK = b"qyj4"

_CODEC = pa.Codec("lz4_raw")
"""A fifth larger than by zstd, and nine times as fast: 3 µs for a page of news, which is cleaned in a millisecond."""

_TAKEN = np.dtype([("rest", "<u8"), ("state", "V32"), ("file", "<u4"), ("offset", "<u8")])


class Entry(NamedTuple):
    """Where an outcome is."""

    path: Path
    offset: int


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
            lasts: Whether it may be taken (`Taken`): not that a process died, which may be otherwise the next time.

        Raises:
            OSError: if it can't be written.
        """
        pickled = pickle.dumps(_told(outcome), pickle.HIGHEST_PROTOCOL)
        packed = _CODEC.compress(pickled, asbytes=True)
        key, state = bytes.fromhex(outcome.origin.doc_id), bytes.fromhex(outcome.origin.state)
        header = _HEADER.pack(_MARK, key, state if lasts else b"", len(packed), len(pickled))
        entry = Entry(self._path, self._file.tell())
        content = memoryview(header + _CHECKSUM.pack(zlib.crc32(packed, zlib.crc32(header))) + packed)
        while content:  # a write may be short, on a disk that is nearly full
            content = content[self._file.write(content) :]
        return entry


def folder_for(run: Run, work: Path) -> Path:
    """Where journals of runs like this one are: with the same program and the same settings."""
    told = f"{_program()}\0{run.pipeline_version}\0{run.rules_digest}\0{run.config.model_dump_json()}"
    return work / hashlib.sha256(told.encode()).hexdigest()[:16]


class Taken:
    """What journals hold, by document: looked up in files, since it may be millions.

    Args:
        folder: Made by `index_journals`; None if there is nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._keys = _map(folder, "keys", np.dtype("<u8"))
        self._rows = _map(folder, "rows", _TAKEN)
        self._paths = (folder / "paths").read_text().split("\n") if folder else []

    def find(self, origin: Origin) -> Entry | None:
        """The outcome of a document, if one was put by and the document is still the same."""
        if not origin.state or not len(self._keys):
            return None
        key, rest = struct.unpack("<QQ", bytes.fromhex(origin.doc_id))
        state = bytes.fromhex(origin.state)
        for at in range(*(int(np.searchsorted(self._keys, np.uint64(key), side)) for side in ("left", "right"))):
            row = self._rows[at]
            if row["rest"] == rest and bytes(row["state"]) == state:
                return Entry(Path(self._paths[row["file"]]), int(row["offset"]))
        return None


def _map(folder: Path | None, name: str, kind: "np.dtype[Any]") -> "np.ndarray[Any, Any]":
    return np.memmap(folder / name, kind, "r") if folder else np.empty(0, kind)


def index_journals(journals: Path, folder: Path) -> Path | None:
    """Index what all journals of a folder hold, for `Taken`.

    Args:
        journals: Where they are.
        folder: A new folder is made in it.

    Returns:
        The new folder; None if there is nothing.

    Raises:
        OSError: if a journal can't be read, or the index not be written.
    """
    paths = sorted(journals.glob("journal-*"))
    found = [_index(path, number) for number, path in enumerate(paths)]
    keys = np.concatenate([np.empty(0, "<u8"), *(keys for keys, _ in found)])
    if not len(keys):
        return None
    order = np.argsort(keys, kind="stable")
    made = folder / f"taken-{uuid4().hex}"
    made.mkdir(parents=True)
    (made / "keys").write_bytes(keys[order].tobytes())
    (made / "rows").write_bytes(np.concatenate([rows for _, rows in found])[order].tobytes())
    (made / "paths").write_text("\n".join(map(str, paths)))
    return made


def _index(path: Path, number: int) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """First halves of the doc_ids in a journal, and the rest of what `Taken` needs, to the last one that is whole."""
    keys, rows = array("Q"), bytearray()
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            mark, doc_id, state, n_packed, _ = _HEADER.unpack(header)
            end = offset + _HEADER.size + _CHECKSUM.size + n_packed
            if mark != _MARK or end > size:
                break
            key, rest = struct.unpack("<QQ", doc_id)
            keys.append(key)
            rows += struct.pack("<Q32sIQ", rest, state, number, offset)
            offset = file.seek(end)
    return np.frombuffer(keys, "<u8"), np.frombuffer(rows, _TAKEN)


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
    told = _Unpickler(io.BytesIO(_CODEC.decompress(packed, n_pickled, asbytes=True))).load()
    return _outcome(told)


class _Unpickler(pickle.Unpickler):
    """A dataset may have been somebody else's: a journal in it must not run what they like."""

    def find_class(self, module: str, name: str) -> type:
        raise pickle.UnpicklingError(f"{module}.{name} is in no journal of ours")


_Told = tuple[Any, ...]

_ORIGIN, _DECODED, _CLEANED, _PAGE = (
    attrgetter(*(field.name for field in fields(kind))) for kind in (Origin, Decoded, Cleaned, Page)
)


def _told(outcome: Outcome) -> _Told:
    """An outcome as tuples."""
    decoded, cleaned, rejection, page = outcome.decoded, outcome.cleaned, outcome.rejection, outcome.page
    return (
        _ORIGIN(outcome.origin),
        decoded and _told_decoded(*_DECODED(decoded)),
        cleaned and _told_cleaned(*_CLEANED(cleaned)),
        rejection and (rejection.reason.value, rejection.detail),
        page and _PAGE(page),
    )


def _outcome(told: _Told) -> Outcome:
    """The reverse of `_told`."""
    origin, decoded, cleaned, rejection, page = told
    return Outcome(
        Origin(*origin),
        decoded and _decoded(*decoded),
        cleaned and _cleaned(*cleaned),
        rejection and Rejection(Reason(rejection[0]), rejection[1]),
        page and Page(*page),
    )


def _told_decoded(*told: Any) -> _Told:
    return *told[:-3], *map(_columns, told[-3:])


def _decoded(*told: Any) -> Decoded:
    lists = zip((BadByte, Segment, Verbatim), told[-3:], strict=True)
    return Decoded(*told[:-3], *(_rows(kind, columns) for kind, columns in lists))


def _told_cleaned(text: str, stages: Sequence[Stage], facts: Any, damage: Sequence[Damage], flags: Any) -> _Told:
    return text, [(stage.step, _told_edits(stage.edits)) for stage in stages], facts, _columns(damage), flags


def _cleaned(text: str, stages: Any, facts: Any, damage: Any, flags: Any) -> Cleaned:
    found = tuple(Stage(step, _edits(edits)) for step, edits in stages)
    return Cleaned(text, found, facts, _rows(Damage, damage), flags)


def _told_edits(edits: Sequence[Edit]) -> Any:
    return edits.__getstate__() if isinstance(edits, Edits) else _columns(edits)


def _edits(told: Any) -> Edits | tuple[Edit, ...]:
    if isinstance(told, list):
        return _rows(Edit, told)
    edits = Edits.__new__(Edits)
    edits.__setstate__(told)
    return edits


_Row = TypeVar("_Row", bound=NamedTuple)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[_Told]:
    return [*zip(*rows, strict=True)]


def _rows(kind: type[_Row], columns: list[_Told]) -> tuple[_Row, ...]:
    return tuple(map(partial(tuple.__new__, kind), zip(*columns, strict=True)))  # what `_make` does, but for its checks


@cache
def _program() -> str:
    """Names the source of the classes that are pickled, and of this module."""
    state = hashlib.sha256()
    for path in sorted([*Path(schemas.__file__).parent.glob("*.py"), Path(__file__)]):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()
