"""Characters of which only some bytes are known: chosen where all speaks for one, left open where not."""

import heapq
import time
from collections.abc import Sequence
from random import Random

import pytest

from tasks.steps import choosing
from tasks.steps.choosing import BEAM, LONGEST, OPEN, OTHER, choose

SIGNS = "，（：；！"


def chosen(text: str, *options: str) -> str:
    """The text with what was chosen for each `?`, one after the other."""
    places = [i for i, char in enumerate(text) if char == "?"]
    choices = choose(text, dict(zip(places, map(tuple, options), strict=True)))
    return "".join(choices[i].char if i in choices else char for i, char in enumerate(text))


def test_both_sides_speak() -> None:
    assert chosen("国家发展和改革委员?今天表示", "会位传休") == "国家发展和改革委员会今天表示"
    assert chosen("中?人民银行", "国囯固囡") == "中国人民银行"


def test_a_bracket_is_chosen_for_its_other_half_and_in_no_other_place() -> None:
    assert chosen("他昨天说的话?见上）很清楚", SIGNS) == "他昨天说的话（见上）很清楚"
    assert "（" not in chosen("他昨天说的话?见上，很清楚", SIGNS)


def test_what_is_not_sure_stays_open() -> None:
    assert chosen("他名叫王?", "伟强军勇") == f"他名叫王{OPEN}"
    assert chosen("?", "一二三四五六七") == OPEN


def test_simplified_text_takes_no_traditional_character() -> None:
    text = "这些设备的说明书都很详细，检查工作也已经结束。我们把电脑、键盘和?器送到了工厂。"
    assert "機" not in chosen(text, "機栈")


def test_a_gap_that_is_too_long_stays_open() -> None:
    text = "中" + "?" * (LONGEST + 1) + "国"
    assert chosen(text, *["人民"] * (LONGEST + 1)) == text.replace("?", OPEN)


def test_odds_are_told() -> None:
    choice = choose("国家发展和改革委员?今天", {9: ("会", "位")})[9]
    assert choice.char == "会"
    assert 0.96 <= choice.odds < 1.0


def test_work_is_bounded() -> None:
    options = tuple(chr(c) for c in range(0x4E00, 0x4E40))
    text = "中?" * 50_000
    start = time.process_time()
    choose(text, dict.fromkeys(range(1, len(text), 2), options))
    assert time.process_time() - start < 60


def plain_best(
    paths: Sequence[choosing._Path], place: int, options: choosing._Options, evidence: choosing._Evidence
) -> list[choosing._Path]:
    """Each path through one more character scored by itself."""
    longer = []
    for path in paths:
        longer.append(choosing._Path(path.score + OTHER, path.last[1] + OPEN, (*path.chars, OPEN)))
        for char in options.chars:
            folded = choosing._fold(char)
            if folded != path.last[1] or folded.isalnum() or folded in "—…":
                score = path.score + evidence.fit(place, char) + evidence.score(path.last, folded)
                longer.append(choosing._Path(score, path.last[1] + folded, (*path.chars, char)))
    return heapq.nlargest(BEAM, longer, key=lambda p: p.score)


NEWS = "会议强调，全区经济运行总体平稳，产业发展取得新进展（见表）。区领导要求：推动工作。2023年投资128亿元。"


def test_scoring_at_once_chooses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = Random(3)
    common = sorted(
        {
            *NEWS,
            *"的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多",
        }
    )
    questions = []
    for n_options in (3, 40, 80) * 2:
        places = [*chance.sample(range(len(NEWS)), 9), 20, 21, 22]
        options = {i: (NEWS[i], *chance.sample(common, min(n_options, len(common)))) for i in places}
        questions.append((NEWS + NEWS[: chance.randrange(60)], options))
    fast = [choose(*question) for question in questions]
    monkeypatch.setattr(choosing, "_best", plain_best)
    assert fast == [choose(*question) for question in questions]
