"""What a contender of `benchmarks/speed.py` takes: processor time of all of its processes, and time by the clock.

A contender is a module of this folder that is run in a fresh process (`python -m benchmarks.peers.<name> CORPUS OUT`),
in whatever environment it needs, so nothing but the standard library is imported here. CORPUS is a folder with
`documents/` and `documents.json`: a list of `{"path": …, "encoding": …}`. Encodings are for those who can't find out.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")

MAX_PASSES = 20
"""Of something that is over in milliseconds."""


class Given(NamedTuple):
    """A document of the corpus."""

    path: Path
    encoding: str


def given(corpus: Path) -> list[Given]:
    """All documents of a corpus, in their order."""
    told = json.loads((corpus / "documents.json").read_text(encoding="utf-8"))
    return [Given(corpus / "documents" / one["path"], one["encoding"]) for one in told]


def arguments() -> tuple[Path, Path, list[str]]:
    """The corpus, a folder that doesn't exist for what is made of it, and what else is asked."""
    corpus, out, *rest = sys.argv[1:]
    return Path(corpus), Path(out), rest


def descendants(process: int) -> Iterator[int]:
    """Processes that a process has started, and those that these have."""
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (task / "children").read_text(encoding="ascii").split()):
                yield child
                yield from descendants(child)
    except OSError:  # it has ended
        return


def tree_seconds() -> float:
    """Processor time of this process and of all it has started, whether they have ended or not.

    Whoever waited for a process counts it: workers are waited for by the server that forked them.
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used) + sum(map(_seconds, descendants(os.getpid())))


def _seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def peak_bytes(process: int) -> int:
    """Most memory that a process ever had; 0 if it has ended.

    Not `ru_maxrss`: a process inherits that from the one that started it, even across exec.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def tell(work: Callable[[int], object], *, at_least: float = 0.0) -> None:
    """Do the work, and print what it took as a line of JSON: `start_seconds`, `seconds`, `wall`, `peak`.

    Args:
        work: Takes the number of the pass.
        at_least: Seconds of processor time to measure; if one pass takes less the median of several is told.
    """
    start = tree_seconds()
    passes: list[tuple[float, float]] = []
    while not passes or (sum(seconds for seconds, _ in passes) < at_least and len(passes) < MAX_PASSES):
        before, began = tree_seconds(), time.monotonic()
        work(len(passes))
        passes.append((tree_seconds() - before, time.monotonic() - began))
    seconds, wall = (statistics.median(of_passes) for of_passes in zip(*passes, strict=True))
    told = {"start_seconds": start, "seconds": seconds, "wall": wall, "peak": peak_bytes(os.getpid())}
    print(json.dumps(told), flush=True)
