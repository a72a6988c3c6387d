"""How much of each wrong reading the mojibake step takes back: `python -m benchmarks.mojibake FILE [DOCUMENTS]`.

FILE is clean Simplified text, either plain (documents between blank lines) or `.jsonl.gz` with a field `text`.
Documents of 300 to 2,000 characters are drawn with a fixed seed and damaged as a whole, line by line. Printed per
kind: documents restored exactly, and of all characters the share that is right, left open (U+FFFD), or missing or
wrong (swallowed signs and pairs dropped without a trace cannot come back); then the edits on the clean documents.
"""

import difflib
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from schemas.config import CleanConfig
from schemas.document import Context, Edit
from tasks.damage.mangler import Broken, Decoder, Undefined
from tasks.damage.misreadings import KEEPING, Misreading, misread, misread_again
from tasks.scripts import traditionalize
from tasks.steps.edits import apply
from tasks.steps.mojibake import find

CONTEXT = Context(CleanConfig())


def model(*readings: tuple[str, str], reader: Decoder = KEEPING) -> Callable[[str], tuple[str, str]]:
    """From a clean line to (what can be written in the first codec, what is read)."""

    def damage(line: str) -> tuple[str, str]:
        written = readings[0][0]
        text = traditionalize(line) if written == "big5" else line
        text = text.encode(written, "ignore").decode(written)
        if len(readings) == 1:
            return text, misread(text, Misreading(*readings[0]), reader)
        return text, misread_again(text, [Misreading(*r) for r in readings], reader)

    return damage


KINDS = {
    "UTF-8 as GB18030": model(("utf-8", "gb18030")),
    "UTF-8 as GBK, a sign swallowed": model(("utf-8", "gbk"), reader=Decoder(Broken.SWALLOW, Undefined.PRIVATE, "?")),
    "UTF-8 as GBK, pairs marked": model(("utf-8", "gbk"), reader=Decoder(Broken.MARK, Undefined.MARK, "?")),
    "UTF-8 as GBK, pairs dropped": model(("utf-8", "gbk"), reader=Decoder(Broken.MARK, Undefined.DROP, "?")),
    "UTF-8 as GBK, leads marked": model(("utf-8", "gbk"), reader=Decoder(Broken.MARK, Undefined.MARK_LEAD, "\ufffd")),
    "UTF-8 as Latin-1": model(("utf-8", "latin-1")),
    "UTF-8 as Windows-1252, five lost": model(
        ("utf-8", "windows-1252"), reader=Decoder(Broken.MARK, Undefined.MARK, "?")
    ),
    "UTF-8 as Windows-1251": model(("utf-8", "windows-1251")),
    "GBK as Latin-1": model(("gbk", "latin-1")),
    "GBK as Windows-1252": model(("gbk", "windows-1252")),
    "Big5 as Latin-1": model(("big5", "latin-1")),
    "Big5 as Windows-1252": model(("big5", "windows-1252")),
    "Big5 as GBK": model(("big5", "gbk")),
    "GBK as Big5": model(("gbk", "big5")),
    "UTF-8 as GB18030, twice": model(("utf-8", "gb18030"), ("utf-8", "gb18030")),
    "UTF-8 as Latin-1, twice": model(("utf-8", "latin-1"), ("utf-8", "latin-1")),
    "GBK as 1252, that UTF-8 as 1252": model(("gbk", "windows-1252"), ("utf-8", "windows-1252")),
}


def documents(path: Path, count: int) -> list[str]:
    """Documents of 300 to 2,000 characters, drawn with a fixed seed."""
    if path.name.endswith(".jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
    else:
        texts = path.read_text(encoding="utf-8").split("\n\n")
    fitting = [t for t in texts if 300 <= len(t) <= 2000]
    return random.Random(0).sample(fitting, min(count, len(fitting)))


def repaired(text: str) -> str:
    """The text with the edits of the step carried out."""
    return apply(text, (f for f in find(text, CONTEXT) if isinstance(f, Edit)))


def compare(after: Iterable[str], clean: Iterable[str]) -> Counter[str]:
    """Characters right, open or wrong, line by line."""
    result: Counter[str] = Counter()
    for a, b in zip(after, clean, strict=True):
        blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
        right = sum(block.size for block in blocks)
        left_open = min(a.count("\ufffd"), len(b) - right)
        result.update(right=right, open=left_open, wrong=len(b) - right - left_open, all=len(b))
    return result


def measure(kind: str, texts: list[str]) -> str:
    """A line of the table, with the time per clean character."""
    total: Counter[str] = Counter()
    exact, start = 0, time.process_time()
    for text in texts:
        clean, damaged = zip(*map(KINDS[kind], text.split("\n")), strict=True)
        after = repaired("\n".join(damaged)).split("\n")
        exact += after == list(clean)
        total += compare(after, clean)
    shares = "  ".join(f"{name} {100 * total[name] / total['all']:6.2f} %" for name in ("right", "open", "wrong"))
    return (
        f"{kind:32} exact {exact}/{len(texts)}  {shares}  {1e6 * (time.process_time() - start) / total['all']:.0f} µs"
    )


def main() -> None:
    """Print the table."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    texts = documents(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 20)
    for kind in KINDS:
        print(measure(kind, texts), flush=True)
    print(f"undamaged: {sum(repaired(t) != t for t in texts)} of {len(texts)} documents changed")


if __name__ == "__main__":
    main()
