"""What a page says of itself, repaired by the steps that repair its text, and put beside what its lines say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.config import CleanConfig
from schemas.document import Cleaned, Context, Fact, Page
from tasks.clean import clean
from tasks.steps import STEPS, boilerplate
from tasks.steps.dates import DATETIME, iso_datetime
from tasks.steps.lines import fold, key
from tasks.steps.titles import bare_title

REPAIRS = frozenset({"invisible", "mojibake", "shift", "glosses", "symbols", "punctuation", "script"})
"""Steps that change characters within a line, and take no lines away."""

CONTEXT_CHARS = 3_000
"""Characters of the main text that are repaired along: a title alone is too short to prove damage on."""

LONGEST_LINE = 300
"""Characters of a line beside the main text that is asked: lines of data are shorter."""

LONGEST_DATED = 80
"""Characters of a line with a date that says when an article was published."""

CLOSE_LINES = 4
"""Lines above the title, and above the body, that may be about the article."""
BETWEEN_LINES = 8
"""Lines below the title that may be; between it and the body may stand a whole column of links."""

_CRUMBS = re.compile("[>＞»›]|位置")

_CODES = frozenset({"published_at", "source_url", "lang_declared"})
"""Fields whose values are no text."""


def with_facts(cleaned: Cleaned, page: Page, config: CleanConfig) -> Cleaned:
    """A clean text with the facts of its page: of its head where that says something, of its lines otherwise."""
    values = {name: value for name, value in page.facts.items() if name not in _CODES}
    head, tail = (tuple(line for line in lines if len(line) <= LONGEST_LINE) for lines in (page.head, page.tail))
    lines = _repaired([*values.values(), *head, *tail], page.text, config)
    given = {**page.facts, **dict(zip(values, lines, strict=False))}
    if title := given.get("title"):
        given["title"] = bare_title(title) or title
    around = lines[len(values) :]
    above, between = _near(around[: len(head)], given.get("title", ""))
    told = _told([*above, *([title] if title else []), *between], cleaned.text, around[len(head) :])
    if "published_at" not in told | given and (moment := _dated(between)):
        told["published_at"] = moment
    return replace(cleaned, facts=_merged(given, told, cleaned.facts))


def with_given(cleaned: Cleaned, facts: Mapping[str, str], config: CleanConfig) -> Cleaned:
    """A clean text with what its container says of it: that goes before what the document says itself."""
    values = {name: value for name, value in facts.items() if name not in _CODES}
    lines = _repaired([value.replace("\n", " ") for value in values.values()], cleaned.text, config)
    given = {**facts, **dict(zip(values, lines, strict=True))}
    return replace(cleaned, facts=_merged({name: said for name, said in given.items() if said}, {}, cleaned.facts))


def _repaired(lines: Sequence[str], text: str, config: CleanConfig) -> list[str]:
    """Lines as the steps repair them beside the main text."""
    if not lines:
        return []
    skip = tuple(name for name in STEPS if name not in REPAIRS or name in config.skip)
    without = config.model_copy(update={"skip": skip})
    whole = "\n".join([*lines, text[:CONTEXT_CHARS]])
    repaired = clean(whole, without).text.split("\n")
    if len(repaired) != whole.count("\n") + 1:  # a step joined lines: then each for itself
        return [clean(line, without).text.replace("\n", " ") for line in lines]
    return repaired[: len(lines)]


def _told(head: Sequence[str], text: str, tail: Sequence[str]) -> dict[str, str]:
    """Facts in the lines around the main text."""
    body = text[:CONTEXT_CHARS].rpartition("\n")[0] or text[:CONTEXT_CHARS]
    page = "\n".join([*head, body, *tail])
    found: dict[str, str] = {}
    for fact in boilerplate.find(page, Context(CleanConfig())):
        if isinstance(fact, Fact):
            found.setdefault(fact.field, fact.value)
    return found


def _near(head: Sequence[str], title: str) -> tuple[Sequence[str], Sequence[str]]:
    """Breadcrumbs a little above the title, and lines between it and the body.

    Menus stand higher up, where `boilerplate` would lose its patience with them. So does the date of today.
    """
    titles = [i for i, line in enumerate(head) if title and key(line) == key(title)]
    start = titles[-1] + 1 if titles else max(0, len(head) - CLOSE_LINES)
    crumbs = [line for line in head[max(0, start - CLOSE_LINES) : start] if _CRUMBS.search(line)]
    under, over = head[start : start + BETWEEN_LINES], head[start + BETWEEN_LINES :][-CLOSE_LINES:]
    return crumbs, [*under, *over]


def _dated(between: Sequence[str]) -> str:
    """The one date that stands above the body on a short line of whatever else; empty if none does."""
    lines = [fold(line) for line in between if len(line) <= LONGEST_DATED]
    dates = {iso for line in lines for match in DATETIME.finditer(line) if (iso := iso_datetime(match))}
    return dates.pop() if len(dates) == 1 else ""


def _merged(given: Mapping[str, str], told: Mapping[str, str], inside: Mapping[str, str]) -> dict[str, str]:
    """One value for each field: the head of the page goes before lines beside the text, and these before lines in it.

    But a line that names a source knows better than the head, which names the site; and one may know the hour of a day.
    """
    merged = {**inside, **told, **given}
    site = told.get("site_name") or inside.get("site_name") or ""
    if site and given.get("site_name", site) not in site:
        merged["site_name"] = site
    for others in (told, inside):
        if others.get("published_at", "").startswith(merged.get("published_at", "-")):
            merged["published_at"] = others["published_at"]
    return merged
