"""Does the house hold what its papers say: locks, make targets, set-up, version?"""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SETUP = ROOT / "deploy/setup-debian.sh"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
AUDIENCES = {
    "agent": PYPROJECT["project"]["dependencies"],
    "collector": EXTRAS["collector"],
    "dev": EXTRAS["collector"] + EXTRAS["tv"] + PYPROJECT["dependency-groups"]["dev"],
}


def locked(audience: str) -> dict[str, str]:
    """Package -> the rest of its entry: version, marker, hashes."""
    text = (ROOT / f"requirements/{audience}.txt").read_text().replace("\\\n", " ")
    return dict(re.findall(r"^([\w.-]+)(.+)$", text, re.MULTILINE))


def versions(audience: str) -> dict[str, str]:
    return {name: rest.split()[0].removeprefix("==") for name, rest in locked(audience).items()}


@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_locked_package_has_one_version_and_hashes_and_no_address(audience: str) -> None:
    for name, rest in locked(audience).items():
        assert re.fullmatch(r"==[\w.]+ (; [^:]+)?( *--hash=sha256:[0-9a-f]{64})+", rest), f"{name}{rest}"


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_lock_holds_what_pyproject_asks_for(audience: str) -> None:
    lock = versions(audience)
    for requirement in map(Requirement, AUDIENCES[audience]):
        version = lock[requirement.name]
        assert requirement.specifier.contains(version), f"{requirement}: {version} is locked; make lock"


def test_a_probe_a_server_and_a_developer_run_the_same_versions() -> None:
    agent, collector, dev = (versions(audience) for audience in AUDIENCES)
    assert agent.items() <= collector.items() <= dev.items()


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=str
)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ *\$? *)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named <= targets


def test_a_second_set_up_installs_nothing(tmp_path: Path) -> None:
    called = tmp_path / "called"
    for program in ("apt-get", "sudo", "tee"):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {program} >>{called}\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    run = subprocess.run([SETUP], env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False)
    assert (run.returncode, called.exists()) == (0, False)


def test_the_set_up_lists_what_is_missing_with_its_reason(tmp_path: Path) -> None:
    run = subprocess.run(
        ["/bin/bash", SETUP, "--check"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert re.search(r"^ +fping +the peer that ping times are compared with$", run.stdout, re.MULTILINE)


def test_a_probe_has_its_file_its_line_its_measurement_its_test_and_its_page() -> None:
    from balise_agent.catalogue import CATALOGUE
    from balise_agent.probes import PROBES

    files = ROOT.glob("agent/balise_agent/probes/*.py")
    probes = {path.stem for path in files if re.search(r"^(async )?def run\(", path.read_text(), re.MULTILINE)}
    assert set(PROBES) == probes
    assert {path.stem for path in ROOT.glob("docs/probes/*.md")} == probes
    named = {"voice": "voip", "hls": "tv_hls"}  # by the standards it measures by; by the service it is of
    says = {name: named.get(name, name) for name in probes}
    assert [
        name for name in probes if not any(m == says[name] or m.startswith(says[name] + "_") for m in CATALOGUE)
    ] == []
    assert [name for name in probes if not list(ROOT.glob(f"tests/agent/**/test_{name}.py"))] == []


def test_the_changelog_begins_with_the_version() -> None:
    first = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    assert first[1] == PYPROJECT["project"]["version"]
