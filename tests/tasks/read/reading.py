"""Reading containers that tests have made."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from schemas.config import CleanConfig
from schemas.document import RawDocument, Rejection
from tasks.read import read_span, split_source
from tasks.read.records import Document, Item, Skipped, Span
from tasks.read.sources import Source


def source(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    return Source(path.as_uri(), path, len(content))


def documents(given: Source, config: CleanConfig | None = None) -> list[Document]:
    return of_span(Span(given), config)


def of_span(span: Span, config: CleanConfig | None = None) -> list[Document]:
    return [item for item in read_span(span, config or CleanConfig()) if isinstance(item, Document)]


def of_pieces(given: Source, config: CleanConfig | None = None) -> list[Document]:
    return [item for span in split_source(given) for item in of_span(span, config)]


def rows(path: Path, content: bytes, config: CleanConfig | None = None) -> list[tuple[str, str]]:
    """Address and text of documents; of what is none, its address and `reason: detail`."""
    return [(item.origin.record, told(item)) for item in documents(source(path, content), config)]


def told(item: Document) -> str:
    if isinstance(item.raw, Rejection):
        return f"{item.raw.reason}: {item.raw.detail}"
    assert isinstance(item.raw, RawDocument)
    return item.raw.content.decode("utf-8", "surrogatepass")


def outcomes(items: Iterable[Item]) -> list[tuple[str, Any]]:
    """Addresses, with what was read or why not; or what was skipped."""
    return [_outcome(item) for item in items]


def _outcome(item: Item) -> tuple[str, Any]:
    if isinstance(item, Skipped):
        return "", item.kind
    raw = item.raw
    return item.origin.record, raw.reason if isinstance(raw, Rejection) else raw.content


def outcomes_of(path: Path, content: bytes, **config: Any) -> list[tuple[str, Any]]:
    return outcomes(read_span(Span(source(path, content)), CleanConfig(**config)))
