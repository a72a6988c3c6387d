"""What is left of a dataset when something goes wrong: kills, full disks, damage, wrong clocks, system calls that fail.

    python -m benchmarks.faults [FOLDER-or-FILE] [--kills N] [--seconds S] [--only KIND,…] [--documents N] [--seed S]

FOLDER holds texts as for benchmarks/fidelity.py; without it those of `benchmarks/texts` are taken. A corpus of small
documents goes through four editions in a circle: a tenth of the documents change, come or go from one to the next.
Runs bring a dataset from edition to edition, and each meets a fault. After each fault

- the newest snapshot is that of before or that of after, whole: all rows of all tables as a build of that edition from
  scratch has them, but for columns about runs; no document twice; all of its objects with the right content;
- the next run that is let go to its end makes the edition it was given, row by row; `verify` finds nothing; nothing is
  left of the dead run but the views that were exchanged; no document is cleaned that a journal had;
- processes beside it have read the dataset all the time, with pyarrow, pandas, DuckDB and Polars by its folder, and by
  the manifest: each read was one of the published snapshots. By the folder a file may have gone; by the manifest never.

KINDs: the functions `fault_…` below. Most runs are those of `benchmarks/faults_run.py`; `command` kills the command
line as it is, with Prefect's temporary server. What needs root, mount, strace or setpriv is left out where there is
none, and says so. Exits with 1 if anything was wrong.

Runs wait for the disk most of the time: TMPDIR=/dev/shm makes them several times as quick.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.faults_run import POINTS, Request, digest
from benchmarks.fidelity import TEXTS, documents
from benchmarks.reingest import RUN_COLUMNS, compare
from flows import history
from tasks.publish.parts import hash_file
from tasks.publish.snapshots import DatasetBusyError, DatasetError, Snapshot
from tasks.publish.store import current, newest, open_store
from tasks.verify import verify

ROOT = Path(__file__).parents[1]

PYTHON = [sys.executable, "-m"]

N_EDITIONS = 4

DONE, FAILED, WRONG_USE = {0, 3}, 4, 2
"""Exit codes (`flows.cli`)."""

SECONDS_OF_A_RUN = 120
"""A run that takes longer hangs."""

UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
"""Root for whom permissions count, too."""


WRITES_NO_CACHE = "PYTHONDONTWRITEBYTECODE"


class State(NamedTuple):
    """What a snapshot holds."""

    number: int
    tables: str
    """Names all rows, but for columns about runs."""
    seen: str
    """Names what readers see: `faults_run.digest`."""
    n_documents: int


class Ended(NamedTuple):
    """A run that has come to an end."""

    status: int
    log: str
    stats: dict[str, int]
    seconds: float


# Looking at datasets


def rows_of(out: Path, snapshot: Snapshot, table: str) -> list[dict[str, Any]]:
    """Rows of a table, but for columns about runs, by the manifest."""
    store = open_store(out)
    parts = [pq.read_table(store.path(part), page_checksum_verification=True) for part in snapshot.tables[table]]
    rows = pa.concat_tables(parts)
    kept: list[dict[str, Any]] = rows.drop_columns([c for c in RUN_COLUMNS if c in rows.column_names]).to_pylist()
    return kept


def state_of(out: Path, snapshot: Snapshot) -> State:
    """What a snapshot holds.

    Raises:
        ValueError: if a document is there twice.
        OSError: if something can't be read.
    """
    state = hashlib.sha256()
    for table in ("clean", "edits", "rejected", "lines"):
        rows = rows_of(out, snapshot, table)
        state.update(table.encode() + "\n".join(sorted(json.dumps(row, default=str) for row in rows)).encode())
    clean, rejected = rows_of(out, snapshot, "clean"), rows_of(out, snapshot, "rejected")
    ids = Counter(row["doc_id"] for row in [*clean, *rejected])
    if twice := [doc_id for doc_id, n in ids.items() if n > 1]:
        raise ValueError(f"{len(twice)} documents are there twice, such as {twice[0]}")
    seen = digest((row["doc_id"], row["text_sha256"]) for row in clean)
    return State(snapshot.number, state.hexdigest()[:16], seen, len(ids))


def bad_objects(out: Path, snapshot: Snapshot) -> list[str]:
    """Objects of a snapshot that are missing or have another content."""
    store = open_store(out)
    paths = [(part.sha256, store.path(part)) for part in snapshot.objects()]
    return [sha256 for sha256, path in paths if not path.is_file() or hash_file(path) != sha256]


def strays(out: Path, scratch: Path) -> list[str]:
    """What a finished run has left that it should not."""
    store = out / "_store"
    local = open_store(out)
    used = {part.sha256 for number in local.numbers() for part in local.snapshot(number).objects()}
    left = [path for path in (store / "tmp").iterdir() if not path.name.startswith("view-")]
    left += [path for path in (store / "objects").iterdir() if path.name not in used]
    left += [path for name in ("work", "views") if (store / name).exists() for path in (store / name).iterdir()]
    spools = ["a temporary folder outside"] if any(scratch.glob("qingyuan-*")) else []
    return [str(path.relative_to(out)) for path in left] + spools


# Runs


class Runner:
    """A process that makes runs, one at a time (`benchmarks.faults_run`)."""

    def __init__(self, folder: Path, before: Sequence[str] = ()) -> None:
        self.folder = folder
        (folder / "tmp").mkdir(parents=True)
        self._process = subprocess.Popen(
            [*before, *PYTHON, "benchmarks.faults_run", "runs"],
            cwd=ROOT,
            # What a run loads anew takes seconds if it has to be compiled.
            env=os.environ
            | {"TMPDIR": str(folder / "tmp"), "PYTHONPYCACHEPREFIX": str(folder / "cache"), WRITES_NO_CACHE: ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started = 0.0
        self.pid = 0

    def start(self, source: Path, out: Path, more: Request | None = None, **config: Any) -> int:
        """Start a run; the id of its process, and of its group."""
        assert self._process.stdin
        assert self._process.stdout
        for name in ("log", "stats", "mark"):
            (self.folder / name).unlink(missing_ok=True)
        request: Request = {
            "config": {"sources": [str(source)], "out": str(out), "workers": 2, "keep_snapshots": 3, **config},
            "log": str(self.folder / "log"),
            "stats": str(self.folder / "stats"),
            **(more or {}),
        }
        self._started = time.monotonic()
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self.pid = json.loads(self._process.stdout.readline())["pid"]
        return self.pid

    def wait(self) -> Ended:
        """Wait for the end of the run; one that hangs is killed, and has the status -1."""
        assert self._process.stdout
        hung: list[int] = []

        def give_up() -> None:
            hung.append(1)
            kill(self.pid, group=True)

        timer = threading.Timer(SECONDS_OF_A_RUN, give_up)
        timer.start()
        status = json.loads(self._process.stdout.readline())["status"]
        timer.cancel()
        log, stats = self.folder / "log", self.folder / "stats"
        said = log.read_text(errors="replace") if log.exists() else ""
        counted = json.loads(stats.read_text()) if stats.exists() else {}
        return Ended(-1 if hung else status, said, counted, time.monotonic() - self._started)

    def run(self, source: Path, out: Path, more: Request | None = None, **config: Any) -> Ended:
        """A run from its start to its end."""
        self.start(source, out, more, **config)
        return self.wait()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def kill(pid: int, *, group: bool = False) -> bool:
    """Kill a process, or a group; whether it was there."""
    try:
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def processes() -> Iterator[tuple[int, int, int, str]]:
    """All processes that are no zombies: id, parent, group, name."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent, group = rest.split()[:3]
            if state != "Z":
                yield int(folder.name), int(parent), int(group), name


def members(group: int) -> dict[str, list[int]]:
    """Processes of a run: `flow`, `forkserver`, `worker`."""
    there = [process for process in processes() if process[2] == group]
    servers = {pid for pid, parent, _, _ in there if parent == group and b"forkserver" in _told_of(pid)}
    return {
        "flow": [pid for pid, _, _, _ in there if pid == group],
        "forkserver": sorted(servers),
        "worker": [pid for pid, parent, _, _ in there if parent in servers],
        "server": [pid for pid, parent, _, _ in there if parent == group and b"prefect" in _told_of(pid)],
    }


def _told_of(pid: int) -> bytes:
    """Name and command line of a process; of a fork, the command line is that of the one it was forked from."""
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_bytes()
        return name if name.strip() in {b"forkserver", b"tracker"} else Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class Lab:
    """A corpus in editions, a dataset that readers read all the time, and what was found wrong."""

    def __init__(self, folder: Path, texts: Sequence[str], given: argparse.Namespace) -> None:
        self.folder, self.given = folder, given
        self.dice = random.Random(given.seed)
        self.pages, self.out = folder / "pages", folder / "dataset"
        self.editions = editions(texts, given.documents, random.Random(given.seed))
        self.runner = Runner(folder / "runner")
        self.kind = ""
        self.done: Counter[tuple[str, str]] = Counter()
        self.problems: Counter[tuple[str, str]] = Counter()
        self.published: set[str] = set()
        self.until: float = time.monotonic() + given.seconds
        self.at = 0
        self.seconds_of_a_run = 1.0
        self.n_taken = self.n_cleaned = 0
        self.wanted = [self._build(number) for number in range(N_EDITIONS)]

    def _build(self, number: int) -> State:
        """What an edition built from scratch holds."""
        self.show(number)
        return self.from_scratch()

    def from_scratch(self) -> State:
        """What a build of the pages as they are holds."""
        out = self.folder / "scratch"
        shutil.rmtree(out, ignore_errors=True)
        ended = self.runner.run(self.pages, out)
        if ended.status not in DONE:
            raise SystemExit(f"a build from scratch ended with {ended.status}:\n{ended.log}")
        return state_of(out, current(open_store(out)))

    def show(self, number: int) -> None:
        """Make the pages those of an edition. The same content has the same time, and all times are long ago."""
        edition = self.editions[number]
        for path in [path for path in self.pages.rglob("*") if path.is_symlink() or not path.is_dir()]:
            if path.relative_to(self.pages).as_posix() not in edition:
                path.unlink()
        for name, content in edition.items():
            path = self.pages / name
            if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
                write(path, content)
        self.at = number

    def note(self, what: str) -> None:
        """Count a fault."""
        self.done[self.kind, what] += 1

    def wrong(self, problem: str) -> None:
        """Note that something is wrong."""
        self.problems[self.kind, problem] += 1
        print(f"WRONG {self.kind}: {problem}", flush=True)

    def has_time(self) -> bool:
        """Whether another fault may begin."""
        return time.monotonic() < self.until

    def look(self, before: State, out: Path, what: str, n_runs: int = 1) -> State:
        """Check the newest snapshot after a fault: that of before, or that of the edition that is shown."""
        snapshot = current(open_store(out))
        try:
            state = state_of(out, snapshot)
        except (OSError, ValueError, pa.ArrowException) as error:
            self.wrong(f"after {what}: {error}")
            return before
        self.published.add(state.seen)
        wanted = self.wanted[self.at]
        if (state.number, state.tables) != (before.number, before.tables) and state.tables != wanted.tables:
            self.wrong(f"after {what}: snapshot {state.number} is neither that of before nor that of after")
        if state.number not in range(before.number, before.number + 1 + n_runs):
            self.wrong(f"after {what}: snapshot {state.number} follows {before.number}")
        if bad := bad_objects(out, snapshot):
            self.wrong(f"after {what}: {len(bad)} objects are missing or damaged, such as {bad[0]}")
        return state

    def settle(self, out: Path, what: str, runner: Runner | None = None, wanted: State | None = None) -> State:
        """Let a run go to its end, and check all."""
        runner = runner or self.runner
        before = newest(open_store(out))
        ended = runner.run(self.pages, out)
        if ended.status not in DONE:
            self.wrong(f"the run after {what} ended with {ended.status}: {ended.log[-600:]}")
            return state_of(out, before) if before else State(0, "", "", 0)
        self._check_stats(ended, what)
        return self.check(out, what, wanted or self.wanted[self.at], runner)

    def check(self, out: Path, what: str, wanted: State, runner: Runner) -> State:
        """Check a dataset that a run has just brought up to date."""
        state = state_of(out, current(open_store(out)))
        self.published.add(state.seen)
        if state.tables != wanted.tables:
            self.from_scratch()
            differences = "; ".join(compare(out, self.folder / "scratch")[:4])
            self.wrong(f"the run after {what} made another dataset than a build from scratch: {differences}")
        if problems := verify(out).problems:
            self.wrong(f"after {what} and another run, verify says: {problems[0]} (and {len(problems) - 1} more)")
        if left := strays(out, runner.folder / "tmp"):
            self.wrong(f"after {what} and another run there is {', '.join(left[:3])}")
            shutil.rmtree(runner.folder / "tmp")
            (runner.folder / "tmp").mkdir()
        return state

    def _check_stats(self, ended: Ended, what: str) -> None:
        """No document is cleaned that a journal had."""
        stats = ended.stats
        if stats:
            self.seconds_of_a_run = max(0.5, 0.8 * self.seconds_of_a_run + 0.2 * ended.seconds)
            self.n_taken += stats["finished"]
            self.n_cleaned += stats["cleaned"]
            if stats["cleaned"] > stats["to_clean"] - stats["finished"] + stats["relearned"]:
                self.wrong(f"the run after {what} cleaned finished documents again: {stats}")

    def copy(self, name: str) -> Path:
        """A dataset of its own for a fault: objects and view share their files, as in the first."""
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.out), str(out)], check=True)
        return out

    def advance(self) -> None:
        """Show the next edition."""
        self.show((self.at + 1) % N_EDITIONS)

    def now(self, out: Path | None = None) -> State:
        """What the newest snapshot holds."""
        out = out or self.out
        return state_of(out, current(open_store(out)))


def editions(texts: Sequence[str], n: int, dice: random.Random) -> list[dict[str, bytes]]:
    """Contents by name. Sites with a head and a foot, copies, an empty page now and then."""

    def page(number: int, edition: int) -> bytes:
        if number % 53 == 52:
            return b""
        text = texts[(number // 2 if number % 12 == 1 else number) % len(texts)]
        start = (number // len(texts) * 37) % max(1, len(text) - 150)
        news = f"本文于第{edition}日更新，增补了{number}处内容。\n" if edition else ""
        site = number // 20
        head, foot = f"江畔{site}网 | 首页 | 风物\n第{number}期\n", f"\n江畔{site}网版权所有，未经许可不得转载\n"
        return f"{head}{news}{text[start : start + 150]}，{number}。{foot}".encode()

    made = []
    for edition in range(N_EDITIONS):
        here = [number for number in range(n) if dice.random() > 0.05]
        changed = {number for number in here if dice.random() < 0.1}
        pages = {number: page(number, edition if number in changed else 0) for number in here}
        made.append({f"site-{number // 20:03}/{number:05}.txt": content for number, content in pages.items()})
    return made


def write(path: Path, content: bytes) -> None:
    """Write a page, with a time that only this content has."""
    if path.is_symlink() or path.exists():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    seconds = 1_600_000_000 + int.from_bytes(hashlib.sha256(content).digest()[:3])
    os.utime(path, (seconds, seconds))


# Faults


def fault_kill(lab: Lab) -> None:
    """SIGKILL to one of the processes of a run, or to all of them, at a random time; often to the next run, too."""
    before = lab.now()
    for _ in range(lab.given.kills):
        if not lab.has_time():
            return
        if lab.dice.random() < 0.8:
            lab.advance()
        group = lab.runner.start(lab.pages, lab.out)
        time.sleep(lab.dice.uniform(0, 1.1 * lab.seconds_of_a_run))
        what = _kill_any(lab, group)
        ended = lab.runner.wait()
        lab.note(f"{what}, run {'went on' if ended.status in DONE else f'ended with {ended.status}'}")
        if ended.status not in {*DONE, FAILED, -9}:
            lab.wrong(f"after {what} the run ended with {ended.status}: {ended.log[-600:]}")
        before = lab.look(before, lab.out, what)
        if lab.dice.random() < 0.5:
            before = lab.settle(lab.out, what)
    lab.settle(lab.out, "kills")


def _kill_any(lab: Lab, group: int) -> str:
    """Kill one of the processes of a run, each kind as likely, or all; what was done."""
    there = {kind: pids for kind, pids in members(group).items() if pids}
    if not there:
        return "no kill, for the run had ended"
    whom = lab.dice.choice(sorted({"group", *there}))
    hit = kill(group, group=True) if whom == "group" else kill(lab.dice.choice(there[whom]))
    return f"a kill of {whom}" if hit else "no kill, for the process had ended"


def fault_points(lab: Lab) -> None:
    """SIGKILL at each of the points of a run, to the process that comes there or to all."""
    before = lab.now()
    cases = [(point, whom) for point in POINTS for whom in ("self", "group")]
    for at in range(lab.given.kills):
        if not lab.has_time():
            return
        point, whom = cases[at % len(cases)]
        lab.advance()
        which = 1 if at < len(cases) else lab.dice.randint(1, 4)
        mark = lab.runner.folder / "mark"
        lab.runner.run(lab.pages, lab.out, {"point": (point, which, whom, str(mark)), "keep_seconds": 5})
        what = f"{point} ({'all killed' if whom == 'group' else 'killed'})"
        lab.note(what if mark.exists() else f"{point}: not reached")
        before = lab.look(before, lab.out, what)
        if lab.dice.random() < 0.5:
            before = lab.settle(lab.out, what)
    lab.settle(lab.out, "points")


def fault_parts(lab: Lab) -> None:
    """Objects of each table changed, cut short, or gone; a torn manifest: what do `verify` and the next run say?"""
    lab.settle(lab.out, "nothing")
    for table in ("clean", "edits", "rejected", "lines", "runs", "index", "files", "pairs", "manifest"):
        for damage in ("flipped", "cut", "gone"):
            for more in ("nothing new", "next edition"):
                if lab.has_time():
                    _damage_part(lab, table, damage, more)


def _damage_part(lab: Lab, table: str, damage: str, more: str) -> None:
    out = lab.copy("damaged")
    store = open_store(out)
    snapshot = current(store)
    at = lab.at
    if table == "manifest":
        path = out / "_store" / "manifests" / f"{snapshot.number:06}.json"
    else:
        by_table: dict[str, list[Any]] = {**{t: list(parts) for t, parts in snapshot.tables.items()}}
        by_table |= {name: [part] for name, part in snapshot.state.items()}
        by_table["index"] = [batch.parts["index"] for batch in snapshot.batches]
        path = store.path(lab.dice.choice(by_table[table]))
    spoil(path, damage, lab.dice)
    what = f"{table} {damage}, {more}"
    try:
        found = not verify(out).ok
    except (DatasetError, OSError):
        found = True
    is_older = table == "manifest" and damage == "gone"  # the one before is the newest then, and whole
    if not found and not is_older:
        lab.wrong(f"verify does not find it: {what}")
    if more == "next edition":
        lab.advance()
    ended = lab.runner.run(lab.pages, out)
    lab.note(f"{what}: {_outcome(lab, out, path, ended)}")
    lab.show(at)


def _outcome(lab: Lab, out: Path, path: Path, ended: Ended) -> str:
    """What a run made of a damaged dataset."""
    names_it = path.name in ended.log
    if ended.status not in DONE:
        if not names_it or ended.status != FAILED:
            lab.wrong(f"exit code {ended.status}, and the message does not name {path.name}: {ended.log[-300:]}")
        return "refused" + ("" if names_it else ", and does not say what is damaged")
    try:
        report, state = verify(out), lab.now(out)
    except (DatasetError, OSError, ValueError, pa.ArrowException) as error:
        lab.wrong(f"a run has published an object that is damaged, without a word: {type(error).__name__}")
        return "PUBLISHED AGAIN, and can't be read"
    if not report.ok:
        return "carried over, as verify goes on to say"
    if state.tables != lab.wanted[lab.at].tables:
        lab.wrong("a run took damage for content, and verify does not see it")
        return "PUBLISHED, AND WRONG"
    return "healed"


def spoil(path: Path, damage: str, dice: random.Random) -> None:
    """Damage a file."""
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
        return
    if damage == "cut":
        del content[dice.randrange(len(content)) :]
    else:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.chmod(0o644)
    path.write_bytes(content)


def fault_journals(lab: Lab) -> None:
    """Journals that a killed run has left, damaged before the next one."""
    before = lab.now()
    for _ in range(lab.given.kills):
        if not lab.has_time():
            return
        lab.advance()
        which = lab.dice.randint(2, 8)
        point = ("after a journal entry", which, "group", str(lab.runner.folder / "mark"))
        lab.runner.run(lab.pages, lab.out, {"point": point})
        journals = list((lab.out / "_store" / "work").glob("*/journal-*"))
        damages = [lab.dice.choice(["flipped", "cut", "zeros", "another", "header", "gone"]) for _ in journals]
        for path, damage in zip(journals, damages, strict=True):
            _spoil_journal(path, damage, lab.dice)
        what = f"journals {', '.join(sorted(set(damages)))}"
        for damage in damages:
            lab.note(f"a journal {damage}")
        before = lab.look(before, lab.out, what)
        before = lab.settle(lab.out, what)


def _spoil_journal(path: Path, damage: str, dice: random.Random) -> None:
    content = path.read_bytes()
    if damage == "zeros":  # as some file systems leave a file after the power was gone
        path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    elif damage == "another":
        path.write_bytes(content + dice.randbytes(200))
    elif damage == "header" and content:
        at = dice.randrange(min(64, len(content)))
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :])
    elif content:
        spoil(path, damage if damage in {"cut", "gone"} else "flipped", dice)


def fault_clock(lab: Lab) -> None:
    """Runs whose clock is a day late, or a year early, and files that such a clock has dated."""
    before = lab.now()
    day = 86_400.0
    for turn in range(max(1, lab.given.kills // 5)):
        for shift in (-day, 365 * day, 0.0, -365 * day, 3 * day):
            if not lab.has_time():
                return
            lab.advance()
            kept = open_store(lab.out).numbers()[-3:]
            ended = lab.runner.run(lab.pages, lab.out, {"clock": shift})
            what = f"a clock {shift / day:+.0f} days wrong"
            lab.note(what)
            if ended.status not in DONE:
                lab.wrong(f"with {what} the run ended with {ended.status}: {ended.log[-600:]}")
            if before.number not in open_store(lab.out).numbers():
                lab.wrong(f"with {what} the snapshot that was current went: of {kept}")
            before = lab.check(lab.out, what, lab.wanted[lab.at], lab.runner)
            _change_by_wrong_clock(lab, shift, what)
            before = lab.settle(lab.out, f"{what}, a page taken back")
        print(f"    clock: turn {turn + 1}", flush=True)


def _change_by_wrong_clock(lab: Lab, shift: float, what: str) -> None:
    """A page gets another content of the same size, dated by that clock; then it is as it was."""
    edition = lab.editions[lab.at]
    name = lab.dice.choice([name for name, content in edition.items() if content])
    path = lab.pages / name
    content = edition[name].replace("网".encode(), "坊".encode())
    path.write_bytes(content)
    moment = time.time() + shift
    os.utime(path, (moment, moment))
    for turn in range(2):
        ended = lab.runner.run(lab.pages, lab.out, {"clock": shift + turn})
        changed = rows_of(lab.out, current(open_store(lab.out)), "clean")
        row = next((row for row in changed if row["source_uri"] == path.as_uri()), None)
        lab.published.add(lab.now().seen)
        if ended.status not in DONE or row is None or row["raw_sha256"] != hashlib.sha256(content).hexdigest():
            lab.wrong(f"with {what} a page of the same size was not read again")
    write(path, edition[name])


def fault_full(lab: Lab) -> None:
    """A disk with room for a part of what a run writes."""
    disk = lab.folder / "disk"
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", disk], check=False).returncode:
        lab.note("left out: no mount here")
        return
    try:
        _fill(lab, disk)
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def _fill(lab: Lab, disk: Path) -> None:
    out, filler = disk / "dataset", disk / "filler"
    shutil.copytree(lab.out, out)
    before = lab.settle(out, "nothing")
    room = 300_000
    for _ in range(lab.given.kills):
        if not lab.has_time():
            return
        lab.advance()
        left = lab.dice.randrange(room)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with filler.open("wb") as file:
            file.truncate(0)
            os.posix_fallocate(file.fileno(), 0, max(1, free - left))
        ended = lab.runner.run(lab.pages, out)
        what = f"a disk with room for {left // 1000} KB"
        at = "enough room" if ended.status in DONE else _where(ended.log)
        lab.note(f"disk full: {at}")
        room = int(room * 0.9) if ended.status in DONE else min(int(room * 1.2), 20_000_000)
        if ended.status not in DONE and (ended.status != FAILED or "space" not in ended.log):
            lab.wrong(f"{what}: exit code {ended.status}, and it says: {ended.log[-400:]}")
        after = lab.look(before, out, what)
        if ended.status == FAILED and after.number != before.number and "is published" not in ended.log:
            lab.wrong(f"{what}: it failed and has published, and does not say so")
        filler.unlink()
        before = lab.settle(out, what)


def _where(log: str) -> str:
    """What a run was at when it failed, by what it said last."""
    said = [line.split()[0] for line in log.splitlines() if line.endswith("documents") and line[0].islower()]
    return f"failed while {said[-1] if said else 'preparing'}"


def fault_readonly(lab: Lab) -> None:
    """Folders of the dataset that nobody may write to any more, from a random moment of a run on."""
    with unprivileged(lab) as runner:
        if runner is None:
            return
        out = lab.copy("readonly")
        before = lab.settle(out, "nothing", runner)
        for _ in range(lab.given.kills):
            if not lab.has_time():
                return
            lab.advance()
            runner.start(lab.pages, out)
            time.sleep(lab.dice.uniform(0, lab.seconds_of_a_run))
            closed = _close(out, lab.dice)
            ended = runner.wait()
            for path, mode in closed.items():
                with contextlib.suppress(FileNotFoundError):
                    path.chmod(mode)
            at = "late" if ended.status in DONE else _where(ended.log)
            lab.note(f"read-only: {at}")
            if ended.status not in DONE and (ended.status != FAILED or "ermission" not in ended.log):
                lab.wrong(f"read-only: exit code {ended.status}, and it says: {ended.log[-400:]}")
            before = lab.look(before, out, "read-only")
            before = lab.settle(out, "read-only", runner)


def _close(out: Path, dice: random.Random) -> dict[Path, int]:
    """Take the right to write from all folders of a dataset, or from some; the modes they had."""
    folders = [out, *(path for path in out.rglob("*") if path.is_dir())]
    if dice.random() < 0.5:
        folders = dice.sample(folders, max(1, len(folders) // 3))
    modes = {}
    for path in folders:
        with contextlib.suppress(FileNotFoundError):
            modes[path] = path.stat().st_mode & 0o777
            path.chmod(0o555)
    return modes


@contextlib.contextmanager
def unprivileged(lab: Lab) -> Iterator[Runner | None]:
    """A runner for whom permissions count; None if there is none here."""
    if os.getuid() == 0 and not shutil.which("setpriv"):
        lab.note("left out: root, and no setpriv")
        yield None
        return
    runner = Runner(lab.folder / f"runner-{lab.kind}", UNPRIVILEGED if os.getuid() == 0 else ())
    try:
        yield runner
    finally:
        runner.close()


def fault_sources(lab: Lab) -> None:
    """Sources that change, grow, shrink, vanish or become something else while a run reads them."""
    with unprivileged(lab) as runner:
        if runner is None:
            return
        before = lab.now()
        for _ in range(lab.given.kills):
            if not lab.has_time():
                break
            lab.advance()
            names = lab.dice.sample(sorted(lab.editions[lab.at]), 6)
            runner.start(lab.pages, lab.out)
            for name in names:
                time.sleep(lab.dice.uniform(0, lab.seconds_of_a_run / 4))
                lab.note(f"a source {_disturb(lab.pages / name, lab.dice)}")
            ended = runner.wait()
            if ended.status not in {*DONE, WRONG_USE}:
                lab.wrong(f"sources changed, and the run ended with {ended.status}: {ended.log[-600:]}")
            _check_disturbed(lab, before, ended)
            for path in lab.pages.rglob("*"):
                with contextlib.suppress(OSError):
                    path.chmod(0o755 if path.is_dir() else 0o644)
            before = lab.settle(lab.out, "sources changed", runner, lab.from_scratch())
            for name in names:
                path = lab.pages / name
                if path.is_symlink() or path.exists():
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        lab.advance()
        lab.settle(lab.out, "sources changed", runner)


def _check_disturbed(lab: Lab, before: State, ended: Ended) -> None:
    """After a run whose sources changed: all well in itself, and published if it says so."""
    if problems := verify(lab.out).problems:
        lab.wrong(f"sources changed, and verify says: {problems[0]}")
    state = lab.now()
    lab.published.add(state.seen)
    if (state.number == before.number) != (ended.status == WRONG_USE):
        lab.wrong(f"sources changed: exit code {ended.status}, snapshot {state.number} after {before.number}")


DISTURBANCES = (
    *(
        "changed",
        "changed, same size and almost time",
        "grew",
        "cut",
        "gone",
        "a folder",
        "a pipe",
        "a link to nowhere",
    ),
    *("a loop", "a cut gzip", "unreadable", "in an unreadable folder"),
)


def _disturb(path: Path, dice: random.Random) -> str:
    """Do something to a source; what it was."""
    how = dice.choice(DISTURBANCES)
    content, state = path.read_bytes(), path.stat()
    if how in {"grew", "cut"}:
        with path.open("r+b") as file:
            file.truncate(len(content) // 2) if how == "cut" else (
                file.seek(0, 2),
                file.write("又来一段。".encode() * 20),
            )
        return how
    if how == "unreadable":
        path.chmod(0)
        return how
    if how == "in an unreadable folder":
        (path.parent / "closed").mkdir(mode=0, exist_ok=True)
        return how
    path.unlink()
    if how.startswith("changed"):
        path.write_bytes(content.replace("网".encode(), "坊".encode()))
        if "same" in how:
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1000))
    elif how == "a folder":
        path.mkdir()
        (path / "in.txt").write_bytes(content)
    elif how == "a pipe":
        os.mkfifo(path)
    elif how.startswith("a l"):
        path.symlink_to(path if how == "a loop" else path.with_name("nowhere"))
    elif how == "a cut gzip":
        path.write_bytes(bytes.fromhex("1f8b0800000000000003") + dice.randbytes(80))
    return how


def fault_two(lab: Lab) -> None:
    """Two runs into one dataset, a lock of a dead process, and a roll back beside a run and between runs."""
    other = Runner(lab.folder / "other")
    lab.settle(lab.out, "nothing")
    for _ in range(max(1, lab.given.kills // 4)):
        if not lab.has_time():
            break
        for wait in (0, 60):
            lab.advance()
            before = lab.now()
            lab.runner.start(lab.pages, lab.out, wait=wait)
            time.sleep(lab.dice.uniform(0, 0.5 * lab.seconds_of_a_run))
            other.start(lab.pages, lab.out, wait=wait)
            ends = [lab.runner.wait(), other.wait()]
            lab.note(f"two at once, {'waiting' if wait else 'not waiting'}")
            _check_two(lab, ends, waiting=bool(wait))
            lab.look(before, lab.out, "two at once", 2)
            lab.settle(lab.out, "two at once")
        _dead_lock(lab)
        _roll_back(lab)
    other.close()


def _check_two(lab: Lab, ends: Sequence[Ended], *, waiting: bool) -> None:
    n_done = sum(ended.status in DONE for ended in ends)
    refused = [ended for ended in ends if ended.status not in DONE]
    if waiting and n_done != 2:
        lab.wrong(f"two at once, waiting: {refused[0].log[-400:]}")
    if n_done == 0 or any(
        ended.status != FAILED or "is being written by process" not in ended.log for ended in refused
    ):
        lab.wrong(f"two at once: {[ended.status for ended in ends]} {refused[0].log[-400:]}")


def _dead_lock(lab: Lab) -> None:
    """A lock file of a process that was killed, and one with nonsense in it."""
    lab.advance()
    dead = subprocess.Popen(["true"])
    dead.wait()
    told = json.dumps({"pid": dead.pid, "host": "elsewhere", "since": "2020-01-01T00:00:00+00:00"})
    (lab.out / "_store" / "lock").write_text(lab.dice.choice([told, "nonsense", ""]))
    lab.note("a lock file of a dead process")
    lab.settle(lab.out, "a lock of a dead process")


def _roll_back(lab: Lab) -> None:
    """Roll back and vacuum beside a run, which must be refused, and between two."""
    lab.advance()
    before = lab.now()
    lab.runner.start(lab.pages, lab.out)
    while not (lab.out / "_store" / "lock").read_bytes() and members(lab.runner.pid)["flow"]:
        time.sleep(0.01)
    for what in ("roll back", "vacuum"):
        try:
            _command(lab, what)
            lab.note(f"{what} beside a run: it had ended")
        except DatasetBusyError:
            lab.note(f"{what} beside a run: refused")
    lab.runner.wait()
    lab.look(before, lab.out, "a roll back beside a run", 2)
    for what in ("roll back", "vacuum"):
        _command(lab, what)
        lab.note(f"{what} between runs")
        lab.settle(lab.out, f"a {what}")


def _command(lab: Lab, what: str) -> None:
    """Roll back to the snapshot before, and check that; or vacuum.

    Raises:
        DatasetBusyError: if the dataset is being written.
    """
    console = Console(file=io.StringIO())
    if what == "vacuum":
        history.vacuum(lab.out, 1, timedelta(seconds=20), 0, console, work=True, dry_run=False)
        return
    store = open_store(lab.out)
    older = store.numbers()[-2]
    wanted = state_of(lab.out, store.snapshot(older))
    history.roll_back(lab.out, older, 0, console, dry_run=False)
    state = lab.now()
    lab.published.add(state.seen)
    if state.tables != wanted.tables:
        lab.wrong("a roll back made something else than the older snapshot")


CALLS = (
    *("openat", "write", "pwrite64", "rename", "renameat2", "link"),
    *("fsync", "unlink", "mkdir", "rmdir", "ftruncate", "flock"),
)


def fault_syscalls(lab: Lab) -> None:
    """System calls that fail, or at which a process is killed, in the flow and in its workers (strace)."""
    if not shutil.which("strace"):
        lab.note("left out: no strace here")
        return
    before = lab.now()
    for at in range(lab.given.kills):
        if not lab.has_time():
            return
        lab.advance()
        call = CALLS[at % len(CALLS)]
        how = lab.dice.choice(["error=EIO", "error=EROFS", "error=ENOSPC", "signal=SIGKILL", "signal=SIGKILL"])
        which = int(2 ** lab.dice.uniform(0, 6 if call in {"openat", "write"} else 4))
        go = lab.runner.folder / "go"
        go.unlink(missing_ok=True)
        group = lab.runner.start(lab.pages, lab.out, {"go": str(go)})
        injected = f"inject={call}:{how}:when={which}"
        trace = [
            "strace",
            "-f",
            "-qq",
            "-p",
            str(group),
            "-e",
            f"trace={call}",
            "-e",
            injected,
            "-o",
            str(lab.folder / "trace"),
        ]
        tracer = subprocess.Popen(trace, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        go.touch()
        ended = lab.runner.wait()
        tracer.wait(30)
        what = f"{call}: {how.partition('=')[2]}"
        is_hit = (
            "INJECTED" in (trace_text := (lab.folder / "trace").read_text(errors="replace")) or "SIGKILL" in trace_text
        )
        lab.note(f"{what}, run {_how(ended)}" if is_hit else f"{call}: not so often called")
        if ended.status not in {*DONE, FAILED, -9}:
            lab.wrong(f"{what} number {which}: the run ended with {ended.status}: {ended.log[-800:]}")
        before = lab.look(before, lab.out, what)
        before = lab.settle(lab.out, f"{what} number {which}")


def _how(ended: Ended) -> str:
    return "went on" if ended.status in DONE else "was killed" if ended.status == -9 else "failed"


def fault_command(lab: Lab) -> None:
    """The command line with Prefect's temporary server: a process of it killed, the server too."""
    before = lab.now()
    for _ in range(max(1, lab.given.kills // 5)):
        if not lab.has_time():
            return
        lab.advance()
        whom = lab.dice.choice(["flow", "group", "worker", "forkserver", "server", "server"])
        before = _kill_command(lab, whom, before)
    lab.settle(lab.out, "kills of the command")


def _kill_command(lab: Lab, whom: str, before: State) -> State:
    home = lab.folder / "prefect"
    command = [*PYTHON, "flows", "clean", str(lab.pages), "--out", str(lab.out), "--workers", "2"]
    log = lab.folder / "command.log"
    with log.open("wb") as file:
        run = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True,
            env={**os.environ, "PREFECT_HOME": str(home), "TMPDIR": str(lab.runner.folder / "tmp")},
        )  # fmt: skip
    _wait_for(log, run)
    time.sleep(lab.dice.uniform(0, 3))
    kinds = members(run.pid)
    there = kinds.get(whom, [])
    hit = kill(run.pid, group=True) if whom == "group" else any([kill(lab.dice.choice(there))] if there else [])
    try:
        status = run.wait(SECONDS_OF_A_RUN)
    except subprocess.TimeoutExpired:
        lab.wrong(f"the command hangs after a kill of {whom}: {log.read_text()[-600:]}")
        kill(run.pid, group=True)
        status = run.wait()
    what = f"a kill of {whom}" if hit else f"no kill: {whom} was not there"
    lab.note(f"{what}, command ended with {status}")
    if "Traceback" in log.read_text() and whom != "server":  # which Prefect tells at length
        lab.wrong(f"{what}: {log.read_text()[-800:]}")
    _check_leftovers(lab, run.pid, what)
    before = lab.look(before, lab.out, what)
    return lab.settle(lab.out, what)


def _wait_for(log: Path, run: "subprocess.Popen[bytes]") -> None:
    """Until the command says that it cleans."""
    until = time.monotonic() + SECONDS_OF_A_RUN
    while run.poll() is None and b"cleaning" not in log.read_bytes() and time.monotonic() < until:
        time.sleep(0.05)


def _check_leftovers(lab: Lab, group: int, what: str) -> None:
    """No process stays behind for long."""

    def left() -> list[str]:
        return [command for _, _, of, command in processes() if of == group]

    until = time.monotonic() + 15
    while left() and time.monotonic() < until:
        time.sleep(0.2)
    if there := left():
        lab.wrong(f"{what}: 15 s later there are {there[:2]}")
        kill(group, group=True)


FAULTS: dict[str, Callable[[Lab], None]] = {
    name.removeprefix("fault_"): function for name, function in list(globals().items()) if name.startswith("fault_")
}


# Readers


class Readers:
    """Processes that read a dataset all the time."""

    def __init__(self, out: Path, folder: Path, n: int) -> None:
        self._logs = [folder / f"readers-{i}" for i in range(n)]
        self._processes = [
            subprocess.Popen([*PYTHON, "benchmarks.faults_run", "readers", str(out), str(log)], cwd=ROOT)
            for log in self._logs
        ]

    def stop(self, lab: Lab) -> None:
        """Stop them, and check what they saw."""
        lab.kind = "readers"
        for process in self._processes:
            process.kill()
            process.wait()
        logs = [log for log in self._logs if log.exists()]
        reads = [json.loads(line) for log in logs for line in log.read_text().splitlines() if line.endswith("}")]
        for read in reads:
            result = (
                "right" if read.get("digest") in lab.published else next(iter({"gone", "error"} & read.keys()), "WRONG")
            )
            lab.note(f"{read['tool']}: {result.replace('gone', 'a file had gone')}")
            is_allowed = result == "right" or (result == "gone" and read["tool"] != "manifest")
            if not is_allowed:
                lab.wrong(f"a read: {read}")


def report(lab: Lab) -> None:
    """Print what was done, and what was found wrong."""
    wrong = Counter(kind for kind, _ in lab.problems.elements())
    width = max(len(what) for _, what in lab.done)
    for kind in dict.fromkeys(kind for kind, _ in lab.done):
        rows = {what: n for (of, what), n in sorted(lab.done.items()) if of == kind}
        print(f"\n{kind}: {sum(rows.values())} times, {wrong[kind]} problems")
        for what, n in rows.items():
            print(f"    {what:{width}} {n:6,}")
    print(f"\n{lab.n_taken:,} documents were taken from journals, {lab.n_cleaned:,} cleaned, in the runs after faults")
    for (kind, problem), n in lab.problems.items():
        print(f"WRONG {kind} ({n} times): {problem}")
    print(f"{lab.problems.total()} problems")


def main() -> int:
    """Run as the docstring above says; 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="?", type=Path, default=TEXTS, metavar="FOLDER-or-FILE")
    parser.add_argument("--kills", type=int, default=20, help="faults of each kind, about")
    parser.add_argument("--seconds", type=float, default=3600, help="no fault begins after that")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(FAULTS), metavar="KIND,…")
    parser.add_argument("--documents", type=int, default=160)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    texts = documents(given.source, given.seed)["hans"]
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(Path(temporary), texts, given)
        lab.runner.run(lab.pages, lab.out)
        lab.until = time.monotonic() + given.seconds
        lab.published.add(lab.now().seen)
        readers = Readers(lab.out, lab.folder, given.readers)
        for kind in given.only:
            lab.kind = kind
            started = time.monotonic()
            FAULTS[kind](lab)
            print(f"{kind}: {time.monotonic() - started:.0f} s", flush=True)
        readers.stop(lab)
        lab.runner.close()
        report(lab)
    return min(len(lab.problems), 1)


if __name__ == "__main__":
    sys.exit(main())
