"""What does television cost to watch, and is what is counted exact?

Rows: a file beside ffmpeg; 27 channels and one channel live on loopback; losses that were made; a zap beside tshark.
"""

from __future__ import annotations

import json
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from balise_agent.net.mpegts.analyser import Analyser, Engine
from balise_agent.net.tv.address import Address
from balise_agent.net.tv.joining import Joined
from balise_agent.net.tv.receiving import NAP_S, Receiver, slots
from balise_agent.net.tv.sample import sample
from bench.table import Row

Runs = int | None

DATAGRAM = 7 * 188
BPS = 8_000_000
CHANNELS = 27
LIVE_S = 10.0
FILE_S, TIMES = 30, 8
PROGRAMMES, MULTIPLEX_BPS = 6, 25_000_000
_IN_PROGRAMMES = [
    word for nth in range(PROGRAMMES) for word in ("-program", f"title=P{nth}:st={2 * nth}:st={2 * nth + 1}")
]
OURS = [sys.executable, "-m", "balise_agent.cli", "once", "tv", "--json", "--file", "{}"]
FFMPEG = ["ffmpeg", "-loglevel", "quiet", "-i", "{}", "-c", "copy", "-f", "null", "-"]
FFMPEG_ALL = ["ffmpeg", "-loglevel", "quiet", "-i", "{}", "-map", "0", "-c", "copy", "-f", "null", "-"]
LOSSES = (0.00001, 0.0001, 0.001, 0.01, 0.05)
PORTS = 20_000  # of a group each, so that they are whoever's who joins


def tv_rows(runs: Runs) -> Iterator[Row]:
    """Five minutes."""
    for rows in PARTS.values():
        yield from rows(runs)


def _file_rows(runs: Runs) -> Iterator[Row]:
    with _stream() as path:
        yield _file(path, runs or 3)
        yield _multiplex(path.with_name("multiplex.ts"), runs or 3)


def _live_rows(runs: Runs) -> Iterator[Row]:
    with _stream() as path:
        yield from _live(path, CHANNELS, runs or 3, goal_percent=15.0)
        yield from _live(path, 1, runs or 3, goal_percent=1.5)
        yield _zap(path)


def _exact_rows(_: Runs) -> Iterator[Row]:
    with _stream() as path:
        yield from _losses(path)
        yield from _faults(path)


PARTS: dict[str, Callable[[Runs], Iterator[Row]]] = {
    "tv-file": _file_rows,
    "tv-live": _live_rows,
    "tv-exact": _exact_rows,
}


@contextmanager
def _stream() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        encode(path := Path(folder) / "spts.ts")
        yield path


def encode(path: Path) -> None:
    """8 Mbit/s at a constant rate, H.264 and MPEG sound."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25"]
    command += ["-f", "lavfi", "-i", "sine=1000", "-t", str(FILE_S), "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-g", "50", "-b:v", "6500k", "-maxrate", "6500k", "-bufsize", "3000k", "-c:a", "mp2"]
    command += ["-x264-params", "nal-hrd=cbr", "-muxrate", str(BPS), "-f", "mpegts", str(path)]
    subprocess.run(command, check=True)


def encode_multiplex(path: Path) -> None:
    """25 Mbit/s at a constant rate: six programmes of H.264 and MPEG sound, and the DVB tables that ffmpeg writes."""
    command = ["ffmpeg", "-loglevel", "error"]
    for hertz in range(400, 400 + PROGRAMMES):
        command += ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", f"sine={hertz}"]
    for nth in range(PROGRAMMES):
        command += ["-map", f"{2 * nth}:v", "-map", f"{2 * nth + 1}:a"]
    command += [*_IN_PROGRAMMES, "-t", "10", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50"]
    command += ["-x264-params", "nal-hrd=cbr"]
    command += ["-b:v", "3500k", "-maxrate", "3500k", "-bufsize", "1750k", "-c:a", "mp2", "-b:a", "192k"]
    subprocess.run([*command, "-muxrate", str(MULTIPLEX_BPS), "-f", "mpegts", str(path)], check=True)


def _file(path: Path, runs: int) -> Row:
    long = _looped(path, ["-muxrate", str(BPS)])
    mbit, (ours, theirs) = _beside_ffmpeg(path, long, runs, (OURS, FFMPEG))
    conditions = f"{FILE_S * TIMES} s of H.264 and sound at a constant rate; user and system time, in turn"
    return _row("tv: a file of 8 Mbit/s", mbit, ours, ("ffmpeg -c copy -f null", theirs), conditions)


def _multiplex(path: Path, runs: int) -> Row:
    """We read each PID. ffmpeg reads each with `-map 0`; without, one picture and one sound, and drops the others."""
    encode_multiplex(path)
    long = _looped(path, [*_IN_PROGRAMMES, "-muxrate", str(MULTIPLEX_BPS)])
    mbit, (ours, theirs, two) = _beside_ffmpeg(path, long, runs, (OURS, FFMPEG_ALL, FFMPEG))
    peer = ("ffmpeg -map 0 -c copy -f null, which reads each stream as we do", theirs)
    conditions = (
        f"{mbit / 8:.0f} MB, {PROGRAMMES} programmes at a constant {MULTIPLEX_BPS / 1e6:g} Mbit/s; user and"
        " system time, in turn"
    )
    row, of_two = _row("tv: a file of a multiplex", mbit, ours, peer, conditions), mbit / statistics.median(two)
    said = f"without -map 0 it reads two of {2 * PROGRAMMES}: {of_two:.0f}, ours is {row.figure / of_two:.2f} x that"
    return replace(row, beside=said)


def _row(work: str, mbit: float, ours: list[float], peer: tuple[str, list[float]], conditions: str) -> Row:
    """``ours``, ``peer``: CPU seconds of each turn."""
    figure, theirs = mbit / statistics.median(ours), mbit / statistics.median(peer[1])
    return Row(
        work=work,
        unit="Mbit/CPU s",
        figure=figure,
        goal=">= 1.3 x ffmpeg",
        holds=figure >= 1.3 * theirs,
        runs=tuple(mbit / one for one in ours),
        peer=peer[0],
        peer_figure=theirs,
        conditions=conditions,
    )


def _looped(path: Path, how: list[str]) -> Path:
    """`TIMES` copies, whose clocks and counters go on."""
    long = path.with_name(f"long-{path.name}")
    command = ["ffmpeg", "-loglevel", "error", "-stream_loop", str(TIMES - 1), "-i", str(path), "-map", "0"]
    subprocess.run([*command, "-c", "copy", *how, "-f", "mpegts", "-y", str(long)], check=True)
    return long


def _beside_ffmpeg(
    short: Path, long: Path, runs: int, commands: tuple[list[str], ...]
) -> tuple[float, list[list[float]]]:
    """By how many Mbit the long file is longer, and the CPU that each takes for those, its start taken off; in turn."""
    found: list[list[float]] = [[] for _ in commands]
    for _ in range(runs):
        for command, seconds in zip(commands, found, strict=True):
            seconds.append(_cpu_s(command, long) - _cpu_s(command, short))
    return (long.stat().st_size - short.stat().st_size) * 8 / 1e6, found


def _cpu_s(command: list[str], path: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([word.format(path) for word in command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _live(path: Path, channels: int, runs: int, *, goal_percent: float) -> Iterator[Row]:
    engine = "numpy" if channels > 1 else "plain"
    command = [sys.executable, "-m", "bench.tv", "receive", str(channels), engine]
    told = []
    for _ in range(runs):
        with sending(path, channels):  # anew: where the file begins again, its counters do not follow
            run = subprocess.run(command, check=True, capture_output=True, text=True)
        told.append(json.loads(run.stdout))
    work = "tv: one channel live" if channels == 1 else f"tv: {channels} channels at once"
    conditions = (
        f"{LIVE_S:g} s over loopback multicast in one process, {engine} engine; the sender is on the same cores"
    )
    datagrams, drops, errors = (sum(one[key] for one in told) for key in ("datagrams", "drops", "cc_err"))
    percents = tuple(one["percent"] for one in told)
    figure = statistics.median(percents)
    yield Row(
        work=f"{work}, CPU",
        unit="% of a core",
        figure=figure,
        goal=f"<= {goal_percent:g}, 0 local drops",
        holds=figure <= goal_percent and drops == 0,
        runs=percents,
        conditions=conditions,
        beside=f"{datagrams} datagrams, {drops} local drops, {errors} counter errors",
    )
    if channels > 1:
        sizes = tuple(one["rss_mb"] for one in told)
        yield Row(
            work=f"{work}, memory",
            unit="MB",
            figure=max(sizes),
            goal="<= 120",
            holds=max(sizes) <= 120,
            runs=sizes,
            conditions=conditions,
        )


def receive(channels: int, engine: Engine) -> dict[str, float]:
    """In a process of its own: CPU of `LIVE_S` once all is set up."""
    with ExitStack() as stack:
        joined = [stack.enter_context(closing(Joined(_address(n), "lo"))) for n in range(channels)]
        room = slots()
        receivers = [Receiver(one, room) for one in joined]
        analysers = [Analyser(engine) for _ in joined]
        for one in joined:
            one.join()
        start_s, cpu_s, datagrams = time.monotonic(), time.process_time(), 0
        while (passed_s := time.monotonic() - start_s) < LIVE_S:
            for receiver, analyser in zip(receivers, analysers, strict=True):
                for came in receiver.drain():
                    analyser.feed_run(came.data, came.arrivals_ns, came.dropped)
                    datagrams += len(came.arrivals_ns)
            time.sleep(NAP_S)
        used_s = time.process_time() - cpu_s
        drops = sum(one.drops() for one in joined)
    for analyser in analysers:
        analyser.finish()
    errors = sum(int(analyser.report().indicators["cc_err"]) for analyser in analysers)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    figures = {"percent": 100 * used_s / passed_s, "rss_mb": peak_mb, "drops": drops}
    return figures | {"datagrams": datagrams, "cc_err": errors}


@contextmanager
def sending(path: Path, channels: int, place: float = 0.0) -> Iterator[None]:
    """The file on so many groups, at its rate, from some place in it, until the block ends."""
    command = [sys.executable, "-m", "bench.tv", "send", str(channels), str(path), str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
        try:
            assert sender.stdout is not None
            assert sender.stdout.readline() == b"ready\n"
            yield
        finally:
            sender.kill()


def send(channels: int, path: Path, place: float) -> None:
    """Each 10 ms what is due by then; one time line for all."""
    data = path.read_bytes()
    parts = [data[at : at + DATAGRAM] for at in range(0, len(data) - DATAGRAM + 1, DATAGRAM)]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    places = [(one.group, one.port) for one in map(_address, range(channels))]
    first = int(place * len(parts))
    print("ready", flush=True)
    start_s, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - start_s) * BPS / 8 / DATAGRAM)
        for part in (parts[(first + n) % len(parts)] for n in range(sent, due)):
            for where in places:
                sender.sendto(part, where)
        sent = due
        time.sleep(0.01)


def _address(number: int) -> Address:
    return Address(group=f"239.77.41.{number + 1}", port=PORTS + number)


def _losses(path: Path) -> Iterator[Row]:
    """A replayed file, each datagram lost by chance."""
    data = path.read_bytes() * TIMES
    parts = [data[at : at + DATAGRAM] for at in range(0, len(data) - DATAGRAM + 1, DATAGRAM)]
    for encap in ("rtp", "pcr"):
        apart = []
        for nth, share in enumerate(LOSSES):
            rng = random.Random(nth)
            lost = {n for n in range(100, len(parts) - 100) if rng.random() < share}
            lost = lost or {rng.randrange(100, len(parts) - 100)}
            apart.append(abs(_counted(parts, lost, encap) - len(lost)))
        yield Row(
            work=f"tv: losses of 0.001-5 % by {encap}",
            unit="datagrams apart, at most",
            figure=max(apart),
            goal="exact" if encap == "rtp" else "within 1",
            holds=max(apart) == 0 if encap == "rtp" else max(apart) <= 1,
            runs=tuple(float(one) for one in apart),
            conditions=f"{len(parts)} datagrams of a constant 8 Mbit/s, replayed; shares {LOSSES}",
        )


def _counted(parts: list[bytes], lost: set[int], encap: str) -> int:
    analyser = Analyser()
    for n, part in enumerate(parts):
        if n in lost:
            continue
        if encap == "rtp":
            head = b"\x80\x21" + (n & 0xFFFF).to_bytes(2) + (n * 118 & 0xFFFFFFFF).to_bytes(4) + bytes(4)
            analyser.feed(head + part, n * 1_316_000)
        else:
            analyser.feed(part)
    analyser.finish()
    found = analyser.report().indicators
    return int(found["net_lost_datagrams"]) if found["loss_method"] == encap else -1


def _faults(path: Path) -> Iterator[Row]:
    """The tests' own harm and oracle, twenty seeds of it."""
    from tests.agent.mpegts import test_oracles as oracles

    short = path.with_name("short.ts")
    sound = oracles.encoded(short)
    differing = 0
    for seed in range(20):
        harmed = path.with_name("harmed.ts")
        harmed.write_bytes(oracles.harmed(sound, seed))
        found, seen = oracles.ours(harmed), oracles.tshark(harmed)
        blind = [oracles.is_short_in_tshark(harmed, one) for one in seen.breaks]
        theirs = [one._replace(missing=one.missing + more) for one, more in zip(seen.breaks, blind, strict=True)]
        mine = [one for one in found.breaks if one.missing or not oracles.is_short_in_tshark(harmed, one)]
        differing += (mine, found.damaged, found.crc) != (theirs, seen.damaged, seen.crc)
    yield Row(
        work="tv: injected faults, seeds that differ from tshark",
        unit="of 20",
        figure=differing,
        goal="0",
        holds=differing == 0,
        runs=(float(differing),),
        peer="tshark",
        conditions="48 datagrams lost, 5 packets damaged, 6 sections with a wrong bit; same events on the same packets,"
        " but for tshark's count at packets without payload",
    )


def _zap(path: Path) -> Row:
    """Steps of three zaps against the same packets in tshark's capture."""
    apart = [one for place in (0.21, 0.47, 0.83) for one in _apart_ms(path, place)]
    return Row(
        work="tv: steps of a zap, apart from the wire",
        unit="ms, at most",
        figure=max(apart),
        goal="<= 10",
        holds=max(apart) <= 10,
        runs=tuple(apart),
        peer="tshark",
        conditions="PAT, PMT, PCR, video PES, random access since the first packet; loopback multicast, the sender"
        " begins somewhere in its file after the join",
    )


def _apart_ms(path: Path, place: float) -> Iterator[float]:
    address, capture = _address(0), path.with_name("zap.pcap")
    dump = ["tshark", "-q", "-i", "lo", "-f", f"udp port {address.port}", "-w", str(capture), "-a", "duration:60"]
    with subprocess.Popen(dump, stderr=subprocess.PIPE, text=True) as tshark:
        assert tshark.stderr is not None
        next(line for line in tshark.stderr if "Capturing" in line)
        time.sleep(2)  # tshark says so before its capture is open
        with ExitStack() as stack:
            sampling = stack.enter_context(ThreadPoolExecutor(1)).submit(sample, address, 1.0, "lo")
            time.sleep(0.5)
            stack.enter_context(sending(path, 1, place))
            zap = sampling.result().zap
        tshark.terminate()
    seen = _steps_ms(capture, address.port)
    yield from (abs(float(zap[f"zap_{step}_ms"]) - at_ms) for step, at_ms in seen.items())


def _steps_ms(capture: Path, port: int) -> dict[str, float]:
    """Of ffmpeg's programme, as a decoder can take them: a PMT means something after the PAT, a picture after it."""
    fields = ("frame.time_relative", "mp2t.header", "mp2t.af.length", "mp2t.af.pcr_flag", "mp2t.af.rai")
    command = ["tshark", "-r", str(capture), "-d", f"udp.port=={port},mp2t", "-T", "fields", "-E", "separator=;"]
    command += [word for field in fields for word in ("-e", field)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = {}
    for line in run.stdout.splitlines():
        at_s, headers, *adaptation = line.split(";")
        lengths, clocks, starts = (iter(one.split(",")) for one in adaptation)
        for head in (int(one, 16) for one in headers.split(",")):
            flags = (False, False)
            if head & 0x20 and int(next(lengths)):
                flags = (next(clocks) in ("1", "True"), next(starts) in ("1", "True"))
            for step in _taken(head, *flags, found):
                found.setdefault(step, float(at_s) * 1_000)
    return found


def _taken(head: int, has_clock: bool, is_start: bool, found: dict[str, float]) -> Iterator[str]:
    pid, begins = head >> 8 & 0x1FFF, bool(head & 0x400000)
    if has_clock:
        yield "pcr"
    if pid == 0 and begins:
        yield "pat"
    if pid == 0x1000 and begins and "pat" in found:
        yield "pmt"
    if pid == 0x100 and "pmt" in found:
        yield from (("pes",) if begins else ())
        yield from (("rap",) if is_start else ())


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
    else:
        print(json.dumps(receive(int(sys.argv[2]), "numpy" if sys.argv[3] == "numpy" else "plain")))
