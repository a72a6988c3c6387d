"""Documents that went through the pipeline, made by hand: tests of the dataset depend on no step."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas.config import CleanConfig
from schemas.dataset import TABLES, clean_row, cleaned_with, edits_row, rejected_row, run_row
from schemas.document import (
    BadByte,
    Cleaned,
    Damage,
    Decoded,
    Edit,
    Origin,
    Outcome,
    Reason,
    Rejection,
    Run,
    Stage,
)
from tasks.corpus import Revision
from tasks.ingest.batches import write_batch
from tasks.publish import KEEP_SNAPSHOTS, Contents, publish, run_folder
from tasks.publish.counts import count_rows
from tasks.publish.parts import Draft, write_part
from tasks.publish.snapshots import Batch, Snapshot
from tasks.publish.store import Store, open_store
from tasks.scripts import simplify
from tasks.steps.edits import apply

TALLIES = ("n_added", "n_changed", "n_unchanged", "n_removed", "n_recleaned", "n_relearned")

MakeOutcome = Callable[..., Outcome]
PublishOutcomes = Callable[..., Snapshot]

ROW = {
    "kind": "clean",
    "sources": ["pages/"],
    **{f"n_{name}": 0 for name in ("added", "changed", "unchanged", "removed", "recleaned", "relearned")},
}
"""What a flow adds to the row of a run."""

Put = Callable[..., Snapshot]


def kept(number: int, text: str = "標題：產(chǎn)業發展。\n第{}段，責任編輯。\n") -> Outcome:
    """A document with a gloss removed, then converted."""
    decoded = text.format(number)
    glosses = tuple(Edit("glosses", "mangler", decoded.index(g), g, "", 0.9) for g in ["(chǎn)"] if g in decoded)
    without = apply(decoded, glosses)
    clean = simplify(without)
    script = tuple(
        Edit("script", "t2s", i, a, b) for i, (a, b) in enumerate(zip(without, clean, strict=True)) if a != b
    )
    stages = tuple(Stage(s[0].step, s) for s in (glosses, script) if s)
    damage = (Damage("shift", "lost-characters", 0, clean[:2]),)
    facts = {"title": "标题", "published_at": "2023-06-24T19:04"}
    return Outcome(
        origin(number, decoded),
        Decoded(decoded, "utf-8", 1.0, "strict"),
        Cleaned(clean, stages, facts, damage, ("shift",)),
    )


def too_short(number: int) -> Outcome:
    """A document that was rejected after cleaning."""
    outcome = kept(number, "產業{}\ufffd")
    assert outcome.decoded
    decoded = Decoded(
        outcome.decoded.text, "gb18030", 0.5, "plausible", (BadByte(5, len(outcome.decoded.text) - 1, 0x80),)
    )
    return Outcome(outcome.origin, decoded, outcome.cleaned, Rejection(Reason.TOO_SHORT, "2 letters are left of 10."))


def unreadable(number: int) -> Outcome:
    """A document of which nothing is known but its place."""
    return Outcome(origin(number, ""), rejection=Rejection(Reason.UNREADABLE, "No permission."))


def origin(number: int, text: str) -> Origin:
    raw = text.encode(errors="replace")
    return Origin(f"file:///pages/{number:05}.txt", "", hashlib.sha256(raw).hexdigest(), len(raw))


@pytest.fixture
def outcomes() -> list[Outcome]:
    """Thirty documents: every fifth too short, every seventh unreadable, and one is empty of edits."""
    made = [too_short(n) if n % 5 == 4 else unreadable(n) if n % 7 == 6 else kept(n) for n in range(29)]
    return [*made, kept(29, "山水人家，一成不变。\n")]


@pytest.fixture
def make_kept() -> MakeOutcome:
    return kept


@pytest.fixture
def run() -> Run:
    return make_run(1)


@pytest.fixture
def later_run() -> Run:
    return make_run(2)


@pytest.fixture
def put() -> Put:
    return put_batches


def make_run(number: int) -> Run:
    return Run(f"run-{number}", datetime(2026, 11, number, 12, tzinfo=UTC), CleanConfig(), "0.1.0", f"rules{number}")


def drafts(shards: Iterable[Iterable[Outcome]], run: Run, folder: Path) -> list[Draft]:
    """Batches of some outcomes."""
    return [write_batch(map(Revision, shard), run, {}, folder) for shard in shards]


def contents(store: Store, run: Run, shards: Iterable[Iterable[Outcome]]) -> Contents:
    """What a snapshot of some outcomes consists of."""
    folder = run_folder(store, run.run_id)
    batches = [(None, draft) for draft in drafts(shards, run, folder)]
    files = write_part("files", [], run, folder)
    return Contents(batches, write_part("lines", [], run, folder), {"files": files}, "off")


def publish_outcomes(out: Path, run: Run, *shards: Sequence[Outcome], keep: int = KEEP_SNAPSHOTS) -> Snapshot:
    """Make these outcomes the dataset, a batch of each shard, in place of what was in it."""
    store = open_store(out)
    with store.lock():
        store.prepare()
        return publish(store, contents(store, run, shards), run, {**run_row(run), **ROW}, keep)


@pytest.fixture(name="publish_outcomes")
def _publish_outcomes() -> PublishOutcomes:
    return publish_outcomes


def put_batches(out: Path, run: Run, *batches: Sequence[Outcome] | Batch, keep: int = 10, **columns: Any) -> Snapshot:
    """Publish batches without the flow: outcomes of this run, or batches carried over.

    `columns` are those of `runs`; and `marks`, columns of `clean` by id of the document.
    """
    store = open_store(out)
    marks = columns.pop("marks", {})
    with store.lock():
        store.prepare()
        folder = run_folder(store, run.run_id)
        made = [b if isinstance(b, Batch) else (None, draft(b, run, folder, marks)) for b in batches]
        lines, files = (write_part(table, [], run, folder) for table in ("lines", "files"))
        row = {**run_row(run), "sources": ["pages/"], **dict.fromkeys(TALLIES, 0), "kind": "clean", **columns}
        return publish(store, Contents(made, lines, {"files": files}, "mark"), run, row, keep)


def draft(outcomes: Sequence[Outcome], run: Run, folder: Path, marks: dict[str, dict[str, Any]]) -> Draft:
    """The parts of a batch."""
    rows: dict[str, list[dict[str, Any]]] = {"clean": [], "rejected": [], "edits": [], "index": []}
    for outcome in outcomes:
        table = "clean" if outcome.rejection is None else "rejected"
        row = (clean_row if table == "clean" else rejected_row)(outcome, run)
        rows[table].append({**row, **marks.get(row["doc_id"], {})})
        rows["edits"].append(edits_row(outcome))
        rows["index"].append(index_row(outcome, run))
    parts = {table: write_part(table, of_table, run, folder) for table, of_table in rows.items() if of_table}
    tables = (pa.Table.from_pylist(rows[table], TABLES[table]) for table in ("clean", "rejected"))
    return Draft(parts, count_rows(*tables))


def index_row(outcome: Outcome, run: Run) -> dict[str, Any]:
    origin, reason = outcome.origin, outcome.rejection.reason if outcome.rejection else None
    own = {"doc_id": origin.doc_id, "source_uri": origin.source_uri, "record": "", "raw_sha256": origin.sha256}
    runs = {"cleaned_with": cleaned_with(run), "first_run_id": run.run_id, "run_id": run.run_id, "reason": reason}
    return {
        **own,
        **runs,
        **dict.fromkeys(("sites", "lines", "body", "removed_lines"), ()),
        "headed": False,
        "learned": 0,
    }
