"""Keep, or reject with a reason of the closed list and a sentence of figures for the reader."""

import re
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.config import CleanConfig
from schemas.document import Cleaned, Decoded, Reason, Rejection
from tasks.scripts import codes, text_of
from tasks.steps.spam import is_only_spam

MIN_LETTER_SHARE = 0.2
"""Share of letters and ideographs among what is visible, below which a text is not one. Measured on 5,000 news items,
2,000 paragraphs of Wikipedia and pages in a hundred encodings: prose 0.75 to 0.9, exchange rates 0.6, the lowest (a URL
and a date) 0.46; timetables come to 0.25."""

MAX_CONTROL_SHARE = 0.05
"""Share of control characters above which decoded text is taken for a binary file: text has line ends and tabs, which
don't count, and a stray one now and then; compressed data has one in ten."""

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters but those that stand in text: tab, line ends, form feed, escape (of terminals) and U+0085."""

_C1 = re.compile(r"[\x80-\x84\x86-\x9f]")
"""Controls that no binary file shows once it is strict UTF: UTF-8 read as Latin-1 is made of them, one in four."""

_INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
"""White space, control characters and zero-width characters: a page of nothing else is empty to its reader."""


class _Figures(NamedTuple):
    """How many characters of a text are what."""

    controls: int
    c1: int
    visible: int
    letters: int
    """And ideographs."""


_LETTER, _UNSEEN, _CONTROL, _IS_C1 = 1, 2, 3, 4
"""Whatever is one of these is what stands before it but the first as well: what can't be seen, a control character."""


@lru_cache(maxsize=2)
def _count_kinds(text: str) -> _Figures:
    """Of most texts this is asked twice: what was read is what is left."""
    chars = codes(text)
    kinds = _kinds().take(chars, mode="clip")
    n_letters, n_unseen = int(np.count_nonzero(kinds == _LETTER)), int(np.count_nonzero(kinds >= _UNSEEN))
    n_controls, n_c1 = int(np.count_nonzero(kinds >= _CONTROL)), int(np.count_nonzero(kinds == _IS_C1))
    if chars.max(initial=0) >= len(_kinds()):
        n_letters += sum(map(str.isalpha, text_of(chars[chars >= len(_kinds())])))
    return _Figures(n_controls, n_c1, len(text) - n_unseen, n_letters)


@cache
def _kinds() -> NDArray[np.uint8]:
    """What the characters of the Basic Multilingual Plane are. Its last one, nothing, stands for all others."""
    text = text_of(np.arange(0x10000, dtype=np.uint32))
    kinds = np.array([*map(str.isalpha, text)], np.uint8) * np.uint8(_LETTER)
    for kind, pattern in ((_UNSEEN, _INVISIBLE), (_CONTROL, _CONTROLS), (_IS_C1, _C1)):
        kinds[[match.start() for match in pattern.finditer(text)]] = kind
    return kinds


def judge_input(decoded: Decoded) -> Rejection | None:
    """Whether a document is worth cleaning: `empty`, `not-text`, `undecodable`, or None."""
    text = decoded.text
    figures = _count_kinds(text)
    n_controls = figures.controls - (figures.c1 if decoded.encoding.startswith("utf-") else 0)
    if not n_controls and not figures.visible:
        n_chars = f"{_count(len(text), 'character')}, none of which can be seen" if text else "no characters"
        return Rejection(Reason.EMPTY, f"The document has {n_chars}.")
    if n_controls > MAX_CONTROL_SHARE * len(text) or (not decoded.encoding and "\0" in text):
        return _binary(text, n_controls)
    if not decoded.encoding:
        return Rejection(Reason.UNDECODABLE, f"No encoding gives readable text of these {len(text):,} bytes.")
    return None


def judge_output(cleaned: Cleaned, config: CleanConfig) -> Rejection | None:
    """Whether what cleaning left is a text: `spam`, `too-short`, `not-text`, or None."""
    figures = _count_kinds(cleaned.text)
    n_letters = figures.letters
    if "spam" not in config.skip and (rejection := _only_spam(cleaned, n_letters)):
        return rejection
    if n_letters < config.min_chars:
        detail = f"{_count(n_letters, 'letter')} or ideographs left after cleaning, and {config.min_chars} asked for."
        return Rejection(Reason.TOO_SHORT, detail)
    if figures.controls > MAX_CONTROL_SHARE * len(cleaned.text):
        return _binary(cleaned.text, figures.controls)
    if n_letters < MIN_LETTER_SHARE * figures.visible:
        share = f"{n_letters:,} of {_count(figures.visible, 'visible character')} are letters or ideographs"
        return Rejection(Reason.NOT_TEXT, f"Mostly signs or digits: {share}.")
    return None


LONGEST_REMNANT = 60
"""Letters and ideographs, without a full stop, that may be left of a page that was spam: a line of buttons, a title."""


def _only_spam(cleaned: Cleaned, n_letters: int) -> Rejection | None:
    """Whether there was nothing but spam on the page: its lines stayed (something has to), or a remnant is left."""
    n_removed = sum(len(e.before) for stage in cleaned.stages if stage.step == "spam" for e in stage.edits)
    is_remnant = n_letters <= LONGEST_REMNANT and "。" not in cleaned.text and n_removed >= 4 * n_letters
    if (n_removed and is_remnant) or is_only_spam(cleaned.text):
        what = f"{_count(n_removed, 'character')} of it removed, {_count(n_letters, 'letter')} or ideographs left"
        return Rejection(Reason.SPAM, f"Nothing but lines that sell something else: {what}.")
    return None


def _binary(text: str, n_controls: int) -> Rejection:
    share = f"{n_controls:,} of {_count(len(text), 'character')} are control characters"
    return Rejection(Reason.NOT_TEXT, f"A binary file: {share}.")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
