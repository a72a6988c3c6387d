"""The site of docs/: built, whole, and of nothing that lies elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links and anchors that lead nowhere, and documents that nothing leads to, are errors (`--strict`)."""
    out = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out


def test_every_document_is_a_page(site: Path) -> None:
    pages = {p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html")}
    documents = {p.relative_to(ROOT / "docs").with_suffix("").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert {name.replace("adr/README", "adr/index") for name in documents} <= pages
    assert {"readme-of-the-project", "contributing", "changelog", "seeds"} <= pages


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^\s"'>]+""")
    for page in site.rglob("*.html"):
        assert fetched.findall(page.read_text(encoding="utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_search_has_its_index_as_a_script(site: Path) -> None:
    """From disk, browsers fetch nothing: it is loaded, and searched in a frame (docs/assets/iframe-worker.js)."""
    assert (site / "search/search_index.js").read_text(encoding="utf-8").startswith("var __index = {")
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text(encoding="utf-8")


def test_search_works_from_disk(site: Path, browser: "Browser") -> None:
    page = browser.new_page()
    asked, told = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.goto((site / "index.html").as_uri())
    page.click("input.md-search__input")
    page.keyboard.type("misread codec mojibake")
    page.wait_for_selector(".md-search-result__item h1")
    assert "How damage arises, and how it is undone" in page.locator(".md-search-result__item h1").all_inner_texts()
    page.close()
    assert [url for url in asked if not url.startswith("file://")] == []
    assert told == []


def test_links_that_leave_the_documents_lead_to_pages(site: Path) -> None:
    assert 'href="readme-of-the-project.html#scheduling"' in (site / "scheduling.html").read_text(encoding="utf-8")
    readme = (site / "readme-of-the-project.html").read_text(encoding="utf-8")
    assert 'href="data-dictionary.html"' in readme
    assert 'href="contributing.html"' in readme
    assert "prefect.yaml" in readme
    assert 'prefect.yaml"' not in readme  # no page of the site: its name alone
