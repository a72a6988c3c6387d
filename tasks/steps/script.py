"""Traditional to Simplified and back, with OpenCC's tables, OpenCC's way of matching, and what they leave open.

The tables are those of opencc-python-reimplemented (Apache-2.0), corrected by `rules/opencc.txt` (what OpenCC has
changed since) and `rules/script_phrases.txt` (ours). They are matched as OpenCC does, the longest phrase from the left,
in linear time: the library's own matcher is superlinear (a million characters without punctuation: 21 s). Where the
tables leave two Simplified characters for a Traditional one (`著`: 着 or 著), words decide, then the language model.

What is converted is decided line by line (docs/adr/0006). No table changes the length of a text, so edits are runs of
differing characters: rule `t2s` (or `s2t`, `s2tw`, `s2hk`) where each character alone would become the same, `…-phrase`
where a phrase decided, `…-choice` where the words or the model did.
"""

import importlib.resources
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from ahocorasick_rs import AhoCorasick, MatchKind
from numpy.typing import NDArray

from schemas.config import Script
from schemas.document import Context, Edit
from tasks.language import pair_score
from tasks.rules import load
from tasks.scripts import CharTable, codes

FOLDER = importlib.resources.files("opencc") / "dictionary"

_CHAINS: dict[Script, tuple[tuple[str, ...], ...]] = {
    "hans": (("TSPhrases", "TSCharacters", "hans"),),
    "hant": (("STPhrases", "STCharacters", "hant"),),
    "tw": (("STPhrases", "STCharacters", "hant"), ("TWVariantsPhrases", "TWVariants")),
    "hk": (("STPhrases", "STCharacters", "hant"), ("HKVariantsPhrases", "HKVariants")),
}
"""Dictionaries of each stage, later ones winning, as in OpenCC's configurations t2s, s2t, s2tw and s2hk."""

_RULES: dict[Script, str] = {"hans": "t2s", "hant": "s2t", "tw": "s2tw", "hk": "s2hk"}

_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = re.compile("[\u3041-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_FOREIGN = re.compile(f"(?:{_KANA.pattern}|{_HANGUL.pattern})")
_QUOTED = re.compile("「[^「」\n]{0,100}+」|『[^『』\n]{0,100}+』|“[^“”\n]{0,100}+”|（[^（）\n]{0,100}+）")
_WORDS = re.compile(f"[{_IDEOGRAPHS}\u3005\u3041-\u30ff\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]++")
"""Runs of ideographs, kana and Hangul: a kana or Hangul letter in one makes it a Japanese or Korean word."""

_CHOICES = {"著": "着", "藉": "借", "祇": "只", "瞭": "了"}
"""Traditional characters that are Simplified ones as well, with the one they mostly become."""

_OPEN = re.compile(f"[{''.join(_CHOICES)}]")

_VARIANTS_IN_USE: dict[Script, frozenset[str]] = {"tw": frozenset("污樑祕棱泄檐蔘"), "hk": frozenset()}
"""Characters that the norm of Taiwan replaces and that its writers use all the same (污 89 times, 汙 8 in 1.5 million
characters of essays and encyclopedia): they stay in text that is Traditional already."""

_MARGIN = {"著": -0.3, "藉": 0.0, "祇": 1.0, "瞭": 0.0}
"""What the model must say, in powers of ten, for the character to stay. Below 0 where words in which it stays follow
words of all kinds (`总书记著作`), which a model of pairs underrates; measured with `着` in clean Simplified text."""


ASPECT = 1.05
"""By how much (powers of ten) the model prefers 着 to 著 after a verb, at least. 0.97 is what pairs get that it has not
seen: of 50 characters that end names of people and nouns two exceed it, by 0.04; verbs do, but for `_VERBS`."""

_VERBS = "念吟唸抄摘研题播弹画阅览默仿拟参品审批评改教查签署订颁售销违据赞歌骂怨恨懂迷撕"
"""Verbs of which that does not hold, and that can have a title after them; none that ends names (欧阳修)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a conversion."""

    chars: CharTable
    phrases: AhoCorasick
    values: tuple[str, ...]
    """What each of the phrases becomes."""


def read_dictionary(text: str) -> dict[str, str]:
    """Keys and first values of one of OpenCC's dictionaries; entries that would change the length are left out."""
    rows = (line.split("\t") for line in text.splitlines() if "\t" in line and not line.startswith("#"))
    entries = ((row[0], row[1].split(" ")[0]) for row in rows)
    return {key: value for key, value in entries if len(key) == len(value)}


@cache
def _dictionary(name: str) -> dict[str, str]:
    file = FOLDER / f"{name}.txt"
    entries = read_dictionary(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for table, key, value in (*load("opencc"), *load("script_phrases")):
        if table == name:
            entries[key] = value
    if name == "TSPhrases":  # its keys are in OpenCC's standard: 憑藉着 is 憑藉著 in Taiwan
        for variants in ("TWVariants", "HKVariants"):
            to_variants = {ord(key): value for key, value in _dictionary(variants).items() if len(key) == 1}
            entries = {key.translate(to_variants): value for key, value in entries.items()} | entries
    return {key: value for key, value in entries.items() if value != "-"}


@cache
def _stage(names: tuple[str, ...]) -> Stage:
    entries = {key: value for name in names for key, value in _dictionary(name).items()}
    chars = {ord(key): value for key, value in entries.items() if len(key) == 1 and key != value}
    phrases = {key: value for key, value in entries.items() if len(key) > 1}
    automaton = AhoCorasick(phrases, matchkind=MatchKind.LeftmostLongest)
    return Stage(CharTable(chars), automaton, tuple(phrases.values()))


def _segments(text: str, stage: Stage) -> Iterator[tuple[int, int, str]]:
    """Phrases of a text as (start, end, value): the longest at each position from the left."""
    try:
        found = stage.phrases.find_matches_as_indexes(text)
    except UnicodeEncodeError:  # a lone surrogate: it is in no phrase
        found = stage.phrases.find_matches_as_indexes(text.encode("utf-8", "replace").decode())
    return ((start, end, stage.values[number]) for number, start, end in found)


def _convert_stage(text: str, stage: Stage, wanted: Script) -> str:
    """Convert phrases by table, choose where the choice is open, and the rest character by character."""
    pieces: list[str] = []
    done = 0
    for start, end, value in _segments(text, stage):
        pieces += _convert_rest(text, done, start, stage, wanted), value
        done = end
    pieces.append(_convert_rest(text, done, len(text), stage, wanted))
    return "".join(pieces)


def _convert_rest(text: str, start: int, end: int, stage: Stage, wanted: Script) -> str:
    piece = text[start:end]
    converted = stage.chars(piece)
    if wanted != "hans" or not _OPEN.search(piece):
        return converted
    around = (text[start - 1 : start] if start else "\n") + converted + (text[end : end + 1] or "\n")
    around = stage.chars(around)
    chosen = [_choose(around[i], around[i + 1], around[i + 2]) for i in range(len(piece))]
    return "".join(chosen)


def _choose(before: str, char: str, after: str) -> str:
    """A Simplified character for one that `_CHOICES` leaves open; any other as it is."""
    if char not in _CHOICES:
        return char
    other = _CHOICES[char]
    if char == "著" and after == "《" and _is_author(before):
        return char
    stay = pair_score(before, char) + pair_score(char, after)
    change = pair_score(before, other) + pair_score(other, after)
    return char if stay - change > _MARGIN[char] else other


def _is_author(before: str) -> bool:
    """Whether a character ends a name or a noun: 許慎著《說文》, and 讀著《紅樓夢》."""
    return before not in _VERBS and pair_score(before, "着") - pair_score(before, "著") < ASPECT


def convert(text: str, wanted: Script) -> str:
    """Convert a text that is in the other script, keeping its length."""
    for names in _CHAINS[wanted]:
        text = _convert_stage(text, _stage(names), wanted)
    return text


@cache
def _plain(char: str, wanted: Script) -> str:
    """What one character alone becomes."""
    for names in _CHAINS[wanted]:
        char = _stage(names).chars(char)
    return char


# Which lines


def find(text: str, context: Context) -> Iterator[Edit]:
    """Find what is in another script than the configuration asks for."""
    wanted = context.config.script
    if wanted == "keep" or not _has_something_to_convert(text, wanted) or _is_japanese_or_korean(text):
        return
    other, own = _count(text, wanted), _count(text, _opposite(wanted))
    whole = 4 * other >= other + own if other else wanted != "hans" and not own
    for match in re.finditer(r"[^\n]+", text):
        line = Line(match.start(), match[0])
        if _is_japanese_or_korean(line.text):
            continue
        if _is_to_convert(line.text, wanted, whole):
            yield from _edits(line, _convert_words(line.text, wanted), wanted)
        elif wanted in _VARIANTS_IN_USE:
            yield from _edits(line, _to_variants(line.text, wanted), wanted)


class Line(NamedTuple):
    """A line, and where it starts."""

    start: int
    text: str


def _opposite(wanted: Script) -> Script:
    return "hant" if wanted == "hans" else "hans"


def _has_something_to_convert(text: str, wanted: Script) -> bool:
    """Cheap. For Traditional any ideograph will do: text without a mark of its script may be in either."""
    if text.isascii():
        return False
    return wanted != "hans" or not _foreign_letters("hans").isdisjoint(text)


@cache
def _foreign_letters(wanted: Script) -> frozenset[str]:
    """Characters that the wanted script never uses: the tables do not list them among their own conversions.

    Narrower than `tasks.scripts`, which goes by the first choice: 后, 里 and 群 are Traditional as well, 乾 Simplified.
    """
    table = "TSCharacters" if wanted == "hans" else "STCharacters"
    text = (FOLDER / f"{table}.txt").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if "\t" in line)
    in_both = {key for key, values in rows if key in values.split(" ")}
    chars = {key for key, value in _dictionary(table).items() if key != value} - in_both
    at_home = {value for name in ("TWVariants", "HKVariants") for value in _dictionary(name).values()}
    return frozenset(chars if wanted == "hans" else chars - at_home)


def _count(text: str, wanted: Script) -> int:
    return int(np.count_nonzero(_is_foreign(wanted)[codes(text)]))


@cache
def _is_foreign(wanted: Script) -> NDArray[np.bool_]:
    """The same by code point."""
    table = np.zeros(0x110000, bool)
    table[[ord(char) for char in _foreign_letters(wanted)]] = True
    return table


def _is_japanese_or_korean(text: str) -> bool:
    """Whether a fifth of the letters, quotations aside, are kana (other than a decorative の) or Hangul."""
    if not _FOREIGN.search(text):
        return False
    text = _QUOTED.sub("", text)
    foreign = sum(1 for m in _FOREIGN.finditer(text) if m[0] != "の")
    return foreign * 5 > sum(len(m[0]) for m in _WORDS.finditer(text))


def _is_to_convert(line: str, wanted: Script, whole: bool) -> bool:
    """In a document of the other script all lines not in the wanted one; elsewhere lines clearly in the other."""
    other, own = _count(line, wanted), _count(line, _opposite(wanted))
    if whole:
        return other > 0 or own == 0
    return other >= 2 and other > 2 * own


def _to_variants(line: str, wanted: Script) -> str:
    """Put a Traditional line into the characters of Taiwan or Hong Kong."""
    converted = _convert_stage(line, _stage(_CHAINS[wanted][1]), wanted)
    pairs = zip(line, converted, strict=True)
    return "".join(old if old in _VARIANTS_IN_USE[wanted] else new for old, new in pairs)


# What changes


def _edits(line: Line, converted: str, wanted: Script) -> Iterator[Edit]:
    """Runs of neighbouring characters that changed by the same rule."""
    places = np.flatnonzero(codes(line.text) != codes(converted)).tolist()
    rules = [_rule(line.text[i], converted[i], wanted) for i in places]
    first = 0
    for i in range(1, len(places) + 1):
        if i < len(places) and places[i] == places[i - 1] + 1 and rules[i] == rules[first]:
            continue
        start, end, rule = places[first], places[i - 1] + 1, rules[first]
        confidence = 0.95 if rule.endswith("choice") else 1.0
        yield Edit("script", rule, line.start + start, line.text[start:end], converted[start:end], confidence)
        first = i


def _convert_words(line: str, wanted: Script) -> str:
    """Convert a line, but for words with kana or Hangul in it."""
    converted = convert(line, wanted)
    if not _FOREIGN.search(line):
        return converted
    pieces, end = list[str](), 0
    for match in _WORDS.finditer(line):
        if any(m[0] != "の" for m in _FOREIGN.finditer(match[0])):
            pieces += converted[end : match.start()], match[0]
            end = match.end()
    return "".join([*pieces, converted[end:]])


@lru_cache(maxsize=20_000)
def _rule(before: str, after: str, wanted: Script) -> str:
    name = _RULES[wanted]
    if _plain(before, wanted) == after:
        return name
    return f"{name}-choice" if wanted == "hans" and before in _CHOICES else f"{name}-phrase"
