"""Is this database the directory of this version, and if it is older, what is to be done?

Rule 1: a migration that was released is never changed; a new one says what changes.
Rule 2: all that is missing is done in one transaction, one process at a time.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

HEAD = "0001"
"""The newest file of `versions/`: a database that is there already is found so without loading Alembic (0.2 s)."""

_LOCK = 0x62616C697365  # "balise": any number that other programs of the same database do not use


def upgrade(engine: Engine) -> None:
    """Make it so, from an empty database or any earlier version; ValueError where a later version made it."""
    with engine.connect() as connection:
        if current(connection) == HEAD:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        else:
            connection.execute(text("PRAGMA user_version = 0"))  # changes nothing, but is a writing: others wait
        _run(connection)


def current(connection: Connection) -> str | None:
    """The version of this database; None: it is no directory yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    before = current(connection)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if before is not None and before not in known:
        raise ValueError(f"a later version of Balise made this directory ({before}, this one knows {HEAD})")
    command.upgrade(config, "head")
