"""Where does a SIP URI lead, and what stands in a header that holds one?

RFC 3261 §§ 19.1, 20.10, 25.1; only `sip:`. Pure.

Rule: decoding is total: any text gives a value or None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from balise_agent.net.sip.message import Headers, values

Params = tuple[tuple[str, str], ...]

_URI = re.compile(
    r"sip:(?:(?P<user>[^@<>\s;?]{0,256})@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<params>(?:;[^?<>\s]{0,1024})?)(?:\?[^<>\s]{0,1024})?",
    re.IGNORECASE | re.ASCII,
)
_ANGLE = re.compile(r'(?:"(?:[^"\\]|\\.){0,256}"|[^<"]{0,256})\s*<([^<>]{1,1024})>\s*((?:;.{0,1024})?)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri:
    """``port`` 0: none is said. ``host``: of IPv6 without its brackets."""

    user: str = ""
    host: str
    port: int = 0
    params: Params = ()

    def param(self, name: str) -> str | None:
        """The parameter's value, empty where it has none; None: it is not there."""
        return _of(self.params, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A name-addr: the URI as it was written and as it was read, and the header's own parameters."""

    text: str
    uri: Uri
    params: Params

    def param(self, name: str) -> str | None:
        """As `Uri.param`, of the header."""
        return _of(self.params, name)


def parse_uri(text: str) -> Uri | None:
    """None where it is no sip URI."""
    found = _URI.fullmatch(text.strip())
    if found is None or int(found["port"] or 0) > 65_535:
        return None
    user = (found["user"] or "").partition(":")[0]
    host = found["host"].strip("[]")
    return Uri(user=user, host=host, port=int(found["port"] or 0), params=_params(found["params"]))


def parse_place(text: str) -> Place | None:
    """``"Name" <sip:…>;tag=…``, or a bare URI, whose parameters are then the header's (RFC 3261 § 20)."""
    found = _ANGLE.fullmatch(text.strip())
    if found is not None:
        inner, rest = found[1].strip(), found[2]
    else:
        inner, _, rest = text.strip().partition(";")
    uri = parse_uri(inner)
    return None if uri is None else Place(text=inner, uri=uri, params=_params(rest))


def place(headers: Headers, name: str) -> Place | None:
    """What the first value of a header says."""
    found = values(headers, name)
    return parse_place(found[0]) if found else None


def bracketed(host: str) -> str:
    """A host as it stands in a URI: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(uri: Uri, default: int = 5060) -> tuple[str, int]:
    """Where a request to that URI goes, before any name is looked up."""
    return uri.host, uri.port or default


def _params(text: str) -> Params:
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return tuple((name.strip().lower(), told.strip().strip('"')) for name, _, told in pairs)


def _of(params: Params, name: str) -> str | None:
    return next((told for key, told in params if key == name), None)
