"""What is measured of the line while a test fills it?"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, each_way, field

AF = field("af", "int", "1", "address family used: 4 or 6")
ROLE = field("role", "str", "", "where the target stands: operator (inside its network) or offnet")
_RETRYAFTER = field("retry_after_s", "int", "s", "skipped(server_busy): when the target can be asked again")
STATUS = field("status", "int", "1", "failed(http_status): the target's HTTP status code")
GATE = (
    field("gate", "str", "", "idle: the line was not in use; unknown: counters did not tell; absent: nobody looked"),
    field("gate_by", "str", "", "box, wan (the agent lives in the box), rtt (round trips hint at it)"),
    field("cause", "str", "", "plan, campaign or demand; absent: by hand on the probe"),
)

THROUGHPUT = Measurement(
    name="throughput",
    meaning="Bits a second of TCP payload that the line carried each way while it was filled.",
    target="LABEL.v4 or LABEL.v6 of the target: families are never mixed; LABEL where its name has no address",
    source="BEREC BoR (17) 178 (full: its shape); docs/probes/throughput.md",
    retention="raw_90d",
    fields=(
        AF,
        ROLE,
        field("shape", "str", "", "light (1 + 3 s each way) or full (3 + 10 s)"),
        field("streams", "int", "1", "TCP connections at once"),
        field("duration_ms", "int", "ms", "window that the figures are of, each way"),
        field("discard_ms", "int", "ms", "start of the streams that is in no figure"),
        field(
            "limited_by", "str", "", "none, loss, probe_cpu, lan, wifi, cross_traffic or server: the worse of both ways"
        ),
        field(
            "validity",
            "str",
            "",
            "ok, probe_overload, link_lt_contract, probe_on_wifi, cross_traffic or server_fault: only ok counts",
        ),
        _RETRYAFTER,
        STATUS,
        *GATE,
        *each_way(
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

LOADED = Measurement(
    name="loaded",
    meaning="How long round trips took before the line was filled, and while it was, each way, under cubic.",
    target="as throughput",
    source="RFC 2681; draft-ietf-ippm-responsiveness (rpm, whose method is not the draft's)",
    retention="raw_90d",
    fields=(
        AF,
        ROLE,
        field("idle_p50_us", "int", "us", "median round trip in the second before"),
        field("rpm_method", "str", "", "how round trips were measured: icmp or stamp; rpm is over the 95 % fastest"),
        _RETRYAFTER,
        STATUS,
        *GATE,
        *each_way(
            ("loaded_p50_us", "int", "us", "median round trip under load WAY"),
            ("loaded_p95_us", "int", "us", "95th percentile of the round trip under load WAY"),
            ("delta_us", "int", "us", "loaded p50 - idle p50, load WAY"),
            ("rpm", "int", "/min", "round trips a minute under load WAY: 60 s / mean of the 95 % fastest"),
            ("lost", "int", "1", "echoes under load WAY that did not come back"),
            ("cc", "str", "", "congestion control of the load WAY"),
        ),
    ),
)

UDP_CAPACITY = Measurement(
    name="udp_capacity",
    meaning="Bits a second of IP packets that came when more was sent than the line carries, and what a line that is"
    " not full loses: it tells a slow line from a lossy one.",
    target="as throughput",
    source="RFC 9097 (its idea; the search is ours); docs/probes/udp_capacity.md",
    retention="raw_90d",
    fields=(
        AF,
        ROLE,
        field("down_bps", "int", "bit/s", "IP bits received while more was sent, down; absent: it was never full"),
        field("driven_bps", "int", "bit/s", "IP bits that the target was asked to send meanwhile"),
        field("probed_bps", "int", "bit/s", "IP bits at which loss was counted: 90 % of what the line carried, down"),
        field("loss_ratio", "float", "1", "packets lost at 90 % / packets sent then, down"),
        field("packets", "int", "1", "packets sent at 90 %, of which loss_ratio is"),
        field("reordered", "int", "1", "of these, arrived behind a later one"),
        field(
            "up_bps", "int", "bit/s", "IP bits received by the target while more was sent; absent: it was never full"
        ),
        field("up_driven_bps", "int", "bit/s", "IP bits that the probe sent meanwhile"),
        field("up_probed_bps", "int", "bit/s", "IP bits at which loss was counted: 90 % of what the line carried, up"),
        field("up_loss_ratio", "float", "1", "packets lost at 90 % / packets sent then, up"),
        field("up_packets", "int", "1", "packets sent at 90 %, of which up_loss_ratio is"),
        field("up_reordered", "int", "1", "of these, arrived behind a later one"),
        field("limited_by", "str", "", "none, wifi, lan, probe_cpu or server"),
        field("validity", "str", "", "as throughput"),
        _RETRYAFTER,
        STATUS,
        *GATE,
    ),
)

SPEEDTEST = Measurement(
    name="speedtest",
    meaning="What speedtest-cli says of the line. Indicative: it under-reads fast lines; no figure of a contract.",
    target="as throughput",
    source="speedtest-cli 2.1.3; docs/probes/speedtest.md",
    retention="raw_90d",
    fields=(
        AF,
        ROLE,
        field("label", "str", "", "indicative, always"),
        field("engine", "str", "", "program and version"),
        field("down_bps", "int", "bit/s", "all bytes / all time, slow start in it, down"),
        field("up_bps", "int", "bit/s", "bytes handed to the socket / all time, up: not what arrived"),
        field("ping_us", "int", "us", "its round trip: a connection and a request, halved"),
        _RETRYAFTER,
        STATUS,
        *GATE,
    ),
)

MEASUREMENTS = (THROUGHPUT, LOADED, UDP_CAPACITY, SPEEDTEST)
