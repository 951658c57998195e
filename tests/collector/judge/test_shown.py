"""How often does an incident that changes write a row?"""

from __future__ import annotations

from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Derived
from tests.collector.judge.saying import HOUR, MINUTE, T0, life, minute, plant

PLANT = plant(pons=2, homes=10)
HOMES = sorted(PLANT.homes)
BEGAN = T0 + 30 * MINUTE


def told(homes: list[str], until_ms: int) -> list[Derived]:
    """What is said of incidents while these lose, looked at each minute."""
    judge, found = Judge(PLANT), list[Derived]()
    rows = life([h for h in HOMES if h not in homes], T0, until_ms) + life(homes, T0, BEGAN)
    rows += [r for home in homes for at in range(BEGAN, until_ms, MINUTE) for r in minute(home, at, lost=3)]
    rows.sort(key=lambda r: r.ts_ms)
    at = 0
    for now_ms in range(T0 + MINUTE, until_ms, MINUTE):
        last = at
        while at < len(rows) and rows[at].ts_ms < now_ms:
            at += 1
        judge.take(rows[last:at])
        found += [row for row in judge.advance(now_ms) if row.measurement == "incident"]
    return found


def test_a_loss_that_goes_on_for_hours_is_one_incident_that_goes_on_and_not_a_row_a_minute() -> None:
    rows = told(HOMES[:10], BEGAN + 3 * HOUR)
    assert {row.fields["id"] for row in rows} == {rows[0].fields["id"]}
    assert {row.fields["state"] for row in rows} == {"open"}
    assert len(rows) <= 3
