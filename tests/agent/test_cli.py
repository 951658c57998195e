"""Does the command line do what it says, and end with the status that it says?"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from balise_agent import logs, single
from balise_agent.catalogue import CATALOGUE
from balise_agent.cli import language, main
from balise_agent.net import dnsmsg
from balise_agent.probes import PROBES


@contextmanager
def udp_peer(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(0.1)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                data, address = server.recvfrom(2048)
            except TimeoutError:
                continue
            server.sendto(answer(data), address)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        thread.join()
        server.close()


def dns_answer(rcode: int) -> Callable[[bytes], bytes]:
    """The question back, with one address where it is no error (RFC 1035 § 4.1)."""

    def answer(data: bytes) -> bytes:
        decoded = dnsmsg.decode_query(data)
        assert decoded is not None
        address = dnsmsg.Resource(owner=decoded.question.name, type=1, ttl_s=60, data=bytes([192, 0, 2, 1]))
        return dnsmsg.encode_answer(decoded, rcode=rcode, answers=[] if rcode else [address])

    return answer


def configured(folder: Path, more: str = "") -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\nstate_dir = "{folder}"\n[broker]\nhost = "127.0.0.1"\nport = 1\ntls = false\n'
        f'[probe]\nid = "k3v9q2xa7m"\n{more}'
    )
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def status(*argv: str) -> int:
    """The exit status, also where argparse ends the program itself."""
    try:
        return main(argv)
    except SystemExit as exc:
        return int(exc.code or 0)


# once


def test_once_host_needs_nothing_and_prints_one_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("once", "host", "--json") == 0
    (record,) = printed(capsys)
    assert list(record) == ["measurement", "target", "outcome", "reason", "bt_ms", "ts_ms", "fields"]
    assert (record["measurement"], record["outcome"], record["reason"]) == ("host", "ok", None)
    assert set(record["fields"]) <= {field.name for field in CATALOGUE["host"].fields}


def test_once_host_is_a_line_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("once", "host") == 0
    assert re.match(r"host ok .*mem_total_kb=\d+", capsys.readouterr().out)


def test_once_dns_asks_the_resolver_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer(dns_answer(0)) as port:
        assert status("once", "dns", "--port", str(port), "--name", "probe.example.net", "--json") == 0
    assert [(r["target"], r["outcome"], r["fields"]["answers"]) for r in printed(capsys)] == [
        ("once", "ok", 1),
        ("once.unique", "ok", 1),
    ]


def test_once_ends_with_1_where_it_did_not_work_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer(dns_answer(dnsmsg.SERVFAIL)) as port:
        assert status("once", "dns", "--port", str(port)) == 1
    assert capsys.readouterr().out.splitlines()[0].startswith("dns once failed (servfail) ")


def test_once_reach_sends_echoes_for_the_window_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    def reflect(data: bytes) -> bytes:  # RFC 8762 § 4.3: sequence, two times, error estimate, the sender's own
        return data[:16] + data[4:12] + data[:16] + b"\x40" + data[41:]

    with udp_peer(reflect) as port:
        assert status("once", "reach", "--method", "stamp", "--port", str(port), "--seconds", "1", "--json") == 0
    (record,) = printed(capsys)
    assert (record["fields"]["method"], record["fields"]["lost"]) == ("stamp", 0)
    assert record["fields"]["sent"] >= 3


def test_once_measures_the_targets_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer(dns_answer(0)) as port:
        peer = f'[[dns.resolvers]]\nlabel = "box"\nhost = "127.0.0.1"\nport = {port}\nname = "probe.example.net"\n'
        assert status("once", "dns", "--json", "--config", str(configured(tmp_path, peer))) == 0
    assert [record["target"] for record in printed(capsys)] == ["box", "box.unique"]


def test_once_has_a_date_only_where_the_clock_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path)
    path.write_text(path.read_text().replace("[agent]", '[agent]\nclock = "trust"'))
    status("once", "host", "--json", "--config", str(path))
    (record,) = printed(capsys)
    assert record["ts_ms"] > 1_600_000_000_000 > record["bt_ms"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["once", "radio"], "radio: no such probe; known are " + ", ".join(PROBES)),
        (["once", "dns", "--url", "http://127.0.0.1/"], "--url: not an option of dns"),
        (["once", "host", "--host", "127.0.0.1"], "--host: not an option of host"),
        (
            ["once", "tv", "--url", "http://127.0.0.1/a.m3u8"],
            "tv: a playlist over HTTP is measured by `once hls --url URL`",
        ),
        (
            ["once", "hls", "--url", "udp://239.255.0.1:5004"],
            "hls: a channel over UDP is measured by `once tv --url URL`",
        ),
        (["once", "dns", "--port", "0"], "dns.resolvers[0].port: 0 is not within 1-65535"),
        (["once", "reach", "--seconds", "0"], "reach.interval_s: 0.0 is not within 1-3600 s"),
        (["once", "host", "--config", "/none.toml"], "/none.toml: No such file or directory"),
        (["run", "--config", "/none.toml"], "/none.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_tried_ends_with_2_and_one_line(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*argv) == 2
    assert capsys.readouterr().err == f"balise-agent: {complaint}\n"


def test_once_hls_fetches_the_playlist_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("once", "hls", "--url", "http://127.0.0.1:1/a.m3u8", "--seconds", "1", "--json") == 1
    assert {(r["measurement"], r["outcome"], r["reason"]) for r in printed(capsys)} == {
        ("tv_hls", "failed", "connect_refused")
    }


def test_a_configuration_without_targets_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("once", "dns", "--config", str(configured(tmp_path))) == 2
    assert capsys.readouterr().err == "balise-agent: dns: the configuration names nothing to measure\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("measure", "COMMAND: 'measure'; allowed: run, once, channels, check"),
        ("once", "PROBE: missing"),
        ("once host --colour", "--colour: no such option"),
        ("once host twice", "twice: nothing more is asked for here"),
        ("once reach --port abc", "--port: 'abc'; allowed: a whole number"),
        ("once reach --seconds long", "--seconds: 'long'; allowed: a number"),
        ("once reach --port", "--port: its value is missing"),
        ("check --lang de", "--lang: 'de'; allowed: en, fr"),
        ("check --json=yes", "argument --json: ignored explicit argument 'yes'"),
    ],
)
def test_a_wrong_usage_ends_with_2_and_one_line(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(*line.split()) == 2
    assert capsys.readouterr().err == f"balise-agent: {complaint}\n"


def test_who_asks_for_nothing_is_shown_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert status() == 2
    assert "say in plain words what works" in capsys.readouterr().out


# run, check, version


def test_run_tells_all_faults_of_its_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, "[reach]\ninterval_s = 0\n[raech]\n")
    assert status("run", "--config", str(path)) == 2
    assert capsys.readouterr().err.splitlines() == [
        "balise-agent: raech: unknown table; known are agent, broker, probe, heavy, " + ", ".join(PROBES),
        "balise-agent: reach.interval_s: 0 is not within 1-3600 s",
    ]


def test_two_agents_do_not_share_a_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = single.take(tmp_path)
    assert lock is not None
    assert status("run", "--config", str(configured(tmp_path))) == 2
    assert capsys.readouterr().err == f"balise-agent: {tmp_path}: another agent uses it\n"
    os.close(lock)
    assert not single.is_taken(tmp_path)


def test_run_tells_a_state_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path)
    (tmp_path / "file").touch()
    path.write_text(path.read_text().replace(f'"{tmp_path}"', f'"{tmp_path}/file/state"'))
    assert status("run", "--config", str(path)) == 2
    assert capsys.readouterr().err == f"balise-agent: {tmp_path}/file/state: Not a directory\n"


def test_check_ends_with_1_on_a_fault_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(configured(tmp_path))
    assert status("check", "--config", path, "--lang", "fr") == 1
    assert (
        "DÉFAUT     réseau         Pas de connexion à 127.0.0.1, port 1 : Connection refused" in capsys.readouterr().out
    )
    assert status("check", "--config", path, "--json") == 1
    (found,) = printed(capsys)
    assert found["fault"] is True
    assert {"network": "network_fault", "tls": "not_reached"}.items() <= {
        c["check"]: c["code"] for c in found["checks"]
    }.items()


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == 0
    assert capsys.readouterr().out == f"balise-agent {metadata.version('balise')}\n"


@pytest.mark.parametrize(
    ("environ", "lang"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "fr_BE.UTF-8"}, "fr"),
    ],
)
def test_the_language_is_the_locales(environ: dict[str, str], lang: str) -> None:
    assert language(environ) == lang


# as a program


def test_ctrl_c_ends_it_in_one_line() -> None:
    asked = threading.Event()

    def note(data: bytes) -> bytes:
        asked.set()
        return data

    with udp_peer(note) as port:
        argv = ["-m", "balise_agent.cli", "once", "reach", "--method", "stamp", "--port", str(port)]
        argv += ["--seconds", "60"]
        program = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        asked.wait(60)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
    assert (program.returncode, out, err) == (130, b"", b"balise-agent: stopped\n")


@pytest.mark.parametrize(
    ("run", "absent"),
    [
        ("import balise_agent.cli", ["asyncio", "ssl", "sqlite3", "psutil", "paho", "balise_agent.config"]),
        ("from balise_agent.cli import main; main(['once', 'host'])", ["paho", "cryptography", "sqlite3"]),
    ],
)
def test_a_command_loads_only_what_it_needs(run: str, absent: list[str]) -> None:
    code = f"import sys; {run}; sys.exit(','.join(n for n in {absent} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


# the log's lines


def test_an_event_is_one_line_with_its_fields() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.EventFormatter())
    log = logging.getLogger("balise_agent.test")
    log.addHandler(handler)
    log.warning("probe_failed", extra={"probe": "dns", "why": "no answer", "odd": "a\nb=", "empty": "", "count": 5})
    log.removeHandler(handler)
    assert stream.getvalue() == "warning probe_failed probe=dns why='no answer' odd='a\\nb=' empty='' count=5\n"
