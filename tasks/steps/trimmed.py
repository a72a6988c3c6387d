"""Pieces of a page that a trim of A1 bytes took the first byte from: `保障!笆サ剀` for `保障。“圣地`.

No gloss marks where such a run begins. But its bytes are known: read with the byte A1 in front, the run is text again
up to one wrong character for each pair that vanished. How much better it reads so is summed up in one pass, for all
places where it may begin; the search behind `shift` is asked for the best of them only.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
from heapq import nlargest
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.damage.mangler import decode_pair, encode
from tasks.language import (
    STEPS,
    Kinds,
    column,
    columns_in,
    columns_of,
    fold_width,
    kinds_in,
    pair_steps,
    table_of_kinds,
)
from tasks.scripts import codes, simplify
from tasks.steps.realign import characters

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


_Ints = NDArray[np.int64]


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
        for run in _runs(text, _stretches(text), LEAST_GAIN_MARKED if ends else LEAST_GAIN_MANGLED):
            yield from _pieces(run, LEAST_GAIN_MARKED if run.end in ends else LEAST_GAIN_MANGLED)


def _is_foreign(text: str) -> bool:
    """Whether a text has many words that shifted bytes make none of: Japanese has one in every line."""
    return sum(1 for _ in islice(_FOREIGN.finditer(text), MANY_FOREIGN)) == MANY_FOREIGN


def _has_clear_case(text: str) -> bool:
    """Whether a run with rare characters close together, other than foreign words, gains much."""
    places = (kinds_in(text, _table_of_rare()) & _RARE).nonzero()[0]
    if len(places) < 2 or (places[1:] - places[:-1]).min() > 2:
        return False
    spans = _stretches(text)
    after = spans[:, 0].searchsorted(places, side="right")
    near = (places[1:] - places[:-1] <= 2) & (after[1:] == after[:-1])
    near &= np.append(0, spans[:, 1]).take(after[1:]) > places[1:]
    runs = _runs(text, spans[np.unique(after[1:][near]) - 1], LEAST_GAIN)
    return any(True for run in runs for _ in _pieces(run, LEAST_GAIN))


_RARE, _LETTERS = 1, 2


def prepare() -> None:
    """Make the tables: processes that are forked afterwards have them."""
    _table_of_rare(), _two_bytes(), _signs(), characters(), columns_in("")


@cache
def _table_of_rare() -> Kinds:
    """The cheap test for a shift that no gloss marks, and for words that are foreign."""
    pairs = (bytes((a, b)) for a in range(0x81, 0xFF) for b in range(0x40, 0xFF) if b != 0x7F)
    chars = "".join(filter(None, map(decode_pair, pairs)))
    rare = (char for char, simplified in zip(chars, simplify(chars), strict=True) if _is_rare(char, simplified))
    return table_of_kinds(rare, map(chr, _FOREIGN_LETTERS))


def _is_rare(char: str, simplified: str) -> bool:
    """Kana, Greek and Cyrillic, and ideographs beyond the 3,755 common ones that GB2312 sorts first (lead below D8)."""
    if char < "\u3400":
        return char > "\u3040" or "\u0370" < char < "\u0500"
    try:
        return simplified.encode("gb2312") >= b"\xd8"
    except UnicodeEncodeError:
        return True


_FOREIGN = re.compile("[\u3040-\u309f]{2}|[\u30a0-\u30ff]{3}|[\u0370-\u03ff]{3}|[\u0400-\u04ff]{3}")
"""Words in kana, Greek or Cyrillic: what shifted bytes make of these comes one by one."""

_FOREIGN_LETTERS = (*range(0x370, 0x500), *range(0x3040, 0x3100))


def _stretches(text: str) -> _Ints:
    """Where wide characters begin and end, with the ASCII sign that may be the second byte of the last one.

    A `!` before them is taken for a wide one. Those with a foreign word are left out.
    """
    chars = codes(f"\n{text}\n")  # one further on
    wide = (chars > 0x7F) & (chars != 0xFFFD)
    edges = (wide[1:] != wide[:-1]).nonzero()[0]  # that many in the text: the first one is a line end
    starts, ends = edges[::2], edges[1::2]
    second = chars.take(ends + 1)
    spans = np.stack((starts - (chars.take(starts) == ord("!")), ends + (second >= 0x40) * (second <= 0x7E)), axis=1)
    if not (kinds_in(text, _table_of_rare()) & _LETTERS).any():
        return spans
    foreign = [match.start() for match in _FOREIGN.finditer(text)]
    return np.delete(spans, spans[:, 0].searchsorted(foreign, side="right") - 1, axis=0)


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
    """Characters of two bytes up to what puts the decoder back in step, and where in it a piece may begin."""

    start: int
    end: int
    n_realigned: int
    """Characters that begin in the middle of one of its own, with the one behind it."""
    places: list[int]
    """Where a sign of row A1 may begin, from the start of the run."""
    begin: list[float]
    """How much better the run reads if it is one piece from there on."""
    ahead: list[float]
    """What is to be added for the run before that, if it is realigned as well."""


BLOCK = 1 << 14
"""Characters of which the stretches that begin there are looked at together: more than that the caches do not hold."""


def _runs(text: str, stretches: _Ints, least: float, ends: Collection[int] = ()) -> Iterator[_Run]:
    """The runs in these stretches that may gain so much, or that end at one of `ends` and may gain anything."""
    marked = np.zeros(len(text) + 1, np.bool_)
    marked[list(ends)] = True
    block = stretches[:, 0] // BLOCK
    for some in np.split(stretches, (block[1:] != block[:-1]).nonzero()[0] + 1) if len(block) else ():
        first = max(int(some[0, 0]) - 1, 0)  # with the character before, and as many behind as are looked at
        around = slice(first, int(some[-1, 1]) + 2)
        for run in _runs_near(text[around], some - first, least, marked[around]):
            yield run._replace(start=run.start + first, end=run.end + first)


def _runs_near(text: str, stretches: _Ints, least: float, marked: NDArray[np.bool_]) -> Iterator[_Run]:
    """The same for stretches that are near each other.

    All that is in them is scored at once, in steps of 1/32, so that it can be summed up in any order.
    """
    chars = codes(f"{text}\n\n").astype(np.int64)
    data = _two_bytes().take(chars, mode="clip")
    known = columns_in(f"\n{text}\n\n")  # with the line ends around it, so one further on
    edges = _edges(chars, data, stretches)
    run, offset, begin, ahead = _begins(data, known, edges, _slots(data, known, edges))
    first = _firsts(run)
    enough = np.where(marked.take(edges.end.take(run.take(first))), LEAST_GAIN_MARKED, least)
    bounds = [*first.tolist(), len(run)]
    for i in (_most_gained(begin, ahead, first) >= enough * STEPS).nonzero()[0].tolist():
        rows, of = slice(bounds[i], bounds[i + 1]), int(run[bounds[i]])
        edge = int(edges.start[of]), int(edges.end[of]), int(edges.n_realigned[of])
        gains = (begin[rows] / STEPS).tolist(), (ahead[rows] / STEPS).tolist()
        yield _Run(*edge, offset[rows].tolist(), *gains)


def _begins(data: _Ints, known: _Ints, edges: "_Edges", slots: "_Slots") -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """Where signs of row A1 may begin: the run, the place in it, and what `_Run` has as `begin` and `ahead`."""
    lead = data.take(slots.place) >> 8
    at = ((_signs().take(lead) >= 0) & (slots.offset < edges.width.take(slots.run))).nonzero()[0]
    run, place, offset, lead = (column.take(at) for column in (slots.run, slots.place, slots.offset, lead))
    sign, end, new = _signs().take(lead), slots.ends.take(run), slots.realigned
    old = slots.as_is.take(end) - slots.as_is.take(at)
    begin = _steps(sign, slots.columns.take(at)) + new.take(end) - new.take(at + 1)
    begin *= offset < edges.n_realigned.take(run)
    begin += pair_steps(known.take(place), sign) - old
    begin -= round(NOT_OPENING * STEPS) * ~(_OPENS.take(lead) | (known.take(place + 1) == column("！")))
    return run, offset, begin, old - (new.take(end) - new.take(at - 1)) * (offset > 1)


def _firsts(run: _Ints) -> _Ints:
    """The first row of each run."""
    first: _Ints = (run[1:] != run[:-1]).nonzero()[0] + 1
    return np.concatenate(([0], first)) if len(run) else first


def _most_gained(begin: _Ints, ahead: _Ints, first: _Ints) -> _Ints:
    """No run gains more, however many pieces it is made of."""
    pieces = np.maximum(begin + ahead - round(SEAM * STEPS), 0)
    most: _Ints = np.maximum.reduceat(begin, first) + np.add.reduceat(pieces, first) if len(first) else first
    return most


class _Edges(NamedTuple):
    """Runs, a row each, up to what puts the decoder back in step."""

    start: _Ints
    width: _Ints
    """Characters of two bytes."""
    second: _Ints
    """The ASCII sign behind these that is the second byte of what begins in the middle of the last one, or 0."""
    end: _Ints
    closes: NDArray[np.bool_]
    """Whether it ends with an ASCII byte, so that it is known what it is read before."""
    n_realigned: _Ints
    """Characters that begin in the middle of one, and the one behind them."""


def _edges(chars: _Ints, data: _Ints, stretches: _Ints) -> _Edges:
    """All runs of stretches of wide characters: some of these have a second byte that is an ASCII sign."""
    lengths = stretches[:, 1] - stretches[:, 0]
    firsts = lengths.cumsum() - lengths
    places = np.arange(lengths.sum()) + (stretches[:, 0] - firsts).repeat(lengths)
    begins = np.append(True, data.take(places) & 0x80 == 0)[: len(places)]
    begins[firsts] = True
    first = begins.nonzero()[0]
    length = np.concatenate((first[1:], [len(places)])) - first
    width = length - (data.take(places.take(first + length - 1)) == 0)
    start, length, width = (column[width > 0] for column in (places.take(first), length, width))
    end = start + width
    last, behind = data.take(end - 1) & 0xFF, chars.take(end)
    joins = (length > width) & (behind < 0x80)
    joins &= characters().codes.take(last << 8 | behind * joins) != 0
    closes = joins | (last < 0x80)
    return _Edges(start, width, behind * joins, end + joins, closes, width - 1 + 2 * closes)


class _Slots(NamedTuple):
    """What begins in the middle of each character of the runs, a row each, and what is behind each run."""

    run: _Ints
    offset: _Ints
    """In its run."""
    place: _Ints
    """In the text."""
    columns: _Ints
    """What it is for the language model; -1 for no character."""
    realigned: _Ints
    """Sums of the scores of all before it, and of all."""
    as_is: _Ints
    """The same for the text as it stands."""
    ends: _Ints
    """Row of the first one behind each run."""


def _slots(data: _Ints, known: _Ints, edges: _Edges) -> _Slots:
    ends = (edges.width + 1).cumsum()
    firsts = ends - edges.width - 1
    run = np.arange(len(ends)).repeat(edges.width + 1)
    index = np.arange(len(run)) - firsts.take(run)
    place = edges.start.take(run) + index
    second = data.take(place + 1) >> 8
    second[ends - 2] = edges.second
    pairs = (data.take(place) & 0xFF) << 8 | second
    columns = np.where(characters().codes.take(pairs) == 0, -1, characters().columns.take(pairs))
    last = data.take(place.take(ends - 2)) & 0xFF
    columns[ends - 2] = np.where(last < 0x80, columns_of(last), columns.take(ends - 2))
    columns[ends - 1] = known.take(edges.end + 1)
    before = np.append(-1, columns[:-1])
    before[firsts] = -1
    before[before < 0] = column(NOTHING)
    steps = _steps(before, columns) * (index < edges.n_realigned.take(run))
    as_is = pair_steps(known.take(place), known.take(place + 1)) * (index < (edges.width + edges.closes).take(run))
    as_is[ends - 1] += pair_steps(known.take(edges.end), known.take(edges.end + 1)) * (edges.second != 0)
    return _Slots(run, index, place, columns, _sums(steps), _sums(as_is), ends)


NOTHING = "\0"
"""Where there is no character: the language model does not know this one."""


def _steps(before: _Ints, chars: _Ints) -> _Ints:
    """Scores of characters (-1 for none) after others."""
    steps: _Ints = np.where(chars < 0, round(UNREADABLE * STEPS), pair_steps(before, chars))
    return steps


def _sums(steps: NDArray[Any]) -> _Ints:
    """Sums of all that go before, and of all."""
    return np.append(0, steps.cumsum(dtype=np.int64))


class _Gain(NamedTuple):
    gain: float
    at: int
    stop: int
    """Index of the next piece; 0 if the run is one."""


def _gains(run: _Run) -> dict[int, list[_Gain]]:
    """How much better the run reads from each index where a piece may begin: as one piece, and as several."""
    found: dict[int, list[_Gain]] = {}
    best, stop = float("-inf"), 0
    for i, begin, ahead in zip(run.places[::-1], run.begin[::-1], run.ahead[::-1], strict=True):
        found[i] = [_Gain(begin, i, 0)]
        if i + 1 < run.n_realigned and stop > i + 1:
            found[i].append(_Gain(begin + best, i, stop))
        gain = max(found[i]).gain - SEAM + ahead
        if gain > best:
            best, stop = gain, i
    return found


@cache
def _signs() -> _Ints:
    """Lead byte that is the second one of a sign of row A1 → the column of that sign; -1 for others."""
    table = np.full(0x100, -1)
    table[list(SIGNS)] = columns_of(codes("".join(SIGNS.values())))
    return table


_OPENS = np.array([SIGNS.get(lead, " ") in "—…‘“〔〈《「『〖【" for lead in range(0x100)])
"""Lead bytes that are second ones of signs that a piece may well begin with."""


@cache
def _two_bytes() -> _Ints:
    """The two bytes of each character of GBK, as `first_bytes` has them, in one number; 0 for none."""
    table = np.zeros(0x10000, np.int64)
    pairs = [(lead, trail) for lead in range(0x81, 0xFF) for trail in (*range(0x40, 0x7F), *range(0x80, 0xFF))]
    chars = codes(b"".join(map(bytes, pairs)).decode("gb18030"))  # all of them are characters, if user-defined ones
    table[chars] = [lead << 8 | trail for lead, trail in pairs]
    for char in map(chr, (*range(0x80), ord("€"))):
        data = first_bytes(char)
        table[ord(char)] = int.from_bytes(data) if len(data) == 2 else 0
    return table


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
