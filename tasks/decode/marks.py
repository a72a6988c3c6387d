"""Reading bytes with one codec: bad bytes marked, how plausible the text looks, and back in step after a bad byte.

While a text is being read, a byte of which no character can be made is a *mark*: the lone low surrogate U+DC00 plus
the byte (PEP 383 does so for bytes above 0x7F). No codec used here yields one by itself, so that a marked text and
its codec say all there is to say about the bytes. Marks never leave `tasks.decode`.
"""

import codecs
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from tasks import language
from tasks.decode.scores import Codes, Scores, folded_codes, pair_scores
from tasks.language import fold_text, fold_width, pair_score
from tasks.scripts import codes

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

_ISLAND = re.compile(rb"[^\x00-\x2f\x3a-\x3f\x7f]++")
"""Bytes between two that are no part of a longer character in GB18030, Big5, Shift_JIS or EUC: below 0x30, from `:` to
`?`, and DEL. A reading that lost its step is in step again after one of these."""

_PRIVATE = re.compile("[\ue000-\uf8ff]")

_GLOSSED = re.compile("[\udc80-\udcff] ?\\([a-zɡāáǎàōóǒòēéěèīíǐìūúǔùǖǘǚǜü]{1,7} ?\\)")
"""A bad byte before a reading in brackets: the mangler of DAMAGE.md split a character here, and the shift that follows
is evidence for the step that repairs it."""

_WEB_BIG5 = str.maketrans("•､‾∼♁☉／＼¥¢£", "‧﹑¯～⊕⊙∕﹨￥￠￡")
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
    return text.translate(_WEB_BIG5) if codec == "big5hkscs" else text


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
    return 0 if marked.isascii() else len(MARK.findall(marked))


def n_lost(content: bytes, codec: str) -> int:
    """How many bytes a codec can make nothing of: as many as marks, but counted fast, however many there are."""
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


@cache
def suspect() -> re.Pattern[str]:
    """What undamaged text hardly holds: marks, private use, and characters that the language model does not know."""
    chars = np.array([*range(0x80, 0xD800), *range(0xF900, 0x10000)], np.uint32)
    known = "".join(map(chr, chars[_is_known(chars)].tolist()))
    return re.compile(f"[^\x00-\x7f{known}]")


def _is_known(chars: Codes) -> NDArray[np.bool_]:
    """Whether the language model knows an ideograph; of others, whether East Asian text has them."""
    folded = folded_codes(chars)
    ideographs = (folded >= 0x3400) & (folded <= 0x9FFF)
    seen = pair_scores(np.full(len(chars), ord("\n"), folded.dtype), folded) > language.UNSEEN
    east_asian = (
        (folded >= 0x2010) & (folded <= 0x33FF) | (folded >= 0xFF00) & (folded <= 0xFFEF) | (_flat_kinds()[folded] > 0)
    )
    return np.where(ideographs, seen, east_asian)


def resynchronise(lines: Iterable[tuple[bytes, str]]) -> list[str]:
    """Read lines, each with its codec, such that a stray or lost byte costs itself and not the rest of its line.

    In GB18030 and Big5 a stray byte makes pairs of the second half of one character and the first of the next, up to
    the next byte that is surely ASCII, and most such pairs are valid. Where a line holds suspects, the best of all ways
    to cut it into characters and bad bytes is searched for with the language model (Viterbi, a few states a byte).
    """
    left = REPAIR_BYTES
    texts = []
    for line, codec in lines:
        text = read(line, codec)
        if codec in CHINESE and suspect().search(text) and len(line) <= left and not _GLOSSED.search(text):
            left -= len(line)
            text = _cut_line(line, codec)
        texts.append(text)
    return texts


def _cut_line(line: bytes, codec: str) -> str:
    pieces: list[str] = []
    end = 0
    for match in _ISLAND.finditer(line):
        island = match[0]
        inside = island.decode("ascii") if island.isascii() else _cut_island(island, codec)
        pieces += line[end : match.start()].decode("ascii"), inside
        end = match.end()
    return "".join([*pieces, line[end:].decode("ascii")])


def _cut_island(island: bytes, codec: str) -> str:
    plain = read(island, codec)
    if not suspect().search(plain):
        return plain
    margin = 14.0  # a reading without bad bytes has a strong prior, one with private use less of it
    if _PRIVATE.search(plain):
        margin = 4.0
    if n_marks(plain) or _swallows(plain, codec):
        margin = 0.0
    begin, end = _nonsense(plain) if margin == 14.0 else (0, len(plain))
    if begin == end:
        return plain
    before, middle = fold_text(plain[begin - 1 : begin]) if begin else "\n", plain[begin:end]
    at = len(write(plain[:begin], codec))
    score, best = _search(island[at : at + len(write(middle, codec))], codec, before)
    return f"{plain[:begin]}{best}{plain[end:]}" if score > _path_score(middle, before) + margin else plain


def _nonsense(plain: str) -> tuple[int, int]:
    """Where a reading without bad bytes may be out of step: from the first stretch of nonsense to the last."""
    chars = codes(plain)
    folded = folded_codes(chars)
    before = np.concatenate([[np.uint16(ord("\n"))], folded[:-1]])
    scores = pair_scores(before, folded)
    scores[((folded >= 0x3400) & (folded <= 0x9FFF) & (scores <= language.UNSEEN)) | (folded > 0xFFFE)] = NOT_TEXT
    breaks = np.flatnonzero((chars[:-1] == ord("\\")) & (chars[1:] == ord("n")))  # of JSON: in every other reading, too
    scores[np.concatenate([breaks, breaks + 1, np.flatnonzero(_flat_kinds()[chars])])] = POOR
    scores[chars == before] = REPEATED
    sums = np.concatenate([[0.0], np.cumsum(POOR - scores)])
    stretches = (sums - np.minimum.accumulate(sums))[1:]  # the worst that ends here (Kadane)
    if stretches.max() < SPURIOUS:
        return 0, 0
    found = np.flatnonzero(stretches > SPURIOUS / 2)
    return max(0, int(found[0]) - AROUND), int(found[-1]) + AROUND


def _swallows(plain: str, codec: str) -> bool:
    """Whether a rare character may be a lone first byte that took the first letter of a word for its second."""
    ideographs = (m for m in suspect().finditer(plain) if "\u3400" <= m[0] <= "\u9fff")
    return any(_is_letter(plain[m.end() : m.end() + 1]) and _is_letter(write(m[0], codec)[-1:]) for m in ideographs)


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
        score = pair_score(before, folded)
        return score if score > language.UNSEEN or folded < "\u0100" else NOT_TEXT
    flat = _FLAT.fullmatch(char)
    if flat and flat.lastindex:
        return FLAT[flat.lastindex - 1][1]
    return NOT_TEXT if char >= "\ue000" and char < "\uf900" else pair_score(before, folded)


_Node = tuple[float, str, "_Node | None", str]
"""Score so far, last character (folded), node before, characters of this step."""


def _search(island: bytes, codec: str, before: str) -> tuple[float, str]:
    """The most plausible way to cut an island, and its score after a character."""
    table: list[list[_Node]] = [[] for _ in range(len(island) + 4)]
    table[0].append((0.0, before, None, ""))
    for i in range(len(island)):
        nodes = table[i]
        for width, char, folded in _choices(island, i, codec):
            if width == 1 and char >= "\udc00":  # a mark costs the same after any character
                node = max(nodes, key=_score_of)
                table[i + 1].append((node[0] + BAD, node[1], node, char))
                continue
            scores = [node[0] + _step_score(node[1], char, folded) for node in nodes]
            score = max(scores)
            table[i + width].append((score, folded, nodes[scores.index(score)], char))
    last = max(table[len(island)])
    return last[0], _spell(last)


_score_of = itemgetter(0)


def _spell(node: _Node | None) -> str:
    chars = []
    while node:
        chars.append(node[3])
        node = node[2]
    return "".join(reversed(chars))


def _choices(island: bytes, i: int, codec: str) -> Iterator[tuple[int, str, str]]:
    """Widths and characters that can start at a byte: itself if ASCII or else as a mark, a pair, four bytes."""
    byte = island[i]
    if byte < 0x80:
        yield 1, chr(byte), fold_width(chr(byte))
        return
    yield 1, chr(0xDC00 + byte), ""
    pair = _pairs(codec).get(island[i : i + 2])
    if pair:
        yield 2, *pair
    elif codec == "gb18030" and island[i + 1 : i + 2].isdigit():
        text = island[i : i + 4].decode(codec, "ignore")
        if len(text) == 1 and ord(text) > 0x7F:
            yield 4, text, text


@cache
def _pairs(codec: str) -> dict[bytes, tuple[str, str]]:
    """Two bytes to their character, as read and as folded for the language model."""
    pairs = (bytes([a, b]) for a in range(0x81, 0xFF) for b in range(0x40, 0xFF))
    texts = ((pair, read(pair, codec)) for pair in pairs)
    return {pair: (t, fold_text(t)) for pair, t in texts if len(t) == 1}
