"""Scores of the language model for all characters of a text in one look-up.

The numbers are those of `tasks.language.pair_score`, multiples of 1/32, so that their sums are exact in any order.
Loading takes a fifth of what the dictionaries of `tasks.language` take, in time and in memory.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.language import MODEL_PATH, UNSEEN, fold_text
from tasks.scripts import codes, text_of

Codes = NDArray[np.uint32]
Folded = NDArray[np.uint16]
Scores = NDArray[np.float64]


class _Tables(NamedTuple):
    """Scores by code point of one character, and by a sorted key of two."""

    unigram: Scores
    backoff: Scores
    pairs: Codes
    bigram: NDArray[np.uint8]


@cache
def _tables() -> _Tables:
    with np.load(MODEL_PATH) as file:
        unigram, backoff = np.full(0x10000, UNSEEN), np.zeros(0x10000)
        unigram[file["chars"]], backoff[file["chars"]] = file["unigram"] / -32.0, file["backoff"] / -32.0
        return _Tables(unigram, backoff, _key(file["first"], file["second"]), file["bigram"])


def _key(first: Folded, second: Folded) -> Codes:
    return np.left_shift(first, 16, dtype=np.uint32) | second


@cache
def _folding() -> NDArray[np.uint16]:
    """What each code point is folded to for the model; what is beyond U+FFFF then is U+FFFF, which it doesn't know."""
    folded = codes(fold_text(text_of(np.arange(_LAST + 1, dtype=np.uint32))))
    return np.minimum(folded, 0xFFFF).astype(np.uint16)


_LAST = 0x3FFFF
"""Of planes 2 and 3: no ideographs are beyond."""


def folded_codes(chars: Codes) -> Folded:
    """Code points as `tasks.language.fold_text` folds them."""
    folded: Folded = _folding()[np.minimum(chars, _LAST)]
    return folded


def pair_scores(before: Folded, chars: Folded) -> Scores:
    """Score of each character, folded, after the one before it."""
    unigram, backoff, pairs, bigram = _tables()
    wanted = _key(before, chars)
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    scores: Scores = np.where(pairs[at] == wanted, bigram[at] / -32.0, backoff[before] + unigram[chars])
    return scores


def single_scores(chars: Folded) -> Scores:
    """Score of each character, folded, by itself."""
    scores: Scores = _tables().unigram[chars]
    return scores
