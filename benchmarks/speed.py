"""How fast a run is, beside what one would use instead, on the same documents in one go.

    python -m benchmarks.speed [FOLDER] [--peers FOLDER] [--corpora a,b] [--contenders a,b] [--rounds N] [--quick]
                               [--out FOLDER] [--draw FILE]

FOLDER holds clean text, and perhaps pages (`benchmarks/corpora.py`); without it the texts are those of the project.
Contenders, each a module of `benchmarks/peers` with a word on what it does and leaves out:

- this project, in one worker process and in two: decoding, all steps, the full edit log, a published snapshot.
- by hand: chardet, ftfy, regular expressions, OpenCC, pandas.
- datatrove (with either package for OpenCC) and Data-Juicer, in environments of their own. `--peers` makes those that
  are missing, as folders in FOLDER (2 GB); what can't be installed is told, and left out.
- the limit: bytes, a known encoding, one table of characters, Parquet.

Every measurement is a fresh process; contenders take turns, and which one begins changes from round to round. Figures
are medians: seconds of processor time of all processes, seconds by the clock, MB/s of processor time (of the decoded
documents in UTF-8), documents a second by the clock, and the most memory that one process took. What a contender loads
before its first document is told apart (`start`). Shares are of a run in one process, with a clock about every part and
step.

Figures go to `speed.json` in --out, with a plot of them (`speed.svg`); --draw makes the plot anew from such a file.
--quick is one round on an eighth of some corpora: whether it works, and a first idea; two minutes.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.corpora import Corpus, make_all
from benchmarks.peers.meter import descendants, peak_bytes
from benchmarks.peers.project import REPAIR

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"

SIZES = {
    "mixed": 830,
    "clean": 1_000,
    "damaged": 600,
    "encodings": 600,
    "HTML": 300,
    "tiny": 5_000,
    "huge": 3,
    "large": 4_980,
}
"""Documents. `large` is six times the mixed corpus: its shards keep two workers busy."""

QUICK = {"mixed": 104, "clean": 125, "damaged": 60}

ROUNDS = 3

TIMEOUT = 900.0
"""Seconds, for one contender and corpus; what takes longer is told as such."""

LOOK = 0.02
"""Seconds between two looks at the memory of processes. What is read is the most they ever had: only what a process
takes in its last moments is missed."""

START_SECONDS = {"qingyuan explain": 0.5, "qingyuan clean seeds": 8.0}
"""Targets, by the clock."""


class Contender(NamedTuple):
    """Something that cleans a corpus."""

    module: str
    """Of `benchmarks.peers`."""
    environment: str = ""
    """Its file of requirements, and the folder of its environment; empty for that of the project."""
    arguments: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ("mixed", "clean", "damaged", "encodings", "HTML", "tiny", "huge")


OURS, OURS_2 = "this project", "two workers"

CONTENDERS: dict[str, Contender] = {
    OURS: Contender("project", corpora=tuple(SIZES)),
    OURS_2: Contender("project", arguments=("2",), corpora=("mixed", "large")),
    "by hand": Contender("by_hand"),
    "datatrove": Contender("with_datatrove", "datatrove"),
    "datatrove+OpenCC": Contender("with_datatrove", "datatrove-opencc"),
    "Data-Juicer": Contender("with_data_juicer", "data-juicer"),
    "limit": Contender("limit"),
}


class Figures(NamedTuple):
    """What one contender took for one corpus: medians."""

    seconds: float
    """Of processor time, of all processes."""
    wall: float
    start_seconds: float
    """Of processor time, before the first document."""
    peak: int
    """Bytes: the most that any of its processes had."""
    megabytes_per_second: float
    """Of processor time."""
    documents_per_second: float
    """By the clock."""


Results = dict[str, dict[str, Figures]]
"""By corpus and contender."""


# Environments


def environments(folder: Path) -> None:
    """Make the environments of peers that are not there, or whose requirements have changed."""
    for name in sorted({one.environment for one in CONTENDERS.values() if one.environment}):
        wanted = (PEERS / f"{name}.txt").read_text(encoding="utf-8")
        made = folder / name / "installed.txt"
        if made.exists() and made.read_text(encoding="utf-8") == wanted:
            continue
        print(f"making the environment of {name}", flush=True)
        shutil.rmtree(folder / name, ignore_errors=True)
        if problem := _make_environment(folder / name, PEERS / f"{name}.txt"):
            print(f"  it can't be made, so {name} is left out: {problem}", flush=True)
        else:
            made.write_text(wanted, encoding="utf-8")


def _make_environment(folder: Path, requirements: Path) -> str:
    """The last line of what went wrong; empty if nothing did."""
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    return ""


def python_of(contender: Contender, peers: Path | None) -> Path | None:
    """The interpreter of a contender; None if its environment isn't there."""
    if not contender.environment:
        return Path(sys.executable)
    if peers is None or not (peers / contender.environment / "installed.txt").exists():
        return None
    return (peers / contender.environment / "bin" / "python").absolute()


# Measuring


class Memory(threading.Thread):
    """Looks at the processes that a process starts, while it runs."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._peaks: defaultdict[int, int] = defaultdict(int)
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `peak` is asked."""
        while not self._ended.wait(LOOK):
            for process in [self._process, *descendants(self._process)]:
                self._peaks[process] = max(self._peaks[process], peak_bytes(process))

    def peak(self) -> int:
        """The most memory that one of them had, in bytes."""
        self._ended.set()
        self.join()
        return max(self._peaks.values(), default=0)


def measure(python: Path, contender: Contender, corpus: Corpus, folder: Path) -> dict[str, Any] | str:
    """One measurement, or what went wrong.

    Args:
        python: Interpreter.
        contender: What is measured.
        corpus: What it cleans.
        folder: What it makes goes there, and is removed.
    """
    out = Path(tempfile.mkdtemp(dir=folder)) / "out"
    told, memory = _run(python, contender, corpus, out)
    shutil.rmtree(out.parent, ignore_errors=True)
    if isinstance(told, str):
        return told
    return {**told, "peak": max(memory, int(told.get("peak", 0)))}


def _run(python: Path, contender: Contender, corpus: Corpus, out: Path) -> tuple[dict[str, Any] | str, int]:
    _read_all(corpus.folder)
    what = [f"benchmarks.peers.{contender.module}", str(corpus.folder), str(out), *contender.arguments]
    environment = {**os.environ, "PREFECT_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(
        [str(python), "-m", *what],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    memory = Memory(process.pid)
    memory.start()
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"more than {TIMEOUT:.0f} s", memory.peak()
    peak = memory.peak()
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        return (stderr.strip().splitlines() or ["no answer"])[-1], peak
    told: dict[str, Any] = json.loads(lines[-1])
    return told, peak


def _read_all(folder: Path) -> None:
    """Have the kernel keep the files at hand: otherwise whoever comes first waits for the disk.

    On a virtual machine a wait may also count as up to 1 ms of processor time: 1 s for 1,000 files was seen.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def compare(corpora: Sequence[Corpus], given: argparse.Namespace, folder: Path) -> tuple[Results, dict[str, str]]:
    """All contenders on all corpora, in interleaved rounds; and why those are missing that are."""
    measured: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    missing: dict[str, str] = {}
    for round_ in range(given.rounds):
        for corpus in corpora:
            names = [name for name in given.contenders if corpus.name in CONTENDERS[name].corpora]
            begin = round_ % len(names) if names else 0
            for name in [*names[begin:], *names[:begin]]:
                python = python_of(CONTENDERS[name], given.peers)
                told = measure(python, CONTENDERS[name], corpus, folder) if python else "it is not installed (--peers)"
                if isinstance(told, str):
                    missing[name if not python else f"{name} on {corpus.name}"] = told
                else:
                    measured[corpus.name, name].append(told)
                    seconds = f"{told['seconds']:8.2f} s of processor time, {told['wall']:8.2f} s by the clock"
                    print(f"  round {round_ + 1}, {corpus.name:10}{name:28}{seconds}", flush=True)
    by_name = {corpus.name: corpus for corpus in corpora}
    results: Results = {corpus.name: {} for corpus in corpora}
    for (corpus_name, name), rows in measured.items():
        results[corpus_name][name] = figures(rows, by_name[corpus_name])
    return results, missing


def figures(rows: Sequence[Mapping[str, Any]], corpus: Corpus) -> Figures:
    """Medians of what was measured; of memory the most."""
    seconds, wall, start = (statistics.median(row[of] for row in rows) for of in ("seconds", "wall", "start_seconds"))
    peak = max(row["peak"] for row in rows)
    return Figures(
        seconds, wall, start, peak, corpus.megabytes / max(seconds, 1e-9), corpus.n_documents / max(wall, 1e-9)
    )


def step_shares(corpora: Iterable[Corpus], folder: Path) -> dict[str, dict[str, float]]:
    """Shares of the parts of a run of this project in its processor time, by corpus."""
    found = {}
    for corpus in corpora:
        told = measure(Path(sys.executable), Contender("project", arguments=("shares",)), corpus, folder)
        if isinstance(told, str):
            print(f"  no shares of {corpus.name}: {told}")
            continue
        seconds = {part: value for part, value in told.items() if part != "peak"}
        found[corpus.name] = {part: value / sum(seconds.values()) for part, value in seconds.items()}
    return found


def starts(folder: Path) -> dict[str, float]:
    """Seconds by the clock of two commands, the second time, when files are cached; with Prefect and its server."""
    commands = {
        "qingyuan explain": ["explain", "seeds/002.txt"],
        "qingyuan clean seeds": ["clean", "seeds", "--out", str(folder / "seeds")],
    }
    commands["qingyuan explain"][1] = str(min((ROOT / "seeds").glob("*.txt")))
    found = {}
    for name, arguments in commands.items():
        for _ in range(2):
            shutil.rmtree(folder / "seeds", ignore_errors=True)
            began = time.monotonic()
            subprocess.run([sys.executable, "-m", "flows", *arguments], cwd=ROOT, capture_output=True, check=False)
            found[name] = time.monotonic() - began
    return found


# Telling


class Target(NamedTuple):
    """A figure that the project wants to reach."""

    what: str
    target: float
    measured: float | None
    """None if it was not measured."""
    unit: str = "×"
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether it is."""
        if self.measured is None:
            return False
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def targets(
    results: Mapping[str, Mapping[str, Figures]],
    shares: Mapping[str, Mapping[str, float]],
    started: Mapping[str, float],
) -> list[Target]:
    """What is wanted, and what was measured."""

    def ratio(corpus: str, other: str) -> float | None:
        row = results.get(corpus, {})
        if OURS not in row or other not in row:
            return None
        return row[OURS].megabytes_per_second / row[other].megabytes_per_second

    row = results.get("large", {})
    scaled = row[OURS].wall / row[OURS_2].wall if OURS in row and OURS_2 in row else None
    repair = sum(shares["clean"].get(step, 0.0) for step in REPAIR) if "clean" in shares else None
    peaks = [of[name].peak / 1e6 for of in results.values() for name in (OURS, OURS_2) if name in of]
    return [
        Target("the pipeline by hand, mixed", 25, ratio("mixed", "by hand")),
        Target("datatrove, mixed", 15, ratio("mixed", "datatrove")),
        Target("datatrove with the official OpenCC, mixed", 15, ratio("mixed", "datatrove+OpenCC")),
        Target("Data-Juicer, mixed", 25, ratio("mixed", "Data-Juicer")),
        Target("the limit, clean", 1 / 4, ratio("clean", "limit")),
        Target("the limit, damaged", 1 / 8, ratio("damaged", "limit")),
        Target("two workers against one, large", 1.8, scaled),
        Target(
            "clean text: share of the steps that repair",
            30,
            None if repair is None else 100 * repair,
            "%",
            at_most=True,
        ),
        Target("peak of memory of a process", 400, max(peaks, default=None), "MB", at_most=True),
        *(Target(name, most, started.get(name), "s", at_most=True) for name, most in START_SECONDS.items()),
    ]


def show(results: Results, shares: Mapping[str, Mapping[str, float]], wanted: Sequence[Target]) -> None:
    """Print all tables."""
    for corpus, by_contender in results.items():
        titles = f"{'MB/s':>9}{'documents/s':>13}{'s':>9}{'s by clock':>12}{'start, s':>10}{'MB memory':>11}"
        print(f"\n{corpus}\n  {'':28}{titles}")
        for name, of in by_contender.items():
            speed = f"{of.megabytes_per_second:>9.2f}{of.documents_per_second:>13,.0f}{of.seconds:>9.2f}"
            print(f"  {name:28}{speed}{of.wall:>12.2f}{of.start_seconds:>10.2f}{of.peak / 1e6:>11,.0f}")
    if shares:
        parts = sorted(
            {part for of in shares.values() for part in of}, key=lambda p: -max(of.get(p, 0) for of in shares.values())
        )
        print(f"\nshares, in percent\n  {'':16}" + "".join(f"{corpus:>11}" for corpus in shares))
        for part in parts:
            print(f"  {part:16}" + "".join(f"{100 * of.get(part, 0):>11.1f}" for of in shares.values()))
    print(f"\n  {'against':46}{'target':>12}{'measured':>12}")
    for one in wanted:
        sign = "≤" if one.at_most else "≥"
        measured = "not measured" if one.measured is None else f"{one.measured:.4g} {one.unit}"
        verdict = "" if one.measured is None else "reached" if one.reached else "NOT reached"
        print(f"  {one.what:46}{f'{sign} {one.target:.4g} {one.unit}':>12}{measured:>14}  {verdict}")


def to_json(
    results: Results,
    shares: Mapping[str, Mapping[str, float]],
    corpora: Sequence[Corpus],
    wanted: Sequence[Target],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """All figures."""
    return {
        "measured": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "corpora": {c.name: {"documents": c.n_documents, "megabytes": round(c.megabytes, 3)} for c in corpora},
        "results": {corpus: {name: of._asdict() for name, of in row.items()} for corpus, row in results.items()},
        "shares": shares,
        "targets": [{**one._asdict(), "reached": one.reached} for one in wanted],
        "missing": missing,
    }


def draw(told: Mapping[str, Any], path: Path) -> None:
    """Plot what was measured: MB/s by corpus and contender, and where the time of this project goes."""
    import matplotlib as mpl  # noqa: PLC0415  the extra `bench` brings it

    mpl.use("svg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    # The same figures give the same bytes.
    mpl.rcParams |= {"svg.hashsalt": "qingyuan", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    results = {corpus: row for corpus, row in told["results"].items() if corpus != "large"}
    names = [name for name in CONTENDERS if name != OURS_2 and any(name in row for row in results.values())]
    width = 0.8 / max(len(names), 1)
    for i, name in enumerate(names):
        at = [j + (i - (len(names) - 1) / 2) * width for j, row in enumerate(results.values()) if name in row]
        speeds = [row[name]["megabytes_per_second"] for row in results.values() if name in row]
        left.bar(at, speeds, width, label=name, color=_COLOURS[name])
    left.set_yscale("log")
    left.set_xticks(range(len(results)), list(results))
    left.set_ylabel("MB/s of processor time, UTF-8")
    left.set_title("Speed on the same documents")
    left.grid(axis="y", alpha=0.3)
    left.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    _draw_shares(right, told["shares"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


_COLOURS = {
    OURS: "#c0392b",
    OURS_2: "#e08283",
    "by hand": "#7f8c8d",
    "datatrove": "#2e86c1",
    "datatrove+OpenCC": "#85c1e9",
    "Data-Juicer": "#d4ac0d",
    "limit": "#1e8449",
}

_SHOWN = 0.03
"""Shares under it, on all corpora, are one bar together."""


def _draw_shares(axes: Any, shares: Mapping[str, Mapping[str, float]]) -> None:
    parts = sorted(
        {p for of in shares.values() for p in of}, key=lambda p: -sum(of.get(p, 0) for of in shares.values())
    )
    large = [part for part in parts if any(of.get(part, 0) >= _SHOWN for of in shares.values())]
    rows = {part: [of.get(part, 0) for of in shares.values()] for part in large}
    rows["the rest"] = [1 - sum(of.get(part, 0) for part in large) for of in shares.values()]
    left = [0.0] * len(shares)
    for i, (part, row) in enumerate(rows.items()):
        axes.barh(
            list(shares),
            [100 * value for value in row],
            left=left,
            label=part,
            color=f"C{i % 10}",
            alpha=1 - 0.4 * (i // 10),
        )
        left = [before + 100 * value for before, value in zip(left, row, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent of processor time")
    axes.set_title("Where the time of this project goes")
    axes.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))


# Together


def _names(known: Iterable[str]) -> Any:
    def read(told: str) -> list[str]:
        names = told.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are {', '.join(known)}")
        return names

    return read


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="environments of peers; made if missing")
    parser.add_argument("--corpora", type=_names(SIZES), metavar="a,b", help=", ".join(SIZES))
    parser.add_argument("--contenders", type=_names(CONTENDERS), metavar="a,b", default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: docs/images; build for --quick")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw the figures of a file, and measure nothing")
    given = parser.parse_args(arguments)
    given.rounds = given.rounds or (1 if given.quick else ROUNDS)
    given.out = given.out or ROOT / ("build" if given.quick else "docs/images")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the docstring above says."""
    given = _arguments(arguments)
    if given.draw:
        draw(json.loads(given.draw.read_text(encoding="utf-8")), given.out / "speed.svg")
        return 0
    if given.peers:
        environments(given.peers)
    known = QUICK if given.quick else SIZES
    sizes = {name: known.get(name) or max(SIZES[name] // 8, 2) for name in given.corpora or known}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpora = make_all(given.folder, sizes, folder)
        for corpus in corpora:
            print(f"  {corpus.name:10}{corpus.n_documents:>7,} documents, {corpus.megabytes:7.2f} MB", flush=True)
        results, missing = compare(corpora, given, folder)
        shares = (
            step_shares((corpus for corpus in corpora if corpus.name != "large"), folder)
            if OURS in given.contenders
            else {}
        )
        started = starts(folder) if OURS in given.contenders else {}
    wanted = targets(results, shares, started)
    show(results, shares, wanted)
    for name, why in missing.items():
        print(f"  not measured: {name}: {why}")
    told = to_json(results, shares, corpora, wanted, missing)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "speed.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    with suppress(ModuleNotFoundError):
        draw(told, given.out / "speed.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
