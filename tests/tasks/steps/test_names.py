"""Names of people and outlets, told by their form."""

import pytest

from tasks.steps.names import is_outlet, is_outlet_alone, is_person


@pytest.mark.parametrize("name", ["张三丰", "欧阳静", "李红", "司马相如"])
def test_people(name: str) -> None:
    assert is_person(name)


@pytest.mark.parametrize("word", ["新闻", "高速公路", "时间", "张三在北京", "国际", "的"])
def test_no_people(word: str) -> None:
    assert not is_person(word)


@pytest.mark.parametrize("name", ["湖滨晚报", "市融媒体中心", "搜狐号-信息新报", "第一财经", "财联社"])
def test_outlets(name: str) -> None:
    assert is_outlet(name)


@pytest.mark.parametrize("heading", ["全球布局", "推动旅游领域设备更新方案出台", "市长调研市医院", "推进三级医院建设"])
def test_headings_are_no_outlets_on_a_line_of_their_own(heading: str) -> None:
    assert not is_outlet_alone(heading)
