import hashlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.dataset import TABLES
from schemas.document import Cleaned, Decoded, Outcome, Run
from tasks.publish import parts as module
from tasks.publish.parts import Counts, Part, write_parts


def read(parts: list[Part], table: str) -> pa.Table:
    (part,) = [part for part in parts if part.table == table]
    return pq.read_table(part.path)


def test_every_document_has_its_rows_in_order(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    parts = write_parts(iter(outcomes), run, tmp_path)
    ids = [outcome.origin.doc_id for outcome in outcomes]
    kept = [o.origin.doc_id for o in outcomes if o.rejection is None]
    assert read(parts, "edits")["doc_id"].to_pylist() == ids
    assert read(parts, "clean")["doc_id"].to_pylist() == kept
    assert read(parts, "rejected")["doc_id"].to_pylist() == [i for i in ids if i not in kept]


def test_a_part_is_what_it_says(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    for part in write_parts(outcomes, run, tmp_path):
        content = part.path.read_bytes()
        assert (part.sha256, part.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert part.rows == pq.read_metadata(part.path).num_rows
        assert pq.read_schema(part.path).equals(TABLES[part.table])
        assert pq.read_schema(part.path).metadata[b"qingyuan.rules_digest"] == b"rules1"
        assert part.path.suffix == ""
        assert pickle.loads(pickle.dumps(part)) == part
    assert len(list(tmp_path.iterdir())) == 3


def test_counts_add_up_over_parts_and_shards(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    together = write_parts(outcomes, run, tmp_path / "a")
    apart = [*write_parts(outcomes[:9], run, tmp_path / "b"), *write_parts(outcomes[9:], run, tmp_path / "b")]
    counts = sum((part.counts for part in together), Counts())
    assert counts == sum((part.counts for part in apart), Counts())
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


def test_the_same_outcomes_give_the_same_bytes(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    one = write_parts(outcomes, run, tmp_path / "a")
    other = write_parts(iter(outcomes), run, tmp_path / "b")
    assert [part.sha256 for part in one] == [part.sha256 for part in other]


def test_another_run_changes_nothing_but_its_own_columns(
    outcomes: list[Outcome], run: Run, later_run: Run, tmp_path: Path
) -> None:
    later_run = replace(later_run, rules_digest=run.rules_digest)
    one, other = (write_parts(outcomes, r, tmp_path) for r in (run, later_run))
    own = ["run_id", "ingested_at"]
    assert read(one, "clean").drop(own).equals(read(other, "clean").drop(own))
    assert not read(one, "clean").select(own).equals(read(other, "clean").select(own))
    assert {p.sha256 for p in one if p.table == "edits"} == {p.sha256 for p in other if p.table == "edits"}


def test_no_outcome_no_part(run: Run, tmp_path: Path) -> None:
    assert write_parts([], run, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_row_groups_are_bounded_by_rows(
    make_kept: Callable[[int], Outcome], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 10)
    (part, _) = write_parts(map(make_kept, range(25)), run, tmp_path)
    metadata = pq.read_metadata(part.path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 5]


def test_row_groups_are_bounded_by_size(
    make_kept: Callable[[int, str], Outcome], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GROUP_BYTES", 3000)
    texts = ["山水人家" * 300, "山水", "山水" * 10]
    (part, _) = write_parts([make_kept(n, text) for n, text in enumerate(texts)], run, tmp_path)
    metadata = pq.read_metadata(part.path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1, 2]


def test_the_file_is_written_as_designed(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    (part, *_) = write_parts(outcomes, run, tmp_path)
    group = pq.read_metadata(part.path).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert {path for path, column in columns.items() if column.has_dictionary_page} >= {"lang", "encoding", "run_id"}
    assert not columns["text"].has_dictionary_page
    assert columns["doc_id"].has_column_index
    assert columns["doc_id"].is_stats_set
    assert not columns["text"].is_stats_set


def test_a_damaged_page_is_noticed(outcomes: list[Outcome], run: Run, tmp_path: Path) -> None:
    (part, *_) = write_parts(outcomes, run, tmp_path)
    group = pq.read_metadata(part.path).row_group(0)
    (text,) = (c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == "text")
    content = bytearray(part.path.read_bytes())
    content[text.data_page_offset + text.total_compressed_size - 9] ^= 1
    part.path.write_bytes(content)
    with pytest.raises((OSError, pa.ArrowException), match=r"(?i)crc|checksum"):
        pq.ParquetFile(part.path, page_checksum_verification=True).read(["text"])


@pytest.mark.parametrize("where", ["text", "title", "edits"])
def test_a_document_that_cannot_be_stored_is_rejected_and_no_other(
    where: str, outcomes: list[Outcome], run: Run, tmp_path: Path
) -> None:
    bad = outcomes[1]
    assert bad.cleaned
    spoilt = {
        "text": replace(bad, decoded=Decoded("a\ud800", "x", 1.0, "x"), cleaned=Cleaned("a\ud800", ())),
        "title": replace(bad, cleaned=replace(bad.cleaned, facts={"title": "\udfff"})),
        "edits": replace(bad, cleaned=replace(bad.cleaned, stages=bad.cleaned.stages[:1])),
    }
    parts = write_parts([outcomes[0], spoilt[where], outcomes[2]], run, tmp_path)
    assert read(parts, "clean")["doc_id"].to_pylist() == [outcomes[i].origin.doc_id for i in (0, 2)]
    (row,) = read(parts, "rejected").to_pylist()
    assert (row["doc_id"], row["reason"], row["text"]) == (bad.origin.doc_id, "failed", None)
    assert "Error" in row["detail"]


def test_nothing_is_left_of_a_part_that_could_not_be_finished(
    outcomes: list[Outcome], run: Run, tmp_path: Path
) -> None:
    def failing() -> Iterator[Outcome]:
        yield from outcomes * 40  # enough for a row group
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_parts(failing(), run, tmp_path)
    assert list(tmp_path.iterdir()) == []
