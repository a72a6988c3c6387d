"""Forward models of whole pages: how clean text becomes the damaged text that this project repairs.

`mangler` (glosses on GBK bytes) and `misreadings` (wrong codecs) say what one site or one reader does to bytes; the
repairs are proved with them. Here they are put to work on whole documents, beside the small kinds of damage that
need no bytes: signs put in, made half-width, escaped. Every model takes clean text and a source of chance, and says
what a perfect repair of its outcome is and which places it broke, so that `benchmarks/fidelity.py` can count.

What clone sites do, and how much of it, was read off the seeds (002 to 004) and real pages; each function says so.
"""

import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from html import escape as escape_markup
from itertools import groupby
from random import Random
from typing import NamedTuple

from tasks.damage.mangler import Broken, Decoder, Undefined, decode, decode_pair
from tasks.damage.misreadings import KEEPING, Misreading, misread, misread_again
from tasks.language import pair_score
from tasks.scripts import simplify, traditional_only, traditionalize
from tasks.steps.pinyin import is_syllable

Span = tuple[int, int]
"""Where something begins and ends, in characters."""


class Damaged(NamedTuple):
    """What a model made of a text."""

    truth: str
    """What a perfect repair gives, in the script that the damage left the text in."""
    observed: str
    """The damaged text."""
    sites: tuple[Span, ...] | None = None
    """Places of `truth` that were broken; None where each difference between `truth` and `observed` is one."""


Model = Callable[[str, Random], Damaged]
"""Damages a text. The same text and the same state of `Random` give the same damage."""

Cut = Callable[[str], list[str]]
"""Splits a text into the pieces that a site works on one by one; joined they are the text again."""


# The GBK mangler

SWALLOWED = Decoder(Broken.SWALLOW, Undefined.DROP, "?")
MARKED = Decoder(Broken.MARK, Undefined.DROP, "\ufffd")
DROPPED = Decoder(Broken.DROP, Undefined.DROP)
KEPT = Decoder(Broken.SWALLOW, Undefined.PRIVATE, "?")
"""The four ways of decoding a broken pair that real pages show: one `?` that takes the bracket with it (`?jié)`),
U+FFFD with the bracket kept, nothing at all, and (beside the first) user-defined pairs kept as private-use ones."""

COMMON_VARIANTS = 200
"""Tables are drawn from so many of the commonest characters that only Traditional text has: 125 of the 141 glossed
characters of the seeds are among these, and all are among the first 325."""

TABLE_SIZES = (35, 54)
"""Distinct glossed characters in the seeds: at least and at most."""

STRIKERS = 3
"""So many characters that strike between others are added to a table for shifts, if the text has them: a table as it
is drawn strikes at every second text only."""

GLOSS_FORMS = ("({})", "({})", "({})", "({} )")
"""Bare brackets as in the seeds; one site in some leaves a space before the closing one (`會(huì )`)."""


def clone_script(text: str) -> str:
    """Simplified to Traditional as clone sites do it: character by character, and `着` always becomes `著`."""
    return traditionalize(text).replace("着", "著")


def in_gbk(text: str) -> str:
    """The text without what GBK cannot write."""
    return text.encode("gbk", "ignore").decode("gbk")


@cache
def _variants() -> tuple[tuple[str, str], ...]:
    """Traditional characters, commonest first, each with its Simplified form, where both are in GBK."""
    pairs = [(c, simplify(c)) for c in sorted(traditional_only()) if traditionalize(simplify(c)) == c == in_gbk(c)]
    pairs.sort(key=lambda pair: -pair_score("\ue000", pair[1]))  # after a character it never saw: its frequency
    return tuple(pairs[: 3 * COMMON_VARIANTS])


def _reading(char: str) -> str:
    from pypinyin import Style, pinyin  # noqa: PLC0415 (0.2 s that importers of other models need not pay)

    return str(pinyin(char, style=Style.TONE)[0][0])


def gloss_table(rng: Random, strikes: str = "") -> dict[bytes, str]:
    """A site's table: Traditional character in GBK → pinyin of its Simplified form in brackets.

    If possible it has some entries that strike between two characters of the text `strikes`.
    """
    chosen = rng.sample(_variants()[:COMMON_VARIANTS], rng.randint(*TABLE_SIZES))
    pairs = _straddling(strikes)
    strikers = [variant for variant in _variants() if variant[0].encode("gbk") in pairs]
    chosen += rng.sample(strikers, min(STRIKERS, len(strikers)))
    form, script_g = rng.choice(GLOSS_FORMS), rng.random() < 0.25
    readings = {traditional: _reading(simplified) for traditional, simplified in chosen}
    return {
        char.encode("gbk"): form.format(reading.replace("g", "ɡ") if script_g else reading)
        for char, reading in readings.items()
        if is_syllable(reading)
    }


def cut_sentences(text: str) -> list[str]:
    """Sentences, and the signs that end them by themselves: in seed 002 a shift ends before the `。`."""
    return [piece for piece in re.split("([。！？\n])", text) if piece]


def cut_quotations(text: str) -> list[str]:
    """Pieces that begin with the full stop and the quotation mark of a new quotation, or with the mark alone."""
    return [piece for piece in re.split("(?=。[“‘《「『])|(?<![。\n])(?=[“《「『])|(?<=\n)", text) if piece]


def mangle_traced(
    text: str, glosses: Mapping[bytes, str], decoder: Decoder, cut: Cut | None = None, *, trims: bool = False
) -> Damaged:
    """`tasks.damage.mangler.mangle`, with the stretches of `text` that came out wrong (glosses alone are no site).

    `trims` takes the bytes A1 off both ends of each piece first, as `tasks.damage.mangler.trim` does.

    Raises:
        UnicodeEncodeError: if the text has characters that GBK lacks.
    """
    observed: list[str] = []
    sites: list[Span] = []
    at = 0
    for piece in cut(text) if cut else [text]:
        traced = list(_trace(piece, glosses, trims=trims))
        data = bytes(byte for byte, _ in traced)
        observed.append(decode(data, decoder))
        right = _in_step(traced, decoder, [len(c.encode("gbk")) for c in piece])
        sites += ((at + a, at + b) for a, b in _runs(set(range(len(piece))) - right))
        at += len(piece)
    return Damaged(text, "".join(observed), tuple(sites))


_GLOSS = -1
"""Owner of the bytes of a gloss."""


def _trace(piece: str, glosses: Mapping[bytes, str], *, trims: bool) -> Iterator[tuple[int, int]]:
    """Bytes as the mangler leaves them, each with the position of the character that it belongs to."""
    owned = [(byte, i) for i, char in enumerate(piece) for byte in char.encode("gbk")]
    if trims:
        data = piece.encode("gbk")
        owned = owned[len(data) - len(data.lstrip(b"\xa1")) : len(data.rstrip(b"\xa1"))]
    data, i = bytes(byte for byte, _ in owned), 0
    while i < len(data):
        gloss = glosses.get(data[i : i + 2])
        width = 1 if gloss is None else 2
        yield from owned[i : i + width]
        yield from ((byte, _GLOSS) for byte in (gloss or "").encode("gbk"))
        i += width


def _in_step(traced: Sequence[tuple[int, int]], decoder: Decoder, widths: Sequence[int]) -> set[int]:
    """Positions of the characters that the decoder reads as what they are."""
    data, right, i = bytes(byte for byte, _ in traced), set[int](), 0
    while i < len(data):
        width = _width(data, i, decoder)
        owners = [owner for _, owner in traced[i : i + width]]
        if len(set(owners)) == 1 and owners[0] != _GLOSS and len(owners) == widths[owners[0]]:
            right.add(owners[0])
        i += width
    return right


def _width(data: bytes, i: int, decoder: Decoder) -> int:
    """How many bytes `tasks.damage.mangler.decode` takes at once."""
    if data[i] <= 0x80 or data[i] == 0xFF:
        return 1
    if i + 1 == len(data) or not 0x40 <= data[i + 1] <= 0xFE or data[i + 1] == 0x7F:
        return 2 if decoder.broken is Broken.SWALLOW else 1
    undefined = decode_pair(data[i : i + 2]) is None
    return 1 if undefined and decoder.undefined is Undefined.MARK_LEAD else 2


def _runs(positions: set[int]) -> Iterator[Span]:
    """Unbroken runs of positions, in order."""
    for _, group in groupby(enumerate(sorted(positions)), key=lambda pair: pair[1] - pair[0]):
        run = [position for _, position in group]
        yield run[0], run[-1] + 1


def gloss(decoder: Decoder) -> Model:
    """Glosses alone: of a drawn table those characters whose bytes occur in this text as characters only."""

    def model(text: str, rng: Random) -> Damaged:
        truth = in_gbk(clone_script(text))
        table = _table_without_strikes(truth, rng)
        return mangle_traced(truth, table, decoder)._replace(sites=None)

    return model


def _table_without_strikes(truth: str, rng: Random) -> dict[bytes, str]:
    table = gloss_table(rng)
    for pair in _straddling(truth) & table.keys():
        del table[pair]
    return table


def _straddling(text: str) -> set[bytes]:
    """Pairs made of the second byte of one character and the first byte of the next."""
    data, starts, at = text.encode("gbk"), set[int](), 0
    for char in text:
        starts.add(at)
        at += len(char.encode("gbk"))
    return {data[i : i + 2] for i in range(len(data) - 1) if i not in starts}


def shift(decoder: Decoder, cut: Cut | None = None) -> Model:
    """Glosses, and shifts wherever the table strikes between two characters."""

    def model(text: str, rng: Random) -> Damaged:
        truth = in_gbk(clone_script(text))
        return mangle_traced(truth, gloss_table(rng, strikes=truth), decoder, cut)

    return model


def trim_signs(decoder: Decoder) -> Model:
    """A glossing site that trims A1 bytes off pieces that begin with a sign; half of such places are cut."""

    def model(text: str, rng: Random) -> Damaged:
        truth = in_gbk(clone_script(text))
        table = _table_without_strikes(truth, rng)
        return mangle_traced(truth, table, decoder, lambda whole: _join_half(cut_quotations(whole), rng), trims=True)

    return model


def _join_half(pieces: list[str], rng: Random) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and not joined[-1].endswith("\n") and rng.random() < 0.5:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


# Wrong codecs


def wrong_codec(*readings: tuple[str, str], reader: Decoder = KEEPING, share: float = 1.0) -> Model:
    """Lines written in one codec and read as another, once or several times over: all lines, or a share of them."""
    misreadings = [Misreading(*reading) for reading in readings]

    def model(text: str, rng: Random) -> Damaged:
        text = clone_script(text) if readings[0][0] == "big5" else text
        text = text.encode(readings[0][0], "ignore").decode(readings[0][0])
        observed, sites, at = list[str](), list[Span](), 0
        for line in text.split("\n"):
            broken = line != "" and (share == 1.0 or rng.random() < share)
            observed.append(misread_again(line, misreadings, reader) if broken else line)
            sites += [(at, at + len(line))] if observed[-1] != line else []
            at += len(line) + 1
        return Damaged(text, "\n".join(observed), tuple(sites))

    return model


CURLY = str.maketrans({"'": "’"})
_QUOTED = re.compile(r'"([^"\n]{1,300})"')


def wrong_signs(misreading: Misreading) -> Model:
    """English with typographic signs, and only these read with the wrong codec: `Yueyang¡¯s`."""

    def model(text: str, _rng: Random) -> Damaged:
        curly = _QUOTED.sub("“\\1”", text).translate(CURLY).replace(" - ", " — ")
        truth = curly.encode(misreading.written, "ignore").decode(misreading.written)
        observed = "".join(c if c.isascii() else misread(c, misreading) for c in truth)
        return Damaged(truth, observed)

    return model


# Noise against scrapers

_HAN = "\u4e00-\u9fff"

PICTURES = "".join(
    chr(c)
    for first, last in (
        (0x1F000, 0x1F02B),  # Mahjong tiles
        (0x1F191, 0x1F19A),  # squared words: 🆗
        (0x1F300, 0x1F320),
        (0x1F330, 0x1F335),
        (0x1F400, 0x1F43E),
        (0x1F4A0, 0x1F4FC),  # 📫
        (0x1F600, 0x1F640),
        (0x1F680, 0x1F6C5),
        (0x1F700, 0x1F773),  # alchemical signs
    )
    for c in range(first, last + 1)
)
"""What real pages have in the middle of words: blocks of Unicode, whole."""

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202a\u202c\u2066\u2069\ufe0f"
"""Zero-width characters, the soft hyphen, bidirectional controls, a variation selector."""


def _put_in(pattern: re.Pattern[str], choice: str, share: float) -> Model:
    """Put one of the characters of `choice` into a share of the places where `pattern` matches nothing."""

    def model(text: str, rng: Random) -> Damaged:
        return Damaged(text, pattern.sub(lambda _: rng.choice(choice) if rng.random() < share else "", text))

    return model


put_commas = _put_in(re.compile("(?<=[^\\s，、。；：！？])(?=[，、。；：！？])"), ",", 0.5)
"""A comma in front of other signs: seed 004 has one at 5 in 10."""

put_pictures = _put_in(re.compile(f"(?<=[{_HAN}])(?=[{_HAN}])"), PICTURES, 1 / 60)
"""Pictures between two ideographs, some ten a page: `荆📫江市委`."""

put_invisible = _put_in(re.compile(f"(?<=[{_HAN}])(?=[{_HAN}])"), INVISIBLE, 1 / 20)


_HALF = str.maketrans("，：；！？（）", ",:;!?()")


def narrow_signs(text: str, _rng: Random) -> Damaged:
    """All full-width signs that ASCII has, made half-width."""
    return Damaged(text, text.translate(_HALF))


def widen_latin(text: str, _rng: Random) -> Damaged:
    """Latin letters and digits made full-width: `ＡＢＣ１２３`."""
    return Damaged(text, re.sub("[0-9A-Za-z]", lambda match: chr(ord(match[0]) + 0xFEE0), text))


# Escapes

ESCAPES: dict[str, Callable[[str], str]] = {
    "&#20013;": lambda text: "".join(c if c.isascii() else f"&#{ord(c)};" for c in escape_markup(text, quote=False)),
    "&amp;#20013;": lambda text: "".join(c if c.isascii() else f"&amp;#{ord(c)};" for c in text),
    "\\u4e2d": lambda text: "".join(c if c.isascii() else _json_escape(c) for c in text),
    "%E4%B8%AD": lambda text: "".join(c if c.isascii() else urllib.parse.quote(c) for c in text),
}
"""Signs of each escape → from clean text to escaped text. ASCII stays, as on real pages."""


def _json_escape(char: str) -> str:
    data = char.encode("utf-16-be")
    return "".join(f"\\u{data[i : i + 2].hex()}" for i in range(0, len(data), 2))


def escaped(form: str) -> Model:
    """A text in one of the `ESCAPES`."""

    def model(text: str, _rng: Random) -> Damaged:
        observed = "\n".join(map(ESCAPES[form], text.split("\n")))
        return Damaged(text, observed, tuple(_lines(text)))

    return model


def _lines(text: str) -> Iterator[Span]:
    return (match.span() for match in re.finditer("[^\n]*[^\n\x00-\x7f][^\n]*", text))


# What is no damage, and must stay


def annotate(text: str, rng: Random) -> Damaged:
    """Children's text: every ideograph with its pinyin. Half of the books use full-width brackets."""
    form = rng.choice(("({})", "（{}）"))
    annotated = re.sub(f"[{_HAN}]", lambda match: match[0] + form.format(_reading(match[0])), text)
    return Damaged(annotated, annotated)


def gloss_by_hand(text: str, rng: Random) -> Damaged:
    """An author's glosses: three of the rarer characters, each once, with their readings."""
    chars = sorted(set(re.findall(f"[{_HAN}]", text)), key=lambda c: (pair_score("\ue000", simplify(c)), c))
    for char in rng.sample(chars[:20], 3):
        text = text.replace(char, f"{char}（{_reading(char)}）", 1)
    return Damaged(text, text)


def undamaged(text: str, _rng: Random) -> Damaged:
    """Nothing happened."""
    return Damaged(text, text)


# Mixtures


def mixture(*models: Model) -> Model:
    """One kind of damage upon the other, the first one first. The truth is that of the first."""

    def model(text: str, rng: Random) -> Damaged:
        first = models[0](text, rng)
        observed = first.observed
        for later in models[1:]:
            observed = later(observed, rng).observed
        return Damaged(first.truth, observed)

    return model
