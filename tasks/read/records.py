"""What readers are given, and what they yield (docs/adr/0021-containers.md).

The address of a document in its container is unique there and the same at every reading; together with the address of
the source it makes the `doc_id`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from schemas.config import CleanConfig
from schemas.document import Origin, RawDocument, Reason, Rejection
from tasks.read.sources import Source

SEPARATOR = "!"
"""Between the addresses of a container within a container, as in `pages.tar!2024/a.jsonl.gz!line=3`."""


class Span(NamedTuple):
    """A piece of a source that is read in one go; the unit of `begin` and `end` is its reader's own."""

    source: Source
    begin: int = 0
    end: int | None = None
    """Exclusive; None for the end of the source."""
    first: int = 1
    """Number of the first line or row in it."""
    n_bytes: int = 0
    """How much work it is, in bytes of the source."""


class Document(NamedTuple):
    """A document as it was read, or why it could not be."""

    origin: Origin
    raw: RawDocument | Rejection


class Skipped(NamedTuple):
    """A record that is no document."""

    kind: str
    """`revisit`, `request`, `metadata`, `warcinfo`, …"""


Item = Document | Skipped


class BrokenError(Exception):
    """A container can't be read (further).

    Args:
        why: What is wrong, as a sentence.
        address: Where, in the container: `offset=1234`, `line=5`.
        is_behind: Whether it stands behind what is whole: garbage after the end.
    """

    def __init__(self, why: str, address: str = "", *, is_behind: bool = False) -> None:
        self.why = why
        self.address = address
        self.is_behind = is_behind
        super().__init__(why)


class BombError(Exception):
    """A compressed stream or an archive is out of bounds; the message says of which.

    Args:
        why: The message.
        of_source: Whether the bounds are those of the whole source, so that nothing in it is read any more.
    """

    def __init__(self, why: str, *, of_source: bool = False) -> None:
        self.of_source = of_source
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream is."""

    uri: str
    """Of the source."""
    name: str
    """Of the file or member, without the suffixes of compressions that were undone: its suffix tells what it is."""
    record: str = ""
    """Address of the stream in the source; empty for the source itself."""
    depth: int = 0
    """How many archives are around it."""

    def at(self, address: str) -> str:
        """Address of something in this stream, in the source."""
        return f"{self.record}{SEPARATOR}{address}" if self.record and address else self.record or address


@dataclass(frozen=True, slots=True)
class Input:
    """A stream for a reader, with all that it needs to know."""

    stream: BinaryIO
    """At its beginning, undone of its compression. `seekable()` tells whether it can seek; only a file that is not
    compressed, on a file system that can, does."""
    place: Place
    config: CleanConfig
    nested: Callable[[BinaryIO, Place], Iterator[Item]]
    """Reads a stream within this one, whatever it is, to its end. What is wrong with it is a row of its own."""
    expand: Callable[..., BinaryIO]
    """Undoes a compression within this stream: `streams.expand` without its budget."""
    begin: int = 0
    end: int | None = None
    first: int = 1
    """As in `Span`; other than these where `Reader.split` has split the file."""


def document(  # noqa: PLR0913
    given: Input,
    address: str,
    content: bytes,
    *,
    declared_encoding: str = "",
    known_encoding: str = "",
    name: str = "",
    facts: Mapping[str, str] | None = None,
    url: str = "",
    fetched_at: str = "",
    record_id: str = "",
    payload_digest: str = "",
    extra: Mapping[str, object] | None = None,
) -> Document:
    """A document of a container.

    Args:
        given: The stream that it is in.
        address: Where in the stream: unique there, and the same at every reading.
        content: Its bytes.
        declared_encoding: As in `RawDocument`.
        known_encoding: Likewise.
        name: Likewise.
        facts: Likewise.
        url: As in `Origin`.
        fetched_at: Likewise.
        record_id: Likewise.
        payload_digest: Likewise.
        extra: What else stands beside it, to be kept as JSON. Values that JSON hasn't are kept as strings.
    """
    place = given.place
    record = place.at(address)
    beside = json.dumps(extra, ensure_ascii=False, sort_keys=True, default=str) if extra else ""
    told = (declared_encoding, known_encoding, name, sorted((facts or {}).items()))
    url, fetched_at, record_id, payload_digest, beside = map(
        _storable, (url, fetched_at, record_id, payload_digest, beside)
    )
    told_of = (url, fetched_at, record_id, payload_digest, beside)
    sha256 = hashlib.sha256(content).hexdigest()
    state = hashlib.sha256(repr((sha256, told, told_of)).encode(errors="backslashreplace")).hexdigest()
    origin = Origin(place.uri, record, sha256, len(content), *told_of, state)
    if len(content) > given.config.max_bytes:
        return Document(origin, too_large(len(content), given.config))
    raw = RawDocument(place.uri, content, record, declared_encoding, known_encoding, name or place.name, facts or {})
    return Document(origin, raw)


def rejected(place: Place, address: str, reason: Reason, detail: str, content: bytes = b"") -> Document:
    """A row for what could not be read; its bytes, if they are there, tell whether it has changed since."""
    sha256 = hashlib.sha256(content).hexdigest() if content else ""
    return Document(Origin(place.uri, place.at(address), sha256, len(content)), Rejection(reason, detail))


def says(item: Item, error: Exception) -> bool:
    """Whether a row is there because of an error: one that ends an archive needs no second row for the member."""
    return isinstance(item, Document) and isinstance(item.raw, Rejection) and item.raw.detail == str(error)


def too_large(n_bytes: int, config: CleanConfig) -> Rejection:
    """A document has more bytes than the configuration allows."""
    return Rejection(Reason.TOO_LARGE, f"{n_bytes:,} bytes, and {config.max_bytes:,} are allowed.")


def _storable(text: str) -> str:
    """Without lone surrogates, which Parquet can't hold."""
    return text.encode("utf-8", "backslashreplace").decode()
