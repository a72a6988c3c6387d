"""Batches: the parts that documents which came in together make up, and what becomes of them later.

Documents leave a batch, and get other marks as duplicates: then its parts are written anew, from columns, without a
look into the texts. Small neighbours are joined on that occasion, so that many small runs don't leave many small files.
"""

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.config import Dedup
from schemas.dataset import TABLES, clean_rows, cleaned_with, edits_row, rejected_row
from schemas.document import Outcome, Reason, Rejection, Run
from schemas.index import INTERNAL
from tasks.corpus import Revision
from tasks.corpus.duplicates import Mark, Tables, mark_tables, needs_marking, signatures
from tasks.publish.counts import Counts, count_rows
from tasks.publish.parts import ROWS_PER_GROUP, BatchFiles, Draft, PartWriter, write_part
from tasks.publish.snapshots import BATCH_TABLES, Batch, DamagedError
from tasks.publish.store import Store

_GROUP_BYTES = 64 * 1024 * 1024
"""A row group of large documents is closed earlier, by a rough measure of what its rows take in memory."""

_DOCUMENTS_TOGETHER = 250
_BYTES_TOGETHER = 1024 * 1024
"""Rows are made of so many documents at a time, or so much text: what they take beside the texts of a row group."""

FULL_DOCUMENTS = 1000
FULL_BYTES = 4 * 1000 * 1000
"""As much as a shard has at least (`tasks.shards`): neighbours are joined that don't have more together."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch as files of this machine, and what is to become of it."""

    batch: Batch | None
    """As it is in the last snapshot; None if this run has made it."""
    draft: Draft | None
    """As this run has made it."""
    paths: Mapping[str, Path]
    """By table."""
    counts: Counts
    gone: frozenset[str] = frozenset()
    """Ids of documents that leave it."""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """What was found about its documents, by id, where that is something new."""

    @property
    def files(self) -> BatchFiles:
        """Where its rows are."""
        paths = self.paths
        return BatchFiles(paths["index"], paths.get("clean"), paths.get("rejected"), paths.get("edits"), self.gone)

    @property
    def number(self) -> int | None:
        """Its place in the order of ingest; None if it is the next."""
        return self.batch.number if self.batch else None


def of_snapshot(batch: Batch, store: Store, gone: frozenset[str]) -> Stored:
    """A batch of a snapshot."""
    paths = {table: store.path(part) for table, part in batch.parts.items()}
    return Stored(batch, None, paths, batch.counts, gone)


def of_run(draft: Draft) -> Stored:
    """A batch that this run has made."""
    return Stored(None, draft, {table: part.path for table, part in draft.parts.items()}, draft.counts)


def write_batch(revisions: Iterable[Revision], run: Run, first_runs: Mapping[str, str], folder: Path) -> Draft:
    """Write the rows of some outcomes, in their order.

    A document that can't be stored (a lone surrogate, edits that don't lead back) ends as rejected, reason `failed`.

    Args:
        revisions: Outcomes, as the whole corpus leaves them.
        run: This run.
        first_runs: The runs in which documents came first, by id, where it wasn't this one.
        folder: Where parts are written.

    Raises:
        OSError: if a part can't be written; nothing is left of any then.
    """
    writers = {table: PartWriter(table, run, folder) for table in BATCH_TABLES}
    counts = Counts()
    with ExitStack() as stack:
        for writer in writers.values():
            stack.callback(writer.discard)
        maker = _Maker(writers, run, first_runs)
        for group in _groups(maker.tables(some) for some in _together(revisions)):
            written = {table: writers[table].write(rows) for table, rows in group.items()}
            counts += count_rows(written["clean"], written["rejected"])
        made = {table: writer.finish() for table, writer in writers.items()}
        return Draft({table: part for table, part in made.items() if part}, counts)


_Tables = dict[str, pa.Table]
"""By table."""


def _together(revisions: Iterable[Revision]) -> Iterator[list[Revision]]:
    """A few at a time, none across the bounds of row groups, unless one before was full by bytes."""
    some: list[Revision] = []
    n_bytes = 0
    for n_documents, revision in enumerate(revisions, 1):
        some.append(revision)
        n_bytes += _text_bytes(revision.outcome)
        is_group = n_documents % ROWS_PER_GROUP == 0
        if is_group or len(some) >= _DOCUMENTS_TOGETHER or n_bytes >= min(_BYTES_TOGETHER, _GROUP_BYTES):
            yield some
            some, n_bytes = [], 0
    if some:
        yield some


def _text_bytes(outcome: Outcome) -> int:
    """Roughly what its text takes in a row."""
    return 3 * len(outcome.cleaned.text if outcome.cleaned else outcome.text_in or "")


def _groups(tables: Iterable[_Tables]) -> Iterator[_Tables]:
    """Rows of as many documents as make a row group."""
    group: list[_Tables] = []
    n_documents = n_bytes = 0
    for some in tables:
        group.append(some)
        n_documents += len(some["index"])
        n_bytes += sum(some[table].nbytes for table in ("clean", "rejected", "edits"))
        if n_documents >= ROWS_PER_GROUP or n_bytes >= _GROUP_BYTES:
            yield _joined(group)
            group, n_documents, n_bytes = [], 0, 0
    if group:
        yield _joined(group)


def _joined(group: Sequence[_Tables]) -> _Tables:
    return {table: pa.concat_tables([some[table] for some in group]) for table in BATCH_TABLES}


class _Maker:
    """Makes the rows of documents."""

    def __init__(self, writers: Mapping[str, PartWriter], run: Run, first_runs: Mapping[str, str]) -> None:
        self._writers, self._run, self._first_runs = writers, run, first_runs
        self._cleaned_with = cleaned_with(run)

    def tables(self, revisions: Sequence[Revision]) -> _Tables:
        """Their rows, by table."""
        try:
            return self._tables(revisions)
        except Exception:  # noqa: BLE001  whatever it is, the other documents are unaffected
            return self._tables([self._storable(revision) for revision in revisions])

    def _storable(self, revision: Revision) -> Revision:
        """The same, or rejected if it can't be stored."""
        try:
            self._tables([revision])
        except Exception:  # noqa: BLE001  as above
            rejection = Rejection(Reason.FAILED, f"It can't be stored. {traceback.format_exc()}")
            # What it adds to the counts stays: they were made with it.
            return revision._replace(outcome=Outcome(revision.outcome.origin, rejection=rejection), removed_lines=())
        return revision

    def _tables(self, revisions: Sequence[Revision]) -> _Tables:
        outcomes = [revision.outcome for revision in revisions]
        kept = [outcome for outcome in outcomes if outcome.rejection is None]
        rejected = [outcome for outcome in outcomes if outcome.rejection is not None]
        rows = {
            "clean": clean_rows(kept, self._run, [self._first(outcome) for outcome in kept]),
            "rejected": [rejected_row(outcome, self._run, self._first(outcome)) for outcome in rejected],
            "edits": [edits_row(outcome) for outcome in outcomes],
            "index": [self._index_row(revision) for revision in revisions],
        }
        _sign(rows)
        return {table: self._writers[table].table(rows[table]) for table in BATCH_TABLES}

    def _first(self, outcome: Outcome) -> str:
        return self._first_runs.get(outcome.origin.doc_id, self._run.run_id)

    def _index_row(self, revision: Revision) -> dict[str, Any]:
        outcome, features = revision.outcome, revision.features
        return {
            "doc_id": outcome.origin.doc_id,
            "source_uri": outcome.origin.source_uri,
            "record": outcome.origin.record,
            "state": outcome.origin.state,
            "cleaned_with": self._cleaned_with,
            "first_run_id": self._first(outcome),
            "run_id": self._run.run_id,
            "reason": None if outcome.rejection is None else str(outcome.rejection.reason),
            "sites": features.sites if features else (),
            "lines": features.lines if features else (),
            "body": features.body if features else (),
            "headed": bool(features and features.headed),
            "learned": revision.learned,
            "removed_lines": revision.removed_lines,
        }


def _sign(group: Mapping[str, list[dict[str, Any]]]) -> None:
    """Add the signatures of clean documents to their rows of the index."""
    kept = {row["doc_id"] for row in group["clean"]}
    signed = (row for row in group["index"] if row["doc_id"] in kept)
    for row, signature in zip(signed, signatures(group["clean"]), strict=True):
        row.update(signature)


def groups_to_write(batches: Sequence[Stored]) -> Iterator[list[Stored]]:
    """Neighbours that become one batch, in order; most are groups of one."""
    group: list[Stored] = []
    for batch in batches:
        if group and _fill([*group, batch]) > 1:
            yield group
            group = []
        group.append(batch)
    if group:
        yield group


def _fill(group: Iterable[Stored]) -> float:
    """How full a batch of all these would be."""
    rest = [(stored.counts, 1 - len(stored.gone) / max(stored.counts.documents, 1)) for stored in group]
    n_documents = sum(counts.documents * share for counts, share in rest)
    n_bytes = sum(counts.raw_bytes * share for counts, share in rest)
    return max(n_documents / FULL_DOCUMENTS, n_bytes / FULL_BYTES)


def stays(group: Sequence[Stored], dedup: Dedup) -> bool:
    """Whether a group needs not be written: it is one batch that nothing happens to.

    Raises:
        OSError: if its index can't be read.
    """
    (first, *others) = group
    if others or first.gone:
        return False
    index = pq.read_table(first.paths["index"], columns=["doc_id", "reason", *Mark._fields])
    return not needs_marking(index, first.marks, dedup)


def rewrite(group: Sequence[Stored], dedup: Dedup, run: Run, folder: Path) -> Draft:
    """Write neighbouring batches as one: without the documents that leave, and with what was found about duplicates.

    Raises:
        OSError: if something can't be written.
        DamagedError: if something can't be read.
    """
    rest = {table: pa.concat_tables(_rest(stored, table) for stored in group) for table in BATCH_TABLES}
    marks = {doc_id: mark for stored in group for doc_id, mark in stored.marks.items()}
    tables = Tables(rest["clean"], rest["rejected"], rest["index"])
    tables = mark_tables(tables, marks, dedup) or tables
    rest |= {"clean": tables.clean, "rejected": tables.rejected, "index": tables.index}
    parts = {
        table: write_part(table, rows, run, folder) for table, rows in rest.items() if rows is not None and len(rows)
    }
    return Draft(parts, count_rows(tables.clean, tables.rejected))


def _rest(stored: Stored, table: str) -> pa.Table:
    """Rows of a batch that stay."""
    schema = (TABLES | INTERNAL)[table]
    if table not in stored.paths:
        return schema.empty_table()
    try:
        rows = pq.read_table(stored.paths[table], page_checksum_verification=True).cast(schema)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(
            f"the dataset is damaged: {stored.paths[table]} can't be read ({error}). See: qingyuan verify, and "
            "qingyuan rollback if there is an older snapshot"
        ) from error
    if not stored.gone:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["doc_id"], pa.array(stored.gone, pa.string()))))


def index_rows(drafts: Iterable[Draft], columns: list[str]) -> pa.Table:
    """Columns of the index of batches that this run has made.

    Raises:
        OSError: if a part can't be read.
    """
    tables = [pq.read_table(draft.parts["index"].path, columns=columns) for draft in drafts]
    return pa.concat_tables([pa.schema([INTERNAL["index"].field(c) for c in columns]).empty_table(), *tables])
