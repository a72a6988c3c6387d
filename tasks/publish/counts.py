"""What became of documents, in numbers that add up: of a batch, of a dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of some documents. Counts add up."""

    documents: int = 0
    clean: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    edits: Counter[str] = field(default_factory=Counter)
    """By step."""
    removed: Counter[str] = field(default_factory=Counter)
    """Characters, by step: as `edits_by_step.chars_removed` of the dataset."""
    chars_in: int = 0
    """Of the decoded texts of all documents."""
    chars_out: int = 0
    """Of the clean texts."""
    raw_bytes: int = 0
    """Of all documents, as they were read."""
    encodings: Counter[str] = field(default_factory=Counter)
    langs: Counter[str] = field(default_factory=Counter)
    """Of clean documents."""
    scripts: Counter[str] = field(default_factory=Counter)
    """Of clean documents, before conversion."""
    flags: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    """Clean documents that another one stands for."""

    def __add__(self, other: "Counts") -> "Counts":
        """Field by field."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """As a manifest has them.

        Raises:
            TypeError: if there is an unknown field.
        """
        counts: Any = {name: Counter(value) if isinstance(value, dict) else value for name, value in stored.items()}
        return cls(**counts)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run did to a dataset, in documents."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    recleaned: int = 0
    """Unchanged, but cleaned again: other rules or settings, or a replay."""
    relearned: int = 0
    """Unchanged, but cleaned again since the counts say something else of their lines."""


def count_rows(clean: pa.Table | None, rejected: pa.Table | None) -> Counts:
    """Counts of rows of the two tables."""
    tables = [table for table in (clean, rejected) if table is not None]
    kept = [table for table in (clean,) if table is not None]
    by_step = [pc.list_flatten(table["edits_by_step"]) for table in tables]
    return Counts(
        documents=sum(table.num_rows for table in tables),
        clean=sum(table.num_rows for table in kept),
        rejected=_tally([rejected["reason"]] if rejected is not None else []),
        edits=_sums(by_step, "edits"),
        removed=_sums(by_step, "chars_removed"),
        chars_in=sum(_sum(table["decoded_chars"]) for table in tables),
        chars_out=sum(_sum(table["n_chars"]) for table in kept),
        raw_bytes=sum(_sum(table["raw_bytes"]) for table in tables),
        encodings=_tally([table["encoding"] for table in tables]),
        langs=_tally([table["lang"] for table in kept]),
        scripts=_tally([table["script_source"] for table in kept]),
        flags=_tally([pc.list_flatten(table["flags"]) for table in tables]),
        duplicates=sum(len(table) - table["duplicate_of"].null_count for table in kept),
    )


def _sum(column: pa.ChunkedArray) -> int:
    return pc.sum(column).as_py() or 0


def _tally(columns: list[pa.ChunkedArray]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for column in columns:
        for entry in pc.value_counts(column.drop_null()).to_pylist():
            counted[entry["values"]] += entry["counts"]
    return counted


def _sums(by_step: list[pa.ChunkedArray], name: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for entries in by_step:
        table = pa.table({"step": pc.struct_field(entries, "step"), "n": pc.struct_field(entries, name)})
        for row in table.group_by("step").aggregate([("n", "sum")]).to_pylist():
            counted[row["step"]] += row["n_sum"]
    return +counted
