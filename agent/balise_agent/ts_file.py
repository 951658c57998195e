"""What is in a file of a transport stream: `balise-agent once tv --file F`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from balise_agent.net.mpegts.analyser import BATCH, Analyser
from balise_agent.net.mpegts.report import Report

_SHOWN_EACH = 4  # chunks between two lines of progress


def analyse(path: Path) -> Report:
    """Reads it whole, with progress on a terminal. OSError: it cannot be read."""
    analyser, size, read = Analyser(), path.stat().st_size, 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(BATCH):
            analyser.feed(chunk)
            read += len(chunk)
            _progress(read, size)
            del chunk  # so that the next one takes its memory: new pages cost half as much again as the reading
    analyser.finish()
    return analyser.report()


def show(report: Report, *, as_json: bool) -> str:
    """One JSON object, or a readable account."""
    if as_json:
        return json.dumps(report.as_json(), ensure_ascii=False)
    lines = [f"{report.packets} packets, {report.listened_s:.1f} s by the stream's own clock"]
    lines += [
        f"  0x{pid:04x} {one.kind or '-':8} {one.packets:>9} packets, {one.discontinuities} breaks,"
        f" {one.missing} missing, {one.duplicates} repeats, {one.scrambled} scrambled, {one.pcrs} PCR"
        for pid, one in report.pids.items()
    ]
    lines += [f"  {name} {value}" for name, value in report.indicators.items()]
    lines += [f"  at packet {index}, 0x{pid:04x}: {what}" for index, pid, what in report.errors]
    return "\n".join([*lines, f"  not judged: {', '.join(report.not_judged)}"])


def _progress(read: int, size: int) -> None:
    if sys.stderr.isatty() and (read >= size or read // BATCH % _SHOWN_EACH == 0):
        end = "\n" if read >= size else "\r"
        print(f"  {min(100, 100 * read // max(1, size))} %", end=end, file=sys.stderr, flush=True)
