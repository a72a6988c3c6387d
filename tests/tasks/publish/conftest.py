"""What tests of snapshots have in common."""

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.dataset import run_row
from schemas.document import Run
from tasks.publish import roll_back
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import open_store

COUNTED = ("n_added", "n_changed", "n_unchanged", "n_removed", "n_recleaned", "n_relearned")


@pytest.fixture
def restore() -> Callable[[Path | str, int, Run], Snapshot]:
    """Takes a dataset back to an older snapshot."""

    def restore_it(out: Path | str, number: int, run: Run) -> Snapshot:
        store = open_store(out)
        row = {**run_row(run), **dict.fromkeys(COUNTED, 0), "kind": "rollback", "sources": [str(number)]}
        with store.lock():
            store.prepare()
            return roll_back(store, number, run, row)

    return restore_it
