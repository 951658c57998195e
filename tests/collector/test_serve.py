"""Does `balise serve` keep its promises as a program: started, refused, killed, stopped, damaged?"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from balise_agent import codec
from balise_agent.contract import Config
from balise_collector import cli
from balise_collector.broker import BrokerFiles
from balise_collector.demo.programs import AgentFiles, prepare_agents, prepare_broker
from balise_collector.directory import Directory, sqlite_url
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal
from balise_collector.store.chunks import open_reader
from tests.collector.running import Mosquitto, Probe, balise, children, is_running, process
from tests.collector.sender import Sender, row
from tests.waiting import free_port, until


@dataclass
class Place:
    """A server's folder, with a broker and one probe in a home that agrees."""

    folder: Path
    files: BrokerFiles
    agent: AgentFiles
    mosquitto: Mosquitto

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @contextmanager
    def served(self, *options: object) -> Iterator[subprocess.Popen[bytes]]:
        (self.data / "serve.json").unlink(missing_ok=True)
        command = balise("serve", "--data", self.data, "--http-port", 0, *options)
        with process(command, self.folder / "log") as serving:
            until(lambda: (self.data / "serve.json").exists() or serving.poll() is not None)
            assert serving.poll() is None, self.log
            yield serving

    def get(self, path: str) -> tuple[int, bytes]:
        line = http.client.HTTPConnection(
            "127.0.0.1", json.loads((self.data / "serve.json").read_text())["http_port"], timeout=20
        )
        with closing(line):
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()

    def problems(self) -> list[str]:
        status, body = self.get("/healthz")
        said = json.loads(body)
        assert (status == 200) == said["ok"] == (said["problems"] == [])
        return [str(problem) for problem in said["problems"]]

    def metrics(self) -> dict[str, float]:
        """Every sample, by name and labels' values."""
        families = text_string_to_metric_families(self.get("/metrics")[1].decode())
        return {" ".join((s.name, *s.labels.values())): s.value for family in families for s in family.samples}

    def probe(self) -> Probe:
        return Probe(self.files, self.agent.probe, self.agent.password)

    def sender(self) -> Sender:
        return Sender(self.agent.probe)

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.data / "journal.db", timeout=30)) as db:
            return db.execute(sql).fetchall()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    files = prepare_broker(tmp_path / "data")
    (agent,) = prepare_agents(tmp_path, tmp_path / "data", files, 1)
    mosquitto = Mosquitto(files)
    yield Place(tmp_path, files, agent, mosquitto)
    mosquitto.kill()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_what_comes_is_stored_and_counted_and_no_label_holds_a_probe_or_a_home(here: Place) -> None:
    here.mosquitto.start()
    sender = here.sender()
    with here.served(), here.probe() as probe:
        until(lambda: here.problems() == [])
        probe.send(sender.sends({"m": "host", "at": 0, "f": {"mac": "02:00:00:00:00:01"}}, row(-1), ts_ms=now_ms()))
        probe.send(sender.sends({"m": "weather", "at": 0}), sender.sends(ts_ms=0), sender.raw(b"x"))
        probe.send(sender.says(online=True))
        until(lambda: probe.acknowledged() == {1, 3})
        with closing(open_reader(here.data / "store")) as reader:
            until(lambda: reader.count(0, 2**43) >= 3)
        until(lambda: here.metrics().get("balise_consumer_lag_rows store:journal") == 0)
        found = until(lambda: (m := here.metrics()).get("balise_probes_online") == 1 and m)
        text = b"".join(here.get(path)[1] for path in ("/metrics", "/healthz", "/nothing"))
    expected = {
        "balise_messages_total new": 2,
        "balise_messages_total dead_letter": 2,
        "balise_unknown_fields_total host.mac": 1,
        "balise_dead_letters unknown_measurement": 1,
        "balise_dead_letters bad_envelope": 1,
        "balise_orphans unsynced": 1,
        "balise_broker_up": 1,
        "balise_probes_assigned": 1,
        "balise_oldest_unacknowledged_seconds": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["balise_journal_bytes"] > 0
    assert found["balise_disk_free_bytes"] > 0
    with Directory(sqlite_url(here.data)) as directory:
        ids = {here.agent.probe, *directory.export_homes().homes, sender.stream}
    assert len(ids) == 3
    assert not [id_ for id_ in ids if id_.encode() in text]


def test_nobody_else_on_the_machine_reads_what_it_keeps(here: Place) -> None:
    here.mosquitto.start()
    before = set(here.data.rglob("*"))
    with here.served(), here.probe() as probe:
        probe.send(here.sender().sends())
        until(lambda: probe.acknowledged() == {1})
        until(lambda: list((here.data / "store").rglob("*.db")) and list(here.data.glob("judge.db")))
        kept = [path for path in here.data.rglob("*") if path not in before]
        assert [path.name for path in kept if path.exists() and path.stat().st_mode & 0o077] == []


def test_it_waits_for_a_broker_that_is_not_there_and_says_so(here: Place) -> None:
    with here.served():
        until(lambda: any(p.startswith("broker: no session: ConnectionRefusedError") for p in here.problems()))
        here.mosquitto.start()
        until(lambda: here.problems() == [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_with_all_that_it_started_and_says_so_to_status(here: Place, number: signal.Signals) -> None:
    here.mosquitto.start()
    with here.served() as serving:
        until(lambda: here.problems() == [])
        started = {serving.pid, *until(lambda: children(serving.pid))}
        until(lambda: here.rows("SELECT 1 FROM cursor"))
        serving.send_signal(number)
        assert serving.wait(30) == 0
        assert not [pid for pid in started if is_running(pid)]
    assert not (here.data / "serve.json").exists()
    assert "Traceback" not in here.log
    assert "consumers_stopped" in here.log


def test_killed_with_messages_read_but_not_committed_it_gets_them_again(here: Place) -> None:
    here.mosquitto.start()
    sender = here.sender()
    messages = [sender.sends(ts_ms=now_ms()) for _ in range(5)]
    with here.probe() as probe:
        with here.served() as serving:
            until(lambda: here.problems() == [])
            with closing(sqlite3.connect(here.data / "journal.db", timeout=30)) as db:
                db.isolation_level = None
                db.execute("BEGIN IMMEDIATE")  # its commit has to wait
                probe.send(*messages)
                until(lambda: here.metrics()["balise_oldest_unacknowledged_seconds"] > 1)
                assert here.metrics()["balise_broker_up"] == 1  # it answers while everything waits
                serving.kill()
                serving.wait()
                db.execute("ROLLBACK")
        assert probe.acks == []
        with here.served():
            until(lambda: probe.acknowledged() == {*range(1, 6)})
    assert here.rows("SELECT seq FROM journal WHERE retention = 'raw_90d' ORDER BY seq") == [(n,) for n in range(1, 6)]


def test_consumers_that_are_killed_are_started_again(here: Place) -> None:
    here.mosquitto.start()
    with here.served() as serving:
        first = until(lambda: len(found := children(serving.pid)) == 3 and found)  # consumers, judge, stats
        until(lambda: here.rows("SELECT 1 FROM cursor"))
        subprocess.run(["kill", "-9", *map(str, first)], check=True)
        until(lambda: here.metrics()["balise_consumer_restarts_total all"] == 3)
        until(lambda: len(children(serving.pid) - first) == 3)
        until(lambda: here.problems() == [])


def test_a_journal_that_breaks_while_it_is_used_ends_it_and_the_next_start_salvages(here: Place) -> None:
    here.mosquitto.start()
    path, sender = here.data / "journal.db", here.sender()
    with here.probe() as probe:
        with here.served() as serving:
            until(lambda: here.problems() == [])
            probe.send(sender.sends(ts_ms=now_ms()))
            until(lambda: probe.acknowledged() == {1})
            with closing(sqlite3.connect(path, timeout=30)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                sql = "SELECT rootpage FROM sqlite_schema WHERE tbl_name IN ('chain', 'stream') AND rootpage > 0"
                pages = [page for (page,) in db.execute(sql)]
                size = db.execute("PRAGMA page_size").fetchone()[0]
                with path.open("r+b") as file:
                    for page in pages:
                        file.seek((page - 1) * size)
                        file.write(b"\xff" * size)
                with db:  # so that nobody trusts the pages that it remembers
                    db.execute("INSERT INTO counted VALUES ('test', 1)")
            probe.send(sender.sends(ts_ms=now_ms()))
            assert serving.wait(60) == 1
        assert probe.acknowledged() == {1}
        with here.served():
            until(lambda: probe.acknowledged() == {1, 2})
        assert list(here.data.glob("journal.db.damaged-*"))
        assert here.rows("SELECT n FROM counted WHERE name = 'journal_damaged'") == [(1,)]


def test_a_probe_is_told_what_changes_and_a_command_that_waited_once(here: Place) -> None:
    here.mosquitto.start()
    plan = here.data / "fleet.toml"
    plan.write_text("[plan]\nbatch_s = 60\n")

    def told() -> list[Config]:
        found = [codec.decode_cmd(payload) for payload, _ in probe.told]
        return [one for one in found if isinstance(one, Config)]

    command = balise("command", here.agent.probe, "test", "--args", '{"probe": "dns"}', "--data", here.data)
    asked = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    with here.probe() as probe, here.served():
        until(lambda: told() and told()[-1].plan == {"batch_s": 60})
        until(lambda: any(asked.encode() in payload and not retained for payload, retained in probe.told))
        plan.write_text("[plan\n")
        with Directory(sqlite_url(here.data)) as directory:
            (home,) = directory.export_homes().homes
            directory.withdraw(home, from_ms=now_ms())
        until(lambda: any(p.startswith("fleet.toml: ") for p in here.problems()))
        plan.write_text("[plan]\nbatch_s = 300\n")
        until(lambda: told()[-1].plan == {"batch_s": 300} and not told()[-1].consent)
        until(lambda: here.problems() == [])
        versions = [config.version for config in told()]
    assert versions == sorted(versions)
    assert sum(asked.encode() in payload for payload, _ in probe.told) == 1


def test_a_consumer_that_stands_still_is_said_in_minutes(here: Place) -> None:
    here.mosquitto.start()
    with closing(Journal(here.data / "journal.db")) as journal:
        with Directory(sqlite_url(here.data)) as directory:
            ingest = Ingest(journal, directory.snapshot().resolve, lambda: now_ms() - 320_000)
        ingest.take([here.sender().sends(ts_ms=now_ms() - 30_000)])
        with journal.transaction():
            journal.move("nobody:journal", 0)
            journal.move("done:journal", 1)
    with here.served():
        until(lambda: here.problems() == ["nobody:journal: 5 min behind"])


SERVE_OFTEN = """\
import sys
from pathlib import Path
from balise_collector.serve import ServeSettings, broker_of, serve
data, url = Path(sys.argv[1]), sys.argv[2]
serve(ServeSettings(data=data, directory_url=url, broker=broker_of(data), http=("127.0.0.1", 0), sites_s=0.2))
"""


def test_what_only_time_changes_is_told_too(here: Place) -> None:
    here.mosquitto.start()
    with Directory(sqlite_url(here.data)) as directory:
        (home,) = directory.export_homes().homes
        directory.withdraw(home, from_ms=now_ms() + 6_000)

    def consents() -> list[bool]:
        found = [codec.decode_cmd(payload) for payload, _ in probe.told]
        return [one.consent for one in found if isinstance(one, Config)]

    command = [sys.executable, "-c", SERVE_OFTEN, str(here.data), sqlite_url(here.data)]
    with here.probe() as probe, process(command, here.folder / "log"):
        until(lambda: True in consents())
        until(lambda: consents()[-1] is False)
        (here.data / "fleet.toml").write_text("[plan]\nbatch_s = 300\n")
        until(lambda: any(b"300" in payload for payload, _ in probe.told))


# what is refused, in one line


def one_line(status: int, said: str) -> str:
    assert status == 2, said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("balise: ")
    return lines[0].removeprefix("balise: ")


def refused(*arguments: object, data: Path) -> str:
    """What a command says that ends with status 2, in this process."""
    run = CliRunner().invoke(cli.app, [*map(str, arguments), "--data", str(data)])
    return one_line(run.exit_code, run.stderr)


def not_served(*options: object, data: Path) -> str:
    """The same of `balise serve`, as a process: it takes the signals and the log for itself."""
    run = subprocess.run(
        balise("serve", "--data", data, *options), check=False, capture_output=True, text=True, timeout=60
    )
    return one_line(run.returncode, run.stderr)


def test_serving_without_a_broker_says_how_to_make_one(tmp_path: Path) -> None:
    assert "no broker here; make one: balise broker init" in not_served(data=tmp_path)
    (tmp_path / "file").touch()
    assert "no broker here" in not_served(data=tmp_path / "file")


def test_a_port_of_metrics_that_is_taken_is_one_line(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not_served("--http-port", port, data=here.data) == f"127.0.0.1:{port}: Address already in use"
    assert not (here.data / "serve.json").exists()


def test_an_address_of_metrics_that_is_not_ours_is_one_line(here: Place) -> None:
    assert not_served("--http-listen", "192.0.2.1", "--http-port", 0, data=here.data).startswith("192.0.2.1:0: ")


def test_a_directory_that_is_none_is_one_line_to_the_server(here: Place) -> None:
    assert not_served("--directory", "oracle://x/y", data=here.data).startswith("directory ")


@pytest.mark.parametrize(
    "url",
    ["nonsense", "oracle://somewhere/x", "sqlite:////nowhere/at/all.db", "postgresql://nobody@127.0.0.1:{port}/x"],
)
@pytest.mark.parametrize("command", [("status",), ("dead-letters", "replay")])
def test_a_directory_that_cannot_be_reached_is_one_line(tmp_path: Path, command: tuple[object, ...], url: str) -> None:
    Journal(tmp_path / "journal.db").close()
    given = url.format(port=free_port())
    assert refused(*command, "--directory", given, data=tmp_path).startswith("directory ")


@pytest.mark.parametrize("command", [("status",), ("dead-letters", "list"), ("dead-letters", "replay")])
def test_a_folder_without_a_journal_is_one_line_and_stays_empty(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert "no journal here; `balise serve` makes it" in refused(*command, data=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("status",), ("dead-letters", "list"), ("dead-letters", "show", 1)])
def test_a_journal_that_is_no_database_is_one_line(tmp_path: Path, command: tuple[object, ...]) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database at all" * 500)
    assert refused(*command, data=tmp_path).endswith("file is not a database")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("UPPER", "test"), "'UPPER' is no probe's id"),
        (("probe001", "dance"), "'dance' is no command; allowed: test, replay, pause, resume"),
        (("probe001", "test", "--args", "{"), "--args: "),
        (("probe001", "test", "--args", "[]"), "--args: a JSON object is needed"),
        (("probe001", "test", "--args", '{"x": NaN}'), "--args: "),
    ],
)
def test_a_command_that_no_probe_could_read_is_one_line(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    assert refused("command", *arguments, data=tmp_path).startswith(text)


def test_a_command_into_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert "no such folder" in refused("command", "probe001", "resume", data=tmp_path / "typo")
