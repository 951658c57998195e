"""Which homes are there, on what do they stand, to what did they agree? Read and merged, in one transaction.

Rule 1: what is not said changes nothing: an empty cell, a home that the file leaves out.
Rule 2: no import undoes a withdrawal or moves it later: the file may be older than it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, or_, select, update

from balise_collector.directory.tables import (
    buildings,
    consents,
    districts,
    head_ends,
    homes,
    lines,
    offers,
    olt_cards,
    olts,
    operators,
    places,
    pons,
    probes,
)
from balise_collector.directory.values import (
    Consent,
    DirectoryError,
    Home,
    Imported,
    Inventory,
    Line,
    Offer,
    Pon,
    Purpose,
    draw_id,
)

Row = dict[str, Any]


def load(connection: Connection) -> Inventory:
    """All of it, homes in the order of their ids."""
    found = sorted((row.id, row.building) for row in connection.execute(select(homes)))
    home_lines, home_consents = _lines(connection), _consents(connection)
    return Inventory(
        homes={
            id_: Home(id=id_, building=building, lines=home_lines.get(id_, ()), consents=home_consents.get(id_, ()))
            for id_, building in found
        },
        buildings={row.code: row.district or "" for row in connection.execute(select(buildings))},
        olts={row.code: row.head_end or "" for row in connection.execute(select(olts))},
        pons={row.code: Pon(olt=row.olt or "", card=row.card or "") for row in connection.execute(select(pons))},
        offers={
            row.code: Offer(operator=row.operator, down_bps=row.down_bps, up_bps=row.up_bps)
            for row in connection.execute(select(offers))
        },
    )


def merge(connection: Connection, inventory: Inventory) -> Imported:
    """Make the directory say what the inventory says."""
    _refuse_ids_of_others(connection, inventory.homes)
    before = load(connection).homes
    _put_plant(connection, inventory)
    _put(connection, homes, ({"id": home.id, "building": home.building} for home in inventory.homes.values()))
    _put(connection, lines, (_line_row(home, line) for home in inventory.homes.values() for line in home.lines))
    kept = _put_consents(connection, inventory.homes.values())
    after = load(connection).homes
    added = sum(id_ not in before for id_ in inventory.homes)
    changed = sum(id_ in before and before[id_] != after[id_] for id_ in inventory.homes)
    return Imported(
        added=added, changed=changed, unchanged=len(inventory.homes) - added - changed, kept_withdrawals=kept
    )


def withdraw(connection: Connection, home: str, purpose: Purpose, from_ms: int) -> int:
    """End each consent to this purpose that would hold from that date on; how many there were."""
    if connection.execute(select(homes.c.id).where(homes.c.id == home)).first() is None:
        raise DirectoryError(f"home {home} is not in the directory")
    theirs = (consents.c.home == home) & (consents.c.purpose == purpose)
    going_on = theirs & or_(consents.c.withdrawn_ms.is_(None), consents.c.withdrawn_ms > from_ms)
    given = connection.execute(select(consents.c.given_ms).where(going_on)).scalars().all()
    for given_ms in given:
        connection.execute(
            update(consents).where(theirs, consents.c.given_ms == given_ms).values(withdrawn_ms=max(given_ms, from_ms))
        )
    return len(given)


def _lines(connection: Connection) -> dict[str, tuple[Line, ...]]:
    rows = connection.execute(select(lines).order_by(lines.c.home, lines.c.from_ms))
    return {
        home: tuple(Line(from_ms=row.from_ms, pon=row.pon or "", offer=row.offer or "") for row in group)
        for home, group in groupby(rows, key=lambda row: str(row.home))
    }


def _consents(connection: Connection) -> dict[str, tuple[Consent, ...]]:
    order = consents.c.home, consents.c.given_ms, consents.c.purpose
    return {
        home: tuple(
            Consent(purpose=row.purpose, text=row.text_version, given_ms=row.given_ms, withdrawn_ms=row.withdrawn_ms)
            for row in group
        )
        for home, group in groupby(connection.execute(select(consents).order_by(*order)), key=lambda row: str(row.home))
    }


def _refuse_ids_of_others(connection: Connection, ids: Iterable[str]) -> None:
    others = set(connection.execute(select(probes.c.id)).scalars()) | set(
        connection.execute(select(places.c.id)).scalars()
    )
    taken = sorted(others.intersection(ids))
    if taken:
        raise DirectoryError(f"{', '.join(taken)}: a probe or a place has this id, a home needs its own")


def _put_plant(connection: Connection, inventory: Inventory) -> None:
    """Each after what it refers to."""
    cards = {(pon.olt, pon.card) for pon in inventory.pons.values() if pon.olt and pon.card}
    _put(connection, operators, _codes(offer.operator for offer in inventory.offers.values()))
    _put(connection, districts, _codes(inventory.buildings.values()))
    _put(connection, head_ends, _codes(inventory.olts.values()))
    _put(connection, buildings, ({"code": c, "district": d} for c, d in inventory.buildings.items()))
    _put(connection, olts, ({"code": c, "head_end": h} for c, h in inventory.olts.items()))
    _put(connection, olt_cards, ({"olt": olt, "card": card} for olt, card in cards))
    for code, pon in inventory.pons.items():
        if pon.olt:  # the card of another OLT is not this one's
            connection.execute(
                update(pons).where(pons.c.code == code, pons.c.olt != pon.olt).values(olt=None, card=None)
            )
    segments = {row.code: row.segment for row in connection.execute(select(pons))}
    _put(
        connection,
        pons,
        (
            {"code": code, "olt": pon.olt, "card": pon.card, "segment": segments.get(code) or draw_id()}
            for code, pon in inventory.pons.items()
        ),
    )
    _put(
        connection,
        offers,
        (
            {"code": code, "operator": offer.operator, "down_bps": offer.down_bps, "up_bps": offer.up_bps}
            for code, offer in inventory.offers.items()
        ),
    )


def _codes(codes: Iterable[str]) -> list[Row]:
    return [{"code": code} for code in sorted(set(codes)) if code]


def _line_row(home: Home, line: Line) -> Row:
    return {"home": home.id, "from_ms": line.from_ms, "pon": line.pon, "offer": line.offer}


def _put_consents(connection: Connection, those: Iterable[Home]) -> int:
    """How many stay withdrawn against the inventory."""
    key = consents.c.home, consents.c.purpose, consents.c.given_ms
    known = {tuple(row[:3]): row[3] for row in connection.execute(select(*key, consents.c.withdrawn_ms))}
    rows, kept = [], 0
    for home in those:
        for consent in home.consents:
            here = known.get((home.id, consent.purpose, consent.given_ms))
            dates = [date for date in (here, consent.withdrawn_ms) if date is not None]
            withdrawn = min(dates, default=None)
            kept += withdrawn != consent.withdrawn_ms
            rows.append(
                {
                    "home": home.id,
                    "purpose": consent.purpose,
                    "given_ms": consent.given_ms,
                    "text_version": consent.text,
                    "withdrawn_ms": withdrawn,
                }
            )
    _put(connection, consents, rows)
    return kept


def _put(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert what is new, update what differs; nothing is erased by an empty value."""
    keys = [column.name for column in table.primary_key]
    known = {tuple(row[key] for key in keys): dict(row) for row in connection.execute(select(table)).mappings()}
    new, differing = [], []
    for row in rows:
        said = {name: value for name, value in row.items() if value not in (None, "")}
        here = known.get(tuple(row[key] for key in keys))
        if here is None:
            new.append({name: said.get(name) for name in row})
        elif any(here[name] != value for name, value in said.items()):
            differing.append({f"_{name}": value for name, value in ({**here, **said}).items()})
    if new:
        connection.execute(insert(table), new)
    if differing:
        others = [column.name for column in table.columns if column.name not in keys]
        connection.execute(
            update(table)
            .where(*(table.c[key] == bindparam(f"_{key}") for key in keys))
            .values({name: bindparam(f"_{name}") for name in others}),
            differing,
        )
