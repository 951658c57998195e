"""How fast, how small, how exact? `python -m bench` prints every figure beside its goal and a peer.

    python -m bench [NAME...] [--long] [--runs N] [--add] [--json FILE] [--markdown FILE]

Names: ingest, latency, store, home, ping, card, ladder-cost, ladder-place, tenant, voice, tv, judge, skipped: half an
hour. At full load, by name or all with --long: influx, trouble, directory, grafana, chaos, back, live, throughput,
which take an hour more, and hour. Parts of throughput by name: throughput-loopback, -loss, -cpu, -udp, -10, -50, by
queue as -300-20, -800-20 and -loaded-20, by rate as -speedtest-50; of tenant: tenant-use, -abort, -call; of tv:
tv-file, -live, -exact; --add keeps the rows of both FILEs that are not measured now: parts measured apart make one
table. The captures, the loop device, its file system and lines need root; a group that cannot be measured here says
why, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import line_rows, table, tv
from bench.load_rows import LONG
from bench.rate_rows import PARTS
from bench.rows import ROWS, load_average

ALL = ROWS | LONG | PARTS | line_rows.PARTS | tv.PARTS
HEAD = "<!-- last table: written by `python -m bench --markdown` -->\n"


def main() -> int:
    """0 when all that has a goal holds, 1 where something is short or could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--long", action="store_true", help="what is measured at full load too, two hours")
    parser.add_argument("--runs", type=int, help="runs that a figure is the median of")
    parser.add_argument("--add", action="store_true", help="to the rows that either FILE has already")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("bench-results.json"))
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="a document whose last table is replaced")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(ALL):
        parser.error(f"{', '.join(sorted(unknown))}: known are {', '.join(ALL)}")
    rows, failed = measure(asked.names or list(ROWS | LONG if asked.long else ROWS), asked.runs)
    if asked.add and asked.json.exists():
        rows = table.added(json.loads(asked.json.read_text()), rows)
    table.show(rows, Console(width=None if sys.stdout.isatty() else 160))
    asked.json.write_text(json.dumps(table.as_json(rows), indent=1) + "\n")
    if asked.markdown is not None:
        put(asked.markdown, rows, add=asked.add)
    for why in failed:
        print(why, file=sys.stderr)
    return 1 if failed or any(row.holds is False for row in rows) else 0


def measure(names: list[str], runs: int | None) -> tuple[list[table.Row], list[str]]:
    """Rows in the order of the names, and why others are missing."""
    rows: list[table.Row] = []
    failed: list[str] = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += [replace(row, load_average=load_average(), at=table.now()) for row in ALL[name](runs)]
        except Exception as exc:  # noqa: BLE001 - whatever one group meets, the others are measured
            failed.append(f"{name}: not measured: {type(exc).__name__}: {exc}")
    return rows, failed


def put(path: Path, rows: list[table.Row], *, add: bool = False) -> None:
    """Replaces the table below the mark, or with ``add`` its like rows; the text above is written by hand."""
    text, _, last = (path.read_text() if path.exists() else "").partition(HEAD)
    path.write_text(f"{text}{HEAD}\n{table.as_markdown(rows, last if add else '')}")


if __name__ == "__main__":
    sys.exit(main())
