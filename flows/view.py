"""The browser for a dataset, served: its address, its browser, its end."""

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import click
import uvicorn

from flows.cli import TERMINATED
from tasks.publish.snapshots import DatasetError
from tasks.view.app import View, application

HOST = "127.0.0.1"

_OPENING = """<!doctype html><meta charset="utf-8"><title>qingyuan</title>
<meta http-equiv="refresh" content="0; url={url}"><p><a href="{url}">Go on</a></p>"""

_END_SECONDS = 2
"""For requests that are being answered when it ends: a page that reads a large file."""


def serve_view(out: str | Path, port: int, *, opens_browser: bool) -> None:
    """Serve the pages of a dataset on this machine, until Ctrl-C.

    Raises:
        DatasetError: if there is no dataset, or it can't be read.
        OSError: if the port is taken.
    """
    token = secrets.token_urlsafe(32)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that all is cleaned up on the way out
    with _listening(port) as listener, contextlib.closing(View(out, token)) as view:
        port = listener.getsockname()[1]
        url = f"http://{HOST}:{port}/?{urlencode({'token': token})}"
        server = uvicorn.Server(
            uvicorn.Config(
                application(view, port),
                log_level="warning",
                access_log=False,  # addresses have the token
                server_header=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=_END_SECONDS,
            )
        )
        click.echo(f"Snapshot {view.catalogue.number} of {view.catalogue.store.name}, until Ctrl-C:\n\n    {url}\n")
        opening = _opened(url) if opens_browser and _has_browser() else contextlib.nullcontext()
        # Once it has ended it sends itself the signal again that ended it.
        with opening, contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    click.echo("Ended.")


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket of this machine alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(64)
        except OSError as error:
            raise DatasetError(
                f"port {port} of {HOST} can't be had ({error.strerror}). Give another one with --port, or none"
            ) from error
        yield listener


def _has_browser() -> bool:
    """Whether there is a screen to open it on: in a terminal it would be in the way."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


@contextlib.contextmanager
def _opened(url: str) -> Iterator[None]:
    """Have the browser open a file that leads there: all users of the machine see the arguments of a process."""
    descriptor, name = tempfile.mkstemp(prefix="qingyuan-", suffix=".html")
    path = Path(name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_OPENING.format(url=url))
    threading.Thread(target=webbrowser.open, args=(path.as_uri(),), daemon=True).start()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
