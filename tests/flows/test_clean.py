import asyncio
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.config import ReplayConfig, RunConfig
from tasks.publish.counts import Tally
from tasks.publish.store import current, open_store
from tasks.publish.summary import Summary
from tasks.shards import FULL
from tasks.shards.progress import watcher
from tasks.verify import verify
from tests.tasks.corpus import conftest as corpus_pages

ROOT = Path(__file__).parents[2]

RUN_COLUMNS = ["run_id", "first_run_id", "ingested_at"]

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's dependencies warn a lot


def run(*sources: Path, out: Path, **settings: Any) -> Any:
    """Final state of the flow."""
    from flows.clean import clean_corpus

    config = RunConfig.model_validate({"sources": [str(source) for source in sources], "out": out, **settings})
    return clean_corpus(config, return_state=True)


def replay(out: Path, **settings: Any) -> Any:
    """Final state of the flow."""
    from flows.clean import replay_rejected

    return replay_rejected(ReplayConfig.model_validate({"out": out, **settings}), return_state=True)


def tally(*sources: Path, out: Path, **settings: Any) -> Tally:
    """What a run says it did; it went well, and so says `verify`."""
    done = run(*sources, out=out, **settings).result().tally
    assert verify(out).problems == []
    assert isinstance(done, Tally)
    return done


def table(out: Path, name: str) -> pd.DataFrame:
    """Rows by the names of their files."""
    frame = pd.read_parquet(out / name)
    return frame.set_index(frame["source_uri"].map(lambda uri: uri.rpartition("/")[2]))


def view(out: Path, *tables: str) -> list[str]:
    return sorted(path.name for name in tables for path in (out / name).iterdir())


@pytest.mark.usefixtures("prefect_server")
class TestFlow:
    def test_documents_become_a_dataset(self, pages: Path, tmp_path: Path) -> None:
        state = run(pages, out=tmp_path / "out")
        assert (state.name, state.message) == ("Completed", "4 documents: 3 clean, 1 rejected (empty 1)")
        summary = state.result()
        assert isinstance(summary, Summary)
        assert (summary.counts.documents, summary.snapshot) == (4, 1)
        clean = pd.read_parquet(tmp_path / "out" / "clean")
        assert clean.source_uri.tolist() == [(pages / f"{number}.txt").as_uri() for number in range(3)]
        assert verify(tmp_path / "out").ok

    def test_workers_and_runs_change_nothing_but_run_columns(self, pages: Path, tmp_path: Path) -> None:
        tables = []
        for workers in (1, 2):
            run(pages, out=tmp_path / str(workers), workers=workers)
            tables += [
                pd.read_parquet(tmp_path / str(workers) / table).drop(columns=RUN_COLUMNS, errors="ignore")
                for table in ("clean", "edits", "rejected")
            ]
        for one, two in zip(tables[:3], tables[3:], strict=True):
            pd.testing.assert_frame_equal(one, two)

    def test_what_is_learned_from_all_pages_depends_on_neither_workers_nor_shards(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chars = [chr(code) for code in range(0x4E00, 0x6E00)]
        for number in range(24):
            dice = random.Random(number)
            body = "".join(dice.choices(chars, k=80))
            folder = tmp_path / "pages" / f"site-{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            page = f"江畔纪事 | 风物\n{body[:9]}\n{body}。\n第{number}天，共{number * 7}人来过江畔\n"
            (folder / f"{number}.txt").write_text(page)
        tables = []
        for workers, documents in ((1, 1000), (2, 5)):
            monkeypatch.setattr("tasks.shards.FULL", FULL._replace(n_documents=documents))
            out = tmp_path / f"out-{workers}"
            run(tmp_path / "pages", out=out, workers=workers)
            assert verify(out).ok
            tables += [
                pd.read_parquet(out / table).drop(columns=RUN_COLUMNS, errors="ignore")
                for table in ("clean", "edits", "lines")
            ]
        for one, two in zip(tables[:3], tables[3:], strict=True):
            pd.testing.assert_frame_equal(one, two)
        assert not tables[0].text.str.contains("江畔").any()
        assert sorted(tables[2].removed) == [12] * 4 + [24] * 2  # of the sites, and of the folder around them

    def test_a_document_that_cannot_be_read_gives_the_state_a_name_of_its_own(
        self, pages: Path, tmp_path: Path
    ) -> None:
        (pages / "dangling").symlink_to("nothing")
        state = run(pages, out=tmp_path / "out")
        assert (state.type.value, state.name) == ("COMPLETED", "CompletedWithRejects")
        assert pd.read_parquet(tmp_path / "out" / "rejected").reason.tolist() == ["unreadable", "empty"]

    def test_what_cannot_be_done_ends_as_failed_and_leaves_the_dataset_as_it_was(
        self, pages: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        run(pages, out=out)
        before = sorted((path, path.read_bytes()) for path in out.rglob("*.parquet"))
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").touch()
        for sources, there, settings, message in [
            ([tmp_path / "empty"], out, {}, "there are no files in"),
            ([pages, tmp_path / "missing"], out, {}, "no such file or folder"),
            ([pages], out, {"clean": {"skip": ["spma"]}}, "there is no step 'spma'"),
            ([out], out, {}, "is in the output folder"),
            ([pages], tmp_path / "file", {}, "is a file"),
            ([pages], pages, {}, "is neither empty nor a dataset"),
        ]:
            state = run(*sources, out=there, **settings)
            assert state.is_failed()
            assert message in state.message
        assert before == sorted((path, path.read_bytes()) for path in out.rglob("*.parquet"))

    def test_a_folder_that_is_being_written_is_refused(self, pages: Path, tmp_path: Path) -> None:
        with open_store(tmp_path / "out").lock():
            state = run(pages, out=tmp_path / "out")
        assert state.is_failed()
        assert f"is being written by process {os.getpid()} on" in state.message

    def test_or_waited_for(self, pages: Path, tmp_path: Path) -> None:
        lock = open_store(tmp_path / "out").lock()
        lock.__enter__()
        told: list[str] = []

        def release(event: str, _: int) -> None:
            told.append(event)
            if event == "waiting":
                lock.__exit__(None, None, None)

        token = watcher.set(release)
        assert run(pages, out=tmp_path / "out", wait=600).is_completed()
        watcher.reset(token)
        assert told[0] == "waiting"
        assert "publishing" in told

    def test_a_full_disk_fails_the_run_without_trying_again(
        self, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(pages, out=tmp_path / "out")
        (pages / "new.txt").write_text("又一篇文章，说的是别的事情。" * 3)
        tries: list[int] = []

        def fail(*_: object) -> None:
            tries.append(1)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("tasks.shards.clean_shard.write_shard", fail)
        state = run(pages, out=tmp_path / "out")
        assert state.is_failed()
        assert "No space left on device" in state.message
        assert len(tries) == 1
        assert verify(tmp_path / "out").ok

    def test_a_passing_error_is_tried_again(self, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from tasks.shards import clean_shard, write_shard

        tries: list[int] = []

        def fail_once(*given: Any) -> Any:
            tries.append(1)
            if len(tries) == 1:
                raise OSError(5, "Input/output error")
            return write_shard(*given)

        monkeypatch.setattr("tasks.shards.clean_shard.write_shard", fail_once)
        monkeypatch.setattr(clean_shard.finish_shard, "retry_delay_seconds", [0.1])
        assert run(pages, out=tmp_path / "out").is_completed()
        assert len(tries) == 2

    def test_prefect_is_told_names_tags_and_a_summary(self, pages: Path, tmp_path: Path) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        state = run(pages, out=tmp_path / "out")
        run_id = state.state_details.flow_run_id

        async def ask() -> tuple[Any, Any]:
            async with get_client() as client:
                about_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
                return await client.read_flow_run(run_id), await client.read_artifacts(artifact_filter=about_run)

        flow_run, artifacts = asyncio.run(ask())
        assert re.fullmatch(r"out \d{4}-\d\d-\d\d \d\d:\d\dZ", flow_run.name)
        (artifact,) = (a for a in artifacts if a.key == "out-summary")
        assert "| rejected: empty | 1 |" in artifact.data


NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"


@pytest.mark.usefixtures("prefect_server")
class TestIncremental:
    def test_days_of_a_dataset(self, pages: Path, tmp_path: Path) -> None:
        """Nothing new; a file that was only touched; one added, one changed, one removed; nothing again."""
        out = tmp_path / "out"
        assert tally(pages, out=out) == Tally(added=4)
        day_1 = view(out, "clean", "edits", "rejected", "lines")
        state = run(pages, out=out)
        assert state.message == "4 documents: 3 clean, 1 rejected (empty 1); 4 unchanged"
        assert state.result().snapshot == 2
        os.utime(pages / "0.txt", (1, 1))
        assert tally(pages, out=out) == Tally(unchanged=4)
        assert view(out, "clean", "edits", "rejected", "lines") == day_1
        (pages / "1.txt").write_text(f"{NEWS}改过的一页。")
        (pages / "2.txt").unlink()
        (pages / "3.txt").write_text(f"{NEWS}新的一页。")
        state = run(pages, out=out)
        assert state.message.endswith("; 1 added, 1 changed, 2 unchanged, 1 removed")
        assert tally(pages, out=out) == Tally(unchanged=4)

        runs = pd.read_parquet(out / "runs")
        columns = ["snapshot", "n_added", "n_changed", "n_unchanged", "n_removed", "n_recleaned", "n_documents"]
        assert runs[columns].to_numpy().tolist() == [
            [1, 4, 0, 0, 0, 0, 4],
            [2, 0, 0, 4, 0, 0, 4],
            [3, 0, 0, 4, 0, 0, 4],
            [4, 1, 1, 2, 1, 0, 4],
            [5, 0, 0, 4, 0, 0, 4],
        ]
        assert set(runs["kind"]) == {"clean"}
        first, last = runs["run_id"][0], runs["run_id"][3]
        clean = table(out, "clean")
        assert clean.loc[["0.txt", "1.txt", "3.txt"], ["first_run_id", "run_id"]].to_numpy().tolist() == [
            [first, first],
            [first, last],
            [last, last],
        ]
        started = runs.set_index("run_id")["started_at"]
        assert (clean["ingested_at"] == clean["run_id"].map(started)).all()
        assert clean["text"]["1.txt"].endswith("改过的一页。")
        assert table(out, "rejected")["first_run_id"].tolist() == [first]
        assert not (out / "_store" / "work").exists()

    def test_other_settings_clean_all_again_unless_told_otherwise(self, pages: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        run(pages, out=out)
        hant = {"script": "hant"}
        assert tally(pages, out=out, clean=hant, reclean="never") == Tally(unchanged=4)
        assert table(out, "clean")["script"].unique().tolist() == ["hans"]
        assert tally(pages, out=out, clean=hant) == Tally(recleaned=4)
        assert table(out, "clean")["script"].unique().tolist() == ["hant"]
        assert tally(pages, out=out, clean=hant, reclean="all") == Tally(recleaned=4)
        runs = pd.read_parquet(out / "runs")
        clean = table(out, "clean")
        assert clean[["first_run_id", "run_id"]].to_numpy().tolist() == [[runs["run_id"][0], runs["run_id"][3]]] * 3

    def test_what_is_missing_is_kept_and_what_hides_is_found_if_that_is_asked_for(
        self, pages: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        for path in pages.iterdir():
            os.utime(path, (10**9, 10**9))
        run(pages, out=out)
        (pages / "2.txt").unlink()
        (pages / "1.txt").write_text(f"{NEWS}第7页。")  # as long as before, and as old
        os.utime(pages / "1.txt", (10**9, 10**9))
        assert tally(pages, out=out, keep_missing=True) == Tally(unchanged=4)
        assert tally(pages, out=out, keep_missing=True, checksum=True) == Tally(changed=1, unchanged=3)
        assert sorted(table(out, "clean").index) == ["0.txt", "1.txt", "2.txt"]
        assert tally(pages / "0.txt", out=out, keep_missing=True) == Tally(unchanged=4)
        assert tally(pages, out=out) == Tally(unchanged=3, removed=1)

    def test_an_addition_rewrites_the_last_batch_and_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tasks.shards.FULL", FULL._replace(n_documents=5))
        monkeypatch.setattr("tasks.ingest.batches.FULL_DOCUMENTS", 5)
        folder, out = tmp_path / "pages", tmp_path / "out"
        folder.mkdir()
        dice = random.Random(4)
        for number in range(12):
            (folder / f"{number:02}.txt").write_text("\n".join(corpus_pages.article(dice)))
        run(folder, out=out)
        before = [view(out, table) for table in ("clean", "edits")]
        assert [name[:10] for name in before[0]] == ["part-00000", "part-00001", "part-00002"]
        (folder / "005.txt").write_text("\n".join(corpus_pages.article(dice)))  # in between, by its name
        assert tally(folder, out=out) == Tally(added=1, unchanged=12)
        after = [view(out, table) for table in ("clean", "edits")]
        for names, later in zip(before, after, strict=True):
            assert later[:2] == names[:2]
            assert [name[:10] for name in later] == ["part-00000", "part-00001", "part-00002"]
            assert later[2] != names[2]
        assert list(table(out, "clean").index)[-3:] == ["10.txt", "11.txt", "005.txt"]
        for name in ("05.txt", "06.txt", "07.txt", "08.txt", "09.txt"):
            (folder / name).unlink()
        assert tally(folder, out=out) == Tally(removed=5, unchanged=8)
        assert view(out, "edits")[0] == before[1][0]
        assert len(view(out, "edits")) == 2  # the empty one has gone, and is no small neighbour

    def test_a_dataset_of_the_schema_before_is_cleaned_again_and_keeps_its_runs(
        self, pages: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        run(pages, out=out)
        path = out / "_store" / "manifests" / "000001.json"
        stored = json.loads(path.read_text())
        tables: dict[str, list[Any]] = {name: list(parts) for name, parts in stored["singles"].items()}
        for batch in stored["batches"]:
            for name, part in batch["parts"].items():
                if name != "index":
                    tables.setdefault(name, []).append(part)
        common = {name: stored[name] for name in ("number", "run_id", "published_at")}
        path.write_text(json.dumps({**common, "schema_version": "2", "tables": tables}))
        assert tally(pages, out=out) == Tally(added=4)
        assert pd.read_parquet(out / "runs")["n_documents"].tolist() == [4, 4]
        assert len(table(out, "clean")) == 3


def compared(out: Path) -> dict[str, pd.DataFrame]:
    """All tables of documents, and the learned lines, without what tells of runs."""
    tables = {}
    for name in ("clean", "edits", "rejected", "lines"):
        frame = pd.read_parquet(out / name).drop(columns=RUN_COLUMNS, errors="ignore")
        by = ["site", "fingerprint"] if name == "lines" else ["doc_id"]
        tables[name] = frame.sort_values(by).reset_index(drop=True)
    return tables


class Corpus:
    """Pages of sites with furniture, some of which are copies of others, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dice = random.Random(11)
        articles = [corpus_pages.article(self.dice) for _ in range(8)]
        self.waiting = corpus_pages.pages(3, 26, 5, articles * 4)
        self.dice.shuffle(self.waiting)

    def path(self, page: Any) -> Path:
        path = self.folder / Path(*page.uri.removeprefix("file:///crawl/").split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def work(self, removed: int, added: int, changed: int) -> None:
        """Of a day."""
        self.change(changed)
        self.remove(removed)
        self.add(added)

    def add(self, n: int) -> None:
        for page in self.waiting[:n]:
            self.path(page).write_text(page.text)
        del self.waiting[:n]

    def some(self, n: int) -> list[Path]:
        return self.dice.sample(sorted(self.folder.rglob("*.txt")), n)

    def remove(self, n: int) -> None:
        for path in self.some(n):
            path.unlink()

    def change(self, n: int) -> None:
        """The title, a paragraph more, or all: nothing is left."""
        for number, path in enumerate(self.some(n)):
            text = path.read_text()
            path.write_text(["", f"{text}{corpus_pages.sentence(self.dice)}\n"][number % 4 > 0])


@pytest.mark.usefixtures("prefect_server")
def test_updates_lead_to_what_a_build_from_scratch_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines become furniture and cease to be, copies come and lose those that stand for them."""
    monkeypatch.setattr("tasks.shards.FULL", FULL._replace(n_documents=10))
    monkeypatch.setattr("tasks.ingest.batches.FULL_DOCUMENTS", 10)
    corpus, out = Corpus(tmp_path / "pages"), tmp_path / "out"
    corpus.add(12)  # of each site fewer than it takes to learn
    assert tally(corpus.folder, out=out) == Tally(added=12)
    assert pd.read_parquet(out / "lines").empty
    days: list[tuple[tuple[int, int, int], dict[str, Any]]] = [
        ((2, 44, 3), {"dedup": "drop"}),
        ((30, 0, 4), {}),
        ((5, 9, 0), {}),
    ]
    seen: list[Tally] = []
    dropped: list[int] = []
    marked = 0
    for day, (numbers, settings) in enumerate(days):
        corpus.work(*numbers)
        seen.append(tally(corpus.folder, out=out, **settings))
        scratch = tmp_path / f"scratch-{day}"
        run(corpus.folder, out=scratch, **settings)
        for one, other in zip(compared(out).items(), compared(scratch).items(), strict=True):
            assert one[0] == other[0]
            pd.testing.assert_frame_equal(one[1], other[1])
        counts = current(open_store(out)).counts
        marked += counts.duplicates
        dropped.append(counts.rejected["duplicate"])
    assert dropped[0] > 0
    assert dropped[1:] == [0, 0]
    assert marked > 0
    assert seen[0].changed >= 2
    assert sum(done.relearned > 0 for done in seen) >= 2, seen
    assert all(done.unchanged > 0 for done in seen), seen


@pytest.mark.usefixtures("prefect_server")
class TestReplay:
    def test_rejected_documents_pass_with_other_settings_and_the_rest_stays(self, pages: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (pages / "short.txt").write_text("短文。\n")
        run(pages, out=out)
        (pages / "0.txt").unlink()  # a replay does not look
        before = view(out, "clean")
        state = replay(out)
        assert state.message == "5 documents: 3 clean, 2 rejected (empty 1, too-short 1); 3 unchanged, 2 cleaned again"
        assert view(out, "clean") == before
        state = replay(out, reasons=["too-short"], clean={"min_chars": 1})
        assert state.message == "5 documents: 4 clean, 1 rejected (empty 1); 4 unchanged, 1 cleaned again"
        assert verify(out).problems == []
        runs = pd.read_parquet(out / "runs")
        assert runs["kind"].tolist() == ["clean", "replay", "replay"]
        assert [list(sources) for sources in runs["sources"][1:]] == [[], ["too-short"]]
        short = table(out, "clean").loc["short.txt"]
        assert (short["first_run_id"], short["run_id"]) == (runs["run_id"][0], runs["run_id"][2])
        assert short["text"] == "短文。\n"
        assert len(table(out, "clean")) == 4

    def test_what_cannot_be_replayed_is_told(self, pages: Path, tmp_path: Path) -> None:
        state = replay(tmp_path / "none")
        assert state.is_failed()
        assert "holds no dataset" in state.message
        out = tmp_path / "out"
        run(pages, out=out)
        with open_store(out).lock():
            state = replay(out)
        assert state.is_failed()
        assert "is being written by process" in state.message
        state = replay(out, clean={"skip": ["spma"]})
        assert state.is_failed()
        assert "there is no step 'spma'" in state.message
        assert current(open_store(out)).number == 1


def test_settings_become_a_form_with_descriptions_and_bounds() -> None:
    from flows.clean import clean_corpus

    schema = clean_corpus.parameters.model_dump()
    run_config = schema["definitions"]["RunConfig"]["properties"]
    assert run_config.keys() == RunConfig.model_fields.keys()
    assert all("description" in field for field in run_config.values())
    assert run_config["max_seconds"]["minimum"] == 1
