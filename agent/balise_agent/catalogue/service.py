"""What does a probe tell of how it measured: which tests it ran or left out, over which box, over which radio?

Rule 1: a test that was left out because the line was in use stands here as one of a day's count, without time of day:
skips with their time would be a diary of presence.
Rule 2: byte counters of the box feed the gate and never leave the probe.
"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, field

HEAVY_DAY = Measurement(
    name="heavy_day",
    meaning="Tests that fill the line, of one civil day of the home, told once when that day is over.",
    target="kind of the test: throughput, loaded, tv, …",
    source="Balise; docs/design/093-never-at-the-tenants-expense.md",
    retention="raw_90d",
    fields=(
        field("day", "int", "d", "the day, in days since 1970-01-01 of the home's civil time"),
        field("planned", "int", "1", "slots that the plan had on that day"),
        field("on_demand", "int", "1", "tests asked for by a command"),
        field("run", "int", "1", "tests that ran to their end, whatever they said"),
        field("aborted", "int", "1", "tests that were begun and ended at once, for the line was needed"),
        field("skipped", "int", "1", "slots and requests without a test; the reasons below add up to it"),
        field("skipped_line_busy", "int", "1", "the line was in use each time that it was looked at"),
        field("skipped_gate_unknown", "int", "1", "nothing told whether the line was in use"),
        field("skipped_budget", "int", "1", "the day's or the month's bytes, or the day's tests, were used up"),
        field("skipped_line_down", "int", "1", "the line was out"),
        field("skipped_server_busy", "int", "1", "the target had no turn to give"),
        field("skipped_off", "int", "1", "paused, without a target, or the agent was off in its time"),
        field("bytes", "int", "By", "payload that the day's tests moved, both ways"),
        field("budget_bytes", "int", "By", "most that they may move in a day"),
        field("month_bytes", "int", "By", "payload of the civil month so far"),
        field("month_budget_bytes", "int", "By", "most that they may move in a month"),
    ),
)

BOX = Measurement(
    name="box",
    meaning="What the home's box says of its own way out, over UPnP; or, where the agent lives in it, its interface.",
    target="",
    source="UPnP WANIPConnection:1 § 2.4, WANCommonInterfaceConfig:1 § 2.4",
    retention="raw_90d",
    fields=(
        field("wan_status", "str", "", "connected, connecting, disconnected, disconnecting, unconfigured or other"),
        field("wan_uptime_s", "int", "s", "since its connection came up; less than before: it was lost meanwhile"),
        field("link_up", "bool", "1", "its physical link to the network is up"),
        field(
            "counters",
            "str",
            "",
            "what the gate can do with its byte counters: good, stuck, wrong (they lie) or none; never what they say",
        ),
        field("via", "str", "", "upnp, or interface: the agent lives in the box"),
    ),
)

WIFI = Measurement(
    name="wifi",
    meaning="The probe's own radio link, where it has no cable; nothing of networks around, no name, no address.",
    target="",
    source="Linux, nl80211.h (station and interface information)",
    retention="raw_90d",
    fields=(
        field("rssi_dbm", "int", "dBm", "signal strength of the access point"),
        field("tx_bitrate_bps", "int", "bit/s", "rate of the last frames sent"),
        field("rx_bitrate_bps", "int", "bit/s", "rate of the last frames received"),
        field("freq_mhz", "int", "MHz", "centre of the channel"),
        field("tx_packets", "int", "1", "frames sent since the last record"),
        field("retries", "int", "1", "of these, sent again, since the last record"),
        field("tx_failed", "int", "1", "of these, given up, since the last record"),
    ),
)

MEASUREMENTS = (HEAVY_DAY, BOX, WIFI)
