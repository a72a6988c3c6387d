import gzip
import io
import subprocess
import tarfile
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Reason
from tasks import read as reading
from tasks.read import read_span, split_source, streams
from tasks.read.records import Span
from tasks.read.sources import Source
from tests.tasks.read.reading import outcomes as told
from tests.tasks.read.reading import outcomes_of as read
from tests.tasks.read.reading import source

TEXTS = {f"页/{number:03}.txt": f"第{number}页。".encode() * (number + 1) for number in range(60)}


def tar_of(members: dict[str, bytes] | list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT, **how: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind, **how) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, data: bytes = b"") -> bytes:
    """A header that says what it is told to, and some blocks."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_documents_in_their_order(tmp_path: Path, kind: int) -> None:
    assert read(tmp_path / "a.tar", tar_of(TEXTS, kind)) == list(TEXTS.items())
    assert read(tmp_path / "a.tgz", gzip.compress(tar_of(TEXTS, kind))) == list(TEXTS.items())
    assert read(tmp_path / "no-suffix", tar_of(TEXTS, kind)) == list(TEXTS.items())


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_whole_and_gbk_is_understood(tmp_path: Path, kind: int) -> None:
    name = "目录/" + "很长" * 100 + ".txt"
    for encoding in ("utf-8", "gbk"):
        [(record, _)] = read(tmp_path / "a.tar", tar_of({name: b"x"}, kind, encoding=encoding))
        assert record == name


def test_the_oldest_format_is_told_by_the_suffix(tmp_path: Path) -> None:
    data = tar_of({"a": b"text"}, tarfile.USTAR_FORMAT)
    info = tarfile.TarInfo.frombuf(data[:512], "utf-8", "strict")
    v7 = bytearray(data[:257] + bytes(255) + data[512:])
    v7[148:156] = b"        "
    v7[148:156] = b"%06o\0 " % sum(v7[:512])
    assert info.name == "a"
    assert read(tmp_path / "a.tar", bytes(v7)) == [("a", b"text")]
    assert read(tmp_path / "a.tar.gz", gzip.compress(bytes(v7))) == [("a", b"text")]


def test_names_are_unique_and_can_be_stored(tmp_path: Path) -> None:
    names = ["a", "a", "a#2", "a", "b!c", "100%", "x\ny", "", "\udcff\udcfe", "../../etc/passwd", "/etc/passwd"]
    members = [(name, str(number).encode()) for number, name in enumerate(names)]
    made = read(tmp_path / "a.tar", tar_of(members, tarfile.GNU_FORMAT, errors="surrogateescape"))
    records = [record for record, _ in made]
    assert records == [
        *("a", "a#2", "a%232", "a#3", "b%21c", "100%25", "x%0Ay", "%", "%FF%FE", "../../etc/passwd", "/etc/passwd")
    ]
    assert [content for _, content in made] == [content for _, content in members]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def test_members_are_read_as_what_they_are(tmp_path: Path) -> None:
    inner = tar_of({"c.txt.gz": gzip.compress(b"deep"), "d.html": b"<p>x"})
    made = read(tmp_path / "a.tar", tar_of({"b.tar.gz": gzip.compress(inner), "e.txt": b"text"}))
    assert made == [("b.tar.gz!c.txt.gz", b"deep"), ("b.tar.gz!d.html", b"<p>x"), ("e.txt", b"text")]


def test_archives_are_followed_to_a_depth(tmp_path: Path) -> None:
    data = tar_of({"text": b"x"})
    for _ in range(3):
        data = tar_of({"in.tar": data, "beside": b"y"})
    made = read(tmp_path / "a.tar", data, read={"max_depth": 2})
    assert made == [("in.tar!in.tar", Reason.BOMB), ("in.tar!beside", b"y"), ("beside", b"y")]


def test_what_is_no_file_is_skipped_and_counted(tmp_path: Path) -> None:
    data = b"".join(
        [
            entry("folder", tarfile.DIRTYPE),
            entry("link", tarfile.SYMTYPE),
            entry("hard", tarfile.LNKTYPE, 5000),  # old programs give the size of what it is a link to
            entry("null", tarfile.CHRTYPE),
            entry("pipe", tarfile.FIFOTYPE),
            entry("label", b"V"),
            entry("__MACOSX/._a.txt", size=3, data=b"\0\5\x16"),
            entry("pictures/.DS_Store", size=3, data=b"xyz"),
            entry("pictures/Thumbs.db", size=3, data=b"xyz"),
            entry("a.txt", size=4, data=b"text"),
            bytes(1024),
        ]
    )
    kinds = ["directory", "link", "link", "device", "device", "special", "junk", "junk", "junk"]
    assert read(tmp_path / "a.tar", data) == [*(("", kind) for kind in kinds), ("a.txt", b"text")]


@pytest.mark.parametrize("how", ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix"])
@pytest.mark.parametrize("n_islands", [1, 40])
def test_sparse_files_are_whole(tmp_path: Path, how: str, n_islands: int) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(n_islands * 65_536)
        for number in range(n_islands):
            file.seek(number * 65_536 + 32_768)
            file.write(b"island" * 10)
    (tmp_path / "z").write_bytes(b"behind")
    command = ["tar", f"--format={how}", "-S", "-C", str(tmp_path), "-cf", str(tmp_path / "a.tar"), "sparse.txt", "z"]
    subprocess.run(" ".join(command), shell=True, check=True)
    data = (tmp_path / "a.tar").read_bytes()
    assert len(data) < n_islands * 10_000 + 20_000  # holes are holes
    assert read(tmp_path / "b.tar", data) == [("sparse.txt", path.read_bytes()), ("z", b"behind")]


def test_a_sparse_file_of_nothing_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FLOOR_BYTES", 1_000_000)
    pax = {"GNU.sparse.size": str(10**15), "GNU.sparse.map": "0,4"}
    info = tarfile.TarInfo("zeros")
    info.size, info.pax_headers = 4, pax
    data = info.tobuf(tarfile.PAX_FORMAT) + b"text" + bytes(508) + entry("z", size=1, data=b"z") + bytes(1024)
    assert read(tmp_path / "a.tar", data, max_bytes=1000) == [("zeros", Reason.BOMB), ("z", b"z")]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), is_packed=st.booleans())
def test_wherever_it_is_cut_what_was_before_is_read_and_there_is_one_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, is_packed: bool
) -> None:
    whole = tar_of(TEXTS, tarfile.USTAR_FORMAT)
    whole = whole[: whole.rstrip(b"\0").__len__() // 512 * 512 + 512]  # without the end mark and tape padding
    packed = gzip.compress(whole + bytes(1024)) if is_packed else whole
    cut = data.draw(st.integers(100, len(packed) - 1))  # less is no longer told from text
    *before, (record, reason) = read(tmp_path_factory.getbasetemp() / "cut.tar", packed[:cut])
    assert before == list(TEXTS.items())[: len(before)]
    assert reason == Reason.BROKEN
    offset = int(record.removeprefix("offset="))
    if not is_packed:
        assert offset <= cut
        n_whole = whole[:cut].count(b"ustar") - 1
        assert len(before) >= n_whole


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=40), kind=st.sampled_from([0, 1, 2]))
def test_whatever_is_overwritten_reading_ends_and_addresses_are_unique(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes, kind: int
) -> None:
    data = bytearray(tar_of({name * 9: TEXTS[name] for name in list(TEXTS)[:8]} if kind else TEXTS, kind))
    at %= len(data)
    data[at : at + len(junk)] = junk
    made = read(tmp_path_factory.getbasetemp() / "junk.tar", bytes(data))
    assert made
    records = [record for record, content in made if not isinstance(content, str) or isinstance(content, Reason)]
    assert len(set(records)) == len(records)


def test_a_damaged_header_is_a_row_and_the_next_one_is_found(tmp_path: Path) -> None:
    data = bytearray(tar_of(TEXTS, tarfile.USTAR_FORMAT))
    name = "页/002.txt".encode()
    at = data.index(name)
    data[at] ^= 1
    made = read(tmp_path / "a.tar", bytes(data))
    assert made[2] == (f"offset={at}", Reason.BROKEN)
    assert made[:2] + made[3:] == [item for item in TEXTS.items() if item[0] != "页/002.txt"]


def test_a_second_archive_behind_the_first_is_read_and_garbage_is_a_row(tmp_path: Path) -> None:
    first, second = tar_of({"a": b"1"}), tar_of({"b": b"2"})
    assert read(tmp_path / "a.tar", first + second) == [("a", b"1"), ("b", b"2")]
    for garbage in (b"garbage", b"garbage" * 1000):
        made = read(tmp_path / "a.tar", first + garbage)
        assert made == [("a", b"1"), (f"offset={len(first)}", Reason.BROKEN)]
    made = read(tmp_path / "a.tar", first + b"x" * 512 + second)
    assert made == [("a", b"1"), (f"offset={len(first)}", Reason.BROKEN), ("b", b"2")]


def test_an_archive_of_nothing_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "a.tar", bytes(10_240)) == [("", Reason.EMPTY)]
    assert read(tmp_path / "a.tar", tar_of({})) == [("", Reason.EMPTY)]


@pytest.mark.parametrize(
    "header",
    [
        entry("a", size=-1),
        entry("a", size=-(2**60)),
        entry("a", size=2**63),
        entry("a", size=2**87),
        entry("a", tarfile.GNUTYPE_LONGNAME, 2**40),
        entry("a", tarfile.XHDTYPE, 2**31),
        entry("a", tarfile.XHDTYPE, 30, b"9999999999 path=x\n"),
        entry("a", tarfile.XHDTYPE, 11, b"11 size=-5\n"),
        entry("a", tarfile.XHDTYPE, 9, b"0 path=x\n"),
        entry("a", tarfile.XHDTYPE, 500, b"1" * 500),
        entry("a", tarfile.XHDTYPE, 49, b"21 GNU.sparse.size=9\n28 GNU.sparse.map=0,1,0,1,5\n"),
        entry("a", tarfile.XHDTYPE, 47, b"21 GNU.sparse.size=9\n26 GNU.sparse.map=0,5,3,2\n"),
        entry("a", tarfile.XHDTYPE, 43, b"21 GNU.sparse.size=9\n22 GNU.sparse.map=5,5\n"),
    ],
)
def test_headers_that_lie_are_rows_and_the_rest_is_read(tmp_path: Path, header: bytes) -> None:
    made = read(tmp_path / "a.tar", header + tar_of({"b": b"1", "c": b"2"}))
    assert made[0] == ("offset=0", Reason.BROKEN)
    assert made[1:] in ([("b", b"1"), ("c", b"2")], [("c", b"2")])  # what it was the header of may be lost


@pytest.mark.parametrize(
    "header",
    [
        entry("a", tarfile.XHDTYPE, 0) * 5_000,
        entry("a", tarfile.GNUTYPE_LONGNAME, 3, b"abc") * 5_000,
        entry("a", tarfile.XGLTYPE, 3, b"x=y") * 5_000,
    ],
)
def test_long_chains_of_headers_are_followed(tmp_path: Path, header: bytes) -> None:
    made = read(tmp_path / "a.tar", header + tar_of({"z": b"1"}))
    assert made in ([("z", b"1")], [("abc", b"1")], [("offset=0", Reason.BROKEN), ("z", b"1")])


def test_a_size_that_is_too_large_takes_the_rest_along_in_one_row(tmp_path: Path) -> None:
    data = entry("a.txt", size=10**12, data=b"text") + tar_of({"b": b"1"})
    assert read(tmp_path / "a.tar", data) == [(f"offset={len(data)}", Reason.BROKEN)]
    [(_, reason)] = read(tmp_path / "a.tar.gz", gzip.compress(data))
    assert reason == Reason.BROKEN


def test_many_members_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for number in range(2_000):
            file.write(entry(f"{number:08}/" + "x" * 80))
    items = read_span(Span(Source(path.as_uri(), path, path.stat().st_size)), CleanConfig())
    assert len(list(islice(items, 500))) == 500
    tracemalloc.start()
    assert len(list(map(type, islice(items, 1_000)))) == 1_000
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 1_000 * 500  # `tarfile` keeps 2,500 bytes of each


def test_pieces_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SPLIT_BYTES", 5_000)
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        given_source = source(tmp_path / "a.tar", tar_of(TEXTS, kind))
        spans = split_source(given_source)
        assert len(spans) > 5
        assert sum(span.n_bytes for span in spans) == given_source.n_bytes
        pieces = [item for span in spans for item in told(read_span(span, CleanConfig()))]
        assert pieces == list(TEXTS.items())


def test_pieces_of_a_damaged_archive_give_the_same_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tar_of(TEXTS, tarfile.USTAR_FORMAT)
    monkeypatch.setattr(reading, "SPLIT_BYTES", 5_000)
    for at in range(100, len(data), 4_096):
        damaged = bytearray(data)
        damaged[at : at + 600] = b"\xff" * len(damaged[at : at + 600])
        given_source = source(tmp_path / "a.tar", bytes(damaged))
        pieces = [item for span in split_source(given_source) for item in told(read_span(span, CleanConfig()))]
        assert pieces == read(tmp_path / "a.tar", bytes(damaged))


def test_an_archive_with_two_members_of_a_name_is_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SPLIT_BYTES", 5_000)
    data = tar_of([*TEXTS.items(), next(iter(TEXTS.items()))])
    assert len(split_source(source(tmp_path / "a.tar", data))) == 1
    assert len(split_source(source(tmp_path / "a.tar.gz", gzip.compress(data, 0)))) == 1


def test_a_member_that_is_called_as_an_address_takes_no_row_of_others(tmp_path: Path) -> None:
    names = ["offset=1024", "line=1", "row=2", "from=0,documents=1", "a=b", "myline=3"]
    found = told(read_span(Span(source(tmp_path / "a.tar", tar_of(dict.fromkeys(names, b"text")))), CleanConfig()))
    expected = ["offset%3D1024", "line%3D1", "row%3D2", "from%3D0,documents=1", "a=b", "myline=3"]
    assert [address for address, _ in found] == expected
