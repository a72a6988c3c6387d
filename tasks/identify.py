"""What a text is written in: kinds of characters, language and script.

All is decided by counting, in one look-up over the characters, and says nothing where the counts do not tell.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.scripts import codes, simplified_only, traditional_only


class Kind(IntEnum):
    """What a character is, for counting."""

    UNSEEN = 0
    """White space, control and format characters, private use, unassigned: Unicode's categories Z and C."""
    HAN = 1
    """Unicode's script Han."""
    KANA = 2
    HANGUL = 3
    LATIN = 4
    """Letters up to U+024F."""
    LETTER = 5
    """Any other letter, and marks."""
    DIGIT = 6
    """Categories Nd, Nl and No."""
    SIGN = 7
    """Punctuation and symbols: categories P and S."""


class Identity(NamedTuple):
    """Language and script of a text."""

    lang: str
    """ISO 639-1 code of the main language: `zh`, `ja`, `ko`, `en`; `und` for all else and for too little to tell."""
    confidence: float
    """0 to 1, see `_confidence`; 0 for `und`."""
    script: str
    """`hans`, `hant` or `mixed`; empty where the text is not Chinese, or no character tells the two apart."""


_STOP_WORDS = frozenset(
    ["the", "of", "and", "to", "in", "is", "that", "for", "it", "with", "as", "was", "on", "are", "by"]
)
"""The commonest words of English (the head of every English frequency list; Oxford English Corpus, ranks 1 to 25)
that are no common words of French, German, Spanish or Dutch, `in` and `an` excepted."""

_ENGLISH_SHARE = 0.1
"""Running English has 25 to 40 stop words of this list in 100 words, lists of product names 5 to 15, other
languages in Latin letters below 6."""

_KANA_SHARE = 0.1
"""Japanese prose is kana by more than half; Chinese with a `の` in a shop's name stays below 1 in 100."""

_HANGUL_SHARE = 0.3
"""Korean is Hangul but for names and loans; Chinese news about Korea quotes single words."""

_CHINESE_SHARE = 0.1
"""Ideographs among all letters. A word is two ideographs or some five Latin letters, so that a text that is half
Chinese by its words has 3 ideographs in 10 letters; below 1 in 10 the Chinese is quoted."""

_MIXED_SHARE = 0.1
"""The lesser of the two scripts among the characters that belong to one only. The spam line in Simplified on top of
a Traditional page is some 3 %; Simplified text keeps below 1 % of the others (`乾隆`, `於姓`)."""

MOST_CHARS = 1_000_000
"""Of longer texts the words of the first so many characters are looked at, and characters are counted in pieces of so
many: work on whole texts takes up to 60 bytes a character."""

_LETTERS_PER_WORD = {Kind.HAN: 2, Kind.KANA: 3, Kind.HANGUL: 2.5, Kind.LATIN: 5, Kind.LETTER: 5}
"""Roughly, so that shares are shares of words. Japanese words are 3 to 4 kana or 2 ideographs."""

_FEW_LETTERS = 2
"""At so many letters the confidence is halved: of cuts of 5 to 300 characters from news in 21 languages 99.9 % of
those that got 0.8 or more were named rightly, 81 % of those below 0.5 (benchmarks/quality.py)."""

# Unicode 15, Scripts.txt; planes 2 and 3 hold nothing else.
_HAN = (
    *((0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029)),
    *((0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9)),
    *((0x16FE2, 0x16FE3), (0x16FF0, 0x16FF6), (0x20000, 0x3FFFF)),
)
_KANA = ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0xFF66, 0xFF9F))
_HANGUL = ((0x1100, 0x11FF), (0xAC00, 0xD7A3))

_BY_CATEGORY = {"L": Kind.LETTER, "M": Kind.LETTER, "N": Kind.DIGIT, "P": Kind.SIGN, "S": Kind.SIGN}


def identify(text: str) -> Identity:
    """Language with its confidence, and script."""
    (found,) = identities([text], count_all([text]))
    return found


def identities(texts: Sequence[str], counts: Sequence["Counts"]) -> list[Identity]:
    """Language with its confidence, and script, of texts whose characters were counted together."""
    langs = [_language(text, of_text.kinds) for text, of_text in zip(texts, counts, strict=True)]
    return [
        Identity(lang, confidence, _script(of_text) if lang == "zh" else "")
        for (lang, confidence), of_text in zip(langs, counts, strict=True)
    ]


def script(text: str) -> str:
    """Only the script: `hans`, `hant` or `mixed`; empty where the text is not Chinese or no character tells."""
    return identify(text).script


def kinds(chars: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """`Kind` of each code point."""
    found: NDArray[np.uint8] = _kind_table()[chars]
    return found


class Counts(NamedTuple):
    """Characters of a text."""

    kinds: list[int]
    """How many there are of each `Kind`."""
    traditional: int
    """How many only Traditional text has."""
    simplified: int
    """How many only Simplified text has."""


def count_all(texts: Sequence[str]) -> list[Counts]:
    """For each text, how many characters of each kind there are."""
    counts = np.zeros((len(texts), 3, len(Kind)), np.intp)  # by text, script and kind
    for chars, pieces in joined(texts):
        values = _table()[chars]
        for number, start, end in pieces:
            counts[number] += np.bincount(values[start:end], minlength=3 * len(Kind)).reshape(3, -1)
    kinds, scripts = counts.sum(1).tolist(), counts.sum(2).tolist()
    return [Counts(of_kind, *of_script[1:]) for of_kind, of_script in zip(kinds, scripts, strict=True)]


class Piece(NamedTuple):
    """A text, or `MOST_CHARS` of it, among others."""

    number: int
    """Of the text."""
    start: int
    end: int


def joined(texts: Iterable[str]) -> Iterator[tuple[NDArray[np.uint32], list[Piece]]]:
    """Code points of texts, a few thousand characters at a time, and where each text is among them.

    Line feeds stand between them. To look up what is in a text takes little next to the call that does it.
    """
    parts, pieces, at = list[str](), list[Piece](), 0
    for number, text in enumerate(texts):
        for start in range(0, len(text), MOST_CHARS):
            part = text[start : start + MOST_CHARS]
            if at + len(part) > _TOGETHER and parts:
                yield codes("\n".join(parts)), pieces
                parts, pieces, at = [], [], 0
            parts.append(part)
            pieces.append(Piece(number, at, at + len(part)))
            at += len(part) + 1
    if parts:
        yield codes("\n".join(parts)), pieces


_TOGETHER = 50_000
"""Characters: what is worked out about them, up to 16 bytes each, stays in a core's cache."""


@cache
def _kind_table() -> NDArray[np.uint8]:
    """By code point. Takes 30 ms to make, once a process."""
    table = np.zeros(0x110000, np.uint8)
    for start, end in ((0, 0x20000), (0xE0000, 0xE01F0)):  # all but ideographs, private use and the unassigned
        table[start:end] = [_BY_CATEGORY.get(unicodedata.category(chr(c))[0], Kind.UNSEEN) for c in range(start, end)]
    latin = table[:0x250]
    latin[latin == Kind.LETTER] = Kind.LATIN
    for ranges, kind in ((_HAN, Kind.HAN), (_KANA, Kind.KANA), (_HANGUL, Kind.HANGUL)):
        for first, last in ranges:
            table[first : last + 1] = kind
    return table


def _language(text: str, counts: Sequence[int]) -> tuple[str, float]:
    """Language and confidence."""
    letters = sum(counts[Kind.HAN : Kind.LETTER + 1])
    words = Counter(text[:MOST_CHARS].lower().split() if 2 * counts[Kind.LATIN] > letters else ())
    lang = _lang(counts, letters, words)
    return lang, _confidence(lang, counts, letters, words)


def _lang(counts: Sequence[int], letters: int, words: Counter[str]) -> str:
    if counts[Kind.KANA] > _KANA_SHARE * letters:
        return "ja"
    if counts[Kind.HANGUL] > _HANGUL_SHARE * letters:
        return "ko"
    if counts[Kind.HAN] > _CHINESE_SHARE * letters:
        return "zh"
    return "en" if _reads_like_english(words) else "und"


def _reads_like_english(words: Counter[str]) -> bool:
    """Enough stop words, and one that is no word of Dutch or German: `in`, `is`, `was` and `of` are."""
    return (
        not words.keys().isdisjoint(("the", "and", "to", "that", "with"))
        and _stop_words(words) > _ENGLISH_SHARE * words.total()
    )


_WRITTEN_IN = {"zh": (Kind.HAN,), "ja": (Kind.HAN, Kind.KANA), "ko": (Kind.HANGUL,), "en": (Kind.LATIN,)}


def _confidence(lang: str, counts: Sequence[int], letters: int, words: Counter[str]) -> float:
    """The share of the text's words that are written in the letters of the language, less for a few letters.

    English shares its letters with others: less, too, where its commonest words are few, or fewer than in running text.
    """
    if lang == "und":
        return 0.0
    by_kind = {kind: counts[kind] / per_word for kind, per_word in _LETTERS_PER_WORD.items()}
    share = sum(by_kind[kind] for kind in _WRITTEN_IN[lang]) / sum(by_kind.values())
    if lang == "en":
        found = _stop_words(words)
        share *= min(1.0, found / (2 * _ENGLISH_SHARE * words.total())) * found / (found + 1)
    return round(share * letters / (letters + _FEW_LETTERS), 3)


def _stop_words(words: Counter[str]) -> int:
    return sum(words[word] for word in _STOP_WORDS)


def _script(counts: Counts) -> str:
    """By characters of one script that the national character set of the other lacks.

    The second condition leaves out what Traditional text uses as well, though dictionaries list another form:
    `台`, `里`, `吃`, `群`, `后`; and the `乾` of `乾隆`, which Simplified text keeps.
    """
    traditional, simplified = counts.traditional, counts.simplified
    if min(traditional, simplified) > _MIXED_SHARE * (traditional + simplified):
        return "mixed"
    if traditional == simplified:
        return ""
    return "hant" if traditional > simplified else "hans"


@cache
def _table() -> NDArray[np.uint8]:
    """By code point: its kind, and more for characters of one script only: once or twice the number of kinds."""
    script = np.zeros(0x110000, np.uint8)
    script[_without(traditional_only(), "gb2312")] = 1
    script[_without(simplified_only(), "big5")] = 2
    table: NDArray[np.uint8] = _kind_table() + len(Kind) * script
    return table


def _without(chars: frozenset[str], charset: str) -> list[int]:
    return [ord(char) for char in chars if not char.encode(charset, "ignore")]
