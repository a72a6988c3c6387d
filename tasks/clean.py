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


def clean(text: str, config: CleanConfig) -> Cleaned:
    """Run all steps but those that the configuration skips over a decoded text.

    Raises:
        EditError: if a step proposes edits that cannot be carried out (a bug of that step).
    """
    context = Context(config)
    stages: list[Stage] = []
    facts: dict[str, str] = {}
    damage: list[Damage] = []
    for _ in range(MAX_PASSES):
        settled = True
        damage.clear()
        for name, step in _steps(config):
            findings = list(step(text, context))
            edits = tuple(f for f in findings if isinstance(f, Edit))
            for fact in findings:
                if isinstance(fact, Fact):
                    facts.setdefault(fact.field, fact.value)
            damage += (f for f in findings if isinstance(f, Damage))
            if edits:
                text = apply(text, edits)
                stages.append(Stage(name, edits))
                settled = False
        if settled:
            break
    flags = sorted({d.kind for d in damage} | (set() if settled else {"unsettled"}))
    return Cleaned(text, tuple(stages), facts, tuple(damage), tuple(flags))


def _steps(config: CleanConfig) -> Iterator[tuple[str, Step]]:
    return ((name, step) for name, step in STEPS.items() if name not in config.skip)
