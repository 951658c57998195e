"""Which dashboards are there? One question each, in a file of its own."""

from __future__ import annotations

from balise_collector.grafana.board import Board
from balise_collector.grafana.boards import (
    buildings,
    fleet,
    home,
    outages,
    platform,
    probes,
    slo,
    telephone,
    television,
)

BOARDS: tuple[Board, ...] = (
    fleet.BOARD,
    buildings.BOARD,
    outages.BOARD,
    television.BOARD,
    telephone.BOARD,
    probes.BOARD,
    slo.BOARD,
    home.BOARD,
    platform.BOARD,
)
