import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from schemas.document import Outcome, Run
from tasks.publish.snapshots import Snapshot
from tasks.view.app import View, application

TOKEN = "a-token"
PORT = 8123


@pytest.fixture
def out(tmp_path: Path, outcomes: list[Outcome], run: Run, put: Callable[..., Snapshot]) -> Path:
    """Thirty documents in three batches."""
    put(tmp_path / "out", run, outcomes[:10], outcomes[10:20], outcomes[20:])
    return tmp_path / "out"


@pytest.fixture
def open_view() -> Iterator[Callable[[Path], View]]:
    """What opens a dataset, and waits until all of it is counted."""
    opened: list[View] = []

    def open_view(out: Path) -> View:
        opened.append(View(out, TOKEN))
        assert opened[-1].catalogue.counted.wait(60), opened[-1].catalogue.problem
        return opened[-1]

    yield open_view
    for view in opened:
        view.close()


class Visitor:
    """A browser that has opened the address with the token."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.client = TestClient(application(view, PORT), base_url=f"http://127.0.0.1:{PORT}")
        assert self.client.get("/", params={"token": TOKEN}).status_code == 200
        found = re.search(r'name="secret" value="(\w+)"', self.get("/"))
        assert found
        self.secret = found[1]

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, **fields: object) -> str:
        """Send a form of the page, and the page that comes of it."""
        answer = self.client.post(path, data={"secret": self.secret, **fields})
        assert answer.status_code == 200, answer.text
        self.address = str(answer.url)
        return answer.text


@pytest.fixture
def visit(open_view: Callable[[Path], View]) -> Callable[[Path], Visitor]:
    return lambda out: Visitor(open_view(out))
