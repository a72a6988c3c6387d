"""How things look on a terminal: text of documents made harmless, changes, tables, progress.

Nothing of a document reaches the terminal as it is: control characters, escape sequences and characters that reorder or
hide text are shown as escapes, since pages that were damaged on purpose are what this project reads.
"""

import bisect
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from schemas.document import Cleaned, Damage, Decoded, Edit, Outcome, Page, Stage
from tasks.steps.edits import apply

CONTEXT = 16
"""Characters shown on either side of an edit."""

LONGEST = 72
"""Characters shown of what an edit removes or inserts; the middle of more is left out."""

EXAMPLES = 5
"""Edits shown of one rule, unless all are asked for."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that a terminal acts on, or shows nothing of."""

_SUSPECT = re.compile(r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u3001-\u303f\u4e00-\u9fff\uff01-\uff5e]")
"""What may be of such a category: the rest needs no look-up."""


def visible(text: str) -> str:
    r"""Text that is safe to print: `\x1b`, `\u200b`, `\ue123` for what is hidden, `⏎` for a line end."""
    return _SUSPECT.sub(lambda match: _shown(match[0]), text)


def _shown(char: str) -> str:
    if char == "\n":
        return "⏎"
    if unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape").decode()


def printable(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(visible, text.split("\n")))


def explain(console: Console, name: str, outcome: Outcome, *, everything: bool) -> None:
    """Print what cleaning makes of a document, and why: step by step, rule by rule."""
    console.print(Text(visible(name), style="bold"))
    if outcome.decoded:
        console.print(_decoding(outcome.decoded, outcome.origin.n_bytes))
    if outcome.decoded and outcome.cleaned:
        if outcome.page:
            console.print(_page(outcome.page))
        _stages(console, outcome.text_in or "", outcome.cleaned.stages, everything=everything)
        _facts(console, outcome.cleaned.facts)
        _damage(console, outcome.cleaned.damage)
    console.print()
    console.print(verdict(outcome))


def _decoding(decoded: Decoded, n_bytes: int) -> Text:
    line = Text(f"{n_bytes:,} bytes, ")
    if not decoded.encoding:
        return line.append("which are no text in any encoding", style="red")
    line.append(f"read as {decoded.encoding} ({decoded.method}, confidence {decoded.confidence:.2f})")
    line.append(f": {len(decoded.text):,} characters")
    if decoded.bad_bytes:
        line.append(f", {len(decoded.bad_bytes):,} bytes belong to none", style="yellow")
    return line


def _page(page: Page) -> Text:
    """What was taken out of HTML; lines below are counted in it."""
    line = Text(f"a page of HTML: {count(len(page.text), 'character')} of main text")
    if page.flat:
        line.append(", not to be told from the rest", style="yellow")
    if page.hidden_chars:
        line.append(f", {page.hidden_chars:,} hidden and left out", style="yellow")
        line.append(f": {_abridged(page.hidden_text.strip())}")
    return line


def _stages(console: Console, text: str, stages: Iterable[Stage], *, everything: bool) -> None:
    seen: set[str] = set()
    for stage in stages:
        again = ", again" if stage.step in seen else ""
        seen.add(stage.step)
        console.print()
        console.print(Text(f"{stage.step}{again}: {count(len(stage.edits), 'edit')}", style="bold cyan"))
        _rules(console, text, stage, everything=everything)
        text = apply(text, stage.edits)


def _rules(console: Console, text: str, stage: Stage, *, everything: bool) -> None:
    lines = [-1, *(match.start() for match in re.finditer("\n", text))]
    for rule, edits in _by_rule(stage.edits):
        console.print(Text(f"  {visible(rule)} ({len(edits):,})"))
        shown = edits if everything else edits[:EXAMPLES]
        for edit in shown:
            console.print(_change(text, edit, bisect.bisect_left(lines, edit.start), color=bool(console.color_system)))
        if len(shown) < len(edits):
            console.print(Text(f"    … and {len(edits) - len(shown):,} more (--all shows them)", style="dim"))


def _by_rule(edits: Iterable[Edit]) -> Iterator[tuple[str, list[Edit]]]:
    for rule, group in groupby(sorted(edits, key=lambda edit: edit.rule), key=lambda edit: edit.rule):
        yield rule, list(group)


def _change(text: str, edit: Edit, line: int, *, color: bool) -> Text:
    end = edit.start + len(edit.before)
    shown = Text(f"    {line:>4}  ", style="dim")
    left, right = text[max(0, edit.start - CONTEXT) : edit.start], text[end : end + CONTEXT]
    shown.append(marked(left, edit.before, edit.after, right, color=color))
    if edit.confidence < 1:
        shown.append(f"  {edit.confidence:.0%} sure", style="not dim yellow")
    return shown


def marked(left: str, before: str, after: str, right: str, *, color: bool) -> Text:
    """One edit with what stands around it in its line; in the manner of wdiff where there are no colours."""
    shown = Text().append(visible(left.rpartition("\n")[2]), style="dim not bold")
    marks = ("", "", "", "") if color else ("[-", "-]", "{+", "+}")
    if before:
        shown.append(marks[0] + _abridged(before) + marks[1], style="not dim red strike")
    if after:
        shown.append(marks[2] + _abridged(after) + marks[3], style="not dim green bold")
    return shown.append(visible(right.partition("\n")[0]), style="dim not bold")


def _abridged(text: str) -> str:
    if len(text) > LONGEST:
        half = LONGEST // 2
        return f"{visible(text[:half])} … {visible(text[-half:])} ({len(text):,} characters)"
    shown = visible(text)
    return shown if shown.strip() else shown.replace(" ", "␣").replace("\u3000", r"\u3000")


def _facts(console: Console, facts: Mapping[str, str]) -> None:
    if facts:
        console.print()
        console.print(Text("what the page says of itself", style="bold cyan"))
    for field, value in facts.items():
        console.print(Text(f"  {field:<13} {_abridged(value)}"))


def _damage(console: Console, damage: Iterable[Damage]) -> None:
    damage = list(damage)
    if damage:
        console.print()
        console.print(Text("damaged, and not to be repaired", style="bold yellow"))
    for item in damage[:EXAMPLES]:
        console.print(Text(f"  {item.kind:<16} {_abridged(item.text)}  ({item.step})"))
    if len(damage) > EXAMPLES:
        console.print(Text(f"  … and {len(damage) - EXAMPLES:,} more", style="dim"))


def verdict(outcome: Outcome) -> Text:
    """What becomes of the document, in a line."""
    if outcome.rejection:
        detail = printable(outcome.rejection.detail)
        return Text(f"would be rejected as {outcome.rejection.reason}: {detail}", style="red")
    cleaned = outcome.cleaned
    if cleaned and not cleaned.stages:
        return Text("nothing to change", style="green")
    return Text(f"would be kept: {changes(cleaned)}", style="green") if cleaned else Text("nothing was read")


def changes(cleaned: Cleaned) -> str:
    """`58 edits (glosses 54, spam 4), 1,020 characters left`."""
    by_step: dict[str, int] = {}
    for stage in cleaned.stages:
        by_step[stage.step] = by_step.get(stage.step, 0) + len(stage.edits)
    steps = ", ".join(f"{step} {n:,}" for step, n in by_step.items())
    flags = f"; flagged {', '.join(cleaned.flags)}" if cleaned.flags else ""
    return f"{count(sum(by_step.values()), 'edit')} ({steps}), {count(len(cleaned.text), 'character')} left{flags}"


def count(n: int, what: str) -> str:
    """`1 edit`, `2,000 edits`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def two_columns(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Print what, and how much; never folded, so that paths and commands can be copied."""
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        console.print(Text(f"{name:<{width}}", style="cyan").append(value, style="default"), soft_wrap=True)
