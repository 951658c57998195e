"""How would a person rate a call of that loss and that delay?

The E-model, ITU-T G.107, with all that is not measured at its defaults: G.711 with concealment (G.113 App. I). Pure.

Rule: an estimate says what it assumes (`Assumed`); without concealment 2 % of loss would read 3.26 instead of 4.23.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

R_BEST = 93.2  # all of G.107's parameters at their defaults
PACKET_MS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """``ie``: impairment of the codec; ``bpl``: how well it bears loss; ``buffer_ms``: what a phone waits for."""

    ie: float = 0.0
    bpl: float = 25.1
    buffer_ms: float = 60.0
    device_ms: float = 0.0

    def delay_ms(self, one_way_ms: float) -> float:
        """Mouth to ear: Ta."""
        return one_way_ms + PACKET_MS + self.buffer_ms + self.device_ms


G711_PLC = Assumed()
G711_BARE = Assumed(bpl=4.3)
G729A_VAD = Assumed(ie=11.0, bpl=19.0)


def r_factor(*, loss_pct: float, delay_ms: float, burst_r: float = 1.0, assumed: Assumed = G711_PLC) -> float:
    """The rating R (G.107 7-1): ``delay_ms`` is Ta, ``burst_r`` at least 1."""
    return R_BEST - delay_impairment(delay_ms) - loss_impairment(loss_pct, burst_r, assumed)


def loss_impairment(loss_pct: float, burst_r: float, assumed: Assumed) -> float:
    """Ie,eff (7-29)."""
    if loss_pct <= 0:
        return assumed.ie
    return assumed.ie + (95 - assumed.ie) * loss_pct / (loss_pct / max(1.0, burst_r) + assumed.bpl)


def delay_impairment(delay_ms: float) -> float:
    """Idd (7-27, 7-28)."""
    if delay_ms <= 100:
        return 0.0
    x = math.log2(delay_ms / 100)
    return float(25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2))


def mos(r: float) -> float:
    """The rating as a mean opinion of 1 to 4.5 (Annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r))  # below R 6.5 the polynomial falls under 1
