"""Searching texts for a string, in a thread of its own and within bounds.

The clean text is in the Parquet files; what was observed isn't, and is made of it and the log. As that costs a hundred
times as much, only documents are looked into that have all characters of the string somewhere in text or log: every
character that was observed stands in one of them, or in the form that script conversion gave it.
"""

import threading
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import duckdb

from tasks.publish.snapshots import DatasetError
from tasks.scripts import simplify, traditionalize
from tasks.steps.edits import EditError
from tasks.steps.log import revert_all
from tasks.view.catalogue import Catalogue, Filter

Where = Literal["both", "clean", "observed"]

MAX_FOUND = 1_000
"""Documents after which a search rests: nobody looks through more."""

SECONDS = 60.0
"""After which it rests, until it is asked to go on."""

LONGEST = 200
"""Characters of a string to look for."""

_ROWS = 50
"""Texts in memory at a time."""

_MOST_CHARS = 8
"""Different characters of a string that documents are chosen by."""


class Search:
    """One search over the documents of a list."""

    def __init__(self, catalogue: Catalogue, wanted: Filter, text: str, where: Where) -> None:
        self.text = text
        self.where = where
        self.wanted = wanted
        self._catalogue = catalogue
        self._batches = catalogue.batches(wanted)
        self.total = sum(n for _, n in self._batches)
        """Documents to look into."""
        self.looked = 0
        """How many of them it has."""
        self._at = 0
        self._found: dict[int, None] = {}
        self.problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread()

    @property
    def found(self) -> tuple[int, ...]:
        """Numbers of the documents that have the string, as far as it got."""
        return tuple(self._found)

    @property
    def is_running(self) -> bool:
        """Whether it is looking now."""
        return self._thread.is_alive()

    @property
    def is_done(self) -> bool:
        """Whether all documents were looked into."""
        return self._at == len(self._batches)

    def start(self, wait: float = 0) -> None:
        """Begin, or go on; come back when it rests, or after so many seconds."""
        if not self.is_running and not self.is_done:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, daemon=True, name="search")
            self._thread.start()
        self._thread.join(wait) if self.is_running else None

    def stop(self) -> None:
        """Have it rest."""
        self._stop.set()

    def _run(self) -> None:
        until = time.monotonic() + SECONDS
        limit = len(self._found) + MAX_FOUND
        try:
            with self._catalogue.cursor() as cursor:
                while not self.is_done and self._look(cursor, until, limit):
                    self.looked += self._batches[self._at][1]
                    self._at += 1
        except (duckdb.Error, DatasetError, EditError, OSError) as error:
            if not self._stop.is_set():
                self.problem = str(error)

    def _look(self, cursor: duckdb.DuckDBPyConnection, until: float, limit: int) -> bool:
        """Look into a batch; False if it must rest before its end."""
        for number in self._matching(cursor, self._batches[self._at][0]):
            if number is not None:
                self._found[number] = None
            if self._stop.is_set() or time.monotonic() > until or len(self._found) >= limit:
                return False
        return True

    def _matching(self, cursor: duckdb.DuckDBPyConnection, batch: int) -> Iterator[int | None]:
        """Numbers of the documents of a batch that have the string, and None for one that hasn't."""
        chosen, values = self._catalogue.chosen(self.wanted, batch)
        texts, paths = self._texts(batch)
        if not paths:
            return
        if self.where == "clean":
            found = cursor.execute(
                f"select no from ({chosen}) join ({texts}) using (doc_id) where contains(text, ?) order by no",  # noqa: S608
                [*values, *paths, self.text],
            )
            yield from (no for (no,) in found.fetchall())
            yield None
            return
        condition, forms = _may_hold(self.text)
        logs = [path for path, _ in self._catalogue.paths("edits", [batch])]
        cursor.execute(
            f"""select no, text, edits from (
                select no, text, edits, array_to_string(list_transform(edits, lambda e: e.before), '') as said
                from ({chosen}) join ({texts}) using (doc_id) join read_parquet(?) using (doc_id))
            where {condition} order by no""",  # noqa: S608
            [*values, *paths, logs, *forms],
        )
        while rows := cursor.fetchmany(_ROWS):
            yield from (no if self._holds(text, edits) else None for no, text, edits in rows)

    def _texts(self, batch: int) -> tuple[str, list[list[str]]]:
        """A query for the texts of a batch, and the files of it."""
        files = [[path for path, _ in self._catalogue.paths(table, [batch])] for table in ("clean", "rejected")]
        files = [paths for paths in files if paths]
        query = "select doc_id, text from read_parquet(?) where text is not null"
        return " union all ".join([query] * len(files)), files

    def _holds(self, text: str, edits: list[dict[str, Any]]) -> bool:
        if self.where == "both" and self.text in text:
            return True
        return self.text in revert_all(text, edits)


def _may_hold(text: str) -> tuple[str, list[str]]:
    """The condition for a document to have all characters of a string, and its values."""
    groups = [sorted(_forms(char)) for char in list(dict.fromkeys(text))[:_MOST_CHARS]]
    one_of = (" or ".join(["contains(text, ?) or contains(said, ?)"] * len(group)) for group in groups)
    values = [form for group in groups for form in group for _ in range(2)]
    return " and ".join(f"({condition})" for condition in one_of), values


def _forms(char: str) -> set[str]:
    """A character, and all that script conversion may have made of it, in as many stages as there may be."""
    forms = {char}
    while more := {form for known in forms for form in _made_of().get(known, ())} - forms:
        forms |= more
    return forms


@cache
def _made_of() -> dict[str, set[str]]:
    """By the form that the log's operations imply, the characters that it implies it for (`tasks.steps.log`)."""
    chars = "".join(map(chr, (*range(0x2E80, 0xA000), *range(0xF900, 0xFB00), *range(0x20000, 0x2FA20))))
    found: dict[str, set[str]] = {}
    for forms in (traditionalize(chars), simplify(chars)):
        for char, form in zip(chars, forms, strict=True):
            if char != form:
                found.setdefault(form, set()).add(char)
    return found
