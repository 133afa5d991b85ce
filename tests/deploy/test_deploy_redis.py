"""deploy/compose.redis.yaml: workers that share histories, beside the demo or alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.deploy.deployed import DEPLOY, ROOT, read_yaml, settings_of
from tests.deploy.prometheus import free_port
from tests.deploy.test_deploy_compose import SERVICES as DEMO
from tests.deploy.test_deploy_compose import interpolated
from tests.live import serving, until
from tests.pumps import W, pumps, trained
from vaewatch.service.settings import REDIS, Settings

COMPOSE: dict[str, Any] = yaml.safe_load(interpolated((DEPLOY / "compose.redis.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICE, STORE = SERVICES["vaewatch"], SERVICES["redis"]
REDIS_SERVER = shutil.which("redis-server")


def test_the_file_follows_the_compose_specification():
    PyCompose.from_json(json.dumps(COMPOSE))
    assert COMPOSE["name"] == read_yaml(DEPLOY / "compose.yaml")["name"]


def test_workers_keep_histories_in_the_store_that_stands_beside_them():
    settings = settings_of(SERVICE["command"], SERVICE["environment"])
    assert settings["workers"] > 1 and settings["insecure"]
    assert settings["history"] == "redis://redis:6379/0"
    served = Settings(Path("x"), workers=settings["workers"], history=settings["history"])
    assert served.history_mode == REDIS
    assert SERVICE["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert SERVICE["ports"] == DEMO["vaewatch"]["ports"] and "ports" not in STORE
    (mount,) = SERVICE["volumes"]
    assert mount.split(":")[1:] == [str(settings["artifact"]), "ro"]


def test_the_image_has_what_speaks_with_it():
    extra = SERVICE["build"]["args"]["EXTRAS"]
    assert extra in (ROOT / "pyproject.toml").read_text()
    assert "ARG EXTRAS" in (ROOT / "Dockerfile").read_text()
    assert re.search(r":\d+\.\d+\.\d+$", STORE["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_may_write_or_gain_rights(name: str):
    hardened = read_yaml(DEPLOY / "compose.yaml")["x-hardened"]
    assert {key: SERVICES[name][key] for key in hardened} == hardened


@pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed")
def test_the_store_s_options_and_the_service_s_work_together(tmp_path: Path):
    program, *options = STORE["command"]
    assert program == "valkey-server" and REDIS_SERVER is not None
    port, artifact = free_port(), trained(tmp_path)
    words = [REDIS_SERVER, "--bind", "127.0.0.1", "--port", str(port), *options]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL) as store:
        try:
            history = f"redis://127.0.0.1:{port}/0"
            asked = [history if "redis://" in word else word for word in SERVICE["command"][2:]]
            with serving(artifact, *asked) as live:
                until(lambda: live.get("/readyz").status_code == 200)
                rows = pumps(W + 2, seed=1, first=600).to_dicts()
                words = []
                for row in rows:
                    answer = live.post("/v1/score", json={"records": [row]})
                    words.append(answer.json()["results"][0]["history"])
                assert words == ["warming_up"] * 3 * (W - 1) + ["full"] * 9
        finally:
            store.terminate()
