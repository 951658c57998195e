"""Is each way to break a home's line classed right, in namespaces, by the real runner and windows?

Cadences are a fifth of the real ones, so that a class is known in a second; nothing here asserts how long it took.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.namespaces import ANYCAST, FAULTS, OPERATOR, ROOT, Fault, Home, home
from tests.waiting import until

BY_NAME = {fault.name: fault for fault in FAULTS}
Said = dict[str, Any]


def settings(family: int) -> dict[str, Any]:
    any1, any2 = ANYCAST[family]
    targets: list[dict[str, Any]] = [
        {"label": "gw", "host": "gateway", "every_s": 1.0},
        {"label": "op", "host": OPERATOR[family], "method": "stamp", "every_s": 0.3},
        {"label": "any1", "host": any1, "every_s": 1.0},
        {"label": "any2", "host": any2, "every_s": 1.0},
    ]
    page = f"[{any1}]" if family == 6 else any1
    pace = {"interval_s": 1, "fast_s": 0.2, "overdue_s": 0.2, "lost_s": 0.4, "dns_every_s": 1.0, "web_every_s": 5.0}
    rungs = {"dns_host": OPERATOR[family], "dns_name": "probe.example.net", "web_url": f"http://{page}/"}
    return pace | rungs | {"targets": targets}


class Probe:
    """A probe at home, and what it said so far."""

    def __init__(self, home: Home, state_dir: Path, boot: str = "boot-one") -> None:
        args = [str(state_dir), boot, json.dumps(settings(home.families[0]))]
        command = home.command("home", sys.executable, "-m", "tests.faults.line_probe", *args)
        self.said: list[Said] = []
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def kill(self) -> None:
        """As `kill -9` does."""
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def changes(self, after: int = 0) -> list[Said]:
        """Of the line's state, those of ``said[after:]``."""
        return [said for said in self.said[after:] if "state" in said]

    def records(self, measurement: str, target: str = "") -> list[Said]:
        wanted = (measurement, target)
        return [said for said in list(self.said) if (said.get("measurement"), said.get("target")) == wanted]

    def place(self) -> str | None:
        """Where it breaks now, in the probe's words; "up" where it does not."""
        changes = self.changes()
        return None if not changes else changes[-1]["place"] or changes[-1]["state"]

    def until_healthy(self) -> None:
        """Up, and the first hop beyond the gateway answers."""
        until(lambda: any(r["reason"] is None for r in self.records("reach", "isp1")), "isp1 is asked", 30)
        until(lambda: self.place() == "up", "the line is up")

    def first_place(self, after: int) -> str | None:
        """The first class that was settled since then."""
        settled = (said["place"] for said in self.changes(after) if said["place"] not in (None, "unplaced"))
        return next(settled, None)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(json.loads(line))
        self._process.stdout.close()


@contextmanager
def probe(home: Home, state_dir: Path, boot: str = "boot-one") -> Iterator[Probe]:
    running = Probe(home, state_dir, boot)
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def broken(home: Home, name: str) -> Iterator[None]:
    BY_NAME[name].break_(home)
    yield
    BY_NAME[name].heal(home)


def is_classed(home: Home, probe: Probe, fault: Fault) -> None:
    after = len(probe.said)
    with broken(home, fault.name):
        until(lambda: probe.first_place(after) is not None, f"{fault.name} has a class")
        assert probe.first_place(after) == fault.place
    until(lambda: probe.place() == "up", f"up after {fault.name}")


@pytest.fixture(scope="module")
def both() -> Iterator[Home]:
    with home() as built:
        yield built


@pytest.fixture(scope="module")
def watcher(both: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    with probe(both, tmp_path_factory.mktemp("state")) as running:
        running.until_healthy()
        yield running


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_class(both: Home, watcher: Probe, fault: Fault) -> None:
    is_classed(both, watcher, fault)


def test_a_healthy_line_has_none_and_its_way_is_learned(watcher: Probe) -> None:
    assert watcher.place() == "up"
    (path, *_) = watcher.records("path")
    assert (path["fields"]["isp1_hop"], path["fields"]["hops"], path["fields"]["af"]) == (2, 3, 4)
    told = json.dumps([said.get("fields") for said in watcher.said])
    assert re.search(r"10\.\d+\.\d+\.\d|f[de][0-9a-f]{2}:", told) is None  # no address
    assert watcher.records("link")[0]["fields"]["carrier"] is True
    assert watcher.records("alive")[0]["fields"]["boot"] == "boot-one"


def test_a_line_that_flaps_is_never_blamed_on_another_part_and_short_cuts_are_no_outage(
    both: Home, watcher: Probe
) -> None:
    after, outages = len(watcher.said), len(watcher.records("outage"))
    for _ in range(4):
        before = len(watcher.said)
        with broken(both, "black hole"):
            until(partial(watcher.changes, before), "something is missing")
        until(lambda: watcher.place() == "up", "up again")
    assert {said["place"] for said in watcher.changes(after)} <= {None, "unplaced", "access.line"}
    assert len(watcher.records("outage")) == outages


def test_over_ipv6_alone_all_classes_are_the_same(tmp_path: Path) -> None:
    with home(families=(6,)) as built, probe(built, tmp_path) as running:
        running.until_healthy()
        for fault in FAULTS:
            is_classed(built, running, fault)
        (path, *_) = running.records("path")
        assert (path["fields"]["isp1_hop"], path["fields"]["hops"], path["fields"]["af"]) == (2, 3, 6)


def test_a_hop_that_limits_its_answers_and_a_gateway_that_gives_none_are_not_at_fault(tmp_path: Path) -> None:
    with home() as built:
        with probe(built, tmp_path) as running:
            running.until_healthy()
        # Bit 0 of the mask: echo replies are limited too (Linux, ip-sysctl). Two a second, of five that are asked.
        built.set("isp", "net.ipv4.icmp_ratemask=6169", "net.ipv4.icmp_ratelimit=500")
        built.set("gateway", "net.ipv4.icmp_echo_ignore_all=1")
        neigh = "net.ipv4.neigh.h0"
        built.set("home", f"{neigh}.base_reachable_time_ms=1000", f"{neigh}.delay_first_probe_time=1")
        with probe(built, tmp_path) as running:
            until(lambda: len(running.records("reach", "isp1")) >= 10, "isp1 was asked ten times")
            assert {said["place"] for said in running.changes()} == {None}
            for name in ("no route at the BNG", "line cut", "hung box"):
                is_classed(built, running, BY_NAME[name])


@pytest.mark.parametrize("boot", ["boot-one", "boot-two"])
def test_an_agent_killed_in_an_outage_goes_on_with_it_in_the_same_boot_and_in_another(
    both: Home, tmp_path: Path, boot: str
) -> None:
    with probe(both, tmp_path) as first:
        first.until_healthy()
        BY_NAME["black hole"].break_(both)
        until(lambda: first.place() == "access.line", "the first agent sees it")
        seen_ms = first.changes()[-1]["at_ms"]
        until(lambda: first.said[-1]["at_ms"] > seen_ms + 2_000, "two seconds more of it")
    with probe(both, tmp_path, boot) as second:
        until(lambda: second.place() == "access.line", "the second agent sees it")
        began_ms = second.said[0]["at_ms"]
        until(lambda: second.said[-1]["at_ms"] > began_ms + 4_000, "four seconds more of it")
        BY_NAME["black hole"].heal(both)
        until(lambda: bool(second.records("outage")), "it is told")
        (told,) = second.records("outage")
    fields = told["fields"]
    assert (fields["state"], fields["kind"], fields["class"], fields["restarts"]) == (
        "ended",
        "microcut",
        "access.line",
        1,
    )
    assert fields["id"].startswith("boot-one.")
    assert fields["unknown_s"] > 0
    assert fields["dur_s"] == pytest.approx(fields["down_s"] + fields["unknown_s"])
    assert fields["end_ms"] - fields["start_ms"] == pytest.approx(fields["dur_s"] * 1_000, abs=50)
