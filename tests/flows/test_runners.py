"""The same flow on this machine and on clusters: real ones, of several processes that talk over TCP."""

import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from schemas.config import CleanConfig, RunConfig
from schemas.document import Run
from tasks import rules
from tasks.shards import Work, _without_report
from tasks.shards.processes import StoppedError, allow_children, is_wanted, run_isolated
from tasks.shards.runners import ExtraError, Runner, RunnerError, _missing, check_runner, trying
from tasks.verify import verify

ROOT = Path(__file__).parents[2]

RUN_COLUMNS = {"run_id", "first_run_id", "ingested_at"}

N_SHARDS, N_PAGES = 3, 8

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of one site, in shards: each shard ends with a file so large that the next one has no place beside it."""
    folder: Path = tmp_path_factory.mktemp("pages")
    chars = [chr(code) for code in range(0x4E00, 0x6E00)]
    for shard in range(N_SHARDS):
        for number in range(N_PAGES):
            dice = random.Random(f"{shard} {number % 7}")  # the last page of a shard tells the same as its first
            body = "產(chǎn)業。\n".join("".join(dice.choices(chars, k=40)) for _ in range(4))
            (folder / f"{shard}-{number}.txt").write_text(f"江畔纪事 | 风物\n{body}。\n江畔网编辑部\n")
        (folder / f"{shard}-large.bin").write_bytes(bytes(2_200_000))
    return folder


@pytest.fixture(scope="module")
def on_this_machine(prefect_server: None, pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("local") / "out"
    run(pages, out)
    return out


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A scheduler and two workers, as `dask scheduler` and `dask worker` start them, from a folder of their own."""
    folder: Path = tmp_path_factory.mktemp("dask")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = start(folder, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--dashboard-address", ":0")
    assert eventually(partial(answers, port))
    nannies = [start(folder, "worker", address, "--nthreads", "1", "--no-dashboard") for _ in range(2)]
    yield SimpleNamespace(address=address, nannies=nannies)
    for process in (*nannies, scheduler):
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert eventually(partial(all_gone, below))


def start(folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "dask", *command], cwd=folder, stdout=log, stderr=log)


def answers(port: int) -> bool:
    with socket.socket() as opened:
        return opened.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def run(pages: Path, out: Path, **settings: Any) -> None:
    """Clean the pages; all is well with what comes out."""
    from flows.clean import clean_corpus

    config = RunConfig.model_validate({"sources": [str(pages)], "out": out, **settings})
    state: Any = clean_corpus.with_options(retries=0)(config, return_state=True)
    assert state.is_completed(), state.message
    assert verify(out).problems == []


def content(out: Path) -> list[tuple[str, int, str, bytes]]:
    """Table, part, column and its bytes as they are in the file, for all columns that are not about runs."""
    found = []
    for table in ("clean", "edits", "rejected", "lines"):
        parts = sorted((out / table).iterdir(), key=lambda path: path.name.rpartition("-")[0])
        for number, part in enumerate(parts):
            metadata, raw = pq.read_metadata(part), part.read_bytes()
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            columns = [group.column(number) for group in groups for number in range(metadata.num_columns)]
            for column in columns:
                begin = column.dictionary_page_offset or column.data_page_offset
                chunk = raw[begin : begin + column.total_compressed_size]
                if column.path_in_schema not in RUN_COLUMNS:
                    found.append((table, number, column.path_in_schema, chunk))
    return found


def work_in(folder: Path) -> Work:
    from importlib.metadata import version

    config = CleanConfig()
    now = pd.Timestamp.now("UTC").to_pydatetime()
    return Work(
        Run("r", now, config, version("qingyuan"), rules.digest()), folder / "run", folder / "work" / "j", 60, 2
    )


def worker_of(nanny: "subprocess.Popen[bytes]") -> psutil.Process:
    """The process that a nanny of Dask looks after."""
    return next(p for p in psutil.Process(nanny.pid).children() if "spawn_main" in " ".join(p.cmdline()))


def eventually(look: Callable[[], Any], seconds: float = 60) -> Any:
    """What is found, at last; processes may go while they are looked at."""
    until = time.monotonic() + seconds
    found: Any = None
    while not found and time.monotonic() < until:
        time.sleep(0.02)
        with suppress(psutil.Error, StopIteration):
            found = look()
    return found


def all_gone(processes: list[psutil.Process]) -> bool:
    return not alive(processes)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


class TestDask:
    def test_two_workers_give_the_same_bytes_as_this_machine(
        self, pages: Path, on_this_machine: Path, dask: SimpleNamespace, tmp_path: Path
    ) -> None:
        run(pages, tmp_path / "out", runner="dask", address=dask.address)
        expected = content(on_this_machine)
        assert len({part for table, part, *_ in expected if table == "edits"}) == N_SHARDS
        clean = pd.read_parquet(on_this_machine / "clean")
        assert (len(clean), clean.duplicate_of.notna().sum()) == (N_SHARDS * N_PAGES, N_SHARDS)
        assert not clean.text.str.contains("江畔").all()  # learned from ten texts: no shard has so many
        assert content(tmp_path / "out") == expected

    def test_what_a_killed_worker_was_at_is_done_again(
        self, pages: Path, on_this_machine: Path, dask: SimpleNamespace, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        tries: set[Path] = set()
        done = threading.Event()

        def kill() -> list[psutil.Process]:
            """A worker while its shard has a process."""
            worker = eventually(lambda: next(w for w in map(worker_of, dask.nannies) if of_shards(w)))
            below = worker.children(recursive=True)
            worker.kill()
            while not done.wait(0.05):
                tries.update(path for path in out.glob("_store/tmp/*/*") if re.fullmatch("[0-9a-f]{32}", path.name))
            return [worker, *below]

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill)
            try:
                run(pages, out, runner="dask", address=dask.address)
            finally:
                done.set()
            assert eventually(lambda: not alive(killed.result()))
        assert len(tries) > 2 * N_SHARDS  # two passes, and one that was begun again
        assert content(out) == content(on_this_machine)


def of_shards(worker: psutil.Process) -> list[psutil.Process]:
    """Processes in which shards are at work: forked from the server that a worker of the cluster has started."""
    servers = [p for p in worker.children() if "forkserver" in " ".join(p.cmdline())]
    return [p for server in servers for p in server.children()]


class TestStopping:
    """With tasks of our own: one fails, or we are interrupted, and the others would go on for ten minutes."""

    def test_an_error_in_one_task_stops_those_that_other_processes_are_at(
        self, dask: SimpleNamespace, tmp_path: Path
    ) -> None:
        started = time.monotonic()
        with pytest.raises(ValueError, match="number 0"):
            sleep_on(partial(Runner, "dask", dask.address), work_in(tmp_path), fails=True)
        assert time.monotonic() - started < 300
        assert eventually(lambda: not any(of_shards(worker_of(nanny)) for nanny in dask.nannies))

    def test_a_cluster_that_has_no_workers_is_not_waited_for_for_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tasks.shards.runners.NO_WORKERS_SECONDS", 1)
        port = free_port()
        scheduler = start(
            tmp_path, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--dashboard-address", ":0"
        )
        try:
            assert eventually(partial(answers, port))
            with pytest.raises(RunnerError, match="no workers"):
                sleep_on(partial(Runner, "dask", f"127.0.0.1:{port}"), work_in(tmp_path), fails=False)
        finally:
            scheduler.kill()
            scheduler.wait()


def sleep_on(open_runner: Callable[[Work], Runner], work: Work, *, fails: bool) -> None:
    """A flow of two tasks that sleep in processes of their own, after the first one has failed, if it does."""
    import cloudpickle
    from prefect import flow, task

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import tests

    @task
    def sleep(number: int, work: Work) -> None:
        with trying(work):
            if number == 0 and fails:
                eventually((work.folder / "other").exists, 120)
                raise ValueError("number 0")
            (work.folder / "other").touch()
            run_isolated(_without_report, time.sleep, 600, report=lambda *_: None)

    @flow
    def sleepers() -> None:
        with open_runner(work) as runner:
            runner.each(sleep, [{"number": number, "work": work} for number in range(2)])

    sleepers()


class TestLocal:
    def test_a_process_that_is_not_wanted_any_more_is_ended(self) -> None:
        token = is_wanted.set(lambda: False)
        try:
            with pytest.raises(StoppedError):
                run_isolated(_without_report, time.sleep, 600, report=lambda *_: None)
        finally:
            is_wanted.reset(token)

    def test_tries_of_one_shard_have_folders_of_their_own(self, tmp_path: Path) -> None:
        work = work_in(tmp_path)
        work.folder.mkdir()
        with trying(work) as one, trying(work) as other:
            assert one.folder != other.folder
            assert {one.folder.parent, other.folder.parent} == {work.folder}

    @pytest.mark.parametrize("how", ["stopped", "cleared"])
    def test_nothing_is_begun_for_a_run_that_was_given_up(self, tmp_path: Path, how: str) -> None:
        work = work_in(tmp_path)
        if how == "stopped":
            work.folder.mkdir()
            (work.folder / "stopped").touch()
        with pytest.raises(StoppedError), trying(work):
            raise AssertionError

    def test_an_address_at_which_nothing_answers(self, tmp_path: Path) -> None:
        address = f"tcp://127.0.0.1:{free_port()}"
        with pytest.raises(RunnerError, match=f"no cluster answers at {address}"):
            Runner("dask", address, work_in(tmp_path))

    def test_what_is_not_installed_names_its_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        check_runner("local")
        with pytest.raises(ExtraError, match=r"\.\[ray\]"):
            check_runner("ray")

    def test_an_address_needs_a_runner_that_has_one(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="set runner to dask or ray"):
            RunConfig(sources=("x",), out=tmp_path, address="tcp://127.0.0.1:8786")

    def test_workers_find_out_what_they_lack(self, tmp_path: Path) -> None:
        from prefect.settings import get_current_settings

        url = str(get_current_settings().api.url)
        run = work_in(tmp_path).run
        expected = run.pipeline_version, run.rules_digest
        assert _missing(expected, [tmp_path], url) is None
        assert _missing((expected[0], "other rules"), [tmp_path], url) == "has another version of qingyuan"
        assert _missing(expected, [tmp_path, tmp_path / "no"], url) == f"doesn't see {tmp_path / 'no'}"
        found = _missing(expected, [tmp_path], f"http://127.0.0.1:{free_port()}/api")
        assert found
        assert "doesn't reach Prefect's server" in found

    def test_daemons_may_have_processes(self) -> None:
        """As the workers of Dask are, whatever started them."""
        import multiprocessing

        process = multiprocessing.get_context("spawn").Process(target=allowed_or_not, daemon=True)
        process.start()
        process.join()
        assert process.exitcode == 0


def allowed_or_not() -> None:
    """In a daemon: not allowed at first."""
    with pytest.raises(AssertionError, match="daemonic"):
        run_isolated(_without_report, os.getpid, report=lambda *_: None)
    allow_children()
    assert run_isolated(_without_report, os.getpid, report=lambda *_: None) != os.getpid()


class TestRay:
    def test_it_gives_the_same_bytes_as_this_machine(self, pages: Path, on_this_machine: Path, tmp_path: Path) -> None:
        pytest.importorskip("prefect_ray")
        run(pages, tmp_path / "out", runner="ray", workers=2)
        assert content(tmp_path / "out") == content(on_this_machine)
