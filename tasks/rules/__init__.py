"""Rule tables: sorted text files with a header, one rule a line, and the digest that names them all.

A table starts with comment lines (`#`: what it is, its format, where its entries come from, which step
uses it). Columns are separated by tabs. Rules are written in Simplified script.
"""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


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
