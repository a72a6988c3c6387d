"""Runs of the flow for benchmarks/faults.py, with what goes wrong in them; and readers beside them.

    python -m benchmarks.faults_run runs                # a request a line on stdin, see `Request`; answers on stdout
    python -m benchmarks.faults_run readers OUT LOG     # reads a dataset in a loop, with one tool after the other

A run here is the command `clean` with all of its processes, but for Prefect: no server is started, and tasks are called
as functions. So a run takes a second and not ten, and hundreds can be killed. It is forked from a process that has
all loaded, and so is its server of processes; it is the first of a process group of its own, and has small shards, so
that a small corpus has some.

`POINTS` are places in a run, as Python's audit events tell them, and those of calls that have none.
"""

import ctypes
import json
import logging
import os
import re
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

POINTS = {
    "lock opened": r"open \S*/_store/lock ",
    "lock taken": r"ftruncate 1 ",
    "probe": r"open \S*/tmp/probe-",
    "tmp being cleared": r"shutil.rmtree \S*_store/tmp ",
    "journal made": r"open \S*/work/\S*/journal-",
    "before a journal entry": r"journal before ",
    "half a journal entry": r"journal half ",
    "after a journal entry": r"journal after ",
    "part written": r"os.rename \S*\.writing ",
    "part synced": r"fsync \S*\.writing ",
    "part to object": r"os.rename \S* \S*/objects/",
    "objects synced": r"fsync \S*/_store/objects ",
    "manifest begun": r"open \S*/tmp/manifest-",
    "manifest synced": r"fsync \S*/tmp/manifest-",
    "before the commit": r"os.link \S* \S*/manifests/",
    "manifests synced": r"fsync \S*/manifests ",
    "after the commit": r"os.remove \S*/tmp/manifest-",
    "view begun": r"os.mkdir \S*/tmp/view-",
    "view linked": r"os.link \S*/objects/\S* \S*/view-",
    "view synced": r"fsync \S*/view-",
    "before an exchange": r"exchange before ",
    "after an exchange": r"exchange after ",
    "old manifest removed": r"os.remove \S*/manifests/",
    "old object removed": r"os.remove \S*/objects/",
    "parts cleared": r"shutil.rmtree \S*/tmp/[0-9a-f]{32} ",
    "journals cleared": r"shutil.rmtree \S*/_store/work ",
    "lock given back": r"ftruncate 2 ",
}
"""What is told of a call, in words and a space after each, up to where its line is this."""

SEEDS = Path(__file__).parents[1] / "seeds"

_PR_SET_NAME = 15
"""linux/prctl.h."""

SMALL = 40
"""Documents of a shard, and of a full batch."""


class Request(TypedDict, total=False):
    """A run to be made."""

    config: dict[str, Any]
    """`schemas.config.RunConfig`."""
    log: str
    """File for what the command prints."""
    stats: str
    """File for what was there to be cleaned, and what was taken up."""
    point: tuple[str, int, str, str] | None
    """Where it is killed: one of `POINTS`, which time (from 1), `self` or `group`, and a file that is made first: it is
    not killed again if that is there."""
    go: str
    """File that it waits for before it starts, once it is there as a process."""
    clock: float
    """Seconds that its clock is wrong."""
    keep_seconds: float
    """As long as this, a snapshot stays after it was the current one (`tasks.publish.KEEP_TIME`)."""


def arm(point: str, which: int, whom: str, mark: str) -> None:
    """Have this process, or its group, killed when it comes to a point."""
    pattern = re.compile(POINTS[point])
    passed = threading.Lock()
    left = [which]

    def tell(event: str, args: Sequence[Any] = ()) -> None:
        if event not in {"open", "journal", "fsync", "exchange", "ftruncate"} and not event.startswith(
            ("os.", "shutil.")
        ):
            return
        if event == "open" and _is_reading(args):
            return
        if pattern.match(" ".join([event, *map(str, args), ""])):
            with passed:
                left[0] -= 1
            if left[0] == 0 and _is_first(mark):
                (os.kill if whom == "self" else os.killpg)(
                    os.getpid() if whom == "self" else os.getpgid(0), signal.SIGKILL
                )

    sys.addaudithook(tell)
    _wrap_journal(tell)
    _wrap_calls(tell)


def _is_first(mark: str) -> bool:
    """Whether no other process of the run came first."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def _is_reading(args: Sequence[Any]) -> bool:
    mode = args[1]
    return "r" in mode if isinstance(mode, str) else not args[2] & (os.O_WRONLY | os.O_RDWR)


def _wrap_journal(tell: Callable[..., None]) -> None:
    from tasks.shards.journal import Journal  # noqa: PLC0415

    add = Journal.add

    def told(self: Any, outcome: Any) -> Any:
        tell("journal", ("before",))
        entry = add(self, outcome)
        whole = self._file.tell()
        os.ftruncate(self._file.fileno(), (entry.offset + whole) // 2)  # as a kill in the middle of the write leaves it
        tell("journal", ("half",))
        os.ftruncate(self._file.fileno(), entry.offset)
        self._file.seek(entry.offset)
        entry = add(self, outcome)
        tell("journal", ("after",))
        return entry

    Journal.add = told  # type: ignore[method-assign, assignment]


def _wrap_calls(tell: Callable[..., None]) -> None:
    from tasks.publish import local  # noqa: PLC0415

    fsync, ftruncate, exchange = os.fsync, os.ftruncate, local._renameat2  # noqa: SLF001
    n_locks = [0]

    def told_fsync(fd: Any) -> None:
        tell("fsync", (Path(f"/proc/self/fd/{fd}").readlink(),))
        fsync(fd)

    def told_ftruncate(descriptor: Any, length: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "lock":
            n_locks[0] += 1
            tell("ftruncate", (n_locks[0],))
        ftruncate(descriptor, length)

    def told_exchange(one: Path, other: Path) -> bool:
        is_view = "view-" in str(one)
        if is_view:
            tell("exchange", ("before",))
        done = exchange(one, other)
        if is_view:
            tell("exchange", ("after",))
        return done

    os.fsync, os.ftruncate, local._renameat2 = told_fsync, told_ftruncate, told_exchange  # noqa: SLF001


# Runs


def serve_runs() -> None:
    """Make the runs that are asked for, one at a time."""
    import flows.clean  # noqa: PLC0415  all of these are loaded once for all
    import flows.local  # noqa: PLC0415
    import flows.running  # noqa: F401, PLC0415

    _load_tables()
    for line in sys.stdin:
        request: Request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(request))
        print(json.dumps({"pid": child}), flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


def _load_tables() -> None:
    """Clean some documents, so that rule tables are loaded, which every worker process would do otherwise."""
    from schemas.config import CleanConfig  # noqa: PLC0415
    from tasks.document import clean_source  # noqa: PLC0415
    from tasks.read.sources import source_at  # noqa: PLC0415

    for path in sorted(SEEDS.iterdir()):
        if source := source_at(path.as_uri()):
            list(clean_source(source, CleanConfig()))


def _run(request: Request) -> int:
    """In the fork: a run as the command line makes it; its exit code."""
    os.setpgid(0, 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    while (go := request.get("go")) and not Path(go).exists():
        time.sleep(0.01)
    import traceback  # noqa: PLC0415
    from multiprocessing import util  # noqa: PLC0415

    try:
        _make_small(request.get("keep_seconds", 3600))
        _set_clock(request.get("clock", 0))
        _note_work(Path(request["stats"]))
        if point := request.get("point"):
            arm(*point)
        _fork_server()
        return _clean(request["config"])
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 99
    finally:
        util._exit_function()  # type: ignore[attr-defined]  # noqa: SLF001  ends worker processes, as at any exit
        sys.stdout.flush()
        sys.stderr.flush()


def _fork_server() -> None:
    """Start the server of processes as a fork, which has all loaded: as a new process it would load for seconds."""
    from multiprocessing import util  # noqa: PLC0415

    from tasks.shards.processes import warm_up  # noqa: PLC0415

    start = util.spawnv_passfds
    util.spawnv_passfds = _fork_instead  # type: ignore[assignment]
    warm_up()
    util.spawnv_passfds = start


def _fork_instead(_path: str, args: Sequence[str], passed: Sequence[int]) -> int:
    """In place of `multiprocessing.util.spawnv_passfds`."""
    child = os.fork()
    if child:
        return child
    name = b"forkserver" if "forkserver" in args[-1] else b"tracker"
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)
    begin = 3
    for descriptor in [*sorted(passed), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    try:
        exec(args[-1], {})
    finally:
        os._exit(0)


def _clean(config: dict[str, Any]) -> int:
    from flows import clean, local, running  # noqa: PLC0415
    from schemas.config import RunConfig  # noqa: PLC0415
    from tasks.shards import clean_shard, runners  # noqa: PLC0415

    plain: Any = lambda: logging.getLogger("faults")  # noqa: E731
    changes: list[tuple[Any, str, Any]] = [
        (clean, "get_run_logger", plain),
        (clean, "report", lambda summary, *_: summary),
        (clean_shard, "get_run_logger", plain),
        (clean_shard, "settle_dataset", clean_shard.settle_dataset.fn),
        (runners.Runner, "each", _each),
        (local, "run_locally", _run_plainly),
    ]
    for module, name, value in changes:
        setattr(module, name, value)
    return running.run_in_terminal(RunConfig.model_validate(config), verbose=True)


def _run_plainly(config: Any, *_: object) -> Any:
    """In place of Prefect: the flow as a function."""
    from prefect.states import Failed  # noqa: PLC0415

    from flows.clean import clean_corpus  # noqa: PLC0415

    try:
        return clean_corpus.fn(config)
    except Exception as error:  # noqa: BLE001  as Prefect does
        return Failed(message=str(error), data=error)


def _each(runner: Any, what: Any, given: Sequence[dict[str, Any]], *_: object, **__: object) -> list[Any]:
    """In place of Prefect's task runner."""
    from concurrent.futures import ThreadPoolExecutor, wait  # noqa: PLC0415

    from tasks.shards.processes import stop_processes  # noqa: PLC0415

    with ThreadPoolExecutor(runner._work.n_workers) as pool:  # noqa: SLF001
        futures = [pool.submit(what.fn, **parameters) for parameters in given]
        try:
            return [future.result() for future in futures]
        except BaseException:
            waiting = {future for future in futures if not future.cancel()}
            while waiting:
                stop_processes()
                waiting = wait(waiting, 0.1).not_done
            raise


def _make_small(keep_seconds: float) -> None:
    from tasks import publish, shards  # noqa: PLC0415
    from tasks.ingest import batches  # noqa: PLC0415

    batches.FULL_DOCUMENTS = SMALL
    shards.FULL = shards.FULL._replace(n_documents=SMALL)
    publish.expired.__defaults__ = (publish.KEEP_SNAPSHOTS, timedelta(seconds=keep_seconds))


def _set_clock(seconds: float) -> None:
    """Have the run take another moment for now."""
    if not seconds:
        return
    from flows import clean  # noqa: PLC0415
    from tasks import publish  # noqa: PLC0415
    from tasks.publish import local  # noqa: PLC0415

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    clean.datetime = publish.datetime = local.datetime = Wrong  # type: ignore[attr-defined]


def _note_work(stats: Path) -> None:
    """Note how many documents were to be cleaned, how many of them were finished before, and how many are put by."""
    import flows.clean  # noqa: PLC0415
    from tasks.shards.journal import Taken, index_journals, read  # noqa: PLC0415

    clean: Any = flows.clean
    clean_sources = clean.clean_sources

    def noted(plan: Any, last: Any, store: Any, work: Any, *args: Any, **more: Any) -> Any:
        there = {path: path.stat().st_size for path in work.journals.glob("journal-*")}
        taken = Taken(index_journals(work.journals, work.folder))
        origins = list(_to_clean(plan, work))
        entries = [entry for origin in origins if (entry := taken.find(origin))]
        finished = sum(outcome is not None for outcome in read(entries))
        done = clean_sources(plan, last, store, work, *args, **more)
        new = sum(_n_entries(path) for path in work.journals.glob("journal-*") if path not in there)
        found = {"to_clean": len(origins), "finished": finished, "cleaned": new, "relearned": len(plan.relearned)}
        stats.write_text(json.dumps(found))
        return done

    clean.clean_sources = noted


def _to_clean(plan: Any, work: Any) -> Iterator[Any]:
    """What the first pass will find to clean: origins of documents."""
    from tasks.ingest.before import Before, Fate  # noqa: PLC0415
    from tasks.ingest.plan import split_sources  # noqa: PLC0415
    from tasks.read import read_span  # noqa: PLC0415
    from tasks.read.records import Document  # noqa: PLC0415

    work.folder.mkdir(parents=True, exist_ok=True)
    for sources, picked in ((plan.to_read, None), (plan.to_pick, plan.picked)):
        spans = list(split_sources(sources))
        (known,) = plan.before([spans], work.folder, picked)
        before = Before(known)
        items = (item for span in spans for item in read_span(span, work.run.config))
        documents = (item.origin for item in items if isinstance(item, Document))
        yield from (origin for origin in documents if before.fate(origin) is Fate.CLEAN)


def _n_entries(path: Path) -> int:
    from tasks.shards.journal import _index  # noqa: PLC0415

    return len(_index(path, 0)[0])


# Readers


def read_on(out: Path, log: Path) -> None:
    """Read the table `clean` in a loop, and write down what was seen: a line of JSON a read."""
    import duckdb  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    folder, columns = out / "clean", ["doc_id", "text_sha256"]
    query = f"SELECT doc_id, text_sha256 FROM '{folder}/*.parquet'"
    tools: dict[str, Callable[[], Any]] = {
        "pyarrow": lambda: pq.read_table(folder, columns=columns).to_pandas(),
        "pandas": lambda: pd.read_parquet(folder, columns=columns),
        "duckdb": lambda: duckdb.execute(query).df(),
        "polars": lambda: pl.read_parquet(f"{folder}/*.parquet", columns=columns).to_pandas(),
        "manifest": lambda: _read_by_manifest(out, columns),
    }
    with log.open("a", buffering=1) as file:
        while os.getppid() != 1:
            for tool, read in tools.items():
                file.write(json.dumps(_seen(tool, read)) + "\n")
                time.sleep(0.1)


def _read_by_manifest(out: Path, columns: list[str]) -> Any:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from tasks.publish.store import current, open_store  # noqa: PLC0415

    store = open_store(out)
    parts = current(store).tables["clean"]
    return pa.concat_tables(pq.read_table(store.path(part), columns=columns) for part in parts).to_pandas()


def _seen(tool: str, read: Callable[[], Any]) -> dict[str, Any]:
    try:
        rows = read()
    except Exception as error:  # noqa: BLE001  each tool has its own
        return {"tool": tool, "gone" if has_gone(error) else "error": f"{type(error).__name__}: {error}"[:300]}
    return {"tool": tool, "digest": digest(zip(rows["doc_id"], rows["text_sha256"], strict=True)), "rows": len(rows)}


def has_gone(error: Exception) -> bool:
    """Whether a reader says that files had gone which it had listed in a folder: what it may meet there.

    If all of them have, pyarrow finds a table without columns, Polars a folder without files, and Hugging Face no data.
    """
    words = r"No such file|No files found|cannot find|os error 2|not found"
    words += r"|No match for FieldRef\.Name|expanded paths were empty|At least one valid data file"
    return isinstance(error, FileNotFoundError) or re.search(words, str(error)) is not None


def digest(rows: Any) -> str:
    """Names rows, whatever their order, each as often as it is there."""
    import hashlib  # noqa: PLC0415

    return hashlib.sha256(json.dumps(sorted(map(list, rows))).encode()).hexdigest()[:16]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["runs"]:
            serve_runs()
        case ["readers", out, log]:
            read_on(Path(out), Path(log))
        case _:
            runpy.run_module("pydoc")
