"""Is the default route's router found, and followed, and does its address stay in the probe?"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balise_agent.net.gateway import addresses_of, next_hop, no_address_reason
from balise_agent.net.resolve import Address

CASES = sorted((Path(__file__).parent / "routes").glob("*/next_hop.txt"))
AGENT = Path(__file__).parents[2] / "agent"
HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
LINE = "eth0\t00000000\t{hop}\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n"
LINE6 = "0" * 32 + " 00 " + "0" * 32 + " 00 {hop} {metric} 00000001 00000000 {flags} eth0\n"
HOP6 = "20010db8" + "0" * 23 + "1"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.parent.name)
def test_captured_tables_give_their_next_hop(case: Path) -> None:
    routes, routes6 = ((case.parent / name).read_text() for name in ("route", "ipv6_route"))
    hop = next_hop(routes, routes6, "little")
    assert (hop or "none") == case.read_text().strip()


def test_an_address_is_read_in_the_machines_own_order_of_bytes() -> None:
    table = HEAD + LINE.format(hop="C0000201", flags="0003", metric=0)
    assert next_hop(table, "", "big") == "192.0.2.1"
    assert next_hop(table, "", "little") == "1.2.0.192"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(LINE.format(hop="010200C0", flags="0002", metric=0), id="not in use"),
        pytest.param(LINE.format(hop="00000000", flags="0001", metric=0), id="no router"),
        pytest.param(LINE.format(hop="010200C0", flags="0203", metric=0), id="refused"),
        pytest.param(LINE.format(hop="1010200C0", flags="0003", metric=0), id="too long an address"),
        pytest.param(LINE.format(hop="0x0200C0", flags="0003", metric=0), id="no hexadecimal address"),
        pytest.param(LINE.format(hop="010200C0", flags="up", metric=0), id="no flags"),
        pytest.param(LINE.format(hop="010200C0", flags="0003", metric="9" * 5_000), id="a metric without end"),
        pytest.param(LINE.format(hop="010200C0", flags="0003", metric=0)[:40], id="cut off"),
        pytest.param(
            LINE.format(hop="010200C0", flags="0003", metric=0).replace("00000000", "000200C0", 1), id="a net"
        ),
    ],
)
def test_a_line_that_leads_nowhere_is_passed_over(line: str) -> None:
    good = LINE.format(hop="FE0200C0", flags="0003", metric=9)
    assert next_hop(HEAD + line, "", "little") is None
    assert next_hop(HEAD + line + "\n" + good, "", "little") == "192.0.2.254"


@pytest.mark.parametrize(
    "line",
    [
        LINE6.format(hop=HOP6, metric="00000000", flags="00200203"),
        LINE6.format(hop=HOP6 + "0", metric="00000000", flags="00000003"),
        LINE6.format(hop=HOP6, metric="low", flags="00000003"),
        LINE6.format(hop=HOP6, metric="00000000", flags="00000003").replace(" 00 ", " 40 ", 1),
        LINE6.format(hop=HOP6, metric="00000000", flags="00000003")[:-6],
    ],
)
def test_an_ipv6_line_that_leads_nowhere_is_passed_over(line: str) -> None:
    good = LINE6.format(hop=HOP6, metric="00000400", flags="00450003")
    assert next_hop("", line) is None
    assert next_hop("", line + "\n" + good) == "2001:db8::1"


@given(st.text(max_size=300), st.text(max_size=300))
@example("", "")
def test_any_text_gives_a_next_hop_or_none(routes: str, routes6: str) -> None:
    assert isinstance(next_hop(routes, routes6), str | None)


words = st.sampled_from(["00000000", "0" * 32, "00", "0003", "eth0", HOP6, "010200C0", "7", "\x00", "٣", "f" * 40])


@given(st.lists(st.lists(words, min_size=8, max_size=12).map(" ".join), max_size=4).map("\n".join))
def test_lines_of_its_own_words_in_any_order_give_a_next_hop_or_none(table: str) -> None:
    assert isinstance(next_hop(table, table), str | None)


def test_any_other_host_is_resolved() -> None:
    assert asyncio.run(addresses_of("127.0.0.1")) == [Address(family=socket.AF_INET, host="127.0.0.1")]
    assert asyncio.run(addresses_of("a..b")) == []
    assert (no_address_reason("a..b"), no_address_reason("gateway")) == ("resolve", "no_default_route")


HOUSE = """
ip link set lo up
echo "0 0" >/proc/sys/net/ipv4/ping_group_range
unshare --net sleep 300 & box=$!
trap 'kill $box' EXIT
until [ "$(readlink /proc/$box/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add eth0 type veth peer name lan netns $box
ip link set eth0 up
nsenter --net=/proc/$box/ns/net sh -e -c '
  ip link set lo up; ip link set lan up; ip addr add 192.0.2.254/24 dev lan
  ip addr add fe80::1/64 dev lan nodad'
ip addr add 192.0.2.20/24 dev eth0
ip addr add fe80::20/64 dev eth0 nodad
"$@"
"""
"""A probe and a box, each in a network of its own, with a cable between them; the probe has no default route yet."""

MEASURE = f"""
import asyncio, json, subprocess, sys
sys.path[:0] = [{str(AGENT)!r}, {str(Path(__file__).parent)!r}]
from test_reach import ReachSettings, ReachTarget, context, run as reach
from balise_agent.probes.dns import DnsResolver, DnsSettings, run as dns
gw = ReachSettings(interval_s=1, targets=(ReachTarget(label="gw", host="gateway", every_s=0.2),))
box = DnsSettings(timeout_s=1, resolvers=(DnsResolver(label="box", host="gateway", name="probe.example.org"),))
for route in ("", "-6 route add default via fe80::1 dev eth0", "route add default via 192.0.2.254"):
    if route:
        subprocess.run(["ip", *route.split()], check=True)
    for records in (asyncio.run(reach(gw, context())), asyncio.run(dns(box, context()))):
        print(json.dumps([[r.target, r.outcome.reason, r.fields.get("af"), repr(r)] for r in records]))
"""


def test_it_is_followed_from_no_route_to_ipv6_to_ipv4_and_its_address_is_in_no_record() -> None:
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    house = [*alone, "sh", "-e", "-c", HOUSE, "sh"]
    if subprocess.run([*house, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make network namespaces with a cable between them")
    done = subprocess.run([*house, sys.executable, "-c", MEASURE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [[row[:3] for row in rows] for rows in said] == [
        [["gw", "no_default_route", None]],
        [["box", "no_default_route", None], ["box.unique", "no_default_route", None]],
        [["gw", None, 6]],
        [["box", "refused", 6], ["box.unique", "refused", 6]],  # nothing listens on the box's port 53
        [["gw", None, 4]],
        [["box", "refused", 4], ["box.unique", "refused", 4]],
    ]
    assert not [row for rows in said for row in rows if "192.0.2." in row[3] or "fe80" in row[3]]
