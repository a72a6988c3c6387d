"""Rule tables: sorted text files with a header, one rule a line, and the digest that names them all.

A table starts with comment lines (`#`: what it is, its format, where its entries come from, which step
uses it). Columns are separated by tabs. Rules are written in Simplified script.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ahocorasick_rs import AhoCorasick

_FOLDER = Path(__file__).parent

_MOVERS = ("cases.py", "ingest", "library.py", "publish", "report", "shards", "tables.py", "verify.py", "view")
"""What in `tasks` has no say in what becomes of a text."""


@cache
def load(name: str) -> tuple[tuple[str, ...], ...]:
    """Rows of the table `name`.txt, each a tuple of its columns, comments and blank lines left out.

    Raises:
        FileNotFoundError: if there is no such table; the message lists those there are.
    """
    path = _FOLDER / f"{name}.txt"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.txt")))
        raise FileNotFoundError(f"no rule table {name!r} in {_FOLDER}; there are: {known}")
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line.strip() and not line.startswith("#"))


def either(words: Iterable[str]) -> str:
    """A pattern of words, the longest first."""
    return grouped([*map(re.escape, word)] for word in sorted(words, key=len, reverse=True))


def grouped(alternatives: Iterable[Sequence[str]]) -> str:
    """A pattern of alternatives, each given as patterns of single characters, in groups by the first of them.

    The first alternative that matches is the same as without groups: at any place only those of one group can. So `re`
    passes over text that has none of the first characters, and else looks at these and not at each of a thousand words.
    """
    groups: dict[str, list[str]] = {}
    for first, *rest in alternatives:
        groups.setdefault(first, []).append("".join(rest))
    return "|".join(f"{first}(?:{'|'.join(rests)})" for first, rests in groups.items())


def occurrences(automaton: AhoCorasick, text: str, *, overlapping: bool = False) -> list[tuple[int, int, int]]:
    """Number, start and end of each word of an automaton in a text. A lone surrogate is in no word."""
    try:
        return automaton.find_matches_as_indexes(text, overlapping=overlapping)
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()  # as long as it was
        return automaton.find_matches_as_indexes(text, overlapping=overlapping)


@cache
def digest() -> str:
    """16 hex digits that name the rules: they change whenever the same bytes could come out as another text.

    Covered are the rule tables, the language model, the source of everything that reads, decodes, cleans and judges,
    and the versions of the libraries whose tables and hashes take part. Not covered is what only moves documents about:
    a change there must not have every dataset cleaned again.
    """
    tasks = _FOLDER.parent
    sources = (path for path in tasks.rglob("*.py") if path.relative_to(tasks).parts[0] not in _MOVERS)
    files = [*_FOLDER.glob("*.txt"), *tasks.glob("language/*.npz"), *sources]
    state = hashlib.sha256()
    for path in sorted(files):
        state.update(path.relative_to(tasks).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for library in ("chardet", "ftfy", "lxml", "opencc-python-reimplemented", "pypinyin", "rapidfuzz", "rensa"):
        state.update(f"{library} {version(library)}\0".encode())
    return state.hexdigest()[:16]
