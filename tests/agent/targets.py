"""A `balise target` of this machine's loopback, as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = "from balise_collector.commands.target import app; app()"


@contextmanager
def target(*options: str, listen: str = "127.0.0.1") -> Iterator[int]:
    """Its port; it takes whoever comes, unless the options say otherwise."""
    given = ["--listen", listen, "--port", "0", "--udp-port", "0", "--json", *(options or ["--open"])]
    program = subprocess.Popen([sys.executable, "-c", COMMAND, *given], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        yield int(json.loads(program.stdout.readline())["http"])
    finally:
        program.terminate()
        program.communicate()
