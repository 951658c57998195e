"""How long does a small object take over HTTPS, and in which step does it fail?

One GET on a connection of its own (`net/fetch`), which verifies the certificate and follows no redirect.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from balise_agent.contract import Record
from balise_agent.net.fetch import URL_PATTERN, Fetch
from balise_agent.probes.context import Context
from balise_agent.settings import flag, number, series_label, text

URL_ALLOWED = "an http or https URL without user name"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebObject:
    """A small object (256 kB at most) that is there to be fetched."""

    label: str = series_label()
    url: str = text(pattern=URL_PATTERN, allowed=URL_ALLOWED)
    ca_file: str | None = text(None, pattern=r"/[^\0]{1,255}", allowed="the path of a PEM file, from the root")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Which objects are fetched, and how often."""

    enabled: bool = flag(True)
    interval_s: float = number(300.0, low=1, high=86_400, unit="s")
    timeout_s: float = number(
        15.0, low=0.5, high=60, unit="s"
    )  # for all of it: a page that shows nothing by then is left
    objects: tuple[WebObject, ...] = ()


async def run(settings: WebSettings, context: Context) -> list[Record]:
    """One after the other: two at once would measure each other."""
    records = []
    for item in settings.objects:
        fetch = Fetch(
            urlsplit(item.url),
            item.ca_file,
            settings.timeout_s,
            clock_ok=context.clock_ok,
            monotonic=context.monotonic,
        )
        outcome = await fetch.outcome()
        record = Record(
            measurement="web", bt_ms=context.now_bt_ms(), target=item.label, outcome=outcome, fields=fetch.fields
        )
        records.append(record)
    return records
