"""The bench of faults: that it runs, and that it would see what it looks for."""

import argparse
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults import Lab
from tasks.publish.store import current, open_store


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Thirty documents in four editions, and a dataset of the last one."""
    given = argparse.Namespace(seed=0, documents=30, kills=2, seconds=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "N_EDITIONS", 2)
        made = Lab(tmp_path_factory.mktemp("faults"), ["山里的春天来得迟，杏花开在雨后。" * 20, "渡口" * 200], given)
        made.runner.run(made.pages, made.out)
        yield made
        made.runner.close()


@pytest.fixture(autouse=True)
def nothing_is_wrong_yet(lab: Lab) -> None:
    lab.problems.clear()
    lab.done.clear()


def test_a_kill_at_the_commit_loses_nothing(lab: Lab) -> None:
    before = lab.now()
    lab.advance()
    mark = lab.runner.folder / "mark"
    ended = lab.runner.run(lab.pages, lab.out, {"point": ("after the commit", 1, "group", str(mark))})
    assert ended.status == -9
    assert mark.exists()
    after = lab.look(before, lab.out, "a kill")
    assert (after.number, after.tables) == (before.number + 1, lab.wanted[lab.at].tables)
    lab.settle(lab.out, "a kill")
    assert not lab.problems


def test_finished_documents_are_taken_up(lab: Lab) -> None:
    lab.advance()
    mark = lab.runner.folder / "mark"
    ended = lab.runner.run(lab.pages, lab.out, {"point": ("part written", 1, "group", str(mark))})
    assert ended.status == -9
    ended = lab.runner.run(lab.pages, lab.out)
    assert ended.stats["finished"] == ended.stats["to_clean"] > 0
    assert ended.stats["cleaned"] == ended.stats["relearned"] == 0


def test_sees_a_snapshot_that_is_neither(lab: Lab) -> None:
    other = lab.now()._replace(number=lab.now().number - 1, tables="another")
    lab.show(lab.at)
    wanted, lab.wanted[lab.at] = lab.wanted[lab.at], other
    lab.look(other, lab.out, "a test")
    lab.wanted[lab.at] = wanted
    assert any("neither that of before nor that of after" in problem for _, problem in lab.problems)


def test_sees_damage_and_what_is_left(lab: Lab) -> None:
    out = lab.copy("damaged")
    store = open_store(out)
    path = store.path(current(store).tables["clean"][0])
    faults.spoil(path, "flipped", random.Random(0))
    (out / "_store" / "tmp" / "left").touch()
    assert faults.bad_objects(out, current(store)) == [path.name]
    assert faults.strays(out, lab.folder) == ["_store/tmp/left"]


def test_sees_a_document_that_is_there_twice(lab: Lab) -> None:
    store = open_store(lab.out)
    snapshot = current(store)
    (batch, *_) = snapshot.batches
    with pytest.raises(ValueError, match="are there twice"):
        faults.state_of(lab.out, replace(snapshot, batches=(batch, batch)))


def test_readers_see_a_mixture(lab: Lab, tmp_path: Path) -> None:
    readers = faults.Readers(lab.out, tmp_path, 0)
    log = tmp_path / "readers-0"
    log.write_text('{"tool": "polars", "digest": "torn", "rows": 3}\n{"tool": "manifest", "gone": "No such file"}\n')
    readers._logs = [log]
    readers.stop(lab)
    assert lab.problems.total() == 2


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("mount"), reason="needs root, and a disk of its own")
def test_a_full_disk(lab: Lab) -> None:
    lab.kind = "full"
    faults.fault_full(lab)
    assert not lab.problems
