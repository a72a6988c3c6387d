"""Datasets made by hand, without cleaning anything."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas.dataset import TABLES, clean_row, edits_row, rejected_row, run_row
from schemas.document import Outcome, Run
from schemas.index import INDEX
from tasks.publish import Contents, publish, roll_back, run_folder
from tasks.publish.counts import count_rows
from tasks.publish.parts import Draft, write_part
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import Store, open_store

Publish = Callable[..., Snapshot]

TALLY = dict.fromkeys(("n_added", "n_changed", "n_unchanged", "n_removed", "n_recleaned", "n_relearned"), 0)


def tables_of(outcomes: Iterable[Outcome], run: Run) -> dict[str, pa.Table]:
    """A batch as tables; those without rows are left out."""
    rows: dict[str, list[dict[str, Any]]] = {"clean": [], "edits": [], "rejected": [], "index": []}
    for outcome in outcomes:
        rows["rejected" if outcome.rejection else "clean"].append(
            (rejected_row if outcome.rejection else clean_row)(outcome, run)
        )
        rows["edits"].append(edits_row(outcome))
        rows["index"].append(index_row(outcome, run))
    schemas = TABLES | {"index": INDEX}
    return {table: pa.Table.from_pylist(some, schema=schemas[table]) for table, some in rows.items() if some}


def index_row(outcome: Outcome, run: Run) -> dict[str, Any]:
    of_origin = {name: getattr(outcome.origin, name) for name in ("doc_id", "source_uri", "record")}
    of_run = {"cleaned_with": "x", "first_run_id": run.run_id, "run_id": run.run_id}
    learned = {"sites": [], "lines": [], "body": [], "headed": False, "learned": 0, "removed_lines": []}
    return {
        **of_origin,
        "raw_sha256": outcome.origin.sha256,
        **of_run,
        **learned,
        "reason": outcome.rejection.reason if outcome.rejection else None,
    }


def contents(store: Store, run: Run, batches: Iterable[dict[str, pa.Table]]) -> Contents:
    """Batches as parts in the folder of a run."""
    folder = run_folder(store, run.run_id)
    drafts = [
        Draft(
            {table: write_part(table, rows, run, folder) for table, rows in batch.items()},
            count_rows(batch.get("clean"), batch.get("rejected")),
        )
        for batch in batches
    ]
    lines, files = write_part("lines", [], run, folder), write_part("files", [], run, folder)
    return Contents([(None, draft) for draft in drafts], lines, {"files": files}, "mark")


def row_of(run: Run, kind: str = "clean") -> dict[str, Any]:
    return {**run_row(run), **TALLY, "kind": kind, "sources": ["pages/"]}


@pytest.fixture
def publish_tables() -> Publish:
    """Publishes batches given as tables."""

    def publish_them(out: Path | str, run: Run, batches: Iterable[dict[str, pa.Table]]) -> Snapshot:
        store = open_store(out)
        with store.lock():
            store.prepare()
            return publish(store, contents(store, run, batches), run, row_of(run))

    return publish_them


@pytest.fixture
def publish_run(publish_tables: Publish) -> Publish:
    """Publishes outcomes, a list for each batch."""

    def publish_them(out: Path | str, run: Run, *batches: list[Outcome]) -> Snapshot:
        return publish_tables(out, run, [tables_of(batch, run) for batch in batches])

    return publish_them


@pytest.fixture
def restore() -> Publish:
    """Takes a dataset back to an older snapshot."""

    def restore_it(out: Path | str, number: int, run: Run) -> Snapshot:
        store = open_store(out)
        with store.lock():
            store.prepare()
            return roll_back(store, number, run, row_of(run, "rollback"))

    return restore_it


@pytest.fixture
def make_tables() -> Callable[..., dict[str, pa.Table]]:
    return tables_of
