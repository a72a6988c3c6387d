"""Where the tasks of a run are carried out: on this machine, or by the workers of a cluster of Dask or Ray.

Prefect's task runners do it. This module starts and ends them, hands out tasks a few at a time, and stops what is under
way when a run is given up. Which shards there are, and what comes of them, does not depend on it (docs/adr).
"""

import errno
import importlib.util
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from tasks import rules
from tasks.shards import Work
from tasks.shards.processes import StoppedError, allow_children, is_wanted, stop_processes
from tasks.shards.progress import tell

if TYPE_CHECKING:
    from prefect import Task
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

PACKAGES = {"dask": "prefect_dask", "ray": "prefect_ray"}
"""What a runner needs; the extra that brings it has the name of the runner."""

CONNECT_SECONDS = 10
"""For an address to answer."""

NO_WORKERS_SECONDS = 120
"""A cluster may be without a worker for so long: until one has been started, or started again."""

STOP_SECONDS = 10
"""For shards that are under way on a cluster to end when a run is given up. They look every second."""

AHEAD = 2
"""Tasks handed out, times what a cluster carries out at a time. Not all at once: Dask counts the death of a worker
against all tasks that were waiting for it as well, and fails those that were counted four times."""

NEEDS = (
    "Each needs the same version of qingyuan, the same paths to the sources and the dataset, and Prefect's server "
    "(PREFECT_API_URL); see docs/scale.md"
)

_STOPPED = "stopped"
"""A file of this name in the folder of a run tells its tasks that it was given up."""

_PORTS = {"": 8786, "tcp": 8786, "tls": 8786, "ray": 10001}
"""Of addresses that name none, by their schemes: those of `dask scheduler` and `ray start`."""


Done = Callable[[Any], Mapping[str, int]]
"""Events of `tasks.shards.progress` that a result stands for."""


def _quiet(_: Any) -> Mapping[str, int]:
    return {}


class RunnerError(OSError):
    """A cluster can't be reached, can't do the work, or was lost."""

    errno = errno.ECONNRESET  # it may be there when Prefect tries the run again (flows.retries)


class ExtraError(ValueError):
    """A runner is not installed."""


def check_runner(name: str) -> None:
    """Find out whether a runner is installed, without loading it.

    Raises:
        ExtraError: if it is not.
    """
    package = PACKAGES.get(name)
    if package and not importlib.util.find_spec(package):
        raise ExtraError(
            f"the runner {name} is not installed. It is the extra `{name}` of qingyuan: "
            f"pip install --constraint constraints.txt --editable '.[{name}]'"
        )


@dataclass(frozen=True, slots=True)
class _Engine:
    """A task runner of Prefect that has been started, and that for which Prefect has no common words."""

    runner: "TaskRunner[Any]"
    n_slots: Callable[[], int]
    """Tasks that it carries out at a time; 0 if there is nobody to do so."""
    finished: Callable[[Sequence[Any]], Sequence[Any]]
    """Waits for the first of its own futures to be done, but no more than a second; those that are."""
    stop: Callable[[Sequence[Any]], None]
    """Ends what is under way."""
    losses: tuple[type[Exception], ...] = ()
    """Errors of the cluster, and not of a task."""
    is_elsewhere: bool = True
    """Whether tasks are carried out by processes in which nobody watches."""


class Runner:
    """Carries out the tasks of a run. A cluster that it has started ends with it; it starts one when it is needed.

    Args:
        name: `local`, `dask` or `ray`.
        address: Of a cluster that is there. Otherwise a temporary one is started, with as many workers as `work` has.
        work: What all shards of the run have in common.
        sources: Files that the workers of a cluster must see.

    Raises:
        ExtraError: if it is not installed.
        RunnerError: if nothing answers at the address.
    """

    def __init__(self, name: str, address: str | None, work: Work, sources: Sequence[Path] = ()) -> None:
        check_runner(name)
        if address:
            _knock(address)
        self._open = {"local": _local, "dask": _dask, "ray": _ray}[name]
        self._address = address
        self._work = work
        self._sources = sources
        self._engine: _Engine | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def each(
        self,
        what: "Task[..., Any]",
        given: Sequence[dict[str, Any]],
        done: Done = _quiet,
        *,
        tells: bool = False,
    ) -> list[Any]:
        """Run a task for each of the parameters; results in their order.

        What a lost worker was at, another one does again.

        Args:
            what: The task.
            given: Its parameters.
            done: What a result stands for, for whoever watches (`tasks.shards.progress`).
            tells: Whether the task tells that itself, so that it is known already if it was carried out here.

        Raises:
            RunnerError: if workers of a cluster can't do the work, or it was lost, or has no workers any more.
            Exception: what the first task that failed raised; the others are stopped then.
        """
        if not given:
            return []
        engine = self._started()
        running: dict[Any, tuple[int, PrefectFuture[Any]]] = {}
        try:
            return self._run_all(engine, what, given, running, _quiet if tells and not engine.is_elsewhere else done)
        except BaseException as error:
            self._give_up(engine, list(running))
            if isinstance(error, engine.losses):
                raise RunnerError(f"the cluster failed: {type(error).__name__}: {error}") from error
            raise

    def _run_all(
        self,
        engine: _Engine,
        what: "Task[..., Any]",
        given: Sequence[dict[str, Any]],
        running: "dict[Any, tuple[int, PrefectFuture[Any]]]",
        done: Done,
    ) -> list[Any]:
        """Hand out tasks and take their results in, until there are no more."""
        results: list[Any] = [None] * len(given)
        waiting = deque(range(len(given)))
        last_seen = time.monotonic()
        while waiting or running:
            n_slots = engine.n_slots()
            last_seen = _checked(n_slots, last_seen)
            numbers = [waiting.popleft() for _ in range(min(len(waiting), n_slots * AHEAD - len(running)))]
            for number, future in zip(numbers, self._submit(engine, what, [given[n] for n in numbers]), strict=True):
                running[future.wrapped_future] = number, future
            for ready in engine.finished(list(running)):
                # Nobody wants it any more then; else a cluster makes it again if it is lost later.
                number, future = running.pop(ready)
                results[number] = future.result()
                for event, n in done(results[number]).items():
                    tell(event, n)
        return results

    def _started(self) -> _Engine:
        if self._engine is None:
            self._work.folder.mkdir(parents=True, exist_ok=True)
            self._engine = self._stack.enter_context(self._open(self._address, self._work, self._sources))
        return self._engine

    def _submit(self, engine: _Engine, what: "Task[..., Any]", given: Sequence[dict[str, Any]]) -> list[Any]:
        """Hand out tasks; to other processes with the address of Prefect's server: each would start one for itself."""
        from prefect.settings import PREFECT_API_URL, temporary_settings

        updates = {PREFECT_API_URL: _server()} if engine.is_elsewhere else {}
        with temporary_settings(updates):
            return [engine.runner.submit(what, parameters) for parameters in given]

    def _give_up(self, engine: _Engine, running: Sequence[Any]) -> None:
        with suppress(OSError):
            (self._work.folder / _STOPPED).touch()
        with suppress(Exception):  # what went wrong first is told
            engine.stop(running)
        tell("stopped")


@contextmanager
def trying(work: Work) -> Iterator[Work]:
    """Have a task done in this process, whichever it is: in a folder of its own, and ended if the run is given up.

    Another worker may be at the same shard: one that was taken for lost, and is not.

    Raises:
        StoppedError: if the run was given up already.
    """
    allow_children()

    def wanted() -> bool:
        """Whether the run goes on. Otherwise it has said so, or another one has cleared what it left."""
        try:
            return work.folder.is_dir() and not (work.folder / _STOPPED).exists()
        except OSError:
            return True  # a network drive that stutters

    if not wanted():
        raise StoppedError("the run was stopped")
    token = is_wanted.set(wanted)
    try:
        folder = work.folder / uuid4().hex
        folder.mkdir()
        yield replace(work, folder=folder)
    finally:
        is_wanted.reset(token)


def _checked(n_slots: int, last_seen: float) -> float:
    """When a cluster was last seen with workers."""
    now = time.monotonic()
    if n_slots:
        return now
    if now - last_seen > NO_WORKERS_SECONDS:
        raise RunnerError(f"the cluster has had no workers for {NO_WORKERS_SECONDS} s")
    return last_seen


def _server() -> str:
    """Address of Prefect's server, the temporary one included."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    assert context  # tasks are run by flows
    return str(context.client.api_url).rstrip("/")


def _knock(address: str) -> None:
    """Find out whether anything answers at an address; Dask and Ray take their time to say that nothing does."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.scheme not in _PORTS or not place.hostname or address in {"auto", "local"}:
        return
    try:
        port = place.port or _PORTS[place.scheme]
        socket.create_connection((place.hostname, port), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise RunnerError(f"no cluster answers at {address}: {error}") from error


def _connected(connect: Callable[[], Any], address: str | None) -> Any:
    """What connecting to a cluster gives; without signals for the processes that it starts.

    Ctrl-C reaches all processes of a terminal, and this one decides. Threads and processes inherit what is blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return connect()
    except Exception as error:
        where = f"can't work with the cluster at {address}" if address else "can't start a cluster"
        raise RunnerError(f"{where}: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_workers(ask: Callable[..., Iterable[tuple[str, Any]]], work: Work, sources: Sequence[Path]) -> None:
    """Have the workers of a cluster find out whether they can do the work.

    Raises:
        RunnerError: if one of them can't.
    """
    expected = work.run.pipeline_version, work.run.rules_digest
    there = [path for path in (work.folder, work.journals.parent, *sources) if path.exists()]
    try:
        found = dict(ask(_missing, expected, there, _server()))
    except Exception as error:
        raise RunnerError(f"the workers of the cluster can't do the work: {error}. {NEEDS}") from error
    for worker, problem in found.items():
        if problem:
            raise RunnerError(f"the worker {worker} of the cluster {problem}. {NEEDS}")


def _missing(expected: tuple[str, str], paths: Sequence[Path], server: str) -> str | None:
    """In a worker of a cluster: what it has not, and must have."""
    if (version("qingyuan"), rules.digest()) != expected:
        return "has another version of qingyuan"
    for path in paths:
        if not path.exists():
            return f"doesn't see {path}"
    try:
        httpx.get(f"{server}/health", timeout=CONNECT_SECONDS)
    except httpx.HTTPError as error:
        return f"doesn't reach Prefect's server at {server} ({error})"
    return None


def _polled(look: Callable[[], list[Any]]) -> list[Any]:
    """The first that is found within a second."""
    until = time.monotonic() + 1
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _wait_for_end(futures: Sequence[Any], finished: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
    """Give shards that were told to stop the time to do so."""
    until = time.monotonic() + STOP_SECONDS
    waiting = set(futures)
    while waiting and time.monotonic() < until:
        waiting.difference_update(finished(list(waiting)))


@contextmanager
def _local(_address: str | None, work: Work, _sources: Sequence[Path]) -> Iterator[_Engine]:
    """Threads of this process, each with a process of its own for its shard."""
    from prefect.task_runners import ThreadPoolTaskRunner

    def finished(futures: Sequence[Any]) -> Sequence[Any]:
        return list(wait(futures, 1, FIRST_COMPLETED).done)

    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=work.n_workers)
    with runner:
        yield _Engine(runner, lambda: work.n_workers, finished, _stop_threads, is_elsewhere=False)


def _stop_threads(futures: Sequence[Any]) -> None:
    """Cancel what hasn't begun and end what has: Prefect waits for its threads, and they for their processes."""
    waiting = {future for future in futures if not future.cancel()}
    while waiting:
        stop_processes()
        waiting = wait(waiting, timeout=0.1).not_done


@contextmanager
def _dask(address: str | None, work: Work, sources: Sequence[Path]) -> Iterator[_Engine]:
    import distributed
    from prefect_dask.task_runners import DaskTaskRunner

    of_client: dict[str, Any] = {"client_kwargs": {"timeout": CONNECT_SECONDS}}
    temporary = {
        "n_workers": work.n_workers,
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",  # None is port 8787 all the same
        "silence_logs": logging.CRITICAL,  # of the workers
        "security": True,  # others on this machine could have it run what they like
        "env": {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"},
    }
    given = {"address": address} if address else {"cluster_kwargs": temporary}
    losses = (distributed.scheduler.KilledWorker, CancelledError, distributed.comm.core.CommClosedError)

    def finished(futures: Sequence[Any]) -> Sequence[Any]:
        return _polled(lambda: [future for future in futures if future.done()])

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with DaskTaskRunner(**given, **of_client) as runner:
        client = _connected(lambda: runner.client, address)
        _check_workers(lambda *call: client.run(*call).items(), work, sources)

        def stop(futures: Sequence[Any]) -> None:
            if address:  # a temporary cluster ends with its shards
                _wait_for_end(futures, finished)
            client.cancel(futures)

        yield _Engine(runner, lambda: sum(client.nthreads().values()), finished, stop, losses)


@contextmanager
def _ray(address: str | None, work: Work, sources: Sequence[Path]) -> Iterator[_Engine]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:  # it would end workers for what their processes take, and the kernel ends those that do
        os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of GPUs
    ray: Any = importlib.import_module("ray")  # is not installed where types are checked
    runner_class: Any = importlib.import_module("prefect_ray").RayTaskRunner

    temporary = {
        "address": "local",
        "num_cpus": work.n_workers,
        "include_dashboard": False,
        "object_store_memory": 2**27,  # results are paths; 30 % of the memory otherwise
        "_node_ip_address": "127.0.0.1",
    }
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    runner = runner_class(init_kwargs={**quiet, **({"address": address} if address else temporary)})

    def finished(futures: Sequence[Any]) -> Sequence[Any]:
        # Without waiting in there: a signal that arrives meanwhile becomes a SystemError.
        return _polled(lambda: ray.wait(list(futures), num_returns=len(futures), timeout=0)[0])

    def stop(futures: Sequence[Any]) -> None:
        if address:
            _wait_for_end(futures, finished)
        for future in futures:
            ray.cancel(future, force=True)

    def on_each_node(function: Callable[..., Any], *args: Any) -> Iterator[tuple[str, Any]]:
        for node in [node["NodeID"] for node in ray.nodes() if node["Alive"]]:
            there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            remote = ray.remote(function).options(num_cpus=0, scheduling_strategy=there)
            yield node, ray.get(remote.remote(*args), timeout=6 * CONNECT_SECONDS)

    at_end = signal.getsignal(signal.SIGTERM)
    try:
        _connected(runner.__enter__, address)
        with suppress(ValueError):  # not in the main thread; there, Ray has put its own in place of it
            signal.signal(signal.SIGTERM, at_end)
        _check_workers(on_each_node, work, sources)
        yield _Engine(
            runner, lambda: int(ray.cluster_resources().get("CPU", 0)), finished, stop, (ray.exceptions.RayError,)
        )
    finally:
        ray.shutdown()
