"""Which bytes make the decoders of the telephone and of playlists raise? A coverage-guided run, `make fuzz`.

SIP, SDP, RTP, RTCP, DNS's SRV and NAPTR, M3U8, and operators' channel lists.
"""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["balise_agent.net", "balise_agent.channels"]):
    from balise_agent import channels
    from balise_agent.net import m3u8, rtp
    from tests.agent import test_voice_fuzz

from tests.fuzzing import Decoders, fuzz

PLAYLIST = (
    b"#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:9\n"
    b'#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:2.0,\n#EXT-X-BYTERANGE:9@0\na.ts\n#EXT-X-DISCONTINUITY\n'
    b'#EXT-X-MAP:URI="i"\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n'
)
MASTER = b'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=7,CODECS="a,b",RESOLUTION=1x1\nv.m3u8\n'
M3U = b'\xef\xbb\xbf#EXTM3U\r\n#EXTINF:-1 tvg-id="1.fr",Un\r\n#EXTVLCOPT:a=b\r\nudp://@239.0.0.1:5004\r\nrtp://[ff15::1]:7\n'
TOML = b'[[channels]]\nlabel = "one"\nurl = "rtp://10.0.0.1@232.0.0.1:5004"\nrate_bps = 8000000\nuhd = false\n'


def bear_playlist(data: bytes) -> None:
    """As `hls` does."""
    m3u8.parse(data.decode("utf-8", "replace"))


def bear_list(data: bytes) -> None:
    """What was read can be written and read again."""
    found, faults = channels.read(data)
    if not faults:
        again, wrong = channels.read(channels.dump(found).encode())
        assert (again, wrong) == (found, ())


DECODERS: Decoders = {
    **test_voice_fuzz.ENTRIES,
    "rtp": (rtp.decode, (b"\x80\x08\0\1" + bytes(8) + bytes(160), b"\xb1\x21" + bytes(40))),
    "playlist": (bear_playlist, (PLAYLIST, MASTER)),
    "list": (bear_list, (M3U, TOML)),
}

if __name__ == "__main__":
    fuzz(DECODERS)
