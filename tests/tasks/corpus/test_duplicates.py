"""Documents that tell the same: comparison of two texts, clusters over batches, and what becomes of the rows."""

import hashlib
import random
import re
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import CleanConfig, Dedup
from schemas.dataset import CLEAN, REJECTED, clean_row
from schemas.document import Cleaned, Damage, Decoded, Edit, Origin, Outcome, Run, Stage
from schemas.index import INDEX
from tasks.corpus.duplicates import (
    BANDS,
    LEADERS,
    Found,
    Mark,
    Tables,
    conflicts,
    find_changes,
    fold_batch,
    folded,
    gather,
    grams,
    likeness,
    mark_tables,
    needs_marking,
    signatures,
    tells_the_same,
)
from tasks.publish.parts import BatchFiles
from tasks.scripts import traditionalize
from tasks.steps.lines import fold

RUN = Run("run-1", datetime(2026, 11, 1, tzinfo=UTC), CleanConfig(), "0.1.0", "rules")

ARTICLE = """\
县里的老茶厂去年冬天停了火，工人们把最后一批茶叶装进木箱，贴上封条，送到镇上的仓库。
今年春天，几个回乡的年轻人租下了厂房，把生锈的揉捻机拆开，一件一件擦干净，又请来退休的老师傅教他们看火候。
老师傅姓周，做了四十年茶，他说机器不要紧，要紧的是手上的分寸，早一刻香气没有出来，晚一刻就带了焦味。
第一锅茶出来的那天，村里来了很多人，有人说还是从前的味道，也有人说淡了一点，周师傅只是点头，没有说话。
到了夏天，他们的茶在网上卖到了外省，订单多的时候，连隔壁村的人也来帮忙，厂里的灯一直亮到半夜。
秋后算账，扣去房租和工钱，每个人分到的并不多，可是没有人提出要走，他们打算明年再添两台炒锅。
"""

NOTICE = """\
出版社翻译的《山中岁月选编》一书{a}文版，近日由本地出版社出版，面向海内外发行。
《山中岁月选编》由县文献研究室编辑，收录了作者三十年间围绕乡村生活写下的一系列重要文章。该书{a}文版和此前出版的英文版，对于国外读者深刻理解
作者的思想和写作道路，深入了解山区人民走出贫困的过程、创造的生活新形态、展现的乡村新图景，增进各地读者之间的相互了解，
共同守护传统村落和自然环境，具有十分重要的意义。
"""

TOLD = (
    "周志远同志因病医治无效，于三月十一日在县医院逝世，享年九十六岁。"
    "周志远同志是著名的茶学家，曾任县茶厂厂长、县农科所所长、县政协委员。"
)


PUBLIC = (
    "按照县公开招聘教师工作的有关规定，经过报名、资格审查、笔试、面试、体检和考察等程序，现将拟聘用人员名单予以公示。公示期为七个工作日，公示期内如有异议，"
    "请以书面或者电话的形式向县教育局反映，反映情况应当实事求是并署真实姓名，以便调查核实。拟聘用人员名单如下：{}。"
)

NAMES = "Diego Enrique Angelini, Nicholas Cleves, Ann-Laure Decadt, Darren Drake, Ariel Erlij, Hernan Ferruchi"

ENGLISH = (
    " and teachers, a survey of twenty thousand pupils has found. Its authors say that schools should speak of it "
    "early, that a ban would do little, and that most of these accounts are shared with a handful of friends."
)


def without(line: int) -> str:
    return "".join(text for i, text in enumerate(ARTICLE.splitlines(keepends=True)) if i != line)


SAME = {
    "itself": ARTICLE,
    "Traditional": traditionalize(ARTICLE).replace("着", "著"),
    "other signs": ARTICLE.replace("，", ",").replace("。", ". "),
    "a paragraph dropped": without(2),
    "the first paragraph dropped": without(0),
    "an editor's line before it": "编者按：本文转自县报，略有删节。\n" + ARTICLE,
    "an editor's line behind it": ARTICLE + "以上就是今天的全部内容，感谢您的阅读，更多消息请继续关注我们。\n",
    "the tail cut off": ARTICLE[: int(len(ARTICLE) * 0.65)],
    "a word replaced": ARTICLE.replace("老师傅姓周", "老师傅姓周名德"),
    "a gloss left": ARTICLE.replace("揉捻机", "揉捻(niǎn)机"),
    "every 40th character lost": "".join("\ufffd" if i % 40 == 7 else c for i, c in enumerate(ARTICLE)),
}

OTHER = {
    "another language of the same book": (NOTICE.format(a="法"), NOTICE.format(a="俄")),
    "another date and place": (
        "十四届县人大二次会议将于3月5日上午9时在县礼堂开幕，届时县电视台、县广播站、县新闻网等将进行现场直播，各乡镇转播站将同步转播。",
        "十四届县人大二次会议将于3月11日下午3时在县礼堂闭幕，届时县电视台、县广播站、县新闻网等将进行现场直播，各乡镇转播站将同步转播。",
    ),
    "other people": (
        "16日下午，县长李明在县礼堂东门外广场举行仪式，欢迎德清县县长王建国来访。副县长等出席欢迎仪式。随后，两位县长参观了茶厂。",
        "10日上午，县长李明在县礼堂东门外广场举行仪式，欢迎安吉县县长赵东升来访。副县长等出席欢迎仪式。随后，两位县长参观了茶厂。",
    ),
    "the news within a longer report": (TOLD, TOLD + ARTICLE),
    "the headline and half of the body": (
        "老茶厂重新开火\n" + "".join(ARTICLE.splitlines()[:3]) + NOTICE.format(a="法"),
        "老茶厂重新开火\n" + "".join(ARTICLE.splitlines()[:3]) + TOLD * 2,
    ),
    "other names at the end": (
        PUBLIC.format("王海涛、李雪梅、张国庆、刘志远、陈晓东、赵文静"),
        PUBLIC.format("孙丽华、周建军、吴桂芳、郑明亮、冯玉兰、褚卫国"),
    ),
    "the headline alone": ("老茶厂重新开火\n" + ARTICLE, "老茶厂重新开火\n" + NOTICE.format(a="法")),
}


class TestComparing:
    @pytest.mark.parametrize("text", SAME.values(), ids=SAME)
    def test_copies_tell_the_same(self, text: str) -> None:
        assert tells_the_same(folded(ARTICLE), folded(text))
        assert tells_the_same(folded(text), folded(ARTICLE))

    @pytest.mark.parametrize(("a", "b"), OTHER.values(), ids=OTHER)
    def test_stock_phrases_do_not(self, a: str, b: str) -> None:
        assert not tells_the_same(folded(a), folded(b))
        assert not tells_the_same(folded(b), folded(a))

    def test_what_is_damaged_does_not_count(self) -> None:
        text = NOTICE.format(a="法")
        places = [(i, i + 3) for i in range(20, len(text), 30)]
        for start, end in places:
            text = text[:start] + "凜熄谿"[: end - start] + text[end:]
        whole = folded(NOTICE.format(a="法"))
        assert not tells_the_same(whole, folded(text))
        assert tells_the_same(whole, folded(text, places))

    def test_folding(self) -> None:
        assert folded("２０２４年，產業（Ａ）發展_著名！\n") == folded("2024年产业a发展着名")
        assert folded("一二三四五", [(1, 3), (2, 4)]) == "一\ufffd\ufffd\ufffd五"
        assert folded("") == ""

    def test_shingles_leave_out_what_is_lost(self) -> None:
        assert len(grams("一二三四五六")) == 2
        assert len(grams("一二三四\ufffd五六七八九")) == 1
        assert len(grams("一二三四")) == len(grams("")) == 0
        assert likeness(grams("一二三四五六"), grams("一二三四五七")) == (1 / 3, 1 / 2)
        assert likeness(grams(""), grams("")) == (0, 0)

    def test_long_texts_cost_little(self) -> None:
        rng = random.Random(0)
        a, b = ("".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(300_000)) for _ in range(2))
        start = time.process_time()
        assert conflicts(a, b)
        assert tells_the_same(a, a)
        assert tells_the_same("中" * 1_000_000, "中" * 999_000)
        assert time.process_time() - start < 60


def document(name: str, text: str, *, damage: int = 0, repairs: int = 0, published: str = "") -> Outcome:
    """A document that was kept; a repair puts a comma in."""
    before = text
    edits = tuple(Edit("punctuation", "made", i, "", "，") for i in range(repairs))
    stages = (Stage("punctuation", edits),) if repairs else ()
    text = "".join(f"，{c}" if i < repairs else c for i, c in enumerate(before))
    cleaned = Cleaned(
        text,
        stages,
        {"published_at": published} if published else {},
        tuple(Damage("shift", "lost-characters", i, text[i]) for i in range(damage)),
    )
    return Outcome(Origin(f"file:///{name}", "", "", len(before)), Decoded(before, "utf-8", 1.0, "strict"), cleaned)


Shards = Sequence[Sequence[Outcome]]


def nothing(kind: pa.DataType) -> Any:
    return [] if pa.types.is_list(kind) else False if pa.types.is_boolean(kind) else "" if kind == pa.string() else 0


UNKNOWN = {field.name: nothing(field.type) for field in INDEX if not field.nullable}
"""What the index has of a document that is not about duplicates."""


def tables_of(outcomes: Sequence[Outcome]) -> Tables:
    """A batch as it is before duplicates were looked for."""
    found = [clean_row(outcome, RUN) for outcome in outcomes]
    index = [{**UNKNOWN, "doc_id": row["doc_id"], **made} for row, made in zip(found, signatures(found), strict=True)]
    return Tables(
        pa.Table.from_pylist(found, schema=CLEAN) if found else None, None, pa.Table.from_pylist(index, schema=INDEX)
    )


def saved(tables: Tables, folder: Path, gone: frozenset[str] = frozenset()) -> BatchFiles:
    """A batch in files, in small row groups."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name in ("clean", "rejected", "index") if getattr(tables, name) is not None}
    for name, path in paths.items():
        pq.write_table(getattr(tables, name), path, row_group_size=5)
    return BatchFiles(paths["index"], paths.get("clean"), paths.get("rejected"), paths.get("edits"), gone)


def found_in(
    batches: Sequence[Tables], folder: Path, gone: frozenset[str] = frozenset(), known: Path | None = None
) -> Found:
    made = [saved(tables, folder / str(i), gone) for i, tables in enumerate(batches)]
    return find_changes(made, folder / "signatures", known)


def marked(shards: Shards, folder: Path, dedup: Dedup = "mark") -> list[Tables]:
    batches = list(map(tables_of, shards))
    found = found_in(batches, folder).marks
    return [mark_tables(tables, of, dedup) or tables for tables, of in zip(batches, found, strict=True)]


def rows(batches: Sequence[Tables], table: str = "clean") -> dict[str, dict[str, Any]]:
    """Rows by name of the document."""
    found = [row for tables in batches if (of := getattr(tables, table)) is not None for row in of.to_pylist()]
    return {row["source_uri"].removeprefix("file:///"): row for row in found}


def kept_for(shards: Shards, folder: Path) -> dict[str, str]:
    """Names of documents with the name of the one that stands for them."""
    found = rows(marked(shards, folder))
    names = {row["doc_id"]: name for name, row in found.items()}
    return {name: names[row["duplicate_of"]] for name, row in found.items() if row["duplicate_of"]}


class TestFinding:
    def test_copies_of_all_kinds_are_one_cluster(self, tmp_path: Path) -> None:
        copies = [document(name, text) for name, text in SAME.items()]
        others = [document("other", NOTICE.format(a="法")), document("another", NOTICE.format(a="俄"))]
        found = rows(marked([copies, others], tmp_path))
        clusters = {row["duplicate_of"] or row["doc_id"] for name, row in found.items() if name in SAME}
        assert len(clusters) == 1
        assert {found[name]["cluster_size"] for name in SAME} == {len(SAME)}
        for name in ("other", "another"):
            assert (
                found[name]["duplicate_of"]
                is found[name]["duplicate_similarity"]
                is found[name]["cluster_size"]
                is None
            )

    def test_similarity_is_that_to_the_one_kept(self, tmp_path: Path) -> None:
        copies = [
            document("whole", ARTICLE, published="2020-01-01"),
            document("cut", without(3)),
            document("twin", ARTICLE),
        ]
        found = rows(marked([copies], tmp_path))
        expected = likeness(grams(folded(ARTICLE)), grams(folded(without(3)))).jaccard
        assert found["whole"]["duplicate_similarity"] is None
        assert found["twin"]["duplicate_similarity"] == 1.0
        assert found["cut"]["duplicate_similarity"] == pytest.approx(expected)
        assert 0.7 < expected < 0.9

    def test_order_and_parts_do_not_matter(self, tmp_path: Path) -> None:
        outcomes = [document(name, text) for name, text in SAME.items()]
        outcomes += [
            document(f"{name} {i}", text) for name, pair in [*OTHER.items()][:3] for i, text in enumerate(pair)
        ]
        expected = kept_for([outcomes], tmp_path / "one")
        for seed in range(3):
            random.Random(seed).shuffle(outcomes)
            parts = [outcomes[:3], outcomes[3:4], outcomes[4:]]
            assert kept_for(parts, tmp_path / str(seed)) == expected
        assert len(expected) == len(SAME) - 1

    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            ({"repairs": 90}, {"damage": 1}),
            ({"published": "2024-05-01"}, {"repairs": 90, "published": "2020-01-01"}),
            ({"published": "2020-01-01"}, {"published": "2020-01-01T10:00"}),
            ({"published": "2024-05-01"}, {}),
            ({}, {"text": ARTICLE[:-60]}),
        ],
        ids=["least damage", "fewest repairs", "earliest", "a date", "longest"],
    )
    def test_the_best_is_kept(self, better: dict[str, Any], worse: dict[str, Any], tmp_path: Path) -> None:
        for i, names in enumerate((("a", "b"), ("b", "a"))):
            made = [
                document(name, **{"text": ARTICLE, **how}) for name, how in zip(names, (better, worse), strict=True)
            ]
            assert kept_for([made], tmp_path / str(i)) == {names[1]: names[0]}

    def test_between_equals_the_smallest_id_is_kept(self, tmp_path: Path) -> None:
        made = [document(name, ARTICLE) for name in "abcde"]
        smallest = min(made, key=lambda outcome: outcome.origin.doc_id)
        kept = set(kept_for([made], tmp_path).values())
        assert kept == {smallest.origin.source_uri.removeprefix("file:///")}

    def test_short_texts_are_copies_only_if_they_are_the_same(self, tmp_path: Path) -> None:
        short = "老茶厂去年冬天停了火，今年春天几个回乡的年轻人租下了厂房，又请来老师傅。"
        made = [document("a", short), document("b", short.replace("，", ",")), document("c", short[:-1] + "傅们。")]
        found = kept_for([made], tmp_path)
        assert len(found) == 1
        assert "c" not in {*found, *found.values()}

    def test_letters_say_less_than_ideographs(self, tmp_path: Path) -> None:
        line = "One in five children have secret social media accounts that they hide from their parents"
        made = [document("a", line), document("b", line.replace("One in", "Survey reveals: one in"))]
        assert kept_for([made], tmp_path / "short") == {}
        longer = [
            document(outcome.origin.source_uri[8:], outcome.decoded.text + ENGLISH)
            for outcome in made
            if outcome.decoded
        ]
        assert len(kept_for([longer], tmp_path / "long")) == 1

    def test_a_sentence_and_its_translation_have_but_names_in_common(self, tmp_path: Path) -> None:
        chinese = f"意向书说：萨伊波夫对{NAMES}的家属造成了伤害。"
        english = f"Saipov caused injury, harm, and loss to the families and friends of {NAMES}."
        assert likeness(grams(folded(chinese)), grams(folded(english))).is_near
        assert kept_for([[document("a", chinese), document("b", english)]], tmp_path) == {}

    def test_copies_among_pages_of_one_template(self, tmp_path: Path) -> None:
        rng = random.Random(0)
        names = ["".join(rng.sample("赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许", 4)) for _ in range(300)]
        pages = [
            document(f"{i}", OTHER["other people"][0].replace("王建国", name).replace("德清", name[:2]))
            for i, name in enumerate(names)
        ]
        copies = [
            document(f"{i} again", (outcome.decoded.text if outcome.decoded else "").replace("，", ","))
            for i, outcome in enumerate(pages[::10])
        ]
        found = kept_for([[*pages, *copies]], tmp_path)
        assert len(found) == len(copies)
        assert all(
            int(a.split()[0]) * 10 == int(b) if "again" in a else int(b.split()[0]) * 10 == int(a)
            for a, b in found.items()
        )

    def test_texts_without_letters_are_no_copies(self, tmp_path: Path) -> None:
        assert kept_for([[document("a", "。。。！"), document("b", "，，，"), document("c", "")]], tmp_path) == {}

    def test_one_joined_by_way_of_another_is_not_told_by_what_it_has_little_in_common_with(
        self, tmp_path: Path
    ) -> None:
        # Each tells the same as its neighbours; the ends have a third in common.
        lines = [ARTICLE, *(NOTICE.format(a=a) for a in "法俄")]
        text = "".join(lines) + TOLD
        half = len(text) // 2
        made = [document(f"{i}", text[i * half // 4 : i * half // 4 + half]) for i in range(5)]
        found = rows(marked([made], tmp_path))
        ids = {row["doc_id"]: row for row in found.values()}
        told = [row for row in found.values() if row["duplicate_of"]]
        assert told
        for row in told:
            a, b = (grams(folded(r["text"])) for r in (row, ids[row["duplicate_of"]]))
            assert likeness(a, b).is_near
            assert ids[row["duplicate_of"]]["duplicate_of"] is None

    def test_nothing_to_compare(self, tmp_path: Path) -> None:
        assert find_changes([], tmp_path / "none").marks == []
        assert kept_for([[]], tmp_path / "empty") == {}
        assert kept_for([[document("a", ARTICLE)]], tmp_path) == {}


def ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.origin.doc_id for outcome in outcomes]


class TestTexts:
    """Whose texts are read."""

    def test_only_candidates_are_folded(self, tmp_path: Path) -> None:
        outcomes = [document("a", ARTICLE), document("b", without(2)), document("c", TOLD), document("d", TOLD + "。")]
        batches = [saved(tables_of(outcomes[:1]), tmp_path / "0"), saved(tables_of(outcomes[1:]), tmp_path / "1")]
        assert gather(batches, tmp_path / "signatures").wanted == (1, 1)
        for number, batch in enumerate(batches):
            fold_batch(batch, number, tmp_path / "signatures")
        texts = [(tmp_path / "signatures" / f"folded-{number:06}").read_text("utf-8") for number in range(2)]
        assert texts == [folded(ARTICLE), folded(without(2))]

    def test_files_that_are_open_are_few_however_many_batches_there_are(self, tmp_path: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        batches = [tables_of([document(str(number), without(2 * (number % 2)))]) for number in range(100)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 50, before[1]))
        try:
            found = found_in(batches, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert {mark.cluster_size for marks in found.marks for mark in marks.values()} == {100}

    def test_without_candidates_no_text_is_read(self, tmp_path: Path) -> None:
        batch = saved(tables_of([document("a", ARTICLE), document("b", TOLD), document("c", TOLD + "。")]), tmp_path)
        found = find_changes([replace(batch, clean=tmp_path / "not there")], tmp_path / "signatures")
        (marks,) = found.marks
        assert {mark.cluster_size for mark in marks.values()} == {2}

    def test_pairs_that_are_known_are_not_read_again(self, tmp_path: Path) -> None:
        batch = saved(tables_of([document("a", ARTICLE), document("b", without(2))]), tmp_path)
        found = find_changes([batch], tmp_path / "first")
        again = gather([replace(batch, clean=None)], tmp_path / "again", found.pairs)
        assert again.wanted == (0,)
        assert find_changes([replace(batch, clean=None)], tmp_path / "twice", found.pairs).marks == found.marks

    def test_texts_that_another_comparison_asks_for(self, tmp_path: Path) -> None:
        # b is like a, and c like b; that c is compared with a follows from what b and c turn out to be.
        rng = random.Random(2)
        text = "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(900))
        a, b, c = (document(name, text[i * 190 : i * 190 + 500]) for i, name in enumerate("abc"))
        known = found_in([tables_of([a, b])], tmp_path / "first").pairs
        batch = saved(tables_of([a, b, c]), tmp_path / "all")
        assert gather([batch], tmp_path / "asked", known).wanted == (2,)
        assert find_changes([batch], tmp_path / "late", known).marks == [expected([a, b, c])]

    def test_a_text_that_is_missing_is_told(self, tmp_path: Path) -> None:
        batch = saved(tables_of([document("a", ARTICLE), document("b", without(2))]), tmp_path)
        with pytest.raises(ValueError, match="has document"):
            find_changes([replace(batch, clean=None)], tmp_path / "signatures")


def test_damage_stands_as_it_is_stored(make_kept: Callable[..., Outcome], tmp_path: Path) -> None:
    """Places of `damage` are those of `text`, in characters, wherever it is read from."""
    outcome = make_kept(1)
    (made,) = signatures([clean_row(outcome, RUN)])
    assert outcome.cleaned
    text = folded(outcome.cleaned.text, [(0, 2)])
    assert text.startswith("\ufffd\ufffd")
    assert made["damage_places"] == 1
    assert made["folded_bytes"] == len(text.encode())
    batch = saved(tables_of([outcome]), tmp_path)
    np.save(tmp_path / "wanted-000000.npy", np.array(ids([outcome]), "S32"))
    fold_batch(batch, 0, tmp_path)
    assert (tmp_path / "folded-000000").read_text("utf-8") == text


WORDS = "一二三四五六七八九十著着ＡａİΣσ_ 1，。\n\ufffd😀産產"


@given(st.lists(st.tuples(st.text(WORDS, max_size=120), st.integers(0, 5)), max_size=8))
@settings(deadline=None)
def test_of_many_documents_each_has_the_signature_that_it_has_alone(drawn: list[tuple[str, int]]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "text": text,
            "damage": [{"kind": "shift", "start": n, "text": text[n : n + 2]}] if n else [],
            "published_at": None,
            "n_chars": len(text),
            "edits_by_step": [],
        }
        for text, n in drawn
    ]
    made = signatures(rows)
    assert made == [signature for row in rows for signature in signatures([row])]
    for row, signature in zip(rows, made, strict=True):
        text = folded_by_hand(row["text"], [(d["start"], d["start"] + len(d["text"])) for d in row["damage"]])
        assert signature["folded_hash"] == hashlib.blake2b(text.encode(), digest_size=16).digest()
        shingles = {text[i : i + 5] for i in range(len(text) - 4) if "\ufffd" not in text[i : i + 5]}
        assert len(grams(text)) == len(shingles)
        n_han = len(re.findall("[\u2e80-\ufffc\U00010000-\U0010ffff]", text))
        is_signed = len(shingles) > 45 and n_han + (len(text) - n_han) // 3 >= 50
        assert (signature["bands"] is not None) == is_signed


def folded_by_hand(text: str, damage: Sequence[tuple[int, int]]) -> str:
    """As patterns have it."""
    for start, end in damage:
        text = text[:start] + "\ufffd" * (end - start) + text[end:]
    return re.sub("[^\\w\ufffd]|_", "", fold(text).replace("著", "着"))


# What is found, as the docstrings say it, with no thought of time and memory

_same = lru_cache(maxsize=None)(tells_the_same)


def expected(outcomes: Sequence[Outcome]) -> dict[str, Mark]:
    """Marks of all documents that others tell the same as."""
    found = [clean_row(outcome, RUN) for outcome in outcomes]
    made = {row["doc_id"]: signature for row, signature in zip(found, signatures(found), strict=True)}
    damage = {row["doc_id"]: [(d["start"], d["start"] + len(d["text"])) for d in row["damage"]] for row in found}
    texts = {row["doc_id"]: folded(row["text"], damage[row["doc_id"]]) for row in found}

    def rank(i: str) -> tuple[Any, ...]:
        return made[i]["damage_places"], made[i]["repairs"], made[i]["published_at"] or "~", -len(texts[i].encode()), i

    best_first = sorted(texts, key=rank)
    clusters = joined(best_first, texts, {i: made[i]["bands"] for i in best_first if made[i]["bands"]})
    return {i: mark for members in clusters for i, mark in told(sorted(members, key=rank), texts).items()}


def joined(best_first: list[str], texts: dict[str, str], bands: dict[str, bytes]) -> list[set[str]]:
    of = {i: {i} for i in best_first}

    def join(a: str, b: str) -> None:
        of[a] |= of[b]
        for i in of[a]:
            of[i] = of[a]

    first: dict[str, str] = {}
    for i in filter(texts.get, best_first):
        join(first.setdefault(texts[i], i), i)
    distinct = [i for i in best_first if i in bands and first[texts[i]] == i]
    for number in range(BANDS):
        buckets = defaultdict(list)
        for i in distinct:
            buckets[int(np.frombuffer(bands[i], "<u4")[number])].append(i)
        for _, bucket in sorted(buckets.items()):
            leaders: list[str] = []
            for i in bucket:
                near = next((a for a in leaders if of[a] is of[i] or _same(texts[a], texts[i])), None)
                if near is not None:
                    join(near, i)
                elif len(leaders) < LEADERS:
                    leaders.append(i)
    return list({id(members): members for members in of.values()}.values())


def told(rest: list[str], texts: dict[str, str]) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    while rest:
        kept, *others = rest
        found = {i: likeness(grams(texts[kept]), grams(texts[i])) for i in others}
        near = {i: 1.0 if texts[i] == texts[kept] else of.jaccard for i, of in found.items() if of.is_near}
        near |= {i: 1.0 for i in others if texts[i] == texts[kept]}
        rest = [i for i in others if i not in near]
        marks |= {kept: Mark(cluster_size=len(near) + 1)} if near else {}
        marks |= {i: Mark(kept, similarity, len(near) + 1) for i, similarity in near.items()}
    return marks


_LONG = ARTICLE + NOTICE.format(a="法") + TOLD + PUBLIC.format("王海涛、李雪梅") + NOTICE.format(a="俄")

TEXTS = [
    *SAME.values(),
    *(text for pair in OTHER.values() for text in pair),
    *(_LONG[i * 45 : i * 45 + 350] for i in range(10)),
    *("", "。", "短", "短文一篇"),
]
"""Copies, none, chains of which the ends have little in common, and what is too short."""


@st.composite
def corpora(draw: st.DrawFn, prefix: str = "") -> list[Outcome]:
    """Some documents with these texts."""
    chosen = draw(st.lists(st.integers(0, len(TEXTS) - 1), max_size=14))
    rng = random.Random(draw(st.integers(0, 9)))
    return [
        document(
            f"{prefix}{i}",
            TEXTS[which],
            damage=rng.choice((0, 0, 0, 1)) if len(TEXTS[which]) > 9 else 0,
            published=rng.choice(("", "", "2024-05-01", "2020-01-01T10:00")),
        )
        for i, which in enumerate(chosen)
    ]


def cut(outcomes: Sequence[Outcome], at: int) -> Shards:
    return [outcomes[: at % 5], outcomes[at % 5 : at], outcomes[at:]]


class TestAsAWhole:
    @settings(max_examples=25, deadline=None)
    @given(corpora(), st.randoms(use_true_random=False), st.integers(0, 14))
    def test_what_is_found_is_what_the_docstrings_say(
        self, outcomes: list[Outcome], rng: random.Random, at: int
    ) -> None:
        outcomes = outcomes * 1
        rng.shuffle(outcomes)
        shards = cut(outcomes, at)
        with tempfile.TemporaryDirectory() as folder:
            found = found_in(list(map(tables_of, shards)), Path(folder)).marks
        assert [set(marks) <= set(ids(shard)) for marks, shard in zip(found, shards, strict=True)] == [True] * 3
        assert {i: mark for marks in found for i, mark in marks.items()} == expected(outcomes)

    @settings(max_examples=10, deadline=None)
    @given(
        corpora("a"),
        st.lists(
            st.tuples(st.sampled_from(["mark", "drop", "drop", "off"]), corpora("b"), st.integers(0, 2**14)),
            min_size=1,
            max_size=4,
        ),
    )
    def test_runs_on_end_like_one_from_scratch(
        self, outcomes: list[Outcome], runs: list[tuple[Dedup, list[Outcome], int]]
    ) -> None:
        batches, known, there = [tables_of(outcomes)], None, {o.origin.doc_id: o for o in outcomes}
        with tempfile.TemporaryDirectory() as folder:
            for number, (dedup, more, leaving) in enumerate(runs):
                added = {o.origin.doc_id: o for o in more if o.origin.doc_id not in there}
                gone = frozenset(i for bit, i in enumerate(there) if leaving >> bit & 1)
                there = {i: o for i, o in (there | added).items() if i not in gone}
                batches.append(tables_of([*added.values()]))
                to = Path(folder) / str(number)
                batches, known = rerun(batches, gone, dedup, to, known)
                assert stored(batches) == stored(
                    marked([[*there.values()]], to / "scratch", dedup)
                    if dedup != "off"
                    else [tables_of([*there.values()])]
                )


def rerun(
    batches: Sequence[Tables], gone: frozenset[str], dedup: Dedup, folder: Path, known: Path | None
) -> tuple[list[Tables], Path | None]:
    """Batches after a run into them, which come from files and say themselves that they are as they should be."""
    found = found_in(batches, folder, gone, known) if dedup != "off" else None
    made = []
    for i, tables in enumerate(batches):
        left = read(saved(without_documents(tables, gone), folder / f"left-{i}"))
        of = found.marks[i] if found else {}
        after = mark_tables(left, of, dedup)
        assert needs_marking(left.index, of, dedup) == (after is not None)
        made.append(after or left)
        assert mark_tables(made[-1], of, dedup) is mark_tables(made[-1], {}, dedup) is None
        assert in_order(made[-1])
    if found:
        again = found_in(made, folder / "again", known=found.pairs)
        assert not any(again.marks)
    return made, found.pairs if found else known


def without_documents(tables: Tables, gone: frozenset[str]) -> Tables:
    def left(table: pa.Table | None) -> pa.Table | None:
        return table and table.filter(pc.invert(pc.is_in(table["doc_id"], pa.array(gone, pa.string()))))

    return Tables(left(tables.clean), left(tables.rejected), left(tables.index))


def read(batch: BatchFiles) -> Tables:
    return Tables(*(path and pq.read_table(path) for path in (batch.clean, batch.rejected, batch.index)))


def in_order(tables: Tables) -> bool:
    """Whether each document stands in the table that the index says, in the order of the index."""
    where = [(row["doc_id"], row["reason"]) for row in tables.index.to_pylist()]
    clean, rejected = (list(rows_by_id([tables], name)) for name in ("clean", "rejected"))
    return clean == [i for i, reason in where if not reason] and rejected == [i for i, reason in where if reason]


def stored(batches: Sequence[Tables]) -> dict[str, dict[str, Any]]:
    """All rows of all tables; of `dropped`, whether there is any (what is in it shows when it comes back)."""
    found = {name: rows_by_id(batches, name) for name in ("clean", "rejected", "index")}
    for row in found["index"].values():
        row["dropped"] = row["dropped"] is not None
    return found


def rows_by_id(batches: Sequence[Tables], name: str) -> dict[str, Any]:
    found = [row for tables in batches if (of := getattr(tables, name)) is not None for row in of.to_pylist()]
    return {row["doc_id"]: row for row in found}


class TestMarking:
    def test_a_batch_without_duplicates_is_left_alone(self) -> None:
        tables = tables_of([document("a", ARTICLE)])
        modes: tuple[Dedup, ...] = ("mark", "drop", "off")
        assert [mark_tables(tables, {}, dedup) for dedup in modes] == [None] * 3
        assert not any(needs_marking(tables.index, {}, dedup) for dedup in modes)

    def test_marking_changes_three_columns_and_nothing_else(self, tmp_path: Path) -> None:
        outcomes = [document("a", ARTICLE, damage=2, repairs=3), document("b", ARTICLE), document("c", TOLD)]
        before = rows([tables_of(outcomes)])
        after = rows(marked([outcomes], tmp_path))
        for name, row in after.items():
            assert {k: v for k, v in row.items() if k not in Mark._fields} == {
                k: v for k, v in before[name].items() if k not in Mark._fields
            }
        assert after["a"]["duplicate_of"] == before["b"]["doc_id"]

    def test_dropped_documents_are_in_rejected_with_the_one_that_is_kept(self, tmp_path: Path) -> None:
        outcomes = [document("a", ARTICLE, damage=2, repairs=3), document("b", ARTICLE), document("c", TOLD)]
        made = marked([outcomes], tmp_path, "drop")
        clean, rejected = rows(made), rows(made, "rejected")
        assert set(clean) == {"b", "c"}
        assert set(rejected) == {"a"}
        assert rejected["a"]["reason"] == "duplicate"
        similarity = made[0].index["duplicate_similarity"][0].as_py()
        assert 0.9 < similarity < 1
        assert rejected["a"]["detail"] == (
            f"It tells the same as document {clean['b']['doc_id']} (similarity {similarity:.2f})."
        )
        assert rejected["a"]["text"].endswith(ARTICLE[10:])
        assert rejected["a"]["damage"]
        assert clean["b"]["cluster_size"] == 2
        assert made[0].index["reason"].to_pylist() == ["duplicate", None, None]

    def test_the_next_best_comes_back_when_the_best_is_gone(self, tmp_path: Path) -> None:
        outcomes = [document("a", ARTICLE, damage=1), document("b", ARTICLE), document("c", without(2), damage=2)]
        made = marked([outcomes[:1], outcomes[1:]], tmp_path, "drop")
        assert set(rows(made)) == {"b"}
        after, _ = rerun(made, frozenset(ids(outcomes[1:2])), "drop", tmp_path / "after", None)
        assert stored(after) == stored(marked([outcomes[::2]], tmp_path / "scratch", "drop"))
        assert set(rows(after)) == {"a"}
        assert after[0].rejected is None
        assert after[1].clean is None

    def test_tables_in_which_nothing_changes_are_the_same_objects(self, tmp_path: Path) -> None:
        # A third copy changes how many there are, and not what `rejected` says.
        outcomes = [document("a", ARTICLE), document("b", without(2), damage=2)]
        (before,) = marked([outcomes], tmp_path, "drop")
        third = document("c", without(3), damage=3)
        after, _ = rerun([before, tables_of([third])], frozenset(), "drop", tmp_path / "after", None)
        found = found_in([before, tables_of([third])], tmp_path / "found").marks[0]
        same = mark_tables(before, found, "drop")
        assert same is not None
        assert same.rejected is before.rejected
        assert rows(after)["a"]["cluster_size"] == 3

    def test_other_reasons_to_reject_stay(self) -> None:
        tables = tables_of([document("a", ARTICLE), document("b", TOLD)])
        assert tables.clean is not None
        short = {**tables.clean.to_pylist()[1], "reason": "too-short", "detail": "It is."}
        rejected = pa.Table.from_pylist([{name: short[name] for name in REJECTED.names}], schema=REJECTED)
        index = tables.index.to_pylist()
        index[1] |= {"reason": "too-short", "folded_hash": None, "bands": None, "folded_bytes": None}
        made = Tables(tables.clean[:1], rejected, pa.Table.from_pylist(index, schema=INDEX))
        after = mark_tables(made, {index[0]["doc_id"]: Mark("0" * 32, 0.5, 2)}, "drop")
        assert after is not None
        assert after.clean is None
        assert after.rejected is not None
        assert after.rejected["reason"].to_pylist() == ["duplicate", "too-short"]
        back = mark_tables(after, {}, "off")
        assert back is not None
        assert stored([back]) == stored([made])
