"""Which line above the body is the title."""

import pytest

from tasks.steps.lines import lines_of
from tasks.steps.titles import bare_title, choose_title, could_be_title, is_greeting

BODY = "水泵厂二期项目昨天上午开工，首批设备预计明年春天投产。"


def chosen(head: str) -> str | None:
    lines = lines_of(head)
    place = choose_title(lines, [BODY], [0.0] * len(lines))
    return None if place is None else lines[place].text


@pytest.mark.parametrize(
    "head",
    [
        "公司新闻\n水泵厂二期项目开工",
        "水泵厂二期项目开工\n公司新闻",
        "某某水泵网\n水泵厂二期项目开工\n市领导出席",
        "水泵厂二期项目开工",
    ],
)
def test_chooses_what_the_body_tells(head: str) -> None:
    assert chosen(head) == "水泵厂二期项目开工"


@pytest.mark.parametrize(
    "line", ["问：您怎么看？", "一、总体要求", "来源：新华社", "欢迎光临本站", "首页 新闻 国内 军事", "登录后发表评论"]
)
def test_no_titles(line: str) -> None:
    assert not could_be_title(line)
    assert chosen(line) is None


def test_a_long_headline_without_a_comma_is_one() -> None:
    assert could_be_title(
        "嫦娥六号返回器安全着陆 实现世界首次月球背面采样返回 党中央致电祝贺探月工程任务取得圆满成功 领导观看着陆回收"
    )


def test_takes_the_site_off() -> None:
    assert bare_title("通讯!水泵厂二期项目开工") == "水泵厂二期项目开工"
    assert bare_title("水泵厂二期项目开工_要闻_通化新闻网") == "水泵厂二期项目开工"
    assert bare_title("水泵厂二期项目开工 [复制链接]") == "水泵厂二期项目开工"
    assert bare_title("[企业动态] 水泵厂二期项目开工") == "水泵厂二期项目开工"
    assert bare_title("【权威访谈】水泵厂二期项目开工") == "【权威访谈】水泵厂二期项目开工"


def test_greetings() -> None:
    assert is_greeting("您好，欢迎光临本站！")
    assert not is_greeting("欢迎新同学")
