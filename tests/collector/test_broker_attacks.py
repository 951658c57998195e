"""What can a probe do that it should not? The attacker's table, on the real broker with our configuration."""

from __future__ import annotations

import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from balise_agent.contract import MAX_BODY_BYTES, MAX_WIRE_BYTES, topic
from balise_collector import broker
from tests.collector.attacker import GRANTED, NOT_AUTHORIZED, PUBLISH, Attacker, Name, Will
from tests.collector.ground import SECRETS, A, B, Ground
from tests.collector.ground import ground as started
from tests.collector.sender import Sender

VERSIONS = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
OWN, OTHERS = topic(A, "records"), topic(B, "records")
CONTROL = "$CONTROL/dynamic-security/v1"
REFUSED_311, REFUSED_5, FAILURE_311 = 5, NOT_AUTHORIZED, 0x80


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with started(tmp_path_factory.mktemp("ground")) as found:
        yield found


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    shared.got_in()
    yield shared
    shared.close(first=1)  # the honest probe's stays


def answer(line: Attacker, call: str, *arguments: object, **options: object) -> object:
    """What the broker says to it: "cut" where it hangs up."""
    try:
        return getattr(line, call)(*arguments, **options)
    except ConnectionError:
        return "cut"


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


# weight


@VERSIONS
@pytest.mark.parametrize("size", [MAX_WIRE_BYTES + 1_024, 1_000_000, 10_000_000])
def test_a_message_beyond_the_limit_ends_the_session(ground: Ground, size: int, version: int) -> None:
    assert answer(ground.session(version=version), "publish", OWN, b"\0" * size) == "cut"
    assert ground.got_in() == {}


def test_a_zip_bomb_is_refused_at_its_first_megabyte(ground: Ground) -> None:
    probe = ground.probe(A)
    line, _, _ = probe.sender.sends().payload.partition(b"\n")
    squeezer = zlib.compressobj(9)
    bomb = b"".join(squeezer.compress(b"\0" * 1_000_000) for _ in range(200)) + squeezer.flush()
    assert len(bomb) < MAX_WIRE_BYTES < 200_000_000
    tracemalloc.start()
    probe.delivers(probe.sender.raw(line + b"\n" + bomb))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert probe.rejected == {1: "inflates_too_much"}
    assert peak < 10 * MAX_BODY_BYTES
    assert ground.got_in() == {"dead_letter": 1}


def test_what_was_captured_and_is_sent_again_is_absorbed(ground: Ground) -> None:
    probe = ground.probe(A)
    captured = [probe.sender.sends() for _ in range(10)]
    probe.delivers(*captured)
    thief = ground.session(client_id="another")  # with A's password: the worst case
    for message in captured * 20:
        thief.send(message.topic, message.payload)
    thief.ping()
    assert ground.got_in() == {"new": 10, "duplicate": 200}


def test_what_was_captured_of_another_is_kept_as_the_thief_s(ground: Ground) -> None:
    """It could have made it up as well: what a probe says is of its own home alone."""
    victim = ground.probe(B)
    message = victim.sender.sends()
    victim.delivers(message)
    line = ground.session()
    assert line.publish(message.topic, message.payload) == NOT_AUTHORIZED
    assert ground.got_in() == {"new": 1}
    assert line.publish(OWN, message.payload) == 0
    assert ground.got_in() == {"new": 1}
    victim.delivers()
    assert ground.got_in() == {"new": 1}


FLOOD = 10_000


@pytest.mark.parametrize(
    ("name", "qos", "count", "size", "outcomes"),
    [
        (OWN, 1, FLOOD, 200, {"dead_letter"}),
        (OWN, 0, FLOOD, 200, {"dead_letter"}),
        (OWN, 1, FLOOD // 20, 200_000, {"dead_letter"}),
        (topic(A, "state"), 1, FLOOD, 200, {"bad_state"}),
        (OTHERS, 1, FLOOD, 200, set()),
        (CONTROL, 1, FLOOD, 200, set()),
    ],
    ids=["own", "own, QoS 0", "own, large", "own state", "another's", "$CONTROL"],
)
def test_while_one_floods_another_s_records_arrive(
    ground: Ground, name: str, qos: int, count: int, size: int, outcomes: set[str]
) -> None:
    line = ground.session()
    packets = b"".join(line.packet(name, b"\0" * size, qos=qos) for _ in range(count // 10))
    sending = threading.Thread(target=line.sock.sendall, args=(packets * 10,))
    sending.start()
    for _ in range(5):
        ground.honest.delivers()
    sending.join(60)
    line.ping()
    assert ground.got_in().keys() - {"new"} == outcomes


def test_who_does_not_listen_is_not_read_any_more(ground: Ground) -> None:
    """Else the answers that it does not take would fill the broker's memory."""
    line = ground.session()
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.sock.settimeout(0.5)
    packets = memoryview(line.packet("x", b"") * 1_000_000)
    sent = 0
    try:
        while sent < len(packets):
            sent += line.sock.send(packets[sent:])  # each may wait that long, not all of them together
    except TimeoutError:
        pass
    assert sent < len(packets) / 2
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
