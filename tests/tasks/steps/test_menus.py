"""Lines of buttons, menus and calls, told by their form."""

import pytest

from tasks.steps.lines import fold
from tasks.steps.menus import is_call, is_likely_call, is_menu


@pytest.mark.parametrize(
    "line",
    [
        "首页 新闻 国内 军事 社会 滚动",
        "網站首頁 | 產品中心 | 聯系我們",
        "Home Products News Contact",
        "首页|学校概况|师生风采|招生就业",
    ],
)
def test_menus(line: str) -> None:
    assert is_menu(fold(line))


@pytest.mark.parametrize(
    "line",
    [
        "床前明月光 疑是地上霜 举头望明月 低头思故乡",
        "张三 李四 王五 赵六",
        "新闻，体育，财经",
        "- 高清愿 - 维基百科",
        "--- --- ---",
        "",
    ],
)
def test_no_menus(line: str) -> None:
    assert not is_menu(fold(line))


@pytest.mark.parametrize("line", ["登录后发表评论", "點擊查看更多評論", "收藏 点赞 分享 举报"])
def test_calls(line: str) -> None:
    assert is_call(fold(line))


@pytest.mark.parametrize("line", ["政策支持的必要性", "老城区的早市", "用户可以登录网站查看成绩。", "12 34", ""])
def test_no_calls(line: str) -> None:
    assert not is_call(fold(line))


def test_likely_calls_need_less() -> None:
    assert is_likely_call(fold("还没有评论，快来发表第一条评论吧"))
    assert not is_likely_call(fold("政策支持的必要性"))
