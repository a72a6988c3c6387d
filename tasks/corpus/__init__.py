"""The stage over the whole corpus, between cleaning and publishing: what no document can tell alone.

A run has two passes. In the first one shards are cleaned, one by one: `survey` puts their outcomes by, in a file, with
what they add to the counts. Then `learn` brings the counts of all shards together. In the second pass every outcome is
read back and goes through `revise`, which sees what was learned; what comes out is written to parts. So what `learn`
does must not depend on the order or the number of surveys, and memory holds one document at a time in either pass.

Outcomes are pickled: by the same program, in the same run, into a folder that only the run writes.
"""

import pickle
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import CleanConfig
from schemas.document import Cleaned, Edit, Outcome, Reason, Rejection, Run
from tasks.clean import clean_further
from tasks.corpus import learned, lines
from tasks.corpus.learned import Noted
from tasks.judge import judge_output
from tasks.publish.parts import Counts, Part, PartWriter
from tasks.steps.lines import key

_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass left of a shard."""

    number: int
    outcomes: Path
    """Pickled, in their order."""
    lines: Path
    """As `tasks.corpus.lines` writes them."""
    sites: Mapping[int, int] = field(default_factory=dict)
    """Documents by fingerprint of their sites."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What the corpus tells about its documents: paths, for workers to look things up."""

    lines: Path | None
    """Folder of `tasks.corpus.lines.Recurring`; None if no line was to be learned."""


def survey(outcomes: Iterable[Outcome], number: int, config: CleanConfig, folder: Path) -> Survey:
    """Put the outcomes of a shard by, and count what is in them.

    Raises:
        OSError: if a file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sites: Counter[int] = Counter()
    made = Survey(number, folder / f"outcomes-{number:06}", folder / f"lines-{number:06}.npy", sites)
    found = []
    with pa.output_stream(str(made.outcomes), compression="zstd") as spool:
        for at, outcome in enumerate(outcomes):
            pickled = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
            spool.write(len(pickled).to_bytes(_LENGTH_BYTES))
            spool.write(pickled)
            if config.learn_from and outcome.cleaned and not outcome.rejection:
                sites.update(of := lines.sites_of(outcome).keys())
                found.append(lines.rows(outcome.cleaned.text, of, at))
    lines.write_rows(found, made.lines)
    return made


def learn(surveys: Sequence[Survey], config: CleanConfig, folder: Path) -> Learned:
    """Bring together what all shards counted.

    Raises:
        OSError: if what was learned can't be written.
    """
    if not config.learn_from:
        return Learned(None)
    sizes = sum((Counter(made.sites) for made in surveys), Counter[int]())
    lines.merge([survey.lines for survey in surveys], sizes, config.learn_from, folder / "lines")
    return Learned(folder / "lines")


def read_outcomes(survey: Survey) -> Iterator[Outcome]:
    """The outcomes of a shard, as the first pass left them.

    Raises:
        OSError: if the file can't be read, or ends too early.
    """
    with pa.input_stream(str(survey.outcomes), compression="zstd") as spool:
        while length := spool.read(_LENGTH_BYTES):
            yield pickle.loads(spool.read(int.from_bytes(length)))  # noqa: S301  what this run has written


class Revision(NamedTuple):
    """An outcome in the light of the whole corpus, and what is known of its lines."""

    outcome: Outcome
    noted: tuple[Noted, ...] = ()


def concerned(made: Survey, known: Learned) -> frozenset[int]:
    """Which outcomes of a shard `revise` has something to say about, by their places; the others are as they were."""
    return frozenset() if known.lines is None else lines.recurring(known.lines).concerned(made.lines)


def revise(outcome: Outcome, known: Learned, config: CleanConfig) -> Revision:
    """Take learned furniture out of a document, and judge what is left. Whatever happens, there is an outcome."""
    if known.lines is None:
        return Revision(outcome)
    try:
        edits, noted = learned.find(outcome, lines.recurring(known.lines), config.learn_from)
        if not edits or outcome.cleaned is None:
            return Revision(outcome, noted)
        cleaned = clean_further(_without_facts(outcome.cleaned, edits), edits, config)
        return Revision(replace(outcome, cleaned=cleaned, rejection=judge_output(cleaned, config)), noted)
    except Exception:  # noqa: BLE001  a bug on one document must not take the others with it
        return Revision(replace(outcome, rejection=Rejection(Reason.FAILED, traceback.format_exc())))


def write_lines(noted: Iterable[Noted], run: Run, folder: Path) -> list[Part]:
    """What is known of lines as a part of the table `lines`, each line of a site once; no part if there is nothing.

    Raises:
        OSError: if it can't be written.
    """
    told: dict[tuple[str, str], Noted] = {}
    for note in noted:
        before = told.setdefault((note.site, note.fingerprint), note._replace(removed=0))
        told[note.site, note.fingerprint] = before._replace(removed=before.removed + note.removed)
    writer = PartWriter("lines", run.pipeline_version, run.rules_digest, folder)
    try:
        for _, note in sorted(told.items()):
            writer.add(note._asdict(), Counts())
        return [part for part in [writer.finish()] if part]
    finally:
        writer.discard()


def join_lines(parts: Iterable[Part], run: Run, folder: Path) -> list[Part]:
    """Parts of all shards, with those of `lines` made one. It takes some 500 bytes a line in memory.

    Raises:
        OSError: if something can't be read or written.
    """
    parts = list(parts)
    rows = (row for part in parts if part.table == "lines" for row in pq.read_table(part.path).to_pylist())
    others = [part for part in parts if part.table != "lines"]
    return [*others, *write_lines((Noted(**row) for row in rows), run, folder)]


def _without_facts(cleaned: Cleaned, edits: Iterable[Edit]) -> Cleaned:
    """Without the title that was taken from a line which goes: what is left has another, or none."""
    gone = {key(edit.before) for edit in edits}
    return replace(cleaned, facts={name: said for name, said in cleaned.facts.items() if key(said) not in gone})
