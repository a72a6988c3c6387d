import errno
import gzip
import io
import logging
import os
import pickle
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from schemas.config import CleanConfig
from schemas.document import Reason, Rejection
from tasks.read import read_span, remote, s3
from tasks.read import web as web_reader
from tasks.read.addresses import Address, holds_secrets, shown
from tasks.read.records import Document, Span
from tasks.read.sources import Source, SourceError, absolute, find_sources, open_source, source_at

MODIFIED = "Sun, 22 Nov 2026 08:49:37 GMT"
"""As the server of the web says it; in nanoseconds: date -d "$MODIFIED" +%s%N."""

MODIFIED_NS = 1795337377 * 10**9

NOWHERE = Path("/dev/null")


def find(*given: str, out: Path | str = NOWHERE) -> list[Source]:
    return find_sources(given, out, NOWHERE)


def names(*given: str, out: Path | str = NOWHERE) -> list[str]:
    """URIs without what comes before the name of the bucket or host, and that."""
    return [source.uri.partition("://")[2].partition("/")[2] for source in find(*given, out=out)]


def content(source: Source) -> bytes:
    with open_source(source) as stream:
        return stream.read()


def documents(*given: str) -> list[Document]:
    items = [item for source in find(*given) for item in read_span(Span(source), CleanConfig())]
    assert all(isinstance(item, Document) for item in items)
    return items  # type: ignore[return-value]


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    """What a function of `s3` is called with, from now on."""
    calls: list[tuple[Any, ...]] = []
    function = getattr(s3, name)

    def call(*args: Any, **given: Any) -> Any:
        calls.append((*args, given))
        return function(*args, **given)

    monkeypatch.setattr(s3, name, call)
    return calls


# --- S3


def test_a_folder_of_a_bucket_is_read_with_all_beneath_it(bucket: Any) -> None:
    for key in ("crawl/b.txt", "crawl/deep/a.txt", "crawler/c.txt", "d.txt"):
        bucket.put_object(Key=key, Body=key.encode())
    for given in ("crawl", "crawl/"):
        assert names(f"s3://{bucket.name}/{given}") == ["crawl/b.txt", "crawl/deep/a.txt"]
    found = find(f"s3://{bucket.name}")
    assert [source.uri.rpartition(f"{bucket.name}/")[2] for source in found] == [
        "crawl/b.txt",
        "crawl/deep/a.txt",
        "crawler/c.txt",
        "d.txt",
    ]
    assert [content(source) for source in found] == [b"crawl/b.txt", b"crawl/deep/a.txt", b"crawler/c.txt", b"d.txt"]
    assert [source.n_bytes for source in found] == [11, 16, 13, 5]
    assert found[1].name == "a.txt"


def test_hidden_objects_and_markers_of_folders_are_no_documents(bucket: Any) -> None:
    for key in ("in/", "in/.hidden", "in/.git/x.txt", "in/a.txt", "in/deep/", "in/empty.txt"):
        bucket.put_object(Key=key, Body=b"" if key.endswith(("/", "empty.txt")) else b"x")
    assert names(f"s3://{bucket.name}/in/") == ["in/a.txt", "in/empty.txt"]
    assert names(f"s3://{bucket.name}/in/.hidden") == ["in/.hidden"]
    assert names(f"s3://{bucket.name}/in/.git") == ["in/.git/x.txt"]
    assert names(f"s3://{bucket.name}/in/.h*") == ["in/.hidden"]
    assert names(f"s3://{bucket.name}/in/**/.*/*.txt") == ["in/.git/x.txt"]


PATTERNS = {
    "in/*.txt": ["in/b.txt"],
    "in/**/*.txt": ["in/a/b/c.txt", "in/b.txt"],
    "in/**/c.txt": ["in/a/b/c.txt"],
    "**/c.*": ["in/a/b/c.gz", "in/a/b/c.txt"],
    "in/**": ["in/a/b/c.gz", "in/a/b/c.txt", "in/b.txt"],
    "in/**/**/c.gz": ["in/a/b/c.gz"],
    "i?/*/b/c.[gt]*": ["in/a/b/c.gz", "in/a/b/c.txt"],
    "in/a/*": ["in/a/b/c.gz", "in/a/b/c.txt"],
    "*/b.txt": ["in/b.txt"],
    "in/*/b": ["in/a/b/c.gz", "in/a/b/c.txt"],
    "**/a/**/c.gz": ["in/a/b/c.gz"],
    "**/b/*.txt": ["in/a/b/c.txt"],
    "in/**/**/b.txt": ["in/b.txt"],
}


def test_patterns_mean_what_they_mean_on_disk(bucket: Any, tmp_path: Path) -> None:
    for key in ("in/b.txt", "in/a/b/c.txt", "in/a/b/c.gz"):
        bucket.put_object(Key=key, Body=b"x")
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text("x")
    for pattern, expected in PATTERNS.items():
        assert names(f"s3://{bucket.name}/{pattern}") == expected
        local = find(str(tmp_path / pattern))
        assert [source.uri.removeprefix(tmp_path.as_uri() + "/") for source in local] == expected


def test_a_pattern_lists_only_folders_on_its_way(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("2024-01/x.gz", "2024-02/x.gz", "2023-01/x.gz", "2024-01/deep/y.gz"):
        bucket.put_object(Key=key, Body=b"x")
    asked = recorded(monkeypatch, "_pages")
    assert names(f"s3://{bucket.name}/2024-*/x.gz") == ["2024-01/x.gz", "2024-02/x.gz"]
    assert asked == [(bucket.name, {"Prefix": "2024-", "Delimiter": "/"})]


ODD = (
    "a//b",
    "中文 1.txt",
    "p+q%20r",
    "trail ",
    "hash#1",
    "q?x=1",
    "tab\tq",
    "star*",
    "br[1]",
    "e&<>'\"",
    "~x",
    "x./y",
)


def test_names_that_are_odd_are_read_all_the_same(bucket: Any) -> None:
    for key in ODD:
        bucket.put_object(Key=key, Body=key.encode())
    found = find(f"s3://{bucket.name}/")
    assert sorted(content(source).decode() for source in found) == sorted(ODD)
    assert all(source.uri.isascii() and " " not in source.uri and "\t" not in source.uri for source in found)
    again = [source_at(source.uri) for source in found]
    assert again == found
    for key in ODD:
        assert [content(source).decode() for source in find(f"s3://{bucket.name}/{key}")] == [key]


def test_what_is_given_twice_and_in_different_ways_is_read_once(bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Key="in/a.txt", Body=b"x")
    base = f"s3://{bucket.name}/in"
    (tmp_path / "list").write_text(f"{base}/a.txt\n{base}/a.txt\n")
    given = (base, f"{base}/", f"{base}/a.txt", f"{base}/*", f"s3a://{bucket.name}/in/a.txt", f"@{tmp_path}/list")
    assert len(find(*given)) == 1


def test_many_objects_are_listed_by_the_page(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"many/{n:05}.txt" for n in range(2500)]
    pages = [
        {"Contents": [{"Key": key, "Size": 1, "LastModified": _now(), "ETag": '"x"'} for key in keys[n : n + 1000]]}
        for n in range(0, 2500, 1000)
    ]
    monkeypatch.setattr(s3, "_pages", lambda *_, **__: iter(pages))
    monkeypatch.setattr(s3, "_ask", lambda *_, **__: pytest.fail("a request for each"))
    assert len(find(f"s3://{bucket.name}/many/")) == 2500


def _now() -> Any:
    return datetime(2026, 11, 22, tzinfo=UTC)


def test_the_dataset_is_not_read(bucket: Any) -> None:
    for key in ("in/a.txt", "in/data/objects/x", "in/database.txt"):
        bucket.put_object(Key=key, Body=b"x")
    out = f"s3://{bucket.name}/in/data"
    for given in ("", "in/", "in/**", "in/*"):
        assert names(f"s3://{bucket.name}/{given}", out=out) == ["in/a.txt", "in/database.txt"]
        assert names(f"s3://{bucket.name}/{given}", out=f"{out}/") == ["in/a.txt", "in/database.txt"]
    for given in ("in/data", "in/data/", "in/data/objects/x"):
        with pytest.raises(SourceError, match="is in the dataset"):
            find(f"s3://{bucket.name}/{given}", out=out)


NOTHING = {
    "s3://{name}/nothing": "nothing is at s3://.*/nothing",
    "s3://{name}/nothing/": "nothing is at",
    "s3://{name}/*.html": "nothing matches s3://",
    "s3://{name}/**.html": r"is no pattern: \*\* stands for folders",
    "s3://no-such-bucket-here/x": "there is no such bucket.*NoSuchBucket, 404",
    "s3://no-such-bucket-here/": "there is no such bucket.*NoSuchBucket, 404",
    "s3://No_Name/x/": "no.* bucket",
    "s3://": "no name of a bucket",
    "ftq://host/x": "nothing is known that reads ftq://",
    "az://box/x": "pip install adlfs",
}


def test_what_leads_nowhere_is_an_error_in_words(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    for given, message in NOTHING.items():
        with pytest.raises(SourceError, match=message):
            find(given.format(name=bucket.name))


def test_a_store_that_is_not_there_is_an_error_in_words(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"the connection failed. Look at it, and at AWS_ENDPOINT_URL.*EndpointConn"):
        find(f"s3://{bucket.name}/")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9")
    with pytest.raises(SourceError, match="AWS_ENDPOINT_URL is no address"):
        find(f"s3://{bucket.name}/")


def test_refusals_are_told_in_words_and_without_keys(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, status, expected in (
        ("AccessDenied", 403, "the keys don't allow it"),
        ("403", 403, "the keys don't allow it"),
        ("InvalidAccessKeyId", 403, "the key is not known there"),
        ("PermanentRedirect", 301, "another region"),
        ("301", 301, "another region"),
        ("SlowDown", 503, "too much to do"),
        ("InvalidObjectState", 403, "Glacier"),
    ):
        answer = {
            "Error": {"Code": code, "Message": "AKIASECRET", "AWSAccessKeyId": "AKIASECRET"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        error = s3._refusal(answer)
        assert expected in str(error)
        assert "AKIASECRET" not in repr(error)


def test_keys_come_from_profiles(bucket: Any, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Key="a.txt", Body=b"x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[profile crawl]\nregion = us-east-1\nendpoint_url = {s3_server}\n")
    (tmp_path / "credentials").write_text("[crawl]\naws_access_key_id = from-file\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "crawl")
    assert names(f"s3://{bucket.name}/") == ["a.txt"]
    assert s3._client()._request_signer._credentials.access_key == "from-file"
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(SourceError, match=r"no keys. Look at AWS_PROFILE"):
        find(f"s3://{bucket.name}/")


def test_without_keys_requests_are_anonymous(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Key="a.txt", Body=b"x", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert [content(source) for source in find(f"s3://{bucket.name}/")] == [b"x"]
    bucket.put_object(Key="private.txt", Body=b"x")
    with pytest.raises(SourceError, match=r"the keys don't allow it, or there are none. Look at AWS_ACCESS_KEY_ID"):
        find(f"s3://{bucket.name}/private.txt")


def test_requests_are_anonymous_where_that_is_asked_for(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Key="a.txt", Body=b"x")
    assert names(f"s3://{bucket.name}/a.txt") == ["a.txt"]
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(SourceError, match="the keys don't allow it"):
        find(f"s3://{bucket.name}/a.txt")


def test_a_missing_library_is_named(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SourceError, match="pip install boto3"):
        find(f"s3://{bucket.name}/")


def test_an_object_that_changes_is_found_to_have_changed(bucket: Any) -> None:
    bucket.put_object(Key="a.txt", Body=b"12345678")
    (before,) = find(f"s3://{bucket.name}/a.txt")
    (listed,) = find(f"s3://{bucket.name}/")
    assert before == listed
    bucket.put_object(Key="a.txt", Body=b"87654321")  # of the same size, in the same second
    (after,) = find(f"s3://{bucket.name}/a.txt")
    assert after.mtime_ns != before.mtime_ns
    assert abs(after.mtime_ns - time.time_ns()) < 60 * 10**9
    with pytest.raises(OSError, match="it has changed since it was found"):
        open_source(before)
    (document,) = read_span(Span(before), CleanConfig())
    assert isinstance(document, Document)
    assert isinstance(document.raw, Rejection)
    assert document.raw.reason == Reason.UNREADABLE
    assert "has changed" in document.raw.detail


def test_an_object_that_changes_while_it_is_read_is_not_mixed(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_WINDOW", 1 << 20)
    bucket.put_object(Key="a.bin", Body=b"1" * (3 << 20))
    (source,) = find(f"s3://{bucket.name}/a.bin")
    with open_source(source) as stream:
        assert stream.read(1000) == b"1" * 1000
        bucket.put_object(Key="a.bin", Body=b"2" * (3 << 20))
        with pytest.raises(OSError, match="has changed"):
            stream.read()
        with pytest.raises(OSError, match="has changed"):  # and not the end
            stream.read(1)


def test_an_object_that_is_gone_is_a_row(bucket: Any) -> None:
    bucket.put_object(Key="a.txt", Body=b"x")
    (source,) = find(f"s3://{bucket.name}/a.txt")
    bucket.Object("a.txt").delete()
    (document,) = read_span(Span(source), CleanConfig())
    assert isinstance(document, Document)
    assert document.raw == Rejection(
        Reason.UNREADABLE,
        "The file could not be read: there is no such object (any more) (NoSuchKey, 404).",
    )
    assert source_at(source.uri) is None


def test_streams_seek_and_large_objects_take_few_requests(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bytes(range(256)) * (24 << 12)  # 24 MB
    bucket.put_object(Key="a.bin", Body=made)
    bucket.put_object(Key="empty", Body=b"")
    (empty, source) = sorted(find(f"s3://{bucket.name}/"), key=lambda found: found.n_bytes)
    assert content(empty) == b""
    asked = recorded(monkeypatch, "_ask")
    assert content(source) == made
    parts = [given["Range"] for _, _, given in asked]
    assert parts == ["bytes=0-4194303", "bytes=4194304-20971519", "bytes=20971520-88080383"]
    asked.clear()
    with open_source(source) as stream:
        assert stream.seekable()
        assert stream.read(64 * 1024) == made[: 64 * 1024]
        stream.seek(0)
        assert stream.read(10) == made[:10]
        stream.seek(-8, io.SEEK_END)
        assert stream.read() == made[-8:]
        stream.seek(20_000_001)
        assert stream.read(1000) == made[20_000_001:20_001_001]
        stream.seek(500_000, io.SEEK_CUR)
        assert stream.read(1000) == made[20_501_001:20_502_001]
        assert stream.tell() == 20_502_001
        stream.seek(len(made) + 5)
        assert stream.read() == b""
    assert len(asked) <= 5


def test_small_objects_take_one_request_each(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Key="a.txt", Body="江畔何人初见月。".encode())
    (source,) = find(f"s3://{bucket.name}/")
    asked = recorded(monkeypatch, "_ask")
    (document,) = read_span(Span(source), CleanConfig())
    assert isinstance(document, Document)
    assert not isinstance(document.raw, Rejection)
    assert [what for what, *_ in asked] == ["get_object"]


def test_containers_of_a_bucket_are_read(bucket: Any) -> None:
    lines = '{"text": "江畔何人初见月"}\n{"text": "江月何年初照人"}\n'.encode()
    bucket.put_object(Key="a.jsonl.gz", Body=gzip.compress(lines))
    found = documents(f"s3://{bucket.name}/")
    assert [document.origin.record for document in found] == ["line=1", "line=2"]
    assert {document.origin.source_uri for document in found} == {f"s3://{bucket.name}/a.jsonl.gz"}


# --- The web


def test_a_file_of_the_web_is_read(web: Any) -> None:
    address = web.put("/crawl/%E4%B8%AD.txt", "江畔何人初见月".encode())
    (source,) = find(address)
    assert source == Source(address, Address(address), 21, MODIFIED_NS)
    assert source.name == "中.txt"
    assert content(source).decode() == "江畔何人初见月"
    assert source_at(source.uri) == source
    again = find(f"{web.address}/crawl/中.txt#part".replace("http", "HTTP"), address)
    assert [found.uri for found in again] == [address]


def test_large_files_take_few_requests_and_seek(web: Any) -> None:
    made = bytes(range(256)) * (24 << 12)
    (source,) = find(web.put("/a.bin", made))
    assert content(source) == made
    assert web.got() == ["bytes=0-4194303", "bytes=4194304-20971519", "bytes=20971520-88080383"]
    with open_source(source) as stream:
        assert stream.seekable()
        stream.seek(-8, io.SEEK_END)
        assert stream.read() == made[-8:]
        stream.seek(5_000_001)
        assert stream.read(1000) == made[5_000_001:5_001_001]


def test_servers_that_know_no_parts_are_read_in_one_go(web: Any) -> None:
    made = bytes(range(256)) * (6 << 12)
    (source,) = find(web.put("/a.bin", made, ranges=False))
    with open_source(source) as stream:
        assert not stream.seekable()
        assert stream.read(100) == made[:100]
        assert stream.read() == made[100:]
        assert stream.tell() == len(made)
    assert len(web.got()) == 1


def test_files_whose_size_is_not_told_are_read(web: Any) -> None:
    (source,) = find(web.put("/a.txt", "江畔何人初见月".encode() * 100_000, ranges=False, sized=False))
    assert source.n_bytes == 0
    assert len(content(source)) == 2_100_000


def test_empty_files_are_read(web: Any) -> None:
    (source,) = find(web.put("/a.txt", b""))
    assert content(source) == b""
    (document,) = read_span(Span(source), CleanConfig())
    assert isinstance(document, Document)
    assert isinstance(document.raw, Rejection) or document.raw.content == b""


@pytest.mark.parametrize("ranges", [True, False])
def test_reading_goes_on_where_a_connection_broke(web: Any, monkeypatch: pytest.MonkeyPatch, ranges: bool) -> None:
    made = bytes(range(256)) * (6 << 12)
    (source,) = find(web.put("/a.bin", made, ranges=ranges, breaks=[1_000_000, 2_500_000 if not ranges else 17]))
    assert content(source) == made
    assert len(web.got()) == (4 if ranges else 3)


def test_what_stays_broken_is_a_row(web: Any) -> None:
    lines = ('{"text": "' + "江畔何人初见月" * 1000 + '"}\n').encode() * 200
    (source,) = find(web.put("/a.jsonl", lines, breaks=[2_000_000] + [0] * 10))
    items = list(read_span(Span(source), CleanConfig()))
    assert 80 < len(items) < 100  # of 21 KB each
    last = items[-1]
    assert isinstance(last, Document)
    assert isinstance(last.raw, Rejection)
    assert last.raw.reason == Reason.BROKEN
    assert "the connection" in last.raw.detail
    (source,) = find(web.put("/b.txt", lines, breaks=[2_000_000] + [0] * 10))
    (document,) = read_span(Span(source), CleanConfig())
    assert isinstance(document, Document)
    assert isinstance(document.raw, Rejection)
    assert document.raw.reason == Reason.UNREADABLE


def test_a_broken_stream_without_parts_or_times_is_not_pieced_together(web: Any) -> None:
    (source,) = find(web.put("/a.bin", b"1" * 3_000_000, ranges=False, headers={}, breaks=[2_000_000] * 2))
    with pytest.raises(OSError, match="broke"):
        content(source)


def test_a_file_that_changes_is_not_mixed(web: Any) -> None:
    def change(page: Any) -> None:
        page.headers = {"ETag": '"2"'}

    (source,) = find(web.put("/a.bin", b"1" * 6_000_000, headers={"ETag": '"1"'}, then=change))
    with pytest.raises(OSError, match="it has changed"):
        content(source)


def test_files_are_compared_by_time_or_tag_or_read_again(web: Any) -> None:
    times = []
    for headers in (
        {},
        {"ETag": '"1"'},
        {"ETag": '"2"'},
        {"ETag": 'W/"2"', "Last-Modified": MODIFIED},
        {"Last-Modified": "yesterday"},
    ):
        (source,) = find(web.put("/a.txt", b"x", headers=headers))
        times.append(source.mtime_ns)
    assert abs(times[0] - time.time_ns()) < 60 * 10**9
    assert 0 < times[1] < 10**9
    assert 0 < times[2] < 10**9
    assert times[1] != times[2]
    assert times[3] == MODIFIED_NS
    assert abs(times[4] - time.time_ns()) < 60 * 10**9


def test_servers_that_know_get_alone_are_read(web: Any) -> None:
    (source,) = find(web.put("/a.txt", b"xyz", knows_head=False))
    assert (source.n_bytes, content(source)) == (3, b"xyz")


def test_a_server_that_has_too_much_to_do_is_asked_again(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    busy = [(503, {"Retry-After": "7"}), (429, {}), (500, {})]
    (source,) = find(web.put("/a.txt", b"x", refusals=busy[:2]))
    assert waited == [7.0, 0.0]
    web.pages["/a.txt"].refusals = busy
    assert content(source) == b"x"
    assert waited == [7.0, 0.0, 7.0, 0.0, 0.0]
    web.pages["/a.txt"].refusals = [(503, {"Retry-After": "86400"})]
    with pytest.raises(SourceError, match=r"too much to do. Try again later \(status 503, and asks .* 86,400 s\)"):
        find(source.uri)
    web.pages["/a.txt"].refusals = [(503, {})] * 9
    (document,) = read_span(Span(source), CleanConfig())
    assert isinstance(document, Document)
    assert isinstance(document.raw, Rejection)
    assert document.raw.reason == Reason.UNREADABLE


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "it takes a password. Put it into ~/.netrc"),
        (403, "the server doesn't allow it"),
        (404, "nothing is at"),
        (410, "nothing is at"),
        (418, r"the server answers with an error \(status 418\)"),
    ],
)
def test_refusals_of_the_web_are_told_in_words(web: Any, status: int, message: str) -> None:
    address = web.put("/a.txt", b"x", refusals=[(status, {})] * 2)
    with pytest.raises(SourceError, match=message):
        find(address)


def test_hosts_that_are_not_there_are_told(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="the connection failed or broke"):
        find("http://127.0.0.1:9/a.txt")
    with pytest.raises(SourceError, match=r"there is no such host|connection failed"):
        find("http://no-such-host.invalid/a.txt")
    with pytest.raises(SourceError, match=r"none that can be read|no such host"):
        find("http://")
    with pytest.raises(SourceError, match="none that can be read"):
        find("http://[::1/a.txt")


def test_slow_servers_are_given_up(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_reader._client(os.getpid()), "timeout", 0.1)
    address = web.put("/a.txt", b"x", then=lambda _: time.sleep(0.3), sized=False, ranges=False)
    (source,) = find(address)
    with pytest.raises(OSError, match="doesn't answer in time"):
        content(source)


def test_redirects_are_followed_and_the_address_stays(web: Any) -> None:
    web.put("/there.txt", b"x")
    moved = [(302, {"Location": "/there.txt?X-Amz-Signature=hidden"})]
    address = web.put("/here.txt", b"", refusals=moved * 9)
    (source,) = find(address)
    assert (source.uri, content(source)) == (address, b"x")
    circle = web.put("/circle", b"", refusals=[(302, {"Location": "/circle"})] * 99)
    with pytest.raises(SourceError, match="redirects in a circle"):
        find(circle)


def test_certificates_that_are_not_trusted_are_told() -> None:
    error = web_reader._in_words(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
    assert "SSL_CERT_FILE" in str(error)
    assert not error.again


# --- Secrets

SECRETS = ("hunter2", "AKIA", "SIG123")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://user:hunter2@host/a.txt", "https://host/a.txt"),
        ("https://hunter2@host:8080/a.txt?id=5", "https://host:8080/a.txt?id=5"),
        ("https://host/a?X-Amz-Credential=AKIA&X-Amz-Signature=SIG123&X-Amz-Expires=60&id=5", "https://host/a?id=5"),
        ("https://host/a?AWSAccessKeyId=AKIA&Signature=SIG123&Expires=1", "https://host/a"),
        ("https://host/a?GoogleAccessId=AKIA&Expires=1&Signature=SIG123", "https://host/a"),
        ("https://host/a?sv=2024&se=2026&sr=b&sp=r&sig=SIG123", "https://host/a"),
        ("https://host/a?x%2Damz%2dsignature=SIG123", "https://host/a"),
        ("https://host/a?Policy=SIG123&Signature=SIG123&Key-Pair-Id=AKIA", "https://host/a"),
        ("https://host/a?OSSAccessKeyId=AKIA&Expires=1&Signature=SIG123", "https://host/a"),
        ("https://host/a?q-sign-algorithm=sha1&q-ak=AKIA&q-signature=SIG123", "https://host/a"),
        ("https://host/a?access_token=SIG123&page=2", "https://host/a?page=2"),
        ("https://host/a?key=AKIA567890123456", "https://host/a"),
        ("https://host/a?key=12&sp=1&e=2#here", "https://host/a?key=12&sp=1&e=2"),
        ("sftp://user:hunter2@host/a.txt", "sftp://user@host/a.txt"),
        ("abfs://box@account.dfs.core.windows.net/a.txt", "abfs://box@account.dfs.core.windows.net/a.txt"),
        ("s3://bucket/a@b?c#d", "s3://bucket/a@b?c#d"),
        ("@https://u:hunter2@host/list#https://u:hunter2@host/", "@https://host/list#https://host/"),
        ("in/token=hunter.txt", "in/token=hunter.txt"),
    ],
)
def test_what_is_shown_of_an_address_lets_nobody_in(given: str, expected: str) -> None:
    assert shown(given) == expected
    assert str(Address(given)) == f"{Address(given)}" == expected
    assert repr(Source("u", Address(given), 0)) == f"Source(uri='u', path={expected!r}, n_bytes=0, mtime_ns=0)"
    assert pickle.loads(pickle.dumps(Address(given))).startswith(given)
    assert holds_secrets(given) == any(secret in given for secret in SECRETS)


def test_patterns_for_secrets_take_no_time() -> None:
    begun = time.monotonic()
    for part in ("a", "q-", "x-amz-", "token", "secret", "&", "%41", "access_key", "="):
        shown(f"https://host/a?{part * (100_000 // len(part))}=1")
    assert time.monotonic() - begun < 2


def test_passwords_let_in_and_are_seen_nowhere(web: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    plain = web.put("/a.txt", "江畔何人初见月".encode(), password="user:hunter2")
    signed = "?X-Amz-Signature=SIG123&id=5"
    given = plain.replace("//", "//user:hunter2@") + signed
    (source,) = find(given)
    assert source.uri == f"{plain}?id=5"
    assert web.asked[-1][1] == f"/a.txt{signed}"  # the server gets all of it
    (found,) = documents(given)
    assert not isinstance(found.raw, Rejection)
    assert web.asked[-1][1] == f"/a.txt{signed}"
    seen = [repr(source), f"{source}", repr(found), caplog.text]
    for wrong in (given.replace("/a.txt", "/b.txt"), given.replace(":hunter", ":AKIA")):
        with pytest.raises(SourceError) as error:
            find(wrong)
        seen += [
            str(error.value),
            repr(error.value),
            repr(error.value.__cause__),
            *traceback.format_exception(error.value),
        ]
    web.pages["/a.txt"].refusals = [(403, {"Location": given})] * 9
    seen.append(repr(list(read_span(Span(source), CleanConfig()))))
    text = "\n".join(seen) + caplog.text
    assert not [line for line in text.splitlines() if any(secret in line for secret in SECRETS)]


def test_passwords_are_found_in_netrc(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = web.put("/a.txt", b"x", password="user:hunter2")
    with pytest.raises(SourceError, match="takes a password"):
        find(address)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    (source,) = find(address)
    assert content(source) == b"x"
    assert source_at(source.uri) == source
    netrc.write_text("machine 127.0.0.1 login user passwort hunter2\n")
    with pytest.raises(SourceError, match=r"~/.netrc can't be read") as error:
        find(address)
    assert "hunter2" not in str(error.value) + repr(error.value.__cause__)


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(remote.RemoteError("why", again=True)))
    assert (str(error), error.errno, error.strerror) == ("why", errno.EIO, "why")


# --- Lists


def test_lists_name_sources_relative_to_their_host(web: Any) -> None:
    web.put("/crawl-data/1/a.txt", b"a")
    web.put("/crawl-data/1/b.txt", b"b")
    names = "# of the crawl\n\ncrawl-data/1/b.txt\r\n  crawl-data/1/a.txt  \n/crawl-data/1/a.txt\n"
    given = web.put("/crawl-data/warc.paths.gz", gzip.compress(names.encode()))
    assert [content(source) for source in find(f"@{given}")] == [b"a", b"b"]


def test_lists_have_bases(web: Any, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Key="x/a 1.txt", Body=b"of the bucket")
    web.put("/x/a%201.txt", b"of the web")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a 1.txt").write_text("of the disk")
    names = tmp_path / "paths"
    names.write_bytes(b"\xef\xbb\xbfa 1.txt\n")
    for base, expected in (
        (f"s3://{bucket.name}/x", "bucket"),
        (f"{web.address}/x/", "web"),
        (f"{tmp_path}/x", "disk"),
    ):
        assert [content(source).decode() for source in find(f"@{names}#{base}")] == [f"of the {expected}"]
    bucket.put_object(Key="lists/paths", Body=b"x/a 1.txt\n")
    assert [content(source) for source in find(f"@s3://{bucket.name}/lists/paths")] == [b"of the bucket"]
    (found,) = find(f"@s3://{bucket.name}/lists/paths#{tmp_path}/")
    assert content(found) == b"of the disk"
    monkeypatch.chdir(tmp_path / "x")
    assert [content(source) for source in find("@../paths")] == [b"of the disk"]


def test_lists_name_folders_patterns_and_addresses(web: Any, bucket: Any, tmp_path: Path) -> None:
    for key in ("in/a.txt", "in/b.txt", "c/1.gz", "c/2.gz"):
        bucket.put_object(Key=key, Body=b"x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "d.txt").write_text("x")
    lines = (f"s3://{bucket.name}/in/", f"s3://{bucket.name}/c/*.gz", web.put("/e.txt", b"x"), str(tmp_path / "d"))
    (tmp_path / "list").write_text("\n".join(lines))
    assert [source.name for source in find(f"@{tmp_path}/list")] == ["d.txt", "e.txt", "1.gz", "2.gz", "a.txt", "b.txt"]


def test_what_a_list_names_and_is_not_there_is_a_row(web: Any, bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Key="a.txt", Body="江畔何人初见月".encode())
    elsewhere = f"s3://{bucket.name}/gone.txt", f"{web.address}/gone.txt", "http://127.0.0.1:9/x"
    gone = (*elsewhere, str(tmp_path / "gone.txt"))
    (tmp_path / "list").write_text("\n".join((f"s3://{bucket.name}/a.txt", *gone)))
    found = documents(f"@{tmp_path}/list")
    reasons = {d.origin.source_uri: d.raw.reason for d in found if isinstance(d.raw, Rejection)}
    assert len(found) == 5
    assert reasons == dict.fromkeys([*elsewhere, (tmp_path / "gone.txt").as_uri()], Reason.UNREADABLE)
    (tmp_path / "list").write_text("\n".join(gone))
    with pytest.raises(SourceError, match=r"nothing is there; the first: .*gone.txt. If it names files relative"):
        find(f"@{tmp_path}/list")


def test_of_many_in_a_folder_that_a_list_names_none_is_asked_for_alone(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MANY", 5)
    for number in range(8):
        bucket.put_object(Key=f"segments/1/x-{number}.txt", Body=b"x")
    bucket.put_object(Key="segments/2/y.txt", Body=b"x")
    listed = [f"segments/1/x-{number}.txt" for number in range(1, 9)]  # the last one isn't there
    (tmp_path / "paths").write_text("\n".join([*listed, "segments/2/y.txt"]))
    pages, asked = recorded(monkeypatch, "_pages"), recorded(monkeypatch, "_ask")
    found = find(f"@{tmp_path}/paths#s3://{bucket.name}/")
    assert [source.n_bytes for source in found] == [1] * 7 + [0, 1]
    assert pages == [(bucket.name, {"Prefix": "segments/1/x-", "Delimiter": "/"})]
    assert [given["Key"] for _, _, given in asked] == ["segments/2/y.txt"]
    assert found[:7] == find(f"s3://{bucket.name}/segments/1/")[1:]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("/etc/passwd", "nothing is there"),
        ("file:///etc/passwd", r"line 1: .* is a file of this machine, and the list is not"),
        ("\n@https://host/list", "line 2: .* can't stand in a list"),
        ("-", "can't stand in a list"),
        ("a\0b", "this is no list of sources"),
        ("a" * 40_000, "this is no list of sources"),
        ("", "there are no files"),
        ("# nothing", "there are no files"),
    ],
)
def test_lists_of_others_do_not_name_files_of_this_machine(web: Any, lines: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        find("@" + web.put("/list", lines.encode()))


def test_lists_of_others_do_not_leave_their_base(web: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    for line in ("../secret", f"{tmp_path}/secret", "in/../../secret"):
        with pytest.raises(SourceError, match="would lead out of the base"):
            find(f"@{web.put('/list', line.encode())}#{tmp_path}/in/")


def test_lists_that_cannot_be_read_are_errors(web: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read the list @.*/none: No such file"):
        find(f"@{tmp_path}/none")
    with pytest.raises(SourceError, match=r"cannot read the list @http://.*/none: there is no such file"):
        find(f"@{web.address}/none")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"\n".join(b"%d.txt" % n for n in range(1000)))[:-20])
    with pytest.raises(SourceError, match="cannot read the list"):
        find(f"@{tmp_path}/cut.gz")


def test_names_are_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/*.txt") == f"{tmp_path}/a/*.txt"
    assert absolute("@list#s3://b/") == f"@{tmp_path}/list#s3://b/"
    for name in ("s3://b/x", "file:///x", "https://h/x", "@s3://b/list", "@https://h/l#s3://b/"):
        assert absolute(name) == name


# --- Whatever fsspec knows


def test_whatever_fsspec_knows_is_read() -> None:
    system = fsspec.filesystem("memory")
    for path in ("/box/in/a.txt", "/box/in/deep/b 中.txt", "/box/in/.hidden", "/box/out.txt"):
        system.pipe(path, path.encode() * 100)
    found = find("memory://box/in")
    assert [source.uri for source in found] == ["memory://box/in/a.txt", "memory://box/in/deep/b%20%E4%B8%AD.txt"]
    assert content(found[1]) == "/box/in/deep/b 中.txt".encode() * 100
    assert [source_at(source.uri) for source in found] == found
    assert find("memory://box/**/*.txt", "memory://box/in/*/*.txt")[1:] == find("memory://box/**/*.txt")[1:]
    assert len(find("memory://box/*.txt")) == 1
    with open_source(found[0]) as stream:
        stream.seek(-5, io.SEEK_END)
        assert stream.read() == b"a.txt"
    system.pipe("/box/in/a.txt", b"new")
    with pytest.raises(OSError, match="has changed"):
        open_source(found[0])
    with pytest.raises(SourceError, match="nothing is at memory://none"):
        find("memory://none/x")
