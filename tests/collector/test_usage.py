"""Is each command line that nobody understands refused in one line, with field, value and what is allowed?"""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.exceptions import TyperException
from typer.testing import CliRunner

from balise_collector.cli import app
from balise_collector.commands.usage import words
from balise_collector.demo.town import LEAST_HOMES, SEED
from balise_collector.town.script import ScriptError, shipped
from balise_collector.trial import live

HOMES = "import, export, new, assign, unassign, withdraw, erase, place, list"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("target --port abc", "--port: 'abc'; allowed: a whole number, 0-65535"),
        ("target --port 65536", "--port: '65536'; allowed: a whole number, 0-65535"),
        ("demo --seconds 0", "--seconds: '0'; allowed: a number, 1 at least"),
        ("dead-letters replay 1 x", "ID: 'x'; allowed: a whole number"),
        ("homes imprt", f"imprt: no such command; allowed: {HOMES}"),
        ("broker init --colour", "--colour: no such option; allowed: --port, --listen, --cert, --key, --ca, --crl, "),
        ("target --port", "--port: its value is missing"),
        ("homes list --json=yes", "--json: does not take a value"),
        ("homes list twice", "twice: nothing more is asked for here"),
        ("homes import", "FILE.csv: missing (Columns: docs/homes.md; - is standard input)"),
        ("target token --segment s", "--key: missing (The file of the target's key: 32 bytes or more in base64url)"),
        ("target --role core", "--role: 'core'; allowed: operator, offnet"),
        ("target --tls-cert /none.pem", "--tls-cert, --tls-key: cannot use /none.pem with /none.pem: No such file"),
        ("target --listen 127.0.0.1.2", "cannot listen on TCP port 8080 of 127.0.0.1.2: "),
        ("demo --fault tv:channel=x", "--fault: tv:channel=x: not channel=1-60 with, if any, kind=loss|cc|freeze|off"),
        ("demo --fault wifi:off", "--fault: 'wifi:off' is of no service that the demo has; allowed: tv, voice"),
        ("demo --faults x.toml", "--faults: needs --town, which it happens in"),
        ("demo --town 41", "--town: 41; allowed: 42-2000 with the demo's own faults; fewer with --faults FILE"),
        (
            "grafana push --url http://u:p@127.0.0.1:1 --token t",
            "127.0.0.1:1: its version: cannot be reached (refused)",
        ),
        ("influx init http://127.0.0.1:1 --data /none", "InfluxDB: 127.0.0.1:1: Connection refused"),
    ],
)
def test_what_is_not_understood_is_one_line_and_exit_status_2(line: str, said: str) -> None:
    found = CliRunner().invoke(app, line.split())
    assert found.stderr.startswith(f"balise: {said}")
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("line", ["", "homes"])
def test_who_asks_for_nothing_is_shown_what_there_is(line: str) -> None:
    found = CliRunner().invoke(app, line.split())
    assert (found.exit_code, found.stderr) == (2, "")
    assert "Commands" in found.stdout


def test_words_of_another_typer_are_passed_on() -> None:
    assert words(TyperException("It is Monday.")) == "It is Monday."


def test_the_least_town_of_the_demo_is_the_least_that_its_faults_fit_into() -> None:
    asked = live.Settings(homes=LEAST_HOMES, seed=SEED, start_ms=0, script=str(shipped("demo.toml")), passwords={})
    assert asked.stream().faults
    with pytest.raises(ScriptError):
        replace(asked, homes=LEAST_HOMES - 1).stream()


@pytest.mark.parametrize(
    "line",
    ["homes import FILE", "homes import FILE.none", "probes add", "probes readmit probe00000000001"],
)
def test_a_command_that_is_refused_leaves_nothing(tmp_path: Path, line: str) -> None:
    (tmp_path / "homes.csv").write_text("home,colour\n")
    words_ = line.replace("FILE", str(tmp_path / "homes.csv")).split()
    found = CliRunner().invoke(app, [*words_, "--data", str(tmp_path / "data")])
    assert found.exit_code == 2, found.output
    assert not (tmp_path / "data").exists()
