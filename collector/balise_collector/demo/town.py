"""How do simulated homes stand around the demo's real agent?

Rule 1: the demo starts a program for them and looks; what they say is the town's, how they say it is `trial.live`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path

from balise_collector import broker
from balise_collector.broker import BrokerFiles
from balise_collector.directory import Directory, sqlite_url
from balise_collector.town.calendar import MINUTE_MS
from balise_collector.town.script import shipped
from balise_collector.trial import live
from balise_collector.trial.inventory import inventory

SEED = "demo"
LEAST_HOMES, MOST_HOMES = 42, 2_000
"""The least that has every place of `town/scripts/demo.toml`: 40 homes with a probe."""


def prepare(folder: Path, data: Path, where: BrokerFiles, homes: int, faults: Path | None, now_ms: int) -> Path:
    """Homes in the directory, credentials at the broker, and the file that the town's program reads.

    ScriptError: what shall happen cannot.
    """
    start_ms = now_ms - now_ms % MINUTE_MS
    script = faults or shipped("demo.toml")
    town = live.Settings(homes=homes, seed=SEED, start_ms=start_ms, script=str(script), passwords={}).stream().town
    since_ms = start_ms - MINUTE_MS
    with Directory(sqlite_url(data)) as directory:
        directory.import_homes(inventory(town, since_ms))
        for home in town.probed:
            directory.add_probes([home.probe], now_ms=since_ms, home=home.id, from_ms=since_ms)
    passwords = {home.probe: broker.new_password() for home in town.probed}
    broker.admit(where, passwords)
    path = folder / "town.json"
    live.write(path, live.Settings(homes=homes, seed=SEED, start_ms=start_ms, script=str(script), passwords=passwords))
    return path


def command(data: Path, settings: Path, parent: int) -> list[str]:
    """The program that plays them."""
    return [sys.executable, "-m", "balise_collector.trial.live", str(data), str(settings), str(parent)]
