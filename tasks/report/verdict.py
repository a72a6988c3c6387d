"""Whether a run can be trusted, in a sentence and a few figures, each of them good, worth a look, or bad."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.report.figures import LOW
from tasks.report.page import percent

TONES = ("note", "good", "look", "bad")
"""From nothing to say to the worst."""

WORDS = {"note": "", "good": "good", "look": "have a look", "bad": "bad"}

SIGNS = {"note": "·", "good": "✓", "look": "!", "bad": "✗"}

BOUNDS = {
    "rejected": (0.05, 0.2),
    "failures": (0.0, 0.01),
    "damage": (0.02, 0.1),
    "removed": (0.15, 0.4),
    "unsure": (0.02, 0.1),
    "guesses": (0.0, 0.01),
}
"""Shares of documents (of characters for `removed`, of edits for `guesses`) above which a figure is worth a look, and
bad. Set by hand, since no run tells what its reader can bear: one page in fifty that is still damaged is met soon; of
the seeds, clone pages with spam on top, 2 % of the characters go as spam, furniture and repeats."""


class Tile(NamedTuple):
    """A figure with what it means."""

    what: str
    value: str
    tone: str
    """One of `TONES`."""
    why: str
    link: str
    """Part of the page that has more."""


class Verdict(NamedTuple):
    """What to think of a run."""

    tone: str
    headline: str
    sentence: str
    tiles: tuple[Tile, ...]

    @property
    def doubts(self) -> list[Tile]:
        """What is worth a look, the worst first."""
        found = [tile for tile in self.tiles if tile.tone in {"look", "bad"} and tile.what != "clean"]
        return sorted(found, key=lambda tile: -TONES.index(tile.tone))


def judge_run(total: Mapping[str, Any]) -> Verdict:
    """The verdict on `figures.totals` of the documents that a run has cleaned."""
    n, clean = total["documents"], total["clean"]
    telling = _share(total["rejected_telling"], n)
    stripped = _share(total["chars_stripped"], total["chars_in"])
    removed = f"as spam, furniture and repeats: {total['chars_stripped']:,} of {total['chars_in']:,} characters"
    damaged = _tone("damage", _share(total["damaged"], clean))
    failed = _tone("failures", _share(total["failures"], n))
    tiles = (
        Tile(
            "documents cleaned", f"{n:,}", "note", f"{total['edits']:,} edits in {total['edited']:,} of them", "#flow"
        ),
        Tile("clean", percent(_share(clean, n)), _tone("rejected", telling), _kept_why(total), "#flow"),
        Tile("rejected", f"{total['rejected']:,}", _tone("rejected", telling), _rejected_why(total), "#rejected"),
        Tile("failures", f"{total['failures']:,}", failed, "what could not be read, or failed on the way", "#rejected"),
        Tile("damage left", f"{total['damaged']:,}", damaged, _damage_why(total), "#look"),
        Tile("text removed", percent(stripped), _tone("removed", stripped), removed, "#edits"),
        Tile("guesses", f"{total['guesses']:,}", _guesses_tone(total), _guesses_why(total), "#look"),
    )
    worst = max((tile.tone for tile in tiles), key=TONES.index)
    tone = "good" if worst == "note" else worst
    if not clean:
        return Verdict("bad", "Nothing was kept", "Every document was rejected: see why below.", tiles)
    return Verdict(tone, _HEADLINES[tone], _sentence(tone, total), tiles)


_HEADLINES = {
    "good": "You can trust this run",
    "look": "Have a look before you build on this",
    "bad": "Don't build on this yet",
}


def _sentence(tone: str, total: Mapping[str, Any]) -> str:
    kept = f"{total['clean']:,} of {total['documents']:,} documents are clean"
    if tone == "good":
        return f"{kept}, and nothing in them asks for a closer look. Every change can be traced and taken back."
    return f"{kept}. What to look at:"


def _tone(bound: str, share: float) -> str:
    look, bad = BOUNDS[bound]
    return "bad" if share > bad else "look" if share > look else "good"


def _rejected_why(total: Mapping[str, Any]) -> str:
    if not total["rejected"]:
        return "every document was kept"
    harmless = total["rejected"] - total["rejected_telling"]
    said = f"{percent(_share(total['rejected'], total['documents']))} of all"
    return f"{said}; {harmless:,} of them empty or duplicates" if harmless else said


def _guesses_tone(total: Mapping[str, Any]) -> str:
    """Bad only where many documents have some, and they are many of all edits: one guess spoils no document."""
    tones = (
        _tone("unsure", _share(total["unsure"], total["documents"])),
        _tone("guesses", _share(total["guesses"], total["edits"])),
    )
    return min(tones, key=TONES.index)


def _guesses_why(total: Mapping[str, Any]) -> str:
    if not total["guesses"]:
        return f"every edit is at least {percent(LOW)} sure"
    return f"edits less than {percent(LOW)} sure, in {_documents(total['unsure'])}"


def _damage_why(total: Mapping[str, Any]) -> str:
    if not total["damaged"]:
        return "no clean document has a place that could not be repaired"
    return f"documents with {total['damage_chars']:,} characters that could not be repaired"


def _kept_why(total: Mapping[str, Any]) -> str:
    kept = f"{_documents(total['clean'])} kept"
    return f"{kept}, {total['duplicates']:,} of them marked as duplicates" if total["duplicates"] else kept


def _documents(n: int) -> str:
    return f"{n:,} document{'' if n == 1 else 's'}"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
