"""Cleaning one text: every step in its order, again and again until none finds anything to do."""

from collections.abc import Iterator

from schemas.config import CleanConfig
from schemas.document import Cleaned, Context, Damage, Edit, Fact, Stage, Step
from tasks.steps import STEPS
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
    stages: list[Stage] = []
    facts: dict[str, str] = {}
    for _ in range(MAX_PASSES):
        before, damage = len(stages), list[Damage]()
        for name, step in _steps(config):
            findings = list(step(text, Context(config)))
            edits = tuple(f for f in findings if isinstance(f, Edit))
            damage += [f for f in findings if isinstance(f, Damage)]
            for fact in findings:
                if isinstance(fact, Fact):
                    facts.setdefault(fact.field, fact.value)
            if edits:
                text = apply(text, edits)
                stages.append(Stage(name, edits))
        if len(stages) == before:
            break
    unsettled = {"unsettled"} if len(stages) > before else set[str]()
    tidy = {field: _tidy(value, config) for field, value in facts.items()}
    return Cleaned(text, tuple(stages), tidy, tuple(damage), tuple(sorted({d.kind for d in damage} | unsettled)))


def _steps(config: CleanConfig) -> Iterator[tuple[str, Step]]:
    return ((name, step) for name, step in STEPS.items() if name not in config.skip)


def _tidy(value: str, config: CleanConfig) -> str:
    for name, step in _steps(config):
        if name in TIDYING:
            value = apply(value, (f for f in step(value, Context(config)) if isinstance(f, Edit)))
    return value
