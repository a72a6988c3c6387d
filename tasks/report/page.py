"""What pages of the report and of the browser for datasets have in common: templates, and text that does no harm.

Text of documents comes from anywhere. It reaches a page escaped, by the template engine or by `seen`, and what has no
shape or reorders other text is named instead of written.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import unquote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from schemas.document import Edit
from tasks.report.figures import LOW
from tasks.report.pairs import Piece, abridged, bytes_told, rows_of

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
"""Unicode categories of what has no shape, or acts on what stands around it."""

_IGNORED = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Of other categories, those that Unicode's Default_Ignorable_Code_Point has: selectors of variants, fillers."""

_SUSPECT = re.compile(r"[^\n\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u3000-\u303f\u4e00-\u9fff\uff01-\uff5e]")
"""What may be of such a category: the rest needs no look-up."""

_SPACES = str.maketrans({" ": "␣", "\u3000": "\u25a1", "\t": "⇥"})
"""Signs for white space, where that is all there is to see."""

STEPS = {
    "invisible": "repair",
    "mojibake": "repair",
    "shift": "repair",
    "glosses": "repair",
    "symbols": "repair",
    "spam": "strip",
    "boilerplate": "strip",
    "repeats": "strip",
    "punctuation": "tidy",
    "whitespace": "tidy",
    "script": "convert",
}
"""Steps in their order, with the part of the line that they belong to; a test holds it against `tasks.steps.STEPS`,
which takes seconds to import."""


class Told(NamedTuple):
    """A piece of a document as a page shows it."""

    observed: Markup
    clean: Markup
    step: str
    """Empty where nothing was changed."""
    number: int
    """Of the change within the document; the same on both sides."""
    about: str
    """What to know of the change: step, rule, confidence, bytes."""
    low: bool
    """Whether it is a guess."""
    gone: bool
    """Whether nothing but white space is left of it."""
    damage: str


class Gap(NamedTuple):
    """Lines that are left out."""

    lines: int
    chars: int


@cache
def environment() -> Environment:
    """The templates of this package: all that they are given is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=PackageLoader("tasks.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "seen": seen,
        "n": lambda number: f"{number:,}",
        "percent": percent,
        "size": size,
        "plural": lambda n, what: f"{n:,} {what}{'' if n == 1 else 's'}",
        "named": named,
        "address": address,
        "spelled": spelled,
        "short": lambda text, most=120: abridged(" ".join(str(text).split()), most),
    }
    made.globals |= {"STEPS": STEPS, "LOW": LOW}
    return made


def asset(name: str) -> str:
    """Text of a file of this package: `style.css`, `report.js`."""
    return files("tasks.report").joinpath(name).read_text(encoding="utf-8")


def policy(*scripts: str) -> str:
    """A content-security policy that lets a page run these scripts, show images that it holds, and do nothing else."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {hashes or repr('none')}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def seen(text: str, *, changed: bool = False, alone: bool = False) -> Markup:
    """Text that is safe in a page, with a name in place of each character that shows nothing.

    Where it is what was `changed`, line ends are shown, too, and spaces if there is nothing else; where it stands
    `alone`, in one line.
    """
    if changed:
        text = text.translate(_SPACES) if not text.strip(" \t\n\u3000") else text
        text = text.replace("\n", "⏎" if alone else "⏎\n")
        text = text.removesuffix("\n") if text == "⏎\n" else text
    pieces: list[str] = []
    end = 0
    for match in _SUSPECT.finditer(text):
        name = _name(match[0])
        if name:
            pieces += str(escape(text[end : match.start()])), f'<i class="u">{name}</i>'
            end = match.end()
    return Markup("".join([*pieces, str(escape(text[end:]))]))  # noqa: S704  each piece is escaped, or a number of ours


def spelled(text: str) -> str:
    """The same for what is no part of a page yet: `a[U+200B]b`, `␣`, `⏎`."""
    text = text if text.strip(" \t\n\u3000") else text.translate(_SPACES)
    return _SUSPECT.sub(lambda found: f"[{name}]" if (name := _name(found[0])) else found[0], text).replace("\n", "⏎")


def _name(char: str) -> str:
    """`U+200B` for what has no shape; empty for the rest."""
    hidden = unicodedata.category(char) in _HIDDEN or _IGNORED.match(char)
    return f"U+{ord(char):04X}" if hidden and char not in "\u3000\n" else ""


def percent(share: float) -> str:
    """`0 %`, `0.3 %`, `12 %`: never 0 or 100 for what is not."""
    if share in {0, 1}:
        return f"{share:.0%}".replace("%", "\u202f%")
    digits = 1 if share < 0.095 or share > 0.985 else 0
    shown = min(max(share * 100, 0.1), 99.9)
    return f"{shown:.{digits}f}\u202f%" if share >= 0.0005 else "<\u202f0.1\u202f%"


def size(n_bytes: int) -> str:
    """`23 kB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= least:
            return f"{n_bytes / least:,.3g} {unit}"
    return f"{n_bytes} bytes"


def named(document: dict[str, Any], most: int = 80) -> str:
    """Name of a document's file, and which of a container it is; of an address that ends with `/` all of it."""
    uri = document["source_uri"]
    name = f"{unquote(uri.rpartition('/')[2]) or uri} {document['record']}".strip()
    return abridged(name, most)


_ESCAPED = re.compile(r"(?:%[89A-Fa-f][0-9A-Fa-f])++")
"""What is not ASCII, in an address."""


def address(uri: str) -> str:
    """An address with names in Chinese as they read; escapes of signs, which may mean something else, stay."""
    return _ESCAPED.sub(lambda found: text if "\ufffd" not in (text := unquote(found[0])) else found[0], uri)


def told(pieces: Iterable[Piece], numbers: Iterator[int]) -> list[Told]:
    """Pieces as a page shows them; changes take their numbers from the iterator."""
    return [_told(piece, numbers) for piece in pieces]


def _told(piece: Piece, numbers: Iterator[int]) -> Told:
    main = piece.main
    if main is None:
        shown = seen(piece.clean.removesuffix("\n"))
        about = f"damage left: {piece.damage}" if piece.damage else ""
        return Told(shown, shown, "", 0, about, low=False, gone=False, damage=piece.damage)
    observed, clean = seen(piece.observed, changed=True), seen(piece.clean, changed=True)
    low = piece.confidence < LOW
    about = "\n".join(dict.fromkeys(about_edit(made.edit) for made in _most(piece)))
    gone = not piece.clean.strip()
    return Told(observed, clean, main.edit.step, next(numbers), about, low=low, gone=gone, damage=piece.damage)


MOST_TOLD = 4
"""Edits that are told of a change: a line that went may have lost fifty glosses before."""


def _most(piece: Piece) -> list[Any]:
    made = [piece.main, *(made for made in piece.made if made is not piece.main)]
    return made[:MOST_TOLD]


def about_edit(edit: Edit) -> str:
    """`glosses: mangler, 90 % sure`, and the bytes of a byte repair."""
    sure = "proved or by rule" if edit.confidence == 1 else f"{edit.confidence:.0%} sure".replace("%", "\u202f%")
    told_bytes = bytes_told(edit)
    return f"{edit.step}: {edit.rule}, {sure}" + (f"; {told_bytes}" if told_bytes else "")


AROUND = 40
"""Characters shown of what stayed on either side of changes, in a document that is cut."""


MARKED = 12
"""Characters that a change counts for besides its own: what marks it is as long in a page as so many of Chinese."""


def rows_told(pieces: Sequence[Piece], most_chars: int) -> tuple[list[list[Told] | Gap], int]:
    """A document as rows, both sides in each; and how many of its changes are not shown.

    If it is longer than so many characters, stretches that stayed are cut to what stands around changes; if that is
    too long still, its end is left out. A change counts for `MARKED` characters more.
    """
    if sum(max(len(p.observed), len(p.clean)) for p in pieces) > most_chars:
        pieces = [_cut(p) for p in pieces]
    shown: list[list[Told] | Gap] = []
    numbers, left = count(1), most_chars
    n_changes = sum(bool(piece.made) for piece in pieces)
    for row in rows_of(pieces):
        length = sum(max(len(p.observed), len(p.clean)) + (MARKED if p.made else 0) for p in row)
        if left <= 0 or (length > left and shown):
            _skip(shown, sum(len(p.clean) for p in row))
            left = 0
            continue
        row = _within(row, left)  # noqa: PLW2901
        left -= length
        shown.append(told(row, numbers))
    return shown, n_changes - next(numbers) + 1


def _skip(shown: list[list[Told] | Gap], chars: int) -> None:
    last = shown[-1] if shown else None
    if isinstance(last, Gap):
        shown[-1] = Gap(last.lines + 1, last.chars + chars)
    else:
        shown.append(Gap(1, chars))


def _within(row: Sequence[Piece], most: int) -> list[Piece]:
    """Pieces of a row up to so many characters; of one that is longer alone, both ends."""
    kept: list[Piece] = []
    for piece in row:
        length = max(len(piece.observed), len(piece.clean)) + (MARKED if piece.made else 0)
        if length > most:
            half = max(most, 2 * AROUND)
            short = Piece(abridged(piece.observed, half), abridged(piece.clean, half), piece.made, piece.damage)
            return [*kept, short, Piece(" […]", " […]")]
        kept.append(piece)
        most -= length
    return kept


def _cut(piece: Piece) -> Piece:
    """A stretch that stayed, without its middle; the line ends in what is left out are left out."""
    if piece.made or len(piece.clean) <= 3 * AROUND:
        return piece
    kept = f"{piece.clean[:AROUND]} […{len(piece.clean) - 2 * AROUND:,} characters…] {piece.clean[-AROUND:]}"
    return Piece(kept, kept, (), piece.damage)
