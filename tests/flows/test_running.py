"""What the command line shows while a run is under way."""

import io

from rich.console import Console

from flows.running import _Lines


def test_lines_tell_bytes_that_were_read_and_documents_that_were_written() -> None:
    told = io.StringIO()
    lines = _Lines(Console(file=told, width=200))
    for event, n in (
        *(("found", 0), ("found", 1000), ("read", 250), ("cleaned", 3), ("span", 1), ("found", 1000), ("read", 1750)),
        *(("cleaned", 7), ("learning", 0), ("writing", 10), ("written", 4), ("comparing", 0), ("publishing", 0)),
    ):
        lines.watch(event, n)
    assert told.getvalue().splitlines() == [
        "cleaning 0 documents (0%)",
        "cleaning 3 documents (12%)",
        "learning 10 documents (100%)",
        "writing 0 documents (0%)",
        "comparing 4 documents (40%)",
        "publishing 4 documents (40%)",
    ]
