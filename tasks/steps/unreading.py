"""Taking back a wrong reading: a beam search from what was observed to what was written.

The observed characters are turned into the bytes that were read as them, and the bytes are parsed in the codec that
they were written in. At every character the search may also keep it as it stands, so damaged runs inside good text
are found as it goes; the language model decides. Where the parse cannot go on, bytes were lost: they are put back as
unknown bytes, and the model chooses among the characters that the known ones leave.

Work is linear in the text: at most `BEAM` states a character, and a bounded number of choices for each lost byte.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate, pairwise, takewhile
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from tasks.damage.misreadings import Misreading, bytes_read, read
from tasks.language import STEPS, UNSEEN, columns_of, fold_text, highest_score, pair_step, pair_steps
from tasks.scripts import codes

BEAM = 12
"""States kept after each character. Undamaged and whole text needs two or three; lost bytes fan out to `CHOICES`."""

CHOICES = 5
"""How many characters are tried where lost bytes leave several."""

MARK_MEANT = -2.0
"""For a `?` in damaged text that is meant: Chinese has another one."""

TRIED = 40
"""How many of them, the commonest, the search itself looks at; `choosing.py` knows all of them."""

MOST_OPTIONS = 400
"""Where more characters are possible, the rarer ones are no choice: nothing could make them sure."""

LOSS = -1.5
"""Cost of a lost byte, and `LOSS_OF_PAIR` of two: rarer than any pair of characters that the model knows well."""
LOSS_OF_PAIR = -2.0

FLOOR = UNSEEN - 0.5
"""What the model can't know costs no more than what it has never seen."""

LETTER = -3.5
"""Score of a letter beyond ASCII that was written in UTF-8: of a language that the model does not know, or what text
looks like that was read wrongly twice."""

LOST = -3.0
"""Score of the mark that readers leave in place of lost bytes, as it stands."""

SWITCH = -1.0
"""Cost of going from text that is as it should be to damaged text: damage comes in runs."""

SETTLED = 8.0
"""By so much the best state has to be ahead of the next before a stretch is passed over, and a stretch has to gain."""

IMPOSSIBLE = -1e6
"""Gain of what cannot be part of a repair: less than any run makes up for."""

LEAST_STRETCH = 4
"""Characters that a stretch has at least that is passed over without a search."""

SHORT_STRETCH, LONGEST_STRETCH = 40, 1_000
"""Observed characters of a stretch that are looked at first, and at most: another one may follow."""

MOST_BYTES = 4
"""Of a character."""

UNSURE_END = 2
"""Characters before the end of a stretch that are searched where more damage follows: bytes may be lost there."""

LEAST_LIKELY = -5.5
"""Score of a character that ends a stretch: what is read out of step is valid in GBK and Big5, but unlikely."""

WELL_WRITTEN = -4.0
"""Mean score of what needs no search for something better."""

GONE = {
    "windows-1252": frozenset((0x81, 0x8D, 0x8F, 0x90, 0x9D, 0xA0, 0xAD)),
    "windows-1251": frozenset((0x98, 0xA0, 0xAD)),
    "windows-874": frozenset((*range(0x81, 0x85), *range(0x86, 0x91), *range(0x98, 0xA1), 0xAD)),
}
"""Bytes that readers of single-byte codecs lose, the undefined ones, and filters drop: no-break space, soft hyphen."""

TRAILERS = frozenset(range(0x80, 0xC0))
"""Bytes that continue a character in UTF-8."""

LEADERS = frozenset(range(0xE2, 0xF0))
"""Bytes that begin the characters of East Asia in UTF-8."""

UTF8_AS_GBK = Misreading("utf-8", "gbk")
UTF8_AS_GB18030 = Misreading("utf-8", "gb18030")

LOST_PAIRS = (
    (frozenset((0xA2, 0xA6, 0xA8, *range(0xAA, 0xB0))), LEADERS),
    (frozenset(range(0xA1, 0xB0)), TRAILERS),
)
"""Pairs of bytes that UTF-8 can hold and GBK does not define, and some that it does (`_options` and the proof know):
across two characters, and within one."""

LOST_IN_A_ROW = ((2 * LOSS_OF_PAIR, (*LOST_PAIRS[0], *LOST_PAIRS[1])),)
"""Two of them without a mark between; a third can't follow, since no such pair begins with the first byte of a
character."""

LOST_MARKS = "?\ufffd"
"""What readers leave in place of bytes that they cannot read."""

_Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

Bytes = tuple[int | frozenset[int], ...]
"""Bytes, and for lost ones the set of those that can have been lost."""


class Repair(NamedTuple):
    """A run that was read wrongly, and what was written; offsets in characters of the searched text."""

    start: int
    end: int
    after: str
    gain: float
    """By how much the repair is likelier than what was observed: a logarithm to base 10."""
    quality: float
    """Mean score a character of the repair (-2.2 is news, -5 is nonsense)."""
    options: tuple[tuple[str, ...], ...]
    """For each character of `after`, those that the bytes leave; more than one where bytes were lost."""
    confidence: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether all bytes were there."""
        return all(len(o) == 1 for o in self.options)


class _Completed:
    """Characters that bytes completed, each as those that it can be. Compared by identity: there may be hundreds."""

    __slots__ = ("options", "sole", "tried")

    def __init__(self, options: tuple[tuple[str, ...], ...]) -> None:
        self.options = options
        self.tried = [[(char, fold(char), _least(char)) for char in chars[:TRIED]] for chars in options]
        """Those that the search looks at: as they are, as the model knows them, and what they score at least."""
        self.sole = self.tried[0][0] if len(options) == 1 and len(options[0]) == 1 else None
        """If it is one character, and no doubt which."""


class _Event(NamedTuple):
    """A step of a path: what a token added. The path is a list linked backwards."""

    before: "_Event | None"
    token: int
    """Offset of the observed character, or of the first of several."""
    end: int
    """Offset behind it."""
    out: str
    completed: _Completed | None
    """What its bytes completed; None: the token stands as observed."""


Place = Bytes | None
"""Where a path is: outside of damaged text (None), behind a repaired character (no bytes), or within one."""


class _State(NamedTuple):
    score: float
    """All scores and costs are multiples of 1/32: sums are exact in any order."""
    place: Place
    last: str
    """The last character, folded."""
    event: _Event | None


def unread(text: str, misreading: Misreading) -> list[Repair]:
    """The likeliest repairs of a text by taking one wrong reading for granted; those that can be proved.

    `text` should be no longer than a few thousand characters: all of it is held in memory many times over.
    """
    if misreading == UTF8_AS_GBK and _USER_DEFINED.search(text):
        misreading = UTF8_AS_GB18030
    repairs: list[Repair] = []
    start = 0
    for match in _RUN.finditer(text) if misreading.written == "utf-8" else ():
        whole = _whole(text, match.start(), match.end(), misreading)
        if whole is not None:
            repairs += _searched(text, start, match.start(), misreading)
            repairs.append(whole)
            start = match.end()
    return [*repairs, *_searched(text, start, len(text), misreading)]


_USER_DEFINED = re.compile("[\ue000-\ue765]")
"""A reader that shows one pair that GBK does not define shows them all."""

_RUN = re.compile("[^\x00-\x7f]{2,}+")
"""A run beyond ASCII: if it is UTF-8 as a whole, there is nothing to search. (GBK and Big5 have ASCII within.)"""


def _whole(text: str, start: int, end: int, misreading: Misreading) -> Repair | None:
    """The run as it was written, if all its bytes are there and make sense."""
    data = [bytes_read(char, misreading.read) for char in text[start:end]]
    if None in data:
        return None
    out = _decode(b"".join(d for d in data if d is not None), misreading.written)
    if not out:
        return None
    repair = _weighed(text, start, end, out, tuple((char,) for char in out))
    return repair if repair.gain > 0 and repair.quality > WELL_WRITTEN else None


def _searched(text: str, start: int, end: int, misreading: Misreading) -> list[Repair]:
    """Repairs within a stretch, found by the search."""
    piece = text[start:end]
    if piece.isascii():
        return []
    events = (_search(piece, *doubtful, misreading) for doubtful in doubtful_stretches(piece, misreading))
    repairs = (_repair(text, start, run, misreading) for event in events for run in _runs(event))
    return [repair for repair in repairs if repair is not None]


def _search(text: str, start: int, end: int, misreading: Misreading) -> _Event | None:
    """The likeliest path through a stretch of a text; what is around it stands as observed."""
    states = [_State(0.0, None, observe(text).folded[start - 1] if start else "\n", None)]
    index = tried = start
    while index < end:
        if index >= tried and text[index] > "\x7f" and not states[0].place:
            stretch = stretch_at(text, index, misreading, states[0].last)
            if stretch is not None and (
                _is_settled(states) or reads_as_prose(stretch.out, stretch.gain, stretch.score)
            ):
                states, index = [_passed(states, index, stretch)], stretch.end
                continue
            tried = index + LEAST_STRETCH
        states = _advanced(states, _token(text, index, misreading), misreading)
        index += 1
    if index < len(text):
        kept: _Candidates = {}
        for state in states:
            _keep(kept, state, _token(text, index, misreading))
        return max(kept.values(), key=_SCORE)[3]
    finished = [state for ways in (_finished(state, len(text) - 1, misreading) for state in states) for state in ways]
    return max(finished, key=_SCORE).event if finished else None


def doubtful_stretches(text: str, misreading: Misreading) -> list[tuple[int, int]]:
    """Where a repair can be likelier than what stands there; all of a text where bytes don't come in pairs.

    Between GBK and Big5 each character is one of the other codec or none at all. So what it scores at most is known,
    and by how much a run of them can gain: no path that is likelier than the text as it stands leaves these stretches.
    """
    if misreading.written == "utf-8" or misreading.read in GONE:
        return [(0, len(text))]
    gains = np.cumsum(_highest_gains(text, misreading))
    before = np.minimum.accumulate(np.append(0.0, gains[:-1]))
    behind = np.maximum.accumulate(gains[::-1])[::-1]
    can_gain = np.flatnonzero(np.diff(behind - before + SWITCH >= 0, prepend=False, append=False)).tolist()
    return list(zip(can_gain[::2], can_gain[1::2], strict=True))


def paired(text: str, misreading: Misreading) -> str:
    """Each character of a text as that of the other codec that its bytes are; those that are none are left out."""
    fits = (_fit((), char, misreading) for char in text)
    return "".join([fit[0].sole[0] for fit in fits if fit and fit[0].sole])


def _highest_gains(text: str, misreading: Misreading) -> _Floats:
    """By how much each character can be likelier at most if it was read wrongly, together with the one behind it."""
    fits = [_fit((), char, misreading) for char in text]
    soles = [fit[0].sole if fit else None for fit in fits]
    n = len(text)
    observed = columns_of(codes("\n" + observe(text).folded + "\n"))
    written = columns_of(codes("".join([sole[1] if sole else "\n" for sole in soles])))
    first = np.concatenate((observed[:n], np.append(observed[0], written[:-1]), written, observed[:-1]))
    then = np.concatenate((written, written, observed[2:], observed[1:]))
    outside, inside, leaving, kept = np.split(np.maximum(pair_steps(first, then) / STEPS, FLOOR), (n, 2 * n, 3 * n))
    lowest = np.array([sole[2] if sole else 0.0 for sole in soles])
    gains: _Floats = np.maximum(np.maximum(outside, inside), lowest) - kept[:-1] + np.maximum(leaving - kept[1:], 0.0)
    gains[[sole is None for sole in soles]] = IMPOSSIBLE
    gains[[char < "\x80" for char in text]] = 0.0
    return gains


def _is_settled(states: Sequence[_State]) -> bool:
    """Whether there is no doubt about what was written so far."""
    return len(states) == 1 or states[0].score - states[1].score >= SETTLED


class Stretch(NamedTuple):
    """Observed characters whose bytes are all there."""

    end: int
    out: str
    """What was written."""
    score: float
    gain: float
    """By how much that is likelier than what was observed."""


LEAST_PROSE, LEAST_GAIN_OF_PROSE, PROSE = 8, 2.0, -3.3
"""Characters of what is beyond doubt, by how much each has to be likelier than what was observed, their mean score."""


def reads_as_prose(out: str, gain: float, score: float) -> bool:
    """Whether a repair leaves no doubt: nothing that its bytes mean out of step, or with one lost, would read as well.

    Args:
        out: what was written.
        gain: by how much all of it is likelier than what was observed.
        score: of all of it.
    """
    n = len(out)
    return n >= LEAST_PROSE and gain >= LEAST_GAIN_OF_PROSE * n and score >= PROSE * n


def stretch_at(text: str, start: int, misreading: Misreading, last: str = "\n") -> Stretch | None:
    """What begins here and reads so well that it needs no search, nearly up to where it no longer does."""
    longest, out = _parse(text, start, misreading, last)
    if longest[-1].length < LEAST_STRETCH or longest[1].gain <= 0:  # perhaps the first character was meant as it stands
        return None
    most, end = len(out), longest[-1].end
    # Something is wrong near its end: nothing else follows a character but what is no part of one.
    if end < len(text) and text[end] >= "@":
        most = longest[-1].length - UNSURE_END
    found = next((place for place in reversed(longest) if place.length <= most), longest[0])
    if found.length < LEAST_STRETCH or found.gain < SETTLED or found.score <= WELL_WRITTEN * found.length:
        return None
    return Stretch(found.end, out[: found.length], found.score, found.gain)


class _Reached(NamedTuple):
    """A place where a character ends with a token, when all is taken for damaged from some place on."""

    end: int
    length: int
    """Characters so far."""
    score: float
    gain: float


def _parse(text: str, start: int, misreading: Misreading, last: str) -> tuple[list[_Reached], str]:
    """What can be taken for a stretch from here on, and where it can end."""
    found, out = _parse_up_to(start + SHORT_STRETCH, text, start, misreading, last)
    if found[-1].end + MOST_BYTES > start + SHORT_STRETCH:  # it may go on
        return _parse_up_to(start + LONGEST_STRETCH, text, start, misreading, last)
    return found, out


def _parse_up_to(end: int, text: str, start: int, misreading: Misreading, last: str) -> tuple[list[_Reached], str]:
    """The same, as far as some place."""
    observed = observe(text)
    before = observed.sums[start + 1] - _score(last, observed.folded[start])
    least = -math.inf if misreading.written == "utf-8" else LEAST_LIKELY
    shown = list(takewhile(len, map(_shown(misreading.read).__getitem__, text[start:end])))
    places = {n_bytes: place for place, n_bytes in enumerate(accumulate(map(len, shown)), start + 1)}
    out = _decoded_start(b"".join(shown), misreading.written)
    score, n_bytes = 0.0, 0
    found = [_Reached(start, 0, 0.0, 0.0)]
    for n, (char, folded) in enumerate(zip(out, fold_text(out), strict=True), 1):
        likely = _likely(last, folded, char)
        if likely < least or char < "\x80":
            break
        score, last = score + likely, folded
        n_bytes += 2 if misreading.written != "utf-8" or char < "\u0800" else 3 if char < "\U00010000" else 4
        place = places.get(n_bytes)
        if place is not None:
            found.append(_Reached(place, n, score, score - observed.sums[place] + before))
    return found, out


class _Shown(dict[str, bytes]):
    """The bytes that were read as a character of a codec; none where they are not known for sure."""

    def __init__(self, codec: str) -> None:
        super().__init__(dict.fromkeys(LOST_MARKS, b""))
        self.codec = codec

    def __missing__(self, char: str) -> bytes:
        shown = _all_bytes_read(char, self.codec)
        self[char] = data = shown[0] if len(shown) == 1 else b""
        return data


_shown = cache(_Shown)

_PAIRS = re.compile(rb"(?:[\x81-\xfe][\x40-\xfe])*+")


def _decoded_start(data: bytes, written: str) -> str:
    """What bytes are, up to the first that are no character of their codec."""
    if written != "utf-8":
        pairs = _PAIRS.match(data)
        data = pairs[0] if pairs else b""
    out, start = "", 0
    while start < len(data):
        try:
            return out + data[start:].decode(_CODECS[written])
        except UnicodeDecodeError as error:
            end = start + error.start
            char = _decode(data[end : end + 2], written) if written == "big5" else ""
            out, start = out + data[start:end].decode(_CODECS[written]) + char, end + 2
            if len(char) != 1:
                break
    return out


class Observed(NamedTuple):
    """A text as the model sees it."""

    folded: str
    sums: list[float]
    """Score of all characters before each place, and of all."""


@lru_cache(maxsize=4)
def observe(text: str) -> Observed:
    """What the model says to a text as it stands."""
    folded = fold_text(text)
    columns = columns_of(codes("\n" + folded))
    scores = np.maximum(pair_steps(columns[:-1], columns[1:]) / STEPS, FLOOR)
    return Observed(folded, [0.0, *scores.cumsum().tolist()])


@lru_cache(maxsize=1 << 15)
def _fit(pending: Bytes, char: str, misreading: Misreading) -> "_Fit | None":
    """What the bytes of a token complete behind those pending, if none was lost and there is no doubt about them."""
    shown = _all_bytes_read(char, misreading.read)
    if len(shown) != 1 or char in LOST_MARKS or (char < "\x80" and not pending):
        return None
    return _parsed(pending, tuple(shown[0]), misreading.written)


def _passed(states: Sequence[_State], index: int, stretch: Stretch) -> _State:
    """The state behind a stretch that begins behind the likeliest of these states."""
    first = stretch.out[0]
    folded = fold(first)
    joined = [(_switched(state) + _likely(state.last, folded, first), state) for state in states if not state.place]
    score, state = max(joined, key=_SCORE)
    score += stretch.score - _likely(states[0].last, folded, first)
    completed = _Completed(tuple((char,) for char in stretch.out))
    return _State(score, (), fold(stretch.out[-1]), _Event(state.event, index, stretch.end, stretch.out, completed))


def _switched(state: _State) -> float:
    """Score of a state if damaged text follows."""
    return state.score + SWITCH if state.place is None else state.score


class _Token(NamedTuple):
    """An observed character."""

    place: int
    char: str
    folded: str
    score: float
    """Of the character as it stands, behind what stands before it."""
    following: int | None
    """First byte of the next one, where this one is a mark for lost bytes."""


def _token(text: str, index: int, misreading: Misreading) -> _Token:
    char, observed = text[index], observe(text)
    score = LOST if char == "\ufffd" else observed.sums[index + 1] - observed.sums[index]
    following = _first_byte(text[index + 1 : index + 2], misreading.read) if char in LOST_MARKS else None
    return _Token(index, char, observed.folded[index], score, following)


def _first_byte(char: str, codec: str) -> int | None:
    """First byte of what was read as a character; none for a mark, which can stand for any."""
    data = bytes_read(char, codec) if char and char not in LOST_MARKS else None
    return data[0] if data else None


_Candidate = tuple[float, Place, str, _Event | None, str, _Completed | None]
"""A state to be: its score, place and last character, and what its event will say."""

_Candidates = dict[tuple[Place, str], _Candidate]
"""The best of each kind: what follows depends on the place and the last character alone."""

_SCORE = itemgetter(0)


def _advanced(states: Sequence[_State], token: _Token, misreading: Misreading) -> list[_State]:
    """The best states behind a token: all that it can be, coming from any state."""
    best: _Candidates = {}
    least = -math.inf
    for state in states:
        if state.place:
            _finish_and_keep(best, state, token, misreading)
        else:
            _keep(best, state, token)
        if state.score >= least:
            _feed(best, state, _moves(state.place or (), token.char, token.following, misreading), least)
        if len(best) >= BEAM and least == -math.inf:
            least = sorted(map(_SCORE, best.values()))[-BEAM]
    if not best:  # a path always remains: the text as it stands
        for state in states:
            _keep(best, state, token)
    start, end = token.place, token.place + 1
    return [
        _State(score, place, last, _Event(event, start, end, out, completed))
        for score, place, last, event, out, completed in sorted(best.values(), key=_SCORE, reverse=True)[:BEAM]
    ]


def _keep(best: _Candidates, state: _State, token: _Token) -> None:
    """The token as it stands."""
    score, place, last, event = state
    char, folded = token.char, token.folded
    kind: tuple[Place, str] = (None if place is None or char > "\x7f" else (), folded)
    if place is None:
        score += token.score
    else:
        score += LOST if char == "\ufffd" else _score(last, folded)
        score += MARK_MEANT if char == "?" else 0.0
    known = best.get(kind)
    if known is None or known[0] < score:
        best[kind] = (score, *kind, event, char, None)


def _finish_and_keep(best: _Candidates, state: _State, token: _Token, misreading: Misreading) -> None:
    """The token as it stands, behind what bytes that vanished complete: the best of that, if it is of its kind."""
    char, folded = token.char, token.folded
    kind = (() if char < "\x80" else None, folded)
    known = best.get(kind)
    least = known[0] if known is not None else -math.inf
    highest = LOST if char == "\ufffd" else max(highest_score(folded), FLOOR)
    meant = MARK_MEANT if char == "?" else 0.0
    for end in _ends(state.place or (), misreading):
        so_far = state.score + end.cost + meant
        if so_far + end.highest + highest <= least:
            continue
        for gain, last, out in _ways(state.last, end.completed):
            if so_far + gain + highest <= least:
                break  # the others are no better
            score = so_far + gain + (LOST if char == "\ufffd" else _score(last, folded))
            if score > least:
                least = score
                event = _Event(state.event, token.place - 1, token.place, out, end.completed)
                best[kind] = (score, *kind, event, char, None)


def _feed(best: _Candidates, state: _State, moves: "Sequence[_Move]", least: float) -> None:
    """The bytes of the token after those pending; one state for each choice of the characters that they complete."""
    _, _, before, event = state
    so_far = _switched(state)
    for cost, completed, place in moves:
        score = so_far + cost
        if completed.sole is not None:
            out, last, lowest = completed.sole
            ways: Sequence[_Way] = ((max(pair_step(before, last), lowest), last, out),)
        elif score >= least:
            ways = _ways(before, completed)
        else:  # not among the best
            continue
        for gain, last, out in ways:
            kind = (place, last)
            known = best.get(kind)
            if known is None or known[0] < score + gain:
                best[kind] = (score + gain, place, last, event, out, completed)


def _finished(state: _State, index: int, misreading: Misreading) -> list[_State]:
    """A state behind the bytes that may have vanished: runs end in the middle of a character when they do."""
    if not state.place:
        return [state]
    return [finished for end in _ends(state.place, misreading) for finished in _ended(state, index, end)]


def _ended(state: _State, index: int, end: "_End") -> Iterator[_State]:
    for gain, last, out in _ways(state.last, end.completed):
        yield _State(state.score + end.cost + gain, (), last, _Event(state.event, index, index + 1, out, end.completed))


_Fit = tuple[_Completed, Bytes]
"""What bytes complete, and what is pending then."""

_Move = tuple[float, _Completed, Bytes]
"""The same, with what it costs."""


@lru_cache(maxsize=1 << 14)
def _moves(pending: Bytes, char: str, following: int | None, misreading: Misreading) -> Sequence[_Move]:
    """All that the bytes of a token can do; `following` is the first byte of the next token if this one is a mark."""
    if char < "\x80" and not pending:
        return ()
    moves: list[_Move] = []
    for data in _all_bytes_read(char, misreading.read):
        moves += _fed_or_restored(pending, tuple(data), misreading)
    if char in LOST_MARKS and pending:
        moves += _fed(pending, _losses(misreading, following), (), misreading)
    return moves


def _fed_or_restored(pending: Bytes, data: Bytes, misreading: Misreading) -> list[_Move]:
    """Take the bytes of a token; where they don't fit, put back bytes that were lost before it."""
    fitting = _fed(pending, ((0.0, ()),), data, misreading)
    if not pending or (fitting and len(data) > 1):
        return fitting
    # A byte that was read as a character of its own can follow lost ones without showing that they are.
    losses = _losses(misreading, data[0])
    if not fitting and misreading == UTF8_AS_GBK:
        losses += LOST_IN_A_ROW
    return fitting + _fed(pending, losses, data, misreading)


class _End(NamedTuple):
    """How a character can end with bytes that vanished."""

    cost: float
    completed: _Completed
    highest: float
    """What that scores at most, without the cost."""


@lru_cache(maxsize=1 << 12)
def _ends(pending: Bytes, misreading: Misreading) -> Sequence[_End]:
    """All ways in which a character can end with bytes that vanished."""
    losses: Iterable[tuple[float, Bytes]] = ()
    if misreading.read in GONE or misreading.written == "utf-8":
        losses = _losses(misreading, None)
    elif len(pending) + 1 == _length(pending, misreading.written):
        losses = ((LOSS, (TRAILERS,)),)
    moves = _fed(pending, losses, (), misreading)
    return [_End(cost, done, _highest(done)) for cost, done, rest in moves if not rest]


def _highest(completed: _Completed) -> float:
    return sum(max(max(highest_score(folded), lowest) for _, folded, lowest in chars) for chars in completed.tried)


def _fed(pending: Bytes, losses: Iterable[tuple[float, Bytes]], data: Bytes, misreading: Misreading) -> list[_Move]:
    """Parse bytes after those pending, with lost ones before them; one move for each kind of loss that fits."""
    parsed = ((cost, _parsed(pending, (*lost, *data), misreading.written)) for cost, lost in losses)
    return [(cost, *fit) for cost, fit in parsed if fit is not None]


@cache
def _all_bytes_read(char: str, codec: str) -> tuple[bytes, ...]:
    """All that can have been read as a character: GB18030 has another `€` where GBK has none."""
    data = bytes_read(char, codec)
    return (b"\x80", b"\xa2\xe3") if (char, codec) == ("€", "gb18030") else () if data is None else (data,)


@cache
def _losses(misreading: Misreading, following: int | None) -> tuple[tuple[float, Bytes], ...]:
    """What can have been lost before a byte (None: not known), and at what cost."""
    if misreading.read in GONE:
        return ((LOSS, (GONE[misreading.read],)),)
    if misreading.written != "utf-8":
        return ()  # two bytes read as two: a lost pair is a lost character
    single = frozenset(b for b in TRAILERS if following is None or not _is_pair(b, following))
    pairs = [(LOSS_OF_PAIR, pair) for pair in LOST_PAIRS] if misreading == UTF8_AS_GBK else []
    return ((LOSS, (single,)), *pairs) if single else tuple(pairs)


@cache
def _is_pair(lead: int, trail: int) -> bool:
    """Whether two bytes are a character of GBK."""
    pair = bytes((lead, trail)).decode("gbk", "replace")
    return lead > 0x80 and len(pair) == 1 and pair != "\ufffd"


_Way = tuple[float, str, str]
"""A choice of the characters that bytes completed: what they score, the last one folded, all of them."""


@lru_cache(maxsize=1 << 13)
def _ways(last: str, completed: _Completed) -> list[_Way]:
    """The best choices behind a character."""
    paths = [(0.0, last, "")]
    for options in completed.tried:
        longer = [
            (score + max(pair_step(before, folded), lowest), folded, out + char)
            for score, before, out in paths
            for char, folded, lowest in options
        ]
        paths = sorted(longer, reverse=True)[:CHOICES]
    return paths


@lru_cache(maxsize=1 << 14)
def _parsed(pending: Bytes, data: Bytes, written: str) -> _Fit | None:
    """The characters that bytes complete after those pending, and what is pending then."""
    completed: list[tuple[str, ...]] = []
    for byte in data:
        if not pending and isinstance(byte, int) and byte < 0x80:
            completed.append((chr(byte),))
            continue
        pending = (*pending, byte)
        length = _length(pending, written)
        if not length or not _can_follow(pending, written):
            return None
        if len(pending) == length:
            options = _options(pending, written)
            if not options:
                return None
            completed.append(options)
            pending = ()
    return _Completed(tuple(completed)), pending


def _length(pending: Bytes, written: str) -> int:
    """Bytes of the character that begins like this; 0 if none does."""
    first = pending[0]
    if not isinstance(first, int):
        return 3 if written == "utf-8" else 2  # ideographs and their signs
    if written != "utf-8":
        return 2 if 0x81 <= first <= 0xFE else 0
    if 0xC2 <= first <= 0xDF:
        return 2
    return 3 if 0xE0 <= first <= 0xEF else 4 if 0xF0 <= first <= 0xF4 else 0


def _can_follow(pending: Bytes, written: str) -> bool:
    last = pending[-1]
    if len(pending) == 1 or not isinstance(last, int):
        return True
    return 0x80 <= last <= 0xBF if written == "utf-8" else 0x40 <= last <= 0xFE


@lru_cache(maxsize=1 << 13)
def _options(pending: Bytes, written: str) -> tuple[str, ...]:
    """Characters that bytes, known and lost, can stand for, the commonest first."""
    known = [b for b in pending if isinstance(b, int)]
    if len(known) == len(pending):
        out = _decode(bytes(known), written)
        return (out,) if len(out) == 1 else ()
    first = pending[0]
    if isinstance(first, int):
        chars, data = _common_with_first(written, len(pending))[first]
    else:
        chars, data = _common(written, len(pending))
    can_be = np.ones(len(chars), np.bool_)
    for byte, of_all in zip(pending, data, strict=True):
        can_be &= of_all == byte if isinstance(byte, int) else _is_any(byte)[of_all]
    if len(known) == 1 and len(pending) == 3 and isinstance(first, int):  # two bytes that were lost as a pair
        can_be &= ~_pairs()[data[1] - 0x80, data[2] - 0x80]
    return tuple(chars[can_be][:MOST_OPTIONS].tolist())


_Chars = np.ndarray[tuple[int], np.dtype[np.str_]]
_Bytes = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@cache
def _common(written: str, length: int) -> tuple[_Chars, _Bytes]:
    """Characters of so many bytes that are tried where some are lost, and a row of each of their bytes."""
    fitting = [(char, data) for char, data in _encoded(written) if len(data) == length]
    rows = np.frombuffer(b"".join([data for _, data in fitting]), np.uint8).reshape(-1, length)
    return np.array([char for char, _ in fitting], np.str_), rows.T.copy()


@cache
def _common_with_first(written: str, length: int) -> list[tuple[_Chars, _Bytes]]:
    """The same for each first byte."""
    chars, data = _common(written, length)
    order = np.argsort(data[0], kind="stable")
    chars, data = chars[order], data[:, order]
    starts = np.searchsorted(data[0], np.arange(257)).tolist()
    return [(chars[start:end], data[:, start:end]) for start, end in pairwise(starts)]


def prepare_search() -> None:
    """Build the tables of lost characters: processes that are forked afterwards have them."""
    for written, length in (("utf-8", 3), ("gbk", 2), ("big5", 2)):
        _common_with_first(written, length)


@cache
def _encoded(written: str) -> list[tuple[str, bytes]]:
    """Signs and ideographs of GB2312, common ideographs of Big5, a space, in a codec; the commonest first."""
    gb2312 = ((a, b) for a in (*range(0xA1, 0xA4), *range(0xB0, 0xF8)) for b in range(0xA1, 0xFF))
    big5 = ((a, b) for a in range(0xA4, 0xC7) for b in (*range(0x40, 0x7F), *range(0xA1, 0xFF)))
    common = (pair for pair in big5 if pair < (0xC6, 0xA1))
    chars = dict.fromkeys([*decoded_pairs(gb2312, "gb2312"), *decoded_pairs(common, "big5")])
    wide = [char for char in chars if not (char > "\uff00" and char.isalnum())]  # `１` is written in ASCII
    wide.append("\xa0")
    scores = (pair_step("\ue000", folded) for folded in fold_text("".join(wide)))
    ordered = sorted(zip((-score for score in scores), wide, strict=True))
    return [(char, char.encode(written, "ignore")) for _, char in ordered]


def decoded_pairs(pairs: Iterable[tuple[int, int]], codec: str) -> list[str]:
    """The characters that pairs of bytes are, of those that are one."""
    lines = b"\n".join(map(bytes, pairs)).decode(codec, "ignore").split("\n")
    return [line for line in lines if len(line) == 1 and line > "\x7f"]


@lru_cache(maxsize=1 << 10)
def _is_any(byte: "frozenset[int]") -> _Flags:
    """For each byte, whether it is one of these."""
    flags = np.zeros(256, np.bool_)
    flags[list(byte)] = True
    return flags


@cache
def _pairs() -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
    """For each two bytes that continue a character in UTF-8, whether they are one of GBK."""
    return np.array([[_is_pair(a, b) for b in sorted(TRAILERS)] for a in sorted(TRAILERS)])


def _decode(data: bytes, written: str) -> str:
    """The text that the bytes are in full, or nothing."""
    try:
        return data.decode(_CODECS[written])
    except UnicodeDecodeError:
        out = read(data, "big5") if written == "big5" else "\ufffd"
        return "" if "\ufffd" in out else out


_CODECS = {"gbk": "gb18030", "big5": "cp950", "utf-8": "utf-8"}
"""What decodes nearly all that was written in a codec, of which there are several."""


@cache
def fold(char: str) -> str:
    """A character as the model knows it."""
    return fold_text(char)


def _score(last: str, char: str) -> float:
    """The model's; what it can't know costs no more than what it has never seen."""
    return max(pair_step(last, char), FLOOR)


def _likely(last: str, folded: str, char: str) -> float:
    """Score of a repaired character."""
    return max(pair_step(last, folded), _least(char))


@cache
def _least(char: str) -> float:
    """What a repaired character costs at the most."""
    return LETTER if "\x7f" < char < "\u0800" or "\u2010" < char < "\u2123" else FLOOR


def _runs(event: _Event | None) -> Iterator[list[_Event]]:
    """Runs of repaired tokens along a path, in order, each with the event before it left out."""
    path: list[_Event] = []
    while event is not None:
        path.append(event)
        event = event.before
    run: list[_Event] = []
    for step in reversed(path):
        if step.completed is None:
            if run:
                yield run
            run = []
        else:
            run.append(step)
    if run:
        yield run


def _repair(text: str, offset: int, run: list[_Event], misreading: Misreading) -> Repair | None:
    """What a run of a path (in the text from `offset` on) amounts to, if it can be proved."""
    start, end = offset + run[0].token, offset + run[-1].end
    guess = "".join(event.out for event in run)
    options = tuple(o for event in run if event.completed is not None for o in event.completed.options)
    if not guess or not is_proved(text[start:end], options, misreading):
        return None
    return _weighed(text, start, end, guess, options)


def _weighed(text: str, start: int, end: int, guess: str, options: tuple[tuple[str, ...], ...]) -> Repair:
    observed = observe(text)
    folded = fold_text(guess)
    new = sum(map(_likely, (observed.folded[start - 1] if start else "\n") + folded, folded, guess))
    gain = new - observed.sums[end] + observed.sums[start]
    return Repair(start, end, guess, gain, new / len(guess), options)


def is_proved(observed: str, options: Sequence[tuple[str, ...]], misreading: Misreading) -> bool:
    """Whether a text, read wrongly, gives what was observed: bytes are shown as they are, or lost as readers do.

    `options` has for each character of the text what it can be: a single one if it is known.
    """
    try:
        if _is_shown_whole(observed, options, misreading):
            return True
        data = [byte for chars in options for byte in _bytes(chars, misreading.written)]
    except UnicodeEncodeError:
        return False
    # A proof for which bytes are taken as shown wherever they can be is the rule, and quick to find.
    return any(_is_proved(observed, data, misreading, thorough=thorough) for thorough in (False, True))


def _is_shown_whole(observed: str, options: Sequence[tuple[str, ...]], misreading: Misreading) -> bool:
    """Whether what was observed shows all bytes as they are, none of them lost.

    Raises:
        UnicodeEncodeError: if the codec lacks one of the characters.
    """
    shown = [_all_bytes_read(char, misreading.read) for char in observed]
    if not all(shown) or any(len(chars) > 1 for chars in options):
        return False
    text = "".join([chars[0] for chars in options])
    return b"".join([data[0] for data in shown]) == text.encode(_encoding(misreading.written))


def _encoding(written: str) -> str:
    return "gb18030" if written == "gbk" else written


def _is_proved(observed: str, data: "Sequence[Byte]", misreading: Misreading, *, thorough: bool) -> bool:
    places = {0}
    for char in observed:
        reached = set[int]() if thorough else _behind_shown(char, places, data, misreading)
        if not reached:
            places = _after_losses(places, data, misreading)
            reached = _behind_shown(char, places, data, misreading)
            if char in LOST_MARKS:
                reached |= {i + n for i in places for n in _lost_at(data, i, misreading, marked=True)}
            if char == " " and misreading.read in GONE:  # filters turn the no-break space into a space
                reached |= {i + 1 for i in places if i < len(data) and 0xA0 in data[i]}
        if not reached:
            return False
        places = reached
    return len(data) in _after_losses(places, data, misreading)


def _behind_shown(char: str, places: set[int], data: "Sequence[Byte]", misreading: Misreading) -> set[int]:
    """Places in the bytes behind a character that shows those at one of these places."""
    shown = _all_bytes_read(char, misreading.read)
    return {i + len(s) for s in shown for i in places if _is_shown(s, data[i : i + len(s)])}


Byte = frozenset[int]
"""What a byte can be."""


@lru_cache(maxsize=10_000)
def _bytes(chars: tuple[str, ...], written: str) -> tuple[Byte, ...]:
    """What each byte of a character can be."""
    codec = _encoding(written)
    return tuple(map(frozenset, zip(*(char.encode(codec) for char in chars), strict=True)))


def _is_shown(shown: bytes, data: Sequence[Byte]) -> bool:
    return len(shown) == len(data) and all(a in b for a, b in zip(shown, data, strict=True))


def _after_losses(places: set[int], data: Sequence[Byte], misreading: Misreading) -> set[int]:
    """Places in the bytes that are reached without anything shown; two losses can follow each other."""
    for _ in range(2):
        places = places | {i + n for i in places for n in _lost_at(data, i, misreading, marked=False)}
    return places


def _lost_at(data: Sequence[Byte], i: int, misreading: Misreading, *, marked: bool) -> Iterator[int]:
    """How many bytes a reader can lose here; where he leaves a mark, he may have swallowed an ASCII sign as well."""
    if i >= len(data):
        return
    if misreading.read in GONE:
        if data[i] & GONE[misreading.read]:
            yield 1
    elif max(data[i]) >= 0x80:
        undefined = i + 1 == len(data) or _can_be_undefined(data[i], data[i + 1])
        if marked or undefined:
            yield 1
        if undefined and i + 1 < len(data) and max(data[i + 1]) >= 0x40:
            yield 2


@lru_cache(maxsize=10_000)
def _can_be_undefined(leads: Byte, trails: Byte) -> bool:
    return not all(_is_pair(a, b) for a in leads for b in trails)
