"""The search for the text behind a shift: hypotheses scored at once, against each by itself."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest

from schemas.config import CleanConfig
from schemas.document import Context, Finding
from tasks.damage import pages
from tasks.damage.mangler import Decoder
from tasks.language import next_score
from tasks.steps import realign, shift
from tasks.steps.realign import HOPELESS, TWINS, State, Table

CONTEXT = Context(CleanConfig())

NEWS = (
    "会议强调，全区经济运行总体平稳，产业发展取得新进展。“企业质量效益同步提升。”区领导对产业经济提出要求：要加快项目建设，"
    "推动工作驶入快车道。\n会议还讨论了产业规划，要求经济部门会同企业抓好落实；2023年投资128亿元，同比增长7.5%。"
    "记者从市气象局获悉，今年汛期以来当地降雨量比去年同期增加了三成，水库蓄水充足，农业生产形势总体向好。"
)


def plain_growth(growth: Sequence[realign._Growth], table: Table) -> list[State]:
    """All hypotheses, in order, each scored and made by itself."""
    states = []
    for state, fan in growth:
        if fan is None:
            states.append(state)
            continue
        for (char, folded, penalty), pending in zip(fan.choices, fan.pending, strict=True):
            score = state.score + next_score(state.context, folded) + penalty
            due = not state.split and char in table.certain
            if fan.may_be_due or not due:
                states.append(State(score, state.text + char, state.context[1] + folded, pending, due))
    return states


def plain_best(growth: Sequence[realign._Growth], table: Table, limit: int) -> list[State]:
    best: list[State] = []
    twins: Counter[tuple[str, frozenset[int] | None]] = Counter()
    for state in sorted(plain_growth(growth, table), key=lambda s: s.score, reverse=True):
        if len(best) == limit or (best and state.score < best[0].score - HOPELESS):
            break
        twins[state.context, state.pending] += 1
        if twins[state.context, state.pending] <= TWINS:
            best.append(state)
    return best


def plain_continued(
    growth: Sequence[realign._Growth], follow: Callable[[State], State | None], table: Table
) -> list[State]:
    states = []
    for before, fan in growth:
        for state in plain_growth([(before, fan)], table):
            followed = follow(state) if fan is not None and before.pending is not None else state
            states += [followed] if followed is not None else []
    return states


def found_in(texts: Sequence[str]) -> list[list[Finding]]:
    shift._ends.cache_clear()
    return [list(shift.find(text, CONTEXT)) for text in texts]


@pytest.mark.parametrize("decoder", [pages.SWALLOWED, pages.MARKED, pages.DROPPED, pages.KEPT])
def test_scoring_at_once_finds_the_same(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [pages.shift(decoder)(NEWS, Random(1)).observed, pages.trim_signs(decoder)(NEWS[:60], Random(9)).observed]
    texts += ["展?jié)摿Γ" * 3, "產(chǎn)?業(yè)?x" * 2]
    fast = found_in(texts)
    monkeypatch.setattr(realign, "_best", plain_best)
    monkeypatch.setattr(realign, "_all", plain_growth)
    monkeypatch.setattr(realign, "_continued", plain_continued)
    assert fast == found_in(texts)
    assert sum(map(len, fast)) > 3


def test_best_scores_come_first_and_equal_ones_in_order() -> None:
    chance = Random(0)
    scores = np.array([chance.randrange(40) / -4 for _ in range(3 * realign.FEW)])
    assert list(realign._descending(scores)) == sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)
