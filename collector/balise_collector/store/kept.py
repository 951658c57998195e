"""Where are this server's points: in the embedded store, or in InfluxDB alone?"""

from __future__ import annotations

from pathlib import Path

from balise_collector.store import Reader
from balise_collector.store.chunks import open_reader as open_chunks
from balise_collector.store.influx import open_reader as open_influx
from balise_collector.store.influx import server as influx
from balise_collector.store.influx import state_path


def alone(data: Path) -> influx.Settings | None:
    """The InfluxDB that is the only store; None: there is the embedded one."""
    known = influx.load(data)
    return known if known is not None and known.alone else None


def open_kept(data: Path) -> Reader:
    """InfluxDB where it is the only store, else the embedded one. ServerError: it cannot be asked."""
    known = alone(data)
    if known is None:
        return open_chunks(data / "store")
    return open_influx(known.reader(), state_path(influx.folder(data)))
