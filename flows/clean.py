"""The flow `clean_corpus`: raw files in, one snapshot of a clean Parquet dataset out."""

import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from prefect import State, flow, get_run_logger
from prefect.states import Completed

from flows.artifacts import report, run_name
from flows.retries import RETRIES, fail
from schemas.config import RunConfig
from schemas.dataset import run_row
from schemas.document import Run
from tasks import rules
from tasks.document import check_steps
from tasks.publish import DatasetError, DatasetLock, prepare, publish, refuse_to_empty, run_folder
from tasks.publish.parts import Counts
from tasks.publish.summary import Summary
from tasks.read import SourceError, find_sources
from tasks.shards import plan_shards
from tasks.shards.clean_shard import clean_shards
from tasks.shards.progress import tell


@flow(name="clean_corpus", flow_run_name=run_name, retries=RETRIES)
def clean_corpus(config: RunConfig) -> State[Summary]:
    """Clean sources into a dataset, published as one snapshot, or not at all.

    Ends as `CompletedWithRejects` where documents were unreadable, failed or crashed; as `Failed`, with the dataset as
    it was, where there is nothing to read, the dataset can't be written, or it has documents and the run kept none.
    """
    started = time.monotonic()
    logger = get_run_logger()
    run = Run(uuid4().hex, datetime.now(UTC), config.clean, version("qingyuan"), rules.digest())
    try:
        check_steps(config.clean.skip)
        with tempfile.TemporaryDirectory(prefix="qingyuan-") as spool:
            sources = find_sources(config.sources, config.out, Path(spool))
            shards = plan_shards(sources)
            logger.info("%d documents in %d shards, run %s", len(sources), len(shards), run.run_id)
            with DatasetLock(config.out):
                prepare(config.out)
                tell("found", len(sources))
                parts = clean_shards(shards, run, run_folder(config.out, run.run_id), config)
                refuse_to_empty(config.out, parts)
                tell("publishing")
                snapshot = publish(config.out, parts, run_row(run, list(config.sources)))
    except (SourceError, DatasetError, OSError, ValueError) as error:
        return fail(error)
    counts = sum((part.counts for part in parts), Counts())
    summary = Summary(config.out.absolute(), snapshot.number, counts, time.monotonic() - started)
    logger.info("%s, in %s", summary.sentence, summary.out)
    report(summary, run, config)
    if summary.n_failures:
        return Completed(name="CompletedWithRejects", message=summary.sentence, data=summary)
    return Completed(message=summary.sentence, data=summary)
