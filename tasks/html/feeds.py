"""Feeds (RSS, RDF, Atom): pages of HTML within XML, several to a document."""

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lxml import etree

from schemas.document import Page
from tasks.html.facts import plausible
from tasks.html.lines import Line, lines_without_tags, parse, read_lines

SAMPLE_CHARS = 1_000
"""Characters of hidden text that are kept."""

_DECLARATION = re.compile(r"[\s\ufeff]*+<\?xml[^>]{0,300}>")
_START = re.compile(
    r"[\s\ufeff]*+(?:<\?[^>]{0,300}>\s{0,50}|<!--(?:(?!-->).){0,2000}-->\s{0,50}|<!DOCTYPE[^>\[]{0,300}>\s{0,50})*+"
    r"<(?:rss|feed|rdf:RDF|RDF)[\s>]",
    re.DOTALL,
)
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[a-zA-Z][a-zA-Z0-9]{1,31};")
"""Names that HTML knows and XML does not: feeds have them all the same."""

_CONTENTS = ("encoded", "content", "description", "summary")
"""What holds the text of an item, the fullest first."""


def is_feed(text: str) -> bool:
    """Whether a decoded document is a feed."""
    return "<" in text[:4_096] and _START.match(text[:4_096]) is not None


def read_feed(text: str) -> Page | None:
    """Titles and texts of a feed's items in order; None if it can't be parsed. Entities of its own are not resolved."""
    source = _ENTITY.sub(lambda match: html.unescape(match[0]), _DECLARATION.sub("", text, count=1))
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, remove_comments=True)
    try:
        tree = etree.fromstring(source.strip().encode("utf-8", "surrogatepass"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if tree is None:
        return None
    items = [element for element in tree.iter() if _local(element) in {"item", "entry"}]
    lines = [line for item in items for line in _lines(item)]
    hidden = [line.text for line in lines if line.hidden]
    return Page(
        "".join(f"{line.text}\n" for line in lines if not line.hidden),
        format="feed",
        facts=_facts(tree),
        hidden_chars=sum(map(len, hidden)),
        hidden_text="".join(f"{line}\n" for line in hidden)[:SAMPLE_CHARS],
    )


def _local(element: Any) -> str:
    """Name without its namespace. A broken feed has names that etree.QName refuses."""
    tag = element.tag
    return _without_namespace(tag) if isinstance(tag, str) else ""


@lru_cache(maxsize=1_000)
def _without_namespace(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2]


def _children(element: Any, name: str) -> Iterator[Any]:
    return (child for child in element if _local(child) == name)


def _lines(item: Any) -> Iterator[Line]:
    children: dict[str, list[Any]] = {}
    for child in item:
        children.setdefault(_local(child), []).append(child)
    for title in children.get("title", ()):
        yield from _read(title)
    for name in _CONTENTS:
        found = [line for content in children.get(name, ()) for line in _read(content)]
        if found:
            yield from found
            return


_PARSED = re.compile("[<&\\0-\x1f\x7f-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
"""What has a meaning in HTML, or none: a text without these is what it is. Most titles of items are."""


def _read(element: Any) -> list[Line]:
    """Lines of an element that holds HTML, escaped or as it is."""
    if len(element):
        source = "".join([element.text or "", *(etree.tostring(child, encoding="unicode") for child in element)])
    else:
        source = element.text or ""
    if not _PARSED.search(source):
        return lines_without_tags(source)
    tree = parse(source) if source.strip() else None
    return read_lines(tree).lines if tree is not None else []


def _facts(tree: Any) -> dict[str, str]:
    channel = next((element for element in tree.iter() if _local(element) in {"channel", "feed"}), tree)
    found: dict[str, str] = {}
    for title in _children(channel, "title"):
        name = " ".join(line.text for line in _read(title))
        if name and len(name) <= 200:
            found["title"] = found["site_name"] = name
    for link in _children(channel, "link"):
        if link.get("rel", "alternate") == "alternate" and "source_url" not in found:
            address = plausible("source_url", (link.get("href") or link.text or "").strip())
            found |= {"source_url": address} if address else {}
    said = [child.text or "" for child in _children(channel, "language")]
    language = next(iter(said), "") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or ""
    if re.fullmatch(r"[a-zA-Z]{2,3}(?:-[a-zA-Z0-9]{2,8}){0,3}", language.strip()):
        found["lang_declared"] = language.strip()
    return found
