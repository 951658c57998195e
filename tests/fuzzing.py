"""How are decoders fed bytes that their coverage chooses? libFuzzer by way of atheris, for `make fuzz`.

It begins at inputs that are valid. The first exception ends it and names the file that holds the bytes; so does an
input of 10 s, or 512 MB. Called with such files it takes those and nothing else.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import atheris

Decoders = Mapping[str, tuple[Callable[[bytes], object], tuple[bytes, ...]]]
"""Name -> what bears any bytes, and inputs to begin at."""

_LIMITS = ("-max_len=4096", "-rss_limit_mb=512", "-timeout=10")
_TELL_EACH = 100_000


def fuzz(decoders: Decoders) -> None:
    """`python -m … [-runs=N] [FOLDER | FILE...]`: FOLDER keeps what was found for the next run. Never returns."""
    if any(Path(one).is_file() for one in sys.argv[1:]):  # libFuzzer takes files or folders, never both
        atheris.Setup([sys.argv[0], *_LIMITS, *sys.argv[1:]], _chooser(decoders))
        atheris.Fuzz()
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, (_, seeds)) in enumerate(decoders.items()):
            for number, seed in enumerate(seeds):
                (Path(folder) / f"{name}{number}").write_bytes(bytes([kind]) + seed)
        atheris.Setup([sys.argv[0], *_LIMITS, *sys.argv[1:], folder], _chooser(decoders))
        atheris.Fuzz()


def _chooser(decoders: Decoders) -> Callable[[bytes], None]:
    """An input's first byte chooses its decoder; how many each had is told on the way, for libFuzzer ends at once."""
    named = [(name, bear) for name, (bear, _) in decoders.items()]
    had: Counter[str] = Counter()

    def one(data: bytes) -> None:
        name, bear = named[data[0] % len(named)] if data else named[0]
        bear(data[1:])
        had[name] += 1
        if not had.total() % _TELL_EACH:
            print("inputs:", dict(sorted(had.items())), file=sys.stderr, flush=True)

    return one
