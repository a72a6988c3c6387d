"""Which documents a run has to clean: those that are new or changed, and those that other rules have cleaned.

The rest is carried over. What is compared is in the last snapshot: its file states (`schemas.index.FILES`) and the
index of its batches. A file is looked into only if its size or time is another than it was, or too young to tell.
"""

import stat
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import RunConfig
from schemas.dataset import SCHEMA_VERSION, cleaned_with
from schemas.document import Reason, Run
from schemas.index import FILES, INDEX
from tasks.publish.counts import Tally
from tasks.publish.parts import hash_file
from tasks.publish.snapshots import DatasetError, Snapshot
from tasks.publish.store import Store
from tasks.read.sources import Source, source_at

SETTLED_NS = 2_000_000_000
"""A file that was changed so shortly before the run, or later by its clock, may be changed again without showing it:
the coarsest clock of a file system in use (FAT) ticks every two seconds. As git does with its index."""

_DOCUMENT = ["doc_id", "source_uri", "raw_sha256", "cleaned_with", "first_run_id", "reason"]
"""Columns of the index that tell what is to be done."""

_HASHES_ASKED_FOR = 1000

_HASHES_AT_A_TIME = 8
"""Files read at a time only to be hashed: disks and network drives are quicker that way."""


@dataclass(slots=True)
class Plan:
    """What is to be done with the documents of the sources, and with those of the last snapshot."""

    to_clean: list[Source]
    known: pd.DataFrame
    """Documents of the last snapshot: columns `_DOCUMENT`, `batch` (its place in the snapshot), `leaves` (it does not
    stay as it is)."""
    files: pd.DataFrame
    """States of all files, as `schemas.index.FILES`; those of files to be cleaned lack their hashes."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """All sources, by URI."""
    relearned: set[str] = field(default_factory=set)
    """Ids of documents that are cleaned again by what was learned."""

    def leaving(self) -> dict[int, frozenset[str]]:
        """Ids of the documents that batches of the last snapshot lose, by their places in it."""
        rows = self.known[self.known["leaves"]]
        by_batch: Any = rows.groupby("batch")["doc_id"]
        return {batch: frozenset(of_batch) for batch, of_batch in by_batch}

    def first_runs(self, shards: Sequence[Sequence[Source]]) -> list[dict[str, str]]:
        """For each shard the runs in which its documents came first, by id, as far as they are known."""
        rows = self.known[self.known["leaves"]]
        shard_of = {source.uri: number for number, sources in enumerate(shards) for source in sources}
        found: list[dict[str, str]] = [{} for _ in shards]
        for uri, doc_id, first_run in zip(rows["source_uri"], rows["doc_id"], rows["first_run_id"], strict=True):
            if uri in shard_of:
                found[shard_of[uri]][doc_id] = first_run
        return found

    def relearn(self, doc_ids: Iterable[str]) -> list[Source]:
        """Have carried-over documents cleaned again; the sources of those that are still there, as they were."""
        rows = self.known[_are_among(self.known["doc_id"], doc_ids) & ~self.known["leaves"]]
        found = {uri: self.sources.get(uri) or source_at(uri) for uri in rows["source_uri"]}
        hashes = dict(zip(rows["source_uri"], rows["raw_sha256"], strict=True))
        # What has changed since it was cleaned was counted as it was: it stays so until a run plans for it.
        there = {uri: source for uri, source in found.items() if source and _hash(source.path) == hashes[uri]}
        again = _are_among(self.known["source_uri"], there)
        self.known.loc[again, "leaves"] = True
        self.relearned |= set(self.known["doc_id"][again])
        return sorted(there.values())

    def tally(self, new: pd.DataFrame) -> Tally:
        """What was done, by the index rows of what was cleaned (columns doc_id, raw_sha256)."""
        left = self.known[self.known["leaves"]][["doc_id", "raw_sha256"]]
        both = new.merge(left, on="doc_id", suffixes=("", "_before"))
        same = both[both["raw_sha256"] == both["raw_sha256_before"]]
        relearned = int(same["doc_id"].isin(self.relearned).sum())
        return Tally(
            added=len(new) - len(both),
            changed=len(both) - len(same),
            unchanged=int((~self.known["leaves"]).sum()),
            removed=len(left) - len(both),
            recleaned=len(same) - relearned,
            relearned=relearned,
        )

    def file_states(self, new: pd.DataFrame, run: Run) -> pa.Table:
        """Rows of `schemas.index.FILES`, with the hashes of what was read (columns source_uri, raw_sha256)."""
        read = dict(zip(new["source_uri"], new["raw_sha256"], strict=True))
        known = zip(self.files["source_uri"], self.files["sha256"].fillna(""), strict=True)
        files = self.files.assign(sha256=[read.get(uri, sha256) for uri, sha256 in known])
        now = int(run.started_at.timestamp() * 1e9)
        files["settled"] = files["mtime_ns"] < now - SETTLED_NS
        return pa.Table.from_pandas(files.sort_values("source_uri"), FILES, preserve_index=False)


def plan_run(sources: Sequence[Source], last: Snapshot | None, store: Store, run: Run, config: RunConfig) -> Plan:
    """Compare sources with the last snapshot.

    Raises:
        DatasetError: if documents are to be kept of which the snapshot has no index.
        OSError: if a part of the snapshot can't be read.
    """
    if config.keep_missing and last and last.schema_version != SCHEMA_VERSION:
        raise DatasetError(
            f"{store.name} has schema version {last.schema_version}, this program {SCHEMA_VERSION}: clean all of its "
            "sources once, without --keep-missing"
        )
    known = read_known(last, store)
    states = _read_files(last, store)
    found = pd.DataFrame(
        [(source.uri, source.n_bytes, source.mtime_ns) for source in sources],
        columns=["source_uri", "n_bytes", "mtime_ns"],
    )
    files = found.merge(states, on="source_uri", how="left", suffixes=("", "_before"))
    is_same = _is_same(files, sources, checksum=config.checksum)
    stale = known["source_uri"][_is_stale(known, cleaned_with(run), config)]
    is_known = _are_among(files["source_uri"], known["source_uri"])
    carried = is_same & is_known & ~_are_among(files["source_uri"], stale)
    stays = _are_among(known["source_uri"], files["source_uri"][carried])
    if config.keep_missing:
        stays |= ~_are_among(known["source_uri"], found["source_uri"])
    known["leaves"] = ~stays
    is_missing = ~_are_among(states["source_uri"], found["source_uri"])
    states = states[is_missing & _are_among(states["source_uri"], known["source_uri"][stays])]
    files = pd.concat([files[states.columns], states], ignore_index=True)
    return Plan(
        [source for source, stays in zip(sources, carried, strict=True) if not stays],
        known,
        files,
        {source.uri: source for source in sources},
    )


def plan_replay(last: Snapshot, store: Store, reasons: Sequence[str]) -> Plan:
    """Clean the rejected documents of a snapshot again, as far as their sources are still there, and nothing else.

    Args:
        last: The current snapshot.
        store: Where it lies.
        reasons: Only documents with one of these; all if there are none. Duplicates never: they are no failures.
    """
    known = read_known(last, store)
    reason = known["reason"]
    wanted = reason.notna() & (reason != str(Reason.DUPLICATE)) & (reason.isin(reasons) if reasons else True)
    found = {uri: source for uri in known["source_uri"][wanted] if (source := source_at(uri))}
    known["leaves"] = _are_among(known["source_uri"], found)
    states = _read_files(last, store)
    again = pd.DataFrame(
        [(source.uri, source.n_bytes, source.mtime_ns, None, False) for source in sorted(found.values())],
        columns=states.columns,
    )
    files = pd.concat([states[~_are_among(states["source_uri"], found)], again], ignore_index=True)
    return Plan(sorted(found.values()), known, files, found)


def read_known(last: Snapshot | None, store: Store) -> pd.DataFrame:
    """What the index of a snapshot says of its documents, in the order of its batches.

    Raises:
        OSError: if a part can't be read.
    """
    schema = pa.schema([*(INDEX.field(name) for name in _DOCUMENT), ("batch", pa.int64())])
    tables = [schema.empty_table()]
    for place, batch in enumerate(last.batches if last else ()):
        rows = pq.read_table(store.path(batch.parts["index"]), columns=_DOCUMENT)
        tables.append(rows.append_column("batch", pa.array(np.full(rows.num_rows, place))))
    known: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return known.assign(leaves=False)


def _read_files(last: Snapshot | None, store: Store) -> pd.DataFrame:
    part = last.state.get("files") if last else None
    states: pd.DataFrame = (pq.read_table(store.path(part)) if part else FILES.empty_table()).to_pandas()
    # Integers that may be missing: as floats, times a quarter of a microsecond apart would be the same.
    return states.astype({"n_bytes": "Int64", "mtime_ns": "Int64"})


def _are_among(values: "pd.Series[str]", among: Iterable[str]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Which values are among others: `Series.isin` takes 0.6 s for 100,000 strings, this 0.02."""
    found: Any = pd.Index(among if isinstance(among, pd.Series) else list(among), dtype="str").unique()
    return np.asarray(found.get_indexer(values) >= 0)


def _is_stale(known: pd.DataFrame, by_now: str, config: RunConfig) -> pd.Series:
    """Documents to be cleaned again though their bytes are the same."""
    again = known["reason"] == str(Reason.UNREADABLE)  # that may have passed
    if config.reclean == "auto":
        again |= known["cleaned_with"] != by_now
    return again | (config.reclean == "all")


def _is_same(files: pd.DataFrame, sources: Sequence[Source], *, checksum: bool) -> "pd.Series[bool]":
    """Files that have the content that they had: by size and time, or else by hash."""
    is_known = files["sha256"].fillna("") != ""
    looks_same = (files["n_bytes"] == files["n_bytes_before"]) & (files["mtime_ns"] == files["mtime_ns_before"])
    is_same = is_known & looks_same.fillna(value=False).astype(bool) & files["settled"].eq(True)
    if checksum:
        is_same[:] = False
    unsure = np.flatnonzero(is_known & ~is_same).tolist()
    hashes: list[str | None] = []
    with ThreadPoolExecutor(_HASHES_AT_A_TIME) as pool:
        for start in range(0, len(unsure), _HASHES_ASKED_FOR):  # what is asked for is kept in memory
            hashes += pool.map(_hash, (sources[i].path for i in unsure[start : start + _HASHES_ASKED_FOR]))
    is_same.iloc[unsure] = files["sha256"].iloc[unsure].to_numpy() == np.array(hashes, dtype=object)
    return is_same


def _hash(path: Path) -> str | None:
    """SHA-256 of a file; None if it can't be read, or is none (opening a pipe would wait for its writer)."""
    try:
        return hash_file(path) if stat.S_ISREG(path.stat().st_mode) else None
    except OSError:
        return None
