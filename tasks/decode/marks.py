"""Reading bytes with one codec: bad bytes marked, how plausible the text looks, and back in step after a bad byte.

While a text is being read, a byte of which no character can be made is a *mark*: the lone low surrogate U+DC00 plus
the byte (PEP 383 does so for bytes above 0x7F). No codec used here yields one by itself, so that a marked text and
its codec say all there is to say about the bytes. Marks never leave `tasks.decode`.
"""

import codecs
import itertools
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks import language
from tasks.decode.scores import Codes, Scores, folded_codes, pair_scores
from tasks.language import fold_text, fold_width
from tasks.scripts import CharTable, codes

Places = NDArray[np.intp]

CHINESE = ("gb18030", "cp950", "big5hkscs")

MARK = re.compile("[\udc00-\udcff]")

_AROUND_MARKS = re.compile("([\udc00-\udcff])")

BAD = -7.0
"""Score of a bad byte: as improbable as a character that the language model has not seen (`language.UNSEEN`)."""

NOT_TEXT = -9.0
"""Score of a pair that is hardly ever written: private use, unassigned, ideographs outside the model's 8,100."""

HANGUL = (
    "이다는을의에가고지하은로한기를사도리어자들대인시나서정해스아일수있그것게제보부라과으만주전장여상구성국경원조비공"
    "소우오데면무치관유적모거세위안연당내중동방미선금생마학요분신드단각식진민회양할간날물실계문화니습와려재말했였업발"
)
"""The commonest syllables of Korean, two thirds of running text. They tell Korean from Chinese read as Korean, where
syllables come as they fall, and between hanja."""

FLAT = (
    ("[ぁ-ヺー々]", -2.2),
    ("[\uff61-\uff9f]", -4.1),
    (f"[{HANGUL}]", -2.1),
    ("(?<![\u4e00-\u9fff])[\uac00-\ud7a3](?![\u4e00-\u9fff])", -3.6),
    ("[\uac00-\ud7a3]", -5.0),
)
"""Scores of what the Chinese model does not know: kana, half-width kana, hangul. About the entropy of one sign of
running text, as log10: some 80 kana are in use, and hangul as said above. Half-width kana count as noise: two stand
for the bytes of one character of the other readings, and one alone for any sign of Latin-1."""

REPEATED = -1.5
"""Score of a sign after itself: rules, rows of stars and laughter are made of one."""

REPAIR_BYTES = 128 * 1024
"""Bytes of one document that are put back in step, at most: the search takes about 4 µs a byte. Beyond, a reading
stays as the codec gives it."""

SPURIOUS = 8.0
"""How much worse than `POOR` the worst stretch of a reading without bad bytes must be before another is searched for.
Of lines of news with a rare character 10 % are, at 9 at most; of 37 lines that were right to be cut anew, all: by 12
and more, since two bad bytes and the margin must be made up for."""

AROUND = 20
"""Characters on either side of nonsense that are cut anew with it."""

POOR = -3.2
"""Mean score of a character where a text is not quite ordinary."""

_FLAT = re.compile("|".join(f"({pattern})" for pattern, _ in FLAT))

ISLAND = re.compile(rb"(?<![0-9@-~\x80-\xff])[0-9@-~]*+[\x80-\xff][^\x00-\x2f\x3a-\x3f\x7f]*+")
_ISLAND_READ = re.compile(r"(?<![^\x00-\x2f\x3a-\x3f\x7f])[0-9@-~]*+[^\x00-\x7f][^\x00-\x2f\x3a-\x3f\x7f]*+")
"""Bytes between two that are no part of a longer character in GB18030, Big5, Shift_JIS or EUC: below 0x30, from `:` to
`?`, and DEL. A reading that lost its step is in step again after one of these. Not all of an island is ASCII; each is
an island as well in what was read, since those bytes are always read as they are, and no others like them."""

_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n)|[^\r\n]++")
"""As `bytes.splitlines` splits, for what was read: that of strings splits at more."""

_PRIVATE = re.compile("[\ue000-\uf8ff]")

_GLOSSED = re.compile("[\udc80-\udcff] ?\\([a-zɡāáǎàōóǒòēéěèīíǐìūúǔùǖǘǚǜü]{1,7} ?\\)")
"""A bad byte before a reading in brackets: the mangler of DAMAGE.md split a character here, and the shift that follows
is evidence for the step that repairs it."""

_WEB_BIG5 = CharTable({ord(a): b for a, b in zip("•､‾∼♁☉／＼¥¢£", "‧﹑¯～⊕⊙∕﹨￥￠￡", strict=True)})
"""Signs of rows A1 and A2 where Python's big5hkscs differs from the Encoding Standard (index Big5) and from cp950."""

_ETEN = re.compile("[ぁ-ヶЁ-ё①-⑩⑴-⑽ゝゞヾ々]")
"""What Python's cp950 makes of C6A1 to C8FE, where pages follow the ETEN extension, as big5hkscs does."""


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: a bad byte becomes a mark; in the other direction, a foreign character two bytes `?`."""
    if isinstance(error, UnicodeDecodeError):
        wide = error.encoding.startswith("utf")  # all others are to try again at the very next byte
        end = error.end if wide else error.start + 1
        return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : end]), end
    if isinstance(error, UnicodeEncodeError):
        return b"??" * (error.end - error.start), error.end
    raise error


codecs.register_error("qingyuan-mark", _mark)

_ASCII_MAY_BE_BAD = ("utf-16", "utf-32", "utf-7", "hz", "iso2022")
"""Codecs in which bytes below 0x80 can be bad. In all others Python's own `surrogateescape` (PEP 383), which is written
in C, makes the same marks."""


def _handler(codec: str) -> str:
    return "qingyuan-mark" if codec.startswith(_ASCII_MAY_BE_BAD) else "surrogateescape"


def read(content: bytes, codec: str) -> str:
    """Decode, with a mark for each bad byte."""
    text = content.decode(codec, _handler(codec))
    return _WEB_BIG5(text) if codec == "big5hkscs" else text


def write(marked: str, codec: str) -> bytes:
    """Encode a marked text. Characters that the codec lacks become two bytes `?` each: compare with what was read."""
    try:
        return marked.encode(codec, "strict" if _handler(codec) == "qingyuan-mark" else "surrogateescape")
    except UnicodeEncodeError:
        pass
    pieces = _AROUND_MARKS.split(marked)
    return b"".join(
        bytes([ord(piece) - 0xDC00]) if i % 2 else piece.encode(codec, "qingyuan-mark")
        for i, piece in enumerate(pieces)
        if piece
    )


def n_marks(marked: str) -> int:
    """How many bytes of a reading are bad."""
    try:
        marked.encode()  # many times as fast as looking for them
    except UnicodeEncodeError:
        return len(MARK.findall(marked))
    return 0


def is_lossy(content: bytes, codec: str) -> bool:
    """Whether there are bytes that a codec can make nothing of."""
    try:
        content.decode(codec)
    except UnicodeDecodeError:
        return True
    return False


def is_readable(content: bytes, codec: str) -> bool:
    """Whether a Chinese codec leaves one bad byte at most: what is behind a second one is not read."""
    for _ in range(2):
        try:
            content.decode(codec)
        except UnicodeDecodeError as error:
            content = content[error.start + 1 :]
        else:
            return True
    return False


def n_lost(content: bytes, codec: str) -> int:
    """How many bytes a codec can make nothing of: as many as marks, but counted fast, however many there are."""
    if codec in CHINESE and not is_lossy(content, codec):
        return 0
    return len(content) - len(content.decode(codec, "ignore").encode(codec, "ignore"))


def big5_codec(content: bytes) -> str:
    """`cp950`, or `big5hkscs` where the bytes use the extensions of Hong Kong or ETEN."""
    lost, left = n_lost(content, "cp950"), n_lost(content, "big5hkscs")
    if left == lost:
        return "big5hkscs" if _ETEN.search(content.decode("cp950", "ignore")) else "cp950"
    if left > lost:
        return "cp950"
    # A stray byte is no character of Hong Kong: read as one, it spoils what follows.
    lines = (line for line in content.splitlines() if n_lost(line, "cp950"))
    sample = b"\n".join(itertools.islice(lines, 100))[:20_000]
    return max(("cp950", "big5hkscs"), key=lambda codec: plausibility(read(sample, codec)))


def n_beyond(marked: str) -> int:
    """How many characters of a text, marks included, are beyond ASCII."""
    return len(marked) - len(marked.encode("ascii", "ignore"))


def plausibility(marked: str) -> float:
    """Logarithm (base 10) of how probable the characters beyond ASCII are as Chinese, Japanese or Korean."""
    return plausibilities([marked])[0]


def plausibilities(texts: Sequence[str]) -> list[float]:
    """The same of several texts, in one go. Runs of characters beyond ASCII are scored each by itself."""
    joined = "\n".join(texts)
    chars = codes(joined)
    scores = np.zeros(len(chars) + 1)
    marks = (chars >= 0xDC00) & (chars <= 0xDCFF)
    scores[:-1][marks] = BAD
    flat = _flat_scores(chars)
    scores[:-1] += flat
    outside = (chars < 0x80) | marks
    runs = np.cumsum(outside)
    kept = np.flatnonzero(~outside & (flat == 0))
    folded, runs = folded_codes(chars[kept]), runs[kept]
    before = np.full(len(kept), ord("\n"), folded.dtype)
    before[1:] = np.where(runs[1:] == runs[:-1], folded[:-1], before[1:])
    scores[kept] = pair_scores(before, folded)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    sums: list[float] = np.add.reduceat(scores, starts).tolist()
    return sums


def _flat_scores(chars: Codes) -> Scores:
    """Scores as in `FLAT`, 0.0 for all other characters."""
    kinds = _flat_kinds()[chars]
    if not kinds.any():
        return np.zeros(len(chars))
    ideographs = (chars >= 0x4E00) & (chars <= 0x9FFF)
    beside = np.zeros(len(chars), bool)
    beside[1:] = ideographs[:-1]
    beside[:-1] |= ideographs[1:]
    kinds = kinds + ((kinds == 4) & beside)
    scores: Scores = np.array([0.0, *(score for _, score in FLAT)])[kinds]
    return scores


@cache
def _flat_kinds() -> NDArray[np.uint8]:
    """By code point: number of its line in `FLAT`, as it stands alone; 0 for all that has none."""
    kinds = np.zeros(0x110000, np.uint8)
    for match in _FLAT.finditer(
        "\n".join(map(chr, (*range(0x3000, 0x3100), *range(0xAC00, 0xD7A4), *range(0xFF60, 0xFFA0))))
    ):
        kinds[ord(match[0])] = match.lastindex or 0
    return kinds


def suspects(text: str) -> Places:
    """Places of what undamaged text hardly holds: marks, private use, and what the language model does not know."""
    return np.flatnonzero(_suspects().take(codes(text), mode="clip"))


@cache
def _suspects() -> NDArray[np.bool_]:
    """By code point of the Basic Multilingual Plane; its last one stands for all that are beyond."""
    chars = np.array([*range(0x80, 0xD800), *range(0xF900, 0x10000)], np.uint32)
    table = np.ones(0x10000, np.bool_)
    table[:0x80] = False
    table[chars[_is_known(chars)]] = False
    table[0xFFFF] = True
    return table


def _is_known(chars: Codes) -> NDArray[np.bool_]:
    """Whether the language model knows an ideograph; of others, whether East Asian text has them."""
    folded = folded_codes(chars)
    ideographs = (folded >= 0x3400) & (folded <= 0x9FFF)
    seen = pair_scores(np.full(len(chars), ord("\n"), folded.dtype), folded) > language.UNSEEN
    east_asian = (
        (folded >= 0x2010) & (folded <= 0x33FF) | (folded >= 0xFF00) & (folded <= 0xFFEF) | (_flat_kinds()[folded] > 0)
    )
    return np.where(ideographs, seen, east_asian)


class Reading(NamedTuple):
    """Lines as their codecs read them."""

    texts: list[str]
    suspects: dict[int, Places]
    """Of the lines that have some, by their numbers."""


def read_lines(lines: Sequence[bytes], names: Sequence[str]) -> Reading:
    """Read lines, each with its codec: all that follow each other in the same one at once.

    Their ends are never part of a longer character, so each is read as it is by itself.
    """
    beyond = [i for i, line in enumerate(lines) if not line.isascii()]
    own: list[str] = []
    for name, group in itertools.groupby(beyond, names.__getitem__):
        some = [lines[i] for i in group]
        own += _LINE.findall(read(b"".join(some), name)) if len(some) > 1 else [read(some[0], name)]
    of = dict(zip(beyond, own, strict=True))
    texts = [of[i] if i in of else line.decode() for i, line in enumerate(lines)]
    return Reading(texts, {beyond[n]: places for n, places in _by_text(suspects("".join(own)), own)})


def _by_text(found: Places, texts: Sequence[str]) -> Iterator[tuple[int, Places]]:
    """Places in texts that follow each other as places in each; by their numbers, without those that have none."""
    starts = np.cumsum([0, *map(len, texts)])
    number = np.searchsorted(starts, found, side="right") - 1
    edges = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    for begin, end in itertools.pairwise([*edges, len(found)]):
        n = int(number[begin])
        yield n, found[begin:end] - starts[n]


class _Island(NamedTuple):
    """Bytes between two that are surely ASCII, with suspects among what was read of them."""

    line: int
    start: int
    """In what was read of the line; likewise `end`."""
    end: int
    raw: bytes
    plain: str
    """What was read."""
    margin: float
    """By how much another reading must be better."""


def resynchronise(lines: Sequence[bytes], names: Sequence[str], reading: Reading) -> list[str]:
    """Texts of lines, read such that a stray or lost byte costs itself and not the rest of its line.

    In GB18030 and Big5 a stray byte makes pairs of the second half of one character and the first of the next, up to
    the next byte that is surely ASCII, and most such pairs are valid. Where a line holds suspects, the best of all ways
    to cut it into characters and bad bytes is searched for with the language model (Viterbi, a few states a byte).

    Args:
        lines: As bytes.
        names: Codec of each.
        reading: What `read_lines` made of them.
    """
    texts = list(reading.texts)
    islands = [island for i in _repairable(lines, names, reading) for island in _islands(i, lines, names, reading)]
    doubtful = _are_doubtful([island.plain for island in islands])
    for island, is_doubtful in reversed([*zip(islands, doubtful, strict=True)]):  # the last one first: places stay
        if is_doubtful or island.margin < _MARGIN:
            text = texts[island.line]
            cut = _cut_island(island, names[island.line])
            texts[island.line] = f"{text[: island.start]}{cut}{text[island.end :]}"
    return texts


def _repairable(lines: Sequence[bytes], names: Sequence[str], reading: Reading) -> Iterator[int]:
    """Lines that may be read anew."""
    left = REPAIR_BYTES
    for i in reading.suspects:
        if names[i] in CHINESE and len(lines[i]) <= left and not _GLOSSED.search(reading.texts[i]):
            left -= len(lines[i])
            yield i


def _islands(i: int, lines: Sequence[bytes], names: Sequence[str], reading: Reading) -> Iterator[_Island]:
    text, places = reading.texts[i], reading.suspects[i].tolist()
    for raw, read_ in zip(ISLAND.finditer(lines[i]), _ISLAND_READ.finditer(text), strict=True):
        start, end = read_.span()
        first, last = bisect_left(places, start), bisect_left(places, end)
        if first < last:
            plain = read_[0]
            margin = _margin(plain, [place - start for place in places[first:last]], names[i])
            yield _Island(i, start, end, raw[0], plain, margin)


_MARGIN = 14.0
"""A reading without bad bytes has a strong prior."""


def _margin(plain: str, suspects: Sequence[int], codec: str) -> float:
    if n_marks(plain) or _swallows(plain, suspects, codec):
        return 0.0
    return 4.0 if _PRIVATE.search(plain) else _MARGIN  # private use has less of a prior


def _cut_island(island: _Island, codec: str) -> str:
    plain = island.plain
    begin, end = _nonsense(plain) if island.margin == _MARGIN else (0, len(plain))
    if begin == end:
        return plain
    before, middle = fold_text(plain[begin - 1 : begin]) if begin else "\n", plain[begin:end]
    at = len(write(plain[:begin], codec))
    score, best = _search(island.raw[at : at + len(write(middle, codec))], codec, before)
    return f"{plain[:begin]}{best}{plain[end:]}" if score > _path_score(middle, before) + island.margin else plain


def _are_doubtful(texts: Sequence[str]) -> list[bool]:
    """Whether there may be `_nonsense` in texts: in the others there is none. All in one go."""
    if not texts:
        return []
    excess = _excess("\n".join(texts))
    ends = np.cumsum([len(text) + 1 for text in texts])[:-1]
    excess[ends - 1] = -1.0 - excess.clip(0).sum()  # nothing adds up across texts
    found = np.maximum.reduceat(_stretches(excess), np.concatenate([[0], ends])) > SPURIOUS - _ROUNDING
    doubtful: list[bool] = found.tolist()
    return doubtful


_ROUNDING = 0.01
"""Much more than sums over a document are off by their order."""


def _nonsense(plain: str) -> tuple[int, int]:
    """Where a reading without bad bytes may be out of step: from the first stretch of nonsense to the last."""
    stretches = _stretches(_excess(plain))
    if stretches.max() < SPURIOUS:
        return 0, 0
    found = np.flatnonzero(stretches > SPURIOUS / 2)
    return max(0, int(found[0]) - AROUND), int(found[-1]) + AROUND


def _stretches(excess: Scores) -> Scores:
    """The worst stretch that ends at each character (Kadane)."""
    sums = np.concatenate([[0.0], np.cumsum(excess)])
    worst: Scores = (sums - np.minimum.accumulate(sums))[1:]
    return worst


def _excess(plain: str) -> Scores:
    """By how much each character is worse than those of a text that is not quite ordinary."""
    chars = codes(plain)
    folded = folded_codes(chars)
    before = np.concatenate([[np.uint16(ord("\n"))], folded[:-1]])
    scores = pair_scores(before, folded)
    scores[((folded >= 0x3400) & (folded <= 0x9FFF) & (scores <= language.UNSEEN)) | (folded > 0xFFFE)] = NOT_TEXT
    breaks = np.flatnonzero((chars[:-1] == ord("\\")) & (chars[1:] == ord("n")))  # of JSON: in every other reading, too
    scores[np.concatenate([breaks, breaks + 1, np.flatnonzero(_flat_kinds()[chars])])] = POOR
    scores[chars == before] = REPEATED
    return POOR - scores


def _swallows(text: str, suspects: Sequence[int], codec: str) -> bool:
    """Whether a rare character may be a lone first byte that took the first letter of a word for its second."""
    ideographs = (at for at in suspects if "\u3400" <= text[at] <= "\u9fff")
    return any(_is_letter(text[at + 1 : at + 2]) and _is_letter(write(text[at], codec)[-1:]) for at in ideographs)


def _is_letter(char: str | bytes) -> bool:
    return char.isascii() and char.isalpha()


def _path_score(marked: str, before: str) -> float:
    total = 0.0
    for char in marked:
        folded = fold_text(char)
        total += _step_score(before, char, folded)
        before = before if MARK.match(char) else folded
    return total


@lru_cache(1 << 16)
def _step_score(before: str, char: str, folded: str) -> float:
    if "\udc00" <= char <= "\udcff":
        return BAD
    if char == before:
        return REPEATED
    if "\u3400" <= folded <= "\u9fff" or folded < "\u0100":
        score = language.pair_step(before, folded)
        return score if score > language.UNSEEN or folded < "\u0100" else NOT_TEXT
    flat = _FLAT.fullmatch(char)
    if flat and flat.lastindex:
        return FLAT[flat.lastindex - 1][1]
    return NOT_TEXT if char >= "\ue000" and char < "\uf900" else language.pair_step(before, folded)


_Node = tuple[float, str, "_Node | None", str]
"""Score so far, last character (folded), node before, characters of this step."""


def _search(island: bytes, codec: str, before: str) -> tuple[float, str]:
    """The most plausible way to cut an island, and its score after a character."""
    pairs = _pairs(island, codec)
    table: list[list[_Node]] = [[] for _ in range(len(island) + 4)]
    table[0].append((0.0, before, None, ""))
    for i, byte in enumerate(island):
        nodes = table[i]
        if byte < 0x80:
            table[i + 1].append(_best(nodes, chr(byte), fold_width(chr(byte))))
            continue
        node = max(nodes, key=_score_of)  # a mark costs the same after any character
        table[i + 1].append((node[0] + BAD, node[1], node, chr(0xDC00 + byte)))
        if pair := pairs.get(i):
            table[i + 2].append(_best(nodes, *pair))
        elif codec == "gb18030" and (char := _four_bytes(island[i : i + 4])):
            table[i + 4].append(_best(nodes, char, char))
    last = max(table[len(island)])
    return last[0], _spell(last)


def _best(nodes: list[_Node], char: str, folded: str) -> _Node:
    """A character after the best of what may stand before it."""
    scores = [node[0] + _step_score(node[1], char, folded) for node in nodes]
    score = max(scores)
    return score, folded, nodes[scores.index(score)], char


def _four_bytes(raw: bytes) -> str:
    """The character of GB18030 that four bytes are, or nothing."""
    text = raw.decode("gb18030", "ignore") if raw[1:2].isdigit() else ""
    return text if len(text) == 1 and ord(text) > 0x7F else ""


_score_of = itemgetter(0)


def _spell(node: _Node | None) -> str:
    chars = []
    while node:
        chars.append(node[3])
        node = node[2]
    return "".join(reversed(chars))


def _pairs(island: bytes, codec: str) -> dict[int, tuple[str, str]]:
    """Where two bytes are one character: as read, and as folded for the language model."""
    places = [i for i, (byte, second) in enumerate(itertools.pairwise(island)) if byte >= 0x80 and second >= 0x40]
    pairs = b"\n".join(island[i : i + 2] for i in places)
    text = pairs.decode(codec, "replace")  # in place of marks, of which neither leaves a single character
    text = _WEB_BIG5(text) if codec == "big5hkscs" else text
    rows = zip(places, text.split("\n"), fold_text(text).split("\n"), strict=bool(places))
    return {i: (char, folded) for i, char, folded in rows if len(char) == 1}
