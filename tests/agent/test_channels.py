"""Is a list of channels read as operators publish it, and is each fault of it named?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.channels import MOST_BYTES, MOST_CHANNELS, Channel, Where, dump, read, where
from balise_agent.cli import main
from balise_agent.config import CHANNELS_FILE, ConfigError, load

M3U = """\ufeff#EXTM3U url-tvg="x"
#EXTINF:0 tvg-id="" tvg-logo="http://h/l,1.png" group-title="TNT",2 - Télé Une (HD)
#EXTVLCOPT:network-caching=1000
udp://@239.0.0.2:5004
#EXTINF:-1,2 - Télé Une (HD)\r
rtp://10.0.0.9@232.0.0.2:8200

#EXTINF:-1 tvg-id="trois.example",Trois, la chaîne
rtp://[ff3e::3]:5004
#EXTINF:-1,4
https://tv.example.net/4/index.m3u8?profile=hd
"""


def test_an_m3u_gives_its_channels_with_labels_of_their_own() -> None:
    channels, faults = read(M3U.encode())
    assert faults == ()
    assert [(c.label, c.name, c.where.encap) for c in channels] == [
        ("2-tele-une-hd", "2 - Télé Une (HD)", "udp"),
        ("2-tele-une-hd-2", "2 - Télé Une (HD)", "rtp"),
        ("trois-example", "Trois, la chaîne", "rtp"),
        ("4", "4", "hls"),
    ]
    assert channels[1].where == Where(encap="rtp", host="232.0.0.2", port=8200, source="10.0.0.9")
    assert channels[2].where.af == 6


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#EXTM3U\r\n#EXTINF:-1 tvg-id=un.fr tvg-name='x, y',Un, le\r\nudp://@239.0.0.1:5\r\n", [("un-fr", "Un, le")]),
        ("#EXTM3U\r#EXTINF:-1,A\rudp://@239.0.0.1:5\r", [("a", "A")]),
        ("#EXTINF:-1 tvg id=1 ; x,A\nudp://@239.0.0.1:5", [("a", "A")]),
        ("\n\nudp://@239.0.0.1:5\nudp://@239.0.0.1:5\n", [("udp-239-0-0-1-5", ""), ("udp-239-0-0-1-5-2", "")]),
        ("#EXTM3U\n#EXTINF:-1,A\n#EXTGRP:g\n#KODIPROP:a=b\n\n#EXTVLCOPT:c\nrtp://239.0.0.1:5", [("a", "A")]),
    ],
)
def test_lists_are_read_as_odd_as_they_are_published(text: str, found: list[tuple[str, str]]) -> None:
    channels, faults = read(b"\xef\xbb\xbf" + text.encode())
    assert faults == ()
    assert [(c.label, c.name) for c in channels] == found


def test_what_was_read_is_written_as_toml_that_is_read_alike() -> None:
    channels, _ = read(M3U.encode())
    assert read(dump(channels).encode()) == (channels, ())


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("udp://239.0.0.2:5004", Where(encap="udp", host="239.0.0.2", port=5004)),
        ("udp://@:1234", Where(encap="udp", port=1234)),
        ("rtp://@[ff05::1]:5000", Where(encap="rtp", host="ff05::1", port=5000)),
        ("rtp://[2001:db8::1]@[ff3e::1]:5", Where(encap="rtp", host="ff3e::1", port=5, source="2001:db8::1")),
        ("http://h:8080/a.m3u8", Where(encap="hls")),
    ],
)
def test_an_address_is_taken_apart(url: str, found: Where) -> None:
    assert where(url) == found


@pytest.mark.parametrize(
    "url",
    [
        *("udp://239.0.0.2", "udp://239.0.0.2:0", "udp://239.0.0.2:70000", "udp://999.0.0.1:5", "udp://tv.example:5"),
        *("rtsp://h/stream", "file:///etc/passwd", "http://user:pw@h/a.m3u8", "http://h:99999/a", "http://h"),
        *("rtp://10.0.0.1@10.0.0.2:5", "rtp://10.0.0.1@[ff3e::1]:5", "rtp://10.0.0.1@:5", "", "x" * 2_000),
    ],
)
def test_what_is_no_address_of_a_channel_is_refused(url: str) -> None:
    assert where(url) is None


def test_all_faults_are_named_at_once_with_field_value_and_what_is_allowed() -> None:
    text = """
other = 1
[[channels]]
label = "A"
url = "rtsp://h/1"
rate_bps = 1
[[channels]]
label = "two"
url = "udp://239.0.0.2:5004"
colour = "red"
[[channels]]
label = "three"
url = "udp://239.0.0.3:5004"
[[channels]]
label = "three"
url = "udp://239.0.0.4:5004"
"""
    channels, faults = read(text.encode())
    assert channels == ()
    assert [fault.split(":")[0] for fault in faults] == [
        "'other'",
        "channels[0].label",
        "channels[0].url",
        "channels[0].rate_bps",
        "channels[1].colour",
        "channels[3].label",
    ]
    assert "'rtsp://h/1' is not udp://GROUP:PORT" in faults[2]
    assert "1 is not within 64000-100000000 bit/s" in faults[3]


def test_a_list_is_bounded() -> None:
    entries = [Channel(label=f"c{n}", url=f"udp://239.0.1.{n}:5004") for n in range(MOST_CHANNELS + 1)]
    assert len(read(dump(entries[:-1]).encode())[0]) == MOST_CHANNELS
    assert read(dump(entries).encode())[1] == (
        f"channels: {MOST_CHANNELS + 1} of them are not within 0-{MOST_CHANNELS}",
    )
    assert len(read(dump(entries).encode(), most=100)[0]) == MOST_CHANNELS + 1
    assert "bytes are not within" in read(b"#" * (MOST_BYTES + 1))[1][0]
    assert "is not UTF-8" in read(b"#EXTM3U\n\xff")[1][0]
    assert len(read(b"#EXTM3U\n" + b"x\n" * 100_000)[1]) == 101


LOCAL = """
[broker]
host = "127.0.0.1"
[probe]
id = "probe001"
"""


def test_the_list_beside_the_configuration_is_televisions(tmp_path: Path) -> None:
    config, listed = tmp_path / "agent.toml", tmp_path / CHANNELS_FILE
    config.write_text(LOCAL)
    assert load(config).probes["tv"].channels == ()
    listed.write_bytes(M3U.encode())
    for name in ("tv", "hls"):
        assert load(config).probes[name].channels == read(M3U.encode())[0]
    config.write_text(LOCAL + '[tv]\nchannels = [{ label = "own", url = "udp://239.0.0.9:5" }]')
    assert [channel.label for channel in load(config).probes["tv"].channels] == ["own"]
    listed.write_text('[[channels]]\nlabel = "x"\n[[channels]]\nurl = "y"')
    with pytest.raises(ConfigError) as said:
        load(config)
    assert len(said.value.faults) == 3
    assert all(str(listed) in fault for fault in said.value.faults)


def test_the_program_prints_an_m3u_as_channels_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list.m3u"
    path.write_bytes(M3U.encode())
    assert main(["channels", str(path)]) == 0
    assert read(capsys.readouterr().out.encode()) == read(M3U.encode())
    path.write_text("#EXTM3U\nrtsp://h/1\nfile:///x\n")
    assert main(["channels", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["channels", str(tmp_path / "none")]) == 2


PIECES = [
    "#EXTM3U",
    "\n",
    "#EXTINF:",
    "-1",
    ",",
    'a="',
    "udp://",
    "@",
    "239.0.0.1",
    ":",
    "5",
    "[[channels]]",
    "label=1",
]


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=30).map(lambda parts: "".join(parts).encode())
)
def test_any_bytes_give_channels_or_faults(raw: bytes) -> None:
    channels, faults = read(raw)
    assert not (channels and faults)
    assert all(channel.where for channel in channels)
    for form in (b"#EXTM3U\n" + raw, b"channels = [" + raw + b"]"):
        read(form)
