import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Indel

from schemas.document import Cleaned, Decoded, Edit, Origin, Outcome, Reason, Rejection, Run, Stage
from tasks.publish import difference as module
from tasks.publish.difference import Chars, Difference, chars_changed, compare
from tasks.publish.snapshots import DamagedError, DatasetError, Snapshot
from tasks.publish.store import open_store
from tasks.steps.edits import apply

Put = Callable[..., Snapshot]
Rule = tuple[str, str, str, str]

GLOSS: Rule = ("glosses", "mangler", "(chǎn)", "")
CRUMB: Rule = ("boilerplate", "breadcrumb", "您的位置:首頁 > 國內\n", "")
SCRIPT: Rule = ("script", "t2s", "發", "发")
PAGE = "您的位置:首頁 > 國內\n標題：產(chǎn)業發展發達。\n第{}段。"


def document(number: int, *rules: Rule, text: str = PAGE, encoding: str = "utf-8", raw: str = "") -> Outcome:
    """A document to which rules were applied, each wherever it fits."""
    decoded = text.format(number)
    origin = Origin(f"file:///{number}.txt", "", hashlib.sha256((raw or decoded).encode()).hexdigest(), len(decoded))
    stages, now = list[Stage](), decoded
    for step, rule, before, after in rules:
        edits = tuple(Edit(step, rule, m.start(), before, after) for m in re.finditer(re.escape(before), now))
        stages += [Stage(step, edits)] if edits else []
        now = apply(now, edits)
    return Outcome(origin, Decoded(decoded, encoding, 1.0, "strict"), Cleaned(now, tuple(stages)))


def rejected(outcome: Outcome, reason: Reason = Reason.TOO_SHORT) -> Outcome:
    return replace(outcome, rejection=Rejection(reason, "so"))


def ids(*outcomes: Outcome) -> list[str]:
    return sorted(outcome.origin.doc_id for outcome in outcomes)


def between(out: Path, first: Snapshot, second: Snapshot) -> Difference:
    found = compare(open_store(out), first, second)
    grown = sum(chars.added - chars.removed for chars in found.chars.values())
    assert second.counts.chars_out - first.counts.chars_out == grown
    assert compare(open_store(out), first, second, texts=False).ids == found.ids
    return found


def edits_by_rule(found: Difference) -> dict[tuple[str, str], dict[str, tuple[int, int]]]:
    """Edits and documents, by rule and side."""
    return {
        rule: {side: (n, change.documents[side]) for side, n in change.edits.items()}
        for rule, change in found.rules.items()
    }


class TestDocuments:
    def test_a_snapshot_does_not_differ_from_itself(self, tmp_path: Path, run: Run, put: Put) -> None:
        only = put(tmp_path, run, [document(n, GLOSS) for n in range(5)])
        found = between(tmp_path, only, only)
        assert not any(found.ids.values())
        assert not found.rules

    def test_added_removed_changed_and_those_that_stay(
        self, tmp_path: Path, run: Run, later_run: Run, put: Put
    ) -> None:
        old = [document(n, GLOSS) for n in range(4)]
        first = put(tmp_path, run, old)
        changed = document(1, GLOSS, text="標題：產業昨日大為發展。第{}段。")
        added = document(9)
        second = put(tmp_path, later_run, [old[0], changed, old[3], added])
        found = between(tmp_path, first, second)
        assert found.ids["added"] == ids(added)
        assert found.ids["removed"] == ids(old[2])
        assert found.ids["changed"] == ids(changed)
        assert not found.ids["recleaned"] + found.ids["moved"] + found.ids["marked"]
        assert not found.rules  # what the new bytes did is no rule's doing
        assert found.chars["added"] == Chars(0, len(PAGE.format(9)))
        assert found.chars["removed"].removed == len(PAGE.format(2)) - len("(chǎn)")
        backwards = between(tmp_path, second, first)
        assert (backwards.ids["added"], backwards.ids["removed"]) == (found.ids["removed"], found.ids["added"])
        assert backwards.chars["changed"] == Chars(*reversed(found.chars["changed"]))

    def test_moved_by_reason(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        one, two, three, four = (document(n, GLOSS) for n in range(4))
        first = put(tmp_path, run, [one, rejected(two), rejected(three), four])
        now = [rejected(one, Reason.SPAM), two, rejected(three, Reason.FAILED), four]
        second = put(tmp_path, later_run, now)
        found = between(tmp_path, first, second)
        assert found.moves == {("clean", "spam"): 1, ("too-short", "clean"): 1, ("too-short", "failed"): 1}
        assert found.ids["moved"] == ids(one, two, three)
        n = len(PAGE.format(1)) - len("(chǎn)")
        assert found.chars["moved"] == Chars(n, n)

    def test_one_that_was_never_decoded(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        read = document(1, GLOSS)
        unread = Outcome(replace(read.origin, sha256=""), rejection=Rejection(Reason.UNREADABLE, "No permission."))
        first = put(tmp_path, run, [unread])
        found = between(tmp_path, first, put(tmp_path, later_run, [read]))
        assert found.moves == {("unreadable", "clean"): 1}
        assert found.ids["changed"] == ids(read)

    def test_marks(self, tmp_path: Path, run: Run, put: Put) -> None:
        pages = [document(n) for n in range(4)]
        one, two, three, _ = (page.origin.doc_id for page in pages)
        pair: dict[str, Any] = {
            two: {"duplicate_of": one, "duplicate_similarity": 0.9, "cluster_size": 2},
            one: {"cluster_size": 2},
        }
        first = put(tmp_path, run, pages, marks=pair)
        copies = {two: {**pair[two], "cluster_size": 3}, one: {"cluster_size": 3}}
        third = {three: {"duplicate_of": one, "duplicate_similarity": 0.8, "cluster_size": 3}}
        # A rewritten batch keeps the run of its documents.
        second = put(tmp_path, run, pages, marks=copies | third)
        found = between(tmp_path, first, second)
        assert found.ids["marked"] == sorted([one, two, three])
        assert not found.ids["recleaned"]

    def test_dropped_by_another_run_as_a_duplicate(self, tmp_path: Path, run: Run, put: Put) -> None:
        pages = [document(1), document(2)]
        first = put(tmp_path, run, pages)
        second = put(tmp_path, run, [pages[0], rejected(pages[1], Reason.DUPLICATE)])  # rows are the first run's
        found = between(tmp_path, first, second)
        assert found.moves == {("clean", "duplicate"): 1}
        assert found.chars["moved"] == Chars(len(PAGE.format(2)), 0)

    def test_batches_in_another_order_and_size(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        pages = [document(n, GLOSS) for n in range(12)]
        first = put(tmp_path, run, pages[:5], pages[5:7], pages[7:])
        again = [document(n, GLOSS, SCRIPT) for n in (11, 3, 7, 1, 5, 9, 0, 2, 4, 6, 8, 10)]
        second = put(tmp_path, later_run, again[:2], again[2:8], again[8:])
        found = between(tmp_path, first, second)
        assert found.ids["recleaned"] == ids(*pages)
        assert edits_by_rule(found) == {("script", "t2s"): {"new": (24, 12)}}

    def test_nothing_at_all(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run)
        second = put(tmp_path, later_run, [document(1)])
        assert between(tmp_path, first, second).ids["added"] == ids(document(1))
        assert between(tmp_path, second, first).ids["removed"] == ids(document(1))
        assert not any(between(tmp_path, first, first).ids.values())


class TestRules:
    def test_what_a_new_rule_did(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(n, GLOSS) for n in range(3)])
        second = put(tmp_path, later_run, [document(n, GLOSS, *[CRUMB] * (n > 0)) for n in range(3)])
        found = between(tmp_path, first, second)
        assert edits_by_rule(found) == {("boilerplate", "breadcrumb"): {"new": (2, 2)}}
        assert found.chars["recleaned"] == Chars(2 * len(CRUMB[2]), 0)
        example = found.rules["boilerplate", "breadcrumb"].examples[0]
        assert (example.side, example.before, example.after) == ("new", CRUMB[2], "")
        assert example.right.startswith("標題：產業發展")
        assert example.doc_id in ids(document(1), document(2))

    def test_what_an_old_rule_no_longer_does(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(1, GLOSS, CRUMB)])
        second = put(tmp_path, later_run, [document(1, CRUMB)])
        assert edits_by_rule(between(tmp_path, first, second)) == {("glosses", "mangler"): {"gone": (1, 1)}}

    def test_a_rule_that_took_over_from_another(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        """The text is the same: the log is not."""
        first = put(tmp_path, run, [document(1, GLOSS)])
        second = put(tmp_path, later_run, [document(1, ("glosses", "pinyin", *GLOSS[2:]))])
        found = between(tmp_path, first, second)
        assert not found.ids["recleaned"]
        rules = {("glosses", "mangler"): {"gone": (1, 1)}, ("glosses", "pinyin"): {"new": (1, 1)}}
        assert edits_by_rule(found) == rules

    def test_order_and_place_of_edits_do_not_count(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(1, GLOSS, SCRIPT)])
        second = put(tmp_path, later_run, [document(1, SCRIPT, GLOSS)])
        assert between(tmp_path, first, second).rules == {}

    def test_neighbours_that_became_one_edit_are_the_same(
        self, tmp_path: Path, run: Run, later_run: Run, put: Put
    ) -> None:
        """Behind a gloss that goes, two characters stand side by side, and are converted as one."""
        text = "山川發(chǎn)業" * 6 + "{}"
        rules = [("script", "t2s", "發業", "发业"), ("script", "t2s", "發", "发"), ("script", "t2s", "業", "业")]
        first = put(tmp_path, run, [document(1, *rules, text=text)])
        second = put(tmp_path, later_run, [document(1, GLOSS, *rules, text=text)])
        assert edits_by_rule(between(tmp_path, first, second)) == {("glosses", "mangler"): {"new": (6, 1)}}

    def test_other_bytes_are_not_the_doing_of_rules(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(1, GLOSS), document(2, GLOSS)])
        second = put(tmp_path, later_run, [document(1, CRUMB, raw="other"), document(2, GLOSS)])
        found = between(tmp_path, first, second)
        assert (found.ids["changed"], found.rules) == (ids(document(1)), {})

    def test_decoded_in_another_way(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(1, raw="same"), document(2)])
        second = put(tmp_path, later_run, [document(1, raw="same", text="標題\ufffd"), document(2)])
        found = between(tmp_path, first, second)
        assert (found.redecoded, found.ids["recleaned"], found.rules) == (1, ids(document(1)), {})

    def test_one_example_a_document_and_few_a_rule(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(n) for n in range(9)])
        long = ("spam", "x", "標題" + "長" * 5000, "")
        pages = [document(n, SCRIPT) for n in range(9)]
        second = put(tmp_path, later_run, pages)
        examples = between(tmp_path, first, second).rules["script", "t2s"].examples
        assert len({example.doc_id for example in examples}) == len(examples) == module.EXAMPLES
        third = put(tmp_path, run, [document(0, text=long[2])])
        fourth = put(tmp_path, later_run, [document(0, long, text=long[2])])
        (example,) = between(tmp_path, third, fourth).rules["spam", "x"].examples
        assert example.before == f"標題{'長' * 18} … {'長' * 20} (5,002 characters)"
        assert len(example.before) <= module.LONGEST

    def test_rejected_documents_count_as_well(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [rejected(document(1))])
        second = put(tmp_path, later_run, [rejected(document(1, CRUMB))])
        found = between(tmp_path, first, second)
        assert edits_by_rule(found) == {("boilerplate", "breadcrumb"): {"new": (1, 1)}}
        assert found.chars["recleaned"] == Chars()  # of `clean`


class TestWhatIsRead:
    def test_shared_batches_are_not_opened(
        self, tmp_path: Path, run: Run, later_run: Run, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = put(tmp_path, run, [document(n) for n in range(3)], [document(n) for n in range(3, 6)])
        second = put(tmp_path, later_run, first.batches[0], [document(n, CRUMB) for n in range(3, 6)])
        opened = set[str]()
        read = pq.read_table

        def note(path: Path, **how: Any) -> Any:
            opened.add(path.name)
            return read(path, **how)

        monkeypatch.setattr(pq, "read_table", note)
        found = compare(open_store(tmp_path), first, second)
        assert len(found.ids["recleaned"]) == 3
        assert opened
        assert not {part.sha256 for part in first.batches[0].parts.values()} & opened

    def test_carried_over_documents_are_not_read(
        self, tmp_path: Path, run: Run, later_run: Run, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One left their batch, which was written anew without it: rows of the first run."""
        first = put(tmp_path, run, [document(n) for n in range(5)])
        second = put(tmp_path, run, [document(n) for n in range(4)])
        monkeypatch.setattr(module, "_read", lambda *_: pytest.fail("texts were read"))
        assert compare(open_store(tmp_path), first, second).ids["removed"] == ids(document(4))

    def test_progress_reaches_its_end(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(n) for n in range(5)])
        second = put(tmp_path, later_run, [document(n, *[CRUMB] * (n < 2)) for n in range(5)])
        told = list[tuple[int, int]]()
        compare(open_store(tmp_path), first, second, lambda *figures: told.append(figures))
        assert told == [(n, 5) for n in range(1, 6)]

    def test_a_missing_object_is_told(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(1)])
        second = put(tmp_path, later_run, [document(1, CRUMB)])
        (tmp_path / "_store" / "objects" / first.batches[0].parts["edits"].sha256).unlink()
        with pytest.raises(DamagedError, match=r"1 and 2 .* can't be compared: .*qingyuan verify"):
            compare(open_store(tmp_path), first, second)

    def test_a_log_of_another_text_is_told(self, tmp_path: Path, run: Run, later_run: Run, put: Put) -> None:
        first = put(tmp_path, run, [document(1, SCRIPT)])
        second = put(tmp_path, later_run, [document(1, CRUMB)])
        (batch,) = second.batches
        wrong = replace(batch, parts={**batch.parts, "edits": first.batches[0].parts["edits"]})
        with pytest.raises(DamagedError, match=r"does not belong|cannot be undone"):
            compare(open_store(tmp_path), put(tmp_path, run, [document(1)]), replace(second, batches=(wrong,)))

    def test_a_version_without_batches(self, tmp_path: Path, run: Run, put: Put) -> None:
        only = put(tmp_path, run, [document(1)])
        old = replace(only, batches=(), schema_version="2", singles=only.tables)
        with pytest.raises(DatasetError, match="schema version 2"):
            compare(open_store(tmp_path), old, only)


TEXT = st.text("山川ab。\n！", max_size=60)


class TestCharacters:
    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("", "", Chars(0, 0)),
            ("山川。", "", Chars(3, 0)),
            ("甲。乙。丙。", "乙。丙。甲。", Chars(0, 0)),  # wherever they stand
            ("甲乙丙。", "甲丙。", Chars(1, 0)),
            ("甲乙丙。", "甲丁丙。", Chars(1, 1)),
            ("頁頭\n正文。", "正文。", Chars(3, 0)),
            ("正文。", "正文。正文。", Chars(0, 3)),
        ],
    )
    def test_what_counts(self, first: str, second: str, expected: Chars) -> None:
        assert chars_changed(first, second) == expected

    @given(TEXT, TEXT)
    def test_figures_fit_the_lengths_and_the_distance(self, first: str, second: str) -> None:
        removed, added = chars_changed(first, second)
        assert added - removed == len(second) - len(first)
        assert chars_changed(second, first) == (added, removed)
        # Sentences that only changed places cost nothing: no more than by the plain distance, unless cut apart there.
        if not set("。\n！") & {*first, *second}:
            assert removed + added == Indel.distance(first, second)

    @pytest.mark.parametrize("filler", ["山", "山川，", "。", "\n", "山。"])
    def test_hostile_lengths_take_linear_time(self, filler: str) -> None:
        text = filler * (1_000_000 // len(filler))
        started = time.process_time()
        figures = chars_changed(text, text[:500_000] + "川" + text[500_000:])
        assert figures.added - figures.removed == 1
        assert figures.added < 10
        chars_changed(text, text[::-1] + "x")
        assert time.process_time() - started < 30

    def test_what_is_large_and_hardly_differs(self) -> None:
        text = "".join(map(chr, range(0x4E00, 0x9000)))
        assert chars_changed(text, f"{text[:10]}x{text[11:9000]}yy{text[9000:]}") == (1, 3)

    def test_what_is_too_large_and_too_different_counts_in_full_but_for_its_ends(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_CELLS", 20)
        assert chars_changed("甲乙丙丁戊己庚辛", "甲乙丙x戊己庚辛") == (1, 1)
        assert chars_changed("甲一丙二戊三庚四己五乙", "甲六丙七戊八庚九己十乙") == (9, 9)


RULES = st.lists(st.sampled_from([GLOSS, CRUMB, SCRIPT, ("repeats", "title", "標題：", "")]), max_size=4, unique=True)
State = dict[int, tuple[list[Rule], bool, str]]
STATES = st.dictionaries(
    st.integers(0, 7), st.tuples(RULES, st.booleans(), st.sampled_from([PAGE, "產(chǎn)業。{}"])), max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=STATES, after=STATES, size=st.integers(1, 4))
def test_any_two_states(  # noqa: PLR0913
    *,
    before: State,
    after: State,
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
    later_run: Run,
    put: Put,
) -> None:
    """Held against the outcomes, counted by hand."""
    out = tmp_path_factory.mktemp("states")
    old, new = made(before), made(after)
    first = put(out, run, *(list(old.values())[i : i + size] for i in range(0, len(old), size)))
    second = put(out, later_run, list(new.values()))
    found = between(out, first, second)
    both = [(old[n], new[n]) for n in old.keys() & new.keys()]
    assert found.ids["added"] == ids(*(new[n] for n in new.keys() - old.keys()))
    assert found.ids["removed"] == ids(*(old[n] for n in old.keys() - new.keys()))
    assert found.ids["changed"] == ids(*(b for a, b in both if a.origin != b.origin))
    assert found.ids["moved"] == ids(*(b for a, b in both if a.rejection != b.rejection))
    same = [(a, b) for a, b in both if a.origin == b.origin]
    assert found.ids["recleaned"] == ids(*(b for a, b in same if text_of(a) != text_of(b)))
    expected: Counter[tuple[str, str, str]] = Counter()
    for a, b in same:
        expected.update((*edit, "gone") for edit in (counted(a) - counted(b)).elements())
        expected.update((*edit, "new") for edit in (counted(b) - counted(a)).elements())
    sides = ((rule, side, n) for rule, change in found.rules.items() for side, n in change.edits.items())
    assert {(*rule, side): n for rule, side, n in sides} == expected


def made(state: State) -> dict[int, Outcome]:
    outcomes = {n: document(n, *rules, text=text) for n, (rules, _, text) in state.items()}
    return {n: rejected(outcome) if state[n][1] else outcome for n, outcome in outcomes.items()}


def text_of(outcome: Outcome) -> str:
    assert outcome.cleaned
    return outcome.cleaned.text


def counted(outcome: Outcome) -> Counter[tuple[str, str]]:
    """Edits by step and rule: each rule here has one `before`."""
    assert outcome.cleaned
    return Counter((edit.step, edit.rule) for stage in outcome.cleaned.stages for edit in stage.edits)
