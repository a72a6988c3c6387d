import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.read
from schemas.config import CleanConfig, ReadConfig
from schemas.document import RawDocument
from tasks.read import split_source
from tests.tasks.read.reading import documents, of_pieces, of_span, rows, source, told

LONG = "今天我们去了很多地方，看了很多风景。"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


def parquet(columns: Any, **how: Any) -> bytes:
    made = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), made, **how)
    return made.getvalue()


def numbered(n_rows: int, **how: Any) -> bytes:
    return parquet({"text": [f"{n}。{LONG}" for n in range(1, n_rows + 1)], "n": list(range(n_rows))}, **how)


def test_a_file_like_fineweb(path: Path) -> None:
    columns: dict[str, list[Any]] = {
        "text": ["甲", None, "丙"],
        "id": ["<urn:uuid:1>", "<urn:uuid:2>", "<urn:uuid:3>"],
        "dump": ["CC-MAIN-2013-20"] * 3,
        "url": ["http://a", "http://b", "http://c"],
        "date": ["2013-05-18T10:42:00Z"] * 3,
        "file_path": ["s3://x"] * 3,
        "language": ["zh"] * 3,
        "language_score": [0.5, 0.5, float("nan")],
    }
    items = documents(source(path, parquet(columns)))
    assert [item.origin.record for item in items] == ["row=1", "row=2", "row=3"]
    assert (told(items[0]), told(items[2])) == ("甲", "丙")
    assert told(items[1]).startswith("empty: Its field for the text is empty or holds none; there are: text, id, dump")
    origin = items[2].origin
    assert (origin.url, origin.fetched_at, origin.record_id) == (
        "http://c",
        "2013-05-18T10:42:00Z",
        "urn:uuid:3",
    )
    assert json.loads(origin.extra) == {
        **{name: values[2] for name, values in columns.items() if name != "text"},
        "language_score": "NaN",
    }


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["甲", "乙", "甲"]),
        pa.array(["甲", "乙", "甲"], pa.large_string()),
        pa.array(["甲", "乙", "甲"], pa.string_view()),
        pa.array(["甲", "乙", "甲"]).dictionary_encode(),
        pa.array([{"text": "甲", "n": 1}, {"text": "乙"}, {"text": "甲"}]),
        pa.array([["甲"], ["乙"], ["甲"]]),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("coded", [True, False])
def test_columns_that_hold_text(path: Path, column: Any, coded: bool) -> None:
    content = parquet({"content": column}, use_dictionary=coded)
    assert rows(path, content) == [("row=1", "甲"), ("row=2", "乙"), ("row=3", "甲")]


def test_bytes_are_as_they_were_found(path: Path) -> None:
    content = parquet({"html": ["<p>你好".encode("gbk"), b"<p>ok"]})
    raw = [item.raw for item in documents(source(path, content))]
    assert [(r.content, r.known_encoding, r.name) for r in raw if isinstance(r, RawDocument)] == [
        ("<p>你好".encode("gbk"), "", "page.html"),
        (b"<p>ok", "", "page.html"),
    ]


def test_strings_that_are_no_utf_8(path: Path) -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\5\0\0\0\6\0\0\0"), pa.py_buffer(b"\xff\xfeabcx")
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    raw = [item.raw for item in documents(source(path, parquet({"text": column})))]
    assert [r.content for r in raw if isinstance(r, RawDocument)] == [b"\xff\xfeabc", b"x"]


def test_what_stands_beside_the_text(path: Path) -> None:
    columns = {
        "text": ["甲"],
        "title": ["题".encode()],
        "published": [datetime(2023, 6, 24, 11, 4, tzinfo=UTC)],
        "day": [date(2020, 1, 2)],
        "price": [Decimal("1.10")],
        "raw": [b"\xff\xfe"],
        "in": [{"a": [1, None]}],
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "ns": pa.array([1], pa.timestamp("ns")),
    }
    (item,) = documents(source(path, parquet(columns)))
    assert isinstance(item.raw, RawDocument)
    assert item.raw.facts == {"title": "题", "published_at": "2023-06-24T11:04:00+00:00"}
    assert json.loads(item.origin.extra) == {
        "title": "题",
        "published": "2023-06-24T11:04:00+00:00",
        "day": "2020-01-02",
        "price": "1.10",
        "raw": "base64://4=",
        "in": {"a": [1, None]},
        "map": [["k", 1]],
        "ns": "1970-01-01T00:00:00.000000001",
    }


def test_the_column_that_was_asked_for(path: Path) -> None:
    content = parquet({"text": ["a"], "doc": [{"wen": "b", "n": 1}]})
    assert rows(path, content, CleanConfig(read=ReadConfig(text_field="doc.wen"))) == [("row=1", "b")]
    ((_, why),) = rows(path, content, CleanConfig(read=ReadConfig(text_field="body")))
    assert why == "broken: It has no column body; there are: text, doc. Name the one to read: text_field."
    ((_, why),) = rows(path, parquet({"label": [1]}))
    assert why.startswith("broken: It has no column with a usual name for the text; there are: label.")


def test_an_empty_table(path: Path) -> None:
    content = parquet({"text": pa.array([], pa.string())})
    assert rows(path, content) == [("", "empty: There is no document in it.")]


def test_a_file_within_another(tmp_path: Path) -> None:
    content = gzip.compress(numbered(600, row_group_size=200))
    found = rows(tmp_path / "a.parquet.gz", content)
    assert [address for address, _ in found] == [f"row={n}" for n in range(1, 601)]
    assert found[-1][1] == f"600。{LONG}"


def test_pieces_are_row_groups(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.read, "SPLIT_BYTES", 50_000)
    given = source(path, numbered(5000, row_group_size=300, compression="none"))
    pieces = split_source(given)
    assert 5 < len(pieces) < 17
    assert [of_span(piece)[0].origin.record for piece in pieces] == [f"row={piece.first}" for piece in pieces]
    assert of_pieces(given) == documents(given)
    assert len(documents(given)) == 5000


@pytest.mark.parametrize("damage", [slice(-1, None), slice(-60, -8), slice(100, None)], ids=["cut", "footer", "half"])
def test_a_damaged_footer(path: Path, damage: slice) -> None:
    content = bytearray(numbered(100))
    content[damage] = b"" if damage.stop is None else b"x" * 52
    ((address, why),) = rows(path, bytes(content))
    assert address == "end"
    assert why.startswith("broken: The Parquet file can't be opened: ")


def test_a_damaged_row_group_does_not_take_the_others_along(path: Path) -> None:
    content = bytearray(numbered(900, row_group_size=300, compression="none", use_dictionary=False))
    middle = content.index("450。".encode())
    content[middle - 4 : middle] = b"\xff\xff\xff\x7f"  # the length of the text of row 450
    found = rows(path, bytes(content))
    assert [address for address, _ in found] == [f"row={n}" for n in (*range(1, 451), *range(601, 901))]
    assert found[449][1].startswith("broken: Rows 450 to 600 can't be read: ")
    assert sum(text.startswith("broken") for _, text in found) == 1


def test_bits_that_flipped_are_found_by_checksums(path: Path) -> None:
    content = bytearray(numbered(900, row_group_size=300, compression="none", write_page_checksum=True))
    content[content.index("450。".encode())] ^= 1
    found = rows(path, bytes(content))
    assert [address for address, _ in found] == [f"row={n}" for n in (*range(1, 302), *range(601, 901))]
    assert "CRC" in found[300][1]


class _Kms(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return key_bytes

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return wrapped_key


@pytest.mark.parametrize("plain", [True, False], ids=["plain-footer", "encrypted-footer"])
def test_encrypted_files(path: Path, plain: bool) -> None:
    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["text"]}, plaintext_footer=plain)
    factory = pe.CryptoFactory(lambda _: _Kms())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    content = parquet({"text": ["a", "b"], "n": [1, 2]}, encryption_properties=properties)
    ((_, why),) = rows(path, content)
    assert why.startswith("broken: ")
    assert "ncrypted" in why or "decrypt" in why.lower()


def test_a_bomb_is_a_row_and_the_others_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.read.parquet.FLOOR_BYTES", 10_000_000)
    codes = pa.array([0] * 20_000, pa.int32())
    column = pa.DictionaryArray.from_arrays(codes, pa.array(["字" * 30_000]))
    found = rows(path, parquet({"text": column}, row_group_size=10_000))
    bombs = [(address, text) for address, text in found if text.startswith("bomb")]
    assert [address.removeprefix("row=") > "0" for address, _ in bombs] == [True, True]
    assert len(found) == 2 * (5_000_000 // 90_128 + 1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.none(), max_size=20), st.integers(1, 9)
)
def test_any_text_is_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], group: int) -> None:
    content = parquet({"text": pa.array(texts, pa.string())}, row_group_size=group)
    items = documents(source(tmp_path_factory.getbasetemp() / "any.parquet", content))
    found = [(item.origin.record, told(item)) for item in items if isinstance(item.raw, RawDocument)]
    assert found == [(f"row={n}", text) for n, text in enumerate(texts, 1) if text and text.strip()]


WHOLE = numbered(40, row_group_size=10)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(4, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_damage_gives_rows_with_addresses_of_their_own(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    content = bytearray(WHOLE)
    for at, value in damage:
        content[at] = value
    items = documents(source(tmp_path_factory.getbasetemp() / "damaged.parquet", bytes(content)))
    addresses = [item.origin.record for item in items]
    assert items
    assert len(set(addresses)) == len(addresses)
