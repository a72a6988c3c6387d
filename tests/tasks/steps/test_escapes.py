r"""Escapes: what each encoder leaves of a text comes back; URLs, code, and text about escapes stay."""

import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tasks.steps.edits import apply, revert
from tasks.steps.escapes import unescape

TEXT = "28日下午，5月6日增长22%，“十四五”规划(2024年)：5G+工业😀互联网A/B。"


def unescaped(text: str) -> str:
    edits = list(unescape(text))
    after = apply(text, edits)
    assert revert(after, edits) == text
    return after


def _script(text: str) -> str:
    """JavaScript's old `escape`."""
    units = (text.encode("utf-16-be")[i : i + 2] for i in range(0, len(text.encode("utf-16-be")), 2))
    kept = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@*_+-./")
    return "".join(
        chr(unit[1]) if not unit[0] and unit[1] in kept else f"%u{unit.hex().upper()}" if unit[0] else f"%{unit[1]:02X}"
        for unit in units
    )


def _only_others(text: str, escape: Callable[[str], str]) -> str:
    return "".join(c if c.isascii() else escape(c) for c in text)


ENCODERS: dict[str, Callable[[str], str]] = {
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, upper case": lambda text: json.dumps(text)[1:-1].upper().replace("\\U", "\\u"),
    "JSON, twice": lambda text: json.dumps(text)[1:-1].replace("\\", "\\\\"),
    "escape": _script,
    "encodeURIComponent": lambda text: quote(text, safe="!~*'()"),
    "quote": quote,
    "percent, but ASCII": lambda text: _only_others(text, quote),
    "percent, lower case": lambda text: _only_others(text, quote).lower().replace("5g", "5G").replace("a/b", "A/B"),
    "hexadecimal references": lambda text: _only_others(text, lambda c: f"&#x{ord(c):x};"),
    "references, twice": lambda text: html.escape(_only_others(text, lambda c: f"&#{ord(c)};")),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_what_an_encoder_leaves_comes_back(name: str) -> None:
    assert unescaped(ENCODERS[name](TEXT)) == TEXT


def test_percent_escapes_of_gbk_come_back() -> None:
    text = "中国人民银行28日宣布，下调利率"
    assert unescaped(_only_others(text, lambda c: quote(c.encode("gbk")))) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "5\\u6708\n\\u4e2d\\u56fd\\u4eba\\u6c11\\u94f6\\u884c\\u5ba3\\u5e03\n6\\u6708",
            "5月\n中国人民银行宣布\n6月",
        ),
        (r"\u4ed6\u8bf4\uff1a\"\u4f60\u597d\"\n\u518d\u89c1", '他说："你好"\n再见'),
        (r"\u4e2d\u56fd\ud83d", r"中国\ud83d"),
        ("搜索%E4%B8%AD%E5%9B%BD%E4", "搜索中国%E4"),
        (r"There\u2019s a caf\u00e9, he said.", "There’s a café, he said."),
        ("&#20013&#22269，", "中国，"),
        (
            _only_others("详见http://www.nia.gov.cn），感谢大家的支持和关心，联系12367", quote),
            "详见http://www.nia.gov.cn），感谢大家的支持和关心，联系12367",
        ),
        ("%E5%A2%9E%E9%95%BF22%26%E6%97%A5%EF%BC%8C%E4%BB%8A%E5%A4%A9, ok", "增长22%26日，今天, ok"),
    ],
)
def test_what_stands_between_codes_stays(before: str, after: str) -> None:
    assert unescaped(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "见https://a.cn/p/%E4%B8%AD%E5%9B%BD。",
        "www.baidu.com/s?wd=%E5%A4%A9%E6%B0%94",
        "/wiki/%E4%B8%AD%E5%9B%BD%EF%BC%88a%EF%BC%89",
        "a/b/%E4%B8%AD%E5%9B%BD.html",
        "q=%E4%B8%AD%E5%9B%BD%EF%BC%8C%E4%BA%BA&x=1",
        "%E4%B8%AD%E6%96%87.pdf",
        'curl -d "name=%E4%B8%AD%E5%9B%BD" x',
        r'print("\u4e2d\u6587")',
        r's = "\u4e2d\u6587\u5b57\u7b26\u4e2d\u6587\u5b57\u7b26\u4e2d\u6587\u5b57\u7b26"',
        r"In Python the string \u4e2d\u6587 is two characters.",
        "Python 教程\n\\u4e2d\\u6587 就是中文",
        r"[\u4e00-\u9fa5]",
        "UTF-8: %E4%B8%AD%E6%96%87",
        "```\n\\u4e2d\\u6587\n```",
        r"use \u2019 here",
        r"C:\users\u4e2d",
        r"\ud83d\ud83d",
        "100%a0%b0",
    ],
)
def test_urls_code_and_lessons_stay(text: str) -> None:
    assert unescaped(text) == text


@pytest.mark.parametrize(
    "unit", ["%", "\\", "\\u4e2d", "%E4", "%25", "%E4%B8%AD", "\\n", "&#", "www.", "a-", "[", "/%E4"]
)
def test_time_is_linear(unit: str) -> None:
    start = time.process_time()
    unescaped("%E4%B8 \\u4e2d " + unit * (100_000 // len(unit)))
    assert time.process_time() - start < 30
