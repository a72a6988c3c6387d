"""Who is answered, and what every answer carries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tasks.view.app import View, application
from tasks.view.guard import HEADERS, MAX_BODY, secret_of

TOKEN, PORT = "a-token", 8123
OWN = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def client(out: Path, open_view: Callable[[Path], View]) -> TestClient:
    return TestClient(application(open_view(out), PORT), base_url=OWN, follow_redirects=False)


@pytest.fixture
def inside(client: TestClient) -> TestClient:
    client.get("/", params={"token": TOKEN})
    return client


def form(**fields: str) -> dict[str, str]:
    return {"secret": secret_of(TOKEN), **fields}


@pytest.mark.parametrize("path", ["/", "/list/all", "/rules", "/static/view.js", "/report/x", "/nosuch"])
def test_nothing_is_answered_without_the_token(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code == 403
    assert "qingyuan view" in answer.text
    assert client.get(path, params={"token": "another"}).status_code == 403
    assert client.get(path, headers={"cookie": f"qingyuan-{PORT}=another"}).status_code == 403
    assert client.get(path, headers={b"cookie": f"qingyuan-{PORT}=\xe9".encode("latin-1")}).status_code == 403


def test_the_token_goes_into_a_strict_cookie_and_out_of_the_address(client: TestClient) -> None:
    answer = client.get("/list/all?after=3", params={"token": TOKEN})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"qingyuan-{PORT}={TOKEN};")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert TOKEN not in answer.text
    assert client.get("/list/all").status_code == 200


def test_the_entrance_leads_to_no_other_host(client: TestClient) -> None:
    answer = client.get(f"{OWN}//evil.example/?token={TOKEN}&x=%22%3E%3Cscript%3E")
    assert "url=/evil.example" in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", "", "[::1]:8123"])
def test_other_names_of_the_machine_are_not_answered(host: str, inside: TestClient) -> None:
    assert inside.get("/list/all", headers={"host": host}).status_code == 421
    assert inside.get("/list/all", headers={"host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize("path", ["/list/all", "/rules", "/nosuch", "/static/style.css"])
def test_every_answer_has_the_headers(path: str, inside: TestClient) -> None:
    answer = inside.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "script-src 'self'" in HEADERS["content-security-policy"]
    assert "unsafe" not in HEADERS["content-security-policy"]
    refused = TestClient(inside.app, base_url=OWN).get(path)
    assert refused.status_code == 403
    assert {name: refused.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/find", "/mark", "/snapshot", "/list/all/search"])
def test_forms_from_elsewhere_do_nothing(path: str, headers: dict[str, str], inside: TestClient, out: Path) -> None:
    assert inside.post(path, data=form(number="1"), headers=headers).status_code == 403
    assert not (out / "reviews.jsonl").exists()


@pytest.mark.parametrize("headers", [{}, {"origin": OWN}, {"origin": "null", "sec-fetch-site": "same-origin"}])
def test_forms_of_our_own_pages_are_taken(headers: dict[str, str], inside: TestClient) -> None:
    assert inside.post("/find", data=form(), headers=headers).status_code == 303


@pytest.mark.parametrize("data", [{}, {"secret": "x"}, {"secret": TOKEN}, {"secret": "é"}, {"text": "x"}])
def test_a_form_needs_its_secret(data: dict[str, str], inside: TestClient) -> None:
    assert inside.post("/find", data=data).status_code == 403


def test_forms_are_bounded_and_of_one_kind(inside: TestClient) -> None:
    assert inside.post("/find", data=form(text="x" * MAX_BODY)).status_code == 403
    assert inside.post("/find", json=form()).status_code == 403
    assert inside.post("/find", data=form(**{f"n{n}": "" for n in range(50)})).status_code == 403
    plain: Any = {"content": f"secret={secret_of(TOKEN)}", "headers": {"content-type": "text/plain"}}
    assert inside.post("/find", **plain).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_refused(method: str, inside: TestClient) -> None:
    assert inside.request(method, "/list/all").status_code == 405


@pytest.mark.parametrize("path", ["/find", "/mark", "/snapshot"])
def test_what_changes_something_is_no_link(path: str, inside: TestClient) -> None:
    assert inside.get(path).status_code == 405
