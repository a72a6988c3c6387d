"""Names beside a date, without a label: of people, and of outlets and offices. Told by their form, on folded lines."""

import re

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹"
    "孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚"
    "符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷"
    "晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝"
)
"""The 300 commonest surnames of China (Ministry of Public Security, reports on names), folded to Simplified."""
_DOUBLE = "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|司徒|夏侯|长孙|端木|南宫|澹台"
_PERSON = re.compile(rf"(?:(?:{_DOUBLE})[\u4e00-\u9fff]{{1,2}}|[{_SURNAMES}][\u4e00-\u9fff]{{1,2}})")
_NO_NAME = re.compile(r".*(?:[的了是在不有]|新闻|会议|公司|中心|文件|通知|时间|国际|国内|社会|文章|资讯)")
"""Characters and words that no name has, but phrases that begin with a surname do (`高速公路`, `文件`, `江西新闻`)."""

_OFFICE = (
    r"网|网站|报|报社|社|台|电视台|电台|刊|杂志|周刊|月刊|频道|新闻|资讯|在线|客户端|公众号|头条|财经|观察|观察者|传媒|媒体|日报|晚报|时报|早报|快报|商报|视频|卫视"
    r"|部|处|局|厅|委|委员会|办|办公室|办公厅|院|研究院|学院|大学|学校|中学|小学|医院|法院|检察院|中心|公司|集团|协会|学会|联合会|商会|政府|人民政府|研究所|工作室|出版社|银行|论坛|博客"
)
_OUTLET = re.compile(
    rf"(?:[\w·《》“”&-]{{1,16}}?(?:{_OFFICE})(?:-[\w·]{{2,15}})?|《\w{{2,12}}》|(?:新浪|搜狐|网易|腾讯|凤凰)\w{{0,6}}|央视|财联社)"
)
_PHRASE = re.compile(
    r"[,。:!?;、]|[了是将被把].{2}|^(?:在|关于|如何|为什么|与|和|我|他)|召开|举行|举办|发布|开展|启动|推进|加强"
)
"""Signs and words of headlines, which may end like an office (`市长调研市医院`)."""


_SURE = re.compile(
    r"[\w·&]{2,12}?(?:新闻网|日报|晚报|时报|早报|快报|商报|周报|都市报|电视台|广播电台|客户端|公众号|通讯社|新华社|融媒体|融媒体中心|传媒|出版社|宣传部|办公室|委员会|人民政府"
    r"|资讯网|信息网|日报网|在线|财经)(?:-[\w·]{2,15})?"
)


def is_outlet_alone(text: str) -> bool:
    """The same for a line of its own, where a heading may end like an office (`全球布局`, `…条例出台`)."""
    return len(text) <= 14 and bool(_SURE.fullmatch(text)) and is_outlet(text)


def is_person(text: str) -> bool:
    """Whether a folded text looks like the name of a Chinese person."""
    return bool(_PERSON.fullmatch(text)) and not _NO_NAME.match(text)


def is_outlet(text: str) -> bool:
    """Whether a folded text looks like the name of an outlet or an office."""
    return len(text) <= 24 and bool(_OUTLET.fullmatch(text)) and not _PHRASE.search(text)
