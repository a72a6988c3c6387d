"""The history of a dataset as it is seen on the command line: its snapshots, what differs, going back, making room."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyarrow import ArrowException
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from flows.terminal import count, marked, two_columns, visible
from schemas.config import CleanConfig
from schemas.document import Run
from tasks import rules
from tasks.publish import expired, restorable
from tasks.publish.difference import Difference, RuleChange, Side, compare
from tasks.publish.history import (
    Entry,
    before,
    consequences,
    entries,
    freed,
    leftovers,
    restore,
    runs_that_stay,
    settings_changed,
)
from tasks.publish.snapshots import DamagedError, DatasetError, Snapshot
from tasks.publish.store import Store, at, current, open_store

PIPE_WIDTH = 500
"""Columns where there is no terminal: no line is folded, or cut."""

NARROW = 80
"""Columns of a terminal below which figures would be cut: it folds lines itself then."""

WIDE = 120
"""Columns of a terminal from which on all columns of the list of snapshots fit beside what changed."""

LIMIT = 20
"""Rules, and documents of a kind, that are told unless asked for more."""

CHANGES = {
    "n_added": "added",
    "n_changed": "changed",
    "n_removed": "removed",
    "n_recleaned": "re-cleaned",
    "n_relearned": "re-cleaned for other pages",
}
"""Columns of `runs`, in words."""

BACK = {
    "n_added": "back",
    "n_removed": "gone",
    "n_changed": "as their source was before",
    "n_recleaned": "as they were cleaned before",
    "n_unchanged": "the same",
}
"""The same columns for a rollback."""

KINDS = {
    "added": "added",
    "removed": "removed",
    "changed": "changed at the source",
    "recleaned": "cleaned otherwise",
    "moved": "moved",
    "marked": "marked otherwise",
}
"""Kinds of documents of `tasks.publish.difference.Difference`, in words."""


def console() -> Console:
    """Where it is shown."""
    shown = Console(highlight=False)
    fits = shown.is_terminal and shown.width >= NARROW
    return shown if fits else Console(highlight=False, width=PIPE_WIDTH)


def show_snapshots(folder: Path, shown: Console) -> None:
    """Print a line for each snapshot, and what vacuum would do.

    Raises:
        DatasetError: if the folder holds no dataset, or a manifest can't be read.
    """
    listed = entries(open_store(folder))
    table = Table(box=None, pad_edge=False, header_style="cyan")
    table.add_column("snapshot", justify="right", no_wrap=True)
    table.add_column("published (UTC)", no_wrap=True)
    is_wide = shown.width >= WIDE
    for name in ("kind", "run") if is_wide else ("kind",):
        table.add_column(name, no_wrap=True)
    for name in ("clean", "rejected", "own size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what changed", overflow="fold")
    for entry in listed:
        table.add_row(*map(Text, _cells(entry, is_wide=is_wide)), style="bold" if entry.is_current else None)
    with shown.capture() as captured:
        shown.print(table)
    for line in captured.get().splitlines():
        shown.out(line.rstrip(), highlight=False)  # the last column is padded
    shown.print(Text("* the current one: what readers see. Own size: of what no other snapshot has.", style="dim"))


def _cells(entry: Entry, *, is_wide: bool) -> Iterator[str]:
    snapshot = entry.snapshot
    yield f"{'* ' if entry.is_current else ''}{snapshot.number}"
    yield f"{snapshot.published_at:%Y-%m-%d %H:%M}"
    yield visible(str(entry.run.get("kind") or "clean"))
    if is_wide:
        yield visible(snapshot.run_id[:8])
    yield f"{snapshot.rows('clean'):,}"
    yield f"{snapshot.rows('rejected'):,}"
    yield decimal(entry.own_bytes)
    copy = [f"copy of {snapshot.restores}"] if snapshot.restores else []
    changes = [f"{entry.run[name]:,} {words}" for name, words in CHANGES.items() if entry.run.get(name)]
    yield ", ".join([*copy, *changes]) or "nothing"


def snapshots_as_json(folder: Path) -> list[dict[str, Any]]:
    """The same for programs.

    Raises:
        DatasetError: as `show_snapshots`.
    """
    return [
        {
            **_figures(entry.snapshot),
            "current": entry.is_current,
            "run_id": entry.snapshot.run_id,
            "kind": entry.run.get("kind"),
            "restores": entry.snapshot.restores,
            **{name: entry.run.get(name) for name in (*CHANGES, "n_unchanged")},
            "own_bytes": entry.own_bytes,
        }
        for entry in entries(open_store(folder))
    ]


def _figures(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "snapshot": snapshot.number,
        "published_at": snapshot.published_at.isoformat(),
        "clean": snapshot.rows("clean"),
        "rejected": snapshot.rows("rejected"),
    }


def difference(folder: Path, numbers: tuple[int, ...]) -> tuple[Difference, dict[str, tuple[str, str]]]:
    """What differs between two snapshots, and between the settings of their runs, with progress on a terminal.

    Args:
        folder: The dataset.
        numbers: Two snapshots; one, to be compared with the current one; or none, for the last two.

    Raises:
        DatasetError: if the folder holds no dataset or no such snapshots.
    """
    store = open_store(folder)
    last = current(store)
    if not numbers and len(store.numbers()) == 1:
        raise DatasetError(f"{folder} has one snapshot only, {last.number}: there is nothing to compare it with")
    first = at(store, numbers[0] if numbers else store.numbers()[-2])
    second = at(store, numbers[1]) if len(numbers) > 1 else last
    shown = Console(stderr=True)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("comparing", total=None)
        found = compare(store, first, second, lambda done, n: progress.update(task, completed=done, total=n))
    return found, settings_changed(store, first, second)


def show_difference(
    found: Difference, settings: Mapping[str, tuple[str, str]], shown: Console, limit: int, *, doc_ids: bool
) -> None:
    """Print what differs: documents, characters, rules with examples, and ids if asked for."""
    first, second = found.first, found.second
    shown.print(Text(f"from {_named(first)} to {_named(second)}", style="bold"), soft_wrap=True)
    two_columns(shown, list(_difference_rows(found, settings)))
    if found.rules:
        shown.print()
        shown.print(Text("what rules did to documents of the same bytes", style="bold cyan"))
        _show_rules(found.rules, shown, limit)
    for kind, ids in found.ids.items() if doc_ids else ():
        if ids:
            shown.print()
            shown.print(Text(KINDS[kind], style="bold cyan"))
            _show_some(ids, shown, limit)


def _named(snapshot: Snapshot) -> str:
    return f"snapshot {snapshot.number} ({snapshot.published_at:%Y-%m-%d %H:%M} UTC)"


def _difference_rows(found: Difference, settings: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, (old, new) in settings.items():
        yield f"{visible(name)}", f"{visible(old) or 'unknown'} → {visible(new) or 'unknown'}"
    for table in ("clean", "rejected"):
        yield table, f"{found.first.rows(table):,} → {found.second.rows(table):,}"
    for kind, ids in found.ids.items():
        if ids:
            yield KINDS[kind], _kind(found, kind, len(ids))
    if found.redecoded:
        yield "decoded otherwise", f"{found.redecoded:,}"
    if not any(found.ids.values()) and not found.rules and not found.redecoded:
        yield "documents", "nothing differs"


def _kind(found: Difference, kind: str, n: int) -> str:
    """How many documents, where they moved, and what that is in characters of `clean`."""
    parts = [f"{n:,}"]
    if kind == "moved":
        moves = found.moves.most_common()
        parts.append(", ".join(f"{visible(old)} → {visible(new)} {n:,}" for (old, new), n in moves))
    if (chars := found.chars.get(kind)) and any(chars):
        told = [f"{m:,} {what}" for m, what in zip(chars, ("removed", "added"), strict=True) if m]
        parts.append(f"characters: {', '.join(told)}")
    return "; ".join(parts)


def _show_rules(changes: Mapping[tuple[str, str], RuleChange], shown: Console, limit: int) -> None:
    """Rules with the most edits first, each with examples of what only one snapshot has."""
    ordered = sorted(changes.items(), key=lambda item: (-item[1].edits.total(), item[0]))
    for (step, rule), change in ordered[:limit]:
        line = Text(f"{visible(step)}: {visible(rule)}", style="cyan")
        sides = [f"{side} {_side(change, side)}" for side in ("gone", "new") if change.edits[side]]
        shown.print(line.append(f"  {', '.join(sides)}", style="default"), soft_wrap=True)
        for example in sorted(change.examples, key=lambda example: example.side):
            line = Text(f"  {example.side:<4}  {example.doc_id[:8]}  ", style="dim")
            color = bool(shown.color_system)
            shown.print(line.append(marked(*example[2:], color=color)), soft_wrap=True)
    if len(ordered) > limit:
        shown.print(Text(f"… and {count(len(ordered) - limit, 'more rule')} (--limit shows more)", style="dim"))


def _side(change: RuleChange, side: Side) -> str:
    return f"{count(change.edits[side], 'edit')} in {count(change.documents[side], 'document')}"


def _show_some(ids: Iterable[str], shown: Console, limit: int) -> None:
    ids = list(ids)
    for doc_id in ids[:limit]:
        shown.print(Text(f"  {visible(doc_id)}"))
    if len(ids) > limit:
        shown.print(Text(f"  … and {len(ids) - limit:,} more (--limit shows more)", style="dim"))


def difference_as_json(
    found: Difference, settings: Mapping[str, tuple[str, str]], limit: int | None, *, doc_ids: bool
) -> dict[str, Any]:
    """The same for programs."""
    ids = {"doc_ids": {kind: ids[:limit] for kind, ids in found.ids.items()}} if doc_ids else {}
    return {
        "from": _figures(found.first),
        "to": _figures(found.second),
        "settings": {name: {"from": old, "to": new} for name, (old, new) in settings.items()},
        "documents": {kind: len(ids) for kind, ids in found.ids.items()},
        "moves": [{"from": old, "to": new, "documents": n} for (old, new), n in found.moves.most_common()],
        "decoded_otherwise": found.redecoded,
        "characters": {kind: chars._asdict() for kind, chars in found.chars.items()},
        "rules": [_rule_as_json(*item) for item in sorted(found.rules.items())],
        **ids,
    }


def _rule_as_json(rule: tuple[str, str], change: RuleChange) -> dict[str, Any]:
    sides: tuple[Side, Side] = ("gone", "new")
    return {
        "step": rule[0],
        "rule": rule[1],
        **{side: {"edits": change.edits[side], "documents": change.documents[side]} for side in sides},
        "examples": [example._asdict() for example in change.examples],
    }


def as_json(value: Any, *, is_terminal: bool) -> str:
    """JSON: on a terminal in ASCII, since texts may hold what it would act on."""
    return json.dumps(value, indent=1, ensure_ascii=is_terminal)


def roll_back(folder: Path, number: int | None, wait: float, shown: Console, *, dry_run: bool) -> None:
    """Publish a copy of an older snapshot, or say what would come of it.

    Raises:
        DatasetError: if the folder holds no dataset, another process is writing it, or there is no such snapshot.
        OSError: if something can't be written.
    """
    store = open_store(folder)
    number = number if number is not None else before(store, current(store)).number
    if dry_run:
        older = restorable(store, number)
        shown.print(f"would make a copy of {_named(older)} the current snapshot: {_sizes(older)}", soft_wrap=True)
        two_columns(shown, _back(consequences(store, older)))
        return
    at(store, number)  # a wrong number is told whoever has the lock
    run = Run(uuid4().hex, datetime.now(UTC), CleanConfig(), version("qingyuan"), rules.digest())
    with store.lock(wait, lambda holder: shown.print(f"waiting for {holder}", soft_wrap=True)):
        _prepare(folder)
        snapshot, tally = restore(store, number, run)
    shown.print(f"snapshot {snapshot.number} is a copy of snapshot {number}: {_sizes(snapshot)}", soft_wrap=True)
    two_columns(shown, _back(tally))
    shown.print("The next `qingyuan clean` brings the state of the sources again.", soft_wrap=True)


def _prepare(folder: Path) -> None:
    """Whatever state the current snapshot is in: that may be why it is to go."""
    try:
        open_store(folder).prepare()
    except DamagedError:
        return


def _sizes(snapshot: Snapshot) -> str:
    return f"{snapshot.rows('clean'):,} clean, {snapshot.rows('rejected'):,} rejected"


def _back(tally: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(words, f"{tally[name]:,}") for name, words in BACK.items() if tally[name]] or [("documents", "none")]


def vacuum(  # noqa: PLR0913 (one for each option)
    folder: Path, keep: int, older_than: timedelta, wait: float, shown: Console, *, work: bool, dry_run: bool
) -> None:
    """Remove snapshots that need not stay, and what runs left that did not end; or say what would go.

    Raises:
        DatasetError: if the folder holds no dataset, it is damaged, or another process is writing it.
        OSError: if something can't be removed.
    """
    store = open_store(folder)
    current(store)
    with store.lock(wait, lambda holder: shown.print(f"waiting for {holder}", soft_wrap=True)):
        left, journals = leftovers(store)
        if not dry_run:
            store.prepare()
        going, n = expired(store, keep, older_than), len(store.numbers())
        n_bytes = freed(store, going) if dry_run else store.forget(going)
        in_use = [] if dry_run else sorted({*going} & {*store.numbers()})
        going = [number for number in going if number not in in_use]
        reports = _lone_reports(store, going)
        if reports and not dry_run:
            store.drop_reports(reports)
        if work and not dry_run:
            for path in (store.local / "work").iterdir():
                shutil.rmtree(path)
    done = "would remove" if dry_run else "removed"
    which = f"snapshot{'s'[len(going) == 1 :]} {', '.join(map(str, going))}" if going else "no snapshot"
    which += f", {count(len(reports), 'report')}" if reports else ""
    freed_bytes, rest = n_bytes + left + sum(reports.values()), count(n - len(going), "snapshot")
    shown.print(f"{done} {which}: {decimal(freed_bytes)} freed, {rest} left", soft_wrap=True)
    if in_use:
        shown.print(f"somebody has opened {', '.join(map(str, in_use))}: what is being read stays", soft_wrap=True)
    _tell_journals(shown, journals, done if work else "")


def _lone_reports(store: Store, going: Iterable[int]) -> dict[str, int]:
    """Bytes of reports, by run, of which documents are gone or go: they quote texts that somebody may want gone."""
    try:
        kept = runs_that_stay(store, [store.snapshot(number) for number in {*store.numbers()} - {*going}])
    except (DatasetError, OSError, ArrowException):  # which runs they are of can't be told
        return {}
    return {run_id: n for run_id, n in store.reports().items() if run_id not in kept}


def _tell_journals(shown: Console, n_bytes: int, done: str) -> None:
    if n_bytes and done:
        shown.print(f"{done} what runs that did not end had finished: {decimal(n_bytes)}", soft_wrap=True)
    elif n_bytes:
        shown.print(
            f"{decimal(n_bytes)} are documents that runs had finished which did not end: the next `qingyuan clean` "
            "with the same rules and settings takes them up (--work removes them)",
            soft_wrap=True,
        )
