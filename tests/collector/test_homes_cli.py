"""Do the commands of homes, probes and broker do what they say, and say in one line what they cannot?"""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from balise_agent import config as agent_config
from balise_collector import broker, homes_csv
from balise_collector.commands import broker as broker_commands
from balise_collector.commands import homes, probes
from balise_collector.directory import Directory, sqlite_url
from balise_collector.placement import Place, Placement, UnknownProbe, Withdrawn

app = typer.Typer()
app.add_typer(homes.app, name="homes")
app.add_typer(probes.app, name="probes")
app.add_typer(broker_commands.app, name="broker")

H, K = "home0000000000h1", "home0000000000k2"
FILE = f"""\
home,building,district,from,pon,olt,card,head_end,offer,operator,down_bps,up_bps,mesure,aide,evaluation
{H},B12,north,2020-11-01,A,olt1,3,,fibre,op,1000000000,100000000,v1 2020-11-01,v1 2020-11-01/2020-11-03,
{K},B13,,,,,,,,,,,,,
"""
DEC = 1_606_780_800_000  # 2020-12-01
EVERYWHERE = "0.0.0.0"  # noqa: S104  # only written into a file
IN_A = Place(home=H, building="B12", pon="A")

Run = Callable[..., str]
Fail = Callable[..., str]


def invoke(data: Path, *arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env={"BALISE_DATA": str(data)})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Its output, of a command that succeeds."""

    def run_it(*arguments: object, stdin: str | None = None) -> str:
        result = invoke(tmp_path / "data", *arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run_it


@pytest.fixture
def fail(tmp_path: Path) -> Fail:
    """Its lines on standard error, of a command that fails with status 2 and says nothing else."""

    def fail_it(*arguments: object, stdin: str | None = None) -> str:
        result = invoke(tmp_path / "data", *arguments, stdin=stdin)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        return result.stderr

    return fail_it


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "homes.csv"
    path.write_text(FILE)
    return path


@pytest.fixture
def probe(run: Run, file: Path) -> str:
    """At H from December on."""
    run("homes", "import", file)
    run("broker", "init")
    return run("probes", "add", "--assign", H, "--from", "2020-12-01").split("\t")[0]


def place(data: Path, probe: str, ms: int) -> Placement:
    with Directory(sqlite_url(data)) as directory:
        return directory.snapshot().resolve(probe, ms)


def rows(text: str) -> Any:
    return json.loads(text)


def test_homes_are_imported_listed_and_exported_as_they_came(run: Run, file: Path, tmp_path: Path) -> None:
    assert run("homes", "import", file) == "2 homes added, 0 changed, 0 unchanged\n"
    assert run("homes", "import", "-", stdin=FILE) == "0 homes added, 0 changed, 2 unchanged\n"
    assert run("homes", "export") == FILE
    run("homes", "export", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == FILE
    assert rows(run("homes", "list", "--json")) == [
        {
            "home": H,
            "building": "B12",
            "pon": "A",
            "offer": "fibre",
            "probes": "",
            "mesure": "yes",
            "aide": "no",
            "evaluation": "no",
        },
        {
            "home": K,
            "building": "B13",
            "pon": "",
            "offer": "",
            "probes": "",
            "mesure": "no",
            "aide": "no",
            "evaluation": "no",
        },
    ]
    assert run("homes", "list").splitlines()[1] == f"{K}\tB13\t\t\t\tno\tno\tno"


def test_a_file_with_faults_imports_nothing_and_each_is_said(run: Run, fail: Fail, file: Path) -> None:
    run("homes", "new")
    file.write_text(FILE.replace("B13", "13 rue X").replace("1000000000,", "1 Gbit/s,"))
    assert [line.split(";")[0] for line in fail("homes", "import", file).splitlines()] == [
        f"balise: {file}: line 2: down_bps: '1 Gbit/s'",
        f"balise: {file}: line 3: building: '13 rue X'",
    ]
    assert rows(run("homes", "list", "--json")) == []


def test_an_id_that_is_a_probe_s_is_a_fault_of_its_line(fail: Fail, file: Path, probe: str) -> None:
    file.write_text(FILE.replace(K, probe))
    allowed = "an id that no probe or place has"
    assert fail("homes", "import", file) == f"balise: {file}: line 3: home: '{probe}'; allowed: {allowed}\n"


def test_new_ids_are_drawn_for_a_file(run: Run) -> None:
    ids = run("homes", "new", "--count", 3).split()
    source = "home,building,mesure\n" + "".join(f"{id_},B12,\n" for id_ in ids)
    assert run("homes", "import", "-", stdin=source) == "3 homes added, 0 changed, 0 unchanged\n"


def test_a_probe_is_assigned_moved_and_withdrawn(run: Run, probe: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert place(data, probe, DEC) == IN_A
    said = f"{probe} was at {H} from 2020-12-01 to 2020-12-02\n"
    assert run("homes", "unassign", probe, "--at", "2020-12-02") == said
    run("homes", "place", "nro-est", "--pon", "A")
    until = ("--from", "2020-12-02T00:00:00Z", "--until", "2020-12-03")
    said = f"{probe} is at nro-est from 2020-12-02 until 2020-12-03\n"
    assert run("homes", "assign", probe, "--place", "nro-est", *until) == said
    run("homes", "assign", probe, H, "--from", "2020-12-03")
    assert place(data, probe, DEC + 2 * 86_400_000) == IN_A
    said = f"{H}: consent to mesure withdrawn from 2020-12-04\n"
    assert run("homes", "withdraw", H, "--from", "2020-12-04") == said
    assert place(data, probe, DEC + 3 * 86_400_000) == Withdrawn()
    assert "nothing to withdraw" in run("homes", "withdraw", H, "--from", "2020-12-05")
    assert "2 homes added" not in run("homes", "import", "-", stdin=FILE)
    assert place(data, probe, DEC + 3 * 86_400_000) == Withdrawn()


def test_an_older_file_s_silence_on_a_withdrawal_is_said(run: Run, file: Path) -> None:
    run("homes", "import", file)
    run("homes", "withdraw", H, "--from", "2020-12-04")
    assert "1 consents stay withdrawn" in run("homes", "import", file)


def test_a_new_probe_has_a_configuration_that_it_alone_can_read(run: Run, probe: str, tmp_path: Path) -> None:
    written = tmp_path / f"data/probes/{probe}.toml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700
    lines = dict(line.split(" = ") for line in written.read_text().splitlines() if " = " in line)
    assert {name: json.loads(value) for name, value in lines.items() if name != "password"} == {
        "id": probe,
        "host": "127.0.0.1",
        "port": 1883,
        "tls": False,
        "username": probe,
    }
    assert broker.probes(tmp_path / "data/broker/dynamic-security.json") == [probe]
    assert rows(run("probes", "list", "--json"))[0]["home"] == H
    assert rows(run("homes", "list", "--json"))[0]["home"] == H


def test_a_password_is_printed_only_where_it_is_asked_for(run: Run, file: Path, tmp_path: Path) -> None:
    run("homes", "import", file)
    run("broker", "init", "--listen", EVERYWHERE)
    out = tmp_path / "out"
    printed = run("probes", "add", "--count", 3, "--host", "broker.example", "--out", out)
    secrets = [json.loads(path.read_text().split("password = ")[1]) for path in out.iterdir()]
    assert len(set(secrets)) == 3
    assert not [secret for secret in secrets if secret in printed]
    shown = run("probes", "add", "--host", "broker.example", "--show")
    assert 'host = "broker.example"' in shown
    assert len(json.loads(shown.split("password = ")[1])) == 43
    assert len(list(out.iterdir())) == 3


def test_a_revoked_probe_is_unknown_to_directory_and_broker(run: Run, probe: str, tmp_path: Path) -> None:
    assert run("probes", "revoke", probe) == f"{probe} is revoked\n"
    assert run("probes", "revoke", probe) == f"{probe} is revoked; the broker did not know it\n"
    assert place(tmp_path / "data", probe, DEC) == UnknownProbe()
    assert broker.probes(tmp_path / "data/broker/dynamic-security.json") == []
    assert rows(run("probes", "list", "--json"))[0]["revoked"]


def test_a_probe_for_an_unknown_home_is_made_nowhere(run: Run, fail: Fail, probe: str, tmp_path: Path) -> None:
    assert "home 0000000000000000 is not in the directory" in fail("probes", "add", "--assign", "0" * 16)
    assert broker.probes(tmp_path / "data/broker/dynamic-security.json") == [probe]
    assert [row["probe"] for row in rows(run("probes", "list", "--json"))] == [probe]


def test_the_broker_s_address_and_certificates_are_in_its_configuration(run: Run, tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.touch()
    folder = tmp_path / "elsewhere"
    said = run("broker", "init", folder, "--cert", pem, "--key", pem, "--ca", pem, "--no-persistence")
    assert said == f"mosquitto -c {folder / 'mosquitto.conf'}\n"
    conf = (folder / "mosquitto.conf").read_text().splitlines()
    for line in ("listener 8883 127.0.0.1", f"cafile {pem}", "require_certificate true", "persistence false"):
        assert line in conf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("homes import nowhere.csv", "nowhere.csv: No such file or directory"),
        ("homes assign x", "a HOME or --place CODE, one of the two"),
        ("homes assign PROBE x --from tomorrow", "--from: 'tomorrow'; allowed: a day (2026-11-30: its midnight UTC)"),
        ("homes assign 0000000000000000 x", "probe 0000000000000000 is not in the directory"),
        ("homes withdraw 0000000000000000", "home 0000000000000000 is not in the directory"),
        ("homes withdraw HOME --purpose fun", "--purpose: 'fun'; allowed: mesure, aide, evaluation"),
        (
            "homes list --directory postgresql://u:secret@127.0.0.1:1/x",
            "directory postgresql+psycopg://u:***@127.0.0.1",
        ),
        ("homes list --directory sqlite:////nowhere/x.db", "directory sqlite:////nowhere/x.db: No such file"),
        ("probes add", "no broker here; make one: balise broker init"),
        ("probes add --count 2 --assign HOME", "--assign: one probe, not --count"),
        ("probes revoke 0000000000000000", "no broker here"),
        ("broker init --cert a.pem", "--cert and --key: both, or none of them"),
        ("broker init --cert nowhere.pem --key nowhere.key", "nowhere.pem: no such file"),
        ("broker init --ca a.pem", "--ca: needs --cert and --key"),
        ("broker init --crl a.pem", "--crl: needs --ca"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(run: Run, fail: Fail, arguments: str, message: str) -> None:
    run("homes", "new")
    said = fail(*arguments.split())
    assert message in said
    assert said.count("\n") == 1


def test_a_broker_on_all_addresses_needs_a_name_that_probes_know(run: Run, fail: Fail) -> None:
    run("broker", "init", "--listen", EVERYWHERE)
    assert "--host: the broker listens on every address (0.0.0.0)" in fail("probes", "add")
    assert "--ca-file: the broker speaks without TLS" in fail("probes", "add", "--host", "x", "--ca-file", "y")


# -- The page --

PAGE = Path(__file__).parents[2] / "docs/homes.md"


def test_the_page_s_file_of_homes_is_one(run: Run) -> None:
    text = PAGE.read_text().split("```csv\n")[1].split("```")[0]
    assert run("homes", "import", "-", stdin=text) == "2 homes added, 0 changed, 0 unchanged\n"
    lines = text.splitlines()
    exported = run("homes", "export").splitlines()
    assert (exported[0], len(exported), exported[1]) == (lines[0], len(lines), lines[1])


@pytest.mark.parametrize("column", homes_csv.COLUMNS)
def test_the_page_says_what_each_column_is(column: str) -> None:
    assert f"| `{column}` | " in PAGE.read_text()


@pytest.mark.parametrize(
    "command",
    [
        f"{group} {found.name or found.callback.__name__}"
        for group, part in (("homes", homes), ("probes", probes), ("broker", broker_commands))
        for found in part.app.registered_commands
        if found.callback
    ],
)
def test_the_page_has_an_example_of_each_command(command: str) -> None:
    assert f"$ balise {command}" in PAGE.read_text()


def test_the_page_s_words_of_the_program_are_the_program_s(run: Run, fail: Fail, file: Path) -> None:
    file.write_text(FILE.replace("B13", "13 rue X").replace("1000000000,", "10M,"))
    said = fail("homes", "import", file).replace(str(file), "homes.csv")
    assert said in PAGE.read_text()


def test_the_agent_takes_what_a_new_probe_is_given(probe: str, tmp_path: Path) -> None:
    config = agent_config.load(tmp_path / f"data/probes/{probe}.toml")
    assert (config.probe.id, config.broker.username, config.broker.tls) == (probe, probe, False)


@pytest.mark.parametrize("arguments", ["homes list", "probes list", "homes withdraw HOME"])
def test_a_wrong_folder_is_one_line_and_stays_empty(fail: Fail, tmp_path: Path, arguments: str) -> None:
    assert "no directory here; `balise homes import` makes it" in fail(*arguments.split())
    assert not (tmp_path / "data").exists()
