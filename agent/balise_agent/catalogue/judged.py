"""What does the collector conclude: of each home and service, of shared faults, of hours and of months?

Rule 1: these rows are derived and can be made again: the same key says the same thing, later or corrected.
Rule 2: they are stored with `collector` as their probe, `collector.CODE` where they are of one home, building or PON,
and with those of their tags that are not these as their target, by the tags' names in order, joined by a colon.
"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, field

HOME_STATE = Measurement(
    name="home_state",
    meaning="What the judge believes of a home and a service: on change and each 5 min, for every expected home.",
    target="service: internet, television, telephone, probe",
    source="Balise; docs/judge.md",
    retention="state",
    writer="collector",
    fields=(
        field("state", "int", "1", "0 ok, 1 degraded, 2 down, 3 unknown: silence and a stale fact are unknown"),
        field("since_ms", "int", "ms", "since when it is so, UTC"),
        field("age_s", "float", "s", "age of the newest measurement that says so; absent: there is none"),
        field("coverage", "float", "1", "share of the hour before in which the probe measured"),
        field("contract_bps", "int", "bit/s", "internet alone: contracted rate, down; absent: not known"),
        field("confidence", "str", "", "sure, probable"),
        field("evidence", "str", "", "what it is concluded from: a record with its reason, silence, an incident"),
        field("cause", "str", "", "what it comes from, where that is known; as incident's cause"),
        field("incident", "str", "", "id of the incident that explains it; absent: none does"),
    ),
)

INCIDENT = Measurement(
    name="incident",
    meaning="One fault, on the smallest shared element that explains the homes it hit: on opening, change and close.",
    target="kind:scope; kind: silence, line, core, dns, target, tv, voice, slow, loss, platform, …; scope: pon.CODE, …",
    source="Balise; docs/judge.md",
    retention="state",
    writer="collector",
    fields=(
        field("id", "str", "", "the incident: all its rows have the same"),
        field("state", "str", "", "suspected, open, recovering, closed, reviewed"),
        field("element", "str", "", "kind of what broke: home, building, pon, card, olt, core, dns, target, …"),
        field("code", "str", "", "which one, by the directory's code"),
        field("part", "bool", "1", "true: only a part of it, the homes are listed with the incident"),
        field("homes", "int", "1", "expected homes on that element"),
        field("measured", "int", "1", "of them, measured when it began"),
        field("unmeasured", "int", "1", "of them, not measured: nothing is said of these"),
        field("hit", "int", "1", "of the measured, hit so far"),
        field("since_ms", "int", "ms", "when it began, UTC"),
        field("until_ms", "int", "ms", "when it was over, UTC; absent: it is not"),
        field("cause", "str", "", "power, fibre, olt, box, home_fibre, core, dns, …; unknown: nothing tells"),
        field("confidence", "str", "", "of place and cause: sure, probable, undecided"),
        field("works", "str", "", "code of the declared works that cover it; absent: none do"),
        field("parent", "str", "", "id of the incident that explains this one too; absent: none does"),
        field("paged", "bool", "1", "it was told while it lasted; a fault that only late rows show never is"),
        field("evidence", "str", "", "the strongest evidence, in a line"),
    ),
)

ELEMENT_STATE = Measurement(
    name="element_state",
    meaning="What the judge believes of what homes share: on change and each 5 min, for everything that is expected.",
    target="pon:SERVICE, building:SERVICE (which one is in its tag), fleet:SERVICE; else element:CODE: olt, card, "
    "core, dns, upstream, target, headend, channel, registrar",
    source="Balise; docs/judge.md",
    retention="state",
    writer="collector",
    fields=(
        field("state", "int", "1", "0 ok, 1 a part of it or degraded, 2 down (an open incident says so), 3 unknown"),
        field("homes", "int", "1", "expected homes behind it; for the service probe those that have one"),
        field("known", "int", "1", "of them, whose state of that service is known now"),
        field("degraded", "int", "1", "of the known, degraded"),
        field("down", "int", "1", "of the known, down, outside declared works"),
    ),
)

ROLLUP_HOUR = Measurement(
    name="rollup_hour",
    meaning="An hour of one series over a home, a building, a PON or the fleet, from merged sketches of 1 %.",
    target="scope:series; scope: home, building, pon (which one is in its tag), fleet; series: measurement.field or "
    "measurement.field.target, or a ratio to the contract such as throughput.down_ratio",
    source="DDSketch (Masson, Rim, Lee 2019), relative error 1 %; docs/design/140-quality.md",
    retention="hour_13m",
    writer="collector",
    fields=(
        field("p5", "float", "1", "5th percentile, in the unit of the series' field"),
        field("p10", "float", "1", "10th percentile, in the unit of the series' field"),
        field("p50", "float", "1", "median, in the unit of the series' field"),
        field("p95", "float", "1", "95th percentile, in the unit of the series' field"),
        field("p99", "float", "1", "99th percentile, in the unit of the series' field"),
        field("n", "int", "1", "values that count"),
        field("n_invalid", "int", "1", "values left out for their validity"),
        field("n_failed", "int", "1", "measurements that failed: they are no values"),
        field("homes", "int", "1", "homes that have at least one value in it"),
        field("coverage", "float", "1", "values / values expected by the plan, at most 1"),
    ),
)

CHANNEL_HOUR = Measurement(
    name="channel_hour",
    meaning="An hour of one television channel over all homes together: what is left of it after seven days.",
    target="id of the channel in the channel list",
    source="DDSketch, relative error 1 %; docs/design/140-quality.md",
    retention="hour_13m",
    writer="collector",
    fields=(
        field("n", "int", "1", "samples that count, failed ones too"),
        field("n_good", "int", "1", "of them, those without a bad second"),
        field("n_failed", "int", "1", "of them, those in which nothing came"),
        field("n_invalid", "int", "1", "samples left out: the probe's own doing"),
        field("error_s", "float", "s", "seconds with an error; over HTTP, in which a player stood still"),
        field("listened_s", "float", "s", "seconds that were listened to"),
        field("homes", "int", "1", "homes with a sample of it"),
        field("coverage", "float", "1", "homes with a sample of it / homes with a probe"),
        field("zap_n", "int", "1", "zaps that reached a random access point"),
        field("zap_p50_ms", "float", "ms", "median from the first packet to the first random access point"),
        field("zap_p95_ms", "float", "ms", "95th percentile of it"),
        field("zap_sketch", "str", "", "its sketch: version|below 0|zeros|above 0, each as bucket:count"),
    ),
)

CHANNEL_MONTH = Measurement(
    name="channel_month",
    meaning="One television channel over one civil month and all homes, from its hours; frozen when the month is over.",
    target="id of the channel in the channel list",
    source="method QOS-1 § 4; docs/design/140-quality.md",
    retention="month_frozen",
    writer="collector",
    fields=(
        field("month", "int", "1", "the civil month of Europe/Paris, as year x 100 + month"),
        field("good_ratio", "float", "1", "samples without a bad second / samples; absent: too few"),
        field("good_low", "float", "1", "lower end of its 95 % interval, of the month's days drawn again"),
        field("good_high", "float", "1", "upper end of it"),
        field("error_ratio", "float", "1", "seconds with an error / seconds listened to"),
        field("zap_p50_ms", "float", "ms", "median from the first packet to the first random access point"),
        field("zap_p50_low_ms", "float", "ms", "lower end of its 95 % interval, of the month's days drawn again"),
        field("zap_p50_high_ms", "float", "ms", "upper end of it"),
        field("zap_p95_ms", "float", "ms", "95th percentile"),
        field("n", "int", "1", "samples that count, failed ones too"),
        field("n_failed", "int", "1", "of them, those in which nothing came"),
        field("n_invalid", "int", "1", "samples left out: the probe's own doing"),
        field("zap_n", "int", "1", "zaps that reached a random access point"),
        field("days", "int", "1", "civil days with a sample"),
        field("zap_days", "int", "1", "civil days with a zap"),
        field("homes_most", "int", "1", "homes with a sample of it, in the hour that had most"),
        field("coverage", "float", "1", "hours with a sample / hours of the month"),
        field("method", "str", "", "version of the method, as in QOS-1"),
        field("frozen", "bool", "1", "true: the month is over and this row does not change any more"),
    ),
)

SLO = Measurement(
    name="slo",
    meaning="How long a service was good in an hour, over a home, a building, a PON or the fleet, in home-seconds.",
    target="scope:service; scope: home, building, pon (which one is in its tag), fleet",
    source="Balise; docs/judge.md",
    retention="hour_13m",
    writer="collector",
    fields=(
        field("good_s", "float", "s", "ok or degraded"),
        field("degraded_s", "float", "s", "of these, degraded"),
        field("down_s", "float", "s", "down, outside declared works"),
        field("works_s", "float", "s", "down or degraded within declared works: counted apart"),
        field("unknown_s", "float", "s", "neither: silence, a stale fact, a blind platform"),
        field("total_s", "float", "s", "good, down, works and unknown together"),
    ),
)

MONTH_INDICATOR = Measurement(
    name="month_indicator",
    meaning="One indicator of one home over one civil month, frozen when the month is over.",
    target="indicator",
    source="method QOS-1; docs/design/140-quality.md",
    retention="month_frozen",
    writer="collector",
    fields=(
        field("month", "int", "1", "the civil month of Europe/Paris, as year x 100 + month"),
        field("value", "float", "1", "the figure, in the indicator's unit; absent: too few values to publish one"),
        field("unit", "str", "", "the indicator's unit"),
        field("contract_bps", "int", "bit/s", "contracted rate that it is held against; absent: it is against none"),
        field("n", "int", "1", "values that count"),
        field("n_invalid", "int", "1", "values left out for their validity"),
        field("n_failed", "int", "1", "measurements that failed"),
        field("n_skipped", "int", "1", "measurements that were not tried, on purpose"),
        field("validity", "str", "", "values left out by code: link_lt_contract=3 probe_on_wifi=1 …"),
        field("days", "int", "1", "civil days with at least one value that counts"),
        field("coverage", "float", "1", "values / values expected by the plan, at most 1"),
        field("method", "str", "", "version of the method, as in QOS-1"),
        field("frozen", "bool", "1", "true: the month is over and this row does not change any more"),
    ),
)

MONTH_FLEET = Measurement(
    name="month_fleet",
    meaning="One indicator of a civil month over all homes that were followed: of each one's own figure, not weighted.",
    target="indicator",
    source="method QOS-1; docs/design/140-quality.md",
    retention="month_frozen",
    writer="collector",
    fields=(
        field("month", "int", "1", "the civil month of Europe/Paris, as year x 100 + month"),
        field("p10", "float", "1", "what one home of ten does not exceed, in the unit; absent: no home has a figure"),
        field("p50", "float", "1", "the median home"),
        field("p90", "float", "1", "what nine homes of ten do not exceed"),
        field("unit", "str", "", "the indicator's unit"),
        field("n", "int", "1", "homes with a figure"),
        field("homes", "int", "1", "homes of which something came"),
        field("coverage", "float", "1", "mean of these homes' coverage"),
        field("method", "str", "", "version of the method, as in QOS-1"),
        field("frozen", "bool", "1", "true: the month is over and this row does not change any more"),
    ),
)

MEASUREMENTS = (
    *(HOME_STATE, ELEMENT_STATE, INCIDENT, ROLLUP_HOUR, CHANNEL_HOUR, CHANNEL_MONTH, SLO, MONTH_INDICATOR),
    MONTH_FLEET,
)
