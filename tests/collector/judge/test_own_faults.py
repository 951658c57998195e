"""Is what befell the probe itself never said of the home's line, television or telephone?"""

from __future__ import annotations

from typing import Literal

import pytest

from balise_collector.judge.rows import Row
from tests.collector.judge.saying import HOUR, MINUTE, T0, life, row
from tests.collector.judge.test_judge import CUT, HOMES, judged

HOME, OTHER = HOMES[3], HOMES[4]
OWN = ["interrupted", "link_down", "child_killed", "child_timeout", "join_refused", "no_socket"]


def samples(home: str, why: str) -> list[Row]:
    """Twelve channels in an hour, each of which fails so."""
    times = range(CUT, CUT + HOUR, 5 * MINUTE)
    return [row(home, "tv_window", at, f"c{number:02d}", why=why) for number, at in enumerate(times)]


def states(rows: list[Row], subject: Literal["television", "telephone"]) -> set[int]:
    """Of the home, in the hour from the cut on."""
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), rows, until_ms=CUT + 2 * HOUR)
    found = {spell.state for spell in judge.timeline(HOMES[3], subject, CUT, CUT + HOUR)}
    return found | {7 for incident in judge.incidents() if incident.kind in ("tv", "telephone")}


@pytest.mark.parametrize("why", OWN)
def test_a_sample_that_the_probe_could_not_take_is_no_fault_of_television(why: str) -> None:
    lost = states(samples(HOMES[3], why), "television")
    assert lost == states([], "television")
    assert lost != states(samples(HOMES[3], "no_signal"), "television")


@pytest.mark.parametrize("why", ["interrupted", "link_down"])
def test_a_call_that_the_probe_could_not_finish_is_no_fault_of_the_telephone(why: str) -> None:
    calls = [
        row(HOMES[3], "voip_call", at, "echo", why=why, fail_class="local") for at in range(CUT, CUT + HOUR, 5 * MINUTE)
    ]
    assert states(calls, "telephone") == states([], "telephone")


def lossy(home: str) -> list[Row]:
    """Its line loses 5 % all the time."""
    return [row(home, "reach", at, "op", sent=40, lost=2, p50_us=4_000) for at in range(T0, CUT + 2 * HOUR, MINUTE)]


def test_a_line_that_loses_explains_no_refused_registration_and_no_call_without_any_voice() -> None:
    refused = [
        row(HOME, "voip_signal", at, "op.register", why="sip_forbidden", register_code=403)
        for at in range(CUT, CUT + 2 * HOUR, HOUR)
    ]
    mute = [
        row(OTHER, "voip_call", at, "op", setup_ok=True, one_way_audio=True)
        for at in range(CUT, CUT + 2 * HOUR, 30 * MINUTE)
    ]
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), lossy(HOME), lossy(OTHER), refused, mute, until_ms=CUT + 2 * HOUR)
    found = {(i.element[1], i.cause) for i in judge.incidents() if i.kind == "telephone"}
    assert found == {(HOME, "account"), (OTHER, "audio")}


def test_channels_that_one_lossy_pon_sees_bad_are_no_fault_of_the_head_end() -> None:
    homes = HOMES[:12]
    bad = [row(home, "tv_window", CUT + n * MINUTE, "c1", es_ratio=0.3) for n, home in enumerate(homes)]
    judge = judged(life(HOMES, T0, CUT + HOUR), bad, until_ms=CUT + HOUR)
    assert [i.what for i in judge.incidents() if i.what in ("channel", "head_end")] == []


def test_a_server_that_answers_no_request_is_out_also_for_homes_whose_line_loses() -> None:
    silent = [
        row(home, "voip_signal", at + n * 1_000, "op.options", why="timeout")
        for n, home in enumerate(HOMES)
        for at in range(CUT, CUT + HOUR, MINUTE)
    ]
    losing = [r for home in HOMES[:12] for r in lossy(home)]
    judge = judged(life(HOMES, T0, CUT + HOUR), losing, silent, until_ms=CUT + HOUR)
    (registrar,) = [i for i in judge.incidents() if i.kind == "telephone"]
    assert (registrar.what, registrar.part, len(set(registrar.hit))) == ("registrar", False, len(HOMES))


def test_a_home_that_registers_again_is_out_of_a_registrars_fault_that_ends_for_nobody_else() -> None:
    lost, end = [HOMES[1], HOMES[13], HOMES[25], HOMES[31]], CUT + 4 * HOUR
    silent = [
        row(home, "voip_signal", at + n * 1_000, "op.options", why="timeout")
        for n, home in enumerate(lost)
        for at in range(CUT, CUT + 5 * MINUTE, MINUTE)
    ]
    others = [home for home in HOMES if home not in lost]
    again = [row(home, "voip_signal", CUT + 2 * HOUR, "op.register", register_code=200) for home in others]
    judge = judged(life(others, T0, end) + life(lost, T0, CUT + 5 * MINUTE), silent, again, until_ms=end)
    (registrar,) = judge.incidents()
    assert (registrar.what, registrar.until_ms) == ("registrar", None)
    spans = [s for s in judge.timeline(HOMES[5], "telephone", T0, end) if s.state == 2]
    assert [s.end_ms // MINUTE for s in spans] == [(CUT + 2 * HOUR) // MINUTE]
    assert judge.facts(HOMES[5])["telephone"].state == 0
