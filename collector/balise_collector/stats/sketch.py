"""Which value is at a percentile of many, in little memory, and of many sketches merged?

DDSketch's bucket rule (Masson, Rim, Lee, VLDB 2019), relative error 1 %: a value x > 0 counts in bucket
k = ceil(ln x / ln g), g = 1.01/0.99, and stands for 2 g^k / (g + 1). Values below 0 have buckets of their own.

Rule 1: merging is adding counts: the sketch of the parts merged is the sketch of the whole.
Rule 2: buckets are bounded: above `MAX_BUCKETS` the smallest magnitudes share one. Values within a factor of 1e17 of
each other never come to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

ERROR = 0.01
VERSION = "1"  # of `Sketch.text`: rows of 13 months are read again
MAX_BUCKETS = 2_048
_GAMMA = (1 + ERROR) / (1 - ERROR)
_LN_GAMMA = math.log(_GAMMA)


class Sketch:
    """Counts by bucket."""

    __slots__ = ("_above", "_below", "_zeros", "n")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._above: dict[int, int] = {}
        self._below: dict[int, int] = {}
        self._zeros = self.n = 0
        for value in values:
            self.add(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self._parts() == other._parts()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, value: float) -> None:
        """Counts one value, which must be finite."""
        self.n += 1
        if value == 0:
            self._zeros += 1
            return
        side = self._above if value > 0 else self._below
        bucket = math.ceil(math.log(abs(value)) / _LN_GAMMA)
        side[bucket] = side.get(bucket, 0) + 1
        _bound(side)

    def merge(self, other: Sketch) -> None:
        """Takes in what another counted."""
        self.n += other.n
        self._zeros += other._zeros
        for mine, theirs in ((self._above, other._above), (self._below, other._below)):
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count
            _bound(mine)

    def quantile(self, share: float) -> float | None:
        """The value of rank floor(share x (n - 1)) from below, within 1 %; None: there is none."""
        rank, seen = share * (self.n - 1), 0
        for value, count in self._ordered():
            seen += count
            if seen > rank:
                return value
        return None

    def text(self) -> str:
        """All of it, for a row: version, counts below 0, zeros, counts above, each as bucket:count."""
        sides = (" ".join(f"{bucket}:{side[bucket]}" for bucket in sorted(side)) for side in (self._below, self._above))
        below, above = sides
        return f"{VERSION}|{below}|{self._zeros}|{above}" if self.n else ""

    @classmethod
    def of_text(cls, text: str) -> Sketch:
        """What `text` gave; "" is an empty one. ValueError: it is of another version."""
        found = cls()
        if not text:
            return found
        version, below, zeros, above = text.split("|")
        if version != VERSION:
            raise ValueError(f"a sketch of version {version}")
        found._below, found._above = _counts(below), _counts(above)
        found._zeros = int(zeros)
        found.n = sum(found._below.values()) + found._zeros + sum(found._above.values())
        return found

    @property
    def buckets(self) -> int:
        """How many it keeps."""
        return len(self._above) + len(self._below)

    def _ordered(self) -> Iterable[tuple[float, int]]:
        for bucket in sorted(self._below, reverse=True):
            yield -_value(bucket), self._below[bucket]
        if self._zeros:
            yield 0.0, self._zeros
        for bucket in sorted(self._above):
            yield _value(bucket), self._above[bucket]

    def _parts(self) -> tuple[dict[int, int], dict[int, int], int]:
        return self._above, self._below, self._zeros


def _counts(text: str) -> dict[int, int]:
    pairs = (pair.partition(":") for pair in text.split())
    return {int(bucket): int(count) for bucket, _, count in pairs}


def _value(bucket: int) -> float:
    return 2 * math.exp(bucket * _LN_GAMMA) / (_GAMMA + 1)


def _bound(side: dict[int, int]) -> None:
    """The smallest magnitudes into the smallest bucket that stays."""
    if len(side) <= MAX_BUCKETS:
        return
    *gone, kept = sorted(side)[: len(side) - MAX_BUCKETS + 1]
    side[kept] += sum(side.pop(bucket) for bucket in gone)
