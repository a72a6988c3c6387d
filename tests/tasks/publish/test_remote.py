"""Datasets in an object store: a server that speaks S3, on loopback."""

import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import boto3
import obstore
import pytest

from schemas.dataset import TABLES
from schemas.document import Outcome, Run
from tasks.publish import expired, open_dataset, remote
from tasks.publish.counts import Tally
from tasks.publish.parts import Part
from tasks.publish.remote import RemoteStore
from tasks.publish.snapshots import DatasetBusyError, DatasetError, Snapshot, StoredPart
from tasks.publish.store import newest, open_store
from tasks.publish.summary import Summary
from tasks.report import write_report
from tasks.verify import revert_document, verify

Fixture = Callable[..., Any]

REGION = "us-east-1"
"""The one in which a bucket can be made without naming it."""


@pytest.fixture
def server(s3_server: str) -> str:
    return s3_server


@pytest.fixture(autouse=True)
def environment(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine that knows the server, with no other keys than these, and a cache of its own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    given = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": REGION, "ALLOW_HTTP": "true"}
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_RETRIES", {"max_retries": 1})


@pytest.fixture
def address(server: str) -> str:
    """A place for a dataset, in a bucket of its own."""
    name = f"bucket-{uuid4().hex}"
    client(server).create_bucket(Bucket=name)
    return f"s3://{name}/crawls/江畔 1"


class Dataset(NamedTuple):
    """A dataset in a bucket, with thirty documents in three batches at first."""

    address: str
    outcomes: list[Outcome]
    run: Run
    publish_outcomes: Fixture
    restore: Fixture

    def publish(self, n: int, run_id: str = "run-2") -> None:
        """A run of the first n documents, in one batch."""
        self.publish_outcomes(self.address, replace(self.run, run_id=run_id), self.outcomes[:n])

    def publish_first(self) -> Snapshot:
        """The same as at first."""
        snapshot: Snapshot = self.publish_outcomes(self.address, self.run, *self.batches)
        return snapshot

    @property
    def batches(self) -> list[list[Outcome]]:
        return [self.outcomes[:10], self.outcomes[10:20], self.outcomes[20:]]

    def roll_back(self, number: int) -> None:
        self.restore(self.address, number, self.run)


@pytest.fixture
def data(address: str, outcomes: list[Outcome], run: Run, publish_outcomes: Fixture, restore: Fixture) -> Dataset:
    dataset = Dataset(address, outcomes, run, publish_outcomes, restore)
    dataset.publish_first()
    return dataset


@pytest.fixture
def out(data: Dataset) -> str:
    """Its address."""
    return data.address


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on on another machine: nothing is here that was fetched or put before, and no lock either."""
    return lambda: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / uuid4().hex))


@pytest.fixture
def before_commit(elsewhere: Fixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has another machine do something when this one's parts are in the bucket, and the manifest is to follow."""

    def arrange(action: Callable[[], object]) -> None:
        commit = RemoteStore.commit

        def commit_late(store: RemoteStore, snapshot: Snapshot) -> None:
            monkeypatch.setattr(RemoteStore, "commit", commit)
            elsewhere()
            action()
            commit(store, snapshot)

        monkeypatch.setattr(RemoteStore, "commit", commit_late)

    return arrange


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Objects that are put into buckets from now on."""
    names: list[str] = []
    really = RemoteStore._put

    def noted(store: RemoteStore, part: Part) -> None:
        names.append(part.sha256)
        really(store, part)

    monkeypatch.setattr(RemoteStore, "_put", noted)
    return names


@pytest.fixture
def days_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """All that is in buckets is old, and so will be what comes."""
    return lambda: monkeypatch.setattr(remote, "GRACE", timedelta(seconds=-5))


@pytest.fixture
def old_objects(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objects of the first snapshot have been in the bucket for long, unlike what comes now."""
    really = RemoteStore._objects
    old = {*names(out, "objects")}

    def aged(store: RemoteStore) -> dict[str, Any]:
        there = really(store).items()
        ages = {name: timedelta(days=9 if name in old else 0) for name, _ in there}
        return {name: {**entry, "last_modified": entry["last_modified"] - ages[name]} for name, entry in there}

    monkeypatch.setattr(RemoteStore, "_objects", aged)


def client(server: str) -> Any:
    return boto3.client("s3", endpoint_url=server, region_name=REGION)


def bucket(address: str) -> Any:
    return RemoteStore(address)._bucket


def names(address: str, folder: str) -> list[str]:
    return sorted(Path(entry["path"]).name for entry in obstore.list(bucket(address), folder).collect())


def current(address: str) -> Snapshot:
    snapshot = newest(open_store(address))
    assert snapshot
    return snapshot


def objects(*snapshots: Snapshot) -> list[str]:
    return sorted({part.sha256 for snapshot in snapshots for part in snapshot.objects()})


def vacuum(address: str) -> int:
    store = open_store(address)
    return store.forget(expired(store, 1, timedelta(0)))


class TestPublishing:
    def test_three_snapshots_and_what_is_in_the_bucket(self, data: Dataset, out: str) -> None:
        data.publish(5)
        data.publish(4, "run-3")
        store = open_store(out)
        assert store.numbers() == [1, 2, 3]
        assert names(out, "manifests") == ["000001.json", "000002.json", "000003.json"]
        assert names(out, "objects") == objects(*map(store.snapshot, store.numbers()))
        assert open_dataset(out).to_pandas("runs").run_id.tolist() == ["run-1", "run-2", "run-3"]
        assert verify(out).problems == []

    def test_the_bucket_has_the_same_objects_as_a_folder(self, data: Dataset, out: str, tmp_path: Path) -> None:
        batches = data.publish_outcomes(tmp_path / "out", data.run, *data.batches).batches
        assert current(out).batches == batches
        for name in objects(current(out)):
            content = bytes(obstore.get(bucket(out), f"objects/{name}").bytes())
            assert hashlib.sha256(content).hexdigest() == name

    def test_another_machine_reads_and_goes_on(self, data: Dataset, out: str, elsewhere: Fixture) -> None:
        elsewhere()
        data.publish(5)
        elsewhere()
        assert open_dataset(out).to_pandas("runs").run_id.tolist() == ["run-1", "run-2"]
        assert revert_document(out, data.outcomes[0].origin.doc_id) == data.outcomes[0].text_in
        assert verify(out).ok

    def test_roll_back(self, data: Dataset, out: str) -> None:
        data.publish(5)
        data.roll_back(1)
        assert current(out).restores == 1
        assert len(open_dataset(out).to_pandas("edits")) == 30
        assert verify(out).problems == []

    def test_the_card_names_the_objects(self, data: Dataset, out: str) -> None:
        data.publish(5)
        metadata = json.loads(bytes(obstore.get(bucket(out), "croissant.json").bytes()))
        files = {d["contentUrl"] for d in metadata["distribution"] if "contentUrl" in d}
        assert files == {f"objects/{p.sha256}" for parts in current(out).tables.values() for p in parts}
        assert "configs:" not in bytes(obstore.get(bucket(out), "README.md").bytes()).decode()
        obstore.put(bucket(out), "README.md", b"mine")
        data.roll_back(1)
        assert bytes(obstore.get(bucket(out), "README.md").bytes()) == b"mine"

    def test_a_large_part_goes_up_in_pieces(self, address: str, tmp_path: Path) -> None:
        content = os.urandom(12_000_000)
        path = tmp_path / "part"
        path.write_bytes(content)
        part = Part("clean", path, hashlib.sha256(content).hexdigest(), 1, len(content))
        store = open_store(address)
        store.prepare()
        store.add([part])
        assert not path.exists()
        stored = StoredPart("", part.sha256, 1, part.bytes)
        store.path(stored).unlink()
        assert store.holds(stored)
        assert store.path(stored).read_bytes() == content

    def test_what_is_there_is_not_put_again(self, data: Dataset, put: list[str]) -> None:
        number = data.publish_first().number
        runs = open_store(data.address).snapshot(number).tables["runs"]
        assert put == [part.sha256 for part in runs]

    def test_what_may_be_about_to_be_removed_is_put_again(
        self, data: Dataset, put: list[str], days_pass: Fixture
    ) -> None:
        days_pass()
        assert objects(data.publish_first()) == sorted(put)

    def test_a_part_that_has_gone_leaves_the_dataset_as_it_was(
        self, data: Dataset, out: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        really = RemoteStore.add

        def lose(store: RemoteStore, parts: list[Part]) -> None:
            parts[0].path.unlink()
            really(store, parts)

        monkeypatch.setattr(RemoteStore, "add", lose)
        with pytest.raises(DatasetError, match="nothing was published"):
            data.publish(3)
        assert open_store(out).numbers() == [1]

    def test_two_datasets_do_not_meet(self, data: Dataset, out: str) -> None:
        data._replace(address=out + "-2").publish(5)
        assert len(open_dataset(out).to_pandas("edits")) == 30
        assert len(open_dataset(out + "-2").to_pandas("edits")) == 5
        assert open_store(out).local != open_store(out + "-2").local
        assert open_store(out + "/").local == open_store(out).local


class TestReports:
    def test_a_report_is_an_object_beside_the_tables(self, data: Dataset, out: str, elsewhere: Fixture) -> None:
        store = open_store(out)
        snapshot = data.publish_first()
        summary = Summary(out, snapshot.number, snapshot.counts, Tally(added=30), 1.0)
        made = write_report(store, snapshot, data.run, summary)
        assert made.address == f"{out}/reports/{data.run.run_id}.html"
        elsewhere()
        (size,) = open_store(out).reports().values()
        assert size > 10_000
        assert len(open_store(out).report(data.run.run_id) or b"") == size
        assert open_store(out).report("another") is None
        assert verify(out).ok
        store.drop_reports([data.run.run_id])
        assert store.reports() == {}


class TestTwoAtOnce:
    def test_the_server_refuses_what_is_there(self, address: str) -> None:
        """What all of it rests on: the condition reaches the server, and it keeps it."""
        obstore.put(bucket(address), "x", b"1", mode="create")
        with pytest.raises(obstore.exceptions.AlreadyExistsError, match="412"):
            obstore.put(bucket(address), "x", b"2", mode="create")
        assert bytes(obstore.get(bucket(address), "x").bytes()) == b"1"

    def test_of_two_machines_one_wins_and_the_other_is_told(
        self, data: Dataset, out: str, elsewhere: Fixture, before_commit: Fixture
    ) -> None:
        before_commit(lambda: data.publish(5))
        with pytest.raises(DatasetBusyError, match=r"has published snapshot 2 of s3://.*Run it again"):
            data.publish(3, "loser")
        assert current(out).run_id == "run-2"
        elsewhere()
        assert verify(out).problems == []
        assert len(open_dataset(out).to_pandas("edits")) == 5

    def test_of_many_at_the_same_time_one_wins(self, out: str) -> None:
        snapshot = replace(current(out), number=2)

        def commit(n: int) -> bool:
            try:
                open_store(out).commit(replace(snapshot, run_id=f"run-{n}"))
            except DatasetBusyError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(commit, range(8)))
        assert sum(won) == 1
        assert current(out).run_id == f"run-{won.index(True)}"

    def test_a_commit_whose_answer_was_lost_is_no_conflict(self, out: str) -> None:
        """The library puts it again then, and is told that it is there."""
        snapshot = replace(current(out), number=2)
        open_store(out).commit(snapshot)
        open_store(out).commit(snapshot)
        with pytest.raises(DatasetBusyError):
            open_store(out).commit(replace(snapshot, run_id="run-2"))

    def test_a_refusal_without_a_winner_is_tried_again(self, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """S3 answers 409 Conflict where two put at the same time, or one deletes; the library says AlreadyExists."""
        create = RemoteStore._create
        answers = [False, False]
        monkeypatch.setattr(RemoteStore, "_create", lambda *given: answers.pop() if answers else create(*given))
        open_store(out).commit(replace(current(out), number=2))
        assert open_store(out).numbers() == [1, 2]

    def test_a_store_that_ignores_conditions_is_refused(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        put = obstore.put

        def put_anyway(*given: Any, mode: str = "") -> object:
            return put(*given)

        monkeypatch.setattr(obstore, "put", put_anyway)
        with pytest.raises(DatasetError, match="ignores conditional puts"):
            open_store(address).prepare()

    def test_two_runs_on_one_machine(self, out: str) -> None:
        with (
            open_store(out).lock(),
            pytest.raises(DatasetBusyError, match=rf"^s3://.* is being written by process {os.getpid()} on"),
        ):
            open_store(out).lock().__enter__()


class TestForgetting:
    @pytest.mark.usefixtures("old_objects")
    def test_a_snapshot_goes_at_once_and_its_objects_a_day_later(
        self, data: Dataset, out: str, days_pass: Fixture
    ) -> None:
        first = current(out)
        data.publish(5)
        assert vacuum(out) == 0
        assert names(out, "manifests") == ["000002.json"]
        assert names(out, "objects") == objects(first, current(out))
        days_pass()
        kept = objects(current(out))
        gone = {part.sha256: part.bytes for part in first.objects() if part.sha256 not in kept}
        assert vacuum(out) == sum(gone.values()) > 0
        assert names(out, "objects") == kept
        assert names(out, "forgotten") == []
        assert verify(out).ok

    def test_what_another_machine_has_put_and_not_yet_published_stays(
        self, data: Dataset, out: str, elsewhere: Fixture, before_commit: Fixture
    ) -> None:
        def clear() -> None:
            open_store(out).prepare()
            vacuum(out)

        before_commit(clear)
        data.publish(5)
        elsewhere()
        assert verify(out).problems == []

    @pytest.mark.usefixtures("old_objects")
    def test_a_snapshot_can_be_restored_though_another_machine_removes_it_meanwhile(
        self, data: Dataset, out: str, elsewhere: Fixture, before_commit: Fixture, days_pass: Fixture
    ) -> None:
        data.publish(5)
        before_commit(lambda: vacuum(out))
        data.roll_back(1)
        assert open_store(out).numbers() == [2, 3]
        days_pass()
        vacuum(out)
        elsewhere()
        assert verify(out).problems == []
        assert len(open_dataset(out).to_pandas("edits")) == 30

    def test_what_a_dead_run_left_goes_after_a_day(self, out: str, days_pass: Fixture) -> None:
        obstore.put(bucket(out), "objects/" + "0" * 64, b"?")
        open_store(out).prepare()
        assert "0" * 64 in names(out, "objects")
        days_pass()
        open_store(out).prepare()
        assert names(out, "objects") == objects(current(out))

    def test_who_forgets_at_the_same_time_does_no_harm(
        self, data: Dataset, out: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data.publish(5)
        assert open_store(out).forget([1]) == 0
        assert open_store(out).forget([1]) == 0
        assert open_store(out).numbers() == [2]
        listed = RemoteStore.numbers
        monkeypatch.setattr(RemoteStore, "numbers", lambda store: [1, *listed(store)])  # as it was a moment ago
        assert open_store(out).forget(()) == 0


class TestReading:
    @pytest.mark.usefixtures("old_objects")
    def test_a_reader_that_opened_a_snapshot_goes_on_when_it_is_removed(
        self, data: Dataset, out: str, elsewhere: Fixture
    ) -> None:
        elsewhere()
        dataset = open_dataset(out)
        data.publish(5)
        vacuum(out)
        elsewhere()
        rows = {"clean": 21, "edits": 30, "rejected": 9, "lines": 0, "runs": 1}
        assert {table: len(dataset.to_pandas(table)) for table in TABLES} == rows
        assert list(dataset.snapshots()) == [2]
        with pytest.raises(DatasetError, match="has no snapshot 1"):
            open_dataset(out, 1)

    def test_a_snapshot_that_goes_while_it_is_opened_gives_way_to_the_newest(
        self, data: Dataset, out: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data.publish(5)
        vacuum(out)
        listed = RemoteStore.numbers
        stale = [[1]]
        monkeypatch.setattr(RemoteStore, "numbers", lambda store: stale.pop() if stale else listed(store))
        assert open_dataset(out).number == 2

    def test_a_part_is_fetched_once(self, out: str, elsewhere: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
        elsewhere()
        paths = open_dataset(out).paths("clean")
        monkeypatch.setattr(RemoteStore, "_fetch", lambda *_: pytest.fail("fetched again"))
        assert open_dataset(out).paths("clean") == paths

    def test_what_is_here_and_not_whole_is_fetched_again(self, out: str) -> None:
        (path, *_) = open_dataset(out).paths("clean")
        Path(path).write_bytes(b"PAR1")
        assert len(open_dataset(out).to_pandas("clean")) == 21

    def test_the_cache_keeps_what_is_in_use(self, data: Dataset, out: str) -> None:
        clean = current(out).batches[0].parts["clean"]
        data.publish(5)
        folder = open_store(out).local / "objects"
        for path in folder.iterdir():
            os.utime(path, (1_000_000_000, 1_000_000_000))
        open_store(out).path(clean)
        open_store(out).prepare()
        assert sorted(path.name for path in folder.iterdir()) == sorted([*objects(current(out)), clean.sha256])

    def test_workers_may_have_the_store(self, out: str) -> None:
        store = open_store(out)
        part = current(out).batches[0].parts["clean"]
        with multiprocessing.get_context("forkserver").Pool(1) as pool:
            assert pool.apply(store.path, [part]) == store.path(part)


class TestDamage:
    def first(self, out: str) -> StoredPart:
        return current(out).batches[0].parts["clean"]

    def test_a_missing_object(self, out: str, elsewhere: Fixture) -> None:
        part = self.first(out)
        obstore.delete(bucket(out), f"objects/{part.sha256}")
        assert not open_store(out).holds(part)
        with pytest.raises(DatasetError, match=rf"is damaged: objects/{part.sha256} is missing.*qingyuan verify s3://"):
            open_store(out).prepare()
        for _ in range(2):  # with what this machine has, and without
            (problem,) = verify(out).problems
            assert f"objects/{part.sha256} is missing" in problem
            elsewhere()

    @pytest.mark.parametrize("how", ["cut", "changed"])
    def test_an_object_that_is_not_whole(self, how: str, out: str, elsewhere: Fixture) -> None:
        part = self.first(out)
        content = bytearray(obstore.get(bucket(out), f"objects/{part.sha256}").bytes())
        content[100] ^= 1
        obstore.put(bucket(out), f"objects/{part.sha256}", bytes(content[:-9] if how == "cut" else content))
        assert open_store(out).holds(part) == (how == "changed")
        for _ in range(2):
            (problem,) = verify(out).problems
            assert f"objects/{part.sha256} has the hash" in problem
            elsewhere()
        with pytest.raises(DatasetError, match="it is damaged"):
            open_dataset(out).paths("clean")
        assert list((open_store(out).local / "objects").glob(".*")) == []

    def test_a_manifest_that_cannot_be_read(self, out: str) -> None:
        obstore.put(bucket(out), "manifests/000002.json", b"{")
        with pytest.raises(DatasetError, match=r"s3://.*/manifests/000002\.json can't be read"):
            open_dataset(out)


class TestErrors:
    def refused(self, address: str, match: str) -> None:
        """By readers and writers, without a word of what the library said: keys may be in it."""
        for attempt in (lambda: open_dataset(address), lambda: open_store(address).prepare()):
            with pytest.raises(DatasetError, match=match) as raised:
                attempt()
            told = str(raised.value)
            assert told.startswith(address)
            assert "\n" not in told
            assert "secret" not in told
            assert raised.value.__suppress_context__

    def test_no_bucket(self) -> None:
        self.refused("s3://no-such-bucket/x", "there is no such bucket. Make it.*NoSuchBucket")

    def test_no_dataset(self, address: str) -> None:
        with pytest.raises(DatasetError, match=r"holds no dataset of qingyuan\. Make one"):
            open_dataset(address)

    def test_no_connection(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        self.refused(address, "can't be reached. Look at the connection, and at AWS_ENDPOINT_URL")

    def test_no_keys(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        self.refused(address, "no keys were found. Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION")

    def test_an_address_without_tls(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        self.refused(address, "starts with http://. Set AWS_ALLOW_HTTP=true")

    def test_keys_of_a_profile(self, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        keys = "aws_access_key_id = a\naws_secret_access_key = b\n"
        (tmp_path / "credentials").write_text(f"[default]\n{keys}[crawls]\n{keys}")
        assert open_dataset(out).number == 1
        monkeypatch.setenv("AWS_PROFILE", "crawls")
        assert open_dataset(out).number == 1
        monkeypatch.setenv("AWS_PROFILE", "others")
        with pytest.raises(DatasetError, match=r"others.*could not be found"):
            open_dataset(out)
        monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
        with pytest.raises(DatasetError, match="pip install boto3"):
            open_dataset(out)

    def test_keys_that_are_not_allowed(self, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
        error = obstore.exceptions.PermissionDeniedError(
            "GET https://x/?sig=secret - Server returned non-2xx status code: 403 Forbidden: "
            "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>secret</AWSAccessKeyId></Error>"
        )

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(obstore, "list", fail)
        monkeypatch.setattr(obstore, "put", fail)
        self.refused(out, r"the keys don't allow it\. .*\(SignatureDoesNotMatch, 403\)")

    @pytest.mark.parametrize("address", ["https://example.com/x", "memory:///x", "ftp://host/x", "s3://"])
    def test_places_of_other_kinds(self, address: str) -> None:
        with pytest.raises(DatasetError, match=address):
            open_store(address)

    def test_an_address_of_a_file_is_a_folder(self, tmp_path: Path) -> None:
        assert open_store(f"file://{tmp_path}").local == tmp_path / "_store"
