"""Does `balise influx check` see every difference, and do `rewind` and `fill` cure it?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector import forward
from balise_collector.commands import dead_letters
from balise_collector.commands.influx import app
from balise_collector.directory import dates
from balise_collector.ingest import Ingest
from balise_collector.store import Point, influx
from balise_collector.store.influx import server as known
from balise_collector.store.influx.deleting import open_deleting
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.server import Server, Settings
from balise_collector.store.influx.setup import prepare
from tests.collector.influx.ground import NOW_MS, Ground, fill, path, place, points
from tests.collector.influx.servers import servers
from tests.collector.sender import Sender, row
from tests.collector.store.stores import FAR_MS

HOUR_MS, MINUTE_MS = 3_600_000, 60_000


@pytest.fixture(params=sorted(servers("none")))
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A store and an InfluxDB with the same three hours of four homes."""
    server = servers(f"c{secrets.token_hex(6)}")[request.param]
    prepare(server)
    (tmp_path / "token").write_text(server.credential)
    file = str(tmp_path / "token") if server.credential else ""
    settings = Settings(url=server.url, database=server.database, org=server.org, write_file=file)
    known.save(tmp_path, settings)
    with path(tmp_path, server, whose=settings.identity) as ground:
        fill(ground.journal, 180)
        ground.keep()
        ground.loop.drain()
        yield ground


def run(ground: Ground, command: str, *options: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, [command, *options, "--data", str(ground.folder)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, done.output.splitlines()


def take_away(server: Server, measurement: str, tags: dict[str, str], start_ms: int, end_ms: int) -> None:
    with closing(open_deleting(server)) as deleting:
        deleting.delete(measurement, tags, start_ms, end_ms)


def add(ground: Ground, *added: Point) -> None:
    with closing(influx.open_store(ground.server, ground.folder / "other.db")) as store:
        store.write(added, "test", 1)


def changed(point: Point, **changes: object) -> Point:
    values = {name: getattr(point, name) for name in point.__struct_fields__}
    return Point(**(values | changes))


def test_the_same_is_said_to_be_equal(ground: Ground) -> None:
    assert run(ground, "check") == (0, [f"equal: {4 * 180 * 7 + 1} points in {hours(ground)} hours"])
    assert run(ground, "check", "--every-point")[0] == 0


def hours(ground: Ground) -> int:
    return len({one.ts_ms // HOUR_MS for one in points(ground.journal)} | {NOW_MS // HOUR_MS})


def test_points_that_are_missing_are_named_with_their_hour_and_series(ground: Ground) -> None:
    at_ms = NOW_MS // HOUR_MS * HOUR_MS - HOUR_MS
    take_away(
        ground.server, "reach", {"home": "home0001", "target": "gw"}, at_ms + 5 * MINUTE_MS, at_ms + 8 * MINUTE_MS
    )
    status, said = run(ground, "check")
    assert status == 1
    assert said[0].split("\t") == [dates.write(at_ms), f"store {4 * 60 * 7}", f"InfluxDB {4 * 60 * 7 - 3}"]
    where = "home0001 probe0001 reach gw"
    assert said[1].split("\t") == [dates.write(at_ms), where, "3 only in the store, 0 only in InfluxDB, 0 unequal"]


def test_points_of_another_home_that_came_in_twice_are_named(ground: Ground) -> None:
    point = points(ground.journal)[0]
    add(ground, changed(point, home="nobody", probe="probe9999"))
    status, said = run(ground, "check")
    assert status == 1
    assert said[-1].endswith("0 only in the store, 1 only in InfluxDB, 0 unequal")
    assert "nobody probe9999 reach gw" in said[-1]


def test_a_value_that_differs_is_seen_where_every_point_is_asked_for(ground: Ground) -> None:
    point = points(ground.journal)[0]
    add(ground, changed(point, fields=point.fields | {"lost": 6}))
    assert run(ground, "check")[0] == 0
    status, said = run(ground, "check", "--every-point")
    assert (status, len(said)) == (1, 1)
    assert said[0].endswith("0 only in the store, 0 only in InfluxDB, 1 unequal")


def test_what_is_not_sent_yet_is_said(ground: Ground) -> None:
    fill(ground.journal, 2, probes=5)
    status, said = run(ground, "check")
    assert (status, said[0]) == (0, "journal: 10 rows are still to be sent")


def test_rewinding_sends_again_what_came_since(ground: Ground) -> None:
    take_away(ground.server, "dns", {}, 0, FAR_MS)
    assert run(ground, "check")[0] == 1
    since = dates.write(NOW_MS - MINUTE_MS)
    assert run(ground, "rewind", "--since", since) == (0, ["journal\t720 rows again", "derived\t1 rows again"])
    assert ground.journal.cursors()["influx:journal"] == 0
    ground.loop.drain()
    assert run(ground, "check", "--every-point")[0] == 0


def test_rewinding_to_what_has_not_come_yet_does_nothing(ground: Ground) -> None:
    since = dates.write(NOW_MS + HOUR_MS)
    assert run(ground, "rewind", "--since", since) == (0, ["journal\t0 rows again", "derived\t0 rows again"])
    assert ground.behind() == 0


def test_filling_brings_what_the_journal_holds_no_more(ground: Ground) -> None:
    take_away(ground.server, "web", {}, 0, FAR_MS)
    assert run(ground, "fill") == (0, [f"{4 * 180 * 7 + 1} points sent, 0 of them older than InfluxDB keeps"])
    assert run(ground, "check", "--every-point")[0] == 0


def test_an_influxdb_that_is_given_up_holds_no_rows_in_the_journal(ground: Ground) -> None:
    assert run(ground, "forget") == (0, ["forgotten"])
    assert [name for name in ground.journal.cursors() if name.startswith(forward.NAME)] == []
    assert run(ground, "forget") == (0, ["nothing was kept for it"])


@pytest.mark.parametrize("command", ["check", "rewind", "fill"])
def test_where_no_influxdb_is_known_it_is_said(tmp_path: Path, command: str) -> None:
    options = ["--since", "2026-01-01", "--data", str(tmp_path)]
    done = CliRunner().invoke(app, [command, *options])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert "balise influx init" in done.output


def test_a_refused_line_is_shown_with_influxdb_s_words_and_is_not_read_as_a_message(ground: Ground) -> None:
    with closing(open_post(ground.server)) as post:
        post.post("raw_90d", f'web,probe=x dns_ms="text" {NOW_MS}'.encode())
    message = Sender("probe0009").sends(row(0, "web", dns_ms=1.5), ts_ms=NOW_MS)
    Ingest(ground.journal, place, lambda: NOW_MS).take([message])
    ground.loop.drain()
    (letter,) = ground.journal.dead_letters()
    shown = CliRunner().invoke(dead_letters.app, ["show", str(letter["id"]), "--data", str(ground.folder)])
    assert shown.exit_code == 0, shown.output
    probe, words, line = shown.output.splitlines()
    assert probe == "probe    probe0009"
    assert "field type conflict" in words
    assert (
        line
        == f'line     web,building=b1,home=home0009,pon=p1,probe=probe0009,target=- outcome="ok",dns_ms=1.5 {NOW_MS}'
    )
    replayed = CliRunner().invoke(dead_letters.app, ["replay", "--data", str(ground.folder)])
    assert replayed.output.splitlines() == [
        "Lines that InfluxDB refused are in the store: balise influx rewind --since DATE sends them again"
    ]
