"""The search for the text behind a misaligned run of GBK: a beam search over byte strings.

What is seen gives bytes, a mark stands for a byte that was lost, and pairs that are no characters may have vanished
anywhere in the run (`tasks.damage.mangler` is the model). Each hypothesis is a Traditional text that explains all
bytes so far, scored by the language model; the run ends where an ASCII byte puts the decoder back in step.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from tasks.damage.mangler import decode_pair, encode
from tasks.language import fold_text, next_score
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
        states = _prune(_advance(states, token, table, lossy=bool(loses)))
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


def _prune(states: Iterable[State]) -> list[State]:
    best: list[State] = []
    twins: Counter[tuple[str, frozenset[int] | None]] = Counter()
    for state in sorted(states, key=attrgetter("score"), reverse=True):
        if len(best) == BEAM or (best and state.score < best[0].score - HOPELESS):
            break
        twins[state.context, state.pending] += 1
        if twins[state.context, state.pending] <= TWINS:
            best.append(state)
    return best


def _advance(states: list[State], token: Token, table: Table, *, lossy: bool) -> Iterable[State]:
    """All hypotheses after one more token."""
    reach = list(states)
    wave = states
    for _ in range(LOST_PAIRS if lossy else 0):
        wave = _prune(lost for state in wave[:LOST_BEAM] if state.pending for lost in _lose_pair(state, table))
        reach += wave[:LOST_BEAM]
    if token.mark:
        reach = [s for state in reach for s in _read_mark(state, token, table)]
    if token.reading:
        return chain.from_iterable(_read_gloss(state, token.reading, table) for state in reach)
    if token.mark:
        return reach
    return chain.from_iterable(_read_bytes(state, token.data, table) for state in reach)


def _read_gloss(state: State, reading: str, table: Table) -> Iterator[State]:
    """The gloss stands behind the pair that the site matched: the last two bytes before it."""
    last = encode(state.text[-1]) or b""
    if len(last) != 2:
        return
    if state.pending is None:
        penalty = _match(state.text[-1], reading, table)
        if penalty is not None:
            yield state._replace(score=state.score + penalty, due=False)
    elif not state.due:
        for lead in state.pending:
            char = decode_pair(bytes((last[1], lead)))
            penalty = _match(char, reading, table) if char else None
            if penalty is not None:
                yield state._replace(score=state.score + penalty, pending=frozenset((lead,)), split=True)


def _match(char: str, reading: str, table: Table) -> float | None:
    """Score of a gloss behind this character; None if the site would not have put it there."""
    if not reads(char, reading):
        return None
    return 0.0 if char in table.glosses else OUTSIDE_TABLE


def _read_mark(state: State, token: Token, table: Table) -> Iterator[State]:
    """A mark is one byte that found no partner, or (`?`) just what it looks like, or (traceless) nothing at all."""
    mark = token.mark
    if mark == TRACELESS and state.pending is None:
        yield state
    if state.due:
        return
    if state.pending is None:
        yield state._replace(pending=LEADS)
        if mark == "?":
            yield from _push(state, (_choice("?"),), table)
    else:
        for completed in _push(state, _completions(state.pending, TRAILS & LEADS, token.reading), table):
            if not token.swallowed or completed.text[-1] in ENDS_PIECE:
                yield completed
            elif not completed.due:
                yield _open(completed)
        if mark != TRACELESS and not (token.reading or token.swallowed):
            # Some decoders put one mark for a pair that is no character.
            yield from _lose_pair(state, table)


def _open(state: State) -> State:
    """An ASCII sign stood here, and nothing tells which; most are digits."""
    score = state.score + next_score(state.context, "0")
    return state._replace(score=score, text=state.text + OPEN, context=state.context[1] + "0")


def _lose_pair(state: State, table: Table) -> Iterator[State]:
    """A pair that is no character vanished here: its first byte is a trail of ours, its second a lead."""
    bonus = state._replace(score=state.score + LENGTH_BONUS)
    for firsts, seconds in _undefined_pairs().items():
        for completed in _push(bonus, _completions(state.pending or frozenset(), firsts), table):
            if not completed.due:
                yield completed._replace(pending=seconds)


@cache
def _undefined_pairs() -> dict[frozenset[int], frozenset[int]]:
    """First bytes of undefined pairs of GBK → their second bytes, as far as these can be leads in turn."""
    table: dict[frozenset[int], frozenset[int]] = {}
    for first in LEADS:
        seconds = frozenset(b for b in TRAILS & LEADS if decode_pair(bytes((first, b))) is None)
        if seconds:
            table[seconds] = table.get(seconds, frozenset()) | {first}
    return {firsts: seconds for seconds, firsts in table.items()}


def _read_bytes(state: State, data: bytes, table: Table) -> Iterator[State]:
    """Known bytes: one of an ASCII sign, two of another character."""
    if state.pending is None:
        char = decode_pair(data) if len(data) == 2 else data.decode("ascii", errors="replace")
        if char and not state.due:
            yield from _push(state, (_choice(char),), table)
        return
    for completed in _push(state, _completions(state.pending, frozenset(data[:1])), table):
        if len(data) == 1:
            yield completed
        elif data[1] < 0x80:
            yield from _push(completed, (_choice(chr(data[1])),), table)
        elif not completed.due:
            yield completed._replace(pending=frozenset(data[1:]))


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


def _push(state: State, choices: Iterable[_Choice], table: Table) -> Iterator[State]:
    if state.due:
        return
    score, text, context, split = state.score, state.text, state.context, state.split
    last = context[1]
    for char, folded, penalty in choices:
        due = not split and char in table.certain
        yield State(score + next_score(context, folded) + penalty, text + char, last + folded, None, due)
