"""What was each channel like in a civil month, by its hours, and what is frozen of it?

Rule 1: counted in samples of the channel, for homes are not known any more after seven days (method QOS-1 § 4).
Rule 2: an interval is of the month's days drawn again: a bad evening hits all of its samples. It says nothing of homes
that were not measured.
Rule 3: below 30 samples on 10 days there is no figure; the counts are still told.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TypeVar

from balise_collector.judge.rows import Derived
from balise_collector.stats.indicators import METHOD
from balise_collector.stats.months import Month
from balise_collector.stats.pilot import DRAWS, SEED, interval
from balise_collector.stats.sketch import Sketch
from balise_collector.stats.windows import HOUR_MS, civil
from balise_collector.store import Point, Reader

ENOUGH, ENOUGH_DAYS = 30, 10
D = TypeVar("D")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMonth:
    """``good_ratio``: samples without a bad second / samples; ``error_ratio``: seconds with an error / seconds
    listened; ``coverage``: hours with a sample / hours of the month. Figures: None below the minimum sample."""

    channel: str
    good_ratio: float | None = None
    good_low: float | None = None
    good_high: float | None = None
    error_ratio: float | None = None
    zap_p50_ms: float | None = None
    zap_p50_low_ms: float | None = None
    zap_p50_high_ms: float | None = None
    zap_p95_ms: float | None = None
    n: int = 0
    n_failed: int = 0
    n_invalid: int = 0
    zap_n: int = 0
    days: int = 0
    zap_days: int = 0
    homes_most: int = 0  # in the hour that had most of them
    coverage: float = 0.0


@dataclass(slots=True)
class _Day:
    n: int = 0
    good: int = 0
    zaps: Sketch = field(default_factory=Sketch)


def of_month(reader: Reader, month: Month) -> list[ChannelMonth]:
    """As it was frozen, else of the hours that the store has; by channel."""
    frozen = [_thawed(row) for row in reader.read("", "channel_month", None, month.start_ms, month.start_ms + 1)]
    return frozen or of_hours(reader.read("", "channel_hour", None, month.start_ms, month.end_ms), month)


def of_hours(hours: Iterable[Point], month: Month) -> list[ChannelMonth]:
    """From rows of `channel_hour`."""
    by_channel: dict[str, list[Point]] = {}
    for hour in hours:
        by_channel.setdefault(hour.target, []).append(hour)
    return [_of_channel(channel, by_channel[channel], month) for channel in sorted(by_channel)]


def frozen(months: Iterable[ChannelMonth], month: Month) -> Iterator[Derived]:
    """The month's rows, as `channel_month` has them."""
    for one in months:
        said = {name: value for name, value in asdict(one).items() if value is not None}
        tags = {"channel": said.pop("channel")}
        more = {"month": month.month, "method": METHOD, "frozen": month.is_over}
        yield Derived(measurement="channel_month", tags=tags, ts_ms=month.start_ms, fields=said | more)


def _thawed(row: Point) -> ChannelMonth:
    known = {one.name for one in fields(ChannelMonth)}
    said = {name: value for name, value in row.fields.items() if name in known}
    return ChannelMonth(channel=row.target, **said)  # type: ignore[arg-type]


def _of_channel(channel: str, hours: Sequence[Point], month: Month) -> ChannelMonth:
    days: dict[int, _Day] = {}
    for hour in hours:
        day = days.setdefault(civil(hour.ts_ms).day, _Day())
        day.n += _count(hour, "n")
        day.good += _count(hour, "n_good")
        day.zaps.merge(Sketch.of_text(str(hour.fields.get("zap_sketch", ""))))
    sampled = [day for day in days.values() if day.n]
    zapped = [day.zaps for day in days.values() if day.zaps.n]
    return ChannelMonth(
        channel=channel,
        **_goodness(sampled, hours),
        **_zapping(zapped),
        n=sum(day.n for day in sampled),
        n_failed=sum(_count(hour, "n_failed") for hour in hours),
        n_invalid=sum(_count(hour, "n_invalid") for hour in hours),
        zap_n=sum(zaps.n for zaps in zapped),
        days=len(sampled),
        zap_days=len(zapped),
        homes_most=max(_count(hour, "homes") for hour in hours),
        coverage=sum(_count(hour, "n") > 0 for hour in hours) * HOUR_MS / (month.end_ms - month.start_ms),
    )


def _goodness(days: Sequence[_Day], hours: Iterable[Point]) -> dict[str, float]:
    n = sum(day.n for day in days)
    if n < ENOUGH or len(days) < ENOUGH_DAYS:
        return {}

    def share(drawn: Iterable[_Day]) -> float:
        drawn = list(drawn)
        return sum(day.good for day in drawn) / sum(day.n for day in drawn)

    low, high = _interval(days, share)
    found = {"good_ratio": share(days), "good_low": low, "good_high": high}
    listened_s, error_s = (
        sum(float(hour.fields.get(name, 0.0)) for hour in hours) for name in ("listened_s", "error_s")
    )
    return found | ({"error_ratio": error_s / listened_s} if listened_s else {})


def _zapping(days: Sequence[Sketch]) -> dict[str, float]:
    whole = _merged(days)
    if whole.n < ENOUGH or len(days) < ENOUGH_DAYS:
        return {}
    low, high = _interval(days, lambda drawn: _merged(drawn).quantile(0.5) or 0.0)
    p50, p95 = (whole.quantile(share) or 0.0 for share in (0.5, 0.95))
    return {"zap_p50_ms": p50, "zap_p50_low_ms": low, "zap_p50_high_ms": high, "zap_p95_ms": p95}


def _interval(days: Sequence[D], figure: Callable[[Sequence[D]], float]) -> tuple[float, float]:
    """Of days drawn again, the same each time."""
    rng = random.Random(SEED)
    return interval(figure(rng.choices(days, k=len(days))) for _ in range(DRAWS))


def _merged(sketches: Iterable[Sketch]) -> Sketch:
    whole = Sketch()
    for one in sketches:
        whole.merge(one)
    return whole


def _count(hour: Point, name: str) -> int:
    return int(hour.fields.get(name, 0))
