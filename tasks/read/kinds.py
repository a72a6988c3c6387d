"""What a stream holds, by its first bytes and its name."""

import zlib

HEAD_BYTES = 64 * 1024
"""Of a stream that are looked at: a JSON line that is longer is told by its suffix."""

MAGIC = {
    b"\x1f\x8b": "gzip",  # RFC 1952
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",  # RFC 8878
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a member
    b"PAR1": "parquet",
    b"WARC/": "warc",
}

COMPRESSIONS = {"gzip": (".gz", ".gzip"), "bzip2": (".bz2",), "xz": (".xz",), "zstd": (".zst", ".zstd")}
"""Kinds that hold one other stream, and the suffixes that go when they are undone."""

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".csv": "delimited",
    ".tsv": "delimited",
    ".tab": "delimited",
    ".tar": "tar",
    ".tgz": "tar",
    ".warc": "warc",
    ".wet": "warc",
    ".parquet": "parquet",
}

DOCUMENTS = (
    *(".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".jar", ".apk", ".whl", ".xpi", ".kmz", ".vsdx"),
)
"""Zip files that are one document of a program, not an archive of pages."""


def kind_of(name: str, head: bytes) -> str:
    """Which reader a stream needs: a value of `MAGIC` or `SUFFIXES`, or `text`, which is all else.

    Bytes decide before names: a `.txt` that is a zip file is none that could be read as text. Names decide what has no
    mark of its own.

    Args:
        name: Of the file, in any case, with its suffixes.
        head: Its first `HEAD_BYTES`, or all of it.
    """
    name = name.lower()
    if name.endswith(DOCUMENTS):
        return "text"
    magic = next((kind for mark, kind in MAGIC.items() if head.startswith(mark)), "")
    if magic == "gzip" and _unpacked(head).startswith(b"WARC/"):
        return "warc"  # whose records are compressed one by one
    if magic or head[257:262] == b"ustar":
        return magic or "tar"
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    if suffix in {".tar", ".tgz", ".parquet"} and not head:
        return "text"  # an empty file, and said to be one
    return SUFFIXES.get(suffix, "text")


def bare_name(name: str, kind: str) -> str:
    """The name of what a compression holds: `a.jsonl` of `a.jsonl.gz`, `a.tar` of `a.tgz`."""
    for suffix in COMPRESSIONS[kind]:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 16)
    except zlib.error:
        return b""
