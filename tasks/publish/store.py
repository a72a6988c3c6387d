"""Where a dataset lies: what runs and readers ask of that place, be it a folder or a bucket."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tasks.publish.parts import Part
from tasks.publish.snapshots import DatasetError, Snapshot, StoredPart

OnWait = Callable[[str], None]
"""Takes who holds the lock that is waited for."""


class Store(Protocol):
    """Objects by their hashes, and numbered manifests. All methods raise DatasetError where the place is to blame."""

    name: str
    """What the user calls it: a path or an address."""
    local: Path
    """A folder of this machine for what is not published: the dataset's own, or one that stands for the bucket."""

    def numbers(self) -> list[int]:
        """The snapshots there are, oldest first."""

    def snapshot(self, number: int) -> Snapshot:
        """One of the snapshots; DatasetError if its manifest is missing or can't be read."""

    def path(self, part: StoredPart) -> Path:
        """The object as a file of this machine; it may have to be fetched first."""

    def holds(self, part: StoredPart) -> bool:
        """Whether the object is there, without a look at its content."""

    def lock(self, wait: float = 0, on_wait: OnWait | None = None) -> AbstractContextManager[object]:
        """Held by the one process that writes; DatasetBusyError if another one still has it after `wait` seconds."""

    def prepare(self) -> None:
        """Clear what a dead run left, and repair what readers see, with the lock held."""

    def add(self, parts: Sequence[Part]) -> None:
        """Make finished parts objects, safe on the disk. Their files may be gone afterwards."""

    def commit(self, snapshot: Snapshot) -> None:
        """Give a manifest its number, at once or not at all; DatasetBusyError if that is taken."""

    def show(self, snapshot: Snapshot) -> None:
        """Have readers see a snapshot."""

    def put_beside(self, name: str, content: bytes, mark: bytes) -> None:
        """Put a file beside the tables, at once or not at all; one of that name without the mark stays as it is."""

    def problems(self, snapshot: Snapshot) -> Iterable[str]:
        """What readers would see that isn't the snapshot."""

    def pin(self, number: int) -> Callable[[], None]:
        """Keep a snapshot whole for a reader until what this gives is called; SnapshotGoneError if it is gone."""

    def keep_report(self, run_id: str, page: bytes) -> str:
        """Keep the report of a run beside the tables; gives its path or address."""

    def report(self, run_id: str) -> bytes | None:
        """The report of a run; None if there is none."""

    def reports(self) -> dict[str, int]:
        """Bytes of the reports there are, by run."""

    def drop_reports(self, run_ids: Iterable[str]) -> None:
        """Remove the reports of some runs."""

    def forget(self, numbers: Iterable[int]) -> int:
        """Remove snapshots that nobody has pinned, and objects that none of the others has.

        Gives how many bytes that freed.
        """


def newest(store: Store) -> Snapshot | None:
    """The current snapshot; None if nothing was published yet.

    Raises:
        DatasetError: if its manifest can't be read.
    """
    published = store.numbers()
    return store.snapshot(published[-1]) if published else None


def current(store: Store) -> Snapshot:
    """The current snapshot.

    Raises:
        DatasetError: if there is none, or its manifest can't be read.
    """
    snapshot = newest(store)
    if snapshot is None:
        raise DatasetError(
            f"{store.name} holds no dataset of qingyuan. Make one with: qingyuan clean SOURCE --out {store.name}"
        )
    return snapshot


def at(store: Store, number: int) -> Snapshot:
    """A snapshot by the number that a user gave.

    Raises:
        DatasetError: if there is no such snapshot (the message lists those there are), or its manifest can't be read.
    """
    current(store)
    if number not in (published := store.numbers()):
        raise DatasetError(f"{store.name} has no snapshot {number}. It has: {', '.join(map(str, published))}")
    return store.snapshot(number)


def open_store(out: str | Path) -> Store:
    """The place that a path or an address names, such as `data/crawl` or `s3://bucket/crawl`.

    Raises:
        DatasetError: if it is an address of a kind that nothing here can write to.
    """
    # They import this module, and few need the library behind object stores.
    from tasks.publish.local import LocalStore  # noqa: PLC0415
    from tasks.publish.remote import RemoteStore  # noqa: PLC0415

    if "://" in str(out) and not str(out).startswith("file://"):
        return RemoteStore(str(out))
    return LocalStore(Path(str(out).removeprefix("file://")))
