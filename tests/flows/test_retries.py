import errno
from pathlib import Path
from typing import Any

import pytest

from schemas.config import RunConfig
from tasks.read.sources import SourceError

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Prefect's dependencies warn a lot
    pytest.mark.usefixtures("prefect_server"),
]


@pytest.fixture
def tries(pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the flow with errors raised in its first tries; the final state, and how many tries there were."""
    from flows import clean
    from tasks.read.sources import find_sources

    def run(*errors: Exception) -> tuple[Any, int]:
        left, seen = list(errors), []

        def find(*given: Any) -> Any:
            seen.append(given)
            if left:
                raise left.pop(0)
            return find_sources(*given)

        monkeypatch.setattr(clean, "find_sources", find)
        monkeypatch.setattr("flows.retries.PAUSES", (0, 1))
        config = RunConfig(sources=(str(pages),), out=tmp_path / "out")
        return clean.clean_corpus(config, return_state=True), len(seen)

    return run


def test_an_error_that_may_pass_is_tried_twice_again(tries: Any) -> None:
    state, n = tries(OSError(errno.EIO, "Input/output error"), OSError(errno.ESTALE, "Stale file handle"))
    assert state.is_completed()
    assert n == 3


def test_and_no_more(tries: Any) -> None:
    state, n = tries(*(OSError(errno.EIO, "Input/output error") for _ in range(4)))
    assert state.is_failed()
    assert "Input/output error" in state.message
    assert n == 3


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SourceError("no such file")])
def test_a_hopeless_one_is_not(error: Exception, tries: Any) -> None:
    state, n = tries(error)
    assert state.is_failed()
    assert state.message == str(error)
    assert n == 1


def test_hopeless_after_a_try_that_was_not(tries: Any) -> None:
    state, n = tries(OSError(errno.EIO, "Input/output error"), SourceError("no such file"))
    assert (state.name, state.message, n) == ("Failed", "no such file", 2)
