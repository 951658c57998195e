"""Is an erased home named nowhere any more, on this machine or in InfluxDB, and does nothing bring it back?"""

from __future__ import annotations

import time
from contextlib import closing

from typer.testing import CliRunner

from balise_collector import cli
from balise_collector.directory import Directory, sqlite_url
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter
from balise_collector.judge.evidence import Evidence
from balise_collector.judging.state import Follow, State
from balise_collector.store import Reader, influx
from balise_collector.store.chunks import open_reader
from balise_collector.store.influx.asking import Asking
from tests.collector.influx.servers import Influxd
from tests.collector.sender import Sender, row
from tests.collector.store.stores import FAR_MS
from tests.collector.test_serve import Place
from tests.waiting import until

HOUR = 3_600_000
NOT_OURS = ("directory.db", "directory.db-wal")
"""Who agreed to what, and when not any more: kept as the proof."""


def test_an_erased_home_is_named_nowhere_and_a_late_outbox_does_not_bring_it_back(
    here: Place, influxd: Influxd
) -> None:
    home, sender = home_of(here), here.sender()
    with (
        closing(open_reader(here.data / "store")) as ours,
        closing(influx.open_reader(influxd.server(), here.folder / "none.db")) as theirs,
    ):
        with here.served("--influx", influxd.url):
            send(here, sender, now_ms() - 20_000)
            conclude(here, home)
            misread(here, home)
            for reader in (ours, theirs):
                until(lambda: not {"host", *DERIVED} - kept(reader, home), f"{type(reader)}")  # noqa: B023 - awaited here
            assert named_on_disk(here, home)
            done = CliRunner().invoke(cli.app, ["homes", "erase", home, "--data", str(here.data)])
            assert done.exit_code == 0, done.output
            erased_ms = now_ms()
            send(here, sender, erased_ms - 10_000)  # what an outbox still held
        until(lambda: not kept(ours, home) and not kept(theirs, home))
        assert named_on_disk(here, home) == []
        assert named_in_influxdb(influxd, home) == []
        assert (here.rows("SELECT 1 FROM orphan"), here.rows("SELECT 1 FROM dead_letter")) == ([], [])
        with here.served("--influx", influxd.url):
            send(here, sender, now_ms())  # it still agrees
            until(lambda: "host" in kept(ours, home) and "host" in kept(theirs, home))


DERIVED = ("home_state", "incident", "rollup_hour", "slo", "month_indicator")


def conclude(here: Place, home: str) -> None:
    """A row of each kind that may be of a home, and what people and others said of it."""
    at_ms = now_ms() - HOUR
    said: dict[str, tuple[dict[str, str], dict[str, object]]] = {
        "home_state": ({"service": "internet"}, {"state": 2, "since_ms": at_ms}),
        "incident": ({"kind": "line", "scope": f"home.{home}"}, {"id": "I1", "state": "open", "code": home}),
        "rollup_hour": ({"scope": "home", "series": "reach.p50_us.op"}, {"n": 3}),
        "slo": ({"scope": "home", "service": "internet"}, {"good_s": 1.0}),
        "month_indicator": ({"indicator": "availability"}, {"month": 202601, "value": 0.9}),
    }
    with closing(Journal(here.data / "journal.db")) as journal, journal.transaction():
        for measurement, (tags, fields) in said.items():
            journal.derive(measurement, tags | {"home": home}, at_ms, fields)
    with closing(State(here.data / "judge.db")) as state:
        state.add_evidence([Evidence(source="olt", ts_ms=at_ms, what="los", scope="home", code=home)])
        fields = {"id": "I1", "since_ms": at_ms, "state": "closed", "until_ms": at_ms, "code": home}
        with state.transaction():
            state.tell(fields | {"kind": "line", "scope": f"home.{home}", "hit_homes": [home]}, at_ms)
            state.follow("I1", Follow(at_ms=at_ms, what="note", text=f"{home} was called"))


def misread(here: Place, home: str) -> None:
    """What its probe sent that nobody could read or date, and a line of it that InfluxDB refused."""
    with here.probe() as probe:
        probe.send(here.sender().raw(b"x"), Sender(here.agent.probe).sends(ts_ms=0))
        until(lambda: here.rows("SELECT 1 FROM orphan") and here.rows("SELECT 1 FROM dead_letter"))
    letter = DeadLetter(probe="", key=b"k", reason="influx_refused", detail="", payload=f"host,home={home}".encode())
    with closing(Journal(here.data / "journal.db")) as journal, journal.transaction():
        journal.add_dead_letter(letter, now_ms())


def send(here: Place, sender: Sender, ts_ms: int) -> None:
    """It is acknowledged, whatever becomes of it."""
    until(lambda: not any(problem.startswith("broker") for problem in here.problems()))
    with here.probe() as probe:
        probe.send(sender.sends(row(), row(1, "web", total_ms=1.5), ts_ms=ts_ms))
        until(lambda: sender.seq in probe.acknowledged())


def kept(reader: Reader, home: str) -> set[str]:
    """Measurements of which there is a point of the home."""
    names = ("host", "web", *DERIVED)
    return {name for name in names if any(True for _ in reader.read(home, name, None, 0, FAR_MS))}


def named_on_disk(here: Place, home: str) -> list[str]:
    files = (path for path in here.data.rglob("*") if path.is_file() and path.name not in NOT_OURS)
    return [str(path.relative_to(here.data)) for path in files if home.encode() in path.read_bytes()]


def named_in_influxdb(influxd: Influxd, home: str) -> list[str]:
    """Series, of its index too."""
    with closing(Asking(influxd.server())) as asking:
        (found,) = asking.all(["SHOW SERIES"])
    return [str(value) for series in found for (value, *_) in series["values"] if home in str(value)]


def home_of(here: Place) -> str:
    with Directory(sqlite_url(here.data)) as directory:
        (probe,) = directory.probes(at_ms=now_ms())
    assert probe.assigned
    return probe.assigned.home


def now_ms() -> int:
    return time.time_ns() // 1_000_000
