"""Is what the head-end sends a transport stream in which others find no fault, but for the one that was asked for?"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from balise_agent.net.mpegts.analyser import Analyser
from balise_collector.headend import sending as headend
from balise_collector.headend.mux import SIZE, Mux, Service


def stream(fault: str = "", packets: int = 7_000) -> bytes:
    """What channel 1 sends, one datagram after the other."""
    sender = headend.Sender(number=1, to=("", 0), fault=fault, rng=random.Random(1))
    return b"".join(sender.datagrams(packets * SIZE * 8 / headend.RATE_BPS))


def test_ffmpeg_decodes_it_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "channel.ts"
    path.write_bytes(stream())
    run = subprocess.run(
        ["ffmpeg", "-v", "debug", "-i", str(path), "-t", "9", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    doubts = ("invalid dts", "corrupt", "continuity check failed", "conceal", "mismatch", "error while")
    # The file ends in the middle of a picture and of a sound; -t ends before.
    assert [line for line in run.stderr.splitlines() if any(word in line.lower() for word in doubts)] == []
    assert "mpeg2video" in run.stderr
    assert "mp2" in run.stderr
    assert "Channel 1" in run.stderr


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("fault", ["", "cc", "loss", "freeze"])
def test_tshark_finds_the_fault_that_was_asked_for_and_no_other(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "channel.ts"
    path.write_bytes(stream(fault))
    command = ["tshark", "-r", str(path), "-o", "mpeg_sect.verify_crc:TRUE", "-T", "fields", "-e", "mp2t.cc.drop"]
    command += ["-e", "mpeg_sect.crc.invalid", "-e", "mp2t.tei", "-e", "_ws.malformed"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    rows = [line.split("\t") for line in run.stdout.splitlines()]
    drops, invalid, tei, malformed = (list(column) for column in zip(*rows, strict=True))
    assert not any(invalid)
    assert {flag for flags in tei for flag in flags.split(",")} <= {"0", "False", ""}
    # What a lost datagram leaves of a table or a sound is malformed, of course.
    assert fault == "loss" or not any(malformed)
    assert any(drops) is (fault in ("cc", "loss"))


@pytest.mark.parametrize("number", [1, 2])
def test_our_own_analyser_finds_nothing_in_its_datagrams(number: int) -> None:
    """Whole datagrams of null packets are equal, and none of them is a duplicate."""
    sender, analyser = headend.Sender(number=number, to=("", 0), fault="", rng=random.Random(1)), Analyser()
    sent = sender.datagrams(20)
    for place, datagram in enumerate(sent):
        analyser.feed(datagram, place * 7 * SIZE * 8 * 1_000_000_000 // headend.RATE_BPS)
    analyser.finish()
    found = analyser.report().indicators
    assert len(set(sent)) < len(sent) or number == 2
    assert {
        name: found[name] for name in ("net_lost_datagrams", "duplicates", "cc_err", "psi_crc_err", "es_ratio")
    } == {
        **dict.fromkeys(("net_lost_datagrams", "duplicates", "cc_err", "psi_crc_err"), 0),
        "es_ratio": 0.0,
    }


def test_a_frozen_picture_is_a_small_one_and_the_rate_stays() -> None:
    moving, still = stream(), stream("freeze")
    assert len(moving) == len(still)
    assert count(still, 0x101) < count(moving, 0x101) / 3


def count(data: bytes, pid: int) -> int:
    packets = (data[at : at + SIZE] for at in range(0, len(data), SIZE))
    return sum(int.from_bytes(packet[1:3], "big") & 0x1FFF == pid for packet in packets)


def test_a_stream_does_not_depend_on_how_it_is_cut() -> None:
    one, other = (Mux(Service(number=3, name="x", rate_bps=headend.RATE_BPS)) for _ in "12")
    cuts = b"".join(b"".join(other.take(n % 13)) for n in range(400))
    assert b"".join(one.take(len(cuts) // SIZE)) == cuts


def test_rtp_numbers_what_it_sends_and_a_lost_one_leaves_its_gap() -> None:
    sender = headend.Sender(number=2, to=("", 0), fault="loss", rng=random.Random(1))
    sent = sender.datagrams(10)
    numbers = [int.from_bytes(datagram[2:4], "big") for datagram in sent]
    gaps = [(b - a) % 2**16 - 1 for a, b in itertools.pairwise(numbers)]
    assert sum(gaps) == sender.lost > 0
    assert {len(datagram) for datagram in sent} == {12 + 7 * SIZE}
    assert {datagram[:2] for datagram in sent} == {b"\x80\x21"}


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], {}),
        (["channel=2"], {2: "loss"}),
        (["channel=2,kind=off", "kind=cc,channel=60"], {2: "off", 60: "cc"}),
    ],
)
def test_a_fault_names_a_channel_and_its_kind(texts: list[str], found: dict[int, str]) -> None:
    assert headend.read_faults(texts) == found


@pytest.mark.parametrize(
    "text", ["", "channel", "channel=0", "channel=61", "channel=x", "channel=2,kind=fire", "channel=2,colour=red"]
)
def test_what_is_no_fault_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="not channel=1-60 with, if any, kind="):
        headend.read_faults([text])


# as a program


@contextmanager
def running(*options: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "balise_collector.headend", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def joined(told: dict[str, Any], number: int) -> Iterator[socket.socket]:
    where = headend.group(told["first"], number)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((where, told["port"]))
        both = socket.inet_aton(where) + socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, both)
        sock.settimeout(60)
        yield sock


def test_each_channel_is_on_its_group_and_one_that_is_off_on_none() -> None:
    with running("--channels", "3", "--fault", "channel=3,kind=off") as told:
        assert told["channels"] == 3
        with joined(told, 1) as first, joined(told, 2) as second, joined(told, 3) as third:
            assert first.recv(2_048)[0] == 0x47
            assert second.recv(2_048)[0] == 0x80
            for _ in range(50):
                second.recv(2_048)
            third.setblocking(False)
            with pytest.raises(BlockingIOError):
                third.recv(2_048)
        assert [headend.url(told, n).split(":")[0] for n in (1, 2)] == ["udp", "rtp"]


def test_a_wrong_option_is_one_line() -> None:
    command = [sys.executable, "-m", "balise_collector.headend", "--fault", "channel=0"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    assert "channel=0: not channel=1-60" in run.stderr
