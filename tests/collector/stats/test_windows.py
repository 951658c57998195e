"""Are windows and months those of the clock on the wall, also when it is changed?"""

from datetime import UTC, datetime

import pytest

from balise_collector.stats.windows import HOUR_MS, hours_within, month_at, month_bounds, windows_at


def utc_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("utc", "windows"),
    [
        ("2026-01-15T17:59", ["24h"]),  # winter: one hour ahead
        ("2026-01-15T18:00", ["24h", "pointe_19_23"]),
        ("2026-01-15T19:30", ["24h", "pointe_19_23", "pointe_20_22"]),
        ("2026-01-15T21:59", ["24h", "pointe_19_23"]),
        ("2026-01-15T22:00", ["24h"]),
        ("2026-07-15T17:00", ["24h", "pointe_19_23"]),  # summer: two
        ("2026-07-15T21:00", ["24h"]),
        ("2026-07-15T00:00", ["24h", "creux_02_06"]),
        ("2026-07-15T04:00", ["24h"]),
    ],
)
def test_a_moment_is_in_the_windows_that_the_wall_shows(utc: str, windows: list[str]) -> None:
    assert list(windows_at(utc_ms(utc))) == windows


def test_days_of_a_change_of_clock_have_23_and_25_hours() -> None:
    for start, end, day, night in (
        ("2026-03-28T23:00", "2026-03-29T22:00", 23, 3),
        ("2026-10-24T22:00", "2026-10-25T23:00", 25, 5),
    ):
        bounds = utc_ms(start), utc_ms(end)
        assert hours_within("24h", *bounds) == day
        assert hours_within("creux_02_06", *bounds) == night
        assert hours_within("pointe_19_23", *bounds) == 4


def test_a_month_begins_and_ends_at_midnight_in_paris() -> None:
    start, end = month_bounds(202603)
    assert (start, end) == (utc_ms("2026-02-28T23:00"), utc_ms("2026-03-31T22:00"))
    assert (end - start) // HOUR_MS == 31 * 24 - 1
    assert (month_at(start), month_at(end - 1), month_at(end)) == (202603, 202603, 202604)
    assert month_bounds(202612)[1] == month_bounds(202701)[0]
    with pytest.raises(ValueError, match="month"):
        month_bounds(202613)
