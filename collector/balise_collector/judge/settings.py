"""From which figure on does the judge believe something, and why from there? Version `VERSION` of all thresholds.

Rule 1: every threshold of the judge stands here with its reason; `docs/judge.md` has them as a table.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times end in their unit; shares are of 1."""

    # How long a fact may be believed without anything newer: max(the page's value, 2.5 x the cadence).
    internet_ttl_min: int = 15  # reach comes each minute
    tv_ttl_min: int = 60  # a sample each 5 min
    tv_slow_ttl_min: int = 150  # a sample an hour at small contracts
    telephone_ttl_min: int = 120  # the last REGISTER answer is carried forward for at most 2 h
    probe_ttl_min: int = 15  # the page calls a probe silent then
    rate_ttl_min: int = 48 * 60  # throughput and latency under load
    slow_contract_bps: int = 50_000_000  # up to here one television sample an hour

    # Shared silence.
    window_s: int = 60  # the broker misses the probes of one cut within 23 s of each other; more collects strangers
    lost_after_s: int = 52  # a lost session is known 40-63 s after the cut (keep-alive 40 s): its middle
    alpha: float = 1e-10  # 1.6e9 tests a year in 1,000 homes, not independent: well below one false a year
    floor_per_day: float = 0.05  # a home goes silent of its own accord at least so often
    overdispersion: float = 1.5  # people are alike: a match ends, a storm begins
    cold_days: int = 7  # with fewer days behind it the judge does not know yet when people switch off
    cold_evening_per_min: float = 0.003  # then 30 % of homes, on 80 % of evenings, around 23 h
    hold_s: int = 25  # to the incident: the last of one cut are missed 63 s after it, 23 s after the first
    short_s: int = 90  # a probe that is back so soon restarted: an update, a reconnection
    spared: float = 0.10  # most of a group's measured homes that may be well: one on a battery, one on 4G
    recovering: float = 0.80  # of the lost are back
    quiet_s: int = 300  # and none newly lost for so long: closed

    # One home.
    home_line_s: int = 120  # an outage of one line is an incident from here on
    home_box_s: int = 300  # a box that restarts takes two to three minutes
    loop_count: int = 3  # or so often within an hour

    # Services.
    starts_per_day: float = 1 / 60  # how often one home's service fails on its own
    tv_es_ratio: float = 0.10  # a bad second in a sample of 10 s
    channel_share: float = 0.5  # of a channel's samples are bad
    channel_homes: int = 3  # of more than one building: fewer are those homes' own

    # Quality.
    lossy_window: float = 0.012  # share lost in a window of a minute: from the first of 40 echoes
    dense_share: float = 0.45  # of a home's minutes are lossy: 1.5 % lost gives 45 % of windows of 40 with a loss
    slow_rtt_us: int = 25_000  # a fibre's median to a target inside the operator's network is below 15 ms
    pon_share: float = 0.6  # of a PON's homes are bad at once
    pon_base: float = 0.1  # of homes are bad in an evening by their own use
    pon_long_base: float = 0.03  # for half an hour without a break: three homes of a small PON are not enough, four are
    pon_few_share: float = 0.2  # of a home's minutes are lossy: noise does that to one home in a hundred
    pon_few_base: float = 0.2  # and its own use to so many: nearly all of a PON have it at once, or it is not the PON's
    pon_alpha: float = 1e-6  # 144 tests a PON and day: six of six, or eight of ten

    # Rate.
    slow_share: float = 0.8  # of the contract
    bloat_us: int = 100_000  # the settled verdict: loaded p95 - idle p50
    weak_dbm: int = -72  # a radio below it loses by itself
    radio_failed: float = 0.005  # of frames given up after all repeats: a sound radio gives up hardly any
    radio_frames: int = 200  # of fewer nothing is concluded

    # The platform.
    heartbeat_s: int = 150  # its rows come each minute: two are missing
    warm_up_s: int = 180  # the reconnect storm after it
