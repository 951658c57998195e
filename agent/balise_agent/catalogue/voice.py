"""What is measured of the telephone: is the probe's account registered, does its server answer, how does a call sound?

Rule 1: account and numbers are the probe's own, by configuration; the household's line and its calls never appear.
Rule 2: a figure of one direction stands here only where that direction's receiver counted; an echo's is `rt`.
"""

from __future__ import annotations

from balise_agent.catalogue.rate import GATE
from balise_agent.catalogue.schema import Field, Measurement, field

_AF = field("af", "int", "1", "address family used: 4 or 6")
_TRANSPORT = field("transport", "str", "", "udp or tcp, as SIP went")

SIGNAL = Measurement(
    name="voip_signal",
    meaning="What a SIP server answered to REGISTER or to OPTIONS: no call is made.",
    target="LABEL.register of an account, LABEL.options of an account or of a peer of ours",
    source="RFC 3261 §§ 10, 11; RFC 6076 (registration request delay)",
    retention="raw_90d",
    fields=(
        _AF,
        _TRANSPORT,
        field("register_ok", "bool", "1", "the registrar answered 2xx; absent: this was no REGISTER"),
        field("register_ms", "float", "ms", "from the REGISTER that carried credentials to its final answer"),
        field("register_code", "int", "1", "status code of that answer; absent: none came"),
        field("register_expires_s", "int", "s", "how long the registrar keeps the registration"),
        field("options_ok", "bool", "1", "any final answer came below 500, 408 apart: somebody is there"),
        field("options_rtt_ms", "float", "ms", "from the last transmission of OPTIONS to its final answer"),
        field("options_code", "int", "1", "status code of that answer; absent: none came"),
        field("tx_count", "int", "1", "transmissions of the request: above 1, packets were lost or the peer was slow"),
        field("fail_class", "str", "", "network, auth, user, request or local: docs/probes/voice.md; absent: it is ok"),
    ),
)


def _call() -> tuple[Field, ...]:
    return (
        _AF,
        _TRANSPORT,
        field("setup_ok", "bool", "1", "the call was answered with 2xx"),
        field("code", "int", "1", "status code of the final answer to INVITE; absent: none came"),
        field("fail_class", "str", "", "network, auth, user, request or local: docs/probes/voice.md; absent: it is ok"),
        field("tx_count", "int", "1", "transmissions of the INVITE that was answered"),
        field("pdd_ms", "float", "ms", "from INVITE to the first of 180, 183 and 2xx: post-dial delay"),
        field("answer_ms", "float", "ms", "from INVITE to 2xx"),
        field("talk_s", "float", "s", "how long voice was sent"),
        field("sent", "int", "1", "voice packets sent"),
        field("received", "int", "1", "voice packets that came back or from the peer, each once"),
        field("far_received", "int", "1", "packets of ours that the far end says it received (reflector, RTCP)"),
        field("loss_rt_pct", "float", "%", "lost on both ways together, of an echo"),
        field("loss_down_pct", "float", "%", "lost to the probe; absent: the far end did not say what it sent"),
        field("loss_up_pct", "float", "%", "lost from the probe; absent: the far end did not count"),
        field("jitter_ms", "float", "ms", "interarrival jitter of what came, RFC 3550 § 6.4.1, at the end"),
        field("burst_r", "float", "1", "burst ratio: mean run of losses x (1 - loss); 1: random"),
        field("discard_pct", "float", "%", "came later than a jitter buffer of 60 ms waits"),
        field("rtt_ms", "float", "ms", "median round trip of voice packets, or of RTCP"),
        field("rtt_by", "str", "", "echo or rtcp"),
        field("r_factor", "float", "1", "E-model rating; docs/probes/voice.md says what is assumed"),
        field("mos_cqe", "float", "1", "the rating as estimated conversational quality, 1-4.5"),
        field("model", "str", "", "what was assumed: codec, concealment, buffer, and which loss and delay went in"),
        field("one_way_audio", "bool", "1", "the call was answered, and voice went one way only or not at all"),
        field("sender_late_ms", "float", "ms", "largest delay of our own pacing; above 10 the call is not valid"),
        field("valid", "bool", "1", "false: the probe itself disturbed it; its voice figures do not count"),
        *GATE[:2],
    )


CALL = Measurement(
    name="voip_call",
    meaning="One test call through the operator's telephony, to a number that only tests call.",
    target="label of the number",
    source="RFC 3261; RFC 3550; ITU-T G.107, G.113; ETSI EG 202 057-2 (set-up time)",
    retention="raw_90d",
    fields=_call(),
)

PATH = Measurement(
    name="voip_path",
    meaning="One test call to a reflector of ours: the way that voice takes over IP, not the operator's telephony.",
    target="label of the reflector",
    source="as voip_call",
    retention="raw_90d",
    fields=_call(),
)

MEASUREMENTS = (SIGNAL, CALL, PATH)
