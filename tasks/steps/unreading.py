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
from operator import itemgetter
from typing import NamedTuple

from tasks.damage.misreadings import Misreading, bytes_read, read
from tasks.language import UNSEEN, fold_text, pair_score, pair_scores_after

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

LETTER = -3.5
"""Score of a letter beyond ASCII that was written in UTF-8: of a language that the model does not know, or what text
looks like that was read wrongly twice."""

SWITCH = -1.0
"""Cost of going from text that is as it should be to damaged text: damage comes in runs."""

SETTLED = 8.0
"""By so much the best state has to be ahead of the next before a stretch is passed over, and a stretch has to gain."""

LEAST_STRETCH = 4
"""Characters that a stretch has at least that is passed over without a search."""

LONGEST_STRETCH = 1_000
"""Observed characters of a stretch at most: another one may follow."""

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

    __slots__ = ("options",)

    def __init__(self, options: tuple[tuple[str, ...], ...]) -> None:
        self.options = options


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
    if text[start:end].isascii():
        return []
    repairs = (_repair(text, start, run, misreading) for run in _runs(_search(text[start:end], misreading)))
    return [repair for repair in repairs if repair is not None]


def _search(text: str, misreading: Misreading) -> _Event | None:
    states = [_State(0.0, None, "\n", None)]
    folded = fold_text(text)
    index = tried = 0
    while index < len(text):
        if index >= tried and text[index] > "\x7f" and _is_settled(states):
            stretch = stretch_at(text, index, misreading, states[0].last)
            if stretch is not None:
                states, index = [_passed(states[0], index, stretch)], stretch.end
                continue
            tried = index + LEAST_STRETCH
        states = _advanced(states, index, text[index : index + 2], folded[index], misreading)
        index += 1
    finished = list(_finished(states, len(text) - 1, misreading))
    return max(finished, key=lambda s: s.score).event if finished else None


def _is_settled(states: Sequence[_State]) -> bool:
    """Whether there is no doubt about what was written so far."""
    return not states[0].place and (len(states) == 1 or states[0].score - states[1].score >= SETTLED)


class Stretch(NamedTuple):
    """Observed characters whose bytes are all there."""

    end: int
    out: str
    """What was written."""
    score: float
    gain: float
    """By how much that is likelier than what was observed."""


def stretch_at(text: str, start: int, misreading: Misreading, last: str = "\n") -> Stretch | None:
    """What begins here and reads so well that it needs no search, nearly up to where it no longer does."""
    longest = _parse(text, start, misreading, last)
    ends = [stretch for stretch in longest if len(stretch.out) >= LEAST_STRETCH]
    if not ends or longest[1].gain <= 0:  # perhaps the first character was meant as it stands
        return None
    # Something is wrong near its end: nothing else follows a character but what is no part of one.
    if longest[-1].end < len(text) and text[longest[-1].end] >= "@":
        ends = [stretch for stretch in ends if len(stretch.out) <= len(longest[-1].out) - UNSURE_END]
    found = ends[-1] if ends else None
    return found if found and found.gain >= SETTLED and found.score > WELL_WRITTEN * len(found.out) else None


def _parse(text: str, start: int, misreading: Misreading, last: str) -> list[Stretch]:
    """All that can be taken for a stretch from here on: one for each place where a character ends with a token."""
    pending: Bytes = ()
    out, score, gain, seen = "", 0.0, 0.0, last
    least = -math.inf if misreading.written == "utf-8" else LEAST_LIKELY
    found = [Stretch(start, "", 0.0, 0.0)]
    for index in range(start, min(len(text), start + LONGEST_STRETCH)):
        char = text[index]
        shown = _all_bytes_read(char, misreading.read)
        if len(shown) != 1 or char in LOST_MARKS or (char < "\x80" and not pending):
            break
        folded = fold(char)
        gain, seen = gain - _score(seen, folded), folded
        parsed = _parsed(pending, tuple(shown[0]), misreading.written)
        if parsed is None:
            return found
        completed, pending = parsed
        for written, *_ in completed:
            step = _likely(last, written)
            if step < least or written < "\x80":
                return found
            score, gain, last, out = score + step, gain + step, fold(written), out + written
        if not pending:
            found.append(Stretch(index + 1, out, score, gain))
    return found


def _passed(state: _State, index: int, stretch: Stretch) -> _State:
    """The state behind a stretch."""
    completed = _Completed(tuple((char,) for char in stretch.out))
    event = _Event(state.event, index, stretch.end, stretch.out, completed)
    score = state.score + stretch.score + (SWITCH if state.place is None else 0.0)
    return _State(score, (), fold(stretch.out[-1]), event)


def _first_byte(char: str, codec: str) -> int | None:
    """First byte of what was read as a character; none for a mark, which can stand for any."""
    data = bytes_read(char, codec) if char and char not in LOST_MARKS else None
    return data[0] if data else None


_Candidate = tuple[float, Place, str, _Event | None, str, _Completed | None]
"""A state to be: its score, place and last character, and what its event will say."""

_Candidates = dict[tuple[Place, str], _Candidate]
"""The best of each kind: what follows depends on the place and the last character alone."""


def _advanced(states: Sequence[_State], index: int, tokens: str, folded: str, misreading: Misreading) -> list[_State]:
    """The best states behind a token: all that it can be, coming from any state.

    Args:
        tokens: the token and the one that follows.
        folded: the token as the model knows it.
    """
    char = tokens[0]
    following = _first_byte(tokens[1:], misreading.read) if char in LOST_MARKS else None
    best: _Candidates = {}
    for state in states:
        _keep(best, state, index, char, folded, misreading)
        _feed(best, state, _moves(state.place, char, following, misreading))
    if not best:  # a path always remains: the text as it stands
        for state in states:
            _keep_after(best, state, state.place is not None, char, folded)
    chosen = sorted(best.values(), key=_SCORE, reverse=True)[:BEAM]
    return [
        _State(score, place, last, _Event(event, index, index + 1, out, completed))
        for score, place, last, event, out, completed in chosen
    ]


_SCORE = itemgetter(0)


def _keep(best: _Candidates, state: _State, index: int, char: str, folded: str, misreading: Misreading) -> None:
    """The token as it stands, behind a state; what is pending there is completed with bytes that vanished."""
    if not state.place:
        _keep_after(best, state, state.place is not None, char, folded)
        return
    for finished in _finished((state,), index - 1, misreading):
        _keep_after(best, finished, True, char, folded)


def _keep_after(best: _Candidates, state: _State, inside: bool, char: str, folded: str) -> None:
    score, _, last, event = state
    score += -3.0 if char == "\ufffd" else _score(last, folded)
    if char == "?" and inside:
        score += MARK_MEANT
    kind = (() if inside and char < "\x80" else None, folded)
    known = best.get(kind)
    if known is None or known[0] < score:
        best[kind] = (score, *kind, event, char, None)


def _feed(best: _Candidates, state: _State, moves: "tuple[_Move, ...]") -> None:
    """The bytes of the token after those pending; one state for each choice of the characters that they complete."""
    so_far, _, before, event = state
    for cost, completed, place in moves:
        for gain, last, out in _ways(before, completed):
            score = so_far + cost + gain
            kind = (place, last)
            known = best.get(kind)
            if known is None or known[0] < score:
                best[kind] = (score, place, last, event, out, completed)


def _finished(states: Iterable[_State], index: int, misreading: Misreading) -> Iterator[_State]:
    """Complete what is pending with bytes that vanished: runs end in the middle of a character when they do."""
    for state in states:
        if not state.place:
            yield state
            continue
        for cost, completed, _ in _ends(state.place, misreading):
            for gain, last, out in _ways(state.last, completed):
                event = _Event(state.event, index, index + 1, out, completed)
                yield _State(state.score + cost + gain, (), last, event)


_Move = tuple[float, _Completed, Bytes]
"""What bytes do to a path: what they cost, what they complete, what is pending then."""


@lru_cache(maxsize=1 << 13)
def _moves(place: Place, char: str, following: int | None, misreading: Misreading) -> tuple[_Move, ...]:
    """All that the bytes of a token can do; `following` is the first byte of the next token if this one is a mark."""
    if char < "\x80" and not place:
        return ()
    moves: list[_Move] = []
    for data in _all_bytes_read(char, misreading.read):
        moves += _fed_or_restored(place, tuple(data), misreading)
    if char in LOST_MARKS and place:
        moves += _fed(place, _losses(misreading, following), (), misreading)
    return tuple(moves)


def _fed_or_restored(place: Place, data: Bytes, misreading: Misreading) -> list[_Move]:
    """Take the bytes of a token; where they don't fit, put back bytes that were lost before it."""
    fitting = _fed(place or (), (((SWITCH if place is None else 0.0), ()),), data, misreading)
    if not place or (fitting and len(data) > 1):
        return fitting
    # A byte that was read as a character of its own can follow lost ones without showing that they are.
    losses = _losses(misreading, data[0])
    if not fitting and misreading == UTF8_AS_GBK:
        losses += LOST_IN_A_ROW
    return fitting + _fed(place, losses, data, misreading)


@lru_cache(maxsize=1 << 12)
def _ends(pending: Bytes, misreading: Misreading) -> tuple[_Move, ...]:
    """How a character can end with bytes that vanished."""
    if misreading.read in GONE or misreading.written == "utf-8":
        return tuple(move for move in _fed(pending, _losses(misreading, None), (), misreading) if not move[2])
    if len(pending) + 1 == _length(pending, misreading.written):
        return tuple(_fed(pending, ((LOSS, (TRAILERS,)),), (), misreading))
    return ()


def _fed(pending: Bytes, losses: Iterable[tuple[float, Bytes]], data: Bytes, misreading: Misreading) -> list[_Move]:
    """Parse bytes after those pending, with lost ones before them; one move for each kind of loss that fits."""
    moves = []
    for cost, lost in losses:
        parsed = _parsed(pending, (*lost, *data), misreading.written)
        if parsed is not None:
            moves.append((cost, _Completed(parsed[0]), parsed[1]))
    return moves


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


@lru_cache(maxsize=1 << 13)
def _ways(last: str, completed: _Completed) -> list[tuple[float, str, str]]:
    """Choices of the characters that bytes completed: what they score, the last one folded, all of them."""
    paths = [(0.0, last, "")]
    for options in completed.options:
        longer = (found for path in paths for found in _longer(path, options[:TRIED]))
        paths = sorted(longer, reverse=True)[:CHOICES]
    return paths


def _longer(path: tuple[float, str, str], options: tuple[str, ...]) -> Iterator[tuple[float, str, str]]:
    """A path with each of these characters behind it."""
    score, last, out = path
    folded = list(map(fold, options))
    for char, as_known, likely in zip(options, folded, pair_scores_after(last, folded), strict=True):
        yield score + max(likely, _least(char)), as_known, out + char


@lru_cache(maxsize=1 << 12)
def _parsed(pending: Bytes, data: Bytes, written: str) -> tuple[tuple[tuple[str, ...], ...], Bytes] | None:
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
    return tuple(completed), pending


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
def _common() -> tuple[str, ...]:
    """What is tried where bytes are lost: signs and ideographs of GB2312, common ideographs of Big5, a space."""
    pairs = [bytes((a, b)) for a in (*range(0xA1, 0xA4), *range(0xB0, 0xF8)) for b in range(0xA1, 0xFF)]
    chars = [pair.decode("gb2312", "ignore") for pair in pairs]
    pairs = [bytes((a, b)) for a in range(0xA4, 0xC7) for b in (*range(0x40, 0x7F), *range(0xA1, 0xFF))]
    chars += (pair.decode("big5", "ignore") for pair in pairs if pair < b"\xc6\xa1")
    wide = (char for char in dict.fromkeys(chars) if char and not (char > "\uff00" and char.isalnum()))  # `１` of ASCII
    return tuple(sorted((*wide, "\xa0"), key=lambda c: (-pair_score("\ue000", fold(c)), c)))


@lru_cache(maxsize=1 << 13)
def _options(pending: Bytes, written: str) -> tuple[str, ...]:
    """Characters that bytes, known and lost, can stand for, the commonest first."""
    known = tuple(i for i, b in enumerate(pending) if isinstance(b, int))
    if len(known) == len(pending):
        out = _decode(bytes(b for b in pending if isinstance(b, int)), written)
        return (out,) if len(out) == 1 else ()
    candidates = _index(written, len(pending), known).get(tuple(pending[i] for i in known), ())
    if known == (0,) and len(pending) == 3:  # two bytes that were lost as a pair
        candidates = [(char, data) for char, data in candidates if not _is_pair(data[1], data[2])]
    return tuple(
        char
        for char, data in candidates
        if all(b in p for b, p in zip(data, pending, strict=True) if isinstance(p, frozenset))
    )[:MOST_OPTIONS]


@cache
def _index(written: str, length: int, known: tuple[int, ...]) -> dict[Bytes, list[tuple[str, bytes]]]:
    """Characters with their bytes, by the bytes at some of their places."""
    index: dict[Bytes, list[tuple[str, bytes]]] = {}
    for char in _common():
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
def fold(char: str) -> str:
    """A character as the model knows it."""
    return fold_text(char)


def _score(last: str, char: str) -> float:
    """The model's; what it can't know costs no more than what it has never seen."""
    return max(pair_score(last, char), UNSEEN - 0.5)


def _likely(last: str, char: str) -> float:
    """Score of a repaired character."""
    return max(pair_score(last, fold(char)), _least(char))


@cache
def _least(char: str) -> float:
    """What a repaired character costs at the most."""
    return LETTER if "\x7f" < char < "\u0800" or "\u2010" < char < "\u2123" else UNSEEN - 0.5


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
    context = fold(text[start - 1]) if start else "\n"
    observed = [context, *map(fold, text[start:end])]
    new = sum(map(_likely, [context, *map(fold, guess)], guess))
    return Repair(start, end, guess, new - sum(map(_score, observed, observed[1:])), new / len(guess), options)


def is_proved(observed: str, options: Sequence[tuple[str, ...]], misreading: Misreading) -> bool:
    """Whether a text, read wrongly, gives what was observed: bytes are shown as they are, or lost as readers do.

    `options` has for each character of the text what it can be: a single one if it is known.
    """
    try:
        data = [byte for chars in options for byte in _bytes(chars, misreading.written)]
    except UnicodeEncodeError:
        return False
    places = _after_losses({0}, data, misreading)
    for char in observed:
        shown = _all_bytes_read(char, misreading.read)
        reached = {i + len(s) for s in shown for i in places if _is_shown(s, data[i : i + len(s)])}
        if char in LOST_MARKS:
            reached |= {i + n for i in places for n in _lost_at(data, i, misreading, marked=True)}
        if char == " " and misreading.read in GONE:  # filters turn the no-break space into a space
            reached |= {i + 1 for i in places if i < len(data) and 0xA0 in data[i]}
        places = _after_losses(reached, data, misreading)
        if not places:
            return False
    return len(data) in places


Byte = frozenset[int]
"""What a byte can be."""


@lru_cache(maxsize=10_000)
def _bytes(chars: tuple[str, ...], written: str) -> tuple[Byte, ...]:
    """What each byte of a character can be."""
    codec = "gb18030" if written == "gbk" else written
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
