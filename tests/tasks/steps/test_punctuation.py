import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Context, Edit
from tasks.steps import punctuation
from tasks.steps.edits import apply, revert

CONTEXT = Context(CleanConfig())
TEXTS = st.text(st.sampled_from("中国吗a1 ,，。.、:：;;!?()（）\"'“”１Ａ．\n"), max_size=40)


def edits_of(text: str) -> list[Edit]:
    return [f for f in punctuation.find(text, CONTEXT) if isinstance(f, Edit)]


@given(TEXTS)
@settings(deadline=None)
def test_edits_carry_out_and_revert(text: str) -> None:
    edits = edits_of(text)
    assert revert(apply(text, edits), edits) == text


@given(TEXTS)
@settings(deadline=None)
def test_letters_and_digits_change_in_width_only(text: str) -> None:
    width = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    before = [c for c in text.translate(width) if c.isalnum()]
    after = [c for c in apply(text, edits_of(text)).translate(width) if c.isalnum()]
    assert before == after


@given(TEXTS)
@settings(deadline=None)
def test_it_settles(text: str) -> None:
    for _ in range(4):
        text = apply(text, edits_of(text))
    assert not edits_of(text)


@pytest.mark.parametrize(
    "unit", [",", "，", "(", "（", '"', ":", "?", "１", "中,", "中(", "国，", "@", "www.", "中,中。"]
)
def test_time_is_linear(unit: str) -> None:
    text = "中国" + unit * (100_000 // len(unit))
    start = time.process_time()
    edits_of(text)
    assert time.process_time() - start < 5  # quadratic ones took minutes


def test_commas_alone_in_a_clean_document_are_left_to_their_author() -> None:
    assert edits_of("甲，乙，丙，丁。其中(唐鼓)、(手锣)有三个，2001年,GDP。") == []
