"""The flow `clean_corpus` run from here, with Prefect's temporary server where no other is configured."""

import atexit
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

import httpx
import prefect
from prefect import State, tags
from prefect.context import refresh_global_settings_context
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import get_current_settings
from rich.console import Console

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
        server = _start_server()
        flow = _flow(config)
        if server:
            server.wait()
        with tags("qingyuan"):
            once = flow.with_options(retries=0)  # who sits before a terminal decides whether to try again
            state: State[Any] = once(config, return_state=True)
            return state
    except (httpx.HTTPError, RuntimeError) as error:
        is_ours = get_current_settings().api.url in {None, *(server.url for server in _servers)}
        advice = (
            "Is 127.0.0.1 open to this user?" if is_ours else "Start it, or unset PREFECT_API_URL for a temporary one"
        )
        raise ServerError(f"Prefect's server can't be worked with: {error}. {advice}") from error


def _flow(config: DatasetConfig) -> Any:
    """The flow for a run: with all that it needs it takes 0.3 s to load, in which the server starts."""
    from flows import clean  # noqa: PLC0415

    return clean.clean_corpus if isinstance(config, RunConfig) else clean.replay_rejected


class TemporaryServer:
    """Prefect's server in a process of its own, which ends with this one.

    What `prefect.server.api.server.SubprocessASGIServer` does, which takes 1.7 s of processor time to import: all of
    the server, once more. That it is a temporary one is told by the same variables.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        # It is given a socket, and not a port that somebody else may have taken by the time it listens: then another
        # one's server would answer.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # What is accepted has this of what listens. Asyncio would set it, but uvicorn takes the socket for a local
            # one (AF_UNIX), and answers in two parts would wait for each other.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            # What it says when it is ended in the midst of something is nothing to people who look at a run.
            self._log = tempfile.TemporaryFile()  # noqa: SIM115  as long as this
            self.process = _serve(listener.fileno(), self._log)
        with contextlib.suppress(OSError):  # no pidfd before Linux 5.3, or it has ended
            end_with_us(self.process.pid)
        atexit.register(self.stop)

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: if it ends, or takes too long.
        """
        most = get_current_settings().server.ephemeral.startup_timeout_seconds
        with httpx.Client(trust_env=False) as client:
            while not self._answers(client):
                if (code := self.process.poll()) is not None:
                    raise RuntimeError(f"the temporary server ended with code {code}. {self._last_words()}")
                if time.monotonic() - self._started > most:
                    raise RuntimeError(f"the temporary server doesn't answer after {most} s. {self._last_words()}")
                time.sleep(0.05)

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LAST_WORDS))
        return self._log.read().decode(errors="replace").strip()

    def _answers(self, client: httpx.Client) -> bool:
        try:
            return client.get(f"{self.url}/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, or does so now."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_END)
        return self.process.poll() is not None


_LAST_WORDS = 2_000
"""Bytes of what a server has said that are shown if it can't be worked with."""


def _serve(listener: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a server on the socket with that descriptor."""
    app = ["--app-dir", str(prefect.__module_path__.parent), "--factory", "prefect.server.api.server:create_app"]
    how = ["--fd", str(listener), "--log-level", "error", "--lifespan", "on"]
    told = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    env = {**os.environ, **told, **get_current_settings().to_environment_variables(exclude_unset=True)}
    command = [sys.executable, "-m", "uvicorn", *app, *how]
    # Ctrl-C reaches all processes of a terminal: a server that it ended could not be told that the run was
    # interrupted. Signals that are blocked here are blocked in what is started.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(command, env=env, pass_fds=(listener,), stdout=log, stderr=log)  # noqa: S603  ours
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


_servers: list[TemporaryServer] = []
"""The one that this process has started, if any."""


def is_server_gone() -> bool:
    """Whether a temporary server was started and has ended, or does so now.

    A signal to a whole group of processes (`timeout`, systemd) reaches it as well.
    """
    return any(server.is_gone for server in _servers)


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
    is_dead_link = bool(_servers) and message.startswith("View at ")  # a temporary server has no pages
    return not (stopped or is_dead_link or message.startswith(("Crash detected!", "Still processing items:")))


def _start_server() -> TemporaryServer | None:
    """Start a temporary server if no other is configured, and have Prefect work with it; it is to be waited for."""
    for server in [server for server in _servers if server.process.poll() is not None]:
        _servers.remove(server)
        if os.environ.get("PREFECT_API_URL") == server.url:
            _set_url(None)
    settings = get_current_settings()
    if settings.api.url is None and settings.server.ephemeral.enabled:
        server = TemporaryServer()
        _servers.append(server)
        warm_up()
        _set_url(server.url)
        return server
    return None


def _set_url(url: str | None) -> None:
    """Everywhere in this process: Prefect has threads, which would start a server of their own otherwise."""
    if url is None:
        del os.environ["PREFECT_API_URL"]
    else:
        os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


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
