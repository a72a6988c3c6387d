"""One document as its changes: what was observed beside what is clean, made of the edit log alone.

The stages of the log are taken back from the clean text, and then carried out again on the observed text while it is
cut into pieces: stretches that no edit touched, and stretches that edits made of others. A piece that several edits
worked on, such as a line that lost its glosses before it went, is one change with all of them.
"""

import bisect
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, takewhile
from typing import Any, NamedTuple

from schemas.document import Edit, Stage
from tasks.steps.edits import apply
from tasks.steps.log import take_back

CONTEXT = 24
"""Characters on either side of an edit that is shown by itself."""

LONGEST = 240
"""Characters of an edit that is shown by itself; the middle of more is left out. Two lines of a page."""

BYTES = 24
"""Bytes that are told of a repair: those of eight characters in UTF-8, of twelve in GBK."""

_FOLLOWS = 0.5
"""Weight of script conversion among the edits of a change: whatever else happened there is what is to be seen."""

_READING = re.compile(r"([a-z0-9-]+)-as-([a-z0-9-]+)")
"""Rules of `mojibake` that name two codecs (`tasks.damage.misreadings.Misreading.rule`)."""


class Made(NamedTuple):
    """An edit of a document, and which one it is: with these two numbers it can be named for ever."""

    stage: int
    """As in the column `edits.stage`."""
    number: int
    """Position among the edits of the stage, from 0."""
    edit: Edit


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a document: the same on both sides, or what edits made of it."""

    observed: str
    clean: str
    made: tuple[Made, ...] = ()
    """Empty if nothing was changed here; in the order in which they were carried out otherwise."""
    damage: str = ""
    """Kind of the damage that is left in it (`schemas.document.DAMAGE_KINDS`), if there is some."""

    @property
    def main(self) -> Made | None:
        """The edit to name it by: the one that changed most, script conversion last."""
        return max(self.made, key=_weight, default=None)

    @property
    def confidence(self) -> float:
        """That of the least sure of its edits; 1.0 if there are none."""
        return min((made.edit.confidence for made in self.made), default=1.0)


class Segment(NamedTuple):
    """A stretch of one side of a document."""

    text: str
    step: str
    """Empty where nothing was changed."""
    rule: str
    confidence: float
    edit: int | None
    """Position of the change among those of the document, the same on both sides; None where nothing was changed."""
    damage: str
    """As in `Piece`."""


class Excerpt(NamedTuple):
    """One edit with what stood around it in the text that its stage received."""

    left: str
    before: str
    after: str
    right: str


def _weight(made: Made) -> float:
    size = len(made.edit.before) + len(made.edit.after)
    return size * (_FOLLOWS / (size + 1) if made.edit.step == "script" else 1)


def pieces_of(text: str, log: Sequence[Mapping[str, Any]], damage: Iterable[Mapping[str, Any]] = ()) -> list[Piece]:
    """The pieces of a document, in order: joined, they are the observed text and the clean one.

    Args:
        text: The clean text.
        log: Its column `edits.edits`.
        damage: Its column `damage`.

    Raises:
        EditError: if the log does not belong to the text.
    """
    observed, stages = text, list[Stage]()
    for stage, before in take_back(text, log):
        stages.append(stage)
        observed = before
    pieces = [Piece(observed, observed)] if observed else []
    for number, stage in zip(_numbers(log), reversed(stages), strict=True):
        pieces = list(_carried_out(pieces, [Made(number, n, edit) for n, edit in enumerate(stage.edits)]))
    return list(_damaged(pieces, sorted((d["start"], d["start"] + len(d["text"]), d["kind"]) for d in damage)))


def _numbers(log: Sequence[Mapping[str, Any]]) -> list[int]:
    return list(dict.fromkeys(row["stage"] for row in log))


def _carried_out(pieces: Sequence[Piece], stage: Sequence[Made]) -> Iterator[Piece]:
    """The pieces after a stage. Time is linear in pieces and edits."""
    queue = _Queue(pieces)
    rest = deque(stage)
    while rest:
        yield from queue.until(rest[0].edit.start)
        start, group = queue.at, [rest.popleft()]
        touched = queue.take(_end(group[0]))
        # A piece that was changed before stays whole, so that all edits in it are carried out at once.
        while rest and rest[0].edit.start < queue.at:
            group.append(rest.popleft())
            touched += queue.take(_end(group[-1]))
        yield from _edited(touched, start, group)
    yield from queue.until(None)


def _end(made: Made) -> int:
    return made.edit.start + len(made.edit.before)


_PART = 4_096
"""Characters of a stretch that stayed: each cut copies the rest of it, which may be a megabyte otherwise."""


def _parts(piece: Piece) -> Iterator[Piece]:
    if piece.made or len(piece.clean) <= _PART:
        yield piece
        return
    for start in range(0, len(piece.clean), _PART):
        text = piece.clean[start : start + _PART]
        yield Piece(text, text)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pieces with neighbours that stayed as one again."""
    for made, group in groupby(pieces, lambda piece: bool(piece.made)):
        if made:
            yield from group
        else:
            text = "".join(piece.clean for piece in group)
            yield Piece(text, text)


class _Queue:
    """Pieces that a stage goes through, cut where its edits begin and end, as far as they can be cut."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._rest = [part for piece in reversed(pieces) for part in reversed(list(_parts(piece)))]
        self.at = 0
        """How far it is, in characters of the text that the stage received."""

    def until(self, end: int | None) -> Iterator[Piece]:
        """The pieces before a place, what was removed at it included; one that can't be cut there stays."""
        while self._rest and (end is None or self.at + len(self._rest[-1].clean) <= end):
            yield self._pop()
        if self._rest and not self._rest[-1].made and end is not None and end > self.at:
            yield self._cut(end - self.at)

    def take(self, end: int) -> list[Piece]:
        """The pieces from here to a place or, where one can't be cut there, beyond it."""
        taken: list[Piece] = []
        while self._rest and self.at < end:
            piece = self._rest[-1]
            cuts = self.at + len(piece.clean) > end and not piece.made
            taken.append(self._cut(end - self.at) if cuts else self._pop())
        return list(_joined(taken))

    def _pop(self) -> Piece:
        piece = self._rest.pop()
        self.at += len(piece.clean)
        return piece

    def _cut(self, length: int) -> Piece:
        piece = self._rest.pop()
        self._rest.append(Piece(piece.observed[length:], piece.clean[length:]))
        self.at += length
        return Piece(piece.observed[:length], piece.clean[:length])


def _edited(pieces: Sequence[Piece], start: int, group: Sequence[Made]) -> Iterator[Piece]:
    """What some edits make of the pieces that they touch, the first of which begins at `start`."""
    clean = apply(
        "".join(piece.clean for piece in pieces), (m.edit._replace(start=m.edit.start - start) for m in group)
    )
    if any(len(made.edit.before) != len(made.edit.after) for made in group):
        made = dict.fromkeys(chain(*(piece.made for piece in pieces), group))
        yield Piece("".join(piece.observed for piece in pieces), clean, tuple(made))
        return
    at, rest = 0, deque(group)  # replaced one by one: the pieces stay
    for piece in pieces:
        end = at + len(piece.clean)
        while rest and _end(rest[0]) - start <= at:
            rest.popleft()
        own = tuple(takewhile(lambda made, end=end: made.edit.start - start < end, rest)) if end > at else ()  # type: ignore[misc]
        changed = clean[at:end] != piece.clean
        yield Piece(piece.observed, clean[at:end], (*piece.made, *own)) if changed else piece
        at = end


def _damaged(pieces: Iterable[Piece], spans: Sequence[tuple[int, int, str]]) -> Iterator[Piece]:
    """The pieces with the damage that is left, which cuts those that are the same on both sides."""
    at = 0
    ends = [end for _, end, _ in spans]
    for piece in pieces:
        end = at + len(piece.clean)
        first = bisect.bisect_right(ends, at)
        inside = []
        while first < len(spans) and spans[first][0] < end:
            inside.append(spans[first])
            first += 1
        yield from _marked(piece, at, inside)
        at = end


def _marked(piece: Piece, at: int, inside: Sequence[tuple[int, int, str]]) -> Iterator[Piece]:
    if not inside or piece.made:
        yield Piece(piece.observed, piece.clean, piece.made, inside[0][2] if inside else "")
        return
    done = 0
    for start, end, kind in inside:
        low, high = max(start - at, done), min(end - at, len(piece.clean))
        if low > done:
            yield Piece(piece.clean[done:low], piece.clean[done:low])
        if high > low:
            yield Piece(piece.clean[low:high], piece.clean[low:high], (), kind)
        done = max(done, high)
    if done < len(piece.clean):
        yield Piece(piece.clean[done:], piece.clean[done:])


def observed_segments(pieces: Iterable[Piece]) -> list[Segment]:
    """The side that was observed."""
    return [segment for _, segment, _ in _numbered(pieces) if segment.text]


def clean_segments(pieces: Iterable[Piece]) -> list[Segment]:
    """The side that is clean."""
    return [segment for _, _, segment in _numbered(pieces) if segment.text]


def _numbered(pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Segment, Segment]]:
    number = -1
    for piece in pieces:
        main = piece.main
        number += main is not None
        step, rule = (main.edit.step, main.edit.rule) if main else ("", "")
        about = (step, rule, piece.confidence, number if main else None, piece.damage)
        yield piece, Segment(piece.observed, *about), Segment(piece.clean, *about)


def rows_of(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces by line, so that both sides can stand side by side: a row ends where a line ends on both of them."""
    row: list[Piece] = []
    for piece in pieces:
        if piece.made:
            row.append(piece)
            if piece.observed.endswith("\n") and (not piece.clean or piece.clean.endswith("\n")) and _is_even(row):
                yield row
                row = []
            continue
        *lines, rest = piece.observed.split("\n")
        for line in lines:
            yield [*row, Piece(line + "\n", line + "\n", (), piece.damage)]
            row = []
        if rest:
            row.append(Piece(rest, rest, (), piece.damage))
    if row:
        yield row


def _is_even(row: Sequence[Piece]) -> bool:
    """Whether both sides are at the beginning of a line after it."""
    clean = "".join(piece.clean for piece in row)
    return not clean or clean.endswith("\n")


def excerpt(text: str, edit: Edit, context: int = CONTEXT, longest: int = LONGEST) -> Excerpt:
    """An edit in the text that its stage received, with that many characters of its line on either side."""
    end = edit.start + len(edit.before)
    left = text[max(0, edit.start - context) : edit.start].rpartition("\n")[2]
    right = text[end : end + context].partition("\n")[0]
    return Excerpt(left, abridged(edit.before, longest), abridged(edit.after, longest), right)


def abridged(text: str, longest: int) -> str:
    """A text without its middle, if it is longer."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[len(text) - half :]}"


def bytes_told(edit: Edit) -> str:
    """What a byte repair did, in bytes; empty for what is none.

    `bytes E9 95 B7 are gbk for 闀…, utf-8 for 長`: those that were observed, and those that stand now if they differ.
    """
    if edit.step == "shift":
        return _told(edit, "gbk", "gbk")
    readings = _READING.findall(edit.rule) if edit.step == "mojibake" else []
    if not readings:
        return ""
    # Of several misreadings the first one named is the last that happened.
    return _told(edit, readings[0][1], readings[-1][0])


def _told(edit: Edit, read: str, written: str) -> str:
    observed, clean = _bytes(edit.before, read), _bytes(edit.after, written)
    if observed == clean and read != written:
        return f"bytes {clean}: read as {read}, they are {written}"
    return f"bytes observed {observed} ({read}), repaired {clean} ({written})"


def _bytes(text: str, codec: str) -> str:
    """In hex; `??` for what the codec lacks, such as a sign that stands for a lost byte."""
    shown: list[str] = []
    for char in text[: BYTES + 1]:
        shown += _bytes_of(char, codec)
    return " ".join(shown[:BYTES]) + (" …" if len(shown) > BYTES or len(text) > BYTES + 1 else "")


def _bytes_of(char: str, codec: str) -> list[str]:
    if char in "?\ufffd":
        return ["??"]
    try:
        return [f"{byte:02X}" for byte in char.encode("gb18030" if codec == "gbk" else codec)]
    except UnicodeEncodeError:
        # Readers of windows-125x show bytes that these lack as what they are in Latin-1.
        return [f"{ord(char):02X}"] if ord(char) < 256 and codec.startswith("windows") else ["??"]


def bad_bytes_told(log: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Bytes that no character could be made of: where, in characters of the observed text, and what they are."""
    return [(bad["position"], f"byte {bad['value']:02X} at offset {bad['offset']:,}") for bad in log["bad_bytes"]]
