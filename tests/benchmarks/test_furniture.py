"""The bench of page furniture: its pages say what it thinks they say, and its counts count."""

import random
import tomllib
from pathlib import Path

import pytest

from benchmarks import furniture
from benchmarks.furniture import Article, Page, Piece, Result, build, count_facts, count_lines, judge

HALVES = {
    half: tomllib.loads((furniture.HERE / "furniture_lines" / f"{half}.toml").read_text(encoding="utf-8"))
    for half in ("held", "open")
}
ARTICLE = Article("老城区的早市", "清晨六点，城东的早市已经热闹起来。\n卖豆腐的老周支好摊位，把豆腐码在木板上。")


def blocks(lines: furniture.Lines) -> set[str]:
    """All that is no list of names and no layout of dates."""
    names = {"sources", "sites", "people", "sections", "names", "titles", "chapters", "dates"}
    lists = {k: v for k, v in lines.items() if isinstance(v, list) and k.removeprefix("english_") not in names}
    return {line for table in (lists, lines["english"], lines["spam"]) for value in table.values() for line in value}


def test_no_block_stands_in_both_halves() -> None:
    assert not blocks(HALVES["held"]) & blocks(HALVES["open"])


@pytest.mark.parametrize("half", HALVES)
def test_pages_hold_what_they_say(half: str) -> None:
    for seed in range(60):
        page = build(random.Random(seed), HALVES[half], ARTICLE)
        key = furniture._key(page.text)
        assert all(furniture._key(piece.text) in key for piece in page.pieces)
        assert furniture._key(page.facts["title"]) in key
        assert "{" not in page.text


def test_counts_lost_lines_and_furniture_that_went() -> None:
    first, second = ARTICLE.text.split("\n")
    page = Page([Piece("bar", "打印本页"), Piece("article", first), Piece("article", second)], {}, "")
    assert [verdict.went for verdict in judge(page, first)] == [True, False, True]
    counts = count_lines(page, Result(f"{first}\n打印本页", {}, {}))
    assert (counts["went bar"], counts["lines lost"], counts["chars lost"]) == (0, 1, len(furniture._key(second)))


def test_counts_facts_that_are_right_wrong_missing_and_made_up() -> None:
    page = Page([], {"published_at": "2021-03-05T14:22", "author": "张三", "title": "早市"}, "")
    counts = count_facts(
        page, {"published_at": "2021-03-05T14:22:10", "author": "李四、张三", "editor": "王五", "title": "豆腐"}
    )
    outcomes = {name for name in counts if not name.startswith("stated") and counts[name]}
    assert outcomes == {"right published_at", "right author", "wrong title", "made up editor"}


def test_runs_on_the_texts_of_the_project(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    furniture.main(["--pages", "12", "--ours"])
    out = capsys.readouterr().out
    assert "article lines lost" in out
    assert "published_at" in out
    (tmp_path / "a.txt").write_text("清晨六点，城东的早市已经热闹起来。" * 12, encoding="utf-8")
    furniture.main([str(tmp_path), "--undamaged", "5"])
    assert "undamaged: 1 lines" in capsys.readouterr().out
