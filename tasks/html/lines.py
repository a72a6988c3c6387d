"""Parsed pages as lines: what a browser would show on a line of its own, with the element that it stands in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lxml import etree

from tasks.html.hidden import Sheet, hidden_by_attributes, read_sheets, written_by_script

MAX_DEPTH = 2_000
"""Elements within each other. libxml2 drops what lies deeper than 2,048."""

LONGEST_TAG = 8_000
"""Characters of a tag whose attributes are read, if it has so many: libxml2 takes the square of their number."""

PROGRAMS = frozenset(
    {
        "script",
        "style",
        "template",
        "head",
        "title",
        "svg",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "map",
    }
)
"""Elements whose text is no text of the page: programs, drawings, what stands in for something that can't be shown."""

SILENT = PROGRAMS | {"noscript", "noembed", "noframes", "select", "datalist", "textarea", "button", "applet"}
"""With parts of forms, and what is for browsers without scripts. Clone sites strew such tags over a page and never
close them: where nothing else has text, these have."""

READINGS = frozenset({"rt", "rp", "rtc"})
"""Readings above characters, within `<ruby>`: they belong to the characters as an accent does."""

_BLOCKS = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure"
    " footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li listing main marquee menu nav ol optgroup"
    " p plaintext pre search section summary table tbody tfoot thead tr ul xmp"
)
BLOCKS = frozenset(_BLOCKS.split())
"""Elements that begin and end a line (HTML Standard, "Rendering"). Cells of tables stand on the line of their row
unless there are blocks in them."""

CELLS = frozenset({"td", "th"})
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
PREFORMATTED = frozenset({"pre", "listing", "xmp", "plaintext"})
_BLOCK, _BREAK, _CELL, _LINK, _RUBY, _PREFORMATTED = (1 << n for n in range(6))
_KINDS = {
    tag: _BLOCK * (tag in BLOCKS) | _CELL * (tag in CELLS) | _PREFORMATTED * (tag in PREFORMATTED)
    for tag in BLOCKS | CELLS | PREFORMATTED
} | {"br": _BREAK, "a": _LINK, "ruby": _RUBY}
"""What elements are whose tag says something, as bits. All others are as good as the text in them, but for their
attributes."""

LONGEST_CELL = 60
"""Characters of a cell that stays on a line with its neighbours."""
LONGEST_NAME = 200
"""Characters of class and id that are looked at."""

_BLANKS = re.compile(r"[ \t\n\r\f](?:(?<! )|(?=[ \t\n\r\f]))[ \t\n\r\f]*+")
"""What HTML takes for white space, but for single spaces: a no-break or an ideographic space is text."""
_WIDE = "[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60]"
_JOINED = re.compile(rf"[ \t\r\n\f](?<={_WIDE}[ \t\r\n\f])(?:(?<=\n)|[ \t\r\f]*+\n)[ \t\r\n\f]*+(?={_WIDE})")
_LONG_TAG = re.compile(rf"<[a-zA-Z][^<>]{{{LONGEST_TAG},}}+")
_VOID_IN_XML = re.compile(r"<(script|title|style|textarea|iframe|div|span|a|p|b|i|em|noscript)((?:\s[^<>]{0,500})?)/>")
"""In XHTML these can be empty; a parser of HTML would take the rest of the page for what is in them."""


class Element(NamedTuple):
    """An element with text in it."""

    parent: int
    """Place of the element around it; -1 for the outermost."""
    tag: str
    name: str
    """Class, id, role and itemprop in lower case, blanks between them."""


@dataclass(slots=True)
class Line:
    """What stands on a line."""

    text: str
    linked: int
    """Characters that are links."""
    element: int
    """Place of the innermost block around it."""
    hidden: str = ""
    """How it is hidden, empty if it can be seen."""
    hider: int = -1
    """Which hidden element it is in: lines of one have the same number."""


@dataclass(slots=True)
class Lines:
    """A page as lines, in order."""

    lines: list[Line] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    complete: bool = True
    """Whether the parser saw all of the page."""


def parse(text: str) -> Any:
    """The tree of a page, or None where there is nothing to parse. Takes time linear in the text."""
    text = _LONG_TAG.sub(_without_attributes, text.replace("\0", ""))  # which no browser shows
    if text.lstrip("\ufeff \t\r\n").startswith("<?xml"):
        text = _VOID_IN_XML.sub(r"<\1\2></\1>", text)
    # Not lxml.html's, whose elements have a class of their own, at twice the cost.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        return etree.fromstring(text.encode("utf-8", "surrogatepass"), parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return None


def _without_attributes(tag: re.Match[str]) -> str:
    """A tag that is longer than any: a picture within it is left alone, but for its size."""
    return tag[0] if tag[0].count("=") < 200 else tag[0][:LONGEST_TAG]


class _Reader:
    """Walks over a tree once, and collects lines: what can be seen and what can't, each in a buffer of its own."""

    def __init__(self, sheet: Sheet) -> None:
        self.page = Lines()
        self.sheet = sheet
        self.shown: list[str] = []
        self.unseen: list[str] = []
        self.linked = 0
        self.depth = self.links = self.rubies = self.preformatted = self.n_hiders = 0
        self.open_elements: list[tuple[int, int]] = []
        """Depth and place of the elements around."""
        self.place = -1
        """The innermost element around."""
        self.hiders: list[tuple[int, str, int]] = []
        """Depth of the hidden elements around, how they are hidden, and the number of the outermost."""
        self.written = False
        """Whether a script wrote the start of a hidden element."""
        self.how = ""
        """How what stands here is hidden."""
        self.cells: list[int] = []
        """For each cell around, how many pieces the line had when it began; -1 once a line ended in it."""

    def flush(self) -> None:
        """End the line, or the hidden one."""
        if self.how:
            pieces, self.unseen = self.unseen, []
            linked, hider = 0, self.hiders[0][2] if self.hiders else -2
        else:
            pieces, self.shown = self.shown, []
            linked, self.linked, hider = self.linked, 0, -1
            if self.cells:
                self.cells = [-1] * len(self.cells)
        if not pieces:
            return
        text = "".join(pieces)
        if not text or text.isspace():
            return
        for part in text.split("\n") if self.preformatted else (_joined(text),):
            if part.strip():
                self.page.lines.append(Line(part.strip(" \t\n\r\f"), linked, self.place, self.how, hider))

    def add(self, text: str | None) -> None:
        """Text on the line."""
        if not text:
            return
        if self.how:
            self.unseen.append(text)
            return
        self.shown.append(text)
        if self.links:
            self.linked += len("".join(text.split()))

    def open(self, element: Any, tag: str) -> None:
        """Start of an element."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.page.complete = False
        kind = _KINDS.get(tag, 0)
        attributes = dict(element.items())
        if attributes:
            self.hide(tag, attributes)
        if kind & (_BLOCK | _BREAK):
            self.flush()
        if kind & (_BLOCK | _CELL) or (attributes and ("class" in attributes or "id" in attributes)):
            elements = self.page.elements
            elements.append(Element(self.place, tag, _name(attributes) if attributes else ""))
            self.place = len(elements) - 1
            self.open_elements.append((self.depth, self.place))
        if kind & _CELL:
            self.shown.append(" " if self.shown else "")
            self.cells.append(len(self.shown))
        if kind & (_LINK | _RUBY | _PREFORMATTED):
            self.count(kind, 1)

    def count(self, kind: int, n: int) -> None:
        """Note that there is an element of some kinds more around, or one less."""
        self.links += n * bool(kind & _LINK)
        self.rubies += n * bool(kind & _RUBY)
        self.preformatted += n * bool(kind & _PREFORMATTED)

    def hide(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Note how an element is hidden, if it is."""
        if how := hidden_by_attributes(tag, attributes, self.sheet):
            self.n_hiders += not self.hiders
            self.hiders.append((self.depth, how, self.n_hiders))
        elif self.how == "font-size" and not attributes.keys().isdisjoint(("class", "id", "style")):
            self.hiders.append((self.depth, "", self.n_hiders))  # has a size of its own
        else:
            return
        self.how = self.hiders[-1][1]

    def close(self, tag: str) -> None:
        """End of an element."""
        kind = _KINDS.get(tag, 0)
        ends_hider = self.hiders and self.hiders[-1][0] == self.depth
        if kind & _CELL:
            self.end_cell()
        if ends_hider or kind & _BLOCK:
            self.flush()
        if ends_hider:
            self.hiders.pop()
            self.find_how()
        if self.open_elements and self.open_elements[-1][0] == self.depth:
            self.open_elements.pop()
            self.place = self.open_elements[-1][1] if self.open_elements else -1
        self.depth -= 1
        if kind & (_LINK | _RUBY | _PREFORMATTED):
            self.count(kind, -1)

    def find_how(self) -> None:
        """How what stands here is hidden, after something has changed."""
        self.how = self.hiders[-1][1] if self.hiders else "script" if self.written else ""

    def end_cell(self) -> None:
        """A cell of a few words stays on the line of its row; one that is more is no part of a row."""
        start = self.cells.pop() if self.cells else -1
        if start < 0:
            self.flush()
        elif sum(map(len, self.shown[start:])) > LONGEST_CELL:
            cell, self.shown = self.shown[start:], self.shown[:start]
            self.flush()
            self.shown = cell
            self.flush()


def read_lines(tree: Any, silent: frozenset[str] = SILENT) -> Lines:
    """All lines of a parsed page but for those in silent elements, hidden ones too."""
    styles = [element.text or "" for element in tree.iter("style")]
    scripts = [element.text or "" for element in tree.iter("script")]
    reader = _Reader(read_sheets(styles, scripts))
    walk = etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if not isinstance(tag, str):
            tag = "script"
        is_silent = tag in silent or (reader.rubies > 0 and tag in READINGS)
        if event == "end":
            if not is_silent:
                reader.close(tag)
            if element is not tree:
                reader.add(element.tail)
        elif is_silent:
            if tag == "script" and (written := written_by_script(element.text or "")) is not None:
                reader.flush()
                reader.written = written
                reader.find_how()
            walk.skip_subtree()
        else:
            reader.open(element, tag)
            reader.add(element.text)
    reader.flush()
    return reader.page


def lines_without_tags(text: str) -> list[Line]:
    """The same of what has neither tags nor entities nor control characters: there is nothing to parse."""
    reader = _Reader(Sheet({}, {}))
    reader.add(text)
    reader.flush()
    return reader.page.lines


def _name(attributes: Mapping[str, str]) -> str:
    said = [attributes[name] for name in ("class", "id", "role", "itemprop") if name in attributes]
    return " ".join(filter(None, said))[:LONGEST_NAME].lower()


def _joined(text: str) -> str:
    """Text of a paragraph as a browser shows it, but that a line end between ideographs is no space."""
    return _BLANKS.sub(" ", _JOINED.sub("", text) if "\n" in text else text)
