import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from schemas.document import Cleaned, Decoded, Edit, Origin, Outcome, Reason, Rejection, Run, Stage
from tasks import report
from tasks.publish.counts import Tally
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import open_store
from tasks.publish.summary import Summary
from tasks.report import figures
from tasks.report.page import STEPS, address, environment, named, percent, rows_told, seen, spelled
from tasks.report.pairs import Made, Piece
from tasks.report.verdict import judge_run
from tasks.steps import STEPS as ALL_STEPS
from tasks.steps.edits import apply

Put = Callable[..., Snapshot]
MakeOutcome = Callable[..., Outcome]

HOSTILE = (
    '</td></table></article><script>alert(1)</script><img src="http://evil.example/x" onerror=alert(2)>'
    "\u202e\x00\x1b[31m{{ 7*7 }}"
)


def outcome(name: str, text: str, *edits: Edit, rejection: Rejection | None = None, **facts: str) -> Outcome:
    stages = tuple(Stage(edit.step, (edit,)) for edit in edits)
    clean = text
    for stage in stages:
        clean = apply(clean, stage.edits)
    origin = Origin(f"file:///crawl/{name}", "", "ab", len(text.encode()))
    return Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), Cleaned(clean, stages, facts), rejection)


def written(out: Path, run: Run, snapshot: Snapshot) -> tuple[report.Made, str]:
    tally = Tally(added=snapshot.counts.documents)
    summary = Summary(str(out), snapshot.number, snapshot.counts, tally, 1.0)
    made = report.write_report(open_store(out), snapshot, run, summary)
    return made, Path(made.address).read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """Elements of a page, with their attributes; text of those that are not closed or opened properly is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_steps_are_those_there_are_in_their_order() -> None:
    assert list(STEPS) == list(ALL_STEPS)


def test_figures_are_those_of_the_documents(tmp_path: Path, run: Run, put: Put, outcomes: list[Outcome]) -> None:
    snapshot = put(tmp_path, run, outcomes)
    store = open_store(tmp_path)
    kept = [o for o in outcomes if not o.rejection]
    with figures.opened(store, snapshot, run.run_id) as db:
        total = figures.totals(db)
        assert (total["documents"], total["clean"]) == (30, len(kept))
        assert total["failures"] == sum(
            o.rejection is not None and o.rejection.reason == "unreadable" for o in outcomes
        )
        assert total["damaged"] == sum(bool(o.cleaned and o.cleaned.damage) for o in kept)
        assert total["edits"] == sum(len(stage.edits) for o in outcomes if o.cleaned for stage in o.cleaned.stages)
        assert total["edits"] == sum(row["edits"] for row in figures.steps(db))
        assert total["untouched"] == sum(not o.cleaned or not o.cleaned.stages for o in kept)
        assert total["chars_stripped"] == 0
        assert sum(row["documents"] for row in figures.flow(db)) == 30
        by_rule = {(row["step"], row["rule"]): row for row in figures.rules(db)}
        glossed = sum(bool(o.cleaned and o.cleaned.stages and o.cleaned.stages[0].step == "glosses") for o in outcomes)
        assert by_rule["glosses", "mangler"]["edits"] == glossed
        assert by_rule["glosses", "mangler"]["documents"] == glossed
        assert {row["reason"]: row["documents"] for row in figures.reasons(db)} == snapshot.counts.rejected
        assert sum(row["observed"] for row in figures.lengths(db)) == len(kept)
        looks = figures.worth_a_look(db, 3)
        found = figures.read_documents(db, looks)
        assert found.keys() == looks.keys()
    assert {"damage left", "rejected", "at random"} <= {why for whys in looks.values() for why in whys}


def test_a_report_is_about_what_its_run_has_cleaned(
    tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome
) -> None:
    first = put(tmp_path, run, [make_kept(n) for n in range(5)])
    second = put(tmp_path, later_run, first.batches[0], [make_kept(7)])
    store = open_store(tmp_path)
    with figures.opened(store, second, later_run.run_id) as db:
        assert figures.totals(db)["documents"] == 1
        assert [row["documents"] for row in figures.rules(db)] == [1] * len(figures.rules(db))
    with figures.opened(store, second) as db:
        assert figures.totals(db)["documents"] == 6


def test_of_a_part_that_was_written_anew_only_the_documents_of_the_run_count(
    tmp_path: Path, run: Run, put: Put, make_kept: MakeOutcome
) -> None:
    """As where a duplicate is marked in a batch that is carried over."""
    snapshot = put(tmp_path, run, [make_kept(n) for n in range(3)])
    with figures.opened(open_store(tmp_path), snapshot, "another") as db:
        assert figures.totals(db)["documents"] == 0
        assert figures.rules(db) == []


def test_a_run_that_changed_nothing_has_a_short_report(
    tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome
) -> None:
    first = put(tmp_path, run, [make_kept(n) for n in range(5)])
    written(tmp_path, run, first)
    second = put(tmp_path, later_run, first.batches[0])
    made, page = written(tmp_path, later_run, second)
    Parsed(page)
    assert made.headline == "Nothing to do"
    assert made.picture == b""
    assert "No document had come or changed: the dataset has 5 documents, 5 of them clean" in page
    assert f'href="{run.run_id}.html"' in page
    assert 'class="verdict note"' in page  # that nothing was to do says nothing of what is there
    assert len(list((tmp_path / "reports").iterdir())) == 2


def test_a_report_stays_small_whatever_the_documents(tmp_path: Path, run: Run, put: Put) -> None:
    """Of hidden characters, that take 24 bytes each, of changes in each second character, of long lines and titles."""
    n = 6000
    made = []
    for kind in range(110):
        edit = Edit("invisible", f"rule-{kind}", 0, "\u200b" * 400, "", 0.1)
        converted = tuple(Edit("script", "t2s", i, "產", "产") for i in range(0, n, 2))
        document = outcome(f"{'長' * 200}{kind}", "\u200b" * 400 + "產\u202e" * (n // 2), edit, title="標" * 5000)
        assert document.cleaned
        stages = (*document.cleaned.stages, Stage("script", converted))
        text = apply(document.cleaned.text, converted)
        made.append(replace(document, cleaned=replace(document.cleaned, stages=stages, text=text)))
    snapshot = put(tmp_path, run, made)
    started = time.process_time()
    _, page = written(tmp_path, run, snapshot)
    assert time.process_time() - started < 30
    assert 500_000 < len(page.encode()) < report.LARGEST
    assert "changes of this document are not shown" in page
    assert "rarer rules are left out" in page


def test_hostile_text_is_text(tmp_path: Path, run: Run, put: Put) -> None:
    edit = Edit("boilerplate", "label", 0, HOSTILE, "", 0.5)
    rejection = Rejection(Reason.FAILED, f"Traceback\n{HOSTILE}")
    documents = [
        outcome("a", HOSTILE + HOSTILE, edit, title=HOSTILE, source_url=f"http://{HOSTILE}/"),
        outcome(f"<{HOSTILE}>", HOSTILE, rejection=rejection),
    ]
    _, page = written(tmp_path, run, put(tmp_path, run, documents))
    parsed = Parsed(page)
    assert len(parsed.all("script")) == 1
    assert not {"img", "iframe", "link", "base", "object"} & {tag for tag, _ in parsed.elements}
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert all((a["href"] or "").startswith("#") for a in parsed.all("a"))
    assert "\u202e" not in page
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "{{ 7*7 }}" in page


def test_the_page_may_do_nothing_but_run_its_own_script(
    tmp_path: Path, run: Run, put: Put, make_kept: MakeOutcome
) -> None:
    _, page = written(tmp_path, run, put(tmp_path, run, [make_kept(1)]))
    (rules,) = [meta["content"] or "" for meta in Parsed(page).all("meta") if "http-equiv" in meta]
    assert rules.startswith("default-src 'none'; ")
    assert "script-src 'sha256-" in rules
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_names_in_a_page_are_there_once(tmp_path: Path, run: Run, put: Put, outcomes: list[Outcome]) -> None:
    _, page = written(tmp_path, run, put(tmp_path, run, outcomes))
    parsed = Parsed(page)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in parsed.all("a")} <= set(ids)
    assert {a["for"] for a in parsed.all("label")} <= set(ids)


def test_what_the_new_rules_changed(tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome) -> None:
    def untouched(n: int) -> Outcome:
        made = make_kept(n)
        assert made.decoded
        return replace(made, cleaned=Cleaned(made.decoded.text, ()))

    put(tmp_path, run, [untouched(n) for n in range(5)])
    snapshot = put(tmp_path, later_run, [make_kept(n) for n in range(5)])
    _, page = written(tmp_path, later_run, snapshot)
    section = page[page.index('id="before"') :].split("</section>")[0]
    assert re.search(r"the same, cleaned otherwise</th><td[^>]*>5<", section)
    assert "mangler" in section
    assert "(chǎn)" in section


def test_a_share_is_not_nothing_and_not_all_unless_it_is() -> None:
    assert [percent(share) for share in (0, 0.00001, 0.004, 0.12, 0.9999, 1)] == [
        "0\u202f%", "<\u202f0.1\u202f%", "0.4\u202f%", "12\u202f%", "99.9\u202f%", "100\u202f%",
    ]  # fmt: skip


def test_what_has_no_shape_is_named() -> None:
    assert seen("a\u200b\ufe0f<b>\ue123") == (
        'a<i class="u">U+200B</i><i class="u">U+FE0F</i>&lt;b&gt;<i class="u">U+E123</i>'
    )
    assert seen("，“”中文\u3000 é€😀") == "，“”中文\u3000 é€😀"
    assert seen("  ", changed=True) == "␣␣"


def test_what_has_no_shape_is_spelled_where_there_is_no_page() -> None:
    assert spelled("a\u200b\u202e中\n") == "a[U+200B][U+202E]中⏎"
    assert spelled("\u3000 ") == "\u25a1␣"


def test_what_stands_alone_is_one_line() -> None:
    assert seen("a\n\nb\n", changed=True, alone=True) == "a⏎⏎b⏎"
    assert seen("a\n\nb\n", changed=True) == "a⏎\n⏎\nb⏎\n"


def test_damage_that_is_left_breaks_no_line() -> None:
    shown, _ = rows_told(
        [Piece("市长", "市长"), Piece("锟斤拷", "锟斤拷", (), "lost-characters"), Piece("说", "说")], 100
    )
    made = environment().get_template("macros.html.j2").module.pair(shown, "")  # type: ignore[attr-defined]
    assert re.findall("市长.*说", re.sub("<[^>]*>", "", made)) == ["市长锟斤拷说市长锟斤拷说"]


def test_every_document_has_a_name() -> None:
    assert named({"source_uri": "file:///a/%E6%96%B0.txt", "record": "line=3"}) == "新.txt line=3"
    assert named({"source_uri": "https://example.cn/news/", "record": ""}) == "https://example.cn/news/"


def test_addresses_read_as_chinese() -> None:
    assert address("file:///%E6%96%B0%E9%97%BB/a%2Fb%20c") == "file:///新闻/a%2Fb%20c"
    assert address("file:///%E6%96/%FF") == "file:///%E6%96/%FF"


def test_a_long_document_is_cut_to_what_stands_around_its_changes() -> None:
    made = (Made(0, 0, Edit("glosses", "mangler", 0, "(zé)", "")),)
    changed = Piece("(zé)", "", made)
    same = Piece("甲" * 5000, "甲" * 5000)
    rows, unseen = rows_told([same, changed, same, changed, same], 2000)
    assert unseen == 0
    text = "".join(it.observed for row in rows if isinstance(row, list) for it in row)
    assert text.count("(zé)") == 2
    assert text.count("4,920 characters") == 3
    assert len(text) < 600


@pytest.mark.parametrize(
    ("changes", "tone", "doubts"),
    [
        ({}, "good", []),
        ({"damaged": 3}, "look", ["damage left"]),
        ({"damaged": 50, "rejected": 10, "rejected_telling": 10}, "bad", ["damage left", "rejected"]),
        ({"failures": 1, "rejected": 1, "rejected_telling": 1}, "look", ["failures"]),
        ({"rejected": 30, "rejected_telling": 0}, "good", []),  # empty ones and duplicates
        ({"unsure": 60, "guesses": 60}, "look", ["guesses"]),  # many documents, few of their edits
        ({"unsure": 60, "guesses": 600}, "bad", ["guesses"]),
        ({"chars_stripped": 50_000}, "bad", ["text removed"]),
        ({"clean": 0, "rejected": 100, "rejected_telling": 100}, "bad", ["rejected"]),
    ],
)
def test_verdict(changes: dict[str, int], tone: str, doubts: list[str]) -> None:
    total: dict[str, Any] = {
        "documents": 100, "clean": 100, "rejected": 0, "failures": 0, "rejected_telling": 0, "edited": 50, "damaged": 0,
        "duplicates": 0,
        "unsure": 0, "guesses": 0, "chars_in": 100_000, "damage_chars": 0, "edits": 10_000, "chars_stripped": 1000,
    }  # fmt: skip
    verdict = judge_run(total | changes)
    assert verdict.tone == tone
    assert [tile.what for tile in verdict.doubts] == doubts


def test_duplicates_that_were_kept_are_told(tmp_path: Path, run: Run, put: Put, make_kept: MakeOutcome) -> None:
    made = [make_kept(n) for n in range(3)]
    mark = {"duplicate_of": made[0].origin.doc_id, "cluster_size": 2, "duplicate_similarity": 1.0}
    snapshot = put(tmp_path, run, made, marks={made[1].origin.doc_id: mark})
    assert "3 documents kept, 1 of them marked as duplicates" in written(tmp_path, run, snapshot)[1]


@pytest.mark.parametrize(
    ("modules", "not_yet"),
    [
        ("flows.clean, flows.serve, tasks.shards.clean_shard", "duckdb matplotlib"),
        ("flows.cli, tasks", "duckdb matplotlib jinja2"),
    ],
)
def test_what_a_report_takes_is_loaded_when_it_is_made(modules: str, not_yet: str) -> None:
    """Worker processes, `explain` and a run until its end do without."""
    code = f"import sys, {modules}; print(*({{*{not_yet.split()!r}}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
