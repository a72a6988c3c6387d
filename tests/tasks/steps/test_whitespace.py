from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Edit, Step
from tasks.steps.edits import apply
from tasks.steps.whitespace import find

EditsOf = Callable[[Step, str], list[Edit]]

TEXTS = st.text(st.sampled_from("中国人a1，。 \t\u00a0　\r\n\x85\u2028"), max_size=40)


@given(text=TEXTS)
@settings(deadline=None)
def test_only_white_space_changes(text: str, edits_of: EditsOf) -> None:
    edits = edits_of(find, text)
    after = apply(text, edits)
    assert after.split() == text.split() or "space-in-word" in {edit.rule for edit in edits}
    assert "".join(after.split()) == "".join(text.split())


@given(text=TEXTS)
@settings(deadline=None)
def test_it_settles_in_two_passes(text: str, edits_of: EditsOf) -> None:
    for _ in range(2):
        text = apply(text, edits_of(find, text))
    assert not edits_of(find, text)


@given(text=TEXTS)
@settings(deadline=None)
def test_no_wide_gaps_are_left(text: str, edits_of: EditsOf) -> None:
    for _ in range(2):
        text = apply(text, edits_of(find, text))
    assert "\n\n\n" not in text
    assert text.lstrip("\n") == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("甲 \n乙\n丙\n丁", "甲 \n乙\n丙\n丁"),
        ("甲 \n乙\n\n\n\n丙\n丁", "甲\n乙\n\n丙\n丁"),
        ("甲 \n乙\u00a0\n丙\u3000\n丁", "甲\n乙\n丙\n丁"),
        ("　　甲。 \n　　乙。", "甲。\n乙。"),
    ],
)
def test_blanks_at_line_ends_go_where_the_text_is_untidy(before: str, after: str, edits_of: EditsOf) -> None:
    assert apply(before, edits_of(find, before)) == after


@pytest.mark.parametrize("unit", [" ", "\n", " \n", "　", "中 ", "\t\n\t", "\r\n", "\n 中", "，中 ", "中 \n"])
def test_time_is_linear(unit: str, is_linear: Callable[[Step, str], bool]) -> None:
    assert is_linear(find, "中国" + unit * (100_000 // len(unit)) + "中")
