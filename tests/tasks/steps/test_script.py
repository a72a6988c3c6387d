import time

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
