"""Objects of S3, and of what speaks its language, with boto3.

Keys, regions and endpoints come from the environment (AWS_…), from ~/.aws/config and ~/.aws/credentials, and from
roles of instances and containers. Where there is no key anywhere, requests are anonymous, which public buckets allow;
AWS_SKIP_SIGNATURE=true asks for that.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from tasks.read.remote import AT_A_TIME, Entry, Fetched, RemoteError, time_of

ATTEMPTS = 6
"""Of a request, by boto3 itself: for errors that it knows to pass, with a quarter of a minute of waits in all."""

CONNECT_SECONDS, READ_SECONDS = 10, 60

_PIECE = 1 << 20

_ADVICE = {
    "NoSuchBucket": "there is no such bucket. Correct the name; if the store isn't Amazon's, set AWS_ENDPOINT_URL",
    "NoSuchKey": "there is no such object (any more)",
    "InvalidAccessKeyId": "the key is not known there. Look at AWS_ACCESS_KEY_ID, AWS_PROFILE and AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "the secret key is a wrong one. Look at AWS_SECRET_ACCESS_KEY, or the profile",
    "ExpiredToken": "the session has expired. Get new keys, or log in again",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "PermanentRedirect": "the bucket is in another region. Set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region. Set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket is in another region. Set AWS_REGION",
    "InvalidObjectState": "the object is archived (Glacier). Restore it first",
    "InvalidBucketName": "that is no name of a bucket",
}
"""What to do, by the code of the answer (Amazon S3 API Reference, Error responses)."""

_MISSING = {"404", "NoSuchKey"}
"""Codes of what isn't there: an answer to HEAD has no content to say more."""

_NO_PERMISSION = (
    "the keys don't allow it, or there are none. Look at AWS_ACCESS_KEY_ID or AWS_PROFILE, and at what they are "
    "allowed: s3:ListBucket for folders and patterns, s3:GetObject"
)


_STATUSES = {
    301: _ADVICE["PermanentRedirect"],
    400: "the store refuses the request: the keys may be wrong, or the bucket in another region. Look at AWS_REGION",
    404: _ADVICE["NoSuchKey"],
    429: "the store has too much to do. Try again later",
    500: "the store is out of order. Try again later",
    503: "the store has too much to do. Try again later",
}

_FAULTS = (
    ("SSL", "the certificate is not one that this machine trusts. For an authority of your own set AWS_CA_BUNDLE"),
    (
        "ProfileNotFound|Credential|SSO|Token|ConfigParse",
        "no keys. Look at AWS_PROFILE, ~/.aws/config and ~/.aws/credentials, or log in again",
    ),
    ("ParamValidation|Bucket", "that is no name of a bucket or an object"),
    ("Region", "AWS_REGION is none"),
    ("^ValueError|Endpoint(?!Connection)", "AWS_ENDPOINT_URL is no address. Write it with https:// or http://"),
    ("", "the connection failed. Look at it, and at AWS_ENDPOINT_URL if the store isn't Amazon's"),
)
"""What to do, by the name of the exception (botocore.exceptions)."""


def stat(address: str) -> Entry | None:
    """An object; None if there is no such."""
    bucket, key = _split(address)
    try:
        found = _ask("head_object", bucket, Key=key)
    except RemoteError as error:
        if error.code not in _MISSING:
            raise
        return None
    return Entry(address, found["ContentLength"], time_of(found["LastModified"].timestamp(), found.get("ETag")))


def walk(folder: str) -> Iterator[Entry]:
    """All objects beneath a folder, by the thousand."""
    bucket, prefix = _split(folder)
    for page in _pages(bucket, Prefix=prefix):
        yield from (_entry(bucket, found) for found in page.get("Contents", ()))


def children(folder: str, start: str) -> tuple[list[str], list[Entry]]:
    """Folders and objects right beneath a folder, whose names begin so."""
    bucket, prefix = _split(folder)
    pages = list(_pages(bucket, Prefix=prefix + start, Delimiter="/"))
    folders = [f"s3://{bucket}/{found['Prefix']}" for page in pages for found in page.get("CommonPrefixes", ())]
    return folders, [_entry(bucket, found) for page in pages for found in page.get("Contents", ())]


def fetch(address: str, begin: int, end: int) -> Fetched:
    """A part of an object; all of it, if it is empty."""
    bucket, key = _split(address)
    try:
        answer = _ask("get_object", bucket, Key=key, Range=f"bytes={begin}-{end - 1}")
    except RemoteError as error:
        if error.code != "InvalidRange" or begin:
            raise
        answer = _ask("get_object", bucket, Key=key)
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.get("ContentRange", ""))
    n_bytes = int(told[2]) if told else answer["ContentLength"]
    changed = time_of(answer["LastModified"].timestamp(), answer.get("ETag"))
    return Fetched(_pieces(answer["Body"]), int(told[1]) if told else 0, n_bytes, changed, True, answer["Body"].close)


def _ask(operation: str, bucket: str, **asked: str) -> Any:
    with _explained():
        return getattr(_client(), operation)(Bucket=bucket, **asked)


def _pieces(body: Any) -> Iterator[bytes]:
    with _explained(again=True):
        yield from body.iter_chunks(_PIECE)


def _pages(bucket: str, **asked: str) -> Iterator[Any]:
    with _explained():
        yield from _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, **asked)


def _entry(bucket: str, found: Any) -> Entry:
    changed = time_of(found["LastModified"].timestamp(), found.get("ETag"))
    return Entry(f"s3://{bucket}/{found['Key']}", found["Size"], changed)


def _split(address: str) -> tuple[str, str]:
    bucket, _, key = str.__str__(address).partition("://")[2].partition("/")
    return bucket, key


def _client() -> Any:
    return _client_of(os.getpid(), tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=4)
def _client_of(_process: int, _environment: tuple[tuple[str, str], ...]) -> Any:
    """A client with its connections, which a forked process must not share."""
    import boto3  # noqa: PLC0415  only where it is used
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    logging.getLogger("botocore").setLevel(logging.INFO)  # below that it logs what it signs with
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    unsigned = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in {"1", "true"} or session.get_credentials() is None
    config = Config(
        signature_version=UNSIGNED if unsigned else None,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=AT_A_TIME,
        response_checksum_validation="when_required",  # of a part there is none
    )
    return session.client("s3", config=config, region_name=session.region_name or "us-east-1")


@contextmanager
def _explained(*, again: bool = False) -> Iterator[None]:
    """Errors of the library in words for the user. Its own ones are not passed on: what was sent may be in them.

    Requests have been tried again by the library; what may help is to ask again for what had begun to come.
    """
    try:
        import boto3  # noqa: F401, PLC0415  only where it is used
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415
    except ImportError:
        raise RemoteError("reading s3:// takes boto3. Do: pip install boto3") from None
    try:
        yield
    except ClientError as error:
        raise _refusal(error.response) from None
    except RemoteError:
        raise
    except (BotoCoreError, HTTPError, OSError, ValueError) as error:
        name = type(error).__name__
        advice = next((advice for names, advice in _FAULTS if re.search(names, name)), "Try again later")
        raise RemoteError(f"{advice} ({name})", again=again) from None


def _refusal(answer: Any) -> RemoteError:
    code, status = answer["Error"].get("Code", ""), answer["ResponseMetadata"].get("HTTPStatusCode", 0)
    usual = _NO_PERMISSION if status in {401, 403} else _STATUSES.get(status, "the store answers with an error")
    told = code if code == str(status) else f"{code}, {status}"
    return RemoteError(f"{_ADVICE.get(code, usual)} ({told})", code=code)
