"""Taking back a wrong reading: a beam search from what was observed to what was written.

The observed characters are turned into the bytes that were read as them, and the bytes are parsed in the codec that
they were written in. At every character the search may also keep it as it stands, so damaged runs inside good text
are found as it goes; the language model decides. Where the parse cannot go on, bytes were lost: they are put back as
unknown bytes, and the model chooses among the characters that the known ones leave.

Work is linear in the text: at most `BEAM` states a character, and a bounded number of choices for each lost byte.
"""

import heapq
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from tasks.damage.misreadings import Misreading, bytes_read, read
from tasks.language import UNSEEN, fold_width, next_score, pair_score
from tasks.scripts import simplify

BEAM = 12
"""States kept after each character. Undamaged and whole text needs two or three; lost bytes fan out to `CHOICES`."""

CHOICES = 5
"""How many characters are tried where lost bytes leave several."""

LOSS = -1.5
"""Cost of a lost byte, and `LOSS_OF_PAIR` of two: rarer than any pair of characters that the model knows well."""
LOSS_OF_PAIR = -2.0

LETTER = -3.5
"""Score of a letter beyond ASCII that was written in UTF-8: of a language that the model does not know, or what text
looks like that was read wrongly twice."""

SWITCH = -1.0
"""Cost of going from text that is as it should be to damaged text: damage comes in runs."""

WELL_WRITTEN = -4.0
"""Mean score of what needs no search for something better."""

SURE = 0.95
"""Least share of the likelihood that the best of several characters must have to be written where bytes are lost."""

FEW, SURE_OF_MANY = 64, 0.97
"""More than a byte's worth of characters needs a clearer winner: the right one is less often among those well known."""

MODESTY = 0.85
"""Exponent of the model's odds: it has seen little text, and is too sure of what it has seen. Calibrated on news."""

GONE_FROM_1252 = frozenset((0x81, 0x8D, 0x8F, 0x90, 0x9D, 0xA0, 0xAD))
"""Bytes that readers of Windows-1252 lose, the five undefined ones, and filters drop: no-break space, soft hyphen."""

TRAILERS = frozenset(range(0x80, 0xC0))
"""Bytes that continue a character in UTF-8."""

LOST_PAIRS = (
    (frozenset(range(0xAA, 0xB0)), frozenset(range(0xA1, 0xF0))),
    (frozenset(range(0xA1, 0xAA)), frozenset(range(0x80, 0xA1))),
)
"""Pairs that GBK does not define and that UTF-8 can hold: user-defined ones for the most part (A8 and A9 in places)."""

LOST_MARKS = "?\ufffd"
"""What readers leave in place of bytes that they cannot read."""

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
    confidence: float
    """1.0 if all bytes were there; the odds of the characters chosen where they were not."""


class _Event(NamedTuple):
    """A step of a path: what a token added. The path is a list linked backwards."""

    before: "_Event | None"
    token: int
    """Offset of the observed character."""
    out: str
    options: tuple[tuple[str, ...], ...]
    """For each character of `out`, the characters that the bytes leave."""
    kept: bool
    """The token stands as observed."""
    whole: bool
    """No byte of the token belongs to the next character."""


class _State(NamedTuple):
    score: float
    pending: Bytes
    last: str
    event: _Event | None
    inside: bool
    """The last character was a repaired one."""


def unread(text: str, misreading: Misreading) -> list[Repair]:
    """The likeliest repairs of a text by taking one wrong reading for granted; those that can be proved.

    `text` should be no longer than a few thousand characters: all of it is held in memory many times over.
    """
    repairs: list[Repair] = []
    start = 0
    for match in _RUN.finditer(text) if misreading.written == "utf-8" else ():
        whole = _whole(text, match.start(), match.end(), misreading)
        if whole is not None:
            repairs += _searched(text, start, match.start(), misreading)
            repairs.append(whole)
            start = match.end()
    return [*repairs, *_searched(text, start, len(text), misreading)]


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
    repair = _weighed(text, start, end, out, 1.0)
    return repair if repair.gain > 0 and repair.quality > WELL_WRITTEN else None


def _searched(text: str, start: int, end: int, misreading: Misreading) -> list[Repair]:
    """Repairs within a stretch, found by the search."""
    if text[start:end].isascii():
        return []
    repairs = (_repair(text, start, run, misreading) for run in _runs(_search(text[start:end], misreading)))
    return [repair for repair in repairs if repair is not None]


def _search(text: str, misreading: Misreading) -> _Event | None:
    states = [_State(0.0, (), "\n", None, inside=False)]
    for index, char in enumerate(text):
        following = [s for state in states for s in _steps(state, index, char, misreading)]
        if not following:  # a path always remains: the text as it stands
            following = [_keep(state, index, char) for state in states]
        states = _best(following)
    finished = [s for state in states for s in _finish(state, len(text) - 1, misreading)]
    return max(finished, key=lambda s: s.score).event if finished else None


def _best(states: Sequence[_State]) -> list[_State]:
    """The best state of each kind, and of those the best."""
    best: dict[tuple[Bytes, str, bool], _State] = {}
    for state in states:
        key = (state.pending, state.last, state.inside)
        if key not in best or best[key].score < state.score:
            best[key] = state
    return heapq.nlargest(BEAM, best.values(), key=lambda s: s.score)


def _steps(state: _State, index: int, char: str, misreading: Misreading) -> Iterator[_State]:
    """All that token `index` can be, coming from a state."""
    if not state.pending:
        yield _keep(state, index, char)
    else:
        for finished in _finish(state, index - 1, misreading):
            yield _keep(finished, index, char)
    if char < "\x80" and not state.pending:
        return
    data = bytes_read(char, misreading.read)
    if data is not None:
        yield from _feed_or_restore(state, index, tuple(data), misreading)
    if char in LOST_MARKS and state.pending:
        for cost, lost in _losses(misreading, None):
            yield from _feed(state, index, lost, misreading, cost)


def _feed_or_restore(state: _State, index: int, data: Bytes, misreading: Misreading) -> Iterator[_State]:
    """Take the bytes of a token; where they don't fit, put back bytes that were lost before it."""
    fitting = list(_feed(state, index, data, misreading, 0.0 if state.inside or state.pending else SWITCH))
    yield from fitting
    if state.pending and (not fitting or len(data) == 1):
        # A byte that was read as a character of its own can follow lost ones without showing that they are.
        for cost, lost in _losses(misreading, data[0]):
            yield from _feed(state, index, (*lost, *data), misreading, cost)


@cache
def _losses(misreading: Misreading, following: int | None) -> tuple[tuple[float, Bytes], ...]:
    """What can have been lost before a byte (None: not known), and at what cost."""
    if misreading.read == "windows-1252":
        return ((LOSS, (GONE_FROM_1252,)),)
    if misreading.written != "utf-8":
        return ()  # two bytes read as two: a lost pair is a lost character
    single = frozenset(b for b in TRAILERS if following is None or not _is_pair(b, following))
    pairs = [(LOSS_OF_PAIR, pair) for pair in LOST_PAIRS]
    return ((LOSS, (single,)), *pairs) if single else tuple(pairs)


@cache
def _is_pair(lead: int, trail: int) -> bool:
    """Whether two bytes are a character of GBK."""
    return lead > 0x80 and len(bytes((lead, trail)).decode("gbk", "replace")) == 1


def _finish(state: _State, index: int, misreading: Misreading) -> Iterator[_State]:
    """Complete what is pending with one byte that vanished: runs end in the middle of a character when they do."""
    if not state.pending:
        yield state
    elif len(state.pending) + 1 == _length(state.pending, misreading.written):
        lost = GONE_FROM_1252 if misreading.read == "windows-1252" else TRAILERS
        yield from _feed(state, index, (lost,), misreading, LOSS)


def _keep(state: _State, index: int, char: str) -> _State:
    folded = _fold(char)
    cost = -3.0 if char == "\ufffd" else _score(state.last, folded)
    event = _Event(state.event, index, char, (), kept=True, whole=True)
    return _State(state.score + cost, (), folded, event, inside=char < "\x80" and state.inside)


def _feed(state: _State, index: int, data: Bytes, misreading: Misreading, cost: float) -> Iterator[_State]:
    """Parse bytes after those pending; one state for each choice of the characters that they complete."""
    pending = state.pending
    completed: list[tuple[str, ...]] = []
    for byte in data:
        if not pending and isinstance(byte, int) and byte < 0x80:
            completed.append((chr(byte),))
            continue
        pending = (*pending, byte)
        length = _length(pending, misreading.written)
        if not length or not _can_follow(pending, misreading.written):
            return
        if len(pending) == length:
            options = _options(pending, misreading.written)
            if not options:
                return
            completed.append(options)
            pending = ()
    yield from _choose(state, index, tuple(completed), pending, cost)


def _choose(
    state: _State, index: int, completed: tuple[tuple[str, ...], ...], pending: Bytes, cost: float
) -> Iterator[_State]:
    paths = [(state.score + cost, state.last, "")]
    for options in completed:
        longer = [(score + _likely(last, c), _fold(c), out + c) for score, last, out in paths for c in options]
        paths = heapq.nlargest(CHOICES, longer)
    for score, last, out in paths:
        event = _Event(state.event, index, out, completed, kept=False, whole=not pending)
        yield _State(score, pending, last, event, inside=True)


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


@cache
def _gb2312() -> tuple[str, ...]:
    """What is tried where bytes are lost: the signs and ideographs of GB2312, nearly all that modern text uses."""
    pairs = (bytes((a, b)) for a in (*range(0xA1, 0xA4), *range(0xB0, 0xF8)) for b in range(0xA1, 0xFF))
    return tuple(char for pair in pairs if (char := pair.decode("gb2312", "ignore")))


@cache
def _options(pending: Bytes, written: str) -> tuple[str, ...]:
    """Characters that bytes, known and lost, can stand for."""
    known = tuple(i for i, b in enumerate(pending) if isinstance(b, int))
    if len(known) == len(pending):
        out = _decode(bytes(b for b in pending if isinstance(b, int)), written)
        return (out,) if len(out) == 1 else ()
    candidates = _index(written, len(pending), known).get(tuple(pending[i] for i in known), ())
    return tuple(
        char
        for char, data in candidates
        if all(b in p for b, p in zip(data, pending, strict=True) if isinstance(p, frozenset))
    )


@cache
def _index(written: str, length: int, known: tuple[int, ...]) -> dict[Bytes, list[tuple[str, bytes]]]:
    """Characters with their bytes, by the bytes at some of their places."""
    index: dict[Bytes, list[tuple[str, bytes]]] = {}
    for char in _gb2312():
        data = char.encode(written, "ignore")
        if len(data) == length:
            index.setdefault(tuple(data[i] for i in known), []).append((char, data))
    return index


def _decode(data: bytes, written: str) -> str:
    """The text that the bytes are in full, or nothing."""
    if written == "big5":
        out = read(data, "big5")
        return "" if "\ufffd" in out else out
    try:
        return data.decode("gb18030" if written == "gbk" else written)
    except UnicodeDecodeError:
        return ""


@cache
def _fold(char: str) -> str:
    return fold_width(simplify(char))


def _score(last: str, char: str) -> float:
    """The model's; what it can't know costs no more than what it has never seen."""
    return max(pair_score(last, char), UNSEEN - 0.5)


def _likely(last: str, char: str) -> float:
    """Score of a repaired character."""
    score = _score(last, _fold(char))
    return max(LETTER, score) if "\x7f" < char < "\u0800" or "\u2010" < char < "\u2123" else score


def _runs(event: _Event | None) -> Iterator[list[_Event]]:
    """Runs of repaired tokens along a path, in order, each with the event before it left out."""
    path: list[_Event] = []
    while event is not None:
        path.append(event)
        event = event.before
    run: list[_Event] = []
    for step in reversed(path):
        if step.kept:
            if run:
                yield run
            run = []
        else:
            run.append(step)
    if run:
        yield run


def _repair(text: str, offset: int, run: list[_Event], misreading: Misreading) -> Repair | None:
    """What a run of a path (in the text from `offset` on) amounts to, if it can be proved."""
    start, end = offset + run[0].token, offset + run[-1].token + 1
    guess = "".join(event.out for event in run)
    if not guess or not _is_proved(text[start:end], guess, misreading):
        return None
    before, following = text[start - 1] if start else "\n", text[end] if end < len(text) else "\n"
    options = [o for event in run for o in event.options]
    after, confidence = _doubt(guess, options, _fold(before), _fold(following))
    return _weighed(text, start, end, guess, confidence)._replace(after=after)


def _weighed(text: str, start: int, end: int, guess: str, confidence: float) -> Repair:
    context = _fold(text[start - 1]) if start else "\n"
    observed = [context, *map(_fold, text[start:end])]
    new = sum(map(_likely, [context, *map(_fold, guess)], guess))
    return Repair(start, end, guess, new - sum(map(_score, observed, observed[1:])), new / len(guess), confidence)


def _doubt(guess: str, options: Sequence[tuple[str, ...]], last: str, following: str) -> tuple[str, float]:
    """U+FFFD for what bytes and model leave open; the confidence is that of the least sure choice that stays.

    Only what is sure speaks for its neighbours: two guesses would bear each other out (`规则` became `计划`), and one
    that is not believed would still choose the next (`考古公园` became `考古\ufffd国`).
    """
    known = [last, last, *(_fold(c) if len(o) == 1 else "" for c, o in zip(guess, options, strict=True)), following]
    confidence = 1.0
    waiting = [i for i, o in enumerate(options) if len(o) > 1]
    while waiting:
        i = waiting.pop()
        odds = 0.0 if known[i + 2] else _odds(guess[i], options[i], known[i : i + 2], known[i + 3])
        if odds >= (SURE if len(options[i]) <= FEW else SURE_OF_MANY):
            known[i + 2] = _fold(guess[i])
            confidence = min(confidence, odds)
            waiting += (n for n in (i - 1, i + 1, i + 2) if 0 <= n < len(guess))  # at most three times each
    return "".join(c if k else "\ufffd" for c, k in zip(guess, known[2:], strict=False)), confidence


def _odds(char: str, options: tuple[str, ...], before: Sequence[str], following: str) -> float:
    """Share of a character among all that could stand in its place, given its neighbours ("": not known)."""

    def weight(option: str) -> float:
        folded = _fold(option)
        if folded == before[1] and not folded.isalnum():  # `。。`: news is full of it at the ends of lines
            return 0.0
        score = _after(before, folded) + (_after((before[1], folded), following) if following else 0.0)
        return float(10.0 ** (MODESTY * score))

    return weight(char) / max(sum(map(weight, options)), 1e-300)


def _after(before: Sequence[str], folded: str) -> float:
    """The model's score of a character after two, as many of them as are known."""
    if all(before):
        return next_score("".join(before), folded)
    return pair_score(before[1] or "\ufffd", folded)


def _is_proved(observed: str, guess: str, misreading: Misreading) -> bool:
    """Whether the guess, read wrongly, gives what was observed: bytes are shown as they are, or lost as readers do."""
    try:
        data = guess.encode("gb18030" if misreading.written == "gbk" else misreading.written)
    except UnicodeEncodeError:
        return False
    places = _after_losses({0}, data, misreading)
    for char in observed:
        shown = bytes_read(char, misreading.read)
        reached = {i + len(shown) for i in places if shown and data.startswith(shown, i)}
        if char in LOST_MARKS:
            reached |= {i + n for i in places for n in _lost_at(data, i, misreading, marked=True)}
        if char == " ":  # filters turn the no-break space into a space
            reached |= {i + 1 for i in places if misreading.read == "windows-1252" and data[i : i + 1] == b"\xa0"}
        places = _after_losses(reached, data, misreading)
        if not places:
            return False
    return len(data) in places


def _after_losses(places: set[int], data: bytes, misreading: Misreading) -> set[int]:
    """Places in the bytes that are reached without anything shown; two losses can follow each other."""
    for _ in range(2):
        places = places | {i + n for i in places for n in _lost_at(data, i, misreading, marked=False)}
    return places


def _lost_at(data: bytes, i: int, misreading: Misreading, *, marked: bool) -> Iterator[int]:
    """How many bytes a reader can lose here; where he leaves a mark, he may have swallowed an ASCII sign as well."""
    if i >= len(data):
        return
    byte, pair = data[i], data[i : i + 2]
    if misreading.read == "windows-1252":
        if byte in GONE_FROM_1252:
            yield 1
    elif byte >= 0x80:
        if marked or len(pair) < 2 or not _is_pair(*pair):
            yield 1
        if len(pair) == 2 and pair[1] >= 0x40 and not _is_pair(*pair):
            yield 2
