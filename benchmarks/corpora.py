"""Corpora to measure speed on, the same ones at every run: made of public text and of the models in `tasks.damage`.

`make` writes one as `benchmarks/peers/meter.py` describes it. Texts are the news, essays and Wikipedia paragraphs of a
FOLDER, in the forms that `benchmarks/fidelity.py` reads; pages of HTML are those of `benchmarks/pages` and, if they are
there, Chinese ones of `FOLDER/chardet-tests/<encoding>/`. Every document is in an encoding that a strict decoder reads.
"""

import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, cycle, islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.fidelity import KINDS, TEXTS, documents
from benchmarks.furniture import Article, build

HERE = Path(__file__).parent

LIKE_SEEDS = (
    "shift, commas, pictures",
    "shift, pairs lost, bracket swallowed",
    "shift, pairs lost, cut in sentences",
    "glosses, bracket swallowed",
    "trim, swallowed",
    "glosses, half-width, commas",
    "shift, pairs kept",
    "commas put in",
)
"""Kinds of `benchmarks/fidelity.py`, by turns, on pages with furniture and spam (`benchmarks/furniture.py`): what is
wrong with seeds 002 to 004."""

OTHER_DAMAGE = (
    "UTF-8 as GB18030, one line in three",
    "GBK as Latin-1",
    "invisible signs put in",
    "escapes, &#20013;",
    "pictures put in",
    "UTF-8 as Windows-1252",
)
"""What other sites do. One damaged document in four of the mixed corpus has one of these, without furniture."""

ENCODINGS = ("gb18030", "gbk", "utf-8-sig", "gb18030", "utf-16", "gbk", "big5", "big5")
"""Of other encodings than UTF-8, by turns; Big5 is for Traditional text."""

PAGE_ENCODINGS = {"GB2312": "gb18030", "Big5": "big5hkscs", "EUC-TW": "", "utf-8": "utf-8"}
"""Folders of real pages, and the codec that reads most of them; empty where Python has none."""

TINY_CHARS = 60
"""Of a tiny document: a headline with a sentence."""

HUGE_BYTES = 4_000_000
"""Of a huge document, in UTF-8: as large as a whole shard. The damaged one is a quarter of it."""


_SENTENCE = re.compile("[^。\n]+[。\n]*|[。\n]+")


class Text(NamedTuple):
    """A document to be written."""

    name: str
    """With a suffix."""
    text: str
    encoding: str = "utf-8"

    @property
    def content(self) -> bytes:
        """Without what the encoding can't write; of HTML it is escaped."""
        return self.text.encode(self.encoding, "ignore" if self.name.endswith(".txt") else "xmlcharrefreplace")


@dataclass(frozen=True)
class Sources:
    """Clean text, and pages of HTML."""

    folder: Path
    seed: int = 0

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """By script, shuffled."""
        return documents(self.folder, self.seed)

    @cached_property
    def pages(self) -> list[Text]:
        """Chinese pages of HTML, and feeds with HTML in them, as they were found, in the encoding they are in."""
        found = [Text(path.name, path.read_text(encoding="utf-8")) for path in sorted((HERE / "pages").glob("*.html"))]
        for folder, encoding in PAGE_ENCODINGS.items():
            paths = sorted((self.folder / "chardet-tests" / folder).glob("*")) if encoding else []
            for path in paths:
                try:
                    text = path.read_bytes().decode(encoding)
                except UnicodeDecodeError:
                    continue
                if re.search("(?i)<(?:html|rss|feed|rdf)", text) and len(re.findall("[\u4e00-\u9fff]", text)) > 100:
                    found.append(Text(path.name, text, encoding))
        return found

    @cached_property
    def furniture(self) -> dict[str, list[str]]:
        """Lines that stand around articles."""
        return tomllib.loads((HERE / "furniture_lines" / "open.toml").read_text(encoding="utf-8"))

    def take(self, n: int, begin: int = 0, script: str = "hans") -> list[str]:
        """So many texts from one on."""
        return [self._text(begin + i, script) for i in range(n)]

    def _text(self, number: int, script: str) -> str:
        """One of the texts; past the last one they are mixed, each of the sentences of three, lest they be copies."""
        texts = self.texts[script]
        lap, at = divmod(number, len(texts))
        if not lap:
            return texts[at]
        three = (_SENTENCE.findall(texts[(at + i * lap * 7) % len(texts)])[i::3] for i in range(3))
        return "".join(chain.from_iterable(three))


def clean(sources: Sources, n: int) -> Iterator[Text]:
    """News and Wikipedia in Simplified; one in four is Traditional."""
    n_hant = n // 4
    texts = [*sources.take(n - n_hant), *sources.take(n_hant, script="hant")]
    return (Text(f"clean-{i:06}.txt", text) for i, text in enumerate(texts))


def damaged(sources: Sources, n: int, begin: int = 1_000) -> Iterator[Text]:
    """Pages as clone sites make them (`LIKE_SEEDS`): furniture, spam, glosses, shifts, commas, pictures."""
    for i, kind in enumerate(islice(cycle(LIKE_SEEDS), n)):
        (text,) = sources.take(1, begin + i)
        dice = random.Random(f"{sources.seed} {i}")
        article = Article(dice.choice(sources.furniture["titles"]), text)
        page = build(dice, sources.furniture, article)
        yield Text(f"damaged-{i:06}.txt", KINDS[kind].model(page.text, dice).observed)


def otherwise_damaged(sources: Sources, n: int, begin: int = 3_000) -> Iterator[Text]:
    """Articles in a wrong codec, with escapes, with signs put in (`OTHER_DAMAGE`)."""
    for i, (text, kind) in enumerate(zip(sources.take(n, begin), cycle(OTHER_DAMAGE), strict=False)):
        yield Text(f"other-{i:06}.txt", KINDS[kind].model(text, random.Random(f"{sources.seed} {i}")).observed)


def encoded(sources: Sources, n: int, begin: int = 2_000) -> Iterator[Text]:
    """Clean text in other encodings than UTF-8 (`ENCODINGS`)."""
    hans, hant = sources.take(n, begin), sources.take(n, 500, "hant")
    for i, encoding in enumerate(islice(cycle(ENCODINGS), n)):
        text = (hant if encoding == "big5" else hans)[i]
        yield Text(f"{encoding}-{i:06}.txt", text.encode(encoding, "ignore").decode(encoding), encoding)


def html(sources: Sources, n: int, begin: int = 2_500) -> Iterator[Text]:
    """Real pages; then the same ones, each with another article at the end of its body."""
    pages = sources.pages
    for i, text in enumerate(sources.take(n, begin)):
        name, page, encoding = pages[i % len(pages)]
        if i >= len(pages):
            article = "".join(f"<p>{line}</p>\n" for line in text.split("\n") if line.strip())
            at = next((match.start() for match in re.finditer("(?i)</body>|</channel>", page)), len(page))
            page = f"{page[:at]}<div>\n{article}</div>\n{page[at:]}"
        yield Text(f"page-{i:06}{Path(name).suffix}", page, encoding)


def mixed(sources: Sources, n: int) -> Iterator[Text]:
    """Of 830 documents 300 clean, 250 damaged (188 like the seeds), 180 in other encodings, 100 of HTML."""
    n_damaged, n_encoded, n_html = 250 * n // 830, 180 * n // 830, 100 * n // 830
    n_other = n_damaged // 4
    yield from clean(sources, n - n_damaged - n_encoded - n_html)
    yield from damaged(sources, n_damaged - n_other)
    yield from otherwise_damaged(sources, n_other)
    yield from encoded(sources, n_encoded)
    yield from html(sources, n_html)


def tiny(sources: Sources, n: int) -> Iterator[Text]:
    """A sentence or two in each file."""
    texts = (sources.take(1, number)[0] for number in count())
    pieces = (
        text[at : at + TINY_CHARS].strip() for text in texts for at in range(0, len(text) - TINY_CHARS, TINY_CHARS)
    )
    for number, piece in enumerate(islice(pieces, n)):
        yield Text(f"{number // 1000:03}/tiny-{number:06}.txt", piece)


def huge(sources: Sources, n: int, n_bytes: int = HUGE_BYTES) -> Iterator[Text]:
    """Many articles in one file each; the last one is of damaged ones, and a quarter as large."""
    texts = (sources.take(1, number)[0] for number in count())
    for number in range(n - 1):
        yield Text(f"huge-{number}.txt", _joined(texts, n_bytes))
    pages = (one.text for one in damaged(sources, 10**9))
    yield Text(f"huge-{n - 1}-damaged.txt", _joined(pages, n_bytes // 4))


def _joined(texts: Iterator[str], n_bytes: int) -> str:
    taken: list[str] = []
    left = n_bytes
    while left > 0:
        taken.append(next(texts))
        left -= len(taken[-1].encode("utf-8", "replace"))
    return "\n\n".join(taken)


CORPORA: dict[str, Callable[[Sources, int], Iterator[Text]]] = {
    "mixed": mixed,
    "clean": clean,
    "damaged": damaged,
    "encodings": encoded,
    "HTML": html,
    "tiny": tiny,
    "huge": huge,
    "large": mixed,
}
"""`large` is a mixed one with enough shards for several workers."""


class Corpus(NamedTuple):
    """A corpus that was written."""

    name: str
    folder: Path
    n_documents: int
    megabytes: float
    """Of what its documents decode to, in UTF-8: the same measure for all encodings."""


def make(name: str, texts: Iterator[Text], folder: Path) -> Corpus:
    """Write a corpus into a new folder, named like it, in `folder`."""
    made: list[dict[str, str]] = []
    n_bytes = 0
    for text in texts:
        path = folder / name / "documents" / text.name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.content
        path.write_bytes(content)
        n_bytes += len(content.decode(text.encoding).encode("utf-8", "surrogatepass"))
        made.append({"path": text.name, "encoding": text.encoding})
    (folder / name / "documents.json").write_text(json.dumps(made), encoding="utf-8")
    return Corpus(name, folder / name, len(made), n_bytes / 1e6)


def make_all(path: Path | None, sizes: dict[str, int], folder: Path) -> Sequence[Corpus]:
    """Corpora of so many documents each, and `warm`, of one, beside them.

    Raises:
        FileNotFoundError: if there is no text.
    """
    sources = Sources(path or TEXTS)
    make("warm", damaged(sources, 1), folder)
    return [make(name, CORPORA[name](sources, n), folder) for name, n in sizes.items()]
