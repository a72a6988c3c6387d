import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from schemas.config import CleanConfig
from schemas.dataset import CLEAN, REJECTED, clean_row
from tasks import BatchCleaner, clean_one, document, tables
from tasks.clean import clean
from tasks.library import COLUMNS
from tasks.steps.log import revert_all
from tasks.tables import FIELDS, ROWS_AT_ONCE

ROOT = Path(__file__).parents[2]
TRADITIONAL = "有著重要作用，是著名的旅遊景點。"
SIMPLIFIED = "有着重要作用，是著名的旅游景点。"
ROWS = [TRADITIONAL, None, "短", TRADITIONAL]
TEXTS = [SIMPLIFIED, None, None, SIMPLIFIED]
REASONS = [None, "empty", "too-short", None]
BRIEF = BatchCleaner(columns=["reason"])


def nones(column: Any) -> list[Any]:
    """Values of pandas without its kinds of nothing."""
    return [None if pd.isna(value) else value for value in column]


def invalid_utf8(content: bytes) -> pa.Array:
    """A column of strings that nobody checked."""
    offsets = pa.py_buffer(np.array([0, len(content)], "int32"))
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(content)])


class TestColumns:
    def test_names_types_and_descriptions_are_those_of_the_dataset(self) -> None:
        for field in BatchCleaner(columns=sorted({*CLEAN.names} & {*FIELDS} - {"text"})).schema():
            assert field.type == CLEAN.field(field.name).type
            assert field.nullable
            described = CLEAN.field(field.name).metadata[b"description"]
            assert field.metadata[b"description"].startswith(described)

    def test_what_is_asked_for_unless_somebody_asks(self) -> None:
        assert {*COLUMNS} <= {*CLEAN.names, *REJECTED.names}
        assert BatchCleaner().schema().names == ["text", *COLUMNS]

    def test_every_column_that_is_offered_is_filled(self) -> None:
        """For a document that has all; facts and scores only some have."""
        page = f"<html lang=zh><body><p>{TRADITIONAL}</p></body></html>".encode("gb18030")
        (row,) = BatchCleaner(columns=sorted({*FIELDS} - {"text"})).clean(pa.table({"text": [page]})).to_pylist()
        empty = {name for name, value in row.items() if value is None}
        facts = {"title", "author", "editor", "section", "site_name", "source_url", "licence"}
        assert empty == {*facts, "published_at", "published_zone", "mt_score", "spun_score", "reason", "detail"}

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (["nope"], "no column 'nope' to add; there are: .*lang"),
            (["text"], "no column 'text'"),
            (["duplicate_of"], "no column 'duplicate_of'"),
            (["lang", "lang"], "twice: lang"),
            ("lang", "no column"),
        ],
    )
    def test_wrong_ones_are_told_at_once(self, columns: list[str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            BatchCleaner(columns=columns)

    def test_steps_are_checked_at_once(self) -> None:
        with pytest.raises(ValueError, match="nope"):
            BatchCleaner(config=CleanConfig(skip=("nope",)))

    def test_one_that_is_there_already(self) -> None:
        table = pa.table({"text": ROWS, "reason": [1, 2, 3, 4]})
        for cleaner in (BRIEF, BatchCleaner(columns=(), keep=True)):
            with pytest.raises(ValueError, match=r"were to be added: (reason|text)\. .*prefix"):
                cleaner.clean(table)
        both = BatchCleaner(columns=["reason"], prefix="clean_", keep=True).clean(table)
        assert both.to_pydict() == {
            "text": ROWS,
            "reason": [1, 2, 3, 4],
            "clean_text": TEXTS,
            "clean_reason": REASONS,
        }

    def test_the_column_must_be_there_once(self) -> None:
        for names in (["x", "y"], ["text", "text"]):
            with pytest.raises(ValueError, match=r"one column 'text' is needed, and there are [02]\. .*'"):
                BRIEF.clean(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=names))

    @pytest.mark.parametrize("seed", sorted((ROOT / "seeds").glob("*.txt")))
    def test_values_are_those_of_the_document(self, seed: Path) -> None:
        names = sorted({*FIELDS} - {"text"})
        (row,) = BatchCleaner(columns=names).clean(pa.table({"text": [seed.read_bytes()]})).to_pylist()
        assert row == clean_one(seed.read_bytes()).row(names) | {"text": row["text"]}
        assert revert_all(row["text"], row["edits"]) == seed.read_text(encoding="utf-8")


class TestArrow:
    @pytest.mark.parametrize(
        "kind",
        [
            *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
            *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_binary())),
        ],
    )
    def test_every_kind_of_text_and_bytes(self, kind: pa.DataType) -> None:
        is_text = "string" in str(kind)
        rows = ROWS if is_text else [row and row.encode() for row in ROWS]
        array = pa.array(rows).cast(kind) if pa.types.is_dictionary(kind) else pa.array(rows, kind)
        pieces = [array, array.slice(1), array.slice(0, 0), array.slice(2, 2)]
        for piece in pieces:
            batch = pa.record_batch({"id": pa.array(range(len(piece)), pa.int64()), "text": piece})
            cleaned = BRIEF.clean(batch)
            cleaned.validate(full=True)
            assert cleaned.schema.equals(BRIEF.schema(batch.schema), check_metadata=True)
            start = len(ROWS) - len(piece) if len(piece) != 2 else 2
            expected = TEXTS[start:] if len(piece) else []
            assert cleaned["text"].to_pylist() == expected
            assert cleaned["id"].equals(batch["id"])
        chunked = pa.chunked_array(pieces)
        table = BRIEF.clean(pa.table({"text": chunked, "id": range(len(chunked))}))
        assert table["text"].to_pylist() == [*TEXTS, *TEXTS[1:], *TEXTS[2:]]
        assert table["id"].to_pylist() == list(range(len(chunked)))
        for column in (array, chunked):
            assert BRIEF.clean(column).to_pylist()[:4] == TEXTS
            assert type(BRIEF.clean(column)) in {pa.StringArray, pa.ChunkedArray}

    def test_other_ways_to_hold_text(self) -> None:
        extension = pa.ExtensionArray.from_storage(pa.json_(), pa.array(ROWS))
        repeated = pa.compute.run_end_encode(pa.array([TRADITIONAL, TRADITIONAL, None]))
        assert BRIEF.clean(pa.table({"text": extension}))["text"].to_pylist() == TEXTS
        assert BRIEF.clean(pa.table({"text": repeated}))["text"].to_pylist() == [SIMPLIFIED, SIMPLIFIED, None]
        assert BRIEF.clean(pa.table({"text": pa.nulls(2)}))["reason"].to_pylist() == ["empty", "empty"]

    @pytest.mark.parametrize("values", [[1], [[TRADITIONAL]], [{"a": TRADITIONAL}], [1.5], [True]])
    def test_what_is_no_text_is_an_error(self, values: list[Any]) -> None:
        table = pa.table({"text": values})
        with pytest.raises(TypeError, match="strings or bytes"):
            BRIEF.clean(table)
        with pytest.raises(TypeError, match="strings or bytes"):
            BRIEF.schema(table.schema)
        with pytest.raises(TypeError, match="strings or bytes"):
            BRIEF.clean(pa.array(values))

    def test_no_rows(self) -> None:
        schema = pa.schema([("text", pa.string()), ("x", pa.list_(pa.int8()))], metadata={"about": "this"})
        for table in (schema.empty_table(), pa.Table.from_batches([], schema)):
            cleaned = BRIEF.clean(table)
            assert cleaned.schema.equals(BRIEF.schema(schema), check_metadata=True)
            assert (cleaned.num_rows, cleaned.schema.metadata) == (0, {b"about": b"this"})
        assert len(BRIEF.clean(pa.chunked_array([], pa.string()))) == 0

    def test_more_rows_than_are_held_at_once(self) -> None:
        n = ROWS_AT_ONCE * 2 + 1
        table = BRIEF.clean(
            pa.table({"id": range(n), "text": [None] * n}, pa.schema({"id": "int64", "text": "string"}))
        )
        assert table["id"].to_pylist() == list(range(n))
        assert table["reason"].to_pylist() == ["empty"] * n

    def test_columns_that_are_carried_may_have_one_name(self) -> None:
        columns = [pa.array([1]), pa.array([TRADITIONAL]), pa.array([{"a": [2]}])]
        cleaned = BRIEF.clean(pa.Table.from_arrays(columns, names=["a", "text", "a"]))
        assert cleaned.schema.names == ["a", "a", "text", "reason"]
        assert cleaned.column(1).to_pylist() == [{"a": [2]}]

    def test_strings_that_are_no_utf8_are_bytes(self) -> None:
        table = pa.table({"text": invalid_utf8(TRADITIONAL.encode("gb18030"))})
        cleaned = BatchCleaner(columns=["encoding"]).clean(table)
        assert cleaned.to_pylist() == [{"text": SIMPLIFIED, "encoding": "gb18030"}]

    def test_batch_after_batch(self) -> None:
        batches = [pa.record_batch({"text": [text]}) for text in (TRADITIONAL, "短")]
        cleaned = BRIEF.clean_each(iter(batches))
        assert [batch["text"].to_pylist() for batch in cleaned] == [[SIMPLIFIED], [None]]

    def test_a_bug_costs_one_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(document, "clean", lambda text, c: 1 / 0 if "短" in text else clean(text, c))
        cleaned = BatchCleaner().clean(pa.table({"text": ROWS})).to_pylist()
        assert [row["reason"] for row in cleaned] == [None, "empty", "failed", None]
        assert "ZeroDivisionError" in cleaned[2]["detail"]

    @pytest.mark.parametrize("value", ["\ud800", 2**80, object()])
    def test_a_value_that_can_not_be_stored_costs_one_row(self, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(outcome: Any, *args: Any, **more: Any) -> dict[str, Any]:
            return clean_row(outcome, *args, **more) | ({"title": value} if "坏" in outcome.cleaned.text else {})

        monkeypatch.setattr(tables, "clean_row", broken)
        rows = BatchCleaner().clean(pa.table({"text": [TRADITIONAL, TRADITIONAL + "坏", TRADITIONAL]})).to_pylist()
        assert [row["text"] for row in rows] == [SIMPLIFIED, None, SIMPLIFIED]
        assert rows[1]["reason"] == "failed"


class TestPandas:
    @pytest.mark.parametrize(
        "dtype",
        [
            *("object", "str", "string", "category", pd.ArrowDtype(pa.string())),
            pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
        ],
    )
    def test_the_index_stays(self, dtype: Any) -> None:
        index = pd.MultiIndex.from_tuples([("a", 1), ("a", 1), ("b", None), ("c", 3)], names=["k", None])
        frame = pd.DataFrame({"id": [3, 1, 2, 1], "text": pd.Series(ROWS, index, dtype=dtype)}, index)
        cleaned = assert_type(BatchCleaner(columns=["reason", "n_edits"]).clean(frame), pd.DataFrame)
        assert cleaned.index.identical(index)
        assert list(cleaned.columns) == ["id", "text", "reason", "n_edits"]
        assert nones(cleaned.text) == TEXTS
        assert nones(cleaned.reason) == REASONS
        assert cleaned.id.tolist() == [3, 1, 2, 1]
        assert list(frame.columns) == ["id", "text"]
        series = BRIEF.clean(frame.text)
        assert series.index.identical(index)
        assert (nones(series), series.name) == (TEXTS, "text")

    def test_types_are_the_same_with_nulls_without_and_without_rows(self) -> None:
        cleaner = BatchCleaner(columns=[*COLUMNS, "edits", "lang_confidence", "n_chars"])
        frame = pd.DataFrame({"text": ROWS})
        types = [cleaner.clean(part).dtypes.to_dict() for part in (frame, frame[:1], frame[1:2], frame[:0])]
        assert types == [types[0]] * 4
        assert str(types[0]["n_edits"]) == "Int64"

    def test_columns_of_one_name_and_of_no_name(self) -> None:
        frame = pd.DataFrame([[1, TRADITIONAL, 2, 3]], columns=["a", "text", "a", 7])
        assert BRIEF.clean(frame).to_numpy().tolist()[0][:4] == [1, 2, 3, SIMPLIFIED]
        levels = pd.DataFrame([[1, TRADITIONAL]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("text", "")]))
        cleaned = BatchCleaner(("text", ""), ["reason"]).clean(levels)  # type: ignore[arg-type]
        assert cleaned.columns.equals(pd.MultiIndex.from_tuples([("a", "b"), ("text", ""), ("reason", "")]))

    def test_objects_of_all_kinds(self) -> None:
        frame = pd.DataFrame({"text": [TRADITIONAL.encode("big5"), None, 3, ["文"], float("nan"), pd.NA, pd.NaT]})
        cleaned = BRIEF.clean(frame)
        assert nones(cleaned.text) == [SIMPLIFIED, *[None] * 6]
        assert nones(cleaned.reason) == [None, "empty", "not-text", "not-text", "empty", "empty", "empty"]
        assert nones(BRIEF.clean(pd.DataFrame({"text": [float("nan")]})).reason) == ["empty"]

    @pytest.mark.parametrize("values", [[1], [1.5], [True], pd.array([1], "Int64"), pd.to_datetime(["2023-01-01"])])
    def test_a_column_of_something_else_is_an_error(self, values: Any) -> None:
        with pytest.raises(TypeError, match="strings or bytes"):
            BRIEF.clean(pd.DataFrame({"text": values}))


class TestPolars:
    @pytest.mark.parametrize(
        "dtype", [pl.String, pl.Categorical, pl.Enum([TRADITIONAL, "短"]), pl.Binary, pl.Object], ids=str
    )
    def test_every_kind_of_text_and_bytes(self, dtype: Any) -> None:
        rows = [row and row.encode() for row in ROWS] if dtype == pl.Binary else ROWS
        frame = pl.DataFrame({"id": [1, 2, 3, 4], "text": pl.Series(rows, dtype=dtype)})
        cleaned = assert_type(BRIEF.clean(frame), pl.DataFrame)
        assert cleaned.to_dict(as_series=False) == {"id": [1, 2, 3, 4], "text": TEXTS, "reason": REASONS}
        column = assert_type(BRIEF.clean(frame["text"]), pl.Series)
        assert column.dtype == pl.String
        assert (column.to_list(), column.name) == (TEXTS, "text")

    def test_the_schema_is_known_beforehand(self) -> None:
        cleaner = BatchCleaner(columns=sorted({*FIELDS} - {"text"}))
        frame = pl.DataFrame({"id": [1, 2, 3, 4], "text": ROWS})
        assert cleaner.clean(frame.clear()).schema == cleaner.clean(frame).schema

    def test_numbers_are_an_error(self) -> None:
        with pytest.raises(TypeError, match="strings or bytes"):
            BRIEF.clean(pl.DataFrame({"text": [1]}))


class TestMappings:
    def test_columns_of_any_kind(self) -> None:
        for column in (ROWS, np.array(ROWS, object), pa.array(ROWS), pd.Series(ROWS), pl.Series(ROWS)):
            cleaned = BRIEF.clean({"id": [1, 2, 3, 4], "text": column})
            assert cleaned == {"id": [1, 2, 3, 4], "text": TEXTS, "reason": REASONS}
        numpy = BRIEF.clean({"text": np.array([TRADITIONAL, TRADITIONAL])})
        assert numpy["text"] == [SIMPLIFIED, SIMPLIFIED]

    def test_something_else_is_an_error(self) -> None:
        for given in (TRADITIONAL, [TRADITIONAL], pl.LazyFrame({"text": ROWS}), None):
            with pytest.raises(TypeError, match="pandas, Polars or Arrow"):
                BRIEF.clean(given)


class TestEngines:
    def test_it_can_be_pickled(self) -> None:
        cleaner = BatchCleaner("html", ["lang"], prefix="x_", config=CleanConfig(script="tw"))
        assert pickle.loads(pickle.dumps(cleaner)) == cleaner
        again = pickle.loads(pickle.dumps(cleaner.clean_each))
        assert next(again([pa.record_batch({"html": [TRADITIONAL]})]))["x_text"].to_pylist() == [TRADITIONAL]

    def test_it_does_not_load_prefect(self) -> None:
        code = f"""
import sys
import pyarrow as pa
from tasks import BatchCleaner
print(BatchCleaner(columns=[]).clean(pa.table({{"text": ["{TRADITIONAL}"]}})).to_pylist(), "prefect" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
        assert done.stdout.decode() == f"{[{'text': SIMPLIFIED}]} False\n"

    def test_names_of_types_in_spark(self) -> None:
        told = BatchCleaner(columns=["n_edits", "flags", "bad_bytes"], prefix="p_").ddl()
        assert "`p_text` STRING COMMENT 'The clean text." in told
        assert "`p_n_edits` BIGINT COMMENT" in told
        assert "`p_flags` ARRAY<STRING> COMMENT" in told
        assert "`p_bad_bytes` ARRAY<STRUCT<`offset`: BIGINT, `position`: INT, `value`: SMALLINT>> COMMENT" in told
        assert BatchCleaner(columns=sorted({*FIELDS} - {"text"})).ddl()
