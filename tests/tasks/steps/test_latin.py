"""Single signs of Chinese codecs inside Latin text: each family comes back, and what is written with `¡` stays."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.steps.edits import apply, revert
from tasks.steps.latin import fix_signs

TEXT = "“There’s a ‘thing’,” he said… wait—no: 3×4 – 5 · “One “two” three.” ’90s 《Book》 (a)"


def fixed(text: str) -> str:
    edits = list(fix_signs(text))
    after = apply(text, edits)
    assert revert(after, edits) == text
    for edit in edits:
        if edit.rule == "utf-8-as-gbk":
            continue
        assert edit.after.encode(edit.rule.partition("-")[0]).decode("latin-1") == edit.before
    return after


@pytest.mark.parametrize("codec", ["gbk", "big5"])
def test_all_signs_of_a_text_come_back(codec: str) -> None:
    assert fixed(TEXT.encode(codec).decode("latin-1")) == TEXT


@pytest.mark.parametrize("codec", ["gbk", "big5"])
@pytest.mark.parametrize(
    "text",
    ["There’s", "say “yes” now", "‘yes’", "well—that", "wait — now", "he said…", "2020–2021", "3×4", "the boys’ toys"],
)
def test_single_signs_come_back(codec: str, text: str) -> None:
    assert fixed(text.encode(codec).decode("latin-1")) == text


def test_both_families_in_one_text_are_told_apart() -> None:
    damaged = "Yueyang¡¯s mayor said ¡°yes¡±. There¡¦s ¡§no¡¨ town¡Xor ¡¥city¡¦¡ªleft¡K"
    assert fixed(damaged) == "Yueyang’s mayor said “yes”. There’s “no” town—or ‘city’—left…"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("caf¨¦ in M¨¹nchen, ¨¦tude", "café in München, étude"),
        ("¡ñ one\n¡ñ two", "● one\n● two"),
        ("¡´ it¡¦s\n¡° a note", "● it’s\n※ a note"),
        ("It¡¦s ¢G500", "It’s £500"),
    ],
)
def test_letters_bullets_and_prices(before: str, after: str) -> None:
    assert fixed(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "¡Kilómetros! ¡Xavier! ¡Viva! ¡A comer! ¡Y a mí! ¡X Aniversario! ¡V Centenario!",
        "¡Hola! ¡qué! ¿¡Cómo!? ¡¡Hola!!",
        "£5, 5×£35, ±½°, «sí» 25° 100¢ ¢X",
        "¨ ¨a na¨ve § 5 ¦ a|b ¥100",
    ],
)
def test_spanish_prices_and_lone_marks_stay(text: str) -> None:
    assert fixed(text) == text


@given(st.text(st.sampled_from("¡§¦¨¥¯°±®ª¤£\xad¬¢GXK aA5\n鈥檚"), max_size=30))
@settings(deadline=None)
def test_edits_do_not_overlap(text: str) -> None:
    fixed(text)


@pytest.mark.parametrize("unit", ["¡", "¡§", "¡§a", "¡°", "¡X", "¡K", "¨", "£", "¡¦", "¡°a¡"])
def test_time_is_linear(unit: str) -> None:
    start = time.process_time()
    fixed("it¡¦s " + unit * (100_000 // len(unit)))
    assert time.process_time() - start < 30
