"""What does speedtest-cli say of the line?

Indicative, never a contract's figure: of 800 Mbit/s at a round trip of 20 ms it reads 53 to 62 %, and of an upload it
counts what it handed to the socket. It takes 175 to 192 MB, in the test's own process.

Rule 1: against `balise target` it is under a lease, whose name is in its paths; against its own servers, under none.
"""

from __future__ import annotations

import time
from importlib import metadata
from typing import Any

from balise_agent.contract import failed, skipped
from balise_agent.net.throughput.dialogue import TroubleError
from balise_agent.net.throughput.session import Say, Session

LABEL = "indicative"
FAILED_PING_MS = 600_000.0  # it counts a round trip that failed as an hour, of six

# What www.speedtest.net/speedtest-config.php tells a client, which 2.1.3 fetches whatever its server is.
CONFIG: dict[str, Any] = {
    "client": {"ip": "0.0.0.0", "lat": "0", "lon": "0", "isp": "", "country": ""},  # noqa: S104 - none
    "ignore_servers": [],
    "sizes": {
        "upload": [524_288, 1_048_576, 7_340_032],
        "download": [350, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000],
    },
    "counts": {"upload": 17, "download": 4},
    "threads": {"upload": 2, "download": 8},
    "length": {"upload": 10, "download": 10},
    "upload_max": 51,
}

Fields = dict[str, int | float | str | bool]


def installed() -> Any:
    """The module of the extra `speedtest`."""
    try:
        import speedtest
    except ImportError:
        raise TroubleError(skipped("no_speedtest_cli")) from None
    return speedtest


def against_target(module: Any, session: Session, only: str, say: Say) -> Fields:
    """Against the target that gave the lease."""
    host = session.peer.address[0]
    where = f"[{host}]" if ":" in host else host
    tool = _own(module)()
    tool.set_mini_server(f"http://{where}:{session.peer.address[1]}/mini/{session.lease.id}")
    return _run(tool, tool.servers, only, say)


def against_public(module: Any, only: str, say: Say) -> Fields:
    """Against the nearest of its own servers; over TLS, since its configuration over plain HTTP is refused."""
    tool = module.Speedtest(secure=True)
    tool.get_servers([])
    return _run(tool, None, only, say)


def reading(module: Any, session: Session | None, only: str, say: Say) -> Fields:
    """Fields of a `speedtest` record; ``session`` None: its own servers."""
    fields: Fields = {"label": LABEL, "engine": f"speedtest-cli {metadata.version('speedtest-cli')}"}
    try:
        found = against_public(module, only, say) if session is None else against_target(module, session, only, say)
    except (module.SpeedtestException, OSError, ValueError):
        raise TroubleError(failed("speedtest_failed")) from None
    if not any(name.endswith("_bps") for name in found):
        raise TroubleError(failed("stalled"))
    return fields | found


def _run(tool: Any, servers: Any, only: str, say: Say) -> Fields:
    begun_s = time.monotonic()
    ping_ms = float(tool.get_best_server(servers)["latency"])
    fields: Fields = {} if ping_ms >= FAILED_PING_MS else {"ping_us": round(ping_ms * 1_000)}
    for direction, measure, more in (("down", tool.download, {}), ("up", tool.upload, {"pre_allocate": False})):
        if only not in ("both", direction):
            continue

        def told(*_: object, way: str = direction, **__: object) -> None:
            say(way, time.monotonic() - begun_s, 0)

        rate = round(measure(callback=told, **more))
        if rate > 0:
            fields[f"{direction}_bps"] = rate
    return fields


def _own(module: Any) -> Any:
    class Own(module.Speedtest):  # type: ignore[misc]
        """With the configuration at hand: nothing is asked of anybody but the target."""

        def get_config(self) -> dict[str, Any]:
            self.lat_lon = (0.0, 0.0)
            self.config.update({name: _copy(value) for name, value in CONFIG.items()})
            return self.config  # type: ignore[no-any-return]

    return Own


def _copy(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value
