"""Does the judge say what is known, where, since when, and nothing more?"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from balise_collector.judge.evidence import Evidence
from balise_collector.judge.incidents import Incident
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Row
from balise_collector.judge.topology import Work
from tests.collector.judge.saying import HOUR, MINUTE, T0, cut, life, minute, online, outage, plant, row

PLANT = plant()
HOMES = sorted(PLANT.homes)
FIRST_PON, CUT = HOMES[:12], T0 + 20 * MINUTE


def judged(*rows: list[Row], until_ms: int, **changes: object) -> Judge:
    judge = Judge(replace(PLANT, **changes))  # type: ignore[arg-type]
    judge.take(sorted((r for part in rows for r in part), key=lambda r: (r.received_ms, r.home)))
    judge.advance(until_ms)
    return judge


def one(judge: Judge) -> Incident:
    (incident,) = judge.incidents()
    return incident


def quiet(without: list[str], until_ms: int) -> list[Row]:
    """Everybody's life, of these only up to the cut."""
    return life([h for h in HOMES if h not in without], T0, until_ms) + life(without, T0, CUT) if without else []


@pytest.mark.parametrize("apart_s", [8, 13, 20])
def test_pons_that_are_cut_one_after_the_other_are_one_incident_each_though_their_losses_overlap(apart_s: int) -> None:
    large = plant(pons=10, homes=24)
    homes = sorted(large.homes)
    cut_ms = {home: CUT + n // 48 * apart_s * 1_000 for n, home in enumerate(homes) if n // 24 % 2 == 0}
    rng = random.Random(apart_s)
    rows = [online(home, at_ms + rng.randrange(40_000, 63_000), False) for home, at_ms in cut_ms.items()]
    rows += life([home for home in homes if home not in cut_ms], CUT - 2 * MINUTE, CUT + 6 * MINUTE)
    rows += life(cut_ms, CUT - 2 * MINUTE, CUT)
    rows.sort(key=lambda r: r.received_ms)
    judge = Judge(large)
    judge.take([online(home, T0) for home in homes])
    told = set()
    for now_ms in range(CUT, CUT + 6 * MINUTE, 10_000):
        judge.take([r for r in rows if now_ms - 10_000 < r.received_ms <= now_ms])
        told |= {said.fields["id"] for said in judge.advance(now_ms) if said.measurement == "incident"}
    assert sorted((i.element, len(set(i.hit))) for i in judge.incidents()) == [
        (("pon", f"P{n}"), 24) for n in range(0, 10, 2)
    ]
    assert len(told) == 5


@pytest.mark.parametrize(("cut_ms", "is_over"), [(T0 + 16 * HOUR, True), (T0 + 6 * HOUR, False)])
def test_a_cut_is_over_though_some_are_still_away_where_people_switch_off_at_that_hour(
    cut_ms: int, is_over: bool
) -> None:
    back = [r for r in cut(FIRST_PON, cut_ms, cut_ms + HOUR) if r.ts_ms < cut_ms + HOUR or r.home in FIRST_PON[:8]]
    until_ms = cut_ms + 2 * HOUR
    lived = [r for h in HOMES for r in life([h], cut_ms - HOUR, until_ms if h not in FIRST_PON else cut_ms)]
    judge = judged([online(h, T0) for h in HOMES], lived, back, until_ms=until_ms)
    ended_ms = one(judge).until_ms
    assert is_over is (ended_ms is not None)
    assert ended_ms is None or ended_ms < cut_ms + HOUR + MINUTE


def test_a_pon_that_falls_silent_is_one_incident_within_ninety_seconds_and_its_cause_is_not_known() -> None:
    silent = [r for r in cut(FIRST_PON, CUT, CUT + HOUR, "access.line") if r.ts_ms < CUT + 2 * MINUTE]
    lost = [r for r in silent if r.measurement == "presence"]
    judge = judged(quiet(FIRST_PON, CUT + 4 * MINUTE), lost, until_ms=CUT + 90_000)
    incident = one(judge)
    assert incident.stage(CUT + 90_000, judge.settings) == "open"
    assert (incident.element, incident.part, incident.cause) == (("pon", "P0"), False, "unknown")
    assert (incident.homes, incident.measured, len(set(incident.hit))) == (12, 12, 12)
    assert abs(incident.since_ms - CUT) < 15_000
    assert {judge.facts(home)["internet"].state for home in FIRST_PON} == {2}
    assert judge.facts(HOMES[20])["internet"].state == 0


@pytest.mark.parametrize(
    ("homes", "place", "element", "cause"),
    [
        (HOMES[:12], "access.line", ("pon", "P0"), "fibre"),
        (HOMES[6:18], "", ("building", "B1"), "power"),
        (HOMES[:24], "access.line", ("card", "O1/C1"), "fibre"),
        (HOMES, "operator.core", ("olt", "O1"), "core"),
    ],
)
def test_emptied_outboxes_tell_the_cause_and_the_exact_times(
    homes: list[str], place: str, element: tuple[str, str], cause: str
) -> None:
    end_ms = CUT + 30 * MINUTE
    later = life(homes, end_ms + 2 * MINUTE, end_ms + 15 * MINUTE)
    judge = judged(quiet(homes, end_ms + 15 * MINUTE), cut(homes, CUT, end_ms, place), later, until_ms=end_ms + HOUR)
    incident = one(judge)
    assert (incident.element, incident.cause) == (element, cause)
    assert incident.stage(end_ms + HOUR, judge.settings) == "reviewed"
    if place:
        assert (incident.since_ms, incident.until_ms) == (CUT, end_ms)
    down = [s for s in judge.timeline(homes[0], "television", T0, end_ms) if s.state == 2]
    assert len(down) == 1
    assert abs(down[0].start_ms - CUT) < MINUTE


def test_one_silent_home_is_unknown_and_no_incident() -> None:
    judge = judged(quiet(HOMES[:1], CUT + HOUR), [online(HOMES[0], CUT + 52_000, False)], until_ms=CUT + HOUR)
    assert judge.incidents() == []
    assert {span.state for span in judge.facts(HOMES[0]).values()} == {3}


def test_a_home_whose_session_was_opened_anew_before_it_was_lost_is_unknown_at_once() -> None:
    lost_ms = CUT + 52_000
    said = [online(HOMES[0], CUT - 40_000), online(HOMES[0], lost_ms, False)]  # within the minute of its last sample
    judge = judged(quiet(HOMES[:1], CUT + HOUR), said, until_ms=lost_ms + MINUTE)
    assert judge.facts(HOMES[0])["internet"].state == 3


def test_nothing_is_green_without_something_fresh() -> None:
    judge = judged(life(HOMES, T0, CUT), until_ms=CUT + 3 * HOUR)
    assert {span.state for home in HOMES for span in judge.facts(home).values()} == {3}
    after = [s for s in judge.timeline(HOMES[0], "internet", CUT, CUT + 3 * HOUR) if s.state == 0]
    assert all(s.end_ms <= CUT + 17 * MINUTE for s in after)


def test_homes_switched_off_one_after_the_other_are_no_fault() -> None:
    off = [online(home, CUT + number * 4 * MINUTE, False) for number, home in enumerate(HOMES[:20])]
    judge = judged(life(HOMES, T0, CUT), off, until_ms=CUT + 2 * HOUR)
    assert judge.incidents() == []


def test_agents_that_restart_together_are_no_fault() -> None:
    off = [r for home in HOMES for r in (online(home, CUT, False), online(home, CUT + 20_000))]
    judge = judged(life(HOMES, T0, CUT + HOUR), off, until_ms=CUT + HOUR)
    assert judge.incidents() == []


def test_the_olt_tells_fibre_from_power_while_it_lasts() -> None:
    lost = [r for r in cut(FIRST_PON, CUT, CUT + HOUR, "") if r.ts_ms < CUT + 2 * MINUTE]
    judge = judged(quiet(FIRST_PON, CUT + 4 * MINUTE), lost, until_ms=CUT + 2 * MINUTE)
    assert one(judge).cause == "unknown"
    judge.hear([Evidence(source="olt", ts_ms=CUT + 1_000, what="los", scope="pon", code="P0")])
    judge.advance(CUT + 2 * MINUTE + 1_000)
    assert (one(judge).cause, one(judge).confidence) == ("fibre", "sure")


def test_declared_works_have_their_incident_and_page_nobody() -> None:
    works = (Work(code="W1", scope="pon", scope_code="P0", from_ms=CUT - MINUTE, until_ms=CUT + HOUR),)
    lost = [r for r in cut(FIRST_PON, CUT, CUT + HOUR, "") if r.ts_ms < CUT + 2 * MINUTE]
    judge = Judge(replace(PLANT, works=works))
    judge.take([*quiet(FIRST_PON, CUT + 4 * MINUTE), *lost])
    said = [r for at in (90_000, 120_000) for r in judge.advance(CUT + at) if r.measurement == "incident"]
    assert {(r.fields["works"], r.fields["paged"]) for r in said} == {("W1", False)}


def test_late_rows_make_history_and_page_nobody() -> None:
    end_ms = CUT + 30 * MINUTE
    judge = Judge(PLANT)
    judge.take(quiet(FIRST_PON, end_ms + HOUR))
    judge.advance(end_ms + 5 * HOUR)
    judge.take([outage(home, CUT, end_ms, "access.line", end_ms) for home in FIRST_PON])
    said = [r for r in judge.advance(end_ms + 5 * HOUR + MINUTE) if r.measurement == "incident"]
    assert one(judge).element == ("pon", "P0")
    assert [r.fields["paged"] for r in said] == [False]


def test_when_the_platform_heard_nothing_it_says_so_and_blames_nobody() -> None:
    def beat(at: int) -> Row:
        return Row(
            home="", probe="collector", measurement="platform", target="ingest", ts_ms=at, received_ms=at, fields={}
        )

    beats = [beat(at) for at in range(T0, CUT, MINUTE)] + [beat(at) for at in range(CUT + HOUR, CUT + 2 * HOUR, MINUTE)]
    back = [online(home, CUT + HOUR + n * 100, False) for n, home in enumerate(HOMES)]
    back += [online(home, CUT + HOUR + 100_000) for home in HOMES]
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), beats, back, until_ms=CUT + 2 * HOUR)
    incident = one(judge)
    assert (incident.kind, incident.what, incident.hit) == ("platform", "platform", ())


def test_probes_whose_messages_alone_were_held_up_had_no_fault() -> None:
    end_ms = CUT + HOUR
    silent = [r for r in cut(FIRST_PON, CUT, end_ms, "") if r.measurement == "presence"]
    judge = judged(life(HOMES, T0, end_ms + 20 * MINUTE), silent, until_ms=end_ms + HOUR)
    assert one(judge).kind == "platform"
    assert {s.state for s in judge.timeline(FIRST_PON[0], "internet", CUT, end_ms)} == {0}


def test_names_that_fail_everywhere_are_dns_and_the_line_is_not_blamed() -> None:
    told = [outage(home, CUT, CUT + 20 * MINUTE, "dns") for home in HOMES]
    judge = judged(life(HOMES, T0, CUT + HOUR), told, until_ms=CUT + HOUR)
    incident = one(judge)
    assert (incident.kind, incident.what, incident.cause) == ("dns", "dns", "dns")
    assert [s.state for s in judge.timeline(HOMES[0], "internet", CUT + MINUTE, CUT + 19 * MINUTE)] == [2]


def samples(bad: set[str], bad_homes: set[str], every_min: int = 5) -> list[Row]:
    """Each home looks at a channel each five minutes, 27 in turn; bad ones within an hour from the cut on."""
    found = []
    for number, home in enumerate(HOMES):
        for step, at in enumerate(range(T0, CUT + 2 * HOUR, every_min * MINUTE)):
            ts_ms = at + number * 7_000
            channel = f"c{(step * 7 + number * 5) % 27:02d}"
            is_bad = CUT <= ts_ms < CUT + HOUR and (channel in bad or home in bad_homes)
            found.append(row(home, "tv_window", ts_ms, channel, es_ratio=0.6 if is_bad else 0.0, listened_s=10.0))
    return found


@pytest.mark.parametrize(
    ("bad", "bad_homes", "what", "code"),
    [
        ({"c05", "c06", "c07", "c11", "c20", "c21"}, set(), "head_end", "op1"),
        (set(), set(HOMES[6:18]), "building", "B1"),
        (set(), {HOMES[3]}, "home", HOMES[3]),
        ({f"c{n:02d}" for n in range(27)}, set(), "head_end", "op1"),
    ],
)
def test_television_is_placed_by_the_crossing_of_channels_and_homes(
    bad: set[str], bad_homes: set[str], what: str, code: str
) -> None:
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), samples(bad, bad_homes), until_ms=CUT + 2 * HOUR)
    incident = one(judge)
    assert (incident.kind, incident.what, incident.element[1]) == ("tv", what, code)
    assert abs(incident.since_ms - CUT) < 10 * MINUTE


def test_a_pon_that_loses_is_degraded_and_one_busy_home_is_not() -> None:
    lossy = [r for home in FIRST_PON for at in range(CUT, CUT + HOUR, MINUTE) for r in minute(home, at, lost=2)]
    others = life([h for h in HOMES if h not in FIRST_PON], T0, CUT + HOUR)
    judge = judged(others, life(FIRST_PON, T0, CUT), lossy, until_ms=CUT + HOUR)
    incident = one(judge)
    assert (incident.kind, incident.element, incident.cause) == ("loss", ("pon", "P0"), "loss")


def test_what_a_probe_on_wifi_loses_is_never_the_lines() -> None:
    home = HOMES[5]
    lossy = [r for at in range(CUT, CUT + 2 * HOUR, MINUTE) for r in minute(home, at, lost=3)]
    radio = [row(home, "wifi", CUT + 90 * MINUTE, rssi_dbm=-60)]
    others = life([h for h in HOMES if h != home], T0, CUT + 2 * HOUR)
    wired = judged(others, life([home], T0, CUT), lossy, until_ms=CUT + 2 * HOUR)
    assert (one(wired).kind, one(wired).element) == ("loss", ("home", home))
    judge = judged(others, life([home], T0, CUT), lossy, radio, until_ms=CUT + 2 * HOUR)
    assert judge.incidents() == []
    assert {s.state for s in judge.timeline(home, "internet", CUT, CUT + 2 * HOUR)} == {0}


def test_a_call_without_voice_is_the_voices_not_the_registrars() -> None:
    calls = [
        row(HOMES[4], "voip_call", at, "echo", why="no_media", setup_ok=True, code=200, one_way_audio=True)
        for at in range(CUT, CUT + 2 * HOUR, 30 * MINUTE)
    ]
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), calls, until_ms=CUT + 2 * HOUR)
    assert (one(judge).what, one(judge).cause) == ("home", "audio")


def test_a_bad_sample_that_a_channel_explains_later_leaves_nothing_at_the_home() -> None:
    judge = Judge(PLANT)
    every = {f"c{n:02d}" for n in range(27)}
    rows = sorted([*life(HOMES, T0, CUT + 2 * HOUR), *samples(every, set())], key=lambda r: r.ts_ms)
    at = 0
    for now_ms in range(CUT - MINUTE, CUT + 2 * HOUR, MINUTE):
        last = at
        while at < len(rows) and rows[at].ts_ms < now_ms:
            at += 1
        judge.take(rows[last:at])
        judge.advance(now_ms)
    assert [i.what for i in judge.incidents()] == ["head_end"]


def test_a_silent_home_is_shown_down_when_the_incident_that_it_is_in_opens_though_nothing_comes_of_it() -> None:
    judge = Judge(PLANT)
    lost = [r for r in cut(FIRST_PON, CUT, CUT + HOUR, "access.line") if r.ts_ms < CUT + 2 * MINUTE]
    rows = quiet(FIRST_PON, CUT + 6 * MINUTE) + [r for r in lost if r.measurement == "presence"]
    rows.sort(key=lambda r: r.ts_ms)
    for now_ms in range(CUT - MINUTE, CUT + 6 * MINUTE, 20_000):
        judge.take([r for r in rows if now_ms - 20_000 <= r.ts_ms < now_ms or (now_ms < CUT and r.ts_ms < now_ms)])
        judge.advance(now_ms)
    assert {judge.facts(home)["internet"].state for home in FIRST_PON} == {2}


def test_a_power_cut_is_one_though_sessions_come_back_long_after_the_power() -> None:
    homes, on_ms, back_ms = HOMES[6:18], CUT + 40 * MINUTE, CUT + 2 * HOUR
    silent = [r for r in cut(homes, CUT, back_ms, "") if r.measurement == "presence"]
    dark = [r for r in life(homes, on_ms, back_ms + 10 * MINUTE) if r.measurement != "host"]
    starts = [row(home, "host", on_ms + MINUTE, uptime_s=60) for home in homes]
    judge = judged(quiet(homes, back_ms + HOUR), silent, dark, starts, until_ms=back_ms + HOUR)
    incident = one(judge)
    assert (incident.element, incident.cause) == (("building", "B1"), "power")
    assert incident.until_ms is not None
    assert abs(incident.until_ms - on_ms) < MINUTE


def test_power_that_goes_while_everybodys_messages_are_held_up_is_seen_once_they_come() -> None:
    homes, off_ms, on_ms, back_ms = HOMES[6:18], CUT + 40 * MINUTE, CUT + 80 * MINUTE, CUT + 2 * HOUR
    held = [r for r in cut(HOMES, CUT, back_ms, "") if r.measurement == "presence"]
    others = life([h for h in HOMES if h not in homes], T0, back_ms + 10 * MINUTE)
    theirs = life(homes, T0, off_ms) + life(homes, on_ms, back_ms + 10 * MINUTE)
    starts = [row(home, "host", on_ms + MINUTE, uptime_s=60) for home in homes]
    judge = judged(held, others, theirs, starts, until_ms=back_ms + HOUR)
    late, power = judge.incidents()
    assert (late.kind, late.cause) == ("platform", "delivery")
    assert (power.element, power.cause, power.part) == (("building", "B1"), "power", False)
    assert abs(power.since_ms - off_ms) < MINUTE
    assert power.until_ms is not None
    assert abs(power.until_ms - on_ms) < MINUTE
    (down,) = [s for s in judge.timeline(homes[0], "internet", T0, back_ms + HOUR) if s.state == 2]
    assert (abs(down.start_ms - off_ms) <= 2 * MINUTE, down.end_ms) == (True, on_ms)
    assert {s.state for s in judge.timeline(HOMES[0], "internet", CUT, back_ms)} == {0}


def test_three_homes_that_share_a_building_and_a_pon_are_part_of_the_pon_once_they_say_that_light_was_gone() -> None:
    homes = HOMES[6:9]
    judge = judged(quiet(homes, CUT + 2 * HOUR), cut(homes, CUT, CUT + HOUR, "access.line"), until_ms=CUT + 2 * HOUR)
    incident = one(judge)
    assert (incident.element, incident.part, incident.cause) == (("pon", "P0"), True, "fibre")


def test_television_that_a_full_pon_disturbs_is_no_fault_of_a_home() -> None:
    home = HOMES[2]
    slow = [row(home, "reach", at, "op", sent=40, lost=0, p50_us=60_000) for at in range(CUT, CUT + HOUR, MINUTE)]
    bad = [row(home, "tv_window", at, "c1", es_ratio=0.3) for at in range(CUT + 5 * MINUTE, CUT + HOUR, 5 * MINUTE)]
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), slow, bad, until_ms=CUT + 2 * HOUR)
    assert judge.incidents() == []
    well = judged(life(HOMES, T0, CUT + 2 * HOUR), bad, until_ms=CUT + 2 * HOUR)
    assert [i.kind for i in well.incidents()] == ["tv"]


def test_a_pon_that_is_cut_while_nobody_hears_is_one_incident_once_its_homes_tell() -> None:
    beats = [row("", "platform", at, "ingest", broker_ok=True) for at in range(T0, CUT + 2 * HOUR, MINUTE)]
    heard = [r for r in beats if not CUT - 5 * MINUTE < r.ts_ms < CUT + 20 * MINUTE]
    told = [outage(home, CUT, CUT + HOUR, "access.line") for home in FIRST_PON]
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), heard, told, until_ms=CUT + 2 * HOUR)
    found = [(i.element, i.cause) for i in judge.incidents() if i.kind == "line"]
    assert found == [(("pon", "P0"), "fibre")]


def test_power_that_went_while_nobody_heard_is_told_by_the_machines_that_started_anew() -> None:
    homes, on_ms, end = HOMES[6:18], CUT + 40 * MINUTE, CUT + 2 * HOUR
    others = [home for home in HOMES if home not in homes]
    said = life(others, T0, end) + life(homes, T0, CUT) + life(homes, on_ms, end)
    starts = [row(home, "host", on_ms + MINUTE, uptime_s=60) for home in homes]
    registered = [row(home, "voip_signal", CUT - 9 * MINUTE, "op.register", register_code=200) for home in HOMES]
    judge = judged(said, starts, registered, until_ms=end)
    incident = one(judge)
    assert (incident.element, incident.cause) == (("building", "B1"), "power")
    for home in HOMES:  # what it measured before was before
        at = next(s for s in judge.timeline(home, "telephone", T0, end) if s.end_ms > CUT + 20 * MINUTE)
        assert at.state == (2 if home in homes else 0)


def test_power_that_goes_while_a_card_is_out_and_comes_back_after_it_is_a_fault_of_its_own() -> None:
    card, homes, off_ms, back_ms, on_ms = HOMES[:24], HOMES[6:18], CUT + HOUR, CUT + 2 * HOUR, CUT + 3 * HOUR
    whole = [home for home in card if home not in homes]
    lost = [online(home, CUT + 52_000 + n * 900, False) for n, home in enumerate(card)]
    back = [online(home, (on_ms if home in homes else back_ms) + 20_000 + n * 900) for n, home in enumerate(card)]
    down = {"state": "down", "class": "access.line"}
    marks = [row(h, "alive", at, **down) for h in card for at in range(CUT + MINUTE, off_ms, MINUTE)]
    marks += [row(h, "alive", at, **down) for h in whole for at in range(off_ms, back_ms, MINUTE)]
    told = [outage(home, CUT, back_ms, "access.line") for home in whole]
    for home in homes:
        known = outage(home, CUT, on_ms, "access.line")
        known.fields.update(unknown_s=(on_ms - off_ms) / 1_000, restarts=1)
        told.append(known)
    starts = [row(home, "host", on_ms + MINUTE, uptime_s=60) for home in homes]
    judge = judged(quiet(card, on_ms + HOUR), lost, back, marks, told, starts, until_ms=on_ms + HOUR)
    light, power = judge.incidents()
    assert (light.element, light.cause) == (("card", "O1/C1"), "fibre")
    assert (power.element, power.cause) == (("building", "B1"), "power")
    assert light.until_ms is not None
    assert power.until_ms is not None
    assert max(abs(light.until_ms - back_ms), abs(power.since_ms - off_ms), abs(power.until_ms - on_ms)) < 2 * MINUTE
    at = (back_ms + 5 * MINUTE, on_ms - 5 * MINUTE)
    assert {
        s.state
        for s in judge.timeline(homes[0], "internet", T0, on_ms + HOUR)
        if s.start_ms < at[1] and s.end_ms > at[0]
    } == {2}


def test_a_home_whose_line_is_up_again_is_out_of_a_cut_that_ends_for_nobody_else() -> None:
    back_ms, off_ms, end = CUT + HOUR, CUT + 75 * MINUTE, CUT + 4 * HOUR
    lost = [r for r in cut(FIRST_PON, CUT, back_ms, "access.line") if r.measurement == "presence" and r.ts_ms < back_ms]
    first = FIRST_PON[0]
    again = life([first], back_ms, off_ms)  # its outage is never told, and later it is switched off
    judge = judged(quiet(FIRST_PON, end), lost, again, until_ms=end)
    assert one(judge).until_ms is None
    states = [(s.state, s.end_ms) for s in judge.timeline(first, "internet", CUT, end)]
    assert [state for state, _ in states] == [0, 2, 0, 3]
    assert abs(states[1][1] - back_ms) <= MINUTE
    assert judge.timeline(FIRST_PON[1], "internet", CUT, end)[-1].state == 2


def test_a_channel_that_is_seldom_sampled_is_well_once_good_samples_have_come() -> None:
    bad = [row(home, "tv_window", CUT + n * 4 * MINUTE, "c1", es_ratio=0.4) for n, home in enumerate(HOMES[3::6])]
    good = [row(h, "tv_window", CUT + n * 50 * MINUTE + HOUR, "c1", es_ratio=0.0) for n, h in enumerate(HOMES[:4])]
    judge = judged(life(HOMES, T0, CUT + 5 * HOUR), bad, good, until_ms=CUT + 5 * HOUR)
    (channel,) = [i for i in judge.incidents() if i.what == "channel"]
    assert channel.until_ms is not None
    assert channel.until_ms <= CUT + HOUR
