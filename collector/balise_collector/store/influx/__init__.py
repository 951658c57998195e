"""How does InfluxDB keep points, the second implementation of the store?

Line protocol in, InfluxQL out, which every InfluxDB but 3 speaks alike: `lines` says a point, `posting` sends lines to
1.x over plain HTTP and to 2.x through influxdb-client, `sending` finds the line that is refused, `reader` and `store`
are the protocol of `balise_collector.store`, `setup` makes databases, policies and rights.

Rule 1: an answer of 204 is the only one that means "kept".
Rule 2: home, building, pon, probe and target are tags, all of them the directory's; everything else is a field, so
that the number of series is that of homes times measurements, whatever is measured.
"""

from __future__ import annotations

from pathlib import Path

from balise_collector.store.influx.reader import InfluxReader
from balise_collector.store.influx.server import Server, ServerError
from balise_collector.store.influx.state import State, state_path
from balise_collector.store.influx.store import InfluxStore

__all__ = ["InfluxReader", "InfluxStore", "Server", "ServerError", "State", "open_reader", "open_store", "state_path"]


def open_reader(server: Server, path: Path) -> InfluxReader:
    """Reads what there is, in any process. ``path``: the file of cursors, see `state`."""
    return InfluxReader(server, path)


def open_store(server: Server, path: Path) -> InfluxStore:
    """The writer; it asks before it writes, so its credential reads too."""
    return InfluxStore(server, path)
