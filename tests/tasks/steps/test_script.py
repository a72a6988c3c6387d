import time
from collections.abc import Iterator
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opencc import OpenCC

from schemas.config import CleanConfig, Script
from schemas.document import Context, Edit
from tasks.rules import load
from tasks.steps import script
from tasks.steps.edits import apply, revert

SCRIPTS: tuple[Script, ...] = ("hans", "hant", "tw", "hk", "keep")
TEXTS = st.text(st.sampled_from("中国國後后裏里著着乾干薴苧於於徵覆藉祇瞭發发麵面の한a1，。\n"), max_size=40)


def edits_of(text: str, wanted: Script) -> list[Edit]:
    return [f for f in script.find(text, Context(CleanConfig(script=wanted))) if isinstance(f, Edit)]


@given(TEXTS, st.sampled_from(SCRIPTS))
@settings(deadline=None)
def test_edits_keep_the_length_carry_out_and_revert(text: str, wanted: Script) -> None:
    edits = edits_of(text, wanted)
    after = apply(text, edits)
    assert len(after) == len(text)
    assert revert(after, edits) == text


@given(TEXTS, st.sampled_from(SCRIPTS))
@settings(deadline=None)
def test_it_settles(text: str, wanted: Script) -> None:
    for _ in range(4):
        text = apply(text, edits_of(text, wanted))
    assert not edits_of(text, wanted)


@pytest.mark.parametrize(
    ("wanted", "configuration", "text"),
    [
        ("hans", "t2s", "會議對中國化纖科技大會作總結通報，聽取參會企業對接情況，專家學者共同分享經濟發展的成果。"),
        ("hant", "s2t", "会议对中国化纤科技大会作总结通报，听取参会企业对接情况，专家学者共同分享经济发展的成果。"),
        ("tw", "s2tw", "为了后面的发展，头发与面条，皇后在公里里面。"),
        ("hk", "s2hk", "他说话时卫生间的温度很高，税务局的户口。"),
    ],
)
def test_ordinary_text_comes_out_as_the_library_has_it(wanted: Script, configuration: str, text: str) -> None:
    assert script.convert(text, wanted) == OpenCC(configuration).convert(text)


PHRASES = sorted(key for key in script._dictionary("TSPhrases") if len(key) > 1)


@given(st.lists(st.sampled_from(PHRASES) | st.sampled_from("乾著後中a，\n😀\ud800"), max_size=12))
@settings(deadline=None)
def test_phrases_are_the_longest_from_the_left(pieces: list[str]) -> None:
    """Against the plain way to look for them, also beside lone surrogates and beyond the BMP."""
    text, phrases = "".join(pieces), set(PHRASES)
    expected, at = [], 0
    while at < len(text):
        length = next((n for n in range(len(text) - at, 1, -1) if text[at : at + n] in phrases), 0)
        expected += [(at, at + length)] if length else []
        at += length or 1
    stage = script._stage(("TSPhrases",))
    assert [(start, end) for start, end, _ in script._segments(text, stage)] == expected


def line_by_line(text: str, wanted: Script) -> Iterator[Edit]:
    """The same as `find`, as one would write it without thought for time: for text without kana and Hangul."""
    other, own = (frozenset(script._foreign_letters(side)) for side in (wanted, script._opposite(wanted)))
    n_other, n_own = (sum(char in side for char in text) for side in (other, own))
    whole = 4 * n_other >= n_other + n_own if n_other else wanted != "hans" and not n_own
    start = 0
    for line in text.split("\n"):
        n_other, n_own = (sum(char in side for char in line) for side in (other, own))
        is_to_convert = n_other > 0 or not n_own if whole else n_other >= 2 and n_other > 2 * n_own
        made = line
        if is_to_convert:
            for names in script._CHAINS[wanted]:
                made = "".join(char_by_char(made, script._stage(names), wanted))
        elif wanted in script._VARIANTS_IN_USE:
            made = "".join(char_by_char(line, script._stage(script._CHAINS[wanted][1]), wanted))
            in_use = script._VARIANTS_IN_USE[wanted]
            made = "".join(a if a in in_use else b for a, b in zip(line, made, strict=True))
        yield from runs(line, made, start, wanted)
        start += len(line) + 1


def char_by_char(line: str, stage: script.Stage, wanted: Script) -> Iterator[str]:
    plain = f"\n{line.translate(stage.chars.replaced)}\n"
    at = 0
    for start, end, value in [*script._segments(line, stage), (len(line), len(line), "")]:
        for i in range(at, start):
            yield script._choose(*plain[i : i + 3]) if wanted == "hans" else plain[i + 1]
        yield value
        at = end


def runs(line: str, made: str, start: int, wanted: Script) -> Iterator[Edit]:
    name = {"hans": "t2s", "hant": "s2t", "tw": "s2tw", "hk": "s2hk"}[wanted]
    changed = list[tuple[int, str]]()
    for i, (a, b) in enumerate(zip(line, made, strict=True)):
        plain = a
        for names in script._CHAINS[wanted]:
            plain = plain.translate(script._stage(names).chars.replaced)
        kind = "" if plain == b else "-choice" if wanted == "hans" and a in "著藉祇瞭" else "-phrase"
        changed += [(i, f"{name}{kind}")] if a != b else []
    for (_, rule), run in groupby(enumerate(changed), lambda item: (item[1][0] - item[0], item[1][1])):
        places = [i for _, (i, _) in run]
        before, after = ("".join(side[i] for i in places) for side in (line, made))
        yield Edit("script", rule, start + places[0], before, after, 0.95 if rule.endswith("choice") else 1.0)


CHARS = "中国國後后裏里著着乾干苧於于徵藉祇瞭發发麵面污樑a，。\n\ud800😀"
PIECES = st.sampled_from([*CHARS, "許慎著《說文", "憑藉", "乾隆", "\n\n"])


@given(st.lists(PIECES, max_size=40).map("".join), st.sampled_from(SCRIPTS[:-1]))
@settings(deadline=None, max_examples=300)
def test_the_whole_text_at_once_gives_the_edits_of_line_by_line(text: str, wanted: Script) -> None:
    assert edits_of(text, wanted) == list(line_by_line(text, wanted))


def test_words_with_kana_stay_and_japanese_lines_too() -> None:
    text = "優衣庫のTシャツ專賣店，價格實惠的產品，為您服務\n東京の會社は來週發表します\n這個產品，價格のは優惠"
    assert apply(text, edits_of(text, "hans")) == (
        "优衣库のTシャツ專賣店，价格实惠的产品，为您服务\n東京の會社は來週發表します\n这个产品，價格のは優惠"
    )


@pytest.mark.parametrize("wanted", ["hans", "tw"])
def test_time_is_linear_without_punctuation(wanted: Script) -> None:
    text = "國著后" * 33_000 + "发" * 50_000
    start = time.process_time()
    edits_of(text, wanted)
    assert time.process_time() - start < 30  # the library alone: 1.3 s at 100,000 characters, 21 s at a million


def test_no_rule_changes_the_length() -> None:
    for table in ("opencc", "script_phrases"):
        assert all(len(key) == len(value) or value == "-" for _, key, value in load(table))


@pytest.mark.parametrize("table", ["opencc", "script_phrases"])
def test_tables_are_sorted_and_unique(table: str) -> None:
    rows = load(table)
    assert list(rows) == sorted(rows)
    assert len({row[:2] for row in rows}) == len(rows)


def test_rules_say_what_decided() -> None:
    rules = {edit.before: edit.rule for edit in edits_of("這個計畫隨著時代變化", "hans")}
    assert rules["畫"] == "t2s-phrase"
    assert rules["著"] == "t2s-choice"
    assert rules["這個計"] == "t2s"
