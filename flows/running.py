"""A run as it is seen on the command line: how far it is, and what came of it. Prefect is imported once that shows."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flows import terminal
from flows.cli import INTERRUPTED, PUBLISHED_WITH_FAILURES, RUN_FAILED, TERMINATED, WRONG_USE
from schemas.config import DatasetConfig, RunConfig
from tasks.publish import summary as summaries
from tasks.publish.snapshots import DatasetError, NoDatasetError
from tasks.publish.store import open_store
from tasks.publish.summary import Summary
from tasks.read.addresses import hidden
from tasks.read.sources import STDIN, SourceError, expand, nothing_found
from tasks.shards.progress import Watch, watcher
from tasks.shards.runners import ExtraError, check_runner

if TYPE_CHECKING:
    from prefect import State

PLAIN_SECONDS = 10
"""Between two lines of progress, where there is no terminal."""

STOPPED = "stopped. Nothing was published: {out} is as it was."

STOPPED_LATE = "stopped, when snapshot {number} of {out} was published already."

EVENTS = {
    "waiting": "waiting for another run",
    "found": "cleaning",
    "learning": "learning",
    "writing": "writing",
    "comparing": "comparing",
    "settling": "settling",
    "publishing": "publishing",
}
"""What is going on after an event (`tasks.shards.progress`)."""


def run_in_terminal(config: DatasetConfig, *, verbose: bool) -> int:
    """Run the flow, show how far it is, and what came of it; the exit code of the command."""
    console = Console(stderr=True, highlight=False)
    signal.signal(signal.SIGTERM, _terminate)
    before = _published(config)
    if isinstance(config, RunConfig):  # Prefect keeps the parameters of a flow in its database
        config = config.model_copy(update={"sources": tuple(map(hidden, config.sources))})
    try:
        _check(config)
        with _progress(console) as watch:
            watcher.set(partial(_watch, config, before, console, watch))
            state = _run(config, console, verbose=verbose)
    except (SourceError, ExtraError) as error:
        return _fail(console, str(error), WRONG_USE)
    except BaseException as error:
        if code := _stopped_by(error):
            return _fail(console, _stopped(config, before), code)
        if isinstance(error, OSError):
            return _fail(console, str(error), RUN_FAILED)
        raise
    return _conclude(state, console)


class _TerminatedError(BaseException):
    """SIGTERM, so that everything is cleaned up on the way out."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _stopped_by(error: BaseException | None) -> int:
    """Exit code of a run that a signal stopped, whatever went wrong in consequence; 0 if none did."""
    while error:
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        if type(error).__name__ in {"TerminationSignal", _TerminatedError.__name__}:  # the first one is Prefect's
            return TERMINATED
        error = error.__context__
    return 0


def _published(config: DatasetConfig) -> int:
    """Number of the current snapshot; 0 if there is none, or it can't be told."""
    try:
        return max(open_store(config.out).numbers(), default=0)
    except (DatasetError, OSError):
        return 0


def _stopped(config: DatasetConfig, before: int) -> str:
    """What a signal has left, by the number of the snapshot that was the current one before."""
    number = _published(config)
    return (STOPPED_LATE if number > before else STOPPED).format(out=config.out, number=number)


def _watch(config: DatasetConfig, before: int, console: Console, show: Watch, event: str, n: int) -> None:  # noqa: PLR0913, PLR0917
    """Show an event; but end at once if a signal has ended Prefect's temporary server, too.

    Prefect would try to reach it for minutes.
    """
    if event != "stopped":
        show(event, n)
    elif (code := _stopped_by(sys.exception())) and _is_server_gone():
        console.show_cursor()
        os._exit(_fail(console, _stopped(config, before), code))


def _is_server_gone() -> bool:
    from flows.local import is_server_gone  # noqa: PLC0415

    return is_server_gone()


def _check(config: DatasetConfig) -> None:
    """Find what is missing at once, and not when Prefect has started."""
    check_runner(config.runner)
    if isinstance(config, RunConfig):
        _check_sources(config)


def _check_sources(config: RunConfig) -> None:
    names = [name for name in config.sources if name != STDIN]
    found = [next(expand(name, config.out), None) for name in names]
    if len(names) == len(config.sources) and not any(found):
        raise SourceError(nothing_found(names))


def _run(config: DatasetConfig, console: Console, *, verbose: bool) -> "State[Any]":
    from flows.local import run_locally  # noqa: PLC0415  Prefect takes a second to import

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
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting Prefect", total=None, count="")
        sums = _Sums()

        def watch(event: str, n: int) -> None:
            sums.add(event, n)
            count = f"{sums.documents:,} documents"
            progress.update(
                task, description=EVENTS.get(event), completed=sums.done, total=sums.total or None, count=count
            )

        yield watch


class _Sums:
    """How far a pass is: by bytes while documents are cleaned, by documents while they are written."""

    def __init__(self) -> None:
        self.done = self.total = self.documents = 0

    def add(self, event: str, n: int) -> None:
        if event == "writing":
            self.done, self.total, self.documents = 0, n, 0
        self.total += n if event == "found" else 0
        self.done += n if event in {"read", "written"} else 0
        self.documents += n if event in {"cleaned", "written"} else 0


class _Lines:
    """Progress as lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sums = _Sums()
        self._doing = ""
        self._last = time.monotonic()

    def watch(self, event: str, n: int) -> None:
        sums = self._sums
        sums.add(event, n)
        self._doing = EVENTS.get(event, self._doing)
        if event == "found" and not sums.total:
            return
        if event in EVENTS or time.monotonic() - self._last > PLAIN_SECONDS:
            self._last = time.monotonic()
            share = f" ({min(sums.done / sums.total, 1):.0%})" if sums.total else ""
            counted = f" {sums.documents:,} documents{share}" if sums.total else ""
            self._console.print(f"{self._doing}{counted}")


def _conclude(state: "State[Any]", console: Console) -> int:
    """Print what came of the run."""
    result: Any = state.result(raise_on_failure=False)
    if not isinstance(result, Summary):
        code = WRONG_USE if isinstance(result, SourceError | NoDatasetError) else RUN_FAILED
        return _fail(console, "\n".join([str(result), *getattr(result, "__notes__", [])]), code)
    output = Console(highlight=False)
    output.print(f"[bold]{result.sentence}[/bold]", soft_wrap=True)
    terminal.two_columns(output, [*summaries.rows(result), *summaries.openings(result)])
    return PUBLISHED_WITH_FAILURES if result.n_failures else 0


def _fail(console: Console, message: str, code: int) -> int:
    console.print(f"[red]Error:[/red] {escape(terminal.printable(message))}", soft_wrap=True)
    return code
