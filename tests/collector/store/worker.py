"""What does a store's writer do until it is killed? `python -m tests.collector.store.worker FOLDER SEED`

Point n is the same in each run, so the test knows what must be there. Each step is printed before it begins and when it
has returned: what was printed as done is promised.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from balise_collector.store import Point, Store
from balise_collector.store.chunks import open_store
from tests.collector.store.stores import FAR_MS, START_MS, point

STEP_MS = 60_000
FEED = "journal"


def kept(number: int) -> Point:
    """Of a home that stays."""
    return point(START_MS + number * STEP_MS, home="stays", fields={"sent": number, "window_s": number / 1_000})


def erased(number: int) -> Point:
    """Of a home that is erased now and then; its bytes are found by `trace`."""
    return point(START_MS + number * STEP_MS, home="goes", probe="probegoes", fields={"method": trace(number)})


def trace(number: int) -> str:
    return f"trace-{number:06d}-of-a-tenant"


def step(store: Store, rng: random.Random, there: int) -> None:
    """``there``: points that an earlier life wrote, perhaps without its cursor; the feed brings them again."""
    at = store.cursor(FEED)
    match rng.choices(["write", "seal", "delete"], [6, 3, 2])[0]:
        case "write":
            upto = max(at, there) + rng.randrange(1, 120)
            say("begin write", upto)
            late = [kept(number) for number in range(max(0, at - 300), at, 30)]
            fresh = [made(number) for number in range(at, upto) for made in (kept, erased)]
            store.write(late + fresh, FEED, upto)
            say("done write", upto)
        case "seal":
            say("begin seal", at)
            store.seal(START_MS + at * STEP_MS)
            say("done seal", at)
        case "delete":
            say("begin delete", at)
            store.delete("goes", 0, FAR_MS)
            say("done delete", at)


def say(what: str, number: int) -> None:
    """In one write: killed in the middle of it, it said all or nothing."""
    os.write(sys.stdout.fileno(), f"{what} {number}\n".encode())


def main() -> None:
    rng = random.Random(int(sys.argv[2]))
    store = open_store(Path(sys.argv[1]))
    there = sum(1 for _ in store.read("stays", "reach", None, 0, FAR_MS))
    while True:
        step(store, rng, there)


if __name__ == "__main__":
    main()
