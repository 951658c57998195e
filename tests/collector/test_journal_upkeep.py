"""Does everything leave the journal when it must, without trace, and nothing before it may?"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from balise_agent import codec, contract
from balise_agent.catalogue import RETENTION_DAYS, Retention
from balise_agent.contract import Body, Record
from balise_collector import journal_upkeep, wire
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter, Message
from balise_collector.journal_salvage import open_journal
from balise_collector.placement import Orphan, Place, Placement
from tests.collector.sender import NOW, Sender, row

DAY = 86_400_000
HOME, OTHER = Place(home="home0001"), Place(home="home0002")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as opened:
        yield opened


def body(*ats: int, text: str = "") -> bytes:
    """A body as it is stored, its records at those times from its own."""
    records = tuple(
        Record(measurement="agent_event", bt_ms=10**9 + at, target="started", fields={"detail": text or f"at {at}"})
        for at in ats or (0,)
    )
    return codec.deflate(
        codec.encode_body(Body(nonce=contract.token(secrets.token_bytes(16)), bt_ms=10**9, records=records))
    )


def keep(
    journal: Journal,
    n: int,
    *,
    ts_ms: int = NOW,
    received_ms: int = NOW,
    retention: Retention = "raw_90d",
    place: Placement = HOME,
    stored: bytes | None = None,
) -> None:
    """Message ``n`` of a stream, as ingest adds it."""
    content = stored or body()
    message = Message(
        probe="probe001",
        stream="s" * 22,
        previous=None,
        seq=n,
        ts_ms=ts_ms,
        boot="boot",
        retention=retention,
        chain=f"{n:022}",
        body_hash=bytes(32),
        parts=((place, content),) if isinstance(place, Place) else (),
        orphans=((place.reason, content),) if isinstance(place, Orphan) else (),
    )
    with journal.transaction():
        assert journal.add([message], received_ms) == ["new"]


def done(journal: Journal, up_to: int, consumer: str = "store") -> None:
    with journal.transaction():
        journal.move(f"{consumer}:journal", up_to)


def kept(journal: Journal) -> list[int]:
    return [entry.seq for entry in journal.entries(0, 10_000)[0]]


def test_a_row_goes_after_a_week_once_every_consumer_is_done_with_it(journal: Journal) -> None:
    for n in range(1, 4):
        keep(journal, n)
    done(journal, 3)
    done(journal, 2, "forwarder")
    assert journal.prune(NOW + journal_upkeep.KEPT_MS) == 0
    assert journal.prune(NOW + journal_upkeep.KEPT_MS + 1) == 2
    assert kept(journal) == [3]


def test_a_row_that_no_consumer_knows_of_is_kept_until_its_class_ends(journal: Journal) -> None:
    keep(journal, 1)
    assert journal.prune(NOW + 90 * DAY) == 0
    assert journal.prune(NOW + 90 * DAY + 1) == 1


@pytest.mark.parametrize("received_later_ms", [0, 6 * DAY, 30 * DAY])
def test_what_is_seven_days_old_by_its_own_date_goes_even_if_it_came_late_or_nobody_read_it(
    journal: Journal, received_later_ms: int
) -> None:
    keep(journal, 1, ts_ms=NOW, received_ms=NOW + received_later_ms, retention="tv_home_7d")
    keep(journal, 2, ts_ms=NOW, received_ms=NOW + received_later_ms)
    assert journal.prune(NOW + 7 * DAY) == 0
    assert journal.prune(NOW + 7 * DAY + 1) == 1
    assert kept(journal) == [2]


def test_a_row_that_came_almost_too_late_leaves_at_its_own_end_not_a_week_later(journal: Journal) -> None:
    keep(journal, 1, ts_ms=NOW, received_ms=NOW + 89 * DAY)
    assert journal.prune(NOW + 90 * DAY + 1) == 1


def test_pruning_reaches_further_than_it_takes_at_once(journal: Journal) -> None:
    for n in range(1, 1_502):
        keep(journal, n, stored=b"x", received_ms=NOW if n < 1_501 else NOW + DAY)
    done(journal, 1_501)
    assert journal.prune(NOW + 7 * DAY + 1) == 1_500
    assert kept(journal) == [1_501]


@pytest.mark.parametrize(
    ("retention", "ts_ms", "days"),
    [("raw_90d", NOW, 90), ("tv_home_7d", NOW, 7), ("raw_90d", 0, 90), ("tv_home_7d", NOW + 400 * DAY, 7)],
)
def test_an_orphan_goes_with_its_class_by_its_date_or_where_that_is_none_by_its_arrival(
    journal: Journal, retention: Retention, ts_ms: int, days: int
) -> None:
    keep(journal, 1, ts_ms=ts_ms, retention=retention, place=Orphan(reason="unassigned"))
    assert journal.prune(NOW + days * DAY) == 0
    assert journal.prune(NOW + days * DAY + 1) == 1
    assert journal.orphans() == {}


def test_an_orphan_that_came_late_goes_by_its_date(journal: Journal) -> None:
    keep(journal, 1, ts_ms=NOW - 80 * DAY, place=Orphan(reason="unassigned"))
    assert journal.prune(NOW + 10 * DAY + 1) == 1


def test_a_dead_letter_goes_as_what_may_be_kept_the_shortest(journal: Journal) -> None:
    shortest = min(days for days in RETENTION_DAYS.values() if days is not None)
    with journal.transaction():
        letter = DeadLetter(probe="probe001", key=b"k", reason="bad_json", detail="", payload=b"x")
        journal.add_dead_letter(letter, NOW)
    journal.prune(NOW + shortest * DAY)
    assert len(journal.dead_letters()) == 1
    journal.prune(NOW + shortest * DAY + 1)
    assert journal.dead_letters() == []


def test_what_is_derived_waits_for_its_consumers_as_well(journal: Journal) -> None:
    with journal.transaction():
        journal.derive("platform", {"part": "x"}, NOW, {"rows": 1})
    assert journal.prune(NOW + 8 * DAY) == 0
    with journal.transaction():
        journal.move("store:derived", 1)
    assert journal.prune(NOW + 8 * DAY) == 1


def test_the_chain_stays_and_a_pruned_message_is_still_a_duplicate(journal: Journal) -> None:
    probe = Sender()
    message = probe.sends(retention="raw_90d")
    ingest = Ingest(journal, lambda _probe, _ts_ms: HOME, lambda: NOW)
    ingest.take([message])
    assert journal.prune(NOW + 91 * DAY) == 1
    assert [reply.ack.ranges for reply in ingest.take([message])] == [((1, 1),)]
    assert (ingest.counts["duplicate"], kept(journal)) == (1, [])


def test_what_was_pruned_is_in_no_file(journal: Journal, tmp_path: Path) -> None:
    secret = secrets.token_bytes(64)
    keep(journal, 1, retention="tv_home_7d", stored=secret)
    keep(journal, 2, retention="tv_home_7d", stored=secret, place=Orphan(reason="unassigned"))
    assert any(secret in path.read_bytes() for path in tmp_path.iterdir())
    assert journal.prune(NOW + 8 * DAY) == 2
    assert not any(secret in path.read_bytes() for path in tmp_path.iterdir())


def test_a_file_set_aside_goes_when_what_is_in_it_may_be_too_old(journal: Journal, tmp_path: Path) -> None:
    for name in (f"journal.db.damaged-{NOW}", f"journal.db.damaged-{NOW}-wal", f"journal.db.damaged-{NOW + DAY}"):
        (tmp_path / name).write_bytes(b"old")
    journal.prune(NOW + 7 * DAY + 1)
    assert [path.name for path in tmp_path.glob("*damaged*")] == [f"journal.db.damaged-{NOW + DAY}"]


# erasing


def test_erasing_takes_exactly_the_records_of_a_home_from_one_date_up_to_another(journal: Journal) -> None:
    keep(journal, 1, stored=body(-30, -20, -10, 0))
    keep(journal, 2, place=OTHER, stored=body(-20))
    keep(journal, 3, ts_ms=NOW - 15, stored=body(0))
    assert journal.erase("home0001", NOW - 20, NOW) == 2
    entries, _ = journal.entries(0, 10)
    left = {entry.seq: [entry.ts_ms + r.at - NOW for r in wire.records(entry.body)] for entry in entries}
    assert left == {1: [-30, 0], 2: [-20]}
    assert journal.damaged == 0


def test_a_home_s_rows_are_found_wherever_they_stand(journal: Journal) -> None:
    for number in range(1, 2_501):
        keep(journal, number, place=OTHER if number % 100 else HOME)
    assert journal.erase("home0001", 0, NOW + 1) == 25
    assert len(kept(journal)) == 2_475


def test_what_was_erased_is_in_no_file_and_does_not_come_back(journal: Journal, tmp_path: Path) -> None:
    secret = body(text=secrets.token_urlsafe(100))
    keep(journal, 1, stored=secret)
    with journal.transaction():
        journal.derive("platform", {"part": "x", "home": "home0001"}, NOW, {"note": "about the home"})
    (tmp_path / f"journal.db.damaged-{NOW}").write_bytes(secret)
    assert journal.erase("home0001", 0, NOW + 1) == 2
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret not in files
    assert b"home0001" not in files
    assert b"about the home" not in files
    with pytest.raises(AssertionError, match="duplicate"):
        keep(journal, 1, stored=secret)


def test_an_erased_row_is_still_a_whole_row_to_a_salvage(journal: Journal, tmp_path: Path) -> None:
    keep(journal, 1)
    keep(journal, 2, place=OTHER)
    journal.erase("home0001", 0, NOW + 1)
    journal.close()
    (tmp_path / "journal.db.malformed").touch()
    with closing(open_journal(tmp_path / "journal.db")) as again:
        assert kept(again) == [2]
        assert again.counts()["journal_rows_lost"] == 0
        with pytest.raises(AssertionError, match="duplicate"):
            keep(again, 1)


def test_what_was_erased_does_not_come_back_from_an_outbox_and_what_is_newer_is_kept(journal: Journal) -> None:
    probe, ingest = Sender(), Ingest(journal, lambda _probe, _ts_ms: HOME, lambda: NOW)
    journal.erase("home0001", 0, 2**43)
    ingest.take([probe.sends(ts_ms=NOW)])  # while it is going on
    journal.end_erasure("home0001", 0, 2**43, NOW)
    replies = ingest.take([probe.sends(row(-5), row(0), ts_ms=NOW), probe.sends(ts_ms=NOW - DAY)])
    assert [reply.ack.ranges for reply in replies] == [((2, 3),)]
    ((left,), _) = journal.entries(0, 10)
    assert [left.ts_ms + r.at for r in wire.records(left.body)] == [NOW]
    assert ingest.counts == {"withdrawn": 2, "new": 1}


def test_other_dates_of_an_erased_home_still_come(journal: Journal) -> None:
    journal.erase("home0001", NOW - DAY, NOW)
    journal.end_erasure("home0001", NOW - DAY, NOW, NOW + DAY)
    probe, ingest = Sender(), Ingest(journal, lambda _probe, _ts_ms: HOME, lambda: NOW)
    ingest.take([probe.sends(ts_ms=date) for date in (NOW - 2 * DAY, NOW - DAY, NOW)])
    assert [entry.ts_ms for entry in journal.entries(0, 10)[0]] == [NOW - 2 * DAY, NOW]


def test_nothing_is_concluded_of_a_home_while_it_is_erased(journal: Journal) -> None:
    def derive() -> None:
        with journal.transaction():
            journal.derive("home_state", {"home": "home0001", "service": "internet"}, NOW, {"state": 0})

    journal.erase("home0001", 0, 2**43)
    derive()
    assert journal.derived(0, 10)[0] == []
    journal.end_erasure("home0001", 0, 2**43, NOW - 1)
    derive()
    assert len(journal.derived(0, 10)[0]) == 1


def test_what_an_erased_home_s_probe_sent_and_nobody_could_place_goes_too(journal: Journal) -> None:
    for number, reason in enumerate(("unsynced", "clock_suspect", "unassigned"), 1):
        keep(journal, number, place=Orphan(reason=reason), ts_ms=0, received_ms=NOW)  # type: ignore[arg-type]
    letters = [("probe001", b"x"), ("probe002", b"host,home=home0001,pon=p"), ("probe002", b"y")]
    with journal.transaction():
        for number, (probe, payload) in enumerate(letters):
            letter = DeadLetter(probe=probe, key=bytes([number]), reason="bad_json", detail="", payload=payload)
            journal.add_dead_letter(letter, NOW)
    assert journal.erase("home0001", 0, 2**43, [("probe001", NOW - DAY, NOW - 1)]) == 4
    assert journal.orphans() == {"unassigned": 1}
    assert [letter["bytes"] for letter in journal.dead_letters()] == [1]


def test_a_salvaged_journal_still_knows_what_was_erased(journal: Journal, tmp_path: Path) -> None:
    journal.erase("home0001", 0, NOW)
    journal.close()
    (tmp_path / "journal.db.malformed").touch()
    with closing(open_journal(tmp_path / "journal.db")) as again:
        assert again.erased().covers("home0001", NOW - 1)
        assert not again.erased().covers("home0001", NOW)
        assert not again.erased().names("home0002")


# damage


def test_a_message_whose_row_was_damaged_is_new_when_its_probe_sends_it_again(tmp_path: Path) -> None:
    path, probe = tmp_path / "journal.db", Sender()
    messages = [probe.sends(row(uptime_s=n)) for n in range(1, 6)]
    with closing(Journal(path)) as journal:
        Ingest(journal, lambda _probe, _ts_ms: HOME, lambda: NOW).take(messages)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE journal SET body = zeroblob(9) WHERE seq IN (3, 5)")
    (tmp_path / "journal.db.malformed").touch()
    with closing(open_journal(path)) as journal:
        assert kept(journal) == [1, 2, 4]
        assert journal.counts()["journal_rows_lost"] == 2
        ingest = Ingest(journal, lambda _probe, _ts_ms: HOME, lambda: NOW)
        ingest.take(messages)
        assert ingest.counts == {"duplicate": 3, "new": 2}
        assert sorted(kept(journal)) == [1, 2, 3, 4, 5]
        assert journal.counts()["chain_broken"] == 0


def test_a_consumer_that_is_forgotten_holds_no_row_any_more(journal: Journal) -> None:
    with journal.transaction():
        journal.move("store:journal", 9)
        journal.move("influx:journal", 0)
        assert journal.forget_consumer("influx")
        assert not journal.forget_consumer("influx")
    assert journal.cursors() == {"store:journal": 9}
