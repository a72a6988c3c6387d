import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["DO_NOT_TRACK"] = "1"

NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A server with a database of its own, for all tests of flows.

    Without heartbeats, for whose thread every run waits up to a second at its end; test_deployments.py has them.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), prefect_test_harness(180):
        yield


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Three good documents and a bad one."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"{NEWS}第{number}页。")
    (folder / "empty.txt").touch()
    return folder
