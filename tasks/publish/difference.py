"""What differs between two snapshots: documents, characters, and which rule did it.

Parts that both snapshots share are not opened. Of the others, columns of ids and hashes are read first, some hundred
bytes a document; then texts and edit logs of those documents that differ, a batch of each snapshot at a time.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rapidfuzz.distance import Indel, LCSseq

from schemas.document import Edit, Stage
from tasks.publish.snapshots import Batch, DamagedError, DatasetError, Snapshot
from tasks.publish.store import Store
from tasks.steps.edits import EditError
from tasks.steps.log import take_back

Progress = Callable[[int, int], None]
"""Takes the number of documents whose texts or edits were compared, and of those there are to compare."""

Side = Literal["gone", "new"]
"""Edits that only the first snapshot has, or only the second one."""

Array = np.ndarray[Any, Any]

EXAMPLES = 3
"""Edits that are told of a rule, for either side: each from another document."""

CONTEXT = 16
"""Characters told on either side of an edit."""

LONGEST = 72
"""Characters told of an edit's `before` and `after`; the middle of more is left out. As on a terminal."""

_CELLS = 100_000_000
"""Of the matrix that a longest common subsequence takes, or of a band of it: 0.1 s."""

_PIECE_END = re.compile(r"(?<=[\n。！？])")

_TABLES = ("clean", "edits", "rejected")

_COLUMNS = np.dtype(
    [
        ("id", "S32"),
        ("raw", "u8"),  # hashes, their first 64 bits; 0 where there is none
        ("text", "u8"),
        ("run", "u8"),
        ("duplicate_of", "u8"),
        ("cluster", "u4"),
        ("reason", "S16"),  # empty if it is clean
        ("chars", "u4"),  # of the text in `clean`
        ("batch", "u4"),  # position among the batches that are compared
    ]
)


class Example(NamedTuple):
    """An edit with what stands around it."""

    side: Side
    doc_id: str
    left: str
    before: str
    after: str
    right: str


@dataclass(slots=True)
class RuleChange:
    """What a rule did in one snapshot and not in the other, to documents whose raw bytes are the same in both."""

    edits: Counter[Side] = field(default_factory=Counter)
    """Characters that were replaced one by one (script conversion) count one by one."""
    documents: Counter[Side] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)


class Chars(NamedTuple):
    """Characters of texts in `clean`: `added` - `removed` is by how much these grew."""

    removed: int = 0
    added: int = 0


@dataclass(slots=True)
class Difference:
    """From one snapshot to another.

    Kinds of documents: `added`, `removed`; `changed` (other raw bytes); `recleaned` (the same bytes, another text, so
    that rules, settings or other pages of the site did it); `moved` between clean and a reason, or two reasons;
    `marked` (clean in both, with another `duplicate_of` or `cluster_size`). One that moved or is marked can be of
    another kind as well.
    """

    first: Snapshot
    second: Snapshot
    ids: dict[str, list[str]]
    """By kind, sorted."""
    moves: Counter[tuple[str, str]]
    """From where to where: a reason, or `clean`."""
    chars: dict[str, Chars]
    """By kind, where a document that moved into `clean` or out of it counts as moved and nothing else."""
    rules: dict[tuple[str, str], RuleChange] = field(default_factory=dict)
    """By step and rule."""
    compared: int = 0
    """Documents whose texts and edits were compared; all but `chars` of whole documents and `ids` is of these."""
    comparable: int = 0
    """Those that could have been."""
    redecoded: int = 0
    """Documents with the same raw bytes that were decoded, or taken out of their page, in another way."""


def compare(  # noqa: PLR0913 (one for each way to bound it)
    store: Store,
    first: Snapshot,
    second: Snapshot,
    progress: Progress | None = None,
    *,
    texts: bool = True,
    most: int | None = None,
) -> Difference:
    """What differs from one snapshot to another.

    Without `texts`, only what ids and hashes tell: documents, and by whole texts that came or went the characters. With
    `most`, texts and edits of at most so many documents are compared, spread evenly.

    How characters are counted: sentences (pieces that end with a line feed or one of `。！？`) that both texts have as
    often are left out, wherever they stand; of the rest, what a longest common subsequence leaves out is removed or
    added. Rests that are too large and too different for that count in full, but for what they begin and end with.

    Raises:
        DatasetError: if one of them is of a version without batches.
        DamagedError: if something of them is missing or can't be read.
    """
    for snapshot in (first, second):
        if "clean" in snapshot.singles and snapshot.rows("clean") and not snapshot.batches:
            raise DatasetError(
                f"snapshot {snapshot.number} of {store.name} has schema version {snapshot.schema_version}: it can't be "
                "compared. The next run replaces it"
            )
    try:
        return _compare(store, first, second, progress or _nobody if texts else None, most)
    except (OSError, pa.ArrowException, EditError, KeyError) as error:
        raise DamagedError(
            f"snapshots {first.number} and {second.number} of {store.name} can't be compared: {error}. Look whether "
            f"they are still there (qingyuan snapshots {store.name}), and whole (qingyuan verify {store.name})"
        ) from error


def _nobody(_done: int, _all: int) -> None:
    """Report to nobody."""


def _compare(
    store: Store, first: Snapshot, second: Snapshot, progress: Progress | None, most: int | None
) -> Difference:
    batches = _not_shared(first.batches, second.batches), _not_shared(second.batches, first.batches)
    a, b = (_documents(store, side) for side in batches)
    _, at_a, at_b = np.intersect1d(a["id"], b["id"], assume_unique=True, return_indices=True)
    added, removed = np.delete(b, at_b), np.delete(a, at_a)
    a, b = a[at_a], b[at_b]
    kinds = _kinds(a, b)
    ids = {"added": added, "removed": removed, **{kind: b[mask] for kind, mask in kinds.items()}}
    moves = Counter(zip(_places(a[kinds["moved"]]), _places(b[kinds["moved"]]), strict=True))
    chars = {"added": Chars(0, int(added["chars"].sum())), "removed": Chars(int(removed["chars"].sum()), 0)}
    found = Difference(first, second, {kind: _ids(rows) for kind, rows in ids.items()}, moves, chars)
    if progress is None:
        return found
    # What one run made of the same bytes is one row: carried over, it was at most marked, or dropped.
    cleaned_twice = (a["raw"] == b["raw"]) & (a["run"] != b["run"])
    is_read = kinds["moved"] | (a["text"] != b["text"]) | cleaned_twice
    read = np.flatnonzero(is_read)
    found.comparable = len(read)
    if most is not None and len(read) > most:
        read = read[np.linspace(0, len(read) - 1, most).astype(int)]
    for done, pair in enumerate(_versions(store, batches, a[read], b[read]), 1):
        _compare_versions(found, *pair)
        found.compared = done
        progress(done, len(read))
    return found


def _not_shared(batches: Iterable[Batch], others: Iterable[Batch]) -> list[Batch]:
    """Batches that the other snapshot does not have with the same rows."""
    shared = {_content(batch) for batch in others}
    return [batch for batch in batches if _content(batch) not in shared]


def _content(batch: Batch) -> tuple[str, ...]:
    return tuple(batch.parts[table].sha256 if table in batch.parts else "" for table in _TABLES)


def _documents(store: Store, batches: Iterable[Batch]) -> Array:
    parts = [
        _columns(pq.read_table(store.path(batch.parts[table]), columns=_names(table)), at)
        for at, batch in enumerate(batches)
        for table in ("clean", "rejected")
        if table in batch.parts
    ]
    return np.concatenate([np.empty(0, _COLUMNS), *parts])


def _names(table: str) -> list[str]:
    own = {"clean": ["n_chars", "duplicate_of", "cluster_size"], "rejected": ["reason"]}
    return ["doc_id", "raw_sha256", "text_sha256", "run_id", *own[table]]


def _columns(table: pa.Table, batch: int) -> Array:
    rows = np.zeros(table.num_rows, _COLUMNS)
    rows["id"] = table["doc_id"].to_pylist()
    rows["batch"] = batch
    hashes = {"raw": "raw_sha256", "text": "text_sha256", "run": "run_id", "duplicate_of": "duplicate_of"}
    for name, column in hashes.items():
        if column in table.column_names:
            rows[name] = _hashed(table[column])
    if "reason" in table.column_names:
        rows["reason"] = table["reason"].to_pylist()
    else:
        rows["chars"] = table["n_chars"]
        rows["cluster"] = pc.fill_null(table["cluster_size"], 0)
    return rows


def _hashed(column: pa.ChunkedArray) -> Array:
    """64 bits of each value, whatever it looks like; 0 for none."""
    digests = (
        hashlib.blake2b(value.encode(), digest_size=8).digest() if value else bytes(8) for value in column.to_pylist()
    )
    return np.frombuffer(b"".join(digests), "u8")


def _kinds(a: Array, b: Array) -> dict[str, Array]:
    """Which of the documents that both have are of which kind."""
    same_bytes, both_clean = a["raw"] == b["raw"], (a["reason"] == b"") & (b["reason"] == b"")
    other_marks = (a["duplicate_of"] != b["duplicate_of"]) | (a["cluster"] != b["cluster"])
    return {
        "changed": ~same_bytes,
        "recleaned": same_bytes & (a["text"] != b["text"]),
        "moved": a["reason"] != b["reason"],
        "marked": both_clean & other_marks,
    }


def _places(rows: Array) -> list[str]:
    return [reason.decode() or "clean" for reason in rows["reason"].tolist()]


def _ids(rows: Array) -> list[str]:
    return sorted(doc_id.decode() for doc_id in rows["id"].tolist())


@dataclass(frozen=True, slots=True)
class _Version:
    """A document as one snapshot has it."""

    doc_id: str
    raw: int
    table: str
    text: str | None
    decoded: str | None
    """Hash of what its edits started from."""
    log: pa.Array
    """One list of edits."""

    @property
    def clean_text(self) -> str:
        return self.text or "" if self.table == "clean" else ""


def _versions(
    store: Store, batches: tuple[Sequence[Batch], Sequence[Batch]], a: Array, b: Array
) -> Iterator[tuple[_Version, _Version]]:
    """Both versions of documents, given in the same order; no more than a batch of each snapshot is in memory."""
    order = np.lexsort((a["batch"], b["batch"]))
    a, b = a[order], b[order]
    for of_b in _runs(b["batch"]):
        second = _read(store, batches[1][int(b["batch"][of_b.start])], b[of_b])
        for within in _runs(a["batch"][of_b]):
            rows = a[of_b][within]
            first = _read(store, batches[0][int(rows["batch"][0])], rows)
            for doc_id, version in first.items():
                yield version, second[doc_id]


def _runs(values: Array) -> Iterator[slice]:
    """Stretches of equal values."""
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from (slice(start, end) for start, end in pairwise(starts) if end > start)


def _read(store: Store, batch: Batch, rows: Array) -> dict[str, _Version]:
    """Documents of a batch, by id."""
    raw = dict(zip(_decoded(rows), rows["raw"].tolist(), strict=True))
    logs = _rows(store, batch, "edits", ["doc_id", "edits"], raw)
    lists = logs["edits"].combine_chunks()
    log_of = {doc_id: lists.slice(at, 1) for at, doc_id in enumerate(logs["doc_id"].to_pylist())}
    found = {}
    for table in ("clean", "rejected"):
        texts = _rows(store, batch, table, ["doc_id", "text", "decoded_sha256"], raw) if table in batch.parts else None
        for row in texts.to_pylist() if texts else ():
            doc_id, text, decoded = row.values()
            found[doc_id] = _Version(doc_id, raw[doc_id], table, text, decoded, log_of[doc_id])
    return found


def _decoded(rows: Array) -> list[str]:
    return [doc_id.decode() for doc_id in rows["id"].tolist()]


def _rows(store: Store, batch: Batch, table: str, columns: list[str], ids: Iterable[str]) -> pa.Table:
    wanted = pc.field("doc_id").isin(pa.array(ids, pa.string()))
    return pq.read_table(store.path(batch.parts[table]), columns=columns, filters=wanted)


def _compare_versions(found: Difference, first: _Version, second: _Version) -> None:
    same_bytes = first.raw == second.raw
    kind = "moved" if first.table != second.table else "recleaned" if same_bytes else "changed"
    removed, added = chars_changed(first.clean_text, second.clean_text)
    so_far = found.chars.get(kind, Chars())
    found.chars[kind] = Chars(so_far.removed + removed, so_far.added + added)
    if same_bytes:
        found.redecoded += first.decoded != second.decoded
        if not first.log.equals(second.log):
            _compare_logs(found.rules, first, second)


def chars_changed(first: str, second: str) -> Chars:
    """Characters that lead from one text to another, as `compare` counts them."""
    if first == second:
        return Chars()
    pieces, others = _PIECE_END.split(first), _PIECE_END.split(second)
    old, new = _rest(pieces, others), _rest(others, pieces)
    common = _common(old, new)
    return Chars(len(old) - common, len(new) - common)


def _rest(pieces: list[str], others: list[str]) -> str:
    """What the other text does not have as often."""
    surplus = Counter(pieces) - Counter(others)
    kept = []
    for piece in pieces:
        if surplus[piece] > 0:
            surplus[piece] -= 1
            kept.append(piece)
    return "".join(kept)


def _common(old: str, new: str) -> int:
    """Length of the longest common subsequence; if that takes too long, of what both begin and end with."""
    if len(old) * len(new) <= _CELLS:
        return LCSseq.similarity(old, new)
    start = _common_start(old, new)
    end = _common_start(old[start:][::-1], new[start:][::-1])
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    most = _CELLS // max(len(old), len(new), 1)  # of characters that differ, since only so wide a band is looked at
    distance = Indel.distance(old, new, score_cutoff=most)
    return start + end + ((len(old) + len(new) - distance) // 2 if distance <= most else 0)


def _common_start(old: str, new: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


_Atom = tuple[str, str, str, str]
"""Step, rule, before, after."""


def _compare_logs(rules: dict[tuple[str, str], RuleChange], first: _Version, second: _Version) -> None:
    """Count the edits that only one version has, wherever they stand."""
    stages = _stages(first), _stages(second)
    old, new = (Counter(atom for stage, _ in side for edit in stage.edits for atom in _atoms(edit)) for side in stages)
    _add(rules, "gone", old - new, stages[0], first.doc_id)
    _add(rules, "new", new - old, stages[1], second.doc_id)


def _stages(version: _Version) -> list[tuple[Stage, str]]:
    """Stages, in order, with the texts that they received."""
    return list(take_back(version.text or "", version.log.to_pylist()[0]))[::-1]


def _atoms(edit: Edit) -> Iterator[_Atom]:
    """An edit as what counts as one: neighbours that are converted make one edit or two as it happens."""
    if len(edit.before) == len(edit.after):
        yield from ((edit.step, edit.rule, a, b) for a, b in zip(edit.before, edit.after, strict=True) if a != b)
    else:
        yield edit.step, edit.rule, edit.before, edit.after


def _add(
    rules: dict[tuple[str, str], RuleChange],
    side: Side,
    surplus: Mapping[_Atom, int],
    stages: Sequence[tuple[Stage, str]],
    doc_id: str,
) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    for (step, name, _, _), n in surplus.items():
        counted[step, name] += n
    for rule, n in counted.items():
        change = rules.setdefault(rule, RuleChange())
        change.edits[side] += n
        change.documents[side] += 1
        if sum(example.side == side for example in change.examples) < EXAMPLES:
            change.examples.append(_example(rule, side, surplus, stages, doc_id))


def _example(
    rule: tuple[str, str],
    side: Side,
    surplus: Mapping[_Atom, int],
    stages: Sequence[tuple[Stage, str]],
    doc_id: str,
) -> Example:
    """The first edit of a rule that the other version does not have."""
    edit, text = next(
        (edit, text)
        for stage, text in stages
        for edit in stage.edits
        if (edit.step, edit.rule) == rule and any(atom in surplus for atom in _atoms(edit))
    )
    end = edit.start + len(edit.before)
    left, right = text[max(0, edit.start - CONTEXT) : edit.start], text[end : end + CONTEXT]
    return Example(side, doc_id, left, _abridged(edit.before), _abridged(edit.after), right)


def _abridged(text: str) -> str:
    # So short that with the figure it is no longer than `LONGEST`.
    return text if len(text) <= LONGEST else f"{text[:20]} … {text[-20:]} ({len(text):,} characters)"
