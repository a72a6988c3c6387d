import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tasks.shards.processes import NAME, ProcessDiedError, StoppedError, run_isolated, stop_processes

# Worker processes import it by its name, which they can't do with a test module.
WORK = """
import ctypes, gc, os, re, signal, time
from tasks.shards.processes import CpuLimits, cpu_limit

def add(a, b, report):
    report("one", 1)
    report("two", 2)
    return a + b

def pid(report): return os.getpid()
def n_looked_through(report): return len(gc.get_objects())
def segfault(report): ctypes.string_at(0)
def kill(report): os.kill(os.getpid(), signal.SIGKILL)
def leave(report): os._exit(7)
def sleep(report): time.sleep(600)
def fail(report): raise ValueError("wrong")

class OddError(Exception):
    def __init__(self, one, two): super().__init__("odd")

def fail_oddly(report): raise OddError(1, 2)

def catastrophic_pattern(report):
    with cpu_limit(0.5):
        re.match("(a+)+$", "a" * 64 + "b")

def catastrophic_piece(report):
    limits = CpuLimits(0.5)
    for _ in range(1000):
        limits.begin()
    re.match("(a+)+$", "a" * 64 + "b")

def many_pieces(report):
    limits = CpuLimits(0.3)
    deadline = time.process_time() + 1
    while time.process_time() < deadline:
        limits.begin()
        until = time.process_time() + 0.01
        while time.process_time() < until:
            pass
    limits.end()
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass
    return "done"

def within_limit(report):
    with cpu_limit(0.2):
        pass
    time.sleep(0.1)
    deadline = time.process_time() + 0.4
    while time.process_time() < deadline:
        pass
    return "done"
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "isolated_work.py").write_text(WORK)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("isolated_work")
    sys.path.remove(str(folder))


def run(function: Any, *args: Any) -> Any:
    return run_isolated(function, *args, report=lambda *_: None)


def test_the_answer_comes_back_and_reports_come_before_it(work: Any) -> None:
    reports: list[tuple[str, int]] = []
    assert run_isolated(work.add, 1, 2, report=lambda event, n: reports.append((event, n))) == 3
    assert reports == [("one", 1), ("two", 2)]


def test_every_call_has_a_process_of_its_own(work: Any) -> None:
    assert len({run(work.pid), run(work.pid), os.getpid()}) == 3


def test_a_process_does_not_look_through_what_it_shares(work: Any) -> None:
    # Pages and parts, all that is loaded before it is forked, is some 90,000 objects that the garbage collector knows.
    # The main module is run again behind it: pytest's own brings some 10,000.
    assert run(work.n_looked_through) < 30_000


@pytest.mark.parametrize(
    ("name", "message"),
    [("segfault", "SIGSEGV"), ("kill", "SIGKILL .out of memory"), ("leave", "exit code 7")],
)
def test_a_death_is_an_error_that_says_how(work: Any, name: str, message: str) -> None:
    with pytest.raises(ProcessDiedError, match=message):
        run(getattr(work, name))


def test_processor_time_is_limited_even_within_a_regular_expression(work: Any) -> None:
    with pytest.raises(ProcessDiedError) as caught:
        run(work.catastrophic_pattern)
    assert caught.value.is_out_of_time


def test_the_limit_ends_with_its_block(work: Any) -> None:
    assert run(work.within_limit) == "done"


def test_one_of_many_pieces_is_ended_that_takes_too_long(work: Any) -> None:
    with pytest.raises(ProcessDiedError) as caught:
        run(work.catastrophic_piece)
    assert caught.value.is_out_of_time


def test_pieces_may_take_longer_together_and_what_follows_has_no_limit(work: Any) -> None:
    assert run(work.many_pieces) == "done"


def test_an_exception_comes_back_with_its_traceback(work: Any) -> None:
    with pytest.raises(ValueError, match="wrong") as caught:
        run(work.fail)
    assert "in fail" in caught.value.__notes__[0]


def test_an_exception_that_cannot_be_pickled_comes_back_as_a_plain_one(work: Any) -> None:
    with pytest.raises(RuntimeError, match="OddError: odd"):
        run(work.fail_oddly)


def test_stopping_ends_processes_and_says_so(work: Any) -> None:
    import multiprocessing

    caught: list[BaseException] = []

    def wait() -> None:
        try:
            run(work.sleep)
        except StoppedError as error:
            caught.append(error)

    thread = Thread(target=wait)
    thread.start()
    while not any(process.name == NAME for process in multiprocessing.active_children()):
        time.sleep(0.01)
    stop_processes()
    thread.join(120)
    assert len(caught) == 1


def test_processes_do_not_load_prefect() -> None:
    import subprocess

    code = "import sys, tasks.shards; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path.cwd()).returncode == 0
