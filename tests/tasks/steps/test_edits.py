import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Edit, Edits, Stage
from tasks.steps.edits import EditError, apply, revert

CHARS = "ab產产\ud800😀"


@st.composite
def edited(draw: st.DrawFn, *, is_even: bool) -> tuple[str, tuple[Edit, ...]]:
    """A text and edits that fit it, all of them of the same length before and after or not."""
    text = draw(st.text(CHARS, min_size=1, max_size=30))
    edits: list[Edit] = []
    end = 0
    for start in draw(st.lists(st.integers(0, len(text)), max_size=10, unique=True).map(sorted)):
        before = text[start : start + draw(st.integers(0, 3))]
        n = (len(before), len(before)) if is_even else (0, 3)
        after = draw(st.text(CHARS, min_size=n[0], max_size=n[1]))
        if start >= end and before != after:
            edits.append(
                Edit("s", draw(st.sampled_from("rq")), start, before, after, draw(st.sampled_from([1.0, 0.5])))
            )
            end = start + len(before)
    return text, tuple(edits)


CASES = st.one_of(edited(is_even=True), edited(is_even=False)).filter(lambda case: bool(case[1]))


@given(CASES)
def test_columns_do_what_the_edits_do_one_by_one(case: tuple[str, tuple[Edit, ...]]) -> None:
    text, edits = case
    columns = Edits.of(edits)
    after = apply(text, edits)
    assert apply(text, columns) == after
    assert revert(after, columns) == text
    one, other = Stage("s", edits), Stage("s", columns)
    assert (one.n_removed, one.n_touched, one.confidence) == (other.n_removed, other.n_touched, other.confidence)


@given(CASES, CASES)
def test_columns_read_like_a_tuple(case: tuple[str, tuple[Edit, ...]], another: tuple[str, tuple[Edit, ...]]) -> None:
    edits, others = case[1], another[1]
    columns = Edits.of(edits)
    assert (tuple(columns), len(columns), repr(columns)) == (edits, len(edits), repr(edits))
    assert [columns[i] for i in range(-len(edits), len(edits))] == [*edits, *edits]
    assert (columns[1:], columns[::-2]) == (edits[1:], edits[::-2])
    assert columns == edits == pickle.loads(pickle.dumps(columns))
    assert hash(columns) == hash(edits)
    assert {columns == others, others == columns, columns == Edits.of(others)} == {edits == others}
    with pytest.raises(IndexError):
        columns[len(edits)]


def test_columns_that_number_their_rules_otherwise_are_the_same() -> None:
    one, two = (Edit("s", rule, at, "a", "b") for at, rule in enumerate("rq"))
    columns = Edits.of([one, two])
    sides = columns.before, columns.before_at, columns.after, columns.after_at
    assert Edits("s", columns.kinds[::-1], columns.kind[::-1], columns.starts, *sides) == columns
    assert columns != Edits.of([one, two._replace(confidence=0.5)])


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("abab", [Edit("s", "r", 0, "ab", "x"), Edit("s", "r", 1, "b", "y")]),
        ("abab", [Edit("s", "r", 2, "a", "x"), Edit("s", "r", 0, "a", "y")]),
        ("abab", [Edit("s", "r", 0, "a", "x"), Edit("s", "r", 2, "b", "y")]),
        ("abab", [Edit("s", "r", 0, "a", "b"), Edit("s", "r", 1, "b", "b")]),
        ("abab", [Edit("s", "r", 0, "a", ""), Edit("s", "r", 1, "", "")]),
        ("abab", [Edit("s", "r", 3, "ba", "x")]),
        ("abab", [Edit("s", "r", 5, "", "x")]),
        ("abab", [Edit("s", "r", -1, "b", "x")]),
    ],
    ids=["overlap", "order", "other", "same", "nothing", "beyond", "behind", "before"],
)
def test_columns_are_refused_with_the_same_words(text: str, edits: list[Edit]) -> None:
    with pytest.raises(EditError) as one_by_one:
        apply(text, edits)
    with pytest.raises(EditError) as at_once:
        apply(text, Edits.of(edits))
    assert str(at_once.value) == str(one_by_one.value)


def test_columns_of_another_text_are_not_taken_back() -> None:
    with pytest.raises(EditError, match="cannot be undone"):
        revert("acd", Edits.of([Edit("s", "r", 0, "a", "b"), Edit("s", "r", 1, "c", "cc")]))
