"""How well the main text of HTML pages is found, and what they say of themselves, and at what speed.

    python -m benchmarks.main_text [FOLDER] [--half held|open] [--worst N]

Without FOLDER the pages are those of `benchmarks/pages`: a page of each of fourteen kinds of sites, as their systems
make them, around texts of `benchmarks/texts`. The half called `held` was written before the rules and is only measured
on. FOLDER holds pages, `<name>.html`, with their bodies as text, `<name>.txt`, and perhaps facts, `<name>.toml`
(title, published_at, site_name, author, source_url). Half of them, drawn by name, are `held`.

Side by side: this project (`ours`: what is taken out; `cleaned`: that after all steps), trafilatura, resiliparse,
jusText and readability-lxml, as far as they are installed (`pip install -e .[bench]`; readability-lxml asks for an old
chardet, so it wants an environment of its own). All are given the text that this project decodes.

Printed: mean F1 of tokens (each ideograph is one, in Simplified; words in other scripts), precision, recall, pages
below 0.8, pages a second of processor time; then how many of the facts that the pages state were read right.
"""

import argparse
import hashlib
import re
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from schemas.config import CleanConfig
from schemas.document import Origin, Outcome, RawDocument
from tasks.decode import decode
from tasks.document import clean_raw
from tasks.html import read_page
from tasks.scripts import simplify
from tasks.steps.lines import key

HERE = Path(__file__).parent
PAGES = HERE / "pages"
FACTS = ("title", "published_at", "site_name", "author", "source_url")
LOW = 0.8

_TOKEN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
_PLACE = re.compile(r"\{\{(\*|\d)\|(.*?)\}\}", re.DOTALL)
"""`{{0|<p>%s</p>}}`: the paragraphs of the first text, each in this; `*`: those of all texts."""


class Sample(NamedTuple):
    """A page and what should come of it."""

    name: str
    content: bytes
    body: str
    facts: Mapping[str, str]
    held: bool


class Extracted(NamedTuple):
    """What an extractor made of a page."""

    text: str
    facts: Mapping[str, str]


class Score(NamedTuple):
    """How near a text comes to a body: 0.0 to 1.0."""

    f1: float
    precision: float
    recall: float


class Result(NamedTuple):
    """What an extractor made of all pages."""

    scores: list[tuple[Score, str]]
    """With the names of the pages."""
    right: Counter[str]
    """Facts that were read right, by field."""
    seconds: float


Extract = Callable[[bytes, str], Extracted]
"""Takes a page as bytes and as decoded text."""


# Pages


def own_pages() -> Iterator[Sample]:
    """The pages of this project: a header in TOML between two lines of `+++`, then HTML with places for paragraphs."""
    for path in sorted(PAGES.glob("*.html")):
        _, header, html = path.read_text(encoding="utf-8").split("+++\n", 2)
        told = tomllib.loads(header)
        texts = [_text(name) for name in told.get("texts", ())]
        page = _PLACE.sub(partial(_fill, texts), html)
        body = told.get("body") or "\n".join(paragraph for text in texts for paragraph in text)
        yield Sample(told["kind"], page.encode(told["encoding"]), body, told["facts"], told["held"])


def _text(name: str) -> list[str]:
    file, _, number = name.partition("/")
    return (HERE / "texts" / f"{file}.txt").read_text(encoding="utf-8").split("\n\n")[int(number)].split("\n")


def _fill(texts: list[list[str]], place: re.Match[str]) -> str:
    chosen = texts if place[1] == "*" else [texts[int(place[1])]]
    return "".join(place[2].replace("%s", paragraph) for text in chosen for paragraph in text)


def pages_of(folder: Path) -> Iterator[Sample]:
    """Pages of a folder that have a body beside them."""
    for path in sorted(folder.glob("*.htm*")):
        body, facts = path.with_suffix(".txt"), path.with_suffix(".toml")
        if body.is_file():
            told = tomllib.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
            held = hashlib.sha256(path.stem.encode()).digest()[0] % 2 == 0
            yield Sample(path.stem, path.read_bytes(), body.read_text(encoding="utf-8"), told, held)


# Extractors


def ours(_content: bytes, text: str) -> Extracted:
    """What this project takes out of a page."""
    page = read_page(text)
    return Extracted(page.text, page.facts)


def cleaned(content: bytes, _text: str) -> Extracted:
    """The whole pipeline, decoding included."""
    outcome: Outcome = clean_raw(Origin("", "", "", 0), RawDocument("page.html", content), CleanConfig(script="keep"))
    return Extracted(outcome.cleaned.text, outcome.cleaned.facts) if outcome.cleaned else Extracted("", {})


def by_trafilatura(_content: bytes, text: str) -> Extracted:
    """Trafilatura with its defaults, comments left out."""
    library = import_module("trafilatura")
    found: Any = library.bare_extraction(text, with_metadata=True, include_comments=False)
    if found is None:
        return Extracted("", {})
    names = dict(zip(FACTS, ("title", "date", "sitename", "author", "url"), strict=True))
    return Extracted(found.text or "", {fact: getattr(found, name) or "" for fact, name in names.items()})


def by_resiliparse(_content: bytes, text: str) -> Extracted:
    """Resiliparse's rules for main content."""
    extract = import_module("resiliparse.extract.html2text").extract_plain_text
    return Extracted(extract(text, main_content=True, alt_texts=False), {})


def by_justext(_content: bytes, text: str) -> Extracted:
    """Use jusText without stop words, which Chinese has no words for, and half the lengths of English."""
    library = import_module("justext")
    settings = {"length_low": 20, "length_high": 60, "stopwords_low": 0.0, "stopwords_high": 0.0}
    found = library.justext(text.encode(), frozenset(), encoding="utf-8", **settings)
    return Extracted("\n".join(paragraph.text for paragraph in found if not paragraph.is_boilerplate), {})


def by_readability(_content: bytes, text: str) -> Extracted:
    """Text of what readability-lxml leaves."""
    found = import_module("readability").Document(text)
    body = import_module("lxml.html").fromstring(found.summary()).text_content()
    return Extracted(body, {"title": found.short_title()})


def extractors() -> dict[str, Extract]:
    """Those that are installed."""
    others = {
        "trafilatura": by_trafilatura,
        "resiliparse": by_resiliparse,
        "justext": by_justext,
        "readability": by_readability,
    }
    there = {name: extract for name, extract in others.items() if find_spec(name)}
    return {"ours": ours, "cleaned": cleaned, **there}


# Judging


def tokens(text: str) -> Counter[str]:
    """Ideographs in Simplified, and words."""
    return Counter(_TOKEN.findall(simplify(text).lower()))


def compare(text: str, body: str) -> Score:
    """Tokens that two texts share, as often as both have them."""
    found, wanted = tokens(text), tokens(body)
    shared = (found & wanted).total()
    if not shared:
        return Score(0.0, 0.0, 0.0)
    precision, recall = shared / found.total(), shared / wanted.total()
    return Score(2 * precision * recall / (precision + recall), precision, recall)


def is_right(field: str, said: str, wanted: str) -> bool:
    """Whether a fact was read: dates to the day at least, and to the precision that both have."""
    if field == "published_at":
        return bool(said) and (said.startswith(wanted) or (wanted.startswith(said) and len(said) >= len("2024-01-01")))
    return bool(said) and (said == wanted or key(simplify(said)) == key(simplify(wanted)))


def measure(samples: Iterable[Sample], extract: Extract) -> Result:
    """Run an extractor over pages."""
    scores, right = [], Counter[str]()
    seconds = 0.0
    for sample in samples:
        text = decode(RawDocument(sample.name, sample.content)).text
        start = time.process_time()
        try:
            found = extract(sample.content, text)
        except Exception as error:  # noqa: BLE001  a library that raises found nothing
            found = Extracted("", {"error": repr(error)})
        seconds += time.process_time() - start
        scores.append((compare(found.text, sample.body), sample.name))
        right.update(
            f for f in FACTS if f in sample.facts and is_right(f, found.facts.get(f) or "", str(sample.facts[f]))
        )
    return Result(scores, right, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--half", choices=("held", "open"))
    parser.add_argument("--worst", type=int, default=0, help="Pages to name for each extractor.")
    args = parser.parse_args()
    if args.folder and not args.folder.is_dir():
        parser.error(f"{args.folder} is no folder")
    samples = [*(pages_of(args.folder) if args.folder else own_pages())]
    samples = [sample for sample in samples if args.half is None or sample.held == (args.half == "held")]
    if not samples:
        parser.error(f"no page in {args.folder} has its body beside it: <name>.html and <name>.txt")
    stated = Counter(field for sample in samples for field in FACTS if field in sample.facts)
    print(f"{len(samples)} pages\n{'':12}    F1  precision  recall  below {LOW}  pages/s   {'  '.join(stated)}")
    for name, extract in extractors().items():
        report(name, measure(samples, extract), stated, args.worst)


def report(name: str, result: Result, stated: Counter[str], worst: int) -> None:
    """One line for an extractor, and its worst pages."""
    n = len(result.scores)
    f1, precision, recall = (f"{sum(score[i] for score, _ in result.scores) / n:.3f}" for i in range(3))
    low = sum(score.f1 < LOW for score, _ in result.scores)
    facts = "  ".join(f"{result.right[field]}/{count}".rjust(len(field)) for field, count in stated.items())
    print(f"{name:12} {f1}  {precision:>9}  {recall:>6}  {low:>9}  {n / result.seconds:>7.0f}   {facts}")
    for score, page in sorted(result.scores)[:worst]:
        print(f"    {score.f1:.2f} (precision {score.precision:.2f}, recall {score.recall:.2f})  {page}")


if __name__ == "__main__":
    main()
