"""The stage over the whole corpus, between cleaning and publishing: what no document can tell alone.

A run has two passes. In the first one shards are cleaned, one by one: `survey` counts what is in their outcomes. Then
`learn` brings the counts of all shards together, and of all documents that are carried over. In the second pass every
outcome is read back and goes through `revise`, which sees what was learned; what comes out is written to parts. So what
`learn` does must not depend on the order or the number of surveys, and memory holds one document at a time in either
pass.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import CleanConfig
from schemas.document import Cleaned, Edit, Outcome, Reason, Rejection, Run
from tasks.clean import clean_further
from tasks.corpus import learned, lines
from tasks.corpus.lines import Counted, Features
from tasks.corpus.table import lines_table
from tasks.judge import judge_output
from tasks.publish.parts import BatchFiles, Part, write_part
from tasks.steps.lines import key


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass has counted in the outcomes of a shard."""

    features: Path
    """What each adds to the counts, as `tasks.corpus.lines` keeps it for the index."""
    counted: Counted


@dataclass(frozen=True, slots=True)
class Learned:
    """What the corpus tells about its documents: paths, for workers to look things up."""

    lines: Path | None
    """Folder of `tasks.corpus.lines.Recurring`; None if no line was to be learned."""


def survey(outcomes: Iterable[Outcome], number: int, config: CleanConfig, folder: Path) -> Survey:
    """Count what is in the outcomes of a shard.

    Raises:
        OSError: if a file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    features = folder / f"features-{number:06}"
    found = lines.features(outcomes) if config.learn_from else (Features() for _ in outcomes)
    lines.write_features([*found], features)
    return Survey(features, lines.count(features, number, folder))


def learn(counted: Sequence[Counted], config: CleanConfig, folder: Path) -> Learned:
    """Bring together what was counted in all documents: those of the surveys, and those that are carried over.

    Raises:
        OSError: if what was learned can't be written.
    """
    if not config.learn_from:
        return Learned(None)
    lines.merge(counted, config.learn_from, folder / "lines")
    return Learned(folder / "lines")


class Revision(NamedTuple):
    """An outcome in the light of the whole corpus, and what the index has of it (`schemas.index`)."""

    outcome: Outcome
    features: Features = Features()
    learned: int = 0
    """Digest of what the counts say of it."""
    removed_lines: tuple[int, ...] = ()
    """Fingerprints of lines that went by that, in their numerical order."""


Revise = Callable[[Outcome], Revision]


def revise(outcome: Outcome, known: Learned, config: CleanConfig) -> Revision:
    """Take learned furniture out of a document, and judge what is left. Whatever happens, there is an outcome."""
    if known.lines is None:
        return Revision(outcome)
    try:
        edits, removed = learned.find(outcome, lines.recurring(known.lines))
        if not edits or outcome.cleaned is None:
            return Revision(outcome)
        cleaned = clean_further(_without_facts(outcome.cleaned, edits), edits, config)
        revised = replace(outcome, cleaned=cleaned, rejection=judge_output(cleaned, config))
        return Revision(revised, removed_lines=removed)
    except Exception:  # noqa: BLE001  a bug on one document must not take the others with it
        return Revision(replace(outcome, rejection=Rejection(Reason.FAILED, traceback.format_exc())))


def revisions(outcomes: Iterable[Outcome], made: Survey, known: Learned, revise: Revise) -> Iterator[Revision]:
    """Outcomes of a shard in the light of the whole corpus; those that it says something about are revised.

    Raises:
        OSError: if what the first pass left can't be read.
    """
    found = zip(outcomes, lines.read_features(made.features), told(made.counted, known), strict=True)
    for outcome, features, digest in found:
        revision = revise(outcome) if digest else Revision(outcome)
        yield revision._replace(features=features, learned=int(digest))


def told(counted: Counted, known: Learned) -> lines.Rows:
    """What the counts say of each document of a batch, as a digest: 0 where they have nothing to say."""
    if known.lines is None:
        return lines.nothing_told(counted)
    return lines.told(counted, lines.Recurring(known.lines))


def changed(part: Path, gone: frozenset[str], counted: Counted, known: Learned) -> list[str]:
    """The doc_ids of a batch of which the counts now say something else than its part of the index has.

    Raises:
        OSError: if it can't be read.
    """
    table = pq.read_table(part, columns=["doc_id", "learned"])
    others = table["doc_id"].filter(pa.array(told(counted, known) != table["learned"].to_numpy()))
    return [doc_id for doc_id in others.to_pylist() if doc_id not in gone]


def write_lines(batches: Sequence[BatchFiles], known: Learned, run: Run, folder: Path) -> Part:
    """What is known of lines as a part of the table `lines`, each line of a site once.

    Args:
        batches: All documents of the dataset, each once.
        known: What was learned from them.
        run: Its configuration has the threshold.
        folder: Where the part goes.

    Raises:
        OSError: if something can't be read or written.
        EditError: if edits do not belong to their text.
    """
    threshold = run.config.learn_from
    rows = list(lines_table(batches, lines.Recurring(known.lines), threshold)) if known.lines else []
    return write_part("lines", rows, run, folder)


def _without_facts(cleaned: Cleaned, edits: Iterable[Edit]) -> Cleaned:
    """Without the title that was taken from a line which goes: what is left has another, or none."""
    gone = {key(edit.before) for edit in edits}
    return replace(cleaned, facts={name: said for name, said in cleaned.facts.items() if key(said) not in gone})
