"""Wrong readings that are not a matter of Chinese: those that ftfy undoes, and single signs inside Latin text."""

import re
from collections.abc import Iterator
from functools import cache

from schemas.document import Edit
from tasks.damage.misreadings import has_utf8_structure
from tasks.language import mean_score
from tasks.steps.pinyin import is_syllable

STEP = "mojibake"

PIECE = 4000
"""Characters given to ftfy at once: its time grows faster than the length of a line."""

LEAST_SCORE = -4.5
"""Mean score of Chinese that a run of Latin-1 letters may stand for; letters of European words come out below -5.5."""

_SETTINGS = {
    # Repairs of encodings only: everything else that ftfy does is damage in Chinese text, or belongs to another step.
    "unescape_html": False,
    "fix_character_width": False,
    "uncurl_quotes": False,
    "fix_latin_ligatures": False,
    "fix_line_breaks": False,
    "remove_control_chars": False,
    "remove_terminal_escapes": False,
    "normalization": None,
}

_BYTES = frozenset(("restore_byte_a0", "replace_lossy_sequences"))
"""Parts of a plan of ftfy that work on bytes, between encoding and decoding."""

_HIGH = r"[\xa1-\xfe]"

_DOUBLE_BYTE = re.compile(rf"(?<!{_HIGH})(?:{_HIGH}{{2}}){{2,50}}+(?!{_HIGH})")
"""An even run of Latin-1 letters: `ÖÐ¹ú`. If it is no UTF-8 it may be GBK, which ftfy would make unrecoverable."""

_GBK_SIGNS = re.compile(
    r"(?P<quote>¡[®¯°±])|(?P<dash>(?:¡ª){1,2}+|(?:¡\xad){1,2}+|¨[CD]|¡[¤ãæÁ«])"
    r"|(?P<sign>¡[¢£¶·¸¹¾¿]|£[¡¨©»¿])|(?P<in_number>£[¬º])|(?P<bullet>(?<!\S)¡[ïðñòóôõö÷øù](?=\s))"
    r"|(?P<letter>(?:(?<=[A-Za-z]{2})|(?<=[\s(\"'-][A-Za-z])|(?<=\A[A-Za-z]))¨[¡-º](?=[a-z\s,.;:!?)'-]|\Z)"
    r"|(?<![^\s(\"'-])¨[¡-º](?=[a-z]{2}))"
)
"""GB2312 signs in Latin text, read as Latin-1 (A1A2 `、` to A3BF `？`); the quotes A1AE to A1B1 are the commonest.
A843 is the en dash, A1EF to A1F9 are bullets, A8A1 to A8BA letters of pinyin, which French shares (`caf¨¦`)."""

_BIG5_SIGNS = re.compile(
    r"(?P<quote>¡[¥¦§¨])|(?P<dash>(?:¡X){1,2}+|(?:¡K){1,2}+|¡V)|(?P<times>¡[ÑÓ])"
    r"|(?P<closing>¡[A-I\]^_`f]|¢[JMX])|(?P<free>¢[DFG](?=\d)|¡[Pei-ruvyz])"
    r"|(?P<other>(?<![A-Za-z.,!?])¡[¯±]|¡[®°](?![A-Za-z])|(?<!\S)¡[³-½](?=\s)|¡[¬ãÀô-÷])"
)
"""Signs of Big5 in Latin text. The quotes A1A5 to A1A8 are nothing that anyone writes; `¡X` `—` and `¡K` `…` look like
what opens an exclamation in Spanish; the rest is believed only beside quotes, and what GBK has in another meaning
only in a shape that those would not have, where no quotes are GBK's."""

_GBK_FIRST, _BIG5_FIRST = re.compile("[¡£¨]"), re.compile("[¡¢]")
"""What the signs begin with: a set of characters is looked for thirty times as fast as alternatives."""

_BIG5_QUOTE = re.compile("¡[¥¦§¨]")
_GBK_QUOTE = re.compile("(?<=[A-Za-z])¡¯(?=[A-Za-z])|(?<=[A-Za-z.,!?])¡±")
"""Apostrophes and quotation marks that the other codec cannot mean: A1A6 is a háček there, A1AF an asterisk."""

_SIGNS_AS_GBK = "鈥茅猫锚毛帽贸铆谩脿莽枚眉么卯茂没霉"
_SIGN_AS_GBK = re.compile(
    f"[{_SIGNS_AS_GBK}](?:"
    "(?<=鈥)(?<![\u3400-\u9fff]鈥)[\u4e00-\u9fff\ue000-\uf8ff€\x80]|(?<=[A-Za-zÀ-ÿ][^鈥])(?=[A-Za-z]))"
)
"""UTF-8 in Latin text, read as GBK: E2 80 and what follows (`鈥檚` is `’s`), and Western Europe's accented letters."""


def fix_signs(text: str) -> Iterator[Edit]:
    """Single signs of Chinese typography in Latin text: `Yueyang¡¯s`, `There¡¦s`, `don鈥檛`, `caf茅s`."""
    glosses = list(_glosses_as_gbk(text))
    taken = {i for edit in glosses for i in range(edit.start, edit.start + len(edit.before))}
    signs = [*_signs_as_1252(text), *_signs_as_gbk(text), *_closing_quotes(text)]
    yield from sorted([*glosses, *(edit for edit in signs if edit.start not in taken)], key=lambda e: e.start)


def _signs_as_1252(text: str) -> Iterator[Edit]:
    if not any(c in text for c in "¡£¨¢"):
        return
    big5 = list(_signs_of_big5(text))
    taken = {i for edit in big5 for i in range(edit.start, edit.start + len(edit.before))}
    yield from big5
    found = list(_matches(_GBK_SIGNS, _GBK_FIRST, text))
    sure = len(found) > 0 and _GBK_QUOTE.search(text) is not None
    matches = [match for match in found if taken.isdisjoint(range(*match.span()))]
    starts = taken.union(match.start() for match in matches)
    ends = {i + 1 for i in taken}.union(match.end() for match in matches)
    for match in matches:
        in_run = (match.start() not in ends and _is_high(text[match.start() - 1 : match.start()])) or (
            match.end() not in starts and _is_high(text[match.end() : match.end() + 1])
        )
        if (match["quote"] or not in_run) and _is_sign_of_gbk(match, *_around(text, match), sure=sure):
            after = match.group().encode("latin-1").decode("gbk")
            yield Edit(STEP, "gbk-as-windows-1252", match.start(), match.group(), after)


def _matches(pattern: re.Pattern[str], first: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` finds of a pattern that begins with one of the characters of `first`."""
    end = 0
    for gate in first.finditer(text):
        match = pattern.match(text, gate.start()) if gate.start() >= end else None
        if match is not None:
            end = match.end()
            yield match


def _is_sign_of_gbk(match: re.Match[str], before: str, after: str, *, sure: bool) -> bool:
    """Whether a sign of GBK stands where such a sign stands."""
    if match["sign"]:
        return sure or _is_between_words(before, after)
    return not match["in_number"] or before.isalnum()


def _is_high(char: str) -> bool:
    """Whether a character is a byte of a pair read as Latin-1."""
    return "\xa1" <= char <= "\xfe"


def _signs_of_big5(text: str) -> Iterator[Edit]:
    """Signs of Big5. What could be Spanish or GBK's is taken for such only in a text that has quotes of Big5."""
    found = list(_matches(_BIG5_SIGNS, _BIG5_FIRST, text))
    sure = len(found) > 0 and _BIG5_QUOTE.search(text) is not None
    alone = sure and _GBK_QUOTE.search(text) is None
    end = -1
    for match in found:
        before, after = _around(text, match)
        follows = match.start() == end
        if _is_high(before) and not follows:
            continue
        if _is_sign_of_big5(match, "x" if follows else before, after, sure=alone if match["other"] else sure):
            end = match.end()
            sign = match.group().encode("latin-1").decode("big5")
            yield Edit(STEP, "big5-as-windows-1252", match.start(), match.group(), sign)


def _is_sign_of_big5(match: re.Match[str], before: str, after: str, *, sure: bool) -> bool:
    """Whether a sign of Big5 stands where such a sign stands: Spanish has `¡` only in front of a word."""
    if match["dash"]:
        is_apart = before == after == " " and "!" not in match.string[match.end() : match.end() + 80]
        return sure or before.islower() or before.isdigit() or is_apart
    if match["times"]:
        return after.isdigit() and (sure or before.isdigit())
    if match["closing"]:
        return sure and before.strip() != ""
    return sure or match["quote"] is not None


def _around(text: str, match: re.Match[str]) -> tuple[str, str]:
    return text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]


def _is_between_words(before: str, after: str) -> bool:
    """Whether a sign closes something: Spanish and prices have `¡` and `£` as well, after a space and before a word."""
    return before.isalnum() and not after.isalnum()


def _signs_as_gbk(text: str) -> Iterator[Edit]:
    for match in _SIGN_AS_GBK.finditer(text):
        data = b"".join(b"\x80" if c in "€\x80" else c.encode("gb18030") for c in match.group())
        try:
            after = data.decode()
        except UnicodeDecodeError:
            continue
        yield Edit(STEP, "utf-8-as-gbk", match.start(), match.group(), after)


_QUOTE_WITHOUT_END = re.compile("“[^“”\n]{1,300}?(?P<lost>鈥[?\ufffd])(?![A-Za-z])")
"""An opened quotation, and then a sign of UTF-8 (E2 80) read as GBK that lost its last byte."""


_PINYIN_AS_GBK = {ord(c.encode().decode("gbk")): c for c in "āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜüńňɡ"}
_TONED = tuple(map(chr, _PINYIN_AS_GBK))
_GLOSS_AS_GBK = re.compile(rf"\( ?([a-zɡ{''.join(_TONED)}]{{2,6}}+) ?\)")
"""Pinyin in brackets whose toned vowel (and script g) was read as GBK: `(xi脿n)`, `(伞猫)`; not `(猫)`."""

FIRST_LETTERS = (*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZɡ( ", *map(chr, range(0xC0, 0x100)), *_TONED)
FIRST_SIGNS = (*_SIGNS_AS_GBK, *_TONED)
"""Signs of UTF-8 read as GBK in Latin text, and what each of them stands behind: a letter, a bracket, another one."""

LEAST_GLOSSES = 3
"""So many of them in a text are no accident."""


def gloss_at(text: str, place: int) -> str:
    """The reading that stands in brackets at a place, its letters read wrongly or not; empty if there is none."""
    match = _GLOSS_AS_GBK.match(text, place)
    reading = match[1].translate(_PINYIN_AS_GBK) if match is not None else ""
    return reading if is_syllable(reading) else ""


def _glosses_as_gbk(text: str) -> Iterator[Edit]:
    """Glosses of a page that was read wrongly as a whole: their ASCII cuts its characters into runs of one."""
    found = []
    for match in _GLOSS_AS_GBK.finditer(text):
        after = match[1].translate(_PINYIN_AS_GBK)
        if after != match[1] and is_syllable(after):
            found.append(Edit(STEP, "utf-8-as-gbk", match.start(1), match[1], after))
    yield from found if len(found) >= LEAST_GLOSSES else ()


def _closing_quotes(text: str) -> Iterator[Edit]:
    if "鈥" in text:
        for match in _QUOTE_WITHOUT_END.finditer(text):
            if match["lost"] and not text[match.start("lost") - 1].isspace():
                yield Edit(STEP, "utf-8-as-gbk", match.start("lost"), match["lost"], "”", 0.9)


_OTHER = "√‚≈ƒÿ◊Ÿ╨╤├┼┬─ß"
"""First letters of UTF-8 read as MacRoman or as code page 437, whose sequences ftfy knows by their look only."""

ANY_FOR_FTFY = re.compile(f"[\x80-\x9f\xc2-\u052f{_OTHER}]")
"""Without one of these there is nothing for ftfy to do, and it isn't even imported."""


@cache
def gate_for_ftfy() -> re.Pattern[str]:
    """A character that begins a wrongly read UTF-8 sequence, and one that can follow it; or a control character."""
    from ftfy.chardata import UTF8_CLUES  # noqa: PLC0415  (only for text that has any of this)

    firsts = "".join(UTF8_CLUES[f"utf8_first_of_{n}"] for n in (2, 3, 4))
    following = UTF8_CLUES["utf8_continuation"] + "?\ufffd\x1a"
    # One set first, then what is behind it: alternatives would cost ten times as much on text that has none.
    return re.compile(
        f"[\x80-\x9f{firsts}{_OTHER}](?:(?<=[\x80-\x9f])|(?<=[{firsts}])[{following}]|(?<=[{_OTHER}])[^\x00-\x7f])"
    )


def fix_latin(text: str) -> Iterator[Edit]:
    """What ftfy repairs, line by line, in lines that hold a sign of it; as small edits."""
    end = 0
    for match in gate_for_ftfy().finditer(text) if ANY_FOR_FTFY.search(text) else ():
        if match.start() < end:
            continue
        start = max(text.rfind("\n", 0, match.start()) + 1, end)
        stop = text.find("\n", match.start())
        end = len(text) if stop < 0 else stop
        for offset in range(start, end, PIECE):
            yield from _fix_piece(text[offset : min(end, offset + PIECE)], offset)


def _fix_piece(piece: str, offset: int) -> Iterator[Edit]:
    """The first of the steps that ftfy would take: what it leaves may be GBK, which its next step would destroy."""
    from ftfy import TextFixerConfig, apply_plan, fix_encoding_and_explain  # noqa: PLC0415
    from ftfy.badness import is_bad  # noqa: PLC0415

    if not is_bad(piece) or _holds_double_bytes(piece):
        return
    plan = fix_encoding_and_explain(piece, TextFixerConfig(**_SETTINGS)).explanation or []  # type: ignore[arg-type]
    first = next((i for i, step in enumerate(plan) if step.action != "encode" and step.parameter not in _BYTES), -1)
    for start, before, after in differences(
        piece, apply_plan(piece, [(step.action, step.parameter) for step in plan[: first + 1]])
    ):
        if _is_letter_pair(before, after):
            continue
        yield Edit(STEP, "ftfy", offset + start, before, after, 1.0 if _is_proved(before, after) else 0.9)


def _is_letter_pair(before: str, after: str) -> bool:
    """Whether ftfy took two letters of an alphabet for UTF-8: `×Ø` in `Ö×ØÙ` is no Hebrew `ר`."""
    return len(before) == 2 and before[1].isalpha() and "\u0500" < after < "\u0800"


def _holds_double_bytes(piece: str) -> bool:
    """Whether a run reads like Chinese once it is taken for GBK or Big5: the search left it, so must ftfy."""
    for match in _DOUBLE_BYTE.finditer(piece):
        if has_utf8_structure(match.group()):
            continue
        for codec in ("gb2312", "big5"):
            text = match.group().encode("latin-1").decode(codec, "replace")
            if mean_score(text) > LEAST_SCORE:
                return True
    return False


def _is_proved(before: str, after: str) -> bool:
    """Whether reading the repair wrongly, at most three times, gives what was observed."""
    from ftfy.chardata import CHARMAP_ENCODINGS  # noqa: PLC0415

    texts = {after}
    for _ in range(3):
        texts = {t.encode("utf-8", "surrogatepass").decode(c, "ignore") for t in texts for c in CHARMAP_ENCODINGS}
        if before in texts:
            return True
        texts = {t for t in texts if len(t) < 200}
    return False


WINDOW = 24
"""How far two texts are compared for where they run together again: no character is longer after three misreadings."""


def differences(old: str, new: str) -> Iterator[tuple[int, str, str]]:
    """Where two texts differ: (offset in the old one, what stands there, what replaces it), in linear time.

    After a difference the next place is taken where two characters agree, or the ends do; if there is none
    within `WINDOW` characters, all that is left is one difference.
    """
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
            continue
        di, dj = _resume(old, i, new, j)
        yield i, old[i : i + di], new[j : j + dj]
        i, j = i + di, j + dj


def _resume(old: str, i: int, new: str, j: int) -> tuple[int, int]:
    for total in range(1, 2 * WINDOW):
        for dj in range(min(total, WINDOW) + 1):
            a, b = old[i + total - dj : i + total - dj + 2], new[j + dj : j + dj + 2]
            if a == b and (a or i + total - dj == len(old)) and i + total - dj <= len(old) and j + dj <= len(new):
                return total - dj, dj
    return len(old) - i, len(new) - j
