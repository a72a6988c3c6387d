"""Cleaning a column of tables inside somebody else's job: pandas, Polars, Arrow, and engines that hand out such."""

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from schemas.config import CleanConfig
from schemas.dataset import CLEAN, EDITS, FIGURES, REJECTED, clean_row, edits_row, rejected_row
from schemas.document import Outcome, Reason, Run
from tasks import rules
from tasks.document import check_steps
from tasks.library import COLUMNS, outcome_of

NOT_KNOWN = (
    *("doc_id", "source_uri", "record", "raw_sha256", "raw_bytes", "run_id", "first_run_id", "ingested_at"),
    *("duplicate_of", "duplicate_similarity", "cluster_size"),
    *("url", "fetched_at", "record_id", "payload_digest", "extra"),
)
"""Columns of the dataset that a text by itself has not: they are about files and what these say, runs, or the whole
corpus."""


def _nullable(field: pa.Field) -> pa.Field:
    when = {"text": " Null where the document is rejected.", "reason": " Null where the document is kept."}
    description = field.metadata[b"description"].decode() + when.get(field.name, "")
    return field.with_nullable(True).with_metadata({"description": description})


FIELDS = {f.name: _nullable(f) for schema in (EDITS, REJECTED, CLEAN) for f in schema if f.name not in NOT_KNOWN}
"""What can be added to a table. All nullable: a document that is rejected has only some."""

ROWS_AT_ONCE = 1000
"""Rows of a table whose texts are in memory at the same time as Python's objects."""

Batch = TypeVar("Batch")
"""A table or a column; `BatchCleaner.clean` gives back what it was given."""


@dataclass(frozen=True, slots=True)
class BatchCleaner:
    """Cleans a column of tables: of pandas, Polars or Arrow, or mappings of columns.

    `BatchCleaner("html").clean(table)` has the other columns as they are, then `text` and `columns`. Rows and their
    order stay; a document that is rejected has no text, and a `reason`. Types are those of the dataset, and nullable.

    Raises:
        ValueError: if a column or a step doesn't exist, or one is asked for twice.
    """

    column: str = "text"
    """The column with strings or bytes."""
    columns: Sequence[str] = COLUMNS
    """What is added besides `text`: columns of the tables `clean`, `rejected` and `edits`."""
    keep: bool = False
    """Whether `column` stays as well."""
    prefix: str = ""
    """Put before the names of all that is added, should the table have columns of these names."""
    config: CleanConfig = CleanConfig()  # noqa: RUF009  frozen

    def __post_init__(self) -> None:
        check_columns(self.columns)
        check_steps(self.config.skip)
        object.__setattr__(self, "columns", tuple(self.columns))

    def clean(self, batch: Batch) -> Batch:
        """Clean a table; a column by itself (an array, a series) becomes its clean texts.

        Raises:
            TypeError: if it is no table, or its column holds neither strings nor bytes.
            ValueError: if it has no such column, or has it twice, or has a column that is to be added.
        """
        cleaned: Batch = _cleaner_of(batch)(self, batch)
        return cleaned

    def clean_each(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same for many, one at a time: what `mapInArrow` and `mapInPandas` of Spark call. Raises as `clean`."""
        return map(self.clean, batches)

    def schema(self, given: pa.Schema | None = None) -> pa.Schema:
        """The Arrow schema that comes out of this one; without one, that of what is added.

        Raises:
            TypeError: if `column` holds neither strings nor bytes.
            ValueError: as `clean`.
        """
        added = [FIELDS[name].with_name(self.prefix + name) for name in ("text", *self.columns)]
        if given is None:
            return pa.schema(added)
        _check_type(given.field(_at(self, given.names)).type)
        return pa.schema([*(given.field(i) for i in _carried(self, given.names)), *added], metadata=given.metadata)

    def ddl(self) -> str:
        """What is added as columns in Spark's SQL, with their descriptions: `text STRING COMMENT '…', …`."""
        return ", ".join(_ddl_column(field) for field in self.schema())


def _at(cleaner: BatchCleaner, names: Sequence[Any]) -> int:
    """Which column is cleaned."""
    found = [i for i, name in enumerate(names) if name == cleaner.column]
    if len(found) != 1:
        there = ", ".join(map(repr, names))
        raise ValueError(
            f"one column {cleaner.column!r} is needed, and there are {len(found)}. The columns are: {there}"
        )
    return found[0]


def _carried(cleaner: BatchCleaner, names: Sequence[Any]) -> list[int]:
    """Which columns stay."""
    at = _at(cleaner, names)
    carried = [i for i in range(len(names)) if cleaner.keep or i != at]
    added = {cleaner.prefix + name for name in ("text", *cleaner.columns)}
    if clash := sorted({name for i in carried if isinstance(name := names[i], str)} & added):
        raise ValueError(
            f"the table has columns that were to be added: {', '.join(clash)}. Rename or drop them, "
            'don\'t ask for them, or give what is added a prefix: BatchCleaner(…, prefix="clean_")'
        )
    return carried


def _added(cleaner: BatchCleaner, values: Sequence[Any]) -> pa.Table:
    """The columns that are added."""
    rows = [_row(cleaner, value) for value in values]
    schema = cleaner.schema().remove_metadata()
    names = ("text", *cleaner.columns)
    try:
        return _table(rows, names, schema)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        return _table([_storable(row, names, schema) for row in rows], names, schema)


def _texts(cleaner: BatchCleaner, values: Sequence[Any]) -> pa.Array:
    """The clean texts alone."""
    return _added(replace(cleaner, columns=()), values).column(0).combine_chunks()


def _row(cleaner: BatchCleaner, value: Any) -> dict[str, Any]:
    wanted = ("text", *cleaner.columns)
    try:
        row = row_of(outcome_of(value, cleaner.config), wanted)
        return {name: row.get(name) for name in wanted}
    except Exception:  # noqa: BLE001  a bug on one document must not take the others with it
        return _failed()


def row_of(outcome: Outcome, wanted: Sequence[str]) -> dict[str, Any]:
    """Columns of a document, those that are wanted among them. What costs is left out where nobody wants it.

    Raises:
        EditError: if its edits do not lead back to what came in.
        UnicodeEncodeError: if there is a lone surrogate in its texts.
    """
    if _VERDICT.issuperset(wanted):
        return _verdict(outcome)
    if outcome.rejection is None:
        row = clean_row(outcome, _run(), with_figures=not FIGURES.isdisjoint(wanted))
    else:
        row = rejected_row(outcome, _run()) | {"text": None}
    if outcome.decoded and outcome.decoded.method == "given":
        row |= dict.fromkeys(("encoding", "encoding_confidence", "encoding_method"))
    if not {*EDITS.names}.isdisjoint(wanted):
        row |= edits_row(outcome)
    return row


_VERDICT = frozenset({"text", "reason", "detail"})


def _verdict(outcome: Outcome) -> dict[str, Any]:
    """The columns that take no look at the text."""
    if outcome.rejection is None:
        return {"text": outcome.cleaned.text if outcome.cleaned else None}
    row = rejected_row(replace(outcome, decoded=None, cleaned=None, page=None), _run())
    return {"reason": row["reason"], "detail": row["detail"]}


def _failed() -> dict[str, Any]:
    """Columns of a document on whose outcome something raised."""
    return {"reason": str(Reason.FAILED), "detail": traceback.format_exc().encode(errors="backslashreplace").decode()}


@cache
def _run() -> Run:
    """Stands for a run: versions are all that a column can want of it."""
    try:
        installed = version("qingyuan")
    except PackageNotFoundError:  # used from its folder
        installed = ""
    return Run("", datetime(1970, 1, 1, tzinfo=UTC), CleanConfig(), installed, rules.digest())


def check_columns(columns: Sequence[str]) -> None:
    """Make sure that columns can be added.

    Raises:
        ValueError: if one doesn't exist (the message lists those there are) or comes twice.
    """
    known = {*FIELDS} - {"text"}
    if unknown := [name for name in columns if name not in known]:
        raise ValueError(
            f"there is no column {', '.join(map(repr, unknown))} to add; there are: {', '.join(sorted(known))}"
        )
    if twice := [name for name, n in Counter(columns).items() if n > 1]:
        raise ValueError(f"asked for twice: {', '.join(twice)}")


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([row.get(name) for row in rows], kind) for name, kind in zip(names, schema.types, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _storable(row: dict[str, Any], names: Sequence[str], schema: pa.Schema) -> dict[str, Any]:
    """The row, or one that says why it can't be stored."""
    try:
        _table([row], names, schema)
    except Exception:  # noqa: BLE001
        return _failed()
    return row


_SPARK = {
    "string": "STRING",
    "binary": "BINARY",
    "bool": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INT",
    "int64": "BIGINT",
    "double": "DOUBLE",
}
"""Spark's names of the types that the dataset has."""


def _ddl_column(field: pa.Field) -> str:
    described = field.metadata[b"description"].decode().replace("\\", "\\\\").replace("'", "\\'")
    return f"`{field.name}` {_ddl_type(field.type)} COMMENT '{described}'"


def _ddl_type(kind: Any) -> str:
    if pa.types.is_list(kind):
        return f"ARRAY<{_ddl_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"STRUCT<{', '.join(f'`{f.name}`: {_ddl_type(f.type)}' for f in kind)}>"
    return _SPARK[str(kind)]


def _cleaner_of(batch: Any) -> Callable[[BatchCleaner, Any], Any]:
    """How a table or column is cleaned. Libraries that nobody has loaded are not loaded for asking."""
    if isinstance(batch, Mapping):
        return _clean_mapping
    for library, kinds in _KINDS.items():
        if module := sys.modules.get(library):
            for name, cleaner in kinds.items():
                if isinstance(batch, getattr(module, name)):
                    return cleaner
    raise TypeError(
        "a table of pandas, Polars or Arrow, a column of these, or a mapping of columns can be cleaned, and this is of "
        f"type {type(batch).__module__}.{type(batch).__qualname__}"
    )


def _clean_record_batch(cleaner: BatchCleaner, batch: Any) -> Any:
    names = batch.schema.names
    schema = cleaner.schema(batch.schema)
    added = _added(cleaner, _values(batch.column(_at(cleaner, names))))
    carried = [batch.column(i) for i in _carried(cleaner, names)]
    new = [column.combine_chunks() for column in added.columns]
    return type(batch).from_arrays([*carried, *new], schema=schema)


def _clean_table(cleaner: BatchCleaner, table: Any) -> Any:
    """In batches of its own, so that memory holds one of them as Python's objects."""
    batches = [_clean_record_batch(cleaner, batch) for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE)]
    return type(table).from_batches(batches, schema=cleaner.schema(table.schema))


def _clean_array(cleaner: BatchCleaner, column: Any) -> Any:
    return _texts(cleaner, _values(column))


def _clean_chunked(cleaner: BatchCleaner, column: Any) -> Any:
    _check_type(column.type)
    return pa.chunked_array([_clean_array(cleaner, chunk) for chunk in column.chunks], pa.string())


def _clean_pandas(cleaner: BatchCleaner, frame: Any) -> Any:
    names = list(frame.columns)
    at, carried = _at(cleaner, names), _carried(cleaner, names)
    added = _to_pandas(_added(cleaner, _values(frame.iloc[:, at])))
    frame = frame.iloc[:, carried]
    rest = ("",) * (frame.columns.nlevels - 1)
    for name in added.columns:  # by position: the index is the frame's, whatever it is
        frame.insert(frame.shape[1], (name, *rest) if rest else name, added[name].array)
    return frame


def _to_pandas(table: Any) -> Any:
    """Whole numbers stay whole where some are null."""
    import pandas as pd  # noqa: PLC0415

    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    return table.to_pandas(types_mapper=nullable.get)


def _clean_pandas_column(cleaner: BatchCleaner, column: Any) -> Any:
    import pandas as pd  # noqa: PLC0415

    texts = _texts(cleaner, _values(column)).to_pandas()
    return pd.Series(texts.array, index=column.index, name=column.name, dtype="str")


def _clean_polars(cleaner: BatchCleaner, frame: Any) -> Any:
    import polars as pl  # noqa: PLC0415

    at, carried = _at(cleaner, frame.columns), _carried(cleaner, frame.columns)
    columns = frame.get_columns()
    added: Any = pl.from_arrow(_added(cleaner, _values(columns[at])))
    return pl.DataFrame([*(columns[i] for i in carried), *added.get_columns()])


def _clean_polars_column(cleaner: BatchCleaner, column: Any) -> Any:
    import polars as pl  # noqa: PLC0415

    return pl.Series(column.name, _texts(cleaner, _values(column)).to_pylist(), pl.String)


def _clean_mapping(cleaner: BatchCleaner, columns: Any) -> dict[str, Any]:
    names = list(columns)
    at, carried = _at(cleaner, names), _carried(cleaner, names)
    added = _added(cleaner, _values(columns[names[at]]))
    return {**{names[i]: columns[names[i]] for i in carried}, **added.to_pydict()}


_KINDS: dict[str, dict[str, Callable[[BatchCleaner, Any], Any]]] = {
    "pyarrow": {
        "RecordBatch": _clean_record_batch,
        "Table": _clean_table,
        "Array": _clean_array,
        "ChunkedArray": _clean_chunked,
    },
    "pandas": {"DataFrame": _clean_pandas, "Series": _clean_pandas_column},
    "polars": {"DataFrame": _clean_polars, "Series": _clean_polars_column},
}
"""By library and class."""


def _values(column: Any) -> list[Any]:
    """What a column holds, nulls as None.

    Raises:
        TypeError: if it can hold neither strings nor bytes.
    """
    module = type(column).__module__.partition(".")[0]
    if module == "pandas":
        return _pandas_values(column)
    if module == "polars" and str(column.dtype) != "Object":
        column = column.to_arrow()
        module = "pyarrow"
    return _arrow_values(column) if module == "pyarrow" else list(column)


def _pandas_values(column: Any) -> list[Any]:
    dtype = column.dtype
    if hasattr(dtype, "pyarrow_dtype") or dtype.name in {"str", "string"}:
        return _arrow_values(pa.array(column))
    if dtype.kind in "iubcmM" or (dtype.kind == "f" and not column.isna().all()):
        raise TypeError(f"a column of strings or bytes can be cleaned, and this one is of {dtype}")
    return list(column)


def _arrow_values(column: Any) -> list[Any]:
    """Strings that are no UTF-8, which nobody may have checked, come as bytes."""
    is_string = _check_type(column.type)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    values: list[Any] = []
    for chunk in chunks:
        plain = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        plain = pc.run_end_decode(plain) if pa.types.is_run_end_encoded(plain.type) else plain
        values += plain.cast(pa.large_binary()).to_pylist()
    return [_decoded_utf8(value) for value in values] if is_string else values


def _decoded_utf8(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _check_type(kind: Any) -> bool:
    """Whether a column of this type holds strings, and not bytes.

    Raises:
        TypeError: if it holds neither.
    """
    plain = kind
    while inner := getattr(plain, "storage_type", None) or (
        plain.value_type if types.is_dictionary(plain) or types.is_run_end_encoded(plain) else None
    ):
        plain = inner
    if types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain):
        return True
    bytes_kinds = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    if types.is_null(plain) or any(is_kind(plain) for is_kind in bytes_kinds):
        return False
    raise TypeError(f"a column of strings or bytes can be cleaned, and this one is of {kind}")
