"""Is a live HLS channel read as a player reads it, and is what is wrong with it seen?"""

from __future__ import annotations

import asyncio
import functools
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from balise_agent.channels import Channel
from balise_agent.contract import Record
from balise_agent.net.hls.player import Buffer
from balise_agent.probes import hls
from balise_agent.probes.context import Context
from balise_agent.probes.hls import HlsSettings


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server of that folder, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def live(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg's live HLS, segments of one second, once there are three."""
    source = ["-re", "-f", "lavfi", "-i", "testsrc=s=160x120:r=10", "-c:v", "mpeg2video", "-g", "10"]
    out = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "6", "-hls_flags", "delete_segments"]
    command = ["ffmpeg", "-v", "error", *source, *out, str(folder / "index.m3u8")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            end_s = time.monotonic() + 60
            while len(list(folder.glob("*.ts"))) < 4:
                assert time.monotonic() < end_s, "ffmpeg makes no segments"
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def measured(url: str, listen_s: float, state_dir: Path, **more: object) -> Record:
    channel = Channel(label="two", url=url)
    settings = HlsSettings(listen_s=listen_s, ungated=True, timeout_s=30, channels=(channel,), **more)  # type: ignore[arg-type]
    context = Context(
        now_bt_ms=lambda: 5,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: True,
        state_dir=state_dir,
        asked=True,
    )
    (record,) = asyncio.run(hls.run(settings, context))
    return record


def test_a_live_channel_is_played_from_ffmpegs_own_playlist(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    with live(tmp_path / "web"), served(tmp_path / "web") as url:
        record = measured(f"{url}/index.m3u8", 6, tmp_path)
    assert record.outcome.kind == "ok", record
    fields = record.fields
    assert (fields["playlist_ok"], fields["http_errors"], fields["cc_err"], fields["psi_crc_err"]) == (True, 0, 0, 0)
    assert int(fields["segments"]) >= 3
    assert float(fields["startup_ms"]) > float(fields["playlist_ttfb_ms"]) > 0
    assert float(fields["segment_dl_ratio_max"]) > 0


def test_a_packager_that_is_killed_leaves_a_playlist_that_stands_still(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    with live(tmp_path / "web"):
        pass
    with served(tmp_path / "web") as url:
        record = measured(f"{url}/index.m3u8", 6, tmp_path)
    assert record.outcome.kind == "ok", record
    assert float(record.fields["stale_s"]) > 1.5
    assert float(record.fields["stall_s"]) > 0
    assert record.fields["stall_count"] == 1


def written(folder: Path, playlist: str) -> Path:
    web = folder / "web"
    web.mkdir()
    (web / "index.m3u8").write_text(playlist)
    return web


ENDED = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\nb.ts\n#EXT-X-ENDLIST\n"


def test_a_segment_that_is_missing_is_an_error_of_http_and_the_rest_is_played(tmp_path: Path) -> None:
    web = written(tmp_path, ENDED)
    (web / "b.ts").write_bytes(bytes([0x47, 0x1F, 0xFF, 0x10]) + b"\xff" * 184)
    with served(web) as url:
        record = measured(f"{url}/index.m3u8", 60, tmp_path)
    found = {name: record.fields[name] for name in ("http_errors", "segments", "discontinuities")}
    assert found == {"http_errors": 1, "segments": 1, "discontinuities": 1}


def test_of_variants_the_best_is_read_that_the_channel_may_carry(tmp_path: Path) -> None:
    rates = {"low": 1_000_000, "high": 7_000_000, "beyond": 20_000_000}
    lines = [f"#EXT-X-STREAM-INF:BANDWIDTH={bps}\n{name}.m3u8" for name, bps in rates.items()]
    web = written(tmp_path, "#EXTM3U\n" + "\n".join(lines))
    (web / "high.m3u8").write_text(ENDED)
    with served(web) as url:
        record = measured(f"{url}/index.m3u8", 60, tmp_path)
    assert record.outcome.kind == "ok"
    assert record.fields["variant_bps"] == 7_000_000


@pytest.mark.parametrize(
    ("playlist", "reason"),
    [
        ("<html>", "bad_playlist"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile:///etc/passwd\n", "bad_playlist"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nindex.m3u8\n", "bad_playlist"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nnone.m3u8\n", "http_status"),
    ],
)
def test_a_playlist_that_is_none_is_a_failure_with_its_reason(tmp_path: Path, playlist: str, reason: str) -> None:
    with served(written(tmp_path, playlist)) as url:
        record = measured(f"{url}/index.m3u8", 60, tmp_path)
    assert (record.outcome.kind, record.outcome.reason) == ("failed", reason)
    assert record.fields["playlist_ok"] is False
    assert "stall_s" not in record.fields


def test_a_buffer_stands_still_when_it_is_played_out() -> None:
    buffer = Buffer()
    for now_s in (10.0, 11.0, 15.0):  # 2 s each: played out at 14
        buffer.add(now_s, 2.0)
    assert (buffer.stalls, buffer.stall_s) == (1, 1.0)
    buffer.finish(16.5)
    assert (buffer.stalls, buffer.stall_s) == (1, 1.0)
    buffer.finish(17.5)
    assert (buffer.stalls, buffer.stall_s) == (2, 1.5)


def test_a_sample_beyond_the_days_bytes_or_without_a_channel_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        measured("http://127.0.0.1:9/a.m3u8", 1, tmp_path, day_bytes=0)
    with pytest.raises(ValueError, match="not enough values"):
        measured("udp://239.0.0.1:5004", 1, tmp_path)
