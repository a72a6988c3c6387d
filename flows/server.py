"""Prefect's temporary server: a process of its own, which ends with the one that has started it.

It is started before Prefect is loaded here, which takes a second and tells whether it is wanted. So nothing of Prefect
is imported but where it is needed. `python -m flows.server` is that process.
"""

import atexit
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

SETTINGS = {
    "server.ephemeral.startup_timeout_seconds": 120,  # four runs started at once took longer than the default of 20
    "server.services.task_run_recorder.batch_size": 100,  # or the temporary server loses records of tasks at its end
    "server.analytics_enabled": False,
}
"""Settings of Prefect for runs from here (measured: docs/adr). Those that the user has made anywhere go before."""

SECONDS_TO_END = 2
"""What the temporary server takes to end if the signal that stopped the run has reached it, at most."""

_LAST_WORDS = 2_000
"""Bytes of what a server has said that are shown if it can't be worked with."""

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
        import httpx  # noqa: PLC0415  all of these are there with Prefect
        from prefect.settings import get_current_settings  # noqa: PLC0415

        most = get_current_settings().server.ephemeral.startup_timeout_seconds
        with httpx.Client(trust_env=False) as client:
            while not _answers(client, self.url):
                if (code := self.process.poll()) is not None:
                    raise RuntimeError(f"the temporary server ended with code {code}. {self._last_words()}")
                if time.monotonic() - self._started > most:
                    raise RuntimeError(f"the temporary server doesn't answer after {most} s. {self._last_words()}")
                time.sleep(0.05)

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LAST_WORDS))
        return self._log.read().decode(errors="replace").strip()

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


_ahead: list[TemporaryServer] = []
"""One that was started before anybody knew whether it is wanted."""


def start_ahead() -> None:
    """Start a server before Prefect is loaded, if nothing in the environment says that there is another one."""
    if "PREFECT_API_URL" not in os.environ and not _ahead:
        with contextlib.suppress(OSError):  # the next try, when it is wanted, says what is wrong
            _ahead.append(TemporaryServer())


def start() -> TemporaryServer:
    """A server that is starting: the one that was started ahead, if there is one."""
    return _ahead.pop() if _ahead else TemporaryServer()


def forget() -> None:
    """End the one that was started ahead: it isn't wanted."""
    while _ahead:
        _ahead.pop().stop()


def set_defaults() -> None:
    """Make `SETTINGS` where neither environment, nor a profile, nor a prefect.toml say anything."""
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415
    from prefect.settings import get_current_settings  # noqa: PLC0415

    for name, value in SETTINGS.items():
        *parents, last = name.split(".")
        model: Any = get_current_settings()
        for parent in parents:
            model = getattr(model, parent)
        if last not in model.model_fields_set:
            os.environ["PREFECT_" + name.upper().replace(".", "_")] = str(value)
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


def _answers(client: Any, url: str) -> bool:
    import httpx  # noqa: PLC0415

    try:
        return bool(client.get(f"{url}/health").status_code == httpx.codes.OK)
    except httpx.TransportError:
        return False


def _serve(listener: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a server on the socket with that descriptor."""
    told = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    # This package, and not one of that name in the folder where the command was given.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, **told, "PYTHONPATH": path}
    command = [sys.executable, "-P", "-m", __name__, str(listener)]
    # Ctrl-C reaches all processes of a terminal: a server that it ended could not be told that the run was
    # interrupted. Signals that are blocked here are blocked in what is started.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(command, env=env, pass_fds=(listener,), stdout=log, stderr=log)  # noqa: S603  ours
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def main() -> None:
    """In the server's process: serve on the socket with the descriptor that is given, if no other server is set."""
    gc.disable()  # it would look through what is loaded again and again: a sixth of the time
    set_defaults()
    from prefect.settings import get_current_settings  # noqa: PLC0415

    if get_current_settings().api.url is not None:
        return
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from uvicorn import Config, Server  # noqa: PLC0415

    server = Server(Config(create_app(), log_level="error", lifespan="on"))
    gc.freeze()
    gc.enable()
    server.run([socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
