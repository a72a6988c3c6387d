"""Sentences that a trim of A1 bytes took the first byte from: `保障!笆サ剀` for `保障。“圣地`.

No gloss marks where such a run begins. Here are the tests that say so: cheap on undamaged text, and sharp enough
that the search behind `shift` is asked for next to none of it.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise
from typing import NamedTuple

from tasks.damage.mangler import decode_pair, encode
from tasks.language import fold_width, pair_score, score
from tasks.scripts import simplify

MOST_LOOKS = 5000
"""Pairs of rare characters looked at in one document, the bound on work for hostile input: news has one in 2,000
characters."""

LONGEST_TRIMMED = 10
"""Characters before a trace (a misfit gloss, a single letter) among which the start of a trimmed sentence is looked
for."""

LEAST_GAIN = 8.0
"""Decimal logarithms by which the text behind a run that no gloss marks has to read better than what stands there. Rare
names and old prose gain less by any realignment: none of 5,000 news items, 200 essays and 9,000 Wikipedia
paragraphs."""

IMPLAUSIBLE = -5.0
"""Mean score of a pair below which a run may be shifted: news is at -2.2, shifted text between -5.3 and -6.7. Of
500,000 characters of news, essays and Wikipedia 20 places are below it: names and Japanese."""


class Start(NamedTuple):
    """Where a run may begin, and the first byte that is missing before it."""

    position: int
    rule: str
    pending: frozenset[int] | None = None


def suspects(text: str) -> Iterator[tuple[int, list[Start]]]:
    """Places that look shifted though no gloss says so, each with the starts to try."""
    for match in islice(_rare().finditer(text), MOST_LOOKS):
        tried = starts(text, match.start(), 4)
        implausible = [s for s in tried if _is_implausible(text[s.position : s.position + 8])]
        if implausible:
            yield match.start(), implausible
    for match in islice(_LETTER.finditer(text), MOST_LOOKS):
        tried = starts(text, match.start() - 1)
        likely = [s for s in tried if _direct_gain(text, s.position, match.end()) >= LEAST_GAIN]
        if likely:
            yield likely[-1].position, likely


@cache
def _rare() -> re.Pattern[str]:
    """Two rare characters of GBK close together: the cheap test for a shift that no gloss marks."""
    codes = (bytes((a, b)) for a in range(0x81, 0xFF) for b in range(0x40, 0xFF) if b != 0x7F)
    rare = "".join(sorted(char for char in map(decode_pair, codes) if char and _is_rare(char)))
    return re.compile(f"[{rare}](?=[^\n]?[{rare}])")


def _is_rare(char: str) -> bool:
    """Kana, Greek and Cyrillic, and ideographs beyond the 3,755 common ones that GB2312 sorts first (lead below D8)."""
    if char < "\u3400":
        return char > "\u3040" or "\u0370" < char < "\u0500"
    try:
        return simplify(char).encode("gb2312") >= b"\xd8"
    except UnicodeEncodeError:
        return True


def starts(text: str, position: int, reach: int = LONGEST_TRIMMED) -> Iterator[Start]:
    """Where a sentence may begin whose first byte, A1, was trimmed: what leads its first character is a sign's rest."""
    for start in range(position, max(position - reach, -1), -1):
        if text[start] == "\n":
            return
        data = first_bytes(text[start])
        if len(data) == 2 and data[0] in _SECOND_BYTES_OF_SIGNS:
            yield Start(start, "trimmed-byte", frozenset((0xA1,)))


def _is_implausible(window: str) -> bool:
    """Whether these characters, up to the first ASCII sign, read like none that people write."""
    run = _RUN.match(window)
    if run is None or _FOREIGN.search(run[0]):
        return False
    folded = fold_width(simplify(run[0]))
    return sum(pair_score(a, b) for a, b in pairwise(folded)) < IMPLAUSIBLE * (len(folded) - 1)


_LETTER = re.compile("(?<=[\u3400-\u9fff])[A-Za-z](?![A-Za-z0-9])")
"""A single letter behind an ideograph: the second byte of a Traditional character that a shifted run ended with, or a
letter (`维生素C`, `A股`)."""


def _direct_gain(text: str, start: int, end: int) -> float:
    """How much better a run reads with the byte A1 before it, if all of its bytes are there."""
    data = b"\xa1" + b"".join(map(first_bytes, text[start:end]))
    try:
        repaired = data.decode("gbk")
    except UnicodeDecodeError:
        return 0.0
    if simplify(repaired[-1]) == repaired[-1]:
        return 0.0
    before, ahead = text[start - 1 : start] or "\n", text[end : end + 2]
    return score(repaired + ahead, before) - score(text[start:end] + ahead, before)


_RUN = re.compile(r"[!]?[^\x00-\x7f]{4,}")
_FOREIGN = re.compile("[\u3040-\u309f]{2}|[\u30a0-\u30ff]{3}|[\u0370-\u03ff]{3}|[\u0400-\u04ff]{3}")
"""Words in kana, Greek or Cyrillic: what shifted bytes make of these comes one by one."""


_SECOND_BYTES_OF_SIGNS = frozenset(encode(sign)[1] for sign in "、。·—…‘’“”〔〕〈〉《》「」『』〖〗【】")  # type: ignore[index]
"""All of row A1 of GB2312 that a sentence begins with."""


def first_bytes(char: str) -> bytes:
    """Bytes of the first character behind a trim: `!` stands for `！` there, made half-width afterwards."""
    return encode(fold_width(char)) or b""
