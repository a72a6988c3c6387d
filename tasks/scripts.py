"""Traditional and Simplified, character by character: folding for comparison, and telling them apart.

The tables are those of opencc-python-reimplemented (TSCharacters, STCharacters; Apache-2.0). All of this keeps
the length of the text, so that offsets in a folded copy are offsets in the original. Conversion of texts
that people read is the business of the script step, which knows phrases.
"""

import importlib.resources
from functools import cache


@cache
def _table(name: str) -> dict[int, str]:
    """First (default) choice of each single character in one of OpenCC's character tables."""
    text = (importlib.resources.files("opencc") / "dictionary" / f"{name}.txt").read_text(encoding="utf-8")
    table = {}
    for line in text.splitlines():
        key, _, values = line.partition("\t")
        value = values.split(" ")[0]
        if len(key) == len(value) == 1 and key != value:
            table[ord(key)] = value
    return table


def simplified() -> dict[int, str]:
    """Code points that `simplify` replaces, and what by."""
    return _table("TSCharacters")


def simplify(text: str) -> str:
    """Fold to Simplified, character by character, keeping the length."""
    return text.translate(_table("TSCharacters"))


def traditionalize(text: str) -> str:
    """Fold to Traditional, character by character, keeping the length: what clone sites do to a page."""
    return text.translate(_table("STCharacters"))


@cache
def traditional_only() -> frozenset[str]:
    """Characters that Simplified text does not use: they have another Simplified form, and are not one themselves."""
    simplified_forms = set(_table("TSCharacters").values())
    return frozenset(chr(c) for c in _table("TSCharacters") if chr(c) not in simplified_forms)


@cache
def simplified_only() -> frozenset[str]:
    """Characters that Traditional text does not use: they have another Traditional form, and are not one themselves."""
    traditional_forms = set(_table("STCharacters").values())
    return frozenset(chr(c) for c in _table("STCharacters") if chr(c) not in traditional_forms)
