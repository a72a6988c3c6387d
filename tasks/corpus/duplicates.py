"""Documents that tell the same: copies of an article, from sites that damaged it in different ways.

All of this works on texts that are clean and then folded (`folded`): Simplified, one width, no signs, no spaces. What
is damaged for good stands there as U+FFFD, and takes no part.

1. `sign` goes through a part and writes, for each document, a hash of its folded text, the keys of its MinHash
   signature (`BANDS` of them: documents that share one are candidates), and what ranks it.
2. `find` brings the signatures of all parts together. Documents with the same hash are one. Candidates are compared,
   text with text (`tells_the_same`), and joined. Each cluster is then told by its best document, the one kept, and
   those that resemble it.
3. `mark` writes what was found into a part: columns, or a move to `rejected`.

What comes out follows from the set of documents: neither their order nor the number of parts or processes matters. The
signatures of a dataset are computed again at each run and not stored: docs/adr/0014-duplicates.md has the figures.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.config import Dedup
from schemas.dataset import REJECTED
from schemas.document import Reason, Run
from tasks.publish.parts import Counts, Part, PartWriter
from tasks.steps.lines import fold

GRAM = 5
"""Characters of a shingle. Two articles on other matters share 0.5 % of those, copies of one 40 % and more."""

BANDS, BAND_ROWS = 128, 4
"""Documents are candidates if one of so many groups of so many minima is the same: that finds 99.9 % of pairs with a
Jaccard index of 0.5, 99 % at 0.44 and 86 % at 0.35, and 2 in 100,000 of those with 0.02 (most articles of a
paper have less)."""

SEED = 20261122
"""Of the hash functions. Any will do, as long as it stays."""

SHORTEST = 50
"""A text with less to it (`_weight`) is a copy only if it is the same: too little is left that could tell two apart."""

LETTERS = 3
"""So many letters or digits say as much as one ideograph: news in English has 2.6 for each in its translation."""

SAME_GRAMS = 0.35
"""Jaccard index that copies have at least. The lowest of 414 pairs of copies with different damage, light editing on
either side: 0.36; from 0.40 on but for 1 %."""

CONTAINED = 0.6
"""Share of the shorter text's shingles that copies have in common at least. Lowest of those 414: 0.62."""

HALF = 0.5
"""Share of the longer text's length that the shorter one has at least. All of `张克辉同志逝世` is in the report of the
funeral, which is longer, and it is no copy of that."""

LEADERS = 8
"""Documents of a bucket that the others are compared with. Copies that none of these is near meet in another band."""

Grams = NDArray[np.uint64]

_DROPPED = re.compile("[^\\w\ufffd]+|_+")

_LOST = "\ufffd"


# Folding


def folded(text: str, damage: Iterable[tuple[int, int]] = ()) -> str:
    """Letters, digits and ideographs of a text, with U+FFFD for characters that are damaged for good.

    Args:
        text: A clean text, in any script.
        damage: Where it is damaged: begin and end of each place, in order.
    """
    pieces, at = list[str](), 0
    for start, end in damage:
        pieces += text[at:start], _LOST * (end - max(start, at))
        at = max(at, end)
    # `著` is folded by hand: clone sites make it of every `着` (docs/adr/0006-script-conversion.md).
    return _DROPPED.sub("", fold("".join([*pieces, text[at:]])).replace("著", "着"))


def grams(text: str) -> Grams:
    """Hashes of the shingles of a folded text: each once, sorted. Those that U+FFFD is in are left out."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    n = max(len(codes) - GRAM + 1, 0)
    hashes, is_lost = np.zeros(n, np.uint64), np.zeros(n, bool)
    for i in range(GRAM if n else 0):
        codes_at = codes[i : i + n]
        is_lost |= codes_at == ord(_LOST)
        # Multiplying by the golden ratio spreads over the high bits, the shift brings these down (Fibonacci hashing).
        hashes = (hashes ^ codes_at) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes[~is_lost])


# Comparing two texts


class Likeness(NamedTuple):
    """How much two texts have in common, by their shingles."""

    jaccard: float
    """Those in both, of those in either: 0 to 1."""
    containment: float
    """Those in both, of those in the one that has fewer."""

    @property
    def is_near(self) -> bool:
        """Whether there is enough in common for copies."""
        return self.jaccard >= SAME_GRAMS and self.containment >= CONTAINED


def likeness(a: Grams, b: Grams) -> Likeness:
    """Compare two sets of shingles."""
    common = len(np.intersect1d(a, b, assume_unique=True))
    return Likeness(common / max(len(a) + len(b) - common, 1), common / max(min(len(a), len(b)), 1))


def _weight(text: str) -> int:
    """How much there is to a folded text: in ideographs."""
    n_other = len(_NO_IDEOGRAPH.findall(text))
    return len(text) - n_other + n_other // LETTERS


_NO_IDEOGRAPH = re.compile("[\x00-\u2e7f�]")


def tells_the_same(a: str, b: str) -> bool:
    """Whether two folded texts are copies of one, as far as they can be read.

    What was cut off, left out, or put before or behind does not count against it; words in the place of other words
    do. For what stock phrases have in common can be nearly all: `法文版` and `俄文版` of a book come out with the same
    words otherwise (0.89 of their shingles), a fortnight apart.
    """
    return likeness(grams(a), grams(b)).is_near and _fits(a, b)


def _fits(a: str, b: str) -> bool:
    """Whether neither text is much longer, and there are no more conflicts than repairs and editors leave.

    One in 150 characters, and fewer in long texts: 97 % of 889 pairs of copies have no more, with different damage and
    edited heavily on both sides. Of the 206 pairs in a year of news that are near and no copies all have more; the
    nearest are 270 characters of stock phrases with two other names in them.
    """
    shorter, longer = sorted((len(a), len(b)))
    n_chars = min(_weight(a), _weight(b))
    allowed = min(n_chars // 150, 4) + max(n_chars - 600, 0) // 400
    return shorter >= HALF * longer and conflicts(a, b) <= allowed


SLACK = 20
"""Characters that may stand on either side, before or behind what is common, a tenth of the text at most: a line of one
page in the place of another's. Lists of names, winning numbers and the like stand there as well."""

LONGEST = 20_000
"""Characters that are aligned: as much takes 10 ms, and time grows with the square."""

_GLUE = 4
"""Fewer common characters between two differences are chance."""


def conflicts(a: str, b: str) -> int:
    """How often two folded texts have other words in the same place."""
    a, b = a[:LONGEST], b[:LONGEST]
    slack = min(SLACK, min(len(a), len(b)) // 10)
    total = 0
    for i, j, k, l in _differences(a, b):  # noqa: E741  i to j in a, k to l in b
        is_at_end = i == 0 or k == 0 or j == len(a) or l == len(b)
        total += _conflict_at_end(a[i:j], b[k:l], slack) if is_at_end else _conflict(a[i:j], b[k:l])
    return total


def _differences(a: str, b: str) -> Iterator[tuple[int, int, int, int]]:
    """Where two texts differ: begin and end in one, begin and end in the other."""
    from rapidfuzz.distance import Levenshtein  # noqa: PLC0415  0.1 s that importers need not pay

    spans: list[tuple[int, int, int, int]] = []
    for op in Levenshtein.opcodes(a, b):
        if op.tag == "equal" and op.src_end - op.src_start >= _GLUE:
            continue
        if spans and (spans[-1][1], spans[-1][3]) == (op.src_start, op.dest_start):
            spans[-1] = (spans[-1][0], op.src_end, spans[-1][2], op.dest_end)
        else:
            spans.append((op.src_start, op.src_end, op.dest_start, op.dest_end))
    return (span for span in spans if a[span[0] : span[1]] != b[span[2] : span[3]])


_NUMBER = re.compile("[0-9]+")
_LATIN = re.compile("[a-z\u00e0-\u0261]")


def _conflict(x: str, y: str) -> int:
    """How much two readings of one place speak against copies."""
    fewer, more = sorted((len(x), len(y)))
    is_cut = fewer <= 2 and more >= 8  # a sentence more on one side, and a chance character in its place
    is_slip = fewer == 0 and more <= 2  # a character that an encoding lost, a gloss that stayed
    is_garbled = _LOST in x or _LOST in y or (more <= 12 and bool(_LATIN.search(x)) != bool(_LATIN.search(y)))
    if is_cut or is_slip or is_garbled:
        return 0
    numbers = _NUMBER.findall(x), _NUMBER.findall(y)
    return 1 + fewer // 25 + (all(numbers) and numbers[0] != numbers[1])


def _conflict_at_end(x: str, y: str, slack: int) -> int:
    fewer = min(len(x), len(y))
    return 1 + fewer // SLACK if fewer > slack and _LOST not in x + y else 0


# Signing a part

ROW = np.dtype(
    [
        ("doc_id", "S32"),
        ("hash", "<u8", 2),  # of the folded text
        ("damage", "<u4"),  # places
        ("edited", "<u2"),  # repairs per 100 characters
        ("published", "S25"),
        ("length", "<u4"),  # of the folded text, in bytes
        ("is_signed", "?"),  # long enough to have a signature
    ]
)
"""What is held in memory of a document: 84 bytes."""


class Signed(NamedTuple):
    """Files about the documents of a part, in their order."""

    rows: Path
    """An array of `ROW`."""
    bands: Path
    """An array of 32-bit keys, `BANDS` by documents: 512 bytes for each."""
    texts: Path
    """Folded texts in UTF-8, one after the other."""


_COLUMNS = ["doc_id", "text", "damage", "published_at", "n_chars", "edits_by_step"]

_BATCH_ROWS = 1000


def sign(part: Path, number: int, folder: Path) -> Signed:
    """Write the signatures of the documents in a part of `clean`.

    Raises:
        OSError: if a file can't be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Signed(*(folder / f"{name}-{number:06}" for name in Signed._fields))
    rows, bands = [np.empty(0, ROW)], [np.empty((BANDS, 0), np.uint32)]
    with pq.ParquetFile(part) as file, made.texts.open("wb") as texts:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=_COLUMNS):
            documents = batch.to_pylist()
            read = [folded(document["text"], _places(document["damage"])) for document in documents]
            shingles = list(map(grams, read))
            rows.append(_rows(documents, read, shingles))
            bands.append(_band_keys(shingles))
            texts.writelines(text.encode() for text in read)
    for path, pieces, axis in ((made.rows, rows, 0), (made.bands, bands, 1)):
        with path.open("wb") as out:
            np.save(out, np.concatenate(pieces, axis=axis))
    return made


def _places(damage: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    return [(place["start"], place["start"] + len(place["text"])) for place in damage]


_NOT_REPAIRS = {"script", "whitespace"}
"""Steps whose edits say nothing of damage: a page in Traditional is as good as one in Simplified."""


def _rows(documents: Sequence[Mapping[str, Any]], read: Sequence[str], shingles: Sequence[Grams]) -> NDArray[Any]:
    rows = np.zeros(len(documents), ROW)
    for row, document, text, shingle in zip(rows, documents, read, shingles, strict=True):
        repairs = sum(entry["edits"] for entry in document["edits_by_step"] if entry["step"] not in _NOT_REPAIRS)
        row["doc_id"] = document["doc_id"]
        row["hash"] = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), "<u8")
        row["damage"] = len(document["damage"])
        row["edited"] = min(100 * repairs // max(document["n_chars"], 1), 0xFFFF)
        row["published"] = (document["published_at"] or "~").encode("ascii", "replace")  # ~ comes after all dates
        row["length"] = len(text.encode())
        row["is_signed"] = len(shingle) > SHORTEST - GRAM and _weight(text) >= SHORTEST
    return rows


def _band_keys(shingles: Sequence[Grams]) -> NDArray[np.uint32]:
    """Keys of the bands, by band and document."""
    from rensa import RMinHash  # noqa: PLC0415  as above

    ends = np.cumsum([0, *map(len, shingles)], dtype=np.uint64)
    flat = np.concatenate([np.empty(0, np.uint64), *shingles])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, num_perm=BANDS * BAND_ROWS, seed=SEED)
    minima = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(shingles), BANDS, BAND_ROWS)
    keys = np.zeros((len(shingles), BANDS), np.uint64)
    for i in range(BAND_ROWS):
        keys = (keys ^ minima[:, :, i]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(32)
    return keys.astype(np.uint32).T


# Finding


class _Corpus:
    """Documents of all parts, best first: document 0 is kept whatever it is like, 1 unless it is like 0, and so on."""

    def __init__(self, signed: Sequence[Signed]) -> None:
        rows = np.concatenate([np.load(made.rows) for made in signed])
        longest_first = -rows["length"].astype(np.int64)
        self.order = np.lexsort((rows["doc_id"], longest_first, rows["published"], rows["edited"], rows["damage"]))
        """Where the documents stand in the parts."""
        self.rows = rows[self.order]
        lengths = [np.load(made.rows)["length"].astype(np.int64) for made in signed]
        starts = [np.cumsum(of_part) - of_part for of_part in lengths]
        self._start = np.concatenate(starts)[self.order]
        self._part = np.repeat(np.arange(len(signed)), list(map(len, lengths)))[self.order]
        self._bands = [np.load(made.bands, mmap_mode="r") for made in signed]
        self._texts = [_mapped(made.texts) for made in signed]
        self.grams = lru_cache(maxsize=1000)(self._grams)
        self.parent = np.arange(len(rows))
        """The best document that is known to tell the same, or one on the way there."""

    def text(self, i: int) -> str:
        start = int(self._start[i])
        found: bytes = self._texts[self._part[i]][start : start + int(self.rows["length"][i])]
        return found.decode()

    def _grams(self, i: int) -> Grams:
        return grams(self.text(i))

    def likeness(self, i: int, j: int) -> Likeness:
        return likeness(self.grams(i), self.grams(j))

    def band(self, number: int) -> NDArray[np.uint32]:
        """Keys of all documents in a band."""
        keys: NDArray[np.uint32] = np.concatenate([bands[number] for bands in self._bands])[self.order]
        return keys

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = int(self.parent[i])
        return i

    def join(self, i: int, j: int) -> None:
        first, second = sorted((self.root(i), self.root(j)))
        self.parent[second] = first

    def settle(self) -> None:
        """Have every parent be a root."""
        while not np.array_equal(above := self.parent[self.parent], self.parent):
            self.parent = above


def _mapped(path: Path) -> "mmap | bytes":
    """An empty file can't be mapped."""
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""


VERDICT = np.dtype([("kept", "S32"), ("size", "<u4"), ("similarity", "<f8")])
"""What was found about a document: the doc_id of the one kept in its place (empty if that is itself), how many
documents tell the same (0 if no other does), and its Jaccard index with the one kept."""


def find(signed: Sequence[Signed]) -> list[NDArray[Any]]:
    """Which documents tell the same, for each part an array of `VERDICT`.

    Raises:
        OSError: if a file can't be read.
    """
    if not signed:
        return []
    corpus = _Corpus(signed)
    _join_equal(corpus)
    _join_near(corpus)
    verdicts = np.zeros(len(corpus.rows), VERDICT)
    for kept, others in _clusters(corpus):
        verdicts["size"][corpus.order[[kept, *others]]] = len(others) + 1
        for i, similarity in others.items():
            verdicts[corpus.order[i]] = (corpus.rows["doc_id"][kept], len(others) + 1, similarity)
    ends = np.cumsum([len(np.load(made.rows, mmap_mode="r")) for made in signed])
    return np.split(verdicts, ends[:-1])


def _join_equal(corpus: _Corpus) -> None:
    """Join documents whose folded text is the same, and not empty, to the best of them."""
    hashes = corpus.rows["hash"]
    order = np.lexsort((hashes[:, 0], hashes[:, 1]))  # stable: within a hash the best comes first
    is_first = np.append(True, np.any(np.diff(hashes[order].astype(np.uint64), axis=0) != 0, axis=1))[: len(order)]
    firsts = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    has_text = corpus.rows["length"][order] > 0
    corpus.parent[order[has_text]] = firsts[has_text]


def _join_near(corpus: _Corpus) -> None:
    """Join candidates that tell the same."""
    distinct = np.flatnonzero(corpus.rows["is_signed"] & (corpus.parent == np.arange(len(corpus.rows))))
    refused = set[tuple[int, int]]()
    for number in range(BANDS):
        keys = corpus.band(number)[distinct]
        corpus.settle()
        for bucket in _open_buckets(keys, corpus.parent[distinct]):
            _join_bucket(corpus, distinct[bucket].tolist(), refused)
    corpus.settle()


def _open_buckets(keys: NDArray[np.uint32], roots: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Groups of documents with the same key, best first, that are not all joined yet."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0)[: len(order)])
    sizes = np.diff(np.append(starts, len(order)))
    is_other = roots[order] != np.repeat(roots[order][starts], sizes)
    is_open = np.logical_or.reduceat(is_other, starts) if len(starts) else is_other
    for start, size in zip(starts[is_open], sizes[is_open], strict=True):
        yield order[start : start + size]


def _join_bucket(corpus: _Corpus, bucket: Iterable[int], refused: set[tuple[int, int]]) -> None:
    """Compare the documents of a bucket, and note those that do not tell the same."""
    leaders: list[int] = []
    for i in bucket:
        for leader in leaders:
            if corpus.root(leader) == corpus.root(i):
                break
            if (leader, i) in refused:
                continue
            if _are_copies(corpus, leader, i):
                corpus.join(leader, i)
                break
            refused.add((leader, i))
        else:
            leaders += [i] if len(leaders) < LEADERS else []


def _are_copies(corpus: _Corpus, i: int, j: int) -> bool:
    """As `tells_the_same`, with shingles that are at hand."""
    return corpus.likeness(i, j).is_near and _fits(corpus.text(i), corpus.text(j))


def _clusters(corpus: _Corpus) -> Iterator[tuple[int, dict[int, float]]]:
    """Each document that is kept for others, and these with their similarity to it.

    Documents can be joined by way of others and have little in common: the best one stands for those that are like
    it, the best one of the rest for others, and so on.
    """
    order = np.argsort(corpus.parent, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(corpus.parent[order]) != 0)[: len(order)])
    for members in np.split(order, starts[1:]):
        rest: list[int] = members.tolist() if len(members) > 1 else []
        while rest:
            kept, *others = rest
            similar = {i: _similarity(corpus, kept, i) for i in others}
            rest = [i for i in others if similar[i] is None]
            if found := {i: value for i, value in similar.items() if value is not None}:
                yield kept, found


def _similarity(corpus: _Corpus, kept: int, i: int) -> float | None:
    """The Jaccard index of two documents; None if one can't stand for the other."""
    if np.array_equal(corpus.rows["hash"][kept], corpus.rows["hash"][i]):
        return 1.0
    found = corpus.likeness(kept, i)
    return found.jaccard if found.is_near else None


# Marking a part


def mark(part: Part, verdicts: NDArray[Any], dedup: Dedup, run: Run, folder: Path) -> list[Part]:
    """Write what was found into a part of `clean`: the part in its place, and one of `rejected` where any go there.

    A part that nothing was found about stays as it is.

    Raises:
        OSError: if a part can't be read or written.
    """
    if not verdicts["size"].any():
        return [part]
    writers = {
        table: PartWriter(table, run.pipeline_version, run.rules_digest, folder) for table in ("clean", "rejected")
    }
    counts = part.counts
    try:
        for row, verdict in zip(_rows_of(part.path), verdicts, strict=True):
            marked = _marked(row, verdict)
            goes = dedup == "drop" and marked["duplicate_of"] is not None
            writers["rejected" if goes else "clean"].add(_rejected(marked) if goes else marked, Counts())
            counts += _moved(row) if goes else Counts(duplicates=int(marked["duplicate_of"] is not None))
        parts = [made for writer in writers.values() if (made := writer.finish())]
    finally:
        for writer in writers.values():
            writer.discard()
    return [replace(parts[0], counts=counts), *parts[1:]]


def _rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            yield from batch.to_pylist()


def _marked(row: Mapping[str, Any], verdict: Any) -> dict[str, Any]:
    kept = verdict["kept"].decode()
    return {
        **row,
        "duplicate_of": kept or None,
        "duplicate_similarity": float(verdict["similarity"]) if kept else None,
        "cluster_size": int(verdict["size"]) or None,
    }


def _rejected(row: Mapping[str, Any]) -> dict[str, Any]:
    detail = f"It tells the same as document {row['duplicate_of']} (similarity {row['duplicate_similarity']:.2f})."
    return {"reason": str(Reason.DUPLICATE), "detail": detail, **{k: v for k, v in row.items() if k in REJECTED.names}}


def _moved(row: Mapping[str, Any]) -> Counts:
    """What a document that goes from `clean` to `rejected` adds to the counts."""
    return Counts(
        clean=-1,
        rejected=Counter({str(Reason.DUPLICATE): 1}),
        chars_out=-row["n_chars"],
        langs=Counter({row["lang"]: -1}),
        scripts=Counter({row["script_source"]: -1}),
    )
