"""What can break, or be switched off, at a tenant's?"""

from __future__ import annotations

from dataclasses import replace

from balise_collector.town.kinds.kind import ALL, Kind, sets

HOME: dict[str, Kind] = {
    "box_hung": Kind(
        meaning="the box has current and does nothing",
        places=("home",),
        effect=sets(box=False),
        hits=ALL,
        shows="cut",
        cause="box",
    ),
    "box_unplugged": Kind(
        meaning="the box has no current, the probe has",
        places=("home",),
        effect=sets(box_power=False),
        hits=ALL,
        shows="cut",
        cause="box",
    ),
    "box_loop": Kind(
        meaning="the box restarts again and again",
        places=("home",),
        effect=sets(box_power=False),
        hits=ALL,
        shows="cut",
        cause="box",
        loop_s=(90, 210),
    ),
    "probe_unplugged": Kind(
        meaning="the probe has no current",
        places=("home",),
        effect=sets(probe_power=False),
        hits=("probe",),
        shows="never",
        cause="probe",
        is_incident=False,
    ),
    "probe_frozen": Kind(
        meaning="the agent stands still",
        places=("home",),
        effect=sets(agent=False),
        hits=("probe",),
        shows="never",
        cause="probe",
        is_incident=False,
    ),
    "clock_wrong": Kind(
        meaning="the probe's clock is wrong by ``strength`` hours, negative: behind",
        places=("home",),
        effect=lambda c, f: replace(c, clock_ms=c.clock_ms + int(f.strength * 3_600_000)),
        hits=("probe",),
        shows="window",
        cause="clock",
        strength=(-3.0, -0.5),
        is_incident=False,
    ),
}
"""The box and the probe."""

TENANT: dict[str, Kind] = {
    "strip_off": Kind(
        meaning="the tenant switched off box and probe",
        places=("home",),
        effect=sets(strip=False),
        hits=(),
        shows="never",
        cause="tenant",
        is_incident=False,
    ),
    "agent_restart": Kind(
        meaning="the agent restarts, as for an update",
        places=("home",),
        effect=sets(agent=False),
        hits=(),
        shows="never",
        cause="probe",
        is_incident=False,
    ),
}
"""Daily life, nobody's fault."""
