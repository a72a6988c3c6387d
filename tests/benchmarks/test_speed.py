"""The bench of speed: its corpora, its arithmetic, and that what it measures is what it says."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import speed
from benchmarks.corpora import CORPORA, Corpus, Sources, make
from benchmarks.fidelity import TEXTS
from benchmarks.peers import by_hand, meter, project
from benchmarks.speed import CONTENDERS, OURS, OURS_2, Contender, Figures, Target
from tasks.steps import STEPS


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources(TEXTS)


@pytest.mark.parametrize("name", ["mixed", "clean", "encodings", "HTML", "tiny"])
def test_a_corpus_is_the_same_each_time_and_a_strict_decoder_reads_it(
    name: str, sources: Sources, tmp_path: Path
) -> None:
    one, other = (make(name, CORPORA[name](sources, 40), tmp_path / f"{i}") for i in range(2))
    contents = [[path.read_bytes() for path, _ in meter.given(corpus.folder)] for corpus in (one, other)]
    assert contents[0] == contents[1]
    assert one.n_documents == 40
    texts = [path.read_bytes().decode(encoding) for path, encoding in meter.given(one.folder)]
    assert one.megabytes == pytest.approx(sum(len(text.encode()) for text in texts) / 1e6)


def test_of_830_mixed_documents_300_are_clean(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [text.name.rpartition("-")[0] for text in CORPORA["mixed"](sources, 83)]
    assert names.count("clean") == 30
    assert names.count("damaged") + names.count("other") == 25
    assert names.count("page") == 10
    assert len(names) == 83


def test_texts_past_the_last_one_are_no_copies(sources: Sources) -> None:
    n = len(sources.texts["hans"])
    texts = sources.take(3 * n)
    assert len(set(texts)) == 3 * n


def test_the_last_huge_document_is_damaged(sources: Sources) -> None:
    from benchmarks.corpora import huge

    first, last = huge(sources, 2, 40_000)
    assert len(first.content) >= 40_000
    assert 10_000 <= len(last.content) < 30_000
    assert last.name == "huge-1-damaged.txt"


def test_the_pipeline_by_hand_does_what_it_says() -> None:
    page = "<html><script>x</script><p>發展(zhǎn)潛力\u200b,。</p></html>".encode("big5hkscs", "xmlcharrefreplace")
    assert by_hand.clean(page) == "发展潜力。"
    assert by_hand.clean("中文网页的编码是国标码，这里有一句比较长的话。".encode("gb18030")).startswith("中文网页")


def test_parts_of_a_run_are_where_the_clock_looks_for_them() -> None:
    for places in project.PLACES.values():
        for place in places:
            holder, name = project._found(place)
            assert callable(getattr(holder, name)), place
    assert set(project.REPAIR) <= set(STEPS)


def test_a_clock_counts_what_a_part_spends_itself() -> None:
    clock = project.Clock()

    def burn(n: int) -> int:
        return sum(range(n))

    inner = clock.timed("inner", lambda: burn(3_000_000))
    items = clock.timed("items", lambda: (burn(1_000_000) for _ in range(3)))

    def work() -> None:
        inner()
        list(items())

    clock.timed("outer", work)()
    assert 0 < clock.seconds["outer"] < clock.seconds["inner"] / 2
    assert clock.seconds["items"] > clock.seconds["inner"] / 4


def test_the_limit_is_measured_in_a_process_of_its_own(sources: Sources, tmp_path: Path) -> None:
    corpus = make("clean", CORPORA["clean"](sources, 5), tmp_path)
    told = speed.measure(Path(sys.executable), CONTENDERS["limit"], corpus, tmp_path)
    assert isinstance(told, dict)
    assert told["seconds"] > 0
    assert told["start_seconds"] > 0
    assert told["peak"] > 30e6
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]


def test_what_went_wrong_is_told(tmp_path: Path) -> None:
    corpus = Corpus("none", tmp_path / "none", 1, 1.0)
    told = speed.measure(Path(sys.executable), Contender("limit"), corpus, tmp_path)
    assert isinstance(told, str)
    assert "FileNotFoundError" in told


def figures(megabytes_per_second: float, wall: float = 1.0, peak: float = 100e6) -> Figures:
    return Figures(1.0, wall, 0.1, int(peak), megabytes_per_second, 1.0)


def test_targets_are_ratios_of_what_was_measured() -> None:
    results = {
        "mixed": {OURS: figures(10), "by hand": figures(0.5), "datatrove": figures(0.5)},
        "clean": {OURS: figures(10), "limit": figures(20)},
        "large": {OURS: figures(10, wall=9, peak=300e6), OURS_2: figures(10, wall=5, peak=500e6)},
    }
    shares = {"clean": {"mojibake": 0.1, "shift": 0.15, "decode": 0.75}}
    found = {one.what: one for one in speed.targets(results, shares, {"qingyuan explain": 0.4})}
    measured = {what: (one.measured, one.reached) for what, one in found.items()}
    assert measured["the pipeline by hand, mixed"] == (20, False)
    assert measured["datatrove, mixed"] == (20, True)
    assert measured["Data-Juicer, mixed"] == (None, False)
    assert measured["the limit, clean"] == (0.5, True)
    assert measured["two workers against one, large"] == (1.8, True)
    assert measured["clean text: share of the steps that repair"] == (25, True)
    assert measured["peak of memory of a process"] == (500, False)
    assert measured["qingyuan explain"] == (0.4, True)


def test_figures_are_medians_and_the_most_memory() -> None:
    rows = [{"seconds": s, "wall": 2 * s, "start_seconds": 0.5, "peak": int(100 * s)} for s in (1.0, 2.0, 30.0)]
    of = speed.figures(rows, Corpus("mixed", Path(), 8, 4.0))
    assert of == Figures(2.0, 4.0, 0.5, 3000, 2.0, 2.0)


def test_a_run_leaves_figures_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["--quick", "--corpora", "clean", "--contenders", "limit,datatrove", "--out", str(tmp_path)]
    assert speed.main(arguments) == 0
    output = capsys.readouterr().out
    assert "not measured: datatrove: it is not installed (--peers)" in output
    told = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert told["results"]["clean"].keys() == {"limit"}
    plot = (tmp_path / "speed.svg").read_bytes()
    assert speed.main(["--draw", str(tmp_path / "speed.json"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "speed.svg").read_bytes() == plot


def test_an_environment_that_cannot_be_made_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def fail(folder: Path, _requirements: Path) -> str:
        asked.append(folder.name)
        return "no such version"

    monkeypatch.setattr(speed, "_make_environment", fail)
    speed.environments(tmp_path)
    assert asked == ["data-juicer", "datatrove", "datatrove-opencc"]
    assert "data-juicer is left out: no such version" in capsys.readouterr().out
    assert speed.python_of(CONTENDERS["datatrove"], tmp_path) is None


def test_peers_never_have_both_packages_named_opencc() -> None:
    for path in speed.PEERS.glob("*.txt"):
        names = [line.partition("==")[0].lower() for line in path.read_text(encoding="utf-8").splitlines()]
        assert len({"opencc", "opencc-python-reimplemented"} & set(names)) == 1, path.name


@pytest.mark.parametrize(
    ("one", "reached"),
    [
        (Target("", 2, 2), True),
        (Target("", 2, 1.9), False),
        (Target("", 2, 2, at_most=True), True),
        (Target("", 2, 2.1, at_most=True), False),
        (Target("", 2, None, at_most=True), False),
    ],
)
def test_a_target_is_reached_or_not(one: Target, reached: bool) -> None:
    assert one.reached == reached


def test_processor_time_of_other_processes_counts() -> None:
    import subprocess

    before = meter.tree_seconds()
    burn: Callable[[], Any] = lambda: subprocess.run(  # noqa: E731
        [sys.executable, "-c", "sum(range(10_000_000))"], check=True
    )
    burn()
    assert meter.tree_seconds() - before > 0.05
