"""The title, told again: as a line above the body, with a site's name around it, or cut off on top of the page.

The first title line stays and later ones go, but a title that was cut off goes for the whole one. All of it holds only
above the first paragraph of the body, and only where there is a body: a refrain or the first line of a poem is no
repeat. The title becomes a fact.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from schemas.document import Context, Edit, Fact, Finding
from tasks.steps.lines import Line, fold, is_chinese, is_prose, key, lines_of, removal
from tasks.steps.menus import is_item
from tasks.steps.titles import BUTTON_AFTER, SITE_PREFIX, TAGS, could_be_title

STEP = "repeats"

HEAD_LINES = 12
"""Lines above the first paragraph that are compared with the title."""
SHORTEST = 6
"""Ideographs of the shortest title whose repeat is no accident; in Latin script twice as many letters."""
SHORTEST_CUT = 10
"""The same for a title that was cut off: sites cut at 10 (`…`) to 50 characters."""
SHORTEST_PARAGRAPH = 40
"""Characters of the shortest paragraph that can be a repeat of the one before it: verses and slogans are shorter."""

_OUTLET = re.compile(
    r"(?:网|网站|报|社|电视台|频道|在线|资讯|新闻|门户|政府|公司|博客|论坛|\.com|\.cn|news|daily|times|net)$"
)
_BEFORE = re.compile(r"(?:[^!:|\]_]{1,10}[!:|\]_]|\[[^\]]{1,10}\])\s{0,3}")
"""A site's own words in front of a title."""
_AFTER = re.compile(r"\s{0,3}(?:[_|]|-{1,2}|\s[-·/])\s{0,3}\S.{0,60}")
"""A site's own words after it: its section, its name."""


class Title(NamedTuple):
    """A title line, and where in it the title itself starts and ends: a site's words may stand around it."""

    line: Line
    start: int
    end: int

    @property
    def text(self) -> str:
        """The title without the words of the site."""
        return self.line.text[self.start : self.end]


def find(text: str, context: Context) -> Iterator[Finding]:  # noqa: ARG001 (a step's signature)
    """Propose to remove repeats of the title and paragraphs that stand twice in a row, and note the title."""
    lines = lines_of(text)
    n_head = _count_head(lines)
    edits = list(_repeated_paragraphs(text, lines))
    if n_head:
        head, paragraph = lines[:n_head], lines[n_head]
        cut_off = _place_of_title(head)
        place = cut_off or _choose(head)
        title, repeats = _compare(head[place], head[place + 1 :])
        edits += [removal(text, line, STEP, "cut-off-title", 0.95) for line in head[:1] if cut_off]
        edits += [removal(text, line, STEP, "title-again", 0.98) for line in repeats]
        edits += _cut_site(title) + _cut_title(title, paragraph)
        yield from _facts(title)
    yield from sorted(edits, key=lambda edit: edit.start)


def _count_head(lines: list[Line]) -> int:
    """How many lines stand above the first paragraph; none where none is a title or no paragraph follows."""
    n = next((i for i, line in enumerate(lines[: HEAD_LINES + 1]) if is_prose(line.text)), 0)
    return n if any(could_be_title(line.text) for line in lines[:n]) else 0


def _choose(head: list[Line]) -> int:
    """Place of the first line that could be a title and is no word of a menu."""
    places = [i for i, line in enumerate(head) if could_be_title(line.text)]
    return next((i for i in places if not is_item(fold(head[i].text))), places[0])


def _place_of_title(head: list[Line]) -> int:
    """0, or the place of the whole title where the first line is one cut off."""
    first = fold(head[0].text)
    return next((i for i, line in enumerate(head[1:4], 1) if _is_cut_off(first, fold(line.text))), 0)


def _is_cut_off(short: str, whole: str) -> bool:
    """Whether a title was cut off in front of where another one goes on, in the middle of a word if it is English.

    Of an English title the second half is enough: machine translation may have worded its beginning anew.
    """
    stem = short.rstrip(" .…")
    if is_chinese(stem):
        return len(stem) >= SHORTEST_CUT and whole.startswith(stem) and whole[len(stem) : len(stem) + 1].isalnum()
    tail = stem[-max(2 * SHORTEST_CUT, (len(stem) + 1) // 2) :]
    at = whole.find(tail)
    follows = whole[at + len(tail) : at + len(tail) + 1]
    return at >= 0 and len(tail) >= 2 * SHORTEST_CUT and tail[-1:].isalpha() and follows.isalpha()


def _compare(first: Line, others: list[Line]) -> tuple[Title, list[Line]]:
    """The title as far as its repeats agree on it, and the repeats."""
    title = Title(first, 0, len(first.text))
    repeats = []
    for other in others:
        if _is_repeat(first.text, other.text):
            repeats.append(other)
        elif span := _inside(other.text, first.text):
            title = title if (title.start, title.end) != (0, len(first.text)) else Title(first, *span)
            repeats.append(other)
        elif _inside(first.text, other.text):
            repeats.append(other)
    return title, repeats


def _is_long_enough(text: str) -> bool:
    return len(key(text)) >= (SHORTEST if is_chinese(text) else 2 * SHORTEST)


def _is_repeat(first: str, other: str) -> bool:
    return _is_long_enough(first) and key(first) == key(other)


def _inside(title: str, line: str) -> tuple[int, int] | None:
    """Where in a line a title stands with nothing but a site's words around it."""
    folded, wanted = fold(line), fold(title)
    at = folded.find(wanted) if _is_long_enough(title) else -1
    if at < 0 or len(wanted) == len(folded):
        return None
    end = at + len(wanted)
    before, after = folded[:at], folded[end:]
    is_framed = (not before or _BEFORE.fullmatch(before)) and (not after or _AFTER.fullmatch(after))
    return (at, end) if is_framed else None


def _cut_site(title: Title) -> list[Edit]:
    """The site's words after a title go where a repeat without them proves it, or where they are unmistakable."""
    line = title.line
    end = title.end
    if end == len(line.text):
        button = BUTTON_AFTER.search(fold(line.text))
        if button:
            return [Edit(STEP, "button-after-title", line.at + button.start(), line.text[button.start() :], "", 0.97)]
        tags = TAGS.search(fold(line.text))
        if not tags or not _OUTLET.search(tags[0]):
            return []
        end = tags.start()
    return [Edit(STEP, "site-after-title", line.at + end, line.text[end:], "", 0.97)]


def _cut_title(title: Title, paragraph: Line) -> list[Edit]:
    """A title that opens the first paragraph, set off by a space: Chinese has none inside a sentence."""
    text = title.text
    if not (is_chinese(text) and _is_long_enough(text) and fold(paragraph.text[: len(text)]) == fold(text)):
        return []
    rest = paragraph.text[len(text) :]
    gap = len(rest) - len(rest.lstrip())
    return (
        [Edit(STEP, "title-in-paragraph", paragraph.at, text + rest[:gap], "", 0.95)] if gap and gap < len(rest) else []
    )


def _facts(title: Title) -> Iterator[Fact]:
    """The title without the words of the site, and what these say."""
    text = title.text
    prefix = SITE_PREFIX.match(fold(text))
    tags = TAGS.search(fold(title.line.text))
    site = title.line.text[title.end :] or (title.line.text[tags.start() :] if tags and _OUTLET.search(tags[0]) else "")
    if title.end == len(title.line.text) and site:
        text = text[: len(text) - len(site)]
    button = BUTTON_AFTER.search(fold(text))
    end = button.start() if button else len(text)
    yield Fact(STEP, "title-line", "title", text[prefix.end() if prefix else 0 : end].strip())
    *sections, name = [part.strip() for part in re.split(r"[_|｜＿]|\s?[-–—]{1,2}\s?", site) if part.strip()] or [""]
    if name and _OUTLET.search(fold(name)):
        yield Fact(STEP, "site-after-title", "site_name", name)
        sections = sections or []
    if sections:
        yield Fact(STEP, "site-after-title", "section", " > ".join(sections))


def _repeated_paragraphs(text: str, lines: list[Line]) -> Iterator[Edit]:
    """Paragraphs that stand twice in a row."""
    for before, line in pairwise(lines):
        if len(line.text) >= SHORTEST_PARAGRAPH and line.text == before.text and is_prose(line.text):
            yield removal(text, line, STEP, "paragraph-twice", 0.98)
