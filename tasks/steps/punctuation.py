"""Signs that were put in, doubled, or changed in width.

Chinese text has full-width signs, and half-width Latin letters and digits. Clone sites turn some of the former into
ASCII, and one kind of them puts a comma before every other sign (`現場辦公,。`, `3月11日,,省委`). English, code,
numbers, times, addresses and data keep their ASCII signs: no rule fires without an ideograph beside the sign, in a line
with more ideographs than Latin words. Width and doubled signs need evidence in the document: a slip here and there is
its author's, and stays (docs/adr/0012). How people emphasize stays (`！！！`, `？！`,
`。。。`, `......`, `--`), and so does what is unbalanced.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from schemas.document import Context, Edit
from tasks.steps.invisible import HAN

_CLOSING = "”’》〉）】」』〕…—"
_OPENING = "“‘《〈（【「『〔"

_FULL_WIDTH = "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]"
_FULL_WIDTH_RUN = re.compile(f"{_FULL_WIDTH}++")

_GATE = re.compile(
    f'[,;:!?()".，；：、。{_FULL_WIDTH[1:-1]}](?:'
    f'(?<=[,;:!?()"])(?= ?[{HAN}{_OPENING}])|(?<=[{HAN}{_CLOSING}][,;:!?()".])'
    "|(?<=[,，;；:：、。])(?=[,，;；:：、。])|(?<=。 [,，])|(?<=[,，])(?=[）】」』》])"
    f"|(?<={_FULL_WIDTH}))"
)
"""Any sign that a rule could change: a text is looked through once, by this, for the lines that have one. Here and
below the sign itself stands first and what is around it behind: `re` looks for a set of characters five times as
fast."""

_FULL = dict(zip(",;:!?()", "，；：！？（）", strict=True))

_JAPANESE_OR_KOREAN = re.compile("[\u3041-\u309f\u30a1-\u30fa\uac00-\ud7af]")
_HAN = re.compile(f"[{HAN}]")
_HAN_RUN = re.compile(f"[{HAN}]++")
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u024f]++")

_CODE = re.compile(
    r"[{}=!<>\-);/(\\&](?:(?<=[{}])|(?<=[=!<>])=|(?<=[=-])>|(?<=\));|(?<=<)/|(?<=/)>|(?<=\w\()[\"']|(?<=\\)[nt]"
    r"|(?<=&)\w{1,8};)"
)
_CODE_LINE = re.compile(r"\s{0,12}(?:#include|import |def |class |var |let |const |function |SELECT |<)")
"""Marks of program text and markup: quotation marks and brackets mean something else there."""

_ADDRESS = re.compile(
    r"(?:https?|ftp)://[\x21-\x7e]++|www\.[\x21-\x7e]++|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})++",
    re.ASCII | re.IGNORECASE,
)
"""URLs and e-mail addresses; signs at their end belong to the sentence."""

HABIT_COUNT = 3
HABIT_SHARE = 0.05
"""A document puts commas before other signs by habit if it does so three times and at one sign in twenty. Seed 004 does
at every second; none of 4,907 news items of 2024 does so at all. Wikipedia has a full-width sign doubled by a slip in
one paragraph of forty: slips stay. A half-width comma before a full-width sign is none: one of 2,000 has it."""

SHORT_VALUES = 5
"""Characters to a comma, at most, in rows of values that need not have as many values as the row beside them: clauses
are longer (eleven characters in news)."""

NARROW_COUNT = 2
"""A document has half-width signs by rule if so many are, half of all, and half of the commas. In translated news
(NTREX) one sign in ten is (colons, question marks), in one paragraph of Wikipedia in eight some are."""

MIXED_COUNT, MIXED_SHARE = 5, 0.25
"""So many half-width commas, and such a share, are none of the author's: none of 7,000 undamaged texts has them."""

NARROW_LINE_COUNT = 3
"""A line with so many signs (digits and letters) of the wrong width and none of the right one came from elsewhere."""

TITLE_CHARS = 40
"""A text that is no longer, and no sentence, is a title: one sign tells, but for colons and question marks, which
authors write half-width more than any other."""


@dataclass(frozen=True)
class Line:
    """A line to look at, with what concerns all of its rules."""

    start: int
    text: str
    habit: bool
    """Whether the document puts commas before other signs."""
    narrow: bool
    """Whether the document, or the line, has half-width signs by rule."""
    wide: str
    """Classes of characters that the document has full-width by rule, as the inside of a character class."""

    @cached_property
    def is_chinese(self) -> bool:
        """Whether it is a line of Chinese, and no code."""
        return _is_chinese(self.text) and not _is_code(self.text)

    @cached_property
    def addresses(self) -> list[tuple[int, int]]:
        """Where URLs and e-mail addresses stand."""
        return _addresses(self.text)

    @cached_property
    def pairs(self) -> list[Edit]:
        """What is to be done about brackets and quotation marks."""
        return [*_brackets(self), *_quotes(self)]


def find(text: str, _context: Context) -> Iterator[Edit]:
    """Find signs that were put in, doubled, or changed in width."""
    if text.isascii() or not (places := [match.start() for match in _GATE.finditer(text)]):
        return
    half = _half_signs(text)
    habit, narrow, may_be_narrow = _has_habit(text), _is_narrow(text, half), len(half) >= NARROW_LINE_COUNT
    may_be_wide = re.search(_FULL_WIDTH, text) is not None
    wide = _wide_classes(text) if may_be_wide else ""
    for previous, match, following in _at(places, text):
        line = match[0]
        is_narrow = narrow or (may_be_narrow and _is_narrow_line(line))
        is_wide = wide + _wide_classes_of_line(line) if may_be_wide else ""
        if (habit or is_narrow or is_wide or "," in line) and not _is_data(previous, line, following):
            seen = Line(match.start(), line, habit, is_narrow, is_wide)
            yield from _without_overlap(edit for rule in _RULES for edit in rule(seen))


_LINE = re.compile(r"[^\r\n]+")


def _at(places: list[int], text: str) -> Iterator[tuple[str, re.Match[str], str]]:
    """Lines that hold one of the places, with the text of the ones before and after; none within fences of code."""
    lines = list(_LINE.finditer(text))
    has_fences = "```" in text
    fenced = False
    upcoming = 0
    for i, match in enumerate(lines):
        if has_fences and match[0].lstrip().startswith("```"):
            fenced = not fenced
        if places[upcoming] >= match.end():
            continue
        if not fenced:
            yield (lines[i - 1][0] if i else ""), match, (lines[i + 1][0] if i + 1 < len(lines) else "")
        upcoming = bisect_left(places, match.end(), upcoming)
        if upcoming == len(places):
            return


def _without_overlap(edits: Iterable[Edit]) -> list[Edit]:
    """In order of start; where two rules want the same place the one listed first has it."""
    taken: dict[int, Edit] = {}
    for edit in edits:
        span = range(edit.start, edit.start + len(edit.before))
        if not any(i in taken for i in span):
            taken.update(dict.fromkeys(span, edit))
    return sorted(set(taken.values()), key=lambda edit: edit.start)


# What kind of line


def _has_habit(text: str) -> bool:
    doubled = len(re.findall("[,，](?=[,，、。；：！？])", text))
    return doubled >= HABIT_COUNT and doubled >= HABIT_SHARE * len(re.findall("[,，、。；：！？]", text))


def _is_narrow(text: str, half: list[str]) -> bool:
    """Whether half of the signs and of the commas, or a good part of many commas, are half-width: no author mixes so.

    Brackets are not counted: many authors write those around Latin words half-width.
    """
    n_full, full_commas = _n_full_signs(text), text.count("，")
    commas = half.count(",")
    if commas >= MIXED_COUNT and commas >= MIXED_SHARE * (commas + full_commas):
        return True
    is_title = len(text) <= TITLE_CHARS and "。" not in text and not n_full and not set(half) <= {":", "?"}
    if len(half) < (1 if is_title else NARROW_COUNT):
        return False
    return len(half) >= n_full and commas >= full_commas


def _is_narrow_line(line: str) -> bool:
    return len(_half_signs(line)) >= NARROW_LINE_COUNT and not _n_full_signs(line)


_HALF_SIGN = re.compile(f"[,;:!?](?:(?<=[{HAN}{_CLOSING}][,;:!?])(?![,，、。；：！？])|(?=[{HAN}]))")


def _half_signs(text: str) -> list[str]:
    """Half-width signs beside ideographs; commas before others left out."""
    return _HALF_SIGN.findall(text)


def _n_full_signs(text: str) -> int:
    return sum(map(text.count, "，；：！？"))


def _wide_classes(text: str) -> str:
    """Of digits and letters those that are full-width for the most part: a single one is someone's slip or style."""
    classes = ""
    for wide, usual in (("\uff10-\uff19", "0-9"), ("\uff21-\uff3a\uff41-\uff5a", "A-Za-z")):
        runs = len(re.findall(f"[{wide}]++", text))
        classes += wide if runs > len(re.findall(f"[{usual}]++", text)) else ""
    return classes


def _wide_classes_of_line(line: str) -> str:
    """The same of a line that has three or more of them and none of the other width."""
    runs = len(_FULL_WIDTH_RUN.findall(line))
    return _FULL_WIDTH[1:-1] if runs >= NARROW_LINE_COUNT and not re.search("[0-9A-Za-z]", line) else ""


def _is_data(previous: str, line: str, following: str) -> bool:
    """Whether a line is a row of comma-separated values: no sentence, and a row beside it that is like it."""
    commas = line.count(",")
    if commas < 2 or re.search("[。！？；]|,[，、：]", line):
        return False
    alike = {commas} if len(line) > SHORT_VALUES * (commas + 1) else {commas - 1, commas, commas + 1}
    return any(other.count(",") in alike and not re.search("[。！？]", other) for other in (previous, following))


def _is_chinese(line: str) -> bool:
    """Whether a line has more ideographs than Latin words, addresses aside, and hardly any kana or Hangul."""
    if _may_have_addresses(line):
        line = _ADDRESS.sub("", line)
    han = sum(map(len, _HAN_RUN.findall(line)))
    return han > len(_LATIN_WORD.findall(line)) and han > 4 * len(_JAPANESE_OR_KOREAN.findall(line))


def _is_code(line: str) -> bool:
    return _CODE.search(line) is not None or _CODE_LINE.match(line) is not None


def _addresses(line: str) -> list[tuple[int, int]]:
    if not _may_have_addresses(line):
        return []
    found = ((m.start(), m.start() + len(m[0].rstrip(",;:!?.)\"'"))) for m in _ADDRESS.finditer(line))
    return [span for span in found if span[0] < span[1]]


def _may_have_addresses(line: str) -> bool:
    """Whether a line has what each of them has: most have none of it."""
    return "@" in line or "://" in line or "www." in line.lower()


_CONFIDENCE = {"sown-sign": 0.95, "straight-quote": 0.97, "full-stop": 0.95}
"""Of rules that leave a choice; the others are certain."""


def _edit(line: Line, rule: str, at: int, before: str, after: str) -> Edit:
    return Edit("punctuation", rule, line.start + at, before, after, _CONFIDENCE.get(rule, 1.0))


# Put in and doubled


_WORD = r"[^\s!#-$&-(*-/:-@\[-`{-~，、。；：！？]"
_BEFORE = f"(?<={_WORD})"
_SIGN_AFTER = f"(?=[、。；：]|[;:](?=[{HAN}{_OPENING}]|$))"
_TEXT_AFTER = f"(?=[{HAN}{_OPENING}0-9A-Za-z]|$)"

_STRAY = re.compile(
    f",(?:(?<={_WORD},)(?:[,，]*+{_SIGN_AFTER}|,*+(?=，))"
    f"|(?<=[{HAN}{_CLOSING}],),*+(?=[;:][0-9])|(?<=，,)(?=[{HAN}{_OPENING}]))"
)
_DOUBLED = re.compile(f",,(?:(?<={_WORD},,)(?=[{HAN}{_OPENING}])|(?<=[{HAN}{_CLOSING}%％）],,){_TEXT_AFTER})")
"""A half-width comma beside another sign: nobody's hand does that, input methods give both the same width. Two of them
between letters or digits are an empty value (`[1,2,,3]`)."""

_STRAY_BY_HABIT = re.compile(f"{_BEFORE}，[,，]*+{_SIGN_AFTER}")
_DOUBLED_BY_HABIT = re.compile(f"{_BEFORE}(?:，，|、、|；；|：：){_TEXT_AFTER}")
"""The same of full-width signs, which authors do type."""

_SOWN = re.compile(
    f"{_BEFORE}[,，](?=[！？!?])"
    f"|。(?=。(?!。))(?<!。。)|[,，](?=[,，]{{1,3}}+[{HAN}{_OPENING}0-9])"
    f"|{_BEFORE}[,，]++(?=[）】」』》]|\\)(?![A-Za-z0-9]))"
    f"|(?<=。) ?[,，](?=[{HAN}{_OPENING}])"
)


_STRAY_RULES = (
    (_STRAY, "stray-comma", False),
    (_STRAY_BY_HABIT, "stray-comma", True),
    (_DOUBLED, "doubled", False),
    (_DOUBLED_BY_HABIT, "doubled", True),
    (_SOWN, "sown-sign", True),
)
"""Pattern, name, and whether it takes the habit. The first one that wants a place has it."""


def _strays(line: Line) -> Iterator[Edit]:
    """Half-width commas beside other signs (anywhere), and in documents with the habit what else is doubled."""
    for pattern, rule, by_habit in _STRAY_RULES:
        for match in pattern.finditer(line.text) if line.habit or not by_habit else ():
            after = _FULL.get(match[0][0], match[0][0]) if rule == "doubled" else ""
            yield _edit(line, rule, match.start(), match[0], after)


# Half-width signs


def _signs(line: Line) -> Iterator[Edit]:
    """Half-width commas, colons, semicolons, exclamation and question marks beside an ideograph."""
    if not line.narrow:
        return
    text = _with_full_brackets(line)
    if not (line.is_chinese if text == line.text else _is_chinese(text) and not _is_code(text)):
        return
    inside = line.addresses if text == line.text else _addresses(text)
    for match in _BESIDE.finditer(text):
        start, end = match.span()
        start += len(match[0]) - len(match[0].lstrip(",")) if match[0].strip(",") else 0  # stray ones
        if _is_inside(inside, start) or not _is_sign_of_chinese(text, start, end):
            continue
        after = text[start:end].translate(_TO_FULL)
        start, end = _with_spaces(text, start, end)
        yield _edit(line, "half-width", start, line.text[start:end], after)


def _is_inside(spans: list[tuple[int, int]], at: int) -> bool:
    return bool(spans) and any(start <= at < end for start, end in spans)


_SPACE_AFTER = re.compile(f" ?(?=[{HAN}{_OPENING}])")
_SPACE_BEFORE = re.compile(f"[ \u00a0](?<=[{HAN}{_CLOSING}0-9A-Za-z%％）)。].)$")


def _with_spaces(text: str, start: int, end: int) -> tuple[int, int]:
    """A sign with the space that stands on either side of it: a full-width sign has its own."""
    after = _SPACE_AFTER.match(text[end : end + 2])
    before = _SPACE_BEFORE.search(text[max(0, start - 2) : start])
    return start - (1 if before else 0), end + (len(after[0]) if after else 0)


_BESIDE = re.compile(
    f"[,;:!?](?:(?<=[,;:])(?<![,;:]{{2}})[,;:]*+(?=[{HAN}{_OPENING}])|(?<=[{HAN}{_CLOSING}][,;:!?])[,;:!?]*+"
    f"|(?<=[{HAN}{_CLOSING}] [,;])(?= ?[{HAN}{_OPENING}]))"
)


def _with_full_brackets(line: Line) -> str:
    """The line as it is after the rules for pairs: a sign after `TSMC）` is beside Chinese, one after `TSMC)` isn't."""
    if not line.pairs:
        return line.text
    chars = list(line.text)
    for edit in line.pairs:
        chars[edit.start - line.start] = edit.after
    return "".join(chars)


_TO_FULL = str.maketrans(_FULL)

_LABEL = re.compile(r": \d")
"""Who writes a space there means the half-width sign (`更新时间戳: 17`), and the brackets around it."""

_ASKS = re.compile("[吗嗎呢么麼谁誰怎哪何否吧啥咋岂豈]|多少|几[个年天时岁]|幾[個年天時歲]|(.)[不没沒]\\1")
_MAY_ASK = re.compile("[几幾多为為是可难難有能会會要了不]")
"""Words of questions, in both scripts. A `?` without one before it may be a character that was lost in decoding."""


_NUMBERED = re.compile(r"\s*\w{0,2}", re.ASCII)
_FACE = re.compile(r"[-o^']?(?:[)DPpO*|\\/](?![a-zA-Z0-9.])|3(?![\w.])|\((?!\w))")
"""What goes on after its eyes."""


def _is_sign_of_chinese(text: str, start: int, end: int) -> bool:
    sign, before, after = text[start:end], text[start - 1 : start] if start else "", text[end : end + 1]
    if len(sign) > 1 and not set(sign) <= {"!", "?"}:
        return False
    if _NUMBERED.fullmatch(text, 0, start):  # `1,标题`, `A:甲`, a sign without a sentence before it
        return sign == ":" and before.isalpha()
    if sign in {":", ";"} and _FACE.match(text[end : end + 3]):
        return False
    if _LABEL.match(text, start) or (sign == ":" and before.isdigit() and after.isdigit()):
        return False
    if "?" in sign:
        return _is_question(text, start, end)
    return not (sign[-1] == "!" and (after in tuple("[笆")))  # an image in Markdown; a trimmed quotation mark


def _is_question(text: str, start: int, end: int) -> bool:
    """Whether a question mark ends a question: text that was decoded badly has one for each lost character."""
    if text[end : end + 1] and re.match("[，。、；：！？?\u00e0-\u01dc\u0261A-Za-z0-9]", text[end]):
        return False
    clause = re.split("[，。；：！？?“”]", text[max(0, start - 40) : start])[-1]
    at_end = not re.match(f"[{HAN}]", text[end : end + 1])
    return bool(_ASKS.search(clause) or (at_end and _MAY_ASK.search(clause)))


# Brackets and quotation marks: both or none


_PAIR = re.compile(r"[(（]([^()（）\n]{1,200}+)[)）]")


def _brackets(line: Line) -> Iterator[Edit]:
    """Pairs of round brackets that hold Chinese, or stand in it."""
    text = line.text
    if not line.narrow or not ("(" in text or ")" in text) or not line.is_chinese:
        return
    for match in _PAIR.finditer(text):
        start, end = match.start(), match.end() - 1
        mixed = (text[start] == "（") != (text[end] == "）")
        wanted = mixed or _is_bracket_of_chinese(text, start, end, match[1])
        if not wanted or _is_inside(line.addresses, start):
            continue
        for at, full in ((start, "（"), (end, "）")):
            if text[at] != full:
                yield _edit(line, "half-width", at, text[at], full)


def _is_bracket_of_chinese(text: str, start: int, end: int, content: str) -> bool:
    before, after = text[start - 1 : start] if start else "", text[end + 1 : end + 2]
    if before in tuple("])") or before == "(" or re.fullmatch("[ _^*oO.;:>~-]{1,8}|[oOTQ;>^]_[oOTQ;<^]", content):
        return False  # a link in Markdown, a face
    if _LABEL.search(content):
        return False
    if _HAN.search(content):
        return not (before.isascii() and before.isalnum() and not _HAN.search(after))
    return bool(_HAN.match(before) or (before in _CLOSING and before) or (not before.strip() and _HAN.match(after)))


def _quotes(line: Line) -> Iterator[Edit]:
    """Straight quotation marks around Chinese, if every one in the line has its partner."""
    text = line.text
    if not line.narrow or '"' not in text or text.count('"') % 2:
        return
    if any(sign in text for sign in "“”=<>") or not line.is_chinese:
        return
    places = [m.start() for m in re.finditer('"', text)]
    pairs = list(zip(places[::2], places[1::2], strict=True))
    if not all(_is_quotation(text, *pair) for pair in pairs):
        return
    for opening, closing in pairs:
        yield _edit(line, "straight-quote", opening, '"', "“")
        yield _edit(line, "straight-quote", closing, '"', "”")


def _is_quotation(text: str, opening: int, closing: int) -> bool:
    content = text[opening + 1 : closing]
    if not _HAN.search(content) or content != content.strip():
        return False
    return all(
        not c or not c.isascii() or c in ",.;:!?( )"
        for c in (text[opening - 1 : opening], text[closing + 1 : closing + 2])
    )


# Full stops


def _stops(line: Line) -> Iterator[Edit]:
    """A dot at the end of a Chinese sentence that ends its line and has commas, but no other full stop."""
    text = line.text.rstrip()
    if not line.narrow or not _ENDS_IN_DOT.match(text[-2:]) or "。" in text or not line.is_chinese:
        return
    sentence = text[:-1]
    if len(_HAN.findall(sentence)) >= 10 and re.search("[，,]", sentence) and "." not in sentence:
        yield _edit(line, "full-stop", len(sentence), ".", "。")


_ENDS_IN_DOT = re.compile(f"[{HAN}{_CLOSING}]\\.")


# Full-width letters and digits


_WIDE = re.compile(f"{_FULL_WIDTH}(?:{_FULL_WIDTH}|[．，](?={_FULL_WIDTH})|％)*+")
_WIDE_RANGE = {c: chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}


def _wide(line: Line) -> Iterator[Edit]:
    """Full-width letters and digits, with the points, thousands commas and per cent signs inside numbers.

    In Japanese they are how newspapers write a single digit (`１週間`).
    """
    if not line.wide or (_JAPANESE_OR_KOREAN.search(line.text) and not _is_chinese(line.text)):
        return
    for match in _WIDE.finditer(line.text):
        if not re.search(f"[{line.wide}]", match[0]):
            continue
        narrow = match[0].translate(_WIDE_RANGE)
        if "，" in match[0] and not re.fullmatch(r"\d{1,3}(?:,\d{3})++(?:\.\d++)?%?", narrow):
            narrow = "".join(c if c == "，" else c.translate(_WIDE_RANGE) for c in match[0])
        for at, (old, new) in _runs(match[0], narrow):
            yield _edit(line, "full-width", match.start() + at, old, new)


def _runs(before: str, after: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Stretches in which two texts of the same length differ."""
    edges = [
        0,
        *(i for i in range(1, len(before)) if (before[i] == after[i]) != (before[i - 1] == after[i - 1])),
        len(before),
    ]
    for start, end in pairwise(edges):
        if before[start] != after[start]:
            yield start, (before[start:end], after[start:end])


def _pairs(line: Line) -> Iterator[Edit]:
    yield from line.pairs


_RULES: tuple[Callable[[Line], Iterator[Edit]], ...] = (_strays, _pairs, _signs, _stops, _wide)
