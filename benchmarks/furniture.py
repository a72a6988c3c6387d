"""How much of what stands around articles goes, what it costs the articles, and what is read from it.

    python -m benchmarks.furniture [FOLDER-or-FILE] [--pages N] [--half held|open] [--seed S] [--examples N]
                                   [--kinds a,b] [--undamaged N] [--ours]

Pages are built of clean articles and of blocks of furniture that are kept apart from the rule tables, in
`benchmarks/furniture_lines`: `open.toml` may be looked at while rules are written, `held.toml` is only measured on.
FOLDER holds `.txt`, `.jsonl` or `.jsonl.gz` files, as for `benchmarks/fidelity.py`; a field `title` gives the title.
Without it the articles are those of `benchmarks/texts`. A third of the pages are Traditional, some English.

Printed side by side for this project, jusText, trafilatura (both on the lines as paragraphs of HTML) and a list of bad
words (the strong words of the spam table; a line with one goes):

- recall by kind of furniture: lines of it that went, in percent. `glued` is furniture at the end of a paragraph.
- precision: of all lines that went, those that are furniture; ours also by the kind that it took them for.
- lines and characters of articles lost, titles lost, in all and per 10,000.
- metadata: of the facts that the page states, those that were read right, wrong, or not at all; and facts read where
  the page states none.

Lines of undamaged text (`--undamaged`, all of the folder) that went are shown in full.
"""

import argparse
import gzip
import html
import importlib
import json
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rapidfuzz.distance import Indel

from benchmarks.fidelity import TEXTS, read_texts
from schemas.config import CleanConfig
from tasks.clean import clean
from tasks.rules import load
from tasks.scripts import simplify, traditionalize
from tasks.steps.lines import fold, is_chinese, key

HERE = Path(__file__).parent
SKIP = ("mojibake", "shift", "glosses", "punctuation", "whitespace")
"""Steps that leave the lines alone or change signs only: without them a run takes half the time."""


class Piece(NamedTuple):
    """A line of a page, or a span at the end of one."""

    kind: str
    text: str
    is_span: bool = False
    """Whether it stands on the line of the piece before it."""


class Page(NamedTuple):
    """Lines in order, and what the page says about its article."""

    pieces: list[Piece]
    facts: dict[str, str]
    text: str


Lines = dict[str, Any]
"""A file of `furniture_lines`."""


class Article(NamedTuple):
    """A clean text and its title."""

    title: str
    text: str


# Building pages


class Filler:
    """Draws names for the braces of a page's blocks, the same ones for the whole page, and remembers the facts."""

    def __init__(self, rng: random.Random, lines: Lines, article: Article, *, is_english: bool) -> None:
        self._rng, self._lines, self._english = rng, lines, "english_" if is_english else ""
        self._names = self._draw(article.title)
        self.facts: dict[str, str] = {}

    def _pick(self, name: str) -> str:
        return str(self._rng.choice(self._lines.get(self._english + name) or self._lines[name]))

    def _draw(self, title: str) -> dict[str, str]:
        moment = datetime(2009, 1, 1) + timedelta(minutes=self._rng.randrange(15 * 365 * 24 * 60))  # noqa: DTZ001
        layout = self._pick("dates")
        s1, s2 = self._rng.sample(self._lines[self._english + "sections"], 2)
        names = {name: self._pick(table) for name, table in _TABLES.items()}
        author, editor = self._rng.sample(self._lines[self._english + "people"], 2)
        self._moment, self._timed = moment, "{M}" in layout
        parts = date_parts(moment)
        names |= {"title": title, "author": author, "editor": editor, "s1": s1, "s2": s2}
        names |= {"url": f"https://www.example.com/news/{moment:%Y%m}/{self._rng.randrange(10**6)}.html"}
        return names | parts | {"date": layout.format(**parts)}

    def fill(self, template: str) -> str:
        """A block with its names in place."""
        out = []
        for part in template.split("{"):
            name, brace, rest = part.partition("}")
            out.append(self._value(name) + rest if brace else part)
        return "".join(out)

    def _value(self, name: str) -> str:
        if name in {"n", "id"}:
            return str(self._rng.randrange(3, 5000) if name == "n" else self._rng.randrange(10**6, 10**8))
        if name == "other":
            return self._pick("titles")
        if name in {"w", "g"}:
            return str(self._rng.choice(self._lines["spam"]["words" if name == "w" else "gambling"]))
        if name == "date":
            self.facts["published_at"] = f"{self._moment:%Y-%m-%dT%H:%M}" if self._timed else f"{self._moment:%Y-%m-%d}"
        elif name in _FACTS:
            self.facts[_FACTS[name]] = self._names[name]
        return self._names[name]

    def crumb(self, template: str) -> str:
        """A breadcrumb: its sections are a fact."""
        names = [name for name in ("s1", "s2") if f"{{{name}}}" in template]
        self.facts["section"] = " > ".join(self._names[name] for name in names)
        return self.fill(template)


_TABLES = {"source": "sources", "site": "sites", "name": "names"}
_FACTS = {"source": "site_name", "author": "author", "editor": "editor", "title": "title", "url": "source_url"}


def date_parts(moment: datetime) -> dict[str, str]:
    """What a layout of dates is made of."""
    year = "".join("〇一二三四五六七八九"[int(digit)] for digit in f"{moment.year}")
    return {
        "Y": f"{moment:%Y}",
        "m": str(moment.month),
        "mm": f"{moment:%m}",
        "d": str(moment.day),
        "dd": f"{moment:%d}",
        "H": f"{moment:%H}",
        "M": f"{moment:%M}",
        "S": f"{moment:%S}",
        "h12": f"{moment.hour % 12 or 12}",
        "ampm": "上午" if moment.hour < 12 else "下午",
        "week": "星期" + "一二三四五六日"[moment.weekday()],
        "Month": f"{moment:%B}",
        "Mon": f"{moment:%b}",
        "cY": year,
        "cm": _numeral(moment.month),
        "cd": _numeral(moment.day),
    }


def _numeral(n: int) -> str:
    tens, ones = divmod(n, 10)
    return ["", "十", "二十", "三十"][tens] + ("" if not ones else "一二三四五六七八九"[ones - 1])


Block = tuple[str, str]
"""Kind and text."""


def build(rng: random.Random, lines: Lines, article: Article) -> Page:
    """One page around an article."""
    is_english = not is_chinese(article.text[:2000])
    chosen = {**lines, **lines["english"]} if is_english else lines
    kind = "portal" if is_english else rng.choices(list(LAYOUTS), weights=[6, 1, 1, 1, 1])[0]
    if kind == "novel":
        article = article._replace(title=f"第{rng.randrange(2, 900)}章 {rng.choice(lines['chapters'])}")
    filler = Filler(rng, lines, article, is_english=is_english)
    head, tail = LAYOUTS[kind](rng, filler, chosen)
    head, tail = spam(rng, filler, chosen, head, tail)
    lines_of_text = [line.strip() for line in article.text.split("\n") if line.strip()]
    body = [Piece("title" if _key(line) == _key(article.title) else "article", line) for line in lines_of_text]
    if rng.random() < 0.15 and not is_english:
        body.append(Piece("glued spam", filler.fill(rng.choice(lines["spam"]["glued"])), is_span=True))
    pieces = [*_pieces(head, article.title), *body, *_pieces(tail, article.title)]
    page = Page(pieces, filler.facts, _join(pieces, rng.choice(["\n", "\n\n"])))
    return _traditional(page) if not is_english and rng.random() < 1 / 3 else page


def _pieces(blocks: Iterable[Block], title: str) -> Iterator[Piece]:
    for kind, block in blocks:
        for line in block.split("\n"):
            yield Piece("title" if title in line and ">" not in line else kind, line)


def _join(pieces: list[Piece], between: str) -> str:
    return "".join(("" if piece.is_span or not i else between) + piece.text for i, piece in enumerate(pieces))


def _traditional(page: Page) -> Page:
    """The page in Traditional; spam was put on it later."""
    pieces = [p if "spam" in p.kind else p._replace(text=traditionalize(p.text)) for p in page.pieces]
    text = _join(pieces, "\n\n" if "\n\n" in page.text else "\n")
    return Page(pieces, {name: traditionalize(value) for name, value in page.facts.items()}, text)


def portal(rng: random.Random, filler: Filler, lines: Lines) -> tuple[list[Block], list[Block]]:
    """News, government, companies."""

    def maybe(kind: str, share: float, *, times: int = 1) -> list[Block]:
        n = sum(rng.random() < share for _ in range(times))
        fill = filler.crumb if kind == "breadcrumb" else filler.fill
        return [(kind, fill(template)) for template in rng.sample(lines[kind], n)]

    title = [("title", filler.fill("{title}"))]
    above = maybe("navigation", 0.3, times=2) + maybe("breadcrumb", 0.6)
    middle = maybe("metadata", 0.9) + maybe("bar", 0.4)
    if rng.random() < 0.1:
        middle += title
    head = above + title + middle + maybe("caption", 0.12)
    links = maybe("related", 0.4, times=2) + maybe("comments", 0.3) + maybe("notice", 0.35, times=3)
    rng.shuffle(links)
    editor = [] if "editor" in filler.facts else maybe("editor", 0.5)
    return head, editor + maybe("bar", 0.25) + links


def flat(rng: random.Random, filler: Filler, lines: Lines) -> tuple[list[Block], list[Block]]:
    """A tail that was flattened to one line."""
    head, _ = portal(rng, filler, lines)
    filler.facts.pop("editor", None)
    head = [(kind, block) for kind, block in head if "编辑" not in block and "责编" not in block]
    return head, [("flat", filler.fill(rng.choice(lines["flat_tail"])))]


_TRAIL = re.compile(r"(?<=[>›-] )\{s1\}(?: [>›-] \{s2\})?")
"""Sections in the heads of forums and novels."""


def _page_of(kind: str) -> Callable[[random.Random, Filler, Lines], tuple[list[Block], list[Block]]]:
    def layout(rng: random.Random, filler: Filler, lines: Lines) -> tuple[list[Block], list[Block]]:
        template = rng.choice(lines[f"{kind}_head"])
        if trail := _TRAIL.search(template):
            filler.crumb(trail[0])
        head, tail = filler.fill(template), filler.fill(rng.choice(lines[f"{kind}_tail"]))
        return [(kind, head)], [(kind, tail)]

    return layout


LAYOUTS = {
    "portal": portal,
    "flat": flat,
    "wechat": _page_of("wechat"),
    "forum": _page_of("forum"),
    "novel": _page_of("novel"),
}


def spam(
    rng: random.Random, filler: Filler, lines: Lines, head: list[Block], tail: list[Block]
) -> tuple[list[Block], list[Block]]:
    """Lines of spam above, and perhaps below."""

    def line() -> Block:
        if rng.random() < 0.3:
            return "spam", filler.fill(rng.choice(lines["spam"]["lines"]))
        words = lines["spam"]["words" if rng.random() < 0.7 else "gambling"]
        return "spam", rng.choice([",", "_", "|", "-", " ", "、", "，", " I "]).join(
            rng.sample(words, rng.randint(2, 7))
        )

    top = [line()] if rng.random() < 0.3 else []
    return top + head, tail + [line() for _ in range(3) if rng.random() < 0.12]


# Cleaners


class Result(NamedTuple):
    """What a cleaner made of a page."""

    text: str
    facts: dict[str, str]
    kinds: dict[str, str]
    """Kind that a removed line (its `key`) was taken for."""


def ours(text: str) -> Result:
    """This project."""
    cleaned = clean(text, CleanConfig(script="keep", skip=SKIP))
    edits = [e for stage in cleaned.stages for e in stage.edits]
    kinds = {key(line): f"{e.step}/{e.rule}" for e in edits for line in e.before.split("\n") if line.strip()}
    return Result(cleaned.text, dict(cleaned.facts), kinds)


def as_html(text: str) -> str:
    """Lines as paragraphs."""
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in text.split("\n") if line.strip())
    return f"<html><head><meta charset='utf-8'></head><body>{paragraphs}</body></html>"


def justext_on(module: ModuleType) -> Callable[[str], Result]:
    """JusText with what its documentation says for languages without spaces: no stop words."""

    def run(text: str) -> Result:
        options = {"length_low": 20, "length_high": 60, "stopwords_low": 0, "stopwords_high": 0}
        paragraphs = module.justext(as_html(text), frozenset(), **options)
        return Result("\n".join(p.text for p in paragraphs if not p.is_boilerplate), {}, {})

    return run


def trafilatura_on(module: ModuleType) -> Callable[[str], Result]:
    """Trafilatura as it comes."""

    def run(text: str) -> Result:
        return Result(module.extract(as_html(text), include_comments=False) or "", {}, {})

    return run


def bad_words(text: str) -> Result:
    """A line with a bad word goes."""
    return Result("\n".join(line for line in text.split("\n") if not any(w in fold(line) for w in _bad())), {}, {})


@cache
def _bad() -> tuple[str, ...]:
    return tuple(word for word, _, weight in load("spam-words") if weight == "strong")


def cleaners() -> dict[str, Callable[[str], Result]]:
    """Those that are installed."""
    found: dict[str, Callable[[str], Result]] = {"ours": ours, "bad words": bad_words}
    for name, module, tool in (("jusText", "justext", justext_on), ("trafilatura", "trafilatura", trafilatura_on)):
        try:
            found[name] = tool(importlib.import_module(module))
        except ImportError:
            print(f"{name} is not installed, so it is left out: pip install 'qingyuan[bench]'")
    return found


# Counting


class Verdict(NamedTuple):
    """What became of one piece of a page."""

    piece: Piece
    lost: int
    """Letters, digits and ideographs of it that are gone."""
    of: int

    @property
    def went(self) -> bool:
        """Whether next to nothing of it is left."""
        return self.of > 0 and self.lost >= 0.9 * self.of


def judge(page: Page, after: str) -> list[Verdict]:
    """What became of each piece, signs left out.

    A line of furniture is gone where no line that is left has it. Of the article each character counts: lines that
    are there as a whole part the rest, which is held against what is left between them.
    """
    lines = [folded for line in after.split("\n") if (folded := _key(line))]
    verdicts: list[Verdict] = []
    pending: list[int] = []
    at, left = 0, _key(after)
    for piece in page.pieces:
        folded = _key(piece.text)
        if piece.kind != "article":
            verdicts.append(Verdict(piece, 0 if _stands(folded, lines) else len(folded), len(folded)))
            continue
        found = left.find(folded, at)
        verdicts.append(Verdict(piece, 0, len(folded)))
        if found < 0:
            pending.append(len(verdicts) - 1)
            continue
        _settle(verdicts, pending, left[at:found])
        pending, at = [], found + len(folded)
    _settle(verdicts, pending, left[at:])
    return verdicts


def _settle(verdicts: list[Verdict], pending: list[int], left: str) -> None:
    """How much of the lines that are not there as a whole is lost."""
    keys = [_key(verdicts[i].piece.text) for i in pending]
    gone = [False] * sum(map(len, keys))
    for op in Indel.opcodes("".join(keys), left):
        gone[op.src_start : op.src_end] = [op.tag != "equal"] * (op.src_end - op.src_start)
    at = 0
    for i, folded in zip(pending, keys, strict=True):
        verdicts[i] = verdicts[i]._replace(lost=sum(gone[at : at + len(folded)]))
        at += len(folded)


def _stands(folded: str, lines: list[str]) -> bool:
    return any(folded == line or (len(folded) > 6 and folded in line) for line in lines)


def _key(text: str) -> str:
    return key(simplify(text)).replace("_", "")


def count_lines(page: Page, result: Result) -> Counter[str]:
    """Counts of lines and characters of one page."""
    counts: Counter[str] = Counter()
    titles = {_key(page.facts.get("title", ""))} - {""}
    left = {_key(line) for line in result.text.split("\n")}
    for verdict in judge(page, result.text):
        kind = verdict.piece.kind
        if not verdict.of:
            continue
        if kind == "article":
            counts.update({"lines": 1, "lines lost": verdict.lost * 2 >= verdict.of, "chars": verdict.of})
            counts["chars lost"] += verdict.lost
        elif kind != "title":
            counts.update({f"of {kind}": 1, f"went {kind}": verdict.went})
        if not verdict.piece.is_span and kind != "title" and verdict.went:
            counts.update({"went": 1, "went right": kind != "article"})
            took = result.kinds.get(key(verdict.piece.text), "")
            counts.update({f"took {took}": 1, f"took right {took}": kind != "article"} if took else {})
    lost = [title for title in titles if not any(title in line for line in left)]
    counts.update({"titles": len(titles), "titles lost": len(lost)})
    return counts


def count_facts(page: Page, facts: dict[str, str]) -> Counter[str]:
    """Counts of facts of one page."""
    counts: Counter[str] = Counter()
    for name in ("published_at", "site_name", "title", "author", "editor", "section", "source_url"):
        stated, read = page.facts.get(name, ""), facts.get(name, "")
        if not stated:
            counts[f"made up {name}"] += bool(read)
            continue
        outcome = "missing" if not read else "right" if is_right(name, stated, read) else "wrong"
        counts.update({f"stated {name}": 1, f"{outcome} {name}": 1})
    return counts


def is_right(name: str, stated: str, read: str) -> bool:
    """Whether a fact is what the page states: signs, script and seconds don't count."""
    if name == "published_at":
        return read.startswith(stated)
    if name == "source_url":
        return stated == read
    if name in {"author", "editor"}:  # one of several
        return _key(stated) in [_key(part) for part in re.split(r"[、,，/ ]", read)] or _key(stated) == _key(read)
    return _key(stated) == _key(read)


def lost_lines(page: Page, result: Result) -> list[str]:
    """Furniture that stayed and lines of the article that went, for reading."""
    shown = []
    for verdict in judge(page, result.text):
        kind = verdict.piece.kind
        if kind == "article" and verdict.lost:
            shown.append(f"LOST {verdict.lost} of {verdict.of}: {verdict.piece.text[-120:]}")
        elif kind not in {"article", "title"} and verdict.of and not verdict.went:
            shown.append(f"{kind} stayed: {verdict.piece.text}")
    if _key(page.facts.get("title", "")) not in _key(result.text):
        how = result.kinds.get(key(page.facts["title"]), "")
        shown.append(f"title LOST ({how}): {page.facts['title']}")
    for name, stated in page.facts.items():
        read = result.facts.get(name, "")
        if not is_right(name, stated, read):
            shown.append(f"fact {name}: {stated!r} read as {read!r}")
    return shown


# Printing


def _share(counts: Counter[str], part: str, whole: str) -> str:
    return f"{100 * counts[part] / counts[whole]:.1f}" if counts[whole] else ""


def report(counts: dict[str, Counter[str]]) -> None:
    """All tables."""
    first = next(iter(counts.values()))
    kinds = sorted(name[3:] for name in first if name.startswith("of "))
    _table("recall, % of lines", counts, [(kind, first[f"of {kind}"], f"went {kind}", f"of {kind}") for kind in kinds])
    rows = [("precision of removed lines", first["went"], "went right", "went")]
    rows += [
        ("article lines lost", first["lines"], "lines lost", "lines"),
        ("titles lost", first["titles"], "titles lost", "titles"),
    ]
    rows += [("article characters lost", first["chars"], "chars lost", "chars")]
    _table("articles, %", counts, rows)
    took = sorted(name[5:] for name in first if name.startswith("took ") and not name.startswith("took right"))
    print("\nours, by rule".ljust(46) + "lines".rjust(8) + "precision".rjust(12))
    for rule in took:
        print(
            rule.ljust(45)
            + str(first[f"took {rule}"]).rjust(8)
            + _share(first, f"took right {rule}", f"took {rule}").rjust(12)
        )
    print(
        "\nours, metadata".ljust(21)
        + "".join(name.rjust(10) for name in ("stated", "right %", "wrong %", "missing %", "made up"))
    )
    for name in ("published_at", "site_name", "title", "author", "editor", "section", "source_url"):
        shares = [_share(first, f"{outcome} {name}", f"stated {name}") for outcome in ("right", "wrong", "missing")]
        row = [str(first[f"stated {name}"]), *shares, str(first[f"made up {name}"])]
        print(name.ljust(20) + "".join(cell.rjust(10) for cell in row))


def _table(title: str, counts: dict[str, Counter[str]], rows: list[tuple[str, int, str, str]]) -> None:
    print("\n" + title.ljust(32) + "n".rjust(8) + "".join(name.rjust(13) for name in counts))
    for label, n, part, whole in rows:
        cells = [
            (_share(c, part, whole) if "lost" not in label else _lost(c, part, whole)).rjust(13)
            for c in counts.values()
        ]
        print(label.ljust(32) + str(n).rjust(8) + "".join(cells))


def _lost(counts: Counter[str], part: str, whole: str) -> str:
    return f"{100 * counts[part] / max(1, counts[whole]):.3f} ({counts[part]})"


# Running


_STAMP = re.compile(r"\(更新时间戳: \d+\)\n?")
"""What a handful of the shared news items have of their page."""


def articles(path: Path, titles: list[str], rng: random.Random) -> list[Article]:
    """All articles of a folder or file; where there is no title, one of the list."""
    found = [Article(title or rng.choice(titles), _STAMP.sub("", text)) for title, text in _items(path)]
    return [a for a in found if len(a.text) >= 150 and "\n" not in a.title.strip()]


def _items(path: Path) -> Iterator[tuple[str, str]]:
    """Title, where there is one, and text."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.name.endswith((".jsonl", ".jsonl.gz")):
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            rows = (json.loads(row) for row in content.decode("utf-8").split("\n") if row)
            yield from ((row.get("title", ""), row["text"]) for row in rows)
        elif file.suffix == ".txt":
            yield from (("", text) for text in read_texts(file))


def undamaged(texts: Iterable[Article]) -> None:
    """Lines of clean text that go."""
    n = n_chars = 0
    for article in texts:
        n += len([line for line in article.text.split("\n") if line.strip()])
        n_chars += len(article.text)
        cleaned = clean(article.text, CleanConfig(script="keep", skip=SKIP))
        for edit in (
            e for stage in cleaned.stages for e in stage.edits if e.step in {"spam", "boilerplate", "repeats"}
        ):
            print(f"  {edit.step}/{edit.rule}: {edit.before.strip()[:160]!r}")
    print(f"undamaged: {n} lines, {n_chars} characters looked at; what went stands above")


def main(arguments: list[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("path", nargs="?", type=Path, default=TEXTS, help="clean text (default: that of the project)")
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--half", choices=("held", "open"), default="held")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=0, help="pages whose failures are shown")
    parser.add_argument("--kinds", default="", help="show failures of these kinds only, by comma")
    parser.add_argument("--undamaged", type=int, default=0, help="clean so many articles without any furniture")
    parser.add_argument("--ours", action="store_true", help="leave the other cleaners out")
    options = parser.parse_args(arguments)
    lines = tomllib.loads((HERE / "furniture_lines" / f"{options.half}.toml").read_text(encoding="utf-8"))
    rng = random.Random(options.seed)
    found = articles(options.path, lines["titles"], rng)
    if options.undamaged:
        undamaged(found if options.undamaged >= len(found) else rng.sample(found, options.undamaged))
        return
    if options.path != TEXTS:  # English pages are too few there, if any
        english = articles(TEXTS / "english.txt", lines["english_titles"], rng)
        found = [article for article in found if is_chinese(article.text[:2000])] + english * (len(found) // 40)
    run(rng, lines, found, options)


def run(rng: random.Random, lines: Lines, found: list[Article], options: argparse.Namespace) -> None:
    """Build pages, clean them, count and print."""
    tools = {"ours": ours} if options.ours else cleaners()
    counts: dict[str, Counter[str]] = {name: Counter() for name in tools}
    shown, wanted = 0, tuple(filter(None, options.kinds.split(",")))
    for _ in range(options.pages):
        article = rng.choice(found)
        if not is_chinese(article.title) and not is_chinese(article.text[:2000]):
            article = article._replace(title=rng.choice(lines["english_titles"]))
        page = build(rng, lines, article)
        for name, tool in tools.items():
            result = tool(page.text)
            counts[name].update(count_lines(page, result))
            if name == "ours":
                counts[name].update(count_facts(page, result.facts))
                failures = [
                    f for f in lost_lines(page, result) if not wanted or f.removeprefix("fact ").startswith(wanted)
                ]
                if failures and shown < options.examples:
                    shown += 1
                    print("\n".join(["---", *failures]))
    report(counts)


if __name__ == "__main__":
    main()
