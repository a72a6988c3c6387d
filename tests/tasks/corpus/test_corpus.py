"""The stage over the corpus, without Prefect and without worker processes."""

import pickle
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from schemas.config import CleanConfig
from schemas.dataset import LINES, clean_row, edits_row
from schemas.document import Cleaned, Edit, Outcome, Reason, Rejection, Run
from tasks import corpus, shards
from tasks.clean import clean, clean_further
from tasks.corpus import Learned, Revision, Survey, learn, revise, revisions, survey
from tasks.ingest.batches import of_run, write_batch
from tasks.publish.parts import Part
from tasks.shards import Work
from tasks.shards.journal import Journal
from tasks.shards.processes import ProcessDiedError
from tasks.steps.log import revert_all, unpack
from tasks.verify import verify

ROOT = Path(__file__).parents[3]

MakePages = Callable[..., list[Any]]
MakeOutcome = Callable[..., Outcome]

KEEP = CleanConfig(script="keep")


class Stage(NamedTuple):
    """What is known when all shards were surveyed."""

    shards: list[list[Outcome]]
    surveys: list[Survey]
    known: Learned
    config: CleanConfig

    def revisions(self) -> list[list[Revision]]:
        """Of each shard."""
        revised = partial(revise, known=self.known, config=self.config)
        return [
            list(revisions(shard, made, self.known, revised))
            for shard, made in zip(self.shards, self.surveys, strict=True)
        ]


def stage(outcomes: Iterable[Outcome], folder: Path, config: CleanConfig = KEEP, n_shards: int = 1) -> Stage:
    given = list(outcomes)
    folder = folder / uuid4().hex
    size = -(-len(given) // n_shards)
    cut = [given[i * size : (i + 1) * size] for i in range(n_shards)]
    surveys = [survey(shard, number, config, folder) for number, shard in enumerate(cut)]
    return Stage(cut, surveys, learn([made.counted for made in surveys], config, folder), config)


def revised(outcomes: Iterable[Outcome], folder: Path, config: CleanConfig = KEEP, n_shards: int = 1) -> list[Outcome]:
    """Outcomes after the stage, in their order."""
    return [r.outcome for of_shard in stage(outcomes, folder, config, n_shards).revisions() for r in of_shard]


def removed(before: Sequence[Outcome], after: Sequence[Outcome]) -> Counter[str]:
    """Lines that were in the texts before, and are not after."""
    gone: Counter[str] = Counter()
    for one, other in zip(before, after, strict=True):
        assert one.cleaned
        assert other.cleaned
        gone += Counter(one.cleaned.text.splitlines()) - Counter(other.cleaned.text.splitlines())
    return gone


def site(make_outcome: MakeOutcome, texts: Iterable[str], name: str = "site") -> list[Outcome]:
    return [make_outcome(f"file:///crawl/{name}/{number:03}.txt", text) for number, text in enumerate(texts)]


def bodies(n: int, seed: int = 1) -> list[str]:
    """Articles that have nothing in common."""
    dice = random.Random(seed)
    chars = [chr(code) for code in range(0x4E00, 0x9000)]

    def sentence() -> str:
        return "".join(dice.choices(chars, k=30)) + "，" + "".join(dice.choices(chars, k=20)) + "。"

    return [f"{sentence()}{sentence()}\n{sentence()}" for _ in range(n)]


class TestFurniture:
    def test_templates_that_no_table_knows_go_and_articles_stay(
        self, make_pages: MakePages, make_outcome: MakeOutcome, tmp_path: Path
    ) -> None:
        pages = make_pages(60, 30, 7)
        after = revised((make_outcome(page.uri, page.text) for page in pages), tmp_path)
        furniture = left = 0
        for page, outcome in zip(pages, after, strict=True):
            assert outcome.cleaned
            lines = outcome.cleaned.text.splitlines()
            assert [line for line in page.article if line not in lines] == []
            furniture += len(page.furniture)
            left += sum(line in lines for line in page.furniture)
        assert furniture > 9000
        assert left / furniture <= 0.05

    def test_edits_are_of_their_own_rule_and_lead_back(
        self, make_pages: MakePages, make_outcome: MakeOutcome, run: Run, tmp_path: Path
    ) -> None:
        pages = make_pages(1, 30, 3)
        (outcome, *_) = revised((make_outcome(page.uri, page.text) for page in pages), tmp_path)
        assert outcome.cleaned
        assert outcome.decoded
        row, log = clean_row(outcome, run), edits_row(outcome)["edits"]
        edits = [edit for stage in unpack(row["text"], log) for edit in stage.edits if edit.rule == "learned-line"]
        assert [edit.before.rstrip("\n") for edit in edits] == pages[0].furniture
        assert {edit.step for edit in edits} == {"boilerplate"}
        assert revert_all(row["text"], log) == outcome.decoded.text == pages[0].text

    def test_what_is_left_is_cleaned_to_the_end(
        self, make_pages: MakePages, make_outcome: MakeOutcome, tmp_path: Path
    ) -> None:
        pages = make_pages(2, 30, 5)
        for outcome in revised((make_outcome(page.uri, page.text) for page in pages), tmp_path):
            assert outcome.cleaned
            assert clean(outcome.cleaned.text, KEEP).stages == ()

    def test_a_title_that_was_read_off_a_furniture_line_is_read_again(
        self, make_outcome: MakeOutcome, tmp_path: Path
    ) -> None:
        texts = [f"河畔学习笔记\n第{body[:6]}的故事\n{body}\n" for body in bodies(12)]
        outcomes = site(make_outcome, texts)
        first = outcomes[0]
        assert first.cleaned
        outcomes[0] = replace(first, cleaned=replace(first.cleaned, facts={"title": "河畔学习笔记", "author": "王"}))
        after = revised(outcomes, tmp_path)[0]
        assert after.cleaned
        assert not after.cleaned.text.startswith("河畔")
        assert after.cleaned.facts.get("title") != "河畔学习笔记"
        assert after.cleaned.facts["author"] == "王"

    def test_a_page_of_which_too_little_is_left_is_rejected(self, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        config = KEEP.model_copy(update={"min_chars": 200})
        texts = [f"题{body[:6]}\n{body}\n{'订阅频道收看节目' * 12}。\n" for body in bodies(20)]
        before = site(make_outcome, texts)
        after = revised(before, tmp_path, config)
        assert {outcome.rejection.reason for outcome in after if outcome.rejection} == {Reason.TOO_SHORT}


class TestWhatStays:
    """Lines that recur and are none of the furniture."""

    @pytest.mark.parametrize("folder", ["all", "own"])
    def test_titles_of_columns(self, folder: str, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        """Half of a paper's items, or a folder of nothing else; with headings in the text, or without."""
        items = [
            f"国内联播快讯\n{a[:9]}\n{a}\n{b[:9]}\n{b}\n" for a, b in zip(bodies(40, 1), bodies(40, 2), strict=True)
        ]
        others = [f"{body[:8]}\n{body}\n" for body in bodies(40, 3)] if folder == "all" else []
        plain = [f"国内联播快讯\n{body}\n" for body in bodies(40, 4)]
        for texts in ([*items, *others], [*plain, *others]):
            before = site(make_outcome, texts)
            assert removed(before, revised(before, tmp_path)) == Counter()

    def test_copies_of_an_article_with_different_damage(self, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        dice = random.Random(6)

        def damaged(line: str) -> str:
            at = dice.randrange(len(line))
            return line[:at] + "囧" + line[at + 1 :] if dice.random() < 0.5 else line

        article = ["一个标题", *"\n".join(bodies(5)).splitlines(), "（记者 王小明）"]
        before = site(make_outcome, ["\n".join(map(damaged, article)) + "\n" for _ in range(50)])
        assert removed(before, revised(before, tmp_path)) == Counter()

    @pytest.mark.parametrize(
        "ending",
        ["谢谢大家！", "（完）", "特此公告。\n某某股份有限公司董事会\n二〇二四年三月五日", "参考文献\n{}", "未完待续"],
    )
    def test_closing_words_and_signatures(self, ending: str, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        texts = [f"第{body[:6]}\n{body}\n{ending.format(body[9:20])}\n" for body in bodies(30)]
        before = site(make_outcome, texts)
        assert removed(before, revised(before, tmp_path)) == Counter()

    def test_the_author_below_the_title(self, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        before = site(make_outcome, [f"第{body[:6]}\n白居易\n{body}\n" for body in bodies(30)])
        assert removed(before, revised(before, tmp_path)) == Counter()

    def test_headings_that_articles_of_a_site_share(self, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        texts = [
            f"{a[:9]}\n三十秒概览：\n{a}\n来龙去脉\n{b}\n从前\n{b[::-1]}。\n还可以去\n{a[9:15]}\n"
            for a, b in zip(bodies(30, 1), bodies(30, 2), strict=True)
        ]
        before = site(make_outcome, texts)
        assert removed(before, revised(before, tmp_path)) == Counter()

    def test_lines_on_few_pages_of_a_site(self, make_outcome: MakeOutcome, tmp_path: Path) -> None:
        texts = [
            f"第{body[:6]}\n{body}\n{'王毅参加会见。' if i % 5 == 0 else ''}\n" for i, body in enumerate(bodies(60))
        ]
        before = site(make_outcome, texts)
        assert removed(before, revised(before, tmp_path)) == Counter()

    @pytest.mark.parametrize(("n", "learn_from", "goes"), [(9, 10, 0), (10, 10, 1), (30, 31, 0), (5, 5, 1), (30, 0, 0)])
    def test_lines_below_the_threshold(
        self, n: int, learn_from: int, goes: int, make_outcome: MakeOutcome, tmp_path: Path
    ) -> None:
        before = site(make_outcome, [f"第{body[:6]}\n{body}\n订阅 | 收藏 | 反馈意见\n" for body in bodies(n)])
        after = revised(before, tmp_path, KEEP.model_copy(update={"learn_from": learn_from}))
        assert len(removed(before, after)) == goes

    def test_pages_without_a_body_and_documents_that_were_rejected(
        self, make_outcome: MakeOutcome, tmp_path: Path
    ) -> None:
        before = site(make_outcome, ["江南晚报\n要闻\n联系方式\n"] * 30)
        rejection = Rejection(Reason.TOO_SHORT, "")
        before += [replace(o, rejection=rejection) for o in site(make_outcome, bodies(30))]
        assert revised(before, tmp_path) == before

    def test_the_seeds(self, tmp_path: Path) -> None:
        from tasks.document import clean_source
        from tasks.read.sources import find_sources

        sources = find_sources([str(ROOT / "seeds")], tmp_path, tmp_path)
        before = [outcome for source in sources for outcome in clean_source(source, CleanConfig())]
        assert len(before) >= 5
        assert revised(before, tmp_path, CleanConfig()) == before


class TestTheStage:
    def test_shards_and_their_order_make_no_difference(
        self, make_pages: MakePages, make_outcome: MakeOutcome, tmp_path: Path
    ) -> None:
        pages = make_pages(4, 20, 9)
        before = [make_outcome(page.uri, page.text) for page in pages]
        one = revised(before, tmp_path)
        assert one != before
        assert revised(before, tmp_path, n_shards=9) == one
        assert revised(before[::-1], tmp_path, n_shards=2)[::-1] == one

    def test_a_bug_costs_one_document(
        self, make_pages: MakePages, make_outcome: MakeOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = make_pages(1, 20, 9)
        bad = pages[3].article[0]

        def fail(cleaned: Cleaned, edits: tuple[Edit, ...], config: CleanConfig) -> Cleaned:
            if bad in cleaned.text:
                raise ValueError("a bug")
            return clean_further(cleaned, edits, config)

        monkeypatch.setattr(corpus, "clean_further", fail)
        after = revised((make_outcome(page.uri, page.text) for page in pages), tmp_path)
        reasons = [outcome.rejection and outcome.rejection.reason for outcome in after]
        assert reasons == [Reason.FAILED if number == 3 else None for number in range(20)]
        assert after[3].rejection
        assert "ValueError: a bug" in after[3].rejection.detail

    def test_a_process_that_dies_costs_the_documents_that_killed_it(
        self,
        make_pages: MakePages,
        make_outcome: MakeOutcome,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pages = make_pages(1, 20, 9)
        outcomes = [make_outcome(page.uri, page.text) for page in pages]
        made, known, work = self.surveyed(
            [*outcomes, make_outcome("file:///other/1.txt", "别处的一页。")], run, tmp_path
        )

        def die(*_: object, **__: object) -> None:
            raise ProcessDiedError(-9)

        monkeypatch.setattr(shards, "run_isolated", die)
        draft = shards.write_shard(made, known, work)
        assert draft.counts.rejected == {"crashed": 20}
        assert draft.parts["clean"].rows == 1
        rejected = pq.read_table(draft.parts["rejected"].path)
        assert rejected["first_run_id"].to_pylist() == ["run-0", *["run-1"] * 19]
        assert rejected["text"].to_pylist() == [page.text for page in pages]  # as far as it got
        index = pq.read_table(draft.parts["index"].path).to_pylist()
        assert all(len(row["lines"]) > 3 for row in index[:20])  # what they add to the counts stays

    def surveyed(self, outcomes: list[Outcome], run: Run, folder: Path) -> tuple[shards.Survey, Learned, Work]:
        run = replace(run, config=KEEP)
        work = Work(run, folder / "parts", folder / "journals", 60, 1)
        with Journal(work.journals) as journal:
            puts = [shards._Put(journal.add(outcome), outcome.origin.doc_id, "") for outcome in outcomes]
        puts[0] = puts[0]._replace(first_run_id="run-0")
        counts = survey(outcomes, 0, KEEP, work.folder)
        entries = work.folder / "entries"
        entries.write_bytes(pickle.dumps(puts))
        return shards.Survey(0, entries, counts), learn([counts.counted], KEEP, work.folder), work

    def test_a_journal_that_was_damaged_meanwhile_is_an_error_that_passes(
        self, make_outcome: MakeOutcome, run: Run, tmp_path: Path
    ) -> None:
        """The next try cleans that document again."""
        made, known, work = self.surveyed(site(make_outcome, bodies(30)), run, tmp_path)
        (path,) = work.journals.iterdir()
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        with pytest.raises(OSError, match="a journal was damaged"):
            shards.write_shard(made, known, work)


class TestTable:
    def table(self, make_pages: MakePages, make_outcome: MakeOutcome, run: Run, n_shards: int, folder: Path) -> Part:
        outcomes = [make_outcome(page.uri, page.text) for page in make_pages(3, 20, 9)]
        run = replace(run, config=KEEP)
        whole = stage(outcomes, folder, KEEP, n_shards)
        drafts = [write_batch(of_shard, run, {}, folder / "parts") for of_shard in whole.revisions()]
        return corpus.write_lines([of_run(draft).files for draft in drafts], whole.known, run, folder / "parts")

    def test_it_says_what_was_learned(
        self, make_pages: MakePages, make_outcome: MakeOutcome, run: Run, tmp_path: Path
    ) -> None:
        part = self.table(make_pages, make_outcome, run, 2, tmp_path)
        table = pq.read_table(part.path)
        assert table.schema.equals(LINES)
        furniture = [line for page in make_pages(3, 20, 9)[::20] for line in page.furniture]
        own = [row for row in table.to_pylist() if row["site"].startswith("file:///crawl/site")]
        assert sorted(row["line"] for row in own) == sorted(furniture)
        assert {(row["documents"], row["site_documents"], row["is_furniture"]) for row in own} == {(20, 20, True)}
        assert all(10 <= row["bodies"] <= 20 for row in own)
        assert {row["removed"] for row in own} == {20}

    def test_its_bytes_follow_from_the_documents(
        self, make_pages: MakePages, make_outcome: MakeOutcome, run: Run, tmp_path: Path
    ) -> None:
        parts = [self.table(make_pages, make_outcome, run, n, tmp_path / str(n)) for n in (1, 2, 7)]
        assert len({part.sha256 for part in parts}) == 1


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from schemas.config import CleanConfig
from schemas.dataset import run_row
from schemas.document import Run
from tasks.corpus import learn
from tasks.ingest.batches import write_batch
from tasks.publish import Contents, publish, run_folder
from tasks.publish.parts import write_part
from tasks.publish.store import open_store
from tasks.read.records import Span
from tasks.read.sources import find_sources
from tasks.shards import Work, plan_shards, survey_shard, write_shard
from tasks.shards.journal import folder_for

out, pages, killed = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "killed"
run = Run("killed" if killed else "first", datetime.now(UTC), CleanConfig(), "0", "0")
store = open_store(out)
with store.lock():
    store.prepare()
    work = Work(run, run_folder(store, run.run_id), folder_for(run, store.local / "work"), 60, 1)
    shards = plan_shards(Span(source, n_bytes=source.n_bytes) for source in find_sources([pages], out, out))
    surveys = [made for shard in shards for made in survey_shard(shard, None, None, work).surveys]
    known = learn([made.counts.counted for made in surveys], run.config, work.folder)
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    drafts = [(None, write_shard(made, known, work)) for made in surveys]
    files = write_part("files", [], run, work.folder)
    contents = Contents(drafts, write_part("lines", [], run, work.folder), {"files": files}, "off")
    n = {f"n_{name}": 0 for name in ("added", "changed", "unchanged", "removed", "recleaned", "relearned")}
    publish(store, contents, run, {**run_row(run), **n, "kind": "clean", "sources": []})
"""


def test_a_kill_between_the_passes_leaves_the_last_snapshot_whole(make_pages: MakePages, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    for number, page in enumerate(make_pages(1, 12, 9)):
        (tmp_path / "pages" / f"{number}.txt").write_text(page.text)
    out = tmp_path / "out"
    codes = [
        subprocess.run([sys.executable, "-c", KILLED, out, tmp_path / "pages", how], check=False, cwd=ROOT).returncode
        for how in ("whole", "killed")
    ]
    assert codes == [0, -9]
    assert (out / "_store" / "tmp" / "killed").is_dir()
    report = verify(out)
    assert (report.snapshot, report.documents, report.problems) == (1, 12, [])
    code = subprocess.run([sys.executable, "-c", KILLED, out, tmp_path / "pages", "whole"], check=False, cwd=ROOT)
    assert code.returncode == 0
    assert verify(out).ok
    assert not (out / "_store" / "tmp" / "killed").exists()
