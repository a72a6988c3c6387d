import logging
from pathlib import Path
from typing import Any

import pytest

from schemas.config import RunConfig
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import current, open_store
from tasks.publish.summary import rows
from tasks.report import figures

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"
TITLE = "<script>alert(1)</script> ![图](http://evil.example/p.png) | **粗** \x1b[31m"

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's dependencies warn a lot


def test_signs_of_markdown_are_shown_full_width_and_hidden_ones_by_their_code() -> None:
    from flows.artifacts import escaped

    assert (
        escaped("a | `b` *c* _d_ [e](f) <b> # ~x~ &lt; a@b.c")
        == "a ｜ ｀b｀ ＊c＊ ＿d＿ ［e］(f) ＜b＞ ＃ ～x～ ＆lt; a＠b.c"
    )
    assert escaped("http://a.cn WWW.a.cn 3.5: no") == "http：//a.cn WWW．a.cn 3.5: no"
    assert escaped("002_a_b.txt 新_闻 __init__") == "002_a_b.txt 新_闻 ＿＿init＿＿"
    assert escaped("产\u200b业\x1b\n") == "产＼u200b业＼x1b⏎"
    assert escaped("市政府召开新闻发布会。") == "市政府召开新闻发布会。"


def test_a_long_text_loses_its_middle() -> None:
    from flows.artifacts import escaped

    assert escaped("甲" * 50 + "乙" * 50, longest=6) == "甲甲甲 … 乙乙乙"
    assert escaped("甲" * 6, longest=6) == "甲" * 6


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("file:///a/%E4%B8%AD%E6%96%87%20b%7C.txt", "file:///a/中文%20b%7C.txt"),
        ("file:///a/%E4%B8.txt", "file:///a/%E4%B8.txt"),  # not UTF-8
        ("file:///a/%E2%80%8B.txt", "file:///a/%E2%80%8B.txt"),  # a zero-width space
        ("stdin:0123", "stdin:0123"),
    ],
)
def test_an_address_stays_one(uri: str, shown: str) -> None:
    from flows.artifacts import shown_uri

    assert shown_uri(uri) == shown


def test_keys_are_what_prefect_takes() -> None:
    from prefect.assets import Asset

    from flows.artifacts import artifact_key, asset_key

    assert artifact_key(Path("/data/Crawl_2026.语料"), "summary") == "crawl-2026-summary"
    assert artifact_key(Path("/data/语料"), "summary") == "summary"
    assert asset_key("/data/语料 1") == "file:///data/语料_1"
    assert asset_key("file:///data/%E8%AF%AD%20%5B") == "file:///data/语__"
    assert asset_key("crawl/*.txt") == f"file://{Path.cwd()}/crawl/*.txt"
    for name in ("-", "/a\udce4b\x1b\n", "/" + "长" * 600):
        assert Asset(key=asset_key(name))


def test_lineage_has_folders_in_place_of_many_files() -> None:
    from flows.artifacts import UPSTREAM, _lineage

    assert _lineage(["b", "a", "b"]) == ["b", "a"]
    assert _lineage([f"crawl/{n}.txt" for n in range(99)]) == ["crawl"]
    assert len(_lineage([f"{n}/page.txt" for n in range(999)])) == UPSTREAM


def tables(out: Path | str) -> tuple[Snapshot, list[dict[str, Any]], list[dict[str, Any]]]:
    """The newest snapshot, and the two tables of the run that made it."""
    from flows.artifacts import largest_changes, rejects_by_reason

    store = open_store(out)
    snapshot = current(store)
    with figures.opened(store, snapshot, snapshot.run_id) as db:
        rejects = rejects_by_reason(snapshot.counts.rejected, figures.reasons(db))
        return snapshot, rejects, largest_changes(figures.largest_changes(db))


@pytest.mark.usefixtures("prefect_server")
def test_tables_of_a_run(pages: Path, tmp_path: Path) -> None:
    from flows.clean import clean_corpus

    spam = "您的位置:首页 > 国内 >\n" + TITLE + f"\n2023-06-24 19:04:19 来源:某网\n{NEWS * 3}\n责任编辑:张三\n"
    (pages / "<b>|[中文].txt").write_text(spam)
    out = tmp_path / "out"
    config = RunConfig(sources=(str(pages),), out=out)
    assert clean_corpus(config, return_state=True).is_completed()
    snapshot, (reject,), (change,) = tables(out)
    assert reject == {
        "reason": "empty",
        "documents": 1,
        "by this run": 1,
        "why one of them": "The document has no characters.",
        "address of that one": (pages / "empty.txt").as_uri(),
    }
    assert change["document"] == "＜b＞｜［中文］.txt"
    assert change["address"] == f"{pages.as_uri()}/%3Cb%3E%7C%5B中文%5D.txt"
    assert change["what was done"].startswith("boilerplate ")
    assert 0.05 < int(change["edited"].rstrip("%")) / 100 < 0.5
    assert not set("<>|*`[]\x1b") & set(change["title"])
    assert clean_corpus(config, return_state=True).is_completed()
    again, (reject,), changes = tables(out)
    assert again.number == snapshot.number + 1
    assert (reject["documents"], reject["by this run"], changes) == (1, 0, [])


@pytest.mark.usefixtures("prefect_server")
def test_tables_tell_which_document_of_a_container(tmp_path: Path) -> None:
    from flows.clean import clean_corpus

    (tmp_path / "a.jsonl").write_text(f'{{"text": "您的位置:首页 > 国内 >\\n{NEWS}"}}\nnone\n')
    config = RunConfig(sources=(str(tmp_path / "a.jsonl"),), out=tmp_path / "out")
    assert clean_corpus(config, return_state=True).is_completed()
    _, (reject,), (change,) = tables(tmp_path / "out")
    assert reject["address of that one"] == f"{(tmp_path / 'a.jsonl').as_uri()} line=2"
    assert (change["document"], change["address"].rpartition(" ")[2]) == ("a.jsonl line=1", "line=1")


def _logger(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    """Prefect sets logging up anew with the first flow of a process, and what pytest listens with is gone then."""
    logger = logging.Logger("told")  # noqa: LOG001
    logger.addHandler(caplog.handler)
    return logger


@pytest.mark.usefixtures("prefect_server")
def test_what_cannot_be_shown_fails_no_run(
    pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.clean import clean_corpus

    def fail(*_: Any) -> None:
        raise RuntimeError("no server")

    monkeypatch.setattr("flows.artifacts.create_link_artifact", fail)
    monkeypatch.setattr("flows.artifacts.get_run_logger", lambda: _logger(caplog))
    state = clean_corpus(RunConfig(sources=(str(pages),), out=tmp_path / "out"), return_state=True)
    assert state.is_completed()
    assert "no server" in caplog.text


@pytest.mark.usefixtures("prefect_server")
def test_a_run_leaves_its_report_and_links_to_it(pages: Path, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    from flows.clean import clean_corpus

    state = clean_corpus(RunConfig(sources=(str(pages),), out=tmp_path / "reported"), return_state=True)
    summary: Any = state.result()
    report = Path(summary.report)
    assert report.parent == tmp_path / "reported" / "reports"
    assert ("report", str(report)) in rows(summary)
    with get_client(sync_client=True) as client:
        found = {artifact.key: artifact for artifact in client.read_artifacts(limit=200)}
    assert f"({report.as_uri()})" in str(found["reported-report"].data)
    assert str(found["reported-flow"].data).startswith("data:image/png;base64,")
    assert str(report) in str(found["reported-summary"].data)


@pytest.mark.usefixtures("prefect_server")
def test_a_report_that_cannot_be_made_fails_no_run(
    pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.clean import clean_corpus

    def fail(*_: Any) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr("tasks.report.write_report", fail)
    monkeypatch.setattr("flows.artifacts.get_run_logger", lambda: _logger(caplog))
    state = clean_corpus(RunConfig(sources=(str(pages),), out=tmp_path / "out"), return_state=True)
    assert state.is_completed()
    assert "no disk" in caplog.text
    summary: Any = state.result()
    assert summary.report == ""
