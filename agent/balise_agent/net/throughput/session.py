"""How is one direction of a test run against a target that gave a lease?

Rule 1: what a direction carried is counted where it arrives: down here, up by the target, whose report says so.
Rule 2: whatever happens, streams are reset and the lease is given back, by its connection's end if by nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from balise_agent.contract import failed
from balise_agent.net.throughput import dialogue, tcp_info
from balise_agent.net.throughput.dialogue import Lease, Peer, Report, TroubleError
from balise_agent.net.throughput.limits import Evidence
from balise_agent.net.throughput.machine import Link, Moment, link_of, machine_share, moment, process_share
from balise_agent.net.throughput.shape import FILL_CC, FILL_S, MOST_BYTES, SAMPLE_S, Shape
from balise_agent.net.throughput.streams import DRAIN_S, Each, Payload, Receiver, Sender, nothing
from balise_agent.net.throughput.window import Reading, Summary, count, idle_share, on_the_link, shut_share, summarise

UPLOAD_MORE_S = 0.5  # the target's window begins with the first byte there, and ends before the last
_IP_TCP_BYTES = {4: 66, 6: 86}  # headers of a segment with timestamps, Ethernet's too

Say = Callable[[str, float, int], None]
"""Told of each sample: direction, seconds since its start, bytes so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One direction, measured. ``loaded_from_s``: when its streams began, on this probe's clock."""

    summary: Summary
    cc: str
    counter: str
    gap_ratio: float
    retrans_ratio: float | None
    min_rtt_us: int | None
    srtt_us: int | None
    iface_bytes: int | None
    evidence: Evidence
    loaded_from_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A lease in use."""

    peer: Peer
    lease: Lease
    streams: int
    link: Link | None
    say: Say

    @property
    def af(self) -> int:
        """4 or 6."""
        return 6 if len(self.peer.address) == 4 else 4


@contextmanager
def leased(
    peer: Peer, shape: str, token: str, contract: tuple[float | None, float | None], streams: int, say: Say
) -> Iterator[Session]:
    """The line's turn, given back at the end. `TroubleError`: it was not given."""
    wanted = {"shape": shape, "token": token, "down_bps": contract[0], "up_bps": contract[1]}
    query = {name: value for name, value in wanted.items() if value}
    lease, held = dialogue.hold(peer, query)
    with held:
        try:
            yield Session(peer=peer, lease=lease, streams=streams, link=link_of(held.getsockname()[0]), say=say)
        finally:
            with contextlib.suppress(TroubleError):  # it ends by itself
                dialogue.ask(peer, "POST", "/release", {"lease": lease.id})


def download(session: Session, shape: Shape, cc: str, each: Each = nothing, *, fill: bool = False) -> Flow:
    """From the target to here, which sends by ``cc`` if it can. ``fill``: the queue is filled first, by `FILL_CC`."""
    with contextlib.closing(Receiver()) as receiver:
        moments = _drained(session, shape, receiver, {"cc": cc, "fill": int(fill)}, each)
    counted = count(receiver.readings)
    summary = summarise(counted.samples, shape.discard_s, shape.duration_s)
    if summary is None:  # a target that is gone has no report either
        raise TroubleError(failed("closed_early" if receiver.open == 0 else "stalled"))
    report = _report(session, "down")
    own = sum(on_the_link(info, _IP_TCP_BYTES[session.af]) for info in receiver.readings[-1].streams)
    flow = _flow(session, summary, report.sent, moments, own)
    evidence = replace(
        flow.evidence,
        window_shut=shut_share(report.sent, shape.discard_s),
        server_late=idle_share(report.sent, shape.discard_s),
        server_share=report.server_share,
    )
    return replace(
        flow,
        cc=report.cc,
        counter=counted.counter,
        gap_ratio=counted.gap_ratio,
        evidence=evidence,
        loaded_from_s=receiver.started_s or flow.loaded_from_s,
    )


def _drained(
    session: Session, shape: Shape, receiver: Receiver, query: Mapping[str, object], each: Each
) -> tuple[Moment, Moment]:
    """When the streams began to be emptied, and when they were over."""
    asked = dialogue.request("GET", "/garbage", session.peer, {"bytes": MOST_BYTES, "lease": session.lease.id, **query})
    with ExitStack() as closing:
        socks = [closing.enter_context(dialogue.connect(session.peer)) for _ in range(session.streams)]
        for sock in socks:
            sock.sendall(asked)
        for sock in socks:
            dialogue.read_head(sock)
            receiver.add(sock)
        before = moment(session.link)

        def over(now_s: float) -> bool:
            since_s = receiver.started_s
            late = since_s is None and now_s - before.at_s > dialogue.ANSWER_S
            return receiver.open == 0 or late or (since_s is not None and now_s - since_s >= shape.lasts_s)

        receiver.run(over, _told(session, "down", receiver.readings, each))
        return before, moment(session.link)


def upload(session: Session, shape: Shape, cc: str, each: Each = nothing, *, fill: bool = False) -> Flow:
    """From here to the target; ``cc`` and ``fill`` as for `download`, if this user may."""
    with contextlib.closing(Payload()) as payload:
        sender = Sender(payload)
        used, before, after = _filled(session, shape, sender, cc, each, fill=fill)
    report = _report(session, "up")
    summary = summarise(report.samples, shape.discard_s, shape.duration_s)
    if summary is None:
        raise TroubleError(failed("stalled"))
    own = sum(round(i.bytes_sent * (1 + _IP_TCP_BYTES[session.af] / 1_400)) for i in sender.readings[-1].streams)
    flow = _flow(session, summary, tuple(sender.readings), (before, after), own, sent_here=True)
    evidence = replace(
        flow.evidence,
        ran_dry=idle_share(sender.readings, shape.discard_s),
        server_late=shut_share(sender.readings, shape.discard_s),
        server_share=report.server_share,
    )
    return replace(flow, cc=used, counter=report.counter, gap_ratio=report.gap_ratio, evidence=evidence)


def _filled(
    session: Session, shape: Shape, sender: Sender, cc: str, each: Each, *, fill: bool
) -> tuple[str, Moment, Moment]:
    """By which control it was sent, when the streams began to be filled, and when they were over."""
    asked = dialogue.request("POST", "/upload", session.peer, {"lease": session.lease.id}, length=MOST_BYTES)
    first = FILL_CC if fill else cc
    with ExitStack() as closing:
        socks = [closing.enter_context(dialogue.connect(session.peer, first)) for _ in range(session.streams)]
        closing.callback(sender.stop)
        before = moment(session.link)
        end_s = before.at_s + shape.lasts_s + UPLOAD_MORE_S
        for sock in socks:
            sock.sendall(asked)
            sender.add(sock, MOST_BYTES, deadline_s=end_s, ended=lambda _: None)
        turning = list(socks) if fill else []

        def over(now_s: float) -> bool:
            if now_s - before.at_s >= FILL_S:
                while turning:
                    tcp_info.ask_congestion(turning.pop(), (cc,))
            return now_s >= end_s or sender.open == 0

        every_s = SAMPLE_S if each is nothing else DRAIN_S
        sender.run(over, _told(session, "up", sender.readings, each), every_s)
        after, used = moment(session.link), tcp_info.congestion(socks[0])
        if sender.open == 0 and after.at_s < end_s:
            dialogue.read_head(socks[0])  # says why, if it does
            raise TroubleError(failed("closed_early"))
    return used, before, after


def _told(session: Session, direction: str, readings: list[Reading], each: Each) -> Each:
    """``each``, and the listener told of each new sample."""
    seen = 0

    def turn() -> None:
        nonlocal seen
        each()
        if len(readings) > seen:
            seen = len(readings)
            last = readings[-1]
            moved = sum(max(i.bytes_received, i.bytes_acked) for i in last.streams)
            session.say(direction, last.at_s - readings[0].at_s, moved)

    return turn


def _moved(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _report(session: Session, direction: str) -> Report:
    told = dialogue.ask(session.peer, "GET", "/report", {"lease": session.lease.id, "direction": direction})
    return dialogue.decode_report(told)


def _flow(
    session: Session,
    summary: Summary,
    sent: tuple[Reading, ...],
    moments: tuple[Moment, Moment],
    own: int,
    *,
    sent_here: bool = False,
) -> Flow:
    before, after = moments
    iface = _moved(before.tx, after.tx) if sent_here else _moved(before.rx, after.rx)
    known = session.link is not None and not session.link.forwards
    last = sent[-1].streams if sent else ()
    out = sum(i.bytes_sent for i in last)
    rtts = sorted(i.rtt_us for i in last if i.rtt_us)
    least = [i.min_rtt_us for i in last if i.min_rtt_us]
    loss = sum(i.bytes_retrans for i in last) / out if out else None
    evidence = Evidence(
        bps=summary.bps,
        wifi=None if session.link is None else session.link.wifi,
        link_bps=None if session.link is None else session.link.bps,
        process_cpu=process_share(before, after),
        machine_cpu=machine_share(before, after),
        foreign_bps=None if iface is None else max(0, iface - own) * 8 / (after.at_s - before.at_s),
        loss_ratio=loss,
    )
    return Flow(
        summary=summary,
        cc="unknown",
        counter="segments",
        gap_ratio=0.0,
        retrans_ratio=loss,
        min_rtt_us=min(least, default=None),
        srtt_us=rtts[len(rtts) // 2] if rtts else None,
        iface_bytes=iface if known else None,
        evidence=evidence,
        loaded_from_s=before.at_s,
    )
