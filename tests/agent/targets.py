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
    with target_ports(*options, listen=listen) as ports:
        yield ports["http"]


@contextmanager
def target_ports(*options: str, listen: str = "127.0.0.1") -> Iterator[dict[str, int]]:
    """All its ports by name."""
    given = ["--listen", listen, "--port", "0", "--udp-port", "0", "--json", *(options or ["--open"])]
    program = subprocess.Popen([sys.executable, "-c", COMMAND, *given], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        yield {name: int(port) for name, port in json.loads(program.stdout.readline()).items()}
    finally:
        program.terminate()
        program.communicate()
