"""The first pass over a shard, in processes that die: in a program of its own, since what kills them is patched in."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.shards import KILLS

ROOT = Path(__file__).parents[3]

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"

PATCH = """
import os, signal, sys, time
from pathlib import Path
log = os.environ.get("CLEANED")
if log and "resource_tracker" not in "".join(sys.orig_argv):
    import tasks.shards as shards
    from schemas.document import Rejection
    clean_document = shards.clean_document

    def patched(document, config):
        origin, raw = document
        if isinstance(raw, Rejection):
            return clean_document(document, config)
        name = raw.content.decode()[-40:].rpartition(" ")[2]
        with open(log, "a") as file:
            file.write(name + "\\n")
        if "KILL" in name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "ONCE" in name and Path(log).read_text().split().count(name) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if "SEGFAULT" in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        while "SPIN" in name:
            pass
        if "SLOW" in name:
            time.sleep(0.02)
        return clean_document(document, config)

    shards.clean_document = patched
    from tasks.read import jsonl
    document_of = jsonl.document_of

    def read(given, address, record, line, *more):
        while b"LOOP" in line:
            pass
        if b"FATAL" in line:
            os.kill(os.getpid(), signal.SIGSEGV)
        return document_of(given, address, record, line, *more)

    jsonl.document_of = read
"""
"""Python runs `sitecustomize` in every process. Tells which documents are cleaned, by the word that they end with; some
do harm to their process, when they are cleaned or when they are read."""

PROGRAM = """
import json, multiprocessing, os, pickle, random, signal, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
from schemas.config import CleanConfig
from schemas.document import Run
from tasks.read.sources import find_sources
from tasks import read as read_module
from tasks.ingest import plan
from tasks.shards import Shard, Work, survey_shard
from tasks.shards.journal import index_journals, read
from tasks.shards.processes import NAME
from tasks.shards.progress import watcher

pages, work_folder, n_kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
run = Run("run", datetime.now(UTC), CleanConfig(), "0", "0")
work = Work(run, work_folder / "parts", work_folder / "journals", 1.0, 1)
sources = find_sources([pages], work_folder / "out", work_folder)
read_module.SPLIT_BYTES = int(sys.argv[4])
shard = Shard(0, tuple(plan.split_sources(sources)))
told, done, killed = [], threading.Event(), 0
watcher.set(lambda event, n: told.append((event, n)))

def kill_workers():
    global killed
    dice, at = random.Random(0), 0
    while not done.is_set() and killed < n_kills:
        time.sleep(dice.uniform(0, 0.1))
        if len(told) == at:
            continue  # a process that is killed whenever it starts gets nowhere
        at = len(told)
        for process in multiprocessing.active_children():
            if process.name == NAME and process.pid and not done.is_set():
                os.kill(process.pid, signal.SIGKILL)
                killed += 1

killer = threading.Thread(target=kill_workers)
killer.start()
made = survey_shard(shard, None, index_journals(work.journals, work.folder), work)
done.set()
killer.join()
puts = [put for survey in made.surveys for put in pickle.loads(survey.entries.read_bytes())]
outcomes = list(read(put.entry for put in puts))
assert [put.doc_id for put in puts] == [outcome.origin.doc_id for outcome in outcomes]

def name(origin):
    return origin.record or origin.source_uri.rpartition("/")[2]

assert len(set(put.doc_id for put in puts)) == len(puts)
print(json.dumps({
    "reasons": {name(o.origin): o.rejection and o.rejection.reason for o in outcomes},
    "addresses": [name(o.origin) for o in outcomes],
    "details": [o.rejection.detail for o in outcomes if o.rejection],
    "told": sum(n for event, n in told if event == "cleaned"),
    "read": sum(n for event, n in told if event == "read") / sum(source.n_bytes for source in sources),
    "killed": killed,
}))
"""


class Workshop:
    """A folder of documents, and a program that cleans them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "cleaned"
        (folder / "pages").mkdir()
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(PATCH)
        self.log.touch()

    def write(self, *names: str) -> None:
        for name in names:
            (self.folder / "pages" / name).write_text(f"{NEWS} {name}")

    def fill(self, *names: str) -> None:
        """A container of such documents."""
        lines = [json.dumps({"text": f"{NEWS} {name}"}) for name in names]
        (self.folder / "pages" / "box.jsonl").write_text("\n".join(lines))

    def clean(self, n_kills: int = 0, piece: int = 4_000_000) -> dict[str, Any]:
        """What became of the documents, in their order; with files read in pieces of so many bytes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        path = f"{self.folder / 'site'}:{ROOT}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, [self.folder / "pages", self.folder, n_kills, piece])],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**kept, "PYTHONPATH": path, "CLEANED": str(self.log)},
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def cleaned(self) -> list[str]:
        """Documents in the order in which their cleaning began, since this was last asked."""
        names = self.log.read_text().split()
        self.log.write_text("")
        return names


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_documents_that_kill_their_processes_end_as_crashed_and_no_others(workshop: Workshop) -> None:
    """At the beginning, among others, one after the other and at the end; the next run knows them."""
    names = ["a-SEGFAULT", "b", "c-ONCE", "d", "e-KILL", "f-SPIN"]
    workshop.write(*names)
    found = workshop.clean()
    crashed = {"a-SEGFAULT", "e-KILL", "f-SPIN"}
    assert found["reasons"] == {name: "crashed" if name in crashed else None for name in names}
    segfault, kill, spin = found["details"]
    assert "SIGSEGV" in segfault
    assert "SIGKILL (out of memory, most likely)" in kill
    assert "more than 1 s of processor time" in spin
    assert found["told"] == len(names)
    cleaned = workshop.cleaned()
    assert {name: cleaned.count(name) for name in names} == {
        "a-SEGFAULT": 3,  # among the others, the same with each one told before it is begun, and alone
        "b": 1,
        "c-ONCE": 2,
        "d": 1,
        "e-KILL": 1 + KILLS,  # among the others, and alone
        "f-SPIN": 2,
    }
    assert workshop.clean()["reasons"] == found["reasons"]
    assert set(workshop.cleaned()) == crashed, "it may be otherwise the next time"


def test_kills_from_outside_make_no_document_crash_and_cost_only_the_one_that_was_cleaned(workshop: Workshop) -> None:
    """`benchmarks/faults.py` does hundreds."""
    names = [f"{n:03}-SLOW" for n in range(80)]
    workshop.write(*names)
    found = workshop.clean(n_kills=5)
    assert 0 < found["killed"] <= 5  # fewer where the one who kills is slow
    assert set(found["reasons"].values()) == {None}
    assert found["told"] == len(names)
    cleaned = workshop.cleaned()
    assert set(cleaned) == set(names)
    assert len(cleaned) <= len(names) + found["killed"]


def test_what_a_run_before_has_finished_is_taken_up_if_it_is_still_the_same(workshop: Workshop) -> None:
    """By the content, whatever the time of the file is; one outcome is damaged, one could not be read."""
    workshop.write("a", "b", "c", "e")
    (workshop.folder / "pages" / "d").symlink_to("nothing")
    assert workshop.clean()["reasons"] == {"a": None, "b": None, "c": None, "d": "unreadable", "e": None}
    assert workshop.cleaned() == ["a", "b", "c", "e"]
    (workshop.folder / "pages" / "b").write_text(f"{NEWS}别的。 b")
    os.utime(workshop.folder / "pages" / "c", (1, 1))
    (workshop.folder / "pages" / "d").unlink()
    workshop.write("d", "f")
    (journal,) = (workshop.folder / "journals").iterdir()
    content = bytearray(journal.read_bytes())
    content[-20] ^= 1
    journal.write_bytes(content)
    assert workshop.clean()["reasons"] == dict.fromkeys("abcdef")
    assert workshop.cleaned() == ["b", "d", "e", "f"]


def test_documents_of_a_container_that_kill_their_processes_end_as_crashed_and_no_others(workshop: Workshop) -> None:
    """With a file before it and one behind it; finished documents are cleaned once, and the next run knows them."""
    names = ["l1-SEGFAULT", "l2", "l3-ONCE", "l4-SPIN", "l5", "l6-KILL"]
    workshop.write("a", "z")
    workshop.fill(*names)
    found = workshop.clean()
    crashed = {"line=1", "line=4", "line=6"}
    addresses = ["a", *(f"line={n}" for n in range(1, 7)), "z"]
    assert found["reasons"] == {name: "crashed" if name in crashed else None for name in addresses}
    assert list(found["reasons"]) == addresses
    assert (found["told"], found["read"]) == (8, 1)
    cleaned = workshop.cleaned()
    assert {name: cleaned.count(name) for name in ("a", "l2", "l3-ONCE", "l5", "z")} == {
        **dict.fromkeys(["a", "l2", "l5", "z"], 1),
        "l3-ONCE": 2,
    }
    assert workshop.clean()["reasons"] == found["reasons"]
    assert set(workshop.cleaned()) == {names[0], names[3], names[5]}


def test_a_reader_that_dies_costs_the_rest_of_its_piece(workshop: Workshop) -> None:
    """One row says so; what was read before is there, and so are the other pieces and files."""
    workshop.write("a", "z")
    workshop.fill("l1", "l2-FATAL", "l3", "l4", "l5-LOOP", "l6", "l7", "l8", "l9")
    size = (workshop.folder / "pages" / "box.jsonl").stat().st_size
    found = workshop.clean(piece=size // 3)
    second = found["addresses"][4]
    assert found["addresses"] == [
        "a",
        "line=1",
        "from=0,documents=1",
        "line=4",
        second,
        "line=7",
        "line=8",
        "line=9",
        "z",
    ]
    assert re.fullmatch(r"from=\d{3,},documents=1", second)  # of its piece, whatever came before
    crashed = {"from=0,documents=1", second}
    assert {name for name, reason in found["reasons"].items() if reason} == crashed
    assert set(found["reasons"].values()) == {"crashed", None}
    fatal, loop = found["details"]
    assert "SIGSEGV" in fatal
    assert "more than 1 s of processor time" in loop
    assert found["read"] == 1
    assert sorted(workshop.cleaned()) == ["a", "l1", "l4", "l7", "l8", "l9", "z"]


def test_kills_in_the_middle_of_a_container_cost_the_document_that_was_cleaned(workshop: Workshop) -> None:
    names = [f"{n:03}-SLOW" for n in range(60)]
    workshop.fill(*names)
    found = workshop.clean(n_kills=4, piece=5000)
    assert list(found["reasons"].items()) == [(f"line={n}", None) for n in range(1, 61)]
    cleaned = workshop.cleaned()
    assert set(cleaned) == set(names)
    assert len(cleaned) <= len(names) + 4
    workshop.fill(*names[:30], "other", *names[31:])
    workshop.clean(piece=7000)  # other pieces, the same documents
    assert workshop.cleaned() == ["other"]
