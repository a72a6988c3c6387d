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
from functools import cache
from typing import NamedTuple

import numpy as np
from ahocorasick_rs import AhoCorasick, MatchKind
from numpy.typing import NDArray

from schemas.config import Script
from schemas.document import Context, Edits, within
from tasks.language import pair_score
from tasks.rules import load, occurrences
from tasks.scripts import CharTable, codes, text_of

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
    return ((start, end, stage.values[number]) for number, start, end in occurrences(stage.phrases, text))


def _convert_stage(chars: NDArray[np.uint32], stage: Stage, wanted: Script) -> NDArray[np.uint32]:
    """Convert phrases by table, choose where the choice is open, and the rest character by character."""
    text = text_of(chars)
    converted = stage.chars.of(chars)
    if wanted == "hans" and (places := [match.start() for match in _OPEN.finditer(text)]):
        around = f"\n{text_of(converted)}\n"
        converted[places] = [ord(_choose(*around[place : place + 3])) for place in places]
    if found := list(_segments(text, stage)):
        starts, ends, values = zip(*found, strict=True)
        begin = np.array(starts, np.int64)
        converted[within(begin, np.array(ends, np.int64) - begin)] = codes("".join(values))
    return converted


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
    return text_of(_convert(codes(text), wanted))


def _convert(chars: NDArray[np.uint32], wanted: Script) -> NDArray[np.uint32]:
    for names in _CHAINS[wanted]:
        chars = _convert_stage(chars, _stage(names), wanted)
    return chars


def _plain(chars: NDArray[np.uint32], wanted: Script) -> NDArray[np.uint32]:
    """What each character alone becomes."""
    for names in _CHAINS[wanted]:
        chars = _stage(names).chars.of(chars)
    return chars


# Which lines


def find(text: str, context: Context) -> Edits | tuple[()]:
    """Find what is in another script than the configuration asks for."""
    wanted = context.config.script
    if wanted == "keep" or text.isascii():
        return ()
    chars = codes(text)
    other = _is_foreign(wanted)[chars]
    # For Traditional any ideograph will do: text without a mark of its script may be in either.
    if (wanted == "hans" and not other.any()) or _is_japanese_or_korean(text):
        return ()
    lines = _lines(text, chars)
    is_to_convert = _are_to_convert(lines, other, _is_foreign(_opposite(wanted))[chars], wanted)
    made = chars.copy()
    chosen = lines.chars_of(is_to_convert & ~lines.is_foreign)
    made[chosen] = _convert(chars[chosen], wanted)
    if lines.is_mixed:
        _put_back_words(made, text, chars)
    if wanted in _VARIANTS_IN_USE:
        others = lines.chars_of(~is_to_convert & ~lines.is_foreign)
        made[others] = _to_variants(chars[others], wanted)
    return _edits(chars, made, wanted)


class Lines(NamedTuple):
    """Lines of a text that are not empty, in order."""

    n_chars: int
    """Of the text."""
    starts: NDArray[np.intp]
    """Where they begin."""
    is_foreign: NDArray[np.bool_]
    """Whether they are Japanese or Korean."""
    is_mixed: bool
    """Whether there is kana or Hangul in the text."""

    def chars_of(self, is_chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each character of the text, whether its line is chosen; line feeds belong to the line before them."""
        found = np.zeros(self.n_chars, bool)
        lengths = np.diff(self.starts, append=self.n_chars)
        found[self.n_chars - lengths.sum() :] = np.repeat(is_chosen, lengths)
        return found


def _lines(text: str, chars: NDArray[np.uint32]) -> Lines:
    is_inside = chars != ord("\n")
    begins = is_inside.copy()
    begins[1:] &= ~is_inside[:-1]
    starts = np.flatnonzero(begins)
    is_mixed = _FOREIGN.search(text) is not None
    is_foreign = np.zeros(len(starts), bool)
    if is_mixed:
        is_foreign[:] = [_is_japanese_or_korean(line) for line in text.split("\n") if line]
    return Lines(len(chars), starts, is_foreign, is_mixed)


def _opposite(wanted: Script) -> Script:
    return "hant" if wanted == "hans" else "hans"


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


@cache
def _is_foreign(wanted: Script) -> NDArray[np.bool_]:
    """By code point, whether it is one of `_foreign_letters`."""
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


def _are_to_convert(
    lines: Lines, other: NDArray[np.bool_], own: NDArray[np.bool_], wanted: Script
) -> NDArray[np.bool_]:
    """In a document of the other script all lines not in the wanted one; elsewhere lines clearly in the other.

    Args:
        lines: Which there are.
        other: For each character, whether the wanted script never uses it.
        own: The same for the other script.
        wanted: Script.
    """
    if not len(lines.starts):
        return np.zeros(0, bool)
    n_other, n_own = (np.add.reduceat(side, lines.starts, dtype=np.int64) for side in (other, own))
    total_other, total_own = n_other.sum(), n_own.sum()
    if 4 * total_other >= total_other + total_own if total_other else wanted != "hans" and not total_own:
        is_so: NDArray[np.bool_] = (n_other > 0) | (n_own == 0)
    else:
        is_so = (n_other >= 2) & (n_other > 2 * n_own)
    return is_so


def _to_variants(chars: NDArray[np.uint32], wanted: Script) -> NDArray[np.uint32]:
    """Put Traditional text into the characters of Taiwan or Hong Kong."""
    converted = _convert_stage(chars, _stage(_CHAINS[wanted][1]), wanted)
    return np.where(np.isin(chars, codes("".join(_VARIANTS_IN_USE[wanted]))), chars, converted)


def _put_back_words(made: NDArray[np.uint32], text: str, chars: NDArray[np.uint32]) -> None:
    """Undo what was done to words with kana or Hangul in them."""
    for word in _WORDS.finditer(text):
        if any(match[0] != "の" for match in _FOREIGN.finditer(word[0])):
            made[word.start() : word.end()] = chars[word.start() : word.end()]


# What changes


def _edits(chars: NDArray[np.uint32], made: NDArray[np.uint32], wanted: Script) -> Edits | tuple[()]:
    """Runs of neighbouring characters that changed by the same rule."""
    at = np.flatnonzero(chars != made)
    if not len(at):
        return ()
    before, after = chars[at], made[at]
    kind = (_plain(before, wanted) != after).astype(np.int64)
    if wanted == "hans":
        kind[(kind == _PHRASE) & np.isin(before, codes("".join(_CHOICES)))] = _CHOICE
    begins = np.ones(len(at), bool)
    begins[1:] = (at[1:] != at[:-1] + 1) | (kind[1:] != kind[:-1])
    first = np.flatnonzero(begins)
    places = np.append(first, len(at))
    name = _RULES[wanted]
    kinds = ((name, 1.0), (f"{name}-phrase", 1.0), (f"{name}-choice", 0.95))
    return Edits("script", kinds, kind[first], at[first], text_of(before), places, text_of(after), places)


_PHRASE, _CHOICE = 1, 2
"""Numbers of the rules after the plain one."""
