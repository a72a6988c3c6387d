"""What was written to be fast finds what its plain form finds: the plain forms stand here."""

import random
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.html import lines as html_lines
from tasks.html.feeds import _PARSED
from tasks.html.lines import lines_without_tags, parse, read_lines
from tasks.rules import either, load
from tasks.scripts import codes
from tasks.steps import boilerplate, punctuation, spam, symbols, whitespace
from tasks.steps.furniture import may_tell, parse_loosely
from tasks.steps.invisible import HAN
from tasks.steps.lines import fold, key, key_of, lines_of

_CLOSING, _OPENING, _WIDE = punctuation._CLOSING, punctuation._OPENING, punctuation._FULL_WIDTH
_BLANK = whitespace._BLANK
_BEFORE = r"(?<=[^\s!#-$&-(*-/:-@\[-`{-~，、。；：！？])"
_SIGN_AFTER = f"(?=[、。；：]|[;:](?=[{HAN}{_OPENING}]|$))"
_OF_HTML = "[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60]"

_TWO = "[\u4e00-\u9fff]{2}"

PATTERNS = {
    "gate": (
        punctuation._GATE,
        (
            f'[,;:!?()"](?= ?[{HAN}{_OPENING}])|(?<=[{HAN}{_CLOSING}])[,;:!?()".]|[,，;；:：、。](?=[,，;；:：、。])'
            f"|(?<=。 )[,，]|[,，](?=[）】」』》])|{_WIDE}"
        ),
    ),
    "half-width": (
        punctuation._HALF_SIGN,
        f"(?<=[{HAN}{_CLOSING}])[,;:!?](?![,，、。；：！？])|[,;:!?](?=[{HAN}])",
    ),
    "stray": (
        punctuation._STRAY,
        (
            f"{_BEFORE}(?:,[,，]*+{_SIGN_AFTER}|,++(?=，))|(?<=[{HAN}{_CLOSING}]),++(?=[;:][0-9])"
            f"|(?<=，),(?=[{HAN}{_OPENING}])"
        ),
    ),
    "doubled": (
        punctuation._DOUBLED,
        f"{_BEFORE},,(?=[{HAN}{_OPENING}])|(?<=[{HAN}{_CLOSING}%％）]),,(?=[{HAN}{_OPENING}0-9A-Za-z]|$)",
    ),
    "beside": (
        punctuation._BESIDE,
        (
            f"[,;:]++(?=[{HAN}{_OPENING}])|(?<=[{HAN}{_CLOSING}])[,;:!?]++"
            f"|(?<=[{HAN}{_CLOSING}] )[,;](?= ?[{HAN}{_OPENING}])"
        ),
    ),
    "head": (whitespace._HEAD, f"(?m)^\u3000[\u3000 ]*+[{HAN}“《]"),
    "trailing": (whitespace._TRAILING, f"(?<![{_BLANK}\n])[{_BLANK}]++\n"),
    "indented": (whitespace._INDENTED, f"(?m)^([{_BLANK}]++)([^\n]++)"),
    "no-break": (whitespace._NO_BREAK, f"(?<=[{HAN}])\u00a0{{2,5}}(?=[{HAN}])"),
    "lettered": (whitespace._LETTERED, f"(?<![{HAN}])[{HAN}](?: [{HAN}](?![{HAN}])){{3,}}+"),
    "space": (whitespace._SPACE, f"(?<=[{HAN}]) (?=[{HAN}])"),
    "joined": (html_lines._JOINED, rf"(?<={_OF_HTML})[ \t\r\f]*+\n[ \t\r\n\f]*+(?={_OF_HTML})"),
}
TEXTS = st.text(st.sampled_from("中国a1 ,,，。、;:：!?.()（）”“%\u3000\u00a0\n\t\r１Ａ"), max_size=30)


@pytest.mark.parametrize("name", PATTERNS)
@given(text=TEXTS)
@example(text="\u3000中\n\u3000\u3000国 \n a中 国 中 国")
@settings(deadline=None, max_examples=300)
def test_patterns_that_begin_with_the_sign_match_what_the_plain_ones_do(name: str, text: str) -> None:
    fast, plain = PATTERNS[name]
    assert [m.span() for m in fast.finditer(text)] == [m.span() for m in re.finditer(plain, text)]


@given(text=st.text(st.sampled_from("中国_|-i a"), max_size=12))
@example("中国 i 中国")
@settings(max_examples=1_000)
def test_titles_are_joined_where_the_plain_pattern_says_so(text: str) -> None:
    plain = re.search(rf"{_TWO}\s?[_|]{{1,2}}\s?\w|{_TWO}(?:-|\si\s){_TWO}", text)
    assert (spam._JOINT.search(text) is None) == (plain is None)


@given(text=TEXTS)
@settings(deadline=None)
def test_blanks_of_html_become_single_spaces(text: str) -> None:
    assert html_lines._BLANKS.sub(" ", text) == re.sub(r"[ \t\n\r\f]+", " ", text)


_CODE = (
    r"[{}]|[=!<>]=|=>|->|\);|</|/>|\w\([\"']|\\[nt]|&\w{1,8};"
    r"|^\s{0,12}(?:#include|import |def |class |var |let |const |function |SELECT |<)"
)


@given(text=st.text(st.sampled_from("中a{}=!<>-);/(\"'\\nt& def"), max_size=12))
@settings(deadline=None, max_examples=1_000)
def test_marks_of_code_are_those_of_the_plain_pattern(text: str) -> None:
    assert punctuation._is_code(text) == (re.search(_CODE, text) is not None)


@given(text=st.text(st.sampled_from("中Ab１（　\t\n\r\x85İΣς語\ud800𠀀"), max_size=40))
def test_lines_are_folded_with_their_page_as_they_are_alone(text: str) -> None:
    for line in lines_of(text):
        assert line.folded == fold(line.text)
        assert key_of(line.folded) == key(line.text)


@given(text=st.text(st.sampled_from("中国a \u200b\u200d\ufe0f\u202e📫🜁★♥👍🏽🏻"), max_size=30))
@settings(max_examples=500)
def test_pictures_are_found_where_the_pattern_finds_them(text: str) -> None:
    marks = symbols._marks()[codes(text)]
    found = [m.span() for m in symbols._find_sown(text, marks)]
    assert found == [m.span() for m in symbols._sown().finditer(text)]


def test_what_characters_are_is_what_the_patterns_take_them_for() -> None:
    marks = symbols._marks()
    everything = [chr(code) for code in np.flatnonzero(marks & symbols._CONTROL).tolist()]
    assert all(symbols._control().fullmatch(char) for char in everything)
    assert len(everything) == sum(symbols._control().fullmatch(chr(code)) is not None for code in range(0x100))
    assert np.flatnonzero(marks & symbols._IN_PRIVATE)[[0, -1]].tolist() == [0xE000, 0x10FFFD]


def _made_up(words: list[str], seed: int) -> list[str]:
    """Lines of words with signs, spaces and letters between them."""
    chance = random.Random(seed)
    pieces = [*words, *"：: >/|·-（）,。 网中国a1", "2023-06-24 10:30", "2023年6月24日", "王小明", "的", "www."]
    return ["".join(chance.choices(pieces, k=chance.randint(1, 6))) for _ in range(4_000)]


def test_no_line_tells_anything_that_the_gate_keeps_out() -> None:
    tables = ("boilerplate-labels", "boilerplate-words", "boilerplate-lists")
    words = [row[0] for table in tables for row in load(table)]
    spaced = ["  ".join(word) for word in words if len(word) <= 4]
    kept_out = [line for text in _made_up(words + spaced, 1) if not may_tell(line := fold(text))]
    assert len(kept_out) > 100
    for line in kept_out:
        tokens = parse_loosely(line)
        assert not any(token.strong or token.kind in {"office", *boilerplate._DATES} for token in tokens), line


@pytest.mark.parametrize("table", ["boilerplate-labels", "boilerplate-words", "boilerplate-ui", "spam-words"])
def test_the_first_alternative_that_matches_is_the_same_in_groups(table: str) -> None:
    words = sorted((row[0] for row in load(table)), key=len, reverse=True)
    grouped = re.compile(either(words))
    plain = re.compile("|".join(map(re.escape, words)))
    for line in _made_up(words, 2):
        assert [m.span() for m in grouped.finditer(line)] == [m.span() for m in plain.finditer(line)]


def test_lines_with_enough_vocabulary_are_never_passed_over() -> None:
    brands = ["某某体育app官网下载", "登录入口彩金", "星空电竞(中国)官方网站入口", "app下载手机版"]
    n_enough = 0
    for text in _made_up([*(row[0] for row in load("spam-words")), *brands], 3):
        words = spam._rated(spam._find_words(fold(text)))
        if spam._vocabulary_points(words) >= spam._GROUND or spam._are_heaped(words):
            n_enough += 1
            assert any(map(spam._has_enough, spam._grounds(text, lines_of(text)).values())), text
    assert n_enough > 1_000


@given(text=st.text(st.sampled_from("ab中，。 　\u00a0\u2003>\"';]\u2028\u200b😀é{}\ue000\ufdd0"), max_size=12))
@settings(deadline=None)
def test_what_has_no_tags_need_not_be_parsed(text: str) -> None:
    assert not _PARSED.search(text)
    tree = parse(text) if text.strip() else None
    parsed = read_lines(tree).lines if tree is not None else []
    told = [(line.text, line.linked, line.hidden) for line in lines_without_tags(text)]
    assert told == [(line.text, line.linked, line.hidden) for line in parsed]
