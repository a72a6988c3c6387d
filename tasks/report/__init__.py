"""What a run did, as one page of HTML that needs nothing else.

Everything on the page is bounded: numbers are counted over all documents, texts are those of samples, each section has
a share of the whole, and what is left out is said.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from markupsafe import Markup

from schemas.document import Run
from tasks.publish.difference import Difference, RuleChange, compare
from tasks.publish.snapshots import DatasetError, Snapshot
from tasks.publish.store import Store
from tasks.publish.summary import Summary
from tasks.report import charts, figures
from tasks.report.page import STEPS, about_edit, asset, environment, policy, rows_told
from tasks.report.pairs import Excerpt, bad_bytes_told, excerpt, pieces_of
from tasks.report.verdict import SIGNS, WORDS, judge_run
from tasks.steps.edits import EditError
from tasks.steps.log import take_back

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from schemas.document import Edit

LARGEST = 5_000_000
"""Bytes of a report, at most."""

DOCUMENTS_SHARE = 3_600_000
"""Of them, those of documents side by side: they come last, so that whatever is left over is theirs."""

PER_DOCUMENT = (40_000, 6_000, 1_500)
"""Characters shown of a document: the first number where there are `ROOMY` documents or fewer, the second where there
are more, and the last one where that takes more than its bytes."""

ROOMY = 12

DOCUMENT_BYTES = 120_000
"""Of one document among many; of fewer each may have an equal part of all."""

LOOKS = 12
"""Documents for each reason to look at one."""

RULES = 60
"""Rules with examples. There are some 120, but a run meets half of them at most, the common ones first."""

FEW = 24
"""Rules that are all shown at once; of more, those of one step at a time."""

EXAMPLES = 3
"""Examples of a rule."""

LANGUAGES = {"zh", "en", "ja", "ko"}
"""Those that `lang` may name."""

BAD_BYTES = 6
"""Bytes that no character could be made of which are told of a document."""

COMPARED = 100
"""Documents of which the texts are compared with those of the run before: a second of work."""


class Example(NamedTuple):
    """An edit that is shown by itself."""

    shown: Excerpt
    about: str
    low: bool
    doc_id: str


class Shown(NamedTuple):
    """A document side by side, ready for the page."""

    row: Mapping[str, Any]
    whys: Sequence[str]
    pair: Markup
    bad_bytes: str


class Made(NamedTuple):
    """A report: the page, the place where it is kept, and figures that are shown elsewhere, too."""

    address: str
    headline: str
    """What to think of the run, in a few words."""
    picture: bytes
    """The main chart as a PNG; empty if the run has cleaned nothing."""
    largest: list[figures.Row]
    """Documents that were edited most."""
    reasons: list[figures.Row]
    seconds: float


def write_report(store: Store, snapshot: Snapshot, run: Run, summary: Summary) -> Made:
    """Write the report of a run that has published a snapshot, and keep it beside the tables.

    Raises:
        DatasetError: if a part is missing.
        OSError: if it can't be written.
    """
    started = time.monotonic()
    release = store.pin(snapshot.number)
    try:
        with figures.opened(store, snapshot, run.run_id) as db:
            figured = _figures(db)
            page = _render(db, figured, _about(store, snapshot, run, summary))
    finally:
        release()
    address = store.keep_report(run.run_id, page.encode("utf-8", "replace"))
    flow = figured["flow"]
    headline = figured["verdict"].headline if flow else "Nothing to do"
    picture = charts.flow_picture(flow) if flow else b""
    return Made(address, headline, picture, figured["largest"], figured["reasons"], time.monotonic() - started)


def _figures(db: "DuckDBPyConnection") -> dict[str, Any]:
    """What is counted, and drawn of it."""
    rules = figures.rules(db)
    total = {**figures.totals(db), "guesses": sum(rule["low"] for rule in rules)}
    flow = figures.flow(db)
    steps = figures.steps(db)
    return {
        "total": total,
        "verdict": judge_run(total),
        "flow": flow,
        "steps": steps,
        "reasons": figures.reasons(db),
        "sites": figures.sites(db),
        "n_sites": figures.n_sites(db),
        "rules": rules,
        "largest": figures.largest_changes(db),
        "too_long": figures.too_long(db),
        "looks": figures.worth_a_look(db, LOOKS),
        "flow_chart": charts.flow("Where documents came from and where they went", flow) if flow else None,
        "charts": list(_charts(db, steps)) if total["documents"] else [],
    }


def _charts(db: "DuckDBPyConnection", steps: Sequence[figures.Row]) -> Iterable[charts.Chart]:
    if steps:
        yield charts.step_bars("Documents changed, by step", steps)
    shares = [{"value": _tenth(row["low"]), **row} for row in figures.shares(db)]
    yield charts.columns(
        "Documents by the share of text that is gone, in %", shares, {"documents": "documents"}, "gone",
        "Removed, or made shorter by repairs: glosses and mojibake are longer than what they stand for.",
    )  # fmt: skip
    lengths = [{"value": _power(row["low"]), **row} for row in figures.lengths(db)]
    yield charts.columns(
        "Documents by their length in characters, from …", lengths, {"observed": "observed", "clean": "clean"}, "from"
    )
    for title, rows in (
        ("Encodings", figures.tally(db, "encoding")),
        ("Languages", figures.tally(db, "lang", "clean")),
        ("Script before conversion", _named(figures.tally(db, "script_source", "clean"), _SCRIPTS)),
        ("What to know before using a text", figures.flags(db)),
    ):
        if rows:
            yield charts.bars(title, rows)
    if dates := figures.dates(db):
        yield charts.bars("Published", dates[::-1], note="As pages say; those that don't are left out.")


_SCRIPTS = {"hans": "Simplified", "hant": "Traditional", "mixed": "mixed"}


def _named(rows: Iterable[figures.Row], names: Mapping[str, str]) -> list[figures.Row]:
    return [{**row, "value": names.get(row["value"], row["value"])} for row in rows]


def _tenth(low: int) -> str:
    return "none" if low < 0 else f"{low * 10}+" if low else "<10"


def _power(low: int) -> str:
    return f"{low // 1024}k" if low >= 1024 else str(low)


def _about(store: Store, snapshot: Snapshot, run: Run, summary: Summary) -> dict[str, Any]:
    """What is known of a run without a look at its documents."""
    before = [number for number in store.numbers() if number < snapshot.number]
    last = store.snapshot(before[-1]) if before else None
    difference = _difference(store, last, snapshot) if last else None
    return {
        "snapshot": snapshot,
        "run": run,
        "summary": summary,
        "counts": snapshot.counts,
        "last": last,
        "report_before": last is not None and last.run_id in store.reports(),
        "difference": difference,
        "rule_changes": sorted(difference.rules.items(), key=_size, reverse=True) if difference else [],
        "steps_before": last.counts.edits if last else {},
    }


def _size(change: tuple[tuple[str, str], RuleChange]) -> int:
    return change[1].edits.total()


def _difference(store: Store, last: Snapshot, snapshot: Snapshot) -> Difference | None:
    if "://" in store.name:  # all that the last snapshot has would have to be fetched
        return None
    try:
        return compare(store, last, snapshot, most=COMPARED)
    except DatasetError:  # of an older version, or damaged by now
        return None


def _render(db: "DuckDBPyConnection", figured: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The page: first what it says, then documents as far as there is room for them."""
    looks: Mapping[str, list[str]] = figured["looks"]
    rules = figured["rules"][:RULES]
    wanted = _wanted(db, rules)
    documents = figures.read_documents(
        db, {*looks, *(place["doc_id"] for places in wanted.values() for place in places)}
    )
    script = asset("report.js")
    given = {
        **figured,
        **about,
        "rules": [(rule, _examples(wanted[rule["step"], rule["rule"]], documents)) for rule in rules],
        "n_rules": len(figured["rules"]),
        "FEW": FEW,
        "LANGUAGES": LANGUAGES,
        "signs": SIGNS,
        "words": WORDS,
        "style": Markup(asset("style.css")),  # noqa: S704  ours
        "script": Markup(script),  # noqa: S704  ours
        "policy": policy(script),
        "steps_known": [step for step in STEPS if any(row["step"] == step for row in figured["steps"])],
        "folder": unquote(str(about["summary"].out)),
    }
    template = environment().get_template("report.html.j2")
    room = min(DOCUMENTS_SHARE, LARGEST - len(template.render(given, documents=[], n_looks=len(looks)).encode()) - 1000)
    shown = list(_documents(documents, looks, room))
    return template.render(given, documents=shown, n_looks=len(looks))


def _wanted(db: "DuckDBPyConnection", rules: Sequence[figures.Row]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Places of edits to show, by rule: the least sure one, then strong ones, each of another document."""
    candidates = {(rule["step"], rule["rule"]): [*rule["unsure"][:1], *rule["strongest"]] for rule in rules}
    ids = {place["doc_id"] for places in candidates.values() for place in places}
    short = figures.of_length(db, ids, figures.LONGEST_SHOWN // 4)
    return {
        rule: list({p["doc_id"]: p for p in reversed(places) if p["doc_id"] in short}.values())[::-1][:EXAMPLES]
        for rule, places in candidates.items()
    }


def _examples(places: Iterable[Mapping[str, Any]], documents: Mapping[str, figures.Row]) -> list[Example]:
    found = []
    for place in places:
        document = documents.get(place["doc_id"])
        edited = _edit_at(document, place["stage"], place["start"]) if document else None
        if edited:
            edit, text = edited
            found.append(Example(excerpt(text, edit), about_edit(edit), edit.confidence < figures.LOW, place["doc_id"]))
    return found


def _edit_at(document: Mapping[str, Any], stage: int, start: int) -> "tuple[Edit, str] | None":
    """An edit of a document, with the text that it was made in."""
    log = [row for row in document["log"] if row["stage"] >= stage]
    *_, (taken, text) = take_back(document["text"], log)
    return next(((edit, text) for edit in taken.edits if edit.start == start), None)


def _documents(documents: Mapping[str, figures.Row], looks: Mapping[str, list[str]], room: int) -> Iterable[Shown]:
    """Documents side by side, as many as there is room for."""
    roomy = len(looks) <= ROOMY
    most_bytes = max(DOCUMENT_BYTES, room // ROOMY) if roomy else DOCUMENT_BYTES
    for doc_id, whys in looks.items():
        if not (row := documents.get(doc_id)):
            continue
        shown = _side_by_side(row, whys, PER_DOCUMENT[not roomy :], most_bytes)
        room -= len(shown.pair.encode()) + 3000  # what stands around it: names and figures
        if room < 0:
            return
        yield shown


def _side_by_side(row: Mapping[str, Any], whys: Sequence[str], tries: Iterable[int], most_bytes: int) -> Shown:
    if row["text"] is None:
        return Shown(row, whys, Markup(), "")
    try:
        pieces = pieces_of(row["text"], row["log"], row["damage"])
    except EditError as error:
        return Shown(row, [*whys, f"its log does not fit: {error}"[:200]], Markup(), "")
    pair = environment().get_template("macros.html.j2").module.pair  # type: ignore[attr-defined]
    lang = row["lang"] if row["lang"] in LANGUAGES else "zh"
    made = Markup()
    for most in tries:
        rows, unseen = rows_told(pieces, most)
        made = pair(rows, "The document, observed and clean, line by line", unseen, lang)
        if len(made.encode()) <= most_bytes:
            break
    told = bad_bytes_told(row)
    return Shown(row, whys, made, ", ".join(text for _, text in told[:BAD_BYTES]) + ", …" * (len(told) > BAD_BYTES))
