"""What can a probe say, hear and leave behind that it should not? The attacker's table, on the real broker."""

from __future__ import annotations

import json

import pytest

from balise_agent.contract import topic
from tests.collector.attacker import GRANTED, NOT_AUTHORIZED, PUBLISH, VERSIONS, Name, Will, answer
from tests.collector.ground import SECRETS, A, B, Ground
from tests.collector.sender import Sender

OWN, OTHERS = topic(A, "records"), topic(B, "records")
CONTROL = "$CONTROL/dynamic-security/v1"
REFUSED_5, FAILURE_311 = NOT_AUTHORIZED, 0x80


def test_the_honest_way_is_open(ground: Ground) -> None:
    """Without this, all that is refused below would prove nothing."""
    line = ground.session()
    sender = Sender(A)
    assert line.publish(OWN, sender.sends().payload) == 0
    assert line.subscribe(topic(A, "ack"), topic(A, "cmd")) == [GRANTED, GRANTED]
    assert ground.got_in() == {"new": 1}


# topics


@VERSIONS
@pytest.mark.parametrize("retain", [False, True], ids=["", "retained"])
@pytest.mark.parametrize(
    "name",
    [
        OTHERS,
        topic(B, "state"),
        topic(B, "cmd"),
        topic(A, "ack"),
        f"{OWN}/",
        f"/{OWN}",
        f"{OWN}/more",
        OWN.upper(),
        OWN.replace("/v1/", "//v1/"),
        f"$share/x/{OWN}",
        "$SYS/broker/version",
        CONTROL,
        f"{CONTROL}/response",
        "x" * 65_535,
        "ünïcode/⛔",
    ],
    ids=lambda name: name[:40],
)
def test_what_is_published_elsewhere_does_not_get_in(ground: Ground, name: str, retain: bool, version: int) -> None:
    line = ground.session(version=version)
    assert line.publish(name, Sender(B).sends().payload, retain=retain) == (NOT_AUTHORIZED if version == 5 else 0)
    assert ground.got_in() == {}
    assert answer(line, "publish", OWN) == 0  # it may go on


@VERSIONS
@pytest.mark.parametrize(
    "name",
    ["", "#", "balise/v1/+/records", f"balise/v1/{A}/#", "balise/v1/\0/records", b"\xff", "\ud800", "/" * 65_535],
    ids=lambda name: repr(name)[:30],
)
def test_a_topic_that_is_none_ends_the_session(ground: Ground, name: Name, version: int) -> None:
    assert answer(ground.session(version=version), "publish", name) == "cut"
    assert ground.got_in() == {}


@VERSIONS
@pytest.mark.parametrize(
    "name",
    [
        "#",
        "+/+/+/+",
        "+/v1/+/records",
        "balise/#",
        f"balise/v1/{A}/#",
        f"balise/v1/{A}/+",
        "balise/v1/+/ack",
        OWN,
        topic(A, "state"),
        topic(B, "ack"),
        topic(B, "cmd"),
        f"{topic(A, 'ack')}/#",
        f"{topic(A, 'ack')}/",
        "$share/x/balise/v1/+/records",
        f"$share/x/{topic(A, 'ack')}",
        f"$share/x/{topic(B, 'ack')}",
        "$share/x/#",
        "$share//#",
        "$share/+/#",
        "$SYS/#",
        "$SYS/broker/clients/connected",
        "$CONTROL/#",
        f"{CONTROL}/response",
        "x" * 65_535,
    ],
    ids=lambda name: name[:40],
)
def test_nothing_else_is_heard(ground: Ground, name: str, version: int) -> None:
    line = ground.session(version=version)
    codes = line.subscribe(topic(A, "ack"), name)
    assert codes == [GRANTED, NOT_AUTHORIZED if version == 5 else FAILURE_311]
    ground.got_in()
    assert [packet for packet in line.ping() if packet.kind == PUBLISH] == []


@VERSIONS
@pytest.mark.parametrize("name", ["", "a/#/b", "x+/y", "x/\0", b"\xff", "/" * 65_535], ids=lambda name: repr(name)[:30])
def test_a_filter_that_is_none_ends_the_session(ground: Ground, name: Name, version: int) -> None:
    assert answer(ground.session(version=version), "subscribe", name) == "cut"


def test_a_topic_alias_stands_for_what_it_was_allowed_for(ground: Ground) -> None:
    line, sender = ground.session(), Sender(A)
    assert line.publish(OWN, sender.sends().payload, alias=1) == 0
    assert line.publish("", sender.sends().payload, alias=1) == 0
    assert ground.got_in() == {"new": 2}
    assert line.publish(OTHERS, alias=2) == NOT_AUTHORIZED
    assert line.publish("", alias=2) == NOT_AUTHORIZED
    assert line.publish(OTHERS, alias=1) == NOT_AUTHORIZED  # the alias that was its own topic's
    assert line.publish("", alias=1) == NOT_AUTHORIZED
    assert ground.got_in() == {}


@pytest.mark.parametrize("alias", [0, 3, 11, 65_535])
def test_an_alias_that_stands_for_nothing_ends_the_session(ground: Ground, alias: int) -> None:
    assert answer(ground.session(), "publish", "", alias=alias) == "cut"


@VERSIONS
@pytest.mark.parametrize(
    ("name", "got_in"),
    [
        (OWN, {"dead_letter": 1}),  # the control: such a will is sent
        (OTHERS, {}),
        (topic(B, "state"), {}),
        (topic(A, "ack"), {}),
        (CONTROL, {}),
        ("$SYS/broker/version", {}),
    ],
)
def test_a_last_will_is_published_where_its_probe_may_publish(
    ground: Ground, name: str, got_in: dict[str, int], version: int
) -> None:
    ground.session(version=version, will=Will(topic=name))
    ground.session(version=version)  # takes the session over: the first one's will is due
    assert ground.got_in() == got_in


@VERSIONS
@pytest.mark.parametrize("name", ["", "#", "balise/v1/+/state"])
def test_a_last_will_on_a_topic_that_is_none_is_no_session(ground: Ground, name: str, version: int) -> None:
    line = ground.line(version)
    assert answer(line, "connect", A, SECRETS[A], will=Will(topic=name)) == "cut"


def test_a_command_to_the_broker_is_not_carried_out(ground: Ground) -> None:
    before = ground.files.dynsec.read_text()
    command = {"command": "createClient", "username": "intruder", "password": "x"}
    line = ground.session()
    for qos in (0, 1, 2):
        line.send(CONTROL, json.dumps({"commands": [command]}).encode(), qos=qos)
    line.ping()
    assert ground.files.dynsec.read_text() == before
    assert ground.line().connect("intruder", "x") == REFUSED_5


# retained


def test_a_retained_message_of_its_own_is_kept_once_however_often_it_is_heard(ground: Ground) -> None:
    line, message = ground.session(), Sender(A).sends()
    for _ in range(3):
        assert line.publish(message.topic, message.payload, retain=True) == 0
    assert ground.got_in() == {"new": 1, "duplicate": 2}
    line.publish(OWN, b"", retain=True)


def test_nothing_retained_reaches_who_asks_for_it_later(ground: Ground) -> None:
    """On topics that another hears: what A leaves there must not wait for B."""
    line = ground.session()
    for name in (topic(B, "ack"), topic(B, "cmd")):
        assert line.publish(name, b"{}", retain=True) == NOT_AUTHORIZED
    other = ground.session(B)
    assert other.subscribe(topic(B, "ack"), topic(B, "cmd")) == [GRANTED, GRANTED]
    assert [packet for packet in other.ping() if packet.kind == PUBLISH] == []
