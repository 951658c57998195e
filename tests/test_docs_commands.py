"""Do the commands, options and files that the pages, the unit files and the programs' own words name exist?

A line of an example is read by the program's own command line; what stands in a sentence may leave arguments out, so
of that only the names are looked up.
"""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from balise_agent.cli import command_line
from balise_collector.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = sorted(path for folder in ("agent", "collector", "deploy") for path in ROOT.glob(f"{folder}/**/*.*"))
WORDS = [path for path in SOURCES if path.suffix in (".py", ".toml", ".service", ".yaml", ".sh", ".example")]

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^(?:\$ )?(balise(?:-agent)? .+)$", re.MULTILINE)
_QUOTED = re.compile(r"`(balise(?:-agent)? [^`{]+)`")
_STARTED = re.compile(r"^ExecStart=\S*/(balise(?:-agent)? .+)$", re.MULTILINE)
_REST = re.compile(r"\s+(#|&|\||>|->).*$")  # a remark, and what is the shell's
_FILE = re.compile(
    r"(?<![\w/.-])((?:docs|deploy|tests|bench|agent|collector|dashboards)/[\w/.-]*\w\.(?:md|py|toml|sh|yaml|service))\b"
)


class Line(NamedTuple):
    page: str
    text: str
    is_whole: bool


def lines(path: Path) -> Iterator[Line]:
    text, name = path.read_text(), str(path.relative_to(ROOT))
    fenced = "\n".join(_FENCED.findall(text)) if path.suffix == ".md" else ""
    for found in [*_EXAMPLE.findall(fenced), *_STARTED.findall(text)]:
        yield Line(name, _REST.sub("", found), is_whole=True)
    for found in _QUOTED.findall(_FENCED.sub("", text)):
        yield Line(name, _REST.sub("", " ".join(found.split())), is_whole=False)


LINES = sorted({line for path in [*PAGES, *WORDS] for line in lines(path)})


COMMANDS: dict[str, Any] = {"balise": get_command(app), "balise-agent": command_line()}


def names_of(command: Any) -> tuple[dict[str, Any], set[str]]:
    """Its commands, and its options."""
    if isinstance(command, argparse.ArgumentParser):
        actions = command._actions  # argparse has no other way to ask
        groups = (action.choices for action in actions if isinstance(action, argparse._SubParsersAction))
        return next(groups, {}), {option for action in actions for option in action.option_strings}
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    return getattr(command, "commands", {}), {*options, "-h", "--help"}


def words_of(text: str) -> list[str]:
    """Without the brackets around what may be left out."""
    return shlex.split(text if "'" in text else re.sub(r"[\[\]]", "", text))


def unknown(text: str) -> list[str]:
    """What of a line names no command and no option."""
    program, *words = words_of(text)
    command, wrong = COMMANDS[program], []
    for word in words:
        inner, options = names_of(command)
        if word.startswith("-") and len(word) > 1:
            wrong += [one for one in word.split("/") if one.partition("=")[0] not in options]
        elif word in inner:
            command = inner[word]
        elif inner and re.fullmatch(r"[a-z-]+", word):
            wrong.append(word)
    return wrong


def read(text: str) -> None:
    """As the program does. An exception: it would refuse it."""
    program, *words = words_of(text)
    command = COMMANDS[program]
    if isinstance(command, argparse.ArgumentParser):
        command.parse_args(words)
        return
    while words and words[0] in names_of(command)[0]:
        command = names_of(command)[0][words.pop(0)]
    command.make_context(program, words)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}: {line.text}")
def test_what_a_page_names_of_the_command_line_exists(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown(line.text) == []
    if line.is_whole:
        monkeypatch.setenv("GRAFANA_TOKEN", "as the page says")
        read(line.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = {name for name in _FILE.findall(page.read_text()) if "NAME" not in name}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_what_is_wrong_would_be_seen() -> None:
    assert unknown("balise homes imprt FILE") == ["imprt"]
    assert unknown("balise homes import --colour") == ["--colour"]
    assert unknown("balise-agent once reach --colour") == ["--colour"]
    for line, wrong in (("balise influx rewind", TyperException), ("balise-agent once", SystemExit)):
        with pytest.raises(wrong):
            read(line)
