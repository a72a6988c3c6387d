"""Files on servers of http and https, with httpx.

Passwords are taken from the address or from ~/.netrc, proxies from the environment (HTTPS_PROXY, NO_PROXY, …).
Redirects are followed; a password goes to the host alone that it was given for.
"""

import atexit
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import version
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from tasks.read.addresses import shown
from tasks.read.remote import AT_A_TIME, Entry, Fetched, RemoteError, time_of

TIMEOUT = httpx.Timeout(60, connect=10)
"""Seconds for a connection, and between two pieces of an answer."""

_PIECE = 256 * 1024

_STATUSES = {
    400: "the server doesn't understand the address",
    401: "it takes a password. Put it into ~/.netrc, or into the address",
    403: "the server doesn't allow it. Where the address is signed, it may have expired",
    404: "there is no such file. Correct the address",
    407: "the proxy takes a password. Put it into HTTPS_PROXY",
    410: "the file is gone for good",
    429: "the server has had too many requests. Try again later",
    451: "the server may not give it away for legal reasons",
    503: "the server has too much to do. Try again later",
}
"""What to do, by the status of an answer (RFC 9110)."""

_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Statuses after which it may work again."""

_GONE = {404, 410}

_UNKNOWN_HOST = re.compile(r"\[Errno -[25]\]|not known|No address associated")
"""Of names that are wrong, and not only unanswered for now (getaddrinfo(3): EAI_NONAME, EAI_NODATA)."""


def stat(address: str) -> Entry | None:
    """What a server tells of a file; None if there is none.

    Servers and signatures may know GET only, and some tell more of a file then.
    """
    with _asked("HEAD", address) as answer:
        if answer.status_code in _PASSING:
            _check(answer)
        state = _state(answer)
        if answer.is_success and state[0] is not None and state[1]:
            return Entry(address, *state)
    with _asked("GET", address, "bytes=0-0") as answer:
        if answer.status_code in _GONE:
            return None
        if answer.status_code != 416:  # an empty file has no first byte
            _check(answer)
        return Entry(address, *_state(answer))


def walk(folder: str) -> Iterator[Entry]:
    """Nothing: servers don't list."""
    del folder
    return iter(())


def children(folder: str, start: str) -> tuple[list[str], list[Entry]]:
    """Likewise."""
    del folder, start
    return [], []


def fetch(address: str, begin: int, end: int) -> Fetched:
    """A part of a file; all of it, from a server that gives no parts."""
    with ExitStack() as stack:
        answer = stack.enter_context(_asked("GET", address, f"bytes={begin}-{end - 1}"))
        if answer.status_code == 416 and begin == 0:
            stack.close()
            answer = stack.enter_context(_asked("GET", address))
        if answer.status_code == 416:  # behind its end
            return Fetched(iter(()), begin, *_state(answer), True, stack.pop_all().close)
        _check(answer)
        told = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        ranged = answer.status_code == 206 and told is not None and told[1] is not None
        first = int(told[1]) if ranged and told else 0
        if first > begin:
            raise RemoteError("the server sends another part than was asked for")
        return Fetched(_pieces(answer), first, *_state(answer), ranged, stack.pop_all().close)


def _pieces(answer: httpx.Response) -> Iterator[bytes]:
    with _explained():
        yield from answer.iter_raw(_PIECE)  # not decoded: a .gz is one, whatever the server calls it


@contextmanager
def _asked(method: str, address: str, part: str = "") -> Iterator[httpx.Response]:
    """The head of an answer, whatever its status."""
    with _explained():
        parts = urlsplit(str.__str__(address))
        userinfo, mark, host = parts.netloc.rpartition("@")
        user, _, password = userinfo.partition(":")
        auth = httpx.BasicAuth(unquote(user), unquote(password)) if mark else _netrc()
        client = _client(os.getpid())
        url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        request = client.build_request(method, url, headers={"Range": part} if part else {})
        answer = client.send(request, stream=True, auth=auth)
    try:
        yield answer
    finally:
        answer.close()


def _netrc() -> httpx.Auth | None:
    try:
        return httpx.NetRCAuth(os.environ.get("NETRC"))
    except FileNotFoundError:
        return None
    except Exception:  # noqa: BLE001  of whatever kind: a part of the file may be in it
        raise RemoteError("~/.netrc can't be read. Look at its lines, and who may read it (chmod 600)") from None


@lru_cache(maxsize=2)
def _client(_process: int) -> httpx.Client:
    """A client with its connections, which a forked process must not share."""
    for name in ("httpx", "httpcore"):  # they log addresses with their signatures
        logging.getLogger(name).addFilter(_hide)
    logging.getLogger("httpcore").setLevel(logging.INFO)
    headers = {"User-Agent": f"qingyuan/{version('qingyuan')}", "Accept-Encoding": "identity"}
    limits = httpx.Limits(max_connections=AT_A_TIME)
    client = httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers=headers, limits=limits)
    atexit.register(client.close)
    return client


def _hide(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(shown(str(arg)) if isinstance(arg, httpx.URL) else arg for arg in record.args)
    return True


def _check(answer: httpx.Response) -> None:
    status = answer.status_code
    if answer.is_success:
        return
    why = _STATUSES.get(status, "the server answers with an error")
    wait = _wait(answer.headers.get("Retry-After", ""))
    asks = f", and asks to be left alone for {wait:,.0f} s" if wait else ""
    raise RemoteError(f"{why} (status {status}{asks})", again=status in _PASSING, wait=wait, code=str(status))


def _wait(told: str) -> float:
    """Seconds of a Retry-After, which may be a date."""
    if told.isdecimal():
        return float(told[:9])
    when = _seconds(told)
    return max(0.0, when - time.time()) if when else 0.0


def _seconds(told: str) -> float | None:
    """A date of HTTP, in seconds since 1970."""
    try:
        return parsedate_to_datetime(told).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)")
"""RFC 9110, 14.4."""


def _state(answer: httpx.Response) -> tuple[int | None, int]:
    """Size and time of the file, as far as the answer tells.

    Tags count only where there is no time: servers behind one address may tell different ones of the same file.
    """
    headers = answer.headers
    told = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    length = (told[2] or "") if told else headers.get("Content-Length", "")
    changed = _seconds(headers.get("Last-Modified", ""))
    return (int(length) if length.isdecimal() else None), time_of(changed, None if changed else headers.get("ETag"))


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of the library in words for the user. Its own ones are not passed on: addresses are in them."""
    try:
        yield
    except RemoteError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError) as error:
        raise _in_words(error) from None


def _in_words(error: Exception) -> RemoteError:
    name, message = type(error).__name__, str(error)
    if "SSL" in message or "CERTIFICATE" in message:
        why = "the connection is not secure: its certificate is not one that this machine trusts, or not its own. "
        return RemoteError(f"{why}For an authority of your own set SSL_CERT_FILE")
    if isinstance(error, httpx.ConnectError) and _UNKNOWN_HOST.search(message):
        return RemoteError("there is no such host. Correct the address")
    if isinstance(error, httpx.TooManyRedirects):
        return RemoteError("the server redirects in a circle")
    if isinstance(error, httpx.TimeoutException):
        return RemoteError("the server doesn't answer in time", again=True)
    if isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol):
        return RemoteError(f"the connection failed or broke ({name})", again=True)
    return RemoteError(f"the address is none that can be read ({name})")
