"""The dataset: five tables, the rows that documents become, and the data dictionary (`python -m schemas.dataset`).

Types are those that every reader takes: no maps (Hugging Face datasets), no nanoseconds and no half floats (Spark), no
time zones (DuckDB wants another library for them). Every field, nested ones too, carries a description in its metadata,
from where it goes into the Parquet files and into docs/data-dictionary.md.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.document import FACT_FIELDS, Cleaned, Outcome, Reason, Run, Stage
from tasks import identify, quality
from tasks.steps.edits import EditError, apply
from tasks.steps.log import pack

SCHEMA_VERSION = "3"
"""Goes up when a column changes its name, type or meaning. Columns may be added without."""

LIBRARIES = (
    "ahocorasick-rs",
    "chardet",
    "ftfy",
    "lxml",
    "opencc-python-reimplemented",
    "prefect",
    "pyarrow",
    "pypinyin",
    "rapidfuzz",
    "rensa",
)
"""Those whose versions a run records: they take part in what comes out."""

_MOMENT = pa.timestamp("us")


def _field(name: str, kind: pa.DataType, description: str, *, optional: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=optional, metadata={"description": description})


def _list_of(*fields: pa.Field) -> pa.DataType:
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


_STRINGS = pa.list_(pa.field("element", pa.string(), nullable=False))


def _tally(name: str, description: str) -> pa.DataType:
    """Documents by something."""
    return _list_of(_field(name, pa.string(), description), _field("documents", pa.int64(), "How many documents."))


_STEP = _field("step", pa.string(), "Name of the step.")

_EDITS_BY_STEP = _list_of(
    _STEP,
    _field("edits", pa.int64(), "How many edits it made."),
    _field("chars_removed", pa.int64(), "Characters by which those of its edits shortened the text that shortened it."),
)

_DAMAGE = _list_of(
    _field("kind", pa.string(), "`lost-characters`, `mojibake`, `not-text` or `shift`."),
    _field("start", pa.int32(), "Where it stands, in characters, in `text`."),
    _field("text", pa.string(), "What stands there."),
)

_EDITS = _list_of(
    _field("stage", pa.int32(), "Which application of a step, from 0. The edits of a stage were carried out together."),
    _STEP,
    _field("rule", pa.string(), "The rule within the step."),
    _field(
        "start",
        pa.int32(),
        "Offset in characters in the text that the stage received; negative for an operation, which stands for many "
        "edits (see below).",
    ),
    _field("before", pa.string(), "What stood there; empty for an insertion."),
    _field(
        "after",
        pa.string(),
        "What replaced it; empty for a removal; the same as `before` where an operation spares it.",
    ),
    _field(
        "confidence",
        pa.float64(),
        "1.0 = proved, or by a rule that leaves no choice; below that, the odds of being right.",
    ),
)

_BAD_BYTES = _list_of(
    _field("offset", pa.int64(), "Offset in bytes in the raw document."),
    _field("position", pa.int32(), "Offset in characters in the decoded text, where U+FFFD stands for it."),
    _field("value", pa.int16(), "0 to 255."),
)

_SEGMENTS = _list_of(
    _field("position", pa.int32(), "Offset in characters in the decoded text at which the segment starts."),
    _field("encoding", pa.string(), "Python's name of its codec."),
)

_VERBATIM = _list_of(
    _field("position", pa.int32(), "Offset in characters in the decoded text."),
    _field("length", pa.int32(), "Characters that came of the bytes."),
    _field("raw", pa.binary(), "The bytes as they were: encoding the characters would give others."),
)


def _provenance(*, optional: bool) -> list[pa.Field]:
    """Where a document came from and what was done to it; `optional` as far as a rejected document may lack it."""
    return [
        _field(
            "source_uri",
            pa.string(),
            "Where the raw bytes are: `file:///…`, `s3://…`, `https://…`, or `stdin:<hash>`; without passwords and "
            "signatures.",
        ),
        _field(
            "record",
            pa.string(),
            "Address within the file, if that is a container: `line=5` (JSON lines), `row=5` (CSV, Parquet), "
            "`offset=12345` (WARC, in bytes of the file as it lies there), the path of a member (archives); of a "
            "container in a container both, joined by `!`. Empty where the file is the document.",
        ),
        _field("url", pa.string(), "Address of the page, as its container says.", optional=True),
        _field(
            "fetched_at",
            pa.string(),
            "When it was fetched, as its container says, in ISO 8601: `2024-06-24T19:04:19Z`.",
            optional=True,
        ),
        _field("record_id", pa.string(), "`WARC-Record-ID`, without brackets.", optional=True),
        _field("payload_digest", pa.string(), "`WARC-Payload-Digest`: `sha1:…`.", optional=True),
        _field(
            "extra",
            pa.string(),
            "What else its container has of it, as a JSON object: other fields of a JSON line, columns of a CSV or "
            "Parquet file, headers of a WARC record. Bytes that are no text are `base64:…`, numbers that JSON has not "
            "(`NaN`) and dates are strings.",
            optional=True,
        ),
        _field(
            "raw_sha256",
            pa.string(),
            "SHA-256 of the raw bytes, in hex; empty where they could not be read. In a container the raw bytes are "
            "those of the page or of the field with the text.",
        ),
        _field("raw_bytes", pa.int64(), "How many raw bytes there are."),
        _field(
            "format",
            pa.string(),
            "`text`, or `html`: then cleaning starts from the main text taken out of the page, and the page itself is "
            "where `source_uri` and `raw_sha256` say; or `feed` (RSS, Atom): the same with the texts of its items. "
            "Empty where the bytes were not decoded.",
        ),
        _field("hidden_chars", pa.int64(), "Characters of a page of HTML that a reader would not see: left out."),
        _field("hidden_text", pa.string(), "The first 1,000 of them, unrepaired. Spam, menus, what waits for a click."),
        _field(
            "encoding",
            pa.string(),
            "Python's name of the codec; several joined by `+` where lines differ; empty if undecodable.",
            optional=optional,
        ),
        _field("encoding_confidence", pa.float64(), "0 to 1: how sure the encoding is.", optional=optional),
        _field(
            "encoding_method",
            pa.string(),
            "How it was decided: `given` (the field of a container held characters), `bom`, `declared`, `strict`, "
            "`plausible`, `chardet`, `lines` or `none`.",
            optional=optional,
        ),
        _field(
            "n_bad_bytes",
            pa.int64(),
            "Bytes that no character could be made of; `edits.bad_bytes` has them.",
            optional=optional,
        ),
        _field(
            "decoded_sha256",
            pa.string(),
            "SHA-256 of what `revert` gives back, in UTF-8: the decoded text, or what was taken out of a page of HTML.",
            optional=optional,
        ),
        _field("text_sha256", pa.string(), "SHA-256 of `text` in UTF-8.", optional=optional),
        _field("n_chars", pa.int64(), "Characters (Unicode code points) of `text`.", optional=optional),
        _field("n_edits", pa.int64(), "Edits made in all, single ones even where the log packs them."),
        _field(
            "edits_by_step", _EDITS_BY_STEP, "The same by step, in the order in which the steps first did something."
        ),
        _field("chars_removed", pa.int64(), "Sum of `edits_by_step.chars_removed`."),
        _field("min_confidence", pa.float64(), "The lowest confidence of all edits; 1.0 if there are none."),
        _field(
            "flags",
            _STRINGS,
            "What to know before using the text: the kinds in `damage`, `unsettled` where the steps still found "
            "something to do after their last pass, `unsure-lines` where a line above or below the body looks like "
            "furniture, though not enough to go, `hidden-text` where a page of HTML hides text, `html-unparsed` "
            "where it was too large or too deep to tell its main text, and for English `machine-translated` (from "
            "Chinese) and `spun` "
            "(pieces put together by a machine, with phrases that sell something). Sorted.",
        ),
        _field("damage", _DAMAGE, "What is damaged and could not be repaired."),
        _field("run_id", pa.string(), "The run that cleaned this document as it is here; see the table `runs`."),
        _field("first_run_id", pa.string(), "The run in which it came first, if it has been there ever since."),
        _field("pipeline_version", pa.string(), "Version of qingyuan."),
        _field("rules_digest", pa.string(), "Names the rules: with the same digest the same bytes give the same text."),
        _field("ingested_at", _MOMENT, "When that run started, in UTC. A time without a zone."),
    ]


def _quality(*, optional: bool) -> list[pa.Field]:
    """What a text is like, to filter by; `optional` as far as a rejected document may have none."""
    share = "Share of the visible characters of `text` (all but white space, control and format characters)"
    return [
        _field("n_lines", pa.int64(), "Lines of `text` that are not blank.", optional=optional),
        _field(
            "mean_line_chars",
            pa.float64(),
            "Their mean length in characters. Of 4,907 news items nine in ten have 48 to 190.",
            optional=optional,
        ),
        _field(
            "han_share",
            pa.float64(),
            f"{share} that are ideographs (Unicode's script Han). Nine in ten news items: 0.70 to 0.91.",
            optional=optional,
        ),
        _field(
            "punctuation_share",
            pa.float64(),
            f"{share} that are punctuation or symbols (categories P and S). Nine in ten news items: 0.07 to 0.14.",
            optional=optional,
        ),
        _field(
            "repeated_share",
            pa.float64(),
            "Share of the characters in words that stand in a 10-gram which `text` has more than once; an ideograph, "
            "a kana or a Hangul syllable is a word here, and all but letters and digits is left out. After the "
            "duplicate n-grams of Gopher (Rae et al. 2021, table A1). Ten ideographs are six words, so that its bound "
            "of 0.10 is too low for Chinese: 15 % of news items are past it, past 0.3 one in a hundred.",
            optional=optional,
        ),
        _field(
            "decoded_chars",
            pa.int64(),
            "Characters (Unicode code points) of the decoded text, or of what was taken out of a page of HTML.",
            optional=optional,
        ),
        _field(
            "removed_share",
            pa.float64(),
            "`chars_removed` against `decoded_chars`, 1.0 at most: what was taken away, and what repairs made shorter.",
            optional=optional,
        ),
        _field(
            "edited_share",
            pa.float64(),
            "Characters that edits replaced, removed or put in, against `decoded_chars`, 1.0 at most. Conversion of "
            "the script is left out.",
            optional=optional,
        ),
        _field("damage_chars", pa.int64(), "Characters of `text` in spans of `damage`.", optional=optional),
    ]


FIGURES = frozenset(field.name for field in _quality(optional=True))
"""Columns that take a few passes over the text each."""

_DOC_ID = _field(
    "doc_id",
    pa.string(),
    "32 hex digits made of `source_uri` and `record`: the same at every ingest of the same source. Key of `clean` and "
    "`rejected` together, and of `edits`.",
)


def _fact(name: str, description: str) -> pa.Field:
    return _field(name, pa.string(), f"{description} Null where the page doesn't say.", optional=True)


CLEAN = pa.schema(
    [
        _DOC_ID,
        _fact("title", "Title of the page."),
        _field("text", pa.string(), "The clean text. Paragraphs end with a line feed."),
        _field(
            "lang", pa.string(), "ISO 639-1 code of the main language: `zh`, `en`, `ja`, `ko`; `und` = not determined."
        ),
        _field(
            "lang_confidence",
            pa.float64(),
            "How sure `lang` is, 0 to 1: the share of the words of `text` that are written in the letters of the "
            "language, less for short texts; 0 for `und`. Of cuts of news in 21 "
            "languages 99.9 % were right from 0.8 on, 81 % below 0.5.",
        ),
        _field(
            "script_source",
            pa.string(),
            "Script of the text before conversion: `hans` (Simplified), `hant` (Traditional) or `mixed`; empty where "
            "it isn't Chinese or has no character that tells.",
        ),
        _field("script", pa.string(), "Script of `text`, by the same measure."),
        _fact(
            "published_at",
            "When the page says it was published, in ISO 8601 to the precision given: `2023-06-24` or "
            "`2023-06-24T19:04:19`. A string, since pages leave out the time, and nearly always the zone: it is the "
            "local time of the site. Strings of one precision sort by time.",
        ),
        _fact(
            "published_zone",
            "Time zone of `published_at` where it has a time: `+08:00 given` where the page says it (then it stands in "
            "`published_at`, too), `+08:00 assumed` on Chinese pages that don't: all lands that write Chinese have it.",
        ),
        _fact("site_name", "Site or outlet that the page names as its source."),
        _fact("author", "Author named by the page."),
        _fact("editor", "Editor named by the page (`责任编辑`)."),
        _fact("section", "Section of the site, from breadcrumbs."),
        _fact("source_url", "Address that the page gives as its own or its original's."),
        _fact("licence", "Licence or notice of rights that the page states."),
        _fact("lang_declared", "Language that a page of HTML declares, such as `zh-CN`. Often wrong: see `lang`."),
        _field(
            "duplicate_of",
            pa.string(),
            "`doc_id` of the document in `clean` that tells the same and stands for this one: the one with the fewest "
            "places in `damage`, then the fewest repairs for its length, the earliest `published_at`, the longest "
            "text, the smallest `doc_id`. Null where that is this document itself, no other tells the same, or none "
            "was looked for.",
            optional=True,
        ),
        _field(
            "duplicate_similarity",
            pa.float64(),
            "How much this document has in common with `duplicate_of`: the Jaccard index of their 5-grams of "
            "characters, folded to Simplified, without signs and spaces. 1.0 where they are the same, 0.35 at least; "
            "null where `duplicate_of` is.",
            optional=True,
        ),
        _field(
            "cluster_size",
            pa.int64(),
            "How many documents tell the same, dropped ones included: this one, the one that `duplicate_of` names, and "
            "all others that name that one. Null where no other does.",
            optional=True,
        ),
        *_quality(optional=False),
        _field(
            "mt_score",
            pa.float64(),
            "English only, null elsewhere: marks of machine translation from Chinese (`Among them,`, `improvement and "
            "improvement`, capitals after commas) in 100 words, by weight. From 2.0 on the flag `machine-translated`.",
            optional=True,
        ),
        _field(
            "spun_score",
            pa.float64(),
            "English only, null elsewhere: share of the paragraphs that end without a stop, where one of them also "
            "begins in lower case; 0 otherwise. From 0.5 on the flag `spun`.",
            optional=True,
        ),
        *_provenance(optional=False),
    ],
    metadata={"description": "One row per document that was kept: what an analyst reads."},
)

EDITS = pa.schema(
    [
        _DOC_ID,
        _field(
            "edits",
            _EDITS,
            "Every change made, in order: read backwards, it leads from `text` to the decoded text, or "
            "to what was taken out of a page of HTML.",
        ),
        _field("bad_bytes", _BAD_BYTES, "Bytes that no character could be made of."),
        _field("segments", _SEGMENTS, "Where the encoding changes within the document; empty where it does not."),
        _field("verbatim", _VERBATIM, "Byte sequences that the codec would write in another way."),
    ],
    metadata={
        "description": "One row per document of `clean` and of `rejected`: all that it takes to get from `text` back "
        "to the decoded text, and from there to the raw bytes."
    },
)

REJECTED = pa.schema(
    [
        _DOC_ID,
        _field("reason", pa.string(), "One of " + ", ".join(f"`{reason}`" for reason in Reason) + "."),
        _field("detail", pa.string(), "A sentence for the reader; a traceback for `failed`."),
        _field("text", pa.string(), "The text as far as it got; null if it was never decoded.", optional=True),
        *_quality(optional=True),
        *_provenance(optional=True),
    ],
    metadata={"description": "One row per document that was not kept, with the reason."},
)

RUNS = pa.schema(
    [
        _field("run_id", pa.string(), "Name of the run."),
        _field("snapshot", pa.int64(), "Number of the snapshot that it published."),
        _field(
            "kind",
            pa.string(),
            "`clean`; `replay` (only rejected documents were cleaned again) or `rollback` (nothing was cleaned: the "
            "snapshot is a copy of an older one, named in `sources`).",
        ),
        _field("started_at", _MOMENT, "In UTC.", optional=True),
        _field("finished_at", _MOMENT, "When its documents were ready to be published, in UTC.", optional=True),
        _field("schema_version", pa.string(), "Version of these tables.", optional=True),
        _field("pipeline_version", pa.string(), "Version of qingyuan.", optional=True),
        _field("rules_digest", pa.string(), "Names the rules.", optional=True),
        _field(
            "libraries",
            _list_of(
                _field("name", pa.string(), "Name of the package."), _field("version", pa.string(), "Its version.")
            ),
            "Libraries that take part in what comes out.",
            optional=True,
        ),
        _field("config", pa.string(), "How documents were cleaned, as JSON.", optional=True),
        _field(
            "sources",
            _STRINGS,
            "What was given to be cleaned; of a replay the reasons, of a rollback the snapshot.",
            optional=True,
        ),
        _field("n_added", pa.int64(), "Documents that were not there before."),
        _field("n_changed", pa.int64(), "Documents whose raw bytes had changed."),
        _field("n_unchanged", pa.int64(), "Documents carried over from the snapshot before, as they were."),
        _field("n_removed", pa.int64(), "Documents of the snapshot before that are gone."),
        _field(
            "n_recleaned",
            pa.int64(),
            "Unchanged documents cleaned again: other rules or settings, `--reclean all`, a replay.",
        ),
        _field(
            "n_relearned",
            pa.int64(),
            "Unchanged documents cleaned again since other pages of their site now say something else of their lines.",
        ),
        _field("n_documents", pa.int64(), "Documents of the dataset: `n_clean` + `n_rejected`. So are the rest."),
        _field("n_clean", pa.int64(), "Documents kept: rows of `clean`."),
        _field("n_rejected", pa.int64(), "Documents not kept: rows of `rejected`."),
        _field("rejected_by_reason", _tally("reason", "As in `rejected`."), "Documents not kept, by reason."),
        _field("n_duplicates", pa.int64(), "Documents kept that have a `duplicate_of`.", optional=True),
        _field(
            "skipped",
            _list_of(
                _field("kind", pa.string(), "`revisit`, `request`, `metadata`, `warcinfo`, …"),
                _field("records", pa.int64(), "How many."),
            ),
            "Records of containers that are no documents, as far as this run met them.",
        ),
        _field("edits_by_step", _EDITS_BY_STEP, "Edits of all documents, by step."),
        _field("chars_in", pa.int64(), "Characters of the decoded texts of all documents."),
        _field("chars_out", pa.int64(), "Characters of the texts in `clean`."),
        _field("chars_removed", pa.int64(), "Sum of `edits_by_step.chars_removed`."),
        _field("encodings", _tally("encoding", "As in `clean`."), "Documents by encoding, as far as decoded."),
        _field("langs", _tally("lang", "As in `clean`."), "Clean documents by language."),
        _field(
            "scripts", _tally("script", "As in `clean.script_source`."), "Clean documents by script before conversion."
        ),
        _field("flags", _tally("flag", "As in `clean`."), "Documents by flag."),
    ],
    metadata={
        "description": "One row per run that published into this dataset, oldest first; counts are of the dataset as "
        "it was then."
    },
)

LINES = pa.schema(
    [
        _field("site", pa.string(), "Folder, host or name of the site; empty for a row about the whole corpus."),
        _field("fingerprint", pa.string(), "16 hex digits: the same for lines that differ in script, signs, numbers."),
        _field("line", pa.string(), "The line, as it stands in the first document, by its source, before its removal."),
        _field("documents", pa.int64(), "Documents of the site that have the line near one of their ends."),
        _field("bodies", pa.int64(), "Different texts among these: copies of an article count as one."),
        _field("site_documents", pa.int64(), "Documents of the site in all."),
        _field("is_furniture", pa.bool_(), "Whether `bodies` is enough of `site_documents` for furniture of the site."),
        _field("removed", pa.int64(), "Documents that it was removed from. It stays where it may be the title."),
    ],
    metadata={
        "description": "One row per line that stands around at least `learn_from` different texts of one site (a "
        "setting), furniture or not: what the run has learned about sites."
    },
)

TABLES = {"clean": CLEAN, "edits": EDITS, "rejected": REJECTED, "lines": LINES, "runs": RUNS}

KEYS = {
    "clean": (
        *("doc_id", "lang", "script", "published_at", "site_name"),
        *("source_uri", "n_chars", "min_confidence", "duplicate_of"),
    ),
    "edits": ("doc_id",),
    "rejected": ("doc_id", "reason", "source_uri"),
    "lines": ("site",),
    "runs": ("run_id",),
}
"""Columns that people look rows up by: these have statistics. For texts they would be large and of no use."""

_ENUMERATIONS = (
    *("encoding", "encoding_method", "run_id", "first_run_id", "pipeline_version", "rules_digest", "ingested_at"),
    *("flags.list.element", "edits_by_step.list.element.step", "damage.list.element.kind"),
)

ENUMERATIONS = {
    "clean": ("lang", "script_source", "script", *_ENUMERATIONS),
    "edits": ("edits.list.element.step", "edits.list.element.rule", "edits.list.element.confidence"),
    "rejected": ("reason", *_ENUMERATIONS),
    "lines": ("site",),
    "runs": (),
}
"""Paths of the columns with few values: these have dictionaries."""


def with_footer(table: str, pipeline_version: str, rules_digest: str) -> pa.Schema:
    """Schema of a table with what goes into the footer of its files."""
    footer = {
        "table": table,
        "schema_version": SCHEMA_VERSION,
        "pipeline_version": pipeline_version,
        "rules_digest": rules_digest,
    }
    schema = TABLES[table]
    return schema.with_metadata({**schema.metadata, **{f"qingyuan.{key}": value for key, value in footer.items()}})


def sha256(text: str) -> str:
    """Hex digest of a text in UTF-8.

    Raises:
        UnicodeEncodeError: if there is a lone surrogate in it.
    """
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def cleaned_with(run: Run) -> str:
    """16 hex digits that name rules, settings and columns: a document cleaned with the same ones has the same row."""
    schemas = [
        TABLES[table].to_string(show_field_metadata=False, show_schema_metadata=False)
        for table in ("clean", "edits", "rejected")
    ]
    told = "\0".join([run.rules_digest, run.config.model_dump_json(), SCHEMA_VERSION, *schemas])
    return sha256(told)[:16]


def clean_row(
    outcome: Outcome, run: Run, first_run_id: str | None = None, *, with_figures: bool = True
) -> dict[str, Any]:
    """Row of `CLEAN` for a document that was kept; `first_run_id` if an earlier run had it, too.

    Without figures the `FIGURES` are missing: a tenth of the time that cleaning takes.

    Raises:
        ValueError: if it was not.
        UnicodeEncodeError: if there is a lone surrogate in its texts.
    """
    (row,) = clean_rows([outcome], run, [first_run_id], with_figures=with_figures)
    return row


def clean_rows(
    outcomes: Sequence[Outcome], run: Run, first_run_ids: Sequence[str | None], *, with_figures: bool = True
) -> list[dict[str, Any]]:
    """Rows of `CLEAN`, as `clean_row` makes them: for many documents together in less time.

    Raises:
        ValueError: if one was not kept.
        UnicodeEncodeError: if there is a lone surrogate in its texts.
    """
    cleaned = [_kept(outcome) for outcome in outcomes]
    texts = [each.text for each in cleaned]
    counts = identify.count_all(texts)
    identities = identify.identities(texts, counts)
    scripts = _scripts_before(outcomes, cleaned, identities)
    figures = quality.figures(texts, counts) if with_figures else [None] * len(texts)
    parts = zip(outcomes, identities, scripts, figures, first_run_ids, strict=True)
    of_run = _run(run)
    return [_clean_row(*of_one, of_run) for of_one in parts]


def _kept(outcome: Outcome) -> Cleaned:
    if outcome.cleaned is None or outcome.decoded is None or outcome.rejection is not None:
        raise ValueError(f"document {outcome.origin.doc_id} was not kept: it has no row in 'clean'")
    return outcome.cleaned


def _clean_row(  # noqa: PLR0913, PLR0917
    outcome: Outcome,
    identity: identify.Identity,
    script_before: str,
    figures: quality.TextFigures | None,
    first_run_id: str | None,
    of_run: Mapping[str, Any],
) -> dict[str, Any]:
    cleaned = _kept(outcome)
    english = quality.english_figures(cleaned.text) if identity.lang == "en" else None
    return {
        "doc_id": outcome.origin.doc_id,
        "text": cleaned.text,
        "lang": identity.lang,
        "lang_confidence": identity.confidence,
        "script_source": script_before,
        "script": identity.script,
        **_facts(cleaned.facts, identity.lang),
        **(_figures(outcome, figures) if figures else {}),
        "mt_score": english.mt_score if english else None,
        "spun_score": english.spun_score if english else None,
        **_provenance_of(outcome, of_run, first_run_id),
        "flags": sorted({*_flags(outcome), *(english.flags if english else ())}),
    }


def edits_row(outcome: Outcome) -> dict[str, Any]:
    """Row of `EDITS` for any document.

    Raises:
        EditError: if its edits do not lead back to the decoded text.
    """
    decoded, cleaned = outcome.decoded, outcome.cleaned
    text = outcome.text_in or ""
    edits, made = pack(text, cleaned.stages) if cleaned else ([], "")
    if cleaned and made != cleaned.text:
        raise EditError(f"the edits of document {outcome.origin.doc_id} do not lead back to its decoded text")
    return {
        "doc_id": outcome.origin.doc_id,
        "edits": edits,
        **{
            name: [item._asdict() for item in getattr(decoded, name, ())]
            for name in ("bad_bytes", "segments", "verbatim")
        },
    }


def rejected_row(outcome: Outcome, run: Run, first_run_id: str | None = None) -> dict[str, Any]:
    """Row of `REJECTED` for a document that was not kept; `first_run_id` if an earlier run had it, too.

    Raises:
        ValueError: if it was.
        UnicodeEncodeError: if there is a lone surrogate in its texts.
    """
    if outcome.rejection is None:
        raise ValueError(f"document {outcome.origin.doc_id} was kept: it has no row in 'rejected'")
    return {
        "doc_id": outcome.origin.doc_id,
        "reason": str(outcome.rejection.reason),
        # A traceback may quote anything, lone surrogates included.
        "detail": outcome.rejection.detail.encode("utf-8", "backslashreplace").decode(),
        "text": (text := _text(outcome)),
        **(_figures(outcome, quality.text_figures(text)) if outcome.decoded is not None and text is not None else {}),
        **_provenance_of(outcome, _run(run), first_run_id),
    }


def run_row(run: Run) -> dict[str, Any]:
    """What a run can say of itself; sources, kind, counts, the snapshot and the end are to be added."""
    return {
        "run_id": run.run_id,
        "started_at": _naive(run.started_at),
        "pipeline_version": run.pipeline_version,
        "rules_digest": run.rules_digest,
        "libraries": [{"name": name, "version": version(name)} for name in LIBRARIES],
        "config": run.config.model_dump_json(),
    }


def _text(outcome: Outcome) -> str | None:
    """The text as far as it got."""
    if outcome.cleaned is not None:
        return outcome.cleaned.text
    return outcome.text_in


def _facts(facts: Mapping[str, str], lang: str) -> dict[str, str | None]:
    row = {name: facts.get(name) or None for name in FACT_FIELDS}
    published = _iso(row["published_at"])
    return {**row, "published_at": published, "published_zone": _zone(published, lang)}


def _zone(published: str | None, lang: str) -> str | None:
    """The zone that a time was given in, or the one of Chinese pages."""
    if published is None or "T" not in published:
        return None
    given = datetime.fromisoformat(published).strftime("%z")
    if given:
        return f"{given[:3]}:{given[3:5]} given"
    return "+08:00 assumed" if lang == "zh" else None


def _iso(value: str | None) -> str | None:
    """The column promises ISO 8601: what is something else stays in the edits alone."""
    if not value:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value


def _scripts_before(
    outcomes: Sequence[Outcome], cleaned: Sequence[Cleaned], identities: Sequence[identify.Identity]
) -> list[str]:
    """Scripts of the texts before they were converted."""
    found = [identity.script for identity in identities]
    converted = [i for i, each in enumerate(cleaned) if any(stage.step == "script" for stage in each.stages)]
    before = [_before_conversion(outcomes[i].text_in or "", cleaned[i]) for i in converted]
    for i, identity in zip(converted, identify.identities(before, identify.count_all(before)), strict=True):
        found[i] = identity.script
    return found


def _before_conversion(text: str, cleaned: Cleaned) -> str:
    """The text as the script step first received it: repaired and without the furniture of its page."""
    for stage in cleaned.stages:
        if stage.step == "script":
            break
        text = apply(text, stage.edits)
    return text


def _figures(outcome: Outcome, figures: quality.TextFigures) -> dict[str, Any]:
    n_chars_in = len(outcome.text_in or "")
    edited = quality.edit_figures(n_chars_in, outcome.cleaned or Cleaned("", ()))
    return {**figures._asdict(), "decoded_chars": n_chars_in, **edited._asdict()}


def _provenance_of(outcome: Outcome, of_run: Mapping[str, Any], first_run_id: str | None) -> dict[str, Any]:
    first = {"first_run_id": first_run_id or of_run["run_id"]}
    return {**_origin(outcome), **_decoding(outcome), **_work(outcome), **of_run, **first}


def _origin(outcome: Outcome) -> dict[str, Any]:
    origin = outcome.origin
    return {
        "source_uri": origin.source_uri,
        "record": origin.record,
        "url": origin.url or None,
        "fetched_at": origin.fetched_at or None,
        "record_id": origin.record_id or None,
        "payload_digest": origin.payload_digest or None,
        "extra": origin.extra or None,
        "raw_sha256": origin.sha256,
        "raw_bytes": origin.n_bytes,
        "format": outcome.page.format if outcome.page else "text" if outcome.decoded else "",
        "hidden_chars": outcome.page.hidden_chars if outcome.page else 0,
        "hidden_text": outcome.page.hidden_text if outcome.page else "",
    }


def _decoding(outcome: Outcome) -> dict[str, Any]:
    decoded, text, text_in = outcome.decoded, _text(outcome), outcome.text_in or ""
    if decoded is None or text is None:
        return {}
    decoded_sha256 = sha256(text_in)
    return {
        "encoding": decoded.encoding,
        "encoding_confidence": decoded.confidence,
        "encoding_method": decoded.method,
        "n_bad_bytes": len(decoded.bad_bytes),
        "decoded_sha256": decoded_sha256,
        "text_sha256": decoded_sha256 if text == text_in else sha256(text),
        "n_chars": len(text),
    }


def _flags(outcome: Outcome) -> list[str]:
    """What the steps flagged, and what the page of HTML was."""
    return sorted({*(outcome.cleaned.flags if outcome.cleaned else ()), *(outcome.page.flags if outcome.page else ())})


def _work(outcome: Outcome) -> dict[str, Any]:
    cleaned = outcome.cleaned
    stages = cleaned.stages if cleaned else ()
    by_step = edits_by_step(stages)
    return {
        "n_edits": sum(entry["edits"] for entry in by_step),
        "edits_by_step": by_step,
        "chars_removed": sum(entry["chars_removed"] for entry in by_step),
        "min_confidence": min((stage.confidence for stage in stages), default=1.0),
        "flags": _flags(outcome),
        "damage": [{"kind": d.kind, "start": d.start, "text": d.text} for d in cleaned.damage] if cleaned else [],
    }


def edits_by_step(stages: tuple[Stage, ...]) -> list[dict[str, Any]]:
    """Value of the column of that name."""
    if not stages:
        return []
    edits: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for stage in stages:
        edits[stage.step] += len(stage.edits)
        removed[stage.step] += stage.n_removed
    return [{"step": step, "edits": n, "chars_removed": removed[step]} for step, n in edits.items()]


def _run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "pipeline_version": run.pipeline_version,
        "rules_digest": run.rules_digest,
        "ingested_at": _naive(run.started_at),
    }


def _naive(moment: datetime) -> datetime:
    """In UTC, without saying so: readers disagree about zones."""
    return moment.astimezone(UTC).replace(tzinfo=None)


_INTRODUCTION = """\
# Data dictionary

Generated by `python -m schemas.dataset` from `schemas/dataset.py`; change it there. Schema version {version}.

A dataset is a folder with a folder of Parquet files for each table: `clean`, `edits`, `rejected`, `lines`, `runs`.
Every document that came in has one row in `clean` or one in `rejected`, and in either case one in `edits`. Offsets and
lengths count characters (Unicode code points). Times are in UTC and carry no zone. The footer of every file names the
table, the schema version, the version of qingyuan and the digest of the rules (keys `qingyuan.*`), and holds these
descriptions.
"""

_LOG = """\
## Reading the edit log

The edits of one `stage` are those that a step made in one go. Their `start` counts in the text that the stage received,
so stages are taken back from the last to the first: in each, every `after` is put back to `before`.

Script conversion replaces every third character, and a row for each would make the log as large as the text. So where a
stage replaces single characters by a pattern, rows with a negative `start` stand for many edits each:

| `start` | what it says |
|---|---|
| -1 | Where the i-th character of `after` stands in the text that the stage made, the i-th of `before` stood. |
| -2 | The same; and where any other character stands, its Traditional form stood (OpenCC's STCharacters). |
| -3 | The same; and where any other character stands, its Simplified form stood (OpenCC's TSCharacters). |

Of the forms that the tables offer, the first one counts. Operations do not reach into what the other rows of the
stage put there. Among these, a row with `before` = `after` marks a place where nothing was changed, though an
operation would say so; a pair of equal characters says it for the whole text.

For example, `-2, 為, 为` with `7, 裡, 里` and `12, 里, 里`: `为` was `為` throughout (and not `爲`, its form in the
table), the `里` from character 7 was `裡`, the one from character 12 was `里` already, and all else was Traditional
by the table. `qingyuan revert` does all of this; in Python, `tasks.steps.log.unpack` gives the single edits.

Edits other than operations, by rule, in DuckDB:

```sql
select e.step, e.rule, count(*) as n, any_value(e.before) as before, any_value(e.after) as after
from (select unnest(edits) as e from 'out/edits/*.parquet')
where e.start >= 0 and e.before <> e.after
group by all order by n desc
```

Documents that hold damage, or an edit that is a guess:

```sql
select doc_id, flags, min_confidence, source_uri
from 'out/clean/*.parquet'
where len(flags) > 0 or min_confidence < 0.9
```
"""


def data_dictionary() -> str:
    """The tables and their columns, in Markdown."""
    tables = [table_section(name, schema) for name, schema in TABLES.items()]
    return "\n".join([_INTRODUCTION.format(version=SCHEMA_VERSION), *tables, _LOG])


def table_section(name: str, schema: pa.Schema) -> str:
    """One table and its columns, in Markdown."""
    description = schema.metadata[b"description"].decode()
    rows = [line for field in schema for line in _field_rows(field, "")]
    return "\n".join([f"## {name}", "", description, "", "| column | type | |", "|---|---|---|", *rows, ""])


def _field_rows(field: pa.Field, parent: str) -> Iterator[str]:
    """One line for the field and one for each field of its structs."""
    optional = ", null" if field.nullable else ""
    kind = field.type
    nested = pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    name = "list of structs" if nested else f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)
    yield f"| `{parent}{field.name}` | {name}{optional} | {field.metadata[b'description'].decode()} |"
    for child in kind.value_type if nested else ():
        yield from _field_rows(child, f"{parent}{field.name}.")


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("docs", "data-dictionary.md").write_text(data_dictionary(), encoding="utf-8")
