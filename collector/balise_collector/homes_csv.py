"""What does a file of homes say, and what is wrong with it? Text <-> homes and the plant that they stand on.

Rule 1: all faults are found, each with its line, field, value and what is allowed; with a fault there are no homes.
Whether lines contradict each other is asked of those that have no fault of their own.
Rule 2: a column that is not known is refused: there is none for a person or an address. Its values are never repeated.
Rule 3: `parse(write(x))` is x.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from balise_collector.directory import dates
from balise_collector.directory.values import (
    CODE_ALLOWED,
    PURPOSES,
    Consent,
    Home,
    Inventory,
    Line,
    Offer,
    Pon,
    Purpose,
    is_code,
    is_home_id,
)

COLUMNS = (
    "home",
    "building",
    "district",
    "from",
    "pon",
    "olt",
    "card",
    "head_end",
    "offer",
    "operator",
    "down_bps",
    "up_bps",
    *PURPOSES,
)
REQUIRED = ("home", "building", "mesure")

# What may only be said where something else is: what a thing is of, what an offer is.
_NEEDS = {
    "pon": ("from",),
    "olt": ("pon",),
    "card": ("olt",),
    "head_end": ("olt",),
    "offer": ("from", "operator", "down_bps", "up_bps"),
    "operator": ("offer",),
    "down_bps": ("offer",),
    "up_bps": ("offer",),
}
MOST_BPS = 100_000_000_000
_RATE = re.compile(r"[1-9]\d{0,11}")
_RATE_ALLOWED = f"whole bit/s, 1-{MOST_BPS}"
_ID_ALLOWED = "8 to 32 of a-z and 0-9, as `balise homes new` draws them"
_CONSENT_ALLOWED = "VERSION DATE, or VERSION DATE/DATE once withdrawn; several joined by ' + '"
_MOST_SHOWN = 60

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``line``: of the file; the header is 1."""

    line: int
    field: str
    value: str
    allowed: str

    def __str__(self) -> str:
        value = self.value if len(self.value) <= _MOST_SHOWN else self.value[:_MOST_SHOWN] + "..."
        return f"line {self.line}: {self.field}: {value!r}; allowed: {self.allowed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """Of each thing (home, building, ...), by its code: each field that is not empty, and the line that said it."""

    things: dict[str, dict[str, dict[str, tuple[str, int]]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def say(self, line: int, thing: str, code: str, fields: Row) -> None:
        known = self.things.setdefault(thing, {}).setdefault(code, {}) if code else {}
        for name, value in fields.items() if code else ():
            first = known.setdefault(name, (value, line)) if value else (value, line)
            if first[0] != value:
                self.faults.append(
                    Fault(line=line, field=name, value=value, allowed=f"{first[0]!r}, as on line {first[1]} for {code}")
                )

    def of(self, thing: str) -> dict[str, dict[str, str]]:
        codes = sorted(self.things.get(thing, {}).items())
        return {code: {name: value for name, (value, _) in fields.items()} for code, fields in codes}


def parse(text: str, taken: frozenset[str] = frozenset()) -> Inventory | tuple[Fault, ...]:
    """Commas or semicolons between fields; ``taken``: ids of probes and places, that no home may have."""
    said = _Said()
    try:
        for line, row in _rows(text.removeprefix("\ufeff")):
            faults = [row] if isinstance(row, Fault) else list(_row_faults(line, row, taken))
            said.faults.extend(faults)
            if not faults and not isinstance(row, Fault):
                _say(said, line, row)
    except _NotCsvError as exc:
        said.faults.extend(exc.args)
    if said.faults:
        return tuple(sorted(said.faults, key=lambda fault: fault.line))
    return _inventory(said)


def write(inventory: Inventory) -> str:
    """A line for each line of each home; one for a home that has none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for home in inventory.homes.values():
        for line in home.lines or (None,):
            writer.writerow(_home_cells(inventory, home) | _line_cells(inventory, line))
    return out.getvalue()


class _NotCsvError(Exception):
    """Nothing after this can be read; its arguments are the faults."""


def _rows(text: str) -> Iterator[tuple[int, Row | Fault]]:
    """The number of the line where a row begins, and its fields by column."""
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=";" if ";" in first else ",")
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not header:
                header = [cell.strip() for cell in cells]
                _check_header(header)
            elif any(cell.strip() for cell in cells):
                yield line, _by_column(line, header, cells)
            line = reader.line_num + 1
    except csv.Error as exc:
        raise _NotCsvError(Fault(line=line, field="line", value=str(exc), allowed="comma-separated values")) from exc
    if not header:
        _check_header([])


def _check_header(header: list[str]) -> None:
    faults = []
    for name in header:
        if name not in COLUMNS:
            faults.append(("unknown column", name, f"{', '.join(COLUMNS)}; none for a person or an address"))
        elif header.count(name) > 1:
            faults.append(("column", name, "each column once"))
    faults += [("header", "", f"a column {name}") for name in REQUIRED if name not in header]
    if faults:
        raise _NotCsvError(*(Fault(line=1, field=f, value=v, allowed=a) for f, v, a in dict.fromkeys(faults)))


def _by_column(line: int, header: list[str], cells: list[str]) -> Row | Fault:
    if len(cells) != len(header):
        return Fault(line=line, field="line", value=f"{len(cells)} fields", allowed=f"{len(header)}, as in the header")
    return dict.fromkeys(COLUMNS, "") | dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _row_faults(line: int, row: Row, taken: frozenset[str]) -> Iterator[Fault]:
    for name, value in row.items():
        allowed = _allowed(name, value, taken)
        if allowed:
            yield Fault(line=line, field=name, value=value, allowed=allowed)
    for name, needed in _NEEDS.items():
        for other in needed if row[name] else ():
            if not row[other]:
                yield Fault(line=line, field=other, value="", allowed=f"not empty where {name} is not")


def _allowed(name: str, value: str, taken: frozenset[str]) -> str:
    """What is allowed, where this is not; "" where it is."""
    if name == "home":
        return _ID_ALLOWED if not is_home_id(value) else "an id that no probe or place has" if value in taken else ""
    if not value:
        return CODE_ALLOWED if name == "building" else ""
    if name == "from":
        return dates.ALLOWED if dates.read(value) is None else ""
    if name in {"down_bps", "up_bps"}:
        return "" if _RATE.fullmatch(value) and int(value) <= MOST_BPS else _RATE_ALLOWED
    if name in PURPOSES:
        return _CONSENT_ALLOWED + f"; a date is {dates.ALLOWED}" if _consents(name, value) is None else ""
    return "" if is_code(value) else CODE_ALLOWED


def _say(said: _Said, line: int, row: Row) -> None:
    def fields(*names: str) -> Row:
        return {name: row[name] for name in names}

    consents: dict[str, str] = {name: _consents_text(_consents(name, row[name]) or ()) for name in PURPOSES}
    said.say(line, "home", row["home"], {"building": row["building"]} | consents)
    said.say(line, "building", row["building"], fields("district"))
    said.say(line, "olt", row["olt"], fields("head_end"))
    said.say(line, "pon", row["pon"], fields("olt", "card"))
    said.say(line, "offer", row["offer"], fields("operator", "down_bps", "up_bps"))
    if row["from"]:
        start = dates.read(row["from"])
        said.say(line, "line", f"{row['home']} from {start}", fields("pon", "offer"))


def _inventory(said: _Said) -> Inventory:
    lines: dict[str, list[Line]] = {}
    for key, fields in said.of("line").items():
        home, _, start = key.split()
        lines.setdefault(home, []).append(Line(from_ms=int(start), **fields))
    return Inventory(
        homes={
            id_: Home(
                id=id_,
                building=fields["building"],
                lines=tuple(sorted(lines.get(id_, ()), key=lambda line: line.from_ms)),
                consents=_all_consents(fields),
            )
            for id_, fields in said.of("home").items()
        },
        buildings={code: fields.get("district", "") for code, fields in said.of("building").items()},
        olts={code: fields.get("head_end", "") for code, fields in said.of("olt").items()},
        pons={code: Pon(**fields) for code, fields in said.of("pon").items()},
        offers={
            code: Offer(operator=f["operator"], down_bps=int(f["down_bps"]), up_bps=int(f["up_bps"]))
            for code, f in said.of("offer").items()
        },
    )


def _all_consents(fields: Row) -> tuple[Consent, ...]:
    found = (consent for name in PURPOSES for consent in _consents(name, fields.get(name, "")) or ())
    return tuple(sorted(found, key=lambda consent: (consent.given_ms, consent.purpose)))


def _consents(purpose: Purpose, text: str) -> tuple[Consent, ...] | None:
    """In the order of their dates; None where this is no list of consents."""
    found: dict[int, Consent] = {}
    parts = re.split(r"\s+\+\s+", text) if text else []
    for part in parts:
        version, _, period = part.partition(" ")
        start, slash, end = period.strip().partition("/")
        given, withdrawn = dates.read(start), dates.read(end) if slash else None
        if not is_code(version) or given is None or (slash and withdrawn is None):
            return None
        if given in found or (withdrawn is not None and withdrawn < given):
            return None
        found[given] = Consent(purpose=purpose, text=version, given_ms=given, withdrawn_ms=withdrawn)
    return tuple(found[given] for given in sorted(found))


def _consents_text(consents: tuple[Consent, ...]) -> str:
    return " + ".join(
        f"{c.text} {dates.write(c.given_ms)}" + ("" if c.withdrawn_ms is None else f"/{dates.write(c.withdrawn_ms)}")
        for c in consents
    )


def _home_cells(inventory: Inventory, home: Home) -> dict[str, object]:
    cells: dict[str, object] = {"home": home.id, "building": home.building}
    cells["district"] = inventory.buildings.get(home.building, "")
    for name in PURPOSES:
        cells[name] = _consents_text(tuple(c for c in home.consents if c.purpose == name))
    return cells


def _line_cells(inventory: Inventory, line: Line | None) -> dict[str, object]:
    if line is None:
        return {}
    cells: dict[str, object] = {"from": dates.write(line.from_ms), "pon": line.pon, "offer": line.offer}
    if line.pon:
        pon = inventory.pons[line.pon]
        cells |= {"olt": pon.olt, "card": pon.card, "head_end": inventory.olts.get(pon.olt, "")}
    if line.offer:
        offer = inventory.offers[line.offer]
        cells |= {"operator": offer.operator, "down_bps": offer.down_bps, "up_bps": offer.up_bps}
    return cells
