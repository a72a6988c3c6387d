"""Cleaning one text: every step in its order, again and again until none finds anything to do."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

from schemas.config import CleanConfig
from schemas.document import Cleaned, Context, Damage, Edit, Edits, Fact, Finding, Stage, Step
from tasks.steps import STEPS
from tasks.steps.boilerplate import has_unsure_lines
from tasks.steps.edits import apply

MAX_PASSES = 5
"""A removal can uncover what a step before it looks for, so passes are repeated until one changes nothing: that makes
cleaning twice the same as cleaning once by construction. Damaged text settles in two or three passes; one that has
not settled after five is flagged `unsettled`."""


TIDYING = ("symbols", "punctuation", "script")
"""Steps that what a removed line said goes through as well: a title stands in the script of its text."""


def clean(text: str, config: CleanConfig) -> Cleaned:
    """Run all steps but those that the configuration skips over a decoded text.

    Raises:
        EditError: if a step proposes edits that cannot be carried out (a bug of that step).
    """
    return _settle(Cleaned(text, ()), config)


def clean_further(cleaned: Cleaned, edits: tuple[Edit, ...], config: CleanConfig) -> Cleaned:
    """Carry out edits of one step on a clean text, and clean what is left: they may have uncovered something.

    Raises:
        EditError: if they cannot be carried out.
    """
    text = apply(cleaned.text, edits)
    damage = tuple(_move(list(cleaned.damage), edits, text))
    stages = (*cleaned.stages, Stage(edits[0].step, edits))
    return _settle(replace(cleaned, text=text, stages=stages, damage=damage), config)


def _settle(cleaned: Cleaned, config: CleanConfig) -> Cleaned:
    """Run the steps until none finds anything; what was known before stays known.

    Behind the last edit no step sees a text that it has not seen, so what it found there stands for what it would find.
    """
    text = cleaned.text
    stages = list(cleaned.stages)
    facts: dict[str, str] = {}
    damage = list(cleaned.damage)
    context = Context(config)
    steps = _steps(config)
    asked: dict[str, tuple[str, Edits | tuple[Finding, ...]]] = {}
    for _ in range(MAX_PASSES):
        before = len(stages)
        for name, step in steps:
            if name not in asked or asked[name][0] is not text:  # in the same text it would find the same again
                found = step(text, context)
                asked[name] = text, found if type(found) is Edits else tuple(found)
            findings = asked[name][1]
            if not findings:
                continue
            edits = findings if type(findings) is Edits else _of(Edit, findings)
            if len(edits) < len(findings):
                for fact in _of(Fact, findings):
                    facts.setdefault(fact.field, fact.value)
                damage = _merge(damage, _of(Damage, findings))
            if edits:
                text = apply(text, edits)
                damage = list(_move(damage, edits, text))
                stages.append(Stage(name, edits))
        if len(stages) == before:
            break
    unsettled = {"unsettled"} if len(stages) > before else set[str]()
    if "boilerplate" not in config.skip and has_unsure_lines(text):
        unsettled |= {"unsure-lines"}
    facts = {field: _tidy(value, config) for field, value in facts.items() if field not in cleaned.facts}
    flags = {d.kind for d in damage} | unsettled
    return Cleaned(text, tuple(stages), {**cleaned.facts, **facts}, tuple(damage), tuple(sorted(flags)))


_Kind = TypeVar("_Kind", Edit, Fact, Damage)


def _of(kind: type[_Kind], findings: Iterable[Finding]) -> tuple[_Kind, ...]:
    return tuple(found for found in findings if isinstance(found, kind))


def _merge(known: list[Damage], found: Sequence[Damage]) -> list[Damage]:
    """Damage that is known and damage that was found, each place once, in order.

    What an earlier pass found stays known: the glosses that told of a shift are gone by the next.
    """
    if not found:
        return known
    spans = sorted((d.start, d.start + len(d.text)) for d in found if d.text)
    ends = [*accumulate((end for _, end in spans), max)]

    def is_elsewhere(d: Damage) -> bool:
        n_before = bisect_left(spans, (d.start + len(d.text),))
        return not d.text or not n_before or ends[n_before - 1] <= d.start

    return sorted([*filter(is_elsewhere, known), *found], key=lambda d: d.start)


def _move(damage: list[Damage], edits: Sequence[Edit], text: str) -> Iterator[Damage]:
    """Damage where it stands in the edited text; what its own step repaired or an edit removed is damage no more."""
    upcoming = 0
    shift = 0
    for d in damage:
        start, end = d.start, d.start + len(d.text)
        while upcoming < len(edits) and edits[upcoming].start + len(edits[upcoming].before) <= start:
            shift += len(edits[upcoming].after) - len(edits[upcoming].before)
            upcoming += 1
        last = upcoming
        while last < len(edits) and edits[last].start < end:
            last += 1
        inside = edits[upcoming:last]
        moved = text[start + shift : end + shift + sum(len(e.after) - len(e.before) for e in inside)]
        if moved and not any(e.step == d.step for e in inside):
            yield d._replace(start=start + shift, text=moved)


def _steps(config: CleanConfig) -> list[tuple[str, Step]]:
    return [(name, step) for name, step in STEPS.items() if name not in config.skip]


def _tidy(value: str, config: CleanConfig) -> str:
    for name, step in _steps(config):
        if name in TIDYING:
            value = apply(value, (f for f in step(value, Context(config)) if isinstance(f, Edit)))
    return value
