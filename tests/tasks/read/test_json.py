import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import RawDocument
from tasks.read import read_span
from tasks.read.records import Document, Span
from tests.tasks.read.reading import documents, rows, source, told

LONG = "今天我们去了很多地方，看了很多风景。"
RECORDS = [{"title": f"题{n}", "text": f"第{n}条", "n": n} for n in range(3)]
THREE = [("row=1", "第0条"), ("row=2", "第1条"), ("row=3", "第2条")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.json"


def dumped(value: Any, **how: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, **how).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "content",
    [
        dumped(RECORDS),
        dumped(RECORDS, indent=2),
        b"\xef\xbb\xbf\n" + dumped(RECORDS),
        json.dumps(RECORDS).encode("utf-16"),
        dumped(RECORDS).decode().encode("gbk"),
        b"\n".join(dumped(record, indent=1) for record in RECORDS),
        b"".join(b"\x1e" + dumped(record, indent=1) + b"\n" for record in RECORDS),
        dumped({"code": 0, "msg": "", "data": RECORDS}),
        dumped({"RECORDS": RECORDS}, indent=1),
        dumped({"hits": {"total": 3, "hits": [{"_id": n, "_source": r} for n, r in enumerate(RECORDS)]}}),
        dumped({"data": {"page": 1, "list": RECORDS}}),
    ],
    ids=range(11),
)
def test_records_however_they_are_wrapped(path: Path, content: bytes) -> None:
    items = documents(source(path, content))
    assert [(item.origin.record, told(item)) for item in items] == THREE
    assert [item.raw.facts for item in items if isinstance(item.raw, RawDocument)] == [
        {"title": f"题{n}"} for n in range(3)
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{\n"title": "x", "text": "a"}', [("row=1", "a")]),
        (b'{\n"data": {"title": "x", "text": "a"}}', [("row=1", "a")]),
        (b'{\n"text": "a", "data": [{"text": "b"}]}', [("row=1", "a")]),
        (b'{\n"data": [{"text": "b"}], "text": "a"}', [("row=1", "b"), ("row=2", "a")]),
        (b'"a"', [("row=1", "a")]),
        (b'["a", "b"]', [("row=1", "a"), ("row=2", "b")]),
        (b"[]", [("", "empty: There is no document in it.")]),
        (b"[12]", [("row=1", "empty: There is no text in it.")]),
        (b'var x = {"text": "a"}', [("", 'var x = {"text": "a"}')]),
        (b"", [("", "")]),
    ],
    ids=range(10),
)
def test_what_else_there_is_in_files(path: Path, content: bytes, expected: list[tuple[str, str]]) -> None:
    assert rows(path, content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[{"text": "a"}, {"text" "b"}, {"text": "c"}]', ["a", "broken", "c"]),
        (
            b'[{"text": "a"}, {"text": "b", "x": [{"text": "no"}, {"text": "no"}], ?}, {"text": "c"}]',
            ["a", "broken", "c"],
        ),
        (b'[{"text": "a"}, ?, {"text": "c"}]', ["a", "broken", "c"]),
        (b'[{"text": "a"}, {"text": "b"', ["a", "broken"]),
        (b'[{"text": "a"}, {"text": "b"}', ["a", "b", "broken"]),
        (b'{\n"data": [{"text": "a"}, {"text": "b"}]', ["a", "b", "broken"]),
        (b'{\n"text": "a"', ["broken"]),
        (b'{\n"text" "a"}', ["broken"]),
        (b"[" * 100_000, ["broken"]),
        (b'[{"a":' + b'{"text":' * 200 + b'"no"' + b"}" * 201 + b', {"text": "b"}]', ["broken", "b"]),
        (b'[{"text": "a"}, {"n": ' + b"1" * 1_000_000 + b'}, {"n": 1, "text": "c"}]', ["a", "broken", "c"]),
    ],
    ids=range(11),
)
def test_what_is_broken_is_a_row_and_reading_goes_on(path: Path, content: bytes, expected: list[str]) -> None:
    found = rows(path, content)
    assert [address for address, _ in found] == [f"row={n}" for n in range(1, len(expected) + 1)]
    assert [text.partition(":")[0] for _, text in found] == expected


def test_a_record_that_is_too_large_is_not_held(path: Path) -> None:
    content = b'[{"text": "a"}, {"text": "' + b"x" * 30_000_000 + b'"}, {"text": "b"}]'
    given = source(path, content)
    tracemalloc.start()
    found = [told(item) for item in documents(given, CleanConfig(max_bytes=1000))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == ["a", "too-large: More than 69,536 bytes, and 1,000 are allowed.", "b"]
    assert peak < 10_000_000


def test_a_long_list_is_not_held(path: Path) -> None:
    given = source(path, dumped([{"text": LONG * 100, "n": n} for n in range(2500)]))
    assert given.n_bytes > 13_000_000
    tracemalloc.start()
    n_items = n_bytes = 0
    for item in read_span(Span(given), CleanConfig(max_bytes=100_000)):
        assert isinstance(item, Document)
        n_items, n_bytes = n_items + 1, n_bytes + item.origin.n_bytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (n_items, n_bytes) == (2500, 2500 * len(LONG.encode()) * 100)
    assert peak < 9_000_000


@pytest.mark.parametrize("filler", ['{"a},', "[", '{"', '{"a":[', '"', '{"text":"\\'], ids=range(6))
def test_hostile_files_take_linear_time(path: Path, filler: str) -> None:
    rows(path, b"[" + filler.encode() * 5_000, CleanConfig(max_bytes=10_000))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(), min_size=1), max_size=9), st.integers(1, 9), st.booleans())
def test_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], chunk: int, escaped: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    records = [{"text": text, "n": 1, "x": [text]} for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.read.json._CHUNK_CHARS", chunk)
        patch.setattr("tasks.read.lines.CHUNK_BYTES", chunk)
        patch.setattr("tasks.read.json._HEAD_BYTES", 1)
        content = json.dumps(records, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
        items = documents(source(path, content))
    found = [(item.origin.record, told(item)) for item in items if isinstance(item.raw, RawDocument)]
    assert found == [(f"row={n}", text) for n, text in enumerate(texts, 1) if text.strip()]


TOKENS = st.sampled_from([*'[]{},:"\\ \n', '{"text":"a"}', '"data":', '"text":', "1", "null", "\x1e"])


@settings(max_examples=150, deadline=None)
@given(st.lists(TOKENS | st.text(max_size=2), max_size=25).map("".join))
def test_anything_gives_rows_with_addresses_of_their_own(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    given = source(tmp_path_factory.getbasetemp() / "any.json", text.encode("utf-8", "surrogatepass"))
    items = documents(given)
    addresses = [item.origin.record for item in items]
    assert items
    assert len(set(addresses)) == len(addresses)
    assert items == documents(given)
