"""Bytes to text, with the encoding, how it was decided, and every byte that no character could be made of.

The order is defended in docs/adr/0003-decode-order.md. Evidence goes before declarations, whole documents before
samples, and what is Chinese is decided by a Chinese language model before chardet is asked about the rest. All of it
takes time linear in the number of bytes.

A document that is no text (a picture, an archive, random bytes) comes out with encoding `""`, method `none` and
confidence 0.0; its `text` is then the bytes as Latin-1, one character a byte, to look at and not to clean.
"""

import codecs
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import chardet
import numpy as np

from schemas.document import BadByte, Decoded, RawDocument, Segment, Verbatim
from tasks.readings import CHINESE, MARK, big5_codec, n_marks, plausibility, read, resynchronise, suspect, write

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)

CJK = ("gb18030", "big5", "euc_jp", "cp932", "cp949")
"""Multi-byte encodings that the language model tells apart. `big5` stands for cp950 or big5hkscs, as the bytes ask."""

SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5hkscs": "big5",
    "cp950": "big5",
    "shift_jis": "cp932",
    "shift_jis_2004": "cp932",
    "shift_jisx0213": "cp932",
    "euc_jis_2004": "euc_jp",
    "euc_jisx0213": "euc_jp",
    "euc_kr": "cp949",
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
}
"""What a label means on the web (Encoding Standard, "Names and labels"), by Python's names."""

NOISE = -4.0
"""Score of a character beyond ASCII below which a reading is noise. Measured on real pages and on news of five characters
and more: Chinese read right scores -4.0 to -1.4, Chinese read as another Chinese encoding -7.5 to -4.8 but for a few of
the shortest, Korean read as GB18030, the closest, -4.5 to -4.1 (and hangul as hangul about -2.7)."""

DECLARED_BONUS = 3.0
"""A declaration makes its encoding a thousand times as likely as another: enough to settle a title of a few characters,
nothing against a paragraph, whose readings differ by a hundred orders of magnitude."""

SAMPLE_BYTES = 16 * 1024
"""Enough to tell encodings apart. What the sample decides is checked on every line."""

MAX_BAD_SHARE = 0.25
"""Lines in which more of the bytes beyond ASCII than this are bad are no text in that encoding."""

MAX_BAD_BYTES = 200_000
"""A document with more bad bytes is no text: each costs some 150 bytes of memory."""

MIX_MARGIN = 8.0
"""A line must read a hundred million times better in another Chinese encoding before the document counts as mixed;
further lines then need a thousand only."""

_LABELS = (
    re.compile(rb"<meta[^>]{0,300}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{2,40})", re.IGNORECASE),
    re.compile(rb"<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([\w.:-]{2,40})", re.IGNORECASE),
)
_HEAD_BYTES = 4096
"""Where declarations are looked for. The standard says 1024; pages with long comments on top have it later."""

_TEXT_CODEC = re.compile(r"cp\d+|iso8859-\d+|koi8-[ru]|mac-\w+|euc_\w+|big5|johab|kz1048|ptcp154|utf-8")
"""Codecs that a declaration or chardet may name: those of text that contains ASCII as it is."""

_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\n\x0b\f\r\x1b"})
_ISO_2022 = re.compile(rb"\x1b[$(]|\x0e|~\{")
_UTF8_SHAPE = re.compile(rb"([\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3})|[\xc0-\xdf][\x80-\xbf]")
"""Sequences of UTF-8, with overlong ones and surrogates (CESU-8): bad, but of no other encoding."""
_UTF8_LONG = re.compile(rb"[\xe0-\xf7][\x80-\xbf]{2}")
_OCTETS = "application/octet-stream"
_HIGH = re.compile(rb"[\x80-\xff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
_ISLAND = re.compile(rb"[^\x00-\x2f\x3a-\x3f\x7f]++")
"""As in `tasks.readings`: where a long line can be cut."""


class Piece(NamedTuple):
    """Bytes that were read with one codec."""

    codec: str
    raw: bytes
    marked: str


class Verdict(NamedTuple):
    """An encoding for some bytes."""

    codec: str
    confidence: float
    method: str


NO_TEXT = Verdict("", 0.0, "none")


def decode(raw: RawDocument) -> Decoded:
    """Decode a document, whatever its bytes are. Nothing is raised, and `encode` gives the bytes back.

    The confidence is 1.0 for a byte order mark, ASCII and UTF-8 without bad bytes. For `plausible`, `declared` and
    `lines` it is the odds of the reading against the next best one and against noise, by the language model (0.5 = a
    draw); for `chardet` it is chardet's own. All of it times the share of the bytes beyond ASCII that aren't bad.
    """
    content = raw.content
    bom, codec = next(((bom, codec) for bom, codec in BOMS if content.startswith(bom)), (b"", ""))
    rest = content[len(bom) :]
    if codec.startswith(("utf-16", "utf-32")):
        if _is_wide_text(rest, codec):
            return _decoded([_piece(rest, codec)], Verdict(codec, 1.0, "bom"), bom)
        bom, rest = b"", content
    pieces, verdict = _read(rest, _declared(raw))
    if bom and {piece.codec for piece in pieces} <= {codec, "ascii"}:
        pieces, verdict = [piece._replace(codec=codec) for piece in pieces], Verdict(codec, 1.0, "bom")
    if not verdict.codec or sum(n_marks(piece.marked) for piece in pieces) > MAX_BAD_BYTES:
        return Decoded(content.decode("latin-1"), *NO_TEXT)
    return _decoded(pieces, verdict, bom)


def encode(decoded: Decoded) -> bytes:
    """Give back the bytes of which `decode` made a text."""
    chars = list(decoded.text) if decoded.bad_bytes else [decoded.text]
    for bad in decoded.bad_bytes:
        chars[bad.position] = chr(0xDC00 + bad.value)
    marked = "".join(chars)
    segments = decoded.segments or (Segment(0, decoded.encoding or "latin-1"),)
    ends = [*(segment.position for segment in segments[1:]), len(marked)]
    verbatim = list(reversed(decoded.verbatim))
    out: list[bytes] = []
    for (at, codec), end in zip(segments, ends, strict=True):
        while verbatim and (verbatim[-1].position < end or not verbatim[-1].length):
            span = verbatim.pop()
            out += write(marked[at : span.position], codec), span.raw
            at = span.position + span.length  # noqa: PLW2901
        out.append(write(marked[at:end], codec))
    return b"".join(out)


def _piece(content: bytes, codec: str) -> Piece:
    return Piece(codec, content, read(content, codec))


def _read(content: bytes, declared: tuple[str, ...]) -> tuple[list[Piece], Verdict]:
    """Bytes without a mark, by the strongest evidence first."""
    wide = _wide_codec(content)
    if wide:
        return [_piece(content, wide)], Verdict(wide, 0.95, "plausible")
    if content.isascii() and _ISO_2022.search(content):
        hidden = _read_escaped(content)
        if hidden.codec:
            return [_piece(content, hidden.codec)], hidden
    if _is_binary(content):
        return [], NO_TEXT
    if content.isascii():
        return [_piece(content, "ascii")], Verdict("ascii", 1.0, "strict")
    if _is_utf8(content):
        return [_piece(content, "utf-8")], Verdict("utf-8", 1.0, "strict")
    return _read_lines(content.splitlines(keepends=True), declared)


# What is no superset of ASCII, and what is no text


def _is_wide_text(content: bytes, codec: str) -> bool:
    """Whether the beginning reads as UTF-16 or UTF-32: random bytes give one in seven that means nothing."""
    text = read(content[:8192], codec)
    strange = sum(unicodedata.category(c) in {"Cc", "Cn", "Co", "Cs"} and c not in "\t\n\r\f" for c in text)
    return strange <= len(text) * 0.05 + 1


def _wide_codec(content: bytes) -> str:
    """UTF-32 or UTF-16 without a mark, or "". Half of its bytes are of few kinds, and those lie on one side."""
    if len(content) < 4:
        return ""
    sample = np.frombuffer(content[:65536], np.uint8)
    for codec in ("utf-32-le", "utf-32-be"):
        text = read(content[: min(len(content), 4096) // 4 * 4], codec)
        if "\0" not in text and not n_marks(text):
            return codec
    sides = (sample[1::2], sample[: len(sample) // 2 * 2 : 2])
    for codec, high, low in (("utf-16-le", *sides), ("utf-16-be", *reversed(sides))):
        if _is_ascii_wide(high, low) or (not content.isascii() and _is_chinese_wide(content, codec, high, low)):
            return codec
    return ""


_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


def _is_ascii_wide(high: _Bytes, low: _Bytes) -> bool:
    """UTF-16 with some ASCII in it: zero on one side only, and printable or white space beside it."""
    beside = low[: len(high)][high == 0]
    printable = (beside >= 0x20) & (beside < 0x7F) | np.isin(beside, (0x09, 0x0A, 0x0D))
    others = high[high != 0]
    usual = (others >= 0x4E) & (others <= 0x9F) | np.isin(others, (*range(1, 7), 0x20, 0x30, 0xFF))
    many = len(beside) >= max(2, len(high) * 0.03)
    return bool(many and printable.mean() > 0.98 and (low == 0).mean() < 0.01 and usual.sum() >= 0.9 * len(others))


def _is_chinese_wide(content: bytes, codec: str, high: _Bytes, low: _Bytes) -> bool:
    """UTF-16 with next to no ASCII: rows 4E to 9F on one side, anything on the other; then it must read well."""
    share, other = (((s >= 0x4E) & (s <= 0x9F) | np.isin(s, (0, 0x20, 0x30, 0xFF))).mean() for s in (high, low))
    if share < 0.9 or other > 0.8:
        return False
    text = read(content[:2048], codec)
    return not n_marks(text) and plausibility(text) > NOISE * len(text)


def _is_binary(content: bytes) -> bool:
    """A known file format by its first bytes, or more control characters than text ever has (random bytes: 11 %)."""
    n_zeros = content.count(0)  # a few are stray, many are padding: text is what else there is
    n_controls = len(content) - len(content.translate(None, _CONTROLS)) - n_zeros
    rest = len(content) - n_zeros
    if n_controls > max(3, rest * 0.04) or not rest or re.match(rb"%PDF-\d\.\d", content):
        return rest > 0 or len(content) > 3
    return n_controls + n_zeros > 0 and chardet.detect(content[:512])["mime_type"] not in {"text/plain", _OCTETS, None}


def _read_escaped(content: bytes) -> Verdict:
    """An encoding that hides in ASCII (HZ, ISO-2022); chardet knows them by their escapes."""
    guess = chardet.detect(content, max_bytes=len(content), compat_names=False)
    codec = guess["encoding"] or ""
    if codec != "hz" and not codec.startswith("iso2022"):
        return NO_TEXT
    marked = read(content, codec)
    n_chars = len(_BEYOND_ASCII.findall(marked))
    if not n_chars or n_marks(marked) or plausibility(marked) < NOISE * n_chars:
        return NO_TEXT
    return Verdict(codec, guess["confidence"], "chardet")


def _is_utf8(content: bytes) -> bool:
    """Strict UTF-8, but for a few characters of GB2312 that happen to be valid: then none is longer than two bytes."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if _UTF8_LONG.search(content):
        return True
    blocks = {ord(char) >> 7 for char in _BEYOND_ASCII.findall(text)}
    chinese = read(content, "gb18030")
    n_chars = len(_BEYOND_ASCII.findall(chinese))
    return len(blocks) < 3 or n_chars < 3 or n_marks(chinese) > 0 or plausibility(chinese) < -3.0 * n_chars


# Declarations


def _declared(raw: RawDocument) -> tuple[str, ...]:
    """Codecs that the transport and the document itself claim, as what the web means by them."""
    labels = [raw.declared_encoding.rpartition("charset=")[2].strip(" \"';")]
    head = raw.content[:_HEAD_BYTES]
    labels += (match[1].decode("ascii", "ignore") for pattern in _LABELS for match in pattern.finditer(head))
    return tuple(dict.fromkeys(filter(None, map(_codec, labels))))


def _codec(label: str) -> str:
    """Python's name of what a label means on the web; "" if it's none, or not an encoding that contains ASCII."""
    try:
        name = codecs.lookup(label.lower().removeprefix("x-")).name
    except (LookupError, ValueError):
        return ""
    name = SUPERSETS.get(name, name)
    return name if _TEXT_CODEC.fullmatch(name) or name == "gb18030" else ""


# Line by line


def _read_lines(lines: list[bytes], declared: tuple[str, ...]) -> tuple[list[Piece], Verdict]:
    """Neither ASCII nor strict UTF-8: lines that have the shape of UTF-8 stay so, the others are judged together."""
    shapes = [not line.isascii() and _has_utf8_shape(line) for line in lines]
    others = [line for line, shape in zip(lines, shapes, strict=True) if not (shape or line.isascii())]
    verdict = _judge(others, declared) if others else Verdict("utf-8", 1.0, "strict")
    n_shaped = sum(len(line) for line, shape in zip(lines, shapes, strict=True) if shape)
    if verdict.codec == "utf-8" or (n_shaped and _is_weak(verdict) and n_shaped > sum(map(len, others))):
        return [_piece(b"".join(lines), "utf-8")], Verdict("utf-8", 1.0, "strict")
    if not verdict.codec:
        return [], verdict
    pieces = list(_by_line(lines, shapes, verdict.codec))
    mixed = len({piece.codec for piece in pieces} - {"ascii"}) > 1
    return pieces, verdict._replace(method="lines") if mixed else verdict


def _has_utf8_shape(line: bytes) -> bool:
    """Whether there are sequences of three bytes or more, and next to nothing that is no sequence at all."""
    if not _UTF8_LONG.search(line):
        return False
    left = len(_HIGH.findall(_UTF8_SHAPE.sub(b"", line)))
    return left <= len(_HIGH.findall(line)) * MAX_BAD_SHARE


def _is_weak(verdict: Verdict) -> bool:
    return verdict.method in {"chardet", "none"} or verdict.confidence < 0.9


def _by_line(lines: list[bytes], shapes: list[bool], base: str) -> Iterator[Piece]:
    """Pieces of one codec each; ASCII lines go with the piece they stand in."""
    names = [_shaped_codec(line, base) if shape else base for line, shape in zip(lines, shapes, strict=True)]
    if base in CHINESE:
        names = _other_chinese(lines, names, base)
    texts = resynchronise(zip(lines, names, strict=True))
    current = next(name for line, name in zip(lines, names, strict=True) if not line.isascii())
    for i, line in enumerate(lines):
        current = names[i] = current if line.isascii() else names[i]
    for name, group in itertools.groupby(zip(names, lines, texts, strict=True), key=lambda row: row[0]):
        rows = list(group)
        yield Piece(name, b"".join(row[1] for row in rows), "".join(row[2] for row in rows))


def _shaped_codec(line: bytes, base: str) -> str:
    """UTF-8 for a line of its shape, unless it reads better in the encoding of the other lines."""
    return "utf-8" if plausibility(read(line, "utf-8")[:2000]) >= plausibility(read(line, base)[:3000]) else base


def _other_chinese(lines: list[bytes], names: list[str], base: str) -> list[str]:
    """Give the lines that read much better in the other Chinese encoding to it."""
    other = big5_codec(b"".join(lines)) if base == "gb18030" else "gb18030"
    gains = {i: _gain(line, base, other) for i, line in enumerate(lines) if names[i] == base}
    if max(gains.values(), default=0.0) < MIX_MARGIN:
        return names
    return [other if gains.get(i, 0.0) > 3.0 else name for i, name in enumerate(names)]


def _gain(line: bytes, base: str, other: str) -> float:
    """How much better a line reads in the other encoding; 0.0 where the base reads without suspects, or other not well."""
    here = read(line[:2000], base)
    if not suspect().search(here):
        return 0.0
    there = read(line[:2000], other)
    score = plausibility(there)
    if n_marks(there) > 1 or score < NOISE * len(_BEYOND_ASCII.findall(there)):
        return 0.0
    return score - plausibility(here)


# Which encoding


def _judge(lines: list[bytes], declared: tuple[str, ...]) -> Verdict:
    """The most plausible multi-byte encoding of lines that are no UTF-8, or what chardet says if none is."""
    sample = list(_sample(lines))
    scores = {codec: [_score(line, codec) for line in sample] for codec in (*CJK, "utf-8")}
    totals = {codec: sum(of) + DECLARED_BONUS * (codec in declared) for codec, of in scores.items()}
    best = max(totals, key=lambda codec: totals[codec])
    mixed = sum(max(pair) for pair in zip(scores["gb18030"], scores["big5"], strict=True))
    text = read(b"".join(sample), big5_codec(b"".join(sample)) if best == "big5" else best)
    noise = NOISE * len(_BEYOND_ASCII.findall(text))
    second = max(noise, *(total for codec, total in totals.items() if codec != best))
    if max(mixed, totals[best]) < noise:
        return _ask(lines, declared)
    if n_marks(text) > 2 + len(text) * 0.05 and mixed <= totals[best]:
        rival = _ask(lines, declared)
        if rival.codec and n_marks(read(b"".join(sample), rival.codec)) * 4 < n_marks(text):
            return rival
    confidence = 1 / (1 + 10 ** min(300.0, second - totals[best]))
    codec = big5_codec(b"".join(lines)) if best == "big5" else best
    return Verdict(codec, confidence, "declared" if best in declared else "plausible")


def _score(line: bytes, codec: str) -> float:
    return plausibility(read(line, big5_codec(line) if codec == "big5" else codec))


def _sample(lines: list[bytes]) -> Iterator[bytes]:
    """Lines with bytes beyond ASCII from all over a document; of long ones, stretches that begin in step."""
    parts = lines
    if sum(map(len, lines)) > SAMPLE_BYTES:
        parts = [part[:1000] for line in lines for part in _stretches(line)]
    wanted = max(1, SAMPLE_BYTES * len(parts) // max(1, sum(map(len, parts))))
    return (part for part in parts[:: max(1, len(parts) // wanted)])


def _stretches(line: bytes) -> Iterator[bytes]:
    if len(line) <= 1000:
        return iter([line])
    return (match[0] for match in _ISLAND.finditer(line) if not match[0].isascii())


def _ask(lines: list[bytes], declared: tuple[str, ...]) -> Verdict:
    """What the document declares, if nothing speaks against it, or else what chardet says of these lines."""
    content = b"".join(lines)
    for codec in declared:
        if codec not in (*CJK, "utf-8") and n_marks(read(content, codec)) <= len(content) * 0.002:
            return Verdict(codec, 0.8, "declared")
    guess = chardet.detect(content, prefer_superset=True, compat_names=False)
    codec = SUPERSETS.get(guess["encoding"] or "", guess["encoding"] or "")
    if guess["confidence"] < 0.1 and len(_HIGH.findall(content)) < len(content) * 0.3:
        codec = "cp1252"  # the web's default for Western text, where there is too little of it to tell
    if codec in {"gb18030", "big5"} and len(content) > 60:
        return NO_TEXT  # it would be Chinese that makes no sense: EUC-TW, for which Python has no codec, comes out so
    codec = big5_codec(content) if codec == "big5" else codec
    known = _TEXT_CODEC.fullmatch(codec) or codec in CHINESE
    if not known or (guess["confidence"] < 0.1 and codec != "cp1252"):
        return NO_TEXT
    if n_marks(read(content, codec)) > 1 + len(_HIGH.findall(content)) * MAX_BAD_SHARE:
        return NO_TEXT
    return Verdict(codec, guess["confidence"], "chardet")


# The record


def _decoded(pieces: list[Piece], verdict: Verdict, bom: bytes = b"") -> Decoded:
    """Put the pieces together, with the offset of every bad byte and all that the codecs would not give back."""
    bad: list[BadByte] = []
    segments: list[Segment] = []
    verbatim = [Verbatim(0, 0, bom)] if bom else []
    position, offset = 0, len(bom)
    for piece in pieces:
        segments.append(Segment(position, piece.codec))
        bad += _bad_bytes(piece, offset, position)
        verbatim += _verbatim(piece, position)
        position, offset = position + len(piece.marked), offset + len(piece.raw)
    n_high = len(_HIGH.findall(b"".join(piece.raw for piece in pieces))) if bad else 1
    text = MARK.sub("\ufffd", "".join(piece.marked for piece in pieces))
    encoding = "+".join(dict.fromkeys(segment.encoding for segment in segments)) or verdict.codec
    confidence = verdict.confidence * max(0.0, 1 - len(bad) / n_high)
    decoded = Decoded(text, encoding, confidence, verdict.method, tuple(bad), (), tuple(verbatim))
    decoded = replace(decoded, segments=tuple(segments)) if len(segments) > 1 else decoded
    content = bom + b"".join(piece.raw for piece in pieces)
    return decoded if encode(decoded) == content else replace(decoded, verbatim=(Verbatim(0, len(text), content),))


def _bad_bytes(piece: Piece, offset: int, position: int) -> Iterator[BadByte]:
    at = 0
    for match in MARK.finditer(piece.marked):
        offset += len(write(piece.marked[at : match.start()], piece.codec))
        yield BadByte(offset, position + match.start(), ord(match[0]) - 0xDC00)
        offset, at = offset + 1, match.end()


def _verbatim(piece: Piece, position: int) -> Iterator[Verbatim]:
    """Stretches that the codec would write in other bytes than those that were read (Big5 and Shift_JIS have doubles)."""
    written = write(piece.marked, piece.codec)
    if written == piece.raw:
        return
    if len(written) != len(piece.raw):
        yield Verbatim(position, len(piece.marked), piece.raw)
        return
    at = 0
    for start in range(0, len(piece.marked), 64):
        chunk = piece.marked[start : start + 64]
        own = write(chunk, piece.codec)
        if own != piece.raw[at : at + len(own)]:
            yield Verbatim(position + start, len(chunk), piece.raw[at : at + len(own)])
        at += len(own)
