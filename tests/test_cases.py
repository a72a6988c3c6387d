"""Every case of `tests/cases/<step>.toml`, in four stances.

- `wild`: damage as it was met on real pages; `after` is what the step alone makes of it.
- `made`: the same, written for this file.
- `negative`: must not change (no `after`).
- `failure`: known to go wrong; `after` is what would be right. Strictly expected to fail, so that a repair shows.

Optional keys: `script` (configuration), `facts` (a table: what the step must note), `damage` (list of kinds).
The order of keys is `label, comment, stance, before, after`.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.config import CleanConfig
from schemas.document import Context, Damage, Edit, Fact
from tasks.steps import STEPS
from tasks.steps.edits import apply, revert

CASES = Path(__file__).parent / "cases"


def cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            marks = [pytest.mark.xfail(strict=True)] if case["stance"] == "failure" else []
            yield pytest.param(path.stem, case, id=f"{path.stem}: {case['label']}", marks=marks)


@pytest.mark.parametrize(("step", "case"), list(cases()))
def test_case(step: str, case: dict[str, Any]) -> None:
    before = case["before"]
    assert case["stance"] in {"wild", "made", "negative", "failure"}
    assert ("after" in case) == (case["stance"] != "negative"), "negative cases have no 'after', all others need one"
    context = Context(CleanConfig(script=case.get("script", "hans")))
    findings = list(STEPS[step](before, context))
    edits = [f for f in findings if isinstance(f, Edit)]
    after = apply(before, edits)
    assert after == case.get("after", before)
    assert revert(after, edits) == before
    assert {edit.step for edit in edits} <= {step}
    assert all(0 < edit.confidence <= 1 for edit in edits)
    if "facts" in case:
        assert {f.field: f.value for f in findings if isinstance(f, Fact)} == case["facts"]
    if "damage" in case:
        assert sorted({f.kind for f in findings if isinstance(f, Damage)}) == case["damage"]


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_cases_that_must_change_and_that_must_not(step: str) -> None:
    stances = {c["stance"] for c in tomllib.loads((CASES / f"{step}.toml").read_text(encoding="utf-8"))["case"]}
    assert stances & {"wild", "made"}
    assert "negative" in stances
