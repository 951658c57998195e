"""Has each reason that a probe can give its line in docs/failures.md, and each line its reason?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "agent/balise_agent"
SOURCES = [*AGENT.glob("probes/*.py"), *AGENT.glob("net/**/*.py"), AGENT / "runner.py"]
REASON = re.compile(r"[a-z][a-z0-9_]{1,47}")
CALLS = {"failed", "skipped", "_FetchError"}
NAMES = re.compile(r"(reason|fault|refused|_RCODES|_REASONS.*)")
FUNCTIONS = re.compile(r"(.*_reason|_join|_why_none)")


def texts(node: ast.AST) -> Iterator[str]:
    """What an expression can come to, where that is a literal: not what it is compared with or looked up by."""
    match node:
        case ast.Constant(value=str(value)):
            yield value
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*texts(body), *texts(orelse))
        case ast.BoolOp(values=values) | ast.Tuple(elts=values):
            yield from (text for value in values for text in texts(value))
        case ast.Dict(values=values):
            yield from (text for value in values for text in texts(value))
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            yield from texts(default)


def assigned(target: ast.expr, value: ast.expr) -> list[tuple[str, ast.expr]]:
    """Last name of each target with its own part of the value."""
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=True))
    return [(ast.unparse(t).rpartition(".")[2], part) for t, part in pairs]


def reasons(source: str) -> set[str]:
    """Every literal that stands where a reason stands."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[argument, *_]) if name in CALLS:
                found += texts(argument)
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                for name, part in assigned(target, value):
                    found += texts(part) if NAMES.fullmatch(name) else ()
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if FUNCTIONS.fullmatch(name):
                returns = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value]
                found += [text for value in returns for text in texts(value)]
    return {text for text in found if REASON.fullmatch(text)}


def documented() -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/failures.md").read_text(), re.MULTILINE)


def test_each_reason_has_its_line_and_each_line_its_reason() -> None:
    given = {reason for path in SOURCES for reason in reasons(path.read_text())}
    assert sorted(given) == sorted(documented())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("return failed('a_reason')", {"a_reason"}),
        ("return failed('yes' if x == 'icmp' else other(1)), {}", {"yes"}),
        ("raise _FetchError('late')", {"late"}),
        ("_REASONS_ERRNO = {1: 'one'}\n_RCODES: dict[int, str] = {2: 'two'}", {"one", "two"}),
        ("self._state, self.fault = 'chunk', 'bad' if line else None", {"bad"}),
        (
            "def send_reason(x):\n    return NAMES.get(x, 'other') if x != 'none' else 'none_at_all'",
            {"other", "none_at_all"},
        ),
        ("return failed(CODES.get(x.y, 'unknown'))", {"unknown"}),
        ("log.info('not_a_reason')", set()),
    ],
)
def test_a_reason_is_seen_where_it_stands(source: str, found: set[str]) -> None:
    assert reasons(source) == found
