"""What does a whole test say: rate each way, latency under load, or what a burst of UDP brings?

`throughput` measures rate under BBR, which a lossy line does not slow; `loaded` measures the queue under cubic, which
BBR would keep short and hide; `udp_capacity` tells a slow line from a lossy one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from balise_agent.contract import OK, Outcome, Value, failed
from balise_agent.net.ranks import nearest_rank
from balise_agent.net.throughput import indicative
from balise_agent.net.throughput.capacity import capacity
from balise_agent.net.throughput.dialogue import Peer, TroubleError
from balise_agent.net.throughput.limits import VALIDITY, limited_by, worst
from balise_agent.net.throughput.pings import Pings, open_pings
from balise_agent.net.throughput.session import Flow, Say, Session, download, leased, upload
from balise_agent.net.throughput.shape import LOADED_STREAMS, SHAPES, Shape, streams_for
from balise_agent.net.throughput.streams import DRAIN_S

IDLE_S = 1.0  # 50 echoes before anything is sent
STRAGGLERS_S = 1.0  # the queue's last echoes
RATE_CC = "bbr"
QUEUE_CC = "cubic"

Fields = dict[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is to be measured. ``only``: down, up or both; contracts in bit/s, None: not known.

    ``peer`` None: speedtest-cli's own servers.
    """

    kind: str
    peer: Peer | None
    shape: str = "light"
    only: str = "both"
    streams: int | None = None  # None: as many as the test takes by itself
    token: str = ""
    role: str = "any"  # that the target must have
    contract_down_bps: float | None = None
    contract_up_bps: float | None = None

    @property
    def contract(self) -> tuple[float | None, float | None]:
        """Down and up."""
        return self.contract_down_bps, self.contract_up_bps


def measure(spec: Spec, say: Say, shapes: Mapping[str, Shape] = SHAPES) -> tuple[Outcome, Fields]:
    """Outcome and fields; what was known before a failure is kept."""
    fields: Fields = {} if spec.peer is None else {"af": 6 if len(spec.peer.address) == 4 else 4}
    try:
        _KINDS[spec.kind](spec, say, shapes, fields)
    except TroubleError as trouble:
        return trouble.outcome, fields | trouble.fields
    return OK, fields


def throughput(spec: Spec, say: Say, shapes: Mapping[str, Shape], fields: Fields) -> None:
    """Fills the fields of a `throughput` record."""
    shape = shapes[spec.shape]
    streams = spec.streams or streams_for(*spec.contract)
    fields |= {"shape": spec.shape, "streams": streams}
    fields |= {"duration_ms": round(shape.duration_s * 1_000), "discard_ms": round(shape.discard_s * 1_000)}
    limits = []
    with _leased(spec, spec.shape, say, streams) as session:
        fields["role"] = _role(session, spec.role)
        for direction, contract_bps in zip(("down", "up"), spec.contract, strict=True):
            if spec.only in ("both", direction):
                flow = _flow(session, direction, shape)
                fields |= _figures(direction, flow)
                limits.append(limited_by(replace(flow.evidence, contract_bps=contract_bps)))
                limit = worst(limits)
                fields |= {"limited_by": limit, "validity": VALIDITY[limit]}


def loaded(spec: Spec, say: Say, shapes: Mapping[str, Shape], fields: Fields) -> None:
    """Fills the fields of a `loaded` record."""
    shape = shapes["loaded"]
    with _leased(spec, "loaded", say, spec.streams or LOADED_STREAMS) as session:
        fields["role"] = _role(session, spec.role)
        try:
            pings = open_pings(session.peer, session.lease.udp_port)
        except OSError:
            raise TroubleError(failed("send_failed")) from None
        try:
            fields |= _idle(pings)
            for direction in ("down", "up"):
                if spec.only in ("both", direction):
                    fields |= _under_load(session, direction, shape, pings, int(fields["idle_p50_us"]))
        finally:
            pings.close()


def udp_capacity(spec: Spec, say: Say, shapes: Mapping[str, Shape], fields: Fields) -> None:  # noqa: ARG001 - one shape
    """Fills the fields of a `udp_capacity` record."""
    with _leased(spec, "burst", say) as session:
        fields["role"] = _role(session, spec.role)
        fields |= capacity(session, spec.contract, spec.only)


def speedtest(spec: Spec, say: Say, shapes: Mapping[str, Shape], fields: Fields) -> None:  # noqa: ARG001 - it has its own
    """Fills the fields of a `speedtest` record."""
    module = indicative.installed()
    if spec.peer is None:
        fields |= indicative.reading(module, None, spec.only, say)
        return
    with _leased(spec, "speedtest", say) as session:
        fields["role"] = _role(session, spec.role)
        fields |= indicative.reading(module, session, spec.only, say)


def rpm(ordered_us: list[int]) -> int:
    """Round trips a minute: 60 s over the mean of all but the slowest 5 % (draft-ietf-ippm-responsiveness, § 4.3.1)."""
    kept = ordered_us[: max(1, len(ordered_us) * 95 // 100)]
    return round(60e6 / max(1.0, sum(kept) / len(kept)))


def _leased(spec: Spec, shape: str, say: Say, streams: int = 1) -> AbstractContextManager[Session]:
    if spec.peer is None:
        raise TroubleError(failed("resolve"))
    return leased(spec.peer, shape, spec.token, spec.contract, streams, say)


def _role(session: Session, wanted: str) -> str:
    """The target's; one that has another would put its figure into a series of the other kind."""
    if wanted not in ("any", session.lease.role):
        raise TroubleError(failed("wrong_role"))
    return session.lease.role


def _flow(session: Session, direction: str, shape: Shape) -> Flow:
    return download(session, shape, RATE_CC) if direction == "down" else upload(session, shape, RATE_CC)


def _figures(direction: str, flow: Flow) -> Fields:
    figures: dict[str, Value | None] = {
        "bps": flow.summary.bps,
        "p5_bps": flow.summary.p5_bps,
        "p95_bps": flow.summary.p95_bps,
        "bytes": flow.summary.bytes,
        "cc": flow.cc,
        "retrans_ratio": None if flow.retrans_ratio is None else round(flow.retrans_ratio, 6),
        "min_rtt_us": flow.min_rtt_us,
        "srtt_us": flow.srtt_us,
        "share_min": round(flow.summary.share_min, 4),
        "share_max": round(flow.summary.share_max, 4),
        "counter": flow.counter,
        "counter_gap_ratio": round(flow.gap_ratio, 6),
        "iface_bytes": flow.iface_bytes,
    }
    return {f"{direction}_{name}": value for name, value in figures.items() if value is not None}


def _idle(pings: Pings) -> Fields:
    start_s = time.monotonic()
    _turn_until(pings.turn, start_s + IDLE_S)
    _turn_until(pings.take, start_s + IDLE_S + STRAGGLERS_S / 2)
    answered, _lost = pings.between(start_s, start_s + IDLE_S)
    if not answered:
        raise TroubleError(failed("no_answer"))
    return {"idle_p50_us": nearest_rank(answered, 50), "rpm_method": pings.method}


def _under_load(session: Session, direction: str, shape: Shape, pings: Pings, idle_p50_us: int) -> Fields:
    if direction == "down":
        flow = download(session, shape, QUEUE_CC, pings.turn, fill=True)
    else:
        flow = upload(session, shape, QUEUE_CC, pings.turn, fill=True)
    _turn_until(pings.take, time.monotonic() + STRAGGLERS_S)
    start_s = flow.loaded_from_s + shape.discard_s
    answered, lost = pings.between(start_s, start_s + shape.duration_s)
    if not answered:
        raise TroubleError(failed("no_answer"))
    p50_us = nearest_rank(answered, 50)
    figures: Fields = {"loaded_p50_us": p50_us, "loaded_p95_us": nearest_rank(answered, 95)}
    figures |= {"delta_us": p50_us - idle_p50_us, "rpm": rpm(answered), "lost": lost, "cc": flow.cc}
    return {f"{direction}_{name}": value for name, value in figures.items()}


def _turn_until(turn: Callable[[], None], end_s: float) -> None:
    while time.monotonic() < end_s:
        turn()
        time.sleep(DRAIN_S)


_KINDS: dict[str, Callable[[Spec, Say, Mapping[str, Shape], Fields], None]] = {
    "throughput": throughput,
    "loaded": loaded,
    "udp_capacity": udp_capacity,
    "speedtest": speedtest,
}
