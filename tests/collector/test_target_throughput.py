"""Does the target give each its turn, carry and count streams, and bear whoever asks too much?"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from balise_agent.net.throughput.dialogue import Peer
from balise_agent.net.throughput.measure import Spec, measure
from balise_agent.net.throughput.shape import MOST_BYTES, MOST_STREAMS, SHAPES, Shape
from balise_collector.commands.target import app
from balise_collector.target import Limits, Ports, Throughput, serve_target
from balise_collector.target.leases import NIC_SHARE, UNKNOWN_BPS, Busy, Lease, Leases
from balise_collector.target.throughput import GONE_S
from balise_collector.target.tokens import Grant, make_token, read_key, read_token
from tests.waiting import until

KEY = bytes(range(32))
GRANT = Grant(segment="s7Q", shape="light", expires_s=2_000_000_000)
SHORT = dict.fromkeys(SHAPES, Shape(discard_s=0.2, duration_s=0.4))  # many tests in little time


@contextmanager
def serving(
    throughput: Throughput | None = None, listen: str = "127.0.0.1", limits: Limits | None = None
) -> Iterator[Ports]:
    """A target in a thread of its own."""
    ports: Future[Ports] = Future()
    stop: Future[Callable[[], object]] = Future()
    given_ = Throughput(key=None) if throughput is None else throughput

    async def main() -> None:
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.set_result(lambda: loop.call_soon_threadsafe(event.set))
        await serve_target(listen, 0, 0, None, event, ports.set_result, limits or Limits(), throughput=given_)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        yield ports.result(timeout=30)
    finally:
        stop.result(timeout=30)()
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as ports:
        yield ports.http


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read(), response.headers


def told(port: int, method: str, path: str) -> Any:
    return json.loads(ask(port, method, path)[1])


def peer(port: int, host: str = "127.0.0.1") -> Peer:
    if ":" in host:
        return Peer(family=socket.AF_INET6, address=(host, port, 0, 0), name=f"[{host}]")
    return Peer(family=socket.AF_INET, address=(host, port), name=host)


# Tokens


def test_a_token_says_what_it_was_made_for_until_it_is_over() -> None:
    token = make_token(KEY, GRANT)
    assert read_token(KEY, token, GRANT.expires_s - 1) == GRANT
    assert read_token(KEY, token, GRANT.expires_s) is None
    assert read_token(bytes(32), token, 0) is None


@given(st.text(max_size=80))
def test_no_other_text_is_a_token(text: str) -> None:
    assert read_token(KEY, text, 0) is None


@given(st.integers(0, 60), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_token_with_another_letter_is_none(at: int, letter: str) -> None:
    token = make_token(KEY, GRANT)
    changed = token[:at] + letter + token[at + 1 :]
    assert changed == token or read_token(KEY, changed, 0) is None


@pytest.mark.parametrize(
    "grant", [replace(GRANT, segment="a.b"), replace(GRANT, segment=""), replace(GRANT, shape="x")]
)
def test_a_token_for_what_cannot_be_is_not_made(grant: Grant) -> None:
    with pytest.raises(ValueError, match="is no"):
        make_token(KEY, grant)


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "é", "root:x:0:0:root:/root:/bin/bash" * 9])
def test_a_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        read_key(text)


# Leases


def test_a_segment_has_one_test_at_a_time_and_the_next_after_it() -> None:
    leases = Leases()
    first = leases.ask("1", "a", "light", (None, None), 0)
    assert isinstance(first, Lease)
    assert leases.ask("2", "a", "light", (None, None), 1) == Busy(why="segment", retry_s=int(first.ends_s) - 1)
    assert isinstance(leases.ask("3", "b", "light", (None, None), 1), Lease)
    leases.release("1")
    assert isinstance(leases.ask("4", "a", "light", (None, None), 1), Lease)


def test_a_lease_of_a_probe_that_died_ends_by_itself() -> None:
    leases = Leases()
    first = leases.ask("1", "a", "full", (None, None), 0)
    assert isinstance(first, Lease)
    assert leases.find("1", first.ends_s - 0.1) == first
    assert leases.find("1", first.ends_s) is None
    assert isinstance(leases.ask("2", "a", "full", (None, None), first.ends_s), Lease)


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.floats(1, 2e9)), max_size=40))
def test_contracts_of_running_tests_never_exceed_their_share_of_the_interface(asked: list[tuple[int, Any]]) -> None:
    leases = Leases(nic_bps=2e9)
    for number, (segment, bps) in enumerate(asked):
        leases.ask(str(number), str(segment), "light", (bps, None), number)
    assert sum(lease.bps for lease in leases.running.values()) <= NIC_SHARE * 2e9
    assert len({lease.segment for lease in leases.running.values()}) == len(leases.running)


def test_a_line_whose_contract_is_not_said_takes_a_gigabit() -> None:
    leases = Leases(nic_bps=UNKNOWN_BPS)
    assert isinstance(leases.ask("1", "a", "light", (None, None), 0), Busy)
    assert isinstance(leases.ask("2", "a", "light", (700e6, 1e6), 0), Lease)
    assert isinstance(leases.ask("3", "b", "light", (1, 1), 0), Busy)


# Over HTTP


def test_without_a_token_nobody_has_a_turn_and_without_a_turn_nobody_a_stream() -> None:
    full = make_token(KEY, replace(GRANT, shape="full", segment="other"))
    with serving(Throughput(key=KEY, role="offnet")) as ports:
        statuses = [
            ask(ports.http, method, path)[0]
            for method, path in (
                ("POST", "/lease?shape=light"),
                ("POST", "/lease?shape=light&token=x"),
                ("POST", f"/lease?shape=full&token={make_token(KEY, GRANT)}"),
                ("GET", "/garbage?bytes=5"),
                ("GET", "/garbage.php"),
                ("POST", "/empty.php"),
                ("POST", "/upload?lease=x"),
                ("GET", "/report?lease=x&direction=up"),
            )
        ]
        lease = told(ports.http, "POST", f"/lease?shape=loaded&token={full}")
        body = ask(ports.http, "GET", f"/garbage?bytes=5&lease={lease['lease']}")[1]
    assert statuses == [403] * 8
    assert (lease["role"], lease["udp_port"], len(body)) == ("offnet", ports.udp, 5)


def test_a_turn_that_is_not_free_is_429_with_when_to_come_again() -> None:
    with serving() as ports:
        lease = told(ports.http, "POST", "/lease?shape=light")["lease"]
        status, body, headers = ask(ports.http, "POST", "/lease?shape=light")
        assert (status, json.loads(body)) == (429, {"refused": "segment"})
        assert 1 <= int(headers["Retry-After"]) <= 60
        ask(ports.http, "POST", f"/release?lease={lease}")
        assert ask(ports.http, "POST", "/lease?shape=light")[0] == 200


class Held:
    """A lease and the connection that holds it, on a target whose leases never end by time."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.sendall(b"POST /lease?shape=light&hold=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        while not said.endswith(b"}"):
            said += self.sock.recv(4_096)
        self.lease = json.loads(said.partition(b"\r\n\r\n")[2])["lease"]

    def end(self, how: str) -> None:
        """By FIN, by RST as a killed probe's, or by a byte that nobody asked for."""
        if how == "byte":
            self.sock.sendall(b"x")
            while self.sock.recv(1):
                pass
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


@pytest.mark.parametrize("how", ["end", "reset", "byte"])
def test_the_turn_of_a_probe_whose_connections_are_gone_is_free(how: str) -> None:
    with serving(Throughput(key=None, monotonic=lambda: 0.0)) as ports:
        held = Held(ports.http)
        assert ask(ports.http, "POST", "/lease?shape=light")[0] == 429
        held.end(how)
        until(lambda: ask(ports.http, "POST", "/lease?shape=light")[0] == 200)


def test_a_turn_is_not_free_while_a_stream_of_it_runs_and_is_after_that() -> None:
    with serving(Throughput(key=None, monotonic=lambda: 0.0)) as ports:
        held = Held(ports.http)
        with socket.create_connection(("127.0.0.1", ports.http), timeout=30) as stream:
            head = f"GET /garbage?bytes={MOST_BYTES}&lease={held.lease} HTTP/1.1\r\nHost: x\r\n\r\n"
            stream.sendall(head.encode())
            assert stream.recv(15) == b"HTTP/1.1 200 OK"
            held.end("reset")
            for _ in range(8):  # each as long as the target takes to see that a connection is gone
                assert stream.recv(1 << 16)
                time.sleep(GONE_S)
                assert ask(ports.http, "POST", "/lease?shape=light")[0] == 429
        until(lambda: ask(ports.http, "POST", "/lease?shape=light")[0] == 200)
        assert ask(ports.http, "GET", f"/garbage?bytes=1&lease={held.lease}")[0] == 403


def test_a_connection_that_held_a_turn_is_closed_when_that_is_given_back() -> None:
    with serving(Throughput(key=None, monotonic=lambda: 0.0)) as ports:
        held = Held(ports.http)
        ask(ports.http, "POST", f"/release?lease={held.lease}")
        assert held.sock.recv(1) == b""
        held.end("end")


def test_a_turn_that_nobody_holds_ends_by_time_alone() -> None:
    throughput = Throughput(key=None, monotonic=lambda: 0.0)
    with serving(throughput) as ports:
        told(ports.http, "POST", "/lease?shape=light")  # each request here has a connection of its own
        assert ask(ports.http, "POST", "/lease?shape=light&hold=1")[0] == 429
        assert len(throughput.leases.running) == 1


AGENT = [sys.executable, "-m", "balise_agent.cli", "once", "throughput", "--shape", "full", "--target"]
CHILD = [sys.executable, "-m", "balise_agent.net.throughput"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_once_that_is_ended_in_the_middle_of_a_test_gives_its_turn_back(number: signal.Signals) -> None:
    throughput = Throughput(key=None, monotonic=lambda: 0.0)
    with serving(throughput) as ports:
        agent = subprocess.Popen(
            [*AGENT, f"http://127.0.0.1:{ports.http}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: throughput.running >= 4)
        agent.send_signal(number)
        agent.wait()
        until(lambda: throughput.running == 0 and throughput.leases.running == {})
        assert ask(ports.http, "POST", "/lease?shape=light")[0] == 200


@pytest.mark.parametrize("kind", ["throughput", "loaded"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_test_that_is_stopped_or_killed_frees_its_line_and_its_turn(kind: str, number: signal.Signals) -> None:
    throughput = Throughput(key=None, monotonic=lambda: 0.0)
    with serving(throughput) as ports:
        there = {"family": socket.AF_INET, "address": ("127.0.0.1", ports.http), "name": "x"}
        spec = {"kind": kind, "peer": there, "parent": os.getpid(), "only": "up"}
        with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as test:
            assert test.stdin is not None
            test.stdin.write(json.dumps(spec).encode() + b"\n")
            test.stdin.flush()
            until(lambda: throughput.running >= 4)
            test.send_signal(number)
        assert test.returncode in (128 + number, -number)
        until(lambda: throughput.running == 0 and throughput.leases.running == {})


def test_librespeeds_paths_answer_as_its_own_server(port: int) -> None:
    status, body, headers = ask(port, "GET", "/garbage.php?ckSize=2")
    assert (status, len(body), headers["Content-Length"]) == (200, 2 << 20, str(2 << 20))
    assert len(set(body[:4_096])) > 200  # no proxy on the way can make it smaller
    assert len(ask(port, "GET", "/garbage.php")[1]) == 4 << 20
    assert ask(port, "GET", "/empty.php")[:2] == (200, b"")
    assert ask(port, "POST", "/empty.php", bytes(3_000_000))[:2] == (200, b"3000000")
    assert ask(port, "POST", "/empty.php", b"")[:2] == (200, b"0")
    assert told(port, "GET", "/getIP.php") == {"processedString": "127.0.0.1", "rawIspInfo": ""}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/garbage", 400),
        ("/garbage?bytes=-1", 400),
        ("/garbage?bytes=many", 400),
        ("/garbage?bytes=0", 200),
        ("/garbage?bytes=1", 200),
        (f"/garbage?bytes={MOST_BYTES + 1}", 413),
        ("/garbage.php?ckSize=none", 200),
        ("/garbage?lease=unknown&bytes=1", 403),
        ("/report", 403),
        ("/ping", 204),
        ("/none", 404),
    ],
)
def test_each_request_has_its_status(port: int, path: str, status: int) -> None:
    assert ask(port, "GET", path)[0] == status


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        said = bytearray()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(data)
            while part := sock.recv(65_536):
                said += part
    return bytes(said)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MOST_BYTES + 1), b"413"),
        (b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999\r\n\r\n", b"413"),
        (b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"POST /lease?shape=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"400"),
        (b"POST /upload?" + b"a=1&" * 400 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"200"),
    ],
)
def test_what_is_too_much_is_refused_before_it_is_read(port: int, head: bytes, status: bytes) -> None:
    assert raw(port, head)[9:12] == status


def test_a_lease_has_so_many_streams_and_no_more(port: int) -> None:
    lease = told(port, "POST", "/lease?shape=light")["lease"]
    try:
        statuses = [ask(port, "GET", f"/garbage?bytes=1&lease={lease}")[0] for _ in range(MOST_STREAMS + 1)]
    finally:
        ask(port, "POST", f"/release?lease={lease}")
    assert statuses == [200] * MOST_STREAMS + [403]


def test_slow_and_half_open_clients_hold_up_nobody() -> None:
    with serving(limits=Limits(connections=4, request_s=0.3)) as ports, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", ports.http), 30)) for _ in range(4)]
        for sock, data in zip(slow, (b"", b"POST /upl", b"GET /garbage?bytes=5 HTTP/1.1\r\n", b"\r\n"), strict=True):
            sock.sendall(data)
        assert ask(ports.http, "GET", "/garbage?bytes=5")[1] != b""
        for sock in slow:
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4_096):
                    pass


def test_a_stream_ends_with_its_lease() -> None:
    throughput = Throughput(key=None)
    with serving(throughput) as ports:
        lease = told(ports.http, "POST", "/lease?shape=full")["lease"]
        with socket.create_connection(("127.0.0.1", ports.http), timeout=30) as sock:
            sock.sendall(b"GET /garbage?bytes=%d&lease=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (MOST_BYTES, lease.encode()))
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            ask(ports.http, "POST", f"/release?lease={lease}")
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(1 << 20):
                    pass
        until(lambda: throughput.running == 0)


def test_an_upload_that_is_cut_off_is_over() -> None:
    throughput = Throughput(key=None)
    with serving(throughput) as ports:
        for linger in (b"\1\0\0\0\0\0\0\0", bytes(8)):
            with socket.create_connection(("127.0.0.1", ports.http), timeout=30) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n12345")
                until(lambda: throughput.running == 1)
            until(lambda: throughput.running == 0)


def test_a_client_that_does_not_read_and_one_that_does_not_send_are_reset() -> None:
    throughput = Throughput(key=None)
    with serving(throughput) as ports, contextlib.ExitStack() as stack:
        lease = told(ports.http, "POST", "/lease?shape=loaded")["lease"].encode()
        heads = (
            b"GET /garbage?bytes=%d&lease=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (MOST_BYTES, lease),
            b"POST /upload?lease=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1" % lease,
        )
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", ports.http), 30)) for _ in heads]
        for sock, head in zip(socks, heads, strict=True):
            sock.sendall(head)
        until(lambda: throughput.running == 2)
        until(lambda: throughput.running == 0)
        with pytest.raises(ConnectionResetError):
            socks[1].recv(10)


def test_a_target_that_is_stopped_ends_its_streams() -> None:
    with contextlib.ExitStack() as stack, serving() as ports:  # leaving the block waits for the target's end
        for head in (b"GET /garbage?bytes=%d" % MOST_BYTES, b"POST /upload"):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", ports.http), timeout=30))
            sock.sendall(head + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        sock.sendall(b"1")


# The probe's side against it


def silence(direction: str, since_s: float, moved: int) -> None:
    """Nobody looks."""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_test_has_a_figure_each_way_that_both_ends_agree_on(host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    seen: list[str] = []
    with serving(listen=host) as ports:
        outcome, fields = measure(
            Spec(kind="throughput", peer=peer(ports.http, host)), lambda direction, *_: seen.append(direction), SHORT
        )
    assert (outcome.kind, outcome.reason) == ("ok", None)
    assert (fields["af"], fields["role"], fields["streams"]) == (6 if ":" in host else 4, "operator", 4)
    for way in ("down", "up"):
        low, rate, high = (int(fields[f"{way}_{name}bps"]) for name in ("p5_", "", "p95_"))
        assert 0 < low <= high
        assert int(fields[f"{way}_bytes"]) * 8 / 0.4 == pytest.approx(rate, rel=0.15)
        assert 0 < float(fields[f"{way}_share_min"]) <= 0.25 <= float(fields[f"{way}_share_max"])
        assert fields[f"{way}_counter"] == "bytes"  # on loopback segments are merged
    assert {"down", "up"} == set(seen)


@pytest.mark.parametrize(("only", "other"), [("down", "up"), ("up", "down")])
def test_only_one_way_is_measured_where_that_is_asked(only: str, other: str) -> None:
    with serving() as ports:
        outcome, fields = measure(Spec(kind="throughput", peer=peer(ports.http), only=only), silence, SHORT)
    assert outcome.kind == "ok"
    assert f"{only}_bps" in fields
    assert not any(name.startswith(f"{other}_") for name in fields)


def test_latency_under_load_is_measured_both_ways_under_cubic_and_says_how() -> None:
    with serving() as ports:
        outcome, fields = measure(Spec(kind="loaded", peer=peer(ports.http)), silence, SHORT)
    assert (outcome.kind, outcome.reason) == ("ok", None)
    assert fields["rpm_method"] in ("icmp", "stamp")
    for way in ("down", "up"):
        assert 0 < int(fields[f"{way}_loaded_p50_us"]) <= int(fields[f"{way}_loaded_p95_us"])
        assert fields[f"{way}_delta_us"] == int(fields[f"{way}_loaded_p50_us"]) - int(fields["idle_p50_us"])
        assert fields[f"{way}_cc"] != "bbr"


def test_a_test_gives_its_turn_back_also_where_it_failed() -> None:
    throughput = Throughput(key=None)
    with serving(throughput) as ports:
        measure(Spec(kind="throughput", peer=peer(ports.http), only="down"), silence, SHORT)
        assert throughput.leases.running == {}
        outcome, _ = measure(Spec(kind="throughput", peer=peer(ports.http), only="down", streams=9), silence, SHORT)
        assert (outcome.kind, outcome.reason) == ("failed", "token_refused")
        assert throughput.leases.running == {}


def test_a_busy_target_is_skipped_with_when_to_come_again() -> None:
    with serving() as ports:
        told(ports.http, "POST", "/lease?shape=light")
        outcome, fields = measure(Spec(kind="throughput", peer=peer(ports.http)), silence, SHORT)
    assert (outcome.kind, outcome.reason) == ("skipped", "server_busy")
    assert 1 <= int(fields["retry_after_s"]) <= 60


def test_a_target_that_takes_no_tests_is_a_reason() -> None:
    with serving(Throughput(key=KEY)) as ports:
        outcome, _ = measure(Spec(kind="throughput", peer=peer(ports.http)), silence, SHORT)
    assert (outcome.kind, outcome.reason) == ("failed", "token_refused")
    outcome, _ = measure(Spec(kind="throughput", peer=peer(ports.http)), silence, SHORT)
    assert (outcome.kind, outcome.reason) == ("failed", "connect_refused")


# The command


def command(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def test_a_token_is_made_by_hand_with_the_targets_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n")
    code, said = command("token", "--key", key, "--segment", "s7Q", "--shape", "full", "--hours", 1)
    grant = read_token(read_key(key.read_text()), said.strip(), time.time())
    assert (code, grant and grant.segment, grant and grant.shape) == (0, "s7Q", "full")
    assert grant is not None
    assert 3_590 < grant.expires_s - time.time() <= 3_600


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--open"], "loopback"),
        (["--open", "--listen", "192.0.2.1"], "loopback"),
        (["--open", "--listen", "127.0.0.1", "--token-key", "KEY"], "one of them"),
        (["--token-key", "/none"], "No such file"),
        (["--token-key", "KEY"], "32 are needed"),
        (["--role", "mine"], "allowed: operator, offnet"),
        (["token", "--key", "KEY", "--segment", "a"], "32 are needed"),
        (["token", "--key", "/none", "--segment", "a"], "No such file"),
    ],
)
def test_what_the_command_cannot_use_is_told(tmp_path: Path, arguments: list[str], word: str) -> None:
    (tmp_path / "key").write_text("AAAA")
    code, said = command(*(str(tmp_path / "key") if a == "KEY" else a for a in arguments))
    assert code == 2
    assert word in " ".join(re.sub(r"[│╭╮╰╯─\n]", " ", said).split())


def test_a_target_that_goes_away_in_the_middle_cut_the_test_off() -> None:
    begun, found = threading.Event(), []

    def say(_direction: str, _since_s: float, moved: int) -> None:
        if moved:
            begun.set()

    with serving() as ports:
        asked = Spec(kind="throughput", peer=peer(ports.http), only="down")
        test = threading.Thread(target=lambda: found.append(measure(asked, say)))
        test.start()
        assert begun.wait(timeout=60)
    test.join()
    assert [(outcome.kind, outcome.reason) for outcome, _ in found] == [("failed", "closed_early")]
