"""The figures of a run, for the terminal and for Prefect's artifact."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from schemas.document import Reason
from tasks.publish.parts import Counts

FAILURES = (Reason.UNREADABLE, Reason.FAILED, Reason.CRASHED)
"""Rejections that say nothing about the document, but that something went wrong: a run with one of them is partial."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    out: Path
    snapshot: int
    counts: Counts
    seconds: float

    @property
    def n_failures(self) -> int:
        """Documents that were rejected because something went wrong."""
        return sum(self.counts.rejected[reason] for reason in FAILURES)

    @property
    def sentence(self) -> str:
        """`5 documents: 4 clean, 1 rejected (empty 1)`."""
        counts = self.counts
        n_rejected = counts.rejected.total()
        reasons = f" ({_tally(counts.rejected)})" if n_rejected else ""
        return f"{counts.documents:,} documents: {counts.clean:,} clean, {n_rejected:,} rejected{reasons}"


def rows(summary: Summary) -> list[tuple[str, str]]:
    """Names and values, as they are shown."""
    counts = summary.counts
    return [
        ("documents in", f"{counts.documents:,}"),
        ("clean", f"{counts.clean:,}"),
        *([("duplicates", f"{counts.duplicates:,} of the clean ones, marked")] if counts.duplicates else []),
        *((f"rejected: {reason}", f"{n:,}") for reason, n in counts.rejected.most_common()),
        *((f"edits: {step}", f"{n:,}") for step, n in counts.edits.most_common()),
        ("characters", f"{counts.chars_in:,} in, {counts.removed.total():,} removed, {counts.chars_out:,} out"),
        ("time", f"{summary.seconds:.1f} s"),
        ("dataset", f"{summary.out} (snapshot {summary.snapshot})"),
    ]


def openings(summary: Summary) -> list[tuple[str, str]]:
    """How to open the clean table, by tool."""
    folder = summary.out / "clean"
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
