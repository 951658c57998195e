"""Does `balise influx init` make what Balise needs, no more, and the same when it is run again?"""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_agent.catalogue import CATALOGUE, RETENTION_DAYS
from balise_collector.commands.influx import app
from balise_collector.store import Unavailable
from balise_collector.store.influx import server as influx
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.http import Http
from balise_collector.store.influx.lines import OUTCOME, REASON, TAGS
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.server import Server, ServerError, Settings
from balise_collector.store.influx.setup import SHARD_S, prepare
from tests.collector.influx.ground import NOW_MS
from tests.collector.influx.servers import Influxd, influx1, influx2

ADMIN = "admin:an admin's password"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """A 1.6.7 that asks who one is."""
    influxd = Influxd(tmp_path_factory.mktemp("guarded"), auth=True)
    influxd.start()
    with closing(Asking(influxd.server())) as asking:
        asking.all(["CREATE USER admin WITH PASSWORD 'an admin''s password' WITH ALL PRIVILEGES".replace("''", "\\'")])
    yield influxd
    influxd.kill()


@pytest.fixture(params=["influx1"] + (["influx2"] if influx2() else []))
def admin(request: pytest.FixtureRequest) -> Server:
    """A server with the credential of one who may do everything, and a database that is not there yet."""
    database = f"s{secrets.token_hex(4)}"
    if request.param == "influx2":
        second = influx2(database)
        assert second
        return second
    guarded: Influxd = request.getfixturevalue("guarded")
    return guarded.server(database, ADMIN)


def init(data: Path, admin: Server) -> list[str]:
    data.mkdir(exist_ok=True)
    (data / "admin").write_text(admin.credential + "\n")
    options = ["--database", admin.database, "--data", str(data)]
    options += ["--admin-token-file", str(data / "admin")] if admin.credential else []
    run = CliRunner().invoke(app, ["init", admin.url, *options, *(["--org", admin.org] if admin.org else [])])
    assert run.exit_code == 0, run.output
    return run.output.splitlines()[:-1]


def write(server: Server, line: str = f"reach,target=gw lost=1i {NOW_MS}") -> None:
    with closing(open_post(server)) as post:
        post.post("raw_90d", line.encode())


def read(server: Server) -> int:
    with closing(Asking(server)) as asking:
        rows = asking.all(['SELECT count("lost") FROM "autogen"."reach"'])[0]
        return sum(int(series["values"][0][1]) for series in rows)


def seen(server: Server) -> int:
    """1.x refuses, 2.x shows nothing."""
    try:
        return read(server)
    except Unavailable:
        return 0


def test_the_collector_may_write_and_grafana_may_read_and_neither_may_more(tmp_path: Path, admin: Server) -> None:
    init(tmp_path, admin)
    settings = influx.load(tmp_path)
    assert settings
    collector, grafana = settings.writer(), settings.reader()
    write(collector)
    assert read(grafana) == 1
    with pytest.raises(Unavailable, match=r"40[13]"):
        write(grafana)
    assert seen(collector) == 0
    for server in (collector, grafana):
        with pytest.raises((Unavailable, ServerError)):
            prepare(Server(url=server.url, database="other", org=server.org, credential=server.credential))


def test_each_class_is_kept_as_long_as_the_catalogue_says(tmp_path: Path, admin: Server) -> None:
    init(tmp_path, admin)
    assert kept_hours(admin) == {
        influx.policy(retention): days * 24 if days else 0 for retention, days in RETENTION_DAYS.items()
    }


def test_a_second_run_changes_nothing_and_keeps_the_secrets(tmp_path: Path, admin: Server) -> None:
    first = init(tmp_path, admin)
    files = {path: path.read_text() for path in (tmp_path / "influx").iterdir()}
    assert len(first) == 1 * (not admin.org) + 5 + 2 * (1 if admin.org else 2)
    assert init(tmp_path, admin) == ["nothing to change"]
    assert {path: path.read_text() for path in (tmp_path / "influx").iterdir()} == files


def test_what_was_changed_by_hand_is_put_right(tmp_path: Path, admin: Server) -> None:
    init(tmp_path, admin)
    prepare(admin, dict.fromkeys(SHARD_S, 1000))
    changed = init(tmp_path, admin)
    assert len(changed) == 5
    assert any("2160h" in line for line in changed)
    assert init(tmp_path, admin) == ["nothing to change"]


def test_a_secret_that_was_lost_is_made_anew_and_the_old_one_is_worth_nothing(tmp_path: Path, admin: Server) -> None:
    init(tmp_path, admin)
    settings = influx.load(tmp_path)
    assert settings
    old = settings.writer()
    (tmp_path / "influx" / "collector.token").unlink()
    assert len(init(tmp_path, admin)) == 1
    with pytest.raises(Unavailable, match="401"):
        write(old)
    write(settings.writer())


def test_secrets_are_for_this_user_alone_and_are_in_no_output(tmp_path: Path, admin: Server) -> None:
    said = "\n".join(init(tmp_path, admin))
    for name in ("collector.token", "grafana.token", "server.json"):
        path = tmp_path / "influx" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = influx.load(tmp_path)
    assert settings
    for server in (settings.writer(), settings.reader()):
        assert server.credential
        assert server.credential.rpartition(":")[2] not in said + repr(server)


def test_one_that_asks_nobody_is_said_to(tmp_path: Path) -> None:
    assert any("auth-enabled" in line for line in init(tmp_path, influx1().server(f"s{secrets.token_hex(4)}")))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("influx:8086", "no address"),
        ("http://", "no address"),
        ("http://host:port", "no address"),
        ("http://user:secret@host:8086", "belongs into a file"),
        ("http://127.0.0.1:1", "127.0.0.1:1: "),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(tmp_path: Path, url: str, why: str) -> None:
    run = CliRunner().invoke(app, ["init", url, "--data", str(tmp_path)])
    assert (run.exit_code, len(run.output.splitlines())) == (2, 1)
    assert why in run.output
    assert "secret" not in run.output.replace("secret belongs", "")


def test_an_administrator_s_wrong_secret_is_one_line(tmp_path: Path, admin: Server) -> None:
    (tmp_path / "wrong").write_text("admin:wrong" if not admin.org else "wrong")
    options = ["--admin-token-file", str(tmp_path / "wrong"), "--data", str(tmp_path)]
    run = CliRunner().invoke(app, ["init", admin.url, *options, *(["--org", admin.org] if admin.org else [])])
    assert (run.exit_code, len(run.output.splitlines())) == (2, 1)


def test_a_cursor_is_of_one_address_database_and_organisation() -> None:
    one = Settings(url="http://a:1")
    assert not one.is_same(None)
    assert one.is_same(Settings(url="http://a:1", write_file="x"))
    others = (Settings(url="http://b:1"), Settings(url="http://a:1", database="x"), Settings(url="http://a:1", org="x"))
    assert not any(one.is_same(other) for other in others)


def test_no_field_of_the_catalogue_is_called_like_a_tag_or_an_outcome() -> None:
    taken = {*TAGS, OUTCOME, REASON, "time"}
    assert [(m.name, f.name) for m in CATALOGUE.values() for f in m.fields if f.name in taken or ":" in f.name] == []


def test_every_class_of_the_catalogue_has_a_policy() -> None:
    assert SHARD_S.keys() == RETENTION_DAYS.keys()
    assert all(SHARD_S[retention] <= (days or 10_000) * 86_400 for retention, days in RETENTION_DAYS.items())


def kept_hours(admin: Server) -> dict[str, int]:
    """By policy, as the server tells."""
    if admin.org:
        return {influx.policy(retention): bucket_hours(admin, admin.bucket(retention)) for retention in SHARD_S}
    with closing(Asking(admin)) as asking:
        rows = asking.all([f'SHOW RETENTION POLICIES ON "{admin.database}"'])[0][0]
    return {row[0]: int(row[1].partition("h")[0]) if "h" in row[1] else 0 for row in rows["values"]}


def bucket_hours(admin: Server, name: str) -> int:
    with closing(Http(admin)) as http:
        answer = http.ask("GET", "/api/v2/buckets", {"org": admin.org, "name": name})
    (bucket,) = json.loads(answer.body)["buckets"]
    return int(sum(rule["everySeconds"] for rule in bucket["retentionRules"])) // 3600
