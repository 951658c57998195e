"""Who can be somebody else on the broker, or nobody? Names, passwords, versions; what is no MQTT; who was revoked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from balise_agent.contract import topic
from balise_collector import broker
from tests.collector.attacker import GRANTED, NOT_AUTHORIZED, PUBLISH, VERSIONS, Name, answer
from tests.collector.ground import SECRETS, A, B, Ground
from tests.collector.ground import ground as started
from tests.collector.sender import Sender

OWN, OTHERS = topic(A, "records"), topic(B, "records")
REFUSED_311, REFUSED_5 = 5, NOT_AUTHORIZED


# names


@VERSIONS
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "durable"])
def test_another_s_client_id_is_neither_its_session_nor_its_messages(ground: Ground, clean: bool, version: int) -> None:
    victim, thief = ground.probe(B), ground.session(version=version, client_id=B, clean=clean)
    assert thief.subscribe(topic(A, "ack")) == [GRANTED]
    victim.delivers()
    assert [packet for packet in thief.ping() if packet.kind == PUBLISH] == []
    victim.delivers()  # its session is still open


ODD = ["+", "#", "a/b", f"balise/v1/{B}", "é" * 16, "💣" * 16, f"{B} ", B.upper(), "x" * 60_000, "collector", "fleet"]
BROKEN = [f"{B}\0", "\0", b"\xff\xfe", "\ud800"]


@VERSIONS
@pytest.mark.parametrize("name", ODD, ids=lambda name: name[:20])
def test_an_odd_client_id_is_as_good_as_none(ground: Ground, name: str, version: int) -> None:
    line, sender = ground.session(version=version, client_id=name), Sender(A)
    assert line.publish(OWN, sender.sends().payload) == 0
    assert ground.got_in() == {"new": 1}
    assert line.publish(OTHERS, sender.sends().payload) == (NOT_AUTHORIZED if version == 5 else 0)
    assert ground.got_in() == {}


@VERSIONS
@pytest.mark.parametrize("name", ODD, ids=lambda name: name[:20])
def test_an_odd_user_is_a_stranger(ground: Ground, name: str, version: int) -> None:
    assert ground.line(version).connect(name, SECRETS[A]) == (REFUSED_5 if version == 5 else REFUSED_311)


@VERSIONS
@pytest.mark.parametrize("name", BROKEN, ids=repr)
@pytest.mark.parametrize("as_user", [False, True], ids=["client id", "user"])
def test_a_name_that_is_no_text_is_no_session(ground: Ground, name: Name, as_user: bool, version: int) -> None:
    user, client_id = (name, "") if as_user else (A, name)
    assert answer(ground.line(version), "connect", user, SECRETS[A], client_id=client_id) == "cut"


@VERSIONS
@pytest.mark.parametrize(
    ("user", "password"), [(A, "wrong"), (A, ""), (A, None), (A, SECRETS[B]), (None, None), ("", ""), (B, "\0")]
)
def test_who_does_not_know_the_password_is_nobody(
    ground: Ground, user: str | None, password: str | None, version: int
) -> None:
    victim = ground.probe(B)
    line = ground.line(version)
    assert answer(line, "connect", user, password, client_id=B) in (REFUSED_311, REFUSED_5, "cut")
    victim.delivers()


# what is no MQTT


def test_before_its_name_is_known_a_client_may_do_nothing(ground: Ground) -> None:
    line = ground.line()
    assert answer(line, "publish", OTHERS) == "cut"
    assert answer(ground.line(), "subscribe", "#") == "cut"
    assert ground.got_in() == {}


def test_nobody_becomes_another_in_an_open_session(ground: Ground) -> None:
    line = ground.session()
    assert answer(line, "connect", B, SECRETS[B]) == "cut"


@pytest.mark.parametrize("qos", [0, 2])
def test_no_quality_of_service_opens_another_s_topic(ground: Ground, qos: int) -> None:
    line = ground.session()
    line.send(OTHERS, Sender(B).sends().payload, qos=qos)
    line.ping()
    assert ground.got_in() == {}


@pytest.mark.parametrize("qos", [0, 2])
def test_the_collector_takes_its_own_in_any_quality(ground: Ground, qos: int) -> None:
    """One that the collector's way of reading did not know would end its session for everybody."""
    line = ground.session()
    line.send(OWN, Sender(A).sends().payload, qos=qos, mid=7)
    if qos == 2:
        line.wait(5)
        line.write(0x62, b"\0\7")
    line.ping()
    assert ground.got_in() == {"new": 1}


@pytest.mark.parametrize(
    "bytes_",
    [b"\0" * 100, b"\xff" * 100, b"GET / HTTP/1.1\r\n" + b"x" * 100, b"\x10\xff\xff\xff\xff\xff", b"\x36\x02\0\0"],
)
def test_what_is_no_mqtt_ends_its_own_connection_alone(ground: Ground, bytes_: bytes) -> None:
    for line in (ground.line(), ground.session()):
        line.sock.sendall(bytes_)
        assert line.is_cut()
    assert ground.got_in() == {}


# revoked


def test_revoked_on_an_open_connection_is_cut_at_once_and_comes_not_back(tmp_path: Path) -> None:
    with started(tmp_path) as ground:
        line, sender = ground.session(), Sender(A)
        assert line.publish(OWN, sender.sends().payload) == 0
        assert ground.got_in() == {"new": 1}
        assert broker.expel(ground.files, A)
        assert line.is_cut()
        assert ground.line().connect(A, SECRETS[A]) == REFUSED_5
        assert ground.got_in() == {}


def test_cut_off_is_let_back_with_the_same_password_and_what_it_hears(tmp_path: Path) -> None:
    with started(tmp_path) as ground:
        probe = ground.probe(A)
        probe.delivers()
        assert broker.cut_off(ground.files, A)
        assert probe.line.is_cut()
        assert ground.line().connect(A, SECRETS[A]) == REFUSED_5
        for _ in range(2):  # a command that failed half-way is given again
            assert broker.readmit(ground.files, A)
        ground.probe(A).delivers()
        assert not broker.cut_off(ground.files, "z" * 16)
        assert not broker.readmit(ground.files, "z" * 16)


def test_cut_off_while_no_broker_runs_is_cut_off_when_it_does(tmp_path: Path) -> None:
    files = broker.init(tmp_path, port=1)
    broker.add_probes(files.dynsec, {A: "x", B: "x"})
    before = json.loads(files.dynsec.read_text())["clients"]
    assert broker.cut_off(files, A)
    after = json.loads(files.dynsec.read_text())["clients"]
    assert [c["username"] for c in after if c.get("disabled") and not c["roles"]] == [A]
    assert broker.readmit(files, A)
    kept = json.loads(files.dynsec.read_text())["clients"]
    assert [c | {"disabled": False} for c in before] == [c | {"disabled": False} for c in kept]
    assert not broker.cut_off(files, "z" * 16)
