"""Text files: one file is one document."""

import hashlib
import os

from schemas.document import Origin, RawDocument, Reason, Rejection
from tasks.read import Source


def read_text(source: Source, max_bytes: int) -> tuple[Origin, RawDocument | Rejection]:
    """Bytes of a file, or why there are none. A file of more than `max_bytes` is hashed, but not kept in memory."""
    try:
        return _read(source, max_bytes)
    except OSError as error:
        why = error.strerror or str(error)
        return Origin(source.uri, "", "", 0), Rejection(Reason.UNREADABLE, f"The file could not be read: {why}.")


def _read(source: Source, max_bytes: int) -> tuple[Origin, RawDocument | Rejection]:
    with source.path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes > max_bytes:
            origin = Origin(source.uri, "", hashlib.file_digest(file, "sha256").hexdigest(), n_bytes)
            return origin, Rejection(Reason.TOO_LARGE, f"{n_bytes:,} bytes, and {max_bytes:,} are allowed.")
        content = file.read(n_bytes)  # what was there when it was opened, should it still be growing
    origin = Origin(source.uri, "", hashlib.sha256(content).hexdigest(), len(content))
    return origin, RawDocument(source.uri, content)
