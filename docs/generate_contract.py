"""What does the contract say, in words? `python docs/generate_contract.py` writes docs/contract.md.

The text is `contract.in.md`. Every number, name and table in it is a `<<part>>` that is taken from the code that keeps
it; the worked example is worked by that code.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from balise_agent import codec
from balise_agent.catalogue import CATALOGUE, RETENTION_DAYS, Measurement
from balise_agent.contract import (
    CONTENT_TYPE,
    CONTENT_TYPE_CONTROL,
    MAX_AT_MS,
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_ENVELOPE_BYTES,
    MAX_INT,
    MAX_RECORDS,
    MAX_TEXT,
    MAX_TS_MS,
    MAX_UNKNOWN,
    MAX_WIRE_BYTES,
    REFUSALS,
    Body,
    Record,
    body_hash,
    chain_next,
    chain_start,
    failed,
    token,
)

SOURCE = Path(__file__).with_name("contract.in.md")
TARGET = Path(__file__).with_name("contract.md")
HEAD = "<!-- Written by docs/generate_contract.py from contract.in.md and the code: change those. -->\n"


def main() -> None:
    """Writes the document."""
    TARGET.write_text(document())


def document() -> str:
    """The whole text. KeyError: a part that nobody makes."""
    parts = {
        "content type": CONTENT_TYPE,
        "control content type": CONTENT_TYPE_CONTROL,
        "names kept": str(MAX_UNKNOWN),
        "limits": limits(),
        "worked example": worked_example(),
        "refusals": table(("name", "meaning"), ((f"`{name}`", why) for name, why in REFUSALS.items())),
        "retention classes": retention(),
        "measurements": measurements(),
        "dictionary id": f"{codec.DICTIONARY_ID:#010x}",
        "dictionary bytes": str(len(codec.DICTIONARY)),
        "dictionary": dictionary(),
    }
    return HEAD + re.sub(r"<<(.+?)>>", lambda match: parts[match[1]], SOURCE.read_text())


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def limits() -> str:
    """Bounds that both sides keep."""
    rows = [
        ("bytes of a message on the wire", f"{MAX_WIRE_BYTES:,}"),
        ("bytes of an inflated body", f"{MAX_BODY_BYTES:,}"),
        ("bytes of an envelope's line", f"{MAX_ENVELOPE_BYTES:,}"),
        ("records of a body", f"1 to {MAX_RECORDS:,}"),
        ("characters of a text, all printable", f"{MAX_TEXT}"),
        ("integers", f"-(2^53 - 1) to 2^53 - 1 = {MAX_INT:,}"),
        ("dates, ms since 1970 UTC", f"0 to {MAX_TS_MS:,} (9999-01-01)"),
        ("a record's distance from its body", f"{MAX_AT_MS // 86_400_000} days, before or after"),
        ("nesting of a configuration's values", f"{MAX_DEPTH}"),
    ]
    return table(("what", "bound"), rows)


def worked_example() -> str:
    """Two messages, chained."""
    stream = token(bytes(range(16)))
    records = [
        Record(measurement="reach", bt_ms=60_000, target="gw", fields={"sent": 40, "lost": 0, "p50_us": 1_234}),
        Record(measurement="dns", bt_ms=118_500, target="box", outcome=failed("timeout")),
    ]
    c = chain_start(stream, None)
    lines = ["```", f"stream = {stream}, the first of its probe", f"c_0 = {c}"]
    for n, record in enumerate(records, start=1):
        body = codec.encode_body(Body(nonce=token(bytes([n]) * 16), bt_ms=60_000 * n, records=(record,)))
        t, bh = 1_764_000_000_000 + 60_000 * n, body_hash(body)
        c = chain_next(c, n, t, bh)
        lines += ["", f"n = {n}, t = {t}, body =", body.decode(), f"bh = {bh.hex()}", f"c_{n} = {c}"]
    return "\n".join([*lines, "```"])


def retention() -> str:
    """How long each class is kept."""
    kept = {name: "until the pilot's end + 6 months" if days is None else days for name, days in RETENTION_DAYS.items()}
    return table(("class", "days"), ((f"`{name}`", days) for name, days in kept.items()))


def dictionary() -> str:
    """The preset dictionary, in lines that can be read."""
    lines = textwrap.wrap(codec.DICTIONARY.decode(), 110, break_on_hyphens=False)  # there is no space in it
    return "\n".join(f"    {line}" for line in lines)


def measurements() -> str:
    """Every measurement with its fields."""
    rows = [
        (f"[`{m.name}`](#records-of-{m.name})", m.writer, f"`{m.retention}`", m.meaning) for m in CATALOGUE.values()
    ]
    index = table(("measurement", "written by", "kept", "meaning"), rows)
    return "\n\n".join([index, *(section(m) for m in CATALOGUE.values())])


def section(m: Measurement) -> str:
    """One measurement."""
    leaves = "" if m.leaves else "; it never leaves the probe"
    facts = [f"- source: {m.source}", f"- written by the {m.writer}, kept as `{m.retention}`{leaves}"]
    if m.target:
        facts.insert(0, f"- target: {m.target}")
    rows = [(f"`{f.name}`", f.type, f.unit or "-", f.meaning) for f in m.fields]
    return "\n".join(
        [f"### {m.name}", "", m.meaning, "", *facts, "", table(("field", "type", "unit", "meaning"), rows)]
    )


if __name__ == "__main__":
    main()
