"""Pages of HTML: what counts as one, what is taken out, what is left out, and pages made to do harm."""

import json
import time
from collections.abc import Callable

import pytest

from schemas.config import CleanConfig
from schemas.dataset import clean_row, edits_row, rejected_row
from schemas.document import Origin, Outcome, Page, RawDocument, Reason, Run
from tasks.document import clean_raw
from tasks.html import is_html, read_page
from tasks.html.flat import flatten
from tasks.steps.log import revert_all

PROSE = (
    "清晨六点，城东的早市已经热闹起来，卖豆腐的老周支好了摊位。",
    "去年市里对早市进行了改造，铺设了排水管道，还设立了公平秤。",
    "附近的居民说，以前一下雨，脚底下全是泥水，现在干净多了。",
)
BODY = "".join(f"<p>{line}</p>" for line in PROSE)
TEXT = "".join(f"{line}\n" for line in PROSE)
MENU = '<ul><li><a href="/a">首页</a></li><li><a href="/b">国内新闻</a></li><li><a href="/c">国际新闻</a></li></ul>'


def page(body: str, head: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def clean(html: str | bytes, name: str = "file:///a.html") -> Outcome:
    raw = html if isinstance(html, bytes) else html.encode()
    return clean_raw(Origin(name, "", "", len(raw)), RawDocument(name, raw), CleanConfig())


def text_of(html: str | bytes) -> str:
    outcome = clean(html)
    assert outcome.page is not None
    assert outcome.cleaned is not None
    return outcome.cleaned.text


# What counts as HTML


@pytest.mark.parametrize(
    "text",
    [
        page(BODY),
        "\ufeff \n<!-- a comment --><!-- another --><HTML><BODY>字</BODY></HTML>",
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x"><html>',
        "<meta charset=gbk><title>题</title>字",
        f"<div class=a>{BODY}</div>",
        f'd><title>题</title></head><body><div class="main">{BODY}<p>完</p></div></body></html>',
    ],
    ids=["whole", "comments before", "xhtml", "no html tag", "a part", "cut at the start"],
)
def test_pages_and_parts_of_pages_are_html(text: str) -> None:
    assert is_html(text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "今天气温 < 10 度，明天 > 12 度。\n第二行<br>第三行",
        "网页以 <html> 开头，以 </html> 结束，中间是 <body> 和 </body>。" + TEXT,
        '<?xml version="1.0"?><catalog><book>三国演义</book></catalog>',
        "<新闻>今日要闻</新闻>",
        "",
    ],
    ids=["text", "signs and a stray tag", "about HTML", "XML", "brackets", "empty"],
)
def test_text_with_some_tags_is_text(text: str) -> None:
    assert not is_html(text)


def test_a_name_asks_for_one_tag_only() -> None:
    assert is_html("第一行<br>第二行", "file:///a.htm")
    assert not is_html("第一行<br>第二行", "file:///a.txt")
    assert not is_html("今天气温 < 10 度", "file:///a.html")


def test_content_decides_whatever_the_suffix() -> None:
    assert clean(page(BODY), "file:///a.txt").page is not None
    assert clean(page(BODY), "stdin:0123").page is not None
    assert clean(TEXT, "file:///a.html").page is None


# The main text


def test_navigation_and_footers_are_left_out() -> None:
    footer = '<div class="footer"><p>版权所有，未经书面授权不得转载。京ICP备12345678号</p></div>'
    assert read_page(page(MENU + f"<div>{BODY}</div>" + MENU + footer)).text == TEXT


def test_comments_longer_than_the_article_are_left_out() -> None:
    comments = "".join(f"<p>我觉得第{n}条说得很有道理，大家都应该好好想一想这个问题。</p>" for n in range(30))
    assert read_page(page(f'<div><div>{BODY}</div><div id="comments">{comments}</div></div>')).text == TEXT


def test_a_body_with_a_name_of_furniture_stays() -> None:
    assert read_page(page(f'<div class="sidebar">{BODY}</div>')).text == TEXT


@pytest.mark.parametrize(
    "line",
    [
        "其次，互联网版权问题更加复杂，重放别人的作品，一定要获得版权所有者的许可。",
        "经过三个月的审查，市里给四十家企业颁发了许可证，并提供技术支持。",
        "市教育局\n2023年8月18日",
        "（2023年8月18日）",
        "又有人发现，播放和收藏等按钮都直接写明了属性。",
        "该院成立于1994年6月3日，三十年来取得了一系列成果。",
        "更多的居民开始明白，买菜的地方也可以是干净的。",
        "报名截止时间：2024年5月10日 17:30",
    ],
    ids=["about rights", "about permits", "a signature", "a date in brackets", "buttons", "a date", "more", "an event"],
)
def test_lines_at_the_end_that_look_like_furniture_stay(line: str) -> None:
    html = "".join(f"<p>{part}</p>" for part in line.split("\n"))
    assert read_page(page(f"<div>{BODY}{html}</div>")).text == TEXT + line + "\n"


@pytest.mark.parametrize(
    "line",
    [
        "版权声明：凡注明来源为本网的作品，未经本网授权不得转载、摘编。",
        "责任编辑：王晓",
        "上一篇：秋天的柿子树",
        "Copyright © 2015 江城新闻网 All Rights Reserved.",
        "鄂ICP备05012345号",
    ],
)
def test_furniture_at_the_end_goes(line: str) -> None:
    assert read_page(page(f"<div>{BODY}<p>{line}</p></div>")).text == TEXT


def test_dates_of_what_a_text_is_about_are_text() -> None:
    event = "开标时间：2024年3月25日 09:30"
    outcome = clean(page(f"<h1>早市改造工程招标公告</h1><p>发布时间：2024-03-01</p><div><p>{event}</p>{BODY}</div>"))
    assert outcome.cleaned is not None
    assert outcome.cleaned.text == f"{event}\n{TEXT}"
    assert outcome.cleaned.facts["published_at"] == "2024-03-01"


def test_a_page_without_prose_keeps_its_lines() -> None:
    items = "".join(f"<li>展品{n}</li>" for n in range(5))
    assert read_page(page(f"<ul>{items}</ul>")).text == "".join(f"展品{n}\n" for n in range(5))


def test_lines_are_those_that_a_browser_shows() -> None:
    html = (
        f"<div>{BODY}第一行，有<b>粗</b>体和<a href=x>链接</a>。<br>第二行。<hr>"
        "第三行，\n\t在源码里断开了。<pre>第四行\n第五行</pre></div>"
    )
    expected = "第一行，有粗体和链接。\n第二行。\n第三行，在源码里断开了。\n第四行\n第五行\n"
    assert read_page(page(html)).text == TEXT + expected


def test_rows_of_a_table_are_lines() -> None:
    table = "<table><tr><th>词语</th><th>意思</th></tr><tr><td>透明</td><td>光线能够穿过。</td></tr></table>"
    assert read_page(page(f"<div>{BODY}{table}</div>")).text == TEXT + "词语 意思\n透明 光线能够穿过。\n"


def test_cells_of_a_layout_are_no_rows() -> None:
    left = "左边的一段话，写在格子里，比词语长得多，所以不是表格里的数据，对不对。" * 2
    html = f"<table><tr><td>{left}</td><td>{PROSE[0]}</td></tr></table>"
    assert read_page(page(html)).text == f"{left}\n{PROSE[0]}\n"


def test_readings_above_characters_are_left_out() -> None:
    html = (
        "<p><ruby>小<rp>(</rp><rt>xiǎo</rt><rp>)</rp>雨<rt>yǔ</rt></ruby>从云朵里跳下来，"
        "落在<ruby><rb>荷叶</rb><rt>hé yè</rt></ruby>上。</p>"
    )
    assert read_page(page(html)).text == "小雨从云朵里跳下来，落在荷叶上。\n"


def test_scripts_styles_and_comments_are_no_text() -> None:
    html = (
        "<script>if (a < b) '<p>程序，不是文字。</p>'</script><style>p::after{content:'样式'}</style>"
        f"<!-- 注释，也不是。 -->{BODY}<noscript>请打开脚本。</noscript><template><p>模板。</p></template>"
    )
    made = read_page(page(html))
    assert made.text == TEXT
    assert made.hidden_chars == 0


def test_entities_are_read_once() -> None:
    assert read_page(page("<p>&#20013;&#x6587;&nbsp;&lt;b&gt;，&amp;#20013; &notanentity; &#128;。</p>")).text == (
        "中文\xa0<b>，&#20013; ¬anentity; €。\n"
    )


def test_damage_is_left_as_evidence() -> None:
    damaged = "推動洪澤纖維產(chǎn)業(yè)邁向新臺階、駛?cè)肟燔嚨?。\ue123\x85\u200b鐨勬槸涓\ufffd，ä¸\xadå\x9b½。"
    assert read_page(page(f"<p>{damaged}</p>")).text == damaged + "\n"


def test_xhtml_may_close_any_element_at_once() -> None:
    html = (
        f'<?xml version="1.0"?><html><head><script src="a.js"/><title/></head><body><a id="top"/>{BODY}</body></html>'
    )
    assert read_page(html).text == TEXT


# Hidden text

SPAM = "澳门新葡京官方网站，注册就送彩金，快来登录吧，天天都有大奖。"

HIDDEN = {
    "display": '<div style="display:none">{}</div>',
    "display, important": "<p style='color:red; DISPLAY : none !important'>{}</p>",
    "visibility": '<div style="visibility:hidden">{}</div>',
    "opacity": '<p style="opacity:0">{}</p>',
    "attribute": "<section hidden>{}</section>",
    "font size": '<p style="font-size:0px">{}</p>',
    "box": '<div style="width:0;height:0;overflow:hidden">{}</div>',
    "off screen": '<div style="position:absolute;left:-9999px">{}</div>',
    "above the screen": '<div style="position: fixed; top: -100em">{}</div>',
    "indent": '<p style="text-indent:-999px">{}</p>',
    "white on white": '<p style="color:#fff;background-color:#FFFFFF">{}</p>',
    "rgb": '<p style="color:rgb(255,255,255);background:white url(a.png)">{}</p>',
    "transparent": '<p style="color:transparent">{}</p>',
    "marquee": "<marquee width=1 height=1>{}</marquee>",
    "class": "<style>.x1, .y {{ display: none }}</style><div class='a X1'>{}</div>",
    "id": "<style>div#x1{{position:absolute;left:-5000px}}</style><div id=x1>{}</div>",
    "by script": '<div id="k7">{}</div><script>document.getElementById("k7").style.display = "none";</script>',
    "written": "<script>document.write('<div style=\"display:none\">');</script><p>{}</p>"
    "<script>document.write('</div>');</script>",
    "nested": '<div style="display:none"><ul><li><a href="x">{}</a></li></ul></div>',
}


@pytest.mark.parametrize("how", HIDDEN)
@pytest.mark.parametrize("place", ["before", "after", "within"])
def test_hidden_text_is_left_out_and_told(how: str, place: str) -> None:
    hidden = HIDDEN[how].format(SPAM)
    html = {"before": hidden + BODY, "after": BODY + hidden, "within": BODY.replace("</p>", "</p>" + hidden, 1)}[place]
    made = read_page(page(f"<div>{html}</div>"))
    assert made.text == TEXT
    assert made.hidden_text == SPAM + "\n"
    assert made.hidden_chars == len(SPAM)
    assert made.flags == ("hidden-text",)


@pytest.mark.parametrize(
    "html",
    [
        '<p style="color:#fff;background:#036">{}</p>',
        '<p style="color:white">{}</p>',
        '<p aria-hidden="true">{}</p>',
        '<div style="font-size:0"><p class="text">{}</p></div>',
        '<div style="font-size:0"><p style="font-size:16px">{}</p></div>',
        '<div style="height:0">{}</div>',
        '<div style="left:-10px;position:relative;text-indent:-2em">{}</div>',
        "<style>.x .y {{ display: none }} @media print {{ p {{ color: red }} }}</style><p class=y>{}</p>",
        '<p style="background:url(display:none.png)">{}</p>',
    ],
)
def test_what_can_be_seen_stays(html: str) -> None:
    line = "他说，这是一句写在网页上的话，谁都能看得见。"
    assert read_page(page(f"<div>{BODY}{html.format(line)}</div>")).text == TEXT + line + "\n"


def test_noise_hidden_in_a_sentence_leaves_it_whole() -> None:
    html = PROSE[0].replace("，", '，<span style="display:none">! x% h* Z</span>', 1)
    assert read_page(page(f"<p>{html}</p>")).text == PROSE[0] + "\n"


@pytest.mark.parametrize(
    "html",
    [
        f'<div class="rich_media_content" style="visibility: hidden; opacity: 0;">{BODY}</div>',
        f'<div style="display:none">{BODY * 3}</div>',
    ],
    ids=["WeChat", "until loaded"],
)
def test_an_article_that_scripts_reveal_is_the_text(html: str) -> None:
    made = read_page(page(f"<h1>题目</h1>{html}"))
    assert made.text.startswith(TEXT)
    assert made.hidden_chars == 0


def test_spam_hidden_in_an_article_that_scripts_reveal_stays_hidden() -> None:
    html = f'<div style="visibility:hidden"><p style="display:none">{SPAM}</p>{BODY}</div>'
    made = read_page(page(html))
    assert (made.text, made.hidden_text) == (TEXT, SPAM + "\n")


@pytest.mark.parametrize("tag", ["rp", "rt", "noscript", "select", "button", "optgroup", "th", "dfn", "legend"])
def test_tags_strewn_over_a_page_and_never_closed_hide_nothing(tag: str) -> None:
    html = f'<div><{tag} id="k3xz1">{BODY}'.replace("，", '，<rp id="q8"></rp>', 1)
    assert read_page(page(html)).text == TEXT


# Encodings


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("gb2312", "gb18030"),
        ("utf-8", "gb18030"),
        ("gb2312", "utf-8"),
        ("iso-8859-1", "utf-8"),
        ("big5", "utf-8-sig"),
        ("utf-8", "utf-16"),
        ("gbk", "utf-16-le"),
    ],
)
def test_bytes_decide_whatever_the_page_declares(label: str, codec: str) -> None:
    html = page(f"<div>{BODY}<p>镕、囍、喆这些字，旧的国标里没有。</p></div>", f'<meta charset="{label}">')
    assert text_of(html.encode(codec)) == TEXT + "镕、囍、喆这些字，旧的国标里没有。\n"


def test_hong_kong_characters() -> None:
    line = "香港今日天氣晴朗，最高氣溫二十六度，市民紛紛到郊外行山，佢哋話空氣好好，想留多一陣先返屋企。"
    outcome = clean(page(f"<p>{line}</p>", '<meta charset="big5-hkscs">').encode("big5hkscs"))
    assert outcome.page is not None
    assert outcome.page.text == line + "\n"


# Facts


def facts_of(html: str) -> dict[str, str]:
    outcome = clean(html)
    assert outcome.cleaned is not None
    return dict(outcome.cleaned.facts)


def test_facts_of_the_head() -> None:
    head = (
        "<title>早市里的烟火气_民生频道_江城新闻网</title>"
        '<meta property="og:site_name" content="江城新闻网"><meta name="PubDate" content="2024-03-12 07:41">'
        '<link rel="canonical" href="https://news.example/2024/1.html">'
        '<meta http-equiv="content-language" content="zh-CN">'
    )
    assert facts_of(page(f"<h1>早市里的烟火气</h1>{BODY}", head)) == {
        "title": "早市里的烟火气",
        "site_name": "江城新闻网",
        "published_at": "2024-03-12T07:41",
        "source_url": "https://news.example/2024/1.html",
        "lang_declared": "zh-CN",
    }


def test_facts_of_linked_data() -> None:
    data = {
        "@graph": [
            {"@type": "WebSite", "name": "山居笔记"},
            {
                "@type": "BlogPosting",
                "headline": "溪边的造纸作坊",
                "datePublished": "2021-11-07T20:15:33+08:00",
                "author": [{"name": "南山散人"}, {"name": "阿杏"}],
            },
        ]
    }
    facts = facts_of(page(BODY, f'<script type="application/ld+json">{json.dumps(data)}</script>'))
    assert facts["title"] == "溪边的造纸作坊"
    assert facts["published_at"] == "2021-11-07T20:15:33+08:00"
    assert facts["author"] == "南山散人、阿杏"


@pytest.mark.parametrize(
    "head",
    [
        '<meta name="author" content="DedeCms"><meta name="author" content="某某网络公司">',
        '<meta name="PubDate" content="2024-13-45">',
        '<link rel="canonical" href="https://news.example/">',
        '<link rel="canonical" href="javascript:alert(1)"><meta property="og:url" content="http://[::1">',
        '<script type="application/ld+json">{"headline": [[[],{"name": 1}]], "author": 7, "pubDate": null}</script>',
        '<script type="application/ld+json">not json</script>',
    ],
)
def test_what_is_not_plausible_is_no_fact(head: str) -> None:
    assert facts_of(page(BODY, head)) == {}


def test_lines_tell_what_the_head_does_not() -> None:
    line = "<div>2024-03-12 07:41　来源：江城晚报　责任编辑：王晓</div>"
    facts = facts_of(page(f"<h1>早市里的烟火气</h1>{line}{BODY}", '<meta property="og:site_name" content="新闻网">'))
    assert facts["published_at"] == "2024-03-12T07:41"
    assert facts["site_name"] == "江城晚报"
    assert facts["editor"] == "王晓"


def test_a_title_full_of_spam_is_not_believed_against_the_heading() -> None:
    assert (
        facts_of(page(f"<h1>早市里的烟火气</h1>{BODY}", "<title>久久久人人人,色东京热</title>"))["title"]
        == "早市里的烟火气"
    )


def test_a_title_in_no_heading_is_cut_at_the_name_of_the_site() -> None:
    assert facts_of(page(BODY, "<title>早市里的烟火气 - 民生 - 江城新闻网</title>"))["title"] == "早市里的烟火气"
    assert facts_of(page(BODY, "<title>江城博客 » 早市里的烟火气</title>"))["title"] == "早市里的烟火气"


def test_a_damaged_title_is_repaired_with_its_text() -> None:
    body = (
        "洪澤區(qū)工業(yè)經(jīng)濟發(fā)展工作委員會召開會議，推動洪澤纖維產(chǎn)業(yè)邁向新臺階，區(qū)領(lǐng)導(dǎo)參加會議。"
        "會議指出，要推動工業(yè)經(jīng)濟高質(zhì)量發(fā)展，要著力引進(jìn)大電商，要為產(chǎn)業(yè)發(fā)展創(chuàng)造條件。"
    )
    facts = facts_of(page(f"<p>{body}</p>" * 2, "<title>洪澤區(qū)工業(yè)經(jīng)濟發(fā)展會議召開</title>"))
    assert facts["title"] == "洪泽区工业经济发展会议召开"


def test_a_title_in_a_wrong_codec_is_repaired() -> None:
    title = "劳动过程中的安全问题值得每个人重视".encode().decode("gb18030", "replace")
    assert facts_of(page(BODY, f"<title>{title}</title>"))["title"].startswith("劳动过程中的安全问题值得每个人")


# The dataset


def test_rows_of_a_page_lead_back_to_what_was_taken_out(run: Run) -> None:
    html = page(f"<div>{BODY.replace('，', ',')}<p>第四段，有瞭空格  和 ,逗號。</p></div><p hidden>{SPAM}</p>")
    outcome = clean(html)
    row, log = clean_row(outcome, run), edits_row(outcome)
    assert row["format"] == "html"
    assert row["raw_bytes"] == len(html.encode())
    assert row["hidden_text"] == SPAM + "\n"
    assert row["flags"] == ["hidden-text"]
    assert outcome.page is not None
    assert row["n_edits"] > 0
    assert revert_all(row["text"], log["edits"]) == outcome.page.text == outcome.text_in


def test_a_page_without_text_is_rejected(run: Run) -> None:
    outcome = clean(page("<img src=a.png><script>go()</script>"))
    assert outcome.rejection is not None
    assert outcome.rejection.reason == Reason.TOO_SHORT
    row = rejected_row(outcome, run)
    assert (row["format"], row["text"]) == ("html", "")
    assert edits_row(outcome)["edits"] == []


# Harm

N = 100_000
HOSTILE: dict[str, Callable[[], str]] = {
    "nested": lambda: "<div>" * N + PROSE[0],
    "nested tables": lambda: "<table><tr><td>" * N + PROSE[0],
    "formatting": lambda: "<b><i><font>" * N + PROSE[0],
    "links": lambda: "<a href=x>" * N,
    "lists": lambda: "<ul><li>字" * N,
    "less than": lambda: "<html>" + "<" * 1_000_000,
    "comments": lambda: "<html>" + "<!--" * N,
    "scripts": lambda: "<script>" * N,
    "attributes": lambda: f"<div {' '.join(f'a{i}=1' for i in range(N))}>{PROSE[0]}</div>",
    "open attribute": lambda: "<html>" + '<a x="' * N,
    "entities": lambda: "<html>" + "&#" * N + "&" * N + f"&#{'1' * N};" + "&lt" * N,
    "billion laughs": lambda: '<!DOCTYPE html [<!ENTITY a "b">' + '<!ENTITY c "&a;&a;">' * N + f"]><p>{PROSE[0]}",
    "zeros": lambda: "<p>字\0字</p>" * N,
    "class": lambda: f'<div class="{"nav " * N}">{PROSE[0]}</div>',
    "style": lambda: f'<style>{"{" * N}{".a" * N}</style><p style="{"a:b;" * N}">{PROSE[0]}</p>',
    "written": lambda: "<script>document.write('<div style=\"display:none\">')</script>字" * 10_000,
    "linked data": lambda: f'<script type="application/ld+json">{"[" * N}</script><p>{PROSE[0]}',
    "title": lambda: f"<title>{' - ' * N}</title><p>{PROSE[0]}",
    "spaces": lambda: "<p>字" + " " * 1_000_000 + "字",
    "broken lines": lambda: "<p>" + "字\n" * N,
    "many lines far down": lambda: "<p>字，好。字，好。" * 60_000 + "<div>" * 1_900 + "<p>字，好。字，好。" * 60_000,
    "too many tags": lambda: "<p>字，好。" * 500_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pages_take_little_time(kind: str) -> None:
    html = HOSTILE[kind]()
    start = time.process_time()
    is_html(html)
    made = read_page(html)
    assert time.process_time() - start < 30  # measured: 0.01 to 0.9
    assert isinstance(made, Page)
    assert "<div" not in made.text


@pytest.mark.parametrize("kind", ["nested", "nested tables", "formatting"])
def test_pages_too_deep_give_their_text_without_a_tree(kind: str) -> None:
    made = read_page(HOSTILE[kind]())
    assert made.text == PROSE[0] + "\n"
    assert made.flags == ("html-unparsed",)


def test_text_without_a_tree() -> None:
    html = (
        "<head><title>题</title></head><BODY>一<b>二</b>&#19977;<p>1 < 2<script>'<p>'</script><!-- <p> a > b -->四<br/>"
        "五<ruby>六<rt>liù</rt></ruby><style>七</style>"
    )
    assert flatten(html) == "一二三\n1 < 2四\n五六\n"
