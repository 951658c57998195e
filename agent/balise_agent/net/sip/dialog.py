"""What belongs to a call once it is answered, and how are ACK and BYE written in it?

RFC 3261 §§ 12.1.2, 12.2.1.1, 13.2.2.4, 17.1.1.3. Pure.

Rule: proxies that asked to stay on the way (Record-Route) get every request of the call, the last of them first.
"""

from __future__ import annotations

from dataclasses import dataclass

from balise_agent.net.sip.message import Headers, Request, Response, cseq, value, values
from balise_agent.net.sip.uri import Uri, parse_place, parse_uri, place

MOST_ROUTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """``target``: the peer's Contact; ``routes``: the route set, the nearest proxy first, each a URI as written."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: tuple[str, ...]
    invite_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Request line, Route headers, and where to send to."""

    uri: str
    routes: tuple[str, ...]
    next_hop: Uri


def from_answer(invite: Request, answer: Response) -> Dialog | None:
    """The dialog that a 2xx to our INVITE makes; None where it lacks what one needs."""
    contact = place(answer.headers, "contact")
    numbered = cseq(invite.headers)
    call_id, local = value(invite.headers, "call-id"), value(invite.headers, "from")
    remote = value(answer.headers, "to")
    if contact is None or numbered is None or call_id is None or local is None or remote is None:
        return None
    recorded = [parse_place(text) for text in values(answer.headers, "record-route")]
    routes = [found.text for found in recorded if found is not None]
    if len(routes) != len(recorded) or len(routes) > MOST_ROUTES:
        return None
    return Dialog(
        call_id=call_id,
        local=local,
        remote=remote,
        target=contact.text,
        routes=tuple(reversed(routes)),
        invite_number=numbered[0],
    )


def route(dialog: Dialog) -> Routed | None:
    """Loose routing where the nearest proxy does it (``lr``), else strict; None: a target that is no sip URI."""
    target = parse_uri(dialog.target)
    if not dialog.routes:
        return None if target is None else Routed(uri=dialog.target, routes=(), next_hop=target)
    first = parse_uri(dialog.routes[0])
    if first is None or target is None:
        return None
    if first.param("lr") is not None:
        return Routed(uri=dialog.target, routes=dialog.routes, next_hop=first)
    return Routed(uri=dialog.routes[0], routes=(*dialog.routes[1:], dialog.target), next_hop=first)


def request(dialog: Dialog, routed: Routed, method: str, number: int, via: str) -> Request:
    """ACK (of the 2xx: INVITE's own number, a Via of its own) or another request of the call."""
    headers: Headers = (
        ("Via", via),
        ("Max-Forwards", "70"),
        *(("Route", f"<{text}>") for text in routed.routes),
        ("From", dialog.local),
        ("To", dialog.remote),
        ("Call-ID", dialog.call_id),
        ("CSeq", f"{number} {method}"),
    )
    return Request(method=method, uri=routed.uri, headers=headers)


def refused_ack(invite: Request, answer: Response) -> Request:
    """The ACK of a final answer that is no 2xx: it belongs to the INVITE's own transaction (§ 17.1.1.3)."""
    return _same_hop(invite, "ACK", value(answer.headers, "to") or "")


def cancel(invite: Request) -> Request:
    """The CANCEL of an INVITE that got a provisional answer and no final one (§ 9.1)."""
    return _same_hop(invite, "CANCEL", value(invite.headers, "to") or "")


def _same_hop(invite: Request, method: str, to: str) -> Request:
    lasting = tuple((name, value(invite.headers, name.lower()) or "") for name in ("Via", "From", "Call-ID"))
    routes = tuple(("Route", text) for text in values(invite.headers, "route"))
    number = (cseq(invite.headers) or (0, ""))[0]
    rest = (("To", to), ("CSeq", f"{number} {method}"))
    return Request(method=method, uri=invite.uri, headers=(*lasting, ("Max-Forwards", "70"), *routes, *rest))
