"""Feeds (RSS, RDF, Atom): pages of HTML within XML, several to a document."""

import html
import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from schemas.document import Page
from tasks.html.facts import plausible
from tasks.html.lines import Line, parse, read_lines

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
    return element.tag.rpartition("}")[2].rpartition(":")[2] if isinstance(element.tag, str) else ""


def _children(element: Any, name: str) -> Iterator[Any]:
    return (child for child in element if _local(child) == name)


def _lines(item: Any) -> Iterator[Line]:
    for title in _children(item, "title"):
        yield from _read(title)
    for name in _CONTENTS:
        found = [line for content in _children(item, name) for line in _read(content)]
        if found:
            yield from found
            return


def _read(element: Any) -> list[Line]:
    """Lines of an element that holds HTML, escaped or as it is."""
    if len(element):
        source = "".join([element.text or "", *(etree.tostring(child, encoding="unicode") for child in element)])
    else:
        source = element.text or ""
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
