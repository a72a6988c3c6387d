"""The fidelity bench: its counting, its floors, and a small run over all kinds against them."""

import random
from pathlib import Path

import pytest

from benchmarks import fidelity
from benchmarks.fidelity import KINDS, Difference, Place
from tasks.damage.pages import Damaged

DOCUMENTS = 2
"""Per kind: enough to notice a repair that stopped working, few enough to wait for."""

TEXTS = fidelity.documents(fidelity.TEXTS, 0)
FLOORS = fidelity.load_floors(fidelity.FLOORS)[f"documents-{DOCUMENTS}"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_figure_is_below_its_floor(kind: str) -> None:
    todo = fidelity.jobs(TEXTS, [kind], DOCUMENTS, 0, ("ours",))
    ((_, outcome),) = fidelity.run(todo, workers=1)
    assert kind in FLOORS
    assert fidelity.below(kind, fidelity.figures(outcome.counts["ours"]), FLOORS) == []


def test_floors_are_kept_for_the_default_run_and_for_this_one() -> None:
    floors = fidelity.load_floors(fidelity.FLOORS)
    assert set(floors) == {"documents-2", "documents-12"}
    assert set(floors["documents-12"]) == set(KINDS)


def test_a_damaged_text_that_nobody_repairs_is_left() -> None:
    damaged = Damaged("今天天气很好。明天下雨。", "今天,天气很好。明,天下雨。")
    counts = fidelity.judge(damaged, damaged.observed, fidelity.same)
    assert (counts["sites"], counts["fixed"], counts["worse"], counts["harm"]) == (2, 0, 0, 0)
    assert (counts["exact"], counts["errors_before"], counts["errors"]) == (0, 2, 2)


def test_what_is_repaired_counts_place_by_place() -> None:
    damaged = Damaged("今天天气很好。明天下雨。", "今天,天气很好。明,天下雨。")
    half = fidelity.judge(damaged, "今天天气很好。明,天下雨。", fidelity.same)
    assert (half["fixed"], half["worse"], half["exact"], half["errors"]) == (1, 0, 0, 1)
    whole = fidelity.judge(damaged, damaged.truth, fidelity.same)
    assert (whole["fixed"], whole["worse"], whole["exact"], whole["errors"]) == (2, 0, 1, 0)


def test_invented_characters_make_a_place_worse() -> None:
    damaged = Damaged("推動一二三產業。", "推?谛翘业?業。", ((1, 6),))
    invented = fidelity.judge(damaged, "移動一二三產業。", fidelity.same)
    assert (invented["fixed"], invented["worse"]) == (0, 1)
    marked = fidelity.judge(damaged, "推動一二\ufffd產業。", fidelity.same)
    assert (marked["fixed"], marked["worse"]) == (0, 0)


def test_errors_where_nothing_was_broken_are_harm() -> None:
    damaged = Damaged("今天天气很好。我们都很高兴。", "今天,天气很好。我们都很高兴。")
    counts = fidelity.judge(damaged, "今天天气很好。我们都非常高兴。", fidelity.same)
    assert (counts["fixed"], counts["worse"], counts["harm"]) == (1, 0, 2)


def test_glosses_left_between_sites_are_no_harm() -> None:
    damaged = Damaged("產業發展很快。", "產(chǎn)業發Q？快。", ((3, 5),))
    counts = fidelity.judge(damaged, "產(chǎn)業發展很快。", fidelity.same)
    assert (counts["sites"], counts["fixed"], counts["harm"], counts["errors"]) == (1, 1, 0, 6)


def test_script_and_width_count_only_where_the_damage_left_them() -> None:
    assert fidelity.any_script("有著，乾淨，裏面") == fidelity.any_script("有着，干净，里面")
    assert fidelity.any_width_beside_ascii("共3，00（A）。好，") == "共3,00(A)。好，"


def test_differences_say_what_stands_there() -> None:
    assert fidelity.differences("一二三四", "一2三四五") == [Difference((1, 2), 1, "2"), Difference((4, 4), 1, "五")]
    assert fidelity.by_site([Difference((1, 2), 1, "2")], [(1, 2), (3, 4)]) == ([Place(1, "2"), Place(0, "")], 0)


def test_floors_fall_only_when_told() -> None:
    high = {"exact": 100.0, "right": 100.0, "fixed": 100.0, "worse": 0.0, "harm": 0.0}
    low = {"exact": 50.0, "right": 90.0, "fixed": 40.0, "worse": 10.0, "harm": 500.0}
    floors = fidelity.moved({}, high, may_fall=False)
    assert floors == {"exact": 99.0, "right": 99.9, "fixed": 99.0, "worse": 0.5, "harm": 20.0}
    assert fidelity.moved(floors, low, may_fall=False) == floors
    assert fidelity.moved(floors, low, may_fall=True)["exact"] == 49.0
    assert fidelity.moved(fidelity.moved({}, low, may_fall=False), high, may_fall=False) == floors
    assert fidelity.below("kind", high, {"kind": floors}) == []
    assert len(fidelity.below("kind", low, {"kind": floors})) == 5


def test_floors_come_back_as_they_were_written(tmp_path: Path) -> None:
    floors = {"documents-2": {"escapes, \\u4e2d": {"exact": 99.0}, "a “b” 中": {"harm": 20.0}}}
    fidelity.save_floors(tmp_path / "floors.toml", floors)
    assert fidelity.load_floors(tmp_path / "floors.toml") == floors


def test_texts_by_script_and_what_is_missing_from_the_project(tmp_path: Path) -> None:
    simplified = "这里说的是简体中文，长话短说。" * 30
    (tmp_path / "a.jsonl").write_text(f'{{"text": "{simplified}"}}\n{{"text": "短"}}\n', encoding="utf-8")
    found = fidelity.documents(tmp_path, 0)
    assert found["hans"] == [simplified]
    assert found["hant"] == TEXTS["hant"]
    assert all(fidelity.script_of(text) == "english" for text in found["english"])


def test_nothing_to_read_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\.jsonl\.gz"):
        fidelity.documents(tmp_path, 0)


def test_each_kind_damages_but_those_that_must_stay() -> None:
    for name, kind in KINDS.items():
        texts = TEXTS[kind.texts][:8]
        damaged = [kind.model(text, random.Random(i)) for i, text in enumerate(texts)]
        stays = name.startswith(("undamaged", "pinyin behind", "glosses by hand"))
        assert any(d.truth != d.observed for d in damaged) != stays, name


def test_nothing_is_harm_before_anything_is_repaired() -> None:
    for kind in KINDS.values():
        damaged = kind.model(TEXTS[kind.texts][1], random.Random(1))
        assert fidelity.judge(damaged, damaged.observed, kind.fold)["harm"] == 0
        repaired = fidelity.judge(damaged, damaged.truth, kind.fold)
        assert repaired["fixed"] == repaired["sites"]
        assert repaired["exact"] == 1


def test_the_pipeline_by_hand_does_what_it_is_there_for() -> None:
    assert fidelity.by_hand("產(chǎn)業發(fā)展,,很快\u200b", "hans").text == "产业发展，很快"
    assert fidelity.by_hand("ÖÐ¹úÈËÃñºÜºÃ", "hans").text == "中国人民很好"
    assert fidelity.ftfy_alone("（ï¼Œ）“”", "hans").text == "（，）“”"
