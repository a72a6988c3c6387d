"""What a run costs besides cleaning, by how much there is of it: does it grow linearly, and where does it end?

    python -m benchmarks.scale [PART ...] [--sizes N,N,…] [--texts FOLDER-or-FILE] [--pages FOLDER] [--seed S] [--quick]

Nothing is cleaned but by the part `documents`: the rest are the functions that a run calls, on made-up sources and
batches. Parts, all of them if none is named, and what their sizes count:

- driver: sources. Finding files, planning, packing shards; as many shards as sources; then with a dataset that knows
  as many documents, one in each file, and a thousand in each container.
- prefect: tasks that do nothing, through the runner of this machine and Prefect's temporary server.
- manifest: batches of a snapshot. Writing and reading its manifest, the view of hard links, checks.
- index: documents. Reading what a re-ingest goes by.
- lines: documents. Counting lines, merging the counts, what they say of each document, the table.
- duplicates: documents, a tenth of them copies. Signing, gathering, folding, finding.
- documents: documents of each kind. Reading WARC and cleaning, the only part that needs text: --texts as for
  `benchmarks/fidelity.py`, --pages a folder with files of HTML at any depth. Without them the texts and pages are the
  project's own.

Seconds are of processor time, those of other processes included: the machine may be a shared one. Memory is the peak
above what was there before, mapped pages included. Both are printed for each unit, with the exponent of growth between
the smallest and the largest size: 1 is linear, and less where something is the same whatever the size.
"""

import argparse
import contextlib
import ctypes
import gc
import gzip
import hashlib
import itertools
import math
import multiprocessing
import os
import pickle
import random
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fidelity import KINDS, TEXTS, documents
from schemas.config import CleanConfig, RunConfig
from schemas.dataset import CLEAN
from schemas.document import Outcome, Run
from schemas.index import BAND_BYTES, FILES, INDEX
from tasks.corpus import Revision, duplicates, lines
from tasks.corpus.duplicates import signatures
from tasks.corpus.table import lines_table
from tasks.document import clean_document
from tasks.ingest.batches import write_batch
from tasks.ingest.plan import Plan, plan_run, read_known, split_sources
from tasks.publish.counts import Counts
from tasks.publish.local import LocalStore
from tasks.publish.parts import BatchFiles
from tasks.publish.snapshots import BATCH_TABLES, Batch, Snapshot, StoredPart, from_json, to_json
from tasks.read import read_span
from tasks.read.records import Document, Span
from tasks.read.sources import Source, find_sources
from tasks.shards import SHARD_BYTES, Work, plan_shards
from tasks.shards.journal import Journal

SIZES = {
    "driver": (10_000, 100_000, 1_000_000),
    "prefect": (100, 1_000, 5_000),
    "manifest": (1_000, 10_000, 100_000),
    "index": (10_000, 100_000, 400_000),
    "lines": (10_000, 50_000, 200_000),
    "duplicates": (2_000, 10_000, 40_000),
    "documents": (200,),
}
QUICK = {
    "driver": (100, 1_000),
    "manifest": (5, 50),
    "index": (500, 1_000),
    "lines": (500, 1_000),
    "duplicates": (200, 400),
    "documents": (1,),
}
"""For a look at whether it works; without Prefect, which takes ten seconds to start."""

MOST_FILES = 100_000
"""That are made on a disk, empty; of batches a tenth, since each has a file in four tables."""

MOST_KNOWN = 100_000
"""Documents that a dataset knows in the part `driver`: it takes longer to make one up than to plan with it."""

BATCH = 1_000
"""Documents of a batch: FULL_DOCUMENTS."""

SITE_PAGES, PAGE_LINES, SITE_LINES = 100, 24, 8
"""Pages of a made-up site; lines near the ends of a page; as many of those are on all pages of its site."""

CHARACTERS = 600
"""Of a made-up text: a news item."""

COPIES = 10
"""One document of so many is a copy of another."""

DAMAGE = ("glosses, dropped", "shift, pairs kept", "UTF-8 as GB18030, one line in three", "GBK as Latin-1")
"""Kinds of `benchmarks/fidelity.py`, by turns."""

LINEAR = 1.25
"""Exponent up to which something is taken to be linear: sorting is, and processors are slower with less in a cache."""

SEEDS = Path(__file__).parents[1] / "seeds"

RUN = Run("0" * 32, datetime(2026, 11, 22, tzinfo=UTC), CleanConfig(), "0", "0" * 64)

_TICKS = os.sysconf("SC_CLK_TCK")

Rows = np.ndarray[Any, Any]


# Measuring


class Row(NamedTuple):
    """What something took."""

    n: int
    seconds: float
    """Of processor time."""
    memory: int
    """Bytes, at the peak, above what was there before."""
    written: int | None
    """Bytes; None if that was not asked."""


@dataclass
class Meter:
    """Calls functions, and notes what they take."""

    unit: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """By what was done."""

    def __call__(self, what: str, n: int, do: Callable[[], Any], folder: Path | None = None) -> Any:
        """Call a function on `n` units. What it adds to a folder counts as written."""
        before = _size(folder) if folder else 0
        at_rest, started = _reset_peak(), _processor_seconds()
        result = do()
        seconds, memory = _processor_seconds() - started, max(_memory("VmHWM") - at_rest, 0)
        self.add(what, Row(n, seconds, memory, _size(folder) - before if folder else None))
        return result

    def add(self, what: str, row: Row) -> None:
        """Note what was measured elsewhere."""
        self.rows.setdefault(what, []).append(row)

    def show(self) -> None:
        """Print a line for each size, and how it grows."""
        head = (
            f"{self.unit + ('es' if self.unit.endswith('ch') else 's'):>10}",
            "s",
            f"µs/{self.unit}",
            f"B memory/{self.unit}",
            f"B written/{self.unit}",
        )
        print(f"  {'':26}" + "".join(f"{title:>22}" if i > 2 else f"{title:>16}" for i, title in enumerate(head)))
        for what, rows in self.rows.items():
            for row in rows:
                written = "" if row.written is None else f"{row.written / row.n:,.0f}"
                figures = f"{row.n:>16,}{row.seconds:>16.2f}{1e6 * row.seconds / row.n:>16,.1f}"
                print(f"  {what:26}{figures}{row.memory / row.n:>22,.0f}{written:>22}")
            print(f"  {'':26}{growth(rows)}")


def growth(rows: Sequence[Row]) -> str:
    """How time and memory grow, up to the largest size from the smallest at which there is enough of them to tell."""
    times, memories = [(row.n, row.seconds) for row in rows], [(row.n, float(row.memory)) for row in rows]
    return f"time {_grows(times, 0.02)}; memory {_grows(memories, 2.0**23)}"


def _grows(measured: Sequence[tuple[int, float]], least: float) -> str:
    enough = [point for point in measured if point[1] >= least]
    if len({n for n, _ in enough}) < 2:
        return "too little to tell"
    (n, before), (more, after) = enough[0], enough[-1]
    exponent = math.log(after / before) / math.log(more / n)
    return f"grows as n^{exponent:.2f}: {'MORE THAN LINEAR' if exponent > LINEAR else 'linear or less'}"


def _processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _reset_peak() -> int:
    """Give back what is free, and have the peak of memory begin anew (Linux, proc(5)); bytes that are in use."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(name: str, process: int | str = "self") -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# What there is


def source(number: int, n_bytes: int = 4_000) -> Source:
    """A made-up file of a made-up site."""
    name = f"/crawl/site-{number // SITE_PAGES:07}/{number:010}.html"
    return Source(f"file://{name}", Path(name), n_bytes, 1)


def index_rows(begin: int, end: int, dice: np.random.Generator, *, in_containers: bool = False) -> dict[str, Any]:
    """Columns of the index (`schemas.index`) of made-up documents, without signatures."""
    numbers, n = range(begin, end), end - begin
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
    sites = np.array(numbers) // SITE_PAGES
    furniture = (sites[:, None] * SITE_LINES + np.arange(1, SITE_LINES + 1)).astype(np.uint64)
    own = dice.integers(1, 2**63, (n, PAGE_LINES - SITE_LINES)).astype(np.uint64) * np.uint64(2)
    # An odd factor spreads them over all 64 bits, as fingerprints are, and makes no two of them one.
    found = np.sort(np.concatenate([furniture * np.uint64(0x9E3779B97F4A7C15), own], axis=1))
    packed = [number // BATCH for number in numbers]
    uris = [f"file:///crawl/{p:07}.warc.gz" for p in packed] if in_containers else [source(i).uri for i in numbers]
    records = [f"offset={4_000 * (i % BATCH)}" for i in numbers] if in_containers else [""] * n
    return {
        "doc_id": [told[:32] for told in ids],
        "source_uri": uris,
        "record": records,
        "state": ids,
        **{name: [name[:16]] * n for name in ("cleaned_with", "first_run_id", "run_id")},
        "reason": [None] * n,
        "sites": [[f"site-{site}.example"] for site in sites.tolist()],
        "lines": list(found),
        "body": list(dice.integers(1, 2**63, (n, 3)).astype(np.uint64)),
        "headed": [False] * n,
        "learned": [0] * n,
        "removed_lines": [[]] * n,
    }


def write_index(path: Path, columns: Mapping[str, Any]) -> Path:
    """Columns as a part of the index; those that are not given hold random bytes or nothing."""
    n = len(columns["doc_id"])
    noise = os.urandom(n * BAND_BYTES)
    signed = {
        "bands": [noise[i * BAND_BYTES : (i + 1) * BAND_BYTES] for i in range(n)],
        "folded_hash": [noise[i * 16 : i * 16 + 16] for i in range(n)],
    }
    given = {**signed, **columns}
    arrays = [pa.array(given.get(name, [None] * n), INDEX.field(name).type) for name in INDEX.names]
    pq.write_table(pa.Table.from_arrays(arrays, schema=INDEX), path, compression="zstd")
    return path


def known_dataset(folder: Path, n: int, seed: int, *, in_containers: bool = False) -> tuple[LocalStore, Snapshot]:
    """A dataset of which there is nothing but the index, and what the files looked like."""
    store = LocalStore(folder)
    objects = folder / "_store" / "objects"
    objects.mkdir(parents=True)
    dice = np.random.default_rng(seed)
    batches = []
    for begin in range(0, n, BATCH):
        name = f"index-{begin:010}"
        columns = index_rows(begin, min(begin + BATCH, n), dice, in_containers=in_containers)
        write_index(objects / name, columns)
        batches.append(Batch(begin // BATCH, {"index": StoredPart("", name, BATCH, 0)}, Counts(documents=BATCH)))
    uris = sorted({s.uri for s in (_containers(n) if in_containers else map(source, range(n)))})
    files = pa.table([uris, [1] * len(uris), [1] * len(uris), [True] * len(uris)], schema=FILES)
    pq.write_table(files, objects / "files")
    state = {"files": StoredPart("", "files", len(uris), 0)}
    return store, Snapshot(1, RUN.run_id, RUN.started_at, "3", tuple(batches), state=state)


def _containers(n: int) -> Iterator[Source]:
    for number in range(-(-n // BATCH)):
        name = f"/crawl/{number:07}.warc.gz"
        yield Source(f"file://{name}", Path(name), 4_000 * BATCH, 2)


def _index_paths(store: LocalStore, snapshot: Snapshot) -> list[Path]:
    return [store.path(batch.parts["index"]) for batch in snapshot.batches]


# Parts


def driver(meter: Meter, n: int, folder: Path, given: argparse.Namespace) -> None:
    """The list of sources, and its comparison with what is known."""
    config = RunConfig(sources=("unused",), out="unused")
    if n <= MOST_FILES:
        crawl = folder / "crawl"
        for number in range(n):
            path = crawl / f"{number // SITE_PAGES:07}" / f"{number:010}.html"
            if number % SITE_PAGES == 0:
                path.parent.mkdir(parents=True)
            path.touch()
        meter("find files", n, lambda: find_sources([str(crawl)], str(folder / "out"), folder))
    sources = meter("a list of sources", n, lambda: [source(number) for number in range(n)])
    store = LocalStore(folder)
    meter("nothing known: plan", n, lambda: plan_run(sources, None, store, RUN, config))
    shards = meter("pack shards", n, lambda: plan_shards(split_sources(sources)))
    path = folder / "shards" / "pickled"
    path.parent.mkdir()
    meter("hand shards out", n, lambda: path.write_bytes(b"".join(map(pickle.dumps, shards))), path.parent)
    _shards(meter, sources, path)
    for in_containers in (False, True) if n <= MOST_KNOWN else ():
        _update(meter, n, folder, config, given.seed, in_containers=in_containers)


def _shards(meter: Meter, sources: Sequence[Source], path: Path) -> None:
    """As many shards as there are sources, which is more than a run ever makes (`MAX_SHARDS`)."""
    spans = [Span(source, n_bytes=SHARD_BYTES) for source in sources]
    n = len(spans)
    with patch("tasks.shards.MAX_SHARDS", 2 * n):  # half of them may be full by bytes, and half by number
        shards = meter("a shard each: pack", n, lambda: plan_shards(spans))
    assert len(shards) == n
    meter("a shard each: hand out", n, lambda: path.write_bytes(b"".join(map(pickle.dumps, shards))), path.parent)


def _update(meter: Meter, n: int, folder: Path, config: RunConfig, seed: int, *, in_containers: bool) -> None:  # noqa: PLR0913
    """A run over sources that have all changed, with a dataset that knows `n` documents."""
    which = "containers" if in_containers else "files"
    store, last = known_dataset(folder / which, n, seed, in_containers=in_containers)
    sources = list(_containers(n)) if in_containers else [source(number) for number in range(n)]
    plan: Plan = meter(f"{which} known: plan", n, lambda: plan_run(sources, last, store, RUN, config))
    pieces = [Span(s, at, at + 10**6, n_bytes=10**6) for s in sources for at in range(0, s.n_bytes, 10**6)]
    shards = plan_shards(pieces if in_containers else split_sources(sources))
    befores = folder / f"before-{which}"
    befores.mkdir()
    meter(f"{which}: by shard", n, lambda: plan.before([shard.spans for shard in shards], befores), befores)
    new = plan.known[["doc_id", "state"]].copy()

    def finish() -> None:
        plan.drop(new["doc_id"])
        plan.leaving()
        plan.file_states(RUN)
        plan.tally(new)

    meter(f"{which}: what came, went", n, finish)


def manifest(meter: Meter, n: int, folder: Path, _given: argparse.Namespace) -> None:
    """A snapshot of `n` batches, and the view of it."""
    tables = {"clean": 900, "edits": 1_000, "rejected": 100, "index": 1_000}
    tally = Counter({f"name-{i}": 1_000 + i for i in range(8)})
    counts = Counts(1_000, 900, tally, tally, tally, 10**6, 10**6, 10**7, tally, tally, tally, tally, 100)

    def part(table: str, number: int) -> StoredPart:
        sha256 = hashlib.sha256(f"{table}{number}".encode()).hexdigest()
        name = "" if table == "index" else f"part-{number:05}-{sha256[:16]}.parquet"
        return StoredPart(name, sha256, tables[table], 0)

    batches = tuple(Batch(i, {t: part(t, i) for t in BATCH_TABLES}, counts) for i in range(n))
    snapshot = Snapshot(1, RUN.run_id, RUN.started_at, "3", batches)
    path = folder / "manifests" / "1.json"
    path.parent.mkdir()
    meter("write the manifest", n, lambda: path.write_text(to_json(snapshot), encoding="utf-8"), path.parent)
    meter("read it", n, lambda: from_json(path.read_bytes()))
    meter("add up its counts", n, lambda: snapshot.counts)
    if n <= MOST_FILES // 10:
        _view(meter, n, LocalStore(folder / "out"), snapshot)


def _view(meter: Meter, n: int, store: LocalStore, snapshot: Snapshot) -> None:
    """Hard links of all parts; the objects are empty."""
    store.make()
    for one in snapshot.objects():
        store.path(one).touch()
    meter("show: make the view", n, lambda: store.show(snapshot))
    meter("show: it is as it was", n, lambda: store.show(snapshot))
    meter("verify: look at the view", n, lambda: list(store.problems(snapshot)))
    meter("lengths of all objects", n, lambda: all(map(store.holds, snapshot.objects())))
    some = write_index(store.local / "some", index_rows(0, 1, np.random.default_rng(0)))
    opened = min(n, 500)
    meter("open the 4 parts", opened, lambda: [pq.ParquetFile(some).close() for _ in range(4 * opened)])


def index(meter: Meter, n: int, folder: Path, given: argparse.Namespace) -> None:
    """What each re-ingest reads of all documents."""
    store, last = known_dataset(folder, n, given.seed)
    meter.add("on the disk", Row(n, 0.0, 0, _size(folder)))
    meter("read", n, lambda: read_known(last, store))


def line_counts(meter: Meter, n: int, folder: Path, given: argparse.Namespace) -> None:
    """Lines that recur on sites, from the index to the table."""
    store, last = known_dataset(folder, n, given.seed)
    counts, merged = folder / "counts", folder / "merged"
    paths = _index_paths(store, last)

    def count() -> list[lines.Counted]:
        return [lines.count_index(path, frozenset(), number, counts) for number, path in enumerate(paths)]

    threshold = RUN.config.learn_from
    counted = meter("count", n, count, folder)
    meter("merge", n, lambda: lines.merge(counted, threshold, merged), folder)
    known = lines.Recurring(merged)
    meter("tell each document", n, lambda: [lines.told(one, known) for one in counted])
    batches = [BatchFiles(path, None, None, None) for path in paths]
    meter("the table", n, lambda: list(lines_table(batches, known, threshold)))


def copies(meter: Meter, n: int, folder: Path, given: argparse.Namespace) -> None:
    """Duplicates among texts of random ideographs, which have nothing in common but for the copies."""
    dice = random.Random(given.seed)
    texts = [made_up_text(dice) for _ in range(n - n // COPIES)]
    texts += (text[: dice.randrange(400, CHARACTERS)] for text in texts[: n // COPIES])
    dice.shuffle(texts)
    told: dict[str, Any] = {"damage": [], "published_at": None, "n_chars": CHARACTERS, "edits_by_step": []}
    signed = meter("sign", n, lambda: signatures([{"text": text, **told} for text in texts]))
    batches = [_signed_batch(folder, at, texts, signed, given.seed) for at in range(0, n, BATCH)]
    work = folder / "work"
    gathered = meter("gather", n, lambda: duplicates.gather(batches, work), folder)

    def fold() -> None:
        for number, batch in enumerate(batches):
            if gathered.wanted[number]:
                duplicates.fold_batch(batch, number, work)

    meter("fold candidates", n, fold, folder)
    found = meter("find", n, lambda: duplicates.find_marks(gathered), folder)
    n_found = sum(mark.duplicate_of is not None for of_batch in found.marks for mark in of_batch.values())
    print(f"  {n_found:,} of {n // COPIES:,} copies found, {sum(gathered.wanted):,} texts folded", flush=True)


def made_up_text(dice: random.Random) -> str:
    """Ideographs without a meaning."""
    return "".join(map(chr, dice.choices(range(0x4E00, 0x6000), k=CHARACTERS)))


def _signed_batch(
    folder: Path, at: int, texts: Sequence[str], signed: Sequence[dict[str, Any]], seed: int
) -> BatchFiles:
    end = min(at + BATCH, len(texts))
    columns = index_rows(at, end, np.random.default_rng(seed))
    columns |= {name: [row[name] for row in signed[at:end]] for name in signed[0]}
    schema = pa.schema([CLEAN.field(name) for name in ("doc_id", "text", "damage")])
    clean = folder / f"clean-{at:08}"
    rows = {"doc_id": columns["doc_id"], "text": texts[at:end], "damage": [[]] * (end - at)}
    pq.write_table(pa.table(rows, schema=schema), clean, compression="zstd")
    return BatchFiles(write_index(folder / f"index-{at:08}", columns), clean, None, None)


# Prefect


def prefect(meter: Meter, n: int, folder: Path, _given: argparse.Namespace) -> None:
    """Tasks that do nothing, in a process of their own: what is measured is Prefect and its server."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        told = pool.submit(run_nothing, n, folder).result()
    meter.add("of the run's process", Row(n, told["seconds"], told["memory"], None))
    meter.add("of the server", Row(n, told["server_seconds"], told["server_memory"], told["database"]))
    print(
        f"  {n:,} tasks: {told['wall']:.1f} s by the clock, {told['recorded']:,} of them recorded as completed",
        flush=True,
    )


def run_nothing(n: int, folder: Path) -> dict[str, Any]:
    """Run tasks that do nothing, with a server and a database of their own; what they took."""
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
    from prefect import flow, task  # noqa: PLC0415  it reads the environment, and takes a second
    from prefect.cache_policies import NO_CACHE  # noqa: PLC0415

    from flows import local  # noqa: PLC0415
    from flows.server import set_defaults  # noqa: PLC0415
    from tasks.shards.runners import Runner  # noqa: PLC0415

    @task(cache_policy=NO_CACHE)
    def nothing(number: int) -> int:
        return number

    @flow
    def all_of_it(n: int) -> int:
        work = Work(RUN, folder / "run", folder / "journals", 1, 2)
        with Runner("local", None, work) as runner:
            return len(runner.each(nothing, [{"number": number} for number in range(n)]))

    set_defaults()  # as a run from the command line does
    temporary = local._start_server()  # noqa: SLF001
    assert temporary
    temporary.wait()
    server = temporary.process
    all_of_it(2)  # the first flow brings tables and connections with it
    _settled(folder)
    meter, before = Meter("task"), _of_process(server.pid)
    size, started = _size(folder), time.monotonic()
    meter("nothing", n, lambda: all_of_it(n))
    wall = time.monotonic() - started
    recorded = _settled(folder) - 2
    after, row = _of_process(server.pid), meter.rows["nothing"][0]
    return {
        "seconds": row.seconds,
        "memory": row.memory,
        "wall": wall,
        "recorded": recorded,
        "server_seconds": after[0] - before[0],
        "server_memory": max(after[1] - before[1], 0),
        "database": _size(folder) - size,
    }


def _of_process(process: int) -> tuple[float, int]:
    """Seconds of processor time, and bytes in memory at the peak."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS, _memory("VmHWM", process)


def _settled(folder: Path) -> int:
    """How many tasks the server has recorded as completed, once it doesn't add any for some seconds."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 5:
        with contextlib.closing(sqlite3.connect(folder / "prefect.db", timeout=60)) as database:
            query = "select count(*) from task_run where state_type = 'COMPLETED'"
            n = int(database.execute(query).fetchone()[0])
        if n != seen:
            seen, since = n, time.monotonic()
        time.sleep(0.5)
    return seen


# Documents


def of_documents(_meter: Meter, n: int, folder: Path, given: argparse.Namespace) -> None:
    """What cleaning takes, by kind of document, and what a WARC takes to be read."""
    texts = documents(given.texts, given.seed)
    dice = random.Random(given.seed)
    clean = texts["hans"][:n]
    damaged = [KINDS[kind].model(t, dice).observed for t, kind in zip(clean, itertools.cycle(DAMAGE), strict=False)]
    kinds = {
        "clean": [text.encode() for text in clean],
        "Traditional": [text.encode() for text in texts["hant"][:n]],
        "English": [text.encode() for text in texts["english"][:n]],
        "damaged": [text.encode(errors="surrogatepass") for text in damaged],
        "seeds": [path.read_bytes() for path in sorted(SEEDS.glob("*.txt"))][:n],
        "HTML": list(pages_in(given.pages))[:n],
    }
    warm = read_warc(kinds["HTML"][:1], folder / "warm.warc")[0]
    clean_document(warm, RUN.config)
    titles = ("KB in", "ms", "ms, median", "documents/s", "MB/s", "ms of parts", "MB after", "B journal", *BATCH_TABLES)
    print(f"  {'':12}{'n':>6}" + "".join(f"{title:>12}" for title in titles))
    for kind, contents in kinds.items():
        if contents:
            print(f"  {kind:12}{len(contents):>6}" + "".join(_document_figures(kind, contents, folder)), flush=True)
    _time_warcs(kinds["HTML"], max(n, 50), folder)


def pages_in(folder: Path) -> Iterator[bytes]:
    """Files of HTML, those of a folder that holds others."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".html", ".htm", ".xml"} and path.stat().st_size > 1_000:
            yield path.read_bytes()


def _document_figures(kind: str, contents: Sequence[bytes], folder: Path) -> Iterator[str]:
    """Time of each document, what is put by of it, and what it takes in each table."""
    given = read_warc(contents, folder / f"{kind}.warc")
    taken, outcomes = [], list[Outcome]()
    for document in given:
        started = time.process_time()
        outcomes.append(clean_document(document, RUN.config))
        taken.append(time.process_time() - started)
    started = time.process_time()
    journals = folder / f"journals-{kind}"
    with Journal(journals) as journal:
        for outcome in outcomes:
            journal.add(outcome)
    revisions = (Revision(*pair) for pair in zip(outcomes, lines.features(outcomes), strict=True))
    draft = write_batch(revisions, RUN, {}, folder / "parts")
    parts = time.process_time() - started
    n, n_bytes = len(given), sum(map(len, contents))
    per_document = (n_bytes / n / 1e3, 1e3 * statistics.mean(taken), 1e3 * statistics.median(taken))
    yield from (f"{figure:>12,.1f}" for figure in (*per_document, n / sum(taken)))
    yield from (f"{figure:>12,.2f}" for figure in (n_bytes / 1e6 / sum(taken), 1e3 * parts / n))
    yield f"{_reset_peak() / 1e6:>12,.0f}"
    sizes = (draft.parts[table].bytes if table in draft.parts else 0 for table in BATCH_TABLES)
    yield from (f"{size / n:>12,.0f}" for size in (_size(journals), *sizes))


def write_warc(contents: Iterable[bytes], path: Path) -> Path:
    """Pages as the records of a WARC file, each compressed by itself if the file is to be."""
    with path.open("wb") as file:
        for number, content in enumerate(contents):
            block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + content
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://site-{number % 50}.example/{number}\r\n"
                f"WARC-Date: 2026-11-22T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
            )
            record = head.encode() + block + b"\r\n\r\n"
            file.write(gzip.compress(record, 6) if path.suffix == ".gz" else record)
    return path


def read_warc(contents: Iterable[bytes], path: Path) -> list[Document]:
    """Pages as documents, as they come out of a WARC file."""
    path = write_warc(contents, path)
    found = read_span(Span(Source(path.as_uri(), path, path.stat().st_size)), RUN.config)
    return [item for item in found if isinstance(item, Document)]


def _time_warcs(contents: Sequence[bytes], n: int, folder: Path) -> None:
    pages = [contents[i % len(contents)] + b"<!-- %d -->" % i for i in range(n)]
    for name in ("pages.warc", "pages.warc.gz"):
        path = write_warc(pages, folder / name)
        span = Span(Source(path.as_uri(), path, path.stat().st_size))
        started = time.process_time()
        n_read = sum(isinstance(item, Document) for item in read_span(span, RUN.config))
        seconds = time.process_time() - started
        n_bytes = sum(map(len, pages))
        print(
            f"  reading {name}: {n_bytes / 1e6 / seconds:,.0f} MB/s of pages, {n_read / seconds:,.0f} documents/s, "
            f"{path.stat().st_size / n_bytes:.2f} of their size on the disk"
        )


# Together

PARTS: dict[str, tuple[str, Callable[[Meter, int, Path, argparse.Namespace], None]]] = {
    "driver": ("source", driver),
    "prefect": ("task", prefect),
    "manifest": ("batch", manifest),
    "index": ("document", index),
    "lines": ("document", line_counts),
    "duplicates": ("document", copies),
    "documents": ("document", of_documents),
}


def measure(part: str, sizes: Sequence[int], given: argparse.Namespace) -> Meter:
    """Measure a part at some sizes, and print it."""
    unit, run = PARTS[part]
    meter = Meter(unit)
    print(f"{part}", flush=True)
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            run(meter, n, Path(folder), given)
    if meter.rows:
        meter.show()
    return meter


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--sizes", type=lambda told: [int(n) for n in told.split(",")], metavar="N,N,…")
    parser.add_argument("--texts", type=Path, default=TEXTS, metavar="FOLDER-or-FILE")
    parser.add_argument("--pages", type=Path, default=TEXTS.parent / "pages", metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small sizes, and without Prefect")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    return given


def main() -> int:
    """Run as the docstring above says."""
    given = _arguments()
    sizes = QUICK if given.quick else SIZES
    for part in given.parts or sizes:
        measure(part, given.sizes or sizes.get(part, SIZES[part][:1]), given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
