"""Is the directory's database the one that the code means, safe, and without room for a person? On both kinds."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import IntegrityError

from balise_collector import migrations
from balise_collector.directory import (
    Consent,
    Directory,
    DirectoryError,
    Home,
    Inventory,
    database,
    sqlite_url,
    tables,
)

Q, H = "probe000000000q2", "home0000000000h1"


def one_home(id_: str) -> Inventory:
    agreed = Consent(purpose="mesure", text="v1", given_ms=0)
    return Inventory(homes={id_: Home(id=id_, building="B12", consents=(agreed,))}, buildings={"B12": ""})


@pytest.fixture
def directory(url: str) -> Iterator[Directory]:
    """One home and one probe."""
    with Directory(url) as opened:
        opened.import_homes(one_home(H))
        opened.add_probes([Q], now_ms=0)
        yield opened


ALLOWED = """
generation:  id value
operators:   code
districts:   code
buildings:   code district
head_ends:   code
olts:        code head_end
olt_cards:   olt card
pons:        code olt card segment
offers:      code operator down_bps up_bps
channels:    code head_end multicast_group udp_port
registrars:  code operator host port
works:       code scope scope_code from_ms until_ms
homes:       id building
lines:       home from_ms pon offer
consents:    home purpose given_ms text_version withdrawn_ms
places:      id code head_end building pon
probes:      id created_ms revoked_ms
assignments: probe from_ms until_ms home place
alembic_version: version_num
"""


def test_no_column_can_hold_a_person_or_an_address(url: str) -> None:
    """Whoever adds a column here asks first whether it can tell who lives where."""
    allowed = {table: set(names.split()) for table, names in re.findall(r"^(\w+): +(.+)$", ALLOWED, re.MULTILINE)}
    with Directory(url):
        pass
    assert columns(url) == allowed


def columns(url: str) -> dict[str, set[str]]:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            rows = connection.execute(
                "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
            ).fetchall()
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        connection.close()
        rows = [row for row in rows if row[0] in names]
    else:
        with psycopg.connect(url) as server:
            rows = server.execute(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            ).fetchall()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def test_migrations_make_exactly_the_tables_that_the_code_uses(url: str) -> None:
    engine = database.connect(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert differences == []


def test_the_newest_migration_is_the_one_that_is_looked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_a_directory_of_a_later_version_is_left_alone(url: str) -> None:
    engine = database.connect(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(DirectoryError, match=r"a later version of Balise made this directory \(9999, this one knows"):
        Directory(url)


def test_many_who_open_an_empty_database_at_once_make_one_directory(url: str) -> None:
    faults: list[BaseException] = []
    gate = threading.Barrier(4)

    def open_it() -> None:
        gate.wait()
        try:
            with Directory(url) as opened:
                opened.generation()
        except BaseException as exc:  # noqa: BLE001  # a thread's own would be lost
            faults.append(exc)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO assignments (probe, from_ms) VALUES ('probe000000000q2', 0)",
        "INSERT INTO assignments (probe, home, from_ms, until_ms) SELECT 'probe000000000q2', id, 5, 5 FROM homes",
        "INSERT INTO assignments (probe, from_ms, home) VALUES ('probe000000000q2', 0, 'nobody')",
        "INSERT INTO consents (home, purpose, given_ms, text_version) VALUES ('home0000000000h1', 'other', 0, 'v1')",
        "UPDATE consents SET withdrawn_ms = given_ms - 1 WHERE home = 'home0000000000h1'",
        "DELETE FROM homes WHERE id = 'home0000000000h1'",
        "INSERT INTO generation (id, value) VALUES (2, 0)",
    ],
)
def test_the_database_itself_refuses_what_no_code_should_write(directory: Directory, url: str, statement: str) -> None:
    engine = database.connect(url)
    with pytest.raises(IntegrityError), database.writing(engine) as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_reading_sees_one_moment(directory: Directory, url: str) -> None:
    """A home that is imported between two of its queries is in neither."""
    engine = database.connect(url)
    with database.reading(engine) as connection:
        before = database.current_generation(connection)
        directory.import_homes(one_home("late" * 4))
        assert database.current_generation(connection) == before
        assert connection.exec_driver_sql("SELECT count(*) FROM homes WHERE id = 'latelatelatelate'").scalar() == 0
    engine.dispose()


def test_a_server_that_closed_all_connections_is_connected_to_again(url: str, directory: Directory) -> None:
    directory.generation()
    if url.startswith("postgresql"):
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with psycopg.connect(url, autocommit=True) as server:
            closed = server.execute(f"{others} AND datname = current_database()").fetchall()
        assert closed
    assert directory.draw_ids(1)


def test_a_database_that_fails_later_is_said_in_one_line(tmp_path: Path) -> None:
    with Directory(sqlite_url(tmp_path)) as directory:
        with sqlite3.connect(tmp_path / "directory.db") as connection:
            connection.execute("ALTER TABLE generation RENAME TO elsewhere")
        connection.close()
        for act in (directory.generation, lambda: directory.withdraw(H, from_ms=0)):
            with pytest.raises(DirectoryError, match=r"directory\.db: no such table: generation$"):
                act()


def test_sqlite_is_opened_safe_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    engine = database.connect(url)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert (tmp_path / "directory.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/directory.db", "No such file or directory"),
        ("postgresql://user:secret@127.0.0.1:1/balise", "refused"),
        ("nonsense", "Could not parse"),
        ("foo://x", "foo"),
    ],
)
def test_a_directory_that_cannot_be_opened_is_said_in_one_line_without_its_password(url: str, message: str) -> None:
    with pytest.raises(DirectoryError, match=message) as refusal:
        Directory(url)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "directory.db").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(DirectoryError, match="file is not a database"):
        Directory(sqlite_url(tmp_path))
