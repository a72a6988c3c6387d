"""Work in a process of its own, so that what kills it (memory, a crash in a compiled library) kills nothing else.

Processes are forked from a server that has the pipeline loaded, has cleaned a page, and has no threads
(multiprocessing's `forkserver`): a start takes milliseconds, and nothing is inherited from the threads of the one who
asks. Prefect is not loaded in them.
"""

import ctypes
import multiprocessing
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

Report = Callable[[str, int], None]
"""Takes what was done since it was last called, and how often."""

NAME = "qingyuan-worker"

_SERVER_DIED = 255
"""Exit code in place of one that nobody knows, since the server has died (multiprocessing.popen_forkserver)."""

_STARTS = 5
"""Tries to start a process: each may meet a server that has just been killed."""

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h."""

is_wanted: ContextVar[Callable[[], bool]] = ContextVar("is_wanted", default=lambda: True)
"""Asked each second by `run_isolated`, which ends its process if the answer is no. A worker of a cluster can't be told
to `stop_processes`: others may use it as well."""

_CONTEXT = multiprocessing.get_context("forkserver")


class ProcessDiedError(RuntimeError):
    """A process ended without an answer."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode
        super().__init__(f"the worker process {_how(exitcode)}")

    @property
    def is_killed(self) -> bool:
        """Whether somebody may have killed it, or the server of processes, and it need not have been its own doing."""
        return self.exitcode in {-signal.SIGKILL, _SERVER_DIED}

    @property
    def is_out_of_time(self) -> bool:
        """Whether `cpu_limit` ended it."""
        return self.exitcode == -signal.SIGPROF


class StoppedError(RuntimeError):
    """A process was ended by `stop_processes`: the run is being given up."""


def _how(exitcode: int) -> str:
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
    return f"was killed by {name}{' (out of memory, most likely)' if name == 'SIGKILL' else ''}"


def run_isolated(function: Callable[..., Any], *args: Any, report: Report) -> Any:
    """Call `function(*args, report)` in a process of its own and return what it returns.

    Raises:
        ProcessDiedError: if the process ended without an answer.
        StoppedError: if `stop_processes` ended it, or it was not wanted any more.
        Exception: whatever the function raised, with its traceback as a note.
    """
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _start(sender, function, args)
    sender.close()
    try:
        return _answer(receiver, report, process)
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGTERM:
            raise StoppedError("the run was stopped") from None
        raise ProcessDiedError(process.exitcode or 0) from None
    finally:
        receiver.close()
        process.join()


def _start(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> BaseProcess:
    for tries_left in reversed(range(_STARTS)):
        warm_up()
        process = _CONTEXT.Process(target=_serve, args=(sender, function, args), name=NAME, daemon=True)
        try:
            process.start()
        except (EOFError, ConnectionError):
            if not tries_left:
                raise
        else:
            return process
    raise AssertionError("unreachable")


def warm_up() -> None:
    """Start the server of processes, if it isn't there, without waiting for it."""
    _CONTEXT.set_forkserver_preload(_preloaded())
    forkserver.ensure_running()


def allow_children() -> None:
    """Have this process start others, even where it was started as a daemon, as the workers of Dask are.

    All that being one means is that it may have no children, lest they outlive it; ours don't (`_end_with_parent`).
    """
    multiprocessing.current_process().daemon = False


def stop_processes() -> None:
    """End all processes that work for this one; `run_isolated` raises StoppedError where one was waited for."""
    for process in multiprocessing.active_children():
        if process.name == NAME:
            process.terminate()


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Kill this process if what is inside takes more processor time than that.

    The signal keeps its default action, so that a regular expression that never returns to Python is ended as well.
    Processor time and not wall time: a busy machine must not change what comes out.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class CpuLimits:
    """`cpu_limit` for one piece of work after the other, of which most take less time than setting an alarm costs.

    One alarm does for all that begin while it has as much left as is allowed, so a piece may take up to a tenth more.

    Args:
        seconds: Of processor time, for each piece.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    def begin(self) -> None:
        """The next piece begins."""
        now = time.monotonic()  # asked in no time; all threads take no more than that on all processors
        if now >= self._until:
            signal.setitimer(signal.ITIMER_PROF, self._seconds * (1 + _MORE))
            self._until = now + self._seconds * _MORE / (os.cpu_count() or 1)

    def end(self) -> None:
        """The last one has ended."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._until = 0.0


_MORE = 0.1


def _preloaded() -> list[str]:
    """What the server has loaded before it forks.

    Multiprocessing runs the main module again in every process. That of a served run, `prefect.engine`, imports 2 s of
    Prefect, that of the command line 0.15 s; once the server has those parts loaded it costs nothing.
    """
    of_main = ["flows.cli"] if "flows.cli" in sys.modules else []
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    is_served = spec is not None and spec.name.startswith("prefect.")
    # `pyarrow.parquet.read_table` loads both, in each process: 0.17 s.
    of_parquet = ["pyarrow.dataset", "pandas"]
    of_served = ["prefect.exceptions", "prefect.logging.loggers"] if is_served else []
    # The last one freezes all that is there for the garbage collector.
    return ["tasks.shards", *of_parquet, *of_main, *of_served, "tasks.shards.warm"]


def _answer(receiver: Connection, report: Report, process: BaseProcess) -> Any:
    asked = time.monotonic()
    while True:
        if time.monotonic() - asked > 1:
            asked = time.monotonic()
            if not is_wanted.get()():
                process.terminate()
        if not receiver.poll(1):
            continue
        kind, value = receiver.recv()
        if kind == "report":
            report(*value)
        elif kind == "error":
            raise value
        else:
            return value


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent, the server, which ends with the run, however that is.

    Otherwise a worker of a run that was killed would go on, and write beside the next one.
    """
    # The server ends when the run has let go of a pipe, of which it hands one end to every worker, too.
    alive = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]  # noqa: SLF001
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # it is Linux's
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _serve(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        message = ("answer", function(*args, _reporter(sender)))
    except Exception as error:  # noqa: BLE001
        message = ("error", _portable(error))
    sender.send(message)


def _reporter(sender: Connection) -> Report:
    def report(event: str, n: int) -> None:
        end_if_alone()
        sender.send(("report", (event, n)))

    return report


def end_if_alone() -> None:
    """In a worker process: end at once if nobody waits for its answer any more. Takes 1 µs."""
    if _has_parent_ended()():
        os._exit(1)


@cache
def _has_parent_ended() -> Callable[[], bool]:
    """What `ParentProcess.is_alive` asks, which makes and closes a selector each time: 30 µs."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return lambda: False
    watched = select.poll()
    watched.register(parent.sentinel, select.POLLIN)
    return lambda: bool(watched.poll(0))


def _portable(error: Exception) -> Exception:
    """The exception with its traceback as a note, or a plain one in its place where it can't be pickled."""
    text = "".join(traceback.format_exception(error))
    error.add_note(text)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001
        return RuntimeError(text)
    return error
