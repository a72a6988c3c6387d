"""The quality bench: its counting, and that it runs on what ships."""

from pathlib import Path

import pytest

from benchmarks import quality
from benchmarks.quality import Score


def test_counts_precision_and_recall(capsys: pytest.CaptureFixture[str]) -> None:
    score = Score("length", len, (2, 3), 3)
    quality.found(score, {"short": ["a", "ab"]}, {"long": ["abc", "abcd", "x"], "longer": ["abcde"]})
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        ["length", "documents", ">=", "2", ">=", "3*"],
        ["short", "2", "1", "0"],
        ["long", "3", "2", "2"],
        ["longer", "1", "1", "1"],
        ["precision", "75.0%", "100.0%"],
        ["recall", "75.0%", "75.0%"],
    ]


def test_runs_on_what_ships(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["quality"])
    monkeypatch.setattr(quality, "documents", lambda path: [path.read_text(encoding="utf-8")[:200]])
    quality.main()
    output = capsys.readouterr().out
    assert "seed 000" in output
    assert "processor time" in output


def test_runs_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {
        "human/press/1.txt": "The end of the affair.",
        "machine/spun/1.txt": "Among them, one.",
        "languages/zh-tw.txt": "產業融合發展" * 100,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["quality", str(tmp_path)])
    monkeypatch.setattr(quality, "cost", lambda: None)
    quality.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert ["machine/spun", "1", "1", "0", "0", "0", "0"] in rows
    assert rows[-1] == ["0.9", "to", "1.0", "800", "100.0%"]  # those of 20, 40, 100 and 300 characters
