"""Characters that are no part of the text: invisible ones, and pictures put into the middle of words.

Scrapers' copies are sown with them (`荆📫江市委`, `主要🆗对陈京`). What someone wrote stays: an emoji at the end of
a clause, joiners of Persian and Hindi, marks of direction in Hebrew. An injected picture is told from a written one
by the characters on both sides of it: in Chinese text neighbours attract each other, across a clause's end they
don't. Measured with the model of `tasks.language` on 600 news items of 2024: the logarithm of the odds is 0.89 on
average inside clauses and -0.19 (deviation 0.27) across their ends, so a handful of places tell the two apart.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain

from schemas.document import Context, Damage, Edit, Finding
from tasks.language import pair_score
from tasks.rules import load
from tasks.scripts import simplify

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Ideographs, as the inside of a character class: the blocks of Unicode 16.0, and 〇."""

_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"

_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
"""Letters written from right to left: blocks of Hebrew, Arabic, Syriac, Thaana, N'Ko and kin."""

_JOINING = re.compile("[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1b00-\u1cff\ua800-\ua9ff\U00010a00-\U00011fff]")
"""Letters of scripts that shape with joiners (Arabic, Syriac, Indic, Myanmar, Khmer, Mongolian, Javanese, …)."""

_SPACELESS = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1900-\u1aaf]")
"""Thai, Lao, Tibetan, Myanmar, Khmer, Tai: zero width spaces stand between their words."""

_PICTURE = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\ufe0e\ufe0f\U0001f000-\U0001faff]"
)
"""What emoji sequences are made of, and bases of emoji variation sequences (emoji-variation-sequences.txt)."""

ENOUGH = (0.9, 0.5, 0.4, 0.3, 0.25)
"""Average attraction asked of the neighbours of one picture, two, three, four, and more. Fewer than one
in a hundred clause ends reach it, one place or many; of places inside clauses 45 in a hundred (one) to 90 (five)."""

SELECTED_IDEOGRAPHS = 8
"""As many variation selectors after ideographs are a habit: names with a prescribed shape come once or twice."""


@cache
def _class(*kinds: str) -> str:
    """Inside of a character class."""
    rows = (row for row in load("symbols") if row[2] in kinds)
    return "".join(f"\\U{int(first, 16):08x}-\\U{int(last, 16):08x}" for first, last, *_ in rows)


@cache
def _gate() -> re.Pattern[str]:
    return re.compile(f"[{_class('hidden', 'joiner', 'mark', 'select', 'alien', 'rare', 'common')}{_PRIVATE}]")


@cache
def _invisible() -> re.Pattern[str]:
    return re.compile(f"[{_class('hidden', 'joiner', 'mark', 'select')}]")


@cache
def _sown() -> re.Pattern[str]:
    """Runs of pictures between ideographs, with the invisible characters that hang on them."""
    unseen = _class("hidden", "joiner", "mark", "select") + "\U0001f3fb-\U0001f3ff"
    alien, rare = _class("alien"), _class("alien", "rare")
    any_kind = rare + _class("common")
    return re.compile(
        f"(?<=[{HAN}])[{unseen}]*+(?:"
        f"(?P<alien>[{alien}][{alien}{unseen}]*+)(?=[{HAN}])|"
        f"(?P<rare>[{rare}][{rare}{unseen}]*+)(?=[{HAN}])|"
        f"[{any_kind}][{any_kind}{unseen}]*+(?=[{HAN}]))"
    )


@cache
def _picture_elsewhere() -> re.Pattern[str]:
    return re.compile(f"(?<![{HAN}{_class('alien', 'rare', 'common')}])[{_class('alien', 'rare', 'common')}]")


def attraction(left: str, right: str) -> float:
    """How much more often the second character follows the first than any character, as a logarithm to base 10."""
    left, right = simplify(left), simplify(right)
    return pair_score(left, right) - pair_score("\ue000", right)


def find(text: str, _context: Context) -> Iterator[Finding]:
    """Find invisible characters, pictures inside words, and private-use leftovers."""
    if (text.isascii() and text.isprintable()) or not _gate().search(text):
        return
    found = [*_find_pictures(text), *_find_private(text)]
    covered = [(e.start, e.start + len(e.before)) for e in found if isinstance(e, Edit)]
    yield from _merge(found, covered, _find_invisible(text))


def _merge(found: list[Finding], covered: list[tuple[int, int]], more: Iterator[Edit]) -> Iterator[Finding]:
    inside = set(chain.from_iterable(range(*span) for span in covered))
    findings = [*found, *(edit for edit in more if edit.start not in inside)]
    yield from sorted(findings, key=_start)


def _start(finding: Finding) -> int:
    return finding.start if isinstance(finding, Edit | Damage) else 0


# Invisible characters


def _find_invisible(text: str) -> Iterator[Edit]:
    selected = len(re.findall(f"[{HAN}][\ufe00-\ufe0f\U000e0100-\U000e01ef]", text))
    for match in _invisible().finditer(text):
        if not _is_needed(text, match.start(), selected >= SELECTED_IDEOGRAPHS):
            yield Edit("symbols", "invisible", match.start(), match[0], "")


def _is_needed(text: str, at: int, habit: bool) -> bool:
    """Whether the script around an invisible character is written with it."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if char in "\u200c\u200d":
        letters = _JOINING.match(before) and (_JOINING.match(after) or not after or not after.isalnum())
        return bool(letters or (_is_picture(before) and _PICTURE.match(after)))
    if char in "\u200b\u2060":
        return bool(_SPACELESS.match(before) or _SPACELESS.match(after))
    if char in "\u200e\u200f\u061c" or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069":
        return bool(_RTL.search(_around(text, at)))
    if "\U000e0020" <= char <= "\U000e007f":  # a flag of a region is a black flag with tags
        return before == "\U0001f3f4" or "\U000e0020" <= before <= "\U000e007f"
    if "\ufe00" <= char <= "\ufe0f" or char >= "\U000e0100":
        return _is_selecting(char, before, after, habit)
    return False


def _is_picture(char: str) -> bool:
    return bool(char) and bool(_PICTURE.match(char))


def _is_selecting(char: str, before: str, after: str, habit: bool) -> bool:
    """Whether there is a shape to choose (StandardizedVariants.txt, emoji-variation-sequences.txt, the IVD)."""
    if char in "\ufe0e\ufe0f":
        return after == "\u20e3" if before and before in "0123456789#*" else _is_picture(before)
    if re.match(f"[{HAN}]", before):
        return not habit
    # Mathematical operators, full-width signs, Myanmar, Phags-pa and Manichaean letters have variants.
    return char == "\ufe00" and bool(
        re.match("[\u2200-\u22ff\u2a00-\u2aff\u3001\u3002\uff01-\uff1f\u1000-\u109f\ua840-\ua87f]", before)
    )


def _around(text: str, at: int) -> str:
    """The line, or as much of it as 200 characters on both sides hold."""
    low, high = max(0, at - 200), at + 200
    return text[max(low, text.rfind("\n", low, at) + 1) : at] + text[at:high].partition("\n")[0]


# Pictures inside words


def _find_pictures(text: str) -> Iterator[Edit]:
    places = [m for m in _sown().finditer(text) if "\u200d" not in m[0]]
    if not places:
        return
    pulls = [attraction(text[m.start() - 1], text[m.end()]) for m in places]
    enough = ENOUGH[min(len(places), len(ENOUGH)) - 1]
    habit = len(places) > 1 and sum(pulls) / len(pulls) >= enough and _is_sown(text, places)
    for match, pull in zip(places, pulls, strict=True):
        # A chat has pictures between clauses: there one pair in a hundred attracts by chance.
        alone = ENOUGH[0] if len(places) < 3 else 2 * ENOUGH[0]
        if match["alien"] or habit or (match["rare"] and pull >= alone):
            yield Edit("symbols", "picture-in-word", match.start(), match[0], "", 0.99 if habit else 0.9)


def _is_sown(text: str, places: list[re.Match[str]]) -> bool:
    """Whether pictures are scattered at random, which puts most of them between two ideographs."""
    elsewhere = sum(1 for _ in _picture_elsewhere().finditer(text))
    return len(places) > elsewhere


# Private use


def _find_private(text: str) -> Iterator[Finding]:
    """Private-use characters: noise, icons, or what only a font knows."""
    sown = _has_sown_private(text)
    for match in re.finditer(f"[{_PRIVATE}]++", text):
        run, start = match[0], match.start()
        named = "".join(_of_gbk(char) for char in run)
        if named != run:
            yield Edit("symbols", "private-gbk", start, run, named)
        elif sown or _is_ornament(text[start - 1 : start] if start else "", text[match.end() : match.end() + 1]):
            yield Edit("symbols", "private-use", start, run, "", 0.9)
        else:
            yield Damage("symbols", "lost-characters", start, run)


def _has_sown_private(text: str) -> bool:
    """Whether private-use characters were put between neighbours that attract each other, three times or more."""
    pulls = [attraction(m[1], m[2]) for m in re.finditer(f"([{HAN}])[{_PRIVATE}]++(?=([{HAN}]))", text)]
    return len(pulls) >= 3 and sum(pulls) >= len(pulls) * ENOUGH[min(len(pulls), len(ENOUGH)) - 1]


def _is_ornament(before: str, after: str) -> bool:
    """Whether a private-use run is an icon. Beside ideographs it may stand for one that only a font knows."""
    is_han = re.compile(f"[{HAN}]").match
    return not is_han(before) and (not is_han(after) or not before or before.isspace())


def _of_gbk(char: str) -> str:
    """The character that GBK has at FE50 to FEA0, where Windows and GB18030-2000 put U+E815 to U+E864."""
    index = ord(char) - 0xE815
    if not 0 <= index <= 0xE864 - 0xE815:
        return char
    if char in _GBK_SINCE_2005:
        return _GBK_SINCE_2005[char]
    trail = 0x50 + index if index < 0x2F else 0x51 + index  # 7F is left out
    return bytes((0xFE, trail)).decode("gb18030")


_GBK_SINCE_2005 = dict(
    zip(
        "\ue816\ue817\ue818\ue81e\ue826\ue82b\ue82c\ue831\ue832\ue83b\ue843\ue854\ue855\ue864",
        "\U00020087\U00020089\U000200cc\u9fb4\u9fb5\u9fb6\u9fb7\U000215d7\u9fb8\U0002298f\u9fb9\u9fba\U000241fe\u9fbb",
        strict=True,
    )
)
"""Those of them that Python's codec, which follows GB18030-2000, leaves in the private use area (GB18030-2022)."""
