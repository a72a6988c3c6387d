"""What people say of edits: marks, one JSON line each, in a file that is only ever added to.

A mark says that an edit is wrong or right; another line takes it back. It names the edit by its document, its stage and
its place there, and has enough of what stood around it to find it again when rules have changed.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from schemas.document import Edit, Stage
from tasks.publish.store import Store
from tasks.steps.log import take_back

FILE = "reviews.jsonl"

Verdict = Literal["wrong", "right", "withdrawn"]
VERDICTS: tuple[str, ...] = get_args(Verdict)

CONTEXT = 40
"""Characters on either side of an edit that a mark keeps: an edit is known by them where its place has changed."""

LONGEST_NOTE = 2_000
"""Characters of a note: a long paragraph."""


@dataclass(frozen=True, slots=True)
class Review:
    """One line of the file."""

    when: str
    """ISO 8601, UTC."""
    doc_id: str
    run_id: str
    """The run that cleaned the document as it was seen."""
    rules_digest: str
    decoded_sha256: str
    """Of the text that cleaning started from."""
    stage: int
    """Which application of a step, as in `edits.stage`."""
    start: int
    """Offset in characters in the text that the stage received."""
    step: str
    rule: str
    before: str
    after: str
    confidence: float
    left: str
    """What stood before it in that text; the end of it."""
    right: str
    """What stood behind it; the beginning."""
    verdict: Verdict
    note: str = ""

    @property
    def edit(self) -> Edit:
        """What it is about."""
        return Edit(self.step, self.rule, self.start, self.before, self.after, self.confidence)

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for all marks of one edit."""
        return (self.doc_id, self.stage, self.start, self.step, self.rule, self.before, self.after)


class Received(NamedTuple):
    """A stage of a document, with what it was carried out on."""

    number: int
    """As in the column `edits.stage`."""
    text: str
    stage: Stage


class Reviews(NamedTuple):
    """What a file holds."""

    marks: list[Review]
    """The last line about each edit, in the order of the file, those that were taken back left out."""
    n_unreadable: int
    """Lines that are no marks: torn by a crash, or written by hand."""


def path_of(store: Store, out: str | Path) -> Path:
    """Where the marks of a dataset are: in its folder; of one in an object store, in the one that stands for it."""
    folder = store.local if "://" in str(out) and not str(out).startswith("file://") else store.local.parent
    return folder / FILE


def read(path: Path) -> Reviews:
    """The marks in a file; none if there is no file.

    Raises:
        OSError: if it can't be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Reviews([], 0)
    found = [_parse(line) for line in lines if line.strip()]
    last: dict[tuple[Any, ...], Review] = {}
    for review in filter(None, found):
        last.pop(review.key, None)
        last[review.key] = review
    return Reviews([review for review in last.values() if review.verdict != "withdrawn"], found.count(None))


def add(path: Path, review: Review) -> None:
    """Write a mark, safe on the disk. A line that a crash left without its end is ended first.

    Raises:
        OSError: if it can't be written.
    """
    line = json.dumps(asdict(review), ensure_ascii=False).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        _write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, line: bytes) -> None:
    while line:  # a disk that is nearly full takes a part
        line = line[os.write(descriptor, line) :]


def mark(row: Mapping[str, Any], received: Received, edit: Edit, verdict: Verdict, note: str = "") -> Review:
    """The line that says something of an edit.

    Args:
        row: Of the document, in `clean` or `rejected`.
        received: The stage that the edit is of.
        edit: The edit.
        verdict: What is said.
        note: Why; cut off where it is too long.
    """
    left, right = around(received.text, edit)
    return Review(
        datetime.now(UTC).isoformat(timespec="seconds"),
        doc_id=row["doc_id"],
        run_id=row["run_id"],
        rules_digest=row["rules_digest"],
        decoded_sha256=row["decoded_sha256"],
        stage=received.number,
        **edit._asdict(),
        left=left,
        right=right,
        verdict=verdict,
        note=note.strip()[:LONGEST_NOTE],
    )


def around(text: str, edit: Edit) -> tuple[str, str]:
    """What stands on either side of an edit in the text that its stage received."""
    end = edit.start + len(edit.before)
    return text[max(edit.start - CONTEXT, 0) : edit.start], text[end : end + CONTEXT]


def stages_of(text: str, log: Sequence[Mapping[str, Any]]) -> list[Received]:
    """The stages of a document in order, from its clean text and its log, each with the text that it received.

    Raises:
        EditError: if the log does not belong to the text.
    """
    numbers = list(dict.fromkeys(row["stage"] for row in log))
    taken = list(take_back(text, log))[::-1]
    return [Received(number, before, stage) for number, (stage, before) in zip(numbers, taken, strict=True)]


def find(review: Review, stages: Iterable[Received]) -> tuple[Received, Edit] | None:
    """The edit that a mark is about: at its place, or the only one of its kind with the same text around it.

    None if there is no such edit any more.
    """
    alike = [
        (received, edit)
        for received in stages
        if received.stage.step == review.step
        for edit in received.stage.edits
        if (edit.rule, edit.before, edit.after) == (review.rule, review.before, review.after)
    ]
    same = [(at, edit) for at, edit in alike if around(at.text, edit) == (review.left, review.right)]
    at_place = [(at, edit) for at, edit in same if (at.number, edit.start) == (review.stage, review.start)]
    found = at_place or (same if len(same) == 1 else [])
    return found[0] if found else None


_TEXTS = frozenset(f.name for f in fields(Review)) - {"stage", "start", "confidence"}


def _parse(line: bytes) -> Review | None:
    """A line; None if it is none of ours."""
    try:
        review = Review(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    is_sound = all(isinstance(getattr(review, name), str) for name in _TEXTS)
    numbers = (review.stage, review.start, review.confidence)
    is_sound = is_sound and all(isinstance(n, int | float) and n >= 0 for n in numbers)
    return review if is_sound and review.verdict in VERDICTS else None
