"""White space: line ends, what stands at the ends of lines, blank lines, and spaces between ideographs of one word.

Paragraphs stay separated as they were, by one line end or by one blank line; longer gaps become one blank line. Indents
of Chinese paragraphs go. Blanks at the ends of lines go where a text is untidy, and stay where a line or two has some:
that is no damage. What is aligned on purpose stays: code, tables, English, poems (short lines that start at
three or more different depths). A text that ends with a line end keeps one.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from schemas.document import Context, Edit
from tasks.steps.invisible import HAN
from tasks.steps.symbols import attraction

_BLANK = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
"""White space within a line: category Zs of Unicode 16.0, and the tab."""

_WHITE = "\n\t \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
"""The same and the line feed, one by one."""

_GATES = tuple(
    re.compile(pattern)
    for pattern in (
        f"\n(?:(?<=[{_BLANK}]\n)|[{_BLANK}]|\n\n|(?<=\n\n)\\Z)",
        f" (?<=[{HAN}] )[{HAN}]",
        f"\u00a0(?<=[{HAN}]\u00a0)\u00a0{{1,4}}[{HAN}]",
        f"\\A[\n{_BLANK}]",
    )
)
"""One of them, or a line end of another system, is found in any text with something to do; they begin with one
character, which `re` looks for fast."""

_FOREIGN = re.compile("[\r\x0b\x0c\x85\u2028\u2029]")
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")

_GAP = re.compile(f"[{_BLANK}\n]++")

_WIDE_GAP = re.compile(f"\n[{_BLANK}]*+\n[{_BLANK}]*+\n")
_HEAD = re.compile(f"\u3000(?<![^\n]\u3000)[\u3000 ]*+[{HAN}“《]")
_TRAILING = re.compile(f"[{_BLANK}](?<![{_BLANK}\n][{_BLANK}])[{_BLANK}]*+\n")
"""The sign itself stands first, and what is in front of it behind: so `re` looks for it fast."""
_LINE = re.compile(f"[^{_BLANK}\n][^\n]*+")

_INDENTED = re.compile(f"([{_BLANK}](?<![^\n][{_BLANK}])[{_BLANK}]*+)([^\n]++)")
_PARAGRAPH = re.compile(f"[{HAN}“”‘’《〈（【「『〔①-⑳0-9]")
"""What a Chinese paragraph starts with, after its indent."""

_ALIGNED = re.compile("\t|   |\u3000\u3000|\\|")
"""What columns are made with."""

VERSE_DEPTHS = 3
VERSE_CHARS = 30
"""Lines shorter than this with as many different indents: there the depth says something (verse, outlines)."""

_NO_BREAK = re.compile(f"\u00a0(?<=[{HAN}]\u00a0)\u00a0{{1,4}}(?=[{HAN}])")
"""What `&nbsp;&nbsp;` leaves between two words of a line: a gap, which one space keeps. Wider ones are columns."""

_LETTERED = re.compile(f"[{HAN}](?<![{HAN}][{HAN}])(?: [{HAN}](?![{HAN}])){{3,}}+")
"""Four ideographs or more with a space between each (`关 于 召 开`)."""

_SPACE = re.compile(f" (?<=[{HAN}] )(?=[{HAN}])")

ATTRACTION = 0.5
"""Average over the neighbours of spaces that were put in (`symbols` says how it is measured). Of samples of five
places, 78 % of those inside clauses reach it and none of 4,000 from the ends of clauses."""

HABIT_COUNT = 5


def find(text: str, _context: Context) -> Iterator[Edit]:
    """Find line ends of other systems, white space at the ends of lines, wide gaps, and spaced-out words."""
    if _FOREIGN.search(text):  # all else counts lines: it waits for the next pass
        yield from (Edit("whitespace", "line-end", m.start(), m[0], "\n") for m in _LINE_END.finditer(text))
        return
    if not (any(gate.search(text) for gate in _GATES) or text[-1:] in tuple(_BLANK)):
        return
    found = [*_find_gaps(text), *_find_indents(text), *_find_no_breaks(text), *_find_spaces(text)]
    yield from sorted(found, key=lambda edit: edit.start)


def _find_gaps(text: str) -> Iterator[Edit]:
    """White space at both ends of the text, more than one blank line, and in untidy texts blanks at the ends of lines.

    Indents are not part of it.
    """
    untidy = _is_untidy(text)
    for start, gap in _gaps(text) if untidy else _gaps_at_ends(text):
        at_start, at_end = start == 0, start + len(gap) == len(text)
        before = gap if at_end else gap[: gap.rindex("\n") + 1]
        after = "" if at_start else "\n" * min(gap.count("\n"), 1 if at_end else 2)
        if before != after:
            yield Edit("whitespace", "gap", start, before, after)


def _gaps(text: str) -> Iterator[tuple[int, str]]:
    """White space with line ends in it, or at the end of the text; where each starts."""
    for match in _GAP.finditer(text):
        if "\n" in match[0] or match.end() == len(text):
            yield match.start(), match[0]


def _gaps_at_ends(text: str) -> Iterator[tuple[int, str]]:
    n_first, n_rest = len(text) - len(text.lstrip(_WHITE)), len(text.rstrip(_WHITE))
    if "\n" in text[:n_first] and n_rest:
        yield 0, text[:n_first]
    if n_rest < len(text):
        yield n_rest, text[n_rest:]


def _is_untidy(text: str) -> bool:
    """Whether blanks at the ends of lines are how a text was crawled, and not a matter of a line or two.

    They are beside wide gaps and indents, and where half of the lines end in blanks.
    """
    if _WIDE_GAP.search(text) or len(_HEAD.findall(text)) > 1:
        return True
    trailing = len(_TRAILING.findall(text))
    return trailing > 2 and trailing * 2 >= len(_LINE.findall(text))


def _find_indents(text: str) -> Iterator[Edit]:
    """Indents of Chinese paragraphs."""
    lines = [m for m in _INDENTED.finditer(text) if _is_paragraph(m[1], m[2])]
    depths = {_depth(m[1]) for m in lines if len(m[2]) < VERSE_CHARS}
    for match in lines:
        if len(match[2]) >= VERSE_CHARS or len(depths) < VERSE_DEPTHS:
            yield Edit("whitespace", "indent", match.start(), match[1], "")


def _is_paragraph(indent: str, line: str) -> bool:
    if not re.search(f"[{HAN}]", line) or _ALIGNED.search(line.rstrip(_BLANK)):
        return False
    if not indent.strip(" "):  # spaces are outlines, code, and how Markdown is wrapped
        return False
    return bool(_PARAGRAPH.match(line) or ("\t" not in indent and line[0].isalnum()))


def _depth(indent: str) -> int:
    """Width in columns."""
    return sum({"\u3000": 2, "\t": 4}.get(char, 1) for char in indent)


def _find_no_breaks(text: str) -> Iterator[Edit]:
    """No-break spaces between ideographs of a sentence: one space stays, as they set something apart."""
    for match in _NO_BREAK.finditer(text):
        if _is_prose(text, match.start()):
            yield Edit("whitespace", "no-break", match.start(), match[0], " ", 0.95)


def _find_spaces(text: str) -> Iterator[Edit]:
    """Spaces between ideographs of one word: in lettered-out words, and where a document is sown with them."""
    places = {m.start() for m in _SPACE.finditer(text)}
    if not places:
        return
    lettered = set(_find_lettered(text, places))
    for i in sorted({*lettered, *_find_sown(text, places - lettered)}):
        yield Edit("whitespace", "space-in-word", i, " ", "", 0.95)


def _find_lettered(text: str, places: set[int]) -> Iterator[int]:
    if any(i + 2 in places and i + 4 in places for i in places):
        yield from (i for m in _LETTERED.finditer(text) if _is_one(m[0]) for i in places.intersection(range(*m.span())))


def _find_sown(text: str, places: set[int]) -> list[int]:
    """All of the places within prose, if they are many and inside words for the most part."""
    rest = [i for i in places if _is_prose(text, i)] if len(places) >= HABIT_COUNT else []
    if len(rest) < HABIT_COUNT:
        return []
    pulls = [attraction(text[i - 1], text[i + 1]) for i in rest]
    return rest if sum(pulls) >= ATTRACTION * len(rest) else []


def _is_one(lettered: str) -> bool:
    pulls = [attraction(a, b) for a, b in pairwise(lettered.split(" "))]
    return sum(pulls) >= ATTRACTION * len(pulls)


def _is_prose(text: str, at: int) -> bool:
    """Whether the line has signs near by: lists of names and lines of verse are separated by their spaces."""
    before = text[max(0, at - 200) : at].rpartition("\n")[2]
    return bool(re.search("[，。；！？,;]", before + text[at : at + 200].partition("\n")[0]))
