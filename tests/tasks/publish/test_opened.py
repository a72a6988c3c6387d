import errno
import fcntl
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from schemas.dataset import TABLES
from schemas.document import Outcome, Run
from tasks.publish import expired, open_dataset
from tasks.publish.local import LocalStore
from tasks.publish.snapshots import DatasetError
from tasks.publish.store import newest, open_store

Publish = Callable[..., Any]


@pytest.fixture
def out(tmp_path: Path, outcomes: list[Outcome], run: Run, publish_outcomes: Publish) -> Path:
    """A dataset of thirty documents in three batches."""
    publish_outcomes(tmp_path / "out", run, outcomes[:10], outcomes[10:20], outcomes[20:])
    return tmp_path / "out"


def vacuum(out: Path) -> int:
    """Remove all snapshots but the current one, at once."""
    store = open_store(out)
    with store.lock():
        return store.forget(expired(store, 1, timedelta(0)))


def test_the_newest_snapshot_is_opened(out: Path, outcomes: list[Outcome]) -> None:
    dataset = open_dataset(out)
    assert dataset.number == 1
    kept = [outcome.origin.doc_id for outcome in outcomes if not outcome.rejection]
    assert dataset.to_pandas("clean", ["doc_id"]).doc_id.tolist() == kept
    assert dataset.to_pandas("clean", []).shape == (len(kept), 0)
    assert repr(dataset).startswith(f"<snapshot 1 of {out}, published 20")


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_those_that_the_folders_show(table: str, out: Path) -> None:
    dataset = open_dataset(str(out))
    pd.testing.assert_frame_equal(dataset.to_pandas(table), pd.read_parquet(out / table))
    assert dataset.table(table).to_table().equals(pq.read_table(out / table))
    assert [Path(p).samefile(q) for p, q in zip(dataset.paths(table), sorted((out / table).iterdir()), strict=True)]


def test_an_older_snapshot_is_opened_by_its_number(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish
) -> None:
    publish_outcomes(out, later_run, outcomes[:5])
    assert open_dataset(out).to_pandas("clean").run_id.unique() == ["run-2"]
    first = open_dataset(out, snapshot=1)
    assert (first.number, len(first.to_pandas("edits"))) == (1, 30)
    published = first.snapshots()
    assert list(published) == [1, 2]
    assert published[1] == first.published_at < published[2]


def test_what_is_not_there_is_told(out: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no snapshot 7\. It has: 1$"):
        open_dataset(out, 7)
    with pytest.raises(DatasetError, match=r"no table 'texts'\. There are: clean, edits, rejected, lines, runs"):
        open_dataset(out).paths("texts")
    for snapshot in (None, 1):
        with pytest.raises(DatasetError, match=r"holds no dataset of qingyuan\. Make one"):
            open_dataset(tmp_path / "nothing", snapshot)
    assert not (tmp_path / "nothing").exists()


def test_a_damaged_manifest_is_told_and_not_tried_again(out: Path) -> None:
    (out / "_store/manifests/000002.json").write_text("{")
    with pytest.raises(DatasetError, match=r"000002\.json can't be read"):
        open_dataset(out)
    assert open_dataset(out, 1).number == 1


def test_what_is_open_stays_whole_until_it_is_closed(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish
) -> None:
    dataset = open_dataset(out)
    publish_outcomes(out, later_run, outcomes[:5])
    assert vacuum(out) == 0
    assert open_store(out).numbers() == [1, 2]
    tables = {table: dataset.to_pandas(table) for table in TABLES}
    assert [len(tables[table]) for table in ("clean", "rejected", "edits", "runs")] == [21, 9, 30, 1]
    assert set(tables["edits"].doc_id) == {*tables["clean"].doc_id, *tables["rejected"].doc_id}
    dataset.close()
    dataset.close()
    assert vacuum(out) > 0
    assert open_store(out).numbers() == [2]
    assert list(dataset.snapshots()) == [2]


def test_two_who_read_a_snapshot_do_not_wait_for_each_other(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish
) -> None:
    one, other = open_dataset(out), open_dataset(out)
    publish_outcomes(out, later_run, outcomes[:5])
    one.close()
    vacuum(out)
    assert len(other.to_pandas("clean")) == 21


def test_what_nobody_holds_any_more_is_closed(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish
) -> None:
    assert open_dataset(out).number == 1
    with open_dataset(out) as dataset:
        assert dataset.number == 1
    gc.collect()
    publish_outcomes(out, later_run, outcomes[:5])
    vacuum(out)
    assert open_store(out).numbers() == [2]


READ = """
import sys, time
from tasks.publish import open_dataset
dataset = open_dataset(sys.argv[1])
print(dataset.number, flush=True)
time.sleep(600)
"""


def test_a_reader_that_was_killed_holds_nothing(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish
) -> None:
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", READ, out], stdout=subprocess.PIPE, text=True, cwd=root) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == "1\n"
        publish_outcomes(out, later_run, outcomes[:5])
        vacuum(out)
        assert open_store(out).numbers() == [1, 2]
        reader.kill()
    vacuum(out)
    assert open_store(out).numbers() == [2]


def test_a_snapshot_that_goes_while_it_is_opened_gives_way_to_the_newest(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = LocalStore.numbers
    stale = [[1], [1]]
    publish_outcomes(out, later_run, outcomes[:5])
    vacuum(out)
    monkeypatch.setattr(LocalStore, "numbers", lambda store: stale.pop() if stale else listed(store))
    assert open_dataset(out).number == 2


def test_a_snapshot_that_goes_between_opening_its_manifest_and_locking_it(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        publish_outcomes(out, later_run, outcomes[:5])
        vacuum(out)
        fcntl.flock(descriptor, operation)

    monkeypatch.setattr("tasks.publish.local.fcntl.flock", lock)
    before = len([*Path("/proc/self/fd").iterdir()])
    with open_dataset(out) as dataset:
        assert dataset.number == 2
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_dataset_on_a_file_system_without_locks_can_be_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("tasks.publish.local.fcntl.flock", fail)
    assert len(open_dataset(out).to_pandas("clean")) == 21


def test_a_dataset_that_cannot_be_written_can_be_read(out: Path) -> None:
    files = [path for path in (out, *out.rglob("*")) if not path.is_symlink()]
    for path in files:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(open_dataset(out).to_pandas("clean")) == 21
    finally:
        for path in files:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_what_a_snapshot_shares_with_newer_ones_is_kept_and_the_rest_freed(
    out: Path, outcomes: list[Outcome], later_run: Run, publish_outcomes: Publish
) -> None:
    publish_outcomes(out, later_run, outcomes[:5])
    vacuum(out)
    snapshot = newest(open_store(out))
    assert snapshot
    names = {path.name for path in (out / "_store/objects").iterdir()}
    assert names == {part.sha256 for part in snapshot.objects()}


def test_importing_costs_neither_pandas_nor_the_library_of_object_stores() -> None:
    code = (
        "import sys; from tasks.publish import open_dataset; print({'pandas', 'obstore', 'prefect'} & {*sys.modules})"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    assert done.stdout == "set()\n"
