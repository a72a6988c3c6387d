import bz2
import errno
import gc
import gzip
import io
import lzma
import multiprocessing
import os
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from backports.zstd import zipfile as newer_zipfile
from hypothesis import given, settings
from hypothesis import strategies as st
from inflate64 import Deflater

from schemas.config import CleanConfig
from schemas.document import Reason
from tasks import read as reading
from tasks.read import read_span, split_source, streams
from tasks.read.records import Span
from tests.tasks.read.reading import outcomes as told
from tests.tasks.read.reading import outcomes_of as read
from tests.tasks.read.reading import source

TEXTS = {f"页/{number:03}.txt": f"第{number}页。".encode() * (number + 1) for number in range(60)}

Z93 = 93
"""zstd, which the `zipfile` of Python 3.11 lacks."""


class Pipe(io.RawIOBase):
    """What a zip file is written to if sizes are to follow the data."""

    def __init__(self) -> None:
        self.file = io.BytesIO()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.file.write(data)


def zip_of(members: Any, method: int = 8, *, is_piped: bool = False) -> bytes:
    file = Pipe() if is_piped else None
    buffer = file.file if file else io.BytesIO()
    with newer_zipfile.ZipFile(file or buffer, "w") as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            fresh = newer_zipfile.ZipInfo(info.filename)
            fresh.external_attr = info.external_attr
            archive.writestr(fresh, data, compress_type=method)
    return buffer.getvalue()


def member(name: bytes, data: bytes, *, method: int = 0, packed: bytes | None = None, flags: int = 0) -> bytes:
    """A member without a directory."""
    packed = data if packed is None else packed
    sizes = zlib.crc32(data), len(packed), len(data), len(name), 0
    return struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, flags, method, 0, 0, *sizes) + name + packed


def directory(entries: list[tuple[bytes, int]], archive: bytes, extra: bytes = b"") -> bytes:
    """The directory of members that begin at some offsets, as they are, and its end."""
    made = b""
    for name, offset in entries:
        fields = struct.unpack_from("<5H3L", archive, offset + 4)
        made += struct.pack("<4sH", b"PK\x01\x02", 20) + struct.pack("<5H3L", *fields)
        made += struct.pack("<5H2L", len(name), len(extra), 0, 0, 0, 0, offset) + name + extra
    n = len(entries)
    return made + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(made), len(archive), 0)


@pytest.mark.parametrize("is_piped", [False, True])
@pytest.mark.parametrize("method", [0, 8, 12, 14, Z93])
def test_members_are_documents_in_their_order(tmp_path: Path, method: int, is_piped: bool) -> None:
    data = zip_of(TEXTS, method, is_piped=is_piped)
    assert read(tmp_path / "a.zip", data) == list(TEXTS.items())
    assert read(tmp_path / "a.zip.gz", gzip.compress(data)) == list(TEXTS.items())
    assert read(tmp_path / "no-suffix", data) == list(TEXTS.items())


@pytest.mark.parametrize("is_piped", [False, True])
@pytest.mark.parametrize("method", [0, 8, 12, 14, Z93])
def test_without_a_directory_members_are_found_by_their_headers(tmp_path: Path, method: int, is_piped: bool) -> None:
    data = zip_of(TEXTS, method, is_piped=is_piped)
    cut = data[: data.index(b"PK\x01\x02") + 100]
    made = read(tmp_path / "a.zip", cut)
    assert made == [*TEXTS.items(), (f"offset={len(cut)}", Reason.BROKEN)]


def test_deflate64_and_xz_are_read_as_well(tmp_path: Path) -> None:
    text = b"".join(TEXTS.values()) * 3
    enhanced = Deflater()
    packed = enhanced.deflate(text) + enhanced.flush()
    data = member(b"a", text, method=9, packed=packed) + member(b"b", text, method=95, packed=lzma.compress(text))
    made = [("a", text), ("b", text)]
    at = data.index(b"PK\x03\x04", 4)
    assert read(tmp_path / "a.zip", data + directory([(b"a", 0), (b"b", at)], data)) == made
    assert read(tmp_path / "a.zip", data)[:-1] == made
    piped = member(b"a", b"", method=9, packed=packed, flags=8)
    unmeasured = piped[:14] + bytes(12) + piped[26:] + member(b"b", b"text")
    assert read(tmp_path / "a.zip", unmeasured)[:-1] == [("a", text), ("b", b"text")]


def test_members_are_read_as_what_they_are(tmp_path: Path) -> None:
    inner = zip_of({"c.txt.gz": gzip.compress(b"deep"), "d.html": b"<p>x"})
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w:gz") as archive:
        info = tarfile.TarInfo("f.txt")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"y"))
    data = zip_of({"b.zip": inner, "e.txt": b"text", "t.tgz": tape.getvalue(), "w.docx": inner})
    assert read(tmp_path / "a.zip", data) == [
        *(("b.zip!c.txt.gz", b"deep"), ("b.zip!d.html", b"<p>x"), ("e.txt", b"text"), ("t.tgz!f.txt", b"y")),
        ("w.docx", inner),
    ]


def test_names_are_unique_and_can_be_stored(tmp_path: Path) -> None:
    data = b""
    names = [
        b"a",
        b"a",
        b"b!c",
        b"100%",
        b"",
        "中.txt".encode("gbk"),
        "é中".encode(),
        "r\x82sum\x82.txt".encode("latin-1"),
    ]
    names += [b"\x81", "目录/繁體.txt".encode("gbk"), b"../../etc/passwd"]
    offsets = []
    for name in names:
        offsets.append((name, len(data)))
        data += member(name, b"x")
    expected = ["a", "a#2", "b%21c", "100%25", "%", "中.txt", "é中", "résumé.txt", "ü", "目录/繁體.txt"]
    expected.append("../../etc/passwd")
    assert [record for record, _ in read(tmp_path / "a.zip", data + directory(offsets, data))] == expected
    assert [record for record, _ in read(tmp_path / "a.zip", data)][:-1] == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_a_name_in_unicode_beside_the_other_stands(tmp_path: Path) -> None:
    data = member(b"zhong", b"x")
    path = b"\x01" + zlib.crc32(b"zhong").to_bytes(4, "little") + "中".encode()
    extra = struct.pack("<2H", 0x7075, len(path)) + path
    assert read(tmp_path / "a.zip", data + directory([(b"zhong", 0)], data, extra)) == [("中", b"x")]
    stale = extra.replace(path[1:5], b"abcd")
    assert read(tmp_path / "a.zip", data + directory([(b"zhong", 0)], data, stale)) == [("zhong", b"x")]


def test_what_is_no_file_is_skipped_and_counted(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    data = zip_of([("folder/", b""), (link, b"/etc/passwd"), ("__MACOSX/._a", b"\0\5"), ("a.txt", b"text")])
    assert read(tmp_path / "a.zip", data) == [("", "directory"), ("", "link"), ("", "junk"), ("a.txt", b"text")]


def test_an_archive_behind_something_else_is_read(tmp_path: Path) -> None:
    data = zip_of(TEXTS)
    assert read(tmp_path / "a.zip", b"MZ" + bytes(100_000) + data) == list(TEXTS.items())
    assert read(tmp_path / "a.zip", data[20:])[1:] == list(TEXTS.items())[1:]  # or behind too little
    assert read(tmp_path / "a.zip", b"PK00" + data) == list(TEXTS.items())


def test_the_directory_is_found_whatever_the_comment_says(tmp_path: Path) -> None:
    data = zip_of(TEXTS)
    comment = b"PK\x05\x06" + b"not the end, and longer than the record of it"
    commented = data[:-2] + len(comment).to_bytes(2, "little") + comment
    assert read(tmp_path / "a.zip", commented) == list(TEXTS.items())
    assert read(tmp_path / "a.zip", data + b"something behind it") == list(TEXTS.items())
    with_marks = data[:-2] + b"\xff\xff" + b"PK\x05\x06" * 16_383 + b"xyz"
    assert read(tmp_path / "a.zip", with_marks) == list(TEXTS.items())


def test_a_disk_that_fails_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_source = source(tmp_path / "a.zip", zip_of(TEXTS, 0))
    monkeypatch.setattr(reading, "open_source", lambda one: Failing(one.path.read_bytes(), 3_000))
    made = told(read_span(Span(given_source), CleanConfig()))
    n_read = len(made) - 1
    assert 0 < n_read < 59
    assert made[:-1] == list(TEXTS.items())[:n_read]
    assert made[-1] == ("end", Reason.BROKEN)


class Failing(io.BytesIO):
    """A disk whose middle can't be read."""

    def __init__(self, data: bytes, bad: int) -> None:
        super().__init__(data)
        self.bad = bad

    def read(self, size: int | None = -1) -> bytes:
        begin = self.tell()
        data = super().read(size)
        if begin <= self.bad < self.tell() < len(self.getvalue()):
            raise OSError(errno.EIO, "Input/output error")
        return data


def test_large_archives_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", 8) as archive:
        for name, data in TEXTS.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=8)
    data = file.getvalue()
    assert b"PK\x06\x06" in data
    assert read(tmp_path / "a.zip", data) == list(TEXTS.items())
    assert read(tmp_path / "a.zip", b"MZ" + bytes(1000) + data) == list(TEXTS.items())
    assert read(tmp_path / "a.zip", data[: data.index(b"PK\x01\x02")])[:-1] == list(TEXTS.items())


@pytest.mark.parametrize("is_piped", [False, True])
@pytest.mark.parametrize("method", [0, 8])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_wherever_it_is_cut_what_was_before_is_read_and_there_is_one_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, method: int, is_piped: bool
) -> None:
    whole = zip_of(TEXTS, method, is_piped=is_piped)
    cut = data.draw(st.integers(4, len(whole) - 1))
    *before, (record, reason) = read(tmp_path_factory.getbasetemp() / "cut.zip", whole[:cut])
    n_whole = whole[: min(cut, whole.index(b"PK\x01\x02"))].count(b"PK\x03\x04") - 1
    assert len(before) >= n_whole
    assert before == list(TEXTS.items())[: len(before)]
    assert (record, reason) == (f"offset={cut}", Reason.BROKEN)


@pytest.mark.parametrize("cut", [10, 500, 4000])
def test_an_archive_in_a_stream_that_is_cut_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(zip_of(TEXTS), 0)
    *before, (_, reason) = read(tmp_path / "a.zip.gz", packed[:-cut])
    assert reason == Reason.BROKEN
    assert before == list(TEXTS.items())[: len(before)]
    assert len(before) >= 30


def test_a_member_that_is_damaged_is_a_row_and_the_others_are_read(tmp_path: Path) -> None:
    for method in (0, 8, 12, 14, Z93):
        data = bytearray(zip_of(TEXTS, method))
        name = "页/030.txt".encode()
        at = data.index(name) + len(name)
        data[at + 12] ^= 0xFF
        made = read(tmp_path / "a.zip", bytes(data))
        assert made[:30] + made[31:] == [item for item in TEXTS.items() if item[0] != "页/030.txt"]
        record, reason = made[30]
        assert (record.partition("!")[0], reason) == ("页/030.txt", Reason.BROKEN)


def test_sizes_that_lie_are_rows(tmp_path: Path) -> None:
    honest = member(b"a", b"text" * 10)
    for at, n_bytes in ((22, 39), (22, 41), (22, 2**31), (18, 2**32 - 2)):
        data = bytearray(honest)
        data[at : at + 4] = n_bytes.to_bytes(4, "little")
        archive = bytes(data) + member(b"b", b"beside")
        made = read(tmp_path / "a.zip", archive + directory([(b"a", 0), (b"b", len(honest))], archive))
        assert made[0][0].startswith("a")
        assert [reason for _, reason in made] == [Reason.BROKEN, b"beside"]


def test_what_can_not_be_unpacked_is_a_row_each(tmp_path: Path) -> None:
    data = member(b"secret", b"x", flags=1) + member(b"odd", b"x", method=98) + member(b"a", b"text")
    begins = [data.index(b"PK\x03\x04", at) for at in (0, 4, 40)]
    entries = list(zip((b"secret", b"odd", b"a", b"lost"), [*begins, 5], strict=True))
    made = read(tmp_path / "a.zip", data + directory(entries, data))
    assert made == [("secret", Reason.BROKEN), ("odd", Reason.BROKEN), ("a", b"text"), ("lost", Reason.BROKEN)]
    made = read(tmp_path / "a.zip", data)
    assert made[:-1] == [("secret", Reason.BROKEN), ("odd", Reason.BROKEN), ("a", b"text")]


def test_members_within_each_other_are_refused(tmp_path: Path) -> None:
    """The quoting of Fifield's bomb: what is stored in one is the header of the next, and the kernel of all."""
    kernel = member(b"c", b"text")
    middle = member(b"b", kernel)
    data = member(b"a", middle)
    offsets = [(b"a", 0), (b"b", data.index(middle)), (b"c", data.index(kernel))]
    made = read(tmp_path / "a.zip", data + directory(offsets, data))
    assert made == [("a", Reason.BROKEN), ("b", Reason.BROKEN), ("c", b"text")]
    twice = read(tmp_path / "a.zip", kernel + directory([(b"c", 0), (b"d", 0)], kernel))
    assert twice == [("c", Reason.BROKEN), ("d", Reason.BROKEN)]


def test_a_member_that_expands_too_much_is_a_bomb_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FLOOR_BYTES", 1_000_000)
    for method in (8, 12, 14, Z93):
        data = zip_of({"bomb": bytes(3_000_000), "a": b"text"}, method)
        made = read(tmp_path / "a.zip", data)
        assert made == [("bomb", Reason.BOMB), ("a", b"text")]


def read_alone(path: Path, archive: bytes, floor: int) -> tuple[list[Any], int]:
    """What comes of a file, and the peak of memory, where no thread of another test takes any."""
    streams.FLOOR_BYTES = floor
    gc.disable()
    given_source = source(path, archive)
    told(read_span(Span(given_source), CleanConfig(max_bytes=1_000_000)))  # loads what reading needs
    tracemalloc.start()
    made = told(read_span(Span(given_source), CleanConfig(max_bytes=1_000_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [outcome for _, outcome in made], peak


def test_what_was_read_of_bombs_and_broken_members_is_let_go(tmp_path: Path) -> None:
    bombs = zip_of({str(number): bytes(3_000_000) for number in range(8)})
    broken = bytearray(zip_of({str(number): os.urandom(900_000) for number in range(8)}))
    for at in range(800_000, len(broken), 900_000):
        broken[at] ^= 1
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        for archive, reason in ((bombs, Reason.BOMB), (bytes(broken), Reason.BROKEN)):
            made, peak = alone.submit(read_alone, tmp_path / "a.zip", archive, 2_500_000).result()
            assert made == [reason] * 8
            assert peak < 5_000_000  # a document twice, while its pieces are put together, and buffers


def test_bombs_within_bombs_end_with_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FLOOR_BYTES", 100_000)
    monkeypatch.setattr(streams, "SOURCE_FLOOR_BYTES", 400_000)
    data = zip_of({"0": bytes(300_000)})
    for _ in range(2):
        data = zip_of({f"{number}.zip": data for number in range(16)})
    made = read(tmp_path / "42.zip", data, read={"max_ratio": 1})
    assert 2 <= len(made) < 10
    assert {reason for _, reason in made} == {Reason.BOMB}
    assert made[-1] == ("", Reason.BOMB)


def test_archives_are_followed_to_a_depth(tmp_path: Path) -> None:
    data = zip_of({"text": b"x"})
    for _ in range(5):
        data = zip_of({f"{number}.zip": data for number in range(4)})
    made = read(tmp_path / "a.zip", data)
    assert len(made) == 4**3
    assert {reason for _, reason in made} == {Reason.BOMB}


def test_an_archive_in_a_stream_is_put_by_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    noise = os.urandom(10_000_000)
    data = zip_of({"inner.zip": zip_of({"a.bin": noise, "b.txt": b"text"}, 0)})
    items = read_span(Span(source(tmp_path / "a.zip", data)), CleanConfig())
    assert told([next(items)]) == [("inner.zip!a.bin", noise)]
    assert list((tmp_path / "spool").iterdir()) == []
    assert told(items) == [("inner.zip!b.txt", b"text")]


def test_what_is_no_archive_but_its_name_is_a_row(tmp_path: Path) -> None:
    assert read(tmp_path / "a.zip", b"\0" * 1000) == [("offset=1000", Reason.BROKEN)]
    assert read(tmp_path / "a.zip", b"<html>404") == [("", b"<html>404")]
    assert read(tmp_path / "a.zip", zip_of({})) == [("", Reason.EMPTY)]


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=40))
def test_whatever_is_overwritten_reading_ends_and_addresses_are_unique(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    data = bytearray(zip_of({name: TEXTS[name] for name in list(TEXTS)[:8]}))
    at %= len(data)
    data[at : at + len(junk)] = junk
    made = read(tmp_path_factory.getbasetemp() / "junk.zip", bytes(data))
    assert made
    records = [record for record, content in made if not isinstance(content, str) or isinstance(content, Reason)]
    assert len(set(records)) == len(records)


def test_pieces_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SPLIT_BYTES", 2_000)
    for method in (0, 8):
        given_source = source(tmp_path / "a.zip", b"MZ" + bytes(50) + zip_of(TEXTS, method))
        spans = split_source(given_source)
        assert len(spans) >= 2
        assert sum(span.n_bytes for span in spans) == given_source.n_bytes
        pieces = [item for span in spans for item in told(read_span(span, CleanConfig()))]
        assert pieces == list(TEXTS.items())


def test_an_archive_is_one_piece_if_its_members_are_not_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SPLIT_BYTES", 50)
    one, two = member(b"a", b"x" * 100), member(b"b", b"y" * 100)
    data = one + two
    for entries in ([(b"b", len(one)), (b"a", 0)], [(b"a", 0), (b"a", len(one))], [(b"a", 0), (b"b", 0)]):
        assert len(split_source(source(tmp_path / "a.zip", data + directory(entries, data)))) == 1
    entries = [(b"a", 0), (b"b", len(one))]
    assert len(split_source(source(tmp_path / "a.zip", data + directory(entries, data)))) == 2
    assert len(split_source(source(tmp_path / "a.zip", data + directory(entries, data)[:-10]))) == 1


def test_bzip2_in_zip_is_that_of_its_program() -> None:
    packed = member(b"a", b"text", method=12, packed=bz2.compress(b"text"))
    data = packed + directory([(b"a", 0)], packed)
    assert zipfile.ZipFile(io.BytesIO(data)).read("a") == b"text"  # so that what tests make by hand is what there is
