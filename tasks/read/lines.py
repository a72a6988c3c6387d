"""Streams as chunks and lines, in bounded memory: what JSON lines and CSV have in common."""

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from schemas.config import CleanConfig

CHUNK_BYTES = 1 << 20

WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_LINE_FACTOR = 4
_LINE_BEYOND = 64 * 1024


def longest_record(config: CleanConfig) -> int:
    r"""Bytes of a record beyond which it is not held in memory.

    Escapes (`\u6587`) make a text of ideographs twice as long, and as much again may stand beside it.
    """
    return _LINE_FACTOR * config.max_bytes + _LINE_BEYOND


class TooLong(NamedTuple):
    """A line that was not held in memory."""

    n_bytes: int
    sha256: str


def chunks(stream: BinaryIO, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """A stream, or a piece of a seekable one, as it comes: what was read before it breaks is there."""
    if begin:
        stream.seek(begin)
    read = getattr(stream, "read1", stream.read)
    at = begin
    while chunk := read(CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at)):
        at += len(chunk)
        yield chunk


def as_utf8(given: Iterable[bytes]) -> Iterator[bytes]:
    """Chunks of UTF-16 and UTF-32 as UTF-8, without the byte order mark; all others as they are, but for theirs.

    Halves of characters stay what they are, three bytes each; bytes that are left over at the end go.

    Raises:
        UnicodeDecodeError: for what is no character in UTF-32.
    """
    rest = iter(given)
    first = b""
    while len(first) < 4 and (chunk := next(rest, b"")):
        first += chunk
    codec = wide_codec(first)
    if not codec:
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from rest
        return
    decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
    text = decoder.decode(first).removeprefix("\ufeff")
    yield text.encode("utf-8", "surrogatepass")
    for chunk in rest:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")


def wide_codec(head: bytes) -> str:
    """UTF-16 or UTF-32, by its mark or by the zeros of its first two characters; empty for all else."""
    marked = next((codec for mark, codec in WIDE if head.startswith(mark)), "")
    if marked or len(head) < 4 or head.count(0, 0, 4) != 2:
        return marked
    if head[0] and head[2]:
        return "utf-16-le"
    return "utf-16-be" if head[1] and head[3] else ""


def lines(given: Iterable[bytes], longest: int) -> Iterator[bytes | TooLong]:
    """Lines with the line feeds that end them; longer ones are hashed and not held."""
    begun: list[bytes] = []
    n_bytes = 0
    state = None
    for chunk in given:
        first, *others = chunk.split(b"\n")
        n_bytes += len(first)
        begun.append(first)
        if state is not None or n_bytes > longest:
            state = _hashed(begun, state)
        for other in others:
            if state is not None:
                state.update(b"\n")
                yield TooLong(n_bytes + 1, state.hexdigest())
            else:
                yield b"".join((*begun, b"\n"))
            begun, n_bytes = [other], len(other)
            state = _hashed(begun, None) if n_bytes > longest else None
    if state is not None:
        yield TooLong(n_bytes, state.hexdigest())
    elif n_bytes:
        yield b"".join(begun)


def _hashed(begun: list[bytes], state: "hashlib._Hash | None") -> "hashlib._Hash":
    state = state or hashlib.sha256()
    for piece in begun:
        state.update(piece)
    begun.clear()
    return state
