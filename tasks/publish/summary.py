"""The figures of a run, for the terminal and for Prefect's artifact."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from schemas.document import Reason
from tasks.publish.counts import Counts, Tally

FAILURES = (Reason.UNREADABLE, Reason.BROKEN, Reason.BOMB, Reason.FAILED, Reason.CRASHED)
"""Rejections that say nothing about the document, but that something went wrong: a run with one of them is partial."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, and what the dataset has in it now."""

    out: str
    """Folder of the dataset, or its address."""
    snapshot: int
    counts: Counts
    """Of the whole dataset."""
    tally: Tally
    """Of the run."""
    seconds: float
    skipped: Counter[str] = field(default_factory=Counter)
    """Records of containers that are no documents, by kind, as far as this run met them."""
    report: str = ""
    """Path or address of the page that tells what the run did; empty if it could not be made."""

    @property
    def n_failures(self) -> int:
        """Documents that are rejected because something went wrong."""
        return sum(self.counts.rejected[reason] for reason in FAILURES)

    @property
    def sentence(self) -> str:
        """`5 documents: 4 clean, 1 rejected (empty 1); 1 added, 4 unchanged`; the first run has added all."""
        counts = self.counts
        n_rejected = counts.rejected.total()
        reasons = f" ({_tally(counts.rejected)})" if n_rejected else ""
        what = f"{counts.documents:,} documents: {counts.clean:,} clean, {n_rejected:,} rejected{reasons}"
        done = ", ".join(f"{n:,} {_SHORT[name]}" for name, n in asdict(self.tally).items() if n)
        return what if self.tally.added == counts.documents else f"{what}; {done or 'nothing to do'}"


_SHORT = {
    "added": "added",
    "changed": "changed",
    "unchanged": "unchanged",
    "removed": "removed",
    "recleaned": "cleaned again",
    "relearned": "cleaned again by what was learned",
}


def rows(summary: Summary) -> list[tuple[str, str]]:
    """Names and values, as they are shown."""
    counts, tally = summary.counts, summary.tally
    again = [("re-cleaned", tally.recleaned), ("re-cleaned by learned lines", tally.relearned)]
    return [
        ("added", f"{tally.added:,}"),
        ("changed", f"{tally.changed:,}"),
        ("unchanged", f"{tally.unchanged:,}"),
        ("removed", f"{tally.removed:,}"),
        *((name, f"{n:,}") for name, n in again if n),
        ("documents", f"{counts.documents:,}"),
        ("clean", f"{counts.clean:,}"),
        *([("duplicates", f"{counts.duplicates:,} of the clean ones, marked")] if counts.duplicates else []),
        *((f"rejected: {reason}", f"{n:,}") for reason, n in counts.rejected.most_common()),
        *((f"skipped: {kind}", f"{n:,}") for kind, n in summary.skipped.most_common()),
        *((f"edits: {step}", f"{n:,}") for step, n in counts.edits.most_common()),
        ("characters", f"{counts.chars_in:,} in, {counts.removed.total():,} removed, {counts.chars_out:,} out"),
        ("time", f"{summary.seconds:.1f} s"),
        ("dataset", f"{summary.out} (snapshot {summary.snapshot})"),
        *([("report", summary.report)] if summary.report else []),
    ]


def openings(summary: Summary) -> list[tuple[str, str]]:
    """How to open the clean table, by tool."""
    if "://" in summary.out:
        return [("Python", f"open_dataset({summary.out!r}).to_pandas('clean')")]
    folder = Path(summary.out) / "clean"
    return [
        ("pandas", f"pd.read_parquet({str(folder)!r})"),
        ("DuckDB", f"FROM {_sql(str(folder / '*.parquet'))}"),
    ]


def as_markdown(summary: Summary) -> str:
    """The same as a page: what Prefect shows as the artifact of a run."""
    figures = "\n".join(f"| {name} | {value} |" for name, value in rows(summary))
    code = "\n".join(f"- {tool}: `{line}`" for tool, line in openings(summary))
    return f"# {summary.sentence}\n\n| | |\n|---|---|\n{figures}\n\n{code}\n"


def _tally(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
