"""What must an InfluxDB have before Balise writes to it, and who may do what there?

A class of the catalogue is a retention policy on 1.x and a bucket on 2.x, so that what a class allows is over even
where the collector is not running any more. Two identities: the collector's writes, Grafana's reads.

Rule 1: what is there and as it should be is left alone; what is there and otherwise is changed, never made anew.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from balise_agent.catalogue import RETENTION_DAYS, Retention
from balise_collector.store import Unavailable
from balise_collector.store.influx.asking import Asking, identifier, text
from balise_collector.store.influx.http import Http, words
from balise_collector.store.influx.server import DEFAULT_POLICY, Server, ServerError, policy

_HOUR_S = 3_600
_DAY_S = 86_400

# InfluxDB deletes a shard once all of it is too old: its length is how much longer than allowed a point may live.
SHARD_S: dict[Retention, int] = {
    "raw_90d": _DAY_S,
    "tv_home_7d": 6 * _HOUR_S,
    "hour_13m": 7 * _DAY_S,
    "month_frozen": 182 * _DAY_S,  # a row a home a month
    "state": 7 * _DAY_S,
}

Role = Literal["collector", "grafana"]
ROLES: tuple[Role, ...] = ("collector", "grafana")
_MAY: dict[Role, Literal["write", "read"]] = {"collector": "write", "grafana": "read"}


class Done(NamedTuple):
    """What was changed, in words, and the credentials that were made now; one that was there already is not known."""

    changes: list[str]
    made: dict[Role, str]


def prepare(server: Server, days: Mapping[Retention, int | None] = RETENTION_DAYS) -> list[str]:
    """Makes what lines are written to; what was changed, in words. Unavailable; ServerError: it may not."""
    with closing(_open(server)) as opened:
        return list(opened.prepare(days))


def grant(server: Server, known: Mapping[Role, str]) -> Done:
    """Makes who may write and who may read, of what `prepare` made. ``known``: credentials that are kept here."""
    with closing(_open(server)) as opened:
        return opened.grant(known)


def asks_nobody(server: Server) -> bool:
    """Whether a 1.x lets anybody in: without a word of who asks it shows what it has."""
    with closing(Asking(Server(url=server.url))) as asking:
        try:
            asking.all(["SHOW DATABASES"], database="")
        except Unavailable:
            return False
    return True


def _open(server: Server) -> _Buckets | _Policies:
    return _Buckets(server) if server.org else _Policies(server)


class _Policies:
    """1.x, asked in InfluxQL."""

    def __init__(self, server: Server) -> None:
        self._asking, self._name = Asking(server), server.database

    def prepare(self, days: Mapping[Retention, int | None]) -> Iterator[str]:
        database = identifier(self._name)
        if self._name not in self._names("SHOW DATABASES"):
            self._do(f"CREATE DATABASE {database}")
            yield f"database {self._name}"
        there = {row["name"]: row for row in self._rows(f"SHOW RETENTION POLICIES ON {database}")}
        for retention in SHARD_S:
            name, kept_s, shard_s = policy(retention), *_spans_s(retention, days)
            wanted = {"duration": kept_s, "shardGroupDuration": shard_s, "default": name == DEFAULT_POLICY}
            found = there.get(name)
            if found is not None and all(_seconds(found[key]) == value for key, value in wanted.items()):
                continue
            verb = "CREATE" if found is None else "ALTER"
            default = " DEFAULT" if wanted["default"] else ""
            self._do(
                f"{verb} RETENTION POLICY {identifier(name)} ON {database} DURATION {_duration(kept_s)} "
                f"REPLICATION 1 SHARD DURATION {_duration(shard_s)}{default}"
            )
            yield f"retention policy {self._name}.{name}: {_duration(kept_s)}"

    def grant(self, known: Mapping[Role, str]) -> Done:
        """A user that is there keeps its password, unless nobody here knows it any more."""
        done = Done([], {})
        there = self._names("SHOW USERS")
        for role in ROLES:
            user = f"{self._name}_{role}"
            if user not in there:
                done.made[role] = self._password(user, "CREATE USER {} WITH PASSWORD {}")
                done.changes.append(f"user {user}")
            elif not known.get(role):
                done.made[role] = self._password(user, "SET PASSWORD FOR {} = {}")
                done.changes.append(f"user {user}: a new password")
            right = _MAY[role].upper()
            granted = {row["database"]: row["privilege"] for row in self._rows(f"SHOW GRANTS FOR {identifier(user)}")}
            if granted.get(self._name) != right:
                self._do(f"GRANT {right} ON {identifier(self._name)} TO {identifier(user)}")
                done.changes.append(f"user {user} may {_MAY[role]}")
        return done

    def close(self) -> None:
        self._asking.close()

    def _password(self, user: str, statement: str) -> str:
        password = secrets.token_urlsafe(24)
        self._do(statement.format(identifier(user), text(password)))
        return f"{user}:{password}"

    def _names(self, statement: str) -> set[str]:
        return {str(next(iter(row.values()))) for row in self._rows(statement)}

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        found = self._asking.all([statement], database="")[0]
        return [dict(zip(rows["columns"], row, strict=True)) for rows in found for row in rows.get("values", [])]

    def _do(self, statement: str) -> None:
        self._asking.all([statement], database="")


class _Buckets:
    """2.x, asked over its API."""

    def __init__(self, server: Server) -> None:
        self._http, self._server = Http(server), server

    def prepare(self, days: Mapping[Retention, int | None]) -> Iterator[str]:
        org_id = self._org_id()
        for retention in SHARD_S:
            name, kept_s, shard_s = self._server.bucket(retention), *_spans_s(retention, days)
            rule = {
                "type": "expire",
                "everySeconds": kept_s,
                "shardGroupDurationSeconds": shard_s,
            }
            found = self._bucket(name)
            if found is None:
                self._call("POST", "/api/v2/buckets", {"orgID": org_id, "name": name, "retentionRules": [rule]})
            elif all(_rule(found).get(key) == value for key, value in rule.items()):
                continue
            else:
                self._call("PATCH", f"/api/v2/buckets/{found['id']}", {"retentionRules": [rule]})
            yield f"bucket {name}: {_duration(kept_s)}"

    def grant(self, known: Mapping[Role, str]) -> Done:
        """A token that nobody here knows any more is replaced: InfluxDB 2.9 shows one only when it is made."""
        done = Done([], {})
        org_id = self._org_id()
        buckets = [str(found["id"]) for name in SHARD_S if (found := self._bucket(self._server.bucket(name)))]
        there = self._call("GET", "/api/v2/authorizations", params={"orgID": org_id})["authorizations"]
        for role in ROLES:
            description = f"Balise: {_MAY[role]} {self._server.database}"
            ours = [one for one in there if one["description"] == description]
            allowed = [sorted(right["resource"].get("id", "") for right in one["permissions"]) for one in ours]
            if known.get(role) and sorted(buckets) in allowed:
                continue
            for one in ours:
                self._call("DELETE", f"/api/v2/authorizations/{one['id']}")
            rights = [
                {"action": _MAY[role], "resource": {"type": "buckets", "id": bucket, "orgID": org_id}}
                for bucket in buckets
            ]
            wanted = {"orgID": org_id, "description": description, "permissions": rights}
            done.made[role] = str(self._call("POST", "/api/v2/authorizations", wanted)["token"])
            done.changes.append(f"token that may {_MAY[role]} {len(buckets)} buckets")
        return done

    def close(self) -> None:
        self._http.close()

    def _org_id(self) -> str:
        found = self._call("GET", "/api/v2/orgs", params={"org": self._server.org})["orgs"]
        if not found:
            raise ServerError(f"{self._http.where}: there is no organisation {self._server.org!r}")
        return str(found[0]["id"])

    def _bucket(self, name: str) -> dict[str, Any] | None:
        params = {"org": self._server.org, "name": name}
        status, answer = self._ask("GET", "/api/v2/buckets", params=params)
        if status == HTTPStatus.NOT_FOUND:
            return None
        found = self._checked(status, answer)["buckets"]
        return found[0] if found else None

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, params: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        return self._checked(*self._ask(method, path, body, params=params))

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, params: Mapping[str, str] = {}
    ) -> tuple[int, bytes]:
        sent = b"" if body is None else json.dumps(body).encode()
        answer = self._http.ask(method, path, params, sent, {"Content-Type": "application/json"})
        return answer.status, answer.body

    def _checked(self, status: int, body: bytes) -> dict[str, Any]:
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise ServerError(f"{self._http.where}: {status} {words(body)}")
        return dict(json.loads(body)) if body else {}


def _spans_s(retention: Retention, days: Mapping[Retention, int | None]) -> tuple[int, int]:
    """How long a class is kept (0: for ever), and its shards' length."""
    kept_s = (days[retention] or 0) * _DAY_S
    return kept_s, min(SHARD_S[retention], kept_s or SHARD_S[retention])


def _rule(bucket: Mapping[str, Any]) -> dict[str, Any]:
    rules = bucket.get("retentionRules") or [{"type": "expire", "everySeconds": 0}]
    return dict(rules[0])


def _duration(seconds: int) -> str:
    return f"{seconds // _HOUR_S}h" if seconds else "INF"


def _seconds(value: object) -> object:
    """1.x writes 2160h0m0s, and 0s for ever."""
    return (
        int(value.split("h")[0]) * _HOUR_S if isinstance(value, str) and "h" in value else 0 if value == "0s" else value
    )
