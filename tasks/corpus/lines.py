"""Lines that recur across the documents of a site: counted in one pass, as fingerprints, in bounded memory.

What is known of a line is how many documents of a site have it, and how many *bodies* they have: an article that came
ten times is ten documents and one body, a line of the site's template stands around as many bodies as documents.

- A shard writes a file of `ROW`s, sorted by line: 45 bytes for each line near the ends of a document, and for each site
  that the document is of.
- `merge` goes through all files side by side, by ranges of fingerprints, and writes what recurs: 48 bytes for each line
  and site, sorted again, in files that workers map. It holds `MERGE_ROWS` rows in memory (about 400 MB), or as many
  as the commonest line has.

Counts are sums over documents, so neither the order nor the number of shards matters.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from schemas.document import Outcome
from tasks.corpus.duplicates import grams
from tasks.steps.dates import MONTH
from tasks.steps.lines import Line, is_prose, key, lines_of

HEAD_LINES = 12
TAIL_LINES = 40
"""Lines at either end that are looked at: as far as the rules for furniture look (`tasks.steps.boilerplate`)."""

MERGE_ROWS = 2_000_000
"""Rows in memory at a time: 90 MB, four times over while they are sorted."""

SHARE = 0.3
"""Part of a site's documents that its furniture is on. In a year of news from one site the commonest title is on 7 %
of the pages, as is a line under the last item of each day; a site with three templates has each on a third."""

ANCESTORS = 2
"""Folders around that of a file that are taken for sites too: `site/2024/05/page.txt`. One that holds several sites
does no harm: nothing is on enough of its pages."""

SITES = 5
"""A line that is furniture of that many sites is furniture everywhere: what a content management system puts in."""

WHOLE = 0
"""In place of a site: the whole corpus."""

MIXERS = (1, 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
"""Odd factors that make three hashes of one: steps of the golden ratio and of the plastic number (Roberts' R2)."""

ROW = np.dtype([("line", "<u8"), ("site", "<u8"), ("body", "<u8", len(MIXERS)), ("document", "<u4"), ("headed", "?")])
"""A line of a document: its fingerprint, that of one of its sites, those of the body; the document's place in its
shard, and whether there are headings between its paragraphs."""

COLUMNS = ("line", "site", "documents", "bodies", "of", "headed")

RECURRING = np.dtype([(name, "<u8" if name in {"line", "site"} else "<i8") for name in COLUMNS])
"""A line that more than one document of a site has; `of` are the documents of the site."""

CANDIDATES = "candidates"
"""Lines that stand around enough bodies of some site."""

Rows = np.ndarray[Any, Any]

_VARYING = re.compile(
    r"\d+|(?<=星期|礼拜)[一二三四五六日天]|(?<=周)[一二三四五六日](?=\d|$)"
    rf"|(?<=\d){MONTH}|{MONTH}(?=\d)|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
)
"""What a clock puts into a line: numbers, weekdays, months."""
_LETTER = re.compile(r"[^\W\d年月日时分秒点星期周一二三四五六七八九十〇零_]")
"""Something to recognise a line by: dates and numbers alone are nothing."""


_END = 40
"""Characters: folding takes time, and paragraphs are long."""


_LONGEST_BODY = 20_000
"""Characters: a sample of a book will do."""


class Place(NamedTuple):
    """A line of a document, with its fingerprint; 0 where there is nothing to recognise it by."""

    line: Line
    fingerprint: int


class Count(NamedTuple):
    """How often a line was seen on a site."""

    documents: int
    bodies: int
    of: int
    headed: int
    """Documents with headings between their paragraphs."""


def fingerprint(text: str) -> int:
    """64 bits of a line in Simplified, without signs, with any number or weekday for any other; 0 if that is nothing.

    Of a long line both ends count: it is the same if these are.
    """
    ends = text if len(text) <= 2 * _END else text[:_END] + text[-_END:]
    folded = _VARYING.sub("0", key(ends))
    return _hash(folded) if _LETTER.search(folded) else 0


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "little") or 1


def sites_of(outcome: Outcome) -> dict[int, str]:
    """Sites that a document may be of, by their fingerprints: where it was found, and what the page says of itself."""
    facts: Mapping[str, str] = outcome.cleaned.facts if outcome.cleaned else {}
    uri = outcome.origin.source_uri
    found_in = [_host(uri)] if _host(uri) else _folders(uri)
    names = [*found_in, _host(facts.get("source_url", "")), facts.get("site_name", "")]
    return {_hash(name): name for name in names if name}


def _folders(uri: str) -> list[str]:
    """Folder of a file, and those around it: crawls are kept by site, or by site and date. The root is none."""
    path = uri.rpartition("/")[0]
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
    near = lines if len(lines) <= HEAD_LINES + TAIL_LINES else [*lines[:HEAD_LINES], *lines[-TAIL_LINES:]]
    return [Place(line, fingerprint(line.text)) for line in near]


def rows(text: str, sites: Collection[int], document: int) -> Rows:
    """What the clean text of a document adds to the counts of its sites, as `ROW`s."""
    lines = lines_of(text)
    near = {place.fingerprint for place in places(lines)} - {0}
    prose = [is_prose(line.text) for line in lines]
    body = _body("".join(line.text for line, is_paragraph in zip(lines, prose, strict=True) if is_paragraph))
    headed = _is_headed(prose)
    return np.array([(line, site, body, document, headed) for line in near for site in sites], dtype=ROW)


def _body(text: str) -> tuple[int, ...]:
    """The smallest hash of a shingle (MinHash), three times: copies have the same as often as they share shingles.

    So fifty copies of an article with a damaged character in every other line are five bodies or so. The largest of
    three counts is believed, since a disclaimer may have the smallest hash of all pages of its site.
    """
    hashes = grams(text[:_LONGEST_BODY])
    return tuple(int((hashes * np.uint64(factor)).min(initial=2**64 - 1)) for factor in MIXERS)


def _is_headed(prose: Sequence[bool]) -> bool:
    """Whether something else stands between the first three paragraphs; what is further down may be a disclaimer."""
    first_three = [i for i, is_paragraph in enumerate(prose) if is_paragraph][:3]
    return bool(first_three) and first_three[-1] - first_three[0] >= len(first_three)


def write_rows(found: Sequence[Rows], path: Path) -> None:
    """Write rows, sorted by line."""
    together = np.concatenate([np.empty(0, ROW), *found])
    np.save(path, together[np.argsort(together["line"], kind="stable")])


def merge(paths: Sequence[Path], sizes: Mapping[int, int], threshold: int, folder: Path) -> None:
    """Count what shards have written, and write what recurs to a folder, for `Recurring`.

    Args:
        paths: Files of `write_rows`.
        sizes: Documents of each site.
        threshold: As in `is_furniture`.
        folder: A file for each column of `RECURRING` is written there, and one of the lines that are `candidates`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in (*COLUMNS, CANDIDATES)}
        for piece in _pieces([np.load(path, mmap_mode="r") for path in paths]):
            counted = _count(piece, sizes)
            counted = np.concatenate([counted, _everywhere(counted, threshold)])
            counted = counted[np.lexsort((counted["site"], counted["line"]))]
            for name in COLUMNS:
                files[name].write(counted[name].tobytes())
            files[CANDIDATES].write(np.unique(counted["line"][counted["bodies"] >= threshold]).tobytes())


def _pieces(files: Sequence[Rows]) -> Iterator[Rows]:
    """All rows of one range of fingerprints after another."""
    n_pieces = max(1, -(-sum(map(len, files)) // MERGE_ROWS))
    begins = np.array([piece * (2**64 // n_pieces) for piece in range(n_pieces)], dtype="<u8")
    edges = [[*np.searchsorted(file["line"], begins), len(file)] for file in files]
    for piece in range(n_pieces):
        parts = [file[edge[piece] : edge[piece + 1]] for file, edge in zip(files, edges, strict=True)]
        yield np.concatenate([np.empty(0, ROW), *parts])


def _count(found: Rows, sizes: Mapping[int, int]) -> Rows:
    """Documents and bodies by line and site, of lines that recur."""
    found = found[np.lexsort((found["site"], found["line"]))]
    starts = _starts(found["line"], found["site"])
    counted = np.zeros(len(starts), RECURRING)
    for name in ("line", "site"):
        counted[name] = found[name][starts]
    counted["documents"] = np.diff([*starts, len(found)])
    counted["headed"] = np.add.reduceat(found["headed"], starts, dtype=np.int64) if len(starts) else 0
    run = np.repeat(np.arange(len(starts)), counted["documents"])
    counted["bodies"] = np.maximum.reduce([_distinct(run, found["body"][:, i]) for i in range(len(MIXERS))])
    counted = counted[counted["documents"] > 1]
    counted["of"] = [sizes[int(site)] for site in counted["site"]]
    return counted


def _starts(*columns: Rows) -> Rows:
    """Where runs of equal rows begin."""
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(np.concatenate([np.ones(min(len(columns[0]), 1), bool), changes]))


def _distinct(run: Rows, values: Rows) -> Rows:
    """How many different values each run has; runs are numbered from 0."""
    order = np.lexsort((values, run))
    return np.bincount(run[order][_starts(run[order], values[order])])


def _everywhere(counted: Rows, threshold: int) -> Rows:
    """Rows for the whole corpus: furniture of enough sites."""
    furniture = counted[is_furniture(counted["bodies"], counted["of"], threshold)]
    starts = _starts(furniture["line"])
    whole = furniture[starts]
    for name in ("documents", "bodies", "of", "headed"):
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
        self._columns = {name: _column(folder / name, RECURRING[name]) for name in COLUMNS}
        self._candidates = _column(folder / CANDIDATES, RECURRING["line"])

    def concerned(self, path: Path) -> frozenset[int]:
        """Documents of a shard that have lines which may be furniture, by their places; the shard's file is given."""
        found = np.load(path, mmap_mode="r")
        at = np.searchsorted(self._candidates, found["line"])
        known = np.append(self._candidates, 0)[at] == found["line"]
        return frozenset(found["document"][known].tolist())

    def look_up(self, fingerprints: Sequence[int], sites: Iterable[int]) -> list[dict[int, Count]]:
        """Counts of each line by site, `WHOLE` included, as far as it recurs there."""
        wanted = {*sites, WHOLE}
        lines = np.array(fingerprints, dtype="<u8")
        begins, ends = (np.searchsorted(self._columns["line"], lines, side).tolist() for side in ("left", "right"))
        return [
            {site: self._count(i) for i in range(begin, end) if (site := int(self._columns["site"][i])) in wanted}
            for begin, end in zip(begins, ends, strict=True)
        ]

    def _count(self, i: int) -> Count:
        return Count(*(int(self._columns[name][i]) for name in Count._fields))


@cache
def recurring(folder: Path) -> Recurring:
    """What `merge` wrote to a folder; opened once in a process."""
    return Recurring(folder)


def _column(path: Path, kind: "np.dtype[Any]") -> Rows:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)
