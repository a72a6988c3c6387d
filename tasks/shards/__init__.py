"""Shards: batches of sources that are cleaned together, each in a process of its own.

The plan follows from the sources alone, never from the number of workers, so that the same input gives the same parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import CleanConfig, Dedup
from schemas.document import Outcome, Reason, Rejection, Run
from schemas.index import INDEX
from tasks.corpus import Learned, Revise, Revision, Survey, duplicates, revise, revisions, survey
from tasks.document import clean_document
from tasks.publish.parts import Part, write_parts
from tasks.read import Source
from tasks.read.text import read_text
from tasks.shards.processes import ProcessDiedError, Report, cpu_limit, run_isolated, stop_processes
from tasks.shards.progress import tell

SHARD_BYTES = 4 * 1000 * 1000
"""At least: several seconds of work, next to which Prefect's 4 ms a task and the start of a process don't count."""

SHARD_DOCUMENTS = 1000
"""At least: one row group of the dataset."""

MAX_SHARDS = 1000
"""Past about as many tasks, Prefect's server drops records of a run (docs/adr): bigger inputs get bigger shards."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Some of the sources, in their order."""

    number: int
    sources: tuple[Source, ...]


class Limits(NamedTuple):
    """Where a shard is full."""

    n_bytes: int
    n_documents: int


def plan_shards(sources: Iterable[Source]) -> list[Shard]:
    """Pack sorted sources into shards, by bytes and by number, in order."""
    sources = list(sources)
    limits = _limits(sources)
    batches: list[list[Source]] = []
    n_bytes = 0
    for source in sources:
        if not batches or n_bytes + source.n_bytes > limits.n_bytes or len(batches[-1]) >= limits.n_documents:
            batches.append([])
            n_bytes = 0
        batches[-1].append(source)
        n_bytes += source.n_bytes
    return [Shard(number, tuple(batch)) for number, batch in enumerate(batches)]


def _limits(sources: list[Source]) -> Limits:
    """Half the shards can be full by bytes and half by number, hence twice the mean."""
    n_bytes = 2 * sum(source.n_bytes for source in sources) // MAX_SHARDS
    return Limits(max(SHARD_BYTES, n_bytes), max(SHARD_DOCUMENTS, 2 * len(sources) // MAX_SHARDS))


def survey_shard(shard: Shard, run: Run, folder: Path, max_seconds: float) -> Survey:
    """First pass: clean the documents of a shard in a worker process, put the outcomes by, and count what recurs.

    A document on which the process dies costs its shard a second try, in which every document has a process of
    its own; it ends as `crashed`, and the others don't notice.

    Raises:
        OSError: if something can't be written.
        StoppedError: if the run was stopped meanwhile.
    """
    tally = _Tally()
    try:
        made: Survey = run_isolated(_survey_shard, shard, run, folder, max_seconds, report=tally.add)
    except ProcessDiedError:
        outcomes = (_isolated(source, run.config, max_seconds) for source in shard.sources)
        made = survey(tally.again(outcomes), shard.number, run.config, folder)
    return made


def write_shard(made: Survey, learned: Learned, run: Run, folder: Path, max_seconds: float) -> list[Part]:
    """Second pass: revise the outcomes of a shard in a worker process and write its parts.

    Processes that die are dealt with as in the first pass.

    Raises:
        OSError: if a part can't be written.
        StoppedError: if the run was stopped meanwhile.
    """
    try:
        parts: list[Part] = run_isolated(_write_shard, made, learned, run, folder, max_seconds, report=_nobody)
    except ProcessDiedError:
        parts = _write(made, learned, run, folder, partial(_revised_alone, max_seconds=max_seconds))
    return parts


def _nobody(_: int) -> None:
    """Report to nobody."""


def mark_parts(parts: Sequence[Part], dedup: Dedup, run: Run, folder: Path, n_workers: int) -> list[Part]:
    """Third pass: find documents that tell the same, and write that into the parts (`tasks.corpus.duplicates`).

    Raises:
        OSError: if something can't be read or written.
        ProcessDiedError: if a worker process died.
        StoppedError: if the run was stopped meanwhile.
    """

    def in_process(function: Callable[..., Any], *args: Any) -> Any:
        return run_isolated(_without_report, function, *args, report=_nobody)

    clean = [part for part in parts if part.table == "clean"]
    with ThreadPoolExecutor(n_workers) as pool:
        try:
            to = folder / "signatures"
            signing = [pool.submit(in_process, duplicates.sign, part.path, i, to) for i, part in enumerate(clean)]
            found = in_process(duplicates.find, [future.result() for future in signing])
            marking = {
                part.path: pool.submit(in_process, duplicates.mark, part, verdicts, dedup, run, folder)
                for part, verdicts in zip(clean, found, strict=True)
            }
            return [
                made for part in parts for made in (marking[part.path].result() if part.path in marking else [part])
            ]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_processes()
            raise


def _without_report(function: Callable[..., Any], *args: Any) -> Any:
    """In a worker process: call a function that takes no `Report`, which is the last argument."""
    return function(*args[:-1])


class _Tally:
    """Reports documents as done once, though a shard may be begun twice."""

    def __init__(self) -> None:
        self._n = 0

    def add(self, n: int) -> None:
        self._n += n
        tell("cleaned", n)

    def again(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for number, outcome in enumerate(outcomes, 1):
            yield outcome
            if number > self._n:
                self.add(1)


def _survey_shard(shard: Shard, run: Run, folder: Path, max_seconds: float, report: Report) -> Survey:
    """In the worker process: all documents of a shard."""
    return survey(_limited(shard.sources, run.config, max_seconds, report), shard.number, run.config, folder)


def _limited(sources: Iterable[Source], config: CleanConfig, max_seconds: float, report: Report) -> Iterator[Outcome]:
    for source in sources:
        with cpu_limit(max_seconds):
            outcome = clean_document(source, config)
        yield outcome
        report(1)


def _isolated(source: Source, config: CleanConfig, max_seconds: float) -> Outcome:
    """One document in a process of its own."""
    try:
        outcome: Outcome = run_isolated(_clean_one, source, config, max_seconds, report=_nobody)
    except ProcessDiedError as death:
        origin, raw = read_text(source, config.max_bytes)
        if isinstance(raw, Rejection):
            return Outcome(origin, rejection=raw)
        return Outcome(origin, rejection=_crash(death, max_seconds))
    return outcome


def _crash(death: ProcessDiedError, max_seconds: float) -> Rejection:
    why = f"more than {max_seconds:g} s of processor time" if death.is_out_of_time else str(death)
    return Rejection(Reason.CRASHED, f"On this document: {why}.")


def _clean_one(source: Source, config: CleanConfig, max_seconds: float, _: Report) -> Outcome:
    """In a worker process: a single document."""
    return next(_limited([source], config, max_seconds, _nobody))


def _write_shard(made: Survey, learned: Learned, run: Run, folder: Path, max_seconds: float, _: Report) -> list[Part]:
    """In the worker process: all outcomes of a shard."""
    return _write(made, learned, run, folder, partial(_revised, max_seconds=max_seconds))


def _write(made: Survey, learned: Learned, run: Run, folder: Path, revise: Revise) -> list[Part]:
    """Parts of a shard, its outcomes revised where there is something to say about them."""
    index: list[dict[str, Any]] = []

    def revised() -> Iterator[Outcome]:
        for revision in revisions(made, learned, run.config, revise):
            index.append(_index_row(revision))
            yield revision.outcome

    parts = write_parts(revised(), run, folder)
    path = folder / f"index-{made.number:06}"
    pq.write_table(pa.Table.from_pylist(index, INDEXED), path)
    return [*parts, Part("index", path, "", len(index), path.stat().st_size)]


INDEXED = pa.schema(
    [
        INDEX.field(name)
        for name in (
            *("doc_id", "source_uri", "record", "reason"),
            *("sites", "lines", "body", "headed", "learned", "removed_lines"),
        )
    ]
)
"""What `tasks.corpus` reads of the index."""


def _index_row(revision: Revision) -> dict[str, Any]:
    origin, rejection = revision.outcome.origin, revision.outcome.rejection
    return {
        "doc_id": origin.doc_id,
        "source_uri": origin.source_uri,
        "record": origin.record,
        "reason": rejection and str(rejection.reason),
        **revision.features._asdict(),
        "learned": revision.learned,
        "removed_lines": revision.removed_lines,
    }


def _revised(outcome: Outcome, learned: Learned, config: CleanConfig, max_seconds: float) -> Revision:
    with cpu_limit(max_seconds):
        return revise(outcome, learned, config)


def _revised_alone(outcome: Outcome, learned: Learned, config: CleanConfig, max_seconds: float) -> Revision:
    """One outcome in a process of its own."""
    try:
        revision: Revision = run_isolated(_revise_one, outcome, learned, config, max_seconds, report=_nobody)
    except ProcessDiedError as death:
        return Revision(replace(outcome, cleaned=None, rejection=_crash(death, max_seconds)))
    return revision


def _revise_one(outcome: Outcome, learned: Learned, config: CleanConfig, max_seconds: float, _: Report) -> Revision:
    """In a worker process: a single outcome."""
    return _revised(outcome, learned, config, max_seconds)
