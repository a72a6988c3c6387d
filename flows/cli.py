"""The command line. Each command imports what it needs: `explain` must not wait for Prefect."""

import contextlib
import difflib
import gc
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from pydantic import BaseModel, ValidationError

from schemas.config import CleanConfig, Dedup, ReadConfig, Reclean, ReplayConfig, RunConfig, RunnerName, Script

if TYPE_CHECKING:
    from schemas.config import DatasetConfig
    from schemas.document import Outcome
    from tasks.read.sources import Source

EXIT_CODES = """\b
Exit codes:
  0    done
  1    check: something would change; verify: the dataset is damaged
  2    wrong use, or nothing there to work on: nothing was done
  3    clean: published, but documents were unreadable, or failed or crashed
  4    clean, rollback, vacuum, cases: failed; the dataset is as it was before, unless it says otherwise
  130  interrupted (143: terminated); the dataset is as it was before
"""

WRONG_USE, PUBLISHED_WITH_FAILURES, RUN_FAILED, INTERRUPTED, TERMINATED = 2, 3, 4, 130, 143


M = TypeVar("M", bound=BaseModel)

REPLAYED = (
    *("empty", "unreadable", "too-large", "not-text", "undecodable", "too-short", "spam", "failed"),
    *("broken", "bomb", "crashed"),
)
"""`schemas.document.Reason`, but for `duplicate`: a test compares."""

NO_DATASET = Path(os.devnull)
"""In place of an output folder, for commands that have none."""


class InputError(click.ClickException):
    """What the user asked for cannot be done. The message says what, where, and what to do."""

    exit_code = WRONG_USE


class WritingError(click.ClickException):
    """Something could not be written."""

    exit_code = RUN_FAILED


class _Dataset(click.Path):
    """A folder that is there, or an address in an object store, which is left to whoever opens it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


_DATASET = click.argument("folder", metavar="DIR", type=_Dataset(exists=True, file_okay=False, path_type=Path))


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qingyuan", prog_name="qingyuan")
def main() -> None:
    """Repair, clean and convert crawled Chinese text into a dataset in which every change can be traced and undone."""
    # What a command loads stays: to look through it each 700 objects takes a tenth of the time until it begins.
    gc.set_threshold(50_000, 20, 50)


FIELDS = ("text", "url", "title", "date", "author", "site")
"""What fields of a container can be named: settings of `schemas.config.ReadConfig`."""


def _fields(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`text=content` as a setting."""
    settings: dict[str, str] = {}
    for pair in given:
        what, _, name = pair.partition("=")
        if what not in FIELDS or not name:
            raise click.BadParameter(f"{pair!r}: write it as text=content. What can be named: {', '.join(FIELDS)}")
        settings[f"{what}_field"] = name
    return settings


def cleaning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a document is cleaned."""
    for option in (
        click.option(
            "--config",
            "config_file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="TOML file with any of the settings of a run; options go before it.",
        ),
        click.option("--skip", multiple=True, metavar="STEP", help="Leave a step out. Can be given several times."),
        click.option(
            "--field",
            "fields",
            multiple=True,
            metavar="WHAT=NAME",
            callback=_fields,
            help="Field of JSON lines, column of CSV or Parquet, that holds the text, url, title, date, author or "
            "site; a.b within nested ones. Can be repeated.  [default: the usual names]",
        ),
        click.option(
            "--script", type=click.Choice(get_args(Script)), help="Script of the clean text.  [default: hans]"
        ),
    ):
        command = option(command)
    return command


def running_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a run goes about its work."""
    for option in (
        click.option(
            "--keep-snapshots",
            type=click.IntRange(1),
            metavar="N",
            help="Snapshots that stay; besides those of the last hour.  [default: 10]",
        ),
        click.option(
            "--wait",
            type=click.FloatRange(0),
            metavar="SECONDS",
            help="Wait for another run that is writing the dataset.  [default: give up at once]",
        ),
        click.option(
            "--address",
            metavar="ADDR",
            help="Of a cluster that is running, such as tcp://10.0.0.1:8786.  [default: one on this machine, for this "
            "run]",
        ),
        click.option(
            "--runner",
            type=click.Choice(get_args(RunnerName)),
            help="What carries out shards: processes on this machine, or the workers of a cluster.  [default: local]",
        ),
        click.option(
            "--workers", type=click.IntRange(1, 256), help="Shards cleaned at a time.  [default: one per core]"
        ),
        click.option(
            "--learn-from",
            type=click.IntRange(0),
            metavar="N",
            help="Remove lines that stand around N different texts of one site, and on 30 % of its pages; 0: none.  "
            "[default: 10]",
        ),
        click.option(
            "--dedup", type=click.Choice(get_args(Dedup)), help="Documents that tell the same.  [default: mark]"
        ),
    ):
        command = option(command)
    return cleaning_options(command)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the sources, the dataset, and the options that say what of the sources is cleaned."""
    for option in (
        click.option(
            "--reclean",
            type=click.Choice(get_args(Reclean)),
            help="Clean unchanged documents again: if rules or settings have changed, never, or all.  [default: auto]",
        ),
        click.option(
            "--checksum", is_flag=True, default=None, help="Read all files to find changes, not only by size and time."
        ),
        click.option(
            "--keep-missing", is_flag=True, default=None, help="Keep documents that are not among the sources."
        ),
        running_options,
        click.option("--out", metavar="PATH", help="Folder of the dataset, or an address such as s3://bucket/crawl."),
        click.argument("sources", nargs=-1, metavar="SOURCE..."),
    ):
        command = option(command)
    return command


@main.command()
@source_options
@click.option("-v", "--verbose", is_flag=True, help="Show the log of the Prefect run.")
def clean(*, verbose: bool, **settings: Any) -> None:
    """Bring a dataset up to date with its sources, and publish that as one snapshot.

    SOURCE is a file, a folder (with all that is in it), a quoted pattern such as 'crawl/**/*.txt', the same in an
    object store (s3://bucket/crawl/), an address (https://...), @FILE for a list of such, or - for standard input.
    A document that can't be cleaned goes to the table `rejected`, with the reason.

    If the dataset is there already, only what is new or has changed is cleaned. The rest is carried over, and what is
    no longer among the sources is removed. After a change of rules or settings, all is cleaned again. If no document
    is kept, and the dataset has some, nothing is published.
    """
    _run(settings_of_run(**settings), verbose=verbose)


@main.command()
@source_options
@click.option("--cron", required=True, help="When: minute, hour, day, month, weekday, such as '0 3 * * *'.")
@click.option("--timezone", default="UTC", show_default=True, help="Time zone of --cron, such as Asia/Shanghai.")
@click.option("--name", help="Name of the deployment.  [default: that of the folder in --out]")
def serve(*, cron: str, timezone: str, name: str | None, **settings: Any) -> None:
    """Clean on a schedule: serve `clean` to a Prefect server until this is stopped.

    SOURCE and the options are those of `clean`. PREFECT_API_URL names the server, which must be one that stays.
    """
    config = settings_of_run(**settings)
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reads it when it is imported
    from flows.serve import serve_on_schedule

    try:
        serve_on_schedule(config, cron, timezone, name)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error


def _run(config: "DatasetConfig", *, verbose: bool) -> None:
    """Run a flow, and end with the exit code of that."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reads it when it is imported
    from flows.server import start_ahead

    start_ahead()  # while all else is loaded
    from flows.running import run_in_terminal

    sys.exit(run_in_terminal(config, verbose=verbose))


@main.command()
@_DATASET
@click.option("--reason", "reasons", multiple=True, type=click.Choice(REPLAYED), help="Only these. Can be repeated.")
@running_options
@click.option("-v", "--verbose", is_flag=True, help="Show the log of the Prefect run.")
def replay(*, folder: Path, reasons: tuple[str, ...], verbose: bool, **given: Any) -> None:
    """Clean the rejected documents of the dataset in DIR again, and move those that pass.

    After rules have changed, or with other settings: without any, those of the last run are taken. Documents whose
    sources are gone stay as they are, and so do duplicates.
    """
    _run(replay_config(folder, reasons, **given), verbose=verbose)


@main.command()
@click.argument("file")
@click.option("--all", "everything", is_flag=True, help="Show every edit, not the first few of each rule.")
@click.option("--record", metavar="ADDRESS", help="Only this document of a container, such as line=5.")
@cleaning_options
def explain(file: str, everything: bool, record: str | None, **how: Any) -> None:
    """Show what cleaning would change in FILE (- for standard input), and why.

    Of a container (JSON lines, WARC, an archive, ...) all documents are shown, or the one at an ADDRESS, as it stands
    in the column `record` of the dataset.
    """
    from rich.console import Console

    from flows import terminal
    from tasks.read.addresses import shown as without_secrets

    config = run_config({"sources": ["-"], "out": "."}, **how).clean
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as spool:
        shown = 0
        for name, outcome in _outcomes([file], spool, config, record):
            terminal.explain(console, name, outcome, everything=everything)
            shown += 1
    if not shown:
        raise InputError(
            f"{without_secrets(file)} has no document {record}. Addresses are in the column `record` of the dataset"
        )


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@cleaning_options
def check(files: tuple[str, ...], **how: Any) -> None:
    """Exit with 1 if cleaning would change or reject any FILE (folders and patterns work, too)."""
    from flows import terminal

    config = run_config({"sources": ["-"], "out": "."}, **how).clean
    n_changed = 0
    with tempfile.TemporaryDirectory() as spool:
        for name, outcome in _outcomes(files, spool, config):
            if outcome.rejection or (outcome.cleaned and outcome.cleaned.stages):
                n_changed += 1
                click.echo(f"{terminal.visible(name)}: {terminal.verdict(outcome)}")
    sys.exit(min(n_changed, 1))


@main.command()
@_DATASET
@click.argument("doc_id")
def revert(folder: Path, doc_id: str) -> None:
    """Print the text that a document of the dataset in DIR had before cleaning.

    The first characters of a DOC_ID will do, as long as they fit no other.
    """
    from flows import terminal
    from tasks.publish.snapshots import DatasetError
    from tasks.verify import revert_document

    try:
        text = revert_document(folder, doc_id)
    except (LookupError, DatasetError, OSError) as error:
        raise InputError(_message(error)) from error
    if sys.stdout.isatty():
        click.echo(terminal.printable(text))
    else:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


@main.command()
@_DATASET
@click.option("--snapshot", type=int, metavar="N", help="An older snapshot.  [default: the current one]")
def verify(folder: Path, snapshot: int | None) -> None:
    """Check the dataset in DIR: files against their hashes, counts, and that every document reverts."""
    from rich.console import Console
    from rich.progress import Progress

    from flows import terminal
    from tasks.publish.snapshots import DatasetError
    from tasks.verify import verify as verify_dataset

    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("verifying", total=None)
            report = verify_dataset(folder, lambda done, n: progress.update(task, completed=done, total=n), snapshot)
    except (DatasetError, OSError) as error:
        raise InputError(str(error)) from error
    for problem in report.problems:
        click.echo(terminal.visible(problem))
    what = f"snapshot {report.snapshot} of {folder}: {terminal.count(report.documents, 'document')}"
    click.echo(f"{what}, {'all well' if report.ok else terminal.count(report.n_problems, 'problem')}")
    sys.exit(0 if report.ok else 1)


@main.command()
@_DATASET
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen.  [default: any that is free]")
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
def view(folder: Path, port: int, no_browser: bool) -> None:
    """Look through the dataset in DIR in a browser, and mark edits as wrong or right.

    Only this machine can see the pages, and only who has the token in the address that is printed. Ctrl-C ends it.
    Marks go into DIR/reviews.jsonl; `cases` makes tests of them.
    """
    with _explained():
        from flows.view import serve_view

        serve_view(folder, port, opens_browser=not no_browser)


@main.command()
@_DATASET
@click.option(
    "--out",
    "cases_folder",
    type=click.Path(path_type=Path),
    default=Path("tests/cases"),
    show_default=True,
    help="Folder of the cases of steps.",
)
@click.option(
    "--rules",
    "rules_folder",
    type=click.Path(path_type=Path),
    default=Path("tasks/rules"),
    show_default=True,
    help="Folder of the rule tables: some have lists of exceptions.",
)
def cases(folder: Path, cases_folder: Path, rules_folder: Path) -> None:
    """Turn the marks on edits of the dataset in DIR into cases for the tests of qingyuan.

    A case of an edit that is wrong fails until its rule is repaired. What is there already is not written again.
    """
    from flows import terminal
    from tasks.cases import CasesError, write_cases

    with _explained(writing=True):
        try:
            report = write_cases(folder, cases_folder, rules_folder)
        except CasesError as error:
            raise InputError(str(error)) from error
    for path, label in report.written:
        click.echo(f"{path}: {terminal.visible(label)}")
    for mark, why in report.left:
        click.echo(f"left out, {mark.step}/{mark.rule} in {mark.doc_id[:8]}: {terminal.visible(why)}")
    if report.n_unreadable:
        click.echo(f"{terminal.count(report.n_unreadable, 'line')} of the file of marks can't be read")
    known = f", {report.n_known} known already" if report.n_known else ""
    click.echo(f"{terminal.count(len(report.written), 'case')} written{known}")


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, with all there is to tell.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_WAIT = click.option(
    "--wait", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Wait for another process that is writing."
)


@main.command()
@_DATASET
@_JSON
def snapshots(folder: Path, as_json: bool) -> None:
    """List the snapshots of the dataset in DIR: when, what changed, how much room each one takes."""
    from flows import history

    with _explained():
        if as_json:
            click.echo(history.as_json(history.snapshots_as_json(folder), is_terminal=sys.stdout.isatty()))
        else:
            history.show_snapshots(folder, history.console())


@main.command()
@_DATASET
@click.argument("numbers", nargs=-1, type=int, metavar="[A [B]]")
@_JSON
@click.option(
    "--limit",
    type=click.IntRange(0),
    metavar="N",
    help="At most N rules, and N documents of a kind.  [default: 20; with --json all]",
)
@click.option("--doc-ids", is_flag=True, help="Name the documents.")
def diff(folder: Path, numbers: tuple[int, ...], as_json: bool, limit: int | None, doc_ids: bool) -> None:
    """Show what differs from snapshot A to B of the dataset in DIR, and by which rule.

    Without B, to the current snapshot; without A as well, from the one before it. Edits are told of documents whose raw
    bytes are the same in both: gone are those that only A has, new those that only B has.
    """
    from flows import history

    if len(numbers) > 2:
        raise click.UsageError("Give two snapshots at most.")
    with _explained():
        found, settings = history.difference(folder, numbers)
        if as_json:
            told = history.difference_as_json(found, settings, limit, doc_ids=doc_ids)
            click.echo(history.as_json(told, is_terminal=sys.stdout.isatty()))
        else:
            n = history.LIMIT if limit is None else limit
            history.show_difference(found, settings, history.console(), n, doc_ids=doc_ids)


@main.command()
@_DATASET
@click.argument("number", type=int, required=False)
@_DRY_RUN
@_WAIT
def rollback(folder: Path, number: int | None, dry_run: bool, wait: float) -> None:
    """Take the dataset in DIR back to snapshot NUMBER, published again as a new one.

    Without NUMBER, to the last one with other documents than the current one has: twice takes a rollback back.
    """
    from flows import history

    with _explained(writing=True):
        history.roll_back(folder, number, wait, history.console(), dry_run=dry_run)


@main.command()
@_DATASET
@click.option("--keep", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Snapshots that stay.")
@click.option(
    "--older-than",
    type=click.FloatRange(0),
    default=1,
    show_default=True,
    metavar="HOURS",
    help="Only what has not been the current snapshot for so long: somebody may be reading it.",
)
@click.option("--work", is_flag=True, help="Also what runs had finished that did not end. Not for the next run then.")
@_DRY_RUN
@_WAIT
def vacuum(  # noqa: PLR0913 (one for each option)
    *, folder: Path, keep: int, older_than: float, work: bool, dry_run: bool, wait: float
) -> None:
    """Remove old snapshots of the dataset in DIR, and what killed runs left. The current one always stays.

    Of several snapshots with the same documents the newest one counts.
    """
    from datetime import timedelta

    from flows import history

    with _explained(writing=True):
        age = timedelta(hours=min(older_than, 1_000_000))
        history.vacuum(folder, keep, age, wait, history.console(), work=work, dry_run=dry_run)


@contextlib.contextmanager
def _explained(*, writing: bool = False) -> Iterator[None]:
    """Errors of datasets in words for the user."""
    from tasks.publish.snapshots import DatasetError

    try:
        yield
    except DatasetError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        message = "\n".join([str(error), *getattr(error, "__notes__", [])])
        raise (WritingError if writing else InputError)(message) from error


def settings_of_run(*, sources: tuple[str, ...], learn_from: int | None, **settings: Any) -> RunConfig:
    """Settings of a run from what `source_options` gave."""
    how = {name: settings.pop(name) for name in ("config_file", "script", "skip", "fields")}
    return run_config({"sources": [_argument(name) for name in sources], **settings}, learn_from=learn_from, **how)


def run_config(  # noqa: PLR0913
    given: dict[str, Any],
    *,
    config_file: Path | None,
    script: str | None,
    skip: tuple[str, ...],
    fields: dict[str, str],
    learn_from: int | None = None,
    **settings: Any,
) -> RunConfig:
    """Settings of a run: the file's, with what was given on the command line put over them.

    Raises:
        InputError: if a key is unknown, a value out of bounds, or something missing.
    """
    data = _read_toml(config_file) if config_file else {}
    merged = {**data, **_without_blanks(given), **_without_blanks(settings)}
    if isinstance(data.get("clean", {}), dict):
        merged["clean"] = _cleaning(
            data.get("clean", {}), fields, script=script, skip=list(skip), learn_from=learn_from
        )
    for name, argument in (("sources", "SOURCE..."), ("out", "--out")):
        if name not in merged:
            raise click.UsageError(f"Missing {argument}: give it here, or as `{name}` in a --config file.")
    config = _validated(RunConfig, merged, config_file)
    _check_steps(config.clean)
    return config


def replay_config(  # noqa: PLR0913
    folder: Path,
    reasons: tuple[str, ...],
    *,
    config_file: Path | None,
    script: str | None,
    skip: tuple[str, ...],
    fields: dict[str, str],
    learn_from: int | None = None,
    **settings: Any,
) -> ReplayConfig:
    """Settings of a replay: those of the dataset's last run or of a file, and over them what was given.

    Raises:
        InputError: as `run_config`; and if there is no dataset.
    """
    from tasks.publish import last_config
    from tasks.publish.snapshots import DatasetError
    from tasks.publish.store import open_store

    data = _read_toml(config_file) if config_file else {}
    try:
        last = last_config(open_store(folder)).model_dump()
    except (DatasetError, OSError, ValueError) as error:
        raise InputError(str(error)) from error
    of_clean = {"sources", "out", "keep_missing", "checksum", "reclean"}
    merged = {
        **{name: value for name, value in data.items() if name not in of_clean},
        **_without_blanks(settings),
        "out": folder,
        "reasons": reasons,
        "clean": _cleaning(data.get("clean") or last, fields, script=script, skip=list(skip), learn_from=learn_from),
    }
    config = _validated(ReplayConfig, merged, config_file)
    if config.clean:
        _check_steps(config.clean)
    return config


def _cleaning(given: dict[str, Any], fields: dict[str, str], **options: Any) -> dict[str, Any]:
    """Settings of `CleanConfig`, with what was given on the command line put over them."""
    merged = {**given, **_without_blanks(options)}
    return {**merged, "read": {**merged.get("read", {}), **fields}} if fields else merged


def _validated(model: type[M], settings: dict[str, Any], config_file: Path | None) -> M:
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise InputError("\n".join(_explain_setting(e, config_file) for e in error.errors())) from error


def _check_steps(config: CleanConfig) -> None:
    from tasks.document import check_steps

    try:
        check_steps(config.skip)
    except ValueError as error:
        raise InputError(str(error)) from error


def _without_blanks(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given."""
    return {name: value for name, value in options.items() if value not in (None, [], ())}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is no TOML file that can be read: {error}") from error


def _explain_setting(error: Any, config_file: Path | None) -> str:
    """One error of pydantic in the words of someone who writes a TOML file."""
    *parents, key = map(str, error["loc"])
    where = f"{config_file}: " if config_file else ""
    if error["type"] != "extra_forbidden":
        return f"{where}{'.'.join([*parents, key])}: {error['msg']} (it is {error['input']!r})"
    models: dict[tuple[str, ...], type[BaseModel]] = {("clean",): CleanConfig, ("clean", "read"): ReadConfig}
    model = models.get(tuple(parents), RunConfig)
    table = f"[{'.'.join(parents)}]" if parents else "the top level"
    close = difflib.get_close_matches(key, model.model_fields, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{where}unknown key {key!r} in {table}.{hint} Known there: {', '.join(model.model_fields)}"


def _argument(name: str) -> str:
    """A source as it was given; as a URI if its name isn't UTF-8, since flow parameters travel as JSON."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return Path(name).absolute().as_uri()
    return name


def _find(names: Iterable[str], spool: str) -> "list[Source]":
    """Sources behind names, or an error for the user."""
    from tasks.read.sources import SourceError, find_sources

    try:
        return find_sources(names, NO_DATASET, Path(spool))
    except SourceError as error:
        raise InputError(str(error)) from error


def _outcomes(
    names: Iterable[str], spool: str, config: CleanConfig, record: str | None = None
) -> "Iterator[tuple[str, Outcome]]":
    """Documents behind names, cleaned one by one, with what the user calls them; or the one of an address."""
    from tasks.document import clean_document
    from tasks.read import read_span
    from tasks.read.records import Document, Span

    for source in _find(names, spool):
        for item in read_span(Span(source, n_bytes=source.n_bytes), config):
            if isinstance(item, Document) and record in {None, item.origin.record}:
                address = f" {item.origin.record}" if item.origin.record else ""
                yield f"{_name(source)}{address}", clean_document(item, config)


def _name(source: "Source") -> str:
    """What the user calls it: standard input is kept in a temporary file."""
    return "standard input" if source.uri.startswith("stdin:") else str(source.path)


def _message(error: Exception) -> str:
    """What an exception says; KeyError puts its message in quotes."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
