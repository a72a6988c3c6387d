"""Which of the lines above the first paragraph is the title."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from tasks.steps.lines import KEPT_LINES, Line, fold, is_chinese, is_heading, key, key_of
from tasks.steps.menus import is_call, is_item, is_menu
from tasks.steps.names import is_outlet

SAMPLE = 1_500
"""Characters of the body that titles are compared with: a title says what its article begins with."""
_LONG_ENOUGH = 10
"""Ideographs, or half as many as letters, from which on a line is as long as titles are."""

_OF_ALL = "环球|全球|世界|天天|每日|今日|当前|即时|实时|焦点|最新|精彩|热门|速看|速讯|快看|微"
_NEWS = (
    "热点|快看|速看|速讯|快讯|讯息|资讯|热文|热闻|新消息|消息|动态|新动态|快播|快报|短讯|要闻|头条|今头条|热议|观点|热讯|看热讯|观热点"
    "|观速讯|热推荐|观察|关注|信息|通讯|简讯|聚焦|百事通|最资讯|热资讯|热头条|热消息|微动态|微资讯|微头条|微速讯|滚动|时快讯|播报|即看|看点"
)
SITE_PREFIX = re.compile(rf"(?:原?标题:|(?:{_OF_ALL})?(?:{_NEWS})!|(?:{_OF_ALL})(?:{_NEWS}):)\s?")
"""What networks of cloned news sites put in front of a title (`通讯!`, `环球热点!`, `全球快看:`), from their pages."""

TAGS = re.compile(r"_{1,2}[^_]{2,20}(?:_{1,2}[^_]{2,20}){0,2}$")
"""The section and the site, joined to a title."""
BUTTON_AFTER = re.compile(r"\s{0,3}\[(?:复制链接|复制|打印|打印本页|收藏|分享|举报|推荐)\]$")
"""What forums put behind it."""

_SECTION_BEFORE = re.compile(r"\[[\u4e00-\u9fff]{2,6}\]\s{1,3}(?=\S)")
"""The section in front of it, as forums and lists have it; `【…】` is the title's own."""

_NO_TITLE = re.compile(
    r"\W{0,2}(?:(?:问|答|记者|主持人|嘉宾|网友|观众|[qa])\s?\d{0,2}\s?:|(?:[一二三四五六七八九十]{1,3}|\d{1,2})\s?[、.]\s?\D"
    r"|原创\s|</?[a-z]{1,10}[\s>]|\d{1,3}\W{0,2}$|(?:第\s?\d{1,3}\s?页\W{0,3}){1,9}$"
    r"|[^,。:]{2,20}\s(?:19|20)\d\d年第?\s?\d{1,2}期$"
    r"|(?:公众号|微信号|[^:]{0,6}(?:时间|日期|地点|地址|电话))\s?:"
    r"|(?:来源|作者|编辑|时间|日期|摘要|关键词|source|author|date|by)\s?:)"
)
"""Speakers of an interview, numbered headings, greetings, labels, tags, numbers of pages, issues of journals."""


_CHAPTER = re.compile(r"第[\d〇零一二三四五六七八九十百千两]{1,7}(?P<unit>[章回节節卷集话話])")
_DOCUMENT = re.compile(
    r".{0,60}关于.{2,100}的?(?:通知|公告|通报|意见|函|批复|决定|请示|报告|公示|复函|说明|答复|规定|办法)(?:\(.{1,20}\))?$"
)
"""Titles of documents of offices, whose form is laid down (GB/T 9704)."""


def choose_title(head: Sequence[Line], body: Iterable[str], beside: Sequence[float]) -> int | None:
    """Place of the title in the lines above the first paragraph; None where no line could be one.

    The first line that could be one, unless another one shares more of its pairs of characters with the body, is said
    again, or stands where titles do: `beside` has the points of each line for its place. The body is folded.
    """
    sample = key_of("".join(folded[:SAMPLE] for folded in body)[:SAMPLE])
    keys = [key_of(line.folded) for line in head]
    chapters = [match["unit"] + match[0] for line in head if (match := _CHAPTER.match(line.text))]
    contents = {unit for unit in (told[0] for told in chapters) if len({t for t in chapters if t[0] == unit}) > 1}
    points = {
        i: _points(line, keys, sample) + beside[i] - 0.05 * i
        for i, line in enumerate(head)
        if could_be_title(line.text) and not _is_of_contents(line.text, contents)
    }
    return max(points, key=lambda i: points[i], default=None)


def _is_of_contents(text: str, units: set[str]) -> bool:
    """Whether a line is a chapter in a table of contents: one of several of its kind above the first paragraph."""
    chapter = _CHAPTER.match(text)
    return chapter is not None and chapter["unit"] in units


_GREETING = re.compile(r"(?:您好|你好)?[,!]?\s?(?:欢迎您?(?:来到|光临|访问|进入)|今天是)|(?:welcome to|today is)\b")


def is_chapter(text: str) -> bool:
    """Whether a line is the title of a chapter."""
    return _CHAPTER.match(text) is not None


def is_titled(text: str) -> bool:
    """Whether a line has the form of a title: of a chapter, or of a document of an office."""
    return is_chapter(text) or _DOCUMENT.match(fold(text)) is not None


def is_greeting(text: str) -> bool:
    """Whether a line greets the visitor of a site, as its top does."""
    return bool(_GREETING.match(fold(text[:40])))


def could_be_title(text: str) -> bool:
    """Whether a line is short, no sentence, no label, and no menu."""
    return is_heading(text) and _is_title(text)


@lru_cache(maxsize=KEPT_LINES)
def _is_title(heading: str) -> bool:
    folded = fold(heading)
    return (
        bool(key(heading))
        and not _NO_TITLE.match(folded)
        and not is_greeting(heading)
        and not is_menu(folded)
        and not is_call(folded)
    )


def _points(line: Line, keys: list[str], sample: str) -> float:
    own = key_of(line.folded)
    pairs = {own[i : i + 2] for i in range(len(own) - 1)}
    shared = sum(pair in sample for pair in pairs) / max(1, len(pairs))
    letters = len(own) * (1 if is_chinese(line.text) else 0.5)
    is_menu_word = (is_item(line.folded) and letters <= 6) or is_outlet(line.folded)
    again = keys.count(own) > 1
    return min(1.0, 2 * shared) + min(1.0, letters / _LONG_ENOUGH) + again + is_titled(line.text) - 2 * is_menu_word


def bare_title(text: str) -> str:
    """A title without the words of its site and without buttons."""
    folded = fold(text)
    prefix = SITE_PREFIX.match(folded) or _SECTION_BEFORE.match(text)
    ends = [match.start() for match in (BUTTON_AFTER.search(folded), TAGS.search(folded)) if match]
    return text[prefix.end() if prefix else 0 : min(ends, default=len(text))].strip()
