"""Decoding: what comes out, what is recorded, and that nothing is lost on the way."""

import codecs
import itertools
import re
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Decoded, RawDocument
from tasks import language
from tasks.decode import CJK, _clear, _weigh, decode, encode, marks
from tasks.decode.scores import folded_codes, pair_scores
from tasks.scripts import codes

NEWS = "今天下午，国务院总理在北京会见了来访的客人，双方就经济合作交换了意见。"
TRADITIONAL = "今天下午，行政院長在臺北會見了來訪的客人，雙方就經濟合作交換了意見。"
JAPANESE = "政府は新しい経済対策を発表しました。国民の生活を守るためです。"
KOREAN = "정부는 국민의 생활을 지키기 위해 새로운 경제 대책을 발표했습니다."
RUSSIAN = "Президент России подписал закон о новых правилах для всех граждан."


def decoded(content: bytes, declared: str = "") -> Decoded:
    """Decode, and assert what holds for any bytes."""
    result = decode(RawDocument("test", content, declared_encoding=declared))
    assert encode(result) == content
    assert 0.0 <= result.confidence <= 1.0
    assert (result.encoding == "") == (result.method == "none")
    assert not any("\ud800" <= char <= "\udfff" for char in result.text)
    for bad in result.bad_bytes:
        assert content[bad.offset] == bad.value
        assert result.text[bad.position] == "\ufffd"
    assert len({bad.offset for bad in result.bad_bytes}) == len(result.bad_bytes)
    return result


# Round trip, whatever comes

ENCODINGS = (
    "utf-8",
    "gb18030",
    "cp950",
    "big5hkscs",
    "cp932",
    "euc_jp",
    "cp949",
    "utf-16",
    "utf-16-le",
    "utf-32-be",
    "hz",
)
texts = st.text(st.characters(codec="utf-8"), max_size=60) | st.text("中文新聞的是一在，。abc \r\n", max_size=60)
encoded = st.builds(lambda text, codec: text.encode(codec, "ignore"), texts, st.sampled_from(ENCODINGS))
MARKS = [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE, b"\x84\x31\x95\x33"]
AWKWARD = [b"\x1b$B", b"\x1b(B", b"~{", b"~}", b"\xed\xa0\x80", b"\xc0\x80", b"\x88\x62", b"\xa2\xcc", b"\x81\x30\x81"]
snippets = st.sampled_from([*MARKS, *AWKWARD, b"\r", b"\n", b"\0", b"\x80", b"\xff"])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_come_back(content: bytes) -> None:
    decoded(content)


@settings(deadline=None, max_examples=300)
@given(st.lists(encoded | snippets | st.binary(max_size=6), max_size=8).map(b"".join))
def test_any_mixture_of_texts_marks_and_rubbish_comes_back(content: bytes) -> None:
    decoded(content)


@pytest.mark.parametrize("codec", ["cp950", "big5hkscs", "cp932", "gb18030", "cp949", "euc_jp"])
def test_every_pair_of_bytes_comes_back(codec: str) -> None:
    pairs = (bytes([a, b]) for a in range(0x81, 0xFF) for b in range(0x40, 0xFF))
    text = {"cp932": JAPANESE, "euc_jp": JAPANESE, "cp949": KOREAN}.get(
        codec, NEWS if codec == "gb18030" else TRADITIONAL
    )
    valid = [pair for pair in pairs if pair.decode(codec, "ignore")]
    for start in range(0, len(valid), 2000):
        decoded(text.encode(codec) * 300 + b"\n" + b" ".join(valid[start : start + 2000]))


# Encodings


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (NEWS, "utf-8", "utf-8"),
        (NEWS, "gbk", "gb18030"),
        (TRADITIONAL, "gbk", "gb18030"),
        (NEWS + "😀", "gb18030", "gb18030"),
        (TRADITIONAL, "cp950", "cp950"),
        (TRADITIONAL + "大～小‧", "cp950", "cp950"),
        ("佢哋喺度嚟咗好耐，唔知點解。" + TRADITIONAL, "big5hkscs", "big5hkscs"),
        (JAPANESE, "cp932", "cp932"),
        (JAPANESE, "euc_jp", "euc_jp"),
        (KOREAN, "euc_kr", "cp949"),
        (RUSSIAN, "cp1251", "cp1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        ("Le gouvernement a annoncé de nouvelles mesures pour l’économie.", "cp1252", "cp1252"),
        (NEWS, "utf-16-le", "utf-16-le"),
        (NEWS, "utf-16-be", "utf-16-be"),
        ("Plain English in two bytes a letter.", "utf-16-le", "utf-16-le"),
        (NEWS, "utf-32-le", "utf-32-le"),
        (NEWS, "utf-32-be", "utf-32-be"),
        ("今天下午总理会见了客人", "hz", "hz"),
        (JAPANESE, "iso2022_jp", "iso2022_jp_2"),
        ("plain ASCII ~{ with a tilde", "ascii", "ascii"),
        ("", "ascii", "ascii"),
    ],
)
def test_text_comes_out_right(text: str, codec: str, name: str) -> None:
    result = decoded(text.encode(codec))
    assert result.text == text
    assert result.encoding == name
    assert not result.bad_bytes


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "gb18030"])
def test_a_byte_order_mark_decides_and_is_no_part_of_the_text(codec: str) -> None:
    result = decoded(("\ufeff" + NEWS).encode(codec))
    assert (result.text, result.encoding, result.method, result.confidence) == (NEWS, codec, "bom", 1.0)


def test_a_false_byte_order_mark_does_not_decide() -> None:
    assert decoded(codecs.BOM_UTF8 + NEWS.encode("gbk")).text == NEWS
    assert decoded(codecs.BOM_UTF16_LE + NEWS.encode("gbk") * 5).text == "\ufffd\ufffd" + NEWS * 5


@pytest.mark.parametrize("text", ["新华社北京电", "领导人出席开幕式", "全国各地天气预报", "图片来源：网络"])
def test_a_dozen_bytes_of_gbk_are_enough(text: str) -> None:
    assert decoded(text.encode("gbk")).text == text


def test_the_decision_is_not_made_on_the_beginning() -> None:
    text = "hello world " * 90_000 + NEWS
    result = decoded(text.encode("gbk"))
    assert (result.text, result.encoding) == (text, "gb18030")


def test_signs_of_gbk_in_english() -> None:
    assert decoded(b"Yueyang\xa1\xafs main industry, \xa1\xb0tea\xa1\xb1, is good.").text == (
        "Yueyang’s main industry, “tea”, is good."
    )


@pytest.mark.parametrize("text", ["It’s a “test” — café.", "Chính", "niño, señor, mañana", "naïve façade"])
def test_western_letters_are_no_ideographs(text: str) -> None:
    assert decoded(text.encode("cp1252")).text == text


# Declarations


@pytest.mark.parametrize(
    ("head", "content", "name"),
    [
        ('<meta charset="gb2312">', NEWS.encode("gbk"), "gb18030"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=gb2312">', "朱镕基說".encode("gbk"), "gb18030"),
        ('<?xml version="1.0" encoding="big5"?>', TRADITIONAL.encode("cp950"), "cp950"),
        ('<meta charset="windows-1251">', "Привет".encode("cp1251"), "cp1251"),
    ],
)
def test_a_true_declaration_is_followed(head: str, content: bytes, name: str) -> None:
    result = decoded(head.encode() + content)
    assert (result.encoding, result.method) == (name, "declared")


@pytest.mark.parametrize("label", ["gb2312", "big5", "shift_jis", "iso-8859-1", "utf-16", "x-none", "zlib_codec"])
@pytest.mark.parametrize("codec", ["gb18030", "utf-8", "euc_jp", "koi8-r"])
def test_a_false_declaration_loses_against_evidence(label: str, codec: str) -> None:
    text = f'<meta charset="{label}">' + {"euc_jp": JAPANESE, "koi8-r": RUSSIAN}.get(codec, NEWS)
    if (label, codec) == ("iso-8859-1", "koi8-r"):
        pytest.skip("both are single-byte: nothing but the declaration is trusted")
    result = decoded(text.encode(codec))
    assert (result.text, result.encoding) == (text, codec)


def test_what_the_transport_says_settles_a_title() -> None:
    assert decoded("標題".encode("cp950"), "Big5").text == "標題"
    assert decoded("标题".encode("gbk"), "text/html; charset=gb2312").text == "标题"
    assert decoded(NEWS.encode("gbk"), "\ud800 not\0 a label").text == NEWS


# Bad bytes


@pytest.mark.parametrize(("text", "codec"), [(NEWS, "gb18030"), (TRADITIONAL, "cp950"), (NEWS, "utf-8")])
@pytest.mark.parametrize("stray", [0x80, 0xFF, 0xA0, 0xC8])
def test_a_stray_byte_between_characters_costs_itself(text: str, codec: str, stray: int) -> None:
    clean = (text + "\n") * 3
    at = (text + "\n" + text[:11]).encode(codec)
    content = at + bytes([stray]) + clean.encode(codec)[len(at) :]
    result = decoded(content)
    assert result.encoding == codec
    position = len(text) + 12
    assert result.text.startswith(clean[: position - 1])
    assert result.text.endswith(clean[position + 1 :])
    assert len(result.text) - len(clean) in {0, 1, 2}  # the stray byte may pair with a byte of its neighbours
    assert all(abs(bad.position - position) < 3 for bad in result.bad_bytes)


@pytest.mark.parametrize("codec", ["gb18030", "utf-8"])
def test_a_lost_byte_does_not_shift_the_rest(codec: str) -> None:
    raw = NEWS.encode(codec)
    at = len(NEWS[:20].encode(codec))
    result = decoded(raw[:at] + raw[at + 1 :])
    assert result.text[:20] == NEWS[:20]
    assert result.text.endswith(NEWS[21:])


def test_a_lone_first_byte_does_not_swallow_ascii() -> None:
    gbk = NEWS.encode("gbk")
    result = decoded(gbk + b"\xc4\n" + gbk + b"\xc4<p>" + gbk + b"\xc4 x 1\xc43" + gbk)
    assert result.text == f"{NEWS}\ufffd\n{NEWS}\ufffd<p>{NEWS}\ufffd x 1\ufffd3{NEWS}"
    assert [bad.value for bad in result.bad_bytes] == [0xC4] * 4


@pytest.mark.parametrize(("text", "codec"), [(NEWS, "gb18030"), (TRADITIONAL, "cp950"), (NEWS, "utf-8")])
def test_a_truncated_last_character_is_bad_and_the_rest_is_not(text: str, codec: str) -> None:
    result = decoded((text + "人").encode(codec)[:-1])
    assert result.text.rstrip("\ufffd") == text
    assert result.encoding == codec


def test_zero_bytes_stay_and_change_nothing_else() -> None:
    gbk = NEWS.encode("gbk")
    result = decoded(gbk[:10] + b"\0" + gbk[10:] + b"\0" * 600)
    assert result.text == NEWS[:5] + "\0" + NEWS[5:] + "\0" * 600


@pytest.mark.parametrize("head", ["<?xml version='1.0'?>\n<rss>", "<!DOCTYPE html>\n<html>", "BMW", "GIF 图片"])
def test_a_zero_byte_makes_no_page_binary(head: str) -> None:
    text = f"{head}\0{NEWS}\n{NEWS}\0"
    assert decoded(text.encode("gb18030")).text == text
    assert decoded(text.encode()).text == text


def test_surrogates_and_overlong_forms_are_bad_utf8() -> None:
    result = decoded(NEWS.encode() + b"\xed\xa0\xbd\xed\xb8\x80 \xc0\x80\xe0\x80\xaf")
    assert result.encoding == "utf-8"
    assert result.text == NEWS + "\ufffd" * 6 + " " + "\ufffd" * 5


def test_lone_surrogates_of_utf16_are_bad() -> None:
    raw = ("\ufeff" + NEWS).encode("utf-16-le") + b"\x00\xd8" + "好".encode("utf-16-le") + b"x"
    result = decoded(raw)
    assert result.text == NEWS + "\ufffd\ufffd好\ufffd"


def test_a_replacement_character_that_was_there_is_no_bad_byte() -> None:
    assert decoded((NEWS + "\ufffd").encode()).bad_bytes == ()


@pytest.mark.parametrize("text", ["新西兰鸲鹟科的一种", "朱镕基与李瑞環", "───这份文件───", "C·S·路易斯 0.5μm", "囧rz"])
def test_rare_characters_are_not_taken_for_bad_bytes(text: str) -> None:
    content = f"{NEWS}\n{text}\n{NEWS}"
    assert decoded(content.encode("gb18030")).text == content


def test_a_character_split_by_a_gloss_is_left_to_the_shift_step() -> None:
    """DAMAGE.md, on bytes: `展潛力` with (jié) put in after B99D, the second byte of 展 and the first of 潛."""
    split = "展".encode("gbk") + b"\x9d(ji\xa8\xa6)" + "潛力，推動一二三產業。".encode("gbk")[1:] + b"\n"
    text = decoded((TRADITIONAL + "\n").encode("gbk") * 2 + split).text
    assert "展\ufffd(jié)摿Γ" in text


# Lines


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_in_three_encodings(end: str) -> None:
    parts = [(NEWS, "utf-8"), (NEWS, "gb18030"), (TRADITIONAL, "cp950"), ("ASCII", "ascii"), (NEWS, "utf-8")]
    result = decoded(b"".join((text + end).encode(codec) for text, codec in parts))
    assert result.text == "".join(text + end for text, _ in parts)
    assert (result.encoding, result.method) == ("utf-8+gb18030+cp950", "lines")


def test_a_stray_byte_alone_on_a_line_is_no_second_encoding() -> None:
    result = decoded(f"{NEWS}\n".encode() + b"\xb7\n" + f"{NEWS}\n".encode())
    assert (result.text, result.encoding) == (f"{NEWS}\n\ufffd\n{NEWS}\n", "utf-8")


def test_european_utf8_with_a_stray_byte_stays_utf8() -> None:
    text = "Az új szabályokról szóló törvényt aláírta az elnök.\nMűködik és érvényes.\n"
    result = decoded(text.encode() + b"\xb5\n" + text.encode())
    assert (result.text, result.encoding) == (f"{text}\ufffd\n{text}", "utf-8")


# No text


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0" + zlib.compress(bytes(range(256)) * 4),
        b"PK\x03\x04\x14\0\0\0\x08\0" + zlib.compress(NEWS.encode() * 30),
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0@" + bytes(range(200)),
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zlib.compress(NEWS.encode() * 30),
        b"\0" * 100,
        bytes(range(256)) * 5,
    ],
    ids=["png", "zip", "pdf", "exe", "gzip", "zeros", "all bytes"],
)
def test_what_is_no_text_is_told_by_method_none(content: bytes) -> None:
    result = decoded(content)
    assert (result.encoding, result.method, result.confidence) == ("", "none", 0.0)


# Time

HOSTILE = [
    b"\xb5",
    b"\xb5\n",
    b"\xff",
    b"a\xb5 ",
    b"\xed\xa0\x80",
    b"<meta ",
    b"\x1b$",
    b"~{",
    b"\x81\x30",
    b"\xc3\xa9\n\xb5\n",
    b"\0",
]


@pytest.mark.parametrize("unit", HOSTILE, ids=[unit.hex() for unit in HOSTILE])
def test_time_is_linear_in_hostile_bytes(unit: bytes) -> None:
    started = time.process_time()
    decoded(unit * (300_000 // len(unit)))
    assert time.process_time() - started < 60  # under a second alone; quadratic would be minutes


# The fast ways, beside the plain ones


def plain_plausibility(marked: str) -> float:
    """By the language model's own dictionaries, character by character."""
    total = marks.BAD * marks.n_marks(marked)
    for run in re.findall("[^\x00-\x7f\udc00-\udcff]+", marked):
        flat = list(marks._FLAT.finditer(run))
        total += sum(marks.FLAT[match.lastindex - 1][1] for match in flat if match.lastindex)
        total += language.score(marks._FLAT.sub("", run))
    return total


@given(
    st.lists(
        st.text("的是中文新聞國囙ぁアｱ々한국갂가漢\udc81\udcff，。·é　ａab\n 𠀀\ue000\uffff", max_size=40),
        min_size=1,
        max_size=5,
    )
)
def test_plausibility_of_several_texts_is_that_of_each(texts: list[str]) -> None:
    assert marks.plausibilities(texts) == pytest.approx([plain_plausibility(text) for text in texts])


@given(st.text("的是中文新聞國囙ぁ，。·éａ１,b\n𠀀\ue000\uffff\ud800", min_size=2))
def test_pairs_score_as_in_the_language_model(text: str) -> None:
    folded = language.fold_text(text)
    found = pair_scores(folded_codes(codes(text))[:-1], folded_codes(codes(text))[1:])
    assert found.tolist() == [language.pair_score(a, b) for a, b in itertools.pairwise(folded)]
    assert found.tolist() == [language.pair_step(a, b) for a, b in itertools.pairwise(folded)]


@pytest.mark.parametrize("codec", ["gb18030", "cp950", "euc_jp", "cp932", "cp949", "utf-8", "big5hkscs", "latin-1"])
@given(content=st.binary(max_size=200))
def test_bytes_are_marked_as_the_plain_handler_marks_them(codec: str, content: bytes) -> None:
    text = content.decode(codec, "qingyuan-mark")
    assert marks.read(content, codec) == (text.translate(marks._WEB_BIG5.replaced) if codec == "big5hkscs" else text)


@pytest.mark.parametrize(
    "text", [NEWS * 3, TRADITIONAL * 3, JAPANESE * 3, KOREAN * 3, RUSSIAN * 3, NEWS + JAPANESE * 2]
)
@pytest.mark.parametrize("codec", [*CJK, "cp1251"])
@pytest.mark.parametrize("declared", [(), ("big5",), ("gb18030",), ("cp949",)])
def test_what_is_clear_is_what_all_readings_weighed_say(text: str, codec: str, declared: tuple[str, ...]) -> None:
    sample = [text.encode(codec, "ignore")]
    clear = _clear(sample, declared)
    assert clear in {None, _weigh(sample, declared, marks.read)}
    if (
        codec in {"gb18030", "big5"}
        and text in {NEWS * 3, TRADITIONAL * 3}
        and not text.encode(codec, "ignore").isascii()
    ):
        assert clear is not None or codec == "big5"


MIXED_UP = st.lists(
    st.sampled_from(
        [
            *(
                "中文。".encode("gb18030"),
                "愛國·é".encode("gb18030"),
                "妳佢鎔".encode("big5hkscs"),
                "猿，".encode("cp950"),
            ),
            *(b"\r\n", b"\r", b"\n", b"\x85", b"\x1c", b"\x0b", b"<a b=1>", b"\\n", b"\x80", b"\xff", b"7", b"A", b" "),
            *(
                b"\x81\x30",
                b"\x81\x30\x81",
                b"\x81\x30\x81\x30",
                b"\xa1",
                b"\xfe",
                b"\xe4\xb8",
                b"\xaa\xa1",
                b"\xf9\xfe",
            ),
        ]
    ),
    max_size=60,
).map(b"".join)


@pytest.mark.parametrize("codec", [*marks.CHINESE, "utf-8"])
@given(content=MIXED_UP)
def test_lines_are_read_together_as_each_by_itself(codec: str, content: bytes) -> None:
    lines = content.splitlines(keepends=True)
    names = [codec if i % 5 else "cp950" for i in range(len(lines))]
    reading = marks.read_lines(lines, names)
    assert reading.texts == [marks.read(line, name) for line, name in zip(lines, names, strict=True)]
    found = {i: marks.suspects(text).tolist() for i, text in enumerate(reading.texts)}
    assert {i: places.tolist() for i, places in reading.suspects.items()} == {i: of for i, of in found.items() if of}


@pytest.mark.parametrize("codec", marks.CHINESE)
@given(content=MIXED_UP)
def test_islands_are_the_same_in_bytes_and_in_what_is_read_of_them(codec: str, content: bytes) -> None:
    """And what can be told of them in one go is what is told of each."""
    read = [match[0] for match in marks._ISLAND_READ.finditer(marks.read(content, codec))]
    islands = marks.ISLAND.findall(content)
    assert read == [marks.read(island, codec) for island in islands]
    doubtful = marks._are_doubtful(read)
    assert all(is_doubtful for is_doubtful, text in zip(doubtful, read, strict=True) if any(marks._nonsense(text)))
    for island in islands:
        pairs = [island[i : i + 2] for i in range(len(island))]
        plain = {i: marks.read(p, codec) for i, p in enumerate(pairs) if len(p) == 2 and p[0] >= 0x80 and p[1] >= 0x40}
        plain = {i: text for i, text in plain.items() if len(text) == 1}
        assert marks._pairs(island, codec) == {i: (text, language.fold_text(text)) for i, text in plain.items()}


@pytest.mark.parametrize("codec", marks.CHINESE)
@given(content=MIXED_UP)
def test_bad_bytes_are_counted_without_reading_all(codec: str, content: bytes) -> None:
    n_bad = marks.n_marks(marks.read(content, codec))
    assert marks.is_readable(content, codec) == (n_bad <= 1)
    assert marks.is_lossy(content, codec) == (n_bad > 0)
    assert marks.n_lost(content, codec) == len(content) - len(content.decode(codec, "ignore").encode(codec, "ignore"))


def test_chinese_codecs_write_as_many_bytes_as_they_have_read() -> None:
    """Or `n_lost` could not leave out what was read without a mark."""
    for codec in marks.CHINESE:
        for pair in (bytes([a, b]) for a in range(0x80, 0x100) for b in range(0x100)):
            assert marks.is_lossy(pair, codec) or len(pair.decode(codec).encode(codec)) == 2


def test_a_rare_character_is_no_reason_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_search", lambda *_: pytest.fail("searched"))
    line = f"记者从滇池与乐山·峨眉了解到，{NEWS}".encode("gb18030")
    reading = marks.read_lines([line], ["gb18030"])
    assert reading.suspects
    assert marks.resynchronise([line], ["gb18030"], reading) == [line.decode("gb18030")]


def test_only_what_is_out_of_step_is_cut_anew() -> None:
    line = NEWS.encode("gb18030")
    shifted = line * 3 + b"\xb5" + line[:20] + b"\xc4" + line[20:] + line * 3
    [text] = marks.resynchronise([shifted], ["gb18030"], marks.read_lines([shifted], ["gb18030"]))
    assert text.encode("gb18030", "surrogateescape") == shifted
    assert text.startswith(NEWS * 3)
    assert text.endswith(NEWS * 3)
