"""What did a call leave whose agent was killed in the middle of it?

Pure, but for its file, which is there as long as a call is under way.

Rule 1: the far end is not left waiting: what is needed for a BYE (RFC 3261 § 15: the dialog) is on disk before the call
is acknowledged. One that had no answer yet needs none: a 200 that nobody acknowledges is ended by who sent it
(§ 13.3.1.4).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from balise_agent.durable_file import replace as replace_file
from balise_agent.net.sip.message import Request, Response, encode, parse

FILE = "voice_call.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """``peer``: label of the account or path that it went by; ``target``: of its record; ``invite``, ``answer``: the
    dialog, once it was answered."""

    measurement: str
    target: str
    peer: str
    invite: Request | None = None
    answer: Response | None = None

    def answered(self, invite: Request, answer: Response) -> Left:
        """It stands now."""
        return replace(self, invite=invite, answer=answer)


def load(path: Path) -> Left | None:
    """None: no call was left, or its file is damaged."""
    try:
        told = json.loads(path.read_text("utf-8"))
        invite, answer = (parse(str(told[name]).encode("latin-1")) for name in ("invite", "answer"))
        left = Left(measurement=str(told["measurement"]), target=str(told["target"]), peer=str(told["peer"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if isinstance(invite, Request) and isinstance(answer, Response):
        return left.answered(invite, answer)
    return left


def save(path: Path, left: Left) -> None:
    """OSError: it could not be kept."""
    told = {"measurement": left.measurement, "target": left.target, "peer": left.peer}
    for name, message in (("invite", left.invite), ("answer", left.answer)):
        told[name] = "" if message is None else encode(message).decode("latin-1")
    replace_file(path, json.dumps(told).encode())
