"""What do several of the agent's tests take part in? A real broker, a peer that plays one, and who hears the probe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.uplink_ground import ID
from tests.brokers import Listener, Mosquitto, Peer, mqtt_peer


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, {ID: "right"}) as server:
        yield server


@pytest.fixture
def peer() -> Iterator[Peer]:
    with mqtt_peer() as made:
        yield made


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    made = Listener(mosquitto.files)
    yield made
    made.close()
