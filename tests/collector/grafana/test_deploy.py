"""Are the files that deploy Grafana and the server what their readers take, and do their names agree?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from balise_collector.grafana.influxql import SOURCE_UID
from balise_collector.grafana.provisioning import policies_yaml
from balise_collector.grafana.pushing import FOLDER_UID, HOMES_FOLDER_UID

DEPLOY = Path(__file__).parents[3] / "deploy"
PROVISIONING = DEPLOY / "grafana/provisioning"
SPECIFICATION = Path("/usr/lib/python3/dist-packages/compose/config/compose_spec.json")  # Debian's docker-compose
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SOURCES = sorted((PROVISIONING / "datasources").glob("*.yaml*"))


def test_compose_is_as_its_specification_says() -> None:
    assert SPECIFICATION.exists(), "docker-compose is not installed: sudo deploy/setup-debian.sh test"
    schema = json.loads(SPECIFICATION.read_text())
    assert [fault.message for fault in Draft7Validator(schema).iter_errors(COMPOSE)] == []


def test_compose_that_is_none_is_seen() -> None:
    schema = json.loads(SPECIFICATION.read_text())
    assert list(Draft7Validator(schema).iter_errors({"services": {"x": {"nonsense": 1}}}))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_pinned_and_gives_nothing_away(name: str) -> None:
    service = COMPOSE["services"][name]
    tag = service["image"].partition(":")[2]
    assert re.fullmatch(r"\d+\.\d+\.\d+", tag), service["image"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert name == "broker-files" or "healthcheck" in service
    for key, value in service.get("environment", {}).items():
        if re.search("PASSWORD|TOKEN", key):
            assert value.startswith("${"), f"{key} has a default"
            assert ":?" in value, f"{key} may be empty"


def test_what_compose_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=$", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE))
    assert asked == given


def test_only_the_broker_and_the_target_are_open_to_others() -> None:
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert {name for name, open_ports in ports.items() if open_ports} == {"broker", "target", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in ports["grafana"])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_data_source_has_the_uid_that_alerts_name(path: Path) -> None:
    (source,) = yaml.safe_load(path.read_text())["datasources"]
    assert (source["uid"], source["type"], source["access"]) == (SOURCE_UID, "influxdb", "proxy")
    assert source["name"].startswith("Balise")
    assert all("${" in value for value in source["secureJsonData"].values())


def test_dashboards_are_read_from_where_compose_puts_them_into_the_folders_that_push_makes() -> None:
    providers = yaml.safe_load((PROVISIONING / "dashboards/balise.yaml").read_text())["providers"]
    assert {one["folderUid"] for one in providers} == {FOLDER_UID, HOMES_FOLDER_UID}
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert all(str(Path(one["options"]["path"]).parent) in mounted for one in providers)


def test_contact_points_are_those_that_the_policies_name() -> None:
    points = yaml.safe_load((PROVISIONING / "alerting/contact-points.yaml").read_text())["contactPoints"]
    (tree,) = yaml.safe_load(policies_yaml())["policies"]
    named = {tree["receiver"], *(route["receiver"] for route in tree["routes"])}
    assert named == {point["name"] for point in points}


def test_files_that_compose_mounts_are_there() -> None:
    for volume in COMPOSE["services"]["grafana"]["volumes"]:
        source = volume.split(":")[0]
        assert not source.startswith(".") or (DEPLOY / source).exists(), source
