"""A dataset in an object store: s3://, gs:// or az:// (docs/adr/0018-object-stores.md).

    <address>/objects/<sha256>             as in a folder
    <address>/manifests/000001.json        created by a conditional put, which is the commit
    <address>/forgotten/000001.json        manifests of snapshots that were removed: their objects go a day later
    <address>/reports/<run>.html           reports of runs
    <address>/conditional                  no content: tells whether the store knows conditional puts

There is no view: who reads opens a snapshot (`tasks.publish.opened`). Nor is there a lock that several machines could
share: of two runs the first to put its manifest has won, and the other one is told.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tasks.publish.local import LocalStore
from tasks.publish.parts import Part
from tasks.publish.snapshots import (
    DamagedError,
    DatasetBusyError,
    DatasetError,
    Snapshot,
    SnapshotGoneError,
    StoredPart,
    from_json,
    to_json,
)
from tasks.publish.store import OnWait, newest

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import RetryConfig

GRACE = timedelta(days=1)
"""Objects that no manifest names stay so long: another machine may have put them there for its own, and readers may
have opened a snapshot before it was removed. No publishing takes longer, nor do clocks differ by more."""

_RETRIES: "RetryConfig" = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
"""Of every request. The defaults, 10 and three minutes, keep a user waiting who has mistyped the address."""

_UPLOADS = 4
"""Parts at a time, since small ones wait for answers most of all. Of a large one, a piece of 5 MB at a time: four take
the 30 s that a request may take by default (see AWS_TIMEOUT) at 5 Mbit/s."""

_TRIES = 3
"""Of a conditional put that was neither taken nor refused for good."""

_PIECE = 1 << 20

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
"""Those of object_store that can be written to; `file` is a folder, `memory` goes with the process."""


class RemoteStore:
    """See `tasks.publish.store.Store`.

    A folder of this machine stands for the bucket: journals of runs, parts that are being written, and objects that
    were fetched or put, named by the hash of the address, in the user's folder for caches.
    """

    def __init__(self, address: str) -> None:
        self.name = address.rstrip("/")
        name = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        self._folder = LocalStore(_caches() / "qingyuan" / name)
        self._folder.name = self.name
        self.local = self._folder.local
        self._bucket = _connect(self.name)

    def numbers(self) -> list[int]:
        """The snapshots there are, oldest first."""
        names = (Path(entry["path"]) for entry in self._list("manifests"))
        return sorted(int(name.stem) for name in names if name.suffix == ".json" and name.stem.isdigit())

    def snapshot(self, number: int) -> Snapshot:
        """One of the snapshots."""
        try:
            return from_json(self._get(_manifest(number)))
        except FileNotFoundError:
            raise SnapshotGoneError(f"{self.name} has no snapshot {number}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"the manifest {self.name}/{_manifest(number)} can't be read: {error!r}. Restore it, or give another "
                "address"
            ) from error

    def path(self, part: StoredPart) -> Path:
        """The object on this machine, fetched if need be; DamagedError if its hash isn't its own."""
        path = self._folder.path(part)
        try:
            if path.stat().st_size == part.bytes:
                os.utime(path)  # it is in use: see _clear_cache
                return path
        except FileNotFoundError:
            pass
        self._fetch(part, path)
        return path

    def holds(self, part: StoredPart) -> bool:
        """Whether the object is there, in its length."""
        import obstore  # noqa: PLC0415  only where it is used

        with self._explained():
            try:
                return obstore.head(self._bucket, _object(part.sha256))["size"] == part.bytes
            except FileNotFoundError:
                return False

    def lock(self, wait: float = 0, on_wait: OnWait | None = None) -> AbstractContextManager[object]:
        """Keeps runs on this machine apart. Between machines the commit decides."""
        return self._folder.lock(wait, on_wait)

    def prepare(self) -> None:
        """Clear what a dead run left here, and try what publishing will need.

        Raises:
            DatasetError: if the bucket can't be used, doesn't know conditional puts, or holds a damaged dataset.
        """
        self._folder.make()
        shutil.rmtree(self.local / "tmp")
        (self.local / "tmp").mkdir()
        self._try_condition()
        snapshot = newest(self)
        if snapshot:
            self._refuse_damage(snapshot)
        self._clear_cache(snapshot)
        self.forget(())

    def add(self, parts: Sequence[Part]) -> None:
        """Put finished parts into the bucket; on this machine they stay as well, since the next run may want them."""
        there = self._objects()
        fresh = datetime.now(UTC) - GRACE / 2
        missing = [
            part
            for part in parts
            if part.sha256 not in there
            or there[part.sha256]["size"] != part.bytes
            or there[part.sha256]["last_modified"] < fresh  # it may be about to be removed
        ]
        with ThreadPoolExecutor(_UPLOADS) as threads:
            list(threads.map(self._put, {part.sha256: part for part in missing}.values()))
        objects = self.local / "objects"
        for part in parts:
            part.path.replace(objects / part.sha256)

    def commit(self, snapshot: Snapshot) -> None:
        """Create the manifest, if there is none of this number."""
        content = to_json(snapshot).encode()
        for _ in range(_TRIES):
            if self._create(_manifest(snapshot.number), content):
                return
            try:
                there = self._get(_manifest(snapshot.number))
            except FileNotFoundError:  # S3 answers 409 where two put at the same time, and neither may have won
                continue
            if there == content:  # an answer was lost, and the library has put it again
                return
            break
        raise DatasetBusyError(f"another process has published snapshot {snapshot.number} of {self.name}. Run it again")

    def show(self, snapshot: Snapshot) -> None:
        """Nothing to do: readers go by the manifest."""

    def put_beside(self, name: str, content: bytes, mark: bytes) -> None:
        """Put an object beside the folders."""
        import obstore  # noqa: PLC0415

        with suppress(FileNotFoundError):
            if mark not in self._get(name):
                return
        with self._explained():
            obstore.put(self._bucket, name, content)

    def problems(self, snapshot: Snapshot) -> Iterator[str]:
        """Objects that are damaged in the bucket, though this machine has them whole."""
        for part in snapshot.objects():
            if self._folder.holds(part) and (problem := self._problem(part)):
                yield problem

    def pin(self, number: int) -> Callable[[], None]:
        """Nothing to do: objects stay for a day."""
        del number
        return _nothing

    def keep_report(self, run_id: str, page: bytes) -> str:
        """Put the report of a run into `reports/`."""
        import obstore  # noqa: PLC0415

        with self._explained():
            obstore.put(self._bucket, _report(run_id), page, attributes={"Content-Type": "text/html; charset=utf-8"})
        return f"{self.name}/{_report(run_id)}"

    def report(self, run_id: str) -> bytes | None:
        """The report of a run; None if there is none."""
        try:
            return self._get(_report(run_id))
        except FileNotFoundError:
            return None

    def reports(self) -> dict[str, int]:
        """Bytes of the reports there are, by run."""
        return {Path(entry["path"]).stem: entry["size"] for entry in self._list("reports")}

    def drop_reports(self, run_ids: Iterable[str]) -> None:
        """Remove the reports of some runs."""
        import obstore  # noqa: PLC0415

        with self._explained():
            obstore.delete(self._bucket, [_report(run_id) for run_id in run_ids])

    def forget(self, numbers: Iterable[int]) -> int:
        """Remove snapshots now, and objects after a day, if no snapshot has them then."""
        import obstore  # noqa: PLC0415

        for number in numbers:
            try:
                content = self._get(_manifest(number))
            except FileNotFoundError:  # another machine has done it
                continue
            with self._explained():
                obstore.put(self._bucket, _forgotten(number), content)
                obstore.delete(self._bucket, _manifest(number))
        return self._sweep(datetime.now(UTC) - GRACE)

    def _sweep(self, before: datetime) -> int:
        """Remove objects that are older, and have been in no snapshot for as long; how many bytes that freed."""
        objects = self._objects()
        try:
            used = self._used(before)
        except (SnapshotGoneError, FileNotFoundError):  # another machine is at it
            return 0
        unused = [entry for name, entry in objects.items() if name not in used and entry["last_modified"] < before]
        forgotten = [entry for entry in self._list("forgotten") if entry["last_modified"] < before]
        self._delete([entry["path"] for entry in unused])
        self._delete([entry["path"] for entry in forgotten])
        return sum(entry["size"] for entry in unused)

    def _used(self, before: datetime) -> set[str]:
        """Objects of snapshots, and of those that were removed since."""
        used = {part.sha256 for number in self.numbers() for part in self.snapshot(number).objects()}
        for entry in self._list("forgotten"):  # after the manifests: one that goes meanwhile is in both, not in neither
            if entry["last_modified"] >= before:
                used |= {part.sha256 for part in from_json(self._get(entry["path"])).objects()}
        return used

    def _delete(self, paths: list[str]) -> None:
        import obstore  # noqa: PLC0415

        if paths:
            with self._explained():
                obstore.delete(self._bucket, paths)

    def _get(self, path: str) -> bytes:
        import obstore  # noqa: PLC0415

        with self._explained():
            return bytes(obstore.get(self._bucket, path).bytes())

    def _list(self, folder: str) -> list["ObjectMeta"]:
        import obstore  # noqa: PLC0415

        with self._explained():
            return list(obstore.list(self._bucket, folder).collect())

    def _objects(self) -> Mapping[str, "ObjectMeta"]:
        return {entry["path"].rpartition("/")[2]: entry for entry in self._list("objects")}

    def _put(self, part: Part) -> None:
        import obstore  # noqa: PLC0415

        if not part.path.is_file():
            raise DatasetError(f"the part {part.path} has gone: nothing was published. Run it again")
        with self._explained():
            obstore.put(self._bucket, _object(part.sha256), part.path, max_concurrency=1)

    def _create(self, path: str, content: bytes) -> bool:
        """Put an object, if there is none of this name."""
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        with self._explained():
            try:
                obstore.put(self._bucket, path, content, mode="create")
            except (AlreadyExistsError, PreconditionError):  # the latter is what Azure's says
                return False
        return True

    def _try_condition(self) -> None:
        # A store that doesn't know the condition ignores it, and both of two runs would have won.
        if self._create("conditional", b"") and self._create("conditional", b""):
            raise DatasetError(
                f"{self.name} can't hold a dataset: the store ignores conditional puts (If-None-Match), so that two "
                "runs could overwrite each other. Use another"
            )

    def _refuse_damage(self, snapshot: Snapshot) -> None:
        there = self._objects()
        for part in snapshot.objects():
            if part.sha256 not in there or there[part.sha256]["size"] != part.bytes:
                raise DamagedError(
                    f"the dataset {self.name} is damaged: {_object(part.sha256)} is missing, or not whole. See: "
                    f"qingyuan verify {self.name}, and qingyuan rollback {self.name} if there is an older snapshot"
                )

    def _fetch(self, part: StoredPart, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{uuid4().hex}")
        try:
            with beside.open("wb") as file:
                problem = self._problem(part, file.write)
            if problem:
                raise DamagedError(problem)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _problem(self, part: StoredPart, take: Callable[[bytes], object] = len) -> str:
        """What is wrong with an object in the bucket; what it holds is given away piece by piece."""
        import obstore  # noqa: PLC0415

        found = hashlib.sha256()
        where = f"{self.name}/{_object(part.sha256)}"
        with self._explained():
            try:
                for piece in obstore.get(self._bucket, _object(part.sha256)).stream(min_chunk_size=_PIECE):
                    found.update(piece)
                    take(piece)
            except FileNotFoundError:
                return f"{where} is missing"
        if found.hexdigest() != part.sha256:
            return f"the content of {where} has the hash {found.hexdigest()[:16]}… and not its own: it is damaged"
        return ""

    def _clear_cache(self, snapshot: Snapshot | None) -> None:
        """Remove objects from this machine that nobody has used for a day, but for those of the snapshot."""
        used = {part.sha256 for part in snapshot.objects()} if snapshot else set()
        before = time.time() - GRACE.total_seconds()
        for path in (self.local / "objects").iterdir():
            if path.name not in used and path.stat().st_mtime < before:
                path.unlink()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the library in words for the user, without what was sent or received: keys may be in it."""
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and not re.search("NoSuchBucket|ContainerNotFound", str(error)):
                raise
            raise DatasetError(f"{self.name} can't be used: {_reason(error, self.name)}") from None


def _connect(address: str) -> Any:
    from obstore.exceptions import BaseError  # noqa: PLC0415
    from obstore.store import from_url  # noqa: PLC0415

    scheme = address.partition("://")[0]
    if scheme not in _SCHEMES:
        raise DatasetError(
            f"{address} is no place for a dataset. Give a folder, or an address such as s3://bucket/name"
        )
    provider = _profile(address) if scheme in {"s3", "s3a"} else None
    try:
        # No client_options: they would replace those of the environment, AWS_ALLOW_HTTP and AWS_PROXY_URL among them.
        return from_url(address, retry_config=_RETRIES, credential_provider=provider)
    except BaseError as error:
        raise DatasetError(f"{address} can't be used: {_reason(error, address)}") from None


def _profile(address: str) -> Any:
    """Keys as boto3 finds them, where a file has them: the library itself reads the environment alone."""
    named = "AWS_PROFILE" in os.environ
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    if "AWS_ACCESS_KEY_ID" in os.environ or not (named or file.is_file()):
        return None
    try:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    except ImportError:
        if not named:
            return None
        raise DatasetError("AWS_PROFILE is set, and profiles are read with boto3. Do: pip install boto3") from None
    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as error:  # no such profile, no keys in it: nothing secret is in the message
        raise DatasetError(f"{address} can't be used: {error}") from None


_ADVICE = (
    ("NoSuchBucket|ContainerNotFound|bucket does not exist", "there is no such bucket. Make it, or correct the name"),
    (
        "PermanentRedirect|AuthorizationHeaderMalformed|without a LOCATION header",
        "the bucket is in another region. Set AWS_REGION",
    ),
    (
        "/latest/api/token|169\\.254\\.|token request|Account must be specified",
        "no keys were found. Set {variables}",
    ),
    ("builder error", "the address of the store starts with http://. Set AWS_ALLOW_HTTP=true if it is your own"),
    (
        "error sending request|timed out|connect",
        "it can't be reached. Look at the connection, and at {endpoint}",
    ),
    (
        "UnauthenticatedError|PermissionDeniedError|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied",
        "the keys don't allow it. Look at {variables}, and at what they are allowed",
    ),
)
"""What to do, by what object_store says, which is no part of its interface: tests hold some of it."""

_VARIABLES = {
    "s3": ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION", "AWS_ENDPOINT_URL if the store isn't Amazon's"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "the address"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ENDPOINT"),
}


def _reason(error: Exception, address: str) -> str:
    """An error of the library in words. Its own message is not among them: addresses with keys may be in it."""
    message = f"{type(error).__name__} {error}"
    variables, endpoint = _VARIABLES["gs" if address.startswith("gs") else "s3" if address.startswith("s3") else "az"]
    code = re.search(r"<Code>(\w{1,60})</Code>", message)
    status = re.search(r"status code: (\d{3})", message)
    names = ", ".join(found[1] for found in (code, status) if found) or type(error).__name__
    for pattern, advice in _ADVICE:
        if re.search(pattern, message):
            return f"{advice.format(variables=variables, endpoint=endpoint)} ({names})"
    return f"the store answers with an error ({names}). Try again later"


def _caches() -> Path:
    """The user's folder for caches (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _manifest(number: int) -> str:
    return f"manifests/{number:06}.json"


def _report(run_id: str) -> str:
    return f"reports/{run_id}.html"


def _forgotten(number: int) -> str:
    return f"forgotten/{number:06}.json"


def _object(sha256: str) -> str:
    return f"objects/{sha256}"


def _nothing() -> None:
    """Nothing to let go."""
