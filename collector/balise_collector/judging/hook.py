"""Who is told of an incident, and how do they know that it was us?

One POST a change, JSON. `Balise-Signature: t=UNIX,v1=HEX`: HMAC-SHA-256 over `t`, a dot and the body, with the key that
both sides have. What is not answered with 2xx is sent again, later and later; of one incident in order.

Rule 1: opened, changed, closed; a suspicion is told to nobody, nor what works or another incident explain.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from balise_collector.judging.state import Hook, State

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
AGAIN_S = (5, 15, 60, 300, 900)  # then each quarter of an hour, for
GIVE_UP = 200  # two days, after which nobody wants to know
MIN_KEY = 16
OVER = ("closed", "reviewed")
TOLD = ("state", "element", "code", "part", "cause", "parent", "works")
"""What of an incident is worth a message when it changes."""

Send = Callable[["Target", bytes, dict[str, str]], int]


class HookError(Exception):
    """What is wrong with the webhook's settings, in a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to, and the key; its text is never shown."""

    url: str
    key: bytes

    def __repr__(self) -> str:
        return f"Target(url={self.url!r}, key=***)"


def load(path: Path) -> Target | None:
    """DATA/webhook.json: ``{"url": ..., "key_file": ...}``; None: there is none. HookError: it does not do."""
    if not path.exists():
        return None
    try:
        said = json.loads(path.read_text())
        key = Path(path.parent, said["key_file"]).read_bytes().strip()
        url = str(said["url"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise HookError(f"{path}: {exc}") from exc
    if urlsplit(url).scheme not in ("http", "https") or len(key) < MIN_KEY:
        raise HookError(f"{path}: url is http or https, the key at least {MIN_KEY} bytes")
    return Target(url=url, key=key)


def signature(key: bytes, at_s: int, body: bytes) -> str:
    """Of a body sent at that time: who replays it later is found out."""
    mac = hmac.new(key, f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"


def is_signed(key: bytes, header: str, body: bytes, now_s: int, *, within_s: int = 300) -> bool:
    """What the other side checks."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    if not parts.get("t", "").isdigit() or abs(now_s - int(parts["t"])) > within_s:
        return False
    return hmac.compare_digest(signature(key, int(parts["t"]), body), header)


def event(fields: Mapping[str, Any], before: Mapping[str, Any] | None) -> str | None:
    """opened, changed or closed; None: nobody is told, for only a count changed, or nothing was ever told."""
    state = fields["state"]
    if before is None:
        return "opened" if state == "open" and not fields.get("works") else None
    if all(fields.get(name) == before.get(name) for name in TOLD):
        return None
    return "closed" if state in OVER and before["state"] not in OVER else "changed"


def deliver(state: State, target: Target, now_ms: int, send: Send) -> int:
    """What is due; how many were taken."""
    taken = 0
    while (hook := state.due(now_ms)) is not None:
        why = _attempt(target, hook, now_ms, send)
        with state.transaction():
            if why is None:
                state.delivered(hook.n)
                taken += 1
            elif hook.tries >= GIVE_UP:
                log.error("webhook_given_up", extra={"incident": hook.id, "why": why})
                state.delivered(hook.n)
            else:
                wait_s = AGAIN_S[min(hook.tries, len(AGAIN_S) - 1)]
                state.again(hook.n, now_ms + wait_s * 1_000, why)
    return taken


def _attempt(target: Target, hook: Hook, now_ms: int, send: Send) -> str | None:
    """None: it was taken; else why not."""
    headers = {
        "Content-Type": "application/json",
        "Balise-Signature": signature(target.key, now_ms // 1_000, hook.body),
        "Balise-Delivery": str(hook.n),
    }
    try:
        status = send(target, hook.body, headers)
    except (OSError, http.client.HTTPException) as exc:
        return f"{type(exc).__name__}: {exc}"
    return None if 200 <= status < 300 else f"HTTP {status}"


def post(target: Target, body: bytes, headers: dict[str, str]) -> int:
    """One request; the status of its answer."""
    parts = urlsplit(target.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        path = parts.path or "/"
        connection.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()
