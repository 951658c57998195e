"""How is a command line told that nobody understands? As any other fault: one line with field, value and what may be.

Typer tells it in a box, in sentences of its own. Rule 1: what it may say in another way one day is passed on as it is.
"""

from __future__ import annotations

import re
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

_NUMBERS = {int: "a whole number", float: "a number"}
_IS_HELP = "NoArgsIsHelpError"  # nothing was asked: Typer has shown the help


class OneLine(TyperGroup):
    """The whole command line; it ends the process, with 2 where it was not understood."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        try:
            status = super().main(*args, **{**options, "standalone_mode": False})
        except TyperException as exc:
            if type(exc).__name__ != _IS_HELP:
                typer.echo(f"balise: {words(exc)}", err=True)
            sys.exit(2)
        sys.exit(status or 0)


def words(exc: TyperException) -> str:
    """Of an option, an argument, a command: which, what was given, what may be."""
    param = getattr(exc, "param", None)
    if param is not None:
        return _of_param(param, exc)
    if option := getattr(exc, "option_name", ""):
        said = re.sub(r"^(No such option: \S+|Option '\S+' )", "", exc.message).rstrip(".")
        said = {"": "no such option", "requires an argument": "its value is missing"}.get(said, said)
        return f"{option}: {said}{_known(exc)}"
    if unknown := re.match(r"No such command '(.*?)'", exc.message):
        return f"{unknown[1]}: no such command{_known(exc)}"
    if extra := re.match(r"Got unexpected extra argument\(s\) \((.*)\)", exc.message):
        return f"{extra[1]}: nothing more is asked for here"
    return exc.message


def _of_param(param: Any, exc: TyperException) -> str:
    errors: list[dict[str, Any]] = getattr(exc.__cause__, "errors", list)()
    if not errors:
        help_ = str(param.help or "").rstrip(".")
        return f"{_name(param)}: {exc.message or 'missing'}" + (f" ({help_})" if help_ else "")
    return f"{_name(param)}: {errors[0]['input']!r}; allowed: {_allowed(param)}"


def _known(exc: TyperException) -> str:
    """The commands, or options, that there are where one was not known."""
    command = getattr(getattr(exc, "ctx", None), "command", None)
    if command is None:
        return ""
    if "No such command" in exc.message:
        return f"; allowed: {', '.join(command.commands)}"
    return f"; allowed: {', '.join(_name(param) for param in command.params if param.param_type_name == 'option')}"


def _name(param: Any) -> str:
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(param.metavar or param.name.upper()).strip("[].")


def _allowed(param: Any) -> str:
    """A kind of number, and between which."""
    kind, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    said = _NUMBERS.get(kind, "a whole number" if param.type_descriptor.is_list else f"{param.help}")
    if info.min is None:
        return said if info.max is None else f"{said}, {info.max} at most"
    return f"{said}, {info.min} at least" if info.max is None else f"{said}, {info.min}-{info.max}"
