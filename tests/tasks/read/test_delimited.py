import csv
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig, ReadConfig
from schemas.document import RawDocument
from tasks.decode import decode
from tasks.read import split_source
from tests.tasks.read.reading import documents, rows, source, told

LONG = "今天我们去了很多地方，看了很多风景，都很美丽。"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


def configured(field: str) -> CleanConfig:
    return CleanConfig(read=ReadConfig(text_field=field))


def extra(path: Path, content: bytes) -> list[dict[str, object]]:
    return [json.loads(item.origin.extra or "{}") for item in documents(source(path, content))]


def test_each_row_is_a_document_with_its_number(path: Path) -> None:
    content = 'id,title,text,url\n1,题,"甲,乙\n第二行 ""引""",http://a\r\n\n2,题二,丙,http://b'.encode()
    assert rows(path, content) == [("row=1", '甲,乙\n第二行 "引"'), ("row=2", "丙")]
    first = documents(source(path, content))[0]
    assert isinstance(first.raw, RawDocument)
    assert (dict(first.raw.facts), first.origin.url) == ({"title": "题"}, "http://a")
    assert extra(path, content)[0] == {"id": "1", "title": "题", "url": "http://a"}


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gb18030", "big5", "utf-16"])
def test_encodings(path: Path, codec: str) -> None:
    text = "許功蓋的程式設計，今天我們去了很多地方。"
    content = f'標題,內容\n"甲,乙",{text}\n丙,"{text}"\n'.encode(codec)
    items = documents(source(path, content))
    assert [decode(item.raw).text for item in items if isinstance(item.raw, RawDocument)] == [text, text]
    assert [dict(i.raw.facts) for i in items if isinstance(i.raw, RawDocument)] == [{"title": "甲,乙"}, {"title": "丙"}]


def test_rows_in_other_encodings_than_the_rest(path: Path) -> None:
    content = f"id,text\n1,{LONG}\n".encode() + f"2,{LONG}\n".encode("gbk")
    texts = [decode(item.raw).text for item in documents(source(path, content)) if isinstance(item.raw, RawDocument)]
    assert texts == [LONG, LONG]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "a;text;b\n1;甲,乙;2\n", ["甲,乙"]),
        ("a.csv", "a\ttext\n1\t甲,乙\n", ["甲,乙"]),
        ("a.csv", "a|text\n1|甲,乙\n", ["甲,乙"]),
        ("a.csv", 'sep=;\n"a";"text"\n1;甲,乙\n', ["甲,乙"]),
        ("a.csv", '"a;b;c;d",text\n1,甲\n', ["甲"]),
        ("a.tsv", "a,b,c\ttext\n1\t甲\n", ["甲"]),
        ("a.tsv", "text,a\n甲,1\n", ["甲"]),
        ("a.tsv", 'id\ttext\n1\t"你好" 他说\n2\t"乙\n', ['"你好" 他说', '"乙']),
        ("a.tsv", 'id\ttext\n1\t"甲\t乙\n丙"\n2\t丁\n', ["甲\t乙\n丙", "丁"]),
        ("a.csv", "id,text\r1,甲\r2,乙\r", ["甲", "乙"]),
        ("a.csv", "id,text\n1,a\0b\n", ["a\0b"]),
        ("a.csv", "Text\n甲\n乙\n", ["甲", "乙"]),
    ],
    ids=range(12),
)
def test_how_tables_are_written(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    assert [text for _, text in rows(tmp_path / name, content.encode())] == expected


def test_rows_that_are_too_short_or_too_long(path: Path) -> None:
    content = b"id,text,text,\n1\n2,b,c,d,e\n"
    found = rows(path, content)
    assert found[0] == (
        "row=1",
        "empty: No field with a usual name holds a text; there are: id. Name the one to read: text_field.",
    )
    assert found[1] == ("row=2", "b")
    assert extra(path, content)[1] == {"id": "2", "text#2": "c", "column_4": "d", "column_5": "e"}


def test_tables_without_a_header(path: Path) -> None:
    assert rows(path, f"{LONG}\n短\n".encode()) == [("row=1", LONG), ("row=2", "短")]
    table = f"1,http://a.cn/{'x' * 200},{LONG}\n2,http://b,短\n".encode()
    assert rows(path, table) == [("row=1", LONG), ("row=2", "短")]
    assert rows(path, b"1,b\n2,c\n", configured("2")) == [("row=1", "b"), ("row=2", "c")]
    assert rows(path, b"1,b\n2,c\n", configured("column_2")) == [("row=1", "b"), ("row=2", "c")]


def test_the_column_that_was_asked_for(path: Path) -> None:
    assert rows(path, b"text,Wen\na,b\n", configured("wen")) == [("row=1", "b")]
    assert rows(path, b"text,b\na,b\n", configured("c")) == [
        ("row=1", "broken: It has no column 'c'; there are: text, b.")
    ]
    assert rows(path, b"a,b\n1,2\n") == [
        (
            "row=1",
            "broken: No column has a usual name for the text; there are: a, b. Name the one to read: text_field.",
        )
    ]


def test_empty_tables(path: Path) -> None:
    for content in (b"", b"\n\n", b"id,text\n", b"\xef\xbb\xbf"):
        assert rows(path, content) == [("", "empty: There is no document in it.")]


UNCLOSED = "broken: A quote is not closed: its row does not end."


def test_a_quote_that_is_not_closed_costs_its_row(path: Path) -> None:
    content = b'id,text\n1,a\n2,"never closed\n3,c\n4,d'
    assert rows(path, content) == [("row=1", "a"), ("row=2", UNCLOSED), ("row=3", "c"), ("row=4", "d")]
    long = b'id,text\n1,"never closed\n' + b"2,b\n" * 17_000 + b'3,"c"\n'
    found = rows(path, long, CleanConfig(max_bytes=1000))
    assert (found[0], found[1], found[-1], len(found)) == (
        ("row=1", UNCLOSED),
        ("row=2", "b"),
        ("row=17002", "c"),
        17_002,
    )


def test_rows_that_are_too_large_are_not_held(path: Path) -> None:
    content = b"id,text\n1,a\n2," + b"x" * 50_000_000 + b"\n3,b\n4," + b"y" * 1001 + b"\n"
    given = source(path, content)
    tracemalloc.start()
    found = [told(item) for item in documents(given, CleanConfig(max_bytes=1000))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [
        "a",
        "too-large: 50,000,003 bytes, and 1,000 are allowed.",
        "b",
        "too-large: 1,001 bytes, and 1,000 are allowed.",
    ]
    assert peak < 10_000_000


@pytest.mark.parametrize("line", ['x",",y\n', '"\n', '","\n', '"""\n', '"a""\n', '\t"', ',"'], ids=range(7))
def test_hostile_quotes_take_linear_time(tmp_path: Path, line: str) -> None:
    for name in ("a.csv", "a.tsv"):
        rows(tmp_path / name, b"id,text\n" + line.encode() * 10_000, CleanConfig(max_bytes=10_000))


def test_a_table_is_not_split(path: Path) -> None:
    assert len(split_source(source(path, b"id,text\n" + b"1,abc\n" * 1_000_000))) == 1


FIELDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=9), st.sampled_from([",", ";", "\t"]))
def test_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]], delimiter: str
) -> None:
    made = io.StringIO()
    writer = csv.writer(made, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "note"), *records])
    items = documents(source(tmp_path_factory.getbasetemp() / "any.csv", made.getvalue().encode()))
    found = [(item.origin.record, told(item)) for item in items if isinstance(item.raw, RawDocument)]
    assert found == [(f"row={n}", text) for n, (text, _) in enumerate(records, 1) if text.encode().strip()]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b",", b'"', b"\n", b"\r", b"\t", b"text", b"a"]) | st.binary(max_size=3)).map(b"".join)
)
def test_anything_gives_rows_with_addresses_of_their_own(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    given = source(tmp_path_factory.getbasetemp() / "any.csv", content)
    items = documents(given, CleanConfig(max_bytes=20))
    addresses = [item.origin.record for item in items]
    assert items
    assert len(set(addresses)) == len(addresses)
    assert items == documents(given, CleanConfig(max_bytes=20))


def test_a_file_that_ends_within_a_row_of_several_lines_has_one_row_of_damage(tmp_path: Path) -> None:
    whole = 'id,text\n1,"一，\n二"\n2,"三\n四, 五\n六\n'
    found = rows(tmp_path / "a.csv", whole.encode())
    assert found == [("row=1", "一，\n二"), ("row=2", "broken: The file ends within this row: a quote is not closed.")]


def test_a_quote_too_many_does_not_look_like_a_file_that_was_cut(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.csv", 'id,text\n1,"一\n2,二\n3,三\n'.encode())
    unclosed = "broken: A quote is not closed: its row does not end."
    assert found == [("row=1", unclosed), ("row=2", "二"), ("row=3", "三")]
