"""The bench of scaling: that it finds what grows too fast, and nothing else."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import scaling
from benchmarks.scaling import Call, Probe, exponent, grow
from benchmarks.speed import OURS, OURS_2
from tasks.steps import STEPS


def test_exponents_are_slopes() -> None:
    assert exponent([(1, 2), (10, 20), (100, 200)]) == pytest.approx(1)
    assert exponent([(1, 2), (10, 200), (100, 20_000)]) == pytest.approx(2)
    assert math.isnan(exponent([(1, 2), (1, 3)]))


def working(seconds: Callable[[int], float]) -> Probe:
    """A probe that takes so many seconds of processor time."""

    def work(n: int) -> None:
        end = time.thread_time() + seconds(n)
        while time.thread_time() < end:
            pass

    def prepare(n: int) -> Call:
        return lambda: work(n)

    return Probe("work", "", prepare)


def test_what_is_quadratic_is_found() -> None:
    growth = grow(working(lambda n: (n / 8_000) ** 2 * 0.02), least=0.02)
    assert growth is not None
    assert growth.n == 8_000
    assert growth.ratio == pytest.approx(4, rel=0.1)


def test_what_is_linear_is_not() -> None:
    growth = grow(working(lambda n: n / 8_000 * 0.02), least=0.02)
    assert growth is not None
    assert growth.ratio == pytest.approx(2, rel=0.1)


def test_what_takes_no_time_has_no_growth() -> None:
    assert grow(working(lambda _: 0.0), sizes=(1_000, 4_000)) is None


def test_a_cold_start_is_no_growth() -> None:
    cold = iter([0.2])
    growth = grow(working(lambda n: next(cold, 0.0) + n / 8_000 * 0.02), least=0.02)
    assert growth is not None
    assert growth.ratio == pytest.approx(2, rel=0.1)


def test_every_step_is_asked_about_everything() -> None:
    whats = [probe.what for probe in scaling.probes()]
    assert {*STEPS, "clean", "decode", "HTML", "log", "rows"} == set(whats)
    assert all(whats.count(step) == len(scaling.TEXTS_OF) for step in STEPS)


@pytest.mark.parametrize("n", [0, 1, 1_000])
def test_inputs_are_as_large_as_they_should_be(n: int) -> None:
    assert all(len(text(n)) == n for text in scaling.TEXTS_OF.values())
    assert all(n / 2 <= len(given(n)) + 40 <= 3 * n + 250 for given in scaling.BYTES.values())
    assert all(len(page(n)) <= 2 * n + 400 for page in scaling.PAGES.values())


def test_a_run_leaves_figures_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert scaling.main(["--parts", "growth", "--only", "log", "--out", str(tmp_path)]) == 0
    assert "2 probes" in capsys.readouterr().out
    told = json.loads((tmp_path / "scaling.json").read_text(encoding="utf-8"))
    assert {one["name"] for one in told["growth"]} == {"removals", "replacements"}
    assert scaling.main(["--draw", str(tmp_path / "scaling.json"), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "scaling.svg").stat().st_size > 1_000


def test_what_follows_is_told() -> None:
    points = [
        {"megabytes": mb, "documents": 10 * mb, "seconds": 1 + 2 * mb, "wall": 1.0, "peak": 10**8}
        for mb in (1, 100, 200)
    ]
    told = {
        "corpus": points,
        "workers": {OURS: 9.0, OURS_2: 5.0},
        "growth": [{"ratio": 2.0}, {"ratio": 4.0}],
    }
    lines = list(scaling.summary(told))
    assert lines[0] == "corpus: time grows as n^1.00 (100 to 200 megabytes)"
    assert lines[1].startswith("corpus: 2 GB would take 1.1 h")
    assert lines[2] == "workers: two are 1.80 times as fast as one"
    assert lines[3] == "growth: 1 of 2 probes that take time are past 2.6"


def test_an_unknown_part_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scaling.main(["--parts", "all"])
    assert "no part all" in capsys.readouterr().err
