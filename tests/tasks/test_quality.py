import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Cleaned, Damage, Edit, Stage
from tasks import rules
from tasks.clean import clean
from tasks.identify import MOST_CHARS, Identity, count_all, identify, identities
from tasks.quality import (
    MT_THRESHOLD,
    NGRAM,
    EditFigures,
    TextFigures,
    edit_figures,
    english_figures,
    figures,
    mt_score,
    repeated_share,
    spun_score,
    text_figures,
)

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "benchmarks/texts/english.txt").read_text(encoding="utf-8")
HANS = (ROOT / "benchmarks/texts/hans.txt").read_text(encoding="utf-8")


def seed(number: str) -> str:
    path = next((ROOT / "seeds").glob(f"{number}_*.txt"))
    return clean(path.read_text(encoding="utf-8"), CleanConfig()).text


def matches(text: str, pattern: str) -> list[str]:
    """By another library, which knows Unicode's properties."""
    found: list[str] = pl.Series([text]).str.extract_all(pattern).item().to_list()
    return found


class TestTextFigures:
    @pytest.mark.parametrize(
        ("text", "figures"),
        [
            ("", TextFigures(0, 0.0, 0.0, 0.0, 0.0)),
            ("\n \n　\n", TextFigures(0, 0.0, 0.0, 0.0, 0.0)),
            ("中", TextFigures(1, 1.0, 1.0, 0.0, 0.0)),
            ("，。\n", TextFigures(1, 2.0, 0.0, 1.0, 0.0)),
            ("中文，ab\n\n第二行\n", TextFigures(2, 4.0, 0.625, 0.125, 0.0)),  # 5 and 1 of 8
            ("〇々𠀀豈", TextFigures(1, 4.0, 1.0, 0.0, 0.0)),  # all of them of the script Han
            ("\ue000\ud800\u200b", TextFigures(1, 3.0, 0.0, 0.0, 0.0)),  # nothing that is visible by definition
            ("中\u200b\ue000", TextFigures(1, 3.0, 1.0, 0.0, 0.0)),
            ("にほん日本", TextFigures(1, 5.0, 0.4, 0.0, 0.0)),
            ("😀＋", TextFigures(1, 2.0, 0.0, 1.0, 0.0)),
        ],
    )
    def test_by_hand(self, text: str, figures: TextFigures) -> None:
        assert text_figures(text) == figures

    @given(st.text())
    def test_shares_are_shares(self, text: str) -> None:
        figures = text_figures(text)
        assert all(0 <= share <= 1 for share in figures[2:])
        assert figures.han_share + figures.punctuation_share <= 1.0001
        assert math.isfinite(figures.mean_line_chars)

    @given(st.text(st.sampled_from("中文〇，。ab1 \n\u200b\ue000é𠀀")))
    def test_as_patterns_of_unicode_have_it(self, text: str) -> None:
        visible = len(matches(text, r"[^\p{Z}\p{C}]")) or 1
        figures = text_figures(text)
        assert figures.han_share == round(len(matches(text, r"\p{Han}")) / visible, 4)
        assert figures.punctuation_share == round(len(matches(text, r"[\p{P}\p{S}]")) / visible, 4)


def by_hand(text: str) -> float:
    """The same as `repeated_share`, as one would write it without thought for time."""
    tokens = matches(text, r"[\p{Han}\p{Hangul}ぁ-ヺ]|[\p{L}\p{M}\p{N}--[\p{Han}\p{Hangul}ぁ-ヺ]]+")
    ngrams = [tuple(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)]
    counts = Counter(ngrams)
    inside = {i + j for i, ngram in enumerate(ngrams) if counts[ngram] > 1 for j in range(NGRAM)}
    return round(sum(len(tokens[i]) for i in inside) / sum(map(len, tokens)), 4) if inside else 0.0


class TestRepeatedShare:
    @pytest.mark.parametrize(
        ("text", "share"),
        [
            ("一二三四五六七八九十" * 2, 1.0),
            ("一二三四五六七八九十，天地玄黄宇宙洪荒日月。一二三四五六七八九十", 0.6667),  # 20 of 30
            ("一二三四五六七八九，天。一二三四五六七八九", 0.0),  # nine in a row are too few
            ("a b c d e f g h i jj. A b; a, b c d e f g h i jj", 0.9167),  # signs don't part words; 22 of 24 letters
            ("ab cde " * 9, 1.0),
            ("abcde " + "ab cde " * 2, 0.0),
            ("一" * 11, 1.0),
            ("一" * 10, 0.0),
        ],
    )
    def test_by_hand(self, text: str, share: float) -> None:
        assert text_figures(text).repeated_share == share

    @given(st.text(st.sampled_from("一二ab1 ，が가\n"), max_size=80))
    def test_as_the_definition_has_it(self, text: str) -> None:
        assert text_figures(text * 2).repeated_share == by_hand(text * 2)
        assert repeated_share(text) == by_hand(text)

    def test_of_a_long_text_the_beginning(self) -> None:
        text = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000))) + "一" * MOST_CHARS
        assert text_figures(text).repeated_share == 0.98
        assert text_figures(text).han_share == 1.0

    def test_prose_repeats_little(self) -> None:
        assert text_figures(HANS[:3000]).repeated_share < 0.05
        assert text_figures(ENGLISH[:3000]).repeated_share < 0.05

    def test_words_of_the_same_letters_differ(self) -> None:
        words = "ab ba abc acb bac bca cab cba aab aba"
        assert text_figures(f"{words} {' '.join(w[::-1] for w in words.split())}").repeated_share == 0.0


@given(st.lists(st.text(st.sampled_from("一二ab1 ，が\n"), max_size=60), max_size=12))
def test_of_many_texts_each_has_the_figures_that_it_has_alone(texts: list[str]) -> None:
    texts += [HANS, "".join(texts), ENGLISH, *(text * 2 for text in texts)]
    counts = count_all(texts)
    assert figures(texts, counts) == [text_figures(text) for text in texts]
    assert identities(texts, counts) == [identify(text) for text in texts]


class TestMachineTranslation:
    def test_the_seeds_are_flagged(self) -> None:
        assert english_figures(seed("000")).flags == ("machine-translated",)
        assert english_figures(seed("001")).flags == ("machine-translated", "spun")

    def test_english_that_people_wrote_is_not(self) -> None:
        documents = [document for document in ENGLISH.split("\n\n") if document.strip()]
        assert len(documents) >= 4
        assert all(english_figures(document).flags == () for document in [*documents, ENGLISH])

    @pytest.mark.parametrize(
        ("text", "score"),
        [
            ("", 0.0),
            ("Among them, output rose.", 1.0),  # one mark of weight 2, in 4 words that count as 200
            ("the improvement and improvement of the industry", 1.5),
            ("The plant was improved and improvement went on.", 0.0),
            ("Sales rose to 61billion; The market is calm.", 3.0),
            ("It grew year by year, It has made gains, The Times said.", 1.5),  # a title follows the second comma
            ("[China paint information] in recent years, sales rose.", 0.5),  # no paragraph: too short
            ("She read The Times, The Sun and the Mail.", 0.0),
            ("proactively", 0.0),
            ("Enterprises " * 400 + ".", 1.8),  # the subject of its text: one kind alone stays below the threshold
        ],
    )
    def test_marks(self, text: str, score: float) -> None:
        assert mt_score(text) == score

    def test_a_short_text_needs_more_than_one_mark(self) -> None:
        assert mt_score("Among them, three.") < MT_THRESHOLD

    def test_the_table_is_sorted_and_in_lower_case(self) -> None:
        rows = rules.load("machine-english")
        assert all((a[0], a[2]) < (b[0], b[2]) for a, b in pairwise(rows))
        assert all(phrase == " ".join(phrase.lower().split()) and weight in "123" for _, weight, phrase in rows)
        assert all(len({w for k, w, _ in rows if k == kind}) == 1 for kind, _, _ in rows)


PIECE = (
    "in recent years, the paint industry of the province has grown fast and has become a pillar of the economy, and "
    "by the end of the year the output of the whole country is expected to reach 40 million tons. At present, demand "
    "is weak and prices are stable, so that the sales of the second half of the year will hardly exceed the first"
)


class TestSpun:
    def test_pieces(self) -> None:
        assert spun_score(f"Title\n{PIECE}\n{PIECE}\n") == 1.0
        assert spun_score(f"{PIECE}\n{PIECE}\n{PIECE}.\n") == 0.6667

    @pytest.mark.parametrize(
        "text",
        [
            "",
            PIECE,  # one alone tells nothing
            f"{PIECE}.\n{PIECE}.",
            f"{PIECE.capitalize()}\n{PIECE.capitalize()}",  # without stops, but begun as sentences are
            f"{PIECE.lower()}\n{PIECE.lower()}",  # somebody writes without capitals
            "\n".join(PIECE[i : i + 100] for i in range(0, len(PIECE), 100)),  # wrapped lines
        ],
    )
    def test_no_pieces(self, text: str) -> None:
        assert spun_score(text) == 0.0


class TestEditFigures:
    def test_of_nothing(self) -> None:
        assert edit_figures(0, Cleaned("", ())) == EditFigures(0.0, 0.0, 0)

    def test_counts(self) -> None:
        stages = (
            Stage("glosses", (Edit("glosses", "mangler", 1, "(chǎn)", ""),)),
            Stage(
                "punctuation", (Edit("punctuation", "width", 1, ",", "，"), Edit("punctuation", "stop", 2, "", "。"))
            ),
            Stage("script", (Edit("script", "t2s", 0, "產", "产"),)),
        )
        assert edit_figures(20, Cleaned("产，。", stages)) == EditFigures(0.3, 0.4, 0)

    def test_never_more_than_all(self) -> None:
        stage = Stage("spam", (Edit("spam", "porn", 0, "x" * 30, ""),))
        assert edit_figures(10, Cleaned("", (stage,) * 3)) == EditFigures(1.0, 1.0, 0)

    def test_damage_is_counted_once_where_spans_overlap(self) -> None:
        damage = (
            Damage("shift", "shift", 5, "abcde"),
            Damage("mojibake", "mojibake", 2, "abcd"),
            Damage("m", "m", 3, "a"),
        )
        assert edit_figures(20, Cleaned("x" * 20, (), damage=damage)).damage_chars == 8


HOSTILE = [
    "一",
    "a",
    "a ",
    "，",
    "\n",
    "A. ",
    "a, It b",
    "\ud800",
    "\ue000",
    "\u0300",
    "[",
    "1",
    "; ",
    "Among ",
    "a and a ",
    "😀",
]


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_time_is_linear(piece: str) -> None:
    """Half a million characters take well under a second; anything worse than linear would take minutes."""
    text = piece * (500_000 // len(piece))
    assert isinstance(text_figures(text), TextFigures)
    assert isinstance(identify(text), Identity)
    assert english_figures(text).spun_score == 0.0
