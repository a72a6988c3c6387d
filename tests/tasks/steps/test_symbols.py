from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Edit, Step
from tasks.rules import load
from tasks.steps import invisible, symbols
from tasks.steps.edits import apply

EditsOf = Callable[[Step, str], list[Edit]]

TEXTS = st.text(
    st.sampled_from("中国人民江市a1 ，\n\u200b\u200d\ufe0f\u202e\ue123\ue863📫🜁★♥👍🏽א\U000e0100"), max_size=40
)


@given(text=TEXTS)
@settings(deadline=None)
def test_no_letter_or_ideograph_goes(text: str, edits_of: EditsOf) -> None:
    edits = edits_of(symbols.find, text) + edits_of(invisible.find, text)
    assert not any(char.isalnum() for edit in edits for char in edit.before)


def test_neighbours_inside_a_word_attract_and_across_clauses_do_not() -> None:
    assert symbols.attraction("荆", "江") > 0.9
    assert symbols.attraction("產", "業") > 0.9
    assert symbols.attraction("心", "我") < 0


def test_scattered_pictures_go_even_where_two_words_meet(edits_of: EditsOf) -> None:
    text = "荆📫江市委书🆗记罗清宇深入清🎈徐精细化工🔔园，要🎲对陈京等人"
    assert apply(text, edits_of(symbols.find, text)) == "荆江市委书记罗清宇深入清徐精细化工园，要对陈京等人"


def test_many_ideographic_variation_selectors_are_noise(edits_of: EditsOf) -> None:
    text = "".join(char + "\U000e0100" for char in "中华人民共和国成立")
    assert apply(text, edits_of(invisible.find, text)) == "中华人民共和国成立"


def test_private_use_characters_sown_between_neighbours_go(edits_of: EditsOf) -> None:
    text = "中\ue001国，人\ue001民，企\ue001业"
    assert apply(text, edits_of(symbols.find, text)) == "中国，人民，企业"


def test_the_table_is_sorted_and_its_ranges_do_not_overlap() -> None:
    ranges = [(int(first, 16), int(last, 16)) for first, last, *_ in load("symbols")]
    assert all(first <= last for first, last in ranges)
    bmp = [r for r in ranges if r[0] < 0xE0000]
    assert all(a[1] < b[0] for a, b in pairwise(bmp))
    assert {row[2] for row in load("symbols")} == {"hidden", "joiner", "mark", "select", "alien", "rare", "common"}


@pytest.mark.parametrize("unit", ["📫", "中📫", "中📫国", "★", "\ufe0f", "中\u200d📫", "\ue123", "中\ue123", "🀇"])
def test_time_is_linear(unit: str, is_linear: Callable[[Step, str], bool]) -> None:
    assert is_linear(symbols.find, "中国" + unit * (100_000 // len(unit)) + "中")


def test_a_picture_with_a_selector_in_front_is_found_once(edits_of: EditsOf) -> None:
    text = "国🌇务委员谌贻琴出席会议吴💦　政隆主持，三\U000e0100🌑夏期间，造🚼型美观的建筑，继🐶续受到保？护。"
    assert apply(text, edits_of(symbols.find, text)) == text.translate(dict.fromkeys(map(ord, "🌇🌑🚼🐶\U000e0100")))
