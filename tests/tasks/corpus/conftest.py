"""Pages of made-up sites: each site has a template of lines that stand in no rule table, each page an article."""

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from schemas.document import Cleaned, Decoded, Origin, Outcome

_WORDS = [
    *("山川", "河流", "森林", "田野", "城市", "乡村", "学校", "工厂", "市场", "图书", "音乐", "绘画", "历史", "科学"),
    *("技术", "经济", "文化", "教育", "医疗", "交通", "能源", "农业", "渔业", "牧场", "果园", "码头", "车站", "机场"),
    *("桥梁", "隧道", "老人", "青年", "儿童", "教师", "医生", "工人", "农民", "渔民", "画家", "诗人", "春天", "夏季"),
    *("秋日", "冬夜", "清晨", "傍晚", "发展", "改善", "建设", "保护", "研究", "讨论", "发现", "记录", "观察", "等待"),
    *("寻找", "整理", "修复", "种植", "收获", "运输", "展出", "开放", "关闭", "延长", "美丽", "安静", "热闹", "古老"),
    *("崭新", "宽阔", "狭窄", "明亮", "温暖", "寒冷", "遥远", "邻近", "重要", "普通", "丰富", "稀少", "完整", "轻松"),
]


class Page(NamedTuple):
    uri: str
    text: str
    article: list[str]
    """Title and paragraphs."""
    furniture: list[str]


class Template(NamedTuple):
    head: list[str]
    below_title: list[str]
    tail: list[str]


def words(dice: random.Random, least: int, most: int, joint: str = "") -> str:
    return joint.join(dice.choices(_WORDS, k=dice.randint(least, most)))


def sentence(dice: random.Random) -> str:
    return f"{words(dice, 3, 6)}，{words(dice, 3, 6)}，{words(dice, 2, 5)}。"


def article(dice: random.Random) -> list[str]:
    """A title and some paragraphs."""
    paragraphs = ["".join(sentence(dice) for _ in range(dice.randint(1, 4))) for _ in range(dice.randint(2, 7))]
    return [words(dice, 4, 8), *paragraphs]


def template(dice: random.Random) -> Template:
    """Lines with places for what varies: {n} numbers, {d} dates, {w} weekdays."""
    name = words(dice, 2, 3)
    above = [
        f"{name}网",
        words(dice, 4, 8, " | "),
        f"{words(dice, 1, 2)} » {words(dice, 1, 2)} » {words(dice, 2, 2)}",
        f"{name} {{d}} {{w}} 第{{n}}期",
        f"{words(dice, 2, 3)}·{words(dice, 2, 3)}",
    ]
    below_title = [
        f"{words(dice, 1, 1)}于{{d}} {{n}}:{{n}}，{words(dice, 1, 1)}过{{n}}次",
        f"{words(dice, 1, 1)}/{name}/{{n}}字",
    ]
    below = [
        words(dice, 3, 7, "  "),
        f"{name}的{words(dice, 2, 4)}，{words(dice, 3, 5)}，{words(dice, 2, 4)}，不得{words(dice, 1, 2)}。",
        f"{words(dice, 2, 3)}热线 {{n}}-{{n}}",
        f"本页在{{d}}{words(dice, 1, 2)}，{words(dice, 1, 2)}{{n}}人",
        f"〔{words(dice, 2, 4)}〕",
        words(dice, 2, 4),
    ]
    return Template(
        dice.sample(above, dice.randint(1, 4)),
        dice.sample(below_title, dice.randint(0, 1)),
        dice.sample(below, dice.randint(1, 5)),
    )


def fill(line: str, dice: random.Random) -> str:
    day = f"{dice.randint(2001, 2026)}年{dice.randint(1, 12)}月{dice.randint(1, 28)}日"
    filled = line.replace("{d}", day).replace("{w}", f"星期{dice.choice('一二三四五六日')}")
    while "{n}" in filled:
        filled = filled.replace("{n}", str(dice.randint(0, 99_999)), 1)
    return filled


def page(uri: str, made: Template, contents: list[str], dice: random.Random) -> Page:
    head, below_title, tail = [[fill(line, dice) for line in lines] for lines in made]
    title, *body = contents
    text = "\n".join([*head, title, *below_title, *body, *tail, ""])
    return Page(uri, text, contents, [*head, *below_title, *tail])


def pages(sites: int, each: int, seed: int, articles: Iterable[list[str]] = ()) -> list[Page]:
    """So many pages of so many sites, each with the same template; with articles of its own, or with those given."""
    dice = random.Random(seed)
    given = iter(articles)
    made = []
    for site in range(sites):
        own = template(dice)
        for number in range(each):
            uri = f"file:///crawl/site-{site:02}/{number:04}.txt"
            made.append(page(uri, own, next(given, article(dice)), dice))
    return made


def kept(uri: str, text: str, facts: dict[str, str] | None = None) -> Outcome:
    """A clean document with nothing done to it."""
    origin = Origin(uri, "", "0" * 64, len(text))
    return Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), Cleaned(text, (), facts or {}))


@pytest.fixture
def make_pages() -> Callable[..., list[Page]]:
    return pages


@pytest.fixture
def make_outcome() -> Callable[..., Outcome]:
    return kept
