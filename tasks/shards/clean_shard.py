"""The Prefect tasks `clean_shard` and `finish_shard`, one each per shard: they are given paths and return paths."""

import errno
import os
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectConcurrentFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from schemas.config import RunConfig
from schemas.document import Reason, Run
from tasks.corpus import Learned, Survey, learn, write_lines
from tasks.corpus.table import Batch
from tasks.publish.parts import Counts, Part
from tasks.shards import Shard, mark_parts, survey_shard, write_shard
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
"""What both tasks have in common."""


@task(name="clean_shard", task_run_name="clean-{shard.number:04}", **HOW)
def clean_shard(shard: Shard, run: Run, folder: Path, max_seconds: float) -> Survey:
    """Clean one shard in a worker process.

    Raises:
        OSError: if what it gives can't be written, after three more tries where that may help.
    """
    return survey_shard(shard, run, folder, max_seconds)


@task(name="finish_shard", task_run_name="finish-{survey.number:04}", **HOW)
def finish_shard(survey: Survey, learned: Learned, run: Run, folder: Path, max_seconds: float) -> list[Part]:
    """Revise one shard in the light of all, and write its parts, in a worker process.

    Raises:
        OSError: if its parts can't be written, after three more tries where that may help.
    """
    parts = write_shard(survey, learned, run, folder, max_seconds)
    counts = sum((part.counts for part in parts), Counts())
    get_run_logger().info(
        "%d documents: %d clean, %d rejected", counts.documents, counts.clean, counts.rejected.total()
    )
    return parts


def clean_shards(shards: Sequence[Shard], run: Run, folder: Path, config: RunConfig) -> list[Part]:
    """Run both passes over all shards (`tasks.corpus`); parts in the order of the shards.

    Raises:
        OSError: as the first shard that failed; the others are stopped then.
    """
    given = {"run": run, "folder": folder, "max_seconds": config.max_seconds}
    surveys = _each(clean_shard, [{"shard": shard, **given} for shard in shards], config)
    tell("writing")
    learned = learn([survey.counted for survey in surveys], run.config, folder)
    parts = _each(finish_shard, [{"survey": survey, "learned": learned, **given} for survey in surveys], config)
    finished = [part for of_shard in parts for part in of_shard if part.table != "index"]
    finished += write_lines([_batch(of_shard) for of_shard in parts], learned, run, folder)
    return finished if config.dedup == "off" else mark_duplicates(finished, run, folder, config)


def _batch(parts: Sequence[Part]) -> Batch:
    paths = {part.table: part.path for part in parts}
    return Batch(paths["index"], paths.get("clean"), paths.get("rejected"), paths.get("edits"))


@task(name="mark_duplicates", **HOW)
def mark_duplicates(parts: list[Part], run: Run, folder: Path, config: RunConfig) -> list[Part]:
    """Find documents that tell the same, over all parts, and mark or drop them.

    Raises:
        OSError: if a part can't be read or written, after three more tries where that may help.
    """
    tell("comparing")
    try:
        marked = mark_parts(parts, config.dedup, run, folder, _n_workers(config))
    except BaseException:
        tell("stopped")
        raise
    counts = sum((part.counts for part in marked), Counts())
    n_dropped = counts.rejected[Reason.DUPLICATE]
    get_run_logger().info("%d duplicates marked, %d dropped", counts.duplicates, n_dropped)
    return marked


def _n_workers(config: RunConfig) -> int:
    return config.workers or len(os.sched_getaffinity(0))


def _each(work: Task[..., Any], given: Sequence[dict[str, Any]], config: RunConfig) -> list[Any]:
    """Run a task for each of the parameters, as many at a time as there are workers; results in their order."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=_n_workers(config))
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
