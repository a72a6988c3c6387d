"""Text that was read with the wrong codec, escapes that were never resolved, and what of it cannot be repaired.

Four repairs take turns until none finds anything: escapes (`escapes.py`), Chinese read wrongly (here, by the search in
`unreading.py`), single signs inside Latin text (`latin.py`), and ftfy for all other wrong readings. The order is
load-bearing: ftfy takes pairs of `ÖÐ¹ú` for UTF-8 and makes it unrecoverable. docs/adr/0004 says why it is safe.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from schemas.document import Context, Damage, Edit, Finding
from tasks.damage.misreadings import GARBLED, Misreading, has_utf8_structure, read
from tasks.language import Kinds, fold_text, kinds_in, mean_score, pair_step, table_of_kinds
from tasks.scripts import simplify
from tasks.steps.choosing import OPEN, SURE, Choice, choose
from tasks.steps.edits import apply
from tasks.steps.escapes import may_be_escaped, unescape
from tasks.steps.latin import ANY_FOR_FTFY, FIRST_LETTERS, FIRST_SIGNS, fix_latin, fix_signs, gate_for_ftfy
from tasks.steps.unreading import (
    LOST_MARKS,
    MOST_BYTES,
    UTF8_AS_GB18030,
    UTF8_AS_GBK,
    Repair,
    Stretch,
    decoded_pairs,
    doubtful_stretches,
    is_proved,
    paired,
    prepare_search,
    reads_as_prose,
    stretch_at,
    unread,
)

STEP = "mojibake"

MAX_ROUNDS = 6
"""Text read wrongly three times takes three rounds, with escapes around it one more; the last finds nothing."""

BUDGET = 100_000
"""Characters that are searched in one document for each reading, over all rounds, at about 50 to 100 µs each. No text
opens the gates of more than three or four readings. What lies behind is left as it is."""

MOST_BARREN = 10_000
"""Characters searched under one reading without any likely repair, after which the reading is given up: damage comes
in lines and pages, and noise (`ééééé`) would take the whole budget for each reading."""

REACH = 200
"""Characters searched to either side of a suspicious place: damaged text is suspicious again within that distance."""

NEAR = 6
"""Characters to either side that are searched first, to see whether there is anything to gain."""

LEAST_NEAR = -4.5
"""Mean score of what comes out of these few characters where GBK and Big5 were confused."""

PIECE = 4000
"""Characters searched at once: the search remembers a path for each of them."""

_CUT = re.compile("(?s:.*)(?:(?<=[\x00-\x7f])|(?=Ã[¢-¯])|(?<!Ã)(?=[â-ï][^\x00-\x7f]))")
"""Up to the last place where no character can be cut in two: behind ASCII, before what begins one of UTF-8 that was
read as Windows-1252, once or twice."""

_LOST_GATE = re.compile("[烫屯葺锟鈥\ufffdï]")
_LOST = re.compile(
    "(?P<memory>烫{3,1000}+|屯{3,1000}+|葺{3,1000}+)|(?P<sign>鈥[?\ufffd])"
    "|(?:锟斤拷){1,1000}+锟?|\ufffd{1,1000}+|(?:ï¿½){1,1000}+"
)
"""`锟斤拷` is U+FFFD in UTF-8, twice, read as GBK (`锟` is left of one at the end of a run), `ï¿½` the same read as
Windows-1252. `鈥?` is a sign of UTF-8 (E2 80) read as GBK whose last byte is gone. `烫`, `屯` and `葺` are what
Microsoft's debuggers fill memory with (CC, CD, DD)."""

MAX_DEPTH = 3
"""Wrong readings inside one another that the search goes through."""

LEAST_SCORE = -4.3
"""Mean score that text must have that was repaired twice over."""

LEAST_NESTED = 3
"""Characters of a repair that are worth a second reading."""

LEAST_CLEAR = 8
"""Characters of a repair between GBK and Big5 that needs no other to bear it out."""

_LATIN = re.compile("[¡-¯±-¶¸-ÖØ-þ]")
"""Anything read as Latin-1 or Windows-1252 has one of these (no degree, times or middle dot: Chinese has those)."""

UTF8_AS_1252 = Misreading("utf-8", "windows-1252")
GBK_AS_1252 = Misreading("gbk", "windows-1252")
BIG5_AS_1252 = Misreading("big5", "windows-1252")
GBK_AS_BIG5 = Misreading("gbk", "big5")
BIG5_AS_GBK = Misreading("big5", "gbk")

UTF8_AS_1251 = Misreading("utf-8", "windows-1251")
UTF8_AS_874 = Misreading("utf-8", "windows-874")

READINGS = (
    *(UTF8_AS_GBK, UTF8_AS_1252, GBK_AS_1252, BIG5_AS_1252, GBK_AS_BIG5, BIG5_AS_GBK),
    *(UTF8_AS_1251, UTF8_AS_874),
)

READ_IN_FULL = {UTF8_AS_GBK: UTF8_AS_GB18030}
"""For a proof: readings under which any character can be shown that the plain ones show or lose."""

HIGH = "\x80-\xff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc–—‘’‚“”„†‡•…‰‹›€™"
"""The upper half of Latin-1 and of Windows-1252."""


def find(text: str, context: Context) -> Iterable[Finding]:  # noqa: ARG001  (the contract of steps)
    """Repair what was read with the wrong codec; mark what was lost for good.

    Edits have a confidence of 1.0 where all bytes were there and reading the repair wrongly again gives what was
    observed, and less where lost bytes were chosen by the language model. At most `BUDGET` characters are searched.
    """
    if not (may_be_escaped(text) or _may_be_misread(text)):
        return
    edits: list[Edit] = []
    repaired, budget = text, _Budget(BUDGET)
    for _ in range(MAX_ROUNDS):
        before = repaired
        for repair in (unescape, lambda t: _reread(t, budget), fix_signs, fix_latin):
            found = list(repair(repaired))
            found = found if repair is unescape else _without_examples(repaired, found)
            if found:
                edits = compose(edits, found, text, repaired)
                repaired = apply(repaired, found)
        if repaired == before:
            break
    yield from edits
    yield from _damage(text, edits, budget)


_SPEAKS_OF_IT = re.compile("乱码|亂碼|文字化け|mojibake", re.IGNORECASE)
_NAMES_CODEC = re.compile(
    rf"{_SPEAKS_OF_IT.pattern}|\\b(?:UTF-?8|GBK|GB-?2312|GB-?18030|Big-?5|Latin-?1|ISO-8859-1|(?:Windows|CP)-?(?:936|950|1252))\\b",
    re.IGNORECASE | re.ASCII,
)
"""What people write who show mojibake: that stays as it is."""

_OPENED = re.compile("[\"“「『'‘`(（《][^\"”」』'’`)）》\n]{0,40}\\Z")
_CLOSES = re.compile("[^\"“「『'‘`(（《\n]{0,40}[\"”」』'’`)）》]")


def _without_examples(text: str, edits: Sequence[Edit]) -> list[Edit]:
    """Edits but those in text about wrong readings: `“中国”用GBK打开就成了“涓浗”`.

    An example stands in a line that is sound for the rest, and that speaks of mojibake; or it stands in quotes, in such
    a line, in one that names a codec, or anywhere in a text that speaks of mojibake.
    """
    if not edits or not _NAMES_CODEC.search(text):
        return list(edits)
    damaged = bytearray(len(text))
    for edit in edits:
        damaged[edit.start : edit.start + len(edit.before)] = b"\1" * len(edit.before)
    speaks_of_it = _SPEAKS_OF_IT.search(text) is not None
    return [edit for edit in edits if not _is_example(text, edit, damaged, speaks_of_it=speaks_of_it)]


def _is_example(text: str, edit: Edit, damaged: bytearray, *, speaks_of_it: bool) -> bool:
    end = edit.start + len(edit.before)
    left = text[max(0, edit.start - REACH) : edit.start].rpartition("\n")[2]
    right = text[end : end + REACH].partition("\n")[0]
    if damaged.count(1, edit.start - len(left), end + len(right)) * 2 > len(left) + len(edit.before) + len(right):
        return False
    around = f"{left}\n{right}"
    quoted = _OPENED.search(left[-41:]) is not None and _CLOSES.match(right) is not None
    return bool(_SPEAKS_OF_IT.search(around) or (quoted and (speaks_of_it or _NAMES_CODEC.search(around))))


class _Budget:
    """What is left of the work that one document may cost, for each reading."""

    def __init__(self, characters: int) -> None:
        self.left = dict.fromkeys(READINGS, characters)
        self.barren = dict.fromkeys(READINGS, 0)
        """Characters searched since the last likely repair."""
        self.suspects = 0
        """Places that look like UTF-8 read as GBK, repaired or not."""

    def take(self, misreading: Misreading, characters: int) -> bool:
        """Whether so many characters may still be searched; they are, if so."""
        granted = characters <= self.left[misreading] and self.barren[misreading] < MOST_BARREN
        self.left[misreading] -= characters if granted else 0
        return granted

    def note(self, misreading: Misreading, characters: int, *, fruitful: bool) -> None:
        """What came of searching so many characters."""
        self.barren[misreading] = 0 if fruitful else self.barren[misreading] + characters


Found = tuple[str, Repair]
"""A repair with the name of its rule."""


def _reread(text: str, budget: _Budget) -> list[Edit]:
    """Repairs of Chinese that was read wrongly, with the characters that their bytes and the text around them leave."""
    found = _found(text, budget, MAX_DEPTH)
    options: dict[int, tuple[str, ...]] = {}
    pieces: list[str] = []
    end = length = 0
    for _, repair in found:
        pieces += text[end : repair.start], repair.after
        length += repair.start - end
        options |= {length + i: o for i, o in enumerate(repair.options) if len(o) > 1}
        length += len(repair.after)
        end = repair.end
    choices = choose("".join([*pieces, text[end:]]), options) if options else {}
    return list(_edits(text, found, choices))


def _edits(text: str, found: Sequence[Found], choices: Mapping[int, Choice]) -> Iterator[Edit]:
    """Repairs as edits, with what was chosen; `choices` are by place in the repaired text."""
    growth = 0
    for rule, repair in found:
        start = repair.start + growth
        chosen = [choices.get(start + i, Choice(char, 1.0)) for i, char in enumerate(repair.after)]
        before, growth = text[repair.start : repair.end], growth + len(repair.after) - (repair.end - repair.start)
        if any(choice.odds < 1.0 for choice in chosen) and not _agree(before, repair, chosen, rule):
            chosen = [Choice(char, 1.0) for char in _shown(repair.options)]
        confidence = min([repair.confidence, *(choice.odds for choice in chosen if choice.char != OPEN)])
        after = "".join(choice.char for choice in chosen)
        if sign := _swallowed(text, repair):
            after, confidence = after + sign, min(confidence, SURE)
        if before != after:
            yield Edit(STEP, rule, repair.start, before, after, confidence)


_CLOSED = re.compile("[ ]{0,4}(?:[,:;\\]}，：；。\n]|\\Z)")
"""What follows something that was closed."""


def _swallowed(text: str, repair: Repair) -> str:
    """The ASCII sign that a reader took for the second byte of a pair, where its line tells: the other one of two."""
    if text[repair.end - 1] not in LOST_MARKS:
        return ""
    left, right = text[max(0, repair.start - REACH) : repair.end], text[repair.end : repair.end + REACH]
    line = left.rpartition("\n")[2] + right.partition("\n")[0]
    if right[:1] == "*" != right[1:2] and line.count("**") % 2:
        return "*"
    if not _CLOSED.match(right):
        return ""
    return '"' if line.count('"') % 2 else ")" if line.count("(") == line.count(")") + 1 else ""


def _agree(before: str, repair: Repair, chosen: Sequence[Choice], rule: str) -> bool:
    """Whether what was chosen gives what was observed as a whole: neighbours may have been chosen one by one."""
    misreading = next((m for m in READINGS if m.rule == rule), None)  # none: it was read wrongly twice
    cells = [o if c.char == OPEN else (c.char,) for o, c in zip(repair.options, chosen, strict=True)]
    return misreading is None or is_proved(before, cells, READ_IN_FULL.get(misreading, misreading))


def _found(text: str, budget: _Budget, depth: int) -> list[Found]:
    """Repairs of Chinese that was read wrongly, in order, each by the reading under which it gains most."""
    readings = [m for m in _suspected(_Seen.of(text)) if _gate(m).search(text)]
    beyond_doubt = _beyond_doubt(text, readings) if len(readings) > 1 else []
    candidates: list[Found] = []
    for misreading in readings:
        accepted = _accepted(text, misreading, budget, depth, beyond_doubt)
        candidates += accepted
        beyond_doubt = _with_prose(beyond_doubt, accepted, misreading)
    candidates.sort(key=lambda f: -f[1].gain)
    covered = bytearray(len(text) if candidates else 0)
    found = []
    for rule, repair in candidates:
        if not any(covered[repair.start : repair.end]):
            covered[repair.start : repair.end] = b"\1" * (repair.end - repair.start)
            found.append((rule, repair))
    return sorted(found, key=lambda f: f[1].start)


class _Explained(NamedTuple):
    """What nobody need look at again under another reading."""

    start: int
    end: int
    misreading: Misreading


def _beyond_doubt(text: str, readings: Sequence[Misreading]) -> list[_Explained]:
    """Stretches that are whole and read like prose under one reading, in order: not one in a text that is sound.

    Each of the others would search them in vain, and at length: bytes of a codec make no sense in another one.
    """
    found: list[_Explained] = []
    for misreading in readings:
        found = sorted([*found, *_explained(text, misreading, found)]) if misreading in _TELLING else found
    return found


def _with_prose(known: list[_Explained], accepted: Sequence[Found], misreading: Misreading) -> list[_Explained]:
    """The same with what the search found: the readings that follow need not look there either."""
    if misreading not in _TELLING:
        return known
    repairs = (repair for rule, repair in accepted if rule == misreading.rule and repair.is_whole)
    prose = (r for r in repairs if reads_as_prose(r.after, r.gain, r.quality * len(r.after)))
    found = [_Explained(r.start, r.end, misreading) for r in prose if _chinese(r.after) * 2 >= len(r.after)]
    return sorted([*found, *(old for old in known if not any(_overlap(old, new) for new in found))])


_TELLING = (UTF8_AS_GBK, UTF8_AS_1252, GBK_AS_1252, BIG5_AS_1252)
"""Readings that leave no doubt where they explain a stretch. Between GBK and Big5 nearly any text is valid in both."""

MOST_TRIED = 50
"""Places in a row that are tried in vain, after which a reading explains nothing more."""


def _explained(text: str, misreading: Misreading, others: Sequence[_Explained]) -> Iterator[_Explained]:
    """Stretches that this reading explains, outside of what others do."""
    end = explained = tried = 0
    for match in _gate(misreading).finditer(text):
        if match.start() < end or not any(_unexplained(*match.span(), others)):
            continue
        if tried == MOST_TRIED:
            break
        for start in {_start_of_run(text, match.start(), end), match.start()}:
            stretch = stretch_at(text, start, misreading)
            if stretch is None or not _is_prose(stretch) or not _is_anchored(text, start, misreading, explained):
                continue
            if next(_unexplained(start, stretch.end, others), None) == (start, stretch.end):
                yield _Explained(start, stretch.end, misreading)
                end, explained, tried = stretch.end, stretch.end, 0
                break
        else:
            end, tried = match.end(), tried + 1


def _is_anchored(text: str, start: int, misreading: Misreading, last: int) -> bool:
    """Whether a first character begins here for sure: bytes of GBK and Big5 make sense out of step, and end in letters.

    They go on after a few odd ones, where the last explained stretch ended.
    """
    if misreading.written == "utf-8" or not "@" <= text[start - 1 : start] < "\u2e80":
        return True
    return 0 < last <= start <= last + NEAR and "\n" not in text[last:start]


def _start_of_run(text: str, place: int, least: int) -> int:
    """Where the run beyond ASCII begins that something stands in: there a character begins for sure."""
    for start in range(place, max(least, place - REACH), -1):
        if text[start - 1] < "\x80":
            return start
    return max(least, place - REACH)


def _is_prose(stretch: Stretch) -> bool:
    is_chinese = _chinese(stretch.out) * 2 >= len(stretch.out)
    return is_chinese and reads_as_prose(stretch.out, stretch.gain, stretch.score)


def _overlap(a: _Explained, b: _Explained) -> bool:
    return a.start < b.end and b.start < a.end


def _unexplained(start: int, end: int, others: Sequence[_Explained]) -> Iterator[tuple[int, int]]:
    """What other readings leave of a piece."""
    for other in others[bisect_left(others, start, key=lambda o: o.end) :]:
        if other.start >= end:
            break
        if other.start > start:
            yield start, other.start
        start = max(start, other.end)
    if start < end:
        yield start, end


def _accepted(
    text: str, misreading: Misreading, budget: _Budget, depth: int, beyond_doubt: Sequence[_Explained]
) -> list[Found]:
    """Repairs that stand, with the names of their rules; those that only another repair makes readable included."""
    repairs: list[Repair] = []
    own = [explained for explained in beyond_doubt if explained.misreading == misreading]
    others = [explained for explained in beyond_doubt if explained.misreading != misreading]
    for start, end in _regions(text, misreading, budget, own, others):
        pieces = (piece for around in _unexplained(start, end, others) for piece in _pieces(text, *around))
        for left, right in pieces:
            if budget.take(misreading, right - left):
                found = unread(text[left:right], misreading)
                budget.note(misreading, right - left, fruitful=any(_is_likely(r, misreading) for r in found))
                repairs += (r._replace(start=left + r.start, end=left + r.end) for r in found)
    if not repairs:
        return []
    all_found = repairs
    repairs = [r for r in repairs if _is_possible(text, r, misreading) or _holds_any(r, own)]
    good = _good(repairs, misreading) or _scattered(text, repairs, misreading)
    if misreading in (GBK_AS_BIG5, BIG5_AS_GBK):
        good = _continued(text, all_found, good, misreading)
        good = sorted([*good, *_in_poor_lines(text, good, misreading, budget)]) if good else good
    accepted = [(misreading.rule, r) for r in good]
    if depth > 1:
        poor = (r for r in repairs if r not in good and len(r.after) >= LEAST_NESTED)
        accepted += (nested for r in poor if (nested := _nested(r, misreading, budget, depth)) is not None)
    return accepted


def _holds_any(repair: Repair, explained: Sequence[_Explained]) -> bool:
    """Whether anything of a repair is beyond doubt: then strangers beside it are what a lost byte has left."""
    return _meets(explained, repair.start, repair.end)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A stretch cut into pieces that are searched at once."""
    while end - start > PIECE:
        cut = _CUT.match(text, start + PIECE - REACH, start + PIECE)
        stop = cut.end() if cut is not None else start + PIECE
        yield start, stop
        start = stop
    yield start, end


def _nested(repair: Repair, misreading: Misreading, budget: _Budget, depth: int) -> Found | None:
    """A repair that is itself mojibake, taken further: text that was read wrongly twice."""
    cells, rules, confidence = list(repair.options), list[str](), repair.confidence
    for again in (lambda t: _found(t, budget, depth - 1), _found_by_ftfy) * 2:
        for name, inner in reversed(again(_shown(cells))):
            cells[inner.start : inner.end] = inner.options
            rules += (r for r in name.split("+") if r not in rules)
            confidence = min(confidence, inner.confidence)
    after = _shown(cells)
    if not rules or mean_score(after) < LEAST_SCORE or _chinese(after) * 2 < len(after):
        return None
    return "+".join([misreading.rule, *rules]), repair._replace(
        after=after, options=tuple(cells), confidence=confidence
    )


def _shown(cells: Iterable[tuple[str, ...]]) -> str:
    """A text in which what is not known is open."""
    return "".join(cell[0] if len(cell) == 1 else OPEN for cell in cells)


def _found_by_ftfy(text: str) -> list[Found]:
    return [
        (
            e.rule,
            Repair(e.start, e.start + len(e.before), e.after, 0.0, 0.0, tuple((c,) for c in e.after), e.confidence),
        )
        for e in fix_latin(text)
    ]


def _is_possible(text: str, repair: Repair, misreading: Misreading) -> bool:
    """Whether nothing speaks against the reading: no kana, no structure of UTF-8, no stranger beside it."""
    observed = text[repair.start : repair.end]
    if misreading.written == "utf-8":
        return True
    if misreading.read != "windows-1252":
        return not _is_kana(observed)
    beside = text[max(0, repair.start - 1) : repair.start] + text[repair.end : repair.end + 1]
    is_utf8 = len(observed) > 2 and has_utf8_structure(observed)  # of two letters it is an accident: `Ê±`, 时
    return not is_utf8 and all(c < "\x80" or c > "\u2e80" or c in "“”‘’—…" for c in beside)


def _good(repairs: Sequence[Repair], misreading: Misreading) -> list[Repair]:
    """Those that are clear; and where there is much of that, those that are likely."""
    clear = [r for r in repairs if _is_clear(r, misreading)]
    if len(clear) < 2 and sum(len(r.after) for r in clear) < 6:
        return clear
    return [r for r in repairs if _is_clear(r, misreading) or _is_likely(r, misreading)]


def _scattered(text: str, repairs: Sequence[Repair], misreading: Misreading) -> list[Repair]:
    """Single characters between digits and signs that bear each other out: `6ÔÂ25ÈÕ14Ê±`."""
    if misreading not in (GBK_AS_1252, BIG5_AS_1252):
        return []
    beside = (text[max(0, r.start - 1) : r.start] + text[r.end : r.end + 1] for r in repairs)
    alone = [r for r, signs in zip(repairs, beside, strict=True) if not re.search("[A-Za-z]", signs)]
    likely = [r for r in alone if r.gain >= 2 and r.quality >= LEAST_SCORE]
    return likely if len(likely) >= 3 and len(likely) == len(repairs) else []


def _continued(text: str, found: Sequence[Repair], good: Sequence[Repair], misreading: Misreading) -> list[Repair]:
    """Good repairs between GBK and Big5, with the likely ones beside them, kana or not: `さぱ` is 今天 there."""
    chosen = {r.start for r in good}
    for order in (found, found[::-1]):
        last: Repair | None = None
        for repair in order if good else ():
            near = last is not None and _is_beside(text, *sorted((last, repair)))
            if repair.start in chosen or (near and _is_likely(repair, misreading)):
                chosen.add(repair.start)
                last = repair
    return [r for r in found if r.start in chosen]


def _in_poor_lines(text: str, good: Sequence[Repair], misreading: Misreading, budget: _Budget) -> Iterator[Repair]:
    """Likely repairs in lines of a damaged text that no gate noticed, and that read like nothing as they stand."""
    starts = {text.rfind("\n", 0, r.start) + 1 for r in good}
    for match in _LINE.finditer(text):
        line = match.group()[:PIECE]
        if match.start() in starts or not budget.take(misreading, len(line)) or mean_score(line) > LEAST_SCORE:
            continue
        found = (r._replace(start=match.start() + r.start, end=match.start() + r.end) for r in unread(line, misreading))
        yield from (r for r in found if len(r.after) >= 2 and _is_likely(r, misreading))


_LINE = re.compile("[^\n]{2,}+")


def _is_beside(text: str, left: Repair, right: Repair) -> bool:
    """Whether no more than a number or a word stands between two repairs, on one line."""
    return right.start - left.end <= NEAR and "\n" not in text[left.end : right.start]


def _is_kana(text: str) -> bool:
    """Whether a run is Japanese rather than Big5 read as GBK, in which only one character in six comes out as kana."""
    return sum("\u3041" <= c <= "\u30ff" for c in text) * 2 > len(text)


def _is_clear(repair: Repair, misreading: Misreading) -> bool:
    """Whether a repair stands on its own, in a text that shows no other trace of this reading.

    Where UTF-8 was read, its structure is evidence besides the model: few other texts can be taken for it. Between GBK
    and Big5 nearly every text can be taken for the other, so only a long run that reads like prose will do.
    """
    n = _chinese(_sure(repair))
    if misreading == UTF8_AS_GBK and _is_foreign(repair.after):
        return repair.gain >= 4
    if len(set(repair.after)) <= 2 < n:  # `ááááááá`
        return False
    if misreading.written == "utf-8":
        if misreading in (UTF8_AS_1251, UTF8_AS_874) and n < LEAST_NESTED:
            return False
        least = -4.8 if n >= 4 else -4.3 if repair.is_whole else -3.0
        return n >= 2 and n * 2 >= len(repair.after) and repair.gain >= 4 and repair.quality >= least
    if misreading.read == "windows-1252":
        return n >= 2 and repair.gain >= 4 and repair.quality >= (-3.6 if n < 4 else -4.3)
    return n >= LEAST_CLEAR and repair.gain >= 10 and repair.quality >= -3.0


def _sure(repair: Repair) -> str:
    """What a repair says by itself: what its bytes, or few of them and the model, leave no doubt about."""
    known = _shown(repair.options)
    if repair.is_whole or len(known) - known.count(OPEN) >= LEAST_NESTED:
        return known
    choices = choose(repair.after, {i: o for i, o in enumerate(repair.options) if len(o) > 1})
    return "".join(choices[i].char if i in choices else char for i, char in enumerate(known))


def _chinese(text: str) -> int:
    """Number of ideographs and of signs as wide."""
    return sum("\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uff65" for c in text)


def _is_foreign(text: str, least: int = 4) -> bool:
    """Whether a text is a word of Greek or Cyrillic letters, which the model does not know."""
    letters = [c for c in text if c.isalpha()]
    one = all("\u0370" <= c <= "\u03ff" for c in letters) or all("\u0400" <= c <= "\u04ff" for c in letters)
    return one and len(letters) >= least and len(letters) == len(text)


def _is_likely(repair: Repair, misreading: Misreading) -> bool:
    """Whether a repair is good enough in a text where others of the same reading are clear."""
    if misreading.written == "utf-8":
        return repair.gain >= 1 and (_chinese(repair.after) * 2 >= len(repair.after) or _is_foreign(repair.after, 1))
    if misreading.read == "windows-1252":
        return repair.gain >= 2 and repair.quality >= -5.5
    return repair.gain >= 2 and repair.quality >= -4.5


def compose(first: Sequence[Edit], second: Sequence[Edit], old: str, middle: str) -> list[Edit]:
    """Edits of `old` that do at once what `first` (from `old` to `middle`) and then `second` (on `middle`) do."""
    if not first or not second:
        return [*first, *second]
    composed = []
    shift = 0  # offsets in `middle` minus offsets in `old`, before the group
    for group in _groups(first, second):
        start, end = min(s.start for s in group), max(s.end for s in group)
        growth = sum(len(s.edit.after) - len(s.edit.before) for s in group if s.is_first)
        before = old[start - shift : end - shift - growth]
        inner = [s.edit._replace(start=s.start - start) for s in group if not s.is_first]
        after = apply(middle[start:end], inner)
        shift += growth
        if before != after:
            rule = "+".join(dict.fromkeys(s.edit.rule for s in group))
            confidence = min(s.edit.confidence for s in group)
            composed.append(Edit(STEP, rule, start + growth - shift, before, after, confidence))
    return composed


class _Span(NamedTuple):
    """What an edit covers of the text between two rounds."""

    start: int
    end: int
    is_first: bool
    edit: Edit


def _groups(first: Sequence[Edit], second: Sequence[Edit]) -> Iterator[list[_Span]]:
    """Edits of two rounds in order, those together that touch the same characters."""
    spans = [_Span(e.start, e.start + len(e.before), False, e) for e in second]
    shift = 0
    for e in first:
        spans.append(_Span(e.start + shift, e.start + shift + len(e.after), True, e))
        shift += len(e.after) - len(e.before)
    group: list[_Span] = []
    end = -1
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        empty = span.start == span.end or any(s.start == s.end == span.start for s in group)
        if group and (span.start > end or (span.start == end and not empty)):
            yield group
            group = []
        group.append(span)
        end = max(end, span.end) if len(group) > 1 else span.end
    if group:
        yield group


def _damage(text: str, edits: Sequence[Edit], budget: _Budget) -> Iterator[Damage]:
    """What is lost for good, outside the edits, and what is still garbled, in order."""
    repaired = [(e.start, e.start + len(e.before)) for e in edits]
    found = [*_outside(_lost(text), repaired), *_outside(_garbled(text, edits), repaired)]
    found += _outside(_rejected(text, budget), repaired)
    end = 0
    for damage in sorted(found, key=lambda d: d.start):
        if damage.start >= end:
            yield damage
            end = damage.start + len(damage.text)


def _outside(found: Iterable[Damage], spans: Sequence[tuple[int, int]]) -> Iterator[Damage]:
    """Those that overlap none of the spans; both are in order."""
    i = 0
    for damage in found:
        while i < len(spans) and spans[i][1] <= damage.start:
            i += 1
        if i == len(spans) or spans[i][0] >= damage.start + len(damage.text):
            yield damage


def _lost(text: str) -> Iterator[Damage]:
    end = 0
    for gate in _LOST_GATE.finditer(text):
        match = _LOST.match(text, gate.start()) if gate.start() >= end else None
        if match is not None:
            end = match.end()
            kind = "not-text" if match["memory"] else "mojibake" if match["sign"] else "lost-characters"
            yield Damage(STEP, kind, match.start(), match.group())


def _garbled(text: str, edits: Sequence[Edit]) -> Iterator[Damage]:
    """Garbled characters: kana with private use anywhere, and beside repairs what the same wrong reading shows."""
    spans = [m.span() for m in GARBLED.finditer(text)] if _PRIVATE.search(text) else []
    for misreading in (UTF8_AS_GBK, GBK_AS_BIG5, BIG5_AS_GBK):
        for start, end in _beside(text, edits, misreading):
            for match in _remains(misreading).finditer(text, start, end):
                touching = match.start() == start or match.end() == end
                if misreading != UTF8_AS_GBK or _unlikely(text, match) >= (1 if touching else 3):
                    spans.append(match.span())
    for start, end in sorted(spans):
        yield Damage(STEP, "mojibake", start, text[start:end])


def _rejected(text: str, budget: _Budget) -> Iterator[Damage]:
    """Stretches of lines that are garbled in several places, and that nothing could be made of.

    No line of 51,000 of news, essays and Wikipedia has two such places in twelve characters beyond ASCII.
    """
    if budget.suspects < 2:
        return
    by_line: dict[int, list[re.Match[str]]] = {}
    line = position = 0
    for match in _gate(UTF8_AS_GBK).finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        if not budget.take(UTF8_AS_GBK, 1):
            break
        if _unlikely(text, match) >= 3:
            by_line.setdefault(line, []).append(match)
    for places in by_line.values():
        start, end = places[0].start(), places[-1].end()
        around = text[text.rfind("\n", 0, start) + 1 : end] + text[end : end + REACH].partition("\n")[0]
        if len(places) >= 2 and len(places) * 6 >= sum(c > "\x7f" for c in around):
            yield Damage(STEP, "mojibake", start, text[start:end])


def _beside(text: str, edits: Sequence[Edit], misreading: Misreading) -> Iterator[tuple[int, int]]:
    """Stretches between edits, or an edit and the end of its line, on lines with repairs of one wrong reading."""
    bounds = [(0, 0, False), *((e.start, e.start + len(e.before), misreading.rule in e.rule.split("+")) for e in edits)]
    for (_, start, is_left), (end, _, is_right) in pairwise([*bounds, (len(text), len(text), False)]):
        first, last = text.find("\n", start, end), text.rfind("\n", start, end)
        if first < 0 and (is_left or is_right):
            yield start, end
        elif first >= 0:
            if is_left:
                yield start, first
            if is_right:
                yield last, end


@cache
def _remains(misreading: Misreading) -> re.Pattern[str]:
    """What hardly stands in a damaged line for its own sake."""
    if misreading == UTF8_AS_GBK:
        return _gate(misreading)
    return re.compile("[\u3041-\u3096\u30a1-\u30fa\u3105-\u3129\ue000-\uf848]{1,1000}+")


_PRIVATE = re.compile("[\ue000-\ue864]")


def _regions(
    text: str, misreading: Misreading, budget: _Budget, own: Sequence[_Explained], others: Sequence[_Explained]
) -> Iterator[tuple[int, int]]:
    """Stretches of lines around suspicious places, in order, without overlap."""
    start = end = -1
    doubtful = _Doubtful(text, misreading)
    for match in _gate(misreading).finditer(text):
        if match.end() <= end or not any(_unexplained(*match.span(), others)):
            continue
        if not budget.take(misreading, 1):
            break
        line_start = text.rfind("\n", 0, match.start()) + 1
        line_end = text.find("\n", match.start())
        line_end = len(text) if line_end < 0 else line_end
        left, right = max(line_start, match.start() - REACH), min(line_end, match.end() + REACH)
        if not doubtful.meets(left, right) or not _is_odd(text, match, misreading, budget, own):
            continue
        if start >= 0 and left <= end:
            end = right
            continue
        if start >= 0:
            yield start, end
        start, end = left, right
    if start >= 0:
        yield start, end


class _Doubtful:
    """Where a repair can be found that is long enough to stand, or to be worth a second reading; as far as asked."""

    def __init__(self, text: str, misreading: Misreading) -> None:
        self.text, self.misreading = text, misreading
        self.end = 0
        self.stretches: list[tuple[int, int]] = []

    def meets(self, start: int, end: int) -> bool:
        """Whether there is anything in a stretch; each begins and ends no earlier than the last one."""
        if self.misreading not in (GBK_AS_BIG5, BIG5_AS_GBK):
            return True
        if end > self.end:
            self.end = max(end, start + 4 * REACH)
            found = doubtful_stretches(self.text[start : self.end], self.misreading)
            spans = [(start + left, start + right) for left, right in found]
            self.stretches = [span for span in spans if self._can_stand(*span)]
        return _meets(self.stretches, start, end)

    def _can_stand(self, start: int, end: int) -> bool:
        """Whether a repair can be clear, or mojibake itself. Between GBK and Big5 ASCII ends it."""
        runs = [run.group() for run in _LONG.finditer(self.text, start, end)]
        return any(len(run) >= LEAST_CLEAR or _may_be_misread(paired(run, self.misreading)) for run in runs)


_LONG = re.compile(f"[^\x00-\x7f]{{{LEAST_NESTED},}}+")


def _meets(spans: Sequence[tuple[int, int] | _Explained], start: int, end: int) -> bool:
    """Whether any of the spans, which are in order, has something of this one."""
    i = bisect_left(spans, start + 1, key=lambda span: span[1])
    return i < len(spans) and spans[i][0] < end


def _is_odd(
    text: str, match: re.Match[str], misreading: Misreading, budget: _Budget, own: Sequence[_Explained]
) -> bool:
    """Whether there is anything to gain: spares the search for genuine neighbours (`锂电`, `顧問`) and Japanese."""
    near = text[max(0, match.start() - 1 - NEAR) : match.end() + NEAR]
    if misreading == UTF8_AS_GBK:
        if _unlikely(text, match) < 2:
            return False
        budget.suspects += 1
    elif misreading.read != "windows-1252" and _is_kana(near):
        return False
    if not budget.take(misreading, len(near)):
        return False
    return _meets(own, *match.span()) or _promises(near, misreading)


@lru_cache(maxsize=4096)
def _promises(near: str, misreading: Misreading) -> bool:
    """Remembered, since what stays as it is comes up again in the next round and in the next pass over the text."""
    if misreading.read == "windows-1252" and any(
        stretch_at(near, start, misreading) for start in range(min(MOST_BYTES, len(near)))
    ):
        return True  # what begins at one of the first bytes is a repair that gains more
    return any(_is_promising(r, misreading) for r in unread(near, misreading))


def _is_promising(repair: Repair, misreading: Misreading) -> bool:
    """Whether what came out of a few characters can be part of a repair."""
    if misreading.read == "windows-1252":
        return repair.gain > 1
    if misreading == UTF8_AS_GBK:  # read wrongly twice it is no prose yet
        return repair.gain > 2 and len(repair.after) >= 2
    return repair.gain > 2 and repair.quality > LEAST_NEAR


def _unlikely(text: str, match: re.Match[str]) -> int:
    """How many pairs of characters in and beside the place (four, save at ends of lines) the model finds unlikely."""
    start = match.start() - 1
    window = (text[start] if start >= 0 else "\n") + text[match.start() : match.end() + 2]
    return sum(pair_step(a, b) < UNLIKELY for a, b in pairwise(fold_text(window)))


UNLIKELY = -4.0
"""Score below which a character is unlikely behind the one before it (news has -2.2 on average)."""

_LATIN_GATES = {
    UTF8_AS_1252: f"[â-ï][{HIGH}?]{{1,2}}",
    GBK_AS_1252: f"[¡-þ][{HIGH}]",
    BIG5_AS_1252: "[¡-É][@-~¡-þ][¡-É][@-~¡-þ]",
}


@cache
def _gate(misreading: Misreading) -> re.Pattern[str]:
    """What the damage of this kind can't do without, as cheap to look for as a set of characters."""
    sets = _sets(misreading)
    if misreading == UTF8_AS_GBK:
        a, b, letters = map(re.escape, sets)
        # One set first, then what is behind it: alternatives would cost twice as much.
        return re.compile(f"[{a}{letters}](?:(?<=[{a}])[{b}]|(?<=[{letters}])[{letters}]{{2}})")
    if misreading in (UTF8_AS_1251, UTF8_AS_874):
        leads, trails = map(re.escape, sets)
        return re.compile(f"(?:[{leads}][{trails}]{{2}}){{2}}")  # two: a word has one of these by accident
    if misreading in _LATIN_GATES:
        return re.compile(_LATIN_GATES[misreading])
    rare, signs = map(re.escape, sets)
    if misreading == GBK_AS_BIG5:
        return re.compile(f"[{rare}{signs}][^\n]{{0,4}}[{rare}]")
    return re.compile(f"[{rare}].?[{rare}]")


def prepare() -> None:
    """Compile all gates and build what searches need: processes that are forked afterwards have them."""
    _table()
    for misreading in READINGS:
        _gate(misreading)
    gate_for_ftfy()
    prepare_search()


@cache
def _sets(misreading: Misreading) -> tuple[str, ...]:
    """The characters of a gate, by what they are in it."""
    if misreading == UTF8_AS_GBK:
        a = _row(range(0xE2, 0xF0), range(0x80, 0xC0), "gb18030")
        b = _row(range(0x81, 0xA1), range(0x80, 0xFF), "gb18030") + _row(
            range(0xA4, 0xC0), range(0x80, 0xF0), "gb18030"
        )
        return a, b + "€\x80", _row((0xC2, 0xC3, 0xCE, 0xCF, 0xD0, 0xD1), range(0x80, 0xC0), "gb18030")
    if misreading in (UTF8_AS_1251, UTF8_AS_874):
        return _bytes_as(range(0xE2, 0xF0), misreading.read), _bytes_as(range(0x80, 0xC0), misreading.read)
    if misreading == GBK_AS_BIG5:
        signs = "ㄛㄩㄐㄗㄘㄞ﹝﹜﹞﹛"  # what `，：！（）？。、》《` become, beside ideographs
        return _rare(_row(range(0xC9, 0xFA), range(0x40, 0xFF), "big5")), signs
    if misreading == BIG5_AS_GBK:
        kana = _row(range(0xA4, 0xA9), range(0xA1, 0xFF), "gb18030")
        kana += _row(range(0xAA, 0xB0), range(0xA1, 0xFF), "gb18030")
        rare = _rare(_row(range(0xA8, 0xF8), range(0x40, 0x7F), "gb18030")) + kana
        return rare + _row(range(0xA1, 0xA8), range(0x40, 0x7F), "gb18030"), ""
    return ()


@cache
def _table() -> Kinds:
    """Kinds of characters in the gates, for a look at a text as a whole that costs hardly anything."""
    single_byte = (_sets(misreading)[i] for misreading in (UTF8_AS_1251, UTF8_AS_874) for i in (0, 1))
    between = ("".join(_sets(GBK_AS_BIG5)), "".join(_sets(BIG5_AS_GBK)))
    chars = "".join(map(chr, range(0x10000)))
    latin = _LATIN.findall(chars)
    others = [char for mark in (_LOST_GATE, _PRIVATE, ANY_FOR_FTFY) for char in mark.findall(chars)]
    return table_of_kinds(*_sets(UTF8_AS_GBK), *single_byte, *between, FIRST_LETTERS, FIRST_SIGNS, latin, others)


(_A, _B, _LETTER, _LEAD_1251, _TRAIL_1251, _LEAD_874, _TRAIL_874), (_RARE_BIG5, _RARE_GBK) = range(7), (7, 8)
_BEFORE_SIGN, _SIGN, _IS_LATIN, _OTHERS = range(9, 13)
"""Bits of the table."""


def _may_be_misread(text: str) -> bool:
    """Whether any gate can find anything: in most texts no two characters stand so that one could.

    It may say yes where none does, but never no where one does.
    """
    found = _Seen.of(text)
    return found.has(_OTHERS) or found.has(_BEFORE_SIGN, _SIGN) or any(_suspected(found))


def _suspected(seen: "_Seen") -> Iterator[Misreading]:
    """Readings whose gates can find anything."""
    if seen.has(_A, _B) or seen.has(_LETTER, _LETTER, _LETTER):
        yield UTF8_AS_GBK
    if seen.has(_IS_LATIN):
        yield from (UTF8_AS_1252, GBK_AS_1252, BIG5_AS_1252)
    if seen.has_two(_RARE_BIG5, 5):
        yield GBK_AS_BIG5
    if seen.has_two(_RARE_GBK, 2):
        yield BIG5_AS_GBK
    if seen.has(_LEAD_1251, _TRAIL_1251):
        yield UTF8_AS_1251
    if seen.has(_LEAD_874, _TRAIL_874):
        yield UTF8_AS_874


class _Seen(NamedTuple):
    """The kinds of the characters of a text, and all of them together: most texts have none of most."""

    kinds: Kinds
    all: int

    @classmethod
    def of(cls, text: str) -> "_Seen":
        kinds = kinds_in(text, _table())
        return cls(kinds, int(np.bitwise_or.reduce(kinds)) if text else 0)

    def has(self, *bits: int) -> bool:
        """Whether characters of these kinds stand side by side in this order."""
        if not all(self.all >> bit & 1 for bit in bits):
            return False
        n = len(self.kinds) - len(bits) + 1
        found = self.kinds[:n] >> bits[0]
        for i, bit in enumerate(bits[1:], 1):
            found &= self.kinds[i : i + n] >> bit
        return bool((found & 1).any())

    def has_two(self, bit: int, distance: int) -> bool:
        """Whether two of a kind stand so near each other."""
        if not self.all >> bit & 1:
            return False
        places = np.flatnonzero(self.kinds & (1 << bit))
        return len(places) > 1 and bool((places[1:] - places[:-1]).min() <= distance)


def _bytes_as(data: Iterable[int], codec: str) -> str:
    """Bytes as a single-byte codec shows them."""
    return "".join(read(bytes((byte,)), codec) for byte in data)


def _row(leads: Iterable[int], trails: Iterable[int], codec: str) -> str:
    return "".join(decoded_pairs(product(leads, trails), codec))


def _rare(chars: str) -> str:
    """Those without a Simplified form in GB2312: hardly one of them is met in text of either script."""
    forms = zip(chars, simplify(chars), strict=True)
    return "".join(c for c, form in dict.fromkeys(forms) if c > "\x80" and not form.encode("gb2312", "ignore"))
