"""Which sources a run has to read: those that are new or changed, and those that other rules have cleaned.

The rest is carried over. What is compared is in the last snapshot: its file states (`schemas.index.FILES`) and the
index of its batches. A file is read only if its size or time is another than it was, or too young to tell; which of its
documents have changed is told when they are read (`tasks.ingest.before`).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
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
from tasks.ingest.before import Known, write_before
from tasks.publish.counts import Tally
from tasks.publish.snapshots import DatasetError, Snapshot
from tasks.publish.store import Store
from tasks.read import piece_bytes, split_source
from tasks.read.records import Span
from tasks.read.sources import Source, source_at

SETTLED_NS = 2_000_000_000
"""A file that was changed so shortly before the run, or later by its clock, may be changed again without showing it:
the coarsest clock of a file system in use (FAT) ticks every two seconds. As git does with its index."""

_DOCUMENT = ["doc_id", "source_uri", "record", "state", "cleaned_with", "first_run_id", "reason"]
"""Columns of the index that tell what is to be done."""

_FILES_AT_A_TIME = 8
"""Files opened at a time to see where they can be split: network drives and object stores are quicker that way."""

_NUMBERED = re.compile(r"(?P<unit>line|row|offset)=(?P<number>\d+)")
"""Addresses that tell in which piece of a file a document is (`tasks.read`)."""


@dataclass(slots=True)
class Plan:
    """What is to be done with the documents of the sources, and with those of the last snapshot."""

    to_read: list[Source]
    """All their documents are cleaned that have changed, or may not stay as they are."""
    known: pd.DataFrame
    """Documents of the last snapshot: columns `_DOCUMENT`, `batch` (its place in the snapshot), `may_stay` (cleaned
    with the rules and settings of this run), `leaves` (it does not stay as it is)."""
    files: pd.DataFrame
    """States of all files, as `schemas.index.FILES`."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """All sources, by URI."""
    to_pick: list[Source] = field(default_factory=list)
    """Only some of their documents are cleaned."""
    picked: set[str] = field(default_factory=set)
    """Ids of these."""
    relearned: set[str] = field(default_factory=set)
    """Ids of documents that were cleaned again by what was learned."""

    def leaving(self) -> dict[int, frozenset[str]]:
        """Ids of the documents that batches of the last snapshot lose, by their places in it."""
        rows = self.known[self.known["leaves"]]
        by_batch: Any = rows.groupby("batch")["doc_id"]
        return {batch: frozenset(of_batch) for batch, of_batch in by_batch}

    def before(
        self, pieces: Sequence[Sequence[Span]], folder: Path, picked: Iterable[str] | None = None
    ) -> list[Path | None]:
        """What is known of the documents of each shard, as files of `write_before`; None where nothing is.

        Args:
            pieces: Of each shard; all of a source, or the whole of it.
            folder: Where the files go.
            picked: Ids of the documents that are to be cleaned; all if None.

        Raises:
            OSError: if they can't be written.
        """
        rows = self.known if picked is None else self.known[_are_among(self.known["doc_id"], picked)]
        rows = rows[_are_among(rows["source_uri"], {span.source.uri for spans in pieces for span in spans})]
        # What a replay wants is cleaned whatever it is by now.
        rows = rows.assign(state=rows["state"].mask(_are_among(rows["doc_id"], self.picked), ""))
        found = _by_span(rows, [span for spans in pieces for span in spans])
        paths: list[Path | None] = []
        for spans in pieces:
            some = rows.iloc[[at for span in spans for at in found[span]]]
            told = (some["doc_id"], some["state"], some["first_run_id"], some["may_stay"])
            known = map(Known, *told)
            paths.append(write_before(known, folder, picked=picked is not None) if len(some) else None)
        return paths

    def keep(self, doc_ids: Iterable[str]) -> None:
        """Have documents stay that were read, and had not changed."""
        self.known.loc[_are_among(self.known["doc_id"], doc_ids), "leaves"] = False

    def keep_unread(self, uris: Iterable[str]) -> None:
        """Have documents of containers stay that could not be opened: they are not there to be compared."""
        self.known.loc[_are_among(self.known["source_uri"], uris) & (self.known["record"] != ""), "leaves"] = False

    def drop(self, doc_ids: Iterable[str]) -> None:
        """Have documents leave in whose place something new has come."""
        self.known.loc[_are_among(self.known["doc_id"], doc_ids), "leaves"] = True

    def relearn(self, doc_ids: Iterable[str]) -> list[Source]:
        """The sources of carried-over documents that are to be cleaned again, as far as they are still there.

        Which of the documents are as they were is seen when they are read: what has changed was counted as it was, and
        stays so until a run plans for it.
        """
        rows = self.known[_are_among(self.known["doc_id"], doc_ids) & ~self.known["leaves"]]
        found = {uri: self.sources.get(uri) or source_at(uri) for uri in rows["source_uri"].unique()}
        return sorted(source for source in found.values() if source)

    def tally(self, new: pd.DataFrame) -> Tally:
        """What was done, by the index rows of what was cleaned (columns doc_id, state)."""
        left = self.known[self.known["leaves"]][["doc_id", "state"]]
        both = new.merge(left, on="doc_id", suffixes=("", "_before"))
        same = both[both["state"] == both["state_before"]]
        relearned = int(same["doc_id"].isin(self.relearned).sum())
        return Tally(
            added=len(new) - len(both),
            changed=len(both) - len(same),
            unchanged=int((~self.known["leaves"]).sum()),
            removed=len(left) - len(both),
            recleaned=len(same) - relearned,
            relearned=relearned,
        )

    def file_states(self, run: Run) -> pa.Table:
        """Rows of `schemas.index.FILES`."""
        now = int(run.started_at.timestamp() * 1e9)
        files = self.files.assign(settled=self.files["mtime_ns"] < now - SETTLED_NS)
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
    known["may_stay"] = ~_is_stale(known, cleaned_with(run), config)
    states = _read_files(last, store)
    found = _states_of(sources)
    files = found.merge(states, on="source_uri", how="left", suffixes=("", "_before"))
    stale = known["source_uri"][~known["may_stay"]]
    is_known = _are_among(files["source_uri"], known["source_uri"])
    carried = _looks_same(files) & is_known & ~_are_among(files["source_uri"], stale) & (not config.checksum)
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

    Where a row stands for a source that could not be read, or not to its end, all of that is read again.

    Args:
        last: The current snapshot.
        store: Where it lies.
        reasons: Only documents with one of these; all if there are none. Duplicates never: they are no failures.
    """
    known = read_known(last, store)
    reason = known["reason"]
    wanted = reason.notna() & (reason != str(Reason.DUPLICATE)) & (reason.isin(reasons) if reasons else True)
    found = {uri: source for uri in known["source_uri"][wanted].unique() if (source := source_at(uri))}
    wanted &= _are_among(known["source_uri"], found)
    whole = set(known["source_uri"][wanted & (known["state"] == "")])
    known["may_stay"] = ~wanted
    known["leaves"] = _are_among(known["source_uri"], whole)
    states = _read_files(last, store)
    again = _states_of([source for uri, source in sorted(found.items()) if uri in whole]).assign(settled=False)
    files = pd.concat([states[~_are_among(states["source_uri"], whole)], again[states.columns]], ignore_index=True)
    picked = set(known["doc_id"][wanted & ~_are_among(known["source_uri"], whole)])
    to_read, to_pick = (
        sorted(s for uri, s in found.items() if (uri in whole) == is_whole) for is_whole in (True, False)
    )
    return Plan(to_read, known, files, found, to_pick, picked)


def split_sources(sources: Sequence[Source]) -> Iterator[Span]:
    """Pieces of sources, in their order."""
    size = piece_bytes(sum(source.n_bytes for source in sources))
    large = [source for source in sources if source.n_bytes > size]
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        split = pool.map(partial(split_source, size=size), large)
        for source in sources:
            yield from next(split) if source.n_bytes > size else [Span(source, n_bytes=source.n_bytes)]


def _by_span(rows: pd.DataFrame, spans: Sequence[Span]) -> dict[Span, Sequence[int]]:
    """Places of the rows of documents that may be in each of the pieces; all of a source where that can't be told."""
    places: Any = rows.groupby("source_uri").indices
    of_source: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        of_source[span.source.uri].append(span)
    found: dict[Span, Sequence[int]] = {}
    for uri, of_one in of_source.items():
        all_of_it = places.get(uri, ())
        if len(of_one) == 1:
            found[of_one[0]] = all_of_it
        else:
            found |= _split(rows["record"].iloc[all_of_it], all_of_it, of_one)
    return found


def _split(records: "pd.Series[str]", places: Sequence[int], spans: Sequence[Span]) -> dict[Span, Sequence[int]]:
    told = records.str.extract(f"^{_NUMBERED.pattern}$")
    numbers = pd.to_numeric(told["number"]).to_numpy(float, na_value=np.nan)
    by_offset = np.searchsorted([span.begin for span in spans], numbers, "right") - 1
    by_number = np.searchsorted([span.first for span in spans], numbers, "right") - 1
    which = np.where(told["unit"] == "offset", by_offset, by_number)
    anywhere = np.isnan(numbers)
    which[anywhere] = -1
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], range(len(spans) + 1))
    own = [order[begin:end] for begin, end in pairwise(bounds)]
    return {
        span: np.asarray(places)[np.sort(np.concatenate([some, np.flatnonzero(anywhere)]))].tolist()
        for span, some in zip(spans, own, strict=True)
    }


def _states_of(sources: Sequence[Source]) -> pd.DataFrame:
    rows = [(source.uri, source.n_bytes, source.mtime_ns) for source in sources]
    found = pd.DataFrame(rows, columns=["source_uri", "n_bytes", "mtime_ns"])
    return found.astype({"source_uri": "str", "n_bytes": "Int64", "mtime_ns": "Int64"})


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
    return known.assign(may_stay=True, leaves=False)


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


def _looks_same(files: pd.DataFrame) -> "pd.Series[bool]":
    """Files that have the size and time that they had, if a change would show by that."""
    is_same = (files["n_bytes"] == files["n_bytes_before"]) & (files["mtime_ns"] == files["mtime_ns_before"])
    return is_same.fillna(value=False).astype(bool) & files["settled"].eq(True)
