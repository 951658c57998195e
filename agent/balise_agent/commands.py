"""May this command of the operator be done, and how far is it?

Rule 1: the same id twice is done once; the caller keeps the ids that were begun (`remember`), across restarts too.
Rule 2: what cannot be told to be in time is refused: an old command must not start a test at three in the morning.
Rule 3: without the home's consent nothing is done that measures or could begin to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from balise_agent.contract import MAX_INT, MAX_TEXT, Command, Record
from balise_agent.signature import is_signed

MOST_IDS = 256
MOST_PAUSE_S = 86_400
"""A pause ends by itself within a day, whoever forgets to."""

SHAPES = ("light", "full")
"""Of a test that fills the line."""

Progress = Literal["accepted", "running", "done", "refused", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """To be done now, once; its id is to be remembered first."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Not to be done: bad_signature, clock_unknown, expired, no_consent, unknown_probe, bad_args."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Begun before: nothing is to be done or said."""


def accept(
    command: Command,
    now_ms: int | None,
    done_ids: Collection[str],
    *,
    probes: Collection[str],
    probe: str = "",
    command_key: str | None = None,
    consent: bool = True,
) -> Accepted | Refused | Duplicate:
    """What to do with a command.

    ``now_ms``: UTC, None where the clock is not known; ``probes``: names that may be tested; ``probe``,
    ``command_key``: this probe's id, and the key that must have signed, if any; ``consent``: the home agrees to being
    measured.
    """
    if command_key is not None and not is_signed(command, probe, command_key):
        return Refused(reason="bad_signature")
    if command.id in done_ids:
        return Duplicate()
    if now_ms is None:
        return Refused(reason="clock_unknown")
    if now_ms > command.expires_ms:
        return Refused(reason="expired")
    if not consent and command.kind != "replay":
        return Refused(reason="no_consent")
    if command.kind == "test" and isinstance(name := command.args.get("probe"), str) and name not in probes:
        return Refused(reason="unknown_probe")
    needed, allowed = _ARGS[command.kind], _ARGS[command.kind] | _MAY_HAVE.get(command.kind, {})
    if not needed.keys() <= command.args.keys() <= allowed.keys():
        return Refused(reason="bad_args")
    fine = all(allowed[name](value) for name, value in command.args.items())
    return Accepted(command=command) if fine else Refused(reason="bad_args")


def remember(done_ids: tuple[str, ...], command: Command) -> tuple[str, ...]:
    """The ids with this one added, the oldest forgotten above `MOST_IDS`."""
    return (*done_ids, command.id)[-MOST_IDS:]


def progress(command: Command, state: Progress, bt_ms: int, detail: str = "") -> Record:
    """How far a command is, as a record."""
    fields: dict[str, str] = {"id": command.id, "kind": command.kind, "state": state}
    if detail:
        fields["detail"] = detail[:MAX_TEXT]
    return Record(measurement="command", bt_ms=bt_ms, fields=fields)


def refusal(command: Command, refused: Refused, bt_ms: int) -> Record:
    """A refusal as a record: expired where that is why."""
    return progress(command, "expired" if refused.reason == "expired" else "refused", bt_ms, refused.reason)


def _is_whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_MAY_HAVE: dict[str, dict[str, Callable[[Any], bool]]] = {"test": {"shape": lambda value: value in SHAPES}}
_ARGS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "test": {"probe": _is_text},
    "replay": {"stream": _is_text, "from_seq": _is_whole(1, MAX_INT)},
    "pause": {"seconds": _is_whole(1, MOST_PAUSE_S)},
    "resume": {},
}
