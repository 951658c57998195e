"""Does the chain rest on every message, its number and its date?"""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.contract import body_hash, chain_next, chain_start, token
from tests.contract.messages import dates_ms, tokens

STREAM = base64.urlsafe_b64encode(bytes(range(16))).decode().rstrip("=")
PREVIOUS = base64.urlsafe_b64encode(bytes(range(16, 32))).decode().rstrip("=")


def sixteen(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()[:16]


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize("previous", [None, PREVIOUS])
def test_a_chain_worked_out_by_hand(previous: str | None) -> None:
    bodies = [b'{"nonce":"a"}', b'{"nonce":"b"}', b'{"nonce":"c"}']
    dates = [1_764_000_000_000, 1_764_000_060_000, 0]
    c = sixteen(b"BC1", STREAM.encode(), b"|", (previous or "").encode())
    said = chain_start(STREAM, previous)
    assert said == text(c)
    for seq, (body, ts_ms) in enumerate(zip(bodies, dates, strict=True), start=1):
        c = sixteen(b"BC1", c, struct.pack(">QQ", seq, ts_ms), hashlib.sha256(body).digest())
        said = chain_next(said, seq, ts_ms, body_hash(body))
        assert said == text(c)


def test_the_chain_is_the_one_of_version_1_for_ever() -> None:
    first = chain_start("AAECAwQFBgcICQoLDA0ODw", None)
    second = chain_next(first, 1, 1_764_000_000_000, hashlib.sha256(b"{}").digest())
    assert (first, second) == ("mCw2fjdzwfR-7BxBoqNu2g", "FMKdUstY8HhI4ONfD-5WdA")


@given(tokens, st.integers(1, 2**53 - 1), dates_ms, st.binary(max_size=40))
def test_another_number_date_body_or_past_is_another_value(last: str, seq: int, ts_ms: int, body: bytes) -> None:
    value = chain_next(last, seq, ts_ms, body_hash(body))
    others = {
        chain_next(token(sixteen(last.encode())), seq, ts_ms, body_hash(body)),
        chain_next(last, seq + 1, ts_ms, body_hash(body)),
        chain_next(last, seq, ts_ms + 1, body_hash(body)),
        chain_next(last, seq, ts_ms, body_hash(body + b"\0")),
    }
    assert len(value) == 22
    assert value not in others
    assert len(others) == 4


def test_a_new_stream_names_the_one_before_it() -> None:
    assert len({chain_start(STREAM, None), chain_start(STREAM, PREVIOUS), chain_start(PREVIOUS, STREAM)}) == 3


@pytest.mark.parametrize("last", ["", "short", "c" * 21, "c" * 23, "+" * 22, "/" * 22, "c" * 21 + "=", "é" * 22])
def test_a_last_value_that_is_no_chain_value_is_a_fault_of_the_caller(last: str) -> None:
    with pytest.raises(ValueError, match="16 bytes in base64url"):
        chain_next(last, 1, 0, bytes(32))


def test_a_hash_of_another_length_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="hash 32 bytes"):
        chain_next("c" * 22, 1, 0, bytes(31))
