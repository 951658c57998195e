"""What does a sample of one channel come to: how long did its start take, and what came in the seconds after?

Joined, listened to, left, and looked at whether it really ends.

Rule 1: times of a zap start at the first packet. Those of the join are handed back apart (`Sample.join`), for they
tell whether somebody in the home watches that channel: they are published once a day, over all channels together.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from balise_agent.contract import OK, Outcome, Value, failed
from balise_agent.net import link
from balise_agent.net.mpegts.analyser import Analyser
from balise_agent.net.mpegts.report import Report
from balise_agent.net.tv import machine
from balise_agent.net.tv.address import Address
from balise_agent.net.tv.joining import Joined
from balise_agent.net.tv.leaving import Watch
from balise_agent.net.tv.receiving import Came, Receiver, listen, slots
from balise_agent.net.tv.times import FIRST_S, START_S

_STEPS: tuple[tuple[str, Literal["pat", "pmt", "pcr", "pes", "rap"]], ...] = (
    ("zap_pat_ms", "pat"),
    ("zap_pmt_ms", "pmt"),
    ("zap_pcr_ms", "pcr"),
    ("zap_pes_ms", "pes"),
    ("zap_rap_ms", "rap"),
)
_OF_ZAP = ("gop_ms",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """``network_ms``: from just before the join to the first packet; None: none came. ``leave_ms``: from leaving to
    the last packet on the wire; None: it was not seen, or nothing was joined."""

    network_ms: float | None = None
    leave_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``zap`` and ``window``: fields of `tv_zap` and `tv_window`. ``join`` None: nothing was joined (unicast)."""

    outcome: Outcome
    zap: dict[str, Value] = field(default_factory=dict)
    window: dict[str, Value] = field(default_factory=dict)
    join: Join | None = None


def sample(
    address: Address,
    listen_s: float,
    interface: str = "",
    *,
    now_s: Callable[[], float] = time.monotonic,
) -> Sample:
    """Of ``listen_s`` seconds."""
    try:
        joined = Joined(address, interface)
    except OSError:
        return Sample(outcome=failed("no_socket"))
    try:
        return _listened(joined, listen_s, interface, now_s)
    finally:
        joined.close()


class _Listening:
    """What came so far. One engine for one channel: NumPy takes longer to load than the loop for 10 s of it."""

    def __init__(self) -> None:
        self.analyser = Analyser("plain")
        self.first_ns: int | None = None

    def take(self, came: Came) -> None:
        if self.first_ns is None:
            self.first_ns = came.arrivals_ns[0]
        self.analyser.feed_run(came.data, came.arrivals_ns, came.dropped)


def _listened(joined: Joined, listen_s: float, interface: str, now_s: Callable[[], float]) -> Sample:
    receiver, listening, before = Receiver(joined, slots()), _Listening(), machine.look()
    carriers = link.carrier_changes(interface)
    watch = Watch(joined.address, interface) if joined.address.is_multicast else None
    asked_ns, begun_s = time.time_ns(), now_s()
    try:
        joined.join()
    except OSError:
        return Sample(outcome=failed("join_refused"))
    is_lost = _Seldom(lambda: _is_cut(interface, carriers), now_s)
    try:
        listen(receiver, listening.take, _end(listening, begun_s, listen_s, now_s, is_lost))
        listening.analyser.drop(receiver.unseen_drops())
        left_ns = time.time_ns()
        with contextlib.suppress(OSError):  # its interface went away
            joined.leave()
        after = machine.look()
        leave_ms = watch.left_ms(left_ns) if watch is not None else None
    finally:
        if watch is not None:
            watch.close()
    if _is_cut(interface, carriers):
        return Sample(outcome=failed("link_down"))  # of the channel nothing can be said, nor of its join
    network_ms = None if listening.first_ns is None else max(0.0, (listening.first_ns - asked_ns) / 1e6)
    join = None if watch is None else Join(network_ms=network_ms, leave_ms=leave_ms if network_ms is not None else None)
    if listening.first_ns is None:
        return Sample(outcome=failed("no_signal"), join=join)
    listening.analyser.finish()
    return _told(listening.analyser, is_sound=machine.is_sound(before, after), join=join)


class _Seldom:
    """A question that is asked once a `EACH_S`, and whose yes stays."""

    EACH_S = 0.5

    def __init__(self, question: Callable[[], bool], now_s: Callable[[], float]) -> None:
        self._question, self._now_s = question, now_s
        self._next_s, self._said = now_s(), False

    def __call__(self) -> bool:
        now = self._now_s()
        if not self._said and now >= self._next_s:
            self._next_s, self._said = now + self.EACH_S, self._question()
        return self._said


def _is_cut(interface: str, before: Mapping[str, int]) -> bool:
    """The cable was out, if only for a moment; or its interface is no longer there."""
    now = link.carrier_changes(interface)
    return link.was_cut(before, now) or (bool(interface) and not link.has_carrier(interface))


def _end(
    listening: _Listening,
    begun_s: float,
    listen_s: float,
    now_s: Callable[[], float],
    is_lost: Callable[[], bool],
) -> Callable[[], bool]:
    """Over when there is nothing, or when it was listened to for long enough and began, or had its time to."""
    first_s: list[float] = []

    def is_over() -> bool:
        now = now_s()
        if listening.first_ns is None:
            return now - begun_s >= FIRST_S or is_lost()
        if not first_s:
            first_s.append(now)
        passed_s = now - first_s[0]
        if is_lost() or passed_s >= max(listen_s, START_S):
            return True
        return passed_s >= listen_s and listening.analyser.first_ns("rap") is not None

    return is_over


def _told(analyser: Analyser, *, is_sound: bool, join: Join | None) -> Sample:
    report = analyser.report()
    if not report.packets:
        return Sample(outcome=failed("no_stream"), join=join)
    return Sample(outcome=OK, zap=zap(analyser, report), window=window(report, is_sound=is_sound), join=join)


def zap(analyser: Analyser, report: Report) -> dict[str, Value]:
    """Fields of `tv_zap`. A scrambled picture cannot be judged: then neither ``ok`` nor its time is there."""
    found: dict[str, Value] = {
        name: round(at_ns / 1e6, 3) for name, what in _STEPS if (at_ns := analyser.first_ns(what)) is not None
    }
    rap_ms = found.get("zap_rap_ms")
    if rap_ms is not None:
        found["ok"] = float(rap_ms) <= START_S * 1_000
    elif not report.indicators.get("scrambled_ratio"):
        found["ok"] = False
    return found | {name: report.indicators[name] for name in _OF_ZAP if name in report.indicators}


def window(report: Report, *, is_sound: bool) -> dict[str, Value]:
    """Fields of `tv_window`."""
    found: dict[str, Value] = {name: value for name, value in report.indicators.items() if name not in _OF_ZAP}
    found |= {"listened_s": round(report.listened_s, 3), "not_judged": ",".join(report.not_judged)}
    found["valid"] = bool(found.get("valid", True)) and is_sound
    if not found["valid"]:  # what the probe itself disturbed says nothing of the line
        for name in ("cc_err", "mdi_df_ms", "rtp_jitter_ms", "pcr_arrival_jitter_pp_ms", "iat_max_ms"):
            found.pop(name, None)
    return found
