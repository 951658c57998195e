"""What did the operator ask for? Each command is in its own file of `commands/`.

Exit status: 0 it worked; 1 it was tried and did not; 2 it could not be tried: usage, configuration, a file.
"""

from __future__ import annotations

import sys

import typer

from balise_agent.logs import set_up
from balise_collector.commands import (
    broker,
    dead_letters,
    demo,
    evidence,
    grafana,
    homes,
    incidents,
    influx,
    probes,
    quality,
    serve,
    status,
    target,
    town,
)
from balise_collector.commands.usage import OneLine

app = typer.Typer(
    cls=OneLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Balise's server: collects what probes measure in homes, keeps it, and says what is wrong and where.",
)
for name, part in (
    ("homes", homes.app),
    ("probes", probes.app),
    ("broker", broker.app),
    ("dead-letters", dead_letters.app),
    ("town", town.app),
    ("influx", influx.app),
    ("target", target.app),
    ("grafana", grafana.app),
    ("incidents", incidents.app),
    ("evidence", evidence.app),
):
    app.add_typer(part, name=name)
for command in (demo.demo, serve.serve, quality.quality, status.status, status.command):
    app.command()(command)


def main() -> int:
    """The command line; it ends the process itself, as Typer does."""
    set_up("warning", sys.stderr)  # what a command's files say of themselves: damage, an older version
    app()
    return 0
