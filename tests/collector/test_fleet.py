"""Is each probe told what it should be, once, with a version that only grows, and asked only what is in time?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balise_agent.codec import decode_cmd
from balise_agent.contract import Answer, Command, Config
from balise_collector.directory import Offer, Site
from balise_collector.fleet import Fleet, FleetError, FleetSettings, load_settings, new_command_id
from balise_collector.fleet.desired import desired
from balise_collector.fleet.outgoing import ANSWER_S
from balise_collector.target.tokens import Grant, read_token

NOW_S = 1_800_000_000
PLAN = FleetSettings(plan={"batch_s": 60}, targets={"reach": [{"label": "op"}]})


def site(probe: str = "probe001", **more: object) -> Site:
    known: dict[str, object] = {
        "probe": probe,
        "home": "home0001",
        "kind": "home",
        "building": "b1",
        "pon": "p1",
        "segment": "s1",
    }
    return Site(**(known | {"consents": frozenset({"mesure"})} | more))  # type: ignore[arg-type]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with closing(Fleet(tmp_path / "fleet.db")) as opened:
        yield opened


def told(
    fleet: Fleet, *sites: Site, plan: FleetSettings = PLAN, now_s: int = NOW_S, changed: bool = True
) -> list[Config]:
    found = [decode_cmd(payload) for _, payload in fleet.configurations(sites, plan, now_s, changed=changed)]
    assert all(isinstance(config, Config) for config in found)
    return [config for config in found if isinstance(config, Config)]


# what it should have


def test_a_configuration_says_where_the_probe_stands_without_naming_the_home() -> None:
    config = desired(site(offer=Offer(operator="op", down_bps=10**9, up_bps=10**8)), PLAN, 7)
    expected = Config(
        version=7,
        consent=True,
        segment="s1",
        plan={"batch_s": 60},
        contract={"down_bps": 10**9, "up_bps": 10**8},
        targets={"reach": [{"label": "op"}]},
    )
    assert config == expected
    assert not {"home0001", "b1", "p1"} & {*map(str, vars_of(config))}


def vars_of(config: Config) -> list[object]:
    return [getattr(config, name) for name in config.__slots__]


@pytest.mark.parametrize(
    ("kind", "consents", "consent"),
    [
        ("home", frozenset({"mesure"}), True),
        ("home", frozenset({"aide", "evaluation"}), False),
        ("home", frozenset(), False),
        ("place", frozenset(), True),
    ],
)
def test_a_home_is_measured_only_while_it_agrees_and_a_place_by_standing_there(
    kind: str, consents: frozenset[str], consent: bool
) -> None:
    assert desired(site(kind=kind, consents=consents), PLAN, 1).consent is consent


def test_without_an_offer_no_rates_are_told() -> None:
    assert desired(site(), FleetSettings(), 1).contract == {}


# the operator's file


def test_the_operators_file_holds_plan_and_targets(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    assert load_settings(path) == FleetSettings()
    path.write_text("[plan]\nbatch_s = 300\n[plan.reach]\ninterval_s = 30\n[targets]\ndns = []\n")
    found = load_settings(path)
    assert (found.plan, found.targets) == ({"batch_s": 300, "reach": {"interval_s": 30}}, {"dns": []})


@pytest.mark.parametrize(
    "text",
    [
        "[plan",
        "plan = 3",
        "[colour]\nx = 1",
        "[plan]\nx = 1\n[plan]\n",
        "\udcff",
        "[plan]\nx = nan",
        "[plan]\nx = 2026-01-01",
    ],
)
def test_a_file_that_cannot_be_used_says_so_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FleetError, match=r"fleet\.toml: "):
        load_settings(path)


# telling


def test_only_what_changed_is_told_and_everything_on_request(fleet: Fleet) -> None:
    both = [site(), site("probe002")]
    assert len(told(fleet, *both)) == 2
    assert told(fleet, *both) == []
    (again,) = told(fleet, site(consents=frozenset()), site("probe002"))
    assert not again.consent
    assert len(told(fleet, *both, changed=False)) == 2


def test_the_same_configuration_keeps_its_version_when_it_is_told_again(fleet: Fleet) -> None:
    (first,) = told(fleet, site())
    (second,) = told(fleet, site(), now_s=NOW_S + 1_000, changed=False)
    assert first == second


@given(changes=st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 3), st.booleans()), max_size=12))
@settings(max_examples=40, deadline=None)
def test_a_version_only_grows_even_where_the_clock_steps_back(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int, bool]]
) -> None:
    path, now_s = tmp_path_factory.mktemp("fleet") / "fleet.db", NOW_S
    known: list[Config] = []
    for step_s, batch_s, everything in changes:
        now_s += step_s
        with closing(Fleet(path)) as fleet:
            plan = FleetSettings(plan={"batch_s": batch_s})
            for config in told(fleet, site(), plan=plan, now_s=now_s, changed=not everything):
                assert not known or config.version > known[-1].version or config == known[-1]
                known.append(config)


def test_a_version_is_never_below_the_clock_so_that_a_lost_file_starts_above_what_probes_have(tmp_path: Path) -> None:
    with closing(Fleet(tmp_path / "a.db")) as fleet:
        for n in range(1, 6):
            (last,) = told(fleet, site(), plan=FleetSettings(plan={"batch_s": n}), now_s=NOW_S + n)
    with closing(Fleet(tmp_path / "b.db")) as fresh:
        (first,) = told(fresh, site(), now_s=NOW_S + 60)
    assert first.version > last.version


def test_each_probe_is_told_on_its_own_topic(fleet: Fleet) -> None:
    found = fleet.configurations([site(), site("probe002")], PLAN, NOW_S, changed=True)
    assert [topic for topic, _ in found] == ["balise/v1/probe001/cmd", "balise/v1/probe002/cmd"]


# asking


def ask(fleet: Fleet, expires_ms: int, probe: str = "probe001") -> str:
    command = Command(id=new_command_id(), kind="resume", expires_ms=expires_ms)
    fleet.ask(probe, command)
    return command.id


def asked(fleet: Fleet, now_ms: int) -> list[tuple[str, str]]:
    found = [(topic, decode_cmd(payload)) for topic, payload in fleet.commands(now_ms)]
    return [(topic, command.id) for topic, command in found if isinstance(command, Command)]


def test_a_command_is_handed_out_once_in_order_also_to_another_process(tmp_path: Path, fleet: Fleet) -> None:
    ids = [ask(fleet, 100), ask(fleet, 100, "probe002")]
    with closing(Fleet(tmp_path / "fleet.db")) as serving:
        assert asked(serving, 50) == [("balise/v1/probe001/cmd", ids[0]), ("balise/v1/probe002/cmd", ids[1])]
        assert asked(serving, 50) == []
    assert asked(fleet, 50) == []


def test_a_command_that_expired_while_it_waited_is_dropped(fleet: Fleet) -> None:
    ask(fleet, 100)
    late = ask(fleet, 101)
    assert [id_ for _, id_ in asked(fleet, 100)] == [late]
    assert asked(fleet, 0) == []


def test_no_two_commands_have_one_id() -> None:
    assert len({new_command_id() for _ in range(1_000)}) == 1_000


# tokens


KEY = b"k" * 32


def granted(config: Config, at_s: int) -> Grant | None:
    return read_token(KEY, config.token, at_s)


def test_a_probe_has_a_token_of_its_line_that_is_renewed_each_day_before_it_ends(fleet: Fleet) -> None:
    plan = FleetSettings(token_key=KEY)
    known = told(fleet, site(), plan=plan)
    for hour in range(1, 24 * 5):
        now_s = NOW_S + hour * 3600
        known += told(fleet, site(), plan=plan, now_s=now_s)
        grant = granted(known[-1], now_s)
        assert grant is not None
        assert (grant.segment, grant.shape) == ("s1", "light")
        assert grant.expires_s - now_s + 3600 > 86_400
        assert grant.expires_s - now_s <= 2 * 86_400
    assert 5 <= len(known) <= 6
    assert "k" * 32 not in repr(plan)


def test_only_a_fast_line_may_have_a_full_test_and_one_without_a_line_none() -> None:
    plan = FleetSettings(token_key=KEY)
    fast = site(offer=Offer(operator="op", down_bps=10**9, up_bps=10**8))
    grant = granted(desired(fast, plan, 1, NOW_S), NOW_S)
    assert grant is not None
    assert grant.shape == "full"
    assert desired(site(segment=""), plan, 1, NOW_S).token == ""
    assert desired(fast, PLAN, 1, NOW_S).token == ""


def test_not_every_probe_is_told_in_the_same_minute() -> None:
    plan = FleetSettings(token_key=KEY)
    ends = {read_token(KEY, desired(site(f"probe{n:03}"), plan, 1, NOW_S).token, NOW_S) for n in range(50)}
    assert len({grant.expires_s // 60 for grant in ends if grant}) > 40


# answers


def test_an_answer_is_there_for_who_asked_and_then_nowhere(tmp_path: Path) -> None:
    with closing(Fleet(tmp_path / "fleet.db")) as fleet:
        fleet.answered([Answer(id="one", reason="line_busy")], NOW_S)
        assert fleet.answer_to("one") == "line_busy"
        assert fleet.answer_to("two") is None
        fleet.answered([], NOW_S + ANSWER_S)
        assert fleet.answer_to("one") is None
    assert b"line_busy" not in (tmp_path / "fleet.db").read_bytes()
