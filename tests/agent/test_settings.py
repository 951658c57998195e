"""Does `settings` refuse what it should, and say all of it?"""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.codec.shape import TARGET, is_text
from balise_agent.settings import Secret, as_table, build, choice, flag, number, secret, series_label, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    label: str = text(pattern="[a-z]+", allowed="a label of a-z")
    port: int = number(862, low=1, high=65535)
    method: str = choice("icmp", ("icmp", "stamp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    enabled: bool = flag(True)
    interval_s: float = number(60, low=1, high=3600, unit="s")
    share: float | None = number(None, low=0, high=0.5)
    password: Secret | None = secret()
    peers: tuple[Peer, ...] = ()
    first: Peer | None = None


def faults(raw: dict[str, Any]) -> list[str]:
    value, found = build(Sample, raw, "x")
    assert (value is None) == bool(found)
    return found


def test_what_is_not_given_has_its_default() -> None:
    assert build(Sample, {}, "x") == (Sample(), [])


def test_what_is_given_is_taken() -> None:
    raw = {"enabled": False, "interval_s": 5, "share": 0.25, "password": "p", "peers": [{"label": "a", "port": 1}]}
    made = Sample(
        enabled=False, interval_s=5.0, share=0.25, password=Secret("p"), peers=(Peer(label="a", port=1),), first=None
    )
    assert build(Sample, raw, "x") == (made, [])


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"interval_s": 0}, "x.interval_s: 0 is not within 1-3600 s"),
        ({"interval_s": 3600.5}, "x.interval_s: 3600.5 is not within 1-3600 s"),
        ({"interval_s": float("inf")}, "x.interval_s: inf is not within 1-3600 s"),
        ({"interval_s": False}, "x.interval_s: false is not a number within 1-3600 s"),
        ({"interval_s": None}, "x.interval_s: None is not a number within 1-3600 s"),
        ({"interval_s": [1]}, "x.interval_s: a list is not a number within 1-3600 s"),
        ({"share": 0.75}, "x.share: 0.75 is not within 0-0.5"),
        ({"enabled": "yes"}, "x.enabled: 'yes' is not true or false"),
        ({"colour": 1}, "x.colour: unknown key; known are enabled, interval_s, share, password, peers, first"),
        ({"a\nb": 1}, "x.'a\\nb': unknown key; known are enabled, interval_s, share, password, peers, first"),
        ({"password": 5}, "x.password: *** is not a text of 1 to 256 characters"),
        ({"password": "p" * 257}, "x.password: *** is not a text of 1 to 256 characters"),
        ({"peers": {"label": "a"}}, "x.peers: a table is not a list of tables"),
        ({"peers": [{}]}, "x.peers[0].label: missing"),
        ({"peers": [{"label": "a"}, {"label": "B"}]}, "x.peers[1].label: 'B' is not a label of a-z"),
        ({"peers": [{"label": "a"}, {"label": "a"}]}, "x.peers[1].label: 'a' is there twice"),
        ({"peers": [{"label": "a", "port": 80.0}]}, "x.peers[0].port: 80.0 is not a whole number within 1-65535"),
        ({"peers": [{"label": "a", "method": "tcp"}]}, "x.peers[0].method: 'tcp' is not one of icmp, stamp"),
        ({"first": 5}, "x.first: 5 is not a table"),
        ({"first": {"label": "a", "port": 0}}, "x.first.port: 0 is not within 1-65535"),
    ],
)
def test_a_fault_says_where_what_and_what_is_allowed(raw: dict[str, Any], fault: str) -> None:
    assert faults(raw) == [fault]


def test_all_faults_are_reported_together() -> None:
    assert len(faults({"a": 1, "enabled": 2, "interval_s": -1, "peers": [{"label": 1, "port": 0}, 5]})) == 6


def test_null_is_nothing_where_nothing_is_allowed() -> None:
    assert build(Sample, {"share": None, "first": None, "password": None}, "x") == (Sample(), [])


def test_a_long_foreign_value_is_shown_short() -> None:
    assert len(faults({"enabled": "y" * 10_000})[0]) < 140


def test_direct_construction_is_not_checked() -> None:
    assert Sample(interval_s=0.01).interval_s == 0.01


def test_a_field_without_a_declaration_is_a_bug_not_a_fault() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Plain:
        label: str = field(default="a")

    Plain.__annotations__ = {"label": str}
    with pytest.raises(TypeError, match=r"x\.label"):
        build(Plain, {"label": "b"}, "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    label: str = series_label()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dotless:
    label: str = series_label(dots=False)


@given(
    st.one_of(
        st.from_regex(r"[0-9a-z_.:-]{1,48}", fullmatch=True),
        st.ip_addresses().map(str),
        st.text("0123456789.", max_size=16),
    )
)
def test_every_label_that_settings_take_is_a_target_that_a_message_takes(label: str) -> None:
    for cls, suffix in ((Labelled, ""), (Dotless, ".unique")):
        if not build(cls, {"label": label}, "x")[1]:
            assert is_text(label + suffix, TARGET)


@pytest.mark.parametrize("label", ["gw", "op.v6", "1.2.3", "9", "10.0.0.1a", "a" * 40])
def test_a_label_is_a_name(label: str) -> None:
    assert build(Labelled, {"label": label}, "x") == (Labelled(label=label), [])
    assert bool(build(Dotless, {"label": label}, "x")[1]) == ("." in label)


@pytest.mark.parametrize("label", ["192.0.2.1", "999.0.0.1", "fe80::1", "Gw", "", ".gw", "a" * 41])
def test_a_label_is_no_address(label: str) -> None:
    for cls in (Labelled, Dotless):
        assert build(cls, {"label": label}, "x")[1], label


def test_a_secret_is_shown_nowhere() -> None:
    hidden = Secret("hunter2")
    sample = Sample(password=hidden)
    shown = [
        repr(hidden),
        str(hidden),
        f"{hidden:>10}",
        f"{hidden!r}",
        repr(sample),
        str(as_table(sample)),
        "%s" % hidden,  # noqa: UP031 - as logging does
    ]
    assert [text for text in shown if "hunter2" in text] == []
    assert hidden.reveal() == "hunter2"


def test_a_secret_is_not_written_away_by_accident() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        copy.deepcopy(Secret("hunter2"))


def test_equal_secrets_are_equal_and_others_are_not() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


peers = st.lists(
    st.builds(Peer, label=st.from_regex("[a-z]{1,8}", fullmatch=True)), max_size=5, unique_by=lambda p: p.label
)


@given(st.builds(Sample, interval_s=st.floats(1, 3600), share=st.none() | st.floats(0, 0.5), peers=peers.map(tuple)))
def test_the_table_of_settings_builds_them_again(sample: Sample) -> None:
    assert build(Sample, as_table(sample), "x") == (sample, [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["enabled", "interval_s", "share", "password", "peers", "first", "?"]), json_values)
)
def test_any_table_gives_a_value_or_printable_faults(raw: dict[str, Any]) -> None:
    assert all(fault.isprintable() for fault in faults(raw))
