"""Builds what every document needs, on import: the server of processes does that once, and all that it forks have it.

A worker took 0.5 s of processor time and 110 MB of its own to build models, tables and patterns when it met its first
document, in either pass over a shard.
"""

import gc
from datetime import UTC, datetime

from schemas.config import CleanConfig
from schemas.dataset import clean_row
from schemas.document import Origin, RawDocument, Run
from tasks.corpus import lines
from tasks.corpus.duplicates import signatures
from tasks.decode import decode
from tasks.document import clean_raw
from tasks.steps import mojibake, pinyin, spam, symbols, trimmed

_PAGE = """您的位置：首页 > 国内 >
一則消息
2023-06-24 19:04:19 来源：某网
本报讯 昨日，市政府召开新闻发布会，通报今年前三季度经济运行情况。会上，发言人回答了记者的提问。
责任编辑：张三
"""
"""With a head, a foot and a line in Traditional signs, since many have them; no damage, which most texts don't have."""


def _clean_a_page() -> None:
    decode(RawDocument("", _PAGE.encode("gb18030")))  # with the tables of the language model
    run = Run("", datetime.now(UTC), CleanConfig(), "", "")
    outcome = clean_raw(Origin("file:///", "", "", 0), RawDocument("file:///", _PAGE.encode()), run.config)
    signatures([clean_row(outcome, run)])
    list(lines.features([outcome]))


_RARELY = (50_000, 20, 50)
"""Objects after which the garbage collector looks: 700, as it is set, cost a tenth of the time, and there is next to
nothing to find (what holds much memory is let go without it: `tasks.read.streams`)."""


_clean_a_page()
mojibake.prepare()
trimmed.prepare()
pinyin.is_syllable("")  # loads the dictionary: one page in a hundred has something like a gloss
spam.prepare()
symbols.prepare()
gc.collect()
gc.freeze()  # what all processes share is never looked through, so that it is not copied for that either
gc.set_threshold(*_RARELY)
