import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Cleaned, Decoded, Reason
from tasks import judge
from tasks.clean import clean
from tasks.judge import judge_input, judge_output

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。"


def reason_of_input(text: str, encoding: str = "utf-8") -> Reason | None:
    rejection = judge_input(Decoded(text, encoding, 1.0, "strict"))
    return rejection.reason if rejection else None


def reason_of_output(text: str, min_chars: int = 10) -> Reason | None:
    rejection = judge_output(Cleaned(text, ()), CleanConfig(min_chars=min_chars))
    return rejection.reason if rejection else None


@pytest.mark.parametrize("text", ["", " \n\t\u3000\r\n", "\ufeff", "\u200b\u00ad\u2060\n"])
def test_nothing_to_be_seen_is_empty(text: str) -> None:
    assert reason_of_input(text) == Reason.EMPTY


@pytest.mark.parametrize("text", [NEWS, "a", NEWS + "\x1b[0m\0", "One line.\f\nAnother.\x0b", "12:30"])
def test_text_goes_on_to_be_cleaned(text: str) -> None:
    assert reason_of_input(text) is None


def test_nul_bytes_alone_are_no_text() -> None:
    assert reason_of_input("\0" * 100) == Reason.NOT_TEXT


def test_controls_that_are_misread_utf_8_are_the_business_of_the_steps_and_judged_after_them() -> None:
    misread = (NEWS * 3).encode().decode("latin-1")
    assert reason_of_input(misread) is None
    assert reason_of_input(misread, "iso8859-1") == Reason.NOT_TEXT
    assert reason_of_output(misread) == Reason.NOT_TEXT
    assert reason_of_output(clean(misread, CleanConfig()).text) is None


def test_what_no_encoding_fits_is_binary_if_there_are_control_characters_and_undecodable_otherwise() -> None:
    assert reason_of_input("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "") == Reason.NOT_TEXT
    assert reason_of_input("".join(map(chr, range(256))), "") == Reason.NOT_TEXT
    assert reason_of_input("\xe9\xf8\xd3\xa7" * 50, "") == Reason.UNDECODABLE


def test_the_detail_gives_figures() -> None:
    rejection = judge_input(Decoded("\0" * 1500 + "a" * 500, "", 0.0, "none"))
    assert rejection is not None
    assert rejection.detail == "A binary file: 1,500 of 2,000 characters are control characters."


@pytest.mark.parametrize(
    "text",
    [
        NEWS,
        "The quick brown fox jumps over the lazy dog, and that is all.",
        "def f(x):\n    return [y ** 2 for y in range(x) if y % 3 != 0]\n",
        "北京 08:15 -> 上海 13:48  G103  ¥553.0 二等座\n上海 14:00 -> 杭州 15:03  G7501  ¥73.0 一等座",
        "——《岳阳楼记》：“先天下之忧而忧，后天下之乐而乐。”……（范仲淹）",
    ],
)
def test_prose_code_and_timetables_are_text(text: str) -> None:
    assert reason_of_output(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "3.14159 26535 89793 23846 26433 83279 50288 41971 69399 37510 abc def ghi j",
        "════════════════════════════════ 表格表格 ═══════════════ abcdefg",
        "🀄🀅🀆" * 30 + "这里只有十几个汉字而已了吧",
    ],
)
def test_digits_rules_and_symbols_are_not(text: str) -> None:
    assert reason_of_output(text) == Reason.NOT_TEXT


def test_too_short_counts_letters_and_ideographs_only() -> None:
    assert reason_of_output("一二三四五，六七八九！…… 123") == Reason.TOO_SHORT
    assert reason_of_output("一二三四五，六七八九十！") is None
    assert reason_of_output("", min_chars=0) is None


def test_too_short_says_how_short() -> None:
    rejection = judge_output(Cleaned("短", ()), CleanConfig(min_chars=10))
    assert rejection is not None
    assert rejection.detail == "1 letter or ideographs left after cleaning, and 10 asked for."


SPAM = "久久精品国产亚洲av\n欧美日韩一区二区三区在线观看\n亚博体育app下载_威尼斯人官网_澳门新葡京娱乐\n"


def test_a_page_of_spam_is_rejected_as_spam() -> None:
    for text in (SPAM, f"{SPAM}首页\n", SPAM.replace("\n", " ")):
        rejection = judge_output(clean(text, CleanConfig()), CleanConfig())
        assert rejection is not None
        assert rejection.reason == Reason.SPAM


def test_an_article_below_spam_is_none() -> None:
    article = "市领导到化工园区调研安全生产工作，实地查看企业生产车间。"
    assert judge_output(clean(SPAM + article, CleanConfig()), CleanConfig()) is None


def test_a_report_about_the_trade_is_none() -> None:
    assert reason_of_output("警方打击网络赌博，查获多个棋牌平台，抓获嫌疑人三十名") is None
    assert reason_of_output("澳门新葡京娱乐场发布公告，称将于下月起调整营业时间。") is None


def test_spam_is_not_judged_where_its_step_is_left_out() -> None:
    assert judge_output(Cleaned(SPAM, ()), CleanConfig(skip=("spam",))) is None


@given(st.text("a一é²½①𠀀🀄\U00100000\uffff\ud800 \u3000\u200b\ufeff\x00\x1b\x1c\x85\x90\n\x7f。1_ª"))
def test_characters_are_counted_as_patterns_and_methods_tell_them(text: str) -> None:
    found = judge._count_kinds(text)
    patterns = (judge._CONTROLS, judge._C1, judge._INVISIBLE)
    controls, c1, invisible = (len(pattern.findall(text)) for pattern in patterns)
    assert found == (controls, c1, len(text) - invisible, sum(map(str.isalpha, text)))
