"""Containers through whole runs: the flow as a function and the work in this process, since all is about documents."""

import gzip
import io
import json
import logging
import os
import random
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from flows.cli import main
from schemas.config import ReplayConfig, RunConfig
from tasks import read, shards
from tasks.ingest import batches
from tasks.ingest import plan as planning
from tasks.publish.counts import Tally
from tasks.publish.store import current, open_store
from tasks.publish.summary import rows
from tasks.read.sources import source_at
from tasks.shards import FULL
from tasks.verify import verify
from tests.tasks.corpus import conftest as corpus_pages

ROOT = Path(__file__).parents[2]

RUN_COLUMNS = ["run_id", "first_run_id", "ingested_at"]

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's dependencies warn a lot

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"


def news(number: int) -> str:
    """A document that no other is a duplicate of."""
    return "\n".join(corpus_pages.article(random.Random(number)))


class Lab:
    """Runs the flows, and knows which documents were cleaned."""

    def __init__(self, folder: Path) -> None:
        self.pages = folder / "pages"
        self.out = folder / "out"
        self.pages.mkdir()
        self.box = self.pages / "box.jsonl"
        self.cleaned: list[str] = []
        self.state: Any = None
        self._age = 0

    def clean(self, *sources: Path, out: Path | None = None, **settings: Any) -> Tally:
        """What a run says it did; `verify` finds nothing wrong."""
        from flows.clean import clean_corpus

        given = [str(source) for source in sources or [self.pages]]
        config = {"sources": given, "out": out or self.out, "workers": 1, **settings}
        return self._done(clean_corpus.fn(RunConfig.model_validate(config)), out)

    def replay(self, **settings: Any) -> Tally:
        from flows.clean import replay_rejected

        config = {"out": self.out, "workers": 1, **settings}
        return self._done(replay_rejected.fn(ReplayConfig.model_validate(config)))

    def _done(self, state: Any, out: Path | None = None) -> Tally:
        self.state = state
        tally = state.result().tally
        assert verify(out or self.out).problems == []
        assert isinstance(tally, Tally)
        return tally

    def write(self, path: Path, content: bytes) -> None:
        """A file that is old enough for its size and time to be believed, and never of the same time."""
        self._age += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        os.utime(path, (10**9 + self._age, 10**9 + self._age))

    def fill(self, texts: Iterable[str], path: Path | None = None, **others: Sequence[str]) -> None:
        """JSON lines of texts, with other fields beside them."""
        names, columns = ["text", *others], [list(texts), *others.values()]
        lines = [
            json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in zip(*columns, strict=True)
        ]
        self.write(path or self.box, "".join(f"{line}\n" for line in lines).encode())

    def table(self, name: str = "clean", out: Path | None = None) -> pd.DataFrame:
        """By addresses, in the order in which they are stored."""
        frame = pd.read_parquet((out or self.out) / name)
        return frame.set_index("record")

    def seen(self) -> list[str]:
        """Addresses of what was cleaned since this was last asked."""
        seen, self.cleaned[:] = list(self.cleaned), []
        return seen


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Without Prefect and without worker processes."""
    from flows import clean
    from tasks.shards import clean_shard
    from tasks.shards.runners import Runner

    made = Lab(tmp_path)

    def logger() -> logging.Logger:
        return logging.getLogger("lab")

    def in_process(function: Callable[..., Any], *args: Any, report: Callable[[str, int], None]) -> Any:
        return function(*args, report)

    def each(runner: Any, what: Any, given: Sequence[dict[str, Any]], *_: object, **__: object) -> list[Any]:
        runner._work.folder.mkdir(parents=True, exist_ok=True)
        return [what.fn(**parameters) for parameters in given]

    clean_document: Any = vars(shards)["clean_document"]

    def noted(document: Any, config: Any) -> Any:
        made.cleaned.append(document.origin.record)
        return clean_document(document, config)

    monkeypatch.setattr(shards, "run_isolated", in_process)
    monkeypatch.setattr(shards, "clean_document", noted)
    monkeypatch.setattr(Runner, "each", each)
    monkeypatch.setattr(clean_shard, "settle_dataset", clean_shard.settle_dataset.fn)
    for module in (clean, clean_shard):
        monkeypatch.setattr(module, "get_run_logger", logger)
    monkeypatch.setattr(clean, "report", lambda summary, *_: summary)
    return made


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Sets how many bytes are a piece of a file, and how many documents a batch at most."""

    def cut(n_bytes: int, n_documents: int) -> None:
        monkeypatch.setattr(read, "SPLIT_BYTES", n_bytes)
        monkeypatch.setattr(shards, "FULL", FULL._replace(n_documents=n_documents))
        monkeypatch.setattr(shards, "BATCH_FACTOR", 1)
        monkeypatch.setattr(batches, "FULL_DOCUMENTS", n_documents)

    return cut


def compared(out: Path) -> dict[str, pd.DataFrame]:
    """All tables of documents, and the learned lines, without what tells of runs."""
    tables = {}
    for name in ("clean", "edits", "rejected", "lines"):
        frame = pd.read_parquet(out / name).drop(columns=RUN_COLUMNS, errors="ignore")
        by = ["site", "fingerprint"] if name == "lines" else ["doc_id"]
        tables[name] = frame.sort_values(by).reset_index(drop=True)
    return tables


def assert_equal(out: Path, other: Path) -> None:
    for one, two in zip(compared(out).items(), compared(other).items(), strict=True):
        assert one[0] == two[0]
        pd.testing.assert_frame_equal(one[1], two[1])


class TestChanges:
    @pytest.fixture
    def texts(self, lab: Lab) -> list[str]:
        """Of a container that a run has cleaned."""
        texts = [news(number) for number in range(12)]
        lab.fill(texts)
        assert lab.clean() == Tally(added=12)
        assert lab.seen() == [f"line={number}" for number in range(1, 13)]
        return texts

    def test_an_appended_line_is_cleaned_and_no_other(self, lab: Lab, texts: list[str]) -> None:
        before = lab.table()
        lab.fill([*texts, news(99)])
        assert lab.clean() == Tally(added=1, unchanged=12)
        assert lab.seen() == ["line=13"]
        after = lab.table()
        pd.testing.assert_frame_equal(after.iloc[:12], before)
        assert (after["run_id"].nunique(), after["text"]["line=13"]) == (2, news(99))

    def test_a_line_taken_out_changes_those_behind_it(self, lab: Lab, texts: list[str]) -> None:
        lab.fill([*texts[:4], *texts[5:]])
        assert lab.clean() == Tally(changed=7, removed=1, unchanged=4)
        assert lab.seen() == [f"line={number}" for number in range(5, 12)]
        assert lab.table()["text"].tolist() == [*texts[:4], *texts[5:]]

    def test_another_title_changes_its_document_alone(self, lab: Lab, texts: list[str]) -> None:
        titles = [f"标题之{number}" for number in range(12)]
        lab.fill(texts, title=titles)
        assert lab.clean() == Tally(changed=12)
        lab.fill(texts, title=[*titles[:3], "别的标题", *titles[4:]])
        lab.seen()
        assert lab.clean() == Tally(changed=1, unchanged=11)
        assert lab.seen() == ["line=4"]
        assert lab.table()["title"]["line=4"] == "别的标题"

    def test_one_that_was_only_touched_stays_whole(self, lab: Lab, texts: list[str]) -> None:
        first = current(open_store(lab.out))
        lab.fill(texts)
        assert lab.clean() == Tally(unchanged=12)
        assert lab.seen() == []
        last = current(open_store(lab.out))
        assert (last.batches, last.number) == (first.batches, 2)

    @pytest.mark.usefixtures("texts")
    def test_one_that_cannot_be_opened_keeps_its_documents(self, lab: Lab) -> None:
        before, content = lab.table(), lab.box.read_bytes()
        lab.box.unlink()
        lab.box.symlink_to("nothing")
        lab.seen()
        assert lab.clean() == Tally(added=1, unchanged=12)
        assert (lab.state.name, lab.table("rejected")["reason"].tolist()) == ("CompletedWithRejects", ["unreadable"])
        pd.testing.assert_frame_equal(lab.table(), before)
        lab.write(lab.box, content)
        lab.seen()
        assert lab.clean() == Tally(removed=1, unchanged=12)
        assert lab.seen() == []
        assert lab.state.name == "Completed"
        pd.testing.assert_frame_equal(lab.table(), before)

    @pytest.mark.usefixtures("texts")
    def test_a_file_that_cannot_be_opened_says_nothing_about_lines_of_others(self, lab: Lab) -> None:
        """What its documents add to the counts stays."""
        pages = [page.text for page in corpus_pages.pages(1, 16, 3)]
        lab.fill(pages[:8], lab.pages / "one.jsonl")
        lab.fill(pages[8:], lab.pages / "two.jsonl")
        assert lab.clean() == Tally(added=16, unchanged=12)
        before = lab.table()
        assert before["n_edits"].gt(0).sum() > 10  # furniture that went
        content = (lab.pages / "two.jsonl").read_bytes()
        (lab.pages / "two.jsonl").unlink()
        (lab.pages / "two.jsonl").symlink_to("nothing")
        assert lab.clean() == Tally(added=1, unchanged=28)
        pd.testing.assert_frame_equal(lab.table(), before)
        lab.write(lab.pages / "two.jsonl", content)
        assert lab.clean() == Tally(removed=1, unchanged=28)

    def test_one_that_breaks_off_is_read_as_far_as_it_goes(self, lab: Lab) -> None:
        texts = [news(number) for number in range(300, 340)]
        whole = gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in texts).encode(), mtime=0)
        box = lab.pages / "box.jsonl.gz"
        lab.write(box, whole)
        lab.clean()
        before = lab.table()
        lab.write(box, whole[: len(whole) // 2])
        lab.seen()
        tally = lab.clean()
        assert lab.state.name == "CompletedWithRejects"
        (broken,) = lab.table("rejected").to_dict("records")
        assert broken["reason"] == "broken"
        assert 10 < tally.unchanged < 30
        pd.testing.assert_frame_equal(lab.table().iloc[: tally.unchanged], before.iloc[: tally.unchanged])
        lab.write(box, whole)
        lab.seen()
        assert lab.replay().unchanged == tally.unchanged
        assert len(lab.seen()) == 40 - tally.unchanged
        pd.testing.assert_series_equal(lab.table()["text"], before["text"])
        assert lab.table("rejected").empty
        assert lab.clean() == Tally(unchanged=40)


class TestPieces:
    def test_documents_of_a_large_file_become_batches_in_their_order(
        self, lab: Lab, cut: Callable[[int, int], None], tmp_path: Path
    ) -> None:
        texts = [news(number) for number in range(60)]
        lab.fill(texts)
        lab.clean(out=tmp_path / "whole")
        cut(12_000, 7)
        source = source_at(lab.box.as_uri())
        assert source
        assert len(list(planning.split_sources([source]))) > 2
        lab.clean()
        assert len(current(open_store(lab.out)).batches) >= 9
        assert lab.table().index.tolist() == [f"line={number}" for number in range(1, 61)]
        assert lab.table()["text"].tolist() == texts
        assert lab.table()["doc_id"].is_unique
        assert_equal(lab.out, tmp_path / "whole")

    def test_one_line_more_is_one_document_more_whatever_the_pieces(
        self, lab: Lab, cut: Callable[[int, int], None]
    ) -> None:
        texts = [news(number) for number in range(60)]
        lab.fill(texts)
        cut(12_000, 7)
        lab.clean()
        lab.seen()
        lab.fill([*texts[:30], news(99), *texts[31:], news(100)])
        assert lab.clean() == Tally(added=1, changed=1, unchanged=59)
        assert lab.seen() == ["line=31", "line=61"]
        cut(9_000, 20)
        lab.fill([*texts[:30], news(99), *texts[31:], news(100), news(101)])
        assert lab.clean() == Tally(added=1, unchanged=61)
        assert lab.seen() == ["line=62"]

    def test_a_replay_reads_pieces_with_something_to_pick(self, lab: Lab, cut: Callable[[int, int], None]) -> None:
        texts = [news(number) for number in range(60)]
        texts[40] = texts[45] = "短文。"
        lab.fill(texts)
        cut(12_000, 7)
        assert lab.clean() == Tally(added=60)
        lab.seen()
        assert lab.replay(clean={"min_chars": 1}) == Tally(recleaned=2, unchanged=58)
        assert lab.seen() == ["line=41", "line=46"]
        assert lab.table("rejected").empty


class TestReplay:
    def test_lines_pass_with_other_settings_and_the_rest_stays(self, lab: Lab) -> None:
        texts = [news(number) for number in range(8)]
        texts[3] = "短文。"
        lab.fill(texts)
        content = lab.box.read_bytes().replace(json.dumps(texts[5], ensure_ascii=False).encode(), b'"broken', 1)
        lab.write(lab.box, content)
        assert lab.clean() == Tally(added=8)
        assert lab.table("rejected")["reason"].to_dict() == {"line=4": "too-short", "line=6": "broken"}
        lab.seen()
        assert lab.replay(reasons=["too-short"], clean={"min_chars": 1}) == Tally(recleaned=1, unchanged=7)
        assert lab.seen() == ["line=4"]
        lab.fill([*texts[:5], *texts[5:]])  # whole again
        assert lab.replay() == Tally(changed=1, unchanged=7)
        assert lab.seen() == ["line=6"]
        assert lab.table()["text"]["line=6"] == texts[5]
        assert lab.table("rejected").empty
        assert lab.clean() == Tally(recleaned=1, unchanged=7)  # line 4 passed with other settings

    def test_documents_that_are_replayed_are_counted_once(self, lab: Lab, tmp_path: Path) -> None:
        """Lines of pages that were rejected are in the counts already: a replay must not make furniture of them."""
        dice = random.Random(3)
        site = corpus_pages.template(dice)
        contents = [[corpus_pages.sentence(dice) for _ in range(12 if n % 2 else 1)] for n in range(9)]
        lab.fill(corpus_pages.page("", site, [f"第{n}篇", *lines], dice).text for n, lines in enumerate(contents))
        settings: dict[str, Any] = {"clean": {"min_chars": 200}}
        lab.clean(**settings)
        before = lab.table()
        assert set(lab.table("rejected")["reason"]) == {"too-short"}
        assert lab.replay() == Tally(recleaned=5, unchanged=4)
        pd.testing.assert_frame_equal(lab.table(), before)
        lab.clean(out=tmp_path / "scratch", **settings)
        assert_equal(lab.out, tmp_path / "scratch")


class Crawl:
    """Pages of sites with furniture, copies among them, in two containers and some files."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.dice = random.Random(7)
        articles = [corpus_pages.article(self.dice) for _ in range(14)]
        self.waiting = corpus_pages.pages(3, 20, 5, articles * 2)  # of the second site in part
        self.dice.shuffle(self.waiting)
        self.boxes: list[list[Any]] = [[], []]

    def add(self, *numbers: int) -> None:
        for box, n in zip(self.boxes, numbers, strict=True):
            box.extend(self.waiting[:n])
            del self.waiting[:n]

    def write(self) -> None:
        for number, box in enumerate(self.boxes):
            urls = [page.uri.replace("file:///crawl/", "https://www.").replace("/0", ".cn/0") for page in box]
            self.lab.fill([page.text for page in box], self.lab.pages / f"{number}.jsonl", url=urls)


def test_updates_of_containers_lead_to_what_a_build_from_scratch_gives(
    lab: Lab, cut: Callable[[int, int], None], tmp_path: Path
) -> None:
    """Lines become furniture and cease to be, copies come and lose those that stand for them, across containers."""
    cut(20_000, 9)
    crawl = Crawl(lab)
    crawl.add(6, 5)
    crawl.write()
    lab.fill([news(number) for number in range(3)], lab.pages / "elsewhere.jsonl")
    assert lab.clean() == Tally(added=14)
    seen: list[Tally] = []
    for day in range(3):
        if day == 0:
            crawl.add(20, 20)
        elif day == 1:
            del crawl.boxes[0][5:18]
            del crawl.boxes[1][12:]
        else:
            crawl.add(0, 9)
            crawl.boxes[0][3] = crawl.boxes[0][3]._replace(text=news(77))
        crawl.write()
        seen.append(lab.clean())
        scratch = tmp_path / f"scratch-{day}"
        lab.clean(out=scratch)
        assert_equal(lab.out, scratch)
        if day == 0:
            clean = lab.table().set_index("doc_id")
            copies = clean[clean["duplicate_of"].notna()]
            assert (copies["source_uri"] != clean["source_uri"].loc[copies["duplicate_of"]].to_numpy()).any()
    assert seen[0].relearned > 0
    assert sum(done.relearned > 0 for done in seen) >= 2, seen
    assert all(done.unchanged > 0 for done in seen), seen


class TestKilled:
    class Kill(BaseException):
        """No error that a run would deal with."""

    @pytest.mark.parametrize(("n_bytes", "n_documents"), [(4_000_000, 1000), (9_000, 4)])
    def test_what_was_finished_is_taken_up_whatever_the_pieces(  # noqa: PLR0913, PLR0917
        self,
        n_bytes: int,
        n_documents: int,
        lab: Lab,
        cut: Callable[[int, int], None],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        texts = [news(number) for number in range(40)]
        lab.fill(texts)
        cut(12_000, 7)
        noted: Any = vars(shards)["clean_document"]

        def killed(document: Any, config: Any) -> Any:
            if len(lab.cleaned) == 25:
                raise self.Kill
            return noted(document, config)

        with monkeypatch.context() as patched:
            patched.setattr(shards, "clean_document", killed)
            with pytest.raises(self.Kill):
                lab.clean()
        assert lab.seen() == [f"line={number}" for number in range(1, 26)]
        cut(n_bytes, n_documents)
        lab.fill([*texts[:10], news(99), *texts[11:]])
        assert lab.clean() == Tally(added=40)
        assert lab.seen() == ["line=11", *(f"line={number}" for number in range(26, 41))]
        lab.clean(out=tmp_path / "scratch")
        assert_equal(lab.out, tmp_path / "scratch")


def warc(*records: tuple[str, str, bytes]) -> bytes:
    """Records of types, with the content types of their blocks."""
    made = []
    for number, (kind, content_type, block) in enumerate(records):
        header = (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\n"
            f"WARC-Record-ID: <urn:uuid:0000000{number}-0000-0000-0000-000000000000>\r\n"
            f"WARC-Target-URI: http://www.example.cn/{number}\r\nWARC-Date: 2024-06-24T19:04:19Z\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        made.append(header.encode() + block + b"\r\n\r\n")
    return b"".join(made)


class TestOutcome:
    def test_records_that_are_no_documents_are_counted(self, lab: Lab) -> None:
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=gbk\r\n\r\n"
        lab.write(
            lab.pages / "crawl.warc",
            warc(
                ("warcinfo", "application/warc-fields", b"software: none\r\n"),
                ("request", "application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"),
                ("response", "application/http; msgtype=response", http + NEWS.encode("gbk")),
                ("request", "application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"),
                ("revisit", "application/http; msgtype=response", http),
            ),
        )
        lab.clean()
        (run,) = pd.read_parquet(lab.out / "runs").to_dict("records")
        skipped = {row["kind"]: row["records"] for row in run["skipped"]}
        assert skipped == {"request": 2, "revisit": 1, "warcinfo": 1}
        assert lab.state.result().skipped == Counter(skipped)
        shown = dict(rows(lab.state.result()))
        assert (shown["skipped: request"], shown["skipped: revisit"]) == ("2", "1")
        (document,) = lab.table().to_dict("records")
        assert (document["text"], document["encoding"]) == (NEWS, "gb18030")
        assert document["url"] == "http://www.example.cn/2"
        assert lab.state.name == "Completed"

    @pytest.mark.parametrize(("name", "reason"), [("a.jsonl", "broken"), ("a.jsonl.gz", "bomb")])
    def test_a_run_with_broken_containers_says_so(self, name: str, reason: str, lab: Lab) -> None:
        lab.fill([news(1), news(2)])
        content = {"broken": b'{"text"\n', "bomb": gzip.compress(b"[" + b" " * 80_000_000, mtime=0)}[reason]
        lab.write(lab.pages / name, content)
        assert lab.clean() == Tally(added=3)
        summary = lab.state.result()
        assert (lab.state.name, summary.n_failures) == ("CompletedWithRejects", 1)
        assert summary.counts.rejected == {reason: 1}
        assert dict(rows(summary))[f"rejected: {reason}"] == "1"
        assert len(lab.table()) == 2

    def test_an_empty_container_is_a_row(self, lab: Lab) -> None:
        lab.fill([news(1)])
        lab.write(lab.pages / "empty.jsonl", b"\n\n")
        assert lab.clean() == Tally(added=2)
        assert lab.table("rejected")["reason"].to_dict() == {"": "empty"}


class TestCommands:
    @pytest.fixture
    def box(self, lab: Lab) -> Path:
        lab.fill([news(1), "简体字的一篇，<!-- 没有什么 -->，很好看的一篇文章。\u200b", "短"], 内容=["甲", "乙", "丙"])
        return lab.box

    def call(self, *arguments: object) -> Any:
        return CliRunner().invoke(main, list(map(str, arguments)))

    def test_explain_shows_all_documents_or_one(self, box: Path) -> None:
        shown = self.call("explain", box)
        assert shown.exit_code == 0
        assert [f"{box} line={n}" in shown.output for n in (1, 2, 3)] == [True] * 3
        shown = self.call("explain", box, "--record", "line=2")
        assert shown.exit_code == 0
        assert [f"{box} line={n}" in shown.output for n in (1, 2, 3)] == [False, True, False]
        shown = self.call("explain", box, "--record", "line=9")
        assert shown.exit_code != 0
        assert "has no document line=9" in shown.output

    def test_check_names_documents_that_would_change(self, box: Path) -> None:
        shown = self.call("check", box)
        assert shown.exit_code == 1
        assert f"{box} line=1" not in shown.output
        assert f"{box} line=2: would be kept: " in shown.output
        assert f"{box} line=3: would be rejected as too-short" in shown.output

    def test_fields_can_be_named(self, box: Path) -> None:
        shown = self.call("explain", box, "--field", "text=内容", "--record", "line=1")
        assert "3 bytes, " in shown.output
        shown = self.call("explain", box, "--field", "body=内容")
        assert shown.exit_code == 2
        assert "What can be named: text, url, title, date, author, site" in shown.output


def test_files_json_lines_and_archives_give_the_same_clean_texts(lab: Lab, tmp_path: Path) -> None:
    """Of any documents that are characters; addresses and encodings are others."""
    dice = random.Random(5)
    texts = [path.read_text(errors="ignore") for path in sorted((ROOT / "seeds").iterdir())]
    signs = ["\u3000", "\u200b", "，，", "&amp;", "(chǎn)", "\r\n", "產業", "<p>", "\t", "é", "😀", "\x00", "\ufeff"]
    for number in range(30):
        text = news(number)
        for _ in range(dice.randint(0, 8)):
            at = dice.randrange(len(text))
            text = text[:at] + dice.choice(signs) + text[at:]
        texts.append(text)
    texts += ["", " \n", "短", "12345 " * 50]
    for number, text in enumerate(texts):
        lab.write(lab.pages / f"{number:03}.txt", text.encode())
    lab.fill(texts, tmp_path / "box.jsonl")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path in sorted(lab.pages.iterdir()):
            archive.add(path, path.name)
    lab.write(tmp_path / "box.tgz", stream.getvalue())
    found = []
    for number, source in enumerate([lab.pages, tmp_path / "box.jsonl", tmp_path / "box.tgz"]):
        out = tmp_path / f"out-{number}"
        lab.clean(source, out=out, dedup="off", clean={"learn_from": 0})
        clean, rejected = lab.table(out=out), lab.table("rejected", out=out)
        assert len(clean) + len(rejected) == len(texts)
        found.append((clean["text"].tolist(), sorted(rejected["reason"])))
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert len(found[0][0]) > 30
