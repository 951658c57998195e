"""Which stores does the suite run against, and with which points?

A new one is a line in `STORES`: how it is opened in a folder (or with what stands for one), to write and to read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from balise_agent.contract import MAX_INT, Value
from balise_collector.store import Point, Reader, Store, influx
from balise_collector.store.chunks import open_reader, open_store
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.setup import SHARD_S, prepare
from tests.collector.influx.servers import influx1, influx2

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
START_MS = 20_000 * DAY_MS  # a midnight, UTC
FAR_MS = START_MS + 1_000 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One implementation of the protocol. ``share``: of the usual examples of a property that it is given."""

    open: Callable[[Path], Store]
    read: Callable[[Path], Reader]
    share: float = 1.0


def _influx(server: Callable[[str], Server | None]) -> Kind:
    """A database a folder. Its policies keep everything, for the points of these tests are of 2024."""

    def of(folder: Path) -> Server:
        found = server("t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16])
        assert found
        return found

    def opened(folder: Path) -> Store:
        prepare(of(folder), dict.fromkeys(SHARD_S))
        return influx.open_store(of(folder), folder / "state.db")

    return Kind(
        open=opened,
        read=lambda folder: influx.open_reader(of(folder), folder / "state.db"),
        share=0.3,
    )


STORES: dict[str, Kind] = {
    "chunks": Kind(open=open_store, read=open_reader),
    "influx1": _influx(lambda database: influx1().server(database)),
} | ({"influx2": _influx(influx2)} if influx2() else {})


def point(ts_ms: int = START_MS, **changes: object) -> Point:
    """A plausible one, with some things changed."""
    plain: dict[str, object] = {
        "home": "h1",
        "building": "b1",
        "pon": "p1",
        "probe": "probe0001",
        "measurement": "reach",
        "target": "gw",
        "ts_ms": ts_ms,
        "fields": {"sent": 6, "lost": 0, "p50_us": 431, "window_s": 60.0, "method": "icmp"},
    }
    return Point(**(plain | changes))  # type: ignore[arg-type]


def exact(one: Point) -> tuple[object, ...]:
    """What two points must share to be the same: 3, 3.0 and True are not, nor are 0.0 and -0.0."""
    fields = sorted((name, type(value).__name__, repr(value)) for name, value in one.fields.items())
    return (one.tags, one.ts_ms, one.kind, one.reason, *fields)


def key(one: Point) -> tuple[str, str, str, int]:
    """Two points of one key are the same measurement."""
    return (one.measurement, one.probe, one.target, one.ts_ms)


def everything(store: Reader) -> dict[tuple[str, str, str, int], tuple[object, ...]]:
    """All that a store gives back, by key; a key that comes twice fails."""
    found: dict[tuple[str, str, str, int], tuple[object, ...]] = {}
    for home, measurement in sorted({(series.home, series.measurement) for series in store.series()}):
        for one in store.read(home, measurement, None, 0, FAR_MS):
            assert key(one) not in found, f"{key(one)} is there twice"
            found[key(one)] = exact(one)
    return found


TEXTS = st.text(max_size=12)  # without half a surrogate pair, as the contract
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-10_000, 10_000, places=3).map(float),
    st.just(-0.0),
)
INTEGERS = st.one_of(st.integers(-MAX_INT, MAX_INT), st.integers(0, 300))
VALUES: st.SearchStrategy[Value] = st.one_of(st.booleans(), INTEGERS, FLOATS, TEXTS)
OUTCOMES = st.one_of(
    st.just(("ok", None)), st.tuples(st.sampled_from(["failed", "skipped"]), st.sampled_from(["timeout", "line_busy"]))
)


@st.composite
def points(draw: st.DrawFn) -> Point:
    """Few homes, probes and moments, so that keys meet; hours and days are crossed; any values."""
    kind, reason = draw(OUTCOMES)
    return point(
        ts_ms=START_MS + draw(st.sampled_from([22, 23, 24])) * HOUR_MS + draw(st.integers(0, 3)) * 1_000,
        home=draw(st.sampled_from(["h1", "h2"])),
        building=draw(st.sampled_from(["b1", "b2"])),
        probe=draw(st.sampled_from(["probe0001", "probe0002"])),
        measurement=draw(st.sampled_from(["reach", "dns"])),
        target=draw(st.sampled_from(["", "gw"])),
        kind=kind,
        reason=reason,
        fields=draw(st.dictionaries(st.sampled_from(["af", "lost", "p50_us", "method"]), VALUES)),
    )
