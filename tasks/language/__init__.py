"""How much a text looks like Chinese: a character n-gram model, small, loaded when first asked.

Scores are logarithms to base 10 of the probability of each character after the one before it. Text is folded to
Simplified and to full-width signs first, so that script and width do not count. News comes out at about -2.2 a
character, characters drawn at random from GB2312 at about -5. `tasks/language/build.py` says what it was counted on.
"""

import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.scripts import simplify

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


class _Model(NamedTuple):
    """Tables of scores, and of what a context adds when it has not seen the character that follows."""

    unigram: dict[str, float]
    backoff: dict[str, float]
    bigram: dict[str, float]


class _Triples(NamedTuple):
    backoff: dict[str, float]
    trigram: dict[str, float]


def _scores(quantized: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> list[float]:
    values: list[float] = (quantized / -32.0).tolist()
    return values


@cache
def _model() -> _Model:
    with np.load(MODEL_PATH) as file:
        chars = _strings(file["chars"])
        return _Model(
            dict(zip(chars, _scores(file["unigram"]), strict=True)),
            dict(zip(chars, _scores(file["backoff"]), strict=True)),
            dict(zip(_strings(file["first"], file["second"]), _scores(file["bigram"]), strict=True)),
        )


@cache
def _triples() -> _Triples:
    with np.load(MODEL_PATH) as file:
        first, second = file["first"], file["second"]
        heads = np.cumsum(file["triple_pair"], dtype=np.int64)
        return _Triples(
            dict(zip(_strings(first, second), _scores(file["pair_backoff"]), strict=True)),
            dict(zip(_strings(first[heads], second[heads], file["third"]), _scores(file["trigram"]), strict=True)),
        )


def fold_text(text: str) -> str:
    """A text as the model knows it, Simplified and with the width of `fold_width`, keeping the length."""
    return fold_width(simplify(text))


@cache
def _words() -> dict[str, float]:
    with np.load(MODEL_PATH) as file:
        words = file["words"].tobytes().decode("utf-16-le").split("\n")
        return dict(zip(words, _scores(file["word"]), strict=True))


def _strings(*columns: "np.ndarray[tuple[int], np.dtype[np.uint16]]") -> list[str]:
    """Rows of UTF-16 code units as strings (ten times as fast as `chr` on each)."""
    width = len(columns)
    text = np.stack(columns, axis=1).tobytes().decode("utf-16-le")
    return [text[i : i + width] for i in range(0, len(text), width)]


def pair_score(previous: str, char: str) -> float:
    r"""Score of one folded character after another (`\n` for the start or the end of a line)."""
    unigram, backoff, bigram = _model()
    seen = bigram.get(previous + char)
    return seen if seen is not None else backoff.get(previous, 0.0) + unigram.get(char, UNSEEN)


def next_score(context: str, char: str) -> float:
    """Score of one folded character after two others: sharper than `pair_score`, and slower to load (1 s)."""
    backoff, trigram = _triples()
    seen = trigram.get(context + char)
    return seen if seen is not None else backoff.get(context, 0.0) + pair_score(context[-1], char)


def word_score(text: str) -> float:
    """Score of a text as words, each by itself, in the split that scores best (Viterbi 1967).

    It knows longer units than `next_score` does, and nothing of what goes between words: the two are good together.
    """
    folded = fold_text(text)
    words = _words()
    best = [0.0]
    for end in range(1, len(folded) + 1):
        char = folded[end - 1]
        alone = words.get(char, UNKNOWN_WORD if "\u3400" <= char <= "\u9fff" else NO_WORD)
        start = max(0, end - LONGEST_WORD)
        ends = (best[i] + s for i in range(start, end - 1) if (s := words.get(folded[i:end])) is not None)
        best.append(max(best[end - 1] + alone, *ends, -math.inf))
    return best[-1]


def score(text: str, before: str = "\n") -> float:
    """Sum of the scores of all characters, each after the one before it, of a text that follows `before`."""
    folded = fold_text(before + text)
    unigram, backoff, bigram = _model()
    total = 0.0
    for a, b in pairwise(folded):
        seen = bigram.get(a + b)
        total += seen if seen is not None else backoff.get(a, 0.0) + unigram.get(b, UNSEEN)
    return total


def mean_score(text: str) -> float:
    """Score per character; 0.0 for an empty text."""
    return score(text) / len(text) if text else 0.0
