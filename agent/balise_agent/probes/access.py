"""By what is the probe linked to the home's network: a cable, a radio, or is it in the box itself?"""

from __future__ import annotations

from pathlib import Path

from balise_agent.net import gateway
from balise_agent.probes.wifi import SYS, is_radio

_ETHERNET = "1"  # ARPHRD_ETHER; a radio has it too


def access(interface: str, *, in_box: bool, folder: Path = SYS) -> str | None:
    """ethernet, wifi or box; None: neither (this machine's loopback), or it cannot be told. ``interface`` "": that of
    the way out."""
    if in_box:
        return "box"
    way = gateway.way_out()
    name = interface or ("" if way is None else way[1])
    if not name:
        return None
    if is_radio(name, folder):
        return "wifi"
    try:
        return "ethernet" if (folder / name / "type").read_text("ascii").strip() == _ETHERNET else None
    except OSError:
        return None
