"""Places on loopback that sources lie at: a bucket, and a server of the web that misbehaves as it is told."""

import base64
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from tasks.read import remote, s3

MODIFIED = "Sun, 22 Nov 2026 08:49:37 GMT"


@dataclass
class Page:
    """What the server has at a path, and how it gives it away."""

    content: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Last-Modified": MODIFIED})
    ranges: bool = True
    sized: bool = True
    """Whether it tells the size; otherwise the end of the connection is the end."""
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers before the first proper one."""
    breaks: list[int] = field(default_factory=list)
    """Of answers to GET, one by one, how many bytes come before the connection ends."""
    password: str = ""
    knows_head: bool = True
    then: Callable[["Page"], None] | None = None
    """What happens to it after an answer to GET."""


@dataclass
class Web:
    """A server of the web."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Requests: method, path with query, range."""

    def put(self, path: str, content: bytes = b"", **how: Any) -> str:
        """Have a page; its address."""
        self.pages[path] = Page(content, **how)
        return f"{self.address}{path}"

    def got(self) -> list[str]:
        """Parts that were asked for with GET, but for those that only ask for the size."""
        return [part for method, _, part in self.asked if method == "GET" and part != "bytes=0-0"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        self.web.asked.append((self.command, self.path, self.headers.get("Range", "")))
        page = self.web.pages.get(self.path.partition("?")[0])
        if page is None:
            self._say(404)
        elif page.refusals:
            self._say(*page.refusals.pop(0))
        elif page.password and self.headers.get("Authorization") != _basic(page.password):
            self._say(401, {"WWW-Authenticate": "Basic"})
        elif self.command == "HEAD" and not page.knows_head:
            self._say(405)
        else:
            self._give(page)

    def _give(self, page: Page) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        size = len(page.content)
        content, headers, status = page.content, dict(page.headers), 200
        if asked and page.ranges and self.command == "GET":
            begin, end = int(asked[1]), min(int(asked[2]) + 1, size)
            if begin >= size:
                self._say(416, {"Content-Range": f"bytes */{size}"})
                return
            content, status = content[begin:end], 206
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        if page.sized:
            headers["Content-Length"] = str(len(content))
        else:
            headers["Connection"] = "close"
        self._say(status, headers, content, page)

    def _say(self, status: int, headers: dict[str, str] | None = None, content: bytes = b"", page: Any = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            if not (name == "Content-Length" and page and not page.sized):
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            n_bytes = page.breaks.pop(0) if page and page.breaks and len(content) > 1 else None
            self.wfile.write(content[:n_bytes])
            self.close_connection = n_bytes is not None or (page is not None and not page.sized)
            if page and page.then:
                page.then(page)


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(password.encode()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who reads may go before all has been said."""


@pytest.fixture
def web() -> Iterator[Web]:
    server = _Server(("127.0.0.1", 0), _Handler)
    web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"web": web})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield web
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine without keys or proxies, on which nobody waits."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(remote, "WAITS", (0.0,) * 3)
    monkeypatch.setattr(s3, "ATTEMPTS", 1)


@pytest.fixture(scope="session")
def buckets(s3_server: str) -> Any:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return boto3.resource("s3", region_name="us-east-1", endpoint_url=s3_server, **keys)


@pytest.fixture
def bucket(buckets: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket, as boto3 has it."""
    given = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "ENDPOINT_URL": s3_server}
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    made = buckets.Bucket(f"bucket-{uuid4().hex}")
    made.create()
    return made
