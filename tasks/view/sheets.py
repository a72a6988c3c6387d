"""A document as pages of a bounded size: rows of both sides, and what can be said of each change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any, NamedTuple

from schemas.document import Edit
from tasks.report.page import Told, about_edit, spelled, told
from tasks.report.pairs import Excerpt, Made, Piece, abridged, excerpt, pieces_of, rows_of
from tasks.verify import StoredDocument
from tasks.view import reviews
from tasks.view.reviews import Received, Review

MOST_CHARS = 12_000
"""Characters on a page, on the longer side: ten pages of news. Converted text has a change every third character."""

LONGEST = 3_000
"""Characters of a stretch: longer ones that stayed are cut into several rows, of longer changes the middle goes."""

MOST_EDITS = 30
"""Edits of one change that can be chosen: a line that went may have lost hundreds of glosses before."""

MOST_TAKEN_APART = 250_000
"""Edits of a document that is taken apart: at 26 µs and 2 kB each, 6 seconds and half a gigabyte. A novel that was
converted has as many."""

MOST_EXAMPLES = 2
"""Edits of a rule that a list shows of each document."""

_EXAMPLE = 60
"""Characters of an edit in a list of them."""


class Sheet(NamedTuple):
    """One page of a document."""

    rows: list[list[Told]]
    edits: dict[int, list[dict[str, Any]]]
    """By number of the change: what it consists of, and how that is marked."""


class Sheets:
    """A document, taken apart once for all of its pages."""

    def __init__(self, document: StoredDocument) -> None:
        """Take it apart.

        Raises:
            EditError: if its log does not belong to its text.
        """
        row = document.row
        self.document = document
        self.is_whole = row["n_edits"] <= MOST_TAKEN_APART
        """Whether its changes are shown: where they are too many, both sides have the clean text."""
        text, log = row["text"] or "", document.log["edits"] if self.is_whole else []
        self.stages: list[Received] = reviews.stages_of(text, log)
        pieces = pieces_of(text, log, row["damage"])
        self._pages = list(_pages(rows_of(pieces)))
        changes = [sum(bool(piece.made) for r in page for piece in r) for page in self._pages]
        self._first = [1 + sum(changes[:n]) for n in range(len(changes) + 1)]
        self.n_changes = self._first[-1] - 1

    @property
    def n_pages(self) -> int:
        """How many pages it has; at least one."""
        return max(len(self._pages), 1)

    def page_of(self, change: int) -> int:
        """The page that a change is on, from 1."""
        return next((n for n, first in enumerate(self._first[1:], 1) if change < first), self.n_pages)

    def sheet(self, number: int, marks: Sequence[Review]) -> Sheet:
        """A page, from 1."""
        if not self._pages:
            return Sheet([], {})
        page, first = self._pages[number - 1], self._first[number - 1]
        numbers, verdicts = count(first), self.verdicts(marks)
        rows = [told(row, numbers) for row in page]
        made = (piece for row in page for piece in row if piece.made)
        return Sheet(rows, {n: list(_edits(piece, verdicts)) for n, piece in zip(count(first), made, strict=False)})

    def edit(self, stage: int, number: int) -> tuple[Received, Edit] | None:
        """An edit by its two numbers; None if there is none."""
        for received in self.stages:
            if received.number == stage and 0 <= number < len(received.stage.edits):
                return received, received.stage.edits[number]
        return None

    def change_of(self, stage: int, number: int) -> int:
        """Number of the change that an edit is part of; 0 if it left no trace."""
        made = ((n, m) for n, piece in enumerate(self._changes(), 1) for m in piece.made)
        return next((n for n, m in made if (m.stage, m.number) == (stage, number)), 0)

    @property
    def least_sure(self) -> int:
        """Number of the change that is least sure; 0 if all are sure."""
        found = min(enumerate(self._changes(), 1), key=lambda it: it[1].confidence, default=None)
        return found[0] if found and found[1].confidence < 1 else 0

    def first_by(self, step: str, rule: str) -> int:
        """Number of the first change that a rule had a part in, or a step if no rule is given; 0 if there is none."""
        edits = ((n, m.edit) for n, piece in enumerate(self._changes(), 1) for m in piece.made)
        return next((n for n, edit in edits if edit.step == step and rule in {"", edit.rule}), 0)

    def _changes(self) -> Iterator[Piece]:
        return (piece for page in self._pages for row in page for piece in row if piece.made)

    def verdicts(self, marks: Iterable[Review]) -> dict[tuple[int, int], Review]:
        """Marks by the two numbers of their edits, as far as these are there."""
        found = {mark: reviews.find(mark, self.stages) for mark in marks}
        return {(at[0].number, at[0].stage.edits.index(at[1])): mark for mark, at in found.items() if at}


def examples(document: StoredDocument, step: str, rule: str) -> list[tuple[Excerpt, Edit]]:
    """The first edits of a rule in a document, or of a step if no rule is given, in their context.

    Raises:
        EditError: if the log does not belong to the text.
    """
    stages = reviews.stages_of(document.row["text"] or "", document.log["edits"])
    found = (
        (excerpt(received.text, edit, longest=_EXAMPLE), edit)
        for received in stages
        if received.stage.step == step
        for edit in received.stage.edits
        if rule in {"", edit.rule}
    )
    return list(islice(found, MOST_EXAMPLES))


def _edits(piece: Piece, verdicts: Mapping[tuple[int, int], Review]) -> Iterator[dict[str, Any]]:
    main = piece.main
    ordered: list[Made] = [m for m in (main,) if m] + [m for m in piece.made if m is not main]
    for made in ordered[:MOST_EDITS]:
        mark = verdicts.get((made.stage, made.number))
        yield {
            "stage": made.stage,
            "number": made.number,
            "about": about_edit(made.edit),
            "before": spelled(abridged(made.edit.before, _EXAMPLE)),
            "after": spelled(abridged(made.edit.after, _EXAMPLE)),
            "verdict": mark.verdict if mark else "",
            "note": mark.note if mark else "",
        }


def _pages(rows: Iterable[Sequence[Piece]]) -> Iterator[list[list[Piece]]]:
    page: list[list[Piece]] = []
    size = 0
    for row in (piece for long in rows for piece in _split(long)):
        length = sum(max(len(p.observed), len(p.clean)) for p in row)
        if page and size + length > MOST_CHARS:
            yield page
            page, size = [], 0
        page.append(row)
        size += length
    if page:
        yield page


def _split(row: Sequence[Piece]) -> Iterator[list[Piece]]:
    """A row, cut where it is long: between its pieces, and within those that stayed."""
    part: list[Piece] = []
    size = 0
    for piece in (p for long in row for p in _short(long)):
        length = max(len(piece.observed), len(piece.clean))
        if part and size + length > LONGEST:
            yield part
            part, size = [], 0
        part.append(piece)
        size += length
    if part:
        yield part


def _short(piece: Piece) -> Iterator[Piece]:
    if max(len(piece.observed), len(piece.clean)) <= LONGEST:
        yield piece
    elif piece.made:
        observed, clean = abridged(piece.observed, LONGEST - 3), abridged(piece.clean, LONGEST - 3)
        yield Piece(observed, clean, piece.made, piece.damage)
    else:
        for start in range(0, len(piece.clean), LONGEST):
            text = piece.clean[start : start + LONGEST]
            yield Piece(text, text, (), piece.damage)
