"""How much of each kind of damage is repaired, and what it costs undamaged text.

    python benchmarks/fidelity.py [FOLDER-or-FILE] [--documents N] [--kinds a,b] [--seed S] [--examples N]
                                  [--floors FILE] [--lower-floors]

Clean documents of 300 to 2,000 characters are damaged by each model of `tasks/damage/`, then cleaned by this project,
by ftfy (with settings that leave Chinese signs alone), and by what one would write by hand in thirty lines. Without an
argument the documents are those of `benchmarks/texts`. FOLDER holds `.txt` files (documents between blank lines, or
as many lines as fit) and `.jsonl` or `.jsonl.gz` files (a field `text`); documents are drawn with a fixed seed. Where
it has no text in a script that a kind needs, the ones of `benchmarks/texts` are used.

Printed per kind, and for each cleaner:

- exact: documents restored to the last character, in percent.
- errors: insertions, deletions and replacements that lead to the clean text, in percent of its characters.
- fixed, left, worse: places that were damaged, in percent. A place is a stretch of shift, a line in a wrong codec,
  a gloss, a sign. Worse: more errors than before, or characters that were invented. Left: all else, so a line in
  which one lost character is marked is left, too.
- harm: errors in places that were not damaged, per million characters.

Script counts only where the damage left it alone: glosses come with Traditional text, whose way back is ambiguous.
Width of signs counts but for signs made half-width beside ASCII, where both are right.

A run over the texts of the project is held against the floors in `benchmarks/floors.toml`, which are kept per number of
documents: it exits with 1 if a figure is below its floor. Floors rise with --raise-floors, and fall with --lower-floors
and in no other way.
"""

import argparse
import gzip
import json
import random
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import chardet
import ftfy
from opencc import OpenCC
from rapidfuzz.distance import Levenshtein

from schemas.config import CleanConfig
from tasks import clean
from tasks.damage import pages as damage
from tasks.damage.mangler import Broken, Decoder, Undefined
from tasks.damage.misreadings import Misreading
from tasks.damage.pages import Damaged, Model, Span, wrong_codec
from tasks.language import fold_width
from tasks.scripts import simplified_only, simplify, traditional_only, traditionalize

HERE = Path(__file__).parent
TEXTS = HERE / "texts"
FLOORS = HERE / "floors.toml"

ALLOWANCES = {"exact": 1.0, "right": 0.1, "fixed": 1.0, "worse": 0.5, "harm": 20.0}
"""Floors stand so much under what was measured. A run is the same each time, so this is less than one document, and
for other versions of the libraries."""

CEILINGS = ("worse", "harm")
"""Figures that are better if they are lower: their floor is a ceiling."""


# Kinds of damage

Fold = Callable[[str], str]
"""Makes equal what the damage left no way to tell apart. Keeps the length."""


def same(text: str) -> str:
    """Everything counts."""
    return text


def any_script(text: str) -> str:
    """Script does not count: one-to-many characters can't be told from the text that clone sites leave."""
    return simplify(traditionalize(simplify(text))).replace("著", "着")


def any_width_beside_ascii(text: str) -> str:
    """Signs beside ASCII count as half-width: authors write both there."""
    return re.sub(
        "(?<=[!-~])[，：；！？（）]|[，：；！？（）](?=[!-~])", lambda match: chr(ord(match[0]) - 0xFEE0), text
    )


class Kind(NamedTuple):
    """A model, and how its repair is judged."""

    model: Model
    fold: Fold = same
    texts: str = "hans"
    """Which documents: hans, hant or english."""
    script: str = "hans"
    """Configuration of the cleaning."""


LOSSY = Decoder(Broken.MARK, Undefined.MARK, "\ufffd")
_HALF_AND_COMMAS = damage.mixture(damage.put_commas, damage.narrow_signs)

KINDS: dict[str, Kind] = {
    "glosses, bracket swallowed": Kind(damage.gloss(damage.SWALLOWED), any_script),
    "glosses, U+FFFD": Kind(damage.gloss(damage.MARKED), any_script),
    "glosses, dropped": Kind(damage.gloss(damage.DROPPED), any_script),
    "glosses, kept": Kind(damage.gloss(damage.KEPT), any_script),
    "shift, pairs kept": Kind(damage.shift(damage.KEPT), any_script),
    "shift, pairs kept, U+FFFD": Kind(damage.shift(Decoder(Broken.MARK, Undefined.PRIVATE, "\ufffd")), any_script),
    "shift, pairs lost, bracket swallowed": Kind(damage.shift(damage.SWALLOWED), any_script),
    "shift, pairs lost, U+FFFD": Kind(damage.shift(damage.MARKED), any_script),
    "shift, pairs lost, dropped": Kind(damage.shift(damage.DROPPED), any_script),
    "shift, pairs lost, cut in sentences": Kind(damage.shift(damage.SWALLOWED, damage.cut_sentences), any_script),
    "trim, swallowed": Kind(damage.trim_signs(damage.SWALLOWED), any_script),
    "trim, dropped": Kind(damage.trim_signs(damage.DROPPED), any_script),
    "trim, pairs kept": Kind(damage.trim_signs(damage.KEPT), any_script),
    "UTF-8 as GB18030": Kind(wrong_codec(("utf-8", "gb18030"), reader=Decoder(Broken.MARK, Undefined.PRIVATE, "?"))),
    "UTF-8 as GB18030, odd byte dropped": Kind(
        wrong_codec(("utf-8", "gb18030"), reader=Decoder(Broken.DROP, Undefined.PRIVATE))
    ),
    "UTF-8 as GBK, pairs marked": Kind(wrong_codec(("utf-8", "gbk"), reader=LOSSY)),
    "UTF-8 as GB18030, one line in three": Kind(wrong_codec(("utf-8", "gb18030"), share=1 / 3)),
    "UTF-8 as GB18030, twice": Kind(wrong_codec(("utf-8", "gb18030"), ("utf-8", "gb18030"))),
    "UTF-8 as Windows-1252": Kind(wrong_codec(("utf-8", "windows-1252"))),
    "GBK as Latin-1": Kind(wrong_codec(("gbk", "latin-1"))),
    "GBK as Windows-1252": Kind(wrong_codec(("gbk", "windows-1252"))),
    "Big5 as Latin-1": Kind(wrong_codec(("big5", "latin-1")), any_script),
    "Big5 as Windows-1252": Kind(wrong_codec(("big5", "windows-1252")), any_script),
    "GBK signs as Latin-1 in English": Kind(damage.wrong_signs(Misreading("gbk", "latin-1")), texts="english"),
    "GBK signs as Windows-1252 in English": Kind(
        damage.wrong_signs(Misreading("gbk", "windows-1252")), texts="english"
    ),
    "Big5 signs as Windows-1252 in English": Kind(
        damage.wrong_signs(Misreading("big5", "windows-1252")), texts="english"
    ),
    "commas put in": Kind(damage.put_commas),
    "pictures put in": Kind(damage.put_pictures),
    "invisible signs put in": Kind(damage.put_invisible),
    "signs made half-width": Kind(damage.narrow_signs, any_width_beside_ascii),
    "Latin made full-width": Kind(damage.widen_latin),
    **{f"escapes, {form}": Kind(damage.escaped(form)) for form in damage.ESCAPES},
    "shift, commas, pictures": Kind(
        damage.mixture(damage.shift(damage.SWALLOWED), damage.put_commas, damage.put_pictures), any_script
    ),
    "glosses, half-width, commas": Kind(
        damage.mixture(damage.gloss(damage.SWALLOWED), _HALF_AND_COMMAS),
        lambda text: any_width_beside_ascii(any_script(text)),
    ),
    "glosses, all as UTF-8 as GB18030": Kind(
        damage.mixture(damage.gloss(damage.DROPPED), wrong_codec(("utf-8", "gb18030"))), any_script
    ),
    "pinyin behind every character": Kind(damage.annotate),
    "glosses by hand": Kind(damage.gloss_by_hand),
    "undamaged, Simplified": Kind(damage.undamaged),
    "undamaged, Traditional": Kind(damage.undamaged, texts="hant", script="keep"),
    "undamaged, English": Kind(damage.undamaged, texts="english"),
}

UNDAMAGED_FACTOR = 5
"""Kinds of undamaged text take so many times the documents: they cost little, and edits in them are rare."""


# Cleaners


class Result(NamedTuple):
    """What a cleaner made of a text."""

    text: str
    edits: Counter[str]
    """Edits by step and rule; empty where the cleaner doesn't say."""


def ours(text: str, script: str) -> Result:
    """This project."""
    cleaned = clean.clean(text, CleanConfig(script=script))  # type: ignore[arg-type]
    return Result(cleaned.text, Counter(f"{e.step}/{e.rule}" for stage in cleaned.stages for e in stage.edits))


FTFY = ftfy.TextFixerConfig(
    fix_character_width=False, uncurl_quotes=False, fix_latin_ligatures=False, normalization=None
)
"""ftfy's defaults turn `，（）“”` into ASCII."""


def ftfy_alone(text: str, _script: str) -> Result:
    """Ftfy with settings that do not hurt Chinese."""
    return Result(ftfy.fix_text(text, FTFY), Counter())


_BRACKET_PINYIN = re.compile("[(（] ?[a-zɡāáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜü]{1,6} ?[)）]")
_T2S = OpenCC("t2s")


def by_hand(text: str, script: str) -> Result:
    """What one writes in an afternoon: guess the encoding, ftfy, regular expressions, t2s."""
    text = "\n".join(map(_redecode, text.split("\n")))
    text = ftfy.fix_text(text, FTFY)
    text = _BRACKET_PINYIN.sub("", text)
    text = re.sub("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0f\ufeff\U0001f000-\U0001faff]", "", text)
    text = re.sub("[,，](?=[,，、。；：！？])", "", text)
    for half, full in zip(",:;!?()", "，：；！？（）", strict=True):
        text = re.sub(f"(?<=[\u4e00-\u9fff]){re.escape(half)}|{re.escape(half)}(?=[\u4e00-\u9fff])", full, text)
    return Result(_T2S.convert(text) if script == "hans" else text, Counter())


def _redecode(line: str) -> str:
    """A line whose characters are bytes, or UTF-8 read as GB18030, decoded again."""
    try:
        return line.encode("gb18030").decode("utf-8")
    except UnicodeError:
        pass
    try:
        data = line.encode("cp1252")
        return data.decode(chardet.detect(data)["encoding"] or "cp1252")
    except (UnicodeError, LookupError):
        return line


CLEANERS: dict[str, Callable[[str, str], Result]] = {"ours": ours, "ftfy": ftfy_alone, "by hand": by_hand}


# Counting


class Difference(NamedTuple):
    """A stretch of the truth that another text has in another form."""

    span: Span
    errors: int
    found: str
    """What stands there."""


def differences(truth: str, text: str) -> list[Difference]:
    """Where a text differs from the truth, in order."""
    return [
        Difference((op.src_start, op.src_end), max(op.src_end - op.src_start, len(found)), found)
        for op in Levenshtein.opcodes(truth, text)
        for found in [text[op.dest_start : op.dest_end]]
        if op.tag != "equal"
    ]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans that touch made one."""
    out: list[Span] = []
    for start, end in spans:
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


class Place(NamedTuple):
    """What is wrong at a site."""

    errors: int
    found: str
    """All that stands in the place of the truth."""


def by_site(found: list[Difference], sites: list[Span]) -> tuple[list[Place], int]:
    """What is wrong at each site (differences that touch it), and the errors at none."""
    at_sites, elsewhere, first = [Place(0, "")] * len(sites), 0, 0
    for (start, end), errors, text in found:
        while first < len(sites) and sites[first][1] < start:
            first += 1
        if first < len(sites) and sites[first][0] <= end:
            place = at_sites[first]
            at_sites[first] = Place(place.errors + errors, place.found + text)
        else:
            elsewhere += errors
    return at_sites, elsewhere


def is_worse(was: Place, now: Place) -> bool:
    """Whether there are more errors than before, or characters that are none of the damage and none of the truth."""
    seen = set(fold_width(any_script(was.found))) | set(" \n?\ufffd")
    return now.errors > was.errors or not set(fold_width(any_script(now.found))) <= seen


def judge(damaged: Damaged, after: str, fold: Fold) -> Counter[str]:
    """Counts of one document and one cleaner."""
    truth, observed, text = fold(damaged.truth), fold(damaged.observed), fold(after)
    before, found = differences(truth, observed), differences(truth, text)
    # One character wider: among repeated signs the one that was put in may be another one in the other alignment.
    places = merged((start - 1, end + 1) for (start, end), *_ in before)
    sites = places if damaged.sites is None else list(damaged.sites)
    was, now = by_site(before, sites)[0], by_site(found, sites)[0]
    return Counter(
        documents=1,
        chars=len(truth),
        exact=text == truth,
        errors_before=sum(difference.errors for difference in before),
        errors=sum(difference.errors for difference in found),
        sites=len(sites),
        fixed=sum(place.errors == 0 for place in now),
        worse=sum(map(is_worse, was, now)),
        harm=by_site(found, merged(sorted([*places, *sites])))[1],
    )


# Texts


def read_texts(path: Path) -> Iterator[str]:
    """All texts of a file or of the files in a folder.

    Raises:
        FileNotFoundError: if there is nothing to read; the message says what is looked for.
        ValueError: if a file is no UTF-8, or a line of it no JSON object with a field `text`.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.name.endswith((".txt", ".jsonl", ".jsonl.gz"))]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"{path} is no .txt, .jsonl or .jsonl.gz file, and no folder with any")
    for file in files:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if file.suffix == ".txt":
            yield from _blocks(content.decode("utf-8").replace("\r\n", "\n"))
        else:
            yield from (_text_field(line, file) for line in content.decode("utf-8").split("\n") if line)


def _blocks(text: str) -> Iterator[str]:
    """What stands between blank lines; files that have none are cut at line ends, before 2,000 characters."""
    for block in text.split("\n\n"):
        lines: list[str] = []
        for line in block.split("\n"):
            if sum(map(len, lines)) + len(lines) + len(line) > 2000:
                yield "\n".join(lines)
                lines = []
            lines.append(line)
        yield "\n".join(lines)


def _text_field(line: str, file: Path) -> str:
    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        message = f"{file.name} has a line that is no object with a field 'text': {line[:60]}"
        raise ValueError(message)  # noqa: TRY004 (the file is at fault, not the caller)
    return str(found["text"])


def script_of(text: str) -> str:
    """hans, hant, english, or nothing for a text that is none of these."""
    if sum("\u4e00" <= c <= "\u9fff" for c in text) * 2 < len(text):
        return "english" if sum(c.isascii() for c in text) > 0.9 * len(text) else ""
    letters = Counter("hans" if c in simplified_only() else "hant" for c in text if c in _ONE_SCRIPT)
    (script, count), *_ = *letters.most_common(1), ("", 0)
    return script if count > 0.9 * letters.total() else ""


_ONE_SCRIPT = simplified_only() | traditional_only()


def documents(path: Path, seed: int) -> dict[str, list[str]]:
    """Texts of 300 to 2,000 characters by script, shuffled. What is missing comes from the project's own.

    Longer texts are cut at the end of a line.
    """
    found: dict[str, list[str]] = {"hans": [], "hant": [], "english": []}
    for raw in read_texts(path):
        text = raw.strip()
        if len(text) > 2000:
            text = text[:2000].rpartition("\n")[0].strip()
        if len(text) >= 300 and (script := script_of(text)):
            found[script].append(text)
    for script, texts in found.items():
        random.Random(f"{seed}/{script}").shuffle(texts)
        if not texts and path != TEXTS:
            found[script] = documents(TEXTS, seed)[script]
    return found


# Measuring


class Job(NamedTuple):
    """One document and one kind of damage."""

    kind: str
    text: str
    seed: str
    cleaners: tuple[str, ...]


class Example(NamedTuple):
    """The first place where our repair falls short."""

    truth: str
    observed: str
    after: str


Counts = dict[str, Counter[str]]


def measure(job: Job) -> tuple[Counts, Counter[str], Example | None]:
    """Damage, clean and judge one document: counts by cleaner, our edits by rule, an example of a failure."""
    kind = KINDS[job.kind]
    damaged = kind.model(job.text, random.Random(job.seed))
    counts, edits, example = {}, Counter[str](), None
    for name in job.cleaners:
        result = CLEANERS[name](damaged.observed, kind.script)
        counts[name] = judge(damaged, result.text, kind.fold)
        if name == "ours":
            edits = result.edits
            example = first_failure(damaged, result.text, kind.fold)
    return counts, edits, example


def first_failure(damaged: Damaged, after: str, fold: Fold) -> Example | None:
    """What stands around the first difference, in all three texts."""
    truth = fold(damaged.truth)
    found = differences(truth, fold(after))
    if not found:
        return None
    start, end = found[0].span
    span = max(0, start - 8), min(len(truth), end + 8)
    return Example(
        damaged.truth[slice(*span)], *(_counterpart(truth, fold(t), t, span) for t in (damaged.observed, after))
    )


def _counterpart(truth: str, folded: str, text: str, span: Span) -> str:
    """The part of a text that stands for a span of the truth."""
    start, end = 0, len(text)
    for op in Levenshtein.opcodes(truth, folded):
        if op.src_start <= span[0] < op.src_end:
            start = op.dest_start + (span[0] - op.src_start if op.tag == "equal" else 0)
        if op.src_start < span[1] <= op.src_end:
            end = op.dest_start + span[1] - op.src_start if op.tag == "equal" else op.dest_end
    return text[start:end]


def jobs(texts: dict[str, list[str]], kinds: Iterable[str], n: int, seed: int, cleaners: tuple[str, ...]) -> list[Job]:
    """All that is to be measured, kind by kind."""
    found = []
    for name in kinds:
        count = n * UNDAMAGED_FACTOR if name.startswith("undamaged") else n
        drawn = texts[KINDS[name].texts][:count]
        if KINDS[name].model is not damage.undamaged:
            drawn = list(map(without_gaps, drawn))
        found += [Job(name, text, f"{seed}/{name}/{i}", cleaners) for i, text in enumerate(drawn)]
    return found


def without_gaps(text: str) -> str:
    """White space at line ends, indents and empty lines: no damage made here, but the pipeline takes them away."""
    return re.sub(r"\s*\n\s*", "\n", text)


class Outcome(NamedTuple):
    """All documents of one kind."""

    counts: Counts
    edits: Counter[str]
    examples: list[Example]


def run(todo: list[Job], workers: int) -> Iterator[tuple[str, Outcome]]:
    """Measure all jobs; one outcome per kind, in order."""
    outcome, last = Outcome({}, Counter(), []), ""
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(measure, todo, chunksize=4) if workers > 1 else map(measure, todo)
        for job, (counts, edits, example) in zip(todo, results, strict=True):
            if last and job.kind != last:
                yield last, outcome
                outcome = Outcome({}, Counter(), [])
            last = job.kind
            for cleaner, counter in counts.items():
                outcome.counts.setdefault(cleaner, Counter()).update(counter)
            outcome.edits.update(edits)
            outcome.examples.extend([example] if example else [])
    if last:
        yield last, outcome


# Figures


def percent(part: int, whole: int) -> float:
    """Of nothing, all is well."""
    return 100 * part / whole if whole else 100.0


def figures(counts: Counter[str]) -> dict[str, float]:
    """What floors are kept for: exact, right and fixed must not fall, worse and harm must not rise."""
    return {
        "exact": percent(counts["exact"], counts["documents"]),
        "right": max(100 - percent(counts["errors"], counts["chars"]), 0.0),
        "fixed": percent(counts["fixed"], counts["sites"]),
        "worse": 100 * counts["worse"] / max(counts["sites"], 1),
        "harm": 1e6 * counts["harm"] / counts["chars"],
    }


def header(cleaners: Iterable[str]) -> str:
    """What stands above the table."""
    names = "".join(f" │{name:^37}" for name in cleaners)
    columns = " │ exact   err fixed  left worse   harm" * len(tuple(cleaners))
    return f"{'':51}{names}\n{'kind of damage':38}{'docs':>5}{'err':>8}{columns}"


def row(kind: str, outcome: Outcome) -> str:
    """One line of the table."""
    some = next(iter(outcome.counts.values()))
    cells = f"{kind:38}{some['documents']:5}{percent(some['errors_before'], some['chars']):8.2f}"
    for counts in outcome.counts.values():
        f = figures(counts)
        left = abs(100 - f["fixed"] - f["worse"])
        cells += f" │{f['exact']:6.1f}{percent(counts['errors'], counts['chars']):6.2f}"
        cells += f"{f['fixed']:6.1f}{left:6.1f}{f['worse']:6.1f}" if counts["sites"] else f"{'':18}"
        cells += f"{f['harm']:7.0f}"
    return cells


def edits_line(outcome: Outcome) -> str:
    """Our edits per million characters, by step and rule."""
    chars = outcome.counts["ours"]["chars"]
    rules = ", ".join(f"{rule} {1e6 * n / chars:.0f}" for rule, n in outcome.edits.most_common())
    return f"    edits per million characters: {1e6 * outcome.edits.total() / chars:.0f}" + (
        f" ({rules})" if rules else ""
    )


# Floors

Floors = dict[str, dict[str, float]]


def load_floors(path: Path) -> dict[str, Floors]:
    """Floors by number of documents (`documents-20`) and kind; none if there is no such file."""
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def below(kind: str, measured: dict[str, float], floors: Floors) -> list[str]:
    """One sentence for each figure that is on the wrong side of its floor."""
    found = []
    for name, floor in floors.get(kind, {}).items():
        value = measured[name]
        if value > floor if name in CEILINGS else value < floor:
            found.append(f"{kind}: {name} is {value:.2f}, its floor is {floor:.2f}")
    return found


def moved(old: dict[str, float], measured: dict[str, float], *, may_fall: bool) -> dict[str, float]:
    """New floors of a kind: what was measured less the allowance, and no lower than before unless told."""
    new = {}
    for name, allowance in ALLOWANCES.items():
        sign = 1 if name in CEILINGS else -1
        floor = min(max(round(measured[name] + sign * allowance, 2), 0.0), 1e6 if name in CEILINGS else 100.0)
        keep = name in old and not may_fall and (floor - old[name]) * sign > 0
        new[name] = old[name] if keep else floor
    return new


FLOORS_HEADER = """\
# Floors of benchmarks/fidelity.py on the texts of the project, seed 0, by number of documents and kind: exact, right
# and fixed (percent) must not fall below, worse (percent) and harm (errors per million characters) not rise above.
# Written by `python benchmarks/fidelity.py --raise-floors` (never lower) or, with a reason in the commit message,
# `--lower-floors`.
"""


def save_floors(path: Path, floors: dict[str, Floors]) -> None:
    """Write all floors, sorted by run and in the order of the kinds."""
    lines = [FLOORS_HEADER]
    for part in sorted(floors):
        for kind in sorted(floors[part]):
            lines.append(f"[{part}.{json.dumps(kind, ensure_ascii=False)}]")
            lines += [f"{name} = {value}" for name, value in floors[part][kind].items()]
            lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


# Command line


def arguments() -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="?", default=TEXTS, metavar="FOLDER-or-FILE")
    parser.add_argument("--documents", type=int, default=12, metavar="N", help="per kind (default: 12)")
    parser.add_argument("--kinds", help="one kind, or parts of names of kinds, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="failures to show, per kind")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--only-ours", action="store_true", help="leave ftfy and the pipeline by hand out")
    parser.add_argument("--floors", type=Path, default=FLOORS, metavar="FILE")
    parser.add_argument("--raise-floors", action="store_true", help="write floors, none lower than it was")
    parser.add_argument("--lower-floors", action="store_true", help="write floors, also lower ones")
    options = parser.parse_args()
    if options.documents < 1 or options.workers < 1:
        parser.error("--documents and --workers must be 1 or more")
    if (options.raise_floors or options.lower_floors) and not is_held(options):
        parser.error("floors are for the texts of the project with seed 0: leave FOLDER-or-FILE and --seed out")
    try:
        options.found = documents(options.texts, options.seed)
    except (OSError, ValueError) as error:
        parser.error(f"{options.texts}: {error}")
    names = options.kinds or ""
    wanted = [names] if names in KINDS else names.split(",")
    options.chosen = [kind for kind in KINDS if any(part in kind for part in wanted)]
    if not options.chosen:
        parser.error(f"no kind of {options.kinds}; there are: {'; '.join(KINDS)}")
    return options


def is_held(options: argparse.Namespace) -> bool:
    """Whether this is a run that floors are for."""
    return bool(options.texts == TEXTS and options.seed == 0)


def main() -> int:
    """Print the table. 1 if a figure is below its floor."""
    options = arguments()
    cleaners = ("ours",) if options.only_ours else tuple(CLEANERS)
    floors = load_floors(options.floors)
    part = floors.setdefault(f"documents-{options.documents}", {})
    print(header(cleaners))
    todo = jobs(options.found, options.chosen, options.documents, options.seed, cleaners)
    complaints: list[str] = []
    for kind, outcome in run(todo, options.workers):
        report(kind, outcome, options.examples)
        measured = figures(outcome.counts["ours"])
        if options.raise_floors or options.lower_floors:
            part[kind] = moved(part.get(kind, {}), measured, may_fall=options.lower_floors)
        if is_held(options):
            complaints += below(kind, measured, part)
    if options.raise_floors or options.lower_floors:
        save_floors(options.floors, floors)
    elif is_held(options) and not part:
        print(f"no floors for {options.documents} documents in {options.floors}: write some with --raise-floors")
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints else 0


def report(kind: str, outcome: Outcome, n_examples: int) -> None:
    """A line of the table, edits of what should stay, and examples of failures."""
    print(row(kind, outcome), flush=True)
    if KINDS[kind].model is damage.undamaged:
        print(edits_line(outcome))
    for example in outcome.examples[:n_examples]:
        print(*(f"    {name:9}{text!r}" for name, text in example._asdict().items()), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
