"""This project: a whole run, from files to a published snapshot, with the full edit log.

    python -m benchmarks.peers.project CORPUS OUT [WORKERS | shares]

The flow runs as it does from the command line, in its worker processes, but for Prefect: no server is started, and
tasks are called as functions (what Prefect takes is told apart, `benchmarks/speed.py`). The server of processes has
started, and has cleaned a page, when the clock starts.

With `shares` all is done in this process, and the time of each part is told: `PLACES`, and every one of the steps.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.meter import arguments, tell

PLACES: dict[str, tuple[str, ...]] = {
    "plan, publish": ("flows.clean:clean_corpus.fn",),
    "read": ("tasks.shards:read_span",),
    "decode": ("tasks.document:decode",),
    "judge": ("tasks.document:judge_input", "tasks.document:judge_output"),
    "HTML": ("tasks.document:is_html", "tasks.document:read_page", "tasks.document:with_facts"),
    "passes, edits": ("tasks.document:clean",),
    "journal": ("tasks.shards:Journal.add", "tasks.shards:read"),
    "lines": ("tasks.corpus:survey", "tasks.corpus:learn", "tasks.corpus:revise", "tasks.corpus:told"),
    "rows": ("tasks.ingest.batches:_Maker.tables",),
    "log": ("schemas.dataset:pack",),
    "Parquet": tuple(f"tasks.ingest.batches:PartWriter.{name}" for name in ("table", "write", "finish")),
    "duplicates": ("tasks.ingest.batches:_sign", "tasks.shards.clean_shard:settle_dataset"),
}
"""Parts of a run, and where each is called: `module:name`. What one calls of another counts for that other."""

REPAIR = ("invisible", "mojibake", "shift", "glosses", "symbols")
"""Steps that repair (docs/design.md)."""


def clean(corpus: Path, out: Path, workers: int) -> None:
    """One run; it has to succeed.

    Raises:
        RuntimeError: if it failed.
    """
    from flows.clean import clean_corpus  # noqa: PLC0415
    from schemas.config import RunConfig  # noqa: PLC0415

    config = RunConfig(sources=(str(corpus / "documents"),), out=out, workers=workers)
    state = clean_corpus.fn(config)
    if state.is_failed():
        raise RuntimeError(state.message)


def without_prefect() -> None:
    """Have tasks called as functions, and nothing reported to anyone."""
    from flows import clean as flow  # noqa: PLC0415
    from tasks.shards import clean_shard, runners  # noqa: PLC0415

    plain: Any = lambda: logging.getLogger("speed")  # noqa: E731
    changes: list[tuple[Any, str, Any]] = [
        (flow, "get_run_logger", plain),
        (flow, "report", lambda summary, *_: summary),
        (clean_shard, "get_run_logger", plain),
        (clean_shard, "settle_dataset", clean_shard.settle_dataset.fn),
        (runners.Runner, "each", _each),
    ]
    for place, name, value in changes:
        setattr(place, name, value)


def _each(runner: Any, what: Any, given: Sequence[dict[str, Any]], *_: object, **__: object) -> list[Any]:
    """In place of Prefect's task runner: as many at a time as there are workers."""
    with ThreadPoolExecutor(runner._work.n_workers) as pool:  # noqa: SLF001
        return list(pool.map(lambda parameters: what.fn(**parameters), given))


# Shares


class Clock:
    """Processor time by part, without what a part spends in others."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    def enter(self, part: str) -> None:
        """From now on it is this part."""
        self._switch()
        self._running.append(part)

    def leave(self) -> None:
        """From now on it is again the part from which the last one was entered."""
        self._switch()
        self._running.pop()

    def _switch(self) -> None:
        now = time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed; and if it gives an iterator, that as well."""

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            self.enter(part)
            try:
                result = function(*args, **named)
            finally:
                self.leave()
            return self._iterate(part, result) if isinstance(result, Iterator) else result

        return call

    def _iterate(self, part: str, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            self.enter(part)
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.leave()
            yield item


def watch(clock: Clock) -> None:
    """Put the clock about all parts and steps.

    Raises:
        AttributeError: if a place is no longer there: `PLACES` has to follow.
    """
    from tasks.steps import STEPS  # noqa: PLC0415

    for part, places in PLACES.items():
        for place in places:
            holder, name = _found(place)
            setattr(holder, name, clock.timed(part, getattr(holder, name)))
    for name, step in STEPS.items():
        STEPS[name] = clock.timed(name, _at_once(step))


def _at_once(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step whose findings are a list: cheaper to time than one by one, and `clean` makes a list of them anyway."""

    @wraps(step)
    def find(*args: Any) -> Any:
        found = step(*args)
        return list(found) if isinstance(found, Iterator) else found

    return find


def _found(place: str) -> tuple[Any, str]:
    """Where a name is looked up when it is called."""
    module, _, path = place.partition(":")
    *holders, name = path.split(".")
    holder: Any = import_module(module)
    for one in holders:
        holder = getattr(holder, one)
    getattr(holder, name)
    return holder, name


def shares(corpus: Path, out: Path) -> dict[str, float]:
    """Seconds of each part of a run over a corpus, all of it in this process."""
    from tasks import shards  # noqa: PLC0415

    def here(function: Callable[..., Any], *args: Any, report: Any) -> Any:
        return function(*args, report)

    setattr(shards, "run_isolated", here)  # noqa: B010  it is no name of that module's own
    clean(corpus.with_name("warm"), out.with_name(f"{out.name}-warm"), 1)
    clock = Clock()
    watch(clock)
    clean(corpus, out, 1)
    return dict(clock.seconds)


def main() -> None:
    """Measure. A corpus of one document, named `warm`, stands beside the one that is measured."""
    corpus, out, rest = arguments()
    without_prefect()
    if rest == ["shares"]:
        print(json.dumps(shares(corpus, out)))
        return
    workers = int(rest[0]) if rest else 1
    clean(corpus.with_name("warm"), out.with_name(f"{out.name}-warm"), workers)
    tell(lambda number: clean(corpus, out.with_name(f"{out.name}-{number}"), workers))


if __name__ == "__main__":
    main()
