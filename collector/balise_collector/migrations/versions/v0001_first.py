"""The first directory."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "districts",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_districts")),
    )
    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_generation_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
    )
    op.execute("INSERT INTO generation (id, value) VALUES (1, 0)")
    op.create_table(
        "head_ends",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_head_ends")),
    )
    op.create_table(
        "operators",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_operators")),
    )
    op.create_table(
        "probes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probes")),
    )
    op.create_table(
        "works",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_code", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "scope IN ('building', 'district', 'pon', 'card', 'olt', 'head_end', 'operator')",
            name=op.f("ck_works_scope_is_known"),
        ),
        sa.CheckConstraint("until_ms > from_ms", name=op.f("ck_works_ends_after_its_start")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_works")),
    )
    op.create_table(
        "buildings",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("district", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["district"], ["districts.code"], name=op.f("fk_buildings_district")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_buildings")),
    )
    op.create_table(
        "channels",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("head_end", sa.String(length=32), nullable=True),
        sa.Column("multicast_group", sa.String(length=45), nullable=False),
        sa.Column("udp_port", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["head_end"], ["head_ends.code"], name=op.f("fk_channels_head_end")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_channels")),
    )
    op.create_table(
        "offers",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("operator", sa.String(length=32), nullable=False),
        sa.Column("down_bps", sa.BigInteger(), nullable=False),
        sa.Column("up_bps", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator"], ["operators.code"], name=op.f("fk_offers_operator")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_offers")),
    )
    op.create_table(
        "olts",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("head_end", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["head_end"], ["head_ends.code"], name=op.f("fk_olts_head_end")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_olts")),
    )
    op.create_table(
        "registrars",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("operator", sa.String(length=32), nullable=True),
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["operator"], ["operators.code"], name=op.f("fk_registrars_operator")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_registrars")),
    )
    op.create_table(
        "homes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("building", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["building"], ["buildings.code"], name=op.f("fk_homes_building")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_homes")),
    )
    op.create_table(
        "olt_cards",
        sa.Column("olt", sa.String(length=32), nullable=False),
        sa.Column("card", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["olt"], ["olts.code"], name=op.f("fk_olt_cards_olt")),
        sa.PrimaryKeyConstraint("olt", "card", name=op.f("pk_olt_cards")),
    )
    op.create_table(
        "consents",
        sa.Column("home", sa.String(length=32), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("given_ms", sa.BigInteger(), nullable=False),
        sa.Column("text_version", sa.String(length=32), nullable=False),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("purpose IN ('mesure', 'aide', 'evaluation')", name=op.f("ck_consents_purpose_is_known")),
        sa.CheckConstraint("withdrawn_ms >= given_ms", name=op.f("ck_consents_is_not_withdrawn_before")),
        sa.ForeignKeyConstraint(["home"], ["homes.id"], name=op.f("fk_consents_home")),
        sa.PrimaryKeyConstraint("home", "purpose", "given_ms", name=op.f("pk_consents")),
    )
    op.create_table(
        "pons",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("olt", sa.String(length=32), nullable=True),
        sa.Column("card", sa.String(length=32), nullable=True),
        sa.Column("segment", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["olt", "card"], ["olt_cards.olt", "olt_cards.card"], name=op.f("fk_pons_olt_card")),
        sa.ForeignKeyConstraint(["olt"], ["olts.code"], name=op.f("fk_pons_olt")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_pons")),
        sa.UniqueConstraint("segment", name=op.f("uq_pons_segment")),
    )
    op.create_table(
        "lines",
        sa.Column("home", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("pon", sa.String(length=32), nullable=True),
        sa.Column("offer", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["home"], ["homes.id"], name=op.f("fk_lines_home")),
        sa.ForeignKeyConstraint(["offer"], ["offers.code"], name=op.f("fk_lines_offer")),
        sa.ForeignKeyConstraint(["pon"], ["pons.code"], name=op.f("fk_lines_pon")),
        sa.PrimaryKeyConstraint("home", "from_ms", name=op.f("pk_lines")),
    )
    op.create_table(
        "places",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("head_end", sa.String(length=32), nullable=True),
        sa.Column("building", sa.String(length=32), nullable=True),
        sa.Column("pon", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["building"], ["buildings.code"], name=op.f("fk_places_building")),
        sa.ForeignKeyConstraint(["head_end"], ["head_ends.code"], name=op.f("fk_places_head_end")),
        sa.ForeignKeyConstraint(["pon"], ["pons.code"], name=op.f("fk_places_pon")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_places")),
        sa.UniqueConstraint("code", name=op.f("uq_places_code")),
    )
    op.create_table(
        "assignments",
        sa.Column("probe", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("home", sa.String(length=32), nullable=True),
        sa.Column("place", sa.String(length=32), nullable=True),
        sa.CheckConstraint("(home IS NULL) <> (place IS NULL)", name=op.f("ck_assignments_is_at_a_home_or_a_place")),
        sa.CheckConstraint("until_ms > from_ms", name=op.f("ck_assignments_ends_after_its_start")),
        sa.ForeignKeyConstraint(["home"], ["homes.id"], name=op.f("fk_assignments_home")),
        sa.ForeignKeyConstraint(["place"], ["places.id"], name=op.f("fk_assignments_place")),
        sa.ForeignKeyConstraint(["probe"], ["probes.id"], name=op.f("fk_assignments_probe")),
        sa.PrimaryKeyConstraint("probe", "from_ms", name=op.f("pk_assignments")),
    )
    op.create_index("ix_assignments_home", "assignments", ["home"], unique=False)
