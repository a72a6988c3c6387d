"""Data-Juicer with comparable mappers: ftfy, Traditional to Simplified, white space, punctuation, links; Parquet.

It reads text and not bytes, so it is given the text, decoded with the encoding that is known: detection is not counted.
After each mapper it loads torch (2 GB, installed on the spot where it is missing) to empty the cache of a GPU that
isn't there; that is left out, in its favour.
"""

from typing import Any, NoReturn

from loguru import logger

from benchmarks.peers.meter import Given, arguments, given, tell

logger.remove()

from data_juicer.utils.lazy_loader import LazyLoader  # noqa: E402  it logs from its first import on


def _refuse(_: Any, package: str, *_args: Any) -> NoReturn:
    raise ModuleNotFoundError(f"{package} is not installed, and nothing is while time is measured")


LazyLoader._install_package = classmethod(_refuse)  # noqa: SLF001

from data_juicer.core.data import NestedDataset  # noqa: E402
from data_juicer.ops import base_op  # noqa: E402
from data_juicer.ops.mapper.chinese_convert_mapper import ChineseConvertMapper  # noqa: E402
from data_juicer.ops.mapper.clean_links_mapper import CleanLinksMapper  # noqa: E402
from data_juicer.ops.mapper.fix_unicode_mapper import FixUnicodeMapper  # noqa: E402
from data_juicer.ops.mapper.punctuation_normalization_mapper import PunctuationNormalizationMapper  # noqa: E402
from data_juicer.ops.mapper.whitespace_normalization_mapper import WhitespaceNormalizationMapper  # noqa: E402
from datasets import disable_progress_bars  # noqa: E402

base_op.free_models = lambda *_: None
disable_progress_bars()


def run(documents: list[Given], path: str) -> None:
    """One run in one process."""
    rows = [{"path": str(one.path), "text": one.path.read_bytes().decode(one.encoding, "replace")} for one in documents]
    mappers = [
        FixUnicodeMapper(num_proc=1),
        ChineseConvertMapper("t2s", num_proc=1),
        WhitespaceNormalizationMapper(num_proc=1),
        PunctuationNormalizationMapper(num_proc=1),
        CleanLinksMapper(num_proc=1),
    ]
    NestedDataset.from_list(rows).process(mappers, open_monitor=False).to_parquet(path)


def main() -> None:
    """Measure."""
    corpus, out, _ = arguments()
    out.mkdir()
    documents = given(corpus)
    run(documents[:1], str(out / "warm.parquet"))
    tell(lambda number: run(documents, str(out / f"{number}.parquet")))


if __name__ == "__main__":
    main()
