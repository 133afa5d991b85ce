"""A small artifact of windows, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pumps import shared_pumps
from tests.scoring.series.made import SMALL, telemetry
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train


@pytest.fixture(scope="session")
def series_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifacts") / "machines"
    train(telemetry(), out, alpha=0.05, **SMALL)
    return out


@pytest.fixture(scope="session")
def series_scorer(series_path: Path) -> Scorer:
    return Scorer.load(series_path)


@pytest.fixture(scope="session")
def pumps_scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer.load(shared_pumps(tmp_path_factory))
