"""Does the journal keep each message once, follow its chain in any order, and never hand out what was altered?"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from balise_agent.contract import body_hash, chain_next, chain_start
from balise_collector.journal import MAX_DEAD_LETTERS, Journal
from balise_collector.journal_rows import DeadLetter, Message
from balise_collector.placement import Place

STREAM = "s" * 22
HOME = Place(home="home0001", building="b1", pon="p1")
NOW = 1_800_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as opened:
        yield opened


def _messages(n: int) -> list[Message]:
    found, last = [], chain_start(STREAM, None)
    for seq in range(1, n + 1):
        body = f"body {seq}".encode()
        last = chain_next(last, seq, NOW + seq, body_hash(body))
        found.append(
            Message(
                probe="probe001",
                stream=STREAM,
                previous=None,
                seq=seq,
                ts_ms=NOW + seq,
                boot="boot",
                retention="raw_90d",
                chain=last,
                body_hash=body_hash(body),
                parts=((HOME, body),),
            )
        )
    return found


def _add(journal: Journal, *messages: Message) -> list[str]:
    with journal.transaction():
        return journal.add(messages, NOW)


def _links(path: Path) -> list[int | None]:
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT link FROM chain ORDER BY seq")]


def test_a_message_is_kept_once_however_often_it_comes(journal: Journal) -> None:
    (message,) = _messages(1)
    assert _add(journal, message, message) == ["new", "duplicate"]
    assert _add(journal, message) == ["duplicate"]
    entries, last = journal.entries(0, 10)
    assert [(e.probe, e.seq, e.place, e.body) for e in entries] == [("probe001", 1, HOME, b"body 1")]
    assert last == journal.last_id() == 1


def test_a_number_with_other_content_is_a_conflict_and_changes_nothing(journal: Journal) -> None:
    first, _second = _messages(2)
    other = Message(**{f: getattr(first, f) for f in first.__struct_fields__} | {"chain": "x" * 22})
    assert _add(journal, first, other) == ["new", "conflict"]
    assert [e.body for e in journal.entries(0, 10)[0]] == [b"body 1"]


def test_what_another_program_has_kept_meanwhile_is_a_duplicate_here_and_the_next_one_follows_it(
    tmp_path: Path, journal: Journal
) -> None:
    first, second, third = _messages(3)
    _add(journal, first)
    with closing(Journal(tmp_path / "journal.db")) as other:  # as `balise dead-letters replay` does
        assert _add(other, second) == ["new"]
    assert _add(journal, second, third) == ["duplicate", "new"]
    assert [entry.seq for entry in journal.entries(0, 10)[0]] == [1, 2, 3]
    assert _links(tmp_path / "journal.db") == [1, 1, 1]


def test_messages_of_one_batch_are_each_kept_once_in_whatever_order_they_stand_in_it(journal: Journal) -> None:
    first, second, third = _messages(3)
    assert _add(journal, second, second, first, third, first) == ["new", "duplicate", "new", "new", "duplicate"]
    assert [entry.seq for entry in journal.entries(0, 10)[0]] == [2, 1, 3]
    assert _links(journal.path) == [1, 1, 1]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_chain_is_verified_whatever_the_order_of_arrival(tmp_path: Path, order: tuple[int, ...]) -> None:
    messages = _messages(4)
    with closing(Journal(tmp_path / "journal.db")) as journal:
        for index in order:
            _add(journal, messages[index])
    assert _links(tmp_path / "journal.db") == [1, 1, 1, 1]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))))
def test_the_chain_is_verified_also_where_the_journal_is_opened_again_between(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    messages = _messages(5)
    for part in (order[:2], order[2:]):
        with closing(Journal(tmp_path / "journal.db")) as journal:
            for index in part:
                _add(journal, messages[index])
    assert _links(tmp_path / "journal.db") == [1, 1, 1, 1, 1]


def test_a_missing_message_leaves_the_next_one_open_and_an_altered_one_is_evidence(tmp_path: Path) -> None:
    first, second, third, fourth = _messages(4)
    altered = Message(**{f: getattr(second, f) for f in second.__struct_fields__} | {"ts_ms": second.ts_ms + 3_600_000})
    with closing(Journal(tmp_path / "journal.db")) as journal:
        assert _add(journal, first, altered, fourth) == ["new", "new", "new"]
    assert _links(tmp_path / "journal.db") == [1, 0, None]
    with closing(Journal(tmp_path / "journal.db")) as journal:
        _add(journal, third)
        assert journal.counts()["chain_broken"] == 1
    assert _links(tmp_path / "journal.db") == [1, 0, 1, 1]


def test_a_transaction_that_fails_keeps_nothing_and_forgets_what_it_thought(journal: Journal) -> None:
    first, second = _messages(2)
    broken = Message(**{f: getattr(second, f) for f in second.__struct_fields__} | {"chain": None})
    with pytest.raises(sqlite3.IntegrityError):
        _add(journal, first, broken)
    assert journal.entries(0, 10)[0] == []
    assert _add(journal, first, second) == ["new", "new"]


def test_an_altered_row_is_never_handed_out_and_is_counted(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        _add(journal, *_messages(3))
        with closing(sqlite3.connect(tmp_path / "journal.db")) as other, other:
            other.execute("UPDATE journal SET ts_ms = ts_ms + 1 WHERE seq = 2")
        entries, last = journal.entries(0, 10)
        assert ([e.seq for e in entries], last, journal.damaged) == ([1, 3], 3, 1)


def test_pruning_waits_for_every_consumer_and_a_pruned_message_is_still_known(journal: Journal) -> None:
    messages = _messages(3)
    _add(journal, *messages)
    later = NOW + 8 * 86_400_000
    with journal.transaction():
        journal.move("store:journal", 3)
        journal.move("forwarder:journal", 1)
    assert journal.prune(later) == 1
    with journal.transaction():
        journal.move("forwarder:journal", 3)
    assert journal.prune(later) == 2
    assert _add(journal, *messages) == ["duplicate"] * 3


def test_dead_letters_are_kept_once_and_bounded(journal: Journal) -> None:
    def letter(n: int) -> DeadLetter:
        return DeadLetter(probe="probe001", key=str(n).encode(), reason="bad_zlib", detail="", payload=b"x")

    with journal.transaction():
        added = [journal.add_dead_letter(letter(n), NOW) for n in (1, 1, *range(2, MAX_DEAD_LETTERS + 3))]
    assert added[:2] == [True, False]
    assert len(journal.dead_letters()) == MAX_DEAD_LETTERS
    assert journal.counts()["dead_letters_dropped"] == 2


def test_presence_is_a_row_only_when_it_changes(journal: Journal) -> None:
    with journal.transaction():
        told = [
            journal.add_presence("probe001", online, bytes([online]), NOW + n, HOME, b"b")
            for n, online in enumerate((True, True, False))
        ]
    assert told == [True, False, True]
    assert len(journal.entries(0, 10)[0]) == 2
    assert journal.presences() == {"probe001": (False, NOW + 2)}


def test_what_is_derived_is_read_back_as_it_was(journal: Journal) -> None:
    with journal.transaction():
        journal.derive("platform", {"part": "ingest"}, NOW, {"rows": 3, "broker_ok": True})
    (row,), last = journal.derived(0, 10)
    assert (row.measurement, row.tags, row.ts_ms, row.fields) == (
        "platform",
        {"part": "ingest"},
        NOW,
        {"rows": 3, "broker_ok": True},
    )
    assert last == 1
