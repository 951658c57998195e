"""Where is the directory, and how is it read and written? SQLite or PostgreSQL; both behave alike from here on.

Rule 1: a reading sees one moment, however many tables it reads.
Rule 2: a writing begins by raising the generation: writers take turns, so what one has checked holds until it commits.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, select, update
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError

from balise_collector import migrations
from balise_collector.directory.tables import generation
from balise_collector.directory.values import DirectoryError

_BUSY_MS = 30_000  # another writer: an import of 10,000 homes takes about a second


def connect(url: str) -> Engine:
    """An engine on a directory of this version, made or brought up to it where needed."""
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername == "sqlite" and parsed.database:
            Path(parsed.database).touch(mode=0o600)  # before SQLite makes it readable by all
        # A server that was restarted has closed what the pool holds: asked before each use, on SQLite for nothing.
        engine = create_engine(parsed, pool_pre_ping=parsed.drivername != "sqlite")
    except (ArgumentError, ImportError) as exc:
        raise DirectoryError(f"directory {url!r}: {exc}") from exc
    except OSError as exc:
        raise DirectoryError(f"directory {url}: {exc.strerror}") from exc
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        migrations.upgrade(engine)
    except (SQLAlchemyError, ValueError) as exc:
        engine.dispose()
        raise DirectoryError(f"directory {parsed.render_as_string()}: {_first_line(exc)}") from exc
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One moment of the directory."""
    with _said(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            yield connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """All of it or nothing."""
    with _said(engine), engine.connect() as connection, connection.begin():
        connection.execute(update(generation).values(value=generation.c.value + 1))
        yield connection


def current_generation(connection: Connection) -> int:
    return int(connection.execute(select(generation.c.value)).scalar_one())


@contextmanager
def _said(engine: Engine) -> Iterator[None]:
    """What the database cannot do now, for its operator to read; a broken constraint is a fault of ours and stays."""
    try:
        yield
    except (OperationalError, InterfaceError) as exc:
        raise DirectoryError(f"directory {engine.url.render_as_string()}: {_first_line(exc)}") from exc


def _open_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction by itself: SQLAlchemy's "begin" below does
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _use_wal(cursor)
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Where several open a new file together, SQLite refuses this at once, whatever the busy timeout (measured)."""
    end = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _first_line(exc: Exception) -> str:
    cause = getattr(exc, "orig", None) or exc
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
