"""A small artifact, trained once, that most tests share."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from tests.fleet import trained_fleet
from vaewatch.__main__ import main
from vaewatch.scoring.imports import without_garbage
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

if TYPE_CHECKING:
    from playwright.sync_api import Browser

VAEWATCH = Path(sys.executable).with_name("vaewatch")
# folders that come after the others, those with the shortest files last
LAST = ("batch", "service", "console", "deploy", "house", "scoring")
ODD_NAME = "<script>alert(1)</script> $x_1$ 'a' & \"b\""
ODD_VALUE = "<img src=x onerror=alert(2)>"
SMALL = {"steps": 60, "width": 16, "members": 4, "served": 2}


def make_frame(n: int, seed: int = 0) -> pl.DataFrame:
    """Orders of a shop: numbers, a count, categories, a boolean, missing values, a constant."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    country = rng.choice(["NL", "DE", "FR"], n, p=[0.6, 0.3, 0.1])
    age = np.where(rng.random(n) < 0.1, None, np.round(40 + 10 * size, 1)).tolist()
    return pl.DataFrame(
        {
            "order": [f"o{i}" for i in range(n)],
            "amount": np.round(100 + 20 * size + rng.normal(size=n), 2),
            "items": rng.geometric(0.05, n),
            "age": pl.Series(age, dtype=pl.Float64),
            "country": country,
            "express": rng.random(n) < 0.2,
            "currency": ["EUR"] * n,
            "version": [3] * n,
        }
    )


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def call(*words: object) -> Done:
    """The same command in this process, which has torch imported already."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    argv, sys.argv = sys.argv, ["vaewatch", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = argv
    for stream in (out, err):
        stream.seek(0)
    return Done(int(code or 0), out.read(), err.read())


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The real command, as a user types it."""
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([str(VAEWATCH), *map(str, words)], **options)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What thousands of tests and the libraries they import are made of stays to the end, so that
    it need not be looked through for garbage.
    """
    with without_garbage():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What mostly waits comes first: where tests run side by side, others work meanwhile. Short
    files come last, so that no long one is left to one worker at the end.
    """

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return item.path.name != "test_watching.py", LAST.index(folder) if folder in LAST else -1

    items.sort(key=place)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium for the tests of one module."""
    from tests.browser import chromium  # playwright, which most tests have no use for

    with chromium() as running:
        yield running


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """An artifact that the first process which needs it makes for all that test side by side.
    Nobody may change it.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "shared"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():  # which a fit leaves only when it is whole
            make(folder / name)
    return folder / name


@pytest.fixture(scope="session")
def mixed_frame() -> pl.DataFrame:
    return make_frame(800)


@pytest.fixture(scope="session")
def artifact_path(mixed_frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(out: Path) -> None:
        train(mixed_frame, out, alpha=0.05, id="order", **SMALL)

    return shared(tmp_path_factory, "shop", make)


@pytest.fixture(scope="session")
def segmented_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of the shop whose segment is the country: FR has too few records for its own
    calibration.
    """

    def make(out: Path) -> None:
        settings = {"alpha": 0.05, "id": "order", "segment": "country"}
        train(make_frame(800), out, report=False, **settings, **SMALL)

    return shared(tmp_path_factory, "by-country", make)


@pytest.fixture(scope="session")
def newer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another artifact of the same columns."""

    def make(out: Path) -> None:
        train(make_frame(300, seed=5), out, alpha=0.05, id="order", seed=3, **SMALL)

    return shared(tmp_path_factory, "newer", make)


@pytest.fixture(scope="session")
def fleet_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of machines that has a calibration for others."""
    return shared(tmp_path_factory, "fleet", trained_fleet)


@pytest.fixture(scope="session")
def plain_fleet_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of the same machines that has none."""
    return shared(tmp_path_factory, "plain", lambda out: trained_fleet(out, calibrate="all"))


@pytest.fixture(scope="session")
def fleet_scorer(fleet_path: Path) -> Scorer:
    return Scorer.load(fleet_path)


@pytest.fixture(scope="session")
def odd_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact whose names and categories would be markup, if they were let."""
    frame = make_frame(200).rename({"amount": ODD_NAME, "items": "_a"})
    frame = frame.with_columns(country=pl.lit(ODD_VALUE) + pl.col("country"))

    def make(out: Path) -> None:
        train(frame, out, alpha=0.05, id="order", **SMALL)

    return shared(tmp_path_factory, "odd", make)


@pytest.fixture(scope="session")
def scorer(artifact_path: Path) -> Scorer:
    return Scorer.load(artifact_path)


HOLDER = """
import sys, time
from pathlib import Path
from vaewatch.scoring.disk.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Have another process write to a target, as far as its lock says, until the test ends."""
    with ExitStack() as stack:

        def held(target: Path) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", HOLDER, str(target)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            return process

        yield held
