"""What do the statistics read and write: a journal, the store behind it, and the hours that are still to be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from balise_collector.journal import Journal
from balise_collector.stats.pending import Pending
from balise_collector.store import Store
from balise_collector.store.chunks import open_store


class Files(NamedTuple):
    """Those of a server's folder."""

    journal: Journal
    store: Store
    pending: Pending


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    with (
        closing(Journal(tmp_path / "journal.db", synchronous="OFF")) as journal,
        closing(open_store(tmp_path / "store")) as store,
        closing(Pending(tmp_path / "stats.db")) as pending,
    ):
        yield Files(journal, store, pending)
