"""Has InfluxDB got what the demo's own store has?"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from balise_collector.demo.programs import DemoError
from balise_collector.store import Unavailable, comparing
from balise_collector.store.chunks import open_reader as open_chunks
from balise_collector.store.influx import open_reader, server, setup, state_path
from balise_collector.store.influx.server import Server, ServerError

_ALL_MS = 2**43  # beyond any date that a record may carry


def prepare(folder: Path, url: str, *, token: str, database: str, org: str) -> tuple[str, ...]:
    """Makes what is missing there, and says what `balise serve` is told. DemoError: it cannot be made."""
    try:
        there = Server(url=server.check_url(url), database=database, org=org, credential=token)
        setup.prepare(there)
    except (ServerError, Unavailable) as exc:
        raise DemoError(f"InfluxDB: {exc}") from exc
    options = ["--influx", there.url, "--database", database, *(["--org", org] if org else [])]
    if token:
        file = folder / "influx.token"
        server.write_private(file, token + "\n")
        options += ["--token-file", str(file)]
    return tuple(options)


def missing(data: Path) -> int | None:
    """Points that the embedded store has and InfluxDB has not, or has otherwise; None: it does not say."""
    settings = server.load(data)
    if settings is None:
        return None
    path = state_path(server.folder(data))
    with closing(open_chunks(data / "store")) as ours, closing(open_reader(settings.reader(), path)) as theirs:
        wanted = {series.home for series in ours.series()}
        try:
            found = [one for one in comparing.compare(ours, theirs, 0, _ALL_MS) if one.series.home in wanted]
        except Unavailable:
            return None
    return sum(one.only_first + one.unequal for one in found)
