"""What does the end of a SIP exchange mean: ok, or whose doing?

Pure. Rule: every final answer is an outcome; the network's (none, 408, 5xx) are apart from the called one's (486, 603).
"""

from __future__ import annotations

from typing import Literal

from balise_agent.contract import OK, Outcome, failed
from balise_agent.net.sip.user_agent import Exchange

FailClass = Literal["network", "auth", "user", "request", "local"]

_REASONS_SIP = {
    401: "sip_auth",
    403: "sip_forbidden",
    404: "sip_not_found",
    407: "sip_auth",
    408: "sip_timeout",
    410: "sip_not_found",
    480: "sip_unavailable",
    484: "sip_not_found",
    486: "sip_busy",
    488: "sip_not_acceptable",
    600: "sip_busy",
    603: "sip_declined",
    604: "sip_not_found",
    606: "sip_not_acceptable",
}
_USER = frozenset({404, 410, 480, 484, 486, 487, 600, 603, 604})
_AUTH = frozenset({401, 403, 407})
_LOCAL = frozenset({"no_route", "send_failed", "packet_too_big"})


def sip_reason(code: int) -> str:
    """Of a final answer that is no 2xx."""
    if code >= 600:
        return _REASONS_SIP.get(code, "sip_declined")
    if code >= 500:
        return "sip_server_error"
    if code >= 400:
        return _REASONS_SIP.get(code, "sip_rejected")
    return "sip_redirect"


def code_of(exchange: Exchange) -> int | None:
    """The final answer's; None: there is none."""
    return None if exchange.response is None else exchange.response.code


def fail_class(code: int | None, reason: str | None) -> FailClass | None:
    """None: it did not fail."""
    if code is None:
        if reason is None:
            return None
        return "user" if reason == "no_answer_to_call" else "local" if reason in _LOCAL else "network"
    if 200 <= code < 300:
        return None if reason is None else "network"
    if code in _AUTH:
        return "auth"
    if code in _USER:
        return "user"
    return "network" if code == 408 or 500 <= code < 600 else "request"


def outcome(code: int | None, reason: str | None) -> Outcome:
    """Of an exchange that is to end with 2xx."""
    if reason is not None:
        return failed(reason)
    return OK if code is not None and 200 <= code < 300 else failed(sip_reason(code or 408))


def is_there(code: int | None) -> bool:
    """OPTIONS: a server that refuses the question has answered it; one that is overloaded or has no way on has not."""
    return code is not None and code < 500 and code != 408
