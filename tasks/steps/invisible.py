"""Characters that nobody sees: zero-width spaces, joiners, marks of direction, variation selectors.

Scrapers' copies are sown with them. They go before everything else, since a zero-width space inside `(chǎn)` hides a
gloss and one inside a garbled run hides its bytes; no wrong codec makes them. Control characters and the soft hyphen,
which wrong codecs do make (bytes 80 to 9F and AD read as Latin-1), go in the symbols step, after the repair of bytes.
What a script is written with stays: joiners of Persian and Hindi, marks of direction in Hebrew.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby

from schemas.document import Context, Edit
from tasks.rules import load

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Ideographs, as the inside of a character class: the blocks of Unicode 16.0, and 〇."""

_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
"""Letters written from right to left: blocks of Hebrew, Arabic, Syriac, Thaana, N'Ko and kin."""

_JOINING = re.compile("[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1b00-\u1cff\ua800-\ua9ff\U00010a00-\U00011fff]")
"""Letters of scripts that shape with joiners (Arabic, Syriac, Indic, Myanmar, Khmer, Mongolian, Javanese, …)."""

_SPACELESS = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1900-\u1aaf]")
"""Thai, Lao, Tibetan, Myanmar, Khmer, Tai: zero width spaces stand between their words."""

PICTURE = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\ufe0e\ufe0f\U0001f000-\U0001faff]"
)
"""What emoji sequences are made of, and bases of emoji variation sequences (emoji-variation-sequences.txt)."""

SELECTED_IDEOGRAPHS = 4
"""Variation selectors after so many different ideographs are noise: names with a prescribed shape have one or two."""


@cache
def symbol_class(*kinds: str) -> str:
    """The characters of these kinds in the table `symbols`, as the inside of a character class."""
    rows = (row for row in load("symbols") if row[2] in kinds)
    return "".join(f"\\U{int(first, 16):08x}-\\U{int(last, 16):08x}" for first, last, *_ in rows)


@cache
def _invisible() -> re.Pattern[str]:
    return re.compile(f"(?![\0-\u00ff])[{symbol_class('hidden', 'joiner', 'mark', 'select')}]")


def find(text: str, _context: Context) -> Iterator[Edit]:
    """Find invisible characters that no script of their line needs."""
    if text.isascii():
        return
    places = [m.start() for m in _invisible().finditer(text) if not _is_needed(text, m.start())]
    for _, run in groupby(enumerate(places), key=lambda pair: pair[1] - pair[0]):
        (_, start), *rest = run
        yield Edit("invisible", "invisible", start, text[start : start + 1 + len(rest)], "")


def _is_needed(text: str, at: int) -> bool:
    """Whether the script around an invisible character is written with it."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if char in "\u200c\u200d":
        letters = _JOINING.match(before) and (_JOINING.match(after) or not after or not after.isalnum())
        return bool(letters or (_is_picture(before) and PICTURE.match(after)))
    if char in "\u200b\u2060":
        return bool(_SPACELESS.match(before) or _SPACELESS.match(after))
    if char in "\u200e\u200f\u061c" or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069":
        return bool(_RTL.search(_around(text, at)))
    if "\U000e0020" <= char <= "\U000e007f":  # a flag of a region is a black flag with tags
        return before == "\U0001f3f4" or "\U000e0020" <= before <= "\U000e007f"
    if "\ufe00" <= char <= "\ufe0f" or char >= "\U000e0100":
        return _is_selecting(text, char, before, after)
    return False


def _is_picture(char: str) -> bool:
    return bool(char) and bool(PICTURE.match(char))


def _is_selecting(text: str, char: str, before: str, after: str) -> bool:
    """Whether there is a shape to choose (StandardizedVariants.txt, emoji-variation-sequences.txt, the IVD)."""
    if char in "\ufe0e\ufe0f":
        return after == "\u20e3" if before and before in "0123456789#*" else _is_picture(before)
    if re.match(f"[{HAN}]", before):
        standard = char <= "\ufe02" and before in _with_compatibility_forms()
        return (standard or char >= "\U000e0100") and _count_selected(text) < SELECTED_IDEOGRAPHS
    # Mathematical operators, full-width signs, Myanmar, Phags-pa and Manichaean letters have variants.
    return char == "\ufe00" and bool(
        re.match("[\u2200-\u22ff\u2a00-\u2aff\u3001\u3002\uff01-\uff1f\u1000-\u109f\ua840-\ua87f]", before)
    )


@cache
def _with_compatibility_forms() -> frozenset[str]:
    """Ideographs with a standardized variant: those that CJK compatibility ideographs decompose to (UAX 15)."""
    blocks = (*range(0xF900, 0xFB00), *range(0x2F800, 0x2FA20))
    return frozenset(chr(int(d, 16)) for code in blocks if (d := unicodedata.decomposition(chr(code))) and " " not in d)


@lru_cache(maxsize=1)
def _count_selected(text: str) -> int:
    return len(set(re.findall(f"[{HAN}](?=[\ufe00-\ufe0f\U000e0100-\U000e01ef])", text)))


def _around(text: str, at: int) -> str:
    """The line, or as much of it as 200 characters on both sides hold."""
    low, high = max(0, at - 200), at + 200
    return text[max(low, text.rfind("\n", low, at) + 1) : at] + text[at:high].partition("\n")[0]
