"""What a data engineer writes in an afternoon, with the packages that everybody takes.

chardet says the encoding, ftfy (with settings that leave Chinese signs alone) repairs what it knows, regular
expressions take out tags, pinyin in brackets, pictures, zero-width characters and commas before other signs, OpenCC
makes it Simplified, pandas writes Parquet. No log, no proof.
"""

import html
import re

import chardet
import ftfy
import pandas as pd
from opencc import OpenCC

from benchmarks.peers.meter import arguments, given, tell

FTFY = ftfy.TextFixerConfig(
    fix_character_width=False, uncurl_quotes=False, fix_latin_ligatures=False, normalization=None
)
CONVERTER = OpenCC("t2s")

_UNSEEN = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->")
_BREAK = re.compile(r"(?i)<(?:br|/p|/div|/li|/h\d|/tr)\b[^>]*>")
_TAG = re.compile(r"<[^>]+>")
_PINYIN = re.compile("[(（] ?[a-zɡāáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜü]{1,6} ?[)）]")
_JUNK = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0f\ufeff\U0001f000-\U0001faff]")
_COMMA = re.compile("[,，](?=[,，、。；：！？])")
_HALF = {
    full: re.compile(f"(?<=[\u4e00-\u9fff]){re.escape(half)}|{re.escape(half)}(?=[\u4e00-\u9fff])")
    for half, full in zip(",:;!?()", "，：；！？（）", strict=True)
}
_SPACES = re.compile("[ \t\u3000]+")
_EMPTY_LINES = re.compile(r"\n\s*\n+")


def clean(raw: bytes) -> str:
    """One document."""
    text = raw.decode(chardet.detect(raw)["encoding"] or "utf-8", "replace")
    if "<html" in text[:1000].lower():
        text = html.unescape(_TAG.sub("", _BREAK.sub("\n", _UNSEEN.sub("", text))))
    text = ftfy.fix_text(text, FTFY)
    text = _COMMA.sub("", _JUNK.sub("", _PINYIN.sub("", text)))
    for full, pattern in _HALF.items():
        text = pattern.sub(full, text)
    text = _EMPTY_LINES.sub("\n", _SPACES.sub(" ", text))
    return str(CONVERTER.convert(text)).strip()


def main() -> None:
    """Measure."""
    corpus, out, _ = arguments()
    out.mkdir()
    documents = given(corpus)
    clean("暖和一下。發展".encode())

    def work(number: int) -> None:
        rows = [{"path": str(one.path), "text": clean(one.path.read_bytes())} for one in documents]
        pd.DataFrame(rows).to_parquet(out / f"{number}.parquet", compression="zstd")

    tell(work)


if __name__ == "__main__":
    main()
