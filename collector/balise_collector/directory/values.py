"""What is a home to Balise? Values that cross the directory's edge; dates are UTC in ms since 1970.

Rule 1: no value has room for a person or an address: ids are random pseudonyms, codes are the operator's for its plant.
Rule 2: a home is a flat and its tenant together: a new tenant is a new home id, and nothing leads from one to another.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from balise_agent.contract import is_probe_id

Purpose = Literal["mesure", "aide", "evaluation"]
"""mesure: the line is measured; aide: a mediator may look; evaluation: the pilot's report may count it."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

CODE_ALLOWED = "a code of 1 to 32 of A-Z a-z 0-9 . _ - /"
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}")

ID_LENGTH = 16
"""83 random bits: none is guessed, and two of a million homes do not meet by chance."""


class DirectoryError(Exception):
    """What cannot be done with the directory, in one line for its operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a home is connected by from a date on, until its next line: PON and offer, each "" where not known."""

    from_ms: int
    pon: str = ""
    offer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """``text``: the version of the text that was agreed to. It holds from its date up to ``withdrawn_ms``, excluded."""

    purpose: Purpose
    text: str
    given_ms: int
    withdrawn_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Lines and consents in the order of their dates."""

    id: str
    building: str
    lines: tuple[Line, ...] = ()
    consents: tuple[Consent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pon:
    """``card`` and ``olt`` are "" where not known."""

    olt: str = ""
    card: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Contracted rates, as the contract states them."""

    operator: str
    down_bps: int
    up_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Homes and what they stand on, by code. ``buildings``: their district; ``olts``: their head-end; "" not known."""

    homes: Mapping[str, Home] = field(default_factory=dict)
    buildings: Mapping[str, str] = field(default_factory=dict)
    olts: Mapping[str, str] = field(default_factory=dict)
    pons: Mapping[str, Pon] = field(default_factory=dict)
    offers: Mapping[str, Offer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What it did to homes. ``kept_withdrawals``: consents that are withdrawn here, and in the file not or later."""

    added: int
    changed: int
    unchanged: int
    kept_withdrawals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A probe is at a home or at a place, the other is "", from a date up to another, excluded; None: without end."""

    probe: str
    home: str = ""
    place: str = ""
    from_ms: int
    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """``assigned``: where it is at the date that was asked for."""

    id: str
    created_ms: int
    revoked_ms: int | None = None
    assigned: Assignment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All that a probe's configuration needs to know of where it is; "" and None where not known.

    ``segment``: random label that stands for the PON. ``consents``: the purposes that hold at that date; a place needs
    none and has none.
    """

    probe: str
    home: str
    kind: Literal["home", "place"]
    building: str = ""
    pon: str = ""
    segment: str = ""
    offer: Offer | None = None
    consents: frozenset[Purpose] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """Declared works on a part of the plant, from a date up to another, excluded."""

    code: str
    scope: str
    scope_code: str
    from_ms: int
    until_ms: int


def draw_id(taken: Iterable[str] = ()) -> str:
    """A new random pseudonym of a probe, a home or a place."""
    known = set(taken)
    while True:
        drawn = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(ID_LENGTH))
        if drawn not in known:
            return drawn


def is_code(text: str) -> bool:
    """No space, so that no address is one by mistake."""
    return _CODE.fullmatch(text) is not None


def is_home_id(text: str) -> bool:
    """The same shape as a probe's id, never the same id."""
    return is_probe_id(text)
