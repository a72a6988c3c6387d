"""Carrying out and undoing edits: the only code of the project that changes text."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from schemas.document import Edit, Edits, places, within
from tasks.scripts import codes, text_of


class EditError(ValueError):
    """A step proposed an edit that cannot be carried out: overlapping, out of order, or not there."""


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Carry out edits.

    Raises:
        EditError: if an edit overlaps the one before it, changes nothing, or its `before` isn't at `start`.
    """
    if isinstance(edits, Edits) and not _any_idle(edits):
        made = _replaced(text, edits.starts, (edits.before, edits.before_at), (edits.after, edits.after_at))
        if made is not None:
            return made
    pieces: list[str] = []
    end = 0
    for edit in edits:
        _, _, start, before, after, _ = edit  # a third faster than by name
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
    if isinstance(edits, Edits):
        starts = edits.starts + edits.after_at[:-1] - edits.before_at[:-1]
        made = _replaced(text, starts, (edits.after, edits.after_at), (edits.before, edits.before_at))
        if made is not None:
            return made
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


_Pieces = tuple[str, NDArray[np.int64]]
"""Pieces joined, and where each begins, as in `Edits`."""


def _any_idle(edits: Edits) -> bool:
    """Whether an edit changes nothing."""
    n_before = edits.n_before
    is_even = n_before == edits.n_after
    before, after, lengths = codes(edits.before), codes(edits.after), n_before[is_even]
    if not is_even.all():
        before = before[within(edits.before_at[:-1][is_even], lengths)]
        after = after[within(edits.after_at[:-1][is_even], lengths)]
    differs = before != after
    if differs.all() and lengths.all():
        return False
    n_differing = places(differs)[places(lengths)]
    return bool((n_differing[1:] == n_differing[:-1]).any())


def _replaced(text: str, starts: NDArray[np.int64], old: _Pieces, new: _Pieces) -> str | None:
    """A text with pieces of it replaced, all at once; None if one overlaps another or isn't there.

    What is wrong is found out by going through them one by one.
    """
    (before, before_at), (after, after_at) = old, new
    lengths = before_at[1:] - before_at[:-1]
    chars, ends = codes(text), starts + lengths
    if starts.min(initial=0) < 0 or ends.max(initial=0) > len(chars) or (starts[1:] < ends[:-1]).any():
        return None
    place = within(starts, lengths)
    if not np.array_equal(chars[place], codes(before)):
        return None
    if np.array_equal(before_at, after_at):
        made = chars.copy()
        made[place] = codes(after)
        return text_of(made)
    stays = np.ones(len(chars), bool)
    stays[place] = False
    # Lengths of what stays and of what is put in, by turns.
    turns = np.empty(2 * len(starts) + 1, np.int64)
    turns[::2] = np.append(starts, len(chars)) - np.insert(ends, 0, 0)
    turns[1::2] = after_at[1:] - after_at[:-1]
    is_new = np.repeat(np.arange(len(turns)) % 2 == 1, turns)
    made = np.empty(len(is_new), np.uint32)
    made[is_new], made[~is_new] = codes(after), chars[stays]
    return text_of(made)
