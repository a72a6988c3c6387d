"""How many copies of an article are found, what is taken for one and is none, and what it costs.

    python -m benchmarks.duplicates [FOLDER-or-FILE] [--documents N] [--copies N] [--seed S] [--kinds a,b] [--plain]
                                    [--examples N] [--workers N]

FOLDER holds `.txt`, `.jsonl` or `.jsonl.gz` files, as for `benchmarks/fidelity.py`; without it the texts are those of
`benchmarks/texts`. N of its Simplified documents are copied: each copy is edited lightly three times in four (a
paragraph of less than a quarter dropped, an editor's line added, a fifth or less cut off at the end), then damaged by
one of the kinds of `benchmarks/fidelity.py`, then cleaned. All other documents of the folder stand among the copies as
they are.

Printed for each way of looking:

- found: pairs of copies of one article that end up in one cluster, in percent; the same for pairs of which neither
  or one was edited.
- false: documents that a copy of another article, or another document, stands for. All are shown (--examples): some
  turn out to be true, where the folder has an article twice.
- documents a second of processor time, reading and folding included.

The ways: this project (`tasks/corpus/duplicates.py`) on clean text; the same on the damaged text, which shows what
repair is worth; the hash of the folded text alone; and MinHash as rensa offers it (128 permutations, threshold 0.7),
which takes what it estimates for granted. --plain leaves the copies away: what is found then is in the folder itself.
"""

import argparse
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHashDeduplicator

from benchmarks.fidelity import KINDS, TEXTS, read_texts, script_of
from schemas.config import CleanConfig
from schemas.dataset import CLEAN
from schemas.index import INDEX
from tasks.clean import clean
from tasks.corpus.duplicates import GRAM, Mark, find_changes, folded, signatures
from tasks.publish.parts import BatchFiles

SHORTEST, LONGEST = 120, 2000
"""Characters of the documents that are copied. A longer one is cut at a line's end."""

NOT_DAMAGE = ("pinyin behind every character", "glosses by hand")
"""Kinds in which nothing is to be repaired, and the text is another one."""

EDITORS_LINES = (
    "编者按：本文转载自其他媒体，不代表本网立场。",
    "本文由小编整理发布，希望对您有所帮助。",
    "更多精彩内容请持续关注我们的后续报道。",
    "以上就是今天给大家带来的全部内容，感谢您的阅读。",
    "记者从有关部门获悉，相关情况正在进一步核实之中。",
)


class Document(NamedTuple):
    """A document to be compared."""

    article: int
    """What it is a copy of; documents that are no copies have numbers of their own."""
    observed: str
    """Damaged."""
    text: str
    """Clean."""
    damage: list[tuple[int, int]]
    how: str
    """How it was edited, and damaged."""

    @property
    def is_edited(self) -> bool:
        """Whether it was edited before it was damaged."""
        return not self.how.startswith("as it is")


# Making copies


def edited(text: str, rng: random.Random) -> tuple[str, str]:
    """The text as an editor of a clone site changes it, and what that is called."""
    paragraphs = text.split("\n")
    how = rng.choice(("as it is", "dropped", "line", "tail"))
    short = [i for i, paragraph in enumerate(paragraphs) if len(paragraph) < 0.25 * len(text)]
    if how == "dropped" and short:
        del paragraphs[rng.choice(short)]
    elif how == "line":
        paragraphs.insert(rng.choice((0, len(paragraphs))), rng.choice(EDITORS_LINES))
    elif how == "tail":
        return text[: int(len(text) * rng.uniform(0.8, 0.97))], how
    else:
        how = "as it is"
    return "\n".join(paragraphs), how


class Job(NamedTuple):
    """One copy of one article."""

    article: int
    text: str
    kind: str
    seed: str


def copy(job: Job) -> Document:
    """Edit, damage and clean a text."""
    rng = random.Random(job.seed)
    text, how = edited(job.text, rng)
    observed = KINDS[job.kind].model(text, rng).observed
    cleaned = clean(observed, CleanConfig())
    damage = [(place.start, place.start + len(place.text)) for place in cleaned.damage]
    return Document(job.article, observed, cleaned.text, damage, f"{how}, {job.kind}")


def jobs(articles: Mapping[int, str], kinds: Sequence[str], copies: int, seed: int) -> Iterator[Job]:
    """Copies of all articles, with kinds of damage that differ as far as there are as many."""
    for article, text in articles.items():
        rng = random.Random(f"{seed}/{article}")
        drawn = rng.sample(kinds, min(copies, len(kinds))) + rng.choices(kinds, k=max(copies - len(kinds), 0))
        yield from (Job(article, text, kind, f"{seed}/{article}/{i}") for i, kind in enumerate(drawn))


def articles_of(path: Path, n: int, seed: int) -> tuple[dict[int, str], list[str]]:
    """Documents to be copied, by number, and all others."""
    texts = [re.sub(r"\s*\n\s*", "\n", text.strip()) for text in read_texts(path)]
    fit = [i for i, text in enumerate(texts) if len(text) >= SHORTEST and script_of(text) == "hans"]
    drawn = set(random.Random(seed).sample(fit, min(n, len(fit))))
    cut = {i: texts[i] if len(texts[i]) <= LONGEST else texts[i][:LONGEST].rpartition("\n")[0] for i in sorted(drawn)}
    return {i: text for i, text in cut.items() if text}, [
        text for i, text in enumerate(texts) if i not in drawn and text
    ]


# Ways of looking

Clusters = list[int]
"""For each document the number of the one that stands for it; its own if none does."""

Way = Callable[[list[Document]], Clusters]


def ours(documents: list[Document]) -> Clusters:
    """This project, on clean text."""
    return _found([document.text for document in documents], [document.damage for document in documents])


def unrepaired(documents: list[Document]) -> Clusters:
    """This project, on text that nobody repaired."""
    return _found([document.observed for document in documents], [[] for _ in documents])


def _found(texts: list[str], damage: list[list[tuple[int, int]]]) -> Clusters:
    with tempfile.TemporaryDirectory() as folder:
        (marks,) = find_changes([_stored(texts, damage, Path(folder))], Path(folder) / "signatures").marks
    stands_for = {int(doc_id, 16): int(mark.duplicate_of, 16) for doc_id, mark in marks.items() if mark.duplicate_of}
    return [stands_for.get(i, i) for i in range(len(texts))]


def _stored(texts: list[str], damage: list[list[tuple[int, int]]], folder: Path) -> BatchFiles:
    """Texts as a dataset has them, as far as duplicates are concerned."""
    rows = [
        {
            "doc_id": f"{i:032x}",
            "text": text,
            "damage": [{"kind": "", "start": a, "text": text[a:b]} for a, b in places],
            "published_at": None,
            "n_chars": len(text),
            "edits_by_step": [],
        }
        for i, (text, places) in enumerate(zip(texts, damage, strict=True))
    ]
    index = [{"doc_id": row["doc_id"], **signed} for row, signed in zip(rows, signatures(rows), strict=True)]
    clean = pa.schema([CLEAN.field(name) for name in ("doc_id", "text", "damage")])
    pq.write_table(pa.Table.from_pylist(rows, schema=clean), folder / "clean", row_group_size=1000)
    columns = [field for field in INDEX if field.name in {*index[0], *Mark._fields}]
    pq.write_table(pa.Table.from_pylist(index, schema=pa.schema(columns)), folder / "index")
    return BatchFiles(folder / "index", folder / "clean", None, None)


def same_hash(documents: list[Document]) -> Clusters:
    """Documents whose clean text is the same, folded."""
    first: dict[str, int] = {}
    return [first.setdefault(folded(document.text), i) for i, document in enumerate(documents)]


def minhash_alone(documents: list[Document]) -> Clusters:
    """Rensa's own deduplicator on the same shingles, as its README has it: the first document is kept."""
    found = RMinHashDeduplicator(threshold=0.7, num_perm=128, use_lsh=True)
    kept = list[int]()
    for i, document in enumerate(documents):
        text = folded(document.text)
        shingles = [text[j : j + GRAM] for j in range(len(text) - GRAM + 1)]
        same = list(map(int, found.get_duplicate_sets([shingles])[0]))
        kept.append(min((kept[j] for j in same), default=i))
        found.add_pairs([(str(i), shingles)])
    return kept


WAYS: dict[str, Way] = {
    "this project": ours,
    "the same, unrepaired text": unrepaired,
    "hash of the folded text": same_hash,
    "MinHash alone, 0.7": minhash_alone,
}


# Counting


def pairs_found(documents: list[Document], clusters: Clusters) -> tuple[Counter[str], Counter[str]]:
    """Pairs of copies, all and found: in all, and of those that were not both edited."""
    every, found = Counter[str](), Counter[str]()
    by_article = defaultdict(list)
    for i, document in enumerate(documents):
        by_article[document.article].append(i)
    for members in by_article.values():
        for i, j in combinations(members, 2):
            both = documents[i].is_edited and documents[j].is_edited
            for name in ("all", *(() if both else ("one",))):
                every[name] += 1
                found[name] += clusters[i] == clusters[j]
    return every, found


def false_ones(documents: list[Document], clusters: Clusters) -> list[tuple[int, int]]:
    """Documents that one of another article stands for, and these."""
    return [(i, kept) for i, kept in enumerate(clusters) if documents[i].article != documents[kept].article]


def percent(part: int, whole: int) -> str:
    """Of nothing, there is no share."""
    return f"{100 * part / whole:.2f}" if whole else "-"


def row(name: str, documents: list[Document], clusters: Clusters, seconds: float) -> str:
    """One line of the table."""
    every, found = pairs_found(documents, clusters)
    false = len(false_ones(documents, clusters))
    shares = f"{percent(found['all'], every['all']):>9}{percent(found['one'], every['one']):>16}"
    return f"{name:28}{shares}{false:7}{len(documents) / seconds:9,.0f}"


def show(documents: list[Document], pairs: Iterable[tuple[int, int]]) -> None:
    """The beginnings of two documents each, one above the other."""
    for i, j in pairs:
        for document in (documents[i], documents[j]):
            print(f"    {document.how:40} {document.text[:100]!r}")
        print()


def missed(documents: list[Document], clusters: Clusters) -> Iterator[tuple[int, int]]:
    """Pairs of copies that were not found."""
    for i, j in combinations(range(len(documents)), 2):
        if documents[i].article == documents[j].article and clusters[i] != clusters[j]:
            yield i, j


def cost(documents: list[Document]) -> str:
    """What a document takes while signatures are compared, and what it takes to compare all of them again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batch = _stored([d.text for d in documents], [d.damage for d in documents], folder)
        found = find_changes([batch], folder / "signatures")
        sizes = {path.stem: path.stat().st_size / len(documents) for path in (folder / "signatures").iterdir()}
        start = time.process_time()
        find_changes([batch], folder / "again", found.pairs)
        again = time.process_time() - start
    n_chars = sum(len(document.text) for document in documents) / len(documents)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"a document of {n_chars:.0f} characters takes {sizes['rows'] + sizes['stored']:.0f} bytes of memory, and of "
        f"disk, while the run lasts, {sizes['keys']:.0f} for keys and {sizes.get('folded-000000', 0):,.0f} for folded "
        f"text of candidates; afterwards {sizes['pairs']:.0f} for pairs; {peak:,.0f} MB at the peak\n"
        f"comparing all of them again takes {again:.2f} s where nothing has changed"
    )


# Command line


def arguments() -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="?", default=TEXTS, metavar="FOLDER-or-FILE")
    parser.add_argument("--documents", type=int, default=20, metavar="N", help="that are copied (default: 20)")
    parser.add_argument("--copies", type=int, default=3, metavar="N", help="of each (default: 3)")
    parser.add_argument("--kinds", default="", help="parts of names of kinds of damage, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="no copies: what is found is in the folder itself")
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="false ones and misses to show")
    parser.add_argument("--workers", type=int, default=2, help="processes that clean (default: 2)")
    options = parser.parse_args()
    names = [name for name, kind in KINDS.items() if kind.texts == "hans" and name not in NOT_DAMAGE]
    options.chosen = [name for name in names if any(part in name for part in options.kinds.split(","))]
    if not options.chosen:
        parser.error(f"no kind of {options.kinds}; there are: {'; '.join(names)}")
    try:
        options.found = articles_of(options.texts, 0 if options.plain else options.documents, options.seed)
    except (OSError, ValueError) as error:
        parser.error(f"{options.texts}: {error}")
    return options


def gather(options: argparse.Namespace) -> list[Document]:
    """Copies, and what stands among them, in an order that says nothing."""
    articles, others = options.found
    todo = list(jobs(articles, options.chosen, options.copies, options.seed))
    with ProcessPoolExecutor(options.workers) as pool:
        copies = list(pool.map(copy, todo, chunksize=4))
    documents = [*copies, *(Document(-i, text, text, [], "of the folder") for i, text in enumerate(others, 1))]
    random.Random(options.seed).shuffle(documents)
    return documents


def main() -> int:
    """Print the table."""
    options = arguments()
    documents = gather(options)
    n_copies = sum(document.article >= 0 for document in documents)
    n_others = len(documents) - n_copies
    print(f"{n_copies:,} copies of {len(options.found[0]):,} articles among {n_others:,} other documents\n")
    print(f"{'':28}{'found, %':>9}{'not both edited':>16}{'false':>7}{'docs/s':>9}")
    results: dict[str, Any] = {}
    for name, way in WAYS.items():
        start = time.process_time()
        results[name] = way(documents)
        print(row(name, documents, results[name], time.process_time() - start), flush=True)
    print(f"\n{cost(documents)}")
    for name in WAYS if options.examples else ():
        print(f"\n{name}: false")
        show(documents, false_ones(documents, results[name])[: options.examples])
    if options.examples:
        print("this project: missed")
        show(documents, list(missed(documents, results["this project"]))[: options.examples])
    return 0


if __name__ == "__main__":
    sys.exit(main())
