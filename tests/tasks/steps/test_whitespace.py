import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Context, Edit
from tasks.steps import whitespace
from tasks.steps.edits import apply, revert

CONTEXT = Context(CleanConfig())
TEXTS = st.text(st.sampled_from("中国人a1，。 \t\u00a0　\r\n\x85\u2028"), max_size=40)


def edits_of(text: str) -> list[Edit]:
    return [f for f in whitespace.find(text, CONTEXT) if isinstance(f, Edit)]


@given(TEXTS)
@settings(deadline=None)
def test_only_white_space_changes(text: str) -> None:
    edits = edits_of(text)
    after = apply(text, edits)
    assert revert(after, edits) == text
    assert after.split() == text.split() or "space-in-word" in {edit.rule for edit in edits}
    assert "".join(after.split()) == "".join(text.split())


@given(TEXTS)
@settings(deadline=None)
def test_it_settles_in_two_passes(text: str) -> None:
    for _ in range(2):
        text = apply(text, edits_of(text))
    assert not edits_of(text)


@given(TEXTS)
@settings(deadline=None)
def test_no_wide_gaps_are_left(text: str) -> None:
    for _ in range(2):
        text = apply(text, edits_of(text))
    assert "\n\n\n" not in text
    assert not any(line != line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize("unit", [" ", "\n", " \n", "　", "中 ", "\t\n\t", "\r\n", "\n 中", "，中 "])
def test_time_is_linear(unit: str) -> None:
    text = "中国" + unit * (100_000 // len(unit)) + "中"
    start = time.process_time()
    edits_of(text)
    assert time.process_time() - start < 5  # quadratic ones took minutes
