"""What is measured of the way out: is it there, where does it break, how does it answer?"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, field

AF = field("af", "int", "1", "address family used: 4 or 6")

REACH = Measurement(
    name="reach",
    meaning="Round trips to one rung of the path over a window (60 s): how many were lost, and how long they took.",
    target="label of the rung: gw, op, any1, …; never an address",
    source="RFC 792, RFC 4443 (echo); RFC 8762 (STAMP); RFC 2681 (round-trip delay)",
    retention="raw_90d",
    fields=(
        field("method", "str", "", "icmp or stamp"),
        AF,
        field("window_s", "float", "s", "length of the window, on the monotonic clock"),
        field("sent", "int", "1", "echoes sent in the window"),
        field("lost", "int", "1", "echoes without an answer in 2 s"),
        field("burst_max", "int", "1", "longest run of consecutive lost echoes"),
        field("min_us", "int", "us", "shortest round trip"),
        field("p50_us", "int", "us", "median round trip (nearest rank)"),
        field("p95_us", "int", "us", "95th percentile of the round trip (nearest rank)"),
        field("p99_us", "int", "us", "99th percentile of the round trip (nearest rank)"),
        field("jitter_us", "int", "us", "mean absolute difference of consecutive round trips"),
        field(
            "kernel_stamped",
            "int",
            "1",
            "round trips whose arrival the kernel stamped; the others were timed in the agent",
        ),
        field("fwd_lost", "int", "1", "STAMP: lost on the way to the reflector, by its own sequence numbers"),
        field("rev_lost", "int", "1", "STAMP: lost on the way back"),
    ),
)

OUTAGE = Measurement(
    name="outage",
    meaning="The line was out, seen by the ladder of echoes: one record when it is over, and one after its first 30 s.",
    target="",
    source="Balise; docs/design/090-the-ladder.md",
    retention="raw_90d",
    fields=(
        field("id", "str", "", "the outage: its two records have the same"),
        field("state", "str", "", "open or ended"),
        field("kind", "str", "", "microcut: 5 s to less than 30 s seen down; outage: 30 s and more"),
        field("class", "str", "", "where it broke first: lan.link, home.box_or_lan, access.wan, access.line, …"),
        field("course", "str", "", "each class that the evidence named, in order, joined by >"),
        field("evidence", "str", "", "which rungs answered when the class was first known: gateway=yes isp=no …"),
        field("dur_s", "float", "s", "from the first lost echo to the first answered one; absent: it cannot be known"),
        field("down_s", "float", "s", "of it, seen down"),
        field("unknown_s", "float", "s", "of it, nothing was watched: the agent was off; absent: it cannot be known"),
        field("restarts", "int", "1", "how often the agent began again within it"),
        field("start_ms", "int", "ms", "when the first lost echo was sent, UTC; absent: the clock was not known"),
        field("end_ms", "int", "ms", "when the first answered echo was sent, UTC; absent: the clock was not known"),
    ),
)

AVAIL = Measurement(
    name="avail",
    meaning="How much of an hour the line was watched, and how much of that it was down; the rest of it is unknown.",
    target="",
    source="Balise; docs/design/090-the-ladder.md",
    retention="raw_90d",
    fields=(
        field("hour", "int", "h", "hours since 1970 in UTC; absent: the clock was not known"),
        field("observed_s", "float", "s", "seconds of the hour in which echoes were sent and judged"),
        field("down_s", "float", "s", "of these, seconds within outages of 30 s and more"),
        field("microcut_s", "float", "s", "of these, seconds within cuts of 5 s to less than 30 s"),
    ),
)

ALIVE = Measurement(
    name="alive",
    meaning="The agent was on and watched the line: where no mark is, the line's state is unknown, never down.",
    target="",
    source="Balise; docs/design/090-the-ladder.md",
    retention="raw_90d",
    fields=(
        field("boot", "str", "", "start of the machine, as in the envelope"),
        field("state", "str", "", "of the line now: up, down, unsure"),
        field("class", "str", "", "where it breaks; absent: it does not"),
    ),
)

PATH = Measurement(
    name="path",
    meaning="The way out, traced once a day on one flow: its length, and its first router beyond the gateway.",
    target="",
    source="RFC 792, RFC 4443 (time exceeded)",
    retention="raw_90d",
    fields=(
        AF,
        field("hops", "int", "1", "hop at which the peer answered; absent: it did not within 12"),
        field("isp1_hop", "int", "1", "hop of the first router after the gateway that answers echoes too"),
        field("isp1_ip_hash", "str", "", "hash of its address: the same router has the same, in every home"),
        field("changed", "bool", "1", "it is another router than at the last trace; absent: there was none"),
    ),
)

LINK = Measurement(
    name="link",
    meaning="The probe's own link to the box: once an hour, and when carrier or speed change.",
    target="",
    source="Linux, Documentation/ABI/testing/sysfs-class-net",
    retention="raw_90d",
    fields=(
        field("carrier", "bool", "1", "the cable is plugged in at both ends, or the radio is associated"),
        field("speed_bps", "int", "bit/s", "negotiated speed; absent: the driver does not tell"),
        field("duplex", "str", "", "full or half; absent: the driver does not tell"),
        field("errors", "int", "1", "frames in error both ways since the interface came up"),
    ),
)

DNS = Measurement(
    name="dns",
    meaning="One DNS question over UDP and the answer of one resolver.",
    target="LABEL of the resolver (box, operator, public, …) for the fixed name, LABEL.unique for the random one",
    source="RFC 1035; RFC 6891",
    retention="raw_90d",
    fields=(
        AF,
        field("query_ms", "float", "ms", "from sending the question to the first valid answer"),
        field("rcode", "int", "1", "response code of the answer, RFC 1035 § 4.1.1; kept also when it is an error"),
        field("tc", "bool", "1", "the answer was truncated (TC)"),
        field("answers", "int", "1", "records in the answer section"),
        field(
            "name_kind",
            "str",
            "",
            "cached (a fixed name of ours) or unique (a random label under it, so that no cache answers)",
        ),
    ),
)

WEB = Measurement(
    name="web",
    meaning="One GET of a small object over HTTPS (or HTTP), split into its steps.",
    target="label of the object: target, public, …",
    source="RFC 9110; steps as in W3C Resource Timing",
    retention="raw_90d",
    fields=(
        AF,
        field("dns_ms", "float", "ms", "resolving the name; absent where the URL holds an address"),
        field("connect_ms", "float", "ms", "TCP handshake"),
        field("tls_ms", "float", "ms", "TLS handshake; absent over plain HTTP"),
        field("ttfb_ms", "float", "ms", "from the request's last byte to the answer's first"),
        field("total_ms", "float", "ms", "all of it, to the body's last byte"),
        field("status", "int", "1", "HTTP status code"),
        field("bytes", "int", "By", "bytes of the body"),
    ),
)

MEASUREMENTS = (REACH, OUTAGE, AVAIL, ALIVE, PATH, LINK, DNS, WEB)
