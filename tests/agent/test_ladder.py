"""Is what the rungs met read as the place where the line breaks, and how fast is each rung asked?"""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.ladder import FAST_FOR_MS, TABLE, Evidence, Ladder, Place, place
from balise_agent.ladder_rung import LOST_IN_A_ROW, MOST_IN_A_ROW, Rung, kind_of

ALL = ("gw", "isp1", "op", "any1", "any2", "dns", "web")
SECOND = 1_000


def watched(ladder: Ladder, labels: tuple[str, ...], from_ms: int, seconds: int, silent: tuple[str, ...] = ()) -> int:
    """Each label is asked each second from there on, those of ``silent`` in vain; the moment after."""
    for ms in range(from_ms, from_ms + seconds * SECOND, SECOND):
        for label in labels:
            if label in silent:
                ladder.late(label, ms, ms + 900)
                ladder.lost(label, ms)
            else:
                ladder.answered(label, ms)
    return from_ms + seconds * SECOND


def healthy(labels: tuple[str, ...] = ALL) -> tuple[Ladder, int]:
    ladder = Ladder()
    return ladder, watched(ladder, labels, 0, 20)


HEALTHY = Evidence(link=True, gateway=True, isp=True, operator=True, anycast=True, outside=True, dns=True, web=True)


@pytest.mark.parametrize(
    ("evidence", "found"),
    [
        (HEALTHY, None),
        (Evidence(), None),
        # lan.link: whatever the rest says, it was asked over a link that is not there
        (Evidence(link=False, gateway=False, outside=False), "lan.link"),
        (Evidence(link=False, outside=True), "lan.link"),
        # home.box_or_lan
        (Evidence(gateway=False, isp=False, operator=False, anycast=False, outside=False), "home.box_or_lan"),
        (Evidence(gateway=False, outside=False), "home.box_or_lan"),
        # access.wan
        (Evidence(gateway=True, no_way=True, isp=False, outside=False), "access.wan"),
        (Evidence(gateway=True, no_way=True, outside=False), "access.wan"),
        # access.line
        (Evidence(gateway=True, isp=False, operator=False, anycast=False, outside=False), "access.line"),
        # operator.core: the first hop answers, so box and line work, even where the box answers no echo
        (Evidence(gateway=True, isp=True, operator=False, anycast=False, outside=False), "operator.core"),
        (Evidence(gateway=False, isp=True, outside=False), "operator.core"),
        (Evidence(gateway=True, no_way=True, isp=True, outside=False), "operator.core"),
        # unplaced: down, and the rung that would tell is not there or not decided
        (Evidence(outside=False), "unplaced"),
        (Evidence(gateway=True, outside=False), "unplaced"),
        (Evidence(isp=False, outside=False), "unplaced"),
        # upstream
        (Evidence(gateway=True, isp=True, operator=True, anycast=False, outside=True), "upstream"),
        (Evidence(operator=True, anycast=False, outside=True, dns=False), "upstream"),
        (Evidence(operator=True, anycast=False, outside=True, web=True), None),
        # dns
        (Evidence(operator=True, anycast=True, outside=True, dns=False), "dns"),
        (Evidence(operator=False, anycast=True, outside=True, dns=False), "dns"),
        # operator.server
        (Evidence(isp=True, operator=False, anycast=True, outside=True, dns=True), "operator.server"),
        (Evidence(operator=False, anycast=False, outside=True, web=True), "operator.server"),
        (Evidence(operator=False, anycast=None, outside=None), None),
    ],
)
def test_the_first_row_that_fits_is_the_place(evidence: Evidence, found: Place | None) -> None:
    assert place(evidence) == found


def test_each_row_of_the_table_is_reached_by_what_it_names_alone() -> None:
    for name, row in TABLE:
        given = {key: value for key, value in row.items() if key != "internet"}
        anycast = {"anycast": row["internet"]} if "internet" in row else {}
        assert place(Evidence(**given, **anycast)) == name


@pytest.mark.parametrize(
    ("silent", "found"),
    [
        (("gw", "isp1", "op", "any1", "any2", "dns", "web"), "home.box_or_lan"),
        (("isp1", "op", "any1", "any2", "dns", "web"), "access.line"),
        (("op", "any1", "any2", "dns", "web"), "operator.core"),
        (("any1", "any2", "web"), "upstream"),
        (("dns", "web"), "dns"),
        (("op",), "operator.server"),
        (("any1",), None),
        (("web",), None),
        (("isp1", "gw"), None),
    ],
)
def test_three_silent_echoes_in_a_row_place_the_fault(silent: tuple[str, ...], found: Place | None) -> None:
    ladder, start_ms = healthy()
    now_ms = watched(ladder, ALL, start_ms, LOST_IN_A_ROW - 1, silent)
    assert ladder.reading(now_ms).place is None
    now_ms = watched(ladder, ALL, now_ms, 1, silent)
    reading = ladder.reading(now_ms)
    assert (reading.place, reading.state) == (found, "down" if found else "up")
    if found:
        assert reading.since_ms == start_ms


def test_the_first_answer_from_outside_ends_it_and_forgets_the_other_silences() -> None:
    ladder, start_ms = healthy()
    now_ms = watched(ladder, ALL, start_ms, 10, ALL[1:])
    ladder.answered("any2", now_ms)
    reading = ladder.reading(now_ms + 20)
    assert (reading.state, reading.since_ms) == ("up", now_ms)


def test_a_rung_that_never_answered_says_nothing() -> None:
    ladder = Ladder()
    now_ms = watched(ladder, ALL, 0, 30, ("any1", "any2", "isp1", "dns"))
    assert ladder.reading(now_ms).state == "up"
    now_ms = watched(ladder, ALL, now_ms, 5, ("any1", "any2", "isp1", "dns", "op", "web"))
    assert ladder.reading(now_ms).place == "unplaced"


def test_a_ladder_that_never_had_an_answer_is_unsure_and_one_of_a_later_agent_is_down() -> None:
    first, second = Ladder(), Ladder(answered_ever=healthy()[0].answered_ever)
    for ladder, state in ((first, "unsure"), (second, "down")):
        assert ladder.reading(watched(ladder, ALL, 0, 5, ALL[1:])).state == state


@pytest.mark.parametrize(("took_ms", "found"), [(3, "access.wan"), (2_900, "access.line")])
def test_a_gateway_that_refuses_a_host_at_once_has_no_route_and_one_that_refuses_late_a_silent_peer(
    took_ms: int, found: Place
) -> None:
    ladder, start_ms = healthy()
    now_ms = watched(ladder, ALL, start_ms, 3, ALL[1:])
    for label in ("op", "any1", "op"):
        ladder.refused_by_gateway(label, took_ms, no_network=False)
    assert ladder.reading(now_ms).place == found


@pytest.mark.parametrize("took_ms", [3, 2_900])
def test_one_word_of_no_network_is_enough_for_errors_are_rationed(took_ms: int) -> None:
    ladder, start_ms = healthy()
    now_ms = watched(ladder, ALL, start_ms, 3, ALL[1:])
    ladder.refused_by_gateway("op", took_ms, no_network=True)
    assert ladder.reading(now_ms).place == "access.wan"
    ladder.answered("any1", now_ms)
    now_ms = watched(ladder, ALL, now_ms, 3, ALL[1:])
    assert ladder.reading(now_ms).place == "access.line"  # what was said before the answer is over


@pytest.mark.parametrize(
    ("answered_before_the_cut", "silent", "found"),
    [
        (("any1", "any2", "isp1", "gw", "dns"), ALL[1:], "access.line"),
        (("any1",), ALL[1:], "access.line"),
        (("isp1", "gw"), ALL[1:], "access.line"),
        (("gw",), ALL, "home.box_or_lan"),
        (("isp1", "any1", "gw"), ALL, "home.box_or_lan"),
        (("any1", "any2"), ALL[2:], "operator.core"),
    ],
)
def test_a_cut_between_two_answers_of_one_moment_is_never_blamed_on_the_slower_server(
    answered_before_the_cut: tuple[str, ...], silent: tuple[str, ...], found: Place
) -> None:
    """All rungs are asked in one moment; the cut came when the kernels had answered and the STAMP server had not."""
    ladder, now_ms = healthy()
    ladder.late("op", now_ms, now_ms + 1_000)
    for label in answered_before_the_cut:
        ladder.answered(label, now_ms)
    ladder.lost("op", now_ms)
    seen = []
    for ms in range(now_ms + SECOND, now_ms + 4 * SECOND, SECOND):
        for label in ("op", *(label for label in ALL if label != "op")):
            if label in silent:
                ladder.late(label, ms, ms + 1_000)
                ladder.lost(label, ms)
            else:
                ladder.answered(label, ms)
            seen.append(ladder.reading(ms + 1_000).place)
    assert next(one for one in seen if one not in (None, "unplaced")) == found, seen


@pytest.mark.parametrize(("alive", "found"), [(True, "access.line"), (False, "home.box_or_lan"), (None, "unplaced")])
def test_of_a_gateway_that_answers_no_echo_the_neighbour_table_tells(alive: bool | None, found: Place) -> None:
    ladder = Ladder()
    now_ms = watched(ladder, ALL, 0, 20, ("gw",))
    ladder.neighbour(alive)
    now_ms = watched(ladder, ALL, now_ms, 3, ALL)
    assert ladder.reading(now_ms).place == found


def test_a_gateway_that_answers_echoes_is_judged_by_them_alone() -> None:
    ladder, now_ms = healthy()
    ladder.neighbour(True)
    assert ladder.reading(watched(ladder, ALL, now_ms, 3, ALL)).place == "home.box_or_lan"


def test_a_lost_carrier_is_told_at_once_and_its_return_ends_nothing() -> None:
    ladder, now_ms = healthy()
    ladder.link(False, now_ms)
    reading = ladder.reading(now_ms)
    assert (reading.place, reading.since_ms) == ("lan.link", now_ms)
    ladder.link(True, now_ms + 5_000)
    assert ladder.reading(now_ms + 5_000).state == "unsure"
    ladder.answered("op", now_ms + 6_000)
    assert ladder.reading(now_ms + 6_000).state == "up"


def test_a_probe_that_cannot_send_has_no_link() -> None:
    ladder, now_ms = healthy()
    for label in ("op", "any1", "any2"):
        ladder.late(label, now_ms, now_ms)
        ladder.lost(label, now_ms, no_route=True)
    assert ladder.reading(now_ms).place == "lan.link"


def test_a_family_without_a_route_is_no_fault() -> None:
    ladder = Ladder()
    for ms in range(0, 20 * SECOND, SECOND):
        ladder.answered("op", ms)
        ladder.late("any2", ms, ms)
        ladder.lost("any2", ms, no_route=True)
    assert ladder.reading(20 * SECOND).state == "up"


def limited(ladder: Ladder, from_ms: int, seconds: int, every: int) -> int:
    """A line of which the first hop answers one echo of so many."""
    for n, ms in enumerate(range(from_ms, from_ms + seconds * SECOND, SECOND)):
        silent = () if n % every == 0 else ("isp1",)
        watched(ladder, ("gw", "isp1", "op", "any1"), ms, 1, silent)
    return from_ms + seconds * SECOND


def test_a_hop_that_limits_its_answers_is_not_silent_after_three_and_makes_no_haste() -> None:
    ladder = Ladder()
    now_ms = limited(ladder, 0, 60, every=4)
    assert not ladder.is_fast("isp1", now_ms + FAST_FOR_MS)
    silent = ("isp1", "op", "any1")
    now_ms = watched(ladder, ("gw", "isp1", "op", "any1"), now_ms, 4, silent)
    assert ladder.reading(now_ms).place == "unplaced"
    now_ms = watched(ladder, ("gw", "isp1", "op", "any1"), now_ms, MOST_IN_A_ROW, silent)
    assert ladder.reading(now_ms).place == "access.line"


def test_a_hop_that_limits_its_answers_still_shows_that_the_core_is_at_fault() -> None:
    ladder = Ladder()
    now_ms = limited(ladder, 0, 60, every=4)
    seen = set()
    for n in range(30):
        silent = ("op", "any1") if n % 4 == 0 else ("isp1", "op", "any1")
        now_ms = watched(ladder, ("gw", "isp1", "op", "any1"), now_ms, 1, silent)
        seen.add(ladder.reading(now_ms).place)
    assert seen == {None, "unplaced", "operator.core"} or seen == {None, "operator.core"}


def test_three_overdue_echoes_of_one_external_rung_put_every_rung_at_one_hertz() -> None:
    ladder, now_ms = healthy()
    for n in range(LOST_IN_A_ROW):
        assert not ladder.is_fast("gw", now_ms)
        ladder.late("op", now_ms + n, now_ms + n)
    assert all(ladder.is_fast(label, now_ms + 2) for label in ALL)
    assert not ladder.is_fast("gw", now_ms + 2 + FAST_FOR_MS)


def test_a_rung_s_first_overdue_echo_puts_that_rung_alone_at_one_hertz() -> None:
    ladder, now_ms = healthy()
    ladder.late("any1", now_ms, now_ms)
    assert [label for label in ALL if ladder.is_fast(label, now_ms)] == ["any1"]
    for n in range(1, 4):
        ladder.answered("any1", now_ms + n)
    assert not ladder.is_fast("any1", now_ms + 4)


def test_a_late_answer_is_no_loss() -> None:
    ladder, now_ms = healthy()
    ladder.late("op", now_ms, now_ms + 1_000)
    assert ladder.reading(now_ms + 1_000).state == "unsure"
    ladder.answered("op", now_ms)
    assert ladder.reading(now_ms + 1_500).state == "up"


def test_the_order_in_which_fates_become_known_changes_nothing() -> None:
    """Four echoes of one moment each: two lost after two answered, told in any order."""
    found = set()
    for order in permutations(range(4)):
        ladder, now_ms = healthy(("op",))
        for n in order:
            sent_ms = now_ms + n * SECOND
            if n < 2:
                ladder.answered("op", sent_ms)
            else:
                ladder.late("op", sent_ms, sent_ms)
                ladder.lost("op", sent_ms)
        found.add((ladder.reading(now_ms + 9_000).state, ladder._rungs["op"].lost))
    assert found == {("unsure", 2)}


def test_after_a_pause_nothing_is_known() -> None:
    ladder, now_ms = healthy()
    now_ms = watched(ladder, ALL, now_ms, 5, ALL[1:])
    ladder.reset(now_ms)
    assert ladder.reading(now_ms).state == "unsure"


@pytest.mark.parametrize(
    ("label", "kind"),
    [("gw", "gateway"), ("isp1", "isp"), ("op", "operator"), ("op2", "operator"), ("any6", "anycast"), ("box", None)],
)
def test_a_label_says_which_rung_it_is(label: str, kind: str | None) -> None:
    assert kind_of(label) == kind


@given(st.integers(0, (1 << 32) - 1))
def test_the_fewer_echoes_a_hop_answers_the_more_of_them_must_be_lost(history: int) -> None:
    rungs = [Rung(kind="isp", answered_ever=True, history=history & ((1 << n) - 1), asked=32) for n in range(33)]
    by_share = sorted(rungs, key=Rung.share)
    enough = [found for rung in by_share if (found := rung.enough()) is not None]
    assert all(a >= b for a, b in pairwise(enough))
    assert all(LOST_IN_A_ROW <= n <= MOST_IN_A_ROW for n in enough)


@given(
    st.lists(
        st.tuples(st.sampled_from(ALL), st.sampled_from(("ok", "late", "lost")), st.integers(0, 5_000)), max_size=60
    )
)
def test_whatever_happens_a_reading_is_one(events: list[tuple[str, str, int]]) -> None:
    ladder = Ladder(answered_ever=("op", "any1"))
    now_ms = 0
    for label, what, step_ms in events:
        now_ms += step_ms
        if what == "ok":
            ladder.answered(label, now_ms)
        elif what == "late":
            ladder.late(label, now_ms, now_ms)
        else:
            ladder.lost(label, now_ms)
        reading = ladder.reading(now_ms)
        assert reading.since_ms <= now_ms
        assert (reading.state == "down") == (reading.place is not None)


def test_a_gateway_that_always_refused_a_rung_says_nothing_by_it() -> None:
    ladder = Ladder()
    now_ms = watched(ladder, ALL, 0, 10, ("any2",))
    for _ in range(9):
        ladder.refused_by_gateway("any2", 1, no_network=True)
    now_ms = watched(ladder, ALL, now_ms, 3, ALL[1:])
    assert ladder.reading(now_ms).place == "access.line"


def test_an_echo_that_was_lost_before_the_line_came_back_is_not_held_against_it() -> None:
    ladder, now_ms = healthy()
    now_ms = watched(ladder, ALL, now_ms, 5, ALL[1:])
    ladder.answered("op", now_ms)
    for n in range(1, 4):
        for label in ("any1", "any2"):
            ladder.late(label, now_ms - n, now_ms)
            ladder.lost(label, now_ms - n)
    assert ladder.reading(now_ms + 1).state == "up"


@pytest.mark.parametrize("silent", [("dns",), ("any1", "any2"), ("op",), ("isp1", "op", "any1", "any2")])
def test_a_silence_of_an_hour_is_still_one(silent: tuple[str, ...]) -> None:
    ladder, now_ms = healthy(("gw", "isp1", "op", "any1", "any2", "dns"))
    labels = ("gw", "isp1", "op", "any1", "any2", "dns")
    now_ms = watched(ladder, labels, now_ms, 3, silent)
    found = ladder.reading(now_ms)
    now_ms = watched(ladder, labels, now_ms, 3_600, silent)
    assert ladder.reading(now_ms).place == found.place is not None
    assert ladder.reading(now_ms).since_ms == found.since_ms


def test_a_silence_is_judged_by_what_was_before_it() -> None:
    ladder = Ladder()
    now_ms = watched(ladder, ("gw", "isp1", "op", "any1"), 0, 9)
    now_ms = watched(ladder, ("gw", "isp1", "op", "any1"), now_ms, 3, ("isp1", "op", "any1"))
    assert ladder.reading(now_ms).place == "access.line"


def test_a_gateway_that_stopped_answering_echoes_for_good_is_judged_by_its_neighbour_entry() -> None:
    ladder, now_ms = healthy()
    now_ms = watched(ladder, ALL, now_ms, 100, ("gw",))
    ladder.neighbour(True)
    assert ladder.reading(watched(ladder, ALL, now_ms, 3, ALL)).place == "access.line"
