"""Is a header of RTP read as RFC 3550 § 5.1 writes it, and does nothing make the reader fail?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net.rtp import Packet, decode, extend

PLAIN = bytes.fromhex("80e0 0001 00000002 00000003".replace(" ", "")) + b"voice"


def test_a_plain_packet() -> None:
    assert decode(PLAIN) == Packet(96, True, 1, 2, 3, 12, 17)


def test_sources_extension_and_padding_are_no_payload() -> None:
    header = bytes([0x80 | 0x20 | 0x10 | 2]) + PLAIN[1:12] + bytes(8)
    data = header + b"\xbe\xde\x00\x01" + bytes(4) + b"voice" + b"\x00\x00\x03"
    found = decode(data)
    assert found is not None
    assert data[found.start : found.end] == b"voice"


@pytest.mark.parametrize(
    "data",
    [b"", PLAIN[:11], b"\x40" + PLAIN[1:], b"\x8f" + PLAIN[1:], b"\x90" + PLAIN[1:12], b"\xa0" + PLAIN[1:12] + b"\x00",
     b"\xa0" + PLAIN[1:12] + b"\xff"],
    ids=["empty", "short", "version 1", "sources", "extension", "padding of nothing", "padding of more"],
)  # fmt: skip
def test_what_says_more_than_there_is_is_none(data: bytes) -> None:
    assert decode(data) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_are_none(data: bytes) -> None:
    found = decode(data)
    assert found is None or 12 <= found.start <= found.end <= len(data)


@given(st.integers(0, 1 << 40), st.integers(-32_768, 32_767))
def test_a_wrapped_number_is_the_nearest(near: int, step: int) -> None:
    assert extend((near + step) % 65_536, near) == near + step
