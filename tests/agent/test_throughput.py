"""Is a throughput test a record, whatever becomes of its process and its target?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import random
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.catalogue import CATALOGUE
from balise_agent.cli import main
from balise_agent.contract import Record, failed
from balise_agent.net import child
from balise_agent.net.throughput.machine import (
    Moment,
    interface_share,
    link_of,
    machine_share,
    moment,
    process_share,
)
from balise_agent.probes.context import Context
from balise_agent.probes.throughput import COMMAND, ThroughputSettings, ThroughputTarget, run
from balise_agent.settings import Secret, build
from tests.agent.targets import target

KNOWN = {field.name for field in CATALOGUE["throughput"].fields}


def context() -> Context:
    return Context(
        now_bt_ms=lambda: 7,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: True,
        state_dir=Path("/"),
    )


def measured(settings: ThroughputSettings) -> list[Record]:
    return asyncio.run(run(settings, context()))


def towards(port: int, host: str = "127.0.0.1", **more: Any) -> ThroughputTarget:
    return ThroughputTarget(label="op", url=f"http://{host}:{port}", **more)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with target() as found:
        yield found


# Records


def test_a_light_test_is_one_record_with_a_figure_each_way(port: int) -> None:
    settings = ThroughputSettings(targets=(towards(port),), contract_down_bps=1e9, contract_up_bps=1e9)
    (record,) = measured(settings)
    assert (record.measurement, record.target, record.outcome.kind, record.bt_ms) == ("throughput", "op.v4", "ok", 7)
    fields = record.fields
    assert set(fields) <= KNOWN
    assert {"af": 4, "role": "operator", "shape": "light", "streams": 8}.items() <= fields.items()
    assert (fields["duration_ms"], fields["discard_ms"]) == (3_000, 1_000)
    assert int(fields["down_bps"]) > 0
    assert int(fields["up_bps"]) > 0
    assert {"limited_by", "validity"} <= set(fields)


def test_without_targets_nothing_is_measured() -> None:
    assert measured(ThroughputSettings()) == []


def test_a_name_without_an_address_and_a_family_that_is_not_there_are_said() -> None:
    named = ThroughputTarget(label="op", url="http://name.invalid:80")
    other = ThroughputTarget(label="six", url="http://127.0.0.1:9", af="6")
    found = [(r.target, r.outcome) for r in measured(ThroughputSettings(targets=(named, other)))]
    assert found == [("op", failed("resolve")), ("six", failed("resolve"))]


def test_a_target_that_stands_elsewhere_makes_no_figure() -> None:
    with target("--open", "--role", "offnet") as port:
        (record,) = measured(ThroughputSettings(targets=(towards(port),)))
        assert record.outcome == failed("wrong_role")
        assert "down_bps" not in record.fields
        offnet = ThroughputSettings(targets=(towards(port, role="offnet"),), only="down")
        (record,) = measured(offnet)
    assert (record.outcome.kind, record.fields["role"]) == ("ok", "offnet")


def test_a_token_opens_a_target_and_is_never_shown(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
    code = "from balise_collector.commands.target import app; app()"
    asked = [sys.executable, "-c", code, "token", "--key", str(key), "--segment", "s7Q"]
    token = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    with target("--token-key", str(key)) as port:
        closed = ThroughputSettings(targets=(towards(port),), only="up")
        with_token = replace(closed, token=Secret(token))
        assert [measured(s)[0].outcome.reason for s in (closed, with_token)] == ["token_refused", None]
    assert token not in repr(with_token)


def test_the_plan_never_starts_one() -> None:
    settings, faults = build(ThroughputSettings, {"enabled": True}, "throughput")
    assert settings is None
    assert "unknown key" in faults[0]
    assert ThroughputSettings().enabled is False


@pytest.mark.parametrize(
    "url", ["https://a", "http://a/path", "http://", "http://u@a", "http://a:b", "ftp://a", "http://[zz]"]
)
def test_what_is_no_target_is_refused(url: str) -> None:
    _, faults = build(ThroughputSettings, {"targets": [{"label": "a", "url": url}]}, "throughput")
    assert faults


# Its process


SPEC: dict[str, Any] = {"kind": "throughput"}


def outcome_of(code: str, timeout_s: float = 30.0) -> Any:
    outcome, _ = asyncio.run(child.run(SPEC, timeout_s, (sys.executable, "-c", code)))
    return outcome.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "child_killed"),
        ("raise SystemExit(3)", "child_failed"),
        ("print('[]')", "child_failed"),
        ('print(\'{"kind": "failed", "reason": "stalled", "fields": {}}\')', "stalled"),
        ("print('x' * 10_000_000)", "child_killed"),
        ("pass", "child_failed"),
    ],
)
def test_whatever_becomes_of_its_process_is_an_outcome(code: str, reason: str) -> None:
    assert outcome_of(code) == reason


def test_an_answer_counts_though_not_all_that_was_asked_was_read() -> None:
    code = 'print(\'{"kind": "failed", "reason": "stalled", "fields": {}}\')'
    spec = {**SPEC, "more": "x" * 1_000_000}  # more than a pipe holds
    outcome, _ = asyncio.run(child.run(spec, 30, (sys.executable, "-c", code)))
    assert outcome == failed("stalled")


def test_a_process_that_does_not_end_is_killed() -> None:
    assert outcome_of("import time; time.sleep(600)", 0.5) == "child_timeout"


def test_a_process_that_cannot_be_started_is_an_outcome() -> None:
    outcome, _ = asyncio.run(child.run(SPEC, 9, ("/none",)))
    assert outcome == failed("child_not_started")


@given(st.binary(max_size=200))
def test_any_line_of_it_is_a_result(line: bytes) -> None:
    outcome, _fields = child.decode(line)
    assert outcome.kind in ("ok", "failed", "skipped")


def test_a_run_that_is_cancelled_ends_its_process(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    code = f"import os, time; open({str(said)!r} + '.new', 'w').write(str(os.getpid())); "
    code += f"os.rename({str(said)!r} + '.new', {str(said)!r}); time.sleep(600)"

    async def cancelled() -> None:
        task = asyncio.create_task(child.run(SPEC, 600, (sys.executable, "-c", code)))
        while not said.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)


def test_a_test_whose_agent_was_killed_ends_and_frees_the_line() -> None:
    with target() as port:
        argv = ["once", "throughput", "--target", f"http://127.0.0.1:{port}"]
        agent = subprocess.Popen([sys.executable, "-m", "balise_agent.cli", *argv], stdout=subprocess.DEVNULL)
        tasks = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
        while not (children := tasks.read_text().split()):
            time.sleep(0.01)
        agent.kill()
        agent.wait()
        stat = Path(f"/proc/{children[0]}/stat")
        while stat.exists() and " Z " not in stat.read_text():
            time.sleep(0.05)


# A test that is stopped


class Counting(socketserver.BaseRequestHandler):
    """A target by hand: a lease, an upload that is never whole, and what was asked, in order."""

    asked: ClassVar[list[str]] = []

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.request.recv(4_096)
            if not part:
                return
            head += part
        path = head.split()[1].decode()
        self.asked.append(path)
        if path.startswith("/upload"):
            with contextlib.suppress(ConnectionResetError):
                while self.request.recv(1 << 16):
                    pass
            self.asked.append("upload over")
            return
        body = json.dumps({"lease": "l" * 22, "role": "operator", "udp_port": 9}).encode()
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        if path.startswith("/lease"):
            with contextlib.suppress(ConnectionResetError):
                self.request.recv(1)


def test_a_test_that_is_cancelled_resets_its_streams_and_then_gives_its_turn_back() -> None:
    Counting.asked.clear()

    async def cancelled(port: int) -> None:
        spec = {"kind": "throughput", "only": "up", "shape": "full", "streams": 1}
        there = {"family": socket.AF_INET, "address": ["127.0.0.1", port], "name": "x"}
        task = asyncio.create_task(child.run({**spec, "peer": there}, 600, COMMAND))
        while not any(path.startswith("/upload") for path in Counting.asked):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        asyncio.run(cancelled(server.server_address[1]))
        server.shutdown()
        thread.join()
    assert Counting.asked[-1] == f"/release?lease={'l' * 22}" or Counting.asked[-2:] == [
        f"/release?lease={'l' * 22}",
        "upload over",
    ]


def test_a_child_that_heeds_no_signal_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "ready"
    code = "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code += f"pathlib.Path({str(said)!r}).touch(); time.sleep(600)"

    async def cancelled() -> None:
        task = asyncio.create_task(child.run(SPEC, 600, (sys.executable, "-c", code)))
        while not said.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())  # it comes back


# The command line


def test_once_prints_one_object_without_a_token(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["once", "throughput", "--target", f"http://127.0.0.1:{port}", "--only", "down", "--json"]
    assert main(argv) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (record["measurement"], record["target"], record["outcome"]) == ("throughput", "once.v4", "ok")
    assert record["fields"]["down_bps"] > 0
    assert "up_bps" not in record["fields"]


def test_on_a_terminal_a_test_says_how_far_it_is_beside_its_record(port: int) -> None:
    terminal, end = pty.openpty()
    argv = [sys.executable, "-m", "balise_agent.cli", "once", "throughput", "--only", "down", "--json"]
    try:
        done = subprocess.run(
            [*argv, "--target", f"http://127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=end, text=True, check=True
        )
        said = os.read(terminal, 65_536).decode()
    finally:
        os.close(end)
        os.close(terminal)
    assert json.loads(done.stdout)["outcome"] == "ok"
    assert re.search(r"\rdown +[0-9.]+ s +[0-9.]+ Mbit/s", said.replace("\033[K", ""))
    assert said.endswith("\r\033[K")  # nothing of it stays


def test_once_takes_a_configurations_targets_and_the_options_of_the_test(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[agent]\nstate_dir = "{tmp_path}"\n[broker]\nhost = "127.0.0.1"\n[probe]\nid = "k3v9q2xa7m"\n'
        f'[[throughput.targets]]\nlabel = "op"\nurl = "http://127.0.0.1:{port}"\n'
    )
    assert main(["once", "throughput", "--config", str(path), "--only", "up", "--json"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (record["target"], "down_bps" in record["fields"]) == ("op.v4", False)


def test_once_that_finds_nobody_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["once", "throughput", "--target", "http://127.0.0.1:9", "--shape", "full"]) == 1
    assert "failed (connect_refused)" in capsys.readouterr().out


# Its machine


def test_the_link_is_read_as_the_system_tells_it(tmp_path: Path) -> None:
    assert link_of("127.0.0.1") is None  # the loopback is no link
    before = moment(None)
    assert sum(range(200_000)) > 0
    after = moment(None)
    assert process_share(before, after) > 0
    assert machine_share(before, before) is None
    assert moment(None, proc=tmp_path).total == 0


def test_an_interface_is_as_busy_as_its_busier_way() -> None:
    before = Moment(at_s=1.0, process_s=0, busy=0, total=0, rx=1_000, tx=500)
    after = Moment(at_s=3.0, process_s=0, busy=0, total=0, rx=1_250, tx=2_500)
    assert interface_share(before, after, 10_000) == 0.8
    assert interface_share(before, after, None) is None
    assert interface_share(moment(None), moment(None), 10_000) is None
