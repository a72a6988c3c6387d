"""Text files, pages of HTML included: one stream is one document."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from schemas.document import Origin
from tasks.read.records import Document, Input, Item, document, too_large

_CHUNK_BYTES = 1 << 20


def read(given: Input) -> Iterator[Item]:
    """The whole stream. One of more than `max_bytes` is hashed, but not kept in memory."""
    content = given.stream.read(given.config.max_bytes + 1)
    if len(content) > given.config.max_bytes:
        yield _hashed(given, content)
    else:
        given.stream.read(1)  # raises where the stream ends in damage: half a document is none
        made = document(given, "", content)
        yield made._replace(origin=replace(made.origin, record_sha256=""))  # there is nothing beside it


def _hashed(given: Input, begun: bytes) -> Document:
    state = hashlib.sha256(begun)
    n_bytes = len(begun)
    while chunk := given.stream.read(_CHUNK_BYTES):
        state.update(chunk)
        n_bytes += len(chunk)
    origin = Origin(given.place.uri, given.place.record, state.hexdigest(), n_bytes)
    return Document(origin, too_large(n_bytes, given.config))
