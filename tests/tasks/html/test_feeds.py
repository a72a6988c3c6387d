"""Feeds: what counts as one, and what is taken out."""

import time

import pytest

from schemas.config import CleanConfig
from schemas.document import Origin, RawDocument
from tasks.document import clean_raw
from tasks.html import is_html, read_page
from tasks.html.feeds import is_feed

RSS = """<?xml version="1.0" encoding="gb2312"?>
<!-- made by hand -->
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/">
<channel><title>山居&nbsp;笔记</title><link>https://shanju.example/feed/1</link><language>zh-cn</language>
<item><title>第一场雪</title><description>摘要</description>
<content:encoded><![CDATA[<p>雪下了一夜，<b>山</b>都白了。</p><p hidden>彩票网站</p><p>我们去看雪。</p>]]>
</content:encoded>
</item>
<item><title>秋天 &amp; 柿子</title><description>&lt;p&gt;柿子熟了。&lt;br&gt;真甜。&lt;/p&gt;</description></item>
</channel></rss>"""

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="zh-TW"><title type="text">海港</title>
<link rel="self" href="https://haigang.example/atom.xml"/><link href="https://haigang.example/blog"/>
<entry><title>晨霧</title><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>霧還沒有散去。</p></div></content></entry>
</feed>"""


def test_titles_and_texts_of_items_are_the_text() -> None:
    made = read_page(RSS)
    assert made.format == "feed"
    assert made.text == "第一场雪\n雪下了一夜，山都白了。\n我们去看雪。\n秋天 & 柿子\n柿子熟了。\n真甜。\n"
    assert (made.hidden_text, made.hidden_chars) == ("彩票网站\n", 4)
    assert made.facts == {
        "title": "山居\xa0笔记",
        "site_name": "山居\xa0笔记",
        "source_url": "https://shanju.example/feed/1",
        "lang_declared": "zh-cn",
    }


def test_atom_holds_its_html_as_elements() -> None:
    made = read_page(ATOM)
    assert made.text == "晨霧\n霧還沒有散去。\n"
    assert made.facts["source_url"] == "https://haigang.example/blog"
    assert made.facts["lang_declared"] == "zh-TW"


@pytest.mark.parametrize(
    "damage",
    [RSS[:-40], RSS.replace("<description>", "<a:b:c>"), RSS.replace("</title>", "", 1), RSS.replace("&amp;", "&")],
)
def test_broken_feeds_give_what_they_have(damage: str) -> None:
    assert "雪下了一夜，山都白了。\n" in read_page(damage).text


def test_other_xml_is_no_feed() -> None:
    assert not is_feed('<?xml version="1.0"?><catalog><rss>3</rss></catalog>')
    assert not is_html('<?xml version="1.0"?><catalog><rss>3</rss></catalog>')


def test_a_feed_goes_through_the_pipeline() -> None:
    raw = ATOM.encode()
    outcome = clean_raw(Origin("file:///a.xml", "", "", 0), RawDocument("file:///a.xml", raw), CleanConfig())
    assert outcome.cleaned is not None
    assert outcome.cleaned.text == "晨雾\n雾还没有散去。\n"
    assert outcome.cleaned.facts["title"] == "海港"


@pytest.mark.parametrize(
    "hostile",
    [
        "<rss>" + "<item>" * 100_000,
        "<rss>" + "<item><title>&a;</title></item>" * 30_000,
        '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "字">' + '<!ENTITY b "&a;&a;">' * 30_000 + "]><rss><item>&b;",
        "<rss><channel><item><description><![CDATA[" + "<div>" * 100_000 + "字]]></description></item></channel></rss>",
        "<feed>" + "<!--" * 100_000,
    ],
    ids=["nested", "unknown entities", "entities", "deep html", "comments"],
)
def test_hostile_feeds_take_little_time(hostile: str) -> None:
    start = time.process_time()
    is_html(hostile)
    read_page(hostile)
    assert time.process_time() - start < 30
