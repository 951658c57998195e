"""Is each message kept once, where it belongs and for as long as somebody agrees, and is the sender told the truth?"""

from __future__ import annotations

import itertools
import resource
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balise_agent import codec
from balise_agent.contract import MAX_UNKNOWN, Ack, Refusal, topic
from balise_collector import wire
from balise_collector.ingest import FUTURE_MS, MAX_NAMES, PILE, Incoming, Ingest, Reply, ranges
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter
from balise_collector.placement import Orphan, Place, Placement, Resolve, UnknownProbe, Withdrawn
from tests.collector.sender import NOW, Sender, row

A, B = Place(home="homeaaaa", building="b1", pon="p1"), Place(home="homebbbb", building="b2", pon="p2")
SECRET = "zqxsecretzqx"
HOUR = 3_600_000


def always(place: Placement) -> Resolve:
    return lambda _probe, _ts_ms: place


def changing(*spans: tuple[int, Placement], before: Placement = A) -> Resolve:
    """Each from its date on, until the next."""

    def resolve(_probe: str, ts_ms: int) -> Placement:
        return next((place for start_ms, place in reversed(spans) if ts_ms >= start_ms), before)

    return resolve


class Bench:
    """An ingest over a journal in a folder, and what stands in its files."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder, self.journal, self.now_ms = folder, journal, NOW
        self.ingest = Ingest(journal, always(A), lambda: self.now_ms)

    def take(self, *batch: Incoming, resolve: Resolve | None = None) -> list[Reply]:
        self.ingest.resolve = resolve or self.ingest.resolve
        return self.ingest.take(batch)

    def kept(self) -> list[tuple[str, str, int]]:
        """(home, measurement, date) of every record in the journal."""
        entries, _ = self.journal.entries(0, 1_000)
        return [(e.place.home, r.measurement, e.ts_ms + r.at) for e in entries for r in wire.records(e.body)]

    def all_text(self) -> bytes:
        """What a person with the disk in hands could read: the files, and every blob of every table inflated."""
        found = [path.read_bytes() for path in sorted(self.folder.iterdir())]
        with closing(sqlite3.connect(self.folder / "journal.db")) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            values = [v for table in tables for r in db.execute(f"SELECT * FROM {table}") for v in r]  # noqa: S608
        found += [_inflated(value) for value in values if isinstance(value, bytes)]
        return b"\n".join(found)


def _inflated(value: bytes) -> bytes:
    for part in (value, value.partition(b"\n")[2]):
        raw = codec.inflate(part)
        if not isinstance(raw, Refusal):
            return raw
    return value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "data"
    with closing(Journal(folder / "journal.db")) as journal:
        yield Bench(folder, journal)


def acks(replies: list[Reply]) -> list[Ack]:
    return [reply.ack for reply in replies]


# what is kept, and what is said


def test_a_message_is_kept_at_its_place_and_acknowledged_to_its_sender(bench: Bench) -> None:
    probe = Sender()
    (reply,) = bench.take(probe.sends(row(-1_000), row(0, "dns", k="box", rcode=0)))
    assert (reply.probe, reply.ack) == ("probe001", Ack(stream=probe.stream, ranges=((1, 1),)))
    assert bench.kept() == [("homeaaaa", "host", NOW - 1_000), ("homeaaaa", "dns", NOW)]


def test_one_ack_a_stream_says_all_that_a_batch_committed(bench: Bench) -> None:
    first, other = Sender(), Sender("probe002")
    messages = [first.sends(), other.sends(), first.sends(), first.sends()]
    replies = bench.take(messages[0], messages[1], messages[3])
    assert {(r.probe, r.ack.ranges) for r in replies} == {("probe001", ((1, 1), (3, 3))), ("probe002", ((1, 1),))}


def test_a_duplicate_is_acknowledged_again_and_kept_once(bench: Bench) -> None:
    message = Sender().sends()
    first, again = bench.take(message), bench.take(message, message)
    assert acks(first) == acks(again)
    assert len(bench.kept()) == 1
    assert bench.ingest.counts == {"new": 1, "duplicate": 2}


def test_other_content_under_a_known_number_is_refused_and_kept_apart(bench: Bench) -> None:
    probe = Sender()
    bench.take(probe.sends(row(uptime_s=1)))
    (reply,) = bench.take(probe.sends(row(uptime_s=2), seq=1))
    assert reply.ack == Ack(stream=probe.stream, ranges=(), rejected=((1, "conflict"),))
    assert [letter["reason"] for letter in bench.journal.dead_letters()] == ["conflict"]
    assert bench.ingest.counts == {"new": 1, "dead_letter": 1}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda payload: payload[:-3], "bad_zlib"),
        (lambda payload: payload.partition(b"\n")[0] + b"\n" + zlib.compress(b"[1"), "bad_json"),
        (lambda payload: payload.partition(b"\n")[0] + b"\n" + zlib.compress(b"[1]"), "bad_body"),
        (lambda payload: payload.partition(b"\n")[0] + b"\n" + zlib.compress(b" " * 1_000_001), "inflates_too_much"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_and_its_sender_is_told(
    bench: Bench, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    probe = Sender()
    message = probe.raw(spoil(probe.sends().payload))
    for _ in range(2):  # sent again, it is the same letter
        (reply,) = bench.take(message)
        assert reply.ack == Ack(stream=probe.stream, ranges=(), rejected=((1, reason),))
    assert [(d["probe"], d["reason"]) for d in bench.journal.dead_letters()] == [("probe001", reason)]
    assert bench.ingest.dead == {reason: 2}
    assert bench.kept() == []


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([{"m": "weather", "at": 0}], "unknown_measurement"),
        ([{"m": "presence", "at": 0}], "wrong_writer"),
        ([row(uptime_s="long")], "bad_record"),
    ],
)
def test_a_record_that_no_catalogue_holds_refuses_its_message(
    bench: Bench, records: list[dict[str, object]], reason: str
) -> None:
    (reply,) = bench.take(Sender().sends(*records))
    assert [why for _, why in reply.ack.rejected] == [reason]


def test_without_an_envelope_there_is_nobody_to_answer_but_the_letter_is_kept(bench: Bench) -> None:
    assert bench.take(Sender().raw(b"\xff\x00 no envelope")) == []
    assert [letter["reason"] for letter in bench.journal.dead_letters()] == ["bad_envelope"]


@given(payloads=st.lists(st.binary(max_size=300) | st.binary(max_size=80).map(zlib.compress), max_size=5))
@settings(max_examples=40, deadline=None)
def test_no_bytes_stop_the_others(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    with closing(Journal(tmp_path_factory.mktemp("any") / "journal.db", synchronous="OFF")) as journal:
        ingest, probe = Ingest(journal, always(A), lambda: NOW), Sender()
        line = probe.sends().payload.partition(b"\n")[0]
        broken = [probe.raw(part + payload) for payload in payloads for part in (b"", line + b"\n")]
        states = [Incoming(topic="balise/v1/probe001/state", payload=payload) for payload in payloads]
        replies = ingest.take([*broken, *states, probe.sends()])
        assert Ack(stream=probe.stream, ranges=((2, 2),)) in [
            Ack(stream=r.ack.stream, ranges=r.ack.ranges) for r in replies
        ]


@pytest.mark.parametrize("topic", ["balise/v1/probe001/ack", "balise/v2/probe001/records", "x", "balise/v1/UP/records"])
def test_a_topic_that_is_not_ours_to_read_is_only_counted(bench: Bench, topic: str) -> None:
    assert bench.take(Incoming(topic=topic, payload=Sender().sends().payload)) == []
    assert bench.kept() == []
    assert sum(bench.ingest.counts.values()) == (0 if topic.endswith("/ack") else 1)


# whose it is


def test_an_unknown_or_revoked_probe_is_neither_kept_nor_answered(bench: Bench) -> None:
    probe = Sender()
    batch = (probe.sends(), probe.raw(b"rubbish"), probe.says(online=True))
    assert bench.take(*batch, resolve=always(UnknownProbe())) == []
    assert bench.ingest.counts == {"unknown_probe": 3}
    assert (bench.kept(), bench.journal.dead_letters(), bench.journal.presences()) == ([], [], {})
    assert bench.journal.counts()["streams"] == 0


def test_a_batch_sees_one_directory_even_where_it_changes_in_between(bench: Bench) -> None:
    def known(probe: str, ts_ms: int) -> Placement:
        bench.ingest.resolve = always(UnknownProbe())  # revoked at this very moment, by another thread
        return A

    probe = Sender()
    assert acks(bench.take(probe.sends(), resolve=known)) == [Ack(stream=probe.stream, ranges=((1, 1),))]
    assert len(bench.kept()) == 1
    assert bench.take(probe.sends()) == []


def test_a_message_without_a_date_is_an_orphan_with_its_window(bench: Bench) -> None:
    probe = Sender()
    (reply,) = bench.take(probe.sends(ts_ms=0, window=(NOW - HOUR, NOW - 1)))
    assert reply.ack.ranges == ((1, 1),)
    assert (bench.kept(), bench.journal.orphans()) == ([], {"unsynced": 1})
    with closing(sqlite3.connect(bench.folder / "journal.db")) as db:
        assert db.execute("SELECT low_ms, high_ms, ts_ms FROM orphan").fetchall() == [(NOW - HOUR, NOW - 1, 0)]


@pytest.mark.parametrize(("ahead_ms", "orphans"), [(FUTURE_MS, {}), (FUTURE_MS + 1, {"clock_suspect": 1})])
def test_a_date_in_the_future_is_a_suspect_clock(bench: Bench, ahead_ms: int, orphans: dict[str, int]) -> None:
    (reply,) = bench.take(Sender().sends(row(-HOUR), row(0), ts_ms=NOW + ahead_ms))
    assert reply.ack.ranges == ((1, 1),)
    assert bench.journal.orphans() == orphans
    assert len(bench.kept()) == (0 if orphans else 2)


def test_a_date_outside_every_assignment_is_an_orphan(bench: Bench) -> None:
    bench.take(Sender().sends(), resolve=always(Orphan(reason="unassigned")))
    assert bench.journal.orphans() == {"unassigned": 1}


def test_a_message_over_a_move_is_split_each_record_at_its_place(bench: Bench) -> None:
    moved = NOW - 30_000
    rows = [row(-60_000, uptime_s=1), row(-30_001, uptime_s=2), row(-30_000, uptime_s=3), row(0, uptime_s=4)]
    (reply,) = bench.take(Sender().sends(*rows), resolve=changing((moved, B)))
    assert reply.ack.ranges == ((1, 1),)
    assert [home for home, _, _ in bench.kept()] == ["homeaaaa", "homeaaaa", "homebbbb", "homebbbb"]
    assert [ts_ms - NOW for _, _, ts_ms in bench.kept()] == [-60_000, -30_001, -30_000, 0]
    entries, _ = bench.journal.entries(0, 10)
    values = [r.fields["uptime_s"] for e in entries for r in wire.records(e.body)]
    assert values == [1, 2, 3, 4]


def test_a_part_outside_every_assignment_is_an_orphan_beside_the_part_at_home(bench: Bench) -> None:
    resolve = changing((NOW - 30_000, Orphan(reason="unassigned")))
    bench.take(Sender().sends(row(-60_000), row(0)), resolve=resolve)
    assert [ts_ms - NOW for _, _, ts_ms in bench.kept()] == [-60_000]
    assert bench.journal.orphans() == {"unassigned": 1}


def test_a_split_message_is_still_one_message_when_it_comes_again(bench: Bench) -> None:
    message = Sender().sends(row(-60_000), row(0))
    resolve = changing((NOW - 30_000, B))
    bench.take(message, resolve=resolve)
    bench.take(message)
    assert len(bench.kept()) == 2


# consent


@pytest.mark.parametrize("ts_ms", [NOW, 0, NOW + 2 * FUTURE_MS])
def test_nothing_of_a_withdrawn_home_is_kept_and_it_is_acknowledged(bench: Bench, ts_ms: int) -> None:
    probe = Sender()
    (reply,) = bench.take(
        probe.sends(row(0, "agent_event", k="started", detail=SECRET), ts_ms=ts_ms), resolve=always(Withdrawn())
    )
    assert reply.ack == Ack(stream=probe.stream, ranges=((1, 1),))
    assert bench.ingest.counts == {"withdrawn": 1}
    assert (bench.kept(), bench.journal.orphans(), bench.journal.dead_letters()) == ([], {}, [])
    assert SECRET.encode() not in bench.all_text()


def test_what_cannot_be_read_of_a_withdrawn_home_is_acknowledged_and_not_kept(bench: Bench) -> None:
    probe = Sender()
    (reply,) = bench.take(probe.sends({"m": "weather", "at": 0, "f": {"x": SECRET}}), resolve=always(Withdrawn()))
    assert reply.ack.rejected == ((1, "unknown_measurement"),)
    assert bench.journal.dead_letters() == []
    assert SECRET.encode() not in bench.all_text()


GAP = changing((NOW - 2 * HOUR, Withdrawn()), (NOW - HOUR, A))
"""A home agreed, did not for an hour, and agrees again."""


def test_records_of_an_hour_without_consent_are_dropped_from_a_message_that_spans_it(bench: Bench) -> None:
    rows = [row(-3 * HOUR), row(-HOUR - 1, "agent_event", k="started", detail=SECRET), row(0)]
    bench.take(Sender().sends(*rows), resolve=GAP)
    assert [(ts_ms - NOW) // HOUR for _, _, ts_ms in bench.kept()] == [-3, 0]
    assert SECRET.encode() not in bench.all_text()


@pytest.mark.parametrize("window", [(NOW - 90 * 60_000, NOW), (NOW - 3 * HOUR, NOW - 90 * 60_000)])
def test_what_may_be_of_a_time_without_consent_is_not_kept_as_an_orphan(bench: Bench, window: tuple[int, int]) -> None:
    bench.take(Sender().sends(ts_ms=0, window=window), resolve=GAP)
    assert bench.journal.orphans() == {}


@pytest.mark.parametrize("more", [{}, {"window": (NOW - 90 * 60_000, NOW), "ts_ms": 0}])
def test_a_dead_letter_dated_without_consent_is_not_kept(bench: Bench, more: dict[str, int]) -> None:
    dated = {"ts_ms": NOW - 90 * 60_000} | more
    bench.take(Sender().sends({"m": "weather", "at": 0}, **dated), resolve=GAP)  # type: ignore[arg-type]
    assert bench.journal.dead_letters() == []


def test_a_conflict_with_a_record_dated_without_consent_is_not_kept(bench: Bench) -> None:
    probe = Sender()
    bench.take(probe.sends(), probe.sends(row(-90 * 60_000), row(0, uptime_s=9), seq=1), resolve=GAP)
    assert bench.journal.dead_letters() == []
    assert bench.ingest.dead == {"conflict": 1}


def test_presence_of_a_home_that_withdraws_is_forgotten(bench: Bench) -> None:
    probe = Sender()
    bench.take(probe.says(online=True))
    bench.take(probe.says(online=False), resolve=always(Withdrawn()))
    assert bench.journal.presences() == {}
    assert len(bench.kept()) == 1


# what nobody knows

FORBIDDEN = ["mac", "ssid", "address", "name", "url", "ip", "bssid", "hostname", "channel", "number", "serial", "dest"]


@pytest.mark.parametrize("where", ["field", "record", "body", "envelope", "conflict", "split", "presence"])
def test_the_value_of_an_unknown_field_reaches_no_file_and_its_name_is_counted(bench: Bench, where: str) -> None:
    more, probe = {name: SECRET + name for name in FORBIDDEN}, Sender()
    field = row() | {"f": {"uptime_s": 1} | more}
    sent = {
        "field": lambda: [probe.sends(field)],
        "record": lambda: [probe.sends(row() | more)],
        "body": lambda: [probe.sends(body_more=more)],
        "envelope": lambda: [probe.sends(envelope_more=more)],
        "conflict": lambda: [probe.sends(), probe.sends(field, seq=1, envelope_more=more)],
        "split": lambda: [probe.sends(row(-HOUR), field)],
        "presence": lambda: [probe.says(online=True, **more)],
    }[where]()
    bench.take(*sent, resolve=changing((NOW, B)) if where == "split" else always(A))
    assert bench.kept()
    assert SECRET.encode() not in bench.all_text()
    prefix = {"record": "record", "body": "body"}.get(where, "host")
    expected = {} if where in ("envelope", "presence") else {f"{prefix}.{name}": 1 for name in FORBIDDEN}
    assert dict(bench.ingest.unknown_fields) == expected


def test_what_is_searched_for_would_be_found_where_it_may_stand(bench: Bench) -> None:
    bench.take(Sender().sends(row(0, "agent_event", k="started", detail=SECRET)))
    assert SECRET.encode() in bench.all_text()


def test_what_comes_beyond_five_windows_in_one_commit_is_counted_for_its_sender_alone(bench: Bench) -> None:
    patient, hasty = Sender("patient1"), Sender("hasty001")
    bench.take(*(patient.sends() for _ in range(PILE)), *(hasty.sends() for _ in range(PILE + 7)))
    bench.take(*(hasty.sends() for _ in range(PILE)))
    assert {name: ahead for name, (_, _, ahead) in bench.ingest.used.items()} == {
        topic("patient1", "records"): 0,
        topic("hasty001", "records"): 7,
    }


def test_names_that_a_probe_invents_do_not_fill_the_memory(bench: Bench) -> None:
    probe = Sender()
    for n in range(2 * MAX_NAMES // MAX_UNKNOWN + 1):
        bench.take(probe.sends({"m": "host", "at": 0, "f": {f"x{n}_{i}": 1 for i in range(MAX_UNKNOWN)}}))
    assert len(bench.ingest.unknown_fields) == MAX_NAMES + 1
    assert bench.ingest.unknown_fields["others"] > 0


# presence


def test_presence_is_a_record_when_it_changes_dated_as_it_was_seen(bench: Bench) -> None:
    probe = Sender()
    for minute, online in enumerate((True, True, False)):
        bench.now_ms = NOW + 60_000 * minute
        assert bench.take(probe.says(online=online)) == []
    assert bench.kept() == [("homeaaaa", "presence", NOW), ("homeaaaa", "presence", NOW + 120_000)]
    assert bench.journal.presences() == {"probe001": (False, NOW + 120_000)}
    assert bench.ingest.counts == {"presence": 2, "presence_again": 1}


def test_presence_of_a_probe_that_stands_nowhere_is_known_and_no_record(bench: Bench) -> None:
    bench.take(Sender().says(online=True), resolve=always(Orphan(reason="unassigned")))
    assert bench.kept() == []
    assert bench.journal.presences() == {"probe001": (True, NOW)}


def test_a_state_that_cannot_be_read_is_counted_and_not_kept(bench: Bench) -> None:
    bench.take(Incoming(topic="balise/v1/probe001/state", payload=SECRET.encode()))
    assert bench.ingest.counts == {"bad_state": 1}
    assert SECRET.encode() not in bench.all_text()


# a transaction that fails


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk does to a file that grows."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_is_acknowledged_nor_counted_when_the_disk_refuses(bench: Bench) -> None:
    probe = Sender()
    batch = [probe.sends(row(0, mac=SECRET)), probe.raw(b"rubbish")]
    big = [Sender(f"probe{n:03}").sends(row(0, "agent_event", k="x", detail="é" * 200)) for n in range(200)]
    with files_no_larger_than(20_000), pytest.raises(sqlite3.OperationalError):
        bench.take(*batch, *big)
    assert (bench.ingest.counts, bench.ingest.dead, bench.ingest.unknown_fields) == ({}, {}, {})
    assert (bench.kept(), bench.journal.dead_letters()) == ([], [])
    assert len(bench.take(*batch, *big)) == 201
    assert bench.ingest.counts == {"new": 201, "dead_letter": 1}


# replaying dead letters


def test_a_letter_that_can_be_read_after_an_upgrade_is_kept_at_its_date_and_is_no_letter_any_more(
    bench: Bench,
) -> None:
    probe = Sender()
    message = probe.sends(row(-HOUR))
    _as_letter(bench, message)
    resolve = changing((NOW - 1_000, B))
    bench.ingest.resolve = resolve
    assert bench.ingest.replay([1]) == {"new": 1}
    assert bench.kept() == [("homeaaaa", "host", NOW - HOUR)]
    assert bench.journal.dead_letters() == []
    assert acks(bench.take(message)) == [Ack(stream=probe.stream, ranges=((1, 1),))]
    assert len(bench.kept()) == 1


def test_a_letter_that_still_cannot_be_read_stays_and_says_why(bench: Bench) -> None:
    bench.take(Sender().sends({"m": "weather", "at": 0}))
    assert bench.ingest.replay([1, 99]) == {"unknown_measurement": 1, "unknown_id": 1}
    assert len(bench.journal.dead_letters()) == 1


def test_letters_of_a_probe_that_was_revoked_stay_until_their_time_is_over(bench: Bench) -> None:
    _as_letter(bench, Sender().sends())
    bench.ingest.resolve = always(UnknownProbe())
    assert bench.ingest.replay([1]) == {"unknown_probe": 1}
    assert len(bench.journal.dead_letters()) == 1
    assert bench.journal.counts()["streams"] == 0


def test_a_letter_of_a_home_that_withdrew_since_is_deleted_by_its_replay(bench: Bench) -> None:
    _as_letter(bench, Sender().sends())
    bench.ingest.resolve = always(Withdrawn())
    assert bench.ingest.replay([1]) == {"withdrawn": 1}
    assert (bench.kept(), bench.journal.dead_letters()) == ([], [])


def test_a_conflict_stays_a_letter(bench: Bench) -> None:
    probe = Sender()
    bench.take(probe.sends(), probe.sends(row(0, uptime_s=7), seq=1))
    assert bench.ingest.replay([1]) == {"conflict": 1}
    assert len(bench.journal.dead_letters()) == 1


def test_replaying_beside_a_running_ingest_waits_for_its_turn(bench: Bench) -> None:
    _as_letter(bench, Sender().sends())
    probe = Sender("probe002")
    with closing(Journal(bench.folder / "journal.db")) as other:
        replaying = Ingest(other, always(A), lambda: NOW)
        thread = threading.Thread(target=replaying.replay, args=([1],))
        thread.start()
        for _ in range(20):
            bench.take(probe.sends())
        thread.join()
    assert len(bench.kept()) == 21


def _as_letter(bench: Bench, message: Incoming) -> None:
    """Keeps a message as a collector that could not read it would have."""
    letter = DeadLetter(probe="probe001", key=b"k", reason="bad_version", detail="", payload=message.payload)
    with bench.journal.transaction():
        bench.journal.add_dead_letter(letter, bench.now_ms)


# acks


@given(numbers=st.lists(st.integers(1, 60)))
def test_ranges_hold_exactly_the_numbers_sorted_and_never_touching(numbers: list[int]) -> None:
    found = ranges(numbers)
    assert sorted({*numbers}) == [n for low, high in found for n in range(low, high + 1)]
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(found))


def test_an_ack_is_readable_by_its_probe(bench: Bench) -> None:
    probe = Sender()
    (reply,) = bench.take(probe.sends(), probe.sends(), probe.sends({"m": "weather", "at": 0}))
    assert codec.decode_ack(codec.encode_ack(reply.ack)) == reply.ack
    assert reply.ack == Ack(stream=probe.stream, ranges=((1, 2),), rejected=((3, "unknown_measurement"),))
