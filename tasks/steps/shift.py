"""GBK misalignment: `發展?jié)摿Γ苿右欢a(chǎn)業(yè)` → `發展潛力，推動一二三產業`.

A gloss put between the bytes of two characters shifts all that follows by one byte, until an ASCII byte puts the
decoder back in step; so does a trim that eats the first byte of a sentence (`保障!笆サ剀` for `保障。“圣地`).
The text behind the run is searched for (realign.py) and taken if damaging it again (tasks/damage/mangler.py) gives
exactly what was observed, if it reads better than what stands there, and if it leaves the next best behind.
"""

import math
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import count, islice, pairwise, product
from typing import NamedTuple

import numpy as np

from schemas.document import Context, Damage, Edit
from tasks.damage.mangler import Broken, Decoder, Undefined, decode, decode_pair, encode, insert_glosses, mangle
from tasks.language import STEPS, columns_in, fold_text, fold_width, next_steps, word_scores
from tasks.steps import trimmed
from tasks.steps.glosses import Gloss, Site, read_glosses, read_site, read_swallowed
from tasks.steps.pinyin import reads
from tasks.steps.realign import OPEN, TRACELESS, State, Table, Token, search
from tasks.steps.trimmed import LEAST_GAIN_MANGLED, Start

LONGEST_RUN = 120
"""Characters of a shifted run, after which the search gives up. In mangled pages something glossed (or a line end)
comes every ten characters or so; the longest run of the seeds has 11."""

MOST_TOKENS = 1500
"""Characters searched in one document, the bound on work for hostile input: 5 ms each on real damage (150 runs), up to
30 ms on noise that keeps all hypotheses alive. What lies behind is left as it is."""

MOST_BARREN = 300
"""Of these, searched one after the other without a repair, after which nothing more is searched."""

SURROUNDINGS = 48
"""Characters on both sides of a run that take part: the context before it, what is ahead of its end."""

AHEAD = 3
"""Characters behind a run that help to tell its hypotheses apart."""

WORDS = 0.5
"""Weight of the word model beside the character model. Of 367 runs with vanished pairs 0 ranks 95.6 % right, 0.3 to
0.5 97 %, and the word model alone 93 %."""

LENGTH = 0.5
"""Added for each character, since both models would rather have a short text: the more vanished pairs, the longer."""

RECURS = 1.0
"""Added for each character that ends a triple which the document has elsewhere: names recur. 0.3 to 1.5 do the same."""

SURE = 0.7
"""Share of the odds from which on a hypothesis is taken whole. On those runs 95 % are right and 1.4 % wrong at 0.7,
94 % and 0.8 % at 0.8, 91 % and none at 0.9. Seed 003 has 0.76."""

TEMPER = 0.5
"""Exponent of the odds for the confidence that is noted: the models are surer than they are right where they are not at
home. Of 240 runs of Wikipedia and translated news with a share of 0.7 to 0.95, 45 % were right; 0.95 to 0.99, 71 %;
0.99 to 0.999, 80 %; beyond, all 157."""

LEAST_CONFIDENCE = 0.45
"""Confidence, so tempered, that has to come with it: many rivals far behind are a bad sign as well."""

LEAST_OF_TRIM = 0.8
"""The same for a trimmed run in which bytes vanished, since no gloss says that it is one; one character of it may stay
open. Of 107 in news it brings back 77 % and gets 6 % wrong, where 0.45 has 78 % and 7.5 %."""

AGREED = 0.9
"""Share of the hypotheses, by probability, that have to agree on a character where no hypothesis is taken whole."""

MOST_OPEN = 0.4
"""Share of a run that may stay open: with more the text stays as it is, with a note of damage."""

LEAST_FLUENT = -4.0
"""Mean score of a character that a repair must have. News is at -2.2, what can be made of Japanese
between -4 and -5."""

MOST_RECALLED = 100_000
"""Characters of a document whose triples are known."""

MOST_TABLES = 16
"""Ways of assigning the glosses of a run to its pairs that a proof tries: nearly always there is one."""

COMPARED = 24
"""Hypotheses ranked by all that is known."""


def find(text: str, context: Context) -> Iterator[Edit | Damage]:  # noqa: ARG001 (a step's signature)
    """Repair shifted runs. See `Step` for the contract."""
    site = None
    if ")" in text or "）" in text:
        site = read_site(text) or Site({}, frozenset(), tuple(read_swallowed(text)))
    strays = {gloss.start for gloss in site.misfits if gloss.char not in site.table} if site else set()
    suspects = _suspects(text, site)
    if not suspects:
        return
    end = used = barren = 0
    page = _Page.of(text, site)
    for position, starts in suspects:
        if position < end:
            continue
        found, tokens = _repair(text, [s for s in starts if s.position >= end], page)
        used, barren = used + tokens, 0 if found else barren + tokens
        if used > MOST_TOKENS or barren > MOST_BARREN:
            return
        if found:
            end = found.start + len(found.before)
            yield found
        elif position in strays:
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


def _repair(text: str, starts: list[Start], page: "_Page") -> tuple[Edit | None, int]:
    """The most convincing of the searches from these starts, and how many tokens they took."""
    found = [_search(text, start, page) for start in starts]
    return max((repair for repair, _ in found), key=lambda r: r.gain, default=_NONE).edit, sum(n for _, n in found)


def _search(text: str, start: Start, page: "_Page") -> tuple[_Repair, int]:
    """What stands behind a run, found in its surroundings alone: what was found once is not searched again."""
    left = max(0, start.position - SURROUNDINGS)
    around = text[left : start.position + LONGEST_RUN + SURROUNDINGS]
    repair, used = _solve(around, start.moved(-left), page, lossy=page.shown.may_lose)
    return repair._replace(edit=repair.edit and repair.edit._replace(start=repair.edit.start + left)), used


class _Shown(NamedTuple):
    """What a text shows of its site and its decoder, in a form that can be a key."""

    glosses: tuple[tuple[str, str], ...] = ()
    certain: frozenset[str] = frozenset()
    may_lose: bool = True
    """Whether pairs may have vanished."""
    swallows: bool = True
    """Whether the decoder swallows the ASCII sign behind a byte that finds no partner, and shows a `?` for both: those
    that do are the rule, so it takes a gloss that kept its bracket (`?(jié)`) to show the opposite."""


class _Page(NamedTuple):
    """What all searches of a text share."""

    shown: _Shown
    triples: frozenset[str]
    """Three characters in a row of the text without its glosses, folded."""

    @classmethod
    def of(cls, text: str, site: Site | None) -> "_Page":
        shown = _Shown(may_lose=_KEPT.search(text) is None)
        if site is None:
            return cls(shown, frozenset())
        marked = [g.text[0] in "(（" for g in site.misfits if text[g.start - 1 : g.start] == "?"]
        swallows = not marked or not all(marked)
        shown = shown._replace(glosses=tuple(sorted(site.table.items())), certain=site.certain, swallows=swallows)
        return cls(shown, frozenset(_triples(fold_text(_without_glosses(text[:MOST_RECALLED])))))


@lru_cache(maxsize=1024)
def _ends(text: str, start: Start, shown: _Shown, *, lossy: bool) -> tuple[list[tuple[int, list[State]]], int]:
    """Where a run may end, each with the best hypotheses there, and how many tokens it took to find them."""
    position = start.position
    before = text[position - 1 : position] if position else "\n"
    if start.pending is None and len(encode(before) or b"") != 2:
        return [], 1
    used = count()
    traceless = text[position : position + 1] not in ("?", "\ufffd")
    pieces = _tokens(text, start, traceless=traceless, swallows=shown.swallows)
    tokens = (token for token, _ in zip(pieces, used, strict=False))
    begin = State(0.0, before, _context(text[:position]), start.pending)
    table = Table(frozenset(char for char, _ in shown.glosses), shown.certain)
    found = [(end, states[:COMPARED]) for end, states in search(tokens, begin, table, lossy=lossy)]
    return found, next(used)


def _solve(text: str, start: Start, page: _Page, *, lossy: bool) -> tuple[_Repair, int]:
    """The repair of a run, and how many tokens it took to find it (or that there is none)."""
    ends, used = _ends(text, start, page.shown, lossy=lossy)
    open_ended = _NONE
    for end, states in ends:
        repair = _accept(text, start, end, states, page)
        if repair.edit and OPEN not in repair.edit.after:
            return repair, used
        if repair.edit:
            open_ended = repair
    return open_ended, used


_CLOSING = re.compile("[)）]")

_SIGNS = ("", *"。！？；：，、…—”’』」》）!?;:,\n")
"""In front of these nothing was swallowed: a site that mangles sentence by sentence cuts before or behind them."""

_KEPT = re.compile("[\ue000-\ue765]")
"""Private-use characters that GBK's user-defined pairs became: where these are kept, none vanished."""


def _tokens(text: str, start: Start, *, traceless: bool, swallows: bool) -> Iterator[Token]:
    """Split the observed text from the start of a run on, to the end of the line at the most."""
    first = position = start.position
    stop = text.find("\n", position)
    stop = min(len(text) if stop < 0 else stop, start.stop or len(text))
    longest = position + LONGEST_RUN
    glosses = {g.start: g for g in _all_glosses(text[max(position - 1, 0) : stop + 8])}
    glosses = {at + max(position - 1, 0): gloss for at, gloss in glosses.items()}
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
        swallowed = swallows and mark == "?" and gloss is None and text[position : position + 1] not in _SIGNS
        yield Token(position, data or b"", gloss.reading if gloss else "", mark, swallowed)
    if traceless and position < longest:
        yield Token(position, mark=TRACELESS)


def _all_glosses(text: str) -> list[Gloss]:
    if ")" not in text and "）" not in text:
        return []
    return sorted((*read_glosses(text), *read_swallowed(text)))


def _without_glosses(text: str) -> str:
    pieces, end = [], 0
    for gloss in _all_glosses(text):
        pieces.append(text[end : gloss.start])
        end = gloss.end
    return "".join((*pieces, text[end:]))


def _context(text: str) -> str:
    """The last two characters before a run, glosses left out, as the language model knows them."""
    return fold_text(f"\n\n{_without_glosses(text[-40:])}")[-2:]


def _scores(contexts: Sequence[str], text: str) -> list[float]:
    """Scores of a text after each of some contexts."""
    n = len(text)
    columns = columns_in("".join(context + text for context in contexts)).reshape(-1, n + 2)
    older, last, chars = (columns[:, i : i + n].ravel() for i in range(3))
    steps = next_steps(older, last, np.arange(len(chars)), chars).reshape(-1, n)
    scores: list[float] = (steps.sum(axis=1) / STEPS).tolist()
    return scores


def _triples(folded: str) -> Iterator[str]:
    return map("".join, zip(folded, folded[1:], folded[2:], strict=False))


def _accept(text: str, start: Start, end: int, states: list[State], page: _Page) -> _Repair:
    """The best hypothesis, if it is proved, beats what stands there, and leaves the next best behind."""
    head, newline, _ = _without_glosses(f"{text[end : end + 8 * AHEAD]}\n")[:AHEAD].partition("\n")
    ahead = head + newline
    *_, line = _without_glosses(text[: start.position]).rpartition("\n")
    ranked = _rank(line[-10:], states, ahead, page.triples)
    if start.rule == "trimmed-byte":
        rest = text[end : end + SURROUNDINGS].partition("\n")[0]
        closing = (r._replace(score=r.score + trimmed.closing_score(r.text + rest)) for r in ranked)
        ranked = sorted(closing, reverse=True)
    total, repaired = ranked[0].plain, ranked[0].text
    before, observed = text[max(start.position - 1, 0) : start.position], text[start.position : end]
    (as_is,) = _scores([_context(text[: start.position])], _without_glosses(observed) + ahead)
    least = LEAST_GAIN_MANGLED if start.rule == "trimmed-byte" and not _all_glosses(observed) else 0.0
    if total - as_is < least or repaired == observed or ranked[0].plain < LEAST_FLUENT * len(repaired + ahead):
        return _NONE
    proved = _is_proved_trim if start.rule == "trimmed-byte" else _is_proved
    if not proved(before, repaired.replace(OPEN, "0"), observed, dict(page.shown.glosses)):
        return _NONE
    told = start.rule == "misfit-gloss"
    least = LEAST_CONFIDENCE if told or _has_all_bytes(repaired, observed) else LEAST_OF_TRIM
    agreed, confidence = _agree(ranked, least)
    if agreed.count(OPEN) - repaired.count(OPEN) > (MOST_OPEN * len(agreed) if told else 1):
        return _NONE
    return _Repair(Edit("shift", start.rule, start.position, observed, agreed, round(confidence, 3)), total - as_is)


class _Ranked(NamedTuple):
    score: float
    """By all that is known."""
    plain: float
    """By the character model alone."""
    text: str


def _rank(line: str, states: list[State], ahead: str, triples: frozenset[str]) -> list[_Ranked]:
    """Hypotheses by the character model, the word model, and what else stands in the document, best first."""
    around = [fold_text(line + state.text[1:] + ahead) for state in states]
    wordings = [folded.replace(OPEN, "0") for folded in around]
    words, follow = word_scores(wordings), _scores([state.context for state in states], ahead)
    ranked: dict[str, _Ranked] = {}
    for state, folded, wording, score in zip(states, around, wordings, follow, strict=True):
        text, plain = state.text[1:], state.score + score
        recurring = sum(map(triples.__contains__, _triples(folded[max(len(line) - 2, 0) :])))
        total = plain + WORDS * words[wording] + RECURS * recurring + LENGTH * len(text)
        ranked[text] = max(_Ranked(total, plain, text), ranked.get(text, _Ranked(-math.inf, 0.0, "")))
    return sorted(ranked.values(), reverse=True)


def _agree(ranked: list[_Ranked], least: float) -> tuple[str, float]:
    """The best hypothesis and its probability, or what most hypotheses agree on, with the rest left open.

    Two hypotheses agree on a character that is in the longest stretches that they have in common (Ratcliff and
    Obershelp 1988), and on nothing standing between two characters where nothing does in both.
    """
    best = ranked[0].text
    odds = [10 ** (r.score - ranked[0].score) for r in ranked]
    share = odds[0] / sum(odds)
    odds = [o**TEMPER for o in odds]
    confidence = odds[0] / sum(odds)
    if share >= SURE and confidence >= least:
        return best, confidence
    best += _END
    chars, joints = [0.0] * len(best), [0.0] * len(best)
    for weight, rival in zip(odds, ranked, strict=True):
        end = rival_end = 0
        for block in SequenceMatcher(None, best, rival.text + _END, autojunk=False).get_matching_blocks():
            begins_alike = block.a - end == block.b - rival_end
            for i in range(block.a, block.a + block.size):
                chars[i] += weight
                joints[i] += weight * (i > block.a or begins_alike)
            end, rival_end = block.a + block.size, block.b + block.size
    enough = AGREED * sum(odds)
    kept = [share >= enough for share in chars]
    gaps = [joint < enough and all(kept[max(i - 1, 0) : i + 1]) for i, joint in enumerate(joints)]
    pieces = (OPEN * gap + (c if keep else OPEN) for c, keep, gap in zip(best, kept, gaps, strict=True))
    lowest = min(share for share, keep in zip(chars, kept, strict=True) if keep)
    return "".join(pieces).removesuffix(_END), lowest / sum(odds)


_END = "\n"
"""Ends all hypotheses alike, since one may have more in front of it."""


def _is_proved(before: str, repaired: str, observed: str, glosses: dict[str, str]) -> bool:
    """Whether some decoder, and the table with the pairs that were struck here, makes of it what was observed."""
    text, goal = before + repaired, fold_width(before + observed)
    tables = _tables(text.encode("gbk", errors="ignore"), before + observed, glosses)
    return any(fold_width(mangle(text, table, decoder)) == goal for table in tables for decoder in _DECODERS)


def _is_proved_trim(before: str, repaired: str, observed: str, glosses: dict[str, str]) -> bool:  # noqa: ARG001
    """The same for a sentence without its first byte, which has to be all that a trim of A1 takes."""
    data = repaired.encode("gbk", errors="ignore")
    if data.lstrip(b"\xa1") != data[1:]:
        return False
    return any(
        fold_width(decode(insert_glosses(data[1:], table), decoder)) == fold_width(observed)
        for table in _tables(data, observed, glosses)
        for decoder in _DECODERS
    )


def _has_all_bytes(repaired: str, observed: str) -> bool:
    """Whether a trimmed run lost its first byte and nothing more."""
    if OPEN in repaired:
        return False
    seen = trimmed.first_bytes(observed[0]) + _without_glosses(observed[1:]).encode("gbk", errors="replace")
    return len(repaired.encode("gbk", errors="replace")) == len(seen) + 1


def _tables(data: bytes, observed: str, glosses: dict[str, str]) -> Iterator[dict[bytes, str]]:
    """The site's table in bytes, with pairs of `data` that the glosses in the observed run may have been put behind."""
    table = {char.encode("gbk", errors="ignore"): gloss for char, gloss in glosses.items()}
    pairs = {pair: char for pair in map(bytes, pairwise(data)) if min(pair) >= 0x40 and (char := decode_pair(pair))}
    struck = {gloss.reading: gloss.text for gloss in _all_glosses(observed)}
    options = []
    for reading, text in struck.items():
        gloss = text if text[0] in "(（" else f"({text}"
        options.append([{pair: gloss} for pair, char in pairs.items() if reads(char, reading)] or [{}])
    for choice in islice(product(*options), MOST_TABLES):
        yield {**{pair: gloss for option in choice for pair, gloss in option.items()}, **table}


_DECODERS = tuple(
    Decoder(broken, undefined, mark) for mark in ("?", "\ufffd") for broken in Broken for undefined in Undefined
)
