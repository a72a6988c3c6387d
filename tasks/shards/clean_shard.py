"""The Prefect tasks of a run: they are given paths and return paths; the work is in `tasks.shards`."""

import errno
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import wait
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectConcurrentFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from schemas.config import DatasetConfig, Dedup
from tasks.corpus import Learned
from tasks.ingest.batches import Stored, marked
from tasks.publish.parts import Draft
from tasks.publish.snapshots import Batch
from tasks.read import Source
from tasks.shards import Shard, Survey, Work, finish_shard, plan_shards, settle, survey_shard
from tasks.shards.journal import Entries
from tasks.shards.processes import stop_processes
from tasks.shards.progress import tell

HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors that a second try would meet again."""

def _is_passing(_task: Any, _run: Any, state: Any) -> bool:
    """Whether trying again may help: an error of reading or writing (a network drive), and not a full disk."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and error.errno not in HOPELESS


HOW: dict[str, Any] = {
    "tags": {"qingyuan-shard"},
    "cache_policy": NO_CACHE,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _is_passing,
}
"""What all tasks have in common."""


@task(name="clean_shard", task_run_name="clean-{shard.number:04}", **HOW)
def clean_shard(shard: Shard, taken: Entries, work: Work) -> Survey:
    """Clean one shard in a worker process.

    Raises:
        OSError: if what it gives can't be written, after three more tries where that may help.
    """
    return survey_shard(shard, taken, work)


@task(name="finish_shard", task_run_name="finish-{shard.number:04}", **HOW)
def finish_shard(survey: Survey, learned: Learned, shard: Shard, work: Work, *, sign: bool) -> Draft:
    """Revise one shard in the light of all, and write its parts, in a worker process.

    Raises:
        OSError: if its parts can't be written, after three more tries where that may help.
    """
    draft = write_shard(survey, learned, shard, work, sign=sign)
    counts = draft.counts
    get_run_logger().info(
        "%d documents: %d clean, %d rejected", counts.documents, counts.clean, counts.rejected.total()
    )
    return draft


@task(name="settle_dataset", **HOW)
def settle_dataset(plan: Plan, carried: Sequence[Stored], drafts: Sequence[Draft], learned: Learned, work: Work, dedup: Dedup) -> Contents:
    """Compare all documents with each other, and write anew what changes by that or loses documents.

    Raises:
        OSError: if something can't be read or written, after three more tries where that may help.
    """
    try:
        return settle(plan, carried, drafts, learned, work, dedup)
    except BaseException:
        tell("stopped")
        raise


def clean_sources(plan: Plan, last: Snapshot | None, store: Store, work: Work, dedup: Dedup) -> tuple[Contents, Tally]:
    """Run both passes over what a plan says is to be cleaned, and carry the rest over.

    Raises:
        OSError: as the first shard that failed; the others are stopped then.
    """
    shards = plan_shards(plan.to_clean, plan.first_runs)
    surveys = _survey(shards, work)
    tell("writing")
    learned = learn_from(surveys, carried_batches(last, store, plan), work)
    ...


def n_workers(config: DatasetConfig) -> int:
    """Shards that are cleaned at a time."""
    return config.workers or len(os.sched_getaffinity(0))


def _each(work: Task[..., Any], given: Sequence[dict[str, Any]], n: int) -> list[Any]:
    """Run a task for each of the parameters, as many at a time as there are workers; results in their order."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=n)
    with runner:
        futures: list[PrefectConcurrentFuture[Any]] = []
        try:
            futures.extend(runner.submit(work, parameters) for parameters in given)
            return [future.result() for future in futures]
        except BaseException:
            _stop(futures)
            tell("stopped")
            raise


def _stop(futures: Sequence[PrefectConcurrentFuture[Any]]) -> None:
    """Cancel what hasn't begun and end what has: Prefect waits for its threads, and they for their processes."""
    waiting = {future.wrapped_future for future in futures if not future.wrapped_future.cancel()}
    while waiting:
        stop_processes()
        waiting = wait(waiting, timeout=0.1).not_done
