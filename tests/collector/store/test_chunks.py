"""What do the store's own files do: sealing, damage, traces, retention, one writer and many readers?"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from balise_collector.store import Damage, Point, StoreBusy
from balise_collector.store.chunks import SEAL_MARGIN_MS, ChunkStore, open_reader, open_store
from tests.collector.store.stores import DAY_MS, FAR_MS, HOUR_MS, START_MS, everything, exact, key, point

ROOT = Path(__file__).parents[3]
DAY = "2024-10-04.db"
NOW_MS = START_MS + 2 * DAY_MS


class Files:
    """A store in a folder, its damages, and its day's file seen from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damages: list[Damage] = []
        self.store = open_store(folder, self.damages.append)

    def reopen(self) -> ChunkStore:
        self.store.close()
        self.store = open_store(self.folder, self.damages.append)
        return self.store

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.folder / DAY)) as connection:
            rows = connection.execute(sql).fetchall()
            connection.commit()
        return rows

    def bytes(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path / "store")
    yield files
    files.store.close()


def minutes(count: int, **changes: object) -> list[Point]:
    return [point(START_MS + minute * 60_000, fields={"lost": minute}, **changes) for minute in range(count)]


def read(store: ChunkStore, home: str = "h1") -> list[int]:
    return [one.ts_ms for one in store.read(home, "reach", None, 0, FAR_MS)]


def test_an_hour_is_sealed_once_it_has_been_over_for_the_margin(files: Files) -> None:
    files.store.write(minutes(130), "journal", 1)
    assert files.store.seal(START_MS + HOUR_MS + SEAL_MARGIN_MS - 1) == 0
    assert files.store.seal(START_MS + HOUR_MS + SEAL_MARGIN_MS) == 1
    assert files.ask("SELECT count(*) FROM hot") == [(70,)]
    assert files.store.seal(NOW_MS) == 2
    assert files.ask("SELECT count(*), sum(n) FROM chunk") == [(3, 130)]
    assert files.ask("SELECT count(*) FROM hot") == [(0,)]


def test_more_series_than_a_transaction_takes_are_all_sealed(files: Files) -> None:
    files.store.write([point(probe=f"probe{number:04d}") for number in range(450)], "journal", 1)
    assert files.store.seal(NOW_MS) == 450
    assert files.ask("SELECT count(*) FROM hot") == [(0,)]


def test_an_hour_is_dirty_when_it_changed_and_stays_so_if_it_changes_while_its_sketch_is_made(files: Files) -> None:
    files.store.write(minutes(60), "journal", 1)
    files.store.seal(NOW_MS)
    asked = files.store.dirty()
    assert [(hour.hour_ms, hour.tags) for hour in asked] == [(START_MS, point().tags)]
    files.store.write([point(START_MS + 7)], "journal", 2)  # late
    files.store.seal(NOW_MS)
    files.store.clean(asked)
    assert [hour.hour_ms for hour in files.store.dirty()] == [START_MS]
    files.store.clean(files.store.dirty())
    assert files.store.dirty() == []


def test_what_is_delivered_again_dirties_nothing(files: Files) -> None:
    files.store.write(minutes(60), "journal", 1)
    files.store.seal(NOW_MS)
    files.store.clean(files.store.dirty())
    files.store.write(minutes(60), "journal", 1)
    assert files.store.seal(NOW_MS) == 0
    assert (files.store.dirty(), files.store.count(0, FAR_MS)) == ([], 60)


def test_there_is_one_writer(files: Files) -> None:
    with pytest.raises(StoreBusy, match="another process writes"):
        open_store(files.folder)


def test_an_absent_folder_is_an_empty_store_to_read(tmp_path: Path) -> None:
    reader = open_reader(tmp_path / "nothing")
    assert (reader.series(), reader.count(0, FAR_MS), reader.cursor("journal")) == ([], 0, 0)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("closed", [False, True])
def test_another_process_reads_it_with_the_writer_open_or_closed(files: Files, closed: bool) -> None:
    files.store.write(minutes(100), "journal", 1)
    files.store.seal(START_MS + 100 * 60_000)
    if closed:
        files.store.close()
    code = (
        "import sys, pathlib; from balise_collector.store.chunks import open_reader\n"
        "print(open_reader(pathlib.Path(sys.argv[1])).count(0, 10**14))"
    )
    run = subprocess.run([sys.executable, "-c", code, files.folder], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "100"
    files.store = open_store(files.folder) if closed else files.store


def test_a_second_process_sees_whole_batches_in_order_while_the_writer_writes_and_seals(files: Files) -> None:
    batch, batches = 40, 60
    code = (
        "import sys, pathlib; from balise_collector.store.chunks import open_reader\n"
        "reader = open_reader(pathlib.Path(sys.argv[1]))\n"
        "while True:\n"
        "    cursor = reader.cursor('journal')\n"
        "    fields = [p.fields['lost'] for p in reader.read('h1', 'reach', None, 0, 10**14)]\n"
        "    print(cursor, len(fields), fields == list(range(len(fields))), flush=True)\n"
        "    if len(fields) == int(sys.argv[2]): break\n"
    )
    command = [sys.executable, "-c", code, str(files.folder), str(batch * batches)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        given = minutes(batch * batches)
        for start in range(0, len(given), batch):
            files.store.write(given[start : start + batch], "journal", start + batch)
            files.store.seal(given[start].ts_ms)
        assert reader.stdout
        seen = [line.split() for line in reader.stdout]
    assert {whole for _, _, whole in seen} == {"True"}
    assert all(int(cursor) <= int(count) and int(count) % batch == 0 for cursor, count, _ in seen)
    assert [int(count) for _, count, _ in seen] == sorted(int(count) for _, count, _ in seen)


def test_threads_write_seal_and_read_at_once_over_more_days_than_are_kept_open(files: Files) -> None:
    given = [point(START_MS + day * DAY_MS + n, probe=f"probe{n:04d}") for n in range(30) for day in range(12)]
    done = threading.Event()

    def seal() -> None:
        while not done.is_set():
            files.store.seal(START_MS + 20 * DAY_MS)

    sealer = threading.Thread(target=seal)
    sealer.start()
    for start in range(0, len(given), 20):
        files.store.write(given[start : start + 20], "journal", start)
        assert files.store.count(0, FAR_MS) == min(len(given), start + 20)
    done.set()
    sealer.join()
    assert everything(files.store) == {key(one): exact(one) for one in given}


TENANT = {"home": "tenanthome99", "probe": "tenantprobe9", "target": "tenanttarget"}
NEIGHBOUR = {"home": "neighbour", "probe": "neighbours"}


def test_an_erased_home_is_in_no_file_while_the_store_is_still_open(files: Files) -> None:
    tenant = [
        point(START_MS + minute * 60_000, fields={"method": f"tenanttrace-{minute:04d}"}, **TENANT)
        for minute in range(300)
    ]
    neighbour = minutes(300, **NEIGHBOUR)
    for start in range(0, 240, 10):  # as they come: the pages of the two are mixed
        files.store.write(tenant[start : start + 10] + neighbour[start : start + 10], "journal", start)
    files.store.seal(START_MS + 4 * HOUR_MS)
    files.store.write(tenant[230:] + tenant[:5] + neighbour[240:], "journal", 300)  # hot ones and late ones
    chunks = files.ask("SELECT chunk.body FROM chunk JOIN owner ON owner.id = chunk.id / 24 WHERE home LIKE 'tenant%'")
    traces = [b"tenanthome", b"tenantprobe", b"tenanttarget", b"tenanttrace"]
    traces += [
        body[at : at + 16] for (body,) in chunks if isinstance(body, bytes) for at in range(4, len(body) - 16, 8)
    ]
    held = files.bytes()
    assert all(trace in held for trace in traces)
    assert len(traces) > 40
    assert files.store.delete("tenanthome99", 0, FAR_MS) == 300
    held = files.bytes()
    assert [trace for trace in traces if trace in held] == []
    assert read(files.store, "neighbour") == [one.ts_ms for one in neighbour]


def test_an_erased_hour_leaves_no_trace_and_the_rest_of_the_home_stays(files: Files) -> None:
    given = [point(START_MS + n * 60_000, fields={"method": f"trace-{n:04d}"}) for n in range(120)]
    files.store.write(given, "journal", 1)
    assert files.store.delete("h1", START_MS + 30 * 60_000, START_MS + 90 * 60_000) == 60
    held = files.bytes()
    assert [n for n in range(120) if f"trace-{n:04d}".encode() in held] == [*range(30), *range(90, 120)]


def test_a_day_that_is_empty_has_no_file(files: Files) -> None:
    files.store.write([*minutes(60), point(START_MS + DAY_MS)], "journal", 1)
    files.store.seal(NOW_MS)
    assert files.store.delete("h1", 0, START_MS + DAY_MS) == 60
    assert sorted(path.name for path in files.folder.glob("2024*.db")) == ["2024-10-05.db"]
    report = files.store.retain(START_MS + 92 * DAY_MS)
    assert (dict(report.deleted), report.files, report.unknown) == ({"reach": 1}, 1, ())
    assert [path.name for path in files.folder.glob("2024*")] == []


def test_what_retention_took_away_is_in_no_file(files: Files) -> None:
    given = [point(START_MS + n * 600_000, fields={"method": f"trace-{n:04d}"}) for n in range(12)]
    files.store.write(given, "journal", 1)
    files.store.retain(START_MS + 90 * DAY_MS + HOUR_MS)
    held = files.bytes()
    assert [n for n in range(12) if f"trace-{n:04d}".encode() in held] == [*range(6, 12)]


def test_an_erasure_waits_for_a_reader_and_no_longer(files: Files) -> None:
    files.store.write([point(fields={"method": "tenanttrace"})], "journal", 1)
    files.store.write([point(home="h2", probe="probe0002")], "journal", 2)
    with closing(sqlite3.connect(files.folder / DAY)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM hot").fetchone() == (2,)
        eraser = threading.Thread(target=files.store.delete, args=("h1", 0, FAR_MS))
        eraser.start()
        while read(files.store):  # the others see it gone; its bytes are still there for the reader
            pass
        assert eraser.is_alive()
        assert b"tenanttrace" in files.bytes()
        reader.execute("ROLLBACK")
        eraser.join()
    assert b"tenanttrace" not in files.bytes()


def test_a_measurement_that_the_catalogue_does_not_know_is_kept_and_told(files: Files) -> None:
    files.store.write(minutes(3), "journal", 1)
    files.ask("UPDATE series SET measurement = 'future'")
    report = files.reopen().retain(START_MS + 900 * DAY_MS)
    assert (dict(report.deleted), report.unknown) == ({}, ("future",))


def test_a_damaged_chunk_is_told_and_the_other_hours_are_read(files: Files) -> None:
    files.store.write(minutes(180), "journal", 1)
    files.store.seal(NOW_MS)
    files.ask("UPDATE chunk SET body = zeroblob(length(body)) WHERE id % 24 = 1")
    assert read(files.store) == [one.ts_ms for one in minutes(180) if (one.ts_ms - START_MS) // HOUR_MS != 1]
    told = Damage(file=DAY, what="an hour's checksum does not match", hour_ms=START_MS + HOUR_MS, tags=point().tags)
    assert files.damages == [told]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE owner SET home = 'h2'",
        "UPDATE owner SET pon = CAST(x'FF' AS TEXT)",
        "UPDATE series SET target = 'op'",
        "UPDATE chunk SET n = n - 1",
        "UPDATE chunk SET n = 'many'",
        "UPDATE chunk SET shape = 9",
        "UPDATE chunk SET id = id + 1",
        "UPDATE chunk SET body = x''",
        "UPDATE shape SET names = CAST(replace(CAST(names AS TEXT), 'lost', 'sent') AS BLOB)",
        "UPDATE hot SET at = at + 1",
        "UPDATE hot SET hour = hour + 1",
        "UPDATE hot SET owner = owner + 1",
        "UPDATE hot SET body = CAST(replace(CAST(body AS TEXT), 'lost', 'sent') AS BLOB)",
        "UPDATE hot SET body = 7",
    ],
)
def test_nothing_altered_is_ever_given_back(files: Files, damage: str) -> None:
    files.store.write(minutes(60) if " hot " not in damage else minutes(5), "journal", 1)
    if " hot " not in damage:
        files.store.seal(NOW_MS)
    files.ask(damage)
    reader = open_reader(files.folder, files.damages.append)
    given = {exact(one) for one in minutes(60)}
    assert [
        one for home in ("h1", "h2") for one in reader.read(home, "reach", None, 0, FAR_MS) if exact(one) not in given
    ] == []
    assert files.damages or not reader.series("h1")


def test_late_rows_go_into_a_damaged_hour_and_what_was_damaged_is_set_aside(files: Files) -> None:
    files.store.write(minutes(60), "journal", 1)
    files.store.seal(NOW_MS)
    files.ask("UPDATE chunk SET body = zeroblob(300)")
    files.store.write(minutes(30), "journal", 2)
    assert files.store.seal(NOW_MS) == 1
    assert read(files.store) == [one.ts_ms for one in minutes(30)]
    assert files.ask("SELECT hour, length(body) FROM damaged") == [(0, 300)]
    assert files.store.delete("h1", 0, FAR_MS) == 30
    assert not (files.folder / DAY).exists()


def test_a_file_that_sqlite_cannot_read_is_set_aside_and_writing_goes_on(files: Files) -> None:
    files.store.write([*minutes(60), point(START_MS + DAY_MS)], "journal", 1)
    files.store.close()
    (files.folder / DAY).write_bytes(b"no database" * 1_000)
    store = files.store = open_store(files.folder, files.damages.append)
    assert read(store) == [START_MS + DAY_MS]
    store.write(minutes(3), "journal", 2)
    assert read(store) == [*(one.ts_ms for one in minutes(3)), START_MS + DAY_MS]
    assert {damage.file for damage in files.damages} == {DAY}
    assert any("set aside" in damage.what for damage in files.damages)
    assert len(list(files.folder.glob("*.salvaged-1"))) == 1
    store.delete("anybody", START_MS, START_MS + 1)  # nothing can be erased from inside it
    assert list(files.folder.glob("*.salvaged-1")) == []


def test_an_index_that_cannot_be_read_begins_again_and_the_points_stay(files: Files) -> None:
    files.store.write(minutes(3), "journal", 9)
    files.store.close()
    (files.folder / "index.db").write_bytes(b"no database" * 1_000)
    files.store = open_store(files.folder, files.damages.append)
    assert (files.store.cursor("journal"), files.store.count(0, FAR_MS)) == (0, 3)
    assert [damage.file for damage in files.damages] == ["index.db"]


def flipped(sound: bytes, rng: random.Random) -> bytes:
    copy = bytearray(sound)
    for _ in range(rng.choice((1, 4, 40))):
        copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
    return bytes(copy)


def test_files_with_flipped_bits_give_what_was_written_or_nothing_and_can_be_written(
    files: Files, tmp_path: Path
) -> None:
    given = minutes(300) + minutes(300, home="h2", probe="probe0002", building="b2")
    fresh = point(START_MS + 5 * HOUR_MS, probe="probe0003")
    known = {exact(one) for one in [*given, fresh]}
    files.store.write(given, "journal", 1)
    files.store.seal(START_MS + 4 * HOUR_MS)
    files.store.close()
    sound, damages, least = (files.folder / DAY).read_bytes(), list[Damage](), len(given)
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / DAY).write_bytes(flipped(sound, random.Random(seed)))
        found = set(everything(open_reader(folder, damages.append)).values())
        with closing(open_store(folder, damages.append)) as store:
            store.write([fresh], "journal", 1)
            store.seal(NOW_MS)
            after = set(everything(store).values())
        assert found | after <= known
        assert exact(fresh) in after
        least = min(least, len(after))
    assert damages
    assert least < len(given)
    files.store = open_store(files.folder)
