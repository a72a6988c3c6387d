"""What a page says of itself in its head: tags for search engines, networks and readers, and `<title>`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from tasks.steps.dates import DATETIME, iso_datetime
from tasks.steps.lines import fold, key

LONGEST = {
    "title": 200,
    "author": 60,
    "site_name": 60,
    "section": 80,
    "source_url": 2_000,
    "published_at": 60,
    "licence": 300,
}
"""Characters of the longest value that is believed."""

SHORTEST_TITLE = 4
"""Characters of what stands in front of a separator and is taken for a title though the page does not repeat it."""

NEAR_LINES = 12
"""Lines above the body among which a heading is that of the article, and not the name of the site."""

MIN_FRONT = 6
"""Characters of a line that is the title although `<title>` goes on after a mere space."""

LONGEST_JSON = 200_000
"""Characters of linked data that are read."""

_META: Mapping[str, Sequence[str]] = {
    "title": ("articletitle", "og:title", "twitter:title", "dc.title", "citation_title", "headline"),
    "published_at": (
        *("pubdate", "article:published_time", "publishdate", "publish-date", "publication_date", "og:published_time"),
        *("og:release_date", "weibo:article:create_at", "weibo: article:create_at", "datepublished", "dc.date.issued"),
        *("dc.date", "dcterms.created", "parsely-pub-date", "firstpublishedtime", "apub:time", "publishtime", "date"),
    ),
    "author": ("article:author", "author", "og:author", "dc.creator", "byl", "parsely-author", "apub:author"),
    "site_name": ("contentsource", "mediaid", "og:site_name", "application-name", "sitename"),
    "section": ("columnname", "article:section", "og:section"),
    "source_url": ("og:url",),
}
"""Names of meta tags by what they say, the most reliable first. `ArticleTitle`, `PubDate`, `ContentSource`, `SiteName`
and `ColumnName` are those that the Chinese government asks of its sites (GB/T, 政府网站发展指引, 2017)."""

_LINKED: Mapping[str, Sequence[str]] = {
    "title": ("headline", "title"),
    "published_at": ("datePublished", "pubDate", "uploadDate"),
    "author": ("author",),
    "site_name": ("publisher",),
    "section": ("articleSection",),
    "licence": ("license",),
}
"""The same for linked data (schema.org, and the variant of Baidu's `cambrian.jsonld`)."""

_SEPARATOR = re.compile(
    r"\s{0,3}[_|｜＿丨»›]{1,3}\s{0,3}|\s{1,3}[-–—·•/:]{1,2}\s{1,3}|(?<=[\u4e00-\u9fff？！”》)）])[-–]{1,2}(?=[\u4e00-\u9fff])|--"
)
"""Between a title and the names of section and site."""

_NOBODY = re.compile(
    r"(?:admin\w*|administrator|root|user|guest|editor|webmaster|author|none|null|test|dede\w*|discuz.*|wordpress|phpcms"
    r"|佚名|匿名|未知|网站?管理员|管理员|小编|本站.*|编辑|无|原创|网络|互联网)",
    re.IGNORECASE,
)
"""What templates and systems put down as author."""

_WECHAT_TIME = re.compile(r"\bvar ct ?= ?[\"'](\d{10})[\"']")
_BARE_URL = re.compile(r"https?://|www\.|\.(?:com|cn|net|org)\b", re.IGNORECASE)


def read_facts(tree: Any, source: str, near: Sequence[str]) -> dict[str, str]:
    """Facts by field, as the page has them: nothing is repaired yet. `near` are the lines above the body."""
    meta = _meta(tree)
    linked = _linked_data(tree)
    found: dict[str, str] = {}
    for name in _META.keys() | _LINKED.keys():
        for value in _values(name, meta, linked):
            if name != "title" and (said := plausible(name, value)) and _is_borne_out(name, said, near, linked):
                found[name] = said
                break
    if title := _title(tree, meta, linked, near):
        found["title"] = title
    if url := _canonical(tree) or found.get("source_url"):
        found["source_url"] = url
    if "published_at" not in found and (moment := _wechat_time(source)):
        found["published_at"] = moment
    if language := _language(tree, meta):
        found["lang_declared"] = language
    return found


def _meta(tree: Any) -> dict[str, str]:
    """Contents of meta tags by name, the first of each that says something."""
    said: dict[str, str] = {}
    for element in tree.iter("meta"):
        name = element.get("name") or element.get("property") or element.get("itemprop") or element.get("http-equiv")
        content = " ".join((element.get("content") or "")[:4_000].split())
        if name and content:
            said.setdefault(name.strip().lower(), content)
    for element in tree.iter("time"):
        if element.get("datetime"):
            said.setdefault("datepublished", element.get("datetime")[:100])
    return said


def _linked_data(tree: Any) -> dict[str, Any]:
    """The object of linked data that describes the page: the first with a headline or a date."""
    for element in tree.iter("script"):
        if "ld+json" not in (element.get("type") or "") or len(element.text or "") > LONGEST_JSON:
            continue
        try:
            data = json.loads(element.text or "", strict=False)
        except (ValueError, RecursionError):
            continue
        for item in _objects(data):
            if {"headline", "datePublished", "pubDate"} & item.keys():
                return item
    return {}


def _objects(data: Any) -> Iterator[dict[str, Any]]:
    items = data if isinstance(data, list) else [data]
    for item in items[:50]:
        if isinstance(item, dict):
            yield item
            graph = item.get("@graph")
            yield from (node for node in (graph if isinstance(graph, list) else [])[:50] if isinstance(node, dict))


def _values(name: str, meta: Mapping[str, str], linked: Mapping[str, Any]) -> Iterator[str]:
    yield from (meta[tag] for tag in _META.get(name, ()) if tag in meta)
    for tag in _LINKED.get(name, ()):
        yield from _named(linked.get(tag))


def _named(value: Any) -> Iterator[str]:
    """A string, or the name of an object, or those of several."""
    if isinstance(value, list):
        names = [name for item in value[:10] if not isinstance(item, list) for name in _named(item)]
        yield from ["、".join(names)] if names else []
    elif isinstance(value, dict):
        yield from _named(value.get("name")) if isinstance(value.get("name"), str) else ()
    elif isinstance(value, str) and value.strip():
        yield " ".join(value.split())


def plausible(name: str, value: str) -> str:
    """A value, if it can be one of its field; empty otherwise."""
    if len(value) > LONGEST[name]:
        return ""
    if name == "published_at":
        match = DATETIME.match(fold(value))
        return (iso_datetime(match) or "") if match else ""
    if name == "source_url":
        return value if _is_address(value) else ""
    if name in {"author", "site_name", "section"} and (_BARE_URL.search(value) or _NOBODY.fullmatch(value)):
        return ""
    return value


def _is_address(value: str) -> bool:
    """Whether a value is an address of more than a home page, which careless templates give for all pages."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc and (parts.path.strip("/") or parts.query))


def _is_borne_out(name: str, value: str, near: Sequence[str], linked: Mapping[str, Any]) -> bool:
    """An author in a meta tag is often that of the template, or the site: the page must name it as well."""
    return name != "author" or any(value in line for line in near) or value in _named(linked.get("author"))


def _canonical(tree: Any) -> str:
    for element in tree.iter("link"):
        if (element.get("rel") or "").strip().lower() == "canonical":
            return plausible("source_url", (element.get("href") or "").strip())
    return ""


def _language(tree: Any, meta: Mapping[str, str]) -> str:
    said = (tree.get("lang"), tree.get("{http://www.w3.org/XML/1998/namespace}lang"), tree.get("xml:lang"))
    named = (meta.get("content-language"), meta.get("og:locale"))
    for value in filter(None, (*said, *named)):
        if match := re.fullmatch(r"([a-zA-Z]{2,3})(?:[-_][a-zA-Z0-9]{2,8}){0,3}", value.strip()):
            return match[0].replace("_", "-")
    return ""


def _wechat_time(source: str) -> str:
    """The second in which an article of WeChat was published, in the time of Beijing."""
    match = _WECHAT_TIME.search(source) if "rich_media" in source else None
    if not match:
        return ""
    return datetime.fromtimestamp(int(match[1]), timezone(timedelta(hours=8))).isoformat()


# The title


def _title(tree: Any, meta: Mapping[str, str], linked: Mapping[str, Any], near: Sequence[str]) -> str:
    """The title without the names of section and site: as it stands above the body, if it does."""
    given = [*_values("title", meta, linked), *_texts(tree, "title")]
    headings = [*_texts(tree, "h1"), *near, *_texts(tree, "h2")]
    known = {key(line): line for line in reversed(headings) if 2 <= len(line) <= LONGEST["title"]}
    for title in given:
        parts = [part for part in _parts(title) if len(key(part)) > 1 and key(part) in known]
        if parts:
            return min((part for part in parts if len(part) >= MIN_FRONT), key=len, default=parts[0])
    for title in given:
        fronts = [line for line in known.values() if _is_front(line, title)]
        if fronts:
            return max(fronts, key=len)
    above = {key(line) for line in near[-NEAR_LINES:]}
    headings = [line for line in _texts(tree, "h1") if len(line) >= MIN_FRONT and key(line) in above]
    if len(headings) == 1:  # what `<title>` says stands nowhere: on hijacked pages it is spam
        return headings[0]
    whole = next((title for title in given if 2 <= len(title) <= LONGEST["title"]), "")
    return _cut(whole) or next((line for line in _texts(tree, "h1") if 2 <= len(line) <= LONGEST["title"]), "")


def _is_front(line: str, title: str) -> bool:
    """Whether a title is a line and something set off from it: `… 松花江网`."""
    return len(line) >= MIN_FRONT and title.startswith(line) and not title[len(line)].isalnum()


def _parts(title: str) -> list[str]:
    """A title, and what stands in front of each separator in it, the longest first; then what is behind the first."""
    cuts = [match.span() for match in _SEPARATOR.finditer(title)][:20]
    fronts = [title[:start].strip() for start, _ in reversed(cuts)]
    backs = [title[end:].strip() for _, end in cuts[:1]]
    return [title.strip(), *fronts, *backs]


def _cut(title: str) -> str:
    """What stands in front of the first separator, or behind it if that is no more than a label."""
    parts = _SEPARATOR.split(title)
    if "»" in title or "›" in title:  # WordPress's way: the site comes first
        return parts[-1].strip() if len(parts[-1]) >= SHORTEST_TITLE else parts[0].strip()
    return parts[0].strip() if len(parts[0]) >= SHORTEST_TITLE or len(parts) == 1 else parts[1].strip()


def _texts(tree: Any, tag: str) -> Iterable[str]:
    for n, element in enumerate(tree.iter(tag)):
        if n >= 5:
            return
        text = " ".join("".join(element.itertext())[:1_000].split())
        if text:
            yield text
