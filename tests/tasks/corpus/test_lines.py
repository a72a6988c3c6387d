import itertools
import random
import timeit
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Outcome, Reason, Rejection
from tasks.corpus import lines
from tasks.corpus.duplicates import grams
from tasks.corpus.lines import (
    COUNTS,
    MIXERS,
    SITES,
    Counted,
    Features,
    Recurring,
    count,
    count_index,
    features,
    fingerprints,
    hash_of,
    merge,
    read_features,
    sites_of,
    write_features,
)
from tasks.steps.lines import is_prose, key, lines_of

MakeOutcome = Callable[..., Outcome]


def fingerprint(line: str) -> int:
    (found,) = fingerprints([line])
    return found


def plain_fingerprint(line: str) -> int:
    """Line by line, by patterns alone."""
    varying = lines._VARYING.sub("0", key(line if len(line) <= 80 else line[:40] + line[-40:]))
    return hash_of(varying) if lines._LETTER.search(varying) else 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("責任編輯：王小明", "责任编辑: 王小明"),
        ("已有 12 人阅读", "已有1,204人阅读"),
        ("江南晚报 2024年3月5日 星期二 第12期", "江南晚报　2023年12月31日 星期日 第112期"),
        ("Posted Mar 5, 2024 by the desk", "posted 31 Dec 2023 by the desk".replace("31 Dec", "Dec 31,")),
        ("ＡＢＣ新闻", "abc新闻"),
    ],
)
def test_lines_that_say_the_same_have_one_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other) != 0


@pytest.mark.parametrize(
    ("one", "other"), [("上一页", "下一页"), ("江南晚报", "江北晚报"), ("周一良文集", "周二良文集")]
)
def test_others_have_others(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("line", ["---", "2024年3月5日 19:04", "（12）", "二〇二四年三月五日", "", "★★★"])
def test_there_is_nothing_to_recognise_a_date_or_a_rule_by(line: str) -> None:
    assert fingerprint(line) == 0


def test_a_long_line_is_told_by_its_ends() -> None:
    line = "山" * 100 + "河" * 100
    assert fingerprint(line) == fingerprint(line.replace("山河", "山水河"))
    assert fingerprint(line) != fingerprint(line + "水")


def test_fingerprints_stay_as_they_are() -> None:
    """A dataset keeps them: BLAKE2b of `江南晚报电子版0版`, 8 bytes, little endian."""
    import hashlib

    expected = int.from_bytes(hashlib.blake2b("江南晚报电子版0版".encode(), digest_size=8).digest(), "little")
    assert fingerprint("江南晚报 | 电子版 12版") == expected


@given(
    st.lists(st.text("周星期日一礼拜0٣1２jan5mayonday责責_ 　，Ａａ·ΣσİΑ\ud800\U00020000\U00100000\x0c", max_size=90))
)
def test_fingerprints_of_several_lines_are_those_of_each(given_lines: list[str]) -> None:
    assert fingerprints(given_lines) == [plain_fingerprint(line) for line in given_lines]


def test_features_of_several_documents_are_those_of_each(make_outcome: MakeOutcome) -> None:
    """Whether they are looked at together or not, with a document that does not count among them."""
    dice = random.Random(4)
    pieces = ["责任编辑：张三\n", "周一\n", "正文有一句很长很长很长很长的话，说到这里。\n", "\ufffd", "短\n", "\n"]
    texts = ["", *("".join(dice.choices(pieces, k=dice.randrange(60))) for _ in range(40)), "长" * 200_000]
    outcomes = [make_outcome(f"file:///a/b{n % 3}/{n}", text) for n, text in enumerate(texts)]
    outcomes[7] = replace(outcomes[7], rejection=Rejection(Reason.SPAM, ""))
    found = list(features(outcomes))
    assert found == [one for outcome in outcomes for one in features([outcome])]
    assert found[7] == Features()
    for outcome, one in zip(outcomes, found, strict=True):
        hashes = grams(
            "".join(
                line.text for line in lines_of(outcome.cleaned.text if outcome.cleaned else "") if is_prose(line.text)
            )[:20_000]
        )
        smallest = tuple(int((hashes * np.uint64(factor)).min(initial=2**64 - 1)) for factor in MIXERS)
        assert outcome.rejection or one.body == smallest


def test_fingerprints_of_hostile_lines_take_no_time() -> None:
    for char in "1周星, a（|\ud800":
        fingerprint(char * 1_000_000)


@pytest.mark.parametrize(
    ("uri", "facts", "names"),
    [
        (
            "file:///crawl/a.cn/2024/05/1.txt",
            {},
            {"file:///crawl/a.cn/2024/05", "file:///crawl/a.cn/2024", "file:///crawl/a.cn"},
        ),
        ("file:///1.txt", {}, set()),
        ("https://www.a.cn/2024/1.html", {"site_name": "甲网"}, {"a.cn", "甲网"}),
        ("stdin:123", {"source_url": "http://b.cn:80/x"}, {"b.cn"}),
        ("stdin:123", {"source_url": "http://[b.cn/x"}, set()),
    ],
)
def test_sites_are_where_a_page_was_found_and_what_it_says(
    uri: str, facts: dict[str, str], names: set[str], make_outcome: MakeOutcome
) -> None:
    assert set(sites_of(make_outcome(uri, "山", facts))) - {"stdin:123"} == names


def test_the_nearest_folder_comes_first_and_names_can_be_stored(make_outcome: MakeOutcome) -> None:
    facts = {"source_url": "http://b.cn/x", "site_name": "甲\ud800网"}
    named = sites_of(make_outcome("file:///crawl/a.cn/2024/1.txt", "山", facts))
    assert named == (*(f"file:///crawl{folder}" for folder in ("/a.cn/2024", "/a.cn", "")), "b.cn", "甲?网")


def made_up(seed: int) -> list[Features]:
    """Documents of three sites with up to five of twenty lines each."""
    dice = random.Random(seed)
    lines = [n << 58 | n for n in range(1, 21)]
    return [
        Features(
            tuple(dice.sample(["a", "b", "c"], dice.randint(0, 2))),
            tuple(sorted(dice.sample(lines, dice.randint(0, 5)))),
            (dice.randint(1, 40),) * len(MIXERS),
            n % 3 == 0,
        )
        for n in range(300)
    ]


def counted(found: Sequence[Features], number: int, folder: Path) -> Counted:
    write_features(found, folder / f"features-{number}")
    return count(folder / f"features-{number}", number, folder)


def recurring(found: list[Features], n_shards: int, folder: Path) -> Recurring:
    folder.mkdir(exist_ok=True)
    merge([counted(found[i::n_shards], i, folder) for i in range(n_shards)], 10, folder / "lines")
    return Recurring(folder / "lines")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "lines").iterdir()}


def counts(known: Recurring, line: int, *sites: str) -> list[tuple[int, ...] | None]:
    """Documents, bodies, documents of the site, and those with headings, by site; the last is the whole corpus."""
    of = np.array([[hash_of(site) for site in sites]], dtype="<u8")
    (rows,) = known.find(np.array([line], dtype="<u8"), np.array([0]), of).tolist()
    return [tuple(int(known.columns[name][row]) for name in COUNTS) if row >= 0 else None for row in rows]


def test_counts_are_those_of_counting_by_hand(tmp_path: Path) -> None:
    found = made_up(1)
    known = recurring(found, 3, tmp_path)
    n_seen = 0
    for line, site in itertools.product([n << 58 | n for n in range(1, 22)], "abcd"):
        of_site = [one for one in found if site in one.sites]
        seen = [one for one in of_site if line in one.lines]
        bodies, headed = {one.body for one in seen}, sum(one.headed for one in seen)
        expected = (len(seen), len(bodies), len(of_site), headed)
        assert counts(known, line, site) == [expected if len(seen) > 1 else None, None]
        n_seen += len(seen) > 1
    assert n_seen > 40
    assert counts(known, 0, "a", "b") == [None, None, None]


def test_neither_shards_nor_memory_make_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made_up(2)
    made = []
    for n_shards, rows_at_a_time in [(1, 10_000), (7, 10_000), (3, 100), (1, 5)]:
        monkeypatch.setattr(lines, "MERGE_ROWS", rows_at_a_time)
        folder = tmp_path / f"{n_shards}-{rows_at_a_time}"
        recurring(found, n_shards, folder)
        made.append(content(folder))
    assert made[0] == made[1] == made[2] == made[3]


def test_furniture_of_enough_sites_is_furniture_everywhere(tmp_path: Path) -> None:
    for n_sites in (SITES - 1, SITES):
        found = [
            Features((f"site{site}",), (9,) if body < 12 else (), (site * 100 + body,) * len(MIXERS))
            for site in range(n_sites)
            for body in range(20)
        ]
        whole = (12 * SITES, 12 * SITES, 20 * SITES, 0) if n_sites == SITES else None
        assert counts(recurring(found, 2, tmp_path / str(n_sites)), 9, "elsewhere") == [None, whole]


def test_the_largest_of_three_counts_of_bodies_is_believed(tmp_path: Path) -> None:
    found = [Features(("a",), (9,), (5, n % 3, n % 7)) for n in range(20)]
    assert counts(recurring(found, 2, tmp_path), 9, "a") == [(20, 7, 20, 0), None]


def test_nothing_at_all_is_nothing(tmp_path: Path) -> None:
    for number, found in enumerate([[], [Features()], [Features(("a",), (), (1, 2, 3))]]):
        folder = tmp_path / str(number)
        known = recurring(found, 1, folder)
        assert counts(known, 1, "a") == [None, None]
        assert lines.told(counted(found, 5, folder), known).tolist() == [0] * len(found)
        assert known.candidates(10).tolist() == []
    merge([], 10, tmp_path / "none")
    assert counts(Recurring(tmp_path / "none"), 1, "a") == [None, None]


def test_features_come_back_from_the_index_as_they_were(tmp_path: Path) -> None:
    """And what is gone from it is not counted, but keeps its place."""
    found = made_up(3)
    table = pa.Table.from_pylist([{"doc_id": str(n), **one._asdict()} for n, one in enumerate(found)])
    pq.write_table(table, tmp_path / "index", row_group_size=70)
    write_features(found, tmp_path / "features")
    assert read_features(tmp_path / "features") == found
    whole = count_index(tmp_path / "index", frozenset(), 7, tmp_path)
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in counted(found, 0, tmp_path)]
    gone = frozenset(str(n) for n in range(300) if n % 4 == 0) | {"of another batch"}
    rest = count_index(tmp_path / "index", gone, 8, tmp_path)
    expected = [Features() if n % 4 == 0 else one for n, one in enumerate(found)]
    merge([rest], 10, tmp_path / "one")
    merge([counted(expected, 0, tmp_path)], 10, tmp_path / "other")
    assert {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "other").iterdir()
    }


def test_a_digest_is_that_of_the_lines_and_what_is_said_of_them(tmp_path: Path) -> None:
    """The same for the same, whatever the order, another as soon as one line is judged otherwise."""
    common = [Features(("a",), (5, 9), (n,) * len(MIXERS)) for n in range(12)]
    known = recurring(common, 1, tmp_path / "1")
    also_headed = recurring([one._replace(headed=True) for one in common], 1, tmp_path / "2")
    one_less = recurring([*common[:9], *(one._replace(lines=(5,)) for one in common[9:])], 1, tmp_path / "3")
    asked = [
        *(Features(("a",), (5, 9), (1, 2, 3)), Features(("b", "a"), (5, 9), (4, 5, 6))),
        *(Features(("a",), (5,)), Features(("a",), (9,)), Features(("a",), (5, 9, 13))),
        *(Features(("b",), (5, 9)), Features((), (5, 9)), Features(("a",), (13,)), Features()),
    ]
    first, second, third = (
        lines.told(counted(asked, 0, tmp_path), of).tolist() for of in (known, also_headed, one_less)
    )
    assert first[0] == first[1]
    assert len({*first[:5]}) == 4
    assert 0 not in first[:5]
    assert first[5:] == second[5:] == third[5:] == [0] * 4
    assert not {*first[:5]} & {*second[:5]}
    assert [a == b for a, b in zip(first, third, strict=True)] == [False, False, True, *[False] * 2, *[True] * 4]
    backwards = lines.told(counted(asked[::-1], 1, tmp_path), known).tolist()
    assert backwards[::-1] == first


def test_counting_carried_over_documents_costs_next_to_nothing(tmp_path: Path) -> None:
    """2,000 documents in 100 ms: a hundredth of the time in which fifty would be cleaned."""
    dice = random.Random(4)
    found = [
        Features((f"s{n % 50}", "all"), tuple(dice.sample(range(1, 2**40), 20)), (n, n, n), n % 2 == 0)
        for n in range(2000)
    ]
    table = pa.Table.from_pylist([{"doc_id": str(n), **one._asdict()} for n, one in enumerate(found)])
    pq.write_table(table, tmp_path / "index")
    best = min(timeit.repeat(lambda: count_index(tmp_path / "index", frozenset("7"), 0, tmp_path), number=1, repeat=5))
    assert best < 0.1
