"""What becomes of a file that a card or a disk damaged?
`python -m tests.faults.damage [--copies N] [--seed S] [--json]`

Copies of an outbox and of a journal, main file and WAL as a running program has them, are cut short, blocks of them
zeroed, bits of them flipped. The real code opens and uses each, as agent and collector do, through a second start.

Rule 1: nothing raises but what agent and collector answer by setting the file aside at their next start.
Rule 2: what is delivered, handed to consumers or stored is one of the originals, byte for byte.
Rule 3: where an original is missing, that is said. The one exception is counted apart as `silent`: commits at the end
of the WAL, as if they had never been; what is left is then exactly what stood there before them.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import damaged_journal, damaged_outbox
from tests.faults.powercut import MEMORY
from tests.faults.seen import Seen

BLOCKS = (512, 4096)
MOST_BITS = 8


@dataclass(slots=True)
class Result:
    """``outcomes`` by kind of damage; ``examples`` name what is wrong."""

    copies: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    restarts: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, what: str, kind: str, seen: Seen) -> None:
        """One copy was looked at."""
        self.copies += 1
        self.missing += seen.missing
        self.restarts += seen.restarts
        wrong = list(seen.wrong)
        silent = seen.missing > 0 and not seen.said
        if silent and not (kind.startswith("wal") and seen.is_prefix):
            wrong.append(f"{seen.missing} missing and nothing said")
        outcome = "silent" if silent else "said" if seen.missing else "said, nothing missing" if seen.said else "whole"
        self.outcomes[f"{kind.partition(' ')[0]}: {outcome}"] += 1
        self.wrong += bool(wrong)
        self.examples += [f"{what} {kind}: {fault}" for fault in wrong[: max(0, 8 - len(self.examples))]]

    def as_json(self) -> dict[str, Any]:
        """One object."""
        names = ("copies", "missing", "restarts", "wrong", "examples")
        return {name: getattr(self, name) for name in names} | {"outcomes": dict(sorted(self.outcomes.items()))}


def damage_copies(what: str, copies: int, seed: int) -> Result:
    """Makes that many copies of an outbox or a journal, each damaged in a way of its own, and uses them."""
    programs: dict[str, tuple[Callable[[Path, int], Any], Callable[[Path, Any], Seen]]] = {
        "outbox": (damaged_outbox.build, damaged_outbox.use),
        "journal": (damaged_journal.build, damaged_journal.use),
    }
    build, use = programs[what]
    result, rng = Result(), random.Random(f"{what} {seed}")
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(prefix="balise-damage-", dir=MEMORY) as name:
            original = build(Path(name, "original"), seed)
            for number in range(copies):
                folder = Path(name, str(number))
                shutil.copytree(Path(name, "original"), folder)
                kind = damage(folder, what, rng)
                result.add(f"{what} {number}", kind, _used(use, folder, original))
                shutil.rmtree(folder)
    finally:
        logging.disable(logging.NOTSET)
    return result


def damage(folder: Path, what: str, rng: random.Random) -> str:
    """Damages the main file or the WAL in one way; says where and how."""
    part = rng.choice(("main", "wal"))
    path = folder / (f"{what}.db" if part == "main" else f"{what}.db-wal")
    content = bytearray(path.read_bytes())
    match rng.choice(("cut", "zeroed", "flipped")):
        case "cut":
            at = rng.randrange(len(content))
            del content[at:]
            how = f"cut at {at}"
        case "zeroed":
            size = rng.choice(BLOCKS)
            at = rng.randrange(0, len(content), size)
            content[at : at + size] = bytes(len(content[at : at + size]))
            how = f"{size} bytes zeroed at {at}"
        case _:
            bits = [rng.randrange(len(content) * 8) for _ in range(rng.randint(1, MOST_BITS))]
            for bit in bits:
                content[bit // 8] ^= 1 << bit % 8
            how = f"bits flipped at {[bit // 8 for bit in bits]}"
    path.write_bytes(content)
    return f"{part} {how}"


def _used(use: Callable[[Path, Any], Seen], folder: Path, original: Any) -> Seen:
    try:
        return use(folder, original)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it would have ended the program
        return Seen(wrong=(f"raised {type(exc).__name__}: {exc}",))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--copies", type=int, default=1_000, help="of each")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    results = {what: damage_copies(what, asked.copies, asked.seed) for what in ("outbox", "journal")}
    if asked.json:
        print(json.dumps({"seed": asked.seed} | {what: result.as_json() for what, result in results.items()}))
    else:
        for what, result in results.items():
            head = f"{what}, seed {asked.seed}: {result.copies} copies, {result.wrong} wrong"
            print(head, *result.examples, sep="\n  ")
            print(*(f"  {outcome}: {n}" for outcome, n in sorted(result.outcomes.items())), sep="\n")
    return 1 if any(result.wrong for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
