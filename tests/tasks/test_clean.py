"""The promises of `clean`: nothing unaccounted for, cleaning twice is cleaning once, clean text stays as it is."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Cleaned, Context, Damage, Edit, Fact, Stage, Step
from tasks.clean import MAX_PASSES, _merge, _move, _tidy, clean
from tasks.steps import STEPS
from tasks.steps.edits import apply, revert

SEEDS = sorted((Path(__file__).parents[2] / "seeds").glob("*.txt"))

PIECES = (
    "會(huì )議", "產(chǎn)業(yè)", "駛?cè)肟燔嚨?。", "辦公,。",
    "委,、", "荆📫江", "\u200b", "\ufeff", "鐨勬槸涓€", "ÖÐ¹ú",
    "Yueyang¡¯s", "&amp;#20013;", "您的位置:首頁 > 國內 >", "2023-06-24 19:04:19 來源:搜狐號", "責任編輯:李四",
    "Copyright © 2011", "參與評論", "標題一則", "要著力推動", "著名作家", "中国人民", "Hello, world.", "3,000", "19:04",
    "https://example.org/a?b=c", "“", "”", "\n", "\r\n", " ", "\u3000", "ＡＢＣ", "。", "，，", "🙂", "\x00", "�",
    "!笆サ剀嚩肌睉", "(", ")", "久久久,东京热", "一二三。四五六。",
)  # fmt: skip


def undo(text: str, stages: object) -> str:
    for stage in reversed(stages):  # type: ignore[call-overload]
        text = revert(text, stage.edits)
    return text


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.stem[:3])
@pytest.mark.parametrize("script", ["hans", "hant", "tw", "hk", "keep"])
def test_seeds_revert_and_settle(seed: Path, script: str) -> None:
    text = seed.read_bytes().decode("utf-8")
    config = CleanConfig(script=script)  # type: ignore[arg-type]
    cleaned = clean(text, config)
    assert undo(cleaned.text, cleaned.stages) == text
    assert clean(cleaned.text, config).text == cleaned.text


@settings(max_examples=75, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_mixture_reverts_and_settles(text: str) -> None:
    cleaned = clean(text, CleanConfig())
    assert undo(cleaned.text, cleaned.stages) == text
    assert all(cleaned.text.startswith(d.text, d.start) for d in cleaned.damage)
    assert "unsettled" not in cleaned.flags
    assert not clean(cleaned.text, CleanConfig()).stages


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_reverts_and_settles(text: str) -> None:
    cleaned = clean(text, CleanConfig())
    assert undo(cleaned.text, cleaned.stages) == text
    assert "unsettled" not in cleaned.flags
    assert clean(cleaned.text, CleanConfig()).text == cleaned.text


@pytest.mark.parametrize("step", STEPS)
def test_a_skipped_step_makes_no_edits(step: str) -> None:
    text = "\n".join(seed.read_text(encoding="utf-8") for seed in SEEDS)
    cleaned = clean(text, CleanConfig(skip=(step,)))
    assert step not in {stage.step for stage in cleaned.stages}


def test_facts_stand_in_the_script_of_the_text() -> None:
    seed = SEEDS[2].read_bytes().decode("utf-8")
    assert clean(seed, CleanConfig()).facts == {
        "title": "洪泽区工业经济发展工作委员会召开第二次会议",
        "published_at": "2023-06-24T19:04:19",
        "site_name": "搜狐号-信息新报",
        "section": "国内",
    }
    assert clean(seed, CleanConfig(script="keep")).facts["site_name"] == "搜狐號-信息新報"


NEWS = """新华社北京6月24日电（记者张三）国家统计局24日发布的数据显示，前5个月全国规模以上工业企业利润同比增长3.4%。
“这一增速比上月有所回升。”统计局有关负责人说，从19:00开始，各地将陆续公布数据（详见https://www.stats.gov.cn/sj/?id=3）。
专家认为，AI、5G等新技术带动了3,000多家企业转型；GDP增速有望保持在5%左右。"""


def test_clean_text_stays_as_it_is() -> None:
    assert not clean(NEWS, CleanConfig()).stages


MANGLED = """8月9日,產(chǎn)業(yè)發(fā)展會(huì)議舉行會談(jù)
市領導參加會(huì)議,推動產(chǎn)業(yè)發(fā)展。
產(chǎn)業(yè)發(fā)展規劃出臺,區(qū)長講話,區(qū)委書記發(fā)言。"""


def test_damage_that_an_early_pass_found_stays_known() -> None:
    cleaned = clean(MANGLED, CleanConfig())
    assert cleaned.flags == ("shift",)
    assert [(d.kind, d.start, d.text) for d in cleaned.damage] == [("shift", cleaned.text.index("（jù）"), "（jù）")]


def test_glosses_go_beside_lines_that_were_not_mangled() -> None:
    text = (
        "本網訊 記者從中國新聞網獲悉,網民關注。\n"
        "網(wǎng)絡產(chǎn)業(yè)發(fā)展會(huì)議召開,產(chǎn)業(yè)發(fā)展會(huì)議指出,要發(fā)展產(chǎn)業(yè),加快網(wǎng)絡建設,區(qū)委書記參加會(huì)議。"
    )
    assert clean(text, CleanConfig()).text == (
        "本网讯 记者从中国新闻网获悉，网民关注。\n网络产业发展会议召开，产业发展会议指出，要发展产业，加快网络建设，"
        "区委书记参加会议。"
    )


def plainly(text: str, config: CleanConfig) -> Cleaned:
    """`clean` without looking at what has been asked before, and damage by its places."""
    stages: list[Stage] = []
    facts: dict[str, str] = {}
    damage: list[Damage] = []
    for _ in range(MAX_PASSES):
        before = len(stages)
        for name, step in STEPS.items():
            findings = list(step(text, Context(config)))
            for fact in (f for f in findings if isinstance(f, Fact)):
                facts.setdefault(fact.field, fact.value)
            found = [f for f in findings if isinstance(f, Damage)]
            taken = {position for d in found for position in range(d.start, d.start + len(d.text))}
            rest = (d for d in damage if taken.isdisjoint(range(d.start, d.start + len(d.text))))
            damage = sorted([*rest, *found], key=lambda d: d.start)
            if edits := tuple(f for f in findings if isinstance(f, Edit)):
                text = apply(text, edits)
                damage = list(_move(damage, edits, text))
                stages.append(Stage(name, edits))
        if len(stages) == before:
            break
    facts = {field: _tidy(value, config) for field, value in facts.items()}
    return Cleaned(text, tuple(stages), facts, tuple(damage))


def check_as_plainly(text: str) -> None:
    cleaned, expected = clean(text, CleanConfig()), plainly(text, CleanConfig())
    assert replace(cleaned, flags=()) == expected


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.stem[:3])
def test_seeds_end_as_with_every_step_in_every_pass(seed: Path) -> None:
    check_as_plainly(seed.read_bytes().decode("utf-8"))


@settings(max_examples=75, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_mixture_ends_as_with_every_step_in_every_pass(text: str) -> None:
    check_as_plainly(text)


def test_no_step_is_asked_twice_about_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(name: str, step: Step) -> Step:
        def found(text: str, context: Context) -> object:
            asked.append((name, text))
            return step(text, context)

        return found  # type: ignore[return-value]

    for name, step in STEPS.items():
        monkeypatch.setitem(STEPS, name, counted(name, step))
    assert clean("".join(PIECES) * 3, CleanConfig()).stages
    assert len(asked) == len(set(asked)) > len(STEPS)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5))),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5))),
)
def test_what_was_found_takes_the_place_of_what_was_known(
    known: list[tuple[int, int]], found: list[tuple[int, int]]
) -> None:
    first, second = (
        [Damage(step, "shift", start, "x" * length) for start, length in sorted(places)]
        for step, places in (("known", known), ("found", found))
    )
    taken = {position for d in second for position in range(d.start, d.start + len(d.text))}
    rest = [d for d in first if taken.isdisjoint(range(d.start, d.start + len(d.text)))]
    assert _merge(first, second) == sorted([*rest, *second], key=lambda d: d.start)


LURES = (
    "久久久人人人东京热精品\ud83d国产在线代开发票加微信\n责任编辑：张三\ud800 2024年5月6日 来源：新华网\n"
    "這些產業\udc00發展了。\n我们在中国发展经济。扫一扫转载请注明出处\ud800中"
)
"""Something for the steps that look for words, with lone surrogates, which `ahocorasick_rs` takes none of."""


@pytest.mark.parametrize("step", STEPS)
def test_steps_take_lone_surrogates(step: str) -> None:
    edits = [f for f in STEPS[step](LURES, Context(CleanConfig())) if isinstance(f, Edit)]
    assert revert(apply(LURES, edits), edits) == LURES
