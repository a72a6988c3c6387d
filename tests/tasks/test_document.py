import time
from pathlib import Path

import pytest

from schemas.config import CleanConfig
from schemas.document import Outcome, Reason
from tasks import document
from tasks.clean import clean
from tasks.document import check_steps, clean_source
from tasks.read.sources import Source

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。"


def outcome_of(path: Path, content: bytes, **config: int) -> Outcome:
    path.write_bytes(content)
    (outcome,) = clean_source(Source(path.as_uri(), path, len(content)), CleanConfig.model_validate(config))
    return outcome


def test_a_document_goes_all_the_way(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path / "a", NEWS.encode("gb18030"))
    assert outcome.rejection is None
    assert outcome.decoded is not None
    assert outcome.decoded.text == NEWS
    assert outcome.cleaned == clean(NEWS, CleanConfig())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"\n \n", Reason.EMPTY),
        (b"\0" * 1000, Reason.NOT_TEXT),
        (bytes(range(256)) * 40, Reason.NOT_TEXT),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), Reason.NOT_TEXT),
        ("短".encode(), Reason.TOO_SHORT),
        (b"1234567890 " * 100, Reason.TOO_SHORT),
        (b"1234567890 abcdefghijklm " + b"1234567890 " * 100, Reason.NOT_TEXT),
        (NEWS.encode() * 200, Reason.TOO_LARGE),
    ],
)
def test_what_is_no_document_is_rejected_with_a_reason(tmp_path: Path, content: bytes, reason: Reason) -> None:
    outcome = outcome_of(tmp_path / "a", content, max_bytes=11_000)
    assert outcome.rejection is not None
    assert outcome.rejection.reason == reason
    assert outcome.origin.n_bytes == len(content)
    assert outcome.rejection.detail.endswith(".")


@pytest.mark.parametrize(
    "content",
    [
        NEWS.encode().replace("，".encode(), b"\xff", 1),
        NEWS.encode() + b"\xed\xa0\x80",  # a lone surrogate, as UTF-8 would write it
        NEWS.encode().replace("，".encode(), b"\0", 1),
        ("\ufeff" + NEWS).encode("utf-16-le") + b"\x00\xd8",
        b"\r\n".join([NEWS.encode(), NEWS.encode("gb18030"), NEWS.encode("big5", "ignore")]),
    ],
    ids=["invalid UTF-8", "lone surrogate", "NUL", "half a pair", "three encodings"],
)
def test_text_with_a_few_bad_bytes_is_kept_and_can_be_stored(tmp_path: Path, content: bytes) -> None:
    outcome = outcome_of(tmp_path / "a", content)
    assert outcome.rejection is None
    assert outcome.cleaned is not None
    assert "市政府召开新闻发布会" in outcome.cleaned.text
    outcome.cleaned.text.encode()


def test_a_step_that_raises_costs_its_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(document, "clean", fail)
    outcome = outcome_of(tmp_path / "a", NEWS.encode())
    assert outcome.rejection is not None
    assert outcome.rejection.reason == Reason.FAILED
    assert "ZeroDivisionError: a bug" in outcome.rejection.detail
    assert outcome.decoded is not None


def test_an_unknown_step_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no step 'spma'; the steps are: .*spam"):
        check_steps(["spam", "spma"])


@pytest.mark.parametrize(
    "unit",
    [
        "市政府召开新闻发布会通报情况",
        "市政府召開新聞發布會通報情況",
        "?",
        " ",
        "a",
        "\ufffd",
        "(chǎn)",
        "中\u200b",
        "&amp;",
        "a\0",
    ],
)
def test_one_long_line_takes_time_in_proportion(tmp_path: Path, unit: str) -> None:
    seconds = []
    for n in (25_000, 100_000):
        content = (unit * n)[:n].encode()
        started = time.process_time()
        outcome = outcome_of(tmp_path / "line", content)
        seconds.append(time.process_time() - started)
        assert outcome.rejection is None or outcome.rejection.reason != Reason.FAILED
    assert seconds[1] < 10 * seconds[0] + 1  # four times the text; quadratic would be sixteen times
