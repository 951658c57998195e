"""Is a name's address found without holding up the loop or the program's end?"""

from __future__ import annotations

import asyncio
import socket

import pytest

from balise_agent.net.resolve import Address, literal, resolve


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", Address(family=socket.AF_INET, host="127.0.0.1")),
        ("::1", Address(family=socket.AF_INET6, host="::1")),
        ("fe80::1%lo", Address(family=socket.AF_INET6, host="fe80::1", scope=socket.if_nametoindex("lo"))),
        ("fe80::1%none", None),
        ("localhost", None),
        ("127.1", None),
        ("", None),
        ("a\0b", None),
    ],
)
def test_an_address_is_told_from_a_name(host: str, address: Address | None) -> None:
    assert literal(host) == address


def test_a_socket_is_told_the_interface_of_a_link_local_address() -> None:
    four, six = literal("127.0.0.1"), literal("fe80::1%lo")
    assert four is not None
    assert six is not None
    assert (four.at(53), six.at(53)) == (("127.0.0.1", 53), ("fe80::1", 53, 0, socket.if_nametoindex("lo")))


def test_a_name_has_its_addresses() -> None:
    found = asyncio.run(resolve("localhost"))
    assert {address.host for address in found} & {"127.0.0.1", "::1"}
    assert {address.af for address in found} <= {4, 6}


@pytest.mark.parametrize("host", ["a..b", "a" * 300, "\udcff"])
def test_a_name_that_cannot_be_asked_for_has_no_address(host: str) -> None:
    assert asyncio.run(resolve(host)) == []


def test_an_answer_after_the_time_is_none() -> None:
    assert asyncio.run(resolve("localhost", timeout_s=0)) == []
