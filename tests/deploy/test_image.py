"""The image `serve`, unpacked: what it holds, and what it does for any user on a read-only root;
with the extra `cloud` also what it does with objects.

`.ci/image` builds and unpacks it, and names both here; without that there is nothing to test. A
container is a chroot in a mount namespace of its own, on the host's network.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.batch.objects import object_store
from tests.conftest import make_frame
from tests.live import Live, wait_ready
from vaewatch.scoring.files.remote import open_object, put
from vaewatch.scoring.scorer import Scorer

ROOT = os.environ.get("VAEWATCH_IMAGE_ROOT")
CONFIG = os.environ.get("VAEWATCH_IMAGE_CONFIG")
pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(ROOT is None or CONFIG is None, reason="no image: run .ci/image"),
]
SOMEBODY = 23456  # a user that the image does not know
MOST_BYTES = 400_000_000
PLACES = ("proc", "dev", "tmp", "data", "artifact", "key")
ENTER = """
set -e
mount --bind "$ROOT" "$ROOT"
for pair in $BINDS; do mount --bind "${pair%%:*}" "$ROOT${pair##*:}"; done
mount --bind /proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount -o remount,bind,ro "$ROOT"
exec chroot --userspec="$WHO:$WHO" "$ROOT" /usr/bin/env -i -C "$WORKDIR" "$@"
"""


@dataclass(frozen=True)
class Image:
    """An unpacked image and its configuration."""

    root: Path
    config: dict[str, Any]

    def words(self, *words: str, **env: str) -> list[str]:
        given = [f"{name}={value}" for name, value in env.items()]
        return ["unshare", "--mount", "sh", "-c", ENTER, "sh", *self.config["Env"], *given, *words]

    def outside(self, **binds: Path) -> dict[str, str]:
        """The environment of the script above: folders and files of this machine, by place."""
        pairs = " ".join(f"{path}:/{place}" for place, path in binds.items())
        workdir = self.config["WorkingDir"]
        settings = {
            "ROOT": str(self.root),
            "BINDS": pairs,
            "WHO": str(SOMEBODY),
            "WORKDIR": workdir,
        }
        return {**os.environ, **settings}

    def run(self, *words: str, **binds: Path) -> subprocess.CompletedProcess[str]:
        command, env = self.words(*words), self.outside(**binds)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)

    @contextmanager
    def serving(self, port: int, *options: str, artifact: Path, key: Path) -> Iterator[Live]:
        words = [*self.config["Entrypoint"], *self.config["Cmd"], *options]
        env = {"VAEWATCH_PORT": str(port), "VAEWATCH_KEY_FILE": "/key"}
        process = subprocess.Popen(
            self.words(*words, **env),
            env=self.outside(artifact=artifact, key=key),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            live = Live(process)
            wait_ready(live)
            yield live
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture(scope="module")
def image() -> Image:
    assert ROOT is not None and CONFIG is not None
    root = Path(ROOT)
    for name in PLACES:
        place = root / name
        place.touch() if name == "key" else place.mkdir(exist_ok=True)
    return Image(root, json.loads(Path(CONFIG).read_text())["Docker"]["config"])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("a key that nobody guesses\n")
    path.chmod(0o444)
    return path


@pytest.fixture
def artifact(artifact_path: Path, tmp_path: Path) -> Path:
    """A copy that any user may read."""
    shutil.copytree(artifact_path, tmp_path / "artifact")
    for path in (tmp_path / "artifact", *(tmp_path / "artifact").iterdir()):
        path.chmod(0o755)
    return tmp_path / "artifact"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_the_image_says_what_it_is_and_how_to_run_it(image: Image):
    config, labels = image.config, image.config["Labels"]
    assert config["Entrypoint"] == ["vaewatch"] and config["Cmd"] == ["serve", "/artifact"]
    assert config["User"] == "10001:10001" and config["StopSignal"] == "SIGTERM"
    assert "8000/tcp" in config["ExposedPorts"]
    for name in ("title", "description", "licenses", "version", "revision", "created"):
        assert labels[f"org.opencontainers.image.{name}"] not in ("", "unknown")


@pytest.mark.parametrize("package", ["torch", "sklearn", "pandas", "scipy", "onnx"])
def test_the_image_has_no_training_library(image: Image, package: str):
    done = image.run("python3", "-c", f"import {package}")
    assert f"No module named '{package}'" in done.stderr


def test_the_image_has_no_compiler(image: Image):
    found = image.run("sh", "-c", "for c in cc gcc g++ clang ld; do command -v $c || true; done")
    assert (found.returncode, found.stdout) == (0, "")


def test_the_packages_are_small(image: Image):
    paths = (image.root / "opt/vaewatch").rglob("*")
    size = sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())
    print(f"\npackages of the image serve: {size / 1e6:.0f} MB")
    assert size < MOST_BYTES


def test_it_runs_as_somebody_and_can_write_nothing(image: Image):
    done = image.run("sh", "-c", "id -u; echo x > /opt/vaewatch/x || echo x > /data/x || echo no")
    assert done.stdout.split() == [str(SOMEBODY), "no"]


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_it_scores_over_http(
    image: Image, artifact: Path, key: Path, scorer: Scorer, options: tuple[str, ...]
):
    records, port = make_frame(20, seed=21).drop("order").to_dicts(), free_port()
    with image.serving(port, *options, artifact=artifact, key=key) as live:
        headers = {"authorization": f"Bearer {key.read_text().strip()}"}
        answer = live.post("/v1/score", json={"records": records}, headers=headers)
        assert live.post("/v1/score", json={"records": records}).status_code == 401
        assert live.stop() == 0
    got = [result["score"] for result in answer.json()["results"]]
    np.testing.assert_allclose(got, scorer.score_records(records).score, rtol=1e-5)


def test_its_health_check_tells_a_service_from_none(image: Image, artifact: Path, key: Path):
    kind, *words = image.config["Healthcheck"]["Test"]
    port = free_port()
    probe = (f"VAEWATCH_PORT={port}", *words)
    assert kind == "CMD" and image.run(*probe).returncode == 1
    with image.serving(port, artifact=artifact, key=key):
        assert image.run(*probe).returncode == 0


def test_it_scores_a_file(image: Image, artifact: Path, tmp_path: Path):
    folder = tmp_path / "files"
    folder.mkdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    make_frame(50, seed=22).write_csv(folder / "new.csv")
    words = ("vaewatch", "score", "/artifact", "new.csv", "--out", "out.csv")
    done = image.run(*words, artifact=artifact, data=folder)
    assert done.returncode == 0, done.stderr
    assert len(pl.read_csv(folder / "out.csv")) == 50


def test_with_the_extra_it_scores_from_and_to_an_object_store(
    image: Image, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = make_frame(50, seed=23)
    with object_store(monkeypatch) as url:
        put(records.write_csv().encode(), f"{url}/in/0.csv")
        reached = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        command = ("score", "/artifact", f"{url}/in/", "--out", f"{url}/out.csv")
        words = image.words("vaewatch", *command, "--drafts", "/tmp", **reached)
        settings = image.outside(artifact=artifact)
        done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        with open_object(f"{url}/out.csv") as stream:
            assert len(pl.read_csv(stream)) == 50
