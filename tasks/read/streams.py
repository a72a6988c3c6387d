"""Compressed streams undone, on demand and within bounds (docs/adr/0021-containers.md).

What is damaged is given as far as it goes: all that could be made before comes out of the stream, and the next read
raises. No read throws away what it already has.

Errors are kept as copies: with its traceback an error would keep all that was being read in memory, till the garbage
collector comes, which counts objects and not bytes.
"""

import bz2
import io
import lzma
import sys
import zlib
from collections.abc import Callable
from copy import copy
from typing import BinaryIO, Protocol, cast

from schemas.config import ReadConfig
from tasks.read.kinds import MAGIC
from tasks.read.records import BombError, BrokenError

FLOOR_BYTES = 64 * 1024 * 1024
"""What one layer expands to in any case, whatever it was packed in: small files of repeated lines do honestly."""

SOURCE_FLOOR_BYTES = 4 * FLOOR_BYTES
"""The same for all layers of a source together: one bomb in an archive doesn't take the rest along."""

WINDOW_BYTES = 128 * 1024 * 1024
"""Memory that a stream may ask for: `zstd -22 --ultra` needs as much, `xz -9` half of it."""

CHUNK_BYTES = 32 * 1024
"""Read at a time. What is left of a chunk is copied at the end of each frame, so it is small."""

_STEP_BYTES = 1024
"""Made at a time: libraries drop what they made in the call that meets the damage."""

_BUFFER_BYTES = 64 * 1024

_DAMAGE = (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError)


class Decoder(Protocol):
    """What undoes one frame: the interface of `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing more to be made of what was given."""

    @property
    def unused_data(self) -> bytes:
        """What was given and follows the end of the frame."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes."""


class _Inflate:
    """zlib's decoder as a `Decoder` that gives all there is before damage."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self._rest = b""
        self._is_full = False
        self._error: zlib.error | None = None

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._rest and not self._is_full and self._error is None

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes."""
        if self._error is not None:
            raise copy(self._error)
        data = self._rest + data if self._rest else data
        before = self._inner.copy()
        try:
            made = self._inner.decompress(data, max_length)
            self._rest = self._inner.unconsumed_tail
        except zlib.error as error:
            self._error = copy(error)
            made = _before_damage(before, data)[:max_length]
            if not made:
                raise
        self._is_full = len(made) == max_length  # then there may be more of the same bytes
        return made


def _before_damage(inner: "zlib._Decompress", data: bytes) -> bytes:
    """What comes out if the bytes are given one by one, up to the one that makes no sense."""
    made = bytearray()
    try:
        for at in range(len(data)):
            made += inner.decompress(data[at : at + 1])
    except zlib.error:
        pass
    return bytes(made)


class _Stepped:
    """See `stepped`."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner
        self._error: Exception | None = None

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._error is None and self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes."""
        if self._error is not None:
            raise copy(self._error)
        made = bytearray()
        try:
            while len(made) < max_length:
                piece = self._inner.decompress(data, min(_STEP_BYTES, max_length - len(made)))
                data = b""
                made += piece
                if not piece or self._inner.eof or self._inner.needs_input:
                    break
        except _damage() as error:
            if not made:
                raise
            self._error = copy(error)
        return bytes(made)


def stepped(inner: Decoder) -> Decoder:
    """A library's decoder, called for little at a time: of what comes before damage a kilobyte is lost at most."""
    return _Stepped(inner)


def _zstd() -> Decoder:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_BYTES.bit_length() - 1}
    return cast("Decoder", zstd.ZstdDecompressor(options=options))


def _damage() -> tuple[type[Exception], ...]:
    """What decoders raise. zstd's error is a class of its own, in a module that is loaded when such a file comes."""
    module = sys.modules.get("compression.zstd") or sys.modules.get("backports.zstd")
    return (*_DAMAGE, module.ZstdError) if module else _DAMAGE


DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Inflate(31),
    "deflate": lambda: _Inflate(-15),
    "bzip2": lambda: stepped(bz2.BZ2Decompressor()),
    # Somewhat more than the window: the decoder's own state.
    "xz": lambda: stepped(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW_BYTES + (1 << 20))),
    "zstd": lambda: stepped(_zstd()),
}
"""By kind, what undoes a frame of it: keys of `kinds.COMPRESSIONS`, and what only zip files have."""


class Budget:
    """How much all compressed streams of a source may expand to, together.

    Args:
        n_bytes: Size of the source.
        config: Its bounds.
    """

    def __init__(self, n_bytes: int, config: ReadConfig) -> None:
        self.n_bytes = n_bytes
        self.config = config
        self._n_spent = 0

    def spend(self, n_bytes: int) -> None:
        """Count what one of the streams has made.

        Raises:
            BombError: if it is too much for the source.
        """
        self._n_spent += n_bytes
        bound = max(SOURCE_FLOOR_BYTES, self.config.max_ratio * self.n_bytes)
        if self._n_spent > bound:
            raise BombError(
                f"What is compressed in it expands to more than {bound:,} bytes in all: not read further.",
                of_source=True,
            )
        if self._n_spent > self.config.max_container_bytes:
            raise BombError(
                f"What is compressed in it expands to more than {self.config.max_container_bytes:,} bytes "
                "(max_container_bytes): not read further.",
                of_source=True,
            )


def expand(
    stream: BinaryIO,
    kind: str,
    budget: Budget,
    *,
    n_packed: int = 0,
    decoder: Callable[[], Decoder] | None = None,
) -> BinaryIO:
    """Undo a compression. All frames (members, streams) that follow each other are read; zeros after the last are not.

    Args:
        stream: From its beginning; read in order, in small pieces.
        kind: A key of `kinds.COMPRESSIONS`, or for messages alone if a decoder is given.
        budget: Of the source.
        n_packed: Size of the compressed stream, where that is known for sure; as much of it as was read otherwise.
        decoder: Makes what undoes the one frame there is, as of a member of a zip file.

    Returns:
        A stream that can't seek, buffered. Reads give less than they were asked for only at its end, or before damage:
        the next read then raises BrokenError with the address `offset=<n>`, where n counts the bytes of this stream
        (uncompressed ones) that were given before; or BombError, if it expands to more than `max_ratio` times its size
        and `FLOOR_BYTES`, asks for more memory than `WINDOW_BYTES`, or uses up the budget.
    """
    return buffered(_Expanded(stream, kind, budget, n_packed, decoder))


class _Expanded(io.RawIOBase):
    """See `expand`."""

    def __init__(
        self, packed: BinaryIO, kind: str, budget: Budget, n_packed: int, decoder: Callable[[], Decoder] | None
    ) -> None:
        self._packed = packed
        self._kind = kind
        self._budget = budget
        self._n_packed = n_packed
        self._is_single = decoder is not None
        self._start = decoder or DECODERS[kind]
        self._decoder: Decoder | None = None
        self._data = b""
        self._n_in = self._n_out = self._n_frames = 0
        self._error: BrokenError | BombError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # mypy's Buffer is a protocol
        if self._error is not None:
            raise copy(self._error)
        try:
            made = self._made(len(buffer))
            self._count(len(made))
        except (BrokenError, BombError) as error:
            self._error = copy(error)
            raise
        buffer[: len(made)] = made
        return len(made)

    def _made(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while self._decoder is not None or self._begin():
            assert self._decoder is not None
            has_ended = self._decoder.needs_input and not self._data and not self._more()
            made = self._decode(self._decoder, size)
            if self._decoder.eof:
                self._data, self._decoder, self._n_frames = self._decoder.unused_data, None, self._n_frames + 1
            elif has_ended and not made:
                raise self._broken("it ends too soon")
            if made:
                return made
        return b""

    def _decode(self, decoder: Decoder, size: int) -> bytes:
        data, self._data = self._data, b""
        try:
            return decoder.decompress(data, size)
        except _damage() as error:
            if "memory" in str(error).lower():  # both libraries have no other way to say it
                raise BombError(
                    f"The {self._kind} stream can't be undone in {WINDOW_BYTES:,} bytes of memory: not read."
                ) from error
            raise self._broken(f"it makes no sense from there on ({error})") from error

    def _begin(self) -> bool:
        """Start with the next frame, if there is one."""
        if self._n_frames and (self._is_single or not self._goes_on()):
            return False
        self._decoder = self._start()
        return True

    def _goes_on(self) -> bool:
        """Whether another frame follows. Zeros after the last are padding: tapes, and xz's own."""
        while not (rest := self._data.lstrip(b"\0")):
            if not self._more():
                return False
        self._data = rest
        while len(self._data) < 10 and self._more():
            pass
        if not MAGIC[self._kind].match(self._data):
            raise self._broken("what follows is nothing of its kind", is_behind=True)
        return True

    def _more(self) -> bool:
        more = self._packed.read(CHUNK_BYTES)
        self._data += more
        self._n_in += len(more)
        return bool(more)

    def _count(self, n_bytes: int) -> None:
        self._n_out += n_bytes
        bound = max(FLOOR_BYTES, self._budget.config.max_ratio * max(self._n_packed, self._n_in))
        if self._n_out > bound:
            raise BombError(f"The {self._kind} stream expands to more than {bound:,} bytes: not read further.")
        self._budget.spend(n_bytes)

    def _broken(self, why: str, *, is_behind: bool = False) -> BrokenError:
        what = f"The {self._kind} stream is damaged after {self._n_out:,} bytes: {why}."
        return BrokenError(what, f"offset={self._n_out}", is_behind=is_behind)


class _Headed(io.RawIOBase):
    """A stream whose beginning has been read."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = memoryview(head)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        piece = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


class _Buffered(io.BufferedReader):
    """A buffer that loses nothing when its stream raises: the standard one drops what a read has gathered till then."""

    def read(self, size: int | None = -1) -> bytes:
        wanted = sys.maxsize if size is None or size < 0 else size
        pieces = []
        try:
            while wanted and (piece := self._piece(wanted)):
                pieces.append(piece)
                wanted -= len(piece)
        except (BrokenError, BombError):  # raised again by the next read
            if not pieces:
                raise
        return b"".join(pieces) if len(pieces) != 1 else pieces[0]

    def _piece(self, size: int) -> bytes:
        if size < _BUFFER_BYTES:
            self.peek(1)  # fills the buffer if it is empty, which `read1` doesn't
        return self.read1(min(size, _BUFFER_BYTES))

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """A stream for readers out of one that gives what it has."""
    return cast("BinaryIO", _Buffered(raw, _BUFFER_BYTES))


def with_head(head: bytes, stream: BinaryIO) -> BinaryIO:
    """A stream of which the beginning has been read, from its beginning again."""
    if stream.seekable():
        stream.seek(0)
        return stream
    return buffered(_Headed(head, stream))


def finish(stream: BinaryIO) -> None:
    """Read what a reader has left: damage there is damage, too.

    Raises:
        BrokenError: as the stream does, and likewise BombError.
    """
    while stream.read(_BUFFER_BYTES):
        pass
