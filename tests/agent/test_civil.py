"""Does the clock on the wall show what the zone files say?"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent import civil

PARIS = ZoneInfo("Europe/Paris")
moments = st.integers(min_value=1_600_000_000, max_value=2_145_000_000)  # 2020 to 2037


@given(moments)
def test_it_shows_what_the_zone_files_say(utc_s: int) -> None:
    there = datetime.fromtimestamp(utc_s, PARIS)
    assert civil.offset_s(utc_s) == (there.utcoffset() or timedelta()).total_seconds()
    assert civil.day_of(utc_s) == there.date().toordinal() - 719_163
    assert civil.second_of(utc_s) == there.hour * 3600 + there.minute * 60 + there.second
    assert civil.month_of(civil.day_of(utc_s)) == f"{there:%Y-%m}"


@given(moments)
def test_a_moment_is_found_again_from_what_the_wall_shows(utc_s: int) -> None:
    again = civil.utc_of(civil.day_of(utc_s), civil.second_of(utc_s))
    assert utc_s - again in (0, 3600)
    assert civil.second_of(again) == civil.second_of(utc_s)


@pytest.mark.parametrize(("date", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-24", 24)])
def test_a_day_has_the_hours_that_the_change_leaves(date: str, hours: int) -> None:
    day = civil.day_from(date)
    assert civil.utc_of(day + 1, 0) - civil.utc_of(day, 0) == hours * 3600


def test_a_moment_that_is_left_out_is_the_change_itself() -> None:
    day = civil.day_from("2026-03-29")
    change_s = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()
    assert civil.utc_of(day, 2 * 3600) == civil.utc_of(day, 2.5 * 3600) == change_s


def test_a_week_begins_on_monday() -> None:
    sunday = civil.day_from("2026-11-22")
    assert civil.week_of(sunday) + 1 == civil.week_of(sunday + 1) == civil.week_of(sunday + 7)
