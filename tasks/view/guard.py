"""Who may ask what: the server shows crawled pages, so it answers nobody but the person who started it.

- Only under its own names: a page elsewhere whose name is made to point here (DNS rebinding) shows in `Host`.
- Only with the token, which comes once in an address and then stays in a cookie that scripts can't read and other sites
  can't send.
- What changes something is a POST from a page of its own: `Origin`, and a second secret in the form.
- Pages may run the one script of ours, and load nothing from anywhere (docs/adr/0024-view.md).
"""

import hmac
import secrets
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer; one that brings a policy of its own keeps it."""

MAX_BODY = 1 << 16
"""Bytes of a form: a note of 2,000 characters takes 18,000 when it is escaped."""

FORM = "application/x-www-form-urlencoded"

_REFUSED = "This needs the address that `qingyuan view` printed when it started, with its token."

_ENTRANCE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>qingyuan</title>
<link rel="icon" href="data:,"><meta http-equiv="refresh" content="0; url={path}">
<p><a href="{path}">Go on</a></p></html>"""
"""Not a redirect: the browser keeps a strict cookie back where another site, or a file, began the journey."""


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._cookie = f"qingyuan-{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if port == 80:
            self._hosts |= {"127.0.0.1", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused and what brings the token; the rest is for the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope)
        answer = self._refusal(request) or self._entrance(request)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        """Why a request is not answered."""
        if request.headers.getlist("host") not in [[host] for host in self._hosts]:
            return PlainTextResponse("Unknown host. Use the address that `qingyuan view` printed.", 421)
        if request.method not in {"GET", "HEAD", "POST"}:
            return PlainTextResponse("Only GET, HEAD and POST.", 405)
        if not self._knows(request.cookies.get(self._cookie, "")) and not self._knows(_given(request)):
            return PlainTextResponse(_REFUSED, 403)
        if request.method == "POST" and not _is_own(request):
            return PlainTextResponse("This came from another page.", 403)
        return None

    def _knows(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _entrance(self, request: Request) -> Response | None:
        """What comes with the token in its address: it goes into the cookie, and out of the address."""
        if request.method == "POST" or not _given(request):
            return None
        if not self._knows(_given(request)):
            return PlainTextResponse(_REFUSED, 403)
        rest = [(name, value) for name, value in parse_qsl(request.url.query) if name != "token"]
        path = "/" + request.url.path.lstrip("/") + (f"?{urlencode(rest)}" if rest else "")
        answer = HTMLResponse(_ENTRANCE.format(path=_escaped(path)))
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer


def secret_of(token: str) -> str:
    """What forms carry: whoever sees it doesn't know the token."""
    return hmac.new(token.encode(), b"form", "sha256").hexdigest()


async def form_of(request: Request, token: str) -> dict[str, str]:
    """The fields of a form of ours.

    Raises:
        ValueError: if it is none, or too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise ValueError("not a form")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise ValueError("too much at once")
    fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=40)
    form = {name: values[-1] for name, values in fields.items()}
    if not secrets.compare_digest(form.pop("secret", "").encode(), secret_of(token).encode()):
        raise ValueError("not a form of this server")
    return form


def _given(request: Request) -> str:
    return request.query_params.get("token", "")


def _is_own(request: Request) -> bool:
    """Whether a page of ours sent it. `no-referrer` makes browsers say `null` of those as well: the form decides."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "null")
    return site == "same-origin" and origin in {"null", f"http://{request.headers['host']}"}


def _escaped(path: str) -> str:
    return path.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sent
