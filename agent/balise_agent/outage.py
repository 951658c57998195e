"""When was the line out, for how long, and how much of an hour was it watched?

`Reading`s of the ladder come in, in order; out come what is to be told: `Ended`, `Ongoing`, `Hour`. All that goes on
stands in a `Book`, which is written to disk and read back: a split anywhere changes nothing.

Rule 1: start is when the first lost echo was sent, end when the first answered one was; the boot clock says how long.
Rule 2: time in which nothing was watched (agent or machine off, asleep, paused) is unknown: neither up nor down.
Rule 3: an hour is told when nothing that is still open can change it.

Under 5 s nothing is told: those are losses, and `reach` has them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from balise_agent.ladder import Place, Reading

MICROCUT_MS = 5_000  # settled: from here a microcut,
OUTAGE_MS = 30_000  # from here an outage

UNWATCHED_MS = 15_000
"""Readings come at each echo, 1.5 s apart; a rung of 10 s with a late loop is not yet a hole."""

HOUR_MS = 3_600_000
MOST_PLACES = 8
NOT_THE_LINE: frozenset[Place] = frozenset({"operator.server"})
"""The home's Internet works, only the operator's own target does not."""

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An outage that goes on. ``parts``: what of it was seen and is not in the hours yet.

    ``unknown_ms``: how long nothing was watched within it; None: nobody can know (a boot without a clock).
    """

    id: str
    start_ms: int | None  # UTC; None: the clock was not known
    places: tuple[Place, ...] = ()  # in order; the first that the evidence settled is where it broke
    evidence: str = ""
    down_ms: int = 0
    unknown_ms: int | None = 0
    restarts: int = 0
    parts: tuple[_Span, ...] = ()

    @property
    def of_the_line(self) -> bool:
        """The home is without Internet."""
        return not NOT_THE_LINE.intersection(self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ongoing:
    """It has been down for 30 s, and still is."""

    at_ms: int
    outage: Open


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """It is over. ``at_ms``: its end, ``end_ms`` the same in UTC, None: the clock was not known."""

    at_ms: int
    kind: Literal["microcut", "outage"]
    end_ms: int | None
    outage: Open


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """``number``: hours since 1970 in UTC, where the clock was known (``dated``), else since boot."""

    number: int
    dated: bool
    observed_ms: int = 0
    down_ms: int = 0
    microcut_ms: int = 0


Fact = Ongoing | Ended | Hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """``settled_ms``: up to here all is decided; ``fresh``: nothing is known yet of the time since then."""

    boot: str
    seen_ms: int
    settled_ms: int
    fresh: bool = True
    offset_ms: int | None = None  # wall time minus boot time
    open: Open | None = None
    hours: tuple[Hour, ...] = ()


def begin(boot: str, at_ms: int) -> Book:
    """A book without a past."""
    return Book(boot=boot, seen_ms=at_ms, settled_ms=at_ms)


def resume(book: Book, boot: str, at_ms: int, offset_ms: int | None) -> Book:
    """The book of an agent that begins again, in the same boot or another; what lies between is unknown."""
    book = _close_watch(book)
    if book.boot != boot:
        book = _in_hours(book)  # its clock is gone
    if book.boot == boot:
        unwatched = at_ms - book.settled_ms
    elif book.offset_ms is None or offset_ms is None or at_ms + offset_ms < book.settled_ms + book.offset_ms:
        unwatched = None
    else:
        unwatched = at_ms + offset_ms - book.settled_ms - book.offset_ms
    outage = book.open and replace(_unknown(book.open, unwatched), restarts=book.open.restarts + 1)
    held = offset_ms if offset_ms is not None or book.boot != boot else book.offset_ms
    return replace(book, boot=boot, seen_ms=at_ms, settled_ms=at_ms, fresh=True, offset_ms=held, open=outage)


def read(book: Book, reading: Reading, offset_ms: int | None) -> tuple[Book, tuple[Fact, ...]]:
    """One more reading. ``offset_ms``: wall time minus boot time, None: not known."""
    at_ms = max(reading.at_ms, book.seen_ms)
    if at_ms - book.seen_ms > UNWATCHED_MS:
        book = _skip(book, at_ms)
    book = replace(book, seen_ms=at_ms, offset_ms=book.offset_ms if offset_ms is None else offset_ms)
    if reading.state == "unsure":
        return book, ()
    facts: list[Fact] = []
    book = _down(book, reading, facts) if reading.state == "down" else _up(book, reading.since_ms, facts)
    book = _observe(book, at_ms)
    return _told(book, facts)


def dump(book: Book) -> dict[str, Any]:
    """For JSON."""
    return asdict(book)


def load(raw: Any) -> Book | None:
    """The book that `dump` gave, or None where it is none; whether its digits are whole is the file's matter."""
    try:
        outage, hours = raw["open"], tuple(Hour(**hour) for hour in raw["hours"])
        if outage is not None:
            parts = tuple((int(a), int(b)) for a, b in outage["parts"])
            outage = Open(**outage | {"parts": parts, "places": tuple(outage["places"])})
        return Book(**raw | {"open": outage, "hours": hours})
    except (TypeError, ValueError, KeyError):
        return None


def _down(book: Book, reading: Reading, facts: list[Fact]) -> Book:
    since_ms = min(max(reading.since_ms, book.settled_ms), book.seen_ms)
    place = reading.place or "unplaced"
    if book.open is not None and book.open.of_the_line == (place in NOT_THE_LINE):
        book = _end(book, since_ms, facts)  # the line broke while only the server was out, or the other way
    if book.open is None:
        book = book if book.fresh else _observe(book, since_ms)
        start_ms = None if book.offset_ms is None else since_ms + book.offset_ms
        outage = Open(id=f"{book.boot}.{since_ms}", start_ms=start_ms)
    else:
        outage = _unknown(book.open, since_ms - book.settled_ms) if book.fresh else book.open
        since_ms = since_ms if book.fresh else book.settled_ms
    outage = _seen_down(_placed(outage, place, reading.evidence), since_ms, book.seen_ms)
    return replace(book, open=outage, fresh=False, settled_ms=since_ms)


def _up(book: Book, since_ms: int, facts: list[Fact]) -> Book:
    first_ms = min(max(since_ms, book.settled_ms), book.seen_ms)
    if book.open is not None:
        return _end(book, first_ms, facts)
    return replace(book, settled_ms=first_ms, fresh=False) if book.fresh else book


def _end(book: Book, end_ms: int, facts: list[Fact]) -> Book:
    """The open outage ends at its first answer."""
    outage = book.open
    if outage is None:
        return book
    if book.fresh:
        outage = _unknown(outage, end_ms - book.settled_ms)
        book = replace(book, settled_ms=end_ms)
    else:
        outage = _seen_down(outage, book.settled_ms, end_ms)
        book = _observe(book, end_ms)
    book = _in_hours(replace(book, open=outage))
    if outage.down_ms >= MICROCUT_MS:
        kind: Literal["microcut", "outage"] = "outage" if outage.down_ms >= OUTAGE_MS else "microcut"
        utc_ms = None if book.offset_ms is None else end_ms + book.offset_ms
        facts.append(Ended(at_ms=end_ms, kind=kind, end_ms=utc_ms, outage=replace(outage, parts=())))
    return replace(book, open=None, fresh=False)


def _told(book: Book, facts: list[Fact]) -> tuple[Book, tuple[Fact, ...]]:
    """Moves into the hours what is decided, and takes out the hours that nothing can change any more."""
    if book.open is not None and book.open.down_ms >= OUTAGE_MS:
        began = book.open.down_ms - sum(b - a for a, b in book.open.parts) < OUTAGE_MS
        book = _in_hours(book)
        if began and book.open is not None:
            facts.append(Ongoing(at_ms=book.seen_ms, outage=book.open))
    if book.open is not None and book.open.parts:
        return book, tuple(facts)
    now = _hour_of(book, book.settled_ms)
    done = [hour for hour in book.hours if (hour.number, hour.dated) != (now, book.offset_ms is not None)]
    facts += [hour for hour in done if hour.observed_ms]
    return replace(book, hours=tuple(hour for hour in book.hours if hour not in done)), tuple(facts)


def _in_hours(book: Book) -> Book:
    """Counts the parts of the open outage as what it is by now."""
    outage = book.open
    if outage is None:
        return book
    name = "down_ms" if outage.down_ms >= OUTAGE_MS else "microcut_ms"
    if outage.of_the_line and outage.down_ms >= MICROCUT_MS:
        for a, b in outage.parts:
            book = _count(book, a, b, name)
    return replace(book, open=replace(outage, parts=()))


def _observe(book: Book, until_ms: int) -> Book:
    """All until then was watched; of an open outage it was down."""
    until_ms = max(until_ms, book.settled_ms)
    return replace(_count(book, book.settled_ms, until_ms, "observed_ms"), settled_ms=until_ms)


def _count(book: Book, a_ms: int, b_ms: int, name: str) -> Book:
    hours = {(hour.number, hour.dated): hour for hour in book.hours}
    dated = book.offset_ms is not None
    while a_ms < b_ms:
        number = _hour_of(book, a_ms)
        edge_ms = min(b_ms, (number + 1) * HOUR_MS - (book.offset_ms or 0))
        hour = hours.get((number, dated)) or Hour(number=number, dated=dated)
        hours[number, dated] = replace(hour, **{name: getattr(hour, name) + edge_ms - a_ms})
        a_ms = edge_ms
    return replace(book, hours=tuple(hours.values()))


def _hour_of(book: Book, at_ms: int) -> int:
    return (at_ms + (book.offset_ms or 0)) // HOUR_MS


def _seen_down(outage: Open, a_ms: int, b_ms: int) -> Open:
    if a_ms >= b_ms:
        return outage
    parts = outage.parts
    if parts and parts[-1][1] == a_ms:
        parts, a_from = parts[:-1], parts[-1][0]
    else:
        a_from = a_ms
    return replace(outage, down_ms=outage.down_ms + b_ms - a_ms, parts=(*parts, (a_from, b_ms)))


def _unknown(outage: Open, length_ms: int | None) -> Open:
    if length_ms is None or outage.unknown_ms is None:
        return replace(outage, unknown_ms=None)
    return replace(outage, unknown_ms=outage.unknown_ms + max(0, length_ms))


def _placed(outage: Open, place: Place, evidence: str) -> Open:
    settled = tuple(p for p in outage.places if p != "unplaced")
    if settled and place == "unplaced":
        return outage
    if (settled or outage.places)[-1:] == (place,) or len(settled) >= MOST_PLACES:
        return outage
    return replace(outage, places=(*settled, place), evidence=outage.evidence if settled else evidence)


def _skip(book: Book, at_ms: int) -> Book:
    """Nothing was watched until now."""
    book = _close_watch(book)
    outage = book.open and _unknown(book.open, at_ms - book.settled_ms)
    return replace(book, settled_ms=at_ms, fresh=True, open=outage)


def _close_watch(book: Book) -> Book:
    """What was watched last still counts: down where an outage was open, else nothing that was not decided yet."""
    if book.fresh or book.open is None:
        return book
    outage = _seen_down(book.open, book.settled_ms, book.seen_ms)
    return _observe(replace(book, open=outage), book.seen_ms)
