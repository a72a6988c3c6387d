"""Compressed streams undone, within bounds."""

import gzip
import io
from typing import BinaryIO

from schemas.config import ReadConfig


class Budget:
    """How much all compressed streams of a source may still expand to."""

    def __init__(self, n_bytes: int, config: ReadConfig) -> None:
        self.n_bytes = n_bytes
        self.config = config


def expand(stream: BinaryIO, kind: str, budget: Budget) -> BinaryIO:
    """Undo a compression (a key of `kinds.COMPRESSIONS`); see the contract."""
    return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]


def with_head(head: bytes, stream: BinaryIO) -> BinaryIO:
    """A stream of which the beginning has been read, from its beginning again."""
    if stream.seekable():
        stream.seek(0)
        return stream
    return io.BytesIO(head + stream.read())
