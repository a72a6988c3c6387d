r"""Escapes never resolved, or escaped once too often: `&amp;#20013;`, `\u4e2d\u6587`, `%u4E2D`, `%E4%B8%AD%E6%96%87`.

Text *about* escapes must stay as it is (`use &lt;br&gt;`), and so must URLs and code. So a line that speaks of markup
or encodings is left alone, entities that would become markup are left alone in lines that hold markup, and codes are
resolved only where a line of them spells Chinese (or other letters that ASCII cannot write). A line is read as a whole:
what is ASCII was not escaped, and stands between the codes (`5\u67086\u65e5`).
"""

import html.entities
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from schemas.document import Edit
from tasks.language import mean_score

STEP = "mojibake"

_GATE = re.compile(r"[&\\%](?:(?<=&)[A-Za-z#]|(?<=[\\%])u[0-9A-Fa-f]{4}|(?<=%)(?:25)?[89A-Fa-f][0-9A-Fa-f]%)")
"""Cheap: none of these in a text, nothing to do."""

_TALK = re.compile(
    r"(?i)\b(?:html|xml|entit(?:y|ies)|escap(?:e[sd]?|ing)|unicode|utf-?8|unquote|url-?encod(?:e|ed|ing))\b"
    r"|\b(?:regex|markup|code ?points?)\b"
    r"|实体|實體|转义|轉義|字符引用|编码|編碼|正则|正則|码点|碼點|标签|標籤|源代码|原始碼"
)
"""Words of lines that speak of escapes rather than suffer from them (chosen by hand)."""

_LESSON = re.compile(
    r"(?i)\b(?:unicode|escap(?:e[sd]?|ing)|code ?points?|(?:url|percent)-?encod(?:e|ed|ing)|javascript|python)\b"
    r"|转义|轉義|码点|碼點|字符编码|字元編碼|字符串|字串"
)
"""Words of documents that teach programming: in those a handful of codes is what they talk of."""

_MARKUP = re.compile(
    r"(?i)&(?:amp;){0,2}(?:lt|gt|#0*6[02]|#x0*3[ce]);|</?[a-z!][^<>\n]{0,200}>|[{}]|\b(?:const|var|def|return)\b"
)
"""Markup, escaped or not, and code: in its line `&nbsp;`, `&amp;` and `&quot;` may be meant as they stand."""

_PROGRAM = re.compile(
    r"\w\(\s{0,9}[a-zA-Z]?[\"'`]|[\w\])]\s{0,9}[+!=]?=\s{0,9}[a-zA-Z]?[\"'`]|[\"'`][)\]];?\s*+$|[\"'`];\s*+$|=>|->|[!=]=|>>>"
    r"|\[[^\]\s]{0,40}\\u[0-9A-Fa-f]{4}-\\|(?i:\\u4e00-\\u9f)"
    r"|^\s{0,40}(?:import|from|def|class|var|let|const|return|echo|print|puts|public|private|static|#include|//|\*|\$)\b"
)
"""Calls and assignments of strings, ranges of patterns, statements: what Python, JavaScript, C and Java lines show."""

_ENTITY = re.compile(
    r"&(?:amp;){0,3}(?:(?:#0{0,4}(\d{2,7})|#[xX]0{0,4}([0-9A-Fa-f]{2,6})|([A-Za-z]{2,8}[0-9]{0,2}));|#(\d{5})(?![\d;]))"
)
"""A reference, `&` itself escaped up to three times. Five digits name an ideograph also without the semicolon."""

_MARKUP_ENTITIES = frozenset("<>&\"' \xa0")
"""What an entity in markup may be meant to show, or stands for itself in code."""

_OPENING, _CLOSING = frozenset("\"'`“‘「『（("), frozenset("\"'`”’」』）)")

LEAST_SCORE = -4.3
"""Mean score that codes must have to be Chinese: words and names have, random code points don't (-5)."""

LEAST_GBK_SCORE = -3.5
"""The same where nothing but the score tells that bytes are GBK: UTF-8 has structure, GBK has none."""

SURE = 8
"""A line that spells so many characters tells that the document was escaped: then single codes are resolved too."""

DOMINANT = 12
"""So many characters, whose codes are most of a line, are text whatever ASCII words (`HTML5`) stand between them."""


class Piece(NamedTuple):
    """A run of codes without anything between them."""

    start: int
    """Offset in characters in its line."""
    before: str
    after: str
    """What it spells."""


class Codes(NamedTuple):
    """The codes of one form in a line."""

    rule: str
    offset: int
    """Where the line begins."""
    line: str
    pieces: list[Piece]

    @property
    def spelled(self) -> str:
        """What is spelled that ASCII cannot write."""
        return "".join(c for piece in self.pieces for c in piece.after if c > "\x7f")


def may_be_escaped(text: str) -> bool:
    """Whether there is anything that looks like an escape."""
    return ("&" in text or "\\" in text or "%" in text) and _GATE.search(text) is not None


def unescape(text: str) -> Iterator[Edit]:
    """Edits that resolve escapes, in order; nothing in lines about escapes, in URLs and in code."""
    if not may_be_escaped(text):
        return
    found: list[Edit] = []
    codes: list[Codes] = []
    for start, line in _lines(text):
        if not _GATE.search(line):
            continue
        talks = _TALK.search(line) is not None
        if not talks:
            found += (edit._replace(start=start + edit.start) for edit in _entities(line))
        codes += (c for c in _codes(start, line) if not talks or _is_dominant(c))
    yield from _without_overlap([*found, *_resolved(text, codes)])


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their offsets, those of fenced code left out."""
    start, fenced = 0, False
    for line in text.splitlines(keepends=True):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        if not fenced and not fence:
            yield start, line
        start += len(line)


def _without_overlap(edits: list[Edit]) -> Iterator[Edit]:
    end = 0
    for edit in sorted(edits, key=lambda e: e.start):
        if edit.start >= end:
            yield edit
            end = edit.start + len(edit.before)


# References of HTML


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
    decimal, hexadecimal, name, unclosed = match.groups()
    if name:
        return html.entities.html5.get(f"{name};")
    if unclosed:
        return chr(int(unclosed)) if _is_chinese(chr(int(unclosed))) else None
    code = int(decimal) if decimal else int(hexadecimal, 16)
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return None
    return chr(code)


# Codes of JSON, of JavaScript's `escape`, of URLs

_BMP = "(?![dD][89a-fA-F]|00[01][0-8b-f]|007[fF]|00[89])[0-9A-Fa-f]{4}"
"""A code unit that is a character by itself, and no control character but the tab and the line feed."""

_HIGH, _LOW = "[dD][89abAB][0-9A-Fa-f]{2}", "[dD][c-fC-F][0-9A-Fa-f]{2}"

_JSON_UNIT = rf"\\{{1,2}}u(?:{_BMP}|{_HIGH}\\{{1,2}}u{_LOW})"
_JSON_SHORT = r"\\[nrt\"/]"
_JSON_RUN = re.compile(rf"(?<!\\)(?:{_JSON_SHORT}){{0,4}}+{_JSON_UNIT}(?:{_JSON_UNIT}|{_JSON_SHORT})*+")
r"""Codes, with the short escapes (`\n`, `\"`, `\/`) that stand beside them."""

_SCRIPT_UNIT = f"%u(?:{_BMP}|{_HIGH}%u{_LOW})"
_SCRIPT_RUN = re.compile(f"(?:%[0-9A-Fa-f]{{2}}){{0,9}}+{_SCRIPT_UNIT}(?:{_SCRIPT_UNIT}|%[0-9A-Fa-f]{{2}})*+")
"""What JavaScript's old `escape` makes: `%uXXXX`, and two digits for Latin-1."""

_PERCENT_RUN = re.compile("(?:%25[89A-Fa-f][0-9A-Fa-f])(?:%25[0-9A-Fa-f]{2})++|(?:%(?!u)[0-9A-Fa-f]{2})++")

_SHORT = {"n": "\n", "r": "", "t": "\t", '"': '"', "/": "/"}


def _codes(offset: int, line: str) -> Iterator[Codes]:
    if _PROGRAM.search(line):
        return
    yield Codes("unicode-escape", offset, line, list(_pieces(line, _JSON_RUN, _from_json)))
    yield Codes("unicode-escape", offset, line, list(_pieces(line, _SCRIPT_RUN, _from_script)))
    runs = list(_runs_outside_urls(line))
    yield Codes("percent", offset, line, _decoded(line, runs, "utf-8") or _decoded(line, runs, "gb2312"))


def _pieces(line: str, pattern: re.Pattern[str], decode: Callable[[str], str]) -> Iterator[Piece]:
    return (Piece(m.start(), m[0], decode(m[0])) for m in pattern.finditer(line))


def _from_json(run: str) -> str:
    units = re.findall(r"\\{1,2}(?:u([0-9A-Fa-f]{4})|([nrt\"/]))", run)
    return _join_surrogates("".join(chr(int(unit, 16)) if unit else _SHORT[short] for unit, short in units))


def _from_script(run: str) -> str:
    units = re.findall("%(?:u([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))", run)
    return _join_surrogates("".join(chr(int(unit or byte, 16)) for unit, byte in units))


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be")


def _decoded(line: str, runs: list[tuple[int, str]], codec: str) -> list[Piece]:
    """What percent escapes of a line spell in a codec; nothing if one spells nothing, or GBK reads like no Chinese.

    A character that is cut off at the end of a run stays as it is.
    """
    all_signs = _NEVER_BARE.search(line) is None
    pieces = []
    for start, run in runs:
        piece = _decoded_run(start, run, codec)
        if piece is None:
            return []
        if not all_signs and line[start - 1 : start].isdigit():  # the sign of per cent, and two digits
            piece = _without_leading_ascii(piece)
        if piece.after and (all_signs or not piece.after.isascii()):
            pieces.append(piece)
    if codec == "utf-8":
        return pieces if any(not piece.after.isascii() for piece in pieces) else []
    text = "".join(piece.after for piece in pieces)
    return pieces if len(text) > 2 and mean_score(text) > LEAST_GBK_SCORE else []


def _decoded_run(start: int, run: str, codec: str) -> Piece | None:
    width = 5 if re.fullmatch("(?:%25[0-9A-Fa-f]{2})++", run) else 3  # 5: escaped twice
    data = bytes.fromhex("".join(run[i + width - 2 : i + width] for i in range(0, len(run), width)))
    try:
        return Piece(start, run, data.decode(codec))
    except UnicodeDecodeError as error:
        if error.end < len(data) or not error.start:
            return None
        return Piece(start, run[: width * error.start], data[: error.start].decode(codec))


def _without_leading_ascii(piece: Piece) -> Piece:
    n = len(piece.after) - len(piece.after.lstrip("".join(map(chr, range(128)))))
    return Piece(piece.start + 3 * n, piece.before[3 * n :], piece.after[n:])


_URL = re.compile(
    r"(?i)(?:(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,15}://|(?<![\w.])www\.|(?<![\w.])(?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,12}(?=/))"
    r"(?P<rest>[^\s%\"'<>\x7f-\U0010ffff]*+)(?P<tail>%[\x21\x23-\x26\x28-\x3b\x3d\x3f-\x7e]*+)?"
)
_SIGN = re.compile("(?i)%(?:E3%80%8|EF%BC%8|EF%BC%9|E2%80%9[4CD])")
"""Escapes of `、。《》（），：；？“”—` in UTF-8."""

_TOKEN = re.compile("[\x21\x23-\x26\x28-\x3b\x3d\x3f-\x7e]++")
"""What stands between white space, quotation marks, angle brackets and what isn't ASCII."""

_PATH = re.compile(r"[\w.~-]{0,200}[/?#&]|[?&]?[A-Za-z_][\w.\[\]-]{0,200}=")
_PATH_INSIDE = re.compile(
    r"[/=&?#@~]%(?:25)?[89A-Fa-f]|%[89A-Fa-f][0-9A-Fa-f](?:[/=&#@~]|\?\w{1,40}=|\.[A-Za-z]\w{1,4}\b)"
)
"""How paths and queries without a host begin, and what they show beside escapes."""

_NEVER_BARE = re.compile('[ ,:;?"<>|{}]|%(?![0-9A-Fa-f]{2})')
"""What `encodeURIComponent` escapes as well: a line without these had its ASCII signs escaped too."""


def _runs_outside_urls(line: str) -> Iterator[tuple[int, str]]:
    """Runs of percent escapes that are no part of a URL, with their places."""
    if "%" not in line:
        return
    free = _URL.sub(_without_url, line)
    for token in _TOKEN.finditer(free):
        if "%" in token[0] and not _is_path(token[0]):
            yield from ((m.start(), m[0]) for m in _PERCENT_RUN.finditer(free, *token.span()))


def _without_url(match: re.Match[str]) -> str:
    """Spaces for a URL. It ends before escapes of Chinese signs, and where a host is followed by any escape."""
    tail = match["tail"] or ""
    ends = _SIGN.match(tail) or "/" not in match[0][: match.end("rest") - match.start()].partition("://")[2]
    return " " * (len(match[0]) - len(tail)) + tail if ends else " " * len(match[0])


def _is_path(token: str) -> bool:
    """Whether escapes in a token belong to a path or a query. Prose has slashes and equals signs as well."""
    if _PATH.match(token):
        return True
    is_prose = _SIGN.search(token) is not None and token.count("%") >= 3 * DOMINANT
    return not is_prose and _PATH_INSIDE.search(token) is not None


# Whether they are resolved


def _resolved(text: str, codes: list[Codes]) -> Iterator[Edit]:
    accepted = [_accepted(c) for c in codes]
    sure = any(len(c.spelled) >= SURE and pieces == c.pieces for c, pieces in zip(codes, accepted, strict=True))
    if not sure and _LESSON.search(text):
        return
    for c, pieces in zip(codes, accepted, strict=True):
        for piece in c.pieces if sure and _is_chinese(c.spelled) else pieces:
            yield Edit(STEP, c.rule, c.offset + piece.start, piece.before, piece.after)


def _accepted(codes: Codes) -> list[Piece]:
    """All pieces of a line if they are Chinese that reads like it, else those that are words of another script."""
    spelled = codes.spelled
    if not _is_chinese(spelled):
        return [piece for piece in codes.pieces if _is_foreign(codes, piece)]
    is_together = any(sum(c > "\x7f" for c in piece.after) > 1 for piece in codes.pieces)
    return codes.pieces if is_together and mean_score(spelled) >= LEAST_SCORE else []


def _is_chinese(text: str) -> bool:
    """Whether at least half of a text is ideographs and the signs that go with them."""
    chinese = sum("\u3000" <= c <= "\u303f" or "\u3400" <= c <= "\u9fff" or "\uff00" <= c <= "\uff65" for c in text)
    return 0 < len(text) <= 2 * chinese


def _is_foreign(codes: Codes, piece: Piece) -> bool:
    """Whether a run is letters and signs that ASCII cannot write: two or more, or (of JSON) one at a letter."""
    chars = [c for c in piece.after if c > "\x7f"]
    end = piece.start + len(piece.before)
    around = codes.line[max(0, piece.start - 1) : piece.start] + codes.line[end : end + 1]
    at_letter = codes.rule == "unicode-escape" and any(c.isascii() and c.isalpha() for c in around)
    readable = all(c > "\x9f" and (c.isalpha() or not c.isidentifier()) and c.isprintable() for c in chars)
    return readable and (len(chars) > 1 or at_letter)


def _is_dominant(codes: Codes) -> bool:
    n_chars = sum(len(piece.before) for piece in codes.pieces)
    return len(codes.spelled) >= DOMINANT and 2 * n_chars > len(codes.line)
