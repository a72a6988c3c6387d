from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.document import Cleaned, Outcome, Reason, Rejection, Run
from tasks.publish.snapshots import DatasetError, Snapshot
from tasks.view.app import View
from tasks.view.catalogue import SORTS, Catalogue, Filter

Put = Callable[..., Snapshot]


@pytest.fixture
def catalogue(out: Path, open_view: Callable[[Path], View]) -> Catalogue:
    return open_view(out).catalogue


def walk(catalogue: Catalogue, wanted: Filter, size: int = 7) -> Iterator[int]:
    """Numbers of all documents of a list, page by page."""
    page = catalogue.page(wanted, size=size)
    seen = 0
    while page.rows:
        assert page.first == seen + 1
        assert page.has_before == (seen > 0)
        seen += len(page.rows)
        assert page.has_after == (seen < page.total)
        yield from (row["no"] for row in page.rows)
        page = catalogue.page(wanted, after=page.rows[-1]["no"], size=size)
    assert seen == catalogue.page(wanted).total


def test_all_documents_are_listed_in_the_order_of_ingest(catalogue: Catalogue, outcomes: list[Outcome]) -> None:
    rows = catalogue.page(Filter(sort="source"), size=100).rows
    ids = [row["doc_id"] for row in rows]
    assert sorted(ids) == sorted(outcome.origin.doc_id for outcome in outcomes)
    assert [row["batch"] for row in rows] == sorted(row["batch"] for row in rows)
    by_id = {outcome.origin.doc_id: outcome for outcome in outcomes}
    for row in rows:
        rejection = by_id[row["doc_id"]].rejection
        assert row["reason"] == (rejection.reason if rejection else "")
        assert row["source_uri"] == by_id[row["doc_id"]].origin.source_uri


@pytest.mark.parametrize("sort", SORTS)
def test_pages_have_every_document_once_and_in_order(sort: str, catalogue: Catalogue) -> None:
    numbers = list(walk(catalogue, Filter(sort=sort)))
    assert len(set(numbers)) == len(numbers) == 30
    column, largest_first = SORTS[sort]
    rows = catalogue.page(Filter(sort=sort), size=100).rows
    assert [row["no"] for row in rows] == numbers
    values = [row[column] for row in rows]
    assert values == sorted(values, reverse=largest_first)


@pytest.mark.parametrize("sort", SORTS)
def test_the_page_before_is_the_page_that_one_came_from(sort: str, catalogue: Catalogue) -> None:
    first = catalogue.page(Filter(sort=sort), size=7)
    second = catalogue.page(Filter(sort=sort), after=first.rows[-1]["no"], size=7)
    assert catalogue.page(Filter(sort=sort), before=second.rows[0]["no"], size=7) == first


@pytest.mark.parametrize(
    ("wanted", "n"),
    [
        (Filter(table="clean"), 21),
        (Filter(table="rejected"), 9),
        (Filter(reason="too-short"), 5),
        (Filter(reason="unreadable"), 4),
        (Filter(step="glosses"), 20),
        (Filter(step="glosses", rule="mangler"), 20),
        (Filter(step="glosses", rule="t2s"), 0),
        (Filter(flag="shift"), 21 + 5),
        (Filter(encoding="gb18030"), 5),
        (Filter(place="pages/00012"), 1),
        (Filter(place="'; drop table documents --"), 0),
        (Filter(below=0.9), 0),
        (Filter(below=0.95), 20),
        (Filter(table="clean", flag="shift", place="/0000"), 7),
        (Filter(only=()), 0),
        (Filter(marked=("x",)), 0),
    ],
)
def test_filters(wanted: Filter, n: int, catalogue: Catalogue, outcomes: list[Outcome]) -> None:
    assert catalogue.page(wanted).total == n
    assert len(list(walk(catalogue, wanted))) == n


def test_a_document_is_found_by_the_start_of_its_id(catalogue: Catalogue, outcomes: list[Outcome]) -> None:
    doc_id = outcomes[3].origin.doc_id
    assert [row["doc_id"] for row in catalogue.page(Filter(place=doc_id[:12])).rows] == [doc_id]


def test_a_document_is_found_by_its_host_and_by_a_name_in_chinese(
    tmp_path: Path, make_kept: Callable[..., Outcome], run: Run, put: Put, open_view: Callable[[Path], View]
) -> None:
    uris = ["file:///pages/%E6%96%B0%E9%97%BB/1.jsonl", "file:///pages/2.jsonl", "file:///pages/3.jsonl"]
    urls = ["", "https://news.example.cn/1", "javascript:alert(1)"]
    made = [make_kept(n) for n in range(3)]
    made[2] = replace(made[2], rejection=Rejection(Reason.TOO_SHORT, "short"))
    origins = [replace(made[n].origin, source_uri=uris[n], url=urls[n]) for n in range(3)]
    put(tmp_path / "out", run, [replace(made[n], origin=origins[n]) for n in range(3)])
    catalogue = open_view(tmp_path / "out").catalogue
    for place, uri in (("新闻", uris[0]), ("news.example", uris[1])):
        assert [row["source_uri"] for row in catalogue.page(Filter(place=place)).rows] == [uri]
    assert {row["site"] for row in catalogue.page(Filter()).rows} == {"", "news.example.cn"}


def test_what_failed_comes_first_and_what_is_sure_last(
    tmp_path: Path, make_kept: Callable[..., Outcome], run: Run, put: Put, open_view: Callable[[Path], View]
) -> None:
    failed = replace(make_kept(1), rejection=Rejection(Reason.FAILED, "a bug"))
    short = replace(make_kept(2), rejection=Rejection(Reason.TOO_SHORT, "short"))
    text = "山水人家，一成不变。\n"
    plain = replace(make_kept(3, text), cleaned=Cleaned(text, ()))
    outcomes = [plain, short, make_kept(4), failed]
    put(tmp_path / "out", run, outcomes)
    rows = open_view(tmp_path / "out").catalogue.page(Filter()).rows
    order = [outcome.origin.doc_id for outcome in (failed, make_kept(4), short, plain)]
    assert [row["doc_id"] for row in rows] == order


def test_values_to_choose_from_are_counted(catalogue: Catalogue) -> None:
    assert dict(catalogue.facets["table"]) == {"clean": 21, "rejected": 9}
    assert dict(catalogue.facets["reason"]) == {"too-short": 5, "unreadable": 4}
    assert ("glosses", "mangler", 20, 20, 0.9) in catalogue.facets["rule"]


def test_documents_are_read_whole(catalogue: Catalogue, outcomes: list[Outcome]) -> None:
    rows = catalogue.page(Filter(), size=100).rows
    by_id = {outcome.origin.doc_id: outcome for outcome in outcomes}
    for row, document in zip(rows, catalogue.documents(rows), strict=True):
        cleaned = by_id[row["doc_id"]].cleaned
        assert document.doc_id == document.log["doc_id"] == row["doc_id"]
        assert document.row["text"] == (cleaned.text if cleaned else None)
        assert document == catalogue.document(row)


def test_a_snapshot_stays_while_others_are_published(
    out: Path, catalogue: Catalogue, make_kept: Callable[..., Outcome], later_run: Run, put: Put
) -> None:
    before = catalogue.page(Filter(), size=100)
    assert catalogue.newer() is None
    put(out, later_run, [make_kept(99)], keep=1)
    newer = catalogue.newer()
    assert newer is not None
    assert newer[0] == 2
    assert catalogue.page(Filter(), size=100) == before
    assert len(catalogue.documents(before.rows)) == 30
    catalogue.close()


def test_what_it_kept_goes_when_it_is_closed(out: Path) -> None:
    catalogue = Catalogue(out)
    folder = Path(catalogue._folder.name)
    assert folder.is_dir()
    catalogue.close()
    catalogue.close()
    assert not folder.exists()


def test_closing_in_the_midst_of_filling_is_no_problem(out: Path) -> None:
    view = View(out, "token")
    view.close()
    assert view.catalogue.problem == ""


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        Catalogue(tmp_path)


def test_damage_is_told(out: Path, catalogue: Catalogue) -> None:
    row = catalogue.page(Filter(table="clean")).rows[0]
    with pytest.raises(DatasetError, match="qingyuan verify"):
        catalogue.document({**row, "doc_id": "f" * 32})
