"""When Prefect tries a run again: after errors that may pass, with a pause that grows.

Prefect has no condition for retries of a flow, and one pause for all of them; so both are set here, at the server, when
a run fails. Another try is cheap: it takes up the documents that are finished.
"""

from typing import Any

from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy
from prefect.context import FlowRunContext
from prefect.states import Failed

from tasks.shards.clean_shard import HOPELESS

RETRIES = 2
"""Of a run; each of its tasks has been tried four times before that."""

PAUSES = (60, 600)
"""Seconds before the first and the second one: a network drive that is gone comes back in minutes, or not by itself."""


def fail(error: Exception) -> State[Any]:
    """State of a run that failed for good, with the error as its message.

    Raises:
        Exception: the error given, where Prefect is to try the run again.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.empirical_policy.retries:
        tries_left = run.empirical_policy.retries - run.run_count + 1
        again = tries_left > 0 and may_pass(error)
        pause = PAUSES[min(run.run_count, len(PAUSES)) - 1]
        policy = FlowRunPolicy(retries=run.empirical_policy.retries if again else 0, retry_delay=pause)
        with get_client(sync_client=True) as client:
            client.update_flow_run(run.id, empirical_policy=policy)
        if again:
            raise error
    return Failed(message=str(error), data=error)


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: an error of reading or writing, and not a full disk, say."""
    return isinstance(error, OSError) and error.errno is not None and error.errno not in HOPELESS
