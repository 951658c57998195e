"""What held a test back, other than the line, and does its figure count?

Pure. Rule 1: what is not known holds nothing back. Rule 2: what is the home's own is named before what is the line's,
so that nothing of the probe's is ever blamed on the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

PROCESS_CPU = 0.70  # of one core
MACHINE_CPU = 0.90  # of all cores
WINDOW_SHUT = 0.10  # of the test: the receiver did not empty its buffer in time
RAN_DRY = 0.10  # of the test: the sender had nothing ready
SERVER_SHARE = 0.70  # of its interface or processors
LOSS = 0.001
LOW = 0.90  # of the contract: a correct line shows 94 to 97 % of it in TCP payload
FAST_ETHERNET_BPS = 94_150_000  # TCP payload on 100 Mbit/s
CROSS_BPS, CROSS_SHARE = 500_000, 0.01  # the gate's own threshold

VALIDITY = {
    "none": "ok",
    "loss": "ok",
    "probe_cpu": "probe_overload",
    "lan": "link_lt_contract",
    "wifi": "probe_on_wifi",
    "cross_traffic": "cross_traffic",
    "server": "server_fault",
}
"""``limited_by`` -> validity code. Loss is the line's fault, and counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen in one direction of a test; None: not known."""

    bps: int
    contract_bps: float | None = None
    wifi: bool | None = None
    link_bps: int | None = None
    process_cpu: float | None = None
    machine_cpu: float | None = None
    window_shut: float | None = None
    ran_dry: float | None = None
    foreign_bps: float | None = None
    server_share: float | None = None
    server_late: float | None = None  # of the test: it had nothing to send, or did not empty its buffers
    loss_ratio: float | None = None


def limited_by(seen: Evidence) -> str:
    """One word of `VALIDITY`."""
    if seen.wifi:
        return "wifi"
    if seen.link_bps == 100_000_000 and (seen.contract_bps or 0) > FAST_ETHERNET_BPS:
        return "lan"
    if _above(seen.process_cpu, PROCESS_CPU) or _above(seen.machine_cpu, MACHINE_CPU):
        return "probe_cpu"
    if _above(seen.window_shut, WINDOW_SHUT) or _above(seen.ran_dry, RAN_DRY):
        return "probe_cpu"
    if _above(seen.foreign_bps, max(CROSS_BPS, CROSS_SHARE * (seen.contract_bps or 0))):
        return "cross_traffic"
    if _above(seen.server_share, SERVER_SHARE) or _above(seen.server_late, RAN_DRY):
        return "server"
    low = seen.contract_bps is not None and seen.bps < LOW * seen.contract_bps
    return "loss" if low and _above(seen.loss_ratio, LOSS) else "none"


def worst(words: list[str]) -> str:
    """Of both directions: the one that is named first."""
    order = ("wifi", "lan", "probe_cpu", "cross_traffic", "server", "loss", "none")
    return min(words, key=order.index, default="none")


def _above(value: float | None, limit: float) -> bool:
    return value is not None and value > limit
