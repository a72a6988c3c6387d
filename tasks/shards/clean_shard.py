"""The Prefect tasks of a run: they are given paths and return paths; the work is in `tasks.shards`."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from schemas.config import DatasetConfig, Dedup
from tasks.corpus import Learned, learn
from tasks.ingest.batches import Stored, index_rows, of_run
from tasks.ingest.plan import Plan
from tasks.publish import Contents
from tasks.publish.counts import Tally
from tasks.publish.parts import Draft, write_part
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import Store
from tasks.read import Source
from tasks.shards import Shard, Survey, Work, plan_shards, survey_shard, write_shard
from tasks.shards.carried import Settled, carried, count_carried, relearned, settle
from tasks.shards.journal import Entries, restricted, scan
from tasks.shards.progress import tell
from tasks.shards.runners import Runner, trying

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
    with trying(work) as work:  # noqa: PLR1704 (the same, with a folder of its own)
        return survey_shard(shard, taken, work)


@task(name="finish_shard", task_run_name="finish-{survey.number:04}", **HOW)
def finish_shard(survey: Survey, learned: Learned, work: Work, first_runs: Mapping[str, str]) -> Draft:
    """Revise one shard in the light of all, and write its parts, in a worker process.

    Raises:
        OSError: if its parts can't be written, after three more tries where that may help.
    """
    with trying(work) as work:  # noqa: PLR1704
        draft = write_shard(survey, learned, work, first_runs)
    counts = draft.counts
    get_run_logger().info(
        "%d documents: %d clean, %d rejected", counts.documents, counts.clean, counts.rejected.total()
    )
    return draft


@task(name="settle_dataset", **HOW)
def settle_dataset(
    batches: Sequence[Stored], learned: Learned, work: Work, dedup: Dedup, known_pairs: Path | None
) -> Settled:
    """Compare all documents with each other, and write anew the batches that change by that, or lose documents.

    Raises:
        OSError: if something can't be read or written, after three more tries where that may help.
    """
    try:
        return settle(batches, learned, work, dedup, known_pairs)
    except BaseException:
        tell("stopped")
        raise


def clean_sources(  # noqa: PLR0913, PLR0917
    plan: Plan, last: Snapshot | None, store: Store, work: Work, runner: Runner, dedup: Dedup, *, relearn: bool
) -> tuple[Contents, Tally]:
    """Run both passes over the documents that a plan wants cleaned, and put the result together with the rest.

    Args:
        plan: What is to be done.
        last: The snapshot that it was made from.
        store: Where that lies.
        work: What all shards have in common.
        runner: What carries out their tasks.
        dedup: What becomes of documents that tell the same.
        relearn: Whether carried-over documents are cleaned again if the counts say something else of their lines.

    Raises:
        OSError: as the first shard that failed; the others are stopped then.
    """
    before = carried(last, store, plan)
    is_done = last and last.settled and (last.dedup, last.rules_digest) == (dedup, work.run.rules_digest)
    if last and is_done and not plan.to_clean and not any(stored.gone for stored in before):
        return _as_it_is(plan, last, work)
    taken = scan(work.journals)
    surveyed = _survey(plan.to_clean, 0, taken, work, runner)
    tell("writing")
    counted = count_carried(before, work)
    learned = learn([*(made.counts.counted for _, made in surveyed), *counted], work.run.config, work.folder)
    asked = relearned(before, counted, learned, work)
    again = plan.relearn(asked) if relearn else []
    if again:
        tell("found", len(again))
        surveyed += _survey(again, len(surveyed), taken, work, runner)
        tell("writing")
    given = [
        {"survey": made, "learned": learned, "work": work, "first_runs": first_runs}
        for (_, made), first_runs in zip(surveyed, plan.first_runs([s.sources for s, _ in surveyed]), strict=True)
    ]
    drafts: list[Draft] = runner.each(finish_shard, given)
    new = index_rows(drafts, _NEW).to_pandas()
    files = write_part("files", plan.file_states(new, work.run), work.run, work.folder)
    batches = [*carried(last, store, plan), *map(of_run, drafts)]
    pairs = last.state.get("pairs") if last and last.rules_digest == work.run.rules_digest else None
    settled = settle_dataset(batches, learned, work, dedup, store.path(pairs) if pairs else None)
    state = {"files": files, **({"pairs": settled.pairs} if settled.pairs else {})}
    contents = Contents(settled.batches, settled.lines, state, dedup, settled=plan.relearned.issuperset(asked))
    return contents, plan.tally(new)


def _as_it_is(plan: Plan, last: Snapshot, work: Work) -> tuple[Contents, Tally]:
    """No document has come, changed or gone."""
    new = index_rows((), _NEW).to_pandas()
    files = write_part("files", plan.file_states(new, work.run), work.run, work.folder)
    return Contents(last.batches, last.singles["lines"][0], {**last.state, "files": files}, last.dedup), plan.tally(new)


_NEW = ["doc_id", "source_uri", "raw_sha256"]


def _survey(
    sources: Sequence[Source], begin: int, taken: Entries, work: Work, runner: Runner
) -> list[tuple[Shard, Survey]]:
    """The first pass over some sources, in shards that are numbered from `begin`."""
    shards = plan_shards(sources, begin)
    given = [{"shard": shard, "taken": restricted(taken, shard.uris), "work": work} for shard in shards]
    made = runner.each(clean_shard, given, lambda survey: len(survey.entries))
    return list(zip(shards, made, strict=True))


def n_workers(config: DatasetConfig) -> int:
    """Shards that are cleaned at a time."""
    return config.workers or len(os.sched_getaffinity(0))
