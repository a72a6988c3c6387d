"""Which fields of a record hold the text, and which say something of it: for JSON, CSV and Parquet alike.

Names are compared without their case and without what joins words: `rawContent`, `raw_content` and `Raw-Content` are
one. They are those of Chinese corpora in the open (MNBVC, WuDao, CLUECorpus, SkyPile, WanJuan, ChineseWebText, the news
and questions of nlp_chinese_corpus), of what is made from Common Crawl (C4, mC4, OSCAR, CCNet and RedPajama, FineWeb,
RefinedWeb, Dolma, HPLT), of what crawlers and extractors write (news-please, newspaper, trafilatura, Scrapy, WordPress,
JSON Feed, schema.org), and of exports of Elasticsearch, MongoDB and Navicat.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from schemas.config import ReadConfig
from schemas.document import Reason
from tasks.read.records import Document, Input, document, rejected
from tasks.steps.dates import DATETIME, iso_datetime
from tasks.steps.lines import fold

TEXT_NAMES = (
    *("text", "content", "body", "article", "正文", "内容", "內容", "文本", "全文", "文章", "段落"),
    *("rawcontent", "maintext", "plaintext", "fulltext", "textcontent", "contenttext", "cleantext", "cleanedtext"),
    *("articlebody", "articletext", "articlecontent", "newscontent", "postcontent", "pagecontent", "pagetext"),
    *("文章内容", "新闻内容", "新闻正文", "正文内容", "文本内容", "网页内容", "网页正文", "帖子内容", "微博正文"),
    *("contents", "paragraphs", "paragraph", "passage", "story", "document", "selftext", "rawtext", "zhtext"),
    *(
        "markdown",
        "html",
        "rawhtml",
        "pagehtml",
        "htmlcontent",
        "contenthtml",
        "bodyhtml",
        "htmlbody",
        "网页",
        "网页源码",
    ),
    *("message", "微博", "回答", "answer"),
)
"""Of fields that hold a text, the likelier ones first."""

HTML_NAMES = {"html", "rawhtml", "pagehtml", "htmlcontent", "contenthtml", "bodyhtml", "htmlbody", "网页源码"}
"""Those of them that hold a page."""

_PARTS = (*TEXT_NAMES, "rendered", "value", "#text", "$t")
"""Where an object that stands for a text has it: `rendered` is WordPress, `$t` and `#text` come of XML."""

ENVELOPES = {
    "source",
    "doc",
    "document",
    "article",
    "data",
    "item",
    "page",
    "post",
    "news",
    "record",
    "result",
    "entry",
}
"""Objects that may hold all of a document: `_source` is Elasticsearch, `doc` is CouchDB."""

_BESIDE = {"meta", "metadata", "warcheaders", "headers", "info", "元数据"}
"""Objects that say something of the document beside them."""

URL_NAMES = (
    *("url", "uri", "warctargeturi", "targeturi", "link", "href", "pageurl", "weburl", "sourceurl", "originalurl"),
    *("permalink", "u", "网址", "链接", "原文链接", "网页地址", "网页链接", "網址", "連結", "鏈接"),
)
TITLE_NAMES = (
    *("title", "headline", "标题", "標題", "题目", "文章标题", "新闻标题", "articletitle", "newstitle", "posttitle"),
    *("pagetitle", "webtitle", "題目", "subject"),
)
DATE_NAMES = (
    *("publishedat", "datepublished", "datepublish", "publishdate", "publisheddate", "publishtime", "publishedtime"),
    *("pubdate", "pubtime", "published", "publicationdate", "releasedate", "releasetime", "发布时间", "发布日期"),
    *("发表时间", "出版日期", "發布時間", "發佈時間", "发帖时间", "date", "datetime", "time", "日期", "时间", "時間"),
    *("postdate", "posttime", "createdat", "createtime", "created", "ctime"),
)
AUTHOR_NAMES = ("author", "authors", "byline", "writer", "作者", "作者名", "记者", "記者", "发布者", "screenname")
SITE_NAMES = ("sitename", "site", "outlet", "publisher", "media", "sourcename", "来源", "來源", "媒体", "网站", "出处")
OTHER_NAMES = {
    "editor": ("editor", "editors", "responsibleeditor", "编辑", "编辑者", "责任编辑", "責任編輯", "責編"),
    "section": ("section", "channel", "栏目", "频道", "欄目", "頻道", "版面"),
    "licence": ("license", "licence", "rights", "许可", "许可证", "版权"),
}
FETCHED_NAMES = (
    *("fetchedat", "fetchtime", "fetchdate", "crawledat", "crawltime", "crawldate", "warcdate", "datedownload"),
    *("downloaddate", "scrapedat", "scrapetime", "抓取时间", "采集时间", "爬取时间", "timestamp", "ts"),
)
"""`timestamp` is when the page was fetched in C4, mC4, CulturaX and RefinedWeb."""
RECORD_ID_NAMES = ("warcrecordid", "id")
_CRAWLED = {"dump", "warcfilename", "warcrecordid", "filepath"}
"""Fields beside which `date` says when a page was fetched: FineWeb and its kin."""
_DATES_OF_CRAWLS = tuple(name for name in DATE_NAMES if name != "date")
_FETCHED_OF_CRAWLS = (*FETCHED_NAMES, "date")

_JOINTS = str.maketrans("", "", "_-. :@")
_LONGEST_NAME = 64
_LEVELS = 4
"""Of lists and objects that are followed down to a text."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_HAN = re.compile("[\u4e00-\u9fff]")
_ADDRESS = re.compile(r"\s*https?://\S+\s*")
_STAMP = re.compile(
    r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?:[ tT]?(?P<H>\d\d):?(?P<M>\d\d)(?::?(?P<S>\d\d))?)?[zZ]?"
)
"""As in MNBVC (`20200628 06:38:34`), and in file names of Common Crawl."""
_EPOCH = re.compile(r"\d{9,10}(?:\.\d{1,9})?|\d{12,13}")
_FRACTION = re.compile(r"(\.\d{6})\d+")


class Nothing:
    """What is left of a field of which all was taken."""


_GONE = Nothing()

Text = str | bytes


class Found(NamedTuple):
    """The text of a record."""

    parts: list[Text]
    """That are lines of it; none if the field there is holds no text."""
    name: str
    """Of its field, folded."""
    rest: Any
    """The record without it."""
    within: Mapping[str, Any]
    """The object that it stood in, or the record."""


def document_of(given: Input, address: str, record: Any, raw: bytes = b"", charset: str = "utf-8") -> Document:
    """The document that a record is, or a row that says why it is none.

    Args:
        given: The stream that it is in.
        address: Where in the stream.
        record: An object, as a mapping; or a text, or a list of them, without anything beside it.
        raw: The bytes of the record, by which a row that is no document can tell whether it has changed.
        charset: Of values that are bytes, as far as is known; empty where characters may stand for bytes that could not
            be decoded as UTF-8 (`surrogateescape`).
    """
    found = _text_of(record, given.config.read)
    if isinstance(found, str):
        return rejected(given.place, address, Reason.BROKEN, found, raw)
    text = _joined(found.parts)
    if not text.strip():
        return rejected(given.place, address, Reason.EMPTY, _why_empty(found, record), raw)
    said = _said(found, record if isinstance(record, Mapping) else {}, given.config.read, charset or "utf-8")
    content, known = _encoded(text, escaped=not charset)
    return document(
        given,
        address,
        content,
        known_encoding=known,
        declared_encoding="" if known else charset or "utf-8",
        name="page.html" if found.name in HTML_NAMES or _is_fragment(text) else "",
        facts=said.facts,
        url=said.url,
        fetched_at=said.fetched_at,
        record_id=said.record_id,
        extra=plain(found.rest, charset or "utf-8"),
    )


def _is_fragment(text: Text) -> bool:
    """Whether a text is between tags from its first to its last character: as editors of web sites store it."""
    begin, end = (b"<", b">") if isinstance(text, bytes) else ("<", ">")
    return text.lstrip()[:1] == begin and text.rstrip()[-1:] == end


def has_text_name(names: Iterable[str]) -> bool:
    """Whether one of some names is usual for a text."""
    return any(folded(name) in _TEXT_SET for name in names)


def folded(name: str) -> str:
    """A name without its case, and without what joins its words; empty if it is no name of a field."""
    return _folded(name) if len(name) <= _LONGEST_NAME else ""


@lru_cache(4096)
def _folded(name: str) -> str:
    return name.casefold().translate(_JOINTS)


_TEXT_SET = frozenset(TEXT_NAMES)


def _text_of(record: Any, config: ReadConfig) -> Found | str:
    """The text of a record; a sentence if a field that was asked for isn't there."""
    if not isinstance(record, Mapping):
        parts, _ = _take(record, _LEVELS)
        return Found(parts, "", {}, {})
    if config.text_field:
        parts_or_none, rest = _pull(record, config.text_field)
        if parts_or_none is None:
            return f"It has no field {config.text_field!r}; there are: {_names(record)}."
        return Found(parts_or_none, folded(config.text_field.rpartition(".")[2]), rest, record)
    return _usual(record, 2) or Found([], "", record, record)


def _usual(record: Mapping[str, Any], levels: int) -> Found | None:
    """The first field with a usual name that holds a text, in the record or in what is only around it."""
    keys = {folded(key): key for key in reversed(list(record))}
    for name in TEXT_NAMES:
        if name in keys:
            parts, rest = _take(record[keys[name]], _LEVELS)
            if any(part.strip() for part in parts):
                return Found(parts, name, _with(record, keys[name], rest), record)
    for name, key in reversed(list(keys.items())) if levels else ():
        if name in ENVELOPES and isinstance(record[key], Mapping) and (found := _usual(record[key], levels - 1)):
            return found._replace(rest=_with(record, key, found.rest or _GONE))
    return None


def _take(value: Any, levels: int) -> tuple[list[Text], Any]:
    """Texts in a value, and what is left of it."""
    if isinstance(value, str | bytes):
        return [value], _GONE
    if isinstance(value, list | tuple) and levels:
        taken = [_take(item, levels - 1) for item in value]
        rest = [left for _, left in taken if left is not _GONE]
        return [part for parts, _ in taken for part in parts], rest or _GONE
    if isinstance(value, Mapping) and levels:
        keys = {folded(key): key for key in reversed(list(value))}
        for name in _PARTS:
            if name in keys:
                parts, rest = _take(value[keys[name]], levels - 1)
                if parts:
                    return parts, _with(value, keys[name], rest) or _GONE
    return [], value


def _with(record: Mapping[str, Any], key: str, rest: Any) -> dict[str, Any]:
    """A record with what is left of one of its fields."""
    return {name: rest if name == key else value for name, value in record.items() if name != key or rest is not _GONE}


def _pull(value: Any, path: str) -> tuple[list[Text] | None, Any]:
    """Texts at a path `a.b` in a value, None if it doesn't lead anywhere; and the value without them."""
    if isinstance(value, list):
        pulled = [_pull(item, path) for item in value]
        if all(parts is None for parts, _ in pulled):
            return None, value
        rest = [left for _, left in pulled if left is not _GONE and left != {}]
        return [part for parts, _ in pulled for part in parts or ()], rest or _GONE
    if not isinstance(value, Mapping):
        return None, value
    key, further = _step(value, path)
    if key is None:
        return None, value
    parts, left = _pull(value[key], further) if further else _take(value[key], _LEVELS)
    return parts, _with(value, key, _GONE if left == {} else left)


def _step(record: Mapping[str, Any], path: str) -> tuple[str | None, str]:
    """The field that a path begins with, and the rest of the path. A name may have dots itself."""
    dots = [at for at, char in enumerate(path) if char == "."][:16]
    for end in (len(path), *reversed(dots)):
        head = path[:end]
        key = head if head in record else next((k for k in record if k.casefold() == head.casefold()), None)
        further = path[end + 1 :]
        if key is not None and (not further or isinstance(record[key], Mapping | list)):
            return key, further
    return None, ""


def _joined(parts: list[Text]) -> Text:
    if len(parts) == 1:
        return parts[0]
    if any(isinstance(part, bytes) for part in parts):
        return b"\n".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return "\n".join(part for part in parts if isinstance(part, str))


def _encoded(text: Text, *, escaped: bool) -> tuple[bytes, str]:
    """Bytes of a text, and their codec if it is known."""
    if isinstance(text, bytes):
        return text, ""
    try:
        return text.encode(), "utf-8"
    except UnicodeEncodeError:
        pass
    try:
        if escaped:
            return text.encode("utf-8", "surrogateescape"), ""
    except UnicodeEncodeError:
        pass
    return text.encode("utf-8", "surrogatepass"), "utf-8"


def _why_empty(found: Found, record: Any) -> str:
    if not isinstance(record, Mapping):
        return "There is no text in it."
    if found.name or has_text_name(record):
        return f"Its field for the text is empty or holds none; there are: {_names(record)}."
    return f"No field with a usual name holds a text; there are: {_names(record)}. Name the one to read: text_field."


def _names(record: Mapping[str, Any]) -> str:
    names = [_SURROGATE.sub("\ufffd", str(name)[:_LONGEST_NAME]) for name in list(record)[:20]]
    return ", ".join(names) + (", …" if len(record) > 20 else "") if names else "none"


class _Said(NamedTuple):
    """What a record says beside its text."""

    facts: dict[str, str]
    url: str
    fetched_at: str
    record_id: str


def _said(found: Found, record: Mapping[str, Any], config: ReadConfig, charset: str) -> _Said:
    lookup = _lookup(found, record, charset)
    crawled = not _CRAWLED.isdisjoint(lookup.names)
    dates, fetched = (_DATES_OF_CRAWLS, _FETCHED_OF_CRAWLS) if crawled else (DATE_NAMES, FETCHED_NAMES)
    sites = [lookup.words(config.site_field, SITE_NAMES), lookup.words("", ("source",))]
    # In many corpora `source` names another corpus: only a Chinese one is an outlet for sure.
    outlet = sites[0] or (sites[1] if _HAN.search(sites[1]) else "")
    facts = {
        "title": lookup.words(config.title_field, TITLE_NAMES),
        "published_at": lookup.moment(config.date_field, dates),
        "author": lookup.words(config.author_field, AUTHOR_NAMES),
        "site_name": "" if _ADDRESS.fullmatch(outlet) else outlet,
        **{name: lookup.words("", names) for name, names in OTHER_NAMES.items()},
    }
    url = lookup.words(config.url_field, URL_NAMES) or next(filter(_ADDRESS.fullmatch, sites), "")
    ids = (lookup.words("", (name,)) for name in RECORD_ID_NAMES)
    record_id = next((value for value in ids if value.startswith("<urn:uuid:")), "")
    fetched_at = lookup.moment("", fetched).replace("+00:00", "Z")  # as WARC has it
    return _Said({k: v for k, v in facts.items() if v}, url, fetched_at, record_id.strip("<>"))


class _Lookup(NamedTuple):
    """Fields of a record, by their folded names."""

    record: Mapping[str, Any]
    names: Mapping[str, Any]
    charset: str

    def values(self, path: str, names: Iterable[str]) -> Iterable[Any]:
        """The value of the field that was asked for, or values of those with usual names."""
        return [_value_at(self.record, path)] if path else (self.names[name] for name in names if name in self.names)

    def words(self, path: str, names: Iterable[str]) -> str:
        """The first that is text."""
        found = (_words(value, self.charset) for value in self.values(path, names))
        return next(filter(None, found), "")

    def moment(self, path: str, names: Iterable[str]) -> str:
        """The first that is a date, in ISO 8601."""
        return next(filter(None, map(iso_moment, self.values(path, names))), "")


def _lookup(found: Found, record: Mapping[str, Any], charset: str) -> _Lookup:
    """What may say something: what stands with the text, then around it, then in objects beside it."""
    around = [found.within] if found.within is not record else []
    beside = [value for key, value in record.items() if isinstance(value, Mapping) and folded(key) in _BESIDE]
    names: dict[str, Any] = {}
    for values in (*around, record, *beside):
        for key, value in values.items():
            if value is not found.within:
                names.setdefault(folded(key), value)
    names.pop(found.name, None)  # the text says nothing else
    return _Lookup(record, names, charset)


def _value_at(value: Any, path: str) -> Any:
    """What is at a path in a value; None if nothing is."""
    while path:
        if isinstance(value, list) and value:
            value = value[0]
        key, path = _step(value, path) if isinstance(value, Mapping) else (None, "")
        value = None if key is None else value[key]
    return value


def _words(value: Any, charset: str, levels: int = _LEVELS) -> str:
    """A value as one line of text; empty if it is none."""
    if isinstance(value, bytes):
        value = _decoded(value, charset)
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value).strip()
    if isinstance(value, list) and levels:
        return ", ".join(filter(None, (_words(item, charset, levels - 1) for item in value)))
    if isinstance(value, Mapping) and levels:
        return next(filter(None, (_words(value.get(k), charset, levels - 1) for k in ("name", *_PARTS))), "")
    return ""


def _decoded(value: bytes, charset: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("gb18030" if charset == "utf-8" else charset, "replace")


def iso_moment(value: Any) -> str:
    """A date of a record in ISO 8601; empty if it is none.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, whichever gives a day between 1973 and
    2128, and eight digits that are a day (`20230624`).
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, Mapping):  # MongoDB's extended JSON
        inner = value.get("$date", value.get("$numberLong"))
        return "" if inner is None or isinstance(inner, list) else iso_moment(_number(inner))
    if isinstance(value, date):  # datetime is one
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ""
    written = str(value).strip()[:80]
    if stamp := _STAMP.fullmatch(written):
        return _stamped(stamp)
    if not isinstance(value, str) or _EPOCH.fullmatch(written):
        return _since_1970(float(value) if isinstance(value, float) or "." in written else _number(written))
    match = DATETIME.search(fold(_FRACTION.sub(r"\1", written)))
    return (iso_datetime(match) if match else "") or ""


def _number(value: Any) -> Any:
    """Digits as a number; anything else as it is."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else value


def _stamped(stamp: re.Match[str]) -> str:
    try:
        day = date(int(stamp["y"]), int(stamp["m"]), int(stamp["d"])).isoformat()
        if stamp["H"] is None:
            return day
        at = time(int(stamp["H"]), int(stamp["M"]), int(stamp["S"] or 0))
    except ValueError:
        return ""
    zone = "+00:00" if stamp[0][-1] in "zZ" else ""
    return f"{day}T{at.isoformat('seconds' if stamp['S'] else 'minutes')}{zone}"


def _since_1970(value: Any) -> str:
    if not isinstance(value, int | float) or not isfinite(value):
        return ""
    for unit in (1, 1e3, 1e6, 1e9):
        if 1e8 * unit <= value < 5e9 * unit:
            return datetime.fromtimestamp(int(value / unit), UTC).isoformat()
    return ""


def plain(value: Any, charset: str = "utf-8", levels: int = 100) -> Any:  # noqa: PLR0911
    """A value as JSON can hold it: bytes that are no text as `base64:…`, dates in ISO 8601, other types as strings.

    Numbers that JSON has not (`NaN`, infinity) are strings as well.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else json.dumps(value)
    if not levels:
        return str(type(value).__name__)
    if isinstance(value, Mapping):
        return {str(key): plain(item, charset, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, charset, levels - 1) for item in value]
    if isinstance(value, bytes):
        return _plain_bytes(value, charset)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    return plain(value.tolist(), charset, levels - 1) if hasattr(value, "tolist") else str(value)


def _plain_bytes(value: bytes, charset: str) -> str:
    for codec in dict.fromkeys(("utf-8", charset)):
        try:
            return value.decode(codec)
        except (UnicodeDecodeError, LookupError):
            continue
    return "base64:" + base64.b64encode(value).decode()
