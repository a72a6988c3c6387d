"""Days of re-ingests: do they lead to what one build from scratch gives, and what do they cost?

    python -m benchmarks.reingest [FOLDER-or-FILE] [--pages N] [--days N] [--changed SHARE] [--seed S] [--keep FOLDER]

FOLDER holds `.txt`, `.jsonl` or `.jsonl.gz` files, as for `benchmarks/fidelity.py`; without it the texts are those of
`benchmarks/texts`. Its Simplified documents become pages of made-up sites: a head and a foot that all pages of a site
have, damage of a kind that the site does to its pages, one page in twelve a copy of another site's article, now and
then an empty file. Then:

1. Days. A dataset is built of two thirds of the pages. Each day pages come, change and go (a tenth, a thirtieth, a
   thirtieth), and the dataset is brought up to date. After each day one is built from scratch beside it, and compared:
   all tables row by row, but for columns about runs, and the order.
2. Cost. Of that last dataset SHARE of the pages (default 0.01) are changed, and it is brought up to date again; then
   once more with nothing changed. Seconds are of the whole command, and processor seconds of all of its processes;
   then both without what a run over nothing takes (Prefect's server).
"""

import argparse
import contextlib
import ctypes
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks.fidelity import KINDS, TEXTS, documents

ROOT = Path(__file__).parents[1]

RUN_COLUMNS = ["run_id", "first_run_id", "ingested_at"]

DAMAGE = (None, "glosses, dropped", "shift, pairs kept", "commas put in", None, "GBK as Latin-1", "glosses, kept")
"""What sites do to their pages, by turns: kinds of `benchmarks/fidelity.py`, and nothing."""

SITE_PAGES = 40
"""Pages of a site: enough for its furniture to be learned."""

FIRST, COMING, CHANGING, GOING = 2 / 3, 0.10, 1 / 30, 1 / 30
"""Shares of all pages."""

COPIES = 12
"""One page of so many is a copy of another site's."""

EMPTY = 97
"""One page of so many is an empty file."""

_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h."""


class Spent(NamedTuple):
    """What a command took, in seconds."""

    wall: float
    processor: float


def page(number: int, texts: Sequence[str], seed: int) -> tuple[str, str]:
    """Name and content of a page."""
    dice = random.Random(f"{seed} {number}")
    site = number // SITE_PAGES
    name = f"site-{site:03}/{number:06}.txt"
    if number % EMPTY == EMPTY - 1:
        return name, ""
    text = texts[(number // 2 if number % COPIES == 1 else number) % len(texts)]
    kind = DAMAGE[site % len(DAMAGE)]
    damaged = KINDS[kind].model(text, dice).observed if kind else text
    head = f"江畔{site}网 | 首页 | 风物 | 副刊\n第{number}期 江畔{site}网编辑部\n"
    foot = f"\n江畔{site}网版权所有，未经许可不得转载到其他地方\n联系江畔{site}网：江畔路{site}号\n"
    return name, head + damaged + foot


def write(folder: Path, number: int, texts: Sequence[str], seed: int, *, edition: int = 0) -> None:
    """Write a page; another edition has another paragraph."""
    name, content = page(number, texts, seed)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    more = f"\n本文于第{edition}日更新，增补了{number}处内容。\n" if edition else ""
    (folder / name).write_text(content + more, encoding="utf-8", errors="surrogatepass")


def clean(source: Path, out: Path) -> Spent:
    """Bring a dataset up to date, as its user would."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "flows", "clean", str(source), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    wall = time.monotonic() - started
    if done.returncode not in {0, 3}:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    print("   ", done.stdout.splitlines()[0], flush=True)
    with contextlib.suppress(ChildProcessError):  # its worker processes have become ours, and count once waited for
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(one: Path, other: Path) -> list[str]:
    """Where two datasets differ, but for columns about runs and the order of documents."""
    problems = []
    ids = ("doc_id",)
    for table, keys in (("clean", ids), ("edits", ids), ("rejected", ids), ("lines", ("site", "fingerprint"))):
        a, b = (_rows(folder / table, keys) for folder in (one, other))
        if a.keys() != b.keys():
            problems.append(f"{table}: {len(a):,} and {len(b):,} rows, and not the same ones")
            continue
        differing = Counter(column for key, row in a.items() for column in row if row[column] != b[key][column])
        problems += (f"{table}.{column}: {n:,} of {len(a):,} rows differ" for column, n in differing.items())
    return problems


def _rows(folder: Path, keys: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    table = pq.read_table(folder)
    rows = table.drop_columns([name for name in RUN_COLUMNS if name in table.column_names]).to_pylist()
    return {tuple(row[key] for key in keys): row for row in rows}


def simulate_days(texts: Sequence[str], n_pages: int, n_days: int, seed: int, folder: Path) -> int:
    """Bring a dataset up to date day by day; how many differences there were from one built at once."""
    dice = random.Random(seed)
    source, out, scratch = folder / "pages", folder / "dataset", folder / "scratch"
    there = set(range(int(FIRST * n_pages)))
    for number in there:
        write(source, number, texts, seed)
    print("first build")
    clean(source, out)
    n_problems = 0
    for day in range(1, n_days + 1):
        going = dice.sample(sorted(there), int(GOING * n_pages))
        there -= set(going)
        for number in going:
            (source / page(number, texts, seed)[0]).unlink()
        for number in dice.sample(sorted(there), int(CHANGING * n_pages)):
            write(source, number, texts, seed, edition=day)
        coming = dice.sample(sorted(set(range(n_pages)) - there), int(COMING * n_pages))
        there |= set(coming)
        for number in coming:
            write(source, number, texts, seed)
        print(f"day {day}: {len(coming)} come or come back, {len(going)} go")
        update = clean(source, out)
        shutil.rmtree(scratch, ignore_errors=True)
        full = clean(source, scratch)
        problems = compare(out, scratch)
        n_problems += len(problems)
        print(f"    update {_shown(update)}, from scratch {_shown(full)}")
        print(*(f"    DIFFERS {problem}" for problem in problems or ["nowhere"]), sep="\n")
    return n_problems


def measure_cost(texts: Sequence[str], n_pages: int, share: float, seed: int, folder: Path) -> None:
    """What it takes to bring a dataset up to date of which a share has changed."""
    source, out = folder / "cost", folder / "cost-dataset"
    for number in range(n_pages):
        write(source, number, texts, seed)
    write(folder / "nothing", 0, texts, seed)
    print("cost")
    server = clean(folder / "nothing", folder / "nothing-dataset")
    server = clean(folder / "nothing", folder / "nothing-dataset")
    full = clean(source, out)
    for number in random.Random(seed).sample(range(n_pages), max(1, int(share * n_pages))):
        write(source, number, texts, seed, edition=1)
    some = clean(source, out)
    none = clean(source, out)
    print(f"    a run over one page that is not new: {_shown(server)}")
    for what, spent in (("all", full), (f"{share:.1%} changed", some), ("none changed", none)):
        wall, processor = spent.wall - server.wall, spent.processor - server.processor
        shares = f"{wall / (full.wall - server.wall):.1%} and {processor / (full.processor - server.processor):.1%}"
        print(f"    {what}: {_shown(spent)}; without that {wall:.1f} s, {processor:.1f} s: {shares} of all")


def _shown(spent: Spent) -> str:
    return f"{spent.wall:.1f} s ({spent.processor:.1f} s of processor time)"


def main() -> int:
    """Run as the docstring above says; 1 if something differed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="?", type=Path, default=TEXTS, metavar="FOLDER-or-FILE")
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--changed", type=float, default=0.01, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave all there")
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    texts = documents(given.source, given.seed)["hans"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        n_problems = simulate_days(texts, given.pages, given.days, given.seed, folder) if given.days else 0
        measure_cost(texts, given.pages, given.changed, given.seed, folder)
    return min(n_problems, 1)


if __name__ == "__main__":
    sys.exit(main())
