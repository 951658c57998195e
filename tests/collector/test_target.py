"""Does the target answer what probes ask, never more than it was asked, and bear anything else?"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import dnsmsg, stamp
from balise_agent.probes import dns, reach, web
from balise_agent.probes.context import Context
from balise_collector.target import Limits, Ports, Zone, make_zone, serve_target
from balise_collector.target.reflector import Sessions
from balise_collector.target.web import MAX_HEAD_BYTES, SMALL_BYTES, answer_request

GENEROUS = Limits()
ZONE = make_zone("probe.example.net")
QUESTION = stamp.SenderPacket(sequence=1, time_ns=1_800_000_000 * 10**9, session=7)
COMMAND = "import typer; from balise_collector.commands.target import target; typer.run(target)"


@contextmanager
def serving(
    listen: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    limits: Limits = GENEROUS,
    zone: Zone | None = ZONE,
) -> Iterator[Ports]:
    """A target in a thread of its own, stopped at the end."""
    ports: Future[Ports] = Future()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        loops.append((asyncio.get_running_loop(), asyncio.Event()))
        await serve_target(listen, 0, 0, tls, loops[0][1], ports.set_result, limits, zone, 0)

    def run() -> None:
        try:
            asyncio.run(main())
        except OSError as exc:
            ports.set_exception(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ports.result(timeout=30)
        loops[0][0].call_soon_threadsafe(loops[0][1].set)
    finally:
        if thread.is_alive() and loops:
            with contextlib.suppress(RuntimeError):
                loops[0][0].call_soon_threadsafe(loops[0][1].set)
        thread.join()


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with serving() as found:
        yield found


@contextmanager
def udp(port: int | None, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect((host, port))
        yield sock


def reflected(sock: socket.socket, question: stamp.SenderPacket = QUESTION) -> stamp.ReflectedPacket:
    sock.send(stamp.encode_sender(question))
    answer = stamp.decode_reflected(sock.recv(2_000))
    assert answer is not None
    return answer


def test_a_question_comes_back_with_both_times_and_the_senders_own(ports: Ports) -> None:
    with udp(ports.udp) as sock:
        before_ns = time.time_ns()
        answer = reflected(sock)
        after_ns = time.time_ns()
    assert before_ns <= answer.received_ns <= answer.time_ns <= after_ns
    sender = (answer.sender_sequence, answer.sender_time_ns, answer.sender_error, answer.session)
    assert sender == (QUESTION.sequence, QUESTION.time_ns, QUESTION.error, QUESTION.session)
    assert answer.sender_ttl == 64


def test_each_session_has_its_own_count(ports: Ports) -> None:
    other = stamp.SenderPacket(sequence=9, time_ns=1, session=8)
    with udp(ports.udp) as one, udp(ports.udp) as two:
        counts = [reflected(one).sequence, reflected(one).sequence, reflected(two).sequence]
        counts += [reflected(one, other).sequence, reflected(one).sequence]
    assert counts == [0, 1, 0, 0, 2]


@pytest.mark.parametrize("padding", [0, 1, 1_000])
def test_an_answer_is_as_long_as_its_question(ports: Ports, padding: int) -> None:
    with udp(ports.udp) as sock:
        sock.send(stamp.encode_sender(QUESTION) + b"p" * padding)
        answer = sock.recv(3_000)
    assert answer[stamp.PACKET_BYTES :] == b"p" * padding


def test_what_is_no_question_gets_no_answer(ports: Ports) -> None:
    with udp(ports.udp) as sock:
        answer = stamp.encode_reflected(reflected(sock))
        whole = stamp.encode_sender(QUESTION)
        for data in (answer, b"", b"junk", *(whole[:size] for size in range(len(whole))), whole + bytes(3_000)):
            sock.send(data)
        assert reflected(sock).sequence == 1  # the next answer is to this, and nothing between was counted
        sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            sock.recv(100)


def test_random_datagrams_are_borne(ports: Ports) -> None:
    rng = random.Random(1)
    with udp(ports.udp) as sock:
        for _ in range(200):
            sock.send(rng.randbytes(rng.randrange(100)))
        question = stamp.SenderPacket(sequence=77, time_ns=1, session=77)
        sock.send(stamp.encode_sender(question))
        while (answer := stamp.decode_reflected(sock.recv(2_000))) is None or answer.session != 77:
            pass
    assert answer.sender_sequence == 77


def asked(sock: socket.socket, name: str, kind: int = dnsmsg.TYPE_A) -> dnsmsg.Answer:
    labels = dnsmsg.parse_name(name)
    assert labels is not None
    question = dnsmsg.Question(name=labels, type=kind)
    sock.send(dnsmsg.encode_query(77, question))
    answer = dnsmsg.decode_answer(sock.recv(2_000))
    assert answer is not None
    assert answer.is_for(77, question)
    return answer


def test_dns_is_answered_for_the_zone_and_what_is_no_query_is_not(ports: Ports) -> None:
    rng = random.Random(1)
    with udp(ports.dns) as sock:
        query = dnsmsg.encode_query(1, dnsmsg.Question(name=ZONE.name, type=dnsmsg.TYPE_A))
        for data in (b"", *(query[:size] for size in range(len(query))), query + bytes(3_000), rng.randbytes(11)):
            sock.send(data)
        said = [asked(sock, name) for name in ("a.probe.example.net", "probe.example.org")]
    assert [(answer.rcode, answer.answers) for answer in said] == [(dnsmsg.NOERROR, 1), (dnsmsg.REFUSED, 0)]


def test_random_dns_datagrams_are_borne(ports: Ports) -> None:
    rng = random.Random(1)
    with udp(ports.dns) as sock:
        for _ in range(200):
            sock.send(rng.randbytes(rng.randrange(100)))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.recv(2_000)
    with udp(ports.dns) as sock:
        assert asked(sock, "b.probe.example.net").answers == 1


def test_without_a_zone_there_is_no_dns() -> None:
    with serving(zone=None) as found:
        assert found.dns is None


def test_every_address_is_listened_to_and_answers_from_where_it_was_asked() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback")
    with serving("::") as found:
        for host in ("127.0.0.1", "127.0.0.5", "::1"):
            with udp(found.udp, host) as sock:  # connected: an answer from another address would not come in
                assert reflected(sock).sender_sequence == 1
            with udp(found.dns, host) as sock:
                assert asked(sock, "probe.example.net").answers == 1
            with socket.create_connection((host, found.http), timeout=10) as tcp:
                tcp.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
                assert tcp.recv(100).startswith(b"HTTP/1.1 204 ")


def test_sessions_are_bounded_and_the_longest_idle_goes_first() -> None:
    sessions = Sessions(most=2, idle_ns=100)
    assert [sessions.count((name,), now) for now, name in enumerate("ababcb")] == [0, 0, 1, 1, 0, 2]
    assert len(sessions) == 2
    assert sessions.count(("a",), 6) == 0


def test_an_idle_session_is_forgotten_and_begins_anew() -> None:
    sessions = Sessions(most=10, idle_ns=100)
    assert [sessions.count(("a",), now) for now in (0, 100, 201)] == [0, 1, 0]
    assert len(sessions) == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50)), max_size=100))
def test_sessions_never_hold_more_than_their_most(steps: list[tuple[int, int]]) -> None:
    sessions, now_ns = Sessions(most=5, idle_ns=100), 0
    for name, wait in steps:
        now_ns += wait
        assert sessions.count((name,), now_ns) >= 0
        assert len(sessions) <= 5


def test_ping_is_empty_and_small_is_one_congestion_window(ports: Ports) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ports.http, timeout=10)
    with contextlib.closing(connection):
        bodies = []
        for path in ("/ping", "/small", "/small?cache=no", "/other"):
            connection.request("GET", path)
            response = connection.getresponse()
            bodies.append((response.status, len(response.read())))
        connection.request("HEAD", "/small")
        response = connection.getresponse()
        bodies.append((response.status, len(response.read())))
    assert bodies == [(204, 0), (200, SMALL_BYTES), (200, SMALL_BYTES), (404, 0), (200, 0)]
    assert SMALL_BYTES <= 10 * 1_448


def talk(ports: Ports, data: bytes, *, half_close: bool = False) -> bytes:
    """All that the target says to these bytes until it closes."""
    with socket.create_connection(("127.0.0.1", ports.http), timeout=30) as sock:
        said = bytearray()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65_536):
                said += part
    return bytes(said)


CLOSE = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (CLOSE, b"204"),
        (b"GET /ping HTTP/1.0\r\n\r\n", b"204"),
        (b"GET /ping HTTP/1.1\r\n\r\n", b"400"),
        (b"get /ping HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", b"413"),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"POST /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405"),
    ],
)
def test_a_request_gets_its_status_whole_and_byte_by_byte(ports: Ports, request_: bytes, status: bytes) -> None:
    whole = talk(ports, request_)
    assert whole.split(b" ")[:2] == [b"HTTP/1.1", status]
    with socket.create_connection(("127.0.0.1", ports.http), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for i in range(len(request_)):
                sock.sendall(request_[i : i + 1])
            while part := sock.recv(65_536):
                said += part
    assert said == whole


def test_a_request_that_is_cut_off_or_endless_is_closed_without_a_word(ports: Ports) -> None:
    assert talk(ports, CLOSE[:-1], half_close=True) == b""
    assert talk(ports, b"GET /" + b"a" * 3 * MAX_HEAD_BYTES) == b""


def test_several_requests_at_once_are_answered_in_their_order(ports: Ports) -> None:
    said = talk(ports, CLOSE.replace(b"Connection: close\r\n", b"") * 3 + CLOSE + b"trailing")
    assert said.count(b"HTTP/1.1 204 No Content") == 4


def test_a_connection_has_its_number_of_requests_and_no_more(ports: Ports) -> None:
    said = talk(ports, CLOSE.replace(b"Connection: close\r\n", b"") * (GENEROUS.requests + 1))
    assert said.count(b"HTTP/1.1 204 No Content") == GENEROUS.requests


@given(st.binary(max_size=200))
def test_any_head_gets_a_whole_answer(head: bytes) -> None:
    answer = answer_request(head)
    assert answer.data.startswith(b"HTTP/1.1 ")
    assert b"\r\n\r\n" in answer.data
    assert len(answer.data) < SMALL_BYTES + 300


def test_slow_clients_are_closed_and_the_next_is_served() -> None:
    with serving(limits=Limits(connections=3, request_s=0.5)) as found, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", found.http), 30)) for _ in range(8)]
        for sock in slow:
            sock.sendall(b"GET /ping HT")
        assert talk(found, CLOSE).startswith(b"HTTP/1.1 204 ")
        assert {sock.recv(10) for sock in slow[:3]} == {b""}


def probe_context() -> Context:
    return Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: True,
        state_dir=Path("/"),
    )


def test_the_probes_measure_it(ports: Ports) -> None:
    rung = reach.ReachTarget(label="op", host="127.0.0.1", method="stamp", port=ports.udp, every_s=0.1)
    (echoes,) = asyncio.run(reach.run(reach.ReachSettings(interval_s=1, targets=(rung,)), probe_context()))
    assert echoes.outcome.kind == "ok"
    assert {name: echoes.fields[name] for name in ("lost", "fwd_lost", "rev_lost")} == {
        "lost": 0,
        "fwd_lost": 0,
        "rev_lost": 0,
    }
    item = web.WebObject(label="target", url=f"http://127.0.0.1:{ports.http}/small")
    (fetched,) = asyncio.run(web.run(web.WebSettings(objects=(item,)), probe_context()))
    assert (fetched.outcome.kind, fetched.fields["bytes"]) == ("ok", SMALL_BYTES)
    assert ports.dns is not None
    resolver = dns.DnsResolver(label="operator", host="127.0.0.1", port=ports.dns, name="probe.example.net")
    answers = asyncio.run(dns.run(dns.DnsSettings(resolvers=(resolver,)), probe_context()))
    assert [(record.target, record.outcome.kind, record.fields["answers"]) for record in answers] == [
        ("operator", "ok", 1),
        ("operator.unique", "ok", 1),
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*new, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_over_tls_it_serves_and_bears_what_is_no_tls(certificate: tuple[Path, Path]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with serving(tls=tls) as found:
        for junk in (b"", CLOSE, b"\x16\x03\x01\x00\x05junk!"):
            assert not talk(found, junk, half_close=True).startswith(b"HTTP")
        item = web.WebObject(label="t", url=f"https://127.0.0.1:{found.http}/small", ca_file=str(certificate[0]))
        (fetched,) = asyncio.run(web.run(web.WebSettings(objects=(item,)), probe_context()))
    assert (fetched.outcome.kind, fetched.fields["bytes"]) == ("ok", SMALL_BYTES)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_its_ports_and_stops_when_told(number: signal.Signals, certificate: tuple[Path, Path]) -> None:
    arguments = ["--listen", "127.0.0.1", "--port", "0", "--udp-port", "0", "--json"]
    arguments += ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        with udp(said["udp"]) as sock, socket.create_connection(("127.0.0.1", said["http"]), 10):
            assert reflected(sock).sequence == 0
            process.send_signal(number)
            rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert said.keys() == {"http", "udp"}


@pytest.mark.parametrize(("as_json", "word"), [(["--json"], '"dns": '), ([], "DNS on UDP port ")])
def test_the_command_says_its_dns_port_where_it_has_a_zone(as_json: list[str], word: str) -> None:
    arguments = ["--listen", "127.0.0.1", "--port", "0", "--udp-port", "0", "--dns-port", "0", *as_json]
    arguments += ["--dns-zone", "probe.example.net", "--dns-address", "192.0.2.7", "--dns-ttl", "9"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(re.split(r"\D", process.stdout.readline().partition(word)[2])[0])
        with udp(port) as sock:
            said = [asked(sock, "x.probe.example.net", kind).answers for kind in (dnsmsg.TYPE_A, dnsmsg.TYPE_AAAA)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert (process.returncode, said) == (0, [1, 0])


def test_the_command_says_what_it_cannot_use(tmp_path: Path, ports: Ports) -> None:
    taken = ["--listen", "127.0.0.1", "--port", str(ports.http), "--udp-port", "0"]
    free = ["--listen", "127.0.0.1", "--port", "0", "--udp-port", "0"]
    calls = [*free, "--telephone", "--sip-port"]
    no_pem = ["--tls-cert", str(tmp_path / "missing.pem")]
    zone = ["--dns-zone", "probe.example.net", "--dns-address"]
    for arguments, word in (
        (taken, f"cannot listen on TCP port {ports.http} of 127.0.0.1: "),
        ([*calls, str(ports.http)], f"cannot listen on TCP port {ports.http} of 127.0.0.1: "),
        ([*calls, "0", "--voice-port", str(ports.udp)], f"cannot listen on UDP port {ports.udp} of 127.0.0.1: "),
        (no_pem, "missing.pem"),
        (["--tls-key", "k"], "--tls-cert"),
        (["--dns-zone", "a..b"], "no domain name"),
        (["--dns-address", "192.0.2.1"], "--dns-zone"),
        ([*zone, "here"], "'here'"),
        ([*zone, "192.0.2.1", "--dns-address", "192.0.2.2"], "second IPv4"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            env={**os.environ, "COLUMNS": "300"},  # a long path is not broken
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
