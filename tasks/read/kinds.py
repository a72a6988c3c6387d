"""What a stream holds, by its first bytes and its name."""

import json
import re
import zlib

HEAD_BYTES = 64 * 1024
"""Of a stream that are looked at: a JSON line that is longer is told by its suffix."""

MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\x00-\x1f]"),  # RFC 1952: deflate is its one method, three flags are reserved
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),  # level, then the mark of a block or of the end
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # RFC 8878: a frame, or one to be skipped
    # A member; none at all; the mark of a spanned archive, as some programs put it before one that isn't.
    "zip": re.compile(rb"PK\x03\x04|PK\x05\x06|PK(?:00|\x07\x08)PK\x03\x04"),
    # Thrift follows, which no text has: the header of a page, or the footer of a file without rows.
    "parquet": re.compile(rb"PAR1(?=.{0,8}[\x00-\x08\x0e-\x1f])", re.DOTALL),
    "warc": re.compile(rb"WARC/[01]\.\d+[ \t]*\r?\n|filedesc://"),  # ISO 28500; what it came from, ARC
}
"""By kind, how streams of it begin: by more than a word that a text might begin with, too."""

_MAGIC = re.compile(b"|".join(b"(?P<%b>%b)" % (kind.encode(), mark.pattern) for kind, mark in MAGIC.items()), re.DOTALL)
"""The same in one look, in that order."""

COMPRESSIONS = {
    "gzip": (".gz", ".gzip", ".tgz"),
    "bzip2": (".bz2", ".bz", ".tbz2", ".tbz"),
    "xz": (".xz", ".txz"),
    "zstd": (".zst", ".zstd", ".tzst"),
}
"""Kinds that hold one other stream, and the suffixes that go when they are undone."""

_TARS = (".tgz", ".tbz2", ".tbz", ".txz", ".tzst")
"""Suffixes that say two things at once."""

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".csv": "delimited",
    ".tsv": "delimited",
    ".tab": "delimited",
    ".tar": "tar",
    ".warc": "warc",
    ".wet": "warc",
    ".parquet": "parquet",
    ".zip": "zip",
}

_PLAIN = (
    *(".txt", ".text", ".md", ".rst", ".tex", ".log", ".eml", ".srt", ".htm", ".html", ".xhtml", ".shtml", ".mht"),
    *(".xml", ".rss", ".atom", ".js", ".css", ".py", ".php", ".asp", ".aspx", ".jsp", ".geojson", ".ipynb", ".map"),
)
"""Suffixes of what is one document, though it should look like JSON lines."""

_BLANK = b" \t\r\n\xef\xbb\xbf\xff\xfe\x1e"

BINARY = {"tar", "zip", "parquet"}
"""Kinds that a name alone makes only of what is no text: excuses of servers are often saved under such names."""

DOCUMENTS = (
    *(".docx", ".docm", ".dotx", ".xlsx", ".xlsm", ".pptx", ".pptm", ".ppsx", ".vsdx", ".xps", ".oxps"),
    *(".odt", ".ods", ".odp", ".odg", ".epub", ".kmz", ".jar", ".war", ".apk", ".ipa", ".aar", ".whl", ".xpi", ".crx"),
)
"""Zip files that are one document of a program, not an archive of pages."""

_DOCUMENT_MEMBERS = (b"[Content_Types].xml", b"mimetype", b"META-INF/")
"""Names with which the first member of such a file begins (ISO 29500-2, OCF, the jar specification)."""


def kind_of(name: str, head: bytes) -> str:
    """Which reader a stream needs: a key of `MAGIC`, a value of `SUFFIXES`, or `text`, which is all else.

    Bytes decide before names: a `.txt` that is a zip file is none that could be read as text. Names decide what has no
    mark of its own.

    Args:
        name: Of the file, in any case, with its suffixes.
        head: Its first `HEAD_BYTES`, or all of it.
    """
    name = name.lower()
    if name.endswith(DOCUMENTS):
        return "text"
    magic = _magic(head)
    if magic == "gzip" and _is_warc(name, _unpacked(head)):
        return "warc"  # whose records are compressed one by one
    if magic == "zip" and head[30:].startswith(_DOCUMENT_MEMBERS):
        return "text"
    if magic or (head[257:262] == b"ustar" and b"\0" in head[:257]):
        return magic or "tar"
    return _cut(name, head) or _by_name(_undone(name), head)


def _magic(head: bytes) -> str:
    found = _MAGIC.match(head)
    return (found.lastgroup or "") if found else ""


def _by_name(name: str, head: bytes) -> str:
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    kind = SUFFIXES.get(suffix, "text")
    if kind in BINARY and b"\0" not in head:
        return "text"
    if kind in {"json", "jsonl"} or (kind == "text" and not name.endswith(_PLAIN)):
        return _json_kind(head) or kind  # standard input, what Spark writes, and whatever else has no suffix
    return kind


def _is_warc(name: str, unpacked: bytes) -> bool:
    """Whether a gzip file is one of WARC: by its first record, or if that is damaged, by its name."""
    found = _magic(unpacked)
    return found == "warc" or (not found and _by_name(_undone(name), b"") == "warc")


def _cut(name: str, head: bytes) -> str:
    """A compressed stream of which so little is left that its mark isn't whole."""
    if not 0 < len(head) < 10:
        return ""
    kind = next((kind for kind, suffixes in COMPRESSIONS.items() if name.endswith(suffixes)), "")
    begins = {"gzip": b"\x1f\x8b\x08", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
    return kind if begins.get(kind, b"").startswith(head[:3]) else ""


def bare_name(name: str, kind: str) -> str:
    """The name of what a compression holds: `a.jsonl` of `a.jsonl.gz`, `a.tar` of `a.tgz`."""
    for suffix in COMPRESSIONS[kind]:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] + (".tar" if suffix in _TARS else "")
    return name


def _undone(name: str) -> str:
    """The same of a name whose stream isn't compressed (any more), as browsers save them."""
    kind = next((kind for kind, suffixes in COMPRESSIONS.items() if name.endswith(suffixes)), "")
    return bare_name(name, kind) if kind else name


def _json_kind(head: bytes) -> str:
    """JSON lines, or JSON that is spread over lines; empty for what could be either, and for all else.

    A file of one object is JSON, or somebody's text, but for one that has a text in a line.
    """
    if not (start := head[:32].replace(b"\0", b"").lstrip(_BLANK)).startswith((b"{", b"[", b'"')):
        return ""
    first, second = [*(line.strip(_BLANK) for line in _lines(head)), b"", b""][:2]
    if b"{" in (first, second) and len(start) > 1:
        return "json"
    if not first.startswith(b"{") or not (not second or second.startswith(b"{")):
        return ""
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return ""
    return "jsonl" if isinstance(record, dict) and (second or _has_text(record)) else ""


def _lines(head: bytes) -> list[bytes]:
    """The first lines that are not blank."""
    from tasks.read.lines import as_utf8  # noqa: PLC0415  # few heads get as far as this

    try:
        text = b"".join(as_utf8([head]))
    except UnicodeDecodeError:
        return []
    return [line for line in text.split(b"\n", 8)[:8] if line.strip(_BLANK)]


def _has_text(record: dict[str, object]) -> bool:
    from tasks.read.fields import has_text_name  # noqa: PLC0415

    return has_text_name(record)


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 16)
    except zlib.error:
        return b""
