"""Reading bytes with one codec: bad bytes marked, how plausible the text looks, and back in step after a bad byte.

While a text is being read, a byte of which no character can be made is a *mark*: the lone low surrogate U+DC00 plus
the byte (PEP 383 does so for bytes above 0x7F). No codec used here yields one by itself, so that a marked text and
its codec say all there is to say about the bytes. Marks never leave `tasks.decode`.
"""

import codecs
import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cache

from tasks import language
from tasks.language import fold_text, fold_width, pair_score
from tasks.scripts import simplify

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

_FLAT = re.compile("|".join(f"({pattern})" for pattern, _ in FLAT))
_RUN = re.compile("[^\x00-\x7f\udc00-\udcff]+")

_ISLAND = re.compile(rb"[^\x00-\x2f\x3a-\x3f\x7f]++")
"""Bytes between two that are no part of a longer character in GB18030, Big5, Shift_JIS or EUC: below 0x30, from `:` to
`?`, and DEL. A reading that lost its step is in step again after one of these."""

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


def read(content: bytes, codec: str) -> str:
    """Decode, with a mark for each bad byte."""
    text = content.decode(codec, "qingyuan-mark")
    return text.translate(_WEB_BIG5) if codec == "big5hkscs" else text


def write(marked: str, codec: str) -> bytes:
    """Encode a marked text. Characters that the codec lacks become two bytes `?` each: compare with what was read."""
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


def plausibility(marked: str) -> float:
    """Logarithm (base 10) of how probable the characters beyond ASCII are as Chinese, Japanese or Korean."""
    return BAD * n_marks(marked) + sum(map(_run_score, _RUN.findall(marked)))


def _run_score(run: str) -> float:
    flat = sum(FLAT[match.lastindex - 1][1] for match in _FLAT.finditer(run) if match.lastindex)
    rest = _FLAT.sub("", run) if flat else run
    return flat + language.score(rest)


@cache
def suspect() -> re.Pattern[str]:
    """What undamaged text hardly holds: marks, private use, and characters that the language model does not know."""
    known = {c for c in map(chr, range(0x80, 0xD800)) if _is_known(simplify(c))}
    known |= {c for c in map(chr, range(0xF900, 0x10000)) if _is_known(fold_width(c))}
    return re.compile(f"[^\x00-\x7f{''.join(sorted(known))}]")


def _is_known(folded: str) -> bool:
    """Whether the language model knows an ideograph; of others, whether East Asian text has them."""
    if not ("\u3400" <= folded <= "\u9fff"):
        return "\u2010" <= folded <= "\u33ff" or _FLAT.fullmatch(folded) is not None or "\uff00" <= folded <= "\uffef"
    return pair_score("\n", folded) > language.UNSEEN


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
        pieces += read(line[end : match.start()], codec), _cut_island(match[0], codec)
        end = match.end()
    return "".join([*pieces, read(line[end:], codec)])


def _cut_island(island: bytes, codec: str) -> str:
    plain = read(island, codec)
    if not suspect().search(plain):
        return plain
    score, best = _search(island, codec)
    margin = 14.0  # a reading without bad bytes has a strong prior, one with private use less of it
    if any("\ue000" <= char < "\uf900" for char in plain):
        margin = 4.0
    if n_marks(plain) or _swallows(plain, codec):
        margin = 0.0
    return best if score > _path_score(plain) + margin else plain


def _swallows(plain: str, codec: str) -> bool:
    """Whether a rare character may be a lone first byte that took the first letter of a word for its second."""
    ideographs = (m for m in suspect().finditer(plain) if "\u3400" <= m[0] <= "\u9fff")
    return any(_is_letter(plain[m.end() : m.end() + 1]) and _is_letter(write(m[0], codec)[-1:]) for m in ideographs)


def _is_letter(char: str | bytes) -> bool:
    return char.isascii() and char.isalpha()


def _path_score(marked: str) -> float:
    total, before = 0.0, "\n"
    for char in marked:
        folded = fold_text(char)
        total += _step_score(before, char, folded)
        before = before if MARK.match(char) else folded
    return total


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


def _search(island: bytes, codec: str) -> tuple[float, str]:
    """The most plausible way to cut an island, and its score."""
    table: list[list[_Node]] = [[] for _ in range(len(island) + 4)]
    table[0].append((0.0, "\n", None, ""))
    for i in range(len(island)):
        for width, char, folded in _choices(island, i, codec):
            bad = width == 1 and char >= "\udc00"
            score, node = max(((n[0] + _step_score(n[1], char, folded), n) for n in table[i]), key=lambda pair: pair[0])
            table[i + width].append((score, node[1] if bad else folded, node, char))
    last = max(table[len(island)])
    return last[0], _spell(last)


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
