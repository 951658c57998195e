"""Is a table of settings from outside (TOML, JSON) valid, and if not, what are all its faults?

A settings class is a frozen dataclass whose fields are declared here; `build` makes one from a table, or says every
fault with its path, the value and what is allowed. Direct construction is not checked: only outside input is doubted.

Rule 1: unknown keys are refused, so that a misspelt one is not silently a default.
Rule 2: tables of one list that have a ``label`` have different ones: a label names a series, so it is no address.
Rule 3: a secret's value is in no message, whatever is wrong with it.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MOST_TABLES = 64
"""In one list: far above any plan, and it bounds what a configuration can make the agent do."""

REQUIRED: Any = dataclasses.MISSING
"""The default of a field that has none: a table without it is refused."""

_RULE = "rule"
_SHOWN_CHARS = 80
_MOST_SHOWN = 2**63  # Python refuses to print an integer of more than 4,300 digits


class Secret:
    """A text that is shown as ``***`` everywhere but where `reveal` is called."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written away")


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one field takes. ``allowed`` ends the sentence "<value> is not …"."""

    kind: typing.Literal["number", "flag", "text", "secret"]
    allowed: str
    low: float = 0
    high: float = 0
    pattern: re.Pattern[str] = re.compile(".*", re.DOTALL)
    check: Callable[[str], bool] | None = None


def number(default: float | None = REQUIRED, *, low: float, high: float, unit: str = "") -> Any:
    """A number of ``low`` to ``high``; whole where the field is annotated int."""
    allowed = f"within {_digits(low)}-{_digits(high)} {unit}".rstrip()
    return _field(default, _Rule(kind="number", allowed=allowed, low=low, high=high))


def flag(default: bool | None = REQUIRED) -> Any:
    """True or false."""
    return _field(default, _Rule(kind="flag", allowed="true or false"))


def choice(default: str | None = REQUIRED, allowed: tuple[str, ...] = ()) -> Any:
    """One of a few words."""
    pattern = re.compile("|".join(map(re.escape, allowed)))
    return _field(default, _Rule(kind="text", allowed=f"one of {', '.join(allowed)}", pattern=pattern))


def text(
    default: str | None = REQUIRED, *, pattern: str, allowed: str, check: Callable[[str], bool] | None = None
) -> Any:
    """A text that matches ``pattern`` as a whole; ``allowed`` says in words what does: "a host name or an address".

    ``check``: what a pattern cannot say of it, asked once the pattern fits.
    """
    return _field(default, _Rule(kind="text", allowed=allowed, pattern=re.compile(pattern), check=check))


def series_label(*, dots: bool = True) -> Any:
    """What names a series: 40 characters, which leaves room for a suffix of the probe's own; ``dots``: within it."""
    letters, named = (r"a-z0-9_.-", "a-z, 0-9, _ . and -") if dots else (r"a-z0-9_-", "a-z, 0-9, _ and -")
    no_address = r"(?![0-9]+(\.[0-9]+){3}$)"  # one with colons has no letter that is allowed
    allowed = f"a label of {named}, 40 characters at most, and no address"
    return text(pattern=rf"{no_address}[a-z0-9][{letters}]{{0,39}}", allowed=allowed)


def secret(default: Secret | None = None) -> Any:
    """A text that is never shown (`Secret`)."""
    return _field(default, _Rule(kind="secret", allowed="a text of 1 to 256 characters"))


def build(cls: type[T], raw: Mapping[str, Any], path: str) -> tuple[T | None, list[str]]:
    """A ``cls`` from a table, or None and every fault of it: "reach.interval_s: 0 is not within 1-3600 s"."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    known = ", ".join(fields)
    faults = [f"{_join(path, _shown_key(k))}: unknown key; known are {known}" for k in raw if k not in fields]
    given: dict[str, Any] = {}
    for name, field in fields.items():
        where = _join(path, name)
        if name in raw:
            given[name], wrong = _value(field, hints[name], raw[name], where)
            faults += wrong
        elif field.default is REQUIRED and field.default_factory is REQUIRED:
            faults.append(f"{where}: missing")
    return (None if faults else cls(**given)), faults


def as_table(settings: object) -> dict[str, Any]:
    """The table that `build` would make ``settings`` from; what is None is left out, a `Secret` stays one."""
    values = ((f.name, getattr(settings, f.name)) for f in dataclasses.fields(settings))  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values if value is not None}


def _digits(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _field(default: Any, rule: _Rule) -> Any:
    return dataclasses.field(default=default, metadata={_RULE: rule})


def _value(field: dataclasses.Field[Any], hint: Any, value: object, path: str) -> tuple[Any, list[str]]:
    inner, optional = _without_none(hint)
    if value is None and optional:
        return None, []
    if typing.get_origin(inner) is tuple:
        return _tables(typing.get_args(inner)[0], value, path)
    if dataclasses.is_dataclass(inner):
        return _table(inner, value, path)
    rule = field.metadata.get(_RULE)
    if rule is None:
        raise TypeError(f"{path}: its field is not declared with balise_agent.settings")
    return _scalar(rule, inner, value, path)


def _without_none(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType):
        rest = [h for h in typing.get_args(hint) if h is not types.NoneType]
        return rest[0], len(rest) < len(typing.get_args(hint))
    return hint, False


def _table(cls: Any, value: object, path: str) -> tuple[Any, list[str]]:
    if not isinstance(value, Mapping):
        return None, [f"{path}: {_shown(value)} is not a table"]
    return build(cls, value, path)


def _tables(cls: Any, value: object, path: str) -> tuple[Any, list[str]]:
    if not isinstance(value, list | tuple):
        return None, [f"{path}: {_shown(value)} is not a list of tables"]
    if len(value) > MOST_TABLES:
        return None, [f"{path}: {len(value)} tables are not within 0-{MOST_TABLES}"]
    built = [_table(cls, row, f"{path}[{i}]") for i, row in enumerate(value)]
    faults = [fault for _, wrong in built for fault in wrong]
    seen: set[object] = set()
    for i, (row, _) in enumerate(built):
        label = getattr(row, "label", None)
        if label is not None and label in seen:
            faults.append(f"{path}[{i}].label: {_shown(label)} is there twice")
        seen.add(label)
    return tuple(row for row, _ in built), faults


def _scalar(rule: _Rule, hint: Any, value: object, path: str) -> tuple[Any, list[str]]:
    if rule.kind == "number":
        return _number(rule, hint, value, path)
    if rule.kind == "flag":
        fine: bool = isinstance(value, bool)
    elif rule.kind == "secret":
        value = Secret(value) if isinstance(value, str) else value
        fine = isinstance(value, Secret) and 1 <= len(value.reveal()) <= 256
        return value, ([] if fine else [f"{path}: *** is not {rule.allowed}"])
    else:
        fine = isinstance(value, str) and rule.pattern.fullmatch(value) is not None
        fine = fine and (rule.check is None or rule.check(value))  # type: ignore[arg-type]
    return value, ([] if fine else [f"{path}: {_shown(value)} is not {rule.allowed}"])


def _number(rule: _Rule, hint: Any, value: object, path: str) -> tuple[Any, list[str]]:
    kind = "a whole number" if hint is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if hint is int else int | float):
        return value, [f"{path}: {_shown(value)} is not {kind} {rule.allowed}"]
    if not rule.low <= value <= rule.high:  # NaN is not within anything
        return value, [f"{path}: {_shown(value)} is not {rule.allowed}"]
    return hint(value), []


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return as_table(value) if dataclasses.is_dataclass(value) else value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown_key(key: object) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,48}", key) else _shown(key)


def _shown(value: object) -> str:
    """A foreign value as one short line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > _MOST_SHOWN:
        return "a huge number"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    shown = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return shown if len(shown) <= _SHOWN_CHARS else shown[: _SHOWN_CHARS - 1] + "…"
