"""Forward models of text that was read with the wrong codec: how clean text becomes mojibake, and what gets lost.

A text is *written* in one codec and *read* as if it were in another. What the reader does with bytes that are no
character of its codec is the same choice as in `tasks.damage.mangler`, whose decoder of GBK is used here. A repair of
the mojibake step is accepted only if these functions, applied to it, give what was observed.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tasks.damage.mangler import Broken, Decoder, Undefined
from tasks.damage.mangler import decode as decode_gbk

KEEPING = Decoder(Broken.MARK, Undefined.PRIVATE, "\ufffd")
"""A reader that keeps what it can: user-defined pairs become private-use characters (GB18030 does)."""


_KANA, _USER_DEFINED = "\u3041-\u3096\u30a1-\u30fa", "\ue000-\ue864"

GARBLED = re.compile(
    f"(?:(?<![{_KANA}])[{_KANA}]{{1,100}}+(?=[{_USER_DEFINED}])"
    f"|(?<![{_USER_DEFINED}])[{_USER_DEFINED}]{{1,100}}+(?=[{_KANA}]))[{_KANA}{_USER_DEFINED}]{{1,1000}}+"
)
"""Kana beside private-use characters that GB18030 shows for user-defined pairs: that is what Big5 read as GBK looks
like, in which one character in six is of the former and one in three of the latter. No font's icons stand like that."""


class Misreading(NamedTuple):
    """Which codec was taken for which; both are names that `read` and `str.encode` know."""

    written: str
    read: str

    @property
    def rule(self) -> str:
        """Name of the repair, as it stands in an edit: `utf-8-as-gbk`."""
        return f"{self.written}-as-{self.read}"


def misread(text: str, misreading: Misreading, reader: Decoder = KEEPING) -> str:
    """What one reads who takes the text's codec for another.

    Raises:
        UnicodeEncodeError: if the codec that it was written in lacks a character.
    """
    return read(text.encode(misreading.written), misreading.read, reader)


def misread_again(text: str, misreadings: Sequence[Misreading], reader: Decoder = KEEPING) -> str:
    """Misreading upon misreading, the first one first: double and triple encodings."""
    for misreading in misreadings:
        text = misread(text, misreading, reader)
    return text


def read(data: bytes, codec: str, reader: Decoder = KEEPING) -> str:
    """Decode bytes that may not be of this codec at all: gbk, gb18030, big5, latin-1, or any windows-125x, windows-874.

    `reader` says what becomes of bytes that the codec does not define. Of the single-byte codecs Latin-1 defines all
    bytes, and Windows-1252 lacks 81, 8D, 8F, 90 and 9D: kept as control characters under `Undefined.PRIVATE`, as
    browsers do.
    """
    if codec == "gbk":
        return decode_gbk(data, reader)
    if codec == "gb18030":
        return _read_gb18030(data, reader)
    if codec == "big5":
        return _read_big5(data, reader)
    if codec == "latin-1":
        return data.decode("latin-1")
    return "".join(_read_byte(byte, codec, reader) for byte in data)


def _read_byte(byte: int, codec: str, reader: Decoder) -> str:
    char = _single_byte_table(codec)[byte]
    if char is not None:
        return char
    if reader.undefined is Undefined.PRIVATE:
        return chr(byte)
    return "" if reader.undefined is Undefined.DROP else reader.mark


@cache
def _single_byte_table(codec: str) -> tuple[str | None, ...]:
    name = codec.replace("windows-", "cp")

    def char(byte: int) -> str | None:
        try:
            return bytes((byte,)).decode(name)
        except UnicodeDecodeError:
            return None

    return tuple(map(char, range(256)))


def _read_gb18030(data: bytes, reader: Decoder) -> str:
    """GBK plus four-byte characters: a lead, a digit, a lead and a digit."""
    out: list[str] = []
    start = i = 0
    while i < len(data):
        four = data[i : i + 4]
        if 0x81 <= data[i] <= 0xFE and len(four) == 4 and 0x30 <= four[1] <= 0x39:
            try:
                char = four.decode("gb18030")
            except UnicodeDecodeError:
                i += 1
                continue
            out += decode_gbk(data[start:i], reader), char
            i += 4
            start = i
        else:
            i += _width(data, i)
    out.append(decode_gbk(data[start:], reader))
    return "".join(out)


def _width(data: bytes, i: int) -> int:
    """Bytes of the GBK character at i: two if it is a lead and a trail."""
    return 2 if 0x81 <= data[i] <= 0xFE and i + 1 < len(data) and 0x40 <= data[i + 1] <= 0xFE else 1


def _read_big5(data: bytes, reader: Decoder) -> str:
    out: list[str] = []
    i = 0
    while i < len(data):
        if data[i] < 0x80:
            out.append(chr(data[i]))
            i += 1
            continue
        char = _big5_char(data[i : i + 2], keep_private=reader.undefined is Undefined.PRIVATE)
        if char is not None:
            out.append(char)
            i += 2
            continue
        is_pair = i + 1 < len(data) and (0x40 <= data[i + 1] <= 0x7E or 0xA1 <= data[i + 1] <= 0xFE)
        if is_pair:
            out.append("" if reader.undefined is Undefined.DROP else reader.mark)
            i += 1 if reader.undefined is Undefined.MARK_LEAD else 2
        else:
            out.append("" if reader.broken is Broken.DROP else reader.mark)
            i += 2 if reader.broken is Broken.SWALLOW else 1
    return "".join(out)


def _big5_char(pair: bytes, *, keep_private: bool) -> str | None:
    """Character of two Big5 bytes: code page 950, Hong Kong's additions, user-defined ones if they are kept."""
    for codec in ("cp950", "big5hkscs"):
        try:
            return pair.decode(codec) if len(pair) == 2 else None
        except UnicodeDecodeError:
            continue
    return _big5_private()[0].get(pair) if keep_private else None


@cache
def _big5_private() -> tuple[dict[bytes, str], dict[str, bytes]]:
    """Code page 950's user-defined pairs and their private-use characters, which Python's codec lacks, both ways.

    Areas and order are Microsoft's: FA-FE, 8E-A0, 81-8D and C6A1-C8FE follow each other from U+E000 to U+F848.
    """
    trails = [*range(0x40, 0x7F), *range(0xA1, 0xFF)]
    leads = [*range(0xFA, 0xFF), *range(0x8E, 0xA1), *range(0x81, 0x8E), *range(0xC6, 0xC9)]
    pairs = [bytes((a, b)) for a in leads for b in trails if (a, b) >= (0xC6, 0xA1) or a != 0xC6]
    chars = {pair: chr(0xE000 + i) for i, pair in enumerate(pairs)}
    return chars, {char: pair for pair, char in chars.items()}


@cache
def bytes_read(char: str, codec: str) -> bytes | None:
    """Bytes that were read as this character, or None if no bytes can have been: the inverse of `read`.

    `€` is the byte 80, which is what code page 936 shows for it, and no lost sign.
    """
    if codec in ("gbk", "gb18030"):
        return b"\x80" if char in "€\x80" else _try(char, "gb18030")
    if codec == "big5":
        return _try(char, "cp950") or _try(char, "big5hkscs") or _big5_private()[1].get(char)
    if codec.startswith("windows-"):
        shown = _try(char, codec.replace("windows-", "cp"))
        return shown if shown or char > "\x9f" else _try(char, "latin-1")  # undefined ones as control characters
    return _try(char, codec)


def has_utf8_structure(text: str) -> bool:
    """Whether the bytes read as these characters of Windows-1252 are UTF-8 for four fifths: that is no accident."""
    data = b"".join(bytes_read(c, "windows-1252") or b"" for c in text)
    high = sum(b >= 0x80 for b in data)
    broken = len(data) - len(data.decode("utf-8", "ignore").encode())
    return (high - broken) * 5 >= high * 4


def _try(char: str, codec: str) -> bytes | None:
    try:
        return char.encode(codec)
    except UnicodeEncodeError:
        return None
