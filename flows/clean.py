"""The flows: `clean_corpus`, raw files in, one snapshot of a clean Parquet dataset out; and `replay_rejected`."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import State, flow, get_run_logger
from prefect.states import Completed

from flows.artifacts import report, run_name
from flows.retries import RETRIES, fail
from schemas.config import CleanConfig, DatasetConfig, Dedup, ReplayConfig, RunConfig
from schemas.dataset import run_row
from schemas.document import Run
from tasks import rules
from tasks.document import check_steps
from tasks.ingest.plan import Plan, plan_replay, plan_run
from tasks.publish import last_config, publish, refuse_to_empty, run_folder
from tasks.publish.snapshots import DatasetError, Snapshot
from tasks.publish.store import Store, current, newest, open_store
from tasks.publish.summary import Summary
from tasks.read.addresses import shown
from tasks.read.sources import SourceError, find_sources
from tasks.shards import Work
from tasks.shards.clean_shard import clean_sources, n_workers
from tasks.shards.journal import folder_for
from tasks.shards.progress import tell
from tasks.shards.runners import Runner

MakePlan = Callable[[Run, Snapshot | None], Plan]


@flow(name="clean_corpus", flow_run_name=run_name, retries=RETRIES)
def clean_corpus(config: RunConfig) -> State[Summary]:
    """Bring a dataset up to date with its sources, and publish it as one snapshot, or not at all.

    Cleaned is what is new or has changed, and all of it if rules or settings have changed; the rest is carried over.
    Ends as `CompletedWithRejects` where documents were unreadable, failed or crashed; as `Failed`, with the dataset as
    it was, where there is nothing to read, the dataset can't be written, or it has documents and the run kept none.
    """
    started = time.monotonic()
    store = open_store(config.out)
    try:
        check_steps(config.clean.skip)
        with store.lock(config.wait, _tell_who):

            def plan(run: Run, last: Snapshot | None) -> Plan:
                spool = run_folder(store, run.run_id)
                spool.mkdir(parents=True)
                return plan_run(find_sources(config.sources, config.out, spool), last, store, run, config)

            run = _new_run(config.clean)
            row = {"kind": "clean", "sources": [shown(name) for name in config.sources]}
            summary = _run(config, store, run, plan, config.dedup, row, relearn=config.reclean != "never")
    except (SourceError, DatasetError, OSError, ValueError) as error:
        return fail(error)
    return _conclude(summary, run, config, started)


@flow(name="replay_rejected", flow_run_name=run_name, retries=RETRIES)
def replay_rejected(config: ReplayConfig) -> State[Summary]:
    """Clean the rejected documents of a dataset again, and move those that pass now; the others stay as they are.

    Without settings of its own it goes by those of the last run. Ends as `clean_corpus` does.
    """
    started = time.monotonic()
    store = open_store(config.out)
    try:
        with store.lock(config.wait, _tell_who):
            last = current(store)
            usual = last_config(store)
            run = _new_run(config.clean or usual)
            check_steps(run.config.skip)
            _check_replay(run.config, usual)
            dedup: Any = config.dedup or last.dedup
            row = {"kind": "replay", "sources": list(config.reasons)}

            def plan(_run: Run, _last: Snapshot | None) -> Plan:
                return plan_replay(last, store, config.reasons)

            summary = _run(config, store, run, plan, dedup, row, relearn=run.config == usual)
    except (DatasetError, OSError, ValueError) as error:
        return fail(error)
    return _conclude(summary, run, config, started)


def _check_replay(config: CleanConfig, usual: CleanConfig) -> None:
    if config.learn_from != usual.learn_from:
        raise DatasetError(
            f"a replay can't change learn_from ({usual.learn_from}), which is of all documents: run clean"
        )


def _new_run(config: CleanConfig) -> Run:
    return Run(uuid4().hex, datetime.now(UTC), config, version("qingyuan"), rules.digest())


def _run(  # noqa: PLR0913, PLR0917
    config: DatasetConfig,
    store: Store,
    run: Run,
    make_plan: MakePlan,
    dedup: Dedup,
    row: dict[str, Any],
    *,
    relearn: bool = True,
) -> Summary:
    """Plan, clean and publish, with the lock held."""
    store.prepare()
    last = newest(store)
    plan = make_plan(run, last)
    get_run_logger().info(
        "%d sources to read, %d documents carried over, run %s",
        len(plan.to_read) + len(plan.to_pick),
        len(plan.known) - plan.known["leaves"].sum(),
        run.run_id,
    )
    # Absolute, since the workers of a cluster are somewhere else.
    folder, journals = run_folder(store, run.run_id).absolute(), folder_for(run, store.local.absolute() / "work")
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(run, folder, journals, config.max_seconds, n_workers(config))
    first = [source.path for source in plan.to_read[:1] if isinstance(source.path, Path)]
    with Runner(config.runner, config.address, work, first) as runner:
        contents, tally, skipped = clean_sources(plan, last, store, work, runner, dedup, relearn=relearn)
    refuse_to_empty(store, contents.counts)
    tell("publishing")
    counted = {f"n_{name}": n for name, n in asdict(tally).items()}
    told = {
        **run_row(run),
        **row,
        **counted,
        "skipped": [{"kind": kind, "records": n} for kind, n in sorted(skipped.items())],
    }
    snapshot = publish(store, contents, run, told, config.keep_snapshots)
    shutil.rmtree(store.local / "work", ignore_errors=True)
    name = store.name if "://" in store.name else str(Path(store.name).absolute())
    return Summary(name, snapshot.number, snapshot.counts, tally, 0, skipped)


def _tell_who(holder: str) -> None:
    get_run_logger().info("waiting for %s, which is writing the dataset", holder)
    tell("waiting")


def _conclude(summary: Summary, run: Run, config: RunConfig | ReplayConfig, started: float) -> State[Summary]:
    summary = replace(summary, seconds=time.monotonic() - started)
    get_run_logger().info("%s, in %s", summary.sentence, summary.out)
    summary = report(summary, run, config)
    if summary.n_failures:
        return Completed(name="CompletedWithRejects", message=summary.sentence, data=summary)
    return Completed(message=summary.sentence, data=summary)
