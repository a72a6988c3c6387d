import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Edit, Stage
from tasks.report.pairs import (
    Piece,
    bytes_told,
    clean_segments,
    excerpt,
    observed_segments,
    pieces_of,
    rows_of,
)
from tasks.steps.edits import apply
from tasks.steps.log import pack

TEXTS = st.text("产產業业a(\n)。", max_size=30)


def cleaned(text: str, *stages: list[Edit]) -> tuple[str, list[dict[str, Any]]]:
    """The clean text and the stored log of stages that were carried out."""
    made = [Stage(edits[0].step, tuple(edits)) for edits in stages]
    log = pack(text, made)
    for stage in made:
        text = apply(text, stage.edits)
    return text, log


def pieces(text: str, *stages: list[Edit]) -> list[Piece]:
    return pieces_of(*cleaned(text, *stages))


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[list[Edit]]]:
    """A text and stages of edits that fit it, whatever they do to each other."""
    observed = text = draw(TEXTS)
    stages = []
    for name in draw(st.lists(st.sampled_from(["mojibake", "glosses", "script"]), max_size=4)):
        edits, end = list[Edit](), 0
        for start in sorted(draw(st.sets(st.integers(0, len(text)), max_size=5))):
            before = text[start : start + draw(st.integers(0, 6))]
            after = draw(TEXTS.map(lambda t: t[:6]) | st.just(before[::-1]))
            if start >= end and before != after and (before or start > end or not edits):
                edits.append(Edit(name, f"{name}-rule", start, before, after, 0.9))
                end = start + len(before)
        if edits:
            stages.append(edits)
            text = apply(text, edits)
    return observed, stages


@given(histories())
def test_joined_pieces_are_both_texts_and_hold_every_edit_once_or_cut(history: tuple[str, list[list[Edit]]]) -> None:
    observed, stages = history
    clean, log = cleaned(observed, *stages)
    found = pieces_of(clean, log)
    assert "".join(piece.observed for piece in found) == observed
    assert "".join(piece.clean for piece in found) == clean
    assert all(piece.made or piece.observed == piece.clean for piece in found)
    places = {(made.stage, made.number) for piece in found for made in piece.made}
    assert places == {(s, n) for s, edits in enumerate(stages) for n, _ in enumerate(edits)}
    rows = [piece for row in rows_of(found) for piece in row]
    assert "".join(piece.observed for piece in rows) == observed
    assert "".join(piece.clean for piece in rows) == clean


def test_a_gloss_stays_a_change_of_its_own_between_converted_characters() -> None:
    found = pieces(
        "產(chǎn)業好", [Edit("glosses", "mangler", 1, "(chǎn)", "", 0.9)], [Edit("script", "t2s", 0, "產業", "产业")]
    )
    assert [(p.observed, p.clean, p.main.edit.step if p.main else "") for p in found] == [
        ("產", "产", "script"),
        ("(chǎn)", "", "glosses"),
        ("業", "业", "script"),
        ("好", "好", ""),
    ]


def test_a_line_that_went_is_one_change_by_what_removed_it() -> None:
    found = pieces(
        "責(zé)任編輯:王\n好。",
        [Edit("glosses", "mangler", 1, "(zé)", "", 0.85)],
        [Edit("boilerplate", "label", 0, "責任編輯:王\n", "", 0.99)],
    )
    assert [(p.observed, p.clean) for p in found] == [("責(zé)任編輯:王\n", ""), ("好。", "好。")]
    assert found[0].main
    assert found[0].main.edit.rule == "label"
    assert [m.edit.step for m in found[0].made] == ["glosses", "boilerplate"]
    assert found[0].confidence == 0.85


def test_a_repair_that_was_converted_is_named_by_the_repair() -> None:
    found = pieces(
        "驶?cè)肟燔嚨?。",
        [Edit("shift", "misfit-gloss", 1, "?cè)肟燔嚨?", "入快車道", 0.48)],
        [Edit("script", "t2s", 3, "車", "车")],
    )
    (change,) = [piece for piece in found if piece.made]
    assert (change.observed, change.clean) == ("?cè)肟燔嚨?", "入快车道")
    assert change.main
    assert change.main.edit.step == "shift"


def test_both_sides_number_their_changes_alike() -> None:
    found = pieces(
        "產(chǎn)業", [Edit("glosses", "m", 1, "(chǎn)", "", 0.9)], [Edit("script", "t2s", 0, "產業", "产业")]
    )
    assert [(s.text, s.edit) for s in observed_segments(found)] == [("產", 0), ("(chǎn)", 1), ("業", 2)]
    assert [(s.text, s.edit) for s in clean_segments(found)] == [("产", 0), ("业", 2)]


def test_damage_that_is_left_is_marked() -> None:
    text = "好的锟斤拷吧"
    found = pieces_of(text, [], [{"kind": "lost-characters", "start": 2, "text": "锟斤拷"}])
    assert [(p.clean, p.damage) for p in found] == [("好的", ""), ("锟斤拷", "lost-characters"), ("吧", "")]


def test_rows_end_where_lines_end_on_both_sides() -> None:
    spam = "办证,发票\n"
    doubled = Edit("punctuation", "doubled", 3, ",,", "，")
    found = pieces(f"甲\n{spam}乙,,丙\n丁", [Edit("spam", "advert", 2, spam, "")], [doubled])
    rows = [("".join(p.observed for p in row), "".join(p.clean for p in row)) for row in rows_of(found)]
    assert rows == [("甲\n", "甲\n"), (spam, ""), ("乙,,丙\n", "乙，丙\n"), ("丁", "丁")]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        # 中国 is E4B8 ADE5 9BBD by pairs, and ADE5 is no character of GBK.
        (
            Edit("mojibake", "utf-8-as-gbk", 0, "涓浗", "中国"),
            "bytes observed E4 B8 9B BD (gbk), repaired E4 B8 AD E5 9B BD",
        ),
        (
            Edit("mojibake", "utf-8-as-windows-1252", 0, "ä¸\u00ad", "中"),
            "bytes E4 B8 AD: read as windows-1252, they are",
        ),
        (
            Edit("mojibake", "gbk-as-windows-1252+big5-as-gbk", 0, "¤é", "日"),
            "bytes A4 E9: read as windows-1252, they are big5",
        ),
        (Edit("mojibake", "entity", 0, "&#20013;", "中"), ""),
        (Edit("glosses", "mangler", 0, "(zé)", ""), ""),
    ],
)
def test_bytes_of_a_repair(edit: Edit, told: str) -> None:
    assert bytes_told(edit).startswith(told)
    assert bool(bytes_told(edit)) == bool(told)


def test_bytes_of_a_shift_are_those_of_gbk_with_marks_for_lost_ones() -> None:
    told = bytes_told(Edit("shift", "misfit-gloss", 0, "?cè)肟燔嚨?", "入快車道"))
    # 入快車道 is C8EB BFEC DC87 B5C0 in GBK; its first and last byte are gone in what was observed.
    assert "repaired C8 EB BF EC DC 87 B5 C0 (gbk)" in told
    assert told.startswith("bytes observed ?? 63 A8 A8 29 EB BF EC DC 87 B5 ??")


def test_an_excerpt_stays_in_its_line_and_is_cut() -> None:
    shown = excerpt("上一行\n左" + "长" * 1000 + "右\n下一行", Edit("spam", "x", 5, "长" * 1000, ""))
    assert (shown.left, shown.right) == ("左", "右")
    assert len(shown.before) < 300


def test_time_is_linear_in_edits_within_one_that_was_made_before() -> None:
    n = 100_000
    repaired = [Edit("mojibake", "ftfy", 0, "x" * n, "產" * n)]
    converted = [Edit("script", "t2s", i, "產", "产") for i in range(0, n, 2)]
    clean, log = cleaned("x" * n, repaired, converted)
    started = time.process_time()
    (piece,) = pieces_of(clean, log)
    assert time.process_time() - started < 5
    assert len(piece.made) == 1 + n // 2
