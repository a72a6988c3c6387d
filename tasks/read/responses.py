"""HTTP responses as crawlers keep them: status, headers, and the payload with its codings undone.

Servers and crawlers say things of a payload that don't hold: a header of `Content-Encoding: gzip` over a page that the
crawler has unpacked, `Transfer-Encoding: chunked` over one piece, `image/jpeg` over an error page. So every header is
tried against the bytes, and these decide.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

MAX_HEAD_BYTES = 1 << 20
"""Of status line and headers, or of the header of a WARC record: a hundred times what servers take (8 to 16 KB by
default); a header without an end is read no further."""

_STATUS = re.compile(rb"[A-Z]{3,8}/\d{1,2}(?:\.\d{1,2})?(?:[ \t]++(\d{3})(?!\d))?")
"""RFC 9112 section 4. `HTTP/2 200` is written by crawlers that speak it, other names by odd servers."""

_CHUNK = re.compile(rb"(?:\r?\n)?([0-9A-Fa-f]{1,8})[ \t]*+(?:;[^\r\n]{0,1000}+)?\r?\n")
"""RFC 9112 section 7.1: the end of the chunk before, the size, extensions."""

_CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?([\w.:+-]{1,40})", re.IGNORECASE | re.ASCII)

_STEP_BYTES = 1 << 16
"""What is unpacked at once."""


class Response(NamedTuple):
    """What a server sent."""

    status: int
    """0 where the status line has none."""
    headers: Mapping[str, str]
    """By their names in lower case; of several of one name the first that isn't empty."""
    begin: int
    """Offset of the payload."""


class Payload(NamedTuple):
    """What a server sent, its codings undone."""

    content: bytes
    faults: tuple[str, ...] = ()
    """Codings that break off: what was unpacked till then is the content."""
    too_long: bool = False
    """Whether it is more than was allowed; the content is its beginning."""


def take_apart(block: bytes) -> Response | None:
    """Status and headers of a response; None where the bytes are none."""
    status = _STATUS.match(block)
    if status is None:
        return None
    lines, begin = _lines(block)
    return Response(int(status[1] or 0), read_fields(lines[1:]), begin)


def read_fields(lines: list[bytes]) -> dict[str, str]:
    """Named fields of a header, of HTTP or of a WARC record. Folded lines are joined, what has no colon is left out."""
    fields: dict[str, str] = {}
    name, value = "", b""
    for line in [*lines, b":"]:  # the last one ends the field before it
        if line[:1] in {b" ", b"\t"}:
            value += b" " + line.strip()
            continue
        if name and not fields.get(name):
            fields[name] = as_text(value)
        begin, colon, rest = line.partition(b":")
        name, value = begin.strip().lower().decode("latin-1") if colon else "", rest.strip()
    return fields


def as_text(value: bytes) -> str:
    """A header as text: UTF-8, GB18030 where it is no UTF-8 (Chinese servers send either), else byte by byte."""
    for codec in ("utf-8", "gb18030"):
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            continue
    return value.decode("latin-1")


def charset_of(content_type: str) -> str:
    """The encoding that a `Content-Type` names; empty where it names none."""
    found = _CHARSET.search(content_type)
    return found[1] if found else ""


def undo(body: bytes, headers: Mapping[str, str], most: int) -> list[Payload]:
    """A payload, its codings undone one by one: as it lies there first, as it was meant last.

    Args:
        body: What follows the headers.
        headers: Of the response.
        most: Bytes that are allowed; of a payload that has more the beginning is unpacked.
    """
    states = [Payload(body)]
    if "chunked" in headers.get("transfer-encoding", "").lower():
        states.append(_dechunked(body))
    codings = headers.get("content-encoding", "").lower().split(",")
    for coding in reversed(codings[-_MOST_CODINGS:]):
        if unpack := _CODINGS.get(coding.strip()):
            last = states[-1]
            made = unpack(last.content, most)
            states.append(made._replace(faults=(*last.faults, *made.faults)))
    return states


_MOST_CODINGS = 3
"""Layers of compression that are undone: nobody sends more than one but to harm."""


def _lines(block: bytes) -> tuple[list[bytes], int]:
    """Lines of the header, and the offset of what follows it.

    That is behind the first blank line, or at the first line that begins as HTML does where that is missing.
    """
    lines: list[bytes] = []
    at = 0
    while at < min(len(block), MAX_HEAD_BYTES):
        end = block.find(b"\n", at)
        end = len(block) if end < 0 else end
        line = block[at:end].rstrip(b"\r")
        if line[:1] == b"<":
            break
        at = end + 1
        if not line:
            break
        lines.append(line)
    return lines, min(at, len(block))


def _dechunked(body: bytes) -> Payload:
    """Without the sizes of chunks. A body that doesn't begin with one was joined by the crawler."""
    joined = bytearray()
    at = 0
    while size := _CHUNK.match(body, at):
        begin = size.end()
        at = begin + int(size[1], 16)
        if at == begin or begin == len(body):
            return Payload(bytes(joined))
        joined += body[begin:at]
    if at == 0:
        return Payload(body)
    return Payload(bytes(joined), ("chunks",) if at != len(body) else ())


def _inflated(data: bytes, most: int, wbits: int) -> Payload:
    """Gzip or zlib undone, all members of it. What doesn't begin as it is left as it is."""
    out = bytearray()
    while data:
        inflate = zlib.decompressobj(wbits)
        try:
            while data and not inflate.eof and len(out) <= most:
                out += inflate.decompress(data, _STEP_BYTES)
                data = inflate.unconsumed_tail
        except zlib.error:
            return Payload(bytes(out), ("content",)) if out else Payload(data)
        if len(out) > most:
            return Payload(bytes(out[:most]), too_long=True)
        if not inflate.eof:
            return Payload(bytes(out), ("content",))
        data = inflate.unused_data if inflate.unused_data.startswith(b"\x1f\x8b") else b""
    return Payload(bytes(out))


def _gunzipped(data: bytes, most: int) -> Payload:
    return _inflated(data, most, 31) if data.startswith(b"\x1f\x8b") else Payload(data)


def _deflated(data: bytes, most: int) -> Payload:
    """`deflate` is zlib by RFC 9110, and deflate without a frame by some servers."""
    zlib_head = len(data) >= 2 and data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950
    made = _inflated(data, most, 15) if zlib_head else Payload(data)
    return _inflated(data, most, -15) if made.content == data else made


def _by_arrow(codec: str) -> Callable[[bytes, int], Payload]:
    """Brotli and Zstandard are in Arrow, which is here already; it unpacks them piece by piece."""

    def undone(data: bytes, most: int) -> Payload:
        import pyarrow as pa  # noqa: PLC0415  only few payloads need it

        out = bytearray()
        stream = pa.CompressedInputStream(pa.BufferReader(data), codec)
        try:
            while len(out) <= most and (piece := stream.read(_STEP_BYTES)):
                out += piece
        except OSError:
            return Payload(bytes(out), ("content",)) if out else Payload(data)
        return Payload(bytes(out[:most]), too_long=len(out) > most)

    return undone


_CODINGS: Mapping[str, Callable[[bytes, int], Payload]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _deflated,
    "br": _by_arrow("brotli"),
    "zstd": _by_arrow("zstd"),
}
"""RFC 9110 section 8.4.1, RFC 7932, RFC 8878. Others (`utf-8`, `none`, `identity`) say nothing."""


TEXTS = ("html", "xml", "text")
"""What `form_of` says of payloads that are documents."""

HEAD_BYTES = 2048
"""Of a payload, by which its form is told: more than the 1,445 bytes that browsers look at (WHATWG MIME Sniffing)."""

_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,500}+<(?:!doctype\s{1,9}html|html|head|body)\b", re.IGNORECASE)

_SIGNATURES = (
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n", "image"),
    (b"GIF8", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"\0\0\1\0", "image"),
    (b"wOFF", "font"),
    (b"wOF2", "font"),
    (b"\0\1\0\0\0", "font"),
    (b"OTTO\0", "font"),
    (b"ID3\2", "audio"),
    (b"ID3\3", "audio"),
    (b"ID3\4", "audio"),
    (b"OggS\0", "audio"),
    (b"fLaC\0", "audio"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"FLV\1", "video"),
    (b"PK\3\4", "archive"),
    (b"\x1f\x8b\x08", "archive"),
    (b"Rar!\x1a\x07", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office"),
    (b"\x7fELF", "program"),
)
"""First bytes that no text begins with (WHATWG MIME Sniffing, chapter 6; the formats' own standards)."""

_TYPES = (
    (r"text/html|application/xhtml\+xml|application/vnd\.wap\.xhtml\+xml", "html"),
    (r"image/.*|application/.*photoshop", "image"),
    (r"(?:text|application)/xml|[\w./-]{1,80}\+xml", "xml"),
    (r"text/css", "style"),
    (r"(?:text|application)/(?:x-)?(?:java|ecma|j|type)script\b.*", "script"),
    (r"(?:text|application)/(?:[\w.-]{1,80}\+)?json.*|application/(?:x-)?ndjson", "json"),
    (r"text/dns", "dns"),
    (r"(?:text|message)/.*", "text"),
    (r"audio/.*", "audio"),
    (r"video/.*|application/(?:vnd\.apple\.mpegurl|x-mpegurl|dash\+xml|x-shockwave-flash)", "video"),
    (r"font/.*|application/(?:x-)?font.*|application/vnd\.ms-fontobject", "font"),
    (r"application/pdf", "pdf"),
    (r"application/(?:msword|vnd\.ms-.*|vnd\.openxml.*|vnd\.oasis.*|rtf)", "office"),
    (r"application/(?:x-)?(?:zip|gzip|rar|tar|bzip2?|7z|xz|zstd).*|application/java-archive", "archive"),
    (r"application/(?!octet-stream|unknown|x-unknown|force-download|x-httpd|http|download)[\w.+-]{1,100}", "binary"),
)
"""Media types, first match; what matches none (`application/octet-stream`, `unknown/unknown`) says nothing."""

_BOMS = (b"\xff\xfe", b"\xfe\xff")
"""Of UTF-16 and UTF-32, the texts that have zeros."""


def form_of(head: bytes, *types: str) -> str:
    """What a payload is: one of `TEXTS`, or what it is instead (`image`, `script`, `json`, …).

    Args:
        head: Its first `HEAD_BYTES`, which decide where they can.
        types: Media types that were said of it; the first one that says something counts.
    """
    if by_bytes := next((form for mark, form in _SIGNATURES if head.startswith(mark)), ""):
        return by_bytes
    if head[:4] == b"RIFF" and head[8:12] in {b"WEBP", b"WAVE", b"AVI "}:
        return {b"WEBP": "image", b"WAVE": "audio"}.get(head[8:12], "video")
    if head[4:8] == b"ftyp":
        return "video"
    if _HTML.match(head):
        return "html"
    if by_type := next(filter(None, map(_form_of_type, types)), ""):
        return by_type
    return "binary" if b"\0" in head and not head.startswith(_BOMS) else "text"


def _form_of_type(content_type: str) -> str:
    essence = content_type[:200].partition(";")[0].strip().lower()
    return next((form for pattern, form in _TYPES if re.fullmatch(pattern, essence)), "")
