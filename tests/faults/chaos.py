"""Is anything lost or doubled when agent, broker and collector are killed at random moments?

``python -m tests.faults.chaos --kills N --seed S [--influx] [--control puback] [--json]``: the real programs on
loopback, the broker without persistence; each kill is SIGKILL, and the program starts again after a random pause. At
the end nothing is killed any more, outboxes empty, and the agents' witnesses are compared with the store, key by key.

``--influx``: Debian's InfluxDB is a second store and among the killed; at the end it must hold what the store holds,
point by point.

``--control puback`` runs an agent that forgets a message on PUBACK: it must lose, or this harness could not see a loss.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balise_agent.catalogue import CATALOGUE
from balise_collector.commands.demo import finish, look
from balise_collector.demo import forwarding
from balise_collector.demo.programs import Programs
from balise_collector.demo.tally import Tally
from balise_collector.store import comparing
from balise_collector.store.chunks import open_reader as open_chunks
from balise_collector.store.influx import open_reader
from tests.collector.influx.servers import Influxd

AGENTS = 3
PAUSE_S = (0.05, 1.2)  # between two kills
DOWN_S = (0.0, 1.0)  # before what was killed starts again
DRAIN_S = 90.0
WEIGHTS = {"agent": 4, "broker": 3, "collector": 3, "influxd": 3}
_ALL_MS = 2**43  # beyond any date that a record may carry
MODULES = {"": "balise_agent.cli", "puback": "tests.faults.puback_agent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``killed``: how often each program was. ``influx``: what InfluxDB lacks and what it has beside, by the store."""

    seed: int
    kills: int
    killed: dict[str, int]
    tally: Tally
    influx: dict[str, int]

    @property
    def is_whole(self) -> bool:
        """Nothing is lost, nothing twice."""
        here = self.tally.lost == self.tally.duplicated == self.tally.dead_letters == 0
        return here and self.influx.get("influx_lost", 0) == self.influx.get("influx_duplicated", 0) == 0

    def as_json(self) -> dict[str, Any]:
        """One object."""
        said = {"seed": self.seed, "kills": self.kills, "killed": self.killed}
        return {**said, **self.tally.as_json(), **self.influx}


class Chaos:
    """One run over one set of programs. What restarts when is drawn from the seed."""

    def __init__(self, folder: Path, seed: int, control: str, *, influx: bool = False) -> None:
        self._rng = random.Random(seed)
        self._programs = Programs(folder)
        self._module = MODULES[control]
        self._influxd = Influxd(folder / "influxd") if influx else None
        self._influxd_runs = False
        self._due: dict[str, float] = {}  # what is down, and when it starts again
        self.killed: Counter[str] = Counter()

    def start(self) -> None:
        """Everything runs."""
        if self._influxd:
            self._restart("influxd")
            self._programs.serve_options = forwarding.prepare(
                self._programs.folder, self._influxd.url, token="", database="balise", org=""
            )
        self._programs.start(AGENTS)
        if self._module != MODULES[""]:
            for agent in self._programs.agents:
                self._programs.end(agent.name)
                self._programs.start_agent(agent, self._module)

    def kill(self, kills: int) -> None:
        """That many, each after a random pause, of a program that runs."""
        for number in range(1, kills + 1):
            self._live(self._rng.uniform(*PAUSE_S))
            name = self._victim()
            self._kill(name)
            self.killed[name] += 1
            self._due[name] = time.monotonic() + self._rng.uniform(*DOWN_S)
            if number % 10 == 0:
                found = look(self._programs)
                sys.stderr.write(f"{number} of {kills} kills, {found.measured} measured, {found.waiting} waiting\n")

    def settle(self) -> Tally:
        """Everything runs again until outboxes are empty and both stores have got all, then ends in order."""
        self._live(DOWN_S[1])
        until_s = time.monotonic() + DRAIN_S
        while look(self._programs).waiting > 3 * AGENTS and time.monotonic() < until_s:
            time.sleep(0.5)
        for agent in self._programs.agents:
            self._programs.end(agent.name)
        until_s = time.monotonic() + DRAIN_S
        while look(self._programs).lag_rows > 0 and time.monotonic() < until_s:
            time.sleep(0.2)
        return finish(self._programs)

    def influx(self) -> dict[str, int]:
        """What InfluxDB holds beside the store, once nothing moves any more."""
        if not self._influxd:
            return {}
        with (
            closing(open_chunks(self._programs.data / "store")) as ours,
            closing(open_reader(self._influxd.server(), self._programs.folder / "none.db")) as theirs,
        ):
            # What the platform says of itself may come between the two programs' ends.
            found = comparing.compare(ours, theirs, 0, _ALL_MS)
            differing = [one for one in found if CATALOGUE[one.series.measurement].writer == "probe"]
            return {
                "influx_points": theirs.count(0, _ALL_MS),
                "influx_lost": sum(one.only_first + one.unequal for one in differing),
                "influx_duplicated": sum(one.only_second for one in differing),
            }

    def end(self) -> None:
        """Whatever still runs."""
        self._programs.end_all()
        if self._influxd_runs:
            self._kill("influxd")

    def _live(self, seconds: float) -> None:
        """Lets time go by, and starts again what is due."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s or self._due:
            for name in [name for name, at_s in self._due.items() if time.monotonic() >= at_s]:
                del self._due[name]
                self._restart(name)
            if time.monotonic() >= until_s and len(self._due) <= 1:
                return
            time.sleep(0.02)

    def _victim(self) -> str:
        names = [name for name in self._programs.running if name.rstrip("0123456789") in WEIGHTS]
        names += ["influxd"] if self._influxd_runs else []
        kinds = {name: name.rstrip("0123456789") for name in names}
        weights = [WEIGHTS[kinds[name]] / sum(kind == kinds[name] for kind in kinds.values()) for name in names]
        return self._rng.choices(names, weights)[0]

    def _kill(self, name: str) -> None:
        if name == "influxd":
            assert self._influxd
            self._influxd.kill()
            self._influxd_runs = False
        else:
            self._programs.end(name, signal.SIGKILL)

    def _restart(self, name: str) -> None:
        if name == "influxd":
            assert self._influxd
            self._influxd.start()
            self._influxd_runs = True
        elif name == "broker":
            self._programs.start_broker()
        elif name == "collector":
            self._programs.start_collector()
        else:
            (agent,) = [agent for agent in self._programs.agents if agent.name == name]
            self._programs.start_agent(agent, self._module)


def run(kills: int, seed: int, control: str = "", folder: Path | None = None, *, influx: bool = False) -> Outcome:
    """The whole of it, in a temporary folder where none is given."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="balise-chaos-") as made:
            return run(kills, seed, control, Path(made), influx=influx)
    chaos = Chaos(folder, seed, control, influx=influx)
    try:
        chaos.start()
        chaos.kill(kills)
        found, beside = chaos.settle(), chaos.influx()
    finally:
        chaos.end()
    return Outcome(seed=seed, kills=kills, killed=dict(sorted(chaos.killed.items())), tally=found, influx=beside)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 where nothing was lost or doubled; with a control, where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=("puback",), default="")
    parser.add_argument("--influx", action="store_true", help="InfluxDB is a second store, and killed too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dir", type=Path, help="keep all files there")
    args = parser.parse_args(argv)
    found = run(args.kills, args.seed, args.control, args.dir, influx=args.influx)
    counts = found.as_json()
    print(json.dumps(counts) if args.json else "\n".join(f"{name:<14}{value}" for name, value in counts.items()))
    if args.control:
        return 0 if found.tally.lost > 0 else 1
    return 0 if found.is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
