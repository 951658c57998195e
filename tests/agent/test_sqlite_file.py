"""Is a damaged SQLite file known from one that cannot be reached now, and set aside so that nothing of it is lost?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from balise_agent import sqlite_file

SCHEMA = "CREATE TABLE IF NOT EXISTS kept(id INTEGER PRIMARY KEY, v TEXT NOT NULL);"
FRAME = 24 + 4096
COMMITS = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as a killed program leaves it: one row in it, and as many commits in its WAL."""
    made = tmp_path / "made" / "kept.db"
    made.parent.mkdir()
    sqlite_file.make(made, SCHEMA)
    copy = tmp_path / "kept.db"
    with closing(sqlite3.connect(made)) as db:
        for n in range(COMMITS):
            with db:
                db.execute("INSERT INTO kept(v) VALUES (?)", (str(n),))
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(made.with_name(made.name + suffix).read_bytes())
    return copy


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM kept").fetchone()[0])


def test_a_whole_file_is_whole_with_all_that_stands_in_its_wal(path: Path) -> None:
    assert sqlite_file.look(path, SCHEMA) == sqlite_file.Look()
    assert rows(path) == COMMITS


def test_a_file_that_is_not_there_is_fine(tmp_path: Path) -> None:
    assert sqlite_file.look(tmp_path / "none.db", SCHEMA) == sqlite_file.Look()


@pytest.mark.parametrize(
    ("frame", "lost"), [(0, True), (2, True), (COMMITS - 1, False)], ids=["first", "middle", "last"]
)
def test_commits_behind_a_damaged_part_of_the_wal_are_known_to_be_lost_but_the_last_commit_may_be_torn(
    path: Path, frame: int, lost: bool
) -> None:
    flip(wal(path), 32 + frame * FRAME + 100)
    assert sqlite_file.look(path, SCHEMA) == sqlite_file.Look(tail_lost=lost)
    assert rows(path) == frame


def test_a_wal_without_its_header_is_known_to_be_lost(path: Path) -> None:
    flip(wal(path), 12)
    assert sqlite_file.look(path, SCHEMA).tail_lost


def test_a_wal_that_was_cut_is_as_one_that_had_not_been_written_yet(path: Path) -> None:
    wal(path).write_bytes(wal(path).read_bytes()[: 32 + 2 * FRAME + 7])
    assert sqlite_file.look(path, SCHEMA) == sqlite_file.Look()
    assert rows(path) == 2


@pytest.mark.parametrize(
    ("content", "fault"), [(b"", "empty"), (b"no database" * 100, "file is not a database")], ids=["empty", "foreign"]
)
def test_a_file_that_holds_no_database_is_damaged(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "kept.db"
    path.write_bytes(content)
    assert sqlite_file.look(path, SCHEMA).fault == fault


def test_a_file_that_says_that_only_newer_versions_write_it_is_damaged(path: Path) -> None:
    wal(path).unlink()
    flip(path, 18)
    assert sqlite_file.look(path, SCHEMA).fault == "unknown file format"


def test_a_table_whose_name_changed_is_damage_and_a_later_schema_is_not(path: Path) -> None:
    later = SCHEMA.replace("NOT NULL", "NOT NULL, w TEXT") + "CREATE INDEX IF NOT EXISTS by_v ON kept(v);"
    assert sqlite_file.look(path, later) == sqlite_file.Look()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE kept RENAME TO kepu")
    assert sqlite_file.look(path, SCHEMA).fault is not None


def test_a_file_that_was_found_malformed_in_use_is_damaged_once(path: Path) -> None:
    sqlite_file.mark_damaged(path)
    assert sqlite_file.is_marked(path)
    assert sqlite_file.look(path, SCHEMA).fault == "malformed while it was used"
    sqlite_file.set_aside(path, "1")
    assert not sqlite_file.is_marked(path)


def test_what_is_set_aside_keeps_its_wal(path: Path) -> None:
    aside = sqlite_file.set_aside(path, "1")
    assert sqlite_file.asides(path) == [aside]
    assert not path.exists()
    assert rows(aside) == COMMITS


def test_a_setting_aside_that_was_cut_short_is_ended_at_the_next_opening(path: Path) -> None:
    path.rename(path.with_name("kept.db.damaged-1"))  # and here the power went
    (aside,) = sqlite_file.asides(path)
    sqlite_file.make(path, SCHEMA)
    assert (rows(path), rows(aside)) == (0, COMMITS)


def test_a_full_disk_is_no_damage_and_a_malformed_page_is() -> None:
    found = {}
    for code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR_READ):
        exc = sqlite3.DatabaseError()
        exc.sqlite_errorcode = code
        found[code] = sqlite_file.is_damage(exc)
    assert list(found.values()) == [False, False, True, True]


def test_a_file_whose_making_was_cut_short_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    path.with_name("kept.db.new").write_bytes(b"half")
    path.with_name("kept.db.new-journal").write_bytes(b"half")
    sqlite_file.make(path, SCHEMA)
    assert (rows(path), sorted(p.name for p in tmp_path.iterdir())) == (0, ["kept.db"])
