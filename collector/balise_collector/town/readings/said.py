"""What is one thing that a probe says?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from balise_agent.contract import Value


class Said(NamedTuple):
    """A record; its date is ``before_ms`` before the end of the minute that it is said in."""

    measurement: str
    target: str
    before_ms: int
    fields: dict[str, Value]
    kind: Literal["ok", "failed", "skipped"] = "ok"
    reason: str | None = None
