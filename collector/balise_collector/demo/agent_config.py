"""What does the demo tell its agent: which probes, how often, against what on this machine?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from balise_collector.demo import exchange
from balise_collector.headend import sending as headend
from balise_collector.target import Ports

ZONE = "probe.example.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A probe's on the broker, and where that listens."""

    probe: str
    password: str
    host: str
    port: int


def text(
    account: Account, state_dir: Path, ports: Ports, telephone: int | None, television: Mapping[str, int] | None
) -> str:
    """The agent's TOML. ``telephone``: the exchange's port; ``television``: where the head-end's channels are."""
    parts = (_agent(account, state_dir), _internet(ports), _voice(ports, telephone), _tv(television))
    return "\n".join(part for part in parts if part)


def _agent(account: Account, state_dir: Path) -> str:
    return f"""\
[agent]
state_dir = "{state_dir}"
batch_s = 1
clock = "trust"

[broker]
host = "{account.host}"
port = {account.port}
tls = false
username = "{account.probe}"
password = "{account.password}"

[probe]
id = "{account.probe}"
"""


def _internet(ports: Ports) -> str:
    """Each rung, names and pages as often as a person looks; no box is asked."""
    return f"""\
[reach]
interval_s = 2
dns_host = "127.0.0.1"
dns_port = {ports.dns}
dns_name = "{ZONE}"
dns_every_s = 2
web_url = "http://127.0.0.1:{ports.http}/ping"
web_every_s = 5
targets = [
  {{ label = "op", host = "127.0.0.1", method = "stamp", port = {ports.udp}, every_s = 0.2 }},
  {{ label = "gw", host = "127.0.0.1", method = "icmp", every_s = 0.5 }},
]

[dns]
interval_s = 2
resolvers = [{{ label = "target", host = "127.0.0.1", port = {ports.dns}, name = "{ZONE}" }}]

[web]
interval_s = 2
objects = [{{ label = "target", url = "http://127.0.0.1:{ports.http}/small" }}]

[box]
enabled = false

[host]
interval_s = 2
"""


def _voice(ports: Ports, telephone: int | None) -> str:
    """A call each 10 s instead of one a day or each half hour."""
    if telephone is None or ports.sip is None:
        return ""
    return f"""\
[voice]
interval_s = 5
register_every_s = 10
call_every_s = 10
path_every_s = 10
calls_a_day = 2000
talk_s = 1
timeout_s = 1.5
ungated = true
paths = [{{ label = "target", host = "127.0.0.1", port = {ports.sip} }}]
numbers = [{{ label = "echo", account = "operator", number = "{exchange.NUMBER}" }}]

[[voice.accounts]]
label = "operator"
domain = "{exchange.DOMAIN}"
host = "127.0.0.1"
port = {telephone}
user = "{exchange.USER}"
password = "{exchange.PASSWORD}"
dedicated = true
"""


def _tv(television: Mapping[str, int] | None) -> str:
    """A channel each 4 s instead of one each 5 min or hour; loopback answers a join faster than any line."""
    if television is None:
        return ""
    urls = {n: headend.url(television, n) for n in range(1, television["channels"] + 1)}
    rate = f"rate_bps = {headend.RATE_BPS}"
    rows = (f'  {{ label = "{n}", name = "Channel {n}", url = "{url}", {rate} }},' for n, url in urls.items())
    lines = "\n".join(rows)
    return f"""\
[tv]
interval_s = 4
every_s = 4
listen_s = 1
interface = "lo"
ungated = true
fastest_join_ms = 0
day_bytes = {10**12}
channels = [
{lines}
]
"""
