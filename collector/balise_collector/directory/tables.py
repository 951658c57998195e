"""What does the directory hold? Its tables as they are now; `migrations/` makes a database so.

Rule 1: no column can hold a person's name or a dwelling's address; a test lists every column that there may be.
Rule 2: dates are UTC in ms since 1970; a period holds its start and not its end; no end: it goes on.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

CODE, ID = String(32), String(32)

# Named, so that a later migration can speak of each on both databases.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row: counts the transactions that wrote. Each begins by raising it, so that writers take turns on both databases.
generation = Table(
    "generation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one"),
)

# The operator's plant, each by its own code.
operators = Table("operators", metadata, Column("code", CODE, primary_key=True))
districts = Table("districts", metadata, Column("code", CODE, primary_key=True))
buildings = Table(
    "buildings",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("district", CODE, ForeignKey("districts.code")),
)
head_ends = Table("head_ends", metadata, Column("code", CODE, primary_key=True))
olts = Table(
    "olts",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("head_end", CODE, ForeignKey("head_ends.code")),
)
olt_cards = Table(
    "olt_cards",
    metadata,
    Column("olt", CODE, ForeignKey("olts.code"), primary_key=True),
    Column("card", CODE, primary_key=True),
)
# `segment` is what probes are told instead of the PON's code.
pons = Table(
    "pons",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("olt", CODE, ForeignKey("olts.code")),
    Column("card", CODE),
    Column("segment", ID, nullable=False, unique=True),
    ForeignKeyConstraint(["olt", "card"], ["olt_cards.olt", "olt_cards.card"]),
)
offers = Table(
    "offers",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("operator", CODE, ForeignKey("operators.code"), nullable=False),
    Column("down_bps", BigInteger, nullable=False),
    Column("up_bps", BigInteger, nullable=False),
)
channels = Table(
    "channels",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("head_end", CODE, ForeignKey("head_ends.code")),
    Column("multicast_group", String(45), nullable=False),
    Column("udp_port", Integer, nullable=False),
)
registrars = Table(
    "registrars",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("operator", CODE, ForeignKey("operators.code")),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
)
# Announced works on a part of the plant: during them its faults are explained.
works = Table(
    "works",
    metadata,
    Column("code", CODE, primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("scope_code", CODE, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    CheckConstraint(
        "scope IN ('building', 'district', 'pon', 'card', 'olt', 'head_end', 'operator')", name="scope_is_known"
    ),
    CheckConstraint("until_ms > from_ms", name="ends_after_its_start"),
)

# Homes, and the places where reference probes stand.
homes = Table(
    "homes",
    metadata,
    Column("id", ID, primary_key=True),
    Column("building", CODE, ForeignKey("buildings.code"), nullable=False),
)
lines = Table(
    "lines",
    metadata,
    Column("home", ID, ForeignKey("homes.id"), primary_key=True),
    Column("from_ms", BigInteger, primary_key=True),
    Column("pon", CODE, ForeignKey("pons.code")),
    Column("offer", CODE, ForeignKey("offers.code")),
)
consents = Table(
    "consents",
    metadata,
    Column("home", ID, ForeignKey("homes.id"), primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("given_ms", BigInteger, primary_key=True),
    Column("text_version", CODE, nullable=False),
    Column("withdrawn_ms", BigInteger),
    CheckConstraint("purpose IN ('mesure', 'aide', 'evaluation')", name="purpose_is_known"),
    CheckConstraint("withdrawn_ms >= given_ms", name="is_not_withdrawn_before"),
)
places = Table(
    "places",
    metadata,
    Column("id", ID, primary_key=True),
    Column("code", CODE, nullable=False, unique=True),
    Column("head_end", CODE, ForeignKey("head_ends.code")),
    Column("building", CODE, ForeignKey("buildings.code")),
    Column("pon", CODE, ForeignKey("pons.code")),
)
probes = Table(
    "probes",
    metadata,
    Column("id", ID, primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)
# That none of one probe's overlap is held by `probes.assign`: the two databases share no constraint for it.
assignments = Table(
    "assignments",
    metadata,
    Column("probe", ID, ForeignKey("probes.id"), primary_key=True),
    Column("from_ms", BigInteger, primary_key=True),
    Column("until_ms", BigInteger),
    Column("home", ID, ForeignKey("homes.id")),
    Column("place", ID, ForeignKey("places.id")),
    CheckConstraint("(home IS NULL) <> (place IS NULL)", name="is_at_a_home_or_a_place"),
    CheckConstraint("until_ms > from_ms", name="ends_after_its_start"),
    Index("ix_assignments_home", "home"),
)
