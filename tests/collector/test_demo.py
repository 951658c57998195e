"""Does the demo's picture say what is there, at any width, and does its tally find what is lost and what is twice?"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from balise_agent import codec
from balise_agent.contract import Body, Record, Value
from balise_collector.consumers import Loop, StoreConsumer
from balise_collector.demo import picture, tally
from balise_collector.demo.picture import age, value, values
from balise_collector.demo.programs import AgentFiles
from balise_collector.demo.tally import nearest_rank, witnessed
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal
from balise_collector.placement import Place
from balise_collector.store import Point
from balise_collector.store.chunks import open_store
from tests.collector.sender import NOW, Sender, row

# the picture


def point(measurement: str, target: str = "", *, ago_ms: int = 1_000, reason: str = "", **fields: Value) -> Point:
    return Point(
        home="home0001",
        probe="probe001",
        measurement=measurement,
        target=target,
        ts_ms=NOW - ago_ms,
        kind="failed" if reason else "ok",
        reason=reason or None,
        fields=fields,
    )


POINTS = [
    point("agent_event", "started", ago_ms=5_000, version="0.1.0"),
    point("agent_event", "clock_set", ago_ms=9_000),
    point("dns", "box", query_ms=0.44, rcode=0),
    point("dns", "operator.unique", reason="timeout"),
    point("host", cpu_pct=10.06, agent_rss_kb=33_000, rows_waiting=2, under_voltage=False),
    point("reach", "op", ago_ms=180_000, p50_us=1_240, p95_us=31, lost=0, sent=10),
    point("web", "target", connect_ms=0.2, ttfb_ms=0.8, total_ms=1.6, status=200),
]
PATH = picture.Path(measured=34, waiting=3, acknowledged=16, journal=17, lag_rows=0, dead_letters=0)


def screen(
    width: int, points: Sequence[Point] = POINTS, path: picture.Path = PATH, left_s: float | None = 7.4
) -> list[str]:
    """What stands on a terminal without colours."""
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    console.print(picture.picture(points, path, NOW, left_s, width))
    return [line.rstrip() for line in console.export_text().splitlines()]


def line_of(lines: Iterable[str], start: str) -> str:
    (found,) = (line.strip() for line in lines if line.strip().startswith(start))
    return found


def test_each_measurement_is_a_line_with_its_outcome_values_units_and_age() -> None:
    lines = screen(80)
    assert line_of(lines, "dns box").split("  ")[-1].strip() == "1 s"
    assert "ok  answer 0.4 ms  rcode 0" in line_of(lines, "dns box")
    assert "failed: timeout" in line_of(lines, "dns operator.unique")
    assert "ok  CPU 10.1 %  agent 32.2 MB  waiting 2" in line_of(lines, "host")
    assert "ok  p50 1.24 ms  p95 31 us  lost 0 of 10" in line_of(lines, "reach op")
    assert line_of(lines, "reach op").endswith("3 min")
    assert "ok  in all 1.6 ms  status 200" in line_of(lines, "web target")


def test_channels_without_a_fault_stand_in_one_line_and_each_other_in_its_own() -> None:
    sound = [point("tv_window", f"{n}", es_ratio=0.0, net_lost_datagrams=0, ago_ms=n * 1_000) for n in (1, 3, 4)]
    bad = point("tv_window", "2", es_ratio=0.5, net_lost_datagrams=7, video_bps=520_000)
    lines = screen(80, points=[sound[0], bad, *sound[1:], point("tv_window", "6", reason="no_signal")])
    assert line_of(lines, "tv_window  ").split("  ")[-1].strip() == "1 s"
    assert "ok  1, 3, 4" in line_of(lines, "tv_window  ")
    assert "ok  bad seconds 0.5  lost 7" in line_of(lines, "tv_window 2")
    assert "failed: no_signal" in line_of(lines, "tv_window 6")


def test_the_path_is_told_in_the_order_in_which_a_record_goes() -> None:
    lines = screen(80)
    told = [line_of(lines, "agent  "), line_of(lines, "journal"), line_of(lines, "store")]
    assert told == [
        "agent    records measured 34, waiting 3",
        "journal  messages committed 17, acknowledged 16",
        "store    has all of them",
    ]
    assert lines[:5] == [*told, "agent: clock_set, started", "Ends in 7 s; Ctrl-C ends it now."]


def test_a_short_terminal_cuts_what_is_well_before_what_is_wrong_and_neither_the_path() -> None:
    lines = screen(80)
    assert [line.strip().split("  ")[0] for line in lines[6:9:2]] == ["measured", "dns operator.unique"]


def test_what_was_concluded_of_the_home_stands_beside_what_was_measured_and_no_row_of_the_platform() -> None:
    home = [point("home_state", service, state=0, age_s=0.0) for service in ("internet", "telephone")]
    down = point("home_state", "television", state=2, cause="headend", confidence="sure")
    lines = screen(80, points=[*home, down, point("slo", "pon:internet", down_s=0.0), point("platform", "ingest")])
    assert "ok  internet, telephone" in line_of(lines, "home_state  ")
    assert "it is down  cause headend  this is sure" in line_of(lines, "home_state television")
    assert not [line for line in lines if "slo" in line or "platform" in line]


def test_events_of_the_agent_are_one_line_in_the_order_in_which_they_came() -> None:
    assert line_of(screen(80), "agent:") == "agent: clock_set, started"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_nothing_is_cut_off_at_any_width(width: int) -> None:
    lines = screen(width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    for what in ("dns operator.unique", "timeout", "host", "web target", "waiting 3", "started", "Ctrl-C"):
        assert what in text


def test_values_that_have_no_room_are_left_out_whole() -> None:
    reach = point("reach", "op", p50_us=1_240, p95_us=2_000, lost=0, sent=10, min_us=900)
    texts = [values(reach, room) for room in range(80)]
    assert texts[0] == "p50 1.24 ms"
    assert texts[-1] == "p50 1.24 ms  p95 2.00 ms  lost 0 of 10  min 0.90 ms"
    assert all(texts[-1].startswith(text) for text in texts)
    assert all(len(text) <= max(room, len(texts[0])) for room, text in enumerate(texts))


def test_trouble_is_said_in_words_and_else_not_at_all() -> None:
    trouble = picture.Path(
        measured=1,
        waiting=1,
        acknowledged=0,
        journal=0,
        lag_rows=5,
        dead_letters=2,
        programs_down=["broker", "agent"],
    )
    lines = screen(80, path=trouble, left_s=None)
    assert line_of(lines, "store") == "store    messages still to take 5"
    assert line_of(lines, "unread") == "unread   2 dead letters"
    assert line_of(lines, "ended").startswith("ended    broker, agent")
    assert line_of(lines, "Ctrl-C") == "Ctrl-C ends it."
    assert not [line for line in screen(80) if "unread" in line or "ended" in line]


def test_before_anything_came_it_says_so() -> None:
    assert "nothing yet" in line_of(screen(80, points=[]), "nothing yet")


def test_a_measurement_without_a_choice_of_fields_shows_those_that_it_has() -> None:
    assert values(point("gap", why="size_bound", messages=3), 80) == "why size_bound  messages 3"


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (1240, "us", "1.24 ms"),
        (99, "us", "99 us"),
        (33_000, "kB", "32.2 MB"),
        (12.345, "ms", "12.3 ms"),
        (61.04, "Cel", "61.0 °C"),
        (10.0, "%", "10.0 %"),
        (3, "1", "3"),
        (0, "", "0"),
        (True, "1", "yes"),
        (False, "1", "no"),
        ("icmp", "", "icmp"),
        (512, "By", "512 By"),
    ],
)
def test_a_value_is_written_as_one_reads_it(number: Value, unit: str, text: str) -> None:
    assert value(number, unit) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(-5, "0 s"), (0, "0 s"), (1_999, "1 s"), (119_999, "119 s"), (120_000, "2 min")]
)
def test_an_age_is_whole_seconds_then_minutes(ms: int, text: str) -> None:
    assert age(ms) == text


# the tally


@given(numbers=st.lists(st.integers(-1_000, 1_000), min_size=1), p=st.floats(0.01, 1))
def test_the_nearest_rank_is_the_smallest_value_that_a_share_does_not_exceed(numbers: list[int], p: float) -> None:
    found = nearest_rank(numbers, p)
    assert found in numbers
    assert found is not None
    assert sum(n <= found for n in numbers) >= p * len(numbers) - 1e-9
    assert sum(n < found for n in numbers) < p * len(numbers) + 1e-9


def test_of_nothing_there_is_no_rank() -> None:
    assert nearest_rank([], 0.95) is None


def test_a_witness_line_cut_short_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "witness.jsonl"
    assert witnessed(path) == set()
    path.write_text(_line("host", "", NOW) + _line("dns", "box", None) + _line("host", "", NOW + 1)[:-9])
    assert witnessed(path) == {("host", "", NOW)}


def _line(measurement: str, target: str, ts_ms: int | None) -> str:
    return json.dumps({"measurement": measurement, "target": target, "ts_ms": ts_ms}) + "\n"


def _outbox(path: Path, rows: Iterable[tuple[str, int, int, bool]]) -> None:
    """As much of an agent's outbox as the tally reads: (stream, seq, date of its one record, acknowledged)."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE outbox(stream, seq, ts_ms, body, acked, sealed_ms)")
        db.execute("CREATE TABLE pending(off_ms, bt_ms, record)")
        raw = codec.encode_body(
            Body(nonce="n" * 22, bt_ms=5, records=(Record(measurement="host", bt_ms=5, fields={"uptime_s": 1}),))
        )
        for stream, seq, ts_ms, acked in rows:
            values = (stream, seq, ts_ms, codec.deflate(raw), 1 if acked else None, NOW - 40)
            db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)", values)


def test_a_tally_tells_stored_from_waiting_from_lost_and_from_what_nobody_measured(tmp_path: Path) -> None:
    data, probe = tmp_path / "data", Sender()
    agent = AgentFiles(name="agent", probe="probe001", password="x", folder=tmp_path / "agent")
    messages = [probe.sends(row(), ts_ms=NOW + n) for n in range(5)]  # 0 to 4 are stored
    with closing(Journal(data / "journal.db")) as journal, closing(open_store(data / "store")) as store:
        ingest = Ingest(journal, lambda _probe, _ts_ms: Place(home="home0001"), lambda: NOW)
        ingest.take([*messages, probe.sends({"m": "weather", "at": 0})])
        Loop(journal, [StoreConsumer(store=store, journal=journal.name)]).drain()
    kept = [(probe.stream, n + 1, NOW + n, True) for n in range(4)]  # 4 is in no outbox
    _outbox(agent.outbox, [*kept, (probe.stream, 9, NOW + 8, False)])
    witness = [NOW, NOW + 1, NOW + 2, NOW + 7, NOW + 8]  # 3 was measured without a line, 7 is lost, 8 waits
    agent.witness.write_text("".join(_line("host", "", ts_ms) for ts_ms in witness))
    found = tally.tally(data, [agent])
    assert found == tally.Tally(
        measured=5,
        delivered=4,
        stored=3,
        waiting=1,
        lost=1,
        duplicated=1,
        dead_letters=1,
        delay_p95_ms=40,
        stored_of={"host": 3},
    )
    assert json.loads(json.dumps(found.as_json()))["lost"] == 1
