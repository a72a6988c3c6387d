import asyncio
import random
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]

from schemas.config import RunConfig
from tasks.publish import DatasetLock
from tasks.publish.summary import Summary
from tasks.verify import verify

ROOT = Path(__file__).parents[2]

RUN_COLUMNS = ["run_id", "ingested_at"]

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's dependencies warn a lot


def run(*sources: Path, out: Path, **settings: Any) -> Any:
    """Final state of the flow."""
    from flows.clean import clean_corpus

    config = RunConfig.model_validate({"sources": [str(source) for source in sources], "out": out, **settings})
    return clean_corpus(config, return_state=True)


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
            monkeypatch.setattr("tasks.shards.SHARD_DOCUMENTS", documents)
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

    def test_a_second_run_replaces_the_snapshot_and_keeps_the_runs(self, pages: Path, tmp_path: Path) -> None:
        run(pages, out=tmp_path / "out")
        state = run(pages / "0.txt", out=tmp_path / "out")
        assert state.result().snapshot == 2
        assert len(pd.read_parquet(tmp_path / "out" / "clean")) == 1
        assert pd.read_parquet(tmp_path / "out" / "runs").snapshot.tolist() == [1, 2]

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
            ([pages], pages, {}, "is in the output folder"),
        ]:
            state = run(*sources, out=there, **settings)
            assert state.is_failed()
            assert message in state.message
        assert before == sorted((path, path.read_bytes()) for path in out.rglob("*.parquet"))

    def test_a_folder_that_is_being_written_is_refused(self, pages: Path, tmp_path: Path) -> None:
        with DatasetLock(tmp_path / "out"):
            state = run(pages, out=tmp_path / "out")
        assert state.is_failed()
        assert "is being written by process" in state.message

    def test_a_full_disk_fails_the_run_without_trying_again(
        self, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(pages, out=tmp_path / "out")
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


def test_every_deployment_loads() -> None:
    from prefect.flows import load_flow_from_entrypoint

    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        path, _, function = deployment["entrypoint"].partition(":")
        loaded: Any = load_flow_from_entrypoint(f"{ROOT / path}:{function}", use_placeholder_flow=False)
        assert loaded.name == function
        RunConfig.model_validate(deployment["parameters"]["config"])


def test_settings_become_a_form_with_descriptions_and_bounds() -> None:
    from flows.clean import clean_corpus

    schema = clean_corpus.parameters.model_dump()
    run_config = schema["definitions"]["RunConfig"]["properties"]
    assert run_config.keys() == RunConfig.model_fields.keys()
    assert all("description" in field for field in run_config.values())
    assert run_config["max_seconds"]["minimum"] == 1
