"""What a snapshot has, for looking about: a table of its documents, made of the columns that are small.

It is a database of DuckDB in a temporary folder, so that a million documents take little memory. Pages of it are told
by the last document of the one before (keyset), so that the thousandth comes as fast as the first. Texts and logs are
read from the Parquet files when they are looked at. The snapshot is pinned: no run changes or removes it meanwhile.
"""

import contextlib
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import duckdb
import pyarrow.parquet as pq

from tasks.publish.snapshots import DatasetError, Snapshot, StoredPart
from tasks.publish.store import Store, current, open_store
from tasks.publish.summary import FAILURES
from tasks.report.figures import STRIP
from tasks.verify import StoredDocument

PAGE = 50
"""Documents on a page."""

MEMORY = "512MB"
"""For DuckDB; what is more goes to the temporary folder."""

_PATIENCE = 10.0
"""Seconds that closing waits for what is being read."""

_GROUP = 64
"""Batches read at a time: opening files one by one is what costs."""

_SHIFT = 20
"""Bits of a document's number below that of its batch; a batch has some thousand documents."""

_WORTH = f"""case when reason in ({", ".join(f"'{reason}'" for reason in FAILURES)}) then 4
    when reason in ('duplicate', 'empty') then 0.1 when reason <> '' then 1 + removed
    else (1 - confidence) + removed + case when damage > 0 then 0.5 + least(20.0 * damage / greatest(n_chars, 1), 0.5)
    else 0 end end"""
"""How much a document is worth a look: what failed, then the sum of doubt, of the share that was stripped, and of
damage left (a twentieth of the text counts as much as all)."""

_STEPS = ", ".join(f"'{step}'" for step in STRIP)
_STRIPPED = f"""coalesce(list_sum(list_transform(list_filter(edits_by_step, lambda s: s.step in ({_STEPS})),
    lambda s: s.chars_removed)) / nullif(decoded_chars, 0), 0)"""
"""The share that went as furniture, spam or repetition: a repair makes a text shorter, too, but loses nothing of it."""

_COLUMNS = f"""coalesce(source_uri, '') as source_uri, record, coalesce(encoding, '') as encoding,
    coalesce(min_confidence, 1) as confidence, {_STRIPPED} as removed,
    coalesce(damage_chars, 0) as damage, n_edits, coalesce(n_chars, 0) as n_chars, flags,
    list_transform(edits_by_step, lambda e: e.step) as steps, run_id"""

_HOST = "regexp_extract(url, '^https?://([^/?#]+)', 1)"
"""Of the address that a page came from: most don't name their site."""

_TABLES = {
    "clean": f"'' as reason, coalesce(title, '') as title, coalesce(nullif(site_name, ''), {_HOST}, '') as site, lang",
    "rejected": f"reason, '' as title, coalesce({_HOST}, '') as site, '' as lang",
}
"""What a row has of its own table."""

SORTS = {
    "worth": ("worth", True),
    "source": ("no", False),
    "unsure": ("confidence", False),
    "removed": ("removed", True),
    "edits": ("n_edits", True),
    "longest": ("n_chars", True),
}
"""Column and whether the largest come first."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents, and in which order. Empty values ask for nothing."""

    table: str = ""
    """`clean` or `rejected`."""
    step: str = ""
    rule: str = ""
    """Of that step."""
    reason: str = ""
    flag: str = ""
    encoding: str = ""
    place: str = ""
    """Stands in the address or the name of the site, or begins the id."""
    below: float = 0
    """The least sure edit is less sure than that."""
    sort: str = "worth"
    only: tuple[int, ...] | None = None
    """Numbers of documents: what a search has found."""
    marked: tuple[str, ...] | None = None
    """Ids of documents."""


class Page(NamedTuple):
    """Some documents of a list."""

    rows: list[dict[str, Any]]
    total: int
    first: int
    """Position of the first one in the list, from 1."""

    @property
    def has_before(self) -> bool:
        """Whether there are documents before these."""
        return self.first > 1

    @property
    def has_after(self) -> bool:
        """Whether there are more."""
        return self.first - 1 + len(self.rows) < self.total


class Catalogue:
    """A snapshot, pinned, and the table of its documents, which `fill` makes."""

    def __init__(self, out: str | Path, number: int | None = None) -> None:
        """Open the newest snapshot, or another.

        Raises:
            DatasetError: if there is no dataset or no such snapshot, or it is of an older version.
        """
        self.store: Store = open_store(out)
        number = current(self.store).number if number is None else number
        self._release = self.store.pin(number)
        self.snapshot: Snapshot = self.store.snapshot(number)
        self.n_documents = self.snapshot.rows("clean") + self.snapshot.rows("rejected")
        if self.n_documents and not self.snapshot.batches:
            self._release()
            raise DatasetError(f"snapshot {number} has schema version {self.snapshot.schema_version}: clean again")
        self.n_listed = 0
        """Documents in the table by now."""
        self.listed, self.counted = threading.Event(), threading.Event()
        """Whether the table is whole; whether rules are counted as well."""
        self.problem = ""
        """Why it never will be."""
        self.facets: dict[str, list[tuple[Any, ...]]] = {}
        """Values to choose from, with how many documents have them."""
        self._folder = tempfile.TemporaryDirectory(prefix="qingyuan-view-", ignore_cleanup_errors=True)
        self._database = duckdb.connect(
            f"{self._folder.name}/catalogue.duckdb",
            config={
                "memory_limit": MEMORY,
                "temp_directory": f"{self._folder.name}/spilled",
                "autoinstall_known_extensions": "false",  # nothing is fetched from anywhere
                "autoload_known_extensions": "false",
            },
        )
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._filling = threading.Thread(target=self._fill, daemon=True, name="catalogue")

    @property
    def number(self) -> int:
        """Number of the snapshot."""
        return self.snapshot.number

    def newer(self) -> tuple[int, datetime] | None:
        """Number and time of the newest snapshot, if that is another one by now."""
        try:
            number = max(self.store.numbers(), default=self.number)
            return (number, self.store.snapshot(number).published_at) if number > self.number else None
        except DatasetError:
            return None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one thread.

        Raises:
            duckdb.Error: if this was closed.
        """
        with self._lock:  # DuckDB refuses two at once
            made = self._database.cursor()
            self._cursors.add(made)
            return made

    def close(self) -> None:
        """Let the snapshot go, and remove the table."""
        if self._closed.is_set():
            return
        self._closed.set()
        with self._lock:
            for cursor in list(self._cursors):
                with contextlib.suppress(duckdb.Error):
                    cursor.interrupt()
        if self._filling.ident:
            self._filling.join(_PATIENCE)
        with self._lock:
            self._database.close()
        self._folder.cleanup()
        self._release()

    def fill(self) -> None:
        """Begin to make the table; what goes wrong will be in `problem`."""
        self._filling.start()

    def _fill(self) -> None:
        try:
            with self.cursor() as cursor:
                self._list(cursor)
                self._count(cursor)
        except (duckdb.Error, DatasetError, OSError) as error:
            if not self._closed.is_set():
                self.problem = str(error)

    def paths(self, table: str, batches: Sequence[int]) -> list[tuple[str, int]]:
        """Parquet files of a table, and the positions of their batches: those that have rows."""
        found = ((self._part(table, batch), batch) for batch in batches)
        return [(str(self.store.path(part)), batch) for part, batch in found if part]

    def _part(self, table: str, batch: int) -> StoredPart | None:
        return self.snapshot.batches[batch].parts.get(table)

    def _list(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute("create table files (filename varchar, batch bigint)")
        cursor.execute(_CREATED)
        for name, columns in _TABLES.items():
            for start in range(0, len(self.snapshot.batches), _GROUP):
                end = min(start + _GROUP, len(self.snapshot.batches))
                self._list_group(cursor, name, columns, self.paths(name, range(start, end)))
        if not self._closed.is_set():
            self.facets = dict(_facets(cursor))
            self.listed.set()

    def _list_group(
        self, cursor: duckdb.DuckDBPyConnection, table: str, columns: str, files: Sequence[tuple[str, int]]
    ) -> None:
        if not files or self._closed.is_set():
            return
        cursor.execute("delete from files")
        cursor.executemany("insert into files values (?, ?)", files)
        cursor.execute(
            f"""insert into documents by name
            select *, {_WORTH} as worth from (
                select (batch << {_SHIFT}) + {int(table == "rejected")} * (1 << {_SHIFT - 1}) + file_row_number as no,
                    batch, doc_id, '{table}' as kind, {_COLUMNS}, {columns}
                from read_parquet(?, filename = true, file_row_number = true) join files using (filename))""",  # noqa: S608
            [[path for path, _ in files]],
        )
        self.n_listed += sum(part.rows for _, batch in files if (part := self._part(table, batch)))

    def _count(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Which rules did something in which document: their names alone are read, which are small."""
        cursor.execute("create table fired (no bigint, step varchar, rule varchar, n bigint, confidence double)")
        for path, batch in self.paths("edits", range(len(self.snapshot.batches))):
            if self._closed.is_set():
                return
            names = ["doc_id", *(f"edits.list.element.{name}" for name in ("step", "rule", "confidence"))]
            with pq.ParquetFile(path) as file:
                cursor.register("log", file.read(columns=names))
            cursor.execute(
                """insert into fired
                select no, e.step, e.rule, count(*), min(e.confidence)
                from (select doc_id, unnest(edits) as e from log) join documents using (doc_id)
                where batch = ? group by all""",
                [batch],
            )
            cursor.unregister("log")
        self.facets |= {"rule": cursor.execute(_RULES).fetchall()}
        self.counted.set()

    def page(self, wanted: Filter, *, after: int | None = None, before: int | None = None, size: int = PAGE) -> Page:
        """Documents of a list: the first ones, or those after or before one."""
        column, largest_first = SORTS[wanted.sort]
        where, values = _condition(wanted)
        backwards = before is not None
        edge = after if before is None else before
        with self.cursor() as cursor:
            beyond, at = _beyond(cursor, edge, column, largest_first=largest_first, backwards=backwards)
            order = f"{column} {'desc' if largest_first != backwards else 'asc'}, no {'desc' if backwards else 'asc'}"
            found = cursor.execute(
                f"select * from documents where {where} and {beyond} order by {order} limit ?",  # noqa: S608
                [*values, *at, size],
            )
            rows = _dicts(found)
            rows = rows[::-1] if backwards else rows
            total = self._total(cursor, where, values)
            first = rows[0]["no"] if rows else None
            ahead, at = _beyond(cursor, first, column, largest_first=largest_first, backwards=True)
            n_ahead = self._total(cursor, f"{where} and {ahead}", [*values, *at]) if rows else 0
        return Page(rows, total, n_ahead + 1)

    @staticmethod
    def _total(cursor: duckdb.DuckDBPyConnection, where: str, values: Sequence[Any]) -> int:
        (n,) = cursor.execute(f"select count(*) from documents where {where}", values).fetchone() or (0,)  # noqa: S608
        return int(n)

    def batches(self, wanted: Filter) -> list[tuple[int, int]]:
        """Positions of the batches that have documents of a list, and how many."""
        where, values = _condition(wanted)
        with self.cursor() as cursor:
            return cursor.execute(
                f"select batch, count(*) from documents where {where} group by batch order by batch",  # noqa: S608
                values,
            ).fetchall()

    def chosen(self, wanted: Filter, batch: int) -> tuple[str, list[Any]]:
        """A query for the numbers and ids of the documents of a list that are in a batch, and its values."""
        where, values = _condition(replace(wanted))
        return f"select no, doc_id from documents where batch = ? and {where}", [batch, *values]  # noqa: S608

    def entry(self, doc_id: str) -> dict[str, Any] | None:
        """What the table has of a document; None if it isn't there."""
        with self.cursor() as cursor:
            found = _dicts(cursor.execute("select * from documents where doc_id = ?", [doc_id]))
        return found[0] if found else None

    def document(self, entry: Mapping[str, Any]) -> StoredDocument:
        """All of a document that the table has: its row and its log. Raises as `documents`."""
        return self.documents([entry])[0]

    def documents(self, entries: Sequence[Mapping[str, Any]]) -> list[StoredDocument]:
        """The same for several, which takes less than one by one.

        Raises:
            DatasetError: if one is missing in the files: they are damaged.
        """
        rows = {kind: self._rows(kind, [e for e in entries if e["kind"] == kind]) for kind in _TABLES}
        logs = self._rows("edits", entries)
        try:
            return [StoredDocument(e["kind"], rows[e["kind"]][e["doc_id"]], logs[e["doc_id"]]) for e in entries]
        except KeyError as error:
            name = self.store.name
            raise DatasetError(f"document {error} is not in all its tables. See: qingyuan verify {name}") from error

    def _rows(self, table: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Rows of a table by the ids of their documents."""
        paths = [path for path, _ in self.paths(table, sorted({e["batch"] for e in entries}))]
        ids = [e["doc_id"] for e in entries]
        if not paths:
            return {}
        with self.cursor() as cursor:
            # A list of values, not a join, has DuckDB leave out what it needn't unpack.
            chosen = f"select * from read_parquet(?) where doc_id in ({', '.join('?' * len(ids))})"  # noqa: S608
            return {row["doc_id"]: row for row in _dicts(cursor.execute(chosen, [paths, *ids]))}

    def runs(self) -> list[dict[str, Any]]:
        """The rows of the table `runs`, newest first."""
        paths = (self.store.path(part) for part in self.snapshot.tables["runs"])
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        return sorted(rows, key=lambda row: row["snapshot"], reverse=True)

    def snapshots(self) -> list[Snapshot]:
        """Those there are by now, newest first."""
        return list(self._snapshots())

    def _snapshots(self) -> Iterator[Snapshot]:
        for number in sorted(self.store.numbers(), reverse=True):
            try:
                yield self.store.snapshot(number)
            except DatasetError:  # removed since it was listed, or damaged
                continue


_CREATED = """create table documents (
    no bigint, batch bigint, doc_id varchar, kind varchar, source_uri varchar, record varchar, encoding varchar,
    confidence double, removed double, damage bigint, n_edits bigint, n_chars bigint, flags varchar[], steps varchar[],
    run_id varchar, reason varchar, title varchar, site varchar, lang varchar, worth double)"""

_RULES = """select f.step, f.rule, count(*) as documents, sum(f.n) as n, min(f.confidence) as confidence
    from fired f group by all order by f.step, documents desc, f.rule"""


def _facets(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for name, what in (
        ("table", "kind"),
        ("reason", "nullif(reason, '')"),
        ("encoding", "nullif(encoding, '')"),
        ("flag", "unnest(flags)"),
        ("step", "unnest(steps)"),
    ):
        query = f"""select v, count(*) as n from (select {what} as v from documents)
            where v is not null group by v order by n desc, v"""  # noqa: S608
        yield name, cursor.execute(query).fetchall()


def _condition(wanted: Filter) -> tuple[str, list[Any]]:
    """Of a query: what a filter asks for, and the values in it."""
    asked: list[tuple[str, list[Any]]] = [("true", [])]
    for column, value in (("kind", wanted.table), ("reason", wanted.reason), ("encoding", wanted.encoding)):
        if value:
            asked.append((f"{column} = ?", [value]))
    if wanted.flag:
        asked.append(("list_contains(flags, ?)", [wanted.flag]))
    if wanted.rule:
        asked.append(("no in (select no from fired where step = ? and rule = ?)", [wanted.step, wanted.rule]))
    elif wanted.step:
        asked.append(("list_contains(steps, ?)", [wanted.step]))
    if wanted.place:
        stands = "contains(source_uri, ?) or contains(source_uri, ?) or contains(site, ?) or starts_with(doc_id, ?)"
        asked.append((f"({stands})", [wanted.place, quote(wanted.place), wanted.place, wanted.place]))
    if wanted.below:
        asked.append(("confidence < ?", [wanted.below]))
    if wanted.only is not None:
        asked.append(("no in (select unnest(?::bigint[]))", [list(wanted.only)]))
    if wanted.marked is not None:
        asked.append(("doc_id in (select unnest(?::varchar[]))", [list(wanted.marked)]))
    return " and ".join(sql for sql, _ in asked), [value for _, values in asked for value in values]


def _beyond(
    cursor: duckdb.DuckDBPyConnection, edge: int | None, column: str, *, largest_first: bool, backwards: bool
) -> tuple[str, list[Any]]:
    """The condition of lying beyond a document in the order of a list."""
    found = None
    if edge is not None:
        found = cursor.execute(f"select {column} from documents where no = ?", [edge]).fetchone()  # noqa: S608
    if found is None:
        return "true", []
    farther = "<" if largest_first != backwards else ">"
    later = "<" if backwards else ">"
    return f"({column} {farther} ? or ({column} = ? and no {later} ?))", [found[0], found[0], edge]


def _dicts(found: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
