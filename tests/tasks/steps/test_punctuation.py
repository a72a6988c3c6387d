from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Edit, Step
from tasks.steps.edits import apply
from tasks.steps.punctuation import find

EditsOf = Callable[[Step, str], list[Edit]]

TEXTS = st.text(st.sampled_from("中国吗a1 ,，。.、:：;;!?()（）\"'“”１Ａ．\n"), max_size=40)


@given(text=TEXTS)
@settings(deadline=None)
def test_letters_and_digits_change_in_width_only(text: str, edits_of: EditsOf) -> None:
    width = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    before = [c for c in text.translate(width) if c.isalnum()]
    after = [c for c in apply(text, edits_of(find, text)).translate(width) if c.isalnum()]
    assert before == after


@given(text=TEXTS)
@settings(deadline=None)
def test_it_settles(text: str, edits_of: EditsOf) -> None:
    for _ in range(4):
        text = apply(text, edits_of(find, text))
    assert not edits_of(find, text)


@pytest.mark.parametrize(
    "unit", [",", "，", "(", "（", '"', ":", "?", "１", "中,", "中(", "国，", "@", "www.", "中,中。", "中,，", "，,"]
)
def test_time_is_linear(unit: str, is_linear: Callable[[Step, str], bool]) -> None:
    assert is_linear(find, "中国" + unit * (100_000 // len(unit)))


@pytest.mark.parametrize(
    "text",
    [
        "甲，乙，丙，丁。其中(唐鼓)、(手锣)有三个，2001年,GDP。",
        "里德说:“他来到场边，然后走了。”",
        "联系你的财务顾问:你的顾问也能帮你。",
    ],
)
def test_single_slips_are_left_to_their_author(text: str, edits_of: EditsOf) -> None:
    assert edits_of(find, text) == []


def test_the_only_sign_of_a_title_tells(edits_of: EditsOf) -> None:
    assert apply("通讯!洪泽区召开会议", edits_of(find, "通讯!洪泽区召开会议")) == "通讯！洪泽区召开会议"
