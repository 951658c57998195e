"""Do docs/contract.md and docs/asyncapi.yaml say what the code does now?"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("generator", "written"), [("generate_contract.py", "contract.md"), ("generate_asyncapi.py", "asyncapi.yaml")]
)
def test_what_is_generated_is_current(generator: str, written: str) -> None:
    now: str = runpy.run_path(str(DOCS / generator))["document"]()
    assert (DOCS / written).read_text() == now, f"python docs/{generator} writes docs/{written} again"
