"""Glosses and shifts beyond single cases: every decoder, annotated text, hostile input."""

import time
from itertools import pairwise

import pytest
from pypinyin import Style, pinyin

from schemas.config import CleanConfig
from schemas.document import Context, Edit
from tasks.damage.mangler import Broken, Decoder, Undefined, mangle
from tasks.scripts import traditionalize
from tasks.steps import glosses, realign, shift
from tasks.steps.edits import apply

CONTEXT = Context(CleanConfig())

ARTICLE = traditionalize(
    "会议强调，全区经济运行总体平稳。产业发展取得新进展，企业质量效益同步提升。区领导对产业经济提出要求，要加快项目建设，"
    "推动工作驶入快车道。会议还讨论了产业规划，要求经济部门会同企业抓好落实。"
)
TABLE = {
    char.encode("gbk"): f"({reading})"
    for char, reading in {
        "會": "huì ",
        "產": "chǎn",
        "業": "yè",
        "發": "fā",
        "經": "jīng",
        "區": "qū",
        "側": "cè",
        "導": "dǎo",
    }.items()
}
CHILDREN = "小兔子乖乖，把门儿开开，快点儿开开，我要进来。不开不开我不开，妈妈没回来，谁来也不开。"


def repaired(text: str) -> str:
    for find in (shift.find, glosses.find):
        text = apply(text, (f for f in find(text, CONTEXT) if isinstance(f, Edit)))
    return text


@pytest.mark.parametrize("undefined", [Undefined.PRIVATE, Undefined.DROP])
@pytest.mark.parametrize(
    ("broken", "mark"), [(Broken.SWALLOW, "?"), (Broken.MARK, "\ufffd"), (Broken.MARK, "?"), (Broken.DROP, "?")]
)
def test_every_decoder_is_undone(broken: Broken, undefined: Undefined, mark: str) -> None:
    observed = mangle(ARTICLE, TABLE, Decoder(broken, undefined, mark))
    assert "駛入" not in observed
    assert repaired(observed) == ARTICLE


@pytest.mark.parametrize("brackets", ["()", "（）"])
@pytest.mark.parametrize("convert", [str, traditionalize])
@pytest.mark.parametrize("style", [Style.TONE, Style.NORMAL])
def test_annotated_children_s_text_stays(brackets: str, convert: type, style: Style) -> None:
    readings = zip(CHILDREN, pinyin(list(CHILDREN), style=style), strict=True)
    text = "".join(convert(c) + (f"{brackets[0]}{r[0]}{brackets[1]}" if c.isalpha() else "") for c, r in readings)
    assert repaired(text) == text


def test_confidence_says_how_sure_a_repair_is() -> None:
    lost = mangle(ARTICLE, TABLE, Decoder(Broken.SWALLOW, Undefined.DROP))
    kept = mangle(ARTICLE, TABLE, Decoder(Broken.SWALLOW, Undefined.PRIVATE))
    confidences = [[f.confidence for f in shift.find(text, CONTEXT) if isinstance(f, Edit)] for text in (lost, kept)]
    assert 0.3 < confidences[0][0] < confidences[1][0] <= 1


@pytest.mark.parametrize(
    "unit",
    ["?", "(", ")", "(a)", "（a", "展?jié)", "展?jié)摿Γ", "產(chǎn)", "睉笆", "!笆サ剀嚩肌睉", "\ufffd", "a", "產(ch"],
)
def test_time_is_bounded(unit: str) -> None:
    seconds = []
    for size in (20_000, 40_000):
        text = unit * (size // len(unit))
        begin = time.process_time()
        repaired(text)
        seconds.append(time.process_time() - begin)
    # Twice the text, twice the time: searches stop at MOST_TOKENS, which both sizes reach.
    assert all(b < 4 * a + 3 for a, b in pairwise(seconds))


def completions(trails: frozenset[int]) -> set[str]:
    """Of the lead byte A3."""
    return set(map(chr, realign.characters().codes[realign._completions(frozenset({0xA3}), trails)]))


def test_a_lost_byte_never_makes_a_full_width_digit() -> None:
    lost = completions(realign.TRAILS & realign.LEADS)
    known = completions(frozenset({0xB1}))
    assert {"，", "（"} <= lost
    assert not lost & set("０１２３４５６７８９")
    assert known == {"１"}


def test_a_digit_that_the_decoder_swallowed_is_open() -> None:
    before = "他在会上宣布。豆赜诩忧抗芾淼耐ㄖ罚?018年第12号）已经印发各单位执行。"
    after = repaired(before)
    assert after.startswith("他在会上宣布。《关于加强管理的通知》")
    assert "\ufffd018年第12号）" in after
