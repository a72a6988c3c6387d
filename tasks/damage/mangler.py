"""The forward model of the GBK mangler: what clone sites do to a page, byte for byte.

A site converts a Simplified page to Traditional character by character, then appends to some characters their pinyin in
brackets, by a blind replacement on GBK bytes that also strikes between characters, and decodes the result again. The
repair of a shift is accepted only if mangling it again, with this code, gives what was observed.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import NamedTuple

Glosses = Mapping[bytes, str]
"""The site's table: GBK bytes of a character → what is put behind it, brackets and all (`(chǎn)`)."""


class Broken(Enum):
    """What a decoder makes of a lead byte that no trail byte follows."""

    SWALLOW = "one `?` for the byte and the ASCII sign behind it"
    MARK = "a mark for the byte alone"
    DROP = "nothing"


class Undefined(Enum):
    """What a decoder makes of a pair that is no character of GBK."""

    PRIVATE = "a private-use character, as in GB18030"
    MARK = "a mark"
    DROP = "nothing"
    MARK_LEAD = "a mark for the first byte; the second begins the next character"


class Decoder(NamedTuple):
    """How a site reads bytes that are not quite GBK."""

    broken: Broken
    undefined: Undefined
    mark: str = "?"


def encode(char: str) -> bytes | None:
    """The one or two bytes of a character in GBK with its user-defined areas; None if it has none.

    Python's `gbk` is Microsoft's code page 936; `gb18030` adds the user-defined pairs (U+E000 to U+E765) and the
    pairs that GBK leaves open. Its four-byte characters are none of GBK.
    """
    if char == "€":
        return b"\x80"
    try:
        data = char.encode("gb18030")
    except UnicodeEncodeError:
        return None
    return data if len(data) <= 2 else None


@cache
def decode_pair(pair: bytes) -> str | None:
    """The character of GBK that two bytes make; None if they make none (user-defined ones count as none)."""
    try:
        return pair.decode("gbk")
    except UnicodeDecodeError:
        return None


def insert_glosses(data: bytes, glosses: Glosses) -> bytes:
    """Append the gloss behind every pair of bytes that is in the table, wherever characters begin.

    PHP's `str_replace` takes one table entry after the other; where two matches overlap the one that comes first in the
    text is taken here, which is the same unless the table's order says otherwise.
    """
    out = bytearray()
    i = 0
    while i < len(data):
        gloss = glosses.get(data[i : i + 2])
        if gloss is None:
            out.append(data[i])
            i += 1
        else:
            out += data[i : i + 2] + gloss.encode("gbk")
            i += 2
    return bytes(out)


def decode(data: bytes, decoder: Decoder) -> str:
    """Read bytes as GBK the way this decoder does."""
    out: list[str] = []
    i = 0
    while i < len(data):
        byte = data[i]
        if byte <= 0x80 or byte == 0xFF:
            out.append(chr(byte) if byte < 0x80 else ("€" if byte == 0x80 else decoder.mark))
            i += 1
        elif i + 1 == len(data) or not 0x40 <= data[i + 1] <= 0xFE or data[i + 1] == 0x7F:
            out.append("" if decoder.broken is Broken.DROP else decoder.mark)
            i += 2 if decoder.broken is Broken.SWALLOW else 1
        else:
            char, used = _read_pair(data[i : i + 2], decoder)
            out.append(char)
            i += used
    return "".join(out)


def _read_pair(pair: bytes, decoder: Decoder) -> tuple[str, int]:
    char = decode_pair(pair)
    if char is not None:
        return char, 2
    if decoder.undefined is Undefined.PRIVATE:
        return pair.decode("gb18030"), 2
    if decoder.undefined is Undefined.DROP:
        return "", 2
    return decoder.mark, 1 if decoder.undefined is Undefined.MARK_LEAD else 2


def mangle(text: str, glosses: Glosses, decoder: Decoder, cut: Callable[[str], list[str]] | None = None) -> str:
    """What a site makes of a Traditional text. `cut` splits it first, where a site works sentence by sentence.

    Raises:
        UnicodeEncodeError: if the text has characters that GBK lacks.
    """
    pieces = cut(text) if cut else [text]
    return "".join(decode(insert_glosses(piece.encode("gbk"), glosses), decoder) for piece in pieces)


def trim(data: bytes, byte: int = 0xA1) -> bytes:
    """Byte-wise trim of what was meant to be full-width spaces (A1A1): it eats A1 bytes of other characters, too."""
    return data.strip(bytes((byte,)))
