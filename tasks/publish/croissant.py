"""What a snapshot holds, as Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html).

Catalogues and loaders read it: files with their hashes, tables as record sets, columns as fields, structs as
sub-fields.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from schemas.dataset import TABLES
from tasks.publish.snapshots import Snapshot, StoredPart

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "conformsTo": "dct:conformsTo",
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet"),
            *("format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
            "transform",
        )
    },
}
"""That of the specification, which asks for it word for word."""

_KEYS = {"clean": "doc_id", "edits": "doc_id", "rejected": "doc_id", "runs": "run_id"}

_TYPES = {
    pa.string(): "sc:Text",
    pa.binary(): "sc:Text",  # 1.0 has no type for bytes
    pa.bool_(): "sc:Boolean",
    pa.int16(): "cr:Int16",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float64(): "cr:Float64",
    pa.timestamp("us"): "sc:DateTime",
}

_PARQUET = "application/x-parquet"


def croissant(snapshot: Snapshot, about: dict[str, Any], path_of: Callable[[str, StoredPart], str]) -> dict[str, Any]:
    """The metadata as JSON-LD.

    Args:
        snapshot: What they describe.
        about: Name, description, licence, languages: properties of https://schema.org/Dataset.
        path_of: Where the part of a table lies, relative to the metadata.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **about,
        "datePublished": snapshot.published_at.isoformat(timespec="seconds"),
        "version": f"{snapshot.number}.0.0",
        "distribution": list(_distribution(snapshot, path_of)),
        "recordSet": [_record_set(table, schema) for table, schema in TABLES.items()],
    }


def _distribution(snapshot: Snapshot, path_of: Callable[[str, StoredPart], str]) -> Iterator[dict[str, Any]]:
    """A set for each table, and each of its files."""
    for table, parts in snapshot.tables.items():
        paths = [path_of(table, part) for part in parts]
        folders = {path.rpartition("/")[0] for path in paths if path.endswith(".parquet")}
        yield {
            "@type": "cr:FileSet",
            "@id": f"{table}-files",
            "name": f"{table}-files",
            "description": f"All files of the table {table}, in the order of ingest by their names.",
            "encodingFormat": _PARQUET,
            "includes": sorted(f"{folder}/*.parquet" for folder in folders) or paths,
        }
        yield from (_file(table, part, path) for part, path in zip(parts, paths, strict=True))


def _file(table: str, part: StoredPart, path: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{table}/{part.name}",
        "name": part.name,
        "description": f"{part.rows} rows of {table}",
        "contentUrl": path,
        "contentSize": f"{part.bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": part.sha256,
    }


def _record_set(table: str, schema: pa.Schema) -> dict[str, Any]:
    key = {"key": {"@id": f"{table}/{_KEYS[table]}"}} if table in _KEYS else {}
    return {
        "@type": "cr:RecordSet",
        "@id": table,
        "name": table,
        "description": schema.metadata[b"description"].decode(),
        **key,
        "field": [_field(table, field) for field in schema],
    }


def _field(table: str, field: pa.Field) -> dict[str, Any]:
    """A column; of a list of structs, its fields as sub-fields."""
    kind = field.type
    described = {**_described(f"{table}/{field.name}", field)}
    source = {"source": _source(table, field.name)}
    if not pa.types.is_list(kind):
        return {**described, "dataType": _TYPES[kind], **source}
    if not pa.types.is_struct(kind.value_type):
        return {**described, "dataType": _TYPES[kind.value_type], "repeated": True, **source}
    return {**described, "repeated": True, "subField": [_sub_field(table, field.name, c) for c in kind.value_type]}


def _sub_field(table: str, column: str, field: pa.Field) -> dict[str, Any]:
    described = _described(f"{table}/{column}/{field.name}", field)
    source = {**_source(table, column), "transform": {"jsonPath": field.name}}
    return {**described, "dataType": _TYPES[field.type], "source": source}


def _described(identifier: str, field: pa.Field) -> dict[str, Any]:
    description = field.metadata[b"description"].decode()
    return {"@type": "cr:Field", "@id": identifier, "name": field.name, "description": description}


def _source(table: str, column: str) -> dict[str, Any]:
    return {"fileSet": {"@id": f"{table}-files"}, "extract": {"column": column}}
