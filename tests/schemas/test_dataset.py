import io
import json
import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.dataset import (
    CLEAN,
    EDITS,
    ENUMERATIONS,
    KEYS,
    REJECTED,
    RUNS,
    SCHEMA_VERSION,
    TABLES,
    clean_row,
    data_dictionary,
    edits_row,
    rejected_row,
    run_row,
    with_footer,
)
from schemas.document import Cleaned, Decoded, Edit, Origin, Outcome, RawDocument, Reason, Rejection, Run, Stage
from tasks.decode import decode, encode
from tasks.steps.edits import EditError
from tasks.steps.log import revert_all

DICTIONARY = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def all_fields(schema: pa.Schema) -> list[pa.Field]:
    fields = list(schema)
    for field in fields:  # grows
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            fields += list(field.type.value_type)
    return fields


@pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)
def test_every_field_is_described(schema: pa.Schema) -> None:
    for field in all_fields(schema):
        assert len(field.metadata[b"description"]) > 5, field.name


@pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)
def test_types_are_those_that_every_reader_takes(schema: pa.Schema) -> None:
    plain = {pa.string(), pa.binary(), pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float64(), pa.timestamp("us")}
    for field in all_fields(schema):
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        assert kind in plain or pa.types.is_struct(kind), field


def test_the_issue_asks_for_these_columns() -> None:
    asked = """doc_id title text lang script_source script published_at site_name author section source_uri record
        raw_sha256 raw_bytes encoding encoding_confidence encoding_method n_bad_bytes decoded_sha256 text_sha256 n_chars
        n_edits edits_by_step chars_removed min_confidence flags run_id pipeline_version rules_digest ingested_at"""
    assert set(asked.split()) <= set(CLEAN.names)
    assert [field.name for field in EDITS.field("edits").type.value_type] == ["stage", *Edit._fields]


@pytest.mark.parametrize("columns", [KEYS, ENUMERATIONS])
def test_columns_with_statistics_or_dictionaries_exist(columns: dict[str, tuple[str, ...]]) -> None:
    for table, paths in columns.items():
        buffer = io.BytesIO()
        pq.write_table(TABLES[table].empty_table(), buffer)
        schema = pq.ParquetFile(buffer).schema
        assert set(paths) <= {schema.column(i).path for i in range(len(schema))}


def test_row_of_a_kept_document(outcomes: list[Outcome], run: Run) -> None:
    row = clean_row(outcomes[0], run)
    assert set(CLEAN.names) - row.keys() == {"duplicate_of", "duplicate_similarity", "cluster_size"}, "found later"
    assert row.keys() < set(CLEAN.names)
    assert row["text"] == "标题：产业发展。\n第0段，责任编辑。\n"
    assert (row["lang"], row["script_source"], row["script"]) == ("zh", "hant", "hans")
    assert (row["title"], row["published_at"], row["author"]) == ("标题", "2023-06-24T19:04", None)
    assert row["edits_by_step"] == [
        {"step": "glosses", "edits": 1, "chars_removed": 6},
        {"step": "script", "edits": 8, "chars_removed": 0},
    ]
    assert (row["n_edits"], row["chars_removed"], row["min_confidence"]) == (9, 6, 0.9)
    assert row["ingested_at"] == datetime(2026, 11, 1, 12)  # noqa: DTZ001  # that is what is stored


def test_the_script_before_conversion_is_that_of_the_article(run: Run) -> None:
    """Not of the spam above it, nor of mojibake as it was observed."""
    spam = "办证刻章，联系电话，质优价廉。" * 3
    decoded = f"{spam}產業發展"
    stages = (
        Stage("spam", (Edit("spam", "vocabulary", 0, spam, ""),)),
        Stage("script", (Edit("script", "t2s", 0, "產業發", "产业发"),)),
    )
    outcome = Outcome(_origin(decoded), Decoded(decoded, "utf-8", 1.0, "strict"), Cleaned("产业发展", stages))
    assert clean_row(outcome, run)["script_source"] == "hant"


def test_figures_to_filter_by(outcomes: list[Outcome], run: Run) -> None:
    row = clean_row(outcomes[0], run)
    assert (row["n_lines"], row["mean_line_chars"], row["decoded_chars"]) == (2, 8.5, 25)
    assert (row["han_share"], row["punctuation_share"]) == (0.7059, 0.2353)  # 12 and 4 of 17
    assert (row["removed_share"], row["edited_share"], row["damage_chars"]) == (0.24, 0.24, 2)  # the gloss of 6
    assert (row["mt_score"], row["spun_score"]) == (None, None)
    assert rejected_row(outcomes[4], run)["han_share"] == 0.5
    assert "han_share" not in rejected_row(outcomes[6], run)


def test_english_that_a_machine_translated_is_flagged(run: Run) -> None:
    text = (
        "The meeting stressed the improvement and improvement of relevant departments. Among them, the plan is good.\n"
    )
    outcome = Outcome(_origin(text), Decoded(text, "utf-8", 1.0, "strict"), Cleaned(text, (), flags=("unsettled",)))
    row = clean_row(outcome, run)
    assert row["lang"] == "en"
    assert row["mt_score"] > 2
    assert row["flags"] == ["machine-translated", "unsettled"]


@pytest.mark.parametrize("value", ["昨天", "2023年6月24日", "2023-13-01", ""])
def test_published_at_holds_iso_8601_or_nothing(run: Run, value: str) -> None:
    cleaned = Cleaned("产业发展", (), {"published_at": value})
    outcome = Outcome(_origin("x"), Decoded("产业发展", "utf-8", 1.0, "strict"), cleaned)
    assert clean_row(outcome, run)["published_at"] is None


@pytest.mark.parametrize(
    ("text", "published", "zone"),
    [
        ("产业发展", "2023-06-24T19:04", "+08:00 assumed"),
        ("产业发展", "2023-06-24T19:04:19+09:00", "+09:00 given"),
        ("The industry of the district is growing fast.", "2023-06-24T19:04+00:00", "+00:00 given"),
        ("The industry of the district is growing fast.", "2023-06-24T19:04", None),
        ("产业发展", "2023-06-24", None),
    ],
)
def test_the_zone_is_given_or_assumed(run: Run, text: str, published: str, zone: str | None) -> None:
    outcome = Outcome(
        _origin("x"), Decoded(text, "utf-8", 1.0, "strict"), Cleaned(text, (), {"published_at": published})
    )
    row = clean_row(outcome, run)
    assert (row["published_at"], row["published_zone"]) == (published, zone)


def test_row_of_a_rejected_document(outcomes: list[Outcome], run: Run) -> None:
    row = rejected_row(outcomes[4], run)
    assert row.keys() == set(REJECTED.names)
    assert (row["reason"], row["text"], row["n_bad_bytes"]) == ("too-short", "产业4\ufffd", 1)


def test_row_of_a_document_that_could_not_be_read(outcomes: list[Outcome], run: Run) -> None:
    table = pa.Table.from_pylist([rejected_row(outcomes[6], run)], schema=REJECTED)
    row = table.to_pylist()[0]
    assert (row["reason"], row["text"], row["encoding"], row["decoded_sha256"]) == ("unreadable", None, None, None)
    assert edits_row(outcomes[6])["edits"] == []


def test_a_document_has_a_row_in_one_table_only(outcomes: list[Outcome], run: Run) -> None:
    with pytest.raises(ValueError, match="was kept"):
        rejected_row(outcomes[0], run)
    with pytest.raises(ValueError, match="was not kept"):
        clean_row(outcomes[4], run)


def test_detail_may_quote_anything(run: Run) -> None:
    outcome = Outcome(_origin("x"), rejection=Rejection(Reason.FAILED, "ValueError: '\ud800'"))
    assert rejected_row(outcome, run)["detail"] == "ValueError: '\\ud800'"


def test_edits_that_do_not_lead_back_are_refused() -> None:
    stages = (Stage("s", (Edit("s", "r", 0, "甲", "乙"),)),)
    outcome = Outcome(_origin("x"), Decoded("甲丙", "utf-8", 1.0, "strict"), Cleaned("乙丁", stages))
    with pytest.raises(EditError, match="do not lead back"):
        edits_row(outcome)


def test_raw_bytes_can_be_made_of_the_rows(run: Run) -> None:
    raw = "產業發展，".encode("gb18030") + b"\xff\xfe" + "责任编辑".encode("gb18030")
    outcome = _decoded(raw)
    assert outcome.decoded
    row, log = clean_row(outcome, run), edits_row(outcome)
    again = Decoded(
        revert_all(row["text"], log["edits"]),
        row["encoding"],
        row["encoding_confidence"],
        row["encoding_method"],
        *(
            tuple(type(item)(**stored) for item, stored in zip(getattr(outcome.decoded, name), log[name], strict=True))
            for name in ("bad_bytes", "segments", "verbatim")
        ),
    )
    assert row["n_bad_bytes"] > 0
    assert encode(again) == raw


def test_a_run_tells_its_versions(run: Run) -> None:
    row = run_row(run)
    assert row.keys() <= set(RUNS.names)
    assert {"name": "pyarrow", "version": pa.__version__} in row["libraries"]
    assert json.loads(row["config"])["script"] == "hans"


def test_the_footer_names_version_and_rules() -> None:
    metadata = with_footer("clean", "0.1.0", "abc").metadata
    assert metadata[b"qingyuan.schema_version"] == SCHEMA_VERSION.encode()
    assert metadata[b"qingyuan.pipeline_version"] == b"0.1.0"
    assert metadata[b"qingyuan.rules_digest"] == b"abc"
    assert metadata[b"qingyuan.table"] == b"clean"


def test_the_data_dictionary_is_current() -> None:
    assert DICTIONARY.read_text(encoding="utf-8") == data_dictionary(), "run: python -m schemas.dataset"


def test_the_data_dictionary_has_every_column() -> None:
    names = set(re.findall(r"^\| `([\w.]+)` \|", data_dictionary(), re.MULTILINE))
    assert {field.name for schema in TABLES.values() for field in schema} <= names
    assert "edits.before" in names


def _origin(text: str) -> Origin:
    return Origin("file:///x.txt", "", "", len(text))


def _decoded(raw: bytes) -> Outcome:
    """Decoded for real; cleaned by nothing."""
    decoded = decode(RawDocument("file:///x.txt", raw))
    return Outcome(_origin("x"), decoded, Cleaned(decoded.text, ()))
