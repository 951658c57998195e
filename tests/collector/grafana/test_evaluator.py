"""Does each alert fire within one evaluation of what the judge wrote, for as long, and at no other minute?"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from balise_agent.contract import Value
from balise_collector.grafana.alerts import ALERTS
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.lines import Encoder
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.setup import prepare
from balise_collector.store.points import Point
from tests.collector.grafana.evaluator import MINUTE_MS, Evaluator
from tests.collector.influx.servers import influx1, influx2

START_MS = 1_795_500_000_000 // 300_000 * 300_000
MINUTES = 150
CUT = (33, 71)  # the PON is down from this minute on, and up from that
BAD = (20, 50)  # the channel
REFUSED = (88, 108)  # five lines do not register
LATE = (40, 70)  # the clock of one home's probe
MUTE = (100, 121)  # the collector writes nothing of itself
SPEECHLESS = (122, 137)  # the telephone of the other PON, its internet being well
SMALL = 100  # homes; 40 of them on the PON


@pytest.fixture(scope="module", params=["influx1"] + (["influx2"] if influx2() else []))
def fired(request: pytest.FixtureRequest) -> dict[str, set[int]]:
    """The minutes, counted from the start, in which each alert fires."""
    database = f"e{secrets.token_hex(4)}"
    server = influx2(database) if request.param == "influx2" else influx1().server(database)
    assert server
    write(server, points())
    dates = [START_MS + minute * MINUTE_MS for minute in range(15, MINUTES)]
    with closing(Asking(server)) as asking:
        evaluator = Evaluator(asking, ALERTS)
        for date in dates:
            evaluator.minute(date)
    return {uid: {(date - START_MS) // MINUTE_MS for date in dates} for uid, dates in evaluator.fired.items()}


def write(server: Server, rows: Iterable[Point]) -> None:
    prepare(server)
    encoder = Encoder()
    with closing(open_post(server)) as post:
        post.post("state", "\n".join(encoder.line(row) for row in rows).encode())


def points() -> Iterator[Point]:
    """As the judge writes: each five minutes and at each change; the collector each minute."""
    for minute in range(MINUTES):
        if not MUTE[0] <= minute < MUTE[1]:
            yield point("platform", minute, "judge:journal", {"lag_rows": 0, "lag_s": 0.0})
            yield point("platform", minute, "ingest", {"dead_letters": 0, "disk_free_kb": 9_000_000})
        if is_written(minute):
            yield from states(minute)


def is_written(minute: int) -> bool:
    return minute % 5 == 0 or minute in (*CUT, *BAD, *REFUSED, *SPEECHLESS)


def states(minute: int) -> Iterator[Point]:
    is_cut, is_bad = CUT[0] <= minute < CUT[1], BAD[0] <= minute < BAD[1]
    is_late = LATE[0] <= minute < LATE[1]
    clock: dict[str, Value] = {"state": int(is_late), "evidence": "clock" if is_late else "measured"}
    yield point("home_state", minute, "probe", clock, home="home1")
    for service in ("internet", "television", "telephone", "probe"):
        down = 40 if is_cut and service != "probe" else 0
        yield point("element_state", minute, f"fleet:{service}", counts(0, SMALL, down or refused(minute, service)))
        yield point("element_state", minute, f"pon:{service}", counts(2 if down else 0, 40, down), pon="pon1")
        speechless = service == "telephone" and SPEECHLESS[0] <= minute < SPEECHLESS[1]
        yield point("element_state", minute, f"pon:{service}", counts(2 if speechless else 0, 60, 0), pon="pon2")
        yield point("element_state", minute, f"building:{service}", counts(1 if down else 0, 60, down), building="bat1")
    for target in ("olt:o", "card:o/1", "core", "dns", "upstream", "target", "headend:h", "registrar", "channel:1"):
        yield point("element_state", minute, target, {"state": 0})
    yield point("element_state", minute, "channel:2", {"state": 2 if is_bad else 0})


def refused(minute: int, service: str) -> int:
    return 5 if service == "telephone" and REFUSED[0] <= minute < REFUSED[1] else 0


def counts(state: int, homes: int, down: int) -> dict[str, Value]:
    return {"state": state, "homes": homes, "known": homes, "degraded": 0, "down": down}


def point(kind: str, minute: int, target: str, fields: dict[str, Value], **place: str) -> Point:
    whose = {"home": "", "building": "", "pon": "", **place}
    ts_ms = START_MS + minute * MINUTE_MS
    return Point(probe="collector", measurement=kind, target=target, ts_ms=ts_ms, kind="ok", fields=fields, **whose)


def test_a_dead_pon_pages_from_its_minute_until_its_last(fired: dict[str, set[int]]) -> None:
    assert fired["balise-pon-down"] == set(range(*CUT))


def test_a_bad_channel_is_a_ticket_after_its_quarter_of_an_hour(fired: dict[str, set[int]]) -> None:
    assert fired["balise-channel"] == set(range(BAD[0] + 15, BAD[1]))


def test_a_fast_burn_is_where_both_of_its_windows_are_above(fired: dict[str, set[int]]) -> None:
    written = [minute for minute in range(MINUTES) if is_written(minute)]

    def share(minute: int, window: int) -> float:
        rows = [one for one in written if minute - window <= one <= minute]
        return sum(CUT[0] <= one < CUT[1] for one in rows) * 40 / (len(rows) * SMALL)

    expected = {minute for minute in range(15, MINUTES) if min(share(minute, 60), share(minute, 10)) > 14.4 * 0.005}
    assert fired["balise-burn-fast-internet"] == expected
    assert expected


def test_lines_that_do_not_register_page_where_the_internet_is_well(fired: dict[str, set[int]]) -> None:
    def share(minute: int, *, is_telephone: bool) -> float:
        rows = [one for one in range(MINUTES) if is_written(one) and minute - 11 <= one <= minute]
        cut = sum(40 for one in rows if CUT[0] <= one < CUT[1])
        return (cut + is_telephone * sum(refused(one, "telephone") for one in rows)) / (len(rows) * SMALL)

    reached = {
        minute
        for minute in range(15, MINUTES)
        if share(minute, is_telephone=True) > 0.02 and share(minute, is_telephone=False) < 0.02
    }
    held = {minute for minute in reached if set(range(minute - 5, minute)) <= reached}
    assert fired["balise-lines"] == held
    assert held
    assert held <= set(range(REFUSED[0] + 5, REFUSED[1] + 11))


def test_a_place_without_a_telephone_pages_where_its_internet_is_well(fired: dict[str, set[int]]) -> None:
    assert fired["balise-voice-here"] == set(range(*SPEECHLESS))


def test_a_wrong_clock_is_a_ticket_after_its_quarter_of_an_hour(fired: dict[str, set[int]]) -> None:
    assert fired["balise-clocks"] == set(range(LATE[0] + 15, LATE[1]))


def test_a_judge_that_says_nothing_is_an_alert_of_its_own(fired: dict[str, set[int]]) -> None:
    assert fired["balise-judge-mute"] == set(range(MUTE[0] + 5, MUTE[1]))


def test_all_others_are_silent(fired: dict[str, set[int]]) -> None:
    loud = {uid for uid, minutes in fired.items() if minutes}
    burns = {uid for uid in loud if "-burn-" in uid}
    named = {"balise-pon-down", "balise-channel", "balise-lines", "balise-voice-here", "balise-clocks"}
    assert loud == {*named, *burns, "balise-judge-mute"}


def test_when_nobody_writes_any_more_what_fires_goes_on_and_one_alert_begins() -> None:
    server = influx1().server(f"n{secrets.token_hex(4)}")
    write(server, [one for one in points() if one.ts_ms < START_MS + 40 * MINUTE_MS])
    with closing(Asking(server)) as asking:
        evaluator = Evaluator(asking, ALERTS)
        for minute in range(30, 90):
            evaluator.minute(START_MS + minute * MINUTE_MS)
    end_ms = START_MS + 89 * MINUTE_MS
    loud = {uid for uid, dates in evaluator.fired.items() if end_ms in dates and "-burn-" not in uid}
    assert loud == {"balise-pon-down", "balise-channel", "balise-judge-mute"}
    assert min(evaluator.fired["balise-judge-mute"]) == START_MS + 45 * MINUTE_MS
