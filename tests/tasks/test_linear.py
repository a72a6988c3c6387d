"""Time grows as the input does, whatever it is: no step, decoder or reader of pages is quadratic in anything.

Inputs are those of `benchmarks/scaling.py`. Four times the input may take eight times as long (quadratic would be
sixteen), where it takes long enough to tell. One that takes less than LEAST at the largest of SIZES passes: were it
quadratic with anything but a tiny constant, it would take longer. Processor time and retries, so that a busy machine
changes nothing.
"""

from collections.abc import Iterator
from itertools import groupby

import pytest

from benchmarks.scaling import PAGES, TEXTS_OF, Call, Growth, Probe, grow, probes

LEAST = 0.01

SIZES = (400, 6_400)
"""From 400 on: searches look at so many characters at once, and within them may take longer for each."""

BOUND = 8

TRIES = 3

SOME = 3
"""Of the hostile inputs, each step is given every third, and the next step the next third, to take seconds."""

TOO_LONG = ("random mojibake", "random Latin", "trims", "shifts")
"""They take seconds, and what stands on one line, or again and again, is asked for beside them."""

WHOLE = ("one long line", "lines", "Traditional lines", "glosses", "commas put in", "furniture", "dates", "spam lines")
"""What all steps together are given: each alone is given the rest."""


def some() -> Iterator[tuple[str, list[Probe]]]:
    """Probes by what is done, each with all of what grows, and some of what is hostile."""
    hostile = [name for name in (*TEXTS_OF, *PAGES) if name.startswith(("'", '"', "again"))]
    for turn, (what, group) in enumerate(groupby(probes(), key=lambda probe: probe.what)):
        left_out = {*TOO_LONG, *(name for i, name in enumerate(hostile) if i % SOME != turn % SOME)}
        if what == "clean":
            yield what, [probe for probe in group if probe.name in WHOLE]
        else:
            yield what, [probe for probe in group if what == "decode" or probe.name not in left_out]


def too_fast(probe: Probe) -> Growth | None:
    """How the time of a probe grows, if that is more than linear at every try."""
    for _ in range(TRIES):
        growth = grow(probe, 4, sizes=SIZES, least=LEAST, bound=BOUND)
        if growth is None or growth.ratio < BOUND:
            return None
    return growth


@pytest.mark.parametrize(("what", "group"), [pytest.param(what, group, id=what) for what, group in some()])
def test_time_is_linear(what: str, group: list[Probe]) -> None:
    assert group, what
    assert [found for probe in group if (found := too_fast(probe))] == []


def test_what_is_quadratic_is_found() -> None:
    def quadratic(text: str) -> int:
        return sum(text.count("b", i) for i in range(0, len(text), 4))

    def prepare(n: int) -> Call:
        text = "a" * 10 * n
        return lambda: quadratic(text)

    growth = grow(Probe("count", "a", prepare), 4, sizes=SIZES, least=LEAST, bound=BOUND)
    assert growth is not None
    assert growth.ratio > BOUND
