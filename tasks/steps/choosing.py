"""Choosing characters of which only some bytes are known: by the language on both sides, and by the document itself.

Where several unknown characters are near each other, whole fillings of the gap are weighed against each other, so that
none is taken for granted that is itself a guess. What is not nearly certain is left open.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tasks.language import STEPS, column, fold_text, next_score, next_scores, next_steps, pair_score, pair_scores
from tasks.scripts import simplified_only, traditional_only
from tasks.steps.latin import gloss_at
from tasks.steps.pinyin import fits

OPEN = "\ufffd"
"""What stands for a character that is left open."""

BEAM = 48
"""Fillings of a gap that are kept after each character."""

LONGEST = 8
"""Unknown characters of one gap, beyond which all of them are left open."""

BUDGET = 6_000
"""Unknown characters weighed in one document, at 1 ms and less; those behind it are left open."""

REACH = 2
"""Known characters between two gaps that make them independent: the model looks back two characters."""

OTHER = -5.0
"""Score of a character that is none of the options: rare ones are not among them."""

MODESTY = 0.85
"""Exponent of the odds: the model is too sure of itself. Calibrated on news, as are all numbers below."""

PAIR_WEIGHT, TRIPLE_WEIGHT = 10.0, 4.0
"""How many occurrences in the document the model is worth, after one character and after two. Signs and digits are the
model's alone: with them the document misleads."""

BALANCE = 3.0
"""For a bracket that is missing in its line, and against one that is not; against what a gloss does not spell."""

SURE = 0.96
"""Least share of the likelihood that a character must have to be chosen."""

SURE_OF_UNIT = 0.995
"""The same behind a digit, where nearly every unit reads well and a wrong one changes what is said (`9时20分`)."""

_Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

_PAIRS = ("（）", "《》", "“”", "‘’", "「」", "『』", "【】", "〈〉", "〔〕")
_BRACKETS = {char: pair for pair in _PAIRS for char in pair}
_DIGITS = str.maketrans("123456789", "000000000")
_DOUBLED = frozenset("—…")


class Choice(NamedTuple):
    """What an unknown character most likely is, or `OPEN`, and the odds of that."""

    char: str
    odds: float


def choose(text: str, options: Mapping[int, Sequence[str]]) -> dict[int, Choice]:
    """The characters at some places of a text, each one of its options, where that is nearly certain.

    Args:
        text: what stands at the places themselves does not matter.
        options: place in the text → the characters that its known bytes leave.
    """
    places = sorted(options)[:BUDGET]
    if not places:
        return {}
    evidence = _Evidence(text, options)
    chosen = dict.fromkeys(options, Choice(OPEN, 0.0))
    for gap in _gaps(places):
        if len(gap) <= LONGEST:
            chosen.update(_fill(gap, options, evidence))
    return chosen


def _gaps(places: Sequence[int]) -> Iterator[list[int]]:
    """Places that are near each other together."""
    gap: list[int] = []
    for place in places:
        if gap and place - gap[-1] > REACH:
            yield gap
            gap = []
        gap.append(place)
    yield gap


class _Path(NamedTuple):
    score: float
    last: str
    """The two characters before, folded."""
    chars: tuple[str, ...]


def _fill(gap: Sequence[int], options: Mapping[int, Sequence[str]], evidence: "_Evidence") -> dict[int, Choice]:
    """The likeliest character at each place of a gap, with its share among all fillings."""
    start, end = gap[0], gap[-1] + 1 + REACH
    paths = [_Path(0.0, evidence.known(start - 2) + evidence.known(start - 1), ())]
    for place in range(start, end):
        if place in options and place < gap[-1] + 1:
            paths = _best(paths, place, _Options.of(tuple(options[place])), evidence)
        else:
            char = evidence.known(place)
            scores = evidence.scores([path.last for path in paths], char)
            paths = [_Path(p.score + score, p.last[1] + char, p.chars) for p, score in zip(paths, scores, strict=True)]
    best = max(p.score for p in paths)
    shares: list[dict[str, float]] = [{} for _ in gap]
    for path in paths:
        for share, char in zip(shares, path.chars, strict=True):
            share[char] = share.get(char, 0.0) + 10.0 ** (MODESTY * (path.score - best))
    least = [SURE_OF_UNIT if evidence.known(place - 1).isdigit() else SURE for place in gap]
    return {place: _decided(share, enough) for place, share, enough in zip(gap, shares, least, strict=True)}


def _decided(share: Mapping[str, float], least: float) -> Choice:
    char = max(share, key=share.__getitem__)
    odds = share[char] / sum(share.values())
    return Choice(char, odds) if odds >= least and char != OPEN else Choice(OPEN, odds)


class _Options(NamedTuple):
    """The characters that one may be, and what is needed to score all of them at once."""

    chars: tuple[str, ...]
    folded: tuple[str, ...]
    columns: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    words: _Flags
    """Which of them the document has a say in."""
    single: _Flags
    """Which never stand twice in a row: `。。` is nowhere."""
    places: dict[str, list[int]]
    """Folded character → where it is among them."""

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, chars: tuple[str, ...]) -> "_Options":
        folded = tuple(map(_fold, chars))
        places: dict[str, list[int]] = {}
        for i, char in enumerate(folded):
            places.setdefault(char, []).append(i)
        words = np.array([char.isalpha() for char in folded], bool)
        single = np.array([not char.isalnum() and char not in _DOUBLED for char in folded], bool)
        return cls(chars, folded, np.array([column(char) for char in folded], np.intp), words, single, places)


ROUNDING = 1e-6
"""Scores that are worked out at once may differ from those worked out one by one by so much, and by far less."""


def _best(paths: Sequence[_Path], place: int, options: _Options, evidence: "_Evidence") -> list[_Path]:
    """The best paths through one more unknown character.

    All are scored at once, about; what can be among the best by that is scored exactly.
    """
    fits = [evidence.fit(place, char) for char in options.chars]
    others = np.array([path.score + OTHER for path in paths])
    known = np.array([path.score + evidence.about(path.last, options) for path in paths]) + np.array(fits)
    about = np.hstack((others[:, None], known)).ravel()
    least = np.partition(about, -BEAM)[-BEAM] - ROUNDING if len(about) > BEAM else -math.inf
    near = np.flatnonzero((about >= least) & (about > -math.inf)).tolist()
    return heapq.nlargest(BEAM, (_longer(paths, options, fits, i, evidence) for i in near), key=lambda p: p.score)


def _longer(paths: Sequence[_Path], options: _Options, fits: Sequence[float], i: int, evidence: "_Evidence") -> _Path:
    """The i-th of all paths that are one character longer: of each path there is first the one that leaves it open."""
    before, option = divmod(i, len(fits) + 1)
    path = paths[before]
    if not option:
        return _Path(path.score + OTHER, path.last[1] + OPEN, (*path.chars, OPEN))
    folded = options.folded[option - 1]
    score = path.score + fits[option - 1] + evidence.score(path.last, folded)
    return _Path(score, path.last[1] + folded, (*path.chars, options.chars[option - 1]))


@cache
def _fold(char: str) -> str:
    return " " if char == "\xa0" else fold_text(char)


class _Evidence:
    """What speaks for a character: the model, what the document says elsewhere, its script, brackets of its line."""

    def __init__(self, text: str, options: Mapping[int, Sequence[str]]) -> None:
        chars = list(fold_text(text))
        for place in options:
            chars[place] = OPEN
        self.text = "".join(chars)
        self.counts = _counts(self.text.translate(_DIGITS))
        self.followers: dict[str, list[str]] = {}
        for pair in (gram for gram in self.counts if len(gram) == 2):
            self.followers.setdefault(pair[0], []).append(pair[1])
        self.wanted = _wanted_brackets(self.text)
        found = ((place, gloss_at(text, place + 1)) for place in options)
        self.glosses = {place: reading for place, reading in found if reading}
        self.hans, self.hant = _script_scores(text)

    def known(self, place: int) -> str:
        """The folded character at a place; line ends beyond the text."""
        return self.text[place] if 0 <= place < len(self.text) else "\n"

    def score(self, before: str, char: str) -> float:
        """Logarithm of the probability of a folded character after two others."""
        if char == OPEN:
            return 0.0
        if OPEN in before:
            return pair_score(before[1], char)
        return _mixed(self.counts, before.translate(_DIGITS), char.translate(_DIGITS), next_score(before, char))

    def scores(self, contexts: Sequence[str], char: str) -> list[float]:
        """`score` of one character after each of several contexts."""
        closed = [before for before in contexts if OPEN not in before] if char != OPEN else []
        if len(closed) < 2:
            return [self.score(before, char) for before in contexts]
        older, last = np.array([[column(c) for c in before] for before in closed], np.intp).T
        steps = next_steps(older, last, np.arange(len(closed)), np.full(len(closed), column(char), np.intp)) / STEPS
        known = dict(zip(closed, steps.tolist(), strict=True))
        digits = char.translate(_DIGITS)
        return [
            _mixed(self.counts, before.translate(_DIGITS), digits, known[before])
            if before in known
            else pair_score(before[1], char)
            for before in contexts
        ]

    def about(self, before: str, options: _Options) -> _Floats:
        """`score` of all options, but for roundings; minus infinity for those that can't stand there."""
        scores = (pair_scores(before[1]) if OPEN in before else next_scores(before))[options.columns] / STEPS
        if OPEN not in before and before[1].isalpha():
            n_pair, n_triple = self.counts[before[1]], self.counts[before.translate(_DIGITS)]
            pair = PAIR_WEIGHT * 10.0**scores / (n_pair + PAIR_WEIGHT)
            mixed = np.log10(TRIPLE_WEIGHT * pair / (n_triple + TRIPLE_WEIGHT))
            scores = np.where(options.words, mixed, scores)
            for char in self.followers.get(before[1], ()):
                for i in options.places.get(char, ()):
                    scores[i] = self.score(before, char)
        for i in options.places.get(before[1], ()):
            if options.single[i]:
                scores[i] = -math.inf
        return scores

    def fit(self, place: int, char: str) -> float:
        """What script, brackets and a gloss say to a character at an unknown place."""
        if char in _BRACKETS:
            return BALANCE if char in self.wanted.get(place, ()) else -BALANCE
        if reading := self.glosses.get(place):
            return BALANCE if fits(reading, char) else -BALANCE
        return self.hans if char in simplified_only() else self.hant if char in traditional_only() else 0.0


def _mixed(counts: Counter[str], before: str, char: str, score: float) -> float:
    """The model's score, mixed with how often the document has the pair and the triple."""
    if not (before[1] + char).isalpha():
        return score
    pair = (counts[before[1] + char] + PAIR_WEIGHT * 10.0**score) / (counts[before[1]] + PAIR_WEIGHT)
    return math.log10((counts[before + char] + TRIPLE_WEIGHT * pair) / (counts[before] + TRIPLE_WEIGHT))


def _counts(text: str) -> Counter[str]:
    """How often each character, pair and triple stands in a text, without unknown ones."""
    counts = Counter(text)
    counts.update(map("".join, pairwise(text)))
    counts.update(map("".join, zip(text, text[1:], text[2:], strict=False)))
    return counts


def _wanted_brackets(text: str) -> dict[int, set[str]]:
    """At each unknown place, the brackets that its line lacks: one whose other half follows or went before."""
    wanted: dict[int, set[str]] = {}
    seen: dict[str, str] = {}
    for place, char in enumerate(text):
        if char == "\n":
            seen.clear()
        elif char in _BRACKETS:
            seen[_BRACKETS[char]] = char
        elif char == OPEN:
            wanted[place] = {pair[1] for pair, last in seen.items() if last == pair[0]}
    seen.clear()
    for place in range(len(text) - 1, -1, -1):
        char = text[place]
        if char == "\n":
            seen.clear()
        elif char in _BRACKETS:
            seen[_BRACKETS[char]] = char
        elif char == OPEN:
            before = wanted[place]
            closed = {pair for pair, last in seen.items() if last == pair[1]}
            wanted[place] = {c for c in before if _BRACKETS[c] not in closed}
            wanted[place] |= {pair[0] for pair in closed if pair[1] not in before}
    return wanted


def _script_scores(text: str) -> tuple[float, float]:
    """Scores of a character that only Simplified text has, and of one that only Traditional text has; few mix them."""
    hans, hant = (sum(map(text.count, chars & set(text))) for chars in (simplified_only(), traditional_only()))
    return 4 * math.log10((hans + 1) / (hans + hant + 2)), 4 * math.log10((hant + 1) / (hans + hant + 2))
