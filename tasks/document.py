"""One document, from its file to its outcome: the straight line of the pipeline."""

import traceback
from collections.abc import Iterable, Iterator, Mapping

from schemas.config import CleanConfig
from schemas.document import Decoded, Origin, Outcome, RawDocument, Reason, Rejection
from tasks.clean import clean
from tasks.decode import decode
from tasks.html import is_html, read_page
from tasks.html.said import with_facts, with_given
from tasks.judge import judge_input, judge_output
from tasks.read import read_span
from tasks.read.records import Document, Span
from tasks.read.sources import Source
from tasks.steps import STEPS


def clean_source(source: Source, config: CleanConfig) -> Iterator[Outcome]:
    """Read, decode, clean and judge the documents of a source, one after the other."""
    for item in read_span(Span(source, n_bytes=source.n_bytes), config):
        if isinstance(item, Document):
            yield clean_document(item, config)


def clean_document(document: Document, config: CleanConfig) -> Outcome:
    """Decode, clean and judge what was read, if it was. Whatever happens, there is an outcome."""
    origin, raw = document
    if isinstance(raw, Rejection):
        return Outcome(origin, rejection=raw)
    return clean_raw(origin, raw, config)


def clean_raw(origin: Origin, raw: RawDocument, config: CleanConfig) -> Outcome:
    """Decode, clean and judge a document."""
    try:
        decoded = decode(raw)
    except Exception:  # noqa: BLE001  a bug on one document must not take the others with it
        return Outcome(origin, rejection=Rejection(Reason.FAILED, traceback.format_exc()))
    return clean_decoded(origin, decoded, config, raw.name or raw.source_uri, raw.facts)


def clean_decoded(
    origin: Origin, decoded: Decoded, config: CleanConfig, name: str = "", facts: Mapping[str, str] | None = None
) -> Outcome:
    """Clean and judge what was decoded.

    Args:
        origin: Where it came from.
        decoded: Its text.
        config: How it is cleaned.
        name: May say that it is HTML.
        facts: What a container says of it.
    """
    cleaned = page = None
    try:
        if rejection := judge_input(decoded):
            return Outcome(origin, decoded, rejection=rejection)
        if is_html(decoded.text, name):
            page = read_page(decoded.text)
        cleaned = clean(page.text if page else decoded.text, config)
        if page:
            cleaned = with_facts(cleaned, page, config)
        if facts:
            cleaned = with_given(cleaned, facts, config)
        return Outcome(origin, decoded, cleaned, judge_output(cleaned, config), page)
    except Exception:  # noqa: BLE001  the same
        return Outcome(origin, decoded, cleaned, Rejection(Reason.FAILED, traceback.format_exc()), page)


def check_steps(names: Iterable[str]) -> None:
    """Make sure that steps exist.

    Raises:
        ValueError: if one doesn't; the message lists those there are.
    """
    if unknown := [name for name in names if name not in STEPS]:
        raise ValueError(f"there is no step {', '.join(map(repr, unknown))}; the steps are: {', '.join(STEPS)}")
