"""When, and by which own account, was a home cut off? One `Item` a cut: what the broker missed and what the probe told
of it afterwards are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from balise_collector.judge import cells as c
from balise_collector.judge.ladder import CUT_CLASSES, Stretch, rung
from balise_collector.judge.log import HomeLog, Silence
from balise_collector.judge.settings import Settings

Account = Literal["line", "box", "core", "power", "delivery", "quiet", ""]
"""What the home's own records say of it: quiet: the probe went on and saw nothing; "": nothing is known (yet)."""

BOOT_SLACK_MS = 300_000
SHORT_OUTAGE_MS = 30_000
MARK_TO_CUT_MS = 90_000  # a mark is kept in the minute half a minute before it; in the minute after it the cut came


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """``exact``: the probe itself dated it, to a second, or between two minutes where another fault hid it.
    ``known_ms``: when the collector could know of it, by dates of the evidence; ``lost_ms`` None: its session was not
    lost. ``hidden``: it may have gone on after its end."""

    start_ms: int
    home: str
    end_ms: int | None
    known_ms: int
    exact: bool
    lost_ms: int | None
    account: Account
    hidden: bool = False


def of_silence(log: HomeLog, silence: Silence, now_ms: int, settings: Settings) -> Item | None:
    """A lost session; None: it was back so soon that it only restarted."""
    back_ms = silence.back_ms
    outage = _matching(log, silence)
    if outage is None and back_ms is not None and back_ms - silence.lost_ms < settings.short_s * 1_000:
        return None
    if outage is None:
        started_ms = _dark_until(log, silence, now_ms)
        account: Account = "power" if started_ms is not None else _account(log, silence, now_ms)
        start_ms = silence.lost_ms - settings.lost_after_s * 1_000
        return Item(
            start_ms=start_ms,
            home=log.id,
            end_ms=back_ms if started_ms is None else started_ms,
            known_ms=silence.lost_ms,
            exact=False,
            lost_ms=silence.lost_ms,
            account=account,
        )
    return Item(
        start_ms=outage.start_ms,
        home=log.id,
        end_ms=outage.end_ms if outage.end_ms is not None else back_ms,
        known_ms=silence.lost_ms,
        exact=True,
        lost_ms=silence.lost_ms,
        account=account_of(outage.place),
        hidden=outage.hidden,
    )


def of_outage(log: HomeLog, outage: Stretch) -> Item | None:
    """A cut that no lost session goes with; None: there is one, or it was no cut of 30 s."""
    end_ms = outage.end_ms
    if outage.place not in CUT_CLASSES or (end_ms is not None and end_ms - outage.start_ms < SHORT_OUTAGE_MS):
        return None
    if any(_matching(log, silence) == outage for silence in _near(log, outage)):
        return None
    return Item(
        start_ms=outage.start_ms,
        home=log.id,
        end_ms=end_ms,
        known_ms=outage.told_ms,
        exact=True,
        lost_ms=None,
        account=account_of(outage.place),
        hidden=outage.hidden,
    )


def of_start(log: HomeLog, started_ms: int, settings: Settings) -> Item | None:
    """Its machine started anew, and no loss of its session tells since when it was dark: nobody heard of one, or its
    messages were held up, or its line was cut, before. It had no power between its last mark and this start. None: it
    was no such start, or so soon that it only restarted."""
    silence = log.silence_at(started_ms)
    before = started_ms // c.MINUTE_MS - 1
    within = c.DAY_MIN if silence is None else before - silence.lost_ms // c.MINUTE_MS
    last = log.cells.last(c.LINE_UP | c.LINE_DOWN, before, within)
    start_ms = last * c.MINUTE_MS + MARK_TO_CUT_MS
    if last < 0 or started_ms - start_ms < settings.short_s * 1_000:
        return None
    return Item(
        start_ms=start_ms,
        home=log.id,
        end_ms=started_ms,
        known_ms=started_ms if silence is None else max(started_ms, silence.back_ms or 0),
        exact=True,
        lost_ms=None,
        account="power",
    )


def account_of(place: str) -> Account:
    """What an outage's class says of the cut."""
    at = rung(place)
    return at if at in ("line", "box") else "core"


def _near(log: HomeLog, outage: Stretch) -> list[Silence]:
    end_ms = outage.end_ms if outage.end_ms is not None else outage.told_ms
    found = log.silences(outage.start_ms - 600_000)
    return [s for s in found if s.lost_ms <= end_ms + 120_000]


def _matching(log: HomeLog, silence: Silence) -> Stretch | None:
    """The first cut that this session was lost by: it began within minutes before the loss, and lasted beyond it."""
    for outage in log.stretches:
        if outage.place not in CUT_CLASSES or outage.start_ms > silence.lost_ms:
            continue
        end_ms = outage.end_ms
        if end_ms is None or end_ms > silence.lost_ms or silence.lost_ms - 150_000 < outage.start_ms:
            return outage
    return None


def _dark_until(log: HomeLog, silence: Silence, now_ms: int) -> int | None:
    """When its machine started, where it measured nothing from the loss on; that its session came back later was
    another fault's. None: it measured, or did not start anew well before its session."""
    until_ms = now_ms if silence.back_ms is None else silence.back_ms
    started_ms = log.first_boot(silence.lost_ms, until_ms - BOOT_SLACK_MS)
    if started_ms is None:
        return None
    first = silence.lost_ms // c.MINUTE_MS + 1
    return started_ms if log.cells.next(c.ALIVE, first, started_ms // c.MINUTE_MS - first) < 0 else None


def _account(log: HomeLog, silence: Silence, now_ms: int) -> Account:
    """Without an outage of its own: what its records of that time, or its machine's start, say."""
    end_ms = silence.back_ms if silence.back_ms is not None else now_ms
    first = (silence.lost_ms - 60_000) // c.MINUTE_MS + 2
    last = end_ms // c.MINUTE_MS - 1
    seen = line_up = 0
    for minute in range(first, min(last + 1, first + 240)):
        bits = log.cells.at(minute)
        seen += bool(bits & c.ALIVE)
        line_up += bool(bits & (c.OUT_OK | c.LINE_UP))
    if line_up * 2 > max(1, last + 1 - first) or line_up >= 20:
        return "delivery"
    if silence.back_ms is None:
        return ""
    if log.booted_within(silence.lost_ms - BOOT_SLACK_MS, silence.back_ms + BOOT_SLACK_MS):
        return "power"
    is_back = log.cells.last(c.ALIVE, silence.back_ms // c.MINUTE_MS + 10, 10) >= 0
    return "quiet" if is_back else ""
