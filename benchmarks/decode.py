"""How often bytes become the right text, ours beside chardet alone.

    python -m benchmarks.decode FOLDER [--news FILE] [--samples N]

FOLDER holds folders named after encodings, with files in them (as chardet's own tests do). FILE holds clean text, one
JSON object with a key `text` a line, gzipped or not: pieces of it are encoded and read back. Right means: the same text
as decoding with the true encoding; with a stray byte put in, all but four characters of it on either side of one place.
"""

import argparse
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import chardet

from schemas.document import RawDocument
from tasks.decode import decode, encode
from tasks.scripts import traditionalize

TRUTHS = {
    "Big5": ("cp950", "big5hkscs", "big5"),
    "GB2312": ("gb18030",),
    "CP949": ("cp949",),
    "EUC-KR": ("cp949",),
    "SHIFT_JIS": ("cp932", "shift_jis"),
    "iso-8859-1": ("iso-8859-1", "cp1252", "iso8859-15"),
    "iso-2022-jp": ("iso2022_jp", "iso2022_jp_2"),
}
"""Codecs whose text counts as right, where a folder's name isn't the only one: the superset that the web means."""

STRAYS = bytes({*range(0x80, 0x100), 0})


def ours(content: bytes) -> str:
    """Text by this project; fails if it does not give the bytes back."""
    decoded = decode(RawDocument("benchmark", content))
    if encode(decoded) != content:
        raise AssertionError("encode(decode(x)) is not x")
    return decoded.text if decoded.encoding else ""


def chardet_alone(content: bytes) -> str:
    """Text by what chardet says, bad bytes replaced."""
    name = chardet.detect(content, prefer_superset=True, compat_names=False)["encoding"]
    return content.decode(name, "replace").removeprefix("\ufeff") if name else ""


def is_right(text: str, truths: list[str]) -> bool:
    """The same text as one of several."""
    return any(text == truth.removeprefix("\ufeff") for truth in truths)


def is_nearly_right(text: str, truths: list[str]) -> bool:
    """The same text but for one place."""
    return any(_common(text, truth) + 4 >= len(truth) for truth in (t.removeprefix("\ufeff") for t in truths))


def _common(text: str, truth: str) -> int:
    head = _n_equal(text, truth)
    return head + _n_equal(text[head:][::-1], truth[head:][::-1])


def _n_equal(left: str, right: str) -> int:
    """Length of the common beginning."""
    pairs = zip(left, right, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def with_stray(content: bytes, rng: random.Random) -> bytes:
    """One byte put in, somewhere behind the first two."""
    at = rng.randrange(2, len(content) + 1)
    return content[:at] + bytes([rng.choice(STRAYS)]) + content[at:]


def row(label: str, pairs: list[tuple[bytes, list[str]]], right: Callable[[str, list[str]], bool]) -> None:
    """Print the shares of one kind."""
    shares = [sum(right(read(content), truths) for content, truths in pairs) / len(pairs) for read in READERS]
    print(f"{label:34}{len(pairs):7}" + "".join(f"{share:12.1%}" for share in shares), flush=True)


READERS = (ours, chardet_alone)


def folders(folder: Path, rng: random.Random) -> None:
    """Every file of every folder whose name is an encoding that Python has."""
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        contents = [file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()]
        try:
            pairs = [
                (c, [c.decode(codec, "replace") for codec in TRUTHS.get(path.name, (path.name,))]) for c in contents
            ]
        except LookupError:
            continue
        row(path.name, pairs, is_right)
        if not path.name.lower().startswith(("utf-16", "utf-32", "iso-2022")):
            row(f"{path.name}, one stray byte", [(with_stray(c, rng), t) for c, t in pairs], is_nearly_right)


def pieces(texts: list[str], length: int, n: int, rng: random.Random) -> Iterator[str]:
    """Stretches of so many characters from anywhere in the texts, with at least two ideographs."""
    while n:
        text = rng.choice(texts)
        piece = text[(at := rng.randrange(max(1, len(text) - length))) : at + length]
        if sum("\u4e00" <= c <= "\u9fff" for c in piece) >= min(2, length):
            n -= 1
            yield piece


def news(texts: list[str], n: int, rng: random.Random) -> None:
    """Stretches of clean text in three encodings, whole and with a stray byte."""
    for codec in ("gbk", "gb18030", "cp950"):
        for length in (5, 10, 20, 50, 200, 1000, 2000):
            samples = list(pieces(texts, length, n, rng))
            samples = [traditionalize(s) for s in samples] if codec == "cp950" else samples
            contents = [sample.encode(codec, "ignore") for sample in samples]
            pairs = [(content, [content.decode(codec)]) for content in contents]
            row(f"{codec}, {length} characters", pairs, is_right)
            stray = [(with_stray(content, rng), truths) for content, truths in pairs]
            row(f"{codec}, {length}, one stray byte", stray, is_nearly_right)


def main() -> None:
    """Print one line per kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--news", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder: it should hold folders named after encodings")
    rng = random.Random(2024)
    print(f"{'kind':34}{'files':>7}{'ours':>12}{'chardet':>12}")
    folders(arguments.folder, rng)
    if arguments.news:
        opener = gzip.open if arguments.news.suffix == ".gz" else open
        with opener(arguments.news, "rt", encoding="utf-8") as file:
            news([json.loads(line)["text"] for line in file], arguments.samples, rng)


if __name__ == "__main__":
    main()
