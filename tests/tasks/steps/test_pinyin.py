import pytest

from tasks.steps.pinyin import GLOSS, fits, is_syllable, toneless


@pytest.mark.parametrize(
    ("reading", "char"),
    [("huì", "會"), ("kuài", "會"), ("jiānɡ", "將"), ("chan", "產"), ("lǜ", "綠"), ("lv", "綠"), ("yè", "业")],
)
def test_readings_of_a_character(reading: str, char: str) -> None:
    assert fits(reading, char)


@pytest.mark.parametrize(("reading", "char"), [("jié", "展"), ("chǎn", "a"), ("huǐ", "會"), ("an", "產"), ("yè", "?")])
def test_what_is_no_reading_of_it(reading: str, char: str) -> None:
    assert not fits(reading, char)


def test_syllables() -> None:
    assert all(map(is_syllable, ["zhuàng", "er", "ǹg", "lüè", "lve", "a"]))
    assert not any(map(is_syllable, ["tsmc", "xx", "ok", "the"]))


def test_toneless_keeps_the_dots() -> None:
    assert toneless("lǜ") == "lü"
    assert toneless("zhuàng") == "zhuang"


@pytest.mark.parametrize("text", ["(chǎn)", "（yè）", "(huì )"])
def test_forms_of_a_gloss(text: str) -> None:
    assert GLOSS.fullmatch(text)
