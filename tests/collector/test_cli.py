"""Is every command that exists also one that can be typed, and does it say in a line what is wrong with its files?"""

import importlib
import pkgutil
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from balise_agent.logs import EventFormatter
from balise_collector import commands
from balise_collector.cli import app
from balise_collector.commands.options import show
from balise_collector.directory import Directory, sqlite_url
from balise_collector.journal import Journal
from balise_collector.store import Damage, Tags
from balise_collector.store.chunks import log_damage


def test_each_group_of_commands_is_on_the_command_line() -> None:
    modules = {found.name: importlib.import_module(f"{commands.__name__}.{found.name}") for found in _modules()}
    groups = {
        name.replace("_", "-")
        for name, module in modules.items()
        if isinstance(getattr(module, "app", None), typer.Typer)
    }
    known = set(get_command(app).commands)  # type: ignore[attr-defined]  # a group has them
    assert groups <= known
    assert {"influx", "grafana"} <= groups


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of a server that has just begun."""
    with Directory(sqlite_url(tmp_path)), closing(Journal(tmp_path / "journal.db")):
        return tmp_path


HOME = "home000000000001"


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("directory", "homes list"),
        ("directory", "quality --month 2026-11"),
        ("journal", "status"),
        ("journal", "dead-letters list"),
        ("journal", "dead-letters replay"),
        ("journal", "influx forget"),
        ("journal", f"homes erase {HOME}"),
        ("judge", f"homes erase {HOME}"),
        ("stats", f"homes erase {HOME}"),
        ("erasures", f"homes erase {HOME}"),
        ("judge", "incidents list"),
        ("judge", "incidents ack I1"),
        ("judge", "evidence import /dev/null"),
        ("fleet", "status"),
        ("fleet", "command probe00000000001 test"),
    ],
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_damaged_file_ends_a_command_in_one_line_that_names_it(
    data: Path, file: str, command: str, *, is_folder: bool
) -> None:
    path = data / f"{file}.db"
    path.unlink(missing_ok=True)
    if is_folder:
        path.mkdir()
    else:
        path.write_bytes(b"no database" * 1_000)
    found = CliRunner().invoke(app, [*command.split(), "--data", str(data)])
    assert (found.exit_code, type(found.exception)) == (2, SystemExit), found.output
    assert found.stderr.startswith("balise: ")
    assert f"{path}: " in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_evidence_for_a_folder_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = CliRunner().invoke(app, ["evidence", "import", "/dev/null", "--data", str(tmp_path / "file")])
    assert (found.exit_code, found.stderr) == (2, f"balise: {tmp_path / 'file'}: File exists\n")


@pytest.mark.parametrize("command", ["grafana build --out FILE", f"dead-letters show {2**63} --data FILE"])
def test_what_cannot_be_written_or_looked_for_is_no_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    found = CliRunner().invoke(app, command.replace("FILE", str(tmp_path / "file")).split())
    assert (found.exit_code, type(found.exception)) == (2, SystemExit), found.output


def test_a_home_that_nobody_knows_is_not_said_to_be_erased(data: Path) -> None:
    found = CliRunner().invoke(app, ["homes", "erase", HOME, "--data", str(data)])
    assert (found.exit_code, found.stderr) == (1, f"balise: {HOME}: no such home, and nothing of it was here\n")


def test_damage_of_the_store_is_a_line_of_words(caplog: pytest.LogCaptureFixture) -> None:
    tags = Tags(HOME, "b1", "p1", "probe00000000001", "reach", "op")
    log_damage(Damage(file="2026-11-24.db", what="chunk", hour_ms=3_600_000, tags=tags))
    (record,) = caplog.records
    said = "file=2026-11-24.db what=chunk hour_ms=3600000 home=home000000000001 measurement=reach"
    assert EventFormatter().format(record) == f"error store_damage {said}"


def test_a_table_shows_a_zero_and_leaves_out_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"bytes": 0, "detail": None}], ("bytes", "detail"), as_json=False)
    assert capsys.readouterr().out == "0\t\n"


def _modules() -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(commands.__path__))
