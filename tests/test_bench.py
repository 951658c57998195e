"""Does what is measured happen at all? Small runs on real parts, for their answers and never for their time."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from balise_agent.codec import decode_batch
from balise_agent.contract import Batch, token
from balise_agent.outbox import Outbox

sys.path.append(str(Path(__file__).parents[1]))  # `bench` is no part of the distribution

from bench import back, card, directory, ground, influx, ingest, latency, table, trouble
from bench.__main__ import HEAD, put
from bench.loader import _next_packet
from bench.messages import FIELDS_A_POINT, POINTS_A_MESSAGE, Source, packet, packets

PROBES, EACH = 5, 30


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> ground.Ground:
    return ground.prepare(tmp_path_factory.mktemp("bench") / "data", PROBES)


@pytest.fixture(scope="module")
def load(where: ground.Ground) -> ingest.Load:
    now_ms = time.time_ns() // 1_000_000
    return {probe: packets(probe, EACH, "test", now_ms) for probe in where.passwords}


def test_a_message_is_one_of_the_contract_with_seven_points_of_five_fields() -> None:
    batch = decode_batch(Source(probe="k3v9q2xa7m", rng=random.Random(1)).next(1_764_000_000_000))
    assert isinstance(batch, Batch)
    assert [len(record.fields) for record in batch.body.records] == [FIELDS_A_POINT] * POINTS_A_MESSAGE


def test_every_message_that_is_poured_in_is_journaled_once_and_acknowledged(
    where: ground.Ground, load: ingest.Load, tmp_path: Path
) -> None:
    figure = ingest.balise(where, load, tmp_path / "run")
    assert figure.points_a_s > 0
    assert set(figure.cpu_us) == {"broker", "collector", "loader"}


def test_the_whole_collector_takes_them_too(where: ground.Ground, load: ingest.Load, tmp_path: Path) -> None:
    assert ingest.served(where, load, tmp_path / "run").points_a_s > 0


def test_the_peer_commits_all_of_them(where: ground.Ground, load: ingest.Load, tmp_path: Path) -> None:
    assert ingest.bare(where, load, tmp_path / "run").points_a_s > 0


def test_a_journal_that_lacks_a_message_does_not_pass(where: ground.Ground, load: ingest.Load, tmp_path: Path) -> None:
    ingest.balise(where, load, tmp_path / "run")
    with pytest.raises(AssertionError):
        ingest.check_journal(tmp_path / "run" / "journal.db", PROBES * EACH + 1)


@pytest.mark.parametrize("tls", [False, True])
def test_messages_at_a_pace_are_timed_one_by_one(tmp_path: Path, tls: bool) -> None:
    figure = latency.measure(tmp_path, seconds=2, tls=tls, probes=3, every_s=0.5)
    assert figure.messages >= 3
    assert 0 < figure.p50_ms <= figure.p95_ms <= figure.max_ms


def test_probes_that_come_back_over_tls_bring_all_they_have_while_others_go_on(tmp_path: Path) -> None:
    found = back.measure(tmp_path, probes=PROBES, each=EACH, plain_each=EACH, failures=0)
    assert found.messages == PROBES * EACH
    assert found.live > 0
    assert found.share > 0


def test_a_directory_of_either_kind_is_beside_the_same_load(tmp_path: Path) -> None:
    found = directory.measure(tmp_path, runs=1, probes=PROBES, homes=2 * PROBES, each=EACH)
    assert found.share == found.postgresql[0] / found.sqlite[0] > 0


def test_a_backlog_and_what_comes_are_counted_in_influxdb(tmp_path: Path) -> None:
    with influx.debian(tmp_path) as influxd:
        found = influx.measure(influxd.server(), tmp_path, probes=PROBES, messages=EACH, runs=1, influxd=influxd.pid)
    assert found.cpu_us.keys() == {"broker", "collector", "forwarder", "loader", "InfluxDB"}
    assert len(found.backlog) == len(found.bare) == len(found.live) == 1


def test_a_fault_of_influxdb_is_named_and_all_is_sent_in_the_end(tmp_path: Path) -> None:
    causes = {name: trouble.CAUSES[name] for name in ("503", "refusing")}
    found = trouble.measure(tmp_path, causes=causes, each=EACH)
    assert found.named_s.keys() == causes.keys()
    assert found.missing == 0 < found.points


def test_packets_are_read_however_they_are_cut() -> None:
    stream = packet(0x30, b"a" * 3) + packet(0x40, b"b" * 200)
    assert _next_packet(stream, 0) == (0x30, 2, 5)
    assert _next_packet(stream, 5) == (0x40, 8, 208)
    assert all(_next_packet(stream[5:end], 0) is None for end in range(5, len(stream)))


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[card.Probe]:
    clock = card.Time()
    with closing(Outbox(tmp_path / "outbox.db", boot=token(b"b" * 16), clock=clock)) as outbox:
        yield card.Probe(outbox=outbox, time=clock, seed="k3v9q2xa7m", settle=lambda: None, settle_s=5.0)


def test_the_probes_of_a_card_share_one_commit_a_minute_and_seal_each_time(probe: card.Probe) -> None:
    probe.live(3_600)
    assert probe.commits == 60
    messages = [decode for message in probe.outbox.waiting(0, 100) if (decode := message.envelope.seq)]
    assert len(messages) <= 2  # the last; all others were acknowledged


def row(**changes: object) -> table.Row:
    values: dict[str, object] = {"work": "ingest", "unit": "points/s", "figure": 61_234.5, "goal": ">= 60,000"}
    values |= {"holds": True, "runs": (61_234.5,), "conditions": "1,000 probes"}
    return table.Row(**(values | changes))  # type: ignore[arg-type]


def test_a_row_says_its_figure_its_goal_and_its_peer() -> None:
    found = table.cells(row(peer="bare", peer_figure=100_000.0))
    assert found == ("ingest", "61,234 points/s", ">= 60,000", "holds", "bare", "100,000", "0.61")
    assert table.cells(row(holds=False))[3] == "short"
    assert table.as_json([row()])["rows"][0]["verdict"] == "holds"
    json.dumps(table.as_json([row()]))


def test_a_document_keeps_what_stands_above_its_table(tmp_path: Path) -> None:
    path = tmp_path / "bench.md"
    path.write_text(f"# By hand\n\n{HEAD}\nan old table\n")
    put(path, [row()])
    put(path, [row()])
    text = path.read_text()
    assert text.startswith(f"# By hand\n\n{HEAD}\nMeasured on ")
    assert text.count("| ingest |") == 1
    assert "an old table" not in text


def test_rows_that_are_measured_apart_make_one_table_in_a_document_too(tmp_path: Path) -> None:
    path = tmp_path / "bench.md"
    put(path, [row(), row(work="ping | bias", figure=-5.0, unit="us")])
    put(path, [row(figure=70_000.0), row(work="card")], add=True)
    lines = path.read_text().splitlines()
    assert [line.split(" | ")[:2] for line in lines if line.startswith("| ")][1:] == [
        ["| ingest", "70,000 points/s"],
        ["| ping / bias", "-5.00 us"],
        ["| card", "61,234 points/s"],
    ]
    assert [line.partition(":")[0] for line in lines if line.startswith("- ")] == [
        "- **ingest**",
        "- **ping / bias**",
        "- **card**",
    ]
