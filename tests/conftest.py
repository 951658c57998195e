"""What every test is kept from leaving behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from balise_agent.logs import EventFormatter

# A machine that others use too is slow for seconds at a time; that says nothing about the code. The rest is as
# Hypothesis has it: in CI the same examples each time, elsewhere others.
settings.register_profile(
    "balise", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("balise")


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
