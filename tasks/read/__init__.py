"""Documents out of sources: files that are one, and containers that hold many.

A reader is a module beside this one with a function `read`, which takes an `Input` and yields documents, and where a
file of its kind can be read in pieces, a function `split`. What a stream holds is told by `tasks.read.kinds`; streams
within streams come back here.
"""

import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import BinaryIO, Protocol

from schemas.config import CleanConfig
from schemas.document import Reason
from tasks.read.kinds import COMPRESSIONS, HEAD_BYTES, bare_name, kind_of
from tasks.read.records import BombError, BrokenError, Input, Item, Place, Span, rejected
from tasks.read.sources import Source, UnreadableError, open_source
from tasks.read.streams import Budget, expand, finish, with_head


def _nobody(_: int) -> None:
    """Tell nobody."""


READERS = {
    "text": "tasks.read.text",
    "jsonl": "tasks.read.jsonl",
    "json": "tasks.read.json",
    "delimited": "tasks.read.delimited",
    "parquet": "tasks.read.parquet",
    "warc": "tasks.read.warc",
    "tar": "tasks.read.tar",
    "zip": "tasks.read.zip",
}
"""Modules by kind, imported when the first such file comes: each brings its library."""

ARCHIVES = {"tar", "zip"}
"""Kinds whose members may be containers again."""

SPLIT_BYTES = 4 * 1000 * 1000
"""A larger file is split where its kind can be: as much as a shard has (`tasks.shards`)."""

PIECES = 8
"""A small input becomes so many, lest workers have nothing to do. Two with four each end at about the same time."""

_LEAST_BYTES = 1000 * 1000
"""Of a piece of a small input: some seconds of work, a shard takes 0.2 s that its documents don't."""

_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)
"""What libraries raise on streams that end too soon or hold nonsense."""


class Reader(Protocol):
    """A module that reads one kind of stream."""

    def read(self, given: Input) -> Iterator[Item]:
        """Documents in their order, and what is none.

        Raises:
            BrokenError: if it can't go on; what it has yielded stands.
            BombError: if a bound is met.
        """

    def split(self, stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
        """Pieces of a seekable file, of about `size` bytes each, in order; all records are in one of them.

        Which there are must follow from the file alone. A reader that lacks the function reads files as a whole.
        """


def read_span(span: Span, config: CleanConfig, progress: Callable[[int], None] = _nobody) -> Iterator[Item]:
    """Documents of a piece of a source, in their order. Whatever is wrong with it ends as a row.

    A source without any document gives one row that says so: nothing goes without a trace.

    Args:
        span: The piece.
        config: Bounds, and what fields are called.
        progress: Takes how many bytes of the piece have been read.
    """
    source = span.source
    place = Place(source.uri, source.name)
    try:
        with open_source(source) as stream:
            budget = Budget(source.n_bytes, config.read)
            start: int | None = None  # `begin` need not be a place in the file
            for item in _read_stream(stream, place, config, budget, span):
                start = stream.tell() if start is None else start
                progress(stream.tell() - start)
                yield item
    except UnreadableError as error:
        yield rejected(place, "", Reason.UNREADABLE, str(error))
    except OSError as error:  # gone, or a disk that fails
        why = error.strerror or str(error)
        yield rejected(place, "", Reason.UNREADABLE, f"The file could not be read: {why}.")


def piece_bytes(n_bytes: int) -> int:
    """Bytes of a piece, of so many in all."""
    return min(max(n_bytes // PIECES, _LEAST_BYTES), SPLIT_BYTES)


def split_source(source: Source, size: int | None = None) -> list[Span]:
    """Pieces of a large source, in order: the whole, if it can't be split, or can't be read.

    Args:
        source: What is split.
        size: Bytes of a piece; `SPLIT_BYTES`, if nothing is said.
    """
    whole = Span(source, n_bytes=source.n_bytes)
    try:
        with open_source(source) as stream:
            reader = _reader(kind_of(source.name, stream.read(HEAD_BYTES)))
            if not hasattr(reader, "split") or not stream.seekable():
                return [whole]
            stream.seek(0)
            return list(reader.split(stream, source, size or SPLIT_BYTES)) or [whole]
    except (*_DAMAGE, BrokenError, UnreadableError):
        return [whole]  # reading it will say what is wrong


def _reader(kind: str) -> Reader:
    return import_module(READERS.get(kind, READERS["text"]))  # a module is one


def _read_stream(
    stream: BinaryIO, place: Place, config: CleanConfig, budget: Budget, span: Span | None = None
) -> Iterator[Item]:
    """Documents of a stream, whatever it holds; what is wrong with it is the last one."""
    n_items = 0
    try:
        for item in _items(stream, place, config, budget, span):
            n_items += 1
            yield item
    except BombError as error:
        if error.of_source and place.record:
            raise
        yield rejected(place, "", Reason.BOMB, str(error))
    except BrokenError as error:
        yield rejected(place, error.address or "end", Reason.BROKEN, error.why)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None and (n_items == 0 or place.record):
            raise  # the file itself could not be read, and nothing else of it will be
        yield rejected(place, "end", Reason.BROKEN, f"It can't be read further, after {n_items} records: {error!r}.")
    else:
        if n_items == 0 and (span is None or (span.end is None and not span.begin)):
            yield rejected(place, "", Reason.EMPTY, "There is no document in it.")


def _items(  # noqa: PLR0913, PLR0917
    stream: BinaryIO, place: Place, config: CleanConfig, budget: Budget, span: Span | None, layers: int = 0
) -> Iterator[Item]:
    head = stream.read(HEAD_BYTES)
    kind = kind_of(place.name, head)
    stream = with_head(head, stream)
    if kind in COMPRESSIONS:
        if layers > config.read.max_depth:  # there is a gzip file that holds itself
            raise BombError(f"It is compressed more than {layers} times over: deeper than max_depth is not read.")
        inner = Place(place.uri, bare_name(place.name, kind), place.record, place.depth)
        undone = expand(stream, kind, budget, n_packed=0 if place.record or layers else budget.n_bytes)
        yield from _items(undone, inner, config, budget, None, layers + 1)
        finish(undone)
        return
    if kind in ARCHIVES and place.depth >= config.read.max_depth:
        raise BombError(f"An archive within {place.depth} others: deeper ones than max_depth are not opened")
    nested = partial(_nested, config=config, budget=budget)
    limits = (span.begin, span.end, span.first) if span else ()
    yield from _reader(kind).read(Input(stream, place, config, nested, partial(expand, budget=budget), *limits))


def _nested(stream: BinaryIO, place: Place, *, config: CleanConfig, budget: Budget) -> Iterator[Item]:
    return _read_stream(stream, place, config, budget)
