"""Reading a dataset while runs publish: a snapshot that stays as it is for as long as somebody reads it."""

import weakref
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from schemas.dataset import TABLES
from tasks.publish.snapshots import DatasetError, SnapshotGoneError
from tasks.publish.store import Store, at, current, open_store

if TYPE_CHECKING:
    import pandas as pd

_TRIES = 100
"""Of pinning the newest snapshot. Each fails only if a newer one was published, and this one removed, in a moment."""


class OpenedDataset:
    """A snapshot, whatever is published meanwhile: all that is read from it fits together.

    In a folder it is kept until this object is closed, or gone, or its process ends; on an object store for a day after
    it was removed.
    """

    def __init__(self, store: Store, number: int) -> None:
        self._store = store
        self._release = weakref.finalize(self, store.pin(number))
        self._snapshot = store.snapshot(number)

    @property
    def number(self) -> int:
        """Number of the snapshot."""
        return self._snapshot.number

    @property
    def published_at(self) -> datetime:
        """When it was published, in UTC."""
        return self._snapshot.published_at

    def snapshots(self) -> dict[int, datetime]:
        """All snapshots that can be opened by now: when each was published, by number, oldest first."""
        found = {}
        for number in self._store.numbers():
            with suppress(DatasetError):  # removed since it was listed
                found[number] = self._store.snapshot(number).published_at
        return found

    def paths(self, table: str) -> list[str]:
        """Parquet files of a table, in the order of ingest, for whatever reads Parquet; at least one.

        From an object store they are fetched first, those that are not here yet.

        Raises:
            DatasetError: if there is no such table, or a file can't be fetched.
        """
        if table not in TABLES:
            raise DatasetError(f"there is no table {table!r}. There are: {', '.join(TABLES)}")
        return [str(self._store.path(part).absolute()) for part in self._snapshot.tables[table]]

    def table(self, name: str) -> Any:
        """A table as a `pyarrow.dataset.Dataset`, of which nothing is read yet. Raises as `paths`."""
        import pyarrow.dataset as ds  # noqa: PLC0415  a third of a second

        return ds.dataset(self.paths(name), format="parquet")

    def to_pandas(self, name: str, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """A table, or some of its columns, as pandas reads it. Raises as `paths`."""
        rows = self.table(name).to_table(columns=None if columns is None else list(columns))
        frame: pd.DataFrame = rows.to_pandas()
        return frame

    def close(self) -> None:
        """Let the snapshot go."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<snapshot {self.number} of {self._store.name}, published {self.published_at:%Y-%m-%d %H:%M} UTC>"


def open_dataset(out: str | Path, snapshot: int | None = None) -> OpenedDataset:
    """Open a dataset, in a folder or an object store, for reading.

    Args:
        out: Its folder, or its address.
        snapshot: Number of the snapshot to read. Default: the newest one.

    Raises:
        DatasetError: if there is no dataset, it has no such snapshot, or its manifest can't be read.
    """
    store = open_store(out)
    if snapshot is None:
        return _newest(store)
    if snapshot not in store.numbers():
        at(store, snapshot)  # says which there are
    return OpenedDataset(store, snapshot)


def _newest(store: Store) -> OpenedDataset:
    for _ in range(_TRIES):
        number = max(store.numbers(), default=None)
        if number is None:
            break
        with suppress(SnapshotGoneError):
            return OpenedDataset(store, number)
    current(store)
    raise DatasetError(f"snapshots of {store.name} go faster than they can be opened")
