"""A dataset in a folder of this machine (docs/adr/0001-publishing.md)."""

import ctypes
import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from schemas.dataset import TABLES
from tasks.publish.parts import Part, hash_file, sync
from tasks.publish.snapshots import (
    DamagedError,
    DatasetBusyError,
    DatasetError,
    NoDatasetError,
    Snapshot,
    SnapshotGoneError,
    StoredPart,
    from_json,
    to_json,
)
from tasks.publish.store import OnWait, newest

_STORE_NAMES = {"objects", "manifests", "tmp", "work", "views", "lock"}

_FOLDERS = ("objects", "manifests", "tmp", "work")

GRACE = 0.5
"""Seconds for which folders that were exchanged keep their files. Between a reader's opening and listing a folder pass
microseconds, on a busy machine milliseconds. Longer would be a nuisance to who looks for Parquet everywhere (`**`)."""

_POLL_SECONDS = 0.5
"""Between two looks at a lock that another process holds."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""linux/fcntl.h and linux/fs.h."""


class LocalStore:
    """See `tasks.publish.store.Store`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.name = str(out)
        self.local = out / "_store"

    def numbers(self) -> list[int]:
        """The snapshots there are, oldest first."""
        names = (self.local / "manifests").glob("*.json")
        return sorted(int(path.stem) for path in names if path.stem.isdigit())

    def snapshot(self, number: int) -> Snapshot:
        """One of the snapshots."""
        path = self._manifest(number)
        try:
            return from_json(path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"the manifest {path} can't be read: {error!r}. Restore it, or clean into a new folder"
            ) from error

    def path(self, part: StoredPart) -> Path:
        """Where a part is kept."""
        return self.local / "objects" / part.sha256

    def holds(self, part: StoredPart) -> bool:
        """Whether the object is there, in its length."""
        try:
            return self.path(part).stat().st_size == part.bytes
        except OSError:
            return False

    def lock(self, wait: float = 0, on_wait: OnWait | None = None) -> "DatasetLock":
        """Held by the one process that writes."""
        return DatasetLock(self, wait, on_wait)

    def prepare(self) -> None:
        """Clear what a dead run left, and repair the view.

        Raises:
            DatasetError: if the folder is not writable, is no dataset and not empty, or holds a damaged one. Nothing
                of the user's is touched then.
        """
        self.make()
        self._check_writable()
        self._refuse_strays()
        snapshot = newest(self)
        if snapshot:
            self._refuse_damage(snapshot)
        with self._explained():
            self._clear_tmp()
            if snapshot:
                self.show(snapshot)
            self.forget(())

    def make(self) -> None:
        """Make the folders of a dataset where there are none."""
        with self._explained():
            self._refuse_other_folders()
            for name in _FOLDERS:
                (self.local / name).mkdir(parents=True, exist_ok=True)

    def add(self, parts: Sequence[Part]) -> None:
        """Make finished parts objects."""
        objects = self.local / "objects"
        for part in parts:
            try:
                part.path.replace(objects / part.sha256)
            except FileNotFoundError as error:
                raise DatasetError(f"the part {part.path} has gone: nothing was published. Run it again") from error
        for folder in (objects, self.local, self.out):
            sync(folder)

    def commit(self, snapshot: Snapshot) -> None:
        """Give the manifest its number: it is all there when it appears, and no number is given twice."""
        written = self.local / "tmp" / f"manifest-{uuid4().hex}"
        written.write_text(to_json(snapshot), encoding="utf-8")
        sync(written)
        path = self._manifest(snapshot.number)
        try:
            path.hardlink_to(written)
        except FileExistsError as error:
            raise DatasetBusyError(
                f"another process has published snapshot {snapshot.number} of {self.name}. Run it again"
            ) from error
        sync(path.parent)
        written.unlink()

    def show(self, snapshot: Snapshot) -> None:
        """Make the view show a snapshot, table by table, each in one step.

        Folders that were exchanged keep their files for a moment: a reader that had begun to list one would find it
        half empty otherwise, or empty, and take that for the table.
        """
        exchanges = _can_exchange(self.local / "tmp")
        views = self.local / ("tmp" if exchanges else "views") / f"view-{uuid4().hex}"
        for table, parts in snapshot.tables.items():
            if not self._shows(self.out / table, parts):
                beside = views / table
                beside.mkdir(parents=True)
                for part in parts:
                    (beside / part.name).hardlink_to(self.path(part))
                sync(beside)
                (_exchange if exchanges else _point)(beside, self.out / table)
        sync(self.out)
        if exchanges and views.exists():
            if any(views.glob("*/*")):
                time.sleep(GRACE)
            _clear(views)

    def put_beside(self, name: str, content: bytes, mark: bytes) -> None:
        """Put a file beside the tables."""
        place = self.out / name
        if place.exists() and mark not in place.read_bytes():
            return
        written = self.local / "tmp" / f"beside-{uuid4().hex}"
        written.write_bytes(content)
        sync(written)
        written.replace(place)

    def problems(self, snapshot: Snapshot) -> Iterator[str]:
        """What the view shows that isn't the snapshot."""
        for table, parts in snapshot.tables.items():
            folder = self.out / table
            there = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
            for name in sorted(there.keys() - {part.name for part in parts}):
                yield f"{folder / name} is no part of snapshot {snapshot.number}, but readers see it"
            for part in parts:
                if problem := self._view_problem(there.get(part.name), part):
                    yield f"{folder / part.name} {problem}"

    def pin(self, number: int) -> Callable[[], None]:
        """Keep a snapshot from being forgotten: by a shared lock on its manifest, which ends with the process."""
        path = self._manifest(number)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise SnapshotGoneError(f"{self.name} has no snapshot {number}") from error
        with suppress(OSError):  # no locks on a file system that is mounted for reading: nobody forgets there either
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not path.exists():
            os.close(descriptor)
            raise SnapshotGoneError(f"{self.name} has no snapshot {number} any more")
        return partial(os.close, descriptor)

    def keep_report(self, run_id: str, page: bytes) -> str:
        """Keep the report of a run in `reports/`: all of it is there when it appears."""
        written = self.local / "tmp" / f"report-{run_id}"
        path = self.out.absolute() / "reports" / f"{run_id}.html"
        path.parent.mkdir(exist_ok=True)
        written.write_bytes(page)
        written.replace(path)
        return str(path)

    def report(self, run_id: str) -> bytes | None:
        """The report of a run; None if there is none."""
        try:
            return (self.out / "reports" / f"{run_id}.html").read_bytes()
        except FileNotFoundError:
            return None

    def reports(self) -> dict[str, int]:
        """Bytes of the reports there are, by run."""
        return {path.stem: path.stat().st_size for path in (self.out / "reports").glob("*.html")}

    def drop_reports(self, run_ids: Iterable[str]) -> None:
        """Remove the reports of some runs."""
        for run_id in run_ids:
            (self.out / "reports" / f"{run_id}.html").unlink(missing_ok=True)

    def forget(self, numbers: Iterable[int]) -> int:
        """Remove snapshots that nobody has pinned, and objects that none of the others has."""
        with ExitStack() as stack:
            going = {number for number in numbers if _is_free(self._manifest(number), stack)}
            kept = [_or_none(self, number) for number in self.numbers() if number not in going]
            used = {part.sha256 for snapshot in kept if snapshot for part in snapshot.objects()}
            for number in going:  # first: an object without a manifest is waste, a manifest without one is damage
                self._manifest(number).unlink()
        sync(self.local / "manifests")
        if None in kept:  # what it needs can't be told
            return 0
        freed = 0
        for path in (self.local / "objects").iterdir():
            if path.name not in used:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _manifest(self, number: int) -> Path:
        return self.local / "manifests" / f"{number:06}.json"

    def _clear_tmp(self) -> None:
        _clear(self.local / "tmp")
        (self.local / "tmp").mkdir()
        shown = {os.path.realpath(self.out / table) for table in TABLES}
        for folder in (self.local / "views").glob("view-*/*"):
            if os.path.realpath(folder) not in shown:
                _clear(folder)

    def _shows(self, folder: Path, parts: Sequence[StoredPart]) -> bool:
        if not folder.is_dir() or {path.name for path in folder.iterdir()} != {part.name for part in parts}:
            return False
        return all((folder / part.name).samefile(self.path(part)) for part in parts)

    def _view_problem(self, path: Path | None, part: StoredPart) -> str:
        try:
            if path is None:
                return "is missing: readers don't see it. The next run restores it"
            if not path.samefile(self.path(part)) and hash_file(path) != part.sha256:
                return "has another content than the part of that name. The next run restores it"
        except OSError as error:
            return f"can't be read: {error}"
        return ""

    def _refuse_other_folders(self) -> None:
        out = self.out
        if out.exists() and not out.is_dir():
            raise NoDatasetError(f"{out} is a file. A dataset is a folder: give another name")
        there = sorted(_visible(out)) if out.exists() else []
        ours = self.local.is_dir() and _visible(self.local) <= _STORE_NAMES
        if there and not ours:
            names = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
            raise NoDatasetError(
                f"{out} is neither empty nor a dataset of qingyuan: it holds {names}. Give another folder"
            )

    def _check_writable(self) -> None:
        """Try all that publishing will need, before hours of work and not after."""
        probe = self.local / "tmp" / f"probe-{uuid4().hex}"
        try:
            probe.write_bytes(b"")
            probe.with_suffix(".link").hardlink_to(probe)
        except OSError as error:
            if error.errno in {errno.EPERM, errno.ENOTSUP, errno.EMLINK} and probe.exists():
                raise DatasetError(
                    f"the file system of {self.out} has no hard links ({error.strerror}). Use another"
                ) from error
            raise self._not_writable(error) from error
        if not os.access(self.out, os.W_OK):
            raise self._not_writable(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def _refuse_strays(self) -> None:
        """The view is replaced as a whole: someone's own file in it would go."""
        for table in TABLES:
            for path in (self.out / table).glob("[!.]*"):
                if not path.name.startswith("part-"):
                    raise DatasetError(
                        f"{path} is no part of the dataset, and would be lost. Move it out of {self.out / table}"
                    )

    def _refuse_damage(self, snapshot: Snapshot) -> None:
        for part in snapshot.objects():
            path = self.path(part)
            # What no reader sees decides what the run does: it is read from end to end.
            if not self.holds(part) or (not part.name and hash_file(path) != part.sha256):
                raise DamagedError(
                    f"the dataset in {self.out} is damaged: {path} is missing, or not what it was. See: "
                    f"qingyuan verify {self.out}, and qingyuan rollback {self.out} if there is an older snapshot"
                )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the file system in words for the user."""
        try:
            yield
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> DatasetError:
        return DatasetError(
            f"{error.filename or self.out} can't be written to ({error.strerror or error}). "
            f"Change the permissions or attributes of {self.out} and what is in it, or give another folder"
        )


class DatasetLock:
    """Held by the one process that writes a dataset.

    The kernel keeps it (flock), so that it goes with its process, however that ends; the file says who has it.

    Raises:
        DatasetBusyError: if another process still holds it after `wait` seconds.
        DatasetError: if the folder can't hold a dataset.
    """

    def __init__(self, store: LocalStore, wait: float = 0, on_wait: OnWait | None = None) -> None:
        self._store = store
        self._path = store.local / "lock"
        self._wait = wait
        self._on_wait = on_wait
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self._store.make()
        with self._store._explained():  # noqa: SLF001  one module
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
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

    def _take(self, descriptor: int) -> None:
        until = time.monotonic() + self._wait
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES} or time.monotonic() >= until:
                    raise self._refusal(error) from error
                if self._on_wait and not told:
                    self._on_wait(self._holder())
                    told = True
                time.sleep(min(_POLL_SECONDS, max(until - time.monotonic(), 0)))
            else:
                return

    def _refusal(self, error: OSError) -> DatasetError:
        out = self._store.name
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            return DatasetError(
                f"{self._path} can't be locked ({error.strerror}): the file system of {out} has no locks. Use another"
            )
        return DatasetBusyError(
            f"{out} is being written by {self._holder()}. Wait until it has ended (--wait SECONDS does), or give "
            "another folder"
        )

    def _holder(self) -> str:
        try:
            holder = json.loads(self._path.read_bytes())
            return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def _is_free(manifest: Path, stack: ExitStack) -> bool:
    """Whether no reader has pinned a snapshot; none can until the stack is closed."""
    descriptor = os.open(manifest, os.O_RDWR)  # or network drives would give no lock that excludes others
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _or_none(store: LocalStore, number: int) -> Snapshot | None:
    """A snapshot; None if its manifest is damaged: older ones must not stand in the way of the current one."""
    try:
        return store.snapshot(number)
    except DatasetError:
        return None


def _visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _can_exchange(folder: Path) -> bool:
    """Whether two folders can be exchanged in one step in this file system."""
    one, other = (folder / f"probe-{uuid4().hex}" for _ in range(2))
    one.mkdir()
    other.mkdir()
    try:
        return _renameat2(one, other)
    finally:
        one.rmdir()
        other.rmdir()


def _exchange(new: Path, place: Path) -> None:
    """Put a folder in the place of another, which takes its place in turn, in one step."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    if place.exists():
        _renameat2(new, place)
    else:
        new.rename(place)


def _point(new: Path, place: Path) -> None:
    """Have a symbolic link point to a folder: where folders can't be exchanged, links can be replaced in one step."""
    link = new.with_name(f"{new.name}.link")
    link.symlink_to(os.path.relpath(new, place.parent))
    if place.is_dir() and not place.is_symlink():  # once, if the folder came from elsewhere
        place.rename(new.with_name(f"{new.name}.old"))
    link.replace(place)


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
    if error in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:
        return False
    raise OSError(error, os.strerror(error), str(other))


def _clear(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
