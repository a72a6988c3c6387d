"""The search for the text behind a misaligned run of GBK: a beam search over byte strings.

What is seen gives bytes, a mark stands for a byte that was lost, and pairs that are no characters may have vanished
anywhere in the run (`tasks.damage.mangler` is the model). Each hypothesis is a Traditional text that explains all
bytes so far, scored by the language model; the run ends where an ASCII byte puts the decoder back in step.
"""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from tasks.damage.mangler import decode_pair, encode
from tasks.language import STEPS, Scores, column, fold_text, next_score, next_scores
from tasks.scripts import simplified_only
from tasks.steps.pinyin import reads

BEAM = 64
"""Hypotheses kept after each token."""

LOST_BEAM = 16
"""Hypotheses for which another vanished pair is tried."""

LOST_PAIRS = 2
"""Vanished pairs in a row that are tried. Two stand in seed 003."""

CHOICES = 40
"""Characters tried for a pair of which a byte is unknown, commonest first. Those that often follow the character before
beside them: no more runs right, and more of them wrong."""

HOPELESS = 10.0
"""Hypotheses this far behind the best one (decimal logarithms) are dropped."""

TWINS = 2
"""Hypotheses kept that cannot be told apart from here on: the second shows how sure the first one is."""

SURE = 20
"""A run has ended where this many of the best hypotheses are in step with what is seen."""

ENOUGH_TO_TELL = 5
GARBAGE = -4.6
"""From this many tokens on the best text has to read better than this a character, or there is none. News is at -2.2,
what the search finds in noise mostly at -5 and below."""

LENGTH_BONUS = 0.4
"""Added for each vanished pair: the model finds long texts less likely than they are, so it would rather have none. 0
to 0.6 repair the same number of 60 runs."""

OUTSIDE_TABLE = -1.0
"""Score of a gloss whose character is not in the table that the document shows elsewhere."""

WRONG_SCRIPT = -4.0
"""Score of a character that step 1 of the mangler would have converted."""

OPEN = "\ufffd"
"""Stands for what cannot be known."""

ENDS_PIECE = "。！？；…”』」"
"""Signs that a site cuts behind when it mangles sentence by sentence: nothing that could be swallowed comes next."""

LEADS = frozenset(range(0x81, 0xFF))
TRAILS = frozenset(range(0x40, 0xFF)) - {0x7F}

TRACELESS = "\0"
"""The mark of decoders that drop a byte without a trace: it may stand before ASCII and at the end of a line."""


class Table(NamedTuple):
    """What is known of the site's gloss table."""

    glosses: frozenset[str]
    """Characters that the site glosses."""
    certain: frozenset[str]
    """Characters that never stand without their gloss."""


class Token(NamedTuple):
    """A piece of the observed text: known bytes, a gloss, a mark, or a gloss behind a mark."""

    end: int
    """Offset behind it in the observed text."""
    data: bytes = b""
    reading: str = ""
    mark: str = ""
    swallowed: bool = False
    """Whether the decoder swallowed an ASCII sign together with the byte that the mark stands for."""


class State(NamedTuple):
    """A hypothesis: a Traditional text that explains what was read so far."""

    score: float
    text: str
    context: str
    """Its last two characters, as the language model knows them."""
    pending: frozenset[int] | None = None
    """Possible values of a lead byte whose trail is still to come; None where the text is in step."""
    due: bool = False
    """Whether the last character is of the site's table, so that its gloss has to come next."""
    split: bool = False
    """Whether a gloss stands behind the first byte of the character to come, so that the site could not see it."""


def search(tokens: Iterable[Token], begin: State, table: Table, *, lossy: bool) -> Iterator[tuple[int, list[State]]]:
    """Hypotheses, best first, at every place where the run may have ended, nearest first.

    Args:
        tokens: the observed text from the first byte that is out of step.
        begin: the text before the run (its last character at least).
        table: what the document shows of the site's glosses.
        lossy: whether undefined pairs vanished (False where the decoder kept them as private-use characters).

    Yields:
        The offset of the end in the observed text, and the states that are in step there.
    """
    states = [begin]
    ahead = iter(tokens)
    token, i = next(ahead, None), -1
    while token is not None:
        upcoming, i = next(ahead, None), i + 1
        loses = lossy and (upcoming is None or token.reading or token.mark != TRACELESS)
        states = _best(_advance(states, token, table, lossy=bool(loses)), table, BEAM)
        if not states or (i >= ENOUGH_TO_TELL and states[0].score < GARBAGE * len(states[0].text)):
            return
        in_step = [s for s in states if s.pending is None and not s.due]
        if (i or len(token.data) == 2) and in_step and _may_end(token, upcoming):
            yield token.end, in_step
            if in_step[0] is states[0] and all(s.pending is None for s in states[:SURE]):
                return
        token = upcoming


def _may_end(token: Token, upcoming: Token | None) -> bool:
    """Whether the decoder is in step after this token: behind ASCII, before ASCII, at the end."""
    if upcoming is None:
        return True
    if upcoming.reading or upcoming.mark:
        return False
    return bool(token.reading or token.mark or token.data[1:] < b"\x80" or len(upcoming.data) == 1)


class _Fan(NamedTuple):
    """Characters that may come next, and what is pending behind each."""

    choices: tuple["_Choice", ...]
    pending: tuple[frozenset[int] | None, ...]
    columns: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    penalties: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    may_be_due: bool
    """Whether a gloss may come next: not where bytes of another character are pending."""


_Growth = tuple[State, _Fan | None]
"""A hypothesis and the characters one of which it goes on with; None if it stays as it is."""

_Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

FEW = 256
"""Of thousands of hypotheses so many are put in order first: a beam rarely looks at more."""


def _best(growth: Sequence[_Growth], table: Table, limit: int) -> list[State]:
    """The best hypotheses that come of these: all are scored, a few are made."""
    scores, starts = _scored(growth)
    best: list[State] = []
    twins: Counter[tuple[str, frozenset[int] | None]] = Counter()
    for i in _descending(scores):
        score = float(scores[i])
        if len(best) == limit or (best and score < best[0].score - HOPELESS):
            break
        at = bisect_right(starts, i) - 1
        state = _grown(*growth[at], i - starts[at], score, table)
        if state is not None:
            twins[state.context, state.pending] += 1
            if twins[state.context, state.pending] <= TWINS:
                best.append(state)
    return best


def _scored(growth: Sequence[_Growth]) -> tuple[_Floats, list[int]]:
    """The score of each hypothesis that comes of these, in order, and where those of each begin."""
    starts = list(accumulate((1 if fan is None else len(fan.choices) for _, fan in growth), initial=0))
    scores = np.empty(starts[-1])
    for (state, fan), start, end in zip(growth, starts, starts[1:], strict=False):
        if fan is None:
            scores[start] = state.score
        elif end - start == 1:  # where all bytes are known; a whole row would cost ten times as much
            _, folded, penalty = fan.choices[0]
            scores[start] = state.score + next_score(state.context, folded) + penalty
        elif end > start:
            # In this order: with `LENGTH_BONUS` in it, a score is rounded, and ties would come out another way.
            scores[start:end] = state.score + _row(state.context)[fan.columns] / STEPS + fan.penalties
    return scores, starts


@lru_cache(maxsize=256)
def _row(context: str) -> Scores:
    """What lost pairs lead to has the same contexts as what is known."""
    return next_scores(context)


def _descending(scores: _Floats) -> Iterator[int]:
    """Places of the scores, best first, equal ones in order."""
    if len(scores) <= FEW:
        yield from np.argsort(-scores, kind="stable").tolist()
        return
    least = np.partition(scores, -FEW)[-FEW]
    for part in (np.flatnonzero(scores >= least), np.flatnonzero(scores < least)):
        yield from part[np.argsort(-scores[part], kind="stable")].tolist()


def _grown(state: State, fan: _Fan | None, i: int, score: float, table: Table) -> State | None:
    """The hypothesis with one more character; None if a gloss had to come after it and can't."""
    if fan is None:
        return state
    char, folded, _ = fan.choices[i]
    due = not state.split and char in table.certain
    if due and not fan.may_be_due:
        return None
    return State(score, state.text + char, state.context[1] + folded, fan.pending[i], due)


def _advance(states: list[State], token: Token, table: Table, *, lossy: bool) -> list[_Growth]:
    """All hypotheses after one more token."""
    reach = list(states)
    wave = states
    for _ in range(LOST_PAIRS if lossy else 0):
        wave = _best([grown for state in wave[:LOST_BEAM] for grown in _lose_pair(state)], table, LOST_BEAM)
        reach += wave
    if token.mark:
        growth = [grown for state in reach for grown in _read_mark(state, token)]
        if token.swallowed:
            return [(state, None) for state in _continued(growth, _open, table)]
        if not token.reading:
            return growth
        reach = _all(growth, table)
    if token.reading:
        return [(read, None) for state in reach for read in _read_gloss(state, token.reading, table)]
    growth = [grown for state in reach for grown in _read_bytes(state, token.data)]
    if len(token.data) == 2 and token.data[1] < 0x80:
        return [(state, None) for state in _continued(growth, _followed_by(chr(token.data[1]), table), table)]
    return growth


def _all(growth: Sequence[_Growth], table: Table) -> list[State]:
    """All hypotheses that come of these, in order: a gloss may refute the best of them."""
    scores, starts = _scored(growth)
    made = (
        _grown(state, fan, i, float(scores[start + i]), table)
        for (state, fan), start, end in zip(growth, starts, starts[1:], strict=False)
        for i in range(end - start)
    )
    return [state for state in made if state is not None]


def _continued(growth: Sequence[_Growth], follow: Callable[[State], State | None], table: Table) -> list[State]:
    """All hypotheses that come of these, in order, those with a byte completed followed by one thing more.

    What follows never makes a score better, so that most need not be followed: they are hopeless as it is.
    """
    scores, starts = _scored(growth)
    least = float("-inf")
    found: dict[int, State] = {}
    for i in _descending(scores):
        score = float(scores[i])
        if score < least:
            break
        at = bisect_right(starts, i) - 1
        before, fan = growth[at]
        state = _grown(before, fan, i - starts[at], score, table)
        if state is not None and fan is not None and before.pending is not None:
            state = follow(state)
        if state is not None:
            found[i] = state
            least = max(least, state.score - HOPELESS)
    return [found[i] for i in sorted(found)]


def _followed_by(char: str, table: Table) -> Callable[[State], State | None]:
    """For a pair whose second byte was read as an ASCII sign."""
    choice = _choice(char)

    def follow(state: State) -> State | None:
        if state.due:
            return None
        score = state.score + next_score(state.context, choice.folded) + choice.penalty
        due = not state.split and char in table.certain
        return State(score, state.text + char, state.context[1] + choice.folded, None, due)

    return follow


def _open(state: State) -> State | None:
    """An ASCII sign stood here, and nothing tells which; most are digits."""
    if state.text[-1] in ENDS_PIECE:
        return state
    if state.due:
        return None
    score = state.score + next_score(state.context, "0")
    return state._replace(score=score, text=state.text + OPEN, context=state.context[1] + "0")


def _read_gloss(state: State, reading: str, table: Table) -> Iterator[State]:
    """The gloss stands behind the pair that the site matched: the last two bytes before it."""
    last = encode(state.text[-1]) or b""
    if len(last) != 2:
        return
    if state.pending is None:
        if reads(state.text[-1], reading):
            yield state._replace(score=state.score + _penalty(state.text[-1], table), due=False)
    elif not state.due:
        for lead, char in _glossed(last[1], state.pending, reading):
            score = state.score + _penalty(char, table)
            yield state._replace(score=score, pending=frozenset((lead,)), split=True)


def _penalty(char: str, table: Table) -> float:
    """Score of a gloss behind this character."""
    return 0.0 if char in table.glosses else OUTSIDE_TABLE


@lru_cache(maxsize=4096)
def _glossed(first: int, seconds: frozenset[int], reading: str) -> tuple[tuple[int, str], ...]:
    """Second bytes of characters that begin with this byte and are read so, with the characters."""
    pairs = ((second, decode_pair(bytes((first, second)))) for second in seconds)
    return tuple((second, char) for second, char in pairs if char and reads(char, reading))


def _read_mark(state: State, token: Token) -> Iterator[_Growth]:
    """A mark is one byte that found no partner, or (`?`) just what it looks like, or (traceless) nothing at all."""
    mark = token.mark
    if mark == TRACELESS and state.pending is None:
        yield state, None
    if state.due:
        return
    if state.pending is None:
        yield state._replace(pending=LEADS), None
        if mark == "?":
            yield state, _fan_of("?")
    else:
        yield state, _marked_fan(state.pending, token.reading)
        if mark != TRACELESS and not (token.reading or token.swallowed):
            # Some decoders put one mark for a pair that is no character.
            yield from _lose_pair(state)


def _lose_pair(state: State) -> Iterator[_Growth]:
    """A pair that is no character vanished here: its first byte is a trail of ours, its second a lead."""
    if state.pending and not state.due:
        yield state._replace(score=state.score + LENGTH_BONUS), _lost_fan(state.pending)


def _read_bytes(state: State, data: bytes) -> Iterator[_Growth]:
    """Known bytes: one of an ASCII sign, two of another character."""
    if state.due:
        return
    if state.pending is not None:
        yield state, _known_fan(state.pending, data if data[1:] >= b"\x80" else data[:1])
        return
    char = decode_pair(data) if len(data) == 2 else data.decode("ascii", errors="replace")
    if char:
        yield state, _fan_of(char)


@lru_cache(maxsize=4096)
def _fan_of(char: str) -> _Fan:
    return _fan([(_choice(char), None)], may_be_due=True)


@lru_cache(maxsize=4096)
def _known_fan(leads: frozenset[int], data: bytes) -> _Fan:
    """One of these bytes and a known one; a second known one is pending behind it."""
    pending = frozenset(data[1:]) or None
    choices = _completions(leads, frozenset(data[:1]))
    return _fan([(choice, pending) for choice in choices], may_be_due=pending is None)


@lru_cache(maxsize=4096)
def _marked_fan(leads: frozenset[int], reading: str) -> _Fan:
    """One of these bytes and a lost one."""
    return _fan([(choice, None) for choice in _completions(leads, TRAILS & LEADS, reading)], may_be_due=True)


@cache
def _lost_fan(leads: frozenset[int]) -> _Fan:
    """One of these bytes and the first one of a pair that vanished; its second one is pending."""
    pairs = _undefined_pairs().items()
    return _fan([(c, seconds) for firsts, seconds in pairs for c in _completions(leads, firsts)], may_be_due=False)


def _fan(items: Sequence[tuple["_Choice", frozenset[int] | None]], *, may_be_due: bool) -> _Fan:
    choices = tuple(choice for choice, _ in items)
    columns = np.array([column(choice.folded) for choice in choices], np.intp)
    penalties = np.array([choice.penalty for choice in choices], np.float64)
    return _Fan(choices, tuple(pending for _, pending in items), columns, penalties, may_be_due)


@cache
def _undefined_pairs() -> dict[frozenset[int], frozenset[int]]:
    """First bytes of undefined pairs of GBK → their second bytes, as far as these can be leads in turn."""
    table: dict[frozenset[int], frozenset[int]] = {}
    for first in LEADS:
        seconds = frozenset(b for b in TRAILS & LEADS if decode_pair(bytes((first, b))) is None)
        if seconds:
            table[seconds] = table.get(seconds, frozenset()) | {first}
    return {firsts: seconds for seconds, firsts in table.items()}


class _Choice(NamedTuple):
    char: str
    folded: str
    """As the language model knows it."""
    penalty: float


@cache
def _choice(char: str) -> _Choice:
    wrong = char in simplified_only() and not _in_big5(char)
    return _Choice(char, fold_text(char), WRONG_SCRIPT if wrong else 0.0)


def _in_big5(char: str) -> bool:
    """Sites leave characters alone that are Traditional ones too (后, 里, 于, 秘, 群): Big5 has those."""
    try:
        char.encode("big5")
    except UnicodeEncodeError:
        return False
    return True


_WIDE = frozenset(map(chr, (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))))
"""Full-width digits and letters: the model can't tell them from half-width ones, so a lost byte never makes one of them
(`》１023年` for `》（2023年`)."""


@cache
def _completions(leads: frozenset[int], trails: frozenset[int], reading: str = "") -> tuple[_Choice, ...]:
    """The characters of these leads and trails (with this reading), the commonest `CHOICES` of them."""
    chars = [char for lead in leads for trail in trails if (char := decode_pair(bytes((lead, trail))))]
    choices = (
        _choice(char)
        for char in chars
        if (len(chars) == 1 or char not in _WIDE) and (not reading or reads(char, reading))
    )
    return tuple(heapq.nlargest(CHOICES, choices, key=lambda c: next_score("\n\n", c.folded) + c.penalty))
