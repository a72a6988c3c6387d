"""A run as it is seen on the command line: how far it is, and what came of it. Prefect is imported once that shows."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flows import terminal
from flows.cli import INTERRUPTED, PUBLISHED_WITH_FAILURES, RUN_FAILED, TERMINATED, WRONG_USE
from schemas.config import RunConfig
from tasks import summary as summaries
from tasks.progress import Watch, watcher
from tasks.read import STDIN, SourceError, expand, nothing_found
from tasks.summary import Summary

if TYPE_CHECKING:
    from prefect import State

PLAIN_SECONDS = 10
"""Between two lines of progress, where there is no terminal."""

EVENTS = {"found": "cleaning", "publishing": "publishing"}
"""What is going on after an event (`tasks.progress`)."""


def run_in_terminal(config: RunConfig, *, verbose: bool) -> int:
    """Run the flow, show how far it is, and what came of it; the exit code of the command."""
    console = Console(stderr=True, highlight=False)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _check_sources(config)
        with _progress(console) as watch:
            watcher.set(watch)
            state = _run(config, console, verbose=verbose)
    except SourceError as error:
        return _fail(console, str(error), WRONG_USE)
    except (KeyboardInterrupt, _Terminated) as how:
        code = TERMINATED if isinstance(how, _Terminated) else INTERRUPTED
        return _fail(console, f"stopped. Nothing was published: {config.out} is as it was.", code)
    return _conclude(state, console)


class _Terminated(BaseException):
    """SIGTERM, so that everything is cleaned up on the way out."""


def _terminate(*_: object) -> None:
    raise _Terminated


def _check_sources(config: RunConfig) -> None:
    """Find what is missing at once, and not when Prefect has started."""
    names = [name for name in config.sources if name != STDIN]
    found = [next(expand(name, config.out), None) for name in names]
    if len(names) == len(config.sources) and not any(found):
        raise SourceError(nothing_found(names))


def _run(config: RunConfig, console: Console, *, verbose: bool) -> "State[Summary]":
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reads it when it is imported, which takes 2 s
    from flows.local import run_locally  # noqa: PLC0415

    return run_locally(config, console, logging.NOTSET if verbose else logging.WARNING)


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Watch]:
    """A bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _Lines(console).watch
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting Prefect", total=None)

        def watch(event: str, n: int) -> None:
            progress.update(task, description=EVENTS.get(event), total=n if event == "found" else None)
            progress.advance(task, n if event == "cleaned" else 0)

        yield watch


class _Lines:
    """Progress as lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = self._total = 0
        self._last = time.monotonic()

    def watch(self, event: str, n: int) -> None:
        self._total += n if event == "found" else 0
        self._done += n if event == "cleaned" else 0
        if event in EVENTS or time.monotonic() - self._last > PLAIN_SECONDS:
            self._last = time.monotonic()
            self._console.print(f"{EVENTS.get(event, 'cleaned')} {self._done:,} of {self._total:,} documents")


def _conclude(state: "State[Summary]", console: Console) -> int:
    """Print what came of the run."""
    result: Any = state.result(raise_on_failure=False)
    if not isinstance(result, Summary):
        code = WRONG_USE if isinstance(result, SourceError) else RUN_FAILED
        return _fail(console, "\n".join([str(result), *getattr(result, "__notes__", [])]), code)
    output = Console(highlight=False)
    output.print(terminal.table(summaries.rows(result), result.sentence))
    output.print(terminal.table(summaries.openings(result), "To open it"))
    return PUBLISHED_WITH_FAILURES if result.n_failures else 0


def _fail(console: Console, message: str, code: int) -> int:
    console.print(f"[red]Error:[/red] {escape(terminal.printable(message))}", soft_wrap=True)
    return code
