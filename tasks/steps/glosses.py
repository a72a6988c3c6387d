"""Pinyin in brackets that clone sites put behind some characters: `產(chǎn)業(yè)發(fā)展` → `產業發展`.

A dictionary's, a textbook's or an author's gloss stays. What tells them apart is a law of the mangler
(tasks/damage/mangler.py): its table is fixed, so a character in it is glossed at every occurrence, and it holds only
characters whose two scripts differ. People gloss a word once, or all words of a text, and gloss what is hard to read.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from schemas.document import Context, Edit
from tasks.damage.mangler import decode_pair, encode
from tasks.scripts import simplify, traditionalize
from tasks.steps.pinyin import GLOSS, LETTERS, LONGEST, fits, is_syllable, reads

SWALLOWED = re.compile(rf"(?<=[?\ufffd\u3400-\u9fff])[{LETTERS}]{{1,{LONGEST}}}+ ?[)）]")
"""A gloss whose opening bracket a decoder swallowed together with a stray byte: `?jié)`, `肟cè)`."""

VARIANT_SHARE = 0.4
"""Share of Chinese running text whose character differs between the scripts (news 0.33, essays 0.38; measured on
5,000 news items and 200 essays): the odds that a gloss which somebody wrote stands behind such a character."""

REPEAT_SHARE = 0.3
"""Odds that somebody who glossed a character glosses its next occurrence too (a guess, on the high side)."""

LAWLESS = 0.2
"""Evidence that a character takes away which is glossed less often than not (a guess: odds of 1.6 to 1)."""

ALONE_SHARE = 0.25
"""Of glossed characters that stand alone between two signs, as items of a word list do (`學(xué)、習(xí)`): with
more of them the glosses are the author's. Of ideographs in running text 2 in 1,000 stand so (essays: 9)."""

ENOUGH = 2.0
"""Evidence (decimal logarithm of the odds) from which on a document counts as mangled: 100 to 1."""


class Gloss(NamedTuple):
    """One syllable in brackets."""

    start: int
    """Offset of the opening bracket (of the first letter, where the bracket was swallowed)."""
    end: int
    char: str
    """The character before it; empty at the start of a text."""
    reading: str
    fits: bool
    """Whether it is a reading of that character."""
    text: str


class Site(NamedTuple):
    """What a document shows of the site that mangled it."""

    table: dict[str, str]
    """Glossed character → its gloss, brackets and all."""
    certain: frozenset[str]
    """Those of the table that are glossed at every occurrence: the law of the mangler."""
    misfits: tuple[Gloss, ...]
    """Glosses that do not belong to the character before them: traces of a shift."""


def read_glosses(text: str) -> Iterator[Gloss]:
    """All glosses of a text, in order, those with a swallowed bracket left out."""
    for match in GLOSS.finditer(text):
        if is_syllable(match[1]):
            char = text[match.start() - 1 : match.start()]
            yield Gloss(match.start(), match.end(), char, match[1], bool(char) and fits(match[1], char), match[0])


def read_swallowed(text: str) -> Iterator[Gloss]:
    """Syllables before a bracket that closes and was never opened."""
    for match in SWALLOWED.finditer(text):
        reading = match[0].rstrip(" )）")
        if is_syllable(reading):
            char = text[match.start() - 1 : match.start()]
            yield Gloss(match.start(), match.end(), char, reading, fits=False, text=match[0])


@lru_cache(maxsize=2)
def read_site(text: str) -> Site | None:
    """The mangler's table as far as the document shows it; None where its glosses are nobody's or a person's.

    Remembered for the two last texts: the step `shift` asks first, then `glosses`, of the same text if none is shifted.
    """
    glosses = list(read_glosses(text))
    if not glosses or sum(_is_alone(text, gloss) for gloss in glosses) > ALONE_SHARE * len(glosses):
        return None
    counts = Counter((gloss.char, gloss.reading) for gloss in glosses)
    occurrences = Counter(text)
    table: dict[str, str] = {}
    lawful = set()
    for gloss in glosses:
        char, glossed = gloss.char, counts[gloss.char, gloss.reading]
        if _differs(char) and (gloss.fits or (glossed == occurrences[char] and _is_its_own(gloss, glossed))):
            table.setdefault(char, gloss.text)
            if glossed * 2 >= occurrences[char]:
                lawful.add(char)
    misfits = [*(g for g in glosses if _is_misfit(g, table, lawful)), *read_swallowed(text)]
    by_hand = sum(g.fits and not _differs(g.char) for g in glosses)
    evidence = Counter(g.char for g in glosses if g.char in lawful)
    if not _is_mangled(
        evidence, len(table) - len(lawful), by_hand, swallowed=any(g.text[0] not in "(（" for g in misfits)
    ):
        return None
    certain = frozenset(char for char, n in evidence.items() if n == occurrences[char])
    return Site(table, certain, tuple(sorted(misfits)))


def _is_alone(text: str, gloss: Gloss) -> bool:
    """Whether the glossed character is an item by itself: no word on either side, nor a gloss before it."""
    before = text[max(0, gloss.start - 2) : gloss.start - 1]
    return not re.match(r"[\w)）?\ufffd]", before) and not re.match(r"\w", text[gloss.end : gloss.end + 1])


def _is_its_own(gloss: Gloss, glossed: int) -> bool:
    """A reading that pypinyin lacks is one of the site's all the same if it never varies, and can't be of a shift."""
    return glossed >= 3 and not _may_straddle(gloss.char, gloss.reading)


def _is_misfit(gloss: Gloss, table: dict[str, str], lawful: set[str]) -> bool:
    """Whether it can't belong to the character before it, or need not (輸 is read shū and shù, and so is 數)."""
    if gloss.char not in table:
        return not gloss.fits
    return gloss.char not in lawful and _may_straddle(gloss.char, gloss.reading)


def _may_straddle(char: str, reading: str) -> bool:
    """Whether the last byte of this character begins one of this reading: the mangler may have struck between two."""
    *_, last = encode(char) or b"\0"
    pairs = (decode_pair(bytes((last, trail))) for trail in range(0x81, 0xFF)) if last > 0x80 else ()
    return any(reads(c, reading) for c in pairs if c)


def _is_mangled(lawful: Counter[str], lawless: int, by_hand: int, *, swallowed: bool) -> bool:
    """Weigh glosses that keep the mangler's law against those that break it.

    Once the odds are enough, all glosses behind characters that differ are the mangler's: bare occurrences come from
    lines that were not mangled, and from shifts that were repaired.
    """
    repeats = lawful.total() - len(lawful)
    evidence = -len(lawful) * math.log10(VARIANT_SHARE) - repeats * math.log10(REPEAT_SHARE) + 2 * swallowed
    return len(lawful) >= 2 and evidence - lawless * LAWLESS >= ENOUGH and by_hand * 10 <= lawful.total()


def _differs(char: str) -> bool:
    return simplify(char) != char or traditionalize(char) != char


def find(text: str, context: Context) -> Iterator[Edit]:  # noqa: ARG001 (a step's signature)
    """Remove the glosses of the mangler's table. See `Step` for the contract."""
    if not ("(" in text or "（" in text):
        return
    site = read_site(text)
    if site is None:
        return
    for gloss in read_glosses(text):
        if gloss.char in site.table and (gloss.fits or gloss.text == site.table[gloss.char]):
            confidence = 1.0 if gloss.char in site.certain else 0.9
            yield Edit("glosses", "mangler", gloss.start, gloss.text, "", confidence)
