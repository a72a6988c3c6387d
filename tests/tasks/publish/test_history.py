from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Outcome, Run
from tasks import publish as module
from tasks.publish import expired
from tasks.publish.counts import Counts
from tasks.publish.history import before, entries, freed, restore, settings_changed
from tasks.publish.snapshots import Batch, DamagedError, DatasetError, Snapshot, StoredPart
from tasks.publish.store import current, open_store

Put = Callable[..., Snapshot]
MakeOutcome = Callable[..., Outcome]

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def roll_back(out: Path, number: int, run: Run, run_id: str = "back") -> Snapshot:
    store = open_store(out)
    with store.lock():
        store.prepare()
        return restore(store, number, replace(run, run_id=run_id))[0]


def runs(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "runs").to_pylist()
    return rows


def texts(out: Path) -> dict[str, str]:
    table = pq.read_table(out / "clean")
    return dict(zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True))


@pytest.fixture
def out(tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome) -> Path:
    """Three snapshots: six documents; one changed, one gone and one new; the same as before."""
    out = tmp_path / "out"
    first = put(out, run, [make_kept(n) for n in range(3)], [make_kept(n) for n in range(3, 6)])
    changed = make_kept(4, "標題：產(chǎn)業大為發展。\n第{}段。\n")
    second = put(out, later_run, first.batches[0], [make_kept(3), changed, make_kept(6)], n_added=1)
    put(out, replace(later_run, run_id="run-3"), *second.batches, n_unchanged=6)
    return out


class TestRollBack:
    def test_readers_see_what_was_there(self, out: Path, run: Run, make_kept: MakeOutcome) -> None:
        now = texts(out)
        restored = roll_back(out, 1, run)
        assert (restored.number, restored.restores, restored.run_id) == (4, 1, "back")
        assert set(texts(out)) == {make_kept(n).origin.doc_id for n in range(6)}
        store = open_store(out)
        assert list(store.problems(restored)) == []
        assert current(store) == restored
        assert restored.documents == store.snapshot(1).documents
        assert (restored.state, restored.dedup) == (store.snapshot(1).state, "mark")
        roll_back(out, 2, run, "forth")
        assert texts(out) == now

    def test_the_run_tells_what_became_of_documents(self, out: Path, run: Run) -> None:
        roll_back(out, 1, run)
        *earlier, row = runs(out)
        assert [row["run_id"] for row in earlier] == ["run-1", "run-2", "run-3"]
        assert (row["run_id"], row["kind"], row["snapshot"], row["sources"]) == ("back", "rollback", 4, ["snapshot 1"])
        tally = {name: n for name, n in row.items() if name in module_tallies()}
        # 3 was cleaned by both runs from the same bytes to the same text.
        assert tally == {
            "n_added": 1,
            "n_changed": 1,
            "n_removed": 1,
            "n_unchanged": 4,
            "n_recleaned": 0,
            "n_relearned": 0,
        }
        assert row["n_documents"] == 6 == sum(n for name, n in tally.items() if name != "n_removed")
        assert row["chars_out"] == sum(map(len, texts(out).values()))

    def test_settings_are_those_of_what_was_restored(
        self, tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome
    ) -> None:
        """A replay takes its settings from the last run."""
        special = replace(run, config=CleanConfig(min_chars=77))
        put(tmp_path, special, [make_kept(1)])
        put(tmp_path, later_run, [make_kept(2)])
        roll_back(tmp_path, 1, later_run)
        row = runs(tmp_path)[-1]
        assert CleanConfig.model_validate_json(row["config"]).min_chars == 77
        assert row["rules_digest"] == "rules1"
        put(tmp_path, replace(later_run, run_id="on"), [make_kept(3)])
        roll_back(tmp_path, 3, later_run, "again")  # of a copy
        assert runs(tmp_path)[-1]["config"] == row["config"]

    def test_what_came_after_stays(self, out: Path, run: Run) -> None:
        before_it = open_store(out).numbers()
        for n in range(14):
            roll_back(out, 2 - n % 2, run, f"back-{n}")
        assert open_store(out).numbers() == [*before_it, *range(4, 18)]
        assert len(runs(out)) == 17

    def test_the_next_run_goes_on_from_there(self, out: Path, run: Run, put: Put, make_kept: MakeOutcome) -> None:
        restored = roll_back(out, 1, run)
        put(out, replace(run, run_id="next"), *restored.batches, [make_kept(20)])
        last = current(open_store(out))
        assert (last.number, last.restores, last.counts.documents) == (5, None, 7)
        numbers = [batch.number for batch in last.batches]
        assert numbers == sorted(set(numbers))
        assert len(texts(out)) == 7

    @pytest.mark.parametrize(
        ("number", "message"), [(9, r"no snapshot 9. It has: 1, 2, 3"), (3, "is the current one"), (0, "no snapshot 0")]
    )
    def test_what_can_not_be_restored(self, number: int, message: str, out: Path, run: Run) -> None:
        seen = texts(out)
        with pytest.raises(DatasetError, match=message):
            roll_back(out, number, run)
        assert texts(out) == seen
        assert open_store(out).numbers() == [1, 2, 3]

    def test_one_of_another_version(self, out: Path, run: Run) -> None:
        manifest = out / "_store" / "manifests" / "000001.json"
        manifest.write_text(manifest.read_text().replace('"schema_version": "3"', '"schema_version": "2"'))
        with pytest.raises(DatasetError, match="snapshot 1 has schema version 2"):
            roll_back(out, 1, run)

    @pytest.mark.parametrize("table", ["clean", "edits", "index"])
    @pytest.mark.parametrize("how", ["missing", "truncated", "changed"])
    def test_damage_is_not_restored(self, table: str, how: str, out: Path, run: Run) -> None:
        store = open_store(out)
        older = store.snapshot(1)
        part = older.batches[1].parts[table]
        damage(store.path(part), how)
        with pytest.raises(DamagedError, match=f"snapshot 1 of .* is damaged: {part.sha256}"):
            roll_back(out, 1, run)
        assert current(store).number == 3

    @pytest.mark.parametrize("table", ["clean", "runs"])
    @pytest.mark.parametrize("how", ["missing", "truncated", "changed"])
    def test_a_damaged_dataset_can_be_rolled_back(self, table: str, how: str, out: Path, run: Run) -> None:
        store = open_store(out)
        last = current(store)
        part = last.singles["runs"][0] if table == "runs" else last.batches[1].parts["clean"]
        damage(store.path(part), how)
        with store.lock():
            if how == "missing":
                with pytest.raises(DamagedError, match="qingyuan rollback"):
                    store.prepare()
            restored, _ = restore(store, 1, replace(run, run_id="back"))
        assert len(texts(out)) == 6
        assert list(store.problems(restored)) == []
        assert runs(out)[-1]["kind"] == "rollback"
        with store.lock():
            store.prepare()  # nothing is in the way of the next run

    def test_a_kill_in_between_costs_nothing(self, out: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        store = open_store(out)
        monkeypatch.setattr(type(store), "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            roll_back(out, 1, run)
        monkeypatch.undo()
        assert (store.numbers(), len(runs(out))) == ([1, 2, 3], 3)
        assert roll_back(out, 1, run).number == 4
        assert not list((out / "_store" / "tmp").glob("back*"))


def module_tallies() -> set[str]:
    return {"n_added", "n_changed", "n_removed", "n_unchanged", "n_recleaned", "n_relearned"}


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()  # the view holds a link to it
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    if how == "changed":
        path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])


class TestListing:
    def test_entries(self, out: Path, run: Run) -> None:
        roll_back(out, 1, run)
        listed = entries(open_store(out))
        assert [entry.snapshot.number for entry in listed] == [1, 2, 3, 4]
        assert [entry.run["kind"] for entry in listed] == ["clean", "clean", "clean", "rollback"]
        assert [entry.is_current for entry in listed] == [False, False, False, True]
        assert listed[1].run["n_added"] == 1

    def test_what_only_one_has_is_what_removing_it_frees(self, out: Path) -> None:
        store = open_store(out)
        listed = entries(store)
        sizes = {path.name: path.stat().st_size for path in (out / "_store" / "objects").iterdir()}
        for entry in listed[:-1]:
            number = entry.snapshot.number
            assert freed(store, [number]) == entry.own_bytes
        own = store.snapshot(1).batches[1].parts.values()
        assert listed[0].own_bytes >= sum(part.bytes for part in own)
        total = freed(store, [1, 2])
        assert total >= sum(entry.own_bytes for entry in listed[:2])
        assert store.forget([1, 2]) == total
        left = sum(path.stat().st_size for path in (out / "_store" / "objects").iterdir())
        assert left == sum(sizes.values()) - total
        assert freed(store, []) == 0

    def test_a_table_of_runs_that_cannot_be_read_hides_no_snapshot(self, out: Path) -> None:
        store = open_store(out)
        damage(store.path(current(store).singles["runs"][0]), "missing")
        assert [entry.run for entry in entries(store)] == [{}, {}, {}]

    def test_a_snapshot_that_another_process_forgets_meanwhile(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = open_store(out)
        read = type(store).snapshot

        def slow(self: Any, number: int) -> Snapshot:
            if number == 1:
                (out / "_store" / "manifests" / "000001.json").unlink(missing_ok=True)
            return read(self, number)

        monkeypatch.setattr(type(store), "snapshot", slow)
        assert [entry.snapshot.number for entry in entries(store)] == [2, 3]

    def test_a_manifest_that_cannot_be_read_is_told(self, out: Path) -> None:
        (out / "_store" / "manifests" / "000001.json").write_text("{")
        with pytest.raises(DatasetError, match=r"000001.json can't be read"):
            entries(open_store(out))

    def test_the_one_before_is_the_last_with_other_documents(self, out: Path, run: Run) -> None:
        store = open_store(out)
        assert before(store, store.snapshot(3)).number == 1
        assert before(store, store.snapshot(2)).number == 1
        restored = roll_back(out, 1, run)
        assert before(store, restored).number == 3
        with pytest.raises(DatasetError, match="no snapshot before 1"):
            before(store, store.snapshot(1))

    def test_settings_that_changed(
        self, tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome
    ) -> None:
        first = put(tmp_path, run, [make_kept(1)])
        second = put(tmp_path, replace(later_run, config=CleanConfig(script="hant")), [make_kept(1)])
        changes = settings_changed(open_store(tmp_path), first, second)
        assert changes == {"rules": ("rules1", "rules2"), "script": ('"hans"', '"hant"')}


class History:
    """As much of a store as `expired` needs."""

    def __init__(self, moments: list[datetime], documents: list[int]) -> None:
        self._snapshots = [snapshot(n, *given) for n, given in enumerate(zip(moments, documents, strict=False), 1)]

    def numbers(self) -> list[int]:
        return list(range(1, len(self._snapshots) + 1))

    def snapshot(self, number: int) -> Snapshot:
        return self._snapshots[number - 1]


def snapshot(number: int, moment: datetime, documents: int) -> Snapshot:
    parts = {"clean": StoredPart("", f"{documents:064}", 1, 1), "index": StoredPart("", f"{number:064}", 1, 1)}
    batches = (Batch(0, parts, Counts(documents=1, clean=1)),)
    return Snapshot(number, f"run-{number}", moment, "3", batches)


def going(moments: list[float], documents: list[int] | None = None, *, now: float = 0, **how: Any) -> list[int]:
    """What expires; moments are hours from now on."""
    history = History([NOW + HOUR * moment for moment in moments], documents or list(range(len(moments))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "datetime", type("Clock", (), {"now": staticmethod(lambda _: NOW + HOUR * now)}))
        return expired(history, **how)  # type: ignore[arg-type]


OFFSETS = st.lists(st.floats(-30, 0), max_size=16).map(sorted)
DOCUMENTS = st.lists(st.integers(0, 5), min_size=16, max_size=16)
KEEP = st.integers(1, 5)


class TestRetention:
    def test_the_newest_ten_stay(self) -> None:
        assert going(list(range(-40, -20))) == list(range(1, 11))
        assert going(list(range(-40, -30))) == []
        assert going(list(range(-40, -20)), keep=3) == list(range(1, 18))

    def test_those_of_the_last_hour_stay(self) -> None:
        assert going([-5, -4, -1.02, -0.99, -0.5, -0.1], keep=1) == [1, 2]
        assert going([-5, -4, -1.02, -0.99, -0.5, -0.1], keep=1, keep_time=HOUR / 4) == [1, 2, 3, 4]
        assert going([-5, 4, 3, -0.1], keep=1, keep_time=timedelta()) == [1, 2, 3]

    def test_one_with_the_documents_of_a_later_one_goes(self) -> None:
        assert going([-9, -8, -7, -6, -5], [0, 1, 1, 1, 2], keep=3) == [2, 3]
        assert going([-9, -8, -7, -6, -5], [0, 1, 2, 0, 1], keep=3) == [1, 2]  # what was rolled back
        assert going([-9, -8, -0.3, -0.2, -0.1], [0, 1, 1, 1, 2], keep=3) == []

    def test_documents_of_versions_without_batches_are_told_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        history = History([NOW - HOUR * 9, NOW - HOUR * 8], [1, 2])
        history._snapshots = [
            replace(s, batches=(), singles={t: s.tables[t] for t in ("clean",)}) for s in history._snapshots
        ]
        assert expired(history, 2) == []  # type: ignore[arg-type]

    def test_a_clock_that_was_a_day_late_for_one_run(self) -> None:
        """What was current until some minutes ago stays, though it seems to be a day that it was."""
        assert going([-3, -2, -0.2 - 24, -0.1], keep=1) == [1]
        assert going([-3, -2, -0.2 - 24], keep=1) == [1]

    @given(OFFSETS, DOCUMENTS, KEEP)
    def test_what_stays(self, moments: list[float], documents: list[int], keep: int) -> None:
        gone = going(moments, documents, keep=keep)
        stays = [n for n in range(1, len(moments) + 1) if n not in gone]
        assert not moments or stays[-1] == len(moments)
        assert len({documents[n - 1] for n in stays}) >= min(keep, len(set(documents[: len(moments)])))
        assert all(moments[n] < -1 for n in gone)  # since when the next one is there
        newest_first = list(dict.fromkeys(reversed(documents[: len(moments)])))
        assert {documents[n - 1] for n in stays} >= {*newest_first[:keep]}

    @given(OFFSETS, DOCUMENTS, KEEP, st.floats(-50, 0))
    def test_a_clock_that_goes_back_deletes_nothing_more(
        self, moments: list[float], documents: list[int], keep: int, now: float
    ) -> None:
        assert {*going(moments, documents, keep=keep, now=now)} <= {*going(moments, documents, keep=keep)}

    @given(OFFSETS, DOCUMENTS, KEEP, st.data())
    def test_nor_does_one_that_was_wrong_for_some_runs(
        self, moments: list[float], documents: list[int], keep: int, data: st.DataObject
    ) -> None:
        """Ahead, or back before what was there already: less could not be told from the right time."""
        wrong = list(moments)
        start = data.draw(st.integers(0, max(len(moments) - 1, 0)))
        for n in range(start, data.draw(st.integers(start, len(moments)))):
            ahead = data.draw(st.booleans())
            wrong[n] += data.draw(st.floats(0, 100)) if ahead else 0
            if not ahead and n and wrong[n] > max(wrong[:n]) - 0.01:
                wrong[n] = max(wrong[:n]) - data.draw(st.floats(0.01, 100))
        assert {*going(wrong, documents, keep=keep)} <= {*going(moments, documents, keep=keep)}
