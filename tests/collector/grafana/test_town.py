"""Does a simulated town, judged and written to InfluxDB, fill the dashboards, and does each alert fire on its fault?"""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from dataclasses import dataclass

import pytest

from balise_collector.grafana.alerts import ALERTS
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.checking import ask_all, one_home, queries_of
from balise_collector.grafana.expanding import Range
from balise_collector.grafana.wording import WORDS
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.server import Server
from tests.collector.grafana.evaluator import MINUTE_MS
from tests.collector.grafana.expecting import expect
from tests.collector.grafana.town import FAULTS, FULL, JUDGE_MUTE, LATE, REFUSED, Lived, live
from tests.collector.influx.servers import influx1, influx2

HOUR_MS = 3_600_000
# What a quiet day does not have; `ground` fills these.
MAY_BE_EMPTY = (
    "Coupures par heure / 2",
    "Réponses SIP /",
    "Sondes muettes",
    "Ce qui a échoué",
    "Temps de zapping",
    "Appels d'essai",
    "Qualité de la voix",
    "Attente avant sonnerie",
    "Attente quand la ligne est pleine",
    "Débit",
    "Lignes coupées, minutes sans secours",
    "Zappings d'essai par durée",  # a line with no slow zaps
    "Capacité en UDP",  # a town measures neither this nor television over HTTP
    "arrêts sur image",
    "si elle est en Wi-Fi",
    "Vie de la sonde",
    "Mois après mois",  # no month is over
    "Où : télévision coupée ou en partie",  # at the last moment
)


# The fault that each alert is for, and within how many minutes after its end the alert is over. Television is sampled
# now and then: what is over is known late. A burn rate looks back by hours, as does the last hour's latency.
LONG = 400
OURS = {"mute": JUDGE_MUTE, "late": LATE, "refused": REFUSED, "full": FULL}
BECAUSE = {
    "balise-pon-down": ("pon", 1),
    "balise-building-down": ("building", 1),
    "balise-core-down": ("core", 1),
    "balise-headend": ("headend", 120),
    "balise-channel": ("channel", 60),
    "balise-registrar": ("registrar", 5),
    "balise-lines": ("registrar", LONG),
    "balise-tv-here": ("tv", 60),
    "balise-names": ("dns", 5),
    "balise-silent-probes": ("pon", LONG),
    "balise-clocks": ("clock", 10),
    "balise-latency": ("full1", LONG),
    "balise-collector-late": ("late", 1),
    "balise-judge-mute": ("mute", 1),
    "balise-quarantine": ("refused", 1),
    "balise-disk": ("full", 1),
    **{alert.uid: ("pon", LONG) for alert in ALERTS if alert.page == "burn"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    server: Server
    lived: Lived


@pytest.fixture(scope="module", params=["influx1"] + (["influx2"] if influx2() else []))
def town(request: pytest.FixtureRequest) -> Town:
    database = f"t{secrets.token_hex(4)}"
    server = influx2(database) if request.param == "influx2" else influx1().server(database)
    assert server
    return Town(server=server, lived=live(server, time.time_ns() // 1_000_000, expect))


def test_a_town_with_faults_of_every_service_fills_every_panel(town: Town) -> None:
    with closing(Asking(town.server)) as asking:
        over = Range(start_ms=town.lived.end_ms - 7 * HOUR_MS, end_ms=town.lived.end_ms)
        found = list(ask_all(asking, queries_of(BOARDS), over, one_home(asking, over)))
    assert [one.why for one in found if one.outcome == "refused"] == []
    empty = [one.where for one in found if one.outcome == "empty" and not one.where.startswith("balise-platform")]
    missing = [where for where in empty if not any(name in where for name in MAY_BE_EMPTY)]
    assert not missing, "\n".join(missing)


def test_every_cause_that_was_told_has_a_word(town: Town) -> None:
    with closing(Asking(town.server)) as asking:
        (told,) = asking.all(['SELECT DISTINCT("cause") FROM "state"."incident"'])
    causes = {cause for series in told for _, cause in series["values"]}
    assert len(causes) > 3
    assert causes <= WORDS["cause"].keys()


@pytest.mark.parametrize("uid", [alert.uid for alert in ALERTS])
def test_an_alert_fires_in_the_minutes_of_what_was_told_and_in_no_other(town: Town, uid: str) -> None:
    assert town.lived.fired[uid] == town.lived.expected[uid]


def test_the_one_alert_that_no_fault_of_a_town_is_for_is_silent(town: Town) -> None:
    """No kind of fault takes the telephone of one place alone: `test_evaluator` writes what the judge would."""
    (uid,) = {alert.uid for alert in ALERTS} - BECAUSE.keys()
    assert (uid, town.lived.fired[uid]) == ("balise-voice-here", set())


@pytest.mark.parametrize("uid", BECAUSE)
def test_an_alert_has_a_fault_that_it_fires_on_and_is_silent_before_and_after(town: Town, uid: str) -> None:
    name, after = BECAUSE[uid]
    begins, ends = OURS[name] if name in OURS else FAULTS[name][0]
    fired = town.lived.fired[uid]
    assert fired
    assert begins <= min(fired) <= ends + min(after, 60)
    assert max(fired) <= ends + after


def test_a_line_that_declared_works_cut_wakes_nobody(town: Town) -> None:
    begins, ends = FAULTS["works"][0]
    lines = [alert.uid for alert in ALERTS if alert.uid.endswith("-down") or "-burn-fast-" in alert.uid]
    lines.remove("balise-burn-fast-television")  # a building has none at that time
    assert len(lines) == 5
    assert [uid for uid in lines if town.lived.fired[uid] & set(range(begins, ends + 10))] == []


def test_homes_that_come_back_one_by_one_after_works_are_not_down_until_then(town: Town) -> None:
    begins, ends = FAULTS["works"][0]
    rows = town.lived.told.rows["element_state", "pon:internet", "P002"]
    after = {date: row for date, row in rows.items() if begins <= (date - town.lived.start_ms) / MINUTE_MS <= ends + 10}
    assert len(after) > 5
    assert {row["down"] for row in after.values()} == {0}
