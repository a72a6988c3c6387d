"""Which of the recurring lines of a document are furniture: what the counts say, held against the page.

Counts alone would take a column's title (`国内联播快讯`, 339 times in a year of news) and the paragraphs of an article
that came ten times. So a line goes only above the first or below the last paragraph that is the document's own; a
document whose own paragraphs recur is a copy, and left to the search for duplicates; and the title stays.
docs/adr/0016-learned-lines.md.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from schemas.document import Edit, Outcome
from tasks.corpus.lines import Place, Recurring, hash_of, places, sites_of
from tasks.rules import load
from tasks.steps.dates import DATETIME
from tasks.steps.lines import fold, is_heading, is_prose, key, lines_of, removal
from tasks.steps.log import Row, take_back

STEP, RULE = "boilerplate", "learned-line"

CONFIDENCE = 0.95

COPIED = 0.5
"""A document of which more of the paragraphs, by characters, stand in others as well is a copy of one of them."""


class Seen(NamedTuple):
    """A line of a document, and what the counts say of it."""

    place: Place
    recurs: bool
    """Another document of the site has it."""
    learned: bool
    """It is furniture, by the counts."""
    headed: bool
    """It is learned, and most documents that have it have headings between their paragraphs."""

    @property
    def text(self) -> str:
        """The line."""
        return self.place.line.text


class Findings(NamedTuple):
    """The edits that take furniture out of a document's clean text."""

    edits: tuple[Edit, ...] = ()
    lines: tuple[int, ...] = ()
    """Fingerprints of the lines that go, each once, in their numerical order."""


def find(outcome: Outcome, known: Recurring) -> Findings:
    """Look up the lines of a document, and choose those that go."""
    if outcome.cleaned is None or outcome.rejection is not None:
        return Findings()
    near = places(lines_of(outcome.cleaned.text))
    sites = np.array([[hash_of(name) for name in sites_of(outcome)]], dtype="<u8")
    fingerprints = np.array([place.fingerprint for place in near], dtype="<u8")
    judged = known.judge(fingerprints, np.zeros(len(near), np.int64), sites)
    going = _choose([Seen(*line) for line in zip(near, *(said.tolist() for said in judged), strict=True)])
    edits = (removal(outcome.cleaned.text, line.place.line, STEP, RULE, CONFIDENCE) for line in going)
    return Findings(tuple(edits), tuple(sorted({line.place.fingerprint for line in going})))


def text_before(text: str, log: Sequence[Row]) -> str:
    """The clean text of a document, as it stands in the dataset, as it was before learned lines were taken out of it.

    Args:
        text: Of its row in `clean` or `rejected`.
        log: Column `edits` of its row in `edits`.

    Raises:
        EditError: if the edits do not belong to this text.
    """
    if all(row["rule"] != RULE for row in log):
        return text
    return next(before for stage, before in take_back(text, log) if any(edit.rule == RULE for edit in stage.edits))


def _choose(seen: Sequence[Seen]) -> list[Seen]:
    """The lines that go."""
    if not any(line.learned for line in seen) or _is_copy(seen):
        return []
    own = [i for i, line in enumerate(seen) if is_prose(line.text) and not line.learned]
    has_headings = any(map(_is_title, seen[own[0] : own[-1]]))
    return [*_head(seen[: own[0]], has_headings=has_headings), *_tail(seen[own[-1] + 1 :])]


def _is_copy(seen: Sequence[Seen]) -> bool:
    """Whether its own paragraphs recur, or it has none."""
    own = [line for line in seen if is_prose(line.text) and not line.learned]
    n_chars = sum(len(line.text) for line in own)
    return sum(len(line.text) for line in own if line.recurs) >= COPIED * n_chars


_LISTED = re.compile(r"[|>]|\S\s{2,}\S|\S / \S|(?:星期|礼拜)[一二三四五六日天]")
"""How furniture joins words, and titles do not; a weekday is of the day, and not of the article."""


def _is_plain(text: str) -> bool:
    return is_heading(text.rstrip("：:")) and not _LISTED.search(fold(text))


def _is_title(line: Seen) -> bool:
    """Whether it could be a title of this document, and of no other."""
    return not line.learned and line.place.fingerprint != 0 and not is_prose(line.text) and _is_plain(line.text)


def _head(head: Sequence[Seen], *, has_headings: bool) -> Iterator[Seen]:
    """Learned lines above the body, but for what may be the title, or below it the author's name or a heading.

    Without a title of its own, a document may have one that recurs, as columns and judgements do. So has one whose
    only heading above the body is like those within it, unless the line is above articles without headings mostly.
    """
    titles = [i for i, line in enumerate(head) if _is_title(line)]
    for i, line in enumerate(head):
        is_titled = len(titles) > 1 or (titles and not (has_headings and line.headed))
        is_byline = i - 1 in titles and _NAME.fullmatch(line.text)
        is_heading_of_body = line.headed and titles and i > titles[0]
        stays = is_byline or ((is_heading_of_body or not is_titled) and _is_plain(line.text))
        if line.learned and not stays:
            yield line


_NAME = re.compile(r"[\u3400-\u9fff·]{2,6}")


def _tail(tail: Sequence[Seen]) -> Iterator[Seen]:
    """Learned lines below the body, but for closing words, headings, and who signs above a date."""
    signed = {i - back for i, line in enumerate(tail) if _DATE.fullmatch(fold(line.text)) for back in range(3)}
    for i, line in enumerate(tail):
        heads_own = line.headed and _is_plain(line.text) and not all(below.learned for below in tail[i + 1 : i + 2])
        if line.learned and i not in signed and not heads_own and key(line.text) not in _stays():
            yield line


_NUMERAL = "[〇零一二三四五六七八九十]"
_DATE = re.compile(rf"\W{{0,3}}(?:{DATETIME.pattern}|{_NUMERAL}{{4}}年{_NUMERAL}{{1,2}}月{_NUMERAL}{{1,3}}日)\W{{0,3}}")
"""Also as documents have it: `二〇二四年三月五日`."""


@cache
def _stays() -> frozenset[str]:
    return frozenset(key(words) for (words,) in load("learned-stays"))
