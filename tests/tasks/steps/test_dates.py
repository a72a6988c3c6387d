"""Dates as they stand on pages, as ISO 8601."""

import pytest

from tasks.steps.dates import DATETIME, iso_datetime
from tasks.steps.lines import fold


def read(text: str) -> str | None:
    match = DATETIME.search(fold(text))
    return iso_datetime(match) if match else None


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("2023-06-24 19:04:19", "2023-06-24T19:04:19"),
        ("2023年6月24日 10:00", "2023-06-24T10:00"),
        ("２０２３年０６月２４日０８：１５", "2023-06-24T08:15"),
        ("2023/06/24", "2023-06-24"),
        ("2023.6.4", "2023-06-04"),
        ("2023年6月24日 星期六 下午3:05", "2023-06-24T15:05"),
        ("2023年6月24日 上午10点05分", "2023-06-24T10:05"),
        ("民國112年6月24日", "2023-06-24"),
        ("112-06-24", "2023-06-24"),
        ("March 24, 2016", "2016-03-24"),
        ("24 March 2016", "2016-03-24"),
        ("Mar. 3rd, 2016 at 5:07 PM", "2016-03-03T17:07"),
        ("2016-03-24 12:30 am", "2016-03-24T00:30"),
        ("2016-03-24T10:22:05+08:00", "2016-03-24T10:22:05+08:00"),
        ("2016-03-24T10:22:05Z", "2016-03-24T10:22:05+00:00"),
        ("2016-03-24 10:22 (GMT+8)", "2016-03-24T10:22+08:00"),
        ("2016-03-24 10:22 北京时间", "2016-03-24T10:22+08:00"),
        ("二〇二三年六月二十四日", "2023-06-24"),
        ("二○一○年十月十日 10:20", "2010-10-10T10:20"),
        ("06-24-2023", "2023-06-24"),
        ("24/06/2023", "2023-06-24"),
        ("03/05/2023", ""),  # March or May: not sure, so no date
    ],
)
def test_reads(written: str, iso: str) -> None:
    assert read(written) == iso


@pytest.mark.parametrize(
    "written", ["2023-02-30", "2023-13-01", "2023-06-24 25:00", "1.2023-06", "12023-06-24", "2023年"]
)
def test_what_is_no_date_is_none(written: str) -> None:
    assert read(written) is None


def test_makes_no_zone_up() -> None:
    assert read("2016-03-24 10:22 CST") == "2016-03-24T10:22"
