import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.dataset import TABLES
from schemas.document import Cleaned, Decoded, Outcome, Run
from schemas.index import INTERNAL
from tasks import verify as module
from tasks.publish import parts as parts_module
from tasks.publish.snapshots import DatasetError, Snapshot, StoredPart
from tasks.publish.store import current, open_store
from tasks.verify import DocumentNotFoundError, Report, read_document, revert_document, verify

PublishOutcomes = Callable[..., Snapshot]


@pytest.fixture
def out(tmp_path: Path, outcomes: list[Outcome], run: Run, publish_outcomes: PublishOutcomes) -> Path:
    publish_outcomes(tmp_path / "out", run, outcomes[:10], outcomes[10:20], outcomes[20:])
    return tmp_path / "out"


def current_of(out: Path) -> Snapshot:
    return current(open_store(out))


def object_of(out: Path, part: StoredPart) -> Path:
    return open_store(out).path(part)


def test_a_document_is_read_by_its_id_or_the_start_of_it(out: Path, outcomes: list[Outcome]) -> None:
    kept, rejected = outcomes[12], outcomes[14]
    document = read_document(out, kept.origin.doc_id[:12])
    assert (document.table, document.doc_id) == ("clean", kept.origin.doc_id)
    assert kept.cleaned
    assert document.row["text"] == kept.cleaned.text
    assert document.log["edits"][0]["rule"] == "mangler"
    assert read_document(out, rejected.origin.doc_id).table == "rejected"


def test_every_decoded_document_reverts(out: Path, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.decoded:
            assert revert_document(out, outcome.origin.doc_id) == outcome.decoded.text


def test_a_document_that_was_never_decoded_says_why(out: Path, outcomes: list[Outcome]) -> None:
    with pytest.raises(DatasetError, match="never decoded: No permission"):
        revert_document(out, outcomes[6].origin.doc_id)


def test_no_document_or_several(out: Path, outcomes: list[Outcome]) -> None:
    with pytest.raises(DocumentNotFoundError, match=r"no document .* 'zz'"):
        read_document(out, "zz")
    first = outcomes[0].origin.doc_id[0]
    several = [o.origin.doc_id for o in outcomes if o.origin.doc_id.startswith(first)]
    assert len(several) > 1
    with pytest.raises(DocumentNotFoundError, match=rf"{len(several)} documents .* start with '{first}'"):
        read_document(out, first)


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_without_a_dataset_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        verify(tmp_path / name)
    with pytest.raises(DatasetError, match="holds no dataset"):
        revert_document(tmp_path / name, "a")


def test_a_good_dataset_has_no_problems(out: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert verify(out, lambda *progress: seen.append(progress)) == Report(snapshot=1, documents=30)
    assert seen[-1] == (30, 30)


def test_memory_is_bounded_by_batches(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batches smaller than shards it is still right, and shows how far it has come."""
    monkeypatch.setattr(module, "_BATCH_ROWS", 3)
    seen: list[int] = []
    assert verify(out, lambda done, _: seen.append(done)).ok
    assert seen == [*range(3, 31, 3), 30]


def test_an_empty_dataset_is_good(tmp_path: Path, run: Run, publish_outcomes: PublishOutcomes) -> None:
    publish_outcomes(tmp_path, run)
    assert verify(tmp_path).ok


def problem(out: Path) -> str:
    report = verify(out)
    assert not report.ok
    assert len(report.problems) == report.n_problems
    return "\n".join(report.problems)


def part_of(snapshot: Snapshot, table: str) -> StoredPart:
    if table == "index":
        return snapshot.batches[1].parts["index"]
    return snapshot.state["files"] if table == "files" else snapshot.tables[table][0]


@pytest.mark.parametrize("table", [*TABLES, *INTERNAL])
def test_a_flipped_bit_is_found(table: str, out: Path) -> None:
    path = object_of(out, part_of(current_of(out), table))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)  # the view is the same file
    assert "was changed or damaged" in problem(out)


def test_a_missing_object_is_found(out: Path) -> None:
    gone = {table: object_of(out, part_of(current_of(out), table)) for table in ("edits", "index", "files")}
    for path in gone.values():
        path.unlink()
    told = problem(out)
    for table, path in gone.items():
        assert f"{table}/" in told
        assert f"{path} can't be read" in told


def test_a_truncated_object_is_found(out: Path) -> None:
    path = object_of(out, current_of(out).tables["clean"][0])
    path.write_bytes(path.read_bytes()[:100])
    assert "was changed or damaged" in problem(out)


def test_a_stray_and_a_missing_file_in_the_view_are_found(out: Path) -> None:
    first, second, _ = sorted((out / "clean").iterdir())
    first.rename(out / "clean" / "mine.parquet")
    second.unlink()
    second.write_bytes(b"PAR1")
    told = problem(out)
    assert "mine.parquet is no part of snapshot 1" in told
    assert f"{first} is missing" in told
    assert f"{second} has another content" in told


def test_a_copy_of_a_dataset_is_as_good(out: Path, tmp_path: Path) -> None:
    """Copying makes two files of what was one."""
    shutil.copytree(out, tmp_path / "copy")
    assert verify(tmp_path / "copy").ok


Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def changed(table: str, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have parts written with changed rows: a bug of a writer, which no hash would show."""
    make = parts_module.PartWriter.table

    def make_changed(self: parts_module.PartWriter, rows: list[dict[str, Any]]) -> pa.Table:
        return make(self, change(rows) if self._table == table else rows)

    monkeypatch.setattr(parts_module.PartWriter, "table", make_changed)


def with_first(**values: Any) -> Change:
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("clean", with_first(text="别的文章"), "can't be reverted"),
        ("clean", with_first(text_sha256="0"), "text_sha256 doesn't fit"),
        ("clean", with_first(n_chars=1), "n_chars says 1"),
        ("clean", with_first(n_edits=1), "other edits than"),
        ("clean", with_first(edits_by_step=[]), "other edits than"),
        ("clean", with_first(decoded_sha256="0"), "does not revert"),
        ("clean", with_first(n_bad_bytes=1), "n_bad_bytes says 1"),
        ("rejected", with_first(decoded_sha256="0"), "does not revert"),
        ("edits", with_first(edits=[]), "does not revert"),
        ("edits", with_first(doc_id="f" * 32), "has no row in edits"),
        ("edits", lambda rows: [rows[0], *rows], "more than one row in edits"),
        ("clean", lambda rows: [rows[0], *rows], "more than once"),
        ("clean", lambda rows: rows[1:], "neither in clean nor in rejected"),
        ("edits", lambda rows: rows[::-1], ""),
        ("index", lambda rows: rows[1:], "not both in the index"),
        ("index", with_first(doc_id="f" * 32), f"document {'f' * 32} is not both in the index"),
        ("runs", with_first(n_clean=7), "counts n_clean = 7, the tables have 21"),
        ("runs", with_first(rejected_by_reason=[]), "0 documents by reason, rejected has 9"),
        ("runs", with_first(snapshot=9), "0 rows for snapshot 1"),
    ],
    ids=itertools.count(),
)
def test_a_wrong_row_is_found(  # noqa: PLR0913, PLR0917  # fixtures
    table: str,
    change: Change,
    told: str,
    tmp_path: Path,
    outcomes: list[Outcome],
    run: Run,
    publish_outcomes: PublishOutcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed(table, change, monkeypatch)
    publish_outcomes(tmp_path, run, outcomes)
    if told:
        assert told in problem(tmp_path)
    else:
        assert verify(tmp_path).ok


def test_documents_of_two_batches_with_one_id_are_found(
    tmp_path: Path, outcomes: list[Outcome], run: Run, publish_outcomes: PublishOutcomes
) -> None:
    publish_outcomes(tmp_path, run, outcomes[:3], outcomes[2:4])
    assert "more than once" in problem(tmp_path)


def test_another_schema_is_found(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "clean", TABLES["clean"].append(pa.field("new", pa.string())))
    assert "its columns are not those of 'clean'" in problem(out)


def test_of_many_problems_the_first_are_told(
    tmp_path: Path,
    make_kept: Callable[[int], Outcome],
    run: Run,
    publish_outcomes: PublishOutcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed("clean", lambda rows: [{**row, "n_chars": 0} for row in rows], monkeypatch)
    publish_outcomes(tmp_path, run, [make_kept(n) for n in range(120)])
    report = verify(tmp_path)
    assert (report.n_problems, len(report.problems)) == (120, 100)


def test_a_run_that_publishes_meanwhile_does_not_disturb(
    out: Path,
    outcomes: list[Outcome],
    later_run: Run,
    publish_outcomes: PublishOutcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = current_of(out)
    publish_outcomes(out, later_run, outcomes[:4])
    monkeypatch.setattr(module, "current", lambda _: snapshot)
    assert read_document(out, outcomes[12].origin.doc_id).row["run_id"] == "run-1"


def test_texts_of_all_sorts_come_back(
    tmp_path: Path, outcomes: list[Outcome], run: Run, publish_outcomes: PublishOutcomes
) -> None:
    texts = ["", "\x00\n", "\ufeff\ufffd", "👩‍👩‍👧 𠀀", "a" * 100_000, "\r\n\u2028\x85"]
    made = [
        replace(outcome, decoded=Decoded(text, "utf-8", 1.0, "strict"), cleaned=Cleaned(text, ()), rejection=None)
        for outcome, text in zip(outcomes, texts, strict=False)
    ]
    publish_outcomes(tmp_path, run, made)
    assert pq.read_table(tmp_path / "clean")["text"].to_pylist() == texts
    assert verify(tmp_path).ok
    assert [revert_document(tmp_path, outcome.origin.doc_id) for outcome in made] == texts
