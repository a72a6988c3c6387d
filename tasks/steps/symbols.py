"""Characters that are no part of the text: control characters, and pictures put into the middle of words.

Scrapers' copies are sown with them (`荆📫江市委`, `主要🆗对陈京`). What someone wrote stays: an emoji at the end of
a clause. An injected picture is told from a written one
by the characters on both sides of it: in Chinese text neighbours attract each other, across a clause's end they
don't. Measured with the model of `tasks.language` on 600 news items of 2024: the logarithm of the odds is 0.89 on
average inside clauses and -0.19 (deviation 0.27) across their ends, so a handful of places tell the two apart.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain

from schemas.document import Context, Damage, Edit, Finding
from tasks.damage.misreadings import GARBLED
from tasks.language import pair_score
from tasks.scripts import simplify
from tasks.steps.invisible import HAN, symbol_class

_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"

ENOUGH = (0.9, 0.5, 0.4, 0.3, 0.25)
"""Average attraction asked of the neighbours of one picture, two, three, four, and more. Fewer than one
in a hundred clause ends reach it, one place or many; of places inside clauses 45 in a hundred (one) to 90 (five)."""


@cache
def _gate() -> re.Pattern[str]:
    return re.compile(f"[{symbol_class('hidden', 'joiner', 'mark', 'select', 'alien', 'rare', 'common')}{_PRIVATE}]")


@cache
def _sown() -> re.Pattern[str]:
    """Runs of pictures between ideographs, with the invisible characters that hang on them."""
    unseen = symbol_class("hidden", "joiner", "mark", "select") + "\U0001f3fb-\U0001f3ff"
    alien, rare = symbol_class("alien"), symbol_class("alien", "rare")
    any_kind = rare + symbol_class("common")
    return re.compile(
        f"(?<=[{HAN}])[{unseen}]*+(?:"
        f"(?P<alien>[{alien}][{alien}{unseen}]*+)(?=[{HAN}])|"
        f"(?P<rare>[{rare}][{rare}{unseen}]*+)(?=[{HAN}])|"
        f"[{any_kind}][{any_kind}{unseen}]*+(?=[{HAN}]))"
    )


@cache
def _picture_elsewhere() -> re.Pattern[str]:
    return re.compile(
        f"(?<![{HAN}{symbol_class('alien', 'rare', 'common')}])[{symbol_class('alien', 'rare', 'common')}]"
    )


def attraction(left: str, right: str) -> float:
    """How much more often the second character follows the first than any character, as a logarithm to base 10."""
    left, right = simplify(left), simplify(right)
    return pair_score(left, right) - pair_score("\ue000", right)


def find(text: str, _context: Context) -> Iterator[Finding]:
    """Find control characters, pictures inside words, and private-use leftovers."""
    if (text.isascii() and text.isprintable()) or not _gate().search(text):
        return
    found = [*_find_pictures(text), *_find_private(text)]
    covered = [(e.start, e.start + len(e.before)) for e in found if isinstance(e, Edit)]
    yield from _merge(found, covered, _find_controls(text))


def _merge(found: list[Finding], covered: list[tuple[int, int]], more: Iterator[Edit]) -> Iterator[Finding]:
    inside = set(chain.from_iterable(range(*span) for span in covered))
    findings = [*found, *(edit for edit in more if edit.start not in inside)]
    yield from sorted(findings, key=_start)


def _start(finding: Finding) -> int:
    return finding.start if isinstance(finding, Edit | Damage) else 0


def _find_controls(text: str) -> Iterator[Edit]:
    for match in _control().finditer(text):
        yield Edit("symbols", "control", match.start(), match[0], "")


@cache
def _control() -> re.Pattern[str]:
    """Control characters and the soft hyphen; those beyond Latin-1 are the business of the step before."""
    return re.compile(f"(?=[\0-\u00ff])[{symbol_class('hidden')}]")


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
    garbled = {i for m in GARBLED.finditer(text) for i in range(*m.span())}
    for match in re.finditer(f"[{_PRIVATE}]++", text):
        run, start = match[0], match.start()
        named = "".join(_of_gbk(char) for char in run)
        if match.start() in garbled:
            yield Damage("symbols", "mojibake", start, run)
        elif named != run:
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
