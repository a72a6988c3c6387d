"""What a snapshot holds and what a run did, counted by DuckDB over the parts of the snapshot in bounded memory.

`opened` gives a connection with the views `clean`, `rejected`, `edits` and `documents`, of the whole dataset or of what
one run has cleaned; the other functions ask it one thing each, and give rows as dicts. Nothing here reads a text but
`read_documents`, for documents that are named.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.dataset import CLEAN, EDITS, REJECTED
from schemas.document import Reason
from tasks.publish.snapshots import Snapshot, StoredPart
from tasks.publish.store import Store
from tasks.publish.summary import FAILURES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "512MB"
"""DuckDB's limit; what doesn't fit goes to the disk. A run has a worker process for each core by then no more."""

LOW = 0.9
"""Edits less sure than this are guesses to look at: as in the data dictionary's example."""

STRIP = ("spam", "boilerplate", "repeats")
"""Steps that take text away; others shorten it in the course of a repair."""

NOT_TELLING = (str(Reason.EMPTY), str(Reason.DUPLICATE))
"""Rejections that say nothing against a run: there was no text, or another document has it."""

LONGEST_SHOWN = 200_000
"""Characters of a document that is taken as a sample, at most: its changes are found in some 20 ms then."""

Row = dict[str, Any]

_SOURCE_KIND = """
    case when record = '' then case when format in ('html', 'feed') then 'pages of HTML'
            when source_uri like 'stdin:%' then 'standard input' else 'text files' end
        when regexp_matches(record, '(^|!)line=\\d+$') then 'JSON lines'
        when regexp_matches(record, '(^|!)row=\\d+$') then 'rows of tables'
        when regexp_matches(record, '(^|!)(offset|item)=\\d+$') then 'web archives'
        else 'members of archives' end"""
"""Of a document, by the address within its container."""

_SITE = """
    coalesce(nullif(regexp_extract(coalesce(url, source_url, ''), '^[a-z]+://([^/?#]+)', 1), ''),
        nullif(regexp_extract(source_uri, '^https?://([^/?#]+)', 1), ''),
        regexp_extract(source_uri, '([^/]*)/[^/]*$', 1))"""
"""Where a document came from: the host of its address, or the folder of its file."""

_SHARED = [name for name in REJECTED.names if name in CLEAN.names and name != "text"]


@contextmanager
def opened(store: Store, snapshot: Snapshot, run_id: str | None = None) -> Iterator["DuckDBPyConnection"]:
    """Views over a snapshot; with a `run_id`, over what that run has cleaned.

    `documents` has the columns that `clean` and `rejected` share but for `text`, and beside them `reason` (empty if
    the document is clean), `detail`, `title`, `source_kind` and `site`.

    Raises:
        DatasetError: if a part is not there.
    """
    import duckdb  # noqa: PLC0415  the command line and worker processes do without

    with tempfile.TemporaryDirectory(prefix="qingyuan-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": folder,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,  # nothing is fetched from anywhere
            "autoload_known_extensions": False,
        }
        with duckdb.connect(config=settings) as db:
            _make_views(db, store, snapshot, run_id)
            yield db


def _make_views(db: "DuckDBPyConnection", store: Store, snapshot: Snapshot, run_id: str | None) -> None:
    parts = snapshot.tables if run_id is None else _new_parts(store, snapshot)
    of_run = f" where run_id = '{run_id}'" if run_id else ""
    for table, schema in (("clean", CLEAN), ("rejected", REJECTED), ("edits", EDITS)):
        # A table without rows has a part, too, which has its columns.
        paths = [store.path(part) for part in parts[table] or snapshot.tables[table][:1]]
        rows = "" if parts[table] else " limit 0"
        where = of_run if "run_id" in schema.names else ""
        db.execute(f"create view {table} as select * from read_parquet({_listed(paths)}){where}{rows}")  # noqa: S608
    _make_documents(db)
    n_logs, n_documents = (ask(db, f"select count(*) as n from {table}")[0]["n"] for table in ("edits", "documents"))  # noqa: S608
    if n_logs != n_documents:  # of other runs are those of parts that were written anew
        db.execute("alter view edits rename to all_edits")
        db.execute("create view edits as select * from all_edits where doc_id in (select doc_id from documents)")


def _make_documents(db: "DuckDBPyConnection") -> None:
    shared = ", ".join(_SHARED)
    derived = f"{_SOURCE_KIND} as source_kind, {_SITE} as site"
    db.execute(
        f"""create view documents as
            select {shared}, '' as reason, '' as detail, title, lang, published_at, {derived} from clean
            union all by name
            select {shared}, reason, detail, null as title, null as lang, null as published_at, {derived}
            from (select *, null::varchar as source_url from rejected)"""  # noqa: S608
    )


def _new_parts(store: Store, snapshot: Snapshot) -> dict[str, tuple[StoredPart, ...]]:
    """Parts that the snapshot before hadn't."""
    number = snapshot.number - 1
    known = {p.sha256 for p in store.snapshot(number).objects()} if number in store.numbers() else set()
    return {
        table: tuple(p for p in parts if p.sha256 not in known and p.rows) for table, parts in snapshot.tables.items()
    }


def _listed(paths: Iterable[Path]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


def ask(db: "DuckDBPyConnection", query: str, values: Sequence[Any] = ()) -> list[Row]:
    """Rows of a query."""
    found = db.execute(query, list(values))
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def totals(db: "DuckDBPyConnection") -> Row:
    """Sums over all documents, in one row: those that a verdict goes by.

    Edits are counted in rejected documents as well, as by step and by rule; characters and damage in clean ones.
    """
    return ask(
        db,
        """select count(*) as documents, count(*) filter (reason = '') as clean,
            count(*) filter (reason <> '') as rejected,
            count(*) filter (reason in $failures) as failures,
            count(*) filter (reason <> '' and reason not in $not_telling) as rejected_telling,
            count(*) filter (n_edits > 0) as edited,
            count(*) filter (reason = '' and n_edits = 0) as untouched,
            (select count(*) from clean where duplicate_of is not null) as duplicates,
            count(*) filter (reason = '' and len(damage) > 0) as damaged,
            count(*) filter (min_confidence < $low) as unsure,
            count(*) filter (n_bad_bytes > 0) as with_bad_bytes,
            coalesce(sum(raw_bytes), 0)::bigint as raw_bytes,
            coalesce(sum(n_bad_bytes), 0)::bigint as bad_bytes,
            coalesce(sum(decoded_chars) filter (reason = ''), 0)::bigint as chars_in,
            coalesce(sum(n_chars) filter (reason = ''), 0)::bigint as chars_out,
            coalesce(sum(damage_chars) filter (reason = ''), 0)::bigint as damage_chars,
            coalesce(sum(n_edits), 0)::bigint as edits,
            coalesce(sum(chars_removed) filter (reason = ''), 0)::bigint as chars_removed,
            coalesce(sum(list_sum(list_transform(list_filter(edits_by_step, lambda s: s.step in $strip),
                lambda s: s.chars_removed))) filter (reason = ''), 0)::bigint as chars_stripped
        from documents""".replace("$failures", _texts(map(str, FAILURES)))
        .replace("$not_telling", _texts(NOT_TELLING))
        .replace("$strip", _texts(STRIP))
        .replace("$low", str(LOW)),
    )[0]


def _texts(values: Iterable[str]) -> str:
    """A list in SQL, of names of ours."""
    return "(" + (", ".join(f"'{value}'" for value in values) or "''") + ")"


def flow(db: "DuckDBPyConnection") -> list[Row]:
    """Documents by kind of source and what became of them: `source_kind`, `reason` (empty: clean), `documents`."""
    return ask(
        db, "select source_kind, reason, count(*) as documents from documents group by all order by 3 desc, 1, 2"
    )


def tally(db: "DuckDBPyConnection", column: str, table: str = "documents") -> list[Row]:
    """Documents by a column: `value`, `documents`; what is null or empty is left out."""
    query = f"select {column} as value, count(*) as documents from {table} where {column} <> '' group by 1"  # noqa: S608
    return ask(db, f"{query} order by 2 desc, 1")


def flags(db: "DuckDBPyConnection") -> list[Row]:
    """Clean documents by flag: `value`, `documents`."""
    return ask(
        db,
        """select value, count(*) as documents from (select unnest(flags) as value from clean)
        group by 1 order by 2 desc, 1""",
    )


def dates(db: "DuckDBPyConnection") -> list[Row]:
    """Clean documents by year in which they say they were published: `value`, `documents`, in order."""
    return ask(
        db,
        """select left(published_at, 4) as value, count(*) as documents from clean
        where published_at is not null group by 1 order by 1""",
    )


def lengths(db: "DuckDBPyConnection") -> list[Row]:
    """Documents by length, observed and clean: `low` (a power of two's characters), `observed`, `clean`, in order."""
    return ask(
        db,
        """select low::bigint as low, sum(observed)::bigint as observed, sum(clean)::bigint as clean from (
            select pow(2, floor(log2(greatest(decoded_chars, 1)))) as low, 1 as observed, 0 as clean from clean
            union all
            select pow(2, floor(log2(greatest(n_chars, 1)))) as low, 0 as observed, 1 as clean from clean)
        group by 1 order by 1""",
    )


def shares(db: "DuckDBPyConnection") -> list[Row]:
    """Clean documents by the share of text that is gone: `low` in tenths (-1: nothing), `documents`, in order."""
    return ask(
        db,
        """select case when removed_share = 0 then -1 else least(floor(removed_share * 10), 9) end::int as low,
            count(*) as documents from clean group by 1 order by 1""",
    )


def steps(db: "DuckDBPyConnection") -> list[Row]:
    """Edits by step, of all documents: `step`, `edits`, `documents`, `chars_removed`; most first."""
    return ask(
        db,
        """select s.step, sum(s.edits)::bigint as edits, count(*) as documents,
            sum(s.chars_removed)::bigint as chars_removed
        from (select unnest(edits_by_step) as s from documents) group by 1 order by 2 desc, 1""",
    )


def rules(db: "DuckDBPyConnection", examples: int = 8) -> list[Row]:
    """Edits by rule: `step`, `rule`, `edits`, `throughout`, `low`, `documents`, `least`, `strongest`, `unsure`.

    `edits` are those that the log has one by one; where a rule replaced characters all over a document, the log has
    an operation for it (`tasks.steps.log`), and `throughout` is in how many documents. `low` is how many are less
    sure than `LOW`, `least` the least confidence. `strongest` and `unsure` are lists of single edits (`doc_id`,
    `stage`, `start`): those that changed most, and the least sure ones.
    """
    return ask(
        db,
        f"""with each as (select doc_id, unnest(edits) as e from edits),
        named as (select e.step as step, e.rule as rule, count(*) as documents from (
            select unnest(list_distinct(list_transform(list_filter(edits, lambda e: e.start < 0 or e.before <> e.after),
                lambda e: {{'step': e.step, 'rule': e.rule}}))) as e from edits) group by all),
        packed as (select e.step as step, e.rule as rule, count(*) as throughout from (
            select unnest(list_distinct(list_transform(list_filter(edits, lambda e: e.start < 0),
                lambda e: {{'step': e.step, 'rule': e.rule}}))) as e from edits) group by all),
        single as (select e.step as step, e.rule as rule, count(*) as edits,
            count(*) filter (e.confidence < {LOW}) as low, min(e.confidence) as least,
            max_by({_PLACE}, {_STRENGTH}, {examples}) as strongest,
            min_by({_PLACE}, e.confidence, 3) filter (e.confidence < {LOW}) as unsure
            from each where e.start >= 0 and e.before <> e.after group by all)
        select step, rule, coalesce(edits, 0) as edits, coalesce(throughout, 0) as throughout, coalesce(low, 0) as low,
            documents, coalesce(least, 1.0) as least,
            coalesce(strongest, []) as strongest, coalesce(unsure, []) as unsure
        from named left join packed using (step, rule) left join single using (step, rule)
        order by coalesce(edits, 0) + coalesce(throughout, 0) desc, step, rule""",  # noqa: S608
    )


_PLACE = "{'doc_id': doc_id, 'stage': e.stage, 'start': e.start}"

_STRENGTH = "least(length(e.before) + length(e.after), 60) * 1000 + hash(doc_id, e.start) % 1000"
"""What an edit changed, as far as it can be taken in at a glance; among equals, any."""


def sites(db: "DuckDBPyConnection", most: int = 12) -> list[Row]:
    """Sites with the most trouble: `site`, `documents`, `rejected`, `damaged`, `unsure`, `removed` (a share)."""
    return ask(
        db,
        f"""select site, count(*) as documents, count(*) filter (reason <> '' and reason <> 'duplicate') as rejected,
            count(*) filter (reason = '' and len(damage) > 0) as damaged,
            count(*) filter (min_confidence < {LOW}) as unsure,
            coalesce(sum(chars_removed) / nullif(sum(decoded_chars), 0), 0)::double as removed
        from documents group by 1 having rejected + damaged + unsure > 0
        order by (rejected + damaged + unsure) desc, 1 limit {most}""",  # noqa: S608
    )


def n_sites(db: "DuckDBPyConnection") -> int:
    """Sites that documents came from."""
    return int(ask(db, "select count(distinct site) as n from documents")[0]["n"])


WORTH = {
    "least sure": (f"reason = '' and min_confidence < {LOW}", "min_confidence, n_edits desc"),
    "damage left": ("reason = '' and len(damage) > 0", "damage_chars desc"),
    "most removed": ("reason = '' and stripped > 0.2", "stripped desc"),
    "most edited": ("reason = '' and edited_share > 0.2", "edited_share desc, n_edits desc"),
    "flagged": ("reason = '' and len(flags) > 0 and len(damage) = 0", "len(flags) desc"),
    "rejected": ("reason <> ''", "reason"),
    "at random": ("reason = ''", "doc_id"),  # an id is a hash
}
"""Why to look at a document, in order of urgency: which ones, and which of them first."""

_STRIPPED = f"""coalesce(list_sum(list_transform(list_filter(edits_by_step, lambda s: s.step in {_texts(STRIP)}),
    lambda s: s.chars_removed)) / nullif(decoded_chars, 0), 0)"""


def worth_a_look(db: "DuckDBPyConnection", most: int) -> dict[str, list[str]]:
    """Ids of documents with why to look at them, the urgent ones first: at most so many for each reason to.

    Of those that were rejected, some of each reason. Left out are those of more than `LONGEST_SHOWN` characters.
    """
    found: dict[str, list[str]] = {}
    short = f"coalesce(decoded_chars, 0) <= {LONGEST_SHOWN}"
    for why, (which, order) in WORTH.items():
        first = f"row_number() over (partition by reason order by decoded_chars is null, doc_id) <= {max(most // 3, 1)}"
        query = f"""select doc_id, reason from (select *, {_STRIPPED} as stripped from documents)
            where {which} and {short} {f"qualify {first}" if why == "rejected" else ""} order by {order}, doc_id
            {"" if why == "rejected" else f"limit {most}"}"""  # noqa: S608
        for row in ask(db, query):
            found.setdefault(row["doc_id"], []).append(why)
    return found


def largest_changes(db: "DuckDBPyConnection", most: int = 20) -> list[Row]:
    """Clean documents of which the largest share was edited; columns of `documents`."""
    return ask(
        db,
        f"""select * from documents where reason = '' and edited_share > 0
        order by edited_share desc, chars_removed desc, source_uri, record limit {most}""",  # noqa: S608
    )


def too_long(db: "DuckDBPyConnection", most: int = 5) -> list[Row]:
    """Documents too long for a sample, the longest first: `doc_id`, `source_uri`, `record`, `decoded_chars`."""
    return ask(
        db,
        f"""select doc_id, source_uri, record, decoded_chars from documents where decoded_chars > {LONGEST_SHOWN}
        order by decoded_chars desc, doc_id limit {most}""",  # noqa: S608
    )


def of_length(db: "DuckDBPyConnection", ids: Iterable[str], most: int = LONGEST_SHOWN) -> set[str]:
    """Those of some documents that are no longer than so many characters."""
    query = "select doc_id from documents where doc_id in (select unnest($1)) and decoded_chars <= $2"
    return {row["doc_id"] for row in ask(db, query, [list(ids), most])}


def read_documents(db: "DuckDBPyConnection", ids: Iterable[str]) -> dict[str, Row]:
    """Documents with their texts and edit logs, by id: columns of `documents`, `text`, `log` and `bad_bytes`."""
    listed = _texts(doc_id for doc_id in ids if doc_id.isalnum())
    texts = " union all ".join(
        f"select doc_id, text from {table} where doc_id in {listed}"  # noqa: S608
        for table in ("clean", "rejected")
    )
    rows = ask(
        db,
        f"""select d.*, t.text, e.edits as log, e.bad_bytes
        from (select * from documents where doc_id in {listed}) d
        join ({texts}) t using (doc_id)
        join (select * from edits where doc_id in {listed}) e using (doc_id)""",  # noqa: S608
    )
    return {row["doc_id"]: row for row in rows}


def reasons(db: "DuckDBPyConnection", samples: int = 3) -> list[Row]:
    """Rejections by reason: `reason`, `documents`, `samples` (`doc_id`, `source_uri`, `record`, `detail`)."""
    sample = "{'doc_id': doc_id, 'source_uri': source_uri, 'record': record, 'detail': right(detail, 400)}"
    return ask(
        db,
        f"""select reason, count(*) as documents, min_by({sample}, doc_id, {samples}) as samples
        from rejected group by 1 order by 2 desc, 1""",  # noqa: S608
    )
