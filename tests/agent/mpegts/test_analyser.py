"""Does the analyser say the same whatever the engine and the cuts, and what others say of the same bytes?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balise_agent.net.mpegts import analyser as module
from balise_agent.net.mpegts.analyser import Analyser, Engine, engines
from balise_agent.net.mpegts.report import Report
from tests.agent.mpegts import streams as ts

VECTORS = Path(__file__).parents[3].parent / "shared/vectors/mpegts"
ENGINES: tuple[Engine, ...] = ("plain", "numpy")
NS = 1_000_000_000


def analysed(data: bytes, engine: Engine = "plain", cuts: list[int] | None = None) -> Report:
    analyser = Analyser(engine)
    for start, end in zip([0, *(cuts or [])], [*(cuts or []), len(data)], strict=True):
        analyser.feed(data[start:end])
    analyser.finish()
    return analyser.report()


def received(parts: list[bytes], each_ns: int = 7_000_000, dropped: dict[int, int] | None = None) -> Report:
    analyser = Analyser("plain")
    for number, part in enumerate(parts):
        analyser.feed(part, number * each_ns, (dropped or {}).get(number, 0))
    analyser.finish()
    return analyser.report()


def test_both_engines_are_tested() -> None:
    assert set(engines()) == set(ENGINES)


def test_a_sound_stream_has_no_fault_and_says_what_is_in_it() -> None:
    report = analysed(b"".join(ts.stream(12_000)))
    figures = report.indicators
    assert report.errors == ()
    assert (figures["cc_err"], figures["es_ratio"], figures["tei"], figures["psi_crc_err"]) == (0, 0.0, 0, 0)
    assert report.programmes == {1: (ts.PMT_PID, ts.VIDEO_PID, ts.AUDIO_PID)}
    assert report.pids[ts.VIDEO_PID].kind == "h264"
    assert figures["pcr_interval_max_ms"] == pytest.approx(20.0)
    assert figures["gop_ms"] == pytest.approx(1_000.0, abs=1)
    assert figures["pat_interval_max_ms"] == pytest.approx(100.0)
    assert {"tdt", "nit", "pcr_accuracy"} <= set(report.not_judged)
    assert "pat" not in report.not_judged


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_the_report_is_the_same_whatever_the_engine_and_the_cuts(seed: int, data: st.DataObject) -> None:
    whole = b"".join(ts.harmed(ts.stream(1_200, seed), seed))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    expected = analysed(whole, "plain")
    assert analysed(whole, "numpy") == expected
    assert analysed(whole, "plain", cuts) == expected
    assert analysed(whole, "numpy", cuts) == expected


@pytest.mark.parametrize("packets", [7, 400, 1_000, 5_320])
def test_the_report_is_the_same_for_each_size_of_a_batch(packets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"".join(ts.harmed(ts.stream(6_000, 5), 5))
    expected = analysed(whole)
    monkeypatch.setattr(module, "BATCH", packets * 188)
    analyser = Analyser("numpy")
    for at in range(0, len(whole), 188 * 50):
        analyser.feed(whole[at : at + 188 * 50])
    analyser.finish()
    assert analyser.report() == expected


@pytest.mark.parametrize("seed", range(4))
def test_tables_over_several_packets_that_take_turns_are_counted_alike(seed: int) -> None:
    rng = random.Random(seed)
    guides = [ts.over_packets(0x12, ts.section(0x50, n, rng.randbytes(100 + 150 * n))) for n in range(6)]
    packets = ts.stream(4_000, seed)
    counter = 0
    for place in range(50, 3_900, 60):
        for nth, one in enumerate(rng.choice(guides)):
            packets[place + nth * 3] = one[:3] + bytes([0x10 | counter & 15]) + one[4:]
            counter += 1
    whole = b"".join(ts.harmed(packets, seed) if seed % 2 else packets)
    expected = analysed(whole)
    assert expected.tables["0x0012/0x50"] > 20
    assert analysed(whole, "numpy") == expected
    assert analysed(whole, "numpy", [188 * 1_500 + 50, 188 * 3_000]) == expected


def test_a_step_that_is_lost_again_and_again_gives_the_same_whatever_the_cuts() -> None:
    packets = ts.stream(1_500)
    whole = b"".join(one + bytes(7) if n % 40 == 0 else one for n, one in enumerate(packets))
    expected = analysed(whole)
    assert expected.indicators["sync_loss"]
    assert analysed(whole, "numpy", [100_001]) == analysed(whole, "plain", [1, 70_000, 70_001]) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=700), max_size=6), st.sampled_from(ENGINES))
def test_any_bytes_of_a_file_give_a_report(parts: list[bytes], engine: Engine) -> None:
    analyser = Analyser(engine)
    for part in parts:
        analyser.feed(part)
    analyser.finish()
    assert analyser.report().as_json()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=400), st.integers(0, 1 << 62), st.integers(0, 5)), max_size=8))
def test_any_datagrams_give_a_report(parts: list[tuple[bytes, int, int]]) -> None:
    analyser = Analyser("plain")
    for data, arrival_ns, dropped in parts:
        analyser.feed(data, arrival_ns, dropped)
        analyser.feed(b"\x47" + data.ljust(187, b"\xff")[:187], arrival_ns)
    analyser.finish()
    assert analyser.report().as_json()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1_000), st.sampled_from(ENGINES))
def test_sync_bytes_before_anything_give_a_report(seed: int, engine: Engine) -> None:
    rng = random.Random(seed)
    data = b"".join(b"\x47" + rng.randbytes(187) for _ in range(800))
    assert analysed(data, engine) == analysed(data, "plain")


def line(rng: random.Random, parts: list[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Datagrams of a line that loses, repeats, swaps, is silent, and of a machine that drops; when; dropped before."""
    at_ns, parts = 1_000_000_000_000_000_000, list(parts)
    for number in range(1, len(parts)):
        if rng.random() < 0.01:
            parts[number - 1 : number + 1] = parts[number], parts[number - 1]
    for part in parts:
        draw = rng.random()
        at_ns += 450_000_000 if draw < 0.003 else rng.randrange(500_000, 13_000_000)
        if draw > 0.01:
            yield part, at_ns, draw > 0.995
        if draw > 0.99:
            yield part, at_ns + 1, 0


@pytest.mark.parametrize("encap", ["udp", "rtp", "ragged"])
@pytest.mark.parametrize("seed", range(4))
def test_a_run_of_datagrams_is_read_as_each_of_them_is(seed: int, encap: str) -> None:
    rng = random.Random(seed)
    parts = ts.datagrams(ts.harmed(ts.stream(6_000, seed), seed) if seed % 2 else ts.stream(6_000, seed))
    if encap == "rtp":
        parts = ts.over_rtp(parts, 65_300)
    if encap == "ragged":
        parts = [one[: rng.choice((0, 1, 188, 1_300))] if rng.random() < 0.02 else one for one in parts]
    came = list(line(rng, parts))
    alone, runs = Analyser("plain"), {engine: Analyser(engine) for engine in ENGINES}
    for one in came:
        alone.feed(*one)
    while came:
        run = alike(came, rng.randrange(1, 200))
        del came[: len(run)]
        for analyser in runs.values():
            analyser.feed_run(b"".join(data for data, _, _ in run), [at_ns for _, at_ns, _ in run], run[0][2])
    alone.finish()
    for analyser in runs.values():
        analyser.finish()
        assert analyser.report() == alone.report()


def alike(came: list[tuple[bytes, int, int]], most: int) -> list[tuple[bytes, int, int]]:
    """The first of them that have one size, up to one that was dropped before."""
    end = next((n for n in range(1, len(came)) if len(came[n][0]) != len(came[0][0]) or came[n][2]), len(came))
    return came[: min(end, most)]


# -- where packets begin


@pytest.mark.parametrize("stride", [188, 192, 204])
@pytest.mark.parametrize("before", [b"", b"\x47junk", bytes(300)])
def test_packets_are_found_in_each_step_after_anything(stride: int, before: bytes) -> None:
    packets = ts.stream(50)
    if stride == 192:
        data = b"".join(b"\x00time"[:4] + one for one in packets)
    else:
        data = b"".join(one + bytes(stride - 188) for one in packets)
    report = analysed(before + data)
    assert report.packets == 50
    assert report.indicators["sync_loss"] == 0


def test_a_lost_step_is_counted_and_found_again() -> None:
    packets = b"".join(ts.stream(100))
    report = analysed(packets[: 188 * 50] + b"\x00" * 100 + packets[188 * 50 :])
    assert report.indicators["sync_loss"] == 1
    assert report.packets == 99  # the one that began between the two wrong places is not looked for again


# -- what a line does


def test_packets_that_are_lost_are_missing_from_their_pid() -> None:
    packets = ts.stream(2_000)
    kept = [one for n, one in enumerate(packets) if n not in (505, 506)]
    video = analysed(b"".join(kept)).pids[ts.VIDEO_PID]
    assert (video.discontinuities, video.missing) == (1, 2)


def test_of_a_constant_rate_the_clock_counts_what_was_lost_null_packets_too() -> None:
    packets = ts.stream(5_000)
    lost = {*range(1_505, 1_540), *range(3_005, 3_012)}
    report = analysed(b"".join(one for n, one in enumerate(packets) if n not in lost))
    assert report.indicators["loss_method"] == "pcr"
    assert report.indicators["net_lost_datagrams"] == 6


def test_one_repeat_is_legal_and_a_second_is_an_error() -> None:
    packets = ts.stream(300)
    once = analysed(b"".join([*packets[:206], packets[205], *packets[206:]])).pids[ts.VIDEO_PID]
    twice = analysed(b"".join([*packets[:206], packets[205], packets[205], *packets[206:]])).pids[ts.VIDEO_PID]
    assert (once.duplicates, once.discontinuities) == (1, 0)
    assert (twice.duplicates, twice.discontinuities) == (2, 1)


def test_a_discontinuity_that_is_signalled_excuses_the_counter() -> None:
    one = ts.packet(0x55, 1, bytes(100))
    jump = ts.packet(0x55, 9, bytes(100), adaptation=b"\x80")
    assert analysed(one * 1 + jump + ts.packet(0x55, 10, bytes(100))).pids[0x55].discontinuities == 0


def test_a_damaged_packet_is_counted_and_what_it_carries_is_not_read() -> None:
    wrong = bytearray(ts.carried(0, 0, ts.pat(pmt_pid=0x999)))
    wrong[1] |= 0x80
    report = analysed(bytes(wrong) + b"".join(ts.stream(600)))
    assert report.indicators["tei"] == 1
    assert report.programmes[1][0] == ts.PMT_PID


def test_a_wrong_crc_is_counted_apart_from_a_section_that_was_cut_short() -> None:
    wrong = bytearray(ts.carried(0, 1, ts.pat()))
    wrong[15] ^= 1
    packets = ts.stream(600)
    report = analysed(b"".join(packets[:100]) + bytes(wrong) + b"".join(packets[101:]))
    assert (report.indicators["psi_crc_err"], report.indicators["psi_truncated"]) == (1, 0)
    cut = ts.packet(0x11, 0, (b"\x00" + ts.section(0x42, 1, bytes(900)))[:184], starts=True)
    again = ts.carried(0x11, 1, ts.section(0x42, 1, bytes(20)))
    report = analysed(b"".join(packets) + cut + again)
    assert (report.indicators["psi_crc_err"], report.indicators["psi_truncated"]) == (0, 1)


def test_tables_that_stay_away_make_their_seconds_bad() -> None:
    packets = [one for n, one in enumerate(ts.stream(6_000)) if not (2_000 <= n < 4_000 and n % 100 < 2)]
    report = analysed(b"".join(packets))
    assert {what for _, _, what in report.errors} >= {"pat_late", "pmt_late"}
    assert report.indicators["es_ratio"] == pytest.approx(2 / 6, abs=0.01)


def test_a_version_of_the_tables_that_changes_is_followed_from_its_packet_on() -> None:
    other = [ts.carried(ts.PMT_PID, 0, ts.pmt(((0x24, 0x201),), version=1))]
    both = analysed(b"".join(ts.stream(500)) + b"".join(other) + ts.packet(0x201, 0, bytes(100)))
    assert both.pids[0x201].kind == "hevc"


# -- live


def test_losses_of_rtp_are_exact_whatever_the_order() -> None:
    parts = ts.over_rtp(ts.datagrams(ts.stream(7_000)), first=65_000)
    lost = [part for n, part in enumerate(parts) if n not in (10, 500, 501, 502)]
    lost[100], lost[101] = lost[101], lost[100]
    report = received([*lost[:300], lost[299], *lost[300:]])
    figures = report.indicators
    assert (figures["net_lost_datagrams"], figures["loss_method"]) == (4, "rtp")
    assert (figures["loss_events"], figures["loss_run_max"]) == (2, 3)
    assert (figures["reordered"], figures["duplicates"]) == (1, 1)
    assert report.indicators["cc_err"] == sum(pid.discontinuities for pid in report.pids.values())


def test_what_the_probe_dropped_itself_is_never_the_line_s() -> None:
    parts = ts.datagrams(ts.stream(7_000))
    report = received([part for n, part in enumerate(parts) if n not in (400, 401)], dropped={400: 2})
    figures = report.indicators
    assert (figures["local_drop_datagrams"], figures["valid"]) == (2, False)
    assert (figures["net_lost_datagrams"], figures["cc_err"], figures["es_ratio"]) == (0, 0, 0.0)


def test_a_silence_makes_its_seconds_bad() -> None:
    analyser = Analyser("plain")
    for number, part in enumerate(ts.datagrams(ts.stream(7_000))):
        pause = 1_500_000_000 if number >= 500 else 0
        analyser.feed(part, number * 7_000_000 + pause)
    analyser.finish()
    figures = analyser.report().indicators
    assert figures["iat_max_ms"] == pytest.approx(1_507.0)
    assert float(figures["es_ratio"]) > 0.2


def test_a_datagram_that_comes_twice_is_read_once() -> None:
    parts = ts.datagrams(ts.stream(1_400))
    report = received([*parts[:50], parts[49], *parts[50:]])
    assert (report.indicators["duplicates"], report.indicators["cc_err"]) == (1, 0)


def test_what_is_no_transport_stream_is_a_loss_of_sync() -> None:
    report = received([b"nothing of the kind", b"\x47" * 100])
    assert report.indicators["sync_loss"] == 2


# -- what others say


def vector(name: str) -> bytes:
    if not VECTORS.exists():
        pytest.skip(f"the captures are not there: {VECTORS}")
    return (VECTORS / name).read_bytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_tsduck_s_verdict_on_its_crafted_captures(engine: Engine) -> None:
    assert [error[:3:2] for error in analysed(vector("test-024.ts"), engine).errors] == [
        (10, "missing 3"),
        (20, "missing 7"),
    ]
    assert [error[:3:2] for error in analysed(vector("049-in.ts"), engine).errors] == [
        (7, "missing 15"),
        (16, "missing 15"),
    ]
    report = analysed(vector("test-041.ts"), engine)
    assert [error[0] for error in report.errors] == [9, 11, 20]
    assert (report.pids[0x7B].duplicates, report.pids[0x7B].missing, report.pids[0x64].missing) == (3, 10, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_tsduck_s_verdict_on_a_real_multiplex(engine: Engine) -> None:
    report = analysed(vector("test-026.ts"), engine)
    assert (report.packets, len(report.pids), report.services[0x0101]) == (5_320, 9, "France 2")
    assert sum(pid.scrambled for pid in report.pids.values()) == 0
    assert [pid for pid, one in report.pids.items() if one.pcrs] == [0x78]
    assert report.indicators["ts_bps"] == pytest.approx(7_155_787, rel=1e-3)
