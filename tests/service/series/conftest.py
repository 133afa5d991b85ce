"""One artifact with a window, and series like those that it learned."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pumps import Records, pumps, shared_pumps
from vaewatch.scoring.scorer import Scorer


@pytest.fixture(scope="session")
def series_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_pumps(tmp_path_factory)


@pytest.fixture(scope="session")
def series_scorer(series_path: Path) -> Scorer:
    return Scorer.load(series_path)


@pytest.fixture(scope="session")
def records() -> Records:
    """Later ones, of which the last of each machine are far out."""
    rows = pumps(30, seed=1, first=600).to_dicts()
    for row in rows[-3:]:
        row["pressure"] = 9.0
    return rows
