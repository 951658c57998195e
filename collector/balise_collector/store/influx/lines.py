"""How is a point said in InfluxDB's line protocol?

`host,building=b1,home=h1,pon=p1,probe=x1,target=- outcome="ok",uptime_s=6i,cpu_pct=60.0 1728000000000`, dates in ms.

Rule 1: a field's type in InfluxDB is for ever, and the first to come decides. A field of the catalogue with the
catalogue's type has its own name; any other is `name:type`, so that no value of ours ever meets another type.
Rule 2: every point has all five tags, `-` where it has no value: a deletion of 2.x cannot name a tag that is absent.
Rule 3: what the protocol cannot carry is refused here, by ValueError, before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import Value
from balise_collector.store.points import Point

TAGS = ("building", "home", "pon", "probe", "target")
NONE = "-"  # no home, label or code is called so
OUTCOME, REASON = "outcome", "reason"
MAX_MS = (2**63 - 2) // 1_000_000  # InfluxDB counts ns in 64 bits: the year 2262

TYPES: dict[type, str] = {int: "int", float: "float", bool: "bool", str: "str"}
# A float without a point or an exponent is one all the same: only `i` makes an integer. `repr` gives 60.0.
_FORMATS = {int: "%di", float: "%r", bool: "%s", str: '"%s"'}
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HEADS = 200_000  # series that are remembered, some 30 MB; a thousand homes have 8,000
_SHAPES = 10_000  # sets of fields with their types and outcomes; a fleet has some hundred


class _Shape(NamedTuple):
    template: str
    texts: tuple[int, ...]  # which of the values are text


class Encoder:
    """Says points, and remembers how it said their tags and the names of their fields: 2 us a point."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str, str, str], dict[tuple[str, str], str]] = {}
        self._known = 0
        self._shapes: dict[tuple[object, ...], _Shape] = {}

    def line(self, point: Point) -> str:
        """A point of any origin. ValueError: it cannot be said."""
        if not 0 <= point.ts_ms <= MAX_MS:
            raise ValueError(f"its date {point.ts_ms} is beyond what InfluxDB counts")
        whose = (point.building, point.home, point.pon, point.probe)
        head = self.heads(whose).get((point.measurement, point.target)) or self.head(
            whose, point.measurement, point.target
        )
        return f"{head}{self.values(point.measurement, point.kind, point.reason, point.fields)}{point.ts_ms}"

    def heads(self, whose: tuple[str, str, str, str]) -> dict[tuple[str, str], str]:
        """What `head` has said of a building, home, PON and probe, by measurement and target."""
        found = self._heads.get(whose)
        if found is None:
            found = self._heads[whose] = {}
        return found

    def head(self, whose: tuple[str, str, str, str], measurement: str, target: str) -> str:
        """Measurement and tags. ValueError: a tag that the protocol cannot carry."""
        if self._known >= _HEADS:
            self._heads.clear()
            self._known = 0
        tags = zip(TAGS, (*whose, target), strict=True)
        said = (f",{name}={_tag(name, value)}" for name, value in tags)
        found = self.heads(whose)[measurement, target] = f"{_name(measurement)}{''.join(said)}"
        self._known += 1
        return found

    def values(self, measurement: str, kind: str, reason: str | None, fields: Mapping[str, Value]) -> str:
        """Outcome and fields, with the spaces around them. ValueError: a field's name that cannot be said."""
        key = (measurement, kind, reason, tuple(map(type, fields.values())), *fields)
        return _filled(self._shapes.get(key) or self._learn(key, measurement, kind, reason, fields), fields)

    def ok_values(self, measurement: str, fields: Mapping[str, Value]) -> str:
        """The same where it is ok and each field has the catalogue's type, as a record of the wire has: a look at each
        type is a third of the time."""
        key = (measurement, *fields)
        return _filled(self._shapes.get(key) or self._learn(key, measurement, "ok", None, fields), fields)

    def _learn(
        self, key: tuple[object, ...], measurement: str, kind: str, reason: str | None, fields: Mapping[str, Value]
    ) -> _Shape:
        if len(self._shapes) >= _SHAPES:  # a broken probe may send any field and any reason
            self._shapes.clear()
        found = self._shapes[key] = _shape(measurement, kind, reason, fields)
        return found


def field_key(measurement: str, name: str, kind: type) -> str:
    """What a field is called in InfluxDB. ValueError: a name that cannot be one."""
    if kind not in TYPES:
        raise ValueError(f"{name}: a {kind.__name__} is no value")
    if (name, TYPES[kind]) in _catalogued(measurement):
        return name
    return f"{_name(name)}:{TYPES[kind]}"


def field_of(measurement: str, key: str) -> tuple[str, str] | None:
    """Name and type of a field, from what it is called in InfluxDB; None: it is not one of ours."""
    kind = dict(_catalogued(measurement)).get(key)
    if kind is not None:
        return key, kind
    name, _, kind = key.rpartition(":")
    return (name, kind) if name and kind in TYPES.values() else None


@lru_cache(maxsize=256)
def _catalogued(measurement: str) -> frozenset[tuple[str, str]]:
    known = CATALOGUE.get(measurement)
    return frozenset((field.name, field.type) for field in known.fields) if known else frozenset()


def _shape(measurement: str, kind: str, reason: str | None, fields: Mapping[str, Value]) -> _Shape:
    said = [f'{OUTCOME}="{_text(kind)}"']
    if reason is not None:
        said.append(f'{REASON}="{_text(reason)}"')
    keys = [text.replace("%", "%%") for text in said]
    for name, value in fields.items():
        keys.append(f"{field_key(measurement, name, type(value))}={_FORMATS[type(value)]}")
    texts = tuple(at for at, value in enumerate(fields.values()) if type(value) is str)
    return _Shape(f" {','.join(keys)} ", texts)


def _filled(shape: _Shape, fields: Mapping[str, Value]) -> str:
    values = tuple(fields.values())
    if shape.texts:
        values = tuple(_text(value) if type(value) is str else value for value in values)
    return shape.template % values


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    """Between quotes only these two are special; a line feed is not."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _tag(name: str, value: str) -> str:
    """The protocol has no way to say a backslash before what it escapes, nor a line feed."""
    if value == NONE or "\\" in value or not value.isprintable():
        raise ValueError(f"{name} {value!r}: InfluxDB has no word for it")
    return "".join(_escaped(value)) or NONE


def _escaped(value: str) -> Iterator[str]:
    for char in value:
        yield f"\\{char}" if char in ", =" else char


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a field or a measurement")
    return name
