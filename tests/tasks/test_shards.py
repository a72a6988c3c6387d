from collections import Counter
from pathlib import Path

import pytest

from schemas.document import Origin, Outcome
from tasks import shards
from tasks.read import PIECES
from tasks.read.records import Span
from tasks.read.sources import Source
from tasks.shards import SHARD_BYTES, SHARD_DOCUMENTS, plan_shards
from tasks.shards.journal import Entry
from tasks.shards.progress import watcher


def spans(*sizes: int) -> list[Span]:
    found = [Source(f"file:///{number:08}", Path(f"/{number:08}"), size) for number, size in enumerate(sizes)]
    return [Span(source, n_bytes=source.n_bytes) for source in found]


def test_small_inputs_are_one_shard() -> None:
    given = spans(*[1000] * 5)
    (shard,) = plan_shards(given)
    assert (shard.number, shard.spans) == (0, tuple(given))


def test_nothing_is_no_shard() -> None:
    assert plan_shards([]) == []


def sizes(planned: list[shards.Shard]) -> list[int]:
    return [len(shard.spans) for shard in planned]


@pytest.mark.parametrize(("n", "expected"), [(250, [250]), (830, [250, 250, 250, 80]), (4000, [500] * 8)])
def test_small_inputs_are_spread_by_number(n: int, expected: list[int]) -> None:
    assert sizes(plan_shards(spans(*[1] * n))) == expected


@pytest.mark.parametrize(("kilobytes", "expected"), [(1000, [10]), (2500, [10, 10, 5]), (16_000, [20] * 8)])
def test_small_inputs_are_spread_by_bytes(kilobytes: int, expected: list[int]) -> None:
    assert sizes(plan_shards(spans(*[100_000] * (kilobytes // 100)))) == expected


def test_shards_are_full_by_number() -> None:
    n = PIECES * SHARD_DOCUMENTS + 1
    assert sizes(plan_shards(spans(*[1] * n))) == [SHARD_DOCUMENTS] * PIECES + [1]


def test_shards_are_full_by_bytes_and_a_large_document_has_its_own() -> None:
    planned = plan_shards(spans(SHARD_BYTES - 1, 1, 1, SHARD_BYTES * 9, 1))
    assert sizes(planned) == [2, 1, 1, 1]


def test_every_piece_is_in_one_shard_in_order() -> None:
    given = spans(*[size * 7919 % SHARD_BYTES for size in range(5000)])
    planned = plan_shards(given)
    assert [span for shard in planned for span in shard.spans] == given
    assert [shard.number for shard in planned] == list(range(len(planned)))


@pytest.mark.parametrize("size", [0, SHARD_BYTES // 2])
def test_large_inputs_get_larger_shards_and_not_more(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_SHARDS", 5)
    planned = plan_shards(spans(*[size] * (15 * SHARD_DOCUMENTS)))
    assert len(planned) <= 5


def test_numbers_of_shards_go_on_where_others_ended() -> None:
    assert [shard.number for shard in plan_shards(spans(*[SHARD_BYTES] * 2), 7)] == [7, 8]


def test_documents_of_a_shard_that_is_begun_again_are_told_once() -> None:
    seen: list[tuple[str, int]] = []
    token = watcher.set(lambda event, n: seen.append((event, n)))
    tally = shards._Tally()
    for reports in ([1, 1], [1], [1, 1, 1], [3, 1, 1]):
        tally.begin()
        for n in reports:
            tally.add("read", 10 * n)
            tally.add("cleaned", n)
    watcher.reset(token)
    assert [n for event, n in seen if event == "cleaned"] == [1, 1, 1, 1, 1]
    assert [n for event, n in seen if event == "read"] == [10, 10, 10, 10, 10]
    assert tally.at == 5


def test_short_documents_of_a_container_are_no_more_batches_than_long_ones_by_the_number_of_files() -> None:
    def batches(n_documents: int, n_bytes: int) -> list[int]:
        filler = shards._Filler(shards.FULL)
        origin = Origin("file:///a.jsonl", "", "", n_bytes)
        places = [filler((shards._Put(Entry(Path(), 0), "", ""), Outcome(origin))) for _ in range(n_documents)]
        return list(Counter(places).values())

    assert batches(25_000, 50) == [10_000, 10_000, 5_000]
    assert batches(2_000, SHARD_BYTES // 800) == [800, 800, 400]
