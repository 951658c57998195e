"""``python -m balise_collector.stats DATA PARENT DIRECTORY_URL``: rolls hours up and freezes months, beside ingest.

A process of its own: an hour of a thousand homes is read for seconds, for which the judge must not stand still.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from balise_agent.logs import set_up
from balise_collector.consumers import ERASE_S, Job, Loop, end_with
from balise_collector.directory import Directory
from balise_collector.erasures import Erasures
from balise_collector.forward import feed_key
from balise_collector.journal import Journal
from balise_collector.judge.topology import HomeSite
from balise_collector.judging import plant
from balise_collector.stats import grounds
from balise_collector.stats.forgetting import forget
from balise_collector.stats.freezing import Freezer
from balise_collector.stats.pending import Pending
from balise_collector.stats.sealing import Sealer
from balise_collector.store.kept import alone, open_kept

SEAL_S = 20.0
FREEZE_S = 3_600.0


def main(argv: Sequence[str] = sys.argv) -> int:
    """Does so until it is told to stop."""
    end_with(int(argv[2]))
    set_up("info", sys.stdout)
    data = Path(argv[1])
    with (
        Directory(argv[3]) as directory,
        closing(Erasures(data / "erasures.db")) as erasures,
        closing(Journal(data / "journal.db")) as journal,
        closing(Pending(data / "stats.db")) as pending,
        closing(open_kept(data)) as reader,
    ):

        def homes(at_ms: int) -> Mapping[str, HomeSite]:
            return plant.topology(directory, at_ms).homes

        sealer = Sealer(journal, reader, pending, homes, feed=_feed(data, journal.name))
        freezer = Freezer(journal, reader, pending, partial(grounds.of_period, directory))
        work = [
            Job("forgotten", ERASE_S, lambda: _said("homes", forget(erasures, pending, journal, _now_ms()))),
            Job("hours_rolled_up", SEAL_S, lambda: _said("hours", sealer.seal(_now_ms()))),
            Job("month_frozen", FREEZE_S, lambda: _said("homes", freezer.freeze(_now_ms()))),
        ]
        loop = Loop(journal, [sealer], work)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        loop.run()
    return 0


def _feed(data: Path, journal: str) -> str:
    """What the cursor of journal rows is called in the store that hours are made of."""
    known = alone(data)
    return f"{journal}:journal" if known is None else feed_key(journal, known.identity, "journal")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _said(what: str, count: int) -> dict[str, object] | None:
    return {what: count} if count else None


if __name__ == "__main__":
    sys.exit(main())
