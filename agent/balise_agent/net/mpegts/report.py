"""What is concluded of a transport stream: by PID, by table, by indicator, and what could not be judged?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Figure = int | float | bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pid:
    """Of one PID. ``discontinuities``: errors of its counter; ``missing``: packets that these stand for."""

    packets: int
    discontinuities: int
    missing: int
    duplicates: int
    scrambled: int
    pcrs: int
    random_access: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``indicators``: by the names of the catalogue's `tv_window`; one that is absent was not measured.

    ``tables``: sections of each "PID/table_id"; ``programmes``: number to its PIDs; ``errors``: the first twenty;
    ``not_judged``: indicators whose period is longer than what was listened to, or that do not apply.
    """

    packets: int
    listened_s: float
    pids: Mapping[int, Pid]
    tables: Mapping[str, int]
    services: Mapping[int, str]
    programmes: Mapping[int, tuple[int, ...]]
    indicators: Mapping[str, Figure]
    not_judged: tuple[str, ...]
    errors: tuple[tuple[int, int, str], ...]

    def as_json(self) -> dict[str, object]:
        """PIDs as "0x0100"."""
        return {
            "packets": self.packets,
            "listened_s": round(self.listened_s, 3),
            "pids": {f"0x{pid:04x}": _plain(one) for pid, one in self.pids.items()},
            "tables": dict(self.tables),
            "services": {str(number): name for number, name in self.services.items()},
            "programmes": {str(number): [f"0x{pid:04x}" for pid in pids] for number, pids in self.programmes.items()},
            "indicators": dict(self.indicators),
            "not_judged": list(self.not_judged),
            "errors": [{"index": index, "pid": f"0x{pid:04x}", "what": what} for index, pid, what in self.errors],
        }


def _plain(pid: Pid) -> dict[str, Figure]:
    return {name: getattr(pid, name) for name in Pid.__dataclass_fields__}
