"""Lines of a text with their places, and the folded copy of a line that rules match on.

For the steps that judge lines (spam, boilerplate, repeats). All of it is linear, and costs long paragraphs next to
nothing: only lines that could be furniture are folded.
"""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from schemas.document import Edit
from tasks.scripts import CharTable, simplify

LONGEST = 2_000
"""Lines with more characters are no furniture: the longest seen was a disclaimer of 700. Bounds the work per line."""

_SIGN: dict[int, str] = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys([0x00A0, 0x3000, *range(0x2000, 0x200B), 0x202F, 0x09], " "),
    **{ord(a): b for a, b in zip("【】〔〕［］「」『』", "[][][][][]", strict=True)},
    **{ord(a): "|" for a in "丨｜│┃︱¦"},
    **{ord(a): ">" for a in "›»〉→"},
    **{ord(a): "-" for a in "–—―－─"},
    **{ord(a): "·" for a in "∙・‧⋅"},
    0x0130: "i",  # İ: the only character whose lower case is longer than itself
}
"""One sign for each family: sites draw the same separator in many ways."""

_HAN = re.compile(r"[\u3400-\u9fff]")
_SIGNS = re.compile(r"[\W_]+")
_ENDS = ("；", "！”", "？”", "……", ".”")
_LATIN_ENDS = (".", '."', ".”", ".)", ";")


_KEPT_CHARS = 200
KEPT_LINES = 2_000
"""What was found out about so many lines of so many characters is kept: steps ask for the same lines of a page again
and again, in every pass, and pages of a site have lines in common. Some 2 MB at most for each of the functions."""


class Line(NamedTuple):
    """A line that is not blank."""

    start: int
    """Offset in characters of its first character, white space included."""
    end: int
    """Offset after its line feed, or of the end of the text."""
    at: int
    """Offset of `text`."""
    text: str
    """Without the white space around it."""
    folded: str
    """The same, folded."""


@lru_cache(maxsize=2)
def lines_of(text: str) -> list[Line]:
    """Lines of a text in order, blank ones left out. Several steps share them: not to be changed."""
    lines = []
    folded = fold_page(text)
    start, length = 0, len(text)
    for raw in text.split("\n"):
        content = raw.strip()
        end = start + len(raw) + 1
        if content:
            at = start if raw[0] == content[0] else start + raw.index(content[0])
            lines.append(Line(start, min(end, length), at, content, folded[at : at + len(content)]))
        start = end
    return lines


@lru_cache(maxsize=2)
def fold_page(text: str) -> str:
    """A whole text folded at once, which costs a tenth of folding it line by line; each line comes out the same."""
    return _folding()(text).lower()


@cache
def _folding() -> CharTable:
    """One table for script and signs: passing over a text twice costs twice as much."""
    ideographs = "".join(map(chr, range(0x3400, 0xA000)))
    simplified = zip(ideographs, simplify(ideographs), strict=True)
    return CharTable({**{ord(a): b for a, b in simplified if a != b}, **_SIGN})


def fold(text: str) -> str:
    """Fold to Simplified, half-width signs and lower case, keeping the length."""
    return _fold_line(text) if len(text) <= _KEPT_CHARS else _folding()(text).lower()


@lru_cache(maxsize=KEPT_LINES)
def _fold_line(text: str) -> str:
    return _folding()(text).lower()


def key(text: str) -> str:
    """Letters, digits and ideographs of a text, folded: equal for lines that say the same."""
    return _line_key(text) if len(text) <= _KEPT_CHARS else _SIGNS.sub("", fold(text))


def key_of(folded: str) -> str:
    """The same of a text that is folded already."""
    return _folded_key(folded) if len(folded) <= _KEPT_CHARS else _SIGNS.sub("", folded)


@lru_cache(maxsize=KEPT_LINES)
def _line_key(text: str) -> str:
    return _SIGNS.sub("", fold(text))


@lru_cache(maxsize=KEPT_LINES)
def _folded_key(folded: str) -> str:
    return _SIGNS.sub("", folded)


def is_chinese(text: str) -> bool:
    """Whether there is an ideograph in a text."""
    return _HAN.search(text) is not None


def is_prose(text: str) -> bool:
    """Whether a line is a paragraph of the body: long, or with the full stop of a sentence.

    The bounds leave room for headlines, which rarely have more than 40 ideographs or 120 letters; longer ones are told
    by having no comma.
    """
    return len(text) >= _LONG or _is_short_prose(text)


_LONG = 150
"""Characters from which on a line is a paragraph, in any language."""


@lru_cache(maxsize=KEPT_LINES)
def _is_short_prose(text: str) -> bool:
    if is_chinese(text):
        if _is_long_headline(text):
            return False
        return len(text) >= 60 or (len(text) >= 20 and ("。" in text or text.endswith(_ENDS)))
    return len(text) >= 60 and text.endswith(_LATIN_ENDS)


LONGEST_HEADLINE = 140
"""Characters of the longest headline: news of state visits joins three or four clauses with spaces."""
_COMMA = re.compile("[，,。；;！？]")


def _is_long_headline(text: str) -> bool:
    return 60 <= len(text) <= LONGEST_HEADLINE and not _COMMA.search(text)


def is_heading(text: str) -> bool:
    """Whether a line could be a title: short, no sentence with a full stop, and no address."""
    longest = (LONGEST_HEADLINE if _is_long_headline(text) else 60) if is_chinese(text[:LONGEST]) else 150
    is_short = len(text) <= longest and not text.startswith(("http://", "https://", "www."))
    return is_short and "。" not in text and not text.endswith((".", "；", ";", ":", "：", ",", "，", "、"))


def removal(text: str, line: Line, step: str, rule: str, confidence: float) -> Edit:
    """The edit that takes a whole line out, line feed included."""
    return Edit(step, rule, line.start, text[line.start : line.end], "", confidence)
