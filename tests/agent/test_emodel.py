"""Is a call rated as the E-model's published values say?"""

from __future__ import annotations

import pytest

from balise_agent.net.emodel import G711_BARE, G711_PLC, mos, r_factor


@pytest.mark.parametrize(
    ("r", "opinion"),
    [(93.2, 4.41), (90, 4.34), (80, 4.02), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0), (-40, 1.0), (100, 4.5)],
)
def test_the_classes_of_g109(r: float, opinion: float) -> None:
    assert mos(r) == pytest.approx(opinion, abs=0.02)


@pytest.mark.parametrize(("delay_ms", "opinion"), [(100, 4.41), (150, 4.41), (200, 4.34), (300, 3.96), (400, 3.56)])
def test_delay_alone(delay_ms: float, opinion: float) -> None:
    assert mos(r_factor(loss_pct=0, delay_ms=delay_ms)) == pytest.approx(opinion, abs=0.02)


@pytest.mark.parametrize(("loss_pct", "opinion"), [(1, 4.33), (2, 4.23), (3, 4.13), (5, 3.92), (10, 3.41)])
def test_loss_alone_with_concealment(loss_pct: float, opinion: float) -> None:
    assert mos(r_factor(loss_pct=loss_pct, delay_ms=0)) == pytest.approx(opinion, abs=0.02)


def test_without_concealment_two_percent_are_another_world() -> None:
    assert mos(r_factor(loss_pct=2, delay_ms=0, assumed=G711_BARE)) == pytest.approx(3.26, abs=0.02)


def test_a_burst_weighs_more_than_what_is_spread() -> None:
    assert r_factor(loss_pct=2, delay_ms=0, burst_r=5.88) == pytest.approx(85.7, abs=0.05)
    assert r_factor(loss_pct=2, delay_ms=0) == pytest.approx(86.2, abs=0.05)


def test_the_delay_of_a_call_has_packet_and_buffer_in_it() -> None:
    assert G711_PLC.delay_ms(30) == 110
