"""What do the echoes of one window say of a target: how fast, how many lost, which way?

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from balise_agent.contract import OK, Outcome, Value, failed
from balise_agent.net import stamp
from balise_agent.net.datagram import Sent
from balise_agent.net.ranks import nearest_rank
from balise_agent.probes.line_watch import Watch

ECHO_TIMEOUT_S = 2.0
"""An answer later than this is lost: the catalogue's definition; RFC 2681 § 2.5 wants it fixed beforehand."""


@dataclass(slots=True, kw_only=True)
class Echo:
    """One echo of a window, as far as it is known."""

    sequence: int
    sent: Sent | None = None  # None: the probe itself could not send it
    departed_ns: int | None = None  # None: the driver gave no stamp
    rtt_ns: int | None = None  # None: no answer in time
    stamped: bool = False
    refused: str | None = None  # reason, where a router or this probe refused it
    asked_ns: int = 0  # STAMP: the time in the packet, which its answer repeats
    held_ns: int = 0  # STAMP: how long the reflector had it, by its own clock; no part of the way
    reflected: int | None = None  # the STAMP reflector's own sequence number
    watch: Watch | None = None  # tells the ladder what becomes of it
    loaded: bool = False  # a test of this probe's own filled the line: its time says nothing of the line

    @property
    def open(self) -> bool:
        """Nothing is known of it yet."""
        return self.rtt_ns is None and self.refused is None


def summarise(
    echoes: Iterable[Echo], *, method: str, af: int, window_s: float, timeout_s: float = ECHO_TIMEOUT_S
) -> tuple[Outcome, dict[str, Value]]:
    """Outcome and fields of one target's window."""
    echoes = list(echoes)
    limit_ns = int(timeout_s * 1e9)
    answered = [e for e in echoes if e.rtt_ns is not None and e.rtt_ns <= limit_ns]
    lost = len(echoes) - len(answered)
    fields: dict[str, Value] = {"method": method, "af": af, "window_s": round(window_s, 3), "sent": len(echoes)}
    fields |= {"lost": lost, "burst_max": _longest_run(echoes, limit_ns)}
    if method == "stamp":
        fields |= _directions(answered)
    if not answered:
        return failed(_why_none(echoes)), fields
    return OK, fields | _times(answered)


def _times(answered: list[Echo]) -> dict[str, Value]:
    in_order = [round(e.rtt_ns / 1_000) for e in answered if e.rtt_ns is not None]
    ordered = sorted(in_order)
    fields: dict[str, Value] = {"min_us": ordered[0]}
    fields |= {f"p{percent}_us": nearest_rank(ordered, percent) for percent in (50, 95, 99)}
    if len(in_order) > 1:
        steps = [abs(b - a) for a, b in pairwise(in_order)]
        fields["jitter_us"] = round(sum(steps) / len(steps))
    return fields | {"kernel_stamped": sum(e.stamped for e in answered)}


def _directions(answered: list[Echo]) -> dict[str, Value]:
    one_way = stamp.one_way_loss((e.sequence, e.reflected) for e in answered if e.reflected is not None)
    return {} if one_way is None else {"fwd_lost": one_way.forward, "rev_lost": one_way.reverse}


def _longest_run(echoes: list[Echo], limit_ns: int) -> int:
    longest = run_length = 0
    for echo in echoes:
        run_length = 0 if echo.rtt_ns is not None and echo.rtt_ns <= limit_ns else run_length + 1
        longest = max(longest, run_length)
    return longest


def _why_none(echoes: list[Echo]) -> str:
    """What a router said most often, else silence. Linux sends one ICMP error a second: not each echo has its own."""
    told = [e.refused for e in echoes if e.refused is not None]
    return max(told, key=told.count) if told else "no_answer"
