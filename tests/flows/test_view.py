"""`qingyuan view` as a process, and its pages in a real browser."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from schemas.config import CleanConfig
from schemas.document import Cleaned, Decoded, Origin, Outcome, Reason, Rejection, Run
from tasks.clean import clean
from tasks.publish.snapshots import Snapshot
from tasks.view import reviews

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ROOT = Path(__file__).parents[2]
Put = Callable[..., Snapshot]

PATIENCE = 60_000
"""Milliseconds for a page to change. Not `wait_for_function`: it calls `eval`, which our pages forbid, if a page goes
meanwhile."""

EVIL = "<script>document.title='caught'</script><img src=x onerror=\"document.title='caught'\">"


def outcome(name: str, text: str, **changes: Any) -> Outcome:
    origin = Origin(f"file:///pages/{name}", "", "0" * 64, len(text.encode()))
    made = Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), clean(text, CleanConfig()))
    return replace(made, **changes)


@pytest.fixture
def out(tmp_path: Path, run: Run, put: Put) -> Path:
    """The seeds, sixty plain documents, one that would be a page, and one that was rejected."""
    seeds = [outcome(path.name, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "seeds").glob("*.txt"))]
    plain = "山水人家，一成不变。\n"
    short = [replace(outcome(f"{n:02}.txt", plain), cleaned=Cleaned(plain, ())) for n in range(60)]
    evil = outcome(f"{EVIL[:8]}.txt", f"{EVIL}\n產(chǎn)業(yè){EVIL}\n", cleaned=None)
    evil = replace(evil, cleaned=Cleaned(evil.text_in or "", (), {"title": EVIL}))
    bad = outcome("bad.txt", "短", rejection=Rejection(Reason.TOO_SHORT, f"1 letter is left. {EVIL}"))
    put(tmp_path / "out", run, [*seeds, *short, evil, bad])
    return tmp_path / "out"


class Server:
    """A running command, and the address that it printed."""

    def __init__(self, out: Path, *options: str) -> None:
        command = [sys.executable, "-m", "flows", "view", str(out), "--no-browser", *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ}
        )
        assert self.process.stdout
        self.printed = ""
        for line in self.process.stdout:
            self.printed += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=\S+", line):
                self.url, self.port = found[0], int(found[1])
                return
        pytest.fail(f"it ended: {self.printed}")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=60)
        return self.process.returncode, printed


@contextlib.contextmanager
def serving(out: Path, *options: str) -> Iterator[Server]:
    server = Server(out, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command puts what it needs for a while, and no other one."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


class TestProcess:
    def test_it_answers_whoever_has_the_token_and_ends_with_ctrl_c(self, out: Path, temporary: Path) -> None:
        with serving(out) as server:
            with urllib.request.urlopen(server.url, timeout=30) as answer:
                assert answer.status == 200
                assert "uvicorn" not in str(answer.headers).lower()
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(server.url.partition("?")[0], timeout=30)
            assert refused.value.code == 403
            refused.value.close()
            assert len(list(temporary.glob("qingyuan-view-*"))) == 1
            code, printed = server.end()
            assert (code, printed) == (0, "Ended.\n")
        assert not list(temporary.glob("qingyuan-view-*"))

    def test_it_listens_on_this_machine_alone(self, out: Path) -> None:
        with serving(out) as server:
            table = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
            local = re.findall(rf"^\s*\d+: (\w+):{server.port:04X} \w+:0000 0A", table, re.MULTILINE)
            assert local == ["0100007F"]  # 127.0.0.1

    def test_sigterm_ends_it_as_well(self, out: Path, temporary: Path) -> None:
        with serving(out) as server:
            assert server.end(signal.SIGTERM)[0] == 143
        assert not list(temporary.glob("qingyuan-view-*"))

    def test_a_port_that_is_taken_is_told(self, out: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = self.run("view", str(out), "--no-browser", "--port", str(port))
        assert done.returncode == 2
        assert f"port {port} of 127.0.0.1 can't be had" in done.stderr
        assert "--port" in done.stderr

    def test_a_folder_that_is_no_dataset_is_told(self, tmp_path: Path) -> None:
        done = self.run("view", str(tmp_path), "--no-browser")
        assert done.returncode == 2
        assert "holds no dataset of qingyuan" in done.stderr
        assert self.run("view", str(tmp_path / "nosuch"), "--no-browser").returncode == 2

    def test_the_browser_is_opened_without_the_token_in_its_arguments(self, out: Path, tmp_path: Path) -> None:
        seen = tmp_path / "seen"
        browser = tmp_path / "browser"
        browser.write_text(
            f'#!/bin/sh\necho "$@" > {seen}.part\ncat "${{1#file://}}" > {seen}.page\nmv {seen}.part {seen}\n'
        )
        browser.chmod(0o755)
        command = [sys.executable, "-m", "flows", "view", str(out)]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "BROWSER": f"{browser} %s"},
        ) as process:
            for _ in range(600):
                if seen.exists() or process.poll() is not None:
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
        token = printed.partition("token=")[2].split()[0]
        assert token not in seen.read_text()
        assert f"token={token}" in Path(f"{seen}.page").read_text()
        opened = Path(seen.read_text().strip().removeprefix("file://"))
        assert not opened.exists()

    @staticmethod
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "flows", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


class Visit:
    """A page of a browser that notes what goes wrong and where it asks."""

    def __init__(self, page: "Page", server: Server) -> None:
        self.page, self.server = page, server
        self.problems: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(server.url)
        self.ready("ol.docs")

    def ready(self, selector: str) -> None:
        """Wait until something is there, and the script of its page has run."""
        self.page.wait_for_selector(selector)
        self.page.wait_for_load_state("load")

    def check(self) -> None:
        assert self.problems == []
        own = f"http://127.0.0.1:{self.server.port}/"
        assert [url for url in self.asked if not url.startswith((own, "data:,"))] == []
        assert self.page.title() != "caught"


@pytest.fixture
def visit(out: Path, browser: "Browser") -> Iterator[Callable[..., Visit]]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(out))

        def visit(width: int = 1200, **options: Any) -> Visit:
            context = browser.new_context(viewport={"width": width, "height": 900}, **options)
            stack.callback(context.close)
            return Visit(context.new_page(), server)

        yield visit


def marks(out: Path) -> list[tuple[str, str, str]]:
    return [(m.step, m.verdict, m.note) for m in reviews.read(out / "reviews.jsonl").marks]


class TestBrowser:
    def test_from_the_list_to_a_change_and_what_is_known_of_it(self, visit: Callable[..., Visit]) -> None:
        it = visit()
        page = it.page
        assert "token" not in page.url
        page.get_by_role("link", name="003_", exact=False).first.click()
        it.ready("#pair")
        change = page.locator("#pair del.s-shift").first
        change.hover()
        assert page.locator("#tip").is_visible()
        assert re.match(
            r"shift: misfit-gloss, \d+\s% sure; bytes observed .* \(gbk\)", page.locator("#tip").inner_text()
        )
        change.click()
        panel = page.get_by_role("complementary", name="The change")
        assert panel.is_visible()
        assert "→" in page.locator("#what").inner_text()
        assert page.locator("#pair .on").count() == 2  # on both sides
        page.keyboard.press("Escape")
        assert panel.is_hidden()
        page.get_by_label("glosses").uncheck()
        assert page.locator("#pair .s-glosses:not(.off)").count() == 0
        it.check()

    def test_marking_by_mouse_and_taking_it_back(self, visit: Callable[..., Visit], out: Path) -> None:
        it = visit()
        page = it.page
        page.get_by_role("link", name="003_", exact=False).first.click()
        page.locator("#pair del.s-shift").first.click()
        page.get_by_label("Note").fill(f"so nicht {EVIL}")
        page.get_by_role("button", name="Wrong", exact=True).click()
        it.ready("ul.marks")
        assert marks(out) == [("shift", "wrong", f"so nicht {EVIL}")]
        assert page.locator("#pair .wrong").count() == 2
        assert page.get_by_label("Note").input_value() == f"so nicht {EVIL}"  # the change is still chosen
        page.get_by_role("link", name="Marks").click()
        assert page.locator("q").inner_text() == f"so nicht {EVIL}"
        page.get_by_role("link", name=re.compile("^document [0-9a-f]{8}$")).click()
        page.locator("ul.marks").get_by_role("button", name="Take back").click()
        it.ready("body:not(:has(ul.marks))")
        assert marks(out) == []
        it.check()

    def test_all_of_it_by_keyboard(self, visit: Callable[..., Visit], out: Path) -> None:
        it = visit()
        page, press = it.page, it.page.keyboard.press
        press("j")
        press("j")
        name = page.evaluate("document.activeElement.textContent")
        press("Enter")
        it.ready("#pair")
        assert name in page.locator("h1").inner_text()
        press("j")
        press("j")
        press("j")
        assert page.evaluate("document.activeElement.dataset.e") == "3"
        press("k")
        assert page.evaluate("document.activeElement.dataset.e") == "2"
        press("w")
        it.ready("ul.marks")
        page.wait_for_selector("#panel:not([hidden])")
        assert [verdict for _, verdict, _ in marks(out)] == ["wrong"]
        press("r")
        it.ready("#pair .right")
        page.wait_for_selector("#panel:not([hidden])")
        assert [verdict for _, verdict, _ in marks(out)] == ["right"]
        press("u")
        it.ready("body:not(:has(ul.marks))")
        assert marks(out) == []
        press("?")
        assert page.locator("#keys").is_visible()
        press("Escape")
        assert page.locator("#keys").is_hidden()
        press("]")
        expect(page.locator("h1")).not_to_contain_text(name, timeout=PATIENCE)
        it.ready("#pair")
        press("[")
        expect(page.locator("h1")).to_contain_text(name, timeout=PATIENCE)
        it.ready("#pair")
        press("/")
        it.ready("#text")
        expect(page.locator("#text")).to_be_focused(timeout=PATIENCE)
        page.keyboard.type("j/w?")
        assert page.locator("#text").input_value() == "j/w?"
        it.check()

    def test_filters_and_search(self, visit: Callable[..., Visit]) -> None:
        it = visit()
        page = it.page
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Rejected as").select_option("too-short")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("ol.docs li")).to_have_count(1, timeout=PATIENCE)
        assert "bad.txt" in page.locator("ol.docs").inner_text()
        page.goto(f"http://127.0.0.1:{it.server.port}/")
        page.get_by_label("Search for").fill("駛?cè)肟燔嚨")
        page.keyboard.press("Enter")
        it.ready("form.searching")
        expect(page.locator("ol.docs li")).to_have_count(1, timeout=PATIENCE)
        assert "1 of 67 documents have" in page.locator("form.searching").inner_text()
        assert not any("%E9" in url or "駛" in url for url in it.asked)
        page.get_by_role("link", name="Rules").click()
        page.get_by_role("button", name="mangler", exact=True).click()
        it.ready("ol.docs del.s-glosses")
        assert page.locator("ol.docs li").count() == 3
        it.check()

    def test_a_page_that_comes_again_leaves_what_is_typed(self, visit: Callable[..., Visit]) -> None:
        it = visit()
        page = it.page

        def running(route: "Route") -> None:
            page_of_it = route.fetch()
            route.fulfill(response=page_of_it, body=page_of_it.text().replace("<body>", '<body data-refresh="0.2">'))

        page.route("**/list/all", running)
        with page.expect_navigation():
            page.goto(f"http://127.0.0.1:{it.server.port}/list/all")
        with page.expect_navigation():
            pass  # it comes again
        page.get_by_label("Search for").focus()
        page.keyboard.type("產業")
        before = len(it.asked)
        page.wait_for_timeout(700)
        assert (len(it.asked), page.locator("#text").input_value()) == (before, "產業")
        it.check()

    def test_pages_are_turned(self, visit: Callable[..., Visit]) -> None:
        it = visit()
        page = it.page
        seen = page.locator("a.open").all_inner_texts()
        page.keyboard.press("]")
        expect(page.locator("#position")).to_contain_text("51 to 67", timeout=PATIENCE)
        it.ready("ol.docs")
        seen += page.locator("a.open").all_inner_texts()
        assert len(seen) == 67
        page.keyboard.press("[")
        expect(page.locator("#position")).to_contain_text("1 to 50", timeout=PATIENCE)
        it.check()

    def test_documents_that_would_be_pages_are_text(self, visit: Callable[..., Visit]) -> None:
        it = visit()
        page = it.page
        for name in ("caught", "bad.txt"):
            page.goto(f"http://127.0.0.1:{it.server.port}/list/all?after=0")
            page.goto(f"http://127.0.0.1:{it.server.port}/")
            page.get_by_text("Filters", exact=True).click()
            page.get_by_label("Source, site or id").fill("<" if name == "caught" else name)
            page.get_by_role("button", name="Show").click()
            expect(page.locator("ol.docs li")).to_have_count(1, timeout=PATIENCE)
            page.locator("a.open").click()
            page.wait_for_selector("h1")
            assert "document.title='caught'" in page.locator("main").inner_text()
            assert page.locator("main img, main script:not([type='application/json'])").count() == 0
        it.check()

    def test_the_policy_stops_what_escaping_would_let_through(self, visit: Callable[..., Visit]) -> None:
        it = visit()
        it.page.evaluate("""() => {
            const script = document.createElement('script');
            script.textContent = "document.title = 'caught'";
            document.body.append(script);
            const image = document.createElement('img');
            image.src = 'http://192.0.2.1/x.png';
            document.body.append(image);
        }""")
        assert it.page.title() != "caught"
        assert len(it.problems) >= 2
        assert all("Content Security Policy" in problem for problem in it.problems)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [360, 768, 1600])
    def test_nothing_runs_over_the_edge(self, width: int, scheme: str, visit: Callable[..., Visit]) -> None:
        it = visit(width, color_scheme=scheme)
        page = it.page
        paths = ["/list/all", "/rules", "/marks", "/runs"]
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        it.ready("#pair")
        page.keyboard.press("j")
        paths.append(page.url.partition(str(it.server.port))[2])
        for path in paths:
            page.goto(f"http://127.0.0.1:{it.server.port}{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        it.check()

    def test_without_the_token_there_is_nothing(self, out: Path, browser: "Browser") -> None:
        with serving(out) as server, contextlib.closing(browser.new_context()) as context:
            page = context.new_page()
            answer = page.goto(f"http://127.0.0.1:{server.port}/list/all")
            assert answer
            assert answer.status == 403
            # From a file, as the browser is opened: a strict cookie must come with what follows.
            start = out.parent / "start.html"
            start.write_text(f'<meta http-equiv="refresh" content="0; url={server.url}">')
            page.goto(start.as_uri())
            page.wait_for_selector("ol.docs")
            (cookie,) = context.cookies()
            assert (cookie["name"], cookie["httpOnly"]) == (f"qingyuan-{server.port}", True)
            assert cookie["sameSite"] == "Strict"
            # Another site sends no cookie, and its form does nothing.
            other = out.parent / "other.html"
            other.write_text(
                f'<form method="post" action="http://127.0.0.1:{server.port}/snapshot">'
                '<input name="number" value="1"><button>go</button></form>'
            )
            page.goto(other.as_uri())
            page.get_by_role("button").click()
            page.wait_for_url("**/snapshot")
            assert "needs the address" in page.locator("body").inner_text()


def test_marks_are_lines_that_other_programs_can_read(out: Path, visit: Callable[..., Visit]) -> None:
    it = visit()
    it.page.get_by_role("link", name="003_", exact=False).first.click()
    it.ready("#pair")
    it.page.keyboard.press("d")  # to the least sure change
    it.page.wait_for_selector("#panel:not([hidden])")
    it.page.keyboard.press("w")
    it.ready("ul.marks")
    (line,) = (out / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    told = json.loads(line)
    assert (told["step"], told["verdict"], told["run_id"]) == ("shift", "wrong", "run-1")
    assert told["confidence"] < 0.9
