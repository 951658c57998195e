"""Which servers do the tests of InfluxDB run on?

Debian's InfluxDB 1.6.7 always, with its own configuration and files, on a port that the kernel chose; a 2.x where the
environment names one: BALISE_TEST_INFLUX2_URL, BALISE_TEST_INFLUX2_TOKEN (one that may do everything in the
organisation) and BALISE_TEST_INFLUX2_ORG.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from balise_collector.store import Unavailable
from balise_collector.store.influx.http import Http
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.setup import SHARD_S

READY_S = 60.0  # a busy machine

_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:0"

[meta]
  dir = "{folder}/meta"

[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"

[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false

[monitor]
  store-enabled = false
"""


class Influxd:
    """A server of 1.6.7 that may be killed and started again on its port."""

    def __init__(self, folder: Path, *, auth: bool = False) -> None:
        self.folder, self._auth, self._port = folder, auth, 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def server(self, database: str = "balise", credential: str = "") -> Server:
        return Server(url=self.url, database=database, credential=credential)

    def start(self) -> None:
        """Returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config, log = self.folder / "influxdb.conf", self.folder / "log"
        config.write_text(_CONFIG.format(folder=self.folder, port=self._port, auth=str(self._auth).lower()))
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [_influxd(), "run", "-config", str(config)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        until_s = time.monotonic() + READY_S
        while not self._answers(log):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def pause(self, *, on: bool) -> None:
        """A server that is there and does not answer."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def _answers(self, log: Path) -> bool:
        found = re.search(r"Listening on HTTP.*addr=127\.0\.0\.1:(\d+)", log.read_text())
        if found is None:
            return False
        self._port = int(found[1])
        with closing(Http(self.server())) as http:
            try:
                return http.ask("GET", "/ping", {}).status == 204
            except Unavailable:
                return False


def _influxd() -> str:
    found = shutil.which("influxd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    assert found, "influxd is not installed: sudo deploy/setup-debian.sh test"
    return found


@cache
def influx1() -> Influxd:
    """One for all tests of this run that do not hurt it."""
    folder = tempfile.mkdtemp(prefix="balise-influxd-")
    server = Influxd(Path(folder))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server.start()
    atexit.register(server.kill)
    return server


def influx2(database: str = "balise") -> Server | None:
    """The 2.x that the environment names, as one who may do everything there; None where it names none."""
    url = os.environ.get("BALISE_TEST_INFLUX2_URL")
    if not url:
        return None
    token, org = os.environ["BALISE_TEST_INFLUX2_TOKEN"], os.environ["BALISE_TEST_INFLUX2_ORG"]
    server = Server(url=url, database=database, org=org, credential=token)
    atexit.register(_sweep, server)
    return server


def _sweep(server: Server) -> None:
    """Nothing of a test stays on a server that is somebody's."""
    with closing(Http(server)) as http:
        for retention in SHARD_S:
            found = http.ask("GET", "/api/v2/buckets", {"org": server.org, "name": server.bucket(retention)})
            for bucket in json.loads(found.body).get("buckets", []):
                http.ask("DELETE", f"/api/v2/buckets/{bucket['id']}", {})


def servers(database: str) -> dict[str, Server]:
    """Each server there is, by a name for tests."""
    second = influx2(database)
    return {"influx1": influx1().server(database)} | ({"influx2": second} if second else {})
