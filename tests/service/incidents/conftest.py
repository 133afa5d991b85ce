"""A shop whose orders have a time, and one whose orders have none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SMALL, make_frame, shared
from tests.live import Live, until
from tests.postgres import Postgres, needs_postgres, postgres
from tests.training.test_time import make_orders
from vaewatch.training.train import train

__all__ = ["needs_postgres"]
Records = list[dict[str, Any]]


@pytest.fixture(scope="session")
def timed_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(out: Path) -> None:
        settings: dict[str, Any] = {**SMALL, "alpha": 0.05, "id": "order", "time": "created_at"}
        train(make_orders(600), out, report=False, **settings)

    return shared(tmp_path_factory, "timed", make)


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def odd_records(n: int, seed: int = 12) -> Records:
    """Orders whose amount is far beyond all others."""
    return [{**record, "amount": 1e6} for record in make_frame(n, seed=seed).to_dicts()]


def post(live: Live, records: Records) -> None:
    assert live.post("/v1/score", json={"records": records}).status_code == 200


def incidents(live: Live, **asked: str | int) -> list[dict[str, Any]]:
    answer = live.get("/v1/incidents", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["incidents"]
    return found


def wait_for_alarms(live: Live, alarms: int) -> None:
    """Wait until so many alarms are parts of incidents."""

    def there() -> bool:
        answer = live.get("/v1/incidents?limit=1000")
        found = answer.json()["incidents"] if answer.status_code == 200 else []  # or it is away
        return sum(one["alarms"] for one in found) == alarms

    until(there)
