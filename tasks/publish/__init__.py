"""Parts to a snapshot, so that a kill at any moment leaves the last one whole and readable.

The protocol, and why it is this one: docs/adr/0001-publishing.md. A run does

    with DatasetLock(out):
        prepare(out)
        parts = [...]  # write_parts(outcomes, run, run_folder(out, run.run_id)), in worker processes
        refuse_to_empty(out, parts)
        publish(out, parts, run_row(run, sources))
"""

import ctypes
import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pyarrow.parquet as pq

from schemas.dataset import RUNS, SCHEMA_VERSION, TABLES
from tasks.publish.parts import Counts, Part, PartWriter, sync, write_parts
from tasks.publish.snapshots import (
    DatasetError,
    NoDatasetError,
    Snapshot,
    StoredPart,
    manifest_path,
    newest,
    numbers,
    object_path,
    read_snapshot,
    store,
    to_json,
)

__all__ = [
    "Counts",
    "DatasetBusyError",
    "DatasetError",
    "DatasetLock",
    "NoDatasetError",
    "Part",
    "Snapshot",
    "prepare",
    "publish",
    "refuse_to_empty",
    "run_folder",
    "write_parts",
]

KEEP_SNAPSHOTS = 2
"""The current one, and the one before for those who are still reading it."""

_STORE_NAMES = {"objects", "manifests", "tmp", "lock"}

GRACE = 0.2
"""Seconds for which folders that were exchanged keep their files. A reader that had begun to list one would find it
half empty, or empty, and take that for the table; a listing takes milliseconds."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""linux/fcntl.h and linux/fs.h."""


class DatasetBusyError(DatasetError):
    """Another process is writing the dataset."""


class DatasetLock:
    """Held by the one process that writes a dataset.

    The kernel keeps it (flock), so that it goes with its process, however that ends; the file says who has it.

    Raises:
        DatasetBusyError: if another process holds it.
        DatasetError: if the folder can't hold a dataset.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        _make_store(self._out)
        path = store(self._out) / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _not_writable(self._out, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise _refusal(self._out, path, error) from error
        os.ftruncate(descriptor, 0)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.write(descriptor, json.dumps(holder).encode())
        self._descriptor = descriptor
        # A forked child would hold the lock on after our death.
        os.register_at_fork(after_in_child=self._close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def prepare(out: Path) -> None:
    """Make a folder ready for a run, with the lock held: clear what a dead run left, and repair the view.

    Raises:
        DatasetError: if the folder is not writable, is no dataset and not empty, or holds a damaged one. Nothing of
            the user's is touched then.
    """
    _make_store(out)
    _check_writable(out)
    _refuse_strays(out)
    snapshot = newest(out)
    if snapshot:
        _refuse_damage(out, snapshot)
    try:
        _clear(store(out) / "tmp")
        (store(out) / "tmp").mkdir()
        if snapshot:
            _show(out, snapshot)
        _vacuum(out)
    except OSError as error:
        raise _not_writable(out, error) from error


def refuse_to_empty(out: Path, parts: Iterable[Part]) -> None:
    """Keep a run that kept no document from replacing a dataset that has some: a mistake upstream, far more likely.

    Raises:
        DatasetError: if so. Says why the documents were rejected.
    """
    last = newest(out)
    counts = sum((part.counts for part in parts), Counts())
    if counts.clean or not last or not last.rows("clean"):
        return
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.rejected.most_common())
    raise DatasetError(
        f"no document was kept ({reasons}), and {out} holds {last.rows('clean'):,} clean documents, "
        "which publishing would replace: it is as it was. Check the sources, or give another folder"
    )


def run_folder(out: Path, run_id: str) -> Path:
    """Where the parts of a run are written."""
    return store(out) / "tmp" / run_id


def publish(out: Path, parts: Sequence[Part], run_row: Mapping[str, Any]) -> Snapshot:
    """Make some parts the dataset, in place of those before, with the lock held.

    Args:
        out: The dataset folder, prepared.
        parts: Of the tables clean, edits and rejected, in the order of the sources.
        run_row: What the run says of itself (`schemas.dataset.run_row`). Counts, snapshot and end are added here.

    Raises:
        DatasetError: if a part is missing or the row has unknown columns; nothing is published then.
        OSError: if something can't be written; then the last snapshot is still the current one, unless a note of the
            error says otherwise.
    """
    last = newest(out)
    number = last.number + 1 if last else 1
    folder = run_folder(out, run_row["run_id"])
    folder.mkdir(parents=True, exist_ok=True)
    row = _complete_row(run_row, parts, number)
    parts = [*parts, *_empty_parts(parts, row, folder), _runs_part(out, last, row, folder)]
    snapshot = Snapshot(number, row["run_id"], datetime.now(UTC), SCHEMA_VERSION, _tables(parts))
    _store_objects(out, parts)
    _commit(out, snapshot, folder)
    try:
        _show(out, snapshot)
        _clear(folder)
        _vacuum(out)
    except OSError as error:
        error.add_note(f"Snapshot {number} is published; the folders of {out} will show it after the next run.")
        raise
    return snapshot


def _refusal(out: Path, path: Path, error: OSError) -> DatasetError:
    if error.errno not in {errno.EAGAIN, errno.EACCES}:
        return DatasetError(
            f"{path} can't be locked ({error.strerror}): the file system of {out} has no locks. Use another"
        )
    try:
        holder = json.loads(path.read_bytes())
        who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return DatasetBusyError(f"{out} is being written by {who}. Wait until it has ended, or give another folder")


def _make_store(out: Path) -> None:
    try:
        _refuse_other_folders(out)
        for name in ("objects", "manifests", "tmp"):
            (store(out) / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(out, error) from error


def _not_writable(out: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{error.filename or out} can't be written to ({error.strerror or error}). "
        f"Change the permissions or attributes of {out} and what is in it, or give another folder"
    )


def _refuse_other_folders(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise NoDatasetError(f"{out} is a file. A dataset is a folder: give another name")
    there = sorted(_visible(out)) if out.exists() else []
    ours = store(out).is_dir() and _visible(store(out)) <= _STORE_NAMES
    if there and not ours:
        names = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
        raise NoDatasetError(f"{out} is neither empty nor a dataset of qingyuan: it holds {names}. Give another folder")


def _visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _check_writable(out: Path) -> None:
    """Try all that publishing will need, before hours of work and not after."""
    probe = store(out) / "tmp" / f"probe-{uuid4().hex}"
    try:
        probe.write_bytes(b"")
        probe.with_suffix(".link").hardlink_to(probe)
    except OSError as error:
        if error.errno in {errno.EPERM, errno.ENOTSUP, errno.EMLINK} and probe.exists():
            raise DatasetError(f"the file system of {out} has no hard links ({error.strerror}). Use another") from error
        raise _not_writable(out, error) from error
    if not os.access(out, os.W_OK):
        raise _not_writable(out, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _refuse_strays(out: Path) -> None:
    """The view is replaced as a whole: someone's own file in it would go."""
    for table in TABLES:
        for path in (out / table).glob("[!.]*"):
            if not path.name.startswith("part-"):
                raise DatasetError(f"{path} is no part of the dataset, and would be lost. Move it out of {out / table}")


def _refuse_damage(out: Path, snapshot: Snapshot) -> None:
    for part in chain.from_iterable(snapshot.tables.values()):
        if not object_path(out, part).is_file():
            raise DatasetError(
                f"the dataset in {out} is damaged: {object_path(out, part)} is missing. See: qingyuan verify {out}"
            )


def _complete_row(run_row: Mapping[str, Any], parts: Iterable[Part], number: int) -> dict[str, Any]:
    counts = sum((part.counts for part in parts), Counts())
    row = {
        "snapshot": number,
        "finished_at": datetime.now(UTC).replace(tzinfo=None),
        "schema_version": SCHEMA_VERSION,
        **_count_columns(counts),
        **run_row,
    }
    if unknown := row.keys() - set(RUNS.names):
        raise DatasetError(f"no columns of 'runs': {', '.join(sorted(unknown))}; there are: {', '.join(RUNS.names)}")
    return row


def _count_columns(counts: Counts) -> dict[str, Any]:
    return {
        "n_documents": counts.documents,
        "n_clean": counts.clean,
        "n_rejected": counts.rejected.total(),
        "rejected_by_reason": _tally("reason", counts.rejected),
        "n_duplicates": counts.duplicates,
        "edits_by_step": [
            {"step": step, "edits": n, "chars_removed": counts.removed[step]}
            for step, n in sorted(counts.edits.items())
        ],
        "chars_in": counts.chars_in,
        "chars_out": counts.chars_out,
        "chars_removed": counts.removed.total(),
        "encodings": _tally("encoding", counts.encodings),
        "langs": _tally("lang", counts.langs),
        "scripts": _tally("script", counts.scripts),
        "flags": _tally("flag", counts.flags),
    }


def _tally(name: str, counts: Counter[str]) -> list[dict[str, Any]]:
    return [{name: value, "documents": n} for value, n in sorted(counts.items())]


def _empty_parts(parts: Iterable[Part], row: Mapping[str, Any], folder: Path) -> list[Part]:
    """A part without rows for every table that has none: a folder without files is an error to most readers."""
    return [_part_of([], table, row, folder) for table in TABLES.keys() - {part.table for part in parts} - {"runs"}]


def _runs_part(out: Path, last: Snapshot | None, row: Mapping[str, Any], folder: Path) -> Part:
    """All runs there were, and this one."""
    stored = last.tables["runs"] if last else ()
    rows = [row for part in stored for row in pq.read_table(object_path(out, part)).to_pylist()]
    return _part_of([*rows, row], "runs", row, folder)


def _part_of(rows: Iterable[Mapping[str, Any]], table: str, run: Mapping[str, Any], folder: Path) -> Part:
    writer = PartWriter(table, run["pipeline_version"], run["rules_digest"], folder)
    try:
        for row in rows:
            writer.add(dict(row), Counts())
        part = writer.finish(even_if_empty=True)
    finally:
        writer.discard()
    assert part is not None
    return part


def _tables(parts: Iterable[Part]) -> dict[str, tuple[StoredPart, ...]]:
    tables: dict[str, list[StoredPart]] = {table: [] for table in TABLES}
    for part in parts:
        stored = tables[part.table]
        # The number keeps the order of the sources for those who read a folder.
        name = f"part-{len(stored):05}-{part.sha256[:16]}.parquet"
        stored.append(StoredPart(name, part.sha256, part.rows, part.bytes))
    return {table: tuple(stored) for table, stored in tables.items()}


def _store_objects(out: Path, parts: Iterable[Part]) -> None:
    objects = store(out) / "objects"
    for part in parts:
        try:
            part.path.replace(objects / part.sha256)
        except FileNotFoundError as error:
            raise DatasetError(f"the part {part.path} has gone: nothing was published. Run it again") from error
    for folder in (objects, store(out), out):
        sync(folder)


def _commit(out: Path, snapshot: Snapshot, folder: Path) -> None:
    """Give the manifest its number. It is all there when it appears, and no number is given twice."""
    written = folder / "manifest"
    written.write_text(to_json(snapshot), encoding="utf-8")
    sync(written)
    path = manifest_path(out, snapshot.number)
    try:
        path.hardlink_to(written)
    except FileExistsError as error:
        raise DatasetBusyError(
            f"another process has published snapshot {snapshot.number} of {out}. Run it again"
        ) from error
    sync(path.parent)


def _show(out: Path, snapshot: Snapshot) -> None:
    """Make the view show a snapshot, table by table, each in one step."""
    views = store(out) / "tmp" / f"view-{uuid4().hex}"
    for table, parts in snapshot.tables.items():
        if not _shows(out / table, out, parts):
            beside = views / table
            beside.mkdir(parents=True)
            for part in parts:
                (beside / part.name).hardlink_to(object_path(out, part))
            sync(beside)
            _exchange(beside, out / table)
    sync(out)
    if views.exists():
        time.sleep(GRACE)
        _clear(views)


def _shows(folder: Path, out: Path, parts: Sequence[StoredPart]) -> bool:
    if not folder.is_dir() or {path.name for path in folder.iterdir()} != {part.name for part in parts}:
        return False
    return all((folder / part.name).samefile(object_path(out, part)) for part in parts)


def _exchange(new: Path, place: Path) -> None:
    """Put a folder in the place of another, which takes its place in turn, in one step where the kernel can do it."""
    if not place.exists():
        new.rename(place)
    elif not _renameat2(new, place):
        # Readers find nothing for a moment here; after a kill in that moment, `prepare` puts it right.
        place.rename(new.with_suffix(".old"))
        new.rename(place)


def _renameat2(one: Path, other: Path) -> bool:
    """Whether the two were exchanged: not every kernel and file system can.

    Raises:
        OSError: if it failed for another reason.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in {errno.ENOSYS, errno.EINVAL}:
        return False
    raise OSError(error, os.strerror(error), str(other))


def _vacuum(out: Path) -> None:
    """Remove old snapshots, and objects of none."""
    for number in numbers(out)[:-KEEP_SNAPSHOTS]:
        manifest_path(out, number).unlink()
    kept = [read_snapshot(out, number) for number in numbers(out)]
    used = {part.sha256 for snapshot in kept for parts in snapshot.tables.values() for part in parts}
    for path in (store(out) / "objects").iterdir():
        if path.name not in used:
            path.unlink()


def _clear(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
