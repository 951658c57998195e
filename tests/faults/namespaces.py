"""How does a home's way to the Internet stand on one machine, and how is each part of it broken?

    home h0 -- s0 switch s1 -- g0 gateway g1 -- o0 ont o1 -- i0 isp i1 -- p0 operator p1 -- n0 internet

Network namespaces joined by veth pairs, IPv4 and IPv6 side by side. ``switch`` (the box's own) and ``ont`` are bridges,
so that what lies behind them can hang or be cut while a port keeps its carrier. The operator's servers live at
`OPERATOR`, two anycast peers at `ANYCAST`.

Rule 1: what is broken is healed by the same object; everything is gone when the block ends, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from tests.waiting import until

ROOT = Path(__file__).parents[2]
PARTS = ("home", "switch", "gateway", "ont", "isp", "operator", "internet")
GATEWAY = {4: "10.1.0.1", 6: "fe80::1"}
ISP = {4: "10.2.0.1", 6: "fd00:2::1"}
OPERATOR = {4: "10.9.0.1", 6: "fd00:9::1"}
ANYCAST = {4: ("10.8.0.1", "10.8.0.2"), 6: ("fd00:8::1", "fd00:8::2")}

_numbers = count(1)
_WIRES: tuple[tuple[str, str, str, str], ...] = (
    ("home", "h0", "switch", "s0"),
    ("switch", "s1", "gateway", "g0"),
    ("gateway", "g1", "ont", "o0"),
    ("ont", "o1", "isp", "i0"),
    ("isp", "i1", "operator", "p0"),
    ("operator", "p1", "internet", "n0"),
)

# part, what `ip -n PART` is told after the wires are there
_PLAN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("home", ("addr add 10.1.0.2/24 dev h0", "addr add fd00:1::2/64 dev h0 nodad")),
    (
        "gateway",
        ("addr add 10.1.0.1/24 dev g0", "addr add fd00:1::1/64 dev g0 nodad", "addr add fe80::1/64 dev g0 nodad"),
    ),
    ("gateway", ("addr add 10.2.0.2/24 dev g1", "addr add fd00:2::2/64 dev g1 nodad")),
    ("switch", ("link add b0 type bridge", "link set s0 master b0", "link set s1 master b0", "link set b0 up")),
    ("ont", ("link add b0 type bridge", "link set o0 master b0", "link set o1 master b0", "link set b0 up")),
    ("isp", ("addr add 10.2.0.1/24 dev i0", "addr add fd00:2::1/64 dev i0 nodad")),
    ("isp", ("addr add 10.3.0.1/24 dev i1", "addr add fd00:3::1/64 dev i1 nodad")),
    ("operator", ("addr add 10.3.0.2/24 dev p0", "addr add fd00:3::2/64 dev p0 nodad", "addr add 10.9.0.1/32 dev lo")),
    (
        "operator",
        ("addr add fd00:9::1/128 dev lo", "addr add 10.4.0.1/24 dev p1", "addr add fd00:4::1/64 dev p1 nodad"),
    ),
    ("internet", ("addr add 10.4.0.2/24 dev n0", "addr add fd00:4::2/64 dev n0 nodad", "addr add 10.8.0.1/32 dev lo")),
    ("internet", ("addr add 10.8.0.2/32 dev lo", "addr add fd00:8::1/128 dev lo", "addr add fd00:8::2/128 dev lo")),
)
_ROUTES: dict[str, tuple[str, ...]] = {
    "home": ("default via 10.1.0.1", "default via fe80::1 dev h0"),
    "gateway": ("default via 10.2.0.1", "default via fd00:2::1"),
    "isp": ("10.1.0.0/24 via 10.2.0.2", "fd00:1::/64 via fd00:2::2", "default via 10.3.0.2", "default via fd00:3::2"),
    "operator": ("10.0.0.0/14 via 10.3.0.1", "fd00:1::/64 via fd00:3::1", "fd00:2::/64 via fd00:3::1"),
    "internet": ("default via 10.4.0.1", "default via fd00:4::1"),
}
_TRANSIT = ("10.8.0.0/24 via 10.4.0.2", "fd00:8::/64 via fd00:4::2")


@dataclass(slots=True)
class Home:
    """One home's way out. ``servers``: what runs at the operator and in the Internet, by name."""

    prefix: str
    families: tuple[int, ...]
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def name(self, part: str) -> str:
        """Of the part's namespace."""
        return f"{self.prefix}-{part}"

    def command(self, part: str, *args: str) -> list[str]:
        """What runs a program there."""
        return ["ip", "netns", "exec", self.name(part), *args]

    def ip(self, part: str, *lines: str) -> None:
        """``ip`` commands of one part, all in one go."""
        batch = ["ip", "-n", self.name(part), "-batch", "-"]
        subprocess.run(batch, input="\n".join(lines), text=True, check=True)

    def set(self, part: str, *settings: str) -> None:
        """``sysctl`` of one part: name=value."""
        subprocess.run(self.command(part, "sysctl", "-qw", *settings), check=True)

    def routes(self, part: str, verb: str = "replace", routes: Sequence[str] | None = None) -> None:
        """The part's routes as planned."""
        chosen = _ROUTES[part] if routes is None else routes
        for family in self.families:
            mine = [route for route in chosen if (":" in route) == (family == 6)]
            for route in mine:  # a port that was down takes an IPv6 route only when it is ready again
                command = ["ip", f"-{family}", "-n", self.name(part), "route", verb, *route.split()]
                until(partial(_succeeds, command), f"{part} takes {route}")

    def stop(self, server: str) -> None:
        """It goes silent: its port stays open, nothing answers."""
        self.servers[server].send_signal(signal.SIGSTOP)

    def go_on(self, server: str) -> None:
        """It answers again."""
        self.servers[server].send_signal(signal.SIGCONT)

    def _is_used(self, text: str) -> bool:
        return (6 if ":" in text else 4) in self.families

    def build(self) -> None:
        """Wires, addresses, routes."""
        for part in PARTS:
            subprocess.run(["ip", "netns", "add", self.name(part)], check=True)
        for part, port, other, far in _WIRES:
            self.ip(part, f"link add {port} type veth peer name {far} netns {self.name(other)}")
        for part in PARTS:
            self.set(part, "net.ipv6.conf.all.keep_addr_on_down=1", "net.ipv4.ping_group_range=0 2147483647")
            ports = [port for wire in _WIRES for port in _ports(wire, part)]
            self.ip(part, *(f"link set {port} up" for port in ("lo", *ports)))
        for part, lines in _PLAN:
            self.ip(part, *(line for line in lines if not line.startswith("addr") or self._is_used(line)))
        for part in ("gateway", "isp", "operator"):
            self.set(part, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for part in _ROUTES:
            self.routes(part)
        self.routes("operator", routes=_TRANSIT)

    def clear(self) -> None:
        """Ends what runs and takes all away."""
        for server in self.servers.values():
            server.kill()
            server.wait()
            if server.stdout is not None:
                server.stdout.close()
        for part in PARTS:
            subprocess.run(["ip", "netns", "del", self.name(part)], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def home(families: tuple[int, ...] = (4, 6)) -> Iterator[Home]:
    """A whole way out with its servers, healthy."""
    built = Home(prefix=f"bt{os.getpid()}x{next(_numbers)}", families=families)
    with ExitStack() as stack:
        stack.callback(built.clear)
        built.build()
        hosts = [OPERATOR[f] for f in families]
        for name, part, addresses in (
            ("stamp", "operator", hosts),
            ("dns", "operator", hosts),
            ("web", "internet", [ANYCAST[f][0] for f in families]),
        ):
            program = [sys.executable, "-m", "tests.faults.line_peers", name, *addresses]
            server = subprocess.Popen(built.command(part, *program), cwd=ROOT, stdout=subprocess.PIPE)
            built.servers[name] = server
        for server in built.servers.values():
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
        yield built


Change = Callable[[Home], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to break it, its class by the ladder, and how to heal it."""

    name: str
    place: str
    break_: Change
    heal: Change


def _link(part: str, port: str, state: str, *, then: str | None = None) -> Change:
    def change(home: Home) -> None:
        home.ip(part, f"link set {port} {state}")
        if then is not None:
            home.routes(then)

    return change


def _plug(part: str, port: str, bridge: str) -> Change:
    """Into the bridge or, with "", out of it: nothing passes any more, and every carrier stays."""
    return lambda home: home.ip(part, f"link set {port} {f'master {bridge}' if bridge else 'nomaster'}")


def _no_transit(home: Home) -> None:
    home.ip("operator", "link set p1 down")


def _transit(home: Home) -> None:
    home.ip("operator", "link set p1 up")
    home.routes("operator", routes=_TRANSIT)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="probe down",
        place="lan.link",
        break_=_link("home", "h0", "down"),
        heal=_link("home", "h0", "up", then="home"),
    ),
    Fault(
        name="box port down", place="lan.link", break_=_link("switch", "s0", "down"), heal=_link("switch", "s0", "up")
    ),
    Fault(name="hung box", place="home.box_or_lan", break_=_plug("switch", "s1", ""), heal=_plug("switch", "s1", "b0")),
    Fault(
        name="WAN link down",
        place="access.wan",
        break_=_link("gateway", "g1", "down"),
        heal=_link("gateway", "g1", "up", then="gateway"),
    ),
    Fault(name="line cut", place="access.line", break_=_link("ont", "o1", "down"), heal=_link("ont", "o1", "up")),
    Fault(name="black hole", place="access.line", break_=_plug("ont", "o1", ""), heal=_plug("ont", "o1", "b0")),
    Fault(
        name="no route at the BNG",
        place="operator.core",
        break_=lambda home: home.routes("isp", "del", [r for r in _ROUTES["isp"] if r.startswith("default")]),
        heal=lambda home: home.routes("isp"),
    ),
    Fault(name="transit down", place="upstream", break_=_no_transit, heal=_transit),
    Fault(
        name="resolver silent", place="dns", break_=lambda home: home.stop("dns"), heal=lambda home: home.go_on("dns")
    ),
    Fault(
        name="server silent",
        place="operator.server",
        break_=lambda home: home.stop("stamp"),
        heal=lambda home: home.go_on("stamp"),
    ),
)
"""With a healthy line the eleven states."""


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def _ports(wire: tuple[str, str, str, str], part: str) -> list[str]:
    return [port for owner, port in (wire[:2], wire[2:]) if owner == part]
