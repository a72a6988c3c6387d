"""The stage over the whole corpus, between cleaning and publishing: what no document can tell alone.

A run has two passes. In the first one shards are cleaned, one by one: `survey` puts their outcomes by, in a file, with
what they add to the counts. Then `learn` brings the counts of all shards together. In the second pass every outcome is
read back and goes through `revise`, which sees what was learned; what comes out is written to parts. So what `learn`
does must not depend on the order or the number of surveys, and memory holds one document at a time in either pass.

Outcomes are pickled: by the same program, in the same run, into a folder that only the run writes.
"""

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from schemas.config import CleanConfig
from schemas.document import Cleaned, Edit, Outcome
from tasks.clean import clean_further
from tasks.corpus import learned, lines
from tasks.judge import judge_output
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
        for outcome in outcomes:
            pickled = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
            spool.write(len(pickled).to_bytes(_LENGTH_BYTES))
            spool.write(pickled)
            if config.learn_from and outcome.cleaned and not outcome.rejection:
                sites.update(of := lines.sites_of(outcome).keys())
                found.append(lines.rows(outcome.cleaned.text, of))
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


def revise(outcome: Outcome, learned_: Learned, config: CleanConfig) -> Outcome:
    """An outcome in the light of the whole corpus: most are as they were."""
    if learned_.lines is None:
        return outcome
    edits = learned.find(outcome, lines.recurring(learned_.lines), config.learn_from)
    if not edits:
        return outcome
    assert outcome.cleaned is not None
    cleaned = clean_further(_without_facts(outcome.cleaned, edits), edits, config)
    return replace(outcome, cleaned=cleaned, rejection=judge_output(cleaned, config))


def _without_facts(cleaned: Cleaned, edits: Iterable[Edit]) -> Cleaned:
    """Without the title that was taken from a line which goes: what is left has another, or none."""
    gone = {key(edit.before) for edit in edits}
    return replace(cleaned, facts={name: said for name, said in cleaned.facts.items() if key(said) not in gone})
