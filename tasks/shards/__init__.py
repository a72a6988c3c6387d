"""Shards: pieces of sources that are cleaned together, each shard in a process of its own.

The plan follows from the sources alone, never from the number of workers, so that the same input gives the same parts.
"""

import errno
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from schemas.document import Origin, Outcome, Reason, Rejection, Run
from tasks import corpus
from tasks.corpus import Learned, Revise, Revision
from tasks.document import clean_document
from tasks.ingest.batches import FULL_BYTES, FULL_DOCUMENTS, write_batch
from tasks.ingest.before import Before, Fate
from tasks.publish.parts import Draft
from tasks.read import PIECES, piece_bytes, read_span
from tasks.read.records import Document, Item, Place, Skipped, Span, rejected
from tasks.shards.journal import Entry, Journal, Taken, index_journals, read
from tasks.shards.processes import (
    CpuLimits,
    ProcessDiedError,
    Report,
    cpu_limit,
    end_if_alone,
    run_isolated,
    stop_processes,
)
from tasks.shards.progress import tell

SHARD_BYTES = FULL_BYTES
"""Seconds of work, next to which Prefect's task and the start of a process count little. Small inputs are spread over
smaller shards (`tasks.read.piece_bytes`), whose parts are joined when they are written anew; large ones get larger."""

SHARD_DOCUMENTS = FULL_DOCUMENTS
"""One row group of the dataset."""

_LEAST_DOCUMENTS = 250
"""Of a shard of a small input, as `tasks.read.piece_bytes` has for bytes."""

BATCH_FACTOR = 10
"""A batch may have so many times the documents of a shard, if it is of containers with short ones: each batch is one
more of Prefect's tasks, and four files. By bytes alone one of very short lines would take too much memory."""

MAX_SHARDS = 1000
"""Past about as many tasks, Prefect's server drops records of a run (docs/adr): bigger inputs get bigger shards."""


class Limits(NamedTuple):
    """Where a shard is full, and a batch."""

    n_bytes: int
    n_documents: int


FULL = Limits(SHARD_BYTES, SHARD_DOCUMENTS)


@dataclass(frozen=True, slots=True)
class Shard:
    """Some pieces of the sources, in their order."""

    number: int
    spans: tuple[Span, ...]
    full: Limits = FULL
    """A container may hold more: then its documents become several batches (`BATCH_FACTOR`)."""


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
    """What the first pass left of the documents that will be a batch."""

    number: int
    """Sorts batches by the order of their documents."""
    entries: Path
    """Where their outcomes are, in their order, and in which runs they came first (`_Put`)."""
    counts: corpus.Survey
    n_documents: int = 0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What the first pass left of a shard."""

    surveys: tuple[Survey, ...]
    stayed: Path
    """Ids of documents that are what they were, 16 bytes each."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that are no documents, by kind."""
    unread: tuple[str, ...] = ()
    """URIs of sources that could not be opened."""
    done: Mapping[str, int] = field(default_factory=dict)
    """Documents and bytes that were read, as `tasks.shards.progress` tells them."""


class _Put(NamedTuple):
    """Where an outcome was put by."""

    entry: Entry
    doc_id: str
    first_run_id: str
    """Empty where that is this run."""


class _GaveUp(NamedTuple):
    """The reader died on a document before it had it."""

    span: int
    """Which of the shard: nothing more is read of it."""
    rejection: Rejection


_Alone = Mapping[int, Entry | _GaveUp | None]
"""What became of documents that were tried in processes of their own, by their places in the shard; None if there is no
such document: then processes die on something else."""

KILLS = 3
"""A process that was killed so often at the same work is not tried again."""

_TRIES = 20
"""Processes started for one document, at most."""

_PROCESSES_PER_WORKER = 2
"""One after the other: starting one takes as long as counting the lines of ten batches, and leaving one what it took in
memory."""


def plan_shards(spans: Iterable[Span], begin: int = 0) -> list[Shard]:
    """Pack sorted pieces into shards, by bytes and by number, in order; numbered from `begin`."""
    spans = list(spans)
    most = _limits(spans)
    full = Limits(*map(max, FULL, most))
    batches: list[list[Span]] = []
    n_bytes = 0
    for span in spans:
        if not batches or n_bytes + span.n_bytes > most.n_bytes or len(batches[-1]) >= most.n_documents:
            batches.append([])
            n_bytes = 0
        batches[-1].append(span)
        n_bytes += span.n_bytes
    return [Shard(number, tuple(batch), full) for number, batch in enumerate(batches, begin)]


def _limits(spans: list[Span]) -> Limits:
    """Of a shard. Half the shards can be full by bytes and half by number, hence twice the mean for large inputs."""
    n_bytes, n_documents = sum(span.n_bytes for span in spans), len(spans)
    some = min(max(n_documents // PIECES, _LEAST_DOCUMENTS), FULL.n_documents)
    return Limits(max(piece_bytes(n_bytes), 2 * n_bytes // MAX_SHARDS), max(some, 2 * n_documents // MAX_SHARDS))


def survey_shard(shard: Shard, before: Path | None, taken: Path | None, work: Work) -> Surveyed:
    """First pass: clean the documents of a shard in a worker process, put the outcomes by, and count what recurs.

    If the process dies, a new one goes on, and tells each document that it is at: what was finished is in the journal.
    If that dies as well, the document is tried in a process of its own, and the rest goes on in a new one. A document
    on which its process dies, too, ends as `crashed`.

    Args:
        shard: Which documents.
        before: What the last snapshot has of them (`tasks.ingest.before`).
        taken: Outcomes that a run before this one has put by (`tasks.shards.journal.Taken`).
        work: What all shards have in common.

    Raises:
        OSError: if something can't be written.
        ProcessDiedError: if processes die, and not on a document.
        StoppedError: if the run was stopped meanwhile.
    """
    tally = _Tally()
    alone: dict[int, Entry | _GaveUp | None] = {}
    n_deaths = 0
    survey = _survey_in_peace
    while True:
        tally.begin()
        try:
            made: Surveyed = run_isolated(survey, shard, before, taken, alone, work, report=tally.add)
        except ProcessDiedError:
            if survey is _survey_in_peace:  # it didn't tell what it was at: what it had finished is not done again
                survey, taken = _survey_shard, index_journals(work.journals, work.folder)
                continue
            if tally.at in alone and (n_deaths := n_deaths + 1) == KILLS:
                raise
            taken = index_journals(work.journals, work.folder)
            if tally.at not in alone:
                alone[tally.at] = _clean_alone(shard, tally.at, taken, alone, work)
        else:
            return replace(made, done=tally.done)


def ids_of(made: Survey) -> list[str]:
    """The documents that will be a batch.

    Raises:
        OSError: if what was put by of them can't be read.
    """
    return [put.doc_id for put in _puts(made)]


def write_shard(made: Survey, learned: Learned, work: Work) -> Draft:
    """Second pass: revise the outcomes of a batch in a worker process and write its parts.

    If the process dies, every outcome is revised in a process of its own.

    Args:
        made: What the first pass left of them.
        learned: What the corpus tells about its documents.
        work: What all shards have in common.

    Raises:
        OSError: if a part can't be written.
        StoppedError: if the run was stopped meanwhile.
    """
    limited = partial(_revised, learned=learned, work=work)
    try:
        draft: Draft = _again_if_killed(_without_report, _write, learned, limited, made, work)
    except ProcessDiedError:
        draft = _write(learned, partial(_revised_alone, learned=learned, work=work), made, work)
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


def _nobody(*_: object) -> None:
    """Report to nobody."""


def _call_all(calls: Sequence[tuple[Any, ...]], _: Report) -> list[Any]:
    """In a worker process: call functions, one after the other."""
    return [function(*args) for function, *args in calls]


def _without_report(function: Callable[..., Any], *args: Any) -> Any:
    """In a worker process: call a function that takes no `Report`, which is the last argument."""
    return function(*args[:-1])


class _Tally:
    """Reports what is done once, though a shard may be begun several times."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    @property
    def at(self) -> int:
        """Documents done in this try."""
        return self._now["cleaned"]

    @property
    def done(self) -> dict[str, int]:
        """What was told."""
        return {event: self._told[event] for event in ("read", "cleaned")}

    def begin(self) -> None:
        self._now.clear()

    def add(self, event: str, n: int) -> None:
        self._now[event] += n
        if (more := self._now[event] - self._told[event]) > 0:
            tell(event, more)
            self._told[event] += more


_OFTEN = 0.1
"""Seconds between reports: each takes the worker 50 µs and the driver 100, and a short document is cleaned in 500."""


def _survey_in_peace(  # noqa: PLR0913, PLR0917
    shard: Shard, before: Path | None, taken: Path | None, alone: _Alone, work: Work, report: Report
) -> Surveyed:
    """In the worker process: `_survey_shard`, with reports of many documents at a time."""
    counted: Counter[str] = Counter()
    told = time.monotonic()

    def tell_all() -> None:
        for event, n in counted.items():
            report(event, n)
        counted.clear()

    def add(event: str, n: int) -> None:
        nonlocal told
        end_if_alone()
        counted[event] += n
        if (now := time.monotonic()) - told > _OFTEN:
            told = now
            tell_all()

    made = _survey_shard(shard, before, taken, alone, work, add)
    tell_all()
    return made


def _survey_shard(  # noqa: PLR0913, PLR0917
    shard: Shard, before: Path | None, taken: Path | None, alone: _Alone, work: Work, report: Report
) -> Surveyed:
    """In the worker process: all documents of a shard."""
    pass_ = _Pass(shard, Before(before), Taken(taken), alone, work, report)
    surveys: list[Survey] = []
    with Journal(work.journals) as journal:
        for place, batch in groupby(pass_.outcomes(journal), _Filler(shard.full)):
            puts: list[_Put] = []
            number = shard.number * _MAX_BATCHES + place
            counts = corpus.survey(_unpacked(batch, puts), number, work.run.config, work.folder)
            entries = work.folder / f"entries-{number:012}"
            entries.write_bytes(pickle.dumps(puts))
            surveys.append(Survey(number, entries, counts, len(puts)))
    stayed = work.folder / f"stayed-{shard.number:06}"
    stayed.write_bytes(b"".join(pass_.stayed))
    return Surveyed(tuple(surveys), stayed, pass_.skipped, tuple(pass_.unread))


_MAX_BATCHES = 10**6
"""Of a shard."""

_Made = tuple[_Put, Outcome]


def _unpacked(made: Iterable[_Made], puts: list[_Put]) -> Iterator[Outcome]:
    for put, outcome in made:
        puts.append(put)
        yield outcome


class _Filler:
    """Numbers batches: the next one begins where a document would be too many."""

    def __init__(self, full: Limits) -> None:
        self._full = full
        self._at = self._n_bytes = self._n_documents = 0

    def __call__(self, made: _Made) -> int:
        n_bytes = made[1].origin.n_bytes
        full = self._full
        is_full = self._n_bytes + n_bytes > full.n_bytes or self._n_documents >= BATCH_FACTOR * full.n_documents
        if is_full and self._n_documents:
            self._at += 1
            self._n_bytes = self._n_documents = 0
        self._n_bytes += n_bytes
        self._n_documents += 1
        return self._at


class _Pass:
    """The first pass over a shard, in the worker process."""

    def __init__(  # noqa: PLR0913, PLR0917
        self, shard: Shard, before: Before, taken: Taken, alone: _Alone, work: Work, report: Report
    ) -> None:
        self._shard, self._before, self._taken = shard, before, taken
        self._alone, self._work, self._report = alone, work, report
        self._limits = CpuLimits(work.max_seconds)
        self.stayed: list[bytes] = []
        self.skipped: Counter[str] = Counter()
        self.unread: list[str] = []

    def outcomes(self, journal: Journal) -> Iterator[_Made]:
        """Of the documents that are to be cleaned."""
        for place, document in self._documents():
            fate = self._before.fate(document.origin)
            if fate is Fate.CLEAN:
                entry, outcome = self._outcome(place, document, journal)
                doc_id = outcome.origin.doc_id
                yield _Put(entry, doc_id, self._before.first_run(doc_id)), outcome
            elif fate is Fate.STAY:
                self.stayed.append(bytes.fromhex(document.origin.doc_id))
            self._report("cleaned", 1)
        self._limits.end()

    def _documents(self) -> Iterator[tuple[int, Document]]:
        place = 0
        for item in _read(self._shard, self._alone, self._work, self._report):
            if isinstance(item, Skipped):
                self.skipped[item.kind] += 1
            else:
                if _is_unread(item):
                    self.unread.append(item.origin.source_uri)
                yield place, item
                place += 1

    def _outcome(self, place: int, document: Document, journal: Journal) -> tuple[Entry, Outcome]:
        """The outcome of a document, as it was put by if it is the same document, and where it is put by."""
        known = self._alone.get(place)
        if isinstance(known, Entry) and (outcome := _of(known, document.origin)):
            return known, outcome
        known = self._taken.find(document.origin)
        if known and (outcome := _of(known, document.origin)):
            return known, outcome
        self._limits.begin()
        outcome = clean_document(document, self._work.run.config)
        return journal.add(outcome), outcome


def _is_unread(document: Document) -> bool:
    """Whether it stands for a source that could not be opened."""
    origin, raw = document
    return isinstance(raw, Rejection) and raw.reason is Reason.UNREADABLE and not origin.record


def _of(entry: Entry, origin: Origin) -> Outcome | None:
    """An outcome that was put by, if it is still whole, and is of this document."""
    outcome = next(read([entry]))
    return outcome if outcome and outcome.origin == origin else None


def _clean(document: Document, work: Work) -> Outcome:
    with cpu_limit(work.max_seconds):
        return clean_document(document, work.run.config)


def _read(shard: Shard, alone: _Alone, work: Work, report: Report) -> Iterator[Item]:
    """Documents of a shard in their order, and what is none."""
    limits = CpuLimits(work.max_seconds)
    n_documents = 0
    for number, span in enumerate(shard.spans):
        report("span", 1)
        n_before = n_documents
        done = _Progress(span, report)
        items = read_span(span, work.run.config, done.at)
        while True:
            gave_up = alone.get(n_documents)
            if isinstance(gave_up, _GaveUp) and gave_up.span == number:
                yield _unread(span, gave_up.rejection, n_documents - n_before)
                n_documents += 1
                break
            limits.begin()
            item = next(items, None)
            if item is None:
                break
            n_documents += isinstance(item, Document)
            yield item
        done.at(span.n_bytes)
    limits.end()


class _Progress:
    """Reports how much of a piece was read."""

    def __init__(self, span: Span, report: Report) -> None:
        self._span, self._report = span, report
        self._told = 0

    def at(self, n_bytes: int) -> None:
        """So many bytes of it, or more by what was read ahead."""
        n_bytes = min(n_bytes, self._span.n_bytes)
        if n_bytes > self._told:
            self._report("read", n_bytes - self._told)
            self._told = n_bytes


def _unread(span: Span, rejection: Rejection, n_documents: int) -> Document:
    """A row for the rest of a piece, on which the reader dies."""
    place = Place(span.source.uri, span.source.name)
    is_whole = not span.begin and span.end is None
    address = "" if is_whole and not n_documents else f"from={span.begin},documents={n_documents}"
    return rejected(place, address, rejection.reason, rejection.detail)


def _clean_alone(shard: Shard, place: int, taken: Path | None, alone: _Alone, work: Work) -> Entry | _GaveUp | None:
    """One document in a process of its own; None if there is no such document.

    If that is killed, it gets other chances: a document that takes too much memory will do so again, and whoever went
    about killing processes may have gone. Processes that are killed before they have begun don't count.
    """
    n_kills = 0
    seen: Counter[str] = Counter()
    for _ in range(_TRIES):
        seen.clear()
        try:
            entry: Entry | None = run_isolated(
                _clean_one, shard, place, taken, alone, work, report=lambda event, n: seen.update({event: n})
            )
        except ProcessDiedError as died:
            death = died
            n_kills += bool(seen["span"])
            if n_kills == KILLS or not death.is_killed:
                break
        else:
            return entry
    rejection = _crash(death, work.max_seconds)
    if not seen["begun"]:
        return _GaveUp(max(seen["span"] - 1, 0), rejection)
    return _again_if_killed(_put_by_crash, shard, place, rejection, alone, work)  # type: ignore[no-any-return]


def _put_by_crash(  # noqa: PLR0913, PLR0917
    shard: Shard, place: int, rejection: Rejection, alone: _Alone, work: Work, report: Report
) -> Entry | None:
    """In a worker process: put by what became of a document."""
    document = _nth(shard, place, alone, work, report)
    if document is None:
        return None
    origin, raw = document
    with Journal(work.journals) as journal:
        rejection = raw if isinstance(raw, Rejection) else rejection
        return journal.add(Outcome(origin, rejection=rejection), lasts=False)


def _crash(death: ProcessDiedError, max_seconds: float) -> Rejection:
    why = f"more than {max_seconds:g} s of processor time" if death.is_out_of_time else str(death)
    return Rejection(Reason.CRASHED, f"On this document: {why}.")


def _clean_one(  # noqa: PLR0913, PLR0917
    shard: Shard, place: int, taken: Path | None, alone: _Alone, work: Work, report: Report
) -> Entry | None:
    """In a worker process: a single document."""
    document = _nth(shard, place, alone, work, report)
    if document is None:
        return None
    report("begun", 1)
    if (entry := Taken(taken).find(document.origin)) and _of(entry, document.origin):
        return entry
    with Journal(work.journals) as journal:
        return journal.add(_clean(document, work))


def _nth(shard: Shard, place: int, alone: _Alone, work: Work, report: Report) -> Document | None:
    """A document of a shard, by its place: as it is counted where readers have given up on what was before it."""
    documents = (item for item in _read(shard, alone, work, report) if isinstance(item, Document))
    return next(islice(documents, place, None), None)


def _write(learned: Learned, revise: Revise, made: Survey, work: Work) -> Draft:
    """Parts of a batch, its outcomes revised."""
    puts = _puts(made)
    first_runs = {put.doc_id: put.first_run_id for put in puts if put.first_run_id}
    outcomes = map(_intact, read(put.entry for put in puts))
    return write_batch(corpus.revisions(outcomes, made.counts, learned, revise), work.run, first_runs, work.folder)


def _puts(made: Survey) -> list[_Put]:
    puts: list[_Put] = pickle.loads(made.entries.read_bytes())  # noqa: S301  our own, of this run
    return puts


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
