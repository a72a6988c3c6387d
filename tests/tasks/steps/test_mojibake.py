"""Wrong readings made by the forward models and taken back, what must stay, and hostile input."""

import itertools
import random
import subprocess
import sys
import time
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Context, Damage, Edit
from tasks.damage.mangler import Broken, Decoder, Undefined
from tasks.damage.misreadings import Misreading, has_utf8_structure, misread, misread_again, read
from tasks.scripts import traditionalize
from tasks.steps import latin, mojibake, unreading
from tasks.steps.edits import apply, revert
from tasks.steps.latin import differences

CONTEXT = Context(CleanConfig())

PROSE = (
    "今年以来，各地加快推进高标准农田建设，粮食生产能力稳步提高。",
    "“我们要把饭碗端在自己手中”，他说，这是多年来的经验。",
    "专家表示：由于天气转暖，今后几天全国大部分地区气温将继续上升。",
)


def repaired(text: str) -> str:
    edits = [f for f in mojibake.find(text, CONTEXT) if isinstance(f, Edit)]
    after = apply(text, edits)
    assert revert(after, edits) == text
    return after


WHOLE = [
    ("utf-8", "windows-1252"),
    ("utf-8", "latin-1"),
    ("utf-8", "windows-1251"),
    ("gbk", "windows-1252"),
    ("gbk", "latin-1"),
    ("big5", "windows-1252"),
    ("big5", "latin-1"),
    ("gbk", "big5"),
    ("big5", "gbk"),
]


@pytest.mark.parametrize("line", PROSE)
@pytest.mark.parametrize(("written", "read_as"), WHOLE)
def test_what_lost_no_byte_is_restored_exactly(line: str, written: str, read_as: str) -> None:
    clean = traditionalize(line) if written == "big5" else line
    assert repaired(misread(clean, Misreading(written, read_as))) == clean


@pytest.mark.parametrize("codec", ["gbk", "gb18030"])
@pytest.mark.parametrize("line", PROSE)
def test_utf8_as_gbk_is_restored_where_bytes_remain(line: str, codec: str) -> None:
    after = repaired(misread(line, Misreading("utf-8", codec)))
    assert [a for a, b in zip(after, line, strict=True) if a != b] in ([], ["�"])


READERS = [Decoder(*choices) for choices in itertools.product(Broken, Undefined, "?�")]


@pytest.mark.parametrize("reader", READERS)
def test_lost_bytes_are_chosen_or_left_open_but_not_made_up(reader: Decoder) -> None:
    """What comes out, but for marks, is what was there, in order; little is missing (pairs dropped without a trace)."""
    for line in PROSE:
        after = repaired(misread(line, Misreading("utf-8", "gbk"), reader))
        known = iter(line)
        assert all(char in known for char in after if char not in "?�")
        assert len(after) - after.count("�") >= 0.8 * len(line)


@pytest.mark.parametrize(
    "readings",
    [
        [("utf-8", "latin-1")] * 2,
        [("utf-8", "latin-1")] * 3,
        [("gbk", "windows-1252"), ("utf-8", "windows-1252")],
        [("gbk", "latin-1"), ("utf-8", "latin-1")],
    ],
)
def test_double_and_triple_misreadings(readings: list[tuple[str, str]]) -> None:
    for line in PROSE:
        assert repaired(misread_again(line, [Misreading(*r) for r in readings])) == line


def test_one_damaged_line_leaves_the_others_alone() -> None:
    for i, reading in itertools.product(range(3), [("utf-8", "windows-1252"), ("gbk", "windows-1252")]):
        lines = list(PROSE)
        lines[i] = misread(lines[i], Misreading(*reading))
        edits = [f for f in mojibake.find("\n".join(lines), CONTEXT) if isinstance(f, Edit)]
        assert apply("\n".join(lines), edits) == "\n".join(PROSE)
        assert not any("\n" in e.before for e in edits)


def test_confidence_tells_proof_from_choice() -> None:
    (whole,) = mojibake.find("鐧诲綍", CONTEXT)
    (guessed,) = mojibake.find("涓浗", CONTEXT)
    assert isinstance(whole, Edit)
    assert isinstance(guessed, Edit)
    assert whole.confidence == 1.0
    assert 0.9 < guessed.confidence < 1.0


def test_lost_characters_are_counted_outside_repairs() -> None:
    damage = [f for f in mojibake.find("锟斤拷公司，烫烫烫烫，鐧诲綍，�", CONTEXT) if isinstance(f, Damage)]
    assert [(d.kind, d.start, d.text) for d in damage] == [
        ("lost-characters", 0, "锟斤拷"),
        ("not-text", 6, "烫烫烫烫"),
        ("lost-characters", 15, "�"),
    ]


@pytest.mark.parametrize("line", PROSE)
def test_repairing_twice_is_repairing_once(line: str) -> None:
    for undefined in Undefined:
        once = repaired(misread(line, Misreading("utf-8", "gbk"), Decoder(Broken.MARK, undefined, "?")))
        assert repaired(once) == once


def test_clean_text_is_left_alone_in_both_scripts() -> None:
    text = "\n".join(PROSE)
    assert repaired(text) == text
    assert repaired(traditionalize(text)) == traditionalize(text)


def test_clean_text_does_not_even_load_ftfy() -> None:
    code = (
        "import sys; from tasks.steps.mojibake import find; from schemas.document import Context;"
        "from schemas.config import CleanConfig; list(find(sys.argv[1], Context(CleanConfig())));"
        "sys.exit('ftfy' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    for text, loads in (("\n".join(PROSE) + "100 ℃ · — English “too”.", 0), ("naÃ¯ve", 1)):
        assert subprocess.run([sys.executable, "-c", code, text], check=False, cwd=root).returncode == loads


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_gives_edits_that_apply(text: str) -> None:
    repaired(text)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=60), st.sampled_from(["gbk", "gb18030", "big5", "windows-1252", "windows-1251", "windows-874"])
)
def test_any_bytes_can_be_misread_and_looked_at(data: bytes, codec: str) -> None:
    repaired(read(data, codec))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abÃ©“ ", max_size=40), st.text(alphabet="abé’ ", max_size=40))
def test_differences_turn_one_text_into_the_other(old: str, new: str) -> None:
    edits = [Edit("mojibake", "ftfy", *d) for d in differences(old, new)]
    assert apply(old, edits) == new


def test_structure_of_utf8_is_told_from_gbk() -> None:
    assert has_utf8_structure("ä¸­å›½")
    assert not has_utf8_structure("ÖÐ¹úÈËÃñ")


HOSTILE = (
    *("?", "鐨", "鐨勬槸涓€", "é", "¤¤¤å", "Ã", "Ã©", "&", "&amp;", "&#", "%E4", "\\u4e2d", "锟斤拷", "烫", "�", "鈥"),
    *("¡", "¡ª", "<a &nbsp;", "いと", "\x80\x81", "√", "笢弊", "{", " ", "鐨?", "茅", "\xa0¡"),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_bounded_on_hostile_input(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the search itself held to a small part of its budget, all the rest has to be linear and quick."""
    monkeypatch.setattr(mojibake, "BUDGET", 4_000)
    start = time.process_time()
    list(mojibake.find(unit * (100_000 // len(unit)), CONTEXT))
    assert time.process_time() - start < 30


def test_what_lies_behind_the_budget_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = "\n".join(misread(line, Misreading("gbk", "latin-1")) for line in PROSE * 60)
    monkeypatch.setattr(mojibake, "BUDGET", 3_000)
    after = repaired(damaged).split("\n")
    assert after[0] == PROSE[0]
    assert after[-1] == damaged.split("\n")[-1]


def test_the_look_at_a_whole_text_misses_nothing_that_a_gate_finds() -> None:
    chance = random.Random(0)
    sets = ["".join(sets) for sets in map(mojibake._sets, mojibake.READINGS) if sets]
    sets += [mojibake.HIGH, "\\uabcé¡£鈥茅(á膩)烫\ufffd\ue000ï¿½?", "".join(map(chr, range(0x20, 0x3100)))]
    opened = dict.fromkeys(mojibake.READINGS, 0)
    for i in range(4_000):
        chars = chance.choice(sets)
        text = "".join(
            chance.choice((chance.choice(chars), chance.choice("的a 。🙂"))) for _ in range(chance.randrange(9))
        )
        if i % 2:
            written = chance.choices("今年文字分子我有中的，。", k=chance.randrange(1, 5))
            text += misread("".join(written), chance.choice(mojibake.READINGS))[chance.randrange(2) :]
        suspected = set(mojibake._suspected(mojibake._Seen.of(text)))
        for misreading in mojibake.READINGS:
            is_latin = misreading.read != "windows-1252" or mojibake._LATIN.search(text)
            if is_latin and mojibake._gate(misreading).search(text):
                opened[misreading] += 1
                assert misreading in suspected
        if not mojibake._may_be_misread(text):
            marks = (mojibake._LOST_GATE, mojibake._PRIVATE, latin._SIGN_AS_GBK, latin.ANY_FOR_FTFY)
            assert not any(mark.search(text) for mark in marks)
            assert not list(latin.fix_signs(text))
    assert min(opened.values()) > 20


def test_what_one_reading_explains_is_not_searched_under_another(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[tuple[Misreading, str]] = []

    def noted(text: str, misreading: Misreading) -> list[unreading.Repair]:
        searched.append((misreading, text))
        return unreading.unread(text, misreading)

    monkeypatch.setattr(mojibake, "unread", noted)
    text = "".join(PROSE[1:]) * 9
    assert repaired(misread(text, Misreading("utf-8", "windows-1252"))) == text
    assert all(len(text) < 40 for misreading, text in searched if misreading != mojibake.UTF8_AS_1252)


@pytest.mark.parametrize(("written", "prose"), [("gbk", "".join(PROSE)), ("big5", traditionalize("".join(PROSE)))])
def test_a_lost_byte_costs_what_is_near_it(written: str, prose: str) -> None:
    data, shares = prose.encode(written), []
    for at in range(20, len(data) - 20, 7):
        found = repaired(read(data[:at] + data[at + 1 :], "windows-1252"))
        same = SequenceMatcher(None, prose, found, autojunk=False).get_matching_blocks()
        shares.append(sum(block.size for block in same) / len(prose))
    assert sum(shares) > 0.95 * len(shares)
    assert min(shares) > 0.7


def test_what_stands_before_a_stretch_is_not_part_of_it() -> None:
    assert repaired("講ㄛ珩庲鮋倗墿猣鷂塙鮋餞創疺卼腔磁羥\uf815腢") == "講，也認為兄長趙與莒為繼承沂王的合適人選"


@pytest.mark.parametrize(("written", "read_as"), [*WHOLE, ("utf-8", "gb18030")])
def test_what_reads_well_needs_no_search(written: str, read_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prose = "".join(PROSE)
    whole = misread(traditionalize(prose) if written == "big5" else prose, Misreading(written, read_as))
    texts = [
        whole,
        f"{PROSE[0]}{whole[:70]}",
        f"{whole[:40]}?{whole[42:90]}",
        f"{whole[:41]}{whole[42:60]}\n{whole[61:95]}",
    ]
    fast = [list(mojibake.find(text, CONTEXT)) for text in texts]
    monkeypatch.setattr(unreading, "stretch_at", lambda *_: None)
    monkeypatch.setattr(mojibake, "stretch_at", lambda *_: None)
    assert fast == [list(mojibake.find(text, CONTEXT)) for text in texts]
    assert fast[0]


def test_what_ends_at_no_whole_character_is_no_stretch() -> None:
    assert unreading.stretch_at("夕闇は次第に空", 1, Misreading("utf-8", "gbk")) is None
