"""The search for wrong readings: what it skips holds nothing, what is worked out at once is the same one by one."""

import random

import pytest

from tasks.damage.misreadings import Misreading, misread
from tasks.language import highest_score, pair_score, pair_step
from tasks.scripts import traditionalize
from tasks.steps import unreading
from tasks.steps.choosing import OPEN, _Evidence
from tasks.steps.unreading import UTF8_AS_GBK, Stretch, doubtful_stretches, fold, paired, stretch_at, unread

PROSE = (
    "今年以来，各地加快推进高标准农田建设，粮食生产能力稳步提高。“我们要把饭碗端在自己手中”，他说。\n"
    "专家表示：由于天气转暖，今后几天（5月3日至7日）全国大部分地区气温将继续上升，北京可达28℃。\n"
    "店员说“コスプレ”和「ㄅㄆㄇㄈ」都卖得很好，网(wǎnɡ)上也有。"
)
PAIRED = [Misreading("gbk", "big5"), Misreading("big5", "gbk")]
READINGS = [
    *PAIRED,
    Misreading("gbk", "windows-1252"),
    Misreading("big5", "windows-1252"),
    Misreading("utf-8", "windows-1252"),
    UTF8_AS_GBK,
]


def damaged(misreading: Misreading, seed: int) -> str:
    """Lines of prose of which some were read wrongly, with characters lost and mixed up."""
    rng = random.Random(seed)
    text = traditionalize(PROSE) if misreading.written == "big5" else PROSE
    parts = [text[i : i + 9] for i in range(0, len(text), 9)]
    kept = (part.encode(misreading.written, "ignore").decode(misreading.written) for part in parts)
    made = [misread(part, misreading) if rng.random() < 0.5 else part for part in kept]
    return "".join(char for char in "".join(made) if rng.random() > 0.02)


@pytest.mark.parametrize("misreading", PAIRED)
@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_found_outside_of_what_is_doubtful(
    misreading: Misreading, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = damaged(misreading, seed) if seed else PROSE
    found = unread(text, misreading)
    monkeypatch.setattr(unreading, "doubtful_stretches", lambda piece, _: [(0, len(piece))])
    assert found == unread(text, misreading)


@pytest.mark.parametrize("misreading", PAIRED)
def test_of_sound_text_only_what_is_no_prose_is_doubtful(misreading: Misreading) -> None:
    doubtful = "".join(PROSE[start:end] for start, end in doubtful_stretches(PROSE, misreading))
    assert "ス" in doubtful
    assert not set(doubtful) & set("今年以来建设生产提高表示天气国温")


def test_pairs_are_those_of_the_forward_model() -> None:
    for misreading in PAIRED:
        text = "".join(c for c in PROSE if c > "\x7f" and c.encode(misreading.written, "ignore"))
        assert paired(misread(text, misreading), misreading) == text


def plain_stretch(text: str, start: int, misreading: Misreading) -> list[Stretch]:
    """All stretches from a place on, token by token."""
    pending: unreading.Bytes = ()
    out, score, gain, last, seen = "", 0.0, 0.0, "\n", "\n"
    found: list[Stretch] = []
    for index in range(start, len(text)):
        fit = unreading._fit(pending, text[index], misreading)
        if fit is None:
            break
        completed, pending = fit
        gain, seen = gain - max(pair_score(seen, fold(text[index])), -7.5), fold(text[index])
        for (char,) in completed.options:
            likely = max(pair_score(last, fold(char)), unreading._least(char))
            if char < "\x80" or (misreading.written != "utf-8" and likely < unreading.LEAST_LIKELY):
                return found
            out, score, gain, last = out + char, score + likely, gain + likely, fold(char)
        if not pending:
            found.append(Stretch(index + 1, out, score, gain))
    return found


@pytest.mark.parametrize("misreading", READINGS)
def test_a_stretch_is_what_its_tokens_make_one_by_one(misreading: Misreading) -> None:
    n_found = 0
    for seed in range(6):
        text = damaged(misreading, seed)
        for start in range(len(text)):
            stretch = stretch_at(text, start, misreading)
            if stretch is not None:
                n_found += 1
                assert stretch in plain_stretch(text, start, misreading)
    assert n_found > 20


def test_scores_of_pairs_one_by_one_are_those_of_the_dicts() -> None:
    rng = random.Random(7)
    chars = [*PROSE, "\n", "\ue000", "龘", "🙂", *(chr(rng.randrange(0x20, 0x9FFF)) for _ in range(300))]
    for _ in range(3000):
        before, char = fold(rng.choice(chars)), fold(rng.choice(chars))
        assert pair_step(before, char) == pair_score(before, char) <= highest_score(char)


def test_an_open_character_is_weighed_in_all_contexts_at_once() -> None:
    evidence = _Evidence(PROSE, {3: ("来", "未")})
    contexts = ["今年", "年以", "以" + OPEN, OPEN + "，", "２0", "\n今", "🙂🙂", "今年"]
    for char in (*"来，0设\n", OPEN):
        assert evidence.scores(contexts, char) == [evidence.score(before, char) for before in contexts]
