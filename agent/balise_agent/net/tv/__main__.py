"""What does the child process that samples one channel read and print?

One JSON object on stdin, one on stdout: ``{"kind", "reason", "fields"}``; fields of a zap, a window and a join begin
with that word and a dot.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from balise_agent.net.tv.address import Address
from balise_agent.net.tv.sample import Sample, sample


def main() -> None:
    """Takes the sample."""
    told = json.loads(sys.stdin.readline())
    parent = told.pop("parent", os.getppid())
    address = Address(group=told["group"], port=told["port"], source=told["source"])
    found = sample(address, told["listen_s"], told["interface"], is_unwanted=lambda: os.getppid() != parent)
    outcome = found.outcome
    print(json.dumps({"kind": outcome.kind, "reason": outcome.reason, "fields": flat(found)}), flush=True)


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
