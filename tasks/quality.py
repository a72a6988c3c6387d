"""What a document is like, in figures to filter by. Nothing is dropped for them.

All are taken from the clean text (or, how much was edited, from the edits), in a few passes of numpy and `re`;
`docs/recipes.md` has some of them in SQL. `benchmarks/quality.py` measures what the flags are worth, and the cost.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import Cleaned, Damage
from tasks import rules
from tasks.identify import MOST_CHARS, Counts, Kind, count_all, joined, kinds

NGRAM = 10
"""Tokens in a row, for what is repeated (`_ngrams` is made for ten): the longest of the n-grams in which Gopher counts
duplicates (Rae et al. 2021, arXiv:2112.11446, table A1: n from 5 to 10 words). Ours are ideographs or words; ten
ideographs are some six words."""

MT_THRESHOLD = 2.0
"""From here on a text is flagged `machine-translated`. So are none of 623 that people wrote in English, one of 166 that
people translated from Chinese, and 17 of 18 pages like seeds 000 and 001; of others see docs/benchmarks.md."""

SPUN_THRESHOLD = 0.5
"""From here on a text is flagged `spun`: half of its long paragraphs are pieces. No other of 1,536 texts has a score at
all."""

_FEWEST_WORDS = 200
"""Rates are taken as if a text had so many words at least: one mark in a short text says little."""

_MOST_PER_KIND = 1.8
"""What marks of one kind add at most, less than the threshold: a word that is the subject of its text (`enterprises`,
`year-on-year`) is no habit, and one habit alone (capitals after commas, in a list of titles) flags nothing."""

_PARAGRAPH_WORDS = 30
"""A line with more words is a paragraph of prose: lines wrapped at 120 columns have 20, bare lists of links fewer."""

_INNER_SENTENCE = re.compile(r"[a-z0-9%)]\. [A-Z][a-z]")
"""Capitals within: who writes in lower case throughout is no machine."""


class TextFigures(NamedTuple):
    """Figures of a clean text. Shares are of its visible characters, and 0 where there are none."""

    n_lines: int
    """Lines that are not blank."""
    mean_line_chars: float
    """Their mean length in characters; 0 where there are none."""
    han_share: float
    """Ideographs: Unicode's script Han."""
    punctuation_share: float
    """Punctuation and symbols: Unicode's categories P and S."""
    repeated_share: float
    """Of the characters in words and ideographs: those in n-grams (`NGRAM`) that occur more than once."""


class EnglishFigures(NamedTuple):
    """Figures of an English text, and the flags that follow from them."""

    mt_score: float
    """Marks of machine translation from Chinese in 100 words, by weight."""
    spun_score: float
    """Share of the paragraphs that end without a stop; 0 if fewer than two do, or all begin in upper case."""
    flags: tuple[str, ...]


class EditFigures(NamedTuple):
    """How much of a document was edited. Shares are of the characters of the decoded text, 1.0 at most."""

    removed_share: float
    """By how much edits shortened it: `chars_removed` against `decoded_chars`."""
    edited_share: float
    """What edits replaced, removed or put in, the script step's left out: conversion is no repair."""
    damage_chars: int
    """Characters of the clean text in spans of `damage`."""


def text_figures(text: str) -> TextFigures:
    """Figures of any text; what is repeated is looked for in its first `MOST_CHARS` characters."""
    (found,) = figures([text], count_all([text]))
    return found


def figures(texts: Sequence[str], counts: Sequence[Counts]) -> list[TextFigures]:
    """Figures of texts whose characters were counted together: of many in a third of the time of one by one."""
    parts = zip(texts, counts, _repeated_shares(texts), strict=True)
    return [_figures(text, of_text.kinds, share) for text, of_text, share in parts]


def _figures(text: str, counts: Sequence[int], share: float) -> TextFigures:
    n_visible = len(text) - counts[Kind.UNSEEN]
    lines = [len(line) for line in text.split("\n") if line and not line.isspace()]
    return TextFigures(
        len(lines),
        _share(sum(lines), len(lines)),
        _share(counts[Kind.HAN], n_visible),
        _share(counts[Kind.SIGN], n_visible),
        share,
    )


def _share(part: float, whole: float) -> float:
    """To four digits: more would be bytes without meaning."""
    return round(float(part / whole), 4) if whole else 0.0


_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, odd: the multiplier of Fibonacci hashing (Knuth, The Art of Computer Programming,
vol. 3, 6.4). That two of a million n-grams share a hash by chance happens once in 30 million texts."""


def repeated_share(text: str) -> float:
    """Share of characters in repeated n-grams, after Gopher's "duplicate n-grams"; each is counted once.

    A token is an ideograph, a kana, a Hangul syllable, or a word (letters, digits and marks in a row); all else is left
    out. The first occurrence counts as well as the later ones, as the paper has it.
    """
    (share,) = _repeated_shares([text])
    return share


def _repeated_shares(texts: Sequence[str]) -> list[float]:
    shares = [0.0] * len(texts)
    for chars, pieces in joined(text[:MOST_CHARS] for text in texts):
        of_kind = kinds(chars)
        inside, member = _are(of_kind, Kind.LATIN, Kind.DIGIT), _are(of_kind, Kind.HAN, Kind.DIGIT)
        goes_on = np.zeros(len(chars), bool)
        np.logical_and(inside[1:], inside[:-1], out=goes_on[1:])
        starts = np.flatnonzero(member & ~goes_on)
        if len(starts) <= NGRAM:
            continue
        ngrams = _ngrams(_tokens(chars, starts, np.flatnonzero(goes_on)))
        edges = np.searchsorted(starts, [*(piece.start for piece in pieces), len(chars)]).tolist()
        for piece, first, last in zip(pieces, edges, edges[1:], strict=False):
            own = ngrams[first : max(last - NGRAM + 1, first)]
            order = np.argsort(own)
            is_same = own[order[1:]] == own[order[:-1]]
            if is_same.any():  # mostly there is none
                at = starts[first:last] - piece.start
                lengths = np.add.reduceat(member[piece.start : piece.end], at, dtype=np.int64)
                inside = _in_repeated(np.concatenate([order[1:][is_same], order[:-1][is_same]]), last - first)
                shares[piece.number] = _share(lengths[inside].sum(), lengths.sum())
    return shares


def _are(of_kind: NDArray[np.uint8], first: Kind, last: Kind) -> NDArray[np.bool_]:
    """Whether they are of one of some kinds that follow each other: those that words or tokens are made of do."""
    found: NDArray[np.bool_] = of_kind - np.uint8(first) <= last - first  # below the first one it wraps around
    return found


def _tokens(chars: NDArray[np.uint32], starts: NDArray[np.intp], rest: NDArray[np.intp]) -> NDArray[np.uint64]:
    """A hash for each token: the sum of its characters, each mixed with its place in it.

    Args:
        chars: Code points.
        starts: Where tokens begin.
        rest: Where their other characters are.
    """
    tokens = _mixed(chars[starts].astype(np.uint64))
    if len(rest):
        token = np.searchsorted(starts, rest, "right") - 1
        place = (rest - starts[token]).astype(np.uint64)
        np.add.at(tokens, token, _mixed(chars[rest] + (place << np.uint64(21))))  # 21 bits hold a code point
    return tokens


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers *= _MIX
    numbers ^= numbers >> np.uint64(32)
    numbers *= _MIX
    numbers ^= numbers >> np.uint64(29)
    return numbers


def _ngrams(tokens: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash for the n-gram that begins at each token, made of those of its halves."""
    two = tokens[:-1] * _MIX + tokens[1:]
    four = two[:-2] * _MIX + two[2:]
    eight = four[:-4] * _MIX + four[4:]
    return eight[:-2] * _MIX + two[8:]


def _in_repeated(ngrams: NDArray[np.intp], n_tokens: int) -> NDArray[np.bool_]:
    """For each token, whether it is in an n-gram that occurs more than once: in one of these."""
    edges = np.zeros(n_tokens + 1, np.int8)
    edges[ngrams] += 1  # once for each that is there: numpy adds before it stores
    edges[ngrams + NGRAM] -= 1
    return np.cumsum(edges[:-1], dtype=np.int8) > 0


class _Phrase(NamedTuple):
    kind: str
    weight: int
    text: str
    """With the space before its first word."""
    first: str
    """The first of its words if it has several: where that isn't there, the phrase needn't be looked for."""


@cache
def _phrases() -> tuple[_Phrase, ...]:
    rows = rules.load("machine-english")
    return tuple(
        _Phrase(kind, int(weight), f" {phrase}", phrase.partition(" ")[0] if " " in phrase else "")
        for kind, weight, phrase in rows
    )


_NEW_SENTENCE = re.compile(
    "[,;] (?:It|The|This|That|These|Those|Let|Among|In|For|And|But|So|As|At|We|They|Although|There|With|By|After|More"
    "|Less|To|On|When|While|If|However|Through|From|Some|Most) (?=[a-z])"
)
"""Chinese joins clauses by commas. A machine that cuts there leaves the parts their capitals: `year by year, It has
made`. Words that begin titles or names rarely; a title goes on with a capital."""

_GLUED = re.compile("[0-9](?:[mbtr]illion|yuan|tons)")
"""`61billion`: a number and its unit have no space between them in Chinese."""

_HEADING = re.compile(r"\[[^\]\n]{5,60}\] ?[a-z]")
"""`[China paint information] in recent years`: Chinese news puts its source in lenticular brackets, 【】."""


class _Paragraph(NamedTuple):
    """A line of prose."""

    text: str

    @property
    def is_lower(self) -> bool:
        """Whether it begins in lower case."""
        return self.text[0].islower()

    @property
    def is_open(self) -> bool:
        """Whether it ends without a stop."""
        return self.text[-1].isalnum() or self.text[-1] in "%)"


def _paragraphs(text: str) -> list[_Paragraph]:
    lines = (line.strip() for line in text.split("\n"))
    return [_Paragraph(line) for line in lines if len(line.split(None, _PARAGRAPH_WORDS)) > _PARAGRAPH_WORDS]


def english_figures(text: str) -> EnglishFigures:
    """Figures of a text that is English: of its first `MOST_CHARS` characters."""
    text = text[:MOST_CHARS]
    mt, spun = mt_score(text), spun_score(text)
    flags = [("machine-translated", mt >= MT_THRESHOLD), ("spun", spun >= SPUN_THRESHOLD)]
    return EnglishFigures(mt, spun, tuple(name for name, is_so in flags if is_so))


def mt_score(text: str) -> float:
    """Marks of machine translation in 100 words by their weights, those of one kind `_MOST_PER_KIND` at most."""
    words = text.lower().split()
    hundreds = max(len(words), _FEWEST_WORDS) / 100
    folded = f" {' '.join(words)}"
    known = {"", *words}
    found: Counter[tuple[str, int]] = Counter()
    for phrase in _phrases():
        if phrase.first in known:
            found[phrase.kind, phrase.weight] += folded.count(phrase.text)
    marks = [(weight, n) for (_, weight), n in found.items()]
    return round(sum(min(weight * n / hundreds, _MOST_PER_KIND) for weight, n in (*marks, *_habits(text, folded))), 2)


def _habits(text: str, folded: str) -> Iterator[tuple[int, int]]:
    """Weights and numbers of marks that are no phrases."""
    paragraphs = _paragraphs(text)
    yield 3, sum(p.is_lower for p in paragraphs)
    yield 1, sum(p.is_open for p in paragraphs)
    yield 3, sum(bool(_HEADING.match(p.text)) for p in paragraphs)
    yield 3, len(_NEW_SENTENCE.findall(text))
    yield 3, len(_GLUED.findall(text))
    yield 3, _n_doubled(folded)


def _n_doubled(folded: str) -> int:
    """How often a word stands on both sides of `and`: 改进提升 is `improvement and improvement` to a machine."""
    pieces = folded.split(" and ")
    pairs = ((left.rpartition(" ")[2], right) for left, right in pairwise(pieces))
    return sum(
        len(word) >= 5 and word.isalpha() and f"{right} ".startswith((f"{word} ", f"{word},", f"{word}."))
        for word, right in pairs
    )


def spun_score(text: str) -> float:
    """Share of the paragraphs that end without a stop, if two or more do and one of them begins in lower case.

    So look the pages of clone sites that have articles translated in pieces, with advertising phrases put into the
    sentences (seed 001): the phrases can't be told, the pieces can.
    """
    paragraphs = _paragraphs(text)
    pieces = [p for p in paragraphs if p.is_open]
    if len(pieces) < 2 or not any(p.is_lower for p in pieces) or not _INNER_SENTENCE.search(text):
        return 0.0
    return _share(len(pieces), len(paragraphs))


def edit_figures(decoded_chars: int, cleaned: Cleaned) -> EditFigures:
    """Figures of what the steps did to a text of so many characters."""
    removed = sum(stage.n_removed for stage in cleaned.stages)
    touched = sum(stage.n_touched for stage in cleaned.stages if stage.step != "script")
    return EditFigures(
        min(_share(removed, decoded_chars), 1.0), min(_share(touched, decoded_chars), 1.0), _covered(cleaned.damage)
    )


def _covered(damage: Iterable[Damage]) -> int:
    """Characters in spans, those in several counted once."""
    total = end = 0
    for span in sorted(damage, key=lambda d: d.start):
        total += max(span.start + len(span.text) - max(span.start, end), 0)
        end = max(end, span.start + len(span.text))
    return total
