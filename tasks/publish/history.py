"""The snapshots of a dataset: what made each one, what only it needs, which one to go back to, and which may go."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.dataset import run_row
from schemas.document import Run
from tasks.publish import roll_back
from tasks.publish.difference import compare
from tasks.publish.snapshots import DamagedError, DatasetError, Snapshot
from tasks.publish.store import Store, at, current

_AS_RESTORED = ("pipeline_version", "rules_digest", "libraries", "config")
"""Columns of `runs` that say how documents were cleaned: a copy has them of what it is a copy of."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A snapshot, and what is known of it."""

    snapshot: Snapshot
    run: Mapping[str, Any]
    """Its row of `runs`; empty where that can't be read."""
    own_bytes: int
    """Of objects that no other snapshot has: what removing it would free."""
    is_current: bool


def entries(store: Store) -> list[Entry]:
    """All snapshots, oldest first.

    Raises:
        DatasetError: if there is none, or a manifest can't be read.
    """
    last = current(store)
    snapshots = [*_snapshots(store, before=last.number), last]
    runs = _runs(store, last)
    users = Counter(sha256 for snapshot in snapshots for sha256 in _sizes(snapshot))
    return [
        Entry(
            snapshot,
            runs.get(snapshot.run_id, {}),
            sum(size for sha256, size in _sizes(snapshot).items() if users[sha256] == 1),
            snapshot.number == last.number,
        )
        for snapshot in snapshots
    ]


def freed(store: Store, going: Iterable[int]) -> int:
    """Bytes of the objects that would go with some snapshots.

    Raises:
        DatasetError: if a manifest can't be read.
    """
    gone = set(going)
    snapshots = [store.snapshot(number) for number in store.numbers()]
    sizes = {sha256: size for s in snapshots if s.number in gone for sha256, size in _sizes(s).items()}
    kept = {sha256 for s in snapshots if s.number not in gone for sha256 in _sizes(s)}
    return sum(size for sha256, size in sizes.items() if sha256 not in kept)


def before(store: Store, snapshot: Snapshot) -> Snapshot:
    """The last one before a snapshot that has other documents.

    Raises:
        DatasetError: if there is none.
    """
    for number in reversed([n for n in store.numbers() if n < snapshot.number]):
        if (older := store.snapshot(number)).documents != snapshot.documents:
            return older
    raise DatasetError(f"{store.name} has no snapshot before {snapshot.number} with other documents")


def settings_changed(store: Store, first: Snapshot, second: Snapshot) -> dict[str, tuple[str, str]]:
    """What the runs of two snapshots did not have in common: rules, version, settings; each with both values."""
    told = [_settings(_runs(store, snapshot).get(snapshot.run_id, {})) for snapshot in (first, second)]
    names = sorted(told[0].keys() | told[1].keys())
    values = {name: (told[0].get(name, ""), told[1].get(name, "")) for name in names}
    return {name: (old, new) for name, (old, new) in values.items() if old != new}


def consequences(store: Store, older: Snapshot) -> dict[str, int]:
    """What becomes of the documents of the current snapshot where an older one is restored: columns of `runs`.

    Raises:
        DatasetError: if there is no current snapshot, or its manifest can't be read.
    """
    n, last = older.counts.documents, current(store)
    try:
        ids = compare(store, last, older, texts=False).ids
    except DamagedError:  # of what is damaged nothing is taken over
        counts = [n, 0, 0, 0, last.counts.documents]
    else:
        recleaned = {*ids["recleaned"], *ids["moved"]} - {*ids["changed"]}
        counts = [len(ids["added"]), len(ids["changed"]), len(recleaned)]
        counts += [n - sum(counts), len(ids["removed"])]
    names = ("n_added", "n_changed", "n_recleaned", "n_unchanged", "n_removed")
    return {**dict(zip(names, counts, strict=True)), "n_relearned": 0}


def restore(store: Store, number: int, run: Run) -> tuple[Snapshot, dict[str, int]]:
    """Publish a copy of an older snapshot, with the lock held (`tasks.publish.roll_back`); and the consequences.

    The dataset may be damaged, in which case `prepare` has refused: that is a reason to go back.

    Raises:
        DatasetError: if there is no such snapshot, or it can't be restored.
        OSError: if something can't be written.
    """
    older = at(store, number)
    tally = consequences(store, older)
    made = _runs(store, older).get(older.run_id, {})
    as_restored = {name: made[name] for name in _AS_RESTORED if name in made}
    told = {"kind": "rollback", "sources": [f"snapshot {number}"]}
    row = {**run_row(run), **as_restored, **told, **tally}
    return roll_back(store, number, run, row), tally


def leftovers(store: Store) -> tuple[int, int]:
    """Bytes that runs left which did not end: parts that were being written, and journals.

    Journals are of use to the next run with the same rules and settings, the rest is not.
    """
    tmp = [path.stat() for path in (store.local / "tmp").rglob("*") if path.is_file()]
    journals = (path.stat().st_size for path in (store.local / "work").rglob("*") if path.is_file())
    # Folders that were exchanged have links to objects: removing these frees nothing.
    return sum(state.st_size for state in tmp if state.st_nlink == 1), sum(journals)


_CLEANED = ("n_added", "n_changed", "n_recleaned", "n_relearned")
"""Columns of `runs`: documents that a run has cleaned."""


def runs_that_stay(store: Store, kept: Iterable[Snapshot]) -> set[str]:
    """Runs that made these snapshots, and those of which every document is in one of them, as after a rollback.

    Of a dataset in an object store only the former: for the rest all parts would have to be fetched.
    """
    stay, known = set[str](), dict[str, Counter[str]]()
    for snapshot in kept:
        stay.add(snapshot.run_id)
        there = Counter[str]()
        for part in () if "://" in store.name else (*snapshot.tables["clean"], *snapshot.tables["rejected"]):
            if part.sha256 not in known:
                known[part.sha256] = Counter(pq.read_table(store.path(part), columns=["run_id"])["run_id"].to_pylist())
            there += known[part.sha256]
        runs = _runs(store, snapshot).items() if there else ()
        stay |= {
            run_id for run_id, row in runs if there[run_id] and there[run_id] == sum(row[n] or 0 for n in _CLEANED)
        }
    return stay


def _snapshots(store: Store, before: int) -> Iterator[Snapshot]:
    """But for those that another process forgets meanwhile."""
    for number in store.numbers():
        try:
            if number < before:
                yield store.snapshot(number)
        except DatasetError:
            if number in store.numbers():
                raise


def _runs(store: Store, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Rows of the table of that name, by id; those that can be read."""
    try:
        rows = [row for part in snapshot.singles["runs"] for row in pq.read_table(store.path(part)).to_pylist()]
    except (OSError, pa.ArrowException):
        return {}
    return {row["run_id"]: row for row in rows}


def _sizes(snapshot: Snapshot) -> dict[str, int]:
    """Bytes of objects, by hash: one may be in a snapshot twice."""
    return {part.sha256: part.bytes for part in snapshot.objects()}


def _settings(run: Mapping[str, Any]) -> dict[str, str]:
    own = {"version": run.get("pipeline_version") or "", "rules": run.get("rules_digest") or ""}
    return {**own, **{name: json.dumps(value) for name, value in json.loads(run.get("config") or "{}").items()}}
