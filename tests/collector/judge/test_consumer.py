"""Does what the judge concludes stand in the journal once, also across a start, and can people work with it?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_agent.codec import deflate
from balise_agent.contract import body_hash, chain_next, chain_start, token
from balise_collector.cli import app
from balise_collector.consumers import Loop
from balise_collector.journal import Journal
from balise_collector.journal_rows import Message
from balise_collector.judge.rows import Row
from balise_collector.judging import hook
from balise_collector.judging.consumer import JudgeConsumer
from balise_collector.judging.state import State
from balise_collector.placement import Place
from tests.collector.judge.saying import HOUR, MINUTE, T0, cut, life, plant

PLANT = plant(pons=2, homes=8)
HOMES = sorted(PLANT.homes)
FIRST_PON, CUT = HOMES[:8], T0 + 20 * MINUTE
END = CUT + 20 * MINUTE


class Feed:
    """Puts rows into a journal as messages, in the order in which they were received."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._chains: dict[str, tuple[int, str]] = {}

    def puts(self, rows: list[Row]) -> None:
        with self._journal.transaction():
            for one in sorted(rows, key=lambda r: (r.received_ms, r.home)):
                self._journal.add([self._message(one)], one.received_ms)

    def _message(self, one: Row) -> Message:
        record = {"m": one.measurement, "at": 0, "k": one.target, "f": one.fields}
        record |= {"failed": one.reason} if one.reason else {}
        raw = json.dumps({"nonce": token(bytes(16)), "bt": 0, "records": [record]}).encode()
        stream = f"stream-{one.probe}"
        seq, last = self._chains.get(stream, (0, chain_start(stream, None)))
        chain = chain_next(last, seq + 1, one.ts_ms, body_hash(raw))
        self._chains[stream] = (seq + 1, chain)
        site = PLANT.homes[one.home]
        place = Place(home=one.home, building=site.building, pon=site.pon)
        return Message(
            probe=one.probe,
            stream=stream,
            previous=None,
            seq=seq + 1,
            ts_ms=one.ts_ms,
            boot="b",
            retention="raw_90d",
            chain=chain,
            body_hash=body_hash(raw),
            parts=((place, deflate(raw)),),
        )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", synchronous="OFF")
    yield made
    made.close()


def everything() -> list[Row]:
    later = life(FIRST_PON, END + 2 * MINUTE, END + 10 * MINUTE)
    return (
        life(HOMES[8:], T0, END + 10 * MINUTE)
        + life(FIRST_PON, T0, CUT)
        + cut(FIRST_PON, CUT, END, "access.line")
        + later
    )


def derived(journal: Journal) -> list[tuple[str, dict[str, str], int, dict[str, object]]]:
    rows, _ = journal.derived(0, 1_000_000)
    return [(r.measurement, r.tags, r.ts_ms, r.fields) for r in rows]


def test_conclusions_stand_in_the_journal_once_across_a_start_and_are_told(journal: Journal, tmp_path: Path) -> None:
    rows = sorted(everything(), key=lambda r: r.received_ms)
    feed, path = Feed(journal), tmp_path / "judge.db"
    told: list[str] = []
    half = len(rows) // 2
    with closing(State(path)) as state:
        consumer = JudgeConsumer(journal, state, PLANT, tell=lambda fields, _now: told.append(str(fields["state"])))
        feed.puts(rows[:half])
        Loop(journal, [consumer], rows=50).drain()
        consumer.save()
        feed.puts(rows[half : half + 200])
        Loop(journal, [consumer], rows=50).drain()  # these were judged, and its memory does not hold them
    before = derived(journal)
    with closing(State(path)) as state:
        again = JudgeConsumer(journal, state, PLANT, tell=lambda fields, _now: told.append(str(fields["state"])))
        Loop(journal, [again], rows=50).drain()
        assert derived(journal) == before
        feed.puts(rows[half + 200 :])
        Loop(journal, [again], rows=50).drain()
        again.tick(END + HOUR)
        (incident,) = again.judge.incidents()
        assert (incident.element, incident.cause, incident.until_ms) == (("pon", "P0"), "fibre", END)
        shown = [one for one in state.incidents() if not one.get("parent")]
    assert [(one["code"], one["state"], one["hit"]) for one in shown] == [("P0", "reviewed", 8)]
    assert told[0] == "open"
    assert told[-1] == "reviewed"
    states = [fields["state"] for name, tags, _, fields in derived(journal) if name == "home_state"]
    assert set(states) >= {0, 2, 3}
    keys = {(tags["home"], tags["service"]) for name, tags, _, _ in derived(journal) if name == "home_state"}
    assert len(keys) == 4 * len(HOMES)
    assert journal.cursor("judge:journal") == journal.last_id("journal")


def test_a_start_reads_on_where_its_memory_ends_and_keeps_its_incidents(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state:
        consumer = JudgeConsumer(journal, state, PLANT)
        Feed(journal).puts(everything())
        Loop(journal, [consumer]).drain()
        consumer.save()
        before = state.incidents()
        again = JudgeConsumer(journal, state, PLANT)
        assert again.cursor("journal") == journal.last_id("journal")
        assert state.incidents() == before != []


def test_what_the_judge_forgot_stands_in_its_memory_no_more(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state:
        consumer = JudgeConsumer(journal, state, PLANT)
        Feed(journal).puts(life(HOMES, T0, T0 + 5 * MINUTE))
        Loop(journal, [consumer]).drain()
        consumer.save()
        days = {name for name, _ in state.memory() if name.startswith("minutes/")}
        assert len(days) >= len(HOMES)
        consumer.judge.forget(T0 + 48 * HOUR)
        consumer.save()
        assert {name for name, _ in state.memory() if name.startswith("minutes/")} == set()
        consumer.replant(plant(pons=1, homes=8))
        consumer.save()
        assert {name for name, _ in state.memory() if name.startswith("home/")} == {f"home/{h}" for h in FIRST_PON}


def balise(tmp_path: Path, *args: str) -> str:
    run = CliRunner().invoke(app, [*args, "--data", str(tmp_path)])
    assert run.exit_code == 0, run.output
    return run.output


def test_an_incident_is_read_from_evidence_to_conclusion_and_followed(tmp_path: Path) -> None:
    fields = {
        "id": "Iabc",
        "kind": "line",
        "scope": "pon.P1",
        "state": "open",
        "element": "pon",
        "code": "P1",
        "part": False,
        "homes": 40,
        "measured": 16,
        "unmeasured": 24,
        "hit": 16,
        "since_ms": CUT,
        "cause": "unknown",
        "confidence": "probable",
        "paged": True,
        "evidence": "16 of 16 measured homes lost together; no record of theirs tells why yet",
    }
    with closing(State(tmp_path / "judge.db")) as state, state.transaction():
        state.tell(fields, CUT + MINUTE)
        state.tell(fields | {"state": "reviewed", "cause": "fibre", "until_ms": END}, END + MINUTE)
    assert json.loads(balise(tmp_path, "incidents", "list", "--json")) == []
    assert "Iabc\treviewed\tline\tpon P1" in balise(tmp_path, "incidents", "list", "--all")
    balise(tmp_path, "incidents", "ack", "Iabc", "--by", "noc", "--ticket", "T-1")
    balise(tmp_path, "incidents", "note", "Iabc", "splice made again")
    balise(tmp_path, "incidents", "close", "Iabc", "--why", "done")
    text = balise(tmp_path, "incidents", "show", "Iabc")
    for said in ("16 homes hit, of 16 measured there; 24 are not measured", "ack: noc T-1", "note: splice made again"):
        assert said in text
    said = json.loads(balise(tmp_path, "incidents", "show", "Iabc", "--json"))
    assert [f["what"] for f in said["follows"]] == ["ack", "note", "close"]
    assert [c["cause"] for c in said["changes"]] == ["unknown", "fibre"]
    with closing(State(tmp_path / "judge.db")) as state:
        assert state.waiting() == 3
        assert hook.load(tmp_path / "webhook.json") is None


def test_a_number_that_is_none_is_one_line_and_status_two(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["incidents", "show", "Inone", "--data", str(tmp_path)])
    assert (run.exit_code, run.output.count("\n")) == (2, 1)
