"""Does docs/town.md say what the town can do, and can its examples be played?"""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from balise_collector.town import script
from balise_collector.town.calendar import DAY_MS
from balise_collector.town.kinds import KINDS
from tests.collector.town.ground import START_MS, town

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted((ROOT / "collector/balise_collector/town/scripts").glob("*.toml"))
PAGE = (ROOT / "docs/town.md").read_text()


def test_the_table_of_faults_is_current() -> None:
    assert runpy.run_path(str(ROOT / "docs/generate_town.py"))["page"](PAGE) == PAGE, "python docs/generate_town.py"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_each_shipped_script_can_be_played_and_stands_on_the_page(path: Path) -> None:
    asked = script.read(path)
    assert script.faults(asked, town(200), (START_MS, START_MS + 30 * DAY_MS))
    assert f"`{path.name}`" in PAGE


def test_the_default_script_has_every_kind_that_is_no_daily_life() -> None:
    asked = script.read(script.shipped("every-kind.toml"))
    assert {fault["kind"] for fault in asked.faults} == KINDS.keys() - {"strip_off", "agent_restart"}


def test_the_example_on_the_page_can_be_played() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    asked = script.parse(tomllib.loads(example), "docs/town.md")
    found = script.faults(asked, town(200), (START_MS, START_MS + 3 * DAY_MS))
    assert len(found) == 13
