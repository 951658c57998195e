"""Is every command that exists also one that can be typed?"""

import importlib
import pkgutil

import typer
from typer.main import get_command

from balise_collector import commands
from balise_collector.cli import app


def test_each_group_of_commands_is_on_the_command_line() -> None:
    modules = {found.name: importlib.import_module(f"{commands.__name__}.{found.name}") for found in _modules()}
    groups = {
        name.replace("_", "-")
        for name, module in modules.items()
        if isinstance(getattr(module, "app", None), typer.Typer)
    }
    known = set(get_command(app).commands)  # type: ignore[attr-defined]  # a group has them
    assert groups <= known
    assert {"influx", "grafana"} <= groups


def _modules() -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(commands.__path__))
