"""The pages of the browser for a dataset. Addresses have ids and numbers in them, and never text of a document."""

import re
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import duckdb
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tasks.publish.snapshots import DatasetError
from tasks.report import page as pages
from tasks.steps.edits import EditError
from tasks.view import reviews
from tasks.view.catalogue import PAGE, SORTS, Catalogue, Filter
from tasks.view.guard import Guard, form_of, secret_of
from tasks.view.reviews import VERDICTS, mark
from tasks.view.search import LONGEST as LONGEST_SEARCH
from tasks.view.search import MAX_FOUND, SECONDS, Search
from tasks.view.sheets import MOST_CHARS, MOST_TAKEN_APART, Sheets, examples

MAX_LISTS = 100
"""Lists that the server remembers, each a few numbers: who goes back further finds all documents again."""

_OPEN_DOCUMENTS = 4
"""Documents that stay taken apart: somebody who turns pages or marks edits asks for the same one again and again."""

_OPEN_CHANGES = MOST_TAKEN_APART
"""Changes that these have in all, but for the last one asked for: each takes 2 kB."""

PATIENCE = 1.5
"""Seconds that a page waits for a search, or for the table of documents, before it shows how far that is."""

_LOOK_SECONDS = 5
"""Between two looks for a newer snapshot: in an object store each is a request."""

WITH_EXAMPLES = 20
"""Documents on a page that shows what a rule did in each: they are taken apart for it."""

ALL = "all"
"""The list of all documents."""

REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of a report, which is a page of its own with a stricter policy within. It runs as if from nowhere."""

_RUN_ID = re.compile(r"[\w.-]{1,100}", re.ASCII)

_NAME = re.compile(r"[\w+. -]{0,100}", re.ASCII)
"""Of steps, rules, reasons, flags and encodings."""

_TYPES = {"style.css": "text/css", "view.css": "text/css", "view.js": "text/javascript"}

WHERE = ("both", "clean", "observed")


@dataclass(slots=True)
class Listing:
    """A list that somebody asked for."""

    wanted: Filter
    search: Search | None = None

    @property
    def filter(self) -> Filter:
        """What it shows."""
        return replace(self.wanted, only=self.search.found) if self.search else self.wanted


class View:
    """A dataset that is being looked at: one snapshot at a time, and the marks."""

    def __init__(self, out: str | Path, token: str) -> None:
        """Open the newest snapshot.

        Raises:
            DatasetError: if there is none.
        """
        self.out, self.token = out, token
        self.lock = threading.Lock()
        self.catalogue = Catalogue(out)
        self.marks_file = reviews.path_of(self.catalogue.store, out)
        self._lists: OrderedDict[str, Listing] = OrderedDict()
        self._sheets: OrderedDict[str, Sheets] = OrderedDict()
        self._newer: tuple[float, Any] = (0.0, None)
        self.catalogue.fill()

    def show(self, number: int) -> None:
        """Turn to another snapshot; lists start anew. Raises DatasetError if it is gone."""
        opened = Catalogue(self.out, number)
        with self.lock:
            old, self.catalogue = self.catalogue, opened
            self.forget()
            self._newer = (0.0, None)
        opened.fill()
        old.close()

    def forget(self) -> None:
        """Let searches rest, and lists and documents go."""
        for listing in self._lists.values():
            if listing.search:
                listing.search.stop()
        self._lists.clear()
        self._sheets.clear()

    def close(self) -> None:
        """Let all go."""
        self.forget()
        self.catalogue.close()

    def newer(self) -> Any:
        """Number and time of a newer snapshot, if there is one."""
        at, known = self._newer
        if time.monotonic() - at > _LOOK_SECONDS or not at:
            known = self.catalogue.newer()
            self._newer = (time.monotonic(), known)
        return known

    def remember(self, listing: Listing) -> str:
        """An id for a list. One search runs at a time."""
        name = secrets.token_hex(4)
        with self.lock:
            for other in self._lists.values():
                if other.search and listing.search:
                    other.search.stop()
            self._lists[name] = listing
            while len(self._lists) > MAX_LISTS:
                self._lists.popitem(last=False)
        return name

    def listing(self, name: str) -> Listing:
        """A list by its id; all documents where it isn't known any more."""
        with self.lock:
            if name in self._lists:
                self._lists.move_to_end(name)
            return self._lists.get(name) or Listing(Filter())

    def sheets(self, entry: Mapping[str, Any]) -> Sheets:
        """A document, taken apart. Raises as `Catalogue.document` and `Sheets`."""
        doc_id = entry["doc_id"]
        with self.lock:
            found = self._sheets.get(doc_id)
        found = found or Sheets(self.catalogue.document(entry))
        with self.lock:
            self._sheets[doc_id] = found
            self._sheets.move_to_end(doc_id)
            while len(self._sheets) > 1 and not self._is_room():
                self._sheets.popitem(last=False)
        return found

    def _is_room(self) -> bool:
        n_changes = sum(sheets.n_changes for sheets in self._sheets.values())
        return len(self._sheets) <= _OPEN_DOCUMENTS and n_changes <= _OPEN_CHANGES

    def marks(self) -> reviews.Reviews:
        """All marks. Raises OSError if they can't be read."""
        return reviews.read(self.marks_file)


def application(view: View, port: int) -> Starlette:
    """The server's application; its pages are answered under the names of this machine and this port alone."""
    app = Starlette(
        routes=[
            Route("/", RedirectResponse(f"/list/{ALL}", 303)),
            Route("/list/{name}", _list),
            Route("/find", _find, methods=["POST"]),
            Route("/list/{name}/search", _go_on, methods=["POST"]),
            Route("/document/{doc_id}", _document),
            Route("/mark", _mark, methods=["POST"]),
            Route("/rules", _rules),
            Route("/runs", _runs),
            Route("/marks", _marks),
            Route("/snapshot", _snapshot, methods=["POST"]),
            Route("/report/{run_id}", _report),
            Route("/static/{name}", _static),
        ],
        middleware=[Middleware(Guard, token=view.token, port=port)],
        exception_handlers={
            HTTPException: _failed,
            **dict.fromkeys((DatasetError, EditError, OSError, duckdb.Error), _broken),
        },
    )
    app.state.view = view
    return app


def _view(request: Request) -> View:
    view: View = request.app.state.view
    return view


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    view = _view(request)
    name = request.query_params.get("list") or request.path_params.get("name") or ALL
    common = {
        "secret": secret_of(view.token),
        "catalogue": view.catalogue,
        "newer": view.newer(),
        "list_name": name,
        "wanted": view.listing(name).wanted,
        "search": view.listing(name).search,
        "sorts": SORTS,
        "refresh": 0,
        "out": str(view.out),
        "max_search": LONGEST_SEARCH,
    }
    made = pages.environment().get_template(f"view_{template}.html.j2").render({**common, **values})
    return HTMLResponse(made, status)


def _number(request: Request, name: str) -> int | None:
    """A number of the address; None if it isn't there.

    Raises:
        HTTPException: if it is none.
    """
    given = request.query_params.get(name)
    if given is None:
        return None
    if not re.fullmatch("[0-9]{1,15}", given):
        raise HTTPException(404, "There is no such page.")
    return int(given)


def _list(request: Request) -> Response:
    view = _view(request)
    catalogue = view.catalogue
    if not catalogue.listed.wait(PATIENCE) and not catalogue.problem:
        return _page(request, "loading", refresh=1)
    if catalogue.problem and not catalogue.listed.is_set():
        raise DatasetError(catalogue.problem)
    listing = view.listing(request.path_params["name"])
    search = listing.search
    wanted = listing.filter
    size = WITH_EXAMPLES if wanted.step else PAGE
    shown = catalogue.page(wanted, after=_number(request, "after"), before=_number(request, "before"), size=size)
    verdicts = Counter((mark.doc_id, mark.verdict) for mark in view.marks().marks)
    running = bool(search and search.is_running)
    return _page(
        request,
        "list",
        shown=shown,
        examples=_examples(catalogue, wanted, shown.rows),
        verdicts=verdicts,
        refresh=1 if running else 0,
        most_found=MAX_FOUND,
        most_seconds=SECONDS,
        asked={name: value for name, value in asdict(listing.wanted).items() if value and name != "sort"},
    )


def _examples(catalogue: Catalogue, wanted: Filter, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rule that a list is about did in its documents, by their ids."""
    short = [row for row in rows if wanted.step and row["n_chars"] <= MOST_CHARS]
    documents = catalogue.documents(short) if short else []
    return {document.doc_id: examples(document, wanted.step, wanted.rule) for document in documents}


def _posted(
    answer: Callable[[View, dict[str, str]], Response],
) -> Callable[[Request], Awaitable[Response]]:
    """What answers a form."""

    async def answered(request: Request) -> Response:
        view = _view(request)
        try:
            form = await form_of(request, view.token)
        except (ValueError, UnicodeDecodeError) as error:
            raise HTTPException(403, f"Refused: {error}.") from error
        return await run_in_threadpool(answer, view, {**form, **request.path_params})

    return answered


@_posted
def _find(view: View, form: dict[str, str]) -> Response:
    """Make a list of what was asked for."""
    view.catalogue.listed.wait(PATIENCE)
    wanted = _wanted(view, form)
    text = form.get("text", "").strip("\r\n")[:LONGEST_SEARCH]
    where = form.get("where", "both")
    if where not in WHERE:
        raise HTTPException(400, "There is nothing of that name to search.")
    search = None
    if text.strip() and view.catalogue.listed.is_set():
        search = Search(view.catalogue, wanted, text, where)  # type: ignore[arg-type]
    name = view.remember(Listing(wanted, search))
    if search:
        search.start(PATIENCE)
    return RedirectResponse(f"/list/{name}", 303)


_CHOICES = {f.name for f in fields(Filter)} - {"below", "only", "marked", "sort"}


def _wanted(view: View, form: dict[str, str]) -> Filter:
    given: dict[str, Any] = {name: value.strip() for name, value in form.items() if name in _CHOICES}
    if "/" in given.get("rule", ""):  # as the form has it: step/rule
        given["step"], _, given["rule"] = given["rule"].partition("/")
    below, sort = form.get("below", "").strip() or "0", form.get("sort", "worth")
    names = [value for name, value in given.items() if name != "place"]
    if not all(map(_NAME.fullmatch, names)) or sort not in SORTS or not re.fullmatch(r"[01](\.[0-9]{1,4})?", below):
        raise HTTPException(400, "That can't be asked for. The confidence goes from 0 to 1, as in 0.9.")
    marked = tuple({review.doc_id for review in view.marks().marks}) if form.get("marked") else None
    return Filter(**given, below=float(below), sort=sort, marked=marked)


@_posted
def _go_on(view: View, form: dict[str, str]) -> Response:
    """Have a search rest, or go on."""
    search = view.listing(form["name"]).search
    if search and form.get("what") == "stop":
        search.stop()
    elif search:
        search.start(PATIENCE)
    return RedirectResponse(f"/list/{form['name']}", 303)


def _document(request: Request) -> Response:
    view = _view(request)
    view.catalogue.listed.wait(PATIENCE)
    entry = view.catalogue.entry(request.path_params["doc_id"]) if view.catalogue.listed.is_set() else None
    if entry is None:
        if not view.catalogue.listed.is_set():
            return _page(request, "loading", refresh=1)
        raise HTTPException(404, f"Snapshot {view.catalogue.number} has no such document.")
    sheets = view.sheets(entry)
    marks = [mark for mark in view.marks().marks if mark.doc_id == entry["doc_id"]]
    wanted = view.listing(request.query_params.get("list") or ALL).wanted
    start = sheets.first_by(wanted.step, wanted.rule) if wanted.step else 0
    number = _number(request, "page") or sheets.page_of(start)
    if number > sheets.n_pages:
        raise HTTPException(404, f"The document has {sheets.n_pages} pages.")
    sheet = sheets.sheet(number, marks)
    verdicts = sheets.verdicts(marks)
    placed = {review: sheets.change_of(*at) for at, review in verdicts.items()}
    neighbours = _neighbours(view, request, entry)
    return _page(
        request,
        "document",
        entry=entry,
        row=sheets.document.row,
        log=sheets.document.log,
        sheet=sheet,
        sheets=sheets,
        number=number,
        start=start,
        least_sure=sheets.least_sure,
        marks=[(review, placed.get(review), sheets.page_of(placed.get(review) or 0)) for review in marks],
        where={review: at for at, review in verdicts.items()},
        neighbours=neighbours,
    )


def _neighbours(view: View, request: Request, entry: Mapping[str, Any]) -> tuple[str, str]:
    """Ids of the documents before and after this one in its list; empty where there are none."""
    wanted = view.listing(request.query_params.get("list") or ALL).filter
    before = view.catalogue.page(wanted, before=entry["no"], size=1).rows
    after = view.catalogue.page(wanted, after=entry["no"], size=1).rows
    return (before[0]["doc_id"] if before else "", after[0]["doc_id"] if after else "")


@_posted
def _mark(view: View, form: dict[str, str]) -> Response:
    """Write down what somebody says of an edit."""
    entry = view.catalogue.entry(form.get("doc_id", ""))
    numbers = (form.get("stage", ""), form.get("number", ""))
    if entry is None or form.get("verdict") not in VERDICTS:
        raise HTTPException(404, "There is no such document, or no such mark.")
    sheets = view.sheets(entry)
    at = [int(n) for n in numbers if re.fullmatch("[0-9]{1,9}", n)]
    found = sheets.edit(*at) if len(at) == 2 else None
    if found is None:
        raise HTTPException(404, "There is no such edit.")
    received, edit = found
    verdict: Any = form["verdict"]
    old = sheets.verdicts([m for m in view.marks().marks if m.doc_id == entry["doc_id"]]).get((at[0], at[1]))
    made = mark(sheets.document.row, received, edit, verdict, form.get("note", ""))
    if old and old.key != made.key:  # made when the edit stood elsewhere
        reviews.add(view.marks_file, replace(old, verdict="withdrawn", when=made.when, note=""))
    if old or verdict != "withdrawn":
        reviews.add(view.marks_file, made)
    change = sheets.change_of(*at)
    name = form.get("list", ALL)
    name = name if re.fullmatch("[0-9a-z]{1,16}", name) else ALL
    page = sheets.page_of(change)
    return RedirectResponse(f"/document/{entry['doc_id']}?list={name}&page={page}#e{change}", 303)


def _rules(request: Request) -> Response:
    view = _view(request)
    counted = view.catalogue.counted.wait(PATIENCE)
    verdicts: Counter[tuple[str, str, str]] = Counter((m.step, m.rule, m.verdict) for m in view.marks().marks)
    return _page(request, "rules", refresh=0 if counted or view.catalogue.problem else 1, verdicts=verdicts)


def _runs(request: Request) -> Response:
    view = _view(request)
    runs = view.catalogue.runs()
    store = view.catalogue.store
    return _page(request, "runs", runs=runs, snapshots=view.catalogue.snapshots(), with_report=store.reports().keys())


def _marks(request: Request) -> Response:
    view = _view(request)
    view.catalogue.listed.wait(PATIENCE)
    found = view.marks()
    known = {mark.doc_id for mark in found.marks if view.catalogue.entry(mark.doc_id)}
    return _page(request, "marks", found=found, known=known, file=str(view.marks_file))


@_posted
def _snapshot(view: View, form: dict[str, str]) -> Response:
    """Turn to another snapshot."""
    if not re.fullmatch("[0-9]{1,9}", form.get("number", "")):
        raise HTTPException(404, "There is no such snapshot.")
    view.show(int(form["number"]))
    return RedirectResponse("/", 303)


def _report(request: Request) -> Response:
    run_id = request.path_params["run_id"]
    page = _view(request).catalogue.store.report(run_id) if _RUN_ID.fullmatch(run_id) else None
    if page is None:
        raise HTTPException(404, "There is no report of this run.")
    return HTMLResponse(page, headers={"content-security-policy": REPORT_POLICY})


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _TYPES:
        raise HTTPException(404, "There is no such file.")
    return Response(pages.asset(name), media_type=_TYPES[name])


def _failed(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return _page(request, "message", status, message=getattr(error, "detail", str(error)))


def _broken(request: Request, error: Exception) -> Response:
    """The dataset can't be read as it should, or a mark can't be written."""
    return _page(request, "message", 500, message=str(error))
