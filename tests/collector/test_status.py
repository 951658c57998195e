"""Does `balise status` say how the whole of it is, whether it runs or not, and what an operator should look at?"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from balise_collector import cli
from balise_collector.commands.status import lines
from balise_collector.consumers import Loop, StoreConsumer
from balise_collector.directory import Consent, Directory, Home, Inventory, Line, sqlite_url
from balise_collector.ingest import Incoming, Ingest
from balise_collector.journal import Journal
from balise_collector.status import DAY_MS, Status, look
from balise_collector.store.chunks import open_store
from tests.collector.sender import NOW, Sender, row

PROBE, HOME = "probe001", "home000000000001"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory(sqlite_url(tmp_path)) as opened:
        consent = Consent(purpose="mesure", given_ms=0, text="v1")
        home = Home(id=HOME, building="b1", lines=(Line(from_ms=0),), consents=(consent,))
        opened.import_homes(Inventory(homes={HOME: home}, buildings={"b1": ""}, pons={}, offers={}))
        opened.add_probes([PROBE, "probe002", "probe003"], now_ms=NOW)
        for probe in (PROBE, "probe002"):
            opened.assign(probe, from_ms=0, home=HOME)
        yield opened


def take(data: Path, directory: Directory, *messages: Incoming, now_ms: int = NOW, stored: bool = True) -> None:
    with closing(Journal(data / "journal.db")) as journal, closing(open_store(data / "store")) as store:
        Ingest(journal, directory.snapshot().resolve, lambda: now_ms).take(messages)
        if stored:
            Loop(journal, [StoreConsumer(store=store, journal=journal.name)]).drain()


@contextmanager
def answering(data: Path, status: int, body: bytes, **more: Any) -> Iterator[None]:
    """A collector that runs, as far as its answer to /healthz goes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        said = {"pid": 1, "http_host": "127.0.0.1", "http_port": server.server_address[1]} | more
        (data / "serve.json").write_text(json.dumps(said))
        yield
        server.shutdown()
        thread.join()


WELL = b'{"ok": true, "problems": []}'


def test_a_collector_that_does_not_run_is_said_and_the_rest_is_read_from_the_files(
    tmp_path: Path, directory: Directory
) -> None:
    take(tmp_path, directory, Sender().sends(), Sender().says(online=True))
    found = look(tmp_path, directory, NOW + 90_000)
    assert (found.running, found.problems, found.is_well()) == (False, None, False)
    assert found.probes == {"assigned": 2, "online": 1, "heard_5_min": 1, "never_seen": 1}
    assert found.last_message_age_s == 90
    assert (found.journal["last_id"], found.lag_rows["store:journal"]) == (2, 0)
    assert dict(lines(found))["collector"] == "not running"


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_collector_that_is_well_is_asked_where_it_listens(tmp_path: Path, directory: Directory, listen: str) -> None:
    take(tmp_path, directory)
    with answering(tmp_path, 200, WELL, http_host=listen):
        found = look(tmp_path, directory, NOW)
    assert (found.running, found.problems, found.is_well()) == (True, (), True)
    assert dict(lines(found))["collector"] == "runs, all is well"


def test_what_is_wrong_with_a_running_collector_is_said_in_its_words(tmp_path: Path, directory: Directory) -> None:
    take(tmp_path, directory)
    with answering(tmp_path, 503, b'{"ok": false, "problems": ["broker: no session", "journal: the disk refuses"]}'):
        found = look(tmp_path, directory, NOW)
    assert (found.running, found.is_well()) == (True, False)
    assert dict(lines(found))["collector"] == "broker: no session; journal: the disk refuses"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"problems": 3}', b"\xff", b"a page of somebody else"])
def test_somebody_else_on_the_port_of_a_collector_that_was_killed_is_no_collector(
    tmp_path: Path, directory: Directory, body: bytes
) -> None:
    take(tmp_path, directory)
    with answering(tmp_path, 200, body):
        assert look(tmp_path, directory, NOW).problems is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"http_host": 1, "http_port": "x"}'])
def test_a_note_of_the_collector_that_cannot_be_read_is_no_collector(
    tmp_path: Path, directory: Directory, text: str
) -> None:
    take(tmp_path, directory)
    (tmp_path / "serve.json").write_text(text)
    assert look(tmp_path, directory, NOW).problems is None


def test_what_probes_said_in_a_day_is_counted_by_kind(tmp_path: Path, directory: Directory) -> None:
    probe = Sender()
    take(
        tmp_path,
        directory,
        probe.sends(row(0, "gap", why="size_bound", messages=12), row(-1, "gap", why="size_bound", messages=3)),
        probe.sends(row(-2, "gap", why="damaged_file", messages=1)),
        probe.sends(row(0, "agent_event", k="clock_stepped"), row(-1, "agent_event", k="clock_stepped", step_ms=5)),
        probe.sends(row(0, "agent_event", k="config_refused"), ts_ms=NOW - 2 * DAY_MS),
    )
    found = look(tmp_path, directory, NOW)
    assert found.said == {"clock_stepped": 2, "gap damaged_file": 1, "gap size_bound": 15}


def test_what_is_kept_apart_and_what_is_not_yet_stored_is_counted(tmp_path: Path, directory: Directory) -> None:
    probe = Sender()
    messages = [probe.sends(), probe.sends(ts_ms=0), probe.sends({"m": "weather", "at": 0}), probe.sends()]
    take(tmp_path, directory)
    take(tmp_path, directory, *messages, Sender("probe003").sends(), stored=False)
    found = look(tmp_path, directory, NOW)
    assert found.dead_letters == {"unknown_measurement": 1}
    assert found.orphans == {"unassigned": 1, "unsynced": 1}
    assert found.lag_rows == {"store:journal": 2, "store:derived": 0}
    shown = dict(lines(found))
    assert shown["  store:journal"] == "2 rows behind"
    assert shown["orphans"] == "unassigned 1, unsynced 1"


def test_a_broken_chain_is_said(tmp_path: Path, directory: Directory) -> None:
    probe = Sender()
    first = probe.sends()
    probe.chain = "x" * 22
    take(tmp_path, directory, first, probe.sends())
    assert look(tmp_path, directory, NOW).journal["chain_broken"] == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_a_table_or_one_object_and_fails_while_something_is_to_be_done(
    tmp_path: Path, directory: Directory, as_json: bool
) -> None:
    take(tmp_path, directory, Sender().sends(ts_ms=time.time_ns() // 1_000_000), now_ms=time.time_ns() // 1_000_000)
    options = ["status", "--data", str(tmp_path), *(["--json"] if as_json else [])]
    assert CliRunner().invoke(cli.app, options).exit_code == 1
    with answering(tmp_path, 200, WELL):
        run = CliRunner().invoke(cli.app, options)
    assert run.exit_code == 0, run.output
    if as_json:
        said = json.loads(run.stdout)
        assert {*said} == {*Status.__slots__}
        assert (said["running"], said["problems"], said["probes"]["assigned"]) == (True, [], 2)
    else:
        rows = dict(line.split("\t") for line in run.stdout.splitlines())
        assert rows["collector"] == "runs, all is well"
        assert rows["probes"] == "2 assigned, 0 online, 1 heard in 5 min"
        assert rows["probes said"] == "none in 24 h"
