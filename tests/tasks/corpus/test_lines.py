import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.document import Outcome
from tasks.corpus import lines
from tasks.corpus.lines import RECURRING, ROW, SITES, WHOLE, Recurring, fingerprint, merge, sites_of, write_rows

MakeOutcome = Callable[..., Outcome]


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
    assert set(sites_of(make_outcome(uri, "山", facts)).values()) - {"stdin:123"} == names


def made_up_rows(seed: int) -> list[tuple[int, int, int, int, bool]]:
    """Documents of three sites with up to five of twenty lines each; a line is there once in a document."""
    dice = random.Random(seed)
    found = []
    for document in range(300):
        site, body = dice.randint(1, 3), dice.randint(1, 40)
        own = dice.sample(range(1, 21), dice.randint(0, 5))
        found += [(line << 58 | line, site, body, document, document % 3 == 0) for line in own]
    return found


def recurring(found: list[tuple[int, int, int, int, bool]], n_shards: int, folder: Path) -> bytes:
    """The files that merging gives, one after the other."""
    paths = []
    for shard in range(n_shards):
        own = [(line, site, (body,) * 3, n, headed) for line, site, body, n, headed in found if n % n_shards == shard]
        paths.append(folder / f"{shard}.npy")
        write_rows([np.array(own, dtype=ROW)], paths[-1])
    merge(paths, Counter(dict.fromkeys((1, 2, 3), 100)), 10, folder / "lines")
    return b"|".join(path.read_bytes() for path in sorted((folder / "lines").iterdir()))


def test_counts_are_those_of_counting_by_hand(tmp_path: Path) -> None:
    found = made_up_rows(1)
    recurring(found, 3, tmp_path)
    of_line: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for line, site, body, _, headed in found:
        of_line[line, site].append((body, headed))
    known = Recurring(tmp_path / "lines")
    for (line, site), seen in of_line.items():
        expected = (len(seen), len({body for body, _ in seen}), 100, sum(headed for _, headed in seen))
        assert known.look_up([line], [site])[0].get(site) == (expected if len(seen) > 1 else None)
    assert known.look_up([7, 0], [1, 2, 3]) == [{}, {}]


def test_neither_shards_nor_memory_make_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made_up_rows(2)
    made = []
    for n_shards, rows_at_a_time in [(1, 10_000), (7, 10_000), (3, 100), (1, 5)]:
        monkeypatch.setattr(lines, "MERGE_ROWS", rows_at_a_time)
        folder = tmp_path / f"{n_shards}-{rows_at_a_time}"
        folder.mkdir()
        made.append(recurring(found, n_shards, folder))
    assert len(set(made)) == 1


def test_furniture_of_enough_sites_is_furniture_everywhere(tmp_path: Path) -> None:
    known = []
    for n_sites in (SITES - 1, SITES):
        own = [(9, site, (document,) * 3, document, False) for site in range(1, n_sites + 1) for document in range(12)]
        write_rows([np.array(own, dtype=ROW)], tmp_path / "0.npy")
        merge([tmp_path / "0.npy"], dict.fromkeys(range(1, 9), 20), 10, tmp_path / str(n_sites))
        known.append(Recurring(tmp_path / str(n_sites)).look_up([9], [77])[0])
    assert known == [{}, {WHOLE: (12 * SITES, 12 * SITES, 20 * SITES, 0)}]


def test_nothing_at_all_is_nothing(tmp_path: Path) -> None:
    write_rows([], tmp_path / "0.npy")
    merge([tmp_path / "0.npy"], {}, 10, tmp_path / "lines")
    known = Recurring(tmp_path / "lines")
    assert known.look_up([1], [1]) == [{}]
    assert known.concerned(tmp_path / "0.npy") == frozenset()
    assert RECURRING.names == lines.COLUMNS
