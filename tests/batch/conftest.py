"""Artifacts that the tests of windows in batch share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.series import SMALL, WINDOW, make_machines
from tests.conftest import shared
from vaewatch.training.train import train


@pytest.fixture(scope="session")
def machines_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that judges a record of a machine with the seven before it."""

    def make(out: Path) -> None:
        settings = {**SMALL, "alpha": 0.05, "time": "ts", "entity": "machine", "window": WINDOW}
        train(make_machines(600), out, report=False, **settings)

    return shared(tmp_path_factory, "machines", make)


@pytest.fixture(scope="session")
def one_series_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of one series, without an entity."""

    def make(out: Path) -> None:
        frame = make_machines(600, machines=1).drop("machine")
        train(frame, out, alpha=0.05, time="ts", window=WINDOW, report=False, **SMALL)

    return shared(tmp_path_factory, "one", make)
