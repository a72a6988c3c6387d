import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.document import Edit, Stage
from tasks.publish.store import open_store
from tasks.steps.log import pack
from tasks.view import reviews
from tasks.view.reviews import Received, Review, add, find, mark, path_of, read, stages_of

ROW = {"doc_id": "d" * 32, "run_id": "run", "rules_digest": "r", "decoded_sha256": "s", "text": ""}
TEXT = "首頁 > 國內\n會(huì)議上,會(huì)後。\n首頁 > 國內\n"
GLOSS = Edit("glosses", "mangler", TEXT.index("("), "(huì)", "", 0.9)


def received(text: str = TEXT, *edits: Edit, number: int = 0) -> Received:
    return Received(number, text, Stage("glosses", edits or (GLOSS,)))


def made(**changes: object) -> Review:
    return replace(mark(ROW, received(), GLOSS, "wrong", " why \n"), **changes)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reviews.jsonl"


def test_what_is_written_is_read(file: Path) -> None:
    assert read(file) == ([], 0)
    review = made(note="行\u2028行\x85\n")
    add(file, review)
    assert read(file) == ([review], 0)
    told = json.loads(file.read_bytes())
    assert (told["left"], told["before"], told["right"]) == (
        "首頁 > 國內\n會",
        "(huì)",
        "議上,會(huì)後。\n首頁 > 國內\n",
    )
    assert {"when", "doc_id", "run_id", "rules_digest", "stage", "start", "step", "rule", "after"} <= told.keys()


def test_the_last_word_counts_and_can_be_taken_back(file: Path) -> None:
    other = made(start=20)
    for review in (made(), other, made(verdict="right")):
        add(file, review)
    assert [(m.start, m.verdict) for m in read(file).marks] == [(20, "wrong"), (9, "right")]
    add(file, made(verdict="withdrawn"))
    assert read(file).marks == [other]
    assert len(file.read_bytes().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_last_line_harms_no_other(file: Path, cut: int) -> None:
    add(file, made())
    add(file, made(start=20))
    file.write_bytes(file.read_bytes()[:-cut])
    whole = cut == 1  # only the line end is missing
    assert [len(read(file).marks), read(file).n_unreadable] == [1 + whole, 1 - whole]
    add(file, made(start=30))
    assert [m.start for m in read(file).marks] == [9, *([20] if whole else []), 30]
    assert read(file).n_unreadable == 1 - whole


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"[]", b"{}", b"[" * 100_000, b'"x"', b"null", b"\x00"],
    ids=["bytes", "list", "empty", "deep", "string", "null", "nul"],
)
def test_other_peoples_lines_are_counted_and_left(file: Path, line: bytes) -> None:
    file.write_bytes(line + b"\n")
    add(file, made())
    assert read(file) == ([made(when=read(file).marks[0].when)], 1)


@pytest.mark.parametrize("change", [{"verdict": "x"}, {"stage": "0"}, {"start": -1}, {"note": None}, {"before": 3}])
def test_lines_with_wrong_values_are_no_marks(file: Path, change: dict[str, object]) -> None:
    told = {name: getattr(made(), name) for name in Review.__slots__}
    file.write_text(json.dumps({**told, **change}) + "\n")
    assert read(file) == ([], 1)


def test_many_writers_at_once(file: Path) -> None:
    def write(first: int) -> None:
        for n in range(20):
            add(file, made(start=first + n, note="長" * 1_000))

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(file).marks) == 100
    assert read(file).n_unreadable == 0


def test_the_file_lies_beside_the_tables(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert path_of(open_store(out), out) == out / "reviews.jsonl"
    assert path_of(open_store(f"file://{out}"), f"file://{out}") == out / "reviews.jsonl"


class TestFind:
    """An edit is identified in the text that its stage received."""

    def test_at_its_place(self) -> None:
        assert find(made(), [received()]) == (received(), GLOSS)

    def test_elsewhere_by_what_stands_around_it(self) -> None:
        """Other rules: the breadcrumb above went before, in another stage."""
        moved = GLOSS._replace(start=GLOSS.start + 100)
        text = "更多的字。" * 20 + TEXT
        later = received(text, moved, number=3)
        review = made(left=TEXT[:8])
        assert find(review, [later]) is None  # 40 characters before it are others
        assert find(replace(review, left=text[:109][-40:]), [later]) == (later, moved)

    def test_not_if_it_is_another_one_of_two(self) -> None:
        line = "\n首頁 > 國內\n" + "字" * 50
        first, second = (Edit("glosses", "mangler", n * len(line), line[:8], "") for n in range(2))
        both = received(line * 2 + "\n" + "字" * 10, first, second)
        review = mark(ROW, both, second, "wrong")
        assert find(review, [both]) == (both, second)
        assert find(replace(review, start=7), [both]) == (both, second)
        same = "字" * 40 + "甲" + "字" * 40
        twice = received(same * 2, Edit("glosses", "x", 40, "甲", ""), Edit("glosses", "x", 121, "甲", ""))
        lost = replace(mark(ROW, twice, twice.stage.edits[0], "wrong"), start=3)
        assert find(lost, [twice]) is None

    def test_not_if_rule_or_outcome_is_another(self) -> None:
        for change in ({"rule": "x"}, {"step": "x"}, {"before": "x"}, {"after": "x"}, {"right": "x"}):
            assert find(made(**change), [received()]) is None


def test_stages_are_given_with_what_they_received() -> None:
    first = Stage("glosses", (GLOSS, GLOSS._replace(start=TEXT.rindex("("))))
    between = TEXT.replace("(huì)", "")
    second = Stage("punctuation", (Edit("punctuation", "half-width", between.index(","), ",", "，"),))
    log, _ = pack(TEXT, [first, second])
    for row in log:
        row["stage"] += 4
    clean = between.replace(",", "，")
    assert stages_of(clean, log) == [Received(4, TEXT, first), Received(5, between, second)]


def test_notes_are_bounded() -> None:
    assert mark(ROW, received(), GLOSS, "right", "x" * 9_999).note == "x" * reviews.LONGEST_NOTE
    assert made().note == "why"
