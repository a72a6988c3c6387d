"""The bench of duplicates: its counting, and that it runs on what ships."""

import pytest

from benchmarks import duplicates
from benchmarks.duplicates import Document, false_ones, missed, pairs_found, same_hash


def document(article: int, how: str = "as it is, commas", text: str = "") -> Document:
    return Document(article, text, text, [], how)


def test_counts_pairs_of_copies() -> None:
    documents = [document(1), document(1, "line, commas"), document(1, "tail, commas"), document(2), document(2)]
    every, found = pairs_found(documents, [0, 0, 2, 3, 3])
    assert dict(every) == {"all": 4, "one": 3}
    assert dict(found) == {"all": 2, "one": 2}
    assert list(missed(documents, [0, 0, 2, 3, 3])) == [(0, 2), (1, 2)]


def test_counts_what_stands_for_another_article() -> None:
    documents = [document(1), document(2), document(-1), document(1)]
    assert false_ones(documents, [0, 0, 2, 0]) == [(1, 0)]
    assert false_ones(documents, [0, 1, 0, 3]) == [(2, 0)]


def test_hashes_of_folded_texts() -> None:
    documents = [document(1, text="產業，發展"), document(2, text="别的"), document(1, text="产业发展。")]
    assert same_hash(documents) == [0, 1, 0]


def test_runs_on_what_ships(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--documents", "3", "--copies", "2", "--kinds", "commas,undamaged", "--workers", "1", "--examples", "1"]
    monkeypatch.setattr("sys.argv", ["duplicates", *options])
    assert duplicates.main() == 0
    output = capsys.readouterr().out
    assert output.startswith("6 copies of 3 articles among ")
    ours = next(line for line in output.splitlines() if line.startswith("this project  "))
    assert ours.removeprefix("this project").split()[:3] == ["100.00", "100.00", "0"]


def test_nothing_is_copied_of_a_folder_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["duplicates", "--plain"])
    assert duplicates.main() == 0
    assert capsys.readouterr().out.startswith("0 copies of 0 articles among ")


def test_an_unknown_kind_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["duplicates", "--kinds", "rain"])
    with pytest.raises(SystemExit):
        duplicates.main()
    assert "no kind of rain" in capsys.readouterr().err
