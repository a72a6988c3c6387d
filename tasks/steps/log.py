"""The edit log as it is stored: the stages of a document as rows, small, readable, and enough to take all back.

Script conversion replaces every third character of a text, so a log of single edits costs as much as the text
itself. Where a stage replaces single characters by a pattern, its edits are packed into *operations* and the
*exceptions* to them. An operation is a row with a negative `start`:

- `BY_PAIRS`: wherever the character after[i] stands in the text that the stage made, before[i] stood in the text
  that it received.
- `BY_TRADITIONAL`, `BY_SIMPLIFIED`: the same, and any character that is not in the pairs was its Traditional (or
  Simplified) form (`tasks.scripts.traditionalize`, `simplify`). A pair of a character with itself says that
  it was not changed.

The other rows of the stage are exceptions: an operation does not reach into the text that they put there. Among
them, a row whose `before` equals its `after` says that nothing was changed at its place. Neighbouring characters that
were replaced by the same rule were one edit. docs/adr/0002-edit-log.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import Edit, Stage
from tasks.scripts import codes, simplify, text_of, traditionalize
from tasks.steps.edits import EditError, apply, revert

BY_PAIRS = -1
BY_TRADITIONAL = -2
BY_SIMPLIFIED = -3

_FORMS: dict[int, Callable[[str], str]] = {BY_PAIRS: str, BY_TRADITIONAL: traditionalize, BY_SIMPLIFIED: simplify}
"""What an operation says of the characters that are not among its pairs."""

_ROW_COST = 9
_PAIR_COST = 6
"""Bytes before compression: two ideographs of UTF-8, and for a row its numbers as well. After compression the
proportion is about the same (measured on 1,700 documents)."""

_WORTHWHILE = 4
"""Stages with fewer edits that replace character by character are stored as they are: there is little to win."""

Row = Mapping[str, Any]
"""Keys are stage, step, rule, start, before, after, confidence: the struct of `schemas.dataset.EDITS`."""


_KEPT = ("", 1.0)


class _Source(NamedTuple):
    """Where a character of the text after a stage came from."""

    before: str
    rule: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Operation:
    """Sources by character: of the pairs first, then by the form."""

    form: int
    main: tuple[str, float]
    """Rule and confidence of what the form replaces."""
    pairs: Mapping[str, _Source]


class _Lookup:
    """What an operation says of characters, for looking up all of a text at once.

    Args:
        operation: Says it.
        chars: Code points to be looked up, in any order, each as often as it likes.
        kinds: Numbers, from 0, of rules with their confidence: those of the operation are added.
    """

    def __init__(self, operation: _Operation, chars: NDArray[np.uint32], kinds: dict[tuple[str, float], int]) -> None:
        size = int(chars.max(initial=0)) + 1
        told = np.flatnonzero(np.bincount(chars, minlength=size)).astype(np.uint32)
        formed = codes(_FORMS[operation.form](text_of(told)))
        self._before = np.zeros(size, np.uint32)
        self._before[told] = formed
        self._kind = np.full(size, -1, np.int64)
        self._kind[told[told != formed]] = kinds.setdefault(operation.main, len(kinds))
        for char, source in operation.pairs.items():
            if ord(char) < size:
                is_kept = source.before == char
                number = kinds.setdefault((source.rule, source.confidence), len(kinds))
                self._before[ord(char)], self._kind[ord(char)] = ord(source.before), -1 if is_kept else number

    def kind(self, chars: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Number of the rule by which each character was changed; -1 where it was not."""
        found: NDArray[np.int64] = self._kind[chars]
        return found

    def before(self, chars: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """What each character was before; itself where it was not changed."""
        found: NDArray[np.uint32] = self._before[chars]
        return found


class _Columns:
    """The edits of a stage as columns, in their order, and the characters of those that keep the length."""

    def __init__(self, text: str, edits: Sequence[Edit]) -> None:
        n = len(edits)
        self.chars = codes(text)
        self.starts = np.fromiter((edit.start for edit in edits), np.int64, n)
        n_before = np.fromiter((len(edit.before) for edit in edits), np.int64, n)
        self.ends = self.starts + n_before
        self.kinds: dict[tuple[str, float], int] = {}
        numbers = (self.kinds.setdefault((edit.rule, edit.confidence), len(self.kinds)) for edit in edits)
        self.kind = np.fromiter(numbers, np.int64, n)
        self.is_even = n_before == np.fromiter((len(edit.after) for edit in edits), np.int64, n)
        even = [edit for edit, is_even in zip(edits, self.is_even.tolist(), strict=True) if is_even]
        self.before, self.after = codes("".join(e.before for e in even)), codes("".join(e.after for e in even))
        self._n_chars = n_before[self.is_even]
        # Whether it replaces characters one by one, as an operation does.
        self.is_substitution = self.all_of(self.before != self.after)

    def all_of(self, is_so: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each edit, whether something holds for all of its characters; False for those that change the length."""
        found = np.zeros(len(self.starts), bool)
        if len(self._n_chars):
            found[self.is_even] = np.logical_and.reduceat(is_so, np.cumsum(self._n_chars) - self._n_chars)
        return found

    def of_char(self, of_edit: NDArray[Any]) -> NDArray[Any]:
        """A value of edits for each of their characters."""
        return np.repeat(of_edit[self.is_even], self._n_chars)

    def is_kept(self) -> NDArray[np.bool_]:
        """For each character of the text, whether no edit replaces or removes it."""
        depth = np.zeros(len(self.chars) + 1, np.int8)
        depth[self.starts[self.ends > self.starts]] += 1
        depth[self.ends[self.ends > self.starts]] -= 1
        is_kept: NDArray[np.bool_] = np.cumsum(depth[:-1], dtype=np.int8) == 0
        return is_kept


def pack(text_before: str, stages: Iterable[Stage]) -> tuple[list[dict[str, Any]], str]:
    """Rows for the stages that were applied to a text, in order, and the text that they made of it.

    The rows are proved: what `unpack` makes of them are the stages, and what `apply` has carried out `revert` undoes.

    Raises:
        EditError: if the stages do not fit the text.
    """
    rows: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        text_after = apply(text_before, stage.edits)
        packed = _pack_stage(text_before, text_after, stage)
        rows += ({"stage": number, "step": stage.step, **row._asdict()} for row in packed)
        text_before = text_after
    return rows, text_before


def unpack(clean_text: str, rows: Sequence[Row]) -> list[Stage]:
    """The stages that led to a clean text.

    Raises:
        EditError: if the rows do not belong to this text.
    """
    return [stage for stage, _ in take_back(clean_text, rows)][::-1]


def revert_all(clean_text: str, rows: Sequence[Row]) -> str:
    """The text that the first stage received: the decoded document.

    Raises:
        EditError: if the rows do not belong to this text.
    """
    text = clean_text
    for _, before in take_back(clean_text, rows):
        text = before
    return text


def take_back(text: str, rows: Sequence[Row]) -> Iterator[tuple[Stage, str]]:
    """From the last stage to the first: the stage, and the text that it received.

    Raises:
        EditError: if the rows do not belong to this text.
    """
    for (_, step), group in groupby(reversed(rows), lambda row: (row["stage"], row["step"])):
        packed = [_Row(*(row[name] for name in _Row._fields)) for row in group][::-1]
        stage = Stage(step, tuple(_unpack_stage(step, text, packed)))
        text = revert(text, stage.edits)
        yield stage, text


class _Row(NamedTuple):
    rule: str
    start: int
    before: str
    after: str
    confidence: float

    @property
    def is_operation(self) -> bool:
        return self.start < 0


def _pack_stage(text_before: str, text_after: str, stage: Stage) -> list[_Row]:
    """Operations and exceptions if they are smaller than the edits and say the same, or else the edits."""
    plain = [_Row(*edit[1:]) for edit in stage.edits]
    if len(plain) >= _WORTHWHILE:
        columns = _Columns(text_before, stage.edits)
        if np.count_nonzero(columns.is_substitution) >= _WORTHWHILE:
            operation = _best_operation(_observed(columns), list(columns.kinds))
            packed = [*_operation_rows(operation), *_exceptions(columns, plain, operation)]
            if len(packed) < len(plain) and tuple(_unpack_stage(stage.step, text_after, packed)) == stage.edits:
                return packed
    return plain


class _Observed(NamedTuple):
    """What became of the characters that an operation would reach: of each there is now, where it came from."""

    chars: NDArray[np.uint32]
    """Code points, in order."""
    n_kept: NDArray[np.int64]
    """How often each one was there before."""
    n_all: NDArray[np.int64]
    """How often each one is there."""
    changes: NDArray[np.int64]
    """Number of the rule, character before and character after, as one number; in order."""
    n_changes: NDArray[np.int64]
    """How often each of these was made."""
    top: NDArray[np.int64]
    """For each character the most frequent change to it; where two are as frequent the one that came first counts."""
    n_top: NDArray[np.int64]
    """How often that was made; 0 where there is none."""


_CODE_BITS = 21
"""They hold a code point."""
_CODE = (1 << _CODE_BITS) - 1


def _observed(columns: _Columns) -> _Observed:
    chosen = columns.of_char(columns.is_substitution)
    made = columns.of_char(columns.kind)[chosen] << 2 * _CODE_BITS
    made |= (columns.before[chosen].astype(np.int64) << _CODE_BITS) | columns.after[chosen]
    changes, first, n_changes = np.unique(made, return_index=True, return_counts=True)
    kept = np.bincount(columns.chars[columns.is_kept()])
    after = (changes & _CODE).astype(np.uint32)
    chars = np.union1d(after, np.flatnonzero(kept).astype(np.uint32))
    n_kept = np.zeros(len(chars), np.int64)
    is_short = chars < len(kept)
    n_kept[is_short] = kept[chars[is_short]]
    place = np.searchsorted(chars, after)
    n_all = n_kept + np.bincount(place, n_changes, len(chars)).astype(np.int64)
    order = np.lexsort((first, -n_changes, after))
    best = order[np.flatnonzero(np.diff(after[order], prepend=after[order[:1]] + 1))]
    top, n_top = np.zeros(len(chars), np.int64), np.zeros(len(chars), np.int64)
    top[place[best]], n_top[place[best]] = changes[best], n_changes[best]
    return _Observed(chars, n_kept, n_all, changes, n_changes, top, n_top)


def _best_operation(observed: _Observed, kinds: Sequence[tuple[str, float]]) -> _Operation:
    """The cheapest operation: a form, the rule that most changes were made by, and pairs where these are cheaper."""
    main = int(np.argmax(np.bincount(observed.changes >> 2 * _CODE_BITS, observed.n_changes)))
    _, form, is_pair = min((_cost(observed, form, main) for form in _FORMS), key=itemgetter(0))
    pairs: dict[str, _Source] = {}
    for i in np.flatnonzero(is_pair).tolist():
        char, change = chr(observed.chars[i]), int(observed.top[i])
        source = _Source(chr(change >> _CODE_BITS & _CODE), *kinds[change >> 2 * _CODE_BITS])
        pairs[char] = source if observed.n_top[i] > observed.n_kept[i] else _Source(char, *_KEPT)
    return _Operation(form, kinds[main], pairs)


def _cost(observed: _Observed, form: int, main: int) -> tuple[int, int, NDArray[np.bool_]]:
    """What a form costs with its exceptions, the form, and which characters are better off with a pair."""
    chars = observed.chars.astype(np.int64)
    formed = codes(_FORMS[form](text_of(observed.chars))).astype(np.int64)
    wanted = (main << 2 * _CODE_BITS) | (formed << _CODE_BITS) | chars
    at = np.minimum(np.searchsorted(observed.changes, wanted), len(observed.changes) - 1)
    n_made = np.where(observed.changes[at] == wanted, observed.n_changes[at], 0)
    n_fitting = np.where(formed == chars, observed.n_kept, n_made)
    n_best = np.maximum(observed.n_top, observed.n_kept)
    is_pair = _ROW_COST * (n_best - n_fitting) > _PAIR_COST
    rest = observed.n_all - np.where(is_pair, n_best, n_fitting)
    return int(_ROW_COST * rest.sum() + _PAIR_COST * is_pair.sum()), form, is_pair


def _operation_rows(operation: _Operation) -> Iterator[_Row]:
    """One row for the main rule, with the form, and one of pairs for each other rule."""
    groups: dict[tuple[str, float], list[tuple[str, str]]] = defaultdict(list)
    groups[operation.main] = []
    for char, source in operation.pairs.items():
        group = (source.rule, source.confidence) if char != source.before else operation.main
        groups[group].append((source.before, char))
    for (rule, confidence), pairs in groups.items():
        form = operation.form if (rule, confidence) == operation.main else BY_PAIRS
        before, after = ("".join(side) for side in zip(*pairs, strict=True)) if pairs else ("", "")
        yield _Row(rule, form, before, after, confidence)


def _exceptions(columns: _Columns, plain: Sequence[_Row], operation: _Operation) -> list[_Row]:
    """The edits that the operation does not imply, and the places where it would imply one that was not made."""
    lookup = _Lookup(operation, np.concatenate([columns.chars, columns.after]), columns.kinds)
    is_same = lookup.before(columns.after) == columns.before
    is_same &= lookup.kind(columns.after) == columns.of_char(columns.kind)
    is_implied = columns.all_of(is_same)
    # Two that touch and look alike would come back as one.
    touch = is_implied[1:] & is_implied[:-1] & (columns.ends[:-1] == columns.starts[1:])
    for i in np.flatnonzero(touch).tolist():
        if is_implied[i] and plain[i].rule == plain[i + 1].rule:
            is_implied[i + 1] = False
    changed = columns.is_kept() & (lookup.kind(columns.chars) >= 0)
    kept = ((at, chr(columns.chars[at])) for at in np.flatnonzero(changed).tolist())
    rows = [plain[i] for i in np.flatnonzero(~is_implied).tolist()]
    rows += (_Row(operation.main[0], at, char, char, 1.0) for at, char in kept)
    return sorted(rows, key=_start)  # one that puts something in before what is behind it


_start = itemgetter(_Row._fields.index("start"))


def _unpack_stage(step: str, text: str, rows: Sequence[_Row]) -> list[Edit]:
    """The edits of a stage, in order, from the text that it made."""
    operations = [row for row in rows if row.is_operation]
    edits: list[tuple[int, Edit]] = []
    exceptions: list[_Exception] = []
    end = shift = 0
    for row in rows[len(operations) :]:
        start = row.start + shift
        if start < end or not text.startswith(row.after, start):
            raise EditError(f"{row} of step {step!r} does not belong to this text: its 'after' is not at {start}")
        end = start + len(row.after)
        shift += len(row.after) - len(row.before)
        exceptions.append(_Exception(start, end, shift))
        if row.before != row.after:
            edits.append((start, Edit(step, *row)))
    if operations:
        edits += _implied(step, text, exceptions, _read_operation(operations))
        edits.sort(key=itemgetter(0))  # stable: one that put nothing in comes before what is behind it
    return [edit for _, edit in edits]


class _Exception(NamedTuple):
    """Where an operation does not reach, in the text after the stage."""

    start: int
    end: int
    shift: int
    """By how much longer all rows till here made the text."""


def _read_operation(rows: Sequence[_Row]) -> _Operation:
    main = rows[0]
    pairs = {
        char: _Source(before, row.rule, row.confidence)
        for row in rows
        for before, char in zip(row.before, row.after, strict=True)
    }
    return _Operation(main.start, (main.rule, main.confidence), pairs)


def _implied(
    step: str, text: str, exceptions: Sequence[_Exception], operation: _Operation
) -> Iterator[tuple[int, Edit]]:
    """The edits that an operation stands for, with where they are in the text after the stage: runs of one rule."""
    chars = codes(text)
    kinds: dict[tuple[str, float], int] = {}
    lookup = _Lookup(operation, chars, kinds)
    kind = lookup.kind(chars)
    for start, end, _ in exceptions:
        kind[start:end] = -1
    before = text_of(lookup.before(chars))
    edges = np.flatnonzero(kind[1:] != kind[:-1]) + 1
    starts = np.array([exception.start for exception in exceptions], np.int64)
    # What an exception has removed leaves no place of its own, and two runs beside it all the same.
    edges = np.unique(np.concatenate([[0], edges, starts, [len(chars)]]))
    runs = np.flatnonzero(kind[edges[:-1]] >= 0)
    shifts = np.array([0, *(exception.shift for exception in exceptions)], np.int64)
    shift = shifts[np.searchsorted(starts, edges[runs], "right")]
    named = list(kinds)
    of_run = zip(
        edges[runs].tolist(), edges[runs + 1].tolist(), kind[edges[runs]].tolist(), shift.tolist(), strict=True
    )
    for start, end, number, moved in of_run:
        rule, confidence = named[number]
        yield start, Edit(step, rule, start - moved, before[start:end], text[start:end], confidence)
