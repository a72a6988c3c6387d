"""Readings of characters, and the glosses (readings in brackets) that name them.

The readings are those of pypinyin (MIT), which carries the Unihan and kMandarin readings of 41,000 characters. They are
loaded only when a text has something that looks like a gloss.
"""

import importlib.util
import json
import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

from tasks.scripts import simplify, traditionalize

LETTERS = "a-zɡāáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜüńňǹḿê"
"""Letters of a gloss: ASCII, the toned vowels of GBK (A8A1 to A8BA), script g (A8C0, U+0261), and syllabic m and n."""

LONGEST = 6
"""Letters of the longest syllables: `zhuang`, `shuang`, `chuang`."""

GLOSS = re.compile(rf"[(（] ?([{LETTERS}]{{1,{LONGEST}}}) ?[)）]")
"""A bracket with one syllable in it: `(chǎn)`, `(huì )`, `（yè）`. Some sites leave a space before it closes."""


def normalize(reading: str) -> str:
    """The spelling that pypinyin uses: script g is g."""
    return reading.replace("ɡ", "g")


def toneless(reading: str) -> str:
    """`lǜ` → `lü`: a reading without its tone mark (and nothing else: `ü` keeps its dots)."""
    decomposed = unicodedata.normalize("NFD", reading)
    bare = "".join(c for c in decomposed if c not in "\u0300\u0301\u0304\u030c")
    return unicodedata.normalize("NFC", bare)


@cache
def _dictionary() -> dict[str, str]:
    """Code points in decimal → readings, separated by commas.

    The file alone: with the package come phrases and a segmenter, half a second that nothing here needs.
    """
    spec = importlib.util.find_spec("pypinyin")
    if spec is None or spec.origin is None:
        message = "pypinyin is not installed, or not as files: its dictionary of readings can't be found"
        raise ModuleNotFoundError(message)
    found: dict[str, str] = json.loads(Path(spec.origin).with_name("pinyin_dict.json").read_text(encoding="utf-8"))
    return found


@cache
def readings(char: str) -> frozenset[str]:
    """All readings of a character or of its form in the other script, with tone marks; empty if it has none."""
    forms = {char, simplify(char), traditionalize(char)}
    return frozenset(r for form in forms for r in _dictionary().get(str(ord(form)), "").split(",") if r)


@cache
def _syllables() -> frozenset[str]:
    toned = {reading for value in _dictionary().values() for reading in value.split(",")}
    return frozenset(toned | {toneless(reading) for reading in toned} | {"lv", "nv", "lve", "nve"})


def is_syllable(text: str) -> bool:
    """Whether this is a syllable of Mandarin, with or without its tone mark."""
    return normalize(text) in _syllables()


def fits(reading: str, char: str) -> bool:
    """Whether a gloss is a reading of the character before it. A gloss without tone fits every tone."""
    known = readings(char)
    spelled = normalize(reading)
    if spelled in known:
        return True
    bare = toneless(spelled)
    if bare == spelled:
        bare = bare.replace("v", "ü")
        return any(bare in (toneless(r), toneless(r).replace("ü", "u")) for r in known)
    return False


@lru_cache(maxsize=1 << 14)
def reads(char: str, reading: str) -> bool:
    """Whether this is a gloss of this character, and the character is one that sites gloss: Traditional only."""
    return simplify(char) != char and fits(reading, char)
