"""Which alerts are there, what wakes whom, and when does each fire?

A table. Every alert is a threshold on a state, a share or an age that the judge or the collector wrote for everything
that is expected: a series that vanishes is an age that grows, never a fault that is over, and that nothing at all comes
wakes people once. Works are not counted: the judge writes no fault for what was declared.

Burn rates are those of the SRE Workbook, ch. 5, on 99.5 % over 30 days: 14.4 times over 1 h and 10 min (not 5: the
judge writes each five minutes), 6 times over 6 h and 30 min, once over 3 d and 6 h. One dead PON is 3 to 6 % of a
thousand homes and never reaches them, hence a rule for each shared element.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from balise_collector.grafana.board import Text
from balise_collector.grafana.queries import BAD, ELEMENT, HOUR, KNOWN, PLATFORM, STATE, share

Severity = Literal["page", "ticket"]
NoData = Literal["Alerting", "KeepLast", "OK"]

BUDGET = 0.005  # 1 - 99.5 %
PRODUCT = "balise"
"""Each alert's label `product`, by which Grafana's list finds ours among others'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """One question and the one number that is made of its answer, for each of its series.

    ``window_s``: how far back it looks; it is reached when the number is greater than ``above`` and, where that is
    said, less than ``below``.
    """

    query: str
    window_s: int
    above: float
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether it is reached."""
        return value > self.above and (self.below is None or value < self.below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """``summary``: what the alert's series is called, as {{ $labels.TAG }}; ``conditions``: all must be reached;
    ``hold_s``: for how long; ``no_data``: what no answer at all means. Because nobody writes, nothing is over and none
    begins: that has an alert of its own, and would else wake people for every rule at once."""

    uid: str
    title: Text
    summary: Text
    severity: Severity
    conditions: tuple[Reduced, ...]
    hold_s: int = 0
    no_data: NoData = "KeepLast"
    board: str = "balise-fleet"
    page: str = ""

    @property
    def runbook(self) -> str:
        """Its page in docs/runbooks; those that differ in the service alone share one."""
        return f"{self.page or self.uid.removeprefix('balise-')}.md"


def _element(scope: str, *, least: int = 2) -> tuple[Reduced, ...]:
    """Any element of a kind whose last state, written every five minutes, is down, or degraded where that is enough.
    Not known (3) is no fault: a silence is none, nor are declared works."""
    query = f'SELECT last("state") FROM {ELEMENT} WHERE "target" =~ /^{scope}(:|$)/ AND $timeFilter'
    return (_between(f'{query} GROUP BY "building", "pon", "target"', least - 0.5, 2.5),)


def _here(service: str) -> tuple[Reduced, ...]:
    """A PON or building where the service is down and the internet is not."""
    query = f'SELECT last("state") FROM {ELEMENT} WHERE "target" =~ /^(pon|building):%s$/ AND $timeFilter'
    query = f'{query} GROUP BY "building", "pon"'
    return _between(query % service, 1.5, 2.5), _between(query % "internet", -0.5, 1.5)


def _between(query: str, above: float, below: float) -> Reduced:
    return Reduced(query=query, window_s=660, above=above, below=below)


def _burn(service: str, *windows: tuple[int, float]) -> tuple[Reduced, ...]:
    """``windows``: seconds, and how many times the budget is burnt."""
    query = share(BAD, f"fleet:{service}")
    return tuple(Reduced(query=query, window_s=window_s, above=times * BUDGET) for window_s, times in windows)


def _platform(field: str, above: float, part: str = "") -> tuple[Reduced, ...]:
    """What the collector wrote of itself within five minutes; it writes every minute."""
    condition = f'"target" =~ /^{part}/ AND $timeFilter' if part else "$timeFilter"
    query = f'SELECT last("{field}") FROM {PLATFORM} WHERE {condition} GROUP BY "target"'
    return (Reduced(query=query, window_s=300, above=above),)


_SERVICES = (Text("internet", "internet"), Text("télévision", "television"), Text("téléphone", "telephone"))
_SPEEDS: tuple[tuple[str, Text, Text, Severity, tuple[tuple[int, float], ...]], ...] = (
    (
        "fast",
        Text("brûlé vite", "burnt fast"),
        Text("En une heure, plus de 7 %", "More than 7 % of an hour's"),
        "page",
        ((3_600, 14.4), (600, 14.4)),
    ),
    (
        "mid",
        Text("brûlé", "burnt"),
        Text("En six heures, plus de 3 %", "More than 3 % of six hours'"),
        "page",
        ((21_600, 6.0), (1_800, 6.0)),
    ),
    (
        "slow",
        Text("brûlé lentement", "burnt slowly"),
        Text("En trois jours, plus de 0,5 %", "More than 0.5 % of three days'"),
        "ticket",
        ((259_200, 1.0), (21_600, 1.0)),
    ),
)
_BURNS = tuple(
    Alert(
        uid=f"balise-burn-{speed}-{service.en}",
        title=Text(f"Budget de qualité {how.fr} : {service.fr}", f"Quality budget {how.en}: {service.en}"),
        summary=Text(
            f"{much.fr} du temps-logement sans {service.fr} correct.",
            f"{much.en} home time without proper {service.en}.",
        ),
        severity=severity,
        conditions=_burn(service.en, *windows),
        board="balise-slo",
        page="burn",
    )
    for service in _SERVICES
    for speed, how, much, severity, windows in _SPEEDS
)

ALERTS: tuple[Alert, ...] = (
    Alert(
        uid="balise-pon-down",
        title=Text("PON coupé", "PON down"),
        summary=Text(
            "Le PON {{ $labels.pon }} ne répond plus : tous ses logements en un seul incident.",
            "PON {{ $labels.pon }} is silent: all its homes in one incident.",
        ),
        severity="page",
        conditions=_element("pon:internet"),
        board="balise-buildings",
    ),
    Alert(
        uid="balise-building-down",
        title=Text("Immeuble coupé", "Building down"),
        summary=Text("L'immeuble {{ $labels.building }} ne répond plus.", "Building {{ $labels.building }} is silent."),
        severity="page",
        conditions=_element("building:internet"),
        board="balise-buildings",
    ),
    Alert(
        uid="balise-core-down",
        title=Text("OLT ou cœur de réseau coupé", "OLT or core down"),
        summary=Text("{{ $labels.target }} ne répond plus.", "{{ $labels.target }} is silent."),
        severity="page",
        conditions=_element("(olt|card|core)"),
    ),
    Alert(
        uid="balise-headend",
        title=Text("Tête de réseau TV en panne", "TV head-end fault"),
        summary=Text("Toutes les chaînes, ou presque, sont mauvaises partout.", "All channels are bad everywhere."),
        severity="page",
        conditions=_element("headend"),
        board="balise-tv",
    ),
    Alert(
        uid="balise-channel",
        title=Text("Chaîne en panne", "Channel fault"),
        summary=Text(
            "{{ $labels.target }} est mauvaise dans plusieurs logements depuis un quart d'heure.",
            "{{ $labels.target }} has been bad in several homes for a quarter of an hour.",
        ),
        severity="ticket",
        conditions=_element("channel", least=1),
        hold_s=900,
        board="balise-tv",
    ),
    Alert(
        uid="balise-registrar",
        title=Text("Téléphone : enregistrement en panne", "Telephone: registrar fault"),
        summary=Text(
            "Les lignes ne s'enregistrent plus : les appels d'urgence ne passent pas.",
            "Lines do not register: emergency calls do not pass.",
        ),
        severity="page",
        conditions=_element("registrar"),
        board="balise-telephone",
    ),
    Alert(
        uid="balise-lines",
        title=Text("Téléphone : lignes non enregistrées", "Telephone: lines not registered"),
        summary=Text(
            "Plus de 2 % des lignes ne peuvent pas appeler les secours, alors qu'internet va bien.",
            "More than 2 % of the lines cannot call for help, though the internet is well.",
        ),
        severity="page",
        # An outage of the internet has a page of its own: it takes the telephone with it.
        conditions=(
            Reduced(query=share(BAD, "fleet:telephone"), window_s=660, above=0.02),
            Reduced(query=share(f"-1 * {BAD}", "fleet:internet"), window_s=660, above=-0.02),
        ),
        hold_s=300,
        board="balise-telephone",
    ),
    Alert(
        uid="balise-tv-here",
        title=Text("Télévision coupée dans un immeuble ou un PON", "Television down in a building or a PON"),
        summary=Text(
            "Immeuble {{ $labels.building }}, PON {{ $labels.pon }} : plus de télévision, alors qu'internet va bien.",
            "Building {{ $labels.building }}, PON {{ $labels.pon }}: no television, though the internet is well.",
        ),
        severity="ticket",
        conditions=_here("television"),
        board="balise-tv",
    ),
    Alert(
        uid="balise-voice-here",
        title=Text("Téléphone coupé dans un immeuble ou un PON", "Telephone down in a building or a PON"),
        summary=Text(
            "Immeuble {{ $labels.building }}, PON {{ $labels.pon }} : plus d'appels, ni vers les secours, alors"
            " qu'internet va bien.",
            "Building {{ $labels.building }}, PON {{ $labels.pon }}: no calls, not for help either, though the internet"
            " is well.",
        ),
        severity="page",
        conditions=_here("telephone"),
        board="balise-telephone",
    ),
    Alert(
        uid="balise-names",
        title=Text("Noms (DNS) ou cible en panne", "Names (DNS) or target fault"),
        summary=Text("{{ $labels.target }} échoue partout.", "{{ $labels.target }} fails everywhere."),
        severity="ticket",
        conditions=_element("(dns|target|upstream)", least=1),
    ),
    *_BURNS,
    Alert(
        uid="balise-silent-probes",
        title=Text("Sondes muettes", "Silent probes"),
        summary=Text("Plus de 5 % des sondes ne parlent plus.", "More than 5 % of the probes are silent."),
        severity="ticket",
        conditions=(Reduced(query=share(f"1 - {KNOWN}", "fleet:probe"), window_s=900, above=0.05),),
        hold_s=900,
        board="balise-probes",
    ),
    Alert(
        uid="balise-clocks",
        title=Text("Horloge des sondes", "Clocks of the probes"),
        summary=Text(
            "La sonde du logement {{ $labels.home }} n'est pas à l'heure : ses dates ne valent rien.",
            "The probe of home {{ $labels.home }} has the wrong time: its dates are worth nothing.",
        ),
        severity="ticket",
        conditions=(
            Reduced(
                query='SELECT "state" FROM (SELECT last("state") AS "state", last("evidence") AS "evidence" FROM'
                f' {STATE} WHERE "target" = \'probe\' AND $timeFilter GROUP BY "home") WHERE "evidence" = \'clock\''
                ' GROUP BY "home"',
                window_s=660,
                above=0.5,
            ),
        ),
        hold_s=900,
        no_data="OK",  # no clock is wrong; that nothing is written at all is the judge's own alert
        board="balise-probes",
    ),
    Alert(
        uid="balise-latency",
        title=Text("Latence du parc", "Latency of the fleet"),
        summary=Text(
            "Le 95e centile de l'aller-retour vers l'opérateur a dépassé 100 ms sur la dernière heure close.",
            "The 95th percentile of the round trip to the operator was above 100 ms in the last hour that is over.",
        ),
        severity="ticket",
        # An hour is written ten minutes after its end.
        conditions=(
            Reduced(
                query=f'SELECT last("p95") FROM {HOUR} WHERE "target" = \'fleet:reach.p95_us.op\' AND $timeFilter',
                window_s=9_000,
                above=100_000,
            ),
        ),
        no_data="OK",  # an hour that is not written tells no latency
    ),
    Alert(
        uid="balise-collector-late",
        title=Text("Collecteur en retard", "Collector late"),
        summary=Text(
            "{{ $labels.target }} a plus de cinq minutes de retard.", "{{ $labels.target }} is over five minutes late."
        ),
        severity="page",
        conditions=_platform("lag_s", 300),
        board="balise-platform",
    ),
    Alert(
        uid="balise-judge-mute",
        title=Text("Évaluateur muet", "Judge mute"),
        summary=Text(
            "Le juge n'écrit plus : plus rien ne peut alerter.", "The judge is silent: nothing else can alert."
        ),
        severity="page",
        conditions=_platform("lag_s", 120, "judge:"),
        no_data="Alerting",
        board="balise-platform",
    ),
    Alert(
        uid="balise-quarantine",
        title=Text("Messages en quarantaine", "Messages in quarantine"),
        summary=Text("Plus de 100 messages ne peuvent pas être lus.", "More than 100 messages cannot be read."),
        severity="ticket",
        conditions=_platform("dead_letters", 100),
        board="balise-platform",
    ),
    Alert(
        uid="balise-disk",
        title=Text("Disque du collecteur presque plein", "Collector's disk nearly full"),
        summary=Text("Il reste moins de 5 Go.", "Less than 5 GB are left."),
        severity="ticket",
        conditions=(
            Reduced(
                query=f'SELECT -1 * last("disk_free_kb") FROM {PLATFORM} WHERE $timeFilter GROUP BY "target"',
                window_s=300,
                above=-5_000_000,
            ),
        ),
        board="balise-platform",
    ),
)
"""Every alert; each has its page in docs/runbooks."""
