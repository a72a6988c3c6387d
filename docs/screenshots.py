"""The pictures of the documents: `python docs/screenshots.py` cleans the samples, and photographs what is to be seen.

Needs Chromium (`CHROMIUM`, by default /usr/bin/chromium), and the packages of the group `dev`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)

WIDTH, HEIGHT = 1200, 800

COLOURS = 64
"""Enough for pages of text with flat colours, at a third of the size."""


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="qingyuan-") as folder, browser() as page:
        dataset = Path(folder) / "clean-seeds"
        shutil.copytree(ROOT / "seeds", Path(folder) / "seeds")  # pages show where files lie
        run(["clean", "seeds/*.txt", "--out", str(dataset)], Path(folder))
        photograph_report(page, dataset)
        photograph_view(page, dataset)


def photograph_report(page: Page, dataset: Path) -> None:
    """The report of the run: how it begins, and a document before and after."""
    (report,) = (dataset / "reports").glob("*.html")
    page.goto(report.as_uri())
    save(page, "report")
    page.locator("#look details").first.evaluate(
        "document => { document.open = true; document.scrollIntoView({ behavior: 'instant' }) }"
    )
    save(page, "report-documents")


def photograph_view(page: Page, dataset: Path) -> None:
    """The pages of `qingyuan view`: the list of documents, and one of them."""
    with served(dataset) as address:
        page.goto(address)
        save(page, "view")
        page.locator("main a.open").first.click()
        if page.locator("#doubt").count():
            page.locator("#doubt").click()  # the least sure change
        save(page, "view-document")


def save(page: Page, name: str) -> None:
    """What is to be seen, as a small PNG."""
    page.wait_for_load_state("networkidle")
    picture = Image.open(BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


def run(arguments: list[str], folder: Path) -> None:
    """A command of qingyuan, as of this folder of the project."""
    subprocess.run([sys.executable, "-m", "flows", *arguments], cwd=folder, env=environment(), check=True)


def environment() -> dict[str, str]:
    """That of commands."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def browser() -> Iterator[Page]:
    """A page of Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        chromium.close()


@contextmanager
def served(dataset: Path) -> Iterator[str]:
    """`qingyuan view` at work; gives the address that it prints."""
    command = [sys.executable, "-m", "flows", "view", str(dataset), "--no-browser"]
    process: Any = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        found = (re.search(r"http://\S+", line) for line in process.stdout)
        yield next(address[0] for address in found if address)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
