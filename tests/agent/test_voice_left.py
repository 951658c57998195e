"""What becomes of a test call whose agent is killed, or whose cable is pulled, in the middle of it?"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from balise_agent.contract import failed
from balise_agent.net.sip import dialog
from balise_agent.net.sip.message import Request, Response, parse
from balise_agent.probes import voice_left
from balise_agent.probes.voice import VoiceNumber, VoicePath, VoiceSettings, run
from balise_agent.probes.voice_left import FILE, Left
from tests.agent.sip_peers import kamailio, sipp, uas
from tests.agent.targets import COMMAND as TARGET
from tests.agent.test_sip import INVITE, OK
from tests.agent.test_tv import two_hosts
from tests.agent.test_voice import NOON_S, account, context, measured, settings, told
from tests.waiting import until

ROOT = Path(__file__).parents[2]

CALLER = """
import sys
from pathlib import Path
from tests.agent import test_voice_left
test_voice_left.calls(Path(sys.argv[1]), *sys.argv[2:])
"""


def of_operator(port: int) -> VoiceSettings:
    return settings(
        accounts=(account(port),), numbers=(VoiceNumber(label="echo", account="op", number="1234"),), talk_s=30.0
    )


def calls(folder: Path, kind: str, port: str) -> None:
    """In a process of its own: what came of it, as lines of JSON."""
    path = VoicePath(label="r", host="10.66.0.1", port=int(port))
    asked = of_operator(int(port)) if kind == "operator" else settings(paths=(path,), talk_s=3.0, linger_s=0.2)
    for record in asyncio.run(run(asked, context(folder, wall_s=lambda: NOON_S))):
        print(json.dumps([record.measurement, record.outcome.reason, dict(record.fields)]), flush=True)


def stands(folder: Path) -> bool:
    """The call was answered."""
    left = voice_left.load(folder / FILE)
    return left is not None and left.answer is not None


def test_a_call_whose_agent_was_killed_is_hung_up_through_the_proxy_and_told_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with kamailio(tmp_path) as proxy, sipp(tmp_path, uas(100, 200), proxy.uas) as log:
        command = [sys.executable, "-c", CALLER, str(state), "operator", str(proxy.port)]
        with subprocess.Popen(command, cwd=ROOT) as agent:
            until(lambda: stands(state) and "\nACK sip:" in log.read_text())
            agent.send_signal(signal.SIGKILL)
        assert "\nBYE sip:" not in log.read_text()
        again = context(state, asked=False, wall_s=lambda: NOON_S)
        found = measured(of_operator(proxy.port), again)
        until(lambda: "\nBYE sip:" in log.read_text())
        once_more = measured(of_operator(proxy.port), again)
    assert found["voip_call echo"].outcome == failed("interrupted")
    assert told(found["voip_call echo"]) == {"fail_class": "local"}
    assert set(once_more) == {"voip_signal op.options"}
    assert not (state / FILE).exists()
    bye = log.read_text().rpartition("\nBYE sip:")[2].split("\n\n")[0]
    assert bye.count("\nVia:") == 2  # by the proxy that had recorded its route
    assert json.loads((state / "voice.json").read_text())["calls"] == 1  # and it counts


def test_a_call_whose_cable_is_pulled_says_nothing_of_the_line(tmp_path: Path) -> None:
    with two_hosts() as (near, far):
        options = ["--listen", "10.66.0.1", *(f"--{name}=0" for name in ("port", "udp-port", "sip-port", "voice-port"))]
        inside, program = ["ip", "netns", "exec"], sys.executable
        command = [*inside, near, program, "-c", TARGET, "--json", "--telephone", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reflector:
            command = [*inside, far, program, "-c", CALLER, str(tmp_path), "path", sip_port(reflector)]
            caller = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            try:
                until(lambda: stands(tmp_path) or caller.poll() is not None)
                subprocess.run(["ip", "-n", far, "link", "set", "v0", "down"], check=True)
                lines = caller.communicate()[0].splitlines()
            finally:
                reflector.terminate()
    signal_, call = (json.loads(line) for line in lines)
    assert signal_[:2] == ["voip_signal", None]
    assert call[:2] == ["voip_path", "link_down"]
    assert call[2] == {"af": 4, "transport": "udp", "tx_count": 1, "fail_class": "local", "gate": "absent"}


def sip_port(target: subprocess.Popen[bytes]) -> str:
    assert target.stdout is not None
    said: dict[str, Any] = json.loads(target.stdout.readline())
    return str(said["sip"])


def test_what_a_call_left_comes_back_and_a_damaged_file_is_no_call(tmp_path: Path) -> None:
    path = tmp_path / FILE
    assert voice_left.load(path) is None
    invite, answer = parse(INVITE), parse(OK)
    assert isinstance(invite, Request)
    assert isinstance(answer, Response)
    begun = Left(measurement="voip_path", target="r", peer="r")
    voice_left.save(path, begun)
    assert voice_left.load(path) == begun
    voice_left.save(path, begun.answered(invite, answer))
    left = voice_left.load(path)
    assert left is not None
    assert left.invite is not None
    assert left.answer is not None
    assert dialog.from_answer(left.invite, left.answer) == dialog.from_answer(invite, answer)
    path.write_text('{"invite": 7')
    assert voice_left.load(path) is None
