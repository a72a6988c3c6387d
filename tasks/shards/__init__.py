"""Shards: batches of sources that are cleaned together, each in a process of its own.

The plan follows from the sources alone, never from the number of workers, so that the same input gives the same parts.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from schemas.document import Outcome, Reason, Rejection, Run
from tasks import corpus
from tasks.corpus import Learned, Revise, Revision
from tasks.document import clean_raw
from tasks.ingest.batches import FULL_BYTES, FULL_DOCUMENTS, write_batch
from tasks.publish.parts import Draft
from tasks.read.sources import Source
from tasks.read.text import read_text
from tasks.shards.journal import Entries, Entry, Journal, key_of, read, restricted, scan
from tasks.shards.processes import ProcessDiedError, Report, cpu_limit, run_isolated, stop_processes
from tasks.shards.progress import tell

SHARD_BYTES = FULL_BYTES
"""At least: several seconds of work, next to which Prefect's 4 ms a task and the start of a process don't count."""

SHARD_DOCUMENTS = FULL_DOCUMENTS
"""At least: one row group of the dataset."""

MAX_SHARDS = 1000
"""Past about as many tasks, Prefect's server drops records of a run (docs/adr): bigger inputs get bigger shards."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Some of the sources, in their order."""

    number: int
    sources: tuple[Source, ...]

    @property
    def uris(self) -> list[str]:
        """Of its sources."""
        return [source.uri for source in self.sources]


@dataclass(frozen=True, slots=True)
class Work:
    """What all shards of a run have in common."""

    run: Run
    folder: Path
    """For parts and for what passes hand on; cleared by the next run."""
    journals: Path
    """For finished documents (`tasks.shards.journal`)."""
    max_seconds: float
    """Of processor time, for a document in a pass."""
    n_workers: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass left of a shard."""

    number: int
    entries: tuple[Entry, ...]
    """Where its outcomes are, in their order."""
    counts: corpus.Survey


KILLS = 3
"""A process that was killed so often at the same work is not tried again."""

_TRIES = 20
"""Processes started for one document, at most."""

_PROCESSES_PER_WORKER = 2
"""One after the other: starting one takes as long as counting the lines of ten batches, and leaving one what it took in
memory."""


class Limits(NamedTuple):
    """Where a shard is full."""

    n_bytes: int
    n_documents: int


def plan_shards(sources: Iterable[Source], begin: int = 0) -> list[Shard]:
    """Pack sorted sources into shards, by bytes and by number, in order; numbered from `begin`."""
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
    return [Shard(number, tuple(batch)) for number, batch in enumerate(batches, begin)]


def _limits(sources: list[Source]) -> Limits:
    """Half the shards can be full by bytes and half by number, hence twice the mean."""
    n_bytes = 2 * sum(source.n_bytes for source in sources) // MAX_SHARDS
    return Limits(max(SHARD_BYTES, n_bytes), max(SHARD_DOCUMENTS, 2 * len(sources) // MAX_SHARDS))


def survey_shard(shard: Shard, taken: Entries, work: Work) -> Survey:
    """First pass: clean the documents of a shard in a worker process, put the outcomes by, and count what recurs.

    If the process dies, the document it was at is tried in a process of its own, and the rest goes on in a new one:
    what was finished is in the journal. A document on which its process dies, too, ends as `crashed`.

    Args:
        shard: Which documents.
        taken: Outcomes that a run before this one, or a try before this one, has put by.
        work: What all shards have in common.

    Raises:
        OSError: if something can't be written.
        ProcessDiedError: if processes die, and not on a document.
        StoppedError: if the run was stopped meanwhile.
    """
    tally = _Tally()
    deaths_at_end = 0
    while True:
        tally.begin()
        try:
            made: Survey = run_isolated(_survey_shard, shard, taken, work, report=tally.add)
        except ProcessDiedError:
            taken = restricted(scan(work.journals), shard.uris) | taken
            if tally.at < len(shard.sources):
                suspect = shard.sources[tally.at]
                taken[key_of(suspect.uri)] = _clean_alone(suspect, taken, work)
            elif (deaths_at_end := deaths_at_end + 1) == KILLS:
                raise
        else:
            return made


def write_shard(made: Survey, learned: Learned, work: Work, first_runs: Mapping[str, str]) -> Draft:
    """Second pass: revise the outcomes of a shard in a worker process and write its parts.

    If the process dies, every outcome is revised in a process of its own.

    Args:
        made: What the first pass left of the shard.
        learned: What the corpus tells about its documents.
        work: What all shards have in common.
        first_runs: The runs in which documents came first, by id, where that was before.

    Raises:
        OSError: if a part can't be written.
        StoppedError: if the run was stopped meanwhile.
    """
    given = (made, work, first_runs)
    limited = partial(_revised, learned=learned, work=work)
    try:
        draft: Draft = _again_if_killed(_without_report, _write, learned, limited, *given)
    except ProcessDiedError:
        draft = _write(learned, partial(_revised_alone, learned=learned, work=work), *given)
    return draft


def in_processes(work: Work, calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Call functions in worker processes, some in each, as many at a time as there are workers; results in order.

    Args:
        work: What all shards have in common.
        calls: A function and its arguments, each.

    Raises:
        ProcessDiedError: if a process died.
        StoppedError: if the run was stopped meanwhile.
        Exception: what a function raised.
    """
    calls = list(calls)
    size = -(-len(calls) // (work.n_workers * _PROCESSES_PER_WORKER)) or 1
    with ThreadPoolExecutor(work.n_workers) as pool:
        some = (calls[start : start + size] for start in range(0, len(calls), size))
        futures = [pool.submit(_again_if_killed, _call_all, these) for these in some]
        try:
            return [result for future in futures for result in future.result()]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_processes()
            raise


def _again_if_killed(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a worker process; if that is killed, in another one."""
    for _ in range(KILLS - 1):
        try:
            return run_isolated(function, *args, report=_nobody)
        except ProcessDiedError as death:
            if not death.is_killed:
                raise
    return run_isolated(function, *args, report=_nobody)


def _nobody(_: int) -> None:
    """Report to nobody."""


def _call_all(calls: Sequence[tuple[Any, ...]], _: Report) -> list[Any]:
    """In a worker process: call functions, one after the other."""
    return [function(*args) for function, *args in calls]


def _without_report(function: Callable[..., Any], *args: Any) -> Any:
    """In a worker process: call a function that takes no `Report`, which is the last argument."""
    return function(*args[:-1])


class _Tally:
    """Reports documents as done once, though a shard may be begun several times."""

    def __init__(self) -> None:
        self._told = 0
        self.at = 0
        """Documents done in this try."""

    def begin(self) -> None:
        self.at = 0

    def add(self, n: int) -> None:
        self.at += n
        if self.at > self._told:
            tell("cleaned", self.at - self._told)
            self._told = self.at


def _survey_shard(shard: Shard, taken: Entries, work: Work, report: Report) -> Survey:
    """In the worker process: all documents of a shard."""
    entries: list[Entry] = []

    def outcomes() -> Iterator[Outcome]:
        for source in shard.sources:
            entry, outcome = _clean(source, taken, work, journal)
            entries.append(entry)
            yield outcome
            report(1)

    with Journal(work.journals) as journal:
        counts = corpus.survey(outcomes(), shard.number, work.run.config, work.folder)
    return Survey(shard.number, tuple(entries), counts)


def _clean(source: Source, taken: Entries, work: Work, journal: Journal) -> tuple[Entry, Outcome]:
    """The outcome of a document, as it was put by if its bytes are the same, and where it is put by."""
    with cpu_limit(work.max_seconds):
        origin, raw = read_text(source, work.run.config.max_bytes)
        known = taken.get(key_of(source.uri))
        if known and origin.sha256 == known.sha256.hex() and (outcome := next(read([known]))):
            return known, outcome
        if isinstance(raw, Rejection):
            outcome = Outcome(origin, rejection=raw)
        else:
            outcome = clean_raw(origin, raw, work.run.config)
    return journal.add(outcome), outcome


def _clean_alone(source: Source, taken: Entries, work: Work) -> Entry:
    """One document in a process of its own.

    If that is killed, it gets other chances: a document that takes too much memory will do so again, and whoever went
    about killing processes may have gone. Processes that are killed before they have begun don't count.
    """
    n_kills = 0
    for _ in range(_TRIES):
        began: list[int] = []
        try:
            entry: Entry = run_isolated(_clean_one, source, taken, work, report=began.append)
        except ProcessDiedError as died:
            death = died
            n_kills += bool(began)
            if n_kills == KILLS or not death.is_killed:
                break
        else:
            return entry
    return _put_by_crash(source, death, work)


def _put_by_crash(source: Source, death: ProcessDiedError, work: Work) -> Entry:
    origin, raw = read_text(source, work.run.config.max_bytes)
    rejection = raw if isinstance(raw, Rejection) else _crash(death, work.max_seconds)
    with Journal(work.journals) as journal:
        return journal.add(Outcome(origin, rejection=rejection), lasts=False)


def _crash(death: ProcessDiedError, max_seconds: float) -> Rejection:
    why = f"more than {max_seconds:g} s of processor time" if death.is_out_of_time else str(death)
    return Rejection(Reason.CRASHED, f"On this document: {why}.")


def _clean_one(source: Source, taken: Entries, work: Work, report: Report) -> Entry:
    """In a worker process: a single document."""
    report(0)
    with Journal(work.journals) as journal:
        return _clean(source, taken, work, journal)[0]


def _write(learned: Learned, revise: Revise, made: Survey, work: Work, first_runs: Mapping[str, str]) -> Draft:
    """Parts of a shard, its outcomes revised."""
    outcomes = map(_intact, read(made.entries))
    return write_batch(corpus.revisions(outcomes, made.counts, learned, revise), work.run, first_runs, work.folder)


def _intact(outcome: Outcome | None) -> Outcome:
    if outcome is None:
        raise OSError(errno.EIO, "a journal was damaged since it was written. Run it again")
    return outcome


def _revised(outcome: Outcome, learned: Learned, work: Work) -> Revision:
    with cpu_limit(work.max_seconds):
        return corpus.revise(outcome, learned, work.run.config)


def _revised_alone(outcome: Outcome, learned: Learned, work: Work) -> Revision:
    """One outcome in a process of its own."""
    try:
        revision: Revision = run_isolated(_without_report, _revised, outcome, learned, work, report=_nobody)
    except ProcessDiedError as death:
        return Revision(replace(outcome, cleaned=None, rejection=_crash(death, work.max_seconds)))
    return revision
