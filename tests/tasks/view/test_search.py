from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.document import Outcome, Run
from tasks.publish.snapshots import Snapshot
from tasks.view import search as module
from tasks.view.app import View
from tasks.view.catalogue import Catalogue, Filter
from tasks.view.search import Search, _forms


@pytest.fixture
def catalogue(out: Path, open_view: Callable[[Path], View]) -> Catalogue:
    return open_view(out).catalogue


def found(catalogue: Catalogue, text: str, where: str, wanted: Filter | None = None) -> set[int]:
    """Numbers in the names of the files that have a string."""
    search = Search(catalogue, wanted or Filter(), text, where)  # type: ignore[arg-type]
    search.start(60)
    assert search.is_done, search.problem
    assert search.looked == search.total
    rows = catalogue.page(Filter(only=search.found), size=100).rows
    return {int(row["source_uri"][-9:-4]) for row in rows}


KEPT = {n for n in range(29) if n % 5 != 4 and n % 7 != 6}
SHORT = {n for n in range(29) if n % 5 == 4}


@pytest.mark.parametrize(
    ("text", "where", "numbers"),
    [
        ("标题：产业发展", "clean", KEPT),
        ("標題：產(chǎn)業發展", "clean", set()),
        ("標題：產(chǎn)業發展", "observed", KEPT),
        ("標題：產(chǎn)業發展", "both", KEPT),
        ("标题：产业发展", "observed", set()),
        ("标题：产业发展", "both", KEPT),
        ("產業12", "observed", {12} & SHORT),
        ("產業14", "observed", {14}),
        ("产业14", "clean", {14}),
        ("责任编辑。\n", "clean", KEPT),
        ("(chǎn)業發展。\n第3段，責", "observed", {3}),
        ("\ufffd", "both", SHORT),
        ("' or 1=1 --", "both", set()),
        ("%", "clean", set()),
        ("𠀀", "both", set()),
        ("一成不变", "both", {29}),
    ],
)
def test_strings_are_found_where_they_are(text: str, where: str, numbers: set[int], catalogue: Catalogue) -> None:
    assert found(catalogue, text, where) == numbers


@pytest.mark.parametrize("where", ["clean", "both"])
def test_only_documents_of_the_list_are_looked_into(where: str, catalogue: Catalogue) -> None:
    wanted = Filter(place="/0001", table="clean")
    assert found(catalogue, "产业", where, wanted) == {n for n in KEPT if 10 <= n < 20}


def test_a_search_rests_and_goes_on(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FOUND", 3)
    search = Search(catalogue, Filter(table="clean"), "产业", "both")
    search.start(60)
    counts = [len(search.found)]
    assert not search.is_running
    while not search.is_done and len(counts) < 20:
        assert search.looked < search.total
        search.start(60)
        counts.append(len(search.found))
    assert counts[0] == 3
    assert counts == sorted(set(counts))
    assert search.is_done
    assert counts[-1] == len(KEPT)


def test_a_search_rests_after_its_time(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    search = Search(catalogue, Filter(), "nowhere", "clean")
    search.start(60)
    assert not search.is_done
    assert not search.is_running
    monkeypatch.setattr(module, "SECONDS", 60.0)
    search.start(60)
    assert search.is_done


def test_a_search_can_be_stopped(catalogue: Catalogue) -> None:
    search = Search(catalogue, Filter(), "产业", "both")
    search.stop()
    search._run()
    assert search.looked == 0
    assert search.problem == ""


def test_no_document_is_passed_over_because_conversion_hides_its_characters() -> None:
    """What an operation of the log implies: the form that stood there, by the character that stands now."""
    assert {"产", "產"} <= _forms("產")
    assert {"发", "發"} <= _forms("發")
    assert _forms("a") == {"a"}


def test_converted_texts_are_searched_as_they_were(
    tmp_path: Path, run: Run, put: Callable[..., Snapshot], open_view: Callable[[Path], View]
) -> None:
    """Packed operations: the log names none of the characters."""
    from schemas.config import CleanConfig
    from schemas.document import Decoded, Origin
    from tasks.clean import clean

    text = "會議指出，發展經濟，關鍵在於產業轉型。歷史悠久的龍門書院為農業發展貢獻頗豐，後來鬥爭激烈。" * 3
    origin = Origin("file:///a.txt", "", "0" * 64, 1)
    outcome = Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), clean(text, CleanConfig()))
    put(tmp_path / "out", run, [outcome])
    catalogue = open_view(tmp_path / "out").catalogue
    entry = catalogue.page(Filter()).rows[0]
    assert any(row["start"] < 0 for row in catalogue.document(entry).log["edits"])
    for start in range(0, 60, 3):
        search = Search(catalogue, Filter(), text[start : start + 9], "observed")
        search.start(60)
        assert len(search.found) == 1, text[start : start + 9]
