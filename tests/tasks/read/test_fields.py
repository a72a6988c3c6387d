import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig, ReadConfig
from schemas.document import RawDocument, Reason, Rejection
from tasks.read.fields import document_of, iso_moment, plain
from tasks.read.records import Document, Input, Place


def made(record: Any, **config: str) -> Document:
    place = Place("file:///a.jsonl", "a.jsonl")
    config_ = CleanConfig(read=ReadConfig(**config))  # type: ignore[arg-type]
    given = Input(BytesIO(), place, config_, nested=lambda *_: iter(()), expand=lambda *_, **__: BytesIO())
    return document_of(given, "line=1", record)


def text(record: Any, **config: str) -> str:
    raw = made(record, **config).raw
    assert isinstance(raw, RawDocument)
    return raw.content.decode()


def facts(record: Any, **config: str) -> dict[str, str]:
    raw = made(record, **config).raw
    assert isinstance(raw, RawDocument)
    return dict(raw.facts)


def extra(record: Any, **config: str) -> Any:
    return json.loads(made(record, **config).origin.extra or "{}")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"id": 1, "text": "甲"}, "甲"),
        ({"Text": "甲"}, "甲"),
        ({"raw_content": "甲", "title": "题"}, "甲"),
        ({"rawContent": "甲"}, "甲"),
        ({"正文": "甲", "标题": "题"}, "甲"),
        ({"content": "甲", "html": "<p>乙"}, "甲"),
        ({"text": None, "content": "甲"}, "甲"),
        ({"text": " ", "html": "<p>乙"}, "<p>乙"),
        ({"text": 12, "body": "甲"}, "甲"),
        ({"text": ["甲", "乙"]}, "甲\n乙"),
        ({"段落": [{"行号": 1, "内容": "甲"}, {"行号": 2, "内容": "乙"}]}, "甲\n乙"),
        ({"content": {"rendered": "<p>甲", "protected": False}}, "<p>甲"),
        ({"_source": {"content": "甲"}, "_id": "1"}, "甲"),
        ({"code": 0, "data": {"article": {"body": "甲"}}}, "甲"),
        ("甲", "甲"),
        (["甲", "乙"], "甲\n乙"),
    ],
)
def test_the_text_is_found(record: Any, expected: str) -> None:
    assert text(record) == expected


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("wen", {"text": "乙", "wen": "甲"}),
        ("WEN", {"text": "乙", "wen": "甲"}),
        ("a.b", {"a": {"b": "甲"}}),
        ("a.b", {"a.b": "甲", "a": {"b": "乙"}}),
        ("a.b.c", {"a.b": {"c": "甲"}}),
        ("a.b.c", {"a": {"b.c": "甲"}}),
        ("楼.话", {"楼": [{"话": "甲", "n": 1}]}),
    ],
)
def test_the_text_is_where_the_configuration_says(path: str, record: Any) -> None:
    assert text(record, text_field=path) == "甲"


@pytest.mark.parametrize(
    ("record", "config", "reason", "says"),
    [
        ({"label": 1, "name": "x"}, {}, Reason.EMPTY, "there are: label, name"),
        ({"text": None, "title": "题"}, {}, Reason.EMPTY, "empty or holds none; there are: text, title"),
        ({"text": 12}, {}, Reason.EMPTY, "holds none"),
        ({}, {}, Reason.EMPTY, "there are: none"),
        (None, {}, Reason.EMPTY, "no text"),
        (12.5, {}, Reason.EMPTY, "no text"),
        ({"text": "甲"}, {"text_field": "body"}, Reason.BROKEN, "no field 'body'; there are: text"),
        ({"a": {"c": "甲"}}, {"text_field": "a.b"}, Reason.BROKEN, "no field 'a.b'"),
        ({"a": None}, {"text_field": "a"}, Reason.EMPTY, "there are: a"),
    ],
)
def test_a_record_without_a_text_says_what_there_is(
    record: Any, config: dict[str, str], reason: Reason, says: str
) -> None:
    raw = made(record, **config).raw
    assert isinstance(raw, Rejection)
    assert raw.reason == reason
    assert says in raw.detail


def test_what_is_not_the_text_is_kept_as_it_is() -> None:
    record = {"text": "甲", "title": "题", "n": [1, {"x": None}], "f": 1.5}
    assert extra(record) == {"title": "题", "n": [1, {"x": None}], "f": 1.5}
    paragraphs = {"段落": [{"行号": 1, "内容": "甲"}, {"行号": 2, "内容": "乙"}], "文件名": "a"}
    assert extra(paragraphs) == {"段落": [{"行号": 1}, {"行号": 2}], "文件名": "a"}
    assert extra({"_source": {"content": "甲", "t": 1}, "_id": "2"}) == {"_source": {"t": 1}, "_id": "2"}
    assert extra({"a": {"b": "甲", "c": 2}, "d": 3}, text_field="a.b") == {"a": {"c": 2}, "d": 3}
    assert extra({"a": {"b": "甲"}}, text_field="a.b") == {}


def test_facts_of_a_page_of_news() -> None:
    record = {
        "title": " 题 ",
        "content": "甲",
        "source": "人民网",
        "time": "2018年3月4日 10:20",
        "authors": ["张三", "李四"],
        "link": "http://a.cn/1",
        "editor": "王五",
        "section": {"name": "体育"},
    }
    assert facts(record) == {
        "title": "题",
        "published_at": "2018-03-04T10:20",
        "author": "张三, 李四",
        "site_name": "人民网",
        "editor": "王五",
        "section": "体育",
    }
    assert made(record).origin.url == "http://a.cn/1"


def test_what_was_crawled_says_when_it_was_fetched() -> None:
    fineweb = {"text": "甲", "id": "<urn:uuid:1>", "dump": "CC-MAIN-2013-20", "date": "2013-05-18T10:42:00Z"}
    origin = made(fineweb).origin
    assert (origin.fetched_at, origin.record_id) == ("2013-05-18T10:42:00Z", "urn:uuid:1")
    assert facts(fineweb) == {}
    headers = {"warc-target-uri": "https://b.cn", "warc-date": "2022-01-20T10:00:00Z", "warc-record-id": "<urn:uuid:2>"}
    oscar = made({"content": "甲", "warc_headers": headers}).origin
    assert (oscar.url, oscar.fetched_at, oscar.record_id) == (
        "https://b.cn",
        "2022-01-20T10:00:00Z",
        "urn:uuid:2",
    )
    c4 = {"text": "甲", "timestamp": "2019-04-25T12:57:54Z", "url": "http://c", "source": "mC4"}
    assert made(c4).origin.fetched_at == "2019-04-25T12:57:54Z"
    assert facts(c4) == {}


def test_an_address_is_no_site() -> None:
    assert facts({"text": "甲", "来源": "http://a.cn/1"}) == {}
    assert made({"text": "甲", "source": "https://a.cn/1"}).origin.url == "https://a.cn/1"


def test_facts_are_where_the_configuration_says() -> None:
    record = {"text": "甲", "title": "误", "h": {"t": "题"}, "when": 1687604640, "wo": "http://x", "org": "报"}
    config = {"title_field": "h.t", "date_field": "when", "url_field": "wo", "site_field": "org"}
    assert facts(record, **config) == {"title": "题", "published_at": "2023-06-24T11:04:00+00:00", "site_name": "报"}
    assert made(record, **config).origin.url == "http://x"
    assert facts(record, title_field="nowhere") == {}


DATES: list[tuple[Any, str]] = [
    ("2023-06-24", "2023-06-24"),
    ("2023-06-24T19:04:05.123456789+08:00", "2023-06-24T19:04:05+08:00"),
    ("2023年6月24日", "2023-06-24"),
    ("Sat, 24 Jun 2023 19:04:00 GMT", "2023-06-24T19:04:00+00:00"),
    ("20230624", "2023-06-24"),
    (20230624, "2023-06-24"),
    ("20200628 06:38:34", "2020-06-28T06:38:34"),
    (1687604640, "2023-06-24T11:04:00+00:00"),
    ("1687604640", "2023-06-24T11:04:00+00:00"),
    (1687604640123, "2023-06-24T11:04:00+00:00"),
    (1687604640.5, "2023-06-24T11:04:00+00:00"),
    ({"$date": "2023-06-24T11:04:00Z"}, "2023-06-24T11:04:00+00:00"),
    ({"$date": {"$numberLong": "1687604640123"}}, "2023-06-24T11:04:00+00:00"),
    (["2023-06-24"], "2023-06-24"),
    (date(2023, 6, 24), "2023-06-24"),
    (datetime(2023, 6, 24, 11, 4, tzinfo=UTC), "2023-06-24T11:04:00+00:00"),
    ("03/05/2021", ""),  # a day in March, or in May
    ("2023-02-31", ""),
    ("昨天", ""),
    (0, ""),
    (True, ""),
    (12, ""),
    (float("nan"), ""),
    (float("inf"), ""),
    (10**400, ""),
    ("9" * 5000, ""),
    (None, ""),
    ({}, ""),
    ([], ""),
    ({"$date": {"$date": {}}}, ""),
]


def test_dates() -> None:
    assert [(value, iso_moment(value)) for value, _ in DATES] == DATES


def test_what_json_has_not_becomes_a_string() -> None:
    values = {
        "nan": float("nan"),
        "bytes": b"\xff\xfe",
        "utf8": "字".encode(),
        "when": datetime(2020, 1, 2, tzinfo=UTC),
        "price": Decimal("1.10"),
        "in": [float("inf"), (1, 2)],
    }
    assert plain(values) == {
        "nan": "NaN",
        "bytes": "base64://4=",
        "utf8": "字",
        "when": "2020-01-02T00:00:00+00:00",
        "price": "1.10",
        "in": ["Infinity", [1, 2]],
    }


def test_only_a_field_of_html_is_html_by_its_name() -> None:
    for record, name in [({"html": "a<b"}, "page.html"), ({"text": "a<b", "url": "http://a/x.html"}, "a.jsonl")]:
        raw = made(record).raw
        assert isinstance(raw, RawDocument)
        assert raw.name == name
    fragment = made({"content": "<p>甲</p>\n<p>乙</p>"}).raw
    assert isinstance(fragment, RawDocument)
    assert fragment.name == "page.html"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["text", "content", "段落", "title", "date", "url", "source", "meta", "_source", "data", "id", "dump", "a.b", ""]
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES | st.text(max_size=3), VALUES, max_size=6), st.sampled_from(["", "text", "a.b", "."]))
def test_any_record_is_a_document_or_a_row(record: dict[str, Any], field: str) -> None:
    item = made(record, text_field=field, title_field=field, date_field=field)
    assert isinstance(item.raw, RawDocument | Rejection)
    if item.origin.extra:
        json.loads(item.origin.extra, parse_constant=pytest.fail)
    assert item == made(record, text_field=field, title_field=field, date_field=field)
