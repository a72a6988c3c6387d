"""Documents that tell the same: comparison of two texts, clusters over parts, and what becomes of the rows."""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.config import CleanConfig, Dedup
from schemas.document import Cleaned, Damage, Decoded, Edit, Origin, Outcome, Run, Stage
from tasks.corpus.duplicates import conflicts, find, folded, grams, likeness, mark, sign, tells_the_same
from tasks.publish.parts import Counts, Part, write_parts
from tasks.scripts import traditionalize
from tasks.shards import mark_parts

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
        assert time.process_time() - start < 10


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


Parts = Sequence[Sequence[Outcome]]


def written(parts: Parts, folder: Path) -> list[Part]:
    return [part for outcomes in parts for part in write_parts(outcomes, RUN, folder)]


def rows(parts: Sequence[Part], table: str = "clean") -> dict[str, dict[str, Any]]:
    """Rows by name of the document."""
    found = [row for part in parts if part.table == table for row in pq.read_table(part.path).to_pylist()]
    return {row["source_uri"].removeprefix("file:///"): row for row in found}


def marked(parts: Parts, folder: Path, dedup: Dedup = "mark") -> list[Part]:
    made = [part for part in written(parts, folder) if part.table == "clean"]
    found = find([sign(part.path, i, folder / "signatures") for i, part in enumerate(made)])
    assert [len(verdicts) for verdicts in found] == [part.rows for part in made]
    return [new for part, verdicts in zip(made, found, strict=True) for new in mark(part, verdicts, dedup, RUN, folder)]


def kept_for(parts: Parts, folder: Path) -> dict[str, str]:
    """Names of documents with the name of the one that stands for them."""
    found = rows(marked(parts, folder))
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
        assert find([]) == []
        assert kept_for([[document("a", ARTICLE)]], tmp_path) == {}


class TestMarking:
    def test_a_part_without_duplicates_is_left_alone(self, tmp_path: Path) -> None:
        first, second = written([[document("a", ARTICLE)], [document("b", NOTICE.format(a="法"))]], tmp_path)[::2]
        found = find([sign(part.path, i, tmp_path / "s") for i, part in enumerate((first, second))])
        assert [mark(part, v, "mark", RUN, tmp_path) for part, v in zip((first, second), found, strict=True)] == [
            [first],
            [second],
        ]

    def test_marking_changes_three_columns_and_nothing_else(self, tmp_path: Path) -> None:
        outcomes = [document("a", ARTICLE, damage=2, repairs=3), document("b", ARTICLE), document("c", TOLD)]
        before = rows(written([outcomes], tmp_path / "before"))
        after = rows(marked([outcomes], tmp_path / "after"))
        new = {"duplicate_of", "duplicate_similarity", "cluster_size"}
        for name, row in after.items():
            assert {k: v for k, v in row.items() if k not in new} == {
                k: v for k, v in before[name].items() if k not in new
            }
        assert after["a"]["duplicate_of"] == before["b"]["doc_id"]

    def test_dropped_documents_are_in_rejected_with_the_one_that_is_kept(self, tmp_path: Path) -> None:
        outcomes = [document("a", ARTICLE, damage=2, repairs=3), document("b", ARTICLE), document("c", TOLD)]
        parts = marked([outcomes], tmp_path, "drop")
        clean, rejected = rows(parts), rows(parts, "rejected")
        assert set(clean) == {"b", "c"}
        assert set(rejected) == {"a"}
        assert rejected["a"]["reason"] == "duplicate"
        assert clean["b"]["doc_id"] in rejected["a"]["detail"]
        assert rejected["a"]["text"].endswith(ARTICLE[10:])
        assert rejected["a"]["damage"]
        assert clean["b"]["cluster_size"] == 2

    @pytest.mark.parametrize("dedup", ["mark", "drop"])
    def test_every_document_is_counted_once(self, dedup: Dedup, tmp_path: Path) -> None:
        outcomes = [document(name, text) for name, text in SAME.items()]
        before = sum((part.counts for part in written([outcomes], tmp_path / "before")), Counts())
        parts = marked([outcomes[:2], outcomes[2:]], tmp_path, dedup)
        counts = sum((part.counts for part in parts), Counts())
        n = len(SAME) - 1
        assert counts.documents == before.documents == len(rows(parts)) + len(rows(parts, "rejected"))
        assert counts.clean == len(rows(parts)) == (1 if dedup == "drop" else n + 1)
        assert dict(counts.rejected) == ({"duplicate": n} if dedup == "drop" else {})
        assert counts.duplicates == (n if dedup == "mark" else 0)
        assert counts.chars_in == before.chars_in
        assert counts.chars_out == sum(row["n_chars"] for row in rows(parts).values())
        assert counts.langs.total() == counts.clean

    def test_the_same_parts_on_any_number_of_processes(self, tmp_path: Path) -> None:
        shards = [[document(name, text)] for name, text in [*SAME.items()][:4]]

        def hashes(workers: int) -> list[str]:
            folder = tmp_path / str(workers)
            return [part.sha256 for part in mark_parts(written(shards, folder), "drop", RUN, folder, workers)]

        assert hashes(1) == hashes(3)


Make = Callable[..., Outcome]


def test_damage_stands_as_it_is_stored(make_kept: Make, tmp_path: Path) -> None:
    """Places of `damage` are read from the part, in characters."""
    (part,) = [part for part in write_parts([make_kept(1)], RUN, tmp_path) if part.table == "clean"]
    signed = sign(part.path, 0, tmp_path / "signatures")
    (row,) = np.load(signed.rows)
    (stored,) = rows([part]).values()
    assert row["doc_id"].decode() == stored["doc_id"]
    assert row["damage"] == 1
    assert signed.texts.read_text("utf-8") == folded(stored["text"], [(0, 2)])
    assert signed.texts.read_text("utf-8").startswith("\ufffd\ufffd")
