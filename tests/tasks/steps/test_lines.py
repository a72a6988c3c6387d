"""Lines with their places, and their folded copies."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.lines import fold, is_heading, is_prose, key, lines_of


@given(st.text(alphabet="a久 \n\r\t\u3000。", max_size=60))
def test_lines_know_their_places(text: str) -> None:
    lines = lines_of(text)
    assert [line.text for line in lines] == [raw.strip() for raw in text.split("\n") if raw.strip()]
    for line in lines:
        assert text.startswith(line.text, line.at)
        assert line.start <= line.at < line.end <= len(text)
        assert text[line.start : line.end].strip() == line.text


def test_folding_keeps_the_length_of_every_character() -> None:
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1))))
    assert len(fold(everything)) == len(everything)


def test_folds_script_width_and_case() -> None:
    assert fold("責任編輯：ＡＢ｜Ç　【１】") == "责任编辑:ab|ç [1]"
    assert key("（資料圖片）") == key("资料图片")


def test_prose_and_headings() -> None:
    assert is_prose("6月19日，市领导到化工园区调研安全生产工作，实地查看企业。")
    assert not is_prose("市领导到化工园区调研安全生产工作")
    assert not is_prose("Firm determination, no compromise on synthetic leather renovation in the zone!")
    assert is_heading("市领导到化工园区调研安全生产工作")
    assert not is_heading("市领导调研。")


def test_no_address_is_a_title() -> None:
    assert not is_heading("https://www.example.com/a/b?c=1&d=2")
