"""The bench for main text: its pages against floors, and how it judges."""

import pytest

from benchmarks.main_text import Sample, compare, extractors, is_right, measure, ours, own_pages, pages_of, tokens

SAMPLES = list(own_pages())


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_the_body_of_each_kind_of_page_is_found(sample: Sample) -> None:
    ((score, _),) = measure([sample], ours).scores
    assert score.recall == 1.0
    assert score.precision >= 0.88  # 0.88 to 1.0, measured in November 2026: captions of pictures stay


def test_half_of_the_pages_were_held_out() -> None:
    assert sum(sample.held for sample in SAMPLES) == len(SAMPLES) / 2


def test_tokens_are_ideographs_and_words_in_any_script() -> None:
    assert tokens("產業 GDP增长3.5％") == {"产": 1, "业": 1, "gdp": 1, "增": 1, "长": 1, "3": 1, "5": 1}


def test_scores_count_what_both_have() -> None:
    score = compare("今天天气好", "今天下雨")
    assert (score.precision, score.recall) == (2 / 5, 2 / 4)
    assert compare("", "今天") == (0.0, 0.0, 0.0)


def test_facts_are_right_to_the_precision_given() -> None:
    assert is_right("published_at", "2024-03-12T07:41", "2024-03-12")
    assert is_right("published_at", "2024-03-12", "2024-03-12T07:41")
    assert not is_right("published_at", "2024", "2024-03-12")
    assert not is_right("published_at", "2024-03-13", "2024-03-12T07:41")
    assert is_right("title", "早市裡的「煙火氣」", "早市里的烟火气")
    assert not is_right("title", "", "")


def test_pages_of_a_folder_are_those_with_a_body(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "a.html").write_text("<p>甲", encoding="utf-8")
    (folder / "b.html").write_text("<p>乙", encoding="utf-8")
    (folder / "b.txt").write_text("乙", encoding="utf-8")
    (folder / "b.toml").write_text('title = "题"', encoding="utf-8")
    ((name, content, body, facts, _),) = pages_of(folder)
    assert (name, content, body, facts) == ("b", "<p>乙".encode(), "乙", {"title": "题"})


def test_others_are_compared_where_they_are_installed() -> None:
    assert list(extractors())[:2] == ["ours", "cleaned"]
