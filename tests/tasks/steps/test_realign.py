"""The search for the text behind a shift: hypotheses in columns, against a plain one that makes each by itself."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from random import Random

import numpy as np
import pytest

from schemas.config import CleanConfig
from schemas.document import Context, Finding
from tasks.damage import pages
from tasks.damage.mangler import Decoder, decode_pair, encode
from tasks.language import fold_text, next_score
from tasks.scripts import simplified_only
from tasks.steps import realign, shift
from tasks.steps.pinyin import reads
from tasks.steps.realign import LEADS, OPEN, TRACELESS, TRAILS, State, Table, Token

CONTEXT = Context(CleanConfig())

NEWS = (
    "会议强调，全区经济运行总体平稳，产业发展取得新进展。“企业质量效益同步提升。”区领导对产业经济提出要求：要加快项目建设，"
    "推动工作驶入快车道。\n会议还讨论了产业规划，要求经济部门会同企业抓好落实；2023年投资128亿元，同比增长7.5%。"
    "记者从市气象局获悉，今年汛期以来当地降雨量比去年同期增加了三成，水库蓄水充足，农业生产形势总体向好。"
)


def plain_search(
    tokens: Iterable[Token], begin: State, table: Table, *, lossy: bool
) -> Iterator[tuple[int, list[State]]]:
    known, states = list(tokens), [begin]
    for i, (token, upcoming) in enumerate(zip(known, [*known[1:], None], strict=True)):
        loses = lossy and (upcoming is None or bool(token.reading) or token.mark != TRACELESS)
        states = best(list(advance(states, token, table, lossy=loses)), realign.BEAM)
        if not states or (i >= realign.ENOUGH_TO_TELL and states[0].score < realign.GARBAGE * len(states[0].text)):
            return
        in_step = [s for s in states if s.pending is None and not s.due]
        if (i or len(token.data) == 2) and in_step and realign._may_end(token, upcoming):
            yield token.end, in_step
            if in_step[0] is states[0] and all(s.pending is None for s in states[: realign.SURE]):
                return


def best(states: Sequence[State], limit: int) -> list[State]:
    found: list[State] = []
    twins: Counter[tuple[str, frozenset[int] | None]] = Counter()
    for state in sorted(states, key=lambda s: s.score, reverse=True):
        if len(found) == limit or (found and state.score < found[0].score - realign.HOPELESS):
            break
        twins[state.context, state.pending] += 1
        if twins[state.context, state.pending] <= realign.TWINS:
            found.append(state)
    return found


def advance(states: list[State], token: Token, table: Table, *, lossy: bool) -> Iterator[State]:
    reach, wave = list(states), states
    for _ in range(realign.LOST_PAIRS if lossy else 0):
        lost = [after for state in wave[: realign.LOST_BEAM] for after in lose_pair(state, table)]
        wave = best(lost, realign.LOST_BEAM)
        reach += wave
    for state in reach:
        if token.mark:
            for marked in read_mark(state, token, table):
                yield from read_gloss(marked, token.reading, table) if token.reading else [marked]
        elif token.reading:
            yield from read_gloss(state, token.reading, table)
        else:
            yield from read_bytes(state, token.data, table)


def read_mark(state: State, token: Token, table: Table) -> Iterator[State]:
    if token.mark == TRACELESS and state.pending is None:
        yield state
    if state.due:
        return
    if state.pending is None:
        yield state._replace(pending=LEADS)
        if token.mark == "?":
            yield from followed(state, "?", None, table)
        return
    options = [(char, None) for char in completions(state.pending, TRAILS & LEADS, token.reading)]
    marked = [after for char, pending in options for after in followed(state, char, pending, table)]
    if token.mark != TRACELESS and not (token.reading or token.swallowed):
        marked += lose_pair(state, table)
    for after in marked:
        if not token.swallowed or after.text[-1] in realign.ENDS_PIECE:
            yield after
        elif not after.due:
            score, context = after.score + next_score(after.context, "0"), after.context[1] + "0"
            yield after._replace(score=score, text=after.text + OPEN, context=context)


def read_bytes(state: State, data: bytes, table: Table) -> Iterator[State]:
    if state.due:
        return
    if state.pending is None:
        char = decode_pair(data) if len(data) == 2 else data.decode("ascii", errors="replace")
        yield from followed(state, char, None, table) if char else ()
        return
    for char in completions(state.pending, frozenset(data[:1])):
        if data[1:] >= b"\x80":
            yield from followed(state, char, frozenset(data[1:]), table)
        else:
            for after in followed(state, char, None, table):
                second = data[1:].decode("ascii")
                yield from followed(after, second, None, table) if second and not after.due else [after] * (not second)


def lose_pair(state: State, table: Table) -> Iterator[State]:
    if state.pending and not state.due:
        longer = state._replace(score=state.score + realign.LENGTH_BONUS)
        for firsts, seconds in realign._undefined_pairs().items():
            for char in completions(state.pending, firsts):
                yield from followed(longer, char, seconds, table)


def read_gloss(state: State, reading: str, table: Table) -> Iterator[State]:
    last = encode(state.text[-1]) or b""
    if len(last) != 2:
        return
    if state.pending is None:
        if reads(state.text[-1], reading):
            yield state._replace(score=state.score + penalty(state.text[-1], table), due=False)
    elif not state.due:
        for second in state.pending:
            char = decode_pair(bytes((last[1], second)))
            if char and reads(char, reading):
                score = state.score + penalty(char, table)
                yield state._replace(score=score, pending=frozenset((second,)), split=True)


def penalty(char: str, table: Table) -> float:
    return 0.0 if char in table.glosses else realign.OUTSIDE_TABLE


def followed(state: State, char: str, pending: frozenset[int] | None, table: Table) -> Iterator[State]:
    folded = fold_text(char)
    score = state.score + next_score(state.context, folded) + script_penalty(char)
    due = not state.split and char in table.certain
    if pending is None or not due:
        yield State(score, state.text + char, state.context[1] + folded, pending, due)


@cache
def completions(leads: frozenset[int], trails: frozenset[int], reading: str = "") -> list[str]:
    pairs = (bytes((lead, trail)) for lead in list(leads) for trail in list(trails))
    chars = sorted(filter(None, map(decode_pair, pairs)), key=commonness, reverse=True)
    fitting = [c for c in chars if (len(chars) == 1 or c not in realign._WIDE) and (not reading or reads(c, reading))]
    return fitting[: realign.CHOICES]


@cache
def commonness(char: str) -> float:
    return next_score("\n\n", fold_text(char)) + script_penalty(char)


def script_penalty(char: str) -> float:
    return realign.WRONG_SCRIPT if char in simplified_only() and not realign._in_big5(char) else 0.0


def found_in(texts: Sequence[str]) -> list[list[Finding]]:
    shift._ends.cache_clear()
    return [list(shift.find(text, CONTEXT)) for text in texts]


@pytest.mark.parametrize("decoder", [pages.SWALLOWED, pages.MARKED, pages.DROPPED, pages.KEPT])
def test_columns_find_the_same(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [pages.shift(decoder)(NEWS, Random(1)).observed, pages.trim_signs(decoder)(NEWS[:60], Random(9)).observed]
    texts += ["展?jié)摿Γ" * 3, "產(chǎn)?業(yè)?x" * 2]
    fast = found_in(texts)
    monkeypatch.setattr(shift, "search", plain_search)
    assert fast == found_in(texts)
    assert sum(map(len, fast)) > 3


@pytest.mark.parametrize("seed", range(12))
def test_columns_keep_the_same_hypotheses(seed: int) -> None:
    chance = Random(seed)
    table = Table(frozenset("業產發"), frozenset("業"))
    states = [State(0.0, "展", "发展", frozenset({chance.randrange(0x81, 0xFF)}))]
    beam = realign._Beam.of(states[0])
    for i in range(4):
        token, lossy = some_token(chance, i), chance.random() < 0.7
        states = best(list(advance(states, token, table, lossy=lossy)), realign.BEAM)
        beam = realign._advance(beam, token, table, lossy=lossy) if beam.texts else beam
        assert beam.states() == states


def some_token(chance: Random, i: int) -> Token:
    data = chance.choice("潛力推動一二三產業經濟睉弧擾r").encode("gbk")
    kinds = [
        Token(i, data),
        Token(i, data),
        Token(i, mark=chance.choice(("?", "\ufffd", TRACELESS))),
        Token(i, mark="?", swallowed=True),
        Token(i, mark="?", reading="yè"),
        Token(i, reading="chǎn"),
    ]
    return chance.choice(kinds)


def test_best_scores_come_first_and_equal_ones_in_order() -> None:
    chance = Random(0)
    scores = np.array([chance.randrange(40) / -4 for _ in range(300)])
    in_order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)
    highest = realign._highest(scores, 100).tolist()
    assert realign._highest(scores, 300).tolist() == in_order
    assert highest == in_order[: len(highest)]
    assert len(highest) >= 100
