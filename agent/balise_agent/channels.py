"""Which channels are there to watch, and how is each received?

A list is ``channels.toml`` (tables ``[[channels]]``), or the M3U that operators publish; `dump` writes the first from
what was read of either. It is configuration: no number of channels is known to any code.

Rule 1: a list comes from outside: it is bounded, any bytes give channels or faults, and all faults are named at once.
Rule 2: a channel's label names its series: it is drawn from the list, never from an address.
"""

from __future__ import annotations

import ipaddress
import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from balise_agent import settings

MOST_BYTES = 1_048_576
MOST_ENTRIES = 4_000  # of an M3U: the longest that operators publish have some hundreds
MOST_CHANNELS = settings.MOST_TABLES
MOST_FAULTS = 100
_MOST_URL = 1_024

_RECEIVED = re.compile(r"(udp|rtp)://(?:(?P<source>[0-9.]+|\[[0-9A-Fa-f:.]+\])?@)?(?P<host>[0-9.]+|\[[0-9A-Fa-f:.]+\])?"
                       r":(?P<port>[0-9]{1,5})/?")  # fmt: skip
_FETCHED = re.compile(r"https?://(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?/[!-~]*")
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s,"']*)"""  # some lists have no quotes, or others
_ENTRY = re.compile(
    rf"#EXTINF:\s*-?[0-9.]{{0,16}}(?P<attributes>(?:\s+[A-Za-z0-9_-]{{1,40}}={_VALUE})*)\s*,(?P<title>.*)"
)
_ATTRIBUTE = re.compile(rf"([A-Za-z0-9_-]{{1,40}})=({_VALUE})")
_M3U = re.compile(r"\s*(?:#EXT|[a-z]+://)")  # without its head line, some begin with the first address
_URL_ALLOWED = (
    "udp://GROUP:PORT, rtp://GROUP:PORT or rtp://SOURCE@GROUP:PORT with addresses, or an http(s) URL of a playlist"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A channel's address taken apart. ``host``: a group, or this machine's own address; empty: any of them.

    ``source``: the one sender whose packets are taken (RFC 4607); None: anybody's.
    """

    encap: str
    host: str = ""
    port: int = 0
    source: str | None = None

    @property
    def is_group(self) -> bool:
        """Whether it is joined; else it is waited for."""
        return bool(self.host) and ipaddress.ip_address(self.host).is_multicast

    @property
    def af(self) -> int:
        """Address family: 4 or 6."""
        return ipaddress.ip_address(self.host).version if self.host else 4


def where(url: str) -> Where | None:
    """What a URL says; None: it is none that a channel can have."""
    if len(url) > _MOST_URL:
        return None
    if (fetched := _FETCHED.fullmatch(url)) is not None:
        return Where(encap="hls") if _is_port(fetched["port"] or "80") else None
    received = _RECEIVED.fullmatch(url)
    if received is None or not _is_port(received["port"]):
        return None
    try:
        host, source = (_address(received[name]) for name in ("host", "source"))
    except ValueError:
        return None
    if source is not None and (host is None or not host.is_multicast or host.version != source.version):
        return None
    shown = None if source is None else str(source)
    return Where(encap=received[1], host=str(host or ""), port=int(received["port"]), source=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """``label``: its series; ``name``: for people; ``rate_bps``: what it is expected to carry, for the byte budget;
    ``uhd``: watched only where the plan says so, since it is heavy."""

    label: str = settings.series_label()
    name: str = settings.text("", pattern=r"[^\x00-\x1f\x7f]{0,80}", allowed="a text of 80 characters at most")
    url: str = settings.text(
        pattern=rf"[!-~]{{1,{_MOST_URL}}}", allowed=_URL_ALLOWED, check=lambda url: where(url) is not None
    )
    rate_bps: int = settings.number(8_000_000, low=64_000, high=100_000_000, unit="bit/s")
    uhd: bool = settings.flag(False)

    @property
    def where(self) -> Where:
        """How it is received."""
        found = where(self.url)
        if found is None:
            raise ValueError(f"{self.label}: its URL was never checked")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelList:
    """``[[channels]]``."""

    channels: tuple[Channel, ...] = ()


Read = tuple[tuple[Channel, ...], tuple[str, ...]]
"""Channels, and every fault; where there is one, there are no channels."""


def read(raw: bytes, *, most: int = MOST_CHANNELS) -> Read:
    """The channels of a list, M3U or TOML; ``most``: more of them are a fault."""
    if len(raw) > MOST_BYTES:
        return (), (f"the list: {len(raw)} bytes are not within 0-{MOST_BYTES}",)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        return (), (f"the list: byte {exc.start} is not UTF-8",)
    tables, faults = _of_m3u(text) if _M3U.match(text) else _of_toml(text)
    channels, wrong = _build(tables)
    faults += wrong
    if len(tables) > most:
        faults.append(f"channels: {len(tables)} of them are not within 0-{most}")
    if len(faults) > MOST_FAULTS:
        faults = [*faults[:MOST_FAULTS], f"the list: {len(faults) - MOST_FAULTS} more faults"]
    return ((), tuple(faults)) if faults else (tuple(channels), ())


def dump(channels: Iterable[Channel]) -> str:
    """``channels.toml`` that `read` takes back."""
    lines: list[str] = []
    for channel in channels:
        lines += ["[[channels]]", *(f"{key} = {_toml(value)}" for key, value in settings.as_table(channel).items()), ""]
    return "\n".join(lines)


def _build(tables: list[Any]) -> tuple[list[Channel], list[str]]:
    """By as many at once as a list of settings may have: an M3U may hold more than is watched."""
    channels: list[Channel] = []
    faults: list[str] = []
    seen: set[str] = set()
    for number, table in enumerate(tables):
        at = f"channels[{number}]"
        if not isinstance(table, dict):
            faults.append(f"{at}: it is not a table")
            continue
        built, wrong = settings.build(Channel, table, at)
        faults += wrong
        if built is not None and built.label in seen:
            faults.append(f"{at}.label: {built.label!r} is there twice")
        if built is not None:
            seen.add(built.label)
            channels.append(built)
    return channels, faults


def _of_toml(text: str) -> tuple[list[Any], list[str]]:
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as exc:
        return [], [f"the list: not TOML: {str(exc)[:200]}"]
    faults = [f"{key[:48]!r}: unknown key; known is channels" for key in raw if key != "channels"]
    tables = raw.get("channels", [])
    if not isinstance(tables, list):
        return [], [*faults, "channels: a list of tables [[channels]] is needed"]
    return tables[:MOST_ENTRIES], faults


def _of_m3u(text: str) -> tuple[list[Any], list[str]]:
    """Titles and addresses; what else an M3U says (groups, logos, options of players) is passed over."""
    tables: list[Any] = []
    taken: dict[str, int] = {}
    title, attributes = "", dict[str, str]()
    for line in _lines(text):
        if (entry := _ENTRY.fullmatch(line)) is not None:
            title = entry["title"].strip()
            attributes = {key: told.strip("\"'") for key, told in _ATTRIBUTE.findall(entry["attributes"])}
        elif line.startswith("#EXTINF"):  # what stands before the title is its own making
            title, attributes = line.rpartition(",")[2].strip(), {}
        elif not line.startswith("#"):
            if len(tables) >= MOST_ENTRIES:
                return tables, [f"the list: it holds more than {MOST_ENTRIES} entries"]
            name = "".join(sign for sign in title if sign.isprintable())[:80]
            tables.append({"label": _label(attributes.get("tvg-id") or name or line, taken), "name": name, "url": line})
            title, attributes = "", {}
    return tables, []


def _lines(text: str) -> Iterator[str]:
    return (line for raw in text.splitlines() if (line := raw.strip()))


def _label(text: str, taken: dict[str, int]) -> str:
    """A label of what a channel is called: ``2 - Télé (HD)`` gives 2-tele-hd; a second one ends in -2. ``taken``: each
    that was given, and the last number behind it."""
    plain = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:34].strip("-") or "channel"
    label = stem
    while label in taken:
        taken[stem] = taken.get(stem, 1) + 1
        label = f"{stem}-{taken[stem]}"
    taken[label] = 1
    return label


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    return None if text is None else ipaddress.ip_address(text.strip("[]"))


def _is_port(text: str) -> bool:
    return 1 <= int(text) <= 65_535


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
