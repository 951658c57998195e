"""Does systemd hear what it wants to hear? On a real datagram socket, as its own."""

from __future__ import annotations

import asyncio
import configparser
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from balise_agent import service
from balise_agent.config import AgentSettings

UNIT = Path(__file__).parents[2] / "deploy/balise-agent.service"


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, name: str, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(5)
        self.environ = {"NOTIFY_SOCKET": name}

    def heard(self) -> str:
        return self.sock.recv(4096).decode()

    def has_heard(self) -> bool:
        self.sock.setblocking(False)
        try:
            return bool(self.sock.recv(4096))
        except BlockingIOError:
            return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    abstract = f"balise-test-{os.getpid()}"
    made = Manager(path, path) if request.param == "path" else Manager(f"@{abstract}", f"\0{abstract}")
    yield made
    made.sock.close()


def test_readiness_and_the_end_are_said(manager: Manager) -> None:
    assert service.notify(service.READY, manager.environ)
    assert service.notify(service.STOPPING, manager.environ)
    assert [manager.heard(), manager.heard()] == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_manager_nothing_is_said_and_nothing_fails(environ: dict[str, str]) -> None:
    assert service.notify("READY=1", environ) is False


def test_a_manager_that_is_gone_is_no_fault_of_the_agent(tmp_path: Path) -> None:
    assert service.notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "none")}) is False


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({}, None),
    ],
)
def test_a_sign_of_life_is_due_at_half_of_what_the_manager_waits(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert service.watchdog_s(environ, pid=42) == seconds


def test_signs_of_life_come_only_while_the_agent_is_alive(manager: Manager) -> None:
    alive = iter([True, False, True])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    environ = manager.environ | {"WATCHDOG_USEC": "20000000"}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(service.feed_watchdog(lambda: next(alive), environ, sleep))
    assert [manager.heard(), manager.heard(), manager.has_heard()] == ["WATCHDOG=1", "WATCHDOG=1", False]
    assert slept == [10.0, 10.0, 10.0]


def test_without_a_watchdog_the_watch_waits_and_says_nothing(manager: Manager) -> None:
    async def scenario() -> bool:
        task = asyncio.create_task(service.feed_watchdog(lambda: True, manager.environ))
        await asyncio.sleep(0)
        done = task.done()
        task.cancel()
        await asyncio.wait([task])
        return done

    assert asyncio.run(scenario()) is False
    assert not manager.has_heard()


def test_the_unit_confines_the_agent_and_restarts_it() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    expected = {
        "Type": "notify",
        "Restart": "always",
        "WatchdogSec": "60",
        "MemoryMax": "96M",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "CapabilityBoundingSet": "",
        "User": "balise",
    }
    assert {name: unit["Service"][name] for name in expected} == expected
    assert AgentSettings().state_dir == f"/var/lib/{unit['Service']['StateDirectory']}"
    assert not any("Listen" in line for line in UNIT.read_text().splitlines())
