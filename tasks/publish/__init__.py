"""Parts to a snapshot, so that a kill at any moment leaves the last one whole and readable.

The protocol, and why it is this one: docs/adr/0001-publishing.md. A run does

    store = open_store(out)
    with store.lock():
        store.prepare()
        ...  # batches, carried over or made by this run
        publish(store, contents, run, row)
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from schemas.config import CleanConfig
from schemas.dataset import RUNS, SCHEMA_VERSION, TABLES
from schemas.document import Run
from tasks.publish.card import write_card
from tasks.publish.counts import Counts
from tasks.publish.opened import OpenedDataset as OpenedDataset
from tasks.publish.opened import open_dataset as open_dataset
from tasks.publish.parts import Draft, Part, hash_file, write_part
from tasks.publish.snapshots import Batch, DamagedError, DatasetError, Snapshot, StoredPart
from tasks.publish.store import Store, at, current, newest

KEEP_SNAPSHOTS = 10

KEEP_TIME = timedelta(hours=1)
"""A snapshot that was the current one so short a time ago stays in any case: somebody may be reading it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a snapshot is to consist of."""

    batches: Sequence[tuple[int | None, Draft] | Batch]
    """Carried over, or written by this run: then with the number of the batch that it replaces, or None."""
    lines: Part | StoredPart
    """Carried over, or written by this run."""
    state: Mapping[str, Part | StoredPart]
    """As in `Snapshot`."""
    dedup: str
    """As in `Snapshot`."""
    settled: bool = True
    """The same."""

    @property
    def counts(self) -> Counts:
        """Of all documents."""
        return sum((b.counts if isinstance(b, Batch) else b[1].counts for b in self.batches), Counts())

    @property
    def parts(self) -> list[Part]:
        """All that this run has written."""
        drafts = [batch[1] for batch in self.batches if not isinstance(batch, Batch)]
        singles = [part for part in (self.lines, *self.state.values()) if isinstance(part, Part)]
        return [*(part for draft in drafts for part in draft.parts.values()), *singles]


def refuse_to_empty(store: Store, counts: Counts) -> None:
    """Keep a run that kept no document from replacing a dataset that has some: a mistake upstream, far more likely.

    Raises:
        DatasetError: if so. Says why the documents were rejected.
    """
    last = newest(store)
    if counts.clean or not last or not last.rows("clean"):
        return
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.rejected.most_common())
    raise DatasetError(
        f"no document was kept ({reasons}), and {store.name} holds {last.rows('clean'):,} clean documents, "
        "which publishing would replace: it is as it was. Check the sources, or give another folder"
    )


def last_config(store: Store) -> CleanConfig:
    """How the documents of the current snapshot were cleaned.

    Raises:
        DatasetError: if there is none, or one of another version.
    """
    snapshot = current(store)
    if snapshot.schema_version != SCHEMA_VERSION:
        raise DatasetError(
            f"{store.name} has schema version {snapshot.schema_version}, this program {SCHEMA_VERSION}: clean its "
            "sources once with this program"
        )
    rows = [row for row in _runs(store, snapshot) if row["kind"] != "replay"]  # those are of some documents only
    return CleanConfig.model_validate_json(rows[-1]["config"])


def run_folder(store: Store, run_id: str) -> Path:
    """Where the parts of a run are written."""
    return store.local / "tmp" / run_id


def publish(store: Store, contents: Contents, run: Run, row: Mapping[str, Any], keep: int = KEEP_SNAPSHOTS) -> Snapshot:
    """Make some batches the dataset, with the lock held.

    Args:
        store: Where the dataset lies, prepared.
        contents: All that is to be in it.
        run: This run.
        row: What the run says of itself (`schemas.dataset.run_row`). Counts, snapshot and end are added here.
        keep: Snapshots that stay, this one included.

    Raises:
        DatasetError: if a part is missing or the row has unknown columns; nothing is published then.
        OSError: if something can't be written; then the last snapshot is still the current one, unless a note of the
            error says otherwise.
    """
    last = newest(store)
    number = last.number + 1 if last else 1
    folder = run_folder(store, run.run_id)
    runs = write_part("runs", [*_runs(store, last), _complete_row(row, contents.counts, number)], run, folder)
    batches = tuple(_numbered(contents.batches, last))
    there = {table for batch in batches for table in batch.parts}
    empty = [write_part(table, (), run, folder) for table in ("clean", "edits", "rejected") if table not in there]
    singles = {part.table: (_stored(part, 0),) for part in (runs, *empty)}
    snapshot = Snapshot(
        number,
        run.run_id,
        datetime.now(UTC),
        SCHEMA_VERSION,
        batches,
        {**singles, "lines": (_stored(contents.lines, 0),)},
        {name: _stored(part, None) for name, part in contents.state.items()},
        run.rules_digest,
        contents.dedup,
        contents.settled,
    )
    store.add([*contents.parts, runs, *empty])
    return _finish(store, snapshot, keep)


def roll_back(store: Store, number: int, run: Run, row: Mapping[str, Any]) -> Snapshot:
    """Publish a copy of an older snapshot, with the lock held: what came after it stays as history.

    No snapshot is forgotten on this occasion: who takes something back may want to look at what it was.

    Raises:
        DatasetError: as `restorable`.
        OSError: as `publish`.
    """
    older, upcoming = restorable(store, number), store.numbers()[-1] + 1
    rows = [*_known_runs(store), _complete_row(row, older.counts, upcoming)]
    runs = write_part("runs", rows, run, run_folder(store, run.run_id))
    singles = {**older.singles, "runs": (_stored(runs, 0),)}
    moment = datetime.now(UTC)
    restored = replace(older, number=upcoming, run_id=run.run_id, published_at=moment, singles=singles, restores=number)
    store.add([runs])
    return _finish(store, restored)


def restorable(store: Store, number: int) -> Snapshot:
    """An older snapshot that can be published again: every object of it has the content that its name says.

    Raises:
        DatasetError: if there is no such snapshot, it is the current one, or one of another version.
        DamagedError: if some of it is missing or damaged.
        OSError: if an object can't be read.
    """
    older = at(store, number)
    if number == store.numbers()[-1]:
        raise DatasetError(f"snapshot {number} is the current one of {store.name}: there is nothing to take back")
    if older.schema_version != SCHEMA_VERSION:
        raise DatasetError(
            f"snapshot {number} has schema version {older.schema_version}, this program {SCHEMA_VERSION}: use the "
            "program that made it"
        )
    for part in older.objects():
        if not _is_whole(store, part):
            raise DamagedError(f"snapshot {number} of {store.name} is damaged: {part.sha256} is missing or has changed")
    return older


def expired(store: Store, keep: int = KEEP_SNAPSHOTS, keep_time: timedelta = KEEP_TIME) -> list[int]:
    """Snapshots that need not stay: neither among the newest `keep`, nor current within `keep_time`.

    Of several with the same documents, since a run found nothing to do or took something back, the newest one counts
    among the newest. A clock that goes back, or was wrong for a while, makes more snapshots stay and never fewer: one
    that seems to be older than one before it may have been published at any time until the next. Without a
    `keep_time` no clock counts.
    """
    published = list(_readable(store))
    latest = list(accumulate((snapshot.published_at for snapshot in published), max))
    now, documents, found = datetime.now(UTC), [last.documents for last in published[-1:]], list[int]()
    superseded = now
    for snapshot, successor, at_least in zip(published[-2::-1], published[:0:-1], latest[:0:-1], strict=True):
        superseded = at_least if successor.published_at == at_least else superseded
        if len(documents) < keep and snapshot.documents not in documents:
            documents.append(snapshot.documents)
        elif not keep_time or now - superseded > keep_time:
            found.append(snapshot.number)
    return sorted(found)


def _readable(store: Store) -> Iterator[Snapshot]:
    """Snapshots in order, but for those whose manifests are damaged."""
    for number in store.numbers():
        with suppress(DatasetError):
            yield store.snapshot(number)


def _finish(store: Store, snapshot: Snapshot, keep: int | None = None) -> Snapshot:
    store.commit(snapshot)
    try:
        store.show(snapshot)
        if keep:
            store.forget(expired(store, keep))
        shutil.rmtree(run_folder(store, snapshot.run_id))
    except (OSError, DatasetError) as error:
        error.add_note(f"Snapshot {snapshot.number} is published; {store.name} will show it after the next run.")
        raise
    write_card(store, snapshot)
    return snapshot


def _is_whole(store: Store, part: StoredPart) -> bool:
    return store.holds(part) and hash_file(store.path(part)) == part.sha256


def _known_runs(store: Store) -> list[dict[str, Any]]:
    """All runs there were, as the newest snapshot has them whose table of them is whole."""
    snapshots = (store.snapshot(number) for number in reversed(store.numbers()))
    return next(_runs(store, s) for s in snapshots if all(_is_whole(store, part) for part in s.singles["runs"]))


def _runs(store: Store, last: Snapshot | None) -> list[dict[str, Any]]:
    """All runs there were. Those of older versions of the schema lack columns."""
    stored = last.singles["runs"] if last else ()
    rows = [row for part in stored for row in pq.read_table(store.path(part)).to_pylist()]
    counts = ("n_added", "n_changed", "n_unchanged", "n_removed", "n_recleaned", "n_relearned")
    return [{"kind": "clean", **dict.fromkeys(counts, 0), **row} for row in rows]


def _numbered(batches: Iterable[tuple[int | None, Draft] | Batch], last: Snapshot | None) -> Iterable[Batch]:
    """Batches with their numbers: new ones after those of the last snapshot."""
    upcoming = max((batch.number for batch in last.batches), default=-1) + 1 if last else 0
    for batch in batches:
        if isinstance(batch, Batch):
            yield batch
            continue
        number, draft = batch
        if number is None:
            number, upcoming = upcoming, upcoming + 1
        if draft.parts:
            yield Batch(number, {t: _stored(part, number) for t, part in draft.parts.items()}, draft.counts)


def _stored(part: Part | StoredPart, batch: int | None) -> StoredPart:
    if isinstance(part, StoredPart):
        return part
    # The number keeps the order of ingest for those who read a folder.
    is_seen = part.table in TABLES and batch is not None
    name = f"part-{batch:05}-{part.sha256[:16]}.parquet" if is_seen else ""
    return StoredPart(name, part.sha256, part.rows, part.bytes)


def _complete_row(given: Mapping[str, Any], counts: Counts, number: int) -> dict[str, Any]:
    row = {
        "snapshot": number,
        "finished_at": datetime.now(UTC).replace(tzinfo=None),
        "schema_version": SCHEMA_VERSION,
        "skipped": [],
        **_count_columns(counts),
        **given,
    }
    if unknown := row.keys() - set(RUNS.names):
        raise DatasetError(f"no columns of 'runs': {', '.join(sorted(unknown))}; there are: {', '.join(RUNS.names)}")
    return row


def _count_columns(counts: Counts) -> dict[str, Any]:
    return {
        "n_documents": counts.documents,
        "n_clean": counts.clean,
        "n_rejected": counts.rejected.total(),
        "rejected_by_reason": _tally("reason", counts.rejected),
        "n_duplicates": counts.duplicates,
        "edits_by_step": [
            {"step": step, "edits": n, "chars_removed": counts.removed[step]}
            for step, n in sorted(counts.edits.items())
        ],
        "chars_in": counts.chars_in,
        "chars_out": counts.chars_out,
        "chars_removed": counts.removed.total(),
        "encodings": _tally("encoding", counts.encodings),
        "langs": _tally("lang", counts.langs),
        "scripts": _tally("script", counts.scripts),
        "flags": _tally("flag", counts.flags),
    }


def _tally(name: str, counts: Counter[str]) -> list[dict[str, Any]]:
    return [{name: value, "documents": n} for value, n in sorted(counts.items())]
