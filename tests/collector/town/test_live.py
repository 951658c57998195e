"""Do live homes speak the contract to a real broker, is a cut a silence that nobody closed, and what is made of it?"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from balise_collector.broker import BrokerFiles
from balise_collector.consumers import Loop
from balise_collector.ingest import Ingest
from balise_collector.intake import Broker, Intake
from balise_collector.journal import Journal
from balise_collector.judging.consumer import JudgeConsumer
from balise_collector.judging.state import State
from balise_collector.town.calendar import DAY_MS, MINUTE_MS
from balise_collector.town.stream import Stream
from balise_collector.trial import ways
from balise_collector.trial.inventory import resolver
from balise_collector.trial.live import Link, Live
from tests.brokers import Mosquitto
from tests.collector.town.ground import faults, town
from tests.waiting import until


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def collecting(files: BrokerFiles, journal: Journal, of: Stream) -> Iterator[None]:
    """Ingest behind the broker, in a thread."""
    where = Broker(
        host=files.host,
        port=files.port,
        username="collector",
        password=files.collector_password_file.read_text().strip(),
    )
    intake = Intake(where, Ingest(journal, resolver(of.town), now_ms))
    thread = threading.Thread(target=intake.run)
    thread.start()
    try:
        yield
    finally:
        intake.stop()
        thread.join()


@contextmanager
def living(live: Live) -> Iterator[None]:
    thread = threading.Thread(target=live.run, args=(2**62,))
    thread.start()
    try:
        yield
    finally:
        live.is_stopped = True
        thread.join()


def online(path: Path) -> dict[str, bool]:
    with closing(sqlite3.connect(path)) as db:
        return {probe: bool(state) for probe, state in db.execute("SELECT probe, online FROM presence")}


def test_a_cut_home_is_missed_by_the_keep_alive_comes_back_and_all_it_measured_is_kept(tmp_path: Path) -> None:
    of = town(16)
    start_ms = now_ms() // MINUTE_MS * MINUTE_MS - 3 * MINUTE_MS
    cut_s = (now_ms() - start_ms) // 1_000 + 12  # by then all sessions are open
    cut = {"kind": "pon_cut", "place": "branch:1", "after": f"{cut_s}s", "lasts": "9s"}
    bounds = (start_ms, start_ms + DAY_MS)
    stream = Stream(town=of, faults=faults(of, cut, start_ms=start_ms), bounds=bounds, life=False)
    hit = {home.probe for home in of.at(stream.faults[0].place)}
    passwords = {home.probe: f"secret-{home.number}" for home in of.probed}
    with Mosquitto(tmp_path, passwords) as broker, closing(Journal(tmp_path / "journal.db")) as journal:
        files = broker.files
        link = Link(host=files.host, port=files.port, keepalive_s=2)
        live = Live(stream, passwords, link, now_ms() - 2 * MINUTE_MS)
        with collecting(files, journal, stream), living(live):
            until(lambda: list(online(journal.path).values()).count(True) == 16, "every home")
            until(lambda: {p for p, on in online(journal.path).items() if not on} == hit, "the cut")
            log = (tmp_path / "broker" / "log").read_text()
            assert [probe for probe in hit if f"Client {probe} has exceeded timeout" not in log] == []
            until(lambda: list(online(journal.path).values()).count(True) == 16, "the return")
            until(lambda: all(home.acked >= 1 for home in live.homes), "acks")
        assert journal.counts()["dead_letters"] == 0
        assert journal.counts()["chain_broken"] == 0


HELD_MS = 40_000  # how far the judge's clock is ahead: what it holds for 30 s is not waited for


def test_a_pon_whose_homes_fall_silent_live_is_an_incident_in_its_place_and_none_of_them_stays_green(
    tmp_path: Path,
) -> None:
    of = town(32, pon=16)
    start_ms = now_ms() // MINUTE_MS * MINUTE_MS - 3 * MINUTE_MS
    stream = Stream(town=of, faults=[], bounds=(start_ms, start_ms + DAY_MS), life=False)
    hit = {home.id for home in of.at("pon:P001")}
    passwords = {home.probe: f"secret-{home.number}" for home in of.probed}
    path = tmp_path / "journal.db"
    with (
        Mosquitto(tmp_path, passwords) as broker,
        closing(Journal(path)) as journal,
        closing(Journal(path)) as judged,
        closing(State(tmp_path / "judge.db")) as state,
    ):
        link = Link(host=broker.files.host, port=broker.files.port, keepalive_s=4)
        live = Live(stream, passwords, link, now_ms() - 2 * MINUTE_MS)
        judge = JudgeConsumer(judged, state, ways.topology(of, []))
        with collecting(broker.files, journal, stream), living(live):
            until(lambda: shown(judged, judge) == dict.fromkeys((home.id for home in of.homes), OK), "all is well")
            live.homes = [home for home in live.homes if home.home.id not in hit]  # nobody serves their sockets
            wanted = {home.id: DOWN if home.id in hit else OK for home in of.homes}
            until(lambda: shown(judged, judge) == wanted, "the cut")
            (incident,) = state.incidents()
            assert (incident["element"], incident["code"], incident["state"]) == ("pon", "P001", "open")
            assert (incident["hit"], incident["part"]) == (16, False)


OK, DOWN = 0, 2


def shown(journal: Journal, judge: JudgeConsumer) -> dict[str, int]:
    """What the judge says of each home's internet, of all that has come."""
    Loop(journal, [judge]).drain()
    judge.tick(now_ms() + HELD_MS)
    rows, _ = journal.derived(0, 100_000)
    states = [row for row in rows if row.measurement == "home_state" and row.tags["service"] == "internet"]
    return {row.tags["home"]: row.fields["state"] for row in states}
