"""The image's recipe and the systemd unit; and the service, started as both start it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import VAEWATCH, make_frame, run
from tests.deploy.deployed import DEPLOY, ROOT, settings_of
from tests.live import serving
from vaewatch.service.settings import Settings

RECIPE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
UNIT = (DEPLOY / "vaewatch.service").read_text()
KEY = "a key that nobody guesses"
PATIENCE = 5.0  # what the parent of workers waits longer than they do
EXPOSED = 20  # tenths; systemd calls 50 medium


def last_stage() -> str:
    return RECIPE[RECIPE.rindex("\nFROM ") :]


def image_env() -> dict[str, str]:
    lines = re.findall(r"^ENV (.*)$", RECIPE[RECIPE.index(" AS base") :], re.M)
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


def image_words() -> list[str]:
    words: list[str] = json.loads(re.findall(r"^CMD (.*)$", last_stage(), re.M)[-1])
    return words


def unit_values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.M)


def unit_env(**machine: str) -> dict[str, str]:
    """What systemd gives the service: the settings of the machine win over those of the unit."""
    words = [word for line in unit_values("Environment") for word in shlex.split(line)]
    return {**dict(word.split("=", 1) for word in words), **machine}


def unit_words() -> list[str]:
    program, *words = shlex.split(unit_values("ExecStart")[0])
    assert program == "/opt/vaewatch/bin/vaewatch"
    return words


def test_a_plain_build_gives_the_image_that_serves():
    assert last_stage().startswith("\nFROM base AS serve\n")
    assert RECIPE.index("ARG BASE_IMAGE=") < RECIPE.index("FROM ${BASE_IMAGE}")


def test_the_image_has_the_version_and_the_packages_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"ARG VERSION={project['project']['version']}\n" in RECIPE
    copied = {word for line in re.findall(r"^COPY (.*)$", RECIPE, re.M) for word in line.split()}
    (package,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    rooms = {path.readlink().name for path in (ROOT / package).iterdir() if path.is_symlink()}
    assert {package.split("/")[0], *rooms} <= copied


def test_what_the_recipe_copies_is_not_ignored():
    kept = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M))
    copied = re.findall(r"^COPY (?!--from)(.*)$", RECIPE, re.M)
    assert copied
    for line in copied:
        for source in line.split()[:-1]:
            assert source in kept and (ROOT / source).exists()


def test_the_recipe_speaks_of_no_package_host():
    assert "://" not in RECIPE


def test_the_image_serves_beyond_its_container():
    settings = settings_of(image_words(), image_env())
    assert (settings["host"], settings["port"]) == ("0.0.0.0", Settings.port)
    assert f"EXPOSE {Settings.port}\n" in last_stage()


def test_the_unit_serves_beyond_the_machine_with_its_key():
    settings = settings_of(unit_words(), unit_env())
    assert (settings["host"], settings["port"]) == ("0.0.0.0", Settings.port)
    assert settings["workers"] == 2
    assert "VAEWATCH_KEYS_FILE=%d/keys" in unit_values("Environment")
    assert unit_values("LoadCredential") == ["keys:/etc/vaewatch/keys"]


def test_the_settings_of_a_machine_win_over_those_of_the_unit(tmp_path: Path):
    (tmp_path / "store").write_text("postgresql://me:secret@db.example/it\n")
    machine = {
        "VAEWATCH_HOST": "127.0.0.1",
        "VAEWATCH_PORT": "8443",
        "VAEWATCH_WORKERS": "7",
        "VAEWATCH_STORE_FILE": str(tmp_path / "store"),
    }
    settings = settings_of(unit_words(), unit_env(**machine))
    found = [settings[name] for name in ("host", "port", "workers", "store")]
    assert found == ["127.0.0.1", 8443, 7, "postgresql://me:secret@db.example/it"]


def test_systemd_waits_for_the_first_answer():
    assert unit_values("Type") == ["notify"]


def test_the_unit_gives_the_service_time_to_stop():
    assert unit_values("KillSignal") == ["SIGTERM"]
    assert unit_values("ExecReload") == ['/bin/sh -c "kill -HUP $MAINPID"']
    stop = float(unit_values("TimeoutStopSec")[0])
    assert stop > Settings.drain_seconds + Settings.stop_seconds + PATIENCE


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(
    "words", [("verify",), ("security", "--offline=true", f"--threshold={EXPOSED}")]
)
def test_systemd_accepts_the_unit_and_calls_it_safe(words: tuple[str, ...], tmp_path: Path):
    unit = tmp_path / "vaewatch.service"
    unit.write_text(UNIT.replace("/opt/vaewatch/bin/vaewatch", str(VAEWATCH)))
    done = subprocess.run(
        ["systemd-analyze", *words, str(unit)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vaewatch.service:" not in done.stderr


@pytest.mark.parametrize("way", ["image", "unit"])
def test_the_service_starts_as_it_is_deployed(artifact_path: Path, tmp_path: Path, way: str):
    """The same flags and settings; another place for the artifact, and a free port."""
    words = image_words() if way == "image" else unit_words()
    env = {k: v for k, v in image_env().items() if k.startswith("VAEWATCH_")}
    _, _, *flags = words
    (tmp_path / "key").write_text(f"{KEY}\n")
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    (tmp_path / "keys").write_text(f"score {hashed} clients\n")
    key = {"VAEWATCH_KEY_FILE": str(tmp_path / "key")}
    if way == "unit":
        (tmp_path / "store").write_text(f"sqlite:///{tmp_path}/it.sqlite")
        key = unit_env(
            VAEWATCH_KEYS_FILE=str(tmp_path / "keys"), VAEWATCH_STORE_FILE=str(tmp_path / "store")
        )
    given = {"VAEWATCH_DRAIN_SECONDS": str(Settings.drain_seconds)}  # which serving() shortens
    given |= {**(env if way == "image" else {}), **key}
    records = {"records": make_frame(5, seed=41).drop("order").to_dicts()}
    script = [sys.executable, str(DEPLOY / "healthcheck.py")]
    # serving() puts --port 0 before the flags: the last one wins, so theirs is taken out
    flags = [f for at, f in enumerate(flags) if "--port" not in (f, flags[at - 1])]
    with serving(artifact_path, *flags, env=given) as live:
        url = live.url.replace("0.0.0.0", "127.0.0.1")
        assert live.post("/v1/score", json=records).status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        assert live.post("/v1/score", json=records, headers=headers).status_code == 200
        assert subprocess.run([*script, url], timeout=30).returncode == 0
        assert "0.0.0.0" in live.url and live.stop() == 0


def test_the_image_without_a_key_does_not_start(artifact_path: Path):
    env = {**os.environ, **{k: v for k, v in image_env().items() if k.startswith("VAEWATCH_")}}
    done = run("serve", artifact_path, env=env)
    assert done.returncode == 2
    assert "a service on 0.0.0.0 must have keys" in done.stderr
