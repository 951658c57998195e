"""Did a channel's picture stop, or go black? Its video's rate then falls far below its own.

Measured on one encoder: 6.1 Mbit/s moving, 0.9 frozen, 0.025 black. How an operator's multiplexer fills a frozen
channel is not known: this is a suspicion, and is called so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from balise_agent.durable_file import replace as replace_file

FILE = "tv_rates.json"
SHARE = 0.1
LEAST = 5  # samples; of fewer the median may be that of the stopped picture itself
_DAY_S = 86_400
_MOST = 288  # a day of one each 5 min

Rates = Mapping[str, Sequence[tuple[int, int]]]
"""Of each channel: when (s, wall) and bit/s."""


def is_suspected(rates: Rates, label: str, video_bps: int, wall_s: float) -> bool | None:
    """None: there is too little to compare with."""
    last = [bps for at_s, bps in rates.get(label, ()) if 0 <= wall_s - at_s <= _DAY_S]
    return video_bps < SHARE * median(last) if len(last) >= LEAST else None


def seen(rates: Rates, label: str, video_bps: int, wall_s: float, labels: Sequence[str]) -> Rates:
    """With one more; channels that are no longer watched are forgotten."""
    more = [*rates.get(label, ()), (int(wall_s), video_bps)][-_MOST:]
    return {name: told for name, told in {**rates, label: more}.items() if name in labels}


def load(path: Path) -> Rates:
    """What the file says; none where it says nothing."""
    try:
        told = json.loads(path.read_text("utf-8"))
        return {str(label): [(int(at_s), int(bps)) for at_s, bps in rows][-_MOST:] for label, rows in told.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def save(path: Path, rates: Rates) -> None:
    """OSError: it could not be kept."""
    replace_file(path, json.dumps({label: list(rows) for label, rows in rates.items()}).encode())
