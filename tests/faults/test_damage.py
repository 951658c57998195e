"""What becomes of outboxes and journals that a card or a disk damaged?"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from balise_agent.outbox_rows import rows
from tests.faults import damaged_journal, damaged_outbox
from tests.faults.damage import damage_copies

COPIES = 150
SEED = 20_260


@pytest.mark.parametrize("what", ["outbox", "journal"])
def test_of_damaged_copies_none_ends_the_program_alters_a_record_or_hides_a_loss(what: str) -> None:
    result = damage_copies(what, COPIES, SEED)
    assert result.wrong == 0, result.examples
    assert result.missing > 0
    assert {outcome.partition(": ")[2] for outcome in result.outcomes} >= {"whole", "said"}


def test_an_altered_message_that_its_checksum_does_not_give_away_is_seen(tmp_path: Path) -> None:
    original = damaged_outbox.build(tmp_path / "copy", SEED)
    with closing(sqlite3.connect(tmp_path / "copy/outbox.db")) as db, db:
        row = next(row for row in rows(db, "acked IS NULL AND chain IS NOT NULL"))
        later = replace(row, ts_ms=(row.ts_ms or 0) + 3_600_000)
        db.execute("UPDATE outbox SET ts_ms = ?, crc = ? WHERE id = ?", (later.ts_ms, later.checksum(), row.id))
    seen = damaged_outbox.use(tmp_path / "copy", original)
    assert [fault for fault in seen.wrong if "altered" in fault]


def test_an_altered_row_of_the_journal_that_its_checksum_does_not_give_away_is_seen(tmp_path: Path) -> None:
    original = damaged_journal.build(tmp_path / "copy", SEED)
    with closing(sqlite3.connect(tmp_path / "copy/journal.db")) as db, db:
        *kept, body = db.execute(
            "SELECT stream_id, seq, received_ms, ts_ms, retention, place, body FROM journal WHERE id = 7"
        ).fetchone()
        kept[3] += 3_600_001
        crc = zlib.crc32(body, zlib.crc32(repr(kept).encode()))
        db.execute("UPDATE journal SET ts_ms = ?, crc = ? WHERE id = 7", (kept[3], crc))
    seen = damaged_journal.use(tmp_path / "copy", original)
    assert [fault for fault in seen.wrong if "altered" in fault]
    assert [fault for fault in seen.wrong if "never sent" in fault]
