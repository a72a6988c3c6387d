r"""Escapes never resolved, or escaped once too often: `&amp;#20013;`, `\u4e2d\u6587`, `%E4%B8%AD%E6%96%87`.

Text *about* escapes must stay as it is (`use &lt;br&gt;`), and so must URLs and code. So a line that speaks of markup
or encodings is left alone, entities that would become markup are left alone in lines that hold markup, and codes are
resolved only in runs that spell Chinese (or other letters that ASCII cannot write).
"""

import html.entities
import re
from collections.abc import Callable, Iterator

from schemas.document import Edit
from tasks.language import mean_score

STEP = "mojibake"

_GATE = re.compile(r"[&\\%](?:(?<=&)[A-Za-z#]|(?<=\\)u[0-9A-Fa-f]{4}|(?<=%)[89A-Fa-f][0-9A-Fa-f]%)")
"""Cheap: none of these in a text, nothing to do."""

_TALK = re.compile(
    r"(?i)\b(?:html|xml|entit(?:y|ies)|escap(?:e[sd]?|ing)|unicode|utf-?8|unquote|url-?encod(?:e|ed|ing))\b"
    r"|\b(?:regex|markup|code ?points?)\b"
    r"|实体|實體|转义|轉義|字符引用|编码|編碼|正则|正則|码点|碼點|标签|標籤|源代码|原始碼"
)
"""Words of lines that speak of escapes rather than suffer from them (chosen by hand)."""

_MARKUP = re.compile(
    r"(?i)&(?:amp;){0,2}(?:lt|gt|#0*6[02]|#x0*3[ce]);|</?[a-z!][^<>\n]{0,200}>|[{}]|\b(?:const|var|def|return)\b"
)
"""Markup, escaped or not, and code: in its line `&nbsp;`, `&amp;` and `&quot;` may be meant as they stand."""

_ENTITY = re.compile(r"&(?:amp;){0,3}(?:#0{0,4}(\d{2,7})|#[xX]0{0,4}([0-9A-Fa-f]{2,6})|([A-Za-z]{2,8}[0-9]{0,2}));")
"""A reference with its semicolon, `&` itself escaped up to three times."""

_MARKUP_ENTITIES = frozenset("<>&\"' \xa0")
"""What an entity in markup may be meant to show, or stands for itself in code."""

_OPENING, _CLOSING = frozenset("\"'`“‘「『（("), frozenset("\"'`”’」』）)")

_U_RUN = re.compile(r"(?<![\\\w\[-])(?:\\{1,2}u[0-9A-Fa-f]{4}){2,5000}+(?![\]-])")
r"""Two escapes or more, not inside a range of a pattern (`[\u4e00-\u9fa5]`)."""

_PERCENT_RUN = re.compile(r"(?<![\w/=&?#.:%+@~-])(?:%[0-9A-Fa-f]{2}){4,9000}+(?![\w/=&?#%+@~-])")
"""Percent escapes with no sign of a URL to either side; two Chinese characters are six in UTF-8, four in GBK."""

LEAST_SCORE = -4.3
"""Mean score that a run of codes must have to be Chinese: words and names have, random code points don't (-5)."""


def unescape(text: str) -> Iterator[Edit]:
    """Edits that resolve escapes, in order; nothing in lines about escapes, in URLs and in code."""
    if _GATE.search(text) is None:
        return
    for start, line in _lines(text):
        if _GATE.search(line) and not _TALK.search(line):
            yield from _in_line(start, line)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, line
        start += len(line)


def _in_line(start: int, line: str) -> Iterator[Edit]:
    found = [
        *_entities(line),
        *_codes(line, _U_RUN, _from_u, "unicode-escape"),
        *_codes(line, _PERCENT_RUN, _from_percent, "percent"),
    ]
    end = 0
    for edit in sorted(found, key=lambda e: e.start):
        if edit.start >= end:
            yield edit._replace(start=start + edit.start)
            end = edit.start + len(edit.before)


def _entities(line: str) -> Iterator[Edit]:
    in_markup = _MARKUP.search(line) is not None
    for match in _ENTITY.finditer(line):
        char = _char(match)
        if char is None or (char in _MARKUP_ENTITIES and (in_markup or _is_mentioned(line, match))):
            continue
        if char < "\x80" and char in "<>":
            continue
        yield Edit(STEP, "entity", match.start(), match.group(), char)


def _is_mentioned(line: str, match: re.Match[str]) -> bool:
    """Whether the entity stands in quotes of its own, or `&nbsp;` as a word among words: `the &nbsp; entity`."""
    before, after = line[: match.start()][-2:], line[match.end() :][:2]
    if before[-1:] in _OPENING and after[:1] in _CLOSING:
        return True
    is_word = before[-1:] == after[:1] == " " and before[:1].isascii() and after[1:].isascii()
    return match[3] == "nbsp" and is_word and before[:1].isalnum() and after[1:].isalnum()


def _char(match: re.Match[str]) -> str | None:
    """The character, or None for names unknown and for numbers of what no text has."""
    decimal, hexadecimal, name = match.groups()
    if name:
        return html.entities.html5.get(f"{name};")
    code = int(decimal) if decimal else int(hexadecimal, 16)
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return None
    return chr(code)


def _codes(line: str, pattern: re.Pattern[str], decode: Callable[[str], str | None], rule: str) -> Iterator[Edit]:
    for match in pattern.finditer(line):
        after = decode(match.group())
        if after and _is_text(after):
            yield Edit(STEP, rule, match.start(), match.group(), after)


def _from_u(run: str) -> str | None:
    units = [int(u, 16) for u in re.findall(r"u([0-9A-Fa-f]{4})", run)]
    try:
        return b"".join(u.to_bytes(2, "big") for u in units).decode("utf-16-be")
    except UnicodeDecodeError:
        return None


def _from_percent(run: str) -> str | None:
    data = bytes.fromhex(run.replace("%", ""))
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    try:  # without the structure of UTF-8 there is only the model to say that it is GBK: two characters are too few
        text = data.decode("gb2312")
    except UnicodeDecodeError:
        return None
    return text if len(text) > 2 and mean_score(text) > -3.5 else None


def _is_text(text: str) -> bool:
    """Whether a run is text that needed an escape: Chinese that reads like it, or words of another script."""
    chinese = sum("\u3000" <= c <= "\u303f" or "\u3400" <= c <= "\u9fff" or "\uff00" <= c <= "\uff65" for c in text)
    if chinese * 2 >= len(text):
        return len(text) > 1 and mean_score(text) >= LEAST_SCORE
    return all((c > "\x9f" and (c.isalpha() or not c.isidentifier()) and c.isprintable()) or c == " " for c in text)
