"""Documents that went through the pipeline, made by hand: tests of the dataset depend on no step."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from schemas.config import CleanConfig
from schemas.dataset import run_row
from schemas.document import (
    BadByte,
    Cleaned,
    Damage,
    Decoded,
    Edit,
    Origin,
    Outcome,
    Reason,
    Rejection,
    Run,
    Stage,
)
from tasks.corpus import Revision
from tasks.ingest.batches import write_batch
from tasks.publish import KEEP_SNAPSHOTS, Contents, local, publish, run_folder
from tasks.publish.counts import count_rows
from tasks.publish.parts import Draft, write_part
from tasks.publish.snapshots import Batch, Snapshot
from tasks.publish.store import open_store
from tasks.scripts import simplify
from tasks.steps.edits import apply

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["DO_NOT_TRACK"] = "1"

# The same examples each time: what has passed here passes elsewhere. `--hypothesis-profile=default` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

MakeOutcome = Callable[..., Outcome]
PublishOutcomes = Callable[..., Snapshot]

ROW = {
    "kind": "clean",
    "sources": ["pages/"],
    **{f"n_{name}": 0 for name in ("added", "changed", "unchanged", "removed", "recleaned", "relearned")},
}
"""What a flow adds to the row of a run."""


def kept(number: int, text: str = "標題：產(chǎn)業發展。\n第{}段，責任編輯。\n") -> Outcome:
    """A document with a gloss removed, then converted."""
    decoded = text.format(number)
    glosses = tuple(Edit("glosses", "mangler", decoded.index(g), g, "", 0.9) for g in ["(chǎn)"] if g in decoded)
    without = apply(decoded, glosses)
    clean = simplify(without)
    script = tuple(
        Edit("script", "t2s", i, a, b) for i, (a, b) in enumerate(zip(without, clean, strict=True)) if a != b
    )
    stages = tuple(Stage(s[0].step, s) for s in (glosses, script) if s)
    damage = (Damage("shift", "lost-characters", 0, clean[:2]),)
    facts = {"title": "标题", "published_at": "2023-06-24T19:04"}
    return Outcome(
        origin(number, decoded),
        Decoded(decoded, "utf-8", 1.0, "strict"),
        Cleaned(clean, stages, facts, damage, ("shift",)),
    )


def too_short(number: int) -> Outcome:
    """A document that was rejected after cleaning."""
    outcome = kept(number, "產業{}\ufffd")
    assert outcome.decoded
    decoded = Decoded(
        outcome.decoded.text, "gb18030", 0.5, "plausible", (BadByte(5, len(outcome.decoded.text) - 1, 0x80),)
    )
    return Outcome(outcome.origin, decoded, outcome.cleaned, Rejection(Reason.TOO_SHORT, "2 letters are left of 10."))


def unreadable(number: int) -> Outcome:
    """A document of which nothing is known but its place."""
    return Outcome(origin(number, ""), rejection=Rejection(Reason.UNREADABLE, "No permission."))


def origin(number: int, text: str) -> Origin:
    raw = text.encode(errors="replace")
    return Origin(f"file:///pages/{number:05}.txt", "", hashlib.sha256(raw).hexdigest(), len(raw))


@pytest.fixture
def outcomes() -> list[Outcome]:
    """Thirty documents: every fifth too short, every seventh unreadable, and one is empty of edits."""
    made = [too_short(n) if n % 5 == 4 else unreadable(n) if n % 7 == 6 else kept(n) for n in range(29)]
    return [*made, kept(29, "山水人家，一成不变。\n")]


@pytest.fixture
def make_kept() -> MakeOutcome:
    return kept


@pytest.fixture
def run() -> Run:
    return make_run(1)


@pytest.fixture
def later_run() -> Run:
    return make_run(2)


def make_run(number: int) -> Run:
    return Run(f"run-{number}", datetime(2026, 11, number, 12, tzinfo=UTC), CleanConfig(), "0.1.0", f"rules{number}")


def publish_outcomes(
    out: Path,
    run: Run,
    *batches: Sequence[Outcome] | Batch,
    keep: int = KEEP_SNAPSHOTS,
    marks: Mapping[str, Mapping[str, Any]] | None = None,
    **columns: Any,
) -> Snapshot:
    """Make these the dataset, without the flow: batches of outcomes, and batches that are carried over.

    `columns` are those of `runs`; `marks` are columns of `clean`, by id of the document.
    """
    store = open_store(out)
    with store.lock():
        store.prepare()
        folder = run_folder(store, run.run_id)
        made = [b if isinstance(b, Batch) else (None, _draft(b, run, folder, marks or {})) for b in batches]
        lines, files = (write_part(table, [], run, folder) for table in ("lines", "files"))
        return publish(
            store, Contents(made, lines, {"files": files}, "mark"), run, {**run_row(run), **ROW, **columns}, keep
        )


def _draft(outcomes: Iterable[Outcome], run: Run, folder: Path, marks: Mapping[str, Mapping[str, Any]]) -> Draft:
    draft = write_batch(map(Revision, outcomes), run, {}, folder)
    if not marks or "clean" not in draft.parts:
        return draft
    rows = pq.read_table(draft.parts["clean"].path).to_pylist()
    clean = write_part("clean", [{**row, **marks.get(row["doc_id"], {})} for row in rows], run, folder)
    rejected = pq.read_table(draft.parts["rejected"].path) if "rejected" in draft.parts else None
    return Draft({**draft.parts, "clean": clean}, count_rows(pq.read_table(clean.path), rejected))


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
"""Nothing of the browser's own asks the network; without a sandbox since CI is root in a container."""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium of this machine; tests are skipped without one, unless QINGYUAN_BROWSER is `required`.

    For a file and not for all: while its client lives, an event loop runs in this thread, and Prefect takes a flow that
    is called there for one that is to be awaited.
    """
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        message = f"no browser: none of {', '.join(CHROMIUM)} is installed (apt-get install chromium)"
        (pytest.fail if os.environ.get("QINGYUAN_BROWSER") == "required" else pytest.skip)(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a server that speaks S3, with whatever buckets tests make there."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A server with a database of its own, for all runs that are not about another one: its address.

    Without heartbeats, for whose thread every run waits up to a second at its end; test_deployments.py has them. Asked
    again after an error 500: on a busy machine SQLite says now and then that its database is locked.
    """
    from prefect.settings import (
        PREFECT_CLIENT_RETRY_EXTRA_CODES,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        get_current_settings,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    settings = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_CLIENT_RETRY_EXTRA_CODES: "500"}
    with temporary_settings(settings), prefect_test_harness(600):
        url = get_current_settings().api.url
        assert url
        yield url


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary servers: to make its database takes the first one of them as long as a run."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that were exchanged go at once: half a second at each of hundreds of publications adds up."""
    monkeypatch.setattr(local, "GRACE", 0)


@pytest.fixture(name="publish_outcomes")
def _publish_outcomes() -> PublishOutcomes:
    return publish_outcomes


@pytest.fixture
def put() -> PublishOutcomes:
    """The same, for short."""
    return publish_outcomes
