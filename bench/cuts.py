"""How often is a cut found, and told as one? A PON of 64 homes, many seeds and hours.

A branch of 8 homes of 64 with every home probed, the same at 40 %, and the whole PON. `python -m bench.cuts SEEDS`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Row
from balise_collector.town import calendar, running, script, truth
from balise_collector.town.matching import match
from balise_collector.town.stream import Stream
from balise_collector.town.topology import build
from balise_collector.trial import ways

DAY_MS = 1_794_000_000_000  # of November
BEFORE_MS, LASTS_MS, AFTER_MS = 25 * 60_000, 15 * 60_000, 15 * 60_000
HOURS = (4, 9, 14, 20)
CASES = {"branch, all probed": ("branch:2", 1.0), "branch, 40 % probed": ("branch:2", 0.4), "PON": ("pon:1", 1.0)}


def one(place: str, probed: float, hour: int, seed: int) -> tuple[bool, int]:
    """Whether the cut was found in its place, and how many incidents were told of it."""
    town = build(homes=64, pon=64, seed=seed, probed=probed)
    start_ms = calendar.midnight_ms(0, DAY_MS) + hour * calendar.HOUR_MS - BEFORE_MS
    bounds = (start_ms, start_ms + BEFORE_MS + LASTS_MS + AFTER_MS)
    cut = {"kind": "pon_cut", "place": place, "after": "25m", "lasts": "15m"}
    faults = script.faults(script.parse({"fault": [cut]}, "bench"), town, bounds)
    stream = Stream(town=town, faults=faults, bounds=bounds, make=Row)
    run = running.run(stream, ways.Direct(Judge(ways.topology(town, faults))))
    found = match(truth.tell(stream), run.notes, town)
    return any(m.place_right for m in found.firsts), sum(len(m.ids) for m in found.firsts)


def figures(seeds: int, hours: Sequence[int] = HOURS) -> dict[str, dict[str, float]]:
    """By case: the share found, and incidents a cut that was found."""
    rows: dict[str, dict[str, float]] = {}
    for name, (place, probed) in CASES.items():
        runs = [one(place, probed, hour, seed) for seed in range(1, seeds + 1) for hour in hours]
        told = [count for found, count in runs if found]
        rows[name] = {
            "runs": len(runs),
            "found": round(len(told) / len(runs), 4),
            "incidents_each": round(sum(told) / len(told), 3) if told else 0.0,
        }
    return rows


if __name__ == "__main__":
    print(json.dumps(figures(int(sys.argv[1]) if len(sys.argv) > 1 else 20), indent=1))
