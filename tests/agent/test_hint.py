"""Do round trips hint at an idle line only where there is reason to?"""

from __future__ import annotations

import random

import pytest

from balise_agent.probes.hint import HOUR_MS, Hint

STEP_MS = 1_500


def fed(hint: Hint, start_ms: int, end_ms: int, rtt_us: int, rng: random.Random) -> int:
    at_ms = start_ms
    while at_ms < end_ms:
        hint.answered(at_ms, rtt_us + rng.randrange(1_000))
        at_ms += STEP_MS
    return at_ms


@pytest.mark.parametrize(("now_us", "idle"), [(10_000, True), (12_000, True), (14_500, False), (60_000, False)])
def test_round_trips_as_short_as_at_night_hint_at_an_idle_line(now_us: int, idle: bool) -> None:
    hint, rng = Hint(), random.Random(1)
    at_ms = fed(hint, 0, 2 * HOUR_MS, 10_000, rng)
    at_ms = fed(hint, at_ms, at_ms + 12_000, now_us, rng)
    assert hint.is_idle(at_ms) is idle


def test_one_loss_in_ten_seconds_is_no_idle_line() -> None:
    hint, rng = Hint(), random.Random(1)
    at_ms = fed(hint, 0, 2 * HOUR_MS, 10_000, rng)
    assert hint.is_idle(at_ms)
    hint.lost(at_ms)
    assert not hint.is_idle(at_ms + 500)


def test_less_than_an_hour_says_nothing_and_silence_neither() -> None:
    hint, rng = Hint(), random.Random(1)
    at_ms = fed(hint, 0, HOUR_MS - 60_000, 10_000, rng)
    assert not hint.is_idle(at_ms)
    at_ms = fed(hint, at_ms, 2 * HOUR_MS, 10_000, rng)
    assert hint.is_idle(at_ms)
    assert not hint.is_idle(at_ms + 20_000)


def test_what_was_a_day_ago_is_forgotten() -> None:
    hint, rng = Hint(), random.Random(1)
    at_ms = fed(hint, 0, HOUR_MS, 1_000, rng)
    at_ms = fed(hint, at_ms, 26 * HOUR_MS, 10_000, rng)
    assert hint.is_idle(at_ms)
