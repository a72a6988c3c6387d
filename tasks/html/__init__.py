"""Pages of HTML: main text, what they say of themselves, and what they hide.

What comes out is a text in lines, for the same steps that clean text files, and for them alone: nothing is repaired
here, since repairs need the characters as they were observed. docs/adr/0015-html.md says how the body is found, and
what of a page can be had back.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from schemas.document import Page
from tasks.html.body import HEAD_LINES, Body, choose_body
from tasks.html.facts import read_facts
from tasks.html.feeds import SAMPLE_CHARS, is_feed, read_feed
from tasks.html.flat import flatten
from tasks.html.hidden import REVEALED
from tasks.html.lines import PROGRAMS, Line, Lines, parse, read_lines
from tasks.steps.lines import key

MAX_TAGS = 400_000
"""Tags of a page that is parsed, some 200 MB of tree; the largest pages met (a novel on one page) have 50,000. A page
with more is read without a tree."""

LONGEST_LABEL = 20
"""Characters of a line that may be a label or a button; longer ones are text."""

SHORTEST_TEXT = 60
"""Characters of text below which a page has none."""

TITLE_LINES = 3
"""Lines at the head of a body among which the title may stand."""

SUFFIXES = (".html", ".htm", ".xhtml", ".shtml", ".shtm", ".mhtml", ".xht", ".asp", ".aspx", ".jsp", ".php")

_START_CHARS = 4_096
_START = re.compile(
    r"[\s\ufeff\ufffd]*+(?:<\?xml[^>]{0,200}>\s{0,50})?(?:<!--(?:(?!-->).){0,2000}-->\s{0,50})*+"
    r"<(?:!doctype\s{1,20}html|html|head|body|meta|title|script|style|link|div|table|center|frameset)\b",
    re.IGNORECASE | re.DOTALL,
)
"""How a page begins, whole or as a part of one."""
_FRAME = re.compile(r"<(?:!doctype\s{1,20}html|html|/html|head|/head|body|/body)\b[^<>]{0,500}>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:html|head|title|body|a|p|br|hr|div|span|font|b|strong|i|em|table|tbody|tr|td|th|ul|ol|li|dl|dt|dd|img|h[1-6]|center|script|style|"
    r"meta|link|input|form|iframe|section|article|header|footer|nav)\b[^<>]{0,2000}>",
    re.IGNORECASE,
)

MIN_TAGS = 5
MIN_TAG_SHARE = 0.15
"""Tags, and the share of the characters that they are, of what counts as HTML without beginning like it. Text with a
few tags left in it stays text; pages cut at their start have a third and more, articles about HTML less."""


def is_html(text: str, name: str = "") -> bool:
    """Whether a decoded document is HTML or a feed: by its beginning or its tags, by any tag where its name says so."""
    if "<" not in text:
        return False
    if is_feed(text):
        return True
    if _START.match(text[:_START_CHARS]) and _TAG.search(text) is not None:
        return True
    sample = text[:65_536]
    tags = [len(match[0]) for match in _TAG.finditer(sample)]
    if name.lower().endswith(SUFFIXES):
        return bool(tags)
    framed = _FRAME.search(sample) is not None or text.rstrip()[-20:].lower().endswith(("</html>", "</body>"))
    return framed and len(tags) >= MIN_TAGS and sum(tags) >= MIN_TAG_SHARE * len(sample)


def read_page(text: str) -> Page:
    """Take the main text out of a page. Nothing is raised; what can't be parsed gives its text without tags."""
    if is_feed(text) and (feed := read_feed(text)):
        return feed
    tree = parse(text) if text.count("<") <= MAX_TAGS else None
    page = _lines(tree) if tree is not None else Lines(complete=False)
    if not page.complete:
        return Page(flatten(text), flat=True)
    body = choose_body(page)
    texts = [line.text for line in page.lines]
    facts = read_facts(tree, text, [texts[i] for i in (*body.head, *body.body[:TITLE_LINES])])
    if title := facts.get("title"):
        body = _without_title(texts, body, title)
    hidden = [line.text for line in page.lines if line.hidden]
    return Page(
        _joined(texts[i] for i in body.body),
        head=tuple(texts[i] for i in body.head),
        tail=tuple(texts[i] for i in body.tail),
        facts=facts,
        hidden_chars=sum(map(len, hidden)),
        hidden_text=_joined(hidden)[:SAMPLE_CHARS],
    )


def _lines(tree: Any) -> Lines:
    """Lines of a page; those in silent elements as well where these have nearly all of its text."""
    page = read_lines(tree)
    _reveal(page.lines)
    if _n_text(page) < SHORTEST_TEXT:
        whole = read_lines(tree, PROGRAMS)
        _reveal(whole.lines)
        if _n_text(whole) > SHORTEST_TEXT + 2 * _n_text(page):
            return whole
    return page


def _n_text(page: Lines) -> int:
    """Characters of lines that can be seen and are more than labels."""
    return sum(len(line.text) for line in page.lines if not line.hidden and len(line.text) > LONGEST_LABEL)


def _without_title(texts: Sequence[str], body: Body, title: str) -> Body:
    """A body that does not begin with the title of the page: that has a column of its own, and may stand in no tag."""
    same = [n for n, i in enumerate(body.body[:TITLE_LINES]) if key(texts[i]) == key(title)]
    if not same or len(body.body) == same[-1] + 1:
        return body
    above, rest = body.body[: same[-1] + 1], body.body[same[-1] + 1 :]
    return Body(rest, sorted({*body.head, *above})[-HEAD_LINES:], body.tail)


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _reveal(lines: list[Line]) -> None:
    """What scripts show once a page has loaded counts as seen: articles, and whole pages, that start out hidden."""
    seen = _n_text(Lines(lines))
    groups: dict[tuple[int, bool], list[Line]] = {}
    for line in lines:
        if line.hidden:
            groups.setdefault((line.hider, line.hidden in REVEALED), []).append(line)
    for (_, revealed), group in groups.items():
        n = sum(len(line.text) for line in group if len(line.text) > LONGEST_LABEL)
        if n > (seen / 2 if revealed else max(100, 20 * seen)):
            for line in group:
                line.hidden = ""
