"""How is a home forgotten, wherever its measurements are?

Rule 1: first where `balise serve` writes, then in InfluxDB, once it has got what the journal held before: what is on
its way there would come after its own erasure.
Rule 2: what could not be erased is said, and may be asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from balise_collector import forward
from balise_collector.consumers import erase
from balise_collector.erasures import Erasures, Taken
from balise_collector.journal import Journal
from balise_collector.judging.erasing import Judging, erase_all, held
from balise_collector.judging.state import State
from balise_collector.stats.forgetting import forget
from balise_collector.stats.pending import Pending
from balise_collector.status import ask
from balise_collector.store import StoreBusy, Unavailable
from balise_collector.store.chunks import open_store
from balise_collector.store.influx import open_store as open_influx
from balise_collector.store.influx import server as influx
from balise_collector.store.influx import state_path
from balise_collector.store.influx.server import Server, ServerError, Settings
from balise_collector.store.influx.state import cursor_of, trouble_of

WAIT_S = 600.0
_LOOK_S = 0.2


class NotErased(Exception):  # noqa: N818 - what it says
    """Why, in a line."""


def erase_here(
    data: Path, home: str, span_ms: tuple[int, int], now_ms: int, stood: Sequence[tuple[str, int, int]] = ()
) -> Taken:
    """In journal, store and the judge's memory: by `balise serve` where it runs, else here. ``stood``: probes that were
    there, from when until when. NotErased: by nobody."""
    if not (data / "journal.db").exists():
        raise NotErased(f"{data / 'journal.db'}: no journal here; `balise serve` makes it")
    with closing(Erasures(data / "erasures.db")) as erasures:
        number = erasures.ask(home, *span_ms, now_ms, stood)
        until_s = time.monotonic() + WAIT_S
        while (taken := erasures.answer(number)) is None:
            if time.monotonic() > until_s:
                raise NotErased("it was not done yet; it stays asked, and `balise serve` does it")
            if ask(data) is None:
                _judge_alone(data, erasures, now_ms)
                _erase_alone(data, erasures, now_ms)
            time.sleep(_LOOK_S)
    return taken


def erase_influx(data: Path, home: str, span_ms: tuple[int, int], admin: Path | None) -> int | None:
    """In the InfluxDB of DATA; how many points there were, None where there is none. NotErased: not now."""
    try:
        settings = influx.load(data)
        if settings is None:
            return None
        credential = influx.read_credential(str(admin or ""))
        _await_what_is_on_its_way(data, settings)
        server = Server(url=settings.url, database=settings.database, org=settings.org, credential=credential)
        with closing(open_influx(server, state_path(influx.folder(data)))) as store:
            return store.delete(home, *span_ms)
    except (Unavailable, ServerError) as exc:
        raise NotErased(f"InfluxDB: {exc}; there it is not erased, ask again") from exc


def _erase_alone(data: Path, erasures: Erasures, now_ms: int) -> None:
    """With nobody else at work; where somebody is after all, it is his."""
    with suppress(StoreBusy), closing(Journal(data / "journal.db")) as journal:
        with closing(Pending(data / "stats.db")) as pending:  # whoever rolls hours up is a child of who serves
            forget(erasures, pending, journal, now_ms)
        if not (data / "store").exists():
            erase(journal, None, erasures)
            return
        with closing(open_store(data / "store")) as store:
            erase(journal, store, erasures)


def _judge_alone(data: Path, erasures: Erasures, now_ms: int) -> None:
    """In the judge's memory; where somebody judges after all, it is his."""
    with suppress(Judging), held(data, wait=False), closing(State(data / "judge.db")) as state:
        erase_all(state, erasures, now_ms)


def _await_what_is_on_its_way(data: Path, settings: Settings) -> None:
    """NotErased: InfluxDB has not got all that came before, and does not take it now."""
    path, until_s = state_path(influx.folder(data)), time.monotonic() + WAIT_S
    with closing(Journal(data / "journal.db")) as journal:
        last = {
            forward.feed_key(journal.name, settings.identity, feed): journal.last_id(feed) for feed in forward.FEEDS
        }
    while any(cursor_of(path, key) < id_ for key, id_ in last.items()):
        if (trouble := trouble_of(path)) is not None:
            raise Unavailable(trouble.what)
        if ask(data) is None or time.monotonic() > until_s:
            raise NotErased("InfluxDB has not got yet what came before; ask again once `balise status` is well")
        time.sleep(_LOOK_S)
