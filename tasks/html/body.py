"""Which lines of a page are its main text.

Prose is what counts: sentences with their signs, which navigation and lists of links do not have, in Chinese even less
than in English. The body is the smallest element that holds nearly all prose of the page, less what in it is named
as something else, consists of links, or stands beyond them. docs/adr/0015-html.md has the measurements.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from tasks.html.lines import HEADINGS, Element, Line, Lines
from tasks.rules import load
from tasks.steps.boilerplate import dates_something_else

SHARE_OF_BODY = 0.8
"""An element that holds this share of the prose of the one around it is entered in search of the body."""
SHARE_OF_NAMED_BODY = 0.5
"""The same for one that is named as a body."""
SHARE_OF_PARAGRAPH = 0.95
"""The same for one with a single line of prose, which may be a paragraph among others."""

SHARE_OF_FURNITURE = 0.4
"""What is named as furniture may hold so much of the prose of the page: names are given freely (`side-article`)."""

SHORTEST_BODY = 60
"""Characters of prose that are left for a body beside comments, which may be much longer than what they are about."""

LINKED = 0.5
"""Share of links in a line above which it is a link and not a sentence with links in it."""

LONGEST_DATA = 120
"""Characters of a line at the edge of the body that may be data about it."""
SAID_FIRST = 100
"""Characters within which a notice says that it is one."""
LONGEST_TITLE = 30
"""Characters of a line with a comma and no full stop that may be a title."""
LONGEST_BUTTON = 40
"""Characters of a link that is one, whatever signs it has."""

PLAIN = -1.0
"""What a line that is neither prose nor link adds to the worth of a run of lines."""
LINK = -10.0
"""What a line of links adds, at most."""
NEXT_PART = -100.0
"""What a heading of comments or other articles adds."""
WIDEST_GAP = -300.0
"""The most that lines between two runs of prose cost: a body that has more on either side goes on."""

HEAD_LINES, TAIL_LINES = 30, 8
"""Lines above and below the body that may say something about it."""

FURNITURE_TAGS = frozenset({"nav", "footer", "aside", "menu", "dialog"})
PARAGRAPHS = frozenset({"p", "span", "li", "tr", "font", "blockquote", "ul", "ol"}) | HEADINGS
"""Elements that are no body, even if there is no other prose."""

_SENTENCE = re.compile(r"[。！？；…]|[.!?;](?=[\s\"”’)]|$)")
_CLAUSE = re.compile(r"[，,]")
_NARROW = re.compile(r"[\0-\u2e80]+")
_END = "。！？…”.!?"

_ABOUT_SITE = re.compile(
    r"(?=[版c©ap许公i备举技建未])(?:"  # first characters, at a fifth of the cost
    r"版权所有(?![者人])|copyright\s?(?:©|\(c\)|(?:19|20)\d\d|[:：])|©\s?(?:19|20)\d\d|all rights reserved|powered by"
    r"|(?<=[\u4e00-\u9fff])icp[备证]|公网安备|许可证(?:编?号)?\s?[:：]?\s?[\dA-Z]|(?:备案号|举报(?:电话|邮箱)|技术支持)\s?[:：]"
    r"|建议使用.{0,20}浏览|未经.{0,12}(?:授权|许可|允许).{0,8}(?:不得|禁止|请勿|严禁|擅自).{0,6}转载)",
    re.IGNORECASE,
)
"""Sentences about the site. The line engine knows more; these must not look like a body."""

_DATA = re.compile(
    r"(?=[\d来來作记编編时日字稿责責浏瀏点點阅评打列关发發分收人次vatdsp])(?:"
    r"(?:19|20)\d\d\s?[-/.年]\s?\d{1,2}\s?[-/.月]\s?\d{1,2}|\d{1,2}:\d{2}|(?:来源|來源|作者|记者|编辑|字体|时间|日期)\s?[:：]"
    r"|稿源|編輯|责编|责任编辑|責任編輯|浏览|瀏覽|点击|點擊|阅读\s?[:：(（\d]|评论\s?[(（\d]|字号|字體|打印|列印|关闭窗口"
    r"|发布时间|发表于|發表於|分享到|收藏|人气|次数"
    r"|(?:views?|author|time|date|source)\s?[:：]|posted (?:on|by)|published)",
    re.IGNORECASE,
)
"""What lines of data and buttons at the edges of an article hold."""

_BELOW = re.compile(
    r"\W{0,4}(?:[上下]一[篇章条页]|[上下]篇|[前后]一篇|责任编辑|責任編輯|责编|编辑|审核|校对|关键[词字]|關鍵字|标签|標籤"
    r"|(?:来源|分类|地址|电话|传真|邮编)\s?[:：]|相关(?:阅读|新闻|文章|链接|专题|报道|推荐)|相關(?:新聞|報導|文章)"
    r"|(?:延伸|推荐)阅读|更多|分享|转发|打印|关闭|返回|收藏|扫一扫|微信扫|长按|点击|版权|声明|免责|转载|附件|评论|发表评论"
    r"|我要|举报|主办|承办|主管|友情链接|prev|next|previous|share|related|copyright|tags?\b)",
    re.IGNORECASE,
)
"""What lines below an article begin with that are none of it."""

_BELOW_LABEL = re.compile(r".{0,16}[:：]|\W{0,4}(?:版权|声明|免责|转载|扫一扫|微信扫|长按|点击|更多\w{0,8}请)")
"""What a sentence below an article has to begin with: one of its own may begin with `更多`, or hold a date. The line
engine, which comes after, knows notices better."""

_NEXT_PART = re.compile(
    r"\W{0,4}(?:(?:热门|最新|网友|精彩|全部|精选)?(?:评论|留言|跟帖|回帖|回应)(?:列表|区)?"
    r"|(?:发表|我要|参与|查看)(?:评论|留言|回应)|我来说两句|相关(?:链接|新闻|阅读|文章|报道|推荐|专题|資訊|资讯)"
    r"|相關(?:新聞|報導|文章|閱讀)|猜你(?:还)?喜欢|(?:推荐|更多|延伸)(?:阅读|新闻|文章|资讯)|图片新闻"
    r"|(?:热门|精彩|编辑|为[您你])推荐|热[门点](?:新闻|文章|排行|资讯|专题)"
    r"|(?:leave a |post a )?comments?|leave a reply|related (?:posts|articles|news)|you may also like)"
    r"(?:\s?[(（]?\d{0,6}[)）]?)?\W{0,4}",
    re.IGNORECASE,
)
"""Headings of what comes after an article."""


class Body(NamedTuple):
    """Places of lines."""

    body: list[int]
    head: list[int]
    """Other lines above its first sentence, which may say something about it."""
    tail: list[int]
    """The same below its last."""


def choose_body(page: Lines) -> Body:
    """Lines of the main text; all that isn't furniture where there is no prose (lists, galleries, front pages)."""
    seen = [i for i, line in enumerate(page.lines) if not line.hidden]
    weights = _Weights(page, seen)
    container = weights.container()
    within = weights.within(container)
    inside = [i for i in seen if within[page.lines[i].element]]
    kept = [i for i in weights.segment(inside, container) if not weights.is_furniture(i, container)]
    body = _trimmed(page, kept, weights.prose)
    if not body:
        return Body([i for i in seen if not weights.is_furniture(i, -1)] or seen, [], [])
    sentences = [i for i in body if weights.prose[i]]
    others = sorted({*seen} - {*body})
    head, tail = ([i for i in others if i < sentences[0]], [i for i in others if i > sentences[-1]])
    return Body(body, head[-HEAD_LINES:], tail[:TAIL_LINES])


def prose_of(line: Line) -> float:
    """How much of a line is prose: its characters if it has the signs of sentences, less for Latin and for links."""
    text, n = line.text, len(line.text)
    if n < 6 or line.linked > LINKED * n:
        return 0.0
    if not _SENTENCE.search(text) and not (n > LONGEST_TITLE and _CLAUSE.search(text)) and text[-1] not in "，：":
        return 0.0
    if n < 300 and _ABOUT_SITE.search(text[:SAID_FIRST]):
        return 0.0
    if n < LONGEST_DATA and _DATA.search(text) and text[-1] not in _END:
        return 0.0
    wide = len(_NARROW.sub("", text[:1000])) * max(1.0, n / 1000)
    cost = 2.5 if n < LONGEST_DATA else 1.0  # a title in a list of links has its date and its author beside it
    return max(0.0, wide + (n - wide) / 4 - cost * line.linked)


class _Weights:
    """Prose of each line, and of each element with all that is in it."""

    def __init__(self, page: Lines, seen: Sequence[int]) -> None:
        self.page = page
        self.prose = {i: 0.0 if _is_heading(page, page.lines[i]) else prose_of(page.lines[i]) for i in seen}
        self.furniture = [False] * len(page.elements)
        total, _ = self.sums()
        whole = sum(self.prose.values())
        for place, element in enumerate(page.elements):  # what is around comes first
            named = total[place] <= _allowance(element, whole)
            self.furniture[place] = named or (element.parent >= 0 and self.furniture[element.parent])
        self.total, self.n_lines = self.sums()

    def sums(self) -> tuple[list[float], list[int]]:
        """Prose in each element, and the number of its lines, but for those that are furniture."""
        elements = self.page.elements
        total, n_lines = [0.0] * len(elements), [0] * len(elements)
        for i, prose in self.prose.items():
            place = self.page.lines[i].element
            if prose and place >= 0 and not self.furniture[place]:
                total[place] += prose
                n_lines[place] += 1
        for place in range(len(elements) - 1, 0, -1):
            if (parent := elements[place].parent) >= 0:
                total[parent] += total[place]
                n_lines[parent] += n_lines[place]
        return total, n_lines

    def container(self) -> int:
        """The element that is the body; -1 for the whole page."""
        children: dict[int, list[int]] = {}
        for place, element in enumerate(self.page.elements):
            children.setdefault(element.parent, []).append(place)
        place, whole = -1, sum(self.total[child] for child in children.get(-1, ()))
        while whole:
            best = max(children.get(place, ()), key=lambda child: self.total[child], default=-1)
            if best < 0 or not self.is_entered(best, whole):
                break
            place, whole = best, self.total[best]
        return place

    def is_entered(self, place: int, whole: float) -> bool:
        """Whether the body is in an element, or is it, and not in the one around it with this much prose."""
        element = self.page.elements[place]
        if element.tag in PARAGRAPHS:
            return False
        if _what(element.name) == "body":
            return self.total[place] > SHARE_OF_NAMED_BODY * whole
        return self.total[place] >= whole * (SHARE_OF_BODY if self.n_lines[place] > 1 else SHARE_OF_PARAGRAPH)

    def within(self, container: int) -> list[bool]:
        """For each element, and for none (-1, the last), whether it is the container or in it."""
        inside: list[bool] = []
        for place, element in enumerate(self.page.elements):  # what is around comes first
            inside.append(container in {place, -1} or (element.parent >= 0 and inside[element.parent]))
        return [*inside, container < 0]

    def is_furniture(self, i: int, container: int) -> bool:
        """Whether a line within the body is none of it."""
        line = self.page.lines[i]
        if line.element >= 0 and self.furniture[line.element] and not (container >= 0 and self.furniture[container]):
            return True
        is_link = line.linked > LINKED * len(line.text)
        return is_link and (len(line.text) < LONGEST_BUTTON or not _SENTENCE.search(line.text))

    def segment(self, inside: Sequence[int], container: int) -> Sequence[int]:
        """The run of lines with most prose for what else is in it: what stands far off beyond links is no part.

        The maximal run (Kadane), where a gap costs so much at most. An element named as a body is taken whole.
        """
        if container >= 0 and _what(self.page.elements[container].name) == "body":
            return inside
        gains = [self.gain(i, container) for i in inside]
        best = run = gap = 0.0
        best_start = best_end = start = 0
        for n, gain in enumerate(gains):
            if gain <= 0:
                gap = max(gap + gain, WIDEST_GAP)
                continue
            run, start = (run + gap, start) if run + gap > 0 else (0.0, n)
            run, gap = run + gain, 0.0
            if run > best:
                best, best_start, best_end = run, start, n + 1
        while best and best_start and gains[best_start - 1] == PLAIN:
            best_start -= 1
        while best and best_end < len(gains) and gains[best_end] == PLAIN:
            best_end += 1
        return inside[best_start:best_end]

    def gain(self, i: int, container: int) -> float:
        """What a line adds to the worth of a run."""
        line = self.page.lines[i]
        if len(line.text) < LONGEST_TITLE and _NEXT_PART.fullmatch(line.text):
            return NEXT_PART
        if self.is_furniture(i, container):
            return max(LINK, -2.0 - line.linked)
        return self.prose[i] or PLAIN


def _allowance(element: Element, whole: float) -> float:
    """How much prose an element may hold to be furniture by its name; less than nothing if it has no such name."""
    what = "furniture" if element.tag in FURNITURE_TAGS else _what(element.name)
    if what == "comments":
        return whole - SHORTEST_BODY
    return SHARE_OF_FURNITURE * whole if what == "furniture" else -1.0


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    words: dict[str, list[str]] = {}
    for word, what in load("html-names"):
        words.setdefault(what, []).append(re.escape(word).replace(r"\*", r"\w{0,12}"))
    return {
        what: re.compile(rf"(?<![a-z])(?:{_PLACES}[_-]?)?(?:{'|'.join(words[what])})(?![a-z])")
        for what in ("body", "comments", "furniture")
    }


_PLACES = "(?:left|right|top|main|sub|site|page|article|art|news|post|con|content)"
"""What stands in front of names: `topnav`, `right-hot`, `article_share`."""


@lru_cache(maxsize=10_000)  # names of classes are without number
def _what(name: str) -> str:
    """What the names of an element say it is: body, comments, furniture or nothing."""
    return next((what for what, pattern in _patterns().items() if name and pattern.search(name)), "")


def _trimmed(page: Lines, kept: Sequence[int], prose: dict[int, float]) -> list[int]:
    """Without the title and the data above the first sentence, and what stands below the last."""
    sentences = [n for n, i in enumerate(kept) if prose[i]]
    if not sentences:
        return []
    first, last = sentences[0], sentences[-1]
    while last > first and len(page.lines[kept[last]].text) < LONGEST_DATA and _is_below(page.lines[kept[last]]):
        last -= 1
    head = [i for i in kept[:first] if not _is_above(page, page.lines[i])]
    return [*head, *kept[first : last + 1], *(i for i in kept[last + 1 :] if not _is_below(page.lines[i]))]


def _is_heading(page: Lines, line: Line) -> bool:
    return line.element >= 0 and page.elements[line.element].tag in HEADINGS and line.text[-1] not in "。.；"


_DATE_OF_DOCUMENT = re.compile(r"[(（]?\s?(?:19|20)\d\d\s?年\s?\d{1,2}\s?月\s?\d{1,2}\s?日\s?[)）]?")
"""The date under a speech's title, or below a letter or a notice: it is part of the text."""


_MAY_BE_DATED = re.compile(r"[\d年]")
"""In all that `tasks.steps.dates.DATETIME` matches."""


def _dates_something_else(text: str) -> bool:
    return _MAY_BE_DATED.search(text) is not None and dates_something_else(text)


def _is_above(page: Lines, line: Line) -> bool:
    if line.text[0] in "(（" and _DATE_OF_DOCUMENT.fullmatch(line.text):
        return False
    is_data = bool(_DATA.search(line.text[:LONGEST_DATA])) and not _dates_something_else(line.text)
    return _is_heading(page, line) or line.linked > 0 or is_data


def _is_below(line: Line) -> bool:
    if line.linked > LINKED * len(line.text) or _ABOUT_SITE.search(line.text[:SAID_FIRST]):
        return True
    if _DATE_OF_DOCUMENT.fullmatch(line.text) or _dates_something_else(line.text):
        return False
    if prose_of(line) and line.text[-1] in _END and _CLAUSE.search(line.text):
        return bool(_BELOW.match(line.text) and _BELOW_LABEL.match(line.text))
    return bool(_BELOW.match(line.text) or _DATA.search(line.text[:40]))
