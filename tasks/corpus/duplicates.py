"""Documents that tell the same: copies of an article, from sites that damaged it in different ways.

All of this works on texts that are clean and then folded (`folded`): Simplified, one width, no signs, no spaces. What
is damaged for good stands there as U+FFFD, and takes no part.

1. `signatures` gives what the index (`schemas.index`) stores of a document, once in its life: a hash of its folded
   text, the keys of its MinHash signature (`BANDS` of them: documents that share one are candidates), what ranks it.
2. `gather` brings the indexes of all batches together. Documents with the same hash are one. It names the candidates:
   the only ones whose texts are needed. `fold_batch` gets these.
3. `find_marks` compares them, text with text (`tells_the_same`), and joins. Each cluster is then told by its best
   document, the one kept, and those that resemble it. It returns what differs from what the index has.
4. `mark_tables` writes that into the tables of a batch: columns, moves to `rejected`, and moves back.

What comes out follows from the set of documents: neither their order nor the number of batches or processes matters,
nor what was found before. docs/adr/0014-duplicates.md has the figures.
"""

import hashlib
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.config import Dedup
from schemas.dataset import CLEAN, REJECTED
from schemas.document import Reason, places
from tasks.publish.parts import BatchFiles
from tasks.scripts import codes, text_of
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

_LOST = "\ufffd"


_GOLDEN, _BITS = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)

# Folding


def folded(text: str, damage: Iterable[tuple[int, int]] = ()) -> str:
    """Letters, digits and ideographs of a text, with U+FFFD for characters that are damaged for good.

    Args:
        text: A clean text, in any script.
        damage: Where it is damaged: begin and end of each place, in order.
    """
    chars, _ = _folded([_marked(text, damage)])
    return text_of(chars)


def _marked(text: str, damage: Iterable[tuple[int, int]]) -> str:
    pieces, at = list[str](), 0
    for start, end in damage:
        pieces += text[at:start], _LOST * (end - max(start, at))
        at = max(at, end)
    return "".join([*pieces, text[at:]])


def _folded(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Code points of texts folded, one after the other, and where each begins; and their end."""
    # `著` is folded by hand: clone sites make it of every `着` (docs/adr/0006-script-conversion.md).
    chars = codes(fold("\n".join(texts)).replace("著", "着"))
    ends = np.cumsum([0, *(len(text) + 1 for text in texts)])
    stays = _is_said()[np.minimum(chars, _LAST)]
    return chars[stays], places(stays)[np.minimum(ends, len(chars))]


_LAST = 0x3FFFF
"""No letter or digit is beyond; planes 2 and 3 hold ideographs."""


@cache
def _is_said() -> NDArray[np.bool_]:
    """By code point, whether it is a letter, a digit or an ideograph, or U+FFFD."""
    said = np.zeros(_LAST + 1, bool)
    for run in re.finditer(r"[^\W_]+", text_of(np.arange(_LAST + 1, dtype=np.uint32))):
        said[run.start() : run.end()] = True
    said[ord(_LOST)] = True
    return said


def grams(text: str) -> Grams:
    """Hashes of the shingles of a folded text: each once, sorted. Those that U+FFFD is in are left out."""
    hashes, is_whole = gram_hashes(codes(text))
    return _set_of(hashes[is_whole])


def gram_hashes(chars: NDArray[np.uint32]) -> tuple[Grams, NDArray[np.bool_]]:
    """A hash for each shingle, and whether it is without U+FFFD."""
    n = max(len(chars) - GRAM + 1, 0)
    hashes, high = np.zeros(n, np.uint64), np.empty(n, np.uint64)
    for i in range(GRAM):
        # Multiplying by the golden ratio spreads over the high bits, the shift brings these down (Fibonacci hashing).
        hashes ^= chars[i : i + n]
        hashes *= _GOLDEN
        hashes ^= np.right_shift(hashes, _BITS, out=high)
    is_whole = np.ones(n, bool)
    if n:
        lost = np.flatnonzero(chars == ord(_LOST))
        is_whole[np.clip(lost[:, None] - np.arange(GRAM), 0, n - 1)] = False
    return hashes, is_whole


def _set_of(hashes: Grams) -> Grams:
    """Each once, sorted; `hashes` is sorted as well."""
    hashes.sort()  # and not `np.unique`, which takes five times as long
    is_new = np.empty(len(hashes), bool)
    is_new[:1] = True
    np.not_equal(hashes[1:], hashes[:-1], out=is_new[1:])
    each_once: Grams = hashes[is_new]
    return each_once


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
    both = np.sort(np.concatenate((a, b)))
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    return Likeness(common / max(len(a) + len(b) - common, 1), common / max(min(len(a), len(b)), 1))


def _weight(text: str) -> int:
    """How much there is to a folded text: in ideographs."""
    return _weigh(len(text), len(_NO_IDEOGRAPH.findall(text)))


def _weigh(n_chars: int, n_other: int) -> int:
    """The same, by how many characters there are, and how many of them are no ideographs."""
    return n_chars - n_other + n_other // LETTERS


_LAST_SIGN = 0x2E7F
"""From the next one on there are ideographs and their radicals."""

_NO_IDEOGRAPH = re.compile(f"[\x00-{chr(_LAST_SIGN)}{_LOST}]")


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


# Signatures


def signatures(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the index stores of documents to find duplicates by.

    Args:
        documents: Rows of `clean`; of their columns text, damage, published_at, n_chars and edits_by_step.

    Returns:
        For each of them the columns folded_hash to published_at of `schemas.index.INDEX`.
    """
    return [
        row for start in range(0, len(documents), _BATCH_ROWS) for row in _sign(documents[start : start + _BATCH_ROWS])
    ]


_BATCH_ROWS = 1000
"""Documents that rensa is given at a time: what it returns takes 4 KB for each."""


def _sign(documents: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    chars, edges = _folded([_marked(document["text"], _places(document["damage"])) for document in documents])
    text, bounds = text_of(chars), edges.tolist()
    hashes, is_whole = gram_hashes(chars)
    spans = [slice(start, max(end - GRAM + 1, start)) for start, end in pairwise(bounds)]
    is_damaged = not is_whole.all()
    shingles = [_set_of(hashes[span][is_whole[span]] if is_damaged else hashes[span]) for span in spans]
    others = places((chars <= _LAST_SIGN) | (chars == ord(_LOST)))[edges].tolist()
    keys = np.ascontiguousarray(_band_keys(shingles).T, "<u4")
    of_each = zip(documents, pairwise(bounds), pairwise(others), shingles, keys, strict=True)
    for document, (start, end), (before, after), shingle, bands in of_each:
        is_signed = len(shingle) > SHORTEST - GRAM and _weigh(end - start, after - before) >= SHORTEST
        in_utf8 = text[start:end].encode()
        yield {
            "folded_hash": hashlib.blake2b(in_utf8, digest_size=16).digest(),
            "folded_bytes": len(in_utf8),
            "bands": bands.tobytes() if is_signed else None,
            "damage_places": len(document["damage"]),
            "repairs": _repairs(document),
            "published_at": document["published_at"],
        }


def _repairs(document: Mapping[str, Any]) -> int:
    """Repairs per 100 characters."""
    repairs = sum(entry["edits"] for entry in document["edits_by_step"] if entry["step"] not in _NOT_REPAIRS)
    return int(min(100 * repairs // max(document["n_chars"], 1), 0xFFFF))


_NOT_REPAIRS = {"script", "whitespace"}
"""Steps whose edits say nothing of damage: a page in Traditional is as good as one in Simplified."""


def _places(damage: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    return [(place["start"], place["start"] + len(place["text"])) for place in damage]


_MINIMA = struct.Struct(f"<{BANDS * BAND_ROWS}I")


def _band_keys(shingles: Sequence[Grams]) -> NDArray[np.uint32]:
    """Keys of the bands, by band and document."""
    from rensa import RMinHash  # noqa: PLC0415  as above

    ends = np.cumsum([0, *map(len, shingles)], dtype=np.uint64)
    flat = np.concatenate([np.empty(0, np.uint64), *shingles])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, num_perm=BANDS * BAND_ROWS, seed=SEED)
    packed = b"".join(_MINIMA.pack(*row) for row in matrix.to_rows())  # in half the time that numpy takes for lists
    minima = np.frombuffer(packed, "<u4").astype(np.uint64).reshape(-1, BANDS, BAND_ROWS)
    keys = np.zeros((len(shingles), BANDS), np.uint64)
    for i in range(BAND_ROWS):
        keys = (keys ^ minima[:, :, i]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(32)
    return keys.astype(np.uint32).T


# Gathering


class Gathered(NamedTuple):
    """What the indexes of all batches tell, in files of a folder: `fold_batch` adds to it, `find_marks` reads it."""

    batches: tuple[BatchFiles, ...]
    folder: Path
    sizes: tuple[int, ...]
    """Documents of each batch, but for those that are gone."""
    wanted: tuple[int, ...]
    """Of how many of them the text is needed: where that is none, there is nothing to fold."""
    known: Path | None
    """`Found.pairs` of a run before this."""


class Mark(NamedTuple):
    """What was found about a document: the columns of these names."""

    duplicate_of: str | None = None
    duplicate_similarity: float | None = None
    cluster_size: int | None = None


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

PAIR = np.dtype([("a", "<u8"), ("b", "<u8"), ("jaccard", "<f8"), ("is_near", "?"), ("is_copy", "?")])
"""Two texts, by half of their hashes, that were compared: 26 bytes."""

MOST_PAIRS = 4_000_000
"""That are kept for the next run: 100 MB. News have 0.3 for a document, notices of one template with other names 75."""

VERDICT = np.dtype([("kept", "S32"), ("size", "<u4"), ("similarity", "<f8")])
"""A `Mark`, 44 bytes: nothing is the empty string, or 0."""

_INDEX_COLUMNS = [
    *("doc_id", "folded_hash", "folded_bytes", "bands", "damage_places", "repairs", "published_at"),
    *Mark._fields,
]


def gather(batches: Sequence[BatchFiles], folder: Path, known: Path | None = None) -> Gathered:
    """Bring the indexes of all batches together, and find out whose texts must be compared.

    Args:
        batches: All there are, in any order.
        folder: Where files can be written. It must have none of another call.
        known: `Found.pairs` of a run with the same rules: saves comparing these pairs again, and changes nothing else.

    Raises:
        OSError: if a file can't be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = _collect(batches, folder)
    corpus = _Corpus(np.load(folder / "rows.npy"))
    keys = np.load(folder / "keys.npy", mmap_mode="r")
    candidates = _candidates(corpus, keys)
    wanted = candidates
    if known is not None:
        _remember(corpus, candidates, known)
        _try(corpus, candidates, keys)
        wanted = np.array(sorted(corpus.wanted), int)
    places = np.sort(corpus.order[wanted])
    np.save(folder / "candidates.npy", candidates)
    np.save(folder / "places.npy", places)
    return Gathered(tuple(batches), folder, sizes, _ask(places, sizes, folder), known)


def _ask(places: NDArray[np.int64], sizes: Sequence[int], folder: Path) -> tuple[int, ...]:
    """Note for each batch the documents whose texts are needed, and give their numbers."""
    doc_ids = np.load(folder / "rows.npy")["doc_id"]
    wanted = [places[slice(*np.searchsorted(places, span))] for span in _spans(sizes)]
    for number, of_batch in enumerate(wanted):
        np.save(folder / f"wanted-{number:06}.npy", doc_ids[of_batch])
    return tuple(map(len, wanted))


def _collect(batches: Sequence[BatchFiles], folder: Path) -> tuple[int, ...]:
    """Write what the indexes have into arrays: `ROW` and `VERDICT` by document, keys by band and document."""
    n_rows = sum(pq.read_metadata(batch.index).num_rows for batch in batches)
    rows, stored = [np.empty(0, ROW)], [np.empty(0, VERDICT)]
    keys = np.lib.format.open_memmap(path := folder / "keys.npy", "w+", np.dtype("<u4"), (BANDS, max(n_rows, 1)))
    with path.open("r+b") as file:  # writing to a mapped file on a full disk would be a SIGBUS
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    start = 0
    for batch in batches:
        table = _read_index(batch)
        rows.append(_rows_in(table))
        stored.append(_stored_in(table))
        keys[:, start : start + len(table)] = _fixed(table["bands"], "<u4").T
        start += len(table)
    np.save(folder / "rows.npy", np.concatenate(rows))
    np.save(folder / "stored.npy", np.concatenate(stored))
    return tuple(map(len, rows[1:]))


def _read_index(batch: BatchFiles) -> pa.Table:
    with pq.ParquetFile(batch.index) as file:
        table = file.read(columns=_INDEX_COLUMNS)
    if batch.gone:
        table = table.filter(pc.invert(pc.is_in(table["doc_id"], pa.array(batch.gone, pa.string()))))
    return table


def _rows_in(table: pa.Table) -> NDArray[Any]:
    """Documents that have no signature take part as if they were empty: nothing is like them."""
    rows = np.zeros(len(table), ROW)
    rows["doc_id"] = np.array(table["doc_id"].to_pylist(), "S32")
    rows["hash"] = np.where(table["folded_hash"].is_valid().to_numpy()[:, None], _fixed(table["folded_hash"], "<u8"), 0)
    for name, column in (("length", "folded_bytes"), ("damage", "damage_places"), ("edited", "repairs")):
        rows[name] = table[column].fill_null(0).to_numpy()
    # ~ comes after all dates.
    rows["published"] = [(date or "~").encode("ascii", "replace") for date in table["published_at"].to_pylist()]
    rows["is_signed"] = table["bands"].is_valid().to_numpy()
    return rows


def _stored_in(table: pa.Table) -> NDArray[Any]:
    stored = np.zeros(len(table), VERDICT)
    stored["kept"] = np.array(table["duplicate_of"].fill_null("").to_pylist(), "S32")
    stored["size"] = table["cluster_size"].fill_null(0).to_numpy()
    stored["similarity"] = table["duplicate_similarity"].fill_null(0).to_numpy()
    return stored


def _fixed(column: pa.ChunkedArray, kind: str) -> NDArray[Any]:
    """Numbers within strings of bytes of one length: by row, then by place. Those of nulls can be any."""
    width = column.type.byte_width
    flat = b"".join(chunk.buffers()[1][chunk.offset * width :][: len(chunk) * width] for chunk in column.chunks)
    return np.frombuffer(flat, kind).reshape(len(column), -1 if len(column) else width // np.dtype(kind).itemsize)


def _candidates(corpus: "_Corpus", keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Documents that share a key with another text, the best first."""
    distinct = _distinct(corpus)
    places = corpus.order[distinct]
    shares = np.zeros(len(distinct), bool)
    for of_band in keys:
        sorted_keys, order = _by_key(of_band[places])
        is_same = np.diff(sorted_keys) == 0
        shares[order[1:][is_same]] = shares[order[:-1][is_same]] = True
    return distinct[shares]


# Folding candidates


def fold_batch(batch: BatchFiles, number: int, folder: Path) -> None:
    """Write the folded texts of the candidates of a batch, which `Gathered.wanted` says are there.

    Args:
        batch: As it was given to `gather`.
        number: Its place there.
        folder: The same as there.

    Raises:
        OSError: if a file can't be read or written.
        ValueError: if a text is in none of the parts.
    """
    doc_ids = [name.decode() for name in np.load(folder / f"wanted-{number:06}.npy").tolist()]
    texts = _fold(batch, doc_ids)
    with (folder / f"folded-{number:06}").open("wb") as out:
        out.writelines(texts)
    np.save(folder / f"ends-{number:06}.npy", np.cumsum([0, *map(len, texts)]))


def _fold(batch: BatchFiles, doc_ids: Sequence[str]) -> list[bytes]:
    """Folded texts of documents of a batch, in UTF-8."""
    texts = dict(_folded_texts(batch, pa.array(doc_ids)))
    if missing := [doc_id for doc_id in doc_ids if doc_id not in texts]:
        raise ValueError(f"{batch.index} has document {missing[0]}, and neither {batch.clean} nor {batch.rejected} has")
    return [texts[doc_id] for doc_id in doc_ids]


def _folded_texts(batch: BatchFiles, doc_ids: pa.Array) -> Iterator[tuple[str, bytes]]:
    """Folded texts in UTF-8. Row groups that have none of them are not read."""
    for path in filter(None, (batch.clean, batch.rejected)):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                is_wanted = pc.is_in(file.read_row_group(group, ["doc_id"])["doc_id"], doc_ids)
                if pc.any(is_wanted).as_py():
                    wanted = file.read_row_group(group, ["doc_id", "text", "damage"]).filter(is_wanted)
                    for row in wanted.to_pylist():
                        yield row["doc_id"], folded(row["text"], _places(row["damage"])).encode()


def _reader(gathered: Gathered, late: Mapping[int, str]) -> Callable[[int], str | None]:
    """Gives the folded text of a document by its place, if it was asked for; `late` has those that came afterwards."""
    numbers = [number for number, n_wanted in enumerate(gathered.wanted) if n_wanted]
    starts = _join([gathered.folder / f"folded-{number:06}" for number in numbers], gathered.folder / "folded")
    ends = [
        start + np.load(gathered.folder / f"ends-{number:06}.npy")
        for start, number in zip(starts, numbers, strict=True)
    ]
    texts = _mapped(gathered.folder / "folded")
    spans = np.concatenate([np.empty((0, 2), int), *(np.stack((e[:-1], e[1:]), 1) for e in ends)])
    places = np.append(np.load(gathered.folder / "places.npy"), -1)

    def read(place: int) -> str | None:
        i = np.searchsorted(places[:-1], place)
        if places[i] != place:
            return late.get(place)
        start, end = spans[i].tolist()
        return texts[start:end].decode()

    return read


def _join(paths: Sequence[Path], whole: Path) -> list[int]:
    """Put files one behind the other into one; where each begins in it.

    A file for each batch, all of them open, would be more than a process may have (`ulimit -n`, 1,024 most often).
    """
    starts: list[int] = []
    with whole.open("wb") as target:
        for path in paths:
            starts.append(target.tell())
            with path.open("rb") as file:
                shutil.copyfileobj(file, target)
    return starts


def _mapped(path: Path) -> "mmap | bytes":
    """An empty file can't be mapped."""
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""


# Finding


class Compared(NamedTuple):
    """What two texts are to each other."""

    jaccard: float
    is_near: bool
    """As `Likeness` has it: one can stand for the other, if they are in one cluster."""
    is_copy: bool
    """They tell the same (`tells_the_same`), and are in one cluster."""


_DIFFERENT = Compared(0.0, is_near=False, is_copy=False)


def _compared(a: tuple[str, Grams], b: tuple[str, Grams]) -> Compared:
    """As `tells_the_same`, with shingles that are at hand."""
    found = likeness(a[1], b[1])
    return Compared(found.jaccard, is_near=True, is_copy=_fits(a[0], b[0])) if found.is_near else _DIFFERENT


class Found(NamedTuple):
    """What a search for duplicates found."""

    marks: list[dict[str, Mark]]
    """For each batch the new marks of documents by doc_id. Other documents keep theirs."""
    pairs: Path
    """An array of `PAIR`: all that were compared. The next run knows them then."""


class _Corpus:
    """Documents of all batches, best first: document 0 is kept whatever it is like, 1 unless it is like 0, and so on.

    Those with the same text are joined from the start. Pairs of others are compared if they are not known. Where a text
    is not at hand it is noted as wanted, and the two are taken for different, until another try with that text.
    """

    def __init__(self, rows: NDArray[Any], read: Callable[[int], str | None] = lambda _: None) -> None:
        longest_first = -rows["length"].astype(np.int64)
        self.order = np.lexsort((rows["doc_id"], longest_first, rows["published"], rows["edited"], rows["damage"]))
        """Where the documents stand in the batches."""
        self.rows = rows[self.order]
        self.twin = _firsts(self.rows["hash"], self.rows["length"] > 0)
        """The best document with the same text."""
        self.parent = self.twin.copy()
        """The best document that is known to tell the same, or one on the way there."""
        self.known = dict[int, Compared]()
        """By pair: place of the better document, times the number of all, plus that of the other one."""
        self.wanted = set[int]()
        self._read = read
        self._text = lru_cache(maxsize=1000)(self._text_and_grams)

    def _text_and_grams(self, i: int) -> tuple[str, Grams] | None:
        text = self._read(int(self.order[i]))
        return None if text is None else (text, grams(text))

    def try_again(self) -> None:
        """Begin anew, with what is known, and with texts that were not at hand before."""
        self.parent, self.wanted = self.twin.copy(), set()
        self._text.cache_clear()

    def compared(self, i: int, j: int) -> Compared:
        """What is known of two documents, or can be told by their texts: the best with that text, the better first."""
        pair = i * len(self.order) + j
        found = self.known.get(pair)
        if found is None:
            a, b = self._text(i), self._text(j)
            if a is None or b is None:
                self.wanted.update(k for k, text in ((i, a), (j, b)) if text is None)
                return _DIFFERENT
            found = self.known[pair] = _compared(a, b)
        return found

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


def _firsts(hashes: NDArray[np.uint64], has_text: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each document the first one with the same hash, if there is text in it, or else itself."""
    order = np.lexsort((hashes[:, 0], hashes[:, 1]))  # stable: within a hash the best comes first
    is_first = np.append(True, np.any(np.diff(hashes[order], axis=0) != 0, axis=1))[: len(order)]
    firsts = np.arange(len(order))
    firsts[order] = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    return np.where(has_text, firsts, np.arange(len(order)))


def _distinct(corpus: _Corpus) -> NDArray[np.int64]:
    """Documents that have a signature, the best of each text."""
    return np.flatnonzero(corpus.rows["is_signed"] & (corpus.twin == np.arange(len(corpus.rows))))


def find_marks(gathered: Gathered) -> Found:
    """Which documents tell the same, as far as their batches don't have that already.

    `fold_batch` must have been called for all batches that anything is wanted of.

    Raises:
        OSError: if a file can't be read or written.
        ValueError: if a text is in none of the parts.
    """
    folder = gathered.folder
    rows, candidates = np.load(folder / "rows.npy"), np.load(folder / "candidates.npy")
    late = dict[int, str]()
    corpus = _Corpus(rows, _reader(gathered, late))
    _remember(corpus, candidates, gathered.known)
    verdicts = _try(corpus, candidates, keys := np.load(folder / "keys.npy", mmap_mode="r"))
    while corpus.wanted:  # what was learned of some texts asks for others
        late |= _fetched(gathered, corpus.order[list(corpus.wanted)], rows["doc_id"])
        verdicts = _try(corpus, candidates, keys)
    pairs = folder / "pairs.npy"
    np.save(pairs, _pairs(corpus))
    differs = verdicts != np.load(folder / "stored.npy")
    of_batches = [start + np.flatnonzero(differs[start:end]) for start, end in _spans(gathered.sizes)]
    return Found([{rows["doc_id"][i].decode(): _mark(verdicts[i]) for i in of_batch} for of_batch in of_batches], pairs)


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where batches begin and end among all documents."""
    ends = np.cumsum([0, *sizes]).tolist()
    return list(pairwise(ends))


def _try(corpus: _Corpus, candidates: NDArray[np.int64], keys: NDArray[np.uint32]) -> NDArray[Any]:
    """Verdicts as far as can be told: if no text is wanted then, they are final."""
    corpus.try_again()
    places = corpus.order[candidates]
    _join_near(corpus, candidates, (of_band[places] for of_band in keys))
    return _verdicts(corpus)


def _remember(corpus: _Corpus, candidates: NDArray[np.int64], known: Path | None) -> None:
    """Have what another run found out about pairs that are still there."""
    if known is None or not len(candidates):
        return
    pairs = np.load(known)
    (is_there_a, i), (is_there_b, j) = (_looked_up(corpus, candidates, pairs[name]) for name in ("a", "b"))
    # Aligned the other way round, two texts can have another number of conflicts.
    is_there = is_there_a & is_there_b & (i < j)
    numbers = i * len(corpus.order) + j
    corpus.known = dict.fromkeys(numbers[is_there & ~pairs["is_near"]].tolist(), _DIFFERENT)
    is_near = is_there & pairs["is_near"]
    found = pairs[list(Compared._fields)][is_near].tolist()
    corpus.known |= zip(numbers[is_near].tolist(), map(Compared._make, found), strict=True)


def _looked_up(
    corpus: _Corpus, candidates: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether there are texts with these hashes, and which."""
    known = corpus.rows["hash"][candidates, 0]
    order = np.argsort(known)
    at = order[np.minimum(np.searchsorted(known[order], hashes), len(order) - 1)]
    return known[at] == hashes, candidates[at]


def _pairs(corpus: _Corpus) -> NDArray[Any]:
    pairs = np.zeros(min(len(corpus.known), MOST_PAIRS), PAIR)
    better, other = np.divmod(np.fromiter(corpus.known, np.int64, len(pairs)), max(len(corpus.order), 1))
    pairs["a"], pairs["b"] = corpus.rows["hash"][better, 0], corpus.rows["hash"][other, 0]
    for i, name in enumerate(Compared._fields):
        pairs[name] = np.fromiter((found[i] for found in corpus.known.values()), PAIR[name], len(pairs))
    return pairs


def _fetched(gathered: Gathered, places: NDArray[np.int64], doc_ids: NDArray[Any]) -> dict[int, str]:
    """Folded texts of some documents, by their places."""
    found = dict[int, str]()
    places = np.sort(places)
    for batch, span in zip(gathered.batches, _spans(gathered.sizes), strict=True):
        wanted = {doc_ids[i].decode(): i for i in places[slice(*np.searchsorted(places, span))].tolist()}
        texts = _fold(batch, list(wanted)) if wanted else []
        found |= {place: text.decode() for place, text in zip(wanted.values(), texts, strict=True)}
    return found


def _mark(verdict: Any) -> Mark:
    kept = verdict["kept"].decode()
    return Mark(kept or None, float(verdict["similarity"]) if kept else None, int(verdict["size"]) or None)


def find_changes(batches: Sequence[BatchFiles], folder: Path, known: Path | None = None) -> Found:
    """All of it in one process: `gather`, `fold_batch`, `find_marks`. They say what they take and raise."""
    gathered = gather(batches, folder, known)
    for number, batch in enumerate(batches):
        if gathered.wanted[number]:
            fold_batch(batch, number, folder)
    return find_marks(gathered)


def _join_near(corpus: _Corpus, distinct: NDArray[np.int64], bands: Iterable[NDArray[np.uint32]]) -> None:
    """Join candidates that tell the same.

    Args:
        corpus: All documents, none joined yet but those with the same text.
        distinct: Those to be compared, each text once, the best first.
        bands: Their keys, band by band.
    """
    for keys in bands:
        corpus.settle()
        for bucket in _open_buckets(keys, corpus.parent[distinct]):
            _join_bucket(corpus, distinct[bucket].tolist())
    corpus.settle()


def _open_buckets(keys: NDArray[np.uint32], roots: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Groups of documents with the same key, best first, that are not all joined yet."""
    sorted_keys, order = _by_key(keys)
    starts = np.flatnonzero(np.append(True, np.diff(sorted_keys) != 0)[: len(order)])
    sizes = np.diff(np.append(starts, len(order)))
    is_other = roots[order] != np.repeat(roots[order][starts], sizes)
    is_open = np.logical_or.reduceat(is_other, starts) if len(starts) else is_other
    for start, size in zip(starts[is_open], sizes[is_open], strict=True):
        yield order[start : start + size]


def _by_key(keys: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Keys in order, and where each stood; equal ones in the order they were in. Faster than a stable `argsort`."""
    both = np.sort((keys.astype(np.uint64) << np.uint64(32)) | np.arange(len(keys), dtype=np.uint64))
    return both >> np.uint64(32), (both & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _join_bucket(corpus: _Corpus, bucket: Iterable[int]) -> None:
    """Compare the documents of a bucket."""
    leaders = dict[int, int]()  # and their roots
    for i in bucket:
        root = corpus.root(i)
        for leader, of_leader in leaders.items():
            if of_leader == root:
                break
            if corpus.compared(leader, i).is_copy:
                corpus.join(leader, i)
                leaders = {leader: corpus.root(leader) for leader in leaders}
                break
        else:
            leaders |= {i: root} if len(leaders) < LEADERS else {}


def _verdicts(corpus: _Corpus) -> NDArray[Any]:
    """An array of `VERDICT`, in the order of the batches."""
    verdicts = np.zeros(len(corpus.rows), VERDICT)
    for kept, others in _clusters(corpus):
        verdicts["size"][corpus.order[[kept, *others]]] = len(others) + 1
        for i, similarity in others.items():
            verdicts[corpus.order[i]] = (corpus.rows["doc_id"][kept], len(others) + 1, similarity)
    return verdicts


def _clusters(corpus: _Corpus) -> Iterator[tuple[int, dict[int, float]]]:
    """Each document that is kept for others, and these with their similarity to it.

    Documents can be joined by way of others and have little in common: the best one stands for those that are like
    it, the best one of the rest for others, and so on.
    """
    order = np.argsort(corpus.parent, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(corpus.parent[order]) != 0)[: len(order)])
    sizes = np.diff(np.append(starts, len(order)))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        rest: list[int] = order[start : start + size].tolist()
        while rest:
            kept, *others = rest
            similar = {i: _similarity(corpus, kept, i) for i in others}
            rest = [i for i in others if similar[i] is None]
            if found := {i: value for i, value in similar.items() if value is not None}:
                yield kept, found


def _similarity(corpus: _Corpus, kept: int, i: int) -> float | None:
    """The Jaccard index of two documents; None if one can't stand for the other."""
    if corpus.twin[i] == kept:  # the best of a cluster is the best with its text
        return 1.0
    found = corpus.compared(kept, int(corpus.twin[i]))
    return found.jaccard if found.is_near else None


# Marking tables


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows of a batch; None for a table that has none of them."""

    clean: pa.Table | None
    rejected: pa.Table | None
    index: pa.Table
    """In the order of the documents; the other two are in the same."""


def needs_marking(index: pa.Table, marks: Mapping[str, Mark], dedup: Dedup) -> bool:
    """Whether `mark_tables` would change anything.

    Args:
        index: The index of a batch, or its columns doc_id, reason, duplicate_of, duplicate_similarity, cluster_size.
        marks: As for `mark_tables`.
        dedup: The same.
    """
    return _marks_in(index) != (wanted := _wanted(index, marks, dedup)) or any(_moves(index, wanted, dedup))


def mark_tables(tables: Tables, marks: Mapping[str, Mark], dedup: Dedup) -> Tables | None:
    """Write what was found into the tables of a batch, and move rows between `clean` and `rejected`.

    With `drop`, documents that another one stands for are in `rejected`, and their rows of `clean` in the index. They
    come back, as they were, when they stand for themselves again, or when duplicates are only marked. With `off` none
    are looked for: all marks go, and all rows come back.

    Args:
        tables: All rows of the batch, the index with all columns.
        marks: New marks by doc_id (`find_marks`); documents that are not in there keep theirs. Not used with `off`.
        dedup: What becomes of duplicates.

    Returns:
        The tables as they should be, those in which nothing changes the same objects; None if nothing does at all.
    """
    index = tables.index
    wanted = _wanted(index, marks, dedup)
    goes, comes = _moves(index, wanted, dedup)
    if not goes and not comes and _marks_in(index) == wanted:
        return None
    order = index["doc_id"].to_pylist()
    by_id = dict(zip(order, wanted, strict=True))
    leaving = _only(tables.clean, goes)
    clean = _joined([_without(tables.clean, goes), _restored(index, comes)], CLEAN, order)
    rejected = _joined([_without(tables.rejected, comes), _as_rejected(leaving)], REJECTED, order)
    return Tables(
        _unless_same(tables.clean, _with_marks(clean, by_id)),
        _unless_same(tables.rejected, _with_details(rejected, by_id)),
        _with_marks(_with_dropped(index, leaving, comes), by_id),
    )


def _unless_same(before: pa.Table | None, after: pa.Table) -> pa.Table | None:
    """The table as it was, if it is the same, and None if it is empty."""
    if not len(after):
        return None
    return before if before is not None and before.equals(after) else after


def _marks_in(index: pa.Table) -> list[Mark]:
    return list(map(Mark, *(index[name].to_pylist() for name in Mark._fields)))


def _wanted(index: pa.Table, marks: Mapping[str, Mark], dedup: Dedup) -> list[Mark]:
    if dedup == "off":
        return [Mark()] * len(index)
    return [marks.get(i, mark) for i, mark in zip(index["doc_id"].to_pylist(), _marks_in(index), strict=True)]


def _moves(index: pa.Table, wanted: Sequence[Mark], dedup: Dedup) -> tuple[frozenset[str], frozenset[str]]:
    """Documents that go to `rejected`, and those that come back."""
    rows = zip(index["doc_id"].to_pylist(), index["reason"].to_pylist(), wanted, strict=True)
    by_reason: dict[str | None, set[str]] = {None: set(), Reason.DUPLICATE: set()}
    for doc_id, reason, mark in rows:
        is_dropped = dedup == "drop" and mark.duplicate_of is not None
        if reason in by_reason and is_dropped == (reason is None):
            by_reason[reason].add(doc_id)
    return frozenset(by_reason[None]), frozenset(by_reason[Reason.DUPLICATE])


def _are(table: pa.Table, doc_ids: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(table["doc_id"], pa.array(doc_ids, pa.string()))


def _only(table: pa.Table | None, doc_ids: frozenset[str]) -> pa.Table | None:
    return table.filter(_are(table, doc_ids)) if table is not None and doc_ids else None


def _without(table: pa.Table | None, doc_ids: frozenset[str]) -> pa.Table | None:
    return table.filter(pc.invert(_are(table, doc_ids))) if table is not None and doc_ids else table


def _as_rejected(leaving: pa.Table | None) -> pa.Table | None:
    """Rows of `rejected` for those of `clean`; `_with_details` adds the detail."""
    if leaving is None:
        return None
    same = pa.array([str(Reason.DUPLICATE)] * len(leaving))
    columns = [same if name in ("reason", "detail") else leaving[name] for name in REJECTED.names]
    return pa.table(columns, REJECTED)


def _joined(tables: Sequence[pa.Table | None], schema: pa.Schema, order: Sequence[str]) -> pa.Table:
    """Rows of some tables in the order of the doc_ids."""
    found = [table.select(schema.names).cast(schema) for table in tables if table is not None]
    table = pa.concat_tables([schema.empty_table(), *found])
    rank = {doc_id: i for i, doc_id in enumerate(order)}
    ranks = np.array([rank[doc_id] for doc_id in table["doc_id"].to_pylist()], int)
    return table if (np.diff(ranks) > 0).all() else table.take(np.argsort(ranks))


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    """With other values in a column."""
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def _with_marks(table: pa.Table, marks: Mapping[str, Mark]) -> pa.Table:
    of_rows = [marks.get(doc_id, Mark()) for doc_id in table["doc_id"].to_pylist()]
    for name in Mark._fields:
        table = _with(table, name, [getattr(mark, name) for mark in of_rows])
    return table


def _with_details(rejected: pa.Table, marks: Mapping[str, Mark]) -> pa.Table:
    rows = zip(*(rejected[name].to_pylist() for name in ("doc_id", "reason", "detail")), strict=True)
    details = [_detail(marks[i]) if reason == Reason.DUPLICATE else detail for i, reason, detail in rows]
    return _with(rejected, "detail", details)


def _detail(mark: Mark) -> str:
    return f"It tells the same as document {mark.duplicate_of} (similarity {mark.duplicate_similarity:.2f})."


def _with_dropped(index: pa.Table, leaving: pa.Table | None, comes: frozenset[str]) -> pa.Table:
    """With the rows of `clean` that leave it, and without those that came back."""
    packed = {} if leaving is None else dict(zip(leaving["doc_id"].to_pylist(), _packed(leaving), strict=True))
    if not packed and not comes:
        return index
    rows = list(zip(*(index[name].to_pylist() for name in ("doc_id", "reason", "dropped")), strict=True))
    gone = str(Reason.DUPLICATE)
    reasons = [None if i in comes else gone if i in packed else reason for i, reason, _ in rows]
    index = _with(index, "reason", reasons)
    return _with(index, "dropped", [None if i in comes else packed.get(i, dropped) for i, _, dropped in rows])


def _packed(leaving: pa.Table) -> Iterator[bytes]:
    """Each row as an Arrow IPC stream, without marks.

    Parquet's zstd makes 740 bytes of a row of 500 characters, since all have the same schema, and 1,180 where the
    streams are compressed by themselves, which takes 1.9 ms instead of 0.1.
    """
    bare = pa.schema([_bare(field) for field in CLEAN])
    for row in _with_marks(leaving, {}).cast(bare).combine_chunks().to_batches(max_chunksize=1):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, bare) as out:
            out.write_batch(row)
        yield sink.getvalue().to_pybytes()


def _bare(field: pa.Field) -> pa.Field:
    """Without descriptions: 10 KB."""
    kind = field.type
    if pa.types.is_list(kind):
        kind = pa.list_(_bare(kind.value_field))
    elif pa.types.is_struct(kind):
        kind = pa.struct([_bare(inner) for inner in kind])
    return pa.field(field.name, kind, field.nullable)


def _restored(index: pa.Table, comes: frozenset[str]) -> pa.Table | None:
    if not comes:
        return None
    packed = index.filter(_are(index, comes))["dropped"]
    return pa.concat_tables(pa.ipc.open_stream(row.as_buffer()).read_all() for row in packed)
