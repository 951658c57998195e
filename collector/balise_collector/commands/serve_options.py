"""What may be asked of `balise serve` on its command line?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HttpListen = Annotated[str, typer.Option(help="Address of /metrics and /healthz.")]
HttpPort = Annotated[int, typer.Option(min=0, max=65_535, help="Its port; 0: any.")]

Influx = Annotated[
    str, typer.Option(metavar="URL", envvar="BALISE_INFLUX", help="Forward to this InfluxDB.", show_default=False)
]
TokenFile = Annotated[Path | None, typer.Option(help="What may write there. Default: what `balise influx init` made.")]
Org = Annotated[str, typer.Option(help="Its organisation, of 2.x. Default: as `balise influx init` was told.")]
Database = Annotated[str, typer.Option(help="Its database. Default: likewise, else balise.")]
Store = Annotated[
    bool, typer.Option("--store/--no-store", help="Write the embedded store; without it InfluxDB is the only one.")
]

TokenKey = Annotated[
    Path | None,
    typer.Option(help="The key file of `balise target`: probes get tokens for tests. Default: DATA/target.key."),
]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]
