"""What a run does not clean: batches of the last snapshot, counted, compared, and written anew where they must be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.config import Dedup
from tasks.corpus import Counted, Learned, changed, count_index, duplicates, lines_table
from tasks.ingest import Plan
from tasks.ingest.batches import Stored, groups_to_write, of_snapshot, rewrite, stays
from tasks.publish.parts import Draft, Part, write_part
from tasks.publish.snapshots import Batch, Snapshot
from tasks.publish.store import Store
from tasks.shards import Work, in_processes
from tasks.shards.progress import tell


@dataclass(frozen=True, slots=True)
class Settled:
    """What the documents of a snapshot are, and what is known of their lines."""

    batches: Sequence[tuple[int | None, Draft] | Batch]
    """As `tasks.publish.Contents` has them."""
    lines: Part


def carried(last: Snapshot | None, store: Store, plan: Plan) -> list[Stored]:
    """The batches of the last snapshot, with the documents that a plan has leave them."""
    return [of_snapshot(batch, store, plan.leaving(at)) for at, batch in enumerate(last.batches if last else ())]
