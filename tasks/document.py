"""One document, from its file to its outcome: the straight line of the pipeline."""

import traceback
from collections.abc import Iterable

from schemas.config import CleanConfig
from schemas.document import Decoded, Origin, Outcome, RawDocument, Reason, Rejection
from tasks.clean import clean
from tasks.decode import decode
from tasks.html import is_html, read_page
from tasks.html.said import with_facts
from tasks.judge import judge_input, judge_output
from tasks.read import Source
from tasks.read.text import read_text
from tasks.steps import STEPS


def clean_document(source: Source, config: CleanConfig) -> Outcome:
    """Read, decode, clean and judge one document. Whatever happens, there is an outcome."""
    origin, raw = read_text(source, config.max_bytes)
    if isinstance(raw, Rejection):
        return Outcome(origin, rejection=raw)
    return clean_raw(origin, raw, config)


def clean_raw(origin: Origin, raw: RawDocument, config: CleanConfig) -> Outcome:
    """Decode, clean and judge what was read."""
    try:
        decoded = decode(raw)
    except Exception:  # noqa: BLE001  a bug on one document must not take the others with it
        return Outcome(origin, rejection=Rejection(Reason.FAILED, traceback.format_exc()))
    return clean_decoded(origin, decoded, config, raw.source_uri)


def clean_decoded(origin: Origin, decoded: Decoded, config: CleanConfig, name: str = "") -> Outcome:
    """Clean and judge what was decoded; `name` may say that it is HTML."""
    cleaned = page = None
    try:
        if rejection := judge_input(decoded):
            return Outcome(origin, decoded, rejection=rejection)
        if is_html(decoded.text, name):
            page = read_page(decoded.text)
        cleaned = clean(page.text if page else decoded.text, config)
        if page:
            cleaned = with_facts(cleaned, page, config)
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
