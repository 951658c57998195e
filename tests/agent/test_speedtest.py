"""Is speedtest-cli's figure a series of its own, labelled, under a lease, and a reason where there is none?"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from balise_agent.catalogue import CATALOGUE
from balise_agent.cli import main
from balise_agent.contract import failed
from balise_agent.net import child
from balise_agent.net.throughput.shape import SHAPES
from balise_agent.probes.speedtest import SpeedtestSettings, run
from balise_agent.probes.throughput import most_s
from tests.agent.targets import target
from tests.agent.test_throughput import context, towards
from tests.collector.test_target_throughput import ask, serving, told

KNOWN = {field.name for field in CATALOGUE["speedtest"].fields}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with target() as found:
        yield found


def test_its_figures_against_our_target_are_labelled_indicative(port: int) -> None:
    (record,) = asyncio.run(run(SpeedtestSettings(targets=(towards(port),)), context()))
    assert (record.measurement, record.target, record.outcome.kind) == ("speedtest", "op.v4", "ok")
    assert set(record.fields) <= KNOWN
    assert (record.fields["label"], record.fields["engine"]) == ("indicative", "speedtest-cli 2.1.3")
    assert int(record.fields["down_bps"]) > 0
    assert int(record.fields["up_bps"]) > 0
    assert int(record.fields["ping_us"]) > 0
    assert {"validity", "limited_by"}.isdisjoint(record.fields)  # nothing that a conformity figure could take it by


def test_it_gives_its_turn_back_and_one_way_alone_can_be_asked_for(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["once", "speedtest", "--target", f"http://127.0.0.1:{port}", "--only", "down", "--json"]) == 0
        (record,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert ("down_bps" in record["fields"], "up_bps" in record["fields"]) == (True, False)


def test_where_it_is_not_installed_nothing_is_tried() -> None:
    code = "import sys; sys.modules['speedtest'] = None; from balise_agent.net.throughput.__main__ import main; main()"
    spec = {"kind": "speedtest", "peer": None}
    outcome, _ = asyncio.run(child.run(spec, most_s(SHAPES["speedtest"]), (sys.executable, "-c", code)))
    assert (outcome.kind, outcome.reason) == ("skipped", "no_speedtest_cli")


def test_a_target_that_is_gone_is_a_reason() -> None:
    (record,) = asyncio.run(run(SpeedtestSettings(targets=(towards(9),)), context()))
    assert record.outcome == failed("connect_refused")


def test_its_own_servers_that_cannot_be_reached_are_a_reason() -> None:
    code = "import socket, sys\ndef no(*a, **k): raise OSError\nsocket.getaddrinfo = no\n"
    code += "from balise_agent.net.throughput.__main__ import main; main()"
    asked = json.dumps({"kind": "speedtest", "peer": None}) + "\n"
    done = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["reason"] == "speedtest_failed"


def test_its_paths_are_for_a_lease_of_its_shape_alone() -> None:
    with serving() as ports:
        assert ask(ports.http, "GET", "/mini/none/")[0] == 403
        lease = told(ports.http, "POST", "/lease?shape=light")["lease"]
        assert ask(ports.http, "GET", f"/mini/{lease}/speedtest/latency.txt")[0] == 403
        ask(ports.http, "POST", f"/release?lease={lease}")
        lease = told(ports.http, "POST", "/lease?shape=speedtest")["lease"]
        assert ask(ports.http, "GET", f"/mini/{lease}/speedtest/latency.txt")[1] == b"test=test\n"
        assert len(ask(ports.http, "GET", f"/mini/{lease}/speedtest/random350x350.jpg")[1]) == 245_388
        assert ask(ports.http, "POST", f"/mini/{lease}/speedtest/upload.php", bytes(1_000))[1] == b"size=1000"
        for path in ("speedtest/random350x500.jpg", "speedtest/random351x351.jpg", "speedtest/none"):
            assert ask(ports.http, "GET", f"/mini/{lease}/{path}")[0] == 404


def test_the_plan_never_starts_one() -> None:
    assert SpeedtestSettings().enabled is False
