import bz2
import gzip
import io
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig, ReadConfig
from schemas.document import Reason, Rejection
from tasks.read import read_span, streams
from tasks.read.records import BombError, BrokenError, Document, Span
from tasks.read.sources import Source
from tasks.read.streams import Budget, expand, with_head

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstd.compress(
        data, options={zstd.CompressionParameter.checksum_flag: 1}
    ),  # as its program does
}
SUFFIX = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}
KINDS = pytest.mark.parametrize("kind", PACK)
LINES = [f"{number}：这是第 {number * 7919 % 10007} 行。\n".encode() for number in range(400)]
FRAMES = [b"".join(LINES[begin : begin + 100]) for begin in range(0, 400, 100)]


def undone(kind: str, packed: bytes, config: ReadConfig | None = None, n_source: int = 0) -> Any:
    return expand(io.BytesIO(packed), kind, Budget(n_source or len(packed), config or ReadConfig()))


def lines_before_damage(stream: Any) -> tuple[list[bytes], BrokenError | None]:
    lines = []
    try:
        while line := stream.readline():
            lines.append(line)
    except BrokenError as error:
        return lines, error
    return lines, None


def rows(path: Path, data: bytes, **config: Any) -> list[tuple[str, Any]]:
    path.write_bytes(data)
    made = []
    for item in read_span(Span(Source(path.as_uri(), path, len(data))), CleanConfig(**config)):
        assert isinstance(item, Document)
        raw = item.raw
        made.append((item.origin.record, raw.reason if isinstance(raw, Rejection) else raw.content))
    return made


@KINDS
def test_all_frames_are_read_and_zeros_behind_them_are_not(kind: str) -> None:
    packed = b"".join(map(PACK[kind], FRAMES))
    for padding in (b"", b"\0" * 4, b"\0" * 100_000):
        assert undone(kind, packed + padding).read() == b"".join(FRAMES)
    assert undone(kind, packed + bytes(8) + PACK[kind](b"more")).read() == b"".join(FRAMES) + b"more"


@KINDS
@pytest.mark.parametrize("size", [1, 7, 512, 65_536, 1_000_000, -1])
def test_reads_of_any_size_give_the_same(kind: str, size: int) -> None:
    stream = undone(kind, PACK[kind](b"".join(FRAMES)))
    assert b"".join(iter(lambda: stream.read(size), b"")) == b"".join(FRAMES)
    assert not stream.seekable()


def test_frames_of_zstd_that_are_to_be_skipped_are() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"
    assert undone("zstd", skipped + PACK["zstd"](b"a") + skipped + PACK["zstd"](b"b") + skipped).read() == b"ab"


@KINDS
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_was_before_a_cut_is_given_then_it_is_told(kind: str, data: st.DataObject) -> None:
    packed = list(map(PACK[kind], FRAMES))
    ends = [sum(map(len, packed[: number + 1])) for number in range(len(packed))]
    cut = data.draw(st.integers(1, ends[-1]))
    lines, error = lines_before_damage(undone(kind, b"".join(packed)[:cut]))
    n_whole = sum(end <= cut for end in ends) * 100
    assert len(lines) >= n_whole
    assert b"".join(LINES).startswith(b"".join(lines))
    assert (error is None) == (cut in ends)
    if error is not None:
        told = int(error.address.removeprefix("offset="))
        assert len(b"".join(lines)) <= told <= len(b"".join(LINES))


@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_in_gzip_costs_nothing_before_it(at: int, bit: int) -> None:
    packed = bytearray(b"".join(map(PACK["gzip"], FRAMES)))
    at %= len(packed)
    packed[at] ^= 1 << bit
    lines, _ = lines_before_damage(undone("gzip", bytes(packed)))
    ends = [sum(len(PACK["gzip"](frame)) for frame in FRAMES[: number + 1]) for number in range(4)]
    n_whole = sum(end <= at for end in ends) * 100
    assert lines[:n_whole] == LINES[:n_whole]


@pytest.mark.parametrize("kind", ["bzip2", "xz", "zstd"])
def test_damage_costs_at_most_a_kilobyte_before_it(kind: str) -> None:
    packed = list(map(PACK[kind], FRAMES))
    middle = len(packed[2]) // 2
    packed[2] = packed[2][:middle] + b"\xff\xff\xff\xff" + packed[2][middle + 4 :]
    lines, error = lines_before_damage(undone(kind, b"".join(packed)))
    assert error is not None
    assert lines[:200] == LINES[:200]


def test_all_that_deflate_makes_before_damage_is_given() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = deflate.compress(FRAMES[0]) + deflate.flush(zlib.Z_FULL_FLUSH)
    stream = undone("gzip", first + b"\xff" * 1000)  # a block of the kind that doesn't exist
    assert stream.read() == FRAMES[0]
    with pytest.raises(BrokenError, match=f"damaged after {len(FRAMES[0]):,} bytes") as caught:
        stream.read()
    assert caught.value.address == f"offset={len(FRAMES[0])}"


@KINDS
def test_a_read_gives_what_there_is_and_the_next_one_raises(kind: str) -> None:
    stream = undone(kind, PACK[kind](FRAMES[0]) + b"something else")
    assert stream.read(1_000_000) == FRAMES[0]
    for _ in range(2):
        with pytest.raises(BrokenError, match="what follows is nothing of its kind"):
            stream.read(1)


def test_a_checksum_that_is_wrong_is_told_after_all_was_given() -> None:
    packed = bytearray(gzip.compress(FRAMES[0]))
    packed[-5] ^= 1
    lines, error = lines_before_damage(undone("gzip", bytes(packed)))
    assert lines == LINES[:100]
    assert "incorrect data check" in str(error)


@KINDS
def test_a_text_that_is_cut_is_no_document_but_a_row_with_the_place(kind: str, tmp_path: Path) -> None:
    packed = PACK[kind](FRAMES[0]) + PACK[kind](FRAMES[1])
    path = tmp_path / f"a.txt{SUFFIX[kind]}"
    assert rows(path, packed) == [("", FRAMES[0] + FRAMES[1])]
    [(record, reason)] = rows(path, packed[:-20])
    assert reason == Reason.BROKEN
    assert len(FRAMES[0]) <= int(record.removeprefix("offset=")) <= len(FRAMES[0] + FRAMES[1])
    for cut in (1, 2, 3, 4, 5, 9, 11):
        assert rows(path, packed[:cut]) == [("offset=0", Reason.BROKEN)], cut


def test_a_text_of_more_than_max_bytes_that_is_cut_is_a_row_as_well(tmp_path: Path) -> None:
    packed = gzip.compress(FRAMES[0])
    assert rows(tmp_path / "a.gz", packed, max_bytes=100) == [("", Reason.TOO_LARGE)]
    [(_, reason)] = rows(tmp_path / "b.gz", packed[:-1], max_bytes=100)
    assert reason == Reason.BROKEN


ZEROS = bytes(3_000_000)


@KINDS
def test_what_expands_too_much_is_a_bomb(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FLOOR_BYTES", 1_000_000)
    path = tmp_path / f"a.txt{SUFFIX[kind]}"
    assert rows(path, PACK[kind](ZEROS)) == [("", Reason.BOMB)]
    assert rows(path, PACK[kind](ZEROS[:1_000_000])) == [("", ZEROS[:1_000_000])]  # within the floor
    assert rows(path, PACK[kind](ZEROS), read={"max_ratio": 10**6}) == [("", ZEROS)]


def test_the_ratio_is_that_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FLOOR_BYTES", 1000)
    text = ZEROS[:400_000] + b"".join(FRAMES)  # the beginning alone expands to 1,000 times its size
    packed = gzip.compress(text)
    ratio = len(text) // len(packed) + 1
    assert rows(tmp_path / "a.gz", packed, read={"max_ratio": ratio}) == [("", text)]
    assert rows(tmp_path / "a.gz", packed, read={"max_ratio": ratio - 2}) == [("", Reason.BOMB)]


@KINDS
def test_a_bomb_takes_little_memory(kind: str) -> None:
    packed = PACK[kind](bytes(20_000_000))
    stream = undone(kind, packed)
    stream.read(1)
    tracemalloc.start()
    while stream.read(65_536):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_more_than_max_container_bytes_is_a_bomb(tmp_path: Path) -> None:
    packed = gzip.compress(FRAMES[0])
    bounds = {"max_container_bytes": len(FRAMES[0])}
    assert rows(tmp_path / "a.gz", packed, read=bounds) == [("", FRAMES[0])]
    bounds = {"max_container_bytes": len(FRAMES[0]) - 1}
    assert rows(tmp_path / "a.gz", packed, read=bounds) == [("", Reason.BOMB)]


def test_all_layers_of_a_source_share_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SOURCE_FLOOR_BYTES", 2_000)
    budget = Budget(10, ReadConfig(max_ratio=1))
    packed = gzip.compress(bytes(1_500))
    assert len(expand(io.BytesIO(packed), "gzip", budget).read()) == 1_500
    with pytest.raises(BombError, match="2,000 bytes in all") as caught:
        expand(io.BytesIO(packed), "gzip", budget).read()
    assert caught.value.of_source


def test_what_asks_for_too_much_memory_is_a_bomb() -> None:
    far = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    wide = lzma.compress(b"a", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}])
    for kind, packed in (("zstd", far.compress(ZEROS) + far.flush()), ("xz", wide)):
        with pytest.raises(BombError, match="134,217,728 bytes of memory"):
            undone(kind, packed).read()


def test_the_highest_levels_are_read() -> None:
    far = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    assert undone("zstd", far.compress(ZEROS) + far.flush()).read() == ZEROS
    assert undone("xz", lzma.compress(ZEROS, preset=9 | lzma.PRESET_EXTREME)).read() == ZEROS


def test_what_was_compressed_twice_is_read_and_a_hundred_times_is_not(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.txt.gz.xz", lzma.compress(gzip.compress(b"text"))) == [("", b"text")]
    packed = b"text"
    for _ in range(100):
        packed = gzip.compress(packed)
    assert rows(tmp_path / "a.gz", packed) == [("", Reason.BOMB)]
    assert rows(tmp_path / "a.gz", gzip.compress(b"text"), read={"max_depth": 0}) == [("", b"text")]


def test_many_empty_frames_take_linear_time() -> None:
    assert undone("gzip", gzip.compress(b"") * 20_000 + gzip.compress(b"a")).read() == b"a"


class Once(io.RawIOBase):
    """A stream that can't seek, and tells how much of it was read."""

    def __init__(self, data: bytes) -> None:
        self.left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.left.readinto(buffer)


def test_a_head_is_put_back_without_reading_the_rest() -> None:
    once = Once(b"0123456789" * 100_000)
    raw: Any = once
    head = raw.read(15)
    stream = with_head(head, raw)
    assert stream.read(10) == b"0123456789"
    assert once.left.tell() == 15
    assert stream.read(20) == b"0123456789" * 2
    assert once.left.tell() < 200_000
    assert stream.read() == b"0123456789" * 99_997


def test_a_head_is_put_back_by_seeking_where_that_can_be_done() -> None:
    file = io.BytesIO(b"abc")
    assert with_head(file.read(2), file) is file
    assert file.read() == b"abc"
