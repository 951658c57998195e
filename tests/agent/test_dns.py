"""Is a resolver's answer its own record, and its failure one with its reason?"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from balise_agent.codec import check_record
from balise_agent.contract import OK, Record, failed
from balise_agent.net import dnsmsg
from balise_agent.probes.context import Context
from balise_agent.probes.dns import DnsResolver, DnsSettings, judge, run, unique_name
from balise_agent.settings import build

NAME = "probe.example.org"
ADDRESS = b"\xc0\x0c" + b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"
Peer = Callable[[bytes], list[bytes]]


def context() -> Context:
    return Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: None,
        state_dir=Path("/"),
    )


def reply(query: bytes, *, flags: int = 0x8180, records: int = 1) -> bytes:
    return query[:2] + flags.to_bytes(2) + query[4:6] + records.to_bytes(2) + bytes(4) + query[12:] + ADDRESS * records


@contextmanager
def resolver(peer: Peer) -> Iterator[int]:
    """A DNS server of which ``peer`` makes the answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := sock.recvfrom(512))[0]:
                for data in peer(received[0]):
                    with contextlib.suppress(ConnectionRefusedError):  # the probe had its answer and went
                        sock.sendto(data, received[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"", sock.getsockname())
            thread.join()


def ask(port: int, host: str = "127.0.0.1") -> list[Record]:
    settings = DnsSettings(resolvers=(DnsResolver(label="box", host=host, port=port, name=NAME),))
    records = asyncio.run(run(settings, context()))
    assert [check_record(record) for record in records] == [None, None]
    assert [(r.target, r.fields["name_kind"]) for r in records] == [("box", "cached"), ("box.unique", "unique")]
    return records


def test_each_resolver_is_asked_for_the_fixed_name_and_for_one_that_no_cache_has() -> None:
    asked = []

    def peer(query: bytes) -> list[bytes]:
        read = dnsmsg.decode_query(query)
        assert read is not None
        asked.append(b".".join(read.question.name).decode())
        return [reply(query)]

    with resolver(peer) as port:
        records = ask(port)
    assert asked[0] == NAME
    assert asked[1].partition(".")[2] == NAME
    for record in records:
        assert record.outcome == OK
        assert {name: record.fields[name] for name in ("af", "rcode", "tc", "answers")} == {
            "af": 4,
            "rcode": 0,
            "tc": False,
            "answers": 1,
        }
        assert float(record.fields["query_ms"]) > 0


def test_forged_answers_are_passed_over() -> None:
    def peer(query: bytes) -> list[bytes]:
        other_ident = bytes((query[0] ^ 1, query[1]))
        other_name = query[:13] + bytes((query[13] ^ 1,)) + query[14:]
        return [b"junk", query, reply(other_ident + query[2:]), reply(other_name), reply(query, records=2)]

    with resolver(peer) as port:
        records = ask(port)
    assert [(record.outcome, record.fields["answers"]) for record in records] == [(OK, 2), (OK, 2)]


@pytest.mark.parametrize(
    ("rcode", "cached", "unique"),
    [
        (1, failed("formerr"), failed("formerr")),
        (2, failed("servfail"), failed("servfail")),
        (3, failed("nxdomain"), OK),  # that a random name is not there is a whole answer
        (4, failed("notimp"), failed("notimp")),
        (5, failed("query_refused"), failed("query_refused")),
        (9, failed("rcode_other"), failed("rcode_other")),
    ],
)
def test_an_error_keeps_its_code_and_its_time(rcode: int, cached: object, unique: object) -> None:
    with resolver(lambda query: [reply(query, flags=0x8180 | rcode, records=0)]) as port:
        records = ask(port)
    assert [record.outcome for record in records] == [cached, unique]
    assert [(record.fields["rcode"], "query_ms" in record.fields) for record in records] == [(rcode, True)] * 2


def test_a_truncated_answer_is_an_answer_that_says_so() -> None:
    with resolver(lambda query: [reply(query, flags=0x8380, records=0)]) as port:
        records = ask(port)
    assert [(record.outcome, record.fields["tc"]) for record in records] == [(OK, True)] * 2


def test_a_closed_port_is_a_refusal_and_not_a_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    for record in ask(port):
        assert record.outcome == failed("refused")
        assert record.fields.keys() == {"af", "name_kind"}


def test_a_silent_resolver_is_a_timeout_and_holds_up_no_other() -> None:
    asked_at: list[float] = []
    ended_at: list[float] = []

    async def both(silent: int, prompt: int) -> list[Record]:
        settings = DnsSettings(
            timeout_s=1,
            resolvers=(
                DnsResolver(label="silent", host="127.0.0.1", port=silent, name=NAME),
                DnsResolver(label="prompt", host="127.0.0.1", port=prompt, name=NAME),
            ),
        )
        records = await run(settings, context())
        ended_at.append(time.monotonic())
        return records

    def answering(query: bytes) -> list[bytes]:
        asked_at.append(time.monotonic())
        return [reply(query)]

    with resolver(lambda _: []) as silent, resolver(answering) as prompt:
        records = asyncio.run(both(silent, prompt))
    assert [record.outcome for record in records] == [failed("timeout"), failed("timeout"), OK, OK]
    assert len(asked_at) == 2
    assert max(asked_at) < ended_at[0]  # asked while the silent one was still waited for


def test_a_resolver_whose_own_name_is_unknown_fails_by_that() -> None:
    assert [record.outcome for record in ask(53, host="a..b")] == [failed("resolve")] * 2


def test_no_random_name_comes_twice() -> None:
    rng = random.Random(1)
    names = {unique_name(NAME, rng) for _ in range(1_000)}
    assert len(names) == 1_000
    assert all(dnsmsg.parse_name(name) for name in names)


def test_the_longest_name_that_settings_take_still_has_room_for_the_random_label() -> None:
    longest = ".".join(["a" * 43] * 5)
    built, faults = build(DnsResolver, {"label": "x", "host": "h", "name": longest}, "dns")
    assert (faults, built is not None) == ([], True)
    assert dnsmsg.parse_name(unique_name(longest, random.Random(1))) is not None
    for bad in ("", "a..b", "a" * 64, longest + ".b", "exa mple"):
        assert build(DnsResolver, {"label": "x", "host": "h", "name": bad}, "dns")[1], bad


def test_only_no_error_is_ok_for_a_name_that_must_be_there() -> None:
    codes = {
        rcode: judge(dnsmsg.Answer(ident=1, rcode=rcode, tc=False, questions=(), answers=0), unique=False)
        for rcode in range(16)
    }
    assert [rcode for rcode, outcome in codes.items() if outcome == OK] == [0]
