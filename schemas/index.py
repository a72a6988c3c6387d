"""The index: what the next run must know of each document, so that it need not read the texts of all.

It is no table for readers: its parts lie in the store alone, one for each batch, a row for each document of the batch,
clean or rejected. What can be changed without notice, since a run that finds another schema cleans everything again.
"""

import pyarrow as pa

BAND_BYTES = 512
"""Of a document's signature: `tasks.corpus.duplicates.BANDS` keys of four bytes."""


def _numbers(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind, nullable=False))


INDEX = pa.schema(
    [
        # What it is, and what was done.
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),  # `Origin.state`; empty where it could not be read
        pa.field("cleaned_with", pa.string(), nullable=False),  # names rules, settings and columns
        pa.field("first_run_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("reason", pa.string()),  # null if it is in `clean`, or the reason in `rejected`
        # What it adds to the counts of lines (tasks.corpus.lines), as it was before learned lines went; empty lists
        # where it was rejected before that, or nothing was to be learned.
        pa.field("sites", _numbers(pa.string()), nullable=False),  # names, the nearest folder first
        pa.field("lines", _numbers(pa.uint64()), nullable=False),  # fingerprints of lines near the ends, each once
        pa.field("body", _numbers(pa.uint64()), nullable=False),  # three, or none
        pa.field("headed", pa.bool_(), nullable=False),
        # What the counts said of it (tasks.corpus.learned) when it was written.
        pa.field("learned", pa.uint64(), nullable=False),  # digest; 0 if none of its lines was furniture
        pa.field("removed_lines", _numbers(pa.uint64()), nullable=False),  # fingerprints of lines that went by that
        # Signature (tasks.corpus.duplicates); nulls where there is none: rejected, or no duplicates were looked for.
        pa.field("folded_hash", pa.binary(16)),
        pa.field("folded_bytes", pa.uint32()),  # length of the folded text in UTF-8
        pa.field("bands", pa.binary(BAND_BYTES)),  # null if it is too short
        pa.field("damage_places", pa.uint32()),
        pa.field("repairs", pa.uint16()),  # per 100 characters
        pa.field("published_at", pa.string()),
        # What was found, as `clean` has it; of a document that was dropped, its row of `clean` as Arrow IPC.
        pa.field("duplicate_of", pa.string()),
        pa.field("duplicate_similarity", pa.float64()),
        pa.field("cluster_size", pa.int64()),
        pa.field("dropped", pa.binary()),
    ]
)

FILES = pa.schema(
    [
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),  # as the folder said when the file was found
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("settled", pa.bool_(), nullable=False),  # last changed well before: another change would show
    ]
)
"""What the files of a snapshot's sources looked like: the next run opens none of which that says the same."""

INTERNAL = {"index": INDEX, "files": FILES}
"""Tables of the store that readers don't see."""
