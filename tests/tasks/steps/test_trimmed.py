"""Pieces that were trimmed: all runs of a page scored at once, against each run by itself, character by character."""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

import pytest

from tasks.damage import pages
from tasks.damage.mangler import Decoder, decode_pair
from tasks.language import fold_text, pair_score
from tasks.scripts import simplify
from tasks.steps import trimmed
from tasks.steps.trimmed import NOT_OPENING, SIGNS, UNREADABLE, Piece, first_bytes

NEWS = (
    "会议强调，全区经济运行总体平稳，产业发展取得新进展。“企业质量效益同步提升。”区领导对产业经济提出要求：要加快项目建设，"
    "推动工作驶入快车道。\n会议还讨论了产业规划，要求经济部门会同企业抓好落实；“2023年投资128亿元，同比增长7.5%。”"
    "记者从市气象局获悉。《今年汛期以来》当地降雨量比去年同期增加了三成，水库蓄水充足，农业生产形势总体向好。"
)


class PlainRun(NamedTuple):
    start: int
    end: int
    leads: bytes
    observed: str
    """Folded, from the character before the run to the one behind it, if the run ends with an ASCII byte."""
    realigned: list[str]
    """Folded, what begins in the middle of each character, and then the one behind the run; empty for no character."""


def plain_suspects(text: str, ends: Collection[int], *, mangled: bool) -> Iterator[Piece]:
    stretches = [m for m in re.finditer("!?[^\x00-\x7f\ufffd]++[@-~]?", text) if not trimmed._FOREIGN.search(m[0])]
    rare = [m for m in stretches if re.search(r"r[^\n]?r|rr", "".join("r" if is_rare(c) else c for c in m[0]))]
    clear = any(True for m in rare for run in plain_runs(m) for _ in trimmed._pieces(gained(run), trimmed.LEAST_GAIN))
    if mangled or (clear and not trimmed._is_foreign(text)):
        for run in (run for m in stretches for run in plain_runs(m)):
            least = trimmed.LEAST_GAIN_MARKED if run.end in ends else trimmed.LEAST_GAIN_MANGLED
            yield from trimmed._pieces(gained(run), least)


def is_rare(char: str) -> bool:
    return (
        len(first_bytes(char)) == 2
        and decode_pair(first_bytes(char)) == char
        and trimmed._is_rare(char, simplify(char))
    )


def plain_runs(wide: re.Match[str]) -> Iterator[PlainRun]:
    first, data = wide.start(), list[bytes]()
    for i, char in enumerate(wide[0], first + 1):
        data.append(first_bytes(char))
        if len(data[-1]) != 2 or data[-1][1] < 0x80:
            yield from plain_run(wide.string, first, data)
            first, data = i, []
    yield from plain_run(wide.string, first, data)


def plain_run(text: str, start: int, data: list[bytes]) -> Iterator[PlainRun]:
    wide = [pair for pair in data if len(pair) == 2]
    if not wide:
        return
    end = start + len(wide)
    realigned = [realign(a[1], b[0]) for a, b in pairwise(wide)]
    closing = data[-1] if len(data[-1]) == 1 else b""
    if wide[-1][1] < 0x80:
        realigned.append(chr(wide[-1][1]))
    elif b"@" <= closing <= b"~" and (char := realign(wide[-1][1], closing[0])):
        realigned.append(char)
        end += 1
    behind = fold_text(text[end : end + 1] or "\n") if len(realigned) == len(wide) else ""
    observed = fold_text((text[start - 1] if start else "\n") + text[start:end]) + behind
    yield PlainRun(start, end, bytes(pair[0] for pair in wide), observed, [*realigned, *behind])


def realign(lead: int, trail: int) -> str:
    return fold_text(decode_pair(bytes((lead, trail))) or "")


def gained(run: PlainRun) -> trimmed._Run:
    as_is, realigned = sums(run.observed), sums(["", *run.realigned])
    places, begins, ahead = [], [], []
    for i, sign in ((i, SIGNS[lead]) for i, lead in enumerate(run.leads) if lead in SIGNS):
        opens = sign in "—…‘“〔〈《「『〖【" or run.observed[i + 1] == "！"
        begin = plain_score(run.observed[i], sign) - as_is[i] - (0.0 if opens else NOT_OPENING)
        if i < len(run.realigned):
            begin += plain_score(sign, run.realigned[i]) + realigned[i + 1]
        places.append(i)
        begins.append(begin)
        ahead.append(as_is[i] - (realigned[i - 1] if i > 1 else 0.0))
    return trimmed._Run(run.start, run.end, len(run.realigned), places, begins, ahead)


def sums(text: Sequence[str]) -> list[float]:
    scores = [plain_score(a, b) for a, b in pairwise(text)]
    return [*reversed(list(accumulate(reversed(scores)))), 0.0]


def plain_score(previous: str, char: str) -> float:
    return pair_score(previous, char) if char else UNREADABLE


def both(text: str, *, mangled: bool) -> tuple[list[Piece], list[Piece]]:
    ends = {i for i, char in enumerate(text) if char in "(（"}
    return list(trimmed.suspects(text, ends, mangled=mangled)), list(plain_suspects(text, ends, mangled=mangled))


@pytest.mark.parametrize("decoder", [pages.SWALLOWED, pages.MARKED, pages.DROPPED, pages.KEPT])
@pytest.mark.parametrize("mangled", [True, False])
def test_all_runs_at_once_gain_the_same(decoder: Decoder, *, mangled: bool) -> None:
    found = 0
    for seed in range(4):
        fast, plain = both(pages.trim_signs(decoder)(NEWS, Random(seed)).observed, mangled=mangled)
        assert fast == plain
        found += len(fast)
    assert found > 2


NOISE = [*"!~@z\n€é\ufffdの龘🙂\ue000（(1", "笆サ剀嚩肌睉", "保障!", "ひらがな"]


@pytest.mark.parametrize("seed", range(40))
def test_noise_gains_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = Random(seed)
    monkeypatch.setattr(trimmed, "BLOCK", chance.choice((8, trimmed.BLOCK)))
    damaged = pages.trim_signs(pages.DROPPED)(NEWS[:60], chance).observed
    text = "".join(chance.choice([*NOISE, *NEWS, damaged]) for _ in range(60))
    for mangled in (True, False):
        fast, plain = both(text, mangled=mangled)
        assert fast == plain
