"""Does the operator's configuration take hold, prove itself, and give way when it does not?"""

from __future__ import annotations

import base64
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from balise_agent import codec, remote_config
from balise_agent.config import AgentConfig, parse
from balise_agent.contract import Command, Config
from balise_agent.probes import PROBES
from balise_agent.probes.dns import DnsSettings
from balise_agent.probes.reach import ReachTarget
from balise_agent.remote_config import (
    MOST_TRIALS,
    TRIAL_S,
    Acknowledged,
    Action,
    Apply,
    EraseBuffer,
    Event,
    Keep,
    Received,
    Say,
    Started,
    State,
    StopMeasuring,
    Tick,
    apply,
    decide,
)
from balise_agent.signature import is_signed, signed_bytes

LOCAL = """
[agent]
batch_s = 30
[broker]
host = "127.0.0.1"
[probe]
id = "k3v9q2xa7m"
[dns]
interval_s = 120
[[dns.resolvers]]
label = "box"
host = "127.0.0.1"
name = "probe.example.net"
[[reach.targets]]
label = "gw"
host = "127.0.0.1"
"""


def local(text: str = LOCAL) -> AgentConfig:
    config = parse(text)
    assert isinstance(config, AgentConfig), config
    return config


BASE = local()


def plan(version: int = 1, **of_plan: Any) -> Config:
    return Config(version=version, plan=of_plan)


class Machine:
    """Drives `decide` with a clock of its own."""

    def __init__(self, base: AgentConfig = BASE, state: State | None = None) -> None:
        self.base, self.state, self.now_s = base, state or State(), 1000.0

    def __call__(self, event: Event) -> tuple[Action, ...]:
        self.state, actions = decide(self.base, self.state, event, self.now_s)
        return actions

    def receive(self, config: Config) -> list[str]:
        return named(self(Received(config=config)))

    def after(self, seconds: float) -> list[str]:
        self.now_s += seconds
        return named(self(Tick()))

    def acknowledged(self) -> list[str]:
        return named(self(Acknowledged(sealed_s=self.now_s)))


def named(actions: tuple[Action, ...]) -> list[str]:
    return [action.what if isinstance(action, Say) else type(action).__name__ for action in actions]


APPLIED = ["Keep", "Apply", "config_applied"]
REVERTED = ["Keep", "Apply", "config_reverted"]
WITHDRAWN = ["Keep", "StopMeasuring", "EraseBuffer", "config_applied"]

# apply


def applied(config: Config) -> AgentConfig:
    result = apply(BASE, config)
    assert isinstance(result, AgentConfig), result
    return result


def test_what_the_operator_does_not_say_keeps_the_local_value() -> None:
    assert applied(Config(version=1)) == BASE


def test_intervals_and_batch_time_are_taken() -> None:
    config = applied(plan(batch_s=5, dns={"interval_s": 60}, host={"enabled": False}))
    assert (config.batch_s, config.probes["dns"].interval_s, config.probes["host"].enabled) == (5, 60, False)
    assert config.probes["dns"].resolvers == BASE.probes["dns"].resolvers
    assert config.probes["reach"] == BASE.probes["reach"]


def test_the_operators_mode_counts_more_than_the_local_batch_time() -> None:
    assert applied(plan(mode="eco")).batch_s == 300


def test_whom_a_probe_calls_and_as_whom_is_the_local_files_alone() -> None:
    number = {"label": "n", "account": "op", "number": "+33899000000"}
    for key, given in (("numbers", [number]), ("accounts", []), ("ungated", True)):
        assert apply(BASE, plan(voice={key: given})) == (f"plan.voice.{key}: the local file's alone",)
    peers = [{"label": "target", "host": "127.0.0.2", "port": 5060}]
    config = applied(Config(version=1, targets={"voice": peers}, plan={"voice": {"calls_a_day": 2}}, token="t0ken"))
    voice = config.probes["voice"]
    assert (voice.paths[0].host, voice.calls_a_day, voice.token.reveal()) == ("127.0.0.2", 2, "t0ken")
    assert (voice.accounts, voice.numbers) == ((), ())


def test_targets_replace_the_local_ones_of_that_probe_alone() -> None:
    peers = [{"label": "op", "host": "127.0.0.2", "method": "stamp"}]
    config = applied(Config(version=1, targets={"reach": peers}))
    assert config.probes["reach"].targets == (ReachTarget(label="op", host="127.0.0.2", method="stamp"),)
    assert config.probes["dns"] == BASE.probes["dns"]


def test_the_operators_channels_replace_the_local_ones() -> None:
    told = applied(replace(plan(), channels=({"label": "two", "url": "rtp://239.0.0.2:5004"},)))
    assert [channel.label for channel in told.probes["tv"].channels] == ["two"]
    base = apply(local(), replace(plan(), channels=()))
    assert isinstance(base, AgentConfig)
    assert base.probes["tv"] == local().probes["tv"]


def test_a_fault_of_the_channels_is_told_where_the_operator_wrote_them() -> None:
    wrong = ({"label": "two", "url": "rtsp://h/2"}, {"label": "two", "url": "udp://239.0.0.2:5004", "colour": "red"})
    faults = apply(local(), replace(plan(tv={"listen_s": 0}), channels=wrong))
    assert isinstance(faults, tuple)
    of_channels = {fault.split(":")[0] for fault in faults if fault.startswith("channels")}
    assert of_channels == {"channels[0].url", "channels[1].colour"}
    assert any(fault.startswith("plan.tv.listen_s: 0 is not within") for fault in faults)
    assert apply(local(), plan(tv={"channels": []})) == ("plan.tv.channels: unknown key; it is channels",)


def test_who_the_probe_is_and_its_broker_are_the_local_files() -> None:
    config = applied(plan(batch_s=5))
    assert (config.broker, config.probe, config.agent.state_dir) == (BASE.broker, BASE.probe, BASE.agent.state_dir)


def test_contract_and_token_are_those_of_the_tests_that_fill_the_line() -> None:
    targets = {"throughput": [{"label": "op", "url": "http://127.0.0.1:8080"}]}
    contract = {"down_bps": 10_000_000, "up_bps": 5_000_000, "since": "2026"}
    config = applied(Config(version=1, contract=contract, token="pon.light.1.seal", targets=targets))
    for name in ("throughput", "loaded", "udp_capacity", "speedtest"):
        part = config.probes[name]
        assert getattr(part, "contract_down_bps", 10e6) == 10e6
        assert getattr(part, "contract_up_bps", 5e6) == 5e6
        assert part.token.reveal() == "pon.light.1.seal"
        assert [target.label for target in part.targets] == ["op"]
    assert config.probes["reach"] == BASE.probes["reach"]
    assert applied(Config(version=2, targets=targets)).probes["throughput"].token is None


def test_what_the_plan_says_of_a_probe_counts_before_its_contract() -> None:
    config = Config(version=1, contract={"down_bps": 10e6}, plan={"throughput": {"contract_down_bps": 5}})
    assert applied(config).probes["throughput"].contract_down_bps == 5
    assert applied(config).probes["loaded"].contract_down_bps == 10e6


def test_a_contract_that_cannot_be_is_refused_once() -> None:
    config = Config(version=1, contract={"down_bps": "fast"}, plan={"heavy": {"campaign_from": "2026-13-01"}})
    assert apply(BASE, config) == (
        "plan.heavy.campaign_from: '2026-13-01' is not a date like 2026-11-24",
        "contract.down_bps: 'fast' is not a number within 1-100000000000 bit/s",
    )
    assert apply(BASE, plan(heavy=3)) == ("plan.heavy: not a table",)


def test_a_campaign_is_the_operators_to_begin() -> None:
    assert applied(plan(heavy={"campaign_from": "2026-11-24"})).heavy.campaign_from == "2026-11-24"


def test_all_faults_are_reported_with_where_the_operator_wrote_them() -> None:
    known = ", ".join(("batch_s", "mode", "heavy", *PROBES))
    with_peers = [
        name
        for name, p in PROBES.items()
        if any(f.type.startswith("tuple[") and f.name != "channels" for f in fields(p.settings))
    ]
    config = Config(
        version=1,
        plan={
            "batch_s": 0,
            "raech": {},
            "reach": {"interval_s": 0, "targets": []},
            "dns": {"colour": 1, "interval_s": -1},
            "web": 5,
            "state_dir": "/",
        },
        targets={"dns": [{"label": "box", "host": "127.0.0.1", "name": "a..b"}], "host": [], "web": "x"},
    )
    assert apply(BASE, config) == (
        f"plan.raech: unknown key; known are {known}",
        f"plan.state_dir: unknown key; known are {known}",
        f"targets.host: unknown key; known are {', '.join(with_peers)}",
        "plan.batch_s: 0 is not within 1-3600 s",
        "plan.reach.targets: unknown key; it is targets.reach",
        f"plan.dns.colour: unknown key; known are {', '.join(f.name for f in fields(DnsSettings))}",
        "plan.dns.interval_s: -1 is not within 1-86400 s",
        "targets.dns[0].name: 'a..b' is not a domain name of 220 characters at most",
        "plan.web: not a table",
    )


# trial


def test_a_new_version_is_kept_and_applied_on_trial() -> None:
    machine = Machine()
    keep, apply_, say = machine(Received(config=plan(3, batch_s=5)))
    assert isinstance(keep, Keep)
    assert isinstance(apply_, Apply)
    assert apply_.config.batch_s == 5
    assert say == Say(what="config_applied", version=3, detail="on trial, 1 of 3")
    assert (machine.state.version, machine.state.good) == (3, None)


@pytest.mark.parametrize("version", [2, 3])
def test_an_older_or_equal_version_is_ignored(version: int) -> None:
    machine = Machine()
    machine.receive(plan(3))
    assert machine.receive(plan(version, batch_s=5)) == []


def test_an_acknowledged_message_proves_the_trial() -> None:
    machine = Machine()
    machine.receive(plan(3, batch_s=5))
    assert machine.acknowledged() == ["Keep"]
    assert machine.state.good == plan(3, batch_s=5)
    assert machine.after(10 * TRIAL_S) == []


def test_a_message_sealed_before_the_trial_proves_nothing() -> None:
    machine = Machine()
    machine.receive(plan(3, batch_s=5))
    assert machine(Acknowledged(sealed_s=machine.now_s - 0.001)) == ()
    assert machine.after(TRIAL_S) == REVERTED


def test_without_an_acknowledgement_the_last_good_one_returns() -> None:
    machine = Machine()
    machine.receive(plan(3, batch_s=5))
    machine.acknowledged()
    machine.receive(plan(4, batch_s=7))
    assert machine.after(TRIAL_S - 1) == []
    actions = decide(BASE, machine.state, Tick(), machine.now_s + 1)[1]
    assert [a.config.batch_s for a in actions if isinstance(a, Apply)] == [5]
    assert actions[2] == Say(
        what="config_reverted", version=4, detail="back to version 3: nothing was acknowledged under it for 600 s"
    )


def test_without_a_good_one_the_local_file_returns() -> None:
    machine = Machine()
    machine.receive(plan(3, batch_s=5))
    machine.now_s += TRIAL_S
    assert Apply(config=BASE) in machine(Tick())
    assert machine.state.version == 0


def test_a_version_is_tried_three_times_and_no_more() -> None:
    machine = Machine()
    for _ in range(MOST_TRIALS):
        assert machine.receive(plan(3, batch_s=5)) == APPLIED
        assert machine.after(TRIAL_S) == REVERTED
    assert machine.receive(plan(3, batch_s=5)) == []
    assert machine.receive(plan(4, batch_s=5)) == APPLIED


def test_one_that_does_not_validate_is_refused_whole_and_said_once() -> None:
    machine = Machine()
    machine.receive(plan(3, batch_s=5))
    (say,) = machine(Received(config=plan(4, batch_s=7, dns={"interval_s": 0})))
    assert say == Say(what="config_refused", version=4, detail="plan.dns.interval_s: 0 is not within 1-86400 s")
    assert machine.state.trial == plan(3, batch_s=5)
    assert machine.receive(plan(4, batch_s=7, dns={"interval_s": 0})) == []


def test_what_is_said_is_a_record_that_the_contract_takes() -> None:
    machine = Machine()
    (say,) = machine(Received(config=plan(4, **{f"k{i}": 1 for i in range(100)})))
    assert isinstance(say, Say)
    assert codec.check_record(say.record(5)) is None


# consent


def test_a_withdrawn_consent_stops_and_erases_at_once_and_is_never_on_trial() -> None:
    machine = Machine()
    assert machine.receive(Config(version=3, consent=False)) == WITHDRAWN
    assert machine.after(10 * TRIAL_S) == []
    assert machine.state.version == 3


def test_a_withdrawn_consent_is_obeyed_even_where_the_rest_is_at_fault() -> None:
    assert Machine().receive(Config(version=3, consent=False, plan={"colour": 1})) == WITHDRAWN


def test_a_withdrawn_consent_holds_after_a_restart() -> None:
    machine = Machine()
    machine.receive(Config(version=3, consent=False))
    assert named(Machine(state=machine.state)(Started())) == ["StopMeasuring", "EraseBuffer"]


def test_a_withdrawal_ends_a_trial() -> None:
    machine = Machine()
    machine.receive(plan(3, batch_s=5))
    machine.receive(Config(version=4, consent=False))
    assert (machine.state.trial, machine.after(TRIAL_S)) == (None, [])


def test_a_new_consent_measures_again_and_an_older_one_does_not() -> None:
    machine = Machine()
    machine.receive(plan(2))
    machine.receive(Config(version=4, consent=False))
    assert machine.receive(plan(3)) == []
    assert machine.receive(plan(5)) == APPLIED
    assert machine.state.consent
    machine.after(TRIAL_S)
    assert machine.state.version == 4  # back in its settings; the consent of 5 stands
    assert machine.state.consent


# starting


def test_the_good_one_is_applied_at_start() -> None:
    (action,) = Machine(state=State(good=plan(3, batch_s=5)))(Started())
    assert isinstance(action, Apply)
    assert action.config.batch_s == 5


def test_a_trial_goes_on_at_the_next_start_with_its_whole_time() -> None:
    machine = Machine(state=State(trial=plan(3, batch_s=5), tried=3, trials=1, since_s=99_999_999))
    assert named(machine(Started())) == APPLIED
    assert machine.after(TRIAL_S - 1) == []
    assert machine.after(1) == REVERTED


def test_a_configuration_under_which_the_agent_only_ever_starts_is_given_up() -> None:
    state = State(good=plan(2, batch_s=9))
    state = decide(BASE, state, Received(config=plan(3, batch_s=5)), 0.0)[0]
    starts = []
    for _ in range(MOST_TRIALS):
        state, actions = decide(BASE, state, Started(), 0.0)
        starts.append(named(actions))
    assert starts == [APPLIED, APPLIED, REVERTED]
    assert state.current == plan(2, batch_s=9)


def test_a_good_one_that_no_longer_validates_is_said_and_left() -> None:
    machine = Machine(state=State(good=plan(3, dns={"colour": 1})))
    assert named(machine(Started())) == ["config_refused"]
    assert machine.state.version == 0


# on disk


@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(good=plan(2, batch_s=9), tried=2),
        State(good=plan(2), trial=Config(version=3, token="t", channels=({"id": "1"},)), tried=3, trials=2),
        State(good=plan(2), consent=False, withdrawn=5),
    ],
)
def test_what_is_kept_is_read_again(tmp_path: Path, state: State) -> None:
    remote_config.keep(tmp_path, State(good=plan(1), trial=plan(9)))
    remote_config.keep(tmp_path, state)
    assert remote_config.load(tmp_path) == (state, [])
    assert {path.name for path in tmp_path.iterdir()} <= {"config.json", "config.good"}


def test_what_is_kept_is_for_the_agent_alone(tmp_path: Path) -> None:
    remote_config.keep(tmp_path, State(good=plan(2), trial=plan(3)))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_nothing_kept_is_no_problem(tmp_path: Path) -> None:
    assert remote_config.load(tmp_path) == (State(), [])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"trial": 5}', b'{"kind":"config"}', b"\xff" * 99])
@pytest.mark.parametrize("name", ["config.json", "config.good"])
def test_a_damaged_file_is_said_and_the_other_one_is_used(tmp_path: Path, name: str, content: bytes) -> None:
    kept = State(good=plan(2, batch_s=9), trial=plan(3), tried=3, trials=1)
    remote_config.keep(tmp_path, kept)
    (tmp_path / name).write_bytes(content)
    state, problems = remote_config.load(tmp_path)
    assert state == (State(good=kept.good) if name == "config.json" else replace(kept, good=None))
    assert [problem.split(":")[0] for problem in problems] == [name]


# signatures

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
SIGNED_BASE = replace(BASE, agent=replace(BASE.agent, command_key=PUBLIC))


def signed(message: Config, probe: str = "k3v9q2xa7m", key: Ed25519PrivateKey = KEY) -> Config:
    return replace(
        message, signature=base64.urlsafe_b64encode(key.sign(signed_bytes(message, probe))).decode().rstrip("=")
    )


def test_with_a_key_a_signed_configuration_is_taken() -> None:
    assert Machine(SIGNED_BASE).receive(signed(plan(3, batch_s=5))) == APPLIED


@pytest.mark.parametrize(
    "config",
    [
        plan(3, batch_s=5),
        replace(plan(3, batch_s=5), signature="AAAA"),
        replace(plan(3, batch_s=5), signature="not base64!"),
        replace(signed(plan(3, batch_s=5)), version=4),
        signed(plan(3, batch_s=5), probe="another0probe"),
        signed(plan(3, batch_s=5), key=Ed25519PrivateKey.from_private_bytes(bytes(32))),
        Config(version=3, consent=False),
    ],
)
def test_with_a_key_one_unsigned_or_badly_signed_is_refused(config: Config) -> None:
    machine = Machine(SIGNED_BASE)
    assert machine.receive(config) == ["config_refused"]
    assert machine.state == State(refused=config.version)


def test_without_a_key_the_signature_is_not_looked_at() -> None:
    assert Machine().receive(replace(plan(3), signature="AAAA")) == APPLIED


def test_a_signature_survives_the_wire() -> None:
    sent = signed(Config(version=3, plan={"dns": {"interval_s": 60.0}}, channels=({"id": "1"},), segment="é"))
    received = codec.decode_cmd(codec.encode_config(sent))
    assert isinstance(received, Config | Command)
    assert is_signed(received, "k3v9q2xa7m", PUBLIC)


def test_every_action_is_handled_by_name() -> None:
    assert {StopMeasuring, EraseBuffer, Keep, Apply, Say} == set(Action.__args__)
