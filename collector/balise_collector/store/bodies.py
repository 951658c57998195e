"""How does a point, or an hour of them, become bytes with a checksum, and points again?

Rule 1: a checksum covers whose the points are and when, too: a flipped bit in a name is damage like any other.
SQLite's own check is no substitute: it passed 417 of 1,000 bit-flipped files with altered rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from balise_agent.contract import Value
from balise_collector.store import columns
from balise_collector.store.points import Kind, Point, Tags

_CRC_BYTES = 4
_RAW_DEFLATE = -15  # zlib's own header and checksum would be six bytes of an hour's five hundred
_KINDS: dict[str, Kind] = {"": "ok", "f": "failed", "s": "skipped"}
_MARKS: dict[Kind, str] = {kind: mark for mark, kind in _KINDS.items()}

_packed = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(tuple[str, dict[str, bool | int | float | str]]).decode


def fingerprint(tags: Tags) -> int:
    """Where the checksum of each row of these tags starts."""
    return zlib.crc32(_packed(tags))


def encode_row(point: Point, start: int) -> bytes:
    """One point as a hot row's body; ``start`` is the fingerprint of its tags."""
    body = _packed((_outcome(point), point.fields))
    return _row_crc(body, point.ts_ms, start) + body


def decode_row(tags: Tags, ts_ms: int, stored: bytes) -> Point:
    """The point; ValueError where it is damaged."""
    body = stored[_CRC_BYTES:]
    if stored[:_CRC_BYTES] != _row_crc(body, ts_ms, fingerprint(tags)):
        raise ValueError("a row's checksum does not match")
    outcome, fields = _row(body)
    return _point(tags, ts_ms, outcome, fields)


def names_of(points: Sequence[Point]) -> tuple[str, ...]:
    """The fields that any of them has, sorted."""
    return tuple(sorted(set().union(*(point.fields for point in points))))


def encode_hour(points: Sequence[Point], hour_ms: int, names: tuple[str, ...]) -> bytes:
    """Points of one hour and of the same tags, in order of time."""
    written = [columns.encode_integers([point.ts_ms - hour_ms for point in points])]
    written.append(columns.encode_texts([_outcome(point) for point in points]))
    written += [columns.encode([point.fields.get(name) for point in points]) for name in names]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9)
    body = squeeze.compress(b"".join(written)) + squeeze.flush()
    return _hour_crc(body, points[0].tags, hour_ms, len(points), names) + body


def decode_hour(tags: Tags, hour_ms: int, count: int, names: tuple[str, ...], stored: bytes) -> list[Point]:
    """The points in order of time; ValueError where they are damaged."""
    body = stored[_CRC_BYTES:]
    if stored[:_CRC_BYTES] != _hour_crc(body, tags, hour_ms, count, names):
        raise ValueError("an hour's checksum does not match")
    data = columns.Bytes(zlib.decompress(body, _RAW_DEFLATE))
    times = columns.decode_integers(data, count)
    outcomes = columns.decode_texts(data, count)
    rows = _rows(names, [columns.decode(data, count) for _ in names], count)
    return [
        _point(tags, hour_ms + at, outcome, fields) for at, outcome, fields in zip(times, outcomes, rows, strict=True)
    ]


def _rows(names: tuple[str, ...], values: list[list[Value | None]], count: int) -> list[dict[str, Value]]:
    if not names:
        return [{} for _ in range(count)]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    if any(None in column for column in values):
        return [{name: value for name, value in row.items() if value is not None} for row in rows]
    return rows


def _point(tags: Tags, ts_ms: int, outcome: str, fields: dict[str, Value]) -> Point:
    return Point(
        home=tags.home,
        building=tags.building,
        pon=tags.pon,
        probe=tags.probe,
        measurement=tags.measurement,
        target=tags.target,
        ts_ms=ts_ms,
        kind=_KINDS[outcome[:1]],
        reason=outcome[1:] if outcome else None,
        fields=fields,
    )


def _outcome(point: Point) -> str:
    return _MARKS[point.kind] + (point.reason or "")


def _row_crc(body: bytes, ts_ms: int, start: int) -> bytes:
    return zlib.crc32(body, zlib.crc32(ts_ms.to_bytes(8, "little"), start)).to_bytes(_CRC_BYTES, "little")


def _hour_crc(body: bytes, tags: Tags, hour_ms: int, count: int, names: tuple[str, ...]) -> bytes:
    start = zlib.crc32(_packed((hour_ms, count, names)), fingerprint(tags))
    return zlib.crc32(body, start).to_bytes(_CRC_BYTES, "little")
