"""What a run does not clean: batches of the last snapshot, counted, compared, and written anew where they must be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from schemas.config import Dedup
from tasks import corpus
from tasks.corpus import Learned, duplicates
from tasks.corpus.lines import Counted, count_index
from tasks.ingest.batches import Stored, groups_to_write, of_snapshot, rewrite, stays
from tasks.ingest.plan import Plan
from tasks.publish.parts import Draft, Part, file_part
from tasks.publish.snapshots import Batch, Snapshot
from tasks.publish.store import Store
from tasks.shards import Work, in_processes
from tasks.shards.progress import tell


@dataclass(frozen=True, slots=True)
class Settled:
    """What the documents of a snapshot are, and what was found out about them."""

    batches: Sequence[tuple[int | None, Draft] | Batch]
    """As `tasks.publish.Contents` has them."""
    lines: Part
    pairs: Part | None
    """None if documents were not compared."""


def carried(last: Snapshot | None, store: Store, plan: Plan) -> list[Stored]:
    """The batches of the last snapshot, with the documents that a plan has leave them."""
    leaving = plan.leaving()
    batches = enumerate(last.batches if last else ())
    return [of_snapshot(batch, store, leaving.get(at, frozenset())) for at, batch in batches]


def count_carried(batches: Sequence[Stored], work: Work) -> list[Counted]:
    """What carried-over documents add to the counts of lines, by batch.

    Raises:
        OSError: if something can't be read or written.
    """
    if not work.run.config.learn_from:
        return []
    given = enumerate(batches)
    return in_processes(work, ((count_index, b.paths["index"], b.gone, number, work.folder) for number, b in given))


def relearned(batches: Sequence[Stored], counted: Sequence[Counted], learned: Learned, work: Work) -> list[str]:
    """Ids of carried-over documents of whose lines the counts now say something else than when they were cleaned.

    Raises:
        OSError: if something can't be read.
    """
    given = zip(batches, counted, strict=bool(counted))
    found = in_processes(work, ((corpus.changed, b.paths["index"], b.gone, c, learned) for b, c in given))
    return [doc_id for of_batch in found for doc_id in of_batch]


def settle(batches: Sequence[Stored], learned: Learned, work: Work, dedup: Dedup, known_pairs: Path | None) -> Settled:
    """Compare all documents with each other, and write anew the batches that change by that, or lose documents.

    Args:
        batches: Carried over, and made by this run.
        learned: What the corpus tells.
        work: What all shards have in common.
        dedup: What becomes of documents that tell the same.
        known_pairs: `Settled.pairs` of the run before, if its rules are the same.

    Raises:
        OSError: if something can't be read or written.
        ProcessDiedError: if a worker process died.
        StoppedError: if the run was stopped meanwhile.
    """
    pairs = None
    batches = [stored for stored in batches if len(stored.gone) < stored.counts.documents]
    if dedup != "off":
        tell("comparing")
        found = _compare(batches, work, known_pairs)
        pairs = file_part("pairs", found.pairs)
        batches = [replace(stored, marks=marks) for stored, marks in zip(batches, found.marks, strict=True)]
    tell("settling")
    groups = list(groups_to_write(batches))
    changing = [group for group in groups if not stays(group, dedup)]
    drafts = in_processes(work, ((rewrite, group, dedup, work.run, work.folder) for group in changing))
    written = {id(group): draft for group, draft in zip(changing, drafts, strict=True)}
    settled = [_settled(group, written.get(id(group))) for group in groups]
    rest = [stored.files for stored in batches]
    (lines,) = in_processes(work, [(corpus.write_lines, rest, learned, work.run, work.folder)])
    return Settled(settled, lines, pairs)


def _settled(group: Sequence[Stored], written: Draft | None) -> tuple[int | None, Draft] | Batch:
    first = group[0]
    if written:
        return first.number, written
    if first.batch:
        return first.batch
    assert first.draft
    return None, first.draft


def _compare(batches: Sequence[Stored], work: Work, known_pairs: Path | None) -> duplicates.Found:
    given = [stored.files for stored in batches]
    folder = work.folder / f"duplicates-{uuid4().hex}"  # another try must not find what this one left
    if known_pairs:  # few texts will be wanted
        (found,) = in_processes(work, [(duplicates.find_changes, given, folder, known_pairs)])
        return found  # type: ignore[no-any-return]
    (gathered,) = in_processes(work, [(duplicates.gather, given, folder)])
    wanted = ((duplicates.fold_batch, given[i], i, folder) for i, n in enumerate(gathered.wanted) if n)
    in_processes(work, wanted)
    (found,) = in_processes(work, [(duplicates.find_marks, gathered)])
    return found  # type: ignore[no-any-return]
