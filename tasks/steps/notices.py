"""Notices below an article: copyright, disclaimers, calls to follow. Told by the phrases of their sentences."""

import re
from functools import cache, lru_cache

from tasks.rules import either, load
from tasks.steps.lines import key, key_of

LONGEST = 700
"""Notices with more characters are pages of their own."""

_SENTENCE = re.compile(r"(?:[^。!?;.]|\.(?!\s|$))*+(?:[。!?;]|\.(?=\s|$))++|(?:[^。!?;.]|\.(?!\s|$))++$")

STRONG, WEAK, NONE = 2, 1, 0

_SITE = r"(?:本|该|我)(?:网站|网|站|平台|公众号|号|刊|报|页面?|论坛|博客|文)"
_SAID_ANYHOW = re.compile(
    r"不代表(?:\w{0,8}(?:网|站|平台|社|报|公众号))\w{0,6}(?:观点|立场|意见)"
    r"|未经\w{0,10}(?:授权|许可|同意|允许)\w{0,4}(?:禁止|不得|严禁|请勿|谢绝)\w{0,8}(?:转载|使用|复制|摘编|引用)"
    rf"|{_SITE}\w{{0,8}}(?:来自|来源于|来源|转载自?|转自|摘自|整理自|采集自|收集自)\w{{0,6}}(?:互联网|网络|网友|其[他它]媒体)"
    r"|(?:转载|引用|摘编|转发)\w{0,8}(?:注明|标明|保留|附上|署名)\w{0,6}(?:出处|来源|链接|作者|原文|声明)"
    r"|(?:侵权|侵犯|版权问题|版权异议|著作权)\w{0,16}(?:联系|告知|通知|来信|来函|致电|邮件|投诉|举报|反馈)\w{0,16}(?:删除|删|处理|撤下|更正|下架|撤稿|本站|我们|本网)"
    rf"|(?:版权|著作权)\w{{0,4}}(?:归|属)\w{{0,8}}(?:原作者|作者|{_SITE}|原媒体|权利人|版权人)\w{{0,4}}所有"
    rf"|(?:观点|内容|文章|言论|意见)\w{{0,12}}(?:与|不代表)\w{{0,4}}{_SITE}\w{{0,6}}(?:立场|观点|无关)"
    r"|(?:采用|遵循|基于|根据)\w{0,10}(?:知识共享|创作共用|cc0|ccby)\w{0,24}(?:协议|许可|授权)"
    r"|ccby(?:ncsa|ncnd|nc|nd|sa)?\d{0,2}\w{0,6}(?:协议|许可|授权)"
    r"|^(?:本文|以上\w{0,4}|文章|文中\w{0,4}|内容)\w{0,6}(?:不构成|仅供参考|仅供学习|仅供交流)\w{0,12}(?:建议|依据|之用|参考|交流|使用|意见)$"
    r"|^手机用户请(?:到|至|浏览|访问|登录)\w{0,40}(?:阅读|浏览|访问|观看)?$"
    r"|^建议使用\w{0,30}浏览器?\w{0,30}(?:浏览|访问)"
)
"""Phrases with the name of the site in the middle, on a sentence without its signs."""
_IN_ALL = re.compile(
    "不代表|未经|互联网|网络|网友|其他媒体|其它媒体|注明|标明|保留|附上|署名|侵权|侵犯|版权|著作权|立场|观点|无关"
    "|知识共享|创作共用|cc0|ccby|不构成|仅供|手机用户请|建议使用"
)
"""One of these is in all that it matches."""


def is_notice(line: str) -> bool:
    """Whether a folded line is nothing but notices: a third of its sentences says so, the others could be part."""
    weights = [weight for _, weight in _weighed(line)]
    return NONE not in weights and weights.count(STRONG) * 3 >= len(weights) > 0


def may_be_notice(line: str) -> bool:
    """Whether a folded line below the heading of a notice belongs to it: each sentence uses the words of notices."""
    weights = [weight for _, weight in _weighed(line)]
    return bool(weights) and NONE not in weights


def is_notice_heading(line: str) -> bool:
    """Whether a folded line announces a notice (`版权声明`)."""
    return len(line) <= 20 and key_of(line) in _phrases("heading")


def notice_start(line: str) -> int:
    """Offset of the notice at the end of a folded paragraph; the length of the line where it has none."""
    start = len(line)
    for at, weight in reversed(_weighed(line)):
        if weight != STRONG:
            break
        start = at
    return start


@lru_cache(maxsize=4)  # asked two or three times in a row about the same line
def _weighed(line: str) -> list[tuple[int, int]]:
    """Offset and weight of each sentence; of the last one alone where that is none, as in most texts."""
    if len(line) > LONGEST:
        return []
    last = max(line.rfind("。", 0, -1) + 1, len(line) - _WINDOW)
    if _weigh(key_of(line[last:])) == NONE:
        return [(last, NONE)]
    sentences = [(match.start(), key_of(match[0])) for match in _SENTENCE.finditer(line)]
    return [(at, _weigh(sentence)) for at, sentence in sentences if sentence]


_WINDOW = 240
"""Characters looked at for the last sentence, signs included."""

_LONGEST_STRONG = 200
_LONGEST_WEAK = 100
"""Characters of sentences. A longer one holds more than a notice: a page flattened to one line."""


_ADDRESS = re.compile("[\u4e00-\u9fff]{0,8}(?:https?)?[a-z0-9]{3,40}(?:com|cn|net|org|cc|la)")
"""An address of a site and what it is called, without signs (`手机版mexamplecom`)."""


def _weigh(sentence: str) -> int:
    if len(sentence) > _LONGEST_STRONG:
        return NONE
    if _either("strong").search(sentence) or (_IN_ALL.search(sentence) and _SAID_ANYHOW.search(sentence)):
        return STRONG
    if _ADDRESS.fullmatch(sentence):
        return WEAK
    is_weak = len(sentence) <= _LONGEST_WEAK and len(set(_either("weak").findall(sentence))) >= 2
    return WEAK if is_weak else NONE


@cache
def _phrases(weight: str) -> frozenset[str]:
    return frozenset(key(phrase) for phrase, w in load("boilerplate-notices") if w == weight)


@cache
def _either(weight: str) -> re.Pattern[str]:
    return re.compile(either(_phrases(weight)))
