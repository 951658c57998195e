"""What becomes of a sample of a channel that does not come to its end, and of a gate that opens it?"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from balise_agent.budget import Contract
from balise_agent.call_use import CallUse, is_begun
from balise_agent.channels import Channel
from balise_agent.config import AgentConfig, BrokerSettings, ProbeSettings
from balise_agent.contract import Record
from balise_agent.gate import Reading
from balise_agent.probes import PROBES, hls, tv
from balise_agent.probes.access import access
from balise_agent.probes.box import BoxSettings
from balise_agent.probes.context import Context
from balise_agent.runner import LineLock, Runner
from tests.agent.test_tv import GROUP, PLAIN, context, sending, two_hosts
from tests.waiting import free_port

ROOT = Path(__file__).parents[2]
A_DAY_S = 86_400
Run = Callable[[Context], Coroutine[Any, Any, list[Record]]]


def of_tv(port: int) -> Run:
    settings = tv.TvSettings(
        channels=(Channel(label="one", url=f"udp://{GROUP}:{port}"),), listen_s=60, every_s=3_600, interface="lo"
    )
    return lambda outside: tv.run(settings, outside)


def of_hls(port: int) -> Run:
    """A server that takes the connection and says nothing."""
    settings = hls.HlsSettings(channels=(Channel(label="one", url=f"http://127.0.0.1:{port}/a.m3u8"),), every_s=3_600)
    return lambda outside: hls.run(settings, outside)


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "balise_agent.net" in " ".join(one.cmdline())]


async def soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def idle() -> tuple[str, str | None]:
    return "idle", "box"


class Echoes:
    """Of 10 ms, from ``until_ms`` on of another length: what the gate knows of a line whose box tells nothing."""

    def __init__(self, until_ms: int = 0, then_us: int = 10_000) -> None:
        self.hint, self._until_ms, self._then_us = self, until_ms, then_us

    def latest(self, at_ms: int) -> list[tuple[int, int | None]]:
        return [(ms, 10_000 if ms < self._until_ms else self._then_us) for ms in range(at_ms - 6_000, at_ms, 200)]

    def knows(self, _: int) -> bool:
        return True

    def is_idle(self, _: int) -> bool:
        return True


@asynccontextmanager
async def silent(port: int) -> AsyncIterator[None]:
    over = asyncio.Event()

    async def hear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", port):
        yield
        over.set()


def days(folder: Path, run: Run) -> list[dict[str, Any]]:
    """What the day after tells of this one."""
    later = context(folder, wall_s=lambda: 1_000_000.0 + A_DAY_S)
    return [dict(one.fields, of=one.target) for one in asyncio.run(run(later)) if one.measurement == "heavy_day"]


@pytest.mark.parametrize(("kind", "made"), [("tv", of_tv), ("hls", of_hls)])
def test_a_sample_ends_when_somebody_begins_to_use_the_line_and_only_the_days_count_tells(
    kind: str, made: Callable[[int], Run], tmp_path: Path
) -> None:
    port = free_port()

    async def begun() -> None:
        await soon(children)

    async def ended() -> list[Record]:
        async with silent(port):
            return await made(port)(context(tmp_path, line_use=idle, until_busy=begun))

    with sending(PLAIN, GROUP, port):
        assert asyncio.run(ended()) == []
    assert children() == []
    (day,) = days(tmp_path, made(port))
    assert (day["of"], day["planned"], day["run"], day["aborted"], day["skipped"]) == (kind, 1, 0, 1, 0)


def test_a_sample_that_the_agent_itself_ends_has_no_record_either(tmp_path: Path) -> None:
    port = free_port()

    async def cancelled() -> None:
        sampling = asyncio.create_task(of_tv(port)(context(tmp_path)))
        await soon(children)
        sampling.cancel()
        await asyncio.wait([sampling])
        assert sampling.cancelled()

    asyncio.run(cancelled())
    (day,) = days(tmp_path, of_tv(port))
    assert (day["run"], day["aborted"]) == (0, 1)


BOTH = pytest.mark.parametrize(
    ("made", "measurements"), [(of_tv, ["tv_zap", "tv_window"]), (of_hls, ["tv_hls"])], ids=["tv", "hls"]
)


@contextmanager
def heard_of(port: int) -> Iterator[None]:
    """A channel on the group, and a server that takes connections and says nothing."""
    with sending(PLAIN, GROUP, port), socket.create_server(("127.0.0.1", port)):
        yield


@BOTH
def test_a_child_that_is_killed_in_the_middle_of_a_sample_fails_with_its_reason(
    made: Callable[[int], Run], measurements: list[str], tmp_path: Path
) -> None:
    port = free_port()

    async def killed() -> list[Record]:
        sampling = asyncio.create_task(made(port)(context(tmp_path)))
        await soon(children)
        children()[0].kill()
        return await sampling

    with heard_of(port):
        records = asyncio.run(killed())
    assert [(one.measurement, one.outcome.reason) for one in records] == [
        (name, "child_killed") for name in measurements
    ]
    assert not [name for one in records for name in one.fields if name not in ("af", "encap", "access")]


AGENT = """
import asyncio, sys
from pathlib import Path
from tests.agent import test_tv_turn
from tests.agent.test_tv import context
asyncio.run(getattr(test_tv_turn, sys.argv[1])(int(sys.argv[2]))(context(Path(sys.argv[3]))))
"""


@BOTH
def test_a_sample_whose_agent_was_killed_ends_and_the_next_run_says_once_that_it_was_interrupted(
    made: Callable[[int], Run], measurements: list[str], tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-c", AGENT, made.__name__, str(port), str(tmp_path)]
    with heard_of(port), subprocess.Popen(command, cwd=ROOT) as agent:
        asyncio.run(soon(psutil.Process(agent.pid).children))
        (child,) = psutil.Process(agent.pid).children()
        agent.send_signal(signal.SIGKILL)
    records = asyncio.run(made(port)(context(tmp_path)))
    assert [(one.measurement, one.target, one.outcome.reason) for one in records] == [
        (name, "one", "interrupted") for name in measurements
    ]
    assert not [name for one in records for name in one.fields if name not in ("af", "encap", "access")]
    (kept,) = tmp_path.glob("*.json")
    assert json.loads(kept.read_text())["joined"] == 0
    assert asyncio.run(made(port)(context(tmp_path))) == []
    child.wait(60)


def test_a_cable_that_is_pulled_in_the_middle_is_told_apart_from_a_channel_that_stops() -> None:
    spec = {"group": GROUP, "port": 5004, "source": "", "listen_s": 60, "interface": "v0"}
    with two_hosts() as (_, far):
        inside = ["ip", "netns", "exec", far]
        with subprocess.Popen(
            [*inside, sys.executable, "-m", "balise_agent.net.tv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            child.stdin.write(json.dumps(spec).encode() + b"\n")
            child.stdin.flush()
            asyncio.run(soon(lambda: GROUP in said(*inside, "ip", "maddr", "show", "dev", "v0")))
            subprocess.run(["ip", "-n", far, "link", "set", "v0", "down"], check=True)
            told = json.loads(child.communicate()[0])
    assert told == {"kind": "failed", "reason": "link_down", "fields": {}}


def test_a_cable_that_is_pulled_while_a_playlist_is_played_is_no_fault_of_its_server(tmp_path: Path) -> None:
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n")
    spec = {"url": "http://10.66.0.1:8080/a.m3u8", "most_bps": 8_000_000, "listen_s": 4, "timeout_s": 0.5}
    with two_hosts() as (near, far), (tmp_path / "said").open("w") as said_of:
        inside = ["ip", "netns", "exec"]
        serve = [*inside, near, sys.executable, "-u", "-m", "http.server", "8080", "-d", str(tmp_path)]
        with subprocess.Popen(serve, stdout=said_of, stderr=said_of) as server:
            asyncio.run(soon(lambda: "8080" in (tmp_path / "said").read_text()))
            command = [*inside, far, sys.executable, "-m", "balise_agent.net.hls"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
                assert child.stdin is not None
                child.stdin.write(json.dumps(spec).encode() + b"\n")
                child.stdin.flush()
                asyncio.run(soon(lambda: "GET /a.m3u8" in (tmp_path / "said").read_text()))
                subprocess.run(["ip", "-n", far, "link", "set", "v0", "down"], check=True)
                told = json.loads(child.communicate()[0])
            server.kill()
    assert told == {"kind": "failed", "reason": "link_down", "fields": {}}


@pytest.mark.parametrize(
    ("group", "source", "joins", "leaves"),
    [("232.0.77.1", "10.66.0.1", "5", "6"), (GROUP, "", "4", "3")],  # RFC 3376 § 4.2.12: ALLOW, BLOCK; TO_EX, TO_IN
)
def test_a_sample_that_is_killed_leaves_its_group_on_the_wire_too(
    group: str, source: str, joins: str, leaves: str, tmp_path: Path
) -> None:
    spec = {"group": group, "port": 5004, "source": source, "listen_s": 60, "interface": "v0"}
    seen = tmp_path / "igmp"
    fields = ["-Y", "igmp", "-T", "fields", "-e", "igmp.maddr", "-e", "igmp.record_type"]
    with two_hosts() as (near, far), seen.open("w") as out, (tmp_path / "said").open("w") as err:
        inside = ["ip", "netns", "exec"]
        capture = subprocess.Popen([*inside, near, "tshark", "-n", "-l", "-i", "v0", *fields], stdout=out, stderr=err)
        try:
            asyncio.run(soon(lambda: "Capture started" in (tmp_path / "said").read_text()))
            child = subprocess.Popen(
                [*inside, far, sys.executable, "-m", "balise_agent.net.tv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert child.stdin is not None
            child.stdin.write(json.dumps(spec).encode() + b"\n")
            child.stdin.flush()
            asyncio.run(soon(lambda: f"{group}\t{joins}" in seen.read_text()))
            child.kill()
            asyncio.run(soon(lambda: f"{group}\t{leaves}" in seen.read_text()))
            child.communicate()
        finally:
            capture.terminate()
            capture.wait()


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# the gate


def test_the_gate_lets_a_sample_pass_though_the_runner_gave_it_the_line(tmp_path: Path) -> None:
    """Whoever asks how the line is used hears of others; that the probe itself has it, `line_taken` says."""
    line, settings = LineLock(), tv.TvSettings(every_s=3_600, interface="lo", listen_s=1)

    async def measured() -> list[Record]:
        outside = context(tmp_path, line=Echoes(), line_taken=line.locked)
        calls = CallUse(outside, lambda: BoxSettings(enabled=False), Contract)
        outside = replace(outside, line_use=calls.look, until_busy=calls.until_busy)
        channels = (Channel(label="one", url=f"udp://{GROUP}:{port}"),)
        probes = {"tv": replace(PROBES["tv"], run=lambda _, c: tv.run(replace(settings, channels=channels), c))}
        config = AgentConfig(broker=BrokerSettings(host="localhost"), probe=ProbeSettings(id="probe0001"))
        return await Runner(probes, config, outside, kept, line).measure("tv")

    async def kept(_: Record) -> None:
        pass

    port = free_port()
    with sending(PLAIN, GROUP, port):
        assert [one.outcome.kind for one in asyncio.run(measured())] == ["ok", "ok"]


BPS = 1_000_000 / 8


def readings(wan_mbps: list[float], own_mbps: float = 8) -> list[Reading]:
    """One each half second; the rate of each half second after the first."""
    found, wan = [Reading(at_s=0, wan=(0, 0))], 0.0
    for number, rate in enumerate(wan_mbps, 1):
        wan += rate * BPS / 2
        found.append(Reading(at_s=number / 2, wan=(round(wan), 0), own=(round(number * own_mbps * BPS / 2), 0)))
    return found


@pytest.mark.parametrize(
    ("wan_mbps", "begun"),
    [
        ([8.1] * 20, False),  # the box counts the channel, with the headers of the way out
        ([8.1] * 8 + [8.2] * 8, False),
        ([8.1] * 8 + [9.6] * 4, True),
        ([0.01] * 20, False),  # television has a network of its own
        ([0.01] * 8 + [1.5] * 4, True),
        ([0.0] * 20, False),
    ],
)
def test_what_others_use_is_seen_whether_or_not_the_box_counts_the_channel(wan_mbps: list[float], begun: bool) -> None:
    assert is_begun(readings(wan_mbps), Contract(down_bps=10e6, up_bps=1e6)) is begun


def test_round_trips_that_rise_by_far_end_a_sample_where_no_counter_tells() -> None:
    begun_ms = round(time.monotonic() * 1_000)
    outside = Context(
        now_bt_ms=lambda: round(time.monotonic() * 1_000),
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: True,
        state_dir=Path("/"),
        line=Echoes(until_ms=begun_ms, then_us=90_000),  # type: ignore[arg-type]
    )

    async def waited() -> None:
        async with asyncio.timeout(60):
            await CallUse(outside, lambda: BoxSettings(enabled=False), Contract).until_busy()

    asyncio.run(waited())


@pytest.mark.parametrize(
    ("files", "in_box", "said_"),
    [
        ({"type": "1"}, False, "ethernet"),
        ({"type": "1", "phy80211": ""}, False, "wifi"),
        ({"type": "772"}, False, None),
        ({}, False, None),
        ({"type": "1"}, True, "box"),
    ],
)
def test_how_the_probe_is_linked_is_said_where_it_is_known(
    files: dict[str, str], in_box: bool, said_: str | None, tmp_path: Path
) -> None:
    (tmp_path / "if0").mkdir()
    for name, text in files.items():
        (tmp_path / "if0" / name).write_text(text)
    assert access("if0", in_box=in_box, folder=tmp_path) == said_
