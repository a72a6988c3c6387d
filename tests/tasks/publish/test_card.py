"""The card and the metadata beside the tables: read by the libraries that they are for, and never in anyone's way."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.dataset import TABLES
from schemas.document import Outcome, Run
from tasks.publish.card import CARD, MARK, METADATA, RUNS, _last_runs, _size, make_card
from tasks.publish.local import LocalStore
from tasks.publish.store import current, open_store

Fixture = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # mlcroissant's own


@pytest.fixture(scope="module", autouse=True)
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Their settings are read when they are imported: no network, no cache outside of the tests."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging-face")))
        warnings.simplefilter("ignore")  # of mlcroissant's own dependencies
        import datasets
        import mlcroissant  # noqa: F401

        datasets.disable_progress_bars()
        yield


@pytest.fixture
def out(tmp_path: Path, run: Run, outcomes: list[Outcome], publish_outcomes: Fixture) -> Path:
    """Thirty documents in two batches: 5 are too short (4, 9, …, 24), 4 are unreadable (6, 13, 20, 27)."""
    publish_outcomes(tmp_path / "out", run, outcomes[:12], outcomes[12:])
    return tmp_path / "out"


def card_of(out: Path) -> Any:
    from huggingface_hub import DatasetCard

    return DatasetCard.load(out / CARD)


def metadata_of(out: Path) -> Any:
    import mlcroissant

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlcroissant.Dataset(out / METADATA)


class TestCard:
    def test_the_hub_reads_it(self, out: Path) -> None:
        data = card_of(out).data
        assert data.pretty_name == "out"
        assert data.license == "unknown"
        assert data.language == ["zh"]
        assert data.size_categories == ["n<1K"]
        assert [c["config_name"] for c in data.configs] == ["clean", "edits", "rejected", "runs"]
        assert [c["config_name"] for c in data.configs if c.get("default")] == ["clean"]

    def test_the_hub_finds_it_valid(self, out: Path) -> None:
        """By its own rules for names of fields; the identifiers are held against its list, as it was in 2026."""
        told = card_of(out).data.to_dict()
        assert set(told) <= {
            *("pretty_name", "language", "license", "size_categories", "task_categories", "source_datasets", "tags"),
            "configs",
        }
        assert told["task_categories"] == ["text-generation"]
        assert told["source_datasets"] == ["original"]

    @pytest.mark.parametrize(("config", "n"), [(None, 21), ("clean", 21), ("edits", 30), ("rejected", 9), ("runs", 1)])
    def test_datasets_loads_the_folder_by_it(self, config: str | None, n: int, out: Path) -> None:
        import datasets

        loaded = datasets.load_dataset(str(out), config, split="train", streaming=True)
        rows = list(loaded)
        assert len(rows) == n
        table = config or "clean"
        assert set(rows[0]) == set(TABLES[table].names)

    def test_figures_are_those_of_the_snapshot(self, out: Path) -> None:
        text = (out / CARD).read_text(encoding="utf-8")
        assert "21 clean documents of 30" in text
        assert "| `too-short` | 5 |\n| `unreadable` | 4 |" in text
        assert "| 2026-" in text
        assert "`pages/`" in text

    def test_every_column_is_described(self, out: Path) -> None:
        text = (out / CARD).read_text(encoding="utf-8")
        assert [name for schema in TABLES.values() for name in schema.names if f"| `{name}` |" not in text] == []

    def test_tables_without_rows_are_no_configurations(
        self, tmp_path: Path, run: Run, make_kept: Fixture, put: Fixture
    ) -> None:
        put(tmp_path, run, [make_kept(1)])
        assert [c["config_name"] for c in card_of(tmp_path).data.configs] == ["clean", "edits", "runs"]

    @pytest.mark.parametrize("name", ['a"b: [c', "- `x` | <y>", "新闻 📰", "two\nlines", "#"])
    def test_any_name_of_a_folder(self, name: str, tmp_path: Path, run: Run, make_kept: Fixture, put: Fixture) -> None:
        out = tmp_path / name
        put(out, run, [make_kept(1)], sources=[f"{name}/*.txt"])
        assert card_of(out).data.pretty_name == "".join(c if c.isprintable() else "?" for c in name)
        assert "\n## Columns\n" in card_of(out).text
        assert json.loads((out / METADATA).read_bytes())["name"]

    def test_the_last_runs_and_some_sources(self, tmp_path: Path, run: Run, make_kept: Fixture, put: Fixture) -> None:
        for n in range(RUNS + 2):
            made = replace(run, run_id=f"run-{n}", started_at=run.started_at + timedelta(days=n))
            put(tmp_path, made, [make_kept(1)], sources=[f"{n}-{i}/" for i in range(7)])
        text = (tmp_path / CARD).read_text(encoding="utf-8")
        last = RUNS + 1
        assert (
            f"| {last + 1} | 1 | `{last}-0/`, `{last}-1/`, `{last}-2/`, `{last}-3/`, `{last}-4/` and 2 more |" in text
        )
        assert "`2-0/`" in text
        assert "`1-0/`" not in text

    def test_runs_of_old_say_less(self) -> None:
        old = {"finished_at": None, "kind": "clean", "snapshot": 1, "n_documents": None, "sources": None}
        assert _last_runs([old]) == "\n|  | clean | 1 | 0 |  |"

    @pytest.mark.parametrize(
        ("n", "size"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**12, "n>1T")]
    )
    def test_size_categories(self, n: int, size: str) -> None:
        assert _size(n) == size


class TestMetadata:
    def test_mlcroissant_finds_no_fault(self, out: Path) -> None:
        issues = metadata_of(out).metadata.ctx.issues
        assert issues.errors == set()
        # A licence, an address and an author are the publisher's to add; anything else it warns of is ours.
        ours = [w for w in issues.warnings if not any(name in w for name in ("citeAs", "creator", "url"))]
        assert ours == []

    def test_files_have_their_hashes(self, out: Path) -> None:
        import hashlib

        files = [d for d in metadata_of(out).metadata.distribution if getattr(d, "content_url", None)]
        assert len(files) == 2 * 3 + 2  # two batches of three tables, `lines` and `runs`
        for file in files:
            assert hashlib.sha256((out / file.content_url).read_bytes()).hexdigest() == file.sha256

    def test_record_sets_are_the_tables_with_all_fields(self, out: Path) -> None:
        sets = {s.name: s for s in metadata_of(out).metadata.record_sets}
        assert set(sets) == set(TABLES)
        for table, schema in TABLES.items():
            assert [field.name for field in sets[table].fields] == schema.names

    def test_records_are_read_by_it(self, out: Path) -> None:
        records = list(metadata_of(out).records("clean"))
        assert len(records) == 21
        # 標題 and 產業 are Traditional, (chǎn) a gloss: conftest.kept.
        texts = {record["clean/text"].decode() for record in records}
        assert "标题：产业发展。\n第0段，责任编辑。\n" in texts
        (first,) = [record for record in records if "第0段" in record["clean/text"].decode()]
        assert first["clean/n_edits"] == 1 + len("標題產業發責編輯")  # a gloss, and what script converted

    def test_nested_fields_are_read_by_it(self, out: Path) -> None:
        records = list(metadata_of(out).records("edits"))
        gloss = next(e for e in records[0]["edits/edits"] if e["edits/edits/step"] == b"glosses")
        assert gloss["edits/edits/before"] == "(chǎn)".encode()
        assert gloss["edits/edits/confidence"] == 0.9


class TestWriting:
    def test_a_rollback_has_the_card_of_what_it_shows(  # noqa: PLR0913, PLR0917
        self, out: Path, run: Run, later_run: Run, make_kept: Fixture, put: Fixture, restore: Fixture
    ) -> None:
        put(out, later_run, [make_kept(1)])
        assert "1 clean documents of 1," in (out / CARD).read_text()
        restore(out, 1, replace(run, run_id="back"))
        assert "21 clean documents of 30, " in (out / CARD).read_text()
        metadata = json.loads((out / METADATA).read_bytes())
        assert metadata["version"] == "3.0.0"
        assert {d["contentUrl"] for d in metadata["distribution"] if "contentUrl" in d} == {
            f"{path.parent.name}/{path.name}" for path in out.glob("*/*.parquet")
        }

    @pytest.mark.parametrize("name", [CARD, METADATA])
    def test_what_somebody_else_wrote_stays(self, name: str, out: Path, later_run: Run, put: Fixture) -> None:
        (out / name).write_text("mine")
        put(out, later_run)
        assert (out / name).read_text() == "mine"
        assert not list((out / "_store/tmp").iterdir())

    def test_it_is_not_in_the_way_of_readers(self, out: Path) -> None:
        assert {path.suffix for path in out.glob("*/*") if path.parent.name != "_store"} == {".parquet"}

    def test_an_error_is_told_and_no_error_of_the_run(
        self, out: Path, later_run: Run, put: Fixture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(LocalStore, "put_beside", fail)
        with caplog.at_level(logging.WARNING):
            put(out, later_run)
        assert current(open_store(out)).number == 2
        assert "is published, but its card could not be written" in caplog.text

    def test_the_same_snapshot_has_the_same_card(self, out: Path) -> None:
        store = open_store(out)
        for name, text in make_card(store, current(store)).items():
            assert (out / name).read_text(encoding="utf-8") == text
            assert MARK in text
