"""Which values are counted, of which records, and how many does the plan expect?

Rule 1: a value counts where its record is ok and its validity says so; a failed record is counted as failed and is no
value, a skipped one was left out on purpose; none is left out for its size (method QOS-1 § 5).
Rule 2: a ratio to the contract is of the contract that the directory has; without one the test is left out as
`no_contract`, never held against a guess.
Rule 3: tests towards a target inside the operator's network and towards one outside are series of their own. A test
without a role is the operator's: it failed before its target said where it stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from balise_collector.judge.topology import HomeSite
from balise_collector.store import Point

Get = Callable[[Point, HomeSite | None], float | None]
Validity = Callable[[Point, HomeSite | None], str]
DAY_H = 24.0
OFFNET = "offnet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """``validity``: "ok", or why a record that is ok is left out. ``of``: whether a record is one of this series.
    ``an_hour``: records that the plan has of a home in a mean hour. ``by_target``: each target is a series of its own.
    """

    name: str
    measurement: str
    value: Get
    an_hour: float
    validity: Validity = lambda _point, _site: "ok"
    of: Callable[[Point], bool] = lambda _point: True
    by_target: bool = False

    def named(self, point: Point) -> str:
        """The series that this record is of."""
        return f"{self.name}.{point.target}" if self.by_target and point.target else self.name


class Reading(NamedTuple):
    """What a record is to a series: ``word`` is ok, failed, skipped, or the validity that leaves it out."""

    series: Series
    name: str
    word: str
    value: float | None


def _field(name: str) -> Get:
    def value(point: Point, _site: HomeSite | None) -> float | None:
        found = point.fields.get(name)
        return float(found) if isinstance(found, int | float) else None

    return value


def contract_bps(site: HomeSite | None, way: str) -> int:
    """The contracted rate; 0: not known."""
    return 0 if site is None else site.down_bps if way == "down" else site.up_bps


def _ratio(way: Literal["down", "up"]) -> Get:
    def value(point: Point, site: HomeSite | None) -> float | None:
        bps, contract = point.fields.get(f"{way}_bps"), contract_bps(site, way)
        return float(bps) / contract if isinstance(bps, int | float) and contract else None

    return value


def _valid_rate(way: Literal["down", "up"]) -> Validity:
    def validity(point: Point, site: HomeSite | None) -> str:
        said = str(point.fields.get("validity", "ok"))
        return said if said != "ok" or contract_bps(site, way) else "no_contract"

    return validity


def _by_flag(point: Point, _site: HomeSite | None) -> str:
    """As television and telephony say it: a probe that disturbed its own measurement."""
    return "probe_overload" if point.fields.get("valid") is False else "ok"


def _loss(point: Point, _site: HomeSite | None) -> float | None:
    sent, lost = point.fields.get("sent"), point.fields.get("lost")
    return float(lost) / float(sent) if isinstance(sent, int) and isinstance(lost, int) and sent else None


def _is_fixed(point: Point) -> bool:
    return not point.target.endswith(".unique")


def _is_unique(point: Point) -> bool:
    return point.target.endswith(".unique")


def _throughput(name: str, way: Literal["down", "up"], *, offnet: bool = False) -> Series:
    return Series(
        name=name,
        measurement="throughput",
        value=_ratio(way),
        an_hour=(0 if offnet else 4) / DAY_H,
        validity=_valid_rate(way),
        of=is_offnet if offnet else _is_operator_s,
    )


def is_offnet(point: Point) -> bool:
    """Its target is outside of the operator's network: never in one figure with those inside."""
    return point.fields.get("role") == OFFNET


def _is_operator_s(point: Point) -> bool:
    return not is_offnet(point)


def _plain(measurement: str, field: str, an_hour: float, *, by_target: bool = False) -> Series:
    name = f"{measurement}.{field}"
    return Series(name=name, measurement=measurement, value=_field(field), an_hour=an_hour, by_target=by_target)


def _flagged(measurement: str, field: str, an_hour: float) -> Series:
    name = f"{measurement}.{field}"
    return Series(name=name, measurement=measurement, value=_field(field), an_hour=an_hour, validity=_by_flag)


SERIES = (
    _throughput("throughput.down_ratio", "down"),
    _throughput("throughput.up_ratio", "up"),
    _throughput("throughput.offnet_down_ratio", "down", offnet=True),
    _throughput("throughput.offnet_up_ratio", "up", offnet=True),
    _plain("loaded", "down_delta_us", 1 / DAY_H),
    _plain("loaded", "up_delta_us", 1 / DAY_H),
    _plain("reach", "p50_us", 60, by_target=True),
    _plain("reach", "p95_us", 60, by_target=True),
    Series(name="reach.loss_ratio", measurement="reach", value=_loss, an_hour=60, by_target=True),
    Series(name="dns.query_ms", measurement="dns", value=_field("query_ms"), an_hour=12, of=_is_fixed),
    Series(name="dns.query_ms.unique", measurement="dns", value=_field("query_ms"), an_hour=12, of=_is_unique),
    _plain("web", "total_ms", 12),
    _plain("tv_zap", "zap_rap_ms", 12),
    _flagged("tv_window", "es_ratio", 12),
    Series(
        name="voip_signal.register_ms",
        measurement="voip_signal",
        value=_field("register_ms"),
        an_hour=1,
        of=lambda point: point.target.endswith(".register"),
    ),
    _flagged("voip_call", "mos_cqe", 1 / DAY_H),
    _flagged("voip_call", "pdd_ms", 1 / DAY_H),
)
"""What hours and months are made of. Expectations are those of the default plan, of one target; in the evening, into
which the plan puts half of the throughput tests, coverage is at its bound of 1."""


def _by_measurement() -> Mapping[str, tuple[Series, ...]]:
    found: dict[str, list[Series]] = defaultdict(list)
    for one in SERIES:
        found[one.measurement].append(one)
    return {measurement: tuple(series) for measurement, series in found.items()}


BY_MEASUREMENT = _by_measurement()


def readings(point: Point, site: HomeSite | None) -> list[Reading]:
    """What a record is to each series that it is of; an ok record without the field is none of that series."""
    found: list[Reading] = []
    for series in BY_MEASUREMENT.get(point.measurement, ()):
        if not series.of(point):
            continue
        word, value = point.kind if point.kind != "ok" else series.validity(point, site), None
        if word == "ok" and (value := series.value(point, site)) is None:
            continue
        found.append(Reading(series, series.named(point), word, value))
    return found
