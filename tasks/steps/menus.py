"""Lines of buttons, menus and calls that no table knows, told by what they are made of and how they are joined.

Everything works on one folded line (`tasks.steps.lines.fold`) of at most `LONGEST` characters.
"""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from tasks.rules import either, load
from tasks.steps.lines import KEPT_LINES, is_chinese, key

LONGEST = 200
"""Characters of the longest line that is looked at: menus of more are read item by item elsewhere, or left."""

_SEPARATOR = re.compile(r"\s{0,3}[|/·•>]\s{0,3}|\s{1,5}|\t")
_BARS = re.compile(r"\s{0,3}\|\s{0,3}")
_MANY_BARS = 4
"""With so many bars, gaps are inside the items: old sites set them wide (`時 尚 | 汽 車 | 房 產`)."""
_LONGEST_ITEM = 8
"""Ideographs of the longest item of a menu that is no known word (`中国共产党新闻`); in Latin script twice as many."""
_SPOKEN = re.compile(r"[,。;!?、“”《》]")
_NUMBER = re.compile(r"[\d\W_]+")


class _Words(NamedTuple):
    pattern: re.Pattern[str]
    content: frozenset[str]


@cache
def _words() -> _Words:
    weights: dict[str, str] = dict(load("boilerplate-ui"))  # type: ignore[arg-type]  # rows of two columns
    content = frozenset(word for word, weight in weights.items() if weight == "content")
    return _Words(re.compile(either(weights)), content)


@cache
def _known() -> frozenset[str]:
    """Words of buttons and menus, without signs."""
    return frozenset(key(word) for word, _ in load("boilerplate-words")) - {""}


def is_call(line: str) -> bool:
    """Whether a folded line is made of the words of buttons and calls alone: two or more about them, little else."""
    if line.endswith("。"):
        return False
    n_content, share = _made_of(line)
    return n_content >= 2 and share >= 0.85


def is_likely_call(line: str) -> bool:
    """The same, with less evidence: for lines below an article on pages with furniture that is certain."""
    n_content, share = _made_of(line)
    return (n_content >= 2 and share >= 0.6) or (n_content >= 1 and share >= 0.85)


@lru_cache(maxsize=KEPT_LINES)
def _made_of(line: str) -> tuple[int, float]:
    """How many words of buttons a short Chinese line has, and how much of it they and what joins them make up."""
    letters = _NUMBER.sub("", line)
    if not 2 <= len(letters) <= 40 or not is_chinese(line):
        return 0, 0.0
    found = [match[0] for match in _words().pattern.finditer(letters)]
    return len({word for word in found if word in _words().content}), sum(map(len, found)) / len(letters)


def is_menu(line: str) -> bool:
    """Whether a folded line is a menu: three items or more, short, no sentence, and half of them known words."""
    return len(line) <= LONGEST and _is_menu(line)


@lru_cache(maxsize=KEPT_LINES)
def _is_menu(line: str) -> bool:
    if _SPOKEN.search(line):
        return False
    split = _BARS.split(line) if line.count("|") >= _MANY_BARS and is_chinese(line) else _SEPARATOR.split(line)
    items = [re.sub(r"\s", "", item) if is_chinese(item) else item for item in split if key(item)]
    if len(items) < 3 or any(len(item) > _longest(item) for item in items):
        return False
    n_known = sum(is_item(item) for item in items)
    if not is_chinese(line):  # words of a Latin menu are words of sentences as well
        return is_item(items[0]) and n_known * 2 > len(items)
    return n_known >= 2 and n_known * (4 if len(items) >= 6 else 2) >= len(items)


def is_item(item: str) -> bool:
    """Whether a folded text is a known word of a menu, or made of the words of buttons alone."""
    word = key(item)
    if word.isascii() and len(word) < 3:
        return False
    return word in _known() or (bool(word) and _words().pattern.sub("", word) == "" and len(word) >= 2)


def _longest(item: str) -> int:
    return _LONGEST_ITEM if is_chinese(item) else 2 * _LONGEST_ITEM
