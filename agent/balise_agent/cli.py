"""What did the person at the keyboard ask of the agent?

Exit status: 0 it worked; 1 it was tried and did not; 2 it could not be tried: usage or configuration.

Rule 1: each command imports what it needs when it runs: `--version` costs no asyncio, `once` no MQTT.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balise_agent.usage import OneLine

if TYPE_CHECKING:
    from balise_agent.clock import Clock
    from balise_agent.config import AgentConfig
    from balise_agent.contract import Record
    from balise_agent.probes.context import Context

CONFIG = Path("/etc/balise/agent.toml")
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_CLEARED = "\r\033[K"
_WINDOW_S = 3.0  # of `once reach`: 15 echoes are enough to see whether a peer answers
_LABEL = "once"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line()
    args = parser.parse_args(argv)
    if "command" not in args:  # nothing was asked
        parser.print_help()
        return USAGE
    try:
        return int(args.command(args))
    except KeyboardInterrupt:
        # On a terminal the progress of a test stands in this line.
        print(f"{_CLEARED if sys.stderr.isatty() else ''}balise-agent: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head`; what Python flushes at its end must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def language(environ: Mapping[str, str]) -> str:
    """fr or en, as the locale's variables say (locale(7): LC_ALL, LC_MESSAGES, LANG)."""
    chosen = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "fr" if chosen.startswith("fr") else "en"


def command_line() -> argparse.ArgumentParser:
    """What may be asked; the documentation is held against it."""
    parser = OneLine(prog="balise-agent", description="Measures the line of one home.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND")

    run = commands.add_parser("run", help="measure and report until stopped")
    run.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help=f"TOML; default {CONFIG}")
    run.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="instead of the configuration's"
    )
    run.set_defaults(command=_run)

    once = commands.add_parser("once", help="run one probe now and print what it measured")
    once.add_argument("probe", metavar="PROBE", help="reach, dns, web, host, voice, throughput, …")
    once.add_argument(
        "--config", type=Path, metavar="FILE", help="measure its targets; default: this machine's loopback"
    )
    once.add_argument("--json", action="store_true", help="one JSON object a record")
    once.add_argument("--debug", action="store_true", help="the whole log, on stderr")
    once.add_argument("--host", metavar="HOST", help="reach, dns, voice: the peer")
    once.add_argument("--port", type=int, metavar="N", help="reach (stamp), dns, voice: its port")
    once.add_argument("--method", choices=("icmp", "stamp"), help="reach")
    window = f"reach: length of the window; voice: of the call; default {_WINDOW_S:g}; "
    window += "tv, hls: of the sample; default 10, 20"
    once.add_argument("--seconds", type=float, metavar="S", help=window)
    once.add_argument("--name", metavar="NAME", help="dns: the name to ask for")
    once.add_argument(
        "--url",
        metavar="URL",
        help="web: the object to fetch; tv: udp://GROUP:PORT, rtp://SOURCE@GROUP:PORT; hls: the playlist",
    )
    once.add_argument(
        "--target", metavar="URL", help="throughput, loaded, udp_capacity: a `balise target`; it fills the line"
    )
    once.add_argument("--file", type=Path, metavar="F", help="tv: a transport stream, instead of a channel")
    once.add_argument("--shape", choices=("light", "full"), help="throughput: 1 + 3 s each way, or 3 + 10 s")
    once.add_argument("--only", choices=("down", "up"), help="throughput, loaded, udp_capacity: one way")
    once.set_defaults(command=_once)

    listed = commands.add_parser("channels", help="read a channel list, M3U or TOML, and print it as channels.toml")
    listed.add_argument("file", type=Path, metavar="FILE")
    listed.set_defaults(command=_channels)

    check = commands.add_parser("check", help="say in plain words what works and what does not")
    check.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help=f"TOML; default {CONFIG}")
    check.add_argument("--json", action="store_true", help="one JSON object")
    check.add_argument("--lang", choices=("en", "fr"), default=language(os.environ), help="default: the locale's")
    check.set_defaults(command=_check)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: importlib.metadata takes 20 ms."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"balise-agent {metadata.version('balise')}")
        parser.exit(OK)


def _run(args: argparse.Namespace) -> int:
    from balise_agent import logs, single
    from balise_agent.config import ConfigError, load

    try:
        config = load(args.config)
        logs.set_up(args.log_level or config.agent.log_level, sys.stdout)
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if single.take(config.state_dir) is None:
            return _complain(f"{config.state_dir}: another agent uses it")

        from balise_agent import agent

        return agent.run(config)
    except ConfigError as exc:
        return _complain(str(exc))
    except OSError as exc:
        if exc.filename is None:
            raise
        return _complain(f"{exc.filename}: {exc.strerror}")


def _check(args: argparse.Namespace) -> int:
    from balise_agent import doctor
    from balise_agent.clock import SystemClock

    def clock(config: AgentConfig | None) -> Clock:
        return SystemClock(trust=config is not None and config.agent.clock == "trust")

    findings = doctor.examine(args.config, clock)
    print(json.dumps(doctor.as_json(findings, args.lang)) if args.json else doctor.as_text(findings, args.lang))
    return FAILED if doctor.has_fault(findings) else OK


def _once(args: argparse.Namespace) -> int:
    if args.file is not None:
        return _file(args)
    import asyncio

    from balise_agent import logs
    from balise_agent.clock import SystemClock
    from balise_agent.config import ConfigError, load
    from balise_agent.probes import PROBES
    from balise_agent.runner import run_once

    logs.set_up("debug" if args.debug else "warning", sys.stderr)
    if args.probe not in PROBES:
        return _complain(f"{args.probe}: no such probe; known are {', '.join(PROBES)}")
    try:
        config = None if args.config is None else load(args.config)
    except ConfigError as exc:
        return _complain(str(exc))
    settings, faults = _settings_once(args, config)
    if faults:
        return _complain("\n".join(faults))
    clock = SystemClock(trust=config is not None and config.agent.clock == "trust")
    records = asyncio.run(run_once(args.probe, settings, _context(config, clock)))
    if not records:
        why = _NOTHING.get(args.probe) if config is None else None
        return _complain(f"{args.probe}: {why or 'the configuration names nothing to measure'}")
    for record in records:
        print(_as_json(record, clock) if args.json else _as_line(record))
    fine = all(record.outcome.kind == "ok" and record.measurement != "agent_event" for record in records)
    return OK if fine else FAILED


def _file(args: argparse.Namespace) -> int:
    from balise_agent.ts_file import analyse, show

    if args.probe != "tv":
        return _complain(f"--file: not an option of {args.probe}")
    try:
        print(show(analyse(args.file), as_json=args.json))
    except OSError as exc:
        return _complain(f"{args.file}: {exc.strerror}")
    return OK


def _channels(args: argparse.Namespace) -> int:
    from balise_agent import channels

    try:
        found, faults = channels.read(args.file.read_bytes(), most=channels.MOST_ENTRIES)
    except OSError as exc:
        return _complain(f"{args.file}: {exc.strerror}")
    if faults:
        return _complain("\n".join(faults))
    print(channels.dump(found))
    if len(found) > channels.MOST_CHANNELS:
        _complain(
            f"{len(found)} channels: the agent watches {channels.MOST_CHANNELS} at most; leave those out that are more"
        )
    return OK


def _settings_once(args: argparse.Namespace, config: AgentConfig | None) -> tuple[Any, list[str]]:
    """The probe's settings: the configuration's, or one target of the options and loopback defaults; or faults."""
    from balise_agent.probes import PROBES
    from balise_agent.settings import as_table, build

    given = {name: value for name in _OPTIONS if (value := getattr(args, name)) is not None}
    foreign = [name for name in given if name not in _QUICK.get(args.probe, ("", {}))[1]]
    if foreign:
        return None, [f"--{name}: not an option of {args.probe}" for name in foreign]
    if config is not None and not given:
        return config.probes[args.probe], []
    if args.probe not in _QUICK:
        return PROBES[args.probe].settings(), []
    field, defaults = _QUICK[args.probe]
    table = {name: value for name, value in (defaults | given).items() if value is not None}
    own = _WHOLE | {"seconds": _SECONDS.get(args.probe, "interval_s")}
    whole = {key: table.pop(name) for name, key in own.items() if name in table}
    if "target" in table:
        table["url"] = table.pop("target")
    if config is not None and not given.keys() - _WHOLE.keys():
        return build(PROBES[args.probe].settings, as_table(config.probes[args.probe]) | whole, args.probe)
    return build(PROBES[args.probe].settings, {field: [{"label": _LABEL} | table]} | whole, args.probe)


_NOTHING = {  # why options alone may name nothing
    "wifi": "no interface of this machine is wireless",
    "tv": "a playlist over HTTP is measured by `once hls --url URL`",
    "hls": "a channel over UDP is measured by `once tv --url URL`",
}
_SECONDS = {"voice": "talk_s", "tv": "listen_s", "hls": "listen_s"}  # what --seconds sets, else the length of a window
_OPTIONS = ("host", "port", "method", "seconds", "name", "url", "target", "shape", "only")
_WHOLE = {"seconds": "interval_s", "shape": "shape", "only": "only", "loaded": "loaded"}  # no setting of one target
# probe -> the list of its targets, and a target's options with their loopback defaults (None: the settings' own)
_QUICK: dict[str, tuple[str, dict[str, Any]]] = {
    "reach": ("targets", {"host": "127.0.0.1", "port": None, "method": "icmp", "seconds": _WINDOW_S, "every_s": 0.2}),
    "dns": ("resolvers", {"host": "127.0.0.1", "port": None, "name": "localhost"}),
    "web": ("objects", {"url": "http://127.0.0.1/"}),
    "tv": ("channels", {"url": "udp://239.255.0.1:5004", "seconds": None}),
    "hls": ("channels", {"url": "http://127.0.0.1/index.m3u8", "seconds": None}),
    "voice": ("paths", {"host": "127.0.0.1", "port": 5060, "seconds": _WINDOW_S}),
    # `once loaded` is asked for by itself: here is one record, of one target.
    "throughput": (
        "targets",
        {"target": "http://127.0.0.1:8080", "role": "any", "shape": None, "only": None, "loaded": False},
    ),
    "loaded": ("targets", {"target": "http://127.0.0.1:8080", "role": "any", "only": None}),
    "udp_capacity": ("targets", {"target": "http://127.0.0.1:8080", "role": "any", "only": None}),
    "speedtest": ("targets", {"target": "http://127.0.0.1:8080", "role": "any", "only": None}),
}


def _context(config: AgentConfig | None, clock: Clock) -> Context:
    import random
    import time

    from balise_agent.probes.context import Context

    state_dir = Path("/") if config is None else config.state_dir
    return Context(
        now_bt_ms=clock.bt_ms,
        monotonic=time.monotonic,
        rng=random.Random(),
        rows_waiting=lambda: _rows_waiting(state_dir / "outbox.db"),
        clock_ok=clock.synchronised,
        state_dir=state_dir,
        asked=True,
    )


def _rows_waiting(path: Path) -> int | None:
    """What the agent's outbox holds; it is only read. None: the agent runs and has it to itself."""
    if not path.exists():
        return 0

    import sqlite3
    from contextlib import closing

    sql = "SELECT (SELECT count(*) FROM pending) + (SELECT count(*) FROM outbox WHERE acked IS NULL)"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)) as db:
        try:
            return int(db.execute(sql).fetchone()[0])
        except sqlite3.OperationalError:
            return None


def _as_json(record: Record, clock: Clock) -> str:
    """``ts_ms`` is null where the clock is not known to be right."""
    ts_ms = clock.wall_ms() - clock.bt_ms() + record.bt_ms if clock.synchronised() else None
    values: dict[str, Any] = {"measurement": record.measurement, "target": record.target}
    values |= {"outcome": record.outcome.kind, "reason": record.outcome.reason}
    return json.dumps(values | {"bt_ms": record.bt_ms, "ts_ms": ts_ms, "fields": dict(record.fields)})


def _as_line(record: Record) -> str:
    outcome = (
        record.outcome.kind if record.outcome.reason is None else f"{record.outcome.kind} ({record.outcome.reason})"
    )
    fields = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in record.fields.items())
    return " ".join(filter(None, (record.measurement, record.target, outcome, *fields)))


def _complain(text: str) -> int:
    print("\n".join(f"balise-agent: {line}" for line in text.splitlines()), file=sys.stderr)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
