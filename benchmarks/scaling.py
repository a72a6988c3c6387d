"""Does time grow as the work does? Against the size of a corpus, the number of workers, and in each step.

    python -m benchmarks.scaling [FOLDER] [--parts corpus,files,workers,growth] [--full] [--quick] [--out FOLDER]
                                 [--only NAME,…] [--draw FILE]

- corpus: runs of this project over mixed corpora (`benchmarks/corpora.py`), each twice as large as the last one, until
  a run has taken LONG seconds; with --full from 1 MB to 2 GB, which takes hours.
- files: the same over more and more tiny files.
- workers: the large corpus with one worker and with two.
- growth: every step, decoding, HTML, the log of edits and rows, each on everything of which there may be more in a
  document: longer lines, more lines, glosses, damaged places, edits, tags, deeper nesting; and on hostile input, one
  character or a few of them again and again. The input is doubled until it takes LEAST seconds, and once more: t(2n) /
  t(n) is 2 if time is linear. Everything past BOUND is listed, when it is so a second time.

Seconds are of processor time, of all processes; the exponent is the slope of a line through the logarithms of sizes and
seconds. Figures go to `scaling.json` in --out, with a plot (`scaling.svg`).
"""

import argparse
import functools
import gc
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.corpora import CORPORA, Corpus, Sources, make
from benchmarks.fidelity import TEXTS
from benchmarks.speed import CONTENDERS, OURS, OURS_2, ROOT, SIZES, measure
from schemas.config import CleanConfig
from schemas.dataset import clean_row, edits_row
from schemas.document import Cleaned, Context, Decoded, Edit, Origin, Outcome, RawDocument, Run, Stage
from tasks.clean import clean
from tasks.corpus import lines
from tasks.corpus.duplicates import signatures
from tasks.decode import decode
from tasks.html import is_html, read_page
from tasks.judge import judge_output
from tasks.steps import STEPS
from tasks.steps.edits import apply, revert
from tasks.steps.log import unpack

DOCUMENTS_PER_MEGABYTE = 360
"""Of the mixed corpus."""

LONG = 60.0
"""Seconds: a larger corpus isn't measured after a run that took so long, unless --full asks for it."""

MEGABYTES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)

FILES = (500, 1_000, 2_000, 4_000, 8_000, 16_000)

LEAST = 0.05
"""Seconds that make a time worth a ratio."""

MOST = 400_000
"""Characters, or units, of an input: what takes less than LEAST at that size is fast enough, however it grows."""

BOUND = 2.6
"""Of t(2n) / t(n): 2 is linear; sorting, larger tables and a cold cache make it a little more."""

BEGIN = 1_000

_SURE = 0.2
"""Seconds in which what disturbs a measurement for a moment doesn't count: it is not repeated."""

CONFIG = CleanConfig()

RUN = Run("0" * 32, datetime(2026, 11, 22, tzinfo=UTC), CONFIG, "0", "0")


# What there may be more of in a document

SENTENCE = "市政府昨日召开新闻发布会，通报今年前三季度经济运行情况，发言人回答了记者的提问。"
"""A made-up one, without damage."""

_TRADITIONAL = "市政府昨日召開新聞發佈會，通報今年前三季度經濟運行情況，發言人回答了記者的提問。"

_GLOSSED = "市政府昨日召開(kāi)新聞(wén)發(fā)佈會(huì)，通報(bào)今年前三季度經(jīng)濟(jì)運(yùn)行情況。"

_SHIFTED = "區(qū)委提出，發(fā)展?jié)摿Γ苿右欢a(chǎn)業(yè)融合，駛?cè)肟燔嚨?。"
"""As DAMAGE has it of seed 003 and 002 (docs of `tasks.damage.mangler`)."""

_TRIMMED = "提供保障!笆サ剀嚩肌睉(zhàn)略實(shí)施以來(lái)，發(fā)展很快。"

_AS_GBK = SENTENCE.encode().decode("gb18030", "replace")
_AS_LATIN = SENTENCE.encode("gbk").decode("latin-1")
_AS_WESTERN = SENTENCE.encode().decode("latin-1")


def _repeated(piece: str) -> Callable[[int], str]:
    return lambda n: (piece * (n // len(piece) + 1))[:n]


def _joined(piece: str, between: str) -> Callable[[int], str]:
    return _repeated(piece + between)


def _distinct_lines(n: int) -> str:
    """Short lines of which no two are the same."""
    made = (f"第{number}条：{SENTENCE[number % 20 : number % 20 + 15]}" for number in range(n // 20 + 1))
    return "\n".join(made)[:n]


def _noise(alphabet: str) -> Callable[[int], str]:
    def make_noise(n: int) -> str:
        return "".join(random.Random(n).choices(alphabet, k=n))

    return make_noise


GROWING: dict[str, Callable[[int], str]] = {
    "one long line": _repeated(SENTENCE),
    "one line without a sign": _repeated("市政府昨日召开新闻发布会"),
    "lines": _joined(SENTENCE, "\n"),
    "paragraphs": _joined(SENTENCE * 5, "\n\n"),
    "distinct short lines": _distinct_lines,
    "Traditional line": _repeated(_TRADITIONAL),
    "Traditional lines": _joined(_TRADITIONAL, "\n"),
    "glosses on one line": _repeated(_GLOSSED),
    "glosses": _joined(_GLOSSED, "\n"),
    "shifts on one line": _repeated(_SHIFTED),
    "shifts": _joined(_SHIFTED, "\n"),
    "trims on one line": _repeated(_TRIMMED),
    "trims": _joined(_TRIMMED, "\n"),
    "UTF-8 as GBK on one line": _repeated(_AS_GBK),
    "UTF-8 as GBK": _joined(_AS_GBK, "\n"),
    "GBK as Latin-1 on one line": _repeated(_AS_LATIN),
    "GBK as Latin-1": _joined(_AS_LATIN, "\n"),
    "UTF-8 as Latin-1 on one line": _repeated(_AS_WESTERN),
    "UTF-8 as Latin-1": _joined(_AS_WESTERN, "\n"),
    "commas put in": _repeated("市政府,，昨日,。召开,、新闻"),
    "pictures put in": _repeated("市政📫府昨日🆗召开"),
    "zero-width characters": _repeated("市\u200b政\u200b府"),
    "half-width signs": _repeated("市政府,昨日召开:新闻(发布会)。"),
    "spam lines": _joined("办理毕业证-真人娱乐-老虎机-代开发票", "\n"),
    "spam on one line": _repeated("真人娱乐 老虎机 代开发票|"),
    "furniture": _joined("首页 > 国内 > 正文\n责任编辑：张三\n分享到：\n上一篇：没有了\n版权声明：本站", "\n"),
    "dates": _joined("2023-06-24 19:04:19 来源：某网", "\n"),
    "a title again and again": _joined("市政府昨日召开新闻发布会", "\n"),
    "English": _repeated("The quick brown fox, said the company’s chief, jumps over the lazy dog. "),
    "escapes &#": _repeated("&#20013;&#22269;"),
    "escapes &amp;#": _repeated("&amp;#20013;"),
    "escapes \\u": _repeated("\\u4e2d\\u56fd"),
    "escapes %": _repeated("%E4%B8%AD"),
    "random ideographs": _noise("".join(map(chr, range(0x4E00, 0x9FA5)))),
    "random ASCII": _noise("".join(map(chr, range(0x20, 0x7F)))),
    "random mojibake": _noise("鐨勬槸涓€锛氬湪浜嗗拰鏈夊"),
    "random Latin": _noise("ÖÐ¹úÈËÃñµÄÔÚÊÇäåæçèéêë"),
}

HOSTILE = (
    *("中", "著", "產", "a", "Z", "1", " ", "\t", "\u3000", "\n", "\r", "\x00", "\u00a0", "\u200b", "\ufeff", "\u202a"),
    *("(", ")", "（", "[", "【", "<", ">", "《", "“", "‘", '"', "'", "&", "%", "\\", "#", "/", "|", "_", "-", "—", "·"),
    *(",", "，", ".", "。", ":", "：", ";", "!", "?", "？", "…", "~", "=", "*", "ā", "é", "ɡ", "ǚ", "\ufffd", "\ue5e5"),
    *("锟", "烫", "屯", "鐨", "Ã", "ä", "Ö", "¤", "¡", "é\u0301", "📫", "🀄", "Ａ", "０"),
    *(
        "()",
        ")(",
        "（）",
        "[]",
        "<>",
        "&#",
        "&amp;",
        "&lt;",
        "(a",
        "(hàn)",
        "中(",
        "中(zh",
        "中(zhōng)",
        "中?",
        "?中",
        "!笆",
    ),
    *(
        "中 ",
        "中,",
        "中,。",
        " ,",
        ", ",
        "、,",
        "中\n",
        " \n",
        "\n ",
        "1.",
        "1-",
        "://",
        "http://a ",
        "www.a",
        "a@",
        "© ",
    ),
    *(
        "锟斤拷",
        "Ã¤",
        "ä¸",
        "鐨勬",
        "涓€",
        "ÖÐ",
        "\\u",
        "%E",
        "&#x",
        "<a ",
        "<!--",
        "< ",
        "中<",
        "来源:",
        "责任编辑:",
        "> ",
        "T|T",
    ),
    *(
        "“”",
        "“中",
        "”“",
        "。”",
        "中\ufffd",
        "\ufffd(",
        "中\ue5e5",
        "\ue5e5(zh)",
        "a中",
        "中a",
        "aā",
        "(zhōng",
        "?jié)",
        "年",
        "2023年",
    ),
)

TEXTS_OF: dict[str, Callable[[int], str]] = GROWING | {repr(piece): _repeated(piece) for piece in HOSTILE}


def _bytes(text: Callable[[int], str], encoding: str) -> Callable[[int], bytes]:
    return lambda n: text(n).encode(encoding, "replace")


def _random_bytes(n: int) -> bytes:
    return random.Random(n).randbytes(n)


def _with_bad_bytes(encoding: str) -> Callable[[int], bytes]:
    """A byte that fits nowhere behind every sentence."""
    piece = SENTENCE.encode(encoding) + b"\xff"
    return lambda n: piece * (n // len(piece) + 1)


def _bytes_again(piece: bytes) -> Callable[[int], bytes]:
    return lambda n: piece * (n // len(piece))


HOSTILE_BYTES = (
    *(
        b"\x00",
        b"\x80",
        b"\x81",
        b"\xa1",
        b"\xff",
        b"\xe4",
        b"\xe4\xb8",
        b"\xc3",
        b"\xf0\x9f",
        b"\x1b",
        b"~{",
        b"\xff\xfe",
    ),
    *(b"\x810", b"\xa1A", b"a\x81", b"+", b"\n\x81", b"~{VPND~}", b"\x1b$)A\x0eVPND\x0f"),
)

BYTES: dict[str, Callable[[int], bytes]] = {
    **{
        f"{name}, {encoding}": _bytes(GROWING[name], encoding)
        for name in ("one long line", "lines")
        for encoding in ("utf-8", "gb18030", "utf-16")
    },
    "Traditional lines, big5": _bytes(GROWING["Traditional lines"], "big5"),
    "bad bytes, utf-8": _with_bad_bytes("utf-8"),
    "bad bytes, gb18030": _with_bad_bytes("gb18030"),
    "encodings by turns": _bytes_again(SENTENCE.encode() + b"\n" + SENTENCE.encode("gb18030") + b"\n"),
    "random bytes": _random_bytes,
    "random high bytes": lambda n: bytes(byte | 0x80 for byte in _random_bytes(n)),
    "ASCII, then one": lambda n: b"a" * n + "中".encode("gb18030"),
    **{repr(piece): _bytes_again(piece) for piece in HOSTILE_BYTES},
}


def _body(piece: str, end: str = "") -> Callable[[int], str]:
    """A page whose body is one piece again and again, and perhaps as often what closes it."""
    head = "<html><head><title>一则消息</title></head><body>"
    width = len(piece) + len(end)
    return lambda n: f"{head}{piece * (n // width)}{SENTENCE}{end * (n // width)}"


def _head(piece: str) -> Callable[[int], str]:
    return lambda n: f"<html><head>{piece * (n // len(piece))}</head><body><p>{SENTENCE}</p></body></html>"


def _feed(item: str) -> Callable[[int], str]:
    return lambda n: f'<?xml version="1.0"?><rss><channel>{item * (n // len(item))}</channel></rss>'


def _numbered(piece: str) -> Callable[[int], str]:
    """A page with pieces of which no two are the same: `#` is their number."""
    return lambda n: "<html><body>" + "".join(piece.replace("#", str(i)) for i in range(n // (len(piece) + 5)))


NESTED = ("div", "b", "span", "font", "p", "a", "table", "form", "select", "ul><li", "table><tr><td")

AGAIN = (
    *(
        "<",
        "<a ",
        "<a href=",
        '<a href="',
        "<!--",
        "<!",
        "</",
        "</p>",
        "&",
        "&#",
        "&amp",
        "<p",
        "<p>",
        "<br>",
        "<b><p>",
    ),
    *(
        "<script>",
        "<style>",
        "<![CDATA[",
        "<title>",
        "<h1>",
        "<table>",
        "<td>",
        "<svg>",
        "]]>",
        "<option>",
        " ",
        "\n",
        "中",
    ),
)

PAGES: dict[str, Callable[[int], str]] = {
    **{f"nested <{tag}>": _body(f"<{tag}>", f"</{tag.rpartition('><')[2]}>") for tag in NESTED},
    **{f"nested, unclosed <{tag}>": _body(f"<{tag}>中") for tag in NESTED},
    "paragraphs": _body(f"<p>{SENTENCE}</p>"),
    "one long paragraph": _body(SENTENCE),
    "links": _numbered('<li><a href="/#.html">第#条消息</a></li>'),
    "breaks": _body("市政府<br>"),
    "rows of a table": _body("<tr><td>甲</td><td>乙</td></tr>"),
    "hidden spans": _body('<span style="display:none">隐</span>市'),
    "styles": _head("<style>.c{display:none}</style>"),
    "one long style": lambda n: _head(f"<style>{'.c{display:none}' * (n // 16)}</style>")(n),
    "classes": _numbered('<style>.c#{display:none}</style><p class="c#">市政府</p>'),
    "attributes": lambda n: _body(f"<p {' '.join(f'a{i}=1' for i in range(n // 9))}>")(n),
    "one long attribute": lambda n: _body(f'<p style="{"color:red;" * (n // 10)}">')(n),
    "metas": _head('<meta name="author" content="某人">'),
    "titles": _head("<title>一则消息</title>"),
    "JSON-LD": _head('<script type="application/ld+json">{"author":"某人"}</script>'),
    "deep JSON-LD": lambda n: _head(f'<script type="application/ld+json">{"[" * (n // 2)}{"]" * (n // 2)}</script>')(n),
    "scripts": _body("<script>var a='<p>';</script>"),
    "comments": _body("<!-- 注 -->"),
    "entities": _body("&#20013;&nbsp;&lt;"),
    "a feed": _feed(f"<item><title>一则</title><description>&lt;p&gt;{SENTENCE}&lt;/p&gt;</description></item>"),
    "CDATA": _feed(f"<item><description><![CDATA[<p>{SENTENCE}</p>]]></description></item>"),
    **{f"again {piece!r}": _body(piece) for piece in AGAIN},
}


# What is done with them

Call = Callable[[], object]

_ORIGIN = Origin("file:///a.txt", "", "0" * 64, 0)


class Probe(NamedTuple):
    """Something whose time may grow."""

    what: str
    """The step, or the function."""
    name: str
    """Of the input."""
    make: Callable[[int], Call]
    """Makes an input of a size, and gives what is to be timed."""


def _on_text(function: Callable[[str], object], text: Callable[[int], str]) -> Callable[[int], Call]:
    turns = count()

    def prepare(n: int) -> Call:
        # No two calls have the same text: what is remembered by text is not what is measured.
        return functools.partial(function, f"{next(turns) % 90 + 10}号\n{text(n)}")

    return prepare


def _step(name: str) -> Callable[[str], object]:
    context = Context(CONFIG)
    return lambda text: list(STEPS[name](text, context))


def _decode(given: Callable[[int], bytes]) -> Callable[[int], Call]:
    return lambda n: functools.partial(decode, RawDocument("file:///a.txt", given(n)))


def _page(page: Callable[[int], str]) -> Callable[[int], Call]:
    return lambda n: functools.partial(_read_page, page(n))


def _read_page(text: str) -> object:
    return is_html(text, "a.html"), read_page(text)


def _edits(n: int) -> tuple[str, tuple[Edit, ...], tuple[Edit, ...]]:
    """A text, edits that remove signs, and edits that replace characters one by one."""
    text = _repeated("產業,著發展。")(7 * n)
    removals = tuple(Edit("symbols", "injected", i, ",", "") for i in range(2, len(text), 7))
    replaced = tuple(Edit("script", "phrase" if i % 3 else "character", i, "產", "产") for i in range(0, len(text), 7))
    return text, removals, replaced


def _log(which: int) -> Callable[[int], Call]:
    def prepare(n: int) -> Call:
        text, *edits = _edits(n)
        stage = Stage("script", edits[which])
        decoded = Decoded(text, "utf-8", 1.0, "strict")

        def do() -> object:
            after = apply(text, stage.edits)
            assert revert(after, stage.edits) == text
            outcome = Outcome(_ORIGIN, decoded, Cleaned(after, (stage,)))
            return unpack(after, edits_row(outcome)["edits"])

        return do

    return prepare


def _rows(text: Callable[[int], str]) -> Callable[[int], Call]:
    def prepare(n: int) -> Call:
        raw = RawDocument("file:///a.txt", text(n).encode())
        decoded = decode(raw)
        cleaned = clean(decoded.text, CONFIG)
        outcome = Outcome(_ORIGIN, decoded, cleaned)

        def do() -> object:
            row = clean_row(outcome, RUN)
            return edits_row(outcome), signatures([row]), list(lines.features([outcome])), judge_output(cleaned, CONFIG)

        return do

    return prepare


_ROWS_OF = (
    "one long line",
    "lines",
    "distinct short lines",
    "Traditional lines",
    "glosses",
    "commas put in",
    "English",
)


def probes() -> Iterator[Probe]:
    """All of them."""
    for name in STEPS:
        yield from (Probe(name, of, _on_text(_step(name), text)) for of, text in TEXTS_OF.items())
    for of, text in TEXTS_OF.items():
        yield Probe("clean", of, _on_text(lambda given: clean(given, CONFIG), text))
    yield from (Probe("decode", of, _decode(given)) for of, given in BYTES.items())
    yield from (Probe("HTML", of, _page(page)) for of, page in PAGES.items())
    yield from (Probe("log", of, _log(which)) for which, of in enumerate(("removals", "replacements")))
    yield from (Probe("rows", of, _rows(GROWING[of])) for of in _ROWS_OF)


@dataclass(frozen=True, slots=True)
class Growth:
    """How the time of a probe grows."""

    what: str
    name: str
    n: int
    seconds: float
    """At n."""
    ratio: float
    """t(factor n) / t(n)."""


def seconds_of(prepare: Callable[[int], Call], n: int, times: int = 1) -> float:
    """Processor time of one call: the least of several, of which each has an input of its own."""
    least = math.inf
    for _ in range(times):
        call = prepare(n)
        before = time.thread_time()
        call()
        least = min(least, time.thread_time() - before)
    return least


def grow(
    probe: Probe, factor: int = 2, *, sizes: tuple[int, int] = (BEGIN, MOST), least: float = LEAST, bound: float = BOUND
) -> Growth | None:
    """How its time grows where there is enough of it to tell; None if there never is.

    Args:
        probe: What is measured.
        factor: From the size at which it takes `least` seconds to the one it is compared with.
        sizes: The smallest and the largest at which these are looked for.
        least: Seconds.
        bound: A ratio beyond it is measured twice more.
    """
    prepare = probe.make
    n, most = sizes
    seconds_of(prepare, n // 4)  # tables and models are loaded
    while (seconds := seconds_of(prepare, n)) < least:
        n *= 2
        if n > most:
            return None
    if seconds < _SURE:
        seconds = min(seconds, seconds_of(prepare, n))
    ratio = seconds_of(prepare, factor * n) / seconds
    for _ in range(2):
        if ratio <= bound:
            break
        seconds = min(seconds, seconds_of(prepare, n, 2))
        ratio = min(ratio, seconds_of(prepare, factor * n) / seconds)
    return Growth(probe.what, probe.name, n, seconds, ratio)


def hunt(only: Iterable[str] = ()) -> list[Growth]:
    """Measure all probes, or those of some functions, and print what grows too fast."""
    wanted = set(only)
    found: list[Growth] = []
    n_probes = 0
    gc.disable()
    for probe in probes():
        if wanted and probe.what not in wanted and probe.name not in wanted:
            continue
        n_probes += 1
        growth = grow(probe)
        if growth is None:
            continue
        found.append(growth)
        if growth.ratio > BOUND:
            _print_growth(growth, "  FASTER THAN LINEAR")
    gc.enable()
    slow = sorted(found, key=lambda one: one.seconds / one.n, reverse=True)[:10]
    print(f"  {n_probes} probes, {len(found)} that took {LEAST} s at sizes up to {MOST:,}; the slowest for their size:")
    for growth in slow:
        _print_growth(growth)
    return found


def _print_growth(growth: Growth, remark: str = "") -> None:
    figures = f"{growth.n:>9,}{growth.seconds:>9.3f} s{1e6 * growth.seconds / growth.n:>10.2f} µs each"
    print(f"  {growth.what:14}{growth.name:34}{figures}{growth.ratio:>7.2f}{remark}", flush=True)


# Runs


class Point(NamedTuple):
    """A run over a corpus."""

    megabytes: float
    documents: int
    seconds: float
    wall: float
    peak: int
    """Bytes, of the process that had most."""


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the line through the logarithms; of fewer than two sizes it is not a number."""
    if len({x for x, _ in points}) < 2:
        return math.nan
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def runs(name: str, sizes: Iterable[int], sources: Sources, most_seconds: float) -> list[Point]:
    """Runs over corpora of so many documents, until one has taken long."""
    points: list[Point] = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make("warm", CORPORA["damaged"](sources, 1), folder)
            corpus = make(name, CORPORA[name](sources, n), folder)
            told = measure(Path(sys.executable), CONTENDERS[OURS], corpus, folder)
        if isinstance(told, str):
            print(f"  {n:,} documents: {told}")
            break
        points.append(_point(corpus, told))
        _print_point(points[-1])
        if points[-1].seconds > most_seconds:
            break
    return points


def _point(corpus: Corpus, told: Mapping[str, Any]) -> Point:
    return Point(corpus.megabytes, corpus.n_documents, told["seconds"], told["wall"], told["peak"])


def _print_point(point: Point) -> None:
    what = f"{point.megabytes:>9.2f} MB{point.documents:>9,} documents"
    took = f"{point.seconds:>9.2f} s{point.megabytes / point.seconds:>8.2f} MB/s{point.peak / 1e6:>7,.0f} MB memory"
    print(f"  {what}{took}", flush=True)


def workers(sources: Sources, n: int, rounds: int) -> dict[str, float]:
    """Seconds by the clock of one worker and of two, by turns: medians."""
    walls: dict[str, list[float]] = {OURS: [], OURS_2: []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make("warm", CORPORA["damaged"](sources, 1), folder)
        corpus = make("large", CORPORA["large"](sources, n), folder)
        for round_ in range(rounds):
            for name in (OURS, OURS_2) if round_ % 2 == 0 else (OURS_2, OURS):
                told = measure(Path(sys.executable), CONTENDERS[name], corpus, folder)
                if isinstance(told, str):
                    print(f"  {name}: {told}")
                    return {}
                walls[name].append(told["wall"])
    return {name: statistics.median(of) for name, of in walls.items()}


# Telling


def summary(told: Mapping[str, Any]) -> Iterator[str]:
    """What follows from the figures."""
    for part, unit in (("corpus", "megabytes"), ("files", "documents")):
        points = told.get(part, [])
        # What a run takes whatever its size bends the line at its beginning: it is fitted on the larger half.
        late = points[-max(2, (len(points) + 1) // 2) :]
        slope = exponent([(point[unit], point["seconds"]) for point in late])
        if not math.isnan(slope):
            yield f"{part}: time grows as n^{slope:.2f} ({late[0][unit]:,.0f} to {late[-1][unit]:,.0f} {unit})"
        if part == "corpus" and late:
            hours = late[-1]["seconds"] / late[-1][unit] * 2_000 / 3600
            yield f"corpus: 2 GB would take {hours:.1f} h of processor time at the speed of the largest (not measured)"
    if by_workers := told.get("workers"):
        yield f"workers: two are {by_workers[OURS] / by_workers[OURS_2]:.2f} times as fast as one"
    if "growth" in told:
        fast = [one for one in told["growth"] if one["ratio"] > BOUND]
        yield f"growth: {len(fast)} of {len(told['growth'])} probes that take time are past {BOUND}"


def draw(told: Mapping[str, Any], path: Path) -> None:
    """Plot time and memory by size, and the ratios of all probes."""
    import matplotlib as mpl  # noqa: PLC0415  the extra `bench` brings it

    mpl.use("svg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    mpl.rcParams |= {"svg.hashsalt": "qingyuan", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for part, colour in (("corpus", "#c0392b"), ("files", "#2e86c1")):
        points = told.get(part) or []
        if not points:
            continue
        sizes = [point["megabytes"] for point in points]
        label = "mixed corpus" if part == "corpus" else "tiny files"
        left.plot(sizes, [point["seconds"] for point in points], "o-", color=colour, label=label)
        middle.plot(sizes, [point["peak"] / 1e6 for point in points], "o-", color=colour, label=label)
    for axes, title, unit in ((left, "Time", "s of processor time"), (middle, "Memory", "MB, largest process")):
        axes.set(title=f"{title} against size", xlabel="MB of documents", ylabel=unit)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.set_xscale("log")
            axes.legend(fontsize=8)
    if left.lines:
        left.set_yscale("log")
        middle.set_ylim(bottom=0)
    ratios = [min(one["ratio"], 4.0) for one in told.get("growth", [])]
    right.hist(ratios, bins=[1 + i / 10 for i in range(31)], color="#7f8c8d")
    right.axvline(2, color="#1e8449", label="linear")
    right.axvline(4, color="#c0392b", linestyle=":", label="quadratic")
    right.set(title="Twice the input, in each step", xlabel="t(2n) / t(n)", ylabel="probes")
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


# Together

PARTS = ("corpus", "files", "workers", "growth")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=TEXTS, metavar="FOLDER")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="a,b", help=", ".join(PARTS))
    parser.add_argument("--only", default="", metavar="NAME,…", help="probes of these functions, or on these inputs")
    parser.add_argument("--rounds", type=int, default=3, help="for workers")
    parser.add_argument("--full", action="store_true", help="corpora up to 2 GB")
    parser.add_argument("--quick", action="store_true", help="small corpora")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: docs/images; build for --quick")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw the figures of a file, and measure nothing")
    given = parser.parse_args(arguments)
    given.parts = given.parts.split(",")
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    given.out = given.out or ROOT / ("build" if given.quick else "docs/images")
    return given


def measure_all(given: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts that are asked for."""
    told: dict[str, Any] = {"measured": time.strftime("%Y-%m-%d")}
    sources = Sources(given.folder)
    long = 1.0 if given.quick else math.inf if given.full else LONG
    if "corpus" in given.parts:
        print("corpus", flush=True)
        sizes = (DOCUMENTS_PER_MEGABYTE * m // (8 if given.quick else 1) for m in MEGABYTES)
        told["corpus"] = [point._asdict() for point in runs("mixed", sizes, sources, long)]
    if "files" in given.parts:
        print("files", flush=True)
        told["files"] = [point._asdict() for point in runs("tiny", FILES[:2] if given.quick else FILES, sources, long)]
    if "workers" in given.parts:
        print("workers", flush=True)
        n = SIZES["large"] // (20 if given.quick else 1)
        told["workers"] = workers(sources, n, 1 if given.quick else given.rounds)
    if "growth" in given.parts:
        print("growth", flush=True)
        only = [name for name in given.only.split(",") if name]
        found = hunt(only or (["decode"] if given.quick else ()))
        told["growth"] = [asdict(one) for one in found]
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the docstring above says."""
    given = _arguments(arguments)
    told = json.loads(given.draw.read_text(encoding="utf-8")) if given.draw else measure_all(given)
    for line in summary(told):
        print(line)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.draw:
        (given.out / "scaling.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    draw(told, given.out / "scaling.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
