"""Carrying out and undoing edits: the only code of the project that changes text."""

from collections.abc import Iterable

from schemas.document import Edit


class EditError(ValueError):
    """A step proposed an edit that cannot be carried out: overlapping, out of order, or not there."""


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Carry out edits.

    Raises:
        EditError: if an edit overlaps the one before it, changes nothing, or its `before` isn't at `start`.
    """
    pieces: list[str] = []
    end = 0
    for edit in edits:
        _, _, start, before, after, _ = edit  # a third faster than by name: script conversion makes hundreds a page
        if start < end:
            raise EditError(f"{edit} starts inside or before the edit that ends at {end}")
        if before == after:
            raise EditError(f"{edit} changes nothing")
        if not text.startswith(before, start) or start > len(text):
            found = text[start : start + len(before)]
            raise EditError(f"{edit} does not find its 'before' at {start}: {found!r} is there")
        pieces += text[end:start], after
        end = start + len(before)
    pieces.append(text[end:])
    return "".join(pieces)


def revert(text: str, edits: Iterable[Edit]) -> str:
    """Undo what `apply` did with the same edits.

    Raises:
        EditError: if the `after` of an edit isn't where the edit left it.
    """
    pieces: list[str] = []
    end = 0
    shift = 0
    for edit in edits:
        start = edit.start + shift
        if start < end or start > len(text) or not text.startswith(edit.after, start):
            raise EditError(f"{edit} cannot be undone: its 'after' is not at {start}")
        pieces += text[end:start], edit.before
        end = start + len(edit.after)
        shift += len(edit.after) - len(edit.before)
    pieces.append(text[end:])
    return "".join(pieces)
