"""Is each threshold used, and does the document say it with its reason?"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from balise_collector.judge import settings

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs/judge.md").read_text()
CODE = "".join(path.read_text() for path in (ROOT / "collector/balise_collector/judge").glob("*.py"))


@pytest.mark.parametrize("name", [field.name for field in fields(settings.Settings)])
def test_a_threshold_is_used_and_documented_with_its_reason(name: str) -> None:
    assert f"settings.{name}" in CODE
    line = next(line for line in TABLE.splitlines() if line.startswith(f"| `{name}` |"))
    value = line.split("|")[2].strip().replace("_", "")
    assert len(line.split("|")[3].strip()) > 10
    shown = eval(value, {})  # noqa: S307 - a number, or two with an operator, of our own document
    assert shown == pytest.approx(getattr(settings.Settings(), name))


def test_the_document_names_the_version() -> None:
    assert f"## Thresholds (version {settings.VERSION})" in TABLE
