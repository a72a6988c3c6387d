"""Deployments on a real server with a password, started by the commands of the README. Tests build on each other."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]

from schemas.config import RunConfig
from tasks.verify import verify

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
T = TypeVar("T")

PASSWORD = "admin:of-the-test"
NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。"
PAGE = f"您的位置:首页 > 国内 >\n{NEWS * 3}\n责任编辑:张三\n"

FASTER = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
}
"""Settings of Prefect that make the test short, and nothing else different."""


def readme_commands(port: int) -> list[list[str]]:
    """Words of the shell commands in the README's section, for this port and password."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Scheduling")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    text = "".join(blocks).replace("4200", str(port)).replace("admin:choose-a-password", PASSWORD)
    return [shlex.split(line) for line in text.splitlines()]


class Place(NamedTuple):
    """A project folder with a server, and what it takes to talk to it."""

    folder: Path
    environment: dict[str, str]
    commands: list[list[str]]
    api: httpx.Client
    processes: dict[str, "subprocess.Popen[bytes]"]

    def start(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start a command that stays, in a session of its own, so that what it leaves can be ended."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [BIN / command[0], *command[1:]],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.processes[name]

    def call(self, *command: str) -> str:
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def readme(self, *start: str) -> list[str]:
        """The command of the README that begins so."""
        return next(words for words in self.commands if words[: len(start)] == list(start))

    def ask(self, path: str, **body: Any) -> Any:
        # Prefect's CSRF protection asks for a token with every POST.
        token = self.api.get("/csrf-token", params={"client": "test"}).raise_for_status().json()["token"]
        headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"}
        answer = self.api.post(path, json=body, headers=headers).raise_for_status()
        return answer.json() if answer.content else None

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Its runs that are not to come, newest first."""
        runs = self.ask(
            "/flow_runs/filter", deployments={"name": {"any_": [deployment]}}, sort="EXPECTED_START_TIME_DESC"
        )
        return [run for run in runs if run["state_name"] not in {"Scheduled", "Late"}]

    def turn_off(self, deployment: str) -> None:
        """Turn the schedule off, and wait for what it has started."""
        (found,) = self.ask("/deployments/filter", deployments={"name": {"any_": [deployment]}})
        self.ask(f"/deployments/{found['id']}/pause_deployment")
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait_for(
            lambda: {run["state_type"] for run in self.runs(deployment)} <= final or None, "the last run", self.log
        )

    def run(self, deployment: str) -> None:
        self.call("prefect", "deployment", "run", f"clean_corpus/{deployment}")

    def wait_for_state(self, deployment: str, *states: str) -> dict[str, Any]:
        """The newest run of a deployment, once it is in one of these states."""

        def reached() -> dict[str, Any] | None:
            return next((run for run in self.runs(deployment)[:1] if run["state_name"] in states), None)

        return wait_for(reached, f"a run of {deployment} in state {states}", self.log)

    def holder(self, out: Path) -> int:
        """The process that writes a dataset, once there is one."""

        def held() -> int | None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                pid = int(json.loads((out / "_store" / "lock").read_bytes())["pid"])
                return pid if Path(f"/proc/{pid}").exists() else None
            return None

        return wait_for(held, f"a run that writes {out}", self.log)

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))


def wait_for(look: Callable[[], T | None], what: str, log: Callable[[], str], seconds: float = 600) -> T:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(0.2)
    pytest.fail(f"not within {seconds} s: {what}\n{log()}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("project")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    commands = readme_commands(port)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(folder / "prefect"), **FASTER}
    environment |= dict(word.split("=", 1) for words in commands if words[0] == "export" for word in words[1:])
    name, _, password = PASSWORD.partition(":")
    with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=(name, password)) as api:
        place = Place(folder, environment, commands, api, {})
        try:
            place.start("server", place.readme("prefect", "server", "start"))
            wait_for(lambda: answers(api), "an answer of the server", place.log)
            yield place
        finally:
            for process in reversed(place.processes.values()):
                end(process)


def answers(api: httpx.Client) -> bool | None:
    with contextlib.suppress(httpx.HTTPError):
        return api.get("/health").is_success or None
    return None


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, kindly at first, and all that it has left."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def pages(place: Place) -> Path:
    folder = place.folder / "seeds"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"{PAGE}第{number}页。")
    (folder / "空.txt").touch()
    return folder


@pytest.fixture(scope="module")
def worker(place: Place, pages: Path) -> Place:
    """A worker, and the deployments of prefect.yaml, of which `nightly` fires every ten seconds."""
    del pages
    config = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (schedule,) = config["deployments"][0]["schedules"]
    assert schedule == {"cron": "0 3 * * *", "timezone": "UTC", "active": False}
    config["deployments"][0]["schedules"] = [{"interval": 10}]
    (place.folder / "prefect.yaml").write_text(yaml.safe_dump(config))
    (place.folder / "flows").symlink_to(ROOT / "flows")
    place.call(*place.readme("prefect", "work-pool", "create"))
    place.call(*place.readme("prefect", "--no-prompt", "deploy"))
    place.start("worker", place.readme("prefect", "worker", "start"))
    return place


def test_the_server_asks_for_the_password(place: Place) -> None:
    assert httpx.get(f"{place.api.base_url}flows/count").status_code == 401
    assert place.api.post("/flow_runs/filter", json={}).status_code == 403


def test_deployments_are_a_form_with_a_limit(worker: Place) -> None:
    deployments = {deployment["name"]: deployment for deployment in worker.ask("/deployments/filter")}
    assert deployments.keys() == {"nightly", "rebuild", "backfill"}
    for deployment in deployments.values():
        form = deployment["parameter_openapi_schema"]["definitions"]["RunConfig"]["properties"]
        assert all(field["description"] for field in form.values())
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert "qingyuan" in deployment["tags"]
        RunConfig.model_validate(deployment["parameters"]["config"])
    assert deployments["rebuild"]["parameters"]["config"]["reclean"] == "all"
    assert deployments["backfill"]["parameters"]["config"]["keep_missing"] is True
    assert deployments["nightly"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


def test_a_schedule_fires_and_the_run_says_what_it_did(worker: Place, pages: Path) -> None:
    def completed() -> dict[str, Any] | None:
        return next((run for run in worker.runs("nightly") if run["state_name"] == "Completed"), None)

    run = wait_for(completed, "a run by the schedule", worker.log)
    worker.turn_off("nightly")
    out = worker.folder / "data" / "clean-seeds"
    report = verify(out)
    assert report.ok
    assert report.documents == 4
    assert re.fullmatch(r"clean-seeds nightly \d{4}-\d\d-\d\d \d\d:\d\dZ", run["name"])
    assert {"qingyuan", "clean-seeds", "auto-scheduled"} <= set(run["tags"])
    artifacts = {a["key"]: a for a in worker.ask("/artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}
    assert {"clean-seeds-summary", "clean-seeds-dataset"} < artifacts.keys()
    (reject,) = json.loads(artifacts["clean-seeds-rejects"]["data"])
    assert reject["reason"] == "empty"
    assert reject["address of that one"] == f"file://{pages}/空.txt"
    changes = json.loads(artifacts["clean-seeds-changes"]["data"])
    assert [row["document"] for row in changes] == ["0.txt", "1.txt", "2.txt"]
    assert "boilerplate" in changes[0]["what was done"]
    logs = worker.ask("/logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})
    assert {"prefect.flow_runs", "prefect.task_runs"} <= {log["name"] for log in logs}


def test_the_dataset_is_an_asset_made_of_its_sources(worker: Place, pages: Path) -> None:
    def made() -> dict[str, Any] | None:
        names = {"name": ["prefect.asset.materialization.succeeded"]}
        events = worker.ask("/events/filter", filter={"event": names, "order": "ASC"})["events"]
        return events[0] if events else None

    event = wait_for(made, "an event about the asset", worker.log)
    out = worker.folder / "data" / "clean-seeds"
    assert event["resource"]["prefect.resource.id"] == f"file://{out}"
    assert event["payload"]["snapshot"] == 1
    assert event["payload"]["rows in clean"] == 3
    upstream = [related["prefect.resource.id"] for related in event["related"]]
    assert f"file://{pages}/*.txt" in upstream


def test_a_run_that_is_killed_is_crashed_and_the_next_one_publishes(worker: Place, pages: Path) -> None:
    out = worker.folder / "data" / "clean-seeds"
    for number in range(120):
        (pages / f"more-{number:03}.txt").write_text(f"{number}。{PAGE * 4}")
    before = pd.read_parquet(out / "runs").snapshot.tolist()
    worker.run("rebuild")
    os.kill(worker.holder(out), signal.SIGKILL)
    crashed = worker.wait_for_state("rebuild", "Crashed")
    assert "SIGKILL" in crashed["state"]["message"]
    assert pd.read_parquet(out / "runs").snapshot.tolist() == before
    assert verify(out).ok
    worker.run("rebuild")
    worker.wait_for_state("rebuild", "Completed")
    assert pd.read_parquet(out / "runs").snapshot.tolist() == [*before, before[-1] + 1]
    assert len(pd.read_parquet(out / "clean")) == 123
    assert verify(out).ok


def test_serve_runs_on_a_schedule_and_ends_well(place: Place, pages: Path) -> None:
    command = ["qingyuan", "serve", str(pages), "--out", "data/served", "--name", "often"]
    command += ["--cron", "* * * * * */10"]  # seconds come last
    serving = place.start("serve", command)
    assert place.holder(place.folder / "data" / "served")
    os.killpg(serving.pid, signal.SIGINT)  # as a terminal does
    assert serving.wait(600) == 0
    assert place.wait_for_state("often", "Cancelled")["state"]["message"] == "Runner is shutting down."
    (deployment,) = place.ask("/deployments/filter", deployments={"name": {"any_": ["often"]}})
    assert deployment["paused"]
    assert deployment["parameters"]["config"]["sources"] == [str(pages)]
    assert deployment["entrypoint"] == "flows.clean.clean_corpus"


def test_a_run_whose_worker_died_with_it_is_crashed_by_the_automation(worker: Place) -> None:
    automations = yaml.safe_load((ROOT / "automations.yaml").read_text())
    automations["automations"][0]["trigger"]["within"] = 10  # the least that Prefect takes
    (worker.folder / "automations.yaml").write_text(yaml.safe_dump(automations))
    worker.call(*worker.readme("prefect", "automation", "create"))
    worker.run("rebuild")
    run = worker.holder(worker.folder / "data" / "clean-seeds")
    worker.wait_for_state("rebuild", "Running", "Crashed")  # by the automation already, on a machine that is slow
    os.killpg(worker.processes["worker"].pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(run, signal.SIGKILL)
    crashed = worker.wait_for_state("rebuild", "Crashed")
    assert "Nothing was heard" in crashed["state"]["message"]
