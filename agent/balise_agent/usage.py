"""How is a command line told that nobody understands? As any other fault: one line with field, value and what may be.

argparse tells it below a summary, in sentences of its own. Rule 1: what it may say in another way one day is passed on.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import NoReturn

_NUMBERS = {"int": "a whole number", "float": "a number"}
_CHOICE = re.compile(r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)")
_NUMBER = re.compile(r"argument (\S+): invalid (int|float) value: (.+)")
_NO_VALUE = re.compile(r"argument (\S+): expected one argument")
_MISSING = re.compile(r"the following arguments are required: (.+)")
_UNKNOWN = re.compile(r"unrecognized arguments: (\S+).*")


class OneLine(argparse.ArgumentParser):
    """Ends the program with 2 and one line where it does not understand."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"balise-agent: {words(message)}\n")
        sys.exit(2)


def words(message: str) -> str:
    """Of an option, an argument, a command: which, what was given, what may be."""
    if found := _CHOICE.fullmatch(message):
        return f"{found[1]}: {found[2]}; allowed: {found[3].replace(chr(39), '')}"
    if found := _NUMBER.fullmatch(message):
        return f"{found[1]}: {found[3]}; allowed: {_NUMBERS[found[2]]}"
    if found := _NO_VALUE.fullmatch(message):
        return f"{found[1]}: its value is missing"
    if found := _MISSING.fullmatch(message):
        return f"{found[1]}: missing"
    if found := _UNKNOWN.fullmatch(message):
        return f"{found[1]}: " + ("no such option" if found[1].startswith("-") else "nothing more is asked for here")
    return message
