"""What do others say: the operator's OLT, its tickets, its declared works?

JSON lines, one object each: `{"source": "olt", "ts_ms": ..., "what": "los", "scope": "home", "code": "h..."}`.

Rule 1: evidence is data like any row: it comes late, in any order, and twice; the same again changes nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from balise_collector.judge.topology import Scope

Source = Literal["olt", "ticket", "works"]
What = Literal["los", "dying_gasp", "clear", "ticket", "works"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """One statement about an element.

    ``what``: los: no light from it; dying_gasp: its power went; clear: it is well again; ticket, works: declared.
    ``until_ms``: works and tickets only, None: it goes on. ``ref``: the other's own number of it, a ticket's say.
    """

    source: Source
    ts_ms: int
    what: What
    scope: Scope
    code: str
    until_ms: int | None = None
    ref: str = ""


class EvidenceError(ValueError):
    """A line that is no evidence: which, and why."""


_decode = msgspec.json.Decoder(Evidence).decode


def read(line: str | bytes) -> Evidence:
    """One line. EvidenceError: it is none."""
    try:
        found = _decode(line)
    except msgspec.MsgspecError as exc:
        raise EvidenceError(str(exc)) from exc
    if not found.code or found.ts_ms < 0 or (found.until_ms is not None and found.until_ms <= found.ts_ms):
        raise EvidenceError("code is empty, a date below 0, or an end that is not after its start")
    return found


def key(evidence: Evidence) -> tuple[str, int, str, str, str, str]:
    """What makes two of them the same."""
    return (evidence.source, evidence.ts_ms, evidence.what, evidence.scope, evidence.code, evidence.ref)
