"""Addresses of what lies elsewhere: what is shown of them, and what they are relative to.

Passwords and signatures in an address are for its server alone. What is stored, logged or shown is the address without
them (`shown`); a request takes it as it was given, from an `Address`, or by `revealed`.
"""

import re
from typing import Self
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

MARK = "@"
"""Before the name of a list (`tasks.read.lists`)."""

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,30})(?=://)")
"""RFC 3986; of two characters at least, since C: is a drive."""

_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "azure": "az", "abfss": "abfs"}
"""Other names of the same stores: of Hadoop's connectors, and of gcsfs and adlfs."""

_SECRET = re.compile(
    # As Amazon, Google, Alibaba, Huawei, Volcengine and Tencent sign addresses (their documentation of signed URLs) …
    r"x-(?:amz|goog|oss|obs|tos|cos|ms)-.*|q-(?:sign|ak|key|header|url|signature).*|awsaccesskeyid|googleaccessid"
    r"|ossaccesskeyid|accesskeyid|key-pair-id|.*signature|sig"
    # … and what others let in by.
    r"|.*token|.*secret.*|.*passw(?:or)?d|pwd|.*api[_-]?key|access[_-]?key.*|credentials?|jwt|hmac|hdnts|hdnea|_upt",
    re.IGNORECASE,
)
"""Names of query parameters that let someone in."""

_BESIDE = re.compile(r"expires|policy|e|se|sp|sr|ss|srt|st|sv|spr|sip|si|ske|skoid|sks|skt|sktid|skv", re.IGNORECASE)
"""Those that stand beside a signature, and change with it: Amazon's, CloudFront's, Qiniu's, Azure's."""

_LONG = re.compile(r"key|auth|auth_key|authorization|pass|session(?:_?id)?", re.IGNORECASE)
"""Names of keys, but of other things as well: `key=12` is a page, and what has 16 characters may be a key."""

_KEPT: dict[str, str] = {}
"""Addresses as they were given, by what is shown of them. They are in the memory of this process alone: Prefect keeps
the parameters of a flow in its database."""


class Address(str):
    """An address with all that is secret in it, which it doesn't print.

    Libraries that take a `str` see all of it; so does pickle.
    """

    __slots__ = ()

    def __new__(cls, address: str) -> Self:
        """With all that is in it, also of one that is an `Address` already."""
        return super().__new__(cls, str.__str__(address))

    def __str__(self) -> str:
        return shown(self)

    def __repr__(self) -> str:
        return repr(shown(self))

    def __format__(self, spec: str) -> str:
        return format(shown(self), spec)


def scheme_of(name: str) -> str:
    """`s3` of `s3://…` and its other names, in lower case; empty for a path and for `file://`."""
    found = SCHEME.match(name)
    scheme = found[1].lower() if found else ""
    return "" if scheme == "file" else _ALIASES.get(scheme, scheme)


def is_web(name: str) -> bool:
    """Whether it is an address of http or https, which alone have a query, and are percent-encoded."""
    return scheme_of(name) in {"http", "https"}


def shown(name: str) -> str:
    """A name without passwords, signatures and tokens; a path stays as it is.

    A list keeps its `@`, and its base is looked at as well.
    """
    raw = str.__str__(name)
    if raw.startswith(MARK):
        file, mark, base = raw[1:].partition("#")
        return f"{MARK}{shown(file)}{mark}{shown(base)}"
    if not scheme_of(raw):
        return raw
    try:
        parts = urlsplit(raw)
    except ValueError:  # brackets that hold no address of IPv6, for one
        return f"{raw.partition('://')[0]}://…"
    user, mark, host = parts.netloc.rpartition("@")
    if not is_web(raw):  # where a name before @ may be that of a container (abfs://) or a user (sftp://)
        rest = raw.partition("://")[2][len(parts.netloc) :]
        return f"{scheme_of(raw)}://{user.partition(':')[0]}{mark}{host}{rest}"
    return urlunsplit((parts.scheme.lower(), host.lower(), parts.path, _without_secrets(parts.query), ""))


def _without_secrets(query: str) -> str:
    parameters = [(part, *map(unquote, part.partition("=")[::2])) for part in query.split("&")]
    is_signed = any(_SECRET.fullmatch(name) for _, name, _ in parameters)
    return "&".join(
        part
        for part, name, value in parameters
        if not (
            _SECRET.fullmatch(name)
            or (is_signed and _BESIDE.fullmatch(name))
            or (len(value) >= 16 and _LONG.fullmatch(name))
        )
    )


def holds_secrets(name: str) -> bool:
    """Whether something is left out of what is shown of a name."""
    bare, seen = (text.lower().partition("://")[2] for text in (str.__str__(name), shown(name)))
    return bare != seen and bare.partition("#")[0] != seen


def hidden(name: str) -> str:
    """What is shown of a name, for places that are seen; this process still finds the rest (`revealed`)."""
    seen = shown(name)
    if seen != name:
        _KEPT[seen] = str.__str__(name)
    return seen


def revealed(name: str) -> str:
    """A name as it was given, if it went through `hidden` in this process."""
    return _KEPT.get(name, name)


def uri_of(address: str) -> str:
    """The `source_uri` of a single thing: ASCII, without secrets."""
    if is_web(address):
        return quote(shown(address), safe=_RESERVED)
    scheme, _, rest = shown(address).partition("://")
    return f"{scheme}://{quote(rest)}"


def address_of(uri: str) -> str:
    """The address behind a `source_uri`; the reverse of `uri_of`, but for secrets."""
    return revealed(uri) if is_web(uri) else unquote(uri)


_RESERVED = ":/?#[]@!$&'()*+,;=%~"
"""Characters that stay as they are in an address of the web (RFC 3986), and what is percent-encoded already."""


def base_name(address: str) -> str:
    """Name of the file at an address."""
    if is_web(address):
        return unquote(urlsplit(address).path.rpartition("/")[2])
    return str.__str__(address).rstrip("/").rpartition("/")[2]


def root_of(address: str) -> str:
    """Host or bucket: what relative names in a list are relative to, as in those of Common Crawl."""
    scheme, _, rest = str.__str__(address).partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/"


def joined(base: str, name: str) -> str:
    """A relative name under a base."""
    if is_web(base):
        return urljoin(base if base.endswith("/") else f"{base}/", name)
    return f"{base.rstrip('/')}/{name.lstrip('/')}" if base else name


def is_within(address: str, folder: str) -> bool:
    """Whether something lies in a folder elsewhere, or is it."""
    if not scheme_of(folder):
        return False
    address, folder = shown(address).rstrip("/"), shown(folder).rstrip("/")
    return address == folder or address.startswith(f"{folder}/")
