"""Do a call's packets give the loss, jitter and bursts that tshark finds in them?"""

from __future__ import annotations

import random
import re
import struct
import subprocess
from pathlib import Path

import pytest

from balise_agent.net import rtcp
from balise_agent.net.resolve import Address
from balise_agent.net.talk import Heard, Line, Talk
from balise_agent.net.voice_figures import figures, streamed

SSRC, OTHER = 7, 0xABCDEF01
MS = 1_000_000


def line() -> Line:
    peer = (Address(family=2, host="127.0.0.1"), 9)
    return Line(peer=peer, control=None, codec=8, ssrc=SSRC, first_sequence=100, first_time=5_000, seconds=2.0)


def sent(count: int) -> list[int | None]:
    return [index * 20 * MS for index in range(count)]


def heard(index: int, at_ms: float, ssrc: int = OTHER, first: int = 100) -> Heard:
    return Heard(ssrc, (first + index) & 0xFFFF, (5_000 + index * 160) & 0xFFFFFFFF, round(at_ms * MS))


def stream(seed: int, first: int) -> list[Heard]:
    """600 packets with jitter, 5 % lost in the middle, never out of order."""
    rng, at_ms, packets = random.Random(seed), 0.0, []
    for index in range(600):
        at_ms = max(at_ms + 0.01, index * 20 + rng.expovariate(1 / 4))
        if not (0 < index < 599 and rng.random() < 0.05):
            packets.append(heard(index, at_ms, first=first))
    return packets


def capture(path: Path, packets: list[Heard]) -> None:
    """The packets as a pcap of Ethernet frames with stamps in ns."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1)]
    for packet in packets:
        rtp = struct.pack("!BBHII", 0x80, 8, packet.sequence, packet.time, packet.ssrc) + bytes(160)
        udp = struct.pack("!HHHH", 4_000, 5_000, 8 + len(rtp), 0) + rtp
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + udp
        frame = bytes(12) + b"\x08\x00" + ip
        seconds, rest = divmod(packet.at_ns, 1_000_000_000)
        parts.append(struct.pack("<IIII", 1_000 + seconds, rest, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(parts))


def by_tshark(path: Path) -> tuple[int, float, float]:
    """Lost, mean and greatest jitter in ms."""
    command = ["tshark", "-n", "-r", str(path), "-d", "udp.port==5000,rtp", "-q", "-z", "rtp,streams"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    row = next(text for text in told.splitlines() if "ABCDEF01" in text.upper())
    lost = re.search(r"(-?\d+) \((?:-?[\d.]+)%\)", row)
    assert lost is not None, told
    numbers = [float(word) for word in re.findall(r"\d+\.\d+", row[lost.end() :])]
    return int(lost[1]), numbers[-2], numbers[-1]


@pytest.mark.parametrize("first", [100, 65_300])  # the second wraps
def test_loss_and_jitter_are_tsharks(tmp_path: Path, first: int) -> None:
    packets = stream(first, first)
    capture(tmp_path / "voice.pcap", packets)
    lost, mean_ms, most_ms = by_tshark(tmp_path / "voice.pcap")
    whole = streamed(packets)
    assert whole.expected - whole.received == lost > 0
    ours = [streamed(packets[:count]).jitter_ms for count in range(1, len(packets) + 1)]
    assert max(ours) == pytest.approx(most_ms, abs=0.002)
    # tshark's mean leaves the first packet out, which has no jitter yet.
    assert min(abs(sum(ours) / len(ours) - mean_ms), abs(sum(ours[1:]) / len(ours[1:]) - mean_ms)) < 0.01


def test_an_echo_is_counted_both_ways_together() -> None:
    packets = [heard(index, index * 20 + 30, SSRC) for index in range(50) if index not in (10, 11, 12, 40)]
    told = figures(Talk(line=line(), sent_ns=sent(50), heard=packets), {}, reflector=False)
    assert (told["received"], told["loss_rt_pct"], told["rtt_ms"], told["rtt_by"]) == (46, 8.0, 30.0, "echo")
    assert told["burst_r"] == pytest.approx(2 * 0.92, abs=0.001)
    assert "loss_up_pct" not in told
    assert "loss_down_pct" not in told


def test_what_the_probe_could_not_send_is_not_lost() -> None:
    gone: list[int | None] = [None if index in (3, 4) else at for index, at in enumerate(sent(50))]
    packets = [heard(index, index * 20 + 30, SSRC) for index in range(50) if index not in (3, 4)]
    told = figures(Talk(line=line(), sent_ns=gone, heard=packets), {}, reflector=False)
    assert (told["sent"], told["loss_rt_pct"]) == (48, 0.0)


def test_a_telephones_own_voice_says_nothing_of_the_way_up() -> None:
    packets = [heard(index, index * 20) for index in range(50) if index != 20]
    told = figures(Talk(line=line(), sent_ns=sent(50), heard=packets), {}, reflector=False)
    assert told["loss_down_pct"] == 2.0
    assert "loss_up_pct" not in told
    assert "mos_cqe" not in told  # no round trip, no rating of a conversation


def test_rtcp_says_the_way_up_and_the_round_trip() -> None:
    now = rtcp.ntp(1_700_000_000 * 1_000_000_000)
    block = rtcp.Block(
        ssrc=SSRC, fraction=0, lost=2, highest=149, jitter=0, last_sr=rtcp.middle(now), since_sr=65_536 // 2
    )
    report = rtcp.Report(ssrc=OTHER, sender=None, blocks=(block,))
    packets = [heard(index, index * 20) for index in range(50)]
    reports = [(rtcp.decode(rtcp.encode(report))[0], now + (1 << 31) + (1 << 32) // 50)]
    told = figures(Talk(line=line(), sent_ns=sent(50), heard=packets, reports=reports), {}, reflector=False)
    assert (told["loss_up_pct"], told["far_received"], told["rtt_by"]) == (4.0, 48, "rtcp")
    assert told["rtt_ms"] == pytest.approx(20, abs=0.1)
    assert told["model"] == "g711 plc bpl=25.1 buffer=60ms loss=worse_way delay=rtt/2"


def test_late_packets_are_discarded_and_weigh_in_the_rating() -> None:
    packets = [heard(index, index * 20 + (100 if index % 10 == 9 else 0), SSRC) for index in range(50)]
    packets.sort(key=lambda packet: packet.at_ns)
    told = figures(Talk(line=line(), sent_ns=sent(50), heard=packets), {}, reflector=False)
    assert (told["loss_rt_pct"], told["discard_pct"]) == (0.0, 10.0)
    assert float(told["mos_cqe"]) == pytest.approx(3.41, abs=0.02)


def test_duplicates_and_strays_change_nothing() -> None:
    packets = [heard(index, index * 20) for index in range(50)]
    twice = sorted([*packets, *packets[5:9], heard(3, 500, 99)], key=lambda packet: packet.at_ns)
    told = figures(Talk(line=line(), sent_ns=sent(50), heard=twice), {}, reflector=False)
    assert (told["received"], told["loss_down_pct"]) == (50, 0.0)


def test_a_probe_that_was_late_itself_says_so() -> None:
    talk = Talk(line=line(), sent_ns=sent(2), heard=[], late_ns=11 * MS)
    told = figures(talk, {"PR": 0}, reflector=True)
    assert (told["valid"], told["sender_late_ms"], told["one_way_audio"]) == (False, 11.0, True)
    assert told["loss_up_pct"] == 100.0
