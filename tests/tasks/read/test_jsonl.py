import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.read
from schemas.config import CleanConfig
from schemas.document import RawDocument
from tasks.decode import decode
from tasks.read import split_source
from tests.tasks.read.reading import documents, of_pieces, of_span, rows, source, told

LONG = "今天我们去了很多地方，看了很多风景。"


def jsonl(*records: Any) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode("utf-8", "surrogatepass")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def test_each_line_is_a_document_with_its_number(path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "a"}\n\n  \r\n{"text": "b"}\r\n{"text": "c"}'
    assert rows(path, content) == [("line=1", "a"), ("line=4", "b"), ("line=5", "c")]


def test_what_stands_beside_the_text(path: Path) -> None:
    (item,) = documents(source(path, jsonl({"text": "甲", "url": "http://a.cn", "title": "题", "n": 1})))
    assert isinstance(item.raw, RawDocument)
    assert (item.raw.known_encoding, dict(item.raw.facts), item.origin.url) == ("utf-8", {"title": "题"}, "http://a.cn")
    assert json.loads(item.origin.extra) == {"url": "http://a.cn", "title": "题", "n": 1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"text": "a"', "broken: It is no JSON: Expecting ',' delimiter, at character 13."),
        (b'{"text": "a\\qb"}', "broken: It is no JSON: Invalid \\escape, at character 12."),
        (b"text", "broken: It is no JSON: Expecting value, at character 1."),
        (b"\0\0\0\0", "broken: It is no JSON: Expecting value, at character 1."),
        (b"[" * 100_000, "broken: It is nested deeper than 100 levels."),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "broken: It is nested deeper than 100 levels."),
        (b'{"text": "a", "n": ' + b"1" * 1_000_000 + b"}", "broken: It holds a number of more digits than are read."),
        (b"null", "empty: There is no text in it."),
        (b"12", "empty: There is no text in it."),
    ],
    ids=range(9),
)
def test_a_line_that_is_no_document_is_a_row_and_reading_goes_on(path: Path, line: bytes, says: str) -> None:
    content = b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n'
    assert rows(path, content) == [("line=1", "before"), ("line=2", says), ("line=3", "after")]
    assert documents(source(path, content))[1].origin.n_bytes == len(line) + 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'\x1e{"text": "a"}', ["a"]),
        (b'{"text": "a"},', ["a"]),
        (b'{"text": "a"}]', ["a"]),
        (b"[", []),
        (b"],", []),
        (b'"a"', ["a"]),
        (b'["a", "b"]', ["a\nb"]),
        (b'[{"text": "a"}, {"text": "b"}]', ["a", "b"]),
        (b'{"text": "a"}{"text": "b"} {"text": "c"}', ["a", "b", "c"]),
        (b'{"text": "a", "n": [NaN, Infinity, 1e999]}', ["a"]),
        (b'{"text": "a\tb\x00c"}', ["a\tb\x00c"]),
        (b'{"text": "\\ud800x"}', ["\ud800x"]),
        (b'{"text": "\\ud83d\\ude00"}', ["\U0001f600"]),
    ],
    ids=range(13),
)
def test_what_else_there_is_in_lines(path: Path, line: bytes, expected: list[str]) -> None:
    addresses = ["line=2", "line=2#2", "line=2#3"]
    found = rows(path, b'{"text": "first"}\n' + line)
    assert found == [("line=1", "first"), *zip(addresses, expected, strict=False)]


def test_what_json_has_not_is_json_beside_the_text(path: Path) -> None:
    (item,) = documents(source(path, b'{"text": "a", "n": [NaN, 1e999], "s": "\\ud800"}\n'))
    assert item.origin.extra == '{"n": ["NaN", "Infinity"], "s": "\\ud800"}'


@pytest.mark.parametrize("codec", ["gb18030", "big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(path: Path, codec: str) -> None:
    texts = ['許功蓋的程式設計，今天我們去了很多地方。\\ "', "第二條：看了很多風景。"]  # trail bytes are backslashes
    content = jsonl(*({"text": text, "id": n} for n, text in enumerate(texts))).decode().encode(codec)
    assert rows(path, content) == [("line=1", texts[0]), ("line=2", texts[1])]


def test_bad_bytes_stay_what_they_are(path: Path) -> None:
    bad = b"abc \xff " + LONG.encode()
    items = documents(source(path, b'{"text": "' + bad + b'"}\n{"text": "ok"}\n'))
    assert isinstance(items[0].raw, RawDocument)
    assert (items[0].raw.content, items[0].raw.known_encoding) == (bad, "")
    decoded = decode(items[0].raw)
    assert (decoded.encoding, len(decoded.bad_bytes)) == ("utf-8", 1)
    assert told(items[1]) == "ok"


def test_a_line_that_is_too_long_is_not_held(path: Path) -> None:
    config = CleanConfig(max_bytes=1000)
    long = b'{"text": "' + b"x" * 50_000_000 + b'"}\n'
    given = source(path, b'{"text": "a"}\n' + long + b'{"text": "b"}\n{"text": "' + b"y" * 1001 + b'"}')
    tracemalloc.start()
    found = [(item.origin.record, told(item)) for item in documents(given, config)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [
        ("line=1", "a"),
        ("line=2", "too-large: 50,000,013 bytes, and 1,000 are allowed."),
        ("line=3", "b"),
        ("line=4", "too-large: 1,001 bytes, and 1,000 are allowed."),
    ]
    assert peak < 10_000_000


def test_a_damaged_line_can_tell_whether_it_has_changed(path: Path) -> None:
    states = [documents(source(path, line + b"\n"))[0].origin.state for line in (b'{"a', b'{"b', b'{"a')]
    assert states[0] == states[2] != states[1]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", jsonl({"text": "a"}, {"text": "b"}), ["line=1", "line=2"]),
        ("a.json", jsonl({"text": "a"}).decode().encode("utf-16"), ["line=1"]),
        ("part-00000", jsonl({"text": "a"}, {"x": 1}), ["line=1", "line=2"]),
        ("part-0.c000", jsonl({"text": "a"}), ["line=1"]),
        ("notes", jsonl({"x": "a"}), [""]),
        ("notes", b'{"text": "a"} is an object\n', [""]),
        ("a.txt", jsonl({"text": "a"}, {"text": "b"}), [""]),
        ("a.jsonl", b'{\n "text": "a"\n}\n{\n "text": "b"\n}\n', ["row=1", "row=2"]),
    ],
    ids=range(8),
)
def test_lines_under_other_names(tmp_path: Path, name: str, content: bytes, expected: list[str]) -> None:
    assert [address for address, _ in rows(tmp_path / name, content)] == expected


def test_a_file_is_split_at_its_lines(path: Path) -> None:
    given = source(path, jsonl(*({"text": LONG * 200, "n": n} for n in range(900))))
    pieces = split_source(given)
    assert [piece.first for piece in pieces] == [1, *(n for n in (p.first for p in pieces[1:]) if 1 < n < 901)]
    assert len(pieces) == 3
    assert sum(piece.n_bytes for piece in pieces) == given.n_bytes
    assert of_span(pieces[1])[0].origin.record == f"line={pieces[1].first}"
    assert of_pieces(given) == documents(given)


def test_utf_16_and_blank_files_are_not_split(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.read, "SPLIT_BYTES", 100)
    content = jsonl(*({"text": LONG} for _ in range(9))).decode().encode("utf-16")
    assert len(split_source(source(path, content))) == 1
    assert len(of_pieces(source(path, content))) == 9
    assert [told(item) for item in of_pieces(source(path, b"\n" * 1000))] == ["empty: There is no document in it."]


TEXTS = st.text(st.characters(), min_size=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=20))
def test_any_text_is_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, bool]]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    lines = [json.dumps({"text": text, "x": text}, ensure_ascii=escaped) for text, escaped in texts]
    items = documents(source(path, "\n".join(lines).encode("utf-8", "surrogatepass")))
    expected = [(f"line={n}", text) for n, (text, _) in enumerate(texts, 1) if text.strip()]
    # Half of a character as it stands, not escaped, is no UTF-8: its bytes stay.
    assert [(i.origin.record, told(i)) for i in items if isinstance(i.raw, RawDocument)] == expected
    assert [json.loads(i.origin.extra)["x"] for i in items if isinstance(i.raw, RawDocument)] == [
        text for _, text in expected
    ]


PIECES = st.sampled_from(
    [b'{"text":"a"}', b"\n", b"\r\n", b"\n\n", b" ", b"[", b'{"text":1}', "字".encode("gbk"), b"\0"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=5), max_size=40).map(b"".join), st.integers(1, 30))
def test_pieces_one_after_the_other_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
) -> None:
    given = source(tmp_path_factory.getbasetemp() / "pieces.jsonl", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.read, "SPLIT_BYTES", size)
        assert of_pieces(given, CleanConfig(max_bytes=40)) == documents(given, CleanConfig(max_bytes=40))
