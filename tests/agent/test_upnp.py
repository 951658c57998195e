"""Is the box heard, and only the box, whatever it or anybody else answers?"""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import upnp
from balise_agent.net.resolve import Address
from balise_agent.net.xml_leaves import MOST_DEPTH, leaves
from tests.agent.boxes import Box, ok, running

HERE = Address(family=socket.AF_INET, host="127.0.0.1")


def found(box: Box) -> upnp.Igd | None:
    with running(box):
        return asyncio.run(upnp.find(HERE, box.ssdp_port))


def asked(box: Box) -> tuple[tuple[int, int] | None, upnp.Status]:
    async def ask() -> tuple[tuple[int, int] | None, upnp.Status]:
        igd = await upnp.find(HERE, box.ssdp_port)
        assert igd is not None
        return await upnp.counters(igd, timeout_s=30), await upnp.status(igd)

    with running(box):
        return asyncio.run(ask())


def test_a_box_tells_its_counters_and_how_its_way_out_is() -> None:
    box = Box()
    counters, status = asked(box)
    assert counters == (1000, 500)
    assert status == upnp.Status(wan="connected", uptime_s=3600, link_up=True)
    actions = [request for request in box.requests if request.startswith(b"POST")]
    assert all(request.startswith(b"POST /ctl/") for request in actions)
    assert b'SOAPAction: "urn:schemas-upnp-org:service:WANIPConnection:1#GetStatusInfo"' in actions[-1]


@pytest.mark.parametrize(
    ("said", "counters", "status"),
    [
        ({"NewTotalBytesReceived": "-5"}, (-5, 500), upnp.Status(wan="connected", uptime_s=3600, link_up=True)),
        ({"NewTotalBytesSent": "many"}, None, upnp.Status(wan="connected", uptime_s=3600, link_up=True)),
        ({"NewTotalBytesSent": "9" * 400}, None, upnp.Status(wan="connected", uptime_s=3600, link_up=True)),
        ({"NewUptime": "-1"}, (1000, 500), upnp.Status(wan="connected", link_up=True)),
        ({"NewConnectionStatus": "On holiday", "NewPhysicalLinkStatus": "Down"}, (1000, 500), None),
    ],
)
def test_what_it_says_is_read_for_what_it_is(
    said: dict[str, str], counters: tuple[int, int] | None, status: upnp.Status | None
) -> None:
    box = Box()
    box.says |= said
    expected = upnp.Status(wan="other", uptime_s=3600, link_up=False) if status is None else status
    assert asked(box) == (counters, expected)


@pytest.mark.parametrize(
    "location",
    [
        "http://192.0.2.66:80/root.xml",
        "https://127.0.0.1:{port}/root.xml",
        "file:///etc/passwd",
        "http://127.0.0.1:{port}@192.0.2.66/",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "x" * 500,
    ],
)
def test_a_place_that_is_not_the_box_is_not_gone_to(location: str) -> None:
    box = Box(location=location)
    assert found(box) is None
    assert box.requests == []


@pytest.mark.parametrize(
    "url", ["http://192.0.2.66/ctl", "//192.0.2.66/ctl", "http://[::1", "/a b", "ftp://127.0.0.1/"]
)
def test_a_service_that_is_elsewhere_is_none(url: str) -> None:
    assert found(Box(common_url=url)) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.66/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n<a/>",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"<a>" * 300_000,
        b"\0" * 100_000,
        ok("<root>" * (MOST_DEPTH + 1)),
        ok('<!DOCTYPE a [<!ENTITY b "c">]><root><service>&b;</service></root>'),
        ok("<root/>"),
    ],
)
def test_an_answer_that_is_none_of_a_box_leads_nowhere(answer: bytes) -> None:
    assert found(Box(answer=lambda _: answer)) is None


def test_silence_is_waited_for_no_longer_than_a_search_takes() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert asyncio.run(upnp.find(HERE, silent.getsockname()[1], 0.2)) is None


def test_entities_and_document_types_are_refused() -> None:
    bomb = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>'
    assert leaves(bomb.encode()) is None
    assert leaves(b'<!DOCTYPE l SYSTEM "http://192.0.2.66/x"><l/>') is None
    assert leaves(b"<l>&nosuch;</l>") is None


def test_elements_come_by_local_name_in_order_of_their_ends() -> None:
    assert leaves(b"<s:a xmlns:s='x'><b> 1 </b><c/></s:a>") == [("b", "1"), ("c", ""), ("a", "")]


@given(st.binary(max_size=300) | st.text(alphabet="<>/&;! ab\"'=?[]", max_size=200).map(str.encode))
def test_any_bytes_are_elements_or_none(data: bytes) -> None:
    read = leaves(data)
    assert read is None or all(isinstance(name, str) for name, _ in read)
