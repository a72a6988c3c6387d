"""Marks made into cases: these are run here as tests/test_cases.py runs them."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import main
from schemas.config import CleanConfig
from schemas.document import Context, Decoded, Edit, Origin, Outcome, Run, Stage
from tasks.cases import Case, CasesError, case_of, to_toml, windows, write_cases
from tasks.clean import clean
from tasks.publish.snapshots import DatasetError, Snapshot
from tasks.steps import STEPS
from tasks.steps.edits import apply
from tasks.steps.lines import lines_of, removal
from tasks.view import reviews

Put = Callable[..., Snapshot]

BODY = (
    "{0}月{0}日,要積極挖掘工業(yè)旅游，推動產(chǎn)業(yè)融合發(fā)展。"
    "要著力引進(jìn){0}家大電商、扶持小電商,,培育產(chǎn)業(yè)發(fā)展新動能。\n\n"
)
PAGE = (
    "您的位置:首頁 > 國內(nèi) >\n\n通訊!洪澤區(qū)召開會議\n\n2023-06-24 19:04:19 來源:搜狐號-信息新報\n\n"
    + "".join(map(BODY.format, range(1, 13)))
    + "關(guān)鍵詞:\n\n責(zé)任編輯:王小明\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cases").mkdir()
    return tmp_path / "cases"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/learned-stays.txt").write_text("# Lines that stay.\n# Sorted.\namen\n完\n", encoding="utf-8")
    return tmp_path / "rules"


def document(text: str, stages: tuple[Stage, ...] = ()) -> Outcome:
    cleaned = clean(text, CleanConfig())
    for stage in stages:
        cleaned = type(cleaned)(apply(cleaned.text, stage.edits), (*cleaned.stages, stage))
    origin = Origin("file:///pages/a page.txt", "", "0" * 64, 1)
    return Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), cleaned)


class Dataset:
    """A dataset of one document, whose edits are marked."""

    def __init__(self, out: Path, run: Run, put: Put, outcome: Outcome) -> None:
        put(out, run, [outcome])
        self.out, self.outcome = out, outcome
        assert outcome.cleaned
        self.stages = outcome.cleaned.stages
        self.run = run

    def mark(self, step: str, rule: str, verdict: str, nth: int = 0, note: str = "") -> reviews.Review:
        text = self.outcome.text_in or ""
        found = []
        for number, stage in enumerate(self.stages):
            found += [
                (reviews.Received(number, text, stage), e) for e in stage.edits if (e.step, e.rule) == (step, rule)
            ]
            text = apply(text, stage.edits)
        row = {
            "doc_id": self.outcome.origin.doc_id,
            "run_id": self.run.run_id,
            "rules_digest": "r",
            "decoded_sha256": "s",
        }
        review = reviews.mark(row, *found[nth], verdict, note)  # type: ignore[arg-type]
        reviews.add(self.out / "reviews.jsonl", review)
        return review


@pytest.fixture
def dataset(tmp_path: Path, run: Run, put: Put) -> Dataset:
    return Dataset(tmp_path / "out", run, put, document(PAGE))


def cases_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.stem, case)
        for path in sorted(folder.glob("*.toml"))
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    ]


def outcome_of(step: str, case: dict[str, Any]) -> str:
    context = Context(CleanConfig(script=case.get("script", "hans")))
    return apply(case["before"], [f for f in STEPS[step](case["before"], context) if isinstance(f, Edit)])


def passes(step: str, case: dict[str, Any]) -> bool:
    expected: str = case.get("after", case["before"])
    return outcome_of(step, case) == expected


MARKED = [
    ("boilerplate", "breadcrumb", 0),
    ("glosses", "mangler", 3),
    ("glosses", "mangler", 40),
    ("punctuation", "half-width", 2),
    ("script", "t2s", 5),
]


@pytest.mark.parametrize(("step", "rule", "nth"), MARKED)
def test_a_case_of_what_is_wrong_fails_and_of_what_is_right_passes(  # noqa: PLR0913, PLR0917 (fixtures)
    step: str, rule: str, nth: int, dataset: Dataset, folder: Path, rules: Path
) -> None:
    wrong = dataset.mark(step, rule, "wrong", nth, "a name")
    report = write_cases(dataset.out, folder, rules)
    assert [path.name for path, _ in report.written] == [f"{step}.toml"]
    ((found, case),) = cases_of(folder)
    assert found == step
    assert case["stance"] in {"wild", "negative"}
    assert ("after" in case) == (case["stance"] == "wild")
    assert wrong.before in case["before"]
    assert not passes(step, case)
    # What it expects is what the step does but for this edit.
    made = [f for f in STEPS[step](case["before"], Context(CleanConfig())) if isinstance(f, Edit)]
    kept = [e for e in made if apply(case["before"], [m for m in made if m != e]) == case.get("after", case["before"])]
    assert any((e.rule, e.before, e.after) == (rule, wrong.before, wrong.after) for e in kept)
    assert "a name" in case["comment"]
    dataset.mark(step, rule, "right", nth)
    other = folder.parent / "other"
    other.mkdir()
    write_cases(dataset.out, other, rules)
    ((_, case),) = cases_of(other)
    assert passes(step, case)
    assert case["after"] != case["before"]


def test_the_context_is_a_small_part_of_the_document(dataset: Dataset, folder: Path, rules: Path) -> None:
    dataset.mark("punctuation", "half-width", "wrong", 4)
    dataset.mark("boilerplate", "breadcrumb", "wrong")
    write_cases(dataset.out, folder, rules)
    sizes = [len(case["before"]) for _, case in cases_of(folder)]
    assert len(sizes) == 2
    assert max(sizes) < len(PAGE) / 2


def test_twice_adds_nothing(dataset: Dataset, folder: Path, rules: Path) -> None:
    (folder / "glosses.toml").write_text(
        '# Mine.\n\n[[case]]\nlabel = "x"\nstance = "negative"\nbefore = "甲"\n', "utf-8"
    )
    for step, rule, nth in MARKED:
        dataset.mark(step, rule, "wrong", nth)
    first = write_cases(dataset.out, folder, rules)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(first.written) + first.n_known == len(MARKED)
    assert contents["glosses.toml"].startswith(b"# Mine.\n\n[[case]]\nlabel")
    second = write_cases(dataset.out, folder, rules)
    assert (second.written, second.n_known, second.left) == ([], len(MARKED), [])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


def test_no_case_expects_an_edit_that_is_marked_as_wrong(dataset: Dataset, folder: Path, rules: Path) -> None:
    for nth in (10, 11):
        dataset.mark("glosses", "mangler", "wrong", nth)
    write_cases(dataset.out, folder, rules)
    found = cases_of(folder)
    assert found
    for _, case in found:
        assert case["before"].count("(") > 4
        assert case["after"].count("(") == 2


def test_a_contradiction_is_told_and_not_written(dataset: Dataset, folder: Path, rules: Path) -> None:
    dataset.mark("boilerplate", "breadcrumb", "wrong")
    write_cases(dataset.out, folder, rules)
    before = (folder / "boilerplate.toml").read_bytes()
    dataset.mark("boilerplate", "breadcrumb", "right")
    report = write_cases(dataset.out, folder, rules)
    assert "expects something else" in report.left[0][1]
    assert (folder / "boilerplate.toml").read_bytes() == before


def test_what_was_taken_back_makes_no_case(dataset: Dataset, folder: Path, rules: Path) -> None:
    dataset.mark("boilerplate", "breadcrumb", "wrong")
    dataset.mark("boilerplate", "breadcrumb", "withdrawn")
    assert write_cases(dataset.out, folder, rules).written == []
    assert cases_of(folder) == []


def test_edits_are_identified_in_what_their_stage_received(
    tmp_path: Path, run: Run, put: Put, folder: Path, rules: Path
) -> None:
    """The gloss stands elsewhere in the decoded text: lines above it went, and steps came again."""
    dataset = Dataset(tmp_path / "out", run, put, document("\u200b" * 30 + PAGE))
    stages = [stage.step for stage in dataset.stages]
    assert stages.index("invisible") < stages.index("glosses")
    mark = dataset.mark("script", "t2s", "wrong", 12)
    assert not (dataset.outcome.text_in or "").startswith(mark.before, mark.start)
    report = write_cases(dataset.out, folder, rules)
    assert len(report.written) == 1
    ((step, case),) = cases_of(folder)
    assert step == "script"
    assert "(" not in case["before"]  # glosses had gone
    assert not passes(step, case)


def test_marks_on_what_is_gone_are_told(dataset: Dataset, folder: Path, rules: Path, put: Put, run: Run) -> None:
    mark = dataset.mark("boilerplate", "breadcrumb", "wrong")
    for change in ({"doc_id": "f" * 32}, {"rule": "gone"}):
        line = {name: getattr(mark, name) for name in reviews.Review.__slots__}
        with (dataset.out / "reviews.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **change}) + "\n")
    report = write_cases(dataset.out, folder, rules)
    assert len(report.written) == 1
    assert sorted(why for _, why in report.left) == [
        f"no document of {dataset.out} has an id that starts with '{'f' * 32}'",
        "no such edit is made in the document any more",
    ]


def test_what_the_rules_dont_do_any_more_is_told(
    dataset: Dataset, folder: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.mark("boilerplate", "breadcrumb", "wrong")
    monkeypatch.setitem(STEPS, "boilerplate", lambda _text, _context: ())
    report = write_cases(dataset.out, folder, rules)
    assert report.written == []
    assert "rules of today" in report.left[0][1]


class TestLearnedLines:
    """Only the whole corpus makes these edits: what helps is an exception."""

    def learned(self, tmp_path: Path, run: Run, put: Put, line: str) -> Dataset:
        text = f"欢迎访问本站\n{'今天上午召开了会议，部署了下一阶段的重点工作任务。' * 3}\n感谢您的阅读\n"
        whole = next(found for found in lines_of(text) if found.text == line)
        edit = removal(text, whole, "boilerplate", "learned-line", 0.95)
        outcome = document(text)
        assert outcome.cleaned is not None
        assert outcome.cleaned.text == text
        return Dataset(tmp_path / "out", run, put, document(text, (Stage("boilerplate", (edit,)),)))

    def test_a_line_below_the_body_is_put_among_those_that_stay(
        self, tmp_path: Path, run: Run, put: Put, folder: Path, rules: Path
    ) -> None:
        dataset = self.learned(tmp_path, run, put, "感谢您的阅读")
        dataset.mark("boilerplate", "learned-line", "wrong")
        report = write_cases(dataset.out, folder, rules)
        assert report.written == [(rules / "learned-stays.txt", "感谢您的阅读")]
        written = (rules / "learned-stays.txt").read_text(encoding="utf-8")
        assert written == "# Lines that stay.\n# Sorted.\namen\n完\n感谢您的阅读\n"
        assert write_cases(dataset.out, folder, rules).n_known == 1
        assert (rules / "learned-stays.txt").read_text(encoding="utf-8") == written

    @pytest.mark.parametrize(("line", "verdict"), [("欢迎访问本站", "wrong"), ("感谢您的阅读", "right")])
    def test_what_has_no_list_is_told(  # noqa: PLR0913, PLR0917 (fixtures)
        self, line: str, verdict: str, tmp_path: Path, run: Run, put: Put, folder: Path, rules: Path
    ) -> None:
        dataset = self.learned(tmp_path, run, put, line)
        dataset.mark("boilerplate", "learned-line", verdict)
        report = write_cases(dataset.out, folder, rules)
        assert report.written == []
        assert len(report.left) == 1


NASTY = (
    'a "quoted" \\ word',
    "three \"\"\" quotes\nand '''\n",
    "\u200b\u202e\ufeff\ue000\U0001f600\ufffd\x00\x1b\r\n\tend ",
    " leading\ntrailing  \n\n\u3000\u3000line\n",
    "\n\nblank first",
    "\\u0041 \\n",
    "#[[case]]\nlabel = 1",
)


@pytest.mark.parametrize("text", NASTY)
def test_any_text_survives_a_case_file(text: str) -> None:
    written = to_toml(Case("glosses", text, text, text + "甲", text, "hant"))
    (case,) = tomllib.loads("# x\n\n" + written)["case"]
    assert case == {
        "label": text,
        "comment": text,
        "script": "hant",
        "stance": "wild",
        "before": text + "甲",
        "after": text,
    }
    assert list(case) == ["label", "comment", "script", "stance", "before", "after"]
    for char in "\u200b\u202e\ufeff\ue000\x00\x1b\r\t":
        assert char not in written
    assert not any(line.endswith(" ") for line in written.split("\n"))


def test_windows_grow_to_the_whole_and_cut_no_edit_in_two() -> None:
    text = "".join(f"第{n}行的文字。\n" for n in range(40)) + "句子。" * 500
    edits = [Edit("x", "y", 100, text[100:140], ""), Edit("x", "y", 900, text[900:901], "z")]
    for edit in edits:
        found = list(windows(text, edit, edits))
        assert found[-1] == (0, len(text))
        assert len(found) < 12
        assert found[0][1] - found[0][0] < 120
        sizes = [end - start for start, end in found]
        assert sizes == sorted(sizes)
        for start, end in found:
            assert start <= edit.start
            assert edit.start + len(edit.before) <= end
            for other in edits:
                assert not other.start < start < other.start + len(other.before)
                assert not other.start < end < other.start + len(other.before)


def test_windows_of_little_text() -> None:
    assert list(windows("", Edit("x", "y", 0, "", "a"), [])) == [(0, 0)]
    assert list(windows("a", Edit("x", "y", 1, "", "b"), [])) == [(0, 1)]


def test_the_script_of_the_run_is_kept(tmp_path: Path, folder: Path, rules: Path, put: Put, run: Run) -> None:
    from dataclasses import replace

    config = CleanConfig(script="tw")
    text = "会议指出，发展经济的关键在于产业转型，后来里面的软件也更新了。\n" * 3
    cleaned = clean(text, config)
    origin = Origin("file:///pages/b.txt", "", "0" * 64, 1)
    outcome = Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), cleaned)
    dataset = Dataset(tmp_path / "out", replace(run, config=config), put, outcome)
    rule = next(e.rule for s in cleaned.stages for e in s.edits if s.step == "script")
    dataset.mark("script", rule, "wrong")
    write_cases(dataset.out, folder, rules)
    ((step, case),) = cases_of(folder)
    assert case["script"] == "tw"
    assert not passes(step, case)


def test_a_step_that_is_gone_is_told(dataset: Dataset) -> None:
    mark = dataset.mark("boilerplate", "breadcrumb", "wrong")
    from dataclasses import replace

    told = case_of(replace(mark, step="gone"), reviews.Received(0, "", Stage("gone", ())), mark.edit, (), "hans", "a")
    assert told == "there is no step 'gone' any more"


class TestCommand:
    def call(self, *arguments: object) -> Any:
        return CliRunner().invoke(main, ["cases", *map(str, arguments)])

    def test_it_says_what_it_wrote_and_what_it_left(self, dataset: Dataset, folder: Path, rules: Path) -> None:
        dataset.mark("boilerplate", "breadcrumb", "wrong")
        with (dataset.out / "reviews.jsonl").open("ab") as file:
            file.write(b"torn")
        result = self.call(dataset.out, "--out", folder, "--rules", rules)
        assert result.exit_code == 0
        assert f"{folder / 'boilerplate.toml'}: review " in result.output
        assert "1 line of the file of marks can't be read" in result.output
        assert result.output.endswith("1 case written\n")
        assert self.call(dataset.out, "--out", folder).output.endswith("0 cases written, 1 known already\n")

    def test_without_marks_there_is_nothing_to_do(self, dataset: Dataset, folder: Path) -> None:
        result = self.call(dataset.out, "--out", folder)
        assert (result.exit_code, result.output) == (0, "0 cases written\n")

    def test_a_folder_that_is_none_is_wrong_use(self, dataset: Dataset, tmp_path: Path) -> None:
        with pytest.raises(CasesError, match="no folder"):
            write_cases(dataset.out, tmp_path / "nosuch", tmp_path)
        result = self.call(dataset.out, "--out", tmp_path / "nosuch")
        assert result.exit_code == 2
        with pytest.raises(DatasetError):
            write_cases(tmp_path, tmp_path, tmp_path)
        assert self.call(tmp_path, "--out", tmp_path).exit_code == 2

    def test_a_file_that_is_no_file_of_cases_is_left_alone(self, dataset: Dataset, folder: Path) -> None:
        dataset.mark("boilerplate", "breadcrumb", "wrong")
        (folder / "boilerplate.toml").write_text("[[case]\n")
        result = self.call(dataset.out, "--out", folder)
        assert result.exit_code == 2
        assert "boilerplate.toml is no file of cases" in result.output
        assert (folder / "boilerplate.toml").read_text() == "[[case]\n"
