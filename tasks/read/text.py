"""Text files: one file is one document."""

import hashlib
import os
import stat

from schemas.document import Origin, RawDocument, Reason, Rejection
from tasks.read import Source

NOT_OPENED = "It was not opened; to read it, give its content as a file or on standard input."


def read_text(source: Source, max_bytes: int) -> tuple[Origin, RawDocument | Rejection]:
    """Bytes of a file, or why there are none. A file of more than `max_bytes` is hashed, but not kept in memory."""
    try:
        return _read(source, max_bytes)
    except OSError as error:
        why = error.strerror or str(error)
        return Origin(source.uri, "", "", 0), Rejection(Reason.UNREADABLE, f"The file could not be read: {why}.")


def _read(source: Source, max_bytes: int) -> tuple[Origin, RawDocument | Rejection]:
    if kind := _kind(source.path.stat().st_mode):  # opening a pipe would wait for its writer
        return Origin(source.uri, "", "", 0), Rejection(Reason.UNREADABLE, f"This is {kind} and no file. {NOT_OPENED}")
    with source.path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes > max_bytes:
            origin = Origin(source.uri, "", hashlib.file_digest(file, "sha256").hexdigest(), n_bytes)
            return origin, Rejection(Reason.TOO_LARGE, f"{n_bytes:,} bytes, and {max_bytes:,} are allowed.")
        content = file.read(n_bytes)  # what was there when it was opened, should it still be growing
    origin = Origin(source.uri, "", hashlib.sha256(content).hexdigest(), len(content))
    return origin, RawDocument(source.uri, content)


def _kind(mode: int) -> str:
    """What a thing in a folder is, if it is no file."""
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "")
