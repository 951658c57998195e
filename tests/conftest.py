"""What every test is kept from leaving behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from balise_agent.logs import EventFormatter


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets up the log for a stream that is gone when the test ends."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, EventFormatter):
            root.removeHandler(handler)
    root.setLevel(level)
