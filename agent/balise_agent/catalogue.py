"""Which measurements exist, and what does each of their fields mean?

One table, ``CATALOGUE``. The contract's validation, the collector's decoder, `docs/contract.md`, `docs/asyncapi.yaml`,
the store's retention and (later) the dashboards are all made from it: a field that is not here does not exist anywhere.

Rule 1: a field is only ever added, optional; never re-typed, re-used or given another unit.
Rule 2: nothing here tells what the household does: no address, name, MAC, SSID, destination, number or channel watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["int", "float", "bool", "str"]
Retention = Literal["raw_90d", "tv_home_7d", "hour_13m", "month_frozen", "state"]
Writer = Literal["probe", "collector"]

RETENTION_DAYS: dict[Retention, int | None] = {
    "raw_90d": 90,  # raw measurements of a home
    "tv_home_7d": 7,  # per channel and home: longer would describe a household
    "hour_13m": 396,  # hourly sketches: 13 months, so that two same months can be compared
    "month_frozen": None,  # the report's monthly rows: the pilot's end + 6 months, deleted by hand with a report
    "state": 396,  # what the collector concluded or observed of itself
}
"""Days that each class is kept; None: until the pilot's end + 6 months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value of a measurement. Absent in a record means not measured, never 0."""

    name: str
    type: FieldType
    unit: str  # UCUM-like: "us", "ms", "1" for a count or a ratio, "" for text
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One kind of record. ``leaves`` says whether it may leave the probe at all; ``writer`` who may write it."""

    name: str
    meaning: str
    target: str  # what the record's target names; "" where there is only one
    source: str  # the standard or the text that defines it
    retention: Retention
    fields: tuple[Field, ...]
    leaves: bool = True
    writer: Writer = "probe"

    def field(self, name: str) -> Field | None:
        """The field of that name, or None."""
        return next((f for f in self.fields if f.name == name), None)


def _f(name: str, kind: FieldType, unit: str, meaning: str) -> Field:
    return Field(name=name, type=kind, unit=unit, meaning=meaning)


_AF = _f("af", "int", "1", "address family used: 4 or 6")

_REACH = Measurement(
    name="reach",
    meaning="Round trips to one rung of the path over a window (60 s): how many were lost, and how long they took.",
    target="label of the rung: gw, op, any1, …; never an address",
    source="RFC 792, RFC 4443 (echo); RFC 8762 (STAMP); RFC 2681 (round-trip delay)",
    retention="raw_90d",
    fields=(
        _f("method", "str", "", "icmp or stamp"),
        _AF,
        _f("window_s", "float", "s", "length of the window, on the monotonic clock"),
        _f("sent", "int", "1", "echoes sent in the window"),
        _f("lost", "int", "1", "echoes without an answer in 2 s"),
        _f("burst_max", "int", "1", "longest run of consecutive lost echoes"),
        _f("min_us", "int", "us", "shortest round trip"),
        _f("p50_us", "int", "us", "median round trip (nearest rank)"),
        _f("p95_us", "int", "us", "95th percentile of the round trip (nearest rank)"),
        _f("p99_us", "int", "us", "99th percentile of the round trip (nearest rank)"),
        _f("jitter_us", "int", "us", "mean absolute difference of consecutive round trips"),
        _f(
            "kernel_stamped",
            "int",
            "1",
            "round trips whose arrival the kernel stamped; the others were timed in the agent",
        ),
        _f("fwd_lost", "int", "1", "STAMP: lost on the way to the reflector, by its own sequence numbers"),
        _f("rev_lost", "int", "1", "STAMP: lost on the way back"),
    ),
)

_DNS = Measurement(
    name="dns",
    meaning="One DNS question over UDP and the answer of one resolver.",
    target="LABEL of the resolver (box, operator, public, …) for the fixed name, LABEL.unique for the random one",
    source="RFC 1035; RFC 6891",
    retention="raw_90d",
    fields=(
        _AF,
        _f("query_ms", "float", "ms", "from sending the question to the first valid answer"),
        _f("rcode", "int", "1", "response code of the answer, RFC 1035 § 4.1.1; kept also when it is an error"),
        _f("tc", "bool", "1", "the answer was truncated (TC)"),
        _f("answers", "int", "1", "records in the answer section"),
        _f(
            "name_kind",
            "str",
            "",
            "cached (a fixed name of ours) or unique (a random label under it, so that no cache answers)",
        ),
    ),
)

_WEB = Measurement(
    name="web",
    meaning="One GET of a small object over HTTPS (or HTTP), split into its steps.",
    target="label of the object: target, public, …",
    source="RFC 9110; steps as in W3C Resource Timing",
    retention="raw_90d",
    fields=(
        _AF,
        _f("dns_ms", "float", "ms", "resolving the name; absent where the URL holds an address"),
        _f("connect_ms", "float", "ms", "TCP handshake"),
        _f("tls_ms", "float", "ms", "TLS handshake; absent over plain HTTP"),
        _f("ttfb_ms", "float", "ms", "from the request's last byte to the answer's first"),
        _f("total_ms", "float", "ms", "all of it, to the body's last byte"),
        _f("status", "int", "1", "HTTP status code"),
        _f("bytes", "int", "By", "bytes of the body"),
    ),
)

_HOST = Measurement(
    name="host",
    meaning="Health of the probe itself.",
    target="",
    source="proc(5); Raspberry Pi firmware's get_throttled",
    retention="raw_90d",
    fields=(
        _f("cpu_pct", "float", "%", "CPU used by the whole machine since the last record, all cores together = 100"),
        _f("mem_available_kb", "int", "kB", "memory available without swapping"),
        _f("mem_total_kb", "int", "kB", "memory in all"),
        _f("agent_rss_kb", "int", "kB", "resident memory of the agent"),
        _f("agent_cpu_pct", "float", "%", "CPU used by the agent since the last record, one core = 100"),
        _f("temp_c", "float", "Cel", "temperature of the processor"),
        _f("under_voltage", "bool", "1", "supply voltage too low now; absent: not known on this machine"),
        _f("throttled", "bool", "1", "processor slowed down now; absent: not known on this machine"),
        _f("disk_free_kb", "int", "kB", "free on the file system that holds the state"),
        _f("uptime_s", "int", "s", "since the machine started"),
        _f("agent_uptime_s", "int", "s", "since the agent started"),
        _f("rows_waiting", "int", "1", "records and messages not yet acknowledged by the collector"),
        _f("clock_ok", "bool", "1", "the clock is synchronised; absent: not known"),
    ),
)

_OUTAGE = Measurement(
    name="outage",
    meaning="The line was out, seen by the ladder of echoes: one record when it is over, and one after its first 30 s.",
    target="",
    source="Balise; docs/design/090-the-ladder.md",
    retention="raw_90d",
    fields=(
        _f("id", "str", "", "the outage: its two records have the same"),
        _f("state", "str", "", "open or ended"),
        _f("kind", "str", "", "microcut: 5 s to less than 30 s seen down; outage: 30 s and more"),
        _f("class", "str", "", "where it broke first: lan.link, home.box_or_lan, access.wan, access.line, …"),
        _f("course", "str", "", "each class that the evidence named, in order, joined by >"),
        _f("evidence", "str", "", "which rungs answered when the class was first known: gateway=yes isp=no …"),
        _f("dur_s", "float", "s", "from the first lost echo to the first answered one; absent: it cannot be known"),
        _f("down_s", "float", "s", "of it, seen down"),
        _f("unknown_s", "float", "s", "of it, nothing was watched: the agent was off; absent: it cannot be known"),
        _f("restarts", "int", "1", "how often the agent began again within it"),
        _f("start_ms", "int", "ms", "when the first lost echo was sent, UTC; absent: the clock was not known"),
        _f("end_ms", "int", "ms", "when the first answered echo was sent, UTC; absent: the clock was not known"),
    ),
)

_AVAIL = Measurement(
    name="avail",
    meaning="How much of an hour the line was watched, and how much of that it was down; the rest of it is unknown.",
    target="",
    source="Balise; docs/design/090-the-ladder.md",
    retention="raw_90d",
    fields=(
        _f("hour", "int", "h", "hours since 1970 in UTC; absent: the clock was not known"),
        _f("observed_s", "float", "s", "seconds of the hour in which echoes were sent and judged"),
        _f("down_s", "float", "s", "of these, seconds within outages of 30 s and more"),
        _f("microcut_s", "float", "s", "of these, seconds within cuts of 5 s to less than 30 s"),
    ),
)

_ALIVE = Measurement(
    name="alive",
    meaning="The agent was on and watched the line: where no mark is, the line's state is unknown, never down.",
    target="",
    source="Balise; docs/design/090-the-ladder.md",
    retention="raw_90d",
    fields=(
        _f("boot", "str", "", "start of the machine, as in the envelope"),
        _f("state", "str", "", "of the line now: up, down, unsure"),
        _f("class", "str", "", "where it breaks; absent: it does not"),
    ),
)

_PATH = Measurement(
    name="path",
    meaning="The way out, traced once a day on one flow: its length, and its first router beyond the gateway.",
    target="",
    source="RFC 792, RFC 4443 (time exceeded)",
    retention="raw_90d",
    fields=(
        _AF,
        _f("hops", "int", "1", "hop at which the peer answered; absent: it did not within 12"),
        _f("isp1_hop", "int", "1", "hop of the first router after the gateway that answers echoes too"),
        _f("isp1_ip_hash", "str", "", "hash of its address: the same router has the same, in every home"),
        _f("changed", "bool", "1", "it is another router than at the last trace; absent: there was none"),
    ),
)

_LINK = Measurement(
    name="link",
    meaning="The probe's own link to the box: once an hour, and when carrier or speed change.",
    target="",
    source="Linux, Documentation/ABI/testing/sysfs-class-net",
    retention="raw_90d",
    fields=(
        _f("carrier", "bool", "1", "the cable is plugged in at both ends, or the radio is associated"),
        _f("speed_bps", "int", "bit/s", "negotiated speed; absent: the driver does not tell"),
        _f("duplex", "str", "", "full or half; absent: the driver does not tell"),
        _f("errors", "int", "1", "frames in error both ways since the interface came up"),
    ),
)


def _each_way(*fields: tuple[str, FieldType, str, str]) -> tuple[Field, ...]:
    """Fields that a test has for each direction it measured; ``WAY`` in a meaning is its word."""
    words = {"down": "to the probe", "up": "from the probe"}
    return tuple(
        _f(f"{way}_{name}", kind, unit, meaning.replace("WAY", word))
        for way, word in words.items()
        for name, kind, unit, meaning in fields
    )


_ROLE = _f("role", "str", "", "where the target stands: operator (inside its network) or offnet")
_RETRY_AFTER = _f("retry_after_s", "int", "s", "skipped(server_busy): when the target can be asked again")
_STATUS = _f("status", "int", "1", "failed(http_status): the target's HTTP status code")

_THROUGHPUT = Measurement(
    name="throughput",
    meaning="Bits a second of TCP payload that the line carried each way while it was filled.",
    target="LABEL.v4 or LABEL.v6 of the target: families are never mixed; LABEL where its name has no address",
    source="BEREC BoR (17) 178 (full: its shape); docs/probes/throughput.md",
    retention="raw_90d",
    fields=(
        _AF,
        _ROLE,
        _f("shape", "str", "", "light (1 + 3 s each way) or full (3 + 10 s)"),
        _f("streams", "int", "1", "TCP connections at once"),
        _f("duration_ms", "int", "ms", "window that the figures are of, each way"),
        _f("discard_ms", "int", "ms", "start of the streams that is in no figure"),
        _f(
            "limited_by", "str", "", "none, loss, probe_cpu, lan, wifi, cross_traffic or server: the worse of both ways"
        ),
        _f(
            "validity",
            "str",
            "",
            "ok, probe_overload, link_lt_contract, probe_on_wifi, cross_traffic or server_fault: only ok counts",
        ),
        _RETRY_AFTER,
        _STATUS,
        *_each_way(
            ("bps", "int", "bit/s", "TCP payload at the receiver over the window, all streams, WAY"),
            ("p5_bps", "int", "bit/s", "5th percentile of its 100 ms rates, WAY"),
            ("p95_bps", "int", "bit/s", "95th percentile of its 100 ms rates, WAY"),
            ("bytes", "int", "By", "payload in the window, WAY"),
            ("cc", "str", "", "congestion control that sent WAY"),
            ("retrans_ratio", "float", "1", "bytes sent again / bytes sent, by the sender's kernel, whole test, WAY"),
            ("min_rtt_us", "int", "us", "shortest round trip that the sender's kernel saw, WAY"),
            ("srtt_us", "int", "us", "smoothed round trip at the end, median of the streams, WAY"),
            ("share_min", "float", "1", "part of the bytes that the slowest stream carried, WAY"),
            ("share_max", "float", "1", "part of the bytes that the fastest stream carried, WAY"),
            ("counter", "str", "", "what was counted: segments (received x MSS) or bytes (in order), WAY"),
            ("counter_gap_ratio", "float", "1", "how far the two counters differ over the whole test, WAY"),
            ("iface_bytes", "int", "By", "all bytes of the interface WAY; absent: it is a router's, or not known"),
        ),
    ),
)

_LOADED = Measurement(
    name="loaded",
    meaning="How long round trips took before the line was filled, and while it was, each way, under cubic.",
    target="as throughput",
    source="RFC 2681; draft-ietf-ippm-responsiveness (rpm, whose method is not the draft's)",
    retention="raw_90d",
    fields=(
        _AF,
        _ROLE,
        _f("idle_p50_us", "int", "us", "median round trip in the second before"),
        _f("rpm_method", "str", "", "how round trips were measured: icmp or stamp; rpm is over the 95 % fastest"),
        _RETRY_AFTER,
        _STATUS,
        *_each_way(
            ("loaded_p50_us", "int", "us", "median round trip under load WAY"),
            ("loaded_p95_us", "int", "us", "95th percentile of the round trip under load WAY"),
            ("delta_us", "int", "us", "loaded p50 - idle p50, load WAY"),
            ("rpm", "int", "/min", "round trips a minute under load WAY: 60 s / mean of the 95 % fastest"),
            ("lost", "int", "1", "echoes under load WAY that did not come back"),
            ("cc", "str", "", "congestion control of the load WAY"),
        ),
    ),
)

_GAP = Measurement(
    name="gap",
    meaning="Messages that the probe had to drop or found damaged: an honest hole, delivered like any record.",
    target="",
    source="Balise",
    retention="raw_90d",
    fields=(
        _f("stream", "str", "", "stream of the missing messages"),
        _f("from_seq", "int", "1", "first missing message"),
        _f("to_seq", "int", "1", "last missing message"),
        _f("messages", "int", "1", "messages missing in that range"),
        _f("records", "int", "1", "records missing that were not yet in a message"),
        _f("why", "str", "", "size_bound, age_bound, damaged_row, damaged_file, erased"),
        _f("last_c", "str", "", "chain value of to_seq, so that the chain can be followed over the hole"),
    ),
)

_AGENT_EVENT = Measurement(
    name="agent_event",
    meaning="Something that the agent did or met and that explains its records.",
    target="what happened: started, stopped, clock_set, clock_stepped, config_applied, config_refused, probe_broken, …",
    source="Balise",
    retention="raw_90d",
    fields=(
        _f("detail", "str", "", "one line in English for the operator; never a value of the tenant"),
        _f("version", "str", "", "version of the agent, or of the configuration concerned"),
        _f("step_ms", "int", "ms", "clock_stepped, clock_set: by how much wall time moved"),
    ),
)

_COMMAND = Measurement(
    name="command",
    meaning="Progress of one command of the operator.",
    target="",
    source="Balise",
    retention="raw_90d",
    fields=(
        _f("id", "str", "", "identifier of the command"),
        _f("kind", "str", "", "test, replay, pause, resume"),
        _f("state", "str", "", "accepted, running, done, refused, expired"),
        _f("detail", "str", "", "one line in English for the operator"),
    ),
)

_PRESENCE = Measurement(
    name="presence",
    meaning="The probe's session with the broker began or ended, as the collector saw it.",
    target="",
    source="MQTT v5 § 3.1.2.5 (Will Message)",
    retention="raw_90d",
    writer="collector",
    fields=(
        _f("online", "bool", "1", "true: session open; false: its last will was published"),
        _f("agent", "str", "", "version of the agent"),
        _f("boot", "str", "", "boot id of the probe's machine"),
        _f("config", "int", "1", "version of the configuration that the probe applies"),
    ),
)

_PLATFORM = Measurement(
    name="platform",
    meaning="The collector's own health, once a minute: what /metrics says, kept.",
    target="part of the collector: ingest, journal, a consumer's name",
    source="Balise",
    retention="state",
    writer="collector",
    fields=(
        _f("messages", "int", "1", "messages committed since the collector started"),
        _f("duplicates", "int", "1", "messages received again and absorbed, since the collector started"),
        _f("dead_letters", "int", "1", "dead letters kept now"),
        _f("orphans", "int", "1", "messages kept apart for want of a home or a date"),
        _f("rows", "int", "1", "rows in the journal now"),
        _f("bytes", "int", "By", "size of the journal's files"),
        _f("lag_rows", "int", "1", "rows that the consumer has still to read"),
        _f("disk_free_kb", "int", "kB", "free on the file system that holds the data"),
        _f("broker_ok", "bool", "1", "the session with the broker is open"),
    ),
)

CATALOGUE: dict[str, Measurement] = {
    m.name: m
    for m in (
        _REACH,
        _OUTAGE,
        _AVAIL,
        _ALIVE,
        _PATH,
        _LINK,
        _DNS,
        _WEB,
        _HOST,
        _THROUGHPUT,
        _LOADED,
        _GAP,
        _AGENT_EVENT,
        _COMMAND,
        _PRESENCE,
        _PLATFORM,
    )
}
"""Every measurement by name."""
