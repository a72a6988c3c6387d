"""Forward models: the worked examples of real pages, and what holds for every model."""

import html
import json
import re
import urllib.parse
from random import Random

import pytest

from tasks.damage import pages as damage
from tasks.damage.mangler import Decoder, mangle
from tasks.damage.misreadings import Misreading
from tasks.damage.pages import DROPPED, KEPT, MARKED, SWALLOWED, Model
from tasks.steps.pinyin import GLOSS, fits

TEXT = """全县发展潜力很大，推动一二三产业融合发展，驶入快车道。各级干部挖掘发展潜力，推动一二三产业升级。
“今年的收成很好，大家都高兴。”村主任李建国说：“产业发展了，农民的收入也增长了。”
2023年，全县的粮食产量达到23万吨，比上年增长5.6%。“这是历史最高水平。”他强调，要继续推动乡村振兴，实现农业现代化。
《关于加快农业发展的意见》提出，到2025年，建设高标准农田（含改造）120万亩，让老百姓的日子越过越红火！"""

MODELS: dict[str, Model] = {
    "gloss": damage.gloss(SWALLOWED),
    "shift": damage.shift(DROPPED),
    "shift in sentences": damage.shift(SWALLOWED, damage.cut_sentences),
    "trim": damage.trim_signs(DROPPED),
    "wrong codec": damage.wrong_codec(("utf-8", "gb18030")),
    "wrong codec, some lines": damage.wrong_codec(("gbk", "latin-1"), share=0.5),
    "wrong signs": damage.wrong_signs(Misreading("gbk", "latin-1")),
    "commas": damage.put_commas,
    "pictures": damage.put_pictures,
    "invisible": damage.put_invisible,
    "half-width": damage.narrow_signs,
    "full-width": damage.widen_latin,
    "escapes": damage.escaped("\\u4e2d"),
    "annotated": damage.annotate,
    "by hand": damage.gloss_by_hand,
    "mixture": damage.mixture(damage.shift(SWALLOWED), damage.put_commas),
}


def table(**glosses: str) -> dict[bytes, str]:
    return {char.encode("gbk"): f"({reading})" for char, reading in glosses.items()}


def test_a_strike_between_characters_as_on_the_page_of_seed_003() -> None:
    glosses = table(節="jié", 產="chǎn", 業="yè")
    damaged = damage.mangle_traced("發展潛力，推動一二三產業", glosses, SWALLOWED)
    assert damaged.observed == "發展?jié)摿Γ苿右欢a(chǎn)業(yè)"
    assert damaged.sites == ((2, 11),)  # 潛力，推動一二三產; 業 is in step again


def test_a_shift_ends_with_its_sentence_as_on_the_page_of_seed_002() -> None:
    damaged = damage.mangle_traced("駛入快車道。", table(側="cè"), SWALLOWED, damage.cut_sentences)
    assert damaged.observed == "駛?cè)肟燔嚨?。"
    assert damaged.sites == ((1, 5),)


def test_a_trim_that_eats_half_of_a_sign_as_on_the_page_of_seed_003() -> None:
    damaged = damage.mangle_traced("保障。“圣地車都”戰略", table(戰="zhàn"), DROPPED, damage.cut_quotations, trims=True)
    assert damaged.observed == "保障！笆サ剀嚩肌睉(zhàn)略"
    assert damaged.sites == ((2, 10),)


@pytest.mark.parametrize("decoder", [SWALLOWED, MARKED, DROPPED, KEPT])
@pytest.mark.parametrize("cut", [None, damage.cut_sentences])
def test_the_traced_mangler_is_the_mangler(decoder: Decoder, cut: damage.Cut | None) -> None:
    text = damage.in_gbk(damage.clone_script(TEXT))
    struck = 0
    for seed in range(20):
        glosses = damage.gloss_table(Random(seed), strikes=text)
        damaged = damage.mangle_traced(text, glosses, decoder, cut)
        assert damaged.observed == mangle(text, glosses, decoder, cut)
        struck += len(damaged.sites or ())
    assert struck >= 10


def test_what_is_no_site_comes_through_whole() -> None:
    text = damage.in_gbk(damage.clone_script(TEXT))
    damaged = damage.shift(MARKED)(TEXT, Random(3))
    assert damaged.sites
    observed = GLOSS.sub("", damaged.observed)
    ends = [0, *(at for site in damaged.sites for at in site), len(text)]
    for start, end in zip(ends[::2], ends[1::2], strict=True):
        assert text[start:end] in observed


def test_a_table_has_readings_of_common_characters() -> None:
    glosses = damage.gloss_table(Random(1))
    low, high = damage.TABLE_SIZES
    assert low <= len(glosses) <= high
    for pair, gloss in glosses.items():
        assert fits(gloss.strip("() "), pair.decode("gbk"))


@pytest.mark.parametrize("decoder", [SWALLOWED, MARKED, DROPPED, KEPT])
def test_glosses_alone_leave_the_text_when_they_go(decoder: Decoder) -> None:
    for seed in range(10):
        damaged = damage.gloss(decoder)(TEXT, Random(seed))
        assert damaged.observed != damaged.truth
        assert GLOSS.sub("", damaged.observed) == damaged.truth


@pytest.mark.parametrize("name", MODELS)
def test_the_same_chance_gives_the_same_damage(name: str) -> None:
    model = MODELS[name]
    assert model(TEXT, Random(5)) == model(TEXT, Random(5))


@pytest.mark.parametrize("name", MODELS)
def test_sites_are_in_order_and_inside_the_truth(name: str) -> None:
    damaged = MODELS[name](TEXT, Random(6))
    flat = [at for site in damaged.sites or () for at in site]
    assert flat == sorted(flat)
    assert not flat or 0 <= flat[0] <= flat[-1] <= len(damaged.truth)


@pytest.mark.parametrize("name", ["commas", "pictures", "invisible"])
def test_what_was_put_in_is_all_that_differs(name: str) -> None:
    damaged = MODELS[name](TEXT * 5, Random(7))
    put_in = {"commas": ",", "pictures": damage.PICTURES, "invisible": damage.INVISIBLE}[name]
    assert damaged.truth == TEXT * 5
    assert len(damaged.observed) > len(damaged.truth)
    assert re.sub(f"[{put_in}]", "", damaged.observed) == damaged.truth


def test_width() -> None:
    assert damage.narrow_signs("他说：“好（吧）！”，", Random(0)).observed == "他说:“好(吧)!”,"
    assert damage.widen_latin("第1次APEC会议", Random(0)).observed == "第１次ＡＰＥＣ会议"


def test_escapes_read_as_what_they_stand_for() -> None:
    text = "中文 <b> & “𠮷”\n第二行，100%"
    escaped = {form: damage.escaped(form)(text, Random(0)).observed for form in damage.ESCAPES}
    assert html.unescape(escaped["&#20013;"]) == text
    assert html.unescape(html.unescape(escaped["&amp;#20013;"])) == text
    assert urllib.parse.unquote(escaped["%E4%B8%AD"]) == text
    lines = escaped["\\u4e2d"].split("\n")
    assert [json.loads(f'"{line}"') for line in lines] == text.split("\n")
    assert escaped["&#20013;"].startswith("&#20013;&#25991; &lt;b&gt; &amp; &#8220;")


def test_signs_read_with_the_wrong_codec_in_english() -> None:
    damaged = damage.wrong_signs(Misreading("gbk", "latin-1"))('Yueyang\'s "old town" - a visit', Random(0))
    assert damaged.truth == "Yueyang’s “old town” — a visit"
    assert damaged.observed == "Yueyang¡¯s ¡°old town¡± ¡ª a visit"


def test_some_lines_in_a_wrong_codec() -> None:
    text = "\n".join(["中文很好"] * 100)
    damaged = damage.wrong_codec(("gbk", "latin-1"), share=0.5)(text, Random(0))
    wrong = damaged.observed.split("\n").count("ÖÐÎÄºÜºÃ")
    assert damaged.observed.split("\n").count("中文很好") == 100 - wrong
    assert len(damaged.sites or ()) == wrong
    assert 30 < wrong < 70


def test_what_must_stay_is_no_damage() -> None:
    assert damage.annotate("春天", Random(0)).truth in ("春(chūn)天(tiān)", "春（chūn）天（tiān）")
    by_hand = damage.gloss_by_hand(TEXT, Random(0))
    assert by_hand.truth == by_hand.observed
    assert len(GLOSS.findall(by_hand.truth)) == 3
