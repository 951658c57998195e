"""Do tshark and ffmpeg see the same of a stream that a line and a head-end have harmed?"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from balise_agent.net.mpegts.analyser import Analyser
from balise_agent.net.mpegts.packet import header
from balise_agent.net.mpegts.report import Report

DATAGRAM = 7 * 188
PAT_PID, PMT_PID, VIDEO_PID = 0, 0x1000, 0x100  # ffmpeg's
LOST, DAMAGED, FLIPPED_PMT, FLIPPED_PAT = 48, 5, 4, 2
SEEDS = 3  # of `harmed`; `python -m bench tv` does twenty

pytestmark = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("tshark")), reason="ffmpeg or tshark is not installed"
)


class Event(NamedTuple):
    """On a packet, counted from 0."""

    at: int
    pid: int
    missing: int


class Seen(NamedTuple):
    """What somebody found in a file."""

    breaks: list[Event]
    damaged: int
    crc: int


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """30 s at a constant 2.5 Mbit/s, H.264 and MPEG sound."""
    return encoded(tmp_path_factory.mktemp("tv") / "sound.ts")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_breaks_damage_and_wrong_crcs_are_those_that_tshark_finds_on_the_same_packets(
    seed: int, sound: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "harmed.ts"
    path.write_bytes(harmed(sound, seed))
    found, by_tshark = ours(path), tshark(path)
    assert (found.damaged, found.crc) == (by_tshark.damaged, by_tshark.crc) == (DAMAGED, FLIPPED_PMT + FLIPPED_PAT)
    corrected = [one._replace(missing=one.missing + is_short_in_tshark(path, one)) for one in by_tshark.breaks]
    assert [one for one in found.breaks if one.missing or not is_short_in_tshark(path, one)] == corrected


@pytest.mark.parametrize("seed", range(SEEDS))
def test_of_a_constant_rate_all_lost_datagrams_are_counted(seed: int, sound: bytes) -> None:
    report = analysed(harmed(sound, seed))
    assert (report.indicators["loss_method"], report.indicators["net_lost_datagrams"]) == ("pcr", LOST)


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264", "libx265"])
def test_random_access_is_found_where_ffmpeg_put_key_pictures(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "coded.ts"
    more = ["-x265-params", "log-level=none:keyint=25:min-keyint=25:scenecut=0"] if codec == "libx265" else []
    encoded(path, codec, seconds=5, more=more)
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "json", str(path)],
        check=True,
        capture_output=True,
    )
    keys = sum("K" in one["flags"] for one in json.loads(probed.stdout)["packets"])
    (video,) = [one for one in analysed(path.read_bytes()).pids.values() if one.random_access]
    assert video.random_access == keys > 1


def test_what_ffmpeg_writes_has_no_fault(sound: bytes) -> None:
    report = analysed(sound)
    faults = ("cc_err", "tei", "psi_crc_err", "psi_truncated", "sync_err", "net_lost_datagrams", "pcr_disc_err")
    assert {name: report.indicators[name] for name in faults} == dict.fromkeys(faults, 0)
    assert report.indicators["ts_bps"] == pytest.approx(2_500_000, rel=0.001)
    assert report.indicators["gop_ms"] == pytest.approx(1_000, abs=1)


def encoded(path: Path, codec: str = "libx264", seconds: int = 30, more: list[str] | None = None) -> bytes:
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
    command += ["-f", "lavfi", "-i", "sine=1000", "-t", str(seconds), "-c:v", codec, "-g", "25", "-b:v", "1500k"]
    command += ["-preset", "ultrafast"] if codec != "mpeg2video" else []
    command += [*(more or []), "-c:a", "mp2", "-muxrate", "2500k", "-f", "mpegts", str(path)]
    subprocess.run(command, check=True)
    return path.read_bytes()


def harmed(data: bytes, seed: int) -> bytes:
    """48 datagrams lost, 5 packets said to be damaged, a bit of 4 PMTs and 2 PATs flipped; none near another."""
    rng = random.Random(seed)
    parts = [bytearray(data[at : at + DATAGRAM]) for at in range(0, len(data) - DATAGRAM + 1, DATAGRAM)]
    lost = set(rng.sample(range(50, len(parts) - 50), LOST))
    near = {one + step for one in lost for step in (-1, 0, 1)}
    places: dict[int, list[tuple[int, int]]] = {PAT_PID: [], PMT_PID: [], VIDEO_PID: []}
    for nth in range(50, len(parts) - 50):
        for at in range(0, DATAGRAM, 188):
            pid = (parts[nth][at + 1] & 0x1F) << 8 | parts[nth][at + 2]
            if nth not in near and pid in places:
                places[pid].append((nth, at))
    for nth, at in rng.sample(places[VIDEO_PID], DAMAGED):
        parts[nth][at + 1] |= 0x80
    for pid, flips in ((PMT_PID, FLIPPED_PMT), (PAT_PID, FLIPPED_PAT)):
        for nth, at in rng.sample(places[pid], flips):
            parts[nth][at + 5 + 9] ^= 1  # behind the header, where only the CRC tells
    return b"".join(bytes(one) for nth, one in enumerate(parts) if nth not in lost)


def ours(path: Path) -> Seen:
    """By the plain engine's own counters, for a report keeps but the first twenty."""
    from balise_agent.net.mpegts.continuity import Break, Continuity

    counters, breaks, data = Continuity(), [], path.read_bytes()
    for at in range(0, len(data), 188):
        packet = data[at : at + 188]
        found = counters.step(at // 188, header(packet), packet)
        if isinstance(found, Break):
            breaks.append(Event(found.at, found.pid, found.missing))
    report = analysed(data)
    assert report.indicators["cc_err"] == len(breaks)
    return Seen(breaks, int(report.indicators["tei"]), int(report.indicators["psi_crc_err"]))


def analysed(data: bytes) -> Report:
    analyser = Analyser()
    analyser.feed(data)
    analyser.finish()
    return analyser.report()


def tshark(path: Path) -> Seen:
    fields = ("frame.number", "mp2t.pid", "mp2t.analysis.skips", "mp2t.tei", "mpeg_sect.crc.invalid")
    command = ["tshark", "-r", str(path), "-o", "mpeg_sect.verify_crc:TRUE", "-T", "fields", "-E", "separator=;"]
    command += ["-Y", "mp2t.cc.drop || mp2t.tei == 1 || mpeg_sect.crc.invalid"]
    command += [word for field in fields for word in ("-e", field)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    breaks, count = [], Counter[str]()
    for line in run.stdout.splitlines():
        frame, pid, skips, damaged, crc = line.split(";")
        if skips:
            breaks.append(Event(int(frame) - 1, int(pid, 16), int(skips)))
        count["damaged"] += damaged == "1"
        count["crc"] += bool(crc)
    return Seen(breaks, count["damaged"], count["crc"])


def is_short_in_tshark(path: Path, one: Event) -> bool:
    """Its one known case: a packet without payload has the counter of the packet before it, so an advance by d is d
    lost ones; tshark says d - 1, and nothing of an advance by 1 (TSDuck: none missing either)."""
    with path.open("rb") as file:
        file.seek(one.at * 188)
        return not header(file.read(188)).has_payload
