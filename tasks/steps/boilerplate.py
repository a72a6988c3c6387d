"""What stands around an article: breadcrumbs, date and source lines, buttons, neighbours, notices, lists of links.

Most rules hold only above the first or below the last paragraph of the body, since an article uses the same words;
only the words of unmistakable buttons go wherever they stand. A line goes whole or not at all, except at the two
places where furniture is glued to a paragraph: its end (`…。（责任编辑：张三）`) and the head of a page that was
flattened to one line. What a line says becomes facts. docs/adr/0005-line-rules.md says why.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

from schemas.document import Context, Edit, Fact, Finding
from tasks.rules import load
from tasks.steps.boards import board_header, is_below_post
from tasks.steps.dates import DATETIME
from tasks.steps.furniture import Token, levels, may_tell, parse, parse_loosely, parse_start
from tasks.steps.lines import Line, fold, is_chinese, is_heading, is_prose, key, key_of, lines_of, removal
from tasks.steps.menus import is_call, is_item, is_likely_call, is_menu
from tasks.steps.names import is_outlet, is_outlet_alone, is_person
from tasks.steps.notices import is_notice, is_notice_heading, may_be_notice, notice_start
from tasks.steps.titles import bare_title, choose_title, could_be_title, is_chapter, is_greeting

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
    r"本站|本网|网络|互联网|网络整理|网络综合|互联网整理|互联网综合|综合|整理|网友|网友投稿|原创|本站原创|转载|未知|佚名|admin\w*|管理员|小编|none|null|无|网站|匿名|本站编辑|未填写"
)
"""Values of labels that name nobody."""

_ROLE = re.compile(r"^(?:本报|本网|本站|特约|见习|实习|全媒体)?(?:首席)?(?:记者|記者|通讯员|通訊員)\s*(?=\S{2})")
_COUNT_BEHIND = re.compile(r"(?:\s+\d{1,9})+$")
"""What stands around names: what their bearers are, and counters without a label."""

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
    board = {i: Found("board", 0.97, tokens) for i, tokens in board_header(lines).items()}
    has_body |= bool(board)  # posts are often short, without a full stop
    head, first = _walk(lines, range(len(lines)), HEAD_LINES, partial(_judge_head, has_body=has_body))
    head |= board
    tail, last = _walk(lines, range(len(lines) - 1, -1, -1), TAIL_LINES, partial(_judge_tail, has_body=has_body))
    # A page of nothing but notices is about them, and one that goes on with a sentence of its own quotes them.
    end = len(lines) if last is None else _last_sentence(lines, tail)
    tail = {i: found for i, found in tail.items() if i > end or not found.rule.startswith("notice")}
    found = _markup(lines, text) | _anywhere(lines) | _neighbours(lines, tail) | _links(lines, tail, last) | tail | head
    title = None
    if found and first is not None and last is not None:
        title = _find_title(lines, found, first)
        found |= _around_title(lines, found, first, title) | _below(lines, found, last)
    cuts = _cut_head(lines[first]) if first is not None and first not in found else []
    if last is not None and last not in found and not (cuts and last == first):  # the next pass sees to the other end
        cuts += _cut_end(lines[last])
    said = [(lines[i].text, token) for i in sorted(found) for token in found[i].tokens]
    said += [(cut.before, token) for cut in cuts for token in parse(fold(cut.before))]
    if said:
        headings = frozenset(key_of(line.folded) for line in lines[:HEAD_LINES] if len(line.text) <= LONGEST_META)
        yield from _facts(said, headings)
    if title is not None and title not in found:
        yield Fact(STEP, "title-above-data", "title", bare_title(_shortest(lines, found, title)))
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
        verdict = judge(lines, i) or (_judge_beside(lines, i) if beside else None)
        beside = verdict is not None
        if verdict:
            found[i] = verdict
        elif is_prose(lines[i].text) and not is_menu(lines[i].folded) and not _is_slogan(lines, i):
            return found, i
        else:
            patience -= 1
            if not patience:
                break
    return found, None


_LONGEST_SLOGAN = 40


def _is_slogan(lines: list[Line], i: int) -> bool:
    """Whether a sentence is among the first lines of a page, above its breadcrumb: the site's, not the article's."""
    if i >= 3 or len(lines[i].text) > _LONGEST_SLOGAN:
        return False
    below = (line.folded for line in lines[i + 1 : i + 1 + HEAD_LINES] if "位置" in line.text[:40])
    return any(token.kind == "crumb" for folded in below for token in parse(folded[:LONGEST_META]))


def _judge_beside(lines: list[Line], i: int) -> Found | None:
    """Whether a line beside one that goes is made of what counts beside others only: `微信`, `图片：王晴`."""
    tokens = parse(lines[i].folded) if len(lines[i].text) <= 30 else ()
    kinds = {token.kind for token in tokens}
    if kinds and kinds <= {"part", "edge"}:
        return Found("buttons", 0.95)
    is_staff = bool(kinds) and kinds <= _PEOPLE and not _is_dialogue(lines, i)
    return Found("label", 0.93, tokens) if is_staff else None


def _judge_head(lines: list[Line], i: int, *, has_body: bool) -> Found | None:
    line = lines[i]
    if not _may_be_meta(line.text):
        return None
    tokens = parse(line.folded)
    if tokens and all(token.kind == "date" for token in tokens) and not _is_on_card(lines, i):
        return _judge_date(lines, i, tokens) if has_body else None
    found = _judge_tokens(lines, i, tokens, has_body=has_body) or _judge_words(line, has_body=has_body)
    if not found and has_body and (_is_on_card(lines, i) or _EDITED.fullmatch(line.folded)):
        return Found("member-card", 0.95)
    if not found and has_body and (trail := _TRAIL.fullmatch(line.folded)):
        return Found("breadcrumb", 0.95, (Token("crumb", "", True, trail.start("rest"), len(line.text)),))
    if (
        not found
        and has_body
        and {token.kind for token in tokens} & _DATES
        and any(t.kind == "segment" for t in tokens)
    ):
        return Found("data-line", 0.95, tuple(t._replace(kind="outlet") if t.kind == "segment" else t for t in tokens))
    is_asked = not found and has_body and not _is_entry(lines, i)
    return _judge_loosely(line, tokens) if is_asked else found


_ENTRY = re.compile(rf"(?:{DATETIME.pattern})\s{{0,3}}:?\s{{0,3}}[\u4e00-\u9fff]{{2}}")


def _is_entry(lines: list[Line], i: int) -> bool:
    """Whether a line and one beside it are entries of a timeline or a programme: a date and what happens then."""
    beside = lines[max(0, i - 1) : i + 2]
    return _ENTRY.match(lines[i].folded[:60]) is not None and (
        sum(_ENTRY.match(line.folded[:60]) is not None for line in beside) >= 2
    )


_CARD = re.compile(
    "主题|帖子|回帖|积分|威望|金钱|[金铜银]币|贡献|经验|魅力|精华|好友|听众|收听|粉丝|日志|相册|uid|在线时间|注册时间|最后登[录陆]|上次登录|阅读权限|性别|来自"
)
"""What Discuz and phpwind say of a member beside the first post, from their templates: word and value on two lines."""
_CARD_VALUE = re.compile(rf"\d{{1,10}}\s?(?:点|枚|个|级|℃|小时)?|{DATETIME.pattern}")
_CARD_LINES = 12


def _is_on_card(lines: list[Line], i: int) -> bool:
    """Whether a line is a word of a member's card or the value beside it, and three such words stand around it."""
    at, end = max(0, i - _CARD_LINES), i + _CARD_LINES
    if not (_CARD.fullmatch(key_of(lines[i].folded)) or _CARD_VALUE.fullmatch(lines[i].folded)):
        return False
    near = {word for line in lines[at:end] if len(line.text) <= 8 and _CARD.fullmatch(word := key_of(line.folded))}
    beside = [key_of(line.folded) for line in lines[max(0, i - 1) : i + 2]]
    return len(near) >= 3 and any(_CARD.fullmatch(word) for word in beside)


_TRAIL = re.compile(
    r"[^<>。,!?:]{2,16}>{1,2}\s{0,2}(?P<rest>[^>。,!?:]{2,16}(?:>{1,2}[^>。,!?:]{1,16}){1,4}(?:>{1,2}[^>。]{0,80})?)"
)
"""A breadcrumb without a label that starts at the name of the site: two arrows at least, all levels short."""

_LONGEST_LOOSE = 120
"""Characters of a line that goes although some of it is unknown."""
_SPOKEN = re.compile(r"[,，。!！?？;；、“”]|[了将被把]")
"""Signs and words of sentences."""


def _judge_loosely(line: Line, tokens: tuple[Token, ...]) -> Found | None:
    """Whether a line above the body is one of data although not all of it is known.

    What is not must look like the name of a person or an outlet beside a date; beside a strong label it may be a few
    words, if they are no sentence.
    """
    text, folded = line.text, line.folded
    is_original = folded.startswith("原创 ")  # WeChat marks its own so
    if tokens or len(text) > _LONGEST_LOOSE or not (is_original or may_tell(folded)):
        return None
    tokens = tuple(
        _named(token, line) for token in parse_loosely(folded) if key(token.value) or token.kind != "unknown"
    )
    if _dates_something_else(tokens, folded):
        return None
    tokens = _with_poster(tokens, folded)
    kinds = {token.kind for token in tokens}
    unknown = [token for token in tokens if token.kind == "unknown"]
    has_date = bool(kinds & _DATES)
    if has_date and not unknown and not _STOP_OR_COMMA.search(text):
        return Found("data-line", 0.95, tokens)
    if not unknown and kinds & {"author", "outlet"} and text.startswith("原"):
        return Found("data-line", 0.9, tokens) if is_original else None
    if _is_timed(tokens, unknown, text):
        return Found("data-line", 0.92, tokens)
    is_strong = any(token.strong for token in tokens)
    known = sum(token.kind != "unknown" for token in tokens)
    is_little = len(unknown) <= 2 and sum(len(token.value) for token in unknown) <= 24
    is_labelled = is_strong and (has_date or (known >= 2 and not kinds <= _PEOPLE | {"unknown"})) and is_little
    is_silent = not _SPOKEN.search(text if is_chinese(text) else "") and not any(
        _SPOKEN.search(t.value) for t in unknown
    )
    return Found("data-line", 0.9, tokens) if is_labelled and is_silent else None


_EDITED = re.compile(rf"本(?:帖|主题|文)最后由\s?\S{{1,24}}\s?(?:于|在)\s?(?:{DATETIME.pattern})\s?(?:编辑|修改)")
"""Forums say who changed a post last, and when: neither wrote nor published it."""

_OTHER_LABEL = re.compile(r"\w{1,12}(?:(?:时间|日期)\s?:?|:)\s{0,3}")
_OF_PAGE = re.compile(
    r"发[布表送稿]|首发|刊[发登载出]|转[载发]|更新|推送|上传|录入|编辑|采[集编]|播出|[文稿][章件]?(?:时间|日期)"
)


def _dates_something_else(tokens: tuple[Token, ...], folded: str) -> bool:
    """Whether an unknown label stands before a date: it is that of an event (`开标时间`) or a member (`注册时间`)."""
    labels = (folded[a.start : b.start] for a, b in pairwise(tokens) if a.kind == "unknown" and b.kind in _DATES)
    return any(_OTHER_LABEL.fullmatch(label) and not _OF_PAGE.search(label) for label in labels)


def dates_something_else(line: str) -> bool:
    """Whether a short line is an unknown label with a date: that of what a text is about, not of the text."""
    folded = fold(line) if len(line) <= _LONGEST_LOOSE else ""
    return may_tell(folded) and _dates_something_else(parse_loosely(folded), folded)


_POSTED = re.compile(r"\s{1,3}发[表布]于\s?:?\s?")


def _with_poster(tokens: tuple[Token, ...], folded: str) -> tuple[Token, ...]:
    """The name before `发表于`, as forums write it, is who wrote the page, unless it looks like an outlet."""
    posters = {a for a, b in pairwise(tokens) if _POSTED.fullmatch(folded, a.end, b.start) and not is_outlet(a.value)}
    return tuple(t._replace(kind="author") if t in posters and t.kind in {"unknown", "outlet"} else t for t in tokens)


def _is_timed(tokens: tuple[Token, ...], unknown: list[Token], line: str) -> bool:
    """Whether a line has a date with its time, and nothing unknown but a few short words."""
    has_time = any(token.kind in _DATES and "T" in token.value for token in tokens)
    is_short = len(unknown) <= 4 and all(len(token.value) <= 20 for token in unknown)
    return has_time and is_short and not _STOP_OR_COMMA.search(line)


_CREDITED = frozenset({"文", "图", "文图", "图文", "摄", "摄影"})
"""Labels with a stroke for a colon (`文/张明`)."""
_STOP_OR_COMMA = re.compile("[，。；、？]")


_WITHIN_LABEL = re.compile("时间|日期")
"""What goes on so is a label that no table knows, and its first half no name (`成文日期`)."""
_ORIGINAL = re.compile(r"\(?原标题:[^。]{2,100}$")
"""Below an article: what it was called where it came from. Above it, this is the title."""


def _named(token: Token, line: Line) -> Token:
    """An unknown word as the author or the outlet whose name it looks like."""
    if token.kind != "unknown" or _WITHIN_LABEL.match(line.folded, token.end):
        return token
    if token.value in _CREDITED:
        return token._replace(kind="part")
    if token.value.endswith("记者") and is_outlet(token.value[:-2]):
        return token._replace(kind="outlet", value=token.value[:-2], end=token.end - 2)
    written = line.text[token.start : token.end]
    if is_person(token.value):
        return token._replace(kind="author")
    if _CAPITALS.fullmatch(written):
        return token._replace(kind="author" if _LATIN_PERSON.fullmatch(written) else "outlet")
    return token._replace(kind="outlet") if is_outlet(token.value) else token


_CAPITALS = re.compile(r"[A-Z][A-Za-z.&']{1,20}(?: (?:of|the|and|for|[A-Z][A-Za-z.&']{1,20})){0,5}")
"""A name in Latin letters (`Paint Information Network`)."""
_LATIN_OUTLET = re.compile(
    r"(?:[A-Z][A-Za-z.&']{1,20} ){1,4}(?:News|Daily|Times|Post|Herald|Online|Network|Agency|Press|Journal)"
)
_LATIN_PERSON = re.compile(
    r"[A-Z][a-z]{1,12} (?:[A-Z]\. )?"
    r"(?!News|Daily|Times|Post|Herald|Online|Network|Agency|Press|Journal|Today|Review|Media|Group)[A-Z][a-z]{1,14}"
)


def _judge_tail(lines: list[Line], i: int, *, has_body: bool) -> Found | None:
    line, folded = lines[i].text, lines[i].folded
    may_be_meta = _may_be_meta(line)
    if may_be_meta:
        tokens = parse(folded)
        found = _judge_tokens(lines, i, tokens, has_body=has_body) or _judge_words(lines[i], has_body=has_body)
        if found or (tokens and all(token.kind == "date" for token in tokens)):  # the date under a document is its own
            return found
    is_signature = line == "--" and i + 1 < len(lines) and lines[i + 1].text.startswith("※")
    if has_body and (is_signature or is_below_post(folded)):
        return Found("board", 0.97)
    if has_body and len(line) <= LONGEST_META and _ORIGINAL.match(folded):
        return Found("label", 0.97)
    return (
        (_judge_copyright(lines[i]) if may_be_meta else None)
        or _judge_call(lines[i])
        or _judge_notice(lines, i)
        or (_judge_flat(lines[i]) if has_body else None)
    )


_LONGEST_FLAT = 400
"""Characters of the longest tail on one line."""
_AFTER_STOP = re.compile(r"(?<=[。!])")


def _judge_flat(line: Line) -> Found | None:
    """Whether a tail was flattened to one line: labels first, then notices and buttons, and nothing else."""
    if len(line.text) > _LONGEST_FLAT:
        return None
    tokens, end = parse_start(line.folded)
    if not any(token.strong for token in tokens) or end >= len(line.text):
        return None
    pieces = [piece for piece in _AFTER_STOP.split(line.folded[end:]) if key_of(piece)]
    is_furniture = all(is_notice(piece) or _is_button(piece) or parse(piece) for piece in pieces)
    return Found("flattened", 0.95, tuple(tokens)) if is_furniture else None


_CALL = re.compile(
    r"(?:请?用?(?:微信|手机|qq)?(?:扫一扫|扫码|扫描|长按)|(?:点击|欢迎)?(?:关注|订阅)(?:我们|公众号|微信|本站)|返回\w{2,4}[,，]查看|更多(?:精彩|相关)?(?:内容|资讯|新闻|报道)?,?请?(?:点击|关注|访问|下载))[^。]{0,30}$"
)
"""Calls to scan and to follow, which come in endless variety."""


def _judge_call(line: Line) -> Found | None:
    return Found("call", 0.97) if len(line.text) <= 40 and _CALL.match(line.folded) else None


def _may_be_meta(line: str) -> bool:
    """Whether it is worth while to take a line apart: no sentence is a line of labels."""
    return len(line) <= LONGEST_META and not line.endswith("。")


def _judge_tokens(lines: list[Line], i: int, tokens: tuple[Token, ...], *, has_body: bool) -> Found | None:
    """Whether what a line was taken apart into makes it furniture."""
    if len(tokens) == 1 and tokens[0].kind == "count" and _CARD.fullmatch(key_of(lines[i].folded)):
        return None  # without a number such a word may be the heading of a column (`积分`)
    kinds = {token.kind for token in tokens}
    strong = next((token.kind for token in tokens if token.strong), None)
    if strong:
        names_people = kinds <= _PEOPLE  # so do a poem with its poet and an interview
        stays = names_people and (not has_body or _is_dialogue(lines, i))
        return None if stays else Found(_RULES.get(strong, "label"), 0.99, tokens)
    if kinds & _DATES and (len(kinds & _DOCUMENTED) >= 2 or kinds & _BESIDE_DATE):
        return Found("data-line", 0.98, tokens)
    if has_body and kinds == {"office"} and len(tokens) >= 2 and _HOST.match(lines[i].folded):
        return Found("registration", 0.97)
    if has_body and _PLACED.search(lines[i].folded) and kinds <= {"outlet", "byline"}:
        return Found("data-line", 0.95, tokens)
    is_button = kinds and kinds <= _BUTTONS and (kinds != {"part"} or len(tokens) >= 3)
    return Found("buttons", 0.98) if has_body and is_button else None


_PLACED = re.compile(r"记者[\u4e00-\u9fff]{2,4}[/、][\u4e00-\u9fff]{2,6}报[导道][)\]]?$")
"""Newspapers of Taiwan give the reporter a line, with or without the paper (`經濟日報／記者任珮云／台北即時報導`)."""
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
    place = _places().get(key_of(line.folded)) if len(line.text) <= 80 else None
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
    chronicle = sum(bool(_BARE_DATE.fullmatch(line.folded)) for line in lines[:SURVEYED] if len(line.text) <= 40) >= 2
    return None if chronicle else Found("date-line", 0.97, tokens)


_BARE_DATE = re.compile(rf"\W{{0,3}}(?:{DATETIME.pattern})\W{{0,3}}")


def _judge_copyright(line: Line) -> Found | None:
    if _COPYRIGHT.match(line.folded):
        return Found("copyright", 0.99, (Token("licence", line.text, True, 0, len(line.text)),))
    return Found("registration", 0.99) if _REGISTERED.match(line.folded) else None


def _judge_notice(lines: list[Line], i: int) -> Found | None:
    line = lines[i].folded
    if is_notice_heading(line):
        return Found("notice-heading", 0.97)
    if is_notice(line):
        return Found("notice", 0.97)
    return Found("notice-below-furniture", 0.95) if may_be_notice(line) and _is_below_furniture(lines, i) else None


def _is_below_furniture(lines: list[Line], i: int) -> bool:
    """Whether a heading of notices or a label stands above a line, with nothing but possible notices between them."""
    for line in reversed(lines[max(0, i - 6) : i]):
        tokens = parse(line.folded) if _may_be_meta(line.text) else ()
        if is_notice_heading(line.folded) or any(token.strong for token in tokens):
            return True
        if is_prose(line.text) and not may_be_notice(line.folded):
            return False
    return False


def _anywhere(lines: list[Line]) -> dict[int, Found]:
    """Buttons that no article has as a line of its own, between paragraphs."""
    starts = _unmistakable_starts()
    return {
        i: Found("buttons", 0.98)
        for i, line in enumerate(lines)
        if len(line.text) <= 40
        and ((start := line.folded[0]) in starts or not start.isalnum())
        and _is_unmistakable(line)
    }


@cache
def _unmistakable_starts() -> frozenset[str]:
    return frozenset(word[0] for word, place in _places().items() if place == "anywhere")


_TAG_WITH_ID = re.compile(r'<([a-z]{1,10}) id="([a-z0-9]{4,8})">')
_TAGS_ALONE = re.compile(r'(?:[•&]\s{0,4}|\d{1,2}\.\s{1,3})?(?:</?[a-z]{1,10}(?: id="[a-z0-9]{4,8}")?>\s{0,3}){1,300}+')


def _markup(lines: list[Line], text: str) -> dict[int, Found]:
    """Lines of nothing but tags that all have one id: hijacked pages sow them (`<ins id="aazt7"><big id="aazt7">…`).

    An id stands once on a page, so no example of HTML gives the same one to three kinds of elements.
    """
    if ' id="' not in text:
        return {}
    names: dict[str, set[str]] = {}
    for tag, name in _TAG_WITH_ID.findall(text):
        names.setdefault(name, set()).add(tag)
    sown = {name for name, tags in names.items() if len(tags) >= 3}
    return {
        i: Found("markup", 0.97)
        for i, line in enumerate(lines)
        if sown
        and _TAGS_ALONE.fullmatch(line.text)
        and sown.intersection(m[1] for m in _TAG_WITH_ID.findall(line.text))
    }


def _is_unmistakable(line: Line) -> bool:
    return line.text[-1] not in "。，、；" and _places().get(key_of(line.folded)) == "anywhere"


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
    heading = next((i for i in range(last + 1, len(lines)) if _heads_links(lines[i])), None)
    if heading is None:
        return {}
    return {i: Found("list-of-links", 0.95) for i in range(heading, len(lines)) if i not in tail}


def has_unsure_lines(text: str) -> bool:
    """Whether a line above or below the body looks like furniture, though not enough to go."""
    lines = lines_of(text)
    first = next((i for i, line in enumerate(lines) if is_prose(line.text)), None)
    if first is None:
        return False
    last = next(i for i in range(len(lines) - 1, -1, -1) if is_prose(lines[i].text))
    edges = [*lines[: min(first, HEAD_LINES)], *lines[last + 1 :][-TAIL_LINES:]]
    return any(_is_doubtful(line.folded) for line in edges if len(line.text) <= _LONGEST_LINK)


def _is_doubtful(folded: str) -> bool:
    tokens = parse_loosely(folded) if may_tell(folded) else ()
    n_known = sum(token.kind not in {"unknown", "part"} for token in tokens)
    is_mostly_known = 2 * n_known >= len(tokens) and any(token.strong or token.kind == "office" for token in tokens)
    return is_mostly_known or is_menu(folded) or is_likely_call(folded) or _heads_link(folded)


# What goes because of what goes beside it. Only on pages with furniture that is certain, and with a body.


_ITEM = re.compile("[\u4e00-\u9fff]{2,4}")


def _is_below(places: list[int], found: dict[int, Found], i: int) -> bool:
    """Whether furniture stands between a line and the first one that could be the title."""
    return any(n in found for n in range(places[0], i))


def _around_title(lines: list[Line], found: dict[int, Found], first: int, title: int | None) -> dict[int, Found]:
    """Menus above the title, buttons and names around the lines of data below it."""
    if title is None:
        return {}
    rest = [i for i in range(first) if i not in found]
    above = {i: verdict for i in rest if i < title and (verdict := _judge_above_title(lines, found, i))}
    n_menus = sum(verdict.rule in {"menu", "buttons"} for verdict in [*above.values(), *found.values()])
    if n_menus >= 2:  # a menu with an item a line: not all of them are known
        items = [i for i in rest if i < title and i not in above and _ITEM.fullmatch(lines[i].text)]
        above |= {i: Found("menu", 0.9) for i in items}
    dated = min((i for i in found if i > title and any(t.kind in _DATES for t in found[i].tokens)), default=title)
    above |= {i: Found("data-line", 0.9, (name,)) for i in rest if title < i < dated and (name := _name(lines[i]))}
    below = {i: verdict for i in rest if i > title and (verdict := _judge_below_title(lines, found, i))}
    return above | below


_FORM = re.compile(r"\W{0,3}[\u4e00-\u9fff]{2,6}\s?:\s?\S")


def _is_in_form(lines: list[Line], found: dict[int, Found], i: int) -> bool:
    """Whether a line and one beside it are each a word with its value, as in the description of a job or a recipe."""
    beside = [lines[n].folded for n in (i - 1, i, i + 1) if 0 <= n < len(lines) and n not in found]
    return bool(_FORM.match(lines[i].folded)) and sum(bool(_FORM.match(t[:40])) for t in beside) >= 2


def _find_title(lines: list[Line], found: dict[int, Found], first: int) -> int | None:
    """Place of the title: it stands above the line with the date, if any line does."""
    rest = [i for i in range(first) if i not in found]
    rest = [i for i in rest if i == rest[0] or not _is_in_form(lines, found, i)]
    dated = [i for i in found if i < first and any(token.kind in _DATES for token in found[i].tokens)]
    above = [i for i in rest if i < min(dated, default=first) and could_be_title(lines[i].text)]
    places = [i for i in above if not is_item(lines[i].folded)] or above or rest
    beside = [0.5 * (i + 1 in found) + 0.3 * (i - 1 in found) - 0.5 * _is_below(places, found, i) for i in places]
    place = choose_title([lines[i] for i in places], (line.folded for line in lines[first : first + 3]), beside)
    if place is None:
        return None
    told = key_of(lines[places[place]].folded)
    return next(i for i in places if key_of(lines[i].folded) == told)


def _shortest(lines: list[Line], found: dict[int, Found], title: int) -> str:
    """The title, or the line below or above it that tells it without the words of the site."""
    whole = key_of(lines[title].folded)
    others = [line.text for i, line in enumerate(lines[:HEAD_LINES]) if i not in found and could_be_title(line.text)]
    return min(
        (text for text in [lines[title].text, *others] if len(key(text)) >= 6 and key(text) in whole),
        key=len,
        default=lines[title].text,
    )


def _name(line: Line) -> Token | None:
    """The author or the outlet that a line between the title and the date names."""
    if len(line.text) > 20:
        return None
    token = _named(Token("unknown", line.folded, False, 0, len(line.text)), line)
    return token if token.kind != "unknown" else None


_LEVELS = re.compile(r"\s{0,2}>{1,2}\s{0,2}|\s[-·/]\s|/")


def _judge_above_title(lines: list[Line], found: dict[int, Found], i: int) -> Found | None:
    """Whether a line above the title is a menu, or a breadcrumb without a label that starts at the name of the site."""
    parts = _LEVELS.split(lines[i].folded[:LONGEST_META])
    is_trail = 3 <= len(parts) <= 6 and all(2 <= len(part) <= 14 and not _SPOKEN.search(part) for part in parts)
    if is_trail and (is_outlet(parts[0]) or sum(map(is_item, parts)) >= 2):
        start = lines[i].text.find(lines[i].text[len(parts[0]) :].lstrip(" >›»-·/|→"), len(parts[0]))
        return Found("breadcrumb", 0.93, (Token("crumb", "", True, start, len(lines[i].text)),))
    is_known = is_greeting(lines[i].text) or parse(lines[i].folded[:LONGEST_META])
    return Found("menu", 0.93) if is_known or _is_menu_above(lines, found, i) else None


def _is_menu_above(lines: list[Line], found: dict[int, Found], i: int) -> bool:
    """Whether a line above the title is a menu, an item of one, or the name of the site."""
    folded = lines[i].folded[:LONGEST_META]
    if is_menu(folded) or is_call(folded):
        return True
    beside = all(n in found and found[n].rule == "buttons" for n in (i - 1, i + 1))
    return is_item(folded) or is_outlet_alone(folded) or (beside and len(folded) <= 6 and not _SPOKEN.search(folded))


def _judge_below_title(lines: list[Line], found: dict[int, Found], i: int) -> Found | None:
    line, folded = lines[i].text, lines[i].folded[:LONGEST_META]
    if is_menu(folded) or is_call(folded):
        return Found("buttons", 0.93)
    if _is_likely_button(folded, line):
        return Found("buttons", 0.9)
    if credit := _credit(folded):
        return Found("data-line", 0.9, (credit,))
    tokens = parse(folded)
    is_labelled = any(token.kind not in _BARE for token in tokens)
    if is_labelled and any(n in found and found[n].tokens for n in (i - 1, i + 1)):
        return Found("data-line", 0.9, tokens)
    beside_date = any(token.kind in _DATES for n in (i - 1, i + 1) if n in found for token in found[n].tokens)
    is_name = beside_date and (is_outlet_alone(folded) or _LATIN_OUTLET.fullmatch(line))
    return Found("data-line", 0.9, (Token("outlet", folded, False, 0, len(line)),)) if is_name else None


_BARE = _DATES | _BUTTONS | {"outlet", "segment", "byline"}
"""Kinds that are read without a label: alone on a line they may be a heading or the date of a speech."""


_CREDIT = re.compile(
    r"(?:文|图|图文|文图|文字|撰文|采写|整理|编译|翻译|作者|原创作者|摄影|图片|供图)\s?[:/|]\s{0,3}|[\u4e00-\u9fff]{0,6}(?:记者|通讯员|实习生)(?=\s|[\u4e00-\u9fff]{2})"
)


def _credit(folded: str) -> Token | None:
    """The author in a line of who wrote and photographed (`文/本报记者 张明 图/李红`), if it is nothing else."""
    if len(folded) > 40 or not _CREDIT.search(folded):
        return None
    names = [name for name in re.split(r"[\s、|/·,()\[\]]+", _CREDIT.sub(" ", folded)) if key(name)]
    if not 1 <= len(names) <= 4 or not all(is_person(name) for name in names):
        return None
    start = folded.find(names[0])
    return Token("author", names[0], False, start, start + len(names[0]))


def _is_likely_button(folded: str, line: str) -> bool:
    return len(line) <= 30 and not line.endswith(("。", "！", "？")) and is_likely_call(folded)


_OPENS_TAIL = frozenset(
    {
        "neighbour",
        "buttons",
        "list-of-links",
        "copyright",
        "registration",
        "notice",
        "notice-heading",
        "call",
        "counter",
    }
)
"""Rules whose lines stand below an article and never inside it."""
_APPENDIX = re.compile(
    r"\W{0,3}(?:附件|附[:录]|注[:释]|参考(?:文献|资料|书目)|references|notes|appendix|\[?\d{1,2}\]\s?[\w《])"
)


def _below(lines: list[Line], found: dict[int, Found], last: int) -> dict[int, Found]:
    """Below the body: buttons and menus; and all short lines under the first line that only stands below articles."""
    rest = range(last + 1, len(lines))
    opened = next((i for i in rest if _opens_tail(lines, i, found.get(i))), len(lines))
    closed = next((i for i in rest if i > opened and _APPENDIX.match(lines[i].folded[:40])), len(lines))
    return {
        i: Found("below-furniture", 0.9)
        for i in rest
        if i not in found
        if (opened <= i < closed and not lines[i].text.endswith(("。", "！", "”"))) or _is_link_or_button(lines[i].text)
    }


_LONGEST_LINK = 100


def _is_link_or_button(text: str) -> bool:
    """Whether a line below the body is a button, a call, or a link behind its heading (`推荐阅读：…`)."""
    folded = fold(text[:LONGEST_META])
    is_link = len(text) <= _LONGEST_LINK and "。" not in text and ":" in folded[:-1] and _heads_link(folded)
    is_tag = _HASHTAGS.fullmatch(folded) or (len(text) <= _LONGEST_LINK and _ARROWED.match(text) and "。" not in text)
    return is_link or bool(is_tag) or is_menu(folded) or is_call(folded) or (len(text) <= 40 and is_likely_call(folded))


_HASHTAGS = re.compile(r"(?:\s?#[^#\s。,;:()]{1,20}#?){1,8}|(?:\s?#\s[^#\s。,;:()]{1,20}){2,8}")
_ARROWED = re.compile("[←«‹]\\s?\\w|.{4,80}\\s[→»›]$")
"""Tags as networks write them, and the titles before and after as blogs do."""
_WEAK_HEADINGS = frozenset({"延伸阅读", "相关链接", "深度阅读", "拓展阅读", "相关资料"})
"""Headings that essays have as well, above books: they count on pages with other furniture only."""


def _heads_link(folded: str) -> bool:
    """Whether a line is a heading of links, perhaps with a link behind it."""
    head, colon, _ = folded.partition(":")
    heading = key(head)
    return heading in _WEAK_HEADINGS or (bool(colon) and heading in _link_headings())


def _opens_tail(lines: list[Line], i: int, found: Found | None) -> bool:
    if found is None:
        return _heads_link(lines[i].folded[:_LONGEST_LINK]) and _are_bare_links(lines[i + 1 : i + 1 + TAIL_LINES])
    return found.rule in _OPENS_TAIL or any(token.kind in {"editor", "tags"} for token in found.tokens)


def _are_bare_links(lines: list[Line]) -> bool:
    """Whether the lines below a heading are titles alone: essays say a word about each book."""
    return all(len(line.text) <= 50 and not _SAYS_MORE.search(line.text) for line in lines)


_SAYS_MORE = re.compile(r" [—–-] |——|^\s?(?:\d{1,2}[.、]|[-–])\s")


def _is_button(line: str) -> bool:
    folded = line[:LONGEST_META]
    return is_menu(folded) or is_call(folded)


def _heads_links(line: Line) -> bool:
    return len(line.text) <= 30 and key_of(line.folded) in _link_headings()


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
    start = notice_start(line.folded)
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
    folded = line.folded[:LONGEST_META]
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
    said = _bare(line, token)
    if token.kind in {"site", "author", "editor", "outlet"}:
        said = _ROLE.sub("", _COUNT_BEHIND.sub("", said))
        if key(said) in _places():
            return ""
    if token.kind == "byline":
        names = _REPORTER.match(fold(said))
        said = said[slice(*names.span(1))] if names else said
    if token.kind == "crumb":
        sections = levels(said)
        sections = sections[1:] if len(sections) >= 3 and is_outlet(fold(sections[0])) else sections
        last = sections[-1] if sections else ""
        is_title = (len(key(last)) > _LONGEST_SECTION and key(last) in headings) or is_chapter(last)
        said = " > ".join(sections[:-1] if is_title else sections)
    return "" if _SAYS_NOTHING.fullmatch(fold(said)) else said


_PAIRS = ("《》", "()", "（）", "[]", "【】")


def _bare(line: str, token: Token) -> str:
    """What a token says, without the signs around it; a pair of brackets is left whole."""
    said = " ".join(line[token.start : token.end].split())
    closing = line[token.end : token.end + 1]
    if any(closing == pair[1] and said.count(pair[0]) > said.count(pair[1]) for pair in _PAIRS):
        said += closing
    signs = " -·,，、|:：/《》" + ("" if token.kind == "title" else "[(（【")
    bare = said.strip(signs)
    return bare if _is_whole(bare) or not _is_whole(said) else said.strip(" -·,，、|:：/")


def _is_whole(said: str) -> bool:
    """Whether each bracket has its other half."""
    return all(said.count(pair[0]) == said.count(pair[1]) for pair in _PAIRS)
