"""Where does a channel come from?"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """``group``: or an address of this machine, where the channel is sent to it alone; "": any of them.

    ``source``: the one sender that is wanted (SSM, RFC 4607); "": any. Whether it is RTP is seen from the packets.
    """

    group: str
    port: int
    source: str = ""

    @property
    def af(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.group).version if self.group else 4

    @property
    def is_multicast(self) -> bool:
        """Else nothing is joined."""
        return bool(self.group) and ipaddress.ip_address(self.group).is_multicast
