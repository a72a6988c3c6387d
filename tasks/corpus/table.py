"""The table `lines`: what was learned about sites, made once at the end of a run, from the index of all batches.

It follows from the documents that there are, whether this run has cleaned them or one before. Texts are read of those
documents alone in which a line is quoted, one for each line.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.document import Reason
from tasks.corpus.learned import text_before
from tasks.corpus.lines import (
    COUNTS,
    FEATURES,
    Recurring,
    Rows,
    flat,
    lines_and_documents,
    look_up,
    places,
    run_starts,
)
from tasks.publish.parts import BatchFiles
from tasks.steps.lines import lines_of

UNUSABLE = (Reason.FAILED, Reason.CRASHED)
"""Documents rejected for that have lost their text after their lines were counted: they are quoted last."""

FOUND = np.dtype([("row", "<i8"), ("document", "<u4"), ("slot", "<u1"), ("is_told", "?"), ("is_removed", "?")])
"""That a document has a line: a row of `Recurring`, the document's place in its batch, which of its sites that is (past
the last: the whole corpus), whether no site before it has the very same counts, and whether it went from the document.
"""


class Quoted(NamedTuple):
    """The document that a line is quoted from; the smallest is."""

    is_unusable: bool
    source_uri: str
    record: str
    batch: int
    doc_id: str
    is_revised: bool
    """Whether learned lines went from it."""


class Noted(NamedTuple):
    """What is known of a line on a site, besides its counts. They add up."""

    site: str
    n_told: int
    """Documents that have the line on no site before this one with the very same counts."""
    n_removed: int
    quoted: Quoted

    def __add__(self, other: "Noted") -> "Noted":  # type: ignore[override]
        """Of the documents of both."""
        sums = self.n_told + other.n_told, self.n_removed + other.n_removed
        return Noted(self.site, *sums, min(self.quoted, other.quoted))


def lines_table(batches: Sequence[BatchFiles], known: Recurring, threshold: int) -> Iterator[dict[str, Any]]:
    """Rows of the table `lines`, in order of site and fingerprint. It takes some 500 bytes a row in memory.

    Args:
        batches: All documents of the dataset, each once.
        known: The counts over them.
        threshold: Bodies that a line has at least (`learn_from`).

    Raises:
        OSError: if a part can't be read.
        EditError: if edits do not belong to their text.
    """
    noted: dict[int, Noted] = {}
    candidates = known.candidates(threshold)
    for number, batch in enumerate(batches):
        for row, note in _noted(batch, number, known, candidates, threshold):
            noted[row] = noted[row] + note if row in noted else note
    told = {row: note for row, note in noted.items() if note.n_told}
    lines = _quotes(batches, told, known)
    for row, note in sorted(told.items(), key=lambda item: (item[1].site, known.line(item[0]))):
        documents, bodies, of, _ = (int(known.columns[name][row]) for name in COUNTS)
        yield {
            "site": note.site,
            "fingerprint": f"{known.line(row):016x}",
            "line": lines[row],
            "documents": documents,
            "bodies": bodies,
            "site_documents": of,
            "is_furniture": bool(known.columns["furniture"][row]),
            "removed": note.n_removed,
        }


# Which documents have which lines

_QUOTED = ["doc_id", "source_uri", "record", "reason", "sites", "removed_lines"]
_COLUMNS = list(dict.fromkeys([*_QUOTED, *FEATURES.names]))


def _noted(
    batch: BatchFiles, number: int, known: Recurring, candidates: Rows, threshold: int
) -> Iterator[tuple[int, Noted]]:
    """What the documents of a batch say of lines that have bodies enough, by rows of `Recurring`."""
    table = pq.read_table(batch.index, columns=_COLUMNS)
    found = _found(table, batch.gone, known, candidates, threshold)
    if not len(found):
        return
    found = found[np.lexsort((_ranks(table)[found["document"]], found["row"]))]
    starts = run_starts(found["row"])
    first = found[starts]
    sums = (np.add.reduceat(found[name], starts, dtype=np.int64).tolist() for name in ("is_told", "is_removed"))
    documents = table.select(_QUOTED).take(pa.array(first["document"])).to_pylist()
    rows, slots = first["row"].tolist(), first["slot"].tolist()
    for row, slot, document, n_told, n_removed in zip(rows, slots, documents, *sums, strict=True):
        site = document["sites"][slot] if slot < len(document["sites"]) else ""
        yield row, Noted(site, n_told, n_removed, _quoted(document, number))


def _quoted(document: Mapping[str, Any], number: int) -> Quoted:
    is_unusable = document["reason"] in UNUSABLE
    source = document["source_uri"], document["record"]
    return Quoted(is_unusable, *source, number, document["doc_id"], bool(document["removed_lines"]))


def _ranks(table: pa.Table) -> Rows:
    """Places of documents in the order of `Quoted`."""
    is_unusable = pc.cast(pc.is_in(table["reason"], pa.array(UNUSABLE, pa.string())), pa.int8())
    columns = {"is_unusable": is_unusable, "source_uri": table["source_uri"], "record": table["record"]}
    order = pc.sort_indices(pa.table(columns), [(name, "ascending") for name in columns])
    ranks = np.empty(len(table), np.int64)
    ranks[order.to_numpy()] = np.arange(len(table))
    return ranks


def _found(table: pa.Table, gone: frozenset[str], known: Recurring, candidates: Rows, threshold: int) -> Rows:
    """Lines that have bodies enough in the documents of a batch, as `FOUND`."""
    lines, documents = lines_and_documents(table, gone)
    lines = lines[look_up(candidates, lines["line"]) >= 0]
    at = known.find(lines["line"], lines["document"], documents["sites"])
    if not at.size:
        return np.empty(0, FOUND)
    at[known.columns["bodies"][at] < threshold] = -1
    line, slot = np.nonzero(at >= 0)
    found = np.empty(len(line), FOUND)
    found["row"], found["document"], found["slot"] = at[line, slot], lines["document"][line], slot
    found["is_told"] = _telling(at, known)[line, slot]
    found["is_removed"] = _is_removed(lines, table, candidates)[line]
    return found


def _is_removed(lines: Rows, table: pa.Table, candidates: Rows) -> Rows:
    """Whether lines went from their documents."""
    fingerprints, document, _ = flat(table["removed_lines"])
    place = look_up(candidates, fingerprints.to_numpy())
    removed = (document * len(candidates) + place)[place >= 0]
    own = lines["document"].astype(np.int64) * len(candidates) + look_up(candidates, lines["line"])
    is_removed: Rows = np.isin(own, removed)
    return is_removed


def _telling(at: Rows, known: Recurring) -> Rows:
    """Which of the rows of a line to tell: not those of sites around one that say the same as it does."""
    counts = [known.columns[name][at] for name in COUNTS]
    is_told: Rows = at >= 0
    slots = np.flatnonzero(is_told.any(0)).tolist()
    for later in slots:
        for earlier in slots[: slots.index(later)]:
            is_same = np.logical_and.reduce([count[:, earlier] == count[:, later] for count in counts])
            is_told[:, later] &= (at[:, earlier] < 0) | ~is_same
    return is_told


# What they say


def _quotes(batches: Sequence[BatchFiles], told: Mapping[int, Noted], known: Recurring) -> dict[int, str]:
    """The line of each row as the document has it that it is quoted from, before learned lines went."""
    wanted: dict[int, dict[Quoted, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, note in told.items():
        wanted[note.quoted.batch][note.quoted].append(row)
    lines = dict.fromkeys(told, "")
    for number, rows in wanted.items():
        for quoted, text in _texts(batches[number], list(rows)):
            near = {place.fingerprint: place.line.text for place in reversed(places(lines_of(text)))}
            lines.update({row: near.get(int(known.line(row)), "") for row in rows[quoted]})
    return lines


def _texts(batch: BatchFiles, quoted: Sequence[Quoted]) -> Iterator[tuple[Quoted, str]]:
    """Clean texts of some documents, before learned lines went."""
    by_id = {one.doc_id: one for one in quoted}
    # Edits take longer to read than texts, and most lines that are told are no furniture.
    logs = dict(_read(batch.edits, "edits", [one.doc_id for one in quoted if one.is_revised]))
    for path in (batch.clean, batch.rejected):
        for doc_id, text in _read(path, "text", list(by_id)):
            yield by_id[doc_id], text_before(text or "", logs.get(doc_id, []))


def _read(path: Path | None, column: str, doc_ids: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """A column of a part for some documents."""
    if path is not None and doc_ids:
        is_wanted = pc.field("doc_id").isin(doc_ids)
        table = pq.read_table(path, columns=["doc_id", column], filters=is_wanted)
        yield from zip(table["doc_id"].to_pylist(), table[column].to_pylist(), strict=True)
