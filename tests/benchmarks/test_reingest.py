from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.reingest import compare, page, write
from schemas.dataset import TABLES

TEXTS = ["本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。\n会上，发言人回答了记者的提问。"] * 3


@pytest.fixture
def datasets(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with tables of one row, equal but for the columns about runs."""
    for name in ("one", "other"):
        for table in ("clean", "edits", "rejected", "lines"):
            schema = TABLES[table]
            row = {field.name: name if "run_id" in field.name else _value(field) for field in schema}
            (tmp_path / name / table).mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / name / table / "part.parquet")
    return tmp_path / "one", tmp_path / "other"


def _value(field: pa.Field) -> object:
    if field.nullable:
        return None
    if pa.types.is_list(field.type):
        return []
    return {"string": "甲", "double": 0.5, "bool": True}.get(str(field.type), 1)


def test_columns_about_runs_do_not_count(datasets: tuple[Path, Path]) -> None:
    assert compare(*datasets) == []


@pytest.mark.parametrize(("table", "column"), [("clean", "text"), ("rejected", "detail"), ("lines", "removed")])
def test_another_value_is_told(table: str, column: str, datasets: tuple[Path, Path]) -> None:
    path = datasets[1] / table / "part.parquet"
    rows = pq.read_table(path)
    other = pc.binary_join_element_wise(rows[column], "乙", "") if column != "removed" else pc.add(rows[column], 1)
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), rows.schema.field(column), other), path)
    assert compare(*datasets) == [f"{table}.{column}: 1 of 1 rows differ"]


def test_another_document_is_told(datasets: tuple[Path, Path]) -> None:
    path = datasets[1] / "clean" / "part.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert compare(*datasets) == ["clean: 1 and 0 rows, and not the same ones"]


def test_a_page_is_the_same_each_time_and_another_edition_is_not(tmp_path: Path) -> None:
    name, content = page(41, TEXTS, 0)
    assert (name, content) == page(41, TEXTS, 0)
    assert name == "site-001/000041.txt"
    write(tmp_path, 41, TEXTS, 0, edition=2)
    assert (tmp_path / name).read_text() == content + "\n本文于第2日更新，增补了41处内容。\n"
