"""Runs upon runs, against one run over all: the counts, what they say of each document, and the table `lines`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig
from schemas.document import Cleaned, Decoded, Origin, Outcome, Reason, Rejection, Run
from tasks.corpus import Learned, Revision, Survey, changed, learn, lines, revise, revisions, survey, write_lines
from tasks.corpus.table import lines_table
from tasks.ingest.batches import of_run, write_batch
from tasks.publish.parts import BatchFiles
from tasks.scripts import traditionalize

MakePages = Callable[..., list[Any]]
MakePage = Callable[..., Outcome]
Corpus = Mapping[str, Outcome]
"""What the first pass makes of each source, by its URI."""


COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("doc_id", "source_uri", "record", "reason")),
        *lines.FEATURES,
        ("learned", pa.uint64()),
        ("removed_lines", pa.list_(pa.uint64())),
    ]
)


class State(NamedTuple):
    """What a dataset says."""

    counts: dict[str, bytes]
    documents: dict[str, tuple[str | None, str | None, int, list[int]]]
    """Text, reason, digest and removed lines, by doc_id."""
    lines: list[dict[str, Any]]


def revised(outcomes: list[Outcome], made: Survey, known: Learned, config: CleanConfig) -> list[Revision]:
    """The second pass over a shard."""
    return list(revisions(outcomes, made, known, partial(revise, known=known, config=config)))


@dataclass
class Dataset:
    """As little of one as incremental runs need."""

    run: Run
    folder: Path
    size: int
    """Documents of a shard."""
    corpus: Corpus = field(default_factory=dict)
    batches: list[BatchFiles] = field(default_factory=list)
    n_cleaned: int = 0
    _n: int = 0

    def ingest(self, corpus: Corpus) -> State:
        """What `qingyuan clean` does with sources of which some are new, others are changed or gone."""
        new = [uri for uri, outcome in corpus.items() if self.corpus.get(uri) != outcome]
        gone = {old.origin.doc_id for uri, old in self.corpus.items() if corpus.get(uri) != old}
        self.batches = [replace(batch, gone=batch.gone | self._in(batch, gone)) for batch in self.batches]
        surveys = self._survey(corpus, new)
        old = [lines.count_index(b.index, b.gone, n, self._new_folder()) for n, b in enumerate(self.batches)]
        known = learn([*(made.counted for _, made in surveys), *old], self.run.config, self._new_folder())
        again = {
            doc_id
            for b, counted in zip(self.batches, old, strict=True)
            for doc_id in changed(b.index, b.gone, counted, known)
        }
        self.batches = [replace(batch, gone=batch.gone | self._in(batch, again)) for batch in self.batches]
        surveys += self._survey(corpus, [uri for uri in corpus if corpus[uri].origin.doc_id in again])
        self.batches += [self._finish(revised(outcomes, made, known, self.run.config)) for outcomes, made in surveys]
        self.corpus = corpus
        return self._state(known)

    def _new_folder(self) -> Path:
        self._n += 1
        (self.folder / str(self._n)).mkdir(parents=True)
        return self.folder / str(self._n)

    def _survey(self, corpus: Corpus, uris: Sequence[str]) -> list[Any]:
        self.n_cleaned += len(uris)
        shards = [uris[i : i + self.size] for i in range(0, len(uris), self.size)]
        outcomes = [[corpus[uri] for uri in shard] for shard in shards]
        folders = [self._new_folder() for _ in shards]
        return [(given, survey(given, 0, self.run.config, to)) for given, to in zip(outcomes, folders, strict=True)]

    def _finish(self, revised: list[Revision]) -> BatchFiles:
        return of_run(write_batch(revised, self.run, {}, self._new_folder())).files

    def _in(self, batch: BatchFiles, doc_ids: set[str]) -> frozenset[str]:
        return frozenset(doc_ids).intersection(pq.read_table(batch.index, columns=["doc_id"])["doc_id"].to_pylist())

    def _state(self, known: Learned) -> State:
        assert known.lines
        counts = {path.name: path.read_bytes() for path in known.lines.iterdir()}
        rows = [(row, b) for b in self.batches for row in pq.read_table(b.index).to_pylist()]
        index = {row["doc_id"]: row for row, b in rows if row["doc_id"] not in b.gone}
        texts = {
            row["doc_id"]: row["text"]
            for b in self.batches
            for path in (b.clean, b.rejected)
            for row in (pq.read_table(path).to_pylist() if path else [])
            if row["doc_id"] not in b.gone
        }
        documents = {
            doc_id: (texts[doc_id], row["reason"], row["learned"], row["removed_lines"])
            for doc_id, row in index.items()
        }
        told = list(lines_table(self.batches, lines.recurring(known.lines), self.run.config.learn_from))
        return State(counts, documents, told)


def at_once(corpus: Corpus, run: Run, folder: Path, size: int = 1000) -> State:
    return Dataset(run, folder, size).ingest(corpus)


# Sites that grow, shrink and change their templates


def outcome(uri: str, text: str, facts: Mapping[str, str] | None = None) -> Outcome:
    """A document in Traditional that the first pass has made Simplified, and nothing else."""
    from tasks.clean import clean

    decoded = traditionalize(text)
    cleaned = clean(decoded, CleanConfig())
    kept = replace(cleaned, facts={**cleaned.facts, **(facts or {})})
    return Outcome(Origin(uri, "", "0" * 64, len(text)), Decoded(decoded, "utf-8", 1.0, "strict"), kept)


@pytest.fixture
def keep(run: Run) -> Run:
    return replace(run, config=CleanConfig())


def test_days_of_additions_changes_and_removals_are_one_build_of_what_is_left(
    make_pages: MakePages, keep: Run, tmp_path: Path
) -> None:
    pages = {page.uri: outcome(page.uri, page.text) for page in make_pages(4, 14, 21)}
    others = {page.uri: outcome(page.uri, page.text) for page in make_pages(4, 14, 22)}
    uris = list(pages)
    first = {uri: pages[uri] for n, uri in enumerate(uris) if n % 14 < 9}  # too few of each site
    second = first | {uri: pages[uri] for uri in uris[:28]}  # two sites pass the threshold
    third = {uri: pages[uri] for n, uri in enumerate(uris) if n > 5}  # one falls below it
    fourth = third | {uri: others[uri] for uri in uris[30:46]}  # other templates
    days = [first, second, third, fourth, second]
    dataset = Dataset(keep, tmp_path / "runs", 10)
    n_furniture = []
    for day, corpus in enumerate(days):
        state = dataset.ingest(corpus)
        assert state == at_once(corpus, keep, tmp_path / str(day))
        n_furniture.append(sum(row["is_furniture"] for row in state.lines))
    assert n_furniture[0] == 0
    assert n_furniture[1] > n_furniture[2] > 0


def test_a_document_that_nothing_new_is_said_of_is_not_cleaned_again(
    make_pages: MakePages, keep: Run, tmp_path: Path
) -> None:
    pages = {page.uri: outcome(page.uri, page.text) for page in make_pages(3, 20, 23)}
    dataset = Dataset(keep, tmp_path, 25)
    before = dataset.ingest({uri: page for n, (uri, page) in enumerate(pages.items()) if n % 20 != 7})
    assert any(digest for _, _, digest, _ in before.documents.values())
    dataset.n_cleaned = 0
    after = dataset.ingest(pages)
    assert dataset.n_cleaned == 3
    assert {doc_id: after.documents[doc_id] for doc_id in before.documents} == before.documents


@pytest.fixture
def page() -> MakePage:
    """The n-th page of a site, always the same: a title and a paragraph of its own over a line with its number."""

    def make(number: int, site: str = "a", body: int | None = None) -> Outcome:
        dice = Random(f"{site} {number if body is None else body}")
        own = "，".join("".join(chr(dice.randrange(0x4E00, 0x9000)) for _ in range(20)) for _ in range(4))
        uri = f"file:///c/{site}/{number:02}.txt"
        return outcome(uri, f"{own[:6]}\n{own}。\n河畔晚报第{number}期 | 订阅\n")

    return make


def by_uri(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    return {one.origin.source_uri: one for one in outcomes}


def test_a_line_is_told_once_where_sites_lie_within_each_other_and_once_for_all(
    page: MakePage, keep: Run, tmp_path: Path
) -> None:
    """A page of `c/a` is of `c` as well, which says the same until there are other sites in it."""
    one_site = [page(number) for number in range(12)]
    dataset = Dataset(keep, tmp_path, 5)
    figures = [(row["site"], row["documents"], row["removed"]) for row in dataset.ingest(by_uri(one_site)).lines]
    assert figures == [("file:///c/a", 12, 12)]
    five_sites = [page(number, site) for number in range(12) for site in "abcd"]
    figures = [(row["site"], row["documents"], row["removed"]) for row in dataset.ingest(by_uri(five_sites)).lines]
    of_each = [(f"file:///c/{site}", 12, 12) for site in "abcd"]
    assert figures == [("", 96, 48), ("file:///c", 48, 48), *of_each]


def test_a_page_of_which_a_copy_turns_up_is_looked_at_again(page: MakePage, keep: Run, tmp_path: Path) -> None:
    """Its paragraphs are not its own any more: furniture stays on copies."""
    corpus = by_uri(page(number) for number in range(20))
    dataset = Dataset(keep, tmp_path / "runs", 7)
    dataset.ingest(corpus)
    dataset.n_cleaned = 0
    copied = corpus | by_uri([page(30, body=4)])
    state = dataset.ingest(copied)
    assert dataset.n_cleaned == 2
    assert [row["removed"] for row in state.lines] == [19]
    assert state == at_once(copied, keep, tmp_path / "whole")


def test_a_line_is_quoted_as_it_stood_in_the_first_document_by_its_source(
    page: MakePage, keep: Run, tmp_path: Path
) -> None:
    """Before its removal, whatever was cleaned first; but not from one that has lost its text."""
    corpus = by_uri(map(page, reversed(range(12, 26))))
    dataset = Dataset(keep, tmp_path, 5)
    (row,) = dataset.ingest(corpus).lines
    assert (row["line"], row["removed"], row["documents"]) == ("河畔晚报第12期 | 订阅", 14, 14)
    first = page(3)
    (row,) = dataset.ingest(corpus | by_uri([first])).lines
    assert (row["line"], row["removed"]) == ("河畔晚报第3期 | 订阅", 15)
    (row,) = dataset.ingest(corpus).lines
    assert row["line"] == "河畔晚报第12期 | 订阅"
    for batch in dataset.batches:
        table = pq.read_table(batch.index).to_pylist()
        lost = [{**row, "reason": "crashed"} if row["source_uri"].endswith("12.txt") else row for row in table]
        pq.write_table(pa.Table.from_pylist(lost, COLUMNS), batch.index)
    counted = [lines.count_index(b.index, b.gone, n, tmp_path / "again") for n, b in enumerate(dataset.batches)]
    known = learn(counted, keep.config, tmp_path / "again")
    assert known.lines
    (row,) = lines_table(dataset.batches, lines.recurring(known.lines), 10)
    assert row["line"] == "河畔晚报第13期 | 订阅"


def test_where_nothing_was_to_be_learned_there_is_no_table(keep: Run, tmp_path: Path) -> None:
    keep = replace(keep, config=CleanConfig(learn_from=0))
    given = [outcome("file:///a/1.txt", "山水人家，一成不变。")]
    made = survey(given, 0, keep.config, tmp_path)
    known = learn([made.counted], keep.config, tmp_path)
    assert [one[1:] for one in revised(given, made, known, keep.config)] == [(lines.Features(), 0, ())]
    assert write_lines([], known, keep, tmp_path).rows == 0


# Any small corpus

BODIES = [
    f"{a}在{b}的事情大家都已经知道，{c}之后人们仍然谈论着{a}与{b}，直到{c}的那一天才平静下来。"
    for a, b, c in map(tuple, ["山河春", "江湖夏", "城乡秋", "田野冬", "桥梁晨", "书画夕"])
]
TEMPLATE = ["河畔晚报 | 订阅", "返回目录 > 首页", "本版编辑部热线12345", "东门网络科技 / 版权", "今日看点"]
FOLDERS = ["file:///c/a", "file:///c/a/x", "file:///c/a/y", "file:///c/b", "http://www.e.cn"]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, Outcome]:
    uri = f"{draw(st.sampled_from(FOLDERS))}/{draw(st.integers(0, 9))}.txt"
    head = draw(st.lists(st.sampled_from(TEMPLATE), max_size=2))
    tail = draw(st.lists(st.sampled_from(TEMPLATE), max_size=3))
    body = draw(st.lists(st.sampled_from(BODIES), max_size=2))
    heading = draw(st.sampled_from([[], ["来龙去脉"]]))
    title = draw(st.sampled_from([[], ["一次远行", "归来"]]))
    text = "\n".join([*head, *title, *body[:1], *heading, *body[1:], *tail, ""])
    facts = draw(st.sampled_from([{}, {"site_name": "河畔网"}, {"source_url": "http://e.cn/1"}]))
    made = Outcome(
        Origin(uri, "", "0" * 64, len(text)), Decoded(text, "utf-8", 1.0, "strict"), Cleaned(text, (), facts)
    )
    is_rejected = draw(st.integers(0, 9)) == 0
    return uri, replace(made, rejection=Rejection(Reason.SPAM, "")) if is_rejected else made


CORPORA = st.lists(documents(), max_size=14).map(dict)


@given(days=st.lists(CORPORA, min_size=2, max_size=3), size=st.integers(1, 6), learn_from=st.integers(2, 4))
@settings(max_examples=12, deadline=None)
def test_any_days_are_one_build_of_the_last(days: list[Corpus], size: int, learn_from: int) -> None:
    config = CleanConfig(script="keep", learn_from=learn_from, min_chars=20)
    run = Run("run", datetime(2026, 11, 1, tzinfo=UTC), config, "0", "0")
    with TemporaryDirectory() as folder:
        dataset = Dataset(run, Path(folder) / "runs", size)
        for number, corpus in enumerate(days):
            after = {**dataset.corpus, **corpus} if number % 2 else corpus  # additions, or all else goes
            state = dataset.ingest(after)
            turned = dict(reversed(list(after.items())))
            assert state == at_once(turned, run, Path(folder) / str(number), size + 2)
