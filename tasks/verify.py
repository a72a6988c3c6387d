"""Reading a dataset back: one document, the decoded input that it was made of, and a proof of the whole.

All of this reads the objects that one manifest names, so that a run that publishes meanwhile doesn't disturb it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dataset import SCHEMA_VERSION, TABLES, edits_by_step, sha256
from schemas.index import INTERNAL
from tasks.publish.parts import hash_file
from tasks.publish.snapshots import DamagedError, DatasetError, Snapshot, StoredPart
from tasks.publish.store import Store, at, current, open_store
from tasks.steps.edits import EditError
from tasks.steps.log import revert_all, take_back

Progress = Callable[[int, int], None]
"""Takes the number of documents that were checked, and of those there are."""

MAX_PROBLEMS = 100
"""As many are told one by one; of the others, only how many there are."""

_BATCH_ROWS = 200
"""Rows in memory at a time, of each table: a few megabytes of ordinary pages."""


class DocumentNotFoundError(LookupError):
    """No document of the dataset, or more than one, has an id that starts like this."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """All that a dataset has about a document."""

    table: str
    """`clean` or `rejected`."""
    row: Mapping[str, Any]
    """Its row there."""
    log: Mapping[str, Any]
    """Its row of `edits`."""

    @property
    def doc_id(self) -> str:
        """The whole id."""
        return str(self.row["doc_id"])


@dataclass(slots=True)
class Report:
    """What verifying found."""

    snapshot: int
    documents: int
    problems: list[str] = field(default_factory=list)
    """One sentence each; the first `MAX_PROBLEMS`."""
    n_problems: int = 0

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return self.n_problems == 0

    def add(self, problem: str) -> None:
        """Note a problem."""
        self.n_problems += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def read_document(out: str | Path, doc_id: str) -> StoredDocument:
    """Find a document by its id, or by the start of it.

    Raises:
        DocumentNotFoundError: if there is none or more than one; the message lists them.
        DatasetError: if the folder holds no dataset.
    """
    store = open_store(out)
    snapshot = current(store)
    table, found = _find(store, snapshot, doc_id)
    row = _row(store, snapshot, table, found)
    log = _row(store, snapshot, "edits", found)
    return StoredDocument(table, row, log)


def revert_document(out: str | Path, doc_id: str) -> str:
    """The decoded input of a document, by its id or the start of it.

    Raises:
        DocumentNotFoundError: if there is no such document, or more than one.
        DatasetError: if the folder holds no dataset, the document was never decoded, or the dataset is damaged.
    """
    document = read_document(out, doc_id)
    if document.row["text"] is None:
        raise DatasetError(f"document {document.doc_id} was never decoded: {document.row['detail']}")
    try:
        text = revert_all(document.row["text"], document.log["edits"])
    except EditError as error:
        raise DatasetError(
            f"document {document.doc_id} can't be reverted: {error}. See: qingyuan verify {out}"
        ) from error
    if sha256(text) != document.row["decoded_sha256"]:
        raise DatasetError(f"document {document.doc_id} does not revert to its input. See: qingyuan verify {out}")
    return text


def verify(out: str | Path, progress: Progress | None = None, number: int | None = None) -> Report:
    """Check a dataset as a whole, in bounded memory but for some 32 bytes a document.

    Objects have the content that their names say, the view shows the snapshot, schemas and counts are right, every
    document is there once, with its edits, and reverts to the input that was decoded.

    Args:
        out: Where the dataset lies.
        progress: Told now and then.
        number: An older snapshot instead of the current one: no view shows it.

    Raises:
        DatasetError: if the folder holds no dataset or no such snapshot, or its manifest can't be read.
    """
    store = open_store(out)
    snapshot = current(store) if number is None else at(store, number)
    report = Report(snapshot.number, snapshot.rows("clean") + snapshot.rows("rejected"))
    damaged = _check_objects(store, snapshot, report)
    for problem in store.problems(snapshot) if number in {None, store.numbers()[-1]} else ():
        report.add(problem)
    if not damaged:
        _check_run(store, snapshot, report)
        _check_documents(store, snapshot, report, progress or _nobody)
    return report


def _nobody(_done: int, _all: int) -> None:
    """Report to nobody."""


def _find(store: Store, snapshot: Snapshot, prefix: str) -> tuple[str, str]:
    """Table and whole id of the only document whose id starts so."""
    found = [
        (table, doc_id)
        for table in ("clean", "rejected")
        for batch in _batches(store, snapshot, table, ["doc_id"])
        for doc_id in pc.filter(batch["doc_id"], pc.starts_with(batch["doc_id"], prefix)).to_pylist()
    ]
    if not found:
        raise DocumentNotFoundError(f"no document of {store.name} has an id that starts with {prefix!r}")
    if len(found) > 1:
        some = ", ".join(doc_id for _, doc_id in found[:3])
        raise DocumentNotFoundError(
            f"{len(found)} documents of {store.name} have ids that start with {prefix!r}: {some}, …"
        )
    return found[0]


def _row(store: Store, snapshot: Snapshot, table: str, doc_id: str) -> dict[str, Any]:
    for part in snapshot.tables[table]:
        rows = pq.read_table(store.path(part), filters=pc.field("doc_id") == doc_id).to_pylist()
        if rows:
            return dict(rows[0])
    raise DatasetError(f"document {doc_id} has no row in {table!r}. See: qingyuan verify {store.name}")


def _batches(
    store: Store, snapshot: Snapshot, table: str, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    for part in snapshot.tables[table]:
        with pq.ParquetFile(store.path(part), page_checksum_verification=True) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)


def _check_objects(store: Store, snapshot: Snapshot, report: Report) -> bool:
    """Whether some part can't be relied upon."""
    before = report.n_problems
    tables = [(table, part) for table, parts in snapshot.tables.items() for part in parts]
    indexes = [("index", batch.parts["index"]) for batch in snapshot.batches]
    for table, part in [*tables, *indexes, *snapshot.state.items()]:
        for problem in _problems_of(store, table, part):
            report.add(f"{table}/{part.name or part.sha256[:16]}: {problem}")
    if snapshot.schema_version != SCHEMA_VERSION:
        report.add(f"the dataset has schema version {snapshot.schema_version}, this program {SCHEMA_VERSION}")
    return report.n_problems > before


def _problems_of(store: Store, table: str, part: StoredPart) -> Iterator[str]:
    try:
        path = store.path(part)
    except DamagedError as error:
        yield str(error)
        return
    try:
        if (found := hash_file(path)) != part.sha256:
            yield f"the content of {path} has the hash {found[:16]}… and not its own: it was changed or damaged"
            return
        if table not in TABLES | INTERNAL:
            return
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        yield f"{path} can't be read: {error}"
        return
    if not schema.equals((TABLES | INTERNAL)[table]):
        yield f"its columns are not those of {table!r} in schema version {SCHEMA_VERSION}"
    if rows != part.rows:
        yield f"it has {rows} rows, the manifest says {part.rows}"


def _check_run(store: Store, snapshot: Snapshot, report: Report) -> None:
    """The counts that the run gave are those of the tables."""
    rows = [row for batch in _batches(store, snapshot, "runs") for row in batch.to_pylist()]
    own = [row for row in rows if row["snapshot"] == snapshot.number]
    if len(own) != 1:
        report.add(f"runs has {len(own)} rows for snapshot {snapshot.number} instead of one")
        return
    clean, rejected = snapshot.rows("clean"), snapshot.rows("rejected")
    counts = {"n_documents": clean + rejected, "n_clean": clean, "n_rejected": rejected}
    for name, n in counts.items():
        if own[0][name] != n:
            report.add(f"run {own[0]['run_id']} counts {name} = {own[0][name]}, the tables have {n}")
    by_reason = sum(entry["documents"] for entry in own[0]["rejected_by_reason"])
    if by_reason != rejected:
        report.add(f"run {own[0]['run_id']} counts {by_reason} documents by reason, rejected has {rejected}")


def _check_documents(store: Store, snapshot: Snapshot, report: Report, progress: Progress) -> None:
    clean, rejected, logs = (_ids(store, snapshot, table) for table in ("clean", "rejected", "edits"))
    documents = np.concatenate([clean, rejected])
    for doc_id in np.setxor1d(documents, _indexed(store, snapshot)):
        report.add(f"document {doc_id.decode()} is not both in the index and in one of clean and rejected")
    for doc_id in _repeated(documents):
        report.add(f"document {doc_id} is there more than once in clean and rejected")
    for doc_id in _repeated(logs):
        report.add(f"document {doc_id} has more than one row in edits")
    for doc_id in np.setdiff1d(documents, logs):
        report.add(f"document {doc_id.decode()} has no row in edits")
    for doc_id in np.setdiff1d(logs, documents):
        report.add(f"edits has a row for {doc_id.decode()}, which is neither in clean nor in rejected")
    lone = {doc_id.decode() for doc_id in np.setxor1d(documents, logs)}
    pairs = _joined(store, snapshot, np.sort(rejected), lone)
    for done, (row, log) in enumerate(pairs, 1):
        for problem in _document_problems(row, log):
            report.add(f"document {row['doc_id']} {problem}")
        if done % _BATCH_ROWS == 0:
            progress(done, report.documents)
    progress(report.documents, report.documents)


def _ids(store: Store, snapshot: Snapshot, table: str) -> np.ndarray[Any, Any]:
    """Ids of a table as one array: 32 bytes each."""
    batches = _batches(store, snapshot, table, ["doc_id"])
    arrays = [np.array(batch["doc_id"].to_pylist(), dtype="S32") for batch in batches]
    return np.concatenate([np.array([], dtype="S32"), *arrays])


def _indexed(store: Store, snapshot: Snapshot) -> np.ndarray[Any, Any]:
    """Ids in the index: what the next run takes the dataset for."""
    parts = (store.path(batch.parts["index"]) for batch in snapshot.batches)
    arrays = [np.array(pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist(), dtype="S32") for path in parts]
    return np.concatenate([np.array([], dtype="S32"), *arrays])


def _repeated(ids: np.ndarray[Any, Any]) -> list[str]:
    values, counts = np.unique(ids, return_counts=True)
    return [value.decode() for value in values[counts > 1]]


def _joined(
    store: Store, snapshot: Snapshot, rejected: np.ndarray[Any, Any], lone: set[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of clean and rejected with their rows of edits, but for those that have no partner.

    All three are in the order of ingest, so that nothing waits for its partner; in another order every pair would
    be found all the same, with more in memory.
    """
    rows = (_rows(store, snapshot, "clean"), _rows(store, snapshot, "rejected"))
    waiting: dict[str, dict[str, Any]] = {}
    for log in _rows(store, snapshot, "edits"):
        doc_id = log["doc_id"]
        if doc_id in lone:
            continue
        for row in () if doc_id in waiting else rows[_contains(rejected, doc_id)]:
            waiting[row["doc_id"]] = row
            if row["doc_id"] == doc_id:
                break
        if doc_id in waiting:
            yield waiting.pop(doc_id), log


def _contains(ids: np.ndarray[Any, Any], doc_id: str) -> bool:
    """Whether an id is among sorted ones."""
    position = int(np.searchsorted(ids, doc_id.encode()))
    return position < len(ids) and ids[position] == doc_id.encode()


def _document_problems(row: Mapping[str, Any], log: Mapping[str, Any]) -> Iterator[str]:
    text = row["text"]
    if text is None:
        return
    if sha256(text) != row["text_sha256"]:
        yield "has a text that its text_sha256 doesn't fit"
    if len(text) != row["n_chars"]:
        yield f"has {len(text)} characters, n_chars says {row['n_chars']}"
    if len(log["bad_bytes"]) != row["n_bad_bytes"]:
        yield f"has {len(log['bad_bytes'])} bad bytes, n_bad_bytes says {row['n_bad_bytes']}"
    yield from _log_problems(row, log["edits"])


def _log_problems(row: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    text = row["text"]
    stages = []
    try:
        for stage, text_before in take_back(text, log):
            stages.append(stage)
            text = text_before
    except (EditError, ValueError, KeyError) as error:
        yield f"can't be reverted: {error}"
        return
    if sha256(text) != row["decoded_sha256"]:
        yield "does not revert to its decoded input"
    by_step = edits_by_step(tuple(reversed(stages)))
    if by_step != row["edits_by_step"] or sum(entry["edits"] for entry in by_step) != row["n_edits"]:
        yield "has other edits than edits_by_step and n_edits say"


def _rows(store: Store, snapshot: Snapshot, table: str) -> Iterator[dict[str, Any]]:
    for batch in _batches(store, snapshot, table):
        yield from batch.to_pylist()
