"""The demo of deploy/compose.yaml: valid, whole, and of one mind about names and ports."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from deploy import traffic
from tests.deploy.deployed import DEPLOY, read_yaml, settings_of
from vaewatch.service.settings import Settings


def interpolated(text: str) -> str:
    """`${NAME:-default}` -> the default, as compose does it where NAME is not set."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


COMPOSE: dict[str, Any] = yaml.safe_load(interpolated((DEPLOY / "compose.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEFAULT_PORTS = {"prometheus": 9090, "alertmanager": 9093, "pushgateway": 9091, "grafana": 3000}


def mounts(service: str) -> dict[str, str]:
    """Place in the container -> what is there."""
    pairs = (volume.split(":") for volume in SERVICES[service].get("volumes", ()))
    return {place: source for source, place, *_ in pairs}


def test_the_file_follows_the_compose_specification():
    PyCompose.from_json(json.dumps(COMPOSE))


@pytest.mark.parametrize(
    "key, value, why",
    [("readonly", True, "key `readonly`"), ("stop_grace_period", "45 apples", "duration unit")],
)
def test_a_wrong_file_would_not_pass(key: str, value: object, why: str):
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"]["vaewatch"][key] = value
    with pytest.raises(ValueError, match=why):
        PyCompose.from_json(json.dumps(wrong))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_and_waits_for_exists(name: str):
    for source in mounts(name).values():
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    assert set(SERVICES[name].get("depends_on", ())) <= SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_only_this_machine_reaches_the_demo(name: str):
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str):
    image = SERVICES[name]["image"]
    assert image in ("vaewatch:latest", "vaewatch:train") or re.search(r":v?\d+\.\d+\.\d+$", image)


def test_the_service_serves_what_is_trained():
    trained = settings_of(SERVICES["train"]["command"])
    served = settings_of(SERVICES["vaewatch"]["command"], SERVICES["vaewatch"]["environment"])
    assert trained["target"] == served["artifact"] and served["insecure"]
    assert mounts("train")["/models"] == mounts("vaewatch")["/models"]
    grace = int(SERVICES["vaewatch"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.drain_seconds + Settings.stop_seconds


def test_traffic_reads_what_records_writes():
    made = traffic.parsed(SERVICES["records"]["command"])
    sent = traffic.parsed(SERVICES["traffic"]["command"])
    train = settings_of(SERVICES["train"]["command"])
    written = {f"{made.folder}/{name}.csv" for name in ("normal", "new", "attack")}
    assert {str(sent.normal), str(sent.attack), *map(str, train["data"])} == written
    assert sent.url == "http://vaewatch:8000"
    for name in ("records", "traffic"):
        assert mounts(name)[SERVICES[name]["entrypoint"][1]] == "./traffic.py"
        assert mounts(name)["/data"] == "records"


def test_prometheus_finds_what_it_scrapes_and_tells():
    config = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    targets = [
        target
        for job in (*config["scrape_configs"], *config["alerting"]["alertmanagers"])
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    ports = {**DEFAULT_PORTS, "vaewatch": Settings.port}
    assert sorted(targets) == sorted(
        f"{name}:{ports[name]}" for name in ("vaewatch", "alertmanager", "pushgateway")
    )
    folder = "/etc/prometheus"
    for file in ("prometheus.yml", *config["rule_files"]):
        assert mounts("prometheus")[f"{folder}/{file}"] == f"./prometheus/{file}"


def test_alertmanager_reaches_the_pager():
    config = read_yaml(DEPLOY / "prometheus" / "alertmanager.yml")
    urls = [
        hook["url"] for receiver in config["receivers"] for hook in receiver["webhook_configs"]
    ]
    port = SERVICES["pager"]["command"][0]
    assert urls and all(url.startswith(f"http://localhost:{port}/") for url in urls)
    assert SERVICES["pager"]["network_mode"] == "service:alertmanager"


def test_grafana_finds_prometheus_and_the_dashboard():
    folder = DEPLOY / "grafana" / "provisioning"
    source = read_yaml(next((folder / "datasources").glob("*.yml")))["datasources"][0]
    assert source["url"] == f"http://prometheus:{DEFAULT_PORTS['prometheus']}"
    place = read_yaml(next((folder / "dashboards").glob("*.yml")))["providers"][0]["options"]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home == Path(place["path"]) / "dashboard.json"
    assert mounts("grafana")[str(home.parent)] == "./grafana"
    assert (DEPLOY / "grafana" / home.name).exists()
    assert mounts("grafana")["/etc/grafana/provisioning"] == "./grafana/provisioning"
