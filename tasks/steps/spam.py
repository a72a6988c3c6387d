"""Lines that were put on a hijacked or cloned page to sell something else: pornography, gambling, fake diplomas.

There is no list of bad words here: articles report on all of that. A line goes when the evidence of `EVIDENCE` adds
up. Points are rough odds to base 2 (one point doubles them), set by hand on titles of hijacked pages and checked on
clean news, essays and Wikipedia, where no line may reach the bound (docs/adr/0005-line-rules.md).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from schemas.document import Context, Edit
from tasks.rules import load
from tasks.scripts import simplified_only, traditional_only
from tasks.steps.lines import LONGEST, Line, fold, lines_of, removal

STEP = "spam"

BOUND = 6.0
"""Points that make a line spam at the edge of a page."""
BOUND_INSIDE = 7.5
"""The same between paragraphs, where spam is rare and a quotation is not."""

TOP_LINES = 3
BOTTOM_LINES = 5
"""Lines that stay which make up the edges of a page."""

_SENTENCE_ENDS = (".", "；", ";", "”", '"', "」", "，", "、")

SAMPLE = 6_000
"""Characters of the rest of the page that a line is compared with."""


class Page(NamedTuple):
    """The rest of the page, as far as a line is compared with it."""

    pairs: frozenset[str]
    """Pairs of neighbouring characters, folded."""
    is_long: bool
    """Whether it is long enough for the pairs to tell anything."""
    script: str
    """`hans`, `hant`, or empty where it shows neither."""


class Candidate(NamedTuple):
    """A line under suspicion."""

    text: str
    """Folded."""
    words: frozenset[tuple[str, str, str]]
    """Rows of the vocabulary (word, kind, weight) that it has."""
    covered: int
    """Characters that they cover."""
    script: str
    page: Page
    is_edge: bool


def find(text: str, context: Context) -> Iterator[Edit]:  # noqa: ARG001 (a step's signature)
    """Propose to remove the spam lines of a page; none where nothing else would remain."""
    lines = lines_of(text)
    foreign = _foreign_on_top(lines)
    suspects = {i: w for i, line in enumerate(lines) if (w := _suspect(line.text, is_foreign=i == foreign)) is not None}
    if not suspects:
        return
    page = _page(line.text for i, line in enumerate(lines) if i not in suspects)
    found = dict(_judge(lines, suspects, page))
    if len(found) < len(lines):
        for i, (rule, confidence) in sorted(found.items()):
            yield removal(text, lines[i], STEP, rule, confidence)


_Words = tuple[frozenset[tuple[str, str, str]], int]


def _suspect(text: str, *, is_foreign: bool) -> _Words | None:
    """The vocabulary of a line, if it has enough of it, or could be a line in another script on top of the page."""
    if not 6 <= len(text) <= LONGEST or "。" in text or text.endswith(_SENTENCE_ENDS):
        return None
    folded = fold(text)
    found = _find_words(folded)
    words = frozenset((word, *_rows()[word]) for word in found)
    is_suspect = _vocabulary_points(words) >= 1.5 or is_foreign
    return (words, sum(map(len, found))) if is_suspect else None


def _foreign_on_top(lines: list[Line]) -> int | None:
    """0 if the first line is made of titles in Simplified, joined in the way of titles, on a Traditional page."""
    if len(lines) < 2 or len(lines[0].text) > LONGEST or not _JOINT.search(fold(lines[0].text)):
        return None
    below = "".join(line.text[:200] for line in lines[1:6])
    return 0 if _script(lines[0].text) == "hans" and _script(below) == "hant" else None


def _judge(lines: list[Line], suspects: dict[int, _Words], page: Page) -> Iterator[tuple[int, tuple[str, float]]]:
    edge = _edges(len(lines), suspects)
    for i, (words, covered) in suspects.items():
        text = lines[i].text
        candidate = Candidate(fold(text), words, covered, _script(text), page, i in edge)
        points = sum(weigh(candidate) for weigh in EVIDENCE)
        if points >= (BOUND if candidate.is_edge else BOUND_INSIDE) and _has_ground(candidate):
            yield i, (_kind(candidate), min(0.99, 0.8 + 0.03 * (points - BOUND)))


def _edges(n: int, suspects: dict[int, _Words]) -> set[int]:
    """Places of suspects with few other lines above or below them: suspects do not count, since they may all go."""
    others = [i for i in range(n) if i not in suspects]
    if len(others) < TOP_LINES + BOTTOM_LINES:
        return set(suspects)
    top, bottom = others[TOP_LINES - 1], others[-BOTTOM_LINES]
    return {i for i in suspects if i < top or i > bottom}


def _has_ground(line: Candidate) -> bool:
    """Whether there is more than position and looks: its words, or a script that is not the page's."""
    return _vocabulary_points(line.words) >= 1.5 or _other_script(line) > 0


def _kind(line: Candidate) -> str:
    kinds = Counter(kind for _, kind, weight in line.words if weight != "weak")
    return min(kinds, key=lambda kind: (-kinds[kind], kind)) if kinds else "other-script"


# --- the evidence --------------------------------------------------------------------------------------------------


def _vocabulary_points(words: frozenset[tuple[str, str, str]]) -> float:
    """Different words that hardly anything but spam uses, and words that it shares with articles about the matter."""
    weights = Counter(weight for _, _, weight in words)
    return 1.5 * min(weights["strong"], 4) + 0.75 * min(weights["medium"], 4)


def _spoken(line: Candidate) -> float:
    return _vocabulary_points(line.words)


def _dense(line: Candidate) -> float:
    """How much of it is made of the vocabulary: such titles are little else."""
    share = line.covered / max(1, len(_SIGNS.sub("", line.text)))
    return 2.0 if share >= 0.75 else 1.0 if share >= 0.5 else 0.0 if share >= 0.3 or _other_script(line) else -1.5


def _foreign(line: Candidate) -> float:
    """How little it shares with the page: a headline shares most of its pairs of characters with its article."""
    pairs = _pairs(line.text)
    share = len(pairs & line.page.pairs) / max(1, len(pairs))
    if share >= 0.2:
        return -1.0 if share < 0.35 else -4.0
    return 0.0 if not line.page.is_long else 1.5 if share < 0.1 else 0.5


def _other_script(line: Candidate) -> float:
    """Written in Simplified on a Traditional page: the page was converted, the line put on it later."""
    return 2.5 if (line.script, line.page.script) == ("hans", "hant") else 0.0


def _joined(line: Candidate) -> float:
    """Titles joined by separators."""
    n = len([part for part in _SEPARATOR.split(line.text) if part])
    return 1.0 if n >= 3 else 0.5 if n == 2 else 0.0


def _stutters(line: Candidate) -> float:
    """`久久久`, `人人人`, `天天天天`: no Chinese word has a character three times."""
    return 1.0 if _STUTTER.search(line.text) else 0.0


def _speaks(line: Candidate) -> float:
    """Words of grammar, the end of a sentence and the signs of headlines speak for an author."""
    words = min(3, len(set(_GRAMMAR.findall(line.text))))
    return -1.0 * words - (1.0 if line.text.endswith(("!", "?", "”", ":")) or _HEADLINE.search(line.text) else 0.0)


def _reports(line: Candidate) -> float:
    """Words of news about the trade."""
    return -2.0 if _REPORT.search(line.text) else 0.0


def _placed(line: Candidate) -> float:
    return 1.0 if line.is_edge else 0.0


EVIDENCE: tuple[Callable[[Candidate], float], ...] = (
    _spoken,
    _dense,
    _foreign,
    _other_script,
    _joined,
    _stutters,
    _speaks,
    _reports,
    _placed,
)

_SIGNS = re.compile(r"[\W_]+")
_SEPARATOR = re.compile(r"[\s,、_|/·•\-:;]+|\si\s")
_JOINT = re.compile(r"[\u4e00-\u9fff]{2}\s?[_|]{1,2}\s?\w|[\u4e00-\u9fff]{2}(?:-|\si\s)[\u4e00-\u9fff]{2}")
"""Signs that join the titles of pages."""
_STUTTER = re.compile(r"([\u4e00-\u9fff])\1\1")
_HEADLINE = re.compile(r"[:、《“](?!\d)")
"""Titles of pages are joined by other signs."""
_REPORT = re.compile(
    r"警|查获|抓获|落网|涉案|打击|整治|破获|曝光|揭|骗|案|判|罪|举报|调查|记者|违法|非法|取缔|监管|处罚|通报|乱象|治理|危害|远离|抵制|严禁|警惕|防范|风险"
    r"|关于|通知|公告|讲座|报名|招标|专家|同比"
)
_GRAMMAR = re.compile(r"[了是在将被对也就为把从向于及着]|因为|但|如何|什么|据|称|说")
"""Function words of reports and sentences. `的` and `和` are left out: titles of films have them as well."""


@cache
def _rows() -> dict[str, tuple[str, str]]:
    """Kind and weight by word."""
    return {word: (kind, weight) for word, kind, weight in load("spam-words")}


@cache
def _vocabulary() -> re.Pattern[str]:
    """All words, the longest first, grouped by their first character: a thousand alternatives in a row are slow."""
    groups: dict[str, list[str]] = {}
    for word in sorted(_rows(), key=len, reverse=True):
        groups.setdefault(word[0], []).append(re.escape(word[1:]))
    return re.compile("|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in groups.items()))


def _find_words(folded: str) -> list[str]:
    """Words of the vocabulary in a line; those in Latin script only where no other letters touch them."""
    return [m[0] for m in _vocabulary().finditer(folded) if not (m[0].isascii() and _is_touched(folded, *m.span()))]


def _is_touched(folded: str, start: int, end: int) -> bool:
    around = folded[max(0, start - 1) : start] + folded[end : end + 1]
    return any(char.isascii() and char.isalpha() for char in around)


def _pairs(folded: str) -> frozenset[str]:
    letters = _SIGNS.sub("", folded)
    return frozenset(letters[i : i + 2] for i in range(len(letters) - 1))


def _page(texts: Iterator[str]) -> Page:
    """What suspects are compared with: the beginning of all that is not under suspicion."""
    sample = ""
    for text in texts:
        sample += text[: SAMPLE - len(sample)] + "\n"
        if len(sample) >= SAMPLE:
            break
    return Page(_pairs(fold(sample)), len(sample) >= 60, _script(sample))


def _script(text: str) -> str:
    """`hans` or `hant`, by the characters that only one of them has; empty where there are too few, or of both."""
    simplified = len(simplified_only().intersection(text))
    traditional = len(traditional_only().intersection(text))
    if min(simplified, traditional) * 8 > max(simplified, traditional) or max(simplified, traditional) < 2:
        return ""
    return "hans" if simplified > traditional else "hant"
