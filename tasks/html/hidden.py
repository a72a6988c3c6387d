"""Which elements a reader does not see, as far as the page itself says so.

There spam is put so that only search engines read it. Style sheets in other files are not there to be read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

FAR = 500
"""Pixels beyond the edge from which on a box is off the screen: pages write -999 to -9999."""

LONGEST_STYLE = 2_000
"""Characters of a style attribute that are looked at. Longer ones hold pictures."""

LONGEST_SHEET = 200_000
"""The same for what stands in `<style>` and `<script>` elements, all together."""

REVEALED = frozenset({"visibility", "opacity"})
"""Ways of hiding that scripts take back when a page has loaded: whole articles start out so (WeChat's)."""

_DECLARATION = re.compile(r"(?:^|[;{\s])([a-z-]{3,20})\s{0,5}:\s{0,5}([^;}]{1,120})")
_ZERO = re.compile(r"0+(?:\.0+)?(?:px|em|rem|pt|%|vh|vw)?(?:\s*!important)?\s*")
_TINY = re.compile(r"[01](?:\.\d+)?(?:px)?\s*")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_FAR_UNITS = re.compile(r"(-?\d{2,9})(?:\.\d+)?(px|em|rem|pt|%|vw)?")
_COLOR = re.compile(r"#[0-9a-f]{3,8}|rgba?\([\d\s,.%]{5,40}\)|[a-z]{3,20}")
_NAMED = {"white": "#ffffff", "black": "#000000", "red": "#ff0000"}

_SHEET_RULE = re.compile(r"([^{}<>]{1,300})\{([^{}]{0,1000})\}")
_SIMPLE_SELECTOR = re.compile(r"[a-z]{0,10}[.#][\w-]{1,60}")
_BY_SCRIPT = re.compile(
    r"getelementbyid\(\s{0,3}[\"']([\w-]{1,60})[\"']\s{0,3}\)\.style\.(?:display\s{0,3}=\s{0,3}[\"']none"
    r"|visibility\s{0,3}=\s{0,3}[\"']hidden)"
)
"""`document.getElementById("links").style.display = "none"`: how injected links are hidden from filters that read
styles only."""
_WRITTEN_OPEN = re.compile(
    r"document\.write(?:ln)?\(\s{0,3}[\"'](?:\\?[^\"'<>\\]){0,20}<(div|span|p|ul|table|marquee)\b([^<>]{3,300})>[\"'\s]{0,3}\+?"
)
_WRITTEN_CLOSE = re.compile(r"document\.write(?:ln)?\(\s{0,3}[\"']\s{0,3}<\\?/(?:div|span|p|ul|table|marquee)>")


class Sheet(NamedTuple):
    """What `<style>` and `<script>` elements of the page hide."""

    classes: Mapping[str, str]
    """Class to how it is hidden."""
    ids: Mapping[str, str]


def read_sheets(styles: Iterable[str], scripts: Iterable[str]) -> Sheet:
    """Classes and ids that rules of one simple selector hide, and ids that scripts hide as the page loads."""
    classes: dict[str, str] = {}
    ids: dict[str, str] = {}
    for selector, how in _hiding_rules("".join(styles)[:LONGEST_SHEET]):
        mark = selector.lstrip("abcdefghijklmnopqrstuvwxyz")
        (classes if mark[0] == "." else ids)[mark[1:]] = how
    for match in _BY_SCRIPT.finditer("".join(scripts)[:LONGEST_SHEET].lower()):
        ids[match[1]] = "script"
    return Sheet(classes, ids)


def _hiding_rules(sheet: str) -> Iterator[tuple[str, str]]:
    for match in _SHEET_RULE.finditer(sheet.lower()):
        how = hidden_by_style(match[2])
        if how:
            selectors = (selector.strip() for selector in match[1].split(","))
            yield from ((selector, how) for selector in selectors if _SIMPLE_SELECTOR.fullmatch(selector))


def hidden_by_style(style: str, bgcolor: str = "") -> str:
    """How an inline style hides its element, beside that attribute; empty if it does not."""
    return _hidden_by_style(style[:LONGEST_STYLE], bgcolor[:LONGEST_STYLE])


@lru_cache(512)  # at most 2 MB: pages have a few styles, over and over
def _hidden_by_style(style: str, bgcolor: str) -> str:
    said = dict(_DECLARATION.findall(style.lower()))
    if not said:
        return ""
    if said.get("display", "").startswith("none"):
        return "display"
    if said.get("visibility", "").startswith(("hidden", "collapse")):
        return "visibility"
    if _is_zero(said, "opacity"):
        return "opacity"
    if _is_zero(said, "font-size") or _is_zero(said, "font"):
        return "font-size"
    return _boxed(said) or _placed(said) or _colored(said, bgcolor)


def _is_zero(said: Mapping[str, str], name: str) -> bool:
    value = said.get(name)
    return value is not None and _ZERO.fullmatch(value) is not None


def _boxed(said: Mapping[str, str]) -> str:
    """A box of no size that cuts off what is in it."""
    cuts = said.get("overflow", "").startswith(("hidden", "clip"))
    tiny = [name for name in ("height", "width", "max-height", "max-width") if _TINY.fullmatch(said.get(name, "x"))]
    return "zero-size" if tiny and cuts else ""


def _placed(said: Mapping[str, str]) -> str:
    """A box beyond the edge of the screen, or cut down to nothing."""
    if said.get("position", "").startswith(("absolute", "fixed")):
        edges = ("left", "right", "top", "bottom")
        if any(_is_far(said.get(edge, "")) for edge in edges) or said.get("clip", "").startswith("rect(0"):
            return "off-screen"
    if any(_is_far(said.get(name, "")) for name in ("text-indent", "margin-left", "margin-top")):
        return "off-screen"
    return ""


def _is_far(value: str) -> bool:
    match = _FAR_UNITS.match(value)
    if not match:
        return False
    pixels = int(match[1]) * {"em": 16, "rem": 16}.get(match[2] or "px", 1)
    return pixels <= -FAR


def _colored(said: Mapping[str, str], bgcolor: str) -> str:
    """Text in the colour of what is behind it, where one element says both."""
    front = _color(said.get("color", ""))
    behind = _color(said.get("background-color", said.get("background", ""))) or _color(bgcolor)
    if front and front in {behind, "transparent"}:
        return "color"
    return ""


def _color(value: str) -> str:
    """A colour in one way of writing; empty if there is none."""
    match = _COLOR.match(value.strip().lower())
    if not match:
        return ""
    color = match[0]
    if color.startswith("rgb"):
        parts = [int(float(n)) for n in _NUMBER.findall(color)]
        if len(parts) > 3 and not float(_NUMBER.findall(color)[3]):
            return "transparent"
        return "#" + "".join(f"{min(n, 255):02x}" for n in parts[:3] if n >= 0)
    if len(color) == 4 and color[0] == "#":
        return "#" + "".join(2 * digit for digit in color[1:])
    return _NAMED.get(color, color)


def hidden_by_attributes(tag: str, attributes: Mapping[str, str], sheet: Sheet) -> str:
    """How the attributes of an element hide it; empty if they do not.

    `aria-hidden` says what a screen reader leaves out, and not what can be seen: it does not count.
    """
    if "hidden" in attributes and attributes["hidden"].lower() != "until-found":
        return "attribute"
    if tag == "dialog" and "open" not in attributes:
        return "dialog"
    if tag == "marquee" and any(_TINY.fullmatch(attributes.get(name, "x")) for name in ("width", "height")):
        return "zero-size"
    if sheet.ids and (identity := attributes.get("id", "").lower()) in sheet.ids:
        return sheet.ids[identity]
    if sheet.classes and "class" in attributes:
        for name in attributes["class"].lower().split():
            if name in sheet.classes:
                return sheet.classes[name]
    return hidden_by_style(attributes["style"], attributes.get("bgcolor", "")) if "style" in attributes else ""


def written_by_script(script: str) -> bool | None:
    """Whether a script writes the start of a hidden element (True), the end of an element (False), or neither.

    `<script>document.write('<div style="display:none">')</script>`, then links, then a script that writes `</div>`.
    """
    if len(script) > LONGEST_STYLE or "document.write" not in script:
        return None
    opened = _WRITTEN_OPEN.search(script.lower())
    if opened and "</" not in script[opened.end() :]:
        styles = re.search(r"style\s*=\s*\\?[\"']?([^\"'>\\]{3,300})", opened[2])
        return True if styles and hidden_by_style(styles[1]) else None
    return False if _WRITTEN_CLOSE.search(script.lower()) else None
