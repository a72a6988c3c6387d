"""What tests of single steps share: the edits a step proposes, and time that must not grow faster than the text."""

import time
from collections.abc import Callable

import pytest

from schemas.config import CleanConfig
from schemas.document import Context, Edit, Step
from tasks.steps.edits import apply, revert

EditsOf = Callable[[Step, str], list[Edit]]
IsLinear = Callable[[Step, str], bool]


def _edits_of(step: Step, text: str) -> list[Edit]:
    edits = [f for f in step(text, Context(CleanConfig())) if isinstance(f, Edit)]
    assert revert(apply(text, edits), edits) == text
    return edits


def _is_linear(step: Step, text: str) -> bool:
    start = time.process_time()
    _edits_of(step, text)
    return time.process_time() - start < 30  # quadratic ones took minutes


@pytest.fixture(scope="session")
def edits_of() -> EditsOf:
    """Edits of a step on a text, proved to carry out and to revert."""
    return _edits_of


@pytest.fixture(scope="session")
def is_linear() -> IsLinear:
    """Whether a step is done with a text of some 100,000 characters in seconds."""
    return _is_linear
