"""How much a text looks like Chinese: a character n-gram model, small, loaded when first asked.

Scores are logarithms to base 10 of the probability of each character after the one before it. Text is folded to
Simplified and to full-width signs first, so that script and width do not count. News comes out at about -2.2 a
character, characters drawn at random from GB2312 at about -5. `tasks/language/build.py` says what it was counted on.
"""

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.scripts import simplify

MODEL_PATH = Path(__file__).parent / "ngrams.npz"

UNSEEN = -7.0
"""Score of a character that the model does not know (below the rarest one that it does)."""

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
        chars = [chr(c) for c in file["chars"].tolist()]
        pairs = _pairs(file["first"], file["second"])
        return _Model(
            dict(zip(chars, _scores(file["unigram"]), strict=True)),
            dict(zip(chars, _scores(file["backoff"]), strict=True)),
            dict(zip(pairs, _scores(file["bigram"]), strict=True)),
        )


@cache
def _triples() -> _Triples:
    with np.load(MODEL_PATH) as file:
        pairs = _pairs(file["first"], file["second"])
        heads = np.cumsum(file["triple_pair"], dtype=np.int64).tolist()
        triples = [pairs[i] + chr(c) for i, c in zip(heads, file["third"].tolist(), strict=True)]
        return _Triples(
            dict(zip(pairs, _scores(file["pair_backoff"]), strict=True)),
            dict(zip(triples, _scores(file["trigram"]), strict=True)),
        )


def _pairs(
    first: "np.ndarray[tuple[int], np.dtype[np.uint16]]", second: "np.ndarray[tuple[int], np.dtype[np.uint16]]"
) -> list[str]:
    return [chr(a) + chr(b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]


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


def score(text: str, before: str = "\n") -> float:
    """Sum of the scores of all characters, each after the one before it, of a text that follows `before`."""
    folded = fold_width(simplify(before + text))
    unigram, backoff, bigram = _model()
    total = 0.0
    for a, b in pairwise(folded):
        seen = bigram.get(a + b)
        total += seen if seen is not None else backoff.get(a, 0.0) + unigram.get(b, UNSEEN)
    return total


def mean_score(text: str) -> float:
    """Score per character; 0.0 for an empty text."""
    return score(text) / len(text) if text else 0.0
