from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tasks import language
from tasks.language import (
    UNSEEN,
    column,
    columns_in,
    fold_text,
    mean_score,
    next_score,
    next_scores,
    next_steps,
    pair_score,
    pair_steps,
    score,
    word_scores,
)


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
    total = sum(10 ** pair_score("经", char) for char in language._model().chars)
    assert total == pytest.approx(1, abs=0.05)


class PlainModel:
    """The tables of the model file as dicts of strings: what the arrays stand for."""

    def __init__(self) -> None:
        with np.load(language.MODEL_PATH) as file:
            tables = dict(file)
        chars, pairs = self.strings(tables["chars"]), self.strings(tables["first"], tables["second"])
        heads = np.cumsum(tables["triple_pair"], dtype=np.int64)
        triples = self.strings(tables["first"][heads], tables["second"][heads], tables["third"])
        self.unigram, self.backoff = self.scores(chars, tables["unigram"]), self.scores(chars, tables["backoff"])
        self.bigram, self.pair_backoff = (
            self.scores(pairs, tables["bigram"]),
            self.scores(pairs, tables["pair_backoff"]),
        )
        self.trigram = self.scores(triples, tables["trigram"])
        words = tables["words"].tobytes().decode("utf-16-le").split("\n")
        self.words = self.scores(words, tables["word"])

    @staticmethod
    def strings(*columns: Any) -> list[str]:
        return ["".join(map(chr, codes)) for codes in zip(*(column.tolist() for column in columns), strict=True)]

    @staticmethod
    def scores(keys: list[str], steps: Any) -> dict[str, float]:
        return dict(zip(keys, (steps / -32.0).tolist(), strict=True))

    def pair(self, a: str, b: str) -> float:
        return self.bigram.get(a + b, self.backoff.get(a, 0.0) + self.unigram.get(b, UNSEEN))

    def next(self, context: str, char: str) -> float:
        return self.trigram.get(context + char, self.pair_backoff.get(context, 0.0) + self.pair(context[1], char))

    def word(self, text: str) -> float:
        best = [0.0]
        for end in range(1, len(text) + 1):
            alone = language.UNKNOWN_WORD if "\u3400" <= text[end - 1] <= "\u9fff" else language.NO_WORD
            ends = [best[end - 1] + self.words.get(text[end - 1], alone)]
            ends += [
                best[i] + self.words[text[i:end]] for i in range(max(0, end - 6), end - 1) if text[i:end] in self.words
            ]
            best.append(max(ends))
        return best[-1]


PROSE = "\n国家统计局公布了2024年前5个月的经济数据，（她）把信折好，放进抽屉里。摿苿右欢笆サ剀龘🙂\x00z\n"


def test_scores_are_those_of_the_tables() -> None:
    plain = PlainModel()
    for i in range(2, len(PROSE)):
        context, row = PROSE[i - 2 : i], next_scores(PROSE[i - 2 : i])
        for char in (*PROSE, *language._model().chars[::50]):
            assert pair_score(context[1], char) == plain.pair(context[1], char)
            assert next_score(context, char) == plain.next(context, char)
            assert row[column(char)] / language.STEPS == plain.next(context, char)
    columns, places = columns_in(PROSE), np.arange(len(PROSE) - 2)
    pairs, triples = pair_steps(columns[:-1], columns[1:]), next_steps(columns[:-2], columns[1:-1], places, columns[2:])
    folded = fold_text(PROSE)
    assert (pairs / language.STEPS).tolist() == [plain.pair(a, b) for a, b in pairwise(folded)]
    assert (triples / language.STEPS).tolist() == [plain.next(folded[i : i + 2], folded[i + 2]) for i in places]
    texts = [PROSE[i:j] for i in range(len(PROSE)) for j in (i + 9, len(PROSE))]
    assert word_scores(texts) == {text: plain.word(text) for text in texts}
