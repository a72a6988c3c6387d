import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from tasks.read.kinds import HEAD_BYTES, bare_name, kind_of

WARC = b"WARC/1.0\r\nWARC-Type: response\r\n\r\n"


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def zip_with(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"x")
    return file.getvalue()


def parquet(n_rows: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(["x"] * n_rows, pa.string())}), sink)
    return sink.getvalue()


KINDS = [
    ("a.txt", b"text", "text"),
    ("a", b"", "text"),
    ("a.jsonl", b"{}", "jsonl"),
    ("A.JSONL", b"\xef\xbb\xbf{}", "jsonl"),
    ("a.jsonl.gz", gzip.compress(b"{}"), "gzip"),
    ("a.txt", gzip.compress(b"x"), "gzip"),
    ("a.txt", bz2.compress(b"x"), "bzip2"),
    ("a.txt", bz2.compress(b""), "bzip2"),
    ("a.txt", lzma.compress(b"x"), "xz"),
    ("a.txt", zstd.compress(b"x"), "zstd"),
    ("a.tgz", gzip.compress(tar()), "gzip"),
    ("a.warc.gz", gzip.compress(WARC), "warc"),
    ("a.gz", gzip.compress(WARC) + b"x" * HEAD_BYTES, "warc"),
    ("a", WARC, "warc"),
    ("a", b"WARC/0.18\n", "warc"),
    ("a", tar(), "tar"),
    ("a.tar", bytes(1024), "tar"),
    ("a.txt", zip_with("a.txt"), "zip"),
    ("a.docx", zip_with("a.txt"), "text"),
    ("no-suffix", zip_with("[Content_Types].xml"), "text"),
    ("no-suffix", zip_with("mimetype"), "text"),
    ("a.zip", b"MZ\0\0", "zip"),
    ("a.txt", parquet(3), "parquet"),
    ("a.txt", parquet(0), "parquet"),
    ("a.parquet", b"\0\0\0", "parquet"),
]


# Numbers as ids: some heads have the time in them, and differ between processes.
@pytest.mark.parametrize(("name", "head", "kind"), KINDS, ids=range(len(KINDS)))
def test_kinds_are_told_by_bytes_then_by_names(name: str, head: bytes, kind: str) -> None:
    assert kind_of(name, head[:HEAD_BYTES]) == kind


@pytest.mark.parametrize(
    "text",
    [
        "BZh 是什么格式？\n",
        "BZh9 压缩\n",
        "PAR1 是 Parquet 的标记。\n第二行\n",
        "PAR1\n",
        "WARC/ 是什么\n",
        "WARC/1.0 格式说明\n",
        "PK 大赛开始了\n",
        "PK\n",
        "\x1f\x8b",
        "(\xb5/",
        "x" * 257 + "ustar" + "y" * 300,
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.html", "a"])
def test_a_text_that_begins_like_a_container_is_a_text(name: str, text: str) -> None:
    assert kind_of(name, text.encode()) == "text"
    assert kind_of(name, text.encode() * 10) == "text"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.parquet", "a.tgz", "a.tar.gz", "a.zip.gz", "a.txt.bz2"])
def test_what_a_server_says_instead_of_the_file_is_a_page(name: str) -> None:
    assert kind_of(name, b"<!DOCTYPE html><title>404") == "text"
    assert kind_of(name, b"") == "text"


@pytest.mark.parametrize(("name", "kind"), [("a.jsonl.gz", "jsonl"), ("a.csv.zst", "delimited"), ("a.json.xz", "json")])
def test_a_name_that_says_compressed_of_what_is_not_says_the_rest(name: str, kind: str) -> None:
    assert kind_of(name, b"[1]\n") == kind


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress), ("a.zst", zstd.compress)],
)
def test_a_beginning_of_a_few_bytes_is_what_the_name_says(name: str, compress: Callable[[bytes], bytes]) -> None:
    packed = compress(b"text" * 100)
    kinds = {kind_of(name, packed[:length]) for length in range(1, 20)}
    assert len(kinds) == 1
    assert kinds <= {"gzip", "bzip2", "xz", "zstd"}


@pytest.mark.parametrize("name", ["stdin", "part-00000"])
def test_lines_of_objects_without_a_suffix_are_json_lines(name: str) -> None:
    assert kind_of(name, b'{"text": "x"}\n{"text": "y"}\n') == "jsonl"
    assert kind_of(name, b'\xef\xbb\xbf{"text": "x"}\r\n{"text": "y"}\r\n') == "jsonl"
    for text in (b'{"n": 1}', b'{"n": 1}\n', b"{x}\n{y}\n", b"[1]\n[2]\n"):
        assert kind_of(name, text) == "text"
    assert kind_of(name, (b'{"a":' * 20_000 + b"\n") * 2) == "text"
    assert kind_of(f"{name}.txt", b'{"text": "x"}\n{"text": "y"}\n') == "text"


@pytest.mark.parametrize(
    ("name", "kind", "bare"),
    [
        ("a.jsonl.gz", "gzip", "a.jsonl"),
        ("a.TXT.GZ", "gzip", "a.TXT"),
        ("a.tgz", "gzip", "a.tar"),
        ("a.tbz2", "bzip2", "a.tar"),
        ("a.txz", "xz", "a.tar"),
        ("a.tzst", "zstd", "a.tar"),
        ("a.tar.zst", "zstd", "a.tar"),
        ("a.txt", "gzip", "a.txt"),
    ],
)
def test_suffixes_of_compressions_go_when_they_are_undone(name: str, kind: str, bare: str) -> None:
    assert bare_name(name, kind) == bare


def test_looking_is_quick() -> None:
    for sign in (b"{", b"\x1f", b"P", b"B", b"W", b"\0", b"("):
        for _ in range(100):
            kind_of("a", sign * HEAD_BYTES)
