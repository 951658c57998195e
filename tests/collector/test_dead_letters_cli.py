"""Can an operator see what could not be read, why, and have it read again?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector import cli
from balise_collector.directory import Consent, Directory, Home, Inventory, Line, sqlite_url
from balise_collector.ingest import Incoming, Ingest
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter
from tests.collector.sender import NOW, Sender

PROBE, HOME = "probe001", "home000000000001"
Run = Callable[..., str]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Directory(sqlite_url(tmp_path)) as directory:
        consent = Consent(purpose="mesure", given_ms=0, text="v1")
        home = Home(id=HOME, building="b1", lines=(Line(from_ms=0),), consents=(consent,))
        directory.import_homes(Inventory(homes={HOME: home}, buildings={"b1": ""}, pons={}, offers={}))
        directory.add_probes([PROBE], now_ms=NOW)
        directory.assign(PROBE, from_ms=0, home=HOME)
    with closing(Journal(tmp_path / "journal.db")) as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_it(*arguments: object, status: int = 0) -> str:
        options = ["dead-letters", *map(str, arguments), "--data", str(tmp_path)]
        found = CliRunner().invoke(cli.app, options)
        assert found.exit_code == status, found.output
        return found.stderr if status else found.stdout

    return run_it


def take(data: Path, journal: Journal, *messages: Incoming) -> None:
    with Directory(sqlite_url(data)) as directory:
        Ingest(journal, directory.snapshot().resolve, lambda: NOW).take(messages)


def as_letter(journal: Journal, message: Incoming) -> None:
    """Keeps a message as a collector that could not read it would have."""
    letter = DeadLetter(
        probe=PROBE, key=message.payload[-16:], reason="bad_version", detail="2", payload=message.payload
    )
    with journal.transaction():
        journal.add_dead_letter(letter, NOW)


def test_the_list_says_of_each_whose_it_is_why_when_and_how_much(tmp_path: Path, journal: Journal, run: Run) -> None:
    assert (run("list"), run("list", "--json")) == ("", "[]\n")
    message = Sender().sends({"m": "weather", "at": 0})
    take(tmp_path, journal, message, Sender().raw(b"rubbish"))
    (first, second) = json.loads(run("list", "--json"))
    expected = {"id": 1, "probe": PROBE, "reason": "unknown_measurement", "bytes": len(message.payload)}
    assert {name: first[name] for name in expected} == expected
    assert first["detail"] == "record 0: weather"
    assert first["received"].startswith("2027-01-15")
    assert second["reason"] == "bad_envelope"
    assert [line.split("\t")[:3] for line in run("list").splitlines()] == [
        ["1", PROBE, "unknown_measurement"],
        ["2", PROBE, "bad_envelope"],
    ]


def test_one_is_shown_with_what_came_and_what_this_version_says_of_it(
    tmp_path: Path, journal: Journal, run: Run
) -> None:
    take(tmp_path, journal, Sender().sends({"m": "weather", "at": 0}))
    as_letter(journal, Sender().sends())
    shown = run("show", 1)
    assert f"probe    {PROBE}\n" in shown
    assert "now      unknown_measurement: record 0: weather\n" in shown
    assert "envelope b'{" in shown
    assert "can be read: balise dead-letters replay" in run("show", 2)
    assert run("show", 3, status=2) == "balise: 3: no dead letter has that number\n"


def test_bytes_of_any_kind_are_shown_without_harm_to_the_terminal(tmp_path: Path, journal: Journal, run: Run) -> None:
    take(tmp_path, journal, Sender().raw(b"\x1b[31m\x00\xff" + bytes(range(256)) * 8))
    assert "\x1b" not in run("show", 1) + run("list")


def test_replay_keeps_what_can_be_read_now_and_says_what_became_of_each(
    tmp_path: Path, journal: Journal, run: Run
) -> None:
    an_hour_ago = time.time_ns() // 1_000_000 - 3_600_000
    as_letter(journal, Sender().sends(ts_ms=an_hour_ago))
    as_letter(journal, Sender().sends(ts_ms=an_hour_ago + 1))
    take(tmp_path, journal, Sender().sends({"m": "weather", "at": 0}))
    assert run("replay", 2) == "1\tnew\n"
    assert run("replay") == "1\tnew\n1\tunknown_measurement\n"
    assert [letter["id"] for letter in journal.dead_letters()] == [3]
    entries, _ = journal.entries(0, 10)
    assert [(e.place.home, e.ts_ms - an_hour_ago) for e in entries] == [(HOME, 1), (HOME, 0)]


def test_replay_of_a_number_that_is_not_there_says_so(journal: Journal, run: Run) -> None:
    assert run("replay", 7) == "1\tunknown_id\n"


def test_replay_twice_keeps_once(tmp_path: Path, journal: Journal, run: Run) -> None:
    message = Sender().sends()
    take(tmp_path, journal, message)
    as_letter(journal, message)
    assert run("replay") == "1\tduplicate\n"
    assert run("replay") == ""
    assert len(journal.entries(0, 10)[0]) == 1
