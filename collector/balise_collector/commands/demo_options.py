"""What may be asked of `balise demo` on its command line?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from balise_collector.demo.town import LEAST_HOMES, MOST_HOMES

Seconds = Annotated[float | None, typer.Option(min=1, help="End by itself after that long.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what became of each record as one JSON object.")]
Folder = Annotated[
    Path | None, typer.Option("--dir", help="Keep all files there, in an empty folder; default: a temporary one.")
]

Influx = Annotated[
    str, typer.Option(metavar="URL", help="Forward to this InfluxDB as well: http://HOST:8086.", show_default=False)
]
Database = Annotated[str, typer.Option(help="Its database, or first bucket; made where it is missing.")]
Org = Annotated[str, typer.Option(help="Its organisation, on 2.x.", show_default=False)]

Town = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_HOMES,
        help=f"So many simulated homes around the real agent; {LEAST_HOMES} or more with its own faults.",
    ),
]
Faults = Annotated[
    Path | None, typer.Option(help="What happens in the town, as docs/town.md says.", show_default=False)
]
Wrong = Annotated[
    list[str] | None,
    typer.Option(
        help="What is wrong: tv:channel=2, tv:channel=2,kind=off, voice:call=503, voice:loss=5, voice:mute, …",
        show_default=False,
    ),
]
