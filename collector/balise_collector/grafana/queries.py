"""How are the judge's states and shares asked for in InfluxQL?

Rule 1: what a panel reads is bounded by design: states, shares of shared elements and hourly roll-ups; raw points only
for one home.
Rule 2: a share has its parts in one measurement, for InfluxQL cannot join.
"""

from __future__ import annotations

from balise_collector.grafana.board import Text
from balise_collector.grafana.choosing import is_chosen

STATE = '"state"."home_state"'
ELEMENT = '"state"."element_state"'
INCIDENT = '"state"."incident"'
PLATFORM = '"state"."platform"'
SLO = '"hour_13m"."slo"'
HOUR = '"hour_13m"."rollup_hour"'
MONTH = '"month_frozen"."month_indicator"'
FLEET_MONTH = '"month_frozen"."month_fleet"'

HERE = f"{is_chosen('building')} AND {is_chosen('pon')}"
FRESH = "time > now() - 11m"  # the judge writes each state at least every five minutes

# Of element_state: a count of homes every five minutes.
BAD = 'sum("down") / sum("known")'
KNOWN = 'sum("known") / sum("homes")'

# Of slo: home-seconds, hour by hour. Works are in neither.
_JUDGED = '(sum("good_s") + sum("down_s"))'
SLO_BAD = f'sum("down_s") / {_JUDGED}'
SLO_GOOD = f'sum("good_s") / {_JUDGED}'
SLO_COVERAGE = '(sum("total_s") - sum("unknown_s")) / sum("total_s")'


def share(what: str, target: str, *, where: str = "", every: str = "", by: str = "", source: str = ELEMENT) -> str:
    """A share of one scope's service. ``every``: its width ("" is all of the range); ``by``: a tag."""
    groups = ", ".join(filter(None, (f"time({every})" if every else "", f'"{by}"' if by else "")))
    condition = " AND ".join(filter(None, (f"\"target\" = '{target}'", where, "$timeFilter")))
    ending = f" GROUP BY {groups}" if groups else ""
    return f"SELECT {what} FROM {source} WHERE {condition}{ending}" + (" fill(null)" if every else "")


def now(service: str) -> tuple[tuple[str, Text], ...]:
    """How many homes of the fleet are in each state now, and how many are expected: each with its word."""
    return tuple(
        (f"SELECT {what} FROM {ELEMENT} WHERE \"target\" = 'fleet:{service}' AND {FRESH}", word)
        for what, word in (
            ('last("down")', Text("coupés", "down")),
            ('last("degraded")', Text("en partie", "in part")),
            ('last("homes") - last("known")', Text("on ne sait pas", "not known")),
            ('last("homes")', Text("attendus", "expected")),
        )
    )


def elements(scope: str, by: str, *, where: str = "", every: str = "$__interval") -> str:
    """The worst state in each interval of each shared element of a kind; of one service where ``scope`` says which."""
    whose = f"\"target\" = '{scope}'" if ":" in scope else f'"target" =~ /^{scope}(:|$)/'
    condition = " AND ".join(filter(None, (whose, where, "$timeFilter")))
    return f'SELECT max("state") FROM {ELEMENT} WHERE {condition} GROUP BY time({every}), "{by}" fill(null)'


def hourly(field: str, target: str, *, where: str = "", every: str = "1h", by: str = "") -> str:
    """A field of the hourly roll-ups of one scope's series; one hour is never averaged with another."""
    condition = " AND ".join(filter(None, (f"\"target\" = '{target}'", where, "$timeFilter")))
    group = f', "{by}"' if by else ""
    return f'SELECT last("{field}") FROM {HOUR} WHERE {condition} GROUP BY time({every}){group} fill(null)'
