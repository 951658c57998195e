"""What does a row say of its home?

One map, `READERS`: measurement -> what it leaves in the home's log. A reader is called 50,000 times a second.

Rule 1: skipped says nothing; what the probe's own load, cable or radio did is not the line's.
Rule 2: a name that is not resolved is DNS's failure, never the telephone's.
"""

from __future__ import annotations

from collections.abc import Callable

from balise_collector.judge import cells as c
from balise_collector.judge.ladder import Outage
from balise_collector.judge.log import HomeLog, Rate
from balise_collector.judge.marks import Marks
from balise_collector.judge.rows import Row
from balise_collector.judge.settings import Settings

HALF_WINDOW_MS = 30_000  # a window of a minute is of the minute that its middle is in
_AUTH = frozenset({"auth", "user"})
PROBES_OWN = frozenset(
    {"child_failed", "child_killed", "child_not_started", "child_timeout", "interrupted", "join_refused"}
    | {"link_down", "no_socket", "no_route", "send_failed", "resolve"}
)
"""Why a sample of a channel says nothing of it: docs/failures.md."""
_UNPLACED = "unplaced"  # the ladder could not tell: nothing about where

Reader = Callable[[HomeLog, Row, Marks], None]


def _reach(log: HomeLog, row: Row, marks: Marks) -> None:
    target = row.target
    fields = row.fields
    at_ms = row.ts_ms - HALF_WINDOW_MS
    sent, lost = fields.get("sent", 0), fields.get("lost", 0)
    if target == "gw":
        if lost and row.kind == "ok":
            log.cells.see(at_ms, c.ALIVE | c.GW_LOSSY)
        return
    is_op = target[:2] == "op"
    if row.kind == "failed" or (sent and lost == sent):
        log.cells.see(at_ms, c.ALIVE | (c.OP_LOST if is_op else c.OUT_LOST))
        return
    bits = c.ALIVE | (c.OP_OK if is_op else c.OUT_OK)
    if lost and lost >= marks.settings.lossy_window * sent:  # type: ignore[operator]
        bits |= c.LOSSY
    if is_op and fields.get("p50_us", 0) > marks.settings.slow_rtt_us:  # type: ignore[operator]
        bits |= c.SLOW_RTT
    if log.cells.see(at_ms, bits) and bits & (c.LOSSY | c.SLOW_RTT):
        marks.quality(log, at_ms)
        marks.explained(log, at_ms)


def _alive(log: HomeLog, row: Row, marks: Marks) -> None:
    state = row.fields.get("state")
    bits = c.ALIVE
    if state == "up":
        bits |= c.LINE_UP
    elif state == "down":
        place = str(row.fields.get("class", _UNPLACED))
        bits |= c.LINE_UP if place == "operator.server" else c.LINE_DOWN
        if place != _UNPLACED and log.breaks(row.ts_ms, place):
            marks.told.add(log.id)
    if log.cells.see(row.ts_ms - HALF_WINDOW_MS, bits) and bits & c.LINE_DOWN:
        marks.explained(log, row.ts_ms - HALF_WINDOW_MS)


def _outage(log: HomeLog, row: Row, marks: Marks) -> None:
    fields = row.fields
    start, end, dur = fields.get("start_ms"), fields.get("end_ms"), fields.get("dur_s")
    ended = fields.get("state") == "ended"
    if ended and end is None and dur is not None:
        end = row.ts_ms
    if start is None:
        start = row.ts_ms - int(float(dur) * 1_000) if dur is not None else None
    if start is None:
        return
    place = str(fields.get("class", "unplaced"))
    unknown = fields.get("unknown_s", dur if fields.get("restarts") else 0.0)
    until = int(end) if ended and end is not None else None
    told = Outage(int(start), until, place, row.ts_ms, float(unknown or 0.0))
    if log.outage(str(fields.get("id", start)), told):
        marks.told.add(log.id)


def _presence(log: HomeLog, row: Row, marks: Marks) -> None:
    online = bool(row.fields.get("online"))
    if log.session(row.ts_ms, online):
        marks.session(log, row.ts_ms, online)


def _host(log: HomeLog, row: Row, marks: Marks) -> None:
    uptime = row.fields.get("uptime_s")
    wrong = row.fields.get("clock_ok") is False
    log.cells.see(row.ts_ms, c.ALIVE | c.CLOCK_BAD if wrong else c.ALIVE)
    log.impaired |= wrong
    if uptime is None:
        return
    started_ms = row.ts_ms - int(uptime) * 1_000
    if wrong:
        log.misdated(row.ts_ms, started_ms)
    elif log.boot(started_ms):
        marks.boot(log, started_ms)


def _dns(log: HomeLog, row: Row, _marks: Marks) -> None:
    log.cells.see(row.ts_ms, c.ALIVE | (c.DNS_OK if row.kind == "ok" else c.DNS_BAD))


def _link(log: HomeLog, row: Row, _marks: Marks) -> None:
    speed = row.fields.get("speed_bps")
    if speed:
        low = log.site.down_bps > 0 and speed < log.site.down_bps * 1.05  # type: ignore[operator]
        log.cells.see(row.ts_ms, c.LINK_BAD if low else c.LINK_OK)
        log.impaired |= low


def _wifi(log: HomeLog, row: Row, marks: Marks) -> None:
    rssi = row.fields.get("rssi_dbm")
    marks.radio(log)
    if rssi is not None:
        weak = rssi < marks.settings.weak_dbm or _gives_up(row, marks.settings)  # type: ignore[operator]
        log.cells.see(row.ts_ms, c.RADIO_BAD if weak else c.RADIO_OK)
        if weak:
            log.impaired = True
            marks.explained(log, row.ts_ms)


def _gives_up(row: Row, settings: Settings) -> bool:
    """The radio could not send so many frames, however often it tried: strong or not, it loses."""
    sent, failed = row.fields.get("tx_packets", 0), row.fields.get("tx_failed", 0)
    return sent >= settings.radio_frames and failed >= settings.radio_failed * sent  # type: ignore[operator]


def is_bad_channel(row: Row, tv_es_ratio: float) -> bool | None:
    """Whether a sample says that its channel is; None: it says nothing of it, for what happened is the probe's own."""
    if row.fields.get("valid") is False or row.reason in PROBES_OWN:
        return None
    return row.kind == "failed" or float(row.fields.get("es_ratio", 0.0)) >= tv_es_ratio


def _tv(log: HomeLog, row: Row, marks: Marks) -> None:
    fields, bad = row.fields, is_bad_channel(row, marks.settings.tv_es_ratio)
    if bad is None:
        return
    if bad and row.measurement == "tv_window" and fields.get("access") == "wifi":
        return  # its radio loses packets; that nothing comes at all, a radio does not do
    log.cells.see(row.ts_ms, c.ALIVE | (c.TV_BAD if bad else c.TV_OK))
    if bad:
        log.bad_channel(row.ts_ms, row.target)
    else:
        log.last_tv = max(log.last_tv, row.ts_ms // c.MINUTE_MS)
    marks.sample(log, row.ts_ms, row.target, bad)


def _zap(log: HomeLog, row: Row, marks: Marks) -> None:
    """A join that fails is a bad sample; one that works is judged by what was then listened to."""
    if row.kind == "failed":
        _tv(log, row, marks)


def _signal(log: HomeLog, row: Row, marks: Marks) -> None:
    fields = row.fields
    if fields.get("fail_class") == "local" or row.reason == "resolve":
        return
    ok = row.kind == "ok"
    if row.target.endswith(".register"):
        refused = fields.get("register_code") is not None
        bits = (c.TEL_OK | c.SIP_OK) if ok else (c.TEL_BAD if refused else c.SIP_BAD)
    else:
        bits = c.SIP_OK if ok else c.SIP_BAD
    if bits & c.TEL_OK:
        log.last_telephone = max(log.last_telephone, row.ts_ms // c.MINUTE_MS)
    if log.cells.see(row.ts_ms, c.ALIVE | bits):
        marks.telephone(log, row.ts_ms, bits)


def _call(log: HomeLog, row: Row, marks: Marks) -> None:
    fields = row.fields
    if fields.get("fail_class") == "local" or fields.get("valid") is False or row.reason == "resolve":
        return
    if row.kind == "ok" and fields.get("setup_ok") is not False:
        bits = c.SIP_OK | c.TEL_OK | (c.CALL_BAD if fields.get("one_way_audio") else c.CALL_OK)
    elif fields.get("setup_ok"):  # the call stood, and no voice came
        bits = c.SIP_OK | c.TEL_OK | c.CALL_BAD
    elif fields.get("fail_class") in _AUTH:
        bits = c.SIP_OK | c.TEL_BAD
    else:
        bits = c.SIP_BAD
    if bits & c.TEL_OK:
        log.last_telephone = max(log.last_telephone, row.ts_ms // c.MINUTE_MS)
    if log.cells.see(row.ts_ms, c.ALIVE | bits):
        marks.telephone(log, row.ts_ms, bits)


def _throughput(log: HomeLog, row: Row, marks: Marks) -> None:
    fields, site = row.fields, log.site
    if row.kind != "ok" or fields.get("validity", "ok") != "ok" or not site.down_bps:
        return
    shares = [
        float(bps) / contract
        for bps, contract in ((fields.get("down_bps"), site.down_bps), (fields.get("up_bps"), site.up_bps))
        if bps is not None and contract
    ]
    if shares and log.rate(Rate(row.ts_ms, round(min(shares), 4), -1, fields.get("gate") == "idle")):
        marks.rate(log, row.ts_ms)


def _loaded(log: HomeLog, row: Row, marks: Marks) -> None:
    idle = row.fields.get("idle_p50_us")
    worst = [row.fields.get(f"{way}_loaded_p95_us") for way in ("down", "up")]
    found = [float(us) for us in worst if us is not None]
    if row.kind == "ok" and idle is not None and found:
        bloat = int(max(found) - float(idle))
        if log.rate(Rate(row.ts_ms, -1.0, bloat)):
            marks.rate(log, row.ts_ms)


READERS: dict[str, Reader] = {
    "reach": _reach,
    "alive": _alive,
    "outage": _outage,
    "presence": _presence,
    "host": _host,
    "dns": _dns,
    "link": _link,
    "wifi": _wifi,
    "tv_window": _tv,
    "tv_zap": _zap,
    "voip_signal": _signal,
    "voip_call": _call,
    "throughput": _throughput,
    "loaded": _loaded,
}
"""By measurement; others say nothing of whether a service works."""
