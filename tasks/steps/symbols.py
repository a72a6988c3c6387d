"""Characters that are no part of the text: control characters, and pictures put into the middle of words.

Scrapers' copies are sown with them (`荆📫江市委`, `主要🆗对陈京`). What someone wrote stays: an emoji at the end of
a clause, or for a word. No single place tells the two apart, so evidence is added up over a document, as logarithms
of odds: whether the text runs on across a picture or a clause could end there, whether people use this picture at all,
what pictures stand elsewhere, and whether the text is prose with punctuation. The figures were measured with the model
of `tasks.language` on 600 news items of 2024, at places inside clauses and at places from which a sign was taken.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from schemas.document import Context, Damage, Edit, Finding
from tasks.damage.misreadings import GARBLED
from tasks.language import fold_text, next_score, pair_score
from tasks.rules import load
from tasks.scripts import codes, simplify
from tasks.steps.invisible import HAN, symbol_class

_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"

ENOUGH = (0.9, 0.5, 0.4, 0.3, 0.25)
"""Average attraction asked of the neighbours of one private-use character, two, three, four, and more. Fewer than one
in a hundred clause ends reach it, one place or many; of places inside clauses 45 in a hundred (one) to 90 (five)."""

PUT_IN = 2.0
"""Odds (their logarithm to base 10) at which pictures are taken to have been put in."""

SCATTERED = 4.0
"""Odds at which those between a word and a sign go as well."""

_RUNS_ON = ((-1.0, -1.3), (0.0, -0.95), (1.0, -0.65), (2.0, -0.05), (3.0, 0.8), (4.0, 2.0))
"""How much likelier the text is without a break than with one → odds that there is none. Straight lines between; no
single place says more, since people write pictures for words as well."""

_UNUSUAL, _USUAL, _ALIEN = 0.5, -0.8, 2.0
"""Odds from the picture itself: three quarters of what people use are the hundred usual ones, and of pictures drawn
from whole blocks one in ten is. Nobody uses mahjong tiles."""

_ELSEWHERE = -0.7
"""For each picture that stands at a sign, at a space or at the end of a line, where people put them."""

_PROSE, _PROSE_CHARS, _PROSE_SIGNS = 1.2, 60, 20
"""For texts of so many ideographs with a sign for at most so many of them: chats have pictures in place of signs."""

COMMON_COUNT = 5
"""So many stars and hearts between ideographs, and nothing else, are put in: some texts speak of them (`标有★号的`)."""

_USUAL_PICTURES = frozenset(
    "❤♥🥰🎉💕🥺🔥☺🤦🤷🤗🎂🤔👏🥳👌💜💪✨💖👀👉💗💯🌹💞🎈💙💐🤞🤤🤪❣💋💀👇💔💓🤩🤭🌞🌸🎶✌🎊🥵💚☀🖤💰👑🎁💥☹🥴👈💩✅"
    "👍🤣🍉🐶🌚🌝🌟⭐📍📌🍻🌈💡📷🎵🍀🚀📞📱🔔🎄🎓🎤🏠🐱🍎🌙🍂❄🌊☕🍜🍺🚗"
)
"""Unicode's most frequently used emoji of 2021 (the first hundred; faces are tested by their block), and ornaments of
posts and advertisements in Chinese (chosen by hand)."""


_PICTURE, _HANGS_ON, _CONTROL, _IN_PRIVATE = 1, 2, 4, 8
"""What a character is, as bits: a picture, something unseen that may hang on one, a control character, private use."""


@cache
def _marks() -> NDArray[np.uint8]:
    """What each code point is; 0 of what no rule here looks at. One look tells what a text has."""
    marks = np.zeros(sys.maxunicode + 1, np.uint8)
    for first, last, kind, *_ in load("symbols"):
        marks[int(first, 16) : int(last, 16) + 1] |= _PICTURE if kind in {"alien", "rare", "common"} else _HANGS_ON
        if kind == "hidden":  # those beyond Latin-1 are the business of the step before
            marks[int(first, 16) : min(int(last, 16), 0xFF) + 1] |= _CONTROL
    marks[0x1F3FB:0x1F400] |= _HANGS_ON
    for first, last in zip(_PRIVATE[::3], _PRIVATE[2::3], strict=True):
        marks[ord(first) : ord(last) + 1] |= _IN_PRIVATE
    return marks


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
        f"(?<![{HAN}{symbol_class('hidden', 'joiner', 'select', 'alien', 'rare', 'common')}])"
        f"[{symbol_class('alien', 'rare', 'common')}]"
    )


def prepare() -> None:
    """Build what the first picture would have to wait for: most pages have none, and processes are many."""
    _sown()
    _picture_elsewhere()


def attraction(left: str, right: str) -> float:
    """How much more often the second character follows the first than any character, as a logarithm to base 10."""
    left, right = simplify(left), simplify(right)
    return pair_score(left, right) - pair_score("\ue000", right)


def find(text: str, _context: Context) -> Iterator[Finding]:
    """Find control characters, pictures inside words, and private-use leftovers."""
    if text.isascii() and text.isprintable():
        return
    marks = _marks().take(codes(text))
    kinds = int(np.bitwise_or.reduce(marks))
    found: list[Finding] = []
    if kinds & _PICTURE:
        found += _find_pictures(text, marks)
    if kinds & _IN_PRIVATE:
        found += _find_private(text)
    covered = [(e.start, e.start + len(e.before)) for e in found if isinstance(e, Edit)]
    yield from _merge(found, covered, _find_controls(text) if kinds & _CONTROL else ())


def _merge(found: list[Finding], covered: list[tuple[int, int]], more: Iterable[Edit]) -> Iterator[Finding]:
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


def _find_pictures(text: str, marks: NDArray[np.uint8]) -> Iterator[Edit]:
    places = [m for m in _find_sown(text, marks) if "\u200d" not in m[0]]
    if not places:
        return
    elsewhere = sum(1 for _ in _picture_elsewhere().finditer(text))
    about = elsewhere * _ELSEWHERE + (_PROSE if _is_prose(text) else 0.0)
    many = len(places) >= COMMON_COUNT
    odds = [runs_on + _unusual(m, many=many) for runs_on, m in zip(_run_on(text, places), places, strict=True)]
    # Scattered at random, most of them stand between two ideographs.
    total = about + sum(odds)
    habit = total >= PUT_IN and len(places) > elsewhere
    all_go = habit and (many or any(m["alien"] or m["rare"] for m in places))
    found = {m.start(): m[0] for m, o in zip(places, odds, strict=True) if _goes(m, o, about, total, all_go=all_go)}
    if all_go and len(places) > 1 and total >= SCATTERED:
        # One that something unseen hangs on in front is found already, with that.
        known = {place for start, run in found.items() for place in range(start, start + len(run))}
        scattered = (m for m in _scattered().finditer(text) if m.start() not in known)
        found |= {m.start(): m[0] for m in scattered if not _is_adornment(text, m)}
    for start in sorted(found):
        yield Edit("symbols", "picture-in-word", start, found[start], "", 0.99 if all_go else 0.9)


def _find_sown(text: str, marks: NDArray[np.uint8]) -> Iterator[re.Match[str]]:
    """Where the pattern matches: it is asked only at pictures, and at the start of what hangs together with them."""
    end = 0
    for at in np.flatnonzero(marks & _PICTURE).tolist():
        start = at
        while start > end and marks[start - 1] & _HANGS_ON:
            start -= 1
        match = _sown().match(text, start) if start >= end else None
        end = max(end, match.end() if match else at + 1)
        if match:
            yield match


def _goes(match: re.Match[str], odds: float, about: float, total: float, *, all_go: bool) -> bool:
    """Whether a picture goes: with all others (a star only where the text runs on), or on its own evidence."""
    if match["alien"]:
        return True
    if match["rare"]:
        return all_go or (total >= 0 and about + odds >= PUT_IN)
    return all_go and (odds >= _USUAL or total >= 2 * SCATTERED)


def _is_adornment(text: str, match: re.Match[str]) -> bool:
    """Whether a picture outside words is one that people use, behind a sentence; or a picture made of several."""
    return "\u200d" in match[0] or (text[match.start() - 1] in "。！？!?～~" and _of_picture(match[0]) == _USUAL)


def _is_prose(text: str) -> bool:
    han, signs = len(re.findall(f"[{HAN}]", text)), len(re.findall("[，。、；：,;]", text))
    return han >= _PROSE_CHARS and signs * _PROSE_SIGNS >= han


def _unusual(match: re.Match[str], *, many: bool) -> float:
    if match["alien"]:
        return _ALIEN
    if match["rare"]:
        return _of_picture(match[0])
    return 0.0 if many else _USUAL


def _of_picture(run: str) -> float:
    picture = run.lstrip(_UNSEEN)[:1]
    return _USUAL if picture in _USUAL_PICTURES or "\U0001f600" <= picture <= "\U0001f64f" else _UNUSUAL


_UNSEEN = "\u200b\u200c\u2060\ufe0e\ufe0f\ufeff\u00ad"


def _run_on(text: str, places: list[re.Match[str]]) -> Iterator[float]:
    """For each place the odds that no clause ends there, in the text without all of them.

    Two characters on both sides, as one stretch, against the same with a sign between them.
    """
    edges = [0, *(edge for m in places for edge in m.span()), len(text)]
    pieces = [fold_text(text[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    for before, after in pairwise(pieces):
        left, right = before[-2:].rjust(2, "\n"), after[:2]
        gain = _chain(left, right) - max(_chain(left, sign + right) for sign in "，。")
        yield _odds(min(max(gain, _RUNS_ON[0][0]), _RUNS_ON[-1][0]))


def _chain(context: str, text: str) -> float:
    whole = context + text
    return sum(next_score(whole[i - 2 : i], whole[i]) for i in range(2, len(whole)))


def _odds(x: float) -> float:
    (x0, y0), (x1, y1) = next((a, b) for a, b in pairwise(_RUNS_ON) if x <= b[0])
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@cache
def _scattered() -> re.Pattern[str]:
    """Pictures with something on both sides, in a text that is sown with them."""
    kinds = symbol_class("alien", "rare")
    unseen = symbol_class("hidden", "joiner", "mark", "select") + "\U0001f3fb-\U0001f3ff"
    return re.compile(f"(?<=[^\\s{kinds}])[{kinds}][{kinds}{unseen}]*+(?!\\s|\\Z)")


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
