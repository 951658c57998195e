"""Is the demo's telephone as an operator's, and is each fault of it seen for what it is?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from balise_agent.contract import OK, Outcome, failed
from balise_agent.probes.voice import VoiceAccount, VoiceNumber, VoiceSettings
from balise_agent.settings import Secret
from balise_collector.demo import exchange
from tests.agent.test_voice import measured, told


@contextmanager
def running(*faults: str) -> Iterator[int]:
    options = [word for fault in faults for word in ("--fault", fault)]
    command = [sys.executable, "-m", exchange.__name__, *options]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        yield int(json.loads(program.stdout.readline())["sip"])
    finally:
        program.terminate()
        program.communicate()


def asked(port: int, *, timeout_s: float = 20.0, linger_s: float = 20.0) -> VoiceSettings:
    account = VoiceAccount(
        label="op",
        domain=exchange.DOMAIN,
        host="127.0.0.1",
        port=port,
        user=exchange.USER,
        password=Secret(exchange.PASSWORD),
        dedicated=True,
    )
    number = VoiceNumber(label="echo", account="op", number=exchange.NUMBER)
    return VoiceSettings(
        accounts=(account,), numbers=(number,), talk_s=0.4, timeout_s=timeout_s, ring_s=30.0, linger_s=linger_s
    )


def test_without_a_fault_all_is_well() -> None:
    with running() as port:
        found = measured(asked(port))
    assert {record.outcome for record in found.values()} == {OK}
    call = told(found["voip_call echo"])
    assert (call["received"], call["loss_rt_pct"]) == (call["sent"], 0.0)


@pytest.mark.parametrize(
    ("fault", "register", "call"),
    [
        ("register=403", failed("sip_forbidden"), OK),
        ("call=503", OK, failed("sip_server_error")),
        ("call=486", OK, failed("sip_busy")),
        ("mute", OK, failed("no_media")),
        ("off", failed("sip_timeout"), failed("sip_timeout")),
    ],
)
def test_each_fault_is_seen_for_what_it_is(fault: str, register: Outcome, call: Outcome) -> None:
    given = {"timeout_s": 1.0} if fault == "off" else {"linger_s": 0.2} if fault == "mute" else {}
    with running(fault) as port:
        found = measured(asked(port, **given))
    assert (found["voip_signal op.register"].outcome, found["voip_call echo"].outcome) == (register, call)


def test_lost_voice_is_counted() -> None:
    with running("loss=50") as port:
        call = told(measured(asked(port, linger_s=1.0))["voip_call echo"])
    assert 0 < call["loss_rt_pct"] < 100
    assert call["mos_cqe"] < 4


@pytest.mark.parametrize("text", ["", "off=1", "call=200", "call=x", "loss=101", "loss", "call=503 "])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not one of"):
        exchange.read_faults([text])
