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
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import BadByte, Decoded, RawDocument, Segment, Verbatim
from tasks.decode.marks import (
    CHINESE,
    ISLAND,
    MARK,
    POOR,
    big5_codec,
    is_readable,
    n_beyond,
    n_lost,
    n_marks,
    plausibilities,
    plausibility,
    read,
    read_lines,
    resynchronise,
    write,
)
from tasks.decode.scores import folded_codes, single_scores
from tasks.scripts import codes

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
"""Score of a character beyond ASCII below which a reading is noise. Measured on real pages and on news of five
characters and more: Chinese read right scores -4.0 to -1.4, Chinese read as another Chinese encoding -7.5 to -4.8 but
for a few of the shortest, Korean read as GB18030, the closest, -4.5 to -4.1 (and hangul as hangul about -2.7)."""

DECLARED_BONUS = 3.0
"""A declaration makes its encoding a thousand times as likely as another: enough to settle a title of a few characters,
nothing against a paragraph, whose readings differ by a hundred orders of magnitude."""

CLEAR_CHARS = 40
CLEAR_SCORE = -3.4
"""Characters beyond ASCII, and the mean of their scores without regard to what is before them, of a sample that can be
nothing else: news has -3.2 to -2.8, Chinese, Japanese and Korean in a wrong encoding has -4.2 and less."""

SAMPLE_BYTES = 4 * 1024
"""Enough to tell encodings apart. What the sample decides is checked on every line."""

MAX_BAD_SHARE = 0.25
"""Lines in which more of the bytes beyond ASCII than this are bad are no text in that encoding."""

MAX_BAD_BYTES = 200_000
"""A document with more bad bytes is no text: each costs some 150 bytes of memory."""

MIX_MARGIN = 8.0
"""A line must read a hundred million times better in another Chinese encoding before the document counts as mixed;
further lines then need a thousand only."""

GAINS_AT_ONCE = 64
"""Lines that are scored together: some 10 MB of memory."""

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
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""Half of a character beyond U+FFFF in CESU-8: bad in UTF-8, but of no other encoding."""
_OCTETS = "application/octet-stream"
_HIGH = bytes(range(0x80, 0x100))
_THREE_BYTES = re.compile("[\u0800-\U0010ffff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")


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

    The confidence is 1.0 for an encoding that is known (`given`), a byte order mark, ASCII and UTF-8 without bad bytes.
    For `plausible`, `declared` and `lines` it is the odds of the reading against the next best one and against noise,
    by the language model (0.5 = a draw); for `chardet` it is chardet's own. All of it times the share of the bytes
    beyond ASCII that aren't bad.
    """
    content = raw.content
    if raw.known_encoding:
        return _decoded([_piece(content, raw.known_encoding)], Verdict(raw.known_encoding, 1.0, "given"), b"")
    bom, codec = next((row for row in BOMS if content.startswith(row[0])), (b"", ""))
    rest = content[len(bom) :]
    if codec.startswith(("utf-16", "utf-32")):
        if _is_wide_text(rest, codec):
            return _decoded([_piece(rest, codec)], Verdict(codec, 1.0, "bom"), bom)
        bom, rest = b"", content
    pieces, verdict = _read(rest, raw)
    verdict = verdict if pieces else NO_TEXT
    if bom and pieces and {piece.codec for piece in pieces} <= {codec, "ascii"}:
        pieces, verdict = [piece._replace(codec=codec) for piece in pieces], Verdict(codec, 1.0, "bom")
    if not verdict.codec:
        return Decoded(content.decode("latin-1"), *NO_TEXT)
    return _decoded(pieces, verdict, bom)


def encode(decoded: Decoded) -> bytes:
    """Give back the bytes of which `decode` made a text."""
    marked = _marked(decoded)
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


def _marked(decoded: Decoded) -> str:
    pieces: list[str] = []
    at = 0
    for bad in decoded.bad_bytes:
        pieces += decoded.text[at : bad.position], chr(0xDC00 + bad.value)
        at = bad.position + 1
    return "".join([*pieces, decoded.text[at:]])


def _piece(content: bytes, codec: str) -> Piece:
    return Piece(codec, content, read(content, codec))


def _whole(content: bytes, codec: str) -> list[Piece]:
    """All bytes as one piece, or no piece where they are no text."""
    return [_piece(content, codec)] if n_lost(content, codec) <= MAX_BAD_BYTES else []


def _read(content: bytes, raw: RawDocument) -> tuple[list[Piece], Verdict]:
    """Bytes of a document without their mark, by the strongest evidence first."""
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
    if text := _utf8(content):
        return [Piece("utf-8", content, text)], Verdict("utf-8", 1.0, "strict")
    return _read_lines(content.splitlines(keepends=True), _declared(raw))


# What is no superset of ASCII, and what is no text


def _is_wide_text(content: bytes, codec: str) -> bool:
    """Whether the beginning reads as UTF-16 or UTF-32: random bytes give one in seven that means nothing."""
    text = read(content[:8192], codec)
    strange = sum(unicodedata.category(c) in {"Cc", "Cn", "Co", "Cs"} and c not in "\t\n\r\f" for c in text)
    return strange <= len(text) * 0.05 + 3


def _wide_codec(content: bytes) -> str:
    """UTF-32 or UTF-16 without a mark, or "". Half of its bytes are of few kinds, and those lie on one side."""
    if len(content) < 4:
        return ""
    start = content[: min(len(content), 4096) // 4 * 4]
    for codec in ("utf-32-le", "utf-32-be") if b"\0" in start else ():  # a byte in four is zero, at least
        if "\0" not in start.decode(codec, "ignore") and not n_lost(start, codec):
            return codec
    sample = content[:65536]
    if b"\0" not in sample and (content.isascii() or not _has_chinese_side(sample)):
        return ""
    even, odd = sample[: len(sample) // 2 * 2 : 2], sample[1::2]
    for codec, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if (0 in high and _is_ascii_wide(*(np.frombuffer(side, np.uint8) for side in (high, low)))) or (
            not content.isascii() and _is_chinese_wide(content, codec, high, low)
        ):
            return codec
    return ""


_Bytes = NDArray[np.uint8]


def _is_ascii_wide(high: _Bytes, low: _Bytes) -> bool:
    """UTF-16 with some ASCII in it: zero on one side only, and printable or white space beside it."""
    beside = low[: len(high)][high == 0]
    printable = (beside >= 0x20) & (beside < 0x7F) | np.isin(beside, (0x09, 0x0A, 0x0D))
    others = high[high != 0]
    usual = (others >= 0x4E) & (others <= 0x9F) | np.isin(others, (*range(1, 7), 0x20, 0x30, 0xFF))
    many = len(beside) >= max(2, len(high) * 0.03)
    return bool(many and printable.mean() > 0.98 and (low == 0).mean() < 0.01 and usual.sum() >= 0.9 * len(others))


_CHINESE_ROWS = bytes((*range(0x4E, 0xA0), 0, 0x20, 0x30, 0xFF))

WIDE_SHARE = 0.9
"""Part of the characters of Chinese UTF-16 that are ideographs of these rows, or signs and letters of Western ones."""


def _n_others(side: bytes) -> int:
    return len(side.translate(None, _CHINESE_ROWS))


def _share(side: bytes) -> float:
    return (len(side) - _n_others(side)) / len(side)


def _has_chinese_side(sample: bytes) -> bool:
    """Whether every other byte may be of those rows: most often a third of them has too many others for all."""
    start, most = sample[: len(sample) // 3], (1 - WIDE_SHARE) * (len(sample) // 2) + 1
    return _n_others(start[::2]) <= most or _n_others(start[1::2]) <= most


def _is_chinese_wide(content: bytes, codec: str, high: bytes, low: bytes) -> bool:
    """UTF-16 with next to no ASCII: rows 4E to 9F on one side, anything on the other; then it must read well."""
    if _share(high) < WIDE_SHARE or _share(low) > 0.8:
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
    if n_controls + n_zeros <= 3 + rest * 0.005:  # `BMW` begins like a picture, and a page may hold a stray zero
        return False
    import chardet  # noqa: PLC0415  0.1 s, which most documents need not pay

    mime_type = chardet.detect(content[:512])["mime_type"] or _OCTETS
    return not (mime_type == _OCTETS or mime_type.startswith("text/"))


def _read_escaped(content: bytes) -> Verdict:
    """An encoding that hides in ASCII (HZ, ISO-2022); chardet knows them by their escapes."""
    import chardet  # noqa: PLC0415

    guess = chardet.detect(content, max_bytes=len(content), compat_names=False)
    codec = guess["encoding"] or ""
    if codec != "hz" and not codec.startswith("iso2022"):
        return NO_TEXT
    marked = read(content, codec)
    n_chars = n_beyond(marked)
    if not n_chars or n_marks(marked) or plausibility(marked) < NOISE * n_chars:
        return NO_TEXT
    return Verdict(codec, guess["confidence"], "chardet")


def _utf8(content: bytes) -> str:
    """The text, if it is strict UTF-8, but for a few characters of GB2312 that happen to be valid; or nothing.

    Of characters of three bytes one is enough, since none of GB2312 look like that.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    if _THREE_BYTES.search(text):
        return text
    beyond = set(_BEYOND_ASCII.findall(text))
    if min(beyond) < "\u0180" or len({ord(char) >> 8 for char in beyond}) < 2:
        return text
    chinese = read(content, "gb18030")
    n_chars = n_beyond(chinese)
    is_utf8 = n_chars < 2 or n_marks(chinese) > 0 or plausibility(chinese) < -3.5 * n_chars
    return text if is_utf8 else ""


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
    n_shaped = sum(_n_high(line) for line, shape in zip(lines, shapes, strict=True) if shape)
    mostly_utf8 = n_shaped > _n_high(b"".join(others))
    if verdict.codec == "utf-8" or (mostly_utf8 and _is_weak(verdict)):
        return _whole(b"".join(lines), "utf-8"), Verdict("utf-8", 1.0, "strict")
    pieces = list(_by_line(lines, shapes, verdict.codec)) if verdict.codec else []
    if not pieces:
        return [], NO_TEXT
    mixed = len({piece.codec for piece in pieces} - {"ascii"}) > 1
    return pieces, verdict._replace(method="lines") if mixed else verdict


def _has_utf8_shape(line: bytes) -> bool:
    """Whether a line is UTF-8, or three quarters of what is beyond ASCII are."""
    whole = _SURROGATE.sub(b"\xc2\xa0", line) if b"\xed" in line else line
    text = whole.decode("utf-8", "ignore")
    lost = len(whole) - len(text.encode())
    if not lost:
        return True
    return lost <= _n_high(whole) * MAX_BAD_SHARE and n_beyond(text[:10_000]) >= min(lost * 4, 8)


def _n_high(content: bytes) -> int:
    return len(content) - len(content.translate(None, _HIGH))


def _is_weak(verdict: Verdict) -> bool:
    """Too weak to stand beside UTF-8: lines in two encodings are met with in Chinese, and one stray byte is no line."""
    return verdict.codec not in CHINESE or verdict.confidence < 0.999


def _by_line(lines: list[bytes], shapes: list[bool], base: str) -> Iterator[Piece]:
    """Pieces of one codec each; ASCII lines go with the piece they stand in."""
    if base not in CHINESE:
        yield from _whole(b"".join(lines), base)
        return
    names = [_shaped_codec(line, base) if shape else base for line, shape in zip(lines, shapes, strict=True)]
    reading = read_lines(lines, names)
    better = _one_big5(lines, _other_chinese(lines, names, base, [i for i in reading.suspects if names[i] == base]))
    if better != names:
        names, reading = better, read_lines(lines, better)
    n_bytes = sum(map(len, lines))
    if n_bytes > MAX_BAD_BYTES < sum(n_lost(_of(name, lines, names), name) for name in set(names)):
        return
    texts = resynchronise(lines, names, reading)
    current = next(name for line, name in zip(lines, names, strict=True) if not line.isascii())
    for i, line in enumerate(lines):
        current = names[i] = current if line.isascii() else names[i]
    for name, group in itertools.groupby(zip(names, lines, texts, strict=True), key=lambda row: row[0]):
        rows = list(group)
        yield Piece(name, b"".join(row[1] for row in rows), "".join(row[2] for row in rows))


def _shaped_codec(line: bytes, base: str) -> str:
    """UTF-8 for a line of its shape, unless it reads better in the encoding of the other lines."""
    return "utf-8" if plausibility(read(line, "utf-8")[:2000]) >= plausibility(read(line, base)[:3000]) else base


def _other_chinese(lines: list[bytes], names: list[str], base: str, suspects: list[int]) -> list[str]:
    """Give the lines that read much better in the other Chinese encoding to it; all others but suspects read well."""
    others = CHINESE[1:] if base == "gb18030" else CHINESE[:1]
    gains = {other: _gains(lines, suspects, base, other) for other in others}
    if max((gain for of in gains.values() for gain in of.values()), default=0.0) < MIX_MARGIN:
        return names
    other = big5_codec(b"".join(lines[i] for i in suspects)) if base == "gb18030" else "gb18030"
    if max(gains[other].values(), default=0.0) < MIX_MARGIN:
        return names
    return [other if gains[other].get(i, 0.0) > 3.0 else name for i, name in enumerate(names)]


def _one_big5(lines: list[bytes], names: list[str]) -> list[str]:
    """The same of Big5's two codecs for all lines that are in Big5."""
    codec = big5_codec(_of("cp950", lines, names) + _of("big5hkscs", lines, names))
    return [codec if name in CHINESE[1:] else name for name in names]


def _of(name: str, lines: list[bytes], names: list[str]) -> bytes:
    """Lines of a codec, those of ASCII left out."""
    return b"".join(line for line, own in zip(lines, names, strict=True) if own == name and not line.isascii())


def _gains(lines: list[bytes], suspects: list[int], base: str, other: str) -> dict[int, float]:
    """How much better lines read in the other encoding, by their numbers; without those that do not read well there."""
    starts = {i: lines[i][:2000] for i in suspects}
    readable = [i for i, start in starts.items() if is_readable(start, other)]
    gains: dict[int, float] = {}
    for at in range(0, len(readable), GAINS_AT_ONCE):
        there = {i: read(starts[i], other) for i in readable[at : at + GAINS_AT_ONCE]}
        scores = zip(there, plausibilities([*there.values()]), strict=True)
        good = {i: score for i, score in scores if score >= NOISE * n_beyond(there[i])}
        own = plausibilities([read(starts[i], base) for i in good]) if good else ()
        gains |= {i: score - before for (i, score), before in zip(good.items(), own, strict=True)}
    return gains


# Which encoding


def _judge(lines: list[bytes], declared: tuple[str, ...]) -> Verdict:
    """The most plausible multi-byte encoding of lines that are no UTF-8, or what chardet says if none is."""
    sample = _sample(lines, SAMPLE_BYTES)
    if clear := _clear(sample, declared):
        return clear
    verdict = _weigh(sample, declared, read)
    if verdict.codec not in CHINESE and not _reads_well(sample, verdict.codec):
        # A stray byte in a short text or a long line may be the only reason.
        in_step = _weigh(sample, declared, _read_in_step)
        verdict = in_step if in_step.codec in CHINESE else verdict
    rival = _ask(lines, declared) if not verdict.codec or verdict.method == "doubtful" else NO_TEXT
    if rival.codec or not verdict.codec:
        return rival
    return verdict


def _reads_well(sample: list[bytes], codec: str) -> bool:
    """Whether a reading is ordinary Japanese or Korean: no stray bytes make that of Chinese."""
    texts = [read(line, codec) for line in sample] if codec in CJK else []
    n_chars = sum(map(n_beyond, texts))
    return n_chars >= CLEAR_CHARS and sum(plausibilities(texts)) > POOR * n_chars


def _clear(sample: list[bytes], declared: tuple[str, ...]) -> Verdict | None:
    """Chinese made of common characters: what `_weigh` finds as well, at thirty times the cost."""
    content = b"\n".join(sample)
    for codec, family in (("gb18030", "gb18030"), ("cp950", "big5"), ("big5hkscs", "big5")):
        text = read(content, codec)
        if n_marks(text) > 2:  # ends of stretches that were cut
            continue
        beyond = codes(text)
        chars = folded_codes(beyond[beyond > 0x7F])
        if len(chars) >= CLEAR_CHARS and single_scores(chars).mean() > CLEAR_SCORE:
            chosen = codec if family == "gb18030" else big5_codec(b"".join(sample))
            return Verdict(chosen, 1.0, "declared" if family in declared else "plausible")
    return None


def _read_in_step(line: bytes, codec: str) -> str:
    return resynchronise([line], [codec], read_lines([line], [codec]))[0]


def _weigh(sample: list[bytes], declared: tuple[str, ...], reader: Callable[[bytes, str], str]) -> Verdict:
    """The best of the encodings that the language model tells apart, with the odds against the second and noise."""
    codecs_ = [big5_codec(b"".join(sample)) if codec == "big5" else codec for codec in CJK]
    texts = {codec: [reader(line, codec) for line in sample] for codec in codecs_}
    scores = {codec: plausibilities(of) for codec, of in texts.items()}
    claimed = {codec: ("big5" if codec in {"cp950", "big5hkscs"} else codec) in declared for codec in codecs_}
    totals = {codec: sum(of) + DECLARED_BONUS * claimed[codec] for codec, of in scores.items()}
    best = max(totals, key=lambda codec: totals[codec])
    n_chars = sum(map(n_beyond, texts[best]))
    n_bad = sum(map(n_marks, texts[best]))
    mixed = sum(map(max, zip(*(scores[codec] for codec in codecs_[:2]), strict=True)))
    noise = NOISE * n_chars
    if max(mixed, totals[best]) < noise:
        return NO_TEXT
    if sum(map(_n_high, sample)) <= n_chars < 5:
        return NO_TEXT  # letters of Latin-1, each with the next ASCII letter: `Ch\xednh` is no `Ch韓h`
    rivals, total = codecs_, totals[best]
    if best in CHINESE and mixed > total + MIX_MARGIN:
        rivals, total = codecs_[2:], mixed
    second = max(noise, *(totals[codec] for codec in rivals if codec != best))
    confidence = 1 / (1 + 10 ** min(300.0, second - total))
    if n_bad > 2 + n_chars * 0.05 and mixed <= totals[best]:
        return Verdict(best, confidence, "doubtful")
    return Verdict(best, confidence, "declared" if claimed[best] else "plausible")


def _sample(lines: list[bytes], size: int) -> list[bytes]:
    """Lines with bytes beyond ASCII from all over a document; of long ones, stretches that begin in step."""
    parts = lines
    if sum(map(len, lines)) > size:
        parts = [part[:1000] for line in lines for part in _stretches(line)]
    wanted = max(1, size * len(parts) // max(1, sum(map(len, parts))))
    return parts[:: -(-len(parts) // wanted)]


def _stretches(line: bytes) -> Iterator[bytes]:
    if len(line) <= 1000:
        return iter([line])
    return (match[0] for match in ISLAND.finditer(line))


def _ask(lines: list[bytes], declared: tuple[str, ...]) -> Verdict:
    """What the document declares, if nothing speaks against it, or else what chardet says of these lines."""
    content = b"".join(lines)
    for codec in declared:
        if codec not in (*CJK, "utf-8") and n_lost(content, codec) <= len(content) * 0.002:
            return Verdict(codec, 0.8, "declared")
    import chardet  # noqa: PLC0415

    unlabelled = re.sub(rb"(?i)charset|coding", b"", content)  # chardet believes declarations
    guess = chardet.detect(unlabelled, prefer_superset=True, compat_names=False)
    codec = SUPERSETS.get(guess["encoding"] or "", guess["encoding"] or "")
    if guess["confidence"] < 0.1 and _n_high(content) < len(content) * 0.3:
        codec = "cp1252"  # the web's default for Western text, where there is too little of it to tell
    if codec in {"gb18030", "big5"}:
        if len(content) > 60:
            return NO_TEXT  # Chinese that makes no sense: EUC-TW, for which Python has no codec, comes out so
        return Verdict(big5_codec(content) if codec == "big5" else codec, guess["confidence"], "chardet")
    if not _TEXT_CODEC.fullmatch(codec) or (guess["confidence"] < 0.1 and codec != "cp1252"):
        return NO_TEXT
    if n_lost(content, codec) > 1 + _n_high(content) * MAX_BAD_SHARE:
        return NO_TEXT
    return Verdict(codec, guess["confidence"], "chardet")


# The record


def _decoded(pieces: list[Piece], verdict: Verdict, bom: bytes = b"") -> Decoded:
    """Put the pieces together, with the offset of every bad byte and all that the codecs would not give back."""
    bad: list[BadByte] = []
    segments: list[Segment] = []
    verbatim = [Verbatim(0, 0, bom)] if bom else []
    position, offset = 0, len(bom)
    if len(pieces) == 1 and _is_plain(pieces[0]):
        codec, _, text = pieces[0]
        return Decoded(text, codec, verdict.confidence, verdict.method, (), (), tuple(verbatim))
    for piece in pieces:
        segments.append(Segment(position, piece.codec))
        bad += _bad_bytes(piece, offset, position)
        verbatim += _verbatim(piece, position)
        position, offset = position + len(piece.marked), offset + len(piece.raw)
    content = bom + b"".join(piece.raw for piece in pieces)
    n_high = len(content) if verdict.codec.startswith(("utf-16", "utf-32")) else _n_high(content)
    text = MARK.sub("\ufffd", "".join(piece.marked for piece in pieces))
    encoding = "+".join(dict.fromkeys(segment.encoding for segment in segments)) or verdict.codec
    confidence = verdict.confidence * max(0.0, 1 - len(bad) / max(1, n_high))
    decoded = Decoded(text, encoding, confidence, verdict.method, tuple(bad), (), tuple(verbatim))
    decoded = replace(decoded, segments=tuple(segments)) if len(segments) > 1 else decoded
    return decoded if encode(decoded) == content else replace(decoded, verbatim=(Verbatim(0, len(text), content),))


def _is_plain(piece: Piece) -> bool:
    """Whether no byte is bad, and the codec gives all of them back."""
    try:
        return piece.marked.encode(piece.codec) == piece.raw
    except UnicodeEncodeError:
        return False


def _bad_bytes(piece: Piece, offset: int, position: int) -> Iterator[BadByte]:
    at = 0
    for match in MARK.finditer(piece.marked):
        offset += len(write(piece.marked[at : match.start()], piece.codec))
        yield BadByte(offset, position + match.start(), ord(match[0]) - 0xDC00)
        offset, at = offset + 1, match.end()


def _verbatim(piece: Piece, position: int) -> Iterator[Verbatim]:
    """Stretches that the codec would write in other bytes than it read (Big5 and Shift_JIS have doubles)."""
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
