"""What a text is written in: language and script.

Both are decided by counting, in one pass over the characters, and say nothing where the counts do not tell.
"""

import re
from collections import Counter
from functools import cache

from tasks.scripts import simplified_only, traditional_only

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

_WORD = re.compile(r"[A-Za-z]++")


def lang(text: str) -> str:
    """ISO 639-1 code of the main language: `zh`, `ja`, `ko`, `en`; `und` for all else and for too little to tell."""
    return _lang(text, Counter(text))


def script(text: str) -> str:
    """`hans`, `hant` or `mixed`; empty where the text is not Chinese, or no character tells the two apart."""
    counts = Counter(text)
    return _script(counts) if _lang(text, counts) == "zh" else ""


def _lang(text: str, counts: Counter[str]) -> str:
    kinds: Counter[str] = Counter()
    for char, n in counts.items():
        kinds[_kind(char)] += n
    letters = kinds.total() - kinds[""]
    if kinds["kana"] > _KANA_SHARE * letters:
        return "ja"
    if kinds["hangul"] > _HANGUL_SHARE * letters:
        return "ko"
    if kinds["han"] > _CHINESE_SHARE * letters:
        return "zh"
    return "en" if _reads_like_english(text) else "und"


def _kind(char: str) -> str:
    """The kind of letter, by Unicode block; empty for what is none."""
    if char < "\u0250":
        return "latin" if char.isalpha() else ""
    if "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf" or "\U00020000" <= char <= "\U0003ffff":
        return "han"
    if "\u3041" <= char <= "\u30fa" or "\uff66" <= char <= "\uff9f":
        return "kana"
    if "\uac00" <= char <= "\ud7a3" or "\u1100" <= char <= "\u11ff":
        return "hangul"
    return "other" if char.isalpha() else ""


def _reads_like_english(text: str) -> bool:
    words = Counter(word.lower() for word in _WORD.findall(text))
    return sum(words[word] for word in _STOP_WORDS) > _ENGLISH_SHARE * words.total()


@cache
def _without(chars: frozenset[str], charset: str) -> frozenset[str]:
    return frozenset(char for char in chars if not char.encode(charset, "ignore"))


def _script(counts: Counter[str]) -> str:
    """By characters of one script that the national character set of the other lacks.

    The second condition leaves out what Traditional text uses as well, though dictionaries list another form:
    `台`, `里`, `吃`, `群`, `后`; and the `乾` of `乾隆`, which Simplified text keeps.
    """
    traditional = sum(counts[char] for char in counts.keys() & _without(traditional_only(), "gb2312"))
    simplified = sum(counts[char] for char in counts.keys() & _without(simplified_only(), "big5"))
    if min(traditional, simplified) > _MIXED_SHARE * (traditional + simplified):
        return "mixed"
    if traditional == simplified:
        return ""
    return "hant" if traditional > simplified else "hans"
