"""What does ingest alone take: the collector's intake, ingest and journal, as one process?

`python -m bench.collect DATA DIRECTORY_URL [PROFILE]`: what `balise serve` runs in its main thread. Prints "open" at a
session, and at the end what became of the messages, as JSON.
"""

from __future__ import annotations

import cProfile
import json
import signal
import sys
import time
from pathlib import Path

from balise_agent.logs import set_up
from balise_collector.directory import Directory
from balise_collector.ingest import Ingest
from balise_collector.intake import Intake
from balise_collector.journal_salvage import open_journal
from balise_collector.serve import broker_of


def main(data: Path, directory_url: str, journal_path: Path, profile: Path | None) -> None:
    """Runs until SIGTERM."""
    set_up("warning", sys.stderr)
    with Directory(directory_url) as directory:
        journal = open_journal(journal_path)
        ingest = Ingest(journal, directory.snapshot().resolve, lambda: time.time_ns() // 1_000_000)
        intake = Intake(broker_of(data), ingest, on_connected=lambda: print("open", flush=True))
        signal.signal(signal.SIGTERM, lambda *_: intake.stop())
        profiler = cProfile.Profile()
        if profile is not None:
            profiler.enable()
        intake.run()
        profiler.disable()
        if profile is not None:
            profiler.dump_stats(profile)
        print(json.dumps({"counts": ingest.counts, "dead": ingest.dead, "journal": journal.counts()}), flush=True)
        journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]) if len(sys.argv) > 4 else None)
