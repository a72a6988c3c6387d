"""What a run has to clean, over several runs on real files; what cleaning gives is made by hand."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from schemas.config import CleanConfig, RunConfig
from schemas.dataset import cleaned_with, run_row
from schemas.document import Cleaned, Decoded, Origin, Outcome, Reason, Rejection, Run
from schemas.index import FILES
from tasks.corpus import Revision
from tasks.ingest import plan as module
from tasks.ingest.batches import index_rows, of_snapshot, rewrite, write_batch
from tasks.ingest.before import Before, Fate
from tasks.ingest.plan import Plan, plan_replay, plan_run, read_known, split_sources
from tasks.publish import Contents, publish, run_folder
from tasks.publish.counts import Tally
from tasks.publish.parts import write_part
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import Store, newest, open_store
from tasks.read.records import Span
from tasks.read.sources import Source, find_sources

START = datetime(2026, 11, 1, 12, tzinfo=UTC)

LONG_AGO = START - timedelta(days=30)


class World:
    """A folder of files and a dataset of them."""

    def __init__(self, folder: Path) -> None:
        self.pages = folder / "pages"
        self.out = folder / "out"
        self.scratch = folder / "scratch"
        self.pages.mkdir()
        self.scratch.mkdir()
        self.store: Store = open_store(self.out)
        self.runs = 0
        self.config = CleanConfig()
        self.rules = "rules"

    def write(self, name: str, content: str = "", at: datetime = LONG_AGO) -> None:
        """A file, last changed at some time."""
        (self.pages / name).write_text(content or f"內容{name}")
        os.utime(self.pages / name, (at.timestamp(), at.timestamp()))

    def sources(self) -> list[Source]:
        return find_sources([str(self.pages)], self.out, self.pages)

    def next_run(self) -> Run:
        """One a day."""
        return Run(f"run-{self.runs + 1}", START + timedelta(days=self.runs), self.config, "0.1.0", self.rules)

    @property
    def last(self) -> Snapshot | None:
        return newest(self.store)

    def plan(self, **settings: Any) -> Plan:
        config = RunConfig(sources=(str(self.pages),), out=self.out, clean=self.config, **settings)
        return plan_run(self.sources(), self.last, self.store, self.next_run(), config)

    def to_read(self, **settings: Any) -> list[str]:
        return names(self.plan(**settings).to_read)

    def to_clean(self, **settings: Any) -> list[str]:
        """Of the files that are read, those of which a document is cleaned."""
        return self.cleaned_by(self.plan(**settings))

    def cleaned_by(self, plan: Plan) -> list[str]:
        """The same for a plan, and those that are picked."""
        read = [*self.read(plan, plan.to_read)]
        read += self.read(plan, plan.to_pick, plan.picked)
        uris = sorted({outcome.origin.source_uri for fate, outcome, _ in read if fate is Fate.CLEAN})
        return [uri.rpartition("/")[2] for uri in uris]

    def read(
        self,
        plan: Plan,
        sources: Sequence[Source],
        picked: Iterable[str] | None = None,
        make: Callable[[Source], Outcome] | None = None,
    ) -> Iterator[tuple[Fate, Outcome, str]]:
        """What becomes of documents, each source a shard, and the runs in which they came first."""
        spans = [Span(source, n_bytes=source.n_bytes) for source in sources]
        for source, path in zip(sources, plan.before([[span] for span in spans], self.scratch, picked), strict=True):
            before = Before(path)
            for outcome in [make(source)] if make else outcomes_of(source):
                yield before.fate(outcome.origin), outcome, before.first_run(outcome.origin.doc_id)

    def carry_out(
        self, plan: Plan, make: Callable[[Source], Outcome] | None = None, relearned: Iterable[str] = ()
    ) -> Tally:
        """Do what a plan says, as `tasks.shards.clean_shard.clean_sources` does, and publish it."""
        run = self.next_run()
        self.runs += 1
        with self.store.lock():
            self.store.prepare()
            folder = run_folder(self.store, run.run_id)
            read = [*self.read(plan, plan.to_read, None, make), *self.read(plan, plan.to_pick, plan.picked, make)]
            plan.keep(outcome.origin.doc_id for fate, outcome, _ in read if fate is Fate.STAY)
            plan.keep_unread(outcome.origin.source_uri for _, outcome, _ in read if is_unread(outcome))
            again = [row for row in self.read(plan, plan.relearn(relearned), relearned) if row[0] is Fate.CLEAN]
            plan.relearned |= {outcome.origin.doc_id for _, outcome, _ in again}
            cleaned = [row for row in [*read, *again] if row[0] is Fate.CLEAN]
            firsts = {outcome.origin.doc_id: first for _, outcome, first in cleaned if first}
            draft = write_batch((Revision(outcome) for _, outcome, _ in cleaned), run, firsts, folder)
            new = index_rows([draft] if draft.parts else [], ["doc_id", "state"]).to_pandas()
            plan.drop(new["doc_id"])
            batches: list[Any] = []
            for place, batch in enumerate(self.last.batches if self.last else ()):
                gone = plan.leaving().get(place, frozenset())
                stored = of_snapshot(batch, self.store, gone)
                batches.append((batch.number, rewrite([stored], "off", run, folder)) if gone else batch)
            files = write_part("files", plan.file_states(run), run, folder)
            contents = Contents(
                [*batches, (None, draft)], write_part("lines", [], run, folder), {"files": files}, "off"
            )
            tally = plan.tally(new)
            counted = {f"n_{name}": n for name, n in asdict(tally).items()}
            publish(self.store, contents, run, {**run_row(run), "kind": "clean", "sources": [], **counted})
            return tally

    def run(self, **settings: Any) -> Tally:
        return self.carry_out(self.plan(**settings))

    def files(self) -> pd.DataFrame:
        assert self.last
        frame: pd.DataFrame = pq.read_table(self.store.path(self.last.state["files"])).to_pandas()
        return frame.set_index(frame["source_uri"].map(lambda uri: uri.rpartition("/")[2]))

    def known(self) -> pd.DataFrame:
        frame = read_known(self.last, self.store)
        parts = [self.store.path(batch.parts["index"]) for batch in (self.last.batches if self.last else ())]
        runs = [run_id for part in parts for run_id in pq.read_table(part, columns=["run_id"])["run_id"].to_pylist()]
        frame["run_id"] = runs
        return frame.set_index(frame["source_uri"].map(lambda uri: uri.rpartition("/")[2])).sort_index()


def names(sources: Iterable[Source]) -> list[str]:
    return [source.name for source in sources]


def is_unread(outcome: Outcome) -> bool:
    return bool(outcome.rejection and outcome.rejection.reason == Reason.UNREADABLE and not outcome.origin.record)


REASONS = {"short": Reason.TOO_SHORT, "duplicate": Reason.DUPLICATE, "crashed": Reason.CRASHED}


def outcomes_of(source: Source) -> list[Outcome]:
    """Names say what becomes of a file: `short…` is rejected, `duplicate…` and `crashed…` as well.

    A `box…` has a document in each line, whose beginnings say the same; behind a line `broken` nothing can be read.
    """
    try:
        if not Path(source.path).is_file():
            raise FileNotFoundError
        content = Path(source.path).read_bytes()
    except OSError:
        return [Outcome(Origin(source.uri, "", "", 0), rejection=Rejection(Reason.UNREADABLE, "No."))]
    if not source.name.startswith("box"):
        return [made_of(source, "", content, source.name.rstrip("0123456789"))]
    lines, broken, _ = content.partition(b"broken")
    made = [
        made_of(source, f"line={number}", line, line.decode().rstrip("0123456789"))
        for number, line in enumerate(lines.splitlines(), 1)
    ]
    why = Rejection(Reason.BROKEN, "It ends here.")
    return [*made, *([Outcome(Origin(source.uri, "end", "", 0), rejection=why)] if broken else [])]


def outcome_of(source: Source) -> Outcome:
    (outcome,) = outcomes_of(source)
    return outcome


def made_of(source: Source, record: str, content: bytes, name: str) -> Outcome:
    origin = Origin(source.uri, record, hashlib.sha256(content).hexdigest(), len(content))
    text = content.decode()
    rejection = Rejection(REASONS[name], "So it is.") if name in REASONS else None
    return Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), Cleaned(text, ()), rejection)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three files that one run has cleaned."""
    made = World(tmp_path)
    for name in ("a", "b", "c"):
        made.write(name)
    made.run()
    return made


class TestWhatIsCleaned:
    def test_all_in_the_first_run(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        world.write("a")
        world.write("b")
        plan = world.plan()
        assert world.cleaned_by(plan) == ["a", "b"]
        assert len(plan.known) == 0
        assert world.carry_out(plan) == Tally(added=2)

    def test_nothing_if_nothing_has_changed(self, world: World) -> None:
        assert world.to_clean() == []
        assert world.run() == Tally(unchanged=3)
        assert world.run() == Tally(unchanged=3)

    def test_no_file_is_opened_then(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "split_source", lambda source: pytest.fail(f"{source} was opened"))
        plan = world.plan()
        assert plan.to_read == []
        assert list(split_sources(plan.to_read)) == []

    def test_what_is_new(self, world: World) -> None:
        world.write("0")
        world.write("d")
        assert world.to_clean() == ["0", "d"]
        assert world.run() == Tally(added=2, unchanged=3)

    def test_what_has_another_size_or_time_and_another_content(self, world: World) -> None:
        world.write("a", "更長的內容了", LONG_AGO)
        world.write("b", "內容x", LONG_AGO + timedelta(seconds=1))
        assert world.to_clean() == ["a", "b"]
        assert world.run() == Tally(changed=2, unchanged=1)
        assert world.to_clean() == []

    def test_a_file_that_was_put_back_as_it_was_before(self, world: World) -> None:
        """From a backup, its old time with it: older than at the last run, but another."""
        world.write("a", "內容z", LONG_AGO - timedelta(days=300))
        assert world.to_clean() == ["a"]

    def test_not_what_was_only_touched(self, world: World) -> None:
        """It is read again, and stays as it is."""
        before = world.known()
        world.write("a", at=LONG_AGO + timedelta(days=1))
        assert world.to_read() == ["a"]
        assert world.to_clean() == []
        plan = world.plan()
        assert world.carry_out(plan) == Tally(unchanged=3)
        assert plan.leaving() == {}
        assert world.known().equals(before)
        assert world.to_read() == []
        assert world.files().mtime_ns["a"] == (world.pages / "a").stat().st_mtime_ns  # so that it is not read again

    def test_another_content_of_the_same_size_and_time_is_seen_only_with_checksum(self, world: World) -> None:
        """What the fast path can't see: someone has set the time back."""
        world.write("b", "內容z")
        assert world.to_read() == []
        assert world.to_read(checksum=True) == ["a", "b", "c"]
        assert world.to_clean(checksum=True) == ["b"]
        assert world.run(checksum=True) == Tally(changed=1, unchanged=2)

    @pytest.mark.parametrize("ahead", [-1.9, 0, 3600.0])
    def test_but_always_where_the_file_was_young_when_it_was_seen(self, ahead: float, tmp_path: Path) -> None:
        """Changed a moment before the run, during it, or later by its own clock: the same tick of a coarse clock."""
        world = World(tmp_path)
        young = START + timedelta(seconds=ahead)
        world.write("a", at=young)
        world.write("b")
        world.run()
        assert world.files().settled.to_dict() == {"a": False, "b": True}
        assert world.to_read() == ["a"]
        assert world.to_clean() == []
        world.write("a", "內容z", at=young)
        assert world.to_clean() == ["a"]
        assert world.run() == Tally(changed=1, unchanged=1)

    def test_a_young_file_is_old_a_day_later(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        world.write("a", at=START)
        world.run()
        world.run()
        assert world.files().settled.to_dict() == {"a": True}
        assert world.to_read() == []

    def test_a_run_whose_clock_went_back_reads_files_that_are_young_by_it(self, world: World) -> None:
        world.runs -= 60
        world.run()
        assert world.files().settled.tolist() == [False] * 3
        world.write("b", "內容z")
        assert world.to_clean() == ["b"]

    def test_what_other_rules_or_settings_have_cleaned(self, world: World) -> None:
        world.rules = "other rules"
        assert world.to_clean() == ["a", "b", "c"]
        assert world.to_clean(reclean="never") == []
        world.write("d")
        world.run(reclean="never")
        assert world.known()["cleaned_with"].nunique() == 2
        assert world.to_clean() == ["a", "b", "c"]
        assert world.run() == Tally(recleaned=3, unchanged=1)
        world.config = CleanConfig(script="tw")
        assert world.to_clean() == ["a", "b", "c", "d"]

    def test_all_if_that_is_asked_for(self, world: World) -> None:
        assert world.run(reclean="all") == Tally(recleaned=3)
        assert world.to_clean() == []

    def test_a_changed_one_is_no_recleaned_one(self, world: World) -> None:
        world.rules = "other rules"
        world.write("a", "新的內容")
        world.write("d")
        (world.pages / "c").unlink()
        assert world.run() == Tally(added=1, changed=1, recleaned=1, removed=1)

    def test_what_could_not_be_read_is_tried_again(self, world: World) -> None:
        (world.pages / "link").symlink_to("nothing")
        assert world.run() == Tally(added=1, unchanged=3)
        assert world.to_clean() == ["link"]
        assert world.to_clean(reclean="never") == ["link"]
        world.run()
        assert world.to_clean() == ["link"]
        world.write("nothing")
        assert sorted(world.to_clean()) == ["nothing"]  # one file under two names
        assert world.run() == Tally(added=1, removed=1, unchanged=3)

    def test_a_file_that_cannot_be_read_any_more_is_tried_and_rejected(self, world: World) -> None:
        (world.pages / "b").unlink()
        os.mkfifo(world.pages / "b")
        assert world.to_clean() == ["b"]
        assert world.to_clean(checksum=True) == ["b"]

    def test_other_rejected_documents_are_not(self, world: World) -> None:
        world.write("short")
        world.write("crashed")
        world.run()
        assert world.to_clean() == []

    def test_nothing_of_a_dataset_of_an_older_schema_is_carried_over(self, world: World) -> None:
        """Its manifest has no batches."""
        old = replace(world.last, batches=(), state={}) if world.last else None
        config = RunConfig(sources=(str(world.pages),), out=world.out)
        plan = plan_run(world.sources(), old, world.store, world.next_run(), config)
        assert world.cleaned_by(plan) == ["a", "b", "c"]
        assert plan.known.empty


class TestWhatIsGone:
    def test_its_documents_leave(self, world: World) -> None:
        (world.pages / "b").unlink()
        plan = world.plan()
        assert plan.to_read == []
        assert plan.leaving() == {0: {world.known()["doc_id"]["b"]}}
        assert world.carry_out(plan) == Tally(removed=1, unchanged=2)
        assert list(world.known().index) == ["a", "c"]
        assert list(world.files().index) == ["a", "c"]

    def test_or_stay_if_that_is_asked_for(self, world: World) -> None:
        (world.pages / "b").unlink()
        world.write("d")
        assert world.run(keep_missing=True) == Tally(added=1, unchanged=3)
        assert list(world.known().index) == ["a", "b", "c", "d"]
        assert list(world.files().index) == ["a", "b", "c", "d"]

    def test_what_was_kept_and_has_come_back_is_not_cleaned_again(self, world: World) -> None:
        before = (world.pages / "b").stat()
        (world.pages / "b").unlink()
        world.run(keep_missing=True)
        world.write("b")
        assert (world.pages / "b").stat().st_mtime_ns == before.st_mtime_ns
        assert world.to_clean() == []

    def test_what_was_kept_goes_with_the_next_run_that_keeps_nothing(self, world: World) -> None:
        (world.pages / "b").unlink()
        world.run(keep_missing=True)
        assert world.run() == Tally(removed=1, unchanged=2)

    def test_what_is_missing_cannot_be_cleaned_again_when_rules_change(self, world: World) -> None:
        (world.pages / "b").unlink()
        world.rules = "other rules"
        assert world.run(keep_missing=True) == Tally(recleaned=2, unchanged=1)
        assert world.known()["cleaned_with"].nunique() == 2

    def test_a_file_under_another_name_is_another_document(self, world: World) -> None:
        (world.pages / "b").rename(world.pages / "d")
        assert world.run() == Tally(added=1, removed=1, unchanged=2)


class TestContainers:
    LINES = ("one", "two", "short", "four")

    @pytest.fixture
    def boxed(self, world: World) -> World:
        """With a container of four documents."""
        world.write("box", "\n".join(self.LINES))
        world.run()
        return world

    def again(self, world: World, *lines: str) -> None:
        self.day = getattr(self, "day", 0) + 1
        world.write("box", "\n".join(lines), LONG_AGO + timedelta(hours=self.day))

    def test_a_line_more_is_one_document_more(self, boxed: World) -> None:
        self.again(boxed, *self.LINES, "five")
        plan = boxed.plan()
        assert names(plan.to_read) == ["box"]
        assert boxed.carry_out(plan) == Tally(added=1, unchanged=7)
        assert boxed.known()["run_id"]["box"].tolist() == ["run-2"] * 4 + ["run-3"]

    def test_a_line_less_changes_those_behind_it(self, boxed: World) -> None:
        """Their addresses are others' now."""
        self.again(boxed, *self.LINES[:1], *self.LINES[2:])
        assert boxed.run() == Tally(changed=2, removed=1, unchanged=4)
        assert boxed.known()["first_run_id"]["box"].tolist() == ["run-2"] * 3

    def test_one_that_was_only_touched_stays_as_it_is(self, boxed: World) -> None:
        before = boxed.known()
        self.again(boxed, *self.LINES)
        assert boxed.run() == Tally(unchanged=7)
        assert boxed.known().equals(before)

    def test_one_that_cannot_be_opened_keeps_its_documents(self, boxed: World) -> None:
        """They come back as they are; nothing of them is cleaned then."""
        before = boxed.known()
        (boxed.pages / "box").unlink()
        (boxed.pages / "box").symlink_to("nothing")
        assert boxed.run() == Tally(added=1, unchanged=7)
        assert boxed.known()["reason"]["box"].isna().sum() == 3
        assert boxed.known()["reason"]["box"].tolist().count("unreadable") == 1
        assert boxed.run() == Tally(recleaned=1, unchanged=7)
        (boxed.pages / "box").unlink()
        self.again(boxed, *self.LINES)
        assert boxed.run() == Tally(removed=1, unchanged=7)
        assert boxed.known().equals(before)

    def test_one_that_is_gone_takes_its_documents_along(self, boxed: World) -> None:
        (boxed.pages / "box").unlink()
        assert boxed.run() == Tally(removed=4, unchanged=3)

    def test_one_that_is_broken_has_what_can_be_read_and_a_row_for_the_rest(self, boxed: World) -> None:
        self.again(boxed, "one", "two", "broken", "four")
        assert boxed.run() == Tally(added=1, removed=2, unchanged=5)
        assert boxed.known()["record"]["box"].tolist() == ["line=1", "line=2", "end"]
        assert boxed.to_read() == []
        self.again(boxed, *self.LINES)
        assert boxed.run() == Tally(added=2, removed=1, unchanged=5)

    def test_a_file_that_becomes_a_container_is_another_document(self, world: World) -> None:
        """The same the other way round."""
        world.write("box", "one")
        world.run()
        (world.pages / "box").unlink()
        world.write("boa")
        assert world.run() == Tally(added=1, removed=1, unchanged=3)

    def test_other_rules_clean_all_of_it_again(self, boxed: World) -> None:
        boxed.rules = "other rules"
        self.again(boxed, *self.LINES, "five")
        assert boxed.run() == Tally(added=1, recleaned=7)
        assert len(set(boxed.known()["cleaned_with"])) == 1

    def test_relearning_cleans_some_of_its_documents(self, boxed: World) -> None:
        rows = boxed.known().loc["box"].set_index("record")["doc_id"]
        self.again(boxed, "one", "zwei", *self.LINES[2:])
        config = RunConfig(sources=(str(boxed.pages / "a"),), out=boxed.out, keep_missing=True)
        plan = plan_run(boxed.sources()[:1], boxed.last, boxed.store, boxed.next_run(), config)
        tally = boxed.carry_out(plan, relearned=[rows["line=1"], rows["line=2"]])
        assert tally == Tally(relearned=1, unchanged=6)  # the other one is not what was counted
        assert boxed.known()["run_id"]["box"].tolist() == ["run-2"] * 3 + ["run-3"]

    def test_a_replay_picks_lines(self, boxed: World) -> None:
        assert boxed.last
        plan = plan_replay(boxed.last, boxed.store, ())
        assert (plan.to_read, names(plan.to_pick)) == ([], ["box"])
        assert boxed.carry_out(plan) == Tally(recleaned=1, unchanged=6)
        self.again(boxed, "one", "zwei", "three", "four", "five")
        assert boxed.carry_out(plan_replay(boxed.last, boxed.store, ())) == Tally(changed=1, unchanged=6)
        assert boxed.run() == Tally(added=1, changed=1, unchanged=6)

    def test_a_replay_of_a_line_that_is_gone_leaves_its_row(self, boxed: World) -> None:
        assert boxed.last
        self.again(boxed, "one", "two")
        assert boxed.carry_out(plan_replay(boxed.last, boxed.store, ())) == Tally(unchanged=7)
        assert boxed.run() == Tally(removed=2, unchanged=5)

    def test_a_replay_reads_all_of_one_that_was_broken(self, boxed: World) -> None:
        self.again(boxed, "one", "two", "broken", "four")
        boxed.run()
        assert boxed.last
        self.again(boxed, *self.LINES)
        plan = plan_replay(boxed.last, boxed.store, ["broken"])
        assert (names(plan.to_read), plan.to_pick) == (["box"], [])
        assert boxed.carry_out(plan) == Tally(added=2, removed=1, unchanged=5)
        assert boxed.to_read() == []


class TestPieces:
    """Which documents of a large file are known to the process that reads a piece of it."""

    def known(self, records: Sequence[str], begins: Sequence[tuple[int, int]]) -> list[list[str]]:
        """For each piece, by where it begins and its first number, the records that it is told of."""
        source = Source("file:///box", Path("/box"), 1000)
        ends = [*[begin for begin, _ in begins[1:]], 1000]
        spans = [Span(source, begin, end, first) for (begin, first), end in zip(begins, ends, strict=True)]
        rows = pd.DataFrame({"source_uri": "file:///box", "record": list(records)}, dtype="str")
        found = module._by_span(rows, spans)
        return [[records[at] for at in found[span]] for span in spans]

    def test_by_number(self) -> None:
        records = [f"line={n}" for n in (1, 2, 9, 10, 11, 30, 1000)]
        assert self.known(records, [(0, 1), (100, 10), (200, 11)]) == [records[:3], records[3:4], records[4:]]

    def test_by_offset(self) -> None:
        records = [f"offset={n}" for n in (0, 99, 100, 555)]
        assert self.known(records, [(0, 1), (100, 1), (200, 1)]) == [records[:2], records[2:3], records[3:]]

    def test_what_cannot_be_told_is_known_everywhere(self) -> None:
        assert self.known(["end", "line=2", "a/b!line=7"], [(0, 1), (9, 5)]) == [
            ["end", "line=2", "a/b!line=7"],
            ["end", "a/b!line=7"],
        ]

    def test_several_documents_of_one_line_are_of_its_piece(self) -> None:
        assert self.known(["line=4#2", "line=5#2"], [(0, 1), (9, 5)])[0][0] == "line=4#2"
        assert "line=5#2" in self.known(["line=4#2", "line=5#2"], [(0, 1), (9, 5)])[1]


class TestHistory:
    def test_the_run_that_a_document_came_in_is_known_as_long_as_it_is_there(self, world: World) -> None:
        world.write("a", "新的內容")
        world.write("d")
        world.run()
        world.rules = "other rules"
        (world.pages / "c").unlink()
        world.run()
        assert world.known()["first_run_id"].to_dict() == {"a": "run-1", "b": "run-1", "d": "run-2"}
        world.write("c")
        world.run()
        assert world.known()["first_run_id"]["c"] == "run-4"

    def test_a_file_that_changes_after_it_was_read_is_seen_by_the_next_run(self, world: World) -> None:
        """What is kept of it is what was read."""
        plan = world.plan(reclean="all")
        read = {source.name: outcome_of(source) for source in plan.to_read}
        world.write("b", "在此之間變了", LONG_AGO)
        world.carry_out(plan, lambda source: read[source.name])
        assert world.known()["state"]["b"] == read["b"].origin.sha256
        assert world.to_clean() == ["b"]

    def test_a_file_that_changes_between_finding_and_reading_is_seen_by_the_next_run(self, world: World) -> None:
        """Of the same size, so that only its time tells: the state has the time at which it was found."""
        world.write("b", "內容y", LONG_AGO + timedelta(hours=1))
        plan = world.plan()
        world.write("b", "內容z", LONG_AGO + timedelta(hours=2))
        world.carry_out(plan)
        world.write("b", "內容w", LONG_AGO + timedelta(hours=3))
        assert world.to_clean() == ["b"]

    def test_file_states_have_the_schema(self, world: World) -> None:
        plan = world.plan()
        table = plan.file_states(world.next_run())
        assert table.schema.equals(FILES)
        assert table["source_uri"].to_pylist() == sorted(source.uri for source in world.sources())


class TestRelearning:
    def test_carried_over_documents_are_cleaned_again(self, world: World) -> None:
        world.write("d")
        plan = world.plan()
        ids = world.known()["doc_id"]
        assert names(plan.relearn([ids["a"], ids["c"]])) == ["a", "c"]
        assert plan.leaving() == {}  # until they are read, and are what they were
        assert world.carry_out(plan, relearned=[ids["a"], ids["c"]]) == Tally(added=1, relearned=2, unchanged=1)
        assert world.known()["first_run_id"].to_dict() == {"a": "run-1", "b": "run-1", "c": "run-1", "d": "run-2"}
        assert world.known()["run_id"].to_dict() == {"a": "run-2", "b": "run-1", "c": "run-2", "d": "run-2"}

    def test_those_whose_sources_are_gone_stay_as_they_are(self, world: World) -> None:
        (world.pages / "a").unlink()
        plan = world.plan(keep_missing=True)
        ids = world.known()["doc_id"]
        assert names(plan.relearn([ids["a"], ids["b"]])) == ["b"]
        assert world.carry_out(plan, relearned=[ids["a"], ids["b"]]) == Tally(relearned=1, unchanged=2)

    def test_those_that_have_changed_meanwhile_stay_as_they_are_until_the_next_run(self, world: World) -> None:
        plan = world.plan()
        ids = world.known()["doc_id"]
        world.write("b", "新的內容")
        assert world.carry_out(plan, relearned=[ids["a"], ids["b"]]) == Tally(relearned=1, unchanged=2)
        assert world.run() == Tally(changed=1, unchanged=2)

    def test_those_that_leave_anyway_are_not_asked_for(self, world: World) -> None:
        world.write("a", "新的內容")
        plan = world.plan()
        assert plan.relearn([world.known()["doc_id"]["a"]]) == []


class TestReplay:
    @pytest.fixture
    def rejected(self, world: World) -> World:
        for name in ("short", "crashed", "short1"):
            world.write(name)
        world.run()
        return world

    def plan(self, world: World, *reasons: str) -> Plan:
        assert world.last
        return plan_replay(world.last, world.store, reasons)

    def test_rejected_documents_are_cleaned_again_and_nothing_else(self, rejected: World) -> None:
        rejected.write("new")
        (rejected.pages / "a").unlink()
        rejected.write("b", "新的內容")
        plan = self.plan(rejected)
        assert rejected.cleaned_by(plan) == ["crashed", "short", "short1"]

        def pass_short(source: Source) -> Outcome:
            outcome = outcome_of(source)
            return replace(outcome, rejection=None) if source.name == "short" else outcome

        tally = rejected.carry_out(plan, pass_short)
        assert tally == Tally(recleaned=3, unchanged=3)
        assert rejected.known()["reason"].dropna().to_dict() == {
            "crashed": "crashed",
            "short1": "too-short",
        }
        assert rejected.known()["first_run_id"]["short"] == "run-2"

    def test_the_next_run_sees_what_a_replay_did_not_look_at(self, rejected: World) -> None:
        rejected.write("new")
        (rejected.pages / "a").unlink()
        rejected.write("b", "新的內容")
        rejected.carry_out(self.plan(rejected))
        assert rejected.run() == Tally(added=1, changed=1, removed=1, unchanged=4)

    def test_only_those_with_some_reasons(self, rejected: World) -> None:
        assert rejected.cleaned_by(self.plan(rejected, "too-short")) == ["short", "short1"]
        assert rejected.cleaned_by(self.plan(rejected, "crashed", "spam")) == ["crashed"]
        assert rejected.cleaned_by(self.plan(rejected, "spam")) == []

    def test_duplicates_never(self, rejected: World) -> None:
        rejected.write("duplicate")
        rejected.run()
        assert rejected.known()["reason"]["duplicate"] == "duplicate"
        assert rejected.cleaned_by(self.plan(rejected)) == ["crashed", "short", "short1"]
        assert rejected.cleaned_by(self.plan(rejected, "duplicate")) == []
        assert not self.plan(rejected, "duplicate").known["leaves"].any()

    def test_those_whose_sources_are_gone_stay_as_they_are(self, rejected: World) -> None:
        (rejected.pages / "short").unlink()
        plan = self.plan(rejected)
        assert rejected.cleaned_by(plan) == ["crashed", "short1"]
        assert rejected.carry_out(plan) == Tally(recleaned=2, unchanged=4)

    def test_one_whose_source_has_changed_counts_as_changed(self, rejected: World) -> None:
        rejected.write("short", "現在不短了", LONG_AGO + timedelta(days=1))
        assert rejected.carry_out(self.plan(rejected)) == Tally(changed=1, recleaned=2, unchanged=3)
        assert rejected.run() == Tally(unchanged=6)

    def test_other_rules_are_no_reason_to_touch_the_clean_ones(self, rejected: World) -> None:
        rejected.rules = "other rules"
        rejected.carry_out(self.plan(rejected))
        with_now = cleaned_with(rejected.next_run())
        assert (rejected.known()["cleaned_with"] == with_now).sum() == 3


def test_the_index_is_read_in_the_order_of_batches(world: World) -> None:
    world.write("0")
    world.run()
    known = read_known(world.last, world.store)
    assert [uri[-1] for uri in known["source_uri"]] == ["a", "b", "c", "0"]
    assert known["batch"].tolist() == [0, 0, 0, 1]
    assert not known["leaves"].any()
    assert read_known(None, world.store).empty
