"""Libraries see the current snapshot by the paths that the README gives, and nothing else, at any moment."""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from benchmarks.faults_run import has_gone
from schemas.document import Outcome, Run
from tasks.publish import expired, local, open_dataset
from tasks.publish.store import open_store

Rows = list[tuple[str, str]]
"""Of `doc_id` and `run_id`, or of `doc_id` and `reason`."""

Reader = Callable[[str | list[str], list[str]], Rows]
"""Reads two columns of a table, given as a folder or as a list of files."""

Fixture = Callable[..., Any]

SWAPS = 8
"""That every reader sees, at least."""


class Versions(NamedTuple):
    """A dataset, and what each of its snapshots has in `clean`."""

    out: Path
    rows: dict[int, Rows]


def read_pandas(place: str | list[str], columns: list[str]) -> Rows:
    return tuples(pd.read_parquet(place, columns=columns))  # type: ignore[arg-type]  # lists do as well


def read_arrow(place: str | list[str], columns: list[str]) -> Rows:
    return tuples(ds.dataset(place, format="parquet").to_table(columns=columns).to_pandas())


def read_duckdb(place: str | list[str], columns: list[str]) -> Rows:
    files = [f"{place}/*.parquet"] if isinstance(place, str) else place
    with duckdb.connect() as connection:  # of its own: the shared one is not for threads
        return connection.execute(f"select {', '.join(columns)} from read_parquet(?)", [files]).fetchall()


def read_polars(place: str | list[str], columns: list[str]) -> Rows:
    return list(pl.scan_parquet(place).select(columns).collect().iter_rows())


def read_hugging_face(place: str | list[str], columns: list[str]) -> Rows:
    import datasets

    files = f"{place}/*.parquet" if isinstance(place, str) else place
    rows = datasets.load_dataset("parquet", data_files=files, split="train", columns=columns, streaming=True)
    return [(row[columns[0]], row[columns[1]]) for row in rows]


def read_spark(place: str | list[str], columns: list[str]) -> Rows:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    files = [place] if isinstance(place, str) else place
    return [(row[0], row[1]) for row in spark.read.parquet(*files).select(*columns).collect()]


def tuples(frame: pd.DataFrame) -> Rows:
    return list(frame.itertuples(index=False, name=None))


READERS: dict[str, Reader] = {
    "pandas": read_pandas,
    "pyarrow": read_arrow,
    "duckdb": read_duckdb,
    "polars": read_polars,
    "hugging_face": read_hugging_face,
}


@pytest.fixture(scope="session", autouse=True)
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Its settings are read when it is imported: no network, no cache outside of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging-face")))
        import datasets

        datasets.disable_progress_bars()
        yield


@pytest.fixture(scope="session")
def spark() -> Iterator[None]:
    sql = pytest.importorskip("pyspark.sql")
    if not shutil.which("java"):
        pytest.skip("Spark needs Java")
    session = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    yield
    session.stop()


@pytest.fixture(params=["exchange", "symlink"], autouse=True)
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to swap a view: the second one is for file systems that can't exchange folders."""
    if request.param == "symlink":
        monkeypatch.setattr(local, "_renameat2", lambda *_: False)


@pytest.fixture
def versions(
    tmp_path: Path, make_kept: Callable[[int], Outcome], run: Run, later_run: Run, publish_outcomes: Fixture
) -> Versions:
    """Two versions with several parts each, of which none is in both."""
    documents = [make_kept(n) for n in range(18)]
    out = tmp_path / "out"
    publish_outcomes(out, run, *(documents[n : n + 3] for n in range(0, 18, 3)))
    publish_outcomes(out, later_run, *(documents[n : n + 4] for n in range(0, 16, 4)))
    both = ((run, documents), (later_run, documents[:16]))
    return Versions(out, {i: [(o.origin.doc_id, r.run_id) for o in some] for i, (r, some) in enumerate(both, 1)})


def check(versions: Versions, number: int, reader: Reader) -> None:
    expected = sorted(versions.rows[number])
    with open_dataset(versions.out) as dataset:
        assert sorted(reader(str(versions.out / "clean"), ["doc_id", "run_id"])) == expected
        assert sorted(reader(dataset.paths("clean"), ["doc_id", "run_id"])) == expected
        if reader is not read_hugging_face or dataset.table("rejected").count_rows():
            for place in (str(versions.out / "rejected"), dataset.paths("rejected")):
                assert reader(place, ["doc_id", "reason"]) == []


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_readers_see_the_current_snapshot(reader: Reader, versions: Versions, run: Run, restore: Fixture) -> None:
    check(versions, 2, reader)
    restore(versions.out, 1, run)
    check(versions, 1, reader)


@pytest.mark.usefixtures("spark")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_spark_sees_the_current_snapshot(versions: Versions, run: Run, restore: Fixture) -> None:
    check(versions, 2, read_spark)
    restore(versions.out, 1, run)
    check(versions, 1, read_spark)


def test_a_folder_of_files_is_a_hugging_face_dataset(versions: Versions) -> None:
    import datasets

    loaded = datasets.load_dataset(str(versions.out / "clean"), split="train")
    assert sorted(zip(loaded["doc_id"], loaded["run_id"], strict=True)) == sorted(versions.rows[2])


class Publisher(threading.Thread):
    """Publishes run after run, and removes all older snapshots at once, until it is stopped.

    No two runs have a part in common: that is what the promise is about (docs/adr/0001).
    """

    def __init__(self, out: Path, run: Run, documents: list[Outcome], publish_outcomes: Fixture) -> None:
        super().__init__()
        self.rows: list[Rows] = []
        self.error: Exception | None = None
        self._given = out, run, documents, publish_outcomes
        self._stopped = threading.Event()

    def publish(self) -> None:
        """Two documents and three, in turn, with a part for each."""
        out, run, documents, publish_outcomes = self._given
        number = len(self.rows)
        some = documents[: 2 + number % 2]
        self.rows.append([(o.origin.doc_id, f"run-{number}") for o in some])
        publish_outcomes(out, replace(run, run_id=f"run-{number}"), *([o] for o in some))
        store = open_store(out)
        with store.lock():
            store.forget(expired(store, 2, timedelta(0)))

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self.publish()
        except Exception as error:  # noqa: BLE001  told by `stop`
            self.error = error

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        if self.error:
            raise self.error


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_no_reader_sees_a_mixture_while_versions_are_swapped(
    reader: Reader, tmp_path: Path, make_kept: Callable[[int], Outcome], run: Run, publish_outcomes: Fixture
) -> None:
    """By the folder it may find that files have gone; by a snapshot that it has opened, never."""
    out = tmp_path / "out"
    publisher = Publisher(out, run, [make_kept(n) for n in range(3)], publish_outcomes)
    publisher.publish()
    by_folder: list[Rows] = []
    by_snapshot: list[Rows] = []
    publisher.start()
    try:
        while publisher.is_alive() and (len(publisher.rows) < SWAPS or len(by_snapshot) < SWAPS or not by_folder):
            try:
                by_folder.append(reader(str(out / "clean"), ["doc_id", "run_id"]))
            except Exception as error:
                if not has_gone(error):
                    raise
            with open_dataset(out) as dataset:
                by_snapshot.append(reader(dataset.paths("clean"), ["doc_id", "run_id"]))
    finally:
        publisher.stop()
    whole = [sorted(rows) for rows in publisher.rows]
    assert [rows for rows in by_folder + by_snapshot if sorted(rows) not in whole] == []
