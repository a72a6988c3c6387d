"""WARC files (1.1, 1.0, 0.18) and WET files: each response, resource or conversion that is text is a document.

Where records begin and end is found out here (`tasks.read.frames`), and not by a library. Tried were fastwarc 2.0 and
warcio 1.8, on 80 files of their own tests, of crawlers, archives and Common Crawl: on files that are whole both have
the same offsets (a test holds it), and warcio the same payloads. Of 72 MB of records in 17 MB of gzip fastwarc reads
610 MB/s on one core, warcio 190, this 200, where cleaning does a few: so that damage decides, and not speed. Behind a
damaged member, or garbage, both read nothing more and leave open where to go on; behind a wrong length fastwarc does,
and warcio gives the record with the bytes of the next ones in it. Both give what is left of a truncated record as if it
were whole.

A record is at `offset=N`: where it begins in the file, compressed or not, so that other tools can seek to it. Of those
that share one member of gzip (the whole file compressed at once) the first is at `offset=N`, the others at
`offset=N+M`: M bytes into what the member at N unpacks to, which no tool can seek to. In a file that was compressed by
other means, or lies in an archive, N counts from its beginning as it was before that.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from schemas.config import CleanConfig
from schemas.document import Reason, Rejection
from tasks.read.cuts import offsets
from tasks.read.frames import Record, Tape, records
from tasks.read.records import Document, Input, Item, Skipped, Span, document, rejected, too_large
from tasks.read.responses import HEAD_BYTES, TEXTS, Payload, Response, charset_of, form_of, take_apart, undo
from tasks.read.sources import Source

_NAMELESS = Rejection(Reason.BROKEN, "The record doesn't say what it is: WARC-Type is missing.")

DOCUMENTS = ("response", "resource", "conversion")
OTHERS = ("warcinfo", "request", "metadata", "revisit", "continuation")
"""Types of records, ISO 28500 section 5.5. Of a segmented record the first segment is a `response` as well."""

_NOT_PAGES = {
    "dns:": "dns",
    "whois:": "dns",
    "metadata:": "crawl-log",
    "warcinfo:": "crawl-log",
    "filedesc:": "crawl-log",
    "urn:x-wpull:": "crawl-log",
    "urn:pageinfo:": "crawl-log",
}
"""Addresses of what crawlers write of themselves: look-ups (Heritrix), arguments and logs (wget, wpull), lists of what
a page loaded (Browsertrix)."""

_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?)?)?", re.ASCII)
"""ISO 28500 section 5.4: ISO 8601 in as many parts as are known. ClueWeb09 has dates like 2008-10-294T05:21:46-0700."""

_SAID = {
    "content_type": "content-type",
    "content_language": "content-language",
    "last_modified": "last-modified",
    "robots_tag": "x-robots-tag",
    "tdm_reservation": "tdm-reservation",
}
"""What of the server's headers goes into `extra`: what the page is, since when, and whether it may be used."""

_SAID_BY_CRAWLER = {
    "ip": "warc-ip-address",
    "identified_type": "warc-identified-payload-type",
    "identified_language": "warc-identified-content-language",
    "truncated": "warc-truncated",
    "segment": "warc-segment-number",
    "refers_to": "warc-refers-to",
    "trec_id": "warc-trec-id",
}
"""The same of the record's own: ISO 28500; languages are Common Crawl's, TREC's ids those of ClueWeb."""


def read(given: Input) -> Iterator[Item]:
    """Documents of a file, or of the records that begin in a piece of it."""
    if given.begin:
        given.stream.seek(given.begin)
    tape = Tape(given.stream, given.begin)
    for record in records(tape, given):
        yield _item(record, given)
    if tape.error is not None:
        raise tape.error


def split(stream: BinaryIO, source: Source, size: int) -> Iterator[Span]:
    """Pieces of about `size` bytes, each from one record to another, which are the same ones as when all is read."""
    begins = [0, *offsets(stream, source, size)]
    for begin, end in zip(begins, [*begins[1:], None], strict=True):
        yield Span(source, begin, end, n_bytes=(source.n_bytes if end is None else end) - begin)


def _item(record: Record, given: Input) -> Item:
    """What becomes of a record: a document, a row that says why it is none, or a count."""
    fields = record.fields
    fault = record.fault or (None if fields.get("warc-type") else _NAMELESS)
    if fault is not None:
        row = rejected(given.place, record.address, fault.reason, fault.detail)
        return row._replace(origin=replace(row.origin, url=_url(fields), record_id=_bare(fields, "warc-record-id")))
    kind = fields.get("warc-type", "").lower()
    if kind not in DOCUMENTS:
        return Skipped(kind if kind in OTHERS else "unknown")
    url = _url(fields).lower()
    if crawl := next((name for scheme, name in _NOT_PAGES.items() if url.startswith(scheme)), ""):
        return Skipped(crawl)
    response = take_apart(record.block) if kind == "response" else None
    if response and response.status and not 200 <= response.status < 300:
        return Skipped(f"http-{response.status}")
    return _document(record, response or _bare_response(fields), given)


def _bare_response(fields: Mapping[str, str]) -> Response:
    """What a record holds without any header: its own says what it is."""
    media_type = fields.get("content-type", "")
    return Response(0, {} if media_type.startswith("application/http") else {"content-type": media_type}, 0)


def _document(record: Record, response: Response, given: Input) -> Item:
    """A payload as a document, unless it is no text."""
    fields, headers = record.fields, response.headers
    most = given.config.max_bytes
    states = undo(record.block[response.begin :], headers, most)
    form = form_of(states[-1].content[:HEAD_BYTES], headers.get("content-type", ""), _identified(fields))
    if form not in TEXTS:
        return Skipped(form)
    told: dict[str, Any] = {
        "url": _url(fields),
        "fetched_at": _date(fields),
        "record_id": _bare(fields, "warc-record-id"),
        "payload_digest": fields.get("warc-payload-digest", ""),
        "declared_encoding": charset_of(headers.get("content-type", "")) or ("utf-8" if _is_wet(fields) else ""),
        "name": _name(_url(fields), form),
        "extra": _extra(record, response, states),
    }
    if not record.sha256 and not states[-1].too_long:
        return document(given, record.address, states[-1].content, **told)
    made = document(given, record.address, b"", **told)
    return _too_large(record, made, given.config)


def _too_large(record: Record, made: Document, config: CleanConfig) -> Document:
    """A row for a payload that is too large, packed or as it lies there, which is what is hashed and counted."""
    sha256 = record.sha256 or hashlib.sha256(record.block).hexdigest()
    state = hashlib.sha256(f"{made.origin.record_sha256}{sha256}".encode()).hexdigest()
    origin = replace(made.origin, sha256=sha256, n_bytes=record.n_bytes, record_sha256=state)
    if record.n_bytes > config.max_bytes:
        return Document(origin, too_large(record.n_bytes, config))
    why = f"{record.n_bytes:,} bytes, which unpack to more than the {config.max_bytes:,} that are allowed."
    return Document(origin, Rejection(Reason.TOO_LARGE, why))


def _extra(record: Record, response: Response, states: list[Payload]) -> dict[str, object]:
    """What server and crawler say of a page, and what was found wrong with its record."""
    fields, headers = record.fields, response.headers
    extra: dict[str, object] = {name: headers.get(header, "") for name, header in _SAID.items()}
    extra |= {name: fields.get(header, "") for name, header in _SAID_BY_CRAWLER.items()}
    extra["http_status"] = response.status
    extra["date"] = "" if _date(fields) else fields.get("warc-date", "")
    extra["broken_coding"] = "" if record.sha256 else ", ".join(states[-1].faults)
    extra["length"] = "wrong" if record.guessed else ""
    if not record.guessed and not record.sha256 and _digest_fits(fields, record.block, states) is False:
        extra["digest"] = "mismatch"
    return {name: value for name, value in extra.items() if value}


def _digest_fits(fields: Mapping[str, str], block: bytes, states: list[Payload]) -> bool | None:
    """Whether the digest of a record is that of its bytes; None where there is none that could be checked.

    That of the block is clear. That of the payload is taken of what the server sent by some crawlers, of what it means
    by others.
    """
    if (of_block := _digest(fields.get("warc-block-digest", ""))) is not None:
        return hashlib.new(of_block[0], block).digest() == of_block[1]
    if (of_payload := _digest(fields.get("warc-payload-digest", ""))) is None:
        return None
    return any(hashlib.new(of_payload[0], state.content).digest() == of_payload[1] for state in states)


def _digest(said: str) -> tuple[str, bytes] | None:
    """Algorithm and value of a digest, `sha1:` with Base32 by custom, or with hex digits."""
    name, _, value = said.strip().partition(":")
    name = name.lower().replace("-", "")
    if name not in {"md5", "sha1", "sha256", "sha512"}:
        return None
    size = hashlib.new(name).digest_size
    try:
        found = bytes.fromhex(value) if len(value) == 2 * size else base64.b32decode(value.upper())
    except ValueError:
        return None
    return (name, found) if len(found) == size else None


def _url(fields: Mapping[str, str]) -> str:
    return _bare(fields, "warc-target-uri")


def _bare(fields: Mapping[str, str], name: str) -> str:
    """A URI without the angle brackets that the standard's grammar asks for and most writers leave out."""
    return fields.get(name, "").removeprefix("<").removesuffix(">")


def _date(fields: Mapping[str, str]) -> str:
    date = fields.get("warc-date", "")
    return date if _DATE.fullmatch(date) else ""


def _identified(fields: Mapping[str, str]) -> str:
    return fields.get("warc-identified-payload-type", "")


def _is_wet(fields: Mapping[str, str]) -> bool:
    """Whether it is text that somebody extracted: UTF-8 where nothing else is said."""
    return fields.get("warc-type", "").lower() == "conversion"


def _name(url: str, form: str) -> str:
    """A name that tells what a payload is: of the page, with the suffix of its form."""
    page = re.split(r"[?#]", url, maxsplit=1)[0]
    suffix = {"html": ".html", "xml": ".xml"}.get(form, ".txt")
    return page if page.lower().endswith(suffix) else page + suffix
