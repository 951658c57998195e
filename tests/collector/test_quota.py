"""Is an abuser told from an honest probe, and is what was decided kept and carried out?"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.outbox import MAX_AGE_MS, MAX_BYTES
from balise_agent.uplink import WINDOW
from balise_collector.broker import files as broker_files
from balise_collector.fleet import CutOffs, FleetError, Guard, by_probe, load_settings
from balise_collector.fleet.quota import DAY_S, SHORT_S, Meter, Quotas, Sent, read_quotas
from balise_collector.ingest import PILE
from balise_collector.intake import LINGER_S, MARK

P, Q = "probe001", "probe002"
MINUTE_S, DAY_MINUTES = 60, 1_440
NONE = Sent(0, 0, 0)
FASTEST_PER_S = WINDOW / LINGER_S
"""What the window permits to the best of lines: ten messages, and the next ten once these are committed."""


@dataclass
class Bench:
    """A meter that looks each second at what probes send."""

    quotas: Quotas = field(default_factory=Quotas)
    meter: Meter = field(default_factory=Meter)
    total: dict[str, Sent] = field(default_factory=dict)
    now_s: float = 1_000.0
    found: dict[str, str] = field(default_factory=dict)

    def second(self, *, steps: int = 1, step_s: float = 1.0, **sent: tuple[int, ...]) -> dict[str, str]:
        """Each probe sends so many messages, bytes, unreadable ones and ones beyond its window in each step; who was
        over in the last one."""
        for _ in range(steps):
            self.now_s += step_s
            for probe, more in sent.items():
                before = self.total.get(probe, NONE)
                self.total[probe] = Sent(*(a + b for a, b in zip_longest(before, more, fillvalue=0)))
            over = self.meter.over(self.total, self.quotas, self.now_s)
            self.found = over | self.found
        return over


@pytest.mark.parametrize(
    ("what", "messages", "size", "refused", "per_s"),
    [
        ("a day offline, as fast as acks come", DAY_MINUTES, 1_000, 0, FASTEST_PER_S),
        ("90 days offline in three retention classes, as fast as acks come", 388_800, 600, 0, FASTEST_PER_S),
        ("a full outbox of large messages, as fast as acks come", MAX_BYTES // 12_000, 12_000, 0, FASTEST_PER_S),
        ("one message a second for a day, as a demo", 86_400, 5_000, 0, 1),
        ("a day offline, all of it refused by an older collector", DAY_MINUTES, 1_000, DAY_MINUTES, FASTEST_PER_S),
        ("a week of refused minutes", 10_080, 1_000, 10_080, 1 / 60),
        ("a session a second, presence and window each time", 86_400 * 3, 400, 0, 3),
    ],
)
def test_an_honest_probe_is_never_over(what: str, messages: int, size: int, refused: int, per_s: float) -> None:
    bench, left = Bench(), messages
    step_s = max(1.0, 1 / per_s)
    while left > 0:
        now = min(left, max(1, round(per_s * step_s)))
        share = round(refused * now / messages)
        assert bench.second(step_s=step_s, probe001=(now, now * size, share)) == {}, what
        left -= now


@pytest.mark.parametrize(
    ("what", "a_second", "within_s", "why"),
    [
        ("10,000 messages a second", (10_000, 100_000, 0), 2, "messages in 10 s"),
        ("five times as fast as acks come", (2_500, 2_500_000, 0), 8, "messages in 10 s"),
        ("messages as large as the broker takes", (80, 80 * 262_144, 0), 6, "bytes in 10 s"),
        ("zip bombs, as many as are read", (600, 600_000, 600), 6, "unreadable messages in 10 s"),
        (
            "a flood of which a slow collector takes 300 a second",
            (300, 300_000, 0, 250),
            9,
            "beyond its window in 10 s",
        ),
        ("half as fast as that, for ever", (900, 900_000, 0), 600, "messages in a day"),
        ("a good line's worth of bytes, for ever", (50, 5_000_000, 0), 120, "bytes in a day"),
        ("one unreadable message a second, for ever", (1, 100, 1), 30_000, "unreadable messages in a day"),
    ],
)
def test_an_abuser_is_over_soon(what: str, a_second: tuple[int, ...], within_s: int, why: str) -> None:
    bench = Bench()
    while not bench.found and bench.now_s < 1_000 + within_s:
        bench.second(probe001=a_second, probe002=(10, 10_000, 0))
    assert list(bench.found) == [P], what
    assert why in bench.found[P]


def test_the_reason_says_how_much_and_how_much_is_allowed() -> None:
    bench = Bench()
    assert bench.second(probe001=(12_345, 0, 0)) == {P: "12,345 messages in 10 s, 10,000 are allowed"}


def test_what_the_broker_kept_is_nobodys_haste_but_only_until_it_is_taken() -> None:
    """A collector that was away for three days finds 86,400 repetitions of ten messages, of one honest probe."""
    bench = Bench()
    bench.meter.resumed(bench.now_s)
    bench.second(steps=10, probe001=(8_640, 8_640_000, 0, 8_000))
    assert bench.found == {}
    bench.second(steps=3, probe001=(1, 400, 0))  # it is taken
    bench.second(steps=2, probe001=(8_640, 8_640_000, 0))
    assert list(bench.found) == [P]


def test_a_flood_in_the_moment_of_a_restart_has_the_queue_s_worth_and_no_more() -> None:
    bench = Bench()
    bench.meter.resumed(bench.now_s)
    bench.second(steps=13, probe001=(10_000, 1_000_000, 0))
    assert list(bench.found) == [P]


def test_after_two_minutes_a_steady_flow_counts_again() -> None:
    bench = Bench()
    bench.meter.resumed(bench.now_s)
    bench.second(steps=121, probe001=(500, 1_000, 0), probe002=(500, 1_000, 0))
    assert bench.found == {}
    bench.second(steps=2, probe001=(20_000, 1_000, 0))
    assert list(bench.found) == [P]


def test_one_that_was_let_back_begins_anew() -> None:
    bench = Bench()
    assert bench.second(probe001=(20_000, 0, 0))
    assert bench.second(probe001=(1, 0, 0))
    bench.meter.forget(P)
    assert not bench.second(probe001=(1_000, 0, 0))


def test_a_probe_that_sends_nothing_more_is_not_over_again() -> None:
    bench = Bench()
    assert bench.second(probe001=(20_000, 0, 0))
    assert not bench.second()


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_an_amount_in_a_span_is_never_over_however_it_is_spread(amounts: list[int], rng: random.Random) -> None:
    bench, quotas = Bench(), Quotas()
    for amount in amounts:
        cuts = sorted(rng.randint(0, amount) for _ in range(3))
        parts = [b - a for a, b in zip([0, *cuts], [*cuts, amount], strict=True)]
        times = sorted(rng.uniform(0.01, SHORT_S - 0.01) for _ in parts)
        begin_s = bench.now_s
        for part, at_s in zip(parts, times, strict=True):
            bench.now_s = begin_s + at_s
            bench.second(step_s=0.0, probe001=(min(part, quotas.messages_10_s), 0, 0))
        bench.now_s = begin_s + 2 * SHORT_S  # the next span is another, wherever in it they are sent
    assert bench.found == {}


@given(st.integers(20_001, 10**6), st.floats(0.1, 1.0))
def test_more_than_twice_the_amount_in_a_span_is_always_over(amount: int, step_s: float) -> None:
    bench = Bench()
    steps = int(SHORT_S / step_s)
    each = -(-amount // steps)
    bench.second(steps=steps, step_s=step_s, probe001=(each, 0, 0))
    assert list(bench.found) == [P]


def test_the_defaults_leave_room_for_what_their_reasons_say() -> None:
    quotas = Quotas()
    assert quotas.messages_10_s >= 2 * FASTEST_PER_S * SHORT_S
    assert quotas.refused_10_s > DAY_MINUTES
    assert PILE >= 5 * WINDOW
    assert quotas.messages_day > 3 * MAX_AGE_MS / 60_000
    assert quotas.bytes_day > 1.9 * MAX_BYTES
    assert quotas.refused_day > 7 * DAY_MINUTES
    assert DAY_S > SHORT_S


def test_the_queue_is_the_broker_s(tmp_path: Path) -> None:
    conf = broker_files.init(tmp_path, port=1883).conf.read_text().splitlines()
    said = dict(line.split(" ", 1) for line in conf if line.startswith("max_"))
    queue = Meter().queue
    assert queue.messages >= int(said["max_queued_messages"]) + int(said["max_inflight_messages"])
    assert queue.bytes >= int(said["max_queued_bytes"])


@pytest.mark.parametrize(
    ("table", "faults"),
    [
        ({"messages_10_s": 0}, ["quota.messages_10_s: 0 is not a number from 1 to 1,000,000,000,000"]),
        ({"bytes_day": True}, ["quota.bytes_day: True is not a number from 1 to 1,000,000,000,000"]),
        ({"bytes_day": 1.5}, ["quota.bytes_day: 1.5 is not a number from 1 to 1,000,000,000,000"]),
        (
            {"bytes": 1},
            [
                "quota.bytes: unknown key; known are messages_10_s, bytes_10_s, refused_10_s, ahead_10_s, "
                "messages_day, bytes_day, refused_day"
            ],
        ),
    ],
)
def test_a_fault_of_the_settings_is_said(table: dict[str, object], faults: list[str]) -> None:
    assert read_quotas(table) == faults


def test_quotas_stand_in_the_fleet_s_settings(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text("[quota]\nmessages_10_s = 20000\n")
    assert load_settings(path).quotas == Quotas(messages_10_s=20_000)
    path.write_text("[quota]\nmessages_10_s = -1\n")
    with pytest.raises(FleetError, match=r"quota\.messages_10_s: -1 is not"):
        load_settings(path)


def test_the_page_shows_the_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs/broker.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert tomllib.loads(block)["quota"] == asdict(Quotas())


def test_a_mark_of_the_collector_s_is_sent_by_no_probe() -> None:
    assert by_probe({MARK: [3, 48, 0]}, {}) == {}


def test_what_is_counted_by_topic_is_told_by_probe() -> None:
    used = {f"balise/v1/{P}/records": [3, 300, 4], f"balise/v1/{P}/state": [2, 20, 0], "elsewhere": [9, 9, 9]}
    assert by_probe(used, {P: 1}) == {P: Sent(5, 320, 1, 4)}


@pytest.fixture
def cutoffs(tmp_path: Path) -> Iterator[CutOffs]:
    with closing(CutOffs(tmp_path / "fleet.db")) as opened:
        yield opened


def test_a_cut_off_survives_and_its_history_too(tmp_path: Path, cutoffs: CutOffs) -> None:
    assert cutoffs.add(P, "first", 1)
    assert not cutoffs.add(P, "again", 2)
    with closing(CutOffs(tmp_path / "fleet.db")) as another:
        assert [(one.probe, one.at_ms, one.why) for one in another.standing()] == [(P, 1, "first")]
        assert another.end(P, 3)
        assert not another.end(P, 4)
    assert cutoffs.add(P, "second", 5)
    assert [(one.why, one.ended_ms) for one in cutoffs.all()] == [("first", 3), ("second", None)]


class Watched:
    """A guard whose surroundings are in the test's hands."""

    def __init__(self, cutoffs: CutOffs) -> None:
        self.sent: dict[str, Sent] = {}
        self.quotas: Quotas | FleetError = Quotas()
        self.is_taking, self.why_not = True, ""
        self.now_s, self.cut = 0.0, list[str]()
        self.marks, self.marked = list[bytes](), b""
        self.guard = Guard(
            cutoffs=cutoffs,
            sent=lambda: dict(self.sent),
            quotas=self._quotas,
            is_taking=lambda: self.is_taking,
            cut=self._cut,
            mark=self.marks.append,
            marked=lambda: self.marked,
            monotonic=lambda: self.now_s,
            now_ms=lambda: round(self.now_s * 1_000),
        )
        self.look(times=3)  # the broker's queue is taken

    def look(self, *, times: int = 1) -> None:
        for _ in range(times):
            self.now_s += 1
            self.guard.look()

    def sends(self, probe: str, messages: int) -> None:
        self.sent[probe] = Sent(self.sent.get(probe, NONE).messages + messages, 0, 0)

    def _quotas(self) -> Quotas:
        if isinstance(self.quotas, FleetError):
            raise self.quotas
        return self.quotas

    def _cut(self, probe: str) -> str:
        self.cut += [] if self.why_not else [probe]
        return self.why_not


def test_who_is_over_is_recorded_told_once_and_counted(cutoffs: CutOffs) -> None:
    watched = Watched(cutoffs)
    watched.sends(P, 20_000)
    watched.sends(Q, 100)
    watched.look()
    watched.sends(P, 20_000)  # what was on its way
    watched.look()
    assert watched.cut == [P]
    assert watched.guard.standing == 1
    assert [(one.probe, one.at_ms) for one in cutoffs.standing()] == [(P, 4_000)]


def test_a_broker_that_cannot_be_told_is_told_later(cutoffs: CutOffs, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(cutoffs)
    watched.why_not = "it does not answer"
    watched.sends(P, 20_000)
    watched.look(times=2)
    assert (watched.cut, [one.probe for one in cutoffs.standing()]) == ([], [P])
    assert [record.message for record in caplog.records] == ["probe_cut_off", "cut_off_not_told"]
    assert watched.guard.fault == "it does not answer"
    watched.why_not = ""
    watched.look(times=2)
    assert (watched.cut, watched.guard.fault) == ([P], "")


def test_a_collector_that_starts_tells_the_broker_what_stands(cutoffs: CutOffs) -> None:
    cutoffs.add(P, "before", 1)
    assert Watched(cutoffs).cut == [P]


def test_one_that_is_let_back_stays_until_it_is_over_again(cutoffs: CutOffs) -> None:
    watched = Watched(cutoffs)
    watched.sends(P, 20_000)
    watched.look()
    cutoffs.end(P, 5)
    watched.sends(P, 100)
    watched.look()
    assert (watched.cut, watched.guard.standing) == ([P], 0)
    watched.sends(P, 20_000)
    watched.look()
    assert watched.cut == [P, P]


def test_a_collector_that_takes_nothing_judges_nobody_and_then_takes_the_queue(cutoffs: CutOffs) -> None:
    watched = Watched(cutoffs)
    watched.is_taking = False
    watched.look(times=3)
    watched.sends(P, 50_000)
    watched.is_taking = True
    watched.look()
    watched.sends(P, 50_000)
    watched.guard.resumed()
    watched.look()
    assert watched.cut == []


def test_once_a_mark_is_back_nothing_more_is_the_queue_s(cutoffs: CutOffs) -> None:
    watched = Watched(cutoffs)
    watched.guard.resumed()
    watched.look()
    watched.sends(P, 50_000)
    watched.look()
    assert watched.cut == []
    watched.marked = watched.marks[-1]
    watched.sends(P, 50_000)
    watched.look()
    assert watched.cut == [P]


def test_a_mark_is_sent_until_it_is_back_and_one_of_another_session_is_none(cutoffs: CutOffs) -> None:
    watched = Watched(cutoffs)
    for _ in range(2):
        watched.guard.resumed()
        watched.marks.clear()
        for _ in range(3):
            watched.sends(Q, 1_000)  # somebody catches up
            watched.look()
        assert len(watched.marks) == 3
        assert len({*watched.marks}) == 1
        assert watched.marks[0] != watched.marked
        before = watched.marks[0]
        watched.marked = before
    watched.look()
    watched.sends(Q, 1_000)
    watched.look()
    assert len(watched.marks) == 3


def test_quotas_that_cannot_be_read_leave_the_last_ones_in_force(
    cutoffs: CutOffs, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(cutoffs)
    watched.quotas = Quotas(messages_10_s=100)
    watched.look()
    watched.sends(P, 1)
    watched.look()
    watched.quotas = FleetError("no TOML")
    watched.sends(P, 101)
    watched.look(times=3)
    assert watched.cut == [P]
    assert [record.message for record in caplog.records].count("quotas_not_read") == 1
