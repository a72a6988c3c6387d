"""Lines that recur across the documents of a site: counted in one pass, as fingerprints, in bounded memory.

What is known of a line is how many documents of a site have it, and how many *bodies* they have: an article that came
ten times is ten documents and one body, a line of the site's template stands around as many bodies as documents.

- `features` are what a document adds to the counts. They are kept in the index (`schemas.index`), so a document that
  stays as it is is counted without being read again.
- `count` and `count_index` write what the documents of a batch add: 12 bytes for each `LINE` near the ends of one,
  sorted by line, and 65 for each `DOCUMENT`.
- `merge` goes through the lines of all batches side by side, by ranges of fingerprints, and writes what recurs: 41
  bytes for each line and site, sorted again, in files that workers map. It holds 33 bytes for each document in memory
  (80 for a moment), and `MERGE_ROWS` lines (300 MB at most), or as many as the commonest line has.
- `told` is what the counts say of each document of a batch, as a digest. A document of which they say what they said
  before stays as it is.

Counts are sums over documents, so neither the order nor the number of batches matters, nor who was carried over.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, lru_cache
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.document import Outcome
from schemas.index import INDEX
from tasks.corpus.duplicates import GRAM, gram_hashes
from tasks.scripts import codes, text_of
from tasks.steps.dates import MONTH
from tasks.steps.lines import Line, fold, is_prose

HEAD_LINES = 12
TAIL_LINES = 40
"""Lines at either end that are looked at: as far as the rules for furniture look (`tasks.steps.boilerplate`)."""

MERGE_ROWS = 2_000_000
"""Lines in memory at a time: 32 MB, and ten times that if all of them recur on three sites each."""

SHARE = 0.3
"""Part of a site's documents that its furniture is on. In a year of news from one site the commonest title is on 7 %
of the pages, as is a line under the last item of each day; a site with three templates has each on a third."""

ANCESTORS = 2
"""Folders around that of a file that are taken for sites too: `site/2024/05/page.txt`. One that holds several sites
does no harm: nothing is on enough of its pages."""

SITES_EACH = ANCESTORS + 3
"""Sites of a document at most: folders, the host of its address, the name that it gives."""

SITES = 5
"""A line that is furniture of that many sites is furniture everywhere: what a content management system puts in."""

WHOLE = 0
"""In place of a site: the whole corpus. Documents of fewer than `SITES_EACH` have it in place of the others."""

MIXERS = (1, 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
"""Odd factors that make three hashes of one: steps of the golden ratio and of the plastic number (Roberts' R2)."""

FEATURES = pa.schema([INDEX.field(name) for name in ("sites", "lines", "body", "headed")])

LINE = np.dtype([("line", "<u8"), ("document", "<u4")])
"""A line of a document: its fingerprint, and the document's place in its batch."""

DOCUMENT = np.dtype([("sites", "<u8", SITES_EACH), ("body", "<u8", len(MIXERS)), ("headed", "?")])
"""What the lines of a document have in common: fingerprints of its sites, in their order, and the other features."""

COUNTS = ("documents", "bodies", "of", "headed")

RECURRING = np.dtype([("line", "<u8"), ("site", "<u8"), *((name, "<i8") for name in COUNTS)])
"""A line that more than one document of a site has; `of` are the documents of the site."""

COLUMNS = {"pair": "<u8", **dict.fromkeys(COUNTS, "<i8"), "furniture": "?"}
"""How `merge` writes those: a file for each. A pair is the place of the line among `LINES` times the number of `SITES`
and the place of the site among these; it is `furniture` by `is_furniture`."""

LISTS = ("lines", "sites", "learned")
"""Fingerprints in order, each once: lines that recur, all sites, lines that are furniture of some site."""

Rows = np.ndarray[Any, Any]

_VARYING = re.compile(
    r"\d+|(?<=星期|礼拜)[一二三四五六日天]|(?<=周)[一二三四五六日](?=\d|$)"
    rf"|(?<=\d){MONTH}|{MONTH}(?=\d)|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
)
"""What a clock puts into a line: numbers, weekdays, months."""
_NAMED = re.compile("[a-z周期拜]")
"""In lines without any of these numbers are all there is of it."""
_LETTER = re.compile(r"[^\W\d年月日时分秒点星期周一二三四五六七八九十〇零_]")
"""Something to recognise a line by: dates and numbers alone are nothing."""


_END = 40
"""Characters: folding takes time, and paragraphs are long."""


_LONGEST_BODY = 20_000
"""Characters: a sample of a book will do."""

_AT_ONCE = 100_000
"""Characters of texts that are looked at together, and documents: by itself each takes four times as long."""

_LOST = "\ufffd"


class Place(NamedTuple):
    """A line of a document, with its fingerprint; 0 where there is nothing to recognise it by."""

    line: Line
    fingerprint: int


class Features(NamedTuple):
    """What a document adds to the counts, as the index has it. Nothing, unless it was kept by the first pass."""

    sites: tuple[str, ...] = ()
    """As `sites_of`."""
    lines: tuple[int, ...] = ()
    """Fingerprints of the lines near its ends, each once, in their numerical order."""
    body: tuple[int, ...] = ()
    """Three hashes of its paragraphs."""
    headed: bool = False
    """Whether there are headings between its paragraphs."""


class Counted(NamedTuple):
    """Files with what the documents of a batch add to the counts."""

    lines: Path
    """`LINE`s, sorted by line."""
    documents: Path
    """`DOCUMENT`s, one for each of the batch."""


class Judged(NamedTuple):
    """What the counts say of lines: arrays of truth values, one for each line."""

    recurs: Rows
    """Another document of a site has it."""
    learned: Rows
    """It is furniture, by the counts."""
    headed: Rows
    """It is learned, and most documents that have it have headings between their paragraphs."""


def fingerprints(lines: Sequence[str]) -> list[int]:
    """64 bits of each line in Simplified, without signs, any number or weekday for any other; 0 if that is none.

    Of a long line both ends count: it is the same if these are.
    """
    if not lines:
        return []
    ends = (line if len(line) <= 2 * _END else line[:_END] + line[-_END:] for line in lines)
    folded = (_VARYING.sub("0", line) if _NAMED.search(line) else line for line in _keys("\n".join(ends)).split("\n"))
    return [hash_of(line) if _LETTER.search(line) else 0 for line in folded]


def _keys(text: str) -> str:
    """Lines as `tasks.steps.lines.key` has each, with 0 for every number."""
    is_said, is_digit = _kinds()
    chars = codes(fold(text))
    chars = chars[is_said.take(chars, mode="clip")]
    digits = is_digit.take(chars, mode="clip")
    chars[digits] = ord("0")
    goes_on = digits[1:] & digits[:-1]
    return text_of(np.delete(chars, np.flatnonzero(goes_on) + 1))


@cache
def _kinds() -> tuple[Rows, Rows]:
    """By code point, whether it is a letter, a digit, an ideograph or a line feed; and whether it is a decimal digit.

    There is nothing of that beyond the third plane, of which the last one stands for all others.
    """
    text = text_of(np.arange(0x40000, dtype=np.uint32))
    tables = np.zeros((2, len(text)), bool)
    for table, kind in zip(tables, (r"[^\W_]+|\n", r"\d+"), strict=True):
        for run in re.finditer(kind, text):
            table[run.start() : run.end()] = True
    return tables[0], tables[1]


def hash_of(text: str) -> int:
    """64 bits of a text, as of the name of a site; never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "little") or 1


def sites_of(outcome: Outcome) -> tuple[str, ...]:
    """Names of the sites that a document may be of: where it was found, the nearest folder first, and what it says.

    Of a page from a container that says its address, the folder of the container is no site.
    """
    facts: Mapping[str, str] = outcome.cleaned.facts if outcome.cleaned else {}
    uri = outcome.origin.source_uri
    host = _host(outcome.origin.url) or _host(uri)
    found_in = [host] if host else _folders(uri.rpartition("/")[0])
    names = [*found_in, _host(facts.get("source_url", "")), facts.get("site_name", "")]
    # A lone surrogate could not be stored in the index.
    return tuple(dict.fromkeys(name.encode(errors="replace").decode() for name in names if name))


@lru_cache(maxsize=16)
def _folders(path: str) -> list[str]:
    """Folder of a file, and those around it: crawls are kept by site, or by site and date. The root is none."""
    folders = [path.rsplit("/", up)[0] for up in range(ANCESTORS + 1)]
    return [folder for folder in folders if folder.count("/") > 2]


def _host(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        return ""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:  # a bracket in the wrong place
        return ""


def places(lines: Sequence[Line]) -> list[Place]:
    """Those of a document's lines that are near its ends, in order."""
    near = _near(lines)
    return [Place(*line) for line in zip(near, fingerprints([line.text for line in near]), strict=True)]


_Lines = TypeVar("_Lines")


def _near(lines: Sequence[_Lines]) -> Sequence[_Lines]:
    return lines if len(lines) <= HEAD_LINES + TAIL_LINES else [*lines[:HEAD_LINES], *lines[-TAIL_LINES:]]


def features(outcomes: Iterable[Outcome]) -> Iterator[Features]:
    """What each document adds to the counts, by what the first pass made of it."""
    some: list[tuple[tuple[str, ...], str] | None] = []
    n_chars = 0
    for outcome in outcomes:
        is_counted = outcome.cleaned is not None and outcome.rejection is None
        text = outcome.cleaned.text if outcome.cleaned is not None and is_counted else ""
        some.append((sites_of(outcome), text) if is_counted else None)
        n_chars += len(text) + 1
        if n_chars > _AT_ONCE:
            yield from _features(some)
            some, n_chars = [], 0
    yield from _features(some)


def _features(documents: Sequence[tuple[tuple[str, ...], str] | None]) -> Iterator[Features]:
    """The same of some documents, by their sites and texts; None for one that does not count."""
    counted = [document for document in documents if document]
    lines = [[line for line in map(str.strip, text.split("\n")) if line] for _, text in counted]
    near = [_near(of) for of in lines]
    found = iter(fingerprints([line for of in near for line in of]))
    prose = [[*map(is_prose, of)] for of in lines]
    bodies = _bodies(["".join(compress(of, is_paragraph)) for of, is_paragraph in zip(lines, prose, strict=True)])
    rest = zip(counted, near, bodies, prose, strict=True)
    for document in documents:
        if document is None:
            yield Features()
        else:
            (sites, _), of, body, is_paragraph = next(rest)
            yield Features(sites, tuple(sorted({*islice(found, len(of))} - {0})), body, _is_headed(is_paragraph))


def _bodies(texts: Sequence[str]) -> list[tuple[int, ...]]:
    """The smallest hash of a shingle (MinHash), three times: copies have the same as often as they share shingles.

    So fifty copies of an article with a damaged character in every other line are five bodies or so. The largest of
    three counts is believed, since a disclaimer may have the smallest hash of all pages of its site.
    """
    if not texts:
        return []
    samples = [text[:_LONGEST_BODY] for text in texts]
    starts = np.cumsum([0, *(len(sample) + 1 for sample in samples[:-1])])
    # No shingle has a lost character in it, and so none is of two texts.
    hashes, is_whole = gram_hashes(codes(_LOST.join([*samples, _LOST * GRAM])))
    smallest = [
        np.minimum.reduceat(np.where(is_whole, hashes * np.uint64(factor), np.uint64(2**64 - 1)), starts).tolist()
        for factor in MIXERS
    ]
    return [*zip(*smallest, strict=True)]


def _is_headed(prose: Sequence[bool]) -> bool:
    """Whether something else stands between the first three paragraphs; what is further down may be a disclaimer."""
    first_three = [i for i, is_paragraph in enumerate(prose) if is_paragraph][:3]
    return bool(first_three) and first_three[-1] - first_three[0] >= len(first_three)


def write_features(found: Sequence[Features], path: Path) -> None:
    """Keep features for `read_features`."""
    pq.write_table(pa.Table.from_pylist([one._asdict() for one in found], FEATURES), path)


def read_features(path: Path) -> list[Features]:
    """What `write_features` wrote, in its order."""
    columns = pq.read_table(path).to_pydict()
    sites, lines, body = ([tuple(values) for values in columns[name]] for name in ("sites", "lines", "body"))
    return [Features(*values) for values in zip(sites, lines, body, columns["headed"], strict=True)]


def count(features: Path, number: int, folder: Path) -> Counted:
    """What the documents of a shard add to the counts; `features` is a file of `write_features`.

    Raises:
        OSError: if it can't be written.
    """
    return _write(pq.read_table(features), frozenset(), folder / f"new-{number:06}")


def count_index(part: Path, gone: frozenset[str], number: int, folder: Path) -> Counted:
    """What the documents of a batch add to the counts, by its part of the index, without those that are gone.

    Args:
        part: Rows are of `schemas.index.INDEX`; a document's place is that of its row.
        gone: Of the doc_ids.
        number: Of the batch: names the files.
        folder: Where they go; it is made if missing.

    Raises:
        OSError: if something can't be read or written.
    """
    columns = [*FEATURES.names, *(["doc_id"] if gone else [])]
    folder.mkdir(parents=True, exist_ok=True)
    return _write(pq.read_table(part, columns=columns), gone, folder / f"old-{number:06}")


def _write(table: pa.Table, gone: frozenset[str], path: Path) -> Counted:
    lines, documents = lines_and_documents(table, gone)
    made = Counted(path.with_name(f"{path.name}-lines"), path.with_name(f"{path.name}-documents"))
    # Not `tofile`: on a full disk it loses the end of a small array, and doesn't tell.
    made.lines.write_bytes(lines[np.argsort(lines["line"])].tobytes())
    made.documents.write_bytes(documents.tobytes())
    return made


def lines_and_documents(table: pa.Table, gone: frozenset[str]) -> tuple[Rows, Rows]:
    """Features of a batch as `LINE`s and `DOCUMENT`s; those that are gone have none."""
    table = table.combine_chunks()
    stays = np.ones(len(table), bool)
    if gone:
        stays = ~pc.is_in(table["doc_id"], pa.array(sorted(gone), pa.string())).to_numpy().astype(bool)
    documents = np.zeros(len(table), DOCUMENT)
    documents["headed"] = table["headed"].to_numpy()
    hashes, document, _ = flat(table["body"])
    documents["body"][document[:: len(MIXERS)]] = hashes.to_numpy().reshape(-1, len(MIXERS))
    names, document, slot = flat(table["sites"])
    named = names.dictionary_encode()
    sites = np.array([hash_of(name) for name in named.dictionary.to_pylist()], dtype="<u8")
    documents["sites"][document, slot] = sites[named.indices.to_numpy()]
    documents[~stays] = np.zeros((), DOCUMENT)
    found, document, _ = flat(table["lines"])
    lines = np.empty(len(found), LINE)
    lines["line"], lines["document"] = found.to_numpy(), document
    return lines[stays[document]], documents


def flat(column: pa.ChunkedArray) -> tuple[pa.Array, Rows, Rows]:
    """Values of a column of lists one after the other, and for each the row and the place in the list of that row."""
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    lengths = lists.value_lengths().to_numpy()
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return lists.flatten(), rows, np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def merge(counted: Sequence[Counted], threshold: int, folder: Path) -> None:
    """Bring together what batches have counted, and write what recurs to a folder, for `Recurring`.

    Args:
        counted: Of all documents, each once.
        threshold: As in `is_furniture`.
        folder: A file for each of `COLUMNS` and `LISTS` is written there.

    Raises:
        OSError: if something can't be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = _Documents([made.documents for made in counted])
    (folder / "sites").write_bytes(known.sites.tobytes())
    n_lines = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in (*COLUMNS, "lines", "learned")}
        for piece in _pieces([made.lines for made in counted], known.begins):
            recurring = _count(piece, known)
            recurring = np.concatenate([recurring, _everywhere(recurring, threshold)])
            recurring = recurring[np.lexsort((recurring["site"], recurring["line"]))]
            lines = np.unique(recurring["line"])
            place = np.searchsorted(lines, recurring["line"]) + n_lines
            furniture = is_furniture(recurring["bodies"], recurring["of"], threshold)
            pair = place * len(known.sites) + np.searchsorted(known.sites, recurring["site"])
            written = {"pair": pair, **{name: recurring[name] for name in COUNTS}, "furniture": furniture}
            written |= {"lines": lines, "learned": np.unique(recurring["line"][furniture])}
            for name, values in written.items():
                files[name].write(values.tobytes())
            n_lines += len(lines)


class _Documents:
    """`DOCUMENT`s of all batches, with numbers in place of the hashes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        sizes = [path.stat().st_size // DOCUMENT.itemsize for path in paths]
        self.begins = np.cumsum([0, *sizes])
        """Number of the first document of each batch, and of documents in all."""
        n = int(self.begins[-1])
        own = [np.unique(np.fromfile(path, DOCUMENT)["sites"]) for path in paths]
        self.sites = np.unique(np.concatenate([np.array([WHOLE], dtype="<u8"), *own]))
        """Fingerprints of all sites; the first is `WHOLE`."""
        self.site = np.empty((n, SITES_EACH), np.uint32)
        """Places in `sites`."""
        self.headed = np.empty(n, bool)
        hashes = np.empty((len(MIXERS), n), "<u8")
        for path, begin, end in zip(paths, self.begins, self.begins[1:], strict=False):
            read = np.fromfile(path, DOCUMENT)
            self.site[begin:end] = np.searchsorted(self.sites, read["sites"])
            self.headed[begin:end] = read["headed"]
            hashes[:, begin:end] = read["body"].T
        self.bodies = [np.unique(own, return_inverse=True)[1].astype(np.uint32) for own in hashes]
        """For each of the hashes of bodies, numbers in its place."""
        self.sizes = np.bincount(self.site.ravel(), minlength=len(self.sites))
        """Documents of each site."""


def _pieces(paths: Sequence[Path], begins: Rows) -> Iterator[Rows]:
    """All lines of one range of fingerprints after another, with the numbers of their documents."""
    n_rows = sum(path.stat().st_size for path in paths) // LINE.itemsize
    n_pieces = max(1, -(-n_rows // MERGE_ROWS))
    borders = np.array([piece * (2**64 // n_pieces) for piece in range(1, n_pieces)], dtype="<u8")
    # One file is open at a time: there may be more of them than a process may have open.
    edges = [_edges(_column(path, LINE), borders) for path in paths]
    for piece in range(n_pieces):
        parts = [np.empty(0, LINE)]
        for path, edge, begin in zip(paths, edges, begins, strict=False):
            rows = np.fromfile(path, LINE, edge[piece + 1] - edge[piece], offset=edge[piece] * LINE.itemsize)
            rows["document"] += np.uint32(begin)
            parts.append(rows)
        yield np.concatenate(parts)


def _edges(rows: Rows, borders: Rows) -> list[int]:
    return [0, *np.searchsorted(rows["line"], borders).tolist(), len(rows)]


def _count(found: Rows, known: _Documents) -> Rows:
    """Documents and bodies by line and site, of lines that recur, as `RECURRING`."""
    lines, place, document = _repeated(found)
    site = known.site[document]
    at, slot = np.nonzero(site)  # 0 is `WHOLE`, which is none
    pair = place[at] * len(known.sites) + site[at, slot]
    order = np.argsort(pair)
    pair, document = pair[order], document[at[order]]
    starts = run_starts(pair)
    n = np.diff([*starts, len(pair)])
    is_several = np.repeat(n > 1, n)
    pair, document = pair[is_several], document[is_several]
    starts = run_starts(pair)
    counted = np.zeros(len(starts), RECURRING)
    counted["line"] = lines[pair[starts] // len(known.sites)]
    own = pair[starts] % len(known.sites)
    counted["site"], counted["of"] = known.sites[own], known.sizes[own]
    counted["documents"] = np.diff([*starts, len(pair)])
    counted["headed"] = np.add.reduceat(known.headed[document], starts, dtype=np.int64) if len(starts) else 0
    run = np.repeat(np.arange(len(starts)), counted["documents"])
    counted["bodies"] = np.max([_distinct(run, bodies[document], int(known.begins[-1])) for bodies in known.bodies], 0)
    return counted


def _repeated(found: Rows) -> tuple[Rows, Rows, Rows]:
    """Lines that several documents have, and for each time that one does the place of the line, and the document."""
    order = np.argsort(found["line"])
    lines = found["line"][order]
    starts = run_starts(lines)
    n = np.diff([*starts, len(lines)])
    is_several = np.repeat(n > 1, n)
    return lines[starts][n > 1], np.repeat(np.arange((n > 1).sum()), n[n > 1]), found["document"][order[is_several]]


def run_starts(values: Rows) -> Rows:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.concatenate([np.ones(min(len(values), 1), bool), values[1:] != values[:-1]]))


def _distinct(run: Rows, values: Rows, limit: int) -> Rows:
    """How many different values, below the limit, each run has; runs are numbered from 0."""
    both = np.sort(run * limit + values)
    return np.bincount(both[run_starts(both)] // max(limit, 1))


def _everywhere(counted: Rows, threshold: int) -> Rows:
    """Rows for the whole corpus: furniture of enough sites."""
    furniture = counted[is_furniture(counted["bodies"], counted["of"], threshold)]
    starts = run_starts(furniture["line"])
    whole = furniture[starts]
    for name in COUNTS:
        whole[name] = np.add.reduceat(furniture[name], starts) if len(starts) else 0
    whole["site"] = WHOLE
    enough: Rows = whole[np.diff([*starts, len(furniture)]) >= SITES]
    return enough


def is_furniture(bodies: Any, of: Any, threshold: int) -> Any:
    """Whether a line that stands around so many bodies, of so many documents, is furniture; for arrays as well."""
    return (bodies >= threshold) & (bodies >= SHARE * of)


class Recurring:
    """What `merge` wrote, looked up without being read as a whole."""

    def __init__(self, folder: Path) -> None:
        self.columns = {name: _column(folder / name, np.dtype(kind)) for name, kind in COLUMNS.items()}
        self.lines, self.sites, self.learned = (_column(folder / name, np.dtype("<u8")) for name in LISTS)

    def find(self, lines: Rows, document: Rows, sites: Rows) -> Rows:
        """Rows of lines on the sites of their documents, and in the last column on `WHOLE`; -1 where one isn't there.

        Args:
            lines: Fingerprints.
            document: Of each line: a row of `sites`.
            sites: Fingerprints of the sites of each document, with `WHOLE` where there is none.
        """
        line, site = look_up(self.lines, lines), look_up(self.sites, sites)
        site[sites == WHOLE] = -1
        site = np.append(site, np.zeros((len(site), 1), site.dtype), axis=1)[document]  # 0 is the place of `WHOLE`
        found = np.full(site.shape, -1)
        is_known = (line >= 0)[:, None] & (site >= 0)
        pairs = (line[:, None] * len(self.sites) + site)[is_known]
        found[is_known] = look_up(self.columns["pair"], pairs.astype("<u8"))
        return found

    def judge(self, lines: Rows, document: Rows, sites: Rows) -> Judged:
        """What the counts say of lines; arguments as in `find`."""
        at = self.find(lines, document, sites)
        recurs = at >= 0
        if not recurs.any():
            return Judged(*(np.zeros(len(lines), bool) for _ in Judged._fields))
        furniture = recurs & self.columns["furniture"][at]
        is_plain = furniture & (2 * self.columns["headed"][at] <= self.columns["documents"][at])
        learned = np.asarray(furniture.any(1))
        return Judged(np.asarray(recurs.any(1)), learned, learned & ~is_plain.any(1))

    def candidates(self, threshold: int) -> Rows:
        """Fingerprints of lines that stand around enough bodies of some site, in order."""
        return np.unique(self.line(np.flatnonzero(self.columns["bodies"] >= threshold)))

    def line(self, row: Any) -> Any:
        """Fingerprint of the line of a row; for arrays as well."""
        return self.lines[self.columns["pair"][row] // np.uint64(len(self.sites))]


@cache
def recurring(folder: Path) -> Recurring:
    """What `merge` wrote to a folder; opened once in a worker process, since `revise` looks up one document each."""
    return Recurring(folder)


def _column(path: Path, kind: "np.dtype[Any]") -> Rows:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)


def look_up(among: Rows, values: Rows) -> Rows:
    """Where values stand in a sorted array; -1 for those that don't."""
    if not len(among):
        return np.full(values.shape, -1)
    at = np.searchsorted(among, values)
    at[at == len(among)] = 0
    return np.where(among[at] == values, at, -1)


def told(counted: Counted, known: Recurring) -> Rows:
    """What the counts say of each document of a batch, as a digest: 0 if none of its lines is learned.

    It tells the lines apart, but not their order: that is the same as long as the document is.
    """
    documents, lines = np.fromfile(counted.documents, DOCUMENT), np.fromfile(counted.lines, LINE)
    has_learned = np.zeros(len(documents), bool)
    has_learned[lines["document"][look_up(known.learned, lines["line"]) >= 0]] = True
    lines = lines[has_learned[lines["document"]]]
    judged = known.judge(lines["line"], lines["document"], documents["sites"])
    said = judged.recurs * np.uint64(1) + judged.learned * np.uint64(2) + judged.headed * np.uint64(4)
    digests = np.zeros(len(documents), "<u8")
    np.add.at(digests, lines["document"], _mixed(_mixed(lines["line"]) + said))
    has_learned[:] = False
    has_learned[lines["document"][judged.learned]] = True
    return np.where(has_learned, np.maximum(digests, 1), 0).astype("<u8")


def nothing_told(counted: Counted) -> Rows:
    """As `told`, where nothing was to be learned."""
    return np.zeros(counted.documents.stat().st_size // DOCUMENT.itemsize, "<u8")


def _mixed(values: Rows) -> Rows:
    """Numbers of which every bit depends on every bit: the last steps of SplitMix64 (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Rows = values ^ (values >> np.uint64(31))
    return mixed
