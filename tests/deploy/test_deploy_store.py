"""Where what deploy/ runs keeps incidents and feedback."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.deploy.deployed import DEPLOY, ROOT, read_yaml, settings_of
from tests.deploy.test_deploy_compose import SERVICES as DEMO
from tests.deploy.test_deploy_compose import interpolated, mounts
from tests.live import serving
from tests.postgres import Postgres, needs_postgres, postgres
from tests.service.incidents.conftest import odd_records, post, wait_for_alarms
from vaewatch.service.store.place import POSTGRESQL, Place

TEXT = interpolated((DEPLOY / "compose.postgres.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICE, DATABASE = SERVICES["vaewatch"], SERVICES["postgres"]


def test_the_file_follows_the_compose_specification():
    PyCompose.from_json(json.dumps(COMPOSE))
    assert COMPOSE["name"] == read_yaml(DEPLOY / "compose.yaml")["name"]


def test_workers_keep_incidents_in_the_database_that_stands_beside_them():
    settings = settings_of(SERVICE["command"], SERVICE["environment"])
    assert settings["workers"] > 1 and settings["insecure"]
    place, env = Place.of(settings["store"]), DATABASE["environment"]
    assert (place.kind, place.url.host) == (POSTGRESQL, "postgres") and place.lasts
    assert place.url.username == env["POSTGRES_USER"] and place.url.database == env["POSTGRES_DB"]
    assert place.url.password == env["POSTGRES_PASSWORD"]
    assert SERVICE["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICE["ports"] == DEMO["vaewatch"]["ports"] and "ports" not in DATABASE
    assert SERVICE["volumes"][0].split(":")[1:] == [str(settings["artifact"]), "ro"]
    assert DATABASE["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert COMPOSE["volumes"].keys() == {"postgres"}


def test_the_image_has_what_speaks_with_it():
    extra = SERVICE["build"]["args"]["EXTRAS"]
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    assert f"EXTRAS={extra} ." in (ROOT / "Dockerfile").read_text()
    assert re.search(r":\d+\.\d+$", DATABASE["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_may_write_elsewhere_or_gain_rights(name: str):
    hardened = read_yaml(DEPLOY / "compose.yaml")["x-hardened"]
    found = {key: SERVICES[name][key] for key in hardened}
    socket = ["/var/run/postgresql"] if name == "postgres" else []
    assert found == {**hardened, "tmpfs": [*hardened["tmpfs"], *socket]}


def test_the_demo_keeps_incidents_in_a_volume_of_its_own_that_it_may_write():
    settings = settings_of(DEMO["vaewatch"]["command"], DEMO["vaewatch"]["environment"])
    path = Place.of(settings["store"].replace("/store/", "/tmp/")).path
    assert path is not None and settings["store"].startswith("sqlite:////store/")
    assert mounts("vaewatch")["/store"] == mounts("store")["/store"] == "store"
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert f"os.chown('/store', {user[1]}, {user[2]})" in DEMO["store"]["entrypoint"][-1]
    ended = {"condition": "service_completed_successfully"}
    assert DEMO["vaewatch"]["depends_on"]["store"] == ended


def test_the_unit_keeps_them_in_its_state_which_the_machine_may_place_elsewhere():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    text = (DEPLOY / "vaewatch.service").read_text()
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(text)
    state = f"/var/lib/{unit['Service']['StateDirectory']}"
    [url] = re.findall(r"^Environment=VAEWATCH_STORE=(.*)$", text, re.MULTILINE)
    assert url.replace("%S", "/var/lib").startswith(f"sqlite:///{state}/")
    assert "--store" not in unit["Service"]["ExecStart"]  # which would win over the environment


def test_replicas_on_kubernetes_share_them_where_a_secret_says_so():
    base = read_yaml(DEPLOY / "kubernetes" / "base" / "deployment.yaml")
    env = {one["name"]: one for one in base["spec"]["template"]["spec"]["containers"][0]["env"]}
    secret = env["VAEWATCH_STORE"]["valueFrom"]["secretKeyRef"]
    assert secret["optional"] is True
    readme = (DEPLOY / "README.md").read_text()
    assert f"create secret generic {secret['name']} --from-literal={secret['key']}=" in readme


@pytest.fixture
def server() -> Any:
    with postgres() as running:
        yield running


@needs_postgres
def test_the_service_s_options_and_a_database_work_together(artifact_path: Path, server: Postgres):
    with serving(
        artifact_path, *SERVICE["command"][2:], env={"VAEWATCH_STORE": server.url}
    ) as live:
        post(live, odd_records(3))
        wait_for_alarms(live, 3)
        assert f"incidents and feedback: {Place.of(server.url)}" in live.said
