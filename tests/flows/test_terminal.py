import io
from dataclasses import replace

import pytest
from rich.console import Console

from flows import terminal
from schemas.config import CleanConfig
from schemas.document import Cleaned, Damage, Decoded, Edit, Origin, Outcome, Page, Reason, Rejection, Stage
from tasks.clean import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("漢字 and ASCII，“引号”é", "漢字 and ASCII，“引号”é"),
        ("\x1b]0;title\x07\x1b[31m", r"\x1b]0;title\x07\x1b[31m"),
        ("a\nb\r\tc\0", r"a⏎b\r\tc\x00"),
        ("\u202eabc\u2066\u200b\ufeff\u00ad", r"\u202eabc\u2066\u200b\ufeff\xad"),
        ("\ue123\U000f0000\ud800\ufdd0\u2028", r"\ue123\U000f0000\ud800\ufdd0\u2028"),
        ("🀄👍\ufffd", "🀄👍\ufffd"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
    ],
)
def test_nothing_that_a_terminal_acts_on_is_shown_as_it_is(text: str, shown: str) -> None:
    assert terminal.visible(text) == shown


def shown(outcome: Outcome, *, everything: bool = False, color: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=color, color_system="standard" if color else None, soft_wrap=True)
    terminal.explain(console, "a\x1b[2J.txt", outcome, everything=everything)
    return file.getvalue()


def outcome_of(text: str, *stages: Stage, cleaned: str = "", **more: object) -> Outcome:
    origin = Origin("file:///a", "", "", 10)
    return Outcome(origin, Decoded(text, "gb18030", 0.9, "plausible"), Cleaned(cleaned, stages, **more))  # type: ignore[arg-type]


def test_edits_are_shown_with_line_context_rule_and_confidence() -> None:
    edits = (Edit("glosses", "toned", 5, "(chǎn)", "", 0.93), Edit("glosses", "toned", 14, "\x1b", "", 1.0))
    text = shown(outcome_of("第一行\n產(chǎn)業發展\x1b。", Stage("glosses", edits)))
    assert "glosses: 2 edits" in text
    assert "  toned (2)" in text
    assert "       2  產[-(chǎn)-]業發展\\x1b。  93% sure" in text
    assert "[-\\x1b-]" in text
    assert "\x1b" not in text


def test_each_stage_is_shown_against_the_text_that_it_received() -> None:
    one = Stage("a", (Edit("a", "r", 0, "甲", "甲乙"),))
    two = Stage("b", (Edit("b", "r", 1, "乙", "丙"),))
    three = Stage("a", (Edit("a", "r", 1, "丙", ""),))
    text = shown(outcome_of("甲", one, two, three, cleaned="甲"))
    assert "甲[-乙-]{+丙+}" in text
    assert "a, again: 1 edit" in text
    assert "would be kept: 3 edits (a 2, b 1), 1 character left" in text


def test_many_edits_of_a_rule_are_cut_short_unless_all_are_asked_for() -> None:
    stage = Stage("s", tuple(Edit("s", "r", n, "x", "y") for n in range(20)))
    assert shown(outcome_of("x" * 20, stage)).count("{+y+}") == terminal.EXAMPLES
    assert "… and 15 more (--all shows them)" in shown(outcome_of("x" * 20, stage))
    assert shown(outcome_of("x" * 20, stage), everything=True).count("{+y+}") == 20


def test_long_removals_are_abridged_and_white_space_is_seen() -> None:
    stage = Stage("s", (Edit("s", "r", 0, "长" * 1000, ""), Edit("s", "r", 1000, " \u3000", "")))
    text = shown(outcome_of("长" * 1000 + " \u3000", stage))
    assert "(1,000 characters)" in text
    assert "[-␣\\u3000-]" in text
    assert len(text) < 600


def test_facts_damage_and_flags_are_shown() -> None:
    damage = (Damage("shift", "lost-characters", 0, "睉\x07"),)
    text = shown(outcome_of("睉\x07", facts={"title": "标题\x1b"}, damage=damage, flags=("lost-characters",)))
    assert "title         标题\\x1b" in text
    assert "lost-characters  睉\\x07  (shift)" in text


def test_a_page_is_shown_with_what_it_hides_and_its_text_as_cleaning_began() -> None:
    edits = (Edit("spam", "porn", 3, "甲", ""),)
    outcome = outcome_of("<p>第一\n甲<p hidden>\x1b[31m彩票</p>", Stage("spam", edits), cleaned="第一\n")
    page = Page("第一\n甲", hidden_chars=7, hidden_text="\x1b[31m彩票\n")
    out = shown(replace(outcome, page=page))
    assert "a page of HTML: 4 characters of main text, 7 hidden and left out: \\x1b[31m彩票" in out
    assert "[-甲-]" in out


def test_a_rejection_is_shown_with_its_reason_and_without_escapes() -> None:
    rejection = Rejection(Reason.FAILED, "Traceback:\n  \x1b[31m")
    text = shown(Outcome(Origin("file:///a", "", "", 3), rejection=rejection))
    assert "would be rejected as failed: Traceback:\n  \\x1b[31m" in text


def test_colours_take_the_place_of_brackets() -> None:
    text = shown(outcome_of("甲", Stage("s", (Edit("s", "r", 0, "甲", "乙"),))), color=True)
    assert "[-" not in text
    assert "\x1b[" in text


def test_undamaged_text_has_nothing_to_show() -> None:
    news = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。"
    origin = Origin("file:///a", "", "", 10)
    text = shown(Outcome(origin, Decoded(news, "utf-8", 1.0, "strict"), clean(news, CleanConfig())))
    assert text.endswith("nothing to change\n")
