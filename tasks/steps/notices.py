"""Notices below an article: copyright, disclaimers, calls to follow. Told by the phrases of their sentences."""

import re
from functools import cache, lru_cache

from tasks.rules import load
from tasks.steps.lines import fold, key

LONGEST = 700
"""Notices with more characters are pages of their own."""

_SENTENCE = re.compile(r"(?:[^。!?;.]|\.(?!\s|$))*+(?:[。!?;]|\.(?=\s|$))++|(?:[^。!?;.]|\.(?!\s|$))++$")

STRONG, WEAK, NONE = 2, 1, 0

_SAID_ANYHOW = re.compile(
    r"不代表(?:\w{0,8}(?:网|站|平台|社|报|公众号))\w{0,6}(?:观点|立场|意见)"
    r"|未经\w{0,10}(?:授权|许可|同意|允许)\w{0,4}(?:禁止|不得|严禁|请勿|谢绝)\w{0,8}(?:转载|使用|复制|摘编|引用)"
)
"""Phrases with the name of the site in the middle."""


def is_notice(line: str) -> bool:
    """Whether a line is nothing but notices: a third of its sentences says so, and the others could be part of it."""
    weights = [weight for _, weight in _weighed(line)]
    return NONE not in weights and weights.count(STRONG) * 3 >= len(weights) > 0


def may_be_notice(line: str) -> bool:
    """Whether a line below the heading of a notice belongs to it: each of its sentences uses the words of notices."""
    weights = [weight for _, weight in _weighed(line)]
    return bool(weights) and NONE not in weights


def is_notice_heading(line: str) -> bool:
    """Whether a line announces a notice (`版权声明`)."""
    return len(line) <= 20 and key(line) in _phrases("heading")


def notice_start(line: str) -> int:
    """Offset of the notice at the end of a paragraph; the length of the line where it has none."""
    start = len(line)
    for at, weight in reversed(_weighed(line)):
        if weight != STRONG:
            break
        start = at
    return start


@lru_cache(maxsize=4)  # asked two or three times in a row about the same line
def _weighed(line: str) -> list[tuple[int, int]]:
    """Offset and weight of each sentence; of the last one alone where that is none, as in most texts."""
    if len(line) > LONGEST:
        return []
    last = max(line.rfind("。", 0, -1) + 1, len(line) - _WINDOW)
    if _weigh(_key(fold(line[last:]))) == NONE:
        return [(last, NONE)]
    sentences = [(match.start(), _key(match[0])) for match in _SENTENCE.finditer(fold(line))]
    return [(at, _weigh(sentence)) for at, sentence in sentences if sentence]


_WINDOW = 240
"""Characters looked at for the last sentence, signs included."""
_SIGNS = re.compile(r"[\W_]+")


def _key(folded: str) -> str:
    return _SIGNS.sub("", folded)


_LONGEST_STRONG = 200
_LONGEST_WEAK = 100
"""Characters of sentences. A longer one holds more than a notice: a page flattened to one line."""


def _weigh(sentence: str) -> int:
    if len(sentence) > _LONGEST_STRONG:
        return NONE
    if _either("strong").search(sentence) or _SAID_ANYHOW.search(sentence):
        return STRONG
    is_weak = len(sentence) <= _LONGEST_WEAK and len(set(_either("weak").findall(sentence))) >= 2
    return WEAK if is_weak else NONE


@cache
def _phrases(weight: str) -> frozenset[str]:
    return frozenset(key(phrase) for phrase, w in load("boilerplate-notices") if w == weight)


@cache
def _either(weight: str) -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, _phrases(weight)), key=len, reverse=True)))
