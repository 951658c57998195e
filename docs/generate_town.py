"""The table of faults in `docs/town.md`, from the town itself: run it after a change of `town/kinds/`."""

from __future__ import annotations

import re
from pathlib import Path

from balise_collector.town.kinds import KINDS

PAGE = Path(__file__).parent / "town.md"
HEAD = "| kind | what | at | hits | drawn for |\n| --- | --- | --- | --- | --- |\n"
_TABLE = re.compile(r"(?:@KINDS@\n|\| kind \| what \|.*?\n(?=\n))", re.DOTALL)


def table() -> str:
    """A row a kind."""
    rows = []
    for name, kind in KINDS.items():
        low, high = kind.hours
        hits = ", ".join(kind.hits) or "nothing of the home's"
        evening = " (19-23 h)" if kind.evening else ""
        meaning = kind.meaning.replace("``", "`")
        rows.append(f"| `{name}` | {meaning} | {', '.join(kind.places)} | {hits} | {low:g}-{high:g} h{evening} |\n")
    return HEAD + "".join(rows)


def page(text: str) -> str:
    """The page with its table as it is now."""
    return _TABLE.sub(lambda _: table(), text, count=1)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
