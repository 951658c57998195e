"""What does all that was read of a stream come to?

Rule 1: an indicator whose period is longer than the sample is not judged, never 0 (ETSI TR 101 290 § 5.2).
Rule 2: what the probe's own kernel dropped is never the line's: it leaves losses, and its seconds leave both terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from balise_agent.net.mpegts.datagrams import Order
from balise_agent.net.mpegts.delivery import Delivery
from balise_agent.net.mpegts.packet import NULL_PID, PCR_HZ, SIZE
from balise_agent.net.mpegts.psi import CAT_PID, NIT, NIT_PID, PAT_PID, SDT, SDT_PID, TDT, TDT_PID
from balise_agent.net.mpegts.reading import Clock, Interval
from balise_agent.net.mpegts.report import Figure, Pid, Report
from balise_agent.net.mpegts.stream import Stream

_NS = 1_000_000_000
_A_DATAGRAM = 7  # packets, where nobody says how many
_NEVER = ("pcr_accuracy", "buffer")  # no software on IP can claim ± 500 ns; T-STD needs the decoder's model
_PERIODS_S = {"pat": 0.5, "pmt": 0.5, "sdt": 2.0, "pid": 5.0, "nit": 10.0, "tdt": 30.0}
_DIGITS = 3


def conclude(
    stream: Stream,
    order: Order,
    delivery: Delivery,
    *,
    local_drops: int,
    local_seconds: frozenset[int],
    sync: tuple[int, int],
) -> Report:
    """``sync``: errors and losses of it; ``local_seconds``: those with a drop of the probe's own."""
    reading = stream.reading
    listened_ns = stream.timeline.at(max(0, stream.index - 1))
    figures = {
        **_losses(stream, order, local_drops),
        **_delivery(
            order, delivery, has_delay_factor=_is_constant(main_clock(stream)) and not _is_lossy(stream, order)
        ),
        **_tables(stream, listened_ns),
        **_clocks(main_clock(stream), live=stream.timeline.is_live),
        **_pictures(stream, listened_ns),
        "sync_err": sync[0],
        "sync_loss": sync[1],
        "tei": reading.damaged,
        "psi_crc_err": reading.tables.crc_errors,
        "psi_truncated": reading.truncated,
        "pid_missing": len(reading.missing_pids),
        "local_drop_datagrams": local_drops,
        "valid": local_drops == 0,
    }
    share = error_seconds(reading.bad_seconds, local_seconds, listened_ns)
    if share is not None:
        figures["es_ratio"] = round(share, 4)
    return Report(
        packets=stream.index,
        listened_s=listened_ns / _NS,
        pids=dict(_pids(stream)),
        tables={f"0x{pid:04x}/0x{table:02x}": n for (pid, table), n in sorted(reading.tables.sections.items())},
        services=dict(sorted(reading.tables.services.items())),
        programmes=dict(_programmes(stream)),
        indicators=figures,
        not_judged=tuple(sorted(_not_judged(stream, figures, listened_ns))),
        errors=tuple((one.at, one.pid, one.what) for one in reading.errors),
    )


def main_clock(stream: Stream) -> Clock | None:
    """The PCRs of the PID that has most of them; None: there are none."""
    clocks = stream.reading.clocks
    return max(clocks.values(), key=lambda clock: clock.count, default=None) if clocks else None


def rate(clock: Clock | None) -> float:
    """Packets a tick of 27 MHz, of the intervals without a loss; 0: not known."""
    return clock.rate.packets_a_tick if clock is not None else 0.0


def error_seconds(bad: set[int], local: frozenset[int], listened_ns: float) -> float | None:
    """Bad seconds / seconds listened; None: nothing was listened to that counts."""
    if listened_ns <= 0:
        return None
    seconds = math.ceil(listened_ns / _NS)
    counted = seconds - sum(second < seconds for second in local)
    return sum(second < seconds for second in bad - local) / counted if counted > 0 else None


def _is_constant(clock: Clock | None) -> bool:
    return clock is not None and clock.rate.is_constant


def _is_lossy(stream: Stream, order: Order) -> bool:
    return bool(stream.net_missing or stream.local_missing or order.lost)


def _losses(stream: Stream, order: Order, local_drops: int) -> dict[str, Figure]:
    clock, each = main_clock(stream), _A_DATAGRAM
    if order.received:
        each = max(1, round(stream.index / order.received))
    if order.is_rtp:
        method, lost = "rtp", max(0, order.lost - local_drops)
    elif _is_constant(clock) and clock is not None:
        method, lost = "pcr", max(0, round(clock.rate.missing / each) - local_drops)
    else:
        method, lost = "cc", math.ceil(stream.net_missing / each)
    received = order.received or math.ceil(stream.index / each)
    return {
        "net_lost_datagrams": lost,
        "loss_method": method,
        "loss_ratio": round(lost / (lost + received), 8) if lost + received else 0.0,
        "loss_events": order.events if order.is_rtp else stream.loss_events,
        "loss_run_max": order.longest if order.is_rtp else math.ceil(stream.longest_missing / each),
        "reordered": order.reordered,
        "duplicates": order.duplicates,
        "cc_err": sum(counter.breaks for counter in stream.continuity.of.values()) - stream.local_breaks,
    }


def _delivery(order: Order, delivery: Delivery, *, has_delay_factor: bool) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    if order.is_rtp:
        found["rtp_jitter_ms"] = round(order.jitter_ms, _DIGITS)
    if delivery.first_ns is not None:
        found["iat_max_ms"] = round(delivery.longest_ns / 1e6, _DIGITS)
    if delivery.delay_factor_ms is not None and has_delay_factor:
        found["mdi_df_ms"] = round(delivery.delay_factor_ms, _DIGITS)
    return found


def _tables(stream: Stream, listened_ns: float) -> dict[str, Figure]:
    reading = stream.reading
    found: dict[str, Figure] = {}
    if reading.pat.count:
        found["pat_interval_max_ms"] = _longest(reading.pat, listened_ns)
    if any(one.count for one in reading.pmts.values()):
        found["pmt_interval_max_ms"] = max(_longest(one, listened_ns) for one in reading.pmts.values())
    return found


def _longest(interval: Interval, end_ns: float) -> float:
    """The end of the sample ends an interval too."""
    last_ms = (end_ns - (interval.last_ns or 0.0)) / 1e6
    return round(max(interval.longest_ms or 0.0, last_ms), _DIGITS)


def _clocks(clock: Clock | None, *, live: bool) -> dict[str, Figure]:
    if clock is None or clock.longest_ms is None:
        return {}
    found: dict[str, Figure] = {
        "pcr_interval_max_ms": round(clock.longest_ms, _DIGITS),
        "pcr_gt40": clock.above[0],
        "pcr_gt100": clock.above[1],
        "pcr_disc_err": clock.jumps,
    }
    trend = _trend(clock.points) if live else None
    if trend is not None:
        found["clock_drift_ppm"], found["pcr_arrival_jitter_pp_ms"] = round(trend[0], 1), round(trend[1], _DIGITS)
    return found


def _trend(points: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Slope of arrival less PCR in ppm, and how far it swings about that line, in ms."""
    if len(points) < 3:
        return None
    late = [arrival - time for time, arrival in points]
    middle, mean = sum(time for time, _ in points) / len(points), sum(late) / len(late)
    spread = sum((time - middle) ** 2 for time, _ in points)
    if not spread:
        return None
    slope = sum((time - middle) * (one - mean) for (time, _), one in zip(points, late, strict=True)) / spread
    off = [one - slope * time for (time, _), one in zip(points, late, strict=True)]
    return slope * 1e6, max(off) - min(off)


def _pictures(stream: Stream, listened_ns: float) -> dict[str, Figure]:
    reading, found = stream.reading, dict[str, Figure]()
    video = [pid for pid, codec in reading.av_pids.items() if codec != "audio"]
    a_second = rate(main_clock(stream)) * PCR_HZ or (stream.index / listened_ns * _NS if listened_ns > 0 else 0.0)
    if a_second and stream.index:
        found["ts_bps"] = round(a_second * SIZE * 8)
        of_video = sum(stream.packets[pid] for pid in video)
        found["video_bps"] = round(a_second * of_video / stream.index * SIZE * 8)
    if stream.index:
        found["null_ratio"] = round(stream.packets[NULL_PID] / stream.index, 4)
    if carried := sum(stream.packets[pid] for pid in video):
        found["scrambled_ratio"] = round(sum(stream.scrambled[pid] for pid in video) / carried, 4)
    longest = [one.longest_ms for pid, one in reading.pts.items() if pid in video and one.longest_ms is not None]
    if longest:
        found["pts_interval_max_ms"] = round(max(longest), _DIGITS)
    starts = [one for pid, one in reading.random_access.items() if pid in video and one.count > 1]
    if starts:
        found["gop_ms"] = round(sum(one.sum_ms for one in starts) / sum(one.count - 1 for one in starts), 1)
    return found


def _pids(stream: Stream) -> Iterator[tuple[int, Pid]]:
    reading = stream.reading
    for pid in sorted(stream.packets):
        counter, clock = stream.continuity.of.get(pid), reading.clocks.get(pid)
        starts = reading.random_access.get(pid)
        yield (
            pid,
            Pid(
                packets=stream.packets[pid],
                discontinuities=counter.breaks if counter else 0,
                missing=counter.missing if counter else 0,
                duplicates=counter.duplicates if counter else 0,
                scrambled=stream.scrambled[pid],
                pcrs=clock.count if clock else 0,
                random_access=starts.count if starts else 0,
                kind=_kind(pid, stream),
            ),
        )


def _kind(pid: int, stream: Stream) -> str:
    named = {PAT_PID: "pat", CAT_PID: "cat", NIT_PID: "nit", SDT_PID: "sdt", 0x12: "eit", TDT_PID: "tdt"}
    if pid == NULL_PID:
        return "null"
    if pid in stream.reading.tables.pmt_pids():
        return "pmt"
    return named.get(pid) or stream.reading.av_pids.get(pid, "")


def _programmes(stream: Stream) -> Iterator[tuple[int, tuple[int, ...]]]:
    tables = stream.reading.tables
    for number, pid in sorted(tables.programmes.items()):
        yield number, (pid, *(one.pid for one in tables.streams.get(pid, ())))


def _not_judged(stream: Stream, figures: Mapping[str, Figure], listened_ns: float) -> Iterator[str]:
    yield from _NEVER
    yield from (name for name, period_s in _PERIODS_S.items() if listened_ns < period_s * _NS)
    sections = stream.reading.tables.sections
    for name, key in (("nit", (NIT_PID, NIT)), ("sdt", (SDT_PID, SDT)), ("tdt", (TDT_PID, TDT))):
        if key not in sections and listened_ns >= _PERIODS_S[name] * _NS:
            yield name  # a stream of one programme may have none
    if "pcr_interval_max_ms" not in figures:
        yield "pcr"
    if "pts_interval_max_ms" not in figures:
        yield "pts"
    if "gop_ms" not in figures:
        yield "random_access"
    if "mdi_df_ms" not in figures:
        yield "mdi"
