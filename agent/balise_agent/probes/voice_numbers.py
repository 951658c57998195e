"""Whom may a test call?

Pure. The configuration's pattern and `refusal_reason` say it each in its own way: one holds a mistake of the other.

Rule 1: only a number of the configuration's own list, as it is written there; no redirect.
Rule 2: never a number that calls for help, or that could be one behind a prefix; no short code that changes a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NUMBER_PATTERN = (
    r"(?!\+?(?:00)?[0-9]{0,4}116[0-9]{3}$)"  # 116 006, 116 117 and their kind, with a country before them or not
    r"(?![09]?3(?:018|020|114|117|1177|624|919|977)$)"  # France's lines for who is in danger
    r"(?:\+[1-9][0-9]{7,14}|(?!00)(?![09][0-9]{3}$)[0-9]{4,15}|00[1-9][0-9]{7,14}"
    r"|(?!sos|emergency|police|fire|ambulance|urgence|samu|pompiers|secours)[a-z][a-z0-9._-]{0,31})"
)
NUMBER_ALLOWED = "a test number of 4 digits or more, or a name; never one that calls for help"

_FRANCE = {"15", "17", "18", "110", "112", "113", "114", "115", "116", "117", "118", "119", "191", "196", "197"}
_ELSEWHERE = {"911", "999", "000"}
_SOCIAL = {"116000", "116006", "116111", "116117"}
_IN_DANGER = {"3018", "3020", "3114", "3117", "31177", "3624", "3919", "3977"}
EMERGENCY = frozenset(_FRANCE | _ELSEWHERE | _SOCIAL | _IN_DANGER)
"""112: directive 2018/1972, art. 109; 116xxx: services of social value, decision 2007/116; 3114: suicide, 3919 and
3977: violence, 3018 and 3020: harassment of children, 3117: alarm on trains, 3624: doctors at night."""

_HELP = ("sos", "emergency", "police", "fire", "ambulance", "urgence", "samu", "pompiers", "secours")
_OUTSIDE = ("0", "9")  # a private exchange's digit for a line
_SHORTEST = 4
_SHORTEST_ABROAD = 8


def refusal_reason(number: str, allowed: Iterable[str]) -> str | None:
    """Why it is not called; None: it may be."""
    if number not in set(allowed):
        return "number_not_allowed"
    if calls_for_help(number):
        return "number_refused"
    return None


def calls_for_help(number: str) -> bool:
    """Whether it is such a number, may be one behind a prefix, or is too short to be told from one."""
    if re.fullmatch(r"[a-z][a-z0-9._-]*", number):
        return number.startswith(_HELP)
    digits = number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return True
    abroad = number.startswith("+") or digits.startswith("00")
    if abroad and len(digits.removeprefix("00")) < _SHORTEST_ABROAD:
        return True
    inner = digits[1:] if digits.startswith(_OUTSIDE) else digits
    ends = {digits, inner} | {digits.removeprefix("00")[cut:] for cut in range(1, 4) if abroad}
    return (
        len(digits) < _SHORTEST
        or (len(digits) == _SHORTEST and inner != digits)
        or bool(ends & EMERGENCY)
        or any(len(end) == 6 and end.startswith("116") for end in ends)
    )
