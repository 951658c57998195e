"""Is a STAMP packet what RFC 8762 says, and does it tell which way a loss happened?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import stamp
from balise_agent.net.stamp import OneWay, ReflectedPacket, SenderPacket

TIMES = st.integers(0, 4_000_000_000 * 10**9)  # 1970 to 2096, over the end of NTP's first era
U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
SENDERS = st.builds(SenderPacket, sequence=U32, time_ns=TIMES, error=U16, session=U16)
REFLECTED = st.builds(
    ReflectedPacket,
    sequence=U32,
    time_ns=TIMES,
    error=U16,
    session=U16,
    received_ns=TIMES,
    sender_sequence=U32,
    sender_time_ns=TIMES,
    sender_error=U16,
    sender_ttl=st.integers(0, 255),
)
SENDER = SenderPacket(sequence=1, time_ns=1_800_000_000_250_000_000, error=0x8001, session=0xBEEF)
ANSWER = ReflectedPacket(
    sequence=2,
    time_ns=3,
    error=4,
    session=5,
    received_ns=6,
    sender_sequence=7,
    sender_time_ns=8,
    sender_error=9,
    sender_ttl=64,
)


def test_a_senders_packet_is_laid_out_as_in_rfc_8762() -> None:
    data = stamp.encode_sender(SENDER)
    seconds = 1_800_000_000 + 2_208_988_800
    assert data == b"".join(
        (
            (1).to_bytes(4),  # sequence number
            seconds.to_bytes(4) + (1 << 30).to_bytes(4),  # NTP time, a quarter of a second
            b"\x80\x01",  # error estimate: synchronised, 2^-32 s
            b"\xbe\xef",  # session identifier (RFC 8972)
            bytes(28),
        )
    )


def test_a_reflected_packet_is_laid_out_as_in_rfc_8762() -> None:
    data = stamp.encode_reflected(ANSWER)
    assert (data[:4], data[12:16], data[24:28], data[36:44]) == (
        (2).to_bytes(4),
        b"\x00\x04\x00\x05",
        (7).to_bytes(4),
        b"\x00\x09\x00\x00\x40\x00\x00\x00",
    )


@given(SENDERS)
def test_a_senders_packet_is_read_back(packet: SenderPacket) -> None:
    assert stamp.decode_sender(stamp.encode_sender(packet)) == packet


@given(REFLECTED)
def test_a_reflected_packet_is_read_back(packet: ReflectedPacket) -> None:
    assert stamp.decode_reflected(stamp.encode_reflected(packet)) == packet


def test_a_packet_is_read_whole_or_not_at_all_and_padding_is_no_matter() -> None:
    question, answer = stamp.encode_sender(SENDER), stamp.encode_reflected(ANSWER)
    for size in range(stamp.PACKET_BYTES):
        assert stamp.decode_sender(question[:size]) is None
        assert stamp.decode_reflected(answer[:size]) is None
    assert stamp.decode_sender(question + b"padding") == SENDER
    assert stamp.decode_reflected(answer + b"padding") == ANSWER


@given(REFLECTED)
def test_an_answer_is_never_a_question_so_that_two_reflectors_do_not_answer_each_other(packet: ReflectedPacket) -> None:
    assert stamp.decode_sender(stamp.encode_reflected(packet)) is None


def test_a_question_is_never_an_answer() -> None:
    assert stamp.decode_reflected(stamp.encode_sender(SENDER)) is None


@given(st.binary(max_size=60))
def test_no_bytes_make_a_decoder_raise(data: bytes) -> None:
    assert isinstance(stamp.decode_sender(data), SenderPacket | None)
    assert isinstance(stamp.decode_reflected(data), ReflectedPacket | None)


@given(st.floats(0, 2.0**30), st.booleans())
def test_an_error_estimate_is_never_told_too_small_nor_much_too_large(error_s: float, synchronised: bool) -> None:
    told = stamp.decode_error(stamp.encode_error(error_s, synchronised=synchronised))
    assert told is not None
    assert told[1] is synchronised
    assert error_s <= told[0] <= max(error_s * 1.02, 2**-32 + error_s)


def test_an_error_estimate_without_a_multiplier_claims_nothing() -> None:
    assert stamp.decode_error(0x8000) is None


def test_where_nothing_was_lost_there_is_no_loss_either_way() -> None:
    assert stamp.one_way_loss([(1, 0), (2, 1), (3, 2)]) == OneWay(forward=0, reverse=0)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([], "no answer at all"),
        ([(1, 1), (2, 2)], "the reflector copies the sender's number"),
        ([(1, 0), (5, 1), (6, 0)], "the reflector began to count anew"),
        ([(1, 9)], "the session is older than its sender"),
    ],
)
def test_the_direction_of_a_loss_is_unknown_where(answers: list[tuple[int, int]], why: str) -> None:
    assert stamp.one_way_loss(answers) is None, why


@given(st.lists(st.sampled_from(["answered", "forward", "reverse"]), max_size=80), st.integers())
def test_each_loss_before_the_last_answer_is_told_by_its_direction(fates: list[str], seed: int) -> None:
    answers, reflected = [], 0
    for sequence, fate in enumerate(fates, stamp.FIRST_SEQUENCE):
        if fate == "answered":
            answers.append((sequence, reflected))
        reflected += fate != "forward"
    known = fates[: len(fates) - fates[::-1].index("answered")] if answers else []
    random.Random(seed).shuffle(answers)
    expected = OneWay(forward=known.count("forward"), reverse=known.count("reverse")) if answers else None
    assert stamp.one_way_loss(answers) == expected
