"""Which bytes make the decoders of television raise? A coverage-guided run, `make fuzz`.

libFuzzer by way of atheris; the decoders' branches steer it. It begins at streams that are valid. The first exception
ends it and names the file that holds the bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["balise_agent.net"]):
    from balise_agent.net import rtp
    from balise_agent.net.mpegts.analyser import Analyser
    from balise_agent.net.mpegts.psi import Assembler, Tables

from tests.agent.mpegts.streams import datagrams, harmed, over_rtp, pat, pmt, stream

_MOST_BYTES = 4_096


def one(data: bytes) -> None:
    """The first byte chooses the decoder."""
    kind, rest = data[:1], data[1:]
    if kind < b"\x40":
        of_file(rest)
    elif kind < b"\x80":
        live(rest)
    elif kind < b"\xc0":
        sections(rest)
    else:
        rtp.decode(rest)


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


def sections(data: bytes) -> None:
    """Payloads of a PID that carries tables; and a section as such, whose CRC a fuzzer does not find."""
    assembler, tables = Assembler(), Tables()
    for at in range(0, len(data), 184):
        for found in assembler.push(data[at : at + 184], starts=bool(data[at] & 1)).sections:
            tables.take(0, found)
    tables.take(0x11, data)


def seeds(folder: Path) -> None:
    """What a fuzzer begins at."""
    packets = harmed(stream(20), 1)
    parts = datagrams(packets[:14])
    framed = [len(part).to_bytes(2) + b"\x00\x07" + part for part in (*parts, *over_rtp(parts))]
    (folder / "file").write_bytes(b"\x00" + b"".join(packets))
    (folder / "live").write_bytes(b"\x40" + b"".join(framed))
    (folder / "sections").write_bytes(b"\x80\x00" + pat() + pmt())
    (folder / "rtp").write_bytes(b"\xc0" + over_rtp(parts)[0])


def main() -> None:
    """`python -m tests.fuzz_tv [-runs=N]`."""
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder))
        limits = [f"-max_len={_MOST_BYTES}", "-rss_limit_mb=512", "-timeout=10"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
