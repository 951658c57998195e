"""Is a value from outside of a shape that the contract allows?

Rule 1: every bound is stated here or in `contract.py`, never left to the interpreter: depth, length, range, finiteness.
Rule 2: text is Unicode that can be written again: half a surrogate pair is no text.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeGuard

from balise_agent.catalogue import FieldType
from balise_agent.contract import MAX_DEPTH, MAX_INT, MAX_TEXT

TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")  # 16 bytes, base64url
BOOT = re.compile(r"[A-Za-z0-9_-]{1,22}")
TARGET = re.compile(
    r"(?!\d+\.\d+\.\d+\.\d+$|.*:.*:)[a-z0-9][a-z0-9_.:-]{0,47}|"
)  # a label or nothing, never an address
REASON = re.compile(r"[a-z0-9_]{1,48}")
COMMAND_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


def dumps(value: object) -> bytes:
    """Compact JSON in UTF-8. ValueError: NaN, infinity, half a surrogate pair."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def loads(raw: bytes) -> Any:
    """Parsed JSON, or None where it is none (null itself is of no use to any caller)."""
    try:
        text = raw.decode()
        parsed = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_name_twice)
        if "\\u" in text:  # the one way by which half a surrogate pair comes through UTF-8
            dumps(parsed)
    except (ValueError, RecursionError):
        return None
    return parsed


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two values they take, and the other one would be stored unread."""
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name twice")
    return out


def shown(name: object) -> str:
    """A foreign name, safe to log: it could itself carry a value, so only a plain identifier is kept."""
    return name if is_text(name, _PLAIN_NAME) else "?"


def is_int(value: object, low: int, high: int) -> TypeGuard[int]:
    """An integer within bounds; true and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_text(value: object, pattern: re.Pattern[str]) -> TypeGuard[str]:
    """A text of that form from end to end."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def is_short(value: object) -> TypeGuard[str]:
    """One to `MAX_TEXT` printable characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def is_range(value: object, low: int, high: int) -> TypeGuard[list[int]]:
    """Two integers, the second not below the first."""
    return (
        isinstance(value, list) and len(value) == 2 and is_int(value[0], low, high) and is_int(value[1], value[0], high)
    )


def is_field(value: object, kind: FieldType) -> bool:
    """A field's value of that type; an integer will do for a float."""
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "str":
        return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
    return is_int(value, -MAX_INT, MAX_INT) if kind == "int" else _is_finite(value)


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(float(value))
    except OverflowError:  # an integer beyond 1.8e308
        return False


def is_tree(value: object, depth: int = MAX_DEPTH) -> bool:
    """Nested JSON as a configuration holds it: bounded in depth and numbers; its meaning is the reader's."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and is_tree(v, depth - 1) for k, v in value.items())
    if isinstance(value, list):
        return depth > 0 and all(is_tree(v, depth - 1) for v in value)
    if isinstance(value, str | bool | None):
        return True
    return is_field(value, "int") or (isinstance(value, float) and math.isfinite(value))
