import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, assert_type, get_type_hints

import hypothesis
import pandas as pd
import pytest
from hypothesis import strategies as st

import tasks
from schemas.config import CleanConfig
from schemas.document import Origin, RawDocument, Reason
from tasks import CleanedDocument, RejectedError, clean_many, clean_one, clean_text, document
from tasks.clean import clean
from tasks.document import clean_raw
from tasks.library import Settings

ROOT = Path(__file__).parents[2]
SEEDS = [path.read_bytes() for path in sorted((ROOT / "seeds").glob("*.txt"))]
NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。"
TRADITIONAL = "有著重要作用，是著名的旅遊景點。"
SIMPLIFIED = "有着重要作用，是著名的旅游景点。"
PAGE = f"<html><head><title>新聞</title></head><body><p>{TRADITIONAL}</p></body></html>"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(50)


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


class TestCleanText:
    def test_a_string(self) -> None:
        assert assert_type(clean_text(TRADITIONAL), str) == SIMPLIFIED

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030", "big5"])
    def test_bytes_are_decoded(self, encoding: str) -> None:
        assert clean_text(TRADITIONAL.encode(encoding)) == SIMPLIFIED
        assert clean_text(bytearray(TRADITIONAL.encode(encoding))) == SIMPLIFIED
        assert clean_text(memoryview(TRADITIONAL.encode(encoding))) == SIMPLIFIED

    @pytest.mark.parametrize("page", [PAGE, PAGE.encode("gb18030"), PAGE.encode("utf-8-sig")])
    def test_of_a_page_the_main_text(self, page: str | bytes) -> None:
        assert clean_text(page) == SIMPLIFIED + "\n"

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_same_as_the_flow(self, seed: bytes) -> None:
        config = CleanConfig(script="tw", skip=("repeats",))
        outcome = clean_raw(Origin("", "", "", 0), RawDocument("", seed), config)
        assert outcome.cleaned
        assert clean_text(seed, config) == outcome.cleaned.text
        assert clean_text(seed.decode(), script="tw", skip=("repeats",)) == outcome.cleaned.text

    def test_a_string_is_not_read_again(self) -> None:
        """Its UTF-8 would be ISO-2022, another encoding, or lose its byte order mark."""
        for text in ("价格~{<:Ky2;~}元", "ÖÐ¹ú", "\ufeff价格"):
            assert clean_one(text).revert() == text

    @pytest.mark.parametrize(
        ("text", "cleaned"), [("", ""), (" \n", ""), ("短", "短"), ("12", "12"), ("\x01標題", "标题"), ("\x01\x02", "")]
    )
    def test_nobody_judges_it(self, text: str, cleaned: str) -> None:
        assert clean_text(text) == cleaned

    @pytest.mark.parametrize(
        ("given", "reason"), [(PICTURE, "not-text"), (NEWS.encode() * 100, "too-large"), (NEWS * 100, "too-large")]
    )
    def test_no_text_is_an_error(self, given: bytes, reason: str) -> None:
        with pytest.raises(RejectedError, match=rf"^{reason}: .*\.$") as told:
            clean_text(given, max_bytes=5000)
        assert told.value.reason == reason
        assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)

    def test_a_bug_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(document, "clean", lambda *_: 1 / 0)
        for given in (NEWS, NEWS.encode()):
            with pytest.raises(RejectedError, match="ZeroDivisionError"):
                clean_text(given)

    @pytest.mark.parametrize("given", [None, 3, ["文"], {"text": "文"}])
    def test_of_another_type(self, given: Any) -> None:
        with pytest.raises(TypeError, match="string or bytes"):
            clean_text(given)

    def test_settings_are_checked(self) -> None:
        with pytest.raises(ValueError, match="there is no step 'nope'"):
            clean_text(NEWS, skip=("nope",))
        with pytest.raises(ValueError, match="script"):
            clean_text(NEWS, script="latin")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="scripts"):
            clean_text(NEWS, scripts="hans")  # type: ignore[call-arg]

    def test_keywords_go_before_the_config(self) -> None:
        config = CleanConfig(script="keep", skip=("punctuation",))
        assert clean_text(TRADITIONAL, config) == TRADITIONAL
        assert clean_text(TRADITIONAL, config, script="hans") == SIMPLIFIED

    def test_every_setting_of_a_document_is_a_keyword(self) -> None:
        """All but what needs a corpus, or containers."""
        assert {*get_type_hints(Settings)} == {*CleanConfig.model_fields} - {"learn_from", "read"}


class TestCleanOne:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_reverts(self, seed: bytes) -> None:
        of_bytes, of_text = clean_one(seed), assert_type(clean_one(seed.decode()), CleanedDocument)
        assert of_bytes.revert() == of_text.revert() == seed.decode()
        assert of_bytes.raw() == of_text.raw() == seed
        assert of_bytes.text == of_text.text
        assert (of_bytes.is_kept, of_bytes.reason, of_bytes.detail) == (True, None, None)

    def test_what_is_known(self) -> None:
        found = clean_one(SEEDS[3])
        assert found.outcome.cleaned
        assert len(found.edits) == sum(len(stage.edits) for stage in found.outcome.cleaned.stages) > 500
        assert found.min_confidence == min(edit.confidence for edit in found.edits) < 0.9
        assert (found.encoding, found.encoding_confidence) == ("utf-8", 1.0)
        assert (clean_one("文").encoding, clean_one("文").encoding_confidence) == (None, None)
        assert "搜狐" in clean_one(SEEDS[2]).facts["site_name"]

    def test_damage_that_stays(self) -> None:
        found = clean_one("今天的锟斤拷锟斤拷新闻发布会，介绍了今年的情况。")
        assert found.text
        assert found.flags == ("lost-characters",)
        assert (
            [found.text[d.start : d.start + len(d.text)] for d in found.damage] == [d.text for d in found.damage] != []
        )

    def test_a_page(self) -> None:
        found = clean_one(PAGE.encode("gb18030"))
        assert found.revert() == TRADITIONAL + "\n"
        assert found.raw() == PAGE.encode("gb18030")
        assert found.facts["title"] == "新闻"

    def test_hidden_text_is_flagged(self) -> None:
        page = PAGE.replace("<p>", f'<div style="display:none">{"久久" * 30}</div><p>')
        assert "hidden-text" in clean_one(page).flags

    @pytest.mark.parametrize(
        "text", ["\ud800", "标题\ud83d\ude00测试\ud800一下" + NEWS, NEWS + "\udcff\udc80", "\ude00\ud83d" + TRADITIONAL]
    )
    def test_halves_of_characters(self, text: str) -> None:
        found = clean_one(text, min_chars=0)
        assert found.text is not None
        found.text.encode()
        assert found.revert() == text
        assert ("😀" in found.text) == ("\ud83d\ude00" in text)

    def test_halves_of_characters_and_nothing_else(self) -> None:
        found = clean_one("\ud800" * 300_000)
        assert not found.is_kept
        assert found.raw() == ("\ud800" * 300_000).encode("utf-8", "surrogatepass")

    @hypothesis.given(
        st.text(st.characters(), max_size=40)
        | st.text("產(chǎn)業(yè)\ud83d\ude00著，,、。\ufeff\u200b <p>", max_size=60)
    )
    @hypothesis.settings(max_examples=80, deadline=None)
    def test_any_string_reverts_and_can_be_stored(self, text: str) -> None:
        found = clean_one(text)
        assert found.reason != Reason.FAILED
        assert found.revert() == text
        (found.text or "").encode()

    @hypothesis.given(st.binary(max_size=60))
    @hypothesis.settings(max_examples=50, deadline=None)
    def test_any_bytes_are_given_back(self, content: bytes) -> None:
        assert clean_one(content).raw() == content

    def test_what_was_never_text_can_not_be_reverted(self) -> None:
        found = clean_one(None)
        assert (found.text, found.edits, found.facts, found.damage, found.flags) == (None, (), {}, (), ())
        for ask in (found.revert, found.raw):
            with pytest.raises(RejectedError, match="null"):
                ask()

    def test_a_row_of_the_dataset(self) -> None:
        found = clean_one(TRADITIONAL)
        assert found.row(["lang", "script_source", "n_edits", "encoding", "reason"]) == {
            "text": SIMPLIFIED,
            "lang": "zh",
            "script_source": "hant",
            "n_edits": 3,
            "encoding": None,
            "reason": None,
        }
        assert clean_one("短").row(["reason"]) == {"text": None, "reason": "too-short"}
        with pytest.raises(ValueError, match=r"no column 'doc_id'.*script_source"):
            found.row(["doc_id"])

    def test_it_is_shown_in_a_few_words(self) -> None:
        assert len(repr(clean_one(SEEDS[3]))) < 100
        assert "too-short" in repr(clean_one("短"))


class TestCleanMany:
    def test_none_that_is_bad_stops_it(self) -> None:
        given = [
            *(TRADITIONAL, None, float("nan"), pd.NA, pd.NaT, 3, ["文"], b"", PICTURE),
            *({"text": TRADITIONAL}, {"text": None}, {"text": 1.5}, {"body": NEWS}, {}),
        ]
        found = list(clean_many(given))
        reasons = ["", *["empty"] * 4, *["not-text"] * 2, "empty", "not-text", "", "empty", "not-text"]
        assert [f.reason or "" for f in found] == [*reasons, "unreadable", "unreadable"]
        assert [f.given for f in found if f.is_kept] == [TRADITIONAL, {"text": TRADITIONAL}]
        assert "'body'" in (found[-2].detail or "")
        assert all(f.given is g for f, g in zip(found, given, strict=True))

    def test_a_bug_costs_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def buggy(text: str, config: CleanConfig) -> Any:
            return 1 / 0 if "虫" in text else clean(text, config)

        monkeypatch.setattr(document, "clean", buggy)
        assert [f.reason for f in clean_many([NEWS, NEWS + "虫", NEWS])] == [None, "failed", None]

    def test_it_takes_one_at_a_time(self) -> None:
        taken: list[int] = []

        def endless() -> Iterator[str]:
            while True:
                taken.append(1)
                yield TRADITIONAL

        documents = clean_many(endless(), script="keep")
        assert not taken
        assert [next(documents).text for _ in range(3)] == [TRADITIONAL] * 3
        assert len(taken) == 3

    def test_settings_are_checked_at_once(self) -> None:
        with pytest.raises(ValueError, match="nope"):
            clean_many([], skip=("nope",))

    def test_columns_may_have_any_name(self) -> None:
        assert [f.text for f in clean_many([{"正文": TRADITIONAL}], column="正文")] == [SIMPLIFIED]


def texts_of(documents: list[CleanedDocument]) -> list[str | None]:
    return [found.text for found in documents]


class TestAnywhere:
    def test_it_can_be_pickled(self) -> None:
        for given in (SEEDS[2], PAGE, None):
            found = clean_one(given)
            assert pickle.loads(pickle.dumps(found)) == found
        assert pickle.loads(pickle.dumps(clean_text)) is clean_text

    def test_in_threads_and_processes(self) -> None:
        given = [SEEDS[2], PAGE, NEWS, None] * 2
        alone = texts_of(list(clean_many(given)))
        with ThreadPoolExecutor(4) as threads:
            assert texts_of(list(threads.map(clean_one, given))) == alone
        with get_context("spawn").Pool(2) as pool:
            assert texts_of(pool.map(clean_one, given)) == alone

    def test_importing_costs_nothing(self) -> None:
        assert printed("import sys, tasks; print({'tasks.clean', 'numpy', 'pydantic'} & {*sys.modules})") == "set()\n"

    def test_a_text_needs_neither_prefect_nor_arrow(self) -> None:
        code = "import sys; from tasks import clean_text; clean_text('有著重要作用')"
        told = printed(f"{code}; print({{'prefect', 'pyarrow', 'pandas', 'flows'}} & {{*sys.modules}})")
        assert told == "set()\n"

    def test_what_there_is(self) -> None:
        assert all(hasattr(tasks, name) for name in tasks.__all__)
        with pytest.raises(AttributeError, match="nope"):
            _ = tasks.nope
        from tasks import judge, library

        assert (judge.__name__, library.__name__) == ("tasks.judge", "tasks.library")

    @pytest.mark.parametrize("package", ["schemas", "tasks"])
    def test_types_are_shipped(self, package: str) -> None:
        assert (ROOT / package / "py.typed").is_file()
        assert f'"{package}" = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()
