"""What time is it, when a test says so?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class HandClock:
    """A clock that the test moves; a `balise_agent.clock.Clock`."""

    bt: int = 1_000_000
    wall: int = 1_800_000_000_000
    known: bool | None = True

    def bt_ms(self) -> int:
        return self.bt

    def wall_ms(self) -> int:
        return self.wall

    def synchronised(self) -> bool | None:
        return self.known

    def pass_ms(self, ms: int) -> None:
        """Time goes by."""
        self.bt += ms
        self.wall += ms
