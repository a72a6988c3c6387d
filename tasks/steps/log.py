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

from schemas.document import Edit, Edits, Stage, places, within
from tasks.scripts import codes, simplified_codes, text_of, traditional_codes
from tasks.steps.edits import EditError, apply, revert

BY_PAIRS = -1
BY_TRADITIONAL = -2
BY_SIMPLIFIED = -3

_Codes = NDArray[np.uint32]

_FORMS: dict[int, Callable[[_Codes], _Codes]] = {
    BY_PAIRS: np.copy,
    BY_TRADITIONAL: traditional_codes,
    BY_SIMPLIFIED: simplified_codes,
}
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
    kind: tuple[str, float]
    """Rule and confidence."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """Sources by character: of the pairs first, then by the form."""

    form: int
    main: tuple[str, float]
    """Rule and confidence of what the form replaces."""
    pairs: Mapping[str, _Source]

    def pair_chars(self) -> Iterator[tuple[str, str]]:
        """Characters and what each was before."""
        return ((char, source.before) for char, source in self.pairs.items())


class _Told(NamedTuple):
    """What an operation says of characters."""

    before: _Codes
    """What each was before; itself where it was not changed."""
    kind: NDArray[np.int64]
    """Number of the rule by which it was changed; -1 where it was not."""


def _told(operation: _Operation, chars: _Codes, kinds: dict[tuple[str, float], int]) -> _Told:
    """What an operation says of characters.

    Args:
        operation: Says it.
        chars: Code points, in any order, each as often as it likes.
        kinds: Numbers, from 0, of rules with their confidence: those of the operation are added.
    """
    before = _FORMS[operation.form](chars)
    kind = np.where(before != chars, kinds.setdefault(operation.main, len(kinds)), -1)
    if operation.pairs:
        named, sources = (codes("".join(side)) for side in zip(*operation.pair_chars(), strict=True))
        numbers = [kinds.setdefault(source.kind, len(kinds)) for source in operation.pairs.values()]
        # By code point, which pair it is in; 0 for none.
        pair = np.zeros(max(chars.max(initial=0), named.max()) + 1, np.int32)
        pair[named] = np.arange(1, len(named) + 1)
        pair_of = pair[chars]
        (at,) = pair_of.nonzero()
        of_pair = pair_of[at] - 1
        before[at] = sources[of_pair]
        kind[at] = np.where(sources == named, -1, numbers)[of_pair]
    return _Told(before, kind)


class _Columns:
    """The edits of a stage with the characters of the text, and of those edits that keep its length."""

    def __init__(self, text: str, edits: Edits) -> None:
        self.edits = edits
        self.chars = codes(text)
        lengths = edits.n_before
        self.ends = edits.starts + lengths
        self._is_even: NDArray[np.bool_] = lengths == edits.n_after
        self._n_chars = lengths[self._is_even]
        self.before, self.after = codes(edits.before), codes(edits.after)
        if not self._is_even.all():
            self.before = self.before[within(edits.before_at[:-1][self._is_even], self._n_chars)]
            self.after = self.after[within(edits.after_at[:-1][self._is_even], self._n_chars)]
        # Whether it replaces characters one by one, as an operation does.
        self.is_substitution = self.all_of(self.before != self.after)
        # For each character of the text, whether no edit replaces or removes it.
        self.is_kept = np.ones(len(self.chars), bool)
        self.is_kept[within(edits.starts, lengths)] = False

    def all_of(self, is_so: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each edit, whether something holds for all of its characters; False for those that change the length."""
        if is_so.all():
            return self._is_even.copy()
        found = np.zeros(len(self.ends), bool)
        n_others = places(~is_so)[places(self._n_chars)]
        found[self._is_even] = n_others[1:] == n_others[:-1]
        return found

    def of_char(self, of_edit: NDArray[Any]) -> NDArray[Any]:
        """A value of edits for each of their characters."""
        return np.repeat(of_edit[self._is_even], self._n_chars)


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
        rows += [dict(zip(_COLUMNS, (number, stage.step, *row), strict=True)) for row in packed]
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
        stage = Stage(step, _unpack_stage(step, text, packed))
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


_COLUMNS = ("stage", "step", *_Row._fields)


def _pack_stage(text_before: str, text_after: str, stage: Stage) -> list[_Row]:
    """Operations and exceptions if they are smaller than the edits and say the same, or else the edits."""
    if len(stage.edits) >= _WORTHWHILE:
        edits = stage.edits if isinstance(stage.edits, Edits) else Edits.of(stage.edits)
        columns = _Columns(text_before, edits)
        if np.count_nonzero(columns.is_substitution) >= _WORTHWHILE:
            operation = _best_operation(_observed(columns), edits.kinds)
            packed = [*_operation_rows(operation), *_exceptions(columns, operation)]
            if len(packed) < len(edits) and edits == _unpack_stage(stage.step, text_after, packed):
                return packed
    return [_Row(*edit[1:]) for edit in stage.edits]


class _Observed(NamedTuple):
    """What became of the characters that an operation would reach: of each there is now, where it came from.

    A change is a rule, a character before and a character after.
    """

    chars: _Codes
    """Code points, in order."""
    n_kept: NDArray[np.int64]
    """How often each one was there before."""
    n_all: NDArray[np.int64]
    """How often each one is there."""
    kind: NDArray[np.int64]
    """Of each change: number of the rule."""
    before: NDArray[np.int64]
    """Code point before."""
    place: NDArray[np.intp]
    """The one after, by its place in `chars`."""
    n_made: NDArray[np.int64]
    """How often it was made."""
    top: NDArray[np.intp]
    """For each character the most frequent change to it; where two are as frequent the one that came first counts."""
    n_top: NDArray[np.int64]
    """How often that was made; 0 where there is none."""


_CODE_BITS = 21
"""They hold a code point."""
_CODE = (1 << _CODE_BITS) - 1


def _observed(columns: _Columns) -> _Observed:
    chosen = columns.of_char(columns.is_substitution)
    after = columns.after[chosen]
    made = columns.of_char(columns.edits.kind)[chosen] << 2 * _CODE_BITS
    made |= (columns.before[chosen].astype(np.int64) << _CODE_BITS) | after
    order = np.argsort(made, kind="stable")
    changes, first, n_made = _tallied(made[order])
    chars, _, n_all = _tallied(np.sort(np.concatenate([columns.chars[columns.is_kept], after])))
    place = np.searchsorted(chars, (changes & _CODE).astype(np.uint32))
    n_kept = n_all - np.bincount(place, n_made, len(chars)).astype(np.int64)
    ranked = np.lexsort((order[first], -n_made, place))
    reached, best, _ = _tallied(place[ranked])
    top, n_top = np.zeros(len(chars), np.intp), np.zeros(len(chars), np.int64)
    top[reached] = ranked[best]
    n_top[reached] = n_made[top[reached]]
    kind, before = changes >> 2 * _CODE_BITS, changes >> _CODE_BITS & _CODE
    return _Observed(chars, n_kept, n_all, kind, before, place, n_made, top, n_top)


def _tallied(in_order: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]]:
    """Of sorted values each once, where it begins, and how often it is there."""
    is_new = np.ones(len(in_order) + 1, bool)
    np.not_equal(in_order[1:], in_order[:-1], out=is_new[1:-1])
    (at,) = is_new.nonzero()
    return in_order[at[:-1]], at[:-1], at[1:] - at[:-1]


def _best_operation(observed: _Observed, kinds: Sequence[tuple[str, float]]) -> _Operation:
    """The cheapest operation: a form, the rule that most changes were made by, and pairs where these are cheaper."""
    main = int(np.argmax(np.bincount(observed.kind, observed.n_made)))
    form, is_pair = _cheapest(observed, main)
    chosen = np.flatnonzero(is_pair)
    top, chars = observed.top[chosen], text_of(observed.chars[chosen])
    sources = zip(map(chr, observed.before[top].tolist()), observed.kind[top].tolist(), strict=True)
    is_change = (observed.n_top > observed.n_kept)[chosen].tolist()
    pairs = {
        char: _Source(before, kinds[kind]) if is_other else _Source(char, _KEPT)
        for char, (before, kind), is_other in zip(chars, sources, is_change, strict=True)
    }
    return _Operation(form, kinds[main], pairs)


def _cheapest(observed: _Observed, main: int) -> tuple[int, NDArray[np.bool_]]:
    """The form that costs least with its exceptions, and which characters are better off with a pair."""
    formed = np.array([form(observed.chars) for form in _FORMS.values()])  # by form and character
    forms, made = ((formed[:, observed.place] == observed.before) & (observed.kind == main)).nonzero()
    n_fitting = np.zeros(formed.shape, np.int64)
    n_fitting[forms, observed.place[made]] = observed.n_made[made]
    n_fitting = np.where(formed == observed.chars, observed.n_kept, n_fitting)
    n_best = np.maximum(observed.n_top, observed.n_kept)
    is_pair = _ROW_COST * (n_best - n_fitting) > _PAIR_COST
    rest = observed.n_all - np.where(is_pair, n_best, n_fitting)
    best = int(np.argmin(_ROW_COST * rest.sum(1) + _PAIR_COST * is_pair.sum(1)))
    return list(_FORMS)[best], is_pair[best]


def _operation_rows(operation: _Operation) -> Iterator[_Row]:
    """One row for the main rule, with the form, and one of pairs for each other rule."""
    groups: dict[tuple[str, float], list[tuple[str, str]]] = defaultdict(list)
    groups[operation.main] = []
    for char, source in operation.pairs.items():
        group = source.kind if char != source.before else operation.main
        groups[group].append((source.before, char))
    for (rule, confidence), pairs in groups.items():
        form = operation.form if (rule, confidence) == operation.main else BY_PAIRS
        before, after = ("".join(side) for side in zip(*pairs, strict=True)) if pairs else ("", "")
        yield _Row(rule, form, before, after, confidence)


def _exceptions(columns: _Columns, operation: _Operation) -> list[_Row]:
    """The edits that the operation does not imply, and the places where it would imply one that was not made."""
    edits = columns.edits
    kinds = {kind: number for number, kind in enumerate(edits.kinds)}
    told = _told(operation, np.concatenate([columns.after, columns.chars]), kinds)
    n = len(columns.after)
    is_same = (told.before[:n] == columns.before) & (told.kind[:n] == columns.of_char(edits.kind))
    is_implied = columns.all_of(is_same)
    # Two that touch and look alike would come back as one.
    touch = is_implied[1:] & is_implied[:-1] & (columns.ends[:-1] == edits.starts[1:])
    rules = [rule for rule, _ in edits.kinds]
    for i in np.flatnonzero(touch).tolist():
        if is_implied[i] and rules[edits.kind[i]] == rules[edits.kind[i + 1]]:
            is_implied[i + 1] = False
    changed = np.flatnonzero(columns.is_kept & (told.kind[n:] >= 0))
    kept = zip(changed.tolist(), text_of(columns.chars[changed]), strict=True)
    rows = [_Row(*edit[1:]) for edit in edits.chosen(np.flatnonzero(~is_implied))]
    rows += (_Row(operation.main[0], at, char, char, 1.0) for at, char in kept)
    return sorted(rows, key=_start)  # one that puts something in before what is behind it


_start = itemgetter(_Row._fields.index("start"))


def _unpack_stage(step: str, text: str, rows: Sequence[_Row]) -> tuple[Edit, ...] | Edits:
    """The edits of a stage, in order, from the text that it made."""
    n_operations = sum(row.is_operation for row in rows)
    exceptions: list[_Exception] = []
    end = shift = 0
    for row in rows[n_operations:]:
        start = row.start + shift
        if start < end or not text.startswith(row.after, start):
            raise EditError(f"{row} of step {step!r} does not belong to this text: its 'after' is not at {start}")
        end = start + len(row.after)
        shift += len(row.after) - len(row.before)
        exceptions.append(_Exception(start, end, shift, row))
    if n_operations:
        return _restored(step, codes(text), exceptions, _read_operation(rows[:n_operations]))
    return tuple(Edit(step, *row) for row in rows if row.before != row.after)


class _Exception(NamedTuple):
    """Where an operation does not reach, in the text after the stage."""

    start: int
    end: int
    shift: int
    """By how much longer all rows till here made the text."""
    row: _Row


def _read_operation(rows: Sequence[_Row]) -> _Operation:
    main = rows[0]
    pairs = {
        char: _Source(before, (row.rule, row.confidence))
        for row in rows
        for before, char in zip(row.before, row.after, strict=True)
    }
    return _Operation(main.start, (main.rule, main.confidence), pairs)


def _restored(step: str, chars: _Codes, exceptions: Sequence[_Exception], operation: _Operation) -> Edits:
    """The edits of a stage: exceptions that are edits, and those that the operation stands for, in order."""
    kinds: dict[tuple[str, float], int] = {}
    before, kind = _told(operation, chars, kinds)
    plain = [exception.row for exception in exceptions if exception.row.before != exception.row.after]
    columns = np.concatenate([_plain_columns(exceptions, kinds, len(chars)), _runs(kind, exceptions)], 1)
    # Stable: one that puts something in comes before what is behind it.
    kind, start, at_before, n_before, at_after, n_after = columns[:, np.argsort(columns[1], kind="stable")]
    sources = np.concatenate([before, codes("".join(row.before for row in plain))])
    olds, news = text_of(sources[within(at_before, n_before)]), text_of(chars[within(at_after, n_after)])
    return Edits(step, list(kinds), kind, start, olds, places(n_before), news, places(n_after))


def _plain_columns(
    exceptions: Sequence[_Exception], kinds: dict[tuple[str, float], int], n_chars: int
) -> NDArray[np.int64]:
    """Exceptions that are edits, as `_runs` has those of the operation; their `before` stand behind the text."""
    rows = list[tuple[int, ...]]()
    for start, end, _, row in exceptions:
        if row.before != row.after:
            kind = kinds.setdefault((row.rule, row.confidence), len(kinds))
            rows.append((kind, row.start, n_chars, len(row.before), start, end - start))
            n_chars += len(row.before)
    return np.array(rows, np.int64).reshape(-1, 6).T


def _runs(kind: NDArray[np.int64], exceptions: Sequence[_Exception]) -> NDArray[np.int64]:
    """The edits that an operation stands for: runs of one rule.

    Args:
        kind: For each character of the text after the stage, number of the rule by which it was changed, or -1.
        exceptions: Where the operation does not reach.

    Returns:
        Six rows: number of the rule, `start`, and where `before` and `after` stand, each with its length.
    """
    for start, end, _, _ in exceptions:
        kind[start:end] = -1
    is_edge = np.ones(len(kind) + 1, bool)
    np.not_equal(kind[1:], kind[:-1], out=is_edge[1:-1])
    starts = np.array([exception.start for exception in exceptions], np.int64)
    # What an exception has removed leaves no place of its own, and two runs beside it all the same.
    is_edge[starts] = True
    edges = np.flatnonzero(is_edge)
    runs = np.flatnonzero(kind[edges[:-1]] >= 0)
    begins, lengths = edges[runs], edges[runs + 1] - edges[runs]
    shifts = np.array([0, *(exception.shift for exception in exceptions)], np.int64)
    shift = shifts[np.searchsorted(starts, begins, "right")]
    return np.array([kind[begins], begins - shift, begins, lengths, begins, lengths])
