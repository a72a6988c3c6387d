import base64
import bz2
import gzip
import hashlib
import json
import lzma
import random
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.read
from schemas.config import CleanConfig, ReadConfig
from schemas.document import RawDocument, Reason, Rejection
from tasks.document import clean_document
from tasks.read import frames, read_span, split_source
from tasks.read.records import Document, Item, Skipped, Span
from tasks.read.sources import Source

PAGE = b"<html><head><title>t</title></head><body><p>hello</p></body></html>"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"


def record(kind: str, block: bytes, url: str = "http://a.example/", **fields: str) -> bytes:
    """A record of WARC; `_` in the names of fields stands for `-`."""
    given = {"WARC-Type": kind, "WARC-Target-URI": url, "Content-Length": str(len(block))}
    given |= {name.replace("_", "-"): value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n"


def page(n: int, size: int = 100) -> bytes:
    """A response whose payload can't be compressed much."""
    text = base64.b64encode(random.Random(n).randbytes(size))
    return record("response", OK + b"<html><body>" + text + b"</body></html>", f"http://a.example/{n}")


def source(path: Path) -> Source:
    return Source(path.as_uri(), path, path.stat().st_size)


def read(path: Path, config: CleanConfig | None = None) -> list[Item]:
    return list(read_span(Span(source(path)), config or CleanConfig()))


def read_bytes(tmp_path: Path, content: bytes, name: str = "x.warc", config: CleanConfig | None = None) -> list[Item]:
    path = tmp_path / name
    path.write_bytes(content)
    return read(path, config)


def documents(items: list[Item]) -> list[tuple[str, bytes]]:
    """Address and content of those that were read."""
    return [
        (i.origin.record, i.raw.content) for i in items if isinstance(i, Document) and isinstance(i.raw, RawDocument)
    ]


def rows(items: list[Item]) -> list[tuple[str, Reason]]:
    """Address and reason of those that were not."""
    return [(i.origin.record, i.raw.reason) for i in items if isinstance(i, Document) and isinstance(i.raw, Rejection)]


def skipped(items: list[Item]) -> Counter[str]:
    return Counter(item.kind for item in items if isinstance(item, Skipped))


def the_document(items: list[Item]) -> tuple[Any, Any, dict[str, Any]]:
    """Origin, raw document and what stands beside it, of the only one."""
    (made,) = [item for item in items if isinstance(item, Document)]
    return made.origin, made.raw, json.loads(made.origin.extra or "{}")


@pytest.mark.parametrize("packed", [False, True])
def test_a_response_is_a_document_and_all_that_is_said_of_it(tmp_path: Path, packed: bool) -> None:
    info = record("warcinfo", b"software: test\r\n", "")
    http = b'HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; Charset="GBK"\r\n'
    http += b"Last-Modified: Fri, 09 Aug 2013 23:54:35 GMT\r\n\r\n"
    response = record(
        "response",
        http + "<html><body>你好</body></html>".encode("gbk"),
        "<http://a.example/b.php?c=1#d>",
        WARC_Record_ID="<urn:uuid:1>",
        WARC_Date="2024-05-18T01:58:10Z",
        WARC_Payload_Digest="sha1:JZ622UA23G5ZU6Y3XAKH4LINONUEICEG",
        WARC_IP_Address="192.0.2.1",
        WARC_Identified_Payload_Type="text/html",
        Content_Type="application/http; msgtype=response",
    )
    items = read_bytes(tmp_path, b"".join(map(gzip.compress if packed else bytes, (info, response))))
    origin, raw, extra = the_document(items)
    assert skipped(items) == {"warcinfo": 1}
    assert origin.record == f"offset={len(gzip.compress(info) if packed else info)}"
    assert origin.url == "http://a.example/b.php?c=1#d"
    assert (origin.fetched_at, origin.record_id) == ("2024-05-18T01:58:10Z", "urn:uuid:1")
    assert origin.payload_digest == "sha1:JZ622UA23G5ZU6Y3XAKH4LINONUEICEG"
    assert (raw.content.decode("gbk"), raw.declared_encoding) == ("<html><body>你好</body></html>", "GBK")
    assert raw.name == "http://a.example/b.php.html"
    assert extra == {
        "content_type": 'Text/HTML; Charset="GBK"',
        "last_modified": "Fri, 09 Aug 2013 23:54:35 GMT",
        "http_status": 200,
        "ip": "192.0.2.1",
        "identified_type": "text/html",
        "digest": "mismatch",  # it is that of another page
    }


@pytest.mark.parametrize("packed", [False, True])
def test_other_libraries_find_records_at_these_offsets(tmp_path: Path, packed: bool) -> None:
    fastwarc = pytest.importorskip("fastwarc")
    warcio = pytest.importorskip("warcio.archiveiterator")
    path = tmp_path / "x"
    blocks = [OK + f"<html>{n}</html>".encode() * 100 for n in range(20)]
    digests = ["sha1:" + base64.b32encode(hashlib.sha1(block).digest()).decode() for block in blocks]
    pages = [
        record("response", block, f"http://a.example/{n}", Content_Type="application/http", WARC_Block_Digest=digest)
        for n, (block, digest) in enumerate(zip(blocks, digests, strict=True))
    ]
    path.write_bytes(b"".join(gzip.compress(one) if packed else one for one in pages))
    made = [item for item in read(path) if isinstance(item, Document)]
    assert len(made) == 20
    for item in made:
        assert isinstance(item.raw, RawDocument)
        assert "digest" not in item.origin.extra
        with path.open("rb") as file:
            file.seek(int(item.origin.record.removeprefix("offset=")))
            one = next(iter(warcio.ArchiveIterator(file)))
            assert one.rec_headers["WARC-Target-URI"] == item.origin.url
            assert one.content_stream().read() == item.raw.content
            file.seek(int(item.origin.record.removeprefix("offset=")))
            other = next(iter(fastwarc.ArchiveIterator(file)))
            assert (other.headers["WARC-Target-URI"], other.reader.read()) == (item.origin.url, item.raw.content)


def test_what_is_no_page_is_counted(tmp_path: Path) -> None:
    def http(status: str, kind: str, body: bytes = b"x") -> bytes:
        return record("response", f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode() + body)

    made = [
        *(record(kind, b"x") for kind in ("warcinfo", "request", "metadata", "revisit", "continuation", "other")),
        *(http(status, "text/html", PAGE) for status in ("301 Moved", "404 Not Found", "404 没有", "500 ")),
        *(http("200 OK", kind) for kind in ("image/png", "text/css", "application/x-javascript", "application/pdf")),
        *(http("200 OK", kind) for kind in ("application/ld+json", "font/woff2", "video/mp4", "application/zip")),
        http("200 OK", "text/html", b"\x89PNG\r\n\x1a\n"),
        http("200 OK", "", b"a\0b"),
        record("response", b"20240518015810\na.example 60 IN A 192.0.2.1", "dns:a.example", Content_Type="text/dns"),
        record("resource", b"--warc-file x", "metadata://gnu.org/software/wget/warc/x.txt", Content_Type="text/plain"),
    ]
    items = read_bytes(tmp_path, b"".join(made))
    assert skipped(items) == {
        **dict.fromkeys(("warcinfo", "request", "metadata", "revisit", "continuation", "unknown"), 1),
        "http-301": 1,
        "http-404": 2,
        "http-500": 1,
        "image": 2,
        "style": 1,
        "script": 1,
        "pdf": 1,
        "json": 1,
        "font": 1,
        "video": 1,
        "archive": 1,
        "binary": 1,
        "dns": 1,
        "crawl-log": 1,
    }
    assert not documents(items) + rows(items)


@pytest.mark.parametrize(
    ("media_type", "body", "name"),
    [
        ("text/html", PAGE, "http://a.example/.html"),
        ("application/xhtml+xml", PAGE, "http://a.example/.html"),
        ("image/jpeg", b"\xef\xbb\xbf \n<!DOCTYPE html><p>no picture", "http://a.example/.html"),
        ("", PAGE, "http://a.example/.html"),
        ("application/octet-stream", "正文".encode(), "http://a.example/.txt"),
        ("text/plain", "正文".encode(), "http://a.example/.txt"),
        ("application/rss+xml", b"<?xml version='1.0'?><rss/>", "http://a.example/.xml"),
        ("text/html; charset=utf-16", "\ufeff正文".encode("utf-16-le"), "http://a.example/.html"),
    ],
)
def test_texts_are_told_by_their_bytes_and_by_what_the_server_says(
    tmp_path: Path, media_type: str, body: bytes, name: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n\r\n".encode()
    _, raw, _ = the_document(read_bytes(tmp_path, record("response", head + body)))
    assert (raw.content, raw.name) == (body, name)


def test_resources_and_conversions_are_documents(tmp_path: Path) -> None:
    wet = record(
        "conversion", "正文".encode(), "http://a.example/b", Content_Type="text/plain", WARC_Refers_To="<urn:1>"
    )
    resource = record("resource", PAGE, "file:///a/b.htm", Content_Type="text/html; charset=big5")
    first, second = (item for item in read_bytes(tmp_path, wet + resource) if isinstance(item, Document))
    assert isinstance(first.raw, RawDocument)
    assert isinstance(second.raw, RawDocument)
    assert (first.raw.content, first.raw.declared_encoding, first.raw.known_encoding) == ("正文".encode(), "utf-8", "")
    assert json.loads(first.origin.extra) == {"content_type": "text/plain", "refers_to": "<urn:1>"}
    assert (second.raw.content, second.raw.declared_encoding) == (PAGE, "big5")


def chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 30] for at in range(0, len(body), 30)]
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(body) + deflate.flush()


def by_arrow(codec: str, body: bytes) -> bytes:
    return bytes(pa.Codec(codec).compress(body, asbytes=True))


LONG = PAGE * 1000

CODINGS = [
    ("Transfer-Encoding: chunked", chunked(LONG)),
    ("Transfer-Encoding: chunked", chunked(LONG).replace(b"\r\n", b"\n")),
    ("Transfer-Encoding: Chunked\r\nContent-Encoding: gzip", chunked(gzip.compress(LONG))),
    ("Content-Encoding: x-gzip", gzip.compress(LONG[:1000]) + gzip.compress(LONG[1000:])),
    ("Content-Encoding: deflate", zlib.compress(LONG)),
    ("Content-Encoding: deflate", raw_deflate(LONG)),
    ("Content-Encoding: br", by_arrow("brotli", LONG)),
    ("Content-Encoding: zstd", by_arrow("zstd", LONG)),
    ("Content-Encoding: gzip, br", by_arrow("brotli", gzip.compress(LONG))),
    ("Content-Encoding: utf-8, identity", LONG),
    # Crawlers undo what they leave in the header.
    *((f"Content-Encoding: {name}", LONG) for name in ("gzip", "br", "zstd", "deflate")),
    ("Transfer-Encoding: chunked", LONG),
]


@pytest.mark.parametrize(("header", "body"), CODINGS, ids=range(len(CODINGS)))
def test_codings_are_undone_where_there_are_any(tmp_path: Path, header: str, body: bytes) -> None:
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{header}\r\n\r\n".encode() + body
    _, raw, extra = the_document(read_bytes(tmp_path, record("response", block)))
    assert raw.content == LONG
    assert "broken_coding" not in extra


@pytest.mark.parametrize(("header", "body"), [CODINGS[0], CODINGS[2], *CODINGS[4:8]], ids=range(6))
def test_of_codings_that_break_off_the_beginning_is_kept_and_it_is_said(
    tmp_path: Path, header: str, body: bytes
) -> None:
    noise = base64.b64encode(random.Random(1).randbytes(200_000))
    whole = b"<html>" + noise
    body = {CODINGS[0][1]: chunked(whole), CODINGS[2][1]: chunked(gzip.compress(whole))}.get(body) or {
        CODINGS[4][1]: zlib.compress(whole),
        CODINGS[5][1]: raw_deflate(whole),
        CODINGS[6][1]: by_arrow("brotli", whole),
        CODINGS[7][1]: by_arrow("zstd", whole),
    }[body]
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{header}\r\n\r\n".encode() + body[: len(body) * 9 // 10]
    _, raw, extra = the_document(read_bytes(tmp_path, record("response", block)))
    assert whole.startswith(raw.content)
    assert 100_000 < len(raw.content) < len(whole)
    assert extra["broken_coding"]


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate"])
def test_a_bomb_in_a_response_is_too_large(tmp_path: Path, name: str) -> None:
    packed: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": partial(by_arrow, "brotli"),
        "zstd": partial(by_arrow, "zstd"),
    }
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {name}\r\n\r\n".encode()
    block += packed[name](b"<html>" + bytes(5_000_000))
    items = read_bytes(tmp_path, record("response", block) + page(1), config=CleanConfig(max_bytes=100_000))
    assert rows(items) == [("offset=0", Reason.TOO_LARGE)]
    assert len(documents(items)) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_record_is_not_kept_in_memory(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x"
    body = random.Random(1).randbytes(1_000_000)
    head = b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/large\r\nContent-Length: %d\r\n\r\n"
    with gzip.open(path, "wb", 1) if packed else path.open("wb") as file:
        file.write(head % (len(OK) + 12 * len(body)) + OK)
        for _ in range(12):
            file.write(body)
        file.write(b"\r\n\r\n")
    with path.open("ab") as file:
        file.write(gzip.compress(page(1)) if packed else page(1))
    tracemalloc.start()
    items = read(path, CleanConfig(max_bytes=1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows(items) == [("offset=0", Reason.TOO_LARGE)]
    assert len(documents(items)) == 1
    made = items[0]
    assert isinstance(made, Document)
    assert (made.origin.url, made.origin.n_bytes) == ("http://a.example/large", len(OK) + 12_000_000)
    assert made.origin.sha256 == hashlib.sha256(OK + 12 * body).hexdigest()
    assert peak < 10_000_000


def test_a_member_that_expands_too_much_is_a_bomb_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FLOOR_BYTES", 1_000_000)
    bomb = gzip.compress(record("response", OK + bytes(8_000_000)))
    config = CleanConfig(read=ReadConfig(max_ratio=100))
    items = read_bytes(tmp_path, bomb + gzip.compress(page(1)), config=config)
    assert rows(items) == [("offset=0", Reason.BOMB)]
    assert documents(items)[0][0] == f"offset={len(bomb)}"


def test_a_file_of_bombs_is_read_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "SOURCE_FLOOR_BYTES", 10_000_000)
    bombs = gzip.compress(record("request", bytes(3_000_000))) * 9
    items = read_bytes(tmp_path, bombs + gzip.compress(page(1)))
    assert skipped(items) == {"request": 3}
    assert rows(items) == [(f"offset={len(bombs) // 3}", Reason.BOMB)]
    assert not documents(items)


@pytest.mark.parametrize(
    "pack", [lzma.compress, bz2.compress, lambda data: gzip.compress(lzma.compress(data))], ids=["xz", "bz2", "gz-xz"]
)
def test_a_file_compressed_at_once_is_read(tmp_path: Path, pack: Any) -> None:
    pages = [page(n) for n in range(3)]
    items = read_bytes(tmp_path, pack(b"".join(pages)), "x.warc.xz")
    assert [address for address, _ in documents(items)] == [
        "offset=0",
        *(f"offset={n * len(pages[0])}" for n in (1, 2)),
    ]


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress], ids=["xz", "bz2"])
def test_all_records_before_the_damage_of_such_a_file_are_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    pages = [page(n, 20_000) for n in range(20)]
    packed = pack(b"".join(pages))
    for part in (0.5, 0.9):
        cut = packed[: int(len(packed) * part)]
        made = (bz2.BZ2Decompressor() if pack is bz2.compress else lzma.LZMADecompressor()).decompress(cut)
        items = read_bytes(tmp_path, cut, "x.warc.xz")
        assert len(documents(items)) >= (len(made) - 5000) // len(pages[0])
        assert {reason for _, reason in rows(items)} == {Reason.BROKEN}
        at = sum(map(len, pages[: len(documents(items))]))
        assert f"offset={at}" in [address for address, _ in rows(items)]


def test_records_that_share_a_member_have_addresses_of_their_own(tmp_path: Path) -> None:
    pages = [page(n) for n in range(4)]
    first = gzip.compress(pages[0] + pages[1])
    items = read_bytes(tmp_path, first + gzip.compress(pages[2] + pages[3]))
    size = len(pages[0])
    expected = ["offset=0", f"offset=0+{size}", f"offset={len(first)}", f"offset={len(first)}+{size}"]
    assert [address for address, _ in documents(items)] == expected


def test_a_record_may_lie_in_several_members(tmp_path: Path) -> None:
    whole = page(1, 5000) + page(2)
    items = read_bytes(tmp_path, gzip.compress(whole[:300]) + gzip.compress(whole[300:]) + gzip.compress(page(3)))
    assert not rows(items)
    assert [content for _, content in documents(items)] == [
        content for _, content in documents(read_bytes(tmp_path, whole + page(3)))
    ]


def test_arc_files_are_read(tmp_path: Path) -> None:
    block = OK + PAGE
    head = b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 9\n1 0 Some\n\n"
    line = b"http://a.example/b c 192.0.2.1 20080430204826 text/html %d\n" % len(block)
    items = read_bytes(tmp_path, head + line + block + b"\n", "x.arc")
    origin, raw, _ = the_document(items)
    assert (origin.record, origin.url, origin.fetched_at) == (
        f"offset={len(head)}",
        "http://a.example/b c",
        "2008-04-30T20:48:26Z",
    )
    assert (raw.content, raw.declared_encoding) == (PAGE, "utf-8")


# Damage


def test_a_record_that_does_not_say_what_it_is_is_a_row(tmp_path: Path) -> None:
    items = read_bytes(tmp_path, record("", OK + PAGE) + page(1))
    assert rows(items) == [("offset=0", Reason.BROKEN)]
    assert len(documents(items)) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_left_of_a_truncated_record_is_a_row(tmp_path: Path, packed: bool) -> None:
    made = [gzip.compress(page(n)) if packed else page(n) for n in range(3)]
    at = len(made[0] + made[1])
    for n_left in (1, 5, 30, len(made[2]) // 2, len(made[2]) - 5):
        items = read_bytes(tmp_path, b"".join(made)[: at + n_left])
        assert len(documents(items)) == 2
        assert rows(items) == [(f"offset={at}", Reason.BROKEN)]
    assert "http://a.example/2" in [item.origin.url for item in items if isinstance(item, Document)]


def test_a_record_that_the_crawler_cut_is_a_document(tmp_path: Path) -> None:
    cut = record("response", OK + PAGE, Content_Length=str(len(OK + PAGE) + 1000), WARC_Truncated="length")
    _, raw, extra = the_document(read_bytes(tmp_path, cut.removesuffix(b"\r\n\r\n")))
    assert (raw.content, extra["truncated"]) == (PAGE, "length")


def test_records_behind_a_damaged_member_are_read(tmp_path: Path) -> None:
    members = [gzip.compress(page(n, 3000)) for n in range(5)]
    at = len(members[0] + members[1])
    rng = random.Random(3)
    for _ in range(40):
        damaged = bytearray(b"".join(members))
        damaged[rng.randrange(at, at + len(members[2]))] ^= 1 << rng.randrange(8)
        items = read_bytes(tmp_path, bytes(damaged))
        found = [content for _, content in documents(items)]
        whole = [content for _, content in documents(read_bytes(tmp_path, b"".join(members)))]
        assert found[:2] == whole[:2]
        assert found[-2:] == whole[-2:]
        assert len(found) == 4 or found == whole  # a bit of the time or of the name that gzip notes changes nothing
        assert rows(items) == ([] if found == whole else [(f"offset={at}", Reason.BROKEN)])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("at", [0, 1, 3, 12])
def test_records_behind_a_damaged_first_one_are_read(tmp_path: Path, packed: bool, at: int) -> None:
    pack = gzip.compress if packed else bytes
    content = bytearray(b"".join(pack(page(n)) for n in range(3)))
    content[at] ^= 0xFF
    items = read_bytes(tmp_path, bytes(content), "x.warc.gz" if packed else "x.warc")
    assert len(documents(items)) == 2
    assert rows(items) == [("offset=0", Reason.BROKEN)]


@pytest.mark.parametrize("packed", [False, True])
def test_garbage_between_records_is_a_row(tmp_path: Path, packed: bool) -> None:
    pack = gzip.compress if packed else bytes
    first = pack(page(1))
    items = read_bytes(tmp_path, first + b"garbage \x1f\x8b\x08\x00" * 10_000 + pack(page(2)))
    assert rows(items) == [(f"offset={len(first)}", Reason.BROKEN)]
    assert len(documents(items)) == 2


@pytest.mark.parametrize("length", ["0", "70", "1000", "99999999", "-5", "", "9" * 30, "１２"])
def test_a_record_of_a_wrong_length_ends_where_the_next_one_begins(tmp_path: Path, length: str) -> None:
    block = OK + PAGE * 3
    wrong = record("response", block, "http://a.example/1", Content_Length=length)
    items = read_bytes(tmp_path, wrong + page(2) + page(3))
    whole = read_bytes(tmp_path, record("response", block, "http://a.example/1") + page(2) + page(3))
    assert [content for _, content in documents(items)] == [content for _, content in documents(whole)]
    first = items[0]
    assert isinstance(first, Document)
    assert json.loads(first.origin.extra)["length"] == "wrong"


def test_records_without_blank_lines_or_with_other_line_ends_are_read(tmp_path: Path) -> None:
    pages = [page(n) for n in range(3)]
    whole = [content for _, content in documents(read_bytes(tmp_path, b"".join(pages)))]
    for made in (
        b"".join(one.removesuffix(b"\r\n\r\n") for one in pages),
        b"".join(one.removesuffix(b"\r\n\r\n") + b"\n" for one in pages),
        b"\r\n\r\n".join(pages) + bytes(1000),
        b"".join(record("response", b"", "").replace(b"\r\n", b"\n") for _ in range(2)) + b"".join(pages),
    ):
        items = read_bytes(tmp_path, made)
        assert [content for _, content in documents(items) if content] == whole
        assert not rows(items)


def test_a_file_with_line_feeds_alone_is_read(tmp_path: Path) -> None:
    block = b"HTTP/1.0 200 OK\nContent-Type: text/html\n\n" + PAGE
    made = record("response", block).replace(b"\r\n", b"\n")
    assert [content for _, content in documents(read_bytes(tmp_path, made * 3))] == [PAGE] * 3


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/2 200\r\nContent-Type: text/html\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nX: \xd5\xfd\xce\xc4\xe9\r\nContent-Type: text/html\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nno colon\r\nContent-Type: text/html\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", 200),  # and no blank line
        (b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 10_000 + b"Content-Type: text/html\r\n\r\n", 200),
        (b"HTTP/1.1  \r\nContent-Type: text/html\r\n\r\n", 0),
        (b"", 0),
    ],
    ids=range(7),
)
def test_headers_of_all_sorts_are_taken_off(tmp_path: Path, head: bytes, status: int) -> None:
    _, raw, extra = the_document(read_bytes(tmp_path, record("response", head + PAGE)))
    assert (raw.content, extra.get("http_status", 0)) == (PAGE, status)


@pytest.mark.parametrize(
    "hostile",
    [
        b"WARC/1.0\r\n" * 100_000,
        b"WARC/1.0\r\nA:" * 50_000,
        b"\nWARC/1.0\r\nA" * 50_000,
        b"\x1f\x8b\x08\x00" * 100_000,
        gzip.compress(b"WARC/1.0\r\n") * 5_000,
        gzip.compress(b"WARC/1.0\r\nContent-Length: 9\r\n\r\n") * 5_000,
        b"http://" + b"a " * 200_000,
        b"filedesc://" + b"1 " * 200_000,
        record("response", b"HTTP/1.1 200 OK\r\n" + b"a:b\n" * 300_000),
        record("response", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100_000),
        record("response", b"HTTP/1.1 200 OK\r\nContent-Type: " + b"charset" * 100_000),
        record("response", b"HTTP/1.1 200 OK\r\nContent-Encoding: " + b"gzip, " * 100_000),
        record("response", b"x", "a" * 2_000_000),
        record("response", b"HTTP/" * 100_000),
        b"\r\n" * 500_000,
    ],
    ids=range(15),
)
def test_hostile_files_take_no_more_time_than_others(tmp_path: Path, hostile: bytes) -> None:
    begin = time.process_time()
    items = read_bytes(tmp_path, page(1) + hostile)
    assert documents(items)
    read_bytes(tmp_path, hostile)
    assert time.process_time() - begin < 5  # the slowest take 0.5


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_is_done_to_a_file_records_that_were_spared_are_read(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    packed = data.draw(st.booleans())
    made = [page(n, 300) for n in range(6)]
    members = [gzip.compress(one) for one in made] if packed else made
    content = bytearray(b"".join(members))
    n = data.draw(st.integers(0, 5))
    begin = sum(map(len, members[:n]))
    at = data.draw(st.integers(max(begin, 6), begin + len(members[n]) - 1))  # what begins as xz is read as such
    until = data.draw(st.integers(at, begin + len(members[n])))
    content[at:until] = data.draw(st.binary(max_size=40))
    folder, name = tmp_path_factory.getbasetemp(), "x.warc.gz" if packed else "x.warc"
    items = read_bytes(folder, bytes(content), name)
    whole = [content for _, content in documents(read_bytes(folder, b"".join(members), name))]
    found = [content for _, content in documents(items)]
    spared = {*whole[: max(n - 1, 0)], *whole[n + 2 :]}  # a wrong end of one may look like a wrong length of the other
    assert spared <= set(found)
    addresses = [item.origin.record for item in items if isinstance(item, Document)]
    assert len(set(addresses)) == len(addresses)


# Pieces


def in_pieces(path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Span], list[Item]]:
    monkeypatch.setattr(tasks.read, "SPLIT_BYTES", size)
    spans = split_source(source(path))
    return spans, [item for span in spans for item in read_span(span, CleanConfig())]


def nested() -> bytes:
    """A response whose payload is a file of WARC itself, which can't be compressed further."""
    inner = b"".join(gzip.compress(page(n, 1000)) for n in range(300))
    return record("response", b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + inner)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [100_000, 250_000])
def test_pieces_one_after_the_other_are_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, size: int
) -> None:
    pack = gzip.compress if packed else bytes
    parts = [pack(page(n, random.Random(n).randrange(10_000))) for n in range(100)]
    parts += [pack(nested()), pack(record("response", OK + b"\r\n\r\n".join(page(n) for n in range(3000))))]
    parts += [pack(page(n, 5000)) for n in range(60)]
    path = tmp_path / "x.warc"
    path.write_bytes(b"".join(parts))
    spans, items = in_pieces(path, size, monkeypatch)
    assert items == read(path)
    assert not rows(items)
    assert len(documents(items)) == 161  # the payload that is a file of gzip is none
    assert len(spans) >= path.stat().st_size // size // 4
    assert all(one.end == other.begin for one, other in pairwise(spans))
    assert (spans[0].begin, spans[-1].end, sum(span.n_bytes for span in spans)) == (0, None, path.stat().st_size)


@pytest.mark.parametrize("packed", [False, True])
def test_pieces_of_a_damaged_file_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    rng = random.Random(5)
    pack = gzip.compress if packed else bytes
    parts = [pack(page(n, rng.randrange(20_000))) for n in range(100)]
    path = tmp_path / "x.warc"
    for _ in range(4):
        content = bytearray(b"".join(parts))
        for _ in range(10):
            at = rng.randrange(len(content))
            content[at : at + rng.randrange(100)] = rng.randbytes(rng.randrange(100))
        path.write_bytes(content)
        spans, items = in_pieces(path, 200_000, monkeypatch)
        assert items == read(path)
        assert len(documents(items)) > 80
        assert len(spans) > 1 or not packed


def test_a_file_compressed_at_once_is_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(gzip.compress(b"".join(page(n, 5000) for n in range(100))))
    spans, items = in_pieces(path, 100_000, monkeypatch)
    assert len(spans) == 1
    assert len(documents(items)) == 100


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("name", ["x.cdx", "x.warc.cdxj", "x.warc.gz.cdx"])
def test_an_index_is_used_where_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_right: bool
) -> None:
    members = [gzip.compress(page(n, 5000)) for n in range(200)]
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    offsets = [sum(map(len, members[:n])) for n in range(0, 200, 3)]
    if not is_right:
        offsets = [offset + 7 for offset in offsets]
    cdxj = 'example,a)/ 2024 {{"url": "http://a.example/", "offset": "{}", "filename": "x.warc.gz"}}\n'
    cdx = "example,a)/ 2024 http://a.example/ text/html 200 AAA - - 5555 {} x.warc.gz\n"
    lines = [(cdxj if name.endswith("j") else cdx).format(offset) for offset in offsets]
    lines.append((cdxj if name.endswith("j") else cdx).format(1).replace("x.warc.gz", "y.warc.gz"))
    (tmp_path / name).write_text("".join(lines))
    spans, items = in_pieces(path, 100_000, monkeypatch)
    assert items == read(path)
    assert len(spans) == -(-path.stat().st_size // 100_000)
    assert all(span.begin in offsets for span in spans) is is_right


# Chinese pages, to the end

TEXT = "北京今天下了一场大雪，许多市民走出家门，在公园里拍照留念。气象台说，明天还会有雪，请大家注意出行安全。"


def html(meta: str = "") -> str:
    return f"<html><head>{meta}<title>大雪</title></head><body><p>{TEXT}</p><p>{TEXT[::-1]}</p></body></html>"


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("; charset=gbk", html().encode("gbk")),
        ("", html('<meta charset="gb2312">').encode("gbk")),
        ("; charset=ISO-8859-1", html('<meta charset="gbk">').encode("gbk")),
        ("; charset=gbk", html('<meta charset="gbk">').encode()),
        ("; charset=utf-8", html('<meta charset="gb2312">').encode("gb18030")),
        ("", html().encode("utf-8-sig")),
        ("; charset=gb2312", html().encode("utf-8-sig")),
        ("; charset=no-such", html().encode("gb18030")),
    ],
    ids=range(8),
)
def test_chinese_pages_come_out_whatever_was_said_of_their_encoding(tmp_path: Path, charset: str, body: bytes) -> None:
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html{charset}\r\nContent-Encoding: gzip\r\n\r\n".encode()
    made = gzip.compress(record("response", block + gzip.compress(body), "http://a.example/雪.asp"))
    (item,) = read_bytes(tmp_path, made, "x.warc.gz")
    assert isinstance(item, Document)
    outcome = clean_document(item, CleanConfig())
    assert outcome.rejection is None
    assert outcome.cleaned is not None
    assert TEXT in outcome.cleaned.text
    assert outcome.page is not None
    assert outcome.page.facts["title"] == "大雪"
    assert outcome.origin.url == "http://a.example/雪.asp"
