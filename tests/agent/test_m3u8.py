"""Does a playlist say to us what it says to m3u8-parser, and does any text give a playlist or its fault?"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import m3u8
from balise_agent.net.m3u8 import Master, Media, parse

CASES = Path(__file__).parents[1] / "contract/node_modules/m3u8-parser/test/fixtures/integration"

NOT_ALIKE = {
    "empty": "no #EXTM3U: § 4.3.1.1 makes it no playlist",
    "manifestNoExtM3u": "no #EXTM3U",
    "master": "a blank line before #EXTM3U",
    "start": "a blank line before #EXTM3U",
    "streamInfInvalid": "a blank line before #EXTM3U",
    "headerOnly": "without a duration nobody knows when to read it again",
    "invalidTargetDuration": "a target duration that is none is taken from the segments",
    "manifestExtTTargetdurationNegative": "a target duration that is none is taken from the segments",
    "multipleTargetDurations": "a segment without a duration has the target's, else 0",
    "negativeMediaSequence": "a sequence number is not negative (§ 4.3.3.2)",
    "zeroDuration": "a duration of 0 stays 0",
}


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What m3u8-parser's own tests expect of each of its playlists."""
    if not CASES.is_dir() or shutil.which("node") is None:
        pytest.skip("m3u8-parser or node is not installed: make setup")
    script = (
        "const fs=require('fs'),d=process.argv[1],o={};"
        "for(const f of fs.readdirSync(d))if(f.endsWith('.js'))o[f.slice(0,-3)]=require(d+'/'+f);"
        "console.log(JSON.stringify(o))"
    )
    run = subprocess.run(["node", "-e", script, str(CASES)], capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(run.stdout))


def test_each_playlist_of_m3u8_parser_says_the_same(expected: dict[str, Any]) -> None:
    assert len(expected) == 60
    unlike = {name for name, case in expected.items() if ours(name) != theirs(case)}
    assert unlike == {*NOT_ALIKE}


def ours(name: str) -> object:
    found = parse((CASES / f"{name}.m3u8").read_text("utf-8"))
    if isinstance(found, Master):
        return [(variant.uri, variant.bps) for variant in found.variants]
    if isinstance(found, Media):
        segments = [(s.uri, s.duration_s, s.discontinuity) for s in found.segments]
        return segments, found.sequence, found.ended, found.target_s
    return found


def theirs(case: dict[str, Any]) -> object:
    if "playlists" in case:
        return [(one["uri"], one.get("attributes", {}).get("BANDWIDTH", 0)) for one in case["playlists"]]
    segments = [(s["uri"], s.get("duration"), bool(s.get("discontinuity"))) for s in case["segments"]]
    return segments, case.get("mediaSequence"), bool(case.get("endList")), case.get("targetDuration")


def test_what_cannot_be_looked_into_is_known() -> None:
    text = """#EXTM3U
#EXT-X-TARGETDURATION:4
#EXTINF:4,
plain.ts
#EXT-X-KEY:METHOD=AES-128,URI="k,1"
#EXTINF:4,
keyed.ts
#EXT-X-KEY:METHOD=NONE
#EXT-X-BYTERANGE:100@0
#EXTINF:4,
ranged.ts
#EXTINF:4,
plain2.ts
#EXT-X-MAP:URI="init.mp4"
#EXTINF:4,
mapped.m4s
"""
    found = parse(text)
    assert isinstance(found, Media)
    assert [segment.uri for segment in found.segments if segment.is_plain] == ["plain.ts", "plain2.ts"]


def test_it_is_bounded() -> None:
    assert parse("#EXTM3U\n" + "x\n" * (m3u8.MOST_LINES + 1)) == f"it has more than {m3u8.MOST_LINES} lines"
    huge = parse("#EXTM3U\n#EXT-X-TARGETDURATION:9e99\n#EXTINF:99999999999,\na\n#EXTINF:2,\nb\n")
    assert isinstance(huge, Media)
    assert huge.target_s == 2.0


PIECES = [
    "#EXTM3U",
    "\n",
    "#EXTINF:",
    "4",
    ",",
    "a.ts",
    "#EXT-X-",
    "STREAM-INF:BANDWIDTH=",
    "KEY:METHOD=",
    "-1",
    '"',
    "²",
]


@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_gives_a_playlist_or_its_fault(text: str) -> None:
    for tried in (text, "#EXTM3U\n" + text):
        assert isinstance(parse(tried), Master | Media | str)
