"""Do imports point one way, as docs/ARCHITECTURE.md says?

Rule 1: a room imports what its line allows and itself, wherever it stands: in a function, for types only, by name.
Rule 2: each module of the two packages is in a room; the longest name that fits counts.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"agent": ROOT / "agent/balise_agent", "collector": ROOT / "collector/balise_collector"}

# A room of several modules has their names in one cell. `contract` is what both programs share: the first room.
# `*`: whatever the extra `collector` installs. The standard library is free to all.
TABLE = """
room | may import of Balise | of other packages
agent.contract agent.catalogue agent.codec agent.logs agent.durable_file agent.sqlite_file |  |
agent.settings agent.single agent.usage |  |
agent.net | contract | numpy speedtest
agent.channels | contract agent.settings |
agent.probes | contract agent.clock agent.net agent.settings agent.ladder agent.outage agent.channels | psutil
agent.ladder agent.ladder_rung agent.outage | contract |
agent.clock | contract |
agent.config | contract agent.probes agent.settings agent.channels |
agent.plan agent.runner | contract agent.probes agent.clock agent.config |
agent.gate | contract agent.budget |
agent.identity | contract agent.config agent.settings |
agent.signature | contract | cryptography
agent.remote_config | contract agent.config agent.probes agent.settings agent.signature |
agent.commands | contract agent.signature |
agent.enrol | contract agent.identity | cryptography
agent.civil agent.budget agent.heavy_plan | contract agent.net |
agent.outbox agent.outbox_rows agent.outbox_budget agent.salvage | contract agent.clock agent.budget agent.heavy_plan |
agent.delivery | contract agent.outbox |
agent.uplink | contract agent.clock agent.identity agent.outbox | paho
agent.doctor agent.doctor_texts | agent | paho psutil
agent.heavy_day | contract agent.civil agent.budget agent.heavy_plan agent.outbox_budget |
agent.line_use | contract agent.budget agent.gate agent.probes |
agent.call_use | contract agent.budget agent.gate agent.probes agent.line_use |
agent.writer agent.outbox_thread agent.orders agent.heavy | agent |
agent.agent agent.cli agent.service agent.ts_file | agent |
collector.entry | collector.cli |
collector.cli collector.commands collector.demo | contract collector | *
collector.headend |  | *
collector.demo.exchange | contract collector agent.net.sip | *
collector.serve collector.children collector.metrics collector.status | contract collector | *
collector.placement collector.erased | contract | *
collector.wire | contract | *
collector.journal | contract collector.placement collector.erased collector.journal_messages collector.journal_rows \
collector.journal_upkeep | *
collector.journal_messages | contract collector.placement collector.journal_rows | *
collector.journal_rows | contract collector.placement | *
collector.journal_upkeep | contract collector.placement collector.erased collector.journal_rows | *
collector.journal_salvage | contract collector.journal collector.journal_rows | *
collector.ingest | contract collector.placement collector.erased collector.wire collector.journal \
collector.journal_rows | *
collector.intake collector.fast_lane collector.acks | contract collector.ingest | *
collector.erasures |  | *
collector.erasing | contract collector | *
collector.consumers collector.forward | contract collector.erasures collector.wire collector.journal collector.store \
collector.journal_rows | *
collector.store | contract | *
collector.stats | contract collector.judge collector.store | *
collector.stats.sealing collector.stats.freezing collector.stats.forgetting collector.stats.grounds \
collector.stats.__main__ | contract \
collector.stats collector.judge collector.judging.plant collector.store collector.journal collector.journal_rows \
collector.consumers collector.forward collector.erasures collector.directory collector.wire | *
collector.broker | contract | *
collector.migrations |  | *
collector.directory | contract collector.placement collector.migrations | *
collector.homes_csv | contract collector.directory | *
collector.fleet | contract collector.directory collector.target.tokens | *
collector.fleet.following | contract collector.journal collector.wire | *
collector.judge | contract collector.store | *
collector.judging | contract collector.judge collector.store collector.journal collector.journal_rows \
collector.consumers collector.erased collector.erasures collector.wire collector.directory | *
collector.diagnosis | contract collector.judge | *
collector.web | contract collector.diagnosis collector.judge collector.fleet collector.directory | *
collector.report | contract collector.stats collector.directory | *
collector.grafana | contract collector.store | *
collector.target | agent.net.stamp agent.net.dnsmsg agent.net.rtp agent.net.sip agent.net.throughput | *
collector.town | contract collector.store | *
collector.trial | contract agent.logs collector | *
"""


class Room(NamedTuple):
    """One line of the table."""

    modules: tuple[str, ...]
    balise: tuple[str, ...]
    others: tuple[str, ...]


def read_table(table: str) -> dict[str, Room]:
    """Module or package -> its room."""
    lines = [[tuple(cell.split()) for cell in line.split("|")] for line in table.strip().splitlines()[1:]]
    contract = lines[0][0]
    rooms = [Room(modules, balise + contract * ("contract" in balise), others) for modules, balise, others in lines]
    return {module: room for room in rooms for module in room.modules}


def within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def room_of(module: str, rooms: dict[str, Room]) -> Room | None:
    parents = (module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1))
    return next((rooms[name] for name in parents if name in rooms), None)


def imports(source: str) -> Iterator[str]:
    """Every name that a source imports, in the table's words: agent.net.stamp, psutil, sys."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [ast.literal_eval(node.args[0])]
        else:
            continue
        yield from (name.removeprefix("balise_") for name in names)


def trespasses(room: Room, source: str) -> list[str]:
    """What a module of this room imports and may not."""
    allowed = (*room.modules, *room.balise, *room.others, *sys.stdlib_module_names)
    strangers = (name for name in imports(source) if not within(name, allowed))
    return [name for name in strangers if "*" not in room.others or within(name, ("agent", "collector"))]


ROOMS = read_table(TABLE)
MODULES = {
    ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
    for package, folder in SOURCES.items()
    for path in sorted(folder.rglob("*.py"))
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_room_allows(module: str) -> None:
    source = MODULES[module].read_text()
    if module in SOURCES:  # importing the contract runs it, on a collector too
        assert not source, f"{MODULES[module]} is not empty"
        return
    room = room_of(module, ROOMS)
    assert room, f"{module} is in no room: give it a line in the table of {Path(__file__).name}"
    assert trespasses(room, source) == []


@pytest.mark.parametrize(
    ("room", "source", "found"),
    [
        ("agent.net", "def f():\n    from balise_collector import store", "collector.store"),
        ("agent.plan", "if TYPE_CHECKING:\n    import balise_agent.outbox", "agent.outbox"),
        ("agent.outbox", "import importlib\nimportlib.import_module('psutil')", "psutil"),
        ("agent.contract", "class C:\n    def f(self):\n        import msgspec", "msgspec"),
        ("agent.probes", "from cryptography import x509", "cryptography.x509"),
        ("collector.store", "async def f():\n    from balise_agent.outbox import Outbox", "agent.outbox.Outbox"),
        ("collector.target", "from balise_agent.net import icmp", "agent.net.icmp"),
    ],
)
def test_a_trespass_is_seen_wherever_it_stands(room: str, source: str, found: str) -> None:
    assert trespasses(ROOMS[room], source) == [found]


def test_a_name_that_only_begins_like_an_allowed_one_is_not_allowed() -> None:
    assert trespasses(ROOMS["collector.target"], "import balise_agent.net.stamping")


def test_the_agent_starts_without_heavy_packages() -> None:
    heavy = ["cryptography", "numpy", "msgspec", "sqlalchemy", "rich", "balise_collector"]
    code = f"import sys, balise_agent.cli; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")
