"""Does the gate see others on the line, and never take what it cannot see for peace?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.budget import Contract
from balise_agent.gate import (
    EVERY_S,
    LOOK_S,
    RATIOS,
    STANDS_STILL_S,
    WRAP,
    Reading,
    Use,
    Watch,
    is_aborted,
    moved,
    presumed,
    threshold_bps,
)

BASE = Contract(down_bps=10e6, up_bps=10e6)
MBIT = 1e6


def played(watch: Watch, wan: list[float], own: list[float] | None = None, start: int = 0) -> None:
    """Readings ``EVERY_S`` apart, of rates in Mbit/s to the home; the box's counter starts at ``start``."""
    down = mine = 0.0
    watch.add(Reading(at_s=0.0, wan=(start % WRAP, 0)))
    for number, rate in enumerate(wan):
        down += rate * MBIT / 8 * EVERY_S
        mine += (own[number] if own else 0.0) * MBIT / 8 * EVERY_S
        at_s = (number + 1) * EVERY_S
        watch.add(Reading(at_s=at_s, wan=((start + round(down)) % WRAP, 0), own=(round(mine), 0)))


def looked(wan: list[float], own: list[float] | None = None, start: int = 0) -> Use | None:
    watch = Watch(contract=BASE)
    played(watch, wan, own, start)
    return watch.look()


@pytest.mark.parametrize(
    ("wan", "use"),
    [
        ([0.01] * 4, "idle"),
        ([0.49] * 4, "idle"),
        ([0.6] * 4, "busy"),
        ([0.0, 0.0, 0.0, 3.0], "busy"),
        ([0.01] * 3, None),
    ],
)
def test_before_a_test_two_seconds_tell(wan: list[float], use: Use | None) -> None:
    assert looked(wan) == use


def test_what_the_probe_itself_moves_is_not_others() -> None:
    assert looked([4.0] * 4, [3.9] * 4) == "idle"
    assert looked([4.0] * 4, [3.0] * 4) == "busy"


@given(st.integers(0, WRAP - 1))
def test_a_counter_that_wraps_changes_nothing(start: int) -> None:
    assert looked([0.3] * 4, start=start) == "idle"
    assert looked([0.6] * 4, start=start) == "busy"


def test_a_counter_that_stands_still_is_waited_for_and_then_says_nothing() -> None:
    still = [0.0] * int(STANDS_STILL_S / EVERY_S)
    watch = Watch(contract=BASE)
    played(watch, still)
    assert looked(still[:-1]) is None
    assert (watch.look(), watch.quality) == ("unknown", "stuck")


def test_a_counter_of_all_ones_is_stuck_at_once() -> None:
    watch = Watch(contract=BASE)
    for at_s in (0.0, LOOK_S):
        watch.add(Reading(at_s=at_s, wan=(WRAP - 1, at_s == LOOK_S)))
    assert (watch.look(), watch.quality) == ("unknown", "stuck")


def test_a_signed_counter_and_one_of_64_bits_count_too() -> None:
    assert moved(-(2**31), -(2**31) + 1000) == 1000
    assert moved(2**31 - 100, -(2**31) + 100) == 200
    assert moved(2**40, 2**40 + 5) == 5
    assert moved(2**40, 2**40 - 5) == 0


@given(st.integers(0, 20), st.sampled_from([0.6, 1.0, 5.0]))
def test_a_tenant_who_begins_on_a_full_line_is_seen_within_two_seconds_and_a_poll(quiet: int, tenant: float) -> None:
    watch = Watch(contract=BASE)
    own = [9.6] * (6 + quiet) + [9.6 - tenant] * 5
    seen = []
    down = mine = 0.0
    for number, rate in enumerate(own):
        watch.add(Reading(at_s=number * EVERY_S, wan=(round(down), 0), own=(round(mine), 0)))
        seen.append(watch.during())
        down += 9.6 * MBIT / 8 * EVERY_S
        mine += rate * MBIT / 8 * EVERY_S
    began = 6 + quiet
    assert seen[: began + 1] == ["idle"] * (began + 1)
    assert seen[began:].index("busy") * EVERY_S <= 2.0


def test_the_queue_of_an_upload_that_ends_is_nobody_else() -> None:
    """200 ms of a 10 Mbit/s line are still on their way out when the probe has sent its last."""
    watch = Watch(contract=BASE)
    sent = [9.6] * 8 + [0.0] * 3
    out = [9.6 - 4.0] + [9.6] * 7 + [4.0, 0.0, 0.0]
    wan = own = 0.0
    for number, (mine, rate) in enumerate(zip(sent, out, strict=True)):
        watch.add(Reading(at_s=number * EVERY_S, wan=(0, round(wan)), own=(0, round(own))))
        assert watch.during() == "idle"
        own, wan = own + mine * MBIT / 8 * EVERY_S, wan + rate * MBIT / 8 * EVERY_S


def test_a_counter_that_does_not_see_the_probes_own_test_lies_until_it_does() -> None:
    watch = Watch(contract=BASE)
    played(watch, [0.1] * 6, [9.0] * 6)
    assert (watch.during(), watch.quality) == ("unknown", "wrong")
    again = Watch(contract=BASE, quality=watch.quality)
    played(again, [0.1] * 4)
    assert again.look() == "unknown"
    played(again := Watch(contract=BASE, quality="wrong"), [9.1] * 6, [9.0] * 6)
    assert (again.during(), again.quality) == ("idle", "good")


def test_the_threshold_is_half_a_megabit_or_a_hundredth_and_slow_lines_are_freed_at_once() -> None:
    assert [threshold_bps(bps) for bps in (None, 10e6, 50e6, 300e6)] == [500_000, 500_000, 500_000, 3e6]
    lines = (Contract(), BASE, Contract(down_bps=300e6, up_bps=50e6), Contract(down_bps=300e6, up_bps=300e6))
    assert [is_aborted(line) for line in lines] == [True, True, True, False]


@pytest.mark.parametrize("takes_s", [0.0, 0.1, 0.3])
def test_a_box_that_takes_its_time_to_answer_hides_nobody_as_long_as_it_takes_as_long_each_time(takes_s: float) -> None:
    watch = Watch(contract=BASE, ratio=(1.0, 1.0))
    slack = round(9.6 * MBIT / 8 * takes_s / 2)
    wan = own = 0.0
    seen = []
    for number in range(16):
        mine = 9.6 if number < 8 else 9.0
        watch.add(Reading(at_s=number * EVERY_S, wan=(round(wan), 0), own=(round(own) + slack, 0), slack=(slack, 0)))
        seen.append(watch.during())
        wan, own = wan + 9.6 * MBIT / 8 * EVERY_S, own + mine * MBIT / 8 * EVERY_S
    assert seen[:9] == ["idle"] * 9
    assert "busy" in seen[9:13]


def test_a_box_that_answers_now_soon_and_now_late_makes_nobody_up() -> None:
    watch = Watch(contract=BASE, ratio=(1.0, 1.0))
    for number in range(20):
        late = 0.3 if number % 2 else 0.0  # the counter is read at the end of it, half of it later than is thought
        moved_ = 9.6 * MBIT / 8 * number * EVERY_S
        slack = round(9.6 * MBIT / 8 * late / 2)
        watch.add(
            Reading(at_s=number * EVERY_S, wan=(round(moved_) + slack, 0), own=(round(moved_), 0), slack=(slack, 0))
        )
        assert watch.during() == "idle"


def first_test(own_mbps: float, others_mbps: float, ratio: float) -> float | None:
    """Seconds until a watch that no test has taught sees others; None: it sees none in 8 s."""
    watch = Watch(contract=BASE)
    for number in range(17):
        at_s = number * EVERY_S
        own = own_mbps * MBIT / 8 * at_s
        watch.add(Reading(at_s=at_s, wan=(round(ratio * own + others_mbps * MBIT / 8 * at_s), 0), own=(round(own), 0)))
        if watch.during() == "busy":
            return at_s
    return None


def test_in_a_probes_first_test_a_call_is_seen_as_soon_as_in_its_second() -> None:
    assert first_test(8.8, 1.2, ratio=1.0) == 1.0
    assert first_test(9.2, 0.8, ratio=1.0) == 2.0


def test_other_headers_and_merged_packets_are_nobody_in_a_first_test() -> None:
    assert [first_test(9.6, 0.0, ratio=ratio) for ratio in (0.97, 1.0, 1.03, 1.05)] == [None] * 4


def test_what_is_presumed_of_a_way_out_leaves_the_threshold_room() -> None:
    for bps in (1e6, 10e6, 50e6, 300e6, 1e9):
        assert 1.0 <= presumed(bps) <= RATIOS[1]
        assert (RATIOS[1] - presumed(bps)) * bps < threshold_bps(bps)
    assert presumed(None) == RATIOS[1]
