"""Marks of people on edits, made into cases for the tests of steps, and into exceptions to rules.

A case is a small stretch of what the step received in which it does the same as in the whole document: the lines
around the edit, and more of them until nothing comes out otherwise than in the whole. What is marked as wrong is to
stay as it was there, so that the case fails until the rule is repaired; what is marked as right is to come out as it
did.
"""

import json
import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from schemas.config import CleanConfig
from schemas.document import Context, Edit
from tasks.corpus.learned import RULE as LEARNED
from tasks.publish.snapshots import DatasetError
from tasks.publish.store import current, open_store
from tasks.steps import STEPS
from tasks.steps.edits import EditError, apply
from tasks.steps.lines import fold, is_prose, key, lines_of
from tasks.verify import DocumentNotFoundError, StoredDocument, read_document
from tasks.view import reviews
from tasks.view.reviews import Received, Review

STAYS = "learned-stays.txt"
"""The table of exceptions to lines that a run learned (`tasks.corpus.learned`)."""

_LONG_LINE = 400
"""Characters from which on a line counts as several, one for each sentence: four times a line of news."""

_NEIGHBOURS = 2
"""Lines on either side that a case has at least: between two paragraphs there often is an empty one."""

_SENTENCE = re.compile(r"[^。！？]{0,400}+[。！？]?+")

_SHOWN = 24
"""Characters of what was changed that a label has."""


class CasesError(Exception):
    """Cases can't be written there; the message says why, and what to do."""


class Case(NamedTuple):
    """A case as it goes into a file."""

    step: str
    label: str
    comment: str
    before: str
    after: str
    script: str

    @property
    def stance(self) -> str:
        """As in tests/test_cases.py."""
        return "negative" if self.before == self.after else "wild"


@dataclass(slots=True)
class Report:
    """What became of the marks."""

    written: list[tuple[Path, str]] = field(default_factory=list)
    """File, and label of the case or line of the table."""
    n_known: int = 0
    """Marks of which the files had all already."""
    left: list[tuple[Review, str]] = field(default_factory=list)
    """Marks that nothing could be made of, and why."""
    n_unreadable: int = 0
    """Lines of the file of marks that are none."""


def write_cases(out: str | Path, cases: Path, rules: Path) -> Report:
    """Write a case or an exception for each mark of a dataset that has none yet.

    Args:
        out: Where the dataset lies.
        cases: Folder of the files of cases, one for each step.
        rules: Folder of the rule tables.

    Raises:
        CasesError: if the folder isn't there, or a file in it is no file of cases.
        DatasetError: if there is no dataset.
        OSError: if something can't be read or written.
    """
    if not cases.is_dir():
        raise CasesError(f"{cases} is no folder. Run this in a checkout of qingyuan, or name one with --out")
    store = open_store(out)
    current(store)
    found = reviews.read(reviews.path_of(store, out))
    report = Report(n_unreadable=found.n_unreadable)
    of_document: dict[str, list[Review]] = defaultdict(list)
    for review in found.marks:
        of_document[review.doc_id].append(review)
    for doc_id, marks in of_document.items():
        try:
            document = _Document.read(out, doc_id)
        except (DocumentNotFoundError, EditError, DatasetError) as error:
            report.left += ((mark, str(error)) for mark in marks)
            continue
        _write_document(document, marks, cases, rules, report)
    return report


class _Document(NamedTuple):
    doc_id: str
    source: str
    script: str
    stages: list[Received]

    @classmethod
    def read(cls, out: str | Path, doc_id: str) -> "_Document":
        """A document of the dataset, with what each of its stages received."""
        stored = read_document(out, doc_id)
        stages = reviews.stages_of(stored.row["text"] or "", stored.log["edits"])
        source = f"{stored.row['source_uri']} {stored.row['record']}".strip()
        return cls(stored.doc_id, source.rpartition("/")[2], _script(out, stored), stages)


def _script(out: str | Path, stored: StoredDocument) -> str:
    """The script that the run converted to."""
    import pyarrow.parquet as pq  # noqa: PLC0415  only where it is used

    store = open_store(out)
    parts = current(store).tables["runs"]
    runs = [row for part in parts for row in pq.read_table(store.path(part)).to_pylist()]
    configs = [run["config"] for run in runs if run["run_id"] == stored.row["run_id"] and run["config"]]
    return str(json.loads(configs[0]).get("script", "hans")) if configs else "hans"


def _write_document(document: _Document, marks: Sequence[Review], cases: Path, rules: Path, report: Report) -> None:
    located = [(mark, reviews.find(mark, document.stages)) for mark in marks]
    wrong: dict[int, set[Edit]] = defaultdict(set)
    for mark, found in located:
        if found and mark.verdict == "wrong":
            wrong[found[0].number].add(found[1])
    for mark, found in located:
        if found is None:
            report.left.append((mark, "no such edit is made in the document any more"))
        elif mark.rule == LEARNED:
            _except(mark, *found, rules, report)
        else:
            made = case_of(mark, *found, wrong[found[0].number], document.script, document.source)
            _put(made, mark, cases, report)


def case_of(  # noqa: PLR0913, PLR0917
    mark: Review, received: Received, edit: Edit, wrong: Iterable[Edit], script: str, source: str
) -> Case | str:
    """The case that a mark makes, or why there is none.

    Args:
        mark: What was said.
        received: The stage of the edit.
        edit: The edit that it is about.
        wrong: All edits of the stage that are marked as wrong: none of them is expected.
        script: Setting of the run.
        source: What to call the document.
    """
    step, context = STEPS.get(mark.step), Context(CleanConfig.model_validate({"script": script}))
    if step is None:
        return f"there is no step {mark.step!r} any more"

    def made(text: str) -> list[Edit]:
        return [finding for finding in step(text, context) if isinstance(finding, Edit)]

    whole = made(received.text)
    if not any(same._replace(confidence=edit.confidence) == edit for same in whole):
        return "the rules of today don't make this edit any more: clean again to see what they do"
    for start, end in windows(received.text, edit, whole):
        text = received.text[start:end]
        inside = [e._replace(start=e.start - start) for e in whole if start <= e.start and _end(e) <= end]
        if _without_odds(made(text)) == _without_odds(inside):
            unwanted = {(e.start - start, e.before, e.after) for e in wrong}
            wanted = [e for e in inside if (e.start, e.before, e.after) not in unwanted]
            return Case(mark.step, _label(mark), _comment(mark, source), text, apply(text, wanted), script)
    return "the step does something else when it is run alone"


def _without_odds(edits: Iterable[Edit]) -> list[Edit]:
    """Edits without their confidence: it may depend on the whole document, and no case asks for it."""
    return [edit._replace(confidence=1.0) for edit in edits]


def _end(edit: Edit) -> int:
    return edit.start + len(edit.before)


def windows(text: str, edit: Edit, edits: Sequence[Edit]) -> Iterator[tuple[int, int]]:
    """Stretches of a text around an edit, from small to the whole, none of which cuts an edit in two.

    Whole lines, but for long ones, of which it is sentences; twice as many on either side each time.
    """
    cuts = list(_cuts(text))
    first = max((i for i, cut in enumerate(cuts) if cut <= edit.start), default=0)
    last = next((i for i, cut in enumerate(cuts) if cut >= max(_end(edit), edit.start + 1)), len(cuts) - 1)
    around = _NEIGHBOURS
    while first - around > 0 or last + around < len(cuts) - 1:
        start, end = cuts[max(first - around, 0)], cuts[min(last + around, len(cuts) - 1)]
        yield _widened(start, end, edits)
        around *= 2
    yield 0, len(text)


def _cuts(text: str) -> Iterator[int]:
    """Where lines begin, and the sentences of long ones; 0 and the end among them."""
    yield 0
    at = 0
    for line in text.split("\n"):
        end = min(at + len(line) + 1, len(text))
        if len(line) > _LONG_LINE:
            yield from (at + m.end() for m in _SENTENCE.finditer(line) if 0 < m.end() < len(line))
        if end > at:
            yield end
        at = end


def _widened(start: int, end: int, edits: Sequence[Edit]) -> tuple[int, int]:
    """A stretch that has all of the edits that it has a part of."""
    for edit in edits:
        if edit.start < end and _end(edit) > start:
            start, end = min(start, edit.start), max(end, _end(edit))
    return start, end


def _label(mark: Review) -> str:
    change = f"{_short(mark.before)!r} to {_short(mark.after)!r}" if mark.after else f"{_short(mark.before)!r} goes"
    return f"review {mark.doc_id[:8]}: {mark.rule}, {change}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _comment(mark: Review, source: str) -> str:
    said = f"Marked as {mark.verdict} on {mark.when[:10]} in {source}, document {mark.doc_id}"
    return f"{said}: {' '.join(mark.note.split())}" if mark.note else f"{said}."


def _put(made: Case | str, mark: Review, cases: Path, report: Report) -> None:
    """Add a case to the file of its step, unless it is there."""
    if isinstance(made, str):
        report.left.append((mark, made))
        return
    path = cases / f"{made.step}.toml"
    content = (
        path.read_text(encoding="utf-8") if path.exists() else f"# Format: tests/test_cases.py. Step: {made.step}.\n"
    )
    known = _cases_in(path, content)
    same = [c for c in known if (c.get("before"), c.get("script", "hans")) == (made.before, made.script)]
    if any(c.get("after", c["before"]) == made.after and c.get("stance") != "failure" for c in same):
        report.n_known += 1
    elif same:
        report.left.append((mark, f"{path} expects something else of the same text: {same[0].get('label')!r}"))
    else:
        _replace(path, content.rstrip("\n") + "\n\n" + to_toml(made))
        report.written.append((path, made.label))


def _cases_in(path: Path, content: str) -> list[dict[str, Any]]:
    try:
        found = tomllib.loads(content).get("case", [])
    except tomllib.TOMLDecodeError as error:
        raise CasesError(f"{path} is no file of cases: {error}. Correct it") from error
    return [case for case in found if isinstance(case, dict) and "before" in case]


def _replace(path: Path, content: str) -> None:
    """Put a new content in the place of a file, at once or not at all."""
    written = path.with_name(f".{path.name}-{uuid4().hex}")
    written.write_text(content, encoding="utf-8", newline="\n")
    written.replace(path)


def to_toml(case: Case) -> str:
    """A case as it stands in a file; what can't be seen is escaped."""
    keys: Mapping[str, str] = {
        "label": case.label,
        "comment": case.comment,
        **({"script": case.script} if case.script != "hans" else {}),
        "stance": case.stance,
        "before": case.before,
        **({} if case.stance == "negative" else {"after": case.after}),
    }
    return "[[case]]\n" + "".join(f"{name} = {_quoted(value)}\n" for name, value in keys.items())


def _quoted(text: str) -> str:
    """A string of TOML: of several lines where it has some."""
    if "\n" not in text:
        return f'"{"".join(map(_escaped, text))}"'
    lines = ("".join(map(_escaped, line)) for line in text.split("\n"))
    return '"""\n' + "\n".join(_ending(line) for line in lines) + '"""'


def _ending(line: str) -> str:
    r"""A space at the end as `\u0020`: editors take them away."""
    return line[:-1] + "\\u0020" if line.endswith(" ") else line


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if unicodedata.category(char)[0] not in "CZM" or char in " \u3000":
        return char
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"


def _except(mark: Review, received: Received, edit: Edit, rules: Path, report: Report) -> None:
    """Have a learned line stay, if it stands below the body: for those above it there is no list."""
    path = rules / STAYS
    line = fold(edit.before).strip()
    below = lines_of(received.text[_end(edit) :])
    if mark.verdict == "right":
        report.left.append((mark, "a line is learned from a whole site: no case can tell of it"))
    elif any(is_prose(other.text) for other in below):
        report.left.append((mark, "learned lines above the body have no list of exceptions"))
    elif not path.is_file():
        report.left.append((mark, f"{path} isn't there: run this in a checkout, or name its tables with --rules"))
    else:
        header, entries = _table(path)
        if key(line) in {key(entry) for entry in entries}:
            report.n_known += 1
        else:
            _replace(path, "".join(f"{entry}\n" for entry in [*header, *sorted({*entries, line})]))
            report.written.append((path, line))


def _table(path: Path) -> tuple[list[str], list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("#")], [line for line in lines if line and line[0] != "#"]
