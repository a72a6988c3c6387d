"""One process that serves the flow on a schedule, against a server that stays: `qingyuan serve`."""

import asyncio
import signal
import threading
from datetime import datetime
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.logging import get_logger
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from flows.clean import clean_corpus
from flows.local import ServerError
from schemas.config import RunConfig
from tasks.read.addresses import holds_secrets, shown
from tasks.read.sources import STDIN, absolute

logger = get_logger("qingyuan")

START = """Start one that stays, and name it (README, 'Scheduling'):
  prefect server start --host 127.0.0.1 --port 4200
  export PREFECT_API_URL="http://127.0.0.1:4200/api\""""


def serve_on_schedule(config: RunConfig, cron: str, timezone: str, name: str | None) -> None:
    """Serve runs with this configuration, one at a time, until SIGINT or SIGTERM. Its schedule is off afterwards.

    Raises:
        ValueError: if the schedule or the name is none, or a source can't be read again and again.
        ServerError: if there is no server that stays, or it can't be worked with.
    """
    when = next_run(cron, timezone)
    _check_server()
    deployment = _deployment(config, cron, timezone, name)
    asyncio.run(_serve(deployment, when))


async def _serve(deployment: RunnerDeployment, when: datetime) -> None:
    """Serve until we are told to stop; then end the run that is on, turn the schedule off, and end.

    Prefect's own `serve` leaves that run Running for good, at Ctrl-C as well as at SIGTERM.
    """
    runner = Runner(name="qingyuan", limit=1)
    await runner.aadd_deployment(deployment)
    serving = asyncio.create_task(runner.start())
    await asyncio.sleep(0)  # the runner takes SIGTERM when it starts
    stopping = asyncio.create_task(_stop_signal())
    logger.info("Serving clean_corpus/%s; next run %s. Ctrl-C ends it.", deployment.name, f"{when:%Y-%m-%d %H:%M %Z}")
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        await runner.astop()
    await serving


async def _stop_signal() -> None:
    """Wait for SIGINT or SIGTERM.

    Ctrl-C goes to all processes of a terminal, runs included, which would then end in their own way. So it is blocked
    in the thread that starts them, since they inherit that, and another thread is there for it to arrive at.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    await stopped.wait()


def next_run(cron: str, timezone: str) -> datetime:
    """When a schedule fires next.

    Raises:
        ValueError: if it is none, or never fires.
    """
    try:
        dates = asyncio.run(CronSchedule(cron=cron, timezone=timezone).get_dates(1))
    except ValidationError as error:
        if "timezone" in error.errors()[0]["msg"]:
            raise ValueError(f"there is no time zone {timezone!r}: take one such as Asia/Shanghai") from error
        raise ValueError(
            f"{cron!r} is no schedule: give minute, hour, day, month and weekday, such as '0 3 * * *' for 3 at night"
        ) from error
    except ValueError as error:  # of croniter, for the 30th of February
        raise ValueError(f"the schedule {cron!r} never fires") from error
    return dates[0]


def _check_server() -> None:
    """Find out before anything starts whether the server is there, stays, and lets us in."""
    url = get_current_settings().api.url
    if not url:
        raise ServerError(f"there is no Prefect server that the schedule could be kept by. {START}")
    try:
        with get_client(sync_client=True) as client:
            client.hello().raise_for_status()
    except httpx.HTTPStatusError as error:
        if error.response.status_code in {401, 403}:
            why = "doesn't let us in: is PREFECT_API_AUTH_STRING the password that it was started with?"
            raise ServerError(f"the Prefect server at {url} {why}") from error
        raise ServerError(f"what answers at {url} is no Prefect server: {error.response.status_code}") from error
    except (httpx.HTTPError, RuntimeError) as error:
        raise ServerError(f"no Prefect server answers at {url} (PREFECT_API_URL): {error}. {START}") from error


def _deployment(config: RunConfig, cron: str, timezone: str, name: str | None) -> RunnerDeployment:
    """The flow with this configuration as its parameters; paths are absolute, since runs may be started elsewhere."""
    if STDIN in config.sources:
        raise ValueError("standard input can be read once only: serve needs files, folders or patterns")
    if secret := next(filter(holds_secrets, config.sources), None):
        raise ValueError(
            f"the server would keep the password or signature in {shown(secret)}. Put passwords into ~/.netrc; "
            "addresses that are signed expire"
        )
    sources = [absolute(source) for source in config.sources]
    out = config.out if isinstance(config.out, str) else config.out.absolute()
    given = {**config.model_dump(mode="json", exclude_unset=True), "sources": sources, "out": str(out)}
    # By module and not by path, which would depend on the folder this is started in.
    deployment = clean_corpus.to_deployment(
        name=name or Path(out).name,
        schedule=Cron(cron, timezone=timezone),
        parameters={"config": given},
        tags=["qingyuan", Path(out).name],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # a coroutine within an event loop
    return deployment
