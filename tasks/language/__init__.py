"""How much a text looks like Chinese: a character n-gram model, small, loaded when first asked.

Scores are logarithms to base 10 of the probability of each character after the one before it. Text is folded to
Simplified and to full-width signs first, so that script and width do not count. News comes out at about -2.2 a
character, characters drawn at random from GB2312 at about -5. `tasks/language/build.py` says what it was counted on.
"""

import math
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.scripts import CharTable, codes, simplified, text_of

MODEL_PATH = Path(__file__).parent / "ngrams.npz"

UNSEEN = -7.0
"""Score of a character that the model does not know (below the rarest one that it does)."""

LONGEST_WORD = 6
"""Characters of the longest words that the model knows: longer ones are titles and sayings of several words."""

UNKNOWN_WORD = -6.0
"""Score of an ideograph that is no word by itself (the rarest word that is listed has -7.1)."""

NO_WORD = -1.5
"""Score of a sign between words: about every tenth character of news."""

_WIDTH = str.maketrans(",:;!?()~０１２３４５６７８９", "，：；！？（）～0123456789")
"""Signs that stand for each other between ideographs; digits the other way round: half-width is their rule."""


def fold_width(text: str) -> str:
    """Full-width signs for half-width ones and half-width digits for full-width ones, keeping the length."""
    return text.translate(_WIDTH)


def fold_text(text: str) -> str:
    """A text as the model knows it, Simplified and with the width of `fold_width`, keeping the length."""
    return _folding()(text)


@cache
def _folding() -> CharTable:
    """One table for script and width: passing over a text twice costs twice as much."""
    return CharTable({**simplified(), **{code: chr(other) for code, other in _WIDTH.items()}})


Kinds = np.ndarray[tuple[int], np.dtype[np.uint16]]
"""A set of kinds for each character, one bit for each kind."""


def table_of_kinds(*kinds: Iterable[str]) -> Kinds:
    """For `kinds_in`: what is in the first set of characters has the bit 1, in the second 2, and so on.

    Only of the Basic Multilingual Plane.
    """
    table = np.zeros(0x10000, np.uint16)
    for i, chars in enumerate(kinds):
        table[[ord(char) for char in chars]] |= np.uint16(1 << i)
    return table


def kinds_in(text: str, table: Kinds) -> Kinds:
    """Kinds of each character: thirty times as fast as a pattern with one of these sets."""
    return table.take(codes(text), mode="clip")  # what is beyond gets the kinds of U+FFFF: none


Scores = np.ndarray[tuple[int], np.dtype[np.int16]]
"""Scores in steps of 1/32, each in its column: all sums of them are exact, so their order does not matter."""

STEPS = 32
_VALUES = [step / -STEPS for step in range(256)]


Columns = NDArray[np.int64]
"""Places of folded characters in the tables of the model."""


class _Model(NamedTuple):
    """Scores, sorted by what they are of, and what a context adds when it has not seen the character that follows.

    Flat arrays of 29 MB: as dicts of strings they take 200 MB and a second, in every process anew. What is looked up
    one by one is made a dict of when it is asked for (`_Seen`, `_after`).
    """

    chars: str
    """All characters that the model knows. Their places are columns; a last column is of all that it does not know."""
    columns: Columns
    """Code point → column."""
    unigram: Scores
    backoff: Scores
    pairs: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    """Where in the following three the pairs of each first character begin; one more for the end, as these have."""
    second: "np.ndarray[tuple[int], np.dtype[np.uint16]]"
    bigram: Scores
    pair_backoff: Scores
    width: int
    """Numbers in each row of the following two."""
    seen: "np.ndarray[tuple[int], np.dtype[np.uint64]]"
    """Which columns were seen after each character, a bit each, in numbers of 64 of them."""
    before: "np.ndarray[tuple[int], np.dtype[np.uint32]]"
    """How many pairs stand before each of these numbers (the rank of Jacobson 1989: it leads from a bit to a pair)."""
    triples: "np.ndarray[tuple[int], np.dtype[np.uint32]]"
    """The same as `pairs` for the triples of each pair."""
    third: "np.ndarray[tuple[int], np.dtype[np.uint16]]"
    trigram: Scores
    keys: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    """Number of its pair and last column of each triple, in one."""


_BITS = 64
_BIT = np.uint64(1) << np.arange(_BITS, dtype=np.uint64)
_BELOW = _BIT - np.uint64(1)
"""For each bit, all those below."""


@cache
def _model() -> _Model:
    with np.load(MODEL_PATH) as file:
        chars = file["chars"]
        n, n_pairs = len(chars), len(file["first"])
        columns = np.full(0x10000, n)
        columns[chars] = np.arange(n)
        first, second, third = (columns[file[name]] for name in ("first", "second", "third"))
        heads = np.cumsum(file["triple_pair"], dtype=np.int64)
        seen, before = _bits(first, second, n + 1)
        return _Model(
            chars.tobytes().decode("utf-16-le"),
            columns,
            np.append(-file["unigram"].astype(np.int16), np.int16(UNSEEN * STEPS)),
            np.append(-file["backoff"].astype(np.int16), np.int16(0)),
            np.searchsorted(first, np.arange(n + 1)),
            second.astype(np.uint16),
            -np.append(file["bigram"], np.uint8(0)).astype(np.int16),
            -np.append(file["pair_backoff"], np.uint8(0)).astype(np.int16),
            len(seen) // (n + 1),
            seen,
            before,
            np.searchsorted(heads, np.arange(n_pairs + 2)).astype(np.uint32),
            third.astype(np.uint16),
            -file["trigram"].astype(np.int16),
            heads * (n + 1) + third,
        )


def _bits(first: Columns, second: Columns, n: int) -> tuple[Any, Any]:
    """A bit for each of these pairs (sorted) in a matrix of n columns a side, and how many are before each number."""
    width = -(-n // _BITS)
    numbers, starts = np.unique(first * np.int64(width) + second // _BITS, return_index=True)
    seen = np.zeros(n * width, np.uint64)
    seen[numbers] = np.bitwise_or.reduceat(np.uint64(1) << (second % _BITS).astype(np.uint64), starts)
    return seen, np.cumsum(np.bitwise_count(seen), dtype=np.uint32) - np.bitwise_count(seen)


@cache
def _singles() -> tuple[str, ...]:
    """Its characters: a string of its own for each time that one is the key of a table would be 76 bytes each."""
    return tuple(_model().chars)


@cache
def _columns() -> dict[str, int]:
    return {char: i for i, char in enumerate(_singles())}


def column(char: str) -> int:
    """The place of a folded character in the rows of `next_scores`."""
    return _columns().get(char, len(_model().chars))


def columns_of(chars: NDArray[Any]) -> Columns:
    """The columns of folded code points; what is beyond U+FFFF, the model does not know."""
    columns: Columns = _model().columns.take(chars, mode="clip")
    return columns


def columns_in(text: str) -> Columns:
    """The columns of the characters of a text, which are folded on the way."""
    columns: Columns = _folded_columns().take(codes(text), mode="clip")
    return columns


@cache
def _folded_columns() -> Columns:
    """By code point, up to the first one that nothing is folded to and the model does not know, nor any behind it."""
    every = np.arange(max(_folding().replaced) + 2, dtype=np.uint32)
    return columns_of(codes(fold_text(text_of(every))))


@cache
def _unigram() -> dict[str, float]:
    return dict(zip(_model().chars, (_model().unigram / STEPS).tolist(), strict=False))


class _Seen(dict[str, tuple[float, dict[str, float]]]):
    """What a character adds for others, and the scores of those seen after it; made when it is first asked for."""

    def __missing__(self, char: str) -> tuple[float, dict[str, float]]:
        model, i = _model(), column(char)
        if i == len(model.chars):
            if char < "\U00010000":  # beyond there are a million of them
                self[char] = _UNKNOWN
            return _UNKNOWN
        start, end = model.pairs[i : i + 2].tolist()
        following = map(_singles().__getitem__, model.second[start:end].tolist())
        scores = map(_VALUES.__getitem__, (-model.bigram[start:end]).tolist())
        self[char] = found = (int(model.backoff[i]) / STEPS, dict(zip(following, scores, strict=True)))
        return found


_UNKNOWN: tuple[float, dict[str, float]] = (0.0, {})
_SEEN = _Seen()


def _triples_of(context: str) -> tuple[int, int, int]:
    """What a pair adds for a character not seen after it, in steps, and where the triples begin and end that it has."""
    model, i, j = _model(), column(context[0]), column(context[-1])
    if i < len(model.chars):
        start, end = model.pairs[i : i + 2].tolist()
        pair = start + int(model.second[start:end].searchsorted(j))
        if pair < end and model.second[pair] == j:
            return (int(model.pair_backoff[pair]), *model.triples[pair : pair + 2].tolist())
    return 0, 0, 0


@lru_cache(maxsize=1 << 13)
def _after(context: str) -> tuple[float, dict[str, float]]:
    """The same as `_SEEN` after two characters."""
    model, (backoff, start, end) = _model(), _triples_of(context)
    following = map(_singles().__getitem__, model.third[start:end].tolist())
    scores = map(_VALUES.__getitem__, (-model.trigram[start:end]).tolist())
    return backoff / STEPS, dict(zip(following, scores, strict=True))


@lru_cache(maxsize=256)
def pair_scores(previous: str) -> Scores:
    """`pair_score` of all characters at once, each in its `column`, in steps of 1/32."""
    model, i = _model(), column(previous)
    row: Scores = model.unigram + model.backoff[i]
    if i < len(model.chars):
        start, end = model.pairs[i : i + 2].tolist()
        row[model.second[start:end]] = model.bigram[start:end]
    return row


def next_scores(context: str) -> Scores:
    """`next_score` of all characters at once, each in its `column`, in steps of 1/32."""
    model, (backoff, start, end) = _model(), _triples_of(context)
    row: Scores = pair_scores(context[-1]) + np.int16(backoff)
    row[model.third[start:end]] = model.trigram[start:end]
    return row


def pair_steps(first: Columns, second: Columns) -> Scores:
    """`pair_score` of many pairs of columns at once, in steps of 1/32."""
    model = _model()
    at, seen = _places(first, second)
    steps: Scores = np.where(seen, model.bigram.take(at), model.unigram.take(second) + model.backoff.take(first))
    return steps


def next_steps(older: Columns, last: Columns, of: Columns, chars: Columns) -> Scores:
    """`next_score` of many columns at once, each after one of several contexts, in steps of 1/32.

    Args:
        older: the first column of each context.
        last: the second one.
        of: for each of `chars`, the place of its context.
        chars: columns of the characters that follow.
    """
    model = _model()
    context, known = _places(older, last)
    backoff = model.pair_backoff.take(context) * known
    leads = known & (model.triples.take(context + 1) > model.triples.take(context))
    before = last.take(of)
    at, seen = _places(before, chars)
    steps = np.where(seen, model.bigram.take(at), model.unigram.take(chars) + model.backoff.take(before))
    steps += backoff.take(of)
    maybe = (seen & leads.take(of)).nonzero()[0]  # triples end in pairs that are known
    wanted = (context * (len(model.chars) + 1)).take(of.take(maybe)) + chars.take(maybe)
    found = model.keys.searchsorted(wanted)
    hits = (model.keys.take(found, mode="clip") == wanted).nonzero()[0]
    steps[maybe.take(hits)] = model.trigram.take(found.take(hits))
    return steps


def _places(first: Columns, second: Columns) -> tuple[Any, Any]:
    """Where the pairs of these columns are in the model, and whether they are: meaningless where they are not."""
    model = _model()
    bit = second & (_BITS - 1)
    number = first * model.width + (second >> _BITS.bit_length() - 1)
    seen = model.seen.take(number)
    at = np.add(model.before.take(number), np.bitwise_count(seen & _BELOW.take(bit)), dtype=np.int64)
    return at, seen & _BIT.take(bit) != 0


class _Words(dict[str, dict[str, float]]):
    """Words that begin with a character, with their scores; made when they are first asked for."""

    def __missing__(self, first: str) -> dict[str, float]:
        words, starts, groups, scores = _lexicon()
        if first > "\uffff":
            return {}
        i, j = groups[ord(first) : ord(first) + 2].tolist()
        found = words[int(starts[i]) : int(starts[j]) - 1].split("\n")[: j - i]
        self[first] = made = dict(zip(found, map(_VALUES.__getitem__, scores[i:j]), strict=True))
        return made


_WORDS = _Words()


@cache
def _lexicon() -> tuple[str, "_Offsets", "_Offsets", bytes]:
    """All words in one string, where each of them begins, where those with each first character do, and their scores.

    Of both there is one more, for the end.
    """
    with np.load(MODEL_PATH) as file:
        chars = file["words"]
        starts = np.concatenate(([0], np.flatnonzero(chars == ord("\n")) + 1, [len(chars) + 1])).astype(np.uint32)
        groups = np.searchsorted(chars[starts[:-1]], np.arange(0x10001)).astype(np.uint32)
        return chars.tobytes().decode("utf-16-le"), starts, groups, file["word"].tobytes()


_Offsets = np.ndarray[tuple[int], np.dtype[np.uint32]]


def pair_score(previous: str, char: str) -> float:
    r"""Score of one folded character after another (`\n` for the start or the end of a line)."""
    backoff, seen = _SEEN[previous]
    score = seen.get(char)
    return score if score is not None else backoff + _unigram().get(char, UNSEEN)


@lru_cache(maxsize=1 << 15)
def pair_step(previous: str, char: str) -> float:
    """`pair_score` by the arrays of `pair_steps`: for pairs of many characters, each looked up a few times.

    `pair_score` is as fast once it has made a dict of all that was seen after a character, which takes 0.1 ms.
    """
    columns, n, width, seen, before, bigram, unigram, backoff = _views()
    i, j = columns.get(previous, n), columns.get(char, n)
    number, bit = i * width + j // _BITS, j % _BITS
    bits = seen[number]
    if bits >> bit & 1:
        return bigram[before[number] + (bits & (1 << bit) - 1).bit_count()] / STEPS
    return (unigram[j] + backoff[i]) / STEPS


_View: TypeAlias = "memoryview[int]"


@cache
def _views() -> tuple[dict[str, int], int, int, _View, _View, _View, _View, _View]:
    """What is looked into one by one: numbers of arrays take three times as long."""
    model = _model()
    views = (model.seen.data, model.before.data, model.bigram.data, model.unigram.data, model.backoff.data)
    return _columns(), len(model.chars), model.width, *views


@cache
def _highest() -> dict[str, float]:
    model = _model()
    highest = model.unigram[:-1] + model.backoff.max()
    np.maximum.at(highest, model.second, model.bigram[:-1])
    return dict(zip(model.chars, (highest / STEPS).tolist(), strict=True))


def highest_score(char: str) -> float:
    """What a folded character scores at most, whatever stands before it."""
    return _highest().get(char, UNSEEN)


def next_score(context: str, char: str) -> float:
    """Score of one folded character after two others: sharper than `pair_score`."""
    backoff, seen = _after(context)
    score = seen.get(char)
    return score if score is not None else backoff + pair_score(context[-1], char)


def word_scores(texts: Iterable[str]) -> dict[str, float]:
    """Scores of folded texts as words, each by itself, in the split that scores best (Viterbi 1967).

    It knows longer units than `next_score` does, and nothing of what goes between words: the two are good together.
    What texts have in common at their beginning is looked at once.
    """
    scores: dict[str, float] = {}
    before, best = "", [0.0]
    for text in sorted(set(texts)):
        shared = next((i for i, (a, b) in enumerate(zip(before, text, strict=False)) if a != b), len(before))
        n = len(text)
        best[shared + 1 :] = [-math.inf] * (n - shared)
        for start in range(max(0, shared - LONGEST_WORD + 1), n):
            char, so_far = text[start], best[start]
            words = _WORDS[char]
            alone = words.get(char, UNKNOWN_WORD if "\u3400" <= char <= "\u9fff" else NO_WORD)
            best[start + 1] = max(best[start + 1], so_far + alone)
            for end in range(start + 2, min(start + LONGEST_WORD, n) + 1) if words else ():
                found = words.get(text[start:end])
                if found is not None and so_far + found > best[end]:
                    best[end] = so_far + found
        before, scores[text] = text, best[n]
    return scores


def score(text: str, before: str = "\n") -> float:
    """Sum of the scores of all characters, each after the one before it, of a text that follows `before`."""
    unigram, total = _unigram(), 0.0
    for a, b in pairwise(fold_text(before + text)):
        backoff, seen = _SEEN[a]
        found = seen.get(b)
        total += found if found is not None else backoff + unigram.get(b, UNSEEN)
    return total


def mean_score(text: str) -> float:
    """Score per character; 0.0 for an empty text."""
    return score(text) / len(text) if text else 0.0
