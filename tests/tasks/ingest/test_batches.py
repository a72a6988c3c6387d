import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from schemas.dataset import TABLES, cleaned_with
from schemas.document import Cleaned, Decoded, Outcome, Run
from schemas.index import INDEX, INTERNAL
from tasks.corpus import Revision
from tasks.corpus.duplicates import Mark
from tasks.corpus.lines import Features
from tasks.ingest import batches as module
from tasks.ingest.batches import (
    FULL_BYTES,
    FULL_DOCUMENTS,
    Stored,
    groups_to_write,
    index_rows,
    of_run,
    rewrite,
    stays,
    write_batch,
)
from tasks.publish.counts import Counts, count_rows
from tasks.publish.parts import Draft, PartWriter, write_part
from tasks.publish.snapshots import BATCH_TABLES, Batch, DamagedError

MakeKept = Callable[..., Outcome]

RUN_COLUMNS = ["run_id", "first_run_id", "ingested_at"]


def write(outcomes: Sequence[Outcome], run: Run, folder: Path) -> Draft:
    return write_batch(map(Revision, outcomes), run, {}, folder)


def read(draft: Draft, table: str) -> pa.Table:
    return pq.read_table(draft.parts[table].path)


def ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.origin.doc_id for outcome in outcomes]


def kept(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.rejection is None]


class TestWriteBatch:
    def test_every_document_has_its_rows_in_order(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        draft = write(outcomes, run, tmp_path)
        assert read(draft, "edits")["doc_id"].to_pylist() == ids(outcomes)
        assert read(draft, "index")["doc_id"].to_pylist() == ids(outcomes)
        assert read(draft, "clean")["doc_id"].to_pylist() == ids(kept(outcomes))
        assert read(draft, "rejected")["doc_id"].to_pylist() == [
            i for i in ids(outcomes) if i not in ids(kept(outcomes))
        ]

    def test_a_part_is_what_it_says(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        draft = write(outcomes, run, tmp_path)
        for table, part in draft.parts.items():
            content = part.path.read_bytes()
            assert (part.table, part.sha256, part.bytes) == (table, hashlib.sha256(content).hexdigest(), len(content))
            assert part.rows == pq.read_metadata(part.path).num_rows
            assert pq.read_schema(part.path).equals((TABLES | INTERNAL)[table])
            assert part.path.suffix == ""
        for table in ("clean", "edits", "rejected"):
            metadata = pq.read_schema(draft.parts[table].path).metadata
            assert metadata[b"qingyuan.rules_digest"] == b"rules1"
        assert list(draft.parts) == list(BATCH_TABLES)
        assert pickle.loads(pickle.dumps(draft)) == draft
        assert len(list(tmp_path.iterdir())) == 4

    def test_the_index_knows_what_became_of_each(
        self, outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
    ) -> None:
        features = Features(("file:///pages",), (3, 5), (1, 2, 3), headed=True)
        given = [Revision(outcomes[0], features, 7, (3,)), *map(Revision, outcomes[1:])]
        draft = write_batch(given, later_run, {outcomes[1].origin.doc_id: run.run_id}, tmp_path)
        rows = read(draft, "index").to_pylist()
        for row, outcome in zip(rows, outcomes, strict=True):
            origin, rejection = outcome.origin, outcome.rejection
            assert (row["source_uri"], row["record"], row["state"]) == (origin.source_uri, "", origin.sha256)
            assert row["reason"] == (rejection and rejection.reason)
            assert row["cleaned_with"] == cleaned_with(later_run)
            assert row["run_id"] == "run-2"
            assert (row["folded_hash"] is None) == (rejection is not None)
            assert (row["duplicate_of"], row["dropped"]) == (None, None)
        assert [row["first_run_id"] for row in rows[:3]] == ["run-2", "run-1", "run-2"]
        assert (rows[0]["sites"], rows[0]["lines"], rows[0]["body"]) == (["file:///pages"], [3, 5], [1, 2, 3])
        assert (rows[0]["headed"], rows[0]["learned"], rows[0]["removed_lines"]) == (True, 7, [3])
        assert (rows[1]["sites"], rows[1]["headed"], rows[1]["learned"]) == ([], False, 0)

    def test_rows_say_in_which_run_a_document_came_first(
        self, outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
    ) -> None:
        """A kept one, and a rejected one."""
        known = {outcomes[0].origin.doc_id: run.run_id, outcomes[4].origin.doc_id: run.run_id}
        draft = write_batch(map(Revision, outcomes[:5]), later_run, known, tmp_path)
        assert read(draft, "clean")["first_run_id"].to_pylist() == ["run-1", "run-2", "run-2", "run-2"]
        assert read(draft, "rejected")["first_run_id"].to_pylist() == ["run-1"]
        for table in ("clean", "rejected"):
            assert set(read(draft, table)["run_id"].to_pylist()) == {"run-2"}
            assert {moment.day for moment in read(draft, table)["ingested_at"].to_pylist()} == {2}

    def test_counts_add_up_over_shards(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        counts = write(outcomes, run, tmp_path / "a").counts
        apart = (write(outcomes[:9], run, tmp_path / "b"), write(outcomes[9:], run, tmp_path / "b"))
        assert counts == sum((draft.counts for draft in apart), Counts())
        assert counts.documents == 30
        assert counts.rejected == {"too-short": 5, "unreadable": 4}
        assert counts.clean == 21
        assert counts.edits["glosses"] == 20
        too_short = 4 + 4 + 5 + 5 + 5  # characters that were decoded, and are in no clean text
        assert counts.chars_in == counts.chars_out + counts.removed["glosses"] + too_short
        assert counts.removed["glosses"] == 20 * len("(chǎn)")
        assert counts.scripts == {"hant": 20, "hans": 1}
        assert counts.encodings == {"utf-8": 21, "gb18030": 5}
        assert counts.flags == {"shift": 26}
        assert counts.raw_bytes == sum(outcome.origin.n_bytes for outcome in outcomes if outcome.decoded)

    def test_counts_are_those_of_the_rows_that_were_written(
        self, outcomes: list[Outcome], run: Run, tmp_path: Path
    ) -> None:
        spoilt = replace(outcomes[1], cleaned=Cleaned("a\ud800", ()))
        draft = write([outcomes[0], spoilt, *outcomes[2:]], run, tmp_path)
        assert draft.counts == count_rows(read(draft, "clean"), read(draft, "rejected"))
        assert draft.counts.rejected["failed"] == 1

    def test_the_same_outcomes_give_the_same_bytes(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        one = write(outcomes, run, tmp_path / "a")
        other = write_batch(map(Revision, iter(outcomes)), run, {}, tmp_path / "b")
        assert [part.sha256 for part in one.parts.values()] == [part.sha256 for part in other.parts.values()]

    def test_another_run_changes_nothing_but_its_own_columns(
        self, outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
    ) -> None:
        later_run = replace(later_run, rules_digest=run.rules_digest)
        one, other = (write(outcomes, r, tmp_path) for r in (run, later_run))
        assert read(one, "clean").drop(RUN_COLUMNS).equals(read(other, "clean").drop(RUN_COLUMNS))
        for column in RUN_COLUMNS:
            assert read(one, "clean")[column].unique() != read(other, "clean")[column].unique()
        assert one.parts["edits"].sha256 == other.parts["edits"].sha256

    def test_no_outcome_no_part(self, run: Run, tmp_path: Path) -> None:
        assert write([], run, tmp_path) == Draft({}, Counts())
        assert list(tmp_path.iterdir()) == []

    def test_tables_without_rows_have_no_part(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        assert set(write(kept(outcomes), run, tmp_path).parts) == {"clean", "edits", "index"}
        assert set(write(outcomes[4:5], run, tmp_path).parts) == {"rejected", "edits", "index"}

    @pytest.mark.parametrize("where", ["text", "title", "edits"])
    def test_a_document_that_cannot_be_stored_is_rejected_and_no_other(
        self, where: str, outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
    ) -> None:
        bad = outcomes[1]
        assert bad.cleaned
        spoilt = {
            "text": replace(bad, decoded=Decoded("a\ud800", "x", 1.0, "x"), cleaned=Cleaned("a\ud800", ())),
            "title": replace(bad, cleaned=replace(bad.cleaned, facts={"title": "\udfff"})),
            "edits": replace(bad, cleaned=replace(bad.cleaned, stages=bad.cleaned.stages[:1])),
        }
        given = map(Revision, [outcomes[0], spoilt[where], outcomes[2]])
        draft = write_batch(given, later_run, {bad.origin.doc_id: run.run_id}, tmp_path)
        assert read(draft, "clean")["doc_id"].to_pylist() == ids([outcomes[0], outcomes[2]])
        (row,) = read(draft, "rejected").to_pylist()
        assert (row["doc_id"], row["reason"], row["text"]) == (bad.origin.doc_id, "failed", None)
        assert row["first_run_id"] == "run-1"
        assert "Error" in row["detail"]
        indexed = read(draft, "index").to_pylist()[1]
        assert (indexed["reason"], indexed["state"]) == ("failed", bad.origin.sha256)

    def test_nothing_is_left_of_a_batch_that_could_not_be_finished(
        self, outcomes: list[Outcome], run: Run, tmp_path: Path
    ) -> None:
        def failing() -> Iterator[Revision]:
            yield from map(Revision, outcomes * 40)  # enough for a row group
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            write_batch(failing(), run, {}, tmp_path)
        assert list(tmp_path.iterdir()) == []


def groups_of(part: Path) -> list[int]:
    metadata = pq.read_metadata(part)
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


class TestRowGroups:
    def test_they_are_bounded_by_rows(
        self, make_kept: MakeKept, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "ROWS_PER_GROUP", 10)
        draft = write(list(map(make_kept, range(25))), run, tmp_path)
        assert [groups_of(draft.parts[table].path) for table in ("clean", "edits", "index")] == [[10, 10, 5]] * 3

    def test_they_are_bounded_by_size(
        self, make_kept: MakeKept, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_GROUP_BYTES", 3000)
        texts = ["山水人家" * 300, "山水", "山水" * 10]
        draft = write([make_kept(n, text) for n, text in enumerate(texts)], run, tmp_path)
        assert groups_of(draft.parts["clean"].path) == [1, 2]

    def test_a_rejected_text_takes_memory_as_well(
        self, make_kept: MakeKept, outcomes: list[Outcome], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_GROUP_BYTES", 3000)
        rejection = outcomes[4].rejection
        given = [replace(make_kept(n, "山水人家" * 300), rejection=rejection) for n in range(3)]
        assert groups_of(write(given, run, tmp_path).parts["rejected"].path) == [1, 1, 1]


class TestParts:
    """`tasks.publish.parts.PartWriter`."""

    def test_the_file_is_written_as_designed(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        group = pq.read_metadata(write(outcomes, run, tmp_path).parts["clean"].path).row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert {path for path, column in columns.items() if column.has_dictionary_page} >= {
            "lang",
            "encoding",
            "run_id",
        }
        assert not columns["text"].has_dictionary_page
        assert columns["doc_id"].has_column_index
        assert columns["doc_id"].is_stats_set
        assert not columns["text"].is_stats_set

    def test_a_damaged_page_is_noticed(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        part = write(outcomes, run, tmp_path).parts["clean"]
        group = pq.read_metadata(part.path).row_group(0)
        (text,) = (c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == "text")
        content = bytearray(part.path.read_bytes())
        content[text.data_page_offset + text.total_compressed_size - 9] ^= 1
        part.path.write_bytes(content)
        with pytest.raises((OSError, pa.ArrowException), match=r"(?i)crc|checksum"):
            pq.ParquetFile(part.path, page_checksum_verification=True).read(["text"])

    def test_a_part_without_rows_is_one_if_it_is_wanted(self, run: Run, tmp_path: Path) -> None:
        part = write_part("rejected", [], run, tmp_path)
        assert (part.rows, pq.read_table(part.path).num_rows) == (0, 0)
        assert pq.read_schema(part.path).equals(TABLES["rejected"])
        assert PartWriter("clean", run, tmp_path).finish() is None

    def test_rows_that_do_not_fit_leave_nothing(self, run: Run, tmp_path: Path) -> None:
        with pytest.raises(pa.ArrowException):
            write_part("lines", [{"site": 3}], run, tmp_path)
        assert list(tmp_path.iterdir()) == []


def as_stored(draft: Draft, number: int, gone: Sequence[str] = (), marks: Any = None) -> Stored:
    """What this run has made as a batch of a snapshot: only its number and its counts are of interest."""
    stored = of_run(draft)
    return replace(stored, batch=Batch(number, {}, draft.counts), draft=None, gone=frozenset(gone), marks=marks or {})


def all_rows(draft: Draft) -> dict[str, list[dict[str, Any]]]:
    return {table: read(draft, table).to_pylist() for table in draft.parts}


class TestRewrite:
    def test_documents_that_are_gone_leave_all_tables_and_the_rest_stays_as_it_is(
        self, outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
    ) -> None:
        draft = write(outcomes, run, tmp_path)
        gone = ids([outcomes[0], outcomes[4], outcomes[20]])  # the second one is rejected
        made = rewrite([as_stored(draft, 3, gone)], "off", later_run, tmp_path)
        for table in BATCH_TABLES:
            before = read(draft, table)
            rest = before.filter(pc.invert(pc.is_in(before["doc_id"], pa.array(gone))))
            assert read(made, table).to_pylist() == rest.to_pylist()
        assert made.counts == count_rows(read(made, "clean"), read(made, "rejected"))
        assert made.counts.documents == 27

    def test_it_is_the_same_as_if_they_had_never_been_there(
        self, outcomes: list[Outcome], run: Run, tmp_path: Path
    ) -> None:
        """Byte for byte, but where the run is said in the footer."""
        gone = ids(outcomes[::3])
        made = rewrite([as_stored(write(outcomes, run, tmp_path), 0, gone)], "off", run, tmp_path)
        rest = write([outcome for outcome in outcomes if outcome.origin.doc_id not in gone], run, tmp_path)
        assert made.parts == rest.parts
        assert made.counts == rest.counts

    def test_a_batch_that_loses_all_has_no_parts(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        made = rewrite([as_stored(write(outcomes, run, tmp_path), 0, ids(outcomes))], "mark", run, tmp_path)
        assert made == Draft({}, Counts())

    def test_a_table_that_loses_all_has_no_part(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        gone = ids([outcome for outcome in outcomes if outcome.rejection])
        made = rewrite([as_stored(write(outcomes, run, tmp_path), 0, gone)], "off", run, tmp_path)
        assert set(made.parts) == {"clean", "edits", "index"}

    def test_neighbours_are_joined_in_their_order(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        shards = [outcomes[:10], outcomes[10:12], outcomes[12:]]
        stored = [as_stored(write(shard, run, tmp_path), number) for number, shard in enumerate(shards)]
        made = rewrite(stored, "off", run, tmp_path)
        assert made.parts == write(outcomes, run, tmp_path).parts

    def test_a_part_that_was_damaged_on_the_disk_is_not_written_on(
        self, outcomes: list[Outcome], run: Run, tmp_path: Path
    ) -> None:
        draft = write(outcomes, run, tmp_path)
        group = pq.read_metadata(draft.parts["clean"].path).row_group(0)
        (text,) = (c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == "text")
        content = bytearray(draft.parts["clean"].path.read_bytes())
        content[text.data_page_offset + text.total_compressed_size - 9] ^= 1
        draft.parts["clean"].path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"(?is)is damaged: .*/clean-.*(crc|checksum)"):
            rewrite([as_stored(draft, 0, ids(outcomes[:1]))], "off", run, tmp_path)


class TestMarks:
    def marks(self, outcomes: Sequence[Outcome]) -> dict[str, Mark]:
        """The first stands for the second."""
        first, second = ids(outcomes[:2])
        return {first: Mark(cluster_size=2), second: Mark(first, 0.75, 2)}

    def test_they_are_written_into_the_columns(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        draft = write(outcomes, run, tmp_path)
        made = rewrite([as_stored(draft, 0, marks=self.marks(outcomes))], "mark", run, tmp_path)
        columns = ["duplicate_of", "duplicate_similarity", "cluster_size"]
        for table in ("clean", "index"):
            first, second, third = read(made, table).select(columns).to_pylist()[:3]
            assert first == {"duplicate_of": None, "duplicate_similarity": None, "cluster_size": 2}
            assert second == {"duplicate_of": ids(outcomes)[0], "duplicate_similarity": 0.75, "cluster_size": 2}
            assert set(third.values()) == {None}
            assert read(made, table).drop(columns).equals(read(draft, table).drop(columns))
        assert made.counts.duplicates == 1
        assert made.counts == count_rows(read(made, "clean"), read(made, "rejected"))
        assert made.parts["edits"].sha256 == draft.parts["edits"].sha256
        assert made.parts["rejected"].sha256 == draft.parts["rejected"].sha256

    def test_they_stay_when_another_document_leaves(self, outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
        marked = rewrite(
            [as_stored(write(outcomes, run, tmp_path), 0, marks=self.marks(outcomes))], "mark", run, tmp_path
        )
        again = rewrite([as_stored(marked, 0, ids(outcomes[5:6]))], "mark", run, tmp_path)
        assert again.counts.duplicates == 1
        assert read(again, "clean").to_pylist()[1]["duplicate_of"] == ids(outcomes)[0]

    def test_dropped_ones_are_rejected_and_come_back_as_they_were(
        self, outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
    ) -> None:
        draft = write(outcomes, run, tmp_path)
        dropped = rewrite([as_stored(draft, 0, marks=self.marks(outcomes))], "drop", run, tmp_path)
        assert read(dropped, "clean")["doc_id"].to_pylist() == [i for i in ids(kept(outcomes)) if i != ids(outcomes)[1]]
        (row,) = (row for row in read(dropped, "rejected").to_pylist() if row["reason"] == "duplicate")
        assert row["doc_id"] == ids(outcomes)[1]
        assert ids(outcomes)[0] in row["detail"]
        assert read(dropped, "rejected")["doc_id"].to_pylist() == [
            i for i in ids(outcomes) if i not in read(dropped, "clean")["doc_id"].to_pylist()
        ]
        assert (dropped.counts.clean, dropped.counts.documents) == (20, 30)
        assert dropped.counts.rejected["duplicate"] == 1
        first, second = ids(outcomes[:2])
        back = {first: Mark(), second: Mark()}
        returned = rewrite([as_stored(dropped, 0, marks=back)], "drop", later_run, tmp_path)
        assert all_rows(returned) == all_rows(draft)
        off = rewrite([as_stored(dropped, 0)], "off", later_run, tmp_path)
        assert all_rows(off) == all_rows(draft)

    def test_a_batch_need_not_be_written_if_nothing_happens_to_it(
        self, outcomes: list[Outcome], run: Run, tmp_path: Path
    ) -> None:
        draft = write(outcomes, run, tmp_path)
        marks = self.marks(outcomes)
        marked = rewrite([as_stored(draft, 0, marks=marks)], "mark", run, tmp_path)
        assert stays([as_stored(draft, 0)], "mark")
        assert stays([as_stored(draft, 0)], "off")
        assert stays([of_run(draft)], "drop")
        assert stays([as_stored(marked, 0, marks=marks)], "mark")
        assert stays([as_stored(marked, 0)], "mark")
        assert not stays([as_stored(draft, 0, marks=marks)], "mark")
        assert not stays([as_stored(draft, 0, ids(outcomes[:1]))], "mark")
        assert not stays([as_stored(marked, 0)], "drop")
        assert not stays([as_stored(marked, 0)], "off")
        assert not stays([as_stored(draft, 0), as_stored(draft, 1)], "mark")


def sized(number: int, documents: int, n_bytes: int = 0, gone: int = 0) -> Stored:
    counts = Counts(documents=documents, raw_bytes=n_bytes)
    return Stored(Batch(number, {}, counts), None, {}, counts, frozenset(map(str, range(gone))))


def joins(*batches: Stored) -> list[list[int | None]]:
    return [[stored.number for stored in group] for group in groups_to_write(batches)]


class TestGroups:
    def test_small_neighbours_are_joined_up_to_a_full_batch(self) -> None:
        half = FULL_DOCUMENTS // 2
        assert joins(sized(0, half), sized(1, half), sized(4, 1)) == [[0, 1], [4]]
        assert joins(sized(0, half), sized(1, half + 1)) == [[0], [1]]
        assert joins(*(sized(n, 10) for n in range(5))) == [[0, 1, 2, 3, 4]]
        assert joins() == []

    def test_large_documents_fill_a_batch_as_well(self) -> None:
        half = FULL_BYTES // 2
        assert joins(sized(0, 1, half), sized(1, 1, half), sized(2, 1, half)) == [[0, 1], [2]]

    def test_full_ones_stay_alone_and_in_order(self) -> None:
        full = FULL_DOCUMENTS
        assert joins(sized(0, 3), sized(1, full), sized(2, 3), sized(3, 9 * full), sized(5, 3), sized(6, 3)) == [
            [0],
            [1],
            [2],
            [3],
            [5, 6],
        ]

    def test_what_leaves_does_not_count(self) -> None:
        full = FULL_DOCUMENTS
        assert joins(sized(0, full, gone=full - 5), sized(1, full - 5)) == [[0, 1]]
        assert joins(sized(0, full, FULL_BYTES, gone=full // 2), sized(1, 1, FULL_BYTES // 2)) == [[0, 1]]
        assert joins(sized(0, full, gone=full), sized(1, full)) == [[0, 1]]

    def test_every_batch_is_in_one_group(self) -> None:
        sizes = [n * 7919 % 1500 for n in range(200)]
        groups = joins(*(sized(n, size) for n, size in enumerate(sizes)))
        assert [number for group in groups for number in group] == list(range(200))
        assert all(len(group) == 1 or sum(sizes[n or 0] for n in group) <= FULL_DOCUMENTS for group in groups)


def test_the_index_of_what_was_made_can_be_read_in_parts(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    made = [write(outcomes[:10], run, tmp_path), write(outcomes[10:], run, tmp_path)]
    assert index_rows(made, ["doc_id", "reason"])["doc_id"].to_pylist() == ids(outcomes)
    assert index_rows([], ["doc_id", "reason"]).schema == pa.schema([INDEX.field("doc_id"), INDEX.field("reason")])
