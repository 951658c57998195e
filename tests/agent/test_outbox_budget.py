"""Does what tests have cost outlive the agent, and a damaged row count as none?"""

import sqlite3
from contextlib import closing
from pathlib import Path

from balise_agent.budget import Count
from balise_agent.clock import SystemClock
from balise_agent.heavy_plan import Tried
from balise_agent.outbox import Outbox
from balise_agent.outbox_budget import Ledger, day_key

LEDGER = Ledger(
    day=20_781,
    counts={
        ("d20781", "throughput"): Count(planned=4, run=1, line_busy=2, bytes=10_000_000),
        ("2026-11", "loaded"): Count(run=7, bytes=43_750_000),
    },
    tried={"20781.plan.0": Tried(count=2, last_s=1.5, over=True)},
)


def opened(path: Path) -> Outbox:
    return Outbox(path, boot="boot", clock=SystemClock(trust=True))


def test_it_is_there_at_the_next_opening_and_a_kind_of_period_is_found(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "outbox.db")) as outbox:
        assert outbox.ledger() == Ledger()
        outbox.keep_ledger(Ledger(day=1, counts={("d1", "loaded"): Count(run=1)}))
        outbox.keep_ledger(LEDGER)
    with closing(opened(tmp_path / "outbox.db")) as outbox:
        assert outbox.ledger() == LEDGER
        assert outbox.ledger().of(day_key(20_781)) == {"throughput": LEDGER.counts["d20781", "throughput"]}
        outbox.erase()
        assert outbox.ledger() == Ledger()


def test_a_row_that_was_altered_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(opened(path)) as outbox:
        outbox.keep_ledger(LEDGER)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE budget SET v = replace(v, '10000000', '1') WHERE kind = 'throughput'")
    with closing(opened(path)) as outbox:
        assert set(outbox.ledger().counts) == {("2026-11", "loaded")}


def test_a_file_of_before_there_was_a_budget_is_no_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(opened(path)) as outbox:
        stream = outbox.stream
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE budget")
        db.execute("PRAGMA user_version = 1")
    with closing(opened(path)) as outbox:
        assert outbox.ledger() == Ledger()
        assert stream in {row[0] for row in outbox._db.execute("SELECT stream FROM stream")}
    assert [found.name for found in tmp_path.glob("*damaged*")] == []
