"""A server on loopback that answers as Grafana's HTTP API documents: health, folders, dashboards, annotations.

Written from grafana.com/docs (HTTP API: Folder, Dashboard, Annotations). A writing of a dashboard whose version is not
the newest is refused with 412, as documented.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "glsa_a-token-of-a-test"
Answer = tuple[int, Any]


@dataclass(slots=True)
class Grafana:
    """What the server holds, and how it misbehaves: ``broken`` is the status of every answer, where it is not 0."""

    version: str = "12.1.0"
    broken: int = 0
    plain: bool = False
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    permissions: dict[str, Any] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    writes: int = 0
    race: bool = False
    keeps_open: bool = False
    url: str = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """Status and JSON."""
        if self.broken:
            return self.broken, {"message": "as it was told to"}
        if method != "GET":
            self.writes += 1
        for verb, pattern, handle in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                answer: Answer = handle(self, query, body, *found.groups())
                return answer
        return 404, {"message": "Not found"}

    def _health(self, _query: Any, _body: Any) -> Answer:
        return 200, {"database": "ok", "version": self.version}

    def _folder(self, _query: Any, _body: Any, uid: str) -> Answer:
        found = self.folders.get(uid)
        return (200, found) if found else (404, {"message": "folder not found"})

    def _new_folder(self, _query: Any, body: Any) -> Answer:
        if body["uid"] in self.folders:
            return 409, {"message": "folder with that uid exists"}
        self.folders[body["uid"]] = {"uid": body["uid"], "title": body["title"], "version": 1}
        return 200, self.folders[body["uid"]]

    def _change_folder(self, _query: Any, body: Any, uid: str) -> Answer:
        found = self.folders[uid]
        if not body.get("overwrite") and body.get("version") != found["version"]:
            return 412, {"message": "the folder has been changed by someone else"}
        found.update(title=body["title"], version=found["version"] + 1)
        return 200, found

    def _permitted(self, _query: Any, _body: Any, uid: str) -> Answer:
        """Of a new folder: what Grafana gives the roles by itself."""
        whole = {"items": [{"role": "Editor", "permission": 2}, {"role": "Viewer", "permission": 1}]}
        return 200, self.permissions.get(uid, whole)["items"]

    def _permit(self, _query: Any, body: Any, uid: str) -> Answer:
        if self.keeps_open:
            return 500, {"message": "failed to set permissions"}
        self.permissions[uid] = body
        return 200, {"message": "Folder permissions updated"}

    def _dashboard(self, _query: Any, _body: Any, uid: str) -> Answer:
        found = self.dashboards.get(uid)
        return (200, found) if found else (404, {"message": "Dashboard not found"})

    def _write_dashboard(self, _query: Any, body: Any) -> Answer:
        dashboard, uid = dict(body["dashboard"]), body["dashboard"]["uid"]
        known = self.dashboards.get(uid)
        newest = known["dashboard"]["version"] if known else 0
        if self.race or (known and not body.get("overwrite") and dashboard.get("version") != newest):
            return 412, {"status": "version-mismatch", "message": "The dashboard has been changed by someone else"}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        dashboard.update(id=len(self.dashboards) + 1, version=newest + 1)
        self.dashboards[uid] = {"dashboard": dashboard, "meta": {"folderUid": body["folderUid"]}}
        return 200, {"uid": uid, "version": newest + 1, "status": "success"}

    def _find_annotations(self, query: dict[str, list[str]], _body: Any) -> Answer:
        tags, first, last = query.get("tags", []), int(query["from"][0]), int(query["to"][0])
        found = [
            one
            for one in self.annotations
            if set(tags) <= set(one["tags"]) and one["time"] <= last and one["timeEnd"] >= first
        ]
        return 200, found[: int(query.get("limit", ["100"])[0])]

    def _new_annotation(self, _query: Any, body: Any) -> Answer:
        self.annotations.append({**body, "id": len(self.annotations) + 1})
        return 200, {"message": "Annotation added", "id": len(self.annotations)}

    def _change_annotation(self, _query: Any, body: Any, number: str) -> Answer:
        self.annotations[int(number) - 1].update(body)
        return 200, {"message": "Annotation patched"}


_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/health", Grafana._health),
    ("GET", r"/api/folders/([\w-]+)", Grafana._folder),
    ("POST", "/api/folders", Grafana._new_folder),
    ("PUT", r"/api/folders/([\w-]+)", Grafana._change_folder),
    ("GET", r"/api/folders/([\w-]+)/permissions", Grafana._permitted),
    ("POST", r"/api/folders/([\w-]+)/permissions", Grafana._permit),
    ("GET", r"/api/dashboards/uid/([\w-]+)", Grafana._dashboard),
    ("POST", "/api/dashboards/db", Grafana._write_dashboard),
    ("GET", "/api/annotations", Grafana._find_annotations),
    ("POST", "/api/annotations", Grafana._new_annotation),
    ("PATCH", r"/api/annotations/(\d+)", Grafana._change_annotation),
]


@contextmanager
def running() -> Iterator[Grafana]:
    """A Grafana on a port that the kernel chose."""
    grafana = Grafana()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                status, said = grafana.answer(self.command, parts.path, parse_qs(parts.query), body)
            else:
                status, said = 401, {"message": "Invalid API key"}
            text = b"<html>a proxy</html>" if grafana.plain else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = _handle  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    grafana.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield grafana
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
