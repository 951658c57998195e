"""Does evidence from outside come in by file and by HTTP, once, and nobody's without the token?"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector.cli import app
from balise_collector.judge.evidence import EvidenceError, read
from balise_collector.judging.door import Door, lines
from balise_collector.judging.state import State

LOS = {"source": "olt", "ts_ms": 1_772_600_400_000, "what": "los", "scope": "pon", "code": "P1"}
GASP = {**LOS, "what": "dying_gasp", "scope": "home", "code": "home0001"}
WORKS = {**LOS, "source": "works", "what": "works", "until_ms": LOS["ts_ms"] + 1, "ref": "W-7"}  # type: ignore[operator]


def text(*said: dict[str, object]) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in said)


@pytest.mark.parametrize(
    "changes",
    [{"what": "smoke"}, {"scope": "street"}, {"code": ""}, {"ts_ms": -1}, {"name": "x"}, {"until_ms": LOS["ts_ms"]}],
)
def test_what_is_no_evidence_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        read(json.dumps(LOS | changes))


def test_the_first_line_that_is_none_is_named() -> None:
    with pytest.raises(EvidenceError, match="line 3"):
        lines(text(LOS) + b"\n\n{}")


def test_a_file_is_taken_once(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    file.write_bytes(text(LOS, GASP, WORKS, LOS))
    command = ["evidence", "import", str(file), "--data", str(tmp_path), "--json"]
    first, again = (CliRunner().invoke(app, command) for _ in range(2))
    assert json.loads(first.output) == {"new": 3, "known": 1}
    assert json.loads(again.output) == {"new": 0, "known": 4}
    file.write_bytes(text(GASP) + b"\nnothing")
    refused = CliRunner().invoke(app, command)
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(("127.0.0.1", 0), tmp_path / "judge.db", "the token")
    made.start()
    yield made
    made.stop()


def asked(door: Door, body: bytes, path: str = "/evidence", said: str = "the token") -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection(*door.address, timeout=30)) as connection:
        connection.request("POST", path, body, {"Authorization": f"Bearer {said}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_it_is_posted_with_the_token_only(door: Door, tmp_path: Path) -> None:
    assert asked(door, text(LOS, GASP)) == (200, {"new": 2, "known": 0})
    assert asked(door, text(LOS)) == (200, {"new": 0, "known": 1})
    assert asked(door, text(LOS), said="another")[0] == 401
    assert asked(door, text(LOS), path="/else")[0] == 404
    assert asked(door, b"{}")[0] == 400
    with closing(State(tmp_path / "judge.db")) as state:
        assert [(n, one.code) for n, one in state.evidence(0)] == [(1, "P1"), (2, "home0001")]
        assert [one.what for _, one in state.evidence(1)] == ["dying_gasp"]
