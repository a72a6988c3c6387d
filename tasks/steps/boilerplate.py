"""What stands around an article: breadcrumbs, date and source lines, buttons, neighbours, notices, lists of links.

Most rules hold only above the first or below the last paragraph of the body, since an article uses the same words;
only the words of unmistakable buttons go wherever they stand. A line goes whole or not at all, except at the two
places where furniture is glued to a paragraph: its end (`…。（责任编辑：张三）`) and the head of a page that was
flattened to one line. What a line says becomes facts. docs/adr/0005-line-rules.md says why.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import NamedTuple

from schemas.document import Context, Edit, Fact, Finding
from tasks.rules import load
from tasks.steps.dates import DATETIME
from tasks.steps.furniture import Token, levels, parse
from tasks.steps.lines import Line, fold, is_heading, is_prose, key, lines_of, removal
from tasks.steps.notices import is_notice, is_notice_heading, may_be_notice, notice_start

STEP = "boilerplate"

HEAD_LINES = 12
"""Lines that may stay above the body before the search for furniture gives up (titles, standfirst, captions)."""
TAIL_LINES = 40
"""The same below it: lists of links are rarely longer."""
LONGEST_META = 250
"""Characters of the longest line of labels; what is longer is not taken apart."""

SURVEYED = 200
"""Lines that are looked through for others of a kind; more would cost as much for each line in question."""

_FIELDS = {
    "published": "published_at",
    "date": "published_at",
    "updated": "published_at",
    "site": "site_name",
    "outlet": "site_name",
    "author": "author",
    "byline": "author",
    "editor": "editor",
    "crumb": "section",
    "section": "section",
    "url": "source_url",
    "title": "title",
    "licence": "licence",
}
"""Which fact a token of a kind is. Where several tell the same fact, the kind that stands first here is believed."""

_REPORTER = re.compile(r"(?:记者|通讯员)\s?(.+?)(?:/[^/]+|报[导道])?$")
"""The names in `記者王小明／台北報導`."""

_LONGEST_SECTION = 8
"""Ideographs or letters of a section that may stand on the page as a line as well; a longer one is the title."""

_SAYS_NOTHING = re.compile(
    r"本站|本网|网络|互联网|原创|本站原创|转载|未知|佚名|admin\w*|管理员|小编|none|null|无|网站|匿名|本站编辑|未填写"
)
"""Values of labels that name nobody."""

_COPYRIGHT = re.compile(
    r"\W{0,5}(?:copyright\b\W{0,6}(?:19|20)\d\d|copyright\s{0,3}(?:©|\(c\))|©\s{0,3}(?:copyright\b)?\W{0,4}(?:19|20)\d\d"
    r"|powered by \w|版权所有(?:\W|$)|all rights? reserved|(?:19|20)\d\d(?:-(?:19|20)\d\d)?\s?(?:©|copyright)"
    r"|[^。]{0,80}(?:©|copyright|版权所有)[^。]{0,80}(?:all rights? reserved|版权所有))"
)
"""Lines that begin with a claim of copyright, or are one. A credit under a picture (`© Xinhua`) has no year."""
_REGISTERED = re.compile(r"[^。]{0,100}(?:icp[备证]|公网安备\s?\d|网安备\s?\d|经营许可证|信息服务许可证|网站标识码)")
"""Numbers that Chinese law asks of websites."""

_HOST = re.compile(r"\W{0,3}(?:主办|承办|主管|技术支持)")

_DOCUMENTED = frozenset({"published", "updated", "date", "author", "site", "count", "counted", "section"})
"""Kinds of which two weak ones on a line, one of them a date, are a line of data about the article."""


_BESIDE_DATE = frozenset({"outlet", "edge", "part", "byline"})
"""Kinds that make such a line together with a date."""


class Found(NamedTuple):
    """Why a line is furniture."""

    rule: str
    confidence: float
    tokens: tuple[Token, ...] = ()


def find(text: str, context: Context) -> Iterator[Finding]:  # noqa: ARG001 (a step's signature)
    """Propose to remove the furniture of a page, and note what it says."""
    lines = lines_of(text)
    has_body = any(is_prose(line.text) for line in lines)
    head, first = _walk(lines, range(len(lines)), HEAD_LINES, partial(_judge_head, has_body=has_body))
    tail, last = _walk(lines, range(len(lines) - 1, -1, -1), TAIL_LINES, partial(_judge_tail, has_body=has_body))
    # A page of nothing but notices is about them, and one that goes on with a sentence of its own quotes them.
    end = len(lines) if last is None else _last_sentence(lines, tail)
    tail = {i: found for i, found in tail.items() if i > end or not found.rule.startswith("notice")}
    found = _anywhere(lines) | _neighbours(lines, tail) | _links(lines, tail, last) | tail | head
    cuts = _cut_head(lines[first]) if first is not None and first not in found else []
    if last is not None and last not in found and not (cuts and last == first):  # the next pass sees to the other end
        cuts += _cut_end(lines[last])
    said = [(lines[i].text, token) for i in sorted(found) for token in found[i].tokens]
    said += [(cut.before, token) for cut in cuts for token in parse(fold(cut.before))]
    yield from _facts(said, frozenset(key(line.text) for line in lines[:HEAD_LINES] if len(line.text) <= LONGEST_META))
    removals = [removal(text, lines[i], STEP, found[i].rule, found[i].confidence) for i in found]
    yield from sorted([*removals, *cuts], key=lambda edit: edit.start)


def _last_sentence(lines: list[Line], tail: dict[int, Found]) -> int:
    """Place of the last line that stays and ends with a full stop, however short; -1 if there is none."""
    return next((i for i in range(len(lines) - 1, -1, -1) if i not in tail and lines[i].text.endswith("。")), -1)


_Judge = Callable[[list[Line], int], Found | None]


def _walk(lines: list[Line], order: Iterable[int], patience: int, judge: _Judge) -> tuple[dict[int, Found], int | None]:
    """Judge lines until the first paragraph of the body; its place, or None if there was none.

    Lines that go don't count against the patience: otherwise each pass of the pipeline would get further.
    """
    found: dict[int, Found] = {}
    beside = False
    for i in order:
        verdict = judge(lines, i) or (_judge_beside(lines[i]) if beside else None)
        beside = verdict is not None
        if verdict:
            found[i] = verdict
        elif is_prose(lines[i].text):
            return found, i
        else:
            patience -= 1
            if not patience:
                break
    return found, None


def _judge_beside(line: Line) -> Found | None:
    """Whether a line next to one that goes is made of words that count beside others only (`微信` below `分享到`)."""
    kinds = {token.kind for token in parse(fold(line.text))} if len(line.text) <= 30 else set()
    return Found("buttons", 0.95) if kinds and kinds <= {"part", "edge"} else None


def _judge_head(lines: list[Line], i: int, *, has_body: bool) -> Found | None:
    line = lines[i]
    if not _may_be_meta(line.text):
        return None
    tokens = tuple(parse(fold(line.text)))
    if tokens and all(token.kind == "date" for token in tokens):
        return _judge_date(lines, i, tokens) if has_body else None
    return _judge_tokens(lines, i, tokens, has_body=has_body) or _judge_words(line, has_body=has_body)


def _judge_tail(lines: list[Line], i: int, *, has_body: bool) -> Found | None:
    line = lines[i].text
    if _may_be_meta(line):
        tokens = tuple(parse(fold(line)))
        found = _judge_tokens(lines, i, tokens, has_body=has_body) or _judge_words(lines[i], has_body=has_body)
        if found or (tokens and all(token.kind == "date" for token in tokens)):  # the date under a document is its own
            return found
    return _judge_copyright(line) or _judge_call(line) or _judge_notice(lines, i)


_CALL = re.compile(
    r"(?:请?用?(?:微信|手机|qq)?(?:扫一扫|扫码|扫描|长按)|(?:点击|欢迎)?(?:关注|订阅)(?:我们|公众号|微信|本站)|返回\w{2,4}[,，]查看)[^。]{0,30}$"
)
"""Calls to scan and to follow, which come in endless variety."""


def _judge_call(line: str) -> Found | None:
    return Found("call", 0.97) if len(line) <= 40 and _CALL.match(fold(line)) else None


def _may_be_meta(line: str) -> bool:
    """Whether it is worth while to take a line apart: no sentence is a line of labels."""
    return len(line) <= LONGEST_META and not line.endswith("。")


def _judge_tokens(lines: list[Line], i: int, tokens: tuple[Token, ...], *, has_body: bool) -> Found | None:
    """Whether what a line was taken apart into makes it furniture."""
    kinds = {token.kind for token in tokens}
    strong = next((token.kind for token in tokens if token.strong), None)
    if strong:
        names_people = kinds <= _PEOPLE  # so do a poem with its poet and an interview
        stays = names_people and (not has_body or _is_dialogue(lines, i))
        return None if stays else Found(_RULES.get(strong, "label"), 0.99, tokens)
    if kinds & _DATES and (len(kinds & _DOCUMENTED) >= 2 or kinds & _BESIDE_DATE):
        return Found("data-line", 0.98, tokens)
    if has_body and kinds == {"office"} and len(tokens) >= 2 and _HOST.match(fold(lines[i].text)):
        return Found("registration", 0.97)
    is_button = kinds and kinds <= _BUTTONS and (kinds != {"part"} or len(tokens) >= 3)
    return Found("buttons", 0.98) if has_body and is_button else None


_PEOPLE = frozenset({"author", "editor", "staff"})
_DATES = frozenset({"date", "published", "updated"})
_BUTTONS = frozenset({"count", "counted", "edge", "part"})
_RULES = {"crumb": "breadcrumb", "neighbour": "neighbour", "anywhere": "buttons", "view": "buttons", "count": "counter"}
"""Names of rules by the kind of the first strong token; `label` for the others."""


def _is_dialogue(lines: list[Line], i: int) -> bool:
    """Whether a label is a speaker of an interview: it begins three lines or more."""
    label = lines[i].text[:2]
    return sum(line.text.startswith(label) for line in lines[:SURVEYED]) >= 3


def _judge_words(line: Line, *, has_body: bool) -> Found | None:
    """Whether a line as a whole, without its signs, is a known one."""
    place = _places().get(key(line.text)) if len(line.text) <= 80 else None
    return Found("buttons", 0.99) if place == "anywhere" or (place == "edge" and has_body) else None


@cache
def _places() -> dict[str, str]:
    return {key(word): place for word, place in load("boilerplate-words") if key(word)}


def _judge_date(lines: list[Line], i: int, tokens: tuple[Token, ...]) -> Found | None:
    """A date alone on a line above the body.

    It stays where it belongs to the text: in brackets under the title of a speech, written out on top of a letter,
    above each entry of a diary.
    """
    text = lines[i].text
    written_out = "年" in text and not any(":" in token.value for token in tokens)
    if text.startswith(("(", "（")) or (i == 0 and written_out):
        return None
    chronicle = (
        sum(bool(_BARE_DATE.fullmatch(fold(line.text))) for line in lines[:SURVEYED] if len(line.text) <= 40) >= 2
    )
    return None if chronicle else Found("date-line", 0.97, tokens)


_BARE_DATE = re.compile(rf"\W{{0,3}}(?:{DATETIME.pattern})\W{{0,3}}")


def _judge_copyright(line: str) -> Found | None:
    folded = fold(line) if _may_be_meta(line) else ""
    if _COPYRIGHT.match(folded):
        return Found("copyright", 0.99, (Token("licence", line, True, 0, len(line)),))
    return Found("registration", 0.99) if _REGISTERED.match(folded) else None


def _judge_notice(lines: list[Line], i: int) -> Found | None:
    line = lines[i].text
    if is_notice_heading(line):
        return Found("notice-heading", 0.97)
    if is_notice(line):
        return Found("notice", 0.97)
    return Found("notice-below-furniture", 0.95) if may_be_notice(line) and _is_below_furniture(lines, i) else None


def _is_below_furniture(lines: list[Line], i: int) -> bool:
    """Whether a heading of notices or a label stands above a line, with nothing but possible notices between them."""
    for line in reversed(lines[max(0, i - 6) : i]):
        tokens = parse(fold(line.text)) if _may_be_meta(line.text) else []
        if is_notice_heading(line.text) or any(token.strong for token in tokens):
            return True
        if is_prose(line.text) and not may_be_notice(line.text):
            return False
    return False


def _anywhere(lines: list[Line]) -> dict[int, Found]:
    """Buttons that no article has as a line of its own, between paragraphs."""
    return {
        i: Found("buttons", 0.98)
        for i, line in enumerate(lines)
        if len(line.text) <= 40 and _is_unmistakable(line.text)
    }


def _is_unmistakable(text: str) -> bool:
    return text[-1] not in "。，、；" and _places().get(key(text)) == "anywhere"


def _neighbours(lines: list[Line], tail: dict[int, Found]) -> dict[int, Found]:
    """The titles on the lines after `上一篇` and `下一篇`, where these say nothing themselves."""
    return {
        i + 1: Found("neighbour", 0.95)
        for i, found in tail.items()
        if found.rule == "neighbour" and not found.tokens[-1].value
        if i + 1 < len(lines) and i + 1 not in tail and is_heading(lines[i + 1].text)
    }


def _links(lines: list[Line], tail: dict[int, Found], last: int | None) -> dict[int, Found]:
    """A heading such as `相关阅读` below the body, and all the titles under it."""
    if last is None:
        return {}
    heading = next((i for i in range(last + 1, len(lines)) if _heads_links(lines[i].text)), None)
    if heading is None:
        return {}
    return {i: Found("list-of-links", 0.95) for i in range(heading, len(lines)) if i not in tail}


def _heads_links(text: str) -> bool:
    return len(text) <= 30 and key(text) in _link_headings()


@cache
def _link_headings() -> frozenset[str]:
    return frozenset(key(heading) for (heading,) in load("boilerplate-lists"))


_LABEL_AT_END = re.compile(r"(?<=[。！？!?”」…)）])[\s　]*[(（\[【]?[^。！？!?()（）\[\]【】]{2,60}[)）\]】]?\s*$")
"""What follows the last full stop of a paragraph."""
_GLUED = frozenset({"editor", "staff", "anywhere", "neighbour", "keywords", "tags", "view", "count", "edge"})
_GLUED_IN_BRACKETS = _GLUED | {"site", "author"}
"""Without brackets `来源：…` after a sentence may be a reference."""


def _cut_end(line: Line) -> list[Edit]:
    """Furniture glued to the end of the last paragraph: `（责任编辑：张三）`, `转载请注明出处。`."""
    window = max(0, len(line.text) - LONGEST_META)
    match = _LABEL_AT_END.search(line.text[window:])
    if match and _is_glued(match[0]):
        return [Edit(STEP, "label-at-end", line.at + window + match.start(), match[0], "", 0.97)]
    start = notice_start(line.text)
    if 20 <= start < len(line.text):
        return [Edit(STEP, "notice-at-end", line.at + start, line.text[start:], "", 0.95)]
    return []


def _is_glued(text: str) -> bool:
    tokens = parse(fold(text))
    kinds = _GLUED_IN_BRACKETS if text.strip()[0] in "(（[【" else _GLUED
    return any(token.strong for token in tokens) and {token.kind for token in tokens} <= kinds


_CRUMBS_AT_HEAD = re.compile(
    r"(?:您|你)?(?:当前|现在|所在)?的?(?:所在)?位置\s?(?:是)?:\s{0,3}(?:网站)?(?:首页|主页)(?:\s?>{1,2}\s?[^\s>。]{1,8}){1,5}(?:\s?>)?\s{1,5}(?=[^\s>])"
)
_DATA_IN_LINE = re.compile(
    rf"(?<=\s)(?:{DATETIME.pattern})\s{{1,5}}(?:文章|信息|稿件)?来源:\s?[^\s:。]{{1,30}}(?:\s{{1,5}}(?:作者|编辑|责任编辑|浏览|点击|阅读):\s?[^\s:。]{{0,20}})*+"
    r"(?:\s{1,5}\(资料图片?\))?\s{1,5}(?=[^\s])"
)
"""A date with its time and a source, between two spaces: no sentence has that."""


_FLATTENED = re.compile("位置|[来來]源")


def _cut_head(line: Line) -> list[Edit]:
    """Furniture at the head of a page that was flattened to one line."""
    if not _FLATTENED.search(line.text, 0, LONGEST_META):
        return []
    folded = fold(line.text[:LONGEST_META])
    crumbs = _CRUMBS_AT_HEAD.match(folded)
    edits = [Edit(STEP, "breadcrumb-in-line", line.at, line.text[: crumbs.end()], "", 0.95)] if crumbs else []
    data = _DATA_IN_LINE.search(folded, crumbs.end() if crumbs else 0)
    if data and data["hour"]:
        start, end = line.at + data.start(), data.end()
        edits.append(Edit(STEP, "data-in-line", start, line.text[data.start() : end], "\n", 0.95))
    return edits


def _facts(said: Iterable[tuple[str, Token]], headings: frozenset[str]) -> Iterator[Fact]:
    """One fact a field: of what the lines say, what the most reliable kind of token says first."""
    order = list(_FIELDS)
    tokens = sorted((t for t in said if t[1].kind in _FIELDS), key=lambda t: order.index(t[1].kind))
    told: dict[str, str] = {}
    for line, token in tokens:
        value = _value(line, token, headings)
        if value and _FIELDS[token.kind] not in told:
            told[_FIELDS[token.kind]] = value
            yield Fact(STEP, f"{token.kind}-token", _FIELDS[token.kind], value)


def _value(line: str, token: Token, headings: frozenset[str]) -> str:
    """What a token says, in the characters of the page; of a breadcrumb no title that stands on a line of its own."""
    if _FIELDS[token.kind] == "published_at":
        return token.value
    said = " ".join(line[token.start : token.end].split()).strip(" -,，、[(（【|:：/《》")
    if token.kind == "byline":
        names = _REPORTER.match(fold(said))
        said = said[slice(*names.span(1))] if names else said
    if token.kind == "crumb":
        sections = levels(said)
        is_title = bool(sections) and len(key(sections[-1])) > _LONGEST_SECTION and key(sections[-1]) in headings
        said = " > ".join(sections[:-1] if is_title else sections)
    return "" if _SAYS_NOTHING.fullmatch(fold(said)) else said
