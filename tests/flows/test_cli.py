import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from flows.cli import REPLAYED, main, replay_config
from schemas.config import CleanConfig, ReadConfig
from schemas.document import Outcome, Reason, Run
from tasks.publish.snapshots import Snapshot
from tasks.shards.journal import index_journals
from tasks.steps import STEPS
from tasks.verify import verify

ROOT = Path(__file__).parents[2]
QINGYUAN = [sys.executable, "-m", "flows"]
SEED = next((ROOT / "seeds").glob("002*"))
NEWS = "本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。"

BOMB = """
import os, signal, time
from pathlib import Path
from tasks.steps import STEPS

def bomb(text, context):
    if "SEGFAULT" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "RAISE" in text:
        raise ValueError("a bug")
    while "SPIN" in text:
        pass
    if "SLEEP" in text:
        Path("asleep").touch()
        time.sleep(600)
    return ()

STEPS["bomb"] = bomb
"""
"""A step that does to its process what a bug in a library might. Python runs `sitecustomize` in every process."""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


class TestOptions:
    def test_help_says_exit_codes(self) -> None:
        assert "3    clean: published, but documents were unreadable" in call("--help").output

    def test_version(self) -> None:
        assert re.fullmatch(r"qingyuan, version \d+\.\d+\.\d+\n", call("--version").output)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["clean"], "Missing SOURCE..."),
            (["clean", "seeds"], "Missing --out"),
            (["clean", "seeds", "--out", "x", "--script", "hanz"], "'hanz' is not one of"),
            (["clean", "seeds", "--out", "x", "--workers", "0"], "0 is not in the range 1<=x<=256"),
            (["clean", "seeds", "--out", "x", "--skip", "spma"], "there is no step 'spma'; the steps are: "),
            (["clean", "seeds", "--out", "x", "--config", "none.toml"], "'none.toml' does not exist"),
            (["clean", "nothing-here", "--out", "x"], "no such file or folder: 'nothing-here'"),
            (["explain", "nothing-here"], "no such file or folder: 'nothing-here'"),
            (["check", "nothing-here"], "no such file or folder: 'nothing-here'"),
            (["revert", "seeds", "abc"], "seeds holds no dataset of qingyuan"),
            (["verify", "seeds"], "seeds holds no dataset of qingyuan"),
            (["verify", "nothing-here"], "does not exist"),
            (["replay", "seeds"], "seeds holds no dataset of qingyuan"),
            (["replay", "nothing-here"], "does not exist"),
            (["replay", "seeds", "--reason", "duplicate"], "'duplicate' is not one of"),
            (["clean", "seeds", "--out", "x", "--reclean", "some"], "'some' is not one of"),
            (["clean", "seeds", "--out", "x", "--wait", "-1"], "-1.0 is not in the range"),
            (["clean", "seeds", "--out", "x", "--keep-snapshots", "0"], "0 is not in the range"),
            (["claen"], "No such command 'claen'"),
        ],
    )
    def test_wrong_use_is_explained_without_a_traceback(
        self, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        result = call(*arguments)
        assert result.exit_code == 2
        assert message in re.sub(r"\s+", " ", result.output)
        assert "Traceback" not in result.output
        assert not Path("x").exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                "wrokers = 2",
                "unknown key 'wrokers' in the top level. Did you mean 'workers'? Known there: out, workers",
            ),
            ("[clean]\nscirpt = 'hant'", "unknown key 'scirpt' in [clean]. Did you mean 'script'? Known there: script"),
            ("[clean]\nmin_chars = -1", "clean.min_chars: Input should be greater than or equal to 0 (it is -1)"),
            ("[clean]\nscript = 'xx'", "clean.script: Input should be 'hans', 'hant'"),
            ("[clean]\nskip = ['x']", "there is no step 'x'; the steps are: "),
            ("clean = 3", "clean: Input should be a valid dictionary"),
            ("workers = ", "is no TOML file that can be read"),
            ("workers = 1\nworkers = 2", "is no TOML file that can be read"),
        ],
    )
    def test_errors_of_the_configuration_say_where_and_what_is_known(
        self, content: str, message: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "run.toml"
        file.write_text(content)
        result = call("check", SEED, "--config", file)
        assert result.exit_code == 2
        assert "run.toml" in result.output or "no step" in result.output
        assert message in result.output

    def test_options_go_before_the_configuration(self, tmp_path: Path) -> None:
        file = tmp_path / "run.toml"
        file.write_text(f"[clean]\nscript = 'hant'\nskip = {list(STEPS)}")
        assert call("check", SEED, "--config", file).exit_code == 0
        assert call("check", SEED, "--config", file, "--skip", next(iter(STEPS))).exit_code == 1

    def test_settings_of_a_replay_are_those_of_the_last_run_and_what_is_given(
        self, tmp_path: Path, outcomes: list[Outcome], run: Run, publish_outcomes: Callable[..., Snapshot]
    ) -> None:
        config = CleanConfig(script="tw", min_chars=3, skip=("spam",))
        publish_outcomes(tmp_path / "out", replace(run, config=config), outcomes[:3])
        given: dict[str, Any] = {"config_file": None, "script": None, "skip": (), "fields": {}}
        assert replay_config(tmp_path / "out", ("spam",), **given).clean == config
        assert replay_config(tmp_path / "out", ("spam",), **given).reasons == ("spam",)
        other = {**given, "script": "hk", "skip": ("script", "shift"), "wait": 3.0}
        made = replay_config(tmp_path / "out", (), **other)
        assert made.clean == config.model_copy(update={"script": "hk", "skip": ("script", "shift")})
        assert (made.wait, made.dedup, made.reasons) == (3, None, ())
        named = replay_config(tmp_path / "out", (), **{**given, "fields": {"text_field": "内容"}}).clean
        assert named == config.model_copy(update={"read": ReadConfig(text_field="内容")})
        file = tmp_path / "run.toml"
        file.write_text(
            "sources = ['pages']\nout = 'elsewhere'\nkeep_missing = true\nworkers = 3\n[clean]\nmin_chars = 7"
        )
        made = replay_config(tmp_path / "out", (), **{**given, "config_file": file})
        assert (made.out, made.workers, made.clean) == (tmp_path / "out", 3, CleanConfig(min_chars=7))

    def test_all_that_was_rejected_can_be_replayed_but_for_duplicates(self) -> None:
        assert set(REPLAYED) == set(Reason) - {Reason.DUPLICATE}


class TestExplainAndCheck:
    def test_a_seed_would_change(self) -> None:
        result = call("explain", SEED)
        assert result.exit_code == 0
        assert "would be kept: " in result.output
        assert call("check", SEED).exit_code == 1

    def test_undamaged_text_would_not(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text(NEWS)
        result = call("check", tmp_path)
        assert (result.exit_code, result.output) == (0, "")

    def test_a_document_that_would_be_rejected_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a\x1b[31m.bin").write_bytes(bytes(100))
        result = call("check", tmp_path)
        assert result.exit_code == 1
        assert "a\\x1b[31m.bin: would be rejected as not-text: A binary file" in result.output

    def test_standard_input_is_a_document(self) -> None:
        result = CliRunner().invoke(main, ["check", "-"], input=SEED.read_bytes())
        assert result.exit_code == 1
        assert result.output.startswith("standard input: would be kept")
        explained = CliRunner().invoke(main, ["explain", "-"], input=SEED.read_bytes())
        assert explained.output.startswith("standard input\n")

    @pytest.mark.parametrize("code", ["import tasks.steps, tasks.document", "import flows.cli, tasks.shards"])
    def test_cleaning_a_document_loads_neither_prefect_nor_pandas(self, code: str) -> None:
        check = f"import sys; {code}; sys.exit(str([m for m in ('prefect', 'pandas') if m in sys.modules]))"
        done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True, cwd=ROOT)
        assert done.stderr == "[]\n"

    def test_explain_loads_neither(self) -> None:
        assert explain_in_a_process(SEED)[0] == "[]"

    def test_explain_takes_little_processor_time_on_undamaged_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text(NEWS)
        assert float(explain_in_a_process(tmp_path / "a.txt")[1]) < 10  # 0.8 measured on two busy cores

    def test_a_pipe_that_closes_is_no_error(self) -> None:
        command = f"{sys.executable} -m flows explain --all {SEED} | head -n 1"
        done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.strip() == str(SEED)
        assert done.stderr == ""

    def test_a_connection_that_breaks_does_not_end_the_process(self) -> None:
        """As it would by the signal that ends other tools when their reader has gone."""
        assert call("explain", SEED).exit_code == 0
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN


def explain_in_a_process(path: Path) -> list[str]:
    """What it loaded of what it mustn't, and its processor time in seconds."""
    code = (
        "import sys, time\nfrom flows.cli import main\n"
        f"try: main(['explain', {str(path)!r}])\n"
        "except SystemExit: pass\n"
        "loaded = [m for m in ('prefect', 'pandas', 'pyarrow') if m in sys.modules]\n"
        "sys.exit(f'{loaded}|{time.process_time():.2f}')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    return done.stderr.strip().split("|")


Environment = dict[str, str]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Environment:
    """One with a step that goes wrong, and with Prefect's files in a place of their own."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(BOMB)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "PYTHONPATH": f"{site}:{ROOT}", "PREFECT_HOME": str(prefect_home)}


@pytest.fixture(scope="module")
def served(environment: Environment, prefect_server: str) -> Environment:
    """The same with a server that is up: it takes half the time, for what is not about the temporary one."""
    return {**environment, "PREFECT_API_URL": prefect_server}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all that can go wrong, cleaned once."""
    folder = tmp_path_factory.mktemp("hostile")
    pages = folder / "pages"
    pages.mkdir()
    for name in ("good", "SEGFAULT", "RAISE", "SPIN", "also good"):
        (pages / f"{name}.txt").write_text(f"{NEWS} {name}")
    (pages / "zero").touch()
    (pages / "binary").write_bytes(bytes(range(256)) * 10)
    (pages / "line").touch()
    os.truncate(pages / "line", 200_000_000)
    (pages / "loop").symlink_to("loop")
    (pages / "self").symlink_to(pages)
    os.mkfifo(pages / "pipe")
    (pages / "nul").write_text(NEWS.replace("，", "\0", 1))
    (pages / "escape\x1b[31m").write_text(f"{NEWS}\x1b[31m")
    (folder / "run.toml").write_text(f"sources = ['{pages}']\nmax_seconds = 3")
    return folder


@pytest.fixture(scope="module")
def cleaned(hostile: Path, environment: Environment) -> "subprocess.CompletedProcess[str]":
    command = [*QINGYUAN, "clean", "--config", "run.toml", "--out", "out"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=hostile, env=environment)


class TestClean:
    def test_what_goes_wrong_costs_its_document_and_no_other(
        self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]"
    ) -> None:
        assert cleaned.returncode == 3, cleaned.stderr
        rejected = pd.read_parquet(hostile / "out" / "rejected")
        reasons = {Path(uri).name: reason for uri, reason in zip(rejected.source_uri, rejected.reason, strict=True)}
        assert reasons == {
            "SEGFAULT.txt": "crashed",
            "SPIN.txt": "crashed",
            "RAISE.txt": "failed",
            "zero": "empty",
            "binary": "not-text",
            "line": "too-large",
            "loop": "unreadable",
            "pipe": "unreadable",
        }
        clean = pd.read_parquet(hostile / "out" / "clean")
        assert [Path(uri).name for uri in clean.source_uri] == ["also%20good.txt", "escape%1B%5B31m", "good.txt", "nul"]
        details = "\n".join(rejected.detail)
        assert "SIGSEGV" in details
        assert "more than 3 s of processor time" in details
        assert "ValueError: a bug" in details
        assert verify(hostile / "out").ok

    def test_the_summary_has_figures_and_says_how_to_open_it(
        self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]"
    ) -> None:
        assert "12 documents: 4 clean, 8 rejected (crashed 2, " in cleaned.stdout
        assert re.search(r"rejected: too-large +1\n", cleaned.stdout)
        assert f"pd.read_parquet('{hostile}/out/clean')" in cleaned.stdout
        assert f"FROM '{hostile}/out/clean/*.parquet'" in cleaned.stdout

    def test_without_a_terminal_there_are_plain_lines(self, cleaned: "subprocess.CompletedProcess[str]") -> None:
        first, *between, last = cleaned.stderr.splitlines()
        assert (first, last) == ("cleaning 0 documents (0%)", "publishing 12 documents (100%)")
        told = (
            r"(cleaning|learning) \d+ documents \(\d+%\)|writing 0 documents \(0%\)|(writing|comparing|settling) 12 .*"
        )
        assert all(re.fullmatch(told, line) for line in between)

    def test_revert_gives_the_text_as_it_was_and_harmless_on_a_terminal(
        self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]", environment: Environment
    ) -> None:
        assert cleaned.returncode == 3
        clean = pd.read_parquet(hostile / "out" / "clean")
        doc_id = clean.doc_id[clean.source_uri.str.contains("escape")].item()
        command = [*QINGYUAN, "revert", "out", doc_id[:10]]
        done = subprocess.run(command, check=True, capture_output=True, cwd=hostile, env=environment)
        assert done.stdout.decode() == f"{NEWS}\x1b[31m"
        leader, follower = pty.openpty()
        subprocess.run(command, check=True, stdout=follower, cwd=hostile, env=environment)
        os.close(follower)
        assert os.read(leader, 4096).decode().strip() == f"{NEWS}\\x1b[31m"

    def test_verify_finds_damage(self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]") -> None:
        assert cleaned.returncode == 3
        assert call("verify", hostile / "out").output.endswith("12 documents, all well\n")
        part = min((hostile / "out" / "clean").iterdir())
        content = part.read_bytes()
        part.write_bytes(content[:-1] + b"x")
        result = call("verify", hostile / "out")
        part.write_bytes(content)
        assert result.exit_code == 1
        assert "problem" in result.output

    def test_an_empty_input_does_not_replace_the_dataset(
        self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]", served: Environment
    ) -> None:
        assert cleaned.returncode == 3
        command = [*QINGYUAN, "clean", "-", "--out", "out"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, input="", cwd=hostile, env=served)
        assert done.returncode == 4
        assert "no document was kept (empty 1), and out holds 4 clean documents" in done.stderr
        assert verify(hostile / "out").snapshot == 1

    def test_a_file_for_a_dataset_is_wrong_use(self, tmp_path: Path, served: Environment) -> None:
        (tmp_path / "out").write_text("x")
        command = [*QINGYUAN, "clean", str(SEED), "--out", "out"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=served)
        assert (done.returncode, (tmp_path / "out").read_text()) == (2, "x")
        assert done.stderr.endswith("Error: out is a file. A dataset is a folder: give another name\n")

    def test_an_interrupted_run_leaves_the_dataset_and_no_processes(
        self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]", environment: Environment
    ) -> None:
        assert cleaned.returncode == 3
        (hostile / "slow").mkdir()
        (hostile / "slow" / "a.txt").write_text(f"{NEWS} SLEEP")
        command = [*QINGYUAN, "clean", "slow", "--out", "out"]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd=hostile, env=environment, start_new_session=True
        ) as process:
            assert process.stderr
            assert process.stderr.readline().startswith("cleaning")
            while process.poll() is None and not (hostile / "asleep").exists():
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: all of them
            assert process.stderr.read() == "Error: stopped. Nothing was published: out is as it was.\n"
        assert process.returncode == 130
        assert verify(hostile / "out").snapshot == 1
        assert has_ended(process.pid)

    def test_rejected_documents_pass_once_a_bug_is_mended(
        self, hostile: Path, cleaned: "subprocess.CompletedProcess[str]", served: Environment
    ) -> None:
        """Without the step that has it, among the settings of the run that is replayed."""
        assert cleaned.returncode == 3
        shutil.copytree(hostile / "out", hostile / "replayed")
        command = [*QINGYUAN, "replay", "replayed", "--skip", "bomb", "--reason", "failed", "--reason", "crashed"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=hostile, env=served)
        assert done.returncode == 3, done.stderr  # two can't be read, still
        told = "12 documents: 7 clean, 5 rejected"
        assert re.search(rf"{told} \(.*\); 9 unchanged, 3 cleaned again\n", done.stdout), done.stdout
        clean = pd.read_parquet(hostile / "replayed" / "clean")
        passed = {
            Path(uri).stem
            for uri, run in zip(clean.source_uri, clean.run_id, strict=True)
            if run != clean.first_run_id[0]
        }
        assert passed == {"SEGFAULT", "RAISE", "SPIN"}
        assert verify(hostile / "replayed").problems == []


COUNTED = """
import os, time
if log := os.environ.get("CLEANED"):
    import tasks.shards as shards
    clean_document = shards.clean_document

    def counted(document, config):
        with open(log, "a+") as file:
            file.write(document.origin.source_uri + "\\n")
            file.seek(0)
            number = len(file.readlines())
        while number == 20 and not os.path.exists("killed"):
            time.sleep(0.05)
        return clean_document(document, config)

    shards.clean_document = counted
"""
"""Tells which documents are cleaned, one by one, in whichever process, and waits at one of them for the kill."""


def test_the_run_after_one_that_was_killed_takes_up_what_was_finished(tmp_path: Path, served: Environment) -> None:
    (tmp_path / "pages").mkdir()
    for number in range(60):
        (tmp_path / "pages" / f"{number}.txt").write_text(f"{NEWS}第{number}页。")
    log = tmp_path / "cleaned"
    log.touch()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(COUNTED)
    env = {**served, "CLEANED": str(log), "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    command = [*QINGYUAN, "clean", "pages", "--out", "out"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path, env=env, start_new_session=True) as process:
        while process.poll() is None and len(log.read_text().split()) < 20:
            time.sleep(0.05)
        process.kill()
    (tmp_path / "killed").touch()
    assert has_ended(process.pid)
    (journals,) = (tmp_path / "out" / "_store" / "work").iterdir()
    index = index_journals(journals, tmp_path / "index")
    assert index
    n_finished = (index / "keys").stat().st_size // 8
    assert n_finished in {19, 20}  # the last one perhaps, and none after it: its process sees that the run is dead
    log.write_text("")
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "60 documents: 60 clean, 0 rejected" in done.stdout
    assert len(log.read_text().split()) == 60 - n_finished
    assert verify(tmp_path / "out").problems == []
    assert not (tmp_path / "out" / "_store" / "work").exists()
    assert not list((tmp_path / "out" / "_store" / "tmp").iterdir())


def test_the_server_of_a_killed_run_ends(tmp_path: Path, environment: Environment) -> None:
    (tmp_path / "a.txt").write_text(f"{NEWS} SLEEP")
    command = [*QINGYUAN, "clean", "a.txt", "--out", "out"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment, start_new_session=True
    ) as process:
        assert process.stderr
        assert process.stderr.readline().startswith("cleaning")
        assert has_server(process.pid)
        process.kill()
    started = time.monotonic()
    while has_server(process.pid) and time.monotonic() - started < 120:
        time.sleep(0.1)
    gone = not has_server(process.pid)
    os.killpg(process.pid, signal.SIGKILL)  # the worker, which ends with its document otherwise
    assert gone


def test_a_temporary_cluster_ends_with_an_interrupted_run(tmp_path: Path, served: Environment) -> None:
    (tmp_path / "a.txt").write_text(f"{NEWS} SLEEP")
    command = [*QINGYUAN, "clean", "a.txt", "--out", "out", "--runner", "dask", "--workers", "1"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=served, start_new_session=True
    ) as process:
        assert process.stderr
        while process.poll() is None and not (tmp_path / "asleep").exists():
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: all of them
        assert "Error: stopped. Nothing was published: out is as it was.\n" in process.stderr.read()
    assert process.returncode == 130
    assert has_ended(process.pid)


def has_server(group: int) -> bool:
    """Whether a process of a group is the temporary server."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(folder.name)) == group and b"flows.server" in (folder / "cmdline").read_bytes():
                return True
    return False


def has_ended(group: int) -> bool:
    """Whether there are no processes of a group, after some seconds to end in."""
    for _ in range(1200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


class TestPrefect:
    def test_a_server_that_is_not_there_is_an_error_for_the_user(
        self, tmp_path: Path, environment: Environment
    ) -> None:
        env = {**environment, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
        command = [*QINGYUAN, "clean", str(SEED), "--out", "out"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.returncode == 4
        assert "Prefect's server can't be worked with: Failed to reach API at http://127.0.0.1:1/api" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()

    def test_settings_of_the_user_go_before_ours_wherever_they_are_made(
        self, tmp_path: Path, environment: Environment
    ) -> None:
        profile = 'active = "mine"\n[profiles.mine]\nPREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS = "33"\n'
        batch_size = {"PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "7"}
        env = {**environment, **batch_size, "PREFECT_HOME": str(tmp_path / "prefect")}
        (tmp_path / "prefect").mkdir()
        (tmp_path / "prefect" / "profiles.toml").write_text(profile)
        code = (
            "from flows.server import set_defaults; from prefect.settings import get_current_settings as settings\n"
            "set_defaults(); server = settings().server\n"
            "print(server.ephemeral.startup_timeout_seconds, server.services.task_run_recorder.batch_size, "
            "server.analytics_enabled)"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.stdout == "33 7 False\n"
