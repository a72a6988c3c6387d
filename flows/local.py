"""The flow `clean_corpus` run from here, with Prefect's temporary server where no other is configured."""

import logging
import os
from typing import Any

import httpx
from prefect import State, tags
from prefect.context import refresh_global_settings_context
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import get_current_settings
from rich.console import Console

from flows import server as temporary
from flows.server import TemporaryServer, set_defaults
from schemas.config import DatasetConfig, RunConfig
from tasks.shards.processes import StoppedError, warm_up


class ServerError(OSError):
    """Prefect's server did not start, can't be reached, or went away."""


def run_locally(config: DatasetConfig, console: Console, level: int) -> State[Any]:
    """Run the flow, with Prefect's log of that level and above on the console; a state that holds a `Summary`.

    Raises:
        ServerError: if Prefect's server doesn't answer.
    """
    set_defaults()
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
    """The flow for a run. With all that it needs it takes a second to load, in which the server starts."""
    import matplotlib.figure  # noqa: F401, PLC0415  for the report at the end

    import tasks.report  # noqa: F401, PLC0415
    from flows import clean  # noqa: PLC0415

    return clean.clean_corpus if isinstance(config, RunConfig) else clean.replay_rejected


_servers: list[TemporaryServer] = []
"""The one that this process has started, if any."""


def is_server_gone() -> bool:
    """Whether a temporary server was started and has ended, or does so now.

    A signal to a whole group of processes (`timeout`, systemd) reaches it as well.
    """
    return any(server.is_gone for server in _servers)


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
        server = temporary.start()
        _servers.append(server)
        warm_up()
        _set_url(server.url)
        return server
    temporary.forget()
    return None


def _set_url(url: str | None) -> None:
    """Everywhere in this process: Prefect has threads, which would start a server of their own otherwise."""
    if url is None:
        del os.environ["PREFECT_API_URL"]
    else:
        os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
