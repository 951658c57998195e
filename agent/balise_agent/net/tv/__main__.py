"""What does the child process that samples one channel read and print?

As any `errand`; fields of a zap, a window and a join begin with that word and a dot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from balise_agent.net import errand
from balise_agent.net.tv.address import Address
from balise_agent.net.tv.sample import Sample, sample


def main() -> None:
    """Takes the sample."""
    told = errand.asked()
    address = Address(group=told["group"], port=told["port"], source=told["source"])
    found = sample(address, told["listen_s"], told["interface"])
    errand.answer(found.outcome, flat(found))


def flat(found: Sample) -> dict[str, Any]:
    """All of it in one table; what is None is left out."""
    parts: dict[str, Mapping[str, Any]] = {"zap": found.zap, "window": found.window}
    if found.join is not None:
        parts["join"] = asdict(found.join) | {"tried": True}
    return {
        f"{part}.{name}": value for part, told in parts.items() for name, value in told.items() if value is not None
    }


if __name__ == "__main__":
    main()
