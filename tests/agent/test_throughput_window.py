"""Do samples make the rate that was, and is what held a test back named?"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net.ranks import nearest_rank
from balise_agent.net.throughput import tcp_info
from balise_agent.net.throughput.dialogue import (
    Report,
    TroubleError,
    decode_lease,
    decode_report,
    encode_report,
)
from balise_agent.net.throughput.limits import VALIDITY, Evidence, limited_by, worst
from balise_agent.net.throughput.measure import rpm
from balise_agent.net.throughput.shape import streams_for
from balise_agent.net.throughput.tcp_info import NOTHING, TcpInfo
from balise_agent.net.throughput.window import (
    Counted,
    Reading,
    Sample,
    count,
    idle_share,
    on_the_link,
    shut_share,
    summarise,
)


def steady(times: list[float], *rates: float) -> list[Sample]:
    """Streams that carry so many bytes a second from the first moment on."""
    return [Sample(at_s=t, streams=tuple(round(r * (t - times[0])) for r in rates)) for t in times]


GRID = [10 + n / 10 for n in range(45)]


def test_a_steady_stream_has_its_rate_whatever_was_before_the_window() -> None:
    summary = summarise(steady(GRID, 1_000_000, 500_000), 1, 3)
    assert summary is not None
    assert (summary.bps, summary.p5_bps, summary.p95_bps) == (12_000_000, 12_000_000, 12_000_000)
    assert summary.bytes == 4_500_000
    assert (round(summary.share_min, 6), round(summary.share_max, 6)) == (0.333333, 0.666667)


def test_what_came_in_the_discarded_second_is_in_no_figure() -> None:
    burst = [replace(s, streams=(s.streams[0] + 9_000_000 * (s.at_s > 10.5),)) for s in steady(GRID, 1_000_000)]
    summary = summarise(burst, 1, 3)
    assert summary is not None
    assert summary.bps == 8_000_000


@given(st.lists(st.floats(-0.04, 0.04), min_size=45, max_size=45), st.floats(1e4, 1e9))
def test_samples_that_come_late_or_early_change_nothing(jitter: list[float], rate: float) -> None:
    summary = summarise(steady([t + j for t, j in zip(GRID, jitter, strict=True)], rate), 1, 3)
    assert summary is not None
    assert summary.bps == pytest.approx(rate * 8, rel=1e-3)


@pytest.mark.parametrize("samples", [[], GRID[:1], GRID[:39], [10.0, 10.5]])
def test_samples_that_do_not_cover_the_window_make_no_figure(samples: list[float]) -> None:
    assert summarise(steady(samples, 1e6), 1, 3) is None


def test_a_stream_that_stood_still_makes_no_figure() -> None:
    assert summarise(steady(GRID, 0), 1, 3) is None


def test_a_stream_that_began_later_counts_from_then_on() -> None:
    late = [replace(s, streams=s.streams[: 1 + (s.at_s >= 12.5)]) for s in steady(GRID, 1e6, 1e6)]
    summary = summarise(late, 1, 3)
    assert summary is not None
    assert summary.bytes > 3_000_000


def info(**numbers: int) -> TcpInfo:
    return replace(NOTHING, **numbers)


def test_segments_are_counted_and_the_last_mss_is_that_of_all() -> None:
    readings = [
        Reading(at_s=0, streams=(info(rcv_mss=536),)),
        Reading(at_s=1, streams=(info(rcv_mss=1_448, data_segs_in=10, bytes_received=13_000),)),
    ]
    expected = (Sample(at_s=0, streams=(0,)), Sample(at_s=1, streams=(14_480,)))
    assert count(readings) == Counted(samples=expected, counter="segments", gap_ratio=1_480 / 13_000)


def test_where_the_kernel_merged_segments_bytes_are_counted() -> None:
    readings = [Reading(at_s=1, streams=(info(rcv_mss=65_483, data_segs_in=10, bytes_received=600_000),))]
    assert count(readings) == Counted(samples=(Sample(at_s=1, streams=(600_000,)),), counter="bytes", gap_ratio=0)


def test_fewer_segments_than_the_bytes_need_were_merged_on_the_way_in() -> None:
    """As a virtual machine's network card hands them over, or `relay.c` would if it wrote several at once."""
    readings = [Reading(at_s=1, streams=(info(rcv_mss=1_448, data_segs_in=30, bytes_received=600_000),))]
    assert count(readings) == Counted(samples=(Sample(at_s=1, streams=(600_000,)),), counter="bytes", gap_ratio=0)


def test_what_is_behind_an_open_loss_was_on_the_link_too() -> None:
    assert on_the_link(info(rcv_mss=1_448, data_segs_in=10, bytes_received=1_448), 66) == 10 * (1_448 + 66)
    assert on_the_link(info(rcv_mss=65_483, data_segs_in=1, bytes_received=70_000), 66) == 70_066


def test_nothing_read_is_nothing_counted() -> None:
    assert count([]).samples == ()


def test_shares_of_time_are_of_what_came_after_the_discard() -> None:
    def at(at_s: float, busy: int, shut: int) -> Reading:
        return Reading(at_s=at_s, streams=(info(busy_us=busy, rwnd_limited_us=shut),) * 2)

    readings = [at(5, 0, 0), at(6, 100_000, 900_000), at(8, 1_100_000, 1_900_000)]
    assert idle_share(readings, 1) == pytest.approx(0.5)
    assert shut_share(readings, 1) == pytest.approx(0.5)
    assert idle_share(readings, 3) is None
    assert shut_share([], 1) is None


FAST = Evidence(bps=95_000_000, contract_bps=100_000_000)


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ({}, "none"),
        ({"wifi": True, "process_cpu": 0.9}, "wifi"),
        ({"link_bps": 100_000_000}, "lan"),
        ({"link_bps": 100_000_000, "contract_bps": 10_000_000}, "none"),
        ({"link_bps": 100_000_000, "contract_bps": None}, "none"),
        ({"process_cpu": 0.71}, "probe_cpu"),
        ({"process_cpu": 0.69, "machine_cpu": 0.91}, "probe_cpu"),
        ({"window_shut": 0.11}, "probe_cpu"),
        ({"ran_dry": 0.11}, "probe_cpu"),
        ({"foreign_bps": 999_999}, "none"),
        ({"foreign_bps": 1_000_001}, "cross_traffic"),
        ({"foreign_bps": 500_001, "contract_bps": None}, "cross_traffic"),
        ({"server_share": 0.71}, "server"),
        ({"server_late": 0.11}, "server"),
        ({"loss_ratio": 0.01}, "none"),  # not low
        ({"loss_ratio": 0.01, "bps": 89_000_000}, "loss"),
        ({"loss_ratio": 0.001, "bps": 89_000_000}, "none"),
        ({"loss_ratio": 0.01, "bps": 1, "contract_bps": None}, "none"),
    ],
)
def test_what_held_a_test_back_has_its_word(seen: dict[str, Any], word: str) -> None:
    assert limited_by(replace(FAST, **seen)) == word
    assert word in VALIDITY


def test_of_two_directions_the_homes_own_limit_is_told_first() -> None:
    assert worst(["none", "loss", "wifi"]) == "wifi"
    assert worst([]) == "none"
    assert [worst([word]) for word in VALIDITY] == list(VALIDITY)


@given(st.binary(max_size=400))
def test_any_bytes_are_decoded_as_the_kernels_structure(data: bytes) -> None:
    assert tcp_info.decode(data) == tcp_info.decode(data + bytes(100))


def test_the_kernels_own_counters_are_where_we_read_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        with other:
            one.sendall(bytes(50_000))
            assert other.recv(50_000, socket.MSG_WAITALL) == bytes(50_000)
            sent, got = tcp_info.read(one), tcp_info.read(other)
            tcp_info.ask_congestion(one, ("no_such", "reno"))
            assert tcp_info.congestion(one) in ("reno", tcp_info.congestion(other))
    assert (sent.bytes_sent, sent.bytes_retrans, got.bytes_received) == (50_000, 0, 50_000)
    assert sent.bytes_acked <= 50_001
    assert got.data_segs_in >= 1
    assert got.rcv_mss > 536
    assert 0 < sent.min_rtt_us <= 10_000_000
    assert tcp_info.read(one, got) == got  # closed: what was known stays


REPORT = Report(
    cc="bbr",
    sent=(Reading(at_s=1.5, streams=(info(bytes_sent=7, bytes_retrans=1, busy_us=3, rwnd_limited_us=2, rtt_us=9),)),),
    samples=(Sample(at_s=1.5, streams=(1, 2)), Sample(at_s=1.6, streams=(3, 4))),
    counter="bytes",
    gap_ratio=0.25,
    server_share=0.5,
)


def test_a_report_comes_back_as_it_was() -> None:
    assert decode_report(json.loads(encode_report(REPORT))) == REPORT
    assert decode_report(json.loads(encode_report(Report()))) == Report()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
TOLD = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("cc", "sent", "samples", "counter", "gap_ratio", "server_share"), JSON)
)


def reason(read: Callable[[dict[str, Any]], object], told: dict[str, Any]) -> str | None:
    try:
        read(told)
    except TroubleError as trouble:
        return trouble.outcome.reason
    return None


@given(TOLD)
def test_any_report_of_a_target_is_one_or_a_reason(told: dict[str, Any]) -> None:
    assert reason(decode_report, told) in (None, "bad_answer")


@given(st.dictionaries(st.sampled_from(["lease", "role", "udp_port"]), JSON))
def test_any_lease_of_a_target_is_one_or_a_reason(told: dict[str, Any]) -> None:
    assert reason(decode_lease, told) in (None, "bad_answer")


def test_samples_that_go_back_in_time_are_no_report() -> None:
    backwards = replace(REPORT, samples=REPORT.samples[::-1])
    with pytest.raises(TroubleError, match="bad_answer"):
        decode_report(json.loads(encode_report(backwards)))


def test_round_trips_a_minute_are_over_the_mean_without_the_slowest_twentieth() -> None:
    assert rpm([10_000] * 95 + [10_000_000] * 5) == 6_000
    assert rpm([200_000]) == 300
    assert (nearest_rank([1, 2, 3, 4], 50), nearest_rank([1, 2, 3, 4], 95), nearest_rank([7], 5)) == (2, 4, 7)


def test_a_fast_contract_either_way_has_eight_streams() -> None:
    assert [streams_for(down, up) for down, up in ((None, None), (300e6, 50e6), (500e6, None), (1e8, 1e9))] == [
        4,
        4,
        8,
        8,
    ]
