import pytest

from tasks.language import UNSEEN, mean_score, next_score, pair_score, score


def test_prose_scores_above_noise() -> None:
    prose = ["国家统计局公布了前五个月的经济数据。", "她把信折好，放进抽屉里。", "發展潛力，推動一二三產業"]
    noise = ["展摿Γ苿右欢", "笆サ剀嚩肌睉", "鐨勬槸涓€"]
    assert min(map(mean_score, prose)) > -3.0
    assert max(map(mean_score, noise)) < -4.5


def test_script_and_width_do_not_count() -> None:
    assert score("產業發展,經濟２０２４") == score("产业发展，经济2024")


def test_scores_are_logarithms_of_probabilities() -> None:
    assert all(UNSEEN - 1 <= pair_score("中", char) < 0 for char in "国间心，龘🙂")
    assert next_score("快车", "道") > pair_score("车", "道")
    assert mean_score("") == 0


def test_probabilities_after_a_context_sum_to_no_more_than_one() -> None:
    from tasks.language import _model

    total = sum(10 ** pair_score("经", char) for char in _model().unigram)
    assert total == pytest.approx(1, abs=0.05)
