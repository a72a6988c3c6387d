"""The grammar of furniture: taking a line around an article apart into dates, labels with their values, and buttons.

A line that is not taken apart to its end is no furniture, whatever words it has. Everything here works on one folded
line (`tasks.steps.lines.fold`) of at most `LONGEST` characters; repetitions are bounded or possessive.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick, MatchKind

from tasks.rules import either, grouped, load, occurrences
from tasks.steps.dates import DATETIME, MONTH, iso_datetime
from tasks.steps.lines import fold, is_chinese, key


class Token(NamedTuple):
    """A part of a line of furniture."""

    kind: str
    """Kind of label (boilerplate-labels.txt), place of a word (boilerplate-words.txt), `date`, `outlet` or `home`."""
    value: str
    """ISO 8601 for dates, else what stands between `start` and `end`."""
    strong: bool
    """Whether it is enough to make its line furniture."""
    start: int
    """Offset of the value in the line."""
    end: int


_GAP = re.compile(r"[\s|,;、。·•●■◆◇★☆▲△▼►▶◀←↑↓※#*=~/\\\[\](){}<>«'\"“”‘’&:.…-]*+")
"""What may stand between tokens: separators, brackets, bullets."""

_SPACED = 4
"""Sites set labels of up to four characters with spaces in them (`来 源`, `责 任 编 辑`)."""

_BEFORE_DATE = (
    r"(?=\s{0,3}(?:(?:19|20)\d\d|[一二][〇零○一二九]|\d{1,2}[-/]\d{1,2}[-/]|\d{1,2}\s" + MONTH + "|" + MONTH + "))"
)
_COLON_LESS = {
    "published": _BEFORE_DATE,
    "updated": _BEFORE_DATE,
    "count": r"(?=\s{0,3}[\d(]|$)",
    "view": r"(?=[\s\[(|]|$)",
    "neighbour": r"(?=\s?[>\]]|$|(?<=[上下前后]一[篇条则])\s)",
    "editor": r"(?=(?:\s{1,3}|\s?[|/]\s?)[\u4e00-\u9fff]{2,4}(?:$|[\s\])])|(?<=ed by)(?:\s[a-z][\w.']{1,15}){1,3}\)?$)",
    "staff": r"(?=\s?[|/]\s?[\u4e00-\u9fff]{2,4}(?:$|[\s\])]))",
    "crumb": r"(?=\s{0,3}(?:首页|主页|网站首页|home)\b)",
}
"""What must follow a label of a kind that has no colon."""

_VALUES = {
    "published": DATETIME,
    "updated": DATETIME,
    "count": re.compile(
        r"(?:\(\s?)?(?:[\d,.]{1,12}\s?[万kw]?\+?\s?(?:人次|次|人|个|条|篇|times?\b)?|-{1,3}|\.{3}|加载中|loading)\)?"
    ),
    "url": re.compile(
        r"(?:https?://|www\.)[^\s\[\]()<>]{1,500}|[\w.-]{1,60}\.(?:com|cn|net|org|gov|tw|hk)\b[^\s\[\]()<>]{0,300}"
    ),
    "site": re.compile(r"[\w·.&'’《》\"“”/\s-]{1,40}(?:,\s?(?:ltd|inc|llc|corp)\.?|\([\w ]{1,12}\))?(?=\s{0,3}$)"),
    "author": re.compile(r"[\w·.&'、/\s()-]{1,30}$"),  # with a comma it is a sentence about the author
    "editor": re.compile(r"[\w·.&'、,/\s()-]{1,30}$"),
    "staff": re.compile(r"[\w·.&'、,/\s()-]{1,30}$"),
    "section": re.compile(r"[\w·&'、,/\s>-]{1,40}$"),
    "keywords": re.compile(r"[^。;!?、]{1,120}$"),  # an author's own are joined by `、` or `；`
    "tags": re.compile(r"[^。;!?]{1,120}$"),
    "neighbour": re.compile(r"[^。]{1,120}$"),
    "title": re.compile(r"[^。]{1,120}$"),
    "office": re.compile(r"[^。;!?]{1,80}$"),
}
"""What a label of a kind may say. A label may also say nothing."""

_WHOLE = frozenset({"neighbour", "title"})
"""Kinds whose value runs to the end of the line or to the next of them, whatever it holds."""
_LISTS = frozenset({"tags", "keywords"})
"""Kinds whose values are joined by bars and gaps, which end other values."""
_UNLIMITED = _WHOLE | {"published", "updated", "count", "url"}
"""Kinds whose value ends by itself."""

_COUNTED = re.compile(
    r"\(?[\d,.]{1,12}\s?[万kw]?\+?\s?(?:人次|次|人|个|条)?\s?"
    r"(?:浏览|阅读|点击|评论|围观|回复|查看|人气|次|views?\b|reads?\b|comments?\b|hits\b)"
    r"|\d{1,2}\s?(?:小时|分钟|天|days?|hours?|minutes?)\s?(?:前|ago\b)|(?:昨天|今天|前天)\s?\d{1,2}:\d\d"
    r"|(?:全文|本文)?共?\s?[\d,]{1,9}\s?字(?!\w)|(?:预计)?(?:阅读|需浏览|需)\w{0,6}\s?\d{1,4}\s?分钟"
    r"|发[表布]于\s?[\u4e00-\u9fff]{2,4}(?=\s|$)|ip属地:?\s?[\u4e00-\u9fff]{2,4}"
    r"|\d{1,2}-\d{1,2}\s\d{1,2}:\d\d(?::\d\d)?(?!\d)|\(?\d{1,9}\s?人(?:参与|跟帖|评论|看过|赞)\)?|第\s?\d{1,4}\s?页\s?/\s?共\s?\d{1,4}\s?页|共?有?\d{1,9}条(?:评论|跟帖|回复)|\d{1,6}(?=\))"
)
"""Counts with their noun behind them, and times that name no day."""
_OUTLET = re.compile(
    r"(?:《\w{2,12}》|第?\s?[a-z]?\d{1,2}\s?版:?\w{0,6}|[\w·]{1,14}?(?:网|网站|报|报社|通讯社|新华社|电视台|电台"
    r"|在线|客户端|杂志|周刊|频道|新闻|资讯|公众号|新媒体|融媒体|融媒体中心|委员会|办公室|人民政府|出版社|头条)"
    r"(?:-[\w·]{2,15})?|(?:新浪|搜狐|网易|腾讯|凤凰)\w{0,6}|中新社|中央社|央视)"
    r"(?=\s{0,3}(?:$|[|/\[\]()])|\s)"
)
"""Names of outlets as they stand beside a date without a label."""
_BYLINE = re.compile(
    r"(?:记者|通讯员|实习生)\s?(?:[\u4e00-\u9fff]{2,4}(?:[/、][\u4e00-\u9fff]{2,6}报[导道])|[\u4e00-\u9fff]{2,4}(?=\s{0,3}(?:$|[)\]|])|\s{1,3}\S))"
)
"""Beside the date: Taiwan's newspapers name the place as well (`記者王小明／台北報導`)."""
_ORIGIN = re.compile(r"以下文章来源于\s?[^,。:]{1,24},\s?作者:?\s?(?P<author>[^,。:]{1,16})$")
"""WeChat names the account that an article was taken from."""
_BY = re.compile(r"by\s[a-z][\w.']{0,20}(?:\s[a-z][\w.']{0,20}){0,2}(?=\s{0,3}(?:$|[|\d-]))")
_SEGMENT = re.compile(r"[a-z][\w.&']{1,15}(?:\s[\w.&']{1,15}){0,3}(?=\s{0,3}(?:$|\|))")
"""A few Latin words between bars (`By Li Na | China Daily | Updated: 2023-06-24`)."""

_ARROWS = re.compile(r"-{0,2}>+")
_STROKES = re.compile(r"-{0,2}>+|[/|\\]|-{1,2}|:{1,2}|·|\s+")
"""What stands between the levels of a breadcrumb. Other signs than arrows need the home page in front."""
_FROM_HOME = re.compile(r"\s*(?:[\w·]{0,12}(?:首\s?页|主\s?页)|[\w·]{2,8}网|home\b|index\b)")
_LONGEST_LEVEL = 30
_LONGEST_TITLE = 80
"""Characters of a level, and of the last one, which may be the title of the page."""
_HOME = re.compile(
    r"(?:[\w·]{0,12}(?:首\s?页|主\s?页)|[\w·]{2,8}网\w{0,4}|home(?:\s?page)?|index)\s{0,3}"
    r"(?:-{0,2}>|/(?=\s{0,3}(?:news|products|about|blog|media|新闻)))"
    r"|(?:[\w·]{0,4}(?:首\s?页|主\s?页)|home)(?:\s{1,3}[-·/](?=\s)|-(?=\w))"
)
_DASH = re.compile(r"\s[-·/]\s|(?<=\w)-(?=\w)")


_KEPT = 1_000
"""Lines that are kept as they were taken apart: rules ask for the same ones, in every pass."""


def parse(line: str) -> tuple[Token, ...]:
    """Take a folded line apart, in order; empty if any of it is no furniture."""
    tokens, end = parse_start(line)
    return tokens if end >= len(line) else ()


@lru_cache(maxsize=_KEPT)
def parse_start(line: str) -> tuple[tuple[Token, ...], int]:
    """Take a folded line apart as far as it is furniture; the offset where that ends."""
    tokens: list[Token] = []
    at = _skip(line, 0)
    while at < len(line):
        links = _links(line, at) if any(token.strong for token in tokens) else None
        token = links or _token(line, at)
        if token is None:
            break
        tokens.append(token)
        at = _skip(line, token.end)
    return tuple(tokens), at


def _links(line: str, at: int) -> Token | None:
    """A heading of links and all that follows, on a line that began as furniture."""
    match = _heading_pattern().match(line, at)
    return Token("links", match[0], True, at, len(line)) if match and "。" not in line[at:] else None


@cache
def _heading_pattern() -> re.Pattern[str]:
    return re.compile(rf"(?:{either(row[0] for row in load('boilerplate-lists'))})(?=[\s:])")


@lru_cache(maxsize=_KEPT)
def parse_loosely(line: str) -> tuple[Token, ...]:
    """The same, but what is no furniture becomes a token of the kind `unknown`."""
    tokens: list[Token] = []
    at = _skip(line, 0)
    while at < len(line):
        token = _token(line, at) or _links(line, at) or _unknown(line, at)
        if token.kind == "unknown" and tokens and _goes_on(line, tokens[-1], at):
            token = Token("unknown", line[tokens[-1].start : token.end], False, tokens.pop().start, token.end)
        tokens.append(token)
        at = _skip(line, token.end)
    return tuple(tokens)


_BREAK = re.compile(r"[\s,|/\\\[\](){}<>]|(?<=[^\d\s])[-·](?=\s)")


def _unknown(line: str, at: int) -> Token:
    """What stands there, up to the next separator, label or date."""
    ends = [m.start() for m in (_BREAK.search(line, at + 1), _stop().search(line, at + 1, at + _FARTHEST)) if m]
    end = min(ends, default=len(line))
    return Token("unknown", line[at:end], False, at, end)


def _goes_on(line: str, last: Token, at: int) -> bool:
    """Whether an unknown word goes on with a Latin one after it (`China Paint Network`)."""
    return last.kind == "unknown" and line[last.end : at] == " " and line[last.start : at + 1].isascii()


def levels(crumbs: str) -> list[str]:
    """The sections that a breadcrumb names, as written: without the home page at its start and `正文` at its end."""
    folded = fold(crumbs)
    pattern = _PART if _ARROW.search(folded) else _PART_OF_STROKES
    parts = (crumbs[m.start() : m.end()].strip(" -·:：") for m in pattern.finditer(folded))
    return [part for part in parts if part and not _NO_SECTION.fullmatch(key(part))]


_PART = re.compile(r"(?:(?!\s-{1,2}\s|\s·\s|\s{2,}|--|::)[^>|/\\])+")
_ARROW = re.compile(r"[>|/\\]")
_PART_OF_STROKES = re.compile(r"[^\s·:-]+")
_NO_SECTION = re.compile(
    r"\w{0,12}(?:首页|主页)|\w{2,8}网(?:站|资讯)?|home(?:page)?|index|\w{0,4}正文(?:内容)?|(?:文章)?内容|\w{0,4}详情|详细\w{0,4}|文章|details?|newsdetails?|main|阅读|浏览|查看|"
)


_STAFF_LABELS = "校对|审校|审核|排版|制图|监制|统筹|策划"
_YEAR = re.compile(
    r"(?:19|20)\d\d(?:\s?年\s?|[-/.])\d|民国|1[01]\d[-/.年]\d|[-/]\d{1,2}[-/](?:19|20)\d\d"
    rf"|{MONTH}[^\n]{{1,16}}?(?:19|20)\d\d|[一二][〇零一二三四五六七八九o○0]{{3}}年"
)
"""In all that `DATETIME` matches."""


def may_tell(line: str) -> bool:
    """Whether a folded line could have a date, a token of an office, or one that is enough to make it furniture.

    It never says no of a line that has one: taking apart a line that is none of it costs thirty times as much.
    """
    bare = "".join(line.split())
    return (
        bool(occurrences(_telling(), bare))
        or ("网" in bare and (">" in bare or "/" in bare))  # a breadcrumb that begins with the name of the site
        or _YEAR.search(line) is not None
    )


@cache
def _telling() -> AhoCorasick:
    """What stands in such tokens, without white space."""
    told = [
        label for label, (kind, strong) in _labels().items() if strong or kind in {"office", "published", "updated"}
    ]
    words = [word for word, place in _words().items() if place == "anywhere"]
    headings = [heading for (heading,) in load("boilerplate-lists")]
    fixed = ["以下文章来源于", "首页", "主页", "home", "index", "编辑", "责编", *_STAFF_LABELS.split("|")]
    return AhoCorasick(
        sorted({"".join(told.split()) for told in (*told, *words, *headings, *fixed)}), MatchKind.Standard
    )


def _skip(line: str, at: int) -> int:
    gap = _GAP.match(line, at)
    return gap.end() if gap else at


def _token(line: str, at: int) -> Token | None:
    return (
        _origin(line, at)
        or _home(line, at)
        or _labelled(line, at)
        or _dated(line, at)
        or _worded(line, at)
        or _matched(_COUNTED, "counted", line, at)
        or _matched(_BYLINE, "byline", line, at)
        or _by(line, at)
        or _matched(_OUTLET, "outlet", line, at)
        or (_matched(_SEGMENT, "segment", line, at) if "|" in line else None)
    )


def _matched(pattern: re.Pattern[str], kind: str, line: str, at: int) -> Token | None:
    match = pattern.match(line, at)
    return Token(kind, match[0], False, at, match.end()) if match else None


def _origin(line: str, at: int) -> Token | None:
    match = _ORIGIN.match(line, at)
    return Token("author", match["author"], True, *match.span("author")) if match else None


def _dated(line: str, at: int) -> Token | None:
    match = DATETIME.match(line, at)
    value = iso_datetime(match) if match else None
    return Token("date", value, False, at, match.end()) if match and value is not None else None


def _worded(line: str, at: int) -> Token | None:
    match = _word_pattern().match(line, at)
    if not match:
        return None
    place = _words()[match[0]]
    return Token(place, match[0], place == "anywhere", at, match.end())


def _by(line: str, at: int) -> Token | None:
    match = _BY.match(line, at)
    return Token("author", match[0][3:], False, at + 3, match.end()) if match else None


def _home(line: str, at: int) -> Token | None:
    """A breadcrumb without a label: it starts at the home page."""
    if not _HOME.match(line, at):
        return None
    crumbs = line[at:]
    dashed = _DASH.split(crumbs)
    is_trail = (
        _is_trail(_ARROWS.split(crumbs)) or _is_trail(crumbs.split("/")) or (len(dashed) <= 5 and _is_trail(dashed))
    )
    return Token("crumb", crumbs, True, at, len(line)) if is_trail else None


def _labelled(line: str, at: int) -> Token | None:
    match = _label_pattern().match(line, at) or _bare_label_pattern().match(line, at)
    if not match:
        return _staff(line, at)
    kind, strong = _labels()[_canonical(match["label"])]
    if kind == "title" and at > _skip(line, 0):
        return None
    start = match.end()
    while start < len(line) and line[start] in " >]|/":
        start += 1
    if kind == "crumb":
        return _crumb(line, start)
    return _valued(line, kind, strong, start)


_STAFF = re.compile(
    rf"[\u4e00-\u9fff]{{0,4}}(?:(?P<editor>编辑|责编)|{_STAFF_LABELS})\s?:\s{{0,3}}"
    r"(?P<names>[\u4e00-\u9fff]{2,4}(?:[\s、/]{1,2}[\u4e00-\u9fff]{2,4}){0,3})(?=\s|[)\]|]|$)"
)
"""Labels of people who made the page: newspapers have one for each department (`报纸编辑：`)."""


def _staff(line: str, at: int) -> Token | None:
    match = _STAFF.match(line, at)
    if not match:
        return None
    return Token("editor" if match["editor"] else "staff", match["names"], True, *match.span("names"))


_JOINED = re.compile(r"(?:网站)?首页(?:(?![的了是在有吗呢])[\u4e00-\u9fff]){2,20}")
"""A breadcrumb that lost its arrows (`本页位置：首页新闻中心体育新闻`): nobody knows where one level ends."""


def _crumb(line: str, start: int) -> Token | None:
    crumbs = line[start:]
    if _JOINED.fullmatch(crumbs):
        return Token("crumb", "", True, len(line), len(line))
    from_home = _STROKES.split(crumbs) if _FROM_HOME.match(crumbs) else []
    if crumbs and not _is_trail(_ARROWS.split(crumbs)) and not _is_trail(from_home):
        return None
    return Token("crumb", crumbs, True, start, len(line))


def _is_trail(parts: list[str]) -> bool:
    """Whether these are the levels of a breadcrumb: at least two, short, and no sentence among them."""
    *upper, last = (part.strip() for part in parts or [""])
    return (
        1 <= len(upper) <= 9
        and all(len(part) <= _LONGEST_LEVEL and "。" not in part for part in upper)
        and len(last) <= _LONGEST_TITLE
        and "。" not in last
    )


def _valued(line: str, kind: str, strong: bool, start: int) -> Token | None:
    """A label's value, or None where what follows can be none of its kind."""
    if kind == "view":
        return Token(kind, "", strong, start, start)
    limit = (
        _next(line, start)
        if kind in _WHOLE or kind in _LISTS
        else len(line)
        if kind in _UNLIMITED
        else _limit(line, start)
    )
    match = _VALUES[kind].match(line, start, limit) if limit > start else None
    if match is None:
        return Token(kind, "", strong, start, start) if _is_empty(line, start) else None
    value = iso_datetime(match) if kind in {"published", "updated"} else match[0].strip(" -,、[(")
    return None if value is None else Token(kind, value, strong, start, match.end())


def _is_empty(line: str, start: int) -> bool:
    """Whether a label says nothing: another one, a button or the end of the line follows."""
    at = _skip(line, start)
    return at >= len(line) or any(p.match(line, at) for p in (_label_pattern(), _bare_label_pattern(), _word_pattern()))


def _next(line: str, start: int) -> int:
    """Where the title of a neighbour ends: in front of the next neighbour or a button, else with the line."""
    stop = _after_title().search(line, start, start + _FARTHEST)
    return stop.start() if stop else len(line)


@cache
def _after_title() -> re.Pattern[str]:
    labels = [label for label, (kind, strong) in _labels().items() if kind in {"neighbour", "editor"} and strong]
    headings = sorted((row[0] for row in load("boilerplate-lists") if is_chinese(row[0])), key=len, reverse=True)
    return re.compile(
        rf"[\s\[(|]{{1,3}}(?:(?:{_either(labels)})\s{{0,3}}[:>]|(?:{'|'.join(headings)})[\s:]|(?:返回|打印|关闭|分享)\w{{0,4}}(?:[\s\]]|$))"
    )


_FARTHEST = 130
"""No value is longer (`_VALUES`), but for addresses, which hold no stop."""


def _limit(line: str, start: int) -> int:
    """Where a value ends at the latest: at the next label, date or button, at a bar or a wide gap."""
    stop = _stop().search(line, start, start + _FARTHEST)
    return stop.start() if stop else len(line)


@cache
def _labels() -> dict[str, tuple[str, bool]]:
    """Kind and strength by label."""
    return {label: (kind, strength == "strong") for label, kind, strength in load("boilerplate-labels")}


def _canonical(label: str) -> str:
    return re.sub(r"\s", "", label) if is_chinese(label) else label


def _spaced(label: str) -> list[str]:
    """Patterns of a label's characters, the first one with the boundary of a word before it in Latin script."""
    if is_chinese(label):
        gap = r"\s{0,3}" if len(label) <= _SPACED else ""
        return [label[0], *(gap + char for char in label[1:])]
    return [r"\b" + re.escape(label[0]), *map(re.escape, label[1:])]


def _either(labels: Iterable[str]) -> str:
    return grouped(_spaced(label) for label in sorted(labels, key=len, reverse=True))


def _label_source() -> str:
    return rf"(?P<label>{_either(list(_labels()))})(?:是|为)?\s{{0,3}}:+"


def _bare_label_source() -> str:
    kinds = {kind: [label for label, (k, _) in _labels().items() if k == kind] for kind in _COLON_LESS}
    return rf"(?P<label>{'|'.join(f'(?:{_either(kinds[kind])}){rest}' for kind, rest in _COLON_LESS.items())})"


@cache
def _label_pattern() -> re.Pattern[str]:
    return re.compile(_label_source())


@cache
def _bare_label_pattern() -> re.Pattern[str]:
    return re.compile(_bare_label_source())


@cache
def _words() -> dict[str, str]:
    """Place by word."""
    return dict(load("boilerplate-words"))  # type: ignore[arg-type]  # rows of two columns


def _word_source(places: frozenset[str]) -> str:
    chosen = [word for word, place in _words().items() if place in places]
    return rf"(?:{either(chosen)})(?=[\s|,;、。·•/\[\](){{}}<>:!&\"'”-]|$)"


@cache
def _word_pattern() -> re.Pattern[str]:
    return re.compile(_word_source(frozenset({"anywhere", "edge", "part"})))


@cache
def _stop() -> re.Pattern[str]:
    """What ends a value. Words that count beside others only do not: they are parts of names (`China News`)."""
    sources = (
        r"\s{2,}",
        r"\s?[|\[\]]",
        r"\s?\)\s",
        r"\s?\)$",
        rf"\s{{1,3}}(?={_BYLINE.pattern})",
        rf"[\s,;(]{{0,3}}(?:{_label_source()})",
        rf"\s{{1,3}}(?:{_bare_label_source()})",
        rf"[\s(]{{0,3}}(?:{DATETIME.pattern})",
        rf"[\s(]{{1,2}}(?=(?:{_word_source(frozenset({'anywhere', 'edge'}))}))",
    )
    return re.compile("|".join(re.sub(r"\?P<\w+>", "?:", source) for source in sources))
