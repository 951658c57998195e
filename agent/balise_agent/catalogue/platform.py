"""What does the collector tell of the probes' sessions and of itself?"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, field

PRESENCE = Measurement(
    name="presence",
    meaning="The probe's session with the broker began or ended, as the collector saw it.",
    target="",
    source="MQTT v5 § 3.1.2.5 (Will Message)",
    retention="raw_90d",
    writer="collector",
    fields=(
        field("online", "bool", "1", "true: session open; false: its last will was published"),
        field("agent", "str", "", "version of the agent"),
        field("boot", "str", "", "boot id of the probe's machine"),
        field("config", "int", "1", "version of the configuration that the probe applies"),
    ),
)

PLATFORM = Measurement(
    name="platform",
    meaning="The collector's own health, once a minute: what /metrics says, kept.",
    target="part of the collector: ingest, journal, a consumer's name",
    source="Balise",
    retention="state",
    writer="collector",
    fields=(
        field("messages", "int", "1", "messages committed since the collector started"),
        field("duplicates", "int", "1", "messages received again and absorbed, since the collector started"),
        field("dead_letters", "int", "1", "dead letters kept now"),
        field("orphans", "int", "1", "messages kept apart for want of a home or a date"),
        field("rows", "int", "1", "rows in the journal now"),
        field("bytes", "int", "By", "size of the journal's files"),
        field("lag_rows", "int", "1", "rows that the consumer has still to read"),
        field("lag_s", "float", "s", "age of the oldest row that the consumer has still to read; 0: it has read all"),
        field("disk_free_kb", "int", "kB", "free on the file system that holds the data"),
        field("broker_ok", "bool", "1", "the session with the broker is open"),
    ),
)

MEASUREMENTS = (PRESENCE, PLATFORM)
