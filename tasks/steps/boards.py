"""Posts of bulletin boards: PTT of Taiwan and the boards of universities, whose pages still look like terminals.

Three or four lines above the post name its author, board, title and time; below it stand where it was sent from and
what others said of it, a line each. From the templates of PTT (`看板`, `推 … 09/04 12:31`) and newsmth.net (`信区`).
"""

import re
from collections.abc import Sequence
from datetime import datetime

from tasks.steps.furniture import Token
from tasks.steps.lines import Line

_FIRST_LINES = 6
"""Lines that may stand above the author: the name of the board and its menu."""
_HEADER = 4
"""Lines from the author to the time, both included."""

_AUTHOR = re.compile(
    r"(?:作者|发信人)\s{0,2}:?\s{0,4}(?P<author>[a-z]\w{1,15})\s?(?:\([^\n]{0,40}\))?\s{0,2},?"
    r"\s{0,4}(?:(?:看板|信区|站内)\s?:?\s{0,4}[\w.]{1,30})?$"
)
_BOARD = re.compile(r"(?:看板|信区|站内)\s?:?\s{0,4}[\w.-]{1,30}$")
_TITLE = re.compile(r"标\s{0,4}题\s?:?\s{0,4}(?P<title>\S.{0,120})$")
_TIME = re.compile(
    r"(?:时间|发信站)\s?:?[^()\n]{0,40}?\(?"
    r"(?P<time>(?:mon|tue|wed|thu|fri|sat|sun)\s[a-z]{3}\s{1,2}\d{1,2}\s\d\d:\d\d:\d\d\s(?:19|20)\d\d)\b.{0,30}$"
)
_BELOW = re.compile(
    r"※\s?(?:发信站|文章网址|编辑|来源|转录者|修改)\s?:|(?:◆|\*)\s?from:\s?\d"
    r"|(?:推|嘘|>)\s{0,2}\w{2,14}\s{0,12}:.{0,100}\s\d\d/\d\d(?:\s\d\d:\d\d)?$"
)
"""`→` before a remark is folded to `>`."""


def board_header(lines: Sequence[Line]) -> dict[int, tuple[Token, ...]]:
    """What the lines above a post say, by place; empty unless author, title and time are all there."""
    for first, line in enumerate(lines[:_FIRST_LINES]):
        author = _AUTHOR.match(line.folded[:200])
        if author:
            said: dict[int, tuple[Token, ...]] = {
                first: (Token("author", author["author"], True, *author.span("author")),)
            }
            said |= _rest(lines, first)
            kinds = {token.kind for tokens in said.values() for token in tokens}
            return said if kinds == {"author", "title", "published"} else {}
    return {}


def _rest(lines: Sequence[Line], first: int) -> dict[int, tuple[Token, ...]]:
    said: dict[int, tuple[Token, ...]] = {}
    for i in range(first + 1, min(first + _HEADER, len(lines))):
        folded = lines[i].folded[:200]
        if title := _TITLE.match(folded):
            said[i] = (Token("title", title["title"], True, *title.span("title")),)
        elif time := _TIME.match(folded):
            said[i] = (Token("published", _iso(time["time"]), True, *time.span("time")),)
        elif _BOARD.match(folded):
            said[i] = ()
    return said


def _iso(time: str) -> str:
    """ISO 8601 of a time as C writes it; empty where there is no such day."""
    try:
        return datetime.strptime(time, "%a %b %d %H:%M:%S %Y").isoformat()  # noqa: DTZ007 (local time, as written)
    except ValueError:
        return ""


def is_below_post(folded: str) -> bool:
    """Whether a folded line says where a post was sent from, or is a remark on it."""
    return len(folded) <= 200 and _BELOW.match(folded) is not None
