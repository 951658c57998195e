"""Which probes are there, and where does each stand, from when until when?

Rule 1: a probe is at one home or place at a time; its periods never overlap, and leave out their ends.
Rule 2: no probe has the id of a home or a place: what is public of one would tell the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select, update

from balise_agent.contract import is_probe_id
from balise_collector.directory.dates import write
from balise_collector.directory.tables import assignments, homes, places, probes
from balise_collector.directory.values import CODE_ALLOWED, Assignment, DirectoryError, Probe, draw_id, is_code
from balise_collector.placement import Place


def ids(connection: Connection) -> set[str]:
    """Every id that is taken, of probes, homes and places."""
    return {id_ for table in (probes, homes, places) for id_ in connection.execute(select(table.c.id)).scalars()}


def add(connection: Connection, new: Sequence[str], now_ms: int) -> None:
    for probe in new:
        if not is_probe_id(probe):
            raise DirectoryError(f"{probe!r} is no probe id: 8 to 32 of a-z and 0-9")
    taken = sorted(ids(connection).intersection(new))
    if taken or len(set(new)) < len(new):
        raise DirectoryError(f"probe id {', '.join(taken) or 'given twice'} is taken")
    if new:
        connection.execute(insert(probes), [{"id": probe, "created_ms": now_ms} for probe in new])


def revoke(connection: Connection, probe: str, now_ms: int) -> None:
    """It and what it says are no longer known, and it stands nowhere from now on; a second time changes nothing."""
    if _known(connection, probe).revoked_ms is not None:
        return
    connection.execute(update(probes).where(probes.c.id == probe).values(revoked_ms=now_ms))
    connection.execute(delete(assignments).where(assignments.c.probe == probe, assignments.c.from_ms >= now_ms))
    connection.execute(
        update(assignments).where(assignments.c.probe == probe, _goes_on(now_ms)).values(until_ms=now_ms)
    )


def assign(connection: Connection, wanted: Assignment) -> None:
    """``place``: its id, not its code."""
    probe, start, end = wanted.probe, wanted.from_ms, wanted.until_ms
    if _known(connection, probe).revoked_ms is not None:
        raise DirectoryError(f"probe {probe} is revoked")
    if wanted.home and connection.execute(select(homes.c.id).where(homes.c.id == wanted.home)).first() is None:
        raise DirectoryError(f"home {wanted.home} is not in the directory; balise homes import brings homes in")
    if end is not None and end <= start:
        raise DirectoryError(f"probe {probe}: the end, {write(end)}, is not after the start, {write(start)}")
    overlap = assignments.c.probe == probe, _goes_on(start)
    before_end = () if end is None else (assignments.c.from_ms < end,)
    other = connection.execute(select(assignments).where(*overlap, *before_end).order_by("from_ms")).first()
    if other is not None:
        where = f"home {other.home}" if other.home else f"place {other.place}"
        until = "without end" if other.until_ms is None else f"until {write(other.until_ms)}"
        raise DirectoryError(
            f"probe {probe} is at {where} from {write(other.from_ms)} {until}, which overlaps; "
            f"balise homes unassign {probe} ends that"
        )
    row = {"probe": probe, "from_ms": start, "until_ms": end, "home": wanted.home or None}
    connection.execute(insert(assignments), row | {"place": wanted.place or None})


def unassign(connection: Connection, probe: str, at_ms: int) -> Assignment:
    """End the assignment that holds at that date, or take back one that began at that very ms; as it was before."""
    _known(connection, probe)
    theirs = assignments.c.probe == probe
    row = connection.execute(select(assignments).where(theirs, assignments.c.from_ms <= at_ms, _goes_on(at_ms))).first()
    if row is None:
        raise DirectoryError(f"probe {probe} is assigned to nothing at {write(at_ms)}")
    this = theirs & (assignments.c.from_ms == row.from_ms)
    if row.from_ms == at_ms:
        connection.execute(delete(assignments).where(this))
    else:
        connection.execute(update(assignments).where(this).values(until_ms=at_ms))
    return _assignment(row)


def put_place(connection: Connection, code: str, *, head_end: str, building: str, pon: str) -> str:
    """Its id, new or known; what is "" changes nothing. Where it stands must be in the directory already."""
    if not is_code(code):
        raise DirectoryError(f"place {code!r}: {CODE_ALLOWED} is allowed")
    said = {name: value for name, value in (("head_end", head_end), ("building", building), ("pon", pon)) if value}
    for name, value in said.items():
        (reference,) = places.c[name].foreign_keys
        if connection.execute(select(reference.column).where(reference.column == value)).first() is None:
            raise DirectoryError(f"{name.replace('_', '-')} {value} is not in the directory")
    id_ = connection.execute(select(places.c.id).where(places.c.code == code)).scalar()
    if id_ is None:
        id_ = draw_id(ids(connection))
        connection.execute(insert(places), {"id": id_, "code": code, **said})
    elif said:
        connection.execute(update(places).where(places.c.id == id_).values(**said))
    return str(id_)


def place_id(connection: Connection, code: str) -> str:
    id_ = connection.execute(select(places.c.id).where(places.c.code == code)).scalar()
    if id_ is None:
        raise DirectoryError(f"place {code} is not in the directory; balise homes place {code} makes it")
    return str(id_)


def load_places(connection: Connection) -> dict[str, Place]:
    return {
        row.id: Place(home=row.id, kind="place", building=row.building or "", pon=row.pon or "")
        for row in connection.execute(select(places))
    }


def load_assignments(connection: Connection) -> list[Assignment]:
    rows = connection.execute(select(assignments).order_by(assignments.c.probe, assignments.c.from_ms))
    return [_assignment(row) for row in rows]


def load(connection: Connection, at_ms: int) -> list[Probe]:
    """All, in the order of their making, each with where it is at that date."""
    at = {a.probe: a for a in load_assignments(connection) if covers(a, at_ms)}
    rows = connection.execute(select(probes).order_by(probes.c.created_ms, probes.c.id))
    return [
        Probe(id=row.id, created_ms=row.created_ms, revoked_ms=row.revoked_ms, assigned=at.get(row.id)) for row in rows
    ]


def covers(assignment: Assignment, at_ms: int) -> bool:
    return assignment.from_ms <= at_ms and (assignment.until_ms is None or at_ms < assignment.until_ms)


def _known(connection: Connection, probe: str) -> Probe:
    row = connection.execute(select(probes).where(probes.c.id == probe)).first()
    if row is None:
        raise DirectoryError(f"probe {probe} is not in the directory; balise probes list shows those that are")
    return Probe(id=row.id, created_ms=row.created_ms, revoked_ms=row.revoked_ms)


def _goes_on(after_ms: int) -> ColumnElement[bool]:
    return or_(assignments.c.until_ms.is_(None), assignments.c.until_ms > after_ms)


def _assignment(row: Row[Any]) -> Assignment:
    return Assignment(
        probe=row.probe, home=row.home or "", place=row.place or "", from_ms=row.from_ms, until_ms=row.until_ms
    )
