import gzip
import hashlib
import os
import socket
import tracemalloc
from pathlib import Path

from schemas.config import CleanConfig
from schemas.document import RawDocument, Reason, Rejection
from tasks.read import read_span
from tasks.read.records import Document, Span
from tasks.read.sources import Source
from tests.tasks.read.reading import rows


def read_text(path: Path, max_bytes: int) -> Document:
    """The one document of a file."""
    (made,) = read_span(Span(Source(path.as_uri(), path, 0)), CleanConfig(max_bytes=max_bytes))
    assert isinstance(made, Document)
    return made


def test_a_file_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xff\x00a")
    origin, raw = read_text(path, 3)
    assert raw == RawDocument(path.as_uri(), b"\xff\x00a", name="a")
    assert origin.sha256 == hashlib.sha256(b"\xff\x00a").hexdigest()
    assert (origin.source_uri, origin.record, origin.n_bytes) == (path.as_uri(), "", 3)
    assert origin.state == origin.sha256  # so that it is the same as before there were containers


def test_a_file_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    origin, raw = read_text(tmp_path / "gone", 10)
    assert raw == Rejection(Reason.UNREADABLE, "The file could not be read: No such file or directory.")
    assert (origin.sha256, origin.n_bytes) == ("", 0)


def test_a_loop_of_links_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    _, raw = read_text(tmp_path / "loop", 10)
    assert isinstance(raw, Rejection)
    assert raw.reason == Reason.UNREADABLE


def test_what_is_no_file_is_unreadable_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # the path of a socket has 107 bytes at most
    for path, kind in [
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path / "link", "a named pipe"),
        (tmp_path / "socket", "a socket"),
        (Path("/dev/zero"), "a device"),
    ]:
        origin, raw = read_text(path, 10)  # opening the pipe would wait for ever
        assert isinstance(raw, Rejection)
        assert (raw.reason, origin.sha256) == (Reason.UNREADABLE, "")
        assert raw.detail.startswith(f"This is {kind} and no file. It was not opened")


def test_a_line_of_200_megabytes_is_hashed_and_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "line"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    origin, raw = read_text(path, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raw == Rejection(Reason.TOO_LARGE, "200,000,000 bytes, and 1,000,000 are allowed.")
    assert (origin.n_bytes, len(origin.sha256)) == (200_000_000, 64)
    assert peak < 4_000_000  # what is allowed, and a piece on top


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert isinstance(read_text(path, 5)[1], RawDocument)
    assert isinstance(read_text(path, 4)[1], Rejection)


def test_garbage_behind_a_compressed_file_costs_a_row_and_not_the_document(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.txt.gz", gzip.compress(b"abc") + b"garbage")
    assert [(record, told.partition(":")[0]) for record, told in found] == [("", "abc"), ("offset=3", "broken")]
    found = rows(tmp_path / "a.txt.gz", gzip.compress(b"abc")[:-1])
    assert [(record, told.partition(":")[0]) for record, told in found] == [("offset=3", "broken")]
