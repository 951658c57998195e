"""Is the configuration file read as it says, with each fault told?"""

from __future__ import annotations

from pathlib import Path

import pytest

from balise_agent.config import AgentConfig, ConfigError, dump, load, parse
from balise_agent.contract import is_probe_id
from balise_agent.identity import boot_token, identify
from balise_agent.probes import PROBES
from balise_agent.settings import Secret

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy/agent.example.toml"
BAD = sorted((ROOT / "tests/config/bad").glob("*.toml"))
MINIMAL = '[broker]\nhost = "127.0.0.1"\n[probe]\nid = "k3v9q2xa7m"\n'


def parsed(text: str) -> AgentConfig:
    config = parse(text)
    assert isinstance(config, AgentConfig), config
    return config


def with_password_file(path: Path) -> AgentConfig:
    return parsed(MINIMAL.replace("[probe]", f'username = "u"\npassword_file = "{path}"\n[probe]'))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_has_exactly_this_fault(path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert str(raised.value) == path.with_suffix(".txt").read_text().rstrip("\n")


def test_each_bad_file_has_its_message() -> None:
    assert len(BAD) >= 30
    assert {path.stem for path in BAD} == {path.stem for path in (ROOT / "tests/config/bad").glob("*.txt")}


def test_the_example_is_valid() -> None:
    config = load(EXAMPLE)
    assert is_probe_id(config.probe.id)
    assert [target.label for target in config.probes["reach"].targets] == ["gw", "op", "any1", "any2"]
    assert config.state_dir == Path("/var/lib/balise-agent")


def test_the_defaults_that_the_example_shows_in_comments_are_the_defaults() -> None:
    lines = [line.removeprefix("# ") if " = " in line else line for line in EXAMPLE.read_text().splitlines()]
    optional: tuple[str, ...] = ("batch_s", "command_key", "ca_file", "cert_file", "key_file")
    optional += (
        "wan_interface",
        "lan_interface",
        "campaign_from",
        "day_bytes",
        "month_bytes",
        "contract_down_bps",
        "contract_up_bps",
    )
    spelt_out = "\n".join(line for line in lines if not line.startswith(optional))
    assert parsed(spelt_out) == load(EXAMPLE)


def test_two_tables_are_enough() -> None:
    config = parsed(MINIMAL)
    assert (config.broker.port, config.broker.tls, config.broker.keepalive_s) == (8883, True, 40)
    assert config.probes == {name: probe.settings() for name, probe in PROBES.items()}


@pytest.mark.parametrize(
    ("agent", "batch_s"),
    [("", 60), ('mode = "eco"', 300), ("batch_s = 5", 5), ('mode = "eco"\nbatch_s = 1', 1)],
)
def test_the_batch_time_is_the_modes_unless_given(agent: str, batch_s: float) -> None:
    assert parsed(f"[agent]\n{agent}\n{MINIMAL}").batch_s == batch_s


def test_all_faults_of_a_file_stand_one_a_line() -> None:
    faults = parse("[agent]\nmode = 1\n[broker]\nport = 0\n[reach]\ninterval_s = 0\n")
    assert isinstance(faults, tuple)
    assert str(ConfigError(faults)).splitlines() == [
        "agent.mode: 1 is not one of normal, eco",
        "broker.host: missing",
        "broker.port: 0 is not within 1-65535",
        "probe.id: missing",
        "reach.interval_s: 0 is not within 1-3600 s",
    ]


def test_a_file_that_is_not_there_is_a_fault_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent\.toml: No such file or directory"):
        load(tmp_path / "agent.toml")


def test_a_file_that_is_not_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes(b"[agent]\xff")
    with pytest.raises(ConfigError, match="byte 7 is not UTF-8"):
        load(tmp_path / "agent.toml")


def test_the_dump_shows_all_but_the_secrets() -> None:
    config = parsed(MINIMAL.replace("[probe]", 'username = "u"\npassword = "hunter2"\n[probe]'))
    assert "hunter2" not in dump(config) + repr(config)
    assert 'password = "***"' in dump(config)


def test_the_dump_of_the_example_reads_as_the_example() -> None:
    assert parsed(dump(load(EXAMPLE))) == load(EXAMPLE)


def test_a_password_of_a_private_file_is_taken_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    identity = identify(with_password_file(path))
    assert (identity.probe, identity.username, identity.password) == ("k3v9q2xa7m", "u", Secret("hunter2"))
    assert "hunter2" not in repr(identity)


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        (b"hunter2", 0o640, "mode 0640 lets others read it; 0600 is allowed"),
        (b"hunter2", 0o604, "mode 0604 lets others read it; 0600 is allowed"),
        (b"\n", 0o600, "is empty"),
        (b"hunter\xff", 0o600, "byte 6 is not UTF-8"),
    ],
)
def test_a_password_file_that_is_not_private_or_not_text_is_a_fault(
    tmp_path: Path, content: bytes, mode: int, fault: str
) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigError) as raised:
        identify(with_password_file(path))
    assert raised.value.faults == (f"broker.password_file: {path}: {fault}",)


def test_a_password_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        identify(with_password_file(tmp_path / "none"))


def test_one_boot_has_one_short_token_and_another_boot_another(tmp_path: Path) -> None:
    first = boot_token(b"5f0c2a36-6a3f-4a2e-9e9b-0b0f3a7c1d2e\n")
    assert first == boot_token(b"5f0c2a36-6a3f-4a2e-9e9b-0b0f3a7c1d2e")
    assert first != boot_token(b"5f0c2a36-6a3f-4a2e-9e9b-0b0f3a7c1d2f")
    assert len(first) == 11
    assert identify(parsed(MINIMAL)).boot == identify(parsed(MINIMAL)).boot
