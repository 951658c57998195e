"""Does `balise demo` show the whole path as real programs, lose nothing, and leave nothing behind?"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from balise_collector.store import Point
from balise_collector.store.chunks import open_reader
from tests.collector.running import balise, children, is_running
from tests.waiting import until


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Runs with its temporary folder inside ``folder``."""
    environ = {**os.environ, "TMPDIR": str(folder)}
    command = balise("demo", *options)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            left = children(process.pid)
            if process.poll() is None:
                process.kill()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def started(process: subprocess.Popen[str], count: int) -> set[int]:
    """Processes under the demo, once there are so many."""
    return until(lambda: len(found := children(process.pid)) >= count and found, "its programs", 120)  # type: ignore[no-any-return]


ALL = 7  # broker, target, head-end, telephone, collector, its consumers, agent


def test_it_ends_by_itself_with_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "6", "--json") as process:
        pids = started(process, ALL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert {*found} == {
        *("measured", "delivered", "stored", "waiting", "lost", "duplicated", "dead_letters", "delay_p95_ms"),
        "stored_of",
    }
    assert sum(found["stored_of"].values()) == found["stored"]
    assert (found["lost"], found["duplicated"], found["dead_letters"]) == (0, 0, 0)
    assert found["measured"] > 0
    assert found["measured"] == found["stored"] + found["waiting"]
    assert found["delivered"] == found["stored"]
    assert found["delay_p95_ms"] >= 0
    assert not [pid for pid in pids if is_running(pid)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "programs"), [(signal.SIGTERM, 1), (signal.SIGINT, ALL), (signal.SIGHUP, ALL)])
def test_a_signal_ends_it_at_any_moment_and_leaves_no_process_and_no_folder(
    tmp_path: Path, number: signal.Signals, programs: int
) -> None:
    with demo(tmp_path, "--json") as process:
        started(process, programs)
        pids = children(process.pid)
        process.send_signal(number)
        _out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        until(lambda: not [pid for pid in pids if is_running(pid)])
    assert list(tmp_path.iterdir()) == []


def channels(folder: Path) -> dict[str, list[Point]]:
    """What the store has of each channel."""
    found: dict[str, list[Point]] = {}
    with closing(open_reader(folder / "data" / "store")) as reader:
        for series in reader.series():
            if series.measurement == "tv_window":
                found[series.target] = [*reader.read(series.home, series.measurement, series.target, 0, 2**43)]
    return found


def test_television_stands_beside_the_internet_and_a_fault_is_on_its_channel_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with demo(tmp_path, "--json", "--dir", str(kept), "--fault", "tv:channel=2") as process:
        until(lambda: _has_heard(kept), "it has heard of the fault", 240)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    counts, found = json.loads(out)["stored_of"], lost(channels(kept))
    assert min(counts[name] for name in ("reach", "tv_zap", "tv_window")) > 0
    assert found["2"] > 0
    assert not any(found[channel] for channel in found if channel != "2")


def lost(found: dict[str, list[Point]]) -> dict[str, int]:
    """Datagrams that the line lost of each channel."""
    return {
        channel: sum(int(point.fields.get("net_lost_datagrams", 0)) for point in points if point.fields.get("valid"))
        for channel, points in found.items()
    }


def _has_heard(folder: Path) -> bool:
    """Channel 2 with its fault, and two others; a second of one in twenty may lose none."""
    time.sleep(0.5)  # reading all of it each 10 ms would take the processor from those that are watched
    try:
        found = lost(channels(folder))
    except (OSError, sqlite3.Error):
        return False  # the store is not there yet
    return found.get("2", 0) > 0 and len(found) >= 3


def test_a_fault_of_no_service_is_one_line() -> None:
    for wrong in ("tv:channel=0", "tea:cold"):
        run = subprocess.run(balise("demo", "--fault", wrong), check=False, capture_output=True, text=True, timeout=120)
        assert run.returncode == 2
        assert wrong in run.stderr.replace("\n", " ")


def test_a_script_of_faults_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text("[[fault]]\nkind = 'tea'\n")
    run = subprocess.run(
        balise("demo", "--json", "--town", "3", "--faults", str(tmp_path / "faults.toml")),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "faults.toml: fault 1: kind: 'tea'; allowed: " in run.stderr


def test_a_folder_that_cannot_be_made_or_holds_something_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        run = subprocess.run(
            balise("demo", "--dir", str(wrong)), check=False, capture_output=True, text=True, timeout=120
        )
        assert (run.returncode, run.stdout) == (2, "")
        assert str(wrong) in run.stderr
        assert len(run.stderr.splitlines()) == 1


def test_a_folder_that_was_given_is_kept_with_all_its_files(tmp_path: Path) -> None:
    kept, temporary = tmp_path / "kept", tmp_path / "temporary"
    temporary.mkdir()
    with demo(temporary, "--seconds", "2", "--json", "--dir", str(kept)) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["lost"] == 0
    assert {"broker.log", "collector.log", "target.log", "agent.log"} <= {path.name for path in kept.iterdir()}
    assert (kept / "data" / "journal.db").exists()


def test_a_program_that_cannot_start_is_one_line_and_the_others_are_ended(tmp_path: Path) -> None:
    run = subprocess.run(
        balise("demo", "--seconds", "2", "--json"),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(tmp_path), "BALISE_DIRECTORY": "oracle://no/where"},
    )
    assert run.returncode == 2
    assert run.stderr.startswith("balise: collector does not start: ")
    assert len(run.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_draws_its_picture(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "80", "LINES": "50"}
    with subprocess.Popen(balise("demo"), stdout=theirs, stderr=theirs, env=environ, start_new_session=True) as process:
        os.close(theirs)
        drawn, asked, end_s = "", False, time.monotonic() + 120
        while time.monotonic() < end_s:
            if select.select([ours], [], [], 1)[0]:
                try:
                    drawn += os.read(ours, 65_536).decode(errors="replace")
                except OSError:  # the other side is closed
                    break
            if not asked and "reach op" in drawn and "web target" in drawn:
                process.send_signal(signal.SIGINT)
                asked = True
        assert process.wait(60) == 0, drawn
    os.close(ours)
    assert "last values" in drawn
    assert "0 lost, 0 duplicated" in " ".join(drawn.split())
