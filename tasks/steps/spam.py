"""Lines that were put on a hijacked or cloned page to sell something else: pornography, gambling, fake diplomas.

There is no list of bad words here: articles report on all of that. A line goes when the evidence of `EVIDENCE` adds
up. Points are rough odds to base 2 (one point doubles them), set by hand on titles of hijacked pages and checked on
clean news, essays and Wikipedia, where no line may reach the bound (docs/adr/0005-line-rules.md).
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import islice, pairwise
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from schemas.document import Context, Edit
from tasks.rules import either, load, occurrences
from tasks.scripts import simplified_only, traditional_only
from tasks.steps.lines import LONGEST, Line, fold, fold_page, is_prose, lines_of, removal

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

    pairs: frozenset[tuple[str, str]]
    """Neighbouring characters, folded."""
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
    rest: str
    """Folded, without these words."""
    page: Page
    is_edge: bool


def find(text: str, context: Context) -> Iterator[Edit]:  # noqa: ARG001 (a step's signature)
    """Propose to remove the spam lines and spans of a page; none where nothing else would remain."""
    lines = lines_of(text)
    grounds = _grounds(text, lines)
    suspects = _suspects(lines, grounds, _foreign_on_top(lines))
    spans = dict(_suspect_spans(lines, suspects, grounds))
    if not suspects and not spans:
        return
    page = _page(_without_span(line, spans.get(i)) for i, line in enumerate(lines) if i not in suspects)
    found = dict(_judge(lines, suspects, page))
    if len(found) < len(lines):
        removals = [removal(text, lines[i], STEP, rule, confidence) for i, (rule, confidence) in found.items()]
        cuts = [cut for span in spans.values() if (cut := _judge_span(span, page))]
        yield from sorted([*removals, *cuts], key=lambda edit: edit.start)


def prepare() -> None:
    """Build what the first suspect would have to wait for: most pages have none, and processes are many."""
    _anchors()
    _vocabulary(brands=False)
    _vocabulary(brands=True)


def is_only_spam(text: str) -> bool:
    """Whether there is next to nothing but spam in a text: titles, advertisements, and no other sentence."""
    if text.count("。") * _SHORTEST_SENTENCE > (1 - ONLY_SPAM) * len(text):
        return False
    lines = [line for line in lines_of(text) if len(line.text) >= 4]
    suspects = _suspects(lines, _grounds(text, lines))
    found = dict(_judge(lines, suspects, _page(iter(())), bound=BOUND - 1.5))  # nothing there to be foreign to
    n_spam = sum(len(lines[i].text) for i in found)
    return n_spam > 0 and n_spam >= ONLY_SPAM * sum(len(line.text) for line in lines)


_SHORTEST_SENTENCE = 15
"""Characters that stand for each full stop where articles are told at a glance."""
ONLY_SPAM = 0.8
"""Share of characters in spam lines from which on a page is nothing else: some have a line of buttons or a number."""


class _Ground(NamedTuple):
    """How often words stand in a line, overlapping ones too: no less than what weighing would find there."""

    strong: int = 0
    medium: int = 0
    porn: int = 0


def _grounds(text: str, lines: list[Line]) -> dict[int, _Ground]:
    """What there is of the vocabulary, by line: the whole page is looked through once, and most have next to nothing.

    Args:
        text: The page.
        lines: Lines of it, in order.
    """
    grounds: dict[int, _Ground] = {}
    ends = [line.end for line in lines]
    for more, end in _hits(fold_page(text)):
        place = bisect_left(ends, end)
        found = grounds.get(place, _NO_GROUND)
        grounds[place] = _Ground(found.strong + more.strong, found.medium + more.medium, found.porn + more.porn)
    return grounds


_NO_GROUND = _Ground()


@lru_cache(maxsize=2)
def _hits(folded: str) -> list[tuple[_Ground, int]]:
    """What stands in a page, with where each ends. Asked again where only its script changed, and of what is judged."""
    automaton, marks = _anchors()
    return [(marks[word], end) for word, _, end in occurrences(automaton, folded, overlapping=True)]


def _may_count(ground: _Ground) -> bool:
    """Whether there could be points enough."""
    return ground.strong >= 1 or ground.medium >= 2


def _has_enough(ground: _Ground) -> bool:
    """The same, or words of pornography heaped up."""
    return _may_count(ground) or ground.porn >= 3


_Words = tuple[frozenset[tuple[str, str, str]], int]


def _suspects(lines: list[Line], grounds: dict[int, _Ground], foreign: int | None = None) -> dict[int, _Words]:
    """The vocabulary of lines that have enough of it, and of one that could be in another script on top of the page."""
    places = {place for place, ground in grounds.items() if _has_enough(ground) and place < len(lines)}
    if foreign is not None:
        places.add(foreign)
    found = ((i, _suspect(lines[i], is_foreign=i == foreign)) for i in sorted(places))
    return {i: words for i, words in found if words is not None}


def _suspect(line: Line, *, is_foreign: bool) -> _Words | None:
    if not 6 <= len(line.text) <= LONGEST or "。" in line.text or line.text.endswith(_SENTENCE_ENDS):
        return None
    found = _find_words(line.folded)
    words = _rated(found)
    is_suspect = _vocabulary_points(words) >= _GROUND or is_foreign or _are_heaped(words)
    return (words, sum(map(len, found))) if is_suspect else None


def _rated(found: list[str]) -> frozenset[tuple[str, str, str]]:
    """Rows of the vocabulary for words; brands that it doesn't have are gambling's."""
    return frozenset((word, *_rows().get(word, ("gambling", "strong"))) for word in found)


def _are_heaped(words: frozenset[tuple[str, str, str]]) -> bool:
    porn = {word for word, kind, _ in words if kind == "porn"}
    return len(porn) >= 3 and not porn.isdisjoint(_TINGED)


_GROUND = 1.5
"""Points of vocabulary below which nothing else counts."""


class _Span(NamedTuple):
    """A stretch of a paragraph under suspicion."""

    at: int
    """Offset in the text."""
    text: str
    is_end: bool


EDGE_PARAGRAPHS = 3
"""Paragraphs at the end of a page that may have spam glued to them."""
_AFTER_SENTENCE = re.compile(r"(?<=[。！？!?”」…)）])[^。！？!?”」]{6,400}$")
_LIST_HEADING = re.compile(r"[\s_|,、(（【\[]*(?:友情链接|友链|更多|欢迎\S{2,6}(?:访问|来到|光临|关注))?[:：\s]*")


def _suspect_spans(
    lines: list[Line], suspects: dict[int, _Words], grounds: dict[int, _Ground]
) -> Iterator[tuple[int, _Span]]:
    """What follows the last sentence of the last paragraphs, and lists of names inside of paragraphs."""
    places = [i for i in sorted(grounds) if _may_count(grounds[i]) and i not in suspects and is_prose(lines[i].text)]
    last = _last_paragraphs(lines, suspects) if places else frozenset()
    for i in places:
        line = lines[i]
        window = max(0, len(line.text) - LONGEST)
        end = _AFTER_SENTENCE.search(line.text, window) if i in last else None
        if end and _vocabulary_points(_rated(_find_words(fold(end[0])))) >= _GROUND:
            yield i, _Span(line.at + end.start(), end[0], is_end=True)
        elif grounds[i].strong >= SHORTEST_RUN and (run := _run(line)):
            yield i, _Span(line.at + run[0], line.text[run[0] : run[1]], is_end=False)


def _last_paragraphs(lines: list[Line], suspects: dict[int, _Words]) -> frozenset[int]:
    prose = (i for i in range(len(lines) - 1, -1, -1) if i not in suspects and is_prose(lines[i].text))
    return frozenset(islice(prose, EDGE_PARAGRAPHS))


def _without_span(line: Line, span: _Span | None) -> str:
    """A line as spans are compared with it: without its own."""
    if span is None:
        return line.text
    start = span.at - line.at
    return line.text[:start] + line.text[start + len(span.text) :]


def _judge_span(span: _Span, page: Page) -> Edit | None:
    folded = fold(span.text)
    found = _find_words(folded)
    candidate = Candidate(
        folded, _rated(found), sum(map(len, found)), _script(span.text), _without(folded, found), page, is_edge=True
    )
    points = sum(weigh(candidate) for weigh in EVIDENCE) + (1.0 if _LIST_HEADING.match(folded) else 0.0)
    if points < (BOUND - 1 if span.is_end else BOUND_INSIDE):
        return None
    return Edit(
        STEP, f"{_kind(candidate)}-in-paragraph", span.at, span.text, "", min(0.99, 0.8 + 0.03 * (points - BOUND + 1))
    )


SHORTEST_RUN = 3
"""Names of a list inside a paragraph."""
_BETWEEN = re.compile(r"[\s,，、|/_·-]{0,4}")


_HINT = re.compile(
    "官[网網]|[娱娛][乐樂]|体育|體育|投注|博|彩票|无码|無碼|久久|精品|[国國][产產]|人妻|棋牌|真人|在线|在線"
)
"""At least three of them are in a list of names: a look that costs paragraphs next to nothing."""


def _run(line: Line) -> tuple[int, int] | None:
    """Where words of the vocabulary stand in a row, three strong ones at least, with nothing but separators between."""
    folded = line.folded[:LONGEST]
    if len(_HINT.findall(line.text[:LONGEST])) < SHORTEST_RUN:
        return None
    matches = list(_matches(folded))
    if sum(_strength(m[0]) == "strong" for m in matches) < SHORTEST_RUN:
        return None
    best: tuple[int, int] | None = None
    first = 0
    for i, match in enumerate(matches):
        if i and not _BETWEEN.fullmatch(folded, matches[i - 1].end(), match.start()):
            first = i
        strong = {m[0] for m in matches[first : i + 1] if _strength(m[0]) == "strong"}
        if len(strong) >= SHORTEST_RUN:
            best = (matches[first].start(), match.end())
    return best


def _strength(word: str) -> str:
    return _rows().get(word, ("gambling", "strong"))[1]


def _foreign_on_top(lines: list[Line]) -> int | None:
    """0 if the first line is made of titles in Simplified, joined in the way of titles, on a Traditional page."""
    if len(lines) < 2 or len(lines[0].text) > LONGEST or not _JOINT.search(lines[0].folded):
        return None
    below = "".join(line.text[:200] for line in lines[1:6])
    return 0 if _script(lines[0].text) == "hans" and _script(below) == "hant" else None


def _judge(
    lines: list[Line], suspects: dict[int, _Words], page: Page, bound: float = BOUND
) -> Iterator[tuple[int, tuple[str, float]]]:
    edge = _edges(len(lines), suspects)
    candidates = {i: _candidate(lines[i], words, page, is_edge=i in edge) for i, words in suspects.items()}
    points = {i: sum(weigh(candidate) for weigh in EVIDENCE) for i, candidate in candidates.items()}
    n_sure = sum(n >= BOUND + 1 for n in points.values())
    for i, candidate in candidates.items():
        # Spam comes in company: a line that has some elsewhere on its page needs less.
        total = points[i] + (COMPANY if n_sure > (points[i] >= BOUND + 1) else 0.0)
        if total >= (bound if candidate.is_edge else BOUND_INSIDE) and _has_ground(candidate):
            yield i, (_kind(candidate), max(0.8, min(0.99, 0.8 + 0.03 * (total - BOUND))))


COMPANY = 1.0


def _candidate(line: Line, words: _Words, page: Page, *, is_edge: bool) -> Candidate:
    # The longest first, and not as a set has them: that differs from process to process.
    found = sorted((word for word, *_ in words[0]), key=lambda word: (-len(word), word))
    rest = _without(line.folded, found)
    return Candidate(line.folded, *words, _script(line.text), rest, page, is_edge)


def _without(folded: str, words: list[str]) -> str:
    for word in words:
        folded = folded.replace(word, " ")
    return folded


def _edges(n: int, suspects: dict[int, _Words]) -> set[int]:
    """Places of suspects with few other lines above or below them: suspects do not count, since they may all go."""
    others = [i for i in range(n) if i not in suspects]
    if len(others) < TOP_LINES + BOTTOM_LINES:
        return set(suspects)
    top, bottom = others[TOP_LINES - 1], others[-BOTTOM_LINES]
    return {i for i in suspects if i < top or i > bottom}


def _has_ground(line: Candidate) -> bool:
    """Whether there is more than position and looks: its words, or a script that is not the page's."""
    return _vocabulary_points(line.words) >= _GROUND or _heaped(line) > 0 or _other_script(line) > 0


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


_TINGED = frozenset(
    [
        "国产",
        "日韩",
        "欧美",
        "亚洲",
        "成人",
        "人妻",
        "少妇",
        "久久",
        "激情",
        "诱惑",
        "无码",
        "三级",
        "黄色",
        "av",
        "va",
        "熟女",
        "精品",
        "伦理",
        "毛片",
        "中文字幕",
        "日本",
        "涩涩",
        "情色",
        "色情",
        "大片",
        "乱",
    ]
)
"""Weak words that titles of films share with pornography, but no other title heaps up."""


def _heaped(line: Candidate) -> float:
    """Three words of pornography and next to nothing else: `成人免费在线视频软件`."""
    return 1.5 if _are_heaped(line.words) and _share(line) >= 0.8 else 0.0


def _share(line: Candidate) -> float:
    """How much of a line is made of the vocabulary."""
    return line.covered / max(1, len(_SIGNS.sub("", line.text)))


def _dense(line: Candidate) -> float:
    """How much of it is made of the vocabulary: such titles are little else."""
    share = _share(line)
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
    words = min(3, len(set(_GRAMMAR.findall(line.rest))))
    return -1.0 * words - (1.0 if line.text.endswith(("!", "?", "”", ":")) or _HEADLINE.search(line.text) else 0.0)


def _reports(line: Candidate) -> float:
    """Words of news about the trade."""
    return -2.0 if _REPORT.search(line.rest) else 0.0


def _placed(line: Candidate) -> float:
    return 1.0 if line.is_edge else 0.0


def _solicits(line: Candidate) -> float:
    """A number to write to or to call, as advertisements have it."""
    return 2.0 if _CONTACT.search(line.text) else 0.0


EVIDENCE: tuple[Callable[[Candidate], float], ...] = (
    _spoken,
    _heaped,
    _dense,
    _foreign,
    _other_script,
    _joined,
    _stutters,
    _speaks,
    _reports,
    _placed,
    _solicits,
)

_CONTACT = re.compile(
    r"(?:微信|薇信|威信|weixin|wechat|vx|wx|v信|加v|加微|[+加]v|q\s?q|扣扣|企鹅|电话|热线|手机|tel|飞机|纸飞机|telegram|tg|whatsapp|联系)"
    r"(?:同号|号码?)?\s{0,2}[:@]?\s{0,2}[a-z]{0,12}[\d_-]{4,20}"
)

_SIGNS = re.compile(r"[\W_]+")
_SEPARATOR = re.compile(r"[\s,、_|/·•\-:;]+|\si\s")
_TWO = r"[\u4e00-\u9fff]{2}"
_JOINT = re.compile(
    rf"[_|i-](?:(?:(?<={_TWO}[_|])|(?<={_TWO}\s[_|]))[_|]?\s?\w|(?<={_TWO}-){_TWO}|(?<={_TWO}\si)\s{_TWO})"
)
"""Signs that join the titles of pages. The sign stands first in the pattern: so `re` looks for it fast."""
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
def _vocabulary(*, brands: bool) -> re.Pattern[str]:
    """All words, the longest first."""
    return re.compile("|".join([*([_BRAND] if brands else []), either(_rows())]))


_TRADES = "体育|娱乐|棋牌|电竞|真人|彩票|电子|游戏|国际|平台"
_ENDINGS = "官方网站|官方入口|官方|官网|网页版|手机版|登录|登陆|注册|入口|app|下载|投注|备用|最新|平台|在线|网址|首页"
_DOORS, _INSIDE = "官网|登录|注册|app|下载|网页版|手机版", "入口|地址|网址|下载|登录|注册|送"
_BRAND = (
    rf"[\u4e00-\u9fffa-z0-9]{{2,5}}?(?:{_TRADES})(?:\(中国\))?(?:{_ENDINGS}){{2,4}}"
    rf"|(?:{_DOORS})(?:{_INSIDE})(?:手机版|网页版|官网|地址|入口|彩金)?"
)
"""Brands of gambling sites change by the week; their endings do not (`…体育app官网下载入口`)."""
_IN_BRANDS = (
    re.compile(rf"(?:{_TRADES})(?:\(中国\))?(?:{_ENDINGS})"),
    re.compile(rf"(?:{_DOORS})(?:{_INSIDE})"),
)
"""One of these is in each of them: to look for the names in front of them costs ten times as much as all words."""


@cache
def _anchors() -> tuple[AhoCorasick, list[_Ground]]:
    """Words of the vocabulary that count, and what stands in every brand; and what each of them adds to the ground."""
    trades = [trade + country for trade in _TRADES.split("|") for country in ("", "(中国)")]
    brands = {a + b for a in trades for b in _ENDINGS.split("|")}
    brands |= {a + b for a in _DOORS.split("|") for b in _INSIDE.split("|")}
    marks = {
        word: _Ground(weight == "strong" or word in brands, weight == "medium", kind == "porn")
        for word, (kind, weight) in _rows().items()
    }
    marks = {word: mark for word, mark in marks.items() if any(mark)} | {
        word: _Ground(strong=1) for word in brands - marks.keys()
    }
    automaton = AhoCorasick(list(marks), MatchKind.Standard, implementation=Implementation.DFA)
    return automaton, list(marks.values())


def _find_words(folded: str) -> list[str]:
    """Words of the vocabulary in a line; those in Latin script only where no other letters touch them."""
    return [match[0] for match in _matches(folded)]


def _matches(folded: str) -> Iterator[re.Match[str]]:
    words = _vocabulary(brands=any(sign.search(folded) for sign in _IN_BRANDS))
    return (m for m in words.finditer(folded) if not (m[0].isascii() and _is_touched(folded, *m.span())))


def _is_touched(folded: str, start: int, end: int) -> bool:
    around = folded[max(0, start - 1) : start] + folded[end : end + 1]
    return any(char.isascii() and char.isalpha() for char in around)


def _pairs(folded: str) -> frozenset[tuple[str, str]]:
    return frozenset(pairwise(_SIGNS.sub("", folded)))


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
    chars = set(text)
    simplified, traditional = len(chars & simplified_only()), len(chars & traditional_only())
    if min(simplified, traditional) * 8 > max(simplified, traditional) or max(simplified, traditional) < 2:
        return ""
    return "hans" if simplified > traditional else "hant"
