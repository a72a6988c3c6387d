"""Documents on their way through the pipeline, and the findings that steps make about them.

Everything here is immutable: a stage takes one of these and returns another.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Self, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from schemas.config import CleanConfig


class Edit(NamedTuple):
    """One replacement, proposed by a step and carried out by `tasks.steps.edits.apply`."""

    step: str
    """Name of the step, as in `tasks.steps.STEPS`: "punctuation"."""
    rule: str
    """The rule within the step that asked for it: "stray-comma"."""
    start: int
    """Offset in characters in the text that this step received."""
    before: str
    """What stands there; empty for an insertion."""
    after: str
    """What replaces it; empty for a removal."""
    confidence: float = 1.0
    """1.0 = proved, or by a rule that leaves no choice; below that, the odds of being right."""


class Edits(Sequence[Edit]):
    """Edits of one step as columns: a tuple of `Edit` to all who read it, none of which exists until it is asked for.

    For steps that make hundreds of edits a page: script conversion, and whatever the edit log has packed.

    Args:
        step: Name of the step.
        kinds: Rules with their confidence.
        kind: Which of these, by edit.
        starts: As in `Edit`, by edit.
        before: What stands at all of them, joined.
        before_at: Where in `before` each begins, and its length at the end: one more than edits.
        after: The same of what replaces it.
        after_at: The same; the same array where no length changes.
    """

    __slots__ = ("after", "after_at", "before", "before_at", "kind", "kinds", "starts", "step")

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        step: str,
        kinds: Sequence[tuple[str, float]],
        kind: NDArray[np.int64],
        starts: NDArray[np.int64],
        before: str,
        before_at: NDArray[np.int64],
        after: str,
        after_at: NDArray[np.int64],
    ) -> None:
        self.step, self.kinds, self.kind, self.starts = step, tuple(kinds), kind, starts
        self.before, self.before_at, self.after, self.after_at = before, before_at, after, after_at

    @classmethod
    def of(cls, edits: Sequence[Edit]) -> Self:
        """The same as columns.

        Args:
            edits: Of one step; one at least.
        """
        steps, rules, starts, before, after, confidences = zip(*edits, strict=True)
        kinds: dict[tuple[str, float], int] = {}
        kind = [kinds.setdefault(pair, len(kinds)) for pair in zip(rules, confidences, strict=True)]
        return cls(
            *(steps[0], list(kinds), np.array(kind, np.int64), np.array(starts, np.int64)),
            *("".join(before), places(np.fromiter(map(len, before), np.int64, len(before)))),
            *("".join(after), places(np.fromiter(map(len, after), np.int64, len(after)))),
        )

    @property
    def n_before(self) -> NDArray[np.int64]:
        """Characters that stand at each."""
        return self.before_at[1:] - self.before_at[:-1]

    @property
    def n_after(self) -> NDArray[np.int64]:
        """Characters that replace them."""
        return self.after_at[1:] - self.after_at[:-1]

    def chosen(self, numbers: NDArray[np.intp]) -> Iterator[Edit]:
        """Some of the edits, by their numbers."""
        columns = (
            *(self.kind[numbers], self.starts[numbers], self.before_at[numbers], self.before_at[numbers + 1]),
            *(self.after_at[numbers], self.after_at[numbers + 1]),
        )
        for kind, start, i, j, k, l in zip(*(column.tolist() for column in columns), strict=True):  # noqa: E741
            rule, confidence = self.kinds[kind]
            yield Edit(self.step, rule, start, self.before[i:j], self.after[k:l], confidence)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Edit]:
        return self.chosen(np.arange(len(self)))

    @overload
    def __getitem__(self, at: SupportsIndex) -> Edit: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Edit, ...]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Edit | tuple[Edit, ...]:
        if isinstance(at, slice):
            return tuple(self.chosen(np.arange(len(self))[at]))
        (found,) = self.chosen(np.array([range(len(self))[at]]))
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edits):
            return tuple(self) == other
        if (self.step, self.before, self.after) != (other.step, other.before, other.after):
            return False
        number = {pair: i for i, pair in enumerate(self.kinds)}
        kinds = np.array([number.get(pair, -1) for pair in other.kinds], np.int64)
        columns = ((self.starts, other.starts), (self.before_at, other.before_at), (self.after_at, other.after_at))
        return all(np.array_equal(*pair) for pair in (*columns, (self.kind, kinds[other.kind])))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __getstate__(self) -> tuple[object, ...]:
        # Lengths: they take less than places when they are compressed.
        columns = self.kind, self.starts, self.n_before, self.n_after
        return self.step, self.kinds, self.before, self.after, np.array(columns, "<i4").tobytes()

    def __setstate__(self, state: tuple[str, tuple[tuple[str, float], ...], str, str, bytes]) -> None:
        self.step, self.kinds, self.before, self.after, numbers = state
        self.kind, self.starts, n_before, n_after = np.frombuffer(numbers, "<i4").astype(np.int64).reshape(4, -1)
        self.before_at, self.after_at = places(n_before), places(n_after)


def places(lengths: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where pieces of such lengths begin if one follows the other, and where the last one ends."""
    found = np.empty(len(lengths) + 1, np.int64)
    found[0] = 0
    lengths.cumsum(out=found[1:])
    return found


def within(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets of all characters of pieces, one piece after the other."""
    at = places(lengths)
    return np.repeat(starts - at[:-1], lengths) + np.arange(at[-1])


class Fact(NamedTuple):
    """Something a line said about its document, before the line was removed (or beside it)."""

    step: str
    rule: str
    field: str
    """A column of the clean dataset: one of `FACT_FIELDS`."""
    value: str


class Damage(NamedTuple):
    """A span that is damaged and that no step could repair."""

    step: str
    kind: str
    """One of the `DAMAGE_KINDS`."""
    start: int
    """Offset in characters in the text that this step received."""
    text: str
    """What stands there."""


Finding = Edit | Fact | Damage

FACT_FIELDS = (
    *("title", "published_at", "site_name", "author", "editor", "section", "source_url", "licence", "lang_declared"),
)

MIN_HIDDEN = 20
"""Characters of hidden text from which on a page is flagged for it: more than the label of a button."""

DAMAGE_KINDS = ("lost-characters", "mojibake", "not-text", "shift")


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may know besides the text."""

    config: CleanConfig


Step = Callable[[str, Context], Iterable[Finding]]
"""Proposes findings about a text, edits in order of `start` and without overlap. Changes nothing."""


class Reason(StrEnum):
    """Why a document was rejected. Closed: `rejected.reason` holds one of these and nothing else."""

    EMPTY = "empty"
    """Zero bytes, or nothing but white space."""
    UNREADABLE = "unreadable"
    """The file could not be opened or read."""
    TOO_LARGE = "too-large"
    """More bytes than the configuration allows for one document."""
    NOT_TEXT = "not-text"
    """A binary file, or mostly control characters, symbols or digits."""
    UNDECODABLE = "undecodable"
    """No encoding gives readable text."""
    TOO_SHORT = "too-short"
    """Less text left after cleaning than the configuration asks for."""
    SPAM = "spam"
    """Nothing but lines that sell something else: pornography, gambling, fake diplomas."""
    DUPLICATE = "duplicate"
    """Another document that is kept tells the same, and duplicates were to be dropped."""
    FAILED = "failed"
    """A step raised an exception: a bug of ours, with its traceback in `detail`."""
    BROKEN = "broken"
    """A container that can't be read, or not to its end: `record` says where it ends."""
    BOMB = "bomb"
    """What a compressed file or an archive holds is out of bounds: it expands too much, or is nested too deep."""
    CRASHED = "crashed"
    """The worker process died on this document (memory, a crash in a compiled library)."""


@dataclass(frozen=True, slots=True)
class RawDocument:
    """Bytes and where they came from."""

    source_uri: str
    """`file:///…` of the file, or `stdin:<hash>`."""
    content: bytes
    record: str = ""
    """Position inside a container file; empty where the file is the document."""
    declared_encoding: str = ""
    """What a transport (HTTP header) said; empty where nothing did."""
    known_encoding: str = ""
    """Codec by which a reader made these bytes of characters, as of a field of a JSON line; empty where they are as
    they were found, and their encoding has to be."""
    name: str = ""
    """Address or file name that may tell whether it is a page of HTML; empty where that is `source_uri`."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a container says of the document beside it: keys are of `FACT_FIELDS`. Nothing of it is repaired yet."""


class BadByte(NamedTuple):
    """A byte that no character could be made of. The decoded text has U+FFFD in its place."""

    offset: int
    """Offset in bytes in the raw document."""
    position: int
    """Offset in characters in the decoded text."""
    value: int
    """0 to 255."""


class Segment(NamedTuple):
    """Where in a decoded text another encoding begins."""

    position: int
    """Offset in characters in the decoded text."""
    encoding: str
    """Python's name of the codec."""


class Verbatim(NamedTuple):
    """Bytes that the codec would not give back by itself: a byte order mark, escapes, two codes for one character."""

    position: int
    """Offset in characters in the decoded text."""
    length: int
    """How many characters stand for these bytes; 0 for a byte order mark."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, and how it was made of bytes: `tasks.decode.encode` turns it into the same bytes again.

    No text at all (a picture, an archive, random bytes) shows as encoding `""` and method `none`; `text` is then the
    bytes as Latin-1.
    """

    text: str
    """Without the byte order mark, and with U+FFFD for each of the `bad_bytes`."""
    encoding: str
    """Python's name of the codec; several joined by `+` where lines differ; empty if undecodable."""
    confidence: float
    """0.0 to 1.0; how it is computed stands at `tasks.decode.decode`."""
    method: str
    """`given`, `bom`, `declared`, `strict`, `plausible`, `chardet`, `lines` or `none`."""
    bad_bytes: tuple[BadByte, ...] = ()
    segments: tuple[Segment, ...] = ()
    """Empty where one encoding holds for the whole text."""
    verbatim: tuple[Verbatim, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """What was taken out of a document that is HTML. Nothing of it is repaired yet."""

    text: str
    """The main text, a line for each paragraph: what cleaning starts from."""
    format: str = "html"
    """`html` or `feed`."""
    head: tuple[str, ...] = ()
    """Lines above the main text, which may say something about it."""
    tail: tuple[str, ...] = ()
    """The same below it."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the head of the page says: keys are of `FACT_FIELDS`."""
    hidden_chars: int = 0
    """Characters that a reader does not see."""
    hidden_text: str = ""
    """The beginning of them."""
    flat: bool = False
    """Whether it could not be parsed: then `text` is all that stands between its tags."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What to know before using the text."""
        hides = self.hidden_chars >= MIN_HIDDEN
        return tuple(flag for flag, set_ in (("hidden-text", hides), ("html-unparsed", self.flat)) if set_)


@dataclass(frozen=True, slots=True)
class Stage:
    """The edits that one step made in one pass: `apply` carries them out together."""

    step: str
    edits: tuple[Edit, ...] | Edits

    @property
    def n_removed(self) -> int:
        """Characters by which those of its edits shortened the text that shortened it."""
        if isinstance(self.edits, Edits):
            return int(np.maximum(self.edits.n_before - self.edits.n_after, 0).sum())
        return sum(len(before) - len(after) for _, _, _, before, after, _ in self.edits if len(before) > len(after))

    @property
    def n_touched(self) -> int:
        """Characters that its edits replaced, removed or put in."""
        if isinstance(self.edits, Edits):
            return int(np.maximum(self.edits.n_before, self.edits.n_after).sum())
        return sum(max(len(before), len(after)) for _, _, _, before, after, _ in self.edits)

    @property
    def confidence(self) -> float:
        """The least of its edits."""
        if isinstance(self.edits, Edits):
            kinds: set[int] = set(self.edits.kind.tolist())
            return min(self.edits.kinds[kind][1] for kind in kinds)
        least: float = min(map(_confidence, self.edits))
        return least


_confidence = attrgetter("confidence")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The outcome of all steps on one text."""

    text: str
    stages: tuple[Stage, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    """Keys are of `FACT_FIELDS`; the first value found for a field stands."""
    damage: tuple[Damage, ...] = ()
    """Offsets are in the clean text: what was left unrepaired."""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A reason from the closed list, and a sentence for the reader."""

    reason: Reason
    detail: str


@lru_cache(maxsize=1024)  # a row group: rows are made of many documents together
def _doc_id(source_uri: str, record: str) -> str:
    return hashlib.sha256(f"{source_uri}\0{record}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document came from, as it is recorded: everything of a `RawDocument` but its bytes."""

    source_uri: str
    record: str
    sha256: str
    """Hex digest of the raw bytes; empty where they could not be read."""
    n_bytes: int
    url: str = ""
    """Address that the page was fetched from, as its container says; the same holds for what follows."""
    fetched_at: str = ""
    """When, in ISO 8601."""
    record_id: str = ""
    """`WARC-Record-ID`."""
    payload_digest: str = ""
    """`WARC-Payload-Digest`."""
    extra: str = ""
    """What else stands beside the text, as a JSON object."""
    record_sha256: str = ""
    """Hex digest of all that a container has of the document; empty where that is its bytes and nothing else."""

    @property
    def state(self) -> str:
        """Hex digest that is another one if anything of the document has changed; empty where it could not be read."""
        return self.record_sha256 or self.sha256

    @property
    def doc_id(self) -> str:
        """32 hex digits made of the source and the position in it: the same at every re-ingest of the same source."""
        return _doc_id(self.source_uri, self.record)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one document: kept (`rejection` is None), or rejected, with as much as was found out till then."""

    origin: Origin
    decoded: Decoded | None = None
    cleaned: Cleaned | None = None
    rejection: Rejection | None = None
    page: Page | None = None
    """Set where the document is HTML or a feed."""

    @property
    def text_in(self) -> str | None:
        """What cleaning starts from: the decoded text, or what was taken out of a page; None if never decoded."""
        if self.page is not None:
            return self.page.text
        return self.decoded.text if self.decoded is not None else None


@dataclass(frozen=True, slots=True)
class Run:
    """What all documents of one run share."""

    run_id: str
    started_at: datetime
    """UTC."""
    config: CleanConfig
    pipeline_version: str
    rules_digest: str
