"""What do the packets of a call say: lost, late, in bursts, how long both ways, and how would it sound?

RFC 3550 (loss, jitter), RFC 3611 (discard), G.107. Pure.

Rule 1: an echo's loss is of both ways. One way is said only where that way's receiver counted: we ourselves against
what the far end says that it sent, or its own sequence numbers; the far end by its report.
Rule 2: what cannot be known is absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from balise_agent.net import emodel, rtcp, rtp
from balise_agent.net.talk import RATE_HZ, Heard, Talk

BUFFER_MS = emodel.G711_PLC.buffer_ms
INVALID_LATE_MS = 10.0
"""Our own pacing: above this the probe made the jitter that it would report."""

Figures = dict[str, int | float | bool | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One received voice: ``expected`` packets from the first to the last that can be known, and those that came."""

    expected: int
    received: int
    runs: tuple[int, ...]  # lengths of the losses
    jitter_ms: float
    discarded: int

    @property
    def loss_pct(self) -> float:
        """Never below 0."""
        return 100.0 * (self.expected - self.received) / self.expected if self.expected else 0.0

    @property
    def heard_loss_pct(self) -> float:
        """What a listener misses: lost, or too late for the buffer."""
        missing = self.expected - self.received + self.discarded
        return 100.0 * missing / self.expected if self.expected else 0.0

    @property
    def burst_r(self) -> float:
        """Mean run x (1 - p), at least 1 (G.107 § 7.3)."""
        if not self.runs or not self.expected:
            return 1.0
        share = sum(self.runs) / self.expected
        return max(1.0, sum(self.runs) / len(self.runs) * (1 - share))


def figures(talk: Talk, far: Mapping[str, int], *, reflector: bool) -> Figures:
    """The voice fields of a call. ``far``: what the far end says that it sent (PS) and received (PR).

    ``reflector``: ours, which repeats the time of each of our packets in one of its own.
    """
    sent = sum(at_ns is not None for at_ns in talk.sent_ns)
    found: Figures = {"sent": sent, "talk_s": round(len(talk.sent_ns) * 0.02, 2)}
    found["sender_late_ms"] = round(talk.late_ns / 1e6, 3)
    found["valid"] = talk.late_ns / 1e6 <= INVALID_LATE_MS
    echo = [packet for packet in talk.heard if packet.ssrc == talk.line.ssrc]
    other = _main(packet for packet in talk.heard if packet.ssrc != talk.line.ssrc)
    if echo:
        found |= _echoed(talk, echo)
    else:
        found |= _two_ways(talk, other, far, reflector=reflector)
    found["one_way_audio"] = found["received"] == 0 or found.get("far_received") == 0
    return found


def streamed(packets: Sequence[Heard], first: int | None = None, expected: int | None = None) -> Stream:
    """Of one source, in order of arrival. ``first`` and ``expected``: what the sender says; else from what came."""
    came = _extended(packets)
    numbers = sorted({number for number, _ in came})
    base = numbers[0] if first is None else first
    inside = [number - base for number in numbers if number >= base]
    count = max(expected or 0, inside[-1] + 1)
    unique = _once(came)
    return Stream(
        expected=count,
        received=len(inside),
        runs=tuple(_runs(inside, count)),
        jitter_ms=_jitter_ms(unique),
        discarded=_discarded(unique),
    )


def _echoed(talk: Talk, packets: Sequence[Heard]) -> Figures:
    """The same packets as ours, back again."""
    stream = streamed(packets, talk.line.first_sequence, len(talk.sent_ns))
    unsent = sum(at_ns is None for at_ns in talk.sent_ns)
    lost_pct = 100.0 * max(0, stream.expected - stream.received - unsent) / max(1, stream.expected - unsent)
    trips = _trips_ms(talk, packets)
    found: Figures = {"received": stream.received, "loss_rt_pct": round(lost_pct, 3)}
    found |= _sound(stream) | _time(trips, "echo")
    return found | _rated(stream.heard_loss_pct, stream.burst_r, trips, "rt")


def _two_ways(talk: Talk, packets: Sequence[Heard], far: Mapping[str, int], *, reflector: bool) -> Figures:
    """Another voice than ours."""
    found: Figures = {"received": len({packet.sequence for packet in packets})}
    up_pct, far_received = _up(talk, far)
    if far_received is not None:
        found["far_received"] = far_received
    if up_pct is not None:
        found["loss_up_pct"] = round(up_pct, 3)
    trips = _trips_ms(talk, packets) if reflector else _reported_ms(talk)
    found |= _time(trips, "echo" if reflector else "rtcp")
    if not packets:
        return found
    # A telephone goes on sending until it is hung up: what it says then that it sent was still on its way.
    stream = streamed(packets, far.get("FS"), far.get("PS")) if reflector else streamed(packets)
    found["loss_down_pct"] = round(stream.loss_pct, 3)
    found |= _sound(stream)
    worse_pct = max(stream.heard_loss_pct, up_pct or 0.0)
    return found | _rated(worse_pct, stream.burst_r, trips, "down" if up_pct is None else "worse_way")


def _up(talk: Talk, far: Mapping[str, int]) -> tuple[float | None, int | None]:
    """Loss on the way from the probe, and how many the far end received; by its count, else by its last report."""
    sent = sum(at_ns is not None for at_ns in talk.sent_ns)
    if "PR" in far and sent:
        return 100.0 * max(0, sent - far["PR"]) / sent, far["PR"]
    blocks = [b for report, _ in talk.reports for b in report.blocks if b.ssrc == talk.line.ssrc]
    if not blocks:
        return None, None
    covered = (blocks[-1].highest - talk.line.first_sequence & 0xFFFF) + 1
    lost = max(0, min(blocks[-1].lost, covered))
    return 100.0 * lost / covered, covered - lost


def _reported_ms(talk: Talk) -> list[float]:
    trips = (
        rtcp.round_trip_ms(block, arrived)
        for report, arrived in talk.reports
        for block in report.blocks
        if block.ssrc == talk.line.ssrc
    )
    return [trip for trip in trips if trip is not None]


def _trips_ms(talk: Talk, packets: Iterable[Heard]) -> list[float]:
    """Of each packet of ours, by its time, until it came back first."""
    trips: dict[int, float] = {}
    for packet in packets:
        index, rest = divmod(packet.time - talk.line.first_time & 0xFFFFFFFF, 160)
        sent_ns = talk.sent_ns[index] if rest == 0 and index < len(talk.sent_ns) else None
        if sent_ns is not None and packet.at_ns >= sent_ns:
            trips.setdefault(index, (packet.at_ns - sent_ns) / 1e6)
    return list(trips.values())


def _sound(stream: Stream) -> Figures:
    discard_pct = 100.0 * stream.discarded / stream.received if stream.received else 0.0
    return {
        "jitter_ms": round(stream.jitter_ms, 3),
        "burst_r": round(stream.burst_r, 3),
        "discard_pct": round(discard_pct, 3),
    }


def _time(trips: Sequence[float], by: str) -> Figures:
    return {"rtt_ms": round(median(trips), 3), "rtt_by": by} if trips else {}


def _rated(loss_pct: float, burst_r: float, trips: Sequence[float], loss: str) -> Figures:
    """Without a round trip the delay is unknown, and so is the rating of a conversation."""
    if not trips:
        return {}
    assumed = emodel.G711_PLC
    r = emodel.r_factor(
        loss_pct=loss_pct, burst_r=burst_r, delay_ms=assumed.delay_ms(median(trips) / 2), assumed=assumed
    )
    model = f"g711 plc bpl={assumed.bpl:g} buffer={assumed.buffer_ms:g}ms loss={loss} delay=rtt/2"
    return {"r_factor": round(r, 2), "mos_cqe": round(emodel.mos(r), 3), "model": model}


def _main(packets: Iterable[Heard]) -> list[Heard]:
    """The source that sent most: a stray packet of another call makes no loss."""
    kept = list(packets)
    counts = Counter(packet.ssrc for packet in kept).most_common(1)
    return [packet for packet in kept if packet.ssrc == counts[0][0]] if counts else []


def _extended(packets: Sequence[Heard]) -> list[tuple[int, Heard]]:
    """Sequence numbers without their wrap, near the one before."""
    found, last = [], packets[0].sequence if packets else 0
    for packet in packets:
        last = rtp.extend(packet.sequence, last)
        found.append((last, packet))
    return found


def _once(came: Iterable[tuple[int, Heard]]) -> list[tuple[float, float]]:
    """Arrival and media time in ms of each packet, the first of its copies, in order of arrival."""
    seen: set[int] = set()
    times: list[tuple[float, float]] = []
    first: int | None = None
    for number, packet in came:
        if number in seen:
            continue
        seen.add(number)
        first = packet.time if first is None else first
        since = (packet.time - first + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        times.append((packet.at_ns / 1e6, since * 1_000 / RATE_HZ))
    return times


def _runs(inside: Sequence[int], count: int) -> list[int]:
    """Lengths of the holes in 0 … count - 1."""
    edges = [-1, *inside, count]
    return [later - earlier - 1 for earlier, later in pairwise(edges) if later - earlier > 1]


def _jitter_ms(times: Iterable[tuple[float, float]]) -> float:
    """Interarrival jitter at the end (§ 6.4.1, A.8), over packets as they came."""
    jitter, before = 0.0, None
    for at_ms, media_ms in times:
        transit_ms = at_ms - media_ms
        if before is not None:
            jitter += (abs(transit_ms - before) - jitter) / 16
        before = transit_ms
    return jitter


def _discarded(times: Iterable[tuple[float, float]]) -> int:
    """Those that came later than the buffer waits, counted from the fastest."""
    transits = [at_ms - media_ms for at_ms, media_ms in times]
    best = min(transits, default=0.0)
    return sum(transit - best > BUFFER_MS for transit in transits)
