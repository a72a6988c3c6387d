"""GBK misalignment: `發展?jié)摿Γ苿右欢a(chǎn)業(yè)` → `發展潛力，推動一二三產業`.

A gloss put between the bytes of two characters shifts all that follows by one byte, until an ASCII byte puts the
decoder back in step; so does a trim that eats the first byte of a sentence (`保障!笆サ剀` for `保障。“圣地`).
The text behind the run is searched for (realign.py) and taken if damaging it again (tasks/damage/mangler.py) gives
exactly what was observed, if it reads better than what stands there, and if it leaves the next best behind.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count, pairwise
from typing import NamedTuple

from schemas.document import Context, Damage, Edit
from tasks.damage.mangler import Broken, Decoder, Undefined, decode, decode_pair, encode, insert_glosses, mangle
from tasks.language import fold_width, next_score
from tasks.scripts import simplify
from tasks.steps import trimmed
from tasks.steps.glosses import Gloss, Site, read_glosses, read_site, read_swallowed
from tasks.steps.realign import TRACELESS, State, Table, Token, reads, search
from tasks.steps.trimmed import LEAST_GAIN_MANGLED, Start

LONGEST_RUN = 120
"""Characters of a shifted run, after which the search gives up. In mangled pages something glossed (or a line end)
comes every ten characters or so; the longest run of the seeds has 11."""

MOST_TOKENS = 1500
"""Characters searched in one document, the bound on work for hostile input: 5 ms each on real damage (150 runs), up to
30 ms on noise that keeps all hypotheses alive (45 s). What lies behind is left as it is."""

SURROUNDINGS = 48
"""Characters on both sides of a run that take part: the context before it, what is ahead of its end."""

AHEAD = 3
"""Characters behind a run that help to tell its hypotheses apart."""

LEAST_CONFIDENCE = {False: 0.3, True: 0.5}
"""Below this the text stays as it is, with a note of damage; more is asked where pairs may have vanished (True),
since then there is more to guess. On 20 news items with vanished pairs 0.5 repairs as many runs as 0.3 and gets fewer
wrong, 0.7 leaves a fifth of them."""


def find(text: str, context: Context) -> Iterator[Edit | Damage]:  # noqa: ARG001 (a step's signature)
    """Repair shifted runs. See `Step` for the contract."""
    site = None
    if ")" in text or "）" in text:
        site = read_site(text) or Site({}, frozenset(), tuple(read_swallowed(text)))
    end = 0
    page = _Page.of(text, site)
    work = iter(range(MOST_TOKENS))
    for position, starts in _suspects(text, site):
        if position < end:
            continue
        found = _repair(text, [s for s in starts if s.position >= end], page, work)
        if next(work, None) is None:
            return
        if found:
            end = found.start + len(found.before)
            yield found
        elif starts[0].rule == "misfit-gloss":
            mark = starts[0].position
            yield Damage("shift", "shift", mark, text[mark : _CLOSING.search(text, position).end()])  # type: ignore[union-attr]


def _suspects(text: str, site: Site | None) -> list[tuple[int, list[Start]]]:
    """Places that look shifted, in order, each with the starts to try."""
    places: dict[int, list[Start]] = {}
    unmarked = set()
    for gloss in site.misfits if site else ():
        marked = text[gloss.start - 1 : gloss.start] in ("?", "\ufffd")
        places[gloss.start] = [Start(gloss.start - marked, "misfit-gloss")]
        if not marked:
            unmarked.add(gloss.start)
    for piece in trimmed.suspects(text, unmarked, mangled=bool(site and site.table)):
        # A mark says that a run begins at its gloss; without one it may end there.
        place = piece.end if piece.end in unmarked else piece.starts[0].position
        places.setdefault(place, []).extend(piece.starts)
    return sorted(places.items())


class _Repair(NamedTuple):
    edit: Edit | None
    gain: float
    """Decimal logarithms by which it reads better than what stands there."""


_NONE = _Repair(None, 0.0)


def _repair(text: str, starts: list[Start], page: "_Page", work: Iterator[int]) -> Edit | None:
    """The most convincing of the searches from these starts."""
    found = (_search(text, start, page, work) for start in starts)
    return max(found, key=lambda r: r.gain, default=_NONE).edit


def _search(text: str, start: Start, page: "_Page", work: Iterator[int]) -> _Repair:
    """What stands behind a run, found in its surroundings alone: what was found once is not searched again."""
    left = max(0, start.position - SURROUNDINGS)
    around = text[left : start.position + LONGEST_RUN + SURROUNDINGS]
    repair, used = _solve(around, start.moved(-left), page, page.may_lose)
    for _ in zip(range(used), work, strict=False):
        pass
    return repair._replace(edit=repair.edit and repair.edit._replace(start=repair.edit.start + left))


class _Page(NamedTuple):
    """What all searches of a text share, in a form that can be a key."""

    glosses: tuple[tuple[str, str], ...]
    certain: frozenset[str]
    may_lose: bool
    """Whether pairs may have vanished."""

    @classmethod
    def of(cls, text: str, site: Site | None) -> "_Page":
        may_lose = _KEPT.search(text) is None
        return (
            cls(tuple(sorted(site.table.items())), site.certain, may_lose) if site else cls((), frozenset(), may_lose)
        )


@lru_cache(maxsize=4096)
def _solve(text: str, start: Start, page: _Page, lossy: bool) -> tuple[_Repair, int]:
    """The repair of a run, and how many tokens it took to find it (or that there is none)."""
    position = start.position
    before = text[position - 1 : position] if position else "\n"
    if start.pending is None and len(encode(before) or b"") != 2:
        return _NONE, 1
    used = count()
    traceless = text[position : position + 1] not in ("?", "\ufffd")
    tokens = (token for token, _ in zip(_tokens(text, position, start, traceless=traceless), used, strict=False))
    begin = State(0.0, before, _context(text[:position]), start.pending)
    glosses = dict(page.glosses)
    for end, states in search(tokens, begin, Table(frozenset(glosses), page.certain), lossy=lossy):
        found = _accept(text, start, end, states, glosses)
        if found and found.edit and found.edit.confidence >= LEAST_CONFIDENCE[lossy]:
            return found, next(used)
    return _NONE, next(used)


_CLOSING = re.compile("[)）]")

_KEPT = re.compile("[\ue000-\ue765]")
"""Private-use characters that GBK's user-defined pairs became: where these are kept, none vanished."""


def _tokens(text: str, position: int, start: Start, *, traceless: bool) -> Iterator[Token]:
    """Split the observed text from the start of a run on, to the end of the line at the most."""
    stop = text.find("\n", position)
    stop = min(len(text) if stop < 0 else stop, start.stop or len(text))
    longest = position + LONGEST_RUN
    glosses = {g.start: g for g in _all_glosses(text[max(position - 1, 0) : stop + 8])}
    glosses = {at + max(position - 1, 0): gloss for at, gloss in glosses.items()}
    first = position
    while position < min(stop, longest):
        gloss = glosses.get(position)
        if gloss is not None:
            position += gloss.end - gloss.start
            yield Token(position, reading=gloss.reading, mark=TRACELESS if traceless else "")
            continue
        char = text[position]
        begins = position == first and start.rule == "trimmed-byte"
        data = trimmed.first_bytes(char) if begins else encode(char)
        if data is None and char != "\ufffd":
            break
        if traceless and data and data < b"@" and char != "?":
            yield Token(position, mark=TRACELESS)
        position += 1
        mark = char if char in "?\ufffd" else ""
        gloss = glosses.get(position) if mark else None
        if gloss is not None:
            position += gloss.end - gloss.start
        yield Token(position, data or b"", gloss.reading if gloss else "", mark)
    if traceless and position < longest:
        yield Token(position, mark=TRACELESS)


def _all_glosses(text: str) -> list[Gloss]:
    return sorted((*read_glosses(text), *read_swallowed(text)))


def _without_glosses(text: str) -> str:
    pieces, end = [], 0
    for gloss in _all_glosses(text):
        pieces.append(text[end : gloss.start])
        end = gloss.end
    return "".join((*pieces, text[end:]))


def _context(text: str) -> str:
    """The last two characters before a run, glosses left out, as the language model knows them."""
    return fold_width(simplify(f"\n\n{_without_glosses(text[-40:])}"))[-2:]


def _score(context: str, text: str) -> float:
    folded = context + fold_width(simplify(text))
    return sum(next_score(folded[i - 2 : i], folded[i]) for i in range(2, len(folded)))


def _accept(text: str, start: Start, end: int, states: Iterable[State], glosses: dict[str, str]) -> _Repair | None:
    """The best hypothesis, if it is proved, beats what stands there, and leaves the next best behind."""
    head, newline, _ = _without_glosses(f"{text[end : end + 8 * AHEAD]}\n")[:AHEAD].partition("\n")
    ahead = head + newline
    ranked = sorted(((s.score + _score(s.context, ahead), s.text[1:]) for s in states), reverse=True)
    total, repaired = ranked[0]
    before, observed = text[max(start.position - 1, 0) : start.position], text[start.position : end]
    as_is = _score(_context(text[: start.position]), _without_glosses(observed) + ahead)
    confidence = 1 / (1 + sum(10 ** (other - total) for other, rival in ranked[1:] if rival != repaired))
    least = LEAST_GAIN_MANGLED if start.rule == "trimmed-byte" and not _all_glosses(observed) else 0.0
    if total - as_is < least or repaired == observed:
        return None
    proved = _is_proved_trim if start.rule == "trimmed-byte" else _is_proved
    if not proved(before, repaired, observed, glosses):
        return None
    return _Repair(Edit("shift", start.rule, start.position, observed, repaired, round(confidence, 3)), total - as_is)


def _is_proved(before: str, repaired: str, observed: str, glosses: dict[str, str]) -> bool:
    """Whether some decoder, and the table with the pairs that were struck here, makes of it what was observed."""
    text, goal = before + repaired, fold_width(before + observed)
    table = _table(text.encode("gbk", errors="ignore"), before + observed, glosses)
    return any(fold_width(mangle(text, table, decoder)) == goal for decoder in _DECODERS)


def _is_proved_trim(before: str, repaired: str, observed: str, glosses: dict[str, str]) -> bool:  # noqa: ARG001
    """The same for a sentence without its first byte, which has to be all that a trim of A1 takes."""
    data = repaired.encode("gbk", errors="ignore")
    if data.lstrip(b"\xa1") != data[1:]:
        return False
    table = _table(data, observed, glosses)
    return any(
        fold_width(decode(insert_glosses(data[1:], table), decoder)) == fold_width(observed) for decoder in _DECODERS
    )


def _table(data: bytes, observed: str, glosses: dict[str, str]) -> dict[bytes, str]:
    """The site's table in bytes, with the pairs of `data` that glosses in the observed run were put behind."""
    table = {char.encode("gbk", errors="ignore"): gloss for char, gloss in glosses.items()}
    for gloss in _all_glosses(observed):
        for pair in map(bytes, pairwise(data)):
            char = decode_pair(pair) if min(pair) >= 0x40 else None
            if char and reads(char, gloss.reading):
                table.setdefault(pair, gloss.text if gloss.text[0] in "(（" else f"({gloss.text}")
    return table


_DECODERS = tuple(
    Decoder(broken, undefined, mark) for mark in ("?", "\ufffd") for broken in Broken for undefined in Undefined
)
