"""How exact are the telephone's times and ratings, beside sipsak, sipp and the published values?

Rule: both sides of a comparison in the same run, in turn, against the same server on loopback.
"""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from balise_agent.contract import Record
from balise_agent.net import emodel
from balise_agent.probes.context import Context
from balise_agent.probes.voice import VoiceAccount, VoiceNumber, VoicePath, VoiceSettings, run
from balise_agent.settings import Secret
from bench.table import Row
from tests.agent.sip_peers import PASSWORD, kamailio, sipp, uas, wait_for

ROUNDS = 60
CALLS = 5
LEAST_MS = 0.02
"""sipsak 0.9.8 sleeps 10 ms after it has sent, and then often prints 0.004 ms where tshark sees 0.2 on the wire."""
RING_MS, ANSWER_MS = 300, 500

# R -> MOS (G.109's classes); delay in ms -> MOS; loss in % -> MOS, G.711 with concealment
MOS_OF_R = {93.2: 4.41, 90: 4.34, 80: 4.02, 70: 3.60, 60: 3.10, 50: 2.58}
MOS_OF_DELAY = {150: 4.41, 200: 4.34, 300: 3.96, 400: 3.56}
MOS_OF_LOSS = {1: 4.33, 3: 4.13, 5: 3.92, 10: 3.41}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """One call: how long after INVITE the 180 and the 200 were, by our record and by sipp's log, in ms."""

    ours: tuple[float, float]
    theirs: tuple[float, float]

    @property
    def apart_ms(self) -> float:
        return max(abs(a - b) for a, b in zip(self.ours, self.theirs, strict=True))


def voice_rows(runs: int | None, folder: Path) -> Iterator[Row]:
    """All of it."""
    with kamailio(folder) as proxy:
        with wire(proxy.port) as seen:
            ours, theirs = options(proxy.port, runs or ROUNDS)
        with sipp(folder, uas(RING_MS, ANSWER_MS), proxy.uas) as log:
            calls = [set_up(proxy.port, log) for _ in range(min(runs or CALLS, CALLS))]
    real = [figure for figure in theirs if figure >= LEAST_MS]
    figure, peer = statistics.median(ours), statistics.median(real) if real else None
    yield Row(
        work="SIP OPTIONS, round trip",
        unit="ms",
        figure=figure,
        goal="<= sipsak's",
        holds=None if peer is None else figure <= peer,
        runs=tuple(ours),
        peer=f"sipsak, the {len(real)} of its {len(theirs)} figures that a wire can have",
        peer_figure=peer,
        conditions="kamailio on loopback over UDP, in turn; ours by the whole probe, each time a socket of its own",
        beside=f"ours p95 {_p95(ours):.2f} ms",
    )
    pairs = round_trips(seen)
    own = [trip for who, trip in pairs if "sipsak" not in who]
    off_us = [1_000 * (told - trip) for told, trip in zip(ours, own, strict=False)]
    foreign = statistics.median(trip for who, trip in pairs if "sipsak" in who)
    yield Row(
        work="SIP OPTIONS, round trip on the wire",
        unit="ms",
        figure=statistics.median(own),
        goal="<= sipsak's",
        holds=statistics.median(own) <= foreign,
        runs=tuple(own),
        peer="sipsak's packets, all of them, in the same capture of tshark",
        peer_figure=foreign,
        conditions="the same packets",
    )
    yield Row(
        work="SIP OPTIONS, what is printed minus what tshark sees on the wire",
        unit="us",
        figure=statistics.median(off_us),
        goal="",
        holds=None,
        runs=tuple(off_us),
        conditions="the same packets",
    )
    apart = [call.apart_ms for call in calls]
    yield Row(
        work="call set-up, worst difference from sipp's own times",
        unit="ms",
        figure=max(apart),
        goal="<= 10 ms",
        holds=max(apart) <= 10,
        runs=tuple(apart),
        peer="sipp's log: INVITE to its 180 and its 200",
        conditions=f"through kamailio, digest, Record-Route; sipp rings after {RING_MS} ms, answers {ANSWER_MS} later",
        beside=", ".join(f"{call.ours[0]:.1f}/{call.ours[1]:.1f} ms ours" for call in calls),
    )
    apart_mos = list(mos_apart())
    yield Row(
        work="MOS at known loss, delay, burst, worst difference",
        unit="",
        figure=max(apart_mos),
        goal="<= 0.02",
        holds=max(apart_mos) <= 0.02,
        runs=tuple(apart_mos),
        peer="published values (G.107, G.109, G.113)",
        conditions="arithmetic",
    )


def options(port: int, rounds: int) -> tuple[list[float], list[float]]:
    """Round trips in ms, ours and sipsak's, in turn."""
    ours, theirs = [], []
    settings = VoiceSettings(paths=(VoicePath(label="p", host="127.0.0.1", port=port),), calls_a_day=0)
    for _ in range(rounds):
        (record,) = measured(settings)
        ours.append(float(record.fields["options_rtt_ms"]))
        command = ["sipsak", "-vv", "-s", f"sip:127.0.0.1:{port}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"reply received after ([\d.]+) ms", told)
        if found is None:
            raise ValueError(f"sipsak says no time: {told[-200:]}")
        theirs.append(float(found[1]))
    return ours, theirs


@contextmanager
def wire(port: int) -> Iterator[list[str]]:
    """What tshark sees of that port meanwhile: time, and whom a message is from."""
    fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "sip.From"]
    command = ["tshark", "-n", "-l", "-i", "lo", "-f", f"udp port {port}", *fields]
    found: list[str] = []
    capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while capture.stderr is not None and "Capture started" not in capture.stderr.readline():
            if capture.poll() is not None:
                raise ValueError("tshark cannot capture on lo: root is needed")
        yield found
        time.sleep(1)  # what the kernel still holds for it
    finally:
        capture.terminate()
        found += capture.communicate()[0].splitlines()


def round_trips(seen: Sequence[str]) -> list[tuple[str, float]]:
    """Whose, and how long in ms: each question is followed by its answer."""
    rows = [line.split("\t") for line in seen]
    pairs = zip(rows[::2], rows[1::2], strict=False)
    return [(asked[1], 1_000 * (float(told[0]) - float(asked[0]))) for asked, told in pairs]


def set_up(port: int, log: Path) -> SetUp:
    """One call, and what sipp's log says of it."""
    before = log.stat().st_size if log.exists() else 0
    account = VoiceAccount(
        label="op",
        domain="127.0.0.1",
        host="127.0.0.1",
        port=port,
        user="probe",
        password=Secret(PASSWORD),
        dedicated=True,
    )
    number = VoiceNumber(label="echo", account="op", number="1234")
    records = measured(VoiceSettings(accounts=(account,), numbers=(number,), talk_s=0.4))
    (call,) = (record for record in records if record.measurement == "voip_call")
    if call.outcome.kind != "ok":
        raise ValueError(f"the call failed: {call.outcome.reason}")
    wait_for(lambda: "\nBYE sip:" in _told(log, before), log)
    times: dict[str, float] = {}
    for stamp, first in re.findall(r"-{10,} (\S+ \S+)\n[^\n]*\n\n([^\n]+)", _told(log, before)):
        kind = next((name for name in ("INVITE", "SIP/2.0 180", "SIP/2.0 200") if first.startswith(name)), None)
        if kind is not None:
            times.setdefault(kind, datetime.fromisoformat(stamp).timestamp() * 1_000)
    theirs = times["SIP/2.0 180"] - times["INVITE"], times["SIP/2.0 200"] - times["INVITE"]
    return SetUp(ours=(float(call.fields["pdd_ms"]), float(call.fields["answer_ms"])), theirs=theirs)


def mos_apart() -> Iterator[float]:
    """How far each check value is missed."""
    yield from (abs(emodel.mos(r) - told) for r, told in MOS_OF_R.items())
    for delay_ms, told in MOS_OF_DELAY.items():
        yield abs(emodel.mos(emodel.r_factor(loss_pct=0, delay_ms=delay_ms)) - told)
    for loss_pct, told in MOS_OF_LOSS.items():
        yield abs(emodel.mos(emodel.r_factor(loss_pct=loss_pct, delay_ms=0)) - told)
    burst = emodel.mos(emodel.r_factor(loss_pct=2, delay_ms=0, burst_r=5.88))
    yield abs(burst - emodel.mos(85.7))


def measured(settings: VoiceSettings) -> list[Record]:
    """One run of the probe."""
    context = Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        monotonic=time.monotonic,
        rng=random.Random(),
        rows_waiting=lambda: 0,
        clock_ok=lambda: None,
        state_dir=Path("/"),
        asked=True,
    )
    return asyncio.run(run(settings, context))


def _told(log: Path, before: int) -> str:
    return log.read_bytes()[before:].decode("latin-1")


def _p95(figures: Sequence[float]) -> float:
    return sorted(figures)[max(0, round(0.95 * len(figures)) - 1)]
