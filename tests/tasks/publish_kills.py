"""Kills a process at every step of publishing, and says what was left each time: in a line of JSON a kill.

Run as a program by test_publish.py. A kill is a SIGKILL just before the n-th call to the operating system that opens,
writes, links, renames or removes something (Python's audit events, and those that have none: fsync, renameat2).
Everything happens in forks, so that the libraries are imported once; this process itself never calls them.

The second argument is `exchange`, or `fallback` for a system without renameat2, where only renames are of interest.
"""

import importlib.util
import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.acero  # these, or every fork loads them
import pyarrow.dataset
import pyarrow.parquet as pq
import rensa  # noqa: F401

from schemas.dataset import clean_row
from tasks.publish import local as module
from tasks.publish.store import open_store
from tasks.verify import verify

EVENTS = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}

spec = importlib.util.spec_from_file_location("conftest", Path(__file__).parents[1] / "conftest.py")
assert spec
assert spec.loader
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)


def publish_run(out: Path, number: int) -> None:
    """A run of ten documents more than the one before."""
    conftest.publish_outcomes(out, conftest.make_run(number), [conftest.kept(n) for n in range(10 * number)])


def kill_before(n: int, *, exchange: bool) -> None:
    """Have this process killed at its n-th call from now on."""
    calls = itertools.count(1)

    def count(event: str = "", args: tuple[Any, ...] = ()) -> None:
        if event in EVENTS and not (event == "open" and _is_reading(args)) and next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            count("os.link")
            return function(*args)

        return call

    if exchange:
        os.fsync = counted(os.fsync)
        module._renameat2 = counted(module._renameat2)
    else:
        EVENTS.intersection_update({"os.rename"})
        module._renameat2 = lambda *_: False
    sys.addaudithook(count)


def _is_reading(args: tuple[Any, ...]) -> bool:
    """Opening for reading changes nothing: a kill there is the same as one at the next call that does."""
    mode = args[1]
    return "r" in mode if isinstance(mode, str) else not args[2] & (os.O_WRONLY | os.O_RDWR)


def look(out: Path) -> dict[str, Any]:
    """What readers see in each table: the number of documents or runs."""
    seen: dict[str, Any] = {}
    for table in ("clean", "edits", "rejected", "runs"):
        try:
            seen[table] = pq.read_table(out / table).num_rows
        except (OSError, pa.ArrowException) as error:
            seen[table] = repr(error)
    return seen


def forked(function: Any, *args: Any) -> tuple[int, Any]:
    """Exit status and result of a function, called in a fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, json.dumps(function(*args)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    return os.waitstatus_to_exitcode(status), json.loads(content) if content else None


def killed_run(out: Path, n: int, exchange: bool) -> None:
    kill_before(n, exchange=exchange)
    publish_run(out, 2)


def aftermath(out: Path, go_on: bool) -> dict[str, Any]:
    """What readers see, what recovery makes of it, and whether the next run is as if nothing had been."""
    seen = look(out)
    store = open_store(out)
    with store.lock():
        store.prepare()
    used = {part.sha256 for number in store.numbers() for part in store.snapshot(number).objects()}
    left = [path.name for path in (out / "_store" / "tmp").iterdir() if not path.name.startswith("view-")]
    recovered = {
        "seen": look(out),
        "problems": verify(out).problems,
        "left": left + [path.name for path in (out / "_store" / "objects").iterdir() if path.name not in used],
    }
    if not go_on:
        return {"seen": seen, "recovered": recovered}
    publish_run(out, 3)
    return {"seen": seen, "recovered": recovered, "again": {"seen": look(out), "problems": verify(out).problems}}


def main(folder: Path, exchange: bool) -> None:
    clean_row(conftest.kept(0), conftest.make_run(1))  # loads tables
    module.GRACE = 0
    forked(publish_run, folder / "first", 1)
    for n in itertools.count(1):
        out = shutil.copytree(folder / "first", folder / str(n), copy_function=os.link)
        status, _ = forked(killed_run, out, n, exchange)
        _, after = forked(aftermath, out, not exchange or n % 8 == 0)
        sys.stdout.write(json.dumps({"n": n, "status": status, "after": after}) + "\n")
        if status != -signal.SIGKILL:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "exchange")
