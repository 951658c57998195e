"""What is a measurement of the catalogue, a field of it, and how long is each class kept?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["int", "float", "bool", "str"]
Retention = Literal["raw_90d", "tv_home_7d", "hour_13m", "month_frozen", "state"]
Writer = Literal["probe", "collector"]

RETENTION_DAYS: dict[Retention, int | None] = {
    "raw_90d": 90,  # raw measurements of a home
    "tv_home_7d": 7,  # per channel and home: longer would describe a household
    "hour_13m": 396,  # hourly sketches: 13 months, so that two same months can be compared
    "month_frozen": None,  # the report's monthly rows: the pilot's end + 6 months, deleted by hand with a report
    "state": 396,  # what the collector concluded or observed of itself
}
"""Days that each class is kept; None: until the pilot's end + 6 months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value of a measurement. Absent in a record means not measured, never 0."""

    name: str
    type: FieldType
    unit: str  # UCUM-like: "us", "ms", "1" for a count or a ratio, "" for text
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One kind of record. ``leaves`` says whether it may leave the probe at all; ``writer`` who may write it."""

    name: str
    meaning: str
    target: str  # what the record's target names; "" where there is only one
    source: str  # the standard or the text that defines it
    retention: Retention
    fields: tuple[Field, ...]
    leaves: bool = True
    writer: Writer = "probe"

    def field(self, name: str) -> Field | None:
        """The field of that name, or None."""
        return next((f for f in self.fields if f.name == name), None)


def field(name: str, kind: FieldType, unit: str, meaning: str) -> Field:
    return Field(name=name, type=kind, unit=unit, meaning=meaning)


def each_way(*fields: tuple[str, FieldType, str, str]) -> tuple[Field, ...]:
    """Fields that a test has for each direction it measured; ``WAY`` in a meaning is its word."""
    words = {"down": "to the probe", "up": "from the probe"}
    return tuple(
        field(f"{way}_{name}", kind, unit, meaning.replace("WAY", word))
        for way, word in words.items()
        for name, kind, unit, meaning in fields
    )
