"""The bench of scale: its arithmetic, that what it makes up is what a run would find, and that it runs."""

import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scale
from benchmarks.scale import Meter, Row, growth, index_rows, known_dataset, read_warc, write_index
from tasks.corpus import lines
from tasks.corpus.duplicates import grams, likeness
from tasks.ingest.plan import read_known


def rows(*measured: tuple[int, float, int]) -> list[Row]:
    return [Row(n, seconds, memory, None) for n, seconds, memory in measured]


def test_growth_is_told_from_what_can_be_measured() -> None:
    mebi = 2**20
    assert growth(rows((10, 1, 10 * mebi), (100, 10, 10 * mebi))).startswith("time grows as n^1.00: linear or less")
    assert growth(rows((10, 1, 0), (100, 100, 0))).startswith("time grows as n^2.00: MORE THAN LINEAR")
    assert growth(rows((10, 0.01, 0), (100, 0.1, 0))) == "time too little to tell; memory too little to tell"
    assert growth(rows((1, 0.001, 0), (10, 1, 0), (100, 10, 0))).startswith("time grows as n^1.00")
    assert growth(rows((10, 1, 0), (10, 2, 0))).startswith("time too little to tell")


def test_a_meter_tells_time_memory_and_what_was_written(tmp_path: Path) -> None:
    meter = Meter("byte")
    n = 2**26

    def work() -> int:
        (tmp_path / "written").write_bytes(b"x" * 1_000)
        return int(np.ones(n, np.uint8)[:1_000].sum())

    assert meter("work", n, work, tmp_path) == 1_000
    (row,) = meter.rows["work"]
    assert row.written == 1_000
    assert row.memory > 0.9 * n
    assert row.seconds > 0


def test_documents_of_the_made_up_index_are_all_there(tmp_path: Path) -> None:
    store, last = known_dataset(tmp_path, 2_500, 0, in_containers=True)
    known = read_known(last, store)
    assert known["doc_id"].nunique() == 2_500
    assert known["source_uri"].nunique() == 3
    assert not known.duplicated(["source_uri", "record"]).any()


def test_the_furniture_of_made_up_sites_is_found(tmp_path: Path) -> None:
    part = write_index(tmp_path / "index", index_rows(0, 300, np.random.default_rng(0)))
    counted = lines.count_index(part, frozenset(), 0, tmp_path)
    lines.merge([counted], 10, tmp_path / "merged")
    known = lines.Recurring(tmp_path / "merged")
    assert len(known.learned) == 3 * scale.SITE_LINES
    assert lines.told(counted, known).all()


def test_made_up_texts_have_nothing_in_common() -> None:
    dice = random.Random(0)
    one, other = (grams(scale.made_up_text(dice)) for _ in range(2))
    assert len(one) > scale.CHARACTERS - 10
    assert likeness(one, other).jaccard == 0


@pytest.mark.parametrize("name", ["pages.warc", "pages.warc.gz"])
def test_pages_come_out_of_the_warc_they_went_into(name: str, tmp_path: Path) -> None:
    pages = [b"<html><p>\xc4\xe3\xba\xc3</p>", b"<html>\r\n\r\n<p>two</p>"]
    read = read_warc(pages, tmp_path / name)
    assert [document.raw.content for document in read if not hasattr(document.raw, "reason")] == pages
    assert read[1].origin.url == "http://site-1.example/1"


def test_runs_quickly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["scale", "--quick"])
    monkeypatch.setattr(scale, "DAMAGE", ("commas put in",))  # the others load models
    assert scale.main() == 0
    output = capsys.readouterr().out
    assert [line for line in output.splitlines() if not line.startswith(" ")] == list(scale.QUICK)
    assert "40 of 40 copies found" in output
    assert output.count("documents/s") == 3


def test_an_unknown_part_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["scale", "tasks"])
    with pytest.raises(SystemExit):
        scale.main()
    assert "no part tasks" in capsys.readouterr().err
