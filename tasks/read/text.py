"""Text files, pages of HTML included: one stream is one document."""

import hashlib
from collections.abc import Iterator
from copy import copy

from schemas.document import Origin, RawDocument
from tasks.read.records import BrokenError, Document, Input, Item, too_large

_CHUNK_BYTES = 1 << 20


def read(given: Input) -> Iterator[Item]:
    """The whole stream. One of more than `max_bytes` is hashed, but not kept in memory.

    Raises:
        BrokenError: if something is wrong with the stream: behind the document, which is given, or in it.
    """
    content = given.stream.read(given.config.max_bytes + 1)
    if len(content) > given.config.max_bytes:
        yield _hashed(given, content)
    else:
        behind = _behind(given)
        place = given.place
        origin = Origin(place.uri, place.record, hashlib.sha256(content).hexdigest(), len(content))
        yield Document(origin, RawDocument(place.uri, content, place.record, name=place.name))
        if behind:
            raise behind


def _behind(given: Input) -> BrokenError | None:
    """Garbage behind the end of the stream.

    Raises:
        BrokenError: if the stream itself is damaged: half a document is none.
    """
    try:
        given.stream.read(1)
    except BrokenError as error:
        if not error.is_behind:
            raise
        return copy(error)
    return None


def _hashed(given: Input, begun: bytes) -> Document:
    state = hashlib.sha256(begun)
    n_bytes = len(begun)
    while chunk := given.stream.read(_CHUNK_BYTES):
        state.update(chunk)
        n_bytes += len(chunk)
    origin = Origin(given.place.uri, given.place.record, state.hexdigest(), n_bytes)
    return Document(origin, too_large(n_bytes, given.config))
