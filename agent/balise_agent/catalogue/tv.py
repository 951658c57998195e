"""What is measured of television? The probe watches on its own, by a plan that knows nothing of the household.

Rule 1: what is published by channel starts at the first packet. How long a join took tells whether somebody at home
watches that channel already, so joins are published once a day, over all channels together.
"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, field

_AF = field("af", "int", "1", "address family used: 4 or 6")
_ENCAP = field("encap", "str", "", "udp, rtp or hls")
_ACCESS = field("access", "str", "", "how the probe is linked: ethernet, wifi or box (it is in it); absent: not known")
_LISTENED = field("listened_s", "float", "s", "how long was listened to")
_VALID = field("valid", "bool", "1", "false: the probe itself dropped packets or its clock stepped: nothing is judged")

ZAP = Measurement(
    name="tv_zap",
    meaning="A channel was switched to: how long after its first packet could a decoder start?",
    target="id of the channel in the channel list",
    source="ISO/IEC 13818-1; ETSI TR 101 290 1.3, 1.5, 2.3; BBF TR-126 (zap time)",
    retention="tv_home_7d",
    fields=(
        _AF,
        _ENCAP,
        _ACCESS,
        field("ok", "bool", "1", "a random access point of the video came within 8 s"),
        field("zap_pat_ms", "float", "ms", "from the first packet to the first valid PAT"),
        field("zap_pmt_ms", "float", "ms", "from the first packet to the first valid PMT"),
        field("zap_pcr_ms", "float", "ms", "from the first packet to the first PCR"),
        field("zap_pes_ms", "float", "ms", "from the first packet to the first start of a video PES"),
        field("zap_rap_ms", "float", "ms", "from the first packet to the first random access point of the video"),
        field("gop_ms", "float", "ms", "mean time between random access points; absent: fewer than two came"),
    ),
)

JOIN = Measurement(
    name="tv_join",
    meaning="Joins of a day, over all channels together: from asking for a group to its first packet.",
    target="",
    source="RFC 3376 (IGMPv3), RFC 3810 (MLDv2); BBF TR-126",
    retention="raw_90d",
    fields=(
        field("n", "int", "1", "joins that a packet followed"),
        field("failed", "int", "1", "joins that no packet followed within 5 s"),
        field("zap_network_p50_ms", "float", "ms", "median time from the join to the first packet"),
        field("zap_network_p95_ms", "float", "ms", "95th percentile of it"),
        field("leave_p95_ms", "float", "ms", "95th percentile of the time from leaving a group to its last packet"),
    ),
)

WINDOW = Measurement(
    name="tv_window",
    meaning="Ten seconds of a channel from its first packet on: what was lost on the way, and is the stream sound?",
    target="id of the channel in the channel list",
    source="ETSI TR 101 290 v1.4.1; RFC 3550; RFC 4445 (MDI); RFC 3357; BBF TR-126",
    retention="tv_home_7d",
    fields=(
        _AF,
        _ENCAP,
        _ACCESS,
        _LISTENED,
        _VALID,
        field("local_drop_datagrams", "int", "1", "datagrams that the probe's own kernel dropped: never the line's"),
        field("es_ratio", "float", "1", "seconds with an error / seconds listened"),
        field("net_lost_datagrams", "int", "1", "datagrams lost on the way; the probe's own drops are not in it"),
        field("loss_method", "str", "", "how losses were counted: rtp, pcr or cc"),
        field("loss_ratio", "float", "1", "lost / expected"),
        field("loss_events", "int", "1", "runs of losses"),
        field("loss_run_max", "int", "1", "longest run, in datagrams"),
        field("reordered", "int", "1", "datagrams that came after a later one"),
        field("duplicates", "int", "1", "datagrams that came twice"),
        field("rtp_jitter_ms", "float", "ms", "interarrival jitter at the end, RFC 3550 § 6.4.1"),
        field("mdi_df_ms", "float", "ms", "largest delay factor of a second; absent: losses, or a variable rate"),
        field("mdi_mlr", "float", "1/s", "media loss rate: packets of the stream lost a second"),
        field("iat_max_ms", "float", "ms", "longest gap between datagrams"),
        field("pat_interval_max_ms", "float", "ms", "longest time between PAT sections (1.3.a)"),
        field("pmt_interval_max_ms", "float", "ms", "longest time between PMT sections (1.5.a)"),
        field("cc_err", "int", "1", "continuity counter errors over all PIDs, from the network alone (1.4)"),
        field("pid_missing", "int", "1", "PIDs that a PMT names and that did not come for 5 s (1.6)"),
        field("sync_loss", "int", "1", "losses of synchronisation (1.1)"),
        field("sync_err", "int", "1", "packets without the sync byte (1.2)"),
        field("tei", "int", "1", "packets that say of themselves that they are damaged (2.1)"),
        field("psi_crc_err", "int", "1", "sections with a wrong CRC (2.2)"),
        field("psi_truncated", "int", "1", "sections that ended too early"),
        field("pcr_interval_max_ms", "float", "ms", "longest time between PCRs (2.3a)"),
        field("pcr_gt40", "int", "1", "intervals of PCRs above 40 ms"),
        field("pcr_gt100", "int", "1", "intervals of PCRs above 100 ms"),
        field("pcr_disc_err", "int", "1", "jumps of the PCR that are not signalled and that no loss explains (2.3b)"),
        field("pcr_arrival_jitter_pp_ms", "float", "ms", "arrival less PCR, less its trend: peak to peak"),
        field("clock_drift_ppm", "float", "ppm", "trend of arrival less PCR"),
        field("pts_interval_max_ms", "float", "ms", "longest time between PTS of the video (2.5)"),
        field("scrambled_ratio", "float", "1", "video packets that are scrambled / all of them"),
        field("ts_bps", "int", "bit/s", "rate of the whole stream"),
        field("video_bps", "int", "bit/s", "rate of the video"),
        field("null_ratio", "float", "1", "null packets / all packets"),
        field("freeze_suspected", "bool", "1", "the video's rate fell far below its own: a suspicion, no proof"),
        field("not_judged", "str", "", "indicators whose period is longer than the sample, joined by a comma"),
    ),
)

HLS = Measurement(
    name="tv_hls",
    meaning="A channel over HTTP: do playlist and segments come in time to be played?",
    target="id of the channel in the channel list",
    source="RFC 8216; docs/probes/hls.md",
    retention="tv_home_7d",
    fields=(
        _AF,
        _ACCESS,
        _LISTENED,
        field("playlist_ok", "bool", "1", "the playlist was read"),
        field("playlist_ttfb_ms", "float", "ms", "from asking for it to its first byte"),
        field("stale_s", "float", "s", "longest time in which the playlist did not move on"),
        field("seq_jumps", "int", "1", "media sequence numbers that were missing"),
        field("discontinuities", "int", "1", "EXT-X-DISCONTINUITY seen"),
        field("http_errors", "int", "1", "answers other than 200 and 206"),
        field("variant_bps", "int", "bit/s", "BANDWIDTH of the variant that was read"),
        field("segments", "int", "1", "segments that were read"),
        field("segment_dl_ratio_max", "float", "1", "time to read a segment / its duration, the largest"),
        field("stall_s", "float", "s", "time in which a player would have stood still"),
        field("stall_count", "int", "1", "how often"),
        field("startup_ms", "float", "ms", "from asking for the playlist until a player could start"),
        field("cc_err", "int", "1", "continuity counter errors within segments"),
        field("psi_crc_err", "int", "1", "sections with a wrong CRC within segments"),
    ),
)

MEASUREMENTS = (ZAP, JOIN, WINDOW, HLS)
