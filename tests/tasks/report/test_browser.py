"""The report as a browser shows it, opened from disk."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from schemas.document import Cleaned, Damage, Decoded, Edit, Origin, Outcome, Reason, Rejection, Run, Stage
from tasks.publish.counts import Tally
from tasks.publish.snapshots import Snapshot
from tasks.publish.store import open_store
from tasks.publish.summary import Summary
from tasks.report import write_report
from tasks.steps.edits import apply

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Put = Callable[..., Snapshot]

HOSTILE = '<script>document.title="taken"</script><img src=x onerror="document.title=\'taken\'">\u202e倒 {{ 1 }}'
SHIFTED = "他驶?cè)肟燔嚨?。责任编辑:王\n"


def document(name: str, text: str, *edits: Edit, rejection: Rejection | None = None, damage: str = "") -> Outcome:
    clean = text
    for edit in edits:
        clean = apply(clean, (edit,))
    left = (Damage("shift", "lost-characters", clean.index(damage), damage),) if damage else ()
    cleaned = Cleaned(clean, tuple(Stage(e.step, (e,)) for e in edits), {"title": f"标题{name}"}, left)
    origin = Origin(f"file:///crawl/{name}/{name}.txt", "", "ab", len(text))
    return Outcome(origin, Decoded(text, "utf-8", 1.0, "strict"), cleaned, rejection)


@pytest.fixture
def report(tmp_path: Path, put: Put, run: Run) -> Path:
    out = tmp_path
    label = SHIFTED.index("责任")
    documents = [
        document(
            "shifted",
            SHIFTED,
            Edit("shift", "misfit-gloss", 2, "?cè)肟燔嚨?", "入快車道", 0.48),
            Edit("boilerplate", "label-at-end", label - 4, "责任编辑:王", "", 0.97),
            Edit("script", "t2s", 4, "車", "车"),
        ),
        document("hostile|", HOSTILE * 5, Edit("boilerplate", "label", 0, HOSTILE, "", 0.95)),
        document("damaged", "这里有锟斤拷。\n" * 3, damage="锟斤拷"),
        document("long", "没有换行的长文字" * 5000 + "word" * 5000),
        document("short", "短", rejection=Rejection(Reason.TOO_SHORT, "1 letter is left of 10.")),
    ]
    snapshot = put(out, run, documents)
    summary = Summary(str(out), snapshot.number, snapshot.counts, Tally(added=len(documents)), 1.0)
    return Path(write_report(open_store(out), snapshot, run, summary).address)


@pytest.fixture
def page(browser: "Browser", report: Path) -> Iterator["Page"]:
    """The report in a window of its own; whatever the browser complains about, or asks for, is an error."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if request.url != report.as_uri() else None)
    opened.goto(report.as_uri())
    yield opened
    title = opened.title()
    opened.close()
    assert complaints == []
    assert "taken" not in title


def test_the_verdict_is_seen_at_once(page: "Page") -> None:
    verdict = page.locator(".verdict")
    assert verdict.bounding_box()["y"] < 300  # type: ignore[index]
    assert "Don't build on this yet" in verdict.inner_text()
    assert "damage left: 1" in verdict.inner_text()
    tiles = page.locator(".tile").all_inner_texts()
    assert any("failures" in tile and "✓ good" in tile for tile in tiles)
    assert any("damage left" in tile and "✗ bad" in tile for tile in tiles)


def test_links_lead_to_their_parts(page: "Page") -> None:
    page.emulate_media(reduced_motion="reduce")  # or it would be on its way
    page.get_by_role("link", name="Documents", exact=True).click()
    assert page.evaluate("location.hash") == "#look"
    assert page.locator("#look-h").bounding_box()["y"] < 450  # type: ignore[index]


def test_a_change_tells_its_rule_and_bytes_by_mouse(page: "Page") -> None:
    changed = page.locator("article.doc del.s-shift").first
    changed.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "shift: misfit-gloss, 48\u202f% sure" in tip.inner_text()
    assert "C8 EB BF EC DC 87 B5 C0" in tip.inner_text()
    assert page.locator("article.doc ins.s-shift.on").inner_text() == "入快车道"
    page.mouse.move(2, 2)
    assert not tip.is_visible()


def test_a_change_tells_its_rule_by_keyboard(page: "Page") -> None:
    page.locator("article.doc summary").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("k s-")
    tip = page.locator("#tip")
    first = tip.inner_text()
    assert tip.is_visible()
    page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    page.keyboard.press("End")
    assert tip.inner_text() != ""
    page.keyboard.press("Home")
    assert tip.inner_text() == first
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.keyboard.press("Tab")  # the next stop is another document
    assert page.evaluate("document.activeElement.closest('article') !== document.querySelector('article.doc')")


def test_search_and_filters(page: "Page") -> None:
    shown = page.locator("article.doc:visible")
    everything = shown.count()
    assert everything == 5
    status = page.get_by_role("status")
    page.get_by_label("Search in these documents").fill("标题HOSTILE")
    assert shown.count() == 1
    assert status.inner_text() == "1 of 5 documents shown"
    page.get_by_label("Search in these documents").fill("nowhere")
    assert page.get_by_text("None of these documents is like that").is_visible()
    page.get_by_label("Search in these documents").fill("")
    page.get_by_label("Step", exact=True).select_option("shift")
    assert shown.count() == 1
    page.get_by_label("Step", exact=True).select_option("")
    page.get_by_label("Became", exact=True).select_option("too-short")
    assert "标题short" in shown.first.inner_text() or "short.txt" in shown.first.inner_text()
    page.get_by_label("Became", exact=True).select_option("")
    page.get_by_label("Why", exact=True).select_option("damage left")
    assert shown.count() == 1
    page.get_by_label("Why", exact=True).select_option("")
    page.get_by_label("Source", exact=True).select_option("hostile|")
    assert shown.count() == 1


def test_documents_open_and_close(page: "Page") -> None:
    article = page.locator("article.doc").nth(3)
    assert not article.locator(".in").is_visible()
    article.locator("summary").click()
    assert article.locator(".in").is_visible()
    page.keyboard.press("Enter")
    assert not article.locator(".in").is_visible()


def test_damage_that_is_left_is_marked(page: "Page") -> None:
    assert page.locator("article.doc mark").first.text_content() == "锟斤拷"


@pytest.mark.parametrize("width", [360, 768, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(page: "Page", width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: "Page", scheme: str) -> None:
    """A contrast of 4.5 at least (WCAG 2.2, 1.4.3), as the browser paints it."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    low = page.evaluate(CONTRAST)
    assert low == []


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colors) => {
    colors.forEach((color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); });
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = new Set();
  const texts = "h1,h2,h3,p,li,span,td,th,del,ins,mark,a,summary,label,figcaption,caption,time";
  document.querySelectorAll(texts).forEach((one) => {
    if (!one.checkVisibility() || !one.textContent.trim()) return;
    const behind = [];
    for (let at = one; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const ground = paint(behind);
    const ink = paint([...behind, getComputedStyle(one).color]);
    const [a, b] = [light(ground), light(ink)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) low.add(`${one.tagName}.${one.className} ${contrast.toFixed(2)}`);
  });
  return [...low];
}"""


def test_parts_have_names_for_who_cannot_see_them(page: "Page") -> None:
    for part in ("main", "navigation", "search"):
        assert page.get_by_role(part).count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('table')].every((t) => t.querySelector('caption'))")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert set(page.evaluate("[...document.querySelectorAll('td.o')].map((t) => t.lang)")) == {"zh"}
    assert page.locator("svg:not([aria-hidden])").count() == 0  # their figures stand in tables


def test_it_reads_without_scripts(browser: "Browser", report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(report.as_uri())
    assert opened.locator(".verdict").is_visible()
    assert opened.locator("article.doc").count() == 5
    assert not opened.locator("form.filter").is_visible()
    context.close()


@pytest.mark.parametrize(("headers", "n"), [({"content-security-policy": "sandbox allow-scripts"}, 0), ({}, 1)])
def test_no_link_leads_out_of_a_page_from_nowhere(
    headers: dict[str, str], n: int, browser: "Browser", report: Path
) -> None:
    body = report.read_text(encoding="utf-8").replace("<main", '<a data-beside href="x.html">before</a><main')
    opened = browser.new_page()
    opened.route("**/*", lambda route: route.fulfill(body=body, content_type="text/html", headers=headers))
    opened.goto("http://report.test/run.html")
    assert opened.get_by_role("link", name="before").count() == n
    opened.close()


def test_on_paper_it_is_all_there(page: "Page") -> None:
    assert len(page.pdf()) > 10_000
