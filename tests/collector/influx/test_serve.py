"""Is `balise serve` with InfluxDB, beside its own store or alone, as safe as without?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector import cli
from balise_collector.commands.influx import app
from balise_collector.directory import Directory, sqlite_url
from balise_collector.journal import Journal
from balise_collector.store import Reader, influx
from balise_collector.store.chunks import open_reader
from balise_collector.store.influx import server as known
from tests.collector.influx.servers import Influxd
from tests.collector.sender import Sender, row
from tests.collector.store.stores import FAR_MS
from tests.collector.test_serve import Place
from tests.waiting import free_port, until


@pytest.fixture
def reader(here: Place, influxd: Influxd) -> Iterator[Reader]:
    with closing(influx.open_reader(influxd.server(), here.folder / "none.db")) as opened:
        yield opened


def send(here: Place, sender: Sender, messages: int) -> None:
    """Once the collector has its session: this probe sends nothing twice."""
    until(lambda: not any(problem.startswith("broker") for problem in here.problems()))
    now_ms = time.time_ns() // 1_000_000
    with here.probe() as probe:
        probe.send(*(sender.sends(row(), row(1, "web", total_ms=1.5), ts_ms=now_ms + n) for n in range(messages)))
        until(lambda: sender.seq in probe.acknowledged())


def hosts(reader: Reader) -> int:
    """Records of the sender that are kept."""
    return sum(1 for one in reader.series() if one.measurement == "host" for _ in read(reader, one.home))


def read(reader: Reader, home: str) -> Iterator[object]:
    return reader.read(home, "host", None, 0, FAR_MS)


def check(here: Place) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["check", "--every-point", "--data", str(here.data)])
    return done.exit_code, done.output


def test_both_stores_get_everything(here: Place, influxd: Influxd, reader: Reader) -> None:
    with here.served("--influx", influxd.url):
        send(here, here.sender(), 20)
        until(lambda: hosts(reader) == 20)
        with closing(open_reader(here.data / "store")) as ours:
            until(lambda: hosts(ours) == 20)
        until(lambda: check(here)[0] == 0)
        assert here.problems() == []


def test_a_server_that_is_down_is_named_and_gets_what_it_missed(here: Place, influxd: Influxd, reader: Reader) -> None:
    sender = here.sender()
    with here.served("--influx", influxd.url):
        send(here, sender, 3)
        until(lambda: hosts(reader) == 3)
        influxd.kill()
        send(here, sender, 30)
        until(lambda: any("Connection refused" in problem for problem in here.problems()))
        with closing(open_reader(here.data / "store")) as ours:
            until(lambda: hosts(ours) == 33)
        influxd.start()
        until(lambda: hosts(reader) == 33)
        until(lambda: here.problems() == [])


def test_alone_influxdb_keeps_everything_and_status_asks_it(here: Place, influxd: Influxd, reader: Reader) -> None:
    with here.served("--influx", influxd.url, "--no-store"):
        send(here, here.sender(), 5)
        until(lambda: hosts(reader) == 5)
        done = CliRunner().invoke(cli.app, ["status", "--json", "--data", str(here.data)])
        assert json.loads(done.output)["probes"]["heard_5_min"] == 1
        until(lambda: here.metrics().get("balise_consumer_lag_rows sealer:journal") == 0)
        with closing(Journal(here.data / "journal.db")) as journal, journal.transaction():
            journal.derive("month_indicator", {"home": home_of(here), "indicator": "x"}, MONTH_MS, FROZEN)
        until(lambda: thawed(here) == [0.5])
        code, said = erase(here)
        assert code == 0, said
        assert (hosts(reader), thawed(here)) == (0, [])
    assert not (here.data / "store").exists()
    with closing(Journal(here.data / "journal.db")) as journal:
        kept_for = {name.partition(":")[0] for name in journal.cursors()}
    assert kept_for - {"judge", "sealer"} == {"influx"}  # no row waits for the store that is not written


MONTH_MS = 1_767_222_000_000  # January 2026 in France
FROZEN: dict[str, int | float | str | bool] = {"month": 202601, "value": 0.5, "unit": "1", "frozen": True}


def thawed(here: Place) -> list[float]:
    """What `balise quality` tells of that month, of its home."""
    command = ["quality", "--home", home_of(here), "--month", "2026-01", "--json", "--data", str(here.data)]
    said = json.loads(CliRunner().invoke(cli.app, command).output)
    return [row["value"] for row in said if row["indicator"] == "x"]


def test_moving_from_the_embedded_store_to_influxdb_loses_nothing(
    here: Place, influxd: Influxd, reader: Reader
) -> None:
    sender = here.sender()
    with here.served():
        send(here, sender, 10)
        with closing(open_reader(here.data / "store")) as ours:
            until(lambda: hosts(ours) == 10)
        until(lambda: here.metrics().get("balise_consumer_lag_rows store:journal") == 0)
    forget_the_journal(here)  # as after the week that it holds
    with here.served("--influx", influxd.url):
        send(here, sender, 10)
        until(lambda: hosts(reader) == 10)
        filled = CliRunner().invoke(app, ["fill", "--data", str(here.data)])
        assert filled.exit_code == 0, filled.output
        until(lambda: check(here)[0] == 0)
    with here.served("--influx", influxd.url, "--no-store"):
        send(here, sender, 10)
        until(lambda: hosts(reader) == 30)


def forget_the_journal(here: Place) -> None:
    with closing(Journal(here.data / "journal.db")) as journal:
        assert journal.prune(time.time_ns() // 1_000_000 + 8 * 86_400_000) >= 10
        assert journal.entries(0, 100)[0] == []


def test_an_influxdb_that_is_not_there_yet_holds_up_nothing(here: Place) -> None:
    with here.served("--influx", f"http://127.0.0.1:{free_port()}", "--database", "later"):
        send(here, here.sender(), 2)
        until(lambda: any("InfluxDB: 127.0.0.1" in problem for problem in here.problems()))
    settings = known.load(here.data)
    assert settings
    assert settings.database == "later"


# erasing


def erase(here: Place, *options: str) -> tuple[int, str]:
    """`balise homes erase` of the probe's home."""
    command = ["homes", "erase", home_of(here), "--data", str(here.data), *options]
    done = CliRunner().invoke(cli.app, command)
    return done.exit_code, done.output


def home_of(here: Place) -> str:
    with Directory(sqlite_url(here.data)) as directory:
        (probe,) = directory.probes(at_ms=time.time_ns() // 1_000_000)
    assert probe.assigned
    return probe.assigned.home


def test_a_home_is_erased_in_journal_store_and_influxdb_while_they_are_served(
    here: Place, influxd: Influxd, reader: Reader
) -> None:
    sender = here.sender()
    with here.served("--influx", influxd.url):
        send(here, sender, 10)
        with closing(open_reader(here.data / "store")) as ours:
            until(lambda: (hosts(ours), hosts(reader)) == (10, 10))
        code, said = erase(here)
        assert code == 0, said
        assert int(said.partition(" rows of the journal, ")[0]) >= 10  # and what was concluded from them
        assert said.splitlines()[1].endswith(" points of InfluxDB erased")
        assert (hosts(reader), bodies(here)) == (0, 0)
        with closing(open_reader(here.data / "store")) as ours:
            assert hosts(ours) == 0
        send(here, sender, 3)  # it was not asked to stop
        until(lambda: hosts(reader) == 3)
    assert home_of(here).encode() not in (here.data / "erasures.db").read_bytes()


def test_a_home_is_erased_where_nothing_is_served(here: Place) -> None:
    with here.served():
        send(here, here.sender(), 4)
        until(lambda: here.metrics().get("balise_consumer_lag_rows store:journal") == 0)
    assert erase(here, "--until", "2020-01-01")[1].startswith("0 rows of the journal, 0 points")
    assert int(erase(here)[1].partition(" rows of the journal, ")[0]) >= 4
    with closing(open_reader(here.data / "store")) as ours:
        assert hosts(ours) == bodies(here) == 0


def test_what_cannot_be_erased_in_influxdb_now_is_said(here: Place, influxd: Influxd) -> None:
    with here.served("--influx", influxd.url):
        send(here, here.sender(), 2)
        until(lambda: here.metrics().get("balise_consumer_lag_rows influx:journal") == 0)
        influxd.kill()
        code, said = erase(here)
        assert code == 2
        assert "Connection refused; there it is not erased, ask again" in said
        assert bodies(here) == 0


def test_erasing_where_there_is_no_journal_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["homes", "erase", "home0001", "--data", str(tmp_path)])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)


def bodies(here: Place) -> int:
    """Rows of the journal that say something."""
    with closing(Journal(here.data / "journal.db")) as journal:
        return len(journal.entries(0, 1_000)[0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--no-store"], "nothing would keep the measurements"),
        (["--influx", "influx:8086"], "is no address of an InfluxDB"),
        (["--influx", "http://127.0.0.1:1", "--token-file", "/nowhere"], "/nowhere: No such file"),
    ],
)
def test_what_cannot_be_is_one_line(here: Place, options: list[str], why: str) -> None:
    done = CliRunner().invoke(cli.app, ["serve", "--data", str(here.data), *options])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert why in done.output
