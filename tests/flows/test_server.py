"""Prefect's temporary server: whose it is, and what becomes of one that ends."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlsplit

import httpx
import pytest

from flows import server as temporary
from flows.server import TemporaryServer


@pytest.fixture
def server() -> Iterator[TemporaryServer]:
    made = TemporaryServer()
    yield made
    made.stop()


def test_the_port_is_its_own_from_the_start(server: TemporaryServer) -> None:
    port = urlsplit(server.url).port
    assert port
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    server.wait()
    assert httpx.get(f"{server.url}/health", trust_env=False).json() is True
    server.process.kill()
    assert server.is_gone


def test_a_server_that_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last is told."""

    def ends(_: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit('no room')"], stderr=log)

    monkeypatch.setattr(temporary, "_serve", ends)
    with pytest.raises(RuntimeError, match=r"ended with code 1\. no room"):
        TemporaryServer().wait()
