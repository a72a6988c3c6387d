"""Pieces of a page that a trim of A1 bytes took the first byte from: `保障!笆サ剀` for `保障。“圣地`.

No gloss marks where such a run begins. But its bytes are known: read with the byte A1 in front, the run is text again
up to one wrong character for each pair that vanished. How much better it reads so is summed up in one pass, for all
places where it may begin; the search behind `shift` is asked for the best of them only.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from heapq import nlargest
from itertools import accumulate, chain, islice, pairwise
from typing import NamedTuple

import numpy as np

from tasks.damage.mangler import decode_pair, encode
from tasks.language import Kinds, fold_text, fold_width, kinds_in, pair_score, table_of_kinds
from tasks.scripts import simplify

LEAST_GAIN = 8.0
"""Decimal logarithms by which a run has to read better with the byte A1 before it where nothing else shows that the
page was mangled."""

LEAST_GAIN_MANGLED = 2.0
"""The same where glosses, or another such run, show it."""

LEAST_GAIN_MARKED = 0.0
"""The same where the run ends at a gloss that does not belong to the character before it."""

RIVALS = 3.0
"""Starts that gain so much less than the best one of their run are searched as well: lost pairs blur the gain."""

MOST_RIVALS = 4
"""Of these, so many: a run of one character repeated has thousands."""

SEAM = 2.0
"""Taken off for each further piece that is trimmed within a run: one start explains a run better than two."""

NOT_OPENING = 3.0
"""Taken off where a piece would begin with a sign that opens nothing: sites cut before quotations and titles."""

MANY_FOREIGN = 5
"""Words in kana, Greek or Cyrillic from which on a text that no gloss marks is taken for one in that language."""

UNREADABLE = -7.0
"""Score of a pair of bytes that is no character: as bad as a character that the model does not know."""

SIGNS = {encode(sign)[1]: fold_width(sign) for sign in "、。·—…‘’“”〔〕〈〉《》「」『』〖〗【】"}  # type: ignore[index]
"""Second byte → sign: all of row A1 of GB2312 that a piece of a page begins with."""


CLOSED = 1.5
"""Added where the sign that a piece begins with is closed before another one opens: of the signs that a lost last byte
may have belonged to, it tells which."""

CLOSING = dict(zip("“‘〔〈《「『〖【", "”’〕〉》」』〗】", strict=True))


class Start(NamedTuple):
    """Where a run may begin, and the first byte that is missing before it."""

    position: int
    rule: str
    pending: frozenset[int] | None = None
    stop: int | None = None
    """Where it ends at the latest: another trimmed piece begins there."""

    def moved(self, by: int) -> "Start":
        """The same in a text with so many characters more before it."""
        return self._replace(position=self.position + by, stop=None if self.stop is None else self.stop + by)


class Piece(NamedTuple):
    """A trimmed piece as far as it is out of step: where it ends, and where it may begin, likeliest first."""

    end: int
    starts: list[Start]


def suspects(text: str, ends: Collection[int], *, mangled: bool) -> Iterator[Piece]:
    """Runs that read better with the byte A1 in front.

    Args:
        text: the whole text.
        ends: positions before which something is out of step, as a gloss shows.
        mangled: whether glosses show that the page was mangled: then weaker runs are suspect as well.
    """
    if mangled or (_has_clear_case(text) and not _is_foreign(text)):
        wide = (match for match in _WIDE.finditer(text) if not _FOREIGN.search(match[0]))
        for run in chain.from_iterable(map(_runs, wide)):
            yield from _pieces(run, LEAST_GAIN_MARKED if run.end in ends else LEAST_GAIN_MANGLED)


def _is_foreign(text: str) -> bool:
    """Whether a text has many words that shifted bytes make none of: Japanese has one in every line."""
    return sum(1 for _ in islice(_FOREIGN.finditer(text), MANY_FOREIGN)) == MANY_FOREIGN


def _has_clear_case(text: str) -> bool:
    """Whether a run with rare characters close together, other than foreign words, gains much."""
    places = np.flatnonzero(kinds_in(text, _table_of_rare()))
    if len(places) < 2 or (places[1:] - places[:-1]).min() > 2 or _rare().search(text) is None:
        return False
    wide = (match for match in _WIDE.finditer(text) if _rare().search(text, *match.span()))
    likely = (match for match in wide if not _FOREIGN.search(match[0]))
    return any(True for run in chain.from_iterable(map(_runs, likely)) for _ in _pieces(run, LEAST_GAIN))


def prepare() -> None:
    """Compile the test for two rare characters: processes that are forked afterwards have it."""
    _rare()


@cache
def _rare() -> re.Pattern[str]:
    """Two rare characters of GBK close together: the cheap test for a shift that no gloss marks."""
    return re.compile(f"[{_rare_chars()}](?=[^\n]?[{_rare_chars()}])")


@cache
def _table_of_rare() -> Kinds:
    return table_of_kinds(_rare_chars())


@cache
def _rare_chars() -> str:
    codes = (bytes((a, b)) for a in range(0x81, 0xFF) for b in range(0x40, 0xFF) if b != 0x7F)
    return "".join(sorted(char for char in map(decode_pair, codes) if char and _is_rare(char)))


def _is_rare(char: str) -> bool:
    """Kana, Greek and Cyrillic, and ideographs beyond the 3,755 common ones that GB2312 sorts first (lead below D8)."""
    if char < "\u3400":
        return char > "\u3040" or "\u0370" < char < "\u0500"
    try:
        return simplify(char).encode("gb2312") >= b"\xd8"
    except UnicodeEncodeError:
        return True


_FOREIGN = re.compile("[\u3040-\u309f]{2}|[\u30a0-\u30ff]{3}|[\u0370-\u03ff]{3}|[\u0400-\u04ff]{3}")
"""Words in kana, Greek or Cyrillic: what shifted bytes make of these comes one by one."""


@cache
def first_bytes(char: str) -> bytes:
    """Bytes of the first character behind a trim: `!` stands for `！` there, made half-width afterwards."""
    data = encode(char) or b""
    return data if len(data) == 2 else encode(fold_width(char)) or b""


def closing_score(line: str) -> float:
    """What speaks for a text that begins with a trimmed piece and goes on to the end of its line."""
    opening = line.lstrip("。")[:1]
    quotes = (char for char in line.lstrip("。")[1:] if char in (opening, CLOSING.get(opening)))
    return CLOSED if next(quotes, opening) != opening else 0.0


class _Run(NamedTuple):
    """Characters of two bytes up to what puts the decoder back in step."""

    start: int
    end: int
    leads: bytes
    observed: str
    """Folded, from the character before the run to the one behind it (none where the last byte found no partner)."""
    realigned: list[str]
    """Folded, what begins in the middle of each character, to the one behind the run; empty for no character."""


def _runs(wide: re.Match[str]) -> Iterator[_Run]:
    """All runs of a stretch of wide characters: some of these have a second byte that is an ASCII sign."""
    first, data = wide.start(), list[bytes]()
    for i, char in enumerate(wide[0], first + 1):
        data.append(first_bytes(char))
        if len(data[-1]) != 2 or data[-1][1] < 0x80:
            yield from _run(wide.string, first, data)
            first, data = i, []
    yield from _run(wide.string, first, data)


_WIDE = re.compile("!?[^\x00-\x7f\ufffd]++[@-~]?")


def _run(text: str, start: int, data: list[bytes]) -> Iterator[_Run]:
    """A run of these bytes; none if its last one alone is no wide character."""
    wide = [pair for pair in data if len(pair) == 2]
    if not wide:
        return
    end = start + len(wide)
    realigned = [_pair(a[1], b[0]) for a, b in pairwise(wide)]
    closing = data[-1] if len(data[-1]) == 1 else b""
    if wide[-1][1] < 0x80:
        realigned.append(chr(wide[-1][1]))
    elif b"@" <= closing <= b"~" and (char := _pair(wide[-1][1], closing[0])):
        realigned.append(char)
        end += 1
    behind = fold_text(text[end : end + 1] or "\n") if len(realigned) == len(wide) else ""
    observed = fold_text((text[start - 1] if start else "\n") + text[start:end]) + behind
    yield _Run(start, end, bytes(pair[0] for pair in wide), observed, [*realigned, *behind])


@cache
def _pair(lead: int, trail: int) -> str:
    return fold_text(decode_pair(bytes((lead, trail))) or "")


def _pair_score(previous: str, char: str) -> float:
    return pair_score(previous, char) if char else UNREADABLE


class _Gain(NamedTuple):
    gain: float
    at: int
    stop: int
    """Index of the next piece; 0 if the run is one."""


def _gains(run: _Run) -> dict[int, list[_Gain]]:
    """How much better the run reads from each index where a piece may begin: as one piece, and as several."""
    as_is, realigned = _sums(run.observed), _sums(["", *run.realigned])
    found: dict[int, list[_Gain]] = {}
    best, stop = float("-inf"), 0
    for i in range(len(run.leads) - 1, -1, -1):
        sign = SIGNS.get(run.leads[i])
        if sign is None:
            continue
        begin = _pair_score(run.observed[i], sign) - as_is[i] - (0.0 if _opens(run, i) else NOT_OPENING)
        if i < len(run.realigned):
            begin += _pair_score(sign, run.realigned[i]) + realigned[i + 1]
        found[i] = [_Gain(begin, i, 0)]
        if i + 1 < len(run.realigned) and stop > i + 1:
            found[i].append(_Gain(begin + best, i, stop))
        ahead = max(found[i]).gain - SEAM + as_is[i] - (realigned[i - 1] if i > 1 else 0.0)
        if ahead > best:
            best, stop = ahead, i
    return found


def _opens(run: _Run, i: int) -> bool:
    """Whether a piece may well begin here: with an opening sign, or a full stop and one (`。“` begins with `！`)."""
    return SIGNS[run.leads[i]] in "—…‘“〔〈《「『〖【" or run.observed[i + 1] == "！"


def _sums(text: Sequence[str]) -> list[float]:
    """For each character but the first: the score of all that follow the one before it."""
    scores = [_pair_score(a, b) for a, b in pairwise(text)]
    return [*reversed(list(accumulate(reversed(scores)))), 0.0]


def _pieces(run: _Run, least: float) -> Iterator[Piece]:
    """The pieces of a run, if it gains at least so much."""
    gains = _gains(run)
    best = max((gain for alternatives in gains.values() for gain in alternatives), default=None)
    if best is None or best.gain < least:
        return
    rivals = nlargest(MOST_RIVALS, map(max, gains.values()))
    starts = [_start(run, rival) for rival in rivals if rival.gain > best.gain - RIVALS]
    while best.stop:
        yield Piece(run.start + best.stop, starts)
        best = max(gains[best.stop])
        starts = [_start(run, best)]
    yield Piece(run.end, starts)


def _start(run: _Run, gain: _Gain) -> Start:
    stop = run.start + gain.stop if gain.stop else None
    return Start(run.start + gain.at, "trimmed-byte", frozenset((0xA1,)), stop)
