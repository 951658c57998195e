"""Is a number that calls for help refused both when it is read and before it is called?"""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balise_agent.probes.voice_numbers import EMERGENCY, NUMBER_PATTERN, calls_for_help, refusal_reason

PREFIXES = ("", "0", "9", "00", "+", "+33", "0033", "+1", "001")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_number_for_help_is_refused_twice_behind_any_prefix(prefix: str) -> None:
    for number in sorted(EMERGENCY):
        dialled = prefix + number
        assert re.fullmatch(NUMBER_PATTERN, dialled) is None, dialled
        assert calls_for_help(dialled), dialled
        assert refusal_reason(dialled, [dialled]) == "number_refused"


NAMED = "15 17 18 112 114 115 116000 116117 119 191 196 197 3114".split()  # noqa: SIM905 - as they are read


@pytest.mark.parametrize(
    "form", ["{}", "+33{}", "+33 {}", "0033{}", "00 33 {}", "tel:{}", "tel:+33{}", " {}", "{} ", "0{}"]
)
def test_these_are_never_called_however_they_are_written(form: str) -> None:
    for number in NAMED:
        spaced = " ".join(number)
        for dialled in (form.format(number), form.format(spaced), form.format(number).replace("", "-")[1:-1]):
            assert re.fullmatch(NUMBER_PATTERN, dialled) is None, dialled
            assert refusal_reason(dialled, [dialled]) == "number_refused", dialled


@pytest.mark.parametrize(
    "number", ["3103", "0123456789", "+33123456789", "0033123456789", "echo", "milliwatt.1", "10050"]
)
def test_a_test_number_is_taken_where_the_configuration_has_it(number: str) -> None:
    assert re.fullmatch(NUMBER_PATTERN, number) is not None
    assert refusal_reason(number, [number]) is None
    assert refusal_reason(number, []) == "number_not_allowed"
    assert refusal_reason(number, [f"{number}1"]) == "number_not_allowed"


@pytest.mark.parametrize("number", ["*21*0612345678#", "#31#", "sip:x@y", "12 34", "", "+", "0x11", "é", "١١٢٣٤"])
def test_what_is_no_number_is_none(number: str) -> None:
    assert re.fullmatch(NUMBER_PATTERN, number) is None
    assert calls_for_help(number)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.from_regex(r"[09]?[0-9]{1,3}", fullmatch=True))
def test_no_short_number_passes_either(number: str) -> None:
    if len(number) < 4 or number[0] in "09":
        assert re.fullmatch(NUMBER_PATTERN, number) is None
        assert calls_for_help(number)
