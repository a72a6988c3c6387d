"""How much a text looks like Chinese: a character bigram model, small, loaded when first asked.

Scores are logarithms to base 10 of the probability of each character after the one before it. Text is folded to
Simplified and to full-width signs first, so that script and width do not count. News comes out at about -2.2 a
character, characters drawn at random from GB2312 at about -5. `tasks/language/build.py` says what it was counted on.
"""

import itertools
from functools import cache
from pathlib import Path

import numpy as np

from tasks.scripts import simplify

MODEL_PATH = Path(__file__).parent / "bigrams.npz"

UNSEEN = -7.0
"""Score of a character that the model does not know (below the rarest one that it does)."""

_WIDTH = str.maketrans(
    {**dict(zip(",:;!?()~", "，：；！？（）～", strict=True)), **{0xFF10 + d: str(d) for d in range(10)}}
)
"""Signs that stand for each other between ideographs; digits the other way round: half-width is their rule."""


def fold_width(text: str) -> str:
    """Full-width signs for half-width ones and half-width digits for full-width ones, keeping the length."""
    return text.translate(_WIDTH)


@cache
def _model() -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Unigram scores, back-off scores, and scores of pairs."""
    with np.load(MODEL_PATH) as file:
        data = {name: file[name] for name in file.files}
    chars = [chr(c) for c in data["chars"].tolist()]
    unigram = dict(zip(chars, (data["unigram"] / -32.0).tolist(), strict=True))
    backoff = dict(zip(chars, (data["backoff"] / -32.0).tolist(), strict=True))
    firsts = map(chr, data["first"].tolist())
    seconds = map(chr, data["second"].tolist())
    pairs = (a + b for a, b in zip(firsts, seconds, strict=True))
    bigram = dict(zip(pairs, (data["bigram"] / -32.0).tolist(), strict=True))
    return unigram, backoff, bigram


def pair_score(previous: str, char: str) -> float:
    r"""Score of one folded character after another (`\\n` for the start or the end of a line)."""
    unigram, backoff, bigram = _model()
    seen = bigram.get(previous + char)
    return seen if seen is not None else backoff.get(previous, 0.0) + unigram.get(char, UNSEEN)


def score(text: str, before: str = "\n") -> float:
    """Sum of the scores of all characters of a text that follows the character `before`."""
    folded = fold_width(simplify(before + text))
    unigram, backoff, bigram = _model()
    total = 0.0
    for a, b in itertools.pairwise(folded):
        seen = bigram.get(a + b)
        total += seen if seen is not None else backoff.get(a, 0.0) + unigram.get(b, UNSEEN)
    return total


def mean_score(text: str) -> float:
    """Score per character; 0.0 for an empty text."""
    return score(text) / len(text) if text else 0.0
