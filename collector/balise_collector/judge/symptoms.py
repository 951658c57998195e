"""Which symptoms may homes have beside a cut line? Dns, upstream, target, telephone, television: one table."""

from __future__ import annotations

from dataclasses import dataclass

from balise_collector.judge import cells as c
from balise_collector.judge.incidents import Kind

OF_THE_OPERATOR = frozenset({"dns", "upstream", "target", "registrar"})
"""What all of its homes share: of two elements that explain the same, the larger one is nearer to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """``window_min``: those of one fault are seen to begin within it; ``ok``: bits that say a home is well;
    ``own_min``: from when one home's is an incident, None: never; ``causes``: by the kind of element."""

    name: str
    kind: Kind
    what: str  # what broke where everybody has it
    window_min: float
    ok: int
    own_min: int | None
    causes: dict[str, str]
    sampled: bool  # it is looked at now and then: whoever was not yet looked at is taken to have it too


BY_PLACE: dict[str, str] = {"dns": "dns", "upstream": "upstream", "operator.server": "target"}
"""An outage's class -> the symptom."""

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        name="dns",
        kind="dns",
        what="dns",
        window_min=2,
        ok=c.LINE_UP,
        own_min=30,
        causes={"": "dns"},
        sampled=False,
    ),
    Symptom(
        name="upstream",
        kind="upstream",
        what="upstream",
        window_min=2,
        ok=c.LINE_UP,
        own_min=30,
        causes={"": "upstream"},
        sampled=False,
    ),
    Symptom(
        name="target",
        kind="target",
        what="target",
        window_min=2,
        ok=c.OP_OK,
        own_min=None,
        causes={"": "target"},
        sampled=False,
    ),
    Symptom(
        name="sip",
        kind="telephone",
        what="registrar",
        window_min=15,
        ok=c.SIP_OK,
        own_min=30,
        causes={"": "registrar", "home": "path"},
        sampled=True,
    ),
    Symptom(
        name="register",
        kind="telephone",
        what="registrar",
        window_min=65,
        ok=c.TEL_OK,
        own_min=0,
        causes={"": "registrar", "home": "account"},
        sampled=True,
    ),
    Symptom(
        name="call",
        kind="telephone",
        what="voice",
        window_min=65,
        ok=c.CALL_OK,
        own_min=0,
        causes={"": "audio"},
        sampled=True,
    ),
    Symptom(
        name="tv",
        kind="tv",
        what="head_end",
        window_min=65,
        ok=c.TV_OK,
        own_min=0,
        causes={"": "head_end", "building": "multicast", "pon": "multicast", "home": "box"},
        sampled=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A home has a symptom. ``end_ms`` None: it still has; ``known_ms``: when it could be known. ``well_ms``: it was
    well just before, ``last_ms``: and still bad then; where nobody looked, the same as start and end. ``hidden``:
    another fault hid whether it went on after its end."""

    start_ms: int
    home: str
    end_ms: int | None
    known_ms: int
    well_ms: int
    last_ms: int
    hidden: bool = False
