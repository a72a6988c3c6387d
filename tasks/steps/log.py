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

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import eq, itemgetter
from typing import Any, NamedTuple

from schemas.document import Edit, Stage
from tasks.scripts import simplify, traditionalize
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

    def changes(self, text: str) -> dict[str, _Source]:
        """The sources of those characters of a text that the operation says were changed."""
        chars = "".join(set(text))
        forms = zip(chars, _FORMS[self.form](chars), strict=True)
        implied = {char: _Source(form, *self.main) for char, form in forms if char != form}
        implied |= self.pairs
        for char in self.pairs:
            if implied[char].before == char:
                del implied[char]
        return implied


def pack(text_before: str, stages: Iterable[Stage]) -> list[dict[str, Any]]:
    """Rows for the stages that were applied to a text, in order.

    Raises:
        EditError: if the stages do not fit the text.
    """
    rows: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        text_after = apply(text_before, stage.edits)
        packed = _pack_stage(text_before, text_after, stage)
        rows += ({"stage": number, "step": stage.step, **row._asdict()} for row in packed)
        text_before = text_after
    return rows


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
    substitutions = list(filter(_is_substitution, stage.edits))
    if len(substitutions) >= _WORTHWHILE:
        operation = _best_operation(_observed(text_before, stage.edits, substitutions))
        packed = [*_operation_rows(operation), *_exceptions(text_before, stage.edits, operation)]
        if len(packed) < len(plain) and tuple(_unpack_stage(stage.step, text_after, packed)) == stage.edits:
            return packed
    return plain


def _is_substitution(edit: Edit) -> bool:
    """Whether it replaces characters one by one, as an operation does."""
    return len(edit.before) == len(edit.after) and not any(map(eq, edit.before, edit.after))


class _Observed(NamedTuple):
    """What became of the characters that an operation would reach."""

    sources: Mapping[str, Counter[_Source]]
    """How often each one came from which other."""
    kept: Counter[str]
    """How often each one was there before."""


def _observed(text: str, edits: Iterable[Edit], substitutions: Iterable[Edit]) -> _Observed:
    kept: list[str] = []
    end = 0
    for edit in edits:
        kept.append(text[end : edit.start])
        end = edit.start + len(edit.before)
    kept.append(text[end:])
    changes = Counter(chain.from_iterable(_changes_of(edit) for edit in substitutions))
    sources: dict[str, Counter[_Source]] = defaultdict(Counter)
    for (char, source), n in changes.items():
        sources[char][source] = n
    return _Observed(sources, Counter("".join(kept)))


def _changes_of(edit: Edit) -> Iterator[tuple[str, _Source]]:
    return ((char, _Source(b, edit.rule, edit.confidence)) for b, char in zip(edit.before, edit.after, strict=True))


def _best_operation(observed: _Observed) -> _Operation:
    rules: Counter[tuple[str, float]] = Counter()
    for sources in observed.sources.values():
        for source, n in sources.items():
            rules[source.rule, source.confidence] += n
    main = rules.most_common(1)[0][0]
    candidates = [_operation(observed, form, main) for form in _FORMS]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _operation(observed: _Observed, form: int, main: tuple[str, float]) -> tuple[int, _Operation]:
    """The cheapest pairs for one form, and what they and the exceptions cost."""
    cost = 0
    pairs: dict[str, _Source] = {}
    for char, by_form in _concerned(observed, form):
        sources: Mapping[_Source, int] = observed.sources.get(char, {})
        n_kept = observed.kept[char]
        n_all = sum(sources.values()) + n_kept
        n_fitting = n_kept if char == by_form else sources.get(_Source(by_form, *main), 0)
        kept = (_Source(char, *_KEPT), n_kept)
        best, n_best = max(chain([kept], sources.items()), key=itemgetter(1))
        if _ROW_COST * (n_best - n_fitting) > _PAIR_COST:
            pairs[char] = best
            cost += _PAIR_COST + _ROW_COST * (n_all - n_best)
        else:
            cost += _ROW_COST * (n_all - n_fitting)
    return cost, _Operation(form, main, pairs)


def _concerned(observed: _Observed, form: int) -> list[tuple[str, str]]:
    """The characters that were changed, or that the form says were changed, with their forms; sorted."""
    chars = "".join(observed.sources.keys() | observed.kept.keys())
    forms = zip(chars, _FORMS[form](chars), strict=True)
    return sorted((char, by_form) for char, by_form in forms if char != by_form or char in observed.sources)


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


def _exceptions(text: str, edits: Sequence[Edit], operation: _Operation) -> Iterator[_Row]:
    """The edits that the operation does not imply, and the places where it would imply one that was not made."""
    changes = operation.changes(text + "".join(edit.after for edit in edits))
    implied: Edit | None = None
    end = 0
    for edit in edits:
        yield from _kept(text, end, edit.start, changes, operation.main)
        # Two that touch and look alike would come back as one.
        merges = implied is not None and end == edit.start and implied.rule == edit.rule
        if _is_implied(edit, changes) and not merges:
            implied = edit
        else:
            implied = None
            yield _Row(*edit[1:])
        end = edit.start + len(edit.before)
    yield from _kept(text, end, len(text), changes, operation.main)


def _is_implied(edit: Edit, changes: Mapping[str, _Source]) -> bool:
    return len(edit.before) == len(edit.after) and all(
        changes.get(char) == (before, edit.rule, edit.confidence)
        for before, char in zip(edit.before, edit.after, strict=True)
    )


def _kept(text: str, start: int, end: int, changes: Mapping[str, _Source], main: tuple[str, float]) -> Iterator[_Row]:
    for position in range(start, end):
        if (char := text[position]) in changes:
            yield _Row(main[0], position, char, char, 1.0)


def _unpack_stage(step: str, text: str, rows: Sequence[_Row]) -> Iterator[Edit]:
    """The edits of a stage, in order, from the text that it made."""
    operations = [row for row in rows if row.is_operation]
    changes = _read_operation(operations).changes(text) if operations else {}
    end = shift = 0
    for row in rows[len(operations) :]:
        start = row.start + shift
        if start < end or not text.startswith(row.after, start):
            raise EditError(f"{row} of step {step!r} does not belong to this text: its 'after' is not at {start}")
        if changes:
            yield from _implied(step, text, range(end, start), shift, changes)
        end = start + len(row.after)
        shift += len(row.after) - len(row.before)
        if row.before != row.after:
            yield Edit(step, *row)
    if changes:
        yield from _implied(step, text, range(end, len(text)), shift, changes)


def _read_operation(rows: Sequence[_Row]) -> _Operation:
    main = rows[0]
    pairs = {
        char: _Source(before, row.rule, row.confidence)
        for row in rows
        for before, char in zip(row.before, row.after, strict=True)
    }
    return _Operation(main.start, (main.rule, main.confidence), pairs)


def _implied(step: str, text: str, where: range, shift: int, changes: Mapping[str, _Source]) -> Iterator[Edit]:
    """The edits that an operation stands for in one stretch of the text after the stage: runs of one rule each."""
    by_rule = groupby(where, lambda position: changes[text[position]][1:] if text[position] in changes else None)
    for kind, positions in by_rule:
        if kind:
            start, *_ = run = list(positions)
            after = text[start : run[-1] + 1]
            before = "".join(changes[char].before for char in after)
            yield Edit(step, kind[0], start - shift, before, after, kind[1])
