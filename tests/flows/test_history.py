import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from flows import history
from flows.cli import main
from schemas.config import CleanConfig
from schemas.document import Cleaned, Edit, Outcome, Run, Stage
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import open_store

ROOT = Path(__file__).parents[2]
QINGYUAN = [sys.executable, "-m", "flows"]

Put = Callable[..., Snapshot]
MakeOutcome = Callable[..., Outcome]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def parsed(*arguments: object) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def without_edits(outcome: Outcome) -> Outcome:
    assert outcome.decoded
    return replace(outcome, cleaned=Cleaned(outcome.decoded.text, ()))


@pytest.fixture
def out(tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome) -> Path:
    """Three snapshots: four documents; three of them cleaned otherwise, and one more; two of these gone."""
    out = tmp_path / "out"
    first = put(out, run, [make_kept(0)], [without_edits(make_kept(n)) for n in range(1, 4)], n_added=4)
    run_2 = replace(later_run, config=CleanConfig(script="hant"))
    second = put(out, run_2, first.batches[0], [make_kept(n) for n in range(1, 5)], n_added=1, n_recleaned=3)
    put(out, replace(later_run, run_id="run-3"), second.batches[0], [make_kept(1), make_kept(2)], n_removed=2)
    return out


@pytest.fixture
def busy(out: Path) -> Any:
    code = (
        "import sys, time; from tasks.publish.store import open_store\n"
        f"with open_store({str(out)!r}).lock(): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


COMMANDS = [["snapshots"], ["diff"], ["rollback"], ["vacuum"], ["rollback", "--dry-run"], ["vacuum", "--dry-run"]]


class TestWrongUse:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_folder_that_is_no_dataset(self, command: list[str], tmp_path: Path) -> None:
        result = call(command[0], tmp_path, *command[1:])
        assert result.exit_code == 2
        assert "holds no dataset of qingyuan" in result.output
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["diff", "9"], "has no snapshot 9. It has: 1, 2, 3"),
            (["diff", "1", "9"], "has no snapshot 9. It has: 1, 2, 3"),
            (["diff", "1", "2", "3"], "two snapshots at most"),
            (["rollback", "9"], "has no snapshot 9. It has: 1, 2, 3"),
            (["rollback", "3"], "snapshot 3 is the current one"),
            (["rollback", "3", "--dry-run"], "snapshot 3 is the current one"),
            (["rollback", "x"], "'x' is not a valid integer"),
            (["verify", "--snapshot", "9"], "has no snapshot 9. It has: 1, 2, 3"),
            (["vacuum", "--keep", "0"], "not in the range"),
            (["vacuum", "--older-than", "-1"], "not in the range"),
        ],
    )
    def test_numbers(self, arguments: list[str], message: str, out: Path) -> None:
        result = call(arguments[0], out, *arguments[1:])
        assert result.exit_code == 2
        assert message in re.sub(r"\s+", " ", result.output)
        assert open_store(out).numbers() == [1, 2, 3]

    @pytest.mark.parametrize("command", ["rollback", "vacuum"])
    def test_another_process_is_writing(self, command: str, out: Path, busy: "subprocess.Popen[bytes]") -> None:
        result = call(command, out)
        assert result.exit_code == 2
        assert f"is being written by process {busy.pid} on " in result.output
        assert "waiting for process" in call(command, out, "--wait", "0.1").output
        busy.kill()
        assert call(command, out, "--wait", "600").exit_code == 0  # the lock went with its process

    @pytest.mark.parametrize("command", ["snapshots", "diff"])
    def test_reading_waits_for_nobody(self, command: str, out: Path, busy: "subprocess.Popen[bytes]") -> None:
        assert call(command, out).exit_code == 0

    def test_one_snapshot_has_nothing_to_be_compared_with(
        self, tmp_path: Path, run: Run, put: Put, make_kept: MakeOutcome
    ) -> None:
        put(tmp_path, run, [make_kept(1)])
        assert "has one snapshot only" in call("diff", tmp_path).output
        assert "no snapshot before 1 with other documents" in call("rollback", tmp_path).output
        assert call("diff", tmp_path, "1").exit_code == 0

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written(self, out: Path) -> None:
        (out / "_store" / "manifests").chmod(0o500)
        assert call("rollback", out).exit_code == 4

    def test_what_can_not_be_written_is_told(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from tasks.publish import local

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(local.LocalStore, "show", full)
        result = call("rollback", out, "1")
        assert result.exit_code in {2, 4}
        assert "No space left on device" in result.output


class TestSnapshots:
    def test_a_line_for_each(self, out: Path) -> None:
        call("rollback", out, "1")
        header, *lines, last = call("snapshots", out).output.splitlines()
        assert header.split()[:3] == ["snapshot", "published", "(UTC)"]
        assert all(line == line.rstrip() for line in [header, *lines])
        assert [re.sub(r"\s{2,}", "|", line.strip()).split("|")[0] for line in lines] == ["1", "2", "3", "* 4"]
        assert lines[0].endswith("4 added")
        assert lines[1].endswith("1 added, 3 re-cleaned")
        assert lines[3].endswith("copy of 1, 1 added, 2 re-cleaned")
        assert re.search(r"rollback +\w{8} +4 +0 ", lines[3])
        assert last.startswith("* the current one")
        assert not re.search(r"[\x1b│]", "".join(lines))

    def test_as_json(self, out: Path) -> None:
        listed = parsed("snapshots", out)
        assert [entry["snapshot"] for entry in listed] == [1, 2, 3]
        assert [entry["clean"] for entry in listed] == [4, 5, 3]
        assert [entry["current"] for entry in listed] == [False, False, True]
        assert [entry["kind"] for entry in listed] == ["clean"] * 3
        assert listed[1]["n_recleaned"] == 3
        assert all(entry["own_bytes"] > 0 for entry in listed)

    @pytest.mark.parametrize("columns", [80, 119, 120, 200])
    def test_a_terminal_of_any_width(self, columns: int, out: Path) -> None:
        written = io.StringIO()
        history.show_snapshots(out, Console(width=columns, force_terminal=True, color_system="256", file=written))
        lines = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue()).splitlines()
        assert all(len(line) <= columns for line in lines)
        assert "…" not in "".join(lines)
        assert sum("2026-" in line for line in lines) == 3

    def test_a_pipe_that_closes_is_no_error(self, out: Path) -> None:
        for command in (f"snapshots {out}", f"diff {out}", f"snapshots {out} --json"):
            line = f"{sys.executable} -m flows {command} | head -n 1"
            done = subprocess.run(["bash", "-c", line], check=False, capture_output=True, text=True, cwd=ROOT)
            assert done.stderr == ""
            assert len(done.stdout.splitlines()) == 1

    def test_prefect_is_not_loaded(self, out: Path) -> None:
        code = (
            f"import sys\nfrom flows.cli import main\ntry: main(['diff', {str(out)!r}])\nexcept SystemExit: pass\n"
            "sys.exit(str('prefect' in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
        assert done.stderr == "False\n"


class TestDiff:
    def test_what_new_rules_did(self, out: Path) -> None:
        output = call("diff", out, "1", "2").output
        assert "from snapshot 1 (" in output
        assert re.search(r'^script +"hans" → "hant"$', output, re.MULTILINE)
        assert re.search(r"^rules +rules1 → rules2$", output, re.MULTILINE)
        assert re.search(r"^clean +4 → 5$", output, re.MULTILINE)
        assert re.search(
            r"^added +1; characters: 19 added$", output, re.MULTILINE
        )  # 标题：产业发展。⏎第4段，责任编辑。⏎
        assert re.search(r"^cleaned otherwise +3; characters: ", output, re.MULTILINE)
        assert "glosses: mangler  new 3 edits in 3 documents" in output
        assert "標題：產[-(chǎn)-]業發展。" in output

    def test_as_json(self, out: Path) -> None:
        told = parsed("diff", out, "1", "2", "--doc-ids")
        assert (told["from"]["snapshot"], told["to"]["snapshot"]) == (1, 2)
        assert told["settings"]["script"] == {"from": '"hans"', "to": '"hant"'}
        assert told["documents"] == {"added": 1, "removed": 0, "changed": 0, "recleaned": 3, "moved": 0, "marked": 0}
        assert {kind: len(ids) for kind, ids in told["doc_ids"].items()} == told["documents"]
        glosses = next(rule for rule in told["rules"] if rule["step"] == "glosses")
        assert glosses["new"] == {"edits": 3, "documents": 3}
        assert glosses["gone"] == {"edits": 0, "documents": 0}
        assert glosses["examples"][0]["before"] == "(chǎn)"
        assert "doc_ids" not in parsed("diff", out, "1", "2")
        assert len(parsed("diff", out, "1", "2", "--doc-ids", "--limit", "2")["doc_ids"]["recleaned"]) == 2

    def test_the_last_two_unless_told_otherwise(self, out: Path) -> None:
        for arguments, expected in (((), (2, 3)), ((1,), (1, 3)), ((3, 1), (3, 1))):
            told = parsed("diff", out, *arguments)
            assert (told["from"]["snapshot"], told["to"]["snapshot"]) == expected

    def test_nothing_differs(self, out: Path) -> None:
        assert "nothing differs" in call("diff", out, "2", "2").output

    def test_ids_up_to_a_limit(self, out: Path) -> None:
        output = call("diff", out, "1", "2", "--doc-ids", "--limit", "1").output
        assert len(re.findall(r"^  [0-9a-f]{32}$", output, re.MULTILINE)) == 2  # one added, one of three cleaned
        assert "… and 2 more (--limit shows more)" in output
        assert "… and 1 more rule (--limit shows more)" in output

    @pytest.mark.parametrize("as_json", [False, True])
    def test_hostile_text_reaches_no_terminal(  # noqa: PLR0913
        self, *, as_json: bool, tmp_path: Path, run: Run, later_run: Run, put: Put, make_kept: MakeOutcome
    ) -> None:
        text = "\x1b[31m\u202e[bold]標題\u200b：山川{}\x07\n正文。"
        plain = without_edits(make_kept(1, text))
        edit = Edit("spam", "a\x1b[2J", 0, plain.cleaned.text[:12], "") if plain.cleaned else None
        assert edit
        put(tmp_path, run, [plain])
        cut = replace(plain, cleaned=Cleaned(plain.cleaned.text[12:], (Stage("spam", (edit,)),)))  # type: ignore[union-attr]
        put(tmp_path, later_run, [cut])
        shown = in_terminal("diff", str(tmp_path), *["--json"] * as_json)
        plain_text = re.sub(
            r"\x1b\[[0-9;?]*[mlhKAJ]", "", shown.replace("\x1b[2J", "BAD").replace("\x1b[31m\u202e", "BAD")
        )
        assert "BAD" not in plain_text
        assert not set(plain_text) & {"\x1b", "\u202e", "\u200b", "\x07"}
        assert r"\u202e" in plain_text
        if not as_json:
            assert "[bold]" in plain_text


def in_terminal(*arguments: str) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen([*QINGYUAN, *arguments], stdout=follower, stderr=follower, cwd=ROOT, env=environment) as done:
        os.close(follower)
        written = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other end was closed
                break
            written += piece
            if not piece:
                break
    os.close(leader)
    assert done.returncode == 0
    return written.decode()


class TestRollback:
    def test_back_and_forth(self, out: Path) -> None:
        result = call("rollback", out)
        assert result.exit_code == 0
        assert "snapshot 4 is a copy of snapshot 2: 5 clean, 0 rejected" in result.output
        assert re.search(r"^back +2$", result.output, re.MULTILINE)
        assert "The next `qingyuan clean` brings the state of the sources again." in result.output
        assert "snapshot 5 is a copy of snapshot 3" in call("rollback", out).output
        assert call("verify", out).exit_code == 0

    def test_a_dry_run_does_nothing(self, out: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        result = call("rollback", out, "1", "--dry-run")
        assert result.exit_code == 0
        assert "would make a copy of snapshot 1 " in result.output
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before

    def test_a_dry_run_says_what_a_run_does(self, out: Path) -> None:
        would, did = call("rollback", out, "1", "--dry-run").output, call("rollback", out, "1").output
        assert would.splitlines()[1:] == did.splitlines()[1:-1]

    def test_a_damaged_dataset(self, out: Path) -> None:
        store = open_store(out)
        store.path(store.snapshot(3).batches[1].parts["clean"]).unlink()
        assert call("verify", out).exit_code == 1
        assert call("rollback", out, "2").exit_code == 0
        assert call("verify", out).exit_code == 0


class TestVacuum:
    def test_the_current_one_stays_whatever_is_asked(self, out: Path) -> None:
        would = call("vacuum", out, "--keep", "1", "--older-than", "0", "--dry-run")
        assert would.output.startswith("would remove snapshots 1, 2: ")
        assert open_store(out).numbers() == [1, 2, 3]
        result = call("vacuum", out, "--keep", "1", "--older-than", "0")
        assert result.output == would.output.replace("would remove", "removed")
        assert open_store(out).numbers() == [3]
        assert call("verify", out).exit_code == 0
        assert call("vacuum", out, "--keep", "1", "--older-than", "0").output.startswith("removed no snapshot: 0 bytes")

    def test_what_was_just_the_current_one_stays(self, out: Path) -> None:
        assert call("vacuum", out, "--keep", "1").output.startswith("removed no snapshot: ")
        assert open_store(out).numbers() == [1, 2, 3]

    def test_what_it_says_is_what_the_disk_has_more(self, out: Path) -> None:
        (out / "_store" / "tmp" / "dead").mkdir()
        (out / "_store" / "tmp" / "dead" / "part.writing").write_bytes(bytes(5_000_000))
        before = disk(out)
        result = call("vacuum", out, "--keep", "1", "--older-than", "0")
        told = float(re.search(r": ([\d.]+) MB freed", result.output)[1])  # type: ignore[index]
        assert told == pytest.approx((before - disk(out)) / 1e6, abs=0.1)

    def test_journals_of_dead_runs_stay_unless_asked_for(self, out: Path) -> None:
        journals = out / "_store" / "work" / "0123456789abcdef"
        journals.mkdir()
        (journals / "journal-1").write_bytes(bytes(2_000_000))
        assert "2.0 MB are documents that runs had finished which did not end" in call("vacuum", out).output
        assert (
            "would remove what runs that did not end had finished: 2.0 MB"
            in call("vacuum", out, "--work", "--dry-run").output
        )
        assert (journals / "journal-1").exists()
        assert "removed what runs that did not end had finished: 2.0 MB" in call("vacuum", out, "--work").output
        assert list((out / "_store" / "work").iterdir()) == []

    def test_nothing_of_a_damaged_dataset_goes(self, out: Path) -> None:
        store = open_store(out)
        store.path(store.snapshot(3).batches[1].parts["clean"]).unlink()
        result = call("vacuum", out, "--keep", "1", "--older-than", "0")
        assert result.exit_code == 2
        assert "is damaged" in result.output
        assert store.numbers() == [1, 2, 3]


def disk(folder: Path) -> int:
    """Bytes of all files, each once however many links it has."""
    states = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({state.st_ino: state.st_size for state in states}.values())


def test_reports_go_with_their_snapshots_and_not_before(out: Path) -> None:
    store = open_store(out)
    for number in store.numbers():
        store.keep_report(store.snapshot(number).run_id, b"<!doctype html>")
    assert len(store.reports()) == 3
    assert call("vacuum", out).output.startswith("removed no snapshot: ")
    assert len(store.reports()) == 3
    would = call("vacuum", out, "--keep", "1", "--older-than", "0", "--dry-run").output
    assert would.startswith("would remove snapshots 1, 2, 2 reports: ")
    assert len(store.reports()) == 3
    assert call("vacuum", out, "--keep", "1", "--older-than", "0").output == would.replace("would remove", "removed")
    assert store.reports().keys() == {store.snapshot(3).run_id}
    assert call("verify", out).exit_code == 0


def test_a_report_stays_where_all_documents_that_it_is_about_stay(out: Path) -> None:
    store = open_store(out)
    ids = [store.snapshot(number).run_id for number in store.numbers()]
    for run_id in ids:
        store.keep_report(run_id, b"<!doctype html>")
    assert call("rollback", out, "1").exit_code == 0
    assert call("vacuum", out, "--keep", "1", "--older-than", "0").exit_code == 0
    assert store.numbers() == [4]
    assert store.reports().keys() == {ids[0]}
