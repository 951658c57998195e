"""What of ours can break, so that nothing is heard?"""

from __future__ import annotations

from balise_collector.town.kinds.kind import Kind, sets

PLATFORM: dict[str, Kind] = {
    "late_delivery": Kind(
        meaning="messages do not get out, all else works",
        places=("pon", "home", "town"),
        effect=sets(uplink=False),
        hits=(),
        shows="never",
        cause="platform",
        hours=(2, 8),
        is_incident=False,
    ),
    "broker_down": Kind(
        meaning="the broker is down",
        places=("town",),
        effect=sets(broker=False),
        hits=(),
        shows="never",
        cause="platform",
        hours=(0.2, 1),
    ),
    "collector_down": Kind(
        meaning="the collector takes nothing in",
        places=("town",),
        effect=sets(collector=False),
        hits=(),
        shows="never",
        cause="platform",
        hours=(0.2, 1),
    ),
    "influx_down": Kind(
        meaning="InfluxDB is down: nothing of what is judged",
        places=("town",),
        effect=sets(store=False),
        hits=(),
        shows="never",
        cause="platform",
        is_incident=False,
    ),
}
"""From the probe's way out to the store."""
