"""Which bytes make the decoders of television raise? A coverage-guided run, `make fuzz`.

Transport streams from a file and in datagrams, sections of tables, RTP.
"""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["balise_agent.net"]):
    from balise_agent.net import rtp
    from balise_agent.net.mpegts.analyser import Analyser
    from balise_agent.net.mpegts.psi import Assembler, Tables

from tests.agent.mpegts.streams import datagrams, harmed, over_rtp, pat, pmt, stream
from tests.fuzzing import Decoders, fuzz


def of_file(data: bytes) -> None:
    """In cuts of a size that the bytes give."""
    analyser, step = Analyser("plain"), 1 + (data[0] if data else 0) * 7
    for at in range(0, len(data), step):
        analyser.feed(data[at : at + step])
    analyser.finish()
    analyser.report().as_json()


def live(data: bytes) -> None:
    """Datagrams, each with its length and its time before it."""
    analyser, at, now_ns = Analyser("plain"), 0, 0
    while at + 4 <= len(data):
        size, wait = int.from_bytes(data[at : at + 2]) % 1_500, int.from_bytes(data[at + 2 : at + 4])
        now_ns += wait * 1_000_000
        analyser.feed(data[at + 4 : at + 4 + size], now_ns, wait % 3)
        at += 4 + size
    analyser.finish()
    analyser.report().as_json()


def runs(data: bytes) -> None:
    """Datagrams of one size in a row, before them how many, their size and their distance."""
    analyser, at, now_ns = Analyser("plain"), 0, 0
    while at + 4 < len(data):
        count, size, wait = 1 + data[at] % 16, int.from_bytes(data[at + 1 : at + 3]) % 1_500, data[at + 3]
        part = data[at + 4 : at + 4 + count * size].ljust(count * size, b"\x47")
        arrivals_ns = [now_ns + nth * wait * 1_000_000 for nth in range(count)]
        analyser.feed_run(part, arrivals_ns, wait % 3 == 1)
        now_ns, at = arrivals_ns[-1], at + 4 + count * size
    analyser.finish()
    analyser.report().as_json()


def sections(data: bytes) -> None:
    """Payloads of a PID that carries tables; and a section as such, whose CRC a fuzzer does not find."""
    assembler, tables = Assembler(), Tables()
    for at in range(0, len(data), 184):
        for found in assembler.push(data[at : at + 184], starts=bool(data[at] & 1)).sections:
            tables.take(0, found)
    tables.take(0x11, data)


def _decoders() -> Decoders:
    packets = harmed(stream(20), 1)
    parts = datagrams(packets[:14])
    framed = [len(part).to_bytes(2) + b"\x00\x07" + part for part in (*parts, *over_rtp(parts))]
    return {
        "file": (of_file, (b"".join(packets),)),
        "live": (live, (b"".join(framed),)),
        "runs": (
            runs,
            (
                b"\x01\x05\x24\x07" + b"".join(parts),
                b"\x01" + (12 + 1_316).to_bytes(2) + b"\x08" + b"".join(over_rtp(parts)),
                b"\x03\x00\xbc\x02" + b"".join(packets[:4]) + b"\x01\x01\x78\xff" + b"".join(packets[4:8]),
            ),
        ),
        "sections": (sections, (b"\x00" + pat() + pmt(),)),
        "rtp": (rtp.decode, (over_rtp(parts)[0],)),
    }


if __name__ == "__main__":
    fuzz(_decoders())
