"""What is installed: `vaewatch` alone, which works beside a project with rooms of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import make_frame

ROOT = Path(__file__).parents[2]
HOME = Path(sys.executable).parent
ROOMS = ("scoring", "training", "batch", "service")


def run(*words: object, cwd: Path) -> str:
    """What a command prints; the caller's own paths must not help it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = list(map(str, words))
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(source: Path, out: Path, kind: str) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", out, cwd=source)
    (found,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, as a user's `git clone` has them."""
    out = tmp_path_factory.mktemp("clone")
    listed = run("git", "ls-files", "-z", cwd=ROOT).rstrip("\0").split("\0")
    for name in listed:
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, out / name, follow_symlinks=False)
    return out


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(clone, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its libraries are those of this one."""
    fresh = tmp_path_factory.mktemp("fresh")
    venv.create(fresh, with_pip=False)
    (site,) = (fresh / "lib").glob("python*/site-packages")
    # a plain line of a .pth file: this environment's own .pth files, ours among them, do not count
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    made = fresh / "bin" / "python"
    words = ("--quiet", "--disable-pip-version-check", "--python", made, "install", "--no-deps")
    run(HOME / "pip", *words, wheel, cwd=fresh)
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project whose packages are named like our rooms."""
    folder = tmp_path_factory.mktemp("project")
    for room in ROOMS:
        (folder / room).mkdir()
        (folder / room / "__init__.py").write_text(f"MINE = {room!r}\n")
    make_frame(200).write_csv(folder / "normal.csv")
    return folder


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return {name for name in packed.namelist() if "dist-info" not in name}


def test_nothing_but_vaewatch_is_installed(wheel: Path):
    names = names_in(wheel)
    assert {name.split("/")[0] for name in names} == {"vaewatch"}
    assert {"vaewatch/py.typed", "vaewatch/__main__.py"} <= names
    assert {f"vaewatch/{room}/__init__.py" for room in ROOMS} <= names
    assert any(name.endswith("console.html") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_sdist_gives_the_same_wheel(clone: Path, wheel: Path, tmp_path: Path):
    with tarfile.open(built(clone, tmp_path / "sdist", "sdist")) as packed:
        packed.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("vaewatch-*")
    assert names_in(built(unpacked, tmp_path / "wheel", "wheel")) == names_in(wheel)


def test_every_public_name_works_beside_rooms_of_a_project(python: Path, project: Path):
    lines = [f"import {room}; assert {room}.MINE == {room!r}" for room in ROOMS]
    lines += ["import vaewatch", "print(*(getattr(vaewatch, n) for n in vaewatch.__all__))"]
    lines += ["assert vaewatch.__file__.startswith(sys.prefix), vaewatch.__file__"]
    said = run(python, "-W", "error", "-c", "import sys\n" + "\n".join(lines), cwd=project)
    assert said.count("vaewatch.") == 4 and said.count("<function") == 2


def test_the_command_works_beside_rooms_of_a_project(python: Path, project: Path):
    small = ("--alpha", "0.05", "--steps", "20", "--members", "4", "--quiet", "--id", "order")
    vaewatch = (python, "-m", "vaewatch")
    run(*vaewatch, "train", "normal.csv", "--out", "artifact", *small, cwd=project)
    scored = run(*vaewatch, "score", "artifact", "normal.csv", "--quiet", cwd=project)
    assert len(scored.splitlines()) == 201


def test_torchrun_works_beside_rooms_of_a_project(python: Path, project: Path):
    small = ("--alpha", "0.05", "--steps", "20", "--members", "4", "--id", "order")
    torchrun = (python, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "vaewatch")
    said = run(*torchrun, "train", "normal.csv", "--out", "by-torchrun", *small, cwd=project)
    assert "alarm budget" in said
