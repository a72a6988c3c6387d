"""The search for the text behind a misaligned run of GBK: a beam search over byte strings.

What is seen gives bytes, a mark stands for a byte that was lost, and pairs that are no characters may have vanished
anywhere in the run (`tasks.damage.mangler` is the model). Each hypothesis is a Traditional text that explains all
bytes so far, scored by the language model; the run ends where an ASCII byte puts the decoder back in step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import accumulate, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.damage.mangler import decode_pair, encode
from tasks.language import STEPS, columns_of, fold_text, next_scores, next_steps
from tasks.scripts import codes, simplified, simplified_only, text_of
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

_Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
_Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
_Column = NDArray[Any]


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


class _Beam(NamedTuple):
    """Hypotheses in columns: what `State` has, a row each, with numbers for characters and sets of bytes."""

    texts: list[str]
    score: _Column
    older: _Column
    """The first character of the context."""
    last: _Column
    pending: _Column
    """Its number, as in `_sets`."""
    due: _Column
    split: _Column

    @classmethod
    def of(cls, state: State) -> "_Beam":
        numbers = (*map(ord, state.context), _numbers()[state.pending])
        older, last, pending = (np.array([number], np.int64) for number in numbers)
        return cls(
            [state.text], np.array([state.score]), older, last, pending, np.array([state.due]), np.array([False])
        )

    @classmethod
    def joined(cls, beams: Sequence["_Beam"]) -> "_Beam":
        texts, *columns = zip(*beams, strict=True)
        return cls([text for some in texts for text in some], *map(np.concatenate, columns))

    def take(self, rows: _Ints, texts: list[str] | None = None) -> "_Beam":
        """Some of them, with their own texts where none are given."""
        texts = [self.texts[row] for row in rows.tolist()] if texts is None else texts
        return _Beam(texts, *(column.take(rows) for column in self[1:]))

    def first(self, limit: int) -> "_Beam":
        """The first of them."""
        return _Beam(self.texts[:limit], *(column[:limit] for column in self[1:]))

    def states(self) -> list[State]:
        """The same, a hypothesis each."""
        texts, scores, older, last, pending, due, split = (self.texts, *(column.tolist() for column in self[1:]))
        contexts = map("".join, zip(map(chr, older), map(chr, last), strict=True))
        sets = map(_sets().__getitem__, pending)
        return list(map(State, scores, texts, contexts, sets, due, split))


@cache
def _sets() -> list[frozenset[int] | None]:
    """All sets of bytes that can be pending, by their numbers; none is 0."""
    return [None, LEADS, *_undefined_pairs().values(), *(frozenset((byte,)) for byte in range(256))]


@cache
def _numbers() -> dict[frozenset[int] | None, int]:
    return {pending: number for number, pending in enumerate(_sets())}


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
    beam = _Beam.of(begin)
    ahead = iter(tokens)
    token, i = next(ahead, None), -1
    while token is not None:
        upcoming, i = next(ahead, None), i + 1
        loses = lossy and (upcoming is None or token.reading or token.mark != TRACELESS)
        beam = _advance(beam, token, table, lossy=bool(loses))
        if not beam.texts or (i >= ENOUGH_TO_TELL and beam.score[0] < GARBAGE * len(beam.texts[0])):
            return
        in_step = ((beam.pending == 0) & ~beam.due).nonzero()[0]
        if (i or len(token.data) == 2) and len(in_step) and _may_end(token, upcoming):
            yield token.end, beam.take(in_step).states()
            if in_step[0] == 0 and not beam.pending[:SURE].any():
                return
        token = upcoming


def _may_end(token: Token, upcoming: Token | None) -> bool:
    """Whether the decoder is in step after this token: behind ASCII, before ASCII, at the end."""
    if upcoming is None:
        return True
    if upcoming.reading or upcoming.mark:
        return False
    return bool(token.reading or token.mark or token.data[1:] < b"\x80" or len(upcoming.data) == 1)


def _advance(beam: _Beam, token: Token, table: Table, *, lossy: bool) -> _Beam:
    """The best hypotheses after one more token."""
    waves = [beam]
    for _ in range(LOST_PAIRS if lossy else 0):
        waves.append(_best(_growth(waves[-1].first(LOST_BEAM), _lost_fan), table, LOST_BEAM))
    reach = _Beam.joined(waves)
    if token.mark:
        growth = _growth(reach, partial(_mark_fan, token.mark, token.reading, token.swallowed))
        if token.swallowed:
            return _best_of(_continued(growth, OPEN, table, "0", ENDS_PIECE), BEAM)
        if not token.reading:
            return _best(growth, table, BEAM)
        reach = _all(growth, table)
    if token.reading:
        return _best_of(_read_gloss(reach, token.reading, table), BEAM)
    growth = _growth(reach, partial(_bytes_fan, token.data))
    if len(token.data) == 2 and token.data[1] < 0x80:
        return _best_of(_continued(growth, chr(token.data[1]), table), BEAM)
    return _best(growth, table, BEAM)


class _Fan(NamedTuple):
    """What a hypothesis may go on with, a column each."""

    chars: _Column
    """Places in `characters`."""
    pending: _Column
    """What is pending then."""
    bonus: _Column


class _Growth(NamedTuple):
    """Hypotheses, and what each of them may go on with: all that may come of them, in order."""

    beam: _Beam
    fan: _Fan
    """Of all of them, some of which have the same."""
    source: _Ints
    """For each that may come, the row of `beam`."""
    choice: _Ints
    """And what of the fan it goes on with."""

    def texts(self, places: _Ints) -> list[str]:
        """The texts of what comes at these places."""
        before = map(self.beam.texts.__getitem__, self.source.take(places).tolist())
        codes = characters().codes.take(self.fan.chars.take(self.choice.take(places))).tolist()
        return [text + chr(code) if code >= 0 else text for text, code in zip(before, codes, strict=True)]

    def scores(self) -> _Floats:
        known, beam, fan = characters(), self.beam, self.fan
        contexts = columns_of(beam.older), columns_of(beam.last)
        steps = next_steps(*contexts, self.source, known.columns.take(fan.chars).take(self.choice))
        scores: _Floats = beam.score.take(self.source)
        if fan.bonus.any():
            scores += fan.bonus.take(self.choice)
        # In this order: with `LENGTH_BONUS` in it, a score is rounded, and ties would come out another way.
        scores += steps / STEPS
        scores += known.penalty.take(fan.chars).take(self.choice)
        stays = (fan.chars == STAYS).take(self.choice)
        return np.where(stays, beam.score.take(self.source), scores) if stays.any() else scores


def _growth(beam: _Beam, fan_of: Callable[[int, bool], _Fan]) -> _Growth:
    """What comes of each hypothesis: that depends on what is pending, and whether a gloss is due."""
    kinds = (beam.pending * 2 + beam.due).tolist()
    fans = {kind: fan_of(kind >> 1, bool(kind & 1)) for kind in dict.fromkeys(kinds)}
    ends = dict(zip(fans, accumulate(len(fan.chars) for fan in fans.values()), strict=True))
    lengths = np.array([len(fans[kind].chars) for kind in kinds], np.int64)
    source = np.arange(len(kinds)).repeat(lengths)
    behind = np.array([ends[kind] for kind in kinds], np.int64) - lengths.cumsum()
    return _Growth(beam, _joined(list(fans.values())), source, np.arange(len(source)) + behind.take(source))


FEW = 4
"""Times the limit: so many hypotheses are looked at first, of thousands. Nearly always there are enough among them."""


def _best(growth: _Growth, table: Table, limit: int) -> _Beam:
    """The best hypotheses that come of these: all are scored, a few are made."""
    scores = growth.scores()
    for n in (FEW * limit, len(scores)):
        made, places = _made(growth, scores, _highest(scores, n), table)
        chosen = _distinct(made, limit)
        if len(chosen) == limit or n >= len(scores):
            break
    return made.take(chosen, growth.texts(places.take(chosen)))


def _best_of(beam: _Beam, limit: int) -> _Beam:
    """The best of these hypotheses."""
    order = _order(beam.score)
    rows = order.take(_distinct(beam.take(order, []), limit))
    return beam.take(rows, [beam.texts[row] for row in rows.tolist()])


def _distinct(beam: _Beam, limit: int) -> _Ints:
    """Rows of the first `limit` that are neither hopeless nor more than `TWINS` alike, best first as they are."""
    n = len(beam.score) and int((beam.score >= beam.score[0] - HOPELESS).sum())
    keys = ((beam.older[:n] << _BITS_OF_CHAR | beam.last[:n]) << _BITS_OF_CHAR) | beam.pending[:n]
    order = keys.argsort(kind="stable")
    keys = keys.take(order)
    fits = np.ones(n, np.bool_)
    fits[order[TWINS:][keys[TWINS:] == keys[:-TWINS]]] = False
    rows: _Ints = fits.nonzero()[0][:limit]
    return rows


_BITS_OF_CHAR = 21


def _made(growth: _Growth, scores: _Floats, places: _Ints, table: Table) -> tuple[_Beam, _Ints]:
    """What comes at these places, without texts, and which of them these are: where a gloss had to come, none can."""
    beam, known = growth.beam, characters()
    source, choice = growth.source.take(places), growth.choice.take(places)
    chars, pending = growth.fan.chars.take(choice), growth.fan.pending.take(choice)
    due = _flags(table.certain).take(chars) & ~beam.split.take(source)
    older, last = beam.last.take(source), known.folded.take(chars)
    made = _Beam([], scores.take(places), older, last, pending, due, np.zeros_like(due))
    stays = (chars == STAYS).nonzero()[0]
    for name in ("older", "last", "due", "split") if len(stays) else ():
        getattr(made, name)[stays] = getattr(beam, name).take(source.take(stays))
    kept = (~due | (pending == 0)).nonzero()[0]
    return (made, places) if len(kept) == len(places) else (made.take(kept, []), places.take(kept))


@lru_cache(maxsize=16)
def _flags(chars: frozenset[str]) -> _Flags:
    """Which places in `characters` are of these."""
    flags = np.zeros(0x10000, np.bool_)
    flags[[int.from_bytes(data) for data in map(encode, chars) if data]] = True
    return flags


def _highest(scores: _Floats, n: int) -> _Ints:
    """Places of the n highest scores, and of those that equal the last of these: best first, equal ones in order."""
    if len(scores) <= n:
        return _order(scores)
    places = (scores >= np.partition(scores, -n)[-n]).nonzero()[0]
    order: _Ints = places.take(_order(scores.take(places)))
    return order


def _all(growth: _Growth, table: Table) -> _Beam:
    """All hypotheses that come of these, in order: a gloss may refute the best of them."""
    scores = growth.scores()
    made, places = _made(growth, scores, np.arange(len(scores)), table)
    return made._replace(texts=growth.texts(places))


def _continued(growth: _Growth, char: str, table: Table, known_as: str = "", unless: str = "") -> _Beam:
    """All hypotheses that come of these, in order, those with a byte completed followed by one character more.

    Those that are hopeless are left out.

    Args:
        growth: the hypotheses.
        char: the character.
        table: as in `search`.
        known_as: what it is for the language model, if not itself.
        unless: characters behind which it does not come.
    """
    scores = growth.scores()
    made, places = _made(growth, scores, np.arange(len(scores)), table)
    source, before = growth.source.take(places), growth.fan.chars.take(growth.choice.take(places))
    ends = (before != STAYS) & (growth.beam.pending.take(source) != 0)
    ends &= ~_flags(frozenset(unless)).take(before)
    folded = np.full(len(places), ord(known_as or fold_text(char)))
    contexts = columns_of(made.older), columns_of(made.last)
    steps = next_steps(*contexts, np.arange(len(places)), columns_of(folded)) * ends
    score, refuted = made.score + steps / STEPS, ends & made.due
    rows = (~refuted & (score >= score.max(initial=-np.inf, where=~refuted) - HOPELESS)).nonzero()[0]
    texts = zip(growth.texts(places.take(rows)), ends.take(rows).tolist(), strict=True)
    followed = _Beam(
        [],
        score,
        np.where(ends, made.last, made.older),
        np.where(ends, folded, made.last),
        made.pending,
        np.where(ends, char in table.certain, made.due),
        made.split,
    )
    return followed.take(rows, [text + char * end for text, end in texts])


def _read_gloss(beam: _Beam, reading: str, table: Table) -> _Beam:
    """The gloss stands behind the pair that the site matched: the last two bytes before it."""
    states = zip(beam.texts, beam.pending.tolist(), beam.due.tolist(), strict=True)
    read = [
        (row, pending, char in table.glosses)
        for row, (text, number, due) in enumerate(states)
        for pending, char in _glossed(text[-1], number, due, reading)
    ]
    rows, pending, known = (np.array([one[i] for one in read], np.int64) for i in range(3))
    made = beam.take(rows)
    score = made.score + np.where(known, 0.0, OUTSIDE_TABLE)
    return made._replace(
        score=score, pending=pending, due=np.zeros(len(rows), np.bool_), split=made.split | (pending != 0)
    )


@lru_cache(maxsize=4096)
def _glossed(before: str, number: int, due: bool, reading: str) -> tuple[tuple[int, str], ...]:
    """The characters that a gloss may stand behind, and what is pending then.

    Where none is pending that is the one before it. Or it is one that begins with the last byte of that and ends with
    one that is pending.
    """
    data, pending = encode(before) or b"", _sets()[number]
    if len(data) != 2 or (pending is not None and due):
        return ()
    if pending is None:
        return ((0, before),) if reads(before, reading) else ()
    pairs = ((second, decode_pair(bytes((data[1], second)))) for second in pending)
    return tuple((_numbers()[frozenset((second,))], char) for second, char in pairs if char and reads(char, reading))


@lru_cache(maxsize=4096)
def _mark_fan(mark: str, reading: str, swallowed: bool, number: int, due: bool) -> _Fan:
    """A mark is one byte that found no partner, or (`?`) just what it looks like, or (traceless) nothing at all."""
    pending = _sets()[number]
    fans = [_fan([STAYS], 0)] if mark == TRACELESS and pending is None else []
    if not due and pending is None:
        fans.append(_fan([STAYS], _numbers()[LEADS]))
        fans += [_fan([ord("?")], 0)] if mark == "?" else []
    elif not due and pending is not None:
        fans.append(_fan(_completions(pending, TRAILS & LEADS, reading), 0))
        if mark != TRACELESS and not (reading or swallowed):
            # Some decoders put one mark for a pair that is no character.
            fans.append(_lost_fan(number, due))
    return _joined(fans)


@cache
def _lost_fan(number: int, due: bool) -> _Fan:
    """A pair that is no character vanished here: its first byte is a trail of ours, its second a lead."""
    pending = _sets()[number]
    pairs = _undefined_pairs().items() if pending is not None and not due else ()
    fan = _joined([_fan(_completions(pending, firsts), _numbers()[seconds]) for firsts, seconds in pairs])
    return fan._replace(bonus=np.full(len(fan.chars), LENGTH_BONUS))


@lru_cache(maxsize=4096)
def _bytes_fan(data: bytes, number: int, due: bool) -> _Fan:
    """Known bytes: one of an ASCII sign, two of another character, or what is pending and the first of these."""
    pending = _sets()[number]
    if due:
        return _fan([], 0)
    if pending is not None:
        behind = data[1:] if data[1:] >= b"\x80" else b""
        return _fan(_completions(pending, frozenset(data[:1])), _numbers()[frozenset(behind) or None])
    char = int.from_bytes(data)
    return _fan([char] if char <= 0x80 or characters().codes[char] else [], 0)


def _fan(chars: "_Ints | Sequence[int]", pending: int) -> _Fan:
    """These with the same pending behind each."""
    return _Fan(np.asarray(chars, np.int64), np.full(len(chars), pending), np.zeros(len(chars)))


def _joined(fans: Sequence[_Fan]) -> _Fan:
    """The choices of all of these."""
    return fans[0] if len(fans) == 1 else _Fan(*map(np.concatenate, zip(_fan([], 0), *fans, strict=True)))


@cache
def _undefined_pairs() -> dict[frozenset[int], frozenset[int]]:
    """First bytes of undefined pairs of GBK → their second bytes, as far as these can be leads in turn."""
    table: dict[frozenset[int], frozenset[int]] = {}
    for first in LEADS:
        seconds = frozenset(b for b in TRAILS & LEADS if decode_pair(bytes((first, b))) is None)
        if seconds:
            table[seconds] = table.get(seconds, frozenset()) | {first}
    return {firsts: seconds for seconds, firsts in table.items()}


class Characters(NamedTuple):
    """What is known of all characters that there are in GBK, at their one or two bytes as one number."""

    codes: _Ints
    """Code points; 0 where there is no character, -1 at `STAYS`."""
    folded: _Ints
    """As the language model knows them."""
    columns: _Ints
    """Where they are there."""
    penalty: _Floats


STAYS = 0xFFFF
"""The place in `characters` of no character at all: the hypothesis stays as it is."""


@cache
def characters() -> Characters:
    """The table of them, with the mark for a byte that is none at 0x80."""
    known = [*map(chr, range(0x80)), OPEN, *[""] * (0x10000 - 0x81)]
    for lead in LEADS:
        for trail in TRAILS:
            known[lead << 8 | trail] = decode_pair(bytes((lead, trail))) or ""
    chars = np.array([ord(char or "\0") for char in known])
    folded = codes(fold_text(text_of(chars.astype(np.uint32)))).astype(np.int64)
    wrong = [i for i, char in enumerate(known) if char in simplified_only() and not _in_big5(char)]
    penalty = np.zeros(len(known))
    penalty[wrong] = WRONG_SCRIPT
    chars[STAYS] = -1
    return Characters(chars, folded, columns_of(folded), penalty)


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


@lru_cache(maxsize=1 << 13)
def _completions(leads: frozenset[int], trails: frozenset[int], reading: str = "") -> _Ints:
    """The characters of these leads and trails (with this reading), the commonest `CHOICES` of them."""
    chars = (np.array(list(leads))[:, None] << 8 | np.array(list(trails))).ravel()
    scores = _commonness().take(chars)
    places = (scores > -np.inf).nonzero()[0]
    chars = chars.take(places.take(_order(scores.take(places))))
    if len(chars) > 1:
        chars = chars[~_flags(_WIDE).take(chars)]
    if reading:
        chars = chars[_flags(_glossed_ones()).take(chars)]
        known = map(chr, characters().codes.take(chars).tolist())
        fitting = (i for i, char in enumerate(known) if reads(char, reading))
        chars = chars.take(np.fromiter(islice(fitting, CHOICES), np.int64))
    return np.array(chars[:CHOICES])


@cache
def _glossed_ones() -> frozenset[str]:
    """The only ones of which `reads` is true of anything."""
    return frozenset(map(chr, simplified()))


@cache
def _commonness() -> _Floats:
    """How common the character of each lead and trail is, for a Traditional text; minus infinity for none."""
    known = characters()
    scores: _Floats = next_scores("\n\n").take(known.columns) / STEPS + known.penalty
    scores[known.codes == 0] = -np.inf
    return scores


def _order(scores: _Floats) -> _Ints:
    """Places of the scores, best first, equal ones in order."""
    return np.argsort(-scores, kind="stable")
