"""The Prefect tasks of a run: they are given paths and return paths; the work is in `tasks.shards`."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from schemas.config import DatasetConfig, Dedup
from tasks.corpus import Learned, learn
from tasks.ingest.batches import Stored, index_rows, of_run
from tasks.ingest.plan import Plan, split_sources
from tasks.publish import Contents
from tasks.publish.counts import Tally
from tasks.publish.parts import Draft, write_part
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import Store
from tasks.read.sources import Source
from tasks.shards import Shard, Survey, Surveyed, Work, ids_of, plan_shards, survey_shard, write_shard
from tasks.shards.carried import Settled, carried, count_carried, relearned, settle
from tasks.shards.journal import index_journals
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
def clean_shard(shard: Shard, before: Path | None, taken: Path | None, work: Work) -> Surveyed:
    """Clean one shard in a worker process.

    Raises:
        OSError: if what it gives can't be written, after three more tries where that may help.
    """
    with trying(work) as work:  # noqa: PLR1704 (the same, with a folder of its own)
        return survey_shard(shard, before, taken, work)


@task(name="finish_shard", task_run_name="finish-{survey.number:04}", **HOW)
def finish_shard(survey: Survey, learned: Learned, work: Work) -> Draft:
    """Revise one batch in the light of all, and write its parts, in a worker process.

    Raises:
        OSError: if its parts can't be written, after three more tries where that may help.
    """
    with trying(work) as work:  # noqa: PLR1704
        draft = write_shard(survey, learned, work)
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
) -> tuple[Contents, Tally, Counter[str]]:
    """Run both passes over the documents that a plan wants cleaned, and put the result together with the rest.

    Args:
        plan: What is to be done.
        last: The snapshot that it was made from.
        store: Where that lies.
        work: What all shards have in common.
        runner: What carries out their tasks.
        dedup: What becomes of documents that tell the same.
        relearn: Whether carried-over documents are cleaned again if the counts say something else of their lines.

    Returns:
        What is published, what was done, and the records met that are no documents, by kind.

    Raises:
        OSError: as the first shard that failed; the others are stopped then.
    """
    is_done = last and last.settled and (last.dedup, last.rules_digest) == (dedup, work.run.rules_digest)
    taken = index_journals(work.journals, work.folder)
    surveyed = _survey(plan, plan.to_read, taken, work, runner)
    picked = _survey(plan, plan.to_pick, taken, work, runner, plan.picked, begin=len(surveyed))
    # They are counted as they are now, and not as they were, too.
    plan.drop(doc_id for made in _surveys(picked) for doc_id in ids_of(made))
    surveyed += picked
    # At once: each of these calls looks through all documents that are known.
    plan.keep(doc_id for made in surveyed for doc_id in _ids(made.stayed))
    plan.keep_unread(uri for made in surveyed for uri in made.unread)
    before = carried(last, store, plan)
    if last and is_done and not _surveys(surveyed) and not any(stored.gone for stored in before):
        return *_as_it_is(plan, last, work), _skipped(surveyed)
    tell("learning")
    counted = count_carried(before, work)
    new_counted = [made.counts.counted for made in _surveys(surveyed)]
    learned = learn([*new_counted, *counted], work.run.config, work.folder)
    asked = relearned(before, counted, learned, work) if relearn else []
    again = _survey(plan, plan.relearn(asked), taken, work, runner, asked, begin=len(surveyed))
    tell("writing", sum(survey.n_documents for survey in _surveys([*surveyed, *again])))
    drafts = _finish(_surveys(surveyed), learned, work, runner)
    drafts_again = _finish(_surveys(again), learned, work, runner)
    plan.relearned |= set(index_rows(drafts_again, ["doc_id"])["doc_id"].to_pylist())
    drafts += drafts_again
    new = index_rows(drafts, _NEW).to_pandas()
    plan.drop(new["doc_id"])
    files = write_part("files", plan.file_states(work.run), work.run, work.folder)
    batches = [*carried(last, store, plan), *map(of_run, drafts)]
    pairs = last.state.get("pairs") if last and last.rules_digest == work.run.rules_digest else None
    settled = settle_dataset(batches, learned, work, dedup, store.path(pairs) if pairs else None)
    state = {"files": files, **({"pairs": settled.pairs} if settled.pairs else {})}
    contents = Contents(settled.batches, settled.lines, state, dedup, settled=plan.relearned.issuperset(asked))
    return contents, plan.tally(new), _skipped(surveyed)


def _as_it_is(plan: Plan, last: Snapshot, work: Work) -> tuple[Contents, Tally]:
    """No document has come, changed or gone."""
    new = index_rows((), _NEW).to_pandas()
    files = write_part("files", plan.file_states(work.run), work.run, work.folder)
    return Contents(last.batches, last.singles["lines"][0], {**last.state, "files": files}, last.dedup), plan.tally(new)


_NEW = ["doc_id", "state"]

_ID_BYTES = 16


def _ids(path: Path) -> list[str]:
    """Of documents that stayed."""
    told = path.read_bytes()
    return [told[at : at + _ID_BYTES].hex() for at in range(0, len(told), _ID_BYTES)]


def _surveys(surveyed: Iterable[Surveyed]) -> list[Survey]:
    return [survey for made in surveyed for survey in made.surveys]


def _skipped(surveyed: Iterable[Surveyed]) -> Counter[str]:
    return sum((made.skipped for made in surveyed), Counter[str]())


def _finish(surveys: Iterable[Survey], learned: Learned, work: Work, runner: Runner) -> list[Draft]:
    """The second pass over some batches."""
    given = [{"survey": survey, "learned": learned, "work": work} for survey in surveys]
    return runner.each(finish_shard, given, lambda draft: {"written": draft.counts.documents})


def _survey(  # noqa: PLR0913, PLR0917
    plan: Plan,
    sources: Sequence[Source],
    taken: Path | None,
    work: Work,
    runner: Runner,
    picked: Iterable[str] | None = None,
    *,
    begin: int = 0,
) -> list[Surveyed]:
    """The first pass over some sources, or some of their documents, in shards that are numbered from `begin`."""
    if not sources:
        return []
    shards = plan_shards(split_sources(sources), begin)
    befores = plan.before([shard.spans for shard in shards], work.folder, picked)
    asked = [(shard, before) for shard, before in zip(shards, befores, strict=True) if before or picked is None]
    tell("found", sum(span.n_bytes for shard, _ in asked for span in shard.spans))
    given = [
        {"shard": replace(shard, number=number), "before": before, "taken": taken, "work": work}
        for number, (shard, before) in enumerate(asked, begin)  # without gaps, so that others can be numbered from here
    ]
    return runner.each(clean_shard, given, lambda made: made.done, tells=True)


def n_workers(config: DatasetConfig) -> int:
    """Shards that are cleaned at a time."""
    return config.workers or len(os.sched_getaffinity(0))
