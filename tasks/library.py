"""Cleaning inside somebody else's program: a string, or documents one by one.

`clean_text` gives the text, `clean_one` and `clean_many` all that is known of a document; `tasks.tables` cleans columns
of tables. No Prefect, no files, nothing to set up; all of it can be pickled, and be used in threads and processes.
What only a whole corpus can tell (learned lines, duplicates) is the flow's, and so is a limit on the time that a
document takes. docs/library.md.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, Unpack

from schemas.config import CleanConfig, Script
from schemas.document import (
    Damage,
    Decoded,
    Edit,
    Origin,
    Outcome,
    RawDocument,
    Reason,
    Rejection,
    Stage,
    Verbatim,
)
from tasks.clean import clean
from tasks.decode import MAX_BAD_BYTES, encode
from tasks.document import check_steps, clean_decoded, clean_raw
from tasks.steps.edits import revert

COLUMNS = ("reason", "detail", "title", "published_at", "lang", "script_source", "n_edits", "min_confidence", "flags")
"""What stands beside a clean text unless somebody asks for something else."""


class Settings(TypedDict, total=False):
    """Fields of `CleanConfig` as keywords."""

    script: Script
    skip: tuple[str, ...]
    min_chars: int
    max_bytes: int


class RejectedError(ValueError):
    """There is no clean text."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True, repr=False)
class CleanedDocument:
    """A document that went through the pipeline, kept or rejected."""

    given: Any
    """What it was made of: a string, bytes, or a row."""
    outcome: Outcome
    """All that is known of it."""

    @property
    def text(self) -> str | None:
        """The clean text; of a rejected document as far as it got, None if it never was text."""
        cleaned = self.outcome.cleaned
        return cleaned.text if cleaned else self.outcome.text_in

    @property
    def is_kept(self) -> bool:
        """Whether the flow would keep it."""
        return self.outcome.rejection is None

    @property
    def reason(self) -> Reason | None:
        """Why it is rejected; None if it is kept."""
        return self.outcome.rejection.reason if self.outcome.rejection else None

    @property
    def detail(self) -> str | None:
        """The same as a sentence; a traceback for `failed`."""
        return self.outcome.rejection.detail if self.outcome.rejection else None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits in order. `start` counts in the text that the step received: `outcome.cleaned.stages` has these."""
        return tuple(edit for stage in self._stages for edit in stage.edits)

    @property
    def min_confidence(self) -> float:
        """The lowest confidence of all edits; 1.0 if there are none."""
        return min((edit.confidence for edit in self.edits), default=1.0)

    @property
    def facts(self) -> Mapping[str, str]:
        """What the document says of itself: keys are of `FACT_FIELDS`."""
        return self.outcome.cleaned.facts if self.outcome.cleaned else {}

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What is damaged and could not be repaired; offsets are in `text`."""
        return self.outcome.cleaned.damage if self.outcome.cleaned else ()

    @property
    def flags(self) -> tuple[str, ...]:
        """What to know before using the text, sorted; for English `row` has more."""
        page = self.outcome.page.flags if self.outcome.page else ()
        return tuple(sorted({*(self.outcome.cleaned.flags if self.outcome.cleaned else ()), *page}))

    @property
    def encoding(self) -> str | None:
        """Python's name of the codec that the bytes were in; None for a string, and where no codec fits."""
        decoded = self.outcome.decoded
        return decoded.encoding or None if decoded and decoded.method != "given" else None

    @property
    def encoding_confidence(self) -> float | None:
        """0 to 1: how sure `encoding` is; None for a string, and where nothing was decoded."""
        decoded = self.outcome.decoded
        return decoded.confidence if decoded and decoded.method != "given" else None

    def revert(self) -> str:
        """Take all edits back: the string that was given, the decoded bytes, or the main text taken out of a page.

        Raises:
            RejectedError: if it never was text.
        """
        text, decoded = self.text, self.outcome.decoded
        if text is None or decoded is None:
            raise RejectedError(self.reason or Reason.FAILED, self.detail or "")
        for stage in reversed(self._stages):
            text = revert(text, stage.edits)
        if decoded.method != "given" or self.outcome.page:
            return text
        return encode(decoded).decode("utf-8", "surrogatepass") if decoded.verbatim else text

    def raw(self) -> bytes:
        """The bytes that were given, made of what decoding noted; a string in UTF-8 (lone surrogates as they come).

        Raises:
            RejectedError: if they were never decoded.
        """
        if self.outcome.decoded is None:
            raise RejectedError(self.reason or Reason.FAILED, self.detail or "")
        return encode(self.outcome.decoded)

    def row(self, columns: Iterable[str] = COLUMNS) -> dict[str, Any]:
        """`text` and columns of the dataset as docs/data-dictionary.md has them; `text` is None if it is rejected.

        Raises:
            ValueError: if there is no such column; the message lists those there are.
        """
        from tasks.tables import check_columns, row_of  # noqa: PLC0415  Arrow, 0.1 s: not for one string

        wanted = ("text", *columns)
        check_columns(wanted[1:])
        row = row_of(self.outcome, wanted)
        return {name: row.get(name) for name in wanted}

    @property
    def _stages(self) -> tuple[Stage, ...]:
        return self.outcome.cleaned.stages if self.outcome.cleaned else ()

    def __repr__(self) -> str:
        what = f"rejected as {self.reason}" if self.reason else f"{len(self.edits)} edits"
        return f"<CleanedDocument {(self.text or '')[:30]!r}: {what}>"


def clean_text(
    given: str | bytes | bytearray | memoryview, config: CleanConfig | None = None, **settings: Unpack[Settings]
) -> str:
    """The clean text of a string, or of bytes in any encoding; of a page of HTML its main text.

    Nobody judges it: a title of three characters, a number or nothing at all comes back as well.

    Args:
        given: The document.
        config: How it is cleaned.
        settings: The same as keywords: `script="hant"`.

    Raises:
        RejectedError: if bytes are no text, it is too large, or a step failed.
        TypeError: if it is neither a string nor bytes.
        ValueError: if a setting is wrong.
    """
    if not isinstance(given, str | bytes | bytearray | memoryview):
        raise TypeError(_wrong_type(given))
    config = _config(config, settings)
    outcome = outcome_of(given, config)
    if outcome.cleaned and not _has_failed(outcome):
        return outcome.cleaned.text
    if outcome.rejection and outcome.rejection.reason == Reason.EMPTY:
        return ""
    if outcome.decoded and outcome.decoded.method == "given" and not _has_failed(outcome):
        return clean(outcome.decoded.text, config).text  # a string of control characters
    assert outcome.rejection
    raise RejectedError(outcome.rejection.reason, outcome.rejection.detail)


def clean_one(
    given: Any, config: CleanConfig | None = None, *, column: str = "text", **settings: Unpack[Settings]
) -> CleanedDocument:
    """All that is known of one document: a string, bytes, or a mapping with either in `column`.

    Whatever else is given is a rejected document as well.

    Raises:
        ValueError: if a setting is wrong.
    """
    return _clean(given, column, _config(config, settings))


def clean_many(
    documents: Iterable[Any],
    config: CleanConfig | None = None,
    *,
    column: str = "text",
    **settings: Unpack[Settings],
) -> Iterator[CleanedDocument]:
    """The same for many, one at a time and in order; none that is bad stops it. `given` of each is what came in.

    Raises:
        ValueError: at once, if a setting is wrong.
    """
    return map(partial(_clean, column=column, config=_config(config, settings)), documents)


def _config(config: CleanConfig | None, settings: Settings) -> CleanConfig:
    config = config or CleanConfig()
    if settings:
        config = CleanConfig.model_validate({**config.model_dump(), **settings})
    check_steps(config.skip)
    return config


def _clean(given: Any, column: str, config: CleanConfig) -> CleanedDocument:
    if isinstance(given, Mapping):
        if column not in given:
            there = ", ".join(repr(name)[:50] for name in list(given)[:20])
            return _rejected(given, Reason.UNREADABLE, f"The row has no {column!r}. It has: {there or 'nothing'}.")
        return CleanedDocument(given, outcome_of(given[column], config))
    return CleanedDocument(given, outcome_of(given, config))


def _rejected(given: Any, reason: Reason, detail: str, n_bytes: int = 0) -> CleanedDocument:
    return CleanedDocument(given, Outcome(Origin("", "", "", n_bytes), rejection=Rejection(reason, detail)))


def outcome_of(given: Any, config: CleanConfig) -> Outcome:
    """What becomes of a value."""
    if isinstance(given, str):
        return _of_text(given, config)
    if isinstance(given, bytes | bytearray | memoryview):
        return _of_bytes(bytes(given), config)
    if _is_null(given):
        return _rejected(given, Reason.EMPTY, "There is no document: the value is null.").outcome
    return _rejected(given, Reason.NOT_TEXT, _wrong_type(given)).outcome


def _of_bytes(content: bytes, config: CleanConfig) -> Outcome:
    if len(content) > config.max_bytes:
        return _too_large(len(content), config)
    return clean_raw(Origin("", "", "", len(content)), RawDocument("", content), config)


def _of_text(text: str, config: CleanConfig) -> Outcome:
    try:
        n_bytes = len(text.encode())
        decoded = Decoded(text, "utf-8", 1.0, "given")
    except UnicodeEncodeError:
        n_bytes = len(text.encode("utf-8", "surrogatepass"))
        decoded = _without_surrogates(text)
    if n_bytes > config.max_bytes:
        return _too_large(n_bytes, config)
    return clean_decoded(Origin("", "", "", n_bytes), decoded, config)


def _too_large(n_bytes: int, config: CleanConfig) -> Outcome:
    detail = f"{n_bytes:,} bytes, and {config.max_bytes:,} are allowed."
    return _rejected(None, Reason.TOO_LARGE, detail, n_bytes).outcome


_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
"""Halves of characters beyond U+FFFF, which no encoding takes: two that belong together, or one."""


def _without_surrogates(text: str) -> Decoded:
    """Halves that belong together are joined, the others become U+FFFD; what stood there is noted, for `revert`."""
    pieces: list[str] = []
    spans: list[Verbatim] = []
    at = length = 0
    for match in _SURROGATES.finditer(text):
        if len(spans) == MAX_BAD_BYTES:  # as in `tasks.decode`: no text, and too much to note
            return Decoded(text.encode("utf-8", "surrogatepass").decode("latin-1"), "", 0.0, "none")
        char = match[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        length += match.start() - at
        spans.append(Verbatim(length, 1, match[0].encode("utf-8", "surrogatepass")))
        pieces += text[at : match.start()], char
        at = match.end()
        length += 1
    return Decoded("".join([*pieces, text[at:]]), "utf-8", 1.0, "given", verbatim=tuple(spans))


def _is_null(value: Any) -> bool:
    """None, NaN, or what pandas has for them."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in {"NAType", "NaTType"}
    )


def _wrong_type(value: Any) -> str:
    return f"A document is a string or bytes, and this is of type {type(value).__name__}."


def _has_failed(outcome: Outcome) -> bool:
    return outcome.rejection is not None and outcome.rejection.reason == Reason.FAILED
