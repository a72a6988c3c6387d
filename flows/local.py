"""The flow `clean_corpus` run from here, with Prefect's temporary server where no other is configured."""

import atexit
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any

import httpx
from prefect import State, tags
from prefect.context import refresh_global_settings_context
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings
from rich.console import Console

from flows.clean import clean_corpus, replay_rejected
from schemas.config import DatasetConfig, RunConfig
from tasks.shards.processes import StoppedError, warm_up

SETTINGS = {
    "server.ephemeral.startup_timeout_seconds": 120,  # four runs started at once took longer than the default of 20
    "server.services.task_run_recorder.batch_size": 100,  # or the temporary server loses records of tasks at its end
    "server.analytics_enabled": False,
}
"""Settings of Prefect for runs from here (measured: docs/adr). Those that the user has made anywhere go before."""


SECONDS_TO_END = 2
"""What the temporary server takes to end if the signal that stopped the run has reached it, at most."""


_WAITER = """
import os, signal, sys
if os.read(int(sys.argv[1]), 1):
    sys.exit()
try:
    signal.pidfd_send_signal(int(sys.argv[2]), signal.SIGTERM)
except ProcessLookupError:
    pass
"""
"""Waits for the end of the first descriptor, then ends the process that the second one holds; a byte dismisses it."""


class ServerError(OSError):
    """Prefect's server did not start, can't be reached, or went away."""


def run_locally(config: DatasetConfig, console: Console, level: int) -> State[Any]:
    """Run the flow, with Prefect's log of that level and above on the console; a state that holds a `Summary`.

    Raises:
        ServerError: if Prefect's server doesn't answer.
    """
    _set_defaults()
    _share_console(console, level)
    try:
        _start_server()
        with tags("qingyuan"):
            flow: Any = clean_corpus if isinstance(config, RunConfig) else replay_rejected
            once = flow.with_options(retries=0)  # who sits before a terminal decides whether to try again
            state: State[Any] = once(config, return_state=True)
            return state
    except (httpx.HTTPError, RuntimeError) as error:
        url = get_current_settings().api.url
        advice = "Start it, or unset PREFECT_API_URL for a temporary one" if url else "Is 127.0.0.1 open to this user?"
        raise ServerError(f"Prefect's server can't be worked with: {error}. {advice}") from error


def is_server_gone() -> bool:
    """Whether the temporary server was started and has ended, or does so now.

    A signal to a whole group of processes (`timeout`, systemd) reaches it as well.
    """
    process = SubprocessASGIServer().server_process
    if process is None:
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_END)
    return process.poll() is not None


def _set_defaults() -> None:
    """Make `SETTINGS` where neither environment, nor a profile, nor a prefect.toml say anything."""
    for name, value in SETTINGS.items():
        *parents, last = name.split(".")
        model: Any = get_current_settings()
        for parent in parents:
            model = getattr(model, parent)
        if last not in model.model_fields_set:
            os.environ["PREFECT_" + name.upper().replace(".", "_")] = str(value)
    refresh_global_settings_context()


def _share_console(console: Console, level: int) -> None:
    """Have Prefect log to the console of the progress bar, which would be garbled otherwise."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.console = console
            handler.setLevel(level)
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record says more than that the run was stopped, which the user knows."""
    error = record.exc_info[1] if record.exc_info else None
    message = record.getMessage()
    stopped = isinstance(error, StoppedError) or StoppedError.__name__ in message
    return not stopped and not message.startswith(("Crash detected!", "Still processing items:"))


def _start_server() -> None:
    """Start Prefect's temporary server, if no other is configured, where Ctrl-C does not reach it.

    Else it would end before the run could report to it that it was interrupted. Signals that a thread blocks
    are blocked in what it starts.
    """
    settings = get_current_settings()
    if settings.api.url is None and settings.server.ephemeral.enabled:
        started: Future[None] = Future()
        threading.Thread(target=_start_without_interrupts, args=(started,), daemon=True).start()
        warm_up()
        started.result()


def _start_without_interrupts(started: Future[None]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_tie_server, args=(started,), daemon=True).start()
    try:
        SubprocessASGIServer().start()
    except Exception as error:  # noqa: BLE001  whatever it is belongs to the one who waits
        started.set_exception(error)
    else:
        started.set_result(None)


def _tie_server(started: "Future[None]") -> None:
    """Tie the temporary server to this process as soon as there is one; it is another one if its port was taken."""
    server, tied, last = SubprocessASGIServer(), None, False
    while not last:
        last = started.done()
        if (process := server.server_process) is not tied and process:
            tied = process
            with contextlib.suppress(OSError):  # no pidfd before Linux 5.3, or it has ended
                end_with_us(process.pid)
        time.sleep(0.05)


def end_with_us(child: int) -> None:
    """End a child of ours when we have ended, however that was (`kill -9`): otherwise it would stay for ever.

    A small process waits for the end of a pipe of which only we hold the other side; the kernel closes it with us. The
    child is held by a descriptor and not by its number, which another process may have by then.

    Raises:
        OSError: if there is no such process, or the kernel has no `pidfd_open`.
    """
    handle = os.pidfd_open(child)
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", _WAITER, str(reading), str(handle)]
    waiter = subprocess.Popen(command, pass_fds=(reading, handle), start_new_session=True)  # noqa: S603  ours
    os.close(reading)
    os.close(handle)
    atexit.register(_release, waiter, writing)


def _release(waiter: "subprocess.Popen[bytes]", writing: int) -> None:
    """At an end in order the server is stopped by Prefect."""
    with contextlib.suppress(OSError):
        os.write(writing, b"x")
    waiter.wait()
