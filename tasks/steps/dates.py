"""Dates as they stand on pages, in Chinese and English, as ISO 8601."""

import re
from datetime import date

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
"""Pattern of an English month, in lower case as all patterns here: they are matched on folded lines."""

_NUMERAL = "〇零一二三四五六七八九"
_TENS = r"(?:[一二三]?十[一二三四五六七八九]?|[一二三四五六七八九])"
_DATE = (
    r"(?:(?<![\d.])(?P<year>(?:19|20)\d\d|民国\s?\d{2,3}|1[01]\d(?=[-/.年]\d\d?[-/.月]))"
    r"(?:\s?年\s?|[-/.])(?P<month>\d{1,2})(?:\s?月\s?|[-/.])(?P<day>\d{1,2})(?:\s?[日号]|(?!\.?\d))"
    rf"|\b(?P<month_a>{MONTH})\.?\s(?P<day_a>\d{{1,2}})(?:st|nd|rd|th)?,?\s{{1,2}}(?P<year_a>(?:19|20)\d\d)\b"
    rf"|\b(?P<day_b>\d{{1,2}})(?:st|nd|rd|th)?[\s-](?P<month_b>{MONTH})\.?,?[\s-](?P<year_b>(?:19|20)\d\d)\b"
    rf"|(?P<year_c>[一二][{_NUMERAL}o○0]{{3}})年(?P<month_c>{_TENS})月(?P<day_c>{_TENS})日"
    r"|(?<![\d.])(?P<first>\d{1,2})[-/](?P<second_of_two>\d{1,2})[-/](?P<year_d>(?:19|20)\d\d)(?!\d))"
)
_WEEKDAY = (
    r"(?:\s{0,3}\(?(?:(?:星期|周|礼拜)[一二三四五六日天]"
    r"|(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b)\)?,?)?"
)
_TIME = (
    r"(?:(?:t|,?\s{0,3}(?:at\s)?)(?P<half>上午|下午|晚上|凌晨|早上|中午|晚间)?\s?(?P<hour>\d{1,2})[:时点](?P<minute>\d\d)(?!\d)"
    r"(?:[:分](?P<second>\d\d)(?!\d)(?:\.\d{1,6})?秒?|分)?(?:\s?(?P<noon>[ap]\.?m\b\.?))?"
    r"(?:\s?\(?(?P<zone>z\b|(?:utc|gmt)?\s?[+-]\d{1,2}(?::?\d\d)?\b|utc\b|gmt\b|北京时间|cst\b|hkt\b)\)?)?)?"
)
DATETIME = re.compile(_DATE + _WEEKDAY + _TIME)
"""A date, perhaps with weekday, time and zone, in a folded line (`tasks.steps.lines.fold`)."""

_ZONES = {"z": "+00:00", "utc": "+00:00", "gmt": "+00:00", "北京时间": "+08:00", "hkt": "+08:00", "cst": ""}
_AFTERNOON = ("下午", "晚上", "晚间", "中午", "p")


def iso_datetime(match: re.Match[str]) -> str | None:
    """ISO 8601 of what `DATETIME` matched; None where there is no such day or hour, empty where it is not sure which.

    A date without a time gives a date. A time without a zone is local time as written: none is made up (`CST` alone
    is four zones). Years of the Republic (112 = 2023) are converted.
    """
    g = match.groupdict()
    parts = _day(g)
    if parts is None:
        return ""
    year, month, day = parts
    try:
        value = date(year if year >= 1900 else year + 1911, month, day).isoformat()
    except ValueError:
        return None
    return value if g["hour"] is None else _with_time(value, g)


def _day(g: dict[str, str | None]) -> tuple[int, int, int] | None:
    """Year, month and day as they were matched; None where day and month cannot be told apart (`03/05/2021`)."""
    if g["year_d"]:
        first, second = int(g["first"] or 0), int(g["second_of_two"] or 0)
        if max(first, second) <= 12 and first != second:
            return None
        return int(g["year_d"]), min(first, second) if max(first, second) > 12 else first, max(first, second)
    if g["year_c"]:
        year = int("".join(_digit(char) for char in g["year_c"]))
        return year, _number(g["month_c"] or ""), _number(g["day_c"] or "")
    year = int(re.sub(r"\D", "", g["year"] or g["year_a"] or g["year_b"] or ""))
    month = int(g["month"]) if g["month"] else 1 + _MONTHS.index((g["month_a"] or g["month_b"] or "")[:3])
    return year, month, int(g["day"] or g["day_a"] or g["day_b"] or 0)


def _digit(char: str) -> str:
    return str(max(0, _NUMERAL.find(char) - 1))  # the first two, and `○`, stand for nought


def _number(written: str) -> int:
    """Up to thirty-nine, in Chinese numerals."""
    tens, ten, ones = written.rpartition("十")
    return (int(_digit(tens)) if tens else 1 if ten else 0) * 10 + (int(_digit(ones)) if ones else 0)


def _with_time(day: str, g: dict[str, str | None]) -> str | None:
    hour, minute, second = int(g["hour"] or 0), int(g["minute"] or 0), g["second"]
    half = g["half"] or g["noon"] or ""
    if half.startswith(_AFTERNOON) and 1 <= hour < 12:
        hour += 12
    elif half.startswith(("a", "凌晨")) and hour == 12:
        hour = 0
    if hour > 23 or minute > 59 or (second and int(second) > 59):
        return None
    return f"{day}T{hour:02}:{minute:02}" + (f":{second}" if second else "") + _zone(g["zone"])


def _zone(zone: str | None) -> str:
    if not zone or zone in _ZONES:
        return _ZONES.get(zone or "", "")
    found = re.search(r"([+-])(\d\d?)(?::?(\d\d))?", zone)
    return f"{found[1]}{int(found[2]):02}:{found[3] or '00'}" if found else ""
