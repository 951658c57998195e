"""Is a command done once, in time, and only when it makes sense?"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from balise_agent import codec
from balise_agent.commands import MOST_IDS, Accepted, Duplicate, Refused, accept, progress, refusal, remember
from balise_agent.contract import Command, CommandKind
from balise_agent.signature import signed_bytes

NOW = 1_700_000_000_000
PROBES = ("reach", "dns")
ARGS: dict[CommandKind, dict[str, Any]] = {
    "test": {"probe": "dns"},
    "replay": {"stream": "AAAAAAAAAAAAAAAAAAAAAA", "from_seq": 1},
    "pause": {"seconds": 60},
    "resume": {},
}


def command(kind: CommandKind = "resume", **changes: Any) -> Command:
    return replace(Command(id="c1", kind=kind, expires_ms=NOW + 1000, args=ARGS[kind]), **changes)


@pytest.mark.parametrize("kind", ARGS)
def test_a_command_in_time_is_accepted(kind: CommandKind) -> None:
    assert accept(command(kind), NOW, (), probes=PROBES) == Accepted(command=command(kind))


@pytest.mark.parametrize(
    ("kind", "args", "reason"),
    [
        ("test", {"probe": "tv"}, "unknown_probe"),
        ("test", {}, "bad_args"),
        ("test", {"probe": 5}, "bad_args"),
        ("test", {"probe": ["dns"]}, "bad_args"),
        ("test", {"probe": "dns", "seconds": 5}, "bad_args"),
        ("replay", {"stream": "s"}, "bad_args"),
        ("replay", {"stream": "s", "from_seq": 0}, "bad_args"),
        ("replay", {"stream": "s", "from_seq": True}, "bad_args"),
        ("replay", {"stream": 5, "from_seq": 1}, "bad_args"),
        ("pause", {"seconds": 0}, "bad_args"),
        ("pause", {"seconds": 86_401}, "bad_args"),
        ("pause", {"seconds": 1.5}, "bad_args"),
        ("resume", {"now": True}, "bad_args"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kind: CommandKind, args: dict[str, Any], reason: str) -> None:
    assert accept(command(kind, args=args), NOW, (), probes=PROBES) == Refused(reason=reason)


def test_a_late_command_is_expired() -> None:
    assert accept(command(expires_ms=NOW - 1), NOW, (), probes=PROBES) == Refused(reason="expired")
    assert accept(command(expires_ms=NOW), NOW, (), probes=PROBES) == Accepted(command=command(expires_ms=NOW))


def test_without_a_clock_nothing_can_be_told_to_be_in_time() -> None:
    assert accept(command(), None, (), probes=PROBES) == Refused(reason="clock_unknown")


@pytest.mark.parametrize("kind", ["test", "pause", "resume"])
def test_without_the_home_s_consent_nothing_is_done_that_could_measure(kind: CommandKind) -> None:
    assert accept(command(kind), NOW, (), probes=PROBES, consent=False) == Refused(reason="no_consent")


def test_the_same_command_again_is_a_duplicate_even_when_it_is_late() -> None:
    done = remember((), command())
    assert accept(command(), NOW, done, probes=PROBES) == Duplicate()
    assert accept(command(), NOW + 9999, done, probes=PROBES) == Duplicate()
    assert accept(command(), None, done, probes=PROBES) == Duplicate()


def test_the_memory_of_ids_is_bounded_and_forgets_the_oldest() -> None:
    done: tuple[str, ...] = ()
    for number in range(MOST_IDS + 10):
        done = remember(done, command(id=f"c{number}"))
    assert len(done) == MOST_IDS
    assert done[0] == "c10"
    assert done[-1] == f"c{MOST_IDS + 9}"


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode()


def signed(unsigned: Command, probe: str) -> Command:
    return replace(unsigned, signature=base64.urlsafe_b64encode(KEY.sign(signed_bytes(unsigned, probe))).decode())


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (signed(command(), "k3v9q2xa7m"), Accepted),
        (command(), Refused),
        (signed(command(), "another0probe"), Refused),
        (replace(signed(command(), "k3v9q2xa7m"), id="c2"), Refused),
        (replace(signed(command(), "k3v9q2xa7m"), kind="pause", args=ARGS["pause"]), Refused),
    ],
)
def test_with_a_key_only_what_it_signed_for_this_probe_is_done(given: Command, verdict: type) -> None:
    decision = accept(given, NOW, (), probes=PROBES, probe="k3v9q2xa7m", command_key=PUBLIC)
    assert type(decision) is verdict
    assert not isinstance(decision, Refused) or decision.reason == "bad_signature"


@pytest.mark.parametrize("kind", ARGS)
def test_progress_is_a_record_that_the_contract_takes(kind: CommandKind) -> None:
    for record in (progress(command(kind), "running", 5), progress(command(kind), "done", 5, "x" * 999)):
        assert codec.check_record(record) is None


@pytest.mark.parametrize(("reason", "state"), [("expired", "expired"), ("clock_unknown", "refused")])
def test_a_refusal_says_its_reason(reason: str, state: str) -> None:
    record = refusal(command(), Refused(reason=reason), 5)
    assert record.fields == {"id": "c1", "kind": "resume", "state": state, "detail": reason}
