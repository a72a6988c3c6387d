"""Traditional and Simplified, character by character: folding for comparison, and telling them apart.

The tables are those of opencc-python-reimplemented (TSCharacters, STCharacters; Apache-2.0). All of this keeps
the length of the text, so that offsets in a folded copy are offsets in the original. Conversion of texts
that people read is the business of the script step, which knows phrases.
"""

import importlib.resources
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray


def codes(text: str) -> NDArray[np.uint32]:
    """Code points, lone surrogates too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def text_of(chars: NDArray[np.uint32]) -> str:
    """The text with these code points."""
    return chars.tobytes().decode("utf-32-le", "surrogatepass")


class CharTable:
    """Characters in place of others, one for one: what `str.translate` does, ten times as fast on a paragraph.

    Args:
        replaced: Code points, each with its character.
    """

    def __init__(self, replaced: Mapping[int, str]) -> None:
        self.replaced = replaced
        self._size = max(replaced, default=0) + 1
        self._chars = np.arange(self._size, dtype=np.uint32)
        self._chars[list(replaced)] = [ord(char) for char in replaced.values()]

    def __call__(self, text: str) -> str:
        """The text with these characters replaced; lone surrogates stay."""
        if len(text) < _SHORT:
            return text.translate(self.replaced)
        return text_of(self.of(codes(text)))

    def of(self, chars: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """What becomes of code points."""
        made: NDArray[np.uint32] = self._chars.take(chars, mode="clip")
        if chars.max(initial=0) >= self._size:
            made = np.where(chars < self._size, made, chars)
        return made


_SHORT = 100
"""Characters from which on the array is faster."""


@cache
def _converter(name: str) -> CharTable:
    return CharTable(_table(name))


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


def simplified_codes(chars: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`simplify` for code points."""
    return _converter("TSCharacters").of(chars)


def traditional_codes(chars: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`traditionalize` for code points."""
    return _converter("STCharacters").of(chars)


def simplified() -> dict[int, str]:
    """Code points that `simplify` replaces, and what by."""
    return _table("TSCharacters")


def simplify(text: str) -> str:
    """Fold to Simplified, character by character, keeping the length."""
    return _converter("TSCharacters")(text)


def traditionalize(text: str) -> str:
    """Fold to Traditional, character by character, keeping the length: what clone sites do to a page."""
    return _converter("STCharacters")(text)


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
