"""datatrove with comparable steps: what the encoding is, its own FTFYFormatter, Traditional to Simplified, Parquet.

datatrove reads text and not bytes, and converts no script: reader and converter are what one would add to it. Which of
the two packages named opencc converts is a matter of the environment: `datatrove.txt`, `datatrove-opencc.txt`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chardet
from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.formatters import FTFYFormatter
from datatrove.pipeline.formatters.base import BaseFormatter
from datatrove.pipeline.writers.parquet import ParquetWriter
from datatrove.utils.logging import logger
from opencc import OpenCC

from benchmarks.peers.meter import Given, arguments, given, tell

CONVERTER = OpenCC("t2s")


class Simplified(BaseFormatter):  # type: ignore[misc]
    """Traditional to Simplified."""

    name = "t2s"

    def format(self, text: str) -> str:
        """One text."""
        return str(CONVERTER.convert(text))


def read(documents: list[Given]) -> Iterator[Any]:
    """Bytes to text, as chardet says."""
    for number, one in enumerate(documents):
        raw = one.path.read_bytes()
        text = raw.decode(chardet.detect(raw)["encoding"] or "utf-8", "replace")
        yield Document(text=text, id=str(number), metadata={"path": str(one.path)})


def run(documents: list[Given], out: Path) -> None:
    """One run in this process."""
    writer = ParquetWriter(str(out / "parts"), compression="zstd")
    steps = [FTFYFormatter(), Simplified(), writer]
    pipeline = [lambda *_: read(documents), *steps]
    LocalPipelineExecutor(pipeline, tasks=1, workers=1, logging_dir=str(out / "logs")).run()


def main() -> None:
    """Measure."""
    corpus, out, _ = arguments()
    out.mkdir()
    logger.remove()
    documents = given(corpus)
    run(documents[:1], out / "warm")
    tell(lambda number: run(documents, out / str(number)))


if __name__ == "__main__":
    main()
